package reduce

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"wattrace/reduce/peers"
	"wattrace/sample"
	"wattrace/trace"
)

// OtherTool is what another tool would have published of a phase, by package peers.
type OtherTool struct {
	Tool    string        `json:"tool"`
	Figures []OtherFigure `json:"figures"`
	// Omitted are figures that the tool would have left out, and why.
	Omitted []OtherOmission `json:"omitted,omitempty"`
	// NotRecomputed are metrics that the tool published of the run and that are not
	// among Figures.
	NotRecomputed []string `json:"not_recomputed,omitempty"`
	// Notes say what the tool's figures need and it does not export.
	Notes []string `json:"notes,omitempty"`
	// Reasons are the tool's own codes for withholding its figures.
	Reasons []string `json:"reasons,omitempty"`
	// Devices are its figures and doubts of single devices.
	Devices []OtherDevice `json:"devices,omitempty"`
	// Explanation takes its energy apart; absent unless it was asked for.
	Explanation *Explanation `json:"explanation,omitempty"`
}

// OtherFigure is a number under another tool's name and in its unit.
type OtherFigure struct {
	Name    string  `json:"name"`
	Header  string  `json:"header,omitempty"` // the tool's title of it
	Unit    string  `json:"unit"`
	Value   float64 `json:"value"`
	Formula string  `json:"formula"`
	// Published is what the tool itself wrote of the run, where that is known.
	Published *float64 `json:"published,omitempty"`
}

// Same reports whether a figure is the published one, to the order of its sums.
func (f *OtherFigure) Same() bool {
	return f.Published != nil && math.Abs(f.Value-*f.Published) <= sameFigure*math.Abs(*f.Published)
}

// sameFigure is by how much doubles may differ that were added up in another order.
const sameFigure = 1e-12

// PeerSLO is what a request must meet to count as good for another tool.
type PeerSLO = peers.SLO

// Archive is what a run of aiperf says of one of its phases beside its requests and
// readings.
type Archive struct {
	Start, End trace.Opt[trace.Time] // of the phase as aiperf had it, on the common clock
	Rounded    time.Duration         // what Start and End are rounded to; 0 is not at all
	Observed   bool                  // its rates are over the time from Start to End
	// Epoch is time 0 of the common clock in Unix nanoseconds of aiperf's clock, of a
	// version that keeps instants in doubles.
	Epoch   trace.Opt[int64]
	SLO     PeerSLO  // its own objectives
	Unknown []string // objectives that are not recomputed
	// Published are figures by name, as OtherFigure has it, and those of single GPUs.
	Published map[string]float64
	GPUs      map[string]map[string]float64
}

// Metered is an energy by a server's own meter, and the time that it is of.
type Metered = peers.Metered

// Published are figures that a tool wrote of a phase itself, beside which those of the
// same names are put that are recomputed.
type Published struct {
	Tool    string // by its name in Options.Peers
	Figures map[string]float64
	GPUs    map[int]map[string]float64 // of single GPUs, by index
	Notes   []string
}

// OtherOmission is a figure that a tool would have left out.
type OtherOmission struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// OtherDevice is what another tool says of a device.
type OtherDevice struct {
	Device      string        `json:"device"`
	DeviceIndex int           `json:"device_index"`
	Source      string        `json:"source"`
	Figures     []OtherFigure `json:"figures,omitempty"`
	Issues      []string      `json:"issues,omitempty"`
}

// Explanation leads from our energy to another tool's: ours plus the steps is theirs, to
// the microjoule.
type Explanation struct {
	Ours   float64           `json:"ours_joules"`
	Steps  []ExplanationStep `json:"steps"`
	Theirs float64           `json:"theirs_joules"`
	Why    string            `json:"why,omitempty"` // there is nothing to explain
}

// ExplanationStep is one thing that the other tool does in another way.
type ExplanationStep struct {
	What   string  `json:"what"`
	Joules float64 `json:"joules"`
}

// others are the other tools whose numbers are wanted.
type others struct {
	names   []string
	windows []*phase // that they see: phases with an end, and the windows asked for
	peers   []*peers.Peer
	devices map[*series][]*peers.Device
	loads   map[*phase]*peers.Load
	steady  map[*phase]*steadyTokens
	sums    map[*phase]*peers.Requests
}

