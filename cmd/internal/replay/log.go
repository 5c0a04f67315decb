package replay

import (
	"errors"
	"math"

	"wattrace/formats/requests"
	"wattrace/replay"
	"wattrace/trace"
)

// log writes what an engine reports as a request log. Once a second, and at the
// edges of phases, it hands on what is buffered, so that a killed run loses
// little.
type log struct {
	w     *requests.Writer
	shard replay.Shard
}

func (l *log) Phase(ph *trace.Phase, start bool, at trace.Time) error {
	ev := requests.PhaseEvent{Phase: ph.Name, Kind: ph.Kind, Start: start, At: at}
	if start {
		ev.Concurrency = l.shard.Share(ph.Slots()) // in an open loop there is none to speak of
	}
	return errors.Join(l.w.Phase(&ev), l.w.Flush())
}

func (l *log) Sent(seq, line int64, phase string, at trace.Time) error {
	return l.w.Sent(&requests.Sent{Seq: seq, Line: line, Phase: phase, At: at})
}

func (l *log) Request(r *trace.Request) error { return l.w.Request(r) }

func (l *log) Clock(s trace.ClockSnapshot) error { return l.w.Clock(s) }

func (l *log) Client(u *replay.Use) error {
	c := requests.Client{
		At: u.At, InFlight: u.InFlight, Held: trace.Some(u.Held),
		LatenessP50: u.LatenessP50, LatenessP99: u.LatenessP99, LatenessMax: u.LatenessMax,
		GCPause: u.GCPause, SchedP99: u.SchedP99, Queue: trace.Some(u.Queue), LogBlocked: trace.Some(u.LogBlocked),
		Goroutines: u.Goroutines,
	}
	if u.CPU.OK {
		c.CPUSeconds = trace.Some(float64(u.CPU.V.Microseconds()) / 1e6) // all that the kernel tells
	}
	return errors.Join(l.w.Client(&c), l.w.Flush())
}

// machine is what the run line says that the client runs on.
func machine() requests.Machine { return requests.Machine(replay.ThisMachine()) }

// judgement is what the close line says of the client.
func judgement(j *replay.Judgement) requests.Judgement {
	return requests.Judgement{
		Verdict: requests.Verdict(j.Verdict), LatenessP50: j.LatenessP50, LatenessP99: j.LatenessP99, LatenessMax: j.LatenessMax,
		MeanGap: j.MeanGap, Bound: trace.Some(j.Bound), SchedP99: j.SchedP99,
		CPUShare: share(j.CPUShare), BusyShare: share(j.BusyShare), LogBlocked: trace.Some(j.LogBlocked), Held: trace.Some(j.Held),
	}
}

// share rounds to what can be told.
func share(v trace.Opt[float64]) trace.Opt[float64] {
	v.V = math.Round(v.V*1e4) / 1e4
	return v
}
