package report

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"wattrace/reduce"
)

// WriteText writes the report for people at a terminal: a section per phase,
// warnings last.
func WriteText(w io.Writer, r *reduce.Report) error { return write(w, r, false) }

// WriteMarkdown writes what WriteText does as Markdown (tables as GitHub's).
func WriteMarkdown(w io.Writer, r *reduce.Report) error { return write(w, r, true) }

// printer writes a report for people.
type printer struct {
	*bufio.Writer
	markdown bool
}

func write(w io.Writer, r *reduce.Report, markdown bool) error {
	b := &printer{bufio.NewWriter(w), markdown}
	for i := range r.Phases {
		if i > 0 {
			b.WriteByte('\n')
		}
		writePhase(b, &r.Phases[i])
	}
	if len(r.Phases) == 0 {
		b.WriteString("no phase\n")
	}
	if len(r.Warnings) > 0 {
		b.heading("\n", "warnings", "")
		for _, w := range r.Warnings {
			where := ""
			if w.Phase != "" {
				where = w.Phase + ": "
			}
			b.item(fmt.Sprintf("%s: %s%s", b.code(string(w.Code)), where, w.Message))
		}
	}
	b.WriteString("\n± is 1.96 standard uncertainties (about 95 %); random is what another run would draw anew.\n")
	return b.Flush()
}

// heading begins a section.
func (b *printer) heading(before, title, rest string) {
	if b.markdown {
		before, title, rest = before+"## ", title+rest, "\n"
	}
	b.WriteString(before + title + rest + "\n")
}

// item writes a line of a list.
func (b *printer) item(text string) {
	if b.markdown {
		b.WriteString("- " + text + "\n")
		return
	}
	b.WriteString("  " + text + "\n")
}

func (b *printer) code(name string) string {
	if b.markdown {
		return "`" + name + "`"
	}
	return name
}

func writePhase(b *printer, ph *reduce.Phase) {
	duration := ""
	if ph.DurationSeconds != nil {
		duration = fmt.Sprintf(": %.3f s from %s", *ph.DurationSeconds, ph.Start)
	}
	b.heading("", fmt.Sprintf("%s (%s)", ph.Name, ph.Kind), duration)
	var facts []string
	if ph.Concurrency > 0 {
		facts = append(facts, fmt.Sprintf("concurrency %d", ph.Concurrency))
	}
	facts = append(facts, requestFacts(ph.Requests)...)
	facts = append(facts, tokenFacts(ph.Tokens)...)
	if len(facts) > 0 {
		b.item(strings.Join(facts, ", "))
	}
	writeNumbers(b, ph)
	writeTruth(b, ph)
	writeDistributions(b, ph)
	writeDevices(b, ph)
	writeSlices(b, ph)
}

// writeSlices writes the slices of a phase, a line each.
func writeSlices(b *printer, ph *reduce.Phase) {
	t := newTable(1, 3, 4, 7, 8, 9)
	t.AppendHeader(table.Row{"slice", "start", "seconds", "energy", "", "", "average W", "tokens/s", "tokens/J"})
	for i := range ph.Windows {
		w := &ph.Windows[i]
		row := table.Row{w.Name, w.Start, decimal(*w.DurationSeconds, 3)}
		if m, ok := w.Metrics[reduce.TotalGPUEnergy]; ok {
			value, plus, _ := figures(m)
			row = append(row, value, plus, m.Unit)
		} else {
			row = append(row, "-", "", "")
		}
		for _, tag := range []string{reduce.AverageGPUPower, reduce.OutputTokenThroughput, reduce.OutputTokensPerJoule} {
			if m, ok := w.Metrics[tag]; ok && m.Number != nil {
				row = append(row, significant(m.Value, 4))
			} else {
				row = append(row, "-")
			}
		}
		t.AppendRow(row)
	}
	render(b, t)
}

