package reduce

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"wattrace/reduce/attribute"
	"wattrace/sample"
	"wattrace/trace"
)

// Span is a window that energy is wanted of, on the common clock.
type Span struct {
	Name        string // unique
	Kind        string // a trace.PhaseKind, "recording" or "window"
	Start       trace.Time
	End         trace.Opt[trace.Time] // unknown when the log broke off
	EdgeSpread  [2]time.Duration      // by which Start and End may be wrong, each for itself and either way
	Concurrency int                   // configured users, or of an open loop the most at once; 0 is unknown or none
	Handover    bool                  // ends with requests in flight
	Open        bool                  // requests were due by a schedule, whether or not earlier ones had ended
	Gated       bool                  // what was due waited where too many were in flight, or in their prefill
	// Unplaced is that it is not known when the requests were sent: all are given as sent
	// at Start, which nothing but counts, latencies and rates may be made from. Start and
	// End themselves may be known all the same.
	Unplaced bool
	Totals   *Totals                  // of a phase without single requests; nil is none
	Stated   trace.Opt[time.Duration] // how long it was, as the tool that ran it says
	Archive  *Archive                 // what aiperf, whose log it is of, says of it; nil is nothing
	// Doubles is that the tool keeps the instants of its requests as doubles in Unix seconds.
	Doubles bool
	// Metered is what trtllm-serve's own meter said before and after the phase; unknown is
	// that nobody asked it.
	Metered trace.Opt[Metered]
	// Published are figures that other tools wrote of the phase.
	Published []Published
}

// Totals are what is known of the requests of a phase together.
type Totals struct {
	Succeeded, Failed int64
	Input, Output     trace.Opt[int64] // tokens of those that succeeded
}

// A Reducer computes a report in two passes over the telemetry and two over the
// requests, as the package comment says. It is not safe for concurrent use; see
// Splitter.
type Reducer struct {
	clock     trace.Clock
	opt       Options
	sensors   SensorTable
	hasLog    bool
	started   bool
	settled   bool
	phases    []*phase
	windows   []*phase              // those of kind window, and the windows of all phases
	head      *phase                // of the recording, at rest; nil is not asked for
	timeline  timeline              // phases and windows, for requests
	load      *activity             // of the whole run; nil without a log, or for a very long one
	edges     []trace.Time          // the ends of all windows, and of what may become one
	followed  []trace.Time          // where cells follow the curves: what is not asked for, and what clocks may make of it
	grid      *attribute.Grid       // of cells and split
	cells     *cells                // nil without GPUs
	split     *attribute.Attributor // nil where there is nothing to split
	idleWatts trace.Opt[float64]    // that split took off
	targets   map[int]bool          // servers that requests of a log went to
	series    map[seriesKey]*series
	heirs     map[seriesKey][]*series // of all recordings of one sensor, in order of appearance
	all       []*series               // in order of appearance
	gpus      []*series               // the chosen series of scope gpu, in order of host and index
	others    []*series               // the chosen series of other scopes, likewise
	servers   []*series               // of scope server, likewise; those with energy are among the others, too
	twins     twins                   // module sensors that may be one
	tools     others
	batch     []*series // by device of the batch at hand; nil is what has no power
	marked    []Span    // phases of a recording without a log
	outside   []*phase  // of a recording with marks, the time outside of its phases
	holes     []Hole
	xids      []xid
	warnings  []Warning
	clients   map[int][]ClientReading // by run, in order of time
	kept      kept                    // of the request at hand
	course    *Course                 // nil is not asked for
}

type seriesKey struct {
	id        string
	scope     sample.Scope
	source    sample.SourceName
	recording int
}

// series is one sensor of one device.
type series struct {
	survey       survey
	spread       time.Duration // the recording's times may be wrong by this, either way
	member       *Member       // what the topology says of it; nil is nothing
	chosen       bool
	countsTokens bool
	counter      *counter    // nil without one
	power        *powerGauge // nil without a gauge
	gauge        sample.MetricID
	source       EnergySource  // which of both gives the energy
	fixes        [2]calibrated // of the counter and of the gauge
	sharers      []int         // numbers of the devices that report the same module
	slow         slow
	tokens       *tokenTrack // nil without a counter of tokens
	course       *CourseDevice
}

