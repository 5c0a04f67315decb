package prompts

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats"
	"wattrace/formats/elements"
	"wattrace/formats/turns"
	"wattrace/trace"
)

// A Format is one of those that a Reader reads.
type Format int

// The formats.
const (
	VLLM Format = iota
	Questions
	GuideLLM
)

// A Reader reads a dataset in memory that depends on its longest line only. It
// is not safe for concurrent use.
type Reader struct {
	turns.Queue // of Questions
	lines       *trace.LineReader
	buf         []byte
	format      Format
	rows        int     // that were read, bad ones too
	columns     columns // of GuideLLM, from good rows
	asked       []jsontext.Value
}

// NewReader returns a reader of the dataset r. Positions have the given file
// name; "-" is standard input.
func NewReader(r io.Reader, name string, f Format) *Reader {
	return &Reader{lines: trace.NewLineReader(r, name), format: f}
}

// Read reads the next request, as formats.RequestReader says.
func (r *Reader) Read(dst *formats.Request) error {
	if r.Next(dst) {
		return nil
	}
	line, pos, err := r.lines.ReadLine(r.buf)
	r.buf = line
	if err != nil {
		return err
	}
	r.rows++
	row := formats.Request{Pos: pos}
	switch r.format {
	case VLLM:
		err = vllm(&row, line)
	case Questions:
		err = r.questions(&row, line)
	case GuideLLM:
		err = r.guidellm(&row, line)
	}
	if err != nil {
		*dst = formats.Request{Pos: pos}
		return trace.ErrorAt(pos, err)
	}
	if r.format == Questions {
		row.Conversation = strconv.Itoa(r.rows)
		r.Set(row, r.asked)
		r.Next(dst)
		return nil
	}
	*dst = row
	return nil
}

func missing(key string) error {
	return &trace.ColumnError{Col: 1, Err: fmt.Errorf("%q is missing", key)}
}

// text takes a string, of which the JSON is kept.
func text(dst *jsontext.Value, m *trace.Member) error {
	if m.Value.Kind() != '"' {
		return m.Errorf("%q must be a string", m.Name)
	}
	*dst = m.Value
	return nil
}

func vllm(row *formats.Request, line []byte) error {
	var prompt, output bool
	err := trace.WalkObject(line, func(m trace.Member) (err error) {
		seen := &prompt
		switch string(m.Name) {
		case "prompt":
		case "output_tokens":
			seen = &output
		default:
			return nil
		}
		if *seen {
			return m.Errorf("%q is there twice", m.Name)
		}
		switch *seen = true; {
		case m.Value.Kind() == 'n':
		case seen == &output:
			row.Timing.OutputTokens, err = m.Integer(1, math.MaxInt32)
		default:
			err = text(&row.Prompt, &m)
		}
		return err
	})
	if err == nil && row.Prompt == nil {
		err = missing("prompt")
	}
	return err
}

func (r *Reader) questions(row *formats.Request, line []byte) error {
	r.asked = r.asked[:0]
	var turns, id bool
	err := trace.WalkObject(line, func(m trace.Member) (err error) {
		seen := &turns
		switch string(m.Name) {
		case "turns":
		case "question_id":
			seen = &id
		default:
			return nil
		}
		if *seen {
			return m.Errorf("%q is there twice", m.Name)
		}
		switch *seen = true; {
		case m.Value.Kind() == 'n':
		case seen == &id:
			row.Timing.ID, err = name(&m)
		default:
			err = elements.Each(&m, func(e trace.Member) error {
				if e.Value.Kind() != '"' {
					return e.Errorf(`a turn in "turns" must be a string`)
				}
				r.asked = append(r.asked, e.Value)
				return nil
			})
			if err == nil && len(r.asked) == 0 {
				err = m.Errorf(`"turns" is empty`)
			}
		}
		return err
	})
	if err == nil && len(r.asked) == 0 {
		err = missing("turns")
	}
	return err
}

// name reads an integer or a string that is not empty.
func name(m *trace.Member) (string, error) {
	if m.Value.Kind() != '0' {
		return m.Text()
	}
	n, err := m.Integer(math.MinInt64, math.MaxInt64)
	return strconv.FormatInt(n.V, 10), err
}

var errNothingAsked = errors.New("no column of prompts or messages is there")
