// Package lengths reads traces in CSV that have times and lengths only: the LLM
// inference traces of Azure (2023, 2024) and BurstGPT.
//
//	TIMESTAMP,ContextTokens,GeneratedTokens
//	2023-11-16 18:17:03.9799600,4808,10
//	2024-05-10 00:00:00.009930+00:00,2162,5
//
//	Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
//	5,ChatGPT,472,18,490,Conversation log
//
// The first line that is not blank names the columns, in any order; others than
// these are skipped. A line ends with LF or CRLF, a field may be in double quotes
// that have no comma, and a byte order mark at the start is skipped.
//
//	TIMESTAMP        date and time, of which a fraction may have 9 digits and which is
//	                 UTC unless it has an offset. The first row's is the start of
//	                 the trace; an earlier one is a fault
//	Timestamp        seconds since the start of the trace, in any order
//	ContextTokens, Request tokens
//	                 integer from 1 to 2^24: tokens of the prompt
//	GeneratedTokens, Response tokens
//	                 integer from 0 to 2^31-1: tokens of the answer. Rows with 0, which
//	                 are requests that failed, are left out and counted
//
// The prompts are made of token ids (wattrace/formats/tokens), of which no row
// shares any with another, since it is not known what they shared.
package lengths

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"wattrace/formats"
	"wattrace/formats/tokens"
	"wattrace/trace"
)

// A layout is the columns of one kind of trace: when, tokens in, tokens out.
type layout struct {
	columns [3]string
	dates   bool // when is a date, not seconds
}

var layouts = []layout{
	{[3]string{"TIMESTAMP", "ContextTokens", "GeneratedTokens"}, true},
	{[3]string{"Timestamp", "Request tokens", "Response tokens"}, false},
}

// A Reader reads a trace in constant memory. It is not safe for concurrent use.
type Reader struct {
	lines  *trace.LineReader
	buf    []byte
	vocab  tokens.Vocab
	layout *layout // nil: the header was not read yet
	where  [3]int  // of the columns
	fields int
	start  time.Time // zero: none yet
	done   error     // what every further Read returns

	omitted int64 // rows without an answer
}

// NewReader returns a reader of the trace r; vocab 0 is tokens.Default. Positions
// have the given file name; "-" is standard input.
func NewReader(r io.Reader, name string, vocab tokens.Vocab) *Reader {
	if vocab == 0 {
		vocab = tokens.Default
	}
	return &Reader{lines: trace.NewLineReader(r, name), vocab: vocab}
}

// Read reads the next request, as formats.RequestReader says.
func (r *Reader) Read(dst *formats.Request) error {
	ids := dst.IDs[:0]
	for {
		*dst = formats.Request{IDs: ids}
		if r.done != nil {
			return r.done
		}
		line, pos, err := r.lines.ReadLine(r.buf)
		r.buf = line
		if err != nil {
			return err
		}
		dst.Pos = pos
		if r.layout == nil {
			if r.done = r.header(line); r.done != nil {
				r.done = fmt.Errorf("%s: %w", pos, r.done)
			}
			continue
		}
		failed, err := r.row(dst, line)
		if err != nil {
			*dst = formats.Request{Pos: pos, IDs: ids}
			return trace.ErrorAt(pos, err)
		}
		if !failed {
			return nil
		}
		r.omitted++
	}
}

// Omissions says how many requests had no answer.
func (r *Reader) Omissions() []formats.Omission {
	return []formats.Omission{{What: "requests without an answer", N: r.omitted}}
}

// A field is one of a line, without white space and quotes around it.
type field struct {
	text []byte
	col  int
}

// split calls do with each field of a line, and its number, and returns how
// many there are.
func split(line []byte, do func(i int, f field)) int {
	for i, col := 0, 1; ; i++ {
		raw, rest, more := bytes.Cut(line, []byte(","))
		left := bytes.TrimLeft(raw, " \t\"")
		do(i, field{bytes.TrimRight(left, " \t\r\""), col + len(raw) - len(left)})
		if !more {
			return i + 1
		}
		line, col = rest, col+len(raw)+1
	}
}

// header finds the columns.
func (r *Reader) header(line []byte) error {
	line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	for i := range layouts {
		l := &layouts[i]
		found := 0
		r.fields = split(line, func(i int, f field) {
			for c, name := range l.columns {
				if string(f.text) == name {
					r.where[c] = i
					found += 1 << (8 * c) // so that a column twice is not two columns
				}
			}
		})
		if found == 1+1<<8+1<<16 {
			r.layout = l
			return nil
		}
	}
	return fmt.Errorf("no header that names once each of %q or of %q", layouts[0].columns, layouts[1].columns)
}

// row reads a line of values.
func (r *Reader) row(dst *formats.Request, line []byte) (failed bool, err error) {
	var values [3]field
	n := split(line, func(i int, f field) {
		for c, at := range r.where {
			if i == at {
				values[c] = f
			}
		}
	})
	if n != r.fields {
		return false, &trace.ColumnError{Col: 1, Err: fmt.Errorf("%d fields where the header has %d", n, r.fields)}
	}
	at, err := r.when(values[0])
	if err != nil {
		return false, &trace.ColumnError{Col: values[0].col, Err: err}
	}
	output, err := r.count(values, 2, 0, math.MaxInt32)
	if err != nil || output == 0 {
		return true, err
	}
	input, err := r.count(values, 1, 1, 1<<24)
	if err != nil {
		return false, err
	}
	dst.IDs, dst.Made = r.vocab.AppendUnique(dst.IDs, uint64(dst.Pos.Line), int(input)), true
	dst.Timing = trace.Timing{AtSeconds: trace.Some(at), InputTokens: trace.Some(input), OutputTokens: trace.Some(output)}
	return false, nil
}

func (r *Reader) count(values [3]field, column int, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(string(values[column].text), 10, 64)
	if err != nil || n < least || n > most {
		return 0, &trace.ColumnError{Col: values[column].col, Err: fmt.Errorf("%q must be an integer from %d to %d", r.layout.columns[column], least, most)}
	}
	return n, nil
}

// maxSeconds bounds times as the side file does.
const maxSeconds = 1 << 61 / 1e9

// when returns seconds since the start of the trace.
func (r *Reader) when(f field) (float64, error) {
	if !r.layout.dates {
		v, err := strconv.ParseFloat(string(f.text), 64)
		if err != nil || !(v >= 0 && v <= maxSeconds) {
			return 0, errors.New(`"Timestamp" must be seconds, not negative and less than 73 years`)
		}
		return v + 0, nil // no negative zero
	}
	t, err := date(string(f.text))
	if err != nil {
		return 0, err
	}
	if r.start.IsZero() {
		r.start = t
	}
	switch d := t.Sub(r.start); {
	case d < 0:
		return 0, errors.New(`"TIMESTAMP" is earlier than the first`)
	case d.Seconds() > maxSeconds:
		return 0, errors.New(`"TIMESTAMP" is beyond what can be scheduled`)
	default:
		return d.Seconds(), nil
	}
}

func date(s string) (time.Time, error) {
	for _, form := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New(`"TIMESTAMP" must be a date and time`)
}