// New returns a reducer for spans on the clock, which is the one that all times
// are moved to. With hasLog the spans come from a request log; without one
// they must be none: the phases are those of [Reducer.Marked], else the whole
// recording is one.
func New(clock trace.Clock, spans []Span, hasLog bool, opt Options) *Reducer {
	r := &Reducer{clock: clock, opt: opt, hasLog: hasLog, series: map[seriesKey]*series{}, heirs: map[seriesKey][]*series{}, targets: map[int]bool{}, tools: others{names: opt.Peers}}
	r.sensors = append(slices.Clone(opt.Sensors), Sensors()...)
	for i, s := range spans {
		ph := &phase{Span: s}
		ph.takeTotals()
		ph.arrivals = s.Handover || i > 0 && spans[i-1].Handover
		if end, ok := s.End.Get(); ok && end > s.Start && !s.Unplaced {
			ph.activity = newActivity(s.Start, end)
		}
		r.phases = append(r.phases, ph)
	}
	r.timeline = newTimeline(r.phases)
	r.load = newLoad(r.phases)
	if hasLog {
		r.cut()
		r.grid = attribute.NewGrid(r.gridEdges(), attribute.DefaultStep)
	}
	return r
}

// Warn adds a warning that the caller has found while reading.
func (r *Reducer) Warn(code Code, phase, device, format string, args ...any) {
	r.warnings = append(r.warnings, Warning{code, fmt.Sprintf(format, args...), phase, device})
}

// Survey takes a batch in the first pass over the telemetry.
func (r *Reducer) Survey(b *sample.Batch, from Recording) {
	r.lookup(b, from)
	for _, s := range r.batch {
		if s != nil {
			s.survey.driver = from.Driver
			s.spread = max(s.spread, from.Spread)
		}
	}
	for i := range b.Len() {
		s := r.batch[b.Device[i]]
		if s == nil {
			continue
		}
		at := b.Time[i].Add(from.Offset)
		s.survey.row(b, i, at)
		if _, ok := b.Uint(sample.GenerationTokens, i); ok {
			s.countsTokens = true
		}
		if s.survey.device.Scope == sample.ScopeModule {
			r.twins.row(s, b, i, at)
		}
	}
}

// lookup sets r.batch to the series of the batch's devices.
func (r *Reducer) lookup(b *sample.Batch, from Recording) {
	r.batch = r.batch[:0]
	for i, d := range b.Devices {
		if d.Scope == sample.ScopeRun {
			r.batch = append(r.batch, nil)
			continue
		}
		key := seriesKey{d.ID, d.Scope, d.Source, from.Number}
		s := r.series[key]
		if s == nil {
			if s = r.heir(key, d, firstRow(b, i), from.Offset); s != nil {
				r.series[key] = s
			}
		}
		r.batch = append(r.batch, s)
	}
}

// firstRow returns when the first row of a device is.
func firstRow(b *sample.Batch, device int) trace.Opt[trace.Time] {
	for i, d := range b.Device {
		if int(d) == device {
			return trace.Some(b.Time[i])
		}
	}
	return trace.Opt[trace.Time]{}
}

// heir returns what a recording adds to of a sensor. One that goes on where another
// has ended adds to the same series; two that overlap in time are two sources of the
// device, of which one is chosen. It is nil while the recording has no row of a sensor
// that is known.
func (r *Reducer) heir(key seriesKey, d sample.Device, first trace.Opt[trace.Time], offset time.Duration) *series {
	sensor := key
	sensor.recording = 0
	at, ok := first.Get()
	if !ok && len(r.heirs[sensor]) > 0 {
		return nil
	}
	for _, s := range r.heirs[sensor] {
		if !s.survey.hasLast || s.survey.last < at.Add(offset) {
			return s
		}
	}
	s := &series{survey: survey{device: d, sensors: r.sensors}}
	r.heirs[sensor] = append(r.heirs[sensor], s)
	r.all = append(r.all, s)
	return s
}

