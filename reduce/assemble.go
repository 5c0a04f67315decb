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

// timeFormat is RFC 3339 with nine digits.
const timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

// phaseReport writes up one phase.
func (r *Reducer) phaseReport(ph *phase) Phase {
	out := Phase{
		Name: ph.Name, Kind: ph.Kind, Concurrency: ph.Concurrency,
		Start:   r.wall(ph.Start),
		Metrics: map[string]Metric{}, PerDevice: []PerDevice{}, Windows: []Phase{},
	}
	switch {
	case ph.Open && ph.Gated:
		out.Load = LoadGated
	case ph.Open:
		out.Load = LoadOpen
	}
	if r.hasLog {
		out.Requests = &ph.requests
		ph.describe(out.Metrics)
		r.requestDoubts(ph)
		r.client(ph, out.Metrics)
		out.Audit = r.audited(ph)
	}
	end, ok := ph.End.Get()
	if !ok {
		if r.hasLog {
			r.doubt(ph, WarnNoEnd, "", "the log does not say when the phase ended: no energy, power or throughput")
		}
		return out
	}
	seconds := end.Sub(ph.Start).Seconds()
	out.End, out.DurationSeconds = r.wall(end), &seconds
	if r.hasLog {
		out.Tokens = r.tokens(ph)
		r.throughput(ph, out.Tokens, seconds, out.Metrics)
	}
	r.serverTokens(ph, &out)
	if len(r.all) > 0 {
		r.energies(ph, &out, seconds)
	} else {
		r.tools.report(r, ph, &out, nil) // their latencies and rates
	}
	for _, w := range ph.windows {
		out.Windows = append(out.Windows, r.phaseReport(w))
	}
	if len(ph.slices) > 0 {
		out.Slices = func(yield func(*Phase) bool) {
			for _, w := range ph.slices {
				if slice := r.phaseReport(w); !yield(&slice) {
					return
				}
			}
		}
	}
	return out
}

// wall returns an instant for people; "" where the clock has no wall clock.
func (r *Reducer) wall(t trace.Time) string {
	if r.clock.Anchor.UnixNanos == 0 {
		return ""
	}
	return r.clock.Wall(t).Format(timeFormat)
}

// windowDoubts are what is said of a window that a user asked for; the rest was
// said of the phases that it lies in.
var windowDoubts = []Code{WarnHole, WarnNotBracketed, WarnMissing, WarnMissingDevice, WarnUnexpected, WarnDisagree}

// doubt warns of a phase. A window is asked for in full knowledge of what runs
// across its ends, and a slice's doubts are its phase's.
func (r *Reducer) doubt(ph *phase, code Code, device, format string, args ...any) {
	switch {
	case ph.quiet:
		return
	case ph.window && !slices.Contains(windowDoubts, code):
		return
	}
	r.Warn(code, ph.Name, device, format, args...)
}

// requestDoubts says what is amiss with the requests of a phase.
func (r *Reducer) requestDoubts(ph *phase) {
	q := ph.requests
	if q.Failed > 0 {
		var classes []string
		for class, n := range q.Errors {
			classes = append(classes, fmt.Sprintf("%s %d", class, n))
		}
		slices.Sort(classes)
		why := ""
		if len(classes) > 0 {
			why = " (" + strings.Join(classes, ", ") + ")"
		}
		r.doubt(ph, WarnFailed, "", "%d of %s failed%s: their energy stays in the total, their tokens are not counted",
			q.Failed, plural(int(q.Sent), "request", "requests"), why)
	}
	if q.Cancelled > 0 {
		fate := "their tokens are not counted"
		if ph.arrivals {
			fate = "so do the tokens of theirs that arrived"
		}
		r.doubt(ph, WarnCancelled, "", "%s given up: their energy stays in the total, %s", plural(int(q.Cancelled), "request was", "requests were"), fate)
	}
	if q.Succeeded == 0 && ph.Kind != string(trace.Idle) {
		r.doubt(ph, WarnNoRequests, "", "no request succeeded: nothing is said per request or token")
	}
	if ph.inFlight > 0 {
		r.doubt(ph, WarnWorkInFlight, "", "%s across an end of the phase: tokens are counted where they arrived, and part of the energy is another phase's work",
			plural(int(ph.inFlight), "request runs", "requests run"))
	}
}

