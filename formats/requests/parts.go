package requests

import (
	"bytes"
	"io"
)

// Part reads the next lines, as many as come at once, for part to read: a zero Reader,
// or one that has read an earlier part to its end, which is io.EOF. Parts are read apart
// from r and from each other, also at the same time, and together are what Read returns.
// The error is io.EOF after the last of them, and otherwise the reader's. A run line is
// a part of its own.
func (r *Reader) Part(part *Reader) error {
	l := &r.lines
	n, err := l.whole()
	if n == 0 {
		if err == io.EOF {
			r.ends()
		}
		return err
	}
	targets, runs, line := r.targets, r.runs, l.line
	switch text := l.buf[l.start : l.start+n]; err {
	case nil:
		n, err = r.until(text), io.EOF
	case io.EOF:
		r.learn(text)
	}
	// The buffer goes with the part, what is left of it into that of the part before.
	rest := l.buf[l.start+n : l.end]
	spare := part.lines.buf
	if len(spare) < len(l.buf) {
		spare = make([]byte, len(l.buf))
	}
	part.lines = lines{buf: l.buf, start: l.start, end: l.start + n, line: line, err: err}
	l.buf, l.start, l.end = spare, 0, copy(spare, rest)
	part.name, part.targets, part.runs, part.SkipRequests = r.name, targets, runs, r.SkipRequests
	return nil
}

// whole returns how many bytes the whole lines have that were read, at least one line.
// With an error they are not whole, but all that is left.
func (l *lines) whole() (n int, err error) {
	for {
		unread := l.buf[l.start:l.end]
		if i := bytes.LastIndexByte(unread, '\n'); i >= 0 {
			return i + 1, nil
		}
		if len(unread) > MaxLine {
			l.err = errLong
		}
		if l.err != nil {
			return len(unread), l.err
		}
		l.fill()
	}
}

// until returns how long the lines are until the first run line, or that one where it
// comes first, and learns from them what the next parts must know.
func (r *Reader) until(text []byte) (n int) {
	for n < len(text) {
		end := n + bytes.IndexByte(text[n:], '\n') + 1
		line := text[n : end-1]
		r.p.reset(line)
		t := r.typeOf()
		switch {
		case t == TypeRun && n > 0:
			return n
		case t == TypeClose:
			r.learn(line)
		}
		r.lines.line++
		if n = end; t == TypeRun {
			r.learn(line)
			return n
		}
	}
	return n
}

// learn takes note of a line. What is wrong with it the part will say.
func (r *Reader) learn(line []byte) {
	var rec Record
	r.parse(line, &rec)
}
