package sim

import (
	"math"
	"math/rand/v2"
	"time"

	"wattrace/trace"
)

// NVML's bits of the clock event reasons that occur here.
const (
	reasonGPUIdle    = 0x1
	reasonSWPowerCap = 0x4
)

// utilisationSpan is the time that utilisation is taken over; nvml.h:
// "between 1 second and 1/6 second, depending on the product".
const utilisationSpan = time.Second / 6

// memoryInUse is the share of memory that an inference server takes when it
// starts and keeps; vLLM's --gpu-memory-utilization default.
const memoryInUse = 0.9

// activity is what a device does besides drawing power.
type activity struct {
	busyShare, memoryShare float64 // of time
	clock                  uint32  // SM clock, MHz
	capped                 bool

	since        trace.Time
	busy, memory float64       // nanoseconds up to since
	held         time.Duration // by the limit, up to since
}

// change sets what the device does from an instant on.
func (a *activity) change(at trace.Time, to activity) {
	to.busy, to.memory = a.sums(at)
	to.held = a.heldTo(at)
	to.since = at
	*a = to
}

// sums returns the busy nanoseconds of the device and of its memory up to an
// instant not before the latest change.
func (a *activity) sums(at trace.Time) (busy, memory float64) {
	d := float64(at - a.since)
	return a.busy + float64(a.busyShare*d), a.memory + float64(a.memoryShare*d)
}

// heldTo returns for how long the limit has held the clock down.
func (a *activity) heldTo(at trace.Time) time.Duration {
	if !a.capped {
		return a.held
	}
	return a.held + at.Sub(a.since)
}

// sensors are the sensors of a device: what their ticks have made of its power.
type sensors struct {
	counterTicks ticks
	powerTicks   ticks

	counterStart uint64 // millijoules: the driver was loaded long ago
	counter      uint64 // millijoules since time 0
	instant      float64
	average      float64
	utilisation  float64
	memory       float64
	celsius      float64

	past []powerTick // the latest power ticks, as far as any sensor looks back
}

// powerTick is what was true at a tick of the power fields.
type powerTick struct {
	at           trace.Time
	energy       energy
	busy, memory float64
}

// maxCounterStart is about four hours at the limit of a large board.
const maxCounterStart = 10_000_000_000

func (s *sensors) start(rng *rand.Rand, d *Device) {
	p := &d.profile
	s.counterTicks = newTicks(rng, d.now, p.CounterPeriod, p.TickJitter)
	s.powerTicks = newTicks(rng, d.now, p.PowerPeriod, p.TickJitter)
	s.counterStart = rng.Uint64N(maxCounterStart)
	s.celsius = p.AmbientCelsius + float64(p.KelvinPerWatt*d.rest)
	s.instant, s.average = d.rest, d.rest
}

// advance runs the ticks up to and including an instant. The two kinds do not
// see each other, so each runs on its own.
func (s *sensors) advance(d *Device, to trace.Time) {
	for s.counterTicks.next <= to {
		s.tickCounter(d, s.counterTicks.next)
		s.counterTicks.step()
	}
	for s.powerTicks.next <= to {
		s.tickPower(d, s.powerTicks.next)
		s.powerTicks.step()
	}
	d.power.forget(to.Add(-d.profile.InstantWindow))
}

// tickCounter moves the counter to the energy that the sensor has seen since
// time 0, in whole millijoules. It never goes down.
func (s *sensors) tickCounter(d *Device, at trace.Time) {
	if at <= 0 {
		return
	}
	e := d.power.at(at)
	micro := uint64(e.micro)
	if d.gain != 1 || d.offset != 0 {
		seen := float64(d.gain*float64(e.micro)) + float64(d.offset*at.Seconds()*1e6)
		micro = uint64(max(seen, 0))
	}
	s.counter = max(s.counter, micro/1000)
}

