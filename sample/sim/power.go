package sim

import (
	"sort"

	"wattrace/trace"
)

// power is a device's true power over time: piecewise constant, with the exact
// energy at each change. Changes that no sensor looks back to are forgotten.
type power struct {
	changes []change
}

// change is a new power and the energy up to it. Energy is counted from time
// 0, so that it is negative before.
type change struct {
	at         trace.Time
	microwatts uint64
	energy     energy
}

// start sets the power before and at time 0.
func (p *power) start(at trace.Time, microwatts uint64) {
	// Whole seconds of whole microwatts are whole microjoules.
	e := energy{micro: -int64(microwatts) * int64(prehistory.Seconds())}
	p.changes = []change{{at, microwatts, e}}
}

func (p *power) latest() change { return p.changes[len(p.changes)-1] }

// change sets the power from an instant on, not before the latest change, and
// reports whether it differs.
func (p *power) change(at trace.Time, microwatts uint64) bool {
	last := p.latest()
	if last.microwatts == microwatts {
		return false
	}
	c := change{at, microwatts, p.at(at)}
	if last.at == at {
		p.changes[len(p.changes)-1] = c // nothing was drawn between
		return true
	}
	p.changes = append(p.changes, c)
	return true
}

// at returns the energy at an instant not before the first change kept.
func (p *power) at(t trace.Time) energy {
	c := p.latest()
	if t < c.at {
		i := sort.Search(len(p.changes), func(i int) bool { return p.changes[i].at > t })
		c = p.changes[i-1]
	}
	return c.energy.plus(c.microwatts, t.Sub(c.at))
}

// forget drops the changes that are not needed from an instant on. It moves
// what it keeps only when that is the smaller part.
func (p *power) forget(before trace.Time) {
	n := sort.Search(len(p.changes), func(i int) bool { return p.changes[i].at > before }) - 1
	if n > len(p.changes)/2 {
		p.changes = append(p.changes[:0], p.changes[n:]...)
	}
}
