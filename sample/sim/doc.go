// Package sim holds simulated devices: a power model that follows the batch of
// an LLM server, sensors that behave as real ones do, and the exact energy
// that no real device can tell.
package sim
