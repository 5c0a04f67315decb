package guidellmreport

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats/pyjson"
	"wattrace/formats/stamped"
	"wattrace/trace"
)

// Figure is a number that guidellm states.
type Figure struct {
	Name, Unit string
	Value      float64
}

// Benchmark is one run of a report.
type Benchmark struct {
	Strategy   string           // its type_; "" is not said
	Parallel   int              // streams; 0 is none
	Start, End trace.Opt[int64] // as measured, Unix nanoseconds
	First      int64            // when the first request was sent, Unix nanoseconds
	Last       int64            // when the last one ended, likewise
	Succeeded  int64
	Failed     int64
	Cancelled  int64
	Unsent     int64            // requests that were never sent
	Total      trace.Opt[int64] // requests by its own account
	Stated     []Figure

	usage bool // tokens are the server's
}

// File is a report.
type File struct {
	Benchmarks []Benchmark

	open func() (io.Reader, error)
	name string
}

// Bounds of what is read.
const (
	maxBenchmarks = 4096
	maxTokens     = 1 << 31
	maxRequest    = 256 << 20 // bytes of a request, or of metrics
)

// Open reads a report once for all but its requests. open returns it from its start, each
// time; name is for errors, which are *trace.SyntaxError with a position.
func Open(open func() (io.Reader, error), name string) (*File, error) {
	f := &File{open: open, name: name}
	r, err := open()
	if err != nil {
		return nil, err
	}
	var q trace.Request
	p := f.parser(r)
	p.request = func(b *Benchmark, v *raw) error {
		err := v.put(b, &q)
		if errors.Is(err, errUnsent) {
			b.Unsent++
			return nil
		}
		if err != nil {
			return err
		}
		if n := b.Succeeded + b.Failed + b.Cancelled; n == 0 || v.sent < b.First {
			b.First = v.sent
		}
		b.Last = max(b.Last, v.done)
		switch q.Outcome {
		case trace.Succeeded:
			b.Succeeded++
		case trace.Failed:
			b.Failed++
		default:
			b.Cancelled++
		}
		return nil
	}
	p.ended = func(b *Benchmark) error {
		if len(f.Benchmarks) == maxBenchmarks {
			return p.at("there are more than %d benchmarks", maxBenchmarks)
		}
		f.Benchmarks = append(f.Benchmarks, *b)
		return nil
	}
	if err := p.report(); err != nil {
		return nil, f.fault(err)
	}
	if len(f.Benchmarks) == 0 {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: errors.New("the report has no benchmarks")}
	}
	return f, nil
}

// Each calls use for every request that was sent, in the order of the file, with the index
// of its benchmark. Instants are since anchor, in Unix nanoseconds. use may keep nothing.
func (f *File) Each(anchor int64, use func(benchmark int, q *trace.Request) error) error {
	r, err := f.open()
	if err != nil {
		return err
	}
	var q trace.Request
	n, seq := 0, int64(0)
	var stop error
	p := f.parser(r)
	p.request = func(_ *Benchmark, v *raw) error {
		if n >= len(f.Benchmarks) {
			return p.at("the file is no longer what it was")
		}
		v.anchor = anchor
		err := v.put(&f.Benchmarks[n], &q)
		if errors.Is(err, errUnsent) {
			return nil
		}
		if err != nil {
			return err
		}
		q.Seq, q.Line = seq, seq+1
		seq++
		stop = use(n, &q)
		return stop
	}
	p.ended = func(*Benchmark) error { n++; return nil }
	if err := p.report(); err != nil {
		if stop != nil {
			return stop
		}
		return f.fault(err)
	}
	return nil
}

// parser walks a report.
type parser struct {
	d       *jsontext.Decoder
	request func(*Benchmark, *raw) error
	ended   func(*Benchmark) error
}

