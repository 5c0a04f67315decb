package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"wattrace/reduce"
)

// Schema is the version of the document.
const Schema = "wattrace.comparison/1"

const gpu = "gpu" // the scope of a GPU board

// Run is one report: the unit of every comparison.
type Run struct {
	Path   string
	Report *reduce.Report
}

// Group is the repeats of one configuration.
type Group struct {
	Name string
	Runs []Run
}

// Options are the choices of a user.
type Options struct {
	Alpha      float64   // of each test, on two sides; 0 is 0.05
	Phases     []string  // names, of a window as phase/window; nil are the measured phases
	Metrics    []Pattern // nil are the usual ones
	Ignore     []string  // facts that may differ
	Paired     bool      // runs that follow each other belong together
	Conditions []Condition
	Axis       Axis
	PerDevice  bool // power and energy of each device, too
}

// Comparison says how groups of runs differ: the JSON document of package
// formats/comparison, of which every other form is a rendering.
type Comparison struct {
	Schema     string      `json:"schema"`
	Producer   string      `json:"producer"`
	Alpha      float64     `json:"alpha"`            // of each test, on two sides; intervals are of confidence 1 - alpha
	Test       Test        `json:"test"`             // what p is of
	Needed     int         `json:"needed"`           // runs of each group, at least, to find any difference
	Groups     []GroupInfo `json:"groups"`           // the first is the base
	Differ     []Fact      `json:"differ,omitempty"` // facts that differ and were to be ignored
	Unknown    []Unknown   `json:"unknown,omitempty"`
	Notes      []string    `json:"notes,omitempty"` // what reports warn of themselves
	Rows       []Row       `json:"rows"`
	Conditions []Verdict   `json:"conditions,omitempty"`
	Axis       *AxisTable  `json:"axis,omitempty"`
}

// Compared reports whether any metric was compared with the base, or along an axis, or a
// condition was decided.
func (c *Comparison) Compared() bool {
	placed := func(p Point) bool {
		return p.ThroughputPerGPU != nil || p.OutputTokensPerJoule != nil || p.ThroughputPerUser != nil || p.PowerPerGPU != nil
	}
	return c.Axis != nil && slices.ContainsFunc(c.Axis.Phases, func(ph AxisPhase) bool { return slices.ContainsFunc(ph.Points, placed) }) ||
		slices.ContainsFunc(c.Rows, func(r Row) bool { return r.Difference != nil }) ||
		slices.ContainsFunc(c.Conditions, func(v Verdict) bool { return v.Outcome != Unsure })
}

// Test is a statistical test.
type Test string

// The tests.
const (
	MannWhitney Test = "mann-whitney" // of two groups of runs
	SignedRank  Test = "wilcoxon"     // of pairs of runs
)

// GroupInfo is a group of runs.
type GroupInfo struct {
	Name string    `json:"name"`
	Runs []RunInfo `json:"runs"` // in the order of time
}

// RunInfo is one report.
type RunInfo struct {
	Path  string `json:"path"`
	Start string `json:"start,omitempty"` // of its first phase
}

// Row compares a metric of a phase between the base and another group.
type Row struct {
	Phase     string `json:"phase"`
	Metric    string `json:"metric"`
	Statistic string `json:"statistic,omitempty"` // of a distribution: p50, ...
	Unit      string `json:"unit,omitempty"`
	Better    string `json:"better,omitempty"` // "lower" or "higher"
	OfRecord  bool   `json:"of_record,omitempty"`
	Group     string `json:"group"` // that is compared with the base
	// Device is the one that the row is of; absent is all.
	Device *RowDevice `json:"device,omitempty"`
	Base   *Side      `json:"base,omitempty"`
	New    *Side      `json:"new,omitempty"`
	// Ratio is new / base, where all values are above 0; Difference is new - base.
	Ratio      *Estimate `json:"ratio,omitempty"`
	Difference *Estimate `json:"difference,omitempty"`
	// P is of the hypothesis that both groups are alike, of this row alone. Absent where
	// there are too few runs for any difference to show.
	P       *float64 `json:"p,omitempty"`
	Sensors Sensors  `json:"sensors,omitempty"` // of figures of energy: how far the sensors are the same
	Result  Result   `json:"result"`
	Reason  string   `json:"reason,omitempty"` // why nothing can be said

}

