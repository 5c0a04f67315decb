package selftest

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// lockNap prepares the calling goroutine for nap.
func lockNap() {
	runtime.LockOSThread()
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
}

// nap sleeps, some tens of microseconds too long. Go's own sleep rounds up to a
// millisecond, and would send events in bursts.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	unix.Nanosleep(&ts, nil)
}