func (f *File) parser(r io.Reader) *parser {
	return &parser{d: jsontext.NewDecoder(pyjson.NewReader(r), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
}

// faultAt is a fault at an offset of the file.
type faultAt struct {
	offset int64
	err    error
}

func (e *faultAt) Error() string { return e.err.Error() }

func (p *parser) at(format string, args ...any) error {
	return &faultAt{p.d.InputOffset() - 1, fmt.Errorf(format, args...)}
}

// fault gives an error its position.
func (f *File) fault(err error) error {
	offset, what := int64(0), error(nil)
	var syntax *jsontext.SyntacticError
	var ours *faultAt
	switch {
	case errors.As(err, &ours):
		offset, what = ours.offset, ours.err
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
		return &trace.SyntaxError{Pos: trace.Pos{File: f.name}, Err: fmt.Errorf("the document breaks off: %w", io.ErrUnexpectedEOF)}
	case errors.As(err, &syntax):
		offset, what = syntax.ByteOffset, trace.ErrNotJSON
	default:
		return err
	}
	r, err := f.open()
	if err != nil {
		return err
	}
	pos, err := pyjson.Position(r, f.name, max(offset, 0))
	if err != nil {
		return err
	}
	return &trace.SyntaxError{Pos: pos, Err: what}
}

// object calls one for each name of an object, which must take the value. What is no object
// is passed over.
func (p *parser) object(one func(name string) error) error {
	if p.d.PeekKind() != '{' {
		return p.d.SkipValue()
	}
	if _, err := p.d.ReadToken(); err != nil {
		return err
	}
	for p.d.PeekKind() == '"' {
		tok, err := p.d.ReadToken()
		if err != nil {
			return err
		}
		if err := one(tok.String()); err != nil {
			return err
		}
	}
	_, err := p.d.ReadToken()
	return err
}

// list calls one for each element of an array; what is none is passed over.
func (p *parser) list(one func() error) error {
	if p.d.PeekKind() != '[' {
		return p.d.SkipValue()
	}
	if _, err := p.d.ReadToken(); err != nil {
		return err
	}
	for kind := p.d.PeekKind(); kind != ']' && kind != 0; kind = p.d.PeekKind() {
		if err := one(); err != nil {
			return err
		}
	}
	_, err := p.d.ReadToken()
	return err
}

func (p *parser) report() error {
	if p.d.PeekKind() != '{' {
		if err := p.d.SkipValue(); err != nil {
			return err
		}
		return p.at("a report must be an object")
	}
	err := p.object(func(name string) error {
		if name != "benchmarks" {
			return p.d.SkipValue()
		}
		return p.list(p.benchmark)
	})
	if err != nil {
		return err
	}
	if _, err := p.d.ReadToken(); err != io.EOF {
		if err == nil {
			err = p.at("something follows the report")
		}
		return err
	}
	return nil
}

func (p *parser) benchmark() error {
	b := &Benchmark{}
	err := p.object(func(name string) error {
		switch name {
		case "start_time", "end_time":
			v, err := p.d.ReadValue()
			if err != nil {
				return err
			}
			to := &b.Start
			if name == "end_time" {
				to = &b.End
			}
			*to, err = instant(v)
			if err != nil {
				return p.at("%s %v", name, err)
			}
			return nil
		case "config":
			return p.value(func(m trace.Member) error { return b.config(&m) })
		case "metrics":
			return p.value(func(m trace.Member) error { return b.metric(&m) })
		case "requests":
			return p.object(func(list string) error {
				outcome := map[string]trace.Outcome{"successful": trace.Succeeded, "errored": trace.Failed, "incomplete": trace.Cancelled}[list]
				if outcome == "" {
					return p.d.SkipValue()
				}
				return p.list(func() error { return p.one(b, outcome) })
			})
		}
		return p.d.SkipValue()
	})
	if err != nil {
		return err
	}
	return p.ended(b)
}

// value walks a value of moderate size whose faults have a place; what is no object is
// passed over.
func (p *parser) value(member func(trace.Member) error) error {
	v, err := p.d.ReadValue()
	if err != nil || v.Kind() != '{' {
		return err
	}
	start := p.d.InputOffset() - int64(len(v))
	if len(v) > maxRequest {
		return p.at("the element is larger than %d MiB", maxRequest>>20)
	}
	err = trace.WalkObject(v, member)
	var at *trace.ColumnError
	if errors.As(err, &at) {
		return &faultAt{start + int64(at.Col) - 1, at.Err}
	}
	if err != nil {
		return &faultAt{start, err}
	}
	return nil
}

// one reads a request.
func (p *parser) one(b *Benchmark, outcome trace.Outcome) error {
	v := &raw{outcome: outcome}
	if p.d.PeekKind() != '{' {
		if err := p.d.SkipValue(); err != nil {
			return err
		}
		return p.at("a request must be an object")
	}
	if err := p.value(v.member); err != nil {
		return err
	}
	err := p.request(b, v)
	if err != nil && !errors.As(err, new(*faultAt)) && !errors.Is(err, errUnsent) {
		return &faultAt{p.d.InputOffset() - 1, err}
	}
	return err
}

// config reads how a benchmark was to be.
func (b *Benchmark) config(m *trace.Member) error {
	switch string(m.Name) {
	case "prefer_response_metrics":
		b.usage = m.Value.Kind() == 't'
	case "strategy":
		if m.Value.Kind() != '{' {
			return nil
		}
		return m.Inside(trace.WalkObject(m.Value, func(s trace.Member) error {
			switch string(s.Name) {
			case "type_":
				if s.Value.Kind() == '"' {
					b.Strategy, _ = s.Text()
				}
			case "streams", "max_concurrency":
				if s.Value.Kind() == '0' && b.Parallel == 0 {
					if n, err := s.Integer(1, trace.MaxConcurrency); err == nil && n.OK {
						b.Parallel = int(n.V)
					}
				}
			}
			return nil
		}))
	}
	return nil
}

// percentiles are those that --as guidellm has.
var percentiles = []string{"p50", "p95", "p99"}

// distributions are those that are stated; true is with percentiles.
var distributions = map[string]bool{
	"request_latency": true, "time_to_first_token_ms": true, "time_to_first_output_token_ms": true, "time_per_output_token_ms": true, "inter_token_latency_ms": true,
	"prompt_token_count": false, "output_token_count": false, "requests_per_second": false, "request_concurrency": false,
	"output_tokens_per_second": false, "tokens_per_second": false,
}

// metric reads a distribution, or the number of requests.
func (b *Benchmark) metric(m *trace.Member) error {
	if m.Value.Kind() != '{' {
		return nil
	}
	name := string(m.Name)
	deep, stated := distributions[name]
	if !stated && name != "request_totals" {
		return nil
	}
	return m.Inside(trace.WalkObject(m.Value, func(of trace.Member) error {
		switch {
		case name == "request_totals" && string(of.Name) == "total" && of.Value.Kind() == '0':
			n, err := of.Integer(0, math.MaxInt32)
			b.Total = n
			return err
		case string(of.Name) != "successful" || of.Value.Kind() != '{':
			return nil
		}
		count, mean := trace.Opt[float64]{}, trace.Opt[float64]{}
		var figures []Figure
		err := of.Inside(trace.WalkObject(of.Value, func(v trace.Member) error {
			switch key := string(v.Name); key {
			case "mean":
				mean = number(&v)
			case "count":
				count = number(&v)
			case "percentiles":
				if v.Value.Kind() != '{' || !deep {
					return nil
				}
				return v.Inside(trace.WalkObject(v.Value, func(p trace.Member) error {
					if f := number(&p); f.OK && slices.Contains(percentiles, string(p.Name)) {
						figures = append(figures, Figure{name + "." + string(p.Name), unitOf(name), f.V})
					}
					return nil
				}))
			}
			return nil
		}))
		if err == nil && mean.OK && count.V > 0 {
			b.Stated = append(append(b.Stated, Figure{name, unitOf(name), mean.V}), figures...)
		}
		return err
	}))
}

func number(m *trace.Member) trace.Opt[float64] {
	f, err := strconv.ParseFloat(string(m.Value), 64)
	return trace.Opt[float64]{V: f, OK: m.Value.Kind() == '0' && err == nil}
}

// unitOf is the unit of a distribution.
func unitOf(name string) string {
	switch {
	case strings.HasSuffix(name, "_ms"):
		return "ms"
	case name == "requests_per_second", name == "request_goodput":
		return "requests/s"
	case strings.HasSuffix(name, "tokens_per_second"):
		return "tokens/s"
	case strings.HasSuffix(name, "_token_count"):
		return "tokens"
	case strings.HasSuffix(name, "_latency"), strings.HasSuffix(name, "_delay"):
		return "s"
	}
	return ""
}

// instant reads Unix seconds, exactly; null is unknown.
func instant(v []byte) (trace.Opt[int64], error) {
	if len(v) > 0 && (v[0] == 'n' || string(v) == `""`) {
		return trace.Opt[int64]{}, nil
	}
	nanos, err := stamped.Seconds(v)
	if err != nil || nanos <= 0 {
		return trace.Opt[int64]{}, errors.New("must be a Unix time in seconds")
	}
	return trace.Some(nanos), nil
}

// raw is a request as the report has it.
type raw struct {
	outcome          trace.Outcome
	anchor           int64
	start, end       trace.Opt[int64]
	begun, ended     trace.Opt[int64] // by info.timings
	first, last, due trace.Opt[int64]
	input, output    trace.Opt[int64]
	conversation     string
	turn             int
	sent, done       int64
}

// errUnsent is that a request was never sent.
var errUnsent = errors.New("never sent")

func (v *raw) member(m trace.Member) (err error) {
	to := map[string]*trace.Opt[int64]{"request_start_time": &v.start, "request_end_time": &v.end}[string(m.Name)]
	switch key := string(m.Name); {
	case to != nil:
		if *to, err = instant(m.Value); err != nil {
			return m.Errorf("%s %v", key, err)
		}
	case key == "prompt_tokens" || key == "output_tokens":
		if m.Value.Kind() == 'n' {
			return nil
		}
		n, err := m.Integer(0, maxTokens)
		if key == "prompt_tokens" {
			v.input = n
		} else {
			v.output = n
		}
		return err
	case key == "info" && m.Value.Kind() == '{':
		return m.Inside(trace.WalkObject(m.Value, v.info))
	}
	return nil
}

func (v *raw) info(m trace.Member) error {
	switch key := string(m.Name); {
	case key == "conversation_id" && m.Value.Kind() == '"' && len(m.Value) > 2:
		text, err := m.Text()
		v.conversation = text
		return err
	case key == "turn_index" && m.Value.Kind() == '0':
		n, err := m.Integer(0, math.MaxInt32)
		v.turn = int(n.V)
		return err
	case key == "timings" && m.Value.Kind() == '{':
		return m.Inside(trace.WalkObject(m.Value, func(t trace.Member) (err error) {
			to := map[string]*trace.Opt[int64]{
				"request_start": &v.begun, "request_end": &v.ended, "targeted_start": &v.due,
				"first_token_iteration": &v.first, "last_token_iteration": &v.last,
				"first_iteration": &v.first, "last_iteration": &v.last,
			}[string(t.Name)]
			if to == nil || to.OK {
				return nil
			}
			if *to, err = instant(t.Value); err != nil {
				return t.Errorf("%s %v", t.Name, err)
			}
			return nil
		}))
	}
	return nil
}

// put makes a request of it.
func (v *raw) put(b *Benchmark, q *trace.Request) error {
	start, end := v.start, v.end
	if !start.OK {
		start = v.begun
	}
	if !end.OK {
		end = v.ended
	}
	if !start.OK && v.outcome != trace.Succeeded {
		return errUnsent
	}
	switch {
	case !start.OK:
		return errors.New("a request that succeeded has no start")
	case !end.OK && v.outcome == trace.Succeeded:
		return errors.New("a request that succeeded has no end")
	case end.OK && end.V < start.V:
		return errors.New("a request ends before it starts")
	case !end.OK:
		end = start
	}
	v.sent, v.done = start.V, end.V
	*q = trace.Request{
		Chunks: q.Chunks[:0], Sent: trace.Time(start.V - v.anchor), Scheduled: trace.Time(start.V - v.anchor), Done: trace.Time(end.V - v.anchor),
		Outcome: v.outcome, Conversation: v.conversation, Turn: v.turn,
	}
	if v.due.OK && v.due.V < start.V && (b.Strategy == "constant" || b.Strategy == "poisson") {
		q.Scheduled = trace.Time(v.due.V - v.anchor)
	}
	if v.outcome == trace.Failed {
		q.Error.Class = trace.ErrBody
	}
	if q.InputTokens, q.OutputTokens = v.input, v.output; v.output.OK {
		if q.TokenSource = trace.FromTokenizer; b.usage {
			q.TokenSource = trace.FromUsage
		}
	}
	for _, c := range []struct {
		from trace.Opt[int64]
		to   *trace.Opt[trace.Time]
	}{{v.first, &q.FirstToken}, {v.last, &q.LastToken}} {
		if at, ok := c.from.Get(); ok {
			if at < start.V || at > end.V && v.outcome == trace.Succeeded {
				return errors.New("a token comes before its request was sent, or after it ended")
			}
			*c.to = trace.Some(trace.Time(min(at, end.V) - v.anchor))
		}
	}
	if q.FirstToken.OK && q.LastToken.OK && q.LastToken.V < q.FirstToken.V {
		return errors.New("the last token comes before the first")
	}
	return nil
}
