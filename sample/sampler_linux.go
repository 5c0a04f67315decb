package sample

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"wattrace/trace"
)

// hostHooks sleeps in clock_nanosleep on the goroutine's own thread: Go's
// timers may be late by the time that another goroutine holds the processor.
func hostHooks(clock *trace.SteadyClock) hooks {
	anchor := clock.Clock().Anchor.MonotonicNanos
	return hooks{
		now: clock.Now,
		wait: func(ctx context.Context, until trace.Time) {
			// In parts, so that ctx ends a long wait.
			const part = trace.Time(100 * time.Millisecond)
			for now := clock.Now(); now < until && ctx.Err() == nil; now = clock.Now() {
				deadline := unix.NsecToTimespec(anchor + int64(min(until, now+part)))
				unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &deadline, nil)
			}
		},
		thread: func() {
			// The thread dies with its goroutine, and the slack with it. The
			// kernel would else add up to 50 us to every sleep.
			runtime.LockOSThread()
			unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		},
		processCPU: func() time.Duration { return cpuClock(unix.CLOCK_PROCESS_CPUTIME_ID) },
		threadCPU:  func() time.Duration { return cpuClock(unix.CLOCK_THREAD_CPUTIME_ID) },
	}
}

func cpuClock(id int32) time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(id, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
