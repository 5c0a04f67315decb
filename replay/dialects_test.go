package replay

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/tmaxmax/go-sse"

	"wattrace/trace"
)

// recorded is a stream as a server spells it, shortened, and what it must be
// understood as.
type recorded struct {
	name   string
	stream string
	want   reading
}

// reading is what a stream says.
type reading struct {
	Kinds, ID, Finish string
	Input, Output     int64
	Metrics           string
	Failed            bool
}

// data spells events as most servers do.
func data(events ...string) string {
	return "data: " + strings.Join(events, "\n\ndata: ") + "\n\n"
}

// named spells events with the name of each, as in /v1/responses; the name is
// the event's type.
func named(events ...string) string {
	var b strings.Builder
	for _, ev := range events {
		var head struct{ Type string }
		if err := json.Unmarshal([]byte(ev), &head); err != nil {
			panic(err)
		}
		b.WriteString("event: " + head.Type + "\ndata: " + ev + "\n\n")
	}
	return b.String()
}

var dialects = []recorded{
	{"trtllm chat", data(
		`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1780000000,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning_content":null,"reasoning":null,"tool_calls":null},"logprobs":null,"finish_reason":null,"stop_reason":null,"avg_decoded_tokens_per_iter":null}],"usage":null}`,
		`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1780000000,"model":"m","choices":[{"index":0,"delta":{"role":null,"content":" one","reasoning_content":null,"reasoning":null,"tool_calls":null},"logprobs":null,"finish_reason":null,"stop_reason":null,"avg_decoded_tokens_per_iter":1.0}],"usage":null}`,
		`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1780000000,"model":"m","choices":[{"index":0,"delta":{"role":null,"content":" two","reasoning_content":null,"reasoning":null,"tool_calls":null},"logprobs":null,"finish_reason":"length","stop_reason":null,"avg_decoded_tokens_per_iter":1.0}],"usage":null}`,
		`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1780000000,"model":"m","choices":[],"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":0}}}`,
		`[DONE]`), reading{Kinds: "rccud", ID: "chatcmpl-1", Finish: "length", Input: 7, Output: 2}},
	{"trtllm completions, disaggregated", data(
		`{"id":"cmpl-2","object":"text_completion","created":1780000000,"model":"m","choices":[{"index":0,"text":" one","token_ids":null,"logprobs":null,"finish_reason":null,"stop_reason":null,"avg_decoded_tokens_per_iter":null}],"usage":null}`,
		`{"id":"cmpl-2","object":"text_completion","created":1780000000,"model":"m","choices":[{"index":0,"text":" two","token_ids":null,"logprobs":null,"finish_reason":"stop","stop_reason":null,"disaggregated_params":{"request_type":"generation_only","first_gen_tokens":[11],"ctx_request_id":5},"avg_decoded_tokens_per_iter":1.5}],"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2}}`,
		`[DONE]`), reading{Kinds: "ccd", ID: "cmpl-2", Finish: "stop", Input: 7, Output: 2, Metrics: `{"disaggregated_params":{"request_type":"generation_only","ctx_request_id":5}}`}},
	{"trtllm, broken off by an exception", data(
		`{"id":"cmpl-2","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":" one"}]}`), reading{Kinds: "c", ID: "cmpl-2"}},
	{"trtllm responses", named(
		`{"type":"response.created","sequence_number":0,"response":{"id":"resp_3","object":"response","status":"in_progress","output":[],"usage":null}}`,
		`{"type":"response.output_text.delta","sequence_number":1,"item_id":"msg_1","output_index":0,"content_index":0,"delta":" one","logprobs":[]}`,
		`{"type":"response.output_text.done","sequence_number":2,"item_id":"msg_1","output_index":0,"content_index":0,"text":" one"}`,
		`{"type":"response.completed","sequence_number":3,"response":{"id":"resp_3","object":"response","status":"completed","output":[{"type":"message"}],"usage":{"input_tokens":7,"output_tokens":1,"total_tokens":8}}}`,
	) + data(`[DONE]`), reading{Kinds: "rcofd", ID: "resp_3", Finish: "completed", Input: 7, Output: 1}},
	{"vLLM chat, with reasoning and metrics", data(
		`{"id":"chatcmpl-4","object":"chat.completion.chunk","created":1780000000,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":null}`,
		`{"id":"chatcmpl-4","object":"chat.completion.chunk","created":1780000000,"model":"m","choices":[{"index":0,"delta":{"reasoning":"hm"},"logprobs":null,"finish_reason":null,"token_ids":null}]}`,
		`{"id":"chatcmpl-4","object":"chat.completion.chunk","created":1780000000,"model":"m","choices":[{"index":0,"delta":{"reasoning":" so"},"logprobs":null,"finish_reason":null,"token_ids":null}]}`,
		`{"id":"chatcmpl-4","object":"chat.completion.chunk","created":1780000000,"model":"m","choices":[{"index":0,"delta":{"content":"four"},"logprobs":null,"finish_reason":null,"token_ids":null}]}`,
		`{"id":"chatcmpl-4","object":"chat.completion.chunk","created":1780000000,"model":"m","choices":[{"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":"stop","stop_reason":null,"token_ids":null}]}`,
		`{"id":"chatcmpl-4","object":"chat.completion.chunk","created":1780000000,"model":"m","choices":[],"usage":{"prompt_tokens":7,"total_tokens":11,"completion_tokens":4},"metrics":{"time_to_first_token_ms":20.5,"generation_time_ms":60,"queue_time_ms":0.1,"mean_itl_ms":20,"tokens_per_second":50}}`,
		`[DONE]`), reading{Kinds: "rggcfud", ID: "chatcmpl-4", Finish: "stop", Input: 7, Output: 4,
		Metrics: `{"metrics":{"time_to_first_token_ms":20.5,"generation_time_ms":60,"queue_time_ms":0.1,"mean_itl_ms":20,"tokens_per_second":50}}`}},
	{"vLLM chat, usage on each", data(
		`{"id":"chatcmpl-5","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":{"prompt_tokens":7,"total_tokens":7,"completion_tokens":0}}`,
		`{"id":"chatcmpl-5","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"one two"}}],"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2}}`,
		`{"id":"chatcmpl-5","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" three"},"finish_reason":"length"}],"usage":{"prompt_tokens":7,"total_tokens":10,"completion_tokens":3}}`,
		`[DONE]`), reading{Kinds: "uccd", ID: "chatcmpl-5", Finish: "length", Input: 7, Output: 3}},
	{"vLLM chat, tools", data(
		`{"id":"chatcmpl-6","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`,
		`{"id":"chatcmpl-6","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"id":"call_1","type":"function","index":0,"function":{"name":"f"}}]},"finish_reason":null}]}`,
		`{"id":"chatcmpl-6","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]},"finish_reason":null}]}`,
		`{"id":"chatcmpl-6","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":""},"finish_reason":"tool_calls"}]}`,
		`[DONE]`), reading{Kinds: "rttfd", ID: "chatcmpl-6", Finish: "tool_calls"}},
	{"vLLM completions", data(
		`{"id":"cmpl-7","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":" one","logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,"token_ids":null}],"usage":null}`,
		`{"id":"cmpl-7","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":" two","logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,"token_ids":null}],"usage":null}`,
		`{"id":"cmpl-7","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"length","stop_reason":null,"prompt_token_ids":null,"token_ids":null}],"usage":null}`,
		`{"id":"cmpl-7","object":"text_completion","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2}}`,
		`[DONE]`), reading{Kinds: "ccfud", ID: "cmpl-7", Finish: "length", Input: 7, Output: 2}},
	{"vLLM, an error in the stream", data(
		`{"id":"cmpl-8","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":" one"}]}`,
		`{"error":{"message":"EngineCore died","type":"InternalServerError","param":null,"code":500}}`,
		`[DONE]`), reading{Kinds: "ced", ID: "cmpl-8", Failed: true}},
	{"vLLM responses, with reasoning", named(
		`{"response":{"id":"resp_9","created_at":1,"object":"response","status":"in_progress","usage":null},"sequence_number":0,"type":"response.created"}`,
		`{"response":{"id":"resp_9","created_at":1,"object":"response","status":"in_progress","usage":null},"sequence_number":1,"type":"response.in_progress"}`,
		`{"item":{"id":"rs_1","summary":[],"type":"reasoning"},"output_index":0,"sequence_number":2,"type":"response.output_item.added"}`,
		`{"content_index":0,"delta":"hm","item_id":"rs_1","output_index":0,"sequence_number":3,"type":"response.reasoning_text.delta"}`,
		`{"content_index":0,"delta":"four","item_id":"msg_1","logprobs":[],"output_index":1,"sequence_number":4,"type":"response.output_text.delta"}`,
		`{"response":{"id":"resp_9","object":"response","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":7,"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1}}},"sequence_number":5,"type":"response.incomplete"}`,
	), reading{Kinds: "rrogcf", ID: "resp_9", Finish: "max_output_tokens", Input: 7, Output: 2}},
	{"SGLang chat", data(
		`{"id":"0a1b","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":null}`,
		`{"id":"0a1b","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":null,"content":null,"reasoning_content":"hm","tool_calls":null},"logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":null}`,
		`{"id":"0a1b","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":null,"content":"four","reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":null}`,
		`{"id":"0a1b","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":null,"content":null,"reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":"stop","matched_stop":128009,"meta_info":{"id":"0a1b","cached_tokens":3,"e2e_latency":0.5}}],"usage":null}`,
		`{"id":"0a1b","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2,"prompt_tokens_details":null,"reasoning_tokens":1}}`,
		`[DONE]`), reading{Kinds: "rgcfud", ID: "0a1b", Finish: "stop", Input: 7, Output: 2, Metrics: `{"meta_info":{"id":"0a1b","cached_tokens":3,"e2e_latency":0.5}}`}},
	{"SGLang completions, an abort", data(
		`{"id":"0c","object":"text_completion","created":1,"choices":[{"index":0,"text":" one","logprobs":null,"finish_reason":null,"matched_stop":null,"hidden_states":null}],"model":"m","usage":null}`,
		`{"id":"0c","object":"text_completion","created":1,"choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"abort","matched_stop":null,"hidden_states":null}],"model":"m","usage":null}`,
		`[DONE]`), reading{Kinds: "cfd", ID: "0c", Finish: "abort"}},
	{"SGLang, an error in the stream", data(
		`{"error":{"object":"error","message":"out of memory","type":"InternalServerError","param":null,"code":500}}`,
		`[DONE]`), reading{Kinds: "ed", Failed: true}},
	// llama.cpp's server (xllamacpp 2026.10.11549, a random model); the events of
	// the chat are from two answers, under one id:
	// the role comes with a null, an event holds several tokens or, where their
	// bytes are no whole character yet, there is none.
	{"llama.cpp chat", data(
		`{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795792413,"id":"chatcmpl-MleeCvoeliD72GkplP2Iz5myLJ0ppxFY","model":"tiny","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}`,
		`{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"\u0010"}}],"created":1795792413,"id":"chatcmpl-MleeCvoeliD72GkplP2Iz5myLJ0ppxFY","model":"tiny","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}`,
		`{"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1795792413,"id":"chatcmpl-MleeCvoeliD72GkplP2Iz5myLJ0ppxFY","model":"tiny","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}`,
		`{"choices":[],"created":1795792806,"id":"chatcmpl-MleeCvoeliD72GkplP2Iz5myLJ0ppxFY","model":"tiny","system_fingerprint":"b0-unknown","object":"chat.completion.chunk","usage":{"completion_tokens":4,"prompt_tokens":27,"total_tokens":31,"prompt_tokens_details":{"cached_tokens":7}},"timings":{"cache_n":7,"prompt_n":20,"prompt_ms":1.519,"prompt_per_token_ms":0.07594999999999999,"prompt_per_second":13166.556945358789,"predicted_n":4,"predicted_ms":0.646,"predicted_per_token_ms":0.21533333333333335,"predicted_per_second":4643.962848297213}}`,
		`[DONE]`), reading{Kinds: "rcfud", ID: "chatcmpl-MleeCvoeliD72GkplP2Iz5myLJ0ppxFY", Finish: "length", Input: 27, Output: 4,
		Metrics: `{"timings":{"cache_n":7,"prompt_n":20,"prompt_ms":1.519,"prompt_per_token_ms":0.07594999999999999,"prompt_per_second":13166.556945358789,"predicted_n":4,"predicted_ms":0.646,"predicted_per_token_ms":0.21533333333333335,"predicted_per_second":4643.962848297213}}`}},
	{"llama.cpp completions", data(
		`{"choices":[{"text":"�","index":0,"logprobs":null,"finish_reason":null}],"created":1795792806,"model":"tiny","system_fingerprint":"b0-unknown","object":"text_completion","id":"chatcmpl-dL542QljTsqWhveLCU8RAEEBzNyRv0dP"}`,
		`{"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"length"}],"created":1795792806,"model":"tiny","system_fingerprint":"b0-unknown","object":"text_completion","usage":{"completion_tokens":4,"prompt_tokens":10,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":2}},"id":"chatcmpl-dL542QljTsqWhveLCU8RAEEBzNyRv0dP","timings":{"cache_n":2,"prompt_n":8,"prompt_ms":0.868,"prompt_per_token_ms":0.1085,"prompt_per_second":9216.589861751152,"predicted_n":4,"predicted_ms":3.195,"predicted_per_token_ms":1.065,"predicted_per_second":938.9671361502349}}`,
		`[DONE]`), reading{Kinds: "cfd", ID: "chatcmpl-dL542QljTsqWhveLCU8RAEEBzNyRv0dP", Finish: "length", Input: 10, Output: 4,
		Metrics: `{"timings":{"cache_n":2,"prompt_n":8,"prompt_ms":0.868,"prompt_per_token_ms":0.1085,"prompt_per_second":9216.589861751152,"predicted_n":4,"predicted_ms":3.195,"predicted_per_token_ms":1.065,"predicted_per_second":938.9671361502349}}`}},
	// TGI leaves out the space, and the blank lines of its comments.
	{"TGI chat", ":\n\n" + strings.ReplaceAll(data(
		`{"object":"chat.completion.chunk","id":"","created":1,"model":"m","system_fingerprint":"3.3","choices":[{"index":0,"delta":{"role":"assistant","content":" one"},"logprobs":null,"finish_reason":null}],"usage":null}`,
		`{"object":"chat.completion.chunk","id":"","created":2,"model":"m","system_fingerprint":"3.3","choices":[{"index":0,"delta":{"role":"assistant","content":" two"},"logprobs":null,"finish_reason":"length"}],"usage":null}`,
		`{"object":"chat.completion.chunk","id":"","created":3,"model":"m","system_fingerprint":"3.3","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}`,
		`[DONE]`), "data: ", "data:"), reading{Kinds: "kccud", Finish: "length", Input: 7, Output: 2}},
	{"TGI, an error in the stream", "data:{\"error\":\"Request failed during generation: Server error\",\"error_type\":\"generation\"}\n\n", reading{Kinds: "e", Failed: true}},
	{"OpenAI chat, obfuscated", data(
		`{"id":"chatcmpl-A1","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x1"}`,
		`{"id":"chatcmpl-A1","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"four"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"abcd"}`,
		`{"id":"chatcmpl-A1","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null,"obfuscation":"abc"}`,
		`{"id":"chatcmpl-A1","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default","system_fingerprint":"fp","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1,"total_tokens":8,"completion_tokens_details":{"reasoning_tokens":0}},"obfuscation":""}`,
		`[DONE]`), reading{Kinds: "rcfud", ID: "chatcmpl-A1", Finish: "stop", Input: 7, Output: 1}},
	{"OpenAI responses, a tool", named(
		`{"type":"response.created","sequence_number":0,"response":{"id":"resp_B2","object":"response","created_at":1,"status":"in_progress","error":null,"incomplete_details":null,"output":[],"usage":null}}`,
		`{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"fc_1","type":"function_call","status":"in_progress","arguments":"","call_id":"call_1","name":"f"}}`,
		`{"type":"response.function_call_arguments.delta","sequence_number":2,"item_id":"fc_1","output_index":0,"delta":"{}","obfuscation":"a"}`,
		`{"type":"response.function_call_arguments.done","sequence_number":3,"item_id":"fc_1","output_index":0,"arguments":"{}"}`,
		`{"type":"response.completed","sequence_number":4,"response":{"id":"resp_B2","object":"response","created_at":1,"status":"completed","error":null,"incomplete_details":null,"output":[{"type":"function_call"}],"usage":{"input_tokens":7,"output_tokens":3,"total_tokens":10}}}`,
	), reading{Kinds: "rotof", ID: "resp_B2", Finish: "completed", Input: 7, Output: 3}},
}

