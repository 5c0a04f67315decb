// Package requests reads and writes the request log, schema
// wattrace.requests/1: what replay did, request by request, as raw moments.
// Every metric is computed from it later; it holds none.
//
// The log is JSON Lines, UTF-8, one object per line, the key "type" first.
// testdata/example.jsonl is a whole one:
//
//	{"type":"run","schema":"wattrace.requests/1","producer":"wattrace 0.1.0","clock":{"host":"node1","boot_id":"b7c1...","boot_nanos":"812345678901","monotonic_nanos":"812345678901","unix_nanos":"1780000000000000000","spread_nanos":290},"trace":{"path":"trace.jsonl","sha256":"9f86...","turns":200},"targets":["http://127.0.0.1:8000"],"servers":[{"target":"http://127.0.0.1:8000","version":"0.11.0"}],"plan":{"schema":"wattrace.plan/1","phases":[...]},"overlays":["stream=true"],"chunk_clock":"kernel","connections":{"balance":"least","keepalive_seconds":4,"preconnect":64,"source_addresses":2,"tls_insecure":true,"cache_salt_seed":7},"client":{"gomaxprocs":4,"cpus":4,"cpu_quota":3.5,"cpu_model":"AMD EPYC 9654","governor":"performance"}}
//	{"type":"phase","phase":"profiling","kind":"measure","event":"start","at_nanos":2000000000,"concurrency":64}
//	{"type":"sent","seq":17,"line":18,"phase":"profiling","sent_nanos":2000120034}
//	{"type":"request","seq":17,"line":18,"phase":"profiling","slot":3,"target":0,"scheduled_nanos":2000120000,"sent_nanos":2000120034,"wrote_nanos":2000160000,"first_byte_nanos":2090000000,"first_token_nanos":2090331000,"last_token_nanos":4600000000,"done_nanos":4600100000,"outcome":"succeeded","status":200,"finish_reason":"length","input_tokens":812,"output_tokens":128,"token_source":"usage","expected_input_tokens":812,"expected_output_tokens":128,"conn":3,"conn_reused":true,"conn_idle_nanos":1200000,"read_lag_nanos":310000,"body_bytes":4210,"body_xxh3":"0f9c3de1a7b24c58","cache_salt":"8c1f0a6e52d94b37","response_id":"chatcmpl-71","chunk_clock":"user","server_metrics":{"metrics":{"queue_time_ms":0.5}},"usage":{"prompt_tokens":812,"completion_tokens":128},"chunk_kinds":"r1c127f1u1d1","chunk_tokens":"0 1*126 2 0*3","chunk_micros":[90211,20113,...]}
//	{"type":"clock","at_nanos":12000000000,"boot_nanos":"824345678901","monotonic_nanos":"824345678901","unix_nanos":"1780000012000000000","spread_nanos":310}
//	{"type":"client","at_nanos":12000000000,"cpu_seconds":0.31,"in_flight":64,"held":0,"lateness_p50_nanos":18431,"lateness_p99_nanos":126975,"lateness_max_nanos":201344,"gc_pause_nanos":90112,"sched_p99_nanos":40960,"queue":12,"log_blocked_nanos":0,"goroutines":147}
//	{"type":"phase","phase":"profiling","kind":"measure","event":"end","at_nanos":30000000000}
//	{"type":"close","at_nanos":30000200000,"sent":200,"succeeded":200,"failed":0,"cancelled":0,"clean":true,"client":{"verdict":"ok","lateness_p50_nanos":17407,"lateness_p99_nanos":131071,"lateness_max_nanos":310272,"mean_gap_nanos":19750000,"bound_nanos":1000000,"sched_p99_nanos":40960,"cpu_share":0.08,"busy_share":0,"log_blocked_nanos":0,"held":0}}
//
// # Time
//
// A key that ends in _nanos and holds a number is, but for spread_nanos and what is
// called a duration below, an instant in integer nanoseconds since the run's anchor, on the steady clock, of less than 2^61 either
// way, so that what is made of differences fits 64 bits. The clock object of
// the run line reads the boot, monotonic and wall clocks at the anchor; clock
// lines read them again, at the end and at least every 10 s. Those readings are
// decimal strings, because a reader that keeps numbers as doubles would round
// them. spread_nanos is how long the reading took. A clock without unix_nanos has no wall
// clock: the log was made of another tool's, whose times are since a boot, or only lengths.
//
// # Lines
//
//	run      the first line. producer, clock, trace (path, SHA-256 of the bytes,
//	         turns; of what was made of another tool's trace the hash is that of
//	         the bodies, one a line, and format and source_sha256 say of what;
//	         like, a text that traces share which are alike but drawn anew),
//	         targets (base URLs, without user or key), servers (target and
//	         version, of those targets that say one), plan (see
//	         package plan), overlays (as given to --set), seed where one was
//	         used, shard {index, count} where there is one, chunk_clock,
//	         connections, client; see below
//	phase    a phase starts or ends: phase, kind, event ("start", "end"),
//	         at_nanos; at the start also its concurrency: its slots or users, of
//	         this shard. An open loop has none
//	sent     a request was handed to the HTTP client; its request line follows
//	         when it has ended, so these show what a killed run had in flight
//	request  a request ended; see below
//	clock    the clocks, read together
//	client   once a second: what the client used, and how late it was; see below
//	close    the last line: totals, clean, which is false after a signal, and
//	         client, a verdict; see below. A log without it is incomplete
//
// A new run line begins a new log, so that logs can be concatenated. A reader
// skips types and keys that it does not know and refuses a schema with a
// higher number. Keys whose value is unknown are absent, never 0 or null.
//
// # The client
//
// chunk_clock says who stamped what arrived: "user" (or no such key) is the
// client, right after the read that delivered the bytes; "kernel" is the kernel,
// when the last packet of that read arrived. connections says what else of the
// client changes what is measured, and leaves out what was not asked for:
//
//	balance            how requests were shared among the targets: round-robin
//	                   (conversation by conversation), least (the target with
//	                   the fewest in flight), sticky (by conversation, for the
//	                   whole run)
//	keepalive_seconds  an idle connection was closed after so long
//	preconnect         connections that were opened before the first phase
//	source_addresses   local addresses that took turns
//	tls_insecure       true: servers' certificates were not checked
//	cache_salt_seed    each body got a cache_salt of its own, from this seed and
//	                   its seq
//
// client of the run line is what it ran on: gomaxprocs (threads of Go code at
// once), cpus (that it may run on), cpu_quota (processors' worth of time that its
// cgroups allow), cpu_model, governor (of the processor's frequency).
//
// A client line says, of the time since the line before, which is a second but
// where the log stood still, unless it says "so far":
//
//	cpu_seconds      CPU time so far, user and system, since the process began
//	in_flight, held  requests in flight; that waited for a gate of the plan (a
//	                 ceiling of an open loop, or of prefills)
//	lateness_p50_nanos, lateness_p99_nanos, lateness_max_nanos   how much later
//	                 than due the requests of that time were sent: sent_nanos -
//	                 scheduled_nanos, less what a gate held them for; the
//	                 percentiles up to 1/16 too long. Durations, as the rest
//	gc_pause_nanos   the garbage collector stopped the process so far, to a tenth
//	sched_p99_nanos  goroutines that could run waited for a processor; the 99th
//	                 percentile
//	queue            entries that waited to be written, at most
//	log_blocked_nanos   slots of a closed loop waited for the log so far, added up:
//	                 they do where it is 16,384 entries behind. Nothing of an open
//	                 loop waits for it
//	goroutines       that there are: threads of Go code, waiting ones too
//
// client of the close line has the same of the whole run (held: requests that
// were; lateness of the phases that measure, where there are any, but for the
// longest), and
//
//	verdict          "saturated" where busy_share is above 0.05 or sched_p99_nanos
//	                 above bound_nanos; else "late" where lateness_p99_nanos is
//	                 above it; else "ok"
//	bound_nanos      1 ms, or 1 % of mean_gap_nanos if that is longer
//	mean_gap_nanos   between two events with output of an answer
//	cpu_share        of the processor time that the client may have, used while
//	                 requests were in flight. It may have the least of
//	                 gomaxprocs, cpus and cpu_quota
//	busy_share       of that time, in which more than 0.9 of it was used, by client
//	                 lines
//
// # The request line
//
//	seq, line        order of sending from 0; 1-based turn of the trace
//	conversation, turn   where the turn belongs to a conversation
//	phase, slot, target  phase by name; slot of the phase, in an open loop the
//	                 lowest number that no other request in flight had; index into
//	                 targets
//	scheduled_nanos  when it was due: in a closed loop, when its slot was free, or
//	                 its user had thought; in an open loop, by the schedule
//	sent_nanos       the HTTP client was called
//	wrote_nanos      the last write of the request returned
//	first_byte_nanos the first byte of the answer was readable
//	first_token_nanos, last_token_nanos   the reads that delivered the first
//	                 and the last event with output (text, reasoning or tool
//	                 call). An answer that is not streamed has no first token;
//	                 its last token is the end of the body
//	done_nanos       the answer ended, or the failure was known
//	outcome          succeeded, failed or cancelled
//	status           HTTP status
//	error            {class, message} of a failed request; the classes are
//	                 trace.ErrorClass
//	finish_reason    as the server said
//	input_tokens, output_tokens, token_source   usage: as the server's usage
//	                 object says; timings: as the timings of llama.cpp's
//	                 server say, where it sends no usage; tokenizer: the
//	                 client's own, as in other programs' logs; chunks: events
//	                 with output were counted, which is a lower bound
//	expected_input_tokens, expected_output_tokens   from the trace's side file
//	conn, conn_reused   the connection, numbered from 0 in the order of
//	                 opening; whether an earlier request had used it
//	conn_idle_nanos  for how long it had been waiting, kept or opened ahead: a
//	                 duration, unlike the other keys
//	connect_nanos, connected_nanos   its dial began; it stood, TLS included.
//	                 Only where the request is its first. A dial may be older
//	                 than the request: it was begun for another one, or ahead
//	read_lag_nanos   where the kernel stamps: how long, at worst, what had come
//	                 waited for the client to read it, which is by how much its
//	                 own stamps would have been late; a duration
//	body_bytes, body_xxh3   length and hash (XXH3, 64 bits, seed 0: xxhsum -H3)
//	                 of the body as it was sent, overlays applied
//	cache_salt       the value that the body was given
//	response_id      the id of the answer
//	chunk_clock      "user" where the run's is "kernel" and some instants of
//	                 this answer are the client's all the same: the kernel gave
//	                 no stamp, or the wall clock was set (see the clock lines)
//	server_metrics   what the server measured, by the keys of its answer, as it
//	                 stood there: metrics (vLLM), meta_info (SGLang),
//	                 perf_metrics and disaggregated_params (TensorRT-LLM),
//	                 timings (llama.cpp).
//	                 Members that could hold text or tokens are left out
//	usage            the server's usage object, verbatim
//	chunk_kinds      run lengths of event kinds, one letter and a count each:
//	                 r role, c content, g reasoning, t tool, f finish, u usage,
//	                 e error, d [DONE], k comment, o other (trace.ChunkKind)
//	chunk_tokens     output tokens that each event added, where the server said with
//	                 every event that has output how many there were so far
//	                 (stream_options.continuous_usage_stats): numbers with a space
//	                 between them, N*M for the same N of M events in a row, so that
//	                 "0 1*2 3" is 0, 1, 1, 3. There are as many as events, and they
//	                 add up to output_tokens. What an event without output adds are
//	                 tokens without text, such as the end of the sequence. Absent
//	                 where a count is missing or fell, and with several choices: they
//	                 are not guessed. Where it is absent and events with output are as
//	                 many as output_tokens, each has one
//	chunk_micros     for each event, microseconds since the one before it; the
//	                 first since sent. They are differences of offsets that
//	                 were floored to a microsecond, so that prefix sums stay
//	                 exact to 1 us
//	chunk_nanos      three digits for each event: the nanoseconds that its offset
//	                 was floored by. Only logs of other programs have them, whose
//	                 figures are to be had again to the digit
//
// History: 1 is the first.
package requests