func requestFacts(q *reduce.Requests) []string {
	if q == nil || q.Sent == 0 {
		return nil
	}
	facts := []string{fmt.Sprintf("%d requests sent", q.Sent), fmt.Sprintf("%d succeeded", q.Succeeded)}
	for _, other := range []struct {
		n    int64
		what string
	}{{q.Failed, "failed"}, {q.Cancelled, "cancelled"}, {q.Unended, "unended"}} {
		if other.n > 0 {
			facts = append(facts, fmt.Sprintf("%d %s", other.n, other.what))
		}
	}
	return facts
}

func tokenFacts(t *reduce.Tokens) (facts []string) {
	if t != nil && t.Input != nil {
		facts = append(facts, fmt.Sprintf("%.0f input tokens", *t.Input))
	}
	if t != nil && t.Output != nil {
		facts = append(facts, fmt.Sprintf("%.0f output tokens", *t.Output))
	}
	return facts
}

// order is that of the text; what it does not name follows by name.
var order = []string{
	reduce.TotalGPUEnergy, reduce.TotalGPUPower, reduce.AverageGPUPower,
	reduce.OutputTokensPerJoule, reduce.EnergyPerOutputToken, reduce.EnergyPerTotalToken, reduce.EnergyPerRequest, reduce.EnergyPerUser,
	reduce.OutputTokenThroughput, reduce.TotalTokenThroughput, reduce.RequestThroughput,
	reduce.TimeToFirstToken, reduce.InterTokenLatency, reduce.RequestLatency,
}

