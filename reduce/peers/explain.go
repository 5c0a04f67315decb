package peers

import (
	"math"
	"slices"

	"wattrace/trace"
)

// Ours is what wattrace says of one device: E(end)-E(start), in microjoules, and the
// source that it is from.
type Ours struct {
	Device      string // DeviceInfo.ID
	Source      string // DeviceInfo.Source
	Microjoules int64
}

// Step is one difference between the two ways to an energy: what is done the tool's
// way from here on, and by how much that moves the sum. Whole microjoules, so that
// the steps add up exactly.
type Step struct {
	What        string
	Microjoules int64
}

// Joules is the step in joules.
func (s Step) Joules() float64 { return float64(s.Microjoules) / 1e6 }

// Explanation takes the difference of two energies apart. Ours plus the steps is
// Theirs, exactly.
type Explanation struct {
	Tool   string
	Ours   int64 // microjoules
	Theirs int64 // microjoules; the published figure, rounded as the tool rounds it
	Steps  []Step
	Why    string // why there is nothing to explain: the tool gives no energy; then Theirs means nothing
}

// energy is how a tool comes to the energy of a window: estimates of one sensor, from
// the one nearest to ours to the tool's own.
type energy struct {
	why    string // why there is none; then nothing else means anything
	prefer string // the only source that the tool knows; "" takes all, and adds them up
	stages []stage
	own    func(*track) (float64, bool) // the tool's own, which is the last of the estimates
	total  trace.Opt[float64]           // what it publishes
	after  string                       // what makes of the sum over sensors the total
}

// stage is one estimate. Where it says nothing the estimate before it stays.
type stage struct {
	what string
	of   func(*track) (float64, bool)
}

// Explain says step by step what makes of our energy the tool's. Each step is the
// difference of two sums over devices, the one before with everything so far done
// the tool's way and the one after with one thing more; so a step's size may depend
// on the order, its sum with the others does not. Steps of nothing are left out.
func (p *Peer) Explain(window int, ours []Ours) Explanation {
	p.end()
	x := Explanation{Tool: p.name}
	for _, o := range ours {
		x.Ours += o.Microjoules
	}
	e := p.tool.energy(window)
	if e.why != "" {
		x.Why = e.why
		return x
	}
	l := newLedger(p, window, e, ours)
	sum := x.Ours
	to := func(what string, next int64) {
		if next != sum {
			x.Steps = append(x.Steps, Step{what, next - sum})
		}
		sum = next
	}
	l.drop()
	to("devices of which the tool has no energy", l.sum())
	for _, s := range e.stages {
		l.apply(s.of)
		to(s.what, l.sum())
	}
	l.addTwins()
	to("GPUs seen through more than one source, counted once for each", l.sum())
	l.addStrangers()
	to("devices of which we have no energy", l.sum())
	x.Theirs = microjoules(e.total.V)
	to(e.after, x.Theirs)
	return x
}

// microjoules rounds joules to whole microjoules, within what an int64 holds.
func microjoules(joules float64) int64 {
	const most = 9e12 // joules
	return int64(math.RoundToEven(max(min(joules, most), -most) * 1e6))
}

// ledger holds the estimate of every device on the way from ours to theirs.
type ledger struct {
	own      func(*track) (float64, bool)
	main     []entry // one for each device of ours
	twins    []*track
	stranger []*track
}

type entry struct {
	track *track // of the same source if the tool has it, else of another; nil if it has none
	value int64
}

func newLedger(p *Peer, window int, e energy, ours []Ours) *ledger {
	l := &ledger{own: e.own}
	devices := p.devices
	if e.prefer != "" {
		devices = p.once(e.prefer)
	}
	known := map[string]bool{}
	for _, o := range ours {
		if known[o.Device] {
			continue // the same again would be matched twice
		}
		known[o.Device] = true
		main := pick(devices, o, window, e.own)
		l.main = append(l.main, entry{nil, total(ours, o.Device)})
		for _, d := range devices {
			if _, ok := e.own(d.tracks[window]); !ok || d.ID != o.Device {
				continue
			}
			if d == main {
				l.main[len(l.main)-1].track = d.tracks[window]
			} else {
				l.twins = append(l.twins, d.tracks[window])
			}
		}
	}
	for _, d := range devices {
		if !known[d.ID] {
			l.stranger = append(l.stranger, d.tracks[window])
		}
	}
	return l
}

