package energies

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"wattrace/reduce"
	"wattrace/reduce/attribute"
	"wattrace/trace"
)

// Schema is the schema that this package writes and reads.
const Schema = "wattrace.energies/1"

// Request is one line: which request, and what it had.
type Request struct {
	Run          int // log that it is of, from 0
	Seq          int64
	Line         int64
	Conversation string
	Turn         int
	Phase        string
	Outcome      trace.Outcome
	Energy       reduce.RequestEnergy
}

// Total is the last line.
type Total struct {
	Mode     string // the headline's
	Requests int64  // lines
	attribute.Totals
}

// Writer writes a file. Lines are buffered: Close hands them on. It is not safe for
// concurrent use.
type Writer struct {
	w   *bufio.Writer
	b   []byte
	n   int64
	err error
}

// NewWriter writes the first line of a file.
func NewWriter(w io.Writer, producer string) *Writer {
	e := &Writer{w: bufio.NewWriterSize(w, 64<<10)}
	b := append(e.b, `{"type":"energies","schema":"`+Schema+`","producer":`...)
	e.line(append(appendString(b, producer), '}'))
	return e
}

// Request writes a request.
func (e *Writer) Request(q *Request) {
	e.n++
	b := append(e.b[:0], `{"type":"request","run":`...)
	b = strconv.AppendInt(b, int64(q.Run), 10)
	b = strconv.AppendInt(append(b, `,"seq":`...), q.Seq, 10)
	b = strconv.AppendInt(append(b, `,"line":`...), q.Line, 10)
	if q.Conversation != "" {
		b = appendString(append(b, `,"conversation":`...), q.Conversation)
		b = strconv.AppendInt(append(b, `,"turn":`...), int64(q.Turn), 10)
	}
	b = appendString(append(b, `,"phase":`...), q.Phase)
	b = append(b, `,"outcome":"`+string(q.Outcome)+`",`...)
	s := &q.Energy
	b = stage(b, &attribute.Stage{Energy: s.Energy, Low: s.Low, High: s.High})
	b = append(stage(append(b, `,"prefill":{`...), &s.Prefill), '}')
	b = append(stage(append(b, `,"decode":{`...), &s.Decode), '}')
	b = joules(append(b, `,"by":{`...), "time", s.Time)
	b = joules(append(b, ','), "tokens", s.Tokens)
	if v, ok := s.Fitted.Get(); ok {
		b = joules(append(b, ','), "fitted", v)
	}
	b = append(b, '}')
	if s.Known < 1 {
		b = strconv.AppendFloat(append(b, `,"unknown_share":`...), 1-s.Known, 'g', -1, 64)
	}
	if list := doubts(s); len(list) > 0 {
		b = append(b, `,"doubts":["`+strings.Join(list, `","`)+`"]`...)
	}
	e.line(append(b, '}'))
}

// doubts names what the log did not say.
func doubts(s *reduce.RequestEnergy) (list []string) {
	for _, d := range []struct {
		is   bool
		name string
	}{{s.UnknownCached, "cached_tokens"}, {s.UnknownInput, "input_tokens"}, {s.UnknownStages, "stages"}} {
		if d.is {
			list = append(list, d.name)
		}
	}
	return list
}

// Close writes the last line and hands everything on. It returns the first error of the
// underlying writer.
func (e *Writer) Close(t *attribute.Totals, mode string) error {
	b := append(e.b[:0], `{"type":"total","mode":"`+mode+`","requests":`...)
	b = strconv.AppendInt(b, e.n, 10)
	b = joules(append(b, ','), "total_joules", t.Total)
	b = joules(append(b, ','), "idle_joules", t.Idle)
	b = joules(append(b, ','), "requests_joules", t.Requests)
	b = joules(append(b, ','), "unattributed_joules", t.Unattributed)
	if t.Unknown > 0 {
		b = strconv.AppendFloat(append(b, `,"unknown_seconds":`...), t.Unknown.Seconds(), 'g', -1, 64)
	}
	e.line(append(b, '}'))
	if err := e.w.Flush(); e.err == nil {
		e.err = err
	}
	return e.err
}

func (e *Writer) line(b []byte) {
	e.b = b
	if e.err == nil {
		_, e.err = e.w.Write(append(b, '\n'))
	}
}

// stage appends the keys of a stage.
func stage(b []byte, s *attribute.Stage) []byte {
	b = joules(b, "energy_joules", s.Energy)
	b = joules(append(b, ','), "low_joules", s.Low)
	b = joules(append(b, ','), "high_joules", s.High)
	if s.Modelled {
		b = append(b, `,"modelled":true`...)
	}
	return b
}

