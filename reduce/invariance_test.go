package reduce

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wattrace/sample"
	"wattrace/trace"
)

// movedRun is a run whose every time may be moved, as package cmd/internal/reduce would
// hand it on.
type movedRun struct {
	batches  []*sample.Batch
	spans    []Span
	requests []*trace.Request
	opt      Options
}

// report reduces the run with all its times moved by shift, on a clock that was moved
// back, so that every wall time stays.
func (m *movedRun) report(shift time.Duration, order []int) *Report {
	clock := trace.Clock{Host: "node", Anchor: trace.ClockSnapshot{UnixNanos: 1780e15 - int64(shift)}}
	var spans []Span
	for _, s := range m.spans {
		s.Start = s.Start.Add(shift)
		s.End.V = s.End.V.Add(shift)
		spans = append(spans, s)
	}
	opt := m.opt
	opt.Windows = nil
	for _, w := range m.opt.Windows {
		w.Start, w.End.V = w.Start.Add(shift), w.End.V.Add(shift)
		opt.Windows = append(opt.Windows, w)
	}
	r := New(clock, spans, true, opt)
	from := Recording{Offset: shift}
	for _, b := range m.batches {
		r.Survey(b, from)
	}
	each := func(use func(phase int, q *trace.Request)) {
		for _, k := range order {
			q := m.requests[k]
			for i, s := range spans {
				if s.Name == q.Phase {
					use(i, q)
				}
			}
		}
	}
	each(func(phase int, q *trace.Request) { surveyRequest(r, phase, q, shift) })
	r.Start()
	for _, b := range m.batches {
		r.Telemetry(b, from)
	}
	each(func(phase int, q *trace.Request) { takeRequest(r, phase, q, shift) })
	return whole(r.Report())
}

func drawRun(t *rapid.T) *movedRun {
	g := drawGPU(t, 40*sec)
	average := rapid.Bool().Draw(t, "average")
	m := &movedRun{batches: rows([]sample.Device{device(0), device(1)}, 0, 39*sec, drawPoll(t), func(_ int, at trace.Time, r sample.Row) {
		if average {
			r.Set(sample.PowerAverageWatts, g.watts(at))
		} else {
			r.Set(sample.EnergyJoules, g.counter(at))
		}
		r.Set(sample.TemperatureCelsius, 40)
	})}
	m.spans = []Span{phaseSpan("idle", 2*sec, 4*sec), phaseSpan("p", 4*sec, 36*sec)}
	m.spans[0].Kind = "idle"
	n := rapid.IntRange(1, 5).Draw(t, "slots")
	m.requests = closedLoop("p", n, 4*sec, 37*sec, 1700*time.Millisecond, rapid.Int64Range(1, 12).Draw(t, "tokens"))
	m.opt = Options{Every: 7 * time.Second, Peers: []string{"aiperf", "inferencex", "mlenergy"}, Explain: true}
	m.opt.Windows = []Span{{Name: "mine", Start: 5*sec + 123*ms, End: trace.Some(9 * sec)}}
	return m
}

func encoded(t *rapid.T, rep *Report) string {
	b, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err) // NaN or Inf
	}
	return string(b)
}

// TestReportIsTheSameWhenTimesMove: no figure depends on where on the clock a run is.
func TestReportIsTheSameWhenTimesMove(t *testing.T) {
	if underRace {
		t.Skip("simulations are run without the race detector")
	}
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := drawRun(t)
		order := make([]int, len(m.requests))
		for i := range order {
			order[i] = i
		}
		want := encoded(t, m.report(0, order))
		shift := time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(t, "shift"))
		if got := encoded(t, m.report(shift, order)); got != want {
			t.Fatalf("moved by %v:\n%s\n%s", shift, got, want)
		}
	})
}

// TestReportIsTheSameInAnyOrderOfRequests: as when the shards of a run are given in
// another order.
func TestReportIsTheSameInAnyOrderOfRequests(t *testing.T) {
	if underRace {
		t.Skip("simulations are run without the race detector")
	}
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := drawRun(t)
		order := make([]int, len(m.requests))
		for i := range order {
			order[i] = i
		}
		want := encoded(t, m.report(0, order))
		if got := encoded(t, m.report(0, rapid.Permutation(order).Draw(t, "order"))); got != want {
			t.Fatalf("in another order:\n%s\n%s", got, want)
		}
	})
}
