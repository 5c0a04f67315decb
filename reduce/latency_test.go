package reduce

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wattrace/trace"
)

// chunked is a request that succeeded, sent at so many ms with events of those kinds at
// those ms.
func chunked(scheduled, sent trace.Time, kinds string, at ...trace.Time) *trace.Request {
	q := &trace.Request{Phase: "p", Scheduled: scheduled * ms, Sent: sent * ms, Outcome: trace.Succeeded, TokenSource: trace.FromUsage}
	for i, k := range kinds {
		q.Chunks = append(q.Chunks, trace.Chunk{At: at[i] * ms, Kind: trace.ChunkKind(k)})
	}
	if list := q.Outputs(); len(list) > 0 {
		q.FirstToken, q.LastToken = trace.Some(list[0].At), trace.Some(list[len(list)-1].At)
		q.OutputTokens = trace.Some(int64(len(list)))
	}
	q.Done = at[len(at)-1] * ms
	return q
}

// distribution returns a metric's distribution, and fails without one.
func distribution(t *testing.T, m map[string]Metric, tag string) *Distribution {
	t.Helper()
	d := m[tag].Distribution
	if d == nil {
		t.Fatalf("no %s", tag)
	}
	return d
}

func TestLatenciesByHand(t *testing.T) {
	// Sent 5 ms late at 105 ms; a role at 120, reasoning at 125 and 145, text at 185 and
	// 205, then the finish, the usage and the end.
	q := chunked(100, 105, "rggccfud", 120, 125, 145, 185, 205, 206, 207, 208)
	// Sent on time; reasoning alone.
	thought := chunked(200, 200, "gg", 210, 220)
	// Not streamed, 4 tokens.
	whole := &trace.Request{Phase: "p", Scheduled: 300 * ms, Sent: 300 * ms, LastToken: trace.Some(340 * ms), Done: 340 * ms,
		Outcome: trace.Succeeded, OutputTokens: trace.Some[int64](4), TokenSource: trace.FromUsage}
	// Counted by the client, which may have missed some.
	counted := chunked(400, 400, "cc", 410, 430)
	counted.TokenSource = trace.FromChunks
	failed := chunked(500, 530, "cc", 540, 2000)
	failed.Outcome = trace.Failed
	rep := reduceAll(t, []Span{phaseSpan("p", 0, 3*sec)}, true, Options{SLO: SLO{E2E: 50 * time.Millisecond}}, nil, q, thought, whole, counted, failed)
	m := rep.Phases[0].Metrics
	for _, c := range []struct {
		tag            string
		count          int64
		mean, min, max float64
	}{
		{TimeToFirstToken, 3, 40. / 3, 10, 20},
		{TimeToFirstOutputToken, 2, 45, 10, 80},
		{TimeToSecondToken, 3, 50. / 3, 10, 20},
		{InterTokenLatency, 2, (80./3 + 10) / 2, 10, 80. / 3},
		{RequestLatency, 4, 190. / 4, 20, 100},
		{TimeToFirstTokenScheduled, 3, 15, 10, 25},
		{RequestLatencyScheduled, 4, 195. / 4, 20, 105},
		{InterChunkLatency, 5, 22, 10, 40},
		{MaxGap, 3, 70. / 3, 10, 40},
		{NormalizedLatency, 3, 15, 10, 25},
		{OutputTokenThroughputPerUser, 2, 68.75e3, 37.5e3, 100e3},
		{SendLateness, 5, 7, 0, 30},
	} {
		d := distribution(t, m, c.tag)
		if d.Count != c.count {
			t.Errorf("%s of %d, want %d", c.tag, d.Count, c.count)
		}
		near(t, c.tag+" mean", d.Mean, c.mean/1e3, 1e-6)
		near(t, c.tag+" min", d.Min, c.min/1e3, 1e-6)
		near(t, c.tag+" max", d.Max, c.max/1e3, 1e-6)
	}
	near(t, "goodput ratio", value(t, m, GoodputRatio), 3./5, 1e-12) // 100 ms is too long, and the failed one was sent
	h := distribution(t, m, InterChunkLatency).Histogram
	if h == nil || len(h.Buckets) != 3 || h.Buckets[0].Count != 1 || h.Buckets[1].Count != 3 {
		t.Errorf("%+v", h)
	}
}

