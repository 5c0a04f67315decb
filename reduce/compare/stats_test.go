package compare

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"golang.org/x/perf/benchmath"
	"pgregory.net/rapid"
)

// trials is how many experiments are generated: WATTRACE_TRIALS=full takes many.
func trials() int {
	if os.Getenv("WATTRACE_TRIALS") == "full" {
		return 50000
	}
	return 1500
}

// within reports whether a share of so many trials may come from a probability, within
// four standard deviations.
func within(share, p float64, n int) bool {
	return math.Abs(share-p) <= 4*math.Sqrt(p*(1-p)/float64(n))
}

// scatters are how runs may scatter, with a standard deviation of 1.
var scatters = map[string]func(*rand.Rand) float64{
	"normal":    func(r *rand.Rand) float64 { return r.NormFloat64() },
	"uniform":   func(r *rand.Rand) float64 { return math.Sqrt(12) * (r.Float64() - 0.5) },
	"skewed":    func(r *rand.Rand) float64 { return r.ExpFloat64() - 1 },
	"two modes": func(r *rand.Rand) float64 { return float64(2*r.IntN(2)-1)*0.98 + 0.2*r.NormFloat64() },
}

func draw(r *rand.Rand, n int, mean, sd float64, scatter func(*rand.Rand) float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = mean * (1 + sd*scatter(r))
	}
	return out
}

// Groups that do not differ are seldom said to: at most in alpha of the cases. Where they
// do, the interval holds the true factor in at least 1 - alpha of them.
func TestFalsePositives(t *testing.T) {
	t.Parallel()
	for name, scatter := range scatters {
		for _, sizes := range [][2]int{{4, 4}, {6, 6}, {3, 9}, {10, 10}} {
			r := rand.New(rand.NewPCG(1, uint64(sizes[0])))
			n := trials()
			found, foundPairs, missed, missedPairs := 0, 0, 0, 0
			for range n {
				a := draw(r, sizes[0], 500, 0.01, scatter)
				b := draw(r, sizes[1], 500, 0.01, scatter)
				_, ci := unpaired(a, b, ratio, 0.05)
				if p := unpairedP(a, b); p <= 0.05 {
					found++
				}
				if ci.excludes(1) {
					missed++
				}
				if sizes[0] == sizes[1] {
					p, _, ci := paired(a, b, true, 0.05)
					if p <= 0.05 {
						foundPairs++
					}
					if ci.excludes(1) {
						missedPairs++
					}
				}
			}
			for what, k := range map[string]int{"U test": found, "its interval": missed, "signed ranks": foundPairs, "their interval": missedPairs} {
				share := float64(k) / float64(n)
				if share > 0.05 && !within(share, 0.05, n) {
					t.Errorf("%s, %v runs: %s finds a difference in %.2f %% of %d cases without one", name, sizes, what, 100*share, n)
				}
				if testing.Verbose() && name == "normal" {
					t.Logf("%s, %v runs: %s: %.2f %% of %d cases", name, sizes, what, 100*share, n)
				}
			}
		}
	}
}

// Six runs of each find a change of 2 % with a standard deviation of 1 % in at least 80 %
// of the cases.
func TestPower(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(2, 2))
	n, found, inside := trials(), 0, 0
	for range n {
		a := draw(r, 6, 500, 0.01, scatters["normal"])
		b := draw(r, 6, 510, 0.01, scatters["normal"])
		_, ci := unpaired(a, b, ratio, 0.05)
		if unpairedP(a, b) <= 0.05 && ci.excludes(1) {
			found++
		}
		if !ci.excludes(1.02) {
			inside++
		}
	}
	t.Logf("found %.1f %%, the interval holds the truth in %.1f %% of %d", 100*float64(found)/float64(n), 100*float64(inside)/float64(n), n)
	if share := float64(found) / float64(n); share < 0.8 {
		t.Errorf("found in %.1f %% of the cases", 100*share)
	}
	if share := float64(inside) / float64(n); share < 0.95 && !within(share, 0.95, n) {
		t.Errorf("the interval holds the truth in %.1f %% of the cases", 100*share)
	}
}

// slowU is the two-sided p, twice that of the rarer side, by all ways of giving the values
// to the two groups.
func slowU(a, b []float64) float64 {
	all := slices.Concat(a, b)
	u := func(mask uint) (u2 int) { // twice U
		for i, x := range all {
			for j, y := range all {
				if mask>>i&1 == 1 && mask>>j&1 == 0 {
					switch {
					case x < y:
						u2 += 2
					case x == y:
						u2++
					}
				}
			}
		}
		return u2
	}
	mask := uint(1)<<len(a) - 1
	seen := u(mask)
	n, below, above := 0, 0, 0
	for m := range uint(1) << len(all) {
		if bits.OnesCount(m) != len(a) {
			continue
		}
		n++
		if u(m) <= seen {
			below++
		}
		if u(m) >= seen {
			above++
		}
	}
	return min(1, 2*float64(min(below, above))/float64(n))
}

// slowW is the two-sided p by all signs of the pairs' differences.
func slowW(d []float64) float64 {
	d = slices.DeleteFunc(slices.Clone(d), func(v float64) bool { return v == 0 })
	rank2 := func(i int) (r int) {
		for _, v := range d {
			switch x, y := math.Abs(v), math.Abs(d[i]); {
			case x < y:
				r += 2
			case x == y:
				r++
			}
		}
		return r + 1
	}
	total, seen := 0, 0
	for i, v := range d {
		total += rank2(i)
		if v > 0 {
			seen += rank2(i)
		}
	}
	far := 0
	for m := range uint(1) << len(d) {
		w := 0
		for i := range d {
			if m>>i&1 == 1 {
				w += rank2(i)
			}
		}
		if x, y := 2*w-total, 2*seen-total; x*x >= y*y {
			far++
		}
	}
	return float64(far) / float64(uint(1)<<len(d))
}

