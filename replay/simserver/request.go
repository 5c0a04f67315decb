package simserver

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// request is what the server understood of a body.
type request struct {
	endpoint        trace.Endpoint
	model           string // as named; "" is not
	stream          bool
	usage           bool // include_usage
	continuousUsage bool
	plain           bool // include_obfuscation is false
	metaInfo        bool // return_meta_info
	native          bool // of SGLang's own endpoint

	promptTokens int
	outputTokens int
	reasoning    int    // so many of the first tokens are reasoning
	tool         string // the function that the rest is a call of; "" is none
	ends         bool   // it ends by itself: the last token is the end of the sequence
	finish       string // finish_reason: "length", "stop" or "tool_calls"
	words        uint64 // decides the words
}

// apiError is an answer that is none.
type apiError struct {
	status  int
	kind    string
	param   string // the key at fault; "" is none
	message string

	code     string // a word, where a dialect has one
	form     bool   // the body is not of the form that it must have
	unknown  bool   // a key is not known
	length   bool   // more tokens than the context holds
	input    string // what was given, where a dialect quotes it
	inStream bool   // it is an event
}

func (e *apiError) Error() string { return e.message }

func badRequest(param, format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, kind: "BadRequestError", param: param, message: fmt.Sprintf(format, args...)}
}

// badForm is a badRequest that a validator finds before anything else looks at
// the body.
func badForm(param, format string, args ...any) *apiError {
	e := badRequest(param, format, args...)
	e.form = true
	return e
}

// tooLong is a badRequest for more tokens than the context holds.
func tooLong(param, format string, args ...any) *apiError {
	e := badRequest(param, format, args...)
	e.length = true
	return e
}

// body holds the members of an object, of equal names the last, as most
// servers do.
type body map[string]trace.Member

func parseBody(data []byte) (body, *apiError) {
	b := body{}
	err := trace.WalkObject(data, func(m trace.Member) error {
		b[string(m.Name)] = m
		return nil
	})
	var at *trace.ColumnError
	if errors.As(err, &at) {
		return nil, badForm("", "byte %d: %v", at.Col, at.Err)
	}
	if err != nil {
		return nil, badForm("", "%v", err)
	}
	return b, nil
}

// check refuses a key that is not among those known; inside is the key that b
// is the value of.
func (b body) check(keys []string, inside string) *apiError {
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if known(keys, name) {
			continue
		}
		e := b.bad(name, "Unknown parameter: '%s'.", inside+name)
		e.param, e.unknown = inside+name, true
		return e
	}
	return nil
}

// has reports whether a key is there and not null, which counts as absent.
func (b body) has(name string) bool {
	m, ok := b[name]
	return ok && m.Value.Kind() != 'n'
}

// bad is badForm for a value that is there.
func (b body) bad(name, format string, args ...any) *apiError {
	e := badForm(name, format, args...)
	e.input = string(b[name].Value)
	return e
}

func (b body) flag(name string) (bool, *apiError) {
	if !b.has(name) {
		return false, nil
	}
	switch b[name].Value.Kind() {
	case 't':
		return true, nil
	case 'f':
		return false, nil
	}
	return false, b.bad(name, "%s must be true or false", name)
}

// count reads a number of tokens; def where it is absent.
func (b body) count(name string, least, def int) (int, *apiError) {
	if !b.has(name) {
		return def, nil
	}
	// Not only 16 is an integer, 16.0 and 1.6e1 are, too.
	v, err := strconv.ParseFloat(string(b[name].Value), 64)
	if b[name].Value.Kind() != '0' || err != nil || v != math.Trunc(v) || math.Abs(v) > math.MaxInt32 {
		return 0, b.bad(name, "%s must be an integer", name)
	}
	if v < float64(least) {
		return 0, b.bad(name, "%s must be at least %d", name, least)
	}
	return int(v), nil
}

