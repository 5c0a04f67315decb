// Package summary reads and writes what measure says of a run, or of a sweep of
// runs: summary.json, schema wattrace.summary/1. It is enough to know what was
// measured, with what, and how it ended; the figures are copies of the report's.
//
// It is one JSON object. Paths are relative to the file's directory, but for
// input_file and the path of a trace that was given, which are absolute. Instants
// are RFC 3339 with nine digits. What is not known is absent. Keys that are not
// known are skipped by readers, and a higher number behind the schema's slash is
// refused. summary.schema.json is its JSON Schema (make schema writes it). Keys:
//
//	schema, producer   wattrace.summary/1; program and version
//	kind               run; sweep, which has runs and points instead of phases
//	status             running (or killed: a file that still says so is of a measure
//	                   that never came to its end), complete, incomplete (it went
//	                   through, but requests failed or the report lacks something),
//	                   failed, interrupted (by a signal)
//	reason             why it is not complete
//	start, end         of the whole, with the server's start
//	host               that measure ran on
//	settings           the flags that decide what is measured, by name. measure
//	                   --resume goes on only with the same ones, but for more
//	                   repeats. Keys and passwords are replaced by REDACTED, here and in commands
//	input_file         the trace: the one that was given, or the synthetic one
//	trace              its path, SHA-256 as the request log has it, number of turns;
//	                   of a synthetic one what it was made from
//	plan               as the request log has it (wattrace.plan/1)
//	server             command (absent where the server was there already), URLs,
//	                   version as it says itself, log, seconds until it was
//	                   ready, and how it ended: stopped, killed (SIGTERM was not
//	                   enough), died, or left for the next run of a sweep
//	workload           the command of a run without a server
//	tools              the versions of the tools that took part
//	return_codes       of record, replay, reduce, plot, and of server or workload;
//	                   128 + signal for what a signal ended
//	devices            what was recorded, with the driver
//	clocks             the anchors of the request log and of the recording
//	artifacts          the other files of the directory, by what they are
//	phases             those of the report, with the metrics of record and those
//	                   that say how the load went, as the report has them
//	energy_check       what the energy counters say to another process, see below
//	warnings           codes of the report's warnings, and what measure saw itself
//	runs               of a sweep: each run in the order of its beginning, with the
//	                   metrics of its first phase of kind measure
//	points             of a sweep: for each concurrency mean, standard deviation
//	                   (of n-1) and number of the runs that are complete or
//	                   incomplete, of every metric that has a value
//
// # The energy check
//
// A second record process reads the energy counters for a moment before the load,
// and another one after it, each into a recording of its own. What the counters
// rose by is independent of the run's own recording, of the report's arithmetic and
// of its treatment of counters' updates. The report's figure is that of the same
// interval, from the last reading of the first to the last of the second; the
// report has it as the window "counter check". The counters move in steps and are
// late by up to one: resolution_joules is the sum of the largest steps that the two
// readings saw, absent where they saw none. A difference within it is agreement.
//
// History: 1 is the first.
package summary
