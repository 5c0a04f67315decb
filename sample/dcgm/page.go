package dcgm

import (
	"cmp"
	"math"
	"slices"

	"wattrace/sample"
	"wattrace/sample/dcgm/fields"
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
	for i := range fields.All {
		f := &fields.All[i]
		for _, name := range f.Names {
			for _, series := range slices.Concat(page[fields.Prefix+name], page[fields.Prefix+name+"_total"]) {
				if fields.Blank(series.Value) || series.Value < 0 {
					continue
				}
				d, ok := f.Device(series.Labels, host)
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
func (e *entity) take(f *fields.Field, series scrape.Sample, d sample.Device) {
	e.device.MIG = e.device.MIG || d.MIG
	e.device.Driver = cmp.Or(e.device.Driver, d.Driver)
	e.device.Name = cmp.Or(e.device.Name, d.Name)
	instance := series.Labels["GPU_I_ID"]
	switch {
	case f.Metric == sample.XIDError:
		if e.xids == nil {
			e.xids = map[string]uint64{}
		}
		e.xids[instance] = uint64(series.Value)
	case f.Instance && d.MIG:
	default:
		e.values[f.Metric], e.has[f.Metric] = f.Value(series.Value), true
	}
}

// set stores a value in the metric's own type.
func set(row sample.Row, metric sample.MetricID, v float64) {
	if sample.Metrics[metric].Type == sample.Uint64 {
		row.SetUint(metric, uint64(math.Round(v)))
		return
	}
	row.Set(metric, v)
}
