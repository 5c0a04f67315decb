// Package plan reads and writes the plan of a run, schema wattrace.plan/1: its
// phases and the load of each, as trace.Plan.
//
// A plan file is YAML (JSON is YAML too). It is read strictly: a key that is
// not known, given twice, or of the wrong type is an error with its line.
// testdata/example.yaml:
//
//	schema: wattrace.plan/1
//	phases:
//	  - name: idle
//	    kind: idle
//	    duration: 10s
//	  - name: warmup
//	    kind: warmup
//	    concurrency: 16
//	    requests: 64
//	  - name: profiling
//	    kind: measure
//	    concurrency: 64
//	    duration: 2m
//	    grace: 30s
//
// Keys of a phase:
//
//	name         unique; needed
//	kind         idle, warmup, measure or cooldown; measure when absent
//	concurrency  requests in flight at once: a closed loop of so many slots,
//	             each sending its next request when its last has ended; needed
//	             but for idle
//	requests     stop after so many
//	duration     stop sending after so long: 90s, 2m, 1h30m
//	first_line   turn of the trace to begin with, 1-based; 1 when absent.
//	             The turns follow in the order of the trace, and from its end
//	             on again from its start
//	grace        give up what is in flight so long after the last send; wait
//	             for all when absent
//	handover     true ends the phase where the next starts, without a drain:
//	             what is in flight stays its own and ends in the next one,
//	             which cannot be idle
//
// With neither requests nor duration a phase sends the trace once, from
// first_line to its end. An idle phase has a duration and nothing else.
//
// In the request log the plan is the same tree as JSON, with durations as
// strings.
//
// History: 1 is the first.
package plan
