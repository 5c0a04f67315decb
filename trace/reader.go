package trace

import (
	"bytes"
	"errors"
	"io"
	"iter"
)

// ErrEmptyTrace is the fault of a trace without a turn.
var ErrEmptyTrace = errors.New("the trace is empty")

// Trace is a whole trace in memory.
type Trace struct {
	Path string // as it was given; "-" is standard input

	// SHA256 is a hash in lower-case hexadecimal. Of a file it is taken over
	// its content, decompressed. Of a directory it is taken over one line for
	// each conversation file in the order of the trace, "<hash>  <name>\n", so
	// that the shell computes it too: sha256sum *.jsonl | sha256sum (in the C
	// locale, where no name has a newline or a backslash).
	SHA256 string

	Turns []Turn // in the order of the trace
}

// A Reader reads the turns of a raw_payload file. It is not safe for
// concurrent use.
type Reader struct {
	lines *LineReader
	found bool // a line that is not blank
}

// NewReader returns a reader of the trace r. Positions have the given file
// name; "-" is standard input.
func NewReader(r io.Reader, name string) *Reader {
	return &Reader{lines: NewLineReader(r, name)}
}

// Read reads the next turn: its Payload, appended to dst.Payload[:0], its
// Endpoint and its Pos. At the end the error is io.EOF. A fault of a line is a
// *SyntaxError, and reading goes on at the next line; a trace without any line
// is a *SyntaxError of the whole file. Any other error comes from the
// underlying reader and is final.
func (r *Reader) Read(dst *Turn) error {
	line, pos, err := r.lines.ReadLine(dst.Payload)
	*dst = Turn{Payload: line}
	if err == io.EOF && !r.found {
		r.found = true
		return &SyntaxError{Pos: Pos{File: pos.File}, Err: ErrEmptyTrace}
	}
	r.found = true
	if err != nil {
		return err
	}
	return dst.parse(pos)
}

// parse checks the payload and fills in what follows from it.
func (t *Turn) parse(pos Pos) error {
	endpoint, err := CheckPayload(t.Payload)
	if err != nil {
		return ErrorAt(pos, err)
	}
	t.Endpoint, t.Pos = endpoint, pos
	return nil
}

// All yields the remaining turns, each with memory of its own. A *SyntaxError
// is yielded and reading goes on; any other error is the last thing yielded.
func (r *Reader) All() iter.Seq2[Turn, error] {
	return func(yield func(Turn, error) bool) {
		for {
			var t Turn
			err := r.Read(&t)
			if err == io.EOF {
				return
			}
			var syntax *SyntaxError
			if !yield(t, err) || err != nil && !errors.As(err, &syntax) {
				return
			}
		}
	}
}

// Split reads a trace that is in memory, without copying: each Payload is a
// part of data, which may be mapped read-only and must outlive the turns. It
// accepts and refuses what Reader does, and stops at the first *SyntaxError.
func Split(name string, data []byte) ([]Turn, error) {
	var turns []Turn
	pos := Pos{File: name}
	for len(data) > 0 {
		n := bytes.IndexByte(data, '\n') + 1
		if n == 0 {
			n = len(data)
		}
		line := trimEnding(data[:n])
		data = data[n:]
		pos.Line++
		if len(line) > MaxLine {
			return nil, &SyntaxError{Pos: pos, Err: ErrLineTooLong}
		}
		if blank(line) {
			continue
		}
		t := Turn{Payload: line[:len(line):len(line)]}
		if err := t.parse(pos); err != nil {
			return nil, err
		}
		turns = append(turns, t)
	}
	if len(turns) == 0 {
		return nil, &SyntaxError{Pos: Pos{File: name}, Err: ErrEmptyTrace}
	}
	return turns, nil
}
