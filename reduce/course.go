package reduce

import (
	"math"
	"slices"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// Course is a run over time, in steps of one length: what a plot is drawn from. Sums are
// kept at the ends of the steps in the whole units of a report, so that the difference
// of two of them is what a window between both instants has.
type Course struct {
	Origin  trace.Time // on the common clock
	Unix    int64      // of Origin, nanoseconds: a multiple of Step; 0 is without a wall clock
	Step    time.Duration
	Steps   int
	Phases  []CoursePhase
	Devices []CourseDevice // GPUs, in the order of the report, then other scopes

	HasLog  bool
	Output  []int64 // output tokens that arrived until the end of each step, in millionths; one more than Steps
	Unknown []bool  // by step: of a request it is not known how many tokens of it arrived in it
	Busy    []int64 // by step: nanoseconds of requests in flight
	Sent    []int64 // by step: requests that were sent

	Requests []CourseRequest // in the order of the log
	Thinned  int             // of so many requests one is among Requests; 1 is all of them
	Lanes    int             // that Requests take

	Spreads []Spread
}

// CoursePhase is a phase, or a window that was asked for.
type CoursePhase struct {
	Name, Kind string
	Start      trace.Time
	End        trace.Opt[trace.Time]
}

// CourseDevice is one device over time.
type CourseDevice struct {
	Device, Host, Name, Role string
	Index                    int
	Scope                    sample.Scope
	Method                   string // of the energy; "" is none
	PowerMethod              string // of the gauge; "" is none
	Sensor                   *SensorDoubt

	// At the ends of the steps, one more than Steps; nil without energy.
	Energy  []int64 // microjoules until then
	Covered []int64 // nanoseconds that readings cover until then
	Inside  []bool  // readings bracket it

	// The readings of the gauge in each step, as they were read; NaN is none. nil without a gauge.
	Low, High []float64 // the least and the most, W
	Falling   []bool    // the most came before the least

	Limit     []float64 // mean power limit by step, W; NaN is unknown; nil is nowhere known
	Throttled []float64 // share of each step in which clocks were held down; nil is never, or not known
}

// CourseRequest is a request of a log.
type CourseRequest struct {
	Sent       trace.Time
	FirstToken trace.Opt[trace.Time]
	Done       trace.Time
	Outcome    trace.Outcome
	Lane       int // no two requests of one lane overlap
}

// Spread is how the values of a phase's requests are spread.
type Spread struct {
	Phase, Tag, Unit string
	Count            int
	Values           []float64 // percentiles 0, 1, ..., 100 of type 7
}

// courseRequests is how many requests a Course has at most.
const courseRequests = 20_000

// Of more devices than manyDevices a Course has fewer steps, but fewSteps at least.
const manyDevices, fewSteps = 16, 1000

// leastStep is the shortest step of a Course.
const leastStep = 10 * time.Millisecond

// courseStep returns 1, 2 or 5 times a power of ten of which no more than so many steps take
// a length.
func courseStep(length time.Duration, steps int, least time.Duration) time.Duration {
	for scale := time.Duration(time.Millisecond); ; scale *= 10 {
		for _, n := range []time.Duration{1, 2, 5} {
			if step := n * scale; step >= least && int64(length/step) < int64(steps) {
				return step
			}
		}
	}
}

// newCourse lays out the steps, when the surveys have ended; nil where nothing has a place
// in time.
func (r *Reducer) newCourse() *Course {
	from, to, poll := r.courseSpan()
	if to <= from {
		return nil
	}
	c := &Course{HasLog: r.hasLog, Thinned: 1}
	steps := r.opt.Course
	if n := len(r.gpus) + len(r.others); n > manyDevices { // what is kept stays about the same
		steps = max(steps*manyDevices/n, min(steps, fewSteps))
	}
	c.Step = courseStep(to.Sub(from), steps, max(leastStep, poll/2))
	before := int64(from) % int64(c.Step)
	if anchor := r.clock.Anchor.UnixNanos; anchor != 0 {
		before = (anchor%int64(c.Step) + before) % int64(c.Step)
	}
	if before < 0 {
		before += int64(c.Step)
	}
	c.Origin = from - trace.Time(before)
	if anchor := r.clock.Anchor.UnixNanos; anchor != 0 {
		c.Unix = anchor + int64(c.Origin)
	}
	c.Steps = int((to.Sub(c.Origin) + c.Step - 1) / c.Step)
	if c.HasLog {
		c.Output, c.Unknown = make([]int64, c.Steps+1), make([]bool, c.Steps)
		c.Busy, c.Sent = make([]int64, c.Steps), make([]int64, c.Steps)
	}
	return c
}

// courseSpan returns the time that a Course has: the phases with a margin as far as there
// is telemetry, without a log all telemetry; and the median time between readings.
func (r *Reducer) courseSpan() (from, to trace.Time, poll time.Duration) {
	from, to = math.MaxInt64, math.MinInt64
	for _, s := range slices.Concat(r.gpus, r.others) {
		if a, b, ok := s.survey.span(); ok {
			from, to = min(from, a), max(to, b)
		}
		if p := s.survey.poll(); poll == 0 || p < poll {
			poll = p
		}
	}
	if !r.hasLog {
		return from, to, poll
	}
	first, last := trace.Time(math.MaxInt64), trace.Time(math.MinInt64)
	for _, ph := range r.phases {
		if ph.Unplaced || ph.window {
			continue
		}
		first, last = min(first, ph.Start), max(last, ph.End.Or(ph.Start))
		if !ph.End.OK {
			last = max(last, to)
		}
	}
	if first > last {
		return 0, 0, poll
	}
	margin := max(5*time.Second, last.Sub(first)/20)
	return max(first.Add(-margin), min(first, from)), min(last.Add(margin), max(last, to)), poll
}

// at returns the end of a step; at 0 the course begins.
func (c *Course) at(i int) trace.Time { return c.Origin.Add(time.Duration(i) * c.Step) }

// instants returns the ends of all steps.
func (c *Course) instants() []trace.Time {
	if c == nil {
		return nil
	}
	list := make([]trace.Time, c.Steps+1)
	for i := range list {
		list[i] = c.at(i)
	}
	return list
}

// step returns the step that an instant is in, which may be outside.
func (c *Course) step(t trace.Time) int {
	if t < c.Origin {
		return -1
	}
	return int(min(int64(t.Sub(c.Origin)/c.Step), int64(c.Steps)))
}

// reading takes a reading of a device's gauge.
func (s *series) reading(c *Course, at trace.Time, watts float64) {
	i := c.step(at)
	if i < 0 || i >= c.Steps {
		return
	}
	d := s.course
	if d.Low == nil {
		d.Low, d.High, d.Falling = unknowns(c.Steps), unknowns(c.Steps), make([]bool, c.Steps)
	}
	if math.IsNaN(d.Low[i]) {
		d.Low[i], d.High[i] = watts, watts
		return
	}
	if watts < d.Low[i] {
		d.Low[i], d.Falling[i] = watts, true
	}
	if watts > d.High[i] {
		d.High[i], d.Falling[i] = watts, false
	}
}

func unknowns(n int) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = math.NaN()
	}
	return list
}

