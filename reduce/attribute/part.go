package attribute

import (
	"math/bits"
	"slices"
	"sort"

	"wattrace/trace"
)

// part sums up cells between two edges of the grid or marks. One that a mark falls into
// is a single cell.
type part struct {
	total, idle, unknown int64  // microjoules, microjoules, nanoseconds
	shared               stages // microjoules of requests' prefill and decode stages
	// Of those of the headline mode, what requests have whose stages are not known, and
	// stages that the sensor does not resolve.
	unstaged, brief [2]int64
}

// cut returns the first cells of the parts: those at the edges of the grid, and those
// that a mark falls into or stands before, and the ones after.
func (a *Attributor) cut() []int {
	var list []int
	for _, s := range a.grid.stretches {
		list = append(list, s.first)
	}
	for _, t := range a.marks {
		k, ok := a.grid.Cell(t)
		if !ok {
			continue
		}
		list = append(list, k)
		if a.grid.Bound(k) < t && k+1 < a.grid.Len() {
			list = append(list, k+1)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// after returns the cell after a part's last.
func (a *Attributor) after(part int) int {
	if part+1 < len(a.starts) {
		return a.starts[part+1]
	}
	return a.grid.Len()
}

// partOf returns the part of a cell.
func (a *Attributor) partOf(cell int) int {
	return sort.SearchInts(a.starts, cell+1) - 1
}

// place is an instant's place among the parts: so many nanoseconds within one of a
// single cell, of that length; or, with none, at the start of one.
type place struct {
	part           int
	within, length int64
}

// place returns the place of an edge of the grid or of a mark, and false of any other
// instant.
func (a *Attributor) place(t trace.Time) (p place, ok bool) {
	if _, ok = a.grid.edge(t); !ok {
		_, ok = slices.BinarySearch(a.marks, t)
	}
	k, inside := a.grid.Cell(t)
	switch {
	case !ok:
		return p, false
	case inside:
		return place{a.partOf(k), int64(t - a.grid.Bound(k)), a.length(k)}, true
	}
	n := a.grid.Len()
	return place{part: len(a.parts)}, n > 0 && t == a.grid.Bound(n)
}

// add adds another part, times one or minus one.
func (p *part) add(o *part, times int64) {
	p.total += times * o.total
	p.idle += times * o.idle
	p.unknown += times * o.unknown
	for e := range p.shared {
		for stage := range p.shared[e] {
			p.shared[e][stage] += times * o.shared[e][stage]
		}
	}
	for stage := range p.unstaged {
		p.unstaged[stage] += times * o.unstaged[stage]
		p.brief[stage] += times * o.brief[stage]
	}
}

// share returns what a part has until a place within it, each figure rounded down.
func (p *part) share(at place) (s part) {
	of := func(v int64) int64 {
		hi, lo := bits.Mul64(uint64(v), uint64(at.within))
		q, _ := bits.Div64(hi, lo, uint64(at.length))
		return int64(q)
	}
	s.total, s.idle, s.unknown = of(p.total), of(p.idle), of(p.unknown)
	for e := range p.shared {
		for stage := range p.shared[e] {
			s.shared[e][stage] = of(p.shared[e][stage])
		}
	}
	for stage := range p.unstaged {
		s.unstaged[stage], s.brief[stage] = of(p.unstaged[stage]), of(p.brief[stage])
	}
	return s
}
