// Convert turns traces of other tools into raw_payload traces, which replay
// sends: JSON Lines, each line one complete request body.
//
//	$ convert --model llama-8b -o trace.jsonl dataset.jsonl
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
// Flags:
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
//	--keep-going       skip rows that cannot be converted, count them, exit 3
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
// Exit status: 0 ok, 1 failed, 2 usage, 3 finished but incomplete (rows were
// skipped), 130 interrupted. Reading a pipe, convert ignores the first interrupt
// and reads to the end.
package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/convert"
)

func main() { cli.Exec(convert.Main) }