// steadyTokens sums the output tokens of ML.ENERGY's steady window.
type steadyTokens struct {
	peers.Interval
	tokens float64
}

// CheckTool returns an error, which names all there are, for a name that Options.Peers
// may not have.
func CheckTool(name string) error {
	_, err := peers.New(name, nil, peers.Options{})
	return err
}

// surveyRequest takes a request of the first pass.
func (o *others) surveyRequest(ph *phase, q *trace.Request, offset time.Duration) {
	if o.loads == nil {
		o.loads = map[*phase]*peers.Load{}
	}
	if o.loads[ph] == nil {
		o.loads[ph] = &peers.Load{}
	}
	moved := moved(q, offset)
	o.loads[ph].Add(&moved)
}

// moved returns a request on the common clock, its events shared and left where they are.
func moved(q *trace.Request, offset time.Duration) trace.Request {
	m := *q
	move := func(t *trace.Opt[trace.Time]) { t.V = t.V.Add(offset) }
	m.Sent, m.Done, m.Scheduled = q.Sent.Add(offset), q.Done.Add(offset), q.Scheduled.Add(offset)
	move(&m.FirstToken)
	move(&m.LastToken)
	move(&m.FirstByte)
	move(&m.Wrote)
	return m
}

// start makes the peers, when the phases are known.
func (o *others) start(r *Reducer) {
	if len(o.names) == 0 {
		return
	}
	o.devices, o.steady, o.sums = map[*series][]*peers.Device{}, map[*phase]*steadyTokens{}, map[*phase]*peers.Requests{}
	var windows []peers.Window
	for _, ph := range r.phases {
		if !ph.End.OK {
			continue
		}
		w := peers.Window{
			Name: ph.Name, Start: trace.Some(ph.Start), End: ph.End, Concurrency: ph.Concurrency, Profiling: ph.Kind == string(trace.Measure),
			Reported: ph.Stated, Metered: ph.Metered,
		}
		if load := o.loads[ph]; load != nil {
			if v, ok := load.MLEnergy(ph.Concurrency); ok && v.Start < v.End {
				w.Steady = trace.Some(peers.Steady{Interval: v})
				o.steady[ph] = &steadyTokens{Interval: v}
			}
		}
		slo := peerSLO(r.opt.SLO)
		if a := ph.Archive; a != nil {
			w.Archive = &peers.Archive{Observed: a.Observed, Epoch: a.Epoch}
			if a.Start.OK && a.End.OK {
				w.Start, w.End, w.Archive.Bounded = a.Start, a.End, true
			}
			if slo == (peers.SLO{}) {
				slo, w.Archive.Unknown = a.SLO, a.Unknown
			}
		}
		windows = append(windows, w)
		o.windows = append(o.windows, ph)
		sum := &peers.Requests{SLO: slo, Stated: ph.Stated}
		if unix := r.clock.Anchor.UnixNanos; ph.Doubles && unix != 0 {
			sum.Epoch = trace.Some(unix)
		}
		if t := ph.Totals; t != nil {
			sum.AddTotals(t.Succeeded, t.Failed, t.Input, t.Output)
		}
		o.sums[ph] = sum
	}
	for _, name := range o.names {
		windows := o.windowsOf(name, windows)
		unix := r.clock.Anchor.UnixNanos
		p, err := peers.New(name, windows, peers.Options{ExpectDevices: r.expected(""), Epoch: trace.Opt[int64]{V: unix, OK: unix != 0}, Accumulated: r.opt.Accumulated})
		if err != nil {
			panic(err) // CheckTool was not asked
		}
		o.peers = append(o.peers, p)
		for _, s := range r.all {
			if s.survey.device.Scope == sample.ScopeGPU && (s.member != nil || len(r.opt.Topology) == 0) {
				o.devices[s] = append(o.devices[s], p.Device(peerDevice(s)))
			}
		}
	}
}

