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
	NumMetrics
)

// Kind says how the values of a metric relate over time.
type Kind string

// The kinds.
const (
	Gauge   Kind = "gauge"   // a value of its own at each reading
	Counter Kind = "counter" // a total that grows, and falls only when it is reset
	Mask    Kind = "mask"    // a bit mask
)

// Type is the type of a metric's column.
type Type string

// The types: float64 for SI quantities, uint64 for bytes and bit masks.
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
	EnergyJoules:       {"energy_joules", "J", Counter, Float64, false, "energy since the driver was loaded (NVML field 83)"},
	GPUUtilization:     {"gpu_utilization", "1", Gauge, Float64, true, "share of the device's own sample period in which a kernel ran"},
	MemoryUtilization:  {"memory_utilization", "1", Gauge, Float64, true, "share of the device's own sample period in which memory was read or written"},
	MemoryUsedBytes:    {"memory_used_bytes", "By", Gauge, Uint64, true, "device memory in use"},
	TemperatureCelsius: {"temperature_celsius", "Cel", Gauge, Float64, true, "temperature of the GPU die"},
	SMClockHertz:       {"sm_clock_hertz", "Hz", Gauge, Float64, true, "clock of the streaming multiprocessors"},
	MemoryClockHertz:   {"memory_clock_hertz", "Hz", Gauge, Float64, true, "clock of the memory"},
	PowerLimitWatts:    {"power_limit_watts", "W", Gauge, Float64, false, "power limit in force (NVML field 190)"},
	ClockEventReasons:  {"clock_event_reasons", "", Mask, Uint64, true, "why clocks are held down: NVML's bits, raw"},
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
