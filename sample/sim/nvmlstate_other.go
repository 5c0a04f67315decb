//go:build !linux

package sim

import (
	"errors"
	"time"

	"wattrace/sample"
)

// State publishes readings for the stub of libnvidia-ml, on Linux only.
type State struct{}

// CreateState fails: the stub is a Linux library.
func CreateState(string, []sample.Device) (*State, error) {
	return nil, errors.New("the NVML state file needs Linux")
}

// Publish does nothing.
func (*State) Publish(int, Reading) {}

// SetFault does nothing.
func (*State) SetFault(int, NVMLCall, int) {}

// SetDelay does nothing.
func (*State) SetDelay(int, time.Duration) {}

// Close does nothing.
func (*State) Close() error { return nil }
