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
// begins, and that the whole grid of them may jump, is allowed for.
//
// Polls that keep step with the updates say the same for a long time: a poll
// every 20 ms and an update every 100.02 ms walk past each other once in 100 s.
// So the memory must be long and the length of the period known well. It is: the
// updates of the boards of meter_test.go stay within 1 ms of a grid of 99.95 ms
// for as long as the recordings are. Lengths begin coarse, and are drawn together
// around those that turn out probable; the finer they are, the less the phase is
// let drift.
type tickPhase struct {
	period time.Duration // that the sensor should have

	lengths []phaseLength
	total   float64    // sum of the parts of all lengths
	step    float64    // from one length to the next, relative
	zero    trace.Time // an instant at which the first parts begin
	last    trace.Time // when the field was last seen to change
	adrift  float64    // steps of drift that are still to come
	seen    int        // updates since the lengths were chosen
	missed  int        // updates out of turn, one after the other
}

// phaseLength is what is held for one length of the period.
type phaseLength struct {
	period time.Duration
	parts  [phaseParts]float64 // probabilities, but for a factor that all lengths share
}

const (
	phaseParts   = 100
	tickJitter   = 700 * time.Microsecond // of updates and of polls, about
	phaseLengths = 9
	coarseStep   = 0.0025  // boards of one model are within a hundredth
	fineStep     = 0.00004 // below which lengths are not drawn together
	drawTogether = 64      // updates after which they may be
	outOfTurn    = 0.05    // likelihood of an update that is not enclosed, where that of an enclosed one is 1
	phaseDrift   = 40.0    // times the step: share of a part's probability that goes to either neighbour in a step of drift
	driftAtOnce  = 0.3     // so large a share is moved at once
	mostAtOnce   = 30      // steps of drift that are
	silentDrift  = 16.0    // n periods without an update are n + silentDrift*step*n*n steps: lengths between those held run away from them
	mostDrift    = 400     // steps; more of them would hardly change anything
	phaseJump    = 1e-7    // probability of every part and length to be the next one, after a step of drift
	inTurn       = 0.5     // probability from which on an update is taken for a regular one
	mostMissed   = 20      // updates out of turn after which everything is probable again
	mostTotal    = 1e100   // beyond it the parts are scaled down
)

// stamp returns when an update happened that was seen to lie between two
// instants, at most a period apart, and how uncertain that is, in seconds.
func (p *tickPhase) stamp(from, to trace.Time) (at trace.Time, sigma float64) {
	if p.lengths == nil {
		p.begin(from)
	}
	p.drift(float64(to.Sub(p.last) / p.period))
	p.last = to
	slack := max(0, min(max(p.period/phaseParts, tickJitter), (p.period-to.Sub(from))/2)) // updates jitter, and parts are no finer
	inside, mean, square := p.enclose(from.Add(-slack), to.Add(slack))
	if p.seen++; p.seen >= drawTogether {
		p.refine(to)
	}
	if inside < inTurn*(inside+float64(outOfTurn*(1-inside))) {
		if p.missed++; p.missed > mostMissed {
			p.begin(to)
		}
		return from + (to-from+1)/2, evenly(to.Sub(from))
	}
	p.missed = 0
	at = from.Add(time.Duration(math.Round(mean*1e9)) - slack)
	part := p.period.Seconds() / phaseParts
	return min(max(at, from+1), to), math.Sqrt(max(0, square-float64(mean*mean)) + float64(part*part)/12)
}

// begin makes everything equally probable.
func (p *tickPhase) begin(at trace.Time) {
	p.lengths, p.last, p.missed = make([]phaseLength, phaseLengths), at, 0
	p.spread(at, p.period.Seconds(), coarseStep)
	for i := range p.lengths {
		for j := range p.lengths[i].parts {
			p.lengths[i].parts[j] = 1
		}
	}
	p.total = phaseParts * phaseLengths
}