// Side is what the runs of one group say.
type Side struct {
	Runs     int       `json:"runs"`
	Median   float64   `json:"median"`
	Interval *Interval `json:"interval,omitempty"` // of the median, by order statistics; absent with too few runs
}

// Estimate is a change, with intervals of about 1 - alpha.
type Estimate struct {
	Value float64 `json:"value"`
	// Random is what repeating the runs would vary; with one run of each what the
	// report says is random of the measurement, which is less.
	Random *Interval `json:"random,omitempty"`
	// Sensors is the standard uncertainty from what is not known of the sensors and does
	// not cancel.
	Sensors float64   `json:"sensors,omitempty"`
	Total   *Interval `json:"total,omitempty"` // of both
}

// Sensors says how far the sensors of two groups are the same.
type Sensors string

// The levels; "" is unknown, or of no interest.
const (
	SameDevices Sensors = "same_devices" // the gains cancel
	SameModel   Sensors = "same_model"   // what differs from unit to unit stays
	OtherModels Sensors = "other_models" // all of it stays
)

// Result is what a row says.
type Result string

// The results.
const (
	Undecided Result = "undecided" // nothing can be said: Row.Reason says why, or no difference shows
	BetterNow Result = "better"
	WorseNow  Result = "worse"
	Differs   Result = "differs" // neither is better
)

// phase returns the phase of that name, or the window that phase/window names.
func (r *Run) phase(name string) *reduce.Phase {
	for i := range r.Report.Phases {
		ph := &r.Report.Phases[i]
		if ph.Name == name {
			return ph
		}
		if rest, ok := strings.CutPrefix(name, ph.Name+"/"); ok {
			for j := range ph.Windows {
				if ph.Windows[j].Name == rest {
					return &ph.Windows[j]
				}
			}
		}
	}
	return nil
}

// start returns when the first phase of a run started, if it is known.
func (r *Run) start() (t time.Time, ok bool) {
	for i := range r.Report.Phases {
		at, err := time.Parse(time.RFC3339Nano, r.Report.Phases[i].Start)
		if err == nil && (!ok || at.Before(t)) {
			t, ok = at, true
		}
	}
	return t, ok
}

// value is what a run says of a metric.
type value struct {
	v, random, systematic float64
	unit                  string
	uncertain             bool // random and systematic are known
}

// measurable reports whether a number is one that can be measured: what is computed of such
// numbers is finite.
func measurable(v float64) bool { return v == 0 || 1e-50 < math.Abs(v) && math.Abs(v) < 1e50 }

// get returns a figure of a phase, or of one of its devices, and why there is none.
func get(metrics map[string]reduce.Metric, tag, statistic string) (value, string) {
	v, why := read(metrics, tag, statistic)
	if why == "" && !(measurable(v.v) && measurable(v.random) && measurable(v.systematic)) {
		return value{}, "is beyond all measure"
	}
	return v, why
}

func read(metrics map[string]reduce.Metric, tag, statistic string) (value, string) {
	m, ok := metrics[tag]
	switch {
	case !ok:
		return value{}, "is absent"
	case m.Number != nil && statistic == "":
		out := value{v: m.Value, unit: m.Unit}
		if u := m.Uncertainty; u != nil {
			out.random, out.systematic, out.uncertain = u.Random, u.Systematic, true
		}
		return out, ""
	case m.Distribution != nil && statistic != "":
		if m.Distribution.Count == 0 {
			return value{}, "has no values"
		}
		return value{v: statistics[statistic](m.Distribution), unit: m.Unit}, ""
	case m.Distribution != nil:
		return value{}, "is a distribution: name a statistic, as in " + tag + ".p50"
	case m.Number != nil:
		return value{}, "is a number, which has no " + statistic
	}
	return value{}, "has no value"
}

