package reduce

import (
	"math"
	"time"

	"wattrace/trace"
)

// A fastGauge makes the curve of a power gauge that is polled about as fast as it
// is updated, or faster, by what its sensor is. It evaluates the curve's edges
// itself.
//
// An average is deconvolved. An instant field whose windows touch each other
// (Duty 1) is the energy between two updates, divided by the time: its knots are
// at the updates, and nothing is shifted or smoothed, which is up to a tenth
// closer to a power meter than the trapezoid through the middles of the windows
// (meter_test.go). For one that sees a part of the time only, that trapezoid is
// all there is.
type fastGauge struct {
	curve  *curve
	sensor Sensor
	points changePoints
	deconv Deconvolver
	maxGap time.Duration // a longer time without a reading breaks the segment

	have bool
	at   trace.Time // of the last reading
	last Tick       // the last update with a value
	// hidden says that there was an update since whose value no poll saw.
	hidden bool

	knots []gaugeKnot // those that wait for their neighbours, and neighbours of those
	sent  int         // how many of knots are in the curve
	reach int         // how many neighbours on each side a knot has

	gaps, disordered int64
}

// gaugeKnot is a knot to be.
type gaugeKnot struct {
	at    trace.Time
	grown int64   // microjoules since the knot before
	stamp float64 // standard uncertainty of at, seconds
	watts float64 // mean since the knot before; of a partial sensor the value

	change   float64 // mean square of the change of watts from knot to knot, around this one
	variance float64 // of the energy, J^2
}

const (
	instantReach = 2
	averageReach = 11 // the usual length of an average, in updates

	// averageSpread times the period, times the change of power from one update
	// to the next, is the standard uncertainty of the deconvolved energy at an
	// update. It is set so that 1.96 of it cover 95 % of the windows of a
	// simulated server (gauge_test.go); of steps, pulses and slower polls they
	// cover 93 to 98 %.
	averageSpread = 1.5

	// fastPolls is the longest median time between the readings of an average, in
	// periods, at which it is deconvolved. Up to there that is closer to a power
	// meter than the shifted trapezoid; beyond, not on every board.
	fastPolls = 2
)

// fast reports whether a gauge that is read every poll shows its updates: of an
// instant field, each one is to be seen.
func (s Sensor) fast(poll time.Duration) bool {
	switch {
	case s.Period <= 0:
		return false
	case s.Kind == SensorAverage:
		return poll <= fastPolls*s.Period
	}
	return s.Kind == SensorInstant && poll <= s.Period
}

// newFastGauge makes the curve of a gauge, evaluated at instants, which are in
// order. top is its highest reading, in watts.
func newFastGauge(instants []trace.Time, sensor Sensor, top float64, maxGap time.Duration) *fastGauge {
	g := &fastGauge{sensor: sensor, maxGap: maxGap, reach: instantReach}
	g.points = changePoints{period: sensor.Period, emit: g.update}
	if sensor.Kind == SensorAverage {
		g.reach = averageReach
		g.points.rest, g.points.span = sensor.Rest, sensor.Span+sensor.Period
		g.deconv = Deconvolver{Span: sensor.Span, Top: top, Emit: g.cell}
	}
	g.curve = newCurve(instants, g.partial())
	return g
}

// read takes one reading of the gauge, in watts.
func (g *fastGauge) read(at trace.Time, took time.Duration, watts float64) {
	t := at.Add(took / 2)
	switch dt := t.Sub(g.at); {
	case !g.have:
		g.deconv.From = trace.Some(t)
	case dt <= 0:
		g.disordered++
		return
	case dt > g.maxGap:
		g.gaps++
		g.cut()
		g.deconv.From = trace.Some(t)
	}
	g.points.read(t, watts)
	g.have, g.at = true, t
}

// cut ends a segment.
func (g *fastGauge) cut() {
	g.points.end()
	g.deconv.Flush()
	for g.sent < len(g.knots) {
		g.send()
	}
	if c := g.curve; len(g.knots) > 1 && c.next < len(c.edges) && c.edges[c.next].at == g.knots[len(g.knots)-1].at {
		// An edge on the very last knot is bracketed.
		last := g.knots[len(g.knots)-1]
		c.edges[c.next] = edge{at: last.at, energy: c.energy, covered: c.covered, inside: true, sigma: math.Sqrt(last.variance)}
		c.next++
	}
	g.knots, g.sent = g.knots[:0], 0
}

// end ends the series.
func (g *fastGauge) end() {
	g.cut()
	g.curve.flat(math.MaxInt64)
}

func (g *fastGauge) result() *curve { return g.curve }

