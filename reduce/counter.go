package reduce

import (
	"math"
	"time"

	"wattrace/trace"
)

// counter turns the readings of one energy counter into knots, and keeps for
// every edge the enclosure and the last reading before it.
type counter struct {
	curve    *curve
	period   time.Duration // Tu, between two updates
	maxGap   time.Duration // a longer time without a reading breaks the segment
	maxWatts float64       // what the device cannot draw

	have       bool
	started    trace.Time // just before the last reading was taken
	mid        trace.Time // the last reading's instant
	last       float64    // joules
	total      int64      // E at the last reading, microjoules; meaningful in a segment that has a knot
	lowNext    int        // first edge without a lower bound
	highNext   int        // first edge without an upper bound
	lastBefore []trace.Opt[float64]

	resets, jumps, gaps, disordered int64
}

func newCounter(instants []trace.Time, s *survey) *counter {
	return &counter{
		curve: newCurve(instants, false), period: s.updatePeriod(), maxGap: s.maxGap(), maxWatts: s.maxWatts(),
		lastBefore: make([]trace.Opt[float64], len(instants)),
	}
}

// read takes one reading of the counter, in joules.
func (c *counter) read(at trace.Time, took time.Duration, joules float64) {
	mid := at.Add(took / 2)
	dt := mid.Sub(c.mid)
	if c.have && dt <= 0 {
		c.disordered++
		return
	}
	c.passEdges(at.Add(took))
	switch {
	case !c.have:
	case dt > c.maxGap:
		c.gaps++
		c.breakAt(at)
	case joules < c.last:
		c.resets++
		c.breakAt(at)
	case joules-c.last > c.maxWatts*(dt+c.period+time.Second).Seconds():
		c.jumps++
		c.breakAt(at)
	case joules > c.last:
		c.changed(mid, dt, joules)
	}
	c.have, c.started, c.mid, c.last = true, at, mid, joules
}

// changed adds the knot of a value that was first seen at mid, dt after the
// value before it was read.
func (c *counter) changed(mid trace.Time, dt time.Duration, joules float64) {
	grown := microjoules(joules) - microjoules(c.last)
	late := min(c.period, dt)
	first := c.curve.n == 0
	c.curve.add(mid.Add(-late/2), grown, late.Seconds()/math.Sqrt(12), 0)
	c.total = c.curve.energy
	edges := c.curve.edges
	if first { // the reading before it bounds the edges since then
		for i := c.lowNext - 1; i >= 0 && edges[i].at >= c.started; i-- {
			if !edges[i].bounds.hasLow {
				edges[i].bounds.low, edges[i].bounds.hasLow = c.total-grown, true
			}
		}
	}
	for ; c.highNext < len(edges) && edges[c.highNext].at <= c.started; c.highNext++ {
		edges[c.highNext].bounds.high, edges[c.highNext].bounds.hasHigh = c.total, true
	}
}

// breakAt ends the segment: what the counter did until the reading that began
// at t is not known.
func (c *counter) breakAt(t trace.Time) {
	c.curve.cut()
	for c.highNext < len(c.curve.edges) && c.curve.edges[c.highNext].at <= t {
		c.highNext++
	}
}

// passEdges gives the edges before t what the last reading says of them.
func (c *counter) passEdges(t trace.Time) {
	edges := c.curve.edges
	for ; c.lowNext < len(edges) && edges[c.lowNext].at < t; c.lowNext++ {
		if !c.have {
			continue
		}
		c.lastBefore[c.lowNext] = trace.Some(c.last)
		if c.curve.n > 0 {
			edges[c.lowNext].bounds.low, edges[c.lowNext].bounds.hasLow = c.total, true
		}
	}
}

func (c *counter) end() {
	c.passEdges(math.MaxInt64)
	c.curve.end()
}

// integrator turns the readings of one power gauge into knots.
type integrator struct {
	curve  *curve
	shift  time.Duration // the sensor's lag: samples are moved earlier by it
	maxGap time.Duration

	have  bool
	at    trace.Time
	watts float64

	gaps, disordered int64
}

func newIntegrator(instants []trace.Time, s *survey) *integrator {
	return &integrator{curve: newCurve(instants, true), shift: s.powerLag(), maxGap: s.maxGap()}
}

// read takes one reading of the gauge, in watts.
func (g *integrator) read(at trace.Time, took time.Duration, watts float64) {
	t := at.Add(took/2 - g.shift)
	dt := t.Sub(g.at)
	switch {
	case !g.have:
		g.curve.add(t, 0, 0, watts)
	case dt <= 0:
		g.disordered++
		return
	case dt > g.maxGap:
		g.gaps++
		g.curve.cut()
		g.curve.add(t, 0, 0, watts)
	default:
		mean := (g.watts + watts) / 2
		g.curve.add(t, microjoules(mean*dt.Seconds()), 0, watts)
	}
	g.have, g.at, g.watts = true, t, watts
}

func (g *integrator) end() { g.curve.end() }
