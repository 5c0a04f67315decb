package reduce

import (
	"math"
	"math/bits"

	"wattrace/trace"
)

// knot is a point of a device's cumulative energy function.
type knot struct {
	at    trace.Time
	total int64   // microjoules since the curve began
	stamp float64 // standard uncertainty of at, in seconds
	watts float64 // power at the knot; for integrated power only
}

// edge is what a curve knows at one instant: one end of a window.
type edge struct {
	at      trace.Time
	energy  int64   // E(at), microjoules
	covered int64   // C(at), nanoseconds
	inside  bool    // whether two knots of one segment bracket it
	sigma   float64 // standard uncertainty of energy, in joules
	spread  float64 // variance of what has been lost or won for good since the curve began, J^2
	bounds  bounds  // for counters
}

// bounds enclose the energy at an edge, in microjoules.
type bounds struct {
	low, high       int64
	hasLow, hasHigh bool
}

// A curve is E(t) and C(t) of one device, evaluated at given instants while
// its knots stream by. It holds no more than its edges and three knots.
type curve struct {
	edges     []edge  // in order of time
	next      int     // the first edge that is not evaluated yet
	trapezoid bool    // power is linear between knots; else constant
	located   bool    // a step between two knots is where their energies say
	slow      bool    // knots are as far apart as polls, not as updates
	fill      *filler // where the curve goes on the way; nil is nowhere
	recent    [3]knot
	n         int // how many of recent are valid
	energy    int64
	covered   int64
	knots     int64

	roughness float64 // mean square of the change of power from span to span, W^2
	changes   int64   // how many such changes roughness knows, up to its memory
}

// newCurve makes a curve that is evaluated at the instants, which are in order.
func newCurve(instants []trace.Time, trapezoid bool) *curve {
	c := &curve{trapezoid: trapezoid, edges: make([]edge, len(instants))}
	for i, at := range instants {
		c.edges[i].at = at
	}
	return c
}

// add appends a knot after the last one: grown is the energy since then, in
// microjoules, and is ignored for the first knot of a segment.
func (c *curve) add(at trace.Time, grown int64, stamp, watts float64) {
	if c.n == 0 {
		c.flat(at)
		c.recent[0], c.n = knot{at, c.energy, stamp, watts}, 1
		c.knots++
		return
	}
	c.energy += grown
	c.knots++
	k := knot{at, c.energy, stamp, watts}
	if c.n < 3 {
		c.recent[c.n] = k
		c.n++
		if c.n == 3 {
			c.span(c.recent[0], c.recent[1], nil, &c.recent[2])
		}
		return
	}
	c.roughen(c.recent[0], c.recent[1], c.recent[2])
	c.span(c.recent[1], c.recent[2], &c.recent[0], &k)
	c.recent = [3]knot{c.recent[1], c.recent[2], k}
}

// cut ends a segment: between its last knot and the next one nothing is known.
func (c *curve) cut() {
	switch c.n {
	case 2:
		c.span(c.recent[0], c.recent[1], nil, nil)
	case 3:
		c.span(c.recent[1], c.recent[2], &c.recent[0], nil)
	}
	if c.n > 1 && c.next < len(c.edges) && c.edges[c.next].at == c.recent[c.n-1].at {
		// An edge on the very last knot is bracketed.
		e, last := &c.edges[c.next], c.recent[c.n-1]
		e.energy, e.covered, e.inside = last.total, c.covered, true
		e.sigma = last.stamp * slope(c.recent[c.n-2], last)
		c.next++
	}
	c.n = 0
	c.fill.cut()
}

// end evaluates what is left.
func (c *curve) end() {
	c.cut()
	c.flat(math.MaxInt64)
}

// flat evaluates the edges before t, where nothing is known.
func (c *curve) flat(t trace.Time) {
	for ; c.next < len(c.edges) && c.edges[c.next].at < t; c.next++ {
		c.edges[c.next].energy, c.edges[c.next].covered = c.energy, c.covered
	}
}

