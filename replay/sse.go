package replay

import (
	"bytes"
	"errors"
	"io"

	"wattrace/trace"
)

// MaxEvent bounds one server-sent event in bytes. A longer one fails the
// request (sse_syntax); it is never cut.
const MaxEvent = 64 << 20

// readSize is the size of the buffers that events are found in, one for each
// stream: large enough for a burst of events, small enough for thousands of
// streams.
const readSize = 8 << 10

// socketSize is the size of the buffers that sockets are read into, one for each
// connection. It bounds what a read takes of events that come together; what
// comes one by one touches only its first page.
const socketSize = 16 << 10

// errLongEvent is the error for an event beyond MaxEvent.
var errLongEvent = errors.New("an event is longer than 64 MiB")

// sseEvent is one event of a stream, or one comment line.
type sseEvent struct {
	name    []byte // the event field; empty is none
	data    []byte // the data lines, joined by LF
	comment bool
	at      trace.Time // when the read that completed it returned
}

// sseReader reads server-sent events as
// https://html.spec.whatwg.org/multipage/server-sent-events.html defines them.
// Lines end with LF, CR or CRLF; a byte order mark at the start is dropped.
// Beyond the standard it tells an end from a cut: input that ends inside an
// event is io.ErrUnexpectedEOF, unless that event is [DONE]. It never
// reconnects, and it does not allocate per event.
type sseReader struct {
	r     io.Reader
	stamp func() trace.Time // when the last Read of r that delivered bytes returned
	most  int               // MaxEvent, but in tests
	buf   []byte            // grows to the longest event
	keep  int               // start of what the current event still needs
	lo    int               // start of the line that nextLine returned
	line  int               // start of the line after it
	seen  int               // up to where that was searched for its end
	end   int               // end of what was read
	at    trace.Time
	err   error
	began bool // the byte order mark has been looked for
	split bool // a CR came last: an LF now belongs to it

	name    []byte
	first   [2]int // the first data line, as offsets into buf
	many    []byte // the data lines joined, once there are two
	lines   int    // data lines of the current event
	unknown int    // lines that are no field of the standard
}

// reset makes s read another stream with the same buffers.
func (s *sseReader) reset(r io.Reader, stamp func() trace.Time) {
	*s = sseReader{r: r, stamp: stamp, most: MaxEvent, buf: s.buf, name: s.name[:0], many: s.many[:0]}
	if s.buf == nil {
		s.buf = make([]byte, readSize)
	}
}

// next returns the next event. Its slices are valid until the next call.
func (s *sseReader) next(ev *sseEvent) error {
	if s.lines == 0 { // what the last event needed is free
		s.keep = s.line
	}
	for {
		line, ok := s.nextLine()
		if !ok {
			if s.err != nil {
				return s.ending(ev)
			}
			s.fill()
			continue
		}
		done, err := s.field(line, ev)
		if done || err != nil {
			return err
		}
	}
}

// nextLine returns the next line without its ending, if all of it was read.
func (s *sseReader) nextLine() ([]byte, bool) {
	if s.split && s.line < s.end {
		if s.buf[s.line] == '\n' {
			s.line++
			s.seen++
		}
		s.split = false
	}
	rest := s.buf[s.seen:s.end]
	n := bytes.IndexByte(rest, '\n')
	if n >= 0 {
		rest = rest[:n]
	}
	if cr := bytes.IndexByte(rest, '\r'); cr >= 0 {
		line := s.buf[s.line : s.seen+cr]
		s.lo = s.line
		s.line = s.seen + cr + 1
		s.seen, s.split = s.line, true
		return line, true
	}
	if n < 0 {
		s.seen = s.end
		return nil, false
	}
	line := s.buf[s.line : s.seen+n]
	s.lo = s.line
	s.line = s.seen + n + 1
	s.seen = s.line
	return line, true
}

