//go:build linux && cgo

package nvml

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"wattrace/sample"
)

// The fields of the one fast call, by their place in it.
const (
	fieldEnergy = iota
	fieldInstant
	fieldAverage
	fieldLimit
)

var fastFields = [...]struct {
	id     uint32
	metric sample.MetricID
}{
	fieldEnergy:  {nvml.FI_DEV_TOTAL_ENERGY_CONSUMPTION, sample.EnergyJoules},
	fieldInstant: {nvml.FI_DEV_POWER_INSTANT, sample.PowerInstantWatts},
	fieldAverage: {nvml.FI_DEV_POWER_AVERAGE, sample.PowerAverageWatts},
	fieldLimit:   {nvml.FI_DEV_POWER_CURRENT_LIMIT, sample.PowerLimitWatts},
}

// Units has each GPU alone.
func (s *Source) Units() [][]int { return sample.Each(len(s.devices)) }

// Read reads a GPU. The row's length is that of the fast metrics alone.
func (s *Source) Read(i int, slow bool, rows []sample.Row) {
	d, row := &s.devices[i], rows[0]
	start := time.Now()
	s.readFast(d, row)
	row.SetTook(time.Since(start))
	if slow {
		s.readSlow(d, row)
	}
}

// milli is a reading in thousandths of the metric's unit, or why there is none.
type milli struct {
	value uint64
	code  nvml.Return
}

func (m milli) ok() bool { return m.code == nvml.SUCCESS }

// unsupported tells a metric that the device or the driver does not have from
// one that could not be read this time.
func (m milli) unsupported() bool {
	switch m.code {
	case nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_FUNCTION_NOT_FOUND, nvml.ERROR_INVALID_ARGUMENT:
		return true
	}
	return false
}

func (m milli) set(row sample.Row, metric sample.MetricID) {
	if m.ok() {
		row.Set(metric, float64(m.value)/1000)
	} else {
		row.Fail(metric, codeName(m.code))
	}
}

func (s *Source) readFast(d *device, row sample.Row) {
	v := s.readFields(d)
	if v[fieldEnergy].unsupported() && s.have.totalEnergy && d.lost == nvml.SUCCESS {
		v[fieldEnergy].value, v[fieldEnergy].code = d.handle.GetTotalEnergyConsumption()
	}
	if v[fieldLimit].unsupported() && s.have.enforcedLimit && d.lost == nvml.SUCCESS {
		v[fieldLimit] = milli32(d.handle.GetEnforcedPowerLimit())
	}
	for k, f := range fastFields {
		v[k].set(row, f.metric)
	}
	s.headline(d, v[fieldAverage], v[fieldInstant]).set(row, sample.PowerWatts)
}

func milli32(value uint32, code nvml.Return) milli { return milli{uint64(value), code} }

// headline is the average where the device has one, else the instant power,
// else what the oldest call says. An average that could not be read this time
// is not replaced: a column means one thing.
func (s *Source) headline(d *device, average, instant milli) milli {
	switch {
	case !average.unsupported():
		return average
	case !instant.unsupported():
		return instant
	case s.have.powerUsage && d.lost == nvml.SUCCESS:
		return milli32(d.handle.GetPowerUsage())
	}
	return average
}

// readFields makes the one call for the fast metrics.
func (s *Source) readFields(d *device) (v [len(fastFields)]milli) {
	code := d.lost
	if code == nvml.SUCCESS {
		code = nvml.ERROR_FUNCTION_NOT_FOUND
		if s.have.fieldValues {
			d.fields = d.fields[:0]
			for _, f := range fastFields {
				d.fields = append(d.fields, nvml.FieldValue{FieldId: f.id, ScopeId: nvml.POWER_SCOPE_GPU})
			}
			code = d.handle.GetFieldValues(d.fields)
		}
	}
	for k := range v {
		v[k].code = code
		if code == nvml.SUCCESS {
			v[k] = decode(&d.fields[k])
		}
	}
	return v
}

