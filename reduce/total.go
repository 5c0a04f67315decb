package reduce

import (
	"math"
	"slices"
	"strings"

	"wattrace/sample"
)

// The systematic standard uncertainties of a GPU's own sensor that nobody has
// calibrated. Their sources are in the package comment.
const (
	modelGain  = 0.05  // relative; shared by all devices of a model
	unitGain   = 0.015 // relative; each device its own
	zeroOffset = 5.0   // watts, shared by all
	// sharedEdges is how far the random errors of devices go together: those of one
	// server share its load, and with it how the power moves at the ends of a
	// phase. Found by simulation (accuracy_test.go).
	sharedEdges = 0.3
)

// calibrated is how a device's figures are to be read: its calibration, or nothing.
type calibrated struct {
	fix
	gainSigma, offsetSigma float64
	unit                   bool // of the very device, not of its model
}

// calibration finds the calibration of a device's metric: its own before that of its
// model, the metric's before that of all.
func (r *Reducer) calibration(s *series, id sample.MetricID) calibrated {
	best, rank := calibrated{}, 0
	for _, c := range r.opt.Calibration {
		n := 0
		switch c.Device {
		case s.survey.device.ID:
			n = 3
		case s.survey.device.Name:
			n = 1
		}
		switch c.Field {
		case id.String():
			n *= 2
		case "":
		default:
			n = 0
		}
		if n > rank {
			rank = n
			best = calibrated{fix{c.Gain, c.OffsetWatts}, c.GainSigma, c.OffsetSigma, c.Device == s.survey.device.ID}
		}
	}
	return best
}

// warnCalibrations warns of calibrations that are of no device: a name that is
// misspelt would otherwise leave what is assumed of an unknown sensor. A file of a
// whole fleet is no mistake, so that the warning is one.
func (r *Reducer) warnCalibrations() {
	var unused []string
	for _, c := range r.opt.Calibration {
		used := func(s *series) bool { return c.Device == s.survey.device.ID || c.Device == s.survey.device.Name }
		if !slices.ContainsFunc(r.all, used) {
			unused = append(unused, c.Device)
		}
	}
	if len(unused) > 0 {
		r.Warn(WarnCalibration, "", "", "%d of %d calibrations are of no device that was seen, such as that of %q", len(unused), len(r.opt.Calibration), unused[0])
	}
}

// total is a sum over devices.
type total struct {
	parts   []part
	seconds float64
	scale   float64 // that energies are multiplied by to give the figure; 0 is 1
	methods []string
	extra   float64 // a systematic standard uncertainty besides the sensors', joules
	clock   Enclosure
	clocked bool // some clock may be off
}

// part is one device's share of a total, in joules.
type part struct {
	model string
	estimate
	cal calibrated
}

// add adds a device's energy.
func (t *total) add(s *series, by EnergySource, e estimate, method string) {
	_, cal := s.curve(by)
	t.parts = append(t.parts, part{s.survey.device.Name, e, cal})
	if !slices.Contains(t.methods, method) {
		t.methods = append(t.methods, method)
	}
}

// addClock adds what a device's energy would be if its clock were off.
func (t *total) addClock(joules float64, c *Enclosure) {
	if c == nil {
		c = &Enclosure{joules, joules}
	} else {
		t.clocked = true
	}
	t.clock.Low += c.Low
	t.clock.High += c.High
}

func (t *total) n() int { return len(t.parts) }

// joules returns the sum. Values are added before any rounding.
func (t *total) joules() (sum float64) {
	for _, p := range t.parts {
		sum += p.value
	}
	return sum
}

// random returns the random standard uncertainty of the sum, in joules.
func (t *total) random() float64 {
	var squares, sum float64
	for _, p := range t.parts {
		squares += float64(p.sigma * p.sigma)
		sum += p.sigma
	}
	return math.Sqrt(float64((1-sharedEdges)*squares) + float64(sharedEdges*float64(sum*sum)))
}

