package trtllm

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats"
	"wattrace/formats/elements"
	"wattrace/trace"
)

// Row is one request of a dataset. It has token ids, a text, or turns, of which
// it may also have the ids of the first. What is no slice of its own is valid until the next Read.
type Row struct {
	Pos          trace.Pos
	TaskID       string           // an integer in decimal, or the string; "" is none
	IDs          []int32          // token ids; nil where the row has none
	Prompt       jsontext.Value   // the text as the JSON string that stands in the file; nil where ids or turns are asked
	Turns        []jsontext.Value // JSON strings: what the user says, one after the other
	Media        []trace.Member   // JSON strings: paths of what belongs to Prompt
	Adapter      formats.Adapter
	OutputTokens int64 // tokens that the answer must have
}

// A Reader reads a dataset in memory that depends on its longest row only. It
// is not safe for concurrent use.
type Reader struct {
	r      io.Reader
	name   string
	source source // nil before the first row
	buf    []byte
}

// NewReader returns a reader of the dataset r. Positions have the given file
// name; "-" is standard input.
func NewReader(r io.Reader, name string) *Reader {
	return &Reader{r: r, name: name}
}

// Read reads the next row. IDs, Turns and Media are appended to those of dst, cut to
// nothing. At the end the error is io.EOF. A fault of a row is a
// *trace.SyntaxError and reading goes on at the next one; any other error is final.
func (r *Reader) Read(dst *Row) error {
	if r.source == nil {
		r.source = newSource(r.r, r.name)
	}
	object, pos, err := r.source.next(r.buf)
	r.buf = object
	if err != nil {
		return err
	}
	p := parser{row: dst, ids: dst.IDs[:0], lengthKey: r.source.lengthKey()}
	*dst = Row{Pos: pos, Turns: dst.Turns[:0], Media: dst.Media[:0]}
	err = trace.WalkObject(object, p.member)
	if err == nil {
		err = p.finish()
	}
	if err != nil {
		*dst = Row{Pos: pos, IDs: p.ids, Turns: dst.Turns[:0], Media: dst.Media[:0]}
		return r.source.errorAt(pos, object, err)
	}
	return nil
}

// ErrorAt gives a fault of the row that was read last its position.
func (r *Reader) ErrorAt(pos trace.Pos, err error) error { return r.source.errorAt(pos, r.buf, err) }

// A parser takes the members of one row.
type parser struct {
	row       *Row
	ids       []int32 // memory for row.IDs
	lengthKey string
	idsKey    string // the key that gave the ids
	prompt    jsontext.Value
	output    trace.Opt[int64]
	input     trace.Member // input_len
	seen      uint
}

// keys are the known ones; the order is that of the bits of parser.seen.
var keys = []string{"task_id", "input_ids", "logits", "prompt", "turns", "media_paths", "lora_request", "output_tokens", "output_len", "input_len"}

func (p *parser) member(m trace.Member) (err error) {
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
		p.row.IDs, err = tokenIDs(p.ids, &m)
	case "prompt":
		if m.Value.Kind() != '"' {
			return m.Errorf(`"prompt" must be a string`)
		}
		p.prompt = m.Value
	case "turns":
		err = elements.Each(&m, func(e trace.Member) error {
			if e.Value.Kind() != '"' {
				return e.Errorf(`a turn in "turns" must be a string`)
			}
			p.row.Turns = append(p.row.Turns, e.Value)
			return nil
		})
	case "media_paths":
		err = elements.Each(&m, func(e trace.Member) error {
			if e.Value.Kind() != '"' {
				return e.Errorf(`a path in "media_paths" must be a string`)
			}
			p.row.Media = append(p.row.Media, e)
			return nil
		})
	case "lora_request":
		return p.adapter(&m)
	case "input_len":
		p.input = m
	case p.lengthKey:
		p.output, err = m.Integer(1, math.MaxInt32)
	}
	return err
}

// finish checks what only the whole row can show.
func (p *parser) finish() error {
	row := p.row
	fault := func(format string, args ...any) error {
		return &trace.ColumnError{Col: 1, Err: fmt.Errorf(format, args...)}
	}
	media := len(row.Media) > 0
	switch {
	case p.idsKey != "" && len(row.IDs) == 0:
		return fault("%q is empty", p.idsKey)
	case p.idsKey == "" && p.prompt == nil && len(row.Turns) == 0:
		return fault(`none of "prompt", "input_ids", "logits" and "turns" is there`)
	case !p.output.OK:
		return fault("%q is missing", p.lengthKey)
	case media && len(row.Turns) > 0:
		return row.Media[0].Errorf(`both "turns" and "media_paths"`)
	case media && p.prompt == nil:
		return row.Media[0].Errorf(`"media_paths" without "prompt"`)
	}
	if p.idsKey != "" && p.input.Value != nil {
		n, err := p.input.Integer(0, math.MaxInt32)
		if err == nil && n.V != int64(len(row.IDs)) {
			err = p.input.Errorf(`"input_len" is %d where %q has %d`, n.V, p.idsKey, len(row.IDs))
		}
		if err != nil {
			return err
		}
	}
	row.OutputTokens = p.output.V
	switch {
	case media: // the server makes ids of both, whatever the row has of the text
		row.Prompt, row.IDs = p.prompt, nil
	case p.idsKey == "" && len(row.Turns) == 0:
		row.Prompt = p.prompt
	}
	if p.idsKey == "" || media {
		row.IDs = nil
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

// adapter takes lora_request, which goes into a body as it is.
func (p *parser) adapter(m *trace.Member) error {
	if m.Value.Kind() != '{' {
		return m.Errorf(`"lora_request" must be an object`)
	}
	var name jsontext.Value
	seen := 0
	err := trace.WalkObject(m.Value, func(l trace.Member) (err error) {
		switch seen++; string(l.Name) {
		case "lora_name":
			if name != nil {
				return l.Errorf(`"lora_name" is there twice`)
			}
			var text string
			if text, err = l.Text(); err == nil && text != "" {
				name = l.Value
			}
		case "lora_int_id":
			_, err = l.Integer(math.MinInt64, math.MaxInt64)
		case "lora_path":
			if l.Value.Kind() != '"' && l.Value.Kind() != 'n' {
				err = l.Errorf(`"lora_path" must be a string`)
			}
		}
		return err
	})
	switch {
	case err != nil:
		return m.Inside(err)
	case seen == 0:
		return nil
	case name == nil:
		return m.Errorf(`"lora_request" has no "lora_name"`)
	}
	object := m.Value
	if bytes.ContainsAny(object, "\r\n") {
		object = object.Clone()
		if err := object.Compact(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
			return m.Errorf(`"lora_request" is not JSON`)
		}
	}
	p.row.Adapter = formats.Adapter{Name: name, Object: object}
	return nil
}

// tokenIDs appends an array of integers, which is known to be valid JSON.
func tokenIDs(ids []int32, m *trace.Member) ([]int32, error) {
	ids, bad := formats.AppendIDs(ids, m.Value)
	switch {
	case bad == 0:
		return nil, m.Errorf("%q must be an array", m.Name)
	case bad > 0:
		return nil, &trace.ColumnError{Col: m.Col + bad, Err: fmt.Errorf("a token id in %q must be an integer from 0 to %d", m.Name, math.MaxInt32)}
	}
	return ids, nil
}
