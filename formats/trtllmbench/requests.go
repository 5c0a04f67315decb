package trtllmbench

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"wattrace/formats/elements"
	"wattrace/formats/pyjson"
	"wattrace/trace"
)

// Reader reads the records of --request_json. It is not safe for concurrent use.
type Reader struct {
	// Anchor is the instant, in nanoseconds since the boot, that all others are relative to.
	Anchor int64

	elements *elements.Reader
	buf      []byte
	pos      trace.Pos
	seq      int64
	rec      record
}

// record is a record as it stands.
type record struct {
	id, input, output, older, count, errors trace.Opt[int64]
	start, first, end                       trace.Opt[int64]
}

// NewReader returns a Reader of r; name is the file's, for messages.
func NewReader(r io.Reader, name string) *Reader {
	return &Reader{elements: elements.NewReader(pyjson.NewReader(r), name, "")}
}

// Bounds of what is read.
const (
	maxInstant = 1<<61 - 1
	maxTokens  = 1 << 31
)

// Read reads the next request into q. The error is io.EOF at the end, and otherwise final.
func (r *Reader) Read(q *trace.Request) (err error) {
	r.buf, r.pos, err = r.elements.Read(r.buf)
	if err != nil {
		return err
	}
	if err = r.rec.parse(r.buf); err == nil {
		err = r.rec.request(q, r.Anchor)
	}
	if err != nil {
		return elements.ErrorAt(r.pos, r.buf, err)
	}
	q.Seq = r.seq
	r.seq++
	q.Line = r.seq
	return nil
}

func (r *record) parse(element []byte) error {
	*r = record{}
	return trace.WalkObject(element, func(m trace.Member) (err error) {
		switch string(m.Name) {
		case "id":
			r.id, err = m.Integer(math.MinInt64, math.MaxInt64)
		case "num_input_tokens":
			r.input, err = m.Integer(-1, maxTokens)
		case "num_total_output_tokens":
			r.output, err = m.Integer(0, maxTokens)
		case "num_output_tokens":
			r.older, err = m.Integer(0, maxTokens)
		case "output_tokens":
			if m.Value.Kind() == '0' {
				r.count, err = m.Integer(0, maxTokens)
			}
		case "error_tokens":
			r.errors, err = m.Integer(0, maxTokens)
		case "start_timestamp":
			r.start, err = m.Integer(-1, maxInstant)
		case "first_token_timestamp":
			r.first, err = m.Integer(-1, maxInstant)
		case "end_timestamp":
			r.end, err = m.Integer(-1, maxInstant)
		}
		return err
	})
}

func (r *record) request(q *trace.Request, anchor int64) error {
	fault := func(format string, args ...any) error {
		return &trace.ColumnError{Col: 1, Err: fmt.Errorf(format, args...)}
	}
	*q = trace.Request{Outcome: trace.Succeeded}
	if r.start.Or(-1) <= 0 || r.end.Or(-1) <= 0 {
		return fault("the record lacks start_timestamp or end_timestamp")
	}
	if r.end.V < r.start.V {
		return fault("the request ends before it is sent")
	}
	q.Sent, q.Done = trace.Time(r.start.V-anchor), trace.Time(r.end.V-anchor)
	q.Scheduled = q.Sent
	if r.input.V >= 0 {
		q.InputTokens = r.input
	}
	if r.errors.V > 0 {
		q.Outcome, q.Error.Class = trace.Failed, trace.ErrBody
		q.Error.Message = "the engine said so of " + strconv.FormatInt(r.errors.V, 10) + " responses"
		return nil
	}
	for _, n := range []trace.Opt[int64]{r.output, r.older, r.count} {
		if n.OK {
			q.OutputTokens, q.TokenSource = n, trace.FromUsage
			break
		}
	}
	if r.first.Or(-1) > 0 {
		if r.first.V < r.start.V || r.first.V > r.end.V {
			return fault("the first token is not between the start and the end of the request")
		}
		q.FirstToken = trace.Some(trace.Time(r.first.V - anchor))
	}
	q.LastToken = trace.Some(q.Done)
	return nil
}

// Log is what the file says as a whole.
type Log struct {
	First    int64 // the first start, in nanoseconds since the boot
	Length   trace.Time
	Requests int64
	Failed   int64
}

// Survey reads the file once. The ids of all requests are held, some 40 bytes each.
func Survey(r io.Reader, name string) (*Log, error) {
	rd := NewReader(r, name)
	l := &Log{First: maxInstant}
	last := int64(0)
	seen := map[int64]int64{}
	var q trace.Request
	for {
		err := rd.Read(&q)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if id, ok := rd.rec.id.Get(); ok && id != -1 {
			if before, twice := seen[id]; twice {
				return nil, &trace.SyntaxError{Pos: rd.pos, Err: fmt.Errorf("the request (id) was read before, as number %d", before)}
			}
			seen[id] = q.Line
		}
		l.First, last = min(l.First, int64(q.Sent)), max(last, int64(q.Done))
		l.Requests++
		if q.Outcome == trace.Failed {
			l.Failed++
		}
	}
	if l.Requests == 0 {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: errors.New("the file holds no request of trtllm-bench")}
	}
	l.Length = trace.Time(last - l.First)
	return l, nil
}
