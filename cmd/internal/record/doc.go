// Package record is the tool record: it samples GPUs into a telemetry
// recording, for a time, until a signal, or while a command runs.
package record
