package attribute

import (
	"slices"
	"time"

	"wattrace/trace"
)

// Options are the choices of a caller. The zero value is the default.
type Options struct {
	// Resolution is the shortest time that the energy's sensor resolves: the
	// update period of a counter, the window of an average. 0 is 100 ms. A stage
	// that is shorter is modelled.
	Resolution time.Duration
	// PrefillRate is about how many prompt tokens a second one request's prefill
	// advances by. Where the server does not say when a prefill began, it may
	// have begun so late. 0 is DefaultPrefillRate.
	PrefillRate float64
	// Queue returns how long a request waited in the server before its prefill
	// began, and false where that is not known. nil reads queue_time_ms of the
	// usage object.
	Queue func(q *trace.Request) (time.Duration, bool)
	// Marks are instants within the grid at which Sum may be asked besides its edges.
	// They cut no cell, so that nothing else depends on them: of a cell that one falls
	// into, each side has what its share of the time is.
	Marks []trace.Time
}

// DefaultPrefillRate is of the order of a model of some ten to seventy billion
// parameters on current boards, in tokens per second.
const DefaultPrefillRate = 10_000

// A Mode is a rule by which requests share energy.
type Mode string

// The modes.
const (
	ModeTime   Mode = "time"   // in proportion to the time in flight
	ModeTokens Mode = "tokens" // in proportion to tokens made and, each a sixteenth of that, computed of prompts
	ModeFitted Mode = "fitted" // in proportion to what a linear model predicts that was fitted to this run
)

// An Attributor splits the energy of a run over its requests, in two passes, as
// the package comment says. It is not safe for concurrent use, but may be forked.
type Attributor struct {
	grid       *Grid
	resolution time.Duration
	keep       []trace.Time // edges that count, in order; nil is all
	rate       float64
	queue      func(q *trace.Request) (time.Duration, bool)

	weights []row  // per cell, of all requests; until Energy
	known   []bool // per cell; nil is all
	rates   []rates
	before  []elapsed    // per cell, and at the end of the grid
	marks   []trace.Time // in order
	starts  []int        // the first cells of parts, in order
	parts   []part
	fit     Fit
	prompts [2]int64 // prompt tokens to be computed: of requests that are not streamed, and of all

	weight weight // of the request at hand
}

// New makes an Attributor for the cells of a grid.
func New(grid *Grid, opt Options) *Attributor {
	a := &Attributor{grid: grid, resolution: opt.Resolution, rate: opt.PrefillRate, queue: opt.Queue,
		weights: make([]row, grid.Len()), marks: slices.Sorted(slices.Values(opt.Marks))}
	a.starts = a.cut()
	a.parts = make([]part, len(a.starts))
	if a.resolution <= 0 {
		a.resolution = 100 * time.Millisecond
	}
	if !(a.rate > 0) {
		a.rate = DefaultPrefillRate
	}
	if a.queue == nil {
		a.queue = queueTime
	}
	return a
}

// Survey is the first pass: it takes the weights of one request that ended.
// offset moves its times to the common clock. Every request must be surveyed, in
// any order, before Energy.
func (a *Attributor) Survey(q *trace.Request, offset time.Duration) {
	l := a.life(q, offset)
	a.prompts[1] += l.uncached
	w := a.weigh(&l, offset)
	sums := a.weights[w.first:]
	for i := range w.prompt {
		for c, v := range w.prefill(i, &l) {
			sums[i][c] += v
		}
	}
	for i, made := range w.output {
		sum := &sums[i]
		sum[output] += made.tokens
		sum[context] += made.context
		sum[decode] += w.within(i, l.first, l.end)
	}
	if l.streamed {
		return
	}
	a.prompts[0] += l.uncached
	for i, made := range w.output {
		sums[i][unpacedOutput] += made.tokens
		sums[i][unpacedDecode] += w.within(i, l.first, l.end)
	}
}

// Fork returns an Attributor for some of the requests of a pass: a and its forks may be
// used at the same time. What a fork took counts once it is joined, in the same pass; no
// result depends on which took what.
func (a *Attributor) Fork() *Attributor {
	f := *a
	f.weight, f.parts = weight{}, nil
	if a.weights != nil {
		f.weights, f.prompts = make([]row, len(a.weights)), [2]int64{}
	} else {
		f.parts = make([]part, len(a.parts))
	}
	return &f
}

// Join adds what a fork of a took.
func (a *Attributor) Join(f *Attributor) {
	if f.weights != nil { // else they are those of all
		a.prompts[0] += f.prompts[0]
		a.prompts[1] += f.prompts[1]
	}
	for k := range f.weights {
		for c, v := range f.weights[k] {
			a.weights[k][c] += v
		}
	}
	for s := range f.parts {
		a.parts[s].add(&f.parts[s], 1)
	}
}

// estimate is a mode, with what it supposes of queues.
type estimate int

const (
	byTime       estimate = iota
	byTokens              // prefill spread over all its stage
	byTokensLate          // as late as may be
	byFit
	byFitLate
	estimates
)

// outputWorth is how many prompt tokens an output token counts for in the mode
// tokens. It is a power of two and was chosen on simulated servers.
const outputWorth = 16

// rates are the microjoules per unit of weight in a cell.
type rates struct {
	time, tokens, tokensLate float64
	fit, fitLate             float64 // per predicted microjoule
	each, eachLate           float64 // per nanosecond of a request that is served
	fallback                 fallback
}

// elapsed is what one request that is in flight from the first cell on has until a
// cell, all of it by time.
type elapsed struct {
	energy int64 // microjoules, whole ones in each cell
	known  int64 // nanoseconds
}

