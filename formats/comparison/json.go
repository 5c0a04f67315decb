package comparison

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"

	"wattrace/reduce/compare"
)

// WriteJSON writes the document, indented, keys in the order of the Go types.
func WriteJSON(w io.Writer, c *compare.Comparison) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(c)
}

// csvHeader names the columns of the CSV form.
var csvHeader = []string{
	"phase", "metric", "statistic", "unit", "better", "of_record", "group", "base_runs", "base_median", "base_low", "base_high",
	"new_runs", "new_median", "new_low", "new_high", "ratio", "ratio_random_low", "ratio_random_high", "ratio_total_low", "ratio_total_high",
	"difference", "difference_total_low", "difference_total_high", "sensors_uncertainty", "sensors", "p", "result", "reason",
	"device_host", "device_index", "device_scope", "base_device", "new_device",
}

// WriteCSV writes the rows as CSV (RFC 4180). Numbers are the shortest decimals that give
// the double back; what is unknown is empty.
func WriteCSV(w io.Writer, c *compare.Comparison) error {
	out := csv.NewWriter(w)
	out.Write(csvHeader) // an error shows in out.Error
	for _, r := range c.Rows {
		line := []string{r.Phase, r.Metric, r.Statistic, r.Unit, r.Better, strconv.FormatBool(r.OfRecord), r.Group}
		for _, side := range []*compare.Side{r.Base, r.New} {
			if side == nil {
				line = append(line, "", "", "", "")
				continue
			}
			line = append(append(line, strconv.Itoa(side.Runs), number(side.Median)), bounds(side.Interval)...)
		}
		ratio, difference := estimated(r.Ratio), estimated(r.Difference)
		line = append(append(append(line, ratio.value), bounds(ratio.random)...), bounds(ratio.total)...)
		line = append(append(line, difference.value), bounds(difference.total)...)
		p := ""
		if r.P != nil {
			p = number(*r.P)
		}
		device := []string{"", "", "", "", ""}
		if d := r.Device; d != nil {
			device = []string{d.Host, strconv.Itoa(d.Index), d.Scope, d.Base, d.New}
		}
		out.Write(append(append(line, ratio.sensors, string(r.Sensors), p, string(r.Result), r.Reason), device...))
	}
	out.Flush()
	return out.Error()
}

// estimate is one in the texts of CSV.
type estimate struct {
	value, sensors string
	random, total  *compare.Interval
}

func estimated(e *compare.Estimate) estimate {
	if e == nil {
		return estimate{}
	}
	return estimate{number(e.Value), number(e.Sensors), e.Random, e.Total}
}

func bounds(i *compare.Interval) []string {
	if i == nil {
		return []string{"", ""}
	}
	return []string{number(i.Low), number(i.High)}
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
