package reduce

import (
	"testing"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// closedLoop returns requests of a phase that keep n in flight from one instant to
// another: each slot sends when its last has ended.
func closedLoop(name string, n int, from, to trace.Time, length time.Duration, tokens int64) []*trace.Request {
	var list []*trace.Request
	for slot := range n {
		for at := from + trace.Time(slot)*trace.Time(length)/trace.Time(n); at.Add(length) <= to; at = at.Add(length) {
			q := succeeded(name, at, at.Add(length/10), at.Add(length), 100, tokens)
			for k := range tokens {
				q.Chunks = append(q.Chunks, trace.Chunk{At: at.Add(length/10 + time.Duration(k+1)*(length-length/10)/time.Duration(tokens)), Kind: trace.ChunkContent})
			}
			q.Seq = int64(len(list))
			list = append(list, q)
		}
	}
	return list
}

// loaded is a GPU that draws by the requests in flight: slots start one after another
// from a to b, and end likewise from c to d.
func loaded(list []*trace.Request, drift float64) func(trace.Time) float64 {
	return func(t trace.Time) float64 {
		n := 0.
		for _, q := range list {
			if q.Sent <= t && t < q.Done {
				n++
			}
		}
		return 80 + 40*n + drift*t.Seconds()
	}
}

func steadyReport(t *testing.T, list []*trace.Request, drift float64, opt Options, end trace.Time) *Report {
	t.Helper()
	watts := loaded(list, drift)
	g := &gpu{watts: watts, period: 100 * ms, until: end + 6*sec}
	batches := rows([]sample.Device{device(0)}, 0, end+5*sec, 50*ms, func(_ int, at trace.Time, r sample.Row) {
		r.Set(sample.EnergyJoules, g.counter(at))
		if at%sec == 0 {
			r.Set(sample.TemperatureCelsius, 50)
		}
	})
	span := phaseSpan("p", 5*sec, end)
	span.Concurrency = 8
	return reduceAll(t, []Span{span}, true, opt, batches, list...)
}

func windowOf(rep *Report, name string) *Phase {
	for i := range rep.Phases[0].Windows {
		if w := &rep.Phases[0].Windows[i]; w.Name == name {
			return w
		}
	}
	return nil
}

// TestRampSteadyDrain has eight slots that start over 8 s and end over 8 s.
func TestRampSteadyDrain(t *testing.T) {
	var list []*trace.Request
	for slot := range trace.Time(8) {
		list = append(list, closedLoop("p", 1, 5*sec+slot*sec, 62*sec+slot*sec, 2*time.Second, 20)...)
	}
	rep := steadyReport(t, list, 0, Options{}, 70*sec)
	ramp, steady, drain := windowOf(rep, WindowRamp), windowOf(rep, WindowSteady), windowOf(rep, WindowDrain)
	if ramp == nil || steady == nil || drain == nil {
		t.Fatalf("windows: %+v; %v", rep.Phases[0].Windows, rep.Warnings)
	}
	near(t, "ramp", *ramp.DurationSeconds, 7, 0.3)
	if d := *steady.DurationSeconds; d < 45 || d > 52 {
		t.Errorf("steady is %v s long", d)
	}
	if warned(rep, WarnNotSteady, "p") {
		t.Error("a warning all the same")
	}
	near(t, "steady power", value(t, steady.Metrics, AverageGPUPower), 400, 5)
	near(t, "in flight", value(t, steady.Metrics, RequestsInFlight), 8, 0.1)
	near(t, "tokens/s", value(t, steady.Metrics, OutputTokenThroughput), 80, 2)
	near(t, "measured J/user", value(t, steady.Metrics, EnergyPerUserMeasured), value(t, steady.Metrics, TotalGPUEnergy)/8, 20)
	near(t, "W/user", value(t, steady.Metrics, WattsPerUser), 50, 1)
	near(t, "peak", value(t, rep.Phases[0].Metrics, PeakGPUPower), 400, 5)
}

func TestDriftIsNotSteady(t *testing.T) {
	list := closedLoop("p", 8, 5*sec, 50*sec, 2*time.Second, 20)
	rep := steadyReport(t, list, 4, Options{}, 50*sec)
	if w := windowOf(rep, WindowSteady); w != nil || !warned(rep, WarnNotSteady, "p") {
		t.Errorf("%+v %v", w, rep.Warnings)
	}
}

func TestShortPhaseIsNotSteady(t *testing.T) {
	list := closedLoop("p", 8, 5*sec, 30*sec, 2*time.Second, 20)
	rep := steadyReport(t, list, 0, Options{}, 30*sec)
	if w := windowOf(rep, WindowSteady); w != nil || !warned(rep, WarnNotSteady, "p") {
		t.Errorf("%+v %v", w, rep.Warnings)
	}
}

// TestMLEnergySteady counts by hand: with 4 in flight, the window begins with the 4th
// first token and ends with the 15th of 20 ends (20-4-1).
func TestMLEnergySteady(t *testing.T) {
	var list []*trace.Request
	for i := range trace.Time(20) {
		list = append(list, succeeded("p", 6*sec+i*sec, 6*sec+i*sec+300*ms, 6*sec+i*sec+4*sec, 10, 10))
	}
	span := phaseSpan("p", 5*sec, 30*sec)
	rep := reduceAll(t, []Span{span}, true, Options{Steady: SteadyMLEnergy}, nil, list...)
	w := windowOf(rep, WindowSteady)
	if w == nil {
		t.Fatalf("none: %v", rep.Warnings)
	}
	near(t, "length", *w.DurationSeconds, (10+14)-(6+3+0.3), 1e-9)
}

// TestActivityCells compares the cells with a slow count.
func TestActivityCells(t *testing.T) {
	list := closedLoop("p", 5, 5*sec+137*ms, 20*sec, 1733*time.Millisecond, 7)
	a := newActivity(6*sec, 17*sec+50*ms)
	for _, q := range list {
		a.add(q, q.Outputs(), 0)
	}
	a.settle()
	for i := range a.busy {
		var busy, tokens int64
		from, to := a.bound(i), a.bound(i+1)
		for _, q := range list {
			busy += max(0, int64(min(q.Done, to)-max(q.Sent, from)))
			arrivals(q, func(at trace.Time, n int64) {
				if at >= from && at < to {
					tokens += n
				}
			})
		}
		if a.busy[i] != busy || a.tokens[i] != tokens {
			t.Fatalf("cell %d: busy %d, want %d; tokens %d, want %d", i, a.busy[i], busy, a.tokens[i], tokens)
		}
	}
}

// arrivals defines what activity adds up: it calls one for each event of a request that brought output, with an
// equal share of the output tokens each; where the log does not hold the events,
// all are taken to come at the last one. Shares are whole microtokens, and add up to
// the request's tokens.
func arrivals(q *trace.Request, one func(at trace.Time, microtokens int64)) {
	n, ok := q.OutputTokens.Get()
	if !ok || !q.LastToken.OK {
		return
	}
	events := int64(0)
	for _, c := range q.Chunks {
		if c.Kind.Output() {
			events++
		}
	}
	if events == 0 {
		one(q.LastToken.V, n*microtokens)
		return
	}
	// Shares are the differences of n*microtokens*k/events, rounded down.
	each, left, carry := n*microtokens/events, n*microtokens%events, int64(0)
	for _, c := range q.Chunks {
		if !c.Kind.Output() {
			continue
		}
		share := each
		if carry += left; carry >= events {
			carry -= events
			share++
		}
		one(c.At, share)
	}
}
