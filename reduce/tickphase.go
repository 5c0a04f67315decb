package reduce

import (
	"math"
	"time"

	"wattrace/trace"
)

// A tickPhase follows when, within its period, a field is updated, by polls of
// which each says little. It holds a probability for every part of the period,
// and for several lengths of it: a change between two polls favours the parts
// that they enclose. That updates may come out of turn, as they do when a load
// begins, is allowed for.
//
// Polls that keep step with the updates all say the same, and leave the phase as
// uncertain as each of them does.
type tickPhase struct {
	period time.Duration // that the sensor should have

	lengths []phaseLength
	total   float64       // sum of the parts of all lengths
	zero    trace.Time    // an instant at which the first parts begin
	last    trace.Time    // when the field was last seen to change
	adrift  time.Duration // steps of drift that are still to come
}

// phaseLength is what is held for one length of the period.
type phaseLength struct {
	period time.Duration
	parts  [phaseParts]float64 // probabilities, but for a factor that all lengths share
}

const (
	phaseParts   = 100
	phaseLengths = 9      // on both sides of what the period should be, phaseStep apart
	phaseStep    = 0.0025 // boards of one model are within a hundredth
	outOfTurn    = 0.05   // likelihood of an update that is not enclosed, where that of an enclosed one is 1
	phaseDrift   = 0.1    // share of a part's probability that goes to either neighbour in a step of drift
	driftAtOnce  = 3      // steps of drift are taken together, so many: they spread as far as they would apart
	slowDrift    = 25     // n periods are n + n*n/slowDrift steps: lengths between those that are held run away from them
	mostDrift    = 400    // steps; more of them would hardly change anything
	inTurn       = 0.5    // probability from which on an update is taken for a regular one
	mostTotal    = 1e100  // beyond it the parts are scaled down
)

// stamp returns when an update happened that was seen to lie between two
// instants, at most a period apart, and how uncertain that is, in seconds.
func (p *tickPhase) stamp(from, to trace.Time) (at trace.Time, sigma float64) {
	if p.lengths == nil {
		p.begin(from)
	}
	n := to.Sub(p.last) / p.period
	p.adrift += min(mostDrift, n+n*n/slowDrift)
	for ; p.adrift >= driftAtOnce; p.adrift -= driftAtOnce {
		for i := range p.lengths {
			p.lengths[i].drift()
		}
	}
	p.last = to
	inside, mean, square := p.enclose(from, to)
	if inside < inTurn*(inside+float64(outOfTurn*(1-inside))) {
		return from + (to-from+1)/2, evenly(to.Sub(from))
	}
	at = from.Add(time.Duration(math.Round(mean * 1e9)))
	return min(max(at, from+1), to), math.Sqrt(max(0, square-float64(mean*mean)))
}

// begin makes everything equally probable.
func (p *tickPhase) begin(at trace.Time) {
	p.lengths, p.zero, p.last = make([]phaseLength, phaseLengths), at, at
	p.total = phaseParts * phaseLengths
	for i := range p.lengths {
		l := &p.lengths[i]
		l.period = time.Duration(float64(p.period) * (1 + float64(phaseStep*float64(i-phaseLengths/2))))
		for j := range l.parts {
			l.parts[j] = 1
		}
	}
}

// enclose makes the parts between two instants more probable: that is all that
// changes, since the parts need not add up to one. It returns how probable they
// were, and the mean and the mean square of the time from the first instant to
// their middles, in seconds.
func (p *tickPhase) enclose(from, to trace.Time) (inside, mean, square float64) {
	width := to.Sub(from).Seconds()
	for i := range p.lengths {
		l := &p.lengths[i]
		part := l.period.Seconds() / phaseParts
		start := ((from.Sub(p.zero)%l.period + l.period) % l.period).Seconds()
		first := math.Ceil(start/part - 0.5)
		at := int(first) % phaseParts
		for j := range phaseParts {
			middle := float64((first+float64(j)+0.5)*part) - start
			if middle >= width {
				break // and so is every later one
			}
			probability := l.parts[at]
			l.parts[at] = probability * (1 / outOfTurn)
			inside += probability
			mean += float64(probability * middle)
			square += float64(probability * float64(middle*middle))
			if at++; at == phaseParts {
				at = 0
			}
		}
	}
	before := p.total
	p.total += float64((1/outOfTurn - 1) * inside)
	if p.total > mostTotal {
		p.scale()
	}
	if inside > 0 {
		mean, square = mean/inside, square/inside
	}
	return min(1, inside/before), mean, square
}

// scale makes the parts add up to one.
func (p *tickPhase) scale() {
	total := 0.0
	for i := range p.lengths {
		for _, part := range p.lengths[i].parts {
			total += part
		}
	}
	for i := range p.lengths {
		for j := range p.lengths[i].parts {
			p.lengths[i].parts[j] /= total
		}
	}
	p.total = 1
}

// drift lets the phase move by driftAtOnce steps.
func (l *phaseLength) drift() {
	const share = driftAtOnce * phaseDrift
	first, before := l.parts[0], l.parts[phaseParts-1]
	for i := range phaseParts - 1 {
		now := l.parts[i]
		l.parts[i] = float64((1-2*share)*now) + float64(share*(before+l.parts[i+1]))
		before = now
	}
	l.parts[phaseParts-1] = float64((1-2*share)*l.parts[phaseParts-1]) + float64(share*(before+first))
}