// statistics are those of a distribution.
var statistics = map[string]func(*reduce.Distribution) float64{
	"mean": func(d *reduce.Distribution) float64 { return d.Mean },
	"min":  func(d *reduce.Distribution) float64 { return d.Min },
	"p1":   func(d *reduce.Distribution) float64 { return d.P1 },
	"p5":   func(d *reduce.Distribution) float64 { return d.P5 },
	"p10":  func(d *reduce.Distribution) float64 { return d.P10 },
	"p25":  func(d *reduce.Distribution) float64 { return d.P25 },
	"p50":  func(d *reduce.Distribution) float64 { return d.P50 },
	"p75":  func(d *reduce.Distribution) float64 { return d.P75 },
	"p90":  func(d *reduce.Distribution) float64 { return d.P90 },
	"p95":  func(d *reduce.Distribution) float64 { return d.P95 },
	"p99":  func(d *reduce.Distribution) float64 { return d.P99 },
	"max":  func(d *reduce.Distribution) float64 { return d.Max },
	"std":  func(d *reduce.Distribution) float64 { return d.Std },
}

// comparer compares groups.
type comparer struct {
	groups []Group
	opt    Options
	chosen []string // phases that were asked for
	phases []string // those, and the ones that conditions name
}

// Compare compares the groups after the first with it. It fails where the reports are not
// alike (*UnlikeError), or where a choice does not fit them (*ChoiceError).
func Compare(groups []Group, opt Options) (*Comparison, error) {
	if opt.Alpha == 0 {
		opt.Alpha = 0.05
	}
	c := &comparer{groups: groups, opt: opt}
	for i := range groups {
		slices.SortStableFunc(groups[i].Runs, func(a, b Run) int {
			x, _ := a.start()
			y, _ := b.start()
			return cmp.Or(x.Compare(y), cmp.Compare(a.Path, b.Path))
		})
	}
	if err := c.choosePhases(); err != nil {
		return nil, err
	}
	out := &Comparison{Schema: Schema, Alpha: opt.Alpha, Test: MannWhitney, Needed: needed(opt.Paired, opt.Alpha), Rows: []Row{}}
	if opt.Paired {
		out.Test = SignedRank
		if err := c.pair(); err != nil {
			return nil, err
		}
	}
	var err error
	if out.Differ, out.Unknown, err = c.facts(); err != nil {
		return nil, err
	}
	simulated := func(w reduce.Warning) bool { return w.Code == reduce.WarnSimulated }
	if c.anyRun(func(r *Run) bool { return slices.ContainsFunc(r.Report.Warnings, simulated) }) {
		out.Notes = append(out.Notes, "devices are simulated: these figures are no measurement")
	}
	out.Notes = append(out.Notes, c.clockNotes()...)
	for _, g := range groups {
		info := GroupInfo{Name: g.Name, Runs: []RunInfo{}}
		for _, r := range g.Runs {
			run := RunInfo{Path: r.Path}
			if t, ok := r.start(); ok {
				run.Start = t.Format(time.RFC3339Nano)
			}
			info.Runs = append(info.Runs, run)
			if codes := r.Report.Incomplete(); len(codes) > 0 {
				out.Notes = append(out.Notes, fmt.Sprintf("%s is incomplete, by its own warnings: %s", r.Path, joined(codes)))
			}
		}
		out.Groups = append(out.Groups, info)
	}
	if opt.Axis != "" {
		if out.Axis, err = c.axis(); err != nil {
			return nil, err
		}
	}
	metrics, err := c.chooseMetrics()
	if err != nil {
		return nil, err
	}
	if err := c.checkConditions(); err != nil {
		return nil, err
	}
	for _, ph := range c.phases {
		for _, m := range metrics {
			if !c.shown(ph, m) {
				continue
			}
			for _, g := range groups[1:] {
				out.Rows = append(out.Rows, c.row(ph, m, g))
			}
		}
	}
	if opt.PerDevice {
		for _, ph := range c.chosen {
			for _, g := range groups[1:] {
				rows, notes := c.deviceRows(ph, g)
				out.Rows, out.Notes = append(out.Rows, rows...), append(out.Notes, notes...)
			}
		}
	}
	for _, cond := range opt.Conditions {
		for _, ph := range c.phases {
			if cond.Phase != "" && cond.Phase != ph || cond.Phase == "" && !slices.Contains(c.chosen, ph) {
				continue
			}
			for _, g := range groups[1:] {
				out.Conditions = append(out.Conditions, c.judge(cond, ph, g))
			}
		}
	}
	return out, nil
}

