package characterise

import (
	"math/rand/v2"
	"testing"
	"time"

	"wattrace/reduce"
	"wattrace/sample/sim"
	"wattrace/trace"
)

const ms = time.Millisecond

// poll reads a simulated device under a square load of random lengths that
// begins after a rest.
func poll(t *testing.T, p sim.Profile, seed uint64, every, rest, total time.Duration, noise float64, lengths func(int) time.Duration) Input {
	t.Helper()
	devices, err := sim.New(sim.Options{Profile: p, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	d := devices[0]
	in := Input{Loaded: trace.Time(rest)}
	next, on, k := trace.Time(rest), false, 0
	watts := p.IdleWatts
	rng := rand.New(rand.NewPCG(seed, 1))
	for at := trace.Time(0); at < trace.Time(total); at = at.Add(every) {
		for next <= at {
			on = !on
			watts = p.IdleWatts
			if on {
				watts = p.LimitWatts * 0.9
			}
			d.SetPower(next, watts)
			next, k = next.Add(lengths(k)), k+1
		}
		if noise > 0 {
			d.SetPower(at, watts+noise*rng.NormFloat64())
		}
		r := d.Read(at)
		in.Counter = append(in.Counter, Reading{At: at, Value: float64(r.EnergyMillijoules) / 1e3})
		in.Instant = append(in.Instant, Reading{At: at, Value: float64(r.PowerInstantMilliwatts) / 1e3})
		if p.AverageSpan > 0 {
			in.Average = append(in.Average, Reading{At: at, Value: float64(r.PowerAverageMilliwatts) / 1e3})
		}
	}
	return in
}

func square(k int) time.Duration { return 1250*ms + time.Duration(k*k*37%91)*ms }

func TestProfiles(t *testing.T) {
	t.Parallel()
	for _, p := range sim.Profiles() {
		for seed := range uint64(3) {
			in := poll(t, p, seed, 4300*time.Microsecond, 10*time.Second, 60*time.Second, 3, square)
			r := Measure(in)
			t.Logf("%s %d: edges %d from %s", p.Name, seed, r.Edges, r.EdgesFrom)
			for _, f := range []Field{r.Counter, r.Instant, r.Average} {
				t.Logf("   %-8s period %v jitter %v rest %v kind %q %s window %v delay %v unfit %.3f", f.Name, f.Period, f.Jitter, f.Rest, f.Kind, f.KindWhy, f.Window, f.Delay, f.Unfit)
			}
		}
	}
	_ = reduce.SensorAverage
}
