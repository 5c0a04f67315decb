//go:build linux && cgo

package nvml

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"wattrace/sample"
)

// The fields of scope GPU in the one fast call, by their place in it. Those of
// other scopes come after them.
const (
	fieldEnergy = iota
	fieldInstant
	fieldAverage
	fieldLimit
)

type fastField struct {
	id     uint32
	metric sample.MetricID
}

var fastFields = [...]fastField{
	fieldEnergy:  {nvml.FI_DEV_TOTAL_ENERGY_CONSUMPTION, sample.EnergyJoules},
	fieldInstant: {nvml.FI_DEV_POWER_INSTANT, sample.PowerInstantWatts},
	fieldAverage: {nvml.FI_DEV_POWER_AVERAGE, sample.PowerAverageWatts},
	fieldLimit:   {nvml.FI_DEV_POWER_CURRENT_LIMIT, sample.PowerLimitWatts},
}

// scope is one scope of a GPU, and which of its fields, by their place in the
// fast call, are which metric.
type scope struct {
	device sample.Device
	fields []int
	metric []sample.MetricID
}

// The scopes that a GPU may have beside its own, and the fields that tell.
// Field 83 knows no scope: for any it gives the GPU's own energy.
var furtherScopes = [...]struct {
	scope  sample.Scope
	raw    int
	fields []fastField
}{
	{sample.ScopeModule, nvml.POWER_SCOPE_MODULE, []fastField{
		{nvml.FI_DEV_ENERGY, sample.EnergyJoules},
		{nvml.FI_DEV_POWER_INSTANT, sample.PowerInstantWatts},
		{nvml.FI_DEV_POWER_AVERAGE, sample.PowerAverageWatts},
		{nvml.FI_DEV_POWER_CURRENT_LIMIT, sample.PowerLimitWatts},
	}},
	{sample.ScopeGPUMemory, nvml.POWER_SCOPE_MEMORY, []fastField{
		{nvml.FI_DEV_POWER_INSTANT, sample.PowerInstantWatts},
		{nvml.FI_DEV_POWER_AVERAGE, sample.PowerAverageWatts},
	}},
}

// openScopes finds the scopes of a GPU.
func (s *Source) openScopes(g *gpu, root string) {
	for _, f := range fastFields {
		g.fields = append(g.fields, nvml.FieldValue{FieldId: f.id, ScopeId: nvml.POWER_SCOPE_GPU})
	}
	probe := append([]nvml.FieldValue(nil), g.fields...)
	for _, fs := range furtherScopes {
		for _, f := range fs.fields {
			probe = append(probe, nvml.FieldValue{FieldId: f.id, ScopeId: uint32(fs.raw)})
		}
	}
	known := s.have.fieldValues && g.handle.GetFieldValues(probe) == nvml.SUCCESS
	own := map[sample.MetricID]reading{}
	for k, f := range fastFields {
		own[f.metric] = decode(&probe[k])
	}
	at := len(fastFields)
	var found []scope
	for _, fs := range furtherScopes {
		sc := scope{device: g.Device}
		sc.device.Scope, sc.device.RawScope = fs.scope, fs.raw
		power, differs := false, false
		for _, f := range fs.fields {
			v := decode(&probe[at])
			if at++; !known || !v.ok() {
				continue
			}
			power = power || f.metric != sample.PowerLimitWatts && v.value > 0
			differs = differs || v != own[f.metric]
			sc.fields = append(sc.fields, len(g.fields)+len(sc.fields))
			sc.metric = append(sc.metric, f.metric)
		}
		if !power || !differs {
			continue
		}
		for k := range sc.fields {
			g.fields = append(g.fields, nvml.FieldValue{FieldId: idOf(fs.fields, sc.metric[k]), ScopeId: uint32(fs.raw)})
		}
		if fs.scope == sample.ScopeModule {
			g.Module = moduleOf(root, g.Host, g.PCIBusID)
		}
		found = append(found, sc)
	}
	g.scopes = append([]scope{{device: g.Device}}, found...)
	for k := range g.scopes {
		g.scopes[k].device.Module = g.Module
	}
}

func idOf(fields []fastField, metric sample.MetricID) uint32 {
	for _, f := range fields {
		if f.metric == metric {
			return f.id
		}
	}
	return 0
}

// Read reads a GPU in all its scopes. The length of the rows is that of the
// fast metrics alone. Slow ones are the GPU's.
func (s *Source) Read(unit int, slow bool, rows []sample.Row) {
	g := s.gpus[unit]
	start := time.Now()
	if !s.calls.TryRLock() { // NVML is being initialised anew
		g.failFast(rows, nvml.ERROR_UNINITIALIZED)
		return
	}
	defer s.calls.RUnlock()
	s.takeBack(g)
	lost := s.readFast(g, rows)
	took := time.Since(start)
	for _, row := range rows {
		row.SetTook(took)
	}
	g.down.Store(lost != nvml.SUCCESS)
	switch {
	case lost != nvml.SUCCESS:
		if slow {
			g.slow.lost(rows[0], lost)
		}
		s.seek(g)
	case slow:
		s.readSlow(g, rows[0])
	}
}

