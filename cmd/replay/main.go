// Replay sends the request bodies of a trace to an OpenAI-compatible server and
// writes the request log: one line for each request, with every event of its
// answer stamped at the read that delivered it.
//
//	$ replay --url http://127.0.0.1:8000 --concurrency 16 -o requests.jsonl trace.jsonl
//
// The trace is a raw_payload file: JSON Lines, each line one complete body, sent
// byte for byte; gzip and zstd are taken off. A directory is a trace of
// conversations, each *.jsonl one, whose turns are sent one after another. "-" is
// standard input, and so is no operand at all in a pipe. The whole trace is read
// and checked before the first request is sent. A body with "messages" goes to
// /v1/chat/completions below the URL, one with "prompt" to /v1/completions, one
// with "input" to /v1/responses.
//
// The load is a closed loop: --concurrency slots, each of which sends its next
// request when its last has ended. Without a limit the trace is sent once; with
// --requests or --duration it is sent again from its start when it is over. A
// warmup has the same concurrency and comes before, and begins with the first
// line too, so that a server with a prefix cache knows those lines when they come
// again; a plan file can begin elsewhere:
//
//	$ replay --url http://127.0.0.1:8000 --concurrency 16 --warmup-requests 32 --duration 30s -o requests.jsonl trace.jsonl
//	$ replay --url http://127.0.0.1:8000 --phases plan.yaml -o requests.jsonl trace.jsonl
//	convert --model llama-8b dataset.jsonl | replay --url http://server:8000 - > requests.jsonl
//
// Other loads: an open loop, in which requests are due whether or not the server
// keeps up (--rate, Poisson arrivals when nothing else is said); the trace's own
// times (--trace-times, from the side file that convert writes); --users, each
// sending at a fixed gap. What is late is sent at once and logged as late, and no
// later time is moved for it; what was drawn at random is the same for the same
// --seed. Later turns of a conversation follow when the one before has ended, after
// the delay that the side file has for them. With --concurrency a --rate is no open
// loop any more: requests wait in line.
//
//	$ replay --rate 20 --ramp 1:10s --duration 60s --url http://127.0.0.1:8000 -o requests.jsonl trace.jsonl
//	$ replay --trace-times --speedup 10 --url http://127.0.0.1:8000 -o requests.jsonl trace.jsonl
//
// Where one client is not enough, each of N gets its part of the same schedule:
//
//	$ srun -n 4 replay --shard auto --start-at +30s --rate 4000 ... -o requests.%t.jsonl
//	$ reduce requests.*.jsonl
//
// Several --url take turns, conversation by conversation; --balance least sends
// each request to the server with the fewest in flight, and --balance sticky keeps
// a conversation with one server for the whole run, also when it comes again, so
// that its prefix is cached there.
//
// HTTP/1.1, one connection for each request in flight, kept from one to the next
// for up to --keepalive, below the 5 s of uvicorn; a server that closes connections
// right after its answers gets a new one for each. The log has the connection of
// each request, whether it was new and how long it took, so that the time that it
// took can be told from the server's. --preconnect opens connections ahead. Nothing
// is retried, redirected or decompressed. After a request that reached no
// server its slot rests, 10 ms at first and up to 1 s. A request fails by a class:
//
//	dns, connect, tls          no connection
//	conn_stale, reset          it broke before the answer; conn_stale if it was a kept one
//	                           and broke within 200 ms, so that no server had it
//	timeout                    --timeout, from the request to the end of its answer
//	http_429, http_4xx, http_5xx, http_other   the status
//	sse_error                  an error event in the stream
//	sse_truncated              the stream ended without [DONE] and without a finish reason
//	sse_syntax                 not a stream of events, or an event not JSON
//	body                       an answer that is not streamed broke off or is not one
//	client                     this machine ran out of descriptors or ports
//
// Events are stamped right after the read that delivered them, some tens of
// microseconds after they came, more where this machine is busy. With
// --kernel-timestamps they are stamped by the kernel as their packet comes in (of
// several packets in one read, the last): within some microseconds, whatever this
// process does. The kernel stamps with the wall clock, which is converted to the
// log's; should somebody set it during the run, replay goes on with its own stamps,
// and warns. The log says of each answer whose stamps it has.
//
// A server with a prefix cache answers a trace that it has seen faster and for
// fewer joules. --cache-salt gives each body a "cache_salt" of its own, which vLLM,
// SGLang and trtllm-serve (chat) keep caches apart by. It is made from the seed and
// the request's number, so that a run can be repeated to the byte.
//
// With --check nothing is sent. Every line of the trace is checked, and each fault
// shown with file, line and column (exit status 2); then what the trace holds and
// how long the load is. --dialect adds what a server of that kind would refuse
// (exit status 3): trtllm-serve and OpenAI answer 400 to every key that they do not
// know, and vLLM and SGLang to some combinations. Overlays count, so that --set can
// be tried:
//
//	$ replay --check --dialect trtllm --concurrency 16 --duration 30s trace.jsonl
//
// A load generator that is itself the bottleneck measures itself. So the log has,
// once a second, what replay used and how late it was, and the last line a verdict,
// which is shown at the end too:
//
//	ok         nothing of the below
//	late       requests were sent later than due, by more than 1 ms (p99), or by 1 %
//	           of the mean time between two tokens where that is longer. In a
//	           closed loop they are due when their slot is free; what a ceiling or
//	           a limit on prefills holds back is not due
//	saturated  replay used more than 90 % of the processor time that it may have
//	           (GOMAXPROCS, affinity and cgroup quota, whichever is least) in more
//	           than 5 % of the seconds, or its goroutines waited for a processor by
//	           more than the bound above (p99)
//
// With --strict late and saturated are exit status 3. A disk that stands still
// delays the log, and no request of an open loop; slots of a closed loop wait when
// the log is 16,384 lines behind, which is logged and shown.
//
// How good the client is on this machine, replay --selftest says, in 20 to 30 s and
// with a server of its own in a second process: the error of its stamps, its own and
// the kernel's, at some numbers of streams; how late it sends at some rates; how
// many chunks a core takes.
//
// Output tokens are the server's count (usage); where it sends none, events with
// output are counted, which is a lower bound and marked as such. To get it from a
// server that has to be asked, and a stream where the trace asks for none:
//
//	replay --set stream=true --set 'stream_options={"include_usage":true}' --url http://server:8000 trace.jsonl
//
// An event may hold several tokens, with speculative decoding as a rule. vLLM, SGLang and
// trtllm-serve say with each event how many there were so far, on request; the log has
// how many each brought then, and reduce the times per token:
//
//	replay --set 'stream_options={"include_usage":true,"continuous_usage_stats":true}' --url http://server:8000 trace.jsonl
//
// Before the first phase each server is asked for its version (/version, as vLLM and
// trtllm-serve have it, or SGLang's /server_info), for 2 s at most. What it says stands in
// the log's first line, and is no request of the run; what it does not say is unknown.
//
// Flags:
//
//	--url URL              base URL of the server (WATTRACE_URL); may be repeated, see
//	                       --balance; a /v1 at its end is dropped
//	--balance POLICY       round-robin (conversation by conversation), least (in
//	                       flight), or sticky (by conversation, for the whole run)
//	--concurrency N        requests in flight at once (1); with --rate or --trace-times
//	                       at most (any number)
//	--rate R               open loop: conversations that begin in a second; where turns
//	                       belong to none, requests
//	--arrival KIND, --burstiness SHAPE   poisson, constant or gamma, with its shape
//	--arrival-normalize    the last arrival is due at their number / rate, as vLLM's
//	                       benchmark has it
//	--trace-times          the trace's own times; --speedup X, --from TIME, --to TIME,
//	                       --max-gap TIME, --open-loop-strict
//	--users N, --turn-gap TIME   users, and the time between two requests of one
//	--think TIME           between an answer and the slot's next request
//	--stagger TIME         begin the slots one after another
//	--ramp FROM:TIME[:exponential]   get to the rate or concurrency from another one
//	--prefill-concurrency N   requests at once without a first token
//	--cancel SHARE:TIME    give up a share of the requests so long after each was sent
//	--order ORDER, --repeat N   sequential, shuffle or random; each conversation N times
//	--max-error-rate SHARE stop the run (exit 3) when more of a phase's requests fail
//	--seed SEED            of what is drawn at random (0)
//	--shard I/N, auto, auto/N   be one of N clients; auto asks Slurm, Open MPI, Kubernetes
//	--start-at TIME        RFC 3339, Unix seconds, or +30s
//	--requests N           stop after so many
//	--duration TIME        stop sending after so long: 90s, 2m
//	--warmup-requests N, --warmup-duration TIME   a phase warmup before profiling
//	--handover             profiling begins without waiting for the warmup's requests
//	--grace TIME           cancel what is in flight so long after a phase's last send
//	--idle-before TIME, --idle-after TIME   phases without requests around the load
//	--phases FILE          a plan file (YAML) instead of all these
//	--timeout TIME         fail a request after so long (10m); 0 is never
//	--set KEY=JSON         set a top-level key of every body, and touch nothing else of
//	                       it; a value that is one word may stand without quotes
//	--header 'NAME: VALUE' add a header to every request
//	--timing FILE          side file of the trace, if it is not TRACE.timing
//	--api-key-file FILE    the API key; else WATTRACE_API_KEY. It is written nowhere
//	--server-messages      log the messages of servers' error objects too. By default
//	                       their type and code are: messages may quote the prompt
//	--preconnect N         open N connections before the first phase, to the servers
//	                       in turn; one that a server closes meanwhile is made anew
//	--keepalive TIME       close a connection that has rested so long (4s); 0 keeps none
//	--source-address ADDRESS   connect from this local address; may be repeated, and
//	                       they take turns: each has some 28,000 ports
//	--kernel-timestamps    stamp what arrives with the kernel's clock (Linux)
//	--ca-file FILE         trust the certificates in FILE (PEM), and no others
//	--server-name NAME     the name that the server's certificate must have, and that
//	                       is asked for (SNI); else that of the URL
//	--insecure             do not check the server's certificate; the log says so
//	--cache-salt SEED      give each body a cache_salt of its own, made from SEED
//	--check                send nothing; say what the trace and the load are
//	--dialect KIND         of --check: what trtllm, vllm, sglang or openai would refuse
//	--strict               exit status 3 where the client was late or saturated
//	--selftest             measure how good the client is on this machine
//	--format FORMAT        of --check and --selftest: text, or json
//	-o FILE, --force       write to FILE (compressed if it ends in .zst); replace it if it
//	                       exists
//	-q, --progress MODE    no progress and no summary; auto, plain or none
//
// Ctrl-C (or SIGTERM, or a terminal that goes away) stops sending, waits for what is in flight, and closes the log, which
// then says that it was stopped. Pressed again, it cancels what is in flight.
//
// Exit status: 0 ok, 1 failed, 2 usage (with --check also a trace with a fault), 3
// finished but incomplete (some requests failed, or would be refused; with --strict
// also a client that was late or saturated), 130
// interrupted.
package main

import (
	"wattrace/cmd/internal/cli"
	"wattrace/cmd/internal/replay"
)

func main() { cli.Exec(replay.Main) }
