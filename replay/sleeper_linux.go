package replay

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"wattrace/trace"
)

// spin is how long before an instant a thread wakes and spins. A sleep of the
// kernel ends some 10 to 50 us late, more on a virtual machine.
const spin = 60 * time.Microsecond

// threadSleeper waits in clock_nanosleep(2) and spins over the rest.
type threadSleeper struct{ clock *trace.SteadyClock }

// NewSleeper returns the most exact Sleeper of this system, on the clock that
// stamps the run.
func NewSleeper(clock *trace.SteadyClock) Sleeper { return threadSleeper{clock} }

// Lock gives the goroutine a thread of its own, without the 50 us that the kernel
// may add to a sleep. The thread ends with its goroutine.
func (threadSleeper) Lock() {
	runtime.LockOSThread()
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
}

// Margin is what Go's timers may be late by under load.
func (threadSleeper) Margin() time.Duration { return 2 * time.Millisecond }

func (s threadSleeper) Wait(until trace.Time) {
	if left := until.Sub(s.clock.Now()) - spin; left > 0 {
		ts := unix.NsecToTimespec(int64(left))
		unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
	}
	for s.clock.Now() < until {
	}
}
