package sample

// MetricID names a metric by its place in [Metrics].
type MetricID uint8

// The metrics. Their order is the order of the columns in a recording; new
// ones go to the end.
const (
	PowerWatts MetricID = iota
	PowerInstantWatts
	PowerAverageWatts
	EnergyJoules
	GPUUtilization
	MemoryUtilization
	MemoryUsedBytes
	TemperatureCelsius
	SMClockHertz
	MemoryClockHertz
	PowerLimitWatts
	ClockEventReasons
	MemoryTemperatureCelsius
	PowerCapSeconds
	SoftwareThermalSeconds
	HardwareThermalSeconds
	PowerBrakeSeconds
	PCIeSentBytes
	PCIeReceivedBytes
	NVLinkSentBytes
	NVLinkReceivedBytes
	ECCCorrectedErrors
	ECCUncorrectedErrors
	GraphicsActivity
	SMActivity
	SMOccupancy
	TensorActivity
	DRAMActivity
	PowerSmoothing
	WorkloadProfiles
	XIDError
	RequestsRunning
	RequestsWaiting
	KVCacheUtilization
	PromptTokens
	GenerationTokens
	NumMetrics
)

// Kind says how the values of a metric relate over time.
type Kind string

// The kinds.
const (
	Gauge   Kind = "gauge"   // a value of its own at each reading
	Counter Kind = "counter" // a total that grows, and falls only when it is reset
	Mask    Kind = "mask"    // a bit mask
	Event   Kind = "event"   // set only in the row of an event, null in all others
)

// Type is the type of a metric's column.
type Type string

// The types: float64 for SI quantities, uint64 for counts, bytes and bit masks.
const (
	Float64 Type = "float64"
	Uint64  Type = "uint64"
)

// Metric describes one metric: the name of its column, its unit, and the kind
// of its values.
type Metric struct {
	Name string
	Unit string // UCUM-like: W, J, s, By, Cel, Hz, 1 for a ratio, "" for a mask
	Kind Kind
	Type Type
	Slow bool // read at the slow interval
	Doc  string
}

