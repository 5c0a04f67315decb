package trace

import (
	"testing"
	"time"
)

func TestOffsetOfOneBootIgnoresTheWallClock(t *testing.T) {
	a := Clock{Host: "n", BootID: "x", Anchor: ClockSnapshot{BootNanos: 1e12, UnixNanos: 1700e15}}
	b := Clock{Host: "n", BootID: "x", Anchor: ClockSnapshot{BootNanos: 1e12 + 5e9, UnixNanos: 1700e15 + 65e9}} // the wall clock was set by a minute
	offset, exact := a.Offset(b)
	if offset != 5*time.Second || !exact {
		t.Errorf("%v, exact %v", offset, exact)
	}
	b.BootID = "y"
	if offset, exact := a.Offset(b); offset != 65*time.Second || exact {
		t.Errorf("other boot: %v, exact %v", offset, exact)
	}
	b.BootID, a.BootID = "", ""
	if _, exact := a.Offset(b); exact {
		t.Error("unknown boots count as one")
	}
}

func TestStepped(t *testing.T) {
	then := ClockSnapshot{At: 0, BootNanos: 1e12, UnixNanos: 1700e15}
	check := func(boot, unix time.Duration, want bool) {
		t.Helper()
		now := ClockSnapshot{At: Time(10 * time.Second), BootNanos: 1e12 + 10e9 + int64(boot), UnixNanos: 1700e15 + 10e9 + int64(unix)}
		if got := now.Stepped(then); got != want {
			t.Errorf("boot %v, wall %v: stepped %v", boot, unix, got)
		}
	}
	check(0, 0, false)
	check(0, 900*time.Microsecond, false)
	check(0, 2*time.Millisecond, true)
	check(0, -time.Hour, true)
	check(3*time.Second, 3*time.Second, true) // a suspend: the steady clock stood still
}

func TestSteadyClock(t *testing.T) {
	c := NewSteadyClock()
	s := c.Snapshot()
	if s.At < 0 || s.Stepped(c.Clock().Anchor) {
		t.Errorf("%+v since %+v", s, c.Clock().Anchor)
	}
	if at := c.At(c.Deadline(12345)); at != 12345 {
		t.Errorf("a deadline of 12345 ns is at %d ns", at)
	}
}

func TestOptPointer(t *testing.T) {
	if p := Some(2.5).Pointer(); p == nil || *p != 2.5 {
		t.Error(p)
	}
	if p := (Opt[float64]{}).Pointer(); p != nil {
		t.Error(*p)
	}
}
