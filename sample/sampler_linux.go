package sample

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"wattrace/trace"
)

// hostHooks waits for a timer of the kernel's (timerfd_create(2)) by Go's poller:
// it is exact, where Go's own timers may be late by a millisecond, and spares the
// runtime's monitor from looking every 20 us for the processor of a thread that sleeps
// in a system call, which was a quarter of the recorder's CPU time.
func hostHooks(clock *trace.SteadyClock) hooks {
	return hooks{
		now:        clock.Now,
		wait:       func(ctx context.Context) (func(trace.Time), func()) { return newTimer(ctx, clock) },
		processCPU: func() time.Duration { return cpuClock(unix.CLOCK_PROCESS_CPUTIME_ID) },
		threadCPU:  func() time.Duration { return cpuClock(unix.CLOCK_THREAD_CPUTIME_ID) },
	}
}

// newTimer returns a function that waits until an instant or the end of ctx, for
// one goroutine, and one that lets go of its timer.
func newTimer(ctx context.Context, clock *trace.SteadyClock) (wait func(trace.Time), done func()) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil { // an emulated kernel
		return goTimer(ctx, clock)
	}
	f := os.NewFile(uintptr(fd), "timer")
	stop := context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })
	anchor := clock.Clock().Anchor.MonotonicNanos
	var expirations [8]byte
	return func(until trace.Time) {
			at := unix.ItimerSpec{Value: unix.NsecToTimespec(anchor + int64(until))}
			if clock.Now() < until && unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME, &at, nil) == nil {
				f.Read(expirations[:]) // fails at the end of ctx
			}
		}, func() {
			stop()
			f.Close()
		}
}

func cpuClock(id int32) time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(id, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
