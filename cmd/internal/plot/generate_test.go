package plot

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"wattrace/formats/requests"
	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/trace"
)

// generated is a run that a test makes up: so many GPUs for so long, at 20 ms, under so
// many requests of 64 users, and names that a test may give.
type generated struct {
	gpus     int
	length   time.Duration
	requests int
	host     string
	model    string
	phase    string
	seed     uint64
	watts    float64 // under load; 0 is 520
	tokens   int64   // of a request; 0 is 180 and some
	users    int     // 0 is 64
	limit    float64 // of power, W; 0 is 700
	odd      float64 // what the gauge says now and then; 0 is nothing odd
}

const runUnix = 1780000000e9

// write makes the log and the recording of a run.
func (g generated) write(t testing.TB, dir string) (log, power string) {
	t.Helper()
	check := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	clock := trace.Clock{Host: g.host, BootID: "b", Anchor: trace.ClockSnapshot{MonotonicNanos: 1e12 + int64(g.seed)*1e15, BootNanos: 1e12 + int64(g.seed)*1e15, UnixNanos: runUnix + int64(g.seed)*1e12}}
	snapshot := func(at trace.Time) trace.ClockSnapshot {
		s := clock.Anchor
		s.At, s.MonotonicNanos, s.BootNanos, s.UnixNanos = at, s.MonotonicNanos+int64(at), s.BootNanos+int64(at), s.UnixNanos+int64(at)
		return s
	}
	if g.watts == 0 {
		g.watts = 520
	}
	if g.tokens == 0 {
		g.tokens = 180
	}
	if g.users == 0 {
		g.users = 64
	}
	if g.limit == 0 {
		g.limit = 700
	}
	if g.phase == "" {
		g.phase = "profiling"
	}
	power = filepath.Join(dir, "power.arrows")
	f, err := os.Create(power)
	check(err)
	head := telemetry.Head{Producer: "test", Clock: clock, Snapshot: snapshot(0), Info: sample.Info{Driver: "580.65.06"}}
	for i := range g.gpus {
		id := fmt.Sprintf("GPU-%08d", i)
		head.Devices = append(head.Devices, sample.Device{ID: id, UUID: id, Host: g.host, Index: i, Source: sample.NVML, Scope: sample.ScopeGPU, Name: g.model, Architecture: "hopper"})
	}
	w, err := telemetry.NewWriter(f, head)
	check(err)
	rest := 10 * time.Second
	r := rand.New(rand.NewPCG(g.seed, 7))
	b := &sample.Batch{Devices: head.Devices}
	energy := make([]float64, g.gpus)
	shown := make([]float64, g.gpus)
	rows := int64(0)
	for at := time.Duration(0); at < g.length; at += 20 * time.Millisecond {
		for d := range g.gpus {
			watts := 90.
			if at > rest && at < g.length-rest {
				s := at.Seconds()
				watts = g.watts + 60*math.Sin(s/(40+float64(d))) + 25*math.Sin(s*2.1+float64(d)) + 20*r.Float64()
			}
			energy[d] += watts * 0.02
			if at%(100*time.Millisecond) == 0 {
				shown[d] = math.Floor(energy[d]*1000) / 1000
			}
			row := b.Append(d, trace.Time(at)+trace.Time(d)*20_000, 20*time.Microsecond)
			row.Set(sample.EnergyJoules, shown[d])
			row.Set(sample.PowerInstantWatts, math.Round(watts*1000)/1000)
			if g.odd != 0 && at%(7*time.Second) < 60*time.Millisecond {
				row.Set(sample.PowerInstantWatts, g.odd)
			}
			if at%time.Second == 0 {
				row.Set(sample.PowerLimitWatts, g.limit)
				row.Set(sample.TemperatureCelsius, 55+5*math.Sin(at.Seconds()/100))
				mask := uint64(0)
				if at > g.length/2 && at < g.length/2+g.length/60 && d == 1 {
					mask = 1 << 2
				}
				row.SetUint(sample.ClockEventReasons, mask)
			}
			rows++
		}
		if b.Len() >= 8000 {
			check(w.Write(b))
			b.Reset()
		}
	}
	check(w.Write(b))
	check(w.Close(telemetry.End{Rows: rows, Clean: true, Snapshot: snapshot(trace.Time(g.length))}))
	check(f.Close())

	log = filepath.Join(dir, "requests.jsonl")
	f, err = os.Create(log)
	check(err)
	lw := requests.NewWriter(f)
	run := requests.Run{Producer: "test", Clock: clock, Trace: requests.TraceInfo{Path: "t.jsonl", SHA256: "9f86", Turns: int64(g.requests)}, Targets: []string{"http://x"}}
	run.Plan.Phases = []trace.Phase{{Name: g.phase, Kind: trace.Measure, Concurrency: g.users, Requests: int64(g.requests)}}
	check(lw.Run(&run))
	check(lw.Clock(snapshot(0)))
	start, end := trace.Time(rest), trace.Time(g.length-rest)
	check(lw.Phase(&requests.PhaseEvent{Phase: g.phase, Kind: trace.Measure, Start: true, At: start, Concurrency: g.users}))
	each := end.Sub(start) * time.Duration(g.users) / time.Duration(g.requests+g.users)
	free := make([]trace.Time, g.users)
	for i := range free {
		free[i] = start.Add(each * time.Duration(i) / time.Duration(g.users))
	}
	var close requests.Close
	for n := range g.requests {
		slot := 0
		for i := range free {
			if free[i] < free[slot] {
				slot = i
			}
		}
		sent := free[slot]
		length := time.Duration(float64(each) * (0.7 + 0.6*r.Float64()) * 0.98)
		first, done := sent.Add(length/6), min(sent.Add(length), end-trace.Time(time.Millisecond))
		if sent >= done-trace.Time(time.Millisecond) {
			break
		}
		first = min(first, done-1000)
		q := trace.Request{Seq: int64(n), Line: int64(n + 1), Phase: g.phase, Slot: slot, Scheduled: sent, Sent: sent, Done: done, Outcome: trace.Succeeded,
			FirstToken: trace.Some(first), LastToken: trace.Some(done), InputTokens: trace.Some(int64(900)), OutputTokens: trace.Some(g.tokens + int64(r.IntN(40))), TokenSource: trace.FromUsage}
		switch {
		case n%97 == 96:
			q.Outcome, q.Error, q.LastToken, q.OutputTokens = trace.Failed, trace.RequestError{Class: trace.ErrHTTP5xx, Message: "503"}, trace.Opt[trace.Time]{}, trace.Opt[int64]{}
			close.Failed++
		default:
			close.Succeeded++
		}
		check(lw.Sent(&requests.Sent{Seq: q.Seq, Line: q.Line, Phase: g.phase, At: sent}))
		check(lw.Request(&q))
		free[slot] = done.Add(time.Millisecond)
		close.Sent++
	}
	check(lw.Phase(&requests.PhaseEvent{Phase: g.phase, Kind: trace.Measure, At: end}))
	check(lw.Clock(snapshot(end)))
	close.At, close.Clean = end, true
	check(lw.Close(&close))
	check(lw.Flush())
	check(f.Close())
	return log, power
}
