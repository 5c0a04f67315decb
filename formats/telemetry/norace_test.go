//go:build !race

package telemetry

const hostileStep = 1
