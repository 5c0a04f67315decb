package reduce_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

// without returns a batch without the rows of a time.
func without(b *sample.Batch, from, to trace.Time) *sample.Batch {
	out := &sample.Batch{Devices: b.Devices}
	for i, at := range b.Time {
		if at >= from && at < to {
			continue
		}
		row := out.Append(int(b.Device[i]), at, b.Took[i])
		for _, id := range []sample.MetricID{sample.EnergyJoules, sample.PowerInstantWatts, sample.PowerAverageWatts} {
			if v, ok := b.Float(id, i); ok {
				row.Set(id, v)
			}
		}
	}
	return out
}

// A gap widens the uncertainty, and one that is too long leaves no energy: a
// counter makes a gap good as it goes on, up to ten seconds; power is lost.
func TestFidelityOfGaps(t *testing.T) {
	if underRace {
		t.Skip("simulations are run without the race detector")
	}
	t.Parallel()
	for _, test := range []struct {
		id     sample.MetricID
		gap    time.Duration
		energy bool // is stated
	}{
		{sample.EnergyJoules, 500 * time.Millisecond, true},
		{sample.EnergyJoules, 5 * time.Second, true},
		{sample.EnergyJoules, 12 * time.Second, false},
		{sample.PowerInstantWatts, 500 * time.Millisecond, true},
		{sample.PowerInstantWatts, 3 * time.Second, false},
		{sample.PowerAverageWatts, 500 * time.Millisecond, true},
		{sample.PowerAverageWatts, 3 * time.Second, false},
	} {
		held, n, wider := 0, 0, 0
		for seed := range uint64(20) {
			rng := rand.New(rand.NewPCG(seed, uint64(test.gap)))
			until := trace.Time(50 * time.Second)
			l := newLoadCurve(serve(rng, 0, until), nil)
			r := recordBoard(t, boards[1], 100*time.Millisecond, 20*time.Millisecond, l, until, rng)
			hole := trace.Time(15*time.Second) + trace.Time(rng.Int64N(1e9))
			end := hole.Add(test.gap)
			windows := []fidelityWindow{
				{from: trace.Time(10 * time.Second), to: trace.Time(40 * time.Second)},
				{from: trace.Time(10 * time.Second), to: hole.Add(test.gap / 2)}, // ends in the gap
			}
			whole := phasesOf(reduceWindows(r.only(test.id), windows))
			cut := phasesOf(reduceWindows(without(r.only(test.id), hole, end), windows))
			for i, w := range windows {
				m, before := cut[i].PerDevice[0].Metrics[reduce.GPUEnergy], whole[i].PerDevice[0].Metrics[reduce.GPUEnergy]
				if (m.Number != nil) != test.energy {
					t.Fatalf("%v, gap of %v, window %d: energy stated %v", test.id, test.gap, i, m.Number != nil)
				}
				if m.Number == nil {
					continue
				}
				n++
				if want := l.energy(w.to) - l.energy(w.from); math.Abs(m.Value-want) <= 1.96*m.Uncertainty.Random {
					held++
				}
				if i == 1 && m.Uncertainty.Random > before.Uncertainty.Random {
					wider++
				}
			}
		}
		t.Logf("%v, gap of %v: held in %d of %d, wider in %d of %d", test.id, test.gap, held, n, wider, n/2)
		widerLeast := n / 2 * 80 / 100
		if test.id == sample.PowerAverageWatts {
			widerLeast = n / 2 * 40 / 100 // the averages after the gap cover it, so that it may cost little
		}
		if test.energy && (held < n*85/100 || wider < widerLeast) {
			t.Errorf("%v, gap of %v: the stated 95 %% held in %d of %d windows, and were wider in %d of %d", test.id, test.gap, held, n, wider, n/2)
		}
	}
}