// tokens sums what is known of every request that succeeded; a sum that would
// leave some out is absent.
func (r *Reducer) tokens(ph *phase) *Tokens {
	n := ph.requests.Succeeded
	if n == 0 && !ph.arrivals {
		return nil
	}
	var t Tokens
	noInput, noOutput := n-ph.withInput, n-ph.withOutput
	if ph.arrivals { // other phases' requests count, too
		noInput, noOutput = ph.noInput, ph.noOutput
	}
	if noInput == 0 {
		n := ph.inputTokens()
		t.Input = &n
	}
	if noOutput == 0 {
		n := ph.outputTokens()
		t.Output = &n
	} else {
		r.doubt(ph, WarnNoTokens, "", "%s not say how many tokens they had: nothing is said per token", plural(int(noOutput), "request does", "requests do"))
	}
	if ph.counted > 0 {
		r.doubt(ph, WarnTokensCounted, "", "the output tokens of %s were counted from events, which is a lower bound: the server sent no usage",
			plural(int(ph.counted), "request", "requests"))
	}
	return &t
}

// energies fills in the devices and what follows from their energy.
func (r *Reducer) energies(ph *phase, out *Phase, seconds float64) {
	out.Devices = &Devices{Expected: r.expected(""), Missing: r.absentMembers("")}
	if seconds <= 0 {
		r.doubt(ph, WarnNotBracketed, "", "the phase has no length: no energy and no power")
		return
	}
	var devices []deviceEnergy
	for _, s := range r.gpus {
		d := s.during(&ph.Span)
		devices = append(devices, d)
		if d.whole {
			out.Devices.Seen++
		} else {
			out.Devices.Missing = append(out.Devices.Missing, s.survey.device.ID)
		}
		r.warnDevice(ph, d)
		out.PerDevice = append(out.PerDevice, r.perDevice(d))
	}
	r.warnMembers(ph, out.Devices.Seen)
	r.warnIdleDevices(ph, devices)
	r.warnRefresh(ph, devices)
	r.conditions(ph, out, r.gpus)
	gross := r.totals(ph, out, devices, seconds)
	r.otherScopes(ph, out, seconds)
	r.roleReports(ph, out, devices, seconds)
	r.tools.report(r, ph, out, devices)
	if gross.n() == 0 {
		return
	}
	r.powerOverTime(ph, out)
	r.idleMetrics(ph, out, devices, gross)
	if r.hasLog && r.perToken(devices) {
		r.ratios(ph, out, out.Metrics[TotalGPUEnergy].Number, seconds)
	}
}

// perToken reports whether the energy is that of the server: a partitioned board's may
// be another's, too.
func (r *Reducer) perToken(devices []deviceEnergy) bool {
	return r.opt.MIG || !slices.ContainsFunc(devices, func(d deviceEnergy) bool { return d.whole && d.series.survey.device.MIG })
}

func (r *Reducer) warnDevice(ph *phase, d deviceEnergy) {
	device := d.series.survey.device
	switch {
	case d.why == WarnNotBracketed:
		r.doubt(ph, d.why, device.ID, "%s: its telemetry covers %.4g %% of the phase: its energy is not stated", deviceName(device), 100*d.coverage)
	case d.why == WarnMissing:
		r.doubt(ph, d.why, device.ID, "%s: readings are missing for %.4g %% of the phase: its energy is not stated", deviceName(device), 100*(1-d.coverage))
	case d.why == WarnMissingDevice && r.opt.EnergySource != SourceAuto:
		r.doubt(ph, d.why, device.ID, "%s: has no energy by %s", deviceName(device), r.opt.EnergySource)
	case d.why == WarnMissingDevice:
		r.doubt(ph, d.why, device.ID, "%s: reports neither energy nor power", deviceName(device))
	case d.clockCut && ph.EdgeSpread != [2]time.Duration{}:
		r.doubt(ph, WarnClock, device.ID, "%s: the phase's ends may be off by %v and %v, and its telemetry does not reach so far beyond them: the range of its energy is that of what it covers",
			deviceName(device), d.series.spread+ph.EdgeSpread[0], d.series.spread+ph.EdgeSpread[1])
	case d.clockCut && ph.Kind != "recording":
		r.doubt(ph, WarnClock, device.ID, "%s: its clock may be off by %v, and its telemetry does not reach so far beyond the phase: the range of its energy is that of what it covers", deviceName(device), d.series.spread)
	case d.coverage < 1:
		r.doubt(ph, WarnMissing, device.ID, "%s: readings are missing for %.4g %% of the phase", deviceName(device), 100*(1-d.coverage))
	}
}

