package nvidiasmi

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// Source is the source of the devices of such a log.
const Source sample.SourceName = "nvidia-smi"

const (
	maxRead    = 4096     // rows that one Read returns at most
	maxDevices = 4096     // of a log
	maxLine    = 64 << 10 // bytes
)

// ErrTruncated is the cause of the error of a last line that was cut.
var ErrTruncated = errors.New("the log is not complete: its last line has no end")

// ErrNoHeader is the cause of the error of a log that begins with a row, where Options
// do not say what its columns are.
var ErrNoHeader = errors.New("the log has no header that says what its columns are")

// Options say what a log does not. The zero Options are ready.
type Options struct {
	Location *time.Location // where its times are local; nil is UTC
	Host     string         // host that the devices are in; "" is unknown
	// Columns is the header of a log that has none (--format=csv,noheader): what
	// --query-gpu was given. A header of the log's own counts more. "" is none.
	Columns string
}

// Head is what a log says of itself.
type Head struct {
	Clock   trace.Clock // its anchor, the first row's instant, has a wall clock only
	Info    sample.Info
	Devices []sample.Device // of all rows so far
}

// Reader reads a log. It is not safe for concurrent use.
type Reader struct {
	lines   *bufio.Reader
	pos     trace.Pos
	options Options
	columns []column
	unread  []string
	head    Head

	ids     map[string]int // index of each device, by what identifies it in its row
	latest  []int64        // last row of each device, Unix nanoseconds
	minute  minute         // of the last row
	given   bool           // the columns are Options.Columns
	held    []byte         // a line that is to be read again
	begun   bool           // a row was read, so that there is an anchor
	scratch []value        // of the current row
	alone   bool           // nothing in the current row tells its device from others

	next   sample.Batch // read ahead
	failed error        // what is wrong with the line after next
	done   error        // what every further Read returns
}

// NewReader reads the header of a log, and rows until a device comes again, so
// that Head knows the clock and the devices. name is for errors.
func NewReader(r io.Reader, name string, o Options) (*Reader, error) {
	rd := newReader(name, o)
	rd.lines = bufio.NewReaderSize(r, maxLine)
	line, err := rd.line()
	switch {
	case err == io.EOF:
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: errors.New("the file is empty")}
	case err != nil:
		return nil, err
	}
	if err := rd.begin(line); err != nil {
		return nil, trace.ErrorAt(rd.pos, err)
	}
	if rd.given {
		rd.held = line
	}
	rd.fill(true)
	return rd, nil
}

// newReader returns a reader that has no lines yet.
func newReader(name string, o Options) *Reader {
	if o.Location == nil {
		o.Location = time.UTC
	}
	return &Reader{
		pos: trace.Pos{File: name}, options: o,
		ids: map[string]int{}, head: Head{Info: sample.Info{API: "nvidia-smi --query-gpu"}, Clock: trace.Clock{Host: o.Host}},
	}
}

// begin reads the first line. Its errors have columns.
func (r *Reader) begin(line []byte) (err error) {
	if bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff")) {
		return errors.New("the log is in UTF-16, as some shells write it: UTF-8 is wanted")
	}
	line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	r.columns, r.unread, err = parseHeader(line)
	switch {
	case err != nil || r.columns != nil:
		return err
	case r.options.Columns != "":
		r.columns, r.unread, err = parseHeader([]byte(r.options.Columns))
		if err != nil || r.columns == nil {
			return fmt.Errorf("the columns that were given, %.100q, are not those of an nvidia-smi log: a timestamp and a metric are wanted", r.options.Columns)
		}
		r.given = true
		return nil
	case beginsWithRow(line):
		return ErrNoHeader
	}
	return errors.New("not the header of an nvidia-smi log: a timestamp and a metric are wanted")
}

// beginsWithRow reports whether a line has a time, as rows have.
func beginsWithRow(line []byte) bool {
	for text := range fields(line) {
		if _, err := parseStamp(text); err == nil {
			return true
		}
	}
	return false
}

// Head returns what the log says of itself, and the devices of the rows so far.
// The anchor of a log without a good row is zero.
func (r *Reader) Head() Head { return r.head }

// Ignored returns the names of the columns that are not read.
func (r *Reader) Ignored() []string { return r.unread }

