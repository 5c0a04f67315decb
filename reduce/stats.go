package reduce

import (
	"math"
	"slices"
	"time"
)

// Describe returns the distribution of durations in seconds, and false for
// none. It sorts its argument. Sums are of integers, so the result does not
// depend on the order of the values.
func Describe(values []time.Duration) (Distribution, bool) {
	n := len(values)
	if n == 0 {
		return Distribution{}, false
	}
	slices.Sort(values)
	var sum float64 // of integers below 2^53: exact for 10^4 hours of nanoseconds
	for _, v := range values {
		sum += float64(v)
	}
	mean := sum / float64(n)
	var squares float64
	for _, v := range values {
		d := float64(v) - mean
		squares += float64(d * d)
	}
	p := func(q float64) float64 { return percentile(values, q) / 1e9 }
	return Distribution{
		Mean: mean / 1e9, Min: float64(values[0]) / 1e9, Max: float64(values[n-1]) / 1e9,
		P1: p(1), P5: p(5), P10: p(10), P25: p(25), P50: p(50), P75: p(75), P90: p(90), P95: p(95), P99: p(99),
		Std: math.Sqrt(squares/float64(n)) / 1e9, Count: int64(n),
	}, true
}

// percentile is type 7 of Hyndman and Fan (The American Statistician 50, 1996),
// numpy's default: linear between the order statistics around (n-1)q.
func percentile[T time.Duration | float64](sorted []T, percent float64) float64 {
	h := float64(len(sorted)-1) * percent / 100
	i := int(h)
	if i+1 >= len(sorted) {
		return float64(sorted[len(sorted)-1])
	}
	low, high := float64(sorted[i]), float64(sorted[i+1])
	return low + float64((h-float64(i))*(high-low))
}
