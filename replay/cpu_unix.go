//go:build unix

package replay

import (
	"syscall"
	"time"

	"wattrace/trace"
)

// CPUTime returns the CPU time, user and system, that this process has used.
func CPUTime() trace.Opt[time.Duration] {
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) != nil {
		return trace.Opt[time.Duration]{}
	}
	return trace.Some(time.Duration(ru.Utime.Nano() + ru.Stime.Nano()))
}
