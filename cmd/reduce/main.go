// Reduce computes, for every phase of a run, its power, energy, tokens per joule
// and joules per user, from the request log that replay wrote and the recording
// that record made:
//
//	$ reduce requests.jsonl power.arrows
//
// The operands are request logs (of replay or of aiperf), recordings and telemetry of other tools, in any order
// and number, compressed or not; "-" is standard input, and so is no operand. Standard input is read to its end before
// the named files are opened, so that this works as typed:
//
//	record -- replay -o requests.jsonl --url http://server:8000 trace.jsonl | reduce requests.jsonl -
//
// Without a request log the whole recording is one phase:
//
//	record --for 60s | reduce
//
// or, where the recorder was told of phases (record --mark, --control), those:
//
//	record --mark 'BEGIN=load' --mark 'DONE=' -- sh -c 'echo BEGIN; sleep 1; echo DONE' | reduce
//
// A phase named idle, warmup or cooldown is of that kind, any other is measured; a name
// that comes again is a phase of its own, "load (2)". The moment of a mark is known to
// the time that it took to see it: what the figures would be within that stands below
// them. Energy outside of the phases is named (outside_phases). Recordings of several
// hosts that mark the same phases have them once; those that contradict each other are an
// error. With a request log its phases count, and a line says where marks differ
// (marks_differ). Tokens are the log's alone.
//
// A phase is cut into slices by --every, whose energies add up to the phase's; a
// window of one's own, which may overlap the phases, is named by --window:
//
//	$ reduce --every 1s --window load=1795454856.25..1795454866 requests.jsonl power.arrows || true
//
// The logs of nvidia-smi --query-gpu=timestamp,index,uuid,name,driver_version,power.draw
// --format=csv -lms 20 are recordings, too:
//
//	$ reduce --timezone Europe/London smi.csv
//
// Their times are local ones without a zone: --timezone says which. What such a
// log does not say may be told: --device-name, --driver, --host, and --columns, its header
// where it has none (noheader). Several that have
// no UUIDs are of one host each, named by its file, unless --host says otherwise.
//
// Other telemetry that it takes, which convert --list lists, are the CSV of amd-smi, logs of
// nvidia-smi dmon -o DT, answers of Prometheus to range queries (several may follow each
// other: cat power.json energy.json | reduce -), and the CSV and JSON Lines of convert
// --to. Of srt-slurm's power package the directory is named: its windows are phases, as
// marks are, and its expected devices are the topology unless --topology says another.
// Parquet only convert reads: convert --to arrow makes a recording of it again.
//
// A request log may also be aiperf's profile_export.jsonl, of any version; what
// profile_export_aiperf.json beside it says of the load is used. A phase is from when its
// first request was sent to when its last ended. Tokens are aiperf's own. Its times are of a wall clock, and
// it does not name its host: it is joined to recordings as a file of another host is.
// aiperf's gpu_telemetry_export.jsonl is a recording. The directory that aiperf writes may
// be named instead of its files (reduce artifacts/DIR): they are found by what they
// hold. Of several runs each is named. A recording that is named beside it counts
// instead of aiperf's telemetry (reduce artifacts/DIR power.arrows).
//
// Other archives are operands, too. A directory of InferenceX has one result of its
// benchmark_serving, which says when it began and ended, gpu_metrics.csv, and what it
// published (agg_*.json, power_validation_*.json), which are found beside a result that is
// named, as well. The directory of a job of srt-slurm has power/ or logs/power/ and runs of
// aiperf or sa-bench. Two answers of trtllm-serve's /energy_metrics are those before and
// after the run of the only log:
//
//	reduce --as inferencex results/
//	reduce --as srt-slurm outputs/12345
//	reduce --as trtllm result.json energy-before.json energy-after.json
//	reduce --as guidellm benchmarks.json power.arrows
//
// Of a result that does not say when its requests were sent there is one phase, and neither
// parts of it (--window, --every) nor energies of single requests.
//
// Files of one boot are joined exactly, whatever happened to the wall clock; those
// of two hosts by their wall clocks as they were read nearest to the phases. How
// well those agree no file can tell: 10 ms is assumed, becomes a part of the
// uncertainty, and is warned of; --clock-offset FILE=TIME±TIME says better: TIME is
// added to all times of the file. Where a wall clock was set, or a host slept, while
// a file was written, a warning says when (clock_step).
//
// Files that one recorder wrote one after the other (record --rotate) are one recording:
//
//	record --rotate 20s --for 60s -o long.arrows
//	reduce long.*.arrows
//
// Of recordings of one device that overlap in time, and of several sources of it, one is
// chosen. What its recorder could not keep or read in time, and what the driver reported,
// is warned of (hole, missed_ticks, xid). Hosts say how well their wall clocks are kept:
// the uncertainty of joining two is at least the sum of their largest errors, and one
// that nothing keeps is named (unsynchronised).
//
// The request logs of the clients that shared a run out among them (its shards)
// are one run: a phase lasts from its earliest start to its latest end, or to where the
// first client begins the next. Operands may
// come in any order: the report has the same bytes.
//
// Of each phase the report has the parts that follow from its load: ramp, steady
// (at least 30 s in which neither load nor token rate, power or temperature drift;
// --steady mlenergy takes ML.ENERGY's rule) and drain. Net energy, without what
// the GPUs draw at rest, stands beside the gross one where the run has idle phases,
// or where --idle-watts or --idle-head says what rest is.
//
// Energy is split over the requests that were in flight (package comment of
// wattrace/reduce/attribute): the report has that of prefill and decode, with
// bounds, and --per-request writes every request's, which add up to the whole:
//
//	$ reduce --per-request energies.jsonl -o /dev/null requests.jsonl power.arrows
//
// Latencies are measured from when a request was sent, as other tools do, and from when
// it was due (names that end in scheduled). The latter come first where the load was an
// open loop: there they are what users would have seen. A ceiling on it makes requests
// wait, and is warned of (capped_open_loop), as is a client that sends late (client_late)
// or lacked processor time (client_saturated); how late it was, and what CPU time it took,
// stands beside the latencies. Good requests (--slo) are judged by the same clock: in an
// open loop from when they were due.
//
// What another tool would have published of the same run, by its formulas, windows
// and graces, is added by --as: its energy, latencies and rates under its own names.
// --explain says what makes the difference, in joules (aiperf, aiperf-g0 to -g3, guidellm, inferencex, mlenergy, sglang, srtslurm,
// trtllm, vllm, zeus):
//
//	$ reduce --as aiperf,inferencex --explain requests.jsonl power.arrows
//
// Of what aiperf itself left (artifacts/DIR) --as aiperf takes the generation that its tags
// and version tell, and more than the requests say: when phases began and ended
// (phase_manifest.json; else start_time and end_time, to the microsecond), the objectives
// of --goodput, and what it published, of the run and in phases/, which stands beside
// each figure. Those that differ by more than the order of a sum are told by the number
// of those that do not. What is published and not recomputed is listed, and what the
// figures need and is not exported is said.
//
// Three files of YAML say what no input does; their formats are in the package
// comments of wattrace/formats/topology, calibration and sensors:
//
//	reduce --topology topology.yaml --calibration calibration.yaml --sensors sensors.yaml requests.jsonl power.arrows
//
// Flags:
//
//	--every TIME         cut every phase into slices of this length
//	--window NAME=START..END   one more window, in RFC 3339 or Unix seconds
//	--format FORM        text for a terminal (default), markdown, csv (a row for
//	                     each figure), or json: wattrace.report/1, which has all
//	--expect-devices N   GPUs that should have been seen; missing ones are named
//	--energy-source S    counter or power: which method gives the energy; auto
//	                     (default) takes the counter where there is one
//	--idle-watts W       what all GPUs together draw at rest
//	--idle-head TIME     the recording's first TIME was at rest
//	--steady RULE        of the steady window: wattrace (default) or mlenergy
//	--per-request FILE   the energy of every request: wattrace.energies/1
//	--as TOOL,...        what other tools would have published
//	--explain            with --as: from our energy to theirs
//	--slo ttft=TIME      a good request keeps it; also itl=TIME, latency=TIME. From
//	                     when it was sent, in an open loop from when it was due:
//	                     ttft_sent, latency_sent, ttft_scheduled and
//	                     latency_scheduled say from when, whatever the load
//	--price N, --carbon GRAMS   of a kWh: cost and CO2e of a million tokens
//	--mig-board          a partitioned board's energy is the server's, so that
//	                     it may be said per token
//	--check              check the flags, and the files that they name, and end; the operands
//	                     are not opened, and need not be there yet
//	--truth FILE         compare with what simulated devices really drew
//	--topology FILE      which GPUs should be there, and what they do
//	--calibration FILE   gains and offsets of the sensors, by device or product
//	--sensors FILE       what the power fields show, before the built-in table
//	--clock-offset FILE=TIME[±TIME]   add a time to all times of a file
//	--timezone NAME      IANA name of the zone of local times, as in Europe/London
//	--device-name NAME, --driver VERSION, --host FILE=NAME   what a log of
//	                     nvidia-smi does not say
//	--keep-going         use what precedes the fault of a damaged recording, and
//	                     leave rows of CSV out that are wrong
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
