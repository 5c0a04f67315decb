package reduce

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A skyline solves what elimination on the whole matrix solves.
func TestSkylineEqualsElimination(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	var s skyline // used again, as the solver does
	for range 200 {
		n := 1 + rng.IntN(30)
		first := make([]int, n)
		dense := make([][]float64, n)
		for i := range n {
			dense[i] = make([]float64, n+1)
			first[i] = rng.IntN(i + 1)
		}
		s.shape(first)
		for i := range n {
			for j := first[i]; j < i; j++ {
				x := rng.NormFloat64()
				dense[i][j], dense[j][i] = x, x
				s.add(i, j, x/2)
				s.add(i, j, x/2)
			}
		}
		b := make([]float64, n)
		for i := range n {
			d := 1.0
			for j := range n { // diagonally dominant, and so positive definite
				d += math.Abs(dense[i][j])
			}
			dense[i][i] = d
			s.add(i, i, d)
			b[i] = rng.NormFloat64()
			dense[i][n] = b[i]
		}
		if !s.factor() {
			t.Fatal("not positive definite")
		}
		s.solve(b)
		for i, want := range eliminate(dense) {
			if math.Abs(b[i]-want) > 1e-12 {
				t.Fatalf("of %d unknowns, number %d is %v, want %v", n, i, b[i], want)
			}
		}
	}
}

// eliminate solves a system whose last column is its right side.
func eliminate(m [][]float64) []float64 {
	n := len(m)
	for k := range n {
		for i := range n {
			if i == k {
				continue
			}
			f := m[i][k] / m[k][k]
			for j := k; j <= n; j++ {
				m[i][j] -= f * m[k][j]
			}
		}
	}
	x := make([]float64, n)
	for i := range n {
		x[i] = m[i][n] / m[i][i]
	}
	return x
}

func TestSkylineOfAnIndefiniteMatrix(t *testing.T) {
	t.Parallel()
	for _, last := range []float64{1, 0.5, math.NaN()} {
		var s skyline
		s.shape([]int{0, 0})
		s.add(0, 0, 1)
		s.add(1, 0, 1)
		s.add(1, 1, last)
		if s.factor() {
			t.Errorf("a matrix with %v in the corner was factored", last)
		}
	}
}