// Metrics is the one table of metrics, by MetricID. The figures that NVML
// gives in mW and mJ are watts and joules here: x/1000. Rounding 1000 times
// that gives x back up to 2^42 of the large unit, which is more than a kilowatt
// for a century.
var Metrics = [NumMetrics]Metric{
	PowerWatts:         {"power_watts", "W", Gauge, Float64, false, "the device's headline power: the average field where there is one, else the instant field"},
	PowerInstantWatts:  {"power_instant_watts", "W", Gauge, Float64, false, "power over the sensor's own short window (NVML field 186)"},
	PowerAverageWatts:  {"power_average_watts", "W", Gauge, Float64, false, "power averaged by the device over about one second (NVML field 185)"},
	EnergyJoules:       {"energy_joules", "J", Counter, Float64, false, "energy since the driver was loaded (NVML field 83; of scope module 191)"},
	GPUUtilization:     {"gpu_utilization", "1", Gauge, Float64, true, "share of the device's own sample period in which a kernel ran"},
	MemoryUtilization:  {"memory_utilization", "1", Gauge, Float64, true, "share of the device's own sample period in which memory was read or written"},
	MemoryUsedBytes:    {"memory_used_bytes", "By", Gauge, Uint64, true, "device memory in use"},
	TemperatureCelsius: {"temperature_celsius", "Cel", Gauge, Float64, true, "temperature of the GPU die"},
	SMClockHertz:       {"sm_clock_hertz", "Hz", Gauge, Float64, true, "clock of the streaming multiprocessors"},
	MemoryClockHertz:   {"memory_clock_hertz", "Hz", Gauge, Float64, true, "clock of the memory"},
	PowerLimitWatts:    {"power_limit_watts", "W", Gauge, Float64, false, "power limit in force (NVML field 190)"},
	ClockEventReasons:  {"clock_event_reasons", "", Mask, Uint64, true, "why clocks are held down: NVML's bits, raw"},

	MemoryTemperatureCelsius: {"memory_temperature_celsius", "Cel", Gauge, Float64, true, "temperature of the memory (NVML field 82)"},

	// Time for which clocks were held down, since the driver was loaded.
	PowerCapSeconds:        {"power_cap_seconds", "s", Counter, Float64, true, "time at the software power cap (NVML field 74)"},
	SoftwareThermalSeconds: {"software_thermal_seconds", "s", Counter, Float64, true, "time in software thermal slowdown (NVML field 269)"},
	HardwareThermalSeconds: {"hardware_thermal_seconds", "s", Counter, Float64, true, "time in hardware thermal slowdown (NVML field 270)"},
	PowerBrakeSeconds:      {"power_brake_seconds", "s", Counter, Float64, true, "time under an external power brake (NVML field 271)"},

	PCIeSentBytes:        {"pcie_sent_bytes", "By", Counter, Uint64, true, "bytes that the device sent over PCIe (NVML field 197); may wrap"},
	PCIeReceivedBytes:    {"pcie_received_bytes", "By", Counter, Uint64, true, "bytes that it received over PCIe (NVML field 198); may wrap"},
	NVLinkSentBytes:      {"nvlink_sent_bytes", "By", Counter, Uint64, true, "payload bytes sent over all NVLinks (NVML field 138)"},
	NVLinkReceivedBytes:  {"nvlink_received_bytes", "By", Counter, Uint64, true, "payload bytes received over all NVLinks (NVML field 139)"},
	ECCCorrectedErrors:   {"ecc_corrected_errors", "1", Counter, Uint64, true, "memory errors corrected since the driver was loaded (NVML field 3)"},
	ECCUncorrectedErrors: {"ecc_uncorrected_errors", "1", Counter, Uint64, true, "memory errors detected and not corrected since the driver was loaded (NVML field 4)"},

	// Shares of the time since the reading before: NVML's GPM, DCGM's profiling fields.
	GraphicsActivity: {"graphics_activity", "1", Gauge, Float64, true, "share of time in which a compute or graphics engine was active (GPM 1, DCGM 1001)"},
	SMActivity:       {"sm_activity", "1", Gauge, Float64, true, "share of cycles in which a multiprocessor had a warp, mean over all (GPM 2, DCGM 1002)"},
	SMOccupancy:      {"sm_occupancy", "1", Gauge, Float64, true, "resident warps as a share of the most that fit (GPM 3, DCGM 1003)"},
	TensorActivity:   {"tensor_activity", "1", Gauge, Float64, true, "share of cycles in which a tensor pipe was active (GPM 5, DCGM 1004)"},
	DRAMActivity:     {"dram_activity", "1", Gauge, Float64, true, "share of the peak memory bandwidth in use (GPM 10, DCGM 1005)"},

	PowerSmoothing:   {"power_smoothing", "", Mask, Uint64, true, "power smoothing of Blackwell: bit 0 enabled (NVML field 251), bit 1 the recorder may set it (252), bits 8 to 15 the active preset profile (264), 255 where that is unknown"},
	WorkloadProfiles: {"workload_profiles", "", Mask, Uint64, true, "the first 64 of the workload power profiles in force, a bit each (nvmlDeviceWorkloadPowerProfileGetCurrentProfiles)"},
	XIDError:         {"xid_error", "", Event, Uint64, false, "XID of a critical error of the driver, at its time"},

	// Of scope server.
	RequestsRunning:    {"requests_running", "1", Gauge, Float64, true, "requests that the server has in its batch"},
	RequestsWaiting:    {"requests_waiting", "1", Gauge, Float64, true, "requests in the server's queue"},
	KVCacheUtilization: {"kv_cache_utilization", "1", Gauge, Float64, true, "share of the KV cache in use"},
	PromptTokens:       {"prompt_tokens", "1", Counter, Uint64, true, "prompt tokens processed since the server began"},
	GenerationTokens:   {"generation_tokens", "1", Counter, Uint64, true, "tokens generated since the server began"},
}

func (id MetricID) String() string { return Metrics[id].Name }

// MetricByName finds a metric by the name of its column.
func MetricByName(name string) (MetricID, bool) {
	for id := range NumMetrics {
		if Metrics[id].Name == name {
			return id, true
		}
	}
	return 0, false
}
