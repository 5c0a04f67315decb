package mooncake

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"wattrace/formats"
	"wattrace/formats/tokens"
	"wattrace/trace"
)

const (
	blockTokens   = 512 // of Mooncake
	bailianTokens = 16
	maxInput      = 1 << 24 // tokens, so that a row of some bytes cannot fill the memory
)

// Options are what a trace does not say of itself. The zero value is the usual.
type Options struct {
	BlockTokens int          // tokens of a hash's block; 0 is the format's own
	Vocab       tokens.Vocab // 0 is tokens.Default
	Seconds     bool         // timestamps are seconds, of which the first row's is the start of the trace (guidellm)
	Fields      bool         // other keys are of the body (genai-perf)
}

// A Reader reads a trace. It is not safe for concurrent use.
type Reader struct {
	lines  *trace.LineReader
	buf    []byte
	hashes []uint64
	extra  []byte
	start  trace.Opt[float64] // timestamp of the first row; with Options.Seconds
	o      Options
	turns  map[string]int // by session, of those seen
}

// NewReader returns a reader of the trace r. Positions have the given file
// name; "-" is standard input.
func NewReader(r io.Reader, name string, o Options) *Reader {
	if o.Vocab == 0 {
		o.Vocab = tokens.Default
	}
	return &Reader{lines: trace.NewLineReader(r, name), o: o, turns: map[string]int{}}
}

// Read reads the next row, as formats.RequestReader says.
func (r *Reader) Read(dst *formats.Request) error {
	line, pos, err := r.lines.ReadLine(r.buf)
	r.buf = line
	if err != nil {
		return err
	}
	p := parser{row: formats.Request{Pos: pos, IDs: dst.IDs[:0]}, hashes: r.hashes[:0], extra: r.extra[:0], fields: r.o.Fields}
	err = trace.WalkObject(line, p.member)
	r.hashes, r.extra = p.hashes, p.extra
	if err == nil {
		err = p.finish(r.o)
	}
	if err == nil && r.o.Seconds {
		err = r.sinceStart(&p)
	}
	if err == nil {
		err = r.addFields(&p)
	}
	if err != nil {
		*dst = formats.Request{Pos: pos, IDs: p.row.IDs[:0]}
		return trace.ErrorAt(pos, err)
	}
	if s := p.row.Conversation; s != "" {
		p.row.Turn = r.turns[s]
		r.turns[s]++
	}
	*dst = p.row
	return nil
}

// sinceStart counts a row's time from that of the first.
func (r *Reader) sinceStart(p *parser) error {
	at, ok := p.row.Timing.AtSeconds.Get()
	if !ok {
		return nil
	}
	if !r.start.OK {
		r.start = p.row.Timing.AtSeconds
	}
	if at < r.start.V {
		return p.at.Errorf(`"timestamp" is earlier than the first`)
	}
	p.row.Timing.AtSeconds = trace.Some(math.Round((at-r.start.V)*1e9) / 1e9)
	return nil
}

// addFields gives a row the fields of its body.
func (r *Reader) addFields(p *parser) error {
	row := &p.row
	if len(p.extra) == 0 {
		return nil
	}
	r.extra = append(p.extra, '}')
	switch {
	case p.prompt.Value != nil:
		row.Body, row.Bare = r.extra, true
	case row.Body != nil:
		return p.firstField.Errorf(`%q beside "payload"`, p.firstField.Name)
	default:
		row.Extra = r.extra
	}
	return nil
}

// A parser takes the members of one line.
type parser struct {
	row       formats.Request
	seen      uint
	asked     string // the key that says what is asked
	hashes    []uint64
	hashesCol int          // 0: there are none
	at        trace.Member // timestamp, whose unit is known at the end of the line
	bailian   bool
	toolsCol  int // 0: there are none

	fields     bool         // other keys are of the body
	extra      []byte       // an object of them, without its closing brace
	firstField trace.Member // of extra
	prompt     trace.Member // of a body for completions, which is in extra
	limit      trace.Member // max_tokens or its like, which is in extra
}

