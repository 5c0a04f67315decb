package openaibatch

import (
	"bufio"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats"
	"wattrace/trace"
)

// A Writer writes a batch. What it writes a Reader gives back: the bodies byte for
// byte, and as the request's name its id. A request without an id gets its number, from
// 1, as in "request-7"; one whose id was there before, as the API refuses it, gets
// a number behind it. A writer's memory grows with the ids. It is not safe for concurrent use.
type Writer struct {
	w       *bufio.Writer
	buf     []byte
	seen    map[string]bool
	n       int64
	Renamed int64 // ids that were there before
	Streams int64 // bodies with "stream": true, which the API refuses
}

var _ formats.RequestWriter = (*Writer)(nil)

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: bufio.NewWriterSize(w, 64<<10), seen: map[string]bool{}}
}

// Write writes one request, as formats.RequestWriter says.
func (w *Writer) Write(q *formats.Request) error {
	endpoint, err := trace.CheckPayload(q.Body)
	if err != nil {
		return err
	}
	w.n++
	b := append(w.buf[:0], `{"custom_id":`...)
	if b, err = jsontext.AppendQuote(b, w.name(q.Timing.ID)); err != nil {
		w.n--
		return &trace.ColumnError{Col: 1, Err: err}
	}
	b = append(append(append(b, `,"method":"POST","url":"`...), endpoint...), `","body":`...)
	b = append(append(b, q.Body...), '}', '\n')
	w.buf = b
	if streams(q.Body) {
		w.Streams++
	}
	_, err = w.w.Write(b)
	return err
}

// name returns a custom_id that was not there before.
func (w *Writer) name(id string) string {
	if id == "" {
		id = "request-" + strconv.FormatInt(w.n, 10)
	}
	name := id
	for i := int64(2); w.seen[name]; i++ {
		if i == 2 {
			w.Renamed++
			i = max(i, w.n)
		}
		name = id + "-" + strconv.FormatInt(i, 10)
	}
	w.seen[name] = true
	return name
}

// streams reports whether a body asks for a stream.
func streams(body []byte) (yes bool) {
	trace.WalkObject(body, func(m trace.Member) error { // it is valid
		if string(m.Name) == "stream" {
			yes = m.Value.Kind() == 't'
		}
		return nil
	})
	return yes
}

// Close writes what is left.
func (w *Writer) Close() error { return w.w.Flush() }
