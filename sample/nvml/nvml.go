//go:build linux && cgo

package nvml

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"wattrace/sample"
	"wattrace/trace"
)

// Source reads GPUs of the host. Different units may be read at once.
type Source struct {
	api     nvml.Interface
	have    functions
	info    sample.Info
	gpus    []*gpu          // each a unit
	devices []sample.Device // of all units, in order

	// calls is held for reading in every call of NVML, and for writing while
	// it is shut down and initialised. It is only ever tried: a call that does
	// not return must hold up no other GPU.
	calls    sync.RWMutex
	epoch    int // how often NVML was initialised anew; handles are of one; guarded by calls, as are the next
	closed   bool
	reopened time.Time     // when that was last
	set      nvml.EventSet // of the one feed of events, which alone sets it under a read lock; nil is none

	reopening atomic.Bool    // someone waits to hold calls alone: who holds it for long lets go
	returned  atomic.Int64   // how often a GPU, or NVML, came back
	seekers   sync.WaitGroup // look for lost GPUs
}

var _ sample.Source = (*Source)(nil)

// gpu is one GPU with its scopes. Only the thread that reads it uses it, with
// Source.calls held, but for what says otherwise.
type gpu struct {
	sample.Device // of scope GPU; constant
	handle        nvml.Device
	epoch         int         // what Source.epoch was at handle
	lost          nvml.Return // why there is no handle; SUCCESS if there is
	worked        bool        // the handle has been good

	scopes []scope           // that of the GPU comes first; constant
	fields []nvml.FieldValue // of the fast call, reused
	slow   slowSet
	gpm    gpm

	down    atomic.Bool  // the latest reading found the GPU lost
	sought  time.Time    // when it was last looked for
	seeking atomic.Bool  // it is being looked for
	found   chan foundAs // what came of that
}

// foundAs is a handle of a GPU that was lost.
type foundAs struct {
	handle nvml.Device
	epoch  int
}

// functions says which optional functions the library has.
type functions struct {
	fieldValues, totalEnergy, powerUsage, enforcedLimit                    bool
	utilization, memory, temperature, clock, eventReasons, throttleReasons bool
	pciInfo, architecture, migMode, driverVersion, nvmlVersion             bool
	handleByUUID, boardOfInstance, mps, gpm, profiles, events              bool
	applicationsClock, defaultApplicationsClock, maxClock                  bool
}

// Open loads NVML and finds the GPUs. A GPU that cannot be opened is a device
// all the same, whose readings all fail: a missing one should be seen.
func Open(o Options) (*Source, error) {
	library := o.Library
	if library == "" {
		library = "libnvidia-ml.so.1"
	}
	if err := checkLibrary(library); err != nil {
		return nil, err
	}
	api := nvml.New(nvml.WithLibraryPath(library))
	if ret := api.Init(); ret != nvml.SUCCESS {
		return nil, &Error{"nvmlInit", codeName(ret)}
	}
	s := &Source{api: api, have: lookUp(api)}
	if err := s.find(&o); err != nil {
		api.Shutdown()
		return nil, err
	}
	return s, nil
}

// find opens the GPUs that are chosen.
func (s *Source) find(o *Options) error {
	s.info = sample.Info{Source: sample.NVML, API: "NVML"}
	if s.have.driverVersion {
		if v, ret := s.api.SystemGetDriverVersion(); ret == nvml.SUCCESS {
			s.info.Driver = text(v)
		}
	}
	if s.have.nvmlVersion {
		if v, ret := s.api.SystemGetNVMLVersion(); ret == nvml.SUCCESS {
			s.info.API = "NVML " + text(v)
		}
	}
	n, ret := s.api.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return &Error{"nvmlDeviceGetCount", codeName(ret)}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	inventory := Inventory{Board: s.board}
	for i := range n {
		g := s.identify(i, host)
		s.gpus = append(s.gpus, g)
		inventory.GPUs = append(inventory.GPUs, g.Device)
	}
	if o.Choose != nil {
		chosen, err := o.Choose(inventory)
		if err != nil {
			return err
		}
		all := s.gpus
		s.gpus = nil
		for _, i := range slices.Sorted(slices.Values(chosen)) {
			s.gpus = append(s.gpus, all[i])
		}
	}
	root := o.Root
	if root == "" {
		root = "/"
	}
	for _, g := range s.gpus {
		s.open(g, root)
		for _, sc := range g.scopes {
			s.devices = append(s.devices, sc.device)
		}
	}
	s.info.Metrics = s.metrics()
	return nil
}