// span evaluates the edges in [a, b), with the knots around where there are
// any, and moves C(t) on to b.
func (c *curve) span(a, b knot, before, after *knot) {
	c.fill.to(a.at, a.total, c.covered)
	for ; c.next < len(c.edges) && c.edges[c.next].at < b.at; c.next++ {
		e := &c.edges[c.next]
		e.inside = true
		e.energy = c.between(a, b, before, after, e.at)
		e.covered = c.covered + int64(e.at-a.at)
		e.sigma = c.sigmaAt(a, b, before, after, e.at)
		c.fill.edge(e)
	}
	c.covered += int64(b.at - a.at)
	c.fill.to(b.at, b.total, c.covered)
}

// between returns E(t) for t in [a, b], with the knots around where there are
// any.
func (c *curve) between(a, b knot, before, after *knot, t trace.Time) int64 {
	var e int64
	switch {
	case c.trapezoid:
		dt, whole := t.Sub(a.at).Seconds(), b.at.Sub(a.at).Seconds()
		rise := (b.watts - a.watts) / whole
		e = a.total + microjoules(float64(a.watts*dt)+float64(float64(rise*dt)*dt)/2)
	default:
		e = a.total + mulDiv(b.total-a.total, int64(t-a.at), int64(b.at-a.at))
		if before != nil && after != nil {
			e += c.bend(a, b, slope(*before, a), slope(b, *after), t)
		}
	}
	return min(max(e, a.total), b.total)
}

// How E(t) bends between two updates of a counter; see bend.
const (
	resolution  = 0.002 // joules that a counter of whole millijoules may be short of
	rampShare   = 0.25
	stepDoubt   = 0.03 // share of the square of a step that counts as power's movement, where the step is taken to be at an edge
	placeDoubt  = 0.85 // and where its place is taken from the energies
	bridgeShare = 2.6  // what the variance of the change of mean power is divided by: 2 were power a random walk
	meansShare  = 4.0  // the same of a gauge's means, which the bend follows better
	slowShare   = 3.2  // and of a counter whose updates are not seen
	slowDoubt   = 0.2  // and the share of the square of a step
	lumpDoubt   = 1.8  // share of the square of power that is only between two updates and nowhere beside them
	slowLump    = 5.0  // the same where updates are not seen
	stepTest    = 5    // a change of power is a step when its square is so many times the roughness
)

// bend returns by how much E(t) differs from the straight line between two
// updates, in microjoules, judged by the mean power of the spans before and
// after, which is as far as an update of the counter can be looked into.
//
// Where the power moves no more than it usually does, the line bends by a share
// of (before-after) w (1-w) T, w being the share of the span T before t. A
// quarter is right for power that rises or falls evenly, and does no harm where
// it moves at random.
//
// Where the power steps, as at the ends of a phase beside a rest, the step is
// taken to be at t: the span before t has the power before, the rest of it the
// power after. What the span's energy says against that is given to the two
// parts by their lengths and the squares of their powers, since power that is
// high is the power that varies: nearly all to the busy part.
//
// Both leave E(t) monotone, held between the two updates as it is. The first is
// a parabola that falls only where it is below the one or above the other; the
// second has a slope of at least three quarters of the lower power, provided
// that the span's mean power is not below both.
func (c *curve) bend(a, b knot, before, after float64, t trace.Time) int64 {
	span, x := b.at.Sub(a.at).Seconds(), t.Sub(a.at).Seconds()
	d, y := before-after, span-x
	grown, least := float64(b.total-a.total)/1e6, float64(min(before, after)*span)
	if !c.steps(d) || grown < least-resolution {
		return microjoules(rampShare * d * x * y / span)
	}
	if c.located {
		if grown > float64(max(before, after)*span) {
			return 0
		}
		at := (float64(after*span) - grown) / (after - before)
		return microjoules(float64(before*min(x, at)) + float64(after*max(0, x-at)) - float64(grown*x)/span)
	}
	left, right := float64(before*x), float64(after*y)
	weightLeft, weightRight := float64(before*left), float64(after*right)
	share := 0.5
	if weights := weightLeft + weightRight; weights > 0 {
		share = weightLeft / weights
	}
	rest := max(grown, least) - left - right
	return microjoules(left + float64(rest*share) - float64(grown*x)/span)
}

