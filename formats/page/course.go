package page

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"wattrace/formats/chart"
	"wattrace/formats/report"
	"wattrace/reduce"
	"wattrace/sample"
)

// course fills in what is drawn over time.
func (v *view) course(rep *reduce.Report, c *reduce.Course) {
	v.Course = true
	v.Data = template.JS(courseData(c, perToken(rep)))
	v.Grid = fmt.Sprintf("Ends of an interval fall on multiples of %v.", c.Step)
	v.Figure = inline(CourseFigure(rep, c, "", 720, true))
	gpus, gauges := false, false
	for i := range c.Devices {
		gpus = gpus || isGPU(&c.Devices[i]) && c.Devices[i].Energy != nil
		gauges = gauges || c.Devices[i].Low != nil
	}
	if gpus {
		box := chartBox{ID: "power", Title: "Power of all GPUs, W", NoteID: "power-note", Note: "from their energy"}
		if slices.ContainsFunc(c.Devices, func(d reduce.CourseDevice) bool { return d.Throttled != nil }) {
			box.Keys = []key{{"failed", "clocks held down"}}
		}
		v.Charts = append(v.Charts, box)
	}
	if gauges {
		v.Charts = append(v.Charts, chartBox{ID: "devices", Title: "Power by device, W", NoteID: "devices-note", Note: "when they were read: sensors show power later than it was drawn"})
	}
	if !c.HasLog {
		return
	}
	v.Charts = append(v.Charts, chartBox{ID: "busy", Title: "Requests in flight", NoteID: "busy-note"}, chartBox{ID: "tokens", Title: "Output tokens/s", NoteID: "tokens-note"})
	if gpus && perToken(rep) {
		v.Charts = append(v.Charts, chartBox{ID: "perjoule", Title: "Output tokens/J", NoteID: "perjoule-note"})
	}
	if len(c.Requests) == 0 {
		return
	}
	box := chartBox{ID: "lanes", Title: "Requests", Keys: []key{{"prefill", "until the first token"}, {"decode", "from the first token to the end"}}}
	has := map[string]bool{}
	for i := range c.Requests {
		has[string(c.Requests[i].Outcome)] = true
		has["whole"] = has["whole"] || !c.Requests[i].FirstToken.OK
	}
	for _, k := range []key{{"failed", "failed"}, {"cancelled", "cancelled"}, {"whole", "not streamed"}} {
		if has[k.Class] {
			box.Keys = append(box.Keys, k)
		}
	}
	if c.Thinned > 1 {
		box.Note = fmt.Sprintf("one of %d requests is shown", c.Thinned)
	}
	v.Charts = append(v.Charts, box)
}

func isGPU(d *reduce.CourseDevice) bool { return d.Scope == sample.ScopeGPU || d.Scope == "" }

// perToken reports whether the energy is the server's: of a partitioned board it may be
// another's, and reports then say nothing per token unless told to.
func perToken(rep *reduce.Report) bool {
	return !slices.ContainsFunc(rep.Warnings, func(w reduce.Warning) bool { return w.Code == reduce.WarnMIG })
}

// inline draws a figure for a page.
func inline(f *chart.Figure) template.HTML {
	f.Inline = true
	var b strings.Builder
	if err := f.Write(&b); err != nil {
		return ""
	}
	return template.HTML(b.String())
}

// figureBins is how many bins a figure on paper has, and leastBin how short they are:
// counters are updated every 100 ms or so.
const (
	figureBins = 400
	leastBin   = 200 * time.Millisecond
)

