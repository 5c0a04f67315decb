package compare

import (
	"cmp"
	"fmt"
	"slices"

	"wattrace/reduce"
)

// deviceMetrics are those that rows of single devices are of.
var deviceMetrics = []string{reduce.GPUPower, reduce.GPUEnergy}

// RowDevice is the device that a row is of, in the base and in the group that is compared
// with it. Of repeats on several devices they are those of the first run.
type RowDevice struct {
	Host  string `json:"host,omitempty"` // of the base
	Index int    `json:"index"`          // of the base
	Scope string `json:"scope"`
	Base  string `json:"base,omitempty"` // identity: the UUID, where there is one; absent where no run has it
	New   string `json:"new,omitempty"`
}

// deviceKey finds a device in every run: by its identity, else by its place.
type deviceKey struct {
	scope, id, host string
	index           int
}

// matching is how devices of runs are found again.
type matching int

const (
	byID    matching = iota // all runs have the same
	byPlace                 // by host and index
	byIndex                 // by index alone, of one host each
	noMatch
)

func (how matching) key(d *reduce.PerDevice) deviceKey {
	switch how {
	case byID:
		return deviceKey{scope: d.Scope, id: d.Device}
	case byPlace:
		return deviceKey{scope: d.Scope, host: d.Host, index: d.DeviceIndex}
	}
	return deviceKey{scope: d.Scope, index: d.DeviceIndex}
}

// measuredDevices returns the devices of a phase that have a figure of deviceMetrics.
func measuredDevices(ph *reduce.Phase) (list []*reduce.PerDevice) {
	for i := range ph.PerDevice {
		d := &ph.PerDevice[i]
		if slices.ContainsFunc(deviceMetrics, func(tag string) bool { _, ok := d.Metrics[tag]; return ok }) {
			list = append(list, d)
		}
	}
	return list
}

// in returns the device of a phase that a key is of; nil is none.
func (how matching) in(ph *reduce.Phase, key deviceKey) *reduce.PerDevice {
	for _, d := range measuredDevices(ph) {
		if how.key(d) == key {
			return d
		}
	}
	return nil
}

// match says how the devices of groups are found again in every run, in one phase: by
// their identities if all runs have the same, or some of the same and none another; else by
// host and index, or by index alone, likewise; else by what tells those of each run apart.
func (c *comparer) match(phase string, groups ...Group) matching {
	type set map[deviceKey]bool
	sets := func(how matching) (all []set, unique bool) {
		for _, g := range groups {
			for i := range g.Runs {
				ph := g.Runs[i].phase(phase)
				if ph == nil {
					continue
				}
				keys := set{}
				for _, d := range measuredDevices(ph) {
					if keys[how.key(d)] {
						return nil, false
					}
					keys[how.key(d)] = true
				}
				if len(keys) > 0 {
					all = append(all, keys)
				}
			}
		}
		return all, true
	}
	// nested reports whether one run has all that any other has.
	nested := func(all []set) bool {
		most := slices.MaxFunc(all, func(a, b set) int { return cmp.Compare(len(a), len(b)) })
		return !slices.ContainsFunc(all, func(s set) bool {
			for k := range s {
				if !most[k] {
					return true
				}
			}
			return false
		})
	}
	apart := noMatch
	for _, how := range []matching{byID, byPlace, byIndex} {
		all, unique := sets(how)
		switch {
		case !unique:
		case len(all) == 0 || nested(all):
			return how
		case how != byID:
			apart = how
		}
	}
	return apart
}

// deviceRows compares the devices of a phase one by one.
func (c *comparer) deviceRows(phase string, g Group) (rows []Row, notes []string) {
	base := c.groups[0]
	how := c.match(phase, base, g)
	var keys []deviceKey
	of := map[deviceKey]*RowDevice{}
	for side, group := range []Group{base, g} {
		for i := range group.Runs {
			ph := group.Runs[i].phase(phase)
			if ph == nil {
				continue
			}
			for _, d := range measuredDevices(ph) {
				key := how.key(d)
				if of[key] == nil {
					keys = append(keys, key)
					of[key] = &RowDevice{Host: d.Host, Index: d.DeviceIndex, Scope: d.Scope}
				}
				id := &of[key].Base
				if side == 1 {
					id = &of[key].New
				}
				*id = cmp.Or(*id, d.Device)
			}
		}
	}
	switch {
	case len(keys) == 0:
		return nil, []string{fmt.Sprintf("no report has power or energy of single devices in %s", phase)}
	case how == noMatch:
		return nil, []string{fmt.Sprintf("the devices of %s and %s can't be told apart in %s: two of a run have one index", base.Name, g.Name, phase)}
	case how != byID:
		by := "index"
		if how == byPlace {
			by = "host and index"
		}
		notes = append(notes, fmt.Sprintf("the devices of %s in %s are not those of %s, or not all: they are matched by %s, and what differs from unit to unit is in the intervals", g.Name, phase, base.Name, by))
	}
	slices.SortStableFunc(keys, func(a, b deviceKey) int {
		x, y := of[a], of[b]
		return cmp.Or(cmp.Compare(x.Host, y.Host), cmp.Compare(x.Scope, y.Scope), cmp.Compare(x.Index, y.Index), cmp.Compare(x.Base, y.Base))
	})
	for _, key := range keys {
		for _, tag := range deviceMetrics {
			m := metric{tag: tag, device: &deviceChoice{how, key}}
			if !c.deviceHas(phase, m, base, g) {
				continue
			}
			row := c.row(phase, m, g)
			row.Device = of[key]
			rows = append(rows, row)
		}
	}
	return rows, notes
}

// deviceChoice is a device in every run.
type deviceChoice struct {
	how matching
	key deviceKey
}

func (c *comparer) deviceHas(phase string, m metric, groups ...Group) bool {
	for _, g := range groups {
		for i := range g.Runs {
			if ph := g.Runs[i].phase(phase); ph != nil {
				if d := m.device.how.in(ph, m.device.key); d != nil {
					if _, ok := d.Metrics[m.tag]; ok {
						return true
					}
				}
			}
		}
	}
	return false
}

// covers reports whether an energy is that of the row's device, or the row is of all.
func (m *metric) covers(d *reduce.PerDevice) bool {
	return m.device == nil || m.device.how.key(d) == m.device.key
}