func TestOpenLoops(t *testing.T) {
	g := &gpu{watts: flat(360), period: 100 * ms, start: -sec, until: 6 * sec}
	batches := counterRows([]*gpu{g}, -sec, 5*sec, 20*ms)
	var list []*trace.Request
	for i := range trace.Time(100) { // every fifth waits for 20 ms
		list = append(list, chunked(10*i, 10*i+i%5/4*20, "c", 10*i+30))
	}
	for _, c := range []struct {
		open, gated bool
		load        Load
		warns       Code
	}{
		{true, false, LoadOpen, WarnClientLate}, {true, true, LoadGated, WarnCapped}, {false, true, "", ""}, {false, false, "", ""},
	} {
		s := phaseSpan("p", 0, 2*sec)
		s.Open, s.Gated, s.Concurrency = c.open, c.gated, 7
		for i, q := range list {
			q.Slot = 0
			if !c.open {
				q.Slot = i // the first of its slot
			}
		}
		rep := reduceAll(t, []Span{s}, true, Options{}, batches, list...)
		ph := &rep.Phases[0]
		if ph.Load != c.load {
			t.Errorf("open %t, gated %t: load %q", c.open, c.gated, ph.Load)
		}
		for _, code := range []Code{WarnClientLate, WarnCapped} {
			if warned(rep, code, "p") != (code == c.warns) {
				t.Errorf("open %t, gated %t: %v", c.open, c.gated, rep.Warnings)
			}
		}
		if _, ok := ph.Metrics[EnergyPerUser]; ok == c.open {
			t.Errorf("open %t: energy per user %t", c.open, ok)
		}
		near(t, "wait", distribution(t, ph.Metrics, TimeToFirstTokenScheduled).Mean, 0.030, 1e-9)
		near(t, "sent", distribution(t, ph.Metrics, TimeToFirstToken).Mean, 0.026, 1e-9)
	}
}

func TestClientThatIsLate(t *testing.T) {
	late := func(by ...trace.Time) *Report {
		var list []*trace.Request
		for i := range by {
			at := trace.Time(i) * 1000
			list = append(list, chunked(at, at+by[i], "cc", at+by[i]+1, at+by[i]+400))
		}
		return reduceAll(t, []Span{phaseSpan("p", 0, trace.Time(len(by))*sec)}, true, Options{}, nil, list...)
	}
	for i, c := range []struct {
		by   []trace.Time
		want bool
	}{
		{[]trace.Time{500, 0, 0}, false},  // one user's first request
		{[]trace.Time{0, 50, 0}, false},   // one is an accident
		{[]trace.Time{0, 50, 50}, true},   //
		{[]trace.Time{500, 4, 4}, false},  // 1 % of 400 ms
		{[]trace.Time{500, 5, 5}, true},   //
		{[]trace.Time{500, 50, 0}, false}, //
	} {
		if got := warned(late(c.by...), WarnClientLate, "p"); got != c.want {
			t.Errorf("%d: warned %t", i, got)
		}
	}
	many := make([]trace.Time, 302)
	many[7], many[8] = 90, 90
	if warned(late(many...), WarnClientLate, "p") {
		t.Error("2 of 301 are less than 1 %")
	}
	many[9], many[10] = 90, 90
	if !warned(late(many...), WarnClientLate, "p") {
		t.Error("4 of 301 are more than 1 %")
	}
}

