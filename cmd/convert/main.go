// Convert turns traces of other tools into raw_payload traces, which replay
// sends: JSON Lines, each line one complete request body. With --to it writes traces,
// request logs and recordings for other programs.
//
//	$ convert --model llama-8b -o trace.jsonl dataset.jsonl
//	$ convert --to aiperfinputs -o inputs.json trace.jsonl
//	$ convert --to parquet -o power.parquet power.arrows
//	$ convert --to perfetto -o run.pftrace requests.jsonl power.arrows
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
// it, and for a stream with the usage at its end. Whole bodies stay as they are, and
// fields of bodies that rows have go into them and win.
//
// Files that a row names (media_paths) are read, up to 64 MiB each, and put into the chat as
// data: URLs; only images, videos and sounds are, by their content. An adapter (lora_request)
// goes into the body for trtllm, and is the model for vllm and sglang; openai has none.
//
// Of a conversation whose answers are not known the first question is asked. With
// --turns user-only all are, each with the questions before it, as the turns of a conversation.
//
// What rows do not get into the trace by the rule of the format is counted at the end.
//
// Some formats look alike. {"prompt":...} is a body, a row of vLLM's custom dataset or of guidellm,
// and a chat a body or a row of SGLang's openai dataset: --from says so. Rows of
// timestamp, input_length and output_length alone need it, since the times are milliseconds in
// Mooncake's traces and seconds in guidellm's. With hash_ids they are Mooncake's. A chat with timestamp, delay or
// session_id that names no model is genai-perf's where it has other fields of a body, else
// Mooncake's, which means the same; with a model it is a body.
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
// # Directories
//
// -o DIR/, with the slash at the end, makes a directory: a file for each conversation, whose
// lines are its turns, and beside it the side file DIR.timing. replay takes it. A
// row without a conversation is one of its own. Files are numbered, so that they sort
// in the order in which conversations begin, and have what is safe of the
// conversation's name: 00000017-session_a.jsonl. The directory appears whole or not
// at all; --force replaces one that has nothing but conversations. Turns
// may come in any order of conversations: 64 MiB of them wait in memory, and 16 bytes a turn.
//
//	convert --output-tokens 5 --model llama-8b -o chats/ sharegpt.json
//	replay --concurrency 8 --url http://server:8000 -o requests.jsonl chats/
//
// # Parts of a trace
//
// What is left out is counted and said at the end. A trace that is one already (a raw_payload
// file or a directory, with its side file) can be shortened too, and its bodies stay byte for byte:
//
//	convert --before 10m --speedup 2 -o part.jsonl trace.jsonl
//	convert --sample 500 --seed 1 --model llama-8b -o part.jsonl mooncake.jsonl
//
// In this order:
//
//	--after, --before   what begins in a time range since the first request's time. A
//	                    conversation is judged by its first turn and stays whole. With
//	                    --after the times count from the start of the range
//	--max-input-tokens  prompts that are no longer. A conversation ends before its first
//	                    turn that is, since what follows builds on it
//	--sample            so many conversations, whole; a request without one is one. Each set of
//	                    them is as likely; the same --seed takes the same ones,
//	                    and all of a smaller sample. The input is read twice
//	--limit             so many requests, the first ones; the rest is not read
//	--speedup           times and delays (think times) divided, so that a
//	                    trace's conversations stay beside each other
//
// # Tokenizers
//
// --tokenizer FILE takes the tokenizer.json of a model, as it lies beside its weights: BPE
// on bytes, as Llama 3, Qwen, GPT-2, Mistral-Nemo and DeepSeek have; others are refused by
// name. It gives
//
//	token ids    of prompts that are made for lengths: all of the vocabulary but
//	             special and added ones
//	texts        of exactly so many tokens in their place, with --as-text, for servers that take
//	             no ids: common words, the same blocks for the same hashes but for
//	             the space at the start of a prompt
//	counts       of prompts, into the side file where the input has none, and for
//	             --max-input-tokens: of the texts alone
//	lengths      to ask for, where the input has the answer (ShareGPT)
//
// A server adds to the tokens of a text: in a chat its template, some tens of tokens, in a
// completion the token of the beginning (BOS), where the model has one. Token ids are exact.
//
//	convert --tokenizer tokenizer.json --as-text --endpoint completions --model llama-8b -o trace.jsonl mooncake.jsonl
//
// # Traces for other tools
//
// --to FORMAT writes a raw_payload trace, a file with its side file (FILE.timing, or
// --from-timing FILE) or a directory of conversations, as
//
//	aiperfinputs  inputs.json: the bodies of each session. A request of no conversation is a
//	              session of its own, by its number
//	mooncake      aiperf's mooncake_trace: bodies as payload, with times, sessions and output
//	              lengths. aiperf takes no input length beside a payload
//	openaibatch   input of the Batch API. An id that was there before gets a number
//	trtllm        trtllm-bench's dataset: a prompt, as text or token ids, and a length
//	vllm          vLLM's custom dataset: a text and a length
//
// The first three keep bodies byte for byte. A trace of another tool goes there directly,
// with the flags that make bodies of it. What is lost is said at the end; a body that a
// dataset cannot say (a chat of several messages, tools) is an error where it stands, and
// left out with --keep-going. The length in a dataset is what the body asks for, else what
// the side file expects, else --output-tokens. The side file must be in the order of the
// trace, so that neither is held in memory; inputs.json waits in a temporary file.
//
// # Request logs
//
// A log of replay, or of another program that reduce takes, becomes
//
//	parquet, arrow, csv  a row for each request; package formats/logtable specifies the columns.
//	                     --compress is for arrow, csv has no events of streams
//	jsonl                a log of ours, as reduce reads it
//	aiperf               a directory, which -o names, with profile_export.jsonl and
//	                     profile_export_aiperf.json: aiperf plot reads it. --model names
//	                     the model, which a log does not. It appears whole or not at all; with
//	                     --force it replaces one that holds nothing else
//	perfetto             a trace for ui.perfetto.dev and trace_processor; package formats/perfetto
//
// A log that is not whole is written as far as it goes, with exit status 3.
//
// --to perfetto takes any number of logs and recordings, of any format that reduce takes.
// Those of one boot of a host are on one clock; others are placed by their wall clocks,
// which is said. A log has a track for its phases, one for each request (prefill is until
// the first token, decode until the last), the requests in flight and the output tokens/s, in cells of
// 100 ms; each device has a counter for each metric, and where there are several of a source, their
// power together. No text of a request or of an error is in it.
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
//	--endpoint E       what texts become: chat (default) or completions
//	--no-stream        ask for whole answers instead of streams
//	--from FORMAT      do not guess what the input is: trtllm, trtllmcustom,
//	                   vllmcustom, questions, guidellm, guidellmtrace,
//	                   sglangopenai, tokentrace, mooncake, genaiperf, weka,
//	                   sharegpt, openaibatch, aiperfinputs, azure, burstgpt
//	--list             print the table of formats and exit
//	--block-size N     tokens of a block that has a hash (512, of Bailian's traces 16)
//	--vocab N          make token ids from 1,000 to N-1 (32000)
//	--turns WHICH      questions of a conversation without answers: first (default),
//	                   user-only for all
//	--output-tokens N  ask for N tokens where the input does not say how many
//	--tokenizer FILE   count, and make prompts, by a tokenizer.json, instead of --vocab
//	--as-text          with it: make texts of so many tokens, not token ids
//	--timing FILE      write the side file to FILE
//	--from-timing FILE the side file of a raw_payload input, if it is not beside it
//	--after TIME, --before TIME, --max-input-tokens N, --sample N, --seed N,
//	--limit N, --speedup X
//	                   take a part of the trace, or make it faster: see above
//	--to FORMAT        of a trace aiperfinputs, mooncake, openaibatch, trtllm, vllm; of a
//	                   request log parquet, arrow, csv, jsonl, aiperf, perfetto; of a
//	                   recording parquet, arrow, csv, jsonl, aiperf, perfetto
//	--compress         with --to arrow: compress its buffers (zstd)
//	--keep-going       skip rows that cannot be converted, count them, exit 3; of
//	                   a damaged recording seal what precedes it
//	--timezone NAME, --host NAME, --columns LIST
//	                   what a log of sensors does not say of itself: see above
//	-o FILE, --force   write to FILE, or to a directory DIR/; replace it if it exists,
//	                   but never an input, nor a directory that has one
//
// A flag that would change nothing is refused: one that shapes bodies where the trace
// has its own (--output-tokens but for the datasets, which have lengths), one that says what
// no recording leaves open.
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
// files. An input of any size is converted in the memory of its longest row, some four
// times its bytes, and of the names of its sessions where it has some. A row of more than 1 GiB
// is an error, so that what a small file unpacks to has bounds.
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
