package sample

import (
	"fmt"
	"strings"
	"time"

	"wattrace/trace"
)

// Scope is what a sensor covers. Scopes that contain each other are never
// added up.
type Scope string

// The scopes. NVML's own numbers for them stand in Device.RawScope.
const (
	ScopeGPU        Scope = "gpu"         // the GPU board with its memory
	ScopeGPUMemory  Scope = "gpu_memory"  // the memory alone; part of gpu
	ScopeModule     Scope = "module"      // CPU and GPUs of a Grace module; contains gpu
	ScopeCPUPackage Scope = "cpu_package" // a CPU socket
	ScopeCPURail    Scope = "cpu_rail"    // the rail of the CPU's cores; part of cpu_package
	ScopeIORail     Scope = "io_rail"     // the rail of the CPU's input and output; part of cpu_package
	ScopeDRAM       Scope = "dram"        // host memory
	ScopeBoard      Scope = "board"       // a whole board or node
	ScopePlatform   Scope = "platform"    // what the host's firmware calls the platform (RAPL psys); contains cpu_package
	ScopeServer     Scope = "server"      // an inference server as it sees itself
	ScopeRun        Scope = "run"         // what the recorder saw: marks
)

// Contains reports whether a sensor of scope s covers what one of scope part
// on the same device, module or host does, as far as that is known of the
// scopes alone. Energies of such two are never added.
func (s Scope) Contains(part Scope) bool {
	for _, p := range parts[s] {
		if p == part || p.Contains(part) {
			return true
		}
	}
	return false
}

var parts = map[Scope][]Scope{
	ScopeBoard:      {ScopeModule, ScopeGPU, ScopePlatform},
	ScopeModule:     {ScopeGPU, ScopeCPUPackage, ScopeDRAM},
	ScopePlatform:   {ScopeCPUPackage, ScopeDRAM},
	ScopeGPU:        {ScopeGPUMemory},
	ScopeCPUPackage: {ScopeCPURail, ScopeIORail},
}

// SourceName is the API that readings come from.
type SourceName string

// The sources.
const (
	NVML      SourceName = "nvml"       // the driver's library
	DCGM      SourceName = "dcgm"       // NVIDIA's Data Center GPU Manager, by its exporter or dcgmi
	NVIDIASMI SourceName = "nvidia-smi" // a pipe or log of that program
	AMDSMI    SourceName = "amd-smi"
	RAPL      SourceName = "rapl"  // running average power limit, by Linux powercap
	HWMon     SourceName = "hwmon" // power sensors of Linux
	VLLM      SourceName = "vllm"  // the metrics of an inference server, by its kind
	SGLang    SourceName = "sglang"
	TRTLLM    SourceName = "trtllm"
	Recorder  SourceName = "record" // the recorder itself: marks
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
	Driver       string // version of the driver that serves it; "" is Info's, or unknown
	Module       string // identity of the module that it is on, shared by all that is on it; "" is unknown
	MIG          bool   // the board is partitioned
	MPS          bool   // processes shared it through NVIDIA's multi-process service when the recording began
	Clocks       Clocks // its settings when the recording began
	Simulated    bool   // the device is not real; every report says so
}

// Clocks are settings of a device's clocks, in hertz. What is unset is unknown: a
// device that has no such setting does not say so of it.
type Clocks struct {
	ApplicationSM     trace.Opt[float64] // what clocks are to be while something runs (nvidia-smi -ac)
	ApplicationMemory trace.Opt[float64]
	DefaultSM         trace.Opt[float64] // what the two are unless somebody sets them
	DefaultMemory     trace.Opt[float64]
	MaxSM             trace.Opt[float64] // the highest that the device can have
	MaxMemory         trace.Opt[float64]
}

// String lists what is set, for people.
func (c Clocks) String() string {
	var list []string
	for _, s := range []struct {
		what  string
		hertz trace.Opt[float64]
	}{
		{"application SM", c.ApplicationSM}, {"application memory", c.ApplicationMemory}, {"default SM", c.DefaultSM},
		{"default memory", c.DefaultMemory}, {"highest SM", c.MaxSM}, {"highest memory", c.MaxMemory},
	} {
		if v, ok := s.hertz.Get(); ok {
			list = append(list, fmt.Sprintf("%s %.0f MHz", s.what, v/1e6))
		}
	}
	return strings.Join(list, ", ")
}

// Info is what a source knows about itself, for the head of a recording.
type Info struct {
	Source       SourceName    // "" in the recordings of a single source
	Driver       string        // driver version
	API          string        // library and its version
	Metrics      []MetricID    // what its devices may have, as far as it can tell; nil is any
	Interval     time.Duration // wanted time between two readings of the fast metrics
	SlowInterval time.Duration // wanted time between two readings of the slow ones
}
