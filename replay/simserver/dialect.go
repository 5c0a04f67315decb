package simserver

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// Dialect names a server whose manners are followed: what it spells how, what
// it refuses, and which pages it has.
type Dialect string

// The dialects, each as its main branch was in 2026. Where a comment says what a
// server does it names the file of its source; (K) marks what is common knowledge
// of that server and was not read in its source.
const (
	VLLM   Dialect = "vllm"   // vLLM
	SGLang Dialect = "sglang" // SGLang
	TRTLLM Dialect = "trtllm" // TensorRT-LLM's trtllm-serve
	OpenAI Dialect = "openai" // OpenAI's own service, and servers that add nothing to it
)

// dialects holds the manners of each dialect.
var dialects = map[Dialect]dialect{VLLM: vllm{}, SGLang: sglang{}, TRTLLM: trtllm{}, OpenAI: openai{}}

// Dialects lists all dialects.
func Dialects() []Dialect { return []Dialect{VLLM, SGLang, TRTLLM, OpenAI} }

func dialectNames() string {
	var names []string
	for _, d := range Dialects() {
		names = append(names, string(d))
	}
	return strings.Join(names, ", ")
}

// dialect spells answers. Each method appends to b and returns it; words need
// no escaping.
type dialect interface {
	rules() *rules
	// role appends the event that opens a streamed chat.
	role(b []byte, a *answer) []byte
	// token appends the event of token i, if it has one.
	token(b []byte, a *answer, i int) []byte
	// finish appends what stands between the last token and the counts.
	finish(b []byte, a *answer) []byte
	// usage appends the event with the counts.
	usage(b []byte, a *answer) []byte
	// whole appends an answer that is not streamed.
	whole(b []byte, a *answer) []byte
	// fault appends the body of an error.
	fault(b []byte, e *apiError) []byte
	// models appends the list of the one model.
	models(b []byte, o *Options, created int64) []byte
}

// rules are the manners of a dialect beside its spelling.
type rules struct {
	keys      map[trace.Endpoint][]string // the keys of a body it takes; nil: it ignores those it does not know
	streamed  []string                    // the same of stream_options
	needModel bool                        // a body must name a model
	anyModel  bool                        // it may be any, and answers repeat it
	unnamed   string                      // what they say where it may be any and none was named

	completion int  // max_tokens of a completion without it; 0 is the rest of the context
	clamps     bool // more max_tokens than fit are lowered instead of refused
	usage      bool // include_usage where stream_options is there without it

	plainIDs  bool      // ids have no prefix
	full      *apiError // what a full queue answers; nil: it has no limit
	fullEvent bool      // a stream is told so by an event, after 200
	broken    *apiError // what an answer that fails is answered
	cut       bool      // a stream that fails is cut, without an event
	stops     bool      // [DONE] does not follow an event that is an error

	routes map[string]func(*Server, http.ResponseWriter, *http.Request)
}

// known reports whether a key is among those that are taken.
func known(keys []string, name string) bool { return keys == nil || slices.Contains(keys, name) }

// answer is what a dialect spells.
type answer struct {
	*request
	id      string
	created int64  // Unix seconds
	model   []byte // as a JSON string
	opt     *Options
	seq     *sequence
	fails   bool // it breaks off before its last token
	number  uint64
	events  int // of a response: how many were sent
}

// last reports whether token i is the last one.
func (a *answer) last(i int) bool { return i == a.outputTokens-1 }

// silent reports whether token i has no text: the end of the sequence, which a
// server does not show.
func (a *answer) silent(i int) bool { return a.last(i) && a.ends }

// part is what a token belongs to.
type part int

const (
	text part = iota
	reasoning
	toolCall
)

// part returns what token i belongs to: reasoning comes first, then either text
// or a call.
func (a *answer) part(i int) part {
	switch {
	case i < a.reasoning:
		return reasoning
	case a.tool != "":
		return toolCall
	}
	return text
}

// appendText appends token i as a JSON string. The first one of a part has no
// space before it.
func (a *answer) appendText(b []byte, i int) []byte {
	b = append(b, '"')
	if !a.silent(i) {
		b = a.appendWord(b, i)
	}
	return append(b, '"')
}

func (a *answer) appendWord(b []byte, i int) []byte {
	return appendWord(b, a.words, i, i == 0 || i == a.reasoning)
}

// appendAll appends the text of tokens from to to-1 as a JSON string.
func (a *answer) appendAll(b []byte, from, to int) []byte {
	b = append(b, '"')
	for i := from; i < to; i++ {
		if !a.silent(i) {
			b = a.appendWord(b, i)
		}
	}
	return append(b, '"')
}

