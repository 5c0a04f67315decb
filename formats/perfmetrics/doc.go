// Package perfmetrics reads what trtllm-serve says of its requests at /perf_metrics, with
// return_perf_metrics and perf_metrics_max_requests; newer servers also write it to
// perf_metrics-*.jsonl (perf_metrics_output_dir).
//
// It is an array of objects, or one object a line:
//
//	{"request_id", "perf_metrics": {"timing_metrics": {...}, "kv_cache_metrics": {...}, ...}, ...}
//	{"disagg_server_arrival_time", "disagg_server_first_token_time",
//	 "ctx_perf_metrics": {as above}, "gen_perf_metrics": {as above}, ...}
//
// the latter of disaggregated serving. The times of timing_metrics are seconds of
// std::chrono::steady_clock, CLOCK_MONOTONIC on Linux: since the boot of the server's host,
// or of the disaggregated server's, which the others know their difference from. The host
// is not named. So it can be joined to a recording of that boot if the user says that it is.
//
//	sent         disagg_server_arrival_time, else server_arrival_time, else arrival_time, of
//	             the prefill server where there are two
//	first token  disagg_server_first_token_time, else server_first_token_time, else
//	             first_token_time of the prefill server
//	last token   last_token_time, of the decode server where there are two; it is the end
//
// All are the server's: what the network and the client add is not in them. A time that is
// 0 or null is unknown; a request without an end or a start is a fault. That a request
// failed is not told, nor how many tokens it had: a server that answers /perf_metrics
// has finished it. The server empties its list when it is read.
//
// first_scheduled_time, when a prefill really began, the blocks of the KV cache and the
// rest of perf_metrics are kept verbatim, as the server_metrics of a request log of ours;
// no figure is made from them.
//
// Sources: tensorrt_llm/serve/openai_server.py and perf_metrics.py, and
// tensorrt_llm/serve/scripts/time_breakdown/README.md.
package perfmetrics
