package srtslurm

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"wattrace/formats/stamped"
	"wattrace/sample"
	"wattrace/trace"
)

// NewReader reads the head of the samples of a package. name is for errors; p is what the
// package says beside them, nil where there are the samples alone.
func NewReader(r io.Reader, name string, p *Package) (*stamped.Reader, error) {
	if p == nil {
		p = &Package{source: sample.DCGM, Complete: true}
	}
	info := sample.Info{API: "srt-slurm power", Interval: p.interval, SlowInterval: p.interval}
	return stamped.NewReader(r, name, info, "", &parser{of: p, uuids: map[string]int{}})
}

// The columns.
const (
	ignored = iota
	version
	at
	seq
	host
	index
	uuid
	power
	utilization
	activity
	numRoles
)

var roles = map[string]int{
	"schema_version": version, "timestamp_unix": at, "scrape_seq": seq, "hostname": host, "gpu_index": index, "gpu_uuid": uuid, "power_w": power,
	"gpu_util_pct": utilization, "sm_active": activity,
}

type parser struct {
	stamped.Lines
	of      *Package
	columns []int
	marked  bool
	devices []device
	uuids   map[string]int // by UUID
	key     []byte
}

type device struct {
	uuid string
	last int64
}

func unixSeconds(text []byte) (int64, error) { return stamped.Seconds(text) }

func (p *parser) Line(line []byte, rows *stamped.Rows) error {
	if p.columns == nil {
		return p.header(line)
	}
	var text [numRoles][]byte
	var col [numRoles]int
	n := 0
	for pos := 0; pos >= 0; n++ {
		field, c, next, _, err := stamped.Field(line, pos)
		if err != nil {
			return &trace.ColumnError{Col: c, Err: err}
		}
		if pos = next; n == len(p.columns) {
			return &trace.ColumnError{Col: c, Err: fmt.Errorf("more than the header's %d fields", len(p.columns))}
		}
		text[p.columns[n]], col[p.columns[n]] = field, c
	}
	if n < len(p.columns) {
		return &trace.ColumnError{Col: len(line) + 1, Err: fmt.Errorf("%d fields, where the header has %d", n, len(p.columns))}
	}
	wrong := func(role int, text string) error { return &trace.ColumnError{Col: col[role], Err: errors.New(text)} }
	v, err := strconv.Atoi(string(text[version]))
	switch {
	case col[version] == 0:
	case err != nil || v < 1:
		return wrong(version, "not a number of a version")
	case v > 2:
		return wrong(version, "schema_version is newer than 2, which this program reads")
	}
	unix, err := stamped.Seconds(text[at])
	if err != nil {
		return wrong(at, "not a Unix time in seconds")
	}
	gpu, err := strconv.ParseUint(string(text[index]), 10, 16)
	switch {
	case err != nil:
		return wrong(index, "not the number of a GPU")
	case len(text[host]) == 0:
		return wrong(host, "the row does not say which host it is of")
	case len(text[uuid]) == 0:
		return wrong(uuid, "the row does not say which GPU it is of")
	}
	var values [numRoles]float64
	for _, role := range []int{power, utilization, activity} {
		if len(text[role]) == 0 && role != power {
			continue
		}
		var ok bool
		if values[role], ok = stamped.Float(text[role]); !ok || values[role] < 0 {
			return wrong(role, "not a number that is not negative")
		}
	}
	i, err := p.device(rows, text[host], text[uuid], int(gpu))
	if err != nil {
		return wrong(uuid, err.Error())
	}
	d := &p.devices[i]
	if d.last == unix {
		return wrong(at, "a second row of this time, of the same GPU")
	}
	row, err := rows.Add(i, unix-int64(p.of.scrape/2)-int64(p.of.collect), p.of.scrape+p.of.collect)
	if err != nil {
		return wrong(at, err.Error())
	}
	d.last = unix
	row.Set(sample.PowerWatts, values[power])
	if len(text[utilization]) > 0 {
		row.Set(sample.GPUUtilization, values[utilization]/100)
	}
	if len(text[activity]) > 0 {
		row.Set(sample.SMActivity, values[activity])
	}
	return p.marks(rows)
}

func (p *parser) header(line []byte) error {
	var columns []int
	var has [numRoles]bool
	for pos := 0; pos >= 0; {
		text, col, next, _, err := stamped.Field(line, pos)
		if err != nil {
			return &trace.ColumnError{Col: col, Err: err}
		}
		role := roles[string(text)]
		if role != ignored && has[role] {
			return &trace.ColumnError{Col: col, Err: fmt.Errorf("the column %s stands twice in the header", text)}
		}
		has[role] = true
		pos, columns = next, append(columns, role)
	}
	for _, role := range []int{at, host, index, uuid, power} {
		if !has[role] {
			return errors.New("not the header of srt-slurm's samples: timestamp_unix, hostname, gpu_index, gpu_uuid and power_w are wanted")
		}
	}
	p.columns = columns
	return nil
}

// device returns the place of a GPU, which has one UUID that no other has.
func (p *parser) device(rows *stamped.Rows, host, uuid []byte, index int) (int, error) {
	p.key = strconv.AppendInt(append(append(p.key[:0], host...), 0), int64(index), 10)
	i, err := rows.Device(p.key, func() sample.Device {
		return sample.Device{ID: string(uuid), UUID: string(uuid), Host: string(host), Index: index, Source: p.of.source, Scope: sample.ScopeGPU}
	})
	if err != nil {
		return 0, err
	}
	for len(p.devices) <= i {
		p.devices = append(p.devices, device{last: -1})
	}
	if p.devices[i].uuid == "" {
		p.devices[i].uuid = string(uuid)
	}
	owner, known := p.uuids[string(uuid)]
	switch {
	case p.devices[i].uuid != string(uuid):
		return 0, errors.New("the GPU had another UUID before")
	case known && owner != i:
		return 0, errors.New("another GPU has this UUID")
	case !known:
		p.uuids[string(uuid)] = i
	}
	return i, nil
}

// marks adds the windows, after the first row, whose time is the anchor.
func (p *parser) marks(rows *stamped.Rows) error {
	if p.marked || len(p.of.Windows) == 0 {
		return nil
	}
	p.marked = true
	run, err := rows.Device([]byte("run"), func() sample.Device {
		return sample.Device{ID: "srt-slurm:windows", Source: sample.Recorder, Scope: sample.ScopeRun}
	})
	if err != nil {
		return err
	}
	for len(p.devices) <= run {
		p.devices = append(p.devices, device{})
	}
	add := func(unix int64, m sample.Mark) { rows.AddEvent(run, unix, time.Duration(0)).Mark(m) }
	for _, w := range p.of.Windows {
		if w.Open {
			add(w.Start, sample.Mark{Event: sample.MarkNote, Phase: w.Name})
			continue
		}
		add(w.Start, sample.Mark{Event: sample.MarkStart, Phase: w.Name})
		add(w.End, sample.Mark{Event: sample.MarkEnd, Phase: w.Name})
	}
	return nil
}