// tickPower updates the power fields and what goes with them.
func (s *sensors) tickPower(d *Device, at trace.Time) {
	tick := powerTick{at: at, energy: d.power.at(at)}
	tick.busy, tick.memory = d.activity.sums(at)

	if a := at.Add(-d.profile.InstantWindow); a >= trace.Time(-prehistory) {
		s.instant = meanWatts(d.power.at(a), tick.energy, at.Sub(a))
	}
	if n := len(s.past); n > 0 {
		last := s.past[n-1]
		s.warm(d, meanWatts(last.energy, tick.energy, at.Sub(last.at)), at.Sub(last.at))
	}
	if old, ok := s.lookBack(at.Add(-utilisationSpan)); ok {
		dt := float64(at - old.at)
		s.utilisation, s.memory = (tick.busy-old.busy)/dt, (tick.memory-old.memory)/dt
	}
	if span := d.profile.AverageSpan; span > 0 {
		if old, ok := s.lookBack(at.Add(-span)); ok {
			s.average = meanWatts(old.energy, tick.energy, at.Sub(old.at))
		}
	}
	s.keep(tick, max(d.profile.AverageSpan, utilisationSpan))
}

// lookBack returns the latest tick at or before an instant.
func (s *sensors) lookBack(at trace.Time) (powerTick, bool) {
	for i := len(s.past) - 1; i >= 0; i-- {
		if s.past[i].at <= at {
			return s.past[i], true
		}
	}
	return powerTick{}, false
}

// keep adds a tick and drops those that no later tick will look back to.
func (s *sensors) keep(tick powerTick, span time.Duration) {
	drop := 0
	for drop+1 < len(s.past) && s.past[drop+1].at <= tick.at.Add(-span) {
		drop++
	}
	s.past = append(append(s.past[:0], s.past[drop:]...), tick)
}

// warm moves the die towards the temperature that the power would bring it to:
// one explicit step of the first-order equation.
func (s *sensors) warm(d *Device, watts float64, dt time.Duration) {
	p := &d.profile
	if p.ThermalTimeConst <= 0 {
		return
	}
	target := p.AmbientCelsius + float64(p.KelvinPerWatt*watts)
	s.celsius += float64((target - s.celsius) * min(1, float64(dt)/float64(p.ThermalTimeConst)))
}

func meanWatts(a, b energy, d time.Duration) float64 {
	return b.microjoulesSince(a) / (float64(d) / 1e3)
}

func (s *sensors) read(d *Device) Reading {
	p := &d.profile
	r := Reading{
		EnergyMillijoules:        s.counterStart + s.counter,
		PowerInstantMilliwatts:   d.shown(s.instant),
		PowerLimitMilliwatts:     round(d.limit * 1e3),
		GPUUtilizationPercent:    round(s.utilisation * 100),
		MemoryUtilizationPercent: round(s.memory * 100),
		MemoryUsedBytes:          uint64(float64(p.MemoryBytes) * memoryInUse),
		MemoryTotalBytes:         p.MemoryBytes,
		TemperatureCelsius:       round(s.celsius),
		SMClockMegahertz:         d.activity.clock,
		MemoryClockMegahertz:     p.MemoryMegahertz,
	}
	if p.AverageSpan > 0 {
		r.PowerAverageMilliwatts = d.shown(s.average)
	}
	if d.activity.busyShare == 0 {
		r.ClockEventReasons |= reasonGPUIdle
	}
	if d.activity.capped {
		r.ClockEventReasons |= reasonSWPowerCap
	}
	return r
}

// shown returns what a power field shows of so many watts: the sensor's error
// applied, in whole milliwatts as the driver gives them.
func (d *Device) shown(watts float64) uint32 {
	return round((float64(d.gain*watts) + d.offset) * 1e3)
}

// round rounds to an integer and keeps within its type.
func round(v float64) uint32 {
	return uint32(max(0, min(math.Floor(v+0.5), math.MaxUint32)))
}
