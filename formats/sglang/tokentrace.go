package sglang

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"wattrace/formats"
	"wattrace/trace"
)

// A TokenTraceReader reads a token trace in memory that depends on its longest
// line only. It is not safe for concurrent use.
type TokenTraceReader struct {
	lines   *trace.LineReader
	buf     []byte
	ids     []int32            // of an answer
	start   trace.Opt[float64] // ts of the first row that has one
	omitted int64
}

// NewTokenTraceReader returns a reader of the trace r. Positions have the given
// file name; "-" is standard input.
func NewTokenTraceReader(r io.Reader, name string) *TokenTraceReader {
	return &TokenTraceReader{lines: trace.NewLineReader(r, name)}
}

// Omissions says how many rows had no answer.
func (r *TokenTraceReader) Omissions() []formats.Omission {
	return []formats.Omission{{What: "requests without an answer", N: r.omitted}}
}

// Read reads the next request, as formats.RequestReader says.
func (r *TokenTraceReader) Read(dst *formats.Request) error {
	ids := dst.IDs[:0]
	for {
		line, pos, err := r.lines.ReadLine(r.buf)
		r.buf = line
		if err != nil {
			*dst = formats.Request{IDs: ids}
			return err
		}
		var found [len(keys)]trace.Member
		err = trace.WalkObject(line, func(m trace.Member) error {
			i := slices.Index(keys[:], string(m.Name))
			if i < 0 {
				return nil
			}
			if found[i].Name != nil {
				return m.Errorf("%q is there twice", m.Name)
			}
			found[i] = m
			return nil
		})
		*dst = formats.Request{Pos: pos, IDs: ids}
		if err == nil {
			err = r.fill(dst, &found)
		}
		if err != nil {
			*dst = formats.Request{Pos: pos, IDs: ids}
			return trace.ErrorAt(pos, err)
		}
		if dst.Timing.OutputTokens.V > 0 {
			return nil
		}
		ids = dst.IDs[:0]
		r.omitted++
	}
}

// keys are the known ones.
var keys = [...]string{"input_tokens", "num_input_tokens", "num_output_tokens", "output_tokens", "ts"}

func (r *TokenTraceReader) fill(dst *formats.Request, found *[len(keys)]trace.Member) (err error) {
	there := func(i int) bool { return found[i].Value != nil && found[i].Value.Kind() != 'n' }
	if !there(0) {
		return &trace.ColumnError{Col: 1, Err: errors.New(`"input_tokens" is missing`)}
	}
	if dst.IDs, err = tokenIDs(dst.IDs, &found[0]); err != nil {
		return err
	}
	n := int64(len(dst.IDs))
	if n == 0 {
		return found[0].Errorf(`"input_tokens" is empty`)
	}
	dst.Timing.InputTokens = trace.Some(n)
	if said, err := found[1].Integer(0, math.MaxInt32); there(1) && err != nil {
		return err
	} else if there(1) && said.V != n {
		return found[1].Errorf(`"num_input_tokens" is %d where "input_tokens" has %d`, said.V, n)
	}
	switch {
	case there(2):
		dst.Timing.OutputTokens, err = found[2].Integer(0, math.MaxInt32)
	case there(3):
		r.ids, err = tokenIDs(r.ids[:0], &found[3])
		dst.Timing.OutputTokens = trace.Some(int64(len(r.ids)))
	default:
		err = &trace.ColumnError{Col: 1, Err: errors.New(`neither "num_output_tokens" nor "output_tokens" is there`)}
	}
	if err != nil || !there(4) {
		return err
	}
	dst.Timing.AtSeconds, err = r.at(&found[4])
	return err
}

// at returns seconds since the start of the trace.
func (r *TokenTraceReader) at(m *trace.Member) (trace.Opt[float64], error) {
	ts, err := m.Seconds()
	if err != nil {
		return ts, err
	}
	if !r.start.OK {
		r.start = ts
	}
	if ts.V < r.start.V {
		return ts, m.Errorf(`"ts" is earlier than the first`)
	}
	return trace.Some(math.Round((ts.V-r.start.V)*1e9) / 1e9), nil
}

// tokenIDs appends the token ids of a member.
func tokenIDs(ids []int32, m *trace.Member) ([]int32, error) {
	ids, bad := formats.AppendIDs(ids, m.Value)
	switch {
	case bad == 0:
		return ids, m.Errorf("%q must be an array", m.Name)
	case bad > 0:
		return ids, &trace.ColumnError{Col: m.Col + bad, Err: fmt.Errorf("a token id in %q must be an integer from 0 to %d", m.Name, math.MaxInt32)}
	}
	return ids, nil
}