// SurveyRequest takes one request that ended, of the phase with that index, in
// the first pass over the log, in the order of the log; see also WeighRequest. offset
// moves its times to the common clock.
func (r *Reducer) SurveyRequest(phase int, q *trace.Request, offset time.Duration) {
	r.targets[q.Target] = true
	ph := r.phases[phase]
	sent, done := q.Sent.Add(offset), q.Done.Add(offset)
	// A phase that its requests outlast was not drained, whatever its plan says:
	// its tokens are counted where they arrived, and so are those of the phases after
	// it that they reach into.
	if end, ok := ph.End.Get(); ok && done > end && !ph.Unplaced {
		ph.arrivals = true
		for other := range r.timeline.overlapping(end, done) {
			if other != ph && other.Start >= end && other.Start < done {
				other.arrivals = true
			}
		}
	}
	outputs := q.Outputs()
	for other := range r.timeline.overlapping(sent, done) {
		if other.activity != nil {
			other.activity.add(q, outputs, offset)
		}
	}
	if r.load != nil {
		r.load.add(q, outputs, offset)
	}
	if len(r.tools.names) > 0 && !ph.Unplaced {
		r.tools.surveyRequest(ph, q, offset)
	}
	ph.surveyed++
	if r.opt.Steady == SteadyMLEnergy {
		if q.FirstToken.OK {
			ph.firsts = append(ph.firsts, q.FirstToken.V.Add(offset))
		}
		ph.dones = append(ph.dones, done)
	}
}

// Start ends the first passes: it chooses the source and method of each device,
// and all windows but the steady ones. It refuses slices that would take too much
// memory, with a [SlicesError], and then there is no second pass.
func (r *Reducer) Start() error {
	r.started = true
	r.choose()
	switch {
	case r.hasLog:
	case r.marked != nil:
		r.markedPhases()
	default:
		r.recording()
	}
	if err := r.tooMany(); err != nil {
		return err
	}
	r.headAtRest()
	for _, ph := range r.phases {
		if ph.activity != nil {
			ph.activity.settle()
			r.loadWindows(ph)
		}
	}
	if r.load != nil {
		r.load.settle()
	}
	if !r.hasLog {
		r.cut()
		r.grid = attribute.NewGrid(r.gridEdges(), attribute.DefaultStep)
	}
	if r.opt.Course > 0 {
		r.course = r.newCourse()
	}
	r.edges = inOrder(slices.Concat(r.ends(true), r.bounds(), r.course.instants()))
	r.followed = inOrder(slices.Concat(r.ends(false), r.bounds(), shifted(r.ends(false), r.spreads()...)))
	if len(r.gpus) > 0 {
		r.cells = newCells(r.grid)
	}
	for _, s := range slices.Concat(r.gpus, r.others) {
		r.start(s)
	}
	for _, s := range r.servers {
		s.tokens = &tokenTrack{edges: r.edges}
	}
	r.share()
	r.warnCalibrations()
	r.tools.start(r)
	return nil
}

// start makes the curves of one series.
func (r *Reducer) start(s *series) {
	s.course = &CourseDevice{}
	instants := slices.Concat(r.edges, r.followed, r.uncertain())
	if s.spread > 0 {
		instants = slices.Concat(instants, shifted(r.ends(true), s.spread), r.uncertain(s.spread))
	}
	instants = inOrder(instants)
	if s.survey.hasCounter() {
		s.counter = newCounter(instants, &s.survey)
		if r.opt.Truth != nil {
			s.counter.lastBefore = make([]trace.Opt[float64], len(instants))
		}
		s.fixes[0] = r.calibration(s, sample.EnergyJoules)
	}
	if gauge, ok := s.survey.gauge(); ok {
		s.gauge = gauge
		s.fixes[1] = r.calibration(s, gauge)
		s.power = newPowerGauge(instants, s.survey.sensor(), s.survey.poll(), s.survey.power[gauge].max, s.survey.maxPowerGap())
	}
	s.source = r.opt.EnergySource
	if s.source == SourceAuto {
		s.source = SourceCounter
		if s.counter == nil {
			s.source = SourcePower
		}
	}
	if c, f := s.curve(s.source); c != nil && s.survey.device.Scope == sample.ScopeGPU {
		c.fill = &filler{cells: r.cells, fix: f.fix, edges: r.followed}
		r.cells.devices++
	}
}

// curve returns the curve of one method, and how its figures are to be read; nil
// where the device does not have it.
func (s *series) curve(by EnergySource) (*curve, calibrated) {
	switch {
	case by == SourceCounter && s.counter != nil:
		return s.counter.curve, s.fixes[0]
	case by == SourcePower && s.power != nil:
		return s.power.result(), s.fixes[1]
	}
	return nil, calibrated{}
}

