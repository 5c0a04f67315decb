package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// prehistory is how long before time 0 a device has been at rest, so that its
// sensors have a past to look back to.
const prehistory = 4 * time.Second

// Options says which devices to make. The zero value is one H100-like device.
type Options struct {
	Count   int     // devices; 0 is 1
	Profile Profile // the zero Profile is the first of [Profiles]
	Seed    uint64  // decides identities, the phases of sensors, the differences between devices
	Host    string  // host name that the devices are in; "" is "localhost"

	LimitWatts float64       // power limit in force; 0 is the profile's
	Errors     []SensorError // by device; those beyond the end are none
}

// SensorError is what a device's sensors get wrong, all of them alike:
// they show (1 + Gain) * true power + OffsetWatts. Real boards err by some
// percent, each by its own.
type SensorError struct {
	Gain        float64 // -0.05 shows 5 % too little
	OffsetWatts float64
}

// Step is a change of a device's true power. The power holds from At to the
// device's next step.
type Step struct {
	Device      int // index of the device
	At          trace.Time
	Microwatts  uint64 // true power from At on
	Microjoules uint64 // true energy from time 0 to At, rounded down
}

// Device is one simulated device. Its state is a function of time alone: it
// starts at time 0 and at rest, and goes where its methods' instants take it.
// Time does not go back: an instant before the latest one that the device has
// seen counts as that one. It is safe for concurrent use.
type Device struct {
	info    sample.Device
	profile Profile
	limit   float64 // watts
	gain    float64
	offset  float64 // watts
	rest    float64 // this board's idle power, watts
	scale   float64 // this board's power above rest, relative to the model's

	mu  sync.Mutex
	now trace.Time

	power    power
	activity activity
	sensors  sensors
}

// New makes devices at rest at time 0.
func New(o Options) ([]*Device, error) {
	if o.Profile == (Profile{}) {
		o.Profile = profiles[0]
	}
	if err := o.Profile.validate(); err != nil {
		return nil, err
	}
	if o.LimitWatts == 0 {
		o.LimitWatts = o.Profile.LimitWatts
	}
	if !(o.LimitWatts > o.Profile.IdleWatts*(1+restSpread) && o.LimitWatts*1e6 <= maxMicrowatts) {
		return nil, fmt.Errorf("power limit of %v W: must be above what a device draws at rest", o.LimitWatts)
	}
	if o.Count < 0 || o.Count > MaxDevices {
		return nil, fmt.Errorf("%d devices: must be 1 to %d", o.Count, MaxDevices)
	}
	if o.Host == "" {
		o.Host = "localhost"
	}
	devices := make([]*Device, max(o.Count, 1))
	for i := range devices {
		var e SensorError
		if i < len(o.Errors) {
			e = o.Errors[i]
		}
		if !(e.Gain > -1) || math.IsInf(e.Gain, 0) || math.IsNaN(e.OffsetWatts) || math.IsInf(e.OffsetWatts, 0) {
			return nil, fmt.Errorf("device %d: the sensor's gain must be above -1 and its offset a number", i)
		}
		devices[i] = newDevice(i, &o, e)
	}
	return devices, nil
}

// MaxDevices is the most devices that New makes: as many as a PCI bus number
// can tell apart.
const MaxDevices = 255

// Differences between boards of one model: of the order that the boards of
// the benchmark in profile.go show.
const (
	restSpread  = 0.05 // of idle power, either way
	scaleSpread = 0.03 // of power above rest, either way
)

func newDevice(i int, o *Options, e SensorError) *Device {
	rng := rand.New(rand.NewPCG(o.Seed, uint64(i)))
	id := rng.Uint64()
	uuid := fmt.Sprintf("GPU-%08x-%04x-4%03x-%04x-%012x", uint32(id>>32), uint16(id>>16), uint16(id)&0xfff,
		0x8000|uint16(rng.Uint32())&0x3fff, rng.Uint64()&0xffff_ffff_ffff)
	p := o.Profile
	d := &Device{
		info: p.device(i, uuid, o.Host), profile: p,
		limit: o.LimitWatts, gain: 1 + e.Gain, offset: e.OffsetWatts,
		rest:  p.IdleWatts * (1 + float64(restSpread*symmetric(rng))),
		scale: 1 + float64(scaleSpread*symmetric(rng)),
		now:   trace.Time(-prehistory),
	}
	d.power.start(d.now, quantise(d.rest))
	d.activity.clock = p.SMMegahertz
	d.sensors.start(rng, d)
	d.advance(0)
	return d
}

