// Reduce computes, for every phase of a run, its power, energy, tokens per joule
// and joules per user, from the request log that replay wrote and the recording
// that record made:
//
//	$ reduce requests.jsonl power.arrows
//
// The operands are request logs and recordings, in any order and number; "-" is
// standard input, and so is no operand. Standard input is read to its end before
// the named files are opened, so that this works as typed:
//
//	record -- replay -o requests.jsonl --url http://server:8000 trace.jsonl | reduce requests.jsonl -
//
// Without a request log the whole recording is one phase:
//
//	record --for 60s | reduce
//
// A phase is cut into slices by --every, whose energies add up to the phase's; a
// window of one's own, which may overlap the phases, is named by --window:
//
//	$ reduce --every 1s --window load=1795454856.25..1795454866 requests.jsonl power.arrows || true
//
// Flags:
//
//	--every TIME         cut every phase into slices of this length
//	--window NAME=START..END   one more window, in RFC 3339 or Unix seconds
//	--format FORM        text for a terminal (default), markdown, csv (a row for
//	                     each figure), or json: wattrace.report/1, which has all
//	--expect-devices N   GPUs that should have been seen; missing ones are named
//	--truth FILE         compare with what simulated devices really drew
//	--keep-going         use what precedes the fault of a damaged recording
//	-o FILE, --force     write to FILE; replace it if it exists
//
// A figure that cannot be had is left out, and a warning says why; a phase that the
// telemetry does not cover has no energy, never an extrapolated one. Every figure
// has its method and its uncertainty: ± is 1.96 standard uncertainties. What each
// means is written in the package comment of wattrace/reduce; the JSON document in
// that of wattrace/formats/report.
//
// Exit status: 0 ok, 1 failed, 2 usage, 3 the report lacks something (failed
// requests, a phase or a device without telemetry, a file that was cut off), 130
// interrupted.
package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/reduce"
)

func main() { cli.Exec(reduce.Main) }
