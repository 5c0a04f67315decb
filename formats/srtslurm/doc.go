// Package srtslurm reads the power package of srt-slurm, NVIDIA's launcher of serving
// benchmarks on Slurm clusters: what its collector leaves of a run of many hosts, in a
// directory power.
//
//	power/manifest.json    who made it, of which GPUs, and how it went
//	power/samples.csv      the power of every GPU, once a second
//	power/windows/*.json   when each benchmark ran
//
// (Contract srt-slurm.dcgm-power of src/srtctl/core/power, manifests and windows of
// schema_version 1, samples of 1 and 2. InferenceX reads version 1.)
//
// # samples.csv
//
// CSV; its first line has the names of the columns, in any order. Others are left out.
//
//	schema_version   1 or 2; a higher one is refused
//	timestamp_unix   seconds, of the head node's clock, in the middle of the request
//	scrape_seq       number of the scrape
//	hostname, gpu_index, gpu_uuid
//	power_w          power_watts
//	gpu_util_pct     gpu_utilization, of percent; since 2, may be empty
//	sm_active        sm_activity; since 2, may be empty
//
// Power is DCGM's field 155, or of AMD's exporter gpu_power_usage (power_profile
// amd-device-metrics in the manifest).
//
// A GPU is known by its host and index. That its UUID changes, that two have one UUID, that
// a scrape has it twice or that its time goes back are faults of the line.
//
// # Time
//
// The request for a page took at most max_scrape_duration_seconds, and the exporter's page
// was up to its collect interval old (--collect-interval of dcgm_exporter.command, in
// milliseconds). So a reading was made from timestamp_unix - scrape/2 - collect to
// timestamp_unix + scrape/2, which Time and Took say. What the manifest does not say counts
// as 0.
//
// # manifest.json
//
// Of it are read schema_version, producer, unit, power_profile, status, samples_sha256,
// sample_row_count, max_scrape_duration_seconds, sample_interval_seconds,
// dcgm_exporter.command, and of expected_devices hostname, gpu_index and the worker_role
// and worker_index of their assignments: the topology, whose workers are called
// prefill0, decode1, ... GPUs with assignments of several roles are an error. The
// verdict publication_valid is not read: it is a statement about other rules than ours.
//
// samples.csv must have the SHA-256 that the manifest says, if it says one, else the number
// of rows. A status other than complete is a recording that is not whole.
//
// # Windows
//
// A window that is completed is a phase, marked by its benchmark_start_time_unix and
// benchmark_end_time_unix and called by its benchmark_type and concurrency, as
// "sa-bench c64"; one that failed is called so, "sa-bench c64 (failed)". One that was
// interrupted has no end and is a note.
//
// samples.csv alone, without a manifest, is read, too; it has neither topology nor windows.
package srtslurm
