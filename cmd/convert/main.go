// Convert turns traces of other tools into raw_payload traces, which replay
// sends: JSON Lines, each line one complete request body. With --to it seals
// recordings of record, and the telemetry of other tools, for other programs.
//
//	$ convert --model llama-8b -o trace.jsonl dataset.jsonl
//	$ convert --to parquet -o power.parquet power.arrows
//
// # Traces
//
// It reads a file or "-", standard input, which no operand means too; gzip and zstd
// are taken off. What the input is is found out from its content; convert --list
// prints the formats, what becomes of each and what is lost, which is also said at
// the end of a conversion. So a dataset goes straight into replay:
//
//	convert --model llama-8b dataset.jsonl.gz | replay --url http://server:8000 -
//
// Rows with token ids become bodies for /v1/completions whose prompt is exactly
// those ids. Rows with a text become chat bodies; the server puts its chat
// template around the text, so that the prompt gets some tokens longer. Both ask
// for exactly as many tokens as the input says where the server can be asked for
// it, and for a stream with the usage at its end. Whole bodies stay as they are.
//
// Where the input has only lengths, the prompts are token ids, exactly so many, that
// are the same on every machine. What has the same hash in a Mooncake trace has the
// same ids, so that a prefix cache meets what it met in the original.
//
// What a body must not hold (line, time, conversation, expected input and output
// tokens, the input's own id) goes into a side file, FILE.timing beside -o FILE. To
// standard output it is written only with --timing FILE. replay --trace-times sends at
// these times:
//
//	convert --model llama-8b -o trace.jsonl mooncake.jsonl
//	replay --trace-times --url http://server:8000 -o requests.jsonl trace.jsonl
//
// # Recordings
//
// --to FORMAT takes one recording: a file, or the files of record --rotate in any
// order, or standard input. A recording is several Arrow streams wherever a device came
// later or a clock was set, of which other readers see the first; sealed it is one
// file of one schema:
//
//	parquet  zstd, row groups of 1,048,576 rows; what the recording says of itself is
//	         the key-value metadata
//	arrow    Arrow file (Feather V2), batches of 65,536 rows; reduce reads it, with the
//	         same report. --compress makes its buffers zstd
//	csv      the rows alone, a column for each metric, null is empty
//	jsonl    the rows alone, an object each, without what is null
//	aiperf   aiperf's gpu_telemetry_export.jsonl (since 0.9): the GPUs alone, each by one source
//
// The input may also be one of these files again, or the telemetry of another tool, of which
// convert --list has the table: logs of nvidia-smi and amd-smi, answers of Prometheus, the
// directory of srt-slurm's power package. What such a log does not say may be told: --timezone of
// its local times, --host, and --columns, its header where it has none. Sealed it has no clocks
// but its own stamps. --keep-going leaves rows out that cannot be read, counts them, and exits
// with 3.
//
//	convert --to arrow --timezone Europe/London --host node1 -o power.arrow smi.csv
//
// Names of columns have their units; the field metadata of Arrow and Parquet has
// them too. Package formats/telemetry specifies it all. So any of these gives the joules
// that a device's counter counted:
//
//	duckdb -c "select device, max(energy_joules) - min(energy_joules) from 'power.parquet' group by all"
//	polars.read_parquet("power.parquet").group_by("device").agg(polars.col("energy_joules").max() - polars.col("energy_joules").min())
//
// A recording that breaks off is sealed as far as it goes, with exit status 3; the sealed
// file then has no wattrace.end, and reduce says of it what it says of the recording. A
// damaged one needs --keep-going. A recording of any length is sealed in constant
// memory; it is read twice.
//
// # Flags
//
//	--model NAME       the model that the bodies name; needed unless all rows are bodies
//	--target SERVER    whose keys to use: trtllm (default), vllm, sglang, openai
//	--no-stream        ask for whole answers instead of streams
//	--from FORMAT      do not guess what the input is: trtllm, mooncake,
//	                   sharegpt, openaibatch, aiperfinputs,
//	                   azure, burstgpt
//	--list             print the table of formats and exit
//	--block-size N     tokens of a block that has a hash (512, of Bailian's traces 16)
//	--vocab N          make token ids from 1,000 to N-1 (32000)
//	--output-tokens N  ask for N tokens where the input does not say how many
//	--timing FILE      write the side file to FILE
//	--to FORMAT        seal a recording: parquet, arrow, csv, jsonl
//	--compress         with --to arrow: compress its buffers (zstd)
//	--keep-going       skip rows that cannot be converted, count them, exit 3; of
//	                   a damaged recording seal what precedes it
//	-o FILE, --force   write to FILE; replace it if it exists
//
// Keys of the bodies, N being the tokens of the answer, where they are known:
//
//	trtllm, vllm, sglang  max_tokens N, min_tokens N, ignore_eos true, temperature 0
//	openai                max_tokens N, in a chat max_completion_tokens N: a limit,
//	                      since that API cannot be asked for a length
//
// trtllm-serve answers 400 to a key that it does not know. trtllm-bench samples
// greedily and with the end-of-sequence token off, which temperature and
// ignore_eos restore on servers with other defaults.
//
// The first bad row ends the conversion, and nothing is left of the output
// files. An input of any size is converted in the memory of its longest row, and of the
// names of its sessions where it has some.
//
// # Exit status
//
// 0 ok, 1 failed, 2 usage, 3 finished but incomplete (rows were skipped, a recording
// breaks off), 130 interrupted. Reading a pipe, convert ignores the first interrupt
// and reads to the end.
package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/convert"
)

func main() { cli.Exec(convert.Main) }
