package compare

import (
	"fmt"
	"math"
	"strings"

	"wattrace/reduce"
)

// applicationClocks says what the clocks of a GPU are set to be; "" is unknown.
func applicationClocks(d *reduce.Device) string {
	c := d.Clocks
	if c == nil {
		return ""
	}
	var list []string
	for _, s := range []struct {
		what  string
		hertz *float64
	}{{"SM", c.ApplicationSM}, {"memory", c.ApplicationMemory}} {
		if s.hertz != nil && measurable(*s.hertz) {
			list = append(list, fmt.Sprintf("%s %s MHz", s.what, megahertz(*s.hertz)))
		}
	}
	return strings.Join(list, " and ")
}

func megahertz(hertz float64) string { return strings.TrimSuffix(short(hertz/1e6, 1), ".0") }

// clockStep is how far the clocks of GPUs move at once: 15 MHz, of some generations half of
// that. Highest readings that are no further apart are the same.
const clockStep = 15e6

// peaks is the span of the highest SM clocks that GPUs were seen at.
type peaks struct{ low, high float64 }

func (p *peaks) add(v float64) {
	if p.high == 0 {
		p.low, p.high = v, v
	}
	p.low, p.high = min(p.low, v), max(p.high, v)
}

func (p peaks) String() string {
	if p.high-p.low <= clockStep {
		return megahertz(p.high) + " MHz"
	}
	return megahertz(p.low) + " to " + megahertz(p.high) + " MHz"
}

// clockNotes says what can be seen of locks of the clocks, which no program can read: how
// high the SM clocks of the GPUs rose in each phase. A lock shows where the highest of them
// differ; so may heat and the power limit.
func (c *comparer) clockNotes() (notes []string) {
	const cannot = "a lock of the clocks (nvidia-smi -lgc, -lmc) can't be read from a GPU; "
	for _, name := range c.phases {
		all, said := peaks{}, []string{}
		for _, g := range c.groups {
			of := peaks{}
			for i := range g.Runs {
				ph := g.Runs[i].phase(name)
				if ph == nil {
					continue
				}
				for j := range ph.PerDevice {
					d := &ph.PerDevice[j]
					m, ok := d.Metrics[reduce.PeakSMClock]
					if !ok || m.Number == nil || d.Scope != gpu || m.Value <= 0 || !measurable(m.Value) {
						continue
					}
					of.add(m.Value)
					all.add(m.Value)
				}
			}
			if of.high == 0 {
				said = append(said, fmt.Sprintf("unknown of %s", g.Name))
				continue
			}
			said = append(said, fmt.Sprintf("%s of %s", of, g.Name))
		}
		switch {
		case all.high == 0:
			continue
		case all.high-all.low > clockStep:
			notes = append(notes, fmt.Sprintf("%sbut the highest SM clocks in %s differ: %s: a lock, another power limit or heat held some down", cannot, name, strings.Join(said, ", ")))
		default:
			notes = append(notes, fmt.Sprintf("%sthe highest SM clock in %s was %s", cannot, name, strings.Join(said, ", ")))
		}
	}
	if len(notes) == 0 {
		notes = append(notes, cannot+"no report says how high its SM clock rose")
	}
	return notes
}

// short writes a number that may be of any size, without digits that nobody reads.
func short(v float64, decimals int) string {
	if math.Abs(v) >= 1e12 {
		return fmt.Sprintf("%.4g", v)
	}
	return fmt.Sprintf("%.*f", decimals, v)
}