func TestClientLines(t *testing.T) {
	r := New(trace.Clock{}, []Span{phaseSpan("p", 10*sec, 20*sec), {Name: "idle", Kind: string(trace.Idle), Start: 20 * sec, End: trace.Some(30 * sec)}}, true, Options{})
	for i := range trace.Time(30) {
		cpu := trace.Some(float64(i) / 4)
		r.Client(1, ClientReading{At: i * sec, CPUSeconds: cpu, InFlight: int(i)})
		r.Client(2, ClientReading{At: i*sec + 500*ms, CPUSeconds: cpu, InFlight: 3})
		if i >= 20 {
			r.Client(3, ClientReading{At: i*sec + ms, InFlight: 99}) // another run, later
		}
	}
	r.Start()
	rep := r.Report()
	near(t, "CPU", value(t, rep.Phases[0].Metrics, ClientCPU), 0.5, 1e-12)
	near(t, "in flight", value(t, rep.Phases[0].Metrics, ClientPeakInFlight), 23, 0)
	absent(t, rep.Phases[1].Metrics, ClientCPU, ClientPeakInFlight)
}

// Latencies of a phase do not depend on the order of its requests, nor on where the clock
// is zero; what was due earlier has waited longer; and gaps add up to the time from the
// first output to the last.
func TestLatencyProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var list []*trace.Request
		var between time.Duration
		for range rapid.IntRange(1, 20).Draw(rt, "requests") {
			sent := trace.Time(rapid.IntRange(0, 1000).Draw(rt, "sent"))
			scheduled := sent - trace.Time(rapid.IntRange(0, 50).Draw(rt, "late"))
			kinds := rapid.StringOfN(rapid.SampledFrom([]rune("rgctfuo")), 1, 8, -1).Draw(rt, "kinds")
			var at []trace.Time
			for range kinds {
				at = append(at, sent+trace.Time(rapid.IntRange(0, 500).Draw(rt, "at")))
			}
			slices.Sort(at)
			q := chunked(scheduled, sent, kinds, at...)
			between += q.LastToken.V.Sub(q.FirstToken.V)
			list = append(list, q)
		}
		metrics := func(list []*trace.Request, shift time.Duration) (map[string]Metric, string) {
			ph := &phase{}
			for _, q := range list {
				m := *q
				m.Sent, m.Scheduled, m.Done = q.Sent.Add(shift), q.Scheduled.Add(shift), q.Done.Add(shift)
				m.FirstToken.V, m.LastToken.V = q.FirstToken.V.Add(shift), q.LastToken.V.Add(shift)
				m.Chunks = slices.Clone(q.Chunks)
				for i := range m.Chunks {
					m.Chunks[i].At = m.Chunks[i].At.Add(shift)
				}
				gaps := gapsOf(m.Outputs(), nil)
				split, tokens := tokenGapsOf(&m, m.Outputs(), nil)
				ph.take(&m, &kept{latency: latencyOf(&m, m.Outputs(), gaps), gaps: gaps, split: split, tokens: tokens})
			}
			out := map[string]Metric{}
			ph.describe(out)
			text, err := json.Marshal(out)
			if err != nil {
				rt.Fatal(err)
			}
			return out, string(text)
		}
		m, text := metrics(list, 0)
		turned := slices.Clone(list)
		slices.Reverse(turned)
		if _, other := metrics(turned, time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(rt, "shift"))); other != text {
			rt.Fatalf("%s\nand\n%s", text, other)
		}
		if d := m[InterChunkLatency].Distribution; d != nil {
			if sum := d.Mean * float64(d.Count); sum < between.Seconds()-1e-9 || sum > between.Seconds()+1e-9 {
				rt.Fatalf("gaps add up to %v s, want %v", sum, between)
			}
		}
		if d := m[TimeToFirstToken].Distribution; d != nil {
			due := m[TimeToFirstTokenScheduled].Distribution
			if due.Count != d.Count || due.Mean < d.Mean || due.P50 < d.P50 || due.Max < d.Max {
				rt.Fatalf("%+v, and from when they were due %+v", d, due)
			}
			if o := m[TimeToFirstOutputToken].Distribution; o != nil && (o.Count > d.Count || o.Max < d.Min) {
				rt.Fatalf("%+v, and without reasoning %+v", d, o)
			}
		}
	})
}
