package aiperf

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// record is a line. Times are in nanoseconds, instants of Unix time.
type record struct {
	phase, id, conversation    string
	named                      string // phase_name: of several phases, each with a name
	kind                       string // phase_kind
	session, turn              trace.Opt[int64]
	credit, start, ack, end    instant
	stamp, cancelledAt         instant // timestamp_ns of old, cancellation_time_ns
	cancelled                  bool
	ttft, latency, firstOutput span
	maxResponse                instant
	gaps                       []time.Duration
	input, output              trace.Opt[int64]
	reasoning, usage           trace.Opt[int64]
	failed                     bool
	code                       trace.Opt[int64]
	errorType                  string
}

// instant and span are times with the column that they stand in.
type (
	instant struct {
		trace.Opt[int64]
		col int
	}
	span struct {
		trace.Opt[time.Duration]
		col int
	}
)

const (
	// maxInstant bounds instants and times: what is made of their differences fits 64 bits.
	maxInstant = 1<<61 - 1
	maxTokens  = 1 << 31 // of one request, as reduce has it
	maxText    = 1 << 10 // bytes of a name
)

func at(col int, format string, args ...any) error {
	return &trace.ColumnError{Col: col, Err: fmt.Errorf(format, args...)}
}

// walk walks over an object that is the value of a member.
func walk(m trace.Member, member func(trace.Member) error) error {
	if m.Value.Kind() == 'n' {
		return nil
	}
	if m.Value.Kind() != '{' {
		return m.Errorf("%s must be an object", m.Name)
	}
	var inside error // has the column of the line
	err := trace.WalkObject(m.Value, func(inner trace.Member) error {
		inner.Col += m.Col - 1
		inside = member(inner)
		return inside
	})
	var syntax *trace.ColumnError
	if inside == nil && errors.As(err, &syntax) {
		return at(m.Col-1+syntax.Col, "%w", syntax.Err)
	}
	return err
}

// parse reads a line. Its errors have columns.
func (r *record) parse(line []byte) error {
	*r = record{gaps: r.gaps[:0]}
	seen := false
	err := trace.WalkObject(line, func(m trace.Member) error {
		switch string(m.Name) {
		case "metadata":
			seen = true
			return walk(m, r.metadata)
		case "metrics":
			return walk(m, r.metric)
		case "error":
			r.failed = m.Value.Kind() != 'n'
			return walk(m, r.fault)
		}
		return nil
	})
	if err == nil && !seen {
		return at(1, "not a record of aiperf: it has no metadata")
	}
	return err
}

func (r *record) metadata(m trace.Member) (err error) {
	switch name := string(m.Name); name {
	case "phase_name":
		r.named, err = phaseName(m)
	case "phase_kind":
		r.kind, err = text(m)
	case "benchmark_phase":
		r.phase, err = phaseName(m)
	case "credit_phase":
		if r.phase == "" {
			r.phase, err = phaseName(m)
		}
	case "x_request_id":
		r.id, err = text(m)
	case "conversation_id":
		r.conversation, err = text(m)
	case "session_num":
		r.session, err = integer(m, 1<<53-1)
	case "turn_index":
		r.turn, err = integer(m, math.MaxInt32)
	case "credit_issued_ns":
		r.credit, err = moment(m)
	case "request_start_ns":
		r.start, err = moment(m)
	case "timestamp_ns":
		r.stamp, err = moment(m)
	case "request_ack_ns":
		r.ack, err = moment(m)
	case "request_end_ns":
		r.end, err = moment(m)
	case "cancellation_time_ns":
		r.cancelledAt, err = moment(m)
	case "was_cancelled":
		switch m.Value.Kind() {
		case 't':
			r.cancelled = true
		case 'f', 'n':
		default:
			err = m.Errorf("was_cancelled must be true or false")
		}
	}
	return err
}

