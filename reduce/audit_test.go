package reduce

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

// TestAudit: of the requests that succeeded, those count that are expected to have tokens
// and say exactly how many they had.
func TestAudit(t *testing.T) {
	t.Parallel()
	spans := []Span{{Name: "p", Kind: "measure", Start: 0, End: trace.Some(10 * sec), Concurrency: 1}}
	none := int64(-1)
	opt := func(n int64) trace.Opt[int64] { return trace.Opt[int64]{V: n, OK: n >= 0} }
	request := func(wantIn, gotIn, wantOut, gotOut int64, source trace.TokenSource) *trace.Request {
		q := answered("p", sec, 2*sec, 0)
		q.ExpectedInput, q.InputTokens, q.ExpectedOutput, q.OutputTokens, q.TokenSource = opt(wantIn), opt(gotIn), opt(wantOut), opt(gotOut), source
		return q
	}
	failed := request(10, 0, 10, 0, trace.FromUsage)
	failed.Outcome, failed.Error = trace.Failed, trace.RequestError{Class: "reset"}
	for _, c := range []struct {
		name     string
		requests []*trace.Request
		want     *Audit
		doubts   []string
	}{
		{"nothing expected", []*trace.Request{request(none, 5, none, 5, trace.FromUsage)}, nil, nil},
		{"failed alone", []*trace.Request{failed}, nil, nil},
		{"equal", []*trace.Request{request(5, 5, 7, 7, trace.FromUsage), request(none, 1, 3, 3, trace.FromTimings), failed}, &Audit{
			Input:  &TokenAudit{Expected: 1, Equal: 1, ExpectedTokens: 5, ServedTokens: 5},
			Output: &TokenAudit{Expected: 2, Equal: 2, ExpectedTokens: 10, ServedTokens: 10},
		}, nil},
		{"counted and unknown", []*trace.Request{request(none, none, 7, 6, trace.FromChunks), request(5, none, 7, 7, trace.FromUsage)}, &Audit{
			Input:  &TokenAudit{Expected: 1, Unknown: 1},
			Output: &TokenAudit{Expected: 2, Unknown: 1, Equal: 1, ExpectedTokens: 7, ServedTokens: 7},
		}, nil},
		{"template", []*trace.Request{request(5, 16, none, 1, trace.FromUsage), request(6, 18, none, 1, trace.FromUsage)}, &Audit{
			Input: &TokenAudit{Expected: 2, More: 2, ExpectedTokens: 11, ServedTokens: 34, Least: 11, Most: 12},
		}, []string{"2 of 2 requests had other input tokens than the trace expects (0 fewer, 2 more, by +11 to +12): 34 in all, not 11; a chat template adds some to each"}},
		{"other lengths", []*trace.Request{request(5, 4, 7, 9, trace.FromUsage), request(5, 5, 7, 3, trace.FromUsage), request(5, 5, 7, 7, trace.FromUsage)}, &Audit{
			Input:  &TokenAudit{Expected: 3, Equal: 2, Fewer: 1, ExpectedTokens: 15, ServedTokens: 14, Least: -1},
			Output: &TokenAudit{Expected: 3, Equal: 1, Fewer: 1, More: 1, ExpectedTokens: 21, ServedTokens: 19, Least: -4, Most: 2},
		}, []string{
			"1 of 3 requests had other input tokens than the trace expects (1 fewer, 0 more, by -1 to +0): 14 in all, not 15",
			"2 of 3 requests had other output tokens than the trace expects (1 fewer, 1 more, by -4 to +2): 19 in all, not 21",
		}},
	} {
		rep := reduceAll(t, spans, true, Options{Every: time.Second}, nil, c.requests...)
		ph := &rep.Phases[0]
		if d := cmp.Diff(c.want, ph.Audit); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
		var doubts []string
		for _, w := range rep.Warnings {
			if w.Code == WarnNotAsExpected {
				doubts = append(doubts, w.Message)
			}
		}
		if d := cmp.Diff(c.doubts, doubts); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
		for w := range ph.All() {
			if w.Audit != nil {
				t.Errorf("%s: the slice %s is audited", c.name, w.Name)
			}
		}
	}
}
