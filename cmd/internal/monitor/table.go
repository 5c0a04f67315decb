package monitor

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// look says how a table is drawn.
type look struct {
	width, height int
	colour        bool
	ascii         bool // the terminal shows no more
	scroll        int  // rows of devices that are left out at the top
	keys          bool // there is somebody to press one
}

// The colours that say something: of what is wrong, held down, and not so important.
const (
	plainText = ""
	bold      = "1"
	red       = "31"
	yellow    = "33"
	dim       = "2"
)

// cell is a text and its colour.
type cell struct {
	text   string
	colour string
}

// column is a column of the table. Those of the lowest rank are left out first.
type column struct {
	title string
	width int
	left  bool // aligned
	rank  int
	of    func(n *deviceNow) cell
	total func(t *totalNow) cell
}

const minSpark = 8

var blocks = []rune("▁▂▃▄▅▆▇█")
var letters = []rune("_.-=+*%#")

// sparkline draws values between 0 and top in width columns, the latest at the right. What
// is not known is empty.
func sparkline(values []float64, top float64, width int, levels []rune) string {
	if len(values) > width {
		values = values[len(values)-width:]
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", width-len(values)))
	for _, v := range values {
		if math.IsNaN(v) || top <= 0 {
			b.WriteByte(' ')
			continue
		}
		i := int(math.Round(v / top * float64(len(levels)-1)))
		b.WriteRune(levels[min(max(i, 0), len(levels)-1)])
	}
	return b.String()
}

// unknown stands for what is not known.
const unknown = "-"

func fixed(n number, format string, factor float64) string {
	if n == nil {
		return unknown
	}
	return fmt.Sprintf(format, *n*factor)
}

// joules writes an energy with a prefix that leaves it at most five digits.
func joules(n number) string {
	if n == nil {
		return unknown
	}
	v, prefix := *n, ""
	for _, p := range []string{"k", "M", "G"} {
		if v < 9999.5 {
			break
		}
		v, prefix = v/1000, p
	}
	switch {
	case v < 100:
		return fmt.Sprintf("%.2f %sJ", v, prefix)
	case v < 1000:
		return fmt.Sprintf("%.1f %sJ", v, prefix)
	}
	return fmt.Sprintf("%.0f %sJ", v, prefix)
}

// energyCell is an energy with what is to be known of it: ~ where it is integrated power, !
// where a counter was reset or readings are missing.
func energyCell(e energyOf) cell {
	text := joules(e.Joules)
	if e.Joules == nil {
		return cell{text, plainText}
	}
	if e.Method != byCounter {
		text = "~" + text
	}
	if e.Resets > 0 || e.Missing > 0 {
		return cell{text + "!", yellow}
	}
	return cell{text, plainText}
}

func columns(s *snapshot, ascii bool) []column {
	degree := " °C"
	if ascii {
		degree = " C"
	}
	several := false
	width := len("DEVICE")
	for i := range s.Devices {
		several = several || s.Devices[i].Host != s.Devices[0].Host
	}
	label := func(n *deviceNow) string { return deviceLabel(n, several) }
	for i := range s.Devices {
		width = max(width, len([]rune(label(&s.Devices[i]))))
	}
	width = min(width, 18)
	none := func(*totalNow) cell { return cell{} }
	return []column{
		{"DEVICE", width, true, 0, func(n *deviceNow) cell { return cell{label(n), plainText} }, func(t *totalNow) cell { return cell{"total", bold} }},
		{"NAME", 20, true, 9, func(n *deviceNow) cell { return cell{narrow(n.Name), dim} }, none},
		{"W", 7, false, 0, func(n *deviceNow) cell {
			if n.State == "lost" {
				return cell{"lost", red}
			}
			return cell{fixed(n.Watts, "%.1f", 1), plainText}
		}, func(t *totalNow) cell { return cell{fixed(t.Watts, "%.1f", 1), bold} }},
		{"LIMIT", 6, false, 3, func(n *deviceNow) cell { return cell{fixed(n.Limit, "%.0f", 1), plainText} }, func(t *totalNow) cell { return cell{fixed(t.Limit, "%.0f", 1), plainText} }},
		{"ENERGY", 10, false, 0, func(n *deviceNow) cell { return energyCell(n.Mark) }, func(t *totalNow) cell { return energyCell(t.Mark) }},
		{"UTIL", 5, false, 1, func(n *deviceNow) cell { return cell{percent(n.GPU), plainText} }, none},
		{"TEMP", 6, false, 2, func(n *deviceNow) cell {
			if n.Celsius == nil {
				return cell{unknown, plainText}
			}
			return cell{fmt.Sprintf("%.0f%s", *n.Celsius, degree), plainText}
		}, none},
		{"SM MHz", 6, false, 5, func(n *deviceNow) cell { return cell{fixed(n.SMHertz, "%.0f", 1e-6), plainText} }, none},
		{"MEM MHz", 7, false, 8, func(n *deviceNow) cell { return cell{fixed(n.MemHertz, "%.0f", 1e-6), plainText} }, none},
		{"MEMORY", 9, false, 6, func(n *deviceNow) cell {
			if n.Used == nil {
				return cell{unknown, plainText}
			}
			return cell{fmt.Sprintf("%.1f GiB", *n.Used/(1<<30)), plainText}
		}, none},
		{"THROTTLE", 12, true, 4, throttleCell, none},
	}
}

func percent(n number) string {
	if n == nil {
		return unknown
	}
	return fmt.Sprintf("%.0f %%", *n*100)
}

func throttleCell(n *deviceNow) cell {
	switch {
	case n.Throttle == nil:
		return cell{unknown, plainText}
	case len(n.Throttle) == 0:
		return cell{"none", dim}
	}
	return cell{strings.Join(n.Throttle, ","), yellow}
}

// deviceLabel names a device by its index, with its scope if it is no GPU, and its host if
// there are several.
func deviceLabel(n *deviceNow, several bool) string {
	label := fmt.Sprint(n.Index)
	if n.Scope != "gpu" {
		label = n.Scope + " " + label
	}
	if several {
		label = n.Host + ":" + label
	}
	return narrow(label)
}

// narrow takes out of a text what may be more or less than one column wide.
func narrow(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0x300 {
			return '?'
		}
		return r
	}, printable(s))
}

