package attribute

import (
	"slices"
	"time"

	"wattrace/trace"
)

// Units of weights. Weights are integers, so that their sums do not depend on
// the order of requests.
const (
	tokenUnit   = 1 << 18 // of prompt and output tokens
	contextUnit = 1 << 10 // tokens of context that count as one in column context
	maxTokens   = 1 << 22 // of one request; a log that claims more is cut, so that no sum overflows
)

// lateBase is the shortest time that a prefill is taken to take: a step.
const lateBase = 20 * time.Millisecond

// The columns of weights that are gathered per cell.
const (
	flight        = iota // nanoseconds from sent to the first token
	prompt               // prompt tokens that were not cached, spread over all of the prefill stage
	prefill              // nanoseconds of the prefill stage
	latePrompt           // prompt tokens, as late as they may have been computed
	latePrefill          // nanoseconds that this takes
	output               // output tokens
	context              // output tokens, times the tokens in their cache
	decode               // nanoseconds of the decode stage
	unpacedOutput        // output tokens of requests that are not streamed: of those is not known when
	unpacedDecode        // nanoseconds of their decode stage
	columns
)

// row is what requests weigh in a cell.
type row [columns]int64

// life is what is known of when and on what a server worked for a request, on
// the common clock.
type life struct {
	sent, start  trace.Time // start: of the prefill, where the server's queue is known; else sent
	early        trace.Time // where the prefill ends, if it ran from start
	late         trace.Time // where it begins and ends at the other extreme
	lateEnd      trace.Time
	first, end   trace.Time    // first token; last output or the end
	streamed     bool          // first is known
	queue        bool          // start is known
	input        int64         // tokens of the prompt, those in the cache too
	uncached     int64         // of those, to be computed
	output       int64         // tokens of the answer
	outputs      []trace.Chunk // that brought them
	refused      bool          // the server did not work on it
	unknownCache bool
	unknownInput bool
}

// life reads a request. It clamps what a log may have wrong: no instant is
// before sent or after the end.
func (a *Attributor) life(q *trace.Request, offset time.Duration) life {
	l := life{sent: q.Sent.Add(offset)}
	l.end = max(q.LastToken.Or(q.Done).Add(offset), l.sent)
	l.outputs = q.Outputs()
	l.tokens(q)
	// One event with a whole answer says nothing of when it was made.
	l.streamed = q.FirstToken.OK && (len(l.outputs) != 1 || l.output <= 1)
	l.first = l.end
	if l.streamed {
		l.first = min(max(q.FirstToken.V.Add(offset), l.sent), l.end)
	}
	l.start = l.sent
	if wait, ok := a.queue(q); ok && wait >= 0 && wait <= l.first.Sub(l.sent) {
		l.start, l.queue = l.sent.Add(wait), true
	}
	l.place(lateBase + time.Duration(float64(l.uncached)/a.rate*1e9))
	return l
}

// place says where a prefill that takes so long ran at the other extreme: at
// the end of the time to first token, after a wait. Of a request that was not
// streamed neither is known; it has no prefill stage, and its other extreme is
// that it did not wait.
func (l *life) place(takes time.Duration) {
	l.early, l.late = l.first, l.start
	switch {
	case !l.streamed:
		l.early, l.first, l.lateEnd = l.end, l.start, min(l.start.Add(takes), l.end)
	case l.queue:
		l.lateEnd = l.first
	default:
		l.late, l.lateEnd = max(l.start, l.first.Add(-takes)), l.first
	}
}

// tokens fills in the counts of tokens.
func (l *life) tokens(q *trace.Request) {
	l.output = min(max(q.OutputTokens.Or(int64(len(l.outputs))), 0), maxTokens)
	if l.refused = refused(q); l.refused {
		return
	}
	in := q.InputTokens
	if !in.OK {
		in = q.ExpectedInput
	}
	l.unknownInput = !in.OK
	l.input = min(max(in.V, 0), maxTokens)
	cached, ok := CachedTokens(q.Usage)
	l.unknownCache = !ok
	l.uncached = max(l.input-cached, 0)
}

// refused reports whether a request failed before the server worked on it, as
// far as a client can know: any status but 200, or no answer at all.
func refused(q *trace.Request) bool {
	if q.Outcome != trace.Failed || q.FirstToken.OK || q.Error.Class == trace.ErrTimeout {
		return false
	}
	return q.Status.V != 200
}

// An amount is tokens that were worked on in a cell, in units, and for output also
// those times the tokens in their cache.
type amount struct{ tokens, context int64 }

// weight is what a request weighs in the cells that it touches. What is only a time in
// a cell follows from the request's life.
type weight struct {
	first       int          // cell
	bounds      []trace.Time // of the cells, one more than there are
	prompt      []amount     // of the cells until the prompt is done
	latePrompt  []amount     // likewise, as late as may be
	output      []amount     // of all cells
	at          int          // where the last amount ended, from first
	latePrefill trace.Time   // since when
}

