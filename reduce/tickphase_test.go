package reduce

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"wattrace/trace"
)

// phaseTest is a field with regular updates that is polled.
type phaseTest struct {
	period   time.Duration // of the updates
	poll     time.Duration
	bursts   time.Duration // the field changes for 1.1 s in every such time; 0 is always
	outOfTun float64       // probability of an update out of turn, each period
}

// errors returns the RMS error of the stamps and that of the middles of polls,
// in milliseconds, and by how much the errors exceed what is stated.
func (c phaseTest) errors(t *testing.T) (stamps, middles, stated float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, uint64(c.poll)))
	p := tickPhase{period: 100 * time.Millisecond}
	next := trace.Time(37 * time.Millisecond) // the update to come
	var last, updated trace.Time              // poll and update
	n := 0
	for at := trace.Time(0); at < 200*sec; at = at.Add(c.poll + time.Duration(rng.Int64N(3e6))) {
		changed := false
		for ; next <= at; next = next.Add(c.period) {
			changed, updated = true, next
		}
		if rng.Float64() < c.outOfTun*float64(c.poll)/float64(c.period) {
			changed, updated = true, last+trace.Time(rng.Int64N(int64(at-last)+1))
		}
		from := max(last, at-trace.Time(p.period))
		quiet := c.bursts > 0 && at%trace.Time(c.bursts) > 1100*ms
		if changed && !quiet && last > 0 {
			got, sigma := p.stamp(from, at)
			if got <= from || got > at || !(sigma >= 0) || sigma > 0.03 {
				t.Fatalf("an update between %v and %v is stamped %v +- %v s", from, at, got, sigma)
			}
			if at > 20*sec {
				a, b := got.Sub(updated).Seconds(), (from + (at-from)/2).Sub(updated).Seconds()
				stamps, middles, stated, n = stamps+a*a, middles+b*b, stated+sigma*sigma, n+1
			}
		}
		last = at
	}
	rms := func(square float64) float64 { return 1000 * math.Sqrt(square/float64(n)) }
	return rms(stamps), rms(middles), rms(stamps) / rms(stated)
}

func TestTickPhase(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		phaseTest
		most float64 // RMS error, ms
	}{
		"as it should be":        {phaseTest{period: 100 * ms, poll: 37 * ms}, 2},
		"a shorter period":       {phaseTest{period: 99_300_000, poll: 37 * ms}, 3},
		"a longer one":           {phaseTest{period: 100_600_000, poll: 37 * ms}, 3},
		"after long plateaus":    {phaseTest{period: 99_600_000, poll: 37 * ms, bursts: 7 * time.Second}, 5},
		"fast polls":             {phaseTest{period: 100_400_000, poll: 8 * ms}, 2.2},
		"updates out of turn":    {phaseTest{period: 100_200_000, poll: 37 * ms, outOfTun: 0.1}, 6},
		"polls in step with it":  {phaseTest{period: 100 * ms, poll: 48_500_000}, 6},
		"polls as slow as it is": {phaseTest{period: 100 * ms, poll: 99 * ms}, 32},
	} {
		stamps, middles, stated := test.errors(t)
		t.Logf("%-22s RMS error %.1f ms, %.2f of what is stated; of the middle of the polls %.1f ms", name, stamps, stated, middles)
		if stamps > test.most || stated > 2 {
			t.Errorf("%s: RMS error %.1f ms, %.2f of what is stated, want at most %.1f ms", name, stamps, stated, test.most)
		}
	}
}
