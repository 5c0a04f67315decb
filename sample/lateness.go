package sample

import (
	"math"
	"math/bits"
	"time"
)

// lateness is a histogram of delays with 32 buckets per power of two, so that
// a quantile is good to 2 % in constant memory.
type lateness struct {
	counts [32 * 60]int64
	n      int64
	max    time.Duration
}

func (l *lateness) add(d time.Duration) {
	d = max(d, 0)
	l.counts[latenessBucket(d)]++
	l.n++
	l.max = max(l.max, d)
}

func latenessBucket(d time.Duration) int {
	shift := max(0, bits.Len64(uint64(d))-6)
	return shift*32 + int(d>>shift)
}

// bucketMiddle is the middle of a bucket.
func bucketMiddle(bucket int) time.Duration {
	if bucket < 64 {
		return time.Duration(bucket)
	}
	shift := bucket/32 - 1
	low := time.Duration(bucket-shift*32) << shift
	return low + 1<<shift/2
}

// quantile returns the smallest delay that at least the share q of all does
// not exceed.
func (l *lateness) quantile(q float64) time.Duration {
	want := int64(math.Ceil(q * float64(l.n)))
	seen := int64(0)
	for bucket, n := range l.counts {
		if seen += n; n > 0 && seen >= want {
			return min(bucketMiddle(bucket), l.max)
		}
	}
	return 0
}

// merge adds what another histogram has.
func (l *lateness) merge(o *lateness) {
	for i, n := range o.counts {
		l.counts[i] += n
	}
	l.n += o.n
	l.max = max(l.max, o.max)
}
