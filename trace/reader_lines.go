package trace

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// MaxLine is the longest line of a JSON Lines file, in bytes without its
// ending: 1 GiB. A longer one is an error, so that a file that is not lines at
// all cannot fill the memory.
const MaxLine = 1 << 30

// ErrLineTooLong is the fault of a line longer than MaxLine.
var ErrLineTooLong = errors.New("the line is longer than 1 GiB")

// A LineReader reads the lines of a JSON Lines file. A line ends with LF or
// CRLF, the last one may end with the file; blank lines are skipped and
// counted. It is not safe for concurrent use.
type LineReader struct {
	r    *bufio.Reader
	pos  Pos
	max  int
	done error // what every further call returns
}

// NewLineReader returns a reader of the lines of r. Positions in its errors
// have the given file name.
func NewLineReader(r io.Reader, name string) *LineReader {
	return &LineReader{r: bufio.NewReaderSize(r, 64<<10), pos: Pos{File: name}, max: MaxLine}
}

// ReadLine appends the next line that is not blank to buf[:0] and returns it,
// without its ending, and where it stands. At the end the error is io.EOF. A
// line that is too long is a *SyntaxError, after which reading goes on at the
// next line. Any other error is one of the underlying reader and final; the
// part of a line that came before it is not returned.
func (l *LineReader) ReadLine(buf []byte) ([]byte, Pos, error) {
	for l.done == nil {
		line, tooLong, err := l.raw(buf[:0])
		buf = line[:0]
		if err != nil {
			l.done = err
		}
		if err != nil && err != io.EOF {
			break
		}
		l.pos.Line++
		if tooLong {
			return buf, l.pos, &SyntaxError{Pos: l.pos, Err: ErrLineTooLong}
		}
		if !blank(line) {
			return line, l.pos, nil
		}
	}
	return buf[:0], l.pos, l.done
}

// raw reads up to and with the next LF, and takes the ending off.
func (l *LineReader) raw(buf []byte) (line []byte, tooLong bool, err error) {
	for {
		part, err := l.r.ReadSlice('\n')
		// Two bytes more than the limit may be the ending.
		if !tooLong && len(buf)+len(part) <= l.max+2 {
			buf = append(buf, part...)
		} else {
			tooLong = true
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		line = trimEnding(buf)
		return line, tooLong || len(line) > l.max, err
	}
}

// trimEnding takes LF or CRLF off. A CR that no LF follows belongs to the line.
func trimEnding(line []byte) []byte {
	line, found := bytes.CutSuffix(line, []byte("\n"))
	if found {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	return line
}

// blank reports whether a line has nothing but JSON's white space.
func blank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}