// read understands the body of a request.
func (o *Options) read(data []byte, endpoint trace.Endpoint) (*request, *apiError) {
	rules := dialects[o.Dialect].rules()
	b, fault := parseBody(data)
	if fault != nil {
		return nil, fault
	}
	return o.readBodyOf(b, endpoint, rules)
}

func (o *Options) readBodyOf(b body, endpoint trace.Endpoint, rules *rules) (*request, *apiError) {
	if rules.keys != nil {
		if fault := b.check(rules.keys[endpoint], ""); fault != nil {
			return nil, fault
		}
	}
	r := &request{endpoint: endpoint}
	if fault := o.readModel(r, b, rules); fault != nil {
		return nil, fault
	}
	if n, fault := b.count("n", 1, 1); fault != nil {
		return nil, fault
	} else if n != 1 {
		return nil, badRequest("n", "n must be 1: this server makes one answer for each request")
	}
	if fault := r.readStreaming(b, rules); fault != nil {
		return nil, fault
	}
	source, fault := r.readPrompt(b)
	if fault != nil {
		return nil, fault
	}
	r.words = hash(o.Seed, source)
	if fault := o.readLength(r, b, rules); fault != nil {
		return nil, fault
	}
	if endpoint != trace.Completions {
		r.reasoning = min(o.ReasoningTokens, r.outputTokens)
	}
	if fault := r.readTools(b); fault != nil {
		return nil, fault
	}
	return r, nil
}

func (o *Options) readModel(r *request, b body, rules *rules) *apiError {
	if !b.has("model") {
		if rules.needModel {
			return badForm("model", "model is missing")
		}
		return nil // the one model serves then
	}
	if b["model"].Value.Kind() != '"' {
		return b.bad("model", "model must be a string")
	}
	r.model = string(unquote(b["model"].Value))
	if r.model != o.Model && !o.AnyModel && !rules.anyModel {
		return &apiError{status: http.StatusNotFound, kind: "NotFoundError", param: "model", message: fmt.Sprintf("The model `%s` does not exist.", r.model)}
	}
	return nil
}

func (r *request) readStreaming(b body, rules *rules) (fault *apiError) {
	if r.stream, fault = b.flag("stream"); fault != nil {
		return fault
	}
	if r.metaInfo, fault = b.flag("return_meta_info"); fault != nil {
		return fault
	}
	if !b.has("stream_options") {
		return nil
	}
	if !r.stream {
		return badForm("stream_options", "stream_options can only be given when stream is true")
	}
	options := body{}
	err := trace.WalkObject(b["stream_options"].Value, func(m trace.Member) error {
		options[string(m.Name)] = m
		return nil
	})
	if err != nil {
		return badForm("stream_options", "stream_options must be an object")
	}
	if fault := options.check(rules.streamed, "stream_options."); fault != nil {
		return fault
	}
	if r.usage, fault = options.flag("include_usage"); fault != nil {
		return fault
	}
	if !options.has("include_usage") {
		r.usage = rules.usage
	}
	if r.continuousUsage, fault = options.flag("continuous_usage_stats"); fault != nil {
		return fault
	}
	r.continuousUsage = r.continuousUsage && r.usage
	padded, fault := options.flag("include_obfuscation")
	r.plain = options.has("include_obfuscation") && !padded
	return fault
}

// readPrompt counts the tokens of the prompt and returns its source, which
// decides the words of the answer.
func (r *request) readPrompt(b body) (source []byte, fault *apiError) {
	key, count := "prompt", countPrompt
	switch r.endpoint {
	case trace.Chat:
		key, count = "messages", countMessages
	case trace.Responses:
		key, count = "input", countInput
	}
	if !b.has(key) {
		return nil, badForm(key, "%s is missing", key)
	}
	n, err := count(b[key].Value)
	if err != nil {
		e := badRequest(key, "%s: %v", key, err)
		e.input = string(b[key].Value)
		return nil, e
	}
	if r.endpoint == trace.Responses && b.has("instructions") && b["instructions"].Value.Kind() == '"' {
		n += tokensPerMessage + textTokens(unquote(b["instructions"].Value))
	}
	r.promptTokens = n
	return b[key].Value, nil
}