// symmetric draws evenly from -1 to 1.
func symmetric(rng *rand.Rand) float64 { return float64(2*rng.Float64()) - 1 }

// Info returns the identity of the device.
func (d *Device) Info() sample.Device { return d.info }

// Profile returns the behaviour of the device's model.
func (d *Device) Profile() Profile { return d.profile }

// SetPower makes the device draw so many watts from an instant on, whatever
// its model and its limit say. It counts as busy when that is more than it
// draws at rest. The second result is false when the power, to the microwatt,
// was this already; then there is no step. Power that is negative, above
// 100 kW or not a number is the caller's mistake, and panics.
func (d *Device) SetPower(at trace.Time, watts float64) (Step, bool) {
	if !(watts >= 0 && watts*1e6 <= maxMicrowatts) {
		panic(fmt.Sprintf("sim: power of %v W", watts))
	}
	a := activity{clock: d.profile.SMMegahertz}
	if watts > d.rest {
		a.busyShare, a.memoryShare = 1, 0.5
	}
	return d.set(at, watts, a)
}

// SetWork makes the device work from an instant on and draw what its model
// says, which the limit caps. The second result is as SetPower's.
func (d *Device) SetWork(at trace.Time, w Work) (Step, bool) {
	watts := d.rest + float64(d.scale*float64((d.profile.LimitWatts-d.profile.IdleWatts)*w.intensity()))
	a := activity{clock: d.profile.SMMegahertz, memoryShare: w.memoryShare()}
	if !w.idle() {
		a.busyShare = 1
	}
	if watts > d.limit {
		// The governor gives up clock until the power fits.
		a.clock = uint32(float64(a.clock) * (0.5 + float64(0.5*d.limit/watts)))
		a.capped = true
		watts = d.limit
	}
	return d.set(at, watts, a)
}

func (d *Device) set(at trace.Time, watts float64, a activity) (Step, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.advance(at)
	d.activity.change(d.now, a)
	changed := d.power.change(d.now, quantise(watts))
	return d.step(), changed
}

// Step returns the device's latest step: of a device that was never set, the
// one at time 0.
func (d *Device) Step() Step {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.step()
}

func (d *Device) step() Step {
	p := d.power.latest()
	if p.at < 0 {
		return Step{Device: d.info.Index, Microwatts: p.microwatts}
	}
	return Step{
		Device: d.info.Index, At: p.at, Microwatts: p.microwatts,
		Microjoules: uint64(p.energy.micro),
	}
}

// Energy returns the true energy from time 0 to an instant in microjoules,
// rounded down: exact, and additive to the microjoule's rounding.
func (d *Device) Energy(at trace.Time) (microjoules uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.advance(at)
	return uint64(d.power.at(d.now).micro)
}

// Read returns what the sensors show at an instant.
func (d *Device) Read(at trace.Time) Reading {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.advance(at)
	return d.sensors.read(d)
}

// PowerCapped returns for how long the power limit has held clocks down since
// the device began, up to an instant: NVML's field 74.
func (d *Device) PowerCapped(at trace.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.advance(at)
	return d.activity.heldTo(d.now)
}

// NextUpdate returns when a sensor of the device will update next, after the
// latest instant that the device has seen. Until then Read shows the same, but
// for clocks and clock event reasons, which follow the work at once.
func (d *Device) NextUpdate() trace.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return min(d.sensors.counterTicks.next, d.sensors.powerTicks.next)
}

// advance lets the sensors see what has passed. Everything up to the instant
// is known by then, since power changes only by set, which comes here first.
func (d *Device) advance(at trace.Time) {
	if at <= d.now {
		return
	}
	d.sensors.advance(d, at)
	d.now = at
}

// quantise rounds watts to the microwatts that true power is kept in.
func quantise(watts float64) uint64 { return uint64(math.Floor(watts*1e6 + 0.5)) }