// reading is what a field says, in its own unit, or why it says nothing.
type reading struct {
	value uint64
	code  nvml.Return
}

func (r reading) ok() bool { return r.code == nvml.SUCCESS }

// unsupported tells what the device or the driver does not have from what
// could not be read this time.
func unsupported(code nvml.Return) bool {
	switch code {
	case nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_FUNCTION_NOT_FOUND, nvml.ERROR_INVALID_ARGUMENT:
		return true
	}
	return false
}

// set stores a reading in thousandths of the metric's unit.
func (r reading) set(row sample.Row, metric sample.MetricID) {
	if r.ok() {
		row.Set(metric, float64(r.value)/1000)
	} else {
		row.Fail(metric, codeName(r.code))
	}
}

// readFast reads the fast metrics, and says why the GPU is lost if it is.
func (s *Source) readFast(g *gpu, rows []sample.Row) (lost nvml.Return) {
	code := s.readFields(g)
	if g.isLost(code) {
		g.failFast(rows, code)
		return code
	}
	g.worked = g.worked || code == nvml.SUCCESS
	at := func(k int) reading {
		if code != nvml.SUCCESS {
			return reading{code: code}
		}
		return decode(&g.fields[k])
	}
	var v [len(fastFields)]reading
	for k := range v {
		v[k] = at(k)
	}
	if unsupported(v[fieldEnergy].code) && s.have.totalEnergy {
		v[fieldEnergy].value, v[fieldEnergy].code = g.handle.GetTotalEnergyConsumption()
	}
	if unsupported(v[fieldLimit].code) && s.have.enforcedLimit {
		v[fieldLimit] = reading32(g.handle.GetEnforcedPowerLimit())
	}
	for k, f := range fastFields {
		v[k].set(rows[0], f.metric)
	}
	headline := s.headline(g, v[fieldAverage], v[fieldInstant])
	headline.set(rows[0], sample.PowerWatts)
	for k := 1; k < len(g.scopes); k++ {
		sc := &g.scopes[k]
		instant, average := reading{code: nvml.ERROR_NOT_SUPPORTED}, reading{code: nvml.ERROR_NOT_SUPPORTED}
		for i, field := range sc.fields {
			r := at(field)
			r.set(rows[k], sc.metric[i])
			switch sc.metric[i] {
			case sample.PowerInstantWatts:
				instant = r
			case sample.PowerAverageWatts:
				average = r
			}
		}
		if unsupported(average.code) {
			average = instant
		}
		average.set(rows[k], sample.PowerWatts)
	}
	if isGone(headline.code) { // which the call as a whole need not say
		return headline.code
	}
	return nvml.SUCCESS
}

// isLost tells the code of a whole call that makes a GPU lost from one that
// fails this time, or always.
func (g *gpu) isLost(code nvml.Return) bool {
	if code == nvml.ERROR_INVALID_ARGUMENT {
		return g.worked // else the driver does not know the fields
	}
	return isGone(code) || g.lost != nvml.SUCCESS
}

func isGone(code nvml.Return) bool {
	switch code {
	case nvml.ERROR_GPU_IS_LOST, nvml.ERROR_UNINITIALIZED, nvml.ERROR_DRIVER_NOT_LOADED:
		return true
	}
	return false
}

// failFast says why the GPU has none of the fast metrics.
func (g *gpu) failFast(rows []sample.Row, code nvml.Return) {
	name := codeName(code)
	for _, f := range fastFields {
		rows[0].Fail(f.metric, name)
	}
	for k := 1; k < len(g.scopes); k++ {
		for _, m := range g.scopes[k].metric {
			rows[k].Fail(m, name)
		}
	}
	for _, row := range rows {
		row.Fail(sample.PowerWatts, name)
	}
}

func reading32(value uint32, code nvml.Return) reading { return reading{uint64(value), code} }

// headline is the average where the device has one, else the instant power,
// else what the oldest call says. An average that could not be read this time
// is not replaced: a column means one thing.
func (s *Source) headline(g *gpu, average, instant reading) reading {
	switch {
	case !unsupported(average.code):
		return average
	case !unsupported(instant.code):
		return instant
	case s.have.powerUsage:
		return reading32(g.handle.GetPowerUsage())
	}
	return average
}

// readFields makes the one call for the fast metrics.
func (s *Source) readFields(g *gpu) nvml.Return {
	switch {
	case g.lost != nvml.SUCCESS:
		return g.lost
	case !s.have.fieldValues:
		return nvml.ERROR_FUNCTION_NOT_FOUND
	}
	return g.handle.GetFieldValues(g.fields)
}

// decode reads a field's value by the type that NVML says it has. The bytes
// beyond that type are not defined.
func decode(f *nvml.FieldValue) reading {
	m := reading{code: nvml.Return(f.NvmlReturn)}
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
	if negative { // nothing that is read here is
		m.code = nvml.ERROR_UNKNOWN
	}
	return m
}