func TestTestsEqualSlowOnes(t *testing.T) {
	t.Parallel()
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-5 }
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.IntRange(1, rapid.SampledFrom([]int{3, 1000000}).Draw(t, "ties")) // few values tie
		sample := func(name string, n int) (out []float64) {
			for range n {
				out = append(out, float64(value.Draw(t, name)))
			}
			return out
		}
		a, b := sample("a", rapid.IntRange(1, 5).Draw(t, "m")), sample("b", rapid.IntRange(1, 5).Draw(t, "n"))
		if got, want := unpairedP(a, b), slowU(a, b); !near(got, want) {
			t.Errorf("U of %v, %v: p = %v, want %v", a, b, got, want)
		}
		n := rapid.IntRange(1, 8).Draw(t, "pairs")
		a, b = sample("a", n), sample("b", n)
		var d []float64
		for i := range a {
			d = append(d, b[i]-a[i])
		}
		if got, want := signedRankP(d, false), slowW(d); !near(got, want) {
			t.Errorf("signed ranks of %v: p = %v, want %v", d, got, want)
		}
	})
}

// What benchstat computes is the same where no values are equal.
func TestLikeBenchstat(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		m, n := rapid.IntRange(1, 60).Draw(t, "m"), rapid.IntRange(1, 60).Draw(t, "n")
		a, b := draw(r, m, 500, 0.01, scatters["normal"]), draw(r, n, 503, 0.01, scatters["normal"])
		th := &benchmath.DefaultThresholds
		want := benchmath.AssumeNothing.Compare(benchmath.NewSample(slices.Clone(a), th), benchmath.NewSample(slices.Clone(b), th))
		if got := unpairedP(a, b); math.Abs(got-want.P) > 1e-5*want.P {
			t.Errorf("%d and %d runs: p = %v, want %v", m, n, got, want.P)
		}
	})
}

// Without ties an interval excludes no change just where its test finds one.
func TestIntervalsAreTheirTests(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		m, n := rapid.IntRange(1, 12).Draw(t, "m"), rapid.IntRange(1, 12).Draw(t, "n")
		alpha := rapid.SampledFrom([]float64{0.01, 0.05, 0.2}).Draw(t, "alpha")
		by := 1 + 0.02*r.Float64()
		a, b := draw(r, m, 500, 0.01, scatters["normal"]), draw(r, n, 500*by, 0.01, scatters["normal"])
		for _, change := range []struct {
			of   func(a, b float64) float64
			none float64
		}{{ratio, 1}, {difference, 0}} {
			v, ci := unpaired(a, b, change.of, alpha)
			if p := unpairedP(a, b); (p <= alpha) != ci.excludes(change.none) {
				t.Errorf("p = %v, interval %v", p, ci)
			}
			if ci.excludes(v) {
				t.Errorf("%v is not in %v", v, ci)
			}
			if enough(m, n, false, alpha) != (ci != nil) {
				t.Errorf("%d and %d runs: interval %v", m, n, ci)
			}
		}
		if m != n {
			return
		}
		p, v, ci := paired(a, b, true, alpha)
		if (p <= alpha) != ci.excludes(1) || ci.excludes(v) || enough(n, n, true, alpha) != (ci != nil) {
			t.Errorf("%d pairs: p = %v, %v in %v", n, p, v, ci)
		}
	})
}

// Scaled, swapped and reordered groups give what follows from that.
func TestChangesFollowTheirGroups(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		a, b := draw(r, 7, 500, 0.01, scatters["skewed"]), draw(r, 6, 505, 0.01, scatters["skewed"])
		v, ci := unpaired(a, b, ratio, 0.05)
		w, ic := unpaired(b, a, ratio, 0.05)
		if math.Abs(v*w-1) > 1e-3 || math.Abs(ci.Low*ic.High-1) > 1e-12 { // the mean of two ratios is not that of their inverses
			t.Errorf("%v %v, swapped %v %v", v, ci, w, ic)
		}
		double := make([]float64, len(b))
		for i := range b {
			double[i] = 2 * b[len(b)-1-i]
		}
		if x, xi := unpaired(a, double, ratio, 0.05); x != 2*v || xi.Low != 2*ci.Low || xi.High != 2*ci.High {
			t.Errorf("twice as much is %v %v, not twice %v %v", x, xi, v, ci)
		}
	})
}

func TestNeeded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		alpha  float64
		paired bool
		want   int
	}{{0.05, false, 4}, {0.01, false, 5}, {0.1, false, 3}, {0.05, true, 6}, {0.01, true, 8}, {0.5, false, 2}} {
		if got := needed(c.paired, c.alpha); got != c.want {
			t.Errorf("alpha %v, paired %t: %d, want %d", c.alpha, c.paired, got, c.want)
		}
	}
	if !enough(3, 20, false, 0.05) || enough(1, 30, false, 0.05) || enough(0, 9, false, 0.05) {
		t.Error("groups of unequal sizes")
	}
}

// Beyond the exact distribution the normal one goes on where it ends.
func TestCriticalUGoesOn(t *testing.T) {
	t.Parallel()
	exact, normal := criticalU(50, 50, 0.05), criticalU(50, 51, 0.05)
	if d := normal - exact; d < 10 || d > 40 { // U grows by some 20 a run there
		t.Errorf("50 and 50: %d, 50 and 51: %d", exact, normal)
	}
}
