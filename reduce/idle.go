package reduce

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// resting is what the GPUs draw when they do nothing.
type resting struct {
	watts  map[*series]float64 // of each device; nil where only the sum is known
	sum    float64             // of all
	sigma  float64             // random standard uncertainty of sum, watts
	sys    float64             // systematic one
	method string
}

// headAtRest makes the window of the recording's head that is said to be idle.
func (r *Reducer) headAtRest() {
	if r.opt.Idle.Head <= 0 {
		return
	}
	from, to, ok := r.covered()
	if end := from.Add(r.opt.Idle.Head); ok && end <= to {
		r.head = &phase{Span: Span{Name: "head", Kind: string(trace.Idle), Start: from, End: trace.Some(end)}}
		return
	}
	r.Warn(WarnNoIdle, "", "", "the recording does not cover %v before its end: no idle power from its head", r.opt.Idle.Head)
}

// resting finds the idle power for a phase: as it was given, or of the recording's
// head, or of the idle phases next to it. Of two, before and after, it is the mean, and
// half their difference the uncertainty: devices that are warm draw more.
func (r *Reducer) resting(ph *phase) (resting, bool) {
	if w, ok := r.opt.Idle.Watts.Get(); ok {
		return resting{sum: w, method: "idle power as given"}, true
	}
	if r.head != nil {
		return r.restsIn(r.head, fmt.Sprintf("the recording's first %v", r.opt.Idle.Head))
	}
	before, after := r.idlePhases(ph)
	a, okA := r.restsIn(before, "before")
	b, okB := r.restsIn(after, "after")
	switch {
	case okA && okB:
		for s := range a.watts {
			if _, ok := b.watts[s]; !ok {
				return resting{}, false
			}
			a.watts[s] = (a.watts[s] + b.watts[s]) / 2
		}
		a.sigma = math.Abs(a.sum-b.sum) / 2
		a.sys = (a.sys + b.sys) / 2
		a.sum = (a.sum + b.sum) / 2
		a.method += " and " + b.method
		return a, len(a.watts) == len(b.watts)
	case okA:
		return a, true
	}
	return b, okB
}

// idlePhases returns the idle phases next to a phase.
func (r *Reducer) idlePhases(ph *phase) (before, after *phase) {
	for _, other := range r.phases {
		end, ok := other.End.Get()
		if other.Kind != string(trace.Idle) || !ok || !ph.End.OK {
			continue
		}
		if end <= ph.Start && (before == nil || end > before.End.V) {
			before = other
		}
		if other.Start >= ph.End.V && (after == nil || other.Start < after.Start) {
			after = other
		}
	}
	return before, after
}

// restsIn measures the idle power in a phase.
func (r *Reducer) restsIn(idle *phase, when string) (resting, bool) {
	if idle == nil {
		return resting{}, false
	}
	out := resting{watts: map[*series]float64{}}
	seconds := idle.End.V.Sub(idle.Start).Seconds()
	if seconds <= 0 {
		return out, false
	}
	energy := total{seconds: seconds}
	for _, s := range r.gpus {
		d := s.during(&idle.Span)
		if !d.whole {
			continue
		}
		energy.add(s, s.source, estimate{d.joules, d.sigma}, "")
		out.watts[s] = d.joules / seconds
	}
	if energy.n() == 0 {
		return resting{}, false
	}
	out.sum, out.sigma, out.sys = energy.joules()/seconds, energy.random()/seconds, energy.systematic(true)/seconds
	out.method = fmt.Sprintf("%s (%v", when, time.Duration(seconds*1e9).Round(time.Millisecond))
	if c := r.meanTemperature(idle.Start, idle.End.V); !math.IsNaN(c) {
		out.method += fmt.Sprintf(", %.0f °C", c)
	}
	out.method += ")"
	return out, true
}

