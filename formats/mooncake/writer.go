package mooncake

import (
	"bufio"
	"io"
	"math"
	"strconv"

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
		b = append(jsontext.AppendFloat(append(b, `"timestamp":`...), millis(s), 64), ',')
	}
	if q.Conversation != "" {
		if b, err = jsontext.AppendQuote(append(b, `"session_id":`...), q.Conversation); err != nil {
			return &trace.ColumnError{Col: 1, Err: err}
		}
		b = append(b, ',')
	}
	if s, ok := q.Timing.DelaySeconds.Get(); ok {
		b = append(jsontext.AppendFloat(append(b, `"delay":`...), millis(s), 64), ',')
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

// millis returns the milliseconds that are s seconds when they are divided by 1000, as
// a Reader does; for some s there are none, and then the nearest.
func millis(s float64) float64 {
	ms := s * 1000
	for _, near := range []float64{ms, math.Nextafter(ms, 0), math.Nextafter(ms, math.Inf(1))} {
		if near/1000 == s {
			return near
		}
	}
	return ms
}

// Close writes what is left.
func (w *Writer) Close() error { return w.w.Flush() }
