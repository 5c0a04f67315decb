package monitor

import (
	"time"

	"wattrace/trace"
)

// maxGap is the longest time between two readings of power that is taken for
// measured: over a longer one nothing is known.
const maxGap = 5 * time.Second

// total is a counter that grows, of joules or of tokens, over its resets: the sum of
// what it rose by. What it rose by around a reset is not known, and left out.
type total struct {
	sum    float64
	last   trace.Opt[float64] // its latest value
	resets int
}

func (t *total) read(v float64) {
	switch last, ok := t.last.Get(); {
	case ok && v >= last:
		t.sum += v - last
	case ok:
		t.resets++
	}
	t.last = trace.Some(v)
}

// known reports whether there is such a counter.
func (t *total) known() bool { return t.last.OK }

// integral is power over time: trapezoids between readings.
type integral struct {
	joules  float64
	missing time.Duration      // gaps longer than maxGap
	last    trace.Opt[float64] // watts
	at      int64              // of last, in nanoseconds of Unix time
}

func (p *integral) read(at int64, watts float64) {
	if last, ok := p.last.Get(); ok {
		switch dt := time.Duration(at - p.at); {
		case dt <= 0: // the clock of another recording
		case dt > maxGap:
			p.missing += dt
		default:
			p.joules += (last + watts) / 2 * dt.Seconds()
		}
	}
	p.last, p.at = trace.Some(watts), at
}

// The ways to energy.
const (
	byCounter = "counter"    // the device's own energy counter
	byPower   = "integrated" // its power, by trapezoids
)

// energy is both ways to the energy of a device since its first reading.
type energy struct {
	counter total
	power   integral
}

// base is what an energy was at an instant that others are counted from. One that a
// device was not there for is unset.
type base struct {
	counter, power trace.Opt[float64]
	resets         int
	missing        time.Duration
}

func (e *energy) base() (b base) {
	b.resets, b.missing = e.counter.resets, e.power.missing
	if e.counter.known() {
		b.counter = trace.Some(e.counter.sum)
	}
	if e.power.last.OK {
		b.power = trace.Some(e.power.joules)
	}
	return b
}

// since is the energy between two instants.
type since struct {
	joules  trace.Opt[float64]
	method  string        // "" where there is none
	resets  int           // of the counter: around each some energy is left out
	missing time.Duration // without a reading of power; of byPower
}

// from returns the energy from an earlier instant to this one: by the counter, if both
// know it, else by power. A device that an instant has no reading of has none.
func (b base) from(a base) since {
	switch {
	case a.counter.OK && b.counter.OK:
		return since{trace.Some(b.counter.V - a.counter.V), byCounter, b.resets - a.resets, 0}
	case a.power.OK && b.power.OK:
		return since{trace.Some(b.power.V - a.power.V), byPower, 0, b.missing - a.missing}
	}
	return since{}
}
