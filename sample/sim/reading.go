package sim

// Reading is what a device's sensors show at one instant, in the units and
// the integer types that NVML gives. It is what [Source] turns into a row and
// what the stub of libnvidia-ml serves.
type Reading struct {
	EnergyMillijoules        uint64 // field 83: cumulative, floor of the joules at the latest counter tick
	PowerInstantMilliwatts   uint32 // field 186: mean over the sensor's window before the latest tick
	PowerAverageMilliwatts   uint32 // field 185: mean over about one second; 0 where the architecture has no such field
	PowerLimitMilliwatts     uint32 // field 190: enforced limit
	GPUUtilizationPercent    uint32 // share of the utilisation period in which work ran
	MemoryUtilizationPercent uint32 // share in which memory was busy
	MemoryUsedBytes          uint64 // weights and cache
	MemoryTotalBytes         uint64
	TemperatureCelsius       uint32 // GPU die
	SMClockMegahertz         uint32
	MemoryClockMegahertz     uint32
	ClockEventReasons        uint64 // NVML's bits
}