// stages are microjoules by estimate and stage.
type stages [estimates][2]int64

// weigh returns what a request weighs, which is valid until the next call. One that
// the server refused weighs nothing in any mode, however long that took.
func (a *Attributor) weigh(l *life, offset time.Duration) *weight {
	w := &a.weight
	n := a.grid.Len()
	if l.refused || n == 0 || l.end < a.grid.Bound(0) || l.sent >= a.grid.Bound(n) {
		w.first, w.prompt, w.latePrompt, w.output = 0, w.prompt[:0], w.latePrompt[:0], w.output[:0]
		return w
	}
	w.first = 0
	if k, ok := a.grid.Cell(l.sent); ok {
		w.first = k
	}
	last := n - 1
	if k, ok := a.grid.Cell(l.end); ok {
		last = k
	}
	cells, prefilled := last+1-w.first, 1
	w.bounds = a.grid.bounds[w.first : last+2]
	for done := max(l.first, l.early, l.lateEnd); prefilled < cells && w.bounds[prefilled] <= done; {
		prefilled++
	}
	w.prompt, w.latePrompt, w.output = zeros(w.prompt, prefilled), zeros(w.latePrompt, prefilled), zeros(w.output, cells)
	w.latePrefill = min(l.late, l.first)
	w.at = 0
	w.spread(w.prompt, l.start, l.early, l.uncached*tokenUnit, 0)
	w.spread(w.latePrompt, l.late, l.lateEnd, l.uncached*tokenUnit, 0)
	w.outputs(l, offset)
	return w
}

// zeros returns n amounts of nothing, in the memory of list where it is enough.
func zeros(list []amount, n int) []amount {
	list = slices.Grow(list[:0], n)[:n]
	clear(list)
	return list
}

// within returns the nanoseconds of [from, to) that are in cell i.
func (w *weight) within(i int, from, to trace.Time) int64 {
	return max(int64(min(to, w.bounds[i+1])-max(from, w.bounds[i])), 0)
}

// prefill returns the row of cell i without what was decoded.
func (w *weight) prefill(i int, l *life) row {
	return row{
		flight: w.within(i, l.sent, l.first), prompt: w.prompt[i].tokens, prefill: w.within(i, l.start, l.first),
		latePrompt: w.latePrompt[i].tokens, latePrefill: w.within(i, w.latePrefill, l.first),
	}
}

// seek moves to the cell that t is in, or the last one before it.
func (w *weight) seek(t trace.Time) {
	for w.at > 0 && t < w.bounds[w.at] {
		w.at--
	}
	for w.at+2 < len(w.bounds) && t >= w.bounds[w.at+1] {
		w.at++
	}
}

// spread spreads units of tokens, that were made over a cache of so many, evenly over
// [from, to), and puts them into one cell where the two are one instant. What lies
// outside the grid is lost. cells reach at least as far as to.
func (w *weight) spread(cells []amount, from, to trace.Time, units, cache int64) {
	if units <= 0 || to < w.bounds[0] || from >= w.bounds[len(w.bounds)-1] {
		return
	}
	w.seek(from)
	k, before := w.at, int64(0)
	whole, span := float64(units), float64(to-from)
	if from < w.bounds[k] {
		before = int64(whole * (float64(w.bounds[k]-from) / span))
	}
	for ; k < len(cells); k++ {
		end, upTo := w.bounds[k+1], units
		if end < to {
			upTo = int64(whole * (float64(end-from) / span))
		}
		part := upTo - before
		cells[k].tokens += part
		cells[k].context += part * cache / contextUnit
		if end >= to {
			break
		}
		before = upTo
	}
	w.at = min(k, len(w.bounds)-2)
}

// outputs spreads the output tokens: each event brings an equal share, made
// since the event before. The step that ends a prefill makes a token, so that one
// of the first event's is no work of its own.
func (w *weight) outputs(l *life, offset time.Duration) {
	whole := l.output * tokenUnit
	switch {
	case !l.streamed:
		w.spread(w.output, l.start, l.end, whole, l.input+l.output/2)
		return
	case len(l.outputs) == 0:
		w.spread(w.output, l.first, l.end, max(whole-tokenUnit, 0), l.input+l.output/2)
		return
	}
	each := whole / int64(len(l.outputs))
	w.spread(w.output, l.late, l.first, max(each-tokenUnit, 0), l.input)
	prev := l.first
	for i, c := range l.outputs[1:] {
		at := min(max(c.At.Add(offset), prev), l.end)
		w.spread(w.output, prev, at, each, l.input+int64(i+1)*each/tokenUnit)
		prev = at
	}
}
