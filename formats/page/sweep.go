package page

import (
	"cmp"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"wattrace/formats/chart"
	"wattrace/formats/report"
	"wattrace/reduce"
)

// Run is a report and where it came from.
type Run struct {
	Path   string
	Report *reduce.Report
}

type sweepView struct {
	Note    string
	Figures []template.HTML
	Table   table
}

// point is one configuration of a sweep: the runs that have it, and the medians of what
// they say, each with how far it may be off.
type point struct {
	label, facts string
	paths        []string
	concurrency  int
	limit        float64 // of a GPU, W; 0 is unknown
	perGPU       spread  // output tokens/s and GPU
	perJoule     spread  // output tokens/J
	perUser      spread  // output tokens/s that a user sees, the median request
	watts        spread  // mean power of a GPU
	front        [2]bool
}

// spread is a median with half an error bar on each side.
type spread struct{ v, below, above float64 }

func (s spread) String() string {
	switch {
	case math.IsNaN(s.v):
		return "–"
	case s.below <= 0 && s.above <= 0:
		return report.Significant(s.v, 4)
	case s.below == s.above:
		return report.Significant(s.v, 4) + " ± " + report.Significant(s.above, 2)
	}
	return fmt.Sprintf("%s (%s to %s)", report.Significant(s.v, 4), report.Significant(s.v-s.below, 4), report.Significant(s.v+s.above, 4))
}

// errNoSweep says that reports have nothing to be drawn by.
var errNoSweep = errors.New("no report has a measured phase with output tokens per second, and GPUs: there is nothing to draw")

// points puts the measured phases of all runs into configurations: those that agree in
// the phase's name, concurrency, load, GPUs, their models and their power limits are repeats.
func points(runs []Run) []point {
	type sample struct {
		run *Run
		ph  *reduce.Phase
	}
	groups := map[string][]sample{}
	var order []string
	models := func(r *reduce.Report) string {
		var names []string
		for _, d := range r.Devices {
			if !slices.Contains(names, d.Name) {
				names = append(names, d.Name)
			}
		}
		return strings.Join(names, ", ")
	}
	plans := func(r *reduce.Report) (s string) {
		for _, run := range r.Runs {
			s += string(run.Plan) + fmt.Sprintf("%q", run.Overlays)
		}
		return s
	}
	for i := range runs {
		r := &runs[i]
		for j := range r.Report.Phases {
			ph := &r.Report.Phases[j]
			if ph.Kind != "measure" || ph.Devices == nil || ph.Devices.Seen == 0 || ph.Metrics[reduce.OutputTokenThroughput].Number == nil {
				continue
			}
			limit, _ := powerLimit(ph)
			key := fmt.Sprintf("%q %d %s %d %q %.0f %s", ph.Name, ph.Concurrency, ph.Load, ph.Devices.Seen, models(r.Report), limit, plans(r.Report))
			if groups[key] == nil {
				order = append(order, key)
			}
			groups[key] = append(groups[key], sample{r, ph})
		}
	}
	var list []point
	for _, k := range order {
		g := groups[k]
		var p point
		collect := func(value func(ph *reduce.Phase) (v, u float64, ok bool)) spread {
			var vs []float64
			u := 0.0
			for _, s := range g {
				v, sigma, ok := value(s.ph)
				if !ok {
					return spread{v: math.NaN()}
				}
				vs, u = append(vs, v), sigma
			}
			return spreadOf(vs, u)
		}
		metric := func(tag string, perGPU bool) func(ph *reduce.Phase) (v, u float64, ok bool) {
			return func(ph *reduce.Phase) (v, u float64, ok bool) {
				m, ok := ph.Metrics[tag]
				if !ok || m.Number == nil {
					return 0, 0, false
				}
				by := 1.0
				if perGPU {
					by = float64(ph.Devices.Seen)
				}
				if q := m.Uncertainty; q != nil {
					u = 1.96 * math.Hypot(q.Random, q.Systematic)
				}
				return m.Value / by, u / by, true
			}
		}
		p.perGPU, p.perJoule = collect(metric(reduce.OutputTokenThroughput, true)), collect(metric(reduce.OutputTokensPerJoule, false))
		p.watts = collect(metric(reduce.AverageGPUPower, true))
		p.perUser = collect(func(ph *reduce.Phase) (v, u float64, ok bool) {
			m, ok := ph.Metrics[reduce.OutputTokenThroughputPerUser]
			if !ok || m.Distribution == nil {
				return 0, 0, false
			}
			return m.P50, 0, true
		})
		for _, s := range g {
			p.paths = append(p.paths, s.run.Path)
		}
		p.facts, p.concurrency = phaseFacts(g[0].ph), g[0].ph.Concurrency
		p.limit, _ = powerLimit(g[0].ph)
		list = append(list, p)
		list[len(list)-1].label = k
	}
	slices.SortStableFunc(list, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.concurrency, b.concurrency), cmp.Compare(a.limit, b.limit))
	})
	name(list, func(k string) (*Run, *reduce.Phase) { return groups[k][0].run, groups[k][0].ph })
	front(list, 0, func(p *point) spread { return p.perJoule })
	front(list, 1, func(p *point) spread { return p.perUser })
	return list
}

