package reduce

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"wattrace/trace"
)

// timeFormat is RFC 3339 with nine digits.
const timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

// phaseReport writes up one phase.
func (r *Reducer) phaseReport(ph *phase) Phase {
	out := Phase{
		Name: ph.Name, Kind: ph.Kind, Concurrency: ph.Concurrency,
		Start:   r.clock.Wall(ph.Start).Format(timeFormat),
		Metrics: map[string]Metric{}, PerDevice: []PerDevice{}, Windows: []Phase{},
	}
	if r.hasLog {
		out.Requests = &ph.requests
		r.latencies(ph, out.Metrics)
	}
	end, ok := ph.End.Get()
	if !ok {
		r.doubt(ph, WarnNoEnd, "", "the log does not say when the phase ended: no energy, power or throughput")
		return out
	}
	seconds := end.Sub(ph.Start).Seconds()
	out.End, out.DurationSeconds = r.clock.Wall(end).Format(timeFormat), &seconds
	if r.hasLog {
		out.Tokens = r.tokens(ph)
		throughput(ph, out.Tokens, seconds, out.Metrics)
	}
	if len(r.all) > 0 {
		r.energies(ph, &out, seconds)
	}
	for _, slice := range ph.slices {
		out.Windows = append(out.Windows, r.phaseReport(slice))
	}
	return out
}

// doubt warns of a phase. A window is asked for in full knowledge of what runs
// across its ends, and a slice's doubts are its phase's.
func (r *Reducer) doubt(ph *phase, code Code, device, format string, args ...any) {
	switch {
	case ph.quiet:
		return
	case ph.window && code != WarnNotBracketed && code != WarnMissing && code != WarnMissingDevice && code != WarnUnexpected:
		return
	}
	r.Warn(code, ph.Name, device, format, args...)
}

// latencies describes the requests that succeeded.
func (r *Reducer) latencies(ph *phase, m map[string]Metric) {
	for tag, values := range map[string][]time.Duration{
		TimeToFirstToken: ph.ttft, InterTokenLatency: ph.itl, RequestLatency: ph.e2e,
	} {
		if d, ok := Describe(values); ok {
			m[tag] = Metric{Unit: "s", Distribution: &d}
		}
	}
	q := ph.requests
	if q.Failed > 0 {
		var classes []string
		for class, n := range q.Errors {
			classes = append(classes, fmt.Sprintf("%s %d", class, n))
		}
		slices.Sort(classes)
		r.doubt(ph, WarnFailed, "", "%d of %s failed (%s): their energy stays in the total, their tokens are not counted",
			q.Failed, plural(int(q.Sent), "request", "requests"), strings.Join(classes, ", "))
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
		t.Input = &ph.input
	}
	if noOutput == 0 {
		t.Output = &ph.output
	} else {
		r.doubt(ph, WarnNoTokens, "", "%s not say how many tokens they had: nothing is said per token", plural(int(noOutput), "request does", "requests do"))
	}
	if ph.counted > 0 {
		r.doubt(ph, WarnTokensCounted, "", "the output tokens of %s were counted from events, which is a lower bound: the server sent no usage",
			plural(int(ph.counted), "request", "requests"))
	}
	return &t
}

func throughput(ph *phase, t *Tokens, seconds float64, m map[string]Metric) {
	rate := func(tag, unit string, n float64) {
		if seconds > 0 {
			m[tag] = Metric{Unit: unit, Number: &Number{Value: n / seconds, Method: "count / duration"}}
		}
	}
	if ph.requests.Succeeded > 0 {
		rate(RequestThroughput, "requests/s", float64(ph.requests.Succeeded))
	}
	if t != nil && t.Output != nil {
		rate(OutputTokenThroughput, "tokens/s", *t.Output)
		if t.Input != nil {
			rate(TotalTokenThroughput, "tokens/s", *t.Input+*t.Output)
		}
	}
}

