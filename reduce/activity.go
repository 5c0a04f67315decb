package reduce

import (
	"math"
	"slices"
	"time"

	"wattrace/trace"
)

// activity is what a log says of a phase over time, in cells of equal length from
// the phase's start; the last one is shorter.
type activity struct {
	start, end trace.Time
	step       time.Duration
	busy       []int64 // nanoseconds of requests in flight; whole after settle
	whole      []int64 // by how many requests cover a cell wholly it differs from the one before
	tokens     []int64 // output tokens that arrived, in microtokens; nil is not wanted
}

const (
	activityCells = 1000                   // of a phase, at most
	activityStep  = 100 * time.Millisecond // and no shorter than this
)

// newActivity returns the activity of a phase, all at rest.
func newActivity(start, end trace.Time) *activity {
	step, length := activityStep, end.Sub(start)
	if least := (length + activityCells - 1) / activityCells; step < least {
		step = (least + activityStep - 1) / activityStep * activityStep
	}
	return activityOf(start, end, step)
}

// activityOf returns an activity with cells of a given length, all at rest.
func activityOf(start, end trace.Time, step time.Duration) *activity {
	a := &activity{start: start, end: end, step: step}
	n := int((end.Sub(start) + step - 1) / step)
	a.busy, a.whole, a.tokens = make([]int64, n), make([]int64, n+1), make([]int64, n)
	return a
}

// bound returns where cell i begins; that of the last plus one is the end.
func (a *activity) bound(i int) trace.Time { return min(a.start.Add(time.Duration(i)*a.step), a.end) }

// bounds returns the ends of all cells.
func (a *activity) bounds() []trace.Time {
	var list []trace.Time
	for i := range len(a.busy) + 1 {
		list = append(list, a.bound(i))
	}
	return list
}

// add takes a request, of which offset moves the times to the common clock.
func (a *activity) add(q *trace.Request, offset time.Duration) {
	from, to := max(q.Sent.Add(offset), a.start), min(q.Done.Add(offset), a.end)
	if from >= to {
		return
	}
	i, j := int(from.Sub(a.start)/a.step), int((to.Sub(a.start)-1)/a.step)
	if i == j {
		a.busy[i] += int64(to - from)
	} else {
		a.busy[i] += int64(a.bound(i+1) - from)
		a.busy[j] += int64(to - a.bound(j))
		a.whole[i+1]++
		a.whole[j]--
	}
	if a.tokens == nil {
		return
	}
	// Events come in order of time, so that the cell of one is found from the last.
	cell, next := -1, trace.Time(math.MinInt64)
	arrivals(q, func(at trace.Time, microtokens int64) {
		t := at.Add(offset)
		if t < a.start || t >= a.end {
			return
		}
		if t >= next || cell < 0 || t < a.bound(cell) {
			cell = int(t.Sub(a.start) / a.step)
			next = a.start.Add(time.Duration(cell+1) * a.step)
		}
		a.tokens[cell] += microtokens
	})
}

// arrivals calls one for each event of a request that brought output, with an
// equal share of the output tokens each; where the log does not hold the events,
// all are taken to come at the last one. Shares are whole microtokens, and add up to
// the request's tokens.
func arrivals(q *trace.Request, one func(at trace.Time, microtokens int64)) {
	n, ok := q.OutputTokens.Get()
	if !ok || !q.LastToken.OK {
		return
	}
	events := int64(0)
	for _, c := range q.Chunks {
		if c.Kind.Output() {
			events++
		}
	}
	if events == 0 {
		one(q.LastToken.V, n*microtokens)
		return
	}
	// Shares are the differences of n*microtokens*k/events, rounded down.
	each, left, carry := n*microtokens/events, n*microtokens%events, int64(0)
	for _, c := range q.Chunks {
		if !c.Kind.Output() {
			continue
		}
		share := each
		if carry += left; carry >= events {
			carry -= events
			share++
		}
		one(c.At, share)
	}
}

// microtokens is how many of them a token has: sums of whole ones do not depend on
// the order of the requests.
const microtokens = 1_000_000

// settle completes busy, when all requests have been added.
func (a *activity) settle() {
	covering := int64(0)
	for i := range a.busy {
		covering += a.whole[i]
		a.busy[i] += covering * int64(a.bound(i+1)-a.bound(i))
	}
	a.whole = nil
}

// concurrency returns the mean number of requests in flight in each cell.
func (a *activity) concurrency() []float64 {
	list := make([]float64, len(a.busy))
	for i, busy := range a.busy {
		list[i] = float64(busy) / float64(a.bound(i+1)-a.bound(i))
	}
	return list
}

// plateau returns the concurrency that the phase keeps up: of its cells, the upper
// quartile.
func (a *activity) plateau() float64 {
	list := a.concurrency()
	slices.Sort(list)
	if len(list) == 0 {
		return 0
	}
	return list[(len(list)-1)*3/4]
}