// understood reads a stream as the client does; slow keeps it from the fast path.
func understood(r io.Reader, slow bool) (got reading) {
	var s sseReader
	var a answer
	s.reset(r, func() trace.Time { return 0 })
	var ev sseEvent
	for s.next(&ev) == nil {
		if slow {
			a.prefix = a.prefix[:0]
		}
		kind := trace.ChunkComment
		if !ev.comment {
			kind = a.event(ev.name, ev.data)
		}
		got.Kinds += string(rune(kind))
	}
	got.ID, got.Finish, got.Failed, got.Metrics = a.id, a.finish, a.failed, string(a.metrics.object())
	if len(a.usage) > 0 {
		in, out := a.dec.counts(a.usage)
		got.Input, got.Output = in.V, out.V
	}
	return got
}

func TestDialects(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		for _, slow := range []bool{false, true} {
			for _, r := range []io.Reader{strings.NewReader(d.stream), iotest.OneByteReader(strings.NewReader(d.stream))} {
				if diff := cmp.Diff(d.want, understood(r, slow)); diff != "" {
					t.Errorf("%s (-want +got)\n%s", d.name, diff)
				}
			}
		}
	}
}

// events are those of a stream, by another reader.
func events(t testing.TB, stream string) (all []gotEvent) {
	for ev, err := range sse.Read(strings.NewReader(stream), &sse.ReadConfig{MaxEventSize: 1 << 20}) {
		if err != nil {
			t.Skip(err)
		}
		all = append(all, gotEvent{Name: ev.Type, Data: ev.Data})
	}
	return all
}

