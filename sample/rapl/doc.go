// Package rapl reads the energy counters of a host's processors and memory:
// RAPL (running average power limit), as Linux shows it under
// /sys/class/powercap for Intel's processors and AMD's.
//
// A domain is a directory that holds its name, energy_uj, a counter in
// microjoules that wraps, and max_energy_range_uj, where it does. Domains by
// their names:
//
//	package-0         cpu_package   one per socket
//	package-0-die-1   cpu_package   one per die, where dies have counters of their own
//	dram              dram          the memory of its package
//	core              cpu_rail      the cores of its package; part of it
//	psys              platform      the platform; contains the packages, and is never added to them
//
// uncore is left out: it is the graphics of client processors, which no server
// has and no scope of package sample is. core is left out on AMD's processors,
// whose counter is one core's, not the package's. A package that stands in the
// tree twice, by the processor's registers (intel-rapl) and by memory-mapped
// ones (intel-rapl-mmio), is taken once, by its registers.
//
// # The counter
//
// energy_joules is the sum of what the counter moved by since the source was
// opened: from 0, and corrected for wraps. A counter that is lower than before
// has wrapped, once. Whether it wrapped more often cannot be seen, so that
// between two readings no more may pass than it takes at [maxWatts] to go half
// around, a minute for the usual range of 262 kJ. After a longer time there is a
// null with the status WRAPPED_MORE_THAN_ONCE, and the sum begins at 0 again,
// which a reader of the recording takes for the reset that it is.
//
// Counters are brought up to date about once a millisecond.
//
// Since Linux 5.10 (CVE-2020-8694: power betrays what is computed) only root may
// read energy_uj. A domain that cannot be read is a device whose readings fail
// with NO_PERMISSION; if none can be, Open fails.
package rapl

import "errors"

// maxWatts is more than any domain draws: a socket of today takes half a
// kilowatt, and a board with four of them this.
const maxWatts = 2000

// Options say where to look. The zero value is this host.
type Options struct {
	Root    string // powercap's directory; "" is /sys/class/powercap
	CPUInfo string // what tells AMD's processors from Intel's; "" is /proc/cpuinfo
}

// ErrNone is the cause in an error of Open if there is no domain.
var ErrNone = errors.New("this host shows no RAPL domains")
