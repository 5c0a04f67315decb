package telemetryrows

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats/stamped"
	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/trace"
)

// Source is the source of devices whose rows do not say it.
const Source sample.SourceName = "table"

const maxText = 4096 // bytes of an identity

// NewCSVReader reads the head of a CSV. name is for errors, host the devices' where the
// rows do not say it.
func NewCSVReader(r io.Reader, name, host string) (*stamped.Reader, error) {
	return stamped.NewReader(r, name, sample.Info{API: "csv"}, host, &csvParser{parser: parser{host: host}})
}

// NewLinesReader reads the head of JSON Lines, as NewCSVReader does.
func NewLinesReader(r io.Reader, name, host string) (*stamped.Reader, error) {
	return stamped.NewReader(r, name, sample.Info{API: "json lines"}, host, &lineParser{parser: parser{host: host}})
}

// role is what a column is for; from firstMetric on it is a metric.
type role uint8

const (
	ignored role = iota
	timeText
	timeSeconds
	took
	host
	device
	index
	source
	scope
	mark
	status
	firstMetric
)

var roles = func() map[string]role {
	m := map[string]role{
		"time": timeText, "time_unix_seconds": timeSeconds, "took_nanos": took, "host": host, "device": device,
		"device_index": index, "source": source, "scope": scope, "mark": mark, "status": status,
	}
	for id := range sample.NumMetrics {
		m[id.String()] = firstMetric + role(id)
	}
	return m
}()

// places are those of the identities in parser.text.
var places = [...]int{host: 0, device: 1, source: 2, scope: 3}

// parser puts the fields of a row together.
type parser struct {
	host string

	at      int64
	timed   bool
	took    time.Duration
	text    [4][]byte // host, device, source, scope
	index   int
	mark    sample.Mark
	status  string
	metrics []sample.MetricID // that have values
	floats  [sample.NumMetrics]float64
	uints   [sample.NumMetrics]uint64
	known   map[string]string // statuses, so that equal ones share memory
	indices []int             // of the devices
	key     []byte
}

func (p *parser) reset() {
	p.timed, p.took, p.index, p.mark, p.status = false, 0, 0, sample.Mark{}, ""
	p.text, p.metrics = [4][]byte{}, p.metrics[:0]
}

// take takes a field that is not null. The text is valid until the row is added.
func (p *parser) take(r role, text []byte) (err error) {
	switch r {
	case timeText:
		p.timed = true
		if p.at, err = stamped.RFC3339(text); err != nil {
			err = errors.New("not a time as in 2026-01-02T03:04:05.123Z")
		}
	case timeSeconds:
		p.timed = true
		p.at, err = stamped.Seconds(text)
	case took:
		var n int64
		if n, err = strconv.ParseInt(string(text), 10, 64); err != nil || n < 0 {
			err = errors.New("not a number of nanoseconds")
		}
		p.took = time.Duration(n)
	case index:
		var n int64
		if n, err = strconv.ParseInt(string(text), 10, 32); err != nil || n < 0 {
			err = errors.New("not the number of a device")
		}
		p.index = int(n)
	case host, device, source, scope:
		if len(text) > maxText {
			return fmt.Errorf("longer than %d bytes", maxText)
		}
		p.text[places[r]] = text
	case mark:
		p.mark, err = telemetry.ParseMark(string(text))
		if err != nil {
			err = errors.New("a mark begins with start, end or note")
		}
	case status:
		p.status, err = p.share(text)
	default:
		err = p.value(sample.MetricID(r-firstMetric), text)
	}
	return err
}

func (p *parser) value(id sample.MetricID, text []byte) error {
	if sample.Metrics[id].Type == sample.Uint64 {
		n, err := strconv.ParseUint(string(text), 10, 64)
		if err != nil {
			return fmt.Errorf("%s is a whole number that is not negative", id)
		}
		p.uints[id] = n
	} else {
		v, ok := stamped.Float(text)
		if !ok {
			return fmt.Errorf("%s must be a number", id)
		}
		p.floats[id] = v
	}
	p.metrics = append(p.metrics, id)
	return nil
}

