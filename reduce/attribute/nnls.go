package attribute

import "math"

// terms is the most columns of a fit.
const terms = 4

// normal is the sums of a least-squares problem: the upper left n by n corner of
// Gram matrix, and the products of the columns with the observations.
type normal struct {
	n       int
	gram    [terms][terms]float64
	moment  [terms]float64
	squares float64 // of the observations
	count   int
}

// add takes one observation.
func (m *normal) add(x [terms]float64, y float64) {
	for i := range m.n {
		for j := range m.n {
			m.gram[i][j] += float64(x[i] * x[j])
		}
		m.moment[i] += float64(x[i] * y)
	}
	m.squares += float64(y * y)
	m.count++
}

// scaled returns the problem with columns of length 1, and the lengths. A column
// of zeros stays.
func (m *normal) scaled() (normal, [terms]float64) {
	s := *m
	var length [terms]float64
	for i := range m.n {
		length[i] = math.Sqrt(m.gram[i][i])
	}
	for i := range m.n {
		for j := range m.n {
			if d := float64(length[i] * length[j]); d > 0 {
				s.gram[i][j] /= d
			}
		}
		if length[i] > 0 {
			s.moment[i] /= length[i]
		}
	}
	return s, length
}

// nnls returns the non-negative coefficients that minimise the sum of squares,
// by the active-set method of Lawson and Hanson (Solving Least Squares Problems,
// 1974, chapter 23) on the normal equations, and which of them are not held at
// zero. Columns should be of length 1, see [normal.scaled]; of columns that
// depend on each other the first are used.
func (m *normal) nnls() (x [terms]float64, free [terms]bool) {
	const tolerance = 1e-10
	var barred [terms]bool // would make the system singular
	for range 3 * terms * terms {
		// 1. The held coefficient whose growth helps most.
		best, most := -1, tolerance*math.Sqrt(m.squares)
		for j := range m.n {
			if g := m.gradient(x, j); !free[j] && !barred[j] && g > most {
				best, most = j, g
			}
		}
		if best < 0 {
			return x, free
		}
		free[best] = true
		// 2. Solve for the free ones; while one would be negative, go to where the
		// first reaches zero, and hold that.
		for {
			z, ok := m.solve(free)
			if !ok || z[best] <= 0 && x[best] == 0 {
				free[best], barred[best] = false, true
				break
			}
			step, at := 1.0, -1
			for j := range m.n {
				if free[j] && z[j] <= 0 {
					if s := x[j] / (x[j] - z[j]); at < 0 || s < step {
						step, at = s, j
					}
				}
			}
			for j := range m.n {
				if free[j] {
					x[j] += float64(step * (z[j] - x[j]))
				}
			}
			if at < 0 {
				x = z
				break
			}
			x[at], free[at] = 0, false
		}
	}
	return x, free
}

// gradient returns by how much less than half the sum of squares falls as
// coefficient j grows.
func (m *normal) gradient(x [terms]float64, j int) float64 {
	g := m.moment[j]
	for i := range m.n {
		g -= float64(m.gram[i][j] * x[i])
	}
	return g
}

// solve returns the unconstrained solution in the free coefficients, and false
// where the columns depend on each other.
func (m *normal) solve(free [terms]bool) ([terms]float64, bool) {
	inv, ok := m.inverse(free)
	var z [terms]float64
	for i := range m.n {
		for j := range m.n {
			z[i] += float64(inv[i][j] * m.moment[j])
		}
	}
	return z, ok
}

// inverse returns the inverse of the part of the Gram matrix that the free
// columns make, by Gauss and Jordan without pivoting, which is stable for a
// positive definite matrix.
func (m *normal) inverse(free [terms]bool) (inv [terms][terms]float64, ok bool) {
	g := m.gram
	for i := range m.n {
		inv[i][i] = 1
	}
	for p := range m.n {
		if !free[p] {
			inv[p] = [terms]float64{}
			continue
		}
		if !(g[p][p] > 1e-12*m.gram[p][p]) {
			return inv, false
		}
		pivot := g[p][p]
		for j := range m.n {
			g[p][j] /= pivot
			inv[p][j] /= pivot
		}
		for i := range m.n {
			f := g[i][p]
			if i == p || !free[i] {
				continue
			}
			for j := range m.n {
				g[i][j] -= float64(f * g[p][j])
				inv[i][j] -= float64(f * inv[p][j])
			}
		}
	}
	for i := range m.n {
		for j := range m.n {
			if !free[j] || !free[i] {
				inv[i][j] = 0
			}
		}
	}
	return inv, true
}

// residual returns the sum of squares that is left.
func (m *normal) residual(x [terms]float64) float64 {
	r := m.squares
	for i := range m.n {
		r -= float64(x[i] * (m.moment[i] + m.gradient(x, i)))
	}
	return max(r, 0)
}

// condition returns the ratio of the largest to the least eigenvalue of the Gram
// matrix of the free columns, by Jacobi's rotations, and +Inf where the least is
// not positive.
func (m *normal) condition(free [terms]bool) float64 {
	a := m.gram
	for range 30 {
		for p := range m.n {
			for q := p + 1; q < m.n; q++ {
				if free[p] && free[q] {
					rotate(&a, m.n, p, q)
				}
			}
		}
	}
	low, high := math.Inf(1), 0.0
	for i := range m.n {
		if free[i] {
			low, high = min(low, a[i][i]), max(high, a[i][i])
		}
	}
	if low <= 0 {
		return math.Inf(1)
	}
	return high / low
}

// rotate makes element p, q of a symmetric matrix zero by a rotation.
func rotate(a *[terms][terms]float64, n, p, q int) {
	if a[p][q] == 0 {
		return
	}
	theta := (a[q][q] - a[p][p]) / (2 * a[p][q])
	t := 1 / (math.Abs(theta) + math.Sqrt(float64(theta*theta)+1))
	if theta < 0 {
		t = -t
	}
	c := 1 / math.Sqrt(float64(t*t)+1)
	s := t * c
	for k := range n {
		x, y := a[k][p], a[k][q]
		a[k][p], a[k][q] = float64(c*x)-float64(s*y), float64(s*x)+float64(c*y)
	}
	for k := range n {
		x, y := a[p][k], a[q][k]
		a[p][k], a[q][k] = float64(c*x)-float64(s*y), float64(s*x)+float64(c*y)
	}
}
