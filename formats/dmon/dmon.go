// Package dmon reads finished logs of nvidia-smi dmon -o DT. The table, its columns and units
// are as package sample/smi has them, which reads it while it is written: two lines of header
// that begin with # and may come again, with other columns, too; "-" stands for what there is
// not.
//
//	#Date       Time        gpu    pwr  gtemp  mtemp     sm    mem
//	#YYYYMMDD   HH:MM:SS    Idx      W      C      C      %      %
//	 20240104   13:54:35      0     86     33      -     30     27
//
// Date and Time are local times of whole seconds, for which Options.Location is wanted: a
// reading was made within the second after, which Took says. A time of the hour that comes
// twice when clocks are set back is the first. Without both columns there is no telling when
// a row was read: the log is refused, as [smi.ErrNoTime] is its fault. So is a log of dcgmi
// dmon, whose rows never have a time ([ErrDCGMI]).
//
// Devices are nvidia-smi:HOST:INDEX. Faults are as package stamped has them.
package dmon

import (
	"errors"
	"io"
	"strconv"
	"time"

	"wattrace/formats/stamped"
	"wattrace/sample"
	"wattrace/sample/smi"
	"wattrace/trace"
)

// ErrDCGMI is why a log of dcgmi dmon cannot be read.
var ErrDCGMI = errors.New("the rows of dcgmi dmon do not say when they were read: pipe it into record --source dcgmi:- while it runs")

// Options say what a log does not. The zero Options are ready.
type Options struct {
	Location *time.Location // where its times are local; nil is UTC
	Host     string         // host that the devices are in; "" is unknown
}

// NewReader reads the first rows. name is for errors.
func NewReader(r io.Reader, name string, o Options) (*stamped.Reader, error) {
	if o.Location == nil {
		o.Location = time.UTC
	}
	return stamped.NewReader(r, name, sample.Info{API: "nvidia-smi dmon"}, o.Host, &parser{log: smi.NewDmonLog(o.Location, o.Host)})
}

type parser struct {
	stamped.Lines
	log *smi.DmonLog
	key []byte
}

// Line reads a line.
func (p *parser) Line(line []byte, rows *stamped.Rows) error {
	ok, err := p.log.Line(string(line))
	if err != nil || !ok {
		return err
	}
	p.key = strconv.AppendInt(p.key[:0], int64(p.log.Device().Index), 10)
	i, err := rows.Device(p.key, p.log.Device)
	if err != nil {
		return err
	}
	unix, took := p.log.Time()
	row, err := rows.Add(i, unix, took)
	if err != nil {
		return &trace.ColumnError{Col: 1, Err: err}
	}
	p.log.Set(row)
	return nil
}
