package reduce

import (
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

// add takes a request, of which offset moves the times to the common clock, and its
// events that brought output.
func (a *activity) add(q *trace.Request, outputs []trace.Chunk, offset time.Duration) {
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
	if n, ok := q.OutputTokens.Get(); ok && q.LastToken.OK && a.tokens != nil {
		if len(outputs) == 0 { // the log does not hold them: all at the last one
			outputs = []trace.Chunk{{At: q.LastToken.V}}
		}
		a.arrived(n*microtokens, outputs, offset)
	}
}

// arrived adds the output of a request, of which each event brought an equal share.
// Shares are whole microtokens: the differences of total*k/events, rounded down.
func (a *activity) arrived(total int64, outputs []trace.Chunk, offset time.Duration) {
	events := int64(len(outputs))
	upTo := func(k int) int64 { return total/events*int64(k) + total%events*int64(k)/events }
	start, end := a.start.Add(-offset), a.end.Add(-offset)
	for i := 0; i < len(outputs); {
		at := outputs[i].At
		if at < start || at >= end {
			i++
			continue
		}
		// Events come in order of time: those of one cell at once.
		cell, first := int(at.Sub(start)/a.step), i
		from := start.Add(time.Duration(cell) * a.step)
		to := min(from.Add(a.step), end)
		for i++; i < len(outputs) && outputs[i].At >= from && outputs[i].At < to; i++ {
		}
		a.tokens[cell] += upTo(i) - upTo(first)
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
