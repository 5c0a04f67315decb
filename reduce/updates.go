package reduce

import (
	"math"
	"time"

	"wattrace/trace"
)

// changePoints turns the readings of a power field into its updates.
//
// A value that is new at t, and was not yet there at the poll before, t', came
// with an update in between, and not longer ago than one update period Tu. It is
// stamped t - min(Tu, t-t')/2, the middle of the two polls where they are faster
// than the field, or better where the polls before tell when in its period the
// field is updated.
//
// An update that leaves the value as it was cannot be seen. Between two changes
// further apart than Tu there were some all the same, and they matter: as
// origins of later averages, and as equations that say that power stayed. They
// are put back: counted back from the change in steps of Tu, which keeps the
// origins of the averages that begin before it right; and, of a plateau longer
// than any average, counted on from its beginning up to there. Where a poll
// after such an update still read the old value, that was its value.
//
// A device at rest may update its averaged field only once every rest, when two
// changes are that far apart, or a multiple of it where the device was at rest
// before. No other updates are believed in between, but they are not ruled out
// either, for a plateau may end by chance after that time: they are doubtful. A load that
// pauses until its average has stood for a rest ends it by chance as well, but then
// the value rises by no more than an ordinary update can (see loaded).
type changePoints struct {
	period time.Duration // Tu
	rest   time.Duration // period at rest; 0 is the same as always
	top    float64       // highest reading, watts
	span   time.Duration // how far back an average reaches at most, when not at rest
	emit   func(Tick)

	have    bool
	polled  trace.Time    // the last reading
	watts   float64       // the field's value
	changed trace.Time    // middle of the polls around the last change
	around  time.Duration // between those polls
	updated trace.Time    // the last update that was put
	plateau bool          // which came after the last change, or before any
	atRest  bool          // the last change came after rest
	phase   tickPhase     // of the updates of a device that is not at rest

	rested   int // plateaus as long as a rest
	restless int // other ones that are not shorter by much
}

const (
	restSlack = 0.002 // by which time at rest may differ from what it should be, as a share
	restOdds  = 2     // how many other plateaus there may be for each one of a rest's length
	maxRests  = 3     // updates at rest between two changes, the second one's included
	riseSlack = 1.25  // by which a load may be above the highest average
	slowRest  = 4     // polls slower than this part of rest do not show it

	// countedBack is how uncertain the time between two updates is, as a share, of
	// which one was seen and the other is counted back from it.
	countedBack = 0.01
)

// read takes what was read at t; t grows.
func (c *changePoints) read(t trace.Time, watts float64) {
	around := t.Sub(c.polled)
	switch {
	case !c.have:
		c.begin(t, watts)
	case watts == c.watts:
		c.goOn(t.Add(-c.hold()))
		c.polled = t
	default:
		c.change(t.Add(-around/2), around, watts)
		c.polled, c.watts = t, watts
	}
}

// begin starts a segment. The value was there before the first poll: an update
// is put half a period before it, and others before that, so that the first
// averages have an origin.
func (c *changePoints) begin(t trace.Time, watts float64) {
	at := t.Add(-c.period / 2)
	for n := (c.span + c.period - 1) / c.period; n > 0; n-- {
		c.put(Tick{At: at.Add(-n * c.period), Kind: TickAssumed})
	}
	c.have, c.polled, c.watts, c.plateau, c.atRest = true, t, watts, true, false
	c.put(Tick{At: at, Kind: TickAssumed, Known: true})
}

// end ends the segment: the value is known up to the last poll.
func (c *changePoints) end() {
	if c.have {
		c.goOn(c.polled)
	}
	c.have = false
}

func (c *changePoints) put(t Tick) {
	if t.Kind != TickSeen {
		t.Watts = c.watts
		if t.Stamp == 0 {
			t.Stamp = evenly(c.period)
		}
	}
	c.emit(t)
	c.updated = t.At
}

// evenly is the standard uncertainty, in seconds, of an instant that may be
// anywhere in d.
func evenly(d time.Duration) float64 { return d.Seconds() / math.Sqrt(12) }

