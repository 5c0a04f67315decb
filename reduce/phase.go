package reduce

import (
	"math"
	"time"

	"wattrace/trace"
)

// phase gathers the requests of one span.
type phase struct {
	Span
	arrivals bool      // tokens are counted where they arrived, since requests cross an end
	window   bool      // overlaps phases: it has the requests that were sent in it
	quiet    bool      // a part of a phase, which has no doubts of its own
	slice    bool      // one of slices
	slices   []*phase  // of the phase, in order
	windows  []*phase  // that follow from its load, in order
	activity *activity // of a log's phase that has a length

	surveyed int64        // requests of the first pass
	firsts   []trace.Time // of their first tokens, for ML.ENERGY's rule
	dones    []trace.Time // of their ends, likewise

	requests     Requests
	latencies    []latency        // of the requests that succeeded
	lateness     []time.Duration  // of all requests that ended
	begun        []time.Duration  // and of the first of each slot
	slots        map[slot]bool    // that have had a request
	gaps         eventGaps        // of the requests that succeeded, of all of them together
	energies     []float64        // joules of each request, where they are known
	talks        map[string]int64 // microjoules of each conversation
	input        int64            // microtokens of the requests that succeeded
	output       int64
	withInput    int64 // requests that succeeded and know their input tokens
	withOutput   int64
	counted      int64 // of those, counted from events
	noInput      int64 // requests whose tokens arrived here, with arrivals, and do not say how many
	noOutput     int64
	outputSquare int64 // variance of output, from requests in flight at the ends, in millionths
	inFlight     int64 // requests that cross an end
	loose        int64 // tokens that a server may count in another phase, or alone
	busy         int64 // nanoseconds of requests in flight
	good         int64 // requests that kept the latencies asked for
	inputAudit   TokenAudit
	outputAudit  TokenAudit
	byLoad       [2]bool // it has requests of a closed loop, of an open one
}

// inputTokens and outputTokens return sums in tokens.
func (ph *phase) inputTokens() float64  { return float64(ph.input) / microtokens }
func (ph *phase) outputTokens() float64 { return float64(ph.output) / microtokens }

// Request takes one request that ended, of the phase with that index, in the second
// pass over the log, in the order of the log, with its energy as RequestEnergy returned
// it. offset moves its times to the common clock.
func (r *Reducer) Request(phase int, q *trace.Request, offset time.Duration, energy trace.Opt[RequestEnergy]) {
	r.settle()
	if energy.OK {
		r.phases[phase].spent(q, energy.V)
	}
	own := r.phases[phase]
	outputs := q.Outputs()
	k := &r.kept
	k.gaps = gapsOf(outputs, k.gaps)
	k.split, k.tokens = tokenGapsOf(q, outputs, k.tokens)
	k.latency = latencyOf(q, outputs, k.gaps)
	k.open, k.good = own.Open, r.opt.SLO.keeps(q, own.Open)
	own.take(q, k)
	own.begins(q, offset)
	r.tools.request(own, q, offset)
	r.tools.arrived(own, q, offset)
	if r.course != nil && !own.Unplaced {
		r.course.request(q, outputs, offset)
	}
	sent, done := q.Sent.Add(offset), q.Done.Add(offset)
	for ph := range r.timeline.overlapping(sent, done) {
		ph.busy += max(0, int64(min(done, ph.End.V)-max(sent, ph.Start)))
		ph.loosen(q, outputs, sent, done)
		if ph.window {
			ph.arrived(q, outputs, offset)
			if sent >= ph.Start && sent < ph.End.V {
				ph.take(q, k)
				r.tools.request(ph, q, offset)
			}
			continue
		}
		if !own.Unplaced {
			ph.crossing(q, offset, ph == own)
		}
		if ph.arrivals {
			ph.arrived(q, outputs, offset)
		}
	}
}

// takeTotals counts the requests of a phase that has none by themselves.
func (ph *phase) takeTotals() {
	t := ph.Totals
	if t == nil {
		return
	}
	ph.requests.Sent, ph.requests.Succeeded, ph.requests.Failed = t.Succeeded+t.Failed, t.Succeeded, t.Failed
	if n, ok := t.Input.Get(); ok {
		ph.withInput, ph.input = t.Succeeded, n*microtokens
	}
	if n, ok := t.Output.Get(); ok {
		ph.withOutput, ph.output = t.Succeeded, n*microtokens
	}
}

