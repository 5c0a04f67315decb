package simserver

import (
	"fmt"
	"net/http"
	"strings"

	"wattrace/trace"
)

// sglang spells as sglang/srt/entrypoints/openai does. What differs from vLLM:
// a streamed chat ends with an event of its own for the finish reason
// (serving_chat.py), which is called matched_stop besides; reasoning is called
// reasoning_content; usage says reasoning_tokens at its top (protocol.py);
// errors are flat, but inside of a stream.
type sglang struct{}

// sglangRules: keys that it does not know are ignored (BaseModel, in
// protocol.py); the model may have any name and is repeated, "default" where
// there is none; with --max-queued-requests a full queue is 503, for a stream an
// error event after 200; an engine that fails is an error event and [DONE].
var sglangRules = &rules{
	anyModel: true, unnamed: "default", completion: 16, plainIDs: true,
	full:      &apiError{status: http.StatusServiceUnavailable, kind: "ServiceUnavailable", message: "The request queue is full."},
	fullEvent: true,
	broken:    &apiError{status: http.StatusInternalServerError, kind: "InternalServerError", message: "Internal server error: the simulated engine failed, as it was told to"},
	routes: map[string]func(*Server, http.ResponseWriter, *http.Request){
		"GET /health":          (*Server).health,
		"GET /get_server_info": (*Server).serverInfo, // older name of the next
		"GET /server_info":     (*Server).serverInfo,
		"GET /metrics":         (*Server).sglangMetrics,
		"POST /generate":       (*Server).generate,
	},
}

func (sglang) rules() *rules { return sglangRules }

func (s sglang) choice(b []byte, a *answer, delta string, tokens int) []byte {
	b = event(b, a)
	b = append(b, `{"index":0,"delta":{`...)
	b = append(b, delta...)
	b = append(b, `},"logprobs":null,"finish_reason":null,"matched_stop":null}]`...)
	if a.continuousUsage {
		b = s.counts(b, a, tokens)
	}
	return append(b, "}\n\n"...)
}

// role: build_sse_content (sse_utils.py) leaves out what is none, so that a
// delta holds only what it brings. This first event has no usage.
func (sglang) role(b []byte, a *answer) []byte {
	return append(event(b, a), `{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null,"matched_stop":null}]}`+"\n\n"...)
}

func (s sglang) token(b []byte, a *answer, i int) []byte {
	if a.endpoint != trace.Chat {
		b = append(event(b, a), `{"index":0,"text":`...)
		b = a.appendText(b, i)
		b = append(b, `,"logprobs":null,"finish_reason":`...)
		b = appendFinish(b, a, i)
		b = append(b, `,"matched_stop":`...)
		b = append(s.matched(b, a, i), "}]"...)
		if a.continuousUsage {
			b = s.counts(b, a, i+1)
		} else {
			b = append(b, `,"usage":null`...)
		}
		return append(b, "}\n\n"...)
	}
	switch {
	case a.part(i) == toolCall && a.named(i):
		return s.choice(b, a, s.call(fmt.Sprintf(`"%s"`, a.callID("call_")), string(appendJSONString(nil, a.tool)), `""`), i+1)
	case a.part(i) == toolCall:
		return s.choice(b, a, s.call("null", "null", string(a.appendPiece(nil, i))), i+1)
	case a.silent(i): // an empty delta is not sent
		return b
	case a.part(i) == reasoning:
		return s.choice(b, a, `"reasoning_content":`+string(a.appendText(nil, i)), i+1)
	}
	return s.choice(b, a, `"content":`+string(a.appendText(nil, i)), i+1)
}

// call is a delta with a part of a call: such ones keep their nulls, as
// DeltaMessage (protocol.py) is dumped whole.
func (sglang) call(id, name, arguments string) string {
	return `"role":null,"content":null,"reasoning_content":null,"tool_calls":[{"id":` + id +
		`,"index":0,"type":"function","function":{"name":` + name + `,"arguments":` + arguments + `}}]`
}

// matched appends the token that ended the answer; the simulated one has id 2.
func (sglang) matched(b []byte, a *answer, i int) []byte {
	if a.silent(i) {
		return append(b, '2')
	}
	return append(b, "null"...)
}