// lengthKey returns the key that bounds the answer.
func (r *request) lengthKey(b body) string {
	switch {
	case r.endpoint == trace.Responses:
		return "max_output_tokens"
	case r.endpoint == trace.Chat && b.has("max_completion_tokens"):
		return "max_completion_tokens"
	}
	return "max_tokens"
}

// readLength decides how long the answer will be and why it ends.
func (o *Options) readLength(r *request, b body, rules *rules) *apiError {
	if r.promptTokens >= o.MaxContext {
		return tooLong("", "the prompt has %d tokens, the context of the model %d", r.promptTokens, o.MaxContext)
	}
	room := o.MaxContext - r.promptTokens
	longest := room
	if r.endpoint == trace.Completions && rules.completion > 0 {
		longest = rules.completion
	}
	key := r.lengthKey(b)
	longest, fault := b.count(key, 1, longest)
	if fault != nil {
		return fault
	}
	if rules.clamps {
		longest = min(longest, room)
	}
	if longest > room {
		return tooLong(key, "the prompt has %d tokens and the answer may have %d, the context of the model %d",
			r.promptTokens, longest, o.MaxContext)
	}
	shortest, fault := b.count("min_tokens", 0, 0)
	if fault != nil {
		return fault
	}
	if shortest > longest {
		return badRequest("min_tokens", "min_tokens must be at most %s, which is %d", key, longest)
	}
	endless, fault := b.flag("ignore_eos")
	if fault != nil {
		return fault
	}
	r.outputTokens, r.finish = longest, "length"
	if own := max(naturalLength(r.words), shortest); !endless && own < longest {
		r.outputTokens, r.finish, r.ends = own, "stop", true
	}
	return nil
}

// readTools decides whether the answer is a call: where tool_choice asks for
// one. Left to choose, the simulated model writes text.
func (r *request) readTools(b body) *apiError {
	if r.endpoint != trace.Chat || !b.has("tools") || !b.has("tool_choice") || r.reasoning >= r.outputTokens {
		return nil
	}
	name := functionName(b["tool_choice"].Value)
	if string(b["tool_choice"].Value) == `"required"` {
		if tools, err := elements(b["tools"].Value); err == nil && len(tools) > 0 {
			name = functionName(tools[0])
		}
		if name == "" {
			return badForm("tools", "tools has no function with a name")
		}
	}
	if name == "" {
		return nil
	}
	r.tool = name
	if r.ends {
		r.finish = "tool_calls"
	}
	return nil
}

// functionName returns the name of {"type":"function","function":{"name":...}};
// "" where v is something else.
func functionName(v jsontext.Value) (name string) {
	if v.Kind() != '{' {
		return ""
	}
	trace.WalkObject(v, func(m trace.Member) error {
		if string(m.Name) != "function" || m.Value.Kind() != '{' {
			return nil
		}
		return trace.WalkObject(m.Value, func(m trace.Member) error {
			if string(m.Name) == "name" && m.Value.Kind() == '"' {
				name = string(unquote(m.Value))
			}
			return nil
		})
	})
	return name
}

// naturalLength draws after how many tokens an answer ends by itself: 2 to
// 511, evenly, the last of them the end of the sequence.
func naturalLength(words uint64) int { return 2 + int(mix(words)%510) }

// hash mixes the seed and the prompt into one number.
func hash(seed uint64, source []byte) uint64 {
	h := fnv.New64a()
	h.Write(strconv.AppendUint(nil, seed, 10))
	h.Write([]byte{0})
	h.Write(source)
	return h.Sum64()
}

// mix spreads the bits of a number: the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unquote returns the text of a valid JSON string.
func unquote(v jsontext.Value) []byte {
	text, _ := jsontext.AppendUnquote(nil, v) // fails on lone surrogates, which become U+FFFD
	return bytes.ToValidUTF8(text, []byte("\ufffd"))
}
