//go:build linux && cgo

package nvml

import (
	"math"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"wattrace/sample"
)

// slowSet is what is known of a GPU's slow metrics.
type slowSet struct {
	skip    [sample.NumMetrics]bool // not supported: not asked again
	probing bool                    // what is not supported in this reading is to be skipped
	skipped []failure               // in this reading
	untold  []failure               // what the next slow row is to say
	told    bool                    // the slow metrics of a lost GPU were named
	fields  []nvml.FieldValue       // of the one call, reused
}

type failure struct {
	metric sample.MetricID
	code   nvml.Return
}

// allLinks is the scope of NVLink fields that sums up all links.
const allLinks = math.MaxUint32

// How a slow field becomes its metric.
type conversion int

const (
	plain conversion = iota
	nanos            // to seconds
	kibibytes
	smoothing // a part of the mask
)

// slowFields are those of the one slow call.
var slowFields = [...]struct {
	id, scope uint32
	metric    sample.MetricID
	how       conversion
}{
	{nvml.FI_DEV_MEMORY_TEMP, 0, sample.MemoryTemperatureCelsius, plain},
	{nvml.FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP, 0, sample.PowerCapSeconds, nanos},
	{nvml.FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN, 0, sample.SoftwareThermalSeconds, nanos},
	{nvml.FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN, 0, sample.HardwareThermalSeconds, nanos},
	{nvml.FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN, 0, sample.PowerBrakeSeconds, nanos},
	{nvml.FI_DEV_PCIE_COUNT_TX_BYTES, 0, sample.PCIeSentBytes, plain},
	{nvml.FI_DEV_PCIE_COUNT_RX_BYTES, 0, sample.PCIeReceivedBytes, plain},
	{nvml.FI_DEV_NVLINK_THROUGHPUT_DATA_TX, allLinks, sample.NVLinkSentBytes, kibibytes},
	{nvml.FI_DEV_NVLINK_THROUGHPUT_DATA_RX, allLinks, sample.NVLinkReceivedBytes, kibibytes},
	{nvml.FI_DEV_ECC_SBE_VOL_TOTAL, 0, sample.ECCCorrectedErrors, plain},
	{nvml.FI_DEV_ECC_DBE_VOL_TOTAL, 0, sample.ECCUncorrectedErrors, plain},
	{nvml.FI_PWR_SMOOTHING_ENABLED, 0, sample.PowerSmoothing, smoothing},
	{nvml.FI_PWR_SMOOTHING_PRIV_LVL, 0, sample.PowerSmoothing, smoothing},
	{nvml.FI_PWR_SMOOTHING_ACTIVE_PRESET_PROFILE, 0, sample.PowerSmoothing, smoothing},
}

// otherMetrics are the slow ones that are no fields, but for GPM's.
var otherMetrics = []sample.MetricID{
	sample.GPUUtilization, sample.MemoryUtilization, sample.MemoryUsedBytes, sample.TemperatureCelsius,
	sample.SMClockHertz, sample.MemoryClockHertz, sample.ClockEventReasons, sample.WorkloadProfiles,
}

// slowMetrics lists all, in the order in which they are read.
func slowMetrics() []sample.MetricID {
	all := append([]sample.MetricID(nil), otherMetrics...)
	for i, f := range slowFields {
		if i == 0 || f.metric != slowFields[i-1].metric {
			all = append(all, f.metric)
		}
	}
	for _, m := range gpmMetrics {
		all = append(all, m.metric)
	}
	return all
}

// openSlow finds out which slow metrics a GPU supports, by reading them.
func (s *Source) openSlow(g *gpu) {
	scratch := &sample.Batch{}
	s.readSlow(g, scratch.Append(0, 0, 0))
	g.slow.untold, g.slow.skipped = g.slow.skipped, nil
}

// readSlow reads the slow metrics that the GPU has.
func (s *Source) readSlow(g *gpu, row sample.Row) {
	set := &g.slow
	for _, f := range set.untold {
		row.Fail(f.metric, codeName(f.code))
	}
	set.untold, set.skipped, set.told = nil, nil, false
	s.readUtilization(g, row)
	s.readSlowFields(g, row)
	s.readGPM(g, row)
	set.probing = false
}

// fail notes why a metric has no value.
func (set *slowSet) fail(row sample.Row, m sample.MetricID, code nvml.Return) {
	if set.probing && unsupported(code) {
		set.drop(m, code)
	}
	row.Fail(m, codeName(code))
}

// drop has a metric not asked again.
func (set *slowSet) drop(m sample.MetricID, code nvml.Return) {
	set.skip[m] = true
	set.skipped = append(set.skipped, failure{m, code})
}

// lost has the first slow row of a lost GPU name the metrics that it lacks. In
// the others the fast ones say it.
func (set *slowSet) lost(row sample.Row, code nvml.Return) {
	if set.told {
		return
	}
	set.told = true
	for _, m := range slowMetrics() {
		if !set.skip[m] {
			row.Fail(m, codeName(code))
		}
	}
}

