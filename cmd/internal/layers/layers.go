// Package layers holds the rule of who may import whom, as a table that a test
// checks: imports point one way, cgo and heavy modules stay in their place.
package layers
