package reduce

import (
	"strings"
	"time"

	"wattrace/trace"
)

// any reports whether a latency is asked for.
func (s SLO) any() bool { return s != SLO{} }

// keeps reports whether a request that succeeded kept the latencies asked for; open says
// that it was sent by a schedule. One of a single token has no inter-token latency to
// keep; a request whose latency is not known has not kept it.
func (s SLO) keeps(q *trace.Request, open bool) bool {
	within := func(limit time.Duration, d time.Duration, ok bool) bool { return limit <= 0 || ok && d <= limit }
	ttft, okTTFT := q.TTFT()
	itl, okITL := q.ITL()
	e2e, okE2E := q.E2E()
	if n, ok := q.OutputTokens.Get(); ok && n < 2 {
		okITL = true
	}
	late, waited := q.Lateness(), time.Duration(0)
	if open {
		waited = late
	}
	return within(s.TTFT, ttft+waited, okTTFT) && within(s.ITL, itl, okITL) && within(s.E2E, e2e+waited, okE2E) &&
		within(s.TTFTSent, ttft, okTTFT) && within(s.E2ESent, e2e, okE2E) &&
		within(s.TTFTScheduled, ttft+late, okTTFT) && within(s.E2EScheduled, e2e+late, okE2E)
}

// goodMethod says which requests count as good ones of the phase.
func (ph *phase) goodMethod(s SLO) string {
	from := "sent"
	switch {
	case ph.byLoad[0] && ph.byLoad[1]: // a window over both
		from = "sent, in an open loop due"
	case ph.byLoad[1], ph.Open:
		from = "due"
	}
	var limits []string
	for _, l := range []struct {
		name  string
		limit time.Duration
		from  string
	}{
		{"TTFT", s.TTFT, from}, {"TTFT", s.TTFTSent, "sent"}, {"TTFT", s.TTFTScheduled, "due"},
		{"ITL", s.ITL, ""},
		{"latency", s.E2E, from}, {"latency", s.E2ESent, "sent"}, {"latency", s.E2EScheduled, "due"},
	} {
		if l.limit <= 0 {
			continue
		}
		text := l.name + " <= " + l.limit.String()
		if l.from != "" {
			text += " since " + l.from
		}
		limits = append(limits, text)
	}
	return "requests with " + strings.Join(limits, ", ")
}
