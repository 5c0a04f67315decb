package simserver

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// vllm spells as vllm/entrypoints/openai does: the last token's event has the
// finish reason; the role comes with the first token; usage is an event with
// no choices. Keys that are null and belong to features that are not simulated
// are left out.
type vllm struct{}

// open appends the beginning of an object up to its choices.
func (vllm) open(b []byte, a *answer, object string) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, a.id...)
	b = append(b, `","object":"`...)
	b = append(b, object...)
	b = append(b, `","created":`...)
	b = strconv.AppendInt(b, a.created, 10)
	b = append(b, `,"model":`...)
	b = append(b, a.model...)
	return append(b, `,"choices":[`...)
}

func (v vllm) event(b []byte, a *answer) []byte {
	object := "text_completion"
	if a.chat {
		object = "chat.completion.chunk"
	}
	return v.open(append(b, "data: "...), a, object)
}

func (v vllm) role(b []byte, a *answer) []byte {
	b = v.event(b, a)
	b = append(b, `{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]`...)
	if a.continuousUsage {
		b = v.counts(b, a, 0)
	}
	return append(b, "}\n\n"...)
}

func (v vllm) token(b []byte, a *answer, i int) []byte {
	b = v.event(b, a)
	if a.chat {
		b = append(b, `{"index":0,"delta":{"content":`...)
		b = append(a.appendText(b, i), '}')
	} else {
		b = append(b, `{"index":0,"text":`...)
		b = a.appendText(b, i)
	}
	b = append(b, `,"logprobs":null,"finish_reason":`...)
	if a.last(i) {
		b = append(b, '"')
		b = append(b, a.finish...)
		b = append(b, '"')
	} else {
		b = append(b, "null"...)
	}
	if !a.chat || a.last(i) {
		b = append(b, `,"stop_reason":null`...)
	}
	b = append(b, "}]"...)
	if a.continuousUsage {
		b = v.counts(b, a, i+1)
	}
	return append(b, "}\n\n"...)
}

func (v vllm) usage(b []byte, a *answer) []byte {
	b = append(v.event(b, a), ']')
	b = v.counts(b, a, a.outputTokens)
	return append(b, "}\n\n"...)
}

// counts appends the usage of an answer with so many tokens so far.
func (vllm) counts(b []byte, a *answer, tokens int) []byte {
	b = append(b, `,"usage":{"prompt_tokens":`...)
	b = strconv.AppendInt(b, int64(a.promptTokens), 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, int64(a.promptTokens+tokens), 10)
	b = append(b, `,"completion_tokens":`...)
	b = strconv.AppendInt(b, int64(tokens), 10)
	return append(b, '}')
}

func (vllm) end(b []byte) []byte { return append(b, "data: [DONE]\n\n"...) }

func (v vllm) whole(b []byte, a *answer) []byte {
	if a.chat {
		b = v.open(b, a, "chat.completion")
		b = append(b, `{"index":0,"message":{"role":"assistant","content":`...)
		b = append(a.appendAll(b), '}')
	} else {
		b = v.open(b, a, "text_completion")
		b = append(b, `{"index":0,"text":`...)
		b = a.appendAll(b)
	}
	b = append(b, `,"logprobs":null,"finish_reason":"`...)
	b = append(b, a.finish...)
	b = append(b, `","stop_reason":null}]`...)
	b = v.counts(b, a, a.outputTokens)
	return append(b, '}')
}

func (vllm) fault(b []byte, e *apiError) []byte {
	b = append(b, `{"error":{"message":`...)
	b = appendJSONString(b, e.message)
	b = append(b, `,"type":`...)
	b = appendJSONString(b, e.kind)
	b = append(b, `,"param":`...)
	if e.param == "" {
		b = append(b, "null"...)
	} else {
		b = appendJSONString(b, e.param)
	}
	b = append(b, `,"code":`...)
	b = strconv.AppendInt(b, int64(e.status), 10)
	return append(b, "}}"...)
}

func (vllm) models(b []byte, o *Options, created int64) []byte {
	b = append(b, `{"object":"list","data":[{"id":`...)
	b = appendJSONString(b, o.Model)
	b = append(b, `,"object":"model","created":`...)
	b = strconv.AppendInt(b, created, 10)
	b = append(b, `,"owned_by":"wattrace simulated","root":`...)
	b = appendJSONString(b, o.Model)
	b = append(b, `,"parent":null,"max_model_len":`...)
	b = strconv.AppendInt(b, int64(o.MaxContext), 10)
	return append(b, "}]}"...)
}

// appendJSONString appends valid UTF-8 as a JSON string.
func appendJSONString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // fails on invalid UTF-8 only, which it replaces
	return b
}