// request takes a request of the second pass. What it counts of the tokens is what
// phase.arrived counts of a window.
func (c *Course) request(q *trace.Request, outputs []trace.Chunk, offset time.Duration) {
	sent, done := q.Sent.Add(offset), q.Done.Add(offset)
	if i := c.step(sent); i >= 0 && i < c.Steps {
		c.Sent[i]++
	}
	for i := max(0, c.step(sent)); i < c.Steps && c.at(i) < done; i++ {
		c.Busy[i] += int64(min(done, c.at(i+1)) - max(sent, c.at(i)))
	}
	c.tokens(q, outputs, offset)
	if c.seen(sent, done) {
		first := q.FirstToken
		first.V = first.V.Add(offset)
		c.Requests = append(c.Requests, CourseRequest{Sent: sent, FirstToken: first, Done: done, Outcome: q.Outcome, Lane: int(q.Seq)})
	}
}

// seen reports whether a request is to be kept, and thins those that are.
func (c *Course) seen(sent, done trace.Time) bool {
	if done < c.Origin || sent >= c.at(c.Steps) {
		return false
	}
	c.Lanes++
	if (c.Lanes-1)%c.Thinned != 0 {
		return false
	}
	if len(c.Requests) == courseRequests {
		for i := range courseRequests / 2 {
			c.Requests[i] = c.Requests[2*i]
		}
		c.Requests = c.Requests[:courseRequests/2]
		c.Thinned *= 2
		return (c.Lanes-1)%c.Thinned == 0
	}
	return true
}

// tokens spreads the output of a request over the steps.
func (c *Course) tokens(q *trace.Request, outputs []trace.Chunk, offset time.Duration) {
	unknown := func(from, to trace.Time) {
		for i := max(0, c.step(from)); i < c.Steps && i <= c.step(to); i++ {
			c.Unknown[i] = true
		}
	}
	if !q.FirstToken.OK && !q.LastToken.OK {
		if q.Outcome == trace.Succeeded {
			unknown(q.Sent.Add(offset), q.Done.Add(offset))
		}
		return
	}
	first, last := q.FirstToken.Or(q.LastToken.V).Add(offset), q.LastToken.Or(q.Done).Add(offset)
	n, ok := q.OutputTokens.Get()
	if !ok || !q.LastToken.OK {
		if q.Outcome == trace.Succeeded {
			unknown(first, last)
		}
		return
	}
	// What arrived in a step is the difference of what had arrived until its ends, rounded.
	// Output has it per step until settle sums it up; what came before the origin is in none.
	total, upTo := n*microtokens, int64(0)
	give := func(step int, until int64) {
		if step >= 0 && step < c.Steps {
			c.Output[step+1] += until - upTo
		}
		upTo = until
	}
	if events := int64(len(outputs)); events > 0 {
		for k := 0; k < len(outputs); {
			step := c.step(outputs[k].At.Add(offset))
			for k++; k < len(outputs) && c.step(outputs[k].At.Add(offset)) == step; k++ {
			}
			give(step, mulDiv(total, int64(k), events))
		}
		return
	}
	for i := c.step(first); i <= c.step(last); i++ {
		if i < 0 {
			upTo = int64(math.Round(overlap(first, last, first, c.Origin) * float64(total)))
			continue
		}
		give(i, int64(math.Round(overlap(first, last, first, c.at(i+1))*float64(total))))
	}
}

