//go:build race

package convert

import "flag"

const raceEnabled = true

// Properties and damage are those of one goroutine: without the race detector they are
// tried in full, and with it, ten times as slow, in part.
func init() { flag.Set("rapid.checks", "10") }

const partial = 10 // of so many cases one is tried
