// Package aiperf reads what a run of aiperf leaves behind: profile_export.jsonl,
// a line for each request; profile_export_raw.jsonl, the same with the answers; gpu_telemetry_export.jsonl, one for each GPU and scrape; and
// profile_export_aiperf.json, of which it takes how the load was configured.
//
// # Requests
//
// Each line of profile_export.jsonl is an object {"metadata", "metrics", "error",
// ...}; other keys are not read, and what is null is as what is absent. The file
// has no head. Of metadata:
//
//	request_start_ns       when the request was sent, in Unix nanoseconds; of old
//	                       timestamp_ns
//	request_end_ns         when it ended; else max_response_timestamp of the
//	                       metrics, else the last token, else cancellation_time_ns,
//	                       else when it was sent
//	credit_issued_ns       when it was due, unless that is later than it was sent:
//	                       two processes stamp them
//	request_ack_ns         the answer began
//	phase_name             phase, since 0.12; of before benchmark_phase, of old
//	                       credit_phase; else "profiling"
//	phase_kind             "warmup" or "profiling"; else the phase says it
//	was_cancelled          the client gave it up
//	conversation_id, turn_index, session_num   as they are; the line of the trace is
//	                       session_num + 1, else that of the file
//	x_request_id           no two lines may have the same
//
// Of metrics, each {"value", "unit"} with its time in ns, us, ms or s:
//
//	time_to_first_token, ttft      first token - sent
//	request_latency                last token - sent
//	inter_chunk_latency            the list of the gaps between events with output
//	time_to_first_output_token     the first of them that is no reasoning - sent
//	input_sequence_length          input tokens
//	output_sequence_length         output tokens, reasoning included
//	reasoning_token_count, output_token_count   its two parts
//	usage_completion_tokens        output tokens as the server said
//
// The events are at the first token and after each gap, if they then end with the
// last token, to a microsecond; otherwise they are not taken. Where there is
// reasoning, and no time says where it ends, all events are given as reasoning, so
// that nothing is said of when the rest began.
//
// The tokens are aiperf's: its own tokenizer's (trace.FromTokenizer), and the
// server's (trace.FromUsage) where usage_completion_tokens is the same number. The
// only thing in Usage is then the number of reasoning tokens.
//
// A request with an error failed, but for those with was_cancelled, the code 499 or
// the type RequestCancellationError, which were cancelled. The error's own message
// may quote a prompt, and is not taken: type and code are.
//
// Requests are in the order of the file, in which they ended, and so numbered.
//
// # The raw export
//
// At --export-level raw there is profile_export_raw.jsonl as well: {"metadata", "start_perf_ns",
// "payload", "request_headers", "status", "responses", "error", ...} with the metadata and
// the error of the other file, and no metrics. Each of responses has perf_ns, when it came,
// on the clock of start_perf_ns, which is request_start_ns; and one of
//
//	packets      [{"name", "value"}]: the fields of a server-sent event, of which "data" is
//	             looked at: what it carries, as trace.ChunkKind has it, of chat
//	             completions, completions and responses. Data that is no JSON is "other"
//	text         the body of an answer that is not streamed
//	raw_bytes    the same, not looked at
//
// All events are taken, to the nanosecond; the first and the last with output are the first
// and the last token. The last usage object is kept verbatim, and the tokens are its
// (trace.FromUsage); where there is none the events with output are counted
// (trace.FromChunks), which is less than aiperf's tokenizer knows. Neither the payload, nor
// headers, nor any text of an answer is kept. A run that was killed leaves
// raw_records/raw_records_*.jsonl, which are parts of this file.
//
// # Phases
//
// A phase is from the first start to the last end of its requests. One that overlaps
// the next ends where that starts, with requests in flight (handover). "warmup" is one,
// others are measured, unless the configuration says otherwise. How long a phase was
// before its first and after its last request is not in the file; phase_manifest.json, whose
// start_ns and end_ns aiperf's own windows are, is not read.
//
// # Clock
//
// All instants are of the wall clock of aiperf's host, which is not named: the first
// start is the anchor of the clock. So it is joined to recordings by the wall clocks.
//
// # The configuration
//
// [ParseConfig] takes of profile_export_aiperf.json, in the form of input_config.loadgen
// and of input_config.phases, the concurrency, rate, arrival and users of each phase, and
// whether the run was cancelled. A sweep's list of concurrencies is none.
//
// # What it published
//
// [ParseArchive] takes of profile_export_aiperf.json every metric that has a unit, by its
// tag (of old below "records"; ttft and ttst by their later names) with the statistics
// avg, min, p1 ... p99, max, std, count and sum; the same of warmup_metrics, and of the GPUs in
// telemetry_data; the objectives of --goodput (slos, of old input.goodput); start_time and end_time,
// which are the measured phase's, to the microsecond and in local time; and the generation
// of its metrics of energy: by their tags, else by the version, else by the names of the
// telemetry. The statistics adj_... are not taken.
//
// [ParseManifest] reads phase_manifest.json, which 0.13 writes beside it for a run of several
// phases, warm-up among them: of each phase its name, kind, start_ns, end_ns (of its last
// request) and the path of its own summary, metrics_json.
//
// # Telemetry
//
// [TelemetryReader] reads gpu_telemetry_export.jsonl: a line for each GPU and scrape, of
// the whole run, with warm-up. timestamp_ns is of aiperf's wall clock when it had the
// answer; gpu_uuid, else source, hostname and gpu_index, is the device; gpu_model_name,
// pci_bus_id and hostname are as they are. The source is nvml where telemetry_source_url
// begins with pynvml:, amd-smi where it begins with amdsmi: or the platform is amd, else
// dcgm (of old dcgm_url). Of telemetry_data, any of which may come and go:
//
//	power_watts          gpu_power_usage, nvidia_power_usage, amd_power (W)
//	energy_joules        energy_consumption, nvidia_..., amd_... (MJ)
//	gpu_utilization      gpu_utilization, nvidia_gpu_utilization, amd_gfx_activity (%)
//	memory_utilization   mem_utilization, nvidia_memory_utilization, amd_umc_activity (%)
//	memory_used_bytes    gpu_memory_used, nvidia_memory_used, amd_memory_used (GB)
//	temperature_celsius  gpu_temperature, nvidia_temperature, amd_temperature
//	power_cap_seconds    power_violation, nvidia_power_violation (us)
//
// A GPU that several exporters show, which aiperf counts as often, is read from the first
// of them. A row that is not later than the one before of its GPU is a fault. A page of
// the exporter that repeats the one before is not in the file, so that its rows are further
// apart than aiperf asked.
//
// [TelemetryWriter] writes it, with the newest names and beside them nvidia_sm_utilization
// (sm_activity, %): a line for each reading of a GPU that has a value of these, at the middle
// of what it took. Energy is written to the millijoule, memory to the byte. The source is
// pynvml://HOST for nvml, amdsmi://HOST, http://HOST:9400/metrics for dcgm, else
// SOURCE://HOST, of which nvidia-smi: is read back as itself. gpu_uuid is the device's
// identity. Left out are devices that are no GPU, a GPU by its second source, which aiperf would
// count again, and all that aiperf has no name for.
//
// # What is written
//
// [Writer] and [WriteSummary] write the two files of requests as aiperf 0.13 does, for its
// plots: ids are made of the run and seq, workers are called wattrace, aiperf_version names who
// wrote it, and metrics are whatever they are given. All requests are written, warm-up too.
//
// # Faults
//
// A fault is a *trace.SyntaxError with line and column; reading can go on at the next
// line. A last line that breaks off wraps [ErrTruncated]. A byte order mark, and CRLF, are
// accepted; a line of more than 256 MiB ends the reading.
//
// testdata holds lines of a real run; its README says where they are from.
package aiperf
