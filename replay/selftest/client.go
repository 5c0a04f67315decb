package selftest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"wattrace/replay"
	"wattrace/trace"
)

// Quantiles are those of durations.
type Quantiles struct {
	P50 time.Duration `json:"p50_nanos"`
	P99 time.Duration `json:"p99_nanos"`
	Max time.Duration `json:"max_nanos"`
}

// QuantilesOf sorts all; of none they are 0.
func QuantilesOf(all []time.Duration) Quantiles {
	if len(all) == 0 {
		return Quantiles{}
	}
	slices.Sort(all)
	return Quantiles{P50: all[(len(all)-1)/2], P99: all[(len(all)-1)*99/100], Max: all[len(all)-1]}
}

// Stamps is how well arrivals are stamped under a load.
type Stamps struct {
	Streams    int           `json:"streams"`
	Rate       float64       `json:"chunks_per_second_per_stream"`
	Kernel     bool          `json:"kernel_timestamps"`
	Chunks     int           `json:"chunks"`
	Error      Quantiles     `json:"error"` // stamp - when the server sent
	CPU        time.Duration `json:"cpu_nanos_per_chunk"`
	ShareOfGap float64       `json:"p99_share_of_gap"` // Error.P99, of the time between two chunks of a stream
}

// Lateness is how late requests of an open loop are sent.
type Lateness struct {
	Rate  float64       `json:"requests_per_second"`
	Sent  int           `json:"requests"`
	Send  Quantiles     `json:"sent"`  // the HTTP client was called - due
	Wrote Quantiles     `json:"wrote"` // the request was in the kernel - due
	CPU   time.Duration `json:"cpu_nanos_per_request"`
}

// Coalesced is how many events a core takes that come together.
type Coalesced struct {
	Chunks  int           `json:"chunks"`
	CPU     time.Duration `json:"cpu_nanos"`
	PerCore float64       `json:"chunks_per_second_per_core"` // of CPU time
}

// Client measures against a server of this package.
type Client struct {
	Target replay.Target
}

// collected is a Sink that keeps requests whole.
type collected struct {
	requests []trace.Request
	chunks   int
	keep     bool
}

func (c *collected) Phase(*trace.Phase, bool, trace.Time) error  { return nil }
func (c *collected) Sent(int64, int64, string, trace.Time) error { return nil }
func (c *collected) Clock(trace.ClockSnapshot) error             { return nil }

func (c *collected) Request(q *trace.Request) error {
	for i := range q.Chunks {
		if q.Chunks[i].Kind.Output() {
			c.chunks++
		}
	}
	if c.keep {
		kept := *q
		kept.Chunks = slices.Clone(q.Chunks)
		c.requests = append(c.requests, kept)
	}
	return nil
}

func (c *collected) Client(*replay.Use) error { return nil }

// run sends requests that ask for a load, and returns what came of them and the
// CPU time that they took.
func (c *Client) run(ctx context.Context, load Load, ph trace.Phase, kernel, keep bool) (*collected, *trace.SteadyClock, time.Duration, error) {
	ph.Name, ph.Kind = "selftest", trace.Measure
	clock := trace.NewSteadyClock()
	connections := ph.Concurrency
	if connections == 0 {
		connections = 64
	}
	e, err := replay.New(replay.Options{
		Turns:   []trace.Turn{{Payload: load.Body(), Endpoint: trace.Chat}},
		Targets: []replay.Target{c.Target}, Plan: trace.Plan{Phases: []trace.Phase{ph}},
		Clock: clock, Sleeper: replay.NewSleeper(clock), Preconnect: connections,
		Client: replay.ClientOptions{KernelTimestamps: kernel, Timeout: time.Minute},
	})
	if err != nil {
		return nil, nil, 0, err
	}
	if err := e.Preconnect(ctx); err != nil {
		return nil, nil, 0, err
	}
	sink := &collected{keep: keep}
	before := replay.CPUTime()
	res, err := e.Run(ctx, nil, sink)
	used := replay.CPUTime().V - before.V
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && (res.Failed > 0 || res.Sent == 0) {
		err = fmt.Errorf("%d of %d requests to the built-in server failed: %s", res.Failed, res.Sent, res.First.Message)
	}
	return sink, clock, used, err
}

// Coalesced measures how many events a core takes that come together.
func (c *Client) Coalesced(ctx context.Context, d time.Duration) (Coalesced, error) {
	got, _, cpu, err := c.run(ctx, Load{Chunks: 64 << 10}, trace.Phase{Concurrency: 8, Duration: d}, false, false)
	if err != nil {
		return Coalesced{}, err
	}
	out := Coalesced{Chunks: got.chunks, CPU: cpu}
	if cpu > 0 {
		out.PerCore = float64(got.chunks) / cpu.Seconds()
	}
	return out, nil
}

// Stamps measures how well chunks are stamped that come at a rate in each of a
// number of streams, for a time. The streams begin spread over one gap.
func (c *Client) Stamps(ctx context.Context, streams int, rate float64, d time.Duration, kernel bool) (Stamps, error) {
	gap := time.Duration(float64(time.Second) / rate)
	load := Load{Chunks: max(1, int(d/gap)), Gap: gap}
	ph := trace.Phase{Concurrency: streams, Requests: int64(streams), Load: trace.Load{Stagger: gap}}
	got, clock, cpu, err := c.run(ctx, load, ph, kernel, true)
	if err != nil {
		return Stamps{}, err
	}
	epoch := Epoch(clock.Clock())
	var all []time.Duration
	for i := range got.requests {
		all = StampErrors(all, &got.requests[i], epoch)
	}
	out := Stamps{Streams: streams, Rate: rate, Kernel: kernel, Chunks: len(all), Error: QuantilesOf(all)}
	out.ShareOfGap = float64(out.Error.P99) / float64(gap)
	if len(all) > 0 {
		out.CPU = cpu / time.Duration(len(all))
	}
	return out, nil
}

// StampErrors appends by how much the events with output of an answer were stamped
// later than the server sent them. epoch is [Epoch] of the client's clock.
func StampErrors(all []time.Duration, q *trace.Request, epoch int64) []time.Duration {
	sent := SentTimes(q.Usage)
	for i := range q.Chunks {
		if !q.Chunks[i].Kind.Output() {
			continue
		}
		if len(sent) == 0 {
			break
		}
		all = append(all, time.Duration(epoch+int64(q.Chunks[i].At)-sent[0]))
		sent = sent[1:]
	}
	return all
}

// Lateness measures how late requests of 4 KB are sent in an open loop with
// Poisson arrivals.
func (c *Client) Lateness(ctx context.Context, rate float64, d time.Duration) (Lateness, error) {
	got, _, cpu, err := c.run(ctx, Load{Size: 4 << 10}, trace.Phase{Duration: d, Load: trace.Load{Rate: rate}}, false, true)
	if err != nil {
		return Lateness{}, err
	}
	out := Lateness{Rate: rate, Sent: len(got.requests)}
	out.Send, out.Wrote = LatenessOf(got.requests)
	out.CPU = cpu / time.Duration(max(1, out.Sent))
	return out, nil
}

// LatenessOf returns how late requests were sent and written.
func LatenessOf(all []trace.Request) (sent, wrote Quantiles) {
	var s, w []time.Duration
	for i := range all {
		q := &all[i]
		s = append(s, q.Sent.Sub(q.Scheduled))
		if q.Wrote.OK {
			w = append(w, q.Wrote.V.Sub(q.Scheduled))
		}
	}
	return QuantilesOf(s), QuantilesOf(w)
}
