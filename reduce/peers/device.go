package peers

import (
	"math"
	"slices"
	"time"

	"wattrace/trace"
)

// mark is a reading that an edge of a window needs, with what had been summed until
// it: for a counter the joules of all its segments, for a gauge the trapezoids.
type mark struct {
	at    trace.Time
	value float64
	sum   float64
	ok    bool
}

// A Device takes the readings of one sensor in order of time.
type Device struct {
	DeviceInfo
	peer   *Peer
	tracks []*track // by window
	steady []*track // by window, of those that have a steady one; else nil
	known  []*track // all of them whose bounds are known

	have       bool
	last       trace.Time
	disordered int64 // readings that are older than the one before, and were left out

	counter mark   // the last reading of the counter
	power   powers // by when it was read
	stamped powers // by when the file says
	whole   wholeLog
}

// powers are the readings of a device.
type powers struct {
	last  mark  // of all readings at one instant
	group group // the powers read at one instant
}

// add takes a power, and gives what was read at the instant before to use.
func (g *powers) add(at trace.Time, watts float64, use func(mark)) {
	if g.group.n > 0 && at != g.group.at {
		g.flush(use)
	}
	g.group = group{at, g.group.sum + watts, g.group.n + 1}
}

// flush gives the mean of the readings of the last instant to use.
func (g *powers) flush(use func(mark)) {
	if g.group.n == 0 {
		return
	}
	m := mark{at: g.group.at, value: g.group.sum / g.group.n, sum: g.last.sum, ok: true}
	if g.last.ok {
		m.sum += float64((g.last.value + m.value) / 2 * m.at.Sub(g.last.at).Seconds())
	}
	g.last, g.group = m, group{}
	use(m)
}

// group is the readings of one instant, of which the tools that expect duplicates
// take the mean.
type group struct {
	at  trace.Time
	sum float64
	n   float64
}

// track is what one window needs of one device.
type track struct {
	a, b  trace.Time
	known bool // both bounds are; nothing else here means anything otherwise

	doubles bool // aiperf's own figures are wanted, with its rounding

	// Of the counter.
	before mark // last before the start
	upto   mark // last at or before the start
	first  mark // first at or after the start, however late
	last   mark // last at or before the end
	final  mark // last in the window or its grace
	after  mark // first at or after the end
	open   mark // last at or after the start, however late

	// Of the gauge.
	n, sum         float64 // samples inside, both ends inclusive
	openN, openSum float64 // samples since the start
	graceN         float64 // samples inside, or within the grace after the end
	graceSum       float64
	trap, lagged   trapezoid
	near           trapezoid // of the samples within 3 s of the window
	nearCount      int
	invalid        bool       // a sample near the window is no power
	snapA0, snapA1 mark       // last at or before the start, first at or after it
	snapB0, snapB1 mark       // the same of the end
	ticks          []float64  // the power every 5 s from the start, as long as readings last
	nextTick       trace.Time // of the next tick
	hold           trace.Opt[float64]
	grace          time.Duration
	wantTicks      bool
}

func newDevice(p *Peer, info DeviceInfo) *Device {
	d := &Device{DeviceInfo: info, peer: p, steady: make([]*track, len(p.windows))}
	for i := range p.windows {
		w := &p.windows[i]
		d.tracks = append(d.tracks, newTrack(p, w.Start, w.End, info.Lag))
		d.tracks[i].doubles = w.Archive != nil
		if w.Steady.OK {
			d.steady[i] = newTrack(p, trace.Some(w.Steady.V.Start), trace.Some(w.Steady.V.End), info.Lag)
		}
	}
	for _, t := range slices.Concat(d.tracks, d.steady) {
		if t != nil && t.known {
			d.known = append(d.known, t)
		}
	}
	return d
}

func newTrack(p *Peer, start, end trace.Opt[trace.Time], lag time.Duration) *track {
	t := &track{a: start.V, b: end.V, known: start.OK && end.OK && end.V > start.V, grace: p.grace()}
	t.trap = trapezoid{a: t.a, b: t.b}
	t.near = trapezoid{a: t.a, b: t.b, doubles: &p.opt}
	t.lagged = trapezoid{a: t.a.Add(lag), b: t.b.Add(lag)}
	t.nextTick = t.a
	_, t.wantTicks = p.tool.(recorder)
	return t
}

// Read takes one reading. Those of one device come in order of time; an older one
// is left out.
func (d *Device) Read(s Sample) {
	if d.have && s.At < d.last {
		d.disordered++
		return
	}
	d.have, d.last = true, s.At
	if v, ok := s.Joules.Get(); ok && finite(v) {
		d.readCounter(s.At, v)
	}
	switch v, ok := s.Watts.Get(); {
	case ok:
		d.readPower(s.At, s.Stamp.Or(s.At), v)
	case s.Unread:
		for _, t := range d.known {
			t.check(s.Stamp.Or(s.At), math.NaN())
		}
	}
}

// finite reports whether v is a number that some device could say. The bound keeps
// sums of many from overflowing: 1e15 J is a gigawatt for eleven days.
func finite(v float64) bool { return math.Abs(v) <= 1e15 }

func (d *Device) readCounter(at trace.Time, joules float64) {
	m := mark{at: at, value: joules, sum: d.counter.sum, ok: true}
	if d.counter.ok {
		m.sum += max(joules-d.counter.value, 0) // what it did while it fell is not known
	}
	d.counter = m
	for _, t := range d.known {
		t.readCounter(m)
	}
}

