package sample

import (
	"context"
	"time"

	"wattrace/trace"
)

// Source reads the sensors of some devices when it is asked to. Its devices
// are grouped into units, each read by one call: units are read at once, one
// unit never is. A GPU with the scopes that one call covers is a unit, and so
// are sensors that are not worth a call each.
type Source interface {
	// Info describes the source.
	Info() Info
	// Devices lists the devices, constant while the source is open.
	Devices() []Device
	// Units lists the devices of each unit by their places in Devices. Every
	// device is in one unit.
	Units() [][]int
	// Read reads the fast metrics of a unit's devices, and with slow the slow
	// ones too, into a row for each device of the unit, in order. What cannot
	// be read is noted by Row.Fail; nothing else can go wrong, so that one bad
	// device never ends a recording. The call counts as the reading's length,
	// unless Read sets a better one by Row.SetTook, as when only a part of it
	// read the sensors of the fast metrics.
	Read(unit int, slow bool, rows []Row)
	// Close lets go of the devices.
	Close() error
}

// Feed is a source that has readings when it has them: a pipe, a page that is
// fetched, an event.
type Feed interface {
	// Info describes the feed. What it only learns from its readings, as an
	// interval or a driver, may be missing.
	Info() Info
	// Run hands readings to the inbox until ctx is done, and then returns nil,
	// or until the feed is over: nil is its proper end, as that of a pipe.
	// What can be tried again is: a page that cannot be fetched is a status, a
	// line that cannot be read an error.
	Run(ctx context.Context, in *Inbox) error
	// Close lets go of what the feed reads. Run must have returned.
	Close() error
}

// Each returns units of one device each, for n devices.
func Each(n int) [][]int {
	units := make([][]int, n)
	for i := range units {
		units[i] = []int{i}
	}
	return units
}

// Together returns one unit of n devices, or none of no devices.
func Together(n int) [][]int {
	if n == 0 {
		return nil
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return [][]int{all}
}

// Every calls f on ticks of the interval, on the steady clock, until ctx is
// done: at once, and then at whole intervals after that. A tick that passes
// while f runs is left out. f is told when it was called.
func Every(ctx context.Context, now func() trace.Time, interval time.Duration, f func(at trace.Time)) {
	start := now()
	for due := start; ; {
		if wait := due.Sub(now()); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		}
		if ctx.Err() != nil {
			return
		}
		f(now())
		passed := now().Sub(start) / interval
		due = max(due.Add(interval), start.Add((passed+1)*interval))
	}
}
