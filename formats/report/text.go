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
	b := &printer{bufio.NewWriter(printable{w}), markdown}
	for i := range r.Phases {
		if i > 0 {
			b.WriteByte('\n')
		}
		writePhase(b, &r.Phases[i])
	}
	if len(r.Phases) == 0 && len(r.Stated) == 0 {
		b.WriteString("no phase\n")
	}
	for i := range r.Stated {
		writeStatement(b, &r.Stated[i], i > 0 || len(r.Phases) > 0)
	}
	if len(r.Warnings) > 0 {
		b.heading("\n", "warnings", "")
		for _, w := range r.Warnings {
			where := ""
			if w.Phase != "" {
				where = inLine(w.Phase) + ": "
			}
			b.item(fmt.Sprintf("%s: %s%s", b.code(string(w.Code)), where, inLine(w.Message)))
		}
	}
	writeAttribution(b, r.Attribution)
	b.WriteString("\n± is 1.96 standard uncertainties (about 95 %); random is what another run would draw anew.\n")
	return b.Flush()
}

// printable passes on what a terminal may be given: names come out of files, and one may
// hold an escape sequence.
type printable struct{ io.Writer }

func (p printable) Write(b []byte) (int, error) {
	clean := slices.Clone(b)
	for i, c := range clean {
		if c < ' ' && c != '\n' || c == 0x7f {
			clean[i] = '?'
		}
	}
	return p.Writer.Write(clean)
}

// inLine returns a name without line feeds.
func inLine(name string) string { return strings.ReplaceAll(name, "\n", "?") }

// writeAttribution says how stages and requests were given their energy.
func writeAttribution(b *printer, a *reduce.Attribution) {
	if a == nil {
		return
	}
	text := fmt.Sprintf("\nThe energy of prefill and decode is attributed in mode %s", a.Mode)
	switch {
	case a.Refused != "":
		text += fmt.Sprintf("; a fit to this run was refused: %s", a.Refused)
	case a.Fit != nil:
		text += fmt.Sprintf(": %.3g J a prompt token, %.3g J an output token, %.3g J for each token of its context, %.3g J a step",
			a.Fit.PromptJoules, a.Fit.OutputJoules, a.Fit.ContextJoules, a.Fit.SharedJoules)
	}
	text += "."
	if a.UnstreamedShare > 0 {
		text += fmt.Sprintf(" %.0f %% of the prompt tokens are of answers that are not streamed, whose stages are not known apart.", 100*a.UnstreamedShare)
	}
	if a.Servers > 1 {
		text += fmt.Sprintf(" The requests went to %d servers, which are taken for one.", a.Servers)
	}
	b.WriteString(text + "\n")
}

// writeStatement writes what a tool states of its own run.
func writeStatement(b *printer, s *reduce.Statement, after bool) {
	before := ""
	if after {
		before = "\n"
	}
	tool := s.Tool
	if tool == "" {
		tool = "its tool"
	}
	run := ""
	if s.Run != "" {
		run = ", " + inLine(s.Run)
	}
	b.heading(before, fmt.Sprintf("%s states of its own run", inLine(tool)), fmt.Sprintf(" (%s%s)", inLine(s.Path), run))
	for _, f := range s.Figures {
		b.item(strings.TrimRight(fmt.Sprintf("%s: %s %s", b.code(inLine(f.Name)), stated(f.Value), f.Unit), " "))
	}
}

// stated writes a number in six digits, and whole what is whole.
func stated(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 || math.Abs(v) >= 1e5 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
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
		duration = fmt.Sprintf(": %.3f s", *ph.DurationSeconds)
		if ph.Start != "" {
			duration += " from " + ph.Start
		}
	}
	b.heading("", fmt.Sprintf("%s (%s)", inLine(ph.Name), ph.Kind), duration)
	var facts []string
	if ph.Concurrency > 0 {
		facts = append(facts, fmt.Sprintf("concurrency %d", ph.Concurrency))
	}
	switch ph.Load {
	case reduce.LoadOpen:
		facts = append(facts, "open loop")
	case reduce.LoadGated:
		facts = append(facts, "open loop with a ceiling")
	}
	facts = append(facts, requestFacts(ph.Requests)...)
	facts = append(facts, tokenFacts(ph.Tokens)...)
	if len(facts) > 0 {
		b.item(strings.Join(facts, ", "))
	}
	writeAudit(b, ph.Audit)
	writeConditions(b, ph)
	for _, list := range groups {
		writeNumbers(b, ph, list)
	}
	writeNumbers(b, ph, rest(ph))
	writeTruth(b, ph)
	writeDistributions(b, ph)
	writeRoles(b, ph)
	writeDevices(b, ph)
	writeWindows(b, ph)
	for i := range ph.Others {
		writeOther(b, &ph.Others[i], ph.Kind == "idle")
	}
}