// decode reads a field's value by the type that NVML says it has. The bytes
// beyond that type are not defined.
func decode(f *nvml.FieldValue) milli {
	m := milli{code: nvml.Return(f.NvmlReturn)}
	if !m.ok() {
		return m
	}
	v := f.Value[:]
	negative := false
	switch nvml.ValueType(f.ValueType) {
	case nvml.VALUE_TYPE_UNSIGNED_INT:
		m.value = uint64(binary.NativeEndian.Uint32(v))
	case nvml.VALUE_TYPE_UNSIGNED_LONG, nvml.VALUE_TYPE_UNSIGNED_LONG_LONG:
		m.value = binary.NativeEndian.Uint64(v)
	case nvml.VALUE_TYPE_SIGNED_LONG_LONG:
		m.value = binary.NativeEndian.Uint64(v)
		negative = int64(m.value) < 0
	case nvml.VALUE_TYPE_SIGNED_INT:
		i := int32(binary.NativeEndian.Uint32(v))
		m.value, negative = uint64(i), i < 0
	case nvml.VALUE_TYPE_UNSIGNED_SHORT:
		m.value = uint64(binary.NativeEndian.Uint16(v))
	case nvml.VALUE_TYPE_DOUBLE:
		x := math.Float64frombits(binary.NativeEndian.Uint64(v))
		m.value, negative = uint64(x), !(x >= 0 && x < 1<<53)
	default:
		negative = true
	}
	if negative { // no energy and no power is
		m.code = nvml.ERROR_UNKNOWN
	}
	return m
}

// readSlow reads the slow metrics, each by a call of its own.
func (s *Source) readSlow(d *device, row sample.Row) {
	slow(d, row, s.have.utilization, func() nvml.Return {
		u, code := d.handle.GetUtilizationRates()
		if code == nvml.SUCCESS {
			row.Set(sample.GPUUtilization, float64(u.Gpu)/100)
			row.Set(sample.MemoryUtilization, float64(u.Memory)/100)
		}
		return code
	}, sample.GPUUtilization, sample.MemoryUtilization)
	slow(d, row, s.have.memory, func() nvml.Return {
		memory, code := d.handle.GetMemoryInfo()
		if code == nvml.SUCCESS {
			row.SetUint(sample.MemoryUsedBytes, memory.Used)
		}
		return code
	}, sample.MemoryUsedBytes)
	slow(d, row, s.have.temperature, func() nvml.Return {
		celsius, code := d.handle.GetTemperature(nvml.TEMPERATURE_GPU)
		if code == nvml.SUCCESS {
			row.Set(sample.TemperatureCelsius, float64(celsius))
		}
		return code
	}, sample.TemperatureCelsius)
	s.readClock(d, row, nvml.CLOCK_SM, sample.SMClockHertz)
	s.readClock(d, row, nvml.CLOCK_MEM, sample.MemoryClockHertz)
	slow(d, row, s.have.eventReasons || s.have.throttleReasons, func() nvml.Return {
		read := d.handle.GetCurrentClocksThrottleReasons // the older name
		if s.have.eventReasons {
			read = d.handle.GetCurrentClocksEventReasons
		}
		reasons, code := read()
		if code == nvml.SUCCESS {
			row.SetUint(sample.ClockEventReasons, reasons)
		}
		return code
	}, sample.ClockEventReasons)
}

func (s *Source) readClock(d *device, row sample.Row, clock nvml.ClockType, metric sample.MetricID) {
	slow(d, row, s.have.clock, func() nvml.Return {
		megahertz, code := d.handle.GetClockInfo(clock)
		if code == nvml.SUCCESS {
			row.Set(metric, float64(megahertz)*1e6)
		}
		return code
	}, metric)
}

// slow makes a call, if the library has it, and notes why its metrics have no
// value if it fails.
func slow(d *device, row sample.Row, have bool, call func() nvml.Return, metrics ...sample.MetricID) {
	code := d.lost
	if code == nvml.SUCCESS && !have {
		code = nvml.ERROR_FUNCTION_NOT_FOUND
	}
	if code == nvml.SUCCESS {
		code = call()
	}
	if code != nvml.SUCCESS {
		for _, m := range metrics {
			row.Fail(m, codeName(code))
		}
	}
}
