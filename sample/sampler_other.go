//go:build !linux

package sample

import (
	"context"
	"time"

	"wattrace/trace"
)

// hostHooks waits with Go's timers.
func hostHooks(clock *trace.SteadyClock) hooks {
	return hooks{now: clock.Now, wait: func(ctx context.Context, until trace.Time) {
		timer := time.NewTimer(time.Until(clock.Deadline(until)))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}}
}
