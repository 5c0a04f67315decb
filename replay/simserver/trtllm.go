package simserver

import (
	"fmt"
	"net/http"
	"strings"

	"wattrace/trace"
)

// trtllm spells as tensorrt_llm/serve does (postprocess_handlers.py): the event
// of a role has nothing else and a blank before its end; events of a chat leave
// out what is null, those of a completion do not; a delta of a chat has content
// and reasoning_content, one of them empty; usage always says how much of the
// prompt was cached.
type trtllm struct{}

// trtllmRules: keys that it does not know are refused, by a validator whose
// message quotes what was given (OpenAIBaseModel, extra "forbid", in
// openai_protocol.py; validation_exception_handler, in openai_server.py); a body
// must name a model, which may be any and is repeated; a completion without
// max_tokens fills the context; more max_tokens than fit are lowered (K); an
// engine that fails raises inside of the stream, which is cut; its queue has no
// limit.
var trtllmRules = &rules{
	keys: map[trace.Endpoint][]string{
		trace.Completions: {
			"model", "prompt", "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "n",
			"presence_penalty", "seed", "stop", "stream", "stream_options", "suffix", "temperature", "top_p", "user",
			"lora_request", "prompt_ignore_length", "use_beam_search", "top_k", "top_p_min", "min_p", "repetition_penalty",
			"length_penalty", "early_stopping", "stop_token_ids", "include_stop_str_in_output", "ignore_eos", "min_tokens",
			"skip_special_tokens", "spaces_between_special_tokens", "truncate_prompt_tokens", "return_context_logits",
			"detokenize", "thinking_token_budget", "add_special_tokens", "response_format", "disaggregated_params",
			"priority", "conversation_params",
		},
		trace.Chat: {
			"messages", "prompt_token_ids", "model", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs",
			"max_completion_tokens", "max_tokens", "n", "presence_penalty", "response_format", "seed", "stop", "stream",
			"stream_options", "temperature", "top_p", "tools", "tool_choice", "parallel_tool_calls", "user",
			"reasoning_effort", "thinking", "thinking_token_budget", "prompt_ignore_length", "best_of", "use_beam_search",
			"top_k", "top_p_min", "min_p", "repetition_penalty", "length_penalty", "early_stopping", "stop_token_ids",
			"include_stop_str_in_output", "ignore_eos", "min_tokens", "skip_special_tokens", "spaces_between_special_tokens",
			"truncate_prompt_tokens", "lora_request", "echo", "add_generation_prompt", "add_special_tokens", "documents",
			"chat_template", "chat_template_kwargs", "media_io_kwargs", "disaggregated_params", "conversation_params",
			"cache_salt", "priority", "agent_hierarchy", "mm_processor_kwargs",
		},
		trace.Responses: responsesKeys,
	},
	streamed: []string{"include_usage", "continuous_usage_stats"},
	anyModel: true, needModel: true, clamps: true, usage: true,
	broken: &apiError{status: http.StatusBadRequest, kind: "BadRequestError", message: "the simulated engine failed, as it was told to"},
	cut:    true,
	routes: map[string]func(*Server, http.ResponseWriter, *http.Request){
		"GET /health":             (*Server).health,
		"GET /version":            (*Server).version,
		"GET /metrics":            (*Server).iterations,
		"GET /perf_metrics":       (*Server).perfMetrics,
		"GET /energy_metrics":     (*Server).energyMetrics,
		"GET /prometheus/metrics": (*Server).trtllmMetrics,
	},
}

func (trtllm) rules() *rules { return trtllmRules }

func (t trtllm) role(b []byte, a *answer) []byte {
	b = append(event(b, a), `{"index":0,"delta":{"role":"assistant"}}]`...)
	if a.continuousUsage {
		b = t.counts(b, a, 0)
	}
	return append(b, "} \n\n"...)
}

