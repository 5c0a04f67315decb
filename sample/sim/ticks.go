package sim

import (
	"math/rand/v2"
	"time"

	"wattrace/trace"
)

// ticks are the instants at which a sensor updates: a grid with a phase and a
// period of the device's own, and around each instant of it a jitter that does
// not accumulate.
type ticks struct {
	rng    *rand.Rand
	origin trace.Time
	period time.Duration
	jitter time.Duration
	n      int64
	next   trace.Time
}

// periodSpread is how far a device's period may be from the nominal one, as a
// share: boards of one model update every 99 to 101 ms.
const periodSpread = 0.005

// newTicks returns the ticks after start. They have draws of their own, which
// rng begins, so that two sensors do not depend on whose tick comes first.
func newTicks(rng *rand.Rand, start trace.Time, period, jitter time.Duration) ticks {
	rng = rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
	own := time.Duration(float64(period) * (1 + float64(periodSpread*(float64(2*rng.Float64())-1))))
	t := ticks{
		rng: rng, period: own, jitter: jitter,
		origin: start.Add(jitter + time.Duration(rng.Int64N(int64(own)))),
	}
	t.set()
	return t
}

// step moves next to the following tick.
func (t *ticks) step() {
	t.n++
	t.set()
}

func (t *ticks) set() {
	t.next = t.origin.Add(time.Duration(t.n) * t.period)
	if t.jitter > 0 {
		t.next = t.next.Add(time.Duration(t.rng.Int64N(int64(2*t.jitter)+1)) - t.jitter)
	}
}
