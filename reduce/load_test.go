package reduce

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"wattrace/reduce/peers"
	"wattrace/trace"
)

// busyActivity is an activity of so many seconds with a number of requests in flight and of
// tokens per second in each cell.
func busyActivity(length trace.Time, load, tokens func(at float64) float64) *activity {
	a := newActivity(0, length)
	for i := range a.busy {
		at, cell := a.bound(i).Seconds(), float64(a.bound(i+1)-a.bound(i))
		a.busy[i] = int64(math.Round(load(at) * cell))
		a.tokens[i] = int64(math.Round(tokens(at) * cell / 1e9 * microtokens))
	}
	return a
}

func always(v float64) func(float64) float64 { return func(float64) float64 { return v } }

func TestActivityGrid(t *testing.T) {
	if a := newActivity(0, 150*sec); a.step != 200*time.Millisecond || len(a.busy) != 750 {
		t.Errorf("%v, %d cells", a.step, len(a.busy))
	}
	if a := newActivity(0, 100*sec); a.step != 100*time.Millisecond || len(a.busy) != 1000 {
		t.Errorf("%v, %d cells", a.step, len(a.busy))
	}
	a := newActivity(10*sec, 10*sec+250*ms)
	q := succeeded("p", 0, 9*sec, 10*sec+50*ms, 1, 7)
	q.Done = 20 * sec // after its last token
	a.add(q, nil, 0)
	short := succeeded("p", 10*ms, 20*ms, 30*ms, 1, 7)
	a.add(short, nil, 10*time.Second)
	a.settle()
	c := a.concurrency()
	if len(c) != 3 || math.Abs(c[0]-1.2) > 1e-12 || c[1] != 1 || c[2] != 1 {
		t.Errorf("in flight: %v", c)
	}
	if a.tokens[0] != 14*microtokens || a.tokens[1] != 0 {
		t.Errorf("tokens: %v", a.tokens)
	}
	if got := busyActivity(sec-100*ms, func(at float64) float64 { return 1 + math.Round(at*10) }, always(0)).plateau(); got != 7 {
		t.Errorf("plateau of 1 to 9: %v", got)
	}
}

func TestArrivalsAreWhole(t *testing.T) {
	q := succeeded("p", 0, sec, 4*sec, 1, 10)
	for i, kind := range []trace.ChunkKind{trace.ChunkRole, trace.ChunkContent, trace.ChunkReasoning, trace.ChunkTool, trace.ChunkUsage} {
		q.Chunks = append(q.Chunks, trace.Chunk{At: trace.Time(i) * sec, Kind: kind})
	}
	a := activityOf(0, 5*sec, time.Second)
	a.add(q, q.Outputs(), 0)
	if want := []int64{0, 3_333_333, 3_333_333, 3_333_334, 0}; !slices.Equal(a.tokens, want) {
		t.Errorf("%v, want %v", a.tokens, want)
	}
}

func TestSteadySpan(t *testing.T) {
	flat := always(100)
	for _, c := range []struct {
		name     string
		length   trace.Time
		load     func(float64) float64
		tokens   func(float64) float64
		from, to float64 // of seconds; 0, 0 is none
		why      string
	}{
		{"all", 100 * sec, always(8), flat, 0, 100, ""},
		{"just long enough", 30 * sec, always(8), flat, 0, 30, ""},
		{"too short", 29*sec + 900*ms, always(8), flat, 0, 0, "shorter than 30s"},
		{"a dip", 100 * sec, func(at float64) float64 {
			if at >= 40 && at < 50 {
				return 7.1
			}
			return 8
		}, flat, 50, 100, ""},
		{"just no dip", 100 * sec, func(at float64) float64 {
			if at >= 40 && at < 50 {
				return 9
			}
			return 10
		}, flat, 0, 100, ""},
		{"plateaus of 29 s", 100 * sec, func(at float64) float64 {
			if math.Mod(at, 30) >= 29 {
				return 1
			}
			return 8
		}, flat, 0, 0, "do not stay above 90 %"},
		{"plateaus of nine cells", 5000 * sec, func(at float64) float64 {
			if math.Mod(at, 50) >= 45 {
				return 1
			}
			return 8
		}, func(at float64) float64 { return 100 + 10*math.Mod(at, 50) }, 0, 0, "do not stay above 90 %"},
		{"tokens that rise until 30 s", 100 * sec, always(8), func(at float64) float64 { return min(at/30, 1) * 100 }, 15, 100, ""},
		{"tokens that fall from 70 s", 100 * sec, always(8), func(at float64) float64 { return min((100-at)/30, 1) * 100 }, 0, 85, ""},
		{"tokens that always rise", 100 * sec, always(8), func(at float64) float64 { return 100 + at }, 0, 0, "the token rate drifts"},
	} {
		a := busyActivity(c.length, c.load, c.tokens)
		from, to, why := (&Reducer{}).steadySpan(a)
		if c.why != "" || why != "" {
			if c.why == "" || !strings.Contains(why, c.why) {
				t.Errorf("%s: %q, want %q", c.name, why, c.why)
			}
			continue
		}
		if math.Abs(a.bound(from).Seconds()-c.from) > 0.01 || math.Abs(a.bound(to).Seconds()-c.to) > 0.01 {
			t.Errorf("%s: from %v to %v", c.name, a.bound(from), a.bound(to))
		}
	}
}

