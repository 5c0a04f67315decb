package simserver

import (
	"fmt"
	"net/http"

	"wattrace/trace"
)

// vllm spells as vllm/entrypoints/openai does: the last token's event has the
// finish reason; the role comes with the first token; usage is an event with
// no choices; reasoning is called "reasoning" (renamed from reasoning_content
// in 2026). Keys that are null and belong to features that are not simulated
// are left out.
type vllm struct{}

// vllmRules: keys that it does not know are ignored (OpenAIBaseModel, extra
// "allow", in engine/protocol.py); its queue has no limit; an engine that fails
// is an error event, and [DONE] follows all the same (chat_completion/serving.py).
var vllmRules = &rules{
	completion: 16,
	broken:     &apiError{status: http.StatusInternalServerError, kind: "InternalServerError", message: "the simulated engine failed, as it was told to"},
	routes: map[string]func(*Server, http.ResponseWriter, *http.Request){
		"GET /health":  (*Server).health,
		"GET /version": (*Server).version,
		"GET /metrics": (*Server).vllmMetrics,
	},
}

func (vllm) rules() *rules { return vllmRules }

func (v vllm) role(b []byte, a *answer) []byte {
	b = event(b, a)
	b = append(b, `{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]`...)
	if a.continuousUsage {
		b = v.counts(b, a, 0)
	}
	return append(b, "}\n\n"...)
}

func (v vllm) token(b []byte, a *answer, i int) []byte {
	b = event(b, a)
	if a.endpoint == trace.Chat {
		b = append(b, `{"index":0,"delta":{`...)
		b = append(v.delta(b, a, i), '}')
	} else {
		b = append(b, `{"index":0,"text":`...)
		b = a.appendText(b, i)
	}
	b = append(b, `,"logprobs":null,"finish_reason":`...)
	b = appendFinish(b, a, i)
	if a.endpoint != trace.Chat || a.last(i) {
		b = append(b, `,"stop_reason":null`...)
	}
	b = append(b, "}]"...)
	if a.continuousUsage {
		b = v.counts(b, a, i+1)
	}
	if a.last(i) && !a.request.usage {
		b = v.metrics(b, a)
	}
	return append(b, "}\n\n"...)
}

// delta appends the member that token i adds to a message. A call's first
// event has its id and name, those after it only a part of the arguments
// (DeltaToolCall, in engine/protocol.py).
func (vllm) delta(b []byte, a *answer, i int) []byte {
	switch {
	case a.part(i) == reasoning:
		return a.appendText(append(b, `"reasoning":`...), i)
	case a.part(i) == text:
		return a.appendText(append(b, `"content":`...), i)
	case a.named(i):
		return fmt.Appendf(b, `"tool_calls":[{"id":"%s","type":"function","index":0,"function":{"name":%s,"arguments":""}}]`,
			a.callID("chatcmpl-tool-"), appendJSONString(nil, a.tool))
	}
	b = append(b, `"tool_calls":[{"index":0,"function":{"arguments":`...)
	return append(a.appendPiece(b, i), "}}]"...)
}

func (vllm) finish(b []byte, _ *answer) []byte { return b }

func (v vllm) usage(b []byte, a *answer) []byte {
	b = append(event(b, a), ']')
	b = v.counts(b, a, a.outputTokens)
	b = v.metrics(b, a)
	return append(b, "}\n\n"...)
}

// counts appends the usage of an answer with so many tokens so far. Cached
// tokens are there only with --enable-prompt-tokens-details.
func (vllm) counts(b []byte, a *answer, tokens int) []byte {
	return append(appendCounts(b, a, tokens), '}')
}

// metrics appends what --enable-per-request-metrics adds to the last event with
// a body, and to a whole answer.
func (vllm) metrics(b []byte, a *answer) []byte {
	if !a.opt.RequestMetrics {
		return b
	}
	s := a.seq.stamps
	ms := func(from, to trace.Time) float64 { return float64(to.Sub(from).Nanoseconds()) / 1e6 }
	generation := ms(s.firstToken, s.lastToken)
	itl, rate := 0.0, 0.0
	if a.outputTokens > 1 && generation > 0 {
		itl, rate = generation/float64(a.outputTokens-1), float64(a.outputTokens-1)/generation*1e3
	}
	return fmt.Appendf(b, `,"metrics":{"time_to_first_token_ms":%.3f,"generation_time_ms":%.3f,"queue_time_ms":%.3f,"mean_itl_ms":%.3f,"tokens_per_second":%.3f,"speculative_decoding":null}`,
		ms(s.arrival, s.firstToken), generation, ms(s.arrival, s.scheduled), itl, rate)
}

func (v vllm) whole(b []byte, a *answer) []byte {
	if a.endpoint == trace.Chat {
		b = append(open(b, a, "chat.completion"), `,"choices":[{"index":0,"message":{"role":"assistant","content":`...)
		b = a.appendContent(b)
		if a.reasoning > 0 {
			b = a.appendReasoning(append(b, `,"reasoning":`...))
		}
		if a.tool != "" {
			b = fmt.Appendf(b, `,"tool_calls":[{"id":"%s","type":"function","function":{"name":%s,"arguments":`, a.callID("chatcmpl-tool-"), appendJSONString(nil, a.tool))
			b = append(a.appendArguments(b), "}}]"...)
		}
		b = append(b, '}')
	} else {
		b = append(open(b, a, "text_completion"), `,"choices":[{"index":0,"text":`...)
		b = a.appendAll(b, 0, a.outputTokens)
	}
	b = append(b, `,"logprobs":null,"finish_reason":"`...)
	b = append(b, a.finish...)
	b = append(b, `","stop_reason":null}]`...)
	b = v.counts(b, a, a.outputTokens)
	b = v.metrics(b, a)
	return append(b, '}')
}

// fault: ErrorResponse holds an ErrorInfo (engine/protocol.py).
func (vllm) fault(b []byte, e *apiError) []byte {
	b = append(b, `{"error":{"message":`...)
	b = appendJSONString(b, e.message)
	b = append(b, `,"type":`...)
	b = appendJSONString(b, e.kind)
	b = append(b, `,"param":`...)
	b = appendParam(b, e.param)
	b = appendNumber(b, "code", e.status)
	return append(b, "}}"...)
}

func (vllm) models(b []byte, o *Options, created int64) []byte {
	return appendModel(b, o, created, rooted(o))
}
