package reduce

import (
	"math"
	"slices"
	"sort"
	"time"

	"wattrace/reduce/attribute"
	"wattrace/trace"
)

// cells is the energy of all GPUs together over time, in the cells of a grid that
// every phase's ends are bounds of: what a phase's cells hold is the sum of the
// devices' E(end)-E(start), to the microjoule. The same holds for the windows that
// follow from its load. Other windows leave no trace in them.
type cells struct {
	grid    *attribute.Grid
	energy  []int64 // microjoules
	covered []int64 // nanoseconds, over all devices
	devices int64
}

func newCells(g *attribute.Grid) *cells {
	return &cells{grid: g, energy: make([]int64, g.Len()), covered: make([]int64, g.Len())}
}

// add puts a device into the cells: energy that was drawn evenly from a to b.
// Between two knots of E(t) cells get what a straight line gives them.
func (c *cells) add(a, b trace.Time, microjoules int64) {
	n := c.grid.Len()
	if n == 0 || b <= a {
		return
	}
	from, to := max(a, c.grid.Bound(0)), min(b, c.grid.Bound(n))
	if from >= to {
		return
	}
	i, _ := c.grid.Cell(from)
	given := int64(0)
	if from > a {
		given = share(microjoules, int64(from-a), int64(b-a))
	}
	for at := from; at < to; i++ {
		end := min(c.grid.Bound(i+1), to)
		total := share(microjoules, int64(end-a), int64(b-a))
		c.energy[i] += total - given
		c.covered[i] += int64(end - at)
		given, at = total, end
	}
}

// share returns x*num/den for 0 <= num <= den, rounded to zero.
func share(x, num, den int64) int64 {
	if x < 0 {
		return -mulDiv(-x, num, den)
	}
	return mulDiv(x, num, den)
}

// bound returns the number of the cell that begins at t, which is a bound.
func (c *cells) bound(t trace.Time) int {
	return sort.Search(c.grid.Len(), func(i int) bool { return c.grid.Bound(i) >= t })
}

// whole reports whether every device covers cell i.
func (c *cells) whole(i int) bool {
	return c.devices > 0 && c.covered[i] == c.devices*int64(c.grid.Bound(i+1)-c.grid.Bound(i))
}

// watts returns the mean power of all GPUs from one bound to another, and false
// where not all of them cover it all.
func (c *cells) watts(from, to trace.Time) (float64, bool) {
	energy := int64(0)
	for i, end := c.bound(from), c.bound(to); i < end; i++ {
		if !c.whole(i) {
			return 0, false
		}
		energy += c.energy[i]
	}
	return float64(energy) / 1e6 / to.Sub(from).Seconds(), to > from
}

// powerStep is the time over which power is averaged before its distribution over a
// window is taken: what the worst sensor's lag leaves of a shorter peak is not a peak.
const powerStep = time.Second

// means returns the mean power over each whole powerStep of a window, in watts;
// those that not all GPUs cover are left out.
func (c *cells) means(from, to trace.Time) []float64 {
	var list []float64
	i, _ := c.grid.Cell(from)
	for at := from; at.Add(powerStep) <= to; at = at.Add(powerStep) {
		until, energy, length, whole := at.Add(powerStep), 0.0, int64(0), true
		for ; i < c.grid.Len() && c.grid.Bound(i) < until; i++ {
			a, b := max(c.grid.Bound(i), at), min(c.grid.Bound(i+1), until)
			whole = whole && c.whole(i)
			energy += float64(c.energy[i]) * (float64(b-a) / float64(c.grid.Bound(i+1)-c.grid.Bound(i)))
			length += int64(b - a)
			if c.grid.Bound(i+1) > until {
				break // the cell goes on
			}
		}
		if whole && length == int64(powerStep) {
			list = append(list, energy/1e6/powerStep.Seconds())
		}
	}
	return list
}

// A filler follows the curve of one device into the cells.
type filler struct {
	cells  *cells
	fix    fix
	edges  []trace.Time // where it follows the curve between knots, in order
	next   int          // the first of them that was not come to
	open   bool
	at     trace.Time
	energy int64
}

// to continues the curve in a straight line to a point, or begins it there. Energy
// is what the sensor shows.
func (f *filler) to(at trace.Time, energy, covered int64) {
	if f == nil {
		return
	}
	energy = f.fix.energy(energy, covered)
	if f.open && at > f.at {
		f.cells.add(f.at, at, energy-f.energy)
	}
	f.open, f.at, f.energy = true, at, energy
}

// edge continues the curve to an edge between two knots, where it is one to follow.
func (f *filler) edge(e *edge) {
	if f == nil {
		return
	}
	for f.next < len(f.edges) && f.edges[f.next] < e.at {
		f.next++
	}
	if f.next < len(f.edges) && f.edges[f.next] == e.at {
		f.to(e.at, e.energy, e.covered)
	}
}

// cut ends a segment.
func (f *filler) cut() {
	if f != nil {
		f.open = false
	}
}

// A fix turns what a calibrated sensor shows into what the device drew.
type fix struct {
	gain, offset float64 // the sensor shows gain*P + offset watts; gain 0 is no calibration
}

// energy returns E(t), in microjoules, of the sensor's and of C(t).
func (f fix) energy(shown, covered int64) int64 {
	if f.gain == 0 {
		return shown
	}
	return int64(math.Round((float64(shown) - float64(f.offset*float64(covered)/1e3)) / f.gain))
}

// sigma returns the standard uncertainty of a fixed figure of that of the shown one.
func (f fix) sigma(shown float64) float64 {
	if f.gain == 0 {
		return shown
	}
	return shown / f.gain
}

// describeFloats returns the distribution of values, and false for none. It sorts
// its argument.
func describeFloats(values []float64) (Distribution, bool) {
	n := len(values)
	if n == 0 {
		return Distribution{}, false
	}
	slices.Sort(values)
	var sum, squares float64
	for _, v := range values {
		sum += v
	}
	mean := sum / float64(n)
	for _, v := range values {
		d := v - mean
		squares += float64(d * d)
	}
	p := func(q float64) float64 { return percentile(values, q) }
	return Distribution{
		Mean: mean, Min: values[0], Max: values[n-1],
		P1: p(1), P5: p(5), P10: p(10), P25: p(25), P50: p(50), P75: p(75), P90: p(90), P95: p(95), P99: p(99),
		Std: math.Sqrt(squares / float64(n)), Count: int64(n),
	}, true
}