func TestRises(t *testing.T) {
	share := func(mean float64) float64 { return steadyRise * mean }
	scatter := []float64{1, -1, -1, 1, 0, 0, 1, -1, -1, 1} // neither mean nor slope; the line's sigma is 1/9.083
	line := func(slope, size float64) []float64 {
		var list []float64
		for i := range 20 { // two cells a part
			v := 100 + slope*(float64(i/2)-4.5) + size*scatter[i/2]
			if i == 7 {
				v = math.NaN()
			}
			list = append(list, v)
		}
		return list
	}
	unknown := line(10, 0)
	unknown[6] = math.NaN()
	for _, c := range []struct {
		name   string
		values []float64
		worth  func(float64) float64
		want   bool
	}{
		{"flat", line(0, 0), share, false},
		{"scatter", line(0, 10), share, false},
		{"up", line(0.31, 0), share, true},
		{"down", line(-0.31, 0), share, true},
		{"too little to speak of", line(0.29, 0), share, false},
		{"just significant", line(2.6, 10), share, true},
		{"not significant", line(2.5, 10), share, false},
		{"down, just significant", line(-2.6, 10), share, true},
		{"kelvin", line(0.31, 0), func(float64) float64 { return 3 }, true},
		{"fewer kelvin", line(0.29, 0), func(float64) float64 { return 3 }, false},
		{"a part unknown", unknown, share, false},
	} {
		if got := rises(quantity{values: c.values, worth: c.worth}, 0, 20); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if rises(quantity{values: line(10, 0), worth: share}, 0, 9) {
		t.Error("nine cells have no ten parts")
	}
	kelvin := (&Reducer{}).quantities(busyActivity(sec, always(1), always(1)))[2].worth(1000)
	near(t, "worth speaking of", kelvin, 3, 0)
}

func TestRampAndDrain(t *testing.T) {
	run := func(ramp, drain float64) *phase {
		ph := &phase{Span: Span{Concurrency: 8}, activity: busyActivity(100*sec, func(at float64) float64 {
			if at < ramp || at >= 100-drain {
				return 1
			}
			return 9 + math.Mod(math.Round(at), 2) // at the very share of the plateau, and above
		}, always(1))}
		(&Reducer{}).loadWindows(ph)
		return ph
	}
	ph := run(1, 2)
	if len(ph.windows) != 2 {
		t.Fatalf("%d windows", len(ph.windows))
	}
	ramp, drain := ph.windows[0], ph.windows[1]
	if ramp.Name != WindowRamp || ramp.Start != 0 || ramp.End.V != sec || ramp.Concurrency != 8 {
		t.Errorf("%+v", ramp.Span)
	}
	if drain.Name != WindowDrain || drain.Start != 98*sec || drain.End.V != 100*sec {
		t.Errorf("%+v", drain.Span)
	}
	if ph := run(0.4, 0.4); len(ph.windows) != 0 {
		t.Errorf("windows of 0.4 s: %+v", ph.windows[0].Span)
	}
	if ph := run(0.5, 0.5); len(ph.windows) != 2 {
		t.Error("no windows of 0.5 s")
	}
}

func TestMLEnergyWindow(t *testing.T) {
	run := func(end trace.Time, firsts, dones []trace.Time) (*phase, *Reducer) {
		ph := &phase{Span: Span{Concurrency: 3, End: trace.Some(end)}, firsts: firsts, dones: dones}
		r := &Reducer{}
		r.mlenergy(ph)
		return ph, r
	}
	// Three in flight by 3 s; of seven, all but four have ended by 30 s.
	firsts, dones := []trace.Time{3, 1, 2, 9, 8, 7, 6}, []trace.Time{70, 10, 20, 30, 60, 50, 40}
	ph, _ := run(100, firsts, dones)
	if len(ph.windows) != 1 || ph.windows[0].Start != 3 || ph.windows[0].End.V != 30 {
		t.Errorf("%+v", ph.windows)
	}
	if ph, _ := run(25, firsts, dones); len(ph.windows) != 1 || ph.windows[0].End.V != 25 {
		t.Errorf("a phase that ends before: %+v", ph.windows)
	}
	if ph, _ := run(100, firsts, dones[:5]); len(ph.windows) != 1 {
		t.Error("none of five ends")
	}
	for i, c := range []struct{ firsts, dones []trace.Time }{
		{firsts, []trace.Time{10, 20, 30, 40}}, {firsts[:2], dones}, {[]trace.Time{30, 31, 32}, dones},
	} {
		if ph, r := run(100, c.firsts, c.dones); len(ph.windows) != 0 || len(r.warnings) != 1 || r.warnings[0].Code != WarnNotSteady {
			t.Errorf("%d: %+v %v", i, ph.windows, r.warnings)
		}
	}
}

func TestTimeline(t *testing.T) {
	span := func(from, to trace.Time) *phase { return &phase{Span: Span{Start: from, End: trace.Some(to)}} }
	long, early, late, open := span(0, 100), span(10, 20), span(50, 60), &phase{Span: Span{Start: 5}}
	line := newTimeline([]*phase{late, open, long, early})
	for _, c := range []struct {
		from, to trace.Time
		want     []*phase
	}{
		{12, 13, []*phase{early, long}}, {20, 20, []*phase{early, long}}, {21, 49, []*phase{long}}, {30, 50, []*phase{late, long}},
		{100, 200, []*phase{long}}, {-5, 6, []*phase{long}}, {101, 200, nil}, {-5, -1, nil}, {60, 70, []*phase{late, long}},
	} {
		var got []*phase
		for ph := range line.overlapping(c.from, c.to) {
			got = append(got, ph)
		}
		if len(got) != len(c.want) {
			t.Errorf("%+v: %d windows", c, len(got))
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%+v: %+v", c, got[i].Span)
			}
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b trace.Time
		want float64
	}{{10, 20, 1}, {0, 20, 0.5}, {15, 25, 0.5}, {0, 40, 0.25}, {0, 5, 0}, {25, 30, 0}, {10, 10, 1}, {20, 20, 0}, {9, 9, 0}} {
		near(t, "share", overlap(c.a, c.b, 10, 20), c.want, 1e-12)
	}
}

// TestArrived counts tokens where they arrive, with the log's clock 100 s behind.
func TestArrived(t *testing.T) {
	const behind = 100 * time.Second
	run := func(q *trace.Request) *phase {
		ph := &phase{Span: Span{Start: 110 * sec, End: trace.Some(120 * sec)}}
		ph.arrived(q, q.Outputs(), behind)
		return ph
	}
	check := func(name string, ph *phase, input, output, square float64, noInput, noOutput int64) {
		t.Helper()
		if ph.inputTokens() != input || ph.outputTokens() != output || ph.noInput != noInput || ph.noOutput != noOutput {
			t.Errorf("%s: %v and %v tokens, unknown of %d and %d", name, ph.inputTokens(), ph.outputTokens(), ph.noInput, ph.noOutput)
		}
		near(t, name+": variance", float64(ph.outputSquare)/microtokens, square, 1e-5)
	}
	events := func(q *trace.Request, at ...trace.Time) *trace.Request {
		q.Chunks = append(q.Chunks, trace.Chunk{At: q.Sent, Kind: trace.ChunkRole})
		for _, t := range at {
			q.Chunks = append(q.Chunks, trace.Chunk{At: t, Kind: trace.ChunkContent})
		}
		return q
	}
	check("all of it", run(succeeded("p", 9*sec, 10*sec, 19*sec, 5, 12)), 5, 12, 0, 0, 0)
	check("spread over an end", run(succeeded("p", 9*sec, 15*sec, 25*sec, 5, 12)), 5, 6, 12, 0, 0)
	check("spread over both", run(succeeded("p", 1*sec, 5*sec, 25*sec, 5, 12)), 0, 6, 24, 0, 0)
	check("events", run(events(succeeded("p", 9*sec, 15*sec, 25*sec, 5, 12), 15*sec, 16*sec, 24*sec, 25*sec)), 5, 6, 9./12, 0, 0)
	check("events at both ends", run(events(succeeded("p", 1*sec, 10*sec, 20*sec, 5, 12), 10*sec, 20*sec)), 5, 6, 0, 0, 0)
	check("before", run(succeeded("p", 1*sec, 2*sec, 3*sec, 5, 12)), 0, 0, 0, 0, 0)
	check("after", run(succeeded("p", 30*sec, 32*sec, 33*sec, 5, 12)), 0, 0, 0, 0, 0)

	whole := succeeded("p", 9*sec, 0, 15*sec, 5, 12) // not streamed
	whole.FirstToken = trace.Opt[trace.Time]{}
	check("not streamed", run(whole), 5, 12, 0, 0, 0)
	unknown := succeeded("p", 9*sec, 11*sec, 15*sec, 5, 12)
	unknown.InputTokens, unknown.OutputTokens = trace.Opt[int64]{}, trace.Opt[int64]{}
	check("tokens unknown", run(unknown), 0, 0, 0, 1, 1)
	unknown.Outcome = trace.Failed
	check("tokens of a failure", run(unknown), 0, 0, 0, 0, 0)
	failed := &trace.Request{Sent: 11 * sec, Done: 12 * sec, Outcome: trace.Failed, InputTokens: trace.Some[int64](5), OutputTokens: trace.Some[int64](3)}
	check("nothing came", run(failed), 0, 0, 0, 0, 0)
}

func TestTakeCountsAndCrossing(t *testing.T) {
	ph := &phase{Span: Span{Start: 10 * sec, End: trace.Some(20 * sec)}}
	q := succeeded("p", 11*sec, 12*sec, 20*sec, 5, 12)
	q.TokenSource = trace.FromChunks
	ph.take(q, &kept{})
	ph.take(succeeded("p", 11*sec, 12*sec, 20*sec, 5, 12), &kept{})
	ph.take(succeeded("p", 11*sec, 12*sec, 20*sec, 5, 12), &kept{})
	if ph.counted != 1 || ph.requests.Sent != 3 || ph.requests.Succeeded != 3 {
		t.Errorf("%+v", ph)
	}
	for i, c := range []struct {
		sent, done trace.Time
		own        bool
		want       int64
	}{
		{11 * sec, 20 * sec, true, 0}, {11 * sec, 21 * sec, true, 1}, {5 * sec, 15 * sec, true, 0},
		{5 * sec, 15 * sec, false, 1}, {5 * sec, 10 * sec, false, 0}, {10 * sec, 15 * sec, false, 0}, {11 * sec, 25 * sec, false, 0},
	} {
		ph.inFlight = 0
		if ph.crossing(&trace.Request{Sent: c.sent, Done: c.done}, 0, c.own); ph.inFlight != c.want {
			t.Errorf("%d: %d in flight", i, ph.inFlight)
		}
	}
	r := &Reducer{phases: []*phase{ph}}
	r.Unended(0)
	if ph.requests.Sent != 4 || ph.requests.Unended != 1 {
		t.Errorf("%+v", ph.requests)
	}
	nothing := &trace.Request{Outcome: trace.Succeeded, Sent: sec}
	if (SLO{TTFT: time.Second}).keeps(nothing, false) || (SLO{E2E: time.Second}).keeps(nothing, false) || (SLO{ITL: time.Second}).keeps(nothing, false) {
		t.Error("a latency that is not known is kept")
	}
}

func TestMovedRequestAndPeersSLO(t *testing.T) {
	q := succeeded("p", sec, 2*sec, 3*sec, 5, 12)
	q.Done = 4 * sec
	m := moved(q, 10*time.Second)
	if m.Sent != 11*sec || m.FirstToken.V != 12*sec || m.LastToken.V != 13*sec || m.Done != 14*sec || q.Sent != sec {
		t.Errorf("%+v", m)
	}
	some := func(d time.Duration) trace.Opt[time.Duration] { return trace.Some(d) }
	if got := peerSLO(SLO{TTFT: 1, ITL: 2, E2E: 3}); got != (peers.SLO{TimeToFirstToken: some(1), InterTokenLatency: some(2), RequestLatency: some(3)}) {
		t.Errorf("%+v", got)
	}
	if got := peerSLO(SLO{TTFT: 5, TTFTSent: 4, E2E: 3, E2ESent: 7, TTFTScheduled: 1, E2EScheduled: 1}); got != (peers.SLO{TimeToFirstToken: some(4), RequestLatency: some(3)}) {
		t.Errorf("%+v", got)
	}
	if got := peerSLO(SLO{TTFTSent: 4}); got != (peers.SLO{TimeToFirstToken: some(4)}) {
		t.Errorf("%+v", got)
	}
	if got := peerSLO(SLO{}); got != (peers.SLO{}) {
		t.Errorf("%+v", got)
	}
}
