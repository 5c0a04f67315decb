package sglang

import (
	"errors"
	"io"
	"math"

	"wattrace/formats"
	"wattrace/trace"
)

// defaultTokens is the length of an answer that no key says.
const defaultTokens = 256

// An OpenAIReader reads an openai dataset in memory that depends on its longest
// line only. It is not safe for concurrent use.
type OpenAIReader struct {
	lines *trace.LineReader
	buf   []byte
	extra []byte
	seen  map[string]bool
}

// NewOpenAIReader returns a reader of the dataset r. Positions have the given
// file name; "-" is standard input.
func NewOpenAIReader(r io.Reader, name string) *OpenAIReader {
	return &OpenAIReader{lines: trace.NewLineReader(r, name), seen: map[string]bool{}}
}

// Read reads the next request, as formats.RequestReader says.
func (r *OpenAIReader) Read(dst *formats.Request) error {
	line, pos, err := r.lines.ReadLine(r.buf)
	r.buf = line
	if err != nil {
		return err
	}
	*dst = formats.Request{Pos: pos}
	clear(r.seen)
	r.extra = r.extra[:0]
	err = trace.WalkObject(line, func(m trace.Member) error { return r.member(dst, &m) })
	if err == nil && dst.Messages == nil {
		err = &trace.ColumnError{Col: 1, Err: errors.New(`"messages" is missing`)}
	}
	if err != nil {
		*dst = formats.Request{Pos: pos}
		return trace.ErrorAt(pos, err)
	}
	if !dst.Timing.OutputTokens.OK {
		dst.Timing.OutputTokens = trace.Some[int64](defaultTokens)
	}
	if len(r.extra) > 0 {
		r.extra = append(r.extra, '}')
		dst.Extra = r.extra
	}
	return nil
}

func (r *OpenAIReader) member(dst *formats.Request, m *trace.Member) (err error) {
	name := string(m.Name)
	if r.seen[name] {
		return m.Errorf("a key is there twice")
	}
	r.seen[name] = true
	switch name {
	case "messages":
		if m.Value.Kind() != '[' || len(m.Value) < 3 { // [ ] is for the server to judge
			return m.Errorf(`"messages" must be an array that is not empty`)
		}
		dst.Messages = m.Value
	case "max_tokens":
		dst.Timing.OutputTokens, err = m.Integer(1, math.MaxInt32)
	case "model", "max_completion_tokens", "stream", "stream_options":
	default:
		r.extra = formats.AppendMember(r.extra, m)
	}
	return err
}