// update takes an update of the field.
func (g *fastGauge) update(t Tick) {
	if g.sensor.Kind == SensorAverage {
		g.deconv.Add(t)
		return
	}
	if !t.Known {
		g.hidden = true
		return
	}
	at, mean := t.At, t.Watts
	if g.partial() {
		at, mean = at.Add(-g.sensor.Window/2), (g.last.Watts+t.Watts)/2
	}
	k := gaugeKnot{at: at, stamp: t.Stamp, watts: t.Watts}
	if len(g.knots) > 0 {
		k.grown = microjoules(g.sinceLast(t, mean))
	}
	g.hold(k)
	g.last, g.hidden = t, false
}

// sinceLast returns the energy between the last update and one whose value says
// that it is mean watts, in joules. Where the last update was not seen, it is not
// known when it was either, but that the field had stood still until then: the
// value of the new one covers a window before it, and the old one the rest. An
// update that no poll saw has a value between its neighbours'.
func (g *fastGauge) sinceLast(t Tick, mean float64) float64 {
	dt := t.At.Sub(g.last.At).Seconds()
	window := g.sensor.Window.Seconds()
	rest := dt - window
	switch {
	case g.partial():
		return mean * dt
	case g.hidden && rest > 0: // by updates that no poll saw
		return float64(t.Watts*window) + float64((g.last.Watts+t.Watts)/2*rest)
	case g.last.Kind != TickSeen && t.Kind == TickSeen:
		return max(0, float64(t.Watts*window)+float64(g.last.Watts*rest))
	}
	return mean * dt
}

// cell takes the energy between two updates.
func (g *fastGauge) cell(c Cell) {
	watts := float64(c.Microjoules) / 1e6 / c.To.Sub(c.From).Seconds()
	if len(g.knots) == 0 {
		g.hold(gaugeKnot{at: c.From, stamp: c.Stamp, watts: watts})
	}
	g.hold(gaugeKnot{at: c.To, grown: c.Microjoules, stamp: c.Stamp, watts: watts})
}

// hold keeps a knot until its neighbours are known.
func (g *fastGauge) hold(k gaugeKnot) {
	if old := g.sent - g.reach - 1; old > 2*g.reach {
		g.knots = g.knots[:copy(g.knots, g.knots[old:])]
		g.sent -= old
	}
	g.knots = append(g.knots, k)
	if len(g.knots)-g.sent > g.reach {
		g.send()
	}
}

// send evaluates the edges up to the next knot.
func (g *fastGauge) send() {
	g.judge(g.sent)
	b, c := &g.knots[g.sent], g.curve
	if g.sent == 0 {
		c.flat(b.at)
	} else {
		a := &g.knots[g.sent-1]
		for ; c.next < len(c.edges) && c.edges[c.next].at < b.at; c.next++ {
			g.between(a, b, &c.edges[c.next])
		}
		c.energy += b.grown
		c.covered += int64(b.at - a.at)
	}
	c.knots++
	g.sent++
}

// judge finds out how uncertain the energy at knot i is.
//
// An update that is stamped late takes its value to stand for a longer time and
// the next one's for a shorter: the energy moves with the change of power, not
// with all of it as a counter's does. Its mean square is taken from the knots
// around.
func (g *fastGauge) judge(i int) {
	k := &g.knots[i]
	from, to := max(1, i-g.reach+1), min(len(g.knots)-1, i+g.reach)
	for j := from; j <= to; j++ {
		change := g.knots[j].watts - g.knots[j-1].watts
		k.change += float64(change*change) / float64(to-from+1)
	}
	moves := float64(k.stamp * k.stamp)
	if g.sensor.Kind == SensorAverage {
		spread := averageSpread * g.sensor.Period.Seconds()
		moves += float64(spread * spread)
	}
	k.variance = k.change * moves
}

// between evaluates an edge between two knots: on the straight line where the
// values are means, on the parabola where they are values. To what is uncertain
// at the knots comes how power moves in between, as a Brownian bridge.
func (g *fastGauge) between(a, b *gaugeKnot, e *edge) {
	whole, dt := b.at.Sub(a.at).Seconds(), e.at.Sub(a.at).Seconds()
	w := dt / whole
	grown := mulDiv(b.grown, int64(e.at-a.at), int64(b.at-a.at))
	if g.partial() {
		rise := (b.watts - a.watts) / whole
		grown = min(microjoules(float64(a.watts*dt)+float64(float64(float64(rise*dt)*dt)/2)), b.grown)
	}
	e.inside = true
	e.energy = g.curve.energy + grown
	e.covered = g.curve.covered + int64(e.at-a.at)
	bridge := float64(float64(w*(1-w)) * float64(whole*whole) * (a.change + b.change) / 4)
	e.sigma = math.Sqrt(float64((1-w)*(1-w)*a.variance) + float64(w*w*b.variance) + bridge)
}

// partial reports whether the sensor sees a part of the time only.
func (g *fastGauge) partial() bool { return g.sensor.Kind != SensorAverage && g.sensor.Duty < 1 }
