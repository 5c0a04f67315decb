package smi

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

var dmonTable = table{
	source: sample.NVIDIASMI,
	api:    "nvidia-smi dmon",
	columns: map[string]column{
		"pwr":    {sample.PowerWatts, "W", 1, 1},
		"gtemp":  {sample.TemperatureCelsius, "C", 1, 1},
		"mtemp":  {sample.MemoryTemperatureCelsius, "C", 1, 1},
		"sm":     {sample.GPUUtilization, "%", 1, 100},
		"mem":    {sample.MemoryUtilization, "%", 1, 100},
		"pclk":   {sample.SMClockHertz, "MHz", 1e6, 1},
		"mclk":   {sample.MemoryClockHertz, "MHz", 1e6, 1},
		"fb":     {sample.MemoryUsedBytes, "MB", 1 << 20, 1},
		"gract":  {sample.GraphicsActivity, "GPM:%", 1, 100},
		"smutil": {sample.SMActivity, "GPM:%", 1, 100},
		"smocc":  {sample.SMOccupancy, "GPM:%", 1, 100},
		"mmaact": {sample.TensorActivity, "GPM:%", 1, 100},
		"dram":   {sample.DRAMActivity, "GPM:%", 1, 100},
	},
	parser: func(clock *trace.SteadyClock) parser { return &dmon{clock: clock, latest: map[int]trace.Time{}} },
}

// NewDmon returns a feed of the output of nvidia-smi dmon. name is for errors;
// Close closes r.
func NewDmon(r io.ReadCloser, name string, clock *trace.SteadyClock) *Feed {
	return &Feed{dmonTable, r, name, clock}
}

// dmon parses the table.
type dmon struct {
	clock  *trace.SteadyClock
	place  func(date, clock string) (unix int64, err error) // of a finished log; nil is that rows arrive
	names  []string
	ready  bool // the line of units has come
	values []value
	latest map[int]trace.Time // of each GPU, where rows have times
}

// The columns that are no metric.
const (
	dmonIndex = "gpu"
	dmonDate  = "Date"
	dmonTime  = "Time"
)

func (d *dmon) line(text string, arrived trace.Time) (r row, ok bool, err error) {
	header, isHeader := strings.CutPrefix(strings.TrimLeft(text, " \t"), "#")
	fields := strings.Fields(header)
	switch {
	case isHeader && slices.Contains(fields, dmonIndex):
		d.names, d.ready = fields, false
		return r, false, nil
	case isHeader && d.names != nil && !d.ready:
		d.ready = true
		return r, false, d.units(fields)
	case !d.ready || isHeader:
		return r, false, errors.New("not the header of nvidia-smi dmon")
	case len(fields) != len(d.names):
		return r, false, errFields
	}
	r.at, d.values = arrived, d.values[:0]
	date, clock := "", ""
	for i, field := range fields {
		switch name := d.names[i]; name {
		case dmonIndex:
			if r.index, err = number(field); err != nil {
				return r, false, err
			}
		case dmonDate:
			date = field
		case dmonTime:
			clock = field
		default:
			c, known := dmonTable.columns[name]
			if !known {
				continue
			}
			v, err := c.parse(field, "-")
			if err != nil {
				return r, false, err
			}
			d.values = append(d.values, v)
		}
	}
	switch {
	case d.place != nil && (date == "" || clock == ""):
		return r, false, ErrNoTime
	case d.place != nil:
		unix, err := d.place(date, clock)
		r.at, r.took, r.values = trace.Time(unix), time.Second, d.values
		return r, err == nil, err
	}
	if date != "" && clock != "" {
		if r.at, r.took, err = d.stamped(date, clock, arrived); err != nil {
			return r, false, err
		}
		if last, known := d.latest[r.index]; known {
			r.at = max(r.at, last) // one that came in time may lie in the next one's second
		}
		d.latest[r.index] = r.at
	}
	r.values = d.values
	return r, true, nil
}

// units checks the line of units.
func (d *dmon) units(fields []string) error {
	if len(fields) != len(d.names) {
		return errFields
	}
	measured := false
	for i, name := range d.names {
		c, known := dmonTable.columns[name]
		if known && c.unit != fields[i] {
			return fmt.Errorf("%s is in %.20q: %s is wanted", name, fields[i], c.unit)
		}
		measured = measured || known
	}
	if !measured {
		return errors.New("no column of the table is a metric that is read")
	}
	return nil
}

// stamped places a row that says its second: it was read when it arrived, or
// within that second if it came later.
func (d *dmon) stamped(date, clock string, arrived trace.Time) (at trace.Time, took time.Duration, err error) {
	stamp, err := parseStamp(date, clock, time.Local)
	if err != nil {
		return 0, 0, err
	}
	if at, err = sample.FromWall(d.clock, stamp, arrived); err != nil {
		return 0, 0, err
	}
	const resolution, slack = time.Second, time.Second / 2
	if arrived.Sub(at) <= resolution+slack {
		return arrived, 0, nil
	}
	return at, resolution, nil
}

// parseStamp reads the local time of a row.
func parseStamp(date, clock string, loc *time.Location) (time.Time, error) {
	stamp, err := time.ParseInLocation("20060102 15:04:05", date+" "+clock, loc)
	if err != nil {
		err = fmt.Errorf("%.20q is not a time as in 20240104 13:54:35", date+" "+clock)
	}
	return stamp, err
}
