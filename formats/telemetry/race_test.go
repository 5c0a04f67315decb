//go:build race

package telemetry

// hostileStep thins out the tests that read a recording thousands of times.
const hostileStep = 11
