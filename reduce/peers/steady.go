package peers

import (
	"math"
	"slices"

	"wattrace/trace"
)

// Load is what requests say of how much was in flight when, by which tools choose
// their steady windows. The zero value has no request.
type Load struct {
	first []trace.Time // first tokens
	done  []trace.Time // ends, however the requests ended
	sent  int
	spans []Interval // sent to done, of those that succeeded
}

// Add takes one request that ended.
func (l *Load) Add(q *trace.Request) {
	l.sent++
	l.done = append(l.done, q.Done)
	if t, ok := q.FirstToken.Get(); ok {
		l.first = append(l.first, t)
	}
	if q.Outcome == trace.Succeeded && q.Done > q.Sent {
		l.spans = append(l.spans, Interval{q.Sent, q.Done})
	}
}

// Successes returns from when to when requests were that succeeded; false is that none did.
func (l *Load) Successes() (all Interval, ok bool) {
	for i, v := range l.spans {
		if i == 0 {
			all = v
		}
		all.Start, all.End = min(all.Start, v.Start), max(all.End, v.End)
	}
	return all, len(l.spans) > 0
}

// MLEnergy returns the steady window of the ML.ENERGY Benchmark 3: from when
// maxNumSeqs requests have their first token until all but maxNumSeqs+1 have ended.
// There is none of too few requests. Its output tokens are the sum of
// [Interval.Tokens].
func (l *Load) MLEnergy(maxNumSeqs int) (Interval, bool) {
	end := l.sent - maxNumSeqs - 1
	if maxNumSeqs < 1 || end < 1 || len(l.first) < maxNumSeqs {
		return Interval{}, false
	}
	first, done := slices.Sorted(slices.Values(l.first)), slices.Sorted(slices.Values(l.done))
	v := Interval{first[maxNumSeqs-1], done[end-1]}
	return v, v.Start < v.End
}

// SteadyLoad is the steady window of SGLang's bench_serving.
type SteadyLoad struct {
	Interval
	Threshold          int     // requests in flight that make it steady
	Completed          int     // requests that ended inside
	AverageConcurrency float64 // requests in flight, weighted by time
}

// SGLang returns the longest stretch, the first of equals, in which at least
// ceil(ratio * peak) of the requests that succeed are in flight.
func (l *Load) SGLang(ratio float64) (SteadyLoad, bool) {
	steps := l.steps()
	peak := 0
	for _, s := range steps {
		peak = max(peak, s.inFlight)
	}
	if peak == 0 {
		return SteadyLoad{}, false
	}
	best := SteadyLoad{Threshold: max(1, int(math.Ceil(float64(peak)*ratio)))}
	var run Interval
	for i, s := range steps {
		if i == 0 || s.inFlight < best.Threshold || steps[i-1].inFlight < best.Threshold {
			run = Interval{s.at, s.at}
		}
		if i+1 < len(steps) && s.inFlight >= best.Threshold {
			run.End = steps[i+1].at
		}
		if run.End-run.Start > best.End-best.Start {
			best.Interval = run
		}
	}
	if best.End <= best.Start {
		return SteadyLoad{}, false
	}
	l.describe(&best)
	return best, true
}

// step is how many requests are in flight from an instant on.
type step struct {
	at       trace.Time
	inFlight int
}

// steps returns the requests in flight over time, one step for each instant.
func (l *Load) steps() []step {
	var events []step
	for _, s := range l.spans {
		events = append(events, step{s.Start, 1}, step{s.End, -1})
	}
	slices.SortFunc(events, func(a, b step) int { return int(min(max(a.at-b.at, -1), 1)) })
	var steps []step
	n := 0
	for i, e := range events {
		n += e.inFlight
		if i+1 == len(events) || events[i+1].at != e.at {
			steps = append(steps, step{e.at, n})
		}
	}
	return steps
}

// describe counts what is in flight in the window.
func (l *Load) describe(v *SteadyLoad) {
	var overlap float64 // whole nanoseconds: exact below 2^53
	for _, s := range l.spans {
		if s.End >= v.Start && s.End <= v.End {
			v.Completed++
		}
		overlap += float64(max(min(s.End, v.End)-max(s.Start, v.Start), 0))
	}
	v.AverageConcurrency = overlap / float64(v.End-v.Start)
}

// Tokens returns how many of a request's output tokens arrived in the interval:
// its count times the share of its output events inside, or spread evenly from
// first to last token where no events are known. It is false if the request does
// not say.
func (v Interval) Tokens(q *trace.Request) (float64, bool) {
	n, ok := q.OutputTokens.Get()
	if !ok {
		return 0, false
	}
	inside, all := 0, 0
	for _, c := range q.Chunks {
		if c.Kind.Output() {
			all++
			if c.At >= v.Start && c.At < v.End {
				inside++
			}
		}
	}
	if all > 0 {
		return float64(n) * float64(inside) / float64(all), true
	}
	first, ok := q.FirstToken.Get()
	last, known := q.LastToken.Get()
	switch {
	case !known:
		return 0, false
	case !ok || last <= first: // all at one instant
		if last >= v.Start && last < v.End {
			return float64(n), true
		}
		return 0, true
	}
	overlap := max(min(last, v.End)-max(first, v.Start), 0)
	return float64(n) * float64(overlap) / float64(last-first), true
}