// powerLimit returns the mean power limit of a GPU.
func powerLimit(ph *reduce.Phase) (float64, bool) {
	m, ok := ph.Metrics[reduce.GPUPowerLimit]
	if !ok || m.Number == nil || ph.Devices == nil || ph.Devices.Seen == 0 {
		return 0, false
	}
	return m.Value / float64(ph.Devices.Seen), true
}

// spreadOf returns the median of runs; its bar is what they range over, and of one run the
// uncertainty of its measurement.
func spreadOf(vs []float64, u float64) spread {
	slices.Sort(vs)
	n := len(vs)
	median := vs[(n-1)/2]/2 + vs[n/2]/2
	if n == 1 {
		return spread{median, u, u}
	}
	return spread{median, median - vs[0], vs[n-1] - median}
}

// name labels points by what they differ in: concurrency, the power limit, else the paths.
func name(list []point, of func(k string) (*Run, *reduce.Phase)) {
	type fact func(r *Run, ph *reduce.Phase) string
	facts := []fact{
		func(_ *Run, ph *reduce.Phase) string {
			if ph.Concurrency == 0 {
				return ""
			}
			return fmt.Sprintf("c=%d", ph.Concurrency)
		},
		func(_ *Run, ph *reduce.Phase) string {
			w, ok := powerLimit(ph)
			if !ok {
				return ""
			}
			return fmt.Sprintf("%.0f W", w)
		},
		func(_ *Run, ph *reduce.Phase) string { return fmt.Sprintf("%d GPUs", ph.Devices.Seen) },
		func(_ *Run, ph *reduce.Phase) string { return short(ph.Name) },
	}
	keys := make([]string, len(list))
	labels := make([][]string, len(list))
	for i := range list {
		keys[i] = list[i].label
	}
	for _, f := range facts {
		var texts []string
		for i := range list {
			texts = append(texts, f(of(keys[i])))
		}
		if slices.ContainsFunc(texts, func(s string) bool { return s != texts[0] }) {
			for i, s := range texts {
				if s != "" {
					labels[i] = append(labels[i], s)
				}
			}
		}
	}
	for i := range list {
		list[i].label = strings.Join(labels[i], ", ")
	}
	for i := range list { // those that are still alike have the names of their runs
		same := slices.ContainsFunc(list[:i], func(p point) bool { return p.label == list[i].label }) || list[i].label == ""
		for j := range list[i+1:] {
			same = same || list[i+1+j].label == list[i].label
		}
		if same {
			run, _ := of(keys[i])
			labels[i] = append(labels[i], runName(run.Path))
		}
	}
	for i := range list {
		list[i].label = strings.Join(labels[i], ", ")
	}
}

// runName names a run by its file, or by the directory of a report.json.
func runName(path string) string {
	if dir, base := filepath.Split(path); base == "report.json" && dir != "" {
		return short(filepath.Base(filepath.Clean(dir)))
	}
	return short(strings.TrimSuffix(filepath.Base(path), ".json"))
}

// front marks the points that no other is better than in one of two figures without being
// worse in the other. Both are better high.
func front(list []point, which int, other func(*point) spread) {
	for i := range list {
		x, y := list[i].perGPU.v, other(&list[i]).v
		if math.IsNaN(x) || math.IsNaN(y) {
			continue
		}
		list[i].front[which] = !slices.ContainsFunc(list, func(q point) bool {
			u, v := q.perGPU.v, other(&q).v
			return u >= x && v >= y && (u > x || v > y)
		})
	}
}