func (t *track) readCounter(m mark) {
	if m.at < t.a {
		t.before = m
	} else {
		t.open = m
		if !t.first.ok {
			t.first = m
		}
	}
	if m.at <= t.a {
		t.upto = m
	}
	if m.at <= t.b {
		t.last = m
	}
	if m.at >= t.a && m.at <= t.b.Add(t.grace) {
		t.final = m
	}
	if m.at >= t.b && !t.after.ok {
		t.after = m
	}
}

// nearWindow is how far beside a window InferenceX looks at samples, and the
// longest time between two that it and srt-slurm accept.
const nearWindow = 3 * time.Second

func (d *Device) readPower(at, stamp trace.Time, watts float64) {
	for _, t := range d.known {
		t.check(stamp, watts)
	}
	if !finite(watts) {
		return
	}
	d.power.add(at, watts, d.integrate)
	d.stamped.add(stamp, watts, d.integrateStamped)
	d.whole.add(&d.peer.opt, stamp, watts)
	for _, t := range d.known {
		t.readPower(at, watts)
	}
}

// check notes a power that InferenceX would not accept.
func (t *track) check(at trace.Time, watts float64) {
	if at >= t.a.Add(-nearWindow) && at <= t.b.Add(nearWindow) && (!finite(watts) || watts < 0) {
		t.invalid = true
	}
}

// readPower takes a sample for the tools that take every one as it is.
func (t *track) readPower(at trace.Time, watts float64) {
	if at >= t.a {
		t.openN++
		t.openSum += watts
		if at <= t.b {
			t.n++
			t.sum += watts
		}
		if at <= t.b.Add(t.grace) {
			t.graceN++
			t.graceSum += watts
		}
	}
	if !t.wantTicks {
		return
	}
	for ; t.nextTick < t.b && t.nextTick < at; t.nextTick = t.nextTick.Add(recordEvery) {
		t.ticks = append(t.ticks, t.hold.Or(watts)) // before the first sample, that one
	}
	t.hold = trace.Some(watts)
}

func (d *Device) integrate(m mark) {
	for _, t := range d.known {
		t.trap.add(m)
		t.lagged.add(m)
	}
}

func (d *Device) integrateStamped(m mark) {
	for _, t := range d.known {
		t.integrateStamped(m)
	}
}

func (t *track) integrateStamped(m mark) {
	if m.at >= t.a.Add(-nearWindow) && m.at <= t.b.Add(nearWindow) && m.value >= 0 {
		t.near.add(m)
		t.nearCount++
	}
	nearest(&t.snapA0, &t.snapA1, t.a, m)
	nearest(&t.snapB0, &t.snapB1, t.b, m)
}

// nearest keeps the last mark until an instant and the first since it.
func nearest(before, since *mark, at trace.Time, m mark) {
	if m.at <= at {
		*before = m
	}
	if m.at >= at && !since.ok {
		*since = m
	}
}

// end takes what is pending.
func (d *Device) end() {
	d.power.flush(d.integrate)
	d.stamped.flush(d.integrateStamped)
	d.whole.close(&d.peer.opt)
	for _, t := range d.known {
		if t.wantTicks && t.hold.OK && t.nextTick < t.b && t.nextTick == d.power.last.at {
			t.ticks = append(t.ticks, t.hold.V) // the last reading is at a tick
		}
	}
}

// trapezoid integrates power over [a, b], linear between samples, cut at the ends.
type trapezoid struct {
	a, b     trace.Time
	doubles  *Options // times are differences of doubles; nil is not at all
	last     mark
	from, to bool // samples reach over the start, the end
	joules   float64
	gap      time.Duration // longest between two samples of which some is inside
}

func (z *trapezoid) add(m mark) {
	if z.last.ok && z.last.at < z.b && m.at > z.a {
		lo, hi := max(z.last.at, z.a), min(m.at, z.b)
		mean := (z.line(z.last, m, lo) + z.line(z.last, m, hi)) / 2
		z.joules += float64(mean * z.between(lo, hi))
		z.gap = max(z.gap, m.at.Sub(z.last.at))
	}
	z.from = z.from || m.at <= z.a
	z.to = z.to || m.at >= z.b
	z.last = m
}

// line is the value at an instant on the straight line between two marks.
func (z *trapezoid) line(l, r mark, at trace.Time) float64 {
	switch at {
	case l.at:
		return l.value
	case r.at:
		return r.value
	}
	share := float64(at-l.at) / float64(r.at-l.at)
	if z.doubles != nil {
		share = z.between(l.at, at) / z.between(l.at, r.at)
	}
	return l.value + float64(share*(r.value-l.value))
}

func (z *trapezoid) between(a, b trace.Time) float64 {
	if z.doubles != nil {
		return z.doubles.between(a, b)
	}
	return b.Sub(a).Seconds()
}

// value returns the energy if samples reach over both ends.
func (z *trapezoid) value() (float64, bool) { return z.joules, z.from && z.to }

// mean returns the plain mean of the samples inside, both ends inclusive.
func (t *track) mean() (float64, bool) {
	if !t.known || t.n == 0 {
		return 0, false
	}
	return t.sum / t.n, true
}