// energies fills in the devices and what follows from their energy.
func (r *Reducer) energies(ph *phase, out *Phase, seconds float64) {
	out.Devices = &Devices{Expected: max(len(r.gpus), r.opt.ExpectDevices), Missing: []string{}}
	if seconds <= 0 {
		r.doubt(ph, WarnNotBracketed, "", "the phase has no length: no energy and no power")
		return
	}
	var devices []deviceEnergy
	partitioned := false
	for _, s := range r.gpus {
		d := s.window(ph.Start, ph.End.V)
		devices = append(devices, d)
		if d.whole {
			out.Devices.Seen++
			partitioned = partitioned || s.survey.device.MIG
		} else {
			out.Devices.Missing = append(out.Devices.Missing, s.survey.device.ID)
		}
		r.warnDevice(ph, d)
		out.PerDevice = append(out.PerDevice, perDevice(d, seconds))
	}
	if unknown := out.Devices.Expected - len(r.gpus); unknown > 0 {
		r.doubt(ph, WarnMissingDevice, "", "%s in the telemetry, %d expected", plural(len(r.gpus), "GPU is", "GPUs are"), out.Devices.Expected)
	}
	if n := r.opt.ExpectDevices; n > 0 && len(r.gpus) > n {
		r.doubt(ph, WarnUnexpected, "", "%s in the telemetry, %d expected: all are counted", plural(len(r.gpus), "GPU is", "GPUs are"), n)
	}
	r.totals(ph, out, devices, seconds)
	if e, ok := out.Metrics[TotalGPUEnergy]; ok && r.hasLog && !partitioned {
		r.ratios(ph, out, e.Number)
	}
}

func (r *Reducer) warnDevice(ph *phase, d deviceEnergy) {
	device := d.series.survey.device
	switch {
	case d.why == WarnNotBracketed:
		r.doubt(ph, d.why, device.ID, "%s: its telemetry covers %.4g %% of the phase: its energy is not stated", deviceName(device), 100*d.coverage)
	case d.why == WarnMissing:
		r.doubt(ph, d.why, device.ID, "%s: readings are missing for %.4g %% of the phase: its energy is not stated", deviceName(device), 100*(1-d.coverage))
	case d.why == WarnMissingDevice:
		r.doubt(ph, d.why, device.ID, "%s: reports neither energy nor power", deviceName(device))
	case d.coverage < 1:
		r.doubt(ph, WarnMissing, device.ID, "%s: readings are missing for %.4g %% of the phase", deviceName(device), 100*(1-d.coverage))
	}
}

// perDevice writes up one device.
func perDevice(d deviceEnergy, seconds float64) PerDevice {
	s := d.series
	device := s.survey.device
	out := PerDevice{
		Device: device.ID, DeviceIndex: device.Index, Host: device.Host, Name: device.Name,
		Source: string(device.Source), Scope: string(device.Scope), Coverage: d.coverage, Metrics: map[string]Metric{},
	}
	number := func(v float64, method string, u *Uncertainty) *Number {
		return &Number{Value: v, Method: method, Uncertainty: u}
	}
	switch {
	case d.whole:
		n := number(d.joules, s.survey.energyMethod(), &Uncertainty{d.sigma, systematic([]float64{d.joules}, seconds)})
		n.Enclosure = d.enclosure
		out.Metrics[GPUEnergy] = Metric{Unit: "J", Number: n}
	case d.coverage > 0:
		out.Metrics[GPUEnergyCovered] = Metric{Unit: "J", Number: number(d.joules, s.survey.energyMethod(), nil)}
	}
	if w, ok := d.watts.Get(); ok {
		out.Metrics[GPUPower] = Metric{Unit: "W", Number: number(w, s.survey.powerMethod(),
			&Uncertainty{d.wattSigma, systematic([]float64{w * seconds}, seconds) / seconds})}
	}
	return out
}

// totals adds up the devices. Sums are taken before any rounding.
func (r *Reducer) totals(ph *phase, out *Phase, devices []deviceEnergy, seconds float64) {
	var energy, power total
	var bounds Enclosure
	enclosed := true
	for _, d := range devices {
		if d.whole {
			energy.add(d.joules, d.sigma, d.series.survey.energyMethod())
			if d.enclosure != nil {
				bounds.Low += d.enclosure.Low
				bounds.High += d.enclosure.High
			} else {
				enclosed = false
			}
		}
		if w, ok := d.watts.Get(); ok {
			power.add(w, d.wattSigma, d.series.survey.powerMethod())
		}
	}
	if energy.n() > 0 {
		n := energy.number(systematic(energy.values, seconds))
		if enclosed {
			n.Enclosure = &bounds
		}
		out.Metrics[TotalGPUEnergy] = Metric{Unit: "J", Number: n}
		out.Metrics[AverageGPUPower] = Metric{Unit: "W", Number: scaled(n, 1/seconds, "total_gpu_energy / duration")}
	}
	switch {
	case power.n() > 0:
		joules := make([]float64, len(power.values))
		for i, w := range power.values {
			joules[i] = w * seconds
		}
		out.Metrics[TotalGPUPower] = Metric{Unit: "W", Number: power.number(systematic(joules, seconds) / seconds)}
	case slices.ContainsFunc(devices, func(d deviceEnergy) bool { return d.series.power != nil }):
		r.doubt(ph, WarnNoGauge, "", "the readings of power do not reach over both ends of the phase: total_gpu_power is not stated")
	default:
		r.doubt(ph, WarnNoGauge, "", "no GPU reports its power: total_gpu_power is not stated")
	}
	if r.opt.Truth != nil {
		r.compare(ph, out, devices)
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
		truth.add(float64(b-a)/1e6, 0, "simulator's truth")
		if v, ok := d.last.Get(); ok {
			last.add(v, 0, "last counter reading before each end")
		}
	}
	for tag, t := range map[string]*total{TrueGPUEnergy: &truth, LastSampleGPUEnergy: &last} {
		if t.n() > 0 {
			n := t.number(0)
			n.Uncertainty = nil
			out.Metrics[tag] = Metric{Unit: "J", Number: n}
		}
	}
}

