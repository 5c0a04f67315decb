//go:build !linux

package replay

import "wattrace/trace"

// NewSleeper returns the most exact Sleeper of this system, on the clock that
// stamps the run.
func NewSleeper(clock *trace.SteadyClock) Sleeper { return timers{clock} }
