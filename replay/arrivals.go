package replay

import (
	"math"
	"math/rand/v2"
	"time"

	"wattrace/trace"
)

// arrivals are the times at which an open loop's conversations begin. They are
// drawn in operational time, in which the rate is 1, and taken through the integral
// of the rate: so a ramp changes the gaps and not what is drawn.
type arrivals struct {
	load   *trace.Load
	rng    *rand.Rand
	levels levels
	sum    float64 // operational time of the last one
	n      int64
}

// newArrivals returns the arrivals of a phase of an open loop. of is how many there
// will be, where the phase normalizes them.
func newArrivals(ph *trace.Phase, seed uint64, of int64) *arrivals {
	a := &arrivals{load: &ph.Load, rng: rand.New(rand.NewPCG(seed, arrivalStream))}
	rate := ph.Rate
	if ph.Normalize {
		sum := 0.0
		for range of {
			sum += a.gap()
		}
		if sum > 0 {
			rate *= sum / float64(of)
		}
		a.rng = rand.New(rand.NewPCG(seed, arrivalStream))
	}
	a.levels = newLevels(&ph.Load, rate)
	return a
}

// next returns when the next conversation begins, since the start of the phase;
// false if the rate stays at 0. Constant arrivals begin at 0, others after a gap.
func (a *arrivals) next() (time.Duration, bool) {
	if a.load.Arrival != trace.Constant {
		a.sum += a.gap()
	} else if a.n > 0 {
		a.sum = float64(a.n)
	}
	a.n++
	return a.levels.when(a.sum)
}

// gap draws a gap whose mean is 1.
func (a *arrivals) gap() float64 {
	switch a.load.Arrival {
	case trace.Constant:
		return 1
	case trace.Gamma:
		return gamma(a.rng, a.load.Shape) / a.load.Shape
	}
	return a.rng.ExpFloat64()
}

// gamma draws from the gamma distribution of a shape and the scale 1: Marsaglia and
// Tsang, "A Simple Method for Generating Gamma Variables" (ACM TOMS 26, 2000). For
// a shape below 1 that of shape + 1 is taken times a power of a uniform draw.
func gamma(rng *rand.Rand, shape float64) float64 {
	if shape < 1 {
		u := 1 - rng.Float64() // not 0
		return gamma(rng, shape+1) * math.Pow(u, 1/shape)
	}
	d := shape - 1./3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + float64(c*x)
		if v <= 0 {
			continue
		}
		v = v * v * v
		if u := 1 - rng.Float64(); math.Log(u) < float64(x*x/2)+d-float64(d*v)+float64(d*math.Log(v)) {
			return d * v
		}
	}
}

// The streams of random numbers of a phase: what one draws changes nothing in what
// the others do.
const (
	arrivalStream = iota + 1
	orderStream
	cancelStream
)

// phaseSeed returns the seed of a phase of a plan, by the number of the phase.
func phaseSeed(seed uint64, number int) uint64 { return mix(seed + uint64(number)*0x9e3779b97f4a7c15) }

// mix scrambles 64 bits (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
