package energymetrics

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats/elements"
	"wattrace/trace"
)

// Answer is one reading.
type Answer struct {
	Joules  float64 // since the server's monitor started
	Seconds float64 // of the server's monotonic clock
}

// MaxFile bounds a file, in bytes.
const MaxFile = 16 << 20

// most is what either number can be.
const most = 1e15

// Parse reads the answers of a file, at least one. name is for errors, which are
// *trace.SyntaxError.
func Parse(b []byte, name string) (list []Answer, err error) {
	at := func(offset int) trace.Pos {
		before := b[:min(max(offset, 0), len(b))]
		return trace.Pos{File: name, Line: bytes.Count(before, []byte("\n")) + 1, Col: len(before) - bytes.LastIndexByte(before, '\n')}
	}
	d := jsontext.NewDecoder(bytes.NewReader(b), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		v, err := d.ReadValue()
		if err == io.EOF {
			break
		}
		if err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: fmt.Errorf("the document breaks off: %w", io.ErrUnexpectedEOF)}
			}
			offset := int(d.InputOffset())
			if syntax := (*jsontext.SyntacticError)(nil); errors.As(err, &syntax) {
				offset = int(syntax.ByteOffset)
			}
			return nil, &trace.SyntaxError{Pos: at(offset), Err: trace.ErrNotJSON}
		}
		start := int(d.InputOffset()) - len(v)
		a, err := answer(v)
		if err != nil {
			return nil, elements.ErrorAt(at(start), v, err)
		}
		list = append(list, a)
	}
	if len(list) == 0 {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: errors.New("the file holds no answer")}
	}
	return list, nil
}

func answer(v []byte) (a Answer, err error) {
	var joules, seconds trace.Opt[float64]
	err = trace.WalkObject(v, func(m trace.Member) error {
		to := map[string]*trace.Opt[float64]{"total_energy_j": &joules, "query_time": &seconds}[string(m.Name)]
		if to == nil {
			return nil
		}
		n, err := strconv.ParseFloat(string(m.Value), 64)
		if m.Value.Kind() != '0' || err != nil || n < 0 || n > most {
			return m.Errorf("%s must be a number from 0 to %v", m.Name, float64(most))
		}
		*to = trace.Some(n)
		return nil
	})
	switch {
	case err != nil:
		return a, err
	case !joules.OK:
		return a, errors.New("the answer has no total_energy_j")
	case !seconds.OK:
		return a, errors.New("the answer has no query_time")
	}
	return Answer{joules.V, seconds.V}, nil
}
