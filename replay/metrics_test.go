package replay

import (
	"strings"
	"testing"
)

func TestServerMetrics(t *testing.T) {
	t.Parallel()
	const wordy = `{"a":1,"text":"a text"}`
	for _, test := range []struct {
		name   string
		events []string
		want   string
	}{
		{"none", []string{chat(`{"content":"a"}`, ``)}, ""},
		{"vLLM", []string{`{"choices":[],"metrics":{"time_to_first_token_ms": 1.5,"speculative_decoding":{"accepted":[1,2]}}}`},
			`{"metrics":{"time_to_first_token_ms": 1.5,"speculative_decoding":{"accepted":[1,2]}}}`},
		{"null", []string{`{"choices":[],"metrics":null}`, `{"metrics":[1]}`}, ""},
		{"SGLang, in a choice; the last counts", []string{`{"choices":[{"meta_info":{"cached_tokens":1}}]}`, `{"choices":[{"text":"a","meta_info":{"cached_tokens":2}}]}`},
			`{"meta_info":{"cached_tokens":2}}`},
		{"TensorRT-LLM", []string{`{"choices":[{"text":"a","perf_metrics":{"x":1},"disaggregated_params":{"request_type":"context_only","ctx_request_id":7,"first_gen_tokens":[11],"encoded_opaque_state":"abc","ctx_usage":{"prompt_tokens":3}}}]}`},
			`{"perf_metrics":{"x":1},"disaggregated_params":{"request_type":"context_only","ctx_request_id":7,"ctx_usage":{"prompt_tokens":3}}}`},
		{"a text", []string{`{"metrics":` + wordy + `}`}, `{"metrics":{"a":1}}`},
		{"a text inside", []string{`{"metrics":{"a":1,"b":{"c":["x",{"d":"a text"}]}}}`}, `{"metrics":{"a":1}}`},
		{"tokens inside", []string{`{"metrics":{"a":1,"b":{"output_token_ids":[1]}}}`}, `{"metrics":{"a":1}}`},
		{"only texts", []string{`{"metrics":{"text":"a text"}}`}, `{"metrics":{}}`},
		{"responses", []string{`{"type":"response.completed","response":{"id":"r","metrics":{"a":1}}}`}, `{"metrics":{"a":1}}`},
		{"long", []string{`{"metrics":{"a":[` + strings.Repeat("1,", maxMetrics) + `1]}}`}, ""},
	} {
		var a answer
		for range 2 { // the second time with used buffers
			a.reset()
			for _, ev := range test.events {
				a.event(nil, []byte(ev))
			}
			if got := string(a.metrics.object()); got != test.want {
				t.Errorf("%s: got %s, want %s", test.name, got, test.want)
			}
		}
	}
}

func TestResponseID(t *testing.T) {
	t.Parallel()
	for want, events := range map[string][]string{
		"chatcmpl-1": {chat(`{"role":"assistant"}`, ``), `{"id":"other","choices":[]}`},
		"resp_1":     {`{"type":"response.created","response":{"id":"resp_1"}}`, `{"type":"response.completed","response":{"id":"resp_2"}}`},
		"later":      {`{"id":"","choices":[]}`, `{"id":"a text","choices":[]}`, `{"id":7}`, `{"id":"later","choices":[]}`},
		"":           {`{"id":"` + strings.Repeat("x", maxID+1) + `","choices":[]}`},
	} {
		var a answer
		for _, ev := range events {
			a.event(nil, []byte(ev))
		}
		if a.id != want {
			t.Errorf("%q, not %q", a.id, want)
		}
	}
}