// perDevice writes up one device.
func (r *Reducer) perDevice(d deviceEnergy) PerDevice {
	s := d.series
	device := s.survey.device
	out := PerDevice{
		Device: device.ID, DeviceIndex: device.Index, Host: device.Host, Name: device.Name,
		Source: string(device.Source), Scope: string(device.Scope), Coverage: d.coverage, Metrics: map[string]Metric{},
	}
	if len(s.sharers) > 1 {
		out.DeviceIndices = s.sharers
	}
	if s.member != nil {
		out.Role, out.Worker = s.member.Role, s.member.Worker
	}
	extra := 0.0 // of the energy, and of the other method's no more than the phase says
	single := func(tag, unit string, by EnergySource, joules estimate, scale float64, method string) *Number {
		t := total{seconds: d.seconds, scale: scale, extra: extra}
		t.add(s, by, joules, method)
		n := t.number()
		n.DevicesCovered = 0
		out.Metrics[tag] = Metric{Unit: unit, Number: n}
		return n
	}
	if d.why != WarnMissingDevice {
		tag := GPUEnergy
		if !d.whole {
			tag = GPUEnergyCovered
		}
		extra = doubted([]deviceEnergy{d})
		n := single(tag, "J", s.source, estimate{d.joules, d.sigma}, 1, s.method(s.source))
		n.Enclosure, n.ClockRange = d.enclosure, d.clock
		extra = 0
	}
	if w, ok := d.watts.Get(); ok {
		single(GPUPower, "W", SourcePower, estimate{w.value * d.seconds, w.sigma * d.seconds}, 1/d.seconds, s.survey.powerMethod())
	}
	if c, ok := d.check.Get(); ok {
		single(CrossCheckEnergy, "J", s.other(), c, 1, s.method(s.other()))
		if c.value > 0 {
			out.Metrics[CrossCheckRatio] = ratio(estimate{d.joules, d.sigma}, c)
		}
	}
	return out
}

// ratio relates the energy to what the other method says, with its random uncertainty:
// both come from one sensor, so that what is systematic is in both.
func ratio(a, b estimate) Metric {
	x, y := a.sigma/b.value, float64(a.value*b.sigma)/b.value/b.value
	return Metric{Unit: "1", Number: &Number{
		Value: a.value / b.value, Method: "energy / crosscheck_gpu_energy",
		Uncertainty: &Uncertainty{Random: math.Sqrt(float64(x*x) + float64(y*y))},
	}}
}

