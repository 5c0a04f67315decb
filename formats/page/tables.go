package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"wattrace/formats/report"
	"wattrace/reduce"
)

// number writes a metric of a table; "" where it is not known.
func number(metrics map[string]reduce.Metric, tag string) string {
	m, ok := metrics[tag]
	switch {
	case !ok:
		return "–"
	case m.Distribution != nil:
		return report.Significant(m.P50, 4)
	case m.Number == nil:
		return "–"
	}
	value, plus := report.Figures(m)
	if plus != "" {
		value += " " + strings.ReplaceAll(plus, "± ", "±\u00a0") // on paper a line may end before it
	}
	return value
}

// tables makes the tables of phases and of devices.
func (v *view) tables(rep *reduce.Report) {
	hasLog := slices.ContainsFunc(rep.Phases, func(ph reduce.Phase) bool { return ph.Requests != nil })
	phases := table{Title: "Phases", Head: cells("phase", "kind", "s", "GPUs", "energy, J", "mean power, W")}
	tags := []string{reduce.TotalGPUEnergy, reduce.AverageGPUPower}
	if hasLog {
		phases.Head = append(phases.Head, cells("requests", "failed", "output tokens", "tokens/s", "tokens/J", "J/request", "TTFT p50, s", "ITL p50, s")...)
		tags = append(tags, reduce.OutputTokenThroughput, reduce.OutputTokensPerJoule, reduce.EnergyPerRequest, reduce.TimeToFirstToken, reduce.InterTokenLatency)
	}
	add := func(ph *reduce.Phase, indent string) {
		row := cells(indent+short(ph.Name), ph.Kind, "–", "–")
		if ph.DurationSeconds != nil {
			row[2].Text = fmt.Sprintf("%.3f", *ph.DurationSeconds)
		}
		if d := ph.Devices; d != nil {
			row[3].Text = fmt.Sprintf("%d of %d", d.Seen, d.Expected)
		}
		for _, tag := range tags[:2] {
			row = append(row, cell{Text: number(ph.Metrics, tag)})
		}
		if hasLog {
			counts := cells("–", "–", "–")
			if q := ph.Requests; q != nil {
				counts[0].Text, counts[1].Text = fmt.Sprint(q.Sent), fmt.Sprint(q.Failed)
			}
			if t := ph.Tokens; t != nil && t.Output != nil {
				counts[2].Text = fmt.Sprintf("%.0f", *t.Output)
			}
			row = append(row, counts...)
			for _, tag := range tags[2:] {
				row = append(row, cell{Text: number(ph.Metrics, tag)})
			}
		}
		phases.Rows = append(phases.Rows, row)
	}
	for i := range rep.Phases {
		add(&rep.Phases[i], "")
		for j := range rep.Phases[i].Windows {
			add(&rep.Phases[i].Windows[j], "· ")
		}
	}
	if len(phases.Rows) > 0 {
		v.Tables = append(v.Tables, phases)
	}
	for _, ph := range measured(rep) {
		if t, ok := devices(ph); ok {
			v.Tables = append(v.Tables, t)
		}
		if len(v.Tables) > mostCards {
			break
		}
	}
	for i := range rep.Stated {
		st := &rep.Stated[i]
		t := table{Title: short(st.Tool) + " states of its own run", Note: cutText(st.Path, 200), Head: left(cells("figure", "value", "unit"), 0)}
		for _, f := range st.Figures {
			t.Rows = append(t.Rows, cells(short(f.Name), report.Significant(f.Value, 6), short(f.Unit)))
		}
		v.Tables = append(v.Tables, t)
	}
}

// devices is the table of the devices of a phase.
func devices(ph *reduce.Phase) (t table, ok bool) {
	t = table{Title: "Devices: " + short(ph.Name), Head: cells("device", "energy, J", "mean power, W", "power limit, W", "used, %", "°C", "covered, %", "other method, J", "model")}
	roles := slices.ContainsFunc(ph.PerDevice, func(d reduce.PerDevice) bool { return d.Role != "" })
	if roles {
		t.Head = append(t.Head, cell{Text: "role"})
	}
	t.Head = append(t.Head, cell{Text: "method", Left: true})
	for i := range ph.PerDevice {
		d := &ph.PerDevice[i]
		energy, method := number(d.Metrics, reduce.GPUEnergy), ""
		for _, tag := range []string{reduce.GPUEnergy, reduce.GPUEnergyCovered} {
			if m, ok := d.Metrics[tag]; ok && m.Number != nil {
				method = m.Method
			}
		}
		if _, part := d.Metrics[reduce.GPUEnergyCovered]; part {
			energy = number(d.Metrics, reduce.GPUEnergyCovered) + " (covered part)"
		}
		used := "–"
		if m, ok := d.Metrics[reduce.GPUUtilization]; ok && m.Number != nil {
			used = fmt.Sprintf("%.0f", 100*m.Value)
		}
		row := cells(deviceName(d.Host, d.Scope, d.DeviceIndex), energy, number(d.Metrics, reduce.GPUPower), number(d.Metrics, reduce.GPUPowerLimit), used,
			number(d.Metrics, reduce.GPUTemperature), fmt.Sprintf("%.4g", 100*d.Coverage), number(d.Metrics, reduce.CrossCheckEnergy), short(d.Name))
		if roles {
			row = append(row, cell{Text: short(d.Role)})
		}
		t.Rows = append(t.Rows, append(row, cell{Text: cutText(method, 300), Left: true}))
	}
	return t, len(t.Rows) > 0
}