// checkLibrary loads the library and makes sure that it has what Open and
// Close call without looking. It stays loaded: go-nvml loads it once more.
func checkLibrary(path string) error {
	lib := dl.New(path, dl.RTLD_LAZY|dl.RTLD_GLOBAL)
	if err := lib.Open(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoLibrary, err) // the linker's error names the file
	}
	for _, names := range [][]string{
		{"nvmlInit", "nvmlInit_v2"},
		{"nvmlShutdown"},
		{"nvmlDeviceGetCount", "nvmlDeviceGetCount_v2"},
		{"nvmlDeviceGetHandleByIndex", "nvmlDeviceGetHandleByIndex_v2"},
		{"nvmlDeviceGetName"},
		{"nvmlDeviceGetUUID"},
	} {
		if !slices.ContainsFunc(names, func(name string) bool { return lib.Lookup(name) == nil }) {
			return fmt.Errorf("%w: %s has no function %s", ErrNoLibrary, path, names[0])
		}
	}
	return nil
}

func lookUp(api nvml.Interface) functions {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return api.Extensions().LookupSymbol(name) == nil })
	}
	return functions{
		fieldValues:     has("nvmlDeviceGetFieldValues"),
		totalEnergy:     has("nvmlDeviceGetTotalEnergyConsumption"),
		powerUsage:      has("nvmlDeviceGetPowerUsage"),
		enforcedLimit:   has("nvmlDeviceGetEnforcedPowerLimit"),
		utilization:     has("nvmlDeviceGetUtilizationRates"),
		memory:          has("nvmlDeviceGetMemoryInfo"),
		temperature:     has("nvmlDeviceGetTemperature"),
		clock:           has("nvmlDeviceGetClockInfo"),
		eventReasons:    has("nvmlDeviceGetCurrentClocksEventReasons"),
		throttleReasons: has("nvmlDeviceGetCurrentClocksThrottleReasons"),
		// go-nvml takes the newest of these that is there.
		pciInfo:         has("nvmlDeviceGetPciInfo", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo_v3"),
		architecture:    has("nvmlDeviceGetArchitecture"),
		migMode:         has("nvmlDeviceGetMigMode"),
		driverVersion:   has("nvmlSystemGetDriverVersion"),
		nvmlVersion:     has("nvmlSystemGetNVMLVersion"),
		handleByUUID:    has("nvmlDeviceGetHandleByUUID"),
		boardOfInstance: has("nvmlDeviceGetDeviceHandleFromMigDeviceHandle"),
		mps: has("nvmlDeviceGetMPSComputeRunningProcesses", "nvmlDeviceGetMPSComputeRunningProcesses_v2",
			"nvmlDeviceGetMPSComputeRunningProcesses_v3"),
		gpm: has("nvmlGpmQueryDeviceSupport") && has("nvmlGpmSampleAlloc") && has("nvmlGpmSampleFree") &&
			has("nvmlGpmSampleGet") && has("nvmlGpmMetricsGet"),
		profiles:                 has("nvmlDeviceWorkloadPowerProfileGetCurrentProfiles"),
		applicationsClock:        has("nvmlDeviceGetApplicationsClock"),
		defaultApplicationsClock: has("nvmlDeviceGetDefaultApplicationsClock"),
		maxClock:                 has("nvmlDeviceGetMaxClockInfo"),
		events: has("nvmlEventSetCreate") && has("nvmlEventSetFree") && has("nvmlDeviceRegisterEvents") &&
			has("nvmlDeviceGetSupportedEventTypes") && has("nvmlEventSetWait", "nvmlEventSetWait_v2"),
	}
}

