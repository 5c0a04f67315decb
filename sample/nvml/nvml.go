//go:build linux && cgo

package nvml

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"wattrace/sample"
)

// Source reads all GPUs of the host. Different devices may be read at once.
type Source struct {
	api     nvml.Interface
	have    functions
	info    sample.Info
	devices []device
}

var _ sample.Source = (*Source)(nil)

// device is one GPU.
type device struct {
	sample.Device
	handle nvml.Device
	lost   nvml.Return       // why there is no handle; SUCCESS if there is
	fields []nvml.FieldValue // of one call, reused
}

// functions says which optional functions the library has.
type functions struct {
	fieldValues, totalEnergy, powerUsage, enforcedLimit                    bool
	utilization, memory, temperature, clock, eventReasons, throttleReasons bool
	pciInfo, architecture, migMode, driverVersion, nvmlVersion             bool
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
	s.info = sample.Info{API: "NVML"}
	if s.have.driverVersion {
		if v, ret := api.SystemGetDriverVersion(); ret == nvml.SUCCESS {
			s.info.Driver = text(v)
		}
	}
	if s.have.nvmlVersion {
		if v, ret := api.SystemGetNVMLVersion(); ret == nvml.SUCCESS {
			s.info.API = "NVML " + text(v)
		}
	}
	n, ret := api.DeviceGetCount()
	if ret != nvml.SUCCESS {
		api.Shutdown()
		return nil, &Error{"nvmlDeviceGetCount", codeName(ret)}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	for i := range n {
		s.devices = append(s.devices, s.open(i, host))
	}
	return s, nil
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
		pciInfo:       has("nvmlDeviceGetPciInfo", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo_v3"),
		architecture:  has("nvmlDeviceGetArchitecture"),
		migMode:       has("nvmlDeviceGetMigMode"),
		driverVersion: has("nvmlSystemGetDriverVersion"),
		nvmlVersion:   has("nvmlSystemGetNVMLVersion"),
	}
}

var architectures = map[nvml.DeviceArchitecture]string{
	nvml.DEVICE_ARCH_KEPLER: "kepler", nvml.DEVICE_ARCH_MAXWELL: "maxwell", nvml.DEVICE_ARCH_PASCAL: "pascal",
	nvml.DEVICE_ARCH_VOLTA: "volta", nvml.DEVICE_ARCH_TURING: "turing", nvml.DEVICE_ARCH_AMPERE: "ampere",
	nvml.DEVICE_ARCH_ADA: "ada", nvml.DEVICE_ARCH_HOPPER: "hopper", nvml.DEVICE_ARCH_BLACKWELL: "blackwell",
	nvml.DEVICE_ARCH_RUBIN: "rubin",
}

// open finds out who a GPU is. What it does not tell stays unknown.
func (s *Source) open(index int, host string) device {
	d := device{Device: sample.Device{
		ID: fmt.Sprintf("%s:%s:%d", sample.NVML, host, index), Host: host, Index: index,
		Source: sample.NVML, Scope: sample.ScopeGPU, RawScope: nvml.POWER_SCOPE_GPU,
	}}
	d.handle, d.lost = s.api.DeviceGetHandleByIndex(index)
	if d.lost != nvml.SUCCESS {
		return d
	}
	if uuid, ret := d.handle.GetUUID(); ret == nvml.SUCCESS && uuid != "" {
		d.UUID = text(uuid)
		d.ID = d.UUID
	}
	if name, ret := d.handle.GetName(); ret == nvml.SUCCESS {
		d.Name = text(name)
		d.Simulated = strings.Contains(strings.ToLower(name), "simulated")
	}
	if s.have.pciInfo {
		if pci, ret := d.handle.GetPciInfo(); ret == nvml.SUCCESS {
			d.PCIBusID = busID(pci)
		}
	}
	if s.have.architecture {
		if a, ret := d.handle.GetArchitecture(); ret == nvml.SUCCESS {
			d.Architecture = architectures[a]
		}
	}
	if s.have.migMode {
		if current, _, ret := d.handle.GetMigMode(); ret == nvml.SUCCESS {
			d.MIG = current == nvml.DEVICE_MIG_ENABLE
		}
	}
	return d
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

// Devices lists the GPUs in NVML's order.
func (s *Source) Devices() []sample.Device {
	all := make([]sample.Device, len(s.devices))
	for i := range s.devices {
		all[i] = s.devices[i].Device
	}
	return all
}

// Close lets go of NVML.
func (s *Source) Close() error {
	if ret := s.api.Shutdown(); ret != nvml.SUCCESS {
		return &Error{"nvmlShutdown", codeName(ret)}
	}
	return nil
}
