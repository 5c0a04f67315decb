package nvidiasmi

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"wattrace/sample"
	"wattrace/trace"
)

// role is what a column is for.
type role uint8

const (
	ignored role = iota
	timestamp
	uuid
	busID
	index
	name
	driver
	mig
	metric
)

// quantity says how the text of a metric becomes its value.
type quantity struct {
	id   sample.MetricID
	unit string  // after the value, where it has one
	si   float64 // the value times this
	per  float64 // divided by this, which is exact where a fraction is not
	hex  bool
}

type column struct {
	role role
	quantity
}

// known are the columns that are read, by name.
var known = map[string]column{
	"timestamp":        {role: timestamp},
	"uuid":             {role: uuid},
	"gpu_uuid":         {role: uuid},
	"pci.bus_id":       {role: busID},
	"gpu_bus_id":       {role: busID},
	"index":            {role: index},
	"name":             {role: name},
	"gpu_name":         {role: name},
	"driver_version":   {role: driver},
	"mig.mode.current": {role: mig},

	"power.draw":           of(sample.PowerWatts, "W", 1, 1),
	"power.draw.average":   of(sample.PowerAverageWatts, "W", 1, 1),
	"power.draw.instant":   of(sample.PowerInstantWatts, "W", 1, 1),
	"enforced.power.limit": of(sample.PowerLimitWatts, "W", 1, 1),
	"power.limit":          of(sample.PowerLimitWatts, "W", 1, 1),
	"temperature.gpu":      of(sample.TemperatureCelsius, "", 1, 1),
	"utilization.gpu":      of(sample.GPUUtilization, "%", 1, 100),
	"utilization.memory":   of(sample.MemoryUtilization, "%", 1, 100),
	"clocks.current.sm":    of(sample.SMClockHertz, "MHz", 1e6, 1),
	"clocks.sm":            of(sample.SMClockHertz, "MHz", 1e6, 1),

	"clocks.current.memory": of(sample.MemoryClockHertz, "MHz", 1e6, 1),
	"clocks.mem":            of(sample.MemoryClockHertz, "MHz", 1e6, 1),
	"memory.used":           of(sample.MemoryUsedBytes, "MiB", 1<<20, 1),

	"clocks_event_reasons.active":    {metric, quantity{id: sample.ClockEventReasons, hex: true}},
	"clocks_throttle_reasons.active": {metric, quantity{id: sample.ClockEventReasons, hex: true}},
}

func of(id sample.MetricID, unit string, si, per float64) column {
	return column{metric, quantity{id: id, unit: unit, si: si, per: per}}
}

// IsHeader reports whether a line is the header of such a log: it has a
// timestamp and a metric that is read.
func IsHeader(line []byte) bool {
	columns, _, err := parseHeader(line)
	return err == nil && columns != nil
}

// parseHeader finds the columns of a header, and the names of those that are
// not read. No columns and no error is another kind of line.
func parseHeader(line []byte) (columns []column, unread []string, err error) {
	var titles []string
	stamped, measured := false, false
	for text, pos := range fields(line) {
		title, unit := splitUnit(string(text))
		c := known[title]
		if c.role == metric && unit != "" && unit != c.unit {
			return nil, nil, &trace.ColumnError{Col: pos, Err: fmt.Errorf("the unit of %s is not one that is known", title)}
		}
		stamped = stamped || c.role == timestamp
		measured = measured || c.role == metric
		titles, columns = append(titles, title), append(columns, c)
	}
	if !stamped || !measured {
		return nil, nil, nil
	}
	enforced := slices.Contains(titles, "enforced.power.limit")
	for i, c := range columns {
		same := func(d column) bool { return c.role == d.role && (c.role != metric || c.id == d.id) }
		if c.role == ignored || titles[i] == "power.limit" && enforced || slices.ContainsFunc(columns[:i], same) {
			columns[i] = column{}
			unread = append(unread, titles[i])
		}
	}
	return columns, unread, nil
}