// totals adds up the devices. Sums are taken before any rounding.
func (r *Reducer) totals(ph *phase, out *Phase, devices []deviceEnergy, seconds float64) *total {
	energy, power := &total{seconds: seconds}, &total{seconds: seconds, scale: 1 / seconds}
	var bounds Enclosure
	enclosed := true
	for _, d := range devices {
		if d.whole {
			energy.add(d.series, d.series.source, estimate{d.joules, d.sigma}, d.series.method(d.series.source))
			energy.addClock(d.joules, d.clock)
			if d.enclosure != nil {
				bounds.Low += d.enclosure.Low
				bounds.High += d.enclosure.High
			} else {
				enclosed = false
			}
		}
		if w, ok := d.watts.Get(); ok {
			power.add(d.series, SourcePower, estimate{w.value * seconds, w.sigma * seconds}, d.series.survey.powerMethod())
		}
	}
	if energy.n() > 0 {
		r.crossCheck(ph, out, devices, energy)
		n := energy.number()
		if enclosed {
			n.Enclosure = &bounds
		}
		out.Metrics[TotalGPUEnergy] = Metric{Unit: "J", Number: n}
		out.Metrics[AverageGPUPower] = Metric{Unit: "W", Number: scaled(n, 1/seconds, "total_gpu_energy / duration")}
	}
	switch {
	case power.n() > 0:
		out.Metrics[TotalGPUPower] = Metric{Unit: "W", Number: power.number()}
	case slices.ContainsFunc(devices, func(d deviceEnergy) bool { return d.series.power != nil }):
		r.doubt(ph, WarnNoGauge, "", "the readings of power do not reach over both ends of the phase: total_gpu_power is not stated")
	case len(devices) > 0:
		r.doubt(ph, WarnNoGauge, "", "no GPU reports its power: total_gpu_power is not stated")
	}
	if r.opt.Truth != nil {
		r.compare(ph, out, devices)
	}
	return energy
}

// How far two methods may differ before a report doubts them: as a share, and in
// random standard uncertainties of the difference.
const (
	checkShare  = 0.01
	checkSigmas = 3
)

// crossCheck compares the energy with what the other method says of the devices that
// have both. Both come from the same sensor: agreement says that nothing went wrong on
// the way, not that the sensor is right. A disagreement beyond what is random is a
// systematic uncertainty: the truth may be anywhere between both, or beyond.
func (r *Reducer) crossCheck(ph *phase, out *Phase, devices []deviceEnergy, energy *total) {
	var one, other total
	for _, d := range devices {
		c, ok := d.check.Get()
		if !ok || !d.whole {
			continue
		}
		s := d.series
		one.add(s, s.source, estimate{d.joules, d.sigma}, s.method(s.source))
		other.add(s, s.other(), c, s.method(s.other()))
		if by, limit := disagreement(estimate{d.joules, d.sigma}, c); by > limit {
			far := fmt.Sprintf("%+.2f %%, where %.2f %% would be random", 100*(d.joules/c.value-1), 100*limit/c.value)
			if c.value <= 0 { // a sensor that shows nothing
				far = fmt.Sprintf("where %.3g J would be random", limit)
			}
			r.doubt(ph, WarnDisagree, s.survey.device.ID, "%s: its energy is %.6g J by its %s and %.6g J by its %s, %s",
				deviceName(s.survey.device), d.joules, s.method(s.source), c.value, s.method(s.other()), far)
		}
	}
	if other.n() == 0 {
		return
	}
	a, b := estimate{one.joules(), one.random()}, estimate{other.joules(), other.random()}
	other.seconds = energy.seconds
	out.Metrics[CrossCheckEnergy] = Metric{Unit: "J", Number: other.number()}
	if b.value > 0 {
		m := ratio(a, b)
		m.DevicesCovered = other.n()
		out.Metrics[CrossCheckRatio] = m
	}
	energy.extra = doubted(devices)
}

// doubted returns the systematic standard uncertainty, in joules, that devices' energy has
// since the other method says something else of it: half of what both differ by, where
// that is more than is random.
func doubted(devices []deviceEnergy) float64 {
	var one, other total
	for _, d := range devices {
		if c, ok := d.check.Get(); ok && d.whole {
			one.parts = append(one.parts, part{estimate: estimate{d.joules, d.sigma}})
			other.parts = append(other.parts, part{estimate: c})
		}
	}
	if by, limit := disagreement(estimate{one.joules(), one.random()}, estimate{other.joules(), other.random()}); by > limit {
		return by / 2
	}
	return 0
}

// disagreement returns by how much two figures differ, and by how much they may.
func disagreement(a, b estimate) (by, limit float64) {
	sigma := math.Sqrt(float64(a.sigma*a.sigma) + float64(b.sigma*b.sigma))
	return math.Abs(a.value - b.value), max(float64(checkShare*b.value), float64(checkSigmas*sigma))
}

