// Package stamped is what readers of logs of sensors have in common whose rows are lines
// of text that a wall clock stamps: lines, devices, the order of time, faults.
//
// LF or CRLF ends a line; blank lines are skipped; a byte order mark before the first is
// taken off. A log has no other clock than its stamps, so that times are relative to its
// first row, whose wall clock is the anchor. A fault of a line is a *trace.SyntaxError with
// its line and, where it has one, column, after the rows before it, and reading goes on at
// the next line. A last line that no line feed ends was cut unless the parser can tell that
// it is whole: it is an error that wraps [ErrTruncated].
package stamped

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

const (
	maxRead    = 4096    // rows that one Read returns, but for those of one line
	maxDevices = 4096    // of a log
	maxLine    = 1 << 20 // bytes
)

// ErrTruncated is the cause of the error of a last line that was cut.
var ErrTruncated = errors.New("the log is not complete: its last line has no end")

// Head is what a log says of itself.
type Head struct {
	Clock   trace.Clock // its anchor, the first row's instant, has a wall clock only
	Info    sample.Info
	Devices []sample.Device // of all rows so far
}

// A Parser reads the lines of one format.
type Parser interface {
	// Line reads a line, without its ending, and adds its rows. A *trace.ColumnError
	// says where in it a fault is. The line is valid until it returns.
	Line(line []byte, rows *Rows) error
	// Whole reports whether a line that nothing ends is complete all the same.
	Whole(line []byte) bool
	// Open reports whether the line feed after a line belongs to it, as one in quotes.
	Open(line []byte) bool
}

// Lines is the part of a Parser that formats have whose lines end with line feeds.
type Lines struct{}

// Whole reports false.
func (Lines) Whole([]byte) bool { return false }

// Open reports false.
func (Lines) Open([]byte) bool { return false }

// Rows takes the rows of a log.
type Rows struct {
	head   Head
	begun  bool
	places map[string]int
	latest []int64 // of each device
	batch  sample.Batch
}

// Info is what the log says of its source; the parser may add to it.
func (r *Rows) Info() *sample.Info { return &r.head.Info }

// Device returns the place of a device that key tells from others, which describe
// describes when it is new.
func (r *Rows) Device(key []byte, describe func() sample.Device) (int, error) {
	if i, ok := r.places[string(key)]; ok {
		return i, nil
	}
	n := len(r.head.Devices)
	if n == maxDevices {
		return 0, fmt.Errorf("more than %d devices", maxDevices)
	}
	if r.places == nil {
		r.places = map[string]int{}
	}
	r.places[string(key)] = n
	r.head.Devices = append(r.head.Devices, describe())
	r.latest = append(r.latest, math.MinInt64)
	return n, nil
}

// Add appends a row of a device. One that is earlier than the device's row before is an
// error.
func (r *Rows) Add(device int, unix int64, took time.Duration) (sample.Row, error) {
	if last := r.latest[device]; unix < last {
		return sample.Row{}, fmt.Errorf("%v before the row before, of the same device", time.Duration(last-unix))
	}
	r.latest[device] = unix
	return r.AddEvent(device, unix, took), nil
}

// AddEvent appends a row that may stand before or after readings of its time.
func (r *Rows) AddEvent(device int, unix int64, took time.Duration) sample.Row {
	if !r.begun {
		r.begun = true
		r.head.Clock.Anchor.UnixNanos = unix
	}
	return r.batch.Append(device, trace.Time(unix-r.head.Clock.Anchor.UnixNanos), took)
}

// Reader reads a log. It is not safe for concurrent use.
type Reader struct {
	lines  *bufio.Reader
	pos    trace.Pos
	parser Parser
	rows   Rows
	long   []byte // a line that is longer than the buffer, or goes on

	failed error // what is wrong with the line after the rows that were read ahead
	done   error // what every further Read returns
}

