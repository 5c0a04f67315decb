package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/compare"
)

func main() { cli.Exec(compare.Main) }