// steps reports whether a change of power is more than the power's usual
// movement, and more than the counter's resolution makes of it.
func (c *curve) steps(watts float64) bool {
	return float64(watts*watts) > stepTest*max(c.roughness, 1)
}

// slope returns the mean power between two knots, in watts.
func slope(a, b knot) float64 {
	if b.at <= a.at {
		return 0
	}
	return float64(b.total-a.total) / 1e6 / b.at.Sub(a.at).Seconds()
}

// sigmaAt returns the standard uncertainty of E(t), in joules: the stamps of
// the two knots, each moving the line by its share and both alike, and the power's
// movement between them. Energy whose power moves at random is a Brownian bridge between
// its knots, of variance w(1-w) T^2 D/2, where w is the share of the span T
// before t and D the variance of the change of mean power from one span to the
// next. D is taken half from the spans beside and half from those of the last
// seconds; beside a step, which E(t) follows, from the last seconds alone and a share of
// the step.
func (c *curve) sigmaAt(a, b knot, before, after *knot, t trace.Time) float64 {
	w := t.Sub(a.at).Seconds() / b.at.Sub(a.at).Seconds()
	p := slope(a, b)
	beside, n := 0.0, 0.0
	if before != nil {
		d := p - slope(*before, a)
		beside, n = float64(d*d), 1
	}
	if after != nil {
		d := slope(b, *after) - p
		beside, n = beside+float64(d*d), n+1
	}
	change := c.roughness
	if n == 2 && c.steps(slope(*before, a)-slope(b, *after)) {
		d := slope(b, *after) - slope(*before, a)
		share := stepDoubt
		switch {
		case c.located:
			share = placeDoubt
		case c.slow:
			share = slowDoubt
		}
		change += float64(share * float64(d*d))
	} else if n > 0 {
		change = (beside/n + c.roughness) / 2
		if n == 2 && !c.located {
			lump := p - (slope(*before, a)+slope(b, *after))/2
			if c.steps(lump) {
				share := lumpDoubt
				if c.slow {
					share = slowLump
				}
				change = max(change, float64(share*float64(lump*lump)))
			}
		}
	}
	stamps, span := float64((1-w)*a.stamp*p)+float64(w*b.stamp*p), b.at.Sub(a.at).Seconds()
	part := bridgeShare
	switch {
	case c.located:
		part = meansShare
	case c.slow:
		part = slowShare
	}
	bridge := w * (1 - w) * span * span * change / part
	return math.Sqrt(float64(stamps*stamps) + float64(bridge))
}

// roughen follows the mean square of the change of power from span to span,
// over some tens of spans.
func (c *curve) roughen(a, b, after knot) { c.roughenBy(slope(b, after) - slope(a, b)) }

const memory = 32

func (c *curve) roughenBy(watts float64) {
	c.changes = min(c.changes+1, memory)
	c.roughness += (float64(watts*watts) - c.roughness) / float64(c.changes)
}

// mulDiv returns floor(x*num/den) for 0 <= num <= den and x >= 0, exactly.
func mulDiv(x, num, den int64) int64 {
	hi, lo := bits.Mul64(uint64(x), uint64(num))
	q, _ := bits.Div64(hi, lo, uint64(den))
	return int64(q)
}

// microjoules rounds joules to integer microjoules.
func microjoules(joules float64) int64 { return int64(math.Round(joules * 1e6)) }
