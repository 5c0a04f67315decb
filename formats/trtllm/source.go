package trtllm

import (
	"bufio"
	"bytes"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats/elements"
	"wattrace/trace"
)

// A source gives the objects of a dataset, one after the other, whatever holds
// them.
type source interface {
	next(buf []byte) ([]byte, trace.Pos, error)
	errorAt(pos trace.Pos, object []byte, err error) error
	lengthKey() string // what says how many tokens the answer has
}

// look is how much of a dataset is looked at for its form, in bytes.
const look = 64 << 10

// newSource finds out which form a dataset has.
func newSource(r io.Reader, name string) source {
	b := bufio.NewReaderSize(r, look)
	head, _ := b.Peek(look) // an error comes again
	text := bytes.TrimLeft(head, " \t\r\n")
	switch {
	case len(text) > 0 && text[0] == '[':
		return document{elements.NewReader(b, name, "")}
	case isWorkload(text):
		return document{elements.NewReader(b, name, "samples")}
	}
	return lines{trace.NewLineReader(b, name)}
}

// isWorkload reports whether text begins with an object that has samples, or
// would have them behind what is seen of it.
func isWorkload(text []byte) bool {
	d := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if tok, err := d.ReadToken(); err != nil || tok.Kind() != '{' {
		return false
	}
	metadata := false
	for {
		name, err := d.ReadToken()
		if err != nil || name.Kind() != '"' {
			return metadata && err != nil
		}
		switch name.String() {
		case "samples":
			return d.PeekKind() == '['
		case "metadata":
			metadata = true
		case "prompt", "input_ids", "logits", "turns", "output_tokens":
			return false
		}
		if _, err := d.ReadValue(); err != nil {
			return metadata
		}
	}
}

// lines is JSON Lines.
type lines struct{ *trace.LineReader }

func (l lines) next(buf []byte) ([]byte, trace.Pos, error) { return l.ReadLine(buf) }

func (lines) errorAt(pos trace.Pos, _ []byte, err error) error { return trace.ErrorAt(pos, err) }

func (lines) lengthKey() string { return "output_tokens" }

// document is one JSON document.
type document struct{ *elements.Reader }

func (d document) next(buf []byte) ([]byte, trace.Pos, error) { return d.Read(buf) }

func (document) errorAt(pos trace.Pos, object []byte, err error) error {
	return elements.ErrorAt(pos, object, err)
}

func (document) lengthKey() string { return "output_len" }
