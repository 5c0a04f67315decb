package reduce

import (
	"iter"
	"slices"
	"sort"

	"wattrace/trace"
)

// A timeline finds the windows that a request touches.
type timeline struct {
	windows []*phase     // by their starts
	ends    []trace.Time // the latest end of the windows up to each
}

// newTimeline returns the timeline of those windows that have an end.
func newTimeline(windows []*phase) timeline {
	var t timeline
	for _, w := range windows {
		if w.End.OK {
			t.windows = append(t.windows, w)
		}
	}
	slices.SortStableFunc(t.windows, func(a, b *phase) int { return int(min(max(a.Start-b.Start, -1), 1)) })
	var latest trace.Time
	for i, w := range t.windows {
		if i == 0 || w.End.V > latest {
			latest = w.End.V
		}
		t.ends = append(t.ends, latest)
	}
	return t
}

// overlapping yields the windows that share an instant with [from, to], later ones
// first.
func (t *timeline) overlapping(from, to trace.Time) iter.Seq[*phase] {
	return func(yield func(*phase) bool) {
		i := sort.Search(len(t.windows), func(i int) bool { return t.windows[i].Start > to })
		for i--; i >= 0 && t.ends[i] >= from; i-- {
			if t.windows[i].End.V >= from && !yield(t.windows[i]) {
				return
			}
		}
	}
}
