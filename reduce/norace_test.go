//go:build !race

package reduce

// underRace is set where the race detector runs.
const underRace = false
