package compare

import (
	"slices"
	"strings"
	"testing"

	"wattrace/reduce"
)

// deviceRow returns the row of a device by its index.
func deviceRow(t *testing.T, c *Comparison, tag string, index int) Row {
	t.Helper()
	for _, r := range c.Rows {
		if r.Device != nil && r.Device.Index == index && r.Metric == tag {
			return r
		}
	}
	t.Fatalf("no row of device %d's %s", index, tag)
	return Row{}
}

// less takes a part of a device's energy away in all runs of a group.
func less(g Group, device int, by float64) Group {
	for _, r := range g.Runs {
		n := r.Report.Phases[0].PerDevice[device].Metrics[reduce.GPUEnergy].Number
		n.Value *= by
		n.Uncertainty = &reduce.Uncertainty{Random: n.Uncertainty.Random * by, Systematic: n.Uncertainty.Systematic * by}
	}
	return g
}

func TestPerDevice(t *testing.T) {
	t.Parallel()
	opt := Options{PerDevice: true}
	ids := func(names ...string) plant { return plant{devices: names} }
	noted := func(c *Comparison) bool {
		return slices.ContainsFunc(c.Notes, func(s string) bool { return strings.Contains(s, "are matched by") })
	}

	// The same devices: by their identities, whatever their indices are.
	swapped := less(group("new", 4, ids("GPU-b", "GPU-a")), 0, 0.8)
	c := must(t, []Group{group("base", 4, plant{}), swapped}, opt)
	a, b := deviceRow(t, c, reduce.GPUEnergy, 0), deviceRow(t, c, reduce.GPUEnergy, 1)
	if a.Device.Base != "GPU-a" || a.Device.New != "GPU-a" || a.Sensors != SameDevices || a.Result != Undecided {
		t.Errorf("%+v %+v", a, a.Device)
	}
	if b.Device.Base != "GPU-b" || b.Result != BetterNow || b.Ratio.Sensors/b.Ratio.Value > 0.01 || noted(c) {
		t.Errorf("%+v %v", b, c.Notes)
	}

	// Others: by their indices, which is said, and what differs from unit to unit stays:
	// 1.5 % of each, and 5 W of 500 shared by both.
	c = must(t, []Group{group("base", 4, plant{}), less(group("new", 4, ids("GPU-c", "GPU-b")), 0, 0.97)}, opt)
	a, b = deviceRow(t, c, reduce.GPUEnergy, 0), deviceRow(t, c, reduce.GPUEnergy, 1)
	if a.Device.Base != "GPU-a" || a.Device.New != "GPU-c" || a.Sensors != SameModel || b.Sensors != SameDevices || !noted(c) {
		t.Errorf("%+v %+v %v", a, b, c.Notes)
	}
	if u := a.Ratio.Sensors / a.Ratio.Value; u < 0.0212 || u > 0.0217 || a.Result == BetterNow || b.Ratio.Sensors > 1e-9 {
		t.Errorf("uncertainty %v and %v: %+v", u, b.Ratio.Sensors, a)
	}

	// One device less: what is not there is said to be absent.
	c = must(t, []Group{group("base", 4, plant{}), group("new", 4, ids("GPU-b"))}, Options{PerDevice: true, Ignore: []string{"all"}})
	if a = deviceRow(t, c, reduce.GPUEnergy, 0); a.Reason != "the device is absent in new-1.json" || a.New != nil || a.Device.New != "" {
		t.Errorf("%+v", a)
	}
	if b = deviceRow(t, c, reduce.GPUEnergy, 1); b.Reason != "" || b.Device.New != "GPU-b" {
		t.Errorf("%+v", b)
	}

	// Devices that nothing tells apart are not compared.
	twins := group("new", 4, ids("GPU-c", "GPU-d"))
	for _, r := range twins.Runs {
		r.Report.Phases[0].PerDevice[1].DeviceIndex = 0
	}
	c = must(t, []Group{group("base", 4, plant{}), twins}, opt)
	if slices.ContainsFunc(c.Rows, func(r Row) bool { return r.Device != nil }) || !strings.Contains(strings.Join(c.Notes, "\n"), "can't be told apart") {
		t.Error(c.Notes)
	}

	if c = must(t, []Group{group("base", 4, plant{}), group("new", 4, plant{})}, Options{}); slices.ContainsFunc(c.Rows, func(r Row) bool { return r.Device != nil }) {
		t.Error("rows of devices unasked")
	}
}

func clocks(g Group, application, peak float64) Group {
	for _, r := range g.Runs {
		for i := range r.Report.Devices {
			r.Report.Devices[i].Clocks = &reduce.Clocks{ApplicationSM: &application}
			if peak > 0 {
				r.Report.Phases[0].PerDevice[i].Metrics[reduce.PeakSMClock] = reduce.Metric{Unit: "Hz", Number: &reduce.Number{Value: peak}}
			}
		}
	}
	return g
}

// Other application clocks are refused; a lock shows at most in how high clocks rose.
func TestClocks(t *testing.T) {
	t.Parallel()
	base := clocks(group("base", 4, plant{}), 1.98e9, 1.98e9)
	_, err := Compare([]Group{base, clocks(group("new", 4, plant{}), 1.41e9, 1.41e9)}, Options{})
	if err == nil || !strings.Contains(err.Error(), "application_clocks differs: SM 1980 MHz (base-1.json and 3 more); SM 1410 MHz") {
		t.Error(err)
	}
	for peak, want := range map[float64]string{
		1.41e9:   "but the highest SM clocks in profiling differ: 1980 MHz of base, 1410 MHz of new: a lock, another power limit or heat held some down",
		1.9725e9: "the highest SM clock in profiling was 1980 MHz of base, 1972.5 MHz of new",
		0:        "the highest SM clock in profiling was 1980 MHz of base, unknown of new",
		1e308:    "the highest SM clock in profiling was 1980 MHz of base, unknown of new",
	} {
		c := must(t, []Group{base, clocks(group("new", 4, plant{}), 1.98e9, peak)}, Options{})
		if !slices.ContainsFunc(c.Notes, func(s string) bool { return strings.HasSuffix(s, "can't be read from a GPU; "+want) }) {
			t.Errorf("%g: %v, want %s", peak, c.Notes, want)
		}
	}
	c := must(t, []Group{group("base", 4, plant{}), base}, Options{})
	if !slices.ContainsFunc(c.Unknown, func(u Unknown) bool { return u.Name == "application_clocks" && len(u.Runs) == 4 }) {
		t.Error("a report that does not say application clocks: ", c.Unknown)
	}
}

// Nothing compared is no success.
func TestCompared(t *testing.T) {
	t.Parallel()
	base, late := group("base", 4, plant{}), group("new", 4, plant{})
	if c := must(t, []Group{base, late}, Options{}); !c.Compared() {
		t.Error("there are rows")
	}
	for _, r := range late.Runs {
		r.Report.Phases[0].Name = "other"
	}
	c := must(t, []Group{base, late}, Options{Ignore: []string{"all"}, Conditions: []Condition{cond(t, "total_gpu_energy > +2%")}})
	if c.Compared() {
		t.Errorf("%+v", c.Rows[0])
	}
}