// CourseFigure draws the power of all GPUs and of each, and with a log the tokens per
// second, over the seconds since the course began. bare leaves single devices out.
func CourseFigure(rep *reduce.Report, c *reduce.Course, title string, width int, bare bool) *chart.Figure {
	total := c.Step.Seconds() * float64(c.Steps)
	f := &chart.Figure{Width: width, Title: title, X: chart.Axis{Label: "s", Max: total}}
	if c.Unix != 0 {
		f.X.Label = "s since " + time.Unix(0, c.Unix).UTC().Format("2006-01-02T15:04:05.999Z07:00")
	}
	for _, ph := range c.Phases {
		if ph.Kind == "window" {
			continue
		}
		end := c.Origin.Add(time.Duration(c.Steps) * c.Step)
		f.Bands = append(f.Bands, chart.Band{
			From: ph.Start.Sub(c.Origin).Seconds(), To: ph.End.Or(end).Sub(c.Origin).Seconds(), Name: ph.Name,
			Quiet: ph.Kind != "measure" && ph.Kind != "recording",
		})
	}
	each := max(1, (c.Steps+figureBins-1)/figureBins, int(leastBin/c.Step))
	var xs []float64
	for i := 0; i < c.Steps; i += each {
		xs = append(xs, float64(i)*c.Step.Seconds(), float64(min(i+each, c.Steps))*c.Step.Seconds())
	}
	steps := func(value func(i, j int) float64) (ys []float64) {
		for i := 0; i < c.Steps; i += each {
			y := value(i, min(i+each, c.Steps))
			ys = append(ys, y, y)
		}
		return ys
	}
	seconds := func(i, j int) float64 { return float64(j-i) * c.Step.Seconds() }
	watts := func(d *reduce.CourseDevice, i, j int) float64 { return joules(c, d, i, j) / seconds(i, j) }

	power := chart.Panel{Height: 170, Y: chart.Axis{Label: "power, W"}, Keys: true}
	var gpus []*reduce.CourseDevice
	for i := range c.Devices {
		if d := &c.Devices[i]; isGPU(d) && d.Energy != nil {
			gpus = append(gpus, d)
		}
	}
	all := func(i, j int) (sum float64) {
		for _, d := range gpus {
			sum += watts(d, i, j)
		}
		return sum
	}
	if len(gpus) > 0 {
		name := fmt.Sprintf("%d GPUs", len(gpus))
		if len(gpus) == 1 {
			name = "1 GPU"
		}
		power.Lines = append(power.Lines, chart.Line{Name: name, X: xs, Y: steps(all)})
		limit := steps(func(_, j int) (sum float64) {
			for _, d := range gpus {
				if d.Limit == nil {
					return math.NaN()
				}
				sum += d.Limit[j-1]
			}
			return sum
		})
		if slices.ContainsFunc(limit, func(w float64) bool { return !math.IsNaN(w) }) {
			power.Lines = append(power.Lines, chart.Line{Name: "power limit", X: xs, Y: limit, Colour: 1, Dashed: true})
		}
		f.Panels = append(f.Panels, power)
	}
	if len(gpus) > 1 && !bare {
		single := chart.Panel{Height: 130, Y: chart.Axis{Label: "by GPU, W"}, Keys: true}
		for i, d := range gpus {
			single.Lines = append(single.Lines, chart.Line{Name: deviceName(d.Host, string(d.Scope), d.Index), X: xs, Y: steps(func(i, j int) float64 { return watts(d, i, j) }), Colour: i, Thin: true})
		}
		f.Panels = append(f.Panels, single)
	}
	if c.HasLog {
		f.Panels = append(f.Panels, chart.Panel{Height: 110, Y: chart.Axis{Label: "tokens/s"}, Lines: []chart.Line{{X: xs, Colour: 2, Y: steps(func(i, j int) float64 {
			if slices.Contains(c.Unknown[i:j], true) {
				return math.NaN()
			}
			return float64(c.Output[j]-c.Output[i]) / 1e6 / seconds(i, j)
		})}}})
	}
	for i := range f.Panels {
		p := &f.Panels[i]
		for _, l := range p.Lines {
			p.Y.Fit(l.Y...)
		}
		p.Y.Fit(0)
		p.Y.Round()
	}
	return f
}

// joules is the energy of a device between two ends of steps; NaN where readings do not
// cover it, by the rule of reports.
func joules(c *reduce.Course, d *reduce.CourseDevice, i, j int) float64 {
	whole := float64(j-i) * float64(c.Step)
	if !d.Inside[i] || !d.Inside[j] || whole-float64(d.Covered[j]-d.Covered[i]) > 0.01*whole {
		return math.NaN()
	}
	return float64(d.Energy[j]-d.Energy[i]) / 1e6
}

// spreads draws how latencies and energies of requests are spread, a line for each phase.
func (v *view) spreads(rep *reduce.Report, c *reduce.Course) {
	type line struct {
		phase  string
		xs, ys []float64
	}
	const most = 8
	dropped := false
	for _, tag := range []string{reduce.TimeToFirstToken, reduce.InterTokenLatency, reduce.RequestLatency, reduce.EnergyOfRequests} {
		var lines []line
		unit := ""
		for _, ph := range measured(rep) {
			m, ok := ph.Metrics[tag]
			if !ok || m.Distribution == nil || m.Count == 0 {
				continue
			}
			unit = m.Unit
			l := line{phase: ph.Name}
			d := m.Distribution
			l.xs, l.ys = []float64{d.Min, d.P1, d.P5, d.P10, d.P25, d.P50, d.P75, d.P90, d.P95, d.P99, d.Max}, []float64{0, .01, .05, .1, .25, .5, .75, .9, .95, .99, 1}
			if c != nil {
				if i := slices.IndexFunc(c.Spreads, func(s reduce.Spread) bool { return s.Phase == ph.Name && s.Tag == tag }); i >= 0 {
					l.xs, l.ys = c.Spreads[i].Values, nil
					for p := range l.xs {
						l.ys = append(l.ys, float64(p)/100)
					}
				}
			}
			lines = append(lines, l)
		}
		if len(lines) == 0 {
			continue
		}
		if len(lines) > most {
			lines, dropped = lines[:most], true
		}
		f := &chart.Figure{Width: 560, X: chart.Axis{Label: report.Title(tag) + ", " + unit, Log: true}}
		p := chart.Panel{Height: 200, Y: chart.Axis{Label: "share", Max: 1}, Keys: len(lines) > 1}
		for i, l := range lines {
			f.X.Fit(l.xs...)
			p.Lines = append(p.Lines, chart.Line{Name: l.phase, X: positive(l.xs), Y: l.ys, Colour: i})
		}
		f.X.Round()
		f.Panels = []chart.Panel{p}
		v.Spreads = append(v.Spreads, inline(f))
	}
	if dropped {
		v.SpreadNote = fmt.Sprintf("The first %d phases are drawn.", most)
	}
}

// positive leaves out what a logarithmic axis has no place for.
func positive(list []float64) []float64 {
	out := slices.Clone(list)
	for i, v := range out {
		if v <= 0 {
			out[i] = math.NaN()
		}
	}
	return out
}
