package smi

import (
	"errors"
	"fmt"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// ErrNoTime is the fault of the rows of a finished table that do not say when they were
// read.
var ErrNoTime = errors.New("the rows do not say when they were read: nvidia-smi dmon -o DT has them say it")

// DmonLog reads the lines of a finished table of nvidia-smi dmon -o DT.
type DmonLog struct {
	d    *dmon
	host string
	row  row
}

// NewDmonLog returns a reader of lines whose times are local in a place, of GPUs of a host.
func NewDmonLog(loc *time.Location, host string) *DmonLog {
	return &DmonLog{host: host, d: &dmon{latest: map[int]trace.Time{}, place: func(date, clock string) (int64, error) {
		t, err := parseStamp(date, clock, loc)
		if err == nil && (t.Year() < 1970 || t.Year() > 2261) {
			err = errors.New("not a time of these centuries")
		}
		return t.UnixNano(), err
	}}}
}

// Line reads a line; ok is that it is a row, which is read from the others' methods until the
// next one.
func (l *DmonLog) Line(text string) (ok bool, err error) {
	l.row, ok, err = l.d.line(text, 0)
	return ok, err
}

// Time returns the second in which the row was read, as Unix nanoseconds.
func (l *DmonLog) Time() (unix int64, took time.Duration) { return int64(l.row.at), l.row.took }

// Device returns what the row is of.
func (l *DmonLog) Device() sample.Device {
	return sample.Device{
		ID: fmt.Sprintf("%s:%s:%d", sample.NVIDIASMI, l.host, l.row.index), Host: l.host, Index: l.row.index, Source: sample.NVIDIASMI, Scope: sample.ScopeGPU,
	}
}

// Set stores the values of the row.
func (l *DmonLog) Set(to sample.Row) {
	for _, v := range l.row.values {
		v.set(to)
	}
}