func joined[T ~string](list []T) string {
	var s []string
	for _, e := range list {
		s = append(s, string(e))
	}
	return strings.Join(s, ", ")
}

// choosePhases finds the phases that are compared.
func (c *comparer) choosePhases() error {
	all := func(yes func(*reduce.Phase) bool) (names []string) {
		for _, g := range c.groups {
			for _, r := range g.Runs {
				for i := range r.Report.Phases {
					if ph := &r.Report.Phases[i]; yes(ph) && !slices.Contains(names, ph.Name) {
						names = append(names, ph.Name)
					}
				}
			}
		}
		return names
	}
	every := all(func(*reduce.Phase) bool { return true })
	switch {
	case slices.Equal(c.opt.Phases, []string{"all"}):
		c.phases = every
	case len(c.opt.Phases) > 0:
		for _, name := range c.opt.Phases {
			if !slices.Contains(c.phases, name) {
				c.phases = append(c.phases, name)
			}
		}
	default:
		c.phases = all(func(ph *reduce.Phase) bool { return ph.Kind == "measure" })
		if len(c.phases) == 0 {
			c.phases = every
		}
	}
	c.chosen = slices.Clone(c.phases)
	for _, cond := range c.opt.Conditions {
		if cond.Phase != "" && !slices.Contains(c.phases, cond.Phase) {
			c.phases = append(c.phases, cond.Phase)
		}
	}
	if len(c.phases) == 0 {
		return &ChoiceError{Msg: "the reports have no phase"}
	}
	hint := "the reports have none"
	if len(every) > 0 {
		hint = "there are " + quoted(every) + "; a window of one is named as in " + `"profiling/steady"`
	}
	for _, name := range c.phases {
		if !c.anyRun(func(r *Run) bool { return r.phase(name) != nil }) {
			return &ChoiceError{Msg: fmt.Sprintf("no report has a phase %q", name), Hint: hint}
		}
	}
	return nil
}

func quoted(names []string) string {
	var s []string
	for _, n := range names {
		s = append(s, fmt.Sprintf("%q", n))
	}
	return strings.Join(s, ", ")
}

func (c *comparer) anyRun(yes func(*Run) bool) bool {
	for i := range c.groups {
		for j := range c.groups[i].Runs {
			if yes(&c.groups[i].Runs[j]) {
				return true
			}
		}
	}
	return false
}

// pair checks that the runs, in the order of time, come in turns of one of each group, in
// any order within a turn: the first of each group belong together, then the second, ...
func (c *comparer) pair() error {
	type begun struct {
		at    time.Time
		group int
		path  string
	}
	var all []begun
	n := len(c.groups[0].Runs)
	for i, g := range c.groups {
		if len(g.Runs) != n {
			return &ChoiceError{Msg: fmt.Sprintf("pairs need as many runs of each group: %d of %s, %d of %s", n, c.groups[0].Name, len(g.Runs), g.Name)}
		}
		for _, r := range g.Runs {
			at, ok := r.start()
			if !ok {
				return &ChoiceError{Msg: r.Path + ": no phase says when it started, by which runs are paired"}
			}
			all = append(all, begun{at, i, r.Path})
		}
	}
	slices.SortStableFunc(all, func(a, b begun) int { return a.at.Compare(b.at) })
	for turn := range slices.Chunk(all, len(c.groups)) {
		seen := map[int]string{}
		for _, r := range turn {
			if before, ok := seen[r.group]; ok {
				return &ChoiceError{
					Msg:  fmt.Sprintf("the runs do not alternate: %s and %s, of one group, follow each other within one turn", before, r.path),
					Hint: "runs are paired by the times at which they started, and each turn must have one of every group, in any order",
				}
			}
			seen[r.group] = r.path
		}
	}
	return nil
}

