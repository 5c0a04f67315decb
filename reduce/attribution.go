package reduce

import (
	"slices"
	"time"

	"wattrace/reduce/attribute"
	"wattrace/trace"
)

// Attribution is how the energy was split over the requests; see package attribute.
type Attribution struct {
	Mode    string  `json:"mode"`              // the headline's: "fitted", "tokens" or "time"
	Refused string  `json:"refused,omitempty"` // why there is no fit
	Fit     *FitDoc `json:"fit,omitempty"`
	// ResolutionSeconds is what the sensors resolve: what is shorter is modelled.
	ResolutionSeconds float64 `json:"resolution_seconds"`
	// IdleWatts is what was taken for the power of all GPUs at rest, which is no
	// request's; absent where it is not known, and then requests share that as well.
	IdleWatts *float64 `json:"idle_watts,omitempty"`
	// UnstreamedShare is the share of the prompt tokens, 0 to 1, of requests that are not
	// streamed: of those, and where there are many of all, stages have wide bounds.
	UnstreamedShare float64 `json:"unstreamed_share,omitempty"`
	// Servers is how many servers the requests of a log went to, where there are several: the
	// energy is split as if one had served all, since nothing says which GPUs are whose.
	Servers int `json:"servers,omitempty"`
}

// FitDoc holds the coefficients of the model of mode fitted, in joules.
type FitDoc struct {
	PromptJoules  float64 `json:"joules_per_prompt_token"`
	OutputJoules  float64 `json:"joules_per_output_token"`
	ContextJoules float64 `json:"joules_per_output_token_and_token_of_context"`
	SharedJoules  float64 `json:"joules_per_step"`
	Condition     float64 `json:"condition"`
	Residual      float64 `json:"residual"` // root mean square, by the mean energy of a cell
}

// RequestEnergy is what one request had of the energy; see attribute.Share.
type RequestEnergy = attribute.Share

// WeighRequest takes a request in the first pass, beside SurveyRequest, for its share of
// the energy. The telemetry has been surveyed, which says what the sensors resolve.
func (r *Reducer) WeighRequest(q *trace.Request, offset time.Duration) {
	r.openSplit()
	if r.split != nil {
		r.split.Survey(q, offset)
	}
}

// RequestEnergy takes a request in the second pass, before Request, and returns what it
// had of the energy; unknown where the energy is not known.
func (r *Reducer) RequestEnergy(q *trace.Request, offset time.Duration) (energy trace.Opt[RequestEnergy]) {
	r.settle()
	if r.split != nil {
		energy = trace.Some(r.split.Request(q, offset))
	}
	return energy
}

// A Splitter does what WeighRequest and RequestEnergy do, which is most of the work on a
// log, beside its Reducer and other Splitters, for requests in any order.
type Splitter struct{ split *attribute.Attributor }

// Splitter returns a Splitter for one pass, at the end of which it is to be joined.
func (r *Reducer) Splitter() *Splitter {
	if r.started {
		r.settle()
	} else {
		r.openSplit()
	}
	if r.split == nil {
		return &Splitter{}
	}
	return &Splitter{r.split.Fork()}
}

// Join adds what a Splitter took.
func (r *Reducer) Join(s *Splitter) {
	if s.split != nil {
		r.split.Join(s.split)
	}
}

// WeighRequest is that of the Reducer.
func (s *Splitter) WeighRequest(q *trace.Request, offset time.Duration) {
	if s.split != nil {
		s.split.Survey(q, offset)
	}
}

// RequestEnergy is that of the Reducer.
func (s *Splitter) RequestEnergy(q *trace.Request, offset time.Duration) (energy trace.Opt[RequestEnergy]) {
	if s.split != nil {
		energy = trace.Some(s.split.Request(q, offset))
	}
	return energy
}

// openSplit makes what splits the energy, where there is any.
func (r *Reducer) openSplit() {
	unplaced := slices.ContainsFunc(r.phases, func(ph *phase) bool { return ph.Unplaced })
	if r.split == nil && !unplaced && len(r.all) > 0 && r.grid != nil && r.grid.Len() > 0 {
		r.split = attribute.New(r.grid, attribute.Options{Resolution: r.resolution(), Marks: r.marks()})
	}
}

// resolution returns how short a stretch of time the worst sensor can tell.
func (r *Reducer) resolution() time.Duration {
	var worst time.Duration
	for _, s := range r.all {
		d := s.survey.sensor().Window + s.survey.sensor().Period
		if s.survey.hasCounter() && r.opt.EnergySource != SourcePower {
			d = s.survey.updatePeriod()
		}
		worst = max(worst, d, s.survey.poll())
	}
	return worst
}

// settleAttribution gives the split the energy.
func (r *Reducer) settleAttribution() {
	surveyed := func(ph *phase) bool { return ph.surveyed > 0 }
	if r.split == nil || r.cells == nil || !slices.ContainsFunc(r.phases, surveyed) {
		r.split = nil
		return
	}
	known := make([]bool, r.grid.Len())
	for i := range known {
		known[i] = r.cells.whole(i)
	}
	for _, ph := range r.phases {
		if ph.window || ph.Kind == string(trace.Idle) {
			continue
		}
		if rest, ok := r.resting(ph); ok {
			r.idleWatts = trace.Some(rest.sum)
			break
		}
	}
	// Nor does it depend on what may become a window.
	var ends []trace.Time
	for _, ph := range r.phases {
		if end, ok := ph.End.Get(); ok && !ph.window {
			ends = append(ends, ph.Start, end)
		}
	}
	r.split.Keep(ends)
	r.split.Energy(r.cells.energy, known, r.idleWatts)
}

