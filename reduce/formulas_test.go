package reduce

import (
	"math"
	"testing"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

func TestRatiosAndTheirUncertainty(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	failed := &trace.Request{Phase: "p", Sent: 6 * sec, Done: 7 * sec, Outcome: trace.Failed, Error: trace.RequestError{Class: trace.ErrHTTP5xx}}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, counterRows([]*gpu{g, g}, 0, 30*sec, 20*ms),
		succeeded("p", 6*sec, 7*sec, 8*sec, 100, 11), succeeded("p", 6*sec, 7*sec, 8*sec, 50, 21), failed)
	m := rep.Phases[0].Metrics
	energy := m[TotalGPUEnergy]
	e := energy.Value
	for tag, want := range map[string]float64{
		EnergyPerOutputToken: e / 32, EnergyPerTotalToken: e / 182, EnergyPerRequest: e / 2, EnergyPerUser: e / 4,
		OutputTokensPerJoule: 32 / e, AverageGPUPower: e / 10,
		OutputTokenThroughput: 3.2, TotalTokenThroughput: 18.2, RequestThroughput: 0.2,
	} {
		near(t, tag, value(t, m, tag), want, 1e-9*want)
	}
	// A ratio by an exact number has the energy's relative uncertainty.
	for _, tag := range []string{EnergyPerOutputToken, OutputTokensPerJoule, EnergyPerUser, EnergyPerRequest, AverageGPUPower} {
		n := m[tag]
		near(t, tag+" random", n.Uncertainty.Random/n.Value, energy.Uncertainty.Random/e, 1e-12)
		near(t, tag+" systematic", n.Uncertainty.Systematic/n.Value, energy.Uncertainty.Systematic/e, 1e-12)
	}
	// 5 % of all, 1.5 % of each of two, 5 W each over 10 s.
	half := e / 2
	near(t, "systematic", energy.Uncertainty.Systematic, math.Sqrt(0.05*e*0.05*e+2*0.015*half*0.015*half+100*100), 0.01)
	one := rep.Phases[0].PerDevice[0].Metrics[GPUEnergy].Uncertainty
	near(t, "random of two", energy.Uncertainty.Random, one.Random*math.Sqrt(0.7*2+0.3*4), 1e-9)
}

func TestTokensInFlightWidenTheRatio(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	warm := phaseSpan("warmup", 5*sec, 10*sec)
	warm.Handover = true
	// No chunks are known: half of the tokens are taken to have come by 10 s.
	q := succeeded("warmup", 8*sec, 9*sec, 11*sec, 100, 1200)
	rep := reduceAll(t, []Span{warm, phaseSpan("profiling", 10*sec, 20*sec)}, true, Options{}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms), q)
	m := rep.Phases[0].Metrics
	near(t, "output", *rep.Phases[0].Tokens.Output, 600, 1e-9)
	n, e := m[EnergyPerOutputToken], m[TotalGPUEnergy]
	want := math.Hypot(e.Uncertainty.Random/e.Value, 1200/math.Sqrt(12)/600)
	near(t, "relative random uncertainty", n.Uncertainty.Random/n.Value, want, 1e-9)
}

func TestGapBreaksTheCounter(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 101 * sec}
	var batches []*sample.Batch
	batches = append(batches, counterRows([]*gpu{g}, 0, 20*sec, 20*ms)...)
	batches = append(batches, counterRows([]*gpu{g}, 60*sec, 100*sec, 20*ms)...)
	rep := reduceAll(t, []Span{phaseSpan("before", 5*sec, 15*sec), phaseSpan("over", 15*sec, 70*sec), phaseSpan("after", 70*sec, 80*sec)}, true, Options{}, batches)
	near(t, "before", value(t, rep.Phases[0].Metrics, TotalGPUEnergy), 3000, 4)
	absent(t, rep.Phases[1].Metrics, TotalGPUEnergy)
	near(t, "coverage", rep.Phases[1].PerDevice[0].Coverage, 15.0/55, 0.01)
	near(t, "covered", value(t, rep.Phases[1].PerDevice[0].Metrics, GPUEnergyCovered), 15*300, 60)
	near(t, "after", value(t, rep.Phases[2].Metrics, TotalGPUEnergy), 3000, 4)
	if !warned(rep, WarnMissing, "over") {
		t.Errorf("%v", rep.Warnings)
	}
}

func TestEdgeOnTheLastKnot(t *testing.T) {
	c := newCurve([]trace.Time{10, 20, 30}, false)
	c.add(10, 0, 0, 0)
	c.add(20, 500, 0, 0)
	c.add(30, 700, 0, 0)
	c.end()
	for i, want := range []int64{0, 500, 1200} {
		if e := c.edges[i]; e.energy != want || !e.inside || e.covered != int64(10*i) {
			t.Errorf("edge %d: %+v", i, e)
		}
	}
}