// idleMetrics adds what the GPUs would have drawn at rest, and what is left of their
// energy. The sensors' offsets are in both energies and so not in the difference.
func (r *Reducer) idleMetrics(ph *phase, out *Phase, devices []deviceEnergy, gross *total) {
	if ph.Kind == string(trace.Idle) {
		return
	}
	rest, ok := r.resting(ph)
	if !ok {
		if before, after := r.idlePhases(ph); before != nil || after != nil {
			r.doubt(ph, WarnNoIdle, "", "the idle phases next to it do not have the energy of the same GPUs, or of none: nothing is said of net energy")
		}
		return
	}
	net := total{seconds: gross.seconds, extra: gross.extra}
	energy := out.Metrics[TotalGPUEnergy].Number
	for _, d := range devices {
		if !d.whole {
			continue
		}
		idle, known := rest.watts[d.series]
		if rest.watts == nil {
			idle, known = rest.sum/float64(gross.n()), true
		}
		if !known {
			r.doubt(ph, WarnNoIdle, d.series.survey.device.ID, "%s has no idle energy: nothing is said of net energy", deviceName(d.series.survey.device))
			return
		}
		net.add(d.series, d.series.source, estimate{d.joules - float64(idle*gross.seconds), d.sigma}, "total_gpu_energy - idle_gpu_energy")
	}
	if rest.watts != nil && len(rest.watts) != net.n() {
		rest.sum = 0
		for _, d := range devices {
			if d.whole {
				rest.sum += rest.watts[d.series]
			}
		}
	}
	power := &Number{Value: rest.sum, Method: rest.method, DevicesCovered: net.n(), Uncertainty: &Uncertainty{rest.sigma, rest.sys}}
	out.Metrics[IdleGPUPower] = Metric{Unit: "W", Number: power}
	out.Metrics[IdleGPUEnergy] = Metric{Unit: "J", Number: scaled(power, gross.seconds, "idle_gpu_power * duration")}
	n := net.number()
	idle := float64(rest.sigma * gross.seconds)
	n.Uncertainty.Random = math.Sqrt(float64(n.Uncertainty.Random*n.Uncertainty.Random) + float64(idle*idle))
	if rest.watts != nil { // else idle is not the sensors' own
		n.Uncertainty.Systematic = net.systematic(false)
	} else {
		n.Uncertainty.Systematic = gross.systematic(true)
		power.Uncertainty = nil
		out.Metrics[IdleGPUEnergy].Number.Uncertainty = nil
	}
	if c := energy.ClockRange; c != nil {
		shift := n.Value - energy.Value
		n.ClockRange = &Enclosure{c.Low + shift, c.High + shift}
	}
	out.Metrics[NetGPUEnergy] = Metric{Unit: "J", Number: n}
	if n.Value < 0 {
		r.doubt(ph, WarnNoIdle, "", "the power at rest, %.4g W, is more than what was drawn, %.4g W: the net energy is negative, and nothing is any request's", rest.sum, energy.Value/gross.seconds)
	}
	if t := out.Tokens; t != nil && t.Output != nil && *t.Output > 0 && r.perToken(devices) {
		out.Metrics[NetEnergyPerOutputToken] = Metric{Unit: "J/token", Number: ph.perOutput(n, *t.Output, "net_gpu_energy / output tokens")}
	}
}

