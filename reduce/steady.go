package reduce

import (
	"fmt"
	"math"
	"slices"
	"time"

	"wattrace/trace"
)

// Windows of a phase that follow from its load:
//
//	ramp    from the start until the requests in flight first reach 0.9 of the plateau
//	steady  see below
//	drain   from when they last fall below it to the end
//
// Steady is the longest span of at least 30 s over which they stay at 0.9 of the
// plateau or more and neither token rate nor power nor temperature drifts. A
// drift is a straight line through the means of ten equal parts whose slope differs
// from none with 95 % confidence, and which changes the quantity over the span by more
// than is worth speaking of. The plateau is the upper quartile over the phase.
//
// ML.ENERGY's benchmark, whose rule can be chosen instead, has the steady part begin
// when as many requests as may be in flight have their first token, and end when all
// but as many and one have ended.
const (
	steadyShare  = 0.9                    // of the plateau
	partLength   = 500 * time.Millisecond // a shorter ramp or drain is none
	steadyLength = 30 * time.Second
	steadyParts  = 10    // means that a line is put through
	steadyT      = 2.306 // Student's t, 95 % two-sided, 8 degrees of freedom
	steadyRise   = 0.03  // of the mean: a smaller change over the span is none
	steadyKelvin = 3.0   // of temperature
	steadyTrims  = 20    // parts of a span that a drift may be cut off by
)

// WindowRamp and the others name the windows that follow from the load.
const (
	WindowRamp   = "ramp"
	WindowSteady = "steady"
	WindowDrain  = "drain"
)