// share returns the text of a status, which must name metrics.
func (p *parser) share(text []byte) (string, error) {
	if s, ok := p.known[string(text)]; ok {
		return s, nil
	}
	s := string(text)
	if s == "" {
		return "", nil
	}
	for part := range strings.SplitSeq(s, ",") {
		if name, reason, ok := strings.Cut(part, "="); !ok || name == "" || reason == "" {
			return "", errors.New("a status is NAME=REASON, joined by commas")
		}
	}
	if p.known == nil || len(p.known) == 256 {
		p.known = map[string]string{}
	}
	p.known[s] = s
	return s, nil
}

// add adds the row. timeCol is where its time stands.
func (p *parser) add(rows *stamped.Rows, timeCol int) error {
	if !p.timed {
		return &trace.ColumnError{Col: 1, Err: errors.New("the row has no time")}
	}
	p.key = p.key[:0]
	for _, text := range p.text {
		p.key = append(append(p.key, text...), 0)
	}
	if p.text[1] == nil {
		p.key = strconv.AppendInt(p.key, int64(p.index), 10)
	}
	place, err := rows.Device(p.key, p.describe)
	if err != nil {
		return &trace.ColumnError{Col: 1, Err: err}
	}
	if place == len(p.indices) {
		p.indices = append(p.indices, p.index)
	} else if p.indices[place] != p.index {
		return &trace.ColumnError{Col: 1, Err: fmt.Errorf("device_index is %d, and was %d before", p.index, p.indices[place])}
	}
	event := p.mark.Event != ""
	for _, id := range p.metrics {
		event = event || sample.Metrics[id].Kind == sample.Event
	}
	var row sample.Row
	if event {
		row = rows.AddEvent(place, p.at, p.took)
	} else if row, err = rows.Add(place, p.at, p.took); err != nil {
		return &trace.ColumnError{Col: timeCol, Err: err}
	}
	for _, id := range p.metrics {
		if sample.Metrics[id].Type == sample.Uint64 {
			row.SetUint(id, p.uints[id])
		} else {
			row.Set(id, p.floats[id])
		}
	}
	if event && p.mark.Event != "" {
		row.Mark(p.mark)
	}
	row.SetStatus(p.status)
	return nil
}

func (p *parser) describe() sample.Device {
	of := func(k int, otherwise string) string {
		if p.text[k] == nil {
			return otherwise
		}
		return string(p.text[k])
	}
	d := sample.Device{
		Host: of(0, p.host), ID: of(1, ""), Index: p.index,
		Source: sample.SourceName(of(2, string(Source))), Scope: sample.Scope(of(3, string(sample.ScopeGPU))),
	}
	switch {
	case d.ID == "":
		d.ID = fmt.Sprintf("%s:%s:%d", d.Source, d.Host, d.Index)
	case strings.HasPrefix(d.ID, "GPU-") || strings.HasPrefix(d.ID, "MIG-"):
		d.UUID = d.ID
	}
	return d
}

// csvParser reads a CSV.
type csvParser struct {
	parser
	columns []role
	title   []byte // the line of the header
}

// Whole reports false: a last value may be the part of one.
func (*csvParser) Whole([]byte) bool { return false }

// Open reports whether the line ends inside quotes.
func (*csvParser) Open(line []byte) bool { return stamped.OpenQuote(line) }

