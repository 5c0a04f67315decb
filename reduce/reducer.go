package reduce

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// Span is a window that energy is wanted of, on the common clock.
type Span struct {
	Name        string // unique
	Kind        string // a trace.PhaseKind, "recording" or "window"
	Start       trace.Time
	End         trace.Opt[trace.Time] // unknown when the log broke off
	Concurrency int                   // configured; 0 is unknown
	Handover    bool                  // ends with requests in flight
}

// Options are the choices of a user. The zero value is the default.
type Options struct {
	Windows       []Span        // more windows, which may overlap the phases: of kind "window", with an end
	Every         time.Duration // cut every phase into slices of this length; 0 does not
	ExpectDevices int           // GPUs that should have been seen; 0 takes those of the recording
	// Truth gives what a simulated device has drawn until an instant on the
	// common clock, in microjoules. With it the report compares itself, and the
	// difference of the last readings before each end, with the truth.
	Truth func(device string, at trace.Time) (microjoules uint64, ok bool)
}

// A Reducer computes a report in two passes over the telemetry, as the package
// comment says. It is not safe for concurrent use.
type Reducer struct {
	clock    trace.Clock
	opt      Options
	hasLog   bool
	phases   []*phase
	windows  []*phase // those of kind window, and the slices of all phases
	series   map[seriesKey]*series
	all      []*series // in order of appearance
	gpus     []*series // the chosen series of scope gpu, in order of host and index
	batch    []*series // by device of the batch at hand
	warnings []Warning
}

type seriesKey struct {
	id     string
	scope  sample.Scope
	source sample.SourceName
}

// series is one sensor of one device.
type series struct {
	survey  survey
	chosen  bool
	counter *counter    // nil when the energy is integrated
	power   *powerGauge // nil without a gauge
	gauge   sample.MetricID
}

// New returns a reducer for spans on the clock, which is the one that all times
// are moved to. With hasLog the spans come from a request log; without one
// they must be none, and the whole recording is one phase.
func New(clock trace.Clock, spans []Span, hasLog bool, opt Options) *Reducer {
	r := &Reducer{clock: clock, opt: opt, hasLog: hasLog, series: map[seriesKey]*series{}}
	for i, s := range spans {
		ph := &phase{Span: s}
		ph.arrivals = s.Handover || i > 0 && spans[i-1].Handover
		r.phases = append(r.phases, ph)
	}
	return r
}

// Warn adds a warning that the caller has found while reading.
func (r *Reducer) Warn(code Code, phase, device, format string, args ...any) {
	r.warnings = append(r.warnings, Warning{code, fmt.Sprintf(format, args...), phase, device})
}

// Survey takes a batch in the first pass. offset moves its times to the common
// clock.
func (r *Reducer) Survey(b *sample.Batch, offset time.Duration) {
	r.lookup(b)
	for i := range b.Len() {
		r.batch[b.Device[i]].survey.row(b, i, b.Time[i].Add(offset))
	}
}

// lookup sets r.batch to the series of the batch's devices.
func (r *Reducer) lookup(b *sample.Batch) {
	r.batch = r.batch[:0]
	for _, d := range b.Devices {
		key := seriesKey{d.ID, d.Scope, d.Source}
		s := r.series[key]
		if s == nil {
			s = &series{survey: survey{device: d}}
			r.series[key] = s
			r.all = append(r.all, s)
		}
		r.batch = append(r.batch, s)
	}
}

// Start ends the first pass: it chooses the source and method of each device.
func (r *Reducer) Start() {
	r.choose()
	if !r.hasLog {
		r.recording()
	}
	r.cut()
	instants := r.instants()
	for _, s := range r.all {
		if !s.chosen {
			continue
		}
		if s.survey.hasCounter() {
			s.counter = newCounter(instants, &s.survey)
		}
		if gauge, ok := s.survey.gauge(); ok {
			s.gauge = gauge
			s.power = newPowerGauge(instants, s.survey.sensor(), s.survey.poll(), s.survey.power[gauge].max, s.survey.maxPowerGap())
		}
	}
}

// choose picks one source of every device and scope: the one that was read
// most often, then nvml before dcgm before others.
func (r *Reducer) choose() {
	rank := func(s *series) int {
		return slices.Index([]sample.SourceName{sample.DCGM, sample.NVML}, s.survey.device.Source)
	}
	best := map[seriesKey]*series{}
	for _, s := range r.all {
		key := seriesKey{id: s.survey.device.ID, scope: s.survey.device.Scope}
		old := best[key]
		if old == nil || s.survey.poll() < old.survey.poll() && s.survey.rows > 1 ||
			s.survey.poll() == old.survey.poll() && rank(s) > rank(old) {
			best[key] = s
		}
	}
	for _, s := range r.all {
		key := seriesKey{id: s.survey.device.ID, scope: s.survey.device.Scope}
		s.chosen = best[key] == s
		if s.chosen && key.scope == sample.ScopeGPU {
			r.gpus = append(r.gpus, s)
		}
	}
	slices.SortStableFunc(r.gpus, func(a, b *series) int {
		x, y := a.survey.device, b.survey.device
		return cmp.Or(cmp.Compare(x.Host, y.Host), cmp.Compare(x.Index, y.Index), cmp.Compare(x.ID, y.ID))
	})
}

