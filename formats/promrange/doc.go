// Package promrange reads what Prometheus answers to a range query
// (/api/v1/query_range, also of Thanos, Mimir and VictoriaMetrics) for the series of
// exporters of GPUs:
//
//	{"status":"success","data":{"resultType":"matrix","result":[
//	  {"metric":{"__name__":"DCGM_FI_DEV_POWER_USAGE","gpu":"0","UUID":"GPU-...","Hostname":"n1","modelName":"..."},
//	   "values":[[1788000000,"412.3"],[1788000015,"413.1"]]}]}}
//
// Several answers may follow each other, for one query often has one metric:
// cat power.json energy.json | reduce -. They are then one recording.
//
// # Series
//
// Those of dcgm-exporter are found by __name__, and their devices by their labels, as package
// sample/dcgm/fields has them; those of AMD's device metrics exporter are
//
//	gpu_power_usage, gpu_package_power   power_watts
//	gpu_energy_consumed                  energy_joules, of uJ
//	gpu_gfx_activity, gpu_umc_activity   gpu_utilization, memory_utilization, of percent
//	gpu_used_vram                        memory_used_bytes, of MB, which are MiB
//	gpu_junction_temperature, gpu_memory_temperature
//
// with the labels gpu_id, serial_number, card_model and hostname. Other series are left out;
// an answer without one that is known is an error, and so is the answer to an instant query.
// Series of one device and metric whose other labels differ, as when pods come and go, are
// one; where two have a value at one time the first counts. NaN, infinite values, those
// by which DCGM says that there is none, and negative ones are none.
//
// # Time
//
// The stamp t of a value is none of a reading: it is when the range was evaluated,
// start + k*step, and the value is the latest that was scraped in the 5 minutes before (the
// lookback delta), however old. What can be said for certain is: a value that differs from
// the one at the evaluation before was scraped between the two. So a row is made only where
// the power or energy of a GPU of the host differs from the evaluation before, and its Time
// and Took are that interval, or the last 5 minutes of a longer one. A first evaluation makes
// no rows. With a step that is longer than the scrape interval this is wider than need be,
// with a shorter one the rows are as far apart as the scrapes. The page that was scraped may
// itself be up to the exporter's collect interval old (30 s unless told otherwise): nothing
// tells. The stamps are by the clock of the Prometheus server's host.
//
// A mean over such readings is sound over minutes, an edge of a phase is not: query with a step
// no longer than the scrape interval, and record where phases are short.
//
// # Memory
//
// An answer has one series after the other, so that all of it is held until it can be given in the
// order of time: 16 bytes a sample, at most 33,554,432 samples (512 MiB), of which a larger
// answer is refused. The query's max is 11,000 points a series.
//
// Faults are *trace.SyntaxError with line and column; none can be passed over.
package promrange
