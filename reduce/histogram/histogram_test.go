package histogram

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLayout(t *testing.T) {
	for b := range 56 * steps {
		low, next := lower(b), lower(b+1)
		if next <= low || bucket(low) != b || bucket(next-1) != b {
			t.Fatalf("bucket %d is [%d, %d), whose ends are in buckets %d and %d", b, low, next, bucket(low), bucket(next-1))
		}
		if width := next - low; width > 1 && float64(width) > float64(low)/steps {
			t.Fatalf("bucket %d is %d wide at %d", b, width, low)
		}
	}
	// Of the layout that documents name, some buckets by hand.
	for d, low := range map[time.Duration]time.Duration{-5: 0, 255: 255, 257: 256, 1000: 1000, 1001: 1000, 20 * time.Millisecond: 19922944, math.MaxInt64: 255 << 55} {
		if got := lower(bucket(max(d, 0))); got != low {
			t.Errorf("%d is in the bucket from %d, want %d", d, got, low)
		}
	}
}

func TestByHand(t *testing.T) {
	var h Histogram
	if h.Mean() != 0 || h.Std() != 0 || h.Percentile(50) != 0 || h.Min() != 0 || h.Max() != 0 {
		t.Errorf("of none: %+v", h)
	}
	for _, d := range []time.Duration{10, 20, 30, 40} {
		h.Add(d)
	}
	h.AddN(50, 0)
	if h.Count() != 4 || h.Mean() != 25 || h.Std() != math.Sqrt(125) || h.Percentile(50) != 25 || h.Percentile(90) != 37 || h.Percentile(100) != 40 {
		t.Errorf("n %d, mean %v, std %v, p50 %v, p90 %v", h.Count(), h.Mean(), h.Std(), h.Percentile(50), h.Percentile(90))
	}
	// A spread of 1 ns around an hour is not lost.
	var far Histogram
	far.AddN(time.Hour, 1000)
	far.AddN(time.Hour+2, 1000)
	if far.Std() != 1 {
		t.Errorf("std %v, want 1", far.Std())
	}
}

// Quantiles are within half a bucket of the exact ones, the rest is exact, and the
// merge of parts is the whole.
func TestAgainstExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(0, 1<<rapid.IntRange(1, 45).Draw(t, "octave")).Draw(t, "d"))
		}), 1, 200).Draw(t, "values")
		var whole, a, b Histogram
		cut := rapid.IntRange(0, len(list)).Draw(t, "cut")
		for _, d := range list {
			whole.Add(d)
		}
		a.AddAll(list[:cut])
		b.AddAll(list[cut:])
		a.Merge(&b)
		same := func(what string, x, y float64) {
			if x != y {
				t.Fatalf("%s: %v and %v", what, x, y)
			}
		}
		slices.Sort(list)
		var sum, squares float64
		for _, d := range list {
			sum += float64(d)
		}
		for _, d := range list {
			squares += (float64(d) - sum/float64(len(list))) * (float64(d) - sum/float64(len(list)))
		}
		same("mean", whole.Mean(), sum/float64(len(list)))
		same("min", float64(whole.Min()), float64(list[0]))
		same("max", float64(whole.Max()), float64(list[len(list)-1]))
		if std := math.Sqrt(squares / float64(len(list))); math.Abs(whole.Std()-std) > 1e-9*std {
			t.Fatalf("std %v, want %v", whole.Std(), std)
		}
		for _, p := range []float64{0, 1, 25, 50, 90, 99, 100} {
			at := float64(len(list)-1) * p / 100
			i := int(at)
			exact := float64(list[i])
			if i+1 < len(list) {
				exact += (at - float64(i)) * float64(list[i+1]-list[i])
			}
			if got := whole.Percentile(p); math.Abs(got-exact) > exact/(2*steps)+1 {
				t.Fatalf("p%v is %v, exactly %v", p, got, exact)
			}
			same("merged percentile", a.Percentile(p), whole.Percentile(p))
		}
		same("merged mean", a.Mean(), whole.Mean())
		same("merged std", a.Std(), whole.Std())
		n := int64(0)
		for low, count := range a.Buckets() {
			if n += count; low > whole.Max() {
				t.Fatalf("a bucket from %v", low)
			}
		}
		same("count", float64(n), float64(len(list)))
	})
}

func BenchmarkAddAll(b *testing.B) {
	var h Histogram
	list := make([]time.Duration, 500)
	for i := range list {
		list[i] = time.Duration(20e6 + i*i%4096*1000)
	}
	for b.Loop() {
		h.AddAll(list)
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/500, "ns/gap")
}
