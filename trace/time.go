package trace

import (
	"strconv"
	"time"
)

// Time is an instant in nanoseconds on the steady clock of one file: the time
// since that file's anchor. It never steps, and it says nothing about another
// file until the two are joined by their [Clock].
type Time int64

// Sub returns the duration t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Add returns t+d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Seconds returns t in seconds since the anchor.
func (t Time) Seconds() float64 { return float64(t) / 1e9 }

// Opt is a value that may be unknown. The zero Opt is unknown, so that nothing
// that was never set can pass for a measured zero.
type Opt[T any] struct {
	V  T    // the value; meaningless unless OK
	OK bool // whether the value is known
}

// Some returns a known value.
func Some[T any](v T) Opt[T] { return Opt[T]{V: v, OK: true} }

// Get returns the value and whether it is known.
func (o Opt[T]) Get() (T, bool) { return o.V, o.OK }

// Pointer returns the address of a copy of the value, nil where it is unknown: what JSON leaves out.
func (o Opt[T]) Pointer() *T {
	if !o.OK {
		return nil
	}
	return &o.V
}

// Or returns the value, or fallback where it is unknown.
func (o Opt[T]) Or(fallback T) T {
	if o.OK {
		return o.V
	}
	return fallback
}

// ClockSnapshot is one reading of all clocks of a host, taken together. The
// reading is good to Spread: the steady clock was read before and after.
type ClockSnapshot struct {
	At             Time          // steady clock, since the file's anchor
	BootNanos      int64         // CLOCK_BOOTTIME: since boot, suspends counted; 0 where the system has none
	MonotonicNanos int64         // CLOCK_MONOTONIC: since boot, suspends not counted; 0 where the system has none
	UnixNanos      int64         // wall clock, since 1970-01-01 UTC; may step
	Spread         time.Duration // time that the reading took
}

// clockTolerance is how far clocks may drift from each other between two
// snapshots without it being called a step.
const clockTolerance = time.Millisecond

// Stepped reports whether, since an earlier snapshot, the wall clock was set or
// the host was suspended: the clocks no longer differ by what they did, to within
// a millisecond and the readings' spreads.
func (s ClockSnapshot) Stepped(since ClockSnapshot) bool {
	tolerance := clockTolerance + s.Spread + since.Spread
	off := func(now, then int64) bool {
		return time.Duration((now-int64(s.At))-(then-int64(since.At))).Abs() > tolerance
	}
	booted := s.BootNanos != 0 && since.BootNanos != 0
	return off(s.UnixNanos, since.UnixNanos) || booted && off(s.BootNanos, since.BootNanos)
}

// Clock says which clock a file was stamped with: the host and boot that it
// ran on, and the snapshot taken at the anchor (whose At is zero).
type Clock struct {
	Host   string // host name
	BootID string // kernel's id of this boot; "" where unknown
	Anchor ClockSnapshot
}

// Wall returns the instant t as the wall clock of c would have shown it had it
// run steadily since the anchor.
func (c Clock) Wall(t Time) time.Time {
	return time.Unix(0, c.Anchor.UnixNanos+int64(t)).UTC()
}

// SameBoot reports whether c and d were stamped during one boot of one host,
// so that [Clock.Offset] is exact.
func (c Clock) SameBoot(d Clock) bool {
	_, exact := c.Offset(d)
	return exact
}

// Offset returns what must be added to a Time of d to get the Time of c at the
// same instant, and whether it is exact. Clocks of one boot are joined by a
// clock of the host that no step of the wall clock can disturb: the monotonic
// one, which a Time follows even where the host sleeps between the two anchors,
// or the boot clock where one of the files has no other. Others are joined by
// their wall clocks, with whatever error those had.
func (c Clock) Offset(d Clock) (offset time.Duration, exact bool) {
	a, b := c.Anchor, d.Anchor
	if c.BootID != "" && c.BootID == d.BootID {
		if a.MonotonicNanos != 0 && b.MonotonicNanos != 0 {
			return time.Duration(b.MonotonicNanos - a.MonotonicNanos), true
		}
		if a.BootNanos != 0 && b.BootNanos != 0 {
			return time.Duration(b.BootNanos - a.BootNanos), true
		}
	}
	return time.Duration(b.UnixNanos - a.UnixNanos), false
}

// Pos is a position in a text file, as error messages show it.
type Pos struct {
	File string // "-" is standard input
	Line int    // 1-based; 0 means the whole file
	Col  int    // 1-based, in bytes; 0 means the whole line
}

// String formats p as file:line:col, without the parts that are zero.
func (p Pos) String() string {
	s := p.File
	if p.Line > 0 {
		s += ":" + strconv.Itoa(p.Line)
		if p.Col > 0 {
			s += ":" + strconv.Itoa(p.Col)
		}
	}
	return s
}

// SyntaxError is a fault of a text input at a position. Its message names the
// fault and never quotes a payload, since prompts are private.
type SyntaxError struct {
	Pos Pos
	Err error
}

// Error formats the error as file:line:col: message.
func (e *SyntaxError) Error() string { return e.Pos.String() + ": " + e.Err.Error() }

// Unwrap returns the cause without its position.
func (e *SyntaxError) Unwrap() error { return e.Err }

// Same reports whether c and d are one clock: the same anchor of the same host.
func (c Clock) Same(d Clock) bool { return c == d }