func (a *answer) appendReasoning(b []byte) []byte {
	return a.appendAll(b, 0, min(a.reasoning, a.outputTokens))
}

// appendContent appends the text after the reasoning, which a call has not.
func (a *answer) appendContent(b []byte) []byte {
	if a.tool != "" {
		return append(b, `""`...)
	}
	return a.appendAll(b, min(a.reasoning, a.outputTokens), a.outputTokens)
}

// named reports whether token i is the one that names the function of a call;
// those after it are its arguments.
func (a *answer) named(i int) bool { return i == a.reasoning }

// appendPiece appends what token i adds to the arguments of a call, as a JSON
// string. All pieces together are {"text":"..."}, unless the answer is cut.
func (a *answer) appendPiece(b []byte, i int) []byte {
	b = append(b, '"')
	b = a.appendPieceInside(b, i)
	return append(b, '"')
}

func (a *answer) appendPieceInside(b []byte, i int) []byte {
	if a.named(i) {
		return b
	}
	first := i == a.reasoning+1
	if first {
		b = append(b, `{\"text\":\"`...)
	}
	if a.silent(i) {
		return append(b, `\"}`...)
	}
	return appendWord(b, a.words, i, first)
}

// appendArguments appends all arguments of a call as a JSON string.
func (a *answer) appendArguments(b []byte) []byte {
	b = append(b, '"')
	for i := a.reasoning; i < a.outputTokens; i++ {
		b = a.appendPieceInside(b, i)
	}
	return append(b, '"')
}

// callID returns the id of a call.
func (a *answer) callID(prefix string) string { return prefix + a.id[len(a.id)-24:] }

// open appends the beginning of an object of the OpenAI kind.
func open(b []byte, a *answer, object string) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, a.id...)
	b = append(b, `","object":"`...)
	b = append(b, object...)
	b = append(b, `","created":`...)
	b = strconv.AppendInt(b, a.created, 10)
	b = append(b, `,"model":`...)
	return append(b, a.model...)
}

// event appends the beginning of an event up to its choices.
func event(b []byte, a *answer) []byte {
	object := "text_completion"
	if a.endpoint == trace.Chat {
		object = "chat.completion.chunk"
	}
	return append(open(append(b, "data: "...), a, object), `,"choices":[`...)
}

// appendFinish appends the finish reason as it is with token i.
func appendFinish(b []byte, a *answer, i int) []byte {
	if !a.last(i) {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = append(b, a.finish...)
	return append(b, '"')
}

// appendNumber appends a member of an object, the comma first.
func appendNumber(b []byte, name string, n int) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return strconv.AppendInt(b, int64(n), 10)
}

// appendCounts appends the three counts that all dialects have, without the
// closing brace: after so many tokens of the answer.
func appendCounts(b []byte, a *answer, tokens int) []byte {
	b = append(b, `,"usage":{"prompt_tokens":`...)
	b = strconv.AppendInt(b, int64(a.promptTokens), 10)
	b = appendNumber(b, "total_tokens", a.promptTokens+tokens)
	return appendNumber(b, "completion_tokens", tokens)
}

// reasoned returns how many of the first tokens are reasoning.
func (a *answer) reasoned(tokens int) int { return min(tokens, a.reasoning) }

// flatFault appends an error as older servers spell it, and SGLang and
// trtllm-serve still do.
func flatFault(b []byte, e *apiError, kind string) []byte {
	b = append(b, `{"object":"error","message":`...)
	b = appendJSONString(b, e.message)
	b = append(b, `,"type":`...)
	b = appendJSONString(b, kind)
	b = append(b, `,"param":`...)
	b = appendParam(b, e.param)
	b = appendNumber(b, "code", e.status)
	return append(b, '}')
}

func appendParam(b []byte, param string) []byte {
	if param == "" {
		return append(b, "null"...)
	}
	return appendJSONString(b, param)
}

// appendModel appends the list of one model; more is what follows the owner.
func appendModel(b []byte, o *Options, created int64, more string) []byte {
	b = append(b, `{"object":"list","data":[{"id":`...)
	b = appendJSONString(b, o.Model)
	b = append(b, `,"object":"model","created":`...)
	b = strconv.AppendInt(b, created, 10)
	b = append(b, `,"owned_by":"wattrace simulated"`...)
	b = append(b, more...)
	return append(b, "}]}"...)
}

// rooted is what vLLM and SGLang say of a model beside OpenAI's keys.
func rooted(o *Options) string {
	return fmt.Sprintf(`,"root":%s,"parent":null,"max_model_len":%d`, appendJSONString(nil, o.Model), o.MaxContext)
}

// appendJSONString appends valid UTF-8 as a JSON string.
func appendJSONString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // fails on invalid UTF-8 only, which it replaces
	return b
}
