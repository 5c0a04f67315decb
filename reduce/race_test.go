//go:build race

package reduce

// underRace is set where the race detector runs: package reduce starts no goroutine, and
// its simulations would take ten times as long for nothing.
const underRace = true
