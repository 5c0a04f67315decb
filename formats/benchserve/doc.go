// Package benchserve reads what the serving benchmarks save that descend from vLLM's
// benchmark_serving.py: vllm bench serve (--save-result, --append-result), InferenceX's
// benchmark_serving and sa-bench of srt-slurm, TensorRT-LLM's
// tensorrt_llm.serve.scripts.benchmark_serving (--save-result), and SGLang's bench_serving
// (--output-file).
//
// # The file
//
// A result is one object. vLLM and TensorRT-LLM write one, or with --append-result one
// behind the other; SGLang appends a line for each run. It is written by Python, which has
// NaN and Infinity (see package pyjson). Its scalars are the arguments and the tool's own
// figures; with --save-detailed (SGLang: --output-details) it has columns, with an element
// for each request, in the order in which they were sent:
//
//	input_lens       input tokens
//	output_lens      output tokens: the server's usage, else the tool's own tokenizer's
//	ttfts            seconds until the first event that the tool takes for a token
//	itls             a list: seconds between such events
//	e2els            seconds until the end (TensorRT-LLM); latencies (vLLM since 2026)
//	start_times      perf_counter when it was sent, in seconds (vLLM since the end of 2025)
//	queue_times      seconds that it had waited for --max-concurrency (vLLM since 2026)
//	errors           "" where there was none
//	generated_texts  not read
//
// Which event is a token differs: see package peers. A request with an error failed, and
// so did one with neither a first token nor output. Where neither e2els nor latencies is
// there, the last token is the end: ttft and all of itls. SGLang's requests end later, with
// [DONE], so that its e2e latency is not in its file. A column that is shorter or longer
// than the others is a fault.
//
// Of several kinds of event only that they are tokens is known: all are given as content.
// Where TensorRT-LLM's request ends after its last token, the end is given as the usage,
// which is what its e2el counts.
//
// # Time
//
// perf_counter is CLOCK_MONOTONIC on Linux: start_times are seconds since the boot of the
// client's host, which is not named. [Steady] results can be joined to a recording of that
// boot, if the user says that it is. Values above a billion are no time since a boot, but
// Unix time, which some descendants write ([Wall]). Without start_times it is not known
// when any request was sent ([Unplaced]): all of a run are given as sent at its start,
// which nothing may be concluded from but counts, latencies and, with duration, rates.
// InferenceX and sa-bench write benchmark_start_time_unix and benchmark_end_time_unix, of the
// wall clock. Where the end comes after the start and there are no start_times the result is
// [Framed]: from when to when all of it was is known, and no more of single requests. Beside
// them duration is of a monotonic clock; where both differ by more than half a second and
// 1 % a note says so. A window that is no such is a note, and not used.
//
// date is when the file was written, to a second, in a local time that is not named. It
// is not used.
//
// # Figures
//
// The numbers of the result that are no arguments are stated figures, as they stand:
// duration, completed, the totals, rates and latencies, "request_goodput:" with its colon,
// and TensorRT-LLM's energy: total_energy_j, output_tps_per_w, total_gpu_power_w. Totals
// are whole numbers up to 2^40. How many requests failed is what is left of num_prompts,
// where the result does not say it.
//
// # Memory
//
// The file is read once for its columns but itls and generated_texts, of which about 60
// bytes a request are held; and once more each time that requests are read, for itls, of
// which one request's are held. The longest text is held for as long as it is passed over.
//
// Sources: vllm/benchmarks/serve.py and lib/endpoint_request_func.py (at 009e6d4a),
// tensorrt_llm/serve/scripts/benchmark_serving.py (at 0228a712),
// python/sglang/benchmark/serving.py (at 00f9ec47).
package benchserve