// field takes in one line; done says that it completed an event.
func (s *sseReader) field(line []byte, ev *sseEvent) (done bool, err error) {
	if len(line) == 0 {
		return s.dispatch(ev), nil
	}
	if line[0] == ':' {
		*ev = sseEvent{comment: true, at: s.at}
		if s.lines == 0 {
			s.keep = s.line
		}
		return true, nil
	}
	value, ok := bytes.CutPrefix(line, []byte("data:"))
	if !ok {
		if len(line) != len("data") || string(line) != "data" {
			s.other(line)
			return false, nil
		}
		value = line[len(line):]
	}
	value = bytes.TrimPrefix(value, []byte{' '})
	return false, s.data(value, s.lo+len(line))
}

// data adds a data line to the event; end is where its value ends in buf.
func (s *sseReader) data(value []byte, end int) error {
	if len(value) > s.most {
		s.err = errLongEvent
		return errLongEvent
	}
	if s.lines++; s.lines == 1 {
		s.first = [2]int{end - len(value), end}
		s.keep = s.first[0]
		return nil
	}
	if s.lines == 2 {
		s.many = append(s.many[:0], s.buf[s.first[0]:s.first[1]]...)
	}
	s.many = append(append(s.many, '\n'), value...)
	s.keep = s.line
	if len(s.many) > s.most {
		s.err = errLongEvent
		return errLongEvent
	}
	return nil
}

// other takes in a line that is no data.
func (s *sseReader) other(line []byte) {
	name, value, _ := bytes.Cut(line, []byte{':'})
	switch string(name) {
	case "event":
		s.name = append(s.name[:0], bytes.TrimPrefix(value, []byte{' '})...)
	case "id", "retry": // for reconnecting clients
	default:
		s.unknown++
	}
	if s.lines == 0 {
		s.keep = s.line
	}
}

// dispatch ends an event, if there is one to end.
func (s *sseReader) dispatch(ev *sseEvent) bool {
	if s.lines == 0 {
		s.name = s.name[:0]
		s.keep = s.line
		return false
	}
	data := s.many
	if s.lines == 1 {
		data = s.buf[s.first[0]:s.first[1]]
	}
	*ev = sseEvent{name: s.name, data: data, at: s.at}
	s.name, s.lines = s.name[:0], 0
	return true
}

// ending returns what the end of the input means. A server that leaves out the
// blank line after [DONE] has said all that there is.
func (s *sseReader) ending(ev *sseEvent) error {
	if s.err != io.EOF {
		return s.err
	}
	rest := s.buf[s.line:s.end]
	s.line, s.seen = s.end, s.end
	if value, ok := bytes.CutPrefix(rest, []byte("data:")); ok && s.lines == 0 && string(bytes.TrimSpace(value)) == "[DONE]" {
		*ev = sseEvent{data: bytes.TrimSpace(value), at: s.at}
		return nil
	}
	if len(rest) > 0 {
		s.lines = 0
		return io.ErrUnexpectedEOF
	}
	if s.lines > 0 {
		if s.dispatch(ev); isDone(ev.data) {
			return nil
		}
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

// fill reads once more, after it has made room.
func (s *sseReader) fill() {
	if s.keep > 0 {
		n := s.keep
		s.end = copy(s.buf, s.buf[n:s.end])
		s.line -= n
		s.seen -= n
		s.first[0] -= n
		s.first[1] -= n
		s.keep = 0
	}
	if s.end == len(s.buf) {
		if len(s.buf) > s.most {
			s.err = errLongEvent
			return
		}
		grown := make([]byte, 2*len(s.buf))
		copy(grown, s.buf)
		s.buf = grown
	}
	for range 100 { // as bufio: a reader that returns nothing that often is broken
		n, err := s.r.Read(s.buf[s.end:])
		if n > 0 {
			s.at = s.stamp()
			s.end += n
		}
		s.err = err
		if n > 0 || err != nil {
			s.mark()
			return
		}
	}
	s.err = io.ErrNoProgress
}

// mark drops a byte order mark once enough was read to know.
func (s *sseReader) mark() {
	const mark = "\xef\xbb\xbf"
	if s.began || s.end < len(mark) && bytes.HasPrefix([]byte(mark), s.buf[:s.end]) && s.err == nil {
		return
	}
	s.began = true
	if bytes.HasPrefix(s.buf[:s.end], []byte(mark)) {
		s.line, s.seen, s.keep = len(mark), len(mark), len(mark)
	}
}
