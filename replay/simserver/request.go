package simserver

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// request is what the server understood of a body.
type request struct {
	chat            bool
	stream          bool
	usage           bool // include_usage
	continuousUsage bool

	promptTokens int
	outputTokens int
	finish       string // finish_reason: "length" or "stop"
	words        uint64 // decides the words
}

// apiError is an answer that is none.
type apiError struct {
	status  int
	kind    string
	param   string // the key at fault; "" is none
	message string
}

func (e *apiError) Error() string { return e.message }

func badRequest(param, format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, "BadRequestError", param, fmt.Sprintf(format, args...)}
}

// body holds the members of a request that the server heeds; of equal names
// the last, as most servers do.
type body map[string]trace.Member

var heeded = map[string]bool{
	"model": true, "prompt": true, "messages": true, "stream": true, "stream_options": true, "max_tokens": true,
	"max_completion_tokens": true, "min_tokens": true, "ignore_eos": true, "n": true,
}

func parseBody(data []byte) (body, *apiError) {
	b := body{}
	err := trace.WalkObject(data, func(m trace.Member) error {
		if heeded[string(m.Name)] {
			b[string(m.Name)] = m
		}
		return nil
	})
	var at *trace.ColumnError
	if errors.As(err, &at) {
		return nil, badRequest("", "byte %d: %v", at.Col, at.Err)
	}
	if err != nil {
		return nil, badRequest("", "%v", err)
	}
	return b, nil
}

// has reports whether a key is there and not null, which counts as absent.
func (b body) has(name string) bool {
	m, ok := b[name]
	return ok && m.Value.Kind() != 'n'
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
	return false, badRequest(name, "%s must be true or false", name)
}

// count reads a number of tokens; def where it is absent.
func (b body) count(name string, least, def int) (int, *apiError) {
	if !b.has(name) {
		return def, nil
	}
	// Not only 16 is an integer, 16.0 and 1.6e1 are, too.
	v, err := strconv.ParseFloat(string(b[name].Value), 64)
	if b[name].Value.Kind() != '0' || err != nil || v != math.Trunc(v) || math.Abs(v) > math.MaxInt32 {
		return 0, badRequest(name, "%s must be an integer", name)
	}
	if v < float64(least) {
		return 0, badRequest(name, "%s must be at least %d", name, least)
	}
	return int(v), nil
}

// read understands the body of a request.
func (o *Options) read(data []byte, chat bool) (*request, *apiError) {
	b, fault := parseBody(data)
	if fault != nil {
		return nil, fault
	}
	if fault := o.checkModel(b); fault != nil {
		return nil, fault
	}
	if n, fault := b.count("n", 1, 1); fault != nil {
		return nil, fault
	} else if n != 1 {
		return nil, badRequest("n", "n must be 1: this server makes one answer for each request")
	}
	r := &request{chat: chat}
	if fault := r.readStreaming(b); fault != nil {
		return nil, fault
	}
	source, fault := r.readPrompt(b)
	if fault != nil {
		return nil, fault
	}
	r.words = hash(o.Seed, source)
	if fault := o.readLength(r, b); fault != nil {
		return nil, fault
	}
	return r, nil
}

func (o *Options) checkModel(b body) *apiError {
	if !b.has("model") {
		return nil // vLLM serves its one model then
	}
	if b["model"].Value.Kind() != '"' {
		return badRequest("model", "model must be a string")
	}
	if name := unquote(b["model"].Value); string(name) != o.Model && !o.AnyModel {
		return &apiError{http.StatusNotFound, "NotFoundError", "model", fmt.Sprintf("The model `%s` does not exist.", name)}
	}
	return nil
}

func (r *request) readStreaming(b body) (fault *apiError) {
	if r.stream, fault = b.flag("stream"); fault != nil {
		return fault
	}
	if !b.has("stream_options") {
		return nil
	}
	if !r.stream {
		return badRequest("stream_options", "stream_options can only be given when stream is true")
	}
	options := body{}
	err := trace.WalkObject(b["stream_options"].Value, func(m trace.Member) error {
		options[string(m.Name)] = m
		return nil
	})
	if err != nil {
		return badRequest("stream_options", "stream_options must be an object")
	}
	if r.usage, fault = options.flag("include_usage"); fault != nil {
		return fault
	}
	if r.continuousUsage, fault = options.flag("continuous_usage_stats"); fault != nil {
		return fault
	}
	r.continuousUsage = r.continuousUsage && r.usage
	return nil
}

// readPrompt counts the tokens of the prompt and returns its source, which
// decides the words of the answer.
func (r *request) readPrompt(b body) (source []byte, fault *apiError) {
	key, count := "prompt", countPrompt
	if r.chat {
		key, count = "messages", countMessages
	}
	if !b.has(key) {
		return nil, badRequest(key, "%s is missing", key)
	}
	n, err := count(b[key].Value)
	if err != nil {
		return nil, badRequest(key, "%s: %v", key, err)
	}
	r.promptTokens = n
	return b[key].Value, nil
}

// readLength decides how long the answer will be and why it ends.
func (o *Options) readLength(r *request, b body) *apiError {
	if r.promptTokens >= o.MaxContext {
		return badRequest("", "the prompt has %d tokens, the context of the model %d", r.promptTokens, o.MaxContext)
	}
	longest := 16 // OpenAI's and vLLM's default for a completion
	key := "max_tokens"
	if r.chat {
		longest = o.MaxContext - r.promptTokens
		if b.has("max_completion_tokens") {
			key = "max_completion_tokens"
		}
	}
	longest, fault := b.count(key, 1, longest)
	if fault != nil {
		return fault
	}
	if r.promptTokens+longest > o.MaxContext {
		return badRequest(key, "the prompt has %d tokens and the answer may have %d, the context of the model %d",
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
		r.outputTokens, r.finish = own, "stop"
	}
	return nil
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
