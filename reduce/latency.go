package reduce

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"wattrace/reduce/histogram"
	"wattrace/trace"
)

// latency is what is kept of a request that succeeded: 56 bytes, from which all
// distributions are made when the report is.
type latency struct {
	ttft   time.Duration // first output event - sent
	ttfo   time.Duration // first output event that is no reasoning - sent
	ttst   time.Duration // second output event - first
	e2e    time.Duration // last output event - sent
	gap    time.Duration // the longest between output events
	late   time.Duration // sent - scheduled
	tokens int64         // output tokens, not of a lower bound; 0 is unknown
}

// notKnown stands for a duration that is not known.
const notKnown = time.Duration(math.MinInt64)

// latencyOf takes what is kept of a request, outputs being its events with output and gaps
// the times between them.
func latencyOf(q *trace.Request, outputs []trace.Chunk, gaps []time.Duration) latency {
	l := latency{ttft: notKnown, ttfo: notKnown, ttst: notKnown, e2e: notKnown, gap: notKnown, late: q.Lateness()}
	if d, ok := q.TTFT(); ok {
		l.ttft = d
	}
	if d, ok := q.E2E(); ok {
		l.e2e = d
	}
	if n, ok := q.OutputTokens.Get(); ok && n > 0 && q.TokenSource.Exact() {
		l.tokens = n
	}
	for i := range outputs {
		if outputs[i].Kind != trace.ChunkReasoning {
			l.ttfo = outputs[i].At.Sub(q.Sent)
			if i == 0 && l.ttft != notKnown { // events are stamped to the microsecond, the first token to the nanosecond
				l.ttfo = l.ttft
			}
			break
		}
	}
	if len(gaps) > 0 {
		l.ttst, l.gap = gaps[0], slices.Max(gaps)
	}
	return l
}

// gapsOf returns the times between events that follow each other, in a slice that is
// used again. A log's clock does not go back; what says so all the same counts as at once.
func gapsOf(events []trace.Chunk, gaps []time.Duration) []time.Duration {
	gaps = gaps[:0]
	for i := 1; i < len(events); i++ {
		gaps = append(gaps, max(0, events[i].At.Sub(events[i-1].At)))
	}
	return gaps
}

// itl returns the request's mean inter-token latency, as trace.Request.ITL has it.
func (l *latency) itl() time.Duration {
	if l.ttft == notKnown || l.e2e == notKnown || l.tokens < 2 {
		return notKnown
	}
	return (l.e2e - l.ttft) / time.Duration(l.tokens-1)
}

// fromDue returns a time since sent as one since the request was due.
func (l *latency) fromDue(d time.Duration) time.Duration {
	if d == notKnown {
		return notKnown
	}
	return d + l.late
}

// normalized returns the request's latency for each of its output tokens.
func (l *latency) normalized() time.Duration {
	if l.e2e == notKnown || l.tokens < 1 {
		return notKnown
	}
	return l.e2e / time.Duration(l.tokens)
}

// describe adds the distributions of the phase's requests.
func (ph *phase) describe(m map[string]Metric) {
	values := make([]time.Duration, 0, len(ph.latencies))
	for _, c := range []struct {
		tag, unit string
		of        func(*latency) time.Duration
	}{
		{TimeToFirstToken, "s", func(l *latency) time.Duration { return l.ttft }},
		{TimeToFirstOutputToken, "s", func(l *latency) time.Duration { return l.ttfo }},
		{TimeToSecondToken, "s", func(l *latency) time.Duration { return l.ttst }},
		{TimeToFirstTokenScheduled, "s", func(l *latency) time.Duration { return l.fromDue(l.ttft) }},
		{RequestLatency, "s", func(l *latency) time.Duration { return l.e2e }},
		{RequestLatencyScheduled, "s", func(l *latency) time.Duration { return l.fromDue(l.e2e) }},
		{InterTokenLatency, "s", (*latency).itl},
		{MaxGap, "s", func(l *latency) time.Duration { return l.gap }},
		{NormalizedLatency, "s/token", (*latency).normalized},
	} {
		values = values[:0]
		for i := range ph.latencies {
			if d := c.of(&ph.latencies[i]); d != notKnown {
				values = append(values, d)
			}
		}
		if d, ok := Describe(values); ok {
			m[c.tag] = Metric{Unit: c.unit, Distribution: &d}
		}
	}
	var rates []float64
	for i := range ph.latencies {
		if d := ph.latencies[i].itl(); d > 0 { // of tokens that came all at once there is none
			rates = append(rates, 1e9/float64(d))
		}
	}
	if d, ok := describeFloats(rates); ok {
		m[OutputTokenThroughputPerUser] = Metric{Unit: "tokens/s/user", Distribution: &d}
	}
	// A client that is late by nothing at all, to the nanosecond and each time, does not
	// tell when requests were due: the logs of other tools have no such instant.
	told := slices.ContainsFunc(ph.lateness, func(late time.Duration) bool { return late != 0 })
	if d, ok := Describe(slices.Clone(ph.lateness)); ok && told {
		m[SendLateness] = Metric{Unit: "s", Distribution: &d}
	}
	chunks, tokens := ph.gaps.between()
	if d, ok := ofHistogram(&chunks, "gaps of all requests together", !ph.window); ok {
		m[InterChunkLatency] = Metric{Unit: "s", Distribution: &d}
	}
	if d, ok := ofHistogram(&tokens, ph.gaps.known(), !ph.window); ok {
		d.Coverage = ph.gaps.coverage()
		m[InterTokenLatencyPooled] = Metric{Unit: "s", Distribution: &d}
	}
}