// extensive are the metrics that grow with a phase's duration: those of phases that differ
// in both duration and work say nothing of each other.
func extensive(tag string) bool {
	switch tag {
	case reduce.GPUEnergy, reduce.TotalGPUEnergy, reduce.TotalGPUEnergyWh, reduce.EnergyPerUser, reduce.EnergyPerUserMeasured, reduce.IdleGPUEnergy, reduce.NetGPUEnergy,
		reduce.CrossCheckEnergy, reduce.PrefillEnergy, reduce.DecodeEnergy, reduce.AttributedIdleEnergy, reduce.UnattributedEnergy,
		reduce.ServerGenerationTokens, reduce.TrueGPUEnergy, reduce.LastSampleGPUEnergy, reduce.ThrottledTime:
		return true
	}
	return strings.HasPrefix(tag, reduce.ThrottledTime+"_") || strings.HasPrefix(tag, "total_") && reduce.ScopeOf(tag) != ""
}

// net are differences of two energies, in which what sensors show at no power cancels.
var net = []string{reduce.NetGPUEnergy, reduce.NetEnergyPerOutputToken}

// sideOf returns what the runs of a group say of a metric, and why one does not.
func (c *comparer) sideOf(g Group, phase string, m metric) (values []value, why string) {
	for i := range g.Runs {
		r := &g.Runs[i]
		ph := r.phase(phase)
		if ph == nil {
			return nil, fmt.Sprintf("%s has no phase %q", r.Path, phase)
		}
		metrics := ph.Metrics
		if m.device != nil {
			d := m.device.how.in(ph, m.device.key)
			if d == nil {
				return nil, fmt.Sprintf("the device is absent in %s", r.Path)
			}
			metrics = d.Metrics
		}
		v, lacks := get(metrics, m.tag, m.statistic)
		if lacks != "" {
			return nil, fmt.Sprintf("%s in %s", lacks, r.Path)
		}
		values = append(values, v)
	}
	return values, ""
}

// row compares one metric of a phase with that of the base.
func (c *comparer) row(phase string, m metric, g Group) Row {
	base := c.groups[0]
	way, _ := reduce.BetterOf(m.tag)
	row := Row{
		Phase: phase, Metric: m.tag, Statistic: m.statistic, Group: g.Name, OfRecord: slices.Contains(ofRecord, m.tag),
		Better: map[reduce.Better]string{reduce.Lower: "lower", reduce.Higher: "higher"}[way], Result: Undecided,
	}
	a, whyA := c.sideOf(base, phase, m)
	b, whyB := c.sideOf(g, phase, m)
	for side, values := range map[**Side][]value{&row.Base: a, &row.New: b} {
		if values != nil {
			median, ci := summarise(numbers(values), 1-c.opt.Alpha)
			*side = &Side{Runs: len(values), Median: median, Interval: ci}
			row.Unit = values[0].unit
		}
	}
	if why := cmp.Or(whyA, whyB); why != "" {
		row.Reason = why
		return row
	}
	for _, v := range slices.Concat(a, b) {
		if v.unit != row.Unit {
			row.Reason = fmt.Sprintf("units differ: %s and %s", row.Unit, v.unit)
			row.Unit = ""
			return row
		}
	}
	if why := c.otherWork(phase, m.tag, base, g); why != "" {
		row.Reason = why
		return row
	}
	c.estimate(&row, m, a, b, phase, g)
	c.conclude(&row, len(a), len(b))
	return row
}

