package dcgm

import (
	"math"
	"slices"
	"strings"

	"wattrace/sample"
)

// field is how a metric is called on the page.
type field struct {
	names    []string // without DCGM_FI_
	metric   sample.MetricID
	scale    float64      // the metric's unit in one of the field's
	instance bool         // on a series of a MIG instance it is that instance's
	scope    sample.Scope // of fields of a CPU; "" is a GPU's
}

// fields: of those with one metric the later one counts.
var fields = []field{
	{names: []string{"DEV_POWER_USAGE", "DEV_BOARD_POWER_WATTS"}, metric: sample.PowerWatts, scale: 1},
	{names: []string{"DEV_POWER_USAGE_INSTANT", "DEV_BOARD_POWER_RAW_WATTS"}, metric: sample.PowerInstantWatts, scale: 1},
	{names: []string{"DEV_TOTAL_ENERGY_CONSUMPTION"}, metric: sample.EnergyJoules, scale: 1e-3},
	{names: []string{"DEV_POWER_MGMT_LIMIT", "DEV_BOARD_POWER_LIMIT_REQUESTED_WATTS"}, metric: sample.PowerLimitWatts, scale: 1},
	{names: []string{"DEV_ENFORCED_POWER_LIMIT", "DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS"}, metric: sample.PowerLimitWatts, scale: 1},
	{names: []string{"DEV_GPU_UTIL", "DEV_GPU_UTIL_RATIO"}, metric: sample.GPUUtilization, scale: 1e-2, instance: true},
	{names: []string{"DEV_MEM_COPY_UTIL", "DEV_MEM_COPY_UTIL_RATIO"}, metric: sample.MemoryUtilization, scale: 1e-2, instance: true},
	{names: []string{"DEV_FB_USED"}, metric: sample.MemoryUsedBytes, scale: 1 << 20, instance: true},
	{names: []string{"DEV_GPU_TEMP", "DEV_GPU_TEMP_CELSIUS"}, metric: sample.TemperatureCelsius, scale: 1},
	{names: []string{"DEV_MEMORY_TEMP", "DEV_MEMORY_TEMP_CELSIUS"}, metric: sample.MemoryTemperatureCelsius, scale: 1},
	{names: []string{"DEV_SM_CLOCK"}, metric: sample.SMClockHertz, scale: 1e6},
	{names: []string{"DEV_MEM_CLOCK"}, metric: sample.MemoryClockHertz, scale: 1e6},
	{names: []string{"DEV_CLOCK_THROTTLE_REASONS", "DEV_CLOCKS_EVENT_REASONS"}, metric: sample.ClockEventReasons, scale: 1},
	{names: []string{"DEV_POWER_VIOLATION"}, metric: sample.PowerCapSeconds, scale: 1e-9},
	{names: []string{"DEV_XID_ERRORS", "DEV_XID_ERROR"}, metric: sample.XIDError, scale: 1},
	{names: []string{"DEV_ECC_SBE_VOL_TOTAL"}, metric: sample.ECCCorrectedErrors, scale: 1},
	{names: []string{"DEV_ECC_DBE_VOL_TOTAL"}, metric: sample.ECCUncorrectedErrors, scale: 1},
	{names: []string{"DEV_NVLINK_COUNT_TX_BYTES", "DEV_NVLINK_TX_BYTES_TOTAL"}, metric: sample.NVLinkSentBytes, scale: 1},
	{names: []string{"DEV_NVLINK_COUNT_RX_BYTES", "DEV_NVLINK_RX_BYTES_TOTAL"}, metric: sample.NVLinkReceivedBytes, scale: 1},
	{names: []string{"PROF_GR_ENGINE_ACTIVE", "PROF_GR_ENGINE_UTIL_RATIO"}, metric: sample.GraphicsActivity, scale: 1, instance: true},
	{names: []string{"PROF_SM_ACTIVE", "PROF_SM_UTIL_RATIO"}, metric: sample.SMActivity, scale: 1, instance: true},
	{names: []string{"PROF_SM_OCCUPANCY", "PROF_SM_OCCUPANCY_RATIO"}, metric: sample.SMOccupancy, scale: 1, instance: true},
	{names: []string{"PROF_PIPE_TENSOR_ACTIVE", "PROF_TENSOR_UTIL_RATIO"}, metric: sample.TensorActivity, scale: 1, instance: true},
	{names: []string{"PROF_DRAM_ACTIVE", "PROF_DRAM_UTIL_RATIO"}, metric: sample.DRAMActivity, scale: 1, instance: true},
	{names: []string{"DEV_CPU_POWER_UTIL_CURRENT", "DEV_CPU_POWER_WATTS"}, metric: sample.PowerWatts, scale: 1, scope: sample.ScopeCPURail},
	{names: []string{"DEV_SYSIO_POWER_UTIL_CURRENT"}, metric: sample.PowerWatts, scale: 1, scope: sample.ScopeIORail},
	{names: []string{"DEV_MODULE_POWER_UTIL_CURRENT"}, metric: sample.PowerWatts, scale: 1, scope: sample.ScopeModule},
}

// prefix is what the names of all fields begin with.
const prefix = "DCGM_FI_"

// metrics are those that fields give.
func metrics() []sample.MetricID {
	var list []sample.MetricID
	for _, f := range fields {
		if !slices.Contains(list, f.metric) {
			list = append(list, f.metric)
		}
	}
	slices.Sort(list)
	return list
}

// blank reports whether a value is one of those by which DCGM says that there is
// none (dcgm_structs.h, DCGM_FP64_BLANK and DCGM_INT64_BLANK, with the three above
// each, in doubles). The exporter leaves most of them out.
func blank(v float64) bool {
	const fp64, int64Blank = 1 << 47, 1<<63 - 1024
	return v >= fp64 && v <= fp64+3 || v >= int64Blank
}

// set stores a value in the metric's own type.
func set(row sample.Row, metric sample.MetricID, v float64) {
	if sample.Metrics[metric].Type == sample.Uint64 {
		row.SetUint(metric, uint64(math.Round(v)))
		return
	}
	row.Set(metric, v)
}

// socket is what a sensor of a CPU is on.
func socket(host, cpu string) string { return host + ":socket" + strings.TrimSpace(cpu) }
