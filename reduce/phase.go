package reduce

import (
	"math"
	"time"

	"wattrace/trace"
)

// phase gathers the requests of one span.
type phase struct {
	Span
	arrivals bool     // tokens are counted where they arrived, since requests cross an end
	window   bool     // overlaps phases: it has the requests that were sent in it
	quiet    bool     // a slice, which has no doubts of its own
	slices   []*phase // of the phase, in order

	requests     Requests
	ttft         []time.Duration
	itl          []time.Duration
	e2e          []time.Duration
	input        float64 // tokens of the requests that succeeded
	output       float64
	withInput    int64 // requests that succeeded and know their input tokens
	withOutput   int64
	counted      int64 // of those, counted from events
	noInput      int64 // requests whose tokens arrived here, with arrivals, and do not say how many
	noOutput     int64
	outputSquare float64 // variance of output, from requests in flight at the ends
	inFlight     int64   // requests that cross an end
}

// SurveyRequest takes one request that ended, of the phase with that index, in
// the first pass over the log. offset moves its times to the common clock.
func (r *Reducer) SurveyRequest(phase int, q *trace.Request, offset time.Duration) {
	ph := r.phases[phase]
	// A phase that its requests outlast was not drained, whatever its plan says:
	// its tokens are counted where they arrived.
	if end, ok := ph.End.Get(); ok && q.Done.Add(offset) > end {
		ph.arrivals = true
		if phase+1 < len(r.phases) {
			r.phases[phase+1].arrivals = true
		}
	}
}

// Request takes one request that ended, of the phase with that index. offset
// moves its times to the common clock.
func (r *Reducer) Request(phase int, q *trace.Request, offset time.Duration) {
	ph := r.phases[phase]
	ph.take(q)
	for _, other := range r.phases {
		if other.window {
			continue
		}
		other.crossing(q, offset, other == ph)
		if other.arrivals {
			other.arrived(q, offset)
		}
	}
	sent := q.Sent.Add(offset)
	for _, w := range r.windows {
		w.arrived(q, offset)
		if sent >= w.Start && sent < w.End.V {
			w.take(q)
		}
	}
}

// take counts a request as the phase's own.
func (ph *phase) take(q *trace.Request) {
	ph.requests.Sent++
	switch q.Outcome {
	case trace.Succeeded:
		ph.requests.Succeeded++
	case trace.Failed:
		ph.requests.Failed++
		if ph.requests.Errors == nil {
			ph.requests.Errors = map[trace.ErrorClass]int64{}
		}
		ph.requests.Errors[q.Error.Class]++
	case trace.Cancelled:
		ph.requests.Cancelled++
	}
	if q.Outcome != trace.Succeeded {
		return
	}
	if d, ok := q.TTFT(); ok {
		ph.ttft = append(ph.ttft, d)
	}
	if d, ok := q.ITL(); ok {
		ph.itl = append(ph.itl, d)
	}
	if d, ok := q.E2E(); ok {
		ph.e2e = append(ph.e2e, d)
	}
	if n, ok := q.InputTokens.Get(); ok {
		ph.withInput++
		if !ph.arrivals {
			ph.input += float64(n)
		}
	}
	if n, ok := q.OutputTokens.Get(); ok {
		ph.withOutput++
		if q.TokenSource != trace.FromUsage {
			ph.counted++
		}
		if !ph.arrivals {
			ph.output += float64(n)
		}
	}
}

// Unended counts a request that was sent in the phase and of which the log says
// no more.
func (r *Reducer) Unended(phase int) {
	r.phases[phase].requests.Sent++
	r.phases[phase].requests.Unended++
}

// crossing notes a request in flight at an end of the phase.
func (ph *phase) crossing(q *trace.Request, offset time.Duration, own bool) {
	end, ok := ph.End.Get()
	if !ok {
		return
	}
	sent, done := q.Sent.Add(offset), q.Done.Add(offset)
	if own && done > end || !own && sent < ph.Start && done > ph.Start {
		ph.inFlight++
	}
}

// arrived adds the share of the request's tokens that arrived in the phase,
// however the request ended: of
// the output by the times of its events, each with an equal share, else spread
// evenly from the first token to the last; of the input all, at the first token.
func (ph *phase) arrived(q *trace.Request, offset time.Duration) {
	end, ok := ph.End.Get()
	if !ok {
		return
	}
	within := func(t trace.Time) bool { t = t.Add(offset); return t >= ph.Start && t < end }
	if !q.FirstToken.OK && !q.LastToken.OK {
		return // nothing arrived
	}
	first := q.FirstToken.Or(q.LastToken.V)
	if n, ok := q.InputTokens.Get(); ok && within(first) {
		ph.input += float64(n)
	} else if within(first) && q.Outcome == trace.Succeeded {
		ph.noInput++
	}
	n, ok := q.OutputTokens.Get()
	if !ok || !q.LastToken.OK {
		if !ok && q.Outcome == trace.Succeeded && first.Add(offset) < end && q.LastToken.V.Add(offset) >= ph.Start {
			ph.noOutput++
		}
		return
	}
	inside, events := 0, 0
	for _, c := range q.Chunks {
		if c.Kind.Output() {
			events++
			if within(c.At) {
				inside++
			}
		}
	}
	share, grain := 0.0, float64(n)
	if events > 0 {
		share, grain = float64(inside)/float64(events), float64(n)/float64(events)
	} else {
		share = overlap(first.Add(offset), q.LastToken.V.Add(offset), ph.Start, end)
	}
	ph.output += float64(share * float64(n))
	for _, edge := range []trace.Time{ph.Start, end} {
		if first.Add(offset) < edge && q.LastToken.V.Add(offset) > edge {
			ph.outputSquare += float64(grain*grain) / 12
		}
	}
}

// overlap returns the share of [a, b] that lies in [start, end); a point counts
// as a whole.
func overlap(a, b, start, end trace.Time) float64 {
	if b <= a {
		if a >= start && a < end {
			return 1
		}
		return 0
	}
	return math.Max(0, float64(min(b, end)-max(a, start))) / float64(b-a)
}
