package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"wattrace/formats/report"
	"wattrace/reduce"
	"wattrace/sample"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

//go:embed uplot/uPlot.iife.min.js
var uplotJS string

//go:embed uplot/uPlot.min.css
var uplotCSS string

//go:embed uplot/LICENSE
var uplotLicence string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// view is what the template shows.
type view struct {
	Policy, Title, Producer string
	Subtitles               []string
	Style                   template.CSS
	Library, Script, Data   template.JS

	Warnings     []reduce.Warning
	OpenWarnings bool
	Lacks        string
	Cards        []cardGroup
	MoreCards    string
	Course       bool
	Figure       template.HTML
	Grid         string
	Charts       []chartBox
	Spreads      []template.HTML
	SpreadNote   string
	Sweep        *sweepView
	Tables       []table
	Notes        []string
	Methods      []table
}

type cardGroup struct {
	Title, Sub string
	Cards      []card
}

type card struct{ Name, Value, Unit, Plus string }

type chartBox struct {
	ID, Title, NoteID, Note string
	Keys                    []key
}

type key struct{ Class, Name string }

type table struct {
	Title, Note string
	Head        []cell
	Rows        [][]cell
}

type cell struct {
	Text string
	Left bool
}

func cells(texts ...string) (list []cell) {
	for _, t := range texts {
		list = append(list, cell{Text: t})
	}
	return list
}

// left makes some cells of a row those of running text.
func left(row []cell, which ...int) []cell {
	for _, i := range which {
		row[i].Left = true
	}
	return row
}

// Options are the choices for a page.
type Options struct {
	Title string // "" is a usual one
}

// Write writes the page of a report, with its course if there is one.
func Write(w io.Writer, rep *reduce.Report, c *reduce.Course, opt Options) error {
	v := newView(opt.Title, "Power and energy of a run", rep.Producer)
	v.Subtitles = subtitles(rep)
	v.warn(rep)
	v.cards(rep)
	if c != nil && (len(c.Devices) > 0 || c.HasLog) {
		v.course(rep, c)
	}
	v.spreads(rep, c)
	v.tables(rep)
	v.methods(rep)
	return v.write(w)
}

func newView(title, usual, producer string) *view {
	if title == "" {
		title = usual
	}
	return &view{Title: title, Producer: producer}
}

// write renders the page, with a policy that allows what it has and nothing else.
func (v *view) write(w io.Writer) error {
	style := pageCSS
	policy := "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'"
	if v.Course {
		style = uplotCSS + "\n" + pageCSS
		library := "/* uPlot 1.6.32\n" + strings.TrimSpace(uplotLicence) + "\n*/\n" + uplotJS
		v.Library, v.Script = template.JS(library), template.JS(pageJS)
		policy += "; script-src " + hash(library) + " " + hash(pageJS)
	}
	v.Style = template.CSS(style)
	v.Policy = policy + "; style-src " + hash(style)
	return pageTemplate.Execute(w, v)
}

// hash is how a policy names a script or a style sheet.
func hash(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// subtitles say when the run was and on what.
func subtitles(rep *reduce.Report) (list []string) {
	if n := len(rep.Phases); n > 0 && rep.Phases[0].Start != "" {
		text := "From " + toMillis(rep.Phases[0].Start)
		last := ""
		for _, ph := range rep.Phases {
			last = max(last, ph.End)
		}
		if last != "" {
			text += " to " + toMillis(last)
		}
		list = append(list, text)
	}
	var kinds []string
	counts := map[string]int{}
	for _, d := range rep.Devices {
		if d.Scope != string(sample.ScopeGPU) {
			continue
		}
		name := short(d.Name)
		if d.Simulated {
			name += " (simulated)"
		}
		if counts[name]++; counts[name] == 1 {
			kinds = append(kinds, name)
		}
	}
	var parts []string
	for _, name := range kinds {
		parts = append(parts, fmt.Sprintf("%d × %s", counts[name], name))
	}
	var drivers []string
	for _, d := range rep.Devices {
		if d.Driver != "" && !slices.Contains(drivers, d.Driver) {
			drivers = append(drivers, d.Driver)
		}
	}
	if len(drivers) > 0 {
		parts = append(parts, "driver "+short(strings.Join(drivers, ", ")))
	}
	if len(parts) > 0 {
		list = append(list, strings.Join(parts, "; "))
	}
	return list
}

// toMillis writes an instant of a report to the millisecond.
func toMillis(s string) string {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return short(s)
	}
	return t.UTC().Format("2006-01-02 15:04:05.000 UTC")
}

// mostWarnings bounds those that a page lists.
const mostWarnings = 500

func (v *view) warn(rep *reduce.Report) {
	for _, w := range rep.Warnings {
		if len(v.Warnings) == mostWarnings {
			v.Warnings = append(v.Warnings, reduce.Warning{Code: "more", Message: fmt.Sprintf("and %d more, which the report has", len(rep.Warnings)-mostWarnings)})
			break
		}
		w.Phase, w.Message = short(w.Phase), cutText(w.Message, 1000)
		v.Warnings = append(v.Warnings, w)
	}
	var lacks []string
	for _, code := range rep.Incomplete() {
		lacks = append(lacks, strings.ReplaceAll(string(code), "_", " "))
	}
	v.Lacks = strings.Join(lacks, ", ")
	v.OpenWarnings = len(lacks) > 0 || len(rep.Warnings) <= 3
}

