package amdsmi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"

	"wattrace/formats/stamped"
	"wattrace/sample"
	"wattrace/sample/amdsmi/output"
	"wattrace/trace"
)

// ErrNoTime is the cause of the error of a table that does not say when its values were
// read.
var ErrNoTime = errors.New("the table has no timestamp: amd-smi writes it with -w; the energy_start and energy_end files beside a gpu_metrics.csv have none")

// Options say what a log does not. The zero Options are ready.
type Options struct {
	Location *time.Location // where times without a zone are local; nil is UTC
	Host     string         // host that the devices are in; "" is unknown
}

// Reader reads a log. It is not safe for concurrent use.
type Reader struct {
	*stamped.Reader
	parser *parser
}

// NewReader reads the first rows. name is for errors.
func NewReader(r io.Reader, name string, o Options) (*Reader, error) {
	if o.Location == nil {
		o.Location = time.UTC
	}
	p := &parser{options: o}
	rd, err := stamped.NewReader(r, name, sample.Info{API: "amd-smi csv"}, o.Host, p)
	if err != nil {
		return nil, err
	}
	return &Reader{rd, p}, nil
}

// Local reports whether a row so far had a time without a zone.
func (r *Reader) Local() bool { return r.parser.local }

const (
	timestamp = "timestamp"
	gpu       = "gpu"
)

// names are the columns that are read, and what they are called.
var names = map[string]string{
	timestamp: timestamp, gpu: gpu,
	"socket_power": "socket_power", "current_socket_power": "current_socket_power", "average_socket_power": "average_socket_power",
	"total_energy_consumption": "total_energy_consumption", "energy_accumulator": "energy_accumulator", "counter_resolution": "counter_resolution",
	"gfx_activity": "gfx_activity", "umc_activity": "umc_activity", "hotspot": "hotspot", "edge": "edge", "mem": "mem",
	"used_vram": "used_vram", "gfx_0_clk": "gfx_0_clk", "mem_0_clk": "mem_0_clk",

	"socket_power_w": "socket_power", "gfx_clock_mhz": "gfx_0_clk", "mem_clock_mhz": "mem_0_clk", "temp_edge_c": "edge", "temp_hotspot_c": "hotspot",
	"temp_mem_c": "mem", "gfx_activity_pct": "gfx_activity", "umc_activity_pct": "umc_activity", "vram_used_mib": "used_vram",
}

// monitor are those of amd-smi monitor, whose mem is another one.
var monitor = map[string]string{
	timestamp: timestamp, gpu: gpu, "power_usage": "socket_power", "hotspot_temperature": "hotspot", "memory_temperature": "mem",
	"gfx": "gfx_activity", "mem": "umc_activity", "gfx_clk": "gfx_0_clk", "gfx_clock": "gfx_0_clk", "mem_clk": "mem_0_clk", "mem_clock": "mem_0_clk",
}

type parser struct {
	stamped.Lines
	options Options
	columns []string // "" is not read
	title   []byte   // the line of the header
	flat    map[string]output.Field
	local   bool
}

// Line reads a line.
func (p *parser) Line(line []byte, rows *stamped.Rows) error {
	switch {
	case p.columns != nil && bytes.Equal(line, p.title), bytes.HasPrefix(line, []byte("WARNING")):
		return nil
	case bytes.HasPrefix(line, []byte("timestamp")), bytes.HasPrefix(line, []byte("gpu,")), p.columns == nil && isHeader(line):
		return p.header(line)
	case bytes.Contains(line, []byte("to stop watching output")):
		return nil
	case p.columns == nil:
		return errors.New("not the header of a table of amd-smi: timestamp, gpu and a metric are wanted")
	}
	return p.row(line, rows)
}

// isHeader reports whether a line has the names of columns in another order.
func isHeader(line []byte) bool {
	times, gpus := false, false
	for pos := 0; pos >= 0; {
		var text []byte
		text, _, pos = cell(line, pos)
		times, gpus = times || string(text) == timestamp, gpus || string(text) == gpu
	}
	return times || gpus
}

func (p *parser) header(line []byte) error {
	var titles []string
	has := map[string]bool{}
	for pos := 0; pos >= 0; {
		var text []byte
		text, _, pos = cell(line, pos)
		titles = append(titles, string(text))
		has[string(text)] = true
	}
	known := names
	if has["power_usage"] || has["hotspot_temperature"] || has["gfx"] {
		known = monitor
	}
	columns := make([]string, len(titles))
	seen := map[string]bool{}
	for i, title := range titles {
		if name := known[title]; name != "" && !seen[name] {
			columns[i], seen[name] = name, true
		}
	}
	switch {
	case !seen[timestamp]:
		return ErrNoTime
	case !seen[gpu]:
		return errors.New("the table does not say which GPU a row is of: gpu is wanted")
	case len(seen) < 3:
		return errors.New("the table has no metric that is read")
	}
	p.columns, p.title = columns, bytes.Clone(line)
	return nil
}