// meanTemperature returns the mean temperature of the GPUs that say it, NaN for none.
func (r *Reducer) meanTemperature(from, to trace.Time) float64 {
	var sum, n float64
	for _, s := range r.gpus {
		if t := s.slow.gauges[sample.TemperatureCelsius]; t != nil {
			if mean, _, ok := t.mean(from, to); ok {
				sum += mean
				n++
			}
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return sum / n
}

// totalWatts returns the mean power of all GPUs between two bounds, NaN where not all
// of them cover it.
func (r *Reducer) totalWatts(from, to trace.Time) float64 {
	if r.cells == nil {
		return math.NaN()
	}
	w, ok := r.cells.watts(from, to)
	if !ok {
		return math.NaN()
	}
	return w
}

// conditions adds what the GPUs were like: utilisation, temperature, clocks, memory,
// and for how long their clocks were held down and by what.
func (r *Reducer) conditions(ph *phase, out *Phase, list []*series) {
	from, to := ph.Start, ph.End.V
	n := 0
	var held [reasonBits + 1]float64
	for i, s := range list {
		m := out.PerDevice[i].Metrics
		for _, g := range slowGauges {
			t := s.slow.gauges[g.id]
			if t == nil {
				continue
			}
			mean, top, ok := t.mean(from, to)
			if !ok {
				continue
			}
			m[g.mean] = Metric{Unit: g.unit, Number: &Number{Value: mean, Method: "time-weighted mean of " + g.id.String()}}
			if g.top != "" {
				m[g.top] = Metric{Unit: g.unit, Number: &Number{Value: top, Method: "highest " + g.id.String()}}
			}
		}
		if s.slow.reasons == nil {
			continue
		}
		if seconds, ok := s.slow.reasons.seconds(from, to); ok {
			throttled(m, seconds, 1)
			n++
			for k := range held {
				held[k] += seconds[k]
			}
		}
	}
	r.overall(out)
	if n > 0 {
		throttled(out.Metrics, held, n)
	}
}

// overall adds to a phase the mean over its GPUs of what each has, and the highest of
// the highest.
func (r *Reducer) overall(out *Phase) {
	for _, g := range slowGauges {
		var sum, n float64
		top := math.NaN()
		for i := range out.PerDevice {
			if m, ok := out.PerDevice[i].Metrics[g.mean]; ok {
				sum += m.Value
				n++
			}
			if m, ok := out.PerDevice[i].Metrics[g.top]; ok {
				top = higher(top, m.Value)
			}
		}
		if n == 0 {
			continue
		}
		number := &Number{Value: sum / n, Method: "mean over the GPUs", DevicesCovered: int(n)}
		if g.id == sample.MemoryUsedBytes || g.id == sample.PowerLimitWatts {
			number.Value, number.Method = sum, "sum over the GPUs"
		}
		out.Metrics[g.mean] = Metric{Unit: g.unit, Number: number}
		if !math.IsNaN(top) {
			out.Metrics[g.top] = Metric{Unit: g.unit, Number: &Number{Value: top, Method: "highest of any GPU", DevicesCovered: int(n)}}
		}
	}
}

// throttled adds for how long clocks were held down, over n devices.
func throttled(m map[string]Metric, seconds [reasonBits + 1]float64, n int) {
	method := "time that clock_event_reasons hold clocks down"
	if n > 1 {
		method += ", added over the GPUs"
	}
	m[ThrottledTime] = Metric{Unit: "s", Number: &Number{Value: seconds[reasonBits], Method: method, DevicesCovered: n}}
	for _, reason := range reasons {
		if v := seconds[reason.bit]; v > 0 {
			m[ThrottledTime+"_"+reason.name] = Metric{Unit: "s", Number: &Number{Value: v, Method: "time of that reason", DevicesCovered: n}}
		}
	}
}

// roleReports writes up the roles that the topology gives.
func (r *Reducer) roleReports(ph *phase, out *Phase, devices []deviceEnergy, seconds float64) {
	for _, role := range r.roles() {
		row := Role{Role: role, Devices: Devices{Expected: r.expected(role), Missing: r.absentMembers(role)}, Metrics: map[string]Metric{}}
		energy := total{seconds: seconds}
		var whole []deviceEnergy
		for _, d := range devices {
			if m := d.series.member; m == nil || m.Role != role {
				continue
			}
			if !d.whole {
				row.Devices.Missing = append(row.Devices.Missing, d.series.survey.device.ID)
				continue
			}
			row.Devices.Seen++
			energy.add(d.series, d.series.source, estimate{d.joules, d.sigma}, d.series.method(d.series.source))
			energy.addClock(d.joules, d.clock)
			whole = append(whole, d)
		}
		energy.extra = doubted(whole)
		slices.Sort(row.Devices.Missing)
		if energy.n() > 0 {
			n := energy.number()
			n.Method += ", whole window"
			row.Metrics[RoleEnergy] = Metric{Unit: "J", Number: n}
			row.Metrics[RolePower] = Metric{Unit: "W", Number: scaled(n, 1/seconds, "role_energy / duration")}
			r.roleRatios(ph, out, row, n)
		}
		out.Roles = append(out.Roles, row)
	}
}

// roleRatios relates a role's energy to the tokens that it is there for.
func (r *Reducer) roleRatios(ph *phase, out *Phase, row Role, n *Number) {
	t := out.Tokens
	switch {
	case t == nil:
	case strings.HasPrefix(row.Role, "prefill") && t.Input != nil && *t.Input > 0:
		row.Metrics[RoleEnergyPerInputToken] = Metric{Unit: "J/token", Number: scaled(n, 1 / *t.Input, "role_energy / input tokens")}
	case strings.HasPrefix(row.Role, "decode") && t.Output != nil && *t.Output > 0:
		row.Metrics[RoleEnergyPerOutputToken] = Metric{Unit: "J/token", Number: ph.perOutput(n, *t.Output, "role_energy / output tokens")}
	}
}
