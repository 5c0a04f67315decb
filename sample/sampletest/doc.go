// Package sampletest builds the stub of libnvidia-ml for tests, so that the
// code that reads real devices can be run without one. The stub serves what a
// sim.State publishes.
package sampletest