func (p *parser) row(line []byte, rows *stamped.Rows) error {
	if p.flat == nil {
		p.flat = map[string]output.Field{}
	}
	clear(p.flat)
	var stamp []byte
	stampCol, gpuCol, n := 1, 1, 0
	for pos := 0; pos >= 0; n++ {
		text, col, next := cell(line, pos)
		if pos = next; n == len(p.columns) {
			return &trace.ColumnError{Col: col, Err: fmt.Errorf("more than the header's %d fields", len(p.columns))}
		}
		switch name := p.columns[n]; name {
		case "":
		case timestamp:
			stamp, stampCol = text, col
		case gpu:
			gpuCol = col
			p.flat[gpu] = output.Field{Text: string(text)}
		default:
			p.flat[name] = value(text)
		}
	}
	if n < len(p.columns) {
		return &trace.ColumnError{Col: len(line) + 1, Err: fmt.Errorf("%d fields, where the header has %d", n, len(p.columns))}
	}
	unix, took, err := p.time(stamp)
	if err != nil {
		return &trace.ColumnError{Col: stampCol, Err: err}
	}
	index := p.flat[gpu].Text
	reading, err := output.Reading(p.options.Host, index, p.flat)
	if err != nil {
		return &trace.ColumnError{Col: gpuCol, Err: err}
	}
	i, err := rows.Device([]byte(strconv.Itoa(reading.Index)), func() sample.Device { return reading.Device })
	if err != nil {
		return &trace.ColumnError{Col: gpuCol, Err: err}
	}
	row, err := rows.Add(i, unix, took)
	if err != nil {
		return &trace.ColumnError{Col: stampCol, Err: err}
	}
	reading.Set(row)
	return nil
}

// cell returns the field that begins at pos, trimmed, its 1-based column, and where the
// next one begins; -1 is that there is none. The commas of a list part no fields.
func cell(line []byte, pos int) (text []byte, col, next int) {
	from := pos
	for from < len(line) && line[from] == ' ' {
		from++
	}
	if from < len(line) && (line[from] == '[' || line[from] == '{') {
		closing := byte(']')
		if line[from] == '{' {
			closing = '}'
		}
		n := bytes.IndexByte(line[from:], closing)
		if n < 0 {
			return line[from:], from + 1, -1
		}
		to := from + n + 1
		end := to
		for end < len(line) && line[end] != ',' {
			end++
		}
		if next = end + 1; end == len(line) {
			next = -1
		}
		return line[from:to], from + 1, next
	}
	text, col, next, _, err := stamped.Field(line, pos)
	if err != nil { // a quote that is none
		end := from
		for end < len(line) && line[end] != ',' {
			end++
		}
		if next = end + 1; end == len(line) {
			next = -1
		}
		return line[from:end], from + 1, next
	}
	return text, col, next
}

// dictionary is how Python prints a value with its unit.
var dictionary = regexp.MustCompile(`^\{'value': '?([^',}]*)'?, 'unit': '([^']*)'\}$`)

// value takes a field apart into a number and its unit.
func value(text []byte) output.Field {
	if m := dictionary.FindSubmatch(text); m != nil {
		return output.Field{Text: string(m[1]), Unit: string(m[2])}
	}
	switch string(text) {
	case "", "[N/A]", "N/A":
		return output.Field{Text: "N/A"}
	}
	if number, unit, ok := bytes.Cut(text, []byte(" ")); ok {
		return output.Field{Text: string(number), Unit: string(bytes.TrimSpace(unit))}
	}
	return output.Field{Text: string(text)}
}

var errStamp = errors.New("not a time: seconds since 1970, or as in 2026-03-07T00:20:37.123")

// time reads a stamp, and how long it may be after it that the reading was made.
func (p *parser) time(text []byte) (unix int64, took time.Duration, err error) {
	whole := len(text) > 0
	for _, c := range text {
		whole = whole && c >= '0' && c <= '9'
	}
	switch {
	case whole && len(text) == 13:
		ms, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || ms > 9e12 {
			return 0, 0, errStamp
		}
		return ms * int64(time.Millisecond), time.Millisecond, nil
	case whole && len(text) <= 10:
		unix, err = stamped.Seconds(text)
		return unix, time.Second, err
	}
	if unix, err := stamped.Seconds(text); err == nil {
		return unix, 0, nil
	}
	if unix, err := stamped.RFC3339(text); err == nil {
		return unix, 0, nil
	}
	if len(text) < len("2006-01-02T15:04:05") {
		return 0, 0, errStamp
	}
	s := []byte(string(text))
	s[10] = 'T'
	t, err := time.ParseInLocation("2006-01-02T15:04:05.999999999", string(s), p.options.Location)
	if err != nil || t.Year() < 1970 || t.Year() > 2261 || text[10] != 'T' && text[10] != ' ' {
		return 0, 0, errStamp
	}
	p.local = true
	if len(text) == len("2006-01-02T15:04:05") {
		took = time.Second
	}
	return t.UnixNano(), took, nil
}
