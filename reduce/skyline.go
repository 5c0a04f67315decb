package reduce

import "math"

// A skyline is a symmetric positive definite matrix of which each row is kept
// from its first element that is not zero to the diagonal, and its Cholesky
// factor, which has the same shape. Rows of very different reach cost what they
// are long, where a band would give all of them the reach of the longest.
type skyline struct {
	first []int     // column of each row's first stored element
	at    []int     // element (i, j) is v[at[i]+j]
	v     []float64 // row after row
}

// shape makes a zero matrix whose rows begin at the columns first, which it
// keeps.
func (s *skyline) shape(first []int) {
	s.first = first
	s.at = s.at[:0]
	n := 0
	for i, f := range first {
		s.at = append(s.at, n-f)
		n += i - f + 1
	}
	if cap(s.v) < n {
		s.v = make([]float64, n, n+n/4)
	}
	s.v = s.v[:n]
	clear(s.v)
}

// add adds x to element (i, j) and its mirror, i >= j.
func (s *skyline) add(i, j int, x float64) { s.v[s.at[i]+j] += x }

// factor replaces the matrix by its Cholesky factor, row by row. It reports
// whether the matrix was positive definite.
func (s *skyline) factor() bool {
	for i, first := range s.first {
		row := s.v[s.at[i]+first : s.at[i]+i+1]
		for j := first; j < i; j++ {
			from := max(first, s.first[j])
			other := s.v[s.at[j]+from : s.at[j]+j]
			row[j-first] = (row[j-first] - dot(row[from-first:], other)) / s.v[s.at[j]+j]
		}
		left := row[:i-first]
		d := row[i-first] - dot(left, left)
		if !(d > 0) {
			return false
		}
		row[i-first] = math.Sqrt(d)
	}
	return true
}

// solve replaces b by the solution of the system that was factored.
func (s *skyline) solve(b []float64) {
	for i, first := range s.first {
		row := s.v[s.at[i]+first : s.at[i]+i+1]
		b[i] = (b[i] - dot(b[first:i], row)) / row[i-first]
	}
	for i := len(b) - 1; i >= 0; i-- {
		first := s.first[i]
		row := s.v[s.at[i]+first : s.at[i]+i+1]
		b[i] /= row[i-first]
		x := b[i]
		for j, c := range row[:i-first] {
			b[first+j] -= float64(c * x)
		}
	}
}

// dot returns the sum of a[i]*b[i] over the shorter of both, in one order
// everywhere and without fused multiply-adds, so that every machine gets the
// same bits.
func dot(a, b []float64) float64 {
	if len(a) > len(b) {
		a = a[:len(b)]
	} else {
		b = b[:len(a)]
	}
	var s0, s1 float64
	i := 0
	for ; i+1 < len(a) && i+1 < len(b); i += 2 {
		s0 += float64(a[i] * b[i])
		s1 += float64(a[i+1] * b[i+1])
	}
	if i < len(a) {
		s0 += float64(a[i] * b[i])
	}
	return s0 + s1
}
