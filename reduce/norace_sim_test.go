//go:build !race

package reduce_test

// underRace is set where the race detector runs.
const underRace = false
