package reduce

import (
	"math"
	"time"

	"wattrace/trace"
)

// A refuter watches a field that is said to be an average and finds out if it
// cannot be: from one update to the next, dt later, an average over at least
// span moves by no more than dt/span of the most that the device can draw. That
// is taken as its power limit, or twice the highest reading of the whole
// recording where that is more: an average that begins to rise has shown
// nothing yet of what the device draws.
//
// In the recordings of meter_test.go the two fastest changes of the averages are
// up to 0.8 and 0.4 of that bound, where devices break the law of their average;
// those of the instant fields beside them, 2.2 to 3.0 and 1.3 to 1.5 of it. The
// field is refuted where their product is beyond the bound's square.
type refuter struct {
	span, rest time.Duration

	have   bool
	formed trace.Time // the field's value was formed after this
	polled trace.Time // the last reading
	watts  float64
	top    float64 // the highest reading
	// fastest and second are the two fastest changes, in watts per second.
	fastest, second float64
}

func newRefuter(s Sensor) *refuter { return &refuter{span: s.Span, rest: s.Rest} }

// read takes what was read at t; t grows.
func (r *refuter) read(t trace.Time, watts float64) {
	r.top = max(r.top, watts)
	if r.have && watts != r.watts {
		// Values are formed anew even where they stay the same, at the latest
		// after rest.
		dt := min(t.Sub(r.formed), r.rest+t.Sub(r.polled))
		switch rate := math.Abs(watts-r.watts) / dt.Seconds(); {
		case rate > r.fastest:
			r.fastest, r.second = rate, r.fastest
		case rate > r.second:
			r.second = rate
		}
		r.formed = r.polled
	}
	if !r.have {
		r.formed = t.Add(-r.rest)
	}
	r.have, r.polled, r.watts = true, t, watts
}

// refutes reports whether the field of a device with that power limit, 0 if it
// is unknown, is no average.
func (r *refuter) refutes(limit float64) bool {
	if !r.have || r.span <= 0 {
		return false
	}
	bound := max(2*r.top, limit) / r.span.Seconds()
	return float64(r.fastest*r.second) > float64(bound*bound)
}
