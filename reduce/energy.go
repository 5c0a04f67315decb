package reduce

import (
	"math"
	"slices"

	"wattrace/trace"
)

// The systematic standard uncertainties of a GPU's own sensor. Their sources
// are in the package comment.
const (
	modelGain  = 0.05  // relative; shared by all devices of a run
	unitGain   = 0.015 // relative; each device its own
	zeroOffset = 5.0   // watts, shared
	// sharedEdges is how far the random errors of devices go together: those of one
	// server share its load, and with it how the power moves at the ends of a
	// phase. Found by simulation (accuracy_test.go).
	sharedEdges = 0.3
	maxMissing  = 0.01 // share of a phase that may be missing inside it before its energy is withheld
)

// deviceEnergy is one device's energy in one window.
type deviceEnergy struct {
	series    *series
	joules    float64 // of the covered part
	coverage  float64 // 0 to 1
	whole     bool    // joules stands for the window
	sigma     float64 // random standard uncertainty, joules
	enclosure *Enclosure
	last      trace.Opt[float64] // the last-sample difference, joules
	watts     trace.Opt[float64] // mean of the gauge
	wattSigma float64
	why       Code // when not whole
}

// window evaluates one device between two instants.
func (s *series) window(from, to trace.Time) deviceEnergy {
	d := deviceEnergy{series: s, why: WarnMissingDevice}
	length := to.Sub(from).Seconds()
	var c *curve
	switch {
	case s.counter != nil:
		c = s.counter.curve
	case s.power != nil:
		c = s.power.result()
	}
	if c == nil || length <= 0 {
		return d
	}
	a, b := c.edgeAt(from), c.edgeAt(to)
	d.joules = float64(b.energy-a.energy) / 1e6
	d.coverage = float64(b.covered-a.covered) / float64(to-from)
	missing := float64((1 - d.coverage) * length)
	lost := 0.0
	if covered := length - missing; covered > 0 {
		lost = d.joules / covered * missing
	}
	d.sigma = math.Sqrt(float64(a.sigma*a.sigma) + float64(b.sigma*b.sigma) + float64(lost*lost))
	switch {
	case !a.inside || !b.inside:
		d.why = WarnNotBracketed
	case missing > float64(maxMissing*length):
		d.why = WarnMissing
	default:
		d.whole, d.why = true, ""
	}
	if s.counter == nil {
		random := gaugeSigma(a, b)
		d.sigma = math.Sqrt(float64(random*random) + float64(lost*lost))
	} else {
		d.enclosure = enclosure(a, b)
		d.last = s.counter.lastDifference(from, to)
	}
	if s.power != nil {
		p := s.power.result()
		a, b := p.edgeAt(from), p.edgeAt(to)
		if a.inside && b.inside && float64(b.covered-a.covered) >= float64((1-maxMissing)*float64(to-from)) {
			d.watts = trace.Some(float64(b.energy-a.energy) / 1e6 / (float64(b.covered-a.covered) / 1e9))
			d.wattSigma = gaugeSigma(a, b) / length
		}
	}
	return d
}

// gaugeSigma is the random standard uncertainty of an integral of the gauge
// between two edges, in joules: that of the edges, and what is lost or won in
// between.
func gaugeSigma(a, b *edge) float64 {
	return math.Sqrt(float64(a.sigma*a.sigma) + float64(b.sigma*b.sigma) + max(0, b.spread-a.spread))
}

// edgeAt returns the edge at an instant that the curve was made with.
func (c *curve) edgeAt(t trace.Time) *edge {
	i, _ := slices.BinarySearchFunc(c.edges, t, func(e edge, t trace.Time) int { return int(min(max(e.at-t, -1), 1)) })
	return &c.edges[i]
}

// enclosure bounds the energy between two edges by the counter's monotony.
func enclosure(a, b *edge) *Enclosure {
	if !a.bounds.hasLow || !a.bounds.hasHigh || !b.bounds.hasLow || !b.bounds.hasHigh {
		return nil
	}
	return &Enclosure{
		Low:  float64(max(0, b.bounds.low-a.bounds.high)) / 1e6,
		High: float64(b.bounds.high-a.bounds.low) / 1e6,
	}
}

// lastDifference is what tools report that read the counter at the ends of a
// phase: the difference of the last readings before them. It is here to be
// compared with.
func (c *counter) lastDifference(from, to trace.Time) trace.Opt[float64] {
	at := func(t trace.Time) trace.Opt[float64] {
		i := slices.IndexFunc(c.curve.edges, func(e edge) bool { return e.at == t })
		return c.lastBefore[i]
	}
	a, b := at(from), at(to)
	if !a.OK || !b.OK {
		return trace.Opt[float64]{}
	}
	return trace.Some(float64(microjoules(b.V)-microjoules(a.V)) / 1e6)
}

// systematic returns the systematic standard uncertainty of the sum of
// energies over a window of that length, in joules.
func systematic(energies []float64, seconds float64) float64 {
	var sum, units float64
	for _, e := range energies {
		sum += float64(e) // which keeps a caller's product from being fused
		u := float64(unitGain * e)
		units += float64(u * u)
	}
	model, zero := float64(modelGain*sum), zeroOffset*seconds*float64(len(energies))
	return math.Sqrt(float64(model*model) + units + float64(zero*zero))
}