// Read replaces the content of b by the next rows: those that have arrived, at
// least one and at most 4,096. b.Devices holds the devices of all rows so far, so that an index keeps its meaning. A
// fault of a line is a *trace.SyntaxError, after the rows before it, and reading
// goes on at the next line; one that wraps ErrTruncated is the last before
// io.EOF. Any other error is final.
func (r *Reader) Read(b *sample.Batch) error {
	if r.next.Len() == 0 && r.failed == nil && r.done == nil {
		r.fill(false)
	}
	if r.next.Len() > 0 {
		*b, r.next = r.next, *b
		b.Devices = r.head.Devices
		r.next.Reset()
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
	r.next.Reset()
	for r.next.Len() < maxRead {
		line, err := r.line()
		if err == nil {
			if err = r.row(line); err != nil {
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
		switch rows := r.next.Len(); {
		case rows > 0 && first && rows > len(r.head.Devices):
			return
		case rows > 0 && !first && r.lines.Buffered() == 0:
			return
		}
	}
}

// line returns the next line that is not blank, without its ending.
func (r *Reader) line() ([]byte, error) {
	if line := r.held; line != nil {
		r.held = nil
		if r.pos.Line == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		return line, nil
	}
	for {
		line, err := r.lines.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return nil, io.EOF
		}
		r.pos.Line++
		switch {
		case err == bufio.ErrBufferFull:
			return nil, r.tooLong()
		case err == io.EOF && len(bytes.TrimSpace(line)) == 0:
			return nil, io.EOF
		case err == io.EOF:
			return nil, &trace.SyntaxError{Pos: r.pos, Err: ErrTruncated}
		case err != nil:
			return nil, err
		}
		for len(line) > 0 && (space(line[len(line)-1]) || line[len(line)-1] == '\n') {
			line = line[:len(line)-1]
		}
		if len(line) > 0 {
			return line, nil
		}
	}
}

// tooLong passes over the rest of a line.
func (r *Reader) tooLong() error {
	for {
		_, err := r.lines.ReadSlice('\n')
		if err == nil || err == io.EOF {
			return &trace.SyntaxError{Pos: r.pos, Err: fmt.Errorf("the line is longer than %d KiB", maxLine>>10)}
		}
		if err != bufio.ErrBufferFull {
			return err
		}
	}
}

// row reads a line into next, or as a header. Its errors have columns.
func (r *Reader) row(line []byte) error {
	if line[0] < '0' || line[0] > '9' { // no header begins with a digit, and most rows do
		columns, unread, err := parseHeader(line)
		if err != nil {
			return err
		}
		if columns != nil {
			r.columns = columns
			for _, name := range unread {
				if !slices.Contains(r.unread, name) {
					r.unread = append(r.unread, name)
				}
			}
			return nil
		}
	}
	return r.values(line)
}

// identity is what a row says of its device.
type identity struct {
	uuid, busID, index, name, mig []byte
}

// values reads a row. Its errors have columns.
func (r *Reader) values(line []byte) error {
	var who identity
	var stamp, version []byte
	stampCol, indexCol, n := 0, 0, 0
	r.scratch = r.scratch[:0]
	for pos := 0; pos >= 0; n++ {
		text, col, next := field(line, pos)
		pos = next
		if n == len(r.columns) {
			return &trace.ColumnError{Col: col, Err: fmt.Errorf("more than the header's %d fields", len(r.columns))}
		}
		switch c := &r.columns[n]; c.role {
		case timestamp:
			stampCol, stamp = col, text
		case uuid:
			who.uuid = text
		case busID:
			who.busID = text
		case index:
			indexCol, who.index = col, text
		case name:
			who.name = text
		case driver:
			version = text
		case mig:
			who.mig = text
		case metric:
			r.scratch = append(r.scratch, value{})
			if err := c.parse(text, &r.scratch[len(r.scratch)-1]); err != nil {
				return &trace.ColumnError{Col: col, Err: err}
			}
		}
	}
	if n < len(r.columns) {
		return &trace.ColumnError{Col: len(line) + 1, Err: fmt.Errorf("%d fields, where the header has %d", n, len(r.columns))}
	}
	device, err := r.device(&who)
	if err != nil {
		return &trace.ColumnError{Col: max(indexCol, 1), Err: err}
	}
	at, err := r.time(stamp, device)
	if err != nil {
		return &trace.ColumnError{Col: stampCol, Err: err}
	}
	row := r.next.Append(device, at, 0)
	for i := range r.scratch {
		r.scratch[i].set(row)
	}
	if r.head.Info.Driver == "" {
		r.head.Info.Driver = string(given(version))
	}
	return nil
}

// minute is a minute of a log: until the next one, a stamp is its seconds more. One
// near to where the place changes its clocks is none.
type minute struct {
	text []byte // YYYY/MM/DD HH:MM:
	unix int64  // nanoseconds
}

// minuteText is the length of a minute's text.
const minuteText = len("0000/00/00 00:00:")

// within returns the instant of a stamp of the minute.
func (m *minute) within(stamp []byte) (unix int64, ok bool) {
	if len(stamp) < minuteText+len("00") || string(stamp[:minuteText]) != string(m.text) {
		return 0, false
	}
	tens, ones := stamp[minuteText]-'0', stamp[minuteText+1]-'0'
	if tens > 5 || ones > 9 { // a leap second goes the long way
		return 0, false
	}
	nanos, ok := fraction(stamp[minuteText+2:])
	return m.unix + int64(10*tens+ones)*1e9 + int64(nanos), ok
}

// time returns when a row of a device was read, and makes the first one's time
// the anchor.
func (r *Reader) time(stamp []byte, device int) (trace.Time, error) {
	last := &r.latest[device]
	at, ok := r.minute.within(stamp)
	if !ok {
		w, err := parseStamp(stamp)
		if err != nil {
			return 0, err
		}
		t, plain, err := w.in(r.options.Location, time.Unix(0, *last))
		if err != nil {
			return 0, err
		}
		at, r.minute = t.UnixNano(), minute{text: r.minute.text[:0]}
		if plain && w.second < 60 {
			r.minute.text = append(r.minute.text, stamp[:minuteText]...)
			r.minute.unix = at - int64(w.second)*1e9 - int64(w.nanos)
		}
	}
	switch {
	case !r.begun:
		r.begun = true
		r.head.Clock.Anchor.UnixNanos = at
	case at < *last:
		return 0, fmt.Errorf("%v before the row before", time.Duration(*last-at))
	case at == *last && r.alone:
		return 0, errors.New("a second row of this time, and no column says which device it is of (uuid, pci.bus_id, index)")
	}
	*last = at
	return trace.Time(at - r.head.Clock.Anchor.UnixNanos), nil
}

// device returns the index of a row's device.
func (r *Reader) device(who *identity) (int, error) {
	key := given(who.uuid)
	if len(key) == 0 {
		key = given(who.busID)
	}
	if len(key) == 0 {
		key = given(who.index)
	}
	r.alone = len(key) == 0
	if i, ok := r.ids[string(key)]; ok {
		return i, nil
	}
	number, numbered := 0, false
	if text := given(who.index); len(text) > 0 {
		n, err := strconv.ParseUint(string(text), 10, 31)
		if err != nil {
			return 0, errors.New("the index is not a number")
		}
		number, numbered = int(n), true
	}
	n := len(r.head.Devices)
	if n == maxDevices {
		return 0, fmt.Errorf("more than %d devices", maxDevices)
	}
	if !numbered {
		number = n
	}
	d := sample.Device{
		Host: r.options.Host, Index: number, Source: Source, Scope: sample.ScopeGPU,
		Name: string(given(who.name)), UUID: string(given(who.uuid)), PCIBusID: string(given(who.busID)),
		MIG: string(given(who.mig)) == "Enabled",
	}
	d.ID = cmp.Or(d.UUID, fmt.Sprintf("%s:%s:%s", Source, r.options.Host, cmp.Or(string(key), "0")))
	r.ids[string(key)] = n
	r.head.Devices = append(r.head.Devices, d)
	r.latest = append(r.latest, math.MinInt64)
	return n, nil
}

// given returns what a field says, nothing where it says that there is nothing.
func given(text []byte) []byte {
	if len(text) > 0 && text[0] >= '0' && text[0] <= '9' {
		return text
	}
	if _, none := missing(text); none {
		return nil
	}
	return text
}
