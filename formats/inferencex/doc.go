// Package inferencex reads what SemiAnalysis' InferenceX leaves of a run beside the result
// of its benchmark_serving, which package benchserve reads, and the log of power
// (gpu_metrics.csv), which packages nvidiasmi and amdsmi read.
//
// # The aggregate: agg_RESULT.json
//
// One object, made from the result RESULT.json by process_result: what ran (hw, conc, model,
// framework, precision, tp, ep, ...), tput_per_gpu and its kin, and the result's latencies
// in seconds, without _ms in their names. What it has of power since version 2 of its keys:
//
//	power_metric_schema_version  2
//	power_valid                  1, or 0: then none of the following is there
//	avg_power_w, avg_total_gpu_power_w, total_gpu_energy_j          3 decimals
//	joules_per_successful_query, joules_per_input_token,
//	joules_per_output_token, joules_per_total_token                 6 decimals
//	prefill_..., decode_...      of deployments of several hosts
//
// Version 1 has no power_metric_schema_version; there joules_per_* may be of one role. Such
// figures are stated, and never compared: [Aggregate.Version].
//
// # The audit: power_validation_RESULT.json
//
// One object (schema_version 1): power_valid (a boolean), reasons (codes), benchmark_result
// (the path of the result), benchmark_window (start_time_unix, end_time_unix, ...),
// expected_gpu_count, per_gpu_energy_j by the index of the GPU, metrics (all with 6
// decimals), and accumulator_check, null but of AMD. Others are not read.
//
// Numbers are those of Python's json module, which has NaN (package pyjson): such a figure
// is left out. A file is at most 16 MiB.
//
// Sources: utils/process_result.py, and the modules behind its aggregate_power.py.
package inferencex