// windowsOf returns the windows as a tool has them: srt-slurm's are from the first request
// that succeeded to the end of the last, where the requests tell when they were.
func (o *others) windowsOf(name string, windows []peers.Window) []peers.Window {
	if name != "srtslurm" {
		return windows
	}
	windows = slices.Clone(windows)
	for i, ph := range o.windows {
		if load := o.loads[ph]; load != nil && !ph.window {
			if v, ok := load.Successes(); ok {
				windows[i].Start, windows[i].End = trace.Some(v.Start), trace.Some(v.End)
			}
		}
	}
	return windows
}

// peerSLO says the latencies of good requests in the peers' terms. All of them measure
// from when a request was sent.
func peerSLO(s SLO) (out peers.SLO) {
	limit := func(d time.Duration) trace.Opt[time.Duration] { return trace.Opt[time.Duration]{V: d, OK: d > 0} }
	stricter := func(a, b time.Duration) time.Duration {
		if a <= 0 || b <= 0 {
			return max(a, b)
		}
		return min(a, b)
	}
	return peers.SLO{
		TimeToFirstToken: limit(stricter(s.TTFT, s.TTFTSent)), InterTokenLatency: limit(s.ITL), RequestLatency: limit(stricter(s.E2E, s.E2ESent)),
	}
}

func peerDevice(s *series) peers.DeviceInfo {
	d := s.survey.device
	info := peers.DeviceInfo{ID: d.ID, Host: d.Host, Index: d.Index, Source: string(d.Source), Lag: s.survey.sensor().Lag()}
	if s.member != nil {
		info.Role = s.member.Role
	}
	return info
}

// read hands row i of a batch to the peers. They read what NVML's headline call gives;
// where the recording lacks that, the average, else the instant field.
func (o *others) read(s *series, b *sample.Batch, i int, at trace.Time, stamp trace.Opt[time.Duration]) {
	list := o.devices[s]
	if len(list) == 0 {
		return
	}
	v := peers.Sample{At: at.Add(b.Took[i] / 2)}
	if after, ok := stamp.Get(); ok {
		v.Stamp = trace.Some(at.Add(after))
	}
	if joules, ok := b.Float(sample.EnergyJoules, i); ok {
		v.Joules = trace.Some(joules)
	}
	for _, id := range []sample.MetricID{sample.PowerWatts, sample.PowerAverageWatts, sample.PowerInstantWatts} {
		if watts, ok := b.Float(id, i); ok {
			v.Watts = trace.Some(watts)
			break
		}
	}
	v.Unread = !v.Watts.OK && slices.ContainsFunc(powerStatus, func(s string) bool { return strings.Contains(b.Status[i], s) })
	for _, d := range list {
		d.Read(v)
	}
}

// powerStatus are what the status of a row has of a power that could not be read.
var powerStatus = []string{"power_watts=", "power_average_watts=", "power_instant_watts="}

// request takes a request of the second pass, of its phase or of a window that it was
// sent in.
func (o *others) request(ph *phase, q *trace.Request, offset time.Duration) {
	if sum := o.sums[ph]; sum != nil {
		sum.AddFrom(q, offset)
	}
}

// arrived adds the tokens of a request that came in a steady window.
func (o *others) arrived(ph *phase, q *trace.Request, offset time.Duration) {
	s := o.steady[ph]
	if s == nil {
		return
	}
	v := peers.Interval{Start: s.Start.Add(-offset), End: s.End.Add(-offset)}
	if n, ok := v.Tokens(q); ok {
		s.tokens += n
	}
}

// report writes up what the other tools would have said of a phase.
func (o *others) report(r *Reducer, ph *phase, out *Phase, devices []deviceEnergy) {
	window := -1
	for i, w := range o.windows {
		if w == ph {
			window = i
		}
	}
	if window < 0 {
		return
	}
	var ours []peers.Ours
	for _, d := range devices {
		if d.whole {
			device := d.series.survey.device
			ours = append(ours, peers.Ours{Device: device.ID, Source: string(device.Source), Microjoules: microjoules(d.joules)})
		}
	}
	for i, p := range o.peers {
		if s := o.steady[ph]; s != nil {
			p.SteadyTokens(window, s.tokens)
		}
		var sum *peers.Requests
		if r.hasLog {
			sum = o.sums[ph]
		}
		t := otherTool(o.names[i], p.Figures(window, sum))
		if ph.Archive != nil && strings.HasPrefix(o.names[i], "aiperf") {
			t.beside(ph.Archive)
		}
		for j := range ph.Published {
			if p := &ph.Published[j]; p.Tool == o.names[i] {
				t.besidePublished(p)
			}
		}
		if r.opt.Explain {
			t.Explanation = explanation(p.Explain(window, ours))
		}
		out.Others = append(out.Others, t)
	}
}

