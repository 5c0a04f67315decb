package reduce

import (
	"math"
	"slices"
	"time"

	"wattrace/trace"
)

// The parameters of the deconvolution, one setting for all devices: what did
// well on recordings of three boards beside a power meter and on simulated
// servers (meter_test.go). A lambda from 0.1 to 1 changes little; below it, a
// single reading that does not follow the law of its field is believed.
const (
	topUnits     = 300.0 // residuals and steps are in units of the highest reading over this
	huberUnits   = 3.0   // residuals beyond this count in proportion, not squared
	totalLambda  = 0.2   // weight of the sum of sqrt(step^2+1)
	maxSteps     = 40    // reweighted least-squares steps
	settledUnits = 1e-3  // a step that moves no power further than this is the last

	// A residual of more than doubtUnits makes other origins of the average be
	// tried; one is taken if it leaves less than doubtShare of the residual.
	doubtUnits = 6.0
	doubtShare = 0.3
	doubtEvery = 8                     // steps
	doubtSlack = 60 * time.Millisecond // by which an origin may be younger than the law has it
)

// How the stream is cut into blocks.
const (
	blockCore    = 60 * time.Second        // of what a block makes final, about
	blockLag     = 12 * time.Second        // what a block sees beyond that
	blockHistory = 3500 * time.Millisecond // what it sees before it: longer than any average
	tickApart    = time.Millisecond        // updates that are closer are one
)

// TickKind says how an update of a power field is known.
type TickKind uint8

// The kinds of tick.
const (
	TickSeen     TickKind = iota // the field was seen to change
	TickAssumed                  // the field kept its value over a time in which it must have been updated
	TickDoubtful                 // as assumed, but a device at rest would not have updated it
)

// Tick is an update of a power field: an instant at which its value was formed
// anew, whether or not that changed it.
type Tick struct {
	At    trace.Time
	Stamp float64 // standard uncertainty of At, seconds
	Kind  TickKind
	Known bool    // Watts was read after this update and before the next
	Watts float64 // what the field showed from this update on
}

// Cell is the energy that was drawn between two updates.
type Cell struct {
	From, To    trace.Time
	Microjoules int64
	Stamp       float64 // standard uncertainty of To, seconds
}

// A Deconvolver turns the updates of an averaged power field into the energy
// drawn between them.
//
// The law of the field: at an update at u it becomes the mean power since a,
// where a is the latest update that is at least Span older. So each reading y is
// one equation for the cumulative energy at updates, (E(u)-E(a))/(u-a) = y. They
// leave open whatever repeats with the length of the average, which is settled
// by asking for a power that is not negative and of small total variation. With
// p constant between updates, and in units of Top/300, it minimises
//
//	sum Huber_3((A p - y)_k) + lambda * sum sqrt((p_i - p_(i-1))^2 + 1)
//
// by reweighted least squares. Cells of 25 ms, which let power step between
// updates, were tried: nothing in the readings says where, and energies came out
// up to a third worse.
//
// The unknowns are the energies at updates: in them an equation has two terms
// and a step of power three, so that the normal equations are a narrow band,
// solved in a time linear in the number of updates. Cells whose power would be
// negative are held at zero by an active set.
//
// What a plateau of the field or a slow poll hides is which updates there were,
// and devices break the law now and then. Where an equation fits badly, the
// neighbouring updates are tried as its origin.
//
// The stream is solved in blocks with a lag: a block sees some seconds beyond
// what it makes final, and the next one takes that as given. Memory does not
// grow with the length of the stream. The arithmetic is the same, bit by bit,
// on every machine.
//
// The zero Deconvolver with Span and Emit set is ready. It is not safe for
// concurrent use.
type Deconvolver struct {
	Span time.Duration // least age of the update that an average begins at
	Top  float64       // highest reading of the field, watts; 0 is that of the first block
	Emit func(Cell)    // receives cells in order of time; within a segment each begins where the last ended

	// From is the instant from which on cells are emitted, if it is known: what
	// is before it only serves averages that began there.
	From trace.Opt[trace.Time]

	core, lag time.Duration // 0 is blockCore, blockLag

	ticks  []Tick
	power  []float64 // between an update and the next, watts
	final  int       // the power before this update is final
	unit   float64   // watts
	joules float64   // emitted
	micro  int64     // joules, rounded

	solver averageSolver
}

// Add takes the next update. Updates come in order of time; one that comes less
// than a millisecond after the last stands for both.
func (d *Deconvolver) Add(t Tick) {
	n := len(d.ticks)
	if n > 0 && t.At.Sub(d.ticks[n-1].At) < tickApart {
		t.At = d.ticks[n-1].At
		d.ticks[n-1] = t
		return
	}
	if n > 0 {
		d.power = append(d.power, d.guess(t))
	}
	d.ticks = append(d.ticks, t)
	core, lag := d.core, d.lag
	if core == 0 {
		core, lag = blockCore, blockLag
	}
	if t.At.Sub(d.ticks[d.final].At) >= core+lag {
		d.block(t.At.Add(-lag))
	}
}

// guess returns what the power before an update may be: the fit begins there.
func (d *Deconvolver) guess(t Tick) float64 {
	switch n := len(d.power); {
	case t.Known:
		return max(0, t.Watts)
	case n > 0:
		return d.power[n-1]
	}
	return 0
}

// Flush makes everything final and forgets it: what comes next begins a new
// segment, with nothing known of the time between.
func (d *Deconvolver) Flush() {
	if len(d.ticks) > 0 {
		d.block(math.MaxInt64)
	}
	d.ticks, d.power, d.final = d.ticks[:0], d.power[:0], 0
}

// block fits the power since the last final update and emits it up to the last
// update at or before until.
func (d *Deconvolver) block(until trace.Time) {
	d.scale()
	d.solver.fit(d)
	end := d.final
	for end+1 < len(d.ticks) && d.ticks[end+1].At <= until {
		end++
	}
	for ; d.final < end; d.final++ {
		d.emit(d.final)
	}
	d.forget()
}

// scale sets the unit of power, once.
func (d *Deconvolver) scale() {
	if d.unit > 0 {
		return
	}
	top := d.Top
	if !(top > 0) {
		for _, t := range d.ticks {
			top = max(top, t.Watts)
		}
	}
	d.unit = 1
	if top > 0 {
		d.unit = top / topUnits
	}
}

// emit hands out the energy between update i and the next.
func (d *Deconvolver) emit(i int) {
	c := Cell{From: d.ticks[i].At, To: d.ticks[i+1].At, Stamp: d.ticks[i+1].Stamp}
	c.From = max(c.From, d.From.Or(c.From))
	if c.From >= c.To {
		return
	}
	d.joules += float64(d.power[i] * c.To.Sub(c.From).Seconds())
	total := microjoules(d.joules)
	c.Microjoules, d.micro = total-d.micro, total
	d.Emit(c)
}

// forget drops what no later average looks back to.
func (d *Deconvolver) forget() {
	old := d.ticks[d.final].At.Add(-blockHistory)
	n := 0
	for n < d.final && d.ticks[n+1].At <= old {
		n++
	}
	d.ticks = slices.Delete(d.ticks, 0, n)
	d.power = slices.Delete(d.power, 0, n)
	d.final -= n
}
