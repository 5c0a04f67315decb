package aiperf

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"wattrace/trace"
)

// MaxLine bounds a line, in bytes.
const MaxLine = 256 << 20

// ErrTruncated is the cause of the error for a last line that was cut.
var ErrTruncated = errors.New("the last line is cut off")

// DefaultPhase is the phase of records that name none.
const DefaultPhase = "profiling"

// Reader reads requests. It is not safe for concurrent use.
type Reader struct {
	// Anchor is the Unix time, in nanoseconds, that all instants are relative to.
	Anchor int64

	lines *bufio.Reader
	pos   trace.Pos
	long  []byte // a line that is longer than the buffer
	mark  int    // length of the byte order mark
	seq   int64
	rec   record
	err   error // what every further Read returns
}

// NewReader returns a Reader of r; name is the file's, for messages.
func NewReader(r io.Reader, name string) *Reader {
	return &Reader{lines: bufio.NewReaderSize(r, 256<<10), pos: trace.Pos{File: name}}
}

// Read reads the next request into q, whose slices are reused. The error is io.EOF at
// the end, a *trace.SyntaxError for a line that is wrong, after which reading can go
// on, and otherwise the reader's.
func (r *Reader) Read(q *trace.Request) error {
	line, ended, err := r.next()
	if err != nil {
		return err
	}
	if err = r.rec.parse(line); err == nil {
		err = r.rec.request(q, r.Anchor)
	}
	if err != nil {
		return r.at(err, ended)
	}
	q.Seq = r.seq
	if q.Line == 0 {
		q.Line = int64(r.pos.Line)
	}
	r.seq++
	return nil
}

// at gives the fault of the line that next returned its position.
func (r *Reader) at(err error, ended bool) error {
	if !ended {
		return &trace.SyntaxError{Pos: r.pos, Err: ErrTruncated}
	}
	e := trace.ErrorAt(r.pos, err)
	if e.Pos.Col > 0 && r.pos.Line == 1 {
		e.Pos.Col += r.mark
	}
	return e
}

// next returns the next line that is not blank, without a byte order mark, and whether a
// line feed ended it. It is valid until the next call.
func (r *Reader) next() (line []byte, ended bool, err error) {
	for {
		if r.err != nil {
			return nil, false, r.err
		}
		if line, ended, r.err = r.line(); r.err != nil {
			return nil, false, r.err
		}
		if r.pos.Line == 1 {
			rest := bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
			r.mark, line = len(line)-len(rest), rest
		}
		if len(bytes.TrimSpace(line)) > 0 {
			return line, ended, nil
		}
	}
}

// line returns the next line, and whether a line feed ended it. It is valid until the
// next call.
func (r *Reader) line() (line []byte, ended bool, err error) {
	r.long = r.long[:0]
	for {
		part, err := r.lines.ReadSlice('\n')
		if len(r.long)+len(part) > MaxLine {
			return nil, false, &trace.SyntaxError{Pos: trace.Pos{File: r.pos.File, Line: r.pos.Line + 1}, Err: fmt.Errorf("the line is longer than %d MiB", MaxLine>>20)}
		}
		switch {
		case err == bufio.ErrBufferFull:
			r.long = append(r.long, part...)
			continue
		case err == io.EOF && len(r.long)+len(part) == 0:
			return nil, false, io.EOF
		case err != nil && err != io.EOF:
			return nil, false, err
		}
		if line = part; len(r.long) > 0 {
			r.long = append(r.long, part...)
			line = r.long
		}
		r.pos.Line++
		return line, err == nil, nil
	}
}
