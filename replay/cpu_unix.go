//go:build unix

package replay

import (
	"syscall"
	"time"

	"wattrace/trace"
)

// cpuTime returns the CPU time, user and system, that this process has used.
func cpuTime() trace.Opt[time.Duration] {
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) != nil {
		return trace.Opt[time.Duration]{}
	}
	return trace.Some(time.Duration(ru.Utime.Nano() + ru.Stime.Nano()))
}