// spent notes the energy of a request of the phase's own, all of it known.
func (ph *phase) spent(q *trace.Request, energy RequestEnergy) {
	if energy.Known < 1 {
		return
	}
	joules := float64(energy.Energy) / 1e6
	if q.Outcome == trace.Succeeded {
		ph.energies = append(ph.energies, joules)
	}
	if q.Conversation != "" {
		if ph.talks == nil {
			ph.talks = map[string]int64{}
		}
		ph.talks[q.Conversation] += energy.Energy
	}
}

// kept is what the phases that a request belongs to take of it.
type kept struct {
	latency latency
	gaps    []time.Duration // between its events with output
	split   tokenSplit
	tokens  []tokenGap // between its tokens, with splitUsage
	open    bool       // its phase is an open loop
	good    bool       // it kept the latencies asked for, if it succeeded
}

// take counts a request as the phase's own.
func (ph *phase) take(q *trace.Request, k *kept) {
	ph.requests.Sent++
	if k.open {
		ph.byLoad[1] = true
	} else {
		ph.byLoad[0] = true
	}
	ph.lateness = append(ph.lateness, k.latency.late)
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
	if k.good {
		ph.good++
	}
	ph.audit(q)
	ph.latencies = append(ph.latencies, k.latency)
	if !ph.slice {
		ph.gaps.add(k.gaps, k.split, k.tokens)
	}
	if n, ok := q.InputTokens.Get(); ok {
		ph.withInput++
		if !ph.arrivals {
			ph.input += n * microtokens
		}
	}
	if n, ok := q.OutputTokens.Get(); ok {
		ph.withOutput++
		if !q.TokenSource.Exact() {
			ph.counted++
		}
		if !ph.arrivals {
			ph.output += n * microtokens
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
	sent, done := q.Sent.Add(offset), q.Done.Add(offset)
	if own && done > ph.End.V || !own && sent < ph.Start && done > ph.Start {
		ph.inFlight++
	}
}

// arrived adds the share of the request's tokens that arrived in the phase,
// however the request ended: of
// the output by the times of its events that brought some, each with an equal share, else spread
// evenly from the first token to the last; of the input all, at the first token.
func (ph *phase) arrived(q *trace.Request, outputs []trace.Chunk, offset time.Duration) {
	end := ph.End.V
	within := func(t trace.Time) bool { t = t.Add(offset); return t >= ph.Start && t < end }
	if !q.FirstToken.OK && !q.LastToken.OK {
		if q.Outcome == trace.Succeeded && q.Sent.Add(offset) < end && q.Done.Add(offset) >= ph.Start { // nobody knows when
			ph.noInput++
			ph.noOutput++
		}
		return // else nothing arrived
	}
	first := q.FirstToken.Or(q.LastToken.V)
	last := q.LastToken.Or(q.Done)
	if n, ok := q.InputTokens.Get(); ok && within(first) {
		ph.input += n * microtokens
	} else if within(first) && q.Outcome == trace.Succeeded {
		ph.noInput++
	}
	n, ok := q.OutputTokens.Get()
	if !ok || !q.LastToken.OK { // of a last one that is not known, not all tokens are known to have come
		if q.Outcome == trace.Succeeded && first.Add(offset) < end && last.Add(offset) >= ph.Start {
			ph.noOutput++
		}
		return
	}
	inside, events := int64(0), int64(len(outputs))
	from, until := ph.Start.Add(-offset), end.Add(-offset)
	for i := range outputs {
		if at := outputs[i].At; at >= from && at < until {
			inside++
		}
	}
	grain := float64(n)
	if events > 0 {
		grain = float64(n) / float64(events)
		ph.output += mulDiv(n*microtokens, inside, events)
	} else {
		share := overlap(first.Add(offset), q.LastToken.V.Add(offset), ph.Start, end)
		ph.output += int64(math.Round(share * float64(n*microtokens)))
	}
	for _, edge := range []trace.Time{ph.Start, end} {
		if first.Add(offset) < edge && q.LastToken.V.Add(offset) > edge {
			ph.outputSquare += int64(math.Round(float64(grain*grain) / 12 * microtokens))
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
