package reduce

import (
	"math"
	"time"

	"wattrace/trace"
)

// Power follows the requests in flight at once, so when both agree much better after
// one has been moved, the clocks of the files were not joined rightly. That is a check
// of plausibility: load that does not change tells nothing, and no shift is applied.
const (
	shiftStep  = 100 * time.Millisecond // of the series that are compared
	shiftMost  = 20 * time.Second       // either way
	shiftLeast = 500 * time.Millisecond // less may be a sensor's lag
	shiftShare = 4                      // a shift is at most this part of the run
	shiftGood  = 0.7                    // correlation that a shift must reach
	shiftGain  = 2.0                    // by which it must divide what is left unexplained
	shiftCells = 18000                  // half an hour; of longer runs the first
)

// warnShifted warns where power and requests seem moved against each other.
func (r *Reducer) warnShifted() {
	if r.load == nil || r.cells == nil {
		return
	}
	power := r.cells.series(r.load)
	load := r.load.concurrency()
	n := min(len(load), shiftCells)
	load, power = load[:n], power[:n]
	most := min(int(shiftMost/r.load.step), n/shiftShare)
	best, at := math.Inf(-1), 0
	zero := correlation(load, power, 0)
	for k := -most; k <= most; k++ {
		if c := correlation(load, power, k); c > best {
			best, at = c, k
		}
	}
	shift := time.Duration(at) * r.load.step
	left := 1 - float64(best*best)
	if best < shiftGood || shift.Abs() < shiftLeast || 1-float64(max(zero, 0)*max(zero, 0)) < float64(shiftGain*left) {
		return
	}
	if shift < 0 {
		r.Warn(WarnShifted, "", "", "the telemetry seems to be %v too early for the requests: moved so, its power follows them with a correlation of %.2f, as joined of %.2f; see --clock-offset", -shift, best, zero)
		return
	}
	r.Warn(WarnShifted, "", "", "the telemetry seems to be %v too late for the requests: moved so, its power follows them with a correlation of %.2f, as joined of %.2f; see --clock-offset", shift, best, zero)
}

// series returns the power of all GPUs in the cells of an activity, in watts; NaN where
// it is not known.
func (c *cells) series(a *activity) []float64 {
	list := make([]float64, len(a.busy))
	i := 0
	for k := range list {
		from, to := a.bound(k), a.bound(k+1)
		energy, whole := 0.0, true
		for i > 0 && c.grid.Bound(i) > from {
			i--
		}
		for ; i < c.grid.Len() && c.grid.Bound(i) < to; i++ {
			start, end := c.grid.Bound(i), c.grid.Bound(i+1)
			if end <= from {
				continue
			}
			whole = whole && c.whole(i)
			energy += float64(c.energy[i]) * (float64(min(end, to)-max(start, from)) / float64(end-start))
		}
		list[k] = energy / 1e6 / to.Sub(from).Seconds()
		if !whole {
			list[k] = math.NaN()
		}
	}
	return list
}

// correlation returns Pearson's coefficient of load[i] and power[i+k], over all i that
// both have; 0 where either does not vary.
func correlation(load, power []float64, k int) float64 {
	var n, sx, sy float64
	each := func(use func(x, y float64)) {
		for i := max(0, -k); i < min(len(load), len(power)-k); i++ {
			if y := power[i+k]; !math.IsNaN(y) {
				use(load[i], y)
			}
		}
	}
	each(func(x, y float64) { n, sx, sy = n+1, sx+x, sy+y })
	if n == 0 {
		return 0
	}
	mx, my := sx/n, sy/n
	var xx, yy, xy float64
	each(func(x, y float64) {
		x, y = x-mx, y-my
		xx += float64(x * x)
		yy += float64(y * y)
		xy += float64(x * y)
	})
	if xx <= 0 || yy <= 0 {
		return 0
	}
	return xy / math.Sqrt(float64(xx*yy))
}

// newLoad returns the activity of a whole run, of which the phases are parts; nil for
// none.
func newLoad(phases []*phase) *activity {
	var from, to trace.Time
	any := false
	for _, ph := range phases {
		if end, ok := ph.End.Get(); ok {
			if !any {
				from, to, any = ph.Start, end, true
			}
			from, to = min(from, ph.Start), max(to, end)
		}
	}
	if !any || to <= from || to.Sub(from) > shiftCells*10*shiftStep {
		return nil
	}
	a := activityOf(from, to, shiftStep)
	a.tokens = nil
	return a
}