// NewReader reads the first rows, so that Head knows the clock and the devices of them.
// name is for errors.
func NewReader(r io.Reader, name string, info sample.Info, host string, p Parser) (*Reader, error) {
	rd := &Reader{lines: bufio.NewReaderSize(r, 64<<10), pos: trace.Pos{File: name}, parser: p}
	rd.rows.head = Head{Info: info, Clock: trace.Clock{Host: host}}
	rd.fill(true)
	switch {
	case rd.rows.batch.Len() > 0 || rd.failed != nil:
	case rd.done == io.EOF && rd.pos.Line == 0:
		return nil, &trace.SyntaxError{Pos: rd.pos, Err: errors.New("the file is empty")}
	case rd.done != io.EOF:
		return nil, rd.done
	}
	return rd, nil
}

// Head returns what the log says of itself, and the devices of the rows so far. The
// anchor of a log without a good row is zero.
func (r *Reader) Head() Head { return r.rows.head }

// Read replaces the content of b by the next rows: those that have arrived, at least one.
// An index in b.Device keeps its meaning.
func (r *Reader) Read(b *sample.Batch) error {
	if r.rows.batch.Len() == 0 && r.failed == nil && r.done == nil {
		r.fill(false)
	}
	if r.rows.batch.Len() > 0 {
		*b, r.rows.batch = r.rows.batch, *b
		b.Devices = r.rows.head.Devices
		r.rows.batch.Reset()
		return nil
	}
	if err := r.failed; err != nil {
		r.failed = nil
		return err
	}
	return r.done
}

// fill reads rows ahead: what has arrived, up to a fault, the end or maxRead; at
// first, until a device comes again, so that all are known.
func (r *Reader) fill(first bool) {
	r.rows.batch.Reset()
	for r.rows.batch.Len() < maxRead {
		line, err := r.line()
		if err == nil {
			if err = r.parser.Line(line, &r.rows); err != nil {
				err = trace.ErrorAt(r.pos, err)
			}
		}
		if err != nil {
			var syntax *trace.SyntaxError
			if errors.As(err, &syntax) {
				r.failed = err
			} else {
				r.done = err
			}
			return
		}
		switch rows := r.rows.batch.Len(); {
		case rows > 0 && first && rows > len(r.rows.head.Devices):
			return
		case rows > 0 && !first && r.lines.Buffered() == 0:
			return
		}
	}
}

// line returns the next line that is not blank, without its ending.
func (r *Reader) line() ([]byte, error) {
	for {
		line, err := r.raw()
		if r.pos.Line == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
			if err == nil && (bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff"))) {
				return nil, &trace.SyntaxError{Pos: r.pos, Err: errors.New("the file is in UTF-16, as some shells write it: UTF-8 is wanted")}
			}
		}
		if err != nil || len(bytes.TrimSpace(line)) > 0 {
			return line, err
		}
	}
}

// raw returns the next line, or lines that belong together.
func (r *Reader) raw() ([]byte, error) {
	r.long = r.long[:0]
	more := 0 // line feeds inside
	for {
		part, err := r.lines.ReadSlice('\n')
		line := part
		if len(r.long) > 0 || err == bufio.ErrBufferFull {
			r.long = append(r.long, part...)
			line = r.long
		}
		switch {
		case len(line) > maxLine:
			r.pos.Line += 1 + more
			return nil, r.tooLong(err)
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(line) == 0:
			return nil, io.EOF
		case err != nil && err != io.EOF:
			return nil, err
		}
		text := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		switch {
		case err == io.EOF && len(bytes.TrimSpace(text)) == 0:
			return nil, io.EOF
		case err == io.EOF && (r.parser.Open(text) || !r.parser.Whole(text)):
			r.pos.Line += 1 + more
			return nil, &trace.SyntaxError{Pos: r.pos, Err: ErrTruncated}
		case err == nil && r.parser.Open(text):
			if len(r.long) == 0 {
				r.long = append(r.long, part...)
			}
			more++
			continue
		}
		r.pos.Line += 1 + more
		return text, nil
	}
}

// tooLong passes over the rest of a line, of which err ended what was read of it.
func (r *Reader) tooLong(err error) error {
	for err == bufio.ErrBufferFull {
		_, err = r.lines.ReadSlice('\n')
	}
	if err != nil && err != io.EOF {
		return err
	}
	return &trace.SyntaxError{Pos: r.pos, Err: fmt.Errorf("the line is longer than %d MiB", maxLine>>20)}
}