// tags returns the metrics' tags in the order of the text.
func tags(m map[string]reduce.Metric) []string {
	var list []string
	for tag := range m {
		list = append(list, tag)
	}
	rank := func(tag string) int {
		if i := slices.Index(order, tag); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortFunc(list, func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return list
}

// newTable returns a table without lines, indented by two.
func newTable(numbers ...int) table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = text.FormatDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "  ", ""
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	var columns []table.ColumnConfig
	for _, n := range numbers {
		columns = append(columns, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	return t
}

func render(b *printer, t table.Writer) {
	switch {
	case t.Length() == 0:
	case b.markdown:
		fmt.Fprintf(b, "\n%s\n", t.RenderMarkdown())
	default:
		fmt.Fprintf(b, "\n%s\n", t.Render())
	}
}

// comparison holds the tags that only --truth brings; they have a table of
// their own.
var comparison = []string{reduce.TrueGPUEnergy, reduce.LastSampleGPUEnergy}

// writeTruth compares the energy with the simulator's truth, and with what the
// last readings before each end would have said.
func writeTruth(b *printer, ph *reduce.Phase) {
	truth, ok := ph.Metrics[reduce.TrueGPUEnergy]
	if !ok {
		return
	}
	t := newTable(2, 3)
	t.AppendHeader(table.Row{"", "energy", "error", ""})
	t.AppendRow(table.Row{"simulator's truth", decimal(truth.Value, 2), "", "J"})
	for _, row := range []struct{ tag, title string }{
		{reduce.TotalGPUEnergy, "this report"},
		{reduce.LastSampleGPUEnergy, "last samples"},
	} {
		if m, ok := ph.Metrics[row.tag]; ok {
			t.AppendRow(table.Row{row.title, decimal(m.Value, 2), fmt.Sprintf("%+.2f", m.Value-truth.Value), "J"})
		}
	}
	render(b, t)
}

func writeNumbers(b *printer, ph *reduce.Phase) {
	t := newTable(2, 5)
	t.AppendHeader(table.Row{"", "", "", "", "random", "method"})
	for _, tag := range tags(ph.Metrics) {
		m := ph.Metrics[tag]
		if m.Number == nil || slices.Contains(comparison, tag) {
			continue
		}
		value, plus, random := figures(m)
		t.AppendRow(table.Row{Title(tag) + gpuCount(ph, m.Number), value, plus, m.Unit, random, m.Method})
	}
	render(b, t)
}

// figures formats a number and its 95 % intervals, all and random alone.
func figures(m reduce.Metric) (value, plus, random string) {
	if m.Uncertainty == nil {
		return significant(m.Value, 5), "", ""
	}
	all := 1.96 * math.Sqrt(m.Uncertainty.Random*m.Uncertainty.Random+m.Uncertainty.Systematic*m.Uncertainty.Systematic)
	digits := decimals(all)
	return decimal(m.Value, digits), "± " + decimal(all, digits), "± " + significant(1.96*m.Uncertainty.Random, 2)
}

// decimals returns how many decimals show two significant digits of u.
func decimals(u float64) int {
	if u <= 0 {
		return 3
	}
	return min(max(1-exponent(u, 2), 0), 9)
}

// exponent returns the decimal exponent of v rounded to so many significant
// digits. It goes by the decimal form, so that no logarithm decides a digit.
func exponent(v float64, digits int) int {
	s := strconv.FormatFloat(v, 'e', digits-1, 64)
	e, err := strconv.Atoi(s[strings.IndexByte(s, 'e')+1:])
	if err != nil {
		return 0 // NaN and Inf, which no report holds
	}
	return e
}

func decimal(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }

// significant formats v with so many significant digits, without an exponent.
func significant(v float64, digits int) string {
	if v == 0 {
		return "0"
	}
	return decimal(v, min(max(digits-1-exponent(v, digits), 0), 9))
}

// Title is a tag as people write it.
func Title(tag string) string {
	words := strings.Split(tag, "_")
	for i, w := range words {
		if w == "gpu" {
			words[i] = "GPU"
		}
	}
	return strings.Join(words, " ")
}

// gpuCount says how many GPUs a figure covers, and of how many if not of all.
func gpuCount(ph *reduce.Phase, n *reduce.Number) string {
	switch {
	case n.DevicesCovered == 0 || ph.Devices == nil:
		return ""
	case n.DevicesCovered < ph.Devices.Expected:
		return fmt.Sprintf(" (%d of %d GPUs)", n.DevicesCovered, ph.Devices.Expected)
	case n.DevicesCovered == 1:
		return " (1 GPU)"
	}
	return fmt.Sprintf(" (%d GPUs)", n.DevicesCovered)
}

func writeDistributions(b *printer, ph *reduce.Phase) {
	t := newTable(2, 3, 4, 5, 6, 7, 8, 9)
	t.AppendHeader(table.Row{"", "mean", "p50", "p90", "p95", "p99", "max", "std", "count", ""})
	for _, tag := range tags(ph.Metrics) {
		m := ph.Metrics[tag]
		if d := m.Distribution; d != nil {
			scale, unit := 1.0, m.Unit
			if unit == "s" && d.Max < 10 {
				scale, unit = 1000, "ms"
			}
			row := table.Row{Title(tag)}
			for _, v := range []float64{d.Mean, d.P50, d.P90, d.P95, d.P99, d.Max, d.Std} {
				row = append(row, significant(v*scale, 4))
			}
			t.AppendRow(append(row, d.Count, unit))
		}
	}
	render(b, t)
}

func writeDevices(b *printer, ph *reduce.Phase) {
	t := newTable(1, 3, 6, 9)
	t.AppendHeader(table.Row{"GPU", "host", "energy", "", "", "power", "", "", "coverage", "device", "name"})
	for _, d := range ph.PerDevice {
		row := table.Row{d.DeviceIndex, d.Host}
		for _, tag := range []string{reduce.GPUEnergy, reduce.GPUPower} {
			if m, ok := d.Metrics[tag]; ok {
				value, plus, _ := figures(m)
				row = append(row, value, plus, m.Unit)
			} else {
				row = append(row, "-", "", "")
			}
		}
		t.AppendRow(append(row, significant(100*d.Coverage, 4)+" %", d.Device, d.Name))
	}
	render(b, t)
}