// total is a sum over devices.
type total struct {
	values  []float64
	squares float64 // of the random uncertainties
	sigmas  float64 // their sum
	methods []string
}

func (t *total) add(v, sigma float64, method string) {
	t.values = append(t.values, v)
	t.squares += float64(sigma * sigma)
	t.sigmas += sigma
	if !slices.Contains(t.methods, method) {
		t.methods = append(t.methods, method)
	}
}

func (t *total) n() int { return len(t.values) }

func (t *total) number(systematic float64) *Number {
	var sum float64
	for _, v := range t.values {
		sum += v
	}
	random := math.Sqrt(float64((1-sharedEdges)*t.squares) + float64(sharedEdges*float64(t.sigmas*t.sigmas)))
	return &Number{
		Value: sum, Method: strings.Join(t.methods, " + "), DevicesCovered: len(t.values),
		Uncertainty: &Uncertainty{random, systematic},
	}
}

// scaled returns n times an exact factor.
func scaled(n *Number, factor float64, method string) *Number {
	return &Number{
		Value: n.Value * factor, Method: method, DevicesCovered: n.DevicesCovered,
		Uncertainty: &Uncertainty{n.Uncertainty.Random * factor, n.Uncertainty.Systematic * factor},
	}
}

// ratios relates the energy to tokens, users and requests.
func (r *Reducer) ratios(ph *phase, out *Phase, energy *Number) {
	m := out.Metrics
	how := "tokens"
	if ph.arrivals {
		how = "tokens arrived"
	}
	if t := out.Tokens; t != nil && t.Output != nil && *t.Output == 0 {
		r.doubt(ph, WarnNoTokens, "", "there are no output tokens: nothing is said per token")
	}
	if t := out.Tokens; t != nil && t.Output != nil && *t.Output > 0 {
		tokens := *t.Output
		relative := math.Sqrt(ph.outputSquare) / tokens
		perToken := scaled(energy, 1/tokens, "total_gpu_energy / output "+how)
		edges, inFlight := perToken.Uncertainty.Random, perToken.Value*relative
		perToken.Uncertainty.Random = math.Sqrt(float64(edges*edges) + float64(inFlight*inFlight))
		m[EnergyPerOutputToken] = Metric{Unit: "J/token", Number: perToken}
		if energy.Value > 0 {
			perJoule := scaled(perToken, tokens/energy.Value*tokens/energy.Value, "output "+how+" / total_gpu_energy")
			perJoule.Value = tokens / energy.Value
			m[OutputTokensPerJoule] = Metric{Unit: "tokens/J", Number: perJoule}
		}
		if t.Input != nil {
			m[EnergyPerTotalToken] = Metric{Unit: "J/token", Number: scaled(energy, 1/(*t.Input+tokens), "total_gpu_energy / all "+how)}
		}
	}
	if n := ph.requests.Succeeded; n > 0 {
		m[EnergyPerRequest] = Metric{Unit: "J/request", Number: scaled(energy, 1/float64(n), "total_gpu_energy / requests")}
	}
	switch {
	case ph.Kind == string(trace.Idle):
	case ph.Concurrency > 0:
		m[EnergyPerUser] = Metric{Unit: "J/user", Number: scaled(energy, 1/float64(ph.Concurrency), "total_gpu_energy / concurrency")}
	default:
		r.doubt(ph, WarnNoConcurrency, "", "no concurrency is configured: energy_per_user is not stated")
	}
}
