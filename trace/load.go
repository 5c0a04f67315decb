package trace

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// LoadKind says what makes the next request of a phase due.
type LoadKind string

// The kinds of load. In an open loop requests are due whether or not the server
// keeps up; in a closed one, when an earlier one has ended.
const (
	ClosedLoop LoadKind = "closed" // Concurrency slots, each sending its next request when its last has ended
	OpenLoop   LoadKind = "open"   // arrivals at a rate
	TraceTimes LoadKind = "times"  // the trace's own times
	UserLoop   LoadKind = "users"  // users who send at a fixed gap, or when their last request has ended if that is later
)

// Arrival says how the gaps between the arrivals of an open loop are drawn.
type Arrival string

// The arrivals. Their mean gap is that of the rate.
const (
	Poisson  Arrival = "poisson"  // exponential gaps: nothing knows of anything
	Constant Arrival = "constant" // equal gaps
	Gamma    Arrival = "gamma"    // gamma gaps of Shape: burstier than Poisson below 1, steadier above
)

// Order says in which order the conversations of a trace are begun. A turn that
// belongs to none is one of its own.
type Order string

// The orders.
const (
	Sequential Order = "sequential" // as the trace has them
	Shuffle    Order = "shuffle"    // each once a lap, every lap in a new order
	Random     Order = "random"     // any at any time
)

// RampShape says how a ramp gets from one value to the next.
type RampShape string

// The shapes of a ramp.
const (
	Linear      RampShape = "linear"      // by equal differences
	Exponential RampShape = "exponential" // by equal factors
)

// RampPoint is the rate or the concurrency at an instant of a phase.
type RampPoint struct {
	At    time.Duration // since the start of the phase
	Value float64       // requests a second, or slots
}

// Load is what shapes the load of a phase, other than its concurrency and what
// ends it. The zero Load is a closed loop.
type Load struct {
	Rate      float64 // conversations that begin in a second, which without conversations is requests; more than 0 is an open loop
	Arrival   Arrival // of an open loop; "" is Poisson
	Shape     float64 // of gamma arrivals: 1/CV^2
	Normalize bool    // the arrivals are stretched so that the last is due at their number / rate, as vLLM's benchmark does

	FromTrace bool          // the trace's own times
	Speedup   float64       // by which they pass faster; 0 is 1
	From, To  time.Duration // of the trace's times only these, which begin at the start of the phase; To 0 is the end
	MaxGap    time.Duration // no longer time without an arrival, in the trace's time; 0 is none
	Strict    bool          // every turn at its own time, whether or not the turn before it has ended

	Users   int           // users
	TurnGap time.Duration // between two sends of a user

	Think   time.Duration // of a closed loop, between the end of an answer and the next request of the slot
	Stagger time.Duration // over which the slots of a closed loop begin, one after another

	Ramp      []RampPoint // of the rate or the concurrency, in order of At, the first at 0; after the last the phase's own value holds
	RampShape RampShape   // "" is linear

	Prefills    int           // requests at once that were sent and have no first token yet; 0 is any number
	CancelShare float64       // of the requests, that the client gives up
	CancelAfter time.Duration // after so long

	Order  Order // "" is sequential
	Repeat int   // how often each conversation is sent in a row; 0 is 1

	MaxErrorRate float64 // of the phase's ended requests may fail before the run is stopped; 0 is any
}

// isZero reports whether l is the zero Load.
func (l *Load) isZero() bool {
	rest := *l
	if len(rest.Ramp) == 0 {
		rest.Ramp = nil
	}
	return reflect.ValueOf(rest).IsZero()
}

// LoadKind returns what makes the phase's requests due. An idle phase has none.
func (ph *Phase) LoadKind() LoadKind {
	switch {
	case ph.Kind == Idle:
		return ""
	case ph.Rate > 0:
		return OpenLoop
	case ph.FromTrace:
		return TraceTimes
	case ph.Users > 0:
		return UserLoop
	}
	return ClosedLoop
}

// Slots returns how many requests the phase has in flight at most because of what
// makes them due: the slots of a closed loop, the users; 0 in an open loop.
func (ph *Phase) Slots() int {
	switch ph.LoadKind() {
	case ClosedLoop:
		return ph.Concurrency
	case UserLoop:
		return ph.Users
	}
	return 0
}

