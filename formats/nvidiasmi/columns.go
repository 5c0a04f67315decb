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

	"total_energy_consumption": of(sample.EnergyJoules, "mJ", 1, 1000),

	"power.draw":           of(sample.PowerWatts, "W", 1, 1),
	"power.draw.average":   of(sample.PowerAverageWatts, "W", 1, 1),
	"power.draw.instant":   of(sample.PowerInstantWatts, "W", 1, 1),
	"enforced.power.limit": of(sample.PowerLimitWatts, "W", 1, 1),
	"power.limit":          of(sample.PowerLimitWatts, "W", 1, 1),
	"temperature.gpu":      of(sample.TemperatureCelsius, "", 1, 1),
	"temperature.memory":   of(sample.MemoryTemperatureCelsius, "", 1, 1),
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
		if c.role == metric && c.id == sample.EnergyJoules && unit == "J" {
			c.quantity = quantity{id: c.id, unit: "J", si: 1, per: 1}
		}
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
		for pos := 0; pos >= 0; {
			text, col, next := field(line, pos)
			if !yield(text, col) {
				return
			}
			pos = next
		}
	}
}

// field returns the field that begins at pos, trimmed, its 1-based column, and where
// the next one begins; -1 is that there is none. In quotes there may be commas, which
// names of products have where another program wrote the log back.
func field(line []byte, pos int) (text []byte, col, next int) {
	from := pos
	for from < len(line) && space(line[from]) {
		from++
	}
	if from < len(line) && line[from] == '"' {
		if text, next, ok := quoted(line, from); ok {
			return text, from + 2, next
		}
	}
	end := from
	for end < len(line) && line[end] != ',' {
		end++
	}
	next = end + 1
	if end == len(line) {
		next = -1
	}
	for end > from && space(line[end-1]) {
		end--
	}
	return line[from:end], from + 1, next
}

// quoted returns what stands in the quotes that begin at from, if a comma or the end of
// the line follows them.
func quoted(line []byte, from int) (text []byte, next int, ok bool) {
	doubled := false
	to := from + 1
	for ; ; to++ {
		n := bytes.IndexByte(line[to:], '"')
		if n < 0 {
			return nil, 0, false
		}
		if to += n; to+1 == len(line) || line[to+1] != '"' {
			break
		}
		doubled = true
		to++
	}
	text = line[from+1 : to]
	if doubled {
		text = bytes.ReplaceAll(text, []byte(`""`), []byte(`"`))
	}
	for to++; to < len(line) && space(line[to]); to++ {
	}
	switch {
	case to == len(line):
		return text, -1, true
	case line[to] == ',':
		return text, to + 1, true
	}
	return nil, 0, false
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
func (q *quantity) parse(text []byte, v *value) (err error) {
	*v = value{id: q.id}
	number, rest, ok := decimal(text)
	if ok && len(rest) > 0 {
		ok = rest[0] == ' ' && (string(rest[1:]) == q.unit || string(bytes.TrimLeft(rest, " ")) == q.unit)
	}
	if !ok || q.hex {
		return q.parseSlowly(text, v)
	}
	v.number = number
	return q.finish(v)
}

// parseSlowly reads a field that is not a short decimal with its unit.
func (q *quantity) parseSlowly(text []byte, v *value) (err error) {
	if why, ok := missing(text); ok {
		v.missing = why
		return nil
	}
	if q.hex {
		if v.mask, err = strconv.ParseUint(string(text), 0, 64); err != nil {
			return errNumber
		}
		return nil
	}
	number := text
	if i := bytes.IndexByte(text, ' '); i >= 0 {
		number = text[:i]
		if unit := bytes.TrimLeft(text[i:], " "); string(unit) != q.unit {
			return errUnit
		}
	}
	v.number, err = strconv.ParseFloat(string(number), 64)
	if err != nil || math.IsInf(v.number, 0) || !plain(number) {
		return errNumber
	}
	return q.finish(v)
}

// finish brings the number of a value into the metric's unit and type.
func (q *quantity) finish(v *value) error {
	if v.number < 0 && q.id != sample.TemperatureCelsius && q.id != sample.MemoryTemperatureCelsius {
		return errRange
	}
	v.number = v.number * q.si / q.per
	if sample.Metrics[q.id].Type == sample.Uint64 {
		if v.number >= 1<<63 || v.number != math.Trunc(v.number) {
			return errRange
		}
		v.mask = uint64(v.number)
	}
	return nil
}

// powers are those of ten that a double holds exactly and that 15 digits may need.
var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// decimal reads a number of at most 15 digits and returns what follows it. Both the
// digits and the power of ten are then exact doubles, so that the one division rounds
// as strconv.ParseFloat does; of longer numbers ok is false.
func decimal(text []byte) (v float64, rest []byte, ok bool) {
	i, negative := 0, false
	if len(text) > 0 && text[0] == '-' {
		i, negative = 1, true
	}
	var m uint64
	digits, fraction, point := 0, 0, false
	for ; i < len(text); i++ {
		c := text[i]
		if c -= '0'; c <= 9 {
			m = 10*m + uint64(c)
			if digits++; point {
				fraction++
			}
			if digits > 15 {
				return 0, nil, false
			}
			continue
		}
		if text[i] != '.' || point {
			break
		}
		point = true
	}
	if digits == 0 {
		return 0, nil, false
	}
	if v = float64(m); fraction > 0 {
		v /= powers[fraction]
	}
	if negative {
		v = -v
	}
	return v, text[i:], true
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
	case "Unknown Error":
		return "UNKNOWN_ERROR", true
	case "ERR!":
		return "ERR", true
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
