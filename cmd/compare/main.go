// Compare says whether one configuration of a server is better than another, and by how
// much, from the reports that reduce made of their runs:
//
//	$ reduce --format json -q -o base-1.json requests.jsonl power.arrows
//	$ compare base-*.json -- new-*.json
//
// The operands are reports (wattrace.report/1), compressed or not, or directories that
// hold a report.json; "-" is standard input. -- parts the groups of repeats, of which the
// first is the base and each other is compared with it. Two reports need no --. Flags may
// stand anywhere.
//
// For each phase that is measured, and each metric, there are the medians, the change of
// the one against the other, an interval of it, and p, the probability that chance alone
// brings about a difference like this. ~ is where nothing can be said, and why.
//
// The unit is the run: one report. Four runs of each group are needed to tell any
// difference from chance at the usual level of 0.05; six find a change of 2 % in four of
// five cases where runs scatter by 1 %. With one run of each the interval is that of the
// measurement, which says nothing of how far runs scatter.
//
// Runs that took turns (base, new, base, new, ..., in any order within a turn) are paired
// by --paired: by when their first phases started. A drift of the machine is then in both
// alike. Six pairs are needed:
//
//	compare --paired base-*.json -- new-*.json
//
// What a sensor errs by, all runs on it err by: the gains cancel between runs on the same
// devices (by UUID); between devices of one model what differs from unit to unit stays, and
// between models nothing cancels. What stays is in the interval, and named.
//
// Runs must be alike in trace, overlays, phases, load, plan, number and model of devices,
// source, method and scope of the energy, power limit, application clocks (nvidia-smi -ac),
// driver, MIG and MPS, and the server's version; what differs is said, with both values, and
// refused, unless --ignore allows it. What a report does not say is named, too: the server's
// version is there only where it said one, and no program can read from a GPU whether
// nvidia-smi -lgc or -lmc has its clocks locked. What shows of a lock is how high the SM clock
// rose: the notes say it of each group, and whether they are apart by more than a step of the
// clocks, 15 MHz.
//
// Joules, and joules per user, are compared only between phases of the same duration or
// of the same number of requests (--ignore duration).
//
// --per-device adds the mean power and the energy of each device. Devices are found again by
// their identity, the UUID; where the runs have other devices by host and index, or by index
// alone, which a note says, and what differs from unit to unit is in the intervals. These
// rows are of the same runs as those of all devices: they show where a change is, and are
// no further evidence of it. Conditions are of all devices.
//
// In CI, conditions that must not come true:
//
//	compare --fail-if 'energy_per_output_token > +2%' --fail-if 'time_to_first_token.p99 > 2 s' base-*.json -- new-*.json
//
// A bound in percent is of the change, one with a sign and a unit of the difference
// ('> +0.5 J/token'), one without a sign of the new group's median ('> 9 J/token').
// PHASE: before a metric names the phase. A condition holds where the whole interval is
// beyond the bound, and does not where it is all on the other side; in between it is
// undecided. Of several each is decided by itself.
//
// A sweep is a group for each of its values, or one group that is parted by them:
//
//	compare --axis power_limit sweep-*.json
//
// The table then has tokens per second and GPU, tokens per joule and tokens per second
// that a user sees, and the Pareto fronts of the first against the others.
//
// Flags:
//
//	--fail-if CONDITION   exit status 1 if it holds
//	--phase PHASE         compare this one, or a window (profiling/steady); all is every
//	--metric METRIC,...   a metric, as in energy_per_request, time_to_first_token.p90 or
//	                      '*energy*'; all is every. The usual ones have those of record first
//	--ignore FACT,...     what may differ: trace, driver, ..., or all
//	--per-device          power and energy of each device, too
//	--paired              runs took turns
//	--alpha LEVEL         of each test; intervals are of confidence 1 - LEVEL
//	--axis AXIS           the groups are a sweep of power_limit or concurrency
//	--format FORM         text for a terminal (default), markdown, csv (a row for each
//	                      metric), or json: wattrace.comparison/1, which has all
//	-o FILE, --force      write to FILE; replace it if it exists
//
// Each p is of its row alone, so that of 20 rows one differs by chance: decide by a metric
// that was named before. The formulas and their sources are in the package comment of
// wattrace/reduce/compare; the JSON document is described in that of
// wattrace/formats/comparison.
//
// Exit status: 0 ok, and no condition holds; 1 failed, or a condition holds; 2 usage, or
// the reports are not alike; 3 a condition cannot be decided, or no metric could be compared
// at all; 130 interrupted.
package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/compare"
)

func main() { cli.Exec(compare.Main) }
