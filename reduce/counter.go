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
	regular  bool          // the polls show Tu, so that the updates can be tracked
	maxGap   time.Duration // a longer time without a reading breaks the segment
	maxWatts float64       // what the device cannot draw

	have       bool
	started    trace.Time           // just before the last reading was taken
	mid        trace.Time           // the last reading's instant
	last       float64              // joules
	moved      trace.Time           // the reading that saw the last change; at first the first reading
	total      int64                // E at the last reading, microjoules; meaningful in a segment that has a knot
	lowNext    int                  // first edge without a lower bound
	highNext   int                  // first edge without an upper bound
	phase      tickPhase            // of the updates, where they are regular
	update     trace.Time           // the last update's instant, as far as known
	lastBefore []trace.Opt[float64] // at each edge; nil is not wanted

	resets, jumps, gaps, disordered int64
}

func newCounter(instants []trace.Time, s *survey) *counter {
	c := &counter{
		curve: newCurve(instants, false), period: s.updatePeriod(), regular: s.periodSeen(), maxGap: s.maxGap(), maxWatts: s.maxWatts(),
		phase: tickPhase{period: s.updatePeriod()},
	}
	c.curve.slow = !c.regular
	return c
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
	case joules-c.last > c.maxWatts*(mid.Sub(c.moved)+2*c.period).Seconds():
		c.jumps++
		c.breakAt(at)
	case joules > c.last:
		c.changed(mid, dt, joules)
	}
	if !c.have || joules != c.last {
		c.moved = mid
	}
	c.have, c.started, c.mid, c.last = true, at, mid, joules
}

// changed adds the knot of a value that was first seen at mid, dt after the
// value before it was read.
func (c *counter) changed(mid trace.Time, dt time.Duration, joules float64) {
	grown := microjoules(joules) - microjoules(c.last)
	first := c.curve.n == 0
	at, stamp := c.stamp(mid, dt)
	c.update = at
	c.curve.add(at, grown, stamp, 0)
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

// minApart is the part of a period that two updates are apart at least, as far as
// the polls let them: two whose polls meet would else have any power in between.
const minApart = 2

// stamp places the update that was first seen at mid, dt after the reading
// before it, and gives its standard uncertainty in seconds. Updates are regular:
// where the polls show them apart, all of them together tell when, within the two
// polls, each one was.
func (c *counter) stamp(mid trace.Time, dt time.Duration) (trace.Time, float64) {
	late := min(c.period, dt)
	if !c.regular {
		return mid.Add(-late / 2), evenly(late)
	}
	at, sigma := c.phase.stamp(mid.Add(-late), mid)
	if c.curve.n > 0 {
		at = max(at, min(c.update.Add(c.period/minApart), mid))
	}
	return at, sigma
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
		if c.lastBefore != nil {
			c.lastBefore[c.lowNext] = trace.Some(c.last)
		}
		if c.curve.n > 0 {
			edges[c.lowNext].bounds.low, edges[c.lowNext].bounds.hasLow = c.total, true
		}
	}
}

func (c *counter) end() {
	c.passEdges(math.MaxInt64)
	c.curve.end()
}
