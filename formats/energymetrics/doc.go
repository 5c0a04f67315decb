// Package energymetrics reads saved answers of trtllm-serve to GET /energy_metrics, which
// it gives with enable_energy_metrics:
//
//	{"total_energy_j": 10512.2031, "query_time": 81234.5021}
//
// total_energy_j is what all GPUs of the server have drawn since its monitor started, in
// joules with 4 decimals; query_time is the server's perf_counter, in seconds. Only
// differences of either mean something: they are of no clock that anybody else has.
//
// A file is one answer, or several one behind the other. Other keys are passed over; an
// answer of an error, {"error": ...}, is no reading, and a fault.
//
// Of a run that was sent between two answers, benchmark_serving publishes
//
//	total_energy_j     the difference of the energies
//	output_tps_per_w   output tokens / total_energy_j
//	total_gpu_power_w  total_energy_j / the difference of the times
//
// Source: pull request 11855 of NVIDIA/TensorRT-LLM, merged in March 2026.
package energymetrics
