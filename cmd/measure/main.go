// Measure.
package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/measure"
)

func main() { cli.Exec(measure.Main) }
