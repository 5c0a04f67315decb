// Package output reads what amd-smi prints: package amdsmi, which runs it, says what that
// is.
package output

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"wattrace/sample"
)

// GPU is one reading of one device.
type GPU struct {
	sample.Device
	values []value
}

// Set stores the reading in a row.
func (g *GPU) Set(row sample.Row) {
	for _, v := range g.values {
		v.set(row)
	}
}

// value is what a reading says of a metric.
type value struct {
	id      sample.MetricID
	number  float64
	missing bool
}

func (v value) set(row sample.Row) {
	switch {
	case v.missing:
		row.Fail(v.id, "NOT_SUPPORTED")
	case sample.Metrics[v.id].Type == sample.Uint64:
		row.SetUint(v.id, uint64(v.number))
	default:
		row.Set(v.id, v.number)
	}
}

// Parser reads what amd-smi prints while it runs, line by line.
type Parser struct {
	Host string // that it runs on
	Said string // the last line before the first reading, which may be why there is none

	begun  bool
	header []string // of CSV
	text   []byte   // of JSON, so far
	nested nesting
}

const maxSaid = 1 << 10

// maxText is the longest JSON that is taken for one reading.
const maxText = 16 << 20

var errLine = errors.New("neither JSON nor CSV of amd-smi metric")

// Line reads a line and calls f with each reading that it completes.
func (p *Parser) Line(line []byte, f func(GPU)) error {
	trimmed := bytes.TrimSpace(line)
	switch {
	case p.text == nil && (trimmed[0] == '[' || trimmed[0] == '{'), p.text != nil:
		p.begun = true
		p.text = append(append(p.text, line...), '\n')
		if len(p.text) > maxText {
			return errors.New("the JSON of a reading has no end")
		}
		p.nested.add(line)
		if p.nested.depth > 0 {
			return nil
		}
		defer func() { p.text, p.nested = nil, nesting{} }()
		return p.json(f)
	case bytes.HasPrefix(trimmed, []byte("timestamp,")) || bytes.HasPrefix(trimmed, []byte("gpu,")):
		p.begun = true
		header, err := record(trimmed)
		p.header = header
		return err
	case p.header != nil && trimmed[0] >= '0' && trimmed[0] <= '9':
		return p.csv(trimmed, f)
	case bytes.Contains(trimmed, []byte("to stop watching output")), bytes.HasPrefix(trimmed, []byte("WARNING")):
		return nil
	case p.begun:
		return errLine
	}
	p.Said = strings.ToValidUTF8(string(trimmed[:min(len(trimmed), maxSaid)]), "?")
	return nil
}

// nesting follows the brackets of JSON that comes in lines.
type nesting struct {
	depth  int
	quoted bool
}

func (n *nesting) add(line []byte) {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case n.quoted && c == '\\':
			i++
		case c == '"':
			n.quoted = !n.quoted
		case n.quoted:
		case c == '[' || c == '{':
			n.depth++
		case c == ']' || c == '}':
			n.depth--
		}
	}
}

// json reads the JSON of all GPUs.
func (p *Parser) json(f func(GPU)) error {
	var wrapped struct {
		GPUs []map[string]any `json:"gpu_data"`
	}
	gpus := &wrapped.GPUs
	into := any(&wrapped)
	if p.text[0] == '[' {
		into = gpus
	}
	if err := json.Unmarshal(bytes.TrimSpace(p.text), into); err != nil {
		return fmt.Errorf("a reading's JSON: %w", err)
	}
	for _, g := range *gpus {
		index, is := g["gpu"].(float64)
		if !is {
			continue // a processor, of which newer versions tell too
		}
		if err := p.reading(strconv.FormatFloat(index, 'f', -1, 64), flatten(g), f); err != nil {
			return err
		}
	}
	return nil
}

// flatten names the values of all sections as CSV does.
func flatten(g map[string]any) map[string]Field {
	flat := map[string]Field{}
	for _, section := range g {
		values, is := section.(map[string]any)
		if !is {
			continue
		}
		for name, v := range values {
			if f, ok := leaf(v); ok {
				flat[name] = f
			} else if inner, is := v.(map[string]any); is {
				for child, v := range inner {
					if f, ok := leaf(v); ok {
						flat[name+"_"+child] = f
					}
				}
			}
		}
	}
	return flat
}

// Field is a value as it stands.
type Field struct{ Text, Unit string }

// leaf reads {"value": 238, "unit": "W"}, 238 or "N/A".
func leaf(v any) (f Field, ok bool) {
	switch v := v.(type) {
	case float64:
		return Field{Text: strconv.FormatFloat(v, 'g', -1, 64)}, true
	case string:
		return Field{Text: v}, true
	case map[string]any:
		inner, has := v["value"]
		if !has {
			return f, false
		}
		f, ok = leaf(inner)
		f.Unit, _ = v["unit"].(string)
		return f, ok
	}
	return f, false
}

// record reads a line of CSV, which never has a quoted line feed there.
func record(line []byte) ([]string, error) {
	fields, err := csv.NewReader(bytes.NewReader(line)).Read()
	if err != nil {
		return nil, errLine
	}
	return fields, nil
}

