//go:build !race

package convert

const raceEnabled = false

const partial = 1
