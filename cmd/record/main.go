// Record samples the GPUs of this host into a telemetry recording: power,
// energy counter, limits, clocks, temperature, utilisation, memory.
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
// The recording is an Arrow IPC stream (schema wattrace.telemetry/1), on
// standard output or in -o FILE; in a FILE whose name ends in .zst it is
// compressed. It is written every second: a killed recorder loses no more than
// that, and what it left can be read, as incomplete.
//
// The energy counter, instant and average power and the power limit are read in
// one call per GPU and tick. What a GPU or its driver cannot say is a null, and
// the reason stands beside it. A tick that cannot be kept is counted, not made
// up for. The last line on standard error says how it went: rows, missed ticks,
// jitter (how late the scans began), time inside the driver's calls, and record's
// own CPU time.
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
//	--source NAME[:ARG]   what to record, several of them if it is repeated (nvml)
//	--nvml-library PATH   NVML, if it is not the driver's libnvidia-ml.so.1
//	--list                print the GPUs, and what reduce takes their power fields for, and exit
//	--characterise        measure what the power fields show, write it as reduce --sensors takes it
//	--load COMMAND        of --characterise: makes GPUs switch between two powers
//	--format FORMAT       of --characterise: yaml, or text for what else goes to standard error
//	-o FILE, --force      write to FILE; replace it if it exists
//	-q                    no progress, no last line
//
// The command runs in the terminal's process group. Ctrl-C reaches it as always;
// record goes on until it has ended. SIGTERM is passed on to it, once; at a second
// one record closes its file and leaves the command to itself. While the recording
// goes to standard output, the command's standard output goes to standard error. If
// the recording cannot be written (a full disk), record says so at once and the
// command goes on.
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
