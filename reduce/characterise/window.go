package characterise

import (
	"fmt"
	"math"
	"sort"
	"time"

	"wattrace/reduce"
	"wattrace/trace"
)

// held is a field whose last value holds until the next reading.
type held []Reading

// mean returns the mean of the readings between two instants, and their spread.
func (h held) mean(from, to trace.Time) (mean, spread float64, ok bool) {
	lo, hi, n := math.Inf(1), math.Inf(-1), 0.0
	for i := sort.Search(len(h), func(i int) bool { return h[i].At >= from }); i < len(h) && h[i].At <= to; i++ {
		v := h[i].Value
		lo, hi, mean, n = min(lo, v), max(hi, v), mean+v, n+1
	}
	return mean / n, hi - lo, n > 0
}

const (
	leastEdges   = 6   // that a window is taken from
	kindEdges    = 2   // that say whether there is one update or many
	mostlyAtOnce = 0.4 // share of a step in one update from which on a field is instant
	hardlyAtOnce = 0.3 // and up to which it is an average
)

// kindOf says what a field is by the largest change in one update at each edge,
// as a share of the step.
func kindOf(g grid, period time.Duration, edges []Edge) (reduce.SensorKind, string) {
	if len(edges) < kindEdges {
		return "", tooFew(len(edges), kindEdges)
	}
	var shares []float64
	for _, e := range edges {
		largest := 0.0
		for i := 1; i < len(g.updates); i++ {
			if after := g.updates[i].at.Sub(e.At); after > -period && after < 3*period {
				largest = max(largest, math.Abs(g.updates[i].value-g.updates[i-1].value))
			}
		}
		shares = append(shares, largest/math.Abs(e.To-e.From))
	}
	switch share := median(shares); {
	case share >= mostlyAtOnce:
		return reduce.SensorInstant, ""
	case share <= hardlyAtOnce:
		return reduce.SensorAverage, ""
	default:
		return "", fmt.Sprintf("one update shows %.0f %% of a step: too much for an average, too little for an instant", 100*share)
	}
}

func tooFew(edges, least int) string {
	if edges == 0 {
		return "no edges of a load: want a load that switches between two powers at least 0.4 s apart"
	}
	return fmt.Sprintf("only %d edges of a load: want at least %d, at least 0.4 s apart", edges, least)
}

const (
	inWindowLow, inWindowHigh = 0.1, 0.9 // shares of a step that are neither before nor after it
	leastInWindow             = 3        // edges within a window that it is fitted to
	clipped                   = 0.2      // of a step: a residual beyond it says no more, as power is not as square as the load
	leastPollsInWindow        = 2
	leastSigmas               = 4 // of which a window must be as long
	mostSigmas                = 3 // by which fit and count may differ
)

// instantWindow measures the window of an instant field: by a fit where the
// edges are known well, and always by how many updates see an edge.
func instantWindow(readings held, g grid, period time.Duration, edges []Edge, sharp bool) (window, delay Duration) {
	type point struct {
		edge         int
		after, share float64
	}
	var points []point
	n, inside := 0, 0
	for i, e := range edges {
		if i+1 < len(edges) && edges[i+1].At.Sub(e.At) < 3*period {
			continue
		}
		from, spread, ok := readings.mean(e.At.Add(-5*period/2), e.At.Add(-period/10))
		to, spread2, ok2 := readings.mean(e.At.Add(8*period/5), e.At.Add(3*period))
		step := to - from
		if !ok || !ok2 || math.Abs(step) < leastStep || max(spread, spread2) > flat*math.Abs(step) {
			continue
		}
		n++
		for _, u := range g.updates {
			if after := u.at.Sub(e.At); after > -period && after < 5*period/2 {
				share := (u.value - from) / step
				points = append(points, point{n, float64(after), share})
				if share > inWindowLow && share < inWindowHigh {
					inside++
				}
			}
		}
	}
	if n < leastEdges {
		return unknown("%s", tooFew(n, leastEdges)), unknown("%s", tooFew(n, leastEdges))
	}
	if inside == 0 {
		why := fmt.Sprintf("none of %d edges fell into it: it is shorter than about %v", n, (3 * period / time.Duration(n)).Round(time.Millisecond))
		return unknown("%s", why), unknown("%s", why)
	}
	mean := float64(inside) / float64(n) / (inWindowHigh - inWindowLow)
	counted := Duration{Value: time.Duration(mean * float64(period)), N: n}
	// Of a mean of k + f updates an edge is seen by k or k+1: binomial, with one of each at least.
	part := min(max(mean-math.Floor(mean), 1/float64(n)), 1-1/float64(n))
	counted.Uncertainty = time.Duration(float64(period) * math.Sqrt(part*(1-part)/float64(n)))
	poll := medianPoll(readings)
	if !sharp || inside < leastInWindow {
		return good(counted, poll), unknown("the edges are not known to better than an update")
	}
	without := 0 // an edge; 0 is none
	residuals := func(w, d float64) float64 {
		sum := 0.0
		for _, p := range points {
			if p.edge == without {
				continue
			}
			r := p.share - min(1, max(0, (p.after-d)/w))
			sum += min(r*r, clipped*clipped)
		}
		return sum
	}
	tu := float64(period)
	ws, ds, step := [2]float64{tu / 50, 2 * tu}, [2]float64{-tu / 5, tu / 2}, tu/50
	f := fit(residuals, ws, ds, step)
	w, d := f.durations(float64(inside))
	// An edge that is not where it should be is as bad as its neighbours are good: jackknife.
	var left float64
	for without = 1; without <= n; without++ {
		other := fitted{w: f.w, d: f.d, rss: residuals(f.w, f.d)}
		other.descend(residuals, ws, ds, step)
		off := other.w - f.w
		left += off * off
	}
	w.Uncertainty = max(w.Uncertainty, time.Duration(math.Sqrt(left*float64(n-1)/float64(n))))
	w.N, d.N = n, n
	if off := (w.Value - counted.Value).Abs(); off > mostSigmas*(w.Uncertainty+counted.Uncertainty) {
		why := fmt.Sprintf("a fit to %d edges says %v, their number in it %v ± %v", n, w.Value.Round(time.Millisecond), counted.Value.Round(time.Millisecond), counted.Uncertainty.Round(time.Millisecond))
		return unknown("%s", why), unknown("%s", why)
	}
	return good(w, poll), d
}

