package perfmetrics

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"wattrace/formats/elements"
	"wattrace/formats/pyjson"
	"wattrace/trace"
)

// Reader reads requests. It is not safe for concurrent use.
type Reader struct {
	// Anchor is the instant, in nanoseconds since the boot, that all others are relative to.
	Anchor int64

	elements *elements.Reader
	buf      []byte
	pos      trace.Pos
	seq      int64
	metrics  []byte
	rec      record
}

// record is the times of a request, in nanoseconds; 0 is unknown.
type record struct {
	id             string
	arrival, first int64 // of the disaggregated server
	own, ctx, gen  times
	parts          []part
}

// part is what is kept of a server's metrics.
type part struct {
	name  string
	value []byte
}

type times struct {
	there                              bool
	serverArrival, arrival             int64
	firstToken, serverFirst, lastToken int64
}

// NewReader returns a Reader of r; name is the file's, for messages.
func NewReader(r io.Reader, name string) *Reader {
	return &Reader{elements: elements.NewReader(pyjson.NewReader(r), name, "")}
}

// Read reads the next request into q, whose metrics are valid until the next call. The
// error is io.EOF at the end, and otherwise final.
func (r *Reader) Read(q *trace.Request) (err error) {
	r.buf, r.pos, err = r.elements.Read(r.buf)
	if err != nil {
		return err
	}
	if err = r.rec.parse(r.buf); err == nil {
		err = r.request(q)
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
	*r = record{parts: r.parts[:0]}
	return trace.WalkObject(element, func(m trace.Member) (err error) {
		switch string(m.Name) {
		case "request_id":
			r.id = string(m.Value)
		case "disagg_server_arrival_time":
			r.arrival, err = instant(m)
		case "disagg_server_first_token_time":
			r.first, err = instant(m)
		case "perf_metrics":
			return r.metrics(m, &r.own)
		case "ctx_perf_metrics":
			return r.server(m, &r.ctx)
		case "gen_perf_metrics":
			return r.server(m, &r.gen)
		}
		return err
	})
}

// server takes what one of two servers says.
func (r *record) server(m trace.Member, t *times) error {
	if m.Value.Kind() != '{' {
		return nil
	}
	return m.Inside(trace.WalkObject(m.Value, func(inner trace.Member) error {
		if string(inner.Name) == "perf_metrics" {
			inner.Name = m.Name
			return r.metrics(inner, t)
		}
		return nil
	}))
}

// metrics takes perf_metrics, and keeps it under its name.
func (r *record) metrics(m trace.Member, t *times) error {
	if m.Value.Kind() != '{' {
		return nil
	}
	r.parts = append(r.parts, part{string(m.Name), m.Value})
	return m.Inside(trace.WalkObject(m.Value, func(inner trace.Member) error {
		if string(inner.Name) != "timing_metrics" || inner.Value.Kind() != '{' {
			return nil
		}
		t.there = true
		return inner.Inside(trace.WalkObject(inner.Value, func(time trace.Member) error {
			into := map[string]*int64{
				"server_arrival_time": &t.serverArrival, "arrival_time": &t.arrival, "first_token_time": &t.firstToken,
				"server_first_token_time": &t.serverFirst, "last_token_time": &t.lastToken,
			}[string(time.Name)]
			if into == nil {
				return nil
			}
			var err error
			*into, err = instant(time)
			return err
		}))
	}))
}

// maxSeconds bounds instants: 31 years since a boot.
const maxSeconds = 1e9

// instant reads seconds as nanoseconds; 0 is unknown.
func instant(m trace.Member) (int64, error) {
	switch m.Value.Kind() {
	case 'n':
		return 0, nil
	case '"':
		if len(m.Value) == 2 { // NaN, see package pyjson
			return 0, nil
		}
	case '0':
		v, err := strconv.ParseFloat(string(m.Value), 64)
		if err != nil || math.Abs(v) > maxSeconds {
			return 0, m.Errorf("%s is out of range", m.Name)
		}
		return max(0, int64(math.Round(v*1e9))), nil
	}
	return 0, m.Errorf("%s must be a number", m.Name)
}

func (r *Reader) request(q *trace.Request) error {
	fault := func(what string) error { return &trace.ColumnError{Col: 1, Err: errors.New(what)} }
	*q = trace.Request{Outcome: trace.Succeeded}
	rec := &r.rec
	before, after := rec.own, rec.own
	if rec.ctx.there || rec.gen.there {
		before, after = rec.ctx, rec.gen
		if !before.there {
			before = after
		}
		if !after.there {
			after = before
		}
	}
	if !before.there {
		return fault("not a record of perf_metrics: it has no timing_metrics")
	}
	sent := cmp.Or(rec.arrival, before.serverArrival, before.arrival)
	first := cmp.Or(rec.first, before.serverFirst, before.firstToken)
	last := after.lastToken
	switch {
	case sent == 0:
		return fault("the record does not say when the request arrived")
	case last == 0:
		return fault("the record does not say when the last token came")
	case last < sent:
		return fault("the last token comes before the request")
	case first != 0 && first < sent:
		return fault("the first token comes before the request")
	}
	// A first token is stamped where it leaves the server, which may be after the last of
	// an answer of one was made.
	end := max(last, first)
	q.Sent, q.LastToken = trace.Time(sent-r.Anchor), trace.Some(trace.Time(end-r.Anchor))
	q.Scheduled, q.Done = q.Sent, q.LastToken.V
	if first != 0 {
		q.FirstToken = trace.Some(trace.Time(first - r.Anchor))
	}
	r.metrics = append(r.metrics[:0], '{')
	for i, p := range rec.parts {
		if i > 0 {
			r.metrics = append(r.metrics, ',')
		}
		r.metrics = append(r.metrics, `"`+p.name+`":`...)
		r.metrics = append(r.metrics, p.value...)
	}
	r.metrics = append(r.metrics, '}')
	q.ServerMetrics = r.metrics
	return nil
}

// Log is what the file says as a whole.
type Log struct {
	First    int64 // the first arrival, in nanoseconds since the boot
	Length   trace.Time
	Requests int64
}

// Survey reads the file once. A request whose id comes twice is an error, for which the
// ids are held.
func Survey(r io.Reader, name string) (*Log, error) {
	rd := NewReader(r, name)
	l := &Log{First: math.MaxInt64}
	last := int64(0)
	seen := map[string]int64{}
	var q trace.Request
	for {
		err := rd.Read(&q)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if id := rd.rec.id; id != "" && id != "null" {
			if before, twice := seen[id]; twice {
				return nil, &trace.SyntaxError{Pos: rd.pos, Err: fmt.Errorf("the request (request_id) was read before, as number %d", before)}
			}
			seen[id] = q.Line
		}
		l.First, last = min(l.First, int64(q.Sent)), max(last, int64(q.Done))
		l.Requests++
	}
	if l.Requests == 0 {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: errors.New("the file holds no request of trtllm-serve")}
	}
	l.Length = trace.Time(last - l.First)
	return l, nil
}
