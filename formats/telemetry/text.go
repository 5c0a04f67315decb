package telemetry

import (
	"bufio"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"wattrace/sample"
)

// maxExact is up to where every integer is a float64, which readers of JSON make
// of numbers.
const maxExact = 1 << 53

// TextWriter writes the rows of a recording as CSV or as JSON Lines, without what
// the recording says of itself. It must not be used by two goroutines at once.
type TextWriter struct {
	w        *bufio.Writer
	anchor   int64
	head     Head
	marks    bool
	names    []string
	json     bool
	line     []byte
	opening  [][]byte          // of each field in JSON: ,"name":
	identity [][4][]byte       // of each device: host, device, source, scope
	quoted   map[string][]byte // texts as they are written
}

// NewCSVWriter begins a CSV: RFC 4180 but for its line ends, which are \n. The
// first line has the names of the columns.
func NewCSVWriter(w io.Writer, s Summary) (*TextWriter, error) {
	t := newTextWriter(w, s, false)
	for i, name := range t.names {
		if i > 0 {
			t.line = append(t.line, ',')
		}
		t.line = append(t.line, name...)
	}
	t.line = append(t.line, '\n')
	_, err := t.w.Write(t.line)
	return t, err
}

// NewJSONLWriter begins JSON Lines: an object for each row, without what is null.
func NewJSONLWriter(w io.Writer, s Summary) *TextWriter { return newTextWriter(w, s, true) }

func newTextWriter(w io.Writer, s Summary, isJSON bool) *TextWriter {
	t := &TextWriter{
		w: bufio.NewWriterSize(w, 256<<10), anchor: s.Head.Clock.Anchor.UnixNanos, head: s.Head, marks: s.marked(), json: isJSON,
		quoted: map[string][]byte{},
	}
	for _, f := range arrowFields(s.Head.Metrics, s.marked()) {
		t.names = append(t.names, f.Name)
		t.opening = append(t.opening, []byte(`,"`+f.Name+`":`))
	}
	t.opening[0][0] = '{'
	for _, d := range s.Head.Devices {
		var of [4][]byte
		for i, text := range []string{d.Host, d.ID, string(d.Source), string(d.Scope)} {
			of[i] = t.quote(text)
		}
		t.identity = append(t.identity, of)
	}
	return t
}

// Write writes the rows of b.
func (t *TextWriter) Write(b *sample.Batch) error {
	for i := range b.Len() {
		if _, err := t.w.Write(t.row(b, i)); err != nil {
			return err
		}
	}
	return nil
}

// Close writes what is left. It does not close the underlying writer.
func (t *TextWriter) Close() error { return t.w.Flush() }

// row returns the line of a row.
func (t *TextWriter) row(b *sample.Batch, i int) []byte {
	t.line = t.line[:0]
	field := 0
	// open begins the next field. CSV has a place for a null, JSON has none.
	open := func(null bool) {
		switch {
		case !t.json && field > 0:
			t.line = append(t.line, ',')
		case t.json && !null:
			t.line = append(t.line, t.opening[field]...)
		}
		field++
	}
	text := func(s string) {
		if open(s == ""); s != "" {
			t.line = append(t.line, t.known(s)...)
		}
	}
	device := b.Device[i]
	identity := func(k int) {
		open(false)
		t.line = append(t.line, t.identity[device][k]...)
	}
	open(false)
	t.stamp(t.anchor + int64(b.Time[i]))
	open(false)
	t.line = strconv.AppendInt(t.line, int64(b.Took[i]), 10)
	identity(0)
	identity(1)
	open(false)
	t.line = strconv.AppendInt(t.line, int64(t.head.Devices[device].Index), 10)
	identity(2)
	identity(3)
	for _, id := range t.head.Metrics {
		if sample.Metrics[id].Type == sample.Uint64 {
			v, ok := b.Uint(id, i)
			if open(!ok); ok {
				t.unsigned(v)
			}
			continue
		}
		v, ok := b.Float(id, i)
		if open(!ok); ok {
			t.float(v)
		}
	}
	if t.marks {
		text(encodeMark(b.MarkOf(i)))
	}
	text(b.Status[i])
	if t.json {
		t.line = append(t.line, '}')
	}
	t.line = append(t.line, '\n')
	return t.line
}

// stamp appends a time as RFC 3339 with nine digits.
func (t *TextWriter) stamp(unixNanos int64) {
	if t.json {
		t.line = append(t.line, '"')
	}
	t.line = time.Unix(0, unixNanos).UTC().AppendFormat(t.line, "2006-01-02T15:04:05.000000000Z")
	if t.json {
		t.line = append(t.line, '"')
	}
}

func (t *TextWriter) unsigned(v uint64) {
	if t.json && v > maxExact {
		t.line = append(strconv.AppendUint(append(t.line, '"'), v, 10), '"')
		return
	}
	t.line = strconv.AppendUint(t.line, v, 10)
}

// float appends the shortest decimal that gives the double back.
func (t *TextWriter) float(v float64) {
	format := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	t.line = strconv.AppendFloat(t.line, v, format, -1, 64)
}

// known returns a text as it is written. A recording has few different ones.
func (t *TextWriter) known(s string) []byte {
	q, ok := t.quoted[s]
	if !ok {
		if len(t.quoted) == 1024 {
			clear(t.quoted)
		}
		q = t.quote(s)
		t.quoted[s] = q
	}
	return q
}

func (t *TextWriter) quote(s string) []byte {
	switch {
	case t.json:
		q, _ := json.Marshal(s) // of a string it cannot fail
		return q
	case s == "", strings.ContainsAny(s, "\",\r\n"), s != strings.Trim(s, " \t"): // a bare nothing is null, bare spaces are none
		return []byte(`"` + strings.ReplaceAll(s, `"`, `""`) + `"`)
	}
	return []byte(s)
}
