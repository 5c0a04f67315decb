package compare

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Condition is a bound that must not be passed: it holds where something is wrong.
type Condition struct {
	Text      string // as it was given
	Phase     string // "" is each that is compared
	Tag       string
	Statistic string
	Below     bool // it holds below the bound, else above
	Kind      BoundKind
	Bound     float64 // of a ratio its difference from 1; else in Unit
	Unit      string  // "" for a ratio
}

// BoundKind says what a condition bounds.
type BoundKind int

// The kinds.
const (
	BoundRatio      BoundKind = iota // new / base - 1: "> +2%"
	BoundDifference                  // new - base: "> +0.5 J/token"
	BoundValue                       // new: "> 9 J/token"
)

var condition = regexp.MustCompile(`^\s*(?:(.*):)?\s*([a-z][a-z0-9_]*)(?:\.([a-z0-9]+))?\s*(<=?|>=?)\s*([-+−]?)\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(\S*)\s*$`)

// ParseCondition reads [PHASE:]TAG[.STATISTIC] then < or > and a bound: a change in
// percent, as in "+2%"; with a sign a difference in the metric's unit, as in "+0.5
// J/token"; without one a value of the metric, as in "9 J/token".
func ParseCondition(s string) (Condition, error) {
	fail := func(why string) (Condition, error) {
		return Condition{}, fmt.Errorf("%q: %s", s, why)
	}
	m := condition.FindStringSubmatch(s)
	if m == nil {
		return fail("want [PHASE:]METRIC then < or > and a bound, as in 'energy_per_output_token > +2%', 'total_gpu_power > +5 W', 'time_to_first_token.p99 > 200 ms'")
	}
	c := Condition{Text: strings.Join(strings.Fields(s), " "), Phase: strings.TrimSpace(m[1]), Tag: m[2], Statistic: m[3], Below: m[4][0] == '<', Unit: m[7]}
	if _, ok := statistics[c.Statistic]; !ok && c.Statistic != "" {
		return fail("no distribution has a statistic " + strconv.Quote(c.Statistic))
	}
	bound, err := strconv.ParseFloat(m[6], 64)
	if err != nil || math.IsInf(bound, 0) {
		return fail(strconv.Quote(m[6]) + " is no number")
	}
	if m[5] == "-" || m[5] == "−" {
		bound = -bound
	}
	c.Bound = bound
	switch {
	case c.Unit == "%":
		c.Bound, c.Unit = bound/100, ""
	case c.Unit == "":
		return fail(`a bound has a unit, or is in percent ("1" is the unit of a share)`)
	case m[5] != "":
		c.Kind = BoundDifference
	default:
		c.Kind = BoundValue
	}
	return c, nil
}

// Outcome is how a condition ends.
type Outcome string

// The outcomes.
const (
	Holds    Outcome = "holds" // certain enough: what was not to be is
	HoldsNot Outcome = "does_not_hold"
	Unsure   Outcome = "undecided"
)

// Verdict is what became of a condition, in one phase and for one group.
type Verdict struct {
	Condition string    `json:"condition"`
	Phase     string    `json:"phase"`
	Group     string    `json:"group"`
	Outcome   Outcome   `json:"outcome"`
	Value     *float64  `json:"value,omitempty"`    // what was bounded: of a ratio its difference from 1
	Unit      string    `json:"unit,omitempty"`     // absent for a ratio
	Interval  *Interval `json:"interval,omitempty"` // which is all on one side of the bound where it is decided
	Reason    string    `json:"reason,omitempty"`   // why it is not
}

// Outcome combines the verdicts: one that holds decides, else one that is undecided.
func (c *Comparison) Outcome() Outcome {
	out := HoldsNot
	for _, v := range c.Conditions {
		switch v.Outcome {
		case Holds:
			return Holds
		case Unsure:
			out = Unsure
		}
	}
	return out
}

