// Package report writes reduce.Report: as the JSON document
// wattrace.report/1, as text for a terminal, as Markdown and as CSV.
//
// The JSON document is the report; every other form is a rendering of it. The CSV
// form is long: a row for each figure, by phase, device, metric and statistic.
// testdata/example.json is a whole one. Its spine:
//
//	{"schema": "wattrace.report/1",
//	 "producer": "wattrace 0.1.0",
//	 "inputs": [{"path": "requests.jsonl", "schema": "wattrace.requests/1", "sha256": "..."}],
//	 "runs": [{"trace": {"path": "trace.jsonl", "sha256": "...", "turns": 200}, "plan": {"schema": "wattrace.plan/1", ...}, "overlays": [...], "targets": [...]}],
//	 "devices": [{"device": "GPU-...", "device_index": 0, "name": "...", "driver": "580.95.05", "sensor": {"model_gain": 0.05, "unit_gain": 0.015, "zero_watts": 5}}],
//	 "warnings": [{"code": "not_bracketed", "message": "...", "phase": "profiling", "device": "GPU-..."}],
//	 "phases": [{
//	   "name": "profiling", "kind": "measure",
//	   "start": "2026-05-28T20:26:40.000000000Z", "end": "...", "duration_seconds": 28.1,
//	   "concurrency": 64,
//	   "requests": {"sent": 200, "succeeded": 200, "failed": 0, "cancelled": 0},
//	   "tokens": {"input": 162400, "output": 25600},
//	   "devices": {"expected": 4, "seen": 4, "missing": []},
//	   "metrics": {
//	     "total_gpu_energy": {"value": 51432.25, "unit": "J", "method": "counter, change-points",
//	                          "devices_covered": 4, "uncertainty": {"random": 6.1, "systematic": 2577.4}},
//	     "time_to_first_token": {"unit": "s", "mean": ..., "min": ..., "p1": ..., "p5": ..., "p10": ..., "p25": ...,
//	                             "p50": ..., "p75": ..., "p90": ..., "p95": ..., "p99": ..., "max": ..., "std": ..., "count": 200}},
//	   "per_device": [{"device": "GPU-...", "device_index": 0, "scope": "gpu", "name": "...", "coverage": 1, "metrics": {...}}],
//	   "roles": [{"role": "decode", "devices": {...}, "metrics": {...}}],
//	   "other_tools": [{"tool": "aiperf", "figures": [{"name", "unit", "value", "formula"}], "explanation": {...}}],
//	   "windows": [{"name": "steady", "kind": "window", ...}, {"name": "1", ...}]}],
//	 "attribution": {"mode": "fitted", ...}}
//
// report.schema.json is a JSON Schema of the document (draft 2020-12), generated
// from the Go types by make schema. Keys may be added to the document, so that the
// schema of one version accepts what a later one writes.
//
// # Rules
//
//   - Units are SI, spelled in "unit". Instants are RFC 3339 in UTC with nine
//     digits. Numbers are the shortest decimals that give the double back.
//   - A metric is one number (value, unit, method, devices_covered,
//     uncertainty) or a distribution (unit, mean, ..., count). Percentiles are
//     of type 7 (Hyndman and Fan 1996; numpy's default); std is the population's.
//     Of gaps between events, which are too many to keep, they are taken from a
//     histogram of a fixed layout (package reduce/histogram), within 0.4 %; its
//     buckets are in the document, so that those of several reports can be added up.
//   - uncertainty has two standard uncertainties, in the metric's unit: random,
//     which another run would draw anew, and systematic, which it would repeat.
//     They are independent; the ± of the text form is
//     1.96*sqrt(random^2+systematic^2), an interval of about 95 %. A count
//     has none.
//   - enclosure holds an energy for certain as far as the counter is right;
//     clock_range is what a figure would be if the clocks of the files, and the marks that
//     a phase's ends come from, were off by what is not known of them; bounds are what other models say of a figure
//     that is modelled.
//   - load is absent for a closed loop, where a request is due when an earlier one has
//     ended; open is a schedule, and open_gated one with a ceiling, at which requests
//     waited. The latencies from the scheduled time come first then.
//   - Windows are the parts of a phase that follow from its load (ramp, steady,
//     drain), where there are such, and then its slices, named by numbers from 1.
//   - A metric that cannot be had is absent, and a warning says why. Nothing
//     is null, NaN or infinite, and nothing unknown is 0.
//   - Phases with kinds other than "window" partition the run. A recording
//     without a request log has the phases of its marks, without requests and tokens; one
//     without marks is one phase "recording" of kind "recording".
//   - runs is how the requests of each run were made, as its log says, and devices what the
//     recordings say of each device: what has to be the same where reports are compared.
//     sensor holds the standard uncertainties that uncertainty.systematic is made from.
//   - lost_rows of an input are rows that its recorder could not keep; hole warnings say
//     in which phases.
//
// # Metrics
//
// The tags of record are total_gpu_power (W), total_gpu_energy (J),
// output_tokens_per_joule (tokens/J) and energy_per_user (J/user). Every tag is
// defined, with its formula, beside the code that computes it in package reduce.
//
// History: 1 is the first. Since then came, all optional, the keys runs and devices.
package report