// method says how the device's energy is had by a method.
func (s *series) method(by EnergySource) string {
	if by == SourceCounter {
		return s.survey.energyMethod()
	}
	return s.survey.integralMethod()
}

// other returns the method that does not give the energy.
func (s *series) other() EnergySource {
	if s.source == SourceCounter {
		return SourcePower
	}
	return SourceCounter
}

// recording makes the whole recording one phase: as far as every device that
// has any energy at all is covered.
func (r *Reducer) recording() {
	from, to, ok := r.covered()
	if !ok {
		r.Warn(WarnNotBracketed, "", "", "the recording is too short for any energy: no device shows two changes of its counter, or two readings of power that span its lag")
		return
	}
	r.phases = []*phase{{Span: Span{Name: "recording", Kind: "recording", Start: from, End: trace.Some(to)}}}
}

// covered returns the time that every GPU that has any energy covers; of a recording
// without GPUs, every other sensor.
func (r *Reducer) covered() (from, to trace.Time, ok bool) {
	from, to = math.MinInt64, math.MaxInt64
	list := r.gpus
	if len(list) == 0 {
		list = r.others
	}
	for _, s := range list {
		if a, b, any := s.survey.span(); any {
			from, to, ok = max(from, a), min(to, b), true
		}
	}
	return from, to, ok && to > from
}