var architectures = map[nvml.DeviceArchitecture]string{
	nvml.DEVICE_ARCH_KEPLER: "kepler", nvml.DEVICE_ARCH_MAXWELL: "maxwell", nvml.DEVICE_ARCH_PASCAL: "pascal",
	nvml.DEVICE_ARCH_VOLTA: "volta", nvml.DEVICE_ARCH_TURING: "turing", nvml.DEVICE_ARCH_AMPERE: "ampere",
	nvml.DEVICE_ARCH_ADA: "ada", nvml.DEVICE_ARCH_HOPPER: "hopper", nvml.DEVICE_ARCH_BLACKWELL: "blackwell",
	nvml.DEVICE_ARCH_RUBIN: "rubin",
}

// identify finds out who a GPU is, and no more. What it does not tell stays
// unknown.
func (s *Source) identify(index int, host string) *gpu {
	g := &gpu{
		Device: sample.Device{
			ID: fmt.Sprintf("%s:%s:%d", sample.NVML, host, index), Host: host, Index: index,
			Source: sample.NVML, Scope: sample.ScopeGPU, RawScope: nvml.POWER_SCOPE_GPU, Driver: s.info.Driver,
		},
		found: make(chan foundAs, 1),
	}
	g.handle, g.lost = s.api.DeviceGetHandleByIndex(index)
	if g.lost != nvml.SUCCESS {
		return g
	}
	if uuid, ret := g.handle.GetUUID(); ret == nvml.SUCCESS && uuid != "" {
		g.UUID = text(uuid)
		g.ID = g.UUID
	}
	if name, ret := g.handle.GetName(); ret == nvml.SUCCESS {
		g.Name = text(name)
		g.Simulated = strings.Contains(strings.ToLower(name), "simulated")
	}
	if s.have.pciInfo {
		if pci, ret := g.handle.GetPciInfo(); ret == nvml.SUCCESS {
			g.PCIBusID = busID(pci)
		}
	}
	return g
}

// open finds out what a GPU can be asked.
func (s *Source) open(g *gpu, root string) {
	g.slow.probing = true
	if g.lost != nvml.SUCCESS {
		g.scopes = []scope{{device: g.Device}}
		return
	}
	if s.have.architecture {
		if a, ret := g.handle.GetArchitecture(); ret == nvml.SUCCESS {
			g.Architecture = architectures[a]
		}
	}
	if s.have.migMode {
		if current, _, ret := g.handle.GetMigMode(); ret == nvml.SUCCESS {
			g.MIG = current == nvml.DEVICE_MIG_ENABLE
		}
	}
	if s.have.mps {
		processes, ret := g.handle.GetMPSComputeRunningProcesses()
		g.MPS = ret == nvml.SUCCESS && len(processes) > 0
	}
	g.Clocks = s.clocks(g.handle)
	s.openScopes(g, root)
	s.openSlow(g)
}

// clocks reads the settings of a GPU's clocks. NVML has no call for the range that
// nvidia-smi -lgc and -lmc lock them to, and no field: only setting and resetting it. From
// CUDA 13 on the application clocks are deprecated, and CUDA 14 is to be without them.
func (s *Source) clocks(handle nvml.Device) (c sample.Clocks) {
	for _, call := range []struct {
		have       bool
		get        func(nvml.ClockType) (uint32, nvml.Return)
		sm, memory *trace.Opt[float64]
	}{
		{s.have.applicationsClock, handle.GetApplicationsClock, &c.ApplicationSM, &c.ApplicationMemory},
		{s.have.defaultApplicationsClock, handle.GetDefaultApplicationsClock, &c.DefaultSM, &c.DefaultMemory},
		{s.have.maxClock, handle.GetMaxClockInfo, &c.MaxSM, &c.MaxMemory},
	} {
		if !call.have {
			continue
		}
		for clock, to := range map[nvml.ClockType]*trace.Opt[float64]{nvml.CLOCK_SM: call.sm, nvml.CLOCK_MEM: call.memory} {
			if megahertz, ret := call.get(clock); ret == nvml.SUCCESS && megahertz > 0 {
				*to = trace.Some(float64(megahertz) * 1e6)
			}
		}
	}
	return c
}