// spread chooses the lengths, around one in seconds.
func (p *tickPhase) spread(at trace.Time, middle, step float64) {
	p.step, p.zero, p.seen, p.adrift = step, at, 0, 0
	for i := range p.lengths {
		p.lengths[i].period = time.Duration(middle * 1e9 * (1 + float64(step*float64(i-phaseLengths/2))))
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
		start := l.since(p.zero, from)
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

// since returns how far into its period an instant is, in seconds.
func (l *phaseLength) since(zero, at trace.Time) float64 {
	return ((at.Sub(zero)%l.period + l.period) % l.period).Seconds()
}

// scale makes the parts add up to one.
func (p *tickPhase) scale() {
	total := 0.0
	for i := range p.lengths {
		total += p.lengths[i].sum()
	}
	for i := range p.lengths {
		for j := range p.lengths[i].parts {
			p.lengths[i].parts[j] /= total
		}
	}
	p.total = 1
}

func (l *phaseLength) sum() (sum float64) {
	for _, part := range l.parts {
		sum += part
	}
	return sum
}

// drift lets the phase move as it may in n periods. Some steps are taken
// together, which spreads as far as they would apart.
func (p *tickPhase) drift(n float64) {
	p.adrift += min(mostDrift, n+float64(silentDrift*p.step*float64(n*n)))
	share := phaseDrift * p.step
	steps := min(mostAtOnce, math.Round(driftAtOnce/share))
	for ; p.adrift >= steps; p.adrift -= steps {
		jump := phaseJump * p.total
		for i := range p.lengths {
			p.lengths[i].drift(share*steps, jump)
		}
		p.total += float64(jump * phaseParts * phaseLengths)
	}
}

// drift moves a share of each part's probability to either neighbour, and adds
// to all.
func (l *phaseLength) drift(share, more float64) {
	first, before := l.parts[0], l.parts[phaseParts-1]
	stay := 1 - 2*share
	for i := range phaseParts - 1 {
		now := l.parts[i]
		l.parts[i] = float64(stay*now) + float64(share*(before+l.parts[i+1])) + more
		before = now
	}
	l.parts[phaseParts-1] = float64(stay*l.parts[phaseParts-1]) + float64(share*(before+first)) + more
}

// refine draws the lengths together where a few of them have become probable,
// and moves them where the probable ones are at the border.
func (p *tickPhase) refine(at trace.Time) {
	p.scale()
	var mean, square float64 // of the lengths, in steps from the middle
	for i := range p.lengths {
		weight, off := p.lengths[i].sum(), float64(i-phaseLengths/2)
		mean += float64(weight * off)
		square += float64(weight * float64(off*off))
	}
	step := p.step
	switch deviation := math.Sqrt(max(0, square-float64(mean*mean))); {
	case math.Abs(mean) > phaseLengths/4:
	case deviation < 0.8 && step > fineStep:
		step /= 2
	default:
		p.seen = 0
		return
	}
	old := p.lengths
	middle := old[phaseLengths/2].period.Seconds() * (1 + float64(mean*p.step))
	p.lengths = make([]phaseLength, phaseLengths)
	zero := p.zero
	p.spread(at, middle, step)
	p.total = 0
	for i := range p.lengths {
		p.lengths[i].take(nearest(old, p.lengths[i].period), zero, at)
		p.total += p.lengths[i].sum()
	}
}

func nearest(lengths []phaseLength, period time.Duration) *phaseLength {
	best := &lengths[0]
	for i := range lengths {
		if (lengths[i].period - period).Abs() < (best.period - period).Abs() {
			best = &lengths[i]
		}
	}
	return best
}

// take takes over the parts of another length, which began at zero, to begin at
// another instant.
func (l *phaseLength) take(from *phaseLength, zero, at trace.Time) {
	start := from.since(zero, at) * phaseParts / from.period.Seconds()
	whole := math.Floor(start)
	rest := start - whole
	for j := range l.parts {
		a, b := (j+int(whole))%phaseParts, (j+int(whole)+1)%phaseParts
		l.parts[j] = float64((1-rest)*from.parts[a]) + float64(rest*from.parts[b])
	}
}
