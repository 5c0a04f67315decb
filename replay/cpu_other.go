//go:build !unix

package replay

import (
	"time"

	"wattrace/trace"
)

// CPUTime is not known here.
func CPUTime() trace.Opt[time.Duration] { return trace.Opt[time.Duration]{} }