func (r *record) fault(m trace.Member) (err error) {
	switch string(m.Name) {
	case "code":
		r.code, err = integer(m, math.MaxInt32)
	case "type":
		r.errorType, err = text(m)
	}
	return err
}

func (r *record) metric(m trace.Member) error {
	name := string(m.Name)
	var put func(trace.Member, string) error
	switch name {
	case "time_to_first_token", "ttft":
		put = timeInto(&r.ttft)
	case "request_latency":
		put = timeInto(&r.latency)
	case "time_to_first_output_token":
		put = timeInto(&r.firstOutput)
	case "inter_chunk_latency":
		put = r.putGaps
	case "input_sequence_length":
		put = tokensInto(&r.input)
	case "output_sequence_length":
		put = tokensInto(&r.output)
	case "reasoning_token_count":
		put = tokensInto(&r.reasoning)
	case "usage_completion_tokens":
		put = tokensInto(&r.usage)
	case "max_response_timestamp":
		put = func(v trace.Member, _ string) (err error) {
			r.maxResponse, err = moment(v)
			return err
		}
	default:
		return nil
	}
	var value trace.Member
	unit := ""
	err := walk(m, func(inner trace.Member) (err error) {
		switch string(inner.Name) {
		case "value":
			value = inner
		case "unit":
			unit, err = text(inner)
		}
		return err
	})
	if err != nil || value.Value == nil || value.Value.Kind() == 'n' {
		return err
	}
	value.Name = m.Name
	return put(value, unit)
}

func timeInto(s *span) func(trace.Member, string) error {
	return func(m trace.Member, unit string) error {
		scale, err := nanos(m, unit)
		if err != nil {
			return err
		}
		d, err := number(m, m.Value, scale)
		*s = span{trace.Some(time.Duration(d)), m.Col}
		return err
	}
}

func tokensInto(to *trace.Opt[int64]) func(trace.Member, string) error {
	return func(m trace.Member, _ string) error {
		n, err := number(m, m.Value, 1)
		if err == nil && n > maxTokens {
			err = m.Errorf("%s is more than any request has", m.Name)
		}
		*to = trace.Some(n)
		return err
	}
}

// putGaps takes a list of times.
func (r *record) putGaps(m trace.Member, unit string) error {
	scale, err := nanos(m, unit)
	if err != nil {
		return err
	}
	if m.Value.Kind() != '[' {
		return m.Errorf("%s must be a list of numbers", m.Name)
	}
	// Of a list that was found valid, what is between its commas is a number, unless it
	// is no list of numbers.
	for list := m.Value[1 : len(m.Value)-1]; len(list) > 0; {
		end := slices.Index(list, ',')
		next := end + 1
		if end < 0 {
			end, next = len(list), len(list)
		}
		if item := strings.TrimSpace(string(list[:end])); item != "" || len(r.gaps) > 0 || next < len(list) {
			d, err := number(m, []byte(item), scale)
			if err != nil {
				return err
			}
			r.gaps = append(r.gaps, time.Duration(d))
		}
		list = list[next:]
	}
	return nil
}

// nanos returns how many nanoseconds the unit of a time has.
func nanos(m trace.Member, unit string) (float64, error) {
	switch strings.ToLower(unit) {
	case "ns":
		return 1, nil
	case "us", "µs":
		return 1e3, nil
	case "ms":
		return 1e6, nil
	case "s", "sec", "seconds":
		return 1e9, nil
	}
	return 0, m.Errorf("the unit of %s must be ns, us, ms or s", m.Name)
}

// number reads a number that is not negative, scaled and rounded.
func number(m trace.Member, b []byte, scale float64) (int64, error) {
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil || len(b) == 0 || b[0] != '-' && (b[0] < '0' || b[0] > '9') {
		return 0, m.Errorf("%s must be a number", m.Name)
	}
	if v *= scale; !(v >= 0 && v < maxInstant) {
		return 0, m.Errorf("%s is out of range", m.Name)
	}
	return int64(math.Round(v)), nil
}

