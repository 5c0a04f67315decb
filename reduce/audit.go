package reduce

import (
	"fmt"

	"wattrace/trace"
)

// Audit compares what a trace expects of its requests with what the server says that it
// did: a run with other lengths than its trace is another load, and its energy an answer
// to another question. It is of the requests that succeeded.
type Audit struct {
	Input  *TokenAudit `json:"input_tokens,omitempty"`
	Output *TokenAudit `json:"output_tokens,omitempty"`
}

// TokenAudit compares the expected tokens of requests with those that were served. One
// whose tokens were counted from events alone, which is a lower bound, is not known.
type TokenAudit struct {
	Expected int64 `json:"expected_requests"`          // that say how many tokens they expect
	Unknown  int64 `json:"unknown_requests,omitempty"` // of those, the ones that do not say how many they had
	Equal    int64 `json:"equal_requests"`
	Fewer    int64 `json:"fewer_requests"`
	More     int64 `json:"more_requests"`

	// Of the requests of which both are known: the sums, and served minus expected of the one
	// that it is least, and of the one that it is most of.
	ExpectedTokens int64 `json:"expected_tokens"`
	ServedTokens   int64 `json:"served_tokens"`
	Least          int64 `json:"least_difference"`
	Most           int64 `json:"most_difference"`
}

// take compares the tokens of a request that succeeded.
func (a *TokenAudit) take(expected, served trace.Opt[int64]) {
	want, ok := expected.Get()
	if !ok {
		return
	}
	a.Expected++
	got, ok := served.Get()
	if !ok {
		a.Unknown++
		return
	}
	by := got - want
	if a.Expected-a.Unknown == 1 {
		a.Least, a.Most = by, by
	}
	a.Least, a.Most = min(a.Least, by), max(a.Most, by)
	a.ExpectedTokens += want
	a.ServedTokens += got
	switch {
	case by < 0:
		a.Fewer++
	case by > 0:
		a.More++
	default:
		a.Equal++
	}
}

// audit compares a request that succeeded with what is expected of it.
func (ph *phase) audit(q *trace.Request) {
	ph.inputAudit.take(q.ExpectedInput, q.InputTokens)
	output := q.OutputTokens
	output.OK = output.OK && q.TokenSource.Exact()
	ph.outputAudit.take(q.ExpectedOutput, output)
}

// audited says how far the requests of a phase were what its trace expects.
func (r *Reducer) audited(ph *phase) *Audit {
	if ph.slice || ph.inputAudit.Expected+ph.outputAudit.Expected == 0 {
		return nil
	}
	var out Audit
	for _, side := range []struct {
		name string
		a    *TokenAudit
		out  **TokenAudit
	}{{"input", &ph.inputAudit, &out.Input}, {"output", &ph.outputAudit, &out.Output}} {
		if side.a.Expected == 0 {
			continue
		}
		*side.out = side.a
		if side.a.Fewer+side.a.More > 0 {
			r.doubt(ph, WarnNotAsExpected, "", "%s", side.a.doubt(side.name))
		}
	}
	return &out
}

// doubt says how the served tokens differ.
func (a *TokenAudit) doubt(side string) string {
	text := fmt.Sprintf("%d of %d requests had other %s tokens than the trace expects (%d fewer, %d more, by %+d to %+d): %d in all, not %d",
		a.Fewer+a.More, a.Expected-a.Unknown, side, a.Fewer, a.More, a.Least, a.Most, a.ServedTokens, a.ExpectedTokens)
	if side == "input" && a.Fewer == 0 {
		text += "; a chat template adds some to each"
	}
	return text
}
