package reduce

import (
	"math"
	"time"

	"wattrace/trace"
)

// A refuter watches a field that is said to be an average and finds out if it
// cannot be: from one update to the next, dt later, an average over at least
// span moves by no more than dt/span of the most that the device can draw. That
// is taken as twice the highest reading so far.
//
// Devices that break the law of their average move up to 0.8 of that bound in
// the recordings of meter_test.go; the instant fields beside them, two to seven
// times that bound. One jump of twice the bound refutes, or two beyond it.
type refuter struct {
	span, period, rest time.Duration

	have    bool
	formed  trace.Time // the field's value was formed after this
	polled  trace.Time // the last reading
	watts   float64
	top     float64
	counted int
}

const refuted = 2 // counted

func newRefuter(s Sensor) *refuter { return &refuter{span: s.Span, period: s.Period, rest: s.Rest} }

// read takes what was read at t; t grows.
func (r *refuter) read(t trace.Time, watts float64) {
	r.top = max(r.top, watts)
	if r.have && watts != r.watts {
		// Values are formed anew even where they stay the same, at the latest
		// after rest.
		dt := min(t.Sub(r.formed), r.rest+t.Sub(r.polled))
		bound := 2 * r.top * dt.Seconds() / r.span.Seconds()
		switch jump := math.Abs(watts - r.watts); {
		case jump > 2*bound:
			r.counted += refuted
		case jump > bound:
			r.counted++
		}
		r.formed = r.polled
	}
	if !r.have {
		r.formed = t.Add(-r.rest)
	}
	r.have, r.polled, r.watts = true, t, watts
}

// refutes reports whether the field is no average.
func (r *refuter) refutes() bool { return r.counted >= refuted }