// sweepFigures draws tokens/s/GPU against tokens/J, and against tokens/s/user, each with its
// front; a figure without points is nil.
func sweepFigures(list []point, width int) (figures [2]*chart.Figure) {
	for which, other := range []struct {
		label string
		of    func(*point) spread
	}{{"output tokens/J", func(p *point) spread { return p.perJoule }}, {"output tokens/s and user (median)", func(p *point) spread { return p.perUser }}} {
		f := &chart.Figure{Width: width, X: chart.Axis{Label: other.label}}
		panel := chart.Panel{Height: 300, Y: chart.Axis{Label: "output tokens/s and GPU"}}
		f.X.Fit(0)
		panel.Y.Fit(0)
		var edge []point
		for i := range list {
			p := &list[i]
			x, y := other.of(p), p.perGPU
			if math.IsNaN(x.v) || math.IsNaN(y.v) {
				continue
			}
			f.X.Fit(x.v+x.above, x.v)
			panel.Y.Fit(y.v+y.above, y.v)
			if p.front[which] {
				edge = append(edge, *p)
			}
			panel.Points = append(panel.Points, chart.Point{
				X: x.v, Y: y.v, Left: x.below, Right: x.above, Below: y.below, Above: y.above, Label: p.label, Hollow: !p.front[which],
				Title: fmt.Sprintf("%s: %s %s, %s tokens/s and GPU; %s", p.label, x, other.label, y, strings.Join(p.paths, ", ")),
			})
		}
		if len(panel.Points) == 0 {
			continue
		}
		slices.SortFunc(edge, func(a, b point) int { return cmp.Compare(other.of(&a).v, other.of(&b).v) })
		line := chart.Line{Name: "front", Dashed: true, Colour: 1}
		for i := range edge {
			line.X, line.Y = append(line.X, other.of(&edge[i]).v), append(line.Y, edge[i].perGPU.v)
		}
		panel.Lines = []chart.Line{line}
		f.X.Round()
		panel.Y.Round()
		place(panel.Points, &f.X)
		f.Panels = []chart.Panel{panel}
		figures[which] = f
	}
	return figures
}

// place puts labels where they stay inside.
func place(list []chart.Point, x *chart.Axis) {
	for i := range list {
		list[i].LabelLeft = list[i].X > x.Min+.75*(x.Max-x.Min)
	}
}

// WriteSweep writes the page of several reports.
func WriteSweep(w io.Writer, runs []Run, opt Options) error {
	list := points(runs)
	if len(list) == 0 {
		return errNoSweep
	}
	v := newView(opt.Title, "Sweep", runs[0].Report.Producer)
	v.Subtitles = []string{fmt.Sprintf("%d reports, %d configurations", len(runs), len(list))}
	v.Subtitles = append(v.Subtitles, subtitles(&reduce.Report{Devices: runs[0].Report.Devices})...)
	s := &sweepView{
		Note:  "Filled points are on the Pareto front: none is better in one figure without being worse in the other. Bars are the range of repeats, and of a single run the uncertainty of its measurement (95 %), most of which is the sensors' and common to runs on the same devices.",
		Table: table{Head: left(cells("configuration", "runs", "tokens/s and GPU", "tokens/J", "tokens/s and user", "W and GPU", "front", "what it was", "reports"), 7, 8)},
	}
	for _, f := range sweepFigures(list, 760) {
		if f != nil {
			s.Figures = append(s.Figures, inline(f))
		}
	}
	for i := range list {
		p := &list[i]
		var on []string
		for which, name := range []string{"energy", "user"} {
			if p.front[which] {
				on = append(on, name)
			}
		}
		s.Table.Rows = append(s.Table.Rows, left(cells(p.label, fmt.Sprint(len(p.paths)), p.perGPU.String(), p.perJoule.String(), p.perUser.String(), p.watts.String(),
			strings.Join(on, ", "), p.facts, reports(p.paths)), 7, 8))
	}
	v.Sweep = s
	for i := range runs {
		for _, warning := range runs[i].Report.Warnings {
			warning.Message = runName(runs[i].Path) + ": " + warning.Message
			v.Warnings = append(v.Warnings, warning)
		}
	}
	v.warn(&reduce.Report{Warnings: v.takeWarnings()})
	return v.write(w)
}

func (v *view) takeWarnings() []reduce.Warning {
	list := v.Warnings
	v.Warnings = nil
	return list
}

// WriteSweepFigure writes the figure of several reports.
func WriteSweepFigure(w io.Writer, runs []Run, title string) error {
	list := points(runs)
	var figures []*chart.Figure
	for _, f := range sweepFigures(list, 560) {
		if f != nil {
			figures = append(figures, f)
		}
	}
	if len(figures) == 0 {
		return errNoSweep
	}
	figures[0].Title = title
	return chart.WriteColumn(w, figures...)
}

// reports names the reports of a configuration.
func reports(paths []string) string {
	var list []string
	for _, path := range paths {
		list = append(list, runName(path))
	}
	return cutText(strings.Join(list, ", "), 300)
}