// fallback is the estimates, as bits, that place no work in a cell in which
// requests are in flight. What was drawn there is shared by time: it may be
// a prefill that was slower than supposed, or of a prompt of unknown length.
type fallback uint8

// shrink keeps the rounding of sums and products from handing out more than
// there is.
const shrink = 1 - 1.0/(1<<40)

// Energy takes the energy that was measured, between the passes: microjoules of
// all devices by cell; which cells are known, nil for all; and what the devices
// draw together at rest, in watts. It panics where the lengths are not that of
// the grid. Negative energy counts as zero, and so does that of a cell that is
// not known.
//
// Cells that the sensor does not see apart share their energy, over the edges of the
// grid but not over those that Keep named.
func (a *Attributor) Energy(total []int64, known []bool, idleWatts trace.Opt[float64]) {
	if len(total) != a.grid.Len() || known != nil && len(known) != len(total) {
		panic("attribute: the cells are not those of the grid")
	}
	a.known = known
	active := a.split(total, idleWatts)
	a.fit = a.fitAll(active)
	a.rates = make([]rates, len(active))
	for _, r := range a.runs() {
		for k := r[0]; k < r[1]; {
			from := k
			for k++; k < r[1] && a.grid.Bound(k+1).Sub(a.grid.Bound(from)) <= a.resolution; k++ {
			}
			a.pool(active, from, k)
		}
	}
	a.before = make([]elapsed, len(active)+1)
	for k := range active {
		e := a.before[k]
		if a.knows(k) {
			e.energy += floor(a.length(k), a.rates[k].time)
			e.known += a.length(k)
		}
		a.before[k+1] = e
	}
	a.weights = nil
}

// Keep names the edges, of those of the grid, between which Sum will be asked, before
// Energy. The others are as if they were not there: of many instants that may become
// the end of a window, few do, and cells are as fine as the sensor only where no edge
// cuts them. Without it all edges count.
func (a *Attributor) Keep(edges []trace.Time) {
	a.keep = slices.Clone(edges)
	slices.Sort(a.keep)
}

// runs returns the cells between the edges that count, as half-open ranges.
func (a *Attributor) runs() (list [][2]int) {
	for s := range a.grid.stretches {
		first, end := a.grid.stretches[s].first, a.grid.after(s)
		_, counts := slices.BinarySearch(a.keep, a.grid.stretches[s].start)
		if n := len(list); n > 0 && a.keep != nil && !counts {
			list[n-1][1] = end
			continue
		}
		list = append(list, [2]int{first, end})
	}
	return list
}

// split sums up the parts and returns the active energy of the cells.
func (a *Attributor) split(total []int64, idleWatts trace.Opt[float64]) []int64 {
	active := make([]int64, len(total))
	for i := range a.parts {
		p := &a.parts[i]
		for k := a.starts[i]; k < a.after(i); k++ {
			length := a.grid.Bound(k + 1).Sub(a.grid.Bound(k))
			if !a.knows(k) {
				p.unknown += int64(length)
				continue
			}
			e := max(total[k], 0)
			idle := int64(0)
			if w, ok := idleWatts.Get(); ok && w > 0 {
				idle = int64(min(float64(e), w*length.Seconds()*1e6))
			}
			p.total += e
			p.idle += idle
			active[k] = e - idle
		}
	}
	return active
}

// pool sets the rates of cells that the sensor does not see apart, so that they
// share their energy together: weights say how it is spread within the time that
// the sensor resolves, and the measurement how much there is.
func (a *Attributor) pool(active []int64, from, to int) {
	var energy int64
	var w row
	var early, late float64 // predicted
	for k := from; k < to; k++ {
		if !a.knows(k) {
			continue
		}
		energy += active[k]
		for c, v := range a.weights[k] {
			w[c] += v
		}
		early += a.fit.early.predict(&a.weights[k], a.length(k), false)
		late += a.fit.late.predict(&a.weights[k], a.length(k), true)
	}
	r := rates{}
	per := func(e estimate, weight float64) float64 {
		if !(weight > 0) {
			r.fallback |= 1 << e
			return 0
		}
		return float64(energy) * shrink / weight
	}
	r.time = per(byTime, float64(w[flight]+w[decode]))
	r.tokens = per(byTokens, float64(w[prompt]+outputWorth*w[output]))
	r.tokensLate = per(byTokensLate, float64(w[latePrompt]+outputWorth*w[output]))
	r.fit, r.fitLate = per(byFit, early), per(byFitLate, late)
	for k := from; k < to; k++ {
		if !a.knows(k) {
			continue
		}
		r.each = a.each(&a.fit.early, k, false, r.fit)
		r.eachLate = a.each(&a.fit.late, k, true, r.fitLate)
		a.rates[k] = r
	}
}

// each returns the microjoules per nanosecond of a request that is served, for
// its part in the steps of a cell.
func (a *Attributor) each(m *model, k int, late bool, scale float64) float64 {
	n, served := steps(&a.weights[k], a.length(k), late)
	if served == 0 {
		return 0
	}
	return float64(m[shared]*n) / float64(served) * scale
}

func (a *Attributor) knows(k int) bool { return a.known == nil || a.known[k] }

func (a *Attributor) length(k int) int64 { return int64(a.grid.Bound(k+1) - a.grid.Bound(k)) }

// Fit returns how the mode fitted went, once Energy was called.
func (a *Attributor) Fit() Fit { return a.fit }

// Mode returns the mode of the headline figures, once Energy was called: fitted
// unless that is refused, else tokens, which comes closer to the truth than time
// (see the package comment).
func (a *Attributor) Mode() Mode {
	if a.fit.Refused == "" {
		return ModeFitted
	}
	return ModeTokens
}

func floor(weight int64, rate float64) int64 { return int64(float64(weight) * rate) }