// methods says what every figure rests on.
func (v *view) methods(rep *reduce.Report) {
	if a := rep.Attribution; a != nil {
		v.Notes = append(v.Notes, fmt.Sprintf("The energy of prefill, decode and single requests is attributed in mode %s.", a.Mode))
		if a.Refused != "" {
			v.Notes = append(v.Notes, "A fit to this run was refused: "+cutText(a.Refused, 300))
		}
	}
	for i := range rep.Phases {
		ph := &rep.Phases[i]
		t := table{Title: "Every figure of " + short(ph.Name), Note: phaseFacts(ph), Head: left(cells("figure", "value", "unit", "random ±", "GPUs", "method"), 5)}
		for _, tag := range slices.Sorted(maps.Keys(ph.Metrics)) {
			t.Rows = append(t.Rows, figure(tag, ph.Metrics[tag]))
		}
		if len(t.Rows) > 0 {
			v.Methods = append(v.Methods, t)
		}
	}
	sensors := table{Title: "Sensors", Note: "What is not known of each device's own sensor: standard uncertainties, of which the systematic part of ± is made.", Head: left(cells("device", "source", "model", "driver", "scope", "gain, of the model", "gain, of the unit", "zero, W", "known by"), 8)}
	for _, d := range rep.Devices {
		row := cells(deviceName(d.Host, d.Scope, d.DeviceIndex), d.Source, short(d.Name), short(d.Driver), d.Scope, "–", "–", "–", "")
		if s := d.Sensor; s != nil {
			known := "assumed"
			if s.Calibrated != "" {
				known = "calibration of the " + s.Calibrated
			}
			row = append(row[:5], cells(fmt.Sprintf("%.3g %%", 100*s.ModelGain), fmt.Sprintf("%.3g %%", 100*s.UnitGain), fmt.Sprintf("%.3g", s.ZeroWatts), known)...)
		}
		sensors.Rows = append(sensors.Rows, left(row, 8))
	}
	if len(sensors.Rows) > 0 {
		v.Methods = append(v.Methods, sensors)
	}
	inputs := table{Title: "Inputs", Head: left(cells("file", "what it is", "SHA-256"), 2)}
	for _, in := range rep.Inputs {
		inputs.Rows = append(inputs.Rows, left(cells(cutText(in.Path, 200), in.Schema, in.SHA256), 2))
	}
	if len(inputs.Rows) > 0 {
		v.Methods = append(v.Methods, inputs)
	}
}

// figure is a row of the table of every figure.
func figure(tag string, m reduce.Metric) []cell {
	name := report.Title(tag)
	if d := m.Distribution; d != nil {
		var points []string
		for _, p := range []struct {
			name string
			v    float64
		}{{"min", d.Min}, {"p50", d.P50}, {"p90", d.P90}, {"p99", d.P99}, {"max", d.Max}} {
			points = append(points, p.name+" "+report.Significant(p.v, 4))
		}
		return left(cells(name, report.Significant(d.Mean, 4), m.Unit, "", "", fmt.Sprintf("mean of %d; %s", d.Count, strings.Join(points, ", "))), 5)
	}
	if m.Number == nil {
		return left(cells(name, "–", m.Unit, "", "", ""), 5)
	}
	value, plus := report.Figures(m)
	random, gpus, method := "", "", m.Method
	if u := m.Uncertainty; u != nil {
		random = report.Significant(1.96*u.Random, 2)
	}
	if m.DevicesCovered > 0 {
		gpus = fmt.Sprint(m.DevicesCovered)
	}
	for _, r := range []struct {
		what string
		*reduce.Enclosure
	}{{"for certain", m.Enclosure}, {"if clocks are off", m.ClockRange}, {"by other models", m.Bounds}} {
		if r.Enclosure != nil {
			method += fmt.Sprintf("; %s %s to %s", r.what, report.Significant(r.Low, 5), report.Significant(r.High, 5))
		}
	}
	return left(cells(name, strings.TrimSpace(value+" "+plus), m.Unit, random, gpus, cutText(method, 400)), 5)
}
