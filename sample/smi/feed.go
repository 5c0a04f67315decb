package smi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// Feed reads one table.
type Feed struct {
	table
	from  io.ReadCloser
	name  string
	clock *trace.SteadyClock
}

var _ sample.Feed = (*Feed)(nil)

// table is a tool's way of writing one.
type table struct {
	source  sample.SourceName
	api     string
	columns map[string]column
	parser  func(clock *trace.SteadyClock) parser
}

// parser reads the lines of a table.
type parser interface {
	// line reads a line that arrived at a time; ok is that it is a row.
	line(text string, arrived trace.Time) (r row, ok bool, err error)
}

// row is a row of a table. Its slices are good until the next line.
type row struct {
	index  int
	at     trace.Time
	took   time.Duration
	values []value
}

// column says what a column is.
type column struct {
	id   sample.MetricID
	unit string  // in the header, where the table has units
	si   float64 // a value times this
	per  float64 // divided by this, which is exact where a fraction is not
}

// value is what a field says of a metric.
type value struct {
	id      sample.MetricID
	number  float64
	missing bool
}

func (v value) set(to sample.Row) {
	switch {
	case v.missing:
		to.Fail(v.id, "NOT_SUPPORTED")
	case sample.Metrics[v.id].Type == sample.Uint64:
		to.SetUint(v.id, uint64(v.number))
	default:
		to.Set(v.id, v.number)
	}
}

// parse reads a field.
func (c column) parse(text, missing string) (v value, err error) {
	v.id = c.id
	if text == missing {
		v.missing = true
		return v, nil
	}
	if v.number, err = strconv.ParseFloat(text, 64); err != nil || math.IsInf(v.number, 0) || math.IsNaN(v.number) {
		return v, fmt.Errorf("%.20q is not a value of %s", text, c.id)
	}
	v.number = v.number * c.si / c.per
	whole := v.number == math.Trunc(v.number) && v.number < 1<<63
	if v.number < 0 && c.id != sample.TemperatureCelsius && c.id != sample.MemoryTemperatureCelsius ||
		sample.Metrics[c.id].Type == sample.Uint64 && !whole {
		return v, fmt.Errorf("%.20q is not a value that %s can have", text, c.id)
	}
	return v, nil
}

var errFields = errors.New("the line does not have the header's fields")

// Info describes the feed.
func (f *Feed) Info() sample.Info {
	var has [sample.NumMetrics]bool
	for _, c := range f.columns {
		has[c.id] = true
	}
	info := sample.Info{Source: f.source, API: f.api}
	for id := range sample.NumMetrics {
		if has[id] {
			info.Metrics = append(info.Metrics, id)
		}
	}
	return info
}

// Run reads the table until it ends, ctx is done or a line cannot be read.
func (f *Feed) Run(ctx context.Context, in *sample.Inbox) error {
	host := f.clock.Clock().Host
	p := f.parser(f.clock)
	return sample.Lines(ctx, f.from, f.name, f.clock.Now, func(line []byte, arrived trace.Time) error {
		r, ok, err := p.line(string(line), arrived)
		if err != nil || !ok {
			return err
		}
		d := sample.Device{ID: fmt.Sprintf("%s:%s:%d", f.source, host, r.index), Host: host, Index: r.index, Source: f.source, Scope: sample.ScopeGPU}
		in.Add(d, r.at, r.took, func(to sample.Row) {
			for _, v := range r.values {
				v.set(to)
			}
		})
		return nil
	})
}

// Close closes what the feed reads.
func (f *Feed) Close() error { return f.from.Close() }

// number reads the number of a device.
func number(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%.20q is not the number of a GPU", text)
	}
	return int(n), nil
}
