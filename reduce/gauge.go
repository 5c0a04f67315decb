package reduce

import (
	"math"
	"time"

	"wattrace/trace"
)

// A powerGauge makes the curve of a power gauge, by what its sensor is and how
// often it is read. It evaluates the curve's edges itself.
//
// Read about as fast as it is updated, or faster, an average is deconvolved. An
// instant field whose windows touch each other (Duty 1) is the energy between two
// updates, divided by the time: its knots are at the updates, and nothing is
// shifted or smoothed, which is up to a tenth closer to a power meter than the
// trapezoid through the middles of the windows (meter_test.go). For one that sees
// a part of the time only, that trapezoid is all there is.
//
// Read slower, a field is samples: the trapezoid through them, moved earlier by
// what the sensor lags.
type powerGauge struct {
	curve  *curve
	sensor Sensor
	kind   gaugeKind
	points changePoints
	deconv Deconvolver
	maxGap time.Duration // a longer time without a reading breaks the segment

	have bool
	at   trace.Time // of the last reading
	last Tick       // the last update with a value
	// hidden says that there was an update since whose value no poll saw.
	hidden bool
	stamp  float64 // of the last update that was seen: where the value stays the same, no other matters

	knots []gaugeKnot // those that wait for their neighbours, and neighbours of those
	sent  int         // how many of knots are in the curve
	reach int         // how many neighbours on each side a knot has

	level    float64 // mean power of the last seconds, watts
	variance float64 // of the energy since the curve began, J^2

	gaps, disordered int64
}

// gaugeKind is how a gauge's readings become energy.
type gaugeKind uint8

const (
	gaugeMeans   gaugeKind = iota // each update's value is the mean power since the one before
	gaugeAverage                  // deconvolved: then as gaugeMeans
	gaugeWindows                  // each update's value is the power in the middle of a window
	gaugeSamples                  // each reading's value is the power a lag earlier
)

// gaugeKnot is a knot to be.
type gaugeKnot struct {
	at    trace.Time
	grown int64   // microjoules since the knot before
	stamp float64 // standard uncertainty of at, seconds
	watts float64 // mean since the knot before; of windows and samples the value
	guess float64 // standard uncertainty of the energy since the knot before that its value is no mean of, joules

	change   float64 // mean square of the change of watts from knot to knot, around this one
	returns  float64 // how far a change is taken back by the next one: 0 not at all, 1 as noise does
	variance float64 // of the energy at this knot, J^2
	spread   float64 // of the energy since the curve began that has been lost or won for good, J^2
}