// moment reads an instant. One that has an exponent or a fraction was rounded.
func moment(m trace.Member) (instant, error) {
	n, err := integer(m, maxInstant)
	return instant{n, m.Col}, err
}

func integer(m trace.Member, most int64) (n trace.Opt[int64], err error) {
	if m.Value.Kind() == 'n' {
		return n, nil
	}
	v, err := strconv.ParseInt(string(m.Value), 10, 64)
	if err != nil {
		return n, m.Errorf("%s must be an integer", m.Name)
	}
	if v < 0 || v > most {
		return n, m.Errorf("%s is out of range", m.Name)
	}
	return trace.Some(v), nil
}

func text(m trace.Member) (string, error) {
	switch {
	case m.Value.Kind() == 'n':
		return "", nil
	case m.Value.Kind() != '"':
		return "", m.Errorf("%s must be a string", m.Name)
	case len(m.Value) > maxText:
		return "", m.Errorf("%s is longer than %d bytes", m.Name, maxText)
	}
	s, _ := jsontext.AppendUnquote(nil, m.Value) // lone surrogates become U+FFFD
	return string(s), nil
}

// phaseName takes names that a plan can have.
func phaseName(m trace.Member) (string, error) {
	s, err := text(m)
	if err == nil && s != "" && strings.ContainsFunc(s, func(c rune) bool { return !strconv.IsPrint(c) }) {
		err = m.Errorf("%s has a character that cannot be printed", m.Name)
	}
	return s, err
}

// slack is by how much stamps that are derived from one another may contradict each
// other: they went through doubles of milliseconds.
const slack = time.Microsecond

// request makes a request of the record.
func (r *record) request(q *trace.Request, anchor int64) error {
	chunks := q.Chunks[:0]
	*q = trace.Request{Chunks: chunks, Phase: cmp.Or(r.named, r.phase, DefaultPhase), Conversation: r.conversation, Turn: int(r.turn.V)}
	if r.session.OK {
		q.Line = r.session.V + 1
	}
	start := r.start
	if !start.OK {
		start = r.stamp
	}
	if !start.OK {
		return at(1, "the record does not say when the request was sent: request_start_ns is wanted")
	}
	if start.V == 0 {
		return at(start.col, "the request was sent at time 0, which is no time")
	}
	since := func(unix int64) trace.Time { return trace.Time(unix - anchor) }
	q.Sent = since(start.V)
	q.Scheduled = q.Sent
	if r.credit.OK && r.credit.V < start.V {
		q.Scheduled = since(r.credit.V)
	}
	if err := r.tokens(q); err != nil {
		return err
	}
	if err := r.ended(q, start.V, anchor); err != nil {
		return err
	}
	if r.ack.OK {
		q.FirstByte = trace.Some(since(r.ack.V))
		if r.ack.V < start.V || since(r.ack.V) > q.Done {
			return at(r.ack.col, "request_ack_ns is not between the start and the end of the request")
		}
	}
	r.outcome(q)
	r.chunks(q)
	return nil
}

// tokens takes the tokens, and when the first and the last came.
func (r *record) tokens(q *trace.Request) error {
	if r.ttft.OK && r.latency.OK && r.ttft.V > r.latency.V {
		return at(r.ttft.col, "the first token comes after the last")
	}
	if r.ttft.OK {
		q.FirstToken = trace.Some(q.Sent.Add(r.ttft.V))
	}
	if r.latency.OK {
		q.LastToken = trace.Some(q.Sent.Add(r.latency.V))
	}
	q.InputTokens, q.OutputTokens = r.input, r.output
	if q.OutputTokens.OK {
		q.TokenSource = trace.FromTokenizer
		if r.usage == q.OutputTokens {
			q.TokenSource = trace.FromUsage
		}
	}
	if r.reasoning.OK {
		q.Usage = fmt.Appendf(nil, `{"completion_tokens_details":{"reasoning_tokens":%d}}`, r.reasoning.V)
	}
	return nil
}

