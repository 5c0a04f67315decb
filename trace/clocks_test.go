package trace

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// host is a simulated host: what its clocks show after so much time.
type host struct {
	name, boot      string
	started         time.Duration // true time of the boot
	slept           time.Duration // before the file's anchor
	wallIsWrongBy   time.Duration
	noBoot, noMono  bool
	stepAt, step    time.Duration // true time at which the wall clock is set, and by what
	sleepAt, sleeps time.Duration // true time at which the host goes to sleep, and for how long
}

const epoch = 1780e15 // true time zero

// read returns all clocks at a true time; steady is the true time of the anchor.
func (h *host) read(t, anchor time.Duration) ClockSnapshot {
	s := ClockSnapshot{BootNanos: int64(t - h.started), UnixNanos: epoch + int64(t+h.wallIsWrongBy)}
	awake := func(t time.Duration) time.Duration {
		if t > h.sleepAt && h.sleeps > 0 {
			return t - h.sleeps
		}
		return t
	}
	s.MonotonicNanos = int64(awake(t) - h.started - h.slept)
	s.At = Time(awake(t) - awake(anchor))
	if h.step != 0 && t >= h.stepAt {
		s.UnixNanos += int64(h.step)
	}
	if h.noBoot {
		s.BootNanos = 0
	}
	if h.noMono {
		s.MonotonicNanos = 0
	}
	return s
}

// file returns the clocks of a file that was written from one true time to another.
func (h *host) file(from, to time.Duration) Clocks {
	c := Clocks{Clock: Clock{Host: h.name, BootID: h.boot, Anchor: h.read(from, from)}}
	for t := from; t < to; t += 10 * time.Second {
		c.Snapshots = append(c.Snapshots, h.read(t, from))
	}
	c.Snapshots = append(c.Snapshots, h.read(to, from))
	return c
}

const second = time.Second

func TestJoin(t *testing.T) {
	t.Parallel()
	a := host{name: "a", boot: "1", started: -100 * second}
	check := func(name string, c, d Clocks, want Joint) {
		t.Helper()
		if got := c.Join(d, 0, Time(20*second)); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	exact := Joint{Offset: 5 * second, Exact: true}
	check("one boot", a.file(0, 60*second), a.file(5*second, 50*second), exact)

	noBoot, noMono := a, a
	noBoot.noBoot, noMono.noMono = true, true
	check("only monotonic stamps", a.file(0, 60*second), noBoot.file(5*second, 50*second), exact)
	check("only boot stamps", noMono.file(0, 60*second), a.file(5*second, 50*second), exact)
	unrelated := noMono
	unrelated.boot = ""
	check("one host, unknown boot", a.file(0, 60*second), unrelated.file(5*second, 50*second), Joint{Offset: 5 * second, Spread: time.Millisecond})

	stepped := a
	stepped.stepAt, stepped.step = 3*second, time.Hour
	check("one boot, the wall clock set", stepped.file(0, 60*second), stepped.file(5*second, 50*second), exact)
	asleep := a
	asleep.sleepAt, asleep.sleeps = 2*second, second
	check("one boot, the host slept between the anchors", asleep.file(0, 60*second), asleep.file(5*second, 50*second), Joint{Offset: 4 * second, Exact: true})

	b := host{name: "b", boot: "2", started: -7777 * second, slept: second}
	check("two hosts", a.file(0, 60*second), b.file(5*second, 50*second), Joint{Offset: 5 * second, Spread: HostSpread})
	wrong := b
	wrong.wallIsWrongBy = 300 * time.Millisecond
	check("two hosts, one wrong", a.file(0, 60*second), wrong.file(5*second, 50*second), Joint{Offset: 5300 * time.Millisecond, Spread: HostSpread})
	reading := b.file(5*second, 50*second)
	for i := range reading.Snapshots {
		reading.Snapshots[i].Spread = 4 * time.Millisecond
	}
	// The anchor is as near as the snapshot at it, and comes first.
	if got := a.file(0, 60*second).Join(reading, Time(10*second), Time(30*second)); got.Spread != HostSpread+2*time.Millisecond {
		t.Errorf("slow readings: %+v", got)
	}
}

// The wall clock of one host is set by 2 s while both files are written. What
// counts is the reading that is near the span; a span across the step is uncertain
// by it.
func TestJoinBesideAStep(t *testing.T) {
	t.Parallel()
	a := host{name: "a", boot: "1", started: -100 * second}
	b := host{name: "b", boot: "2", stepAt: 95 * second, step: 2 * second}
	c, d := a.file(0, 200*second), b.file(0, 200*second)
	check := func(from, to int, offset, spread time.Duration) {
		t.Helper()
		got := c.Join(d, Time(from)*Time(second), Time(to)*Time(second))
		if got.Offset != offset || got.Spread != spread || got.Exact {
			t.Errorf("%d..%d s: got %+v, want %v ± %v", from, to, got, offset, spread)
		}
	}
	check(0, 80, 0, HostSpread)
	check(110, 190, 2*second, HostSpread)
	check(40, 100, 0, HostSpread+2*second)
	check(90, 120, 2*second, HostSpread+2*second)
	check(0, 90, 0, HostSpread)
	check(91, 99, 0, HostSpread+2*second) // no reading says on which side of the step it is
}

func TestSteps(t *testing.T) {
	t.Parallel()
	check := func(name string, h host, want ...Step) {
		t.Helper()
		if d := cmp.Diff(want, h.file(0, 60*second).Steps()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	h := host{name: "a", boot: "1", started: -100 * second}
	check("none", h)
	h.stepAt, h.step = 15*second, -time.Minute
	check("set back", h, Step{After: Time(10 * second), Before: Time(20 * second), Wall: -time.Minute})
	h.noBoot = true
	check("set back, no boot clock", h, Step{After: Time(10 * second), Before: Time(20 * second), Wall: -time.Minute})
	h = host{name: "a", boot: "1", started: -100 * second, sleepAt: 33 * second, sleeps: 4 * second}
	check("asleep", h, Step{After: Time(30 * second), Before: Time(36 * second), Suspended: 4 * second})
	h.stepAt, h.step = 35*second, 5*time.Millisecond
	check("both", h, Step{After: Time(30 * second), Before: Time(36 * second), Suspended: 4 * second, Wall: 5 * time.Millisecond})
	h = host{name: "a", boot: "1", stepAt: 15 * second, step: 900 * time.Microsecond}
	check("a slew of less than a millisecond", h)
}
