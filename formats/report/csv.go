package report

import (
	"encoding/csv"
	"io"
	"strconv"

	"wattrace/reduce"
)

// csvHeader names the columns of the CSV form.
var csvHeader = []string{
	"phase", "window", "kind", "device", "device_index", "metric", "statistic", "value", "unit",
	"uncertainty_random", "uncertainty_systematic", "devices_covered", "method", "role", "tool",
}

// WriteCSV writes the report's metrics as CSV (RFC 4180), a row for each figure:
// of a phase as a whole, where window and device are empty, of its windows, of
// each device, of the devices of a role together, and of what another tool would have
// published (role and tool are empty elsewhere). A distribution
// has a row for each of its statistics. What a tool states itself has the kind "stated", and
// the run that it is of, if it has several, for its phase. Numbers are the shortest decimals that give
// the double back; what is unknown is empty. Warnings are not in it.
func WriteCSV(w io.Writer, r *reduce.Report) error {
	c := csv.NewWriter(w)
	c.Write(csvHeader) // an error shows in c.Error
	for i := range r.Phases {
		ph := &r.Phases[i]
		csvPhase(c, ph.Name, "", ph)
		for window := range ph.All() {
			csvPhase(c, ph.Name, window.Name, window)
		}
	}
	for _, s := range r.Stated {
		w := csvWriter{Writer: c, phase: s.Run, kind: "stated", tool: s.Tool}
		for _, f := range s.Figures {
			w.row(f.Name, "value", f.Value, f.Unit, nil)
		}
	}
	c.Flush()
	return c.Error()
}

// csvWriter writes the figures of one thing: a phase, a window, a device, a role or
// another tool.
type csvWriter struct {
	*csv.Writer
	phase, window, kind, device, index, role, tool string
}

// csvPhase writes a phase, or one of its windows.
func csvPhase(c *csv.Writer, phase, window string, ph *reduce.Phase) {
	w := csvWriter{Writer: c, phase: phase, window: window, kind: ph.Kind}
	if ph.DurationSeconds != nil {
		w.row("duration", "value", *ph.DurationSeconds, "s", nil)
	}
	w.metrics(ph.Metrics)
	for j := range ph.PerDevice {
		d := &ph.PerDevice[j]
		w := w
		w.device, w.index, w.role = d.Device, strconv.Itoa(d.DeviceIndex), d.Role
		w.row("coverage", "value", d.Coverage, "1", nil)
		w.metrics(d.Metrics)
	}
	for _, role := range ph.Roles {
		w := w
		w.role = role.Role
		w.metrics(role.Metrics)
	}
	for i := range ph.Others {
		o, w := &ph.Others[i], w
		w.tool = o.Tool
		w.figures(o.Figures)
		for _, d := range o.Devices {
			w.device, w.index = d.Device, strconv.Itoa(d.DeviceIndex)
			w.figures(d.Figures)
		}
	}
}

// figures writes what another tool would have published.
func (w *csvWriter) figures(list []reduce.OtherFigure) {
	for _, f := range list {
		w.row(f.Name, "value", f.Value, f.Unit, &reduce.Number{Method: f.Formula})
	}
}

func (w *csvWriter) metrics(metrics map[string]reduce.Metric) {
	for _, tag := range tags(metrics) {
		m := metrics[tag]
		if m.Number != nil {
			w.row(tag, "value", m.Value, m.Unit, m.Number)
		}
		if d := m.Distribution; d != nil {
			for _, s := range []struct {
				name  string
				value float64
			}{
				{"mean", d.Mean}, {"min", d.Min}, {"p1", d.P1}, {"p5", d.P5}, {"p10", d.P10}, {"p25", d.P25}, {"p50", d.P50},
				{"p75", d.P75}, {"p90", d.P90}, {"p95", d.P95}, {"p99", d.P99}, {"max", d.Max}, {"std", d.Std},
			} {
				w.row(tag, s.name, s.value, m.Unit, nil)
			}
			w.row(tag, "count", float64(d.Count), "1", nil)
		}
	}
}

// row writes one figure; n is nil where there is no more to say of it.
func (w *csvWriter) row(tag, statistic string, value float64, unit string, n *reduce.Number) {
	random, systematic, covered, method := "", "", "", ""
	if n != nil {
		method = n.Method
		if n.Uncertainty != nil {
			random, systematic = shortest(n.Uncertainty.Random), shortest(n.Uncertainty.Systematic)
		}
		if n.DevicesCovered > 0 {
			covered = strconv.Itoa(n.DevicesCovered)
		}
	}
	w.Write([]string{
		w.phase, w.window, w.kind, w.device, w.index, tag, statistic, shortest(value), unit, random, systematic, covered, method, w.role, w.tool,
	})
}

func shortest(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
