package trace

import (
	"slices"
	"time"
)

// HostSpread is by how much the wall clocks of two hosts may differ, as a
// standard uncertainty, where nothing says how well they are kept. Hosts that
// NTP keeps over a network agree to a few tenths of a millisecond at best and
// some tens at worst (RFC 5905, section 1); a host whose clock nobody keeps may
// be wrong by minutes, which no file can tell.
const HostSpread = 10 * time.Millisecond

// Clocks is the clock of a file together with the readings of the host's clocks
// that the file holds.
type Clocks struct {
	Clock
	Snapshots []ClockSnapshot // in the order of At; the anchor need not be among them
}

// Joint moves the times of one file to the clock of another.
type Joint struct {
	Offset time.Duration // is added to a Time of the one
	Spread time.Duration // by which Offset may be wrong, either way: a standard uncertainty; 0 where Exact
	Exact  bool          // both files are of one boot
}

// Join returns what moves the times of d to c's clock. Files of one boot are
// joined exactly (see [Clock.Offset]). Others are joined by their wall clocks as
// they were read nearest to the middle of the span from..to of d, which is what
// the files are joined for. Spread adds up
//
//   - HostSpread, or a millisecond where both clocks are one host's;
//   - half of what each of the two readings took;
//   - by how much the wall clock of either file moved against its steady clock
//     within the span: drift, slews and steps.
func (c Clocks) Join(d Clocks, from, to Time) Joint {
	if offset, exact := c.Offset(d.Clock); exact || c.Same(d.Clock) {
		return Joint{Offset: offset, Exact: true}
	}
	middle := from + (to-from)/2
	s := d.nearest(middle)
	u := c.nearestWall(s.wall(middle))
	j := Joint{Offset: time.Duration(s.wall(0) - u.wall(0)), Spread: HostSpread}
	if c.Host != "" && c.Host == d.Host && (c.BootID == "" || d.BootID == "") {
		j.Spread = clockTolerance
	}
	j.Spread += s.Spread/2 + u.Spread/2
	j.Spread += d.wander(s, from, to) + c.wander(u, from.Add(j.Offset), to.Add(j.Offset))
	return j
}

// readings returns the anchor and the snapshots.
func (c *Clocks) readings() []ClockSnapshot {
	anchor := c.Anchor
	anchor.At = 0
	return append([]ClockSnapshot{anchor}, c.Snapshots...)
}

// wall returns what the wall clock showed at t, by a reading of it.
func (s ClockSnapshot) wall(t Time) int64 { return s.UnixNanos + int64(t-s.At) }

// nearest returns the reading nearest to t.
func (c *Clocks) nearest(t Time) ClockSnapshot {
	return slices.MinFunc(c.readings(), func(a, b ClockSnapshot) int {
		return cmpDuration(a.At.Sub(t).Abs(), b.At.Sub(t).Abs())
	})
}

// nearestWall returns the reading whose wall clock is nearest to an instant.
func (c *Clocks) nearestWall(unix int64) ClockSnapshot {
	return slices.MinFunc(c.readings(), func(a, b ClockSnapshot) int {
		return cmpDuration(time.Duration(a.UnixNanos-unix).Abs(), time.Duration(b.UnixNanos-unix).Abs())
	})
}

func cmpDuration(a, b time.Duration) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// wander returns by how much the wall clock of the readings that enclose a span
// differs at most from that of one of them.
func (c *Clocks) wander(s ClockSnapshot, from, to Time) (most time.Duration) {
	all := c.readings()
	for i, u := range all {
		before := i+1 < len(all) && all[i+1].At <= from // a later one encloses the span, too
		after := i > 0 && all[i-1].At >= to
		if !before && !after {
			most = max(most, time.Duration(u.wall(0)-s.wall(0)).Abs())
		}
	}
	return most
}

// Step is where the clocks of a host did not run together.
type Step struct {
	After, Before Time          // it was between these two readings
	Wall          time.Duration // by which the wall clock was set; 0 is not at all
	Suspended     time.Duration // for which the host slept; 0 is not at all
}

// Steps returns where the wall clock was set or the host slept, in the order of
// time, as far as the readings show it: less than a millisecond and the readings'
// own spreads does not count.
func (c Clocks) Steps() []Step {
	var steps []Step
	all := c.readings()
	for i, now := range all[1:] {
		then := all[i]
		if !now.Stepped(then) {
			continue
		}
		passed := int64(now.At - then.At)
		s := Step{After: then.At, Before: now.At}
		if then.BootNanos != 0 && now.BootNanos != 0 {
			s.Suspended = time.Duration(now.BootNanos - then.BootNanos - passed)
		}
		s.Wall = time.Duration(now.UnixNanos-then.UnixNanos-passed) - s.Suspended
		tolerance := clockTolerance + now.Spread + then.Spread
		if s.Suspended.Abs() <= tolerance {
			s.Suspended = 0
		}
		if s.Wall.Abs() <= tolerance {
			s.Wall = 0
		}
		if s.Wall != 0 || s.Suspended != 0 {
			steps = append(steps, s)
		}
	}
	return steps
}
