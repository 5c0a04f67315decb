// Package openaibatch reads and writes the input of OpenAI's Batch API, which vLLM's
// run-batch and others take too: JSON Lines, one request a line:
//
//	{"custom_id":"r1","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[]}}
//
// All four keys are needed:
//
//	custom_id  string that is not empty: the request's name. That it is the only
//	           one of the file is not checked
//	method     "POST"
//	url        /v1/chat/completions, /v1/completions or /v1/responses; others
//	           (embeddings) are refused
//	body       object of the shape that belongs to the url, kept byte for byte
//
// Other keys are skipped; one of these twice is an error. Bodies of a batch do not
// ask for a stream.
package openaibatch

import (
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats"
	"wattrace/trace"
)

// A Reader reads a batch in memory that depends on its longest line only. It is
// not safe for concurrent use.
type Reader struct {
	lines *trace.LineReader
	buf   []byte
}

// NewReader returns a reader of the batch r. Positions have the given file
// name; "-" is standard input.
func NewReader(r io.Reader, name string) *Reader {
	return &Reader{lines: trace.NewLineReader(r, name)}
}

var keys = []string{"custom_id", "method", "url", "body"}

// Read reads the next request, as formats.RequestReader says.
func (r *Reader) Read(dst *formats.Request) error {
	line, pos, err := r.lines.ReadLine(r.buf)
	r.buf = line
	if err != nil {
		return err
	}
	*dst = formats.Request{Pos: pos}
	var found [4]trace.Member
	err = trace.WalkObject(line, func(m trace.Member) error {
		i := slices.Index(keys, string(m.Name))
		if i < 0 {
			return nil
		}
		if found[i].Value != nil {
			return m.Errorf("%q is there twice", m.Name)
		}
		found[i] = m
		return nil
	})
	if err == nil {
		err = fill(dst, &found)
	}
	if err != nil {
		*dst = formats.Request{Pos: pos}
		return trace.ErrorAt(pos, err)
	}
	return nil
}

func fill(dst *formats.Request, found *[4]trace.Member) (err error) {
	for i := range found {
		if found[i].Value == nil {
			return &trace.ColumnError{Col: 1, Err: fmt.Errorf("%q is missing", keys[i])}
		}
	}
	id, method, url, body := &found[0], &found[1], &found[2], &found[3]
	if id.Value.Kind() != '"' { // a null neither
		return id.Errorf(`"custom_id" must be a string`)
	}
	if dst.Timing.ID, err = id.Text(); err != nil {
		return err
	}
	if string(method.Value) != `"POST"` {
		return method.Errorf(`"method" must be "POST"`)
	}
	endpoint, _ := jsontext.AppendUnquote(nil, url.Value)
	switch trace.Endpoint(endpoint) {
	case trace.Chat, trace.Completions, trace.Responses:
	default:
		return url.Errorf(`"url" must be %s, %s or %s`, trace.Chat, trace.Completions, trace.Responses)
	}
	if body.Value.Kind() != '{' {
		return body.Errorf(`"body" must be an object`)
	}
	shape, err := trace.CheckPayload(body.Value)
	if err != nil {
		return body.Inside(err)
	}
	if shape != trace.Endpoint(endpoint) {
		return body.Errorf(`"body" has the shape of %s`, shape)
	}
	dst.Body = body.Value
	return nil
}
