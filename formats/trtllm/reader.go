package trtllm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// Row is one request of a dataset. It has either token ids or a text.
type Row struct {
	Pos          trace.Pos
	TaskID       string         // an integer in decimal, or the string; "" is none
	IDs          []int32        // token ids; nil where the row has a text
	Prompt       jsontext.Value // the text as the JSON string that stands in the file; nil where the row has ids
	OutputTokens int64          // tokens that the answer must have
}

// ErrWholeFile is the fault of a dataset that is one JSON document instead of
// JSON Lines.
var ErrWholeFile = errors.New("one JSON document for the whole file: only the JSON Lines form of the dataset is read")

// A Reader reads a dataset in memory that depends on its longest line only. It
// is not safe for concurrent use.
type Reader struct {
	lines *trace.LineReader
	buf   []byte
	first bool  // no row was read yet
	done  error // what every further Read returns
}

// NewReader returns a reader of the dataset r. Positions have the given file
// name; "-" is standard input.
func NewReader(r io.Reader, name string) *Reader {
	return &Reader{lines: trace.NewLineReader(r, name), first: true}
}

// Read reads the next row. IDs are appended to dst.IDs[:0]; Prompt is valid
// until the next Read. At the end the error is io.EOF. A fault of a line is a
// *trace.SyntaxError and reading goes on at the next line; any other error,
// one that wraps ErrWholeFile among them, is final.
func (r *Reader) Read(dst *Row) error {
	if r.done != nil {
		return r.done
	}
	line, pos, err := r.lines.ReadLine(r.buf)
	r.buf = line
	if err != nil {
		return err
	}
	ids := dst.IDs[:0]
	*dst = Row{Pos: pos}
	p := parser{row: dst, ids: ids}
	err = trace.WalkObject(line, p.member)
	if err == nil {
		if err = p.finish(); err != nil {
			err = &trace.ColumnError{Col: 1, Err: err}
		}
	}
	if err == nil {
		r.first = false
		return nil
	}
	*dst = Row{Pos: pos, IDs: ids}
	first := r.first
	r.first = false
	if p.wholeFile || first && startsDocument(line) {
		r.done = fmt.Errorf("%s: %w", pos, ErrWholeFile)
		return r.done
	}
	return trace.ErrorAt(pos, err)
}

// startsDocument reports whether a line that is no row looks like the first of
// a document: an array, or an object that goes on in the next line. A row that
// was cut ends otherwise.
func startsDocument(line []byte) bool {
	line = bytes.Trim(line, " \t\r\n") // is not blank, or it would not have been read
	return line[0] == '[' || line[0] == '{' && bytes.IndexByte([]byte("{[,:"), line[len(line)-1]) >= 0
}

// A parser takes the members of one line.
type parser struct {
	row       *Row
	ids       []int32 // memory for row.IDs
	idsKey    string  // the key that gave the ids
	prompt    jsontext.Value
	output    bool
	seen      uint
	wholeFile bool
}

// keys are the known ones; the order is that of the bits of parser.seen.
var keys = []string{"task_id", "input_ids", "logits", "prompt", "output_tokens", "turns", "media_paths", "lora_request", "samples"}

func (p *parser) member(m trace.Member) error {
	i := slices.Index(keys, string(m.Name))
	if i < 0 {
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
	case "task_id":
		return p.taskID(&m)
	case "input_ids", "logits":
		if p.idsKey != "" {
			return m.Errorf(`both "input_ids" and "logits"`)
		}
		p.idsKey = key
		return p.tokenIDs(&m)
	case "prompt":
		if m.Value.Kind() != '"' {
			return m.Errorf(`"prompt" must be a string`)
		}
		p.prompt = m.Value
	case "output_tokens":
		return p.outputTokens(&m)
	case "samples":
		p.wholeFile = true
		return m.Errorf("not a row")
	default:
		if !empty(m.Value) {
			return m.Errorf("%q is not supported", key)
		}
	}
	return nil
}

// finish checks what only the whole row can show.
func (p *parser) finish() error {
	switch {
	case p.idsKey != "" && len(p.row.IDs) == 0:
		return fmt.Errorf("%q is empty", p.idsKey)
	case p.idsKey == "" && p.prompt == nil:
		return errors.New(`none of "prompt", "input_ids" and "logits" is there`)
	case !p.output:
		return errors.New(`"output_tokens" is missing`)
	case p.idsKey == "":
		p.row.Prompt = p.prompt
	}
	return nil
}

func (p *parser) taskID(m *trace.Member) error {
	switch m.Value.Kind() {
	case '"':
		id, err := jsontext.AppendUnquote(nil, m.Value)
		if err != nil {
			return m.Errorf(`"task_id" is not valid Unicode`)
		}
		p.row.TaskID = string(id)
		return nil
	case '0':
		if bytes.ContainsAny(m.Value, ".eE") {
			break
		}
		p.row.TaskID = string(m.Value)
		return nil
	}
	return m.Errorf(`"task_id" must be an integer or a string`)
}

func (p *parser) outputTokens(m *trace.Member) error {
	n, err := strconv.ParseInt(string(m.Value), 10, 64)
	if err != nil {
		return m.Errorf(`"output_tokens" must be an integer`)
	}
	if n < 1 || n > math.MaxInt32 {
		return m.Errorf(`"output_tokens" must be from 1 to %d`, math.MaxInt32)
	}
	p.row.OutputTokens, p.output = n, true
	return nil
}

// tokenIDs reads an array of integers, which is known to be valid JSON.
func (p *parser) tokenIDs(m *trace.Member) error {
	v := m.Value
	if v[0] != '[' {
		return m.Errorf("%q must be an array", m.Name)
	}
	ids := p.ids[:0]
	for i := 1; ; {
		for between(v[i]) {
			i++
		}
		if v[i] == ']' {
			break
		}
		start, id := i, int64(0)
		for ; '0' <= v[i] && v[i] <= '9' && id <= math.MaxInt32; i++ {
			id = 10*id + int64(v[i]-'0')
		}
		// Anything else than digits up to the next delimiter is no token id.
		if id > math.MaxInt32 || !between(v[i]) && v[i] != ']' {
			return &trace.ColumnError{Col: m.Col + start, Err: fmt.Errorf("a token id in %q must be an integer from 0 to %d", m.Name, math.MaxInt32)}
		}
		ids = append(ids, int32(id))
	}
	p.row.IDs = ids
	return nil
}

// between reports whether c stands between the elements of an array.
func between(c byte) bool {
	return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n'
}

// empty reports whether an array or object has nothing in it.
func empty(v jsontext.Value) bool {
	return (v[0] == '[' || v[0] == '{') && len(bytes.TrimSpace(v[1:len(v)-1])) == 0
}