// ofHistogram returns the distribution in seconds of what a histogram has counted, and
// false for none.
func ofHistogram(h *histogram.Histogram, of string, buckets bool) (Distribution, bool) {
	if h.Count() == 0 {
		return Distribution{}, false
	}
	p := func(percent float64) float64 { return h.Percentile(percent) / 1e9 }
	d := Distribution{
		Mean: h.Mean() / 1e9, Min: float64(h.Min()) / 1e9, Max: float64(h.Max()) / 1e9,
		P1: p(1), P5: p(5), P10: p(10), P25: p(25), P50: p(50), P75: p(75), P90: p(90), P95: p(95), P99: p(99),
		Std: h.Std() / 1e9, Count: h.Count(), Of: of,
	}
	if buckets {
		d.Histogram = &Histogram{Layout: histogram.Layout}
		for from, n := range h.Buckets() {
			d.Histogram.Buckets = append(d.Histogram.Buckets, Bucket{From: float64(from) / 1e9, Count: n})
		}
	}
	return d, true
}

// ClientReading is what a client says of itself at an instant.
type ClientReading struct {
	At         trace.Time         // on the common clock
	CPUSeconds trace.Opt[float64] // that it has used since it began
	InFlight   int                // requests
}

// Client takes what the client of a run says of itself, in order of time, at any time
// before Report. run tells the clients apart that share a run.
func (r *Reducer) Client(run int, c ClientReading) {
	if r.clients == nil {
		r.clients = map[int][]ClientReading{}
	}
	r.clients[run] = append(r.clients[run], c)
}

// A client is late where at least one request in a hundred, and two, were sent more than
// this after they were due. The first request of each slot of a closed loop does not
// count: all of them are due at once, and what a burst takes is no sign of what comes.
const (
	// lateAlways is late whatever the server does: with it at 100 requests/s, a load is not
	// the one that was asked for.
	lateAlways = 5 * time.Millisecond
	// lateShare of the mean request latency is late where that is less: a slot that stands
	// idle for so long serves less than was configured, and an open loop's answers are late
	// by so much.
	lateShare = 0.01
	// lateLeast is what a shared machine may do without anybody's fault.
	lateLeast = time.Millisecond
)

// client says how the client did, by itself and by its lateness.
func (r *Reducer) client(ph *phase, m map[string]Metric) {
	r.clientMetrics(ph, m)
	d, ok := m[SendLateness]
	if !ok {
		return
	}
	if ph.Gated { // what waited at a ceiling was not late by the client's fault
		if n := sentAfter(ph.lateness, lateLeast); ph.Open && n > 0 {
			r.doubt(ph, WarnCapped, "", "%d of %s waited at the plan's ceiling, up to %.3g s: it was no open loop, and what users would have seen are the latencies from the scheduled time",
				n, plural(len(ph.lateness), "request", "requests"), d.Max)
		}
		return
	}
	limit := lateAlways
	if latency, ok := m[RequestLatency]; ok {
		limit = min(limit, max(lateLeast, time.Duration(lateShare*latency.Mean*1e9)))
	}
	n, all := sentAfter(ph.lateness, limit)-sentAfter(ph.begun, limit), len(ph.lateness)-len(ph.begun)
	if n >= 2 && 100*n >= all {
		r.doubt(ph, WarnClientLate, "", "%d of %s more than %v after they were due (send_lateness): the client, or its machine, did not keep up",
			n, plural(all, "request was sent", "requests were sent"), limit.Round(10*time.Microsecond))
	}
}

// sentAfter counts the requests that were sent later than limit after they were due.
func sentAfter(lateness []time.Duration, limit time.Duration) (n int) {
	for _, late := range lateness {
		if late > limit {
			n++
		}
	}
	return n
}

// slot is one of a closed loop, of one client: those of several clients have one number,
// but not one offset.
type slot struct {
	offset time.Duration
	number int
}

// begins notes how late a closed loop's request was if it is the first of its slot.
func (ph *phase) begins(q *trace.Request, offset time.Duration) {
	s := slot{offset, q.Slot}
	if ph.Open || ph.slots[s] {
		return
	}
	if ph.slots == nil {
		ph.slots = map[slot]bool{}
	}
	ph.slots[s] = true
	ph.begun = append(ph.begun, q.Lateness())
}

// clientMetrics adds what the clients say of themselves in the phase: the CPU time from
// the first of their lines in it to the last, unless one of them has no two.
func (r *Reducer) clientMetrics(ph *phase, m map[string]Metric) {
	end, ok := ph.End.Get()
	if !ok || ph.slice || ph.Kind == string(trace.Idle) {
		return
	}
	cores, peak, clients, measured := 0.0, 0, 0, 0
	for _, run := range slices.Sorted(maps.Keys(r.clients)) { // sums of doubles depend on the order
		var lines []ClientReading
		most := 0
		for _, c := range r.clients[run] {
			if c.At >= ph.Start && c.At <= end {
				most = max(most, c.InFlight)
				lines = append(lines, c)
			}
		}
		if len(lines) == 0 {
			continue
		}
		peak += most
		clients++
		first, last := lines[0], lines[len(lines)-1]
		if span := last.At.Sub(first.At).Seconds(); span > 0 && first.CPUSeconds.OK && last.CPUSeconds.OK {
			cores += max(0, last.CPUSeconds.V-first.CPUSeconds.V) / span
			measured++
		}
	}
	if clients > 0 {
		m[ClientPeakInFlight] = Metric{Unit: "requests", Number: &Number{Value: float64(peak), Method: "most at the seconds" + ofClients(clients)}}
	}
	if clients > 0 && measured == clients {
		m[ClientCPU] = Metric{Unit: "1", Number: &Number{Value: cores, Method: "CPU seconds / second" + ofClients(clients)}}
	}
}

func ofClients(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(", of %d clients together", n)
}
