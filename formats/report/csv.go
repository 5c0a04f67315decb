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
	"uncertainty_random", "uncertainty_systematic", "devices_covered", "method",
}

// WriteCSV writes the report's metrics as CSV (RFC 4180), a row for each figure:
// of a phase as a whole, where window and device are empty, of its windows, and of
// each device. A distribution
// has a row for each of its statistics. Numbers are the shortest decimals that give
// the double back; what is unknown is empty. Warnings are not in it.
func WriteCSV(w io.Writer, r *reduce.Report) error {
	c := csv.NewWriter(w)
	c.Write(csvHeader) // an error shows in c.Error
	for i := range r.Phases {
		ph := &r.Phases[i]
		csvPhase(c, ph.Name, "", ph)
		for j := range ph.Windows {
			csvPhase(c, ph.Name, ph.Windows[j].Name, &ph.Windows[j])
		}
	}
	c.Flush()
	return c.Error()
}

// csvPhase writes a phase, or one of its windows.
func csvPhase(c *csv.Writer, phase, window string, ph *reduce.Phase) {
	row := []string{phase, window, ph.Kind, "", ""}
	if ph.DurationSeconds != nil {
		csvRow(c, row, "duration", "value", *ph.DurationSeconds, "s", nil)
	}
	csvMetrics(c, row, ph.Metrics)
	for j := range ph.PerDevice {
		d := &ph.PerDevice[j]
		row := []string{phase, window, ph.Kind, d.Device, strconv.Itoa(d.DeviceIndex)}
		csvRow(c, row, "coverage", "value", d.Coverage, "1", nil)
		csvMetrics(c, row, d.Metrics)
	}
}

func csvMetrics(c *csv.Writer, row []string, metrics map[string]reduce.Metric) {
	for _, tag := range tags(metrics) {
		m := metrics[tag]
		if m.Number != nil {
			csvRow(c, row, tag, "value", m.Value, m.Unit, m.Number)
		}
		if d := m.Distribution; d != nil {
			for _, s := range []struct {
				name  string
				value float64
			}{
				{"mean", d.Mean}, {"min", d.Min}, {"p1", d.P1}, {"p5", d.P5}, {"p10", d.P10}, {"p25", d.P25}, {"p50", d.P50},
				{"p75", d.P75}, {"p90", d.P90}, {"p95", d.P95}, {"p99", d.P99}, {"max", d.Max}, {"std", d.Std},
			} {
				csvRow(c, row, tag, s.name, s.value, m.Unit, nil)
			}
			csvRow(c, row, tag, "count", float64(d.Count), "1", nil)
		}
	}
}

// csvRow writes one figure; n is nil where there is no more to say of it.
func csvRow(c *csv.Writer, row []string, tag, statistic string, value float64, unit string, n *reduce.Number) {
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
	full := append(row[:len(row):len(row)], tag, statistic, shortest(value), unit, random, systematic, covered, method)
	c.Write(full)
}

func shortest(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
