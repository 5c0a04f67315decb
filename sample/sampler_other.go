//go:build !linux

package sample

import (
	"context"

	"wattrace/trace"
)

// hostHooks waits with Go's timers.
func hostHooks(clock *trace.SteadyClock) hooks {
	return hooks{
		now:  clock.Now,
		wait: func(ctx context.Context) (func(trace.Time), func()) { return goTimer(ctx, clock) },
	}
}