// splitUnit takes "power.draw [W]" apart.
func splitUnit(text string) (title, unit string) {
	title, rest, found := strings.Cut(text, "[")
	if found {
		unit, _, _ = strings.Cut(rest, "]")
	}
	return strings.TrimSpace(title), unit
}

// fields yields the fields of a line, trimmed, and their 1-based columns.
func fields(line []byte) func(yield func([]byte, int) bool) {
	return func(yield func([]byte, int) bool) {
		for pos := 0; ; {
			n := bytes.IndexByte(line[pos:], ',')
			end := pos + n
			if n < 0 {
				end = len(line)
			}
			from, to := pos, end
			for from < to && space(line[from]) {
				from++
			}
			for to > from && space(line[to-1]) {
				to--
			}
			if to-from >= 2 && line[from] == '"' && line[to-1] == '"' {
				from, to = from+1, to-1
			}
			if !yield(line[from:to], from+1) || n < 0 {
				return
			}
			pos = end + 1
		}
	}
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

var (
	errNumber = errors.New("not a number")
	errRange  = errors.New("not a value that the metric can have")
	errUnit   = errors.New("not in the unit of its metric")
)

// value is what a field says of a metric.
type value struct {
	id      sample.MetricID
	number  float64
	mask    uint64 // of metrics that are integers
	missing string // why there is no value; "" is that there is
}

// set stores v in a row.
func (v *value) set(row sample.Row) {
	switch {
	case v.missing != "":
		row.Fail(v.id, v.missing)
	case sample.Metrics[v.id].Type == sample.Uint64:
		row.SetUint(v.id, v.mask)
	default:
		row.Set(v.id, v.number)
	}
}

// parse reads a field.
func (q *quantity) parse(text []byte) (v value, err error) {
	v.id = q.id
	if why, ok := missing(text); ok {
		v.missing = why
		return v, nil
	}
	if q.hex {
		if v.mask, err = strconv.ParseUint(string(text), 0, 64); err != nil {
			return v, errNumber
		}
		return v, nil
	}
	number := text
	if i := bytes.IndexByte(text, ' '); i >= 0 {
		number = text[:i]
		if unit := bytes.TrimLeft(text[i:], " "); string(unit) != q.unit {
			return v, errUnit
		}
	}
	v.number, err = strconv.ParseFloat(string(number), 64)
	if err != nil || math.IsInf(v.number, 0) || !plain(number) {
		return v, errNumber
	}
	if q.id != sample.TemperatureCelsius && v.number < 0 {
		return v, errRange
	}
	v.number = v.number * q.si / q.per
	if sample.Metrics[q.id].Type == sample.Uint64 {
		if v.number >= 1<<63 || v.number != math.Trunc(v.number) {
			return v, errRange
		}
		v.mask = uint64(v.number)
	}
	return v, nil
}

// plain reports whether a number is written with digits, a sign and a point
// only, as nvidia-smi does; others are hexadecimal, or of another program.
func plain(text []byte) bool {
	for _, c := range text {
		if !('0' <= c && c <= '9' || c == '.' || c == '-') {
			return false
		}
	}
	return true
}

// missing returns why a field has no value.
func missing(text []byte) (why string, ok bool) {
	inner, bracketed := bytes.CutPrefix(text, []byte("["))
	inner, closed := bytes.CutSuffix(inner, []byte("]"))
	switch string(inner) {
	case "N/A", "Not Supported":
		return "NOT_SUPPORTED", true
	}
	if !bracketed || !closed || len(inner) == 0 || len(inner) > maxReason {
		return "", false
	}
	reason := make([]byte, len(inner))
	for i, c := range inner {
		switch {
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case 'A' <= c && c <= 'Z' || '0' <= c && c <= '9':
		default:
			c = '_'
		}
		reason[i] = c
	}
	return string(reason), true
}

// maxReason is the longest reason for a missing value that is taken for one.
const maxReason = 64