// Attributed returns the energy of the whole time that phases and windows span, once all
// requests have been taken; false where it is not known.
func (r *Reducer) Attributed() (attribute.Totals, bool) {
	if r.split == nil {
		return attribute.Totals{}, false
	}
	return r.split.Sum(r.grid.Bound(0), r.grid.Bound(r.grid.Len()))
}

// attribution writes up how the energy was split.
func (r *Reducer) attribution() *Attribution {
	if r.split == nil {
		return nil
	}
	fit := r.split.Fit()
	out := &Attribution{Mode: string(r.split.Mode()), Refused: fit.Refused, ResolutionSeconds: r.resolution().Seconds(), UnstreamedShare: r.split.Unstreamed()}
	if n := len(r.targets); n > 1 {
		out.Servers = n
	}
	if w, ok := r.idleWatts.Get(); ok {
		out.IdleWatts = &w
	}
	if fit.Refused == "" {
		out.Fit = fitDoc(fit)
	}
	return out
}

func fitDoc(f attribute.Fit) *FitDoc {
	return &FitDoc{
		PromptJoules: f.PromptJoules, OutputJoules: f.OutputJoules, ContextJoules: f.ContextJoules, SharedJoules: f.SharedJoules,
		Condition: f.Condition, Residual: f.Residual,
	}
}

// stages adds the energy of the stages of requests, and what was no request's.
func (r *Reducer) stages(ph *phase, out *Phase, energy *Number) {
	if r.split == nil || energy.Value <= 0 || energy.DevicesCovered != len(r.gpus) || ph.busy == 0 {
		return
	}
	sum, ok := r.split.Sum(ph.Start, ph.End.V)
	if !ok || sum.Unknown > 0 {
		return
	}
	mode := "attributed by " + string(r.split.Mode())
	add := func(tag string, microjoules int64, stage *attribute.Stage) *Number {
		n := scaled(energy, float64(microjoules)/1e6/energy.Value, mode)
		n.Value = float64(microjoules) / 1e6
		if stage != nil {
			n.Bounds = &Enclosure{float64(stage.Low) / 1e6, float64(max(stage.Energy, min(stage.High, sum.Total-sum.Idle))) / 1e6}
		}
		n.ClockRange = nil
		out.Metrics[tag] = Metric{Unit: "J", Number: n}
		return n
	}
	prefill := add(PrefillEnergy, sum.Prefill.Energy, &sum.Prefill)
	decode := add(DecodeEnergy, sum.Decode.Energy, &sum.Decode)
	if !ph.window { // a window may cut what the sensor does not see apart
		add(UnattributedEnergy, sum.Unattributed, nil)
		if r.idleWatts.OK {
			add(AttributedIdleEnergy, sum.Idle, nil).Method = "at rest, no request's"
		}
	}
	t := out.Tokens
	if t == nil {
		return
	}
	per := func(tag string, n *Number, count *float64, method string) {
		if count != nil && *count > 0 && n.Value > 0 {
			m := scaled(n, 1 / *count, method)
			m.Bounds = &Enclosure{n.Bounds.Low / *count, n.Bounds.High / *count}
			out.Metrics[tag] = Metric{Unit: "J/token", Number: m}
		}
	}
	per(PrefillEnergyPerInputToken, prefill, t.Input, "prefill_energy / input tokens")
	r.requestEnergies(ph, out)
	per(DecodeEnergyPerOutputToken, decode, t.Output, "decode_energy / output tokens")
}

// requestEnergies adds the distributions of the energy of requests that succeeded, and
// of conversations.
func (r *Reducer) requestEnergies(ph *phase, out *Phase) {
	if d, ok := describeFloats(ph.energies); ok {
		d.Of = "joules of each request that succeeded, attributed by " + string(r.split.Mode())
		out.Metrics[EnergyOfRequests] = Metric{Unit: "J", Distribution: &d}
	}
	var talks []float64
	for _, microjoules := range ph.talks {
		talks = append(talks, float64(microjoules)/1e6)
	}
	if d, ok := describeFloats(talks); ok {
		d.Of = "joules of each conversation's requests in the phase, attributed by " + string(r.split.Mode())
		out.Metrics[EnergyOfConversations] = Metric{Unit: "J", Distribution: &d}
	}
}

// gridEdges returns the edges of the grid that energy is split on: the ends of the
// phases, and what may become a window of theirs. Slices, and windows that were asked
// for, are not among them: what a request has, and how power was distributed, does not
// depend on what somebody looks through.
func (r *Reducer) gridEdges() []trace.Time {
	list := r.bounds()
	for _, ph := range r.phases {
		if end, ok := ph.End.Get(); ok && !ph.window {
			list = append(list, ph.Start, end)
		}
	}
	return list
}

// marks returns the ends of slices and of the windows that were asked for.
func (r *Reducer) marks() (list []trace.Time) {
	for _, w := range r.windows {
		list = append(list, w.Start, w.End.V)
	}
	return list
}
