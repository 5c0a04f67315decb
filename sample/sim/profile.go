package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// Profile says how the devices of an architecture behave: when their sensors
// update and over which time they look, and how much the board draws.
type Profile struct {
	Name         string // as --arch takes it
	Product      string // product name of the devices; says that they are simulated
	Architecture string // as sample.Device.Architecture

	CounterPeriod time.Duration // between two moves of the energy counter
	PowerPeriod   time.Duration // between two updates of the power fields
	InstantWindow time.Duration // the instant field is the mean over this time before an update
	AverageSpan   time.Duration // least age of the tick that the average field looks back to; 0 is no such field
	TickJitter    time.Duration // an update comes at most this much before or after its due time

	IdleWatts        float64 // drawn at rest with the weights resident
	LimitWatts       float64 // default power limit of the board
	MemoryBytes      uint64
	SMMegahertz      uint32 // of the SM clock when nothing holds it down
	MemoryMegahertz  uint32
	AmbientCelsius   float64       // die temperature of a board that draws nothing
	KelvinPerWatt    float64       // thermal resistance from die to ambient
	ThermalTimeConst time.Duration // of the die's first-order response
}

// Times of the sensors: JimZeyuYang/GPU_Power_Benchmark, Overall_Results.xlsx,
// the data of Yang, Adamek and Armour, "Accurate and Convenient Energy
// Measurements for GPUs" (SC24, arXiv 2312.02741): H100 PCIe update 99 to
// 101 ms, window 21.2 to 24.9 ms; A100 101 ms and 23.9 to 25.4 ms; GA10x and
// Ada 100/100 ms; V100 20 ms and 10.5 to 10.8 ms. That GA100 and Volta have no
// average field is the same source, and nvml.h (fields 185 and 186).
//
// The law of the average field, with its 1.05 s, was found on recordings of
// GA10x beside an external meter; that Ada follows it is assumed. That of Hopper
// is an H100's and an H200's with driver 580 (testdata/hopper), as is the
// counter's 100 ms.
//
// The counter's 100 ms: Zeus and the ML.ENERGY benchmark; Volta's is assumed.
//
// Limits are those of the vendor's data sheets (H100 SXM5, A100 SXM4 80 GB,
// A40, L40S, V100 SXM2 32 GB). Idle powers, clocks and thermal figures are
// plausible, not measured.
const (
	slowTick    = 100 * time.Millisecond
	voltaTick   = 20 * time.Millisecond
	averageSpan = 1050 * time.Millisecond
	hopperSpan  = 950 * time.Millisecond
)

var profiles = []Profile{
	{
		Name: "hopper", Product: "wattrace simulated H100", Architecture: "hopper",
		CounterPeriod: slowTick, PowerPeriod: slowTick, InstantWindow: 25 * time.Millisecond,
		AverageSpan: hopperSpan, TickJitter: 500 * time.Microsecond,
		IdleWatts: 92, LimitWatts: 700, MemoryBytes: 80 << 30, SMMegahertz: 1980, MemoryMegahertz: 2619,
		AmbientCelsius: 27, KelvinPerWatt: 0.058, ThermalTimeConst: 25 * time.Second,
	},
	{
		Name: "ampere-ga100", Product: "wattrace simulated A100", Architecture: "ampere",
		CounterPeriod: slowTick, PowerPeriod: slowTick, InstantWindow: 25 * time.Millisecond,
		TickJitter: 500 * time.Microsecond,
		IdleWatts:  64, LimitWatts: 400, MemoryBytes: 80 << 30, SMMegahertz: 1410, MemoryMegahertz: 1593,
		AmbientCelsius: 27, KelvinPerWatt: 0.09, ThermalTimeConst: 25 * time.Second,
	},
	{
		Name: "ampere-ga10x", Product: "wattrace simulated A40", Architecture: "ampere",
		CounterPeriod: slowTick, PowerPeriod: slowTick, InstantWindow: slowTick,
		AverageSpan: averageSpan, TickJitter: 500 * time.Microsecond,
		IdleWatts: 68, LimitWatts: 300, MemoryBytes: 48 << 30, SMMegahertz: 1740, MemoryMegahertz: 7251,
		AmbientCelsius: 28, KelvinPerWatt: 0.14, ThermalTimeConst: 30 * time.Second,
	},
	{
		Name: "ada", Product: "wattrace simulated L40S", Architecture: "ada",
		CounterPeriod: slowTick, PowerPeriod: slowTick, InstantWindow: slowTick,
		AverageSpan: averageSpan, TickJitter: 500 * time.Microsecond,
		IdleWatts: 76, LimitWatts: 350, MemoryBytes: 48 << 30, SMMegahertz: 2520, MemoryMegahertz: 9001,
		AmbientCelsius: 28, KelvinPerWatt: 0.12, ThermalTimeConst: 30 * time.Second,
	},
	{
		Name: "volta", Product: "wattrace simulated V100", Architecture: "volta",
		CounterPeriod: slowTick, PowerPeriod: voltaTick, InstantWindow: 10 * time.Millisecond,
		TickJitter: 200 * time.Microsecond,
		IdleWatts:  57, LimitWatts: 300, MemoryBytes: 32 << 30, SMMegahertz: 1530, MemoryMegahertz: 877,
		AmbientCelsius: 28, KelvinPerWatt: 0.13, ThermalTimeConst: 25 * time.Second,
	},
}

// Profiles returns the known profiles. The first is the default.
func Profiles() []Profile { return slices.Clone(profiles) }

// ProfileByName finds a profile. Its error lists the names that there are.
func ProfileByName(name string) (Profile, error) {
	var names []string
	for _, p := range profiles {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("unknown architecture %q (%s)", name, strings.Join(names, ", "))
}

// validate refuses what the arithmetic of a device could not stand.
func (p *Profile) validate() error {
	switch {
	case p.CounterPeriod <= 0 || p.PowerPeriod <= 0 || p.InstantWindow <= 0:
		return fmt.Errorf("profile %q: a period or the instant window is not positive", p.Name)
	case p.TickJitter < 0 || p.TickJitter > min(p.CounterPeriod, p.PowerPeriod)/4:
		return fmt.Errorf("profile %q: the tick jitter is not within a quarter of a period", p.Name)
	case p.AverageSpan < 0 || max(p.InstantWindow, p.AverageSpan, p.PowerPeriod, p.CounterPeriod) > prehistory/3:
		return fmt.Errorf("profile %q: a sensor looks back further than %v", p.Name, prehistory/3)
	case !(p.IdleWatts >= 0) || !(p.LimitWatts > p.IdleWatts) || p.LimitWatts*1e6 > maxMicrowatts:
		return fmt.Errorf("profile %q: idle power and limit do not fit", p.Name)
	}
	return nil
}

// device describes device i of a host, as a source would.
func (p *Profile) device(i int, uuid, host string) sample.Device {
	sm, memory := trace.Some(float64(p.SMMegahertz)*1e6), trace.Some(float64(p.MemoryMegahertz)*1e6)
	return sample.Device{
		ID: uuid, UUID: uuid, Host: host, Index: i,
		Source: sample.NVML, Scope: sample.ScopeGPU,
		Name: p.Product, Architecture: p.Architecture,
		PCIBusID: fmt.Sprintf("00000000:%02X:00.0", i+1), Simulated: true,
		Clocks: sample.Clocks{ApplicationSM: sm, ApplicationMemory: memory, DefaultSM: sm, DefaultMemory: memory, MaxSM: sm, MaxMemory: memory},
	}
}