func TestCurveOfTwoKnotsAndOfOne(t *testing.T) {
	c := newCurve([]trace.Time{5, 15, 25, 45}, false)
	c.add(10, 0, 0, 0)
	c.add(20, 1000, 0, 0)
	c.cut()
	c.add(40, 77, 0, 0) // what grew over the break is not known
	c.end()
	for i, want := range []edge{
		{at: 5}, {at: 15, energy: 500, covered: 5, inside: true}, {at: 25, energy: 1000, covered: 10}, {at: 45, energy: 1000, covered: 10},
	} {
		got := c.edges[i]
		got.sigma = 0
		if got != want {
			t.Errorf("edge %d: %+v, want %+v", i, got, want)
		}
	}
}

// The average field lags and smears; what it says of a window is the load's all
// the same. This one averages over 1.0 s sharp.
func TestAverageFieldIsInverted(t *testing.T) {
	step := func(t trace.Time) float64 {
		if t >= 10*sec {
			return 600
		}
		return 100
	}
	g := &gpu{watts: step, until: 31 * sec, start: -2 * sec}
	batches := rows([]sample.Device{device(0)}, 0, 30*sec, 20*ms, func(_ int, at trace.Time, r sample.Row) {
		tick := at / (100 * ms) * (100 * ms)
		r.Set(sample.PowerAverageWatts, g.energy(tick)-g.energy(tick-sec))
	})
	rep := reduceAll(t, []Span{phaseSpan("low", 5*sec, 10*sec), phaseSpan("high", 10*sec, 15*sec)}, true, Options{}, batches)
	low, high := value(t, rep.Phases[0].Metrics, TotalGPUPower), value(t, rep.Phases[1].Metrics, TotalGPUPower)
	near(t, "low", low, 100, 6) // the trapezoid has 205 and 585, moved earlier 112 and 588
	near(t, "high", high, 600, 6)
	if u := rep.Phases[0].Metrics[TotalGPUPower].Uncertainty.Random; low-100 > 3*u {
		t.Errorf("random uncertainty %v W, error %v W", u, low-100)
	}
	if m := rep.Phases[0].Metrics[TotalGPUPower].Method; m != "mean of power_average_watts, deconvolved (assumed)" {
		t.Errorf("method %q", m)
	}
}

func TestTrapezoidOfARamp(t *testing.T) {
	batches := rows([]sample.Device{device(0)}, 0, 30*sec, sec, func(_ int, at trace.Time, r sample.Row) {
		r.Set(sample.PowerWatts, 100+10*at.Seconds())
	})
	a, b := 5*sec+250*ms, 15*sec+750*ms
	rep := reduceAll(t, []Span{phaseSpan("p", a, b)}, true, Options{}, batches)
	lag := 0.55 // of a field that may be an average; the readings are of what was so long ago
	want := (100 + 10*(a.Seconds()+b.Seconds()+2*lag)/2) * b.Sub(a).Seconds()
	near(t, "energy", value(t, rep.Phases[0].Metrics, TotalGPUEnergy), want, 1e-4)
}

func TestUpdatePeriod(t *testing.T) {
	check := func(poll, period trace.Time, want time.Duration, seen bool) {
		t.Helper()
		g := &gpu{watts: flat(300), period: period, phase: 3 * ms, until: 61 * sec}
		s := curveOf(counterRows([]*gpu{g}, 0, 60*sec, poll), []trace.Time{sec, 2 * sec})
		if got := s.survey.updatePeriod(); (got-want).Abs() > want/50 || s.survey.periodSeen() != seen {
			t.Errorf("poll %v of %v: %v, seen %v", time.Duration(poll), time.Duration(period), got, s.survey.periodSeen())
		}
	}
	check(20*ms, 100*ms, 100*time.Millisecond, true)
	check(50*ms, 100*ms, 100*time.Millisecond, true)
	check(70*ms, 100*ms, 100*time.Millisecond, true)
	check(7*ms, 20*ms, 20*time.Millisecond, true)
	check(20*ms, 20*ms, 20*time.Millisecond, false) // no poll sees no change: at most the poll
	check(sec, 100*ms, 100*time.Millisecond, false) // the table's
}