// systematic returns the systematic standard uncertainty of the sum, in joules:
// u^2 = sum over models (5% E_m)^2 + sum over devices (1.5% E_i)^2 + (5 W L N)^2, where
// a calibration takes the place of what is assumed. Without zero, what the sensors
// show at no power is not part of it, as for the difference of two energies.
func (t *total) systematic(zero bool) float64 {
	type shared struct {
		key  string
		gain float64 // joules
		zero float64 // joules
	}
	var groups []shared
	find := func(key string) *shared {
		i := slices.IndexFunc(groups, func(g shared) bool { return g.key == key })
		if i < 0 {
			i = len(groups)
			groups = append(groups, shared{key: key})
		}
		return &groups[i]
	}
	var squares, assumed float64
	for _, p := range t.parts {
		switch {
		case p.cal.gain == 0:
			find("model " + p.model).gain += float64(modelGain * p.value)
			assumed += float64(zeroOffset * t.seconds)
		case p.cal.unit:
			gain, offset := float64(p.value*p.cal.gainSigma)/p.cal.gain, float64(p.cal.offsetSigma*t.seconds)/p.cal.gain
			if !zero {
				offset = 0
			}
			squares += float64(gain*gain) + float64(offset*offset)
			continue
		default:
			g := find("calibrated " + p.model)
			g.gain += float64(p.value*p.cal.gainSigma) / p.cal.gain
			g.zero += float64(p.cal.offsetSigma*t.seconds) / p.cal.gain
		}
		unit := float64(unitGain * p.value)
		squares += float64(unit * unit)
	}
	for _, g := range groups {
		squares += float64(g.gain * g.gain)
		if zero {
			squares += float64(g.zero * g.zero)
		}
	}
	if zero {
		squares += float64(assumed * assumed)
	}
	return math.Sqrt(squares + float64(t.extra*t.extra))
}

// number writes the sum up, times scale.
func (t *total) number() *Number {
	scale := t.scale
	if scale == 0 {
		scale = 1
	}
	n := &Number{
		Value: t.joules() * scale, Method: strings.Join(t.methods, " + "), DevicesCovered: len(t.parts),
		Uncertainty: &Uncertainty{t.random() * scale, t.systematic(true) * scale},
	}
	if t.clocked {
		n.ClockRange = &Enclosure{t.clock.Low * scale, t.clock.High * scale}
	}
	return n
}

// scaled returns n times an exact factor.
func scaled(n *Number, factor float64, method string) *Number {
	out := &Number{
		Value: n.Value * factor, Method: method, DevicesCovered: n.DevicesCovered,
		Uncertainty: &Uncertainty{n.Uncertainty.Random * factor, n.Uncertainty.Systematic * factor},
	}
	if c := n.ClockRange; c != nil {
		out.ClockRange = &Enclosure{c.Low * factor, c.High * factor}
	}
	return out
}

// inverse returns count/n for a figure of so much per thing, with the same relative
// uncertainty.
func inverse(n *Number, count float64, method string) *Number {
	relative := count / n.Value / n.Value
	out := &Number{
		Value: count / n.Value, Method: method, DevicesCovered: n.DevicesCovered,
		Uncertainty: &Uncertainty{n.Uncertainty.Random * relative, n.Uncertainty.Systematic * relative},
	}
	if c := n.ClockRange; c != nil && c.Low > 0 {
		out.ClockRange = &Enclosure{count / c.High, count / c.Low}
	}
	return out
}

// device writes up what a recording says of a device.
func (s *series) device() Device {
	d := s.survey.device
	out := Device{
		Device: d.ID, DeviceIndex: d.Index, Host: d.Host, Name: d.Name, Source: string(d.Source), Scope: string(d.Scope),
		Architecture: d.Architecture, Driver: s.survey.driver, MIG: d.MIG, MPS: d.MPS, Simulated: d.Simulated,
		Clocks: clocksOf(d.Clocks),
	}
	if d.Driver != "" {
		out.Driver = d.Driver
	}
	if s.source != SourceAuto {
		_, cal := s.curve(s.source)
		out.Sensor = cal.doubt()
	}
	return out
}

// clocksOf returns nil where none is known.
func clocksOf(c sample.Clocks) *Clocks {
	if c == (sample.Clocks{}) {
		return nil
	}
	return &Clocks{c.ApplicationSM.Pointer(), c.ApplicationMemory.Pointer(), c.DefaultSM.Pointer(), c.DefaultMemory.Pointer(), c.MaxSM.Pointer(), c.MaxMemory.Pointer()}
}

// AssumedSensor is what is assumed of a sensor that nobody has calibrated.
func AssumedSensor() *SensorDoubt { return new(calibrated).doubt() }

// doubt says of one device what total.systematic adds up of many.
func (c *calibrated) doubt() *SensorDoubt {
	switch {
	case c.gain == 0:
		return &SensorDoubt{ModelGain: modelGain, UnitGain: unitGain, ZeroWatts: zeroOffset}
	case c.unit:
		return &SensorDoubt{Calibrated: "device", UnitGain: c.gainSigma / c.gain, ZeroWatts: c.offsetSigma / c.gain}
	}
	return &SensorDoubt{Calibrated: "model", ModelGain: c.gainSigma / c.gain, UnitGain: unitGain, ZeroWatts: c.offsetSigma / c.gain}
}
