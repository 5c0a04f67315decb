// Record samples the GPUs of this host into a telemetry recording: power,
// energy counter, limits, and more slowly clocks and what holds them down,
// temperatures, utilisation, memory, bus traffic, errors.
//
//	$ record -o power.arrows -- replay -o requests.jsonl --url http://server:8000 trace.jsonl
//	$ reduce requests.jsonl power.arrows
//
// With a command after --, it records from 2 s before the command starts until
// 2 s after it has ended (--margin), so that the sensors, which are late and
// average over time, see the first and the last request whole. Without one it
// records until Ctrl-C or SIGTERM, or for a time:
//
//	$ record --for 30s | reduce
//	$ record --list
//
// GPUs that are not chosen are only asked who they are. For the very GPUs that a
// server of the same environment uses:
//
//	$ record --devices cuda -o power.arrows --for 30s
//
// The recording is an Arrow IPC stream (schema wattrace.telemetry/1), on
// standard output or in -o FILE; in a FILE whose name ends in .zst it is
// compressed, with a checksum every 10 s. It is written every second: a killed
// recorder loses no more than that, and what it left can be read, as incomplete.
// In the name of FILE, %h is the host's name and %% a percent sign. With
// --rotate each period has a file of its own, closed and whole, whose number
// stands before the extension; reduce takes them together.
//
// A disk that is full does not end a recording: up to 64 MiB wait in memory, and
// are written when there is space again. What does not fit there is lost; the
// recording says when that was and how many rows, and record exits with 3.
//
// GPUs whose calls are short are read one after the other; one whose calls turn long,
// or hang, by itself, so that it delays no other.
// At the end, and at SIGUSR1, every device is read in full, and so it is before a
// command starts.
//
// # Phases of other programs
//
// With --mark 'REGEX=PHASE' record reads what the command prints, and passes it
// on as it comes: a line that matches begins the phase, and ends the one before;
// with nothing after the = it only ends one. The regular expression is Go's
// (RE2). The command's end ends the last phase. A phase called idle, warmup or
// cooldown is one; any other is measured:
//
//	$ record -o p.arrows --mark 'Warmup done=measure' --mark 'Results=' -- sh -c 'echo Warmup done; sleep 2; echo Results'
//	$ reduce p.arrows
//
// The first rule that matches a line counts. Since a pipe takes the place of the
// terminal, PYTHONUNBUFFERED=1 is set for the command; another program that keeps
// its output back needs stdbuf(1) or the like, or its marks are late.
//
// --control PATH takes marks, and readings on demand, from elsewhere: lines on a
// Unix socket, each with an answer: "sample", "start PHASE", "end", "note TEXT",
// "status" (a JSON object).
//
//	$ echo start decode | nc -UN power.sock
//
// # As a service
//
// --ready FILE makes the file when the first readings are written, with record's
// process number in it, and removes it at the end. One that a killed record left is
// removed at the start; any other file of that name is refused. Under systemd with Type=notify
// record says when it is ready and when it stops, and feeds the watchdog as long as
// it writes: cmd/record/record.service is a unit.
//
// --source says what is recorded, NVML if it is not given; several may be recorded
// together (--source nvml --source rapl):
//
//	nvml              the GPUs of this host, by NVIDIA's driver
//	amd-smi           AMD's GPUs, once a second, by that program (amd-smi:PROGRAM)
//	rapl              processors and memory, by the counters under
//	                  /sys/class/powercap (rapl:DIRECTORY), which are root's to read
//	hwmon             power meters of Grace modules and of ACPI, by /sys/class/hwmon
//	                  (hwmon:DIRECTORY)
//	nvidia-smi:-      what nvidia-smi --query-gpu=timestamp,... --format=csv writes
//	dmon:-            what nvidia-smi dmon writes
//	dcgmi:-           what dcgmi dmon writes
//
// The last three read standard input, or a named pipe in the place of "-":
//
//	nvidia-smi --query-gpu=timestamp,index,uuid,name,driver_version,power.draw.instant,power.draw.average \
//	    --format=csv -lms 100 | record --source nvidia-smi:- -o power.arrows
//	nvidia-smi dmon -s puc | record --source dmon:- -o power.arrows
//	dcgmi dmon -e 155,156,157,203 -d 100 | record --source dcgmi:- -o power.arrows
//
// The recording ends with the pipe if there is nothing else to record. A line that
// cannot be read ends its source, and the recording is incomplete. Rows of
// nvidia-smi stand where their own timestamps put them, those of the others where
// they arrived. dmon and dcgmi know no names: the report's assumptions about a
// sensor, which go by the GPU's name, are better founded with the first.
//
// The energy counter, instant and average power and the power limit are read in
// one call per GPU and tick, of the GPU and, where NVML has them, of its memory
// and of the module that it is on, as devices of their own. What a GPU or its
// driver cannot say is a null, and the reason stands beside it: each time, but of
// slow metrics that it has never had once. Its application clocks, their defaults and
// the highest clocks that it can have are read when the recording begins; a range that
// nvidia-smi -lgc locks clocks to the driver's library does not tell. A GPU that falls off the bus is looked
// for once a second, and its readings go on when it is back. A critical error of
// the driver (XID) is a row of its GPU. record --list shows what each GPU can tell,
// and tells now. A tick that cannot be kept is counted, not made
// up for. The last line on standard error says how it went: rows, missed ticks,
// jitter (how late the scans began), time inside the driver's calls, and record's
// own CPU time.
//
// Sources other than the driver are named by --source, several of them by repeating
// it; what is not named is not recorded:
//
//	nvml           the GPUs of this host
//	dcgm:URL       a dcgm-exporter (URL as in node1:9400): the GPUs and Grace CPUs of its hosts
//	vllm:URL       what a vLLM server says of itself: requests running and waiting, share of
//	               the key-value cache, tokens; reduce compares them with the request log
//	sglang:URL     the same of an SGLang server (--enable-metrics)
//	trtllm:URL     the same of a trtllm-serve (return_perf_metrics), and its /energy_metrics;
//	               with #drain after the URL also from its list of iterations, which whoever
//	               reads it takes from all others
//
// Pages are fetched every --scrape-interval. An exporter shows what it read last, by
// default every 30 s (its --collect-interval), so that a page that repeats the one
// before is no reading; reduce warns if readings are too rare for a phase. A GPU that is
// recorded by nvml and by dcgm is counted once. A page that cannot be fetched is a row
// with the reason, and is said once; if none ever could, the recording is incomplete.
// A recording has room for 256 devices; what sources tell of more is left out, and said.
//
//	$ record --source dcgm:node1:9400 --source dcgm:node2:9400 --for 600s -o power.arrows
//	$ record --source nvml --source vllm:http://server:8000 -o served.arrows -- replay -o requests.jsonl --url http://server:8000 trace.jsonl
//
// With --listen, http://127.0.0.1:PORT/metrics has the latest readings for Prometheus:
// wattrace_power_watts{device=,host=,index=,scope=,source=} and so on for every metric,
// wattrace_last_reading_timestamp_seconds, wattrace_rows_total and
// wattrace_missed_ticks_total. It is as old as a second.
//
// What the power fields of a GPU show differs by model and driver: the mean of the last
// second, of 25 of every 100 ms, or something else. --list says what reduce takes them for,
// and whether anybody has measured it. --characterise measures it:
//
//	load='python3 testdata/square.py'
//	record --characterise --load "$load" -o sensors.yaml
//	reduce --sensors sensors.yaml requests.jsonl power.arrows
//
// It reads each GPU alone, to see how long that takes, then all of them at rest, then as fast
// as is sensible (--interval, 4.3ms) while the load runs, and then at 10 to 100 ms, in --for
// (1m) all together; where GPUs are not at rest or the load does not reach them, nothing
// else may run. The load is a shell command that switches the power of every GPU on and off, for
// 0.5 to 1.5 s each, of random length so that it does not keep step with a sensor. It is
// started after the rest, need not say when it switches (the energy counter tells), and is
// ended by record with all that it started. Without --load there are periods and latencies
// alone.
//
// On standard error it tells of each GPU, with uncertainties: how often each field and the
// energy counter are updated, also at rest; whether a field is an average or instant, over which time
// it looks and how late it is; the counter beside the integral of each field, by poll. What the
// readings do not tell is unknown, with the reason: --for longer is what mostly helps.
// The result is a table of sensors (wattrace.sensors/1), with a row for each field whose window is
// known well enough, of this architecture and this major version of the driver.
//
// Flags:
//
//	--interval TIME       between two readings of power and energy (50ms)
//	--slow-interval TIME  between two readings of the other metrics (1s)
//	--for TIME            record for so long
//	--margin TIME         before and after the command (2s)
//	--mark REGEX=PHASE    lines of the command's output that begin a phase
//	--rotate TIME         a new file each time this has passed
//	--control PATH        Unix socket for readings and marks on demand
//	--ready FILE          is there while the recording runs
//	--source NAME[:ARG]   what to record, several of them if it is repeated (nvml)
//	--devices LIST        the GPUs to record (all): indexes, UUIDs or their beginnings,
//	                      PCI addresses, or cuda: what CUDA_VISIBLE_DEVICES says
//	--scrape-interval TIME  between two fetches of a page (1s)
//	--listen HOST:PORT    show the latest readings to Prometheus; :PORT is this host alone
//	--nvml-library PATH   NVML, if it is not the driver's libnvidia-ml.so.1
//	--list                print the GPUs, what each can tell and tells now, what reduce
//	                      takes their power fields for, and exit
//	--check               open all that the flags name, record nothing, and end: a wrong flag,
//	                      device or path is told as a recording would tell it. Of a pipe
//	                      and of a page only the name is looked at
//	--characterise        measure what the power fields show, write it as reduce --sensors takes it
//	--load COMMAND        of --characterise: makes GPUs switch between two powers
//	--format FORMAT       of --characterise: yaml, or text for what else goes to standard error
//	-o FILE, --force      write to FILE; replace it if it exists
//	-q                    no progress, no last line
//
// The command runs in the terminal's process group. Ctrl-C reaches it as always;
// record goes on until it has ended, and so with the SIGHUP of a terminal that goes.
// SIGTERM is passed on to it, once; at a second one record closes its file and leaves
// the command to itself. While the recording
// goes to standard output, the command's standard output goes to standard error. If
// the recording cannot be written, record says so at once and the command goes on.
//
// Exit status: the command's (128+signal if one killed it, 126 or 127 if it could
// not be run), or 3 if it succeeded but the recording is incomplete: it could not be
// written, or a GPU could not be read all the time. Without a command: 0 after a
// signal or --for, 1 failed, 2 usage, 3 a GPU could not be read all the time, or too little is known for a table
// of sensors. 130 if a signal came before the command was started, or ended --characterise.
package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/record"
)

func main() { cli.Exec(record.Main) }