const (
	updateReach = 2 // of means and averages
	edgeReach   = 2 // how many knots on each side an edge needs at least
	sampleReach = 10

	// What an average leaves open repeats with its length, which is what it is in
	// proportion to: averageOpen of that times a power, whose square is the sum of
	// these shares. Of the changes of power around, the largest but counts for
	// little, for one step alone is followed; up and down again is not. The roughness
	// stands for those that the deconvolution smoothed away. A steady power is not
	// known better than to averageFloor, in units of topUnits: less than it, a step
	// is not believed. Set by fidelity_test.go.
	averageOpen  = 0.1
	averageRough = 0.55  // of the roughness
	averageNear  = 0.18  // of the squares of the four changes nearest to an edge but the largest
	averageStep  = 0.008 // of the square of the largest
	averageFloor = 3.0

	// Samples of an average follow power with the window's blur: by the window, times
	// the change of power over a window, of which these shares count alike.
	sampleNear = 0.05 // of the squares of the five changes nearest to an edge but the largest
	sampleStep = 0.01

	// stampMemory is over how many updates errors of stamps go together: polls walk
	// past updates in some seconds. stampAlone is the share of their variance that
	// does not.
	stampMemory = 50
	stampAlone  = 0.12

	// mostRoughness is how many times the usual change of power a change may
	// count as.
	mostRoughness = 4

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

// newPowerGauge makes the curve of a gauge that is read every poll, evaluated at
// instants, which are in order. top is its highest reading, in watts.
func newPowerGauge(instants []trace.Time, sensor Sensor, poll time.Duration, top float64, maxGap time.Duration) *powerGauge {
	g := &powerGauge{sensor: sensor, maxGap: maxGap, reach: sampleReach, kind: gaugeSamples}
	switch {
	case !sensor.fast(poll):
		if sensor.Kind == SensorAverage && poll > 0 {
			g.reach = int(sensor.Window/poll)/2 + 1
		}
	case sensor.Kind == SensorAverage:
		g.kind, g.reach = gaugeAverage, updateReach
		g.points.span, g.points.top = sensor.Span+sensor.Period, top
		if sensor.Rest > sensor.Period {
			g.points.rest = sensor.Rest
		}
		g.deconv = Deconvolver{Span: sensor.Span, Top: top, Emit: g.cell}
	case sensor.Duty < 1:
		g.kind = gaugeWindows
	default:
		g.kind, g.reach = gaugeMeans, updateReach
	}
	g.points.period, g.points.emit = sensor.Period, g.update
	g.curve = newCurve(instants, g.sampled())
	g.curve.located = true
	return g
}

// sampled reports whether knots have the power there, not the mean up to there.
func (g *powerGauge) sampled() bool { return g.kind == gaugeWindows || g.kind == gaugeSamples }

// read takes one reading of the gauge, in watts.
func (g *powerGauge) read(at trace.Time, took time.Duration, watts float64) {
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
	if g.kind == gaugeSamples {
		g.sample(t.Add(-g.sensor.Lag()), watts)
	} else {
		g.points.read(t, watts)
	}
	g.have, g.at = true, t
}

// sample takes a reading of a slow gauge, of the instant it stands for. It was
// formed at any time within the last period.
func (g *powerGauge) sample(at trace.Time, watts float64) {
	k := gaugeKnot{at: at, stamp: evenly(g.sensor.Period), watts: watts}
	if n := len(g.knots); n > 0 {
		last := &g.knots[n-1]
		k.grown = microjoules((last.watts + watts) / 2 * at.Sub(last.at).Seconds())
	}
	g.hold(k)
}

// cut ends a segment.
func (g *powerGauge) cut() {
	if g.kind != gaugeSamples {
		g.points.end()
		g.deconv.Flush()
	}
	for g.sent < len(g.knots) {
		g.send()
	}
	if c := g.curve; len(g.knots) > 1 && c.next < len(c.edges) && c.edges[c.next].at == g.knots[len(g.knots)-1].at {
		// An edge on the very last knot is bracketed.
		last := g.knots[len(g.knots)-1]
		c.edges[c.next] = edge{at: last.at, energy: c.energy, covered: c.covered, inside: true, sigma: math.Sqrt(last.variance + g.open(len(g.knots)-1)), spread: last.spread}
		c.next++
	}
	g.knots, g.sent = g.knots[:0], 0
	g.curve.fill.cut()
}

// end ends the series.
func (g *powerGauge) end() {
	g.cut()
	g.curve.flat(math.MaxInt64)
}

func (g *powerGauge) result() *curve { return g.curve }

// update takes an update of the field.
func (g *powerGauge) update(t Tick) {
	if g.kind == gaugeAverage {
		g.deconv.Add(t)
		return
	}
	if !t.Known {
		g.hidden = true
		return
	}
	at, mean := t.At, t.Watts
	if g.kind == gaugeWindows {
		at, mean = at.Add(-g.sensor.Window/2), (g.last.Watts+t.Watts)/2
	}
	if t.Kind == TickSeen {
		g.stamp = t.Stamp
	}
	k := gaugeKnot{at: at, stamp: g.stamp, watts: t.Watts}
	if len(g.knots) > 0 {
		joules, guess := g.sinceLast(t, mean)
		k.grown, k.guess = microjoules(joules), guess
	}
	g.hold(k)
	g.last, g.hidden = t, false
}

// sinceLast returns the energy between the last update and one whose value says
// that it is mean watts, in joules. Where the last update was not seen, it is not
// known when it was either, but that the field had stood still until then: the
// value of the new one covers a window before it, and the old one the rest. An
// update that no poll saw has a value between its neighbours'.
func (g *powerGauge) sinceLast(t Tick, mean float64) (joules, guess float64) {
	dt := t.At.Sub(g.last.At).Seconds()
	window := g.sensor.Window.Seconds()
	rest := dt - window
	switch {
	case g.kind == gaugeWindows:
		return mean * dt, 0
	case g.hidden && rest > 0:
		return float64(t.Watts*window) + float64((g.last.Watts+t.Watts)/2*rest), math.Abs(t.Watts-g.last.Watts) * rest / 2
	case g.last.Kind != TickSeen && t.Kind == TickSeen:
		return max(0, float64(t.Watts*window)+float64(g.last.Watts*rest)), 0
	}
	return mean * dt, 0
}

// cell takes the energy between two updates.
func (g *powerGauge) cell(c Cell) {
	watts := float64(c.Microjoules) / 1e6 / c.To.Sub(c.From).Seconds()
	if len(g.knots) == 0 {
		g.hold(gaugeKnot{at: c.From, stamp: c.Stamp, watts: watts})
	}
	g.hold(gaugeKnot{at: c.To, grown: c.Microjoules, stamp: c.Stamp, watts: watts})
}

// hold keeps a knot until its neighbours are known.
func (g *powerGauge) hold(k gaugeKnot) {
	reach := max(g.reach, edgeReach)
	if old := g.sent - reach - 1; old > 2*reach {
		g.knots = g.knots[:copy(g.knots, g.knots[old:])]
		g.sent -= old
	}
	g.knots = append(g.knots, k)
	if len(g.knots)-g.sent > reach {
		g.send()
	}
}

// send evaluates the edges up to the next knot.
func (g *powerGauge) send() {
	g.judge(g.sent)
	b, c := &g.knots[g.sent], g.curve
	if g.sent == 0 {
		c.flat(b.at)
	} else {
		a := &g.knots[g.sent-1]
		c.fill.to(a.at, c.energy, c.covered)
		for ; c.next < len(c.edges) && c.edges[c.next].at < b.at; c.next++ {
			e := &c.edges[c.next]
			g.between(g.sent, e)
			c.fill.edge(e)
		}
		c.energy += b.grown
		c.covered += int64(b.at - a.at)
		c.fill.to(b.at, c.energy, c.covered)
		if g.sent >= 2 && !g.sampled() {
			// Steps now and then are followed, and make no roughness.
			c.roughenBy(min(math.Abs(b.watts-a.watts), mostRoughness*math.Sqrt(max(1, c.roughness))))
		}
	}
	c.knots++
	g.sent++
}

// judge finds out how uncertain the energy at knot i is.
func (g *powerGauge) judge(i int) {
	k := &g.knots[i]
	from, to := max(1, i-g.reach+1), min(len(g.knots)-1, i+g.reach)
	squares, products, before := 0.0, 0.0, 0.0
	for j := from; j <= to; j++ {
		change := g.knots[j].watts - g.knots[j-1].watts
		squares += float64(change * change)
		products += float64(change * before)
		before = change
	}
	if squares > 0 {
		k.change = squares / float64(to-from+1)
		k.returns = min(1, max(0, -2*products/squares))
	}
	g.lose(i)
	k.spread = g.variance
}

// lose adds up what is lost or won for good between knot i-1 and i, which no
// later reading makes good.
//
// An update that is stamped late takes its value to stand for a longer time and
// the next one's for a shorter: the energy moves with the change of power, not
// with all of it as a counter's does. Where all stamps are late alike, the whole
// curve is: a window is off by the difference of the power at its ends. That is
// counted at the ends, against the level of power; in between, by how the error
// of the stamps changes, and for the part of it that is each stamp's own.
func (g *powerGauge) lose(i int) {
	k := &g.knots[i]
	if i == 0 {
		g.level = k.watts
		return
	}
	last := &g.knots[i-1]
	change, share := 0.0, stampAlone
	if g.kind == gaugeSamples {
		share = 1
	}
	switch {
	case i+1 >= len(g.knots):
	case g.sampled():
		change = (g.knots[i+1].watts - last.watts) / 2
	default:
		change = g.knots[i+1].watts - k.watts
	}
	g.level += (k.watts - g.level) / stampMemory
	alone, together := float64(k.stamp*change), float64(k.stamp*(k.watts-g.level))
	k.variance = float64(together * together)
	g.variance += float64(share*float64(alone*alone)) + float64(2./stampMemory*k.variance) + float64(k.guess*k.guess)
	if g.sampled() {
		g.variance += g.unseen(k, k.at.Sub(last.at).Seconds())
	}
}

// unseen returns the variance of the energy of dt seconds by what a sample does
// not see of them, or sees twice, in J^2.
//
// Where windows leave out a share of the time, the energy errs by how power moves
// in the rest. Where it moves slowly, so that one change has nothing to do with
// the next, that is a twelfth of the mean square of the changes; where it comes
// and goes between two looks, half of it. Where windows overlap, but for whole
// numbers of them, some of the time counts once more than the rest.
func (g *powerGauge) unseen(k *gaugeKnot, dt float64) float64 {
	windows := g.sensor.Window.Seconds() / dt
	if windows < 1 {
		apart := 5.0
		if g.kind == gaugeWindows {
			apart = 3.5
		}
		return float64(dt*dt) * (1 - windows) * k.change * (1 + float64(apart*k.returns)) / 12
	}
	twice := windows - math.Floor(windows)
	return float64(dt*dt) * twice * (1 - twice) * k.change / 12
}

// open returns the variance of the energy between knots i-1 and i by what an average
// leaves open there, in J^2.
func (g *powerGauge) open(i int) float64 {
	window := g.sensor.Window.Seconds()
	switch {
	case g.kind == gaugeAverage:
		largest, rest := g.changes(i-1, i+2)
		scale, floor := averageOpen*window, averageFloor*g.deconv.unit
		squares := float64(averageRough*g.curve.roughness) + float64(averageNear*rest) + float64(averageStep*largest)
		return float64(scale*scale) * (squares + float64(floor*floor))
	case g.kind == gaugeSamples && g.sensor.Kind == SensorAverage && i > 0:
		largest, rest := g.changes(i-2, i+2)
		steps := max(1, window/g.knots[i].at.Sub(g.knots[i-1].at).Seconds())
		return float64(window*window) * math.Sqrt(steps) * (float64(sampleNear*rest) + float64(sampleStep*largest))
	}
	return 0
}

// changes returns the squares of the changes of power into the knots from one to
// another, in W^2: the largest, and the sum of the others.
func (g *powerGauge) changes(from, to int) (largest, rest float64) {
	for j := max(1, from); j <= min(len(g.knots)-1, to); j++ {
		change := g.knots[j].watts - g.knots[j-1].watts
		square := float64(change * change)
		rest += min(square, largest)
		largest = max(square, largest)
	}
	return largest, rest
}

// between evaluates an edge between knots i-1 and i: as a counter's where the
// values are means, on the parabola where they are values. To what is uncertain
// at the knots comes how power moves in between, as a Brownian bridge.
func (g *powerGauge) between(i int, e *edge) {
	a, b, c := &g.knots[i-1], &g.knots[i], g.curve
	whole, dt := b.at.Sub(a.at).Seconds(), e.at.Sub(a.at).Seconds()
	w := dt / whole
	start, end := knot{at: a.at, total: c.energy}, knot{at: b.at, total: c.energy + b.grown}
	bridge := 0.0
	switch {
	case g.sampled():
		start.watts, end.watts = a.watts, b.watts
		e.energy = c.between(start, end, nil, nil, e.at)
		bridge = float64(float64(w*(1-w)) * float64(whole*whole) * (a.change + b.change) / 4)
		if g.kind == gaugeWindows {
			bridge *= 0.8
		}
	default:
		var before, after *knot
		if i >= 2 {
			before = &knot{at: g.knots[i-2].at, total: start.total - a.grown}
		}
		if i+1 < len(g.knots) {
			after = &knot{at: g.knots[i+1].at, total: end.total + g.knots[i+1].grown}
		}
		e.energy = c.between(start, end, before, after, e.at)
		sigma := c.sigmaAt(start, end, before, after, e.at)
		bridge = float64(sigma * sigma)
		if b.guess > 0 { // across a hole, power moves unseen, and what is guessed need not be evenly spread
			bridge = float64(bridge*meansShare/bridgeShare) + float64(float64(w*(1-w))*float64(b.guess*b.guess))
		}
	}
	e.inside = true
	e.covered = c.covered + int64(e.at-a.at)
	e.spread = a.spread + float64(w*(b.spread-a.spread))
	e.sigma = math.Sqrt(float64((1-w)*(1-w)*a.variance) + float64(w*w*b.variance) + bridge + g.open(i))
}
