package aiperf

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"wattrace/trace"
)

// kinds are the letters of the events of a request.
func kinds(q *trace.Request) string {
	var s strings.Builder
	for _, c := range q.Chunks {
		s.WriteByte(byte(c.Kind))
	}
	return s.String()
}

func TestRaw(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/profile_export_raw.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	l, err := Survey(bytes.NewReader(b), "f", &Config{Phases: []trace.Phase{
		{Name: "low", Kind: trace.Measure, Concurrency: 2}, {Name: "high", Kind: trace.Measure, Concurrency: 8},
	}})
	if err != nil {
		t.Fatal(err)
	}
	const ms = trace.Time(time.Millisecond)
	for i, want := range []struct {
		name       string
		kind       trace.PhaseKind
		start, end trace.Time
		slots      int
	}{{"warm", trace.Warmup, 0, 140 * ms, 0}, {"low", trace.Measure, 1000 * ms, 1610 * ms, 2}, {"high", trace.Measure, 3000 * ms, 3500 * ms, 8}} {
		if ph := l.Phases[i]; ph.Name != want.name || ph.Kind != want.kind || ph.Start != want.start || ph.End != want.end || ph.Load.Concurrency != want.slots || ph.Handover {
			t.Errorf("%+v, want %+v", ph, want)
		}
	}
	if !l.Raw || l.Requests != 7 || l.Inexact != 0 || l.Outcomes[trace.Succeeded] != 5 || l.Outcomes[trace.Failed] != 1 || l.Outcomes[trace.Cancelled] != 1 {
		t.Errorf("%+v", l)
	}
	r := NewReader(bytes.NewReader(b), "f")
	r.Anchor = l.Clock.Anchor.UnixNanos
	for _, want := range []struct {
		kinds             string
		first, last, done trace.Time // since sent; 0 is unknown
		in, out           int64
		finish            string
		source            trace.TokenSource
		status            int
		usage             string
	}{
		{"rccccfud", 60 * ms, 120 * ms, 140 * ms, 12, 4, "length", trace.FromUsage, 200, `{"prompt_tokens":12,"completion_tokens":4,"total_tokens":16}`},
		{"rggcccfud", 60 * ms, 140 * ms, 160 * ms, 20, 5, "length", trace.FromUsage, 200, `"reasoning_tokens":2`},
		{"rccccccfud", 50 * ms, 100 * ms, 110 * ms, 21, 6, "length", trace.FromUsage, 200, ""},
		{"krttfd", 60 * ms, 70 * ms, 80 * ms, 30, 9, "tool_calls", trace.FromUsage, 200, ""},
		{"", 0, 300 * ms, 300 * ms, 7, 3, "stop", trace.FromUsage, 200, ""},
		{"", 0, 0, 10 * ms, 0, 0, "", "", 503, ""},
		{"rcc", 60 * ms, 80 * ms, 200 * ms, 0, 2, "", trace.FromChunks, 0, ""},
	} {
		var q trace.Request
		if err := r.Read(&q); err != nil {
			t.Fatal(err)
		}
		since := func(t trace.Opt[trace.Time]) trace.Time {
			if !t.OK {
				return 0
			}
			return t.V - q.Sent
		}
		if kinds(&q) != want.kinds || since(q.FirstToken) != want.first || since(q.LastToken) != want.last || q.Done-q.Sent != want.done ||
			q.InputTokens.V != want.in || q.OutputTokens.V != want.out || q.FinishReason != want.finish || q.TokenSource != want.source || q.Status.V != want.status || !strings.Contains(string(q.Usage), want.usage) {
			t.Errorf("%s: %+v\nwant %+v", kinds(&q), q, want)
		}
		if strings.Contains(fmt.Sprintf("%+v %s", q, q.Usage), "private") {
			t.Errorf("a text was kept: %+v", q)
		}
		if want.status == 503 && (q.Error != trace.RequestError{Class: trace.ErrHTTP5xx, Message: "Service Unavailable (code 503)"}) {
			t.Errorf("%+v", q.Error)
		}
	}
}

