package bodies

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

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

// Targets returns the names of the kinds of servers that bodies can be made for, the one
// that Options take for "" first.
func Targets() (names []string) {
	for _, t := range targets {
		names = append(names, t.name)
	}
	return names
}

func findTarget(name string) (target, error) {
	for _, t := range targets {
		if t.name == name {
			return t, nil
		}
	}
	return target{}, fmt.Errorf("unknown target %q (%s)", name, strings.Join(Targets(), ", "))
}

// ErrNoModel is the fault of Options without a model, where the trace does not name one.
var ErrNoModel = errors.New("--model is needed: the input does not name one, and each body must")

// appendBody appends the body of a row: token ids as a completion, which is
// exact to the token, texts as a chat or a completion, a body as it is.
func (b *Maker) appendBody(dst []byte, row *formats.Request) ([]byte, error) {
	if row.Body != nil {
		return append(dst, row.Body...), nil
	}
	if string(b.model) == `""` {
		return nil, ErrNoModel
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
