package dialect

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	const (
		chat     = `{"model":"m","messages":[{"role":"user","content":"xyzzy"}]`
		complete = `{"model":"m","prompt":"xyzzy"`
		respond  = `{"model":"m","input":"xyzzy"`
	)
	for _, test := range []struct {
		body string
		want map[Dialect][]string // "key: why"
	}{
		{chat + `,"stream":true,"stream_options":{"include_usage":true}}`, nil},
		{complete + `,"max_tokens":5}`, nil},
		{respond + `}`, nil},
		{chat + `,"ignore_eos":true}`, map[Dialect][]string{OpenAI: {"ignore_eos: unknown key"}}},
		{chat + `,"min_p":1,"b\u006fgus":1,"bogus":2}`, map[Dialect][]string{
			TRTLLM: {"bogus: unknown key"}, OpenAI: {"min_p: unknown key", "bogus: unknown key"}}},
		{chat + `,"cache_salt":"a"}`, map[Dialect][]string{OpenAI: {"cache_salt: unknown key"}}},
		{complete + `,"cache_salt":"a"}`, map[Dialect][]string{TRTLLM: {"cache_salt: unknown key"}, OpenAI: {"cache_salt: unknown key"}}},
		{chat + `,"cache_salt":""}`, map[Dialect][]string{
			TRTLLM: {"cache_salt: cache_salt is not a text that is not empty"}, VLLM: {"cache_salt: cache_salt is not a text that is not empty"},
			SGLang: {"cache_salt: cache_salt is not a text that is not empty"}, OpenAI: {"cache_salt: unknown key"}}},
		{respond + `,"bogus":1}`, map[Dialect][]string{OpenAI: {"bogus: unknown key"}}},
		{`{"prompt":"xyzzy"}`, map[Dialect][]string{TRTLLM: {"model: the model is missing"}, OpenAI: {"model: the model is missing"}}},
		{chat + `,"stream_options":{},"stream":false}`, map[Dialect][]string{
			TRTLLM: {"stream_options: stream_options without stream"}, VLLM: {"stream_options: stream_options without stream"}, OpenAI: {"stream_options: stream_options without stream"}}},
		{chat + `,"stream_options":null,"stream":false}`, nil},
		{chat + `,"stream":false,"stream":true,"stream_options":{}}`, nil},
		{complete + `,"suffix":"x"}`, map[Dialect][]string{TRTLLM: {"suffix: suffix is not supported"}, VLLM: {"suffix: suffix is not supported"}}},
		{complete + `,"suffix":""}`, nil},
		{chat + `,"top_logprobs":2}`, map[Dialect][]string{
			TRTLLM: {"top_logprobs: top_logprobs without logprobs"}, VLLM: {"top_logprobs: top_logprobs without logprobs"}, OpenAI: {"top_logprobs: top_logprobs without logprobs"}}},
		{chat + `,"tool_choice":"required","tools":[ ]}`, map[Dialect][]string{
			TRTLLM: {"tool_choice: tool_choice without tools"}, VLLM: {"tool_choice: tool_choice without tools"}, SGLang: {"tool_choice: tool_choice without tools"}}},
		{`{"model":"m","messages":[]}`, map[Dialect][]string{
			TRTLLM: {"messages: there are no messages"}, VLLM: {"messages: there are no messages"}, SGLang: {"messages: there are no messages"}, OpenAI: {"messages: there are no messages"}}},
	} {
		endpoint, err := trace.CheckPayload([]byte(test.body))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range All {
			var got []string
			for _, r := range d.Check(endpoint, []byte(test.body)) {
				got = append(got, r.Key+": "+r.Why)
			}
			if diff := cmp.Diff(test.want[d], got); diff != "" {
				t.Errorf("%s: %s (-want +got)\n%s", d, test.body, diff)
			}
		}
	}
}