func otherTool(name string, res peers.Result) OtherTool {
	t := OtherTool{Tool: name, Figures: otherFigures(res.Figures), Reasons: res.Reasons}
	for _, v := range res.Omitted {
		t.Omitted = append(t.Omitted, OtherOmission{v.Name, v.Why})
	}
	for _, d := range res.Devices {
		if len(d.Figures)+len(d.Issues) > 0 {
			t.Devices = append(t.Devices, OtherDevice{d.Device.ID, d.Device.Index, d.Device.Source, otherFigures(d.Figures), d.Issues})
		}
	}
	return t
}

// Agreement returns how many of the figures the tool published, and how many of those
// are the same as what is recomputed.
func (t *OtherTool) Agreement() (published, same int) {
	count := func(list []OtherFigure) {
		for i := range list {
			if list[i].Published != nil {
				published++
				if list[i].Same() {
					same++
				}
			}
		}
	}
	count(t.Figures)
	for _, d := range t.Devices {
		count(d.Figures)
	}
	return published, same
}

// putBeside puts what was published beside figures.
func putBeside(list []OtherFigure, published map[string]float64) {
	for i := range list {
		if v, ok := published[list[i].Name]; ok {
			list[i].Published = &v
		}
	}
}

// besidePublished puts what the tool published beside what is recomputed.
func (t *OtherTool) besidePublished(p *Published) {
	putBeside(t.Figures, p.Figures)
	for i := range t.Devices {
		putBeside(t.Devices[i].Figures, p.GPUs[t.Devices[i].DeviceIndex])
	}
	t.Notes = append(t.Notes, p.Notes...)
	t.notRecomputed(p.Figures)
}

// notRecomputed names what was published and is not among the figures.
func (t *OtherTool) notRecomputed(published map[string]float64) {
	for _, name := range slices.Sorted(maps.Keys(published)) {
		have := slices.ContainsFunc(t.Figures, func(f OtherFigure) bool { return f.Name == name })
		if !have && !strings.Contains(name, ".") && !slices.Contains(t.NotRecomputed, name) {
			t.NotRecomputed = append(t.NotRecomputed, name)
		}
	}
}

// beside puts what aiperf published beside what is recomputed.
func (t *OtherTool) beside(a *Archive) {
	switch {
	case !a.Start.OK || !a.End.OK:
		t.Notes = append(t.Notes, "when the phase began and ended is not exported: it is taken from its first request to the end of its last")
	case a.Rounded > 0:
		t.Notes = append(t.Notes, fmt.Sprintf("when the phase began and ended is exported to %v: what is divided by its duration differs by up to %.1g of itself",
			a.Rounded, a.Rounded.Seconds()/a.End.V.Sub(a.Start.V).Seconds()))
	}
	putBeside(t.Figures, a.Published)
	for i := range t.Devices {
		putBeside(t.Devices[i].Figures, a.GPUs[t.Devices[i].Device])
	}
	t.notRecomputed(a.Published)
}

func otherFigures(list []peers.Figure) []OtherFigure {
	out := []OtherFigure{}
	for _, f := range list {
		out = append(out, OtherFigure{Name: f.Name, Header: f.Header, Unit: f.Unit, Value: f.Value, Formula: f.Formula})
	}
	return out
}

func explanation(e peers.Explanation) *Explanation {
	out := &Explanation{Ours: float64(e.Ours) / 1e6, Theirs: float64(e.Theirs) / 1e6, Why: e.Why, Steps: []ExplanationStep{}}
	for _, s := range e.Steps {
		out.Steps = append(out.Steps, ExplanationStep{s.What, s.Joules()})
	}
	if e.Why != "" {
		out.Theirs = out.Ours
	}
	return out
}