// checkConditions refuses conditions that no report could ever decide.
func (c *comparer) checkConditions() error {
	tags := c.tags()
	for i := range c.opt.Conditions {
		cond := &c.opt.Conditions[i]
		if !known(cond.Tag, tags) {
			return unknownTag(cond.Tag, tags)
		}
		if cond.Statistic == "" && c.statisticsOf(cond.Tag, "")[0] != "" {
			return &ChoiceError{Msg: fmt.Sprintf("%s is a distribution", cond.Tag), Hint: fmt.Sprintf("name a statistic, as in %s.p50", cond.Tag)}
		}
		if cond.Kind == BoundRatio {
			continue
		}
		var err error
		c.anyRun(func(r *Run) bool {
			for _, name := range c.phases {
				if ph := r.phase(name); ph != nil {
					if m, ok := ph.Metrics[cond.Tag]; ok {
						if _, e := toUnit(cond.Unit, m.Unit); e != nil {
							err = &ChoiceError{Msg: fmt.Sprintf("%q: %v", cond.Text, e)}
							return true
						}
					}
				}
			}
			return false
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// prefixes of units.
var prefixes = map[string]float64{"": 1, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}

// toUnit returns by how much a number in a unit is multiplied to be in the metric's.
func toUnit(unit, metric string) (float64, error) {
	if before, ok := strings.CutSuffix(unit, metric); ok {
		if factor, ok := prefixes[before]; ok {
			return factor, nil
		}
	}
	return 0, errors.New("the metric is in " + metric)
}

// judge decides a condition in one phase.
func (c *comparer) judge(cond Condition, phase string, g Group) Verdict {
	v := Verdict{Condition: cond.Text, Phase: phase, Group: g.Name, Outcome: Unsure}
	row := c.row(phase, metric{tag: cond.Tag, statistic: cond.Statistic}, g)
	if row.New == nil || row.Base == nil && cond.Kind != BoundValue {
		v.Reason = row.Reason
		return v
	}
	bound, none := cond.Bound, "new / base"
	var e *Estimate
	switch cond.Kind {
	case BoundRatio:
		if row.Ratio == nil {
			v.Reason = cmp.Or(row.Reason, "there is no ratio: a value is not above 0")
			return v
		}
		e = row.Ratio.minus(1)
	case BoundDifference:
		e, none = row.Difference, "new - base"
	case BoundValue:
		e = c.valueOf(&row, phase, g)
	}
	if e == nil {
		v.Reason = cmp.Or(row.Reason, "nothing is known of "+none)
		return v
	}
	if cond.Kind != BoundRatio {
		factor, err := toUnit(cond.Unit, row.Unit)
		if err != nil {
			v.Reason = err.Error()
			return v
		}
		bound *= factor
		v.Unit = row.Unit
	}
	v.Value = &e.Value
	v.Interval = e.Total
	switch {
	case cond.Kind != BoundValue && row.P == nil: // with one run of each, too: its interval is not the runs'
		v.Reason = row.Reason
		return v
	case e.Total == nil:
		v.Reason = fmt.Sprintf("too few runs: a median's interval needs %d", c.medianRuns())
		return v
	}
	holds, holdsNot := e.Total.Low > bound, e.Total.High <= bound
	if cond.Below {
		holds, holdsNot = e.Total.High < bound, e.Total.Low >= bound
	}
	switch {
	case holds:
		v.Outcome = Holds
	case holdsNot:
		v.Outcome = HoldsNot
	default:
		v.Reason = "the bound is within the interval"
	}
	return v
}

// minus shifts an estimate.
func (e *Estimate) minus(by float64) *Estimate {
	shift := func(i *Interval) *Interval {
		if i == nil {
			return nil
		}
		return &Interval{i.Low - by, i.High - by}
	}
	return &Estimate{Value: e.Value - by, Random: shift(e.Random), Sensors: e.Sensors, Total: shift(e.Total)}
}

// valueOf returns the median of a group as an estimate, with all that is systematic of it.
func (c *comparer) valueOf(row *Row, phase string, g Group) *Estimate {
	values, why := c.sideOf(g, phase, metric{tag: row.Metric, statistic: row.Statistic})
	if why != "" {
		return nil
	}
	e := &Estimate{Value: row.New.Median, Random: row.New.Interval}
	for _, v := range values {
		e.Sensors += v.systematic / float64(len(values))
	}
	e.widen(c.opt.Alpha)
	return e
}

// medianRuns returns how many runs the interval of a median needs.
func (c *comparer) medianRuns() int {
	for n := 2; ; n++ {
		values := make([]float64, n)
		if _, ci := summarise(values, 1-c.opt.Alpha); ci != nil || n > 1000 {
			return n
		}
	}
}

// Worst orders verdicts: those that hold, those that are undecided, the others.
func Worst(a, b Verdict) int {
	rank := func(v Verdict) int { return map[Outcome]int{Holds: 0, Unsure: 1, HoldsNot: 2}[v.Outcome] }
	return cmp.Compare(rank(a), rank(b))
}
