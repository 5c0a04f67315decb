package reduce

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wattrace/sample"
	"wattrace/trace"
)

// drawGPU draws a device whose power changes at random whole milliseconds.
func drawGPU(t *rapid.T, until trace.Time) *gpu {
	type step struct {
		at    trace.Time
		watts float64
	}
	var steps []step
	for at := trace.Time(0); at <= until; {
		steps = append(steps, step{at, float64(rapid.IntRange(60, 700).Draw(t, "watts"))})
		at += trace.Time(rapid.IntRange(1, 900).Draw(t, "milliseconds")) * ms
	}
	return &gpu{until: until + sec, period: 100 * ms, phase: trace.Time(rapid.IntRange(0, 99).Draw(t, "phase")) * ms,
		watts: func(at trace.Time) float64 {
			i := len(steps) - 1
			for steps[i].at > at {
				i--
			}
			return steps[i].watts
		}}
}

func drawPoll(t *rapid.T) trace.Time {
	return rapid.SampledFrom([]trace.Time{7 * ms, 20 * ms, 50 * ms, 100 * ms, 230 * ms, sec}).Draw(t, "poll")
}

// curveOf reduces one device's counter over windows and returns the results.
func curveOf(batches []*sample.Batch, instants []trace.Time) *series {
	r := New(trace.Clock{}, nil, true, Options{})
	for _, b := range batches {
		r.Survey(b, Recording{})
	}
	for i := 1; i < len(instants); i++ {
		r.phases = append(r.phases, &phase{Span: Span{Start: instants[i-1], End: trace.Some(instants[i])}})
	}
	r.Start()
	for _, b := range batches {
		r.Telemetry(b, Recording{})
	}
	r.Report()
	return r.gpus[0]
}

func TestWindowsAddUpExactly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := drawGPU(t, 12*sec)
		if rapid.Bool().Draw(t, "reset") {
			g.resetAt = trace.Time(rapid.Int64Range(int64(sec), int64(11*sec)).Draw(t, "reset at"))
		}
		batches := counterRows([]*gpu{g}, 0, 12*sec, drawPoll(t))
		at := rapid.SliceOfNDistinct(rapid.Int64Range(0, int64(12*sec)), 3, 8, rapid.ID).Draw(t, "instants")
		var instants []trace.Time
		for _, v := range at {
			instants = append(instants, trace.Time(v))
		}
		sortTimes(instants)
		s := curveOf(batches, append(instants, instants[0])) // the last phase is empty, but makes every instant an edge
		c := s.counter.curve
		first, last := c.edgeAt(instants[0]), c.edgeAt(instants[len(instants)-1])
		var energy, covered int64
		for i := 1; i < len(instants); i++ {
			a, b := c.edgeAt(instants[i-1]), c.edgeAt(instants[i])
			if b.energy < a.energy {
				t.Fatalf("negative energy %d", b.energy-a.energy)
			}
			part := b.covered - a.covered
			if part < 0 || part > int64(b.at-a.at) {
				t.Fatalf("covered %d of %d ns", part, b.at-a.at)
			}
			energy += b.energy - a.energy
			covered += part
		}
		if energy != last.energy-first.energy || covered != last.covered-first.covered {
			t.Fatalf("parts %d uJ %d ns, whole %d uJ %d ns", energy, covered, last.energy-first.energy, last.covered-first.covered)
		}
	})
}

func sortTimes(list []trace.Time) {
	for i := range list {
		for j := i; j > 0 && list[j] < list[j-1]; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

func TestEnclosureHoldsTheTruth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := drawGPU(t, 12*sec)
		batches := counterRows([]*gpu{g}, 0, 12*sec, drawPoll(t))
		a := trace.Time(rapid.Int64Range(int64(2500*ms), int64(6*sec)).Draw(t, "a"))
		b := trace.Time(rapid.Int64Range(int64(a), int64(9*sec)).Draw(t, "b")) + 1
		s := curveOf(batches, []trace.Time{a, b})
		d := s.window(a, b)
		truth := g.energy(b) - g.energy(a)
		if !d.whole || d.enclosure == nil {
			t.Fatalf("window [%v, %v): %+v", a, b, d)
		}
		const mJ = 0.0021 // the counter is cut to whole millijoules
		if d.enclosure.Low > truth+mJ || d.enclosure.High < truth-mJ {
			t.Fatalf("truth %v J is not in [%v, %v]", truth, d.enclosure.Low, d.enclosure.High)
		}
		if d.joules > d.enclosure.High+1e-6 || d.joules < d.enclosure.Low-1e-6 {
			t.Fatalf("%v J is not in its own enclosure [%v, %v]", d.joules, d.enclosure.Low, d.enclosure.High)
		}
	})
}

func TestShiftOfTimeChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := drawGPU(t, 8*sec)
		batches := counterRows([]*gpu{g}, 0, 8*sec, drawPoll(t))
		by := trace.Time(rapid.Int64Range(-int64(1000*sec), int64(1000*sec)).Draw(t, "by"))
		a, b := 2300*ms+1, 6100*ms+7
		want := curveOf(batches, []trace.Time{a, b}).window(a, b)
		for _, batch := range batches {
			for i := range batch.Time {
				batch.Time[i] += by
			}
		}
		got := curveOf(batches, []trace.Time{a + by, b + by}).window(a+by, b+by)
		if got.joules != want.joules || got.coverage != want.coverage || got.sigma != want.sigma || *got.enclosure != *want.enclosure {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
	})
}

// The curve evaluates edges while knots stream by; this places all knots
// first, in floating point, and reads the edges off the whole list.
func slowEnergy(readings [][2]float64, period float64, regular bool, t float64) (joules float64, ok bool) {
	type point struct{ at, e float64 }
	var knots []point
	phase := tickPhase{period: time.Duration(math.Round(period * 1e9))}
	for i := 1; i < len(readings); i++ {
		if readings[i][1] <= readings[i-1][1] {
			continue
		}
		seen, late := readings[i][0], math.Min(period, readings[i][0]-readings[i-1][0])
		at := seen - late/2
		if regular {
			stamp, _ := phase.stamp(trace.Time(math.Round((seen-late)*1e9)), trace.Time(math.Round(seen*1e9)))
			at = float64(stamp) / 1e9
			if n := len(knots); n > 0 {
				at = math.Max(at, math.Min(knots[n-1].at+period/minApart, seen))
			}
		}
		knots = append(knots, point{at, readings[i][1]})
	}
	watts := func(i int) float64 { return (knots[i].e - knots[i-1].e) / (knots[i].at - knots[i-1].at) }
	roughness, changes := 0.0, 0.0
	for i := 1; i < len(knots); i++ {
		if i > 1 {
			changes = math.Min(changes+1, 32)
			roughness += (math.Pow(watts(i)-watts(i-1), 2) - roughness) / changes
		}
		a, b := knots[i-1], knots[i]
		if t < a.at || t > b.at {
			continue
		}
		span, x, y := b.at-a.at, t-a.at, b.at-t
		e := a.e + (b.e-a.e)*x/span
		if i > 1 && i+1 < len(knots) {
			before, after := watts(i-1), watts(i+1)
			grown := b.e - a.e
			if math.Pow(before-after, 2) > stepTest*math.Max(roughness, 1) && grown >= math.Min(before, after)*span-resolution {
				rest := math.Max(grown, math.Min(before, after)*span) - before*x - after*y
				e = a.e + before*x + rest*before*before*x/(before*before*x+after*after*y)
			} else {
				e += rampShare * (before - after) * x * y / span
			}
		}
		return math.Min(math.Max(e, a.e), b.e), true
	}
	return 0, false
}

func TestFastEqualsSlow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := drawGPU(t, 8*sec)
		batches := counterRows([]*gpu{g}, 0, 8*sec, drawPoll(t))
		a := trace.Time(rapid.Int64Range(0, int64(8*sec)).Draw(t, "a"))
		b := trace.Time(rapid.Int64Range(int64(a), int64(8*sec)).Draw(t, "b")) + 1
		s := curveOf(batches, []trace.Time{a, b})
		got := s.window(a, b)
		var readings [][2]float64
		for _, batch := range batches {
			for i := range batch.Time {
				v, _ := batch.Float(sample.EnergyJoules, i)
				readings = append(readings, [2]float64{float64(batch.Time[i]) / 1e9, v})
			}
		}
		period := s.survey.updatePeriod().Seconds()
		ea, okA := slowEnergy(readings, period, s.survey.periodSeen(), float64(a)/1e9)
		eb, okB := slowEnergy(readings, period, s.survey.periodSeen(), float64(b)/1e9)
		if whole := okA && okB; whole != got.whole {
			t.Fatalf("bracketed: %v, slow %v", got.whole, whole)
		}
		if got.whole && math.Abs(got.joules-(eb-ea)) > 1e-4 {
			t.Fatalf("%v J, slow %v J", got.joules, eb-ea)
		}
	})
}

func TestCounterAndIntegralAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := float64(rapid.IntRange(60, 700).Draw(t, "watts"))
		g := &gpu{watts: flat(w), period: 100 * ms, until: 31 * sec}
		batches := rows([]sample.Device{device(0)}, 0, 20*sec, drawPoll(t), func(_ int, at trace.Time, r sample.Row) {
			r.Set(sample.EnergyJoules, g.counter(at))
			r.Set(sample.PowerAverageWatts, w)
		})
		a, b := 5*sec, 14*sec
		d := curveOf(batches, []trace.Time{a, b}).window(a, b)
		if math.Abs(d.joules-d.watts.V.value*9) > 1+w*0.2 { // two edges, each within an update
			t.Fatalf("counter %v J, integral %v J", d.joules, d.watts.V.value*9)
		}
		if math.Abs(d.watts.V.value-w) > 1e-5 {
			t.Fatalf("mean power %v W of %v W", d.watts.V.value, w)
		}
	})
}