// joules appends a key with whole microjoules, in joules and exactly.
func joules(b []byte, key string, microjoules int64) []byte {
	b = append(append(append(b, '"'), key...), `":`...)
	if microjoules < 0 {
		b = append(b, '-')
		microjoules = -microjoules
	}
	b = strconv.AppendInt(b, microjoules/1e6, 10)
	if rest := microjoules % 1e6; rest != 0 {
		b = append(b, '.')
		b = append(b, strings.TrimRight(fmt.Sprintf("%06d", rest), "0")...)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		text = []byte(`""`) // strings always marshal
	}
	return append(b, text...)
}

// ErrCut is the error for a file without its last line.
var ErrCut = errors.New("the file was cut: it has no total line")

// Read reads a file, calling one for each request, and returns its last line. An error
// is a *trace.SyntaxError with the line, wraps ErrCut, or is r's or one's.
func Read(r io.Reader, name string, one func(*Request) error) (Total, error) {
	d := json.NewDecoder(r)
	var total Total
	for line := 1; ; line++ {
		fail := func(err error) (Total, error) {
			return total, &trace.SyntaxError{Pos: trace.Pos{File: name, Line: line}, Err: err}
		}
		var doc lineDoc
		switch err := d.Decode(&doc); {
		case err == io.EOF:
			return fail(ErrCut)
		case err != nil:
			return fail(err)
		case line == 1 && (doc.Type != "energies" || doc.Schema != Schema):
			return fail(fmt.Errorf("want a file of schema %s", Schema))
		case doc.Type == "request":
			q, err := doc.request()
			if err != nil {
				return fail(err)
			}
			if err := one(q); err != nil {
				return total, err
			}
		case doc.Type == "total":
			return doc.total()
		}
	}
}

type lineDoc struct {
	Type, Schema, Conversation, Phase, Mode string
	Run, Turn                               int
	Seq, Line                               int64
	Outcome                                 trace.Outcome
	stageDoc
	Prefill, Decode stageDoc
	By              map[string]json.Number
	UnknownShare    float64 `json:"unknown_share"`
	UnknownSeconds  float64 `json:"unknown_seconds"`
	Doubts          []string
	Requests        int64
	Total           json.Number `json:"total_joules"`
	Idle            json.Number `json:"idle_joules"`
	Attributed      json.Number `json:"requests_joules"`
	Unattributed    json.Number `json:"unattributed_joules"`
}

type stageDoc struct {
	Energy   json.Number `json:"energy_joules"`
	Low      json.Number `json:"low_joules"`
	High     json.Number `json:"high_joules"`
	Modelled bool
}

// reader reads joules, and keeps the first error.
type reader struct{ err error }

// microjoules returns a decimal number of joules as whole microjoules.
func (r *reader) microjoules(n json.Number) int64 {
	whole, rest, _ := strings.Cut(strings.TrimPrefix(n.String(), "-"), ".")
	v, err := strconv.ParseInt(whole+(rest + "000000")[:max(6, len(rest))], 10, 64)
	if err != nil || len(rest) > 6 {
		if r.err == nil {
			r.err = fmt.Errorf("%q is no energy in whole microjoules", n)
		}
		return 0
	}
	if strings.HasPrefix(n.String(), "-") {
		return -v
	}
	return v
}

func (r *reader) stage(s *stageDoc) attribute.Stage {
	return attribute.Stage{Energy: r.microjoules(s.Energy), Low: r.microjoules(s.Low), High: r.microjoules(s.High), Modelled: s.Modelled}
}

func (doc *lineDoc) request() (*Request, error) {
	var r reader
	q := &Request{Run: doc.Run, Seq: doc.Seq, Line: doc.Line, Conversation: doc.Conversation, Turn: doc.Turn, Phase: doc.Phase, Outcome: doc.Outcome}
	all := r.stage(&doc.stageDoc)
	q.Energy = reduce.RequestEnergy{
		Energy: all.Energy, Low: all.Low, High: all.High, Prefill: r.stage(&doc.Prefill), Decode: r.stage(&doc.Decode),
		Time: r.microjoules(doc.By["time"]), Tokens: r.microjoules(doc.By["tokens"]), Known: 1 - doc.UnknownShare,
	}
	if v, ok := doc.By["fitted"]; ok {
		q.Energy.Fitted = trace.Some(r.microjoules(v))
	}
	for _, d := range doc.Doubts {
		switch d {
		case "cached_tokens":
			q.Energy.UnknownCached = true
		case "input_tokens":
			q.Energy.UnknownInput = true
		case "stages":
			q.Energy.UnknownStages = true
		}
	}
	return q, r.err
}

func (doc *lineDoc) total() (Total, error) {
	var r reader
	t := Total{Mode: doc.Mode, Requests: doc.Requests}
	t.Total, t.Idle = r.microjoules(doc.Total), r.microjoules(doc.Idle)
	t.Totals.Requests, t.Unattributed = r.microjoules(doc.Attributed), r.microjoules(doc.Unattributed)
	return t, r.err
}