// loadWindows makes the windows of a phase that its requests alone decide.
func (r *Reducer) loadWindows(ph *phase) {
	a := ph.activity
	if a == nil {
		return
	}
	first, last := -1, -1
	least := steadyShare * a.plateau()
	if least <= 0 {
		return
	}
	for i, c := range a.concurrency() {
		if c >= least {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if a.bound(first).Sub(a.start) >= partLength {
		r.window(ph, WindowRamp, a.start, a.bound(first))
	}
	if a.end.Sub(a.bound(last+1)) >= partLength {
		r.window(ph, WindowDrain, a.bound(last+1), a.end)
	}
	if r.opt.Steady == SteadyMLEnergy {
		r.mlenergy(ph)
	}
}

// window adds a window to a phase, in the order of time.
func (r *Reducer) window(ph *phase, name string, start, end trace.Time) {
	w := &phase{arrivals: true, window: true, quiet: true, Span: Span{
		Name: name, Kind: "window", Start: start, End: trace.Some(end), Concurrency: ph.Concurrency,
	}}
	ph.windows = append(ph.windows, w)
	slices.SortStableFunc(ph.windows, func(a, b *phase) int { return int(min(max(a.Start-b.Start, -1), 1)) })
	r.windows = append(r.windows, w)
}

// mlenergy adds ML.ENERGY's steady window.
func (r *Reducer) mlenergy(ph *phase) {
	slices.Sort(ph.firsts)
	slices.Sort(ph.dones)
	c, n := ph.Concurrency, len(ph.dones)
	if c <= 0 || len(ph.firsts) < c || n-c-1 <= 0 {
		r.doubt(ph, WarnNotSteady, "", "there are too few requests for ML.ENERGY's steady window: it needs more than twice the concurrency")
		return
	}
	if from, to := ph.firsts[c-1], min(ph.dones[n-c-2], ph.End.V); to > from {
		r.window(ph, WindowSteady, from, to)
		return
	}
	r.doubt(ph, WarnNotSteady, "", "ML.ENERGY's steady window is empty: requests were not replaced as they ended")
}

// steady finds the steady part of a phase, once power and temperature are known.
func (r *Reducer) steady(ph *phase) {
	if r.opt.Steady != SteadyDefault || ph.activity == nil || ph.Kind != string(trace.Measure) || ph.surveyed == 0 {
		return
	}
	from, to, why := r.steadySpan(ph.activity)
	if why != "" {
		r.doubt(ph, WarnNotSteady, "", "no part of it is steady: %s", why)
		return
	}
	r.window(ph, WindowSteady, ph.activity.bound(from), ph.activity.bound(to))
}

// steadySpan returns the cells of the steady part, or why there is none.
func (r *Reducer) steadySpan(a *activity) (from, to int, why string) {
	if a.end.Sub(a.start) < steadyLength {
		return 0, 0, fmt.Sprintf("it is shorter than %v", steadyLength)
	}
	least := steadyShare * a.plateau()
	var runs [][2]int
	for i, c := range a.concurrency() {
		switch n := len(runs); {
		case c < least:
		case n > 0 && runs[n-1][1] == i:
			runs[n-1][1] = i + 1
		default:
			runs = append(runs, [2]int{i, i + 1})
		}
	}
	why = fmt.Sprintf("the requests in flight do not stay above %.0f %% of their plateau of %.4g for %v", 100*steadyShare, a.plateau(), steadyLength)
	best := time.Duration(0)
	quantities := r.quantities(a)
	for _, run := range runs {
		for trim := range steadyTrims {
			for lead := range trim + 1 {
				n := run[1] - run[0]
				i, j := run[0]+n*lead/steadyTrims, run[1]-n*(trim-lead)/steadyTrims
				length := a.bound(j).Sub(a.bound(i))
				if length < steadyLength || length <= best || j-i < steadyParts { // fewer cells do not show a drift
					continue
				}
				drifting := drift(quantities, a, i, j)
				if drifting == "" {
					from, to, best = i, j, length
				} else if best == 0 {
					why = drifting + " drifts"
				}
			}
		}
	}
	if best > 0 {
		why = ""
	}
	return from, to, why
}

// quantity is something that must not drift: its value in each cell.
type quantity struct {
	name   string
	values []float64 // NaN is unknown
	worth  func(mean float64) float64
}

// quantities returns token rate, power and mean temperature in each cell.
func (r *Reducer) quantities(a *activity) []quantity {
	share := func(mean float64) float64 { return steadyRise * mean }
	tokens := make([]float64, len(a.tokens))
	for i, n := range a.tokens {
		tokens[i] = float64(n) / microtokens / a.bound(i+1).Sub(a.bound(i)).Seconds()
	}
	list := []quantity{{"the token rate", tokens, share}}
	watts := make([]float64, len(a.tokens))
	kelvin := make([]float64, len(a.tokens))
	for i := range watts {
		from, to := a.bound(i), a.bound(i+1)
		watts[i], kelvin[i] = r.totalWatts(from, to), r.meanTemperature(from, to)
	}
	return append(list, quantity{"the power", watts, share},
		quantity{"the temperature", kelvin, func(float64) float64 { return steadyKelvin }})
}

// drift returns the name of the first quantity that drifts over cells [from, to).
func drift(list []quantity, a *activity, from, to int) string {
	for _, q := range list {
		if rises(q, from, to) {
			return q.name
		}
	}
	return ""
}

// rises reports whether a quantity drifts over cells [from, to).
func rises(q quantity, from, to int) bool {
	if to-from < steadyParts {
		return false
	}
	var means [steadyParts]float64
	var sum float64
	for part := range means {
		i, j := from+(to-from)*part/steadyParts, from+(to-from)*(part+1)/steadyParts
		n := 0
		for _, v := range q.values[i:j] {
			if !math.IsNaN(v) {
				means[part] += v
				n++
			}
		}
		if n == 0 {
			return false // unknown
		}
		means[part] /= float64(n)
		sum += means[part]
	}
	const middle = (steadyParts - 1) / 2.
	mean := sum / steadyParts
	var xx, xy, rest float64
	for i, v := range means {
		x := float64(i) - middle
		xx += float64(x * x)
		xy += float64(x * v)
	}
	slope := xy / xx
	for i, v := range means {
		d := v - mean - float64(slope*(float64(i)-middle))
		rest += float64(d * d)
	}
	sigma := math.Sqrt(rest / (steadyParts - 2) / xx)
	return math.Abs(slope) > float64(steadyT*sigma) && math.Abs(slope*steadyParts) > q.worth(math.Abs(mean))
}
