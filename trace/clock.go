package trace

import (
	"os"
	"time"
)

// A SteadyClock stamps one file. Every stamp is the time since one reading of
// Go's monotonic clock, so stamps never step; snapshots tie them to the clocks
// of the host. It is safe for concurrent use.
type SteadyClock struct {
	base  time.Time
	clock Clock
}

// NewSteadyClock starts a clock: its anchor is now.
func NewSteadyClock() *SteadyClock {
	c := &SteadyClock{base: time.Now()}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	c.clock = Clock{Host: host, BootID: bootID()}
	// The anchor is at Time zero by definition: the readings are moved back by
	// what passed since the base was taken.
	s := c.Snapshot()
	s.BootNanos, s.MonotonicNanos, s.UnixNanos = back(s.BootNanos, s.At), back(s.MonotonicNanos, s.At), s.UnixNanos-int64(s.At)
	s.At = 0
	c.clock.Anchor = s
	return c
}

// back moves a clock reading earlier; an absent clock stays absent.
func back(nanos int64, by Time) int64 {
	if nanos == 0 {
		return 0
	}
	return nanos - int64(by)
}

// Clock returns the host, the boot and the anchor.
func (c *SteadyClock) Clock() Clock { return c.clock }

// Now returns the time since the anchor.
func (c *SteadyClock) Now() Time { return Time(time.Since(c.base)) }

// At converts a time.Time that holds a monotonic reading, as time.Now gives.
func (c *SteadyClock) At(t time.Time) Time { return Time(t.Sub(c.base)) }

// Deadline returns the time.Time of t, for timers.
func (c *SteadyClock) Deadline(t Time) time.Time { return c.base.Add(time.Duration(t)) }

// Snapshot reads all clocks. It tries a few times and keeps the reading that
// took least, so that a preempted one does not spoil a join.
func (c *SteadyClock) Snapshot() ClockSnapshot {
	var best ClockSnapshot
	for try := range 5 {
		before := c.Now()
		boot, monotonic := systemClocks()
		wall := time.Now().UnixNano()
		after := c.Now()
		s := ClockSnapshot{
			At: before + (after-before)/2, BootNanos: boot, MonotonicNanos: monotonic,
			UnixNanos: wall, Spread: after.Sub(before),
		}
		if try == 0 || s.Spread < best.Spread {
			best = s
		}
	}
	return best
}