func (p *Parser) csv(line []byte, f func(GPU)) error {
	fields, err := record(line)
	if err != nil {
		return err
	}
	if len(fields) != len(p.header) {
		return fmt.Errorf("%d fields, where the header has %d", len(fields), len(p.header))
	}
	flat := map[string]Field{}
	for i, name := range p.header {
		flat[name] = Field{Text: fields[i]}
	}
	return p.reading(flat["gpu"].Text, flat, f)
}

// reading makes a reading of the values of a GPU.
func (p *Parser) reading(index string, flat map[string]Field, f func(GPU)) error {
	g, err := Reading(p.Host, index, flat)
	if err == nil {
		f(g)
	}
	return err
}

// Reading makes a reading of the values of a GPU by their names in the CSV of amd-smi metric.
func Reading(host, index string, flat map[string]Field) (g GPU, err error) {
	n, err := strconv.ParseUint(index, 10, 16)
	if err != nil {
		return g, fmt.Errorf("%.20q is not the number of a GPU", index)
	}
	g = GPU{Device: sample.Device{
		ID: fmt.Sprintf("%s:%s:%d", sample.AMDSMI, host, n), Host: host, Index: int(n), Source: sample.AMDSMI, Scope: sample.ScopeGPU,
	}}
	add := func(id sample.MetricID, q quantity, names ...string) {
		if err == nil {
			var v value
			var has bool
			if v, has, err = q.first(flat, names...); has {
				v.id = id
				g.values = append(g.values, v)
			}
		}
	}
	add(sample.PowerWatts, watts, "socket_power", "current_socket_power", "average_socket_power")
	add(sample.PowerInstantWatts, watts, "current_socket_power")
	add(sample.PowerAverageWatts, watts, "average_socket_power")
	if _, has := flat["total_energy_consumption"]; has {
		add(sample.EnergyJoules, joules, "total_energy_consumption")
	} else if _, has := flat["energy_accumulator"]; has {
		add(sample.EnergyJoules, ticks, "energy_accumulator")
		if v := &g.values; err == nil && len(*v) > 0 && (*v)[len(*v)-1].id == sample.EnergyJoules {
			var resolution value
			resolution, has, err = microjoules.first(flat, "counter_resolution")
			last := &(*v)[len(*v)-1]
			last.number *= resolution.number / 1e6
			last.missing = last.missing || resolution.missing || !has
		}
	}
	add(sample.GPUUtilization, percent, "gfx_activity")
	add(sample.MemoryUtilization, percent, "umc_activity")
	add(sample.TemperatureCelsius, celsius, "hotspot", "edge")
	add(sample.MemoryTemperatureCelsius, celsius, "mem")
	add(sample.MemoryUsedBytes, mebibytes, "used_vram")
	add(sample.SMClockHertz, megahertz, "gfx_0_clk")
	add(sample.MemoryClockHertz, megahertz, "mem_0_clk")
	if err == nil && len(g.values) == 0 {
		err = errors.New("a reading without any value that is known")
	}
	return g, err
}

// quantity says how a field becomes a metric's value.
type quantity struct {
	units    []string // that it may have; none is that nothing is said
	si, per  float64  // times one, divided by the other, which is exact where a fraction is not
	negative bool     // may be
}

var (
	watts       = quantity{units: []string{"W"}, si: 1, per: 1}
	joules      = quantity{units: []string{"J"}, si: 1, per: 1}
	ticks       = quantity{si: 1, per: 1}
	microjoules = quantity{units: []string{"uJ", "µJ"}, si: 1, per: 1}
	percent     = quantity{units: []string{"%"}, si: 1, per: 100}
	celsius     = quantity{units: []string{"C", "°C"}, si: 1, per: 1, negative: true}
	mebibytes   = quantity{units: []string{"MB"}, si: 1 << 20, per: 1}
	megahertz   = quantity{units: []string{"MHz"}, si: 1e6, per: 1}
)

// first returns the first of the names that has a value; has is that one of them
// is there, with a value or without.
func (q quantity) first(flat map[string]Field, names ...string) (v value, has bool, err error) {
	v.missing = true
	for _, name := range names {
		f, is := flat[name]
		if !is {
			continue
		}
		has = true
		if f.Text == "N/A" || f.Text == "" {
			continue
		}
		if f.Unit != "" && !slices.Contains(q.units, f.Unit) {
			return v, has, fmt.Errorf("%s is in %.20q: %s is wanted", name, f.Unit, strings.Join(q.units, " or "))
		}
		v.number, err = strconv.ParseFloat(f.Text, 64)
		if err != nil || math.IsNaN(v.number) || math.IsInf(v.number, 0) {
			return v, has, fmt.Errorf("%s: %.20q is not a number", name, f.Text)
		}
		if v.number < 0 && !q.negative || v.number >= 1<<62 {
			return v, has, fmt.Errorf("%s cannot be %.20s", name, f.Text)
		}
		v.number, v.missing = v.number*q.si/q.per, false
		return v, has, nil
	}
	return v, has, nil
}