func numbers(values []value) (out []float64) {
	for _, v := range values {
		out = append(out, v.v)
	}
	return out
}

// sameShare is how far durations and numbers of requests may be apart and be the same.
const sameShare = 0.01

// otherWork says that a metric which grows with the duration is of phases that differ in
// it and in what they did.
func (c *comparer) otherWork(phase, tag string, base, g Group) string {
	if !extensive(tag) || slices.Contains(c.opt.Ignore, "duration") {
		return ""
	}
	seconds := func(ph *reduce.Phase) float64 {
		if ph.DurationSeconds == nil {
			return math.NaN()
		}
		return *ph.DurationSeconds
	}
	requests := func(ph *reduce.Phase) float64 {
		if ph.Requests == nil {
			return math.NaN()
		}
		return float64(ph.Requests.Succeeded)
	}
	median := func(g Group, of func(*reduce.Phase) float64) float64 {
		var all []float64
		for i := range g.Runs {
			v := of(g.Runs[i].phase(phase))
			if math.IsNaN(v) {
				return v
			}
			all = append(all, v)
		}
		m, _ := summarise(all, 0.5)
		return m
	}
	near := func(a, b float64) bool { return math.Abs(a-b) <= sameShare*max(a, b) }
	a, b := median(base, seconds), median(g, seconds)
	x, y := median(base, requests), median(g, requests)
	if near(a, b) || near(x, y) {
		return ""
	}
	why := fmt.Sprintf("the durations differ, %.4g s and %.4g s", a, b)
	if !math.IsNaN(x) && !math.IsNaN(y) {
		why += fmt.Sprintf(", and so do the requests, %.0f and %.0f", x, y)
	}
	return why + " (--ignore duration)"
}

// estimate fills in the changes, their intervals and p.
func (c *comparer) estimate(row *Row, m metric, a, b []value, phase string, g Group) {
	x, y := numbers(a), numbers(b)
	positive := !slices.ContainsFunc(slices.Concat(x, y), func(v float64) bool { return v <= 0 })
	shared, own := c.sensors(row, m, a, b, phase, g)
	var diff Estimate
	if c.opt.Paired {
		var p float64
		if positive {
			var r Estimate
			p, r.Value, r.Random = paired(x, y, true, c.opt.Alpha)
			row.Ratio = &r
			_, diff.Value, diff.Random = paired(x, y, false, c.opt.Alpha)
		} else {
			p, diff.Value, diff.Random = paired(x, y, false, c.opt.Alpha)
		}
		row.P = &p
	} else {
		if positive {
			var r Estimate
			r.Value, r.Random = unpaired(x, y, ratio, c.opt.Alpha)
			row.Ratio = &r
		}
		diff.Value, diff.Random = unpaired(x, y, difference, c.opt.Alpha)
		p := unpairedP(x, y)
		row.P = &p
	}
	row.Difference = &diff
	if !enough(len(x), len(y), c.opt.Paired, c.opt.Alpha) {
		row.P = nil
	}
	if len(a) == 1 && len(b) == 1 && a[0].uncertain && b[0].uncertain {
		measured(row, a[0], b[0], c.opt.Alpha)
	}
	if row.Ratio != nil {
		row.Ratio.Sensors = float64(row.Ratio.Value * shared)
		row.Ratio.widen(c.opt.Alpha)
	}
	// Of b - a, with a = r b: what is shared stretches the difference, the rest moves b.
	s, o := float64(row.New.Median*shared), float64(diff.Value*own)
	diff.Sensors = math.Sqrt(float64(s*s) + float64(o*o))
	diff.widen(c.opt.Alpha)
}

// measured sets the intervals that the random uncertainty of two single measurements
// gives.
func measured(row *Row, a, b value, alpha float64) {
	z := quantile(alpha)
	sigma := math.Sqrt(float64(a.random*a.random) + float64(b.random*b.random))
	d := row.Difference
	d.Random = &Interval{d.Value - float64(z*sigma), d.Value + float64(z*sigma)}
	if r := row.Ratio; r != nil {
		x, y := a.random/a.v, b.random/b.v
		by := z * float64(r.Value*math.Sqrt(float64(x*x)+float64(y*y)))
		r.Random = &Interval{r.Value - by, r.Value + by}
	}
}

