package attribute

import (
	"slices"
	"sort"
	"time"

	"wattrace/trace"
)

// DefaultStep is the length of a cell, unless the caller wants another. It is
// well below what a sensor resolves and about the length of a decode step.
const DefaultStep = 10 * time.Millisecond

// maxCells bounds the memory of a grid, at about 200 bytes a cell with its
// Attributor: at the default step, five and a half hours.
const maxCells = 2_000_000

// A Grid cuts time into cells: at every edge, and between two edges every step
// from the earlier one, so that the last cell of such a stretch may be shorter.
// Cells are half-open. It does not change, and is safe for concurrent use.
type Grid struct {
	step      time.Duration
	stretches []stretch // in order, without holes
	bounds    []trace.Time
}

// stretch is the time between two edges.
type stretch struct {
	start, end trace.Time
	first      int // its first cell
}

// NewGrid makes a grid with these edges, in any order, repeated or not; a step
// that is not positive is DefaultStep. A time so long that the cells would be
// more than two million has its step doubled until they are not; see
// [Grid.Step]. Fewer than two different edges make a grid without cells.
func NewGrid(edges []trace.Time, step time.Duration) *Grid {
	if step <= 0 {
		step = DefaultStep
	}
	sorted := slices.Clone(edges)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	if n := len(sorted); n > 1 {
		budget := int64(max(maxCells-n, 1))
		for int64(sorted[n-1]-sorted[0])/int64(step) > budget {
			step *= 2
		}
	}
	g := &Grid{step: step}
	cells := 0
	for i := 1; i < len(sorted); i++ {
		s := stretch{sorted[i-1], sorted[i], cells}
		g.stretches = append(g.stretches, s)
		cells += int((s.end.Sub(s.start) + step - 1) / step)
		for at := s.start; at < s.end; at = at.Add(step) {
			g.bounds = append(g.bounds, at)
		}
	}
	if cells > 0 {
		g.bounds = append(g.bounds, sorted[len(sorted)-1])
	}
	return g
}

// Step returns the length of a cell that no edge cuts short.
func (g *Grid) Step() time.Duration { return g.step }

// Len returns the number of cells.
func (g *Grid) Len() int {
	return max(len(g.bounds)-1, 0)
}

// after returns the number of the cell after a stretch's last.
func (g *Grid) after(s int) int {
	st := g.stretches[s]
	return st.first + int((st.end.Sub(st.start)+g.step-1)/g.step)
}

// Bound returns the start of cell i, and for i = Len() the end of the last one.
// It panics on any other i, and on every i of a grid without cells.
func (g *Grid) Bound(i int) trace.Time { return g.bounds[i] }

// Cell returns the cell that t is in, and false where there is none.
func (g *Grid) Cell(t trace.Time) (int, bool) {
	n := len(g.stretches)
	if n == 0 || t < g.stretches[0].start || t >= g.stretches[n-1].end {
		return 0, false
	}
	s := &g.stretches[sort.Search(n, func(j int) bool { return g.stretches[j].start > t })-1]
	return s.first + int(t.Sub(s.start)/g.step), true
}

// edge returns the number of the stretch that begins at t, or of those before t
// where t is the end of the grid.
func (g *Grid) edge(t trace.Time) (int, bool) {
	n := len(g.stretches)
	if n > 0 && t == g.stretches[n-1].end {
		return n, true
	}
	i := sort.Search(n, func(j int) bool { return g.stretches[j].start >= t })
	return i, i < n && g.stretches[i].start == t
}
