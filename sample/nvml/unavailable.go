//go:build !linux || !cgo

package nvml

import (
	"errors"

	"wattrace/sample"
)

// Source is never made in this build.
type Source struct{ sample.Source }

// Open fails: this build has no NVML.
func Open(Options) (*Source, error) {
	return nil, errors.New("this program was built without NVML, which needs Linux and cgo")
}