func cutText(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// headline are the figures that stand above all others.
var headline = []string{
	reduce.TotalGPUEnergy, reduce.AverageGPUPower, reduce.OutputTokensPerJoule, reduce.EnergyPerOutputToken,
	reduce.EnergyPerRequest, reduce.OutputTokenThroughput, reduce.WattsPerUser, reduce.PowerLimitShare,
	reduce.TimeToFirstToken, reduce.InterTokenLatency, reduce.RequestLatency, reduce.EnergyOfRequests,
}

// mostCards is how many phases have headline figures.
const mostCards = 6

// cards makes the headline figures of each phase that is measured; where none is, of all.
func (v *view) cards(rep *reduce.Report) {
	list := measured(rep)
	for i, ph := range list {
		if i == mostCards {
			v.MoreCards = fmt.Sprintf("%d more phases are in the table below.", len(list)-mostCards)
			return
		}
		g := cardGroup{Title: short(ph.Name), Sub: phaseFacts(ph)}
		for _, tag := range headline {
			if m, ok := ph.Metrics[tag]; ok {
				g.Cards = append(g.Cards, newCard(ph, tag, m))
			}
		}
		if len(g.Cards) > 0 {
			v.Cards = append(v.Cards, g)
		}
	}
}

// measured returns the phases that headline figures are of.
func measured(rep *reduce.Report) (list []*reduce.Phase) {
	for _, kinds := range [][]string{{"measure", "recording"}, {"idle", "warmup", "cooldown", "window"}} {
		for i := range rep.Phases {
			if slices.Contains(kinds, rep.Phases[i].Kind) {
				list = append(list, &rep.Phases[i])
			}
		}
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

func newCard(ph *reduce.Phase, tag string, m reduce.Metric) card {
	c := card{Name: report.Title(tag), Unit: m.Unit}
	switch {
	case m.Distribution != nil:
		c.Name += ", median"
		c.Value = report.Significant(m.P50, 4)
		c.Plus = "p99 " + report.Significant(m.P99, 4) + ", mean " + report.Significant(m.Mean, 4)
	case m.Number != nil:
		m, c.Unit = prefixed(m)
		c.Value, c.Plus = report.Figures(m)
		if tag == reduce.PowerLimitShare {
			c.Value, c.Unit = report.Significant(100*m.Value, 3), "%"
			c.Plus = ""
		}
		if ph.Devices != nil && m.DevicesCovered > 0 && m.DevicesCovered < ph.Devices.Expected {
			c.Name += fmt.Sprintf(" (%d of %d GPUs)", m.DevicesCovered, ph.Devices.Expected)
		}
	}
	return c
}

// prefixed returns large joules and watts in thousands or millions.
func prefixed(m reduce.Metric) (reduce.Metric, string) {
	by, prefix := 1., ""
	switch v := math.Abs(m.Value); {
	case m.Unit != "J" && m.Unit != "W" || v < 1e5:
		return m, m.Unit
	case v >= 1e7:
		by, prefix = 1e-6, "M"
	default:
		by, prefix = 1e-3, "k"
	}
	n := *m.Number
	n.Value *= by
	if u := n.Uncertainty; u != nil {
		n.Uncertainty = &reduce.Uncertainty{Random: u.Random * by, Systematic: u.Systematic * by}
	}
	return reduce.Metric{Unit: m.Unit, Number: &n}, prefix + m.Unit
}

// phaseFacts says in a line what a phase was.
func phaseFacts(ph *reduce.Phase) string {
	facts := []string{ph.Kind}
	if ph.DurationSeconds != nil {
		facts = append(facts, fmt.Sprintf("%.3f s", *ph.DurationSeconds))
	}
	if ph.Concurrency > 0 {
		facts = append(facts, fmt.Sprintf("concurrency %d", ph.Concurrency))
	}
	switch ph.Load {
	case reduce.LoadOpen:
		facts = append(facts, "open loop")
	case reduce.LoadGated:
		facts = append(facts, "open loop with a ceiling")
	}
	if q := ph.Requests; q != nil {
		facts = append(facts, fmt.Sprintf("%d requests", q.Sent))
		for _, n := range []struct {
			count int64
			what  string
		}{{q.Failed, "failed"}, {q.Cancelled, "cancelled"}, {q.Unended, "not ended"}} {
			if n.count > 0 {
				facts = append(facts, fmt.Sprintf("%d %s", n.count, n.what))
			}
		}
	}
	if t := ph.Tokens; t != nil && t.Output != nil {
		facts = append(facts, fmt.Sprintf("%.0f output tokens", *t.Output))
	}
	if d := ph.Devices; d != nil {
		switch {
		case d.Seen < d.Expected:
			facts = append(facts, fmt.Sprintf("%d of %d GPUs", d.Seen, d.Expected))
		case d.Seen == 1:
			facts = append(facts, "1 GPU")
		case d.Seen > 1:
			facts = append(facts, fmt.Sprintf("%d GPUs", d.Seen))
		}
	}
	return strings.Join(facts, ", ")
}
