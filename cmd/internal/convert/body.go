package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
)

// A target is a kind of server: which keys it knows beyond the common ones.
type target struct {
	name     string
	chatMax  string // the key that limits the length of a chat answer
	exact    bool   // knows min_tokens and ignore_eos, by which a length is exact
	sampling bool   // may be told a temperature: OpenAI's reasoning models refuse any
}

// targets are the known ones, the default first. max_tokens is the one name
// that all versions of trtllm-serve, vLLM and SGLang take for both endpoints.
var targets = []target{
	{name: "trtllm", chatMax: "max_tokens", exact: true, sampling: true},
	{name: "vllm", chatMax: "max_tokens", exact: true, sampling: true},
	{name: "sglang", chatMax: "max_tokens", exact: true, sampling: true},
	{name: "openai", chatMax: "max_completion_tokens"},
}

func targetNames() string {
	var names []string
	for _, t := range targets {
		names = append(names, t.name)
	}
	return strings.Join(names, ", ")
}

func findTarget(name string) (target, error) {
	for _, t := range targets {
		if t.name == name {
			return t, nil
		}
	}
	return target{}, fmt.Errorf("--target %q: want %s", name, targetNames())
}

// bodies makes request bodies for one model on one kind of server.
type bodies struct {
	target target
	model  []byte // as a JSON string
	stream bool
	plain  bool // texts are completions, not what a user says in a chat

	paths int64 // of adapters, that did not get into bodies
}

func newBodies(t target, model string, stream, plain bool) (*bodies, error) {
	if !utf8.ValidString(model) {
		return nil, errors.New("--model: not UTF-8")
	}
	var quoted bytes.Buffer
	e := json.NewEncoder(&quoted)
	e.SetEscapeHTML(false)
	if err := e.Encode(model); err != nil {
		return nil, err
	}
	return &bodies{target: t, model: bytes.TrimSpace(quoted.Bytes()), stream: stream, plain: plain}, nil
}

// errNoModel is the fault of a trace that needs a model's name.
var errNoModel = cli.Usagef("--model is needed: the input does not name one, and each body must")

// appendBody appends the body of a row: token ids as a completion, which is
// exact to the token, texts as a chat or a completion, a body as it is.
func (b *bodies) appendBody(dst []byte, row *formats.Request) ([]byte, error) {
	if row.Body != nil {
		return append(dst, row.Body...), nil
	}
	if string(b.model) == `""` {
		return nil, errNoModel
	}
	dst = append(append(dst, `{"model":`...), b.model...)
	limit := "max_tokens"
	switch {
	case row.IDs != nil:
		dst = append(dst, `,"prompt":[`...)
		for i, id := range row.IDs {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = strconv.AppendInt(dst, int64(id), 10)
		}
		dst = append(dst, ']')
	case row.Messages != nil:
		dst = append(append(dst, `,"messages":`...), row.Messages...)
		if row.Tools != nil {
			dst = append(append(dst, `,"tools":`...), row.Tools...)
		}
		limit = b.target.chatMax
	case b.plain:
		dst = append(append(dst, `,"prompt":`...), row.Prompt...)
	default:
		dst = append(append(dst, `,"messages":[{"role":"user","content":`...), row.Prompt...)
		dst = append(dst, `}]`...)
		limit = b.target.chatMax
	}
	if n, ok := row.Timing.OutputTokens.Get(); ok {
		dst = append(append(append(dst, `,"`...), limit...), `":`...)
		dst = strconv.AppendInt(dst, n, 10)
		if b.target.exact {
			dst = strconv.AppendInt(append(dst, `,"min_tokens":`...), n, 10)
			dst = append(dst, `,"ignore_eos":true`...)
		}
	}
	if b.target.sampling {
		dst = append(dst, `,"temperature":0`...)
	}
	if b.stream {
		dst = append(dst, `,"stream":true,"stream_options":{"include_usage":true}`...)
	}
	return append(dst, '}'), nil
}
