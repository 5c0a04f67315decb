// Package guidellmreport reads the report of guidellm, of `guidellm run --output json`
// (benchmarks.json), as a request log.
//
// # The file
//
// One object: metadata (version 2 since 0.8, guidellm_version), config, and benchmarks, a
// list with one for each rate or concurrency of the profile. Of a benchmark are read
//
//	start_time, end_time  Unix seconds: the measured time, without warm-up and cool-down
//	config.strategy       type_; streams or max_concurrency
//	config.prefer_response_metrics  whether tokens are the server's count
//	requests              successful, incomplete and errored: lists, of requests
//	metrics               request_totals; distributions of successful, as stated figures
//
// and of a request
//
//	request_start_time, request_end_time  Unix seconds; else info.timings.request_start, request_end
//	info.timings          first_token_iteration, last_token_iteration (before 0.6
//	                      first_iteration, last_iteration), targeted_start
//	prompt_tokens, output_tokens          null is unknown
//	info.conversation_id, info.turn_index
//
// Texts, arguments and the words of errors are passed over. A request that was never sent
// has no start: it is left out, and [Benchmark.Unsent] counts it. Those that are incomplete
// were given up.
//
// # Time
//
// Instants are doubles of the client's wall clock, 238 ns apart. A request is scheduled when
// it was due (targeted_start) where the strategy is constant or poisson; else when it was
// sent. What guidellm calls its latency ends with the stream.
//
// # Figures
//
// Of the requests that succeeded the means of latencies, tokens and rates, and of latencies
// p50, p95 and p99, are stated, under the names that --as guidellm has: request_latency,
// request_latency.p50, time_to_first_token_ms, ...
//
// # Memory
//
// One request is held at a time; a benchmark's metrics, at most 64 MiB, too.
//
// Sources: src/guidellm/schemas/request_stats.py, info.py and benchmark/schemas of 0.8.1;
// testdata/interop/results has a report.
package guidellmreport
