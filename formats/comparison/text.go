package comparison

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

	"wattrace/reduce/compare"
)

// WriteText writes the comparison for people at a terminal: a table for each phase and
// group, what was decided, and what the numbers mean.
func WriteText(w io.Writer, c *compare.Comparison) error { return write(w, c, false) }

// WriteMarkdown writes what WriteText does as Markdown (tables as GitHub's).
func WriteMarkdown(w io.Writer, c *compare.Comparison) error { return write(w, c, true) }

// printer writes for people.
type printer struct {
	*bufio.Writer
	markdown bool
}

func write(w io.Writer, c *compare.Comparison, markdown bool) error {
	b := &printer{bufio.NewWriter(printable{w}), markdown}
	b.list("", "not alike, and compared all the same", differences(c))
	if c.Axis != nil {
		b.axis(c)
	} else {
		b.tables(c)
	}
	b.list("\n", "conditions", conditions(c))
	var notes []string
	if len(c.Unknown) > 0 {
		notes = append(notes, unknown(c))
	}
	b.list("\n", "notes", append(notes, c.Notes...))
	if c.Axis == nil {
		b.explain(c)
	}
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

func inLine(name string) string { return strings.ReplaceAll(name, "\n", "?") }

// heading begins a section.
func (b *printer) heading(before, title string) {
	if b.markdown {
		title = "## " + title + "\n"
	}
	b.WriteString(before + title + "\n")
}

// list writes a section of lines, if there are any.
func (b *printer) list(before, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	b.heading(before, title)
	lead := "  "
	if b.markdown {
		lead = "- "
	}
	for _, l := range lines {
		b.WriteString(lead + inLine(l) + "\n")
	}
	if before == "" {
		b.WriteByte('\n')
	}
}

// paragraph writes a line of text.
func (b *printer) paragraph(format string, args ...any) {
	b.WriteString("\n" + inLine(fmt.Sprintf(format, args...)) + "\n")
}

func differences(c *compare.Comparison) (lines []string) {
	for _, f := range c.Differ {
		lines = append(lines, f.String())
	}
	return lines
}

// unknown says what has to be taken on trust.
func unknown(c *compare.Comparison) string {
	var all, some []string
	for _, u := range c.Unknown {
		if u.Runs == nil {
			all = append(all, u.Name)
			continue
		}
		some = append(some, fmt.Sprintf("%s of %s", u.Name, strings.Join(u.Runs, ", ")))
	}
	if len(all) > 0 {
		some = append(some, strings.Join(all, ", ")+" of any run")
	}
	return "not known, and taken to be alike: " + strings.Join(some, "; ")
}

// tables writes a table for each phase and group, in the order of the rows.
func (b *printer) tables(c *compare.Comparison) {
	type section struct {
		phase, group string
		devices      bool
	}
	var sections []section
	of := func(r *compare.Row) section { return section{r.Phase, r.Group, r.Device != nil} }
	for _, r := range c.Rows {
		if s := of(&r); !slices.Contains(sections, s) {
			sections = append(sections, s)
		}
	}
	if len(sections) == 0 {
		b.heading("", "nothing to compare: no metric is there")
	}
	for i, s := range sections {
		before := "\n"
		if i == 0 {
			before = ""
		}
		by := ""
		if s.devices {
			by = " by device"
		}
		b.heading(before, fmt.Sprintf("%s%s: %s against %s", inLine(s.phase), by, inLine(s.group), inLine(c.Groups[0].Name)))
		b.table(c, slices.DeleteFunc(slices.Clone(c.Rows), func(r compare.Row) bool { return of(&r) != s }))
	}
}

// table writes the rows of one phase and group.
func (b *printer) table(c *compare.Comparison, rows []compare.Row) {
	t := newTable(3, 4, 6, 7, 8)
	t.AppendHeader(table.Row{"", "metric", "base", "new", "", "change", fmt.Sprintf("%.4g %% interval", 100*(1-c.Alpha)), "p", ""})
	var reasons []string
	sensors := map[compare.Sensors]float64{}
	var levels []compare.Sensors
	for _, r := range rows {
		mark, name, p, note := "", r.Metric, "", ""
		if r.OfRecord {
			mark = "*"
		}
		if r.Statistic != "" {
			name += " " + r.Statistic
		}
		if r.Device != nil {
			name = deviceName(rows, r.Device) + " " + name
		}
		if r.P != nil {
			p = pText(*r.P)
		}
		if r.Reason != "" {
			i := slices.Index(reasons, r.Reason)
			if i < 0 {
				i = len(reasons)
				reasons = append(reasons, r.Reason)
			}
			note = fmt.Sprintf("(%d)", i+1)
		}
		if r.Result != compare.Undecided {
			note = string(r.Result)
		}
		change, interval := changes(&r)
		t.AppendRow(table.Row{mark, name, side(r.Base), side(r.New), r.Unit, change, interval, p, note})
		if r.Sensors != "" && r.Ratio != nil {
			if !slices.Contains(levels, r.Sensors) {
				levels = append(levels, r.Sensors)
			}
			sensors[r.Sensors] = max(sensors[r.Sensors], r.Ratio.Sensors/r.Ratio.Value)
		}
	}
	if b.markdown {
		fmt.Fprintf(b, "%s\n", t.RenderMarkdown())
	} else {
		fmt.Fprintf(b, "%s\n", t.Render())
	}
	for i, why := range reasons {
		lead := "  "
		if b.markdown {
			lead = "\n"
		}
		fmt.Fprintf(b, "%s(%d) %s\n", lead, i+1, inLine(why))
	}
	if len(levels) > 0 {
		b.WriteByte('\n')
	}
	for _, l := range levels {
		fmt.Fprintf(b, "energy is of %s\n", sensorText(l, sensors[l]))
	}
}

// deviceName names a device in a table: with its host where there are several.
func deviceName(rows []compare.Row, d *compare.RowDevice) string {
	name := fmt.Sprintf("%s %d", inLine(d.Scope), d.Index)
	if slices.ContainsFunc(rows, func(r compare.Row) bool { return r.Device.Host != d.Host }) {
		name = inLine(d.Host) + " " + name
	}
	return name
}

// sensorText says what the sensors add to the intervals.
func sensorText(l compare.Sensors, relative float64) string {
	plus := fmt.Sprintf("standard uncertainty up to %s %%, in the intervals", significant(100*relative, 2))
	switch l {
	case compare.SameDevices:
		if relative < 1e-4 {
			return "the same devices: their gains cancel"
		}
		return "the same devices: their gains cancel; what does not: " + plus
	case compare.SameModel:
		return "devices of one model, but not the same ones: what differs from unit to unit stays, " + plus
	}
	return "devices of different models: nothing of their sensors cancels, " + plus
}

// side writes the median of a group and how far its interval reaches.
func side(s *compare.Side) string {
	if s == nil {
		return ""
	}
	v := significant(s.Median, 5)
	if i := s.Interval; i != nil && s.Median > 0 && i.Low > 0 {
		v += fmt.Sprintf(" ± %s %%", significant(100*max(i.High/s.Median-1, 1-i.Low/s.Median), 2))
	}
	return v
}

// changes writes the change and its interval; ~ is for one that is not there to see.
func changes(r *compare.Row) (change, interval string) {
	switch {
	case r.Ratio != nil:
		change = percent(r.Ratio.Value)
		if i := r.Ratio.Total; i != nil {
			interval = percent(i.Low) + " to " + percent(i.High)
		}
	case r.Difference != nil:
		change = signed(r.Difference.Value)
		if i := r.Difference.Total; i != nil {
			interval = signed(i.Low) + " to " + signed(i.High)
		}
	}
	if r.Result == compare.Undecided {
		if len(change) > 0 && r.P == nil {
			return "~ " + change, interval // which is all that there is to see
		}
		change = "~"
	}
	return change, interval
}

func percent(ratio float64) string {
	by := 100 * (ratio - 1)
	if by < 0 && by > -0.005 {
		by = 0
	}
	if math.Abs(by) >= 1e6 {
		return fmt.Sprintf("%+.3g %%", by)
	}
	return fmt.Sprintf("%+.2f %%", by)
}

func signed(v float64) string {
	s := significant(v, 4)
	if v >= 0 {
		s = "+" + s
	}
	return s
}

func pText(p float64) string {
	if p < 0.001 {
		return "<0.001"
	}
	return fmt.Sprintf("%.3f", p)
}

// significant writes v with so many significant digits at most.
func significant(v float64, digits int) string {
	if v == 0 {
		return "0"
	}
	s := strconv.FormatFloat(v, 'e', digits-1, 64)
	e, err := strconv.Atoi(s[strings.IndexByte(s, 'e')+1:])
	if err != nil {
		return s
	}
	if e < -6 || e > 12 {
		return strconv.FormatFloat(v, 'g', digits, 64)
	}
	return strconv.FormatFloat(v, 'f', max(0, digits-1-e), 64)
}

// conditions says what was decided, the worst first.
func conditions(c *compare.Comparison) (lines []string) {
	list := slices.Clone(c.Conditions)
	slices.SortStableFunc(list, compare.Worst)
	for _, v := range list {
		line := fmt.Sprintf("%-14s %s", map[compare.Outcome]string{compare.Holds: "HOLDS", compare.HoldsNot: "does not hold", compare.Unsure: "undecided"}[v.Outcome], v.Phase)
		if len(c.Groups) > 2 {
			line += ", " + v.Group
		}
		line += ": " + v.Condition
		if v.Value != nil {
			show := func(x float64) string { return significant(x, 4) + " " + v.Unit }
			if v.Unit == "" {
				show = func(x float64) string { return percent(1 + x) }
			}
			line += ": it is " + show(*v.Value)
			if v.Interval != nil {
				line += ", " + show(v.Interval.Low) + " to " + show(v.Interval.High)
			}
		}
		if v.Reason != "" {
			line += " (" + v.Reason + ")"
		}
		lines = append(lines, line)
	}
	return lines
}

// explain says what the numbers are.
func (b *printer) explain(c *compare.Comparison) {
	groups := []string{}
	for _, g := range c.Groups {
		groups = append(groups, fmt.Sprintf("%d of %s", len(g.Runs), g.Name))
	}
	tested := 0
	for _, r := range c.Rows {
		if r.P != nil {
			tested++
		}
	}
	b.paragraph("Runs: %s. Medians; ± is the interval of a median.", strings.Join(groups, ", "))
	how := "all ratios of a new run to a base run (Hodges and Lehmann)"
	test := "Mann-Whitney's U"
	if c.Test == compare.SignedRank {
		how, test = "the ratios of the pairs (Walsh averages), paired by the order in which the runs started", "Wilcoxon's signed rank"
	}
	b.WriteString(inLine(fmt.Sprintf("change is the median of %s; ~ is no difference that can be told from chance.", how)) + "\n")
	if tested > 0 {
		b.WriteString(fmt.Sprintf("p is %s, two-sided, of each row alone: of %d rows some %s would differ by chance.", test, tested, significant(float64(tested)*c.Alpha, 2)) + "\n")
	}
	if slices.ContainsFunc(c.Rows, func(r compare.Row) bool { return r.Device != nil }) {
		b.WriteString("Rows of devices are of the same runs as those of all: they show where a change is, and are no further evidence of it.\n")
	}
	if slices.ContainsFunc(c.Rows, func(r compare.Row) bool { return r.OfRecord }) {
		b.WriteString("Decide by a metric that was named before, such as those of record (*).\n")
	}
	if slices.ContainsFunc(c.Rows, func(r compare.Row) bool { return r.P == nil && r.Ratio != nil && r.Ratio.Random != nil }) {
		b.WriteString("With one run of each the interval is of the measurements alone: how far runs scatter it does not say.\n")
	}
}

// axis writes the tables of a sweep.
func (b *printer) axis(c *compare.Comparison) {
	unit := ""
	if c.Axis.Unit != "" {
		unit = " " + c.Axis.Unit
	}
	for i, ph := range c.Axis.Phases {
		before := "\n"
		if i == 0 {
			before = ""
		}
		b.heading(before, fmt.Sprintf("%s by %s", inLine(ph.Phase), c.Axis.Axis))
		t := newTable(1, 2, 3, 4, 5, 6)
		t.AppendHeader(table.Row{string(c.Axis.Axis) + unit, "runs", "tokens/s/GPU", "tokens/J", "tokens/s/user", "W/GPU", "front"})
		for _, p := range ph.Points {
			at := strconv.FormatFloat(p.At, 'g', -1, 64)
			t.AppendRow(table.Row{at, p.Runs, side(p.ThroughputPerGPU), side(p.OutputTokensPerJoule), side(p.ThroughputPerUser), side(p.PowerPerGPU), strings.Join(p.Front, " ")})
		}
		if b.markdown {
			fmt.Fprintf(b, "%s\n", t.RenderMarkdown())
		} else {
			fmt.Fprintf(b, "%s\n", t.Render())
		}
	}
	b.paragraph("Medians; ± is the interval of a median. front: no other point has more tokens/s/GPU and no fewer tokens/J (energy),")
	b.WriteString("or tokens/s/user (user), by the medians.\n")
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
