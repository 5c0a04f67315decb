package trtllm

import (
	"errors"
	"io"

	"wattrace/formats"
	"wattrace/trace"
)

// A CustomReader reads a trtllm_custom dataset in memory that depends on its
// longest line only. It is not safe for concurrent use.
type CustomReader struct {
	lines *trace.LineReader
	buf   []byte
}

// NewCustomReader returns a reader of the dataset r. Positions have the given
// file name; "-" is standard input.
func NewCustomReader(r io.Reader, name string) *CustomReader {
	return &CustomReader{lines: trace.NewLineReader(r, name)}
}

// Read reads the next request, as formats.RequestReader says.
func (r *CustomReader) Read(dst *formats.Request) error {
	line, pos, err := r.lines.ReadLine(r.buf)
	r.buf = line
	if err != nil {
		return err
	}
	*dst = formats.Request{Pos: pos, Bare: true}
	err = trace.WalkObject(line, func(m trace.Member) error {
		if string(m.Name) != "input" {
			return nil
		}
		if dst.Body != nil {
			return m.Errorf(`"input" is there twice`)
		}
		shape, err := trace.CheckPayload(m.Value)
		switch {
		case err != nil:
			return m.Inside(err)
		case shape != trace.Chat:
			return m.Errorf(`"input" has no "messages"`)
		}
		dst.Body = m.Value
		return nil
	})
	if err == nil && dst.Body == nil {
		err = &trace.ColumnError{Col: 1, Err: errors.New(`"input" is missing`)}
	}
	if err != nil {
		*dst = formats.Request{Pos: pos}
		return trace.ErrorAt(pos, err)
	}
	return nil
}
