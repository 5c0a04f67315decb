package smi

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"wattrace/sample"
	"wattrace/trace"
)

var dcgmiTable = table{
	source: sample.DCGM,
	api:    "dcgmi dmon",
	columns: map[string]column{
		"SMCLK":   {sample.SMClockHertz, "", 1e6, 1},
		"MMCLK":   {sample.MemoryClockHertz, "", 1e6, 1},
		"DVCCTR":  {sample.ClockEventReasons, "", 1, 1},
		"MMTMP":   {sample.MemoryTemperatureCelsius, "", 1, 1},
		"TMPTR":   {sample.TemperatureCelsius, "", 1, 1},
		"POWER":   {sample.PowerWatts, "", 1, 1},
		"TOTEC":   {sample.EnergyJoules, "", 1, 1000},
		"POWINST": {sample.PowerInstantWatts, "", 1, 1},
		"EPLMT":   {sample.PowerLimitWatts, "", 1, 1},
		"GPUTL":   {sample.GPUUtilization, "", 1, 100},
		"MCUTL":   {sample.MemoryUtilization, "", 1, 100},
		"FBUSD":   {sample.MemoryUsedBytes, "", 1 << 20, 1},
		"GRACT":   {sample.GraphicsActivity, "", 1, 1},
		"SMACT":   {sample.SMActivity, "", 1, 1},
		"SMOCC":   {sample.SMOccupancy, "", 1, 1},
		"TENSO":   {sample.TensorActivity, "", 1, 1},
		"DRAMA":   {sample.DRAMActivity, "", 1, 1},
	},
	parser: func(*trace.SteadyClock) parser { return &dcgmi{} },
}

// NewDCGMI returns a feed of the output of dcgmi dmon. name is for errors; Close
// closes r.
func NewDCGMI(r io.ReadCloser, name string, clock *trace.SteadyClock) *Feed {
	return &Feed{dcgmiTable, r, name, clock}
}

// dcgmi parses the table.
type dcgmi struct {
	names  []string
	values []value
}

func (d *dcgmi) line(text string, arrived trace.Time) (r row, ok bool, err error) {
	fields := strings.Fields(text)
	if header, is := strings.CutPrefix(strings.TrimLeft(text, " \t"), "#"); is {
		return r, false, d.header(strings.Fields(header))
	}
	switch {
	case d.names == nil:
		return r, false, errors.New("not the header of dcgmi dmon")
	case len(fields) == 1 && strings.EqualFold(fields[0], "ID"):
		return r, false, nil
	case fields[0] != "GPU":
		return r, false, fmt.Errorf("a row of %.20q: only GPUs can be recorded", fields[0])
	case len(fields) != len(d.names)+2:
		return r, false, errFields
	}
	if r.index, err = number(fields[1]); err != nil {
		return r, false, err
	}
	d.values = d.values[:0]
	for i, name := range d.names {
		c, known := dcgmiTable.columns[name]
		if !known {
			continue
		}
		v, err := c.parse(fields[i+2], "N/A")
		if err != nil {
			return r, false, err
		}
		d.values = append(d.values, v)
	}
	r.at, r.values = arrived, d.values
	return r, true, nil
}

func (d *dcgmi) header(fields []string) error {
	if len(fields) < 2 || fields[0] != "Entity" {
		return errors.New("not the header of dcgmi dmon")
	}
	d.names = fields[1:]
	for _, name := range d.names {
		if _, known := dcgmiTable.columns[name]; known {
			return nil
		}
	}
	return errors.New("no column of the table is a metric that is read")
}