// writeOther writes what another tool would have published. What it leaves out of an
// idle phase is most of it, and each for want of requests.
func writeOther(b *printer, o *reduce.OtherTool, idle bool) {
	published, same := o.Agreement()
	t := newTable(2)
	header := table.Row{"as " + o.Tool, "", "", "formula"}
	if published > 0 {
		t = newTable(2, 3)
		header = table.Row{"as " + o.Tool, "", "published", "", "formula"}
	}
	t.AppendHeader(header)
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	add := func(name string, f reduce.OtherFigure) {
		if minor(f.Name) {
			return
		}
		if f.Header != "" {
			name += " (" + f.Header + ")"
		}
		row := table.Row{name, number(f.Value), f.Unit, f.Formula}
		if published > 0 {
			theirs := ""
			switch {
			case f.Same():
				theirs = "the same"
			case f.Published != nil:
				theirs = number(*f.Published)
			}
			row = table.Row{name, number(f.Value), theirs, f.Unit, f.Formula}
		}
		t.AppendRow(row)
	}
	for _, f := range o.Figures {
		add(f.Name, f)
	}
	for _, d := range o.Devices {
		for _, f := range d.Figures {
			add(fmt.Sprintf("GPU %d %s", d.DeviceIndex, f.Name), f)
		}
	}
	render(b, t)
	if published > 0 {
		b.item(fmt.Sprintf("of %d figures that %s published and that are recomputed here, %d are the same to 12 digits (the JSON form of this report has each)", published, o.Tool, same))
	}
	for _, note := range o.Notes {
		b.item(o.Tool + ": " + note)
	}
	if len(o.NotRecomputed) > 0 {
		b.item(fmt.Sprintf("%s published, and not recomputed here: %s", o.Tool, strings.Join(o.NotRecomputed, ", ")))
	}
	omitted := o.Omitted
	if idle && len(omitted) > 1 {
		b.item(fmt.Sprintf("%s leaves out %d figures of an idle phase, which the JSON form of this report lists", o.Tool, len(omitted)))
		omitted = nil
	}
	for _, v := range omitted {
		b.item(fmt.Sprintf("%s leaves out %s: %s", o.Tool, v.Name, v.Why))
	}
	if len(o.Reasons) > 0 {
		b.item(fmt.Sprintf("%s withholds its figures: %s", o.Tool, strings.Join(o.Reasons, ", ")))
	}
	for _, d := range o.Devices {
		if len(d.Issues) > 0 {
			b.item(fmt.Sprintf("%s says of GPU %d: %s", o.Tool, d.DeviceIndex, strings.Join(d.Issues, ", ")))
		}
	}
	writeExplanation(b, o)
}

// minor reports whether a figure is a statistic beside the mean, the median and the
// 99th percentile, of which the JSON form has all.
func minor(name string) bool {
	_, statistic, ok := strings.Cut(name, ".")
	return ok && statistic != "p50" && statistic != "p99"
}

// writeExplanation leads from our energy to another tool's.
func writeExplanation(b *printer, o *reduce.OtherTool) {
	e := o.Explanation
	switch {
	case e == nil:
		return
	case e.Why != "":
		b.item(fmt.Sprintf("%s: %s", o.Tool, e.Why))
		return
	}
	t := newTable(1)
	t.AppendHeader(table.Row{"joules", "from ours to " + o.Tool + "'s"})
	t.AppendRow(table.Row{decimal(e.Ours, 3), "ours"})
	for _, s := range e.Steps {
		t.AppendRow(table.Row{fmt.Sprintf("%+.3f", s.Joules), s.What})
	}
	t.AppendRow(table.Row{decimal(e.Theirs, 3), "theirs"})
	render(b, t)
}