// keys are the known ones; the order is that of the bits of parser.seen.
var keys = []string{"timestamp", "input_length", "output_length", "hash_ids", "text_input", "messages", "payload",
	"session_id", "delay", "tools", "message_mode", "extra", "chat_id", "text"}

// aiperfOnly are keys that genai-perf does not know: what it has by them it
// puts into the body.
var aiperfOnly = []string{"tools", "message_mode", "extra", "chat_id"}

func (p *parser) member(m trace.Member) (err error) {
	name := string(m.Name)
	i := slices.Index(keys, name)
	if p.fields && (i < 0 || slices.Contains(aiperfOnly, name)) {
		return p.field(&m)
	}
	if i < 0 || name == "text" && !p.fields {
		if formats.IsBodyField(name) {
			return m.Errorf("%q belongs into a body, as in a payload file of genai-perf, and not into a Mooncake trace", name)
		}
		return nil
	}
	if p.seen&(1<<i) != 0 {
		return m.Errorf("%q is there twice", m.Name)
	}
	p.seen |= 1 << i
	if m.Value.Kind() == 'n' {
		return nil
	}
	switch key := keys[i]; key {
	case "timestamp":
		p.at = m
	case "delay":
		p.row.Timing.DelaySeconds, err = seconds(&m, milli)
	case "input_length":
		p.row.Timing.InputTokens, err = m.Integer(1, maxInput)
	case "output_length":
		p.row.Timing.OutputTokens, err = m.Integer(1, math.MaxInt32)
	case "hash_ids":
		p.hashesCol = m.Col
		p.hashes, err = appendHashes(p.hashes, &m)
	case "session_id":
		p.row.Conversation, err = m.Text()
	case "chat_id":
		var id trace.Opt[int64]
		id, err = m.Integer(0, math.MaxInt64)
		p.bailian, p.row.Timing.ID = true, strconv.FormatInt(id.V, 10)
	case "tools":
		if m.Value.Kind() != '[' {
			return m.Errorf(`"tools" must be an array`)
		}
		p.toolsCol, p.row.Tools = m.Col, m.Value
	case "message_mode":
		if string(m.Value) != `"history"` {
			return m.Errorf(`"message_mode" must be "history": others need the answers`)
		}
	case "extra":
		if string(m.Value) != "{}" {
			return m.Errorf(`"extra" is not supported`)
		}
	default:
		return p.ask(&m)
	}
	return err
}

// field takes a field of the body.
func (p *parser) field(m *trace.Member) error {
	if string(m.Name) == "prompt" {
		if m.Value.Kind() == 'n' {
			return nil
		}
		if err := p.askOnce(m); err != nil {
			return err
		}
		p.prompt = *m
	}
	if len(p.extra) == 0 {
		p.firstField = *m
	}
	if formats.IsLimit(string(m.Name)) {
		p.limit = *m
	}
	p.extra = formats.AppendMember(p.extra, m)
	return nil
}

// askOnce notes what says what is asked.
func (p *parser) askOnce(m *trace.Member) error {
	if p.asked != "" {
		return m.Errorf("both %q and %q", p.asked, m.Name)
	}
	p.asked = string(m.Name)
	return nil
}

// ask takes what is asked.
func (p *parser) ask(m *trace.Member) error {
	if err := p.askOnce(m); err != nil {
		return err
	}
	switch p.asked {
	case "text_input", "text":
		if m.Value.Kind() != '"' {
			return m.Errorf("%q must be a string", m.Name)
		}
		p.row.Prompt = m.Value
	case "messages":
		if m.Value.Kind() != '[' || len(m.Value) < 3 { // [ ] is for the server to judge
			return m.Errorf(`"messages" must be an array that is not empty`)
		}
		p.row.Messages = m.Value
	case "payload":
		if m.Value.Kind() != '{' {
			return m.Errorf(`"payload" must be an object`)
		}
		if _, err := trace.CheckPayload(m.Value); err != nil {
			return m.Inside(err)
		}
		p.row.Body = m.Value
	}
	return nil
}