// validateLoad reports the first contradiction in what makes and shapes the load
// of a phase that is not idle.
func (ph *Phase) validateLoad() error {
	l := &ph.Load
	kind := ph.LoadKind()
	if n := count(l.Rate != 0, l.FromTrace, l.Users != 0); n > 1 {
		return errors.New("rate, times and users exclude each other")
	}
	for _, f := range []struct {
		name string
		set  bool
		of   []LoadKind
	}{
		{"arrival", l.Arrival != "", []LoadKind{OpenLoop}},
		{"shape", l.Shape != 0, []LoadKind{OpenLoop}},
		{"normalize", l.Normalize, []LoadKind{OpenLoop}},
		{"speedup", l.Speedup != 0, []LoadKind{TraceTimes}},
		{"from", l.From != 0, []LoadKind{TraceTimes}},
		{"to", l.To != 0, []LoadKind{TraceTimes}},
		{"max_gap", l.MaxGap != 0, []LoadKind{TraceTimes}},
		{"strict", l.Strict, []LoadKind{TraceTimes}},
		{"turn_gap", l.TurnGap != 0, []LoadKind{UserLoop}},
		{"think", l.Think != 0, []LoadKind{ClosedLoop}},
		{"stagger", l.Stagger != 0, []LoadKind{ClosedLoop}},
		{"ramp", len(l.Ramp) > 0, []LoadKind{ClosedLoop, OpenLoop}},
		{"concurrency", ph.Concurrency != 0, []LoadKind{ClosedLoop, OpenLoop, TraceTimes}},
		{"order", l.Order != "" && l.Order != Sequential, []LoadKind{ClosedLoop, OpenLoop, UserLoop}},
		{"repeat", l.Repeat != 0, []LoadKind{ClosedLoop, OpenLoop, UserLoop}},
		{"first_line", ph.FirstLine > 1, []LoadKind{ClosedLoop, OpenLoop, UserLoop}},
	} {
		if f.set && !slices.Contains(f.of, kind) {
			return fmt.Errorf("%s means nothing in %s", f.name, loadNames[kind])
		}
	}
	switch {
	case l.Rate < 0 || l.Shape < 0 || l.Speedup < 0 || l.From < 0 || l.To < 0 || l.MaxGap < 0 || l.Users < 0 ||
		l.TurnGap < 0 || l.Think < 0 || l.Stagger < 0 || l.Prefills < 0 || l.CancelAfter < 0 || l.Repeat < 0:
		return errors.New("a number of the load is negative")
	case kind == ClosedLoop && ph.Concurrency == 0:
		return errors.New("concurrency must be at least 1")
	case l.Rate > MaxRate:
		return fmt.Errorf("rate must be at most %g", float64(MaxRate))
	case !slices.Contains([]Arrival{"", Poisson, Constant, Gamma}, l.Arrival):
		return fmt.Errorf("unknown arrival %q (poisson, constant, gamma)", l.Arrival)
	case (l.Arrival == Gamma) != (l.Shape > 0):
		return errors.New("gamma arrivals and a shape need each other")
	case l.Normalize && (len(l.Ramp) > 0 || ph.Requests == 0 && ph.Duration > 0):
		return errors.New("normalize needs a number of requests and no ramp")
	case l.To != 0 && l.To <= l.From:
		return errors.New("to must be after from")
	case kind == UserLoop && l.TurnGap == 0:
		return errors.New("users need a turn_gap")
	case l.Stagger > 0 && len(l.Ramp) > 0:
		return errors.New("stagger and ramp exclude each other")
	case !(0 <= l.CancelShare && l.CancelShare <= 1) || (l.CancelShare > 0) != (l.CancelAfter > 0):
		return errors.New("cancel needs a share, from 0 to 1, and a time after which")
	case !slices.Contains([]Order{"", Sequential, Shuffle, Random}, l.Order):
		return fmt.Errorf("unknown order %q (sequential, shuffle, random)", l.Order)
	case !(0 <= l.MaxErrorRate && l.MaxErrorRate < 1):
		return errors.New("max_error_rate must be from 0 to less than 1")
	}
	return l.validateRamp()
}

// MaxRate bounds the rate of an open loop, in requests a second: more than one
// host can send.
const MaxRate = 1e6

func (l *Load) validateRamp() error {
	if !slices.Contains([]RampShape{"", Linear, Exponential}, l.RampShape) {
		return fmt.Errorf("unknown shape of a ramp %q (linear, exponential)", l.RampShape)
	}
	if len(l.Ramp) == 0 {
		if l.RampShape != "" {
			return errors.New("a shape of a ramp without a ramp")
		}
		return nil
	}
	if l.Ramp[0].At != 0 || len(l.Ramp) < 2 {
		return errors.New("a ramp begins at 0 and has an end")
	}
	for i, p := range l.Ramp {
		switch {
		case !(p.Value >= 0 && p.Value <= MaxRate):
			return fmt.Errorf("a ramp has a value from 0 to %g", float64(MaxRate))
		case l.RampShape == Exponential && p.Value == 0:
			return errors.New("an exponential ramp cannot begin or end at 0")
		case i > 0 && p.At <= l.Ramp[i-1].At:
			return errors.New("the points of a ramp must be in order of time")
		}
	}
	return nil
}

// loadNames are the kinds of load, for people.
var loadNames = map[LoadKind]string{
	ClosedLoop: "a closed loop", OpenLoop: "an open loop at a rate",
	TraceTimes: "a load by the trace's times", UserLoop: "a load of users",
}

func count(all ...bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}