// writeConditions says what the GPUs were like meanwhile.
func writeConditions(b *printer, ph *reduce.Phase) {
	var facts []string
	fact := func(tag, format string, scale float64) {
		if m, ok := ph.Metrics[tag]; ok {
			facts = append(facts, fmt.Sprintf(format, m.Value*scale))
		}
	}
	fact(reduce.GPUUtilization, "GPUs used %.0f %%", 100)
	fact(reduce.MemoryUtilization, "memory used %.0f %%", 100)
	fact(reduce.GPUTemperature, "%.0f °C", 1)
	fact(reduce.PeakGPUTemperature, "at most %.0f °C", 1)
	fact(reduce.SMClock, "SM clock %.0f MHz", 1e-6)
	fact(reduce.PeakSMClock, "at most %.0f MHz", 1e-6)
	fact(reduce.MemoryUsed, "%.0f GiB in use", 1./(1<<30))
	fact(reduce.GPUPowerLimit, "power limit %.0f W", 1)
	fact(reduce.PowerLimitShare, "of which %.0f %% drawn", 100)
	if m, ok := ph.Metrics[reduce.ThrottledTime]; ok && m.Value > 0 {
		fact(reduce.ThrottledTime, "clocks held down for %.1f GPU seconds"+throttledBy(ph), 1)
	}
	if len(facts) > 0 {
		b.item(strings.Join(facts, ", "))
	}
}

