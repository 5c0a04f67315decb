package replay

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in buckets that are at most 1/16 wide, from 0 ns to
// the longest there is. Any number of goroutines add to it, none waits.
type histogram struct {
	n   [buckets]atomic.Int64
	max atomic.Int64 // of those since it was taken, in ns
}

const (
	fine    = 4 // bits of a duration that a bucket tells, after the first
	buckets = (64 - fine) << fine
)

// counts are those of a histogram at one time.
type counts [buckets]int64

// add counts a duration; one below 0 as 0.
func (h *histogram) add(d time.Duration) {
	v := max(0, int64(d))
	h.n[bucket(v)].Add(1)
	for old := h.max.Load(); v > old && !h.max.CompareAndSwap(old, v); old = h.max.Load() {
	}
}

// bucket returns where a duration is counted.
func bucket(v int64) int {
	shift := max(0, bits.Len64(uint64(v))-fine-1)
	return shift<<fine + int(v>>shift)
}

// top returns the longest duration that a bucket has.
func top(b int) time.Duration {
	if b < 2<<fine {
		return time.Duration(b)
	}
	shift := b>>fine - 1
	return time.Duration((int64(b-shift<<fine)+1)<<shift - 1)
}

func (h *histogram) counts(c *counts) {
	for i := range h.n {
		c[i] = h.n[i].Load()
	}
}

// since returns what was counted after before.
func (c *counts) since(before *counts) *counts {
	var d counts
	for i := range c {
		d[i] = c[i] - before[i]
	}
	return &d
}

func (c *counts) total() (n int64) {
	for _, v := range c {
		n += v
	}
	return n
}

// quantile returns the duration that a share q of those counted does not exceed,
// up to 1/16 more; false where there are none.
func (c *counts) quantile(q float64) (time.Duration, bool) {
	n := c.total()
	if n == 0 {
		return 0, false
	}
	rank := int64(q*float64(n-1)) + 1 // of those in order, from 1
	for b, v := range c {
		if rank -= v; rank <= 0 {
			return top(b), true
		}
	}
	return top(buckets - 1), true
}
