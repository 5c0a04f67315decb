//go:build !unix

package replay

import (
	"time"

	"wattrace/trace"
)

// cpuTime is not known here.
func cpuTime() trace.Opt[time.Duration] { return trace.Opt[time.Duration]{} }