// finish fills in what is known when all has been read.
func (c *Course) finish(r *Reducer) {
	for i := 1; i < len(c.Output); i++ {
		c.Output[i] += c.Output[i-1]
	}
	c.lanes()
	for _, ph := range r.phases {
		c.Phases = append(c.Phases, CoursePhase{ph.Name, ph.Kind, ph.Start, ph.End})
		c.spreads(ph)
	}
	for _, s := range slices.Concat(r.gpus, r.others) {
		c.Devices = append(c.Devices, *s.followed(c))
	}
}

// lanes gives each request the first lane that is free.
func (c *Course) lanes() {
	slices.SortStableFunc(c.Requests, func(a, b CourseRequest) int { return int(min(max(a.Sent-b.Sent, -1), 1)) })
	var until []trace.Time // when each lane is free
	for i := range c.Requests {
		q := &c.Requests[i]
		lane := slices.IndexFunc(until, func(t trace.Time) bool { return t <= q.Sent })
		if lane < 0 {
			lane = len(until)
			until = append(until, 0)
		}
		until[lane], q.Lane = q.Done, lane
	}
	c.Lanes = len(until)
}

// followed returns what a course has of a device.
func (s *series) followed(c *Course) *CourseDevice {
	d, device := s.course, s.survey.device
	d.Device, d.Host, d.Name, d.Index, d.Scope = device.ID, device.Host, device.Name, device.Index, device.Scope
	d.Sensor = s.device().Sensor
	if s.member != nil {
		d.Role = s.member.Role
	}
	if curve, _ := s.curve(s.source); curve != nil {
		d.Method = s.method(s.source)
		d.Energy, d.Covered, d.Inside = make([]int64, c.Steps+1), make([]int64, c.Steps+1), make([]bool, c.Steps+1)
		for i := range d.Energy {
			e := curve.edgeAt(c.at(i))
			d.Energy[i], d.Covered[i], d.Inside[i] = e.energy, e.covered, e.inside
		}
	}
	if s.power != nil {
		d.PowerMethod = s.survey.powerMethod()
	}
	limit := s.slow.gauges[sample.PowerLimitWatts]
	for i := range c.Steps {
		if limit != nil {
			if d.Limit == nil {
				d.Limit = unknowns(c.Steps)
			}
			if mean, _, ok := limit.mean(c.at(i), c.at(i+1)); ok {
				d.Limit[i] = mean
			}
		}
		if t := s.slow.reasons; t != nil && t.held[reasonBits] != nil {
			if d.Throttled == nil {
				d.Throttled = make([]float64, c.Steps)
			}
			if held, ok := t.seconds(c.at(i), c.at(i+1)); ok {
				d.Throttled[i] = held[reasonBits] / c.Step.Seconds()
			}
		}
	}
	return d
}

// spreads adds how the latencies and energies of a phase's requests are spread.
func (c *Course) spreads(ph *phase) {
	times := map[string]func(l *latency) time.Duration{
		TimeToFirstToken: func(l *latency) time.Duration { return l.ttft }, InterTokenLatency: (*latency).itl,
		RequestLatency: func(l *latency) time.Duration { return l.e2e },
	}
	for _, tag := range []string{TimeToFirstToken, InterTokenLatency, RequestLatency} {
		var list []float64
		for i := range ph.latencies {
			if d := times[tag](&ph.latencies[i]); d != notKnown {
				list = append(list, d.Seconds())
			}
		}
		c.spread(ph, tag, "s", list)
	}
	c.spread(ph, EnergyOfRequests, "J", slices.Clone(ph.energies))
}

func (c *Course) spread(ph *phase, tag, unit string, list []float64) {
	if len(list) == 0 {
		return
	}
	slices.Sort(list)
	s := Spread{Phase: ph.Name, Tag: tag, Unit: unit, Count: len(list)}
	for p := range 101 {
		s.Values = append(s.Values, percentile(list, float64(p)))
	}
	c.Spreads = append(c.Spreads, s)
}

// Course returns the run over time, if Options.Course asked for it and something has a
// place in time; else nil. It is to be called after Report, once.
func (r *Reducer) Course() *Course {
	if r.course != nil {
		r.course.finish(r)
	}
	return r.course
}
