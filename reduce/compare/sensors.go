package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"wattrace/reduce"
)

// gains are what a figure of energy owes to quantities that nobody knows: how much it
// changes, relative to itself, by one standard uncertainty of each.
type gains map[unknown]float64

// unknown is a quantity that nobody knows.
type unknown struct{ what, of string }

// zero is what a sensor shows at no power: it cancels where a figure is a difference.
const zero = "zero"

// gainsOf returns the gains of the energy that the devices of a scope have in a phase, or of
// the one that the metric is of. Each
// quantity is named by whom it is shared by, and by its size: what one report calibrates
// and another assumes is not the same.
func gainsOf(rep *reduce.Report, ph *reduce.Phase, scope string, m metric) gains {
	sensors := map[string]*reduce.SensorDoubt{}
	for _, d := range rep.Devices {
		if d.Scope == scope {
			sensors[d.Device] = d.Sensor
		}
	}
	total := 0.0
	for i := range ph.PerDevice {
		if m.covers(&ph.PerDevice[i]) {
			total += energyOf(&ph.PerDevice[i], scope)
		}
	}
	if total <= 0 || !measurable(total) || ph.DurationSeconds == nil || !measurable(*ph.DurationSeconds) {
		return nil
	}
	g := gains{}
	for i := range ph.PerDevice {
		d := &ph.PerDevice[i]
		joules := energyOf(d, scope)
		if joules == 0 || !m.covers(d) {
			continue
		}
		s := sensors[d.Device]
		if s == nil || !measurable(s.ModelGain) || !measurable(s.UnitGain) || !measurable(s.ZeroWatts) { // of a report from before there was one
			s = reduce.AssumedSensor()
		}
		add := func(what, by, of string, size, weight float64) {
			g[unknown{what, fmt.Sprintf("%s %s %g", by, of, size)}] += float64(size * weight)
		}
		own := s.Calibrated // by whom it is known how far the unit is from its model
		if own == "model" {
			own = ""
		}
		add("model", s.Calibrated, d.Name, s.ModelGain, joules/total)
		add("unit", own, d.Device, s.UnitGain, joules/total)
		add(zero, s.Calibrated, map[string]string{"device": d.Device, "model": d.Name}[s.Calibrated], s.ZeroWatts, *ph.DurationSeconds/total)
	}
	return g
}

func energyOf(d *reduce.PerDevice, scope string) float64 {
	m, ok := d.Metrics[reduce.GPUEnergy]
	if !ok || m.Number == nil || d.Scope != scope {
		return 0
	}
	return m.Value
}

// mean returns the mean of the gains of runs, and false where those of a run are unknown.
func mean(runs []gains) (gains, bool) {
	m := gains{}
	for _, g := range runs {
		if g == nil {
			return nil, false
		}
		for k, v := range g {
			m[k] += v / float64(len(runs))
		}
	}
	return m, true
}

// differ returns the standard uncertainty of the ratio of two figures, relative to it:
// what both have in common cancels as far as it is in both to the same share.
func differ(a, b gains, net bool) float64 {
	var keys []unknown
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(x, y unknown) int { return cmp.Or(cmp.Compare(x.what, y.what), cmp.Compare(x.of, y.of)) }) // sums depend on the order
	sum := 0.0
	for _, k := range keys {
		if v := b[k] - a[k]; !net || k.what != zero {
			sum += float64(v * v)
		}
	}
	return math.Sqrt(sum)
}

// level says how far the sensors of two groups of runs are the same.
func level(base, new []Run, phase string, m metric) Sensors {
	devices, models := map[string]int{}, map[string]int{}
	scope := gpu
	if m.device != nil {
		scope = m.device.key.scope
	}
	for side, runs := range [][]Run{base, new} {
		for _, r := range runs {
			ph := r.phase(phase)
			if ph == nil {
				continue
			}
			for i := range ph.PerDevice {
				if d := &ph.PerDevice[i]; m.covers(d) && energyOf(d, scope) > 0 {
					devices[d.Device] |= 1 << side
					models[d.Name] |= 1 << side
				}
			}
		}
	}
	both := func(m map[string]int) (all bool) {
		for _, sides := range m {
			if sides != 3 {
				return false
			}
		}
		return len(m) > 0
	}
	switch {
	case len(devices) == 0:
		return ""
	case both(devices):
		return SameDevices
	case both(models):
		return SameModel
	}
	return OtherModels
}