// FuzzSSEAgainstGoSSE checks the framing against an independent reader, where
// the two mean the same: events with data, of a stream that ends with a whole
// one.
func FuzzSSEAgainstGoSSE(f *testing.F) {
	for _, d := range dialects {
		f.Add(d.stream)
		f.Add(strings.ReplaceAll(d.stream, "\n", "\r\n"))
		f.Add(strings.ReplaceAll(d.stream, "\n", "\r"))
	}
	f.Add("data: a\ndata\ndata:b\n\nevent: x\nid: 1\nretry: 5\ndata: c\n\n: k\ndatax: y\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		stream += "\n\n"
		withData := func(all []gotEvent) (some []gotEvent) {
			for _, ev := range all {
				if ev.At = 0; ev.Data != "" && !ev.Comment {
					some = append(some, ev)
				}
			}
			return some
		}
		got, _, err := readSSE(iotest.OneByteReader(strings.NewReader(stream)))
		if err != io.EOF {
			t.Fatal(err)
		}
		if diff := cmp.Diff(withData(events(t, stream)), withData(got)); diff != "" {
			t.Errorf("%q (-go-sse +ours)\n%s", stream, diff)
		}
	})
}

// TestOutputDoesNotAllocate checks that an event with output costs no memory,
// whoever spelled it and whichever path it takes.
func TestOutputDoesNotAllocate(t *testing.T) {
	for _, d := range dialects {
		var output []string
		for i, ev := range strings.SplitAfter(d.stream, "\n\n") {
			if i < len(d.want.Kinds) && trace.ChunkKind(d.want.Kinds[i]).Output() {
				output = append(output, ev)
			}
		}
		if d.want.Failed { // its message costs
			continue
		}
		var s sseReader
		var a answer
		read := func(times int) float64 {
			stream := strings.Repeat(strings.Join(output, ""), times)
			r := strings.NewReader(stream)
			stamp := func() trace.Time { return 0 }
			var ev sseEvent
			return testing.AllocsPerRun(20, func() {
				r.Reset(stream)
				s.reset(r, stamp)
				a.reset()
				for s.next(&ev) == nil {
					a.event(ev.name, ev.data)
				}
			})
		}
		if once, often := read(1), read(50); often > once {
			t.Errorf("%s: %v allocations once, %v fifty times", d.name, once, often)
		}
	}
}
