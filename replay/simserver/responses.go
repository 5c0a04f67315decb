package simserver

import (
	"fmt"
	"strconv"
)

// responsesKeys are the keys of OpenAI's API reference, which servers that
// refuse others take (ResponsesRequest, in trtllm-serve's openai_protocol.py, K).
var responsesKeys = []string{
	"background", "conversation", "include", "input", "instructions", "max_output_tokens", "max_tool_calls", "metadata",
	"model", "parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_key", "reasoning", "request_id",
	"safety_identifier", "service_tier", "store", "stream", "stream_options", "temperature", "text", "tool_choice",
	"tools", "top_logprobs", "top_p", "truncation", "user",
}

// responses spells answers of /v1/responses, which all dialects have alike:
// events with a name, numbered; the last one holds the whole answer with its
// usage, and no [DONE] follows (K). OpenAI's reasoning has no text, and its
// last event says by its name that an answer was cut; the others' is completed
// in any case (K).
type responses struct{ dialect Dialect }

// event appends one event. rest is what it holds beside its type and number.
func (responses) event(b []byte, a *answer, kind, rest string) []byte {
	b = append(append(append(b, "event: "...), kind...), "\ndata: {\"type\":\""...)
	b = append(append(b, kind...), `","sequence_number":`...)
	b = strconv.AppendInt(b, int64(a.events), 10)
	a.events++
	return append(append(append(b, ','), rest...), "}\n\n"...)
}

// token appends what comes with token i: the opening of the stream and of an
// item before its first token, the end after the last one.
func (r responses) token(b []byte, a *answer, i int) []byte {
	if i == 0 {
		b = r.event(b, a, "response.created", `"response":`+r.object(a, "in_progress", 0))
		b = r.event(b, a, "response.in_progress", `"response":`+r.object(a, "in_progress", 0))
	}
	hidden := r.dialect == OpenAI
	if i == 0 && a.reasoning > 0 {
		b = r.event(b, a, "response.output_item.added", fmt.Sprintf(`"output_index":0,"item":%s`, r.reasoningItem(a, false)))
	}
	if a.part(i) == reasoning {
		if !hidden && !a.silent(i) {
			b = r.event(b, a, "response.reasoning_text.delta", fmt.Sprintf(`"item_id":"rs_%s","output_index":0,"content_index":0,"delta":%s`, a.id, a.appendText(nil, i)))
		}
		if i == a.reasoning-1 {
			b = r.event(b, a, "response.output_item.done", fmt.Sprintf(`"output_index":0,"item":%s`, r.reasoningItem(a, true)))
		}
		return b
	}
	at := fmt.Sprintf(`"item_id":"msg_%s","output_index":%d,"content_index":0`, a.id, r.messageIndex(a))
	if i == a.reasoning {
		b = r.event(b, a, "response.output_item.added", fmt.Sprintf(`"output_index":%d,"item":{"id":"msg_%s","type":"message","status":"in_progress","role":"assistant","content":[]}`, r.messageIndex(a), a.id))
		b = r.event(b, a, "response.content_part.added", at+`,"part":{"type":"output_text","text":"","annotations":[]}`)
	}
	if !a.silent(i) {
		b = r.event(b, a, "response.output_text.delta", at+`,"delta":`+string(a.appendText(nil, i)))
	}
	return b
}

// end appends what ends a stream that does not fail.
func (r responses) end(b []byte, a *answer) []byte {
	if a.reasoning < a.outputTokens {
		at := fmt.Sprintf(`"item_id":"msg_%s","output_index":%d,"content_index":0`, a.id, r.messageIndex(a))
		all := string(a.appendContent(nil))
		b = r.event(b, a, "response.output_text.done", at+`,"text":`+all)
		b = r.event(b, a, "response.content_part.done", at+`,"part":{"type":"output_text","text":`+all+`,"annotations":[]}`)
		b = r.event(b, a, "response.output_item.done", fmt.Sprintf(`"output_index":%d,"item":%s`, r.messageIndex(a), r.message(a)))
	}
	kind := "response.completed"
	if r.dialect == OpenAI && !a.ends {
		kind = "response.incomplete"
	}
	return r.event(b, a, kind, `"response":`+r.whole(a))
}

// failed appends the last event of a stream that fails.
func (r responses) failed(b []byte, a *answer) []byte {
	return r.event(b, a, "response.failed", `"response":`+r.object(a, "failed", 0))
}

func (responses) messageIndex(a *answer) int { return min(a.reasoning, 1) }

func (r responses) reasoningItem(a *answer, done bool) string {
	content := ""
	if done && r.dialect != OpenAI {
		content = `{"type":"reasoning_text","text":` + string(a.appendReasoning(nil)) + `}`
	}
	return fmt.Sprintf(`{"id":"rs_%s","type":"reasoning","summary":[],"content":[%s]}`, a.id, content)
}

func (responses) message(a *answer) string {
	return fmt.Sprintf(`{"id":"msg_%s","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":%s,"annotations":[]}]}`, a.id, a.appendContent(nil))
}

// whole is the answer when it is whole.
func (r responses) whole(a *answer) string {
	if a.ends {
		return r.object(a, "completed", a.outputTokens)
	}
	return r.object(a, "incomplete", a.outputTokens)
}

// object is the answer with so many tokens, all or none.
func (r responses) object(a *answer, status string, tokens int) string {
	fault, details, output, usage := "null", "null", "", "null"
	switch status {
	case "failed":
		fault = `{"code":"server_error","message":"the simulated engine failed, as it was told to"}`
	case "incomplete":
		details = `{"reason":"max_output_tokens"}`
	}
	if tokens > 0 {
		if a.reasoning > 0 {
			output = r.reasoningItem(a, true)
		}
		if a.reasoning < a.outputTokens {
			if output != "" {
				output += ","
			}
			output += r.message(a)
		}
		usage = fmt.Sprintf(`{"input_tokens":%d,"input_tokens_details":{"cached_tokens":0},"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":%d},"total_tokens":%d}`,
			a.promptTokens, tokens, a.reasoned(tokens), a.promptTokens+tokens)
	}
	return fmt.Sprintf(`{"id":"resp_%s","object":"response","created_at":%d,"status":"%s","error":%s,"incomplete_details":%s,"model":%s,"output":[%s],"usage":%s}`,
		a.id, a.created, status, fault, details, a.model, output, usage)
}