func (s sglang) finish(b []byte, a *answer) []byte {
	if a.endpoint != trace.Chat {
		return b
	}
	b = append(event(b, a), `{"index":0,"delta":{},"logprobs":null,"finish_reason":"`...)
	b = append(b, a.finish...)
	b = append(b, `","matched_stop":`...)
	return append(s.matched(b, a, a.outputTokens-1), "}]}\n\n"...)
}

func (s sglang) usage(b []byte, a *answer) []byte {
	return append(s.counts(append(event(b, a), ']'), a, a.outputTokens), "}\n\n"...)
}

// counts: cached tokens are there only with --enable-cache-report
// (usage_processor.py).
func (sglang) counts(b []byte, a *answer, tokens int) []byte {
	b = append(appendCounts(b, a, tokens), `,"prompt_tokens_details":null`...)
	return append(appendNumber(b, "reasoning_tokens", a.reasoned(tokens)), '}')
}

func (s sglang) whole(b []byte, a *answer) []byte {
	if a.endpoint == trace.Chat {
		b = append(open(b, a, "chat.completion"), `,"choices":[{"index":0,"message":{"role":"assistant","content":`...)
		b = append(a.appendContent(b), `,"reasoning_content":`...)
		if a.reasoning > 0 {
			b = a.appendReasoning(b)
		} else {
			b = append(b, "null"...)
		}
		if a.tool != "" {
			b = fmt.Appendf(b, `,"tool_calls":[{"id":"%s","index":0,"type":"function","function":{"name":%s,"arguments":`, a.callID("call_"), appendJSONString(nil, a.tool))
			b = append(a.appendArguments(b), "}}]"...)
		} else {
			b = append(b, `,"tool_calls":null`...)
		}
		b = append(b, '}')
	} else {
		b = append(open(b, a, "text_completion"), `,"choices":[{"index":0,"text":`...)
		b = a.appendAll(b, 0, a.outputTokens)
	}
	b = append(b, `,"logprobs":null,"finish_reason":"`...)
	b = append(b, a.finish...)
	b = append(b, `","matched_stop":`...)
	b = s.matched(b, a, a.outputTokens-1)
	if a.metaInfo { // return_meta_info, of a chat that is not streamed
		b = s.meta(append(b, `,"meta_info":`...), a, a.outputTokens)
	}
	b = s.counts(append(b, "}]"...), a, a.outputTokens)
	return append(b, `,"metadata":{"weight_version":"default"}}`...)
}

// meta appends the meta_info of an answer with so many tokens so far.
func (s sglang) meta(b []byte, a *answer, tokens int) []byte {
	b = fmt.Appendf(b, `{"id":"%s","finish_reason":`, a.id)
	switch {
	case tokens < a.outputTokens:
		b = append(b, "null"...)
	case a.ends:
		b = append(b, `{"type":"stop","matched":2}`...)
	default:
		b = fmt.Appendf(b, `{"type":"length","length":%d}`, a.outputTokens)
	}
	b = fmt.Appendf(b, `,"prompt_tokens":%d,"weight_version":"default","completion_tokens":%d,"cached_tokens":0`, a.promptTokens, tokens)
	if tokens == a.outputTokens {
		b = fmt.Appendf(b, `,"e2e_latency":%.6f`, a.seq.stamps.lastToken.Sub(a.seq.stamps.arrival).Seconds())
	}
	return append(b, '}')
}

// fault: ErrorResponse (protocol.py). What is wrong with the form of a body is
// told by the validator, under the phrase of the status (http_server.py, K).
// Inside of a stream the same object is the value of "error", and the type is
// the name of the status (create_streaming_error_response).
func (sglang) fault(b []byte, e *apiError) []byte {
	if e.inStream {
		phrase := strings.ToUpper(strings.ReplaceAll(http.StatusText(e.status), " ", "_"))
		return append(flatFault(append(b, `{"error":`...), e, phrase), '}')
	}
	kind := e.kind
	if e.form {
		kind = http.StatusText(e.status)
	}
	return flatFault(b, e, kind)
}

func (sglang) models(b []byte, o *Options, created int64) []byte {
	return appendModel(b, o, created, rooted(o))
}
