package compare

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"wattrace/reduce"
)

// Fact is something that runs must have in common to be compared, and do not.
type Fact struct {
	Name   string `json:"name"`            // for --ignore
	Phase  string `json:"phase,omitempty"` // where it is a phase's
	Values []Said `json:"values"`
}

// Said is what some of the runs say.
type Said struct {
	Value string   `json:"value"`
	Runs  []string `json:"runs"` // paths
}

// Unknown is a fact that some runs do not say.
type Unknown struct {
	Name string   `json:"name"`
	Runs []string `json:"runs,omitempty"` // paths; absent are all
}

// UnlikeError says that the runs are not alike.
type UnlikeError struct{ Differ []Fact }

func (e *UnlikeError) Error() string {
	var lines []string
	for _, f := range e.Differ {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// Names returns the names of the facts, each once.
func (e *UnlikeError) Names() (names []string) {
	for _, f := range e.Differ {
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	return names
}

// String says what differs.
func (f Fact) String() string {
	var values []string
	for _, v := range f.Values {
		values = append(values, fmt.Sprintf("%s (%s)", v.Value, few(v.Runs)))
	}
	name := f.Name
	if f.Phase != "" {
		name += " of " + f.Phase
	}
	return fmt.Sprintf("%s differs: %s", name, strings.Join(values, "; "))
}

// few names some runs.
func few(runs []string) string {
	if len(runs) > 2 {
		return fmt.Sprintf("%s and %d more", runs[0], len(runs)-1)
	}
	return strings.Join(runs, ", ")
}

// fact is how a report says one. ok is false where it does not. With a phase it is asked
// of each.
type fact struct {
	name  string
	run   func(*reduce.Report) (string, bool)
	phase func(*reduce.Report, *reduce.Phase) (string, bool)
}

// unsaid are facts that no report says: of an NVIDIA GPU no program reads whether its
// clocks are locked (clockNotes says what shows of it).
var unsaid = []string{"clock_locks"}

// factTable has all other facts but duration, which concerns single metrics.
var factTable = []fact{
	{name: "trace", run: traceFact},
	{name: "overlays", run: func(r *reduce.Report) (string, bool) {
		return ofRuns(r, func(run *reduce.Run) string { return fmt.Sprintf("%q", run.Overlays) })
	}},
	{name: "phases", run: func(r *reduce.Report) (string, bool) {
		var names []string
		for _, ph := range r.Phases {
			if ph.Kind != "window" {
				names = append(names, ph.Name)
			}
		}
		return cmp.Or(quoted(names), "none"), true
	}},
	{name: "server_version", run: func(r *reduce.Report) (string, bool) {
		return ofRuns(r, versionsOf)
	}},
	{name: "driver", run: func(r *reduce.Report) (string, bool) {
		return ofDevices(r, func(d *reduce.Device) string { return d.Driver })
	}},
	{name: "mig", run: func(r *reduce.Report) (string, bool) {
		return ofDevices(r, func(d *reduce.Device) string { return onOff(d.MIG) })
	}},
	{name: "mps", run: func(r *reduce.Report) (string, bool) {
		return ofDevices(r, func(d *reduce.Device) string { return onOff(d.MPS) })
	}},
	{name: "application_clocks", run: func(r *reduce.Report) (string, bool) { return ofDevices(r, applicationClocks) }},
	{name: "simulated", run: func(r *reduce.Report) (string, bool) {
		return ofDevices(r, func(d *reduce.Device) string {
			if d.Simulated {
				return "simulated"
			}
			return "real"
		})
	}},
	{name: "load", phase: func(_ *reduce.Report, ph *reduce.Phase) (string, bool) {
		load := "closed loop"
		if ph.Load != "" {
			load = string(ph.Load)
		}
		if ph.Concurrency > 0 {
			load += fmt.Sprintf(", concurrency %d", ph.Concurrency)
		}
		return load, ph.Requests != nil
	}},
	{name: "plan", phase: planFact},
	{name: "devices", phase: func(_ *reduce.Report, ph *reduce.Phase) (string, bool) {
		return perDevice(ph, func(d *reduce.PerDevice) string { return d.Name }, true)
	}},
	{name: "energy_source", phase: func(_ *reduce.Report, ph *reduce.Phase) (string, bool) {
		return perDevice(ph, func(d *reduce.PerDevice) string { return d.Source }, false)
	}},
	{name: "method", phase: func(_ *reduce.Report, ph *reduce.Phase) (string, bool) {
		m, ok := ph.Metrics[reduce.TotalGPUEnergy]
		if !ok || m.Number == nil || m.Method == "" {
			return "", false
		}
		return times.ReplaceAllString(m.Method, "TIME"), true
	}},
	{name: "scope", phase: func(_ *reduce.Report, ph *reduce.Phase) (string, bool) {
		return perDevice(ph, func(d *reduce.PerDevice) string { return d.Scope }, false)
	}},
	{name: "power_limit", phase: func(_ *reduce.Report, ph *reduce.Phase) (string, bool) {
		w, ok := powerLimit(ph)
		return short(w, 0) + " W", ok
	}},
}

// times are durations in the name of a method, which follow from the data.
var times = regexp.MustCompile(`[0-9.]+(ns|µs|ms|s)\b`)

// FactNames returns what may be ignored.
func FactNames() []string {
	var names []string
	for _, f := range factTable {
		names = append(names, f.name)
	}
	return append(names, "duration")
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// powerLimit returns the power limit of each GPU, in watts.
func powerLimit(ph *reduce.Phase) (float64, bool) {
	m, ok := ph.Metrics[reduce.GPUPowerLimit]
	if !ok || m.Number == nil || m.Value <= 0 {
		return 0, false
	}
	return math.Round(m.Value / float64(max(1, m.DevicesCovered))), true
}

func traceFact(r *reduce.Report) (string, bool) {
	return ofRuns(r, func(run *reduce.Run) string {
		if run.Trace == nil {
			return ""
		}
		if run.Trace.Like != "" {
			return run.Trace.Like
		}
		return fmt.Sprintf("%.12s", run.Trace.SHA256)
	})
}

// versionsOf joins the versions of a run's servers; "" where one did not say its own.
func versionsOf(run *reduce.Run) string {
	var all []string
	for _, s := range run.Servers {
		all = append(all, s.Version)
	}
	if len(all) < len(run.Targets) {
		return ""
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

// ofRuns joins what the runs of a report say; "" says nothing.
func ofRuns(r *reduce.Report, say func(*reduce.Run) string) (string, bool) {
	var all []string
	for i := range r.Runs {
		s := say(&r.Runs[i])
		if s == "" {
			return "", false
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", "), len(all) > 0
}

// ofDevices joins what the GPUs of a report say; "" says nothing.
func ofDevices(r *reduce.Report, say func(*reduce.Device) string) (string, bool) {
	var all []string
	for i := range r.Devices {
		if r.Devices[i].Scope != gpu {
			continue
		}
		s := say(&r.Devices[i])
		if s == "" {
			return "", false
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", "), len(all) > 0
}

// perDevice joins what the devices that a phase has energy of say, of the GPUs alone with
// how many say so.
func perDevice(ph *reduce.Phase, say func(*reduce.PerDevice) string, count bool) (string, bool) {
	n := map[string]int{}
	for i := range ph.PerDevice {
		d := &ph.PerDevice[i]
		if _, ok := d.Metrics[reduce.GPUEnergy]; ok && (!count || d.Scope == gpu) {
			n[say(d)]++
		}
	}
	var all []string
	for s, k := range n {
		if count {
			s = fmt.Sprintf("%d of %s", k, s)
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return strings.Join(all, ", "), len(all) > 0
}

// planFact returns what the plan says of a phase, without its name.
func planFact(r *reduce.Report, ph *reduce.Phase) (string, bool) {
	for _, run := range r.Runs {
		var plan struct {
			Phases []map[string]json.RawMessage `json:"phases"`
		}
		if json.Unmarshal(run.Plan, &plan) != nil {
			return "", false
		}
		for _, p := range plan.Phases {
			var name string
			if json.Unmarshal(p["name"], &name) == nil && name == ph.Name {
				delete(p, "name")
				var text bytes.Buffer
				b, _ := json.Marshal(p) // keys in order
				if json.Compact(&text, b) == nil {
					return text.String(), true
				}
			}
		}
	}
	return "", false
}

// facts looks for what differs: an error unless it is to be ignored.
func (c *comparer) facts() (ignored []Fact, unknown []Unknown, err error) {
	ignore := slices.Concat(c.opt.Ignore, c.opt.Axis.varies())
	var differ []Fact
	take := func(f Fact) {
		if slices.Contains(ignore, f.Name) || slices.Contains(ignore, "all") {
			ignored = append(ignored, f)
		} else {
			differ = append(differ, f)
		}
	}
	for _, f := range factTable {
		if f.run != nil {
			said, silent := c.ask(func(r *Run) (string, bool, bool) {
				v, ok := f.run(r.Report)
				return v, ok, true
			})
			unknown = append(unknown, c.silent(f.name, silent)...)
			if len(said) > 1 {
				take(Fact{Name: f.name, Values: said})
			}
			continue
		}
		var nowhere []string
		for _, name := range c.phases {
			said, silent := c.ask(func(r *Run) (string, bool, bool) {
				ph := r.phase(name)
				if ph == nil {
					return "", false, false
				}
				v, ok := f.phase(r.Report, ph)
				return v, ok, true
			})
			for _, path := range silent {
				if !slices.Contains(nowhere, path) {
					nowhere = append(nowhere, path)
				}
			}
			if len(said) > 1 {
				take(Fact{Name: f.name, Phase: name, Values: said})
			}
		}
		unknown = append(unknown, c.silent(f.name, nowhere)...)
	}
	if len(differ) > 0 {
		return nil, nil, &UnlikeError{differ}
	}
	for _, name := range unsaid {
		unknown = append(unknown, Unknown{Name: name})
	}
	return ignored, unknown, nil
}

// ask collects what the runs say, and the paths of those that do not.
func (c *comparer) ask(one func(*Run) (value string, ok, there bool)) (said []Said, silent []string) {
	c.anyRun(func(r *Run) bool {
		v, ok, there := one(r)
		if !there {
			return false
		}
		if !ok {
			silent = append(silent, r.Path)
			return false
		}
		i := slices.IndexFunc(said, func(s Said) bool { return s.Value == v })
		if i < 0 {
			i = len(said)
			said = append(said, Said{Value: v})
		}
		said[i].Runs = append(said[i].Runs, r.Path)
		return false
	})
	return said, silent
}

// silent says which runs do not say a fact; those that all do not say have no list.
func (c *comparer) silent(name string, paths []string) []Unknown {
	n := 0
	for _, g := range c.groups {
		n += len(g.Runs)
	}
	switch len(paths) {
	case 0:
		return nil
	case n:
		return []Unknown{{Name: name}}
	}
	return []Unknown{{Name: name, Runs: paths}}
}
