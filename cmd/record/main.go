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
// compressed. It is written every second: a killed recorder loses no more than
// that, and what it left can be read, as incomplete.
//
// The energy counter, instant and average power and the power limit are read in
// one call per GPU and tick, of the GPU and, where NVML has them, of its memory
// and of the module that it is on, as devices of their own. What a GPU or its
// driver cannot say is a null, and the reason stands beside it: each time, but of
// slow metrics that it has never had once. A GPU that falls off the bus is looked
// for once a second, and its readings go on when it is back. A critical error of
// the driver (XID) is a row of its GPU. record --list shows what each GPU can tell,
// and tells now. A tick that cannot be kept is counted, not made
// up for. The last line on standard error says how it went: rows, missed ticks,
// jitter (how late the scans began), time inside the driver's calls, and record's
// own CPU time.
//
// Flags:
//
//	--interval TIME       between two readings of power and energy (50ms)
//	--slow-interval TIME  between two readings of the other metrics (1s)
//	--for TIME            record for so long
//	--margin TIME         before and after the command (2s)
//	--source NAME[:ARG]   what to record, several of them if it is repeated (nvml)
//	--devices LIST        the GPUs to record (all): indexes, UUIDs or their beginnings,
//	                      PCI addresses, or cuda: what CUDA_VISIBLE_DEVICES says
//	--nvml-library PATH   NVML, if it is not the driver's libnvidia-ml.so.1
//	--list                print the GPUs, what each can tell and tells now, and exit
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
// signal or --for, 1 failed, 2 usage, 3 a GPU could not be read all the time. 130 if
// a signal came before the command was started.
package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/record"
)

func main() { cli.Exec(record.Main) }