func (t trtllm) token(b []byte, a *answer, i int) []byte {
	b = event(b, a)
	if a.endpoint != trace.Chat {
		b = append(b, `{"index":0,"text":`...)
		b = append(a.appendText(b, i), `,"token_ids":null,"logprobs":null,"finish_reason":`...)
		b = append(appendFinish(b, a, i), `,"stop_reason":null,"avg_decoded_tokens_per_iter":null}]`...)
		if a.continuousUsage {
			b = t.counts(b, a, i+1)
		} else {
			b = append(b, `,"usage":null`...)
		}
		return append(b, "}\n\n"...)
	}
	b = append(b, `{"index":0,"delta":{`...)
	switch {
	case a.part(i) == reasoning:
		b = a.appendText(append(b, `"content":"","reasoning_content":`...), i)
	case a.part(i) == text:
		b = append(a.appendText(append(b, `"content":`...), i), `,"reasoning_content":""`...)
	case a.named(i): // the id comes once, with the name
		b = fmt.Appendf(b, `"content":"","reasoning_content":"","tool_calls":[{"id":"%s","type":"function","index":0,"function":{"name":%s,"arguments":""}}]`,
			a.callID("chatcmpl-tool-"), appendJSONString(nil, a.tool))
	default:
		b = append(b, `"content":"","reasoning_content":"","tool_calls":[{"type":"function","index":0,"function":{"arguments":`...)
		b = append(a.appendPiece(b, i), "}}]"...)
	}
	b = append(b, '}')
	if a.last(i) {
		b = append(appendFinish(append(b, `,"finish_reason":`...), a, i), "}]"...)
	} else {
		b = append(b, "}]"...)
	}
	if a.continuousUsage {
		b = t.counts(b, a, i+1)
	}
	return append(b, "}\n\n"...)
}

func (trtllm) finish(b []byte, _ *answer) []byte { return b }

func (t trtllm) usage(b []byte, a *answer) []byte {
	return append(t.counts(append(event(b, a), ']'), a, a.outputTokens), "}\n\n"...)
}

func (trtllm) counts(b []byte, a *answer, tokens int) []byte {
	return append(appendCounts(b, a, tokens), `,"prompt_tokens_details":{"cached_tokens":0}}`...)
}

func (t trtllm) whole(b []byte, a *answer) []byte {
	if a.endpoint == trace.Chat {
		b = append(open(b, a, "chat.completion"), `,"choices":[{"index":0,"message":{"role":"assistant","content":`...)
		b = append(a.appendContent(b), `,"reasoning_content":`...)
		b = append(a.appendReasoning(b), `,"reasoning":null,"tool_calls":[`...)
		if a.tool != "" {
			b = fmt.Appendf(b, `{"id":"%s","type":"function","function":{"name":%s,"arguments":`, a.callID("chatcmpl-tool-"), appendJSONString(nil, a.tool))
			b = append(a.appendArguments(b), "}}"...)
		}
		b = fmt.Appendf(b, `]},"logprobs":null,"finish_reason":"%s","stop_reason":null,"mm_embedding_handle":null,"disaggregated_params":null,"avg_decoded_tokens_per_iter":null}]`, a.finish)
	} else {
		b = append(open(b, a, "text_completion"), `,"choices":[{"index":0,"text":`...)
		b = a.appendAll(b, 0, a.outputTokens)
		b = fmt.Appendf(b, `,"token_ids":null,"logprobs":null,"context_logits":null,"finish_reason":"%s","stop_reason":null,"disaggregated_params":null,"avg_decoded_tokens_per_iter":null}]`, a.finish)
	}
	b = t.counts(b, a, a.outputTokens)
	return append(b, `,"prompt_token_ids":null}`...)
}

// fault: what is wrong with the form of a body is the validator's list as one
// string, which quotes the input; anything else an ErrorResponse.
func (trtllm) fault(b []byte, e *apiError) []byte {
	if !e.form {
		return flatFault(b, e, e.kind)
	}
	kind, loc := "value_error", "'body'"
	if e.unknown {
		kind = "extra_forbidden"
	}
	if e.param != "" {
		loc += ", '" + strings.ReplaceAll(e.param, ".", "', '") + "'"
	}
	b = append(b, `{"error":`...)
	b = appendJSONString(b, fmt.Sprintf("[{'type': '%s', 'loc': (%s), 'msg': '%s', 'input': '%s'}]", kind, loc, e.message, e.input))
	return append(b, '}')
}

func (trtllm) models(b []byte, o *Options, created int64) []byte {
	return appendModel(b, o, created, "")
}
