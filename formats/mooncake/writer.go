package mooncake

import (
	"bufio"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats"
	"wattrace/trace"
)

// A Writer writes requests as rows with a payload, the form of aiperf's
// mooncake_trace that keeps bodies as they are:
//
//	{"timestamp":1250,"session_id":"a","delay":500,"output_length":128,"payload":{...}}
//
// aiperf takes no input_length beside a payload, so that this is lost, and so is the
// request's name. It is not safe for concurrent use.
type Writer struct {
	w   *bufio.Writer
	buf []byte
}

var _ formats.RequestWriter = (*Writer)(nil)

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 64<<10)} }

// Write writes one request, as formats.RequestWriter says.
func (w *Writer) Write(q *formats.Request) (err error) {
	if _, err := trace.CheckPayload(q.Body); err != nil {
		return err
	}
	b := append(w.buf[:0], '{')
	if s, ok := q.Timing.AtSeconds.Get(); ok {
		b = append(appendMillis(append(b, `"timestamp":`...), s), ',')
	}
	if q.Conversation != "" {
		if b, err = jsontext.AppendQuote(append(b, `"session_id":`...), q.Conversation); err != nil {
			return &trace.ColumnError{Col: 1, Err: err}
		}
		b = append(b, ',')
	}
	if s, ok := q.Timing.DelaySeconds.Get(); ok {
		b = append(appendMillis(append(b, `"delay":`...), s), ',')
	}
	// 0 tokens, and more than any answer has, are no output_length.
	if n, ok := q.Timing.OutputTokens.Get(); ok && n >= 1 && n <= math.MaxInt32 {
		b = append(strconv.AppendInt(append(b, `"output_length":`...), n, 10), ',')
	}
	b = append(append(append(b, `"payload":`...), q.Body...), '}', '\n')
	w.buf = b
	_, err = w.w.Write(b)
	return err
}

// appendMillis appends the milliseconds that are s seconds: the shortest decimal of s
// with its point moved, so that a Reader gives the same double back.
func appendMillis(dst []byte, s float64) []byte {
	whole, part, _ := strings.Cut(strconv.FormatFloat(s, 'f', -1, 64), ".")
	part += strings.Repeat("0", max(3-len(part), 0))
	whole = strings.TrimLeft(whole+part[:3], "0")
	if whole == "" {
		whole = "0"
	}
	dst = append(dst, whole...)
	if part = part[3:]; part != "" {
		dst = append(append(dst, '.'), part...)
	}
	return dst
}

// Close writes what is left.
func (w *Writer) Close() error { return w.w.Flush() }
