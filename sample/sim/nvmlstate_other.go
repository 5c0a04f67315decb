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
func (*State) SetDelay(int, NVMLCall, time.Duration) {}

// Set does nothing.
func (*State) Set(int, NVMLValue, uint64) {}

// SetMPS does nothing.
func (*State) SetMPS(int, int) {}

// Event does nothing.
func (*State) Event(int, uint64) {}

// Reload does nothing.
func (*State) Reload(int) {}

// Close does nothing.
func (*State) Close() error { return nil }
