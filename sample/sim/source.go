package sim

import (
	"wattrace/sample"
	"wattrace/trace"
)

// Source reads simulated devices within the process, as sample/nvml reads real
// ones. Its devices call themselves NVML's because their fields mean what
// NVML's do; sample.Device.Simulated tells them apart.
type Source struct {
	devices []*Device
	now     func() trace.Time
}

var _ sample.Source = (*Source)(nil)

// NewSource returns a source over devices, which are read at the instants that
// now gives.
func NewSource(devices []*Device, now func() trace.Time) *Source {
	return &Source{devices, now}
}

// Info describes the source. The intervals are the caller's to fill in.
func (s *Source) Info() sample.Info {
	return sample.Info{Driver: "simulated", API: "wattrace simulated sensors"}
}

// Devices lists the devices.
func (s *Source) Devices() []sample.Device { return Infos(s.devices) }

// Infos returns the identities of devices.
func Infos(devices []*Device) []sample.Device {
	infos := make([]sample.Device, len(devices))
	for i, d := range devices {
		infos[i] = d.Info()
	}
	return infos
}

// Units has each device alone.
func (s *Source) Units() [][]int { return sample.Each(len(s.devices)) }

// Read fills the row with what the sensors of a device show now.
func (s *Source) Read(device int, slow bool, rows []sample.Row) {
	d, row := s.devices[device], rows[0]
	r := d.Read(s.now())
	row.Set(sample.EnergyJoules, float64(r.EnergyMillijoules)/1000)
	instant := float64(r.PowerInstantMilliwatts) / 1000
	row.Set(sample.PowerInstantWatts, instant)
	if d.profile.AverageSpan > 0 {
		average := float64(r.PowerAverageMilliwatts) / 1000
		row.Set(sample.PowerAverageWatts, average)
		row.Set(sample.PowerWatts, average)
	} else {
		row.Fail(sample.PowerAverageWatts, "NOT_SUPPORTED")
		row.Set(sample.PowerWatts, instant)
	}
	row.Set(sample.PowerLimitWatts, float64(r.PowerLimitMilliwatts)/1000)
	if slow {
		readSlow(r, row)
	}
}

func readSlow(r Reading, row sample.Row) {
	row.Set(sample.GPUUtilization, float64(r.GPUUtilizationPercent)/100)
	row.Set(sample.MemoryUtilization, float64(r.MemoryUtilizationPercent)/100)
	row.SetUint(sample.MemoryUsedBytes, r.MemoryUsedBytes)
	row.Set(sample.TemperatureCelsius, float64(r.TemperatureCelsius))
	row.Set(sample.SMClockHertz, float64(r.SMClockMegahertz)*1e6)
	row.Set(sample.MemoryClockHertz, float64(r.MemoryClockMegahertz)*1e6)
	row.SetUint(sample.ClockEventReasons, r.ClockEventReasons)
}

// Close does nothing: simulated devices hold no resource.
func (s *Source) Close() error { return nil }
