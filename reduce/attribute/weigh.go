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
	flight      = iota // nanoseconds from sent to the first token
	prompt             // prompt tokens that were not cached, spread over all of the prefill stage
	prefill            // nanoseconds of the prefill stage
	latePrompt         // prompt tokens, as late as they may have been computed
	latePrefill        // nanoseconds that this takes
	output             // output tokens
	context            // output tokens, times the tokens in their cache
	decode             // nanoseconds of the decode stage
	pacedOutput        // output tokens of requests that are streamed: of others is not known when
	pacedDecode        // nanoseconds of their decode stage
	columns
)

// row is what a request, or all of them, weighs in a cell.
type row [columns]int64

// life is what is known of when and on what a server worked for a request, on
// the common clock.
type life struct {
	sent, start  trace.Time // start: of the prefill, where the server's queue is known; else sent
	early        trace.Time // where the prefill ends, if it ran from start
	late         trace.Time // where it begins and ends at the other extreme
	lateEnd      trace.Time
	first, end   trace.Time // first token; last output or the end
	streamed     bool       // first is known
	queue        bool       // start is known
	input        int64      // tokens of the prompt, those in the cache too
	uncached     int64      // of those, to be computed
	output       int64      // tokens of the answer
	events       int64      // that brought them
	refused      bool       // the server did not work on it
	unknownCache bool
	unknownInput bool
}

// life reads a request. It clamps what a log may have wrong: no instant is
// before sent or after the end.
func (a *Attributor) life(q *trace.Request, offset time.Duration) life {
	l := life{sent: q.Sent.Add(offset)}
	l.end = max(q.LastToken.Or(q.Done).Add(offset), l.sent)
	for i := range q.Chunks {
		if q.Chunks[i].Kind.Output() {
			l.events++
		}
	}
	l.tokens(q)
	// One event with a whole answer says nothing of when it was made.
	l.streamed = q.FirstToken.OK && (l.events != 1 || l.output <= 1)
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
	l.output = min(max(q.OutputTokens.Or(l.events), 0), maxTokens)
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

// weigh returns what a request weighs in the cells from the first one on. The
// rows are valid until the next call. One that the server refused weighs nothing
// in any mode, however long that took.
func (a *Attributor) weigh(q *trace.Request, l *life, offset time.Duration) (first int, rows []row) {
	n := a.grid.Len()
	if l.refused || n == 0 || l.end < a.grid.Bound(0) || l.sent >= a.grid.Bound(n) {
		return 0, nil
	}
	last := n - 1
	if k, ok := a.grid.Cell(l.end); ok {
		last = k
	}
	if k, ok := a.grid.Cell(l.sent); ok {
		first = k
	}
	a.bounds, a.rows = a.bounds[:0], a.rows[:0]
	a.bounds = a.grid.appendBounds(a.bounds, first, last+1)
	a.rows = slices.Grow(a.rows, last+1-first)[:last+1-first]
	clear(a.rows)
	s := spreader{bounds: a.bounds, rows: a.rows, paced: l.streamed}
	s.span(flight, l.sent, l.first)
	s.span(prefill, l.start, l.first)
	s.span(latePrefill, min(l.late, l.first), l.first)
	s.tokens(prompt, l.start, l.early, l.uncached*tokenUnit)
	s.tokens(latePrompt, l.late, l.lateEnd, l.uncached*tokenUnit)
	s.span(decode, l.first, l.end)
	if s.paced {
		s.span(pacedDecode, l.first, l.end)
	}
	s.outputs(q, l, offset)
	return first, a.rows
}

// spreader spreads amounts over the cells of one request.
type spreader struct {
	bounds []trace.Time // one more than rows
	rows   []row
	at     int  // the cell of the last amount
	paced  bool // when output tokens were made is known
}

// seek moves to the cell that t is in, or the last one before it.
func (s *spreader) seek(t trace.Time) {
	for s.at > 0 && t < s.bounds[s.at] {
		s.at--
	}
	for s.at+1 < len(s.rows) && t >= s.bounds[s.at+1] {
		s.at++
	}
}

// span adds the nanoseconds of [from, to) to a column.
func (s *spreader) span(column int, from, to trace.Time) {
	s.seek(from)
	for k := s.at; k < len(s.rows) && s.bounds[k] < to; k++ {
		s.rows[k][column] += max(int64(min(to, s.bounds[k+1])-max(from, s.bounds[k])), 0)
	}
}

// tokens spreads an amount evenly over [from, to), and puts it into one cell
// where the two are one instant. What lies outside the grid is lost.
func (s *spreader) tokens(column int, from, to trace.Time, amount int64) {
	s.spread(from, to, amount, func(w *row, part int64) { w[column] += part })
}

// spread hands out the parts of an amount.
func (s *spreader) spread(from, to trace.Time, amount int64, add func(w *row, part int64)) {
	if amount <= 0 || to < s.bounds[0] || from >= s.bounds[len(s.rows)] {
		return
	}
	s.seek(from)
	if to < s.bounds[s.at+1] && from >= s.bounds[s.at] {
		add(&s.rows[s.at], amount)
		return
	}
	whole, span := float64(amount), float64(to-from)
	before := int64(0)
	if from < s.bounds[s.at] {
		before = int64(whole * (float64(s.bounds[s.at]-from) / span))
	}
	for k := s.at; k < len(s.rows) && s.bounds[k] < to; k++ {
		next := amount
		if end := s.bounds[k+1]; end < to {
			next = int64(whole * (float64(end-from) / span))
		}
		add(&s.rows[k], next-before)
		before = next
	}
}

// outputs spreads the output tokens: each event brings an equal share, made
// since the event before. The step that ends a prefill makes a token, so that one
// of the first event's is no work of its own.
func (s *spreader) outputs(q *trace.Request, l *life, offset time.Duration) {
	whole := l.output * tokenUnit
	switch {
	case !l.streamed:
		s.made(l.start, l.end, whole, l.input+l.output/2)
		return
	case l.events == 0:
		s.made(l.first, l.end, max(whole-tokenUnit, 0), l.input+l.output/2)
		return
	}
	prev, done, i := l.first, int64(0), int64(0)
	for c := range q.Chunks {
		if !q.Chunks[c].Kind.Output() {
			continue
		}
		i++
		upTo := whole / l.events * i
		made := l.input + done/tokenUnit
		if i == 1 {
			s.made(l.late, l.first, max(upTo-tokenUnit, 0), made)
		} else {
			at := min(max(q.Chunks[c].At.Add(offset), prev), l.end)
			s.made(prev, at, upTo-done, made)
			prev = at
		}
		done = upTo
	}
}

// made adds output tokens, in units, that were made over a cache of so many.
func (s *spreader) made(from, to trace.Time, units, cache int64) {
	s.spread(from, to, units, func(w *row, part int64) {
		w[output] += part
		w[context] += part * cache / contextUnit
		if s.paced {
			w[pacedOutput] += part
		}
	})
}