// recording makes the whole recording one phase: as far as every device that
// has any energy at all is covered.
func (r *Reducer) recording() {
	from, to, any := trace.Time(math.MinInt64), trace.Time(math.MaxInt64), false
	for _, s := range r.gpus {
		if a, b, ok := s.survey.span(); ok {
			from, to, any = max(from, a), min(to, b), true
		}
	}
	if !any || to <= from {
		r.Warn(WarnNotBracketed, "", "", "the recording is too short for any energy: no GPU shows two changes of its counter, or two readings of power that span its lag")
		return
	}
	r.phases = []*phase{{Span: Span{Name: "recording", Kind: "recording", Start: from, End: trace.Some(to)}}}
}

// cut makes the slices of the phases, and the windows that were asked for.
func (r *Reducer) cut() {
	for _, ph := range r.phases {
		end, ok := ph.End.Get()
		if !ok || r.opt.Every <= 0 {
			continue
		}
		for start := ph.Start; start < end; start = start.Add(r.opt.Every) {
			slice := &phase{arrivals: true, window: true, quiet: true, Span: Span{
				Name: strconv.Itoa(len(ph.slices) + 1), Kind: "window", Start: start,
				End: trace.Some(min(end, start.Add(r.opt.Every))), Concurrency: ph.Concurrency,
			}}
			ph.slices = append(ph.slices, slice)
			r.windows = append(r.windows, slice)
		}
	}
	for _, s := range r.opt.Windows {
		s.Kind = "window"
		w := &phase{Span: s, arrivals: true, window: true}
		r.windows = append(r.windows, w)
		r.phases = append(r.phases, w)
	}
}

// instants returns the ends of all windows, in order, each once.
func (r *Reducer) instants() []trace.Time {
	var list []trace.Time
	for _, ph := range slices.Concat(r.phases, r.windows) {
		list = append(list, ph.Start)
		if end, ok := ph.End.Get(); ok {
			list = append(list, end)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Telemetry takes a batch in the second pass.
func (r *Reducer) Telemetry(b *sample.Batch, offset time.Duration) {
	r.lookup(b)
	for i := range b.Len() {
		s := r.batch[b.Device[i]]
		if !s.chosen {
			continue
		}
		at := b.Time[i].Add(offset)
		if s.counter != nil {
			if v, ok := b.Float(sample.EnergyJoules, i); ok {
				s.counter.read(at, b.Took[i], v)
			}
		}
		if s.power != nil {
			if v, ok := b.Float(s.gauge, i); ok && s.survey.plausible(v) {
				s.power.read(at, b.Took[i], v)
			}
		}
	}
}

// Report ends the second pass.
func (r *Reducer) Report() *Report {
	for _, s := range r.all {
		if s.counter != nil {
			s.counter.end()
		}
		if s.power != nil {
			s.power.end()
		}
	}
	rep := &Report{Schema: Schema, Inputs: []Input{}, Phases: []Phase{}}
	r.warnDevices()
	r.warnOverlaps()
	for _, ph := range r.phases {
		rep.Phases = append(rep.Phases, r.phaseReport(ph))
	}
	rep.Warnings = r.warnings
	if rep.Warnings == nil {
		rep.Warnings = []Warning{}
	}
	return rep
}

// warnDevices warns of what holds for the whole recording.
func (r *Reducer) warnDevices() {
	simulated := 0
	for _, s := range r.gpus {
		d := s.survey.device
		if d.Simulated {
			simulated++
		}
		if d.MIG {
			r.Warn(WarnMIG, "", d.ID, "%s is partitioned (MIG): its energy is the whole board's, so nothing is said per token", deviceName(d))
		}
		if n := s.survey.implausible; n > 0 {
			r.Warn(WarnImplausible, "", d.ID, "%s: %s of power that the device cannot draw left out", deviceName(d), plural(int(n), "reading is", "readings are"))
		}
		r.warnSensor(s)
		c := s.counter
		if c == nil {
			continue
		}
		if c.resets > 0 {
			r.Warn(WarnReset, "", d.ID, "%s: the energy counter fell %s; the parts before and after are added", deviceName(d), times(c.resets))
		}
		if c.jumps > 0 {
			r.Warn(WarnJump, "", d.ID, "%s: the energy counter rose %s by more than the device can draw; that part is left out", deviceName(d), times(c.jumps))
		}
		if c.disordered > 0 {
			r.Warn(WarnDisordered, "", d.ID, "%s: %d readings are not in order of time and were left out", deviceName(d), c.disordered)
		}
	}
	if simulated > 0 {
		r.Warn(WarnSimulated, "", "", "%d of %s simulated: these figures are no measurement", simulated, plural(len(r.gpus), "GPU is", "GPUs are"))
	}
}

// warnOverlaps warns of phases that share time, as those of two logs can: the
// phases of one run do not.
func (r *Reducer) warnOverlaps() {
	for i, a := range r.phases {
		for _, b := range r.phases[:i] {
			if a.window || b.window {
				continue
			}
			endA, okA := a.End.Get()
			endB, okB := b.End.Get()
			if okA && okB && a.Start < endB && b.Start < endA {
				r.Warn(WarnOverlap, a.Name, "", "it overlaps %s: each of them has all the energy of the time that they share", b.Name)
			}
		}
	}
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// deviceName says which device, for people.
func deviceName(d sample.Device) string {
	if d.Host == "" {
		return fmt.Sprintf("GPU %d", d.Index)
	}
	return fmt.Sprintf("%s GPU %d", d.Host, d.Index)
}
