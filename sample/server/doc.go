// Package server reads what an inference server says of itself: vLLM, SGLang and
// TensorRT-LLM's trtllm-serve. Its one device is the server, of scope server.
//
//	                      vllm:                                        sglang:                  trtllm_
//	requests_running      num_requests_running                         num_running_reqs         num_requests_running
//	requests_waiting      num_requests_waiting                         num_queue_reqs           num_requests_waiting
//	kv_cache_utilization  kv_cache_usage_perc, gpu_cache_usage_perc    token_usage              kv_cache_utilization
//	prompt_tokens         prompt_tokens_total                          prompt_tokens_total      prompt_tokens_total
//	generation_tokens     generation_tokens_total                      generation_tokens_total  generation_tokens_total
//
// A name may have a colon or an underscore after its first word, as the servers have
// had over time, and a counter may lack _total. Where there are several series, as of a server with
// several engines, counts and counters are added up; of the key-value cache's share
// it is the mean, which of engines of one size is the share of all. Of SGLang's
// ranks that work on the same requests (tp_rank, pp_rank) the first is read alone,
// and of a histogram by priority, which some counts are, the whole.
//
// vLLM counts tokens as they are made, SGLang and trtllm-serve when their request
// has ended.
//
// # trtllm-serve
//
// It has these at /prometheus/metrics, if it was started with return_perf_metrics
// (the gauges: and enable_iter_perf_stats). Its /metrics is a list of iterations
// since somebody last asked: who asks takes them from all others. So it is read only
// if the URL ends in #drain, and gives requests_running, requests_waiting and
// kv_cache_utilization of the latest iteration.
//
// /energy_metrics, if it is there (enable_energy_metrics), is the energy of all GPUs
// since the server's monitor began: energy_joules of scope server, in rows of its
// own, since it is a request of its own. An answer of 503 is a status.
package server