// readUtilization reads the metrics that have a call of their own.
func (s *Source) readUtilization(g *gpu, row sample.Row) {
	g.ask(row, s.have.utilization, func() nvml.Return {
		u, code := g.handle.GetUtilizationRates()
		if code == nvml.SUCCESS {
			row.Set(sample.GPUUtilization, float64(u.Gpu)/100)
			row.Set(sample.MemoryUtilization, float64(u.Memory)/100)
		}
		return code
	}, sample.GPUUtilization, sample.MemoryUtilization)
	g.ask(row, s.have.memory, func() nvml.Return {
		memory, code := g.handle.GetMemoryInfo()
		if code == nvml.SUCCESS {
			row.SetUint(sample.MemoryUsedBytes, memory.Used)
		}
		return code
	}, sample.MemoryUsedBytes)
	g.ask(row, s.have.temperature, func() nvml.Return {
		celsius, code := g.handle.GetTemperature(nvml.TEMPERATURE_GPU)
		if code == nvml.SUCCESS {
			row.Set(sample.TemperatureCelsius, float64(celsius))
		}
		return code
	}, sample.TemperatureCelsius)
	s.readClock(g, row, nvml.CLOCK_SM, sample.SMClockHertz)
	s.readClock(g, row, nvml.CLOCK_MEM, sample.MemoryClockHertz)
	g.ask(row, s.have.eventReasons || s.have.throttleReasons, func() nvml.Return {
		read := g.handle.GetCurrentClocksThrottleReasons // the older name
		if s.have.eventReasons {
			read = g.handle.GetCurrentClocksEventReasons
		}
		reasons, code := read()
		if code == nvml.SUCCESS {
			row.SetUint(sample.ClockEventReasons, reasons)
		}
		return code
	}, sample.ClockEventReasons)
	g.ask(row, s.have.profiles, func() nvml.Return {
		profiles, code := g.handle.WorkloadPowerProfileGetCurrentProfiles()
		if code == nvml.SUCCESS {
			mask := profiles.EnforcedProfilesMask.Mask
			row.SetUint(sample.WorkloadProfiles, uint64(mask[0])|uint64(mask[1])<<32)
		}
		return code
	}, sample.WorkloadProfiles)
}

func (s *Source) readClock(g *gpu, row sample.Row, clock nvml.ClockType, metric sample.MetricID) {
	g.ask(row, s.have.clock, func() nvml.Return {
		megahertz, code := g.handle.GetClockInfo(clock)
		if code == nvml.SUCCESS {
			row.Set(metric, float64(megahertz)*1e6)
		}
		return code
	}, metric)
}

// ask makes a call, if the library has it and the GPU supports it, and notes
// why its metrics have no value if it fails.
func (g *gpu) ask(row sample.Row, have bool, call func() nvml.Return, metrics ...sample.MetricID) {
	if g.slow.skip[metrics[0]] {
		return
	}
	code := nvml.ERROR_FUNCTION_NOT_FOUND
	if have {
		code = call()
	}
	if code != nvml.SUCCESS {
		for _, m := range metrics {
			g.slow.fail(row, m, code)
		}
	}
}

// readSlowFields makes the one call for the slow fields.
func (s *Source) readSlowFields(g *gpu, row sample.Row) {
	set := &g.slow
	set.fields = set.fields[:0]
	for i, f := range slowFields {
		if set.probing && f.id > 250 && s.renumbered(g) && !set.skip[f.metric] {
			set.fail(row, slowFields[i].metric, nvml.ERROR_NOT_SUPPORTED)
		}
		if !set.skip[f.metric] {
			set.fields = append(set.fields, nvml.FieldValue{FieldId: f.id, ScopeId: f.scope})
		}
	}
	if len(set.fields) == 0 {
		return
	}
	code := nvml.ERROR_FUNCTION_NOT_FOUND
	if s.have.fieldValues {
		code = g.handle.GetFieldValues(set.fields)
	}
	k := 0
	var parts []reading // of power smoothing
	for _, f := range slowFields {
		if set.skip[f.metric] {
			continue
		}
		r := reading{code: code}
		if code == nvml.SUCCESS {
			r = decode(&set.fields[k])
		}
		k++
		if f.how == smoothing {
			parts = append(parts, r)
			continue
		}
		if !r.ok() {
			set.fail(row, f.metric, r.code)
			continue
		}
		switch f.how {
		case nanos:
			row.Set(f.metric, float64(r.value)/1e9)
		case kibibytes:
			row.SetUint(f.metric, r.value<<10)
		default:
			if sample.Metrics[f.metric].Type == sample.Uint64 {
				row.SetUint(f.metric, r.value)
			} else {
				row.Set(f.metric, float64(r.value))
			}
		}
	}
	if parts != nil {
		set.smoothing(row, parts[0], parts[1], parts[2])
	}
}

// smoothing makes the mask of power smoothing.
func (set *slowSet) smoothing(row sample.Row, enabled, privilege, profile reading) {
	if !enabled.ok() {
		set.fail(row, sample.PowerSmoothing, enabled.code)
		return
	}
	mask := enabled.value & 1
	if privilege.ok() && privilege.value > 0 {
		mask |= 1 << 1
	}
	if !profile.ok() || profile.value > 0xff {
		profile.value = 0xff
	}
	row.SetUint(sample.PowerSmoothing, mask|profile.value<<8)
}
