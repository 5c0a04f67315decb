// Simulate is an OpenAI-compatible LLM server on simulated GPUs: it answers as
// a real server would and when a real server would, its GPUs draw power with the
// batch, their sensors err as real ones do, and what they really drew is written
// down exactly. It is there to try the other tools without a GPU, to test them,
// and to see how far a measurement is from the truth.
//
//	simulate --truth truth.jsonl &
//	curl -s http://127.0.0.1:8000/v1/completions -d '{"prompt":"Hello","max_tokens":8}'
//	kill %1
//
// Nothing it says is real: the words are made up, each device has "simulated" in
// its name, and so does every report made from it.
//
// The server speaks /v1/completions, /v1/chat/completions and /v1/responses
// (streamed and whole) and /v1/models; package wattrace/replay/simserver says
// what it heeds and how it counts tokens. It batches continuously: a step feeds
// prompts and makes one token for every running request, and takes a time that
// depends on both. The GPUs share each request (tensor parallelism), so all of
// them draw the power of the step, with small differences between boards.
//
// # Where it listens
//
// On the loopback interface unless told otherwise. With port 0 the system
// chooses one, and --addr-file tells it to scripts:
//
//	simulate --listen 127.0.0.1:0 --addr-file server.url &
//	until [ -s server.url ]; do sleep 0.1; done
//	curl -s "$(cat server.url)/v1/models"
//
// # Dialects
//
// Servers with one interface differ in what a client must be ready for. --dialect
// chooses whose manners it has:
//
//	vllm    usage only on request; "reasoning"; an engine that fails is an error
//	        event, and [DONE] follows; keys it does not know are ignored;
//	        /health, /version, /metrics (vllm:...)
//	sglang  the finish reason in an event of its own; "reasoning_content"; flat
//	        errors; any model's name; a full queue is 503, in a stream an event;
//	        /health, /server_info, /metrics (sglang:...), /generate
//	trtllm  keys it does not know are refused, quoting them; usage is on where
//	        stream_options is there at all; max_tokens is lowered to what fits; an
//	        engine that fails cuts the stream; /health, /version, /metrics (steps,
//	        JSON), /perf_metrics, /prometheus/metrics
//	openai  keys it does not know are refused, ignore_eos among them; reasoning is
//	        counted and not sent; a full queue is 429 with Retry-After; no page
//	        but /v1/models
//
// tool_choice "required", or one that names a function, makes the answer a call.
// What happens to a server now and then can be asked for: --fail-every, and
// --max-queue where the server has a limit.
//
// # The GPUs
//
// --nvml-state FILE publishes the readings of their sensors, every millisecond,
// for a stub of libnvidia-ml, through which record reads them as it reads real
// ones. --arch chooses how the sensors behave:
//
//	hopper        energy counter every 100 ms; instant field over 25 of every 100 ms;
//	              average field over about a second; 700 W
//	ampere-ga100  the same without an average field; 400 W
//	ampere-ga10x  instant field over all of 100 ms; average field; 300 W
//	ada           the same; 350 W
//	volta         instant field over 10 of every 20 ms, no average field; 300 W
//
// --dcgm-listen HOST:PORT shows them as a dcgm-exporter does, at /metrics of a port of
// its own (an exporter's is 9400; the server's own /metrics stays what it is): the
// fields of its default list that the devices have, with the instant power, the power limit
// and the clock reasons, which operators add. The page is what the sensors showed at its
// last refresh, --dcgm-interval apart, and says no more than an exporter's of when
// that was:
//
//	simulate --dcgm-listen 127.0.0.1:9400 &
//	record --source dcgm:127.0.0.1:9400 --for 10s -o power.arrows
//
// --truth FILE writes every change of every GPU's true power with its true
// energy up to then (package wattrace/formats/truth). reduce --truth compares.
//
// # Flags
//
//	--listen HOST:PORT  where to listen (127.0.0.1:8000)
//	--addr-file FILE    write the server's URL to FILE once it listens, and remove
//	                    FILE at the end
//	--model NAME        name of the model (wattrace-simulated)
//	--dialect SERVER    vllm, sglang, trtllm or openai (vllm)
//	--max-context N     refuse more than N tokens of a prompt and its answer (131072)
//	--max-batch N       serve at most N requests at once (256)
//	--max-queue N       refuse requests while N wait; sglang and openai (0: no limit)
//	--reasoning-tokens N  begin chats and responses with N tokens of reasoning (0)
//	--fail-every N      let every Nth request fail before its last token (0: none)
//	--request-metrics   tell the times of each request: vllm's "metrics" in answers,
//	                    trtllm's /perf_metrics and /prometheus/metrics
//	--gpus N            number of GPUs (4)
//	--arch NAME         architecture of the GPUs (hopper)
//	--seed N            decides words, lengths, and the differences of the GPUs (1)
//	--speed X           serve X times faster; the GPUs' sensors keep to real time (1)
//	--truth FILE        write what the GPUs really drew
//	--nvml-state FILE   publish the sensors for the stub of libnvidia-ml
//	--dcgm-listen HOST:PORT  show the sensors on the page of a dcgm-exporter
//	--dcgm-interval TIME     refresh that page every TIME (1s)
//	--dcgm-addr-file FILE    write that page's URL to FILE once it is there, before
//	                    that of --addr-file, and remove FILE at the end
//	--force             replace an existing truth file
//
// SIGINT or SIGTERM is its normal end: it takes no new requests, lets those
// under way finish for at most five seconds (a second signal cuts them off),
// and closes the truth file.
//
// Exit status: 0 ended by a signal, 1 failed (a port in use, a full disk), 2 usage.
package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/simulate"
)

func main() { cli.Exec(simulate.Main) }