// total is ours of a device, even if it was given in parts.
func total(ours []Ours, device string) (sum int64) {
	for _, o := range ours {
		if o.Device == device {
			sum += o.Microjoules
		}
	}
	return sum
}

// pick returns the sensor that stands for a device of ours: that of the same source,
// else the first of which the tool has an energy.
func pick(devices []*Device, o Ours, window int, own func(*track) (float64, bool)) *Device {
	var found *Device
	for _, d := range devices {
		if _, ok := own(d.tracks[window]); !ok || d.ID != o.Device {
			continue
		}
		if found == nil || d.Source == o.Source && found.Source != o.Source {
			found = d
		}
	}
	return found
}

func (l *ledger) sum() (sum int64) {
	for _, e := range l.main {
		sum += e.value
	}
	return sum
}

// drop leaves out the devices that the tool has no energy of.
func (l *ledger) drop() {
	for i := range l.main {
		if l.main[i].track == nil {
			l.main[i].value = 0
		}
	}
}

// apply sets every device to an estimate, where there is one.
func (l *ledger) apply(of func(*track) (float64, bool)) {
	for i := range l.main {
		if k := l.main[i].track; k != nil {
			if v, ok := of(k); ok {
				l.main[i].value = microjoules(v)
			}
		}
	}
}

func (l *ledger) addTwins()     { l.add(l.twins) }
func (l *ledger) addStrangers() { l.add(l.stranger) }

func (l *ledger) add(tracks []*track) {
	for _, k := range tracks {
		if v, ok := l.own(k); ok {
			l.main = append(l.main, entry{k, microjoules(v)})
		}
	}
}

// segments is a counter's energy from one mark to another, falls left out.
func segments(from, to func(*track) mark) func(*track) (float64, bool) {
	return func(k *track) (float64, bool) {
		a, b := from(k), to(k)
		return b.sum - a.sum, k.known && a.ok && b.ok && b.at >= a.at
	}
}

// The marks that counters are read at.
func upto(k *track) mark  { return k.upto }
func last(k *track) mark  { return k.last }
func final(k *track) mark { return k.final }
func after(k *track) mark { return k.after }
func open(k *track) mark  { return k.open }

// What steps are called that several tools share.
const (
	stepEnd      = "both ends moved to the last readings until then"
	stepFall     = "a counter that fell is last less first, not the sum of its segments"
	stepGauge    = "the power gauge by trapezoids, its lag taken out, instead of our method"
	stepLag      = "the lag of the gauge left in"
	stepRounding = "each sensor rounded to microjoules"
)

// The trapezoids of the gauge, with and without its lag.
func gaugeStages() []stage {
	return []stage{
		{stepGauge, func(k *track) (float64, bool) { return k.lagged.value() }},
		{stepLag, func(k *track) (float64, bool) { return k.trap.value() }},
	}
}

func (t aiperf) energy(window int) energy {
	w := &t.windows[window]
	if t.generation == 0 {
		return energy{why: "generation 0 of aiperf has no total energy"}
	}
	if !w.Start.OK || !w.End.OK {
		return energy{why: "the phase's start or end is not known"}
	}
	joules, n := t.total(window, t.counter)
	if t.generation == 3 {
		var from energySource
		if joules, _, n, from = t.resolve(window); from == fromPower {
			return t.fromPower(window, joules)
		}
	}
	if n == 0 {
		return energy{why: "no GPU gave an energy in the phase"}
	}
	stages := []stage{
		{stepEnd, segments(upto, last)},
		{"the baseline strictly before the start, or the first reading after it where there is none", segments(base, last)},
		{"readings until the grace after the end", segments(base, final)},
	}
	if t.opt.Unbounded {
		stages = append(stages, stage{"readings until the end of the recording", segments(base, open)})
	}
	own := stage{stepFall + ", and never below zero", t.counter}
	return energy{stages: append(stages, own), own: t.counter, total: trace.Some(joules), after: stepRounding}
}

// fromPower is how generation 3 comes to an energy without a counter.
func (t aiperf) fromPower(window int, joules float64) energy {
	seconds := t.windows[window].duration().V
	own := func(k *track) (float64, bool) {
		v, ok := k.mean()
		return v * seconds, ok
	}
	stages := append(gaugeStages(), stage{"the plain mean of the samples, times the duration, instead of trapezoids", own})
	return energy{stages: stages, own: own, total: trace.Some(joules), after: stepRounding}
}

