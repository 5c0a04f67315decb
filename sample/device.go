package sample

import "time"

// Scope is what a sensor covers. Scopes that contain each other are never
// added up.
type Scope string

// The scopes. NVML's own numbers for them stand in Device.RawScope.
const (
	ScopeGPU        Scope = "gpu"         // the GPU board with its memory
	ScopeGPUMemory  Scope = "gpu_memory"  // the memory alone; part of gpu
	ScopeModule     Scope = "module"      // CPU and GPUs of a Grace module; contains gpu
	ScopeCPUPackage Scope = "cpu_package" // a CPU socket
	ScopeCPURail    Scope = "cpu_rail"    // the CPU's own rail; part of cpu_package
	ScopeDRAM       Scope = "dram"        // host memory
	ScopeBoard      Scope = "board"       // a whole board or node
)

// SourceName is the API that readings come from.
type SourceName string

// The sources.
const (
	NVML SourceName = "nvml"
	DCGM SourceName = "dcgm"
)

// Device is what one sensor covers, constant in a recording.
type Device struct {
	ID           string // identity: the UUID, else "source:host:index"
	Host         string // host that the device is in
	Index        int    // the source's number of it, which may change
	Source       SourceName
	Scope        Scope
	RawScope     int    // the source's own number of the scope
	Name         string // product name, as the source says it
	UUID         string // "" where the source has none
	PCIBusID     string // "" where the source has none
	Architecture string // "hopper", "ampere", ...; "" is unknown
	Module       string // identity of the module that it is on, shared by all that is on it; "" is unknown
	MIG          bool   // the board is partitioned
	Simulated    bool   // the device is not real; every report says so
}

// Info is what a source knows about itself, for the head of a recording.
type Info struct {
	Driver       string        // driver version
	API          string        // library and its version
	Interval     time.Duration // wanted time between two readings of the fast metrics
	SlowInterval time.Duration // wanted time between two readings of the slow ones
}
