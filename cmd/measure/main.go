// Measure does a whole experiment with one command: it starts the server, waits until it
// is ready, records while it rests, warms it up, sends the load, records its rest again,
// stops what it started, reduces, and leaves one directory that says what was measured.
//
//	$ measure --trace trace.jsonl --phases plan.yaml -o run1 -- trtllm-serve MODEL --port 8000
//
// What follows -- is the server's command. It runs in a process group of its own, and what
// it prints goes to server.log. It is ready when its /health and then /v1/models answer
// (where it has no /health, when /v1/models does; --ready-url is another page); one that
// ends before is told at once, with the end of its log. Its URL is http://127.0.0.1 with
// the --port of the command, 8000 without one, or --url, or what it writes into
// --url-file. Without a command the server that is there is measured, and left alone:
//
//	$ measure --url http://server:8000 --trace trace.jsonl --concurrency 16 -o run2
//
// measure neither samples nor sends: that would disturb what is timed. It starts record,
// replay and reduce, those beside its own file, else on PATH.
//
// # The load
//
// The load is a plan file (--phases, wattrace.plan/1, as replay takes it), or --concurrency
// (1), --rate, --requests, --duration, --warmup, --grace. Phases without requests, idle_before
// and idle_after, of --idle (30s) each, are added where a plan does not begin and end at
// rest: with the model resident, so that reduce can tell what serving adds to it.
//
// Without --trace the load is synthetic: prompts of exactly --isl token ids and answers of
// --osl tokens, 1000 both, which the directory has as trace.jsonl. The same --seed gives
// the same bytes. No prompt is sent twice as far as that can be known beforehand, not by
// another run of a sweep nor in the warmup, so that no cache of prefixes knows it; a
// warning says where it was.
//
//	$ measure --url http://server:8000 --isl 1000 --osl 1000 --concurrency 16 --requests 160 -o run3
//
// In both modes answers of full length are asked for (ignore_eos, of a trace by --set; not
// of --target openai, which refuses it); --ignore-eos=false leaves it to the trace.
//
// # The directory
//
//	summary.json    what was measured, with what, how it ended; the metrics of record
//	                (package wattrace/formats/summary is its specification)
//	report.json     reduce's report
//	report.html     by plot, where that is beside measure; of a sweep sweep.html
//	requests.jsonl  the request log
//	power.arrows    the recording
//	plan.yaml       the phases
//	trace.jsonl     the synthetic load, with its side file
//	server.log      what the server printed
//	counter.before.arrows, counter.after.arrows   the energy check
//
// The energy check: a second record process reads the energy counters before the load and
// after it. The summary has what they rose by beside what the report says of the same
// interval, and the difference, which should be less than the counters' own steps.
//
// Before anything is started, and before there is a directory, record, replay and reduce
// check the flags that they will get (their --check): what they would refuse is refused
// then, with their words and their exit status. Where --nvml-library names a library and a
// server is to be started, which may be what serves it, record may find no GPUs yet.
//
// A directory that is not empty is refused. --force replaces what measure left there,
// and removes nothing else.
//
// # Sweeps
//
// Several --concurrency are a run each, in a directory of its own (c8), and --repeat does
// all of them several times in turns (c8-r1, c64-r1, c8-r2, ...), so that a drift does not
// pass for a difference. summary.json and table.txt beside them have all runs, and mean and
// standard deviation of the repeated ones.
//
//	$ measure --trace trace.jsonl --concurrency 1,4 --repeat 2 --cool-to 60s -o sweep -- vllm serve MODEL --port 8000
//
// With --phases the concurrency of every closed loop is replaced. --cool-to waits
// before each run but the first until no GPU is hotter (45C), or for a time (60s). The runs
// share a server, which is started again if it has ended; with --restart each has its own:
// a server that keeps prefixes knows those of a trace from the first run on. A run that
// fails does not end the sweep; two in a row without a server do. --resume does what is
// not finished, with the same trace, plan and flags or not at all; but for --repeat, which
// may be more than it was: the new repeats follow those that there are.
//
// # Without a server
//
// --workload measures a command that brings its own load, an offline benchmark. Its phases
// are the lines that it prints, by record's --mark; those of trtllm-bench are known, and
// without any the command is one phase, workload. All that it prints is in workload.log,
// its exit status in the summary; what it leaves running is ended. --idle records the GPUs at rest before
// it, without a model then.
//
//	$ measure --workload 'trtllm-bench --model M throughput --dataset dataset.jsonl' -o run4
//
// # Ends
//
// The first Ctrl-C (SIGTERM, SIGHUP) lets the requests in flight end; the second gives them
// up. Either way the files are closed and reduced, the summary says that it was
// interrupted, and the server is stopped: by SIGTERM, after --stop-grace (30s) by SIGKILL,
// with all that it started, also in sessions of its own. On Linux the kernel ends what runs
// when measure itself is killed; the summary says running then, and --resume does it again.
// A server that ends in the middle of the load ends it, and a recording that breaks off,
// too; what there is of both is reduced.
//
// Keys come from WATTRACE_API_KEY or --api-key-file. The summary has REDACTED in the place
// of what looks like a key or a password in commands and flags.
//
// Flags:
//
//	-o DIR                 where everything goes
//	--trace FILE|DIR, --timing FILE   what to send, and its side file
//	--isl N, --osl N       tokens of synthetic prompts and answers (1000)
//	--phases FILE          the load, a plan (YAML), instead of these:
//	--concurrency N[,N...] requests in flight (1); of several each is a run
//	--rate R               open loop: requests a second
//	--requests N           stop after so many; synthetic: 10 for each of --concurrency, else
//	                       the trace once. With --phases the number of synthetic prompts
//	--duration TIME, --warmup N, --grace TIME   as replay takes them; N requests of warmup
//	--idle TIME            rest before and after (30s)
//	--seed SEED            of what is drawn at random, and of synthetic prompts
//	--repeat N             do all N times, in turns
//	--cool-to 45C|60s      wait between runs; --cool-timeout TIME at most (10m)
//	--restart              a server for each run
//	--resume               do what is not finished, and more of --repeat
//	--url URL, --url-file FILE   where the server is (WATTRACE_URL)
//	--ready-url URL, --ready-timeout TIME, --ready-poll TIME   when it is ready (30m, 1s)
//	--stop-grace TIME      from SIGTERM to SIGKILL (30s)
//	--insecure, --ca-file FILE   certificates, as replay takes them
//	--model NAME           set in every body of a trace; of synthetic prompts the server's
//	                       own, if it is not given
//	--target SERVER        trtllm, vllm, sglang or openai (trtllm)
//	--ignore-eos           answers of full length (true)
//	--set KEY=JSON         set a key of every body
//	--timeout TIME         fail a request after so long (10m)
//	--api-key-file FILE    the API key; else WATTRACE_API_KEY
//	--workload COMMAND     measure a shell command; --mark REGEX=PHASE, its phases
//	--interval TIME        between two readings (50ms)
//	--margin TIME          recorded before and after all phases (2s)
//	--source NAME, --devices LIST, --nvml-library PATH   as record takes them
//	--as TOOL, --slo ttft=TIME, --idle-watts W, --topology FILE   as reduce takes them
//	--record-flag, --replay-flag, --reduce-flag NAME[=VALUE]   any other flag of theirs
//	--force                replace what measure left in DIR
//	-q, --progress MODE    no progress and no summary; auto, plain or none
//
// The table on standard output has the metrics of record of each phase, or run.
//
// Exit status: 0 ok; 1 failed; 2 usage; 3 finished but incomplete: requests failed, the
// report lacks something, or some runs of a sweep failed; 130 interrupted.
package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/measure"
)

func main() { cli.Exec(measure.Main) }
