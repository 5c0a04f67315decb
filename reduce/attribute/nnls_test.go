package attribute

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func problem(rows [][terms]float64, y []float64) *normal {
	m := &normal{n: terms}
	for i, x := range rows {
		m.add(x, y[i])
	}
	return m
}

func TestNonNegativeLeastSquares(t *testing.T) {
	t.Parallel()
	unit := [][terms]float64{{1}, {0, 1}, {0, 0, 1}, {0, 0, 0, 1}}
	for _, c := range []struct {
		name string
		rows [][terms]float64
		y    []float64
		want [terms]float64
	}{
		{"identity", unit, []float64{1, 2, 3, 4}, [terms]float64{1, 2, 3, 4}},
		{"held at zero", unit, []float64{1, -2, 3, -4}, [terms]float64{1, 0, 3, 0}},
		{"all held", unit, []float64{-1, -2, -3, -4}, [terms]float64{}},
		{"nothing", unit, []float64{0, 0, 0, 0}, [terms]float64{}},
		// Without the bound, 2 and -1; with it, the projection on the first.
		{"bound of one moves the other", [][terms]float64{{1, 0}, {1, 1}}, []float64{2, 1}, [terms]float64{1.5, 0}},
		{"of two equal columns the first", [][terms]float64{{1, 1}, {2, 2}, {3, 3}}, []float64{2, 4, 6}, [terms]float64{2, 0}},
	} {
		got, _ := problem(c.rows, c.y).nnls()
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 1e-9 {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
				break
			}
		}
	}
}

// The conditions of Karush, Kuhn and Tucker say that a solution is the best: no
// held coefficient would help, and no free one can.
func TestSolutionIsOptimal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var rows [][terms]float64
		var y []float64
		for range rapid.IntRange(6, 40).Draw(t, "rows") {
			// Columns that share much, so that what entered first must leave again.
			u, v, w := rng.Float64(), rng.Float64(), rng.Float64()
			rows = append(rows, [terms]float64{u + v + w, u + 0.2*rng.Float64(), v + 0.2*rng.Float64(), w + u})
			y = append(y, float64(u*rapid.Float64Range(0.5, 3).Draw(t, "of u"))+2*v+0.1*rng.NormFloat64())
		}
		m, _ := problem(rows, y).scaled()
		x, free := m.nnls()
		for j := range x {
			g := m.gradient(x, j)
			switch {
			case x[j] < 0 || !free[j] && x[j] != 0:
				t.Fatalf("%v, %v", x, free)
			case free[j] && math.Abs(g) > 1e-8*(1+math.Sqrt(m.squares)), !free[j] && g > 1e-8*(1+math.Sqrt(m.squares)):
				t.Fatalf("%v, %v: gradient %v of %d", x, free, g, j)
			}
		}
	})
}

func TestConditionNumber(t *testing.T) {
	t.Parallel()
	all := [terms]bool{true, true, true, true}
	m := &normal{n: terms, gram: [terms][terms]float64{{9, 0, 0, 0}, {0, 4, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 3}}}
	if got := m.condition(all); got != 9 {
		t.Errorf("diagonal: %v", got)
	}
	// Eigenvalues of [1 r; r 1] are 1+r and 1-r.
	two := &normal{n: terms, gram: [terms][terms]float64{{1, 0.6}, {0.6, 1}}}
	if got := two.condition([terms]bool{true, true}); math.Abs(got-4) > 1e-12 {
		t.Errorf("correlated by 0.6: %v, want 4", got)
	}
	one := &normal{n: terms, gram: [terms][terms]float64{{1, 1}, {1, 1}}}
	if got := one.condition([terms]bool{true, true}); got < 1e12 {
		t.Errorf("collinear: %v", got)
	}
}

func TestFitIsRefused(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 1))
	for _, c := range []struct {
		name    string
		cells   int
		row     func() [terms]float64
		noise   float64
		refused bool
	}{
		{"a load that varies", 200, func() [terms]float64 {
			return [terms]float64{rng.Float64(), rng.Float64(), rng.Float64(), rng.Float64()}
		}, 0.01, false},
		{"prompts in proportion to output", 200, func() [terms]float64 {
			u := rng.Float64()
			return [terms]float64{u, u + 1e-9*rng.Float64(), 0, 0}
		}, 0.01, true},
		{"mostly noise", 200, func() [terms]float64 {
			return [terms]float64{rng.Float64(), rng.Float64(), rng.Float64(), rng.Float64()}
		}, 3, true},
		{"one term too uncertain", 40, func() [terms]float64 {
			return [terms]float64{1 + 0.1*rng.Float64(), rng.Float64(), 1 + 0.1*rng.Float64(), 0}
		}, 0.3, true},
	} {
		m := &normal{n: terms}
		var sum [terms]float64
		total := 0.0
		for range c.cells {
			x := c.row()
			y := x[0] + 2*x[1] + 0.5*x[2] + x[3] + c.noise*rng.NormFloat64()
			m.add(x, y)
			for i := range x {
				sum[i] += x[i]
			}
			total += y
		}
		_, condition, _, rest, why := m.try(attempts[0], sum, total, fitCell)
		if (why != "") != c.refused {
			t.Errorf("%s: refused %q, condition %.3g, residual %.3g", c.name, why, condition, rest)
		}
	}
}
