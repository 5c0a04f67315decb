// Package histogram counts durations in buckets of a fixed layout, so that
// histograms of one run merge to what one of the whole run would be, and a report's
// buckets are the same in every version.
//
// # Layout
//
// A duration below 256 ns has a bucket of its own, one below zero is taken for
// zero. Above, each octave from 2^k to 2^(k+1) ns has 128 buckets of equal width,
// 2^(k-7) ns, so that a bucket is at most 1/128 of what it holds. A quantile is within
// 0.4 % of the exact one (half a bucket); number, sum, mean, standard deviation, least
// and greatest are exact.
package histogram

import (
	"iter"
	"math"
	"math/big"
	"math/bits"
	"time"
)

// Layout names the layout in documents.
const Layout = "log2/128"

// steps is the number of buckets in an octave.
const (
	stepBits = 7
	steps    = 1 << stepBits
)

// Histogram counts durations. The zero value has none. It is not safe for
// concurrent use.
type Histogram struct {
	counts   []int64 // of buckets first, first+1, ...
	first    int
	n        int64
	sum      int64 // nanoseconds: 292 years of them fit
	hi, lo   uint64
	min, max time.Duration
}

// bucket returns the bucket of a duration.
func bucket(d time.Duration) int {
	octave := max(0, bits.Len64(uint64(d))-stepBits-1)
	return octave<<stepBits + int(uint64(d)>>octave)
}

// lower returns the least duration of a bucket.
func lower(bucket int) time.Duration {
	if bucket < 2*steps {
		return time.Duration(bucket)
	}
	octave := bucket>>stepBits - 1
	return time.Duration(bucket-octave<<stepBits) << octave
}

// middle returns the value that stands for those of a bucket.
func middle(bucket int) float64 { return (float64(lower(bucket)) + float64(lower(bucket+1)-1)) / 2 }

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) { h.AddN(d, 1) }

// AddAll counts durations of which none is below zero. It is Add of each, but for its
// speed: logs have millions.
func (h *Histogram) AddAll(list []time.Duration) {
	if len(list) == 0 {
		return
	}
	least, most := list[0], list[0]
	for _, d := range list {
		least, most = min(least, d), max(most, d)
	}
	h.at(bucket(least))
	h.at(bucket(most))
	counts, first := h.counts, h.first
	sum, hi, lo, carry := h.sum, h.hi, h.lo, uint64(0)
	for _, d := range list {
		counts[bucket(d)-first]++
		sum += int64(d)
		squareHi, squareLo := bits.Mul64(uint64(d), uint64(d))
		lo, carry = bits.Add64(lo, squareLo, 0)
		hi += squareHi + carry
	}
	h.sum, h.hi, h.lo = sum, hi, lo
	if h.n == 0 || least < h.min {
		h.min = least
	}
	h.max = max(h.max, most)
	h.n += int64(len(list))
}

// AddN counts a duration n times.
func (h *Histogram) AddN(d time.Duration, n int64) {
	if n <= 0 {
		return
	}
	d = max(d, 0)
	*h.at(bucket(d)) += n
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.n += n
	h.sum += int64(d) * n
	// Squares in 128 bits: d^2 of less than 2^126, times n.
	hi, lo := bits.Mul64(uint64(d), uint64(d))
	over, low := bits.Mul64(lo, uint64(n))
	var carry uint64
	h.lo, carry = bits.Add64(h.lo, low, 0)
	h.hi += hi*uint64(n) + over + carry
}

// at returns the count of a bucket, and makes room for it.
func (h *Histogram) at(b int) *int64 {
	const room = 2 * steps // so that it rarely grows
	switch {
	case len(h.counts) == 0:
		h.first = max(0, b-room)
		h.counts = make([]int64, b-h.first+1, b-h.first+room)
	case b < h.first:
		first := max(0, b-room)
		h.counts = append(make([]int64, h.first-first, h.first-first+len(h.counts)+room), h.counts...)
		h.first = first
	case b >= h.first+len(h.counts):
		h.counts = append(h.counts, make([]int64, b-h.first-len(h.counts)+1)...)
	}
	return &h.counts[b-h.first]
}

// Merge adds what another histogram has counted.
func (h *Histogram) Merge(o *Histogram) {
	if o.n == 0 {
		return
	}
	for i, n := range o.counts {
		if n > 0 {
			*h.at(o.first + i) += n
		}
	}
	if h.n == 0 || o.min < h.min {
		h.min = o.min
	}
	h.max = max(h.max, o.max)
	h.n += o.n
	h.sum += o.sum
	var carry uint64
	h.lo, carry = bits.Add64(h.lo, o.lo, 0)
	h.hi += o.hi + carry
}

// Count returns how many durations were added.
func (h *Histogram) Count() int64 { return h.n }

// Min returns the least duration; 0 of none.
func (h *Histogram) Min() time.Duration { return h.min }

// Max returns the greatest duration; 0 of none.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean returns the mean in nanoseconds; 0 of none.
func (h *Histogram) Mean() float64 {
	if h.n == 0 {
		return 0
	}
	return float64(h.sum) / float64(h.n)
}

// Std returns the population's standard deviation in nanoseconds; 0 of none. It is
// computed from whole numbers, (n*sum of squares - sum^2) / n^2: differences of
// rounded squares would lose it where the spread is small.
func (h *Histogram) Std() float64 {
	if h.n == 0 {
		return 0
	}
	n, sum := big.NewInt(h.n), big.NewInt(h.sum)
	squares := new(big.Int).Lsh(new(big.Int).SetUint64(h.hi), 64)
	squares.Add(squares, new(big.Int).SetUint64(h.lo))
	squares.Mul(squares, n)
	squares.Sub(squares, new(big.Int).Mul(sum, sum))
	variance, _ := new(big.Rat).SetFrac(squares, new(big.Int).Mul(n, n)).Float64()
	return math.Sqrt(variance)
}

// Percentile returns a percentile in nanoseconds, 0 of none: type 7 of Hyndman and Fan,
// as for values that are all known, with the middle of its bucket for each.
func (h *Histogram) Percentile(percent float64) float64 {
	if h.n == 0 {
		return 0
	}
	at := float64(h.n-1) * percent / 100
	i := int64(at)
	low := h.order(i)
	if i+1 >= h.n {
		return low
	}
	return low + float64((at-float64(i))*(h.order(i+1)-low))
}

// order returns the value of rank i, from 0.
func (h *Histogram) order(i int64) float64 {
	switch {
	case i <= 0:
		return float64(h.min)
	case i >= h.n-1:
		return float64(h.max)
	}
	for k, n := range h.counts {
		if i -= n; i < 0 {
			return min(max(middle(h.first+k), float64(h.min)), float64(h.max))
		}
	}
	return float64(h.max)
}

// Buckets yields the buckets that hold any, by their least duration, in order.
func (h *Histogram) Buckets() iter.Seq2[time.Duration, int64] {
	return func(yield func(time.Duration, int64) bool) {
		for i, n := range h.counts {
			if n > 0 && !yield(lower(h.first+i), n) {
				return
			}
		}
	}
}
