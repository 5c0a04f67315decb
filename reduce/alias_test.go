package reduce_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

// repeated is a load that is busy for half of every period, which itself is a
// little uneven.
func repeated(rng *rand.Rand, period, jitter time.Duration, until trace.Time) *loadCurve {
	var steps []step
	for at := trace.Time(0); at < until; {
		this := period + time.Duration(float64(jitter)*rng.NormFloat64())
		steps = append(steps, step{at, 330 * (1 + 0.02*rng.NormFloat64())}, step{at.Add(this / 2), 80 * (1 + 0.02*rng.NormFloat64())})
		at = at.Add(this)
	}
	return newLoadCurve(steps, nil)
}

func hasCode(rep *reduce.Report, code reduce.Code) bool {
	return slices.ContainsFunc(rep.Warnings, func(w reduce.Warning) bool { return w.Code == code })
}

// aliasWarned reports whether a recording without a counter is warned of.
func aliasWarned(t *testing.T, b board, poll time.Duration, l *loadCurve, until trace.Time, rng *rand.Rand) bool {
	r := recordBoard(t, b, 100*time.Millisecond, poll, l, until, rng)
	return hasCode(reduceWindows(r.only(sample.PowerInstantWatts), nil), reduce.WarnAliased)
}

// A sensor that sees 25 ms of 100 is warned of under loads that repeat nearly as
// its updates do, or in a few of them.
func TestAliasedLoadsAreWarnedOf(t *testing.T) {
	if underRace {
		t.Skip("simulations are run without the race detector")
	}
	t.Parallel()
	for _, seconds := range []int{20, 60} {
		until := trace.Time(seconds) * trace.Time(time.Second)
		for _, period := range []int{80, 85, 90, 95, 97, 103, 104, 105, 108, 110, 115, 120, 130, 150, 180, 195, 200, 205, 210, 300, 400} {
			found, n := 0, 0
			for seed := range uint64(6) {
				for _, poll := range []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond} {
					rng := rand.New(rand.NewPCG(seed, uint64(period)))
					jitter := time.Duration(seed%3) * 300 * time.Microsecond
					n++
					if aliasWarned(t, boards[2], poll, repeated(rng, time.Duration(period)*time.Millisecond, jitter, until), until, rng) {
						found++
					}
				}
			}
			t.Logf("period %d ms for %d s: warned %d of %d times", period, seconds, found, n)
			if period <= 210 && found < n || found < n/2 {
				t.Errorf("period %d ms for %d s: warned %d of %d times only", period, seconds, found, n)
			}
		}
	}
}

// Loads that a sensor of a part of the time can follow are not.
func TestOtherLoadsAreNotWarnedOf(t *testing.T) {
	if underRace {
		t.Skip("simulations are run without the race detector")
	}
	t.Parallel()
	until := trace.Time(110 * time.Second)
	for _, b := range boards {
		for s, shape := range loadShapes {
			for seed := range uint64(12) {
				rng := rand.New(rand.NewPCG(seed, uint64(s)))
				poll := []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond}[seed%3]
				if aliasWarned(t, b, poll, drawLoad(rng, shape, until), until, rng) {
					t.Errorf("%s under %s (seed %d, poll %v) is warned of", b.name, shape, seed, poll)
				}
			}
		}
	}
}

// For squares of long periods there is no warning on a sensor of a part.
func TestLongSquaresAreNotWarnedOf(t *testing.T) {
	if underRace {
		t.Skip("simulations are run without the race detector")
	}
	t.Parallel()
	until := trace.Time(60 * time.Second)
	for _, period := range []time.Duration{1500, 2000, 3000, 5000, 8000, 12000} {
		for seed := range uint64(6) {
			rng := rand.New(rand.NewPCG(seed, uint64(period)))
			if aliasWarned(t, boards[2], 10*time.Millisecond, repeated(rng, period*time.Millisecond, 0, until), until, rng) {
				t.Errorf("period %v: warned", period*time.Millisecond)
			}
		}
	}
}

// Where an instant field that sees a part of the time contradicts the average
// beside it, the average counts and a warning says so; else there is none.
func TestUndersampledFieldsAreWarnedOf(t *testing.T) {
	if underRace {
		t.Skip("simulations are run without the race detector")
	}
	t.Parallel()
	until := trace.Time(60 * time.Second)
	warned := func(l *loadCurve, rng *rand.Rand) (bool, *reduce.Report, *recorded) {
		r := recordBoard(t, boards[0], 100*time.Millisecond, 20*time.Millisecond, l, until, rng)
		rep := reduceWindows(r.only(sample.PowerAverageWatts, sample.PowerInstantWatts), []fidelityWindow{{from: trace.Time(10 * time.Second), to: trace.Time(50 * time.Second)}})
		return hasCode(rep, reduce.WarnUndersampled), rep, r
	}
	found := 0
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 1))
		l := repeated(rng, 100200*time.Microsecond, 0, until) // in step with the updates, nearly
		yes, rep, _ := warned(l, rng)
		if yes {
			found++
		}
		want := l.energy(trace.Time(50*time.Second)) - l.energy(trace.Time(10*time.Second))
		if got := phasesOf(rep)[0].PerDevice[0].Metrics[reduce.GPUEnergy].Value; got < 0.995*want || got > 1.005*want {
			t.Errorf("seed %d: %v J of %v", seed, got, want)
		}
	}
	if found < 6 { // by chance the phase may be right
		t.Errorf("warned %d of 10 times", found)
	}
	for s, shape := range loadShapes {
		for seed := range uint64(8) {
			rng := rand.New(rand.NewPCG(seed, uint64(s)))
			if yes, _, _ := warned(drawLoad(rng, shape, until), rng); yes {
				t.Errorf("%s, seed %d: warned", shape, seed)
			}
		}
	}
}