// good makes nothing of a window that is not known well enough to be believed.
func good(w Duration, poll time.Duration) Duration {
	switch {
	case w.Value < leastPollsInWindow*poll:
		return unknown("about %v, which polls every %v do not tell", w.Value.Round(time.Millisecond), poll.Round(100*time.Microsecond))
	case w.Uncertainty*leastSigmas > w.Value:
		return unknown("about %v, but no better than to %v: more edges are needed", w.Value.Round(time.Millisecond), w.Uncertainty.Round(time.Millisecond))
	}
	return w
}

// energyKnots is energy over time, linear between the knots.
type energyKnots struct {
	at     []trace.Time
	joules []float64
	run    []int // of knots with nothing unknown between them
}

func (k *energyKnots) put(at trace.Time, joules float64, first bool) {
	run := 0
	if n := len(k.run); n > 0 {
		run = k.run[n-1]
		if first {
			run++
		}
	}
	k.at, k.joules, k.run = append(k.at, at), append(k.joules, joules), append(k.run, run)
}

// counterEnergy is the energy that the counter tells, with the edges that lie
// between its updates.
func counterEnergy(g grid, edges []Edge) *energyKnots {
	k := &energyKnots{}
	for i, u := range g.updates {
		for ; len(edges) > 0 && edges[0].At < u.at; edges = edges[1:] {
			if i == 0 {
				continue
			}
			last, e := g.updates[i-1], edges[0]
			if joules := last.value + e.From*e.At.Sub(last.at).Seconds(); e.At > last.at && joules > last.value && joules < u.value {
				k.put(e.At, joules, false)
			}
		}
		k.put(u.at, u.value, i > 0 && u.value < g.updates[i-1].value)
	}
	return k
}

// instantEnergy is the energy that an instant field tells whose windows leave no gap.
func instantEnergy(ticks []tick) *energyKnots {
	k, joules := &energyKnots{}, 0.0
	for i, t := range ticks {
		if i > 0 && !t.first {
			joules += t.watts * t.at.Sub(ticks[i-1].at).Seconds()
		}
		k.put(t.at, joules, t.first)
	}
	return k
}

// mean returns the mean power between two instants.
func (k *energyKnots) mean(from, to trace.Time) (float64, bool) {
	a, runA := k.energy(from)
	b, runB := k.energy(to)
	return (b - a) / to.Sub(from).Seconds(), runA >= 0 && runA == runB
}

func (k *energyKnots) energy(t trace.Time) (joules float64, run int) {
	i := sort.Search(len(k.at), func(i int) bool { return k.at[i] > t })
	if i == 0 || i == len(k.at) || k.run[i] != k.run[i-1] {
		return 0, -1
	}
	share := float64(t-k.at[i-1]) / float64(k.at[i]-k.at[i-1])
	return k.joules[i-1] + share*(k.joules[i]-k.joules[i-1]), k.run[i]
}

const (
	longestAverage = 3 * time.Second // that is looked for
	leastPoints    = 40              // updates of an average that it is fitted to
	outlier        = 4               // times the median residual that is left out
	nearWhole      = 0.3             // of a period by which a window may be off a whole number of them
	mostUnfit      = 0.03            // of the range of power, RMS, that a boxcar may leave
)