// finish checks what only the whole row can show, and makes a prompt where
// there is none.
func (p *parser) finish(o Options) error {
	if p.prompt.Value != nil && p.row.Timing.OutputTokens.OK {
		return p.prompt.Errorf(`both "prompt" and "output_length", which is not put into a body for completions`)
	}
	if p.limit.Value != nil && p.row.Timing.OutputTokens.OK {
		return p.limit.Errorf(`both %q and "output_length"`, p.limit.Name)
	}
	if p.toolsCol > 0 && p.asked != "messages" {
		return &trace.ColumnError{Col: p.toolsCol, Err: errors.New(`"tools" without "messages"`)}
	}
	if p.at.Value != nil {
		unit := milli
		if p.bailian || o.Seconds {
			unit = ""
		}
		var err error
		if p.row.Timing.AtSeconds, err = seconds(&p.at, unit); err != nil {
			return err
		}
	}
	if p.asked != "" {
		p.row.IDs = nil
		return nil
	}
	p.row.Made = true
	input, ok := p.row.Timing.InputTokens.Get()
	switch {
	case !ok:
		return &trace.ColumnError{Col: 1, Err: errors.New(`none of "input_length", "text_input", "messages" and "payload" is there`)}
	case !p.row.Timing.OutputTokens.OK:
		return &trace.ColumnError{Col: 1, Err: errors.New(`"output_length" is missing`)}
	case p.hashesCol == 0:
		p.row.IDs = o.Vocab.AppendUnique(p.row.IDs, uint64(p.row.Pos.Line), int(input))
		return nil
	}
	block := o.BlockTokens
	switch {
	case block > 0:
	case p.bailian:
		block = bailianTokens
	default:
		block = blockTokens
	}
	n := int(input)
	if need := (n + block - 1) / block; len(p.hashes) != need {
		return &trace.ColumnError{Col: p.hashesCol, Err: fmt.Errorf(`"hash_ids" has %d blocks of %d tokens where "input_length" needs %d`, len(p.hashes), block, need)}
	}
	for _, hash := range p.hashes {
		k := min(n, block)
		p.row.IDs = o.Vocab.AppendBlock(p.row.IDs, hash, k)
		n -= k
	}
	return nil
}

// maxSeconds bounds times as the side file does.
const maxSeconds = 1 << 61 / 1e9

// milli is the exponent of milliseconds.
const milli = "e-3"

// seconds reads a finite number that is not negative, in a unit that is an
// exponent: where the number has none of its own nothing is rounded twice.
func seconds(m *trace.Member, unit string) (trace.Opt[float64], error) {
	if m.Value.Kind() != '0' {
		return trace.Opt[float64]{}, m.Errorf("%q must be a number", m.Name)
	}
	text := string(m.Value)
	own := unit != "" && strings.ContainsAny(text, "eE")
	if !own {
		text += unit
	}
	v, err := strconv.ParseFloat(text, 64)
	if own {
		v /= 1000
	}
	switch {
	case v < 0:
		return trace.Opt[float64]{}, m.Errorf("%q is negative", m.Name)
	case err != nil || v > maxSeconds:
		return trace.Opt[float64]{}, m.Errorf("%q is beyond what can be scheduled", m.Name)
	}
	return trace.Some(v + 0), nil // no negative zero
}

// appendHashes reads an array of integers.
func appendHashes(dst []uint64, m *trace.Member) ([]uint64, error) {
	dst, bad := formats.AppendHashes(dst, m.Value)
	switch {
	case bad == 0:
		return dst, m.Errorf("%q must be an array", m.Name)
	case bad > 0:
		return dst, &trace.ColumnError{Col: m.Col + bad, Err: fmt.Errorf("a hash in %q must be an integer from 0 to 2^64-1", m.Name)}
	}
	return dst, nil
}
