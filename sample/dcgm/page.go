package dcgm

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"wattrace/sample"
	"wattrace/sample/scrape"
)

// identity tells the devices of a page apart.
type identity struct {
	id    string
	scope sample.Scope
}

// entity is what a page says of a device.
type entity struct {
	device sample.Device
	values [sample.NumMetrics]float64
	has    [sample.NumMetrics]bool
	xids   map[string]uint64 // the last XID, by MIG instance; "" is the board
}

// group is what the exporter reads together: the GPUs of a host, or its CPUs.
func (e *entity) group() string {
	if e.device.Scope == sample.ScopeGPU {
		return "gpu " + e.device.Host
	}
	return "cpu " + e.device.Host
}

// read finds the devices of a page, in the order of host, scope and index. host is
// that of series without one.
func read(page scrape.Page, host string) []*entity {
	found := map[identity]*entity{}
	for i := range fields {
		f := &fields[i]
		for _, name := range f.names {
			for _, series := range slices.Concat(page[prefix+name], page[prefix+name+"_total"]) {
				if blank(series.Value) || series.Value < 0 {
					continue
				}
				d, ok := deviceOf(f, series.Labels, host)
				if !ok {
					continue
				}
				key := identity{d.ID, d.Scope}
				e := found[key]
				if e == nil {
					e = &entity{device: d}
					found[key] = e
				}
				e.take(f, series, d)
			}
		}
	}
	list := make([]*entity, 0, len(found))
	for _, e := range found {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *entity) int {
		x, y := a.device, b.device
		return cmp.Or(cmp.Compare(x.Host, y.Host), cmp.Compare(x.Scope, y.Scope), cmp.Compare(x.Index, y.Index), cmp.Compare(x.ID, y.ID))
	})
	return list
}

// take adds a series of the entity, which d is by the series alone.
func (e *entity) take(f *field, series scrape.Sample, d sample.Device) {
	e.device.MIG = e.device.MIG || d.MIG
	e.device.Driver = cmp.Or(e.device.Driver, d.Driver)
	e.device.Name = cmp.Or(e.device.Name, d.Name)
	instance := series.Labels["GPU_I_ID"]
	switch {
	case f.metric == sample.XIDError:
		if e.xids == nil {
			e.xids = map[string]uint64{}
		}
		e.xids[instance] = uint64(series.Value)
	case f.instance && d.MIG:
	default:
		e.values[f.metric], e.has[f.metric] = scaled(series.Value, f.scale), true
	}
}

// scaled divides where that is exact and a factor is not.
func scaled(v, scale float64) float64 {
	switch scale {
	case 1e-2:
		return v / 100
	case 1e-3:
		return v / 1000
	case 1e-9:
		return v / 1e9
	}
	return v * scale
}

// deviceOf returns the device that a series of a field is of; false is one that is
// none of ours.
func deviceOf(f *field, labels map[string]string, host string) (sample.Device, bool) {
	d := sample.Device{Source: sample.DCGM, Host: first(labels, "Hostname", "hostname", "exported_hostname")}
	d.Host = cmp.Or(d.Host, host)
	d.Driver = labels["DCGM_FI_DRIVER_VERSION"]
	if f.scope != "" {
		cpu := labels["cpu"]
		index, err := strconv.Atoi(cpu)
		if _, core := labels["cpucore"]; err != nil || core {
			return d, false
		}
		d.Scope, d.Index, d.Module = f.scope, index, socket(d.Host, cpu)
		d.ID = fmt.Sprintf("dcgm:%s:cpu%d", d.Host, index)
		return d, true
	}
	index, err := strconv.Atoi(labels["gpu"])
	if err != nil {
		return d, false
	}
	d.Scope, d.Index, d.Name = sample.ScopeGPU, index, first(labels, "modelName", "model_name")
	d.PCIBusID = labels["pci_bus_id"]
	d.MIG = first(labels, "GPU_I_ID", "GPU_I_PROFILE") != ""
	// That of an instance is none of the board.
	if d.UUID = first(labels, "UUID", "uuid", "gpu_uuid"); strings.HasPrefix(d.UUID, "MIG-") {
		d.UUID = ""
	}
	d.ID = cmp.Or(d.UUID, fmt.Sprintf("dcgm:%s:%d", d.Host, index))
	return d, true
}

// first returns the first label of those that a series has.
func first(labels map[string]string, names ...string) string {
	for _, name := range names {
		if v := labels[name]; v != "" {
			return v
		}
	}
	return ""
}
