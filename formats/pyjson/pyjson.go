// Package pyjson reads JSON as Python's json module writes it: NaN, Infinity and
// -Infinity may stand where a value does, which RFC 8259 does not know.
//
// [NewReader] puts an empty string in their place, filled up with spaces to the same
// length, so that every position stays what it was and the rest of the document is judged
// as strictly as ever. In a file of numbers an empty string is told from all else: it is
// a number that is none, and so unknown.
package pyjson

import (
	"bytes"
	"fmt"
	"io"

	"wattrace/trace"
)

// reader replaces what is no JSON outside strings.
type reader struct {
	from   io.Reader
	buf    []byte // read, and not given away; all before ready is settled
	ready  int
	quoted bool
	escape bool
	err    error
}

// NewReader returns a reader of r with the numbers that are none replaced.
func NewReader(r io.Reader) io.Reader { return &reader{from: r} }

// words are the longest first, since one is the end of another.
var words = [][]byte{[]byte("-Infinity"), []byte("Infinity"), []byte("NaN")}

const longest = len("-Infinity")

// Read gives away what is settled.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.ready == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.fill()
	}
	n := copy(p, r.buf[:r.ready])
	r.buf, r.ready = r.buf[n:], r.ready-n
	return n, nil
}

// fill reads more and settles all but what may be the start of a word.
func (r *reader) fill() {
	const size = 64 << 10
	if cap(r.buf)-len(r.buf) < size/2 {
		r.buf = append(make([]byte, 0, size), r.buf...)
	}
	n, err := r.from.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf, r.err = r.buf[:len(r.buf)+n], err
	for i := 0; i < len(r.buf); i++ {
		c := r.buf[i]
		switch {
		case r.escape:
			r.escape = false
		case r.quoted:
			// Almost all of a long document is inside strings.
			j := bytes.IndexAny(r.buf[i:], "\"\\")
			if j < 0 {
				i = len(r.buf) - 1
				break
			}
			i += j
			r.escape, r.quoted = r.buf[i] == '\\', r.buf[i] == '\\'
		case c == '"':
			r.quoted = true
		case c == '-' || c == 'I' || c == 'N':
			if err == nil && len(r.buf)-i < longest {
				r.ready = i
				return
			}
			for _, w := range words {
				if bytes.HasPrefix(r.buf[i:], w) {
					copy(r.buf[i:], `""       `[:len(w)])
					i += len(w) - 1
					break
				}
			}
		}
		r.ready = i + 1
	}
}

// Position returns where the byte at an offset of a text is; name is its file's.
func Position(r io.Reader, name string, offset int64) (trace.Pos, error) {
	pos := trace.Pos{File: name, Line: 1, Col: 1}
	buf := make([]byte, 64<<10)
	for offset > 0 {
		n, err := r.Read(buf[:min(offset, int64(len(buf)))])
		if n == 0 && err != nil {
			return pos, fmt.Errorf("%s: %w", name, err)
		}
		part := buf[:n]
		offset -= int64(n)
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			pos.Line += bytes.Count(part, []byte("\n"))
			pos.Col = 1
			part = part[i+1:]
		}
		pos.Col += len(part)
	}
	return pos, nil
}