// ended takes when the request ended, which is not before its last token.
func (r *record) ended(q *trace.Request, start, anchor int64) error {
	end := r.end
	if !end.OK {
		end = r.maxResponse
	}
	if !end.OK && !r.latency.OK {
		end = r.cancelledAt
	}
	q.Done = q.Sent
	if end.OK {
		if end.V < start {
			return at(end.col, "the request ends before it is sent")
		}
		q.Done = trace.Time(end.V - anchor)
	}
	last := q.LastToken
	if !last.OK {
		last = q.FirstToken
	}
	if last.OK && last.V > q.Done {
		if end.OK && last.V.Sub(q.Done) > slack {
			return at(end.col, "the request ends before its last token")
		}
		q.Done = last.V
	}
	if q.Done > maxInstant {
		return at(1, "the request ends out of range")
	}
	return nil
}

const cancellation = "RequestCancellationError"

// outcome takes how the request ended.
func (r *record) outcome(q *trace.Request) {
	if r.code.OK && r.code.V >= 100 && r.code.V <= 599 {
		q.Status = trace.Some(int(r.code.V))
	}
	switch {
	case r.cancelled || r.failed && (r.code.V == 499 || r.errorType == cancellation):
		q.Outcome, q.Status = trace.Cancelled, trace.Opt[int]{}
	case r.failed:
		q.Outcome = trace.Failed
		q.Error = trace.RequestError{Class: r.class(), Message: r.errorType}
		if r.code.OK {
			q.Error.Message = strings.TrimSpace(fmt.Sprintf("%s (code %d)", r.errorType, r.code.V))
		}
	default:
		q.Outcome = trace.Succeeded
	}
}

// class groups an error by its code, else by the words of its type.
func (r *record) class() trace.ErrorClass {
	switch code := r.code.V; {
	case code == 429:
		return trace.ErrHTTP429
	case code >= 500 && code < 600:
		return trace.ErrHTTP5xx
	case code >= 400 && code < 500:
		return trace.ErrHTTP4xx
	case code >= 100 && code < 400:
		return trace.ErrHTTPOther
	}
	name := strings.ToLower(r.errorType)
	for _, c := range []struct {
		word  string
		class trace.ErrorClass
	}{
		{"timeout", trace.ErrTimeout}, {"dns", trace.ErrDNS}, {"ssl", trace.ErrTLS}, {"certificate", trace.ErrTLS},
		{"disconnected", trace.ErrReset}, {"reset", trace.ErrReset}, {"connect", trace.ErrConnect}, {"sse", trace.ErrSSEEvent},
	} {
		if strings.Contains(name, c.word) {
			return c.class
		}
	}
	return trace.ErrBody
}

// chunks places the events with output, if they end where the answer does.
func (r *record) chunks(q *trace.Request) {
	if !q.FirstToken.OK || !q.LastToken.OK || len(r.gaps) == 0 {
		return
	}
	total := r.ttft.V
	for _, d := range r.gaps {
		if total += d; total > r.latency.V+slack {
			return
		}
	}
	if total < r.latency.V-slack {
		return
	}
	kind := func(since time.Duration) trace.ChunkKind {
		if r.reasoning.V > 0 && (!r.firstOutput.OK || since < r.firstOutput.V-slack) {
			return trace.ChunkReasoning
		}
		return trace.ChunkContent
	}
	since := r.ttft.V
	q.Chunks = append(q.Chunks, trace.Chunk{At: q.Sent.Add(since), Kind: kind(since)})
	for _, d := range r.gaps {
		since = min(since+d, r.latency.V)
		q.Chunks = append(q.Chunks, trace.Chunk{At: q.Sent.Add(since), Kind: kind(since)})
	}
}
