package simserver

import (
	"fmt"
	"net/http"

	"wattrace/trace"
)

// openai spells as the API reference of OpenAI has it (K): a streamed chat ends
// with an event of its own for the finish reason; where usage was asked for
// every event has the key, null but for the last; the text of reasoning is
// never sent, only counted; events are padded, so that their length tells
// nothing of the text.
type openai struct{}

// openaiRules: unknown keys are refused, ignore_eos and min_tokens among them;
// too many requests are 429 with Retry-After; a stream that fails ends with an
// error event. There is no page for health, version or metrics.
var openaiRules = &rules{
	keys: map[trace.Endpoint][]string{
		trace.Completions: {
			"model", "prompt", "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "n",
			"presence_penalty", "seed", "stop", "stream", "stream_options", "suffix", "temperature", "top_p", "user",
		},
		trace.Chat: {
			"messages", "model", "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
			"max_completion_tokens", "max_tokens", "metadata", "modalities", "n", "parallel_tool_calls", "prediction",
			"presence_penalty", "prompt_cache_key", "reasoning_effort", "response_format", "safety_identifier", "seed",
			"service_tier", "stop", "store", "stream", "stream_options", "temperature", "tool_choice", "tools",
			"top_logprobs", "top_p", "user", "verbosity", "web_search_options",
		},
		trace.Responses: responsesKeys,
	},
	streamed:  []string{"include_usage", "include_obfuscation"},
	needModel: true, completion: 16, stops: true,
	full:   &apiError{status: http.StatusTooManyRequests, kind: "requests", code: "rate_limit_exceeded", message: "Rate limit reached: the queue of the simulated server is full."},
	broken: &apiError{status: http.StatusInternalServerError, kind: "server_error", message: "The server had an error while processing your request, as it was told to."},
}

func (openai) rules() *rules { return openaiRules }

// open appends the beginning of an event up to its choices.
func (openai) open(b []byte, a *answer) []byte {
	object := "text_completion"
	if a.endpoint == trace.Chat {
		object = "chat.completion.chunk"
	}
	return append(open(append(b, "data: "...), a, object), `,"service_tier":"default","system_fingerprint":"fp_simulated","choices":[`...)
}

// close appends the end of an event after its choices. The padding differs from
// event to event.
func (openai) close(b []byte, a *answer, i int) []byte {
	if a.request.usage {
		b = append(b, `,"usage":null`...)
	}
	if !a.plain {
		b = append(b, `,"obfuscation":"`...)
		b = append(b, "aB3dE6fG9hJkLmNp"[:1+mix(a.words^uint64(i+1))%16]...)
		b = append(b, '"')
	}
	return append(b, "}\n\n"...)
}

func (o openai) role(b []byte, a *answer) []byte {
	b = append(o.open(b, a), `{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]`...)
	return o.close(b, a, -1)
}

func (o openai) token(b []byte, a *answer, i int) []byte {
	if a.endpoint != trace.Chat {
		b = append(o.open(b, a), `{"text":`...)
		b = append(a.appendText(b, i), `,"index":0,"logprobs":null,"finish_reason":`...)
		return o.close(append(appendFinish(b, a, i), "}]"...), a, i)
	}
	if a.part(i) == reasoning || a.part(i) == text && a.silent(i) {
		return b
	}
	b = append(o.open(b, a), `{"index":0,"delta":{`...)
	switch {
	case a.part(i) == text:
		b = a.appendText(append(b, `"content":`...), i)
	case a.named(i):
		b = fmt.Appendf(b, `"tool_calls":[{"index":0,"id":"%s","type":"function","function":{"name":%s,"arguments":""}}]`, a.callID("call_"), appendJSONString(nil, a.tool))
	default:
		b = append(b, `"tool_calls":[{"index":0,"function":{"arguments":`...)
		b = append(a.appendPiece(b, i), "}}]"...)
	}
	return o.close(append(b, `},"logprobs":null,"finish_reason":null}]`...), a, i)
}

func (o openai) finish(b []byte, a *answer) []byte {
	if a.endpoint != trace.Chat {
		return b
	}
	return o.close(fmt.Appendf(o.open(b, a), `{"index":0,"delta":{},"logprobs":null,"finish_reason":"%s"}]`, a.finish), a, a.outputTokens)
}

func (o openai) usage(b []byte, a *answer) []byte {
	return append(o.counts(append(o.open(b, a), ']'), a), "}\n\n"...)
}

func (openai) counts(b []byte, a *answer) []byte {
	return fmt.Appendf(b, `,"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`,
		a.promptTokens, a.outputTokens, a.promptTokens+a.outputTokens, a.reasoned(a.outputTokens))
}

func (o openai) whole(b []byte, a *answer) []byte {
	if a.endpoint == trace.Chat {
		b = append(open(b, a, "chat.completion"), `,"choices":[{"index":0,"message":{"role":"assistant","content":`...)
		if a.tool == "" {
			b = a.appendContent(b)
		} else {
			b = fmt.Appendf(b, `null,"tool_calls":[{"id":"%s","type":"function","function":{"name":%s,"arguments":`, a.callID("call_"), appendJSONString(nil, a.tool))
			b = append(a.appendArguments(b), "}}]"...)
		}
		b = append(b, `,"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"`...)
	} else {
		b = append(open(b, a, "text_completion"), `,"choices":[{"text":`...)
		b = append(a.appendAll(b, 0, a.outputTokens), `,"index":0,"logprobs":null,"finish_reason":"`...)
	}
	b = append(append(b, a.finish...), `"}]`...)
	return append(o.counts(b, a), `,"service_tier":"default","system_fingerprint":"fp_simulated"}`...)
}

// fault: the code is a word, or null.
func (openai) fault(b []byte, e *apiError) []byte {
	kind, code := e.kind, e.code
	switch {
	case e.unknown:
		code = "unknown_parameter"
	case e.status == http.StatusNotFound:
		code = "model_not_found"
	case e.length:
		code = "context_length_exceeded"
	}
	if e.status < 500 && e.status != http.StatusTooManyRequests {
		kind = "invalid_request_error"
	}
	b = append(b, `{"error":{"message":`...)
	b = appendJSONString(b, e.message)
	b = append(b, `,"type":`...)
	b = appendJSONString(b, kind)
	b = append(b, `,"param":`...)
	b = appendParam(b, e.param)
	b = append(b, `,"code":`...)
	return append(appendParam(b, code), "}}"...)
}

func (openai) models(b []byte, o *Options, created int64) []byte {
	return appendModel(b, o, created, "")
}
