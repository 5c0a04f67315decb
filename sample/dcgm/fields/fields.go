// Package fields is the table of what DCGM's fields are as metrics, and of how a series of
// a dcgm-exporter names its device; package dcgm says where each is from.
package fields

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"wattrace/sample"
)

// Field is how a metric is called on the page.
type Field struct {
	Names    []string // without DCGM_FI_
	Metric   sample.MetricID
	scale    float64      // the metric's unit in one of the field's
	Instance bool         // on a series of a MIG instance it is that instance's
	scope    sample.Scope // of fields of a CPU; "" is a GPU's
}

// All are the fields: of those with one metric the later one counts.
var All = []Field{
	{Names: []string{"DEV_POWER_USAGE", "DEV_BOARD_POWER_WATTS"}, Metric: sample.PowerWatts, scale: 1},
	{Names: []string{"DEV_POWER_USAGE_INSTANT", "DEV_BOARD_POWER_RAW_WATTS"}, Metric: sample.PowerInstantWatts, scale: 1},
	{Names: []string{"DEV_TOTAL_ENERGY_CONSUMPTION"}, Metric: sample.EnergyJoules, scale: 1e-3},
	{Names: []string{"DEV_POWER_MGMT_LIMIT", "DEV_BOARD_POWER_LIMIT_REQUESTED_WATTS"}, Metric: sample.PowerLimitWatts, scale: 1},
	{Names: []string{"DEV_ENFORCED_POWER_LIMIT", "DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS"}, Metric: sample.PowerLimitWatts, scale: 1},
	{Names: []string{"DEV_GPU_UTIL", "DEV_GPU_UTIL_RATIO"}, Metric: sample.GPUUtilization, scale: 1e-2, Instance: true},
	{Names: []string{"DEV_MEM_COPY_UTIL", "DEV_MEM_COPY_UTIL_RATIO"}, Metric: sample.MemoryUtilization, scale: 1e-2, Instance: true},
	{Names: []string{"DEV_FB_USED"}, Metric: sample.MemoryUsedBytes, scale: 1 << 20, Instance: true},
	{Names: []string{"DEV_GPU_TEMP", "DEV_GPU_TEMP_CELSIUS"}, Metric: sample.TemperatureCelsius, scale: 1},
	{Names: []string{"DEV_MEMORY_TEMP", "DEV_MEMORY_TEMP_CELSIUS"}, Metric: sample.MemoryTemperatureCelsius, scale: 1},
	{Names: []string{"DEV_SM_CLOCK"}, Metric: sample.SMClockHertz, scale: 1e6},
	{Names: []string{"DEV_MEM_CLOCK"}, Metric: sample.MemoryClockHertz, scale: 1e6},
	{Names: []string{"DEV_CLOCK_THROTTLE_REASONS", "DEV_CLOCKS_EVENT_REASONS"}, Metric: sample.ClockEventReasons, scale: 1},
	{Names: []string{"DEV_POWER_VIOLATION"}, Metric: sample.PowerCapSeconds, scale: 1e-9},
	{Names: []string{"DEV_XID_ERRORS", "DEV_XID_ERROR"}, Metric: sample.XIDError, scale: 1},
	{Names: []string{"DEV_ECC_SBE_VOL_TOTAL"}, Metric: sample.ECCCorrectedErrors, scale: 1},
	{Names: []string{"DEV_ECC_DBE_VOL_TOTAL"}, Metric: sample.ECCUncorrectedErrors, scale: 1},
	{Names: []string{"DEV_NVLINK_COUNT_TX_BYTES", "DEV_NVLINK_TX_BYTES_TOTAL"}, Metric: sample.NVLinkSentBytes, scale: 1},
	{Names: []string{"DEV_NVLINK_COUNT_RX_BYTES", "DEV_NVLINK_RX_BYTES_TOTAL"}, Metric: sample.NVLinkReceivedBytes, scale: 1},
	{Names: []string{"PROF_GR_ENGINE_ACTIVE", "PROF_GR_ENGINE_UTIL_RATIO"}, Metric: sample.GraphicsActivity, scale: 1, Instance: true},
	{Names: []string{"PROF_SM_ACTIVE", "PROF_SM_UTIL_RATIO"}, Metric: sample.SMActivity, scale: 1, Instance: true},
	{Names: []string{"PROF_SM_OCCUPANCY", "PROF_SM_OCCUPANCY_RATIO"}, Metric: sample.SMOccupancy, scale: 1, Instance: true},
	{Names: []string{"PROF_PIPE_TENSOR_ACTIVE", "PROF_TENSOR_UTIL_RATIO"}, Metric: sample.TensorActivity, scale: 1, Instance: true},
	{Names: []string{"PROF_DRAM_ACTIVE", "PROF_DRAM_UTIL_RATIO"}, Metric: sample.DRAMActivity, scale: 1, Instance: true},
	{Names: []string{"DEV_CPU_POWER_UTIL_CURRENT", "DEV_CPU_POWER_WATTS"}, Metric: sample.PowerWatts, scale: 1, scope: sample.ScopeCPURail},
	{Names: []string{"DEV_SYSIO_POWER_UTIL_CURRENT"}, Metric: sample.PowerWatts, scale: 1, scope: sample.ScopeIORail},
	{Names: []string{"DEV_MODULE_POWER_UTIL_CURRENT"}, Metric: sample.PowerWatts, scale: 1, scope: sample.ScopeModule},
}