// result is what the tool publishes of a window, without requests.
func (p *Peer) result(window int, r *Requests) Result {
	b := &builder{}
	p.tool.figures(b, window, r)
	return b.Result
}

// bracketed is the energy of a tool that reads counters before and after the run.
func (p *Peer) bracketed(window int) energy {
	res := p.result(window, &Requests{absent: true})
	if !res.Joules.OK {
		return energy{why: why(res)}
	}
	return energy{
		prefer: "nvml", own: bracket, total: res.Joules, after: stepRounding,
		stages: []stage{
			{stepEnd, segments(upto, last)},
			{"the end moved on to the first reading after it", segments(upto, after)},
			{stepFall, bracket},
		},
	}
}

// why is why a result has no energy.
func why(res Result) string {
	for _, o := range res.Omitted {
		switch o.Name {
		case "energy.total_energy_j", "gpu_energy_j", "total_energy", "entire_benchmark_measurement.gpu_energy", "total_gpu_energy_j", "gpu_total_joules":
			return o.Why
		}
	}
	return "the tool gives no energy"
}

func (t trtllm) energy(window int) energy {
	if t.windows[window].Metered.OK {
		return energy{why: "its energy is what the server's own meter said before the run and after it, and not of these readings"}
	}
	e := t.bracketed(window)
	if n := len(t.once("nvml")); t.scale(n) != 1 {
		e.after = "scaled up to the number of ranks"
	}
	return e
}

func (t vllm) energy(window int) energy { return t.bracketed(window) }

func (t zeus) energy(window int) energy     { return t.atEdges(window) }
func (t mlenergy) energy(window int) energy { return t.atEdges(window) }

// atEdges is the energy of Zeus.
func (p *Peer) atEdges(window int) energy {
	res := p.result(window, &Requests{absent: true})
	if !res.Joules.OK {
		return energy{why: why(res)}
	}
	return energy{
		prefer: "nvml", own: edges, total: res.Joules, after: stepRounding,
		stages: []stage{{stepEnd, segments(upto, last)}, {stepFall, edges}},
	}
}

func (guidellm) energy(int) energy { return energy{why: "guidellm measures no energy"} }

// sglang publishes no energy; that of its median power over the window is the one
// that its tokens per watt stand for.
func (t sglang) energy(window int) energy {
	sums, devices := t.ticks(window)
	seconds := t.windows[window].duration()
	if len(sums) == 0 || devices == 0 || !seconds.OK {
		return energy{why: "no instant at which all devices have a power"}
	}
	own := func(k *track) (float64, bool) {
		sum := 0.0
		for _, w := range k.ticks[:min(len(sums), len(k.ticks))] {
			sum += w
		}
		return sum / float64(len(sums)) * seconds.V, len(k.ticks) >= len(sums)
	}
	stages := append(gaugeStages(), stage{"a sample every 5 s, their mean times the duration", own})
	total := percentile(slices.Sorted(slices.Values(sums)), 50) * seconds.V
	return energy{prefer: "nvml", stages: stages, own: own, total: trace.Some(total), after: "the median of the samples instead of their mean"}
}

// energy of InferenceX is that of the telemetry, even where the requests would have
// withheld it.
func (t inferencex) energy(window int) energy {
	b := &builder{}
	if !t.lasts(&t.windows[window]) {
		return energy{why: "withheld: invalid_benchmark_window"}
	}
	if reasons := t.sampleReasons(b, window); len(reasons) > 0 {
		return energy{why: "withheld: " + reasons[0]}
	}
	total := 0.0
	for _, d := range b.Devices {
		total += d.Joules.V
	}
	own := func(k *track) (float64, bool) {
		v, ok := k.near.value()
		return v, ok && k.nearCount > 1
	}
	stages := append(gaugeStages(), stage{"samples within 3 s of the window only", own})
	return energy{prefer: "nvml", stages: stages, own: own, total: trace.Some(round(total, 3)), after: "published with 3 decimals"}
}

func (t srtslurm) energy(window int) energy {
	res := t.result(window, &Requests{absent: true})
	if !res.Joules.OK {
		return energy{why: why(res)}
	}
	stages := append(gaugeStages(), stage{"the bounds moved to the nearest samples, without interpolation", snapped})
	return energy{prefer: "dcgm", stages: stages, own: snapped, total: res.Joules, after: stepRounding}
}
