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
	zero    trace.Time // an instant at which the first parts begin
	last    trace.Time // when the field was last seen to change
}

// phaseLength is what is held for one length of the period.
type phaseLength struct {
	period time.Duration
	parts  [phaseParts]float64 // probabilities; over all lengths their sum is 1
}

const (
	phaseParts   = 100
	phaseLengths = 9      // on both sides of what the period should be, phaseStep apart
	phaseStep    = 0.0025 // boards of one model are within a hundredth
	outOfTurn    = 0.05   // likelihood of an update that is not enclosed, where that of an enclosed one is 1
	phaseDrift   = 0.1    // share of a part's probability that goes to either neighbour in a step of drift
	slowDrift    = 25     // n periods are n + n*n/slowDrift steps: lengths between those that are held run away from them
	mostDrift    = 400    // steps; more of them would hardly change anything
	inTurn       = 0.5    // probability from which on an update is taken for a regular one
)

// stamp returns when an update happened that was seen to lie between two
// instants, at most a period apart, and how uncertain that is, in seconds.
func (p *tickPhase) stamp(from, to trace.Time) (at trace.Time, sigma float64) {
	if p.lengths == nil {
		p.begin(from)
	}
	n := to.Sub(p.last) / p.period
	for range min(mostDrift, n+n*n/slowDrift) {
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
	for i := range p.lengths {
		l := &p.lengths[i]
		l.period = time.Duration(float64(p.period) * (1 + float64(phaseStep*float64(i-phaseLengths/2))))
		for j := range l.parts {
			l.parts[j] = 1. / (phaseParts * phaseLengths)
		}
	}
}

// enclose makes the parts between two instants more probable. It returns how
// probable they were, and the mean and the mean square of the time from the
// first instant to their middles, in seconds.
func (p *tickPhase) enclose(from, to trace.Time) (inside, mean, square float64) {
	width := to.Sub(from).Seconds()
	for i := range p.lengths {
		l := &p.lengths[i]
		part := l.period.Seconds() / phaseParts
		start := ((from.Sub(p.zero)%l.period + l.period) % l.period).Seconds()
		first := math.Ceil(start/part - 0.5)
		at := int(first) % phaseParts
		j := 0
		next := func() *float64 {
			probability := &l.parts[at]
			if at++; at == phaseParts {
				at = 0
			}
			j++
			return probability
		}
		for j < phaseParts {
			middle := float64((first+float64(j)+0.5)*part) - start
			if middle >= width {
				break // and so is every later one
			}
			probability := next()
			inside += *probability
			mean += float64(*probability * middle)
			square += float64(*probability * float64(middle*middle))
		}
		for j < phaseParts {
			*next() *= outOfTurn
		}
	}
	total := inside + float64(outOfTurn*(1-inside))
	for i := range p.lengths {
		for j := range p.lengths[i].parts {
			p.lengths[i].parts[j] /= total
		}
	}
	if inside > 0 {
		mean, square = mean/inside, square/inside
	}
	return inside, mean, square
}

// drift lets the phase move a little.
func (l *phaseLength) drift() {
	first, before := l.parts[0], l.parts[phaseParts-1]
	for i, now := range l.parts {
		after := first
		if i+1 < phaseParts {
			after = l.parts[i+1]
		}
		l.parts[i] = float64((1-2*phaseDrift)*now) + float64(phaseDrift*(before+after))
		before = now
	}
}