// widen sets the interval that has the sensors in it.
func (e *Estimate) widen(alpha float64) {
	if e.Random == nil {
		return
	}
	by := quantile(alpha) * e.Sensors
	if by == 0 {
		e.Total = e.Random
		return
	}
	low, high := e.Value-e.Random.Low, e.Random.High-e.Value
	e.Total = &Interval{
		e.Value - math.Sqrt(float64(low*low)+float64(by*by)),
		e.Value + math.Sqrt(float64(high*high)+float64(by*by)),
	}
}

// sensors returns the standard uncertainties from what is not known of the sensors,
// relative: of the ratio of both sides, and of each by itself. A disagreement of counter
// and power, or whatever else a report has found to be systematic beside the sensors', is
// each report's own.
func (c *comparer) sensors(row *Row, m metric, a, b []value, phase string, g Group) (shared, own float64) {
	relative := func(values []value) float64 {
		sum := 0.0
		for _, v := range values {
			if v.v == 0 {
				return 0
			}
			sum += math.Abs(v.systematic/v.v) / float64(len(values))
		}
		return sum
	}
	ua, ub := relative(a), relative(b)
	if ua == 0 && ub == 0 {
		return 0, 0
	}
	own = max(ua, ub)
	row.Sensors = level(c.groups[0].Runs, g.Runs, phase, m)
	scope := cmp.Or(reduce.ScopeOf(row.Metric), gpu)
	if m.device != nil {
		scope = m.device.key.scope
	}
	without := slices.Contains(net, row.Metric)
	side := func(runs []Run) (gains, bool) {
		var all []gains
		for i := range runs {
			all = append(all, gainsOf(runs[i].Report, runs[i].phase(phase), scope, m))
		}
		return mean(all)
	}
	ga, okA := side(c.groups[0].Runs)
	gb, okB := side(g.Runs)
	if !okA || !okB {
		return math.Sqrt(float64(ua*ua) + float64(ub*ub)), own
	}
	squares := 0.0
	for _, s := range []struct {
		u float64
		g gains
	}{{ua, ga}, {ub, gb}} {
		sensors := differ(nil, s.g, without)
		if rest := float64(s.u*s.u) - float64(sensors*sensors); rest > 1e-3*float64(s.u*s.u) {
			squares += rest
		}
	}
	by := differ(ga, gb, without)
	return math.Sqrt(float64(by*by) + squares), own
}

// conclude says what a row's numbers mean.
func (c *comparer) conclude(row *Row, m, n int) {
	change, none := row.Ratio, 1.0
	if change == nil {
		change, none = row.Difference, 0
	}
	switch {
	case row.P == nil && m == 1 && n == 1:
		row.Reason = fmt.Sprintf("one run of each says nothing of the scatter between runs: %d of each are needed", needed(c.opt.Paired, c.opt.Alpha))
		return
	case row.P == nil:
		row.Reason = fmt.Sprintf("too few runs: %d of each are needed", needed(c.opt.Paired, c.opt.Alpha))
		return
	case *row.P > c.opt.Alpha || !change.Random.excludes(none):
		return
	case !change.Total.excludes(none):
		row.Reason = fmt.Sprintf("the runs differ, but no more than the sensors may (%s)", sensorWords[row.Sensors])
		return
	}
	up := change.Value > none
	switch {
	case row.Better == "":
		row.Result = Differs
	case up == (row.Better == "higher"):
		row.Result = BetterNow
	default:
		row.Result = WorseNow
	}
}

var sensorWords = map[Sensors]string{
	SameDevices: "the same devices, whose reports doubt themselves", SameModel: "other devices of the same model", OtherModels: "devices of other models", "": "unknown devices",
}