// board finds the GPU that holds a MIG instance.
func (s *Source) board(uuid string) (int, bool) {
	if !s.have.handleByUUID || !s.have.boardOfInstance {
		return 0, false
	}
	instance, ret := s.api.DeviceGetHandleByUUID(uuid)
	if ret != nvml.SUCCESS {
		return 0, false
	}
	board, ret := instance.GetDeviceHandleFromMigDeviceHandle()
	if ret != nvml.SUCCESS {
		return 0, false
	}
	of, ret := board.GetUUID()
	if ret != nvml.SUCCESS {
		return 0, false
	}
	i := slices.IndexFunc(s.gpus, func(g *gpu) bool { return g.UUID == text(of) })
	return i, i >= 0
}

// renumbered reports whether the GPU may support a field above 250 that its
// driver knows by another number.
func (s *Source) renumbered(g *gpu) bool {
	major, _, _ := strings.Cut(s.info.Driver, ".")
	n, err := strconv.Atoi(major)
	known := g.Architecture != "" && g.Architecture != "blackwell" && g.Architecture != "rubin"
	return !known && (err != nil || n < 580)
}

// busID returns the long form, which only newer drivers fill in, else the
// legacy one.
func busID(pci nvml.PciInfo) string {
	for _, chars := range [][]int8{pci.BusId[:], pci.BusIdLegacy[:]} {
		var b []byte
		for _, c := range chars {
			if c == 0 {
				break
			}
			b = append(b, byte(c))
		}
		if len(b) > 0 {
			return text(string(b))
		}
	}
	return ""
}

// text makes sure that what a library wrote can go into a file.
func text(s string) string { return strings.ToValidUTF8(s, "?") }

// Info describes the driver and the library.
func (s *Source) Info() sample.Info { return s.info }

// metrics lists what a reading of the GPUs may hold.
func (s *Source) metrics() []sample.MetricID {
	may := [sample.NumMetrics]bool{sample.PowerWatts: true, sample.XIDError: s.have.events}
	for _, f := range fastFields {
		may[f.metric] = true
	}
	for _, g := range s.gpus {
		for _, m := range slowMetrics() {
			may[m] = may[m] || !g.slow.skip[m]
		}
	}
	var all []sample.MetricID
	for id := range sample.NumMetrics {
		if may[id] {
			all = append(all, id)
		}
	}
	return all
}

// Devices lists the GPUs in NVML's order, each followed by its other scopes.
func (s *Source) Devices() []sample.Device { return slices.Clone(s.devices) }

// Units has the scopes of each GPU together.
func (s *Source) Units() [][]int {
	var units [][]int
	at := 0
	for _, g := range s.gpus {
		unit := sample.Together(len(g.scopes))[0]
		for k := range unit {
			unit[k] += at
		}
		at += len(unit)
		units = append(units, unit)
	}
	return units
}

// Close lets go of NVML, unless a call to it does not return.
func (s *Source) Close() error {
	if !s.alone() {
		return &Error{"nvmlShutdown", codeName(nvml.ERROR_TIMEOUT)}
	}
	s.closed = true
	s.letGo()
	ret := s.api.Shutdown()
	s.calls.Unlock()
	s.seekers.Wait()
	if ret != nvml.SUCCESS && ret != nvml.ERROR_UNINITIALIZED {
		return &Error{"nvmlShutdown", codeName(ret)}
	}
	return nil
}