// TestEvents: what an event is, in every shape of answer.
func TestEvents(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]trace.ChunkKind{
		`{"name":"data","value":"[DONE]"}`:                                                                                              trace.ChunkDone,
		`{"name":"comment","value":"x"}`:                                                                                                trace.ChunkComment,
		`{"name":"data","value":"no JSON"}`:                                                                                             trace.ChunkOther,
		`{"name":"data","value":"{\"choices\":[{\"text\":\"a\"}]}"}`:                                                                    trace.ChunkContent,
		`{"name":"data","value":"{\"choices\":[{\"text\":\"\"}]}"}`:                                                                     trace.ChunkOther,
		`{"name":"data","value":"{\"choices\":[{\"delta\":{\"content\":\" \"}}]}"}`:                                                     trace.ChunkContent,
		`{"name":"data","value":"{\"choices\":[{\"delta\":{\"reasoning\":\"a\",\"content\":null}}]}"}`:                                  trace.ChunkReasoning,
		`{"name":"data","value":"{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{}}"}`:                              trace.ChunkFinish,
		`{"name":"data","value":"{\"choices\":[],\"usage\":{\"prompt_tokens\":1}}"}`:                                                    trace.ChunkUsage,
		`{"name":"data","value":"{\"error\":{\"message\":\"m\"}}"}`:                                                                     trace.ChunkError,
		`{"name":"event","value":"error"},{"name":"data","value":"{}"}`:                                                                 trace.ChunkError,
		`{"name":"event","value":"x"},{"name":"data","value":"{\"type\":\"response.output_text.delta\",\"delta\":\"a\"}"}`:              trace.ChunkContent,
		`{"name":"data","value":"{\"type\":\"response.reasoning_text.delta\",\"delta\":\"a\"}"}`:                                        trace.ChunkReasoning,
		`{"name":"data","value":"{\"type\":\"response.function_call_arguments.delta\",\"delta\":\"a\"}"}`:                               trace.ChunkTool,
		`{"name":"data","value":"{\"type\":\"response.created\",\"response\":{}}"}`:                                                     trace.ChunkRole,
		`{"name":"data","value":"{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}}"}`: trace.ChunkFinish,
		`{"name":"data","value":"{\"choices\":["},{"name":"data","value":"{\"text\":\"a\"}]}"}`:                                         trace.ChunkContent,
		`{"name":"retry","value":"3"}`:                                                                                                  trace.ChunkOther,
		``:                                                                                                                              trace.ChunkComment,
	} {
		r := NewReader(strings.NewReader(`{"metadata":{"request_start_ns":5},"responses":[{"packets":[`+in+`],"perf_ns":9}],"start_perf_ns":7}`+"\n"), "f")
		var q trace.Request
		if err := r.Read(&q); err != nil || kinds(&q) != string(want) || q.Chunks[0].At != 7 || q.Done != 7 {
			t.Errorf("%s: %v, %q, want %q", in, err, kinds(&q), want)
		}
	}
}

func TestRawFaults(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`"responses":[{"perf_ns":9,"packets":[]}]`:                                              "f:1:1: the record does not say when the request was sent on the clock of its responses: start_perf_ns is wanted",
		`"start_perf_ns":7,"responses":[{"perf_ns":6,"packets":[]}]`:                            "f:1:78: a response comes before its request was sent",
		`"start_perf_ns":7,"responses":[{"perf_ns":9,"packets":[]},{"perf_ns":8,"packets":[]}]`: "f:1:105: a response comes before the one before it",
		`"responses":[{"packets":[]}]`:                                                          "f:1:63: a response has no perf_ns",
		`"responses":{}`:                                                                        "f:1:48: responses must be a list",
		`"responses":[7]`:                                                                       "f:1:49: responses must be an object",
		`"responses":[{"perf_ns":"secret"}]`:                                                    "f:1:60: perf_ns must be an integer",
		`"responses":[{"perf_ns":1,"packets":[{"name":7}]}]`:                                    "f:1:81: name must be a string",
		`"responses":[`:                                                                         "f:1:49: not JSON: unexpected character",
	} {
		r := NewReader(strings.NewReader(`{"metadata":{"request_start_ns":5},`+in+"}\n"), "f")
		var q trace.Request
		if err := r.Read(&q); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
	deep := `"start_perf_ns":1,"responses":[{"perf_ns":2,"text":"` + strings.Repeat("[", 20000) + `"}],"payload":"` + strings.Repeat("x", 10<<20) + `"`
	r := NewReader(strings.NewReader(`{"metadata":{"request_start_ns":5},`+deep+"}\n"), "f")
	var q trace.Request
	if err := r.Read(&q); err != nil || q.LastToken.V != 6 || q.OutputTokens.OK {
		t.Errorf("%v, %+v", err, q)
	}
	if err := r.Read(&q); err != io.EOF {
		t.Error(err)
	}
}