// throttledBy names what held clocks down.
func throttledBy(ph *reduce.Phase) string {
	var list []string
	for _, tag := range tags(ph.Metrics) {
		if reason, ok := strings.CutPrefix(tag, reduce.ThrottledTime+"_"); ok {
			list = append(list, strings.ReplaceAll(reason, "_", " ")+fmt.Sprintf(" %.1f", ph.Metrics[tag].Value))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return " (" + strings.Join(list, ", ") + ")"
}

// writeWindows writes the windows of a phase, a line each.
func writeWindows(b *printer, ph *reduce.Phase) {
	t := newTable(3, 4, 5, 6, 7, 8, 9)
	rates := []string{reduce.RequestThroughput, reduce.OutputTokenThroughput, reduce.OutputTokensPerJoule}
	windows := lines(ph, append(rates, reduce.TotalGPUEnergy, reduce.AverageGPUPower))
	energy, watts := columnScale(windows, reduce.TotalGPUEnergy), columnScale(windows, reduce.AverageGPUPower)
	t.AppendHeader(table.Row{"window", "start", "seconds", energy.title("energy"), "", watts.title("average"), "requests/s", "tokens/s", "tokens/J"})
	for i := range windows {
		w := &windows[i]
		row := table.Row{inLine(w.Name), w.Start, decimal(*w.DurationSeconds, 3)}
		row = append(row, energy.cells(w.Metrics[reduce.TotalGPUEnergy])...)
		row = append(row, watts.cells(w.Metrics[reduce.AverageGPUPower])[0])
		for _, tag := range rates {
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

// lines returns the windows of a phase with no more than a line says of them.
func lines(ph *reduce.Phase, tags []string) (list []reduce.Phase) {
	for w := range ph.All() {
		line := reduce.Phase{Name: w.Name, Start: w.Start, DurationSeconds: w.DurationSeconds, Metrics: map[string]reduce.Metric{}}
		for _, tag := range tags {
			if m, ok := w.Metrics[tag]; ok {
				line.Metrics[tag] = m
			}
		}
		list = append(list, line)
	}
	return list
}

// scale is the one unit of a column.
type scale struct {
	factor float64
	unit   string
}

// scaleOf returns the scale for values up to most of a unit.
func scaleOf(unit string, most float64) scale {
	switch {
	case (unit == "J" || unit == "W") && most >= 1e7:
		return scale{1e-6, "M" + unit}
	case (unit == "J" || unit == "W") && most >= 1e5:
		return scale{1e-3, "k" + unit}
	}
	return scale{1, unit}
}

// columnScale returns the scale for a metric of windows.
func columnScale(windows []reduce.Phase, tag string) scale {
	most, unit := 0.0, ""
	for i := range windows {
		if m, ok := windows[i].Metrics[tag]; ok {
			most, unit = max(most, m.Value), m.Unit
		}
	}
	return scaleOf(unit, most)
}

func (s scale) title(name string) string {
	if s.unit == "" {
		return name
	}
	return name + " " + s.unit
}

// cells formats a number and its interval in the column's unit.
func (s scale) cells(m reduce.Metric) []any {
	if m.Number == nil {
		return []any{"-", ""}
	}
	value, plus, _ := figures(s.apply(m))
	return []any{value, plus}
}

// apply returns a number in the column's unit.
func (s scale) apply(m reduce.Metric) reduce.Metric {
	n := *m.Number
	n.Value *= s.factor
	if u := n.Uncertainty; u != nil {
		n.Uncertainty = &reduce.Uncertainty{Random: u.Random * s.factor, Systematic: u.Systematic * s.factor}
	}
	return reduce.Metric{Unit: s.unit, Number: &n}
}

// writeRoles writes the devices of each role together.
func writeRoles(b *printer, ph *reduce.Phase) {
	t := newTable(2, 3, 5)
	energy, watts := scale{1, "J"}, scale{1, "W"}
	for _, r := range ph.Roles {
		if m, ok := r.Metrics[reduce.RoleEnergy]; ok {
			energy = scaleOf("J", max(m.Value, energy.top()))
		}
	}
	t.AppendHeader(table.Row{"role", "GPUs", energy.title("role energy"), "", watts.title("average"), "", "per token of its own"})
	for _, r := range ph.Roles {
		row := table.Row{r.Role, count(r.Devices)}
		row = append(row, energy.cells(r.Metrics[reduce.RoleEnergy])...)
		row = append(row, watts.cells(r.Metrics[reduce.RolePower])...)
		own := ""
		for tag, what := range map[string]string{reduce.RoleEnergyPerInputToken: "input", reduce.RoleEnergyPerOutputToken: "output"} {
			if m, ok := r.Metrics[tag]; ok {
				value, plus, _ := figures(m)
				own = fmt.Sprintf("%s %s J/%s token", value, plus, what)
			}
		}
		t.AppendRow(append(row, own))
	}
	render(b, t)
}

// top returns the highest value that the scale is for.
func (s scale) top() float64 {
	if s.factor == 1 {
		return 0
	}
	return 1e2 / s.factor
}

// count says how many of the expected devices were seen.
func count(d reduce.Devices) string {
	if d.Seen == d.Expected {
		return strconv.Itoa(d.Seen)
	}
	return fmt.Sprintf("%d of %d", d.Seen, d.Expected)
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

// writeAudit says how far requests were what their trace expects.
func writeAudit(b *printer, a *reduce.Audit) {
	if a == nil {
		return
	}
	var facts []string
	fact := func(side string, t *reduce.TokenAudit) {
		if t == nil {
			return
		}
		known := t.Expected - t.Unknown
		text := fmt.Sprintf("%s tokens of %d of %d requests", side, t.Equal, known)
		if known == 0 {
			text = side + " tokens of none, since the server did not count them"
		} else if t.Unknown > 0 {
			text += fmt.Sprintf(" (%d more do not tell)", t.Unknown)
		}
		facts = append(facts, text)
	}
	fact("input", a.Input)
	fact("output", a.Output)
	b.item("as the trace expects: " + strings.Join(facts, ", "))
}

// groups are the tables of the text, and the order of metrics everywhere; what they do
// not name follows by name.
var groups = [][]string{
	{
		reduce.TotalGPUEnergy, reduce.IdleGPUEnergy, reduce.NetGPUEnergy, reduce.CrossCheckEnergy, reduce.CrossCheckRatio,
		reduce.TotalGPUPower, reduce.AverageGPUPower, reduce.PeakGPUPower, reduce.IdleGPUPower,
	},
	{
		reduce.PrefillEnergy, reduce.DecodeEnergy, reduce.UnattributedEnergy,
		reduce.PrefillEnergyPerInputToken, reduce.DecodeEnergyPerOutputToken,
	},
	{
		reduce.OutputTokensPerJoule, reduce.EnergyPerOutputToken, reduce.NetEnergyPerOutputToken, reduce.EnergyPerInputToken, reduce.EnergyPerTotalToken,
		reduce.EnergyPerRequest, reduce.EnergyPerUser, reduce.EnergyPerUserMeasured, reduce.WattsPerUser, reduce.EnergyDelayProduct, reduce.GoodputPerWatt,
		reduce.CostPerMillionTokens, reduce.CarbonPerMillionTokens,
	},
	{
		reduce.OutputTokenThroughput, reduce.TotalTokenThroughput, reduce.RequestThroughput, reduce.Goodput, reduce.GoodputRatio, reduce.RequestsInFlight,
		reduce.ClientPeakInFlight, reduce.ClientCPU, reduce.ServerGenerationTokens,
	},
	{
		reduce.TimeToFirstTokenScheduled, reduce.RequestLatencyScheduled,
		reduce.TimeToFirstToken, reduce.TimeToFirstOutputToken, reduce.TimeToSecondToken, reduce.InterTokenLatency, reduce.RequestLatency,
		reduce.InterTokenLatencyPooled, reduce.InterChunkLatency, reduce.MaxGap, reduce.NormalizedLatency, reduce.OutputTokenThroughputPerUser, reduce.SendLateness,
		reduce.EnergyOfRequests, reduce.EnergyOfConversations, reduce.GPUPowerOverTime,
	},
}

// elsewhere holds the tags that the text has in other places than its tables.
var elsewhere = []string{
	reduce.GPUUtilization, reduce.MemoryUtilization, reduce.GPUTemperature, reduce.PeakGPUTemperature, reduce.SMClock, reduce.PeakSMClock, reduce.MemoryClock,
	reduce.MemoryUsed, reduce.GPUPowerLimit, reduce.PowerLimitShare, reduce.ThrottledTime, reduce.TotalGPUEnergyWh, reduce.AttributedIdleEnergy,
	reduce.TrueGPUEnergy, reduce.LastSampleGPUEnergy,
}

// order is groups, one after another.
var order = slices.Concat(groups...)

// rest returns the tags that have no place of their own in the text.
func rest(ph *reduce.Phase) []string {
	return slices.DeleteFunc(tags(ph.Metrics), func(tag string) bool {
		return slices.Contains(order, tag) || slices.Contains(elsewhere, tag) || strings.HasPrefix(tag, reduce.ThrottledTime+"_")
	})
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

// negligible is the share of the energy below which what no request had is not worth a
// line: a little is lost by whole microjoules.
const negligible = 0.001

func writeNumbers(b *printer, ph *reduce.Phase, list []string) {
	t := newTable(2, 5)
	t.AppendHeader(table.Row{"", "", "", "", "random", "method"})
	for _, tag := range list {
		m := ph.Metrics[tag]
		if m.Number == nil || tag == reduce.UnattributedEnergy && m.Value < negligible*ph.Metrics[reduce.TotalGPUEnergy].Value {
			continue
		}
		value, plus, random := figures(m)
		t.AppendRow(table.Row{Title(tag) + covered(ph, tag, m.Number), value, plus, m.Unit, random, m.Method})
		if c := m.ClockRange; c != nil {
			t.AppendRow(table.Row{"  if its times are off", significant(c.Low, 5), "to " + significant(c.High, 5), m.Unit, "", ""})
		}
		if c := m.Bounds; c != nil {
			t.AppendRow(table.Row{"  by other models", significant(c.Low, 5), "to " + significant(c.High, 5), m.Unit, "", ""})
		}
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
		switch acronym := strings.ToUpper(w); acronym {
		case "GPU", "CPU", "DRAM", "IO":
			words[i] = acronym
		}
	}
	return strings.Join(words, " ")
}

// covered says how many GPUs a figure covers, and of how many if not of all; of
// another scope's total, how many of its devices.
func covered(ph *reduce.Phase, tag string, n *reduce.Number) string {
	scope, other := scopeOf(tag)
	switch {
	case n.DevicesCovered == 0 || ph.Devices == nil:
		return ""
	case other && n.DevicesCovered == 1:
		return fmt.Sprintf(" (1 %s)", scope)
	case other:
		return fmt.Sprintf(" (%d %ss)", n.DevicesCovered, scope)
	case n.DevicesCovered < ph.Devices.Expected:
		return fmt.Sprintf(" (%d of %d GPUs)", n.DevicesCovered, ph.Devices.Expected)
	case n.DevicesCovered == 1:
		return " (1 GPU)"
	}
	return fmt.Sprintf(" (%d GPUs)", n.DevicesCovered)
}

// scopeOf returns the scope of a total that is not the GPUs', as people write it.
func scopeOf(tag string) (scope string, other bool) {
	for _, form := range [][2]string{{"total_", "_energy"}, {"average_", "_power"}} {
		rest, ok := strings.CutPrefix(tag, form[0])
		rest, end := strings.CutSuffix(rest, form[1])
		if ok && end && rest != "gpu" {
			return Title(rest), true
		}
	}
	return "", false
}

func writeDistributions(b *printer, ph *reduce.Phase) {
	t := newTable(2, 3, 4, 5, 6, 7, 8, 9)
	t.AppendHeader(table.Row{"", "mean", "p50", "p90", "p95", "p99", "max", "std", "count", ""})
	for _, tag := range tags(ph.Metrics) {
		m := ph.Metrics[tag]
		if d := m.Distribution; d != nil && !repeats(ph, tag) {
			scale, unit := 1.0, m.Unit
			if rest, seconds := strings.CutPrefix(unit, "s"); seconds && (rest == "" || rest[0] == '/') && d.Max < 10 {
				scale, unit = 1000, "ms"+rest
			}
			row := table.Row{Title(tag)}
			for _, v := range []float64{d.Mean, d.P50, d.P90, d.P95, d.P99, d.Max, d.Std} {
				row = append(row, significant(v*scale, 4))
			}
			t.AppendRow(append(row, d.Count, unit))
		}
	}
	render(b, t)
	for _, tag := range tags(ph.Metrics) {
		if d := ph.Metrics[tag].Distribution; d != nil && d.Coverage != nil {
			b.item(fmt.Sprintf("%s: of %d of %d requests, the others' is not known", Title(tag), d.Coverage.Known, d.Coverage.Requests))
		}
	}
}

// repeats reports whether a distribution would say what another one does: in a closed loop
// a request is due when it is sent, but for the client's lateness; and answers without
// reasoning begin with their first token.
func repeats(ph *reduce.Phase, tag string) bool {
	switch tag {
	case reduce.TimeToFirstTokenScheduled, reduce.RequestLatencyScheduled:
		return ph.Load == ""
	case reduce.TimeToFirstOutputToken:
		other := ph.Metrics[reduce.TimeToFirstToken].Distribution
		return other != nil && *other == *ph.Metrics[tag].Distribution
	}
	return false
}

func writeDevices(b *printer, ph *reduce.Phase) {
	t := newTable(2, 4, 6, 8, 9)
	most, roles := map[string]float64{}, false
	for _, d := range ph.PerDevice {
		for tag, m := range d.Metrics {
			if m.Number != nil {
				most[tag] = max(most[tag], m.Value)
			}
		}
		roles = roles || d.Role != ""
	}
	energy, watts := scaleOf("J", most[reduce.GPUEnergy]), scaleOf("W", most[reduce.GPUPower])
	header := table.Row{"scope", "", "host", energy.title("energy"), "", watts.title("power"), "", "coverage", "check", "device", "name"}
	if roles {
		header = append(header, "role")
	}
	t.AppendHeader(header)
	for _, d := range ph.PerDevice {
		scope := d.Scope
		if scope == "gpu" {
			scope = "GPU"
		}
		row := table.Row{scope, d.DeviceIndex, d.Host}
		row = append(row, energy.cells(d.Metrics[reduce.GPUEnergy])...)
		row = append(row, watts.cells(d.Metrics[reduce.GPUPower])...)
		check := ""
		if m, ok := d.Metrics[reduce.CrossCheckRatio]; ok {
			check = decimal(m.Value, 4)
		}
		row = append(row, significant(100*d.Coverage, 4)+" %", check, inLine(d.Device), inLine(d.Name))
		if roles {
			row = append(row, d.Role)
		}
		t.AppendRow(row)
	}
	render(b, t)
}