// averageWindow measures the window of an average field against energy.
func averageWindow(g grid, period time.Duration, energy *energyKnots) (window, delay Duration, unfit float64) {
	use := g.updates
	few := func() (Duration, Duration, float64) {
		u := unknown("only %d updates of it beside known energy: want at least %d", len(use), leastPoints)
		return u, u, 0
	}
	// Every candidate is judged by the same updates.
	use = nil
	for _, u := range g.updates {
		if _, ok := energy.mean(u.at.Add(-longestAverage-period), u.at.Add(period)); ok {
			use = append(use, u)
		}
	}
	if len(use) < leastPoints {
		return few()
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, u := range use {
		lo, hi = min(lo, u.value), max(hi, u.value)
	}
	if hi-lo < leastStep {
		u := unknown("its power ranges over %.3g W only", hi-lo)
		return u, u, 0
	}
	tu := float64(period)
	var f fitted
	for range 2 {
		f = fit(func(w, d float64) float64 { return regress(use, energy, w, d).rss }, [2]float64{tu / 2, float64(longestAverage)}, [2]float64{-tu, tu}, 2*tu/5)
		best := regress(use, energy, f.w, f.d)
		var sizes []float64
		for _, r := range best.residuals {
			sizes = append(sizes, math.Abs(r))
		}
		most := outlier * max(median(sizes), 1e-3)
		var kept []update
		for i, u := range use {
			if sizes[i] <= most {
				kept = append(kept, u)
			}
		}
		unfit = math.Sqrt(best.rss/float64(len(use))) / (hi - lo)
		if use = kept; len(use) < leastPoints {
			return few()
		}
	}
	if unfit > mostUnfit {
		u := unknown("no window fits: %.0f %% of the range of power are left", 100*unfit)
		return u, u, unfit
	}
	// Neighbours share what they cover: a window holds one independent value.
	w, d := f.durations(max(2.5, float64(len(use))*tu/max(tu, f.w)))
	if w.Uncertainty*2 > period {
		u := unknown("about %v, but no better than to %v", w.Value.Round(time.Millisecond), w.Uncertainty.Round(time.Millisecond))
		return u, u, unfit
	}
	return w, d, unfit
}

type regression struct {
	rss       float64
	residuals []float64
}

// regress fits gain and offset of a field to the mean power of a window.
func regress(use []update, energy *energyKnots, w, d float64) regression {
	x, y := make([]float64, len(use)), make([]float64, len(use))
	for i, u := range use {
		to := u.at.Add(-time.Duration(d))
		x[i], _ = energy.mean(to.Add(-time.Duration(w)), to)
		y[i] = u.value
	}
	mx, my, xx, xy, yy := moments(x, y)
	if xx == 0 {
		return regression{rss: yy}
	}
	gain := xy / xx
	r := regression{rss: max(0, yy-gain*xy), residuals: make([]float64, len(use))}
	for i := range x {
		r.residuals[i] = y[i] - my - gain*(x[i]-mx)
	}
	return r
}

// fitted is the minimum of a sum of squares.
type fitted struct {
	w, d, rss float64
	inverse   [2]float64 // diagonal of the inverse of the matrix of second derivatives
}

// fit finds the smallest rss(w, d) on a grid and then around it.
func fit(rss func(w, d float64) float64, w, d [2]float64, step float64) fitted {
	f := fitted{rss: math.Inf(1)}
	for x := w[0]; x <= w[1]; x += step {
		for y := d[0]; y <= d[1]; y += step {
			f.try(rss, x, y)
		}
	}
	f.descend(rss, w, d, step/2)
	h := step / 8
	at := func(i, j float64) float64 { return rss(f.w+i*h, f.d+j*h) }
	ww := (at(1, 0) + at(-1, 0) - 2*f.rss) / (h * h)
	dd := (at(0, 1) + at(0, -1) - 2*f.rss) / (h * h)
	wd := (at(1, 1) + at(-1, -1) - at(1, -1) - at(-1, 1)) / (4 * h * h)
	if det := ww*dd - wd*wd; det > 0 {
		f.inverse = [2]float64{dd / det, ww / det}
	} else {
		f.inverse = [2]float64{1 / max(ww, math.SmallestNonzeroFloat32), 1 / max(dd, math.SmallestNonzeroFloat32)}
	}
	return f
}

// try moves the minimum to a place if that is lower.
func (f *fitted) try(rss func(w, d float64) float64, w, d float64) bool {
	if v := rss(w, d); v < f.rss {
		f.w, f.d, f.rss = w, d, v
		return true
	}
	return false
}

// descend goes to the lowest place around, to 10 us.
func (f *fitted) descend(rss func(w, d float64) float64, w, d [2]float64, step float64) {
	for h := step; h > 1e4; h /= 2 {
		for better := true; better; {
			better = false
			for _, to := range [][2]float64{{h, 0}, {-h, 0}, {0, h}, {0, -h}, {h, h}, {-h, -h}, {h, -h}, {-h, h}} {
				if x, y := f.w+to[0], f.d+to[1]; x >= w[0] && x <= w[1] && y >= d[0] && y <= d[1] {
					better = f.try(rss, x, y) || better
				}
			}
		}
	}
}

// durations returns the minimum's place with its uncertainty, where so many
// residuals are independent: that of least squares.
func (f *fitted) durations(independent float64) (w, d Duration) {
	variance := f.rss / max(1, independent-2)
	scale := math.Sqrt(2 * variance)
	w = Duration{Value: time.Duration(f.w), Uncertainty: time.Duration(scale * math.Sqrt(f.inverse[0])), N: int(independent)}
	d = Duration{Value: time.Duration(f.d), Uncertainty: time.Duration(scale * math.Sqrt(f.inverse[1])), N: int(independent)}
	return w, d
}