func (p *csvParser) Line(line []byte, rows *stamped.Rows) error {
	if p.columns == nil || bytes.HasPrefix(line, []byte("time")) || bytes.Equal(line, p.title) {
		columns, err := header(line)
		if err == nil && columns == nil && p.columns == nil {
			err = errors.New("not the header of a table of telemetry: time, or time_unix_seconds, and a metric are wanted")
		}
		if err != nil || columns != nil {
			p.columns, p.title = columns, bytes.Clone(line)
			return err
		}
	}
	p.reset()
	n, timeCol := 0, 1
	for pos := 0; pos >= 0; n++ {
		text, col, next, bare, err := stamped.Field(line, pos)
		if err != nil {
			return &trace.ColumnError{Col: col, Err: err}
		}
		pos = next
		if n == len(p.columns) {
			return &trace.ColumnError{Col: col, Err: fmt.Errorf("more than the header's %d fields", len(p.columns))}
		}
		role := p.columns[n]
		if role == ignored || bare && len(text) == 0 {
			continue
		}
		if role == timeText || role == timeSeconds {
			timeCol = col
		}
		if err := p.take(role, text); err != nil {
			return &trace.ColumnError{Col: col, Err: err}
		}
	}
	if n < len(p.columns) {
		return &trace.ColumnError{Col: len(line) + 1, Err: fmt.Errorf("%d fields, where the header has %d", n, len(p.columns))}
	}
	return p.add(rows, timeCol)
}

// header finds the columns of a header. No columns and no error is another kind of line.
func header(line []byte) (columns []role, err error) {
	seen := map[role]bool{}
	var twice error
	for pos := 0; pos >= 0; {
		text, col, next, _, err := stamped.Field(line, pos)
		if err != nil {
			return nil, nil
		}
		pos = next
		r := roles[string(text)]
		if r != ignored && seen[r] {
			twice = &trace.ColumnError{Col: col, Err: fmt.Errorf("the column %s stands twice in the header", text)}
		}
		seen[r] = true
		columns = append(columns, r)
	}
	switch {
	case !seen[timeText] && !seen[timeSeconds]:
		return nil, nil
	case seen[timeText] && seen[timeSeconds]:
		return nil, errors.New("time and time_unix_seconds are both there")
	}
	if twice != nil { // which of them counts is not known, so that no row below is read by it
		return nil, twice
	}
	return columns, nil
}

// lineParser reads JSON Lines.
type lineParser struct {
	parser
	texts [status + 1][]byte // of strings, unquoted
}

// Whole reports whether a line can be a whole object.
func (*lineParser) Whole(line []byte) bool { return jsontext.Value(bytes.TrimSpace(line)).IsValid() }

// Open reports false: JSON has no line feeds in its strings.
func (*lineParser) Open([]byte) bool { return false }

func (p *lineParser) Line(line []byte, rows *stamped.Rows) error {
	p.reset()
	timeCol := 1
	var seen [math.MaxUint8 + 1]bool
	err := trace.WalkObject(line, func(m trace.Member) error {
		r := roles[string(m.Name)]
		if r == ignored || m.Value.Kind() == 'n' {
			return nil
		}
		if seen[r] {
			return m.Errorf("%s stands twice", m.Name)
		}
		seen[r] = true
		if r == timeText || r == timeSeconds {
			timeCol = m.Col
		}
		text := []byte(m.Value)
		isText := r == timeText || r == mark || r == status || r >= host && r <= scope && r != index
		large := r == timeSeconds || r >= firstMetric && sample.Metrics[r-firstMetric].Type == sample.Uint64
		switch kind := m.Value.Kind(); {
		case kind == '"' && (isText || large):
			buf := &p.texts[min(int(r), len(p.texts)-1)]
			unquoted, err := jsontext.AppendUnquote((*buf)[:0], m.Value)
			if err != nil {
				return m.Errorf("%s is not a string that can be read", m.Name)
			}
			*buf, text = unquoted, unquoted[:len(unquoted):len(unquoted)]
			if text == nil { // which would be a null
				text = []byte{}
			}
		case kind == '0' && !isText:
		default:
			return m.Errorf("%s has a value of the wrong type", m.Name)
		}
		if err := p.take(r, text); err != nil {
			return m.Errorf("%w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.add(rows, timeCol)
}
