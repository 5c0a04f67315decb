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
// Beside phases a plan may have a seed: of everything that is drawn at random.
//
// Keys of a phase:
//
//	name         unique; needed
//	kind         idle, warmup, measure or cooldown; measure when absent
//	requests     stop after so many
//	duration     stop sending after so long: 90s, 2m, 1h30m
//	first_line   turn of the trace to begin with, 1-based; 1 when absent.
//	             The turns follow in the order of the trace, and from its end
//	             on again from its start
//	order        sequential (when absent), shuffle (each conversation once a
//	             lap) or random
//	repeat       send each conversation so often in a row
//	grace        give up what is in flight so long after the last send; wait
//	             for all when absent
//	handover     true ends the phase where the next starts, without a drain:
//	             what is in flight stays its own and ends in the next one,
//	             which cannot be idle
//	prefills     at most so many requests at once that were sent and have no
//	             first token yet
//	cancel_share, cancel_after   give up this share of the requests so long
//	             after each was sent
//	max_error_rate   stop the run when a larger share of the phase's requests
//	             has failed, of 20 at least
//
// With neither requests nor duration a phase sends the trace once, from
// first_line to its end. An idle phase has a duration and nothing else.
//
// What makes requests due is one of four.
//
// A closed loop:
//
//	concurrency  slots, each sending its next request when its last has ended;
//	             a conversation keeps its slot to its end
//	think        time between an answer and the slot's next request; where the
//	             side file has a delay for the turn, that instead
//	stagger      time over which the slots begin, one after another
//
// An open loop. A conversation that has begun goes on by itself: each turn is due
// when the one before it has ended, after the delay that the side file has for it:
//
//	rate         conversations that begin in a second; where turns belong to
//	             none, requests
//	arrival      poisson (when absent), constant or gamma
//	shape        of gamma arrivals: 1 is poisson, less is burstier
//	normalize    true stretches the arrivals so that the last is due at their
//	             number / rate, as vLLM's benchmark does
//	concurrency  at most so many requests in flight; those that are due wait in
//	             line. It is no open loop then
//
// The trace's own times (at_seconds of the side file):
//
//	times        trace
//	speedup      by which they pass faster
//	from, to     only the conversations that begin in this part of the trace,
//	             in its time; its start is the phase's
//	max_gap      longer times without an arrival are cut to this, in the trace's
//	             time
//	strict       true sends every turn at its own time, whether or not the turn
//	             before it has ended
//	concurrency  as in an open loop
//
// Users:
//
//	users        so many, who begin one after another within a turn_gap
//	turn_gap     time from one request of a user to the next, or until the
//	             answer if that takes longer
//
// The rate of an open loop and the slots of a closed one can be reached by a ramp,
// in a straight line (linear) or by equal factors (exponential):
//
//	ramp         {from: 1, over: 30s, shape: linear}, or
//	             {points: [{at: 0s, value: 1}, {at: 10s, value: 50}, ...]}; after
//	             the last point the phase's own rate or concurrency holds. In a
//	             closed loop, whose slots go on to the end, replay takes no
//	             ramp that falls
//
// In the request log the plan is the same tree as JSON, with durations as
// strings, and a ramp by its points.
//
// History: 1 is the first.
package plan
