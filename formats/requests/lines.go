package requests

import (
	"bytes"
	"fmt"
	"io"
)

// lines splits its input into lines without copying them.
type lines struct {
	r          io.Reader
	buf        []byte
	start, end int // what of buf was read and not yet returned
	line       int // number of the line returned last
	err        error
}

// errLong is the error for a line beyond MaxLine.
var errLong = fmt.Errorf("the line is longer than %d MiB", MaxLine>>20)

// next returns the next line without its LF, valid until the next call, and
// whether it had one. At the end it returns io.EOF.
func (l *lines) next() (line []byte, ended bool, err error) {
	searched := l.start
	for {
		if i := bytes.IndexByte(l.buf[searched:l.end], '\n'); i >= 0 {
			line = l.buf[l.start : searched+i]
			l.start = searched + i + 1
			l.line++
			return line, true, nil
		}
		if l.end-l.start > MaxLine {
			l.line++
			l.err = errLong // there is no going on from here
			return nil, false, errLong
		}
		if l.err != nil {
			line, l.start = l.buf[l.start:l.end], l.end
			if len(line) == 0 || l.err != io.EOF {
				return nil, false, l.err
			}
			l.line++
			return line, false, nil
		}
		unread := l.end - l.start
		l.fill()
		searched = l.start + unread
	}
}

// fill reads more, after it has made room.
func (l *lines) fill() {
	if l.start > 0 {
		l.end = copy(l.buf, l.buf[l.start:l.end])
		l.start = 0
	}
	if l.end == len(l.buf) {
		grown := make([]byte, max(2*len(l.buf), 256<<10))
		copy(grown, l.buf)
		l.buf = grown
	}
	for range 100 { // as bufio: a reader that returns nothing that often is broken
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		l.err = err
		if n > 0 || err != nil {
			return
		}
	}
	l.err = io.ErrNoProgress
}
