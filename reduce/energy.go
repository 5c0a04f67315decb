package reduce

import (
	"math"
	"slices"
	"time"

	"wattrace/trace"
)

// maxMissing is the share of a window that may be missing inside it before its
// energy is withheld.
const maxMissing = 0.01

// deviceEnergy is one device's energy in one window.
type deviceEnergy struct {
	series    *series
	seconds   float64 // of the window
	joules    float64 // of the covered part
	coverage  float64 // 0 to 1
	whole     bool    // joules stands for the window
	why       Code    // when not
	sigma     float64 // random standard uncertainty, joules
	enclosure *Enclosure
	clock     *Enclosure          // joules if the clocks are off; nil where they are not
	clockCut  bool                // the readings do not cover all that the clocks leave open
	last      trace.Opt[float64]  // the last-sample difference, joules
	check     trace.Opt[estimate] // by the other method
	watts     trace.Opt[estimate] // mean of the gauge
}

// estimate is a figure with its random standard uncertainty.
type estimate struct{ value, sigma float64 }

// window evaluates one device between two instants.
func (s *series) window(from, to trace.Time) deviceEnergy {
	return s.during(&Span{Start: from, End: trace.Some(to)})
}

// during evaluates one device in a window, whose ends may not be known well.
func (s *series) during(w *Span) deviceEnergy {
	from, to := w.Start, w.End.V
	d := deviceEnergy{series: s, seconds: to.Sub(from).Seconds(), why: WarnMissingDevice}
	c, _ := s.curve(s.source)
	if c == nil || d.seconds <= 0 {
		return d
	}
	a, b := c.edgeAt(from), c.edgeAt(to)
	d.joules = float64(b.energy-a.energy) / 1e6
	d.coverage = float64(b.covered-a.covered) / float64(to-from)
	missing := float64((1 - d.coverage) * d.seconds)
	switch {
	case !a.inside || !b.inside:
		d.why = WarnNotBracketed
	case missing > float64(maxMissing*d.seconds):
		d.why = WarnMissing
	default:
		d.whole, d.why = true, ""
	}
	d.sigma = sigma(a, b, missing)
	if s.source == SourceCounter {
		d.enclosure = enclosure(a, b)
	}
	if s.counter != nil && s.counter.lastBefore != nil {
		d.last = s.counter.lastDifference(from, to)
	}
	if o, ok := s.estimate(s.other(), from, to); ok && d.whole {
		d.check = trace.Some(o)
	}
	if p, ok := s.estimate(SourcePower, from, to); ok {
		d.watts = trace.Some(estimate{p.value / d.seconds, p.sigma / d.seconds})
	}
	if (s.spread > 0 || w.EdgeSpread != [2]time.Duration{}) && d.whole {
		d.clock, d.clockCut = clockRange(c, w, s)
	}
	return d
}

// estimate returns the energy by one method, where that covers the window.
func (s *series) estimate(by EnergySource, from, to trace.Time) (estimate, bool) {
	c, _ := s.curve(by)
	if c == nil {
		return estimate{}, false
	}
	a, b := c.edgeAt(from), c.edgeAt(to)
	covered := b.covered - a.covered
	if !a.inside || !b.inside || float64(covered) < float64((1-maxMissing)*float64(to-from)) || covered == 0 {
		return estimate{}, false
	}
	whole := float64(to-from) / float64(covered) // of a mean over what is covered
	missing := to.Sub(from).Seconds() - float64(covered)/1e9
	return estimate{float64(b.energy-a.energy) / 1e6 * whole, sigma(a, b, missing)}, true
}

// sigma is the random standard uncertainty of an energy between two edges, of which
// some seconds are missing: those may have held nothing, or as much again as the rest.
func sigma(a, b *edge, missing float64) float64 {
	lost := 0.0
	if covered := float64(b.covered-a.covered) / 1e9; covered > 0 && missing > 0 {
		lost = float64(b.energy-a.energy) / 1e6 / covered * missing
	}
	edges := edgesSigma(a, b)
	return math.Sqrt(float64(edges*edges) + float64(lost*lost))
}

// edgesSigma is the random standard uncertainty of the energy between two edges, in
// joules: that of the edges, and what is lost or won in between.
func edgesSigma(a, b *edge) float64 {
	return math.Sqrt(float64(a.sigma*a.sigma) + float64(b.sigma*b.sigma) + max(0, b.spread-a.spread))
}

// clockRange returns the energies of a window whose place is known to the spread of
// the clocks, and its ends to their own: the least and the most over the shifts that are
// tried, of each with the ends drawn together and apart. Of shifts that lead
// out of what the readings cover nothing is known, which is reported: the truth may be
// out of the range.
func clockRange(c *curve, w *Span, s *series) (r *Enclosure, cut bool) {
	at := func(t trace.Time) *edge {
		if e := c.edgeAt(t); e.at == t && e.inside {
			return e
		}
		return nil
	}
	from, to := w.Start, w.End.V
	a, b := at(from), at(to)
	if a == nil || b == nil {
		return nil, true
	}
	joules := float64(b.energy-a.energy) / 1e6
	r = &Enclosure{joules, joules}
	try := func(from, to trace.Time) {
		if a, b := at(from), at(to); a != nil && b != nil {
			joules := max(0, float64(b.energy-a.energy)/1e6)
			r.Low, r.High = min(r.Low, joules), max(r.High, joules)
		} else {
			cut = true
		}
	}
	moves := shifts(s.spread)
	if s.spread == 0 {
		moves = []time.Duration{0}
	}
	for _, d := range moves {
		start, end := w.EdgeSpread[0], w.EdgeSpread[1]
		try(from.Add(d-start), to.Add(d+end))
		if start != 0 || end != 0 {
			try(from.Add(d+start), to.Add(d-end))
		}
	}
	return r, cut
}

// edgeAt returns the edge at an instant that the curve was made with; at another one,
// the next.
func (c *curve) edgeAt(t trace.Time) *edge {
	i, _ := slices.BinarySearchFunc(c.edges, t, func(e edge, t trace.Time) int { return int(min(max(e.at-t, -1), 1)) })
	return &c.edges[min(i, len(c.edges)-1)]
}

// fix turns what a calibrated sensor shows into what the device drew. That is linear
// in energy and in time, so that windows add up as before.
func (c *curve) fix(f fix) {
	if f.gain == 0 {
		return
	}
	for i := range c.edges {
		e := &c.edges[i]
		e.energy = f.energy(e.energy, e.covered)
		e.sigma = f.sigma(e.sigma)
		e.spread = f.sigma(f.sigma(e.spread)) // a variance
		e.bounds.low, e.bounds.high = f.energy(e.bounds.low, e.covered), f.energy(e.bounds.high, e.covered)
	}
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
		i, _ := slices.BinarySearchFunc(c.curve.edges, t, func(e edge, t trace.Time) int { return int(min(max(e.at-t, -1), 1)) })
		return c.lastBefore[i]
	}
	a, b := at(from), at(to)
	if !a.OK || !b.OK {
		return trace.Opt[float64]{}
	}
	return trace.Some(float64(microjoules(b.V)-microjoules(a.V)) / 1e6)
}
