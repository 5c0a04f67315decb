// Monitor shows power and energy while they are recorded: in a terminal, on a page, and
// to programs. It samples nothing itself: it starts record, or follows what record writes.
//
//	$ monitor
//
// On a terminal it is a table that is drawn over each second: of each device power, limit,
// energy, utilisation, temperature, clocks, memory, what holds the clocks down, and the
// power of the last two minutes. q leaves, m marks the instant that energies are counted
// from, j and k scroll. When it leaves, the last table stays. Elsewhere there is a line each
// --every (1s) and nothing that a terminal alone understands.
//
// The readings are those of a file that is being written (compressed ones too), of standard
// input, or of the record beside monitor's own file, else on PATH, which is started when
// no file is named and nothing is piped into it:
//
//	$ monitor power.arrows
//	$ record | tee -i power.arrows | monitor
//
// (tee -i, since Ctrl-C reaches tee too, and record has still to write its end.)
// A file is read from its start, so that energies are since the recording's first reading.
// One that is replaced is followed anew. With -o the record that is started keeps its
// recording. --interval, --source, --devices, --nvml-library and --record-flag are passed
// to it.
//
// # Figures
//
// The energy of a device is that of its counter, where it has one, else its power
// integrated by trapezoids, marked ~, without times of more than 5 s between two readings.
// When a counter is reset what it rose by before and after is added up; what went in between
// is left out, and the energy marked !. The total is of the GPUs, each once. For uncertainties,
// windows and phases there is reduce.
//
// What is not known is shown as - and is null in JSON, never 0. A device without a reading
// for 5 s beside the others, or whose driver does not answer, is lost; when there is none of
// any, that is said, and no old figure shown as if it were of now.
//
// --server counts the tokens of servers by their pages of metrics, as record's --source
// does. Tokens per joule are generated tokens since the mark, taken between two fetches at the
// time of the devices' reading, by the energy of all GPUs since then. SGLang and trtllm-serve
// count the tokens of a request when it has ended.
//
// # The page
//
// --listen HOST:PORT shows the same with a chart, and answers programs:
//
//	$ monitor --listen 127.0.0.1:8080
//
//	GET /              the page
//	GET /api/devices   what the devices are
//	GET /api/snapshot  all that is known now, wattrace.monitor/1
//	GET /api/series    power over time: ?from=&to= (seconds of Unix time, RFC 3339), &step=;
//	                   means of whole seconds, at most 2000 a device
//	GET /api/events    server-sent events: a snapshot each --every
//	POST /api/mark     energies count from now on; the body names the mark
//	GET /metrics       the latest readings, for Prometheus, as record --listen has them
//	POST /start, /sample, /stop, GET /status
//
// The last are a ground truth for scripts that compare another tool's energy with it, with
// the keys of aiperf's debug server for NVML: /start takes the counters as the base, /sample
// and /stop answer what has been used since. Each waits for the first reading after it came,
// about a second, and answers that reading with its time; null is unknown. 409 is a sample
// before the start, 503 that no GPU has a reading. gpus_missing are GPUs that the start had:
// then there are no totals.
//
// Only this host is answered unless an address of another is given, and then --token-file, or
// WATTRACE_MONITOR_TOKEN, has a token of 16 bytes or more, sent as Authorization: Bearer TOKEN,
// or in a browser once as /?token=TOKEN, which becomes a cookie. It goes over the wire as it
// is: beyond a trusted network put TLS in front, or use ssh -L. A request by another host's
// name is refused (DNS rebinding), and so is one from a page of another origin. At most 224
// clients have events, and one that does not take them is dropped; 256 connections may be
// open. One more is answered 503.
//
// # Rows
//
// --csv FILE appends a row of each device that has a new reading, each --every: the columns
// of convert --to csv (package wattrace/formats/telemetryrows), which reduce reads:
//
//	$ monitor --csv rows.csv
//
// A file that can't be written any more, as on a full disk, ends monitor, and the record that
// it started; its rows are whole.
//
// # Ends
//
// It ends with its recording; with --listen it stays until Ctrl-C. Ctrl-C, SIGTERM and
// SIGHUP are its normal end: the record that it started ends too, its file whole. What comes
// by a pipe is read to its end, which Ctrl-C has its writer come to; the second gives it up.
// A record that dies is said with its last lines, and a file that is cut with where.
//
// Memory is bounded: a chart's history (--history, 1h) takes 16 bytes a second and device,
// at most 64 MiB in all; devices beyond that have none, which is said.
//
// NO_COLOR in the environment leaves colours out.
//
// Flags:
//
//	--listen HOST:PORT     the page; :PORT is this host alone
//	--token-file FILE      a token that whoever asks must know (WATTRACE_MONITOR_TOKEN)
//	--server KIND:URL      count the tokens of vllm:URL, sglang:URL, trtllm:URL; repeatable
//	--scrape-interval TIME between two fetches of a server's page (1s)
//	--csv FILE             append the latest readings
//	--every TIME           between lines, rows and events (1s)
//	--history TIME         of power for charts (1h)
//	-o FILE, --force       keep the recording of the record that is started
//	--interval TIME        between two readings of it (50ms)
//	--source NAME, --devices LIST, --nvml-library PATH   as record takes them
//	--record-flag NAME[=VALUE]   any other flag of record
//	-q, --progress MODE    no table and no lines; plain: lines on a terminal, too; none
//
// Exit status: 0 ok; 1 failed: record died, or the recording is cut; 2 usage; 3 record
// says that its recording is incomplete; 130 interrupted twice.
package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/monitor"
)

func main() { cli.Exec(monitor.Main) }