// fit makes a text as wide as it should be.
func fit(s string, width int, left bool) string {
	r := []rune(s)
	if len(r) > width {
		return string(r[:width])
	}
	pad := strings.Repeat(" ", width-len(r))
	if left {
		return s + pad
	}
	return pad + s
}

func (l *look) paint(text, colour string) string {
	if !l.colour || colour == plainText || strings.TrimSpace(text) == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// chosen returns the columns that fit beside each other, and what is left for sparklines.
func chosen(all []column, width int) (fits []column, spark int) {
	ranks := []int{}
	for _, c := range all {
		ranks = append(ranks, c.rank)
	}
	slices.Sort(ranks)
	for _, most := range slices.Compact(ranks) {
		var some []column
		used := 0
		for _, c := range all {
			if c.rank <= most {
				some = append(some, c)
				used += c.width + 1
			}
		}
		if used+minSpark > width && fits != nil {
			break
		}
		fits, spark = some, width-used
	}
	if spark < minSpark {
		spark = 0
	}
	return fits, min(spark, sparkSeconds)
}

// table draws a snapshot in at most height lines of at most width columns.
func (l *look) table(s *snapshot, messages []string) []string {
	levels := blocks
	if l.ascii {
		levels = letters
	}
	lines := []string{l.paint(fit(headline(s), l.width, true), bold)}
	cols, spark := chosen(columns(s, l.ascii), l.width)
	line := func(of func(c *column) cell, graph string) string {
		var b strings.Builder
		used := 0
		for i := range cols {
			c := &cols[i]
			v := of(c)
			if used+c.width > l.width {
				break
			}
			b.WriteString(l.paint(fit(v.text, c.width, c.left), v.colour))
			used += c.width
			if used < l.width {
				b.WriteByte(' ')
				used++
			}
		}
		b.WriteString(graph)
		return strings.TrimRight(b.String(), " ")
	}
	title := ""
	if spark >= 12 {
		title = fit("POWER", spark, false)
	}
	lines = append(lines, line(func(c *column) cell { return cell{c.title, dim} }, l.paint(title, dim)))
	var below []string
	if s.Total.GPUs != 1 {
		top := 0.0
		for _, v := range s.Total.spark {
			if !math.IsNaN(v) {
				top = max(top, v)
			}
		}
		below = append(below, line(func(c *column) cell { return c.total(&s.Total) }, sparkline(s.Total.spark, top, spark, levels)))
	}
	for i := range s.Servers {
		below = append(below, fit(serverLine(&s.Servers[i]), l.width, true))
	}
	if s.Total.TokensPerJoule != nil {
		below = append(below, fit(fmt.Sprintf("%.4g tokens/J since %s", *s.Total.TokensPerJoule, sinceWhat(s)), l.width, true))
	}
	if legend := legendOf(s); legend != "" {
		below = append(below, l.paint(fit(legend, l.width, true), dim))
	}
	if s.Message != "" {
		below = append(below, l.paint(fit(s.Message, l.width, true), yellow))
	}
	for _, m := range messages {
		below = append(below, fit(narrow(m), l.width, true))
	}
	if l.keys {
		below = append(below, l.paint(fit("q leaves, m marks now, j k scroll", l.width, true), dim))
	}
	room := max(1, l.height-len(lines)-len(below))
	from := min(l.scroll, max(0, len(s.Devices)-room))
	to := min(len(s.Devices), from+room)
	cut := to-from < len(s.Devices)
	if cut && to-from > 1 {
		to--
	}
	for i := from; i < to; i++ {
		n := &s.Devices[i]
		top := 0.0
		if n.Limit != nil {
			top = *n.Limit
		}
		for _, v := range n.spark {
			if !math.IsNaN(v) {
				top = max(top, v)
			}
		}
		lines = append(lines, line(func(c *column) cell { return c.of(n) }, sparkline(n.spark, top, spark, levels)))
	}
	if cut {
		lines = append(lines, l.paint(fit(fmt.Sprintf("%d to %d of %d devices", from+1, to, len(s.Devices)), l.width, true), dim))
	}
	lines = append(lines, below...)
	for i := range lines {
		if !l.colour {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
	}
	return lines[:min(len(lines), max(1, l.height))]
}

// sinceWhat says what energies are since.
func sinceWhat(s *snapshot) string {
	switch {
	case s.MarkAt == nil:
		return "the first reading"
	case s.MarkIs != "":
		return "the mark " + narrow(s.MarkIs)
	}
	return "the mark"
}

// elapsed is the time that energies are over.
func elapsed(s *snapshot) time.Duration {
	if s.Time == nil {
		return 0
	}
	from := s.Started
	if s.MarkAt != nil {
		from = s.MarkAt
	}
	return s.Time.Sub(*from).Round(time.Second)
}

func gpus(n int) string {
	if n == 1 {
		return "1 GPU"
	}
	return fmt.Sprintf("%d GPUs", n)
}

// headline sums up a snapshot in a line.
func headline(s *snapshot) string {
	if s.Time == nil {
		return narrow("monitor " + s.Source)
	}
	t := &s.Total
	text := gpus(t.GPUs)
	if t.Live < t.GPUs {
		text = fmt.Sprintf("%d of %s", t.Live, text)
	}
	text += "  " + fixed(t.Watts, "%.1f", 1) + " W"
	e := energyCell(t.Mark).text
	text += fmt.Sprintf("  %s in %v", e, elapsed(s))
	if t.MarkGPUs < t.GPUs {
		text += fmt.Sprintf(" (%d of %d)", t.MarkGPUs, t.GPUs)
	}
	if s.Phase != "" {
		text += "  " + narrow(s.Phase)
	}
	return text + "  " + narrow(s.Source)
}

// legendOf explains the signs that a table has.
func legendOf(s *snapshot) string {
	var parts []string
	parts = append(parts, "energy since "+sinceWhat(s))
	about := func(test func(e *energyOf) bool) bool {
		return slices.ContainsFunc(s.Devices, func(n deviceNow) bool { return test(&n.Mark) })
	}
	if about(func(e *energyOf) bool { return e.Joules != nil && e.Method == byCounter }) {
		parts = append(parts, "by counter")
	}
	if about(func(e *energyOf) bool { return e.Joules != nil && e.Method != byCounter }) {
		parts = append(parts, "~ integrated power")
	}
	if about(func(e *energyOf) bool { return e.Resets > 0 || e.Missing > 0 }) {
		parts = append(parts, "! reset or gap left out")
	}
	if s.Time == nil {
		return ""
	}
	return strings.Join(parts, ", ")
}

func serverLine(n *serverNow) string {
	line := fmt.Sprintf("%s  %s running, %s waiting, %s tokens/s, %s tokens", narrow(n.Server), fixed(n.Running, "%.0f", 1), fixed(n.Waiting, "%.0f", 1), fixed(n.Rate, "%.1f", 1), fixed(n.Tokens, "%.0f", 1))
	if n.State != "live" {
		line += "  " + n.State
	}
	return line
}

// plainLine is what is printed each second where there is no terminal.
func plainLine(s *snapshot) string {
	at := s.Now
	if s.Time != nil {
		at = *s.Time
	}
	line := at.Format("2006-01-02T15:04:05Z") + "  " + headline(s)
	for i := range s.Servers {
		line += "  " + fixed(s.Servers[i].Rate, "%.1f", 1) + " tokens/s"
	}
	if s.Total.TokensPerJoule != nil {
		line += fmt.Sprintf("  %.4g tokens/J", *s.Total.TokensPerJoule)
	}
	if s.Message != "" {
		line += "  " + s.Message
	}
	return line
}
