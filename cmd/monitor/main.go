package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/monitor"
)

func main() { cli.Exec(monitor.Main) }