// Prefix is what the names of all fields begin with.
const Prefix = "DCGM_FI_"

// Metrics are those that fields give.
func Metrics() []sample.MetricID {
	var list []sample.MetricID
	for _, f := range All {
		if !slices.Contains(list, f.Metric) {
			list = append(list, f.Metric)
		}
	}
	slices.Sort(list)
	return list
}

// Blank reports whether a value is one of those by which DCGM says that there is
// none (dcgm_structs.h, DCGM_FP64_BLANK and DCGM_INT64_BLANK, with the three above
// each, in doubles). The exporter leaves most of them out.
func Blank(v float64) bool {
	const fp64, int64Blank = 1 << 47, 1<<63 - 1024
	return v >= fp64 && v <= fp64+3 || v >= int64Blank
}

// socket is what a sensor of a CPU is on.
func socket(host, cpu string) string { return host + ":socket" + strings.TrimSpace(cpu) }

// Value returns a value of the field in the metric's unit: divided where that is exact and
// a factor is not.
func (f *Field) Value(v float64) float64 {
	switch f.scale {
	case 1e-2:
		return v / 100
	case 1e-3:
		return v / 1000
	case 1e-9:
		return v / 1e9
	}
	return v * f.scale
}

// Device returns the device that a series of the field is of; false is one that is none of
// ours.
func (f *Field) Device(labels map[string]string, host string) (sample.Device, bool) {
	d := sample.Device{Source: sample.DCGM, Host: first(labels, "Hostname", "hostname", "exported_hostname")}
	d.Host = cmp.Or(d.Host, host)
	d.Driver = labels["DCGM_FI_DRIVER_VERSION"]
	if f.scope != "" {
		cpu := labels["cpu"]
		index, err := strconv.Atoi(cpu)
		if _, core := labels["cpucore"]; err != nil || core {
			return d, false
		}
		d.Scope, d.Index, d.Module = f.scope, index, socket(d.Host, cpu)
		d.ID = fmt.Sprintf("dcgm:%s:cpu%d", d.Host, index)
		return d, true
	}
	index, err := strconv.Atoi(labels["gpu"])
	if err != nil {
		return d, false
	}
	d.Scope, d.Index, d.Name = sample.ScopeGPU, index, first(labels, "modelName", "model_name")
	d.PCIBusID = labels["pci_bus_id"]
	d.MIG = first(labels, "GPU_I_ID", "GPU_I_PROFILE") != ""
	// That of an instance is none of the board.
	if d.UUID = first(labels, "UUID", "uuid", "gpu_uuid"); strings.HasPrefix(d.UUID, "MIG-") {
		d.UUID = ""
	}
	d.ID = cmp.Or(d.UUID, fmt.Sprintf("dcgm:%s:%d", d.Host, index))
	return d, true
}

// first returns the first label of those that a series has.
func first(labels map[string]string, names ...string) string {
	for _, name := range names {
		if v := labels[name]; v != "" {
			return v
		}
	}
	return ""
}
