//go:build !linux

package record

import "wattrace/formats/telemetry"

// timeSync knows nothing of the wall clock here.
func timeSync() telemetry.TimeSync { return telemetry.TimeSync{} }