// otherScopes adds the totals of what is no GPU, a figure for each scope: scopes that
// contain each other are never added.
func (r *Reducer) otherScopes(ph *phase, out *Phase, seconds float64) {
	sums := map[sample.Scope]*total{}
	lists := map[sample.Scope][]deviceEnergy{}
	var scopes []sample.Scope
	for _, s := range r.others {
		d := s.during(&ph.Span)
		r.warnDevice(ph, d)
		out.PerDevice = append(out.PerDevice, r.perDevice(d))
		scope := s.survey.device.Scope
		if sums[scope] == nil {
			sums[scope] = &total{seconds: seconds}
			scopes = append(scopes, scope)
		}
		if d.whole {
			sums[scope].add(s, s.source, estimate{d.joules, d.sigma}, s.method(s.source))
			sums[scope].addClock(d.joules, d.clock)
			lists[scope] = append(lists[scope], d)
		}
	}
	for _, scope := range scopes {
		r.warnRefresh(ph, lists[scope])
		if t := sums[scope]; t.n() > 0 {
			t.extra = doubted(lists[scope])
			n := t.number()
			out.Metrics["total_"+string(scope)+"_energy"] = Metric{Unit: "J", Number: n}
			out.Metrics["average_"+string(scope)+"_power"] = Metric{Unit: "W", Number: scaled(n, 1/seconds, "total_"+string(scope)+"_energy / duration")}
		}
	}
}

// powerOverTime adds how power was distributed over the window, its peak, and its share
// of the limit.
func (r *Reducer) powerOverTime(ph *phase, out *Phase) {
	if ph.slice || r.cells == nil {
		return
	}
	if d, ok := describeFloats(r.cells.means(ph.Start, ph.End.V)); ok {
		method := fmt.Sprintf("means of %v of the power of all GPUs", powerStep)
		d.Of = method
		out.Metrics[GPUPowerOverTime] = Metric{Unit: "W", Distribution: &d}
		out.Metrics[PeakGPUPower] = Metric{Unit: "W", Number: &Number{Value: d.Max, Method: "highest of the " + method, DevicesCovered: int(r.cells.devices)}}
	}
	limit, ok := out.Metrics[GPUPowerLimit]
	for i := range r.gpus { // both must be of the same devices
		_, energy := out.PerDevice[i].Metrics[GPUEnergy]
		_, limited := out.PerDevice[i].Metrics[GPUPowerLimit]
		ok = ok && energy == limited
	}
	if average := out.Metrics[AverageGPUPower]; ok && limit.Value > 0 {
		out.Metrics[PowerLimitShare] = Metric{Unit: "1", Number: scaled(average.Number, 1/limit.Value, "average_gpu_power / gpu_power_limit")}
	}
}

// compare adds the truth of the devices that total_gpu_energy covers, and what
// the last readings before each end would have said of them.
func (r *Reducer) compare(ph *phase, out *Phase, devices []deviceEnergy) {
	var truth, last total
	for _, d := range devices {
		if !d.whole {
			continue
		}
		id := d.series.survey.device.ID
		a, okA := r.opt.Truth(id, ph.Start)
		b, okB := r.opt.Truth(id, ph.End.V)
		if !okA || !okB {
			r.doubt(ph, WarnNoTruth, id, "the truth file does not reach over both ends of the phase")
			return
		}
		truth.add(d.series, d.series.source, estimate{value: float64(b-a) / 1e6}, "simulator's truth")
		if v, ok := d.last.Get(); ok {
			last.add(d.series, SourceCounter, estimate{value: v}, "last counter reading before each end")
		}
	}
	for tag, t := range map[string]*total{TrueGPUEnergy: &truth, LastSampleGPUEnergy: &last} {
		if t.n() > 0 {
			n := t.number()
			n.Uncertainty = nil
			out.Metrics[tag] = Metric{Unit: "J", Number: n}
		}
	}
}
