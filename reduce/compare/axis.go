package compare

import (
	"cmp"
	"fmt"
	"slices"

	"wattrace/reduce"
)

// Axis is what a sweep varies.
type Axis string

// The axes; "" is none.
const (
	PowerLimitAxis  Axis = "power_limit" // of each GPU, W
	ConcurrencyAxis Axis = "concurrency" // configured
)

// varies returns the facts that differ along the axis.
func (a Axis) varies() []string {
	switch a {
	case PowerLimitAxis:
		return []string{"power_limit"}
	case ConcurrencyAxis:
		return []string{"load", "plan"}
	}
	return nil
}

// of returns where a phase is on the axis.
func (a Axis) of(ph *reduce.Phase) (float64, bool) {
	if a == PowerLimitAxis {
		return powerLimit(ph)
	}
	return float64(ph.Concurrency), ph.Concurrency > 0
}

// AxisTable is a sweep.
type AxisTable struct {
	Axis   Axis        `json:"axis"`
	Unit   string      `json:"unit,omitempty"`
	Phases []AxisPhase `json:"phases"`
}

// AxisPhase is what a sweep says of one phase.
type AxisPhase struct {
	Phase  string  `json:"phase"`
	Points []Point `json:"points"` // in the order of the axis
}

// Point is a configuration: of each figure the median of its runs. What one of them
// lacks is absent.
type Point struct {
	At                   float64  `json:"at"`
	Group                string   `json:"group"`
	Runs                 int      `json:"runs"`
	ThroughputPerGPU     *Side    `json:"tokens_per_second_per_gpu,omitempty"` // output_token_throughput / GPUs
	OutputTokensPerJoule *Side    `json:"output_tokens_per_joule,omitempty"`
	ThroughputPerUser    *Side    `json:"tokens_per_second_per_user,omitempty"` // p50 of output_token_throughput_per_user
	PowerPerGPU          *Side    `json:"average_power_per_gpu,omitempty"`      // W
	Front                []string `json:"front,omitempty"`                      // of which Pareto fronts the point is: "energy", "user"
}

// The fronts: output tokens per second and GPU against output tokens per joule, and
// against tokens per second that a user sees.
const (
	EnergyFront = "energy"
	UserFront   = "user"
)

// GroupBy puts the runs of one group into groups of those that are at one place of the
// axis, in the phases that each report measures, in order.
func GroupBy(axis Axis, runs []Run) ([]Group, error) {
	type placed struct {
		at float64
		Group
	}
	var groups []placed
	for _, r := range runs {
		at, found := 0.0, false
		for i := range r.Report.Phases {
			ph := &r.Report.Phases[i]
			if ph.Kind != "measure" {
				continue
			}
			v, ok := axis.of(ph)
			switch {
			case !ok:
				return nil, &ChoiceError{Msg: fmt.Sprintf("%s: phase %q does not say its %s", r.Path, ph.Name, axis)}
			case found && v != at:
				return nil, &ChoiceError{Msg: fmt.Sprintf("%s: its phases differ in %s", r.Path, axis), Hint: "groups that are parted by -- are compared phase by phase"}
			}
			at, found = v, true
		}
		if !found {
			return nil, &ChoiceError{Msg: fmt.Sprintf("%s: no phase is measured", r.Path)}
		}
		i := slices.IndexFunc(groups, func(p placed) bool { return p.at == at })
		if i < 0 {
			i = len(groups)
			groups = append(groups, placed{at, Group{Name: fmt.Sprintf("%s=%g", axis, at)}})
		}
		groups[i].Runs = append(groups[i].Runs, r)
	}
	slices.SortFunc(groups, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	var out []Group
	for _, g := range groups {
		out = append(out, g.Group)
	}
	return out, nil
}

// axis makes the table of a sweep.
func (c *comparer) axis() (*AxisTable, error) {
	t := &AxisTable{Axis: c.opt.Axis, Phases: []AxisPhase{}}
	if c.opt.Axis == PowerLimitAxis {
		t.Unit = "W"
	}
	for _, name := range c.phases {
		table := AxisPhase{Phase: name}
		for _, g := range c.groups {
			p := Point{Group: g.Name, Runs: len(g.Runs)}
			for i := range g.Runs {
				r := &g.Runs[i]
				ph := r.phase(name)
				if ph == nil {
					return nil, &ChoiceError{Msg: fmt.Sprintf("%s has no phase %q", r.Path, name)}
				}
				at, ok := c.opt.Axis.of(ph)
				switch {
				case !ok:
					return nil, &ChoiceError{Msg: fmt.Sprintf("%s: phase %q does not say its %s", r.Path, name, c.opt.Axis)}
				case i > 0 && at != p.At:
					return nil, &ChoiceError{Msg: fmt.Sprintf("%s: its %s is %g, and that of %s, of the same group, %g", r.Path, c.opt.Axis, at, g.Runs[0].Path, p.At)}
				}
				p.At = at
			}
			p.ThroughputPerGPU = c.median(g, name, reduce.OutputTokenThroughput, "", true)
			p.OutputTokensPerJoule = c.median(g, name, reduce.OutputTokensPerJoule, "", false)
			p.ThroughputPerUser = c.median(g, name, reduce.OutputTokenThroughputPerUser, "p50", false)
			p.PowerPerGPU = c.median(g, name, reduce.AverageGPUPower, "", true)
			table.Points = append(table.Points, p)
		}
		slices.SortStableFunc(table.Points, func(a, b Point) int { return cmp.Compare(a.At, b.At) })
		front(table.Points, EnergyFront, func(p *Point) *Side { return p.OutputTokensPerJoule })
		front(table.Points, UserFront, func(p *Point) *Side { return p.ThroughputPerUser })
		t.Phases = append(t.Phases, table)
	}
	return t, nil
}

// median returns what the runs of a group say of a metric; nil where one does not.
func (c *comparer) median(g Group, phase, tag, statistic string, perGPU bool) *Side {
	var all []float64
	for i := range g.Runs {
		ph := g.Runs[i].phase(phase)
		v, lacks := get(ph.Metrics, tag, statistic)
		if lacks != "" {
			return nil
		}
		if perGPU {
			if ph.Devices == nil || ph.Devices.Seen == 0 {
				return nil
			}
			v.v /= float64(ph.Devices.Seen)
		}
		all = append(all, v.v)
	}
	m, ci := summarise(all, 1-c.opt.Alpha)
	return &Side{Runs: len(all), Median: m, Interval: ci}
}

// front marks the points that no other is better than in one of two figures without being
// worse in the other, by their medians. Both are better high.
func front(points []Point, name string, other func(*Point) *Side) {
	for i := range points {
		p := &points[i]
		x, y := p.ThroughputPerGPU, other(p)
		if x == nil || y == nil {
			continue
		}
		dominated := slices.ContainsFunc(points, func(q Point) bool {
			u, v := q.ThroughputPerGPU, other(&q)
			return u != nil && v != nil && u.Median >= x.Median && v.Median >= y.Median && (u.Median > x.Median || v.Median > y.Median)
		})
		if !dominated {
			p.Front = append(p.Front, name)
		}
	}
}
