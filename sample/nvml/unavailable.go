//go:build !linux || !cgo

package nvml

import (
	"errors"

	"wattrace/sample"
	"wattrace/trace"
)

// Source is never made in this build.
type Source struct{ sample.Source }

// Events is never called in this build.
func (*Source) Events(*trace.SteadyClock) sample.Feed { return nil }

// Open fails: this build has no NVML.
func Open(Options) (*Source, error) {
	return nil, errors.New("this program was built without NVML, which needs Linux and cgo")
}
