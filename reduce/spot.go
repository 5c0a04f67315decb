package reduce

import (
	"math"
	"slices"

	"wattrace/sample"
	"wattrace/trace"
)

// Spot is what the energy counters of the GPUs showed at the end of a short
// recording. Two of them give the energy in between that no report's arithmetic
// went into.
type Spot struct {
	// At is when the last of the GPUs was read last: to the length of a scan all
	// were.
	At   trace.Time
	GPUs map[string]SpotGPU // by Device.ID
}

// SpotGPU is what one GPU showed.
type SpotGPU struct {
	Joules  float64            // of the counter, at the last reading
	Step    trace.Opt[float64] // the largest step of the counter, in joules; unset where it did not move
	Celsius trace.Opt[float64] // the last temperature
	counted bool
}

// Add takes the rows of a batch, which follow those of the batch before.
func (s *Spot) Add(b *sample.Batch) {
	if s.GPUs == nil {
		s.GPUs = map[string]SpotGPU{}
	}
	for i, place := range b.Device {
		d := &b.Devices[place]
		if d.Scope != sample.ScopeGPU {
			continue
		}
		g := s.GPUs[d.ID]
		if v, ok := b.Float(sample.TemperatureCelsius, i); ok {
			g.Celsius = trace.Some(v)
		}
		if v, ok := b.Float(sample.EnergyJoules, i); ok {
			if rise := v - g.Joules; g.counted && rise > 0 {
				g.Step = trace.Some(max(rise, g.Step.V))
			}
			g.Joules, g.counted = v, true
			s.At = max(s.At, b.Time[i].Add(b.Took[i]/2))
		}
		s.GPUs[d.ID] = g
	}
}

// Hottest returns the highest temperature of the GPUs.
func (s *Spot) Hottest() (celsius trace.Opt[float64]) {
	for _, g := range s.GPUs {
		if v, ok := g.Celsius.Get(); ok && (!celsius.OK || v > celsius.V) {
			celsius = trace.Some(v)
		}
	}
	return celsius
}

// SpotRise is the energy between two spots.
type SpotRise struct {
	Joules     float64            // sum of what the counters rose by
	Resolution trace.Opt[float64] // sum of the largest steps of both spots; unset where one saw none
	Devices    int                // GPUs whose counters both spots know
	Lacking    []string           // those that only one knows, or whose counter fell
}

// Rise returns by how much the counters rose from one spot to a later one.
func Rise(from, to *Spot) SpotRise {
	var r SpotRise
	r.Resolution.OK = true
	ids := map[string]bool{}
	for _, s := range []*Spot{from, to} {
		for id, g := range s.GPUs {
			if g.counted {
				ids[id] = true
			}
		}
	}
	sorted := make([]string, 0, len(ids)) // sums in one order
	for id := range ids {
		sorted = append(sorted, id)
	}
	slices.Sort(sorted)
	for _, id := range sorted {
		a, b := from.GPUs[id], to.GPUs[id]
		if !a.counted || !b.counted || b.Joules < a.Joules {
			r.Lacking = append(r.Lacking, id)
			continue
		}
		r.Devices++
		r.Joules += b.Joules - a.Joules
		r.Resolution.OK = r.Resolution.OK && a.Step.OK && b.Step.OK
		r.Resolution.V += a.Step.V + b.Step.V
	}
	if r.Devices == 0 || !r.Resolution.OK {
		r.Resolution = trace.Opt[float64]{}
	}
	return r
}

// Sampled describes a sample of values: its mean, the standard deviation of n-1
// (unset for one value), the least and the most. Values must not be empty.
func Sampled(values []float64) (mean float64, std trace.Opt[float64], least, most float64) {
	n := float64(len(values))
	sorted := slices.Sorted(slices.Values(values)) // the result does not depend on the order
	for _, v := range sorted {
		mean += v
	}
	mean /= n
	if len(values) > 1 {
		var squares float64
		for _, v := range sorted {
			squares += float64((v - mean) * (v - mean))
		}
		std = trace.Some(math.Sqrt(squares / (n - 1)))
	}
	return mean, std, sorted[0], sorted[len(sorted)-1]
}