// cut makes the slices of the phases, and the windows that were asked for. Slices that
// Start will refuse are not made.
func (r *Reducer) cut() {
	slices := r.tooMany() == nil
	for _, ph := range r.phases {
		end, ok := ph.End.Get()
		if !ok || r.opt.Every <= 0 || !slices {
			continue
		}
		for start := ph.Start; start < end; start = start.Add(r.opt.Every) {
			slice := &phase{arrivals: true, window: true, quiet: true, slice: true, Span: Span{
				Name: strconv.Itoa(len(ph.slices) + 1), Kind: "window", Start: start,
				End: trace.Some(min(end, start.Add(r.opt.Every))), Concurrency: ph.Concurrency,
			}}
			if start == ph.Start {
				slice.EdgeSpread[0] = ph.EdgeSpread[0]
			}
			if slice.End.V == end {
				slice.EdgeSpread[1] = ph.EdgeSpread[1]
			}
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

// ends returns the ends of windows and of what may become one before the requests come
// again; of those that were asked for and of slices only if they are wanted.
func (r *Reducer) ends(asked bool) (list []trace.Time) {
	add := func(windows ...*phase) {
		for _, w := range windows {
			list = append(list, w.Start)
			if end, ok := w.End.Get(); ok {
				list = append(list, end)
			}
		}
	}
	for _, ph := range r.phases {
		if asked || !ph.window {
			add(ph)
		}
		add(ph.windows...)
		if asked {
			add(ph.slices...)
		}
	}
	if r.head != nil {
		add(r.head)
	}
	add(r.outside...)
	return list
}

// bounds returns the instants between which steady windows are looked for.
func (r *Reducer) bounds() (list []trace.Time) {
	for _, ph := range r.phases {
		if ph.activity != nil && ph.Kind == string(trace.Measure) {
			list = append(list, ph.activity.bounds()...)
		}
	}
	return list
}

// spreads returns by how much clocks may be wrong, each once.
func (r *Reducer) spreads() (list []time.Duration) {
	for _, s := range slices.Concat(r.gpus, r.others) {
		if s.spread > 0 && !slices.Contains(list, s.spread) {
			list = append(list, s.spread)
		}
	}
	return list
}

// shifted returns instants moved by what clocks may be wrong.
func shifted(instants []trace.Time, spreads ...time.Duration) (list []trace.Time) {
	for _, spread := range spreads {
		for _, d := range shifts(spread) {
			for _, t := range instants {
				list = append(list, t.Add(d))
			}
		}
	}
	return list
}

// inOrder sorts instants, and leaves each once.
func inOrder(list []trace.Time) []trace.Time {
	slices.Sort(list)
	return slices.Compact(list)
}

// shifts are the offsets at which a window is tried whose clock may be wrong by
// spread: power between two of them has moved little enough.
func shifts(spread time.Duration) []time.Duration {
	return []time.Duration{-spread, -spread / 2, spread / 2, spread}
}

// Telemetry takes a batch in the second pass over the telemetry.
func (r *Reducer) Telemetry(b *sample.Batch, from Recording) {
	r.lookup(b, from)
	for i := range b.Len() {
		s := r.batch[b.Device[i]]
		if s == nil {
			continue
		}
		at := b.Time[i].Add(from.Offset)
		if code, ok := b.Uint(sample.XIDError, i); ok {
			r.xids = append(r.xids, xid{at, code, s.survey.device})
		}
		if len(r.tools.peers) > 0 {
			r.tools.read(s, b, i, at, from.Stamp)
		}
		if !s.chosen {
			continue
		}
		if s.tokens != nil {
			if n, ok := b.Uint(sample.GenerationTokens, i); ok {
				s.tokens.take(at.Add(b.Took[i]/2), n)
			}
		}
		if s.counter != nil {
			if v, ok := b.Float(sample.EnergyJoules, i); ok {
				s.counter.read(at, b.Took[i], v)
			}
		}
		if s.power != nil {
			if v, ok := b.Float(s.gauge, i); ok && s.survey.plausible(v) {
				s.power.read(at, b.Took[i], v)
				if r.course != nil {
					s.reading(r.course, at.Add(b.Took[i]/2), v)
				}
			}
		}
		s.slow.read(b, i, at, r.edges)
	}
}

// settle ends the second pass over the telemetry, once: with the energy known, the
// steady windows are found, before the requests come for the second time.
func (r *Reducer) settle() {
	if r.settled {
		return
	}
	r.settled = true
	for _, s := range slices.Concat(r.gpus, r.others) {
		if s.counter != nil {
			s.counter.end()
			s.counter.curve.fix(s.fixes[0].fix)
		}
		if s.power != nil {
			s.power.end()
			s.power.result().fix(s.fixes[1].fix)
		}
		s.slow.end()
	}
	for _, ph := range r.phases {
		r.steady(ph)
	}
	var all []*phase
	for _, ph := range r.phases {
		all = append(append(append(all, ph), ph.windows...), ph.slices...)
	}
	r.timeline = newTimeline(all)
	r.settleAttribution()
}

// Report ends the second passes. The slices of its phases are made when they are asked
// for: the Reducer takes nothing more from then on.
func (r *Reducer) Report() *Report {
	r.settle()
	rep := &Report{Schema: Schema, Inputs: []Input{}, Phases: []Phase{}, Attribution: r.attribution()}
	for _, s := range slices.Concat(r.gpus, r.others) {
		rep.Devices = append(rep.Devices, s.device())
	}
	r.warnDevices()
	if r.hasLog && !slices.ContainsFunc(r.phases, func(ph *phase) bool { return !ph.window }) {
		r.Warn(WarnNoPhase, "", "", "the request log has no phase: nothing is said of its time")
	}
	r.warnOverlaps()
	r.warnShifted()
	r.warnOutside()
	r.warnEvents()
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
	for _, s := range slices.Concat(r.gpus, r.others) {
		d := s.survey.device
		if d.Simulated && d.Scope == sample.ScopeGPU {
			simulated++
		}
		if d.MIG && !r.opt.MIG {
			r.Warn(WarnMIG, "", d.ID, "%s is partitioned (MIG): its energy is the whole board's, so nothing is said per token", deviceName(d))
		}
		if n := s.survey.implausible; n > 0 {
			r.Warn(WarnImplausible, "", d.ID, "%s: %s of power that the device cannot draw left out", deviceName(d), plural(int(n), "reading is", "readings are"))
		}
		for _, g := range slowGauges {
			if n := s.slow.implausible[g.id]; n > 0 {
				r.Warn(WarnImplausible, "", d.ID, "%s: %s of %s left out, since it cannot be so much or so little", deviceName(d), plural(int(n), "reading is", "readings are"), sample.Metrics[g.id].Name)
			}
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
	what := "GPU"
	if d.Scope != sample.ScopeGPU && d.Scope != "" {
		what = strings.ReplaceAll(string(d.Scope), "_", " ")
	}
	if d.Host == "" {
		return fmt.Sprintf("%s %d", what, d.Index)
	}
	return fmt.Sprintf("%s %s %d", d.Host, what, d.Index)
}
