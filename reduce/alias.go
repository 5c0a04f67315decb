package reduce

import (
	"math"
	"slices"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// An aliasDetector finds out whether what a sensor shows, which sees a part of
// the time only, may be the beat of its updates with a load that repeats. The
// sensor of an A100 is updated every 101 ms and looks for 25 ms of them: a load
// of 104 ms shows it for half a second the busy part, then for half a second the
// other one. No mean of such readings is the power.
//
// Readings that come back again and again tell: one for each update, in blocks,
// whose autocorrelation falls below zero and returns to near one. Where it
// returns within a few updates, too few looks are taken at a period for their
// mean to be right, whatever the load is. Where it takes longer, the load may be
// a slow one; but a slow load steps from one update to the next, while a beat
// rises and falls over a quarter of its length, as the window slides over the
// ends of the busy part.
//
// A beat of which a block sees no whole length is not found: a load within a part
// in 250 of the update's period.
type aliasDetector struct {
	period time.Duration

	have  bool
	taken trace.Time // the last reading that was taken
	watts float64    // the field's value
	fine  aliasBlocks
	slow  aliasBlocks
}

// aliasBlocks counts blocks.
type aliasBlocks struct {
	each   int       // of so many readings, one is looked at
	values []float64 // of the block at hand
	before []float64 // of the one before it

	blocks int
	lag    int // after which the last block's readings came back, if it was a beat
	beaten int // blocks that were a beat as the one before was
}

const (
	aliasBlock = 128 // readings that are looked at
	aliasLeast = 48  // that make a last block
	slowEach   = 4
	blockLags  = 3 // lengths of a beat that a block has at least

	aliasRange  = 0.12 // least range of a block, as a share of its high readings
	fewLooks    = 12   // updates within which readings come back too soon
	soonReturn  = 0.65 // least autocorrelation there
	slowReturn  = 0.5  // and later
	aliasDip    = -0.3 // most that it falls to before
	aliasStep   = 0.6  // a step of so much of the range is a load's own
	aliasSteps  = 0.25 // share of the rises and falls that may be steps
	aliasInside = 0.12 // least share of readings between low and high
	aliasShare  = 0.05 // share of the blocks that must be beaten
)

// read takes what was read at t; t grows.
func (a *aliasDetector) read(t trace.Time, watts float64) {
	since := t.Sub(a.taken)
	switch {
	case !a.have:
		a.fine.each, a.slow.each = 1, slowEach
		a.have = true
	case since > 20*a.period:
		a.end()
	case watts != a.watts && since >= a.period/2:
	case since >= a.period*3/2: // an update that left the value as it was
		t = t.Add(-(since - a.period))
	default:
		return
	}
	a.taken, a.watts = t, watts
	a.fine.add(watts)
	a.slow.add(watts)
}

// end ends the blocks at hand.
func (a *aliasDetector) end() {
	a.fine.end()
	a.slow.end()
}

// aliased reports whether the readings are, or may be, a beat.
func (a *aliasDetector) aliased() bool {
	a.end()
	return a.fine.much() || a.slow.much()
}

func (b *aliasBlocks) much() bool {
	if b.blocks == 1 {
		return b.lag > 0
	}
	return b.beaten > 0 && float64(b.beaten) >= aliasShare*float64(b.blocks)
}

func (b *aliasBlocks) add(watts float64) {
	if b.values = append(b.values, watts); len(b.values) == aliasBlock*b.each {
		b.judge(b.values)
		b.values, b.before = b.before[:0], b.values
	}
}

// end ends the blocks: what is left is judged with the end of the block before it.
func (b *aliasBlocks) end() {
	if len(b.before) > 0 && 2*len(b.values) >= len(b.before) {
		b.judge(append(slices.Clone(b.before[len(b.values):]), b.values...))
	} else if len(b.before) == 0 && b.each > 0 && len(b.values) >= aliasLeast*b.each {
		b.judge(b.values)
	}
	b.values, b.before = b.values[:0], b.before[:0]
}

func (b *aliasBlocks) judge(values []float64) {
	lag := beat(values, b.each)
	if lag > 0 && b.lag > 0 && 3*lag <= 4*b.lag+3 && 3*b.lag <= 4*lag+3 {
		b.beaten++
	}
	b.lag = lag
	b.blocks++
}

// beat returns after how many readings they come back if they look like a beat,
// by one of each so many of them; else 0.
func beat(all []float64, each int) int {
	v := all[:0:0]
	for i := 0; i < len(all); i += each {
		v = append(v, all[i])
	}
	sorted := slices.Sorted(slices.Values(v))
	low, high := sorted[len(v)/10], sorted[len(v)-1-len(v)/10]
	size := high - low
	if size < float64(aliasRange*high) {
		return 0
	}
	lag, returns := comesBack(v)
	switch {
	case lag == 0 || each > 1 && lag < fewLooks:
		return 0
	case lag < fewLooks && returns >= soonReturn:
		return lag
	case lag < fewLooks || returns < slowReturn:
		return 0
	}
	inside, steps := 0, 0
	for _, x := range v {
		if x > low+float64(0.2*size) && x < high-float64(0.2*size) {
			inside++
		}
	}
	for i := 1; i < len(all); i++ {
		if math.Abs(all[i]-all[i-1]) > float64(aliasStep*size) {
			steps++
		}
	}
	swings := 2 * float64(len(v)) / float64(lag)
	if float64(steps) > aliasSteps*swings || float64(inside) < float64(aliasInside*float64(len(v))) {
		return 0
	}
	return lag
}

// comesBack returns after how many readings the autocorrelation is highest again
// after it has first dipped, and how high; 0 if it does not dip.
func comesBack(v []float64) (lag int, returns float64) {
	mean := 0.0
	for _, x := range v {
		mean += x
	}
	mean /= float64(len(v))
	dipped := false
	for m := 1; m <= len(v)/blockLags; m++ {
		var product, a, b float64
		for i := m; i < len(v); i++ {
			x, y := v[i-m]-mean, v[i]-mean
			product += float64(x * y)
			a += float64(x * x)
			b += float64(y * y)
		}
		if !(a > 0 && b > 0) {
			return 0, 0
		}
		switch r := product / math.Sqrt(float64(a*b)); {
		case r <= aliasDip:
			dipped = true
		case dipped && r > returns:
			// A later return counts only when it is clearly better.
			if lag == 0 || m < lag+2 || r > returns+0.2 {
				lag, returns = m, r
			}
		}
	}
	return lag, returns
}

// A sideBySide compares a field that sees a part of the time only with the
// average beside it, over all of a recording: both are integrated as they stand.
type sideBySide struct {
	have             bool
	at               trace.Time
	average, instant float64 // the fields' values
	seconds          float64
	averageJoules    float64
	instantJoules    float64

	n                 int64 // changes of the instant field
	change            float64
	squares, products float64 // of those changes
}

// read takes what both fields show at t; t grows.
func (p *sideBySide) read(t trace.Time, average, instant float64, maxGap time.Duration) {
	dt := t.Sub(p.at)
	if p.have && dt <= maxGap {
		p.seconds += dt.Seconds()
		p.averageJoules += float64(p.average * dt.Seconds())
		p.instantJoules += float64(p.instant * dt.Seconds())
		if instant != p.instant {
			change := instant - p.instant
			p.n++
			p.squares += float64(change * change)
			p.products += float64(change * p.change)
			p.change = change
		}
	}
	p.have, p.at, p.average, p.instant = true, t, average, instant
}

// disagree reports whether the energies differ by more than the unseen
// time, what the average lags at the ends of the recording, and a hundredth
// explain.
func (p *sideBySide) disagree(average, instant Sensor, span float64) bool {
	if p.n < 10 {
		return false
	}
	tu := instant.Period.Seconds()
	returns := min(1, max(0, -2*p.products/p.squares))
	unseen := float64(float64(p.n)*tu*tu) * (1 - instant.Duty) * p.squares / float64(p.n) * (1 + float64(5*returns)) / 12
	ends := span * average.Lag().Seconds()
	bound := 3*math.Sqrt(unseen) + ends + float64(0.01*p.averageJoules)
	return math.Abs(p.instantJoules-p.averageJoules) > bound
}

// undersampled reports whether an instant field that sees a part of the time only
// says something else than the average beside it.
func (s *survey) undersampled() bool {
	average, _ := s.sensors.Lookup(FieldAverage, s.device, s.driver)
	instant, _ := s.sensors.Lookup(FieldInstant, s.device, s.driver)
	if instant.Kind != SensorInstant || instant.Duty >= 1 || instant.Assumed {
		return false
	}
	p := s.power[sample.PowerInstantWatts]
	return s.both.disagree(average, instant, p.max-p.min)
}

// warnSensor warns of what a sensor that sees a part of the time only may not
// have seen.
func (r *Reducer) warnSensor(s *series) {
	d := s.survey.device
	if s.survey.aliased() {
		sensor := s.survey.sensor()
		r.Warn(WarnAliased, "", d.ID, "%s: its power comes and goes as a load would show that repeats nearly as often as the sensor is updated (%v, of which it sees %v): what it says of power may be far off",
			deviceName(d), sensor.Period, sensor.Window)
	}
	if b := &s.survey.both; s.survey.undersampled() {
		r.Warn(WarnUndersampled, "", d.ID, "%s: its instant power, which sees a part of the time only, comes to %.4g W, its average power to %.4g W: the first is not to be trusted under this load",
			deviceName(d), b.instantJoules/b.seconds, b.averageJoules/b.seconds)
	}
}