// Slow polls see a value that is on average half a period old.
func TestSlowPollsAreMovedByHalfAPeriod(t *testing.T) {
	c := &counter{curve: newCurve(nil, false), period: 100 * time.Millisecond, maxGap: time.Minute, maxWatts: 1000}
	c.read(0, 0, 1)
	c.read(sec, 0, 2)
	if at := c.curve.recent[0].at; at != 950*ms {
		t.Errorf("knot at %v", time.Duration(at))
	}
	c.read(sec+40*ms, 0, 3)
	if at := c.curve.recent[1].at; at != sec+20*ms {
		t.Errorf("knot at %v", time.Duration(at))
	}
}

func TestTrackedUpdatesFollowADrift(t *testing.T) {
	// Updates at 100.4 ms while the survey said 100 ms: what the polls say must
	// move what is believed of them, and the bounds of each poll hold it.
	c := &counter{
		curve: newCurve(nil, false), period: 100 * time.Millisecond, regular: true, maxGap: time.Minute, maxWatts: 1e6,
		phase: tickPhase{period: 100 * time.Millisecond},
	}
	worst := 0.0
	for at := trace.Time(0); at < 60*sec; at += 20 * ms {
		n := at / (100*ms + 400_000)
		c.read(at, 0, float64(n))
		if truth := n * (100*ms + 400_000); at > 20*sec {
			worst = max(worst, math.Abs((c.curve.recent[2].at - truth).Seconds()))
		}
	}
	if worst > 0.003 {
		t.Errorf("an update is placed %v s off; the middle of two polls is 10 ms off at worst", worst)
	}
}

func TestEnclosureReachesBackOverTheFirstChange(t *testing.T) {
	c := newCounter([]trace.Time{105 * ms, 205 * ms}, &survey{})
	for _, r := range []struct {
		at trace.Time
		j  float64
	}{{0, 10}, {50 * ms, 10}, {100 * ms, 10}, {110 * ms, 13}, {150 * ms, 13}, {200 * ms, 13}, {210 * ms, 17}, {310 * ms, 20}} {
		c.read(r.at, 0, r.j)
	}
	c.end()
	got := enclosure(&c.curve.edges[0], &c.curve.edges[1])
	// At 105 ms the counter stood at 10 J and next showed, of a later update,
	// 17 J; at 205 ms it stood at 13 J and next showed 20 J.
	if got == nil || got.Low != 0 || got.High != 10 {
		t.Errorf("%+v", got)
	}
}

func TestRecordingEndsWithTheDeviceThatEndsFirst(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	batches := rows([]sample.Device{device(0), device(1)}, 0, 30*sec, 20*ms, func(d int, at trace.Time, r sample.Row) {
		if d == 0 && at < 20*sec || d == 1 && at > 4*sec {
			r.Set(sample.EnergyJoules, g.counter(at))
		}
	})
	rep := reduceAll(t, nil, false, Options{}, batches)
	ph := rep.Phases[0]
	near(t, "duration", *ph.DurationSeconds, 16, 0.5)
	if ph.Devices.Seen != 2 {
		t.Errorf("%+v", ph.Devices)
	}
}

func TestIdlePhaseAsksForNoTokens(t *testing.T) {
	g := &gpu{watts: flat(80), period: 100 * ms, until: 31 * sec}
	rep := reduceAll(t, []Span{{Name: "idle", Kind: "idle", Start: 5 * sec, End: trace.Some(15 * sec)}}, true, Options{}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms))
	for _, w := range rep.Warnings {
		if w.Code == WarnNoRequests || w.Code == WarnNoConcurrency || w.Code == WarnNoTokens {
			t.Error("an idle phase warns:", w)
		}
	}
}

func TestLagOfTheGauge(t *testing.T) {
	check := func(architecture string, field sample.MetricID, want time.Duration) {
		t.Helper()
		d := device(0)
		d.Architecture = architecture
		batches := rows([]sample.Device{d}, 0, 5*sec, 50*ms, func(_ int, _ trace.Time, r sample.Row) { r.Set(field, 300) })
		s := curveOf(batches, []trace.Time{sec, 2 * sec})
		if got := s.survey.sensor().Lag(); got != want {
			t.Errorf("%s %v: lag %v, want %v", architecture, field, got, want)
		}
	}
	check("hopper", sample.PowerAverageWatts, 550*time.Millisecond)
	check("hopper", sample.PowerInstantWatts, 62500*time.Microsecond)
	check("ampere", sample.PowerInstantWatts, 62500*time.Microsecond) // GA100: it has no average field
	check("ada", sample.PowerInstantWatts, 100*time.Millisecond)
	check("volta", sample.PowerInstantWatts, 15*time.Millisecond)
	check("", sample.PowerWatts, 550*time.Millisecond) // assumed
}