// hold returns how much of a plateau is held back until it is known how it ends.
func (c *changePoints) hold() time.Duration {
	rest := time.Duration(float64(c.rest) * (1 + 1./slowRest))
	if c.atRest {
		rest *= maxRests
	}
	return max(c.span, rest) + c.period
}

// goOn puts updates into a plateau up to t.
func (c *changePoints) goOn(t trace.Time) {
	for c.updated.Add(c.period) <= t {
		c.put(Tick{At: c.updated.Add(c.period), Kind: TickAssumed, Known: true})
		c.plateau, c.atRest = true, false
	}
}

// change puts the update that the polls around an instant saw, and those
// between it and the last one.
func (c *changePoints) change(middle trace.Time, around time.Duration, watts float64) {
	n, start := c.rests(middle, around, watts), c.updated
	at, stamp := middle, evenly(around)
	if n == 0 {
		c.phase.period = c.period
		at, stamp = c.phase.stamp(middle.Add(around/2-min(c.period, around)), middle.Add(around/2))
	}
	for i := 1; i < n; i++ {
		rested := start.Add(at.Sub(start) * time.Duration(i) / time.Duration(n))
		c.fill(rested, evenly(c.period), TickDoubtful)
		c.put(Tick{At: rested, Kind: TickAssumed, Known: true})
	}
	kind := TickAssumed
	if n > 0 {
		kind = TickDoubtful
	}
	c.fill(at, stamp, kind)
	c.put(Tick{At: at, Stamp: stamp, Kind: TickSeen, Known: true, Watts: watts})
	c.changed, c.around, c.plateau, c.atRest = middle, around, false, n > 0
}

// fill puts updates between the last one and one at t, which is known to stamp
// seconds: so nearly are those counted back from it.
func (c *changePoints) fill(t trace.Time, stamp float64, kind TickKind) {
	start := c.updated
	for m := t.Sub(start) / c.period; m > 0; m-- {
		if at := t.Add(-m * c.period); at.Sub(start) >= c.period/2 {
			tick := Tick{At: at, Kind: kind, Known: kind == TickAssumed && at <= c.polled}
			if at <= c.polled { // in a gap nothing tells
				less := countedBack * at.Sub(t).Seconds()
				tick.Stamp = min(evenly(c.period), math.Sqrt(float64(stamp*stamp)+float64(less*less)))
			}
			c.put(tick)
		}
	}
}

// rests returns how many updates of a device at rest there are between two
// changes, the second one's included; 0 if it was not at rest.
func (c *changePoints) rests(middle trace.Time, around time.Duration, watts float64) int {
	if c.rest <= 0 || c.plateau || around > c.rest/slowRest {
		return 0
	}
	most := 1
	if c.atRest {
		most = maxRests
	}
	for n := range time.Duration(most) {
		off := middle.Sub(c.changed) - (n+1)*c.rest
		slack := time.Duration(float64((n+1)*c.rest)*restSlack) + (around+c.around)/2
		if off.Abs() <= slack {
			if !c.atRest && c.loaded(watts) {
				break
			}
			if c.likeRest() {
				return int(n + 1)
			}
			return 0
		}
	}
	if middle.Sub(c.changed) > c.rest/2 {
		c.restless++
	}
	return 0
}

// loaded reports whether a value after a plateau is what one ordinary update can make
// of it when a load comes back: a rise by no more than the share that a period has of
// the average. A device at rest has the load in up to half of its average by then, and
// while that still forgets a load the value falls.
func (c *changePoints) loaded(watts float64) bool {
	rise := watts - c.watts
	return rise > 0 && rise*float64(c.span) <= riseSlack*(c.top-c.watts)*float64(c.period)
}

// likeRest counts a plateau that is as long as a rest, and reports whether it is one.
// A load that comes and goes makes such plateaus by chance, now and then among
// others; a device at rest makes hardly any other ones. (A pulse far above the highest
// average that comes back as regularly is taken for one.)
func (c *changePoints) likeRest() bool {
	c.rested++
	return c.restless <= c.rested*restOdds
}
