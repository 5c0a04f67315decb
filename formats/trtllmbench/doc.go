// Package trtllmbench reads what trtllm-bench throughput and latency leave behind:
// --request_json, with a record for each request, and --report_json, the report. What
// trtllm-bench reads, its dataset, is package trtllm.
//
// # Requests
//
// --request_json is an array of objects, written by Python (see package pyjson):
//
//	id                      no two may have the same
//	num_input_tokens        input tokens
//	start_timestamp         when the request was sent
//	first_token_timestamp   its first token, with --streaming; else -1
//	end_timestamp           its end
//	num_total_output_tokens, of old num_output_tokens, else output_tokens   output tokens
//	error_tokens            above 0: the request failed
//
// Other keys follow from these, and output is the text, which is passed over. Timestamps
// are perf_counter_ns: CLOCK_MONOTONIC on Linux, nanoseconds since the boot of the host of
// the benchmark, which is not named. So the log can be joined, exactly, to a recording of
// that boot, if the user says that it is.
//
// The requests are numbered as they stand. Warm-up is not in the file. When single tokens
// came is not, either.
//
// # The report
//
// --report_json is one object of sections. [ParseReport] takes the numbers of all sections
// but engine, machine, world_info and dataset, by their paths:
// performance.request_latency_percentiles_ms.p99, energy.total_energy_j. It is a report of
// figures: nothing in it says when anything was. NaN is left out. Its percentiles are
// sorted[int(n p)], without interpolation; its energy is the difference of the GPUs' own
// counters, times world_size / GPUs of the host where the engine has more.
//
// Sources: tensorrt_llm/bench/dataclasses/statistics.py and reporting.py, and
// tensorrt_llm/bench/benchmark/utils/energy_monitor.py.
package trtllmbench
