package compare

import (
	"strings"
	"testing"

	"wattrace/reduce"
)

func cond(t *testing.T, s string) Condition {
	t.Helper()
	c, err := ParseCondition(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParseCondition(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Condition{
		"energy_per_output_token > +2%":                  {Tag: "energy_per_output_token", Bound: 0.02},
		" output_tokens_per_joule<-5 % ":                 {Tag: "output_tokens_per_joule", Below: true, Bound: -0.05},
		"profiling:total_gpu_power >= 5%":                {Phase: "profiling", Tag: "total_gpu_power", Bound: 0.05},
		"idle: before:total_gpu_power > +5 W":            {Phase: "idle: before", Tag: "total_gpu_power", Kind: BoundDifference, Bound: 5, Unit: "W"},
		"profiling/steady:time_to_first_token.p99>2e2ms": {Phase: "profiling/steady", Tag: "time_to_first_token", Statistic: "p99", Kind: BoundValue, Bound: 200, Unit: "ms"},
		"energy_per_request < −0.5 J/request":            {Tag: "energy_per_request", Below: true, Kind: BoundDifference, Bound: -0.5, Unit: "J/request"},
	} {
		got, err := ParseCondition(s)
		want.Text = strings.Join(strings.Fields(s), " ")
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "energy", "energy > ", "energy > 2", "> 2%", "energy = 2%", "energy.p42 > 2%", "energy > 1..2 J", "energy > 1e999 J", "energy > nan%", "Energy > 2%", "energy > 2% of all"} {
		if c, err := ParseCondition(s); err == nil {
			t.Errorf("%q is %+v", s, c)
		}
	}
}

// FuzzParseCondition: what is a condition has a tag, a unit or a share, and a finite bound.
func FuzzParseCondition(f *testing.F) {
	f.Add("profiling:energy_per_output_token.p50 > +2%")
	f.Add("a < -1e3 mJ/token")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCondition(s)
		if err == nil && (c.Tag == "" || c.Bound-c.Bound != 0 || (c.Unit == "") != (c.Kind == BoundRatio)) {
			t.Errorf("%q: %+v", s, c)
		}
	})
}

func TestConditions(t *testing.T) {
	t.Parallel()
	base := group("base", 6, plant{})
	for _, c := range []struct {
		new       plant
		runs      int
		condition string
		want      Outcome
	}{
		{plant{watts: 550}, 6, "energy_per_output_token > +2%", Holds},
		{plant{watts: 500}, 6, "energy_per_output_token > +2%", HoldsNot},
		{plant{watts: 510}, 6, "energy_per_output_token > +2%", Unsure},
		{plant{watts: 550}, 3, "energy_per_output_token > +2%", Unsure},
		{plant{watts: 550}, 1, "energy_per_output_token > +2%", Unsure},
		{plant{watts: 450}, 6, "energy_per_output_token < -5%", Holds},
		{plant{watts: 500}, 6, "energy_per_output_token < -5%", HoldsNot},
		{plant{watts: 550}, 6, "output_tokens_per_joule < -2%", Holds},
		{plant{watts: 550}, 6, "profiling:average_gpu_power > +50 W", Holds},
		{plant{watts: 550}, 6, "average_gpu_power > +0.05 kW", Holds},
		{plant{watts: 550}, 6, "average_gpu_power > +150 W", HoldsNot},
		{plant{watts: 550}, 6, "average_gpu_power > +100 W", Unsure},
		{plant{watts: 550}, 6, "average_gpu_power > 500 W", Holds},   // in truth it is 1100 ± 11 %
		{plant{watts: 550}, 6, "average_gpu_power > 1050 W", Unsure}, // which other sensors might not show
		{plant{watts: 550}, 5, "average_gpu_power > 500 W", Unsure},  // a median's interval needs six
		{plant{tokens: 500}, 6, "time_to_first_token.p50 > 150 ms", Holds},
		{plant{tokens: 500}, 6, "time_to_first_token.p50 < 150 ms", HoldsNot},
		{plant{}, 6, "output_token_throughput < 0%", HoldsNot}, // it is the same in all runs
		{plant{}, 6, "output_token_throughput > 0%", HoldsNot},
		{plant{}, 6, "goodput_ratio < -1%", Unsure}, // which no report has
	} {
		a, b := base, group("new", c.runs, c.new)
		if c.runs < 4 {
			a = group("base", c.runs, plant{})
		}
		got := must(t, []Group{a, b}, Options{Conditions: []Condition{cond(t, c.condition)}})
		if got.Outcome() != c.want || len(got.Conditions) != 1 || (got.Conditions[0].Reason == "") != (c.want != Unsure) {
			t.Errorf("%s, %+v: %+v", c.condition, c.new, got.Conditions)
		}
	}
}

// Of several conditions one that holds decides, else one that is undecided.
func TestConditionsTogether(t *testing.T) {
	t.Parallel()
	groups := func() []Group {
		return []Group{group("base", 6, plant{}), group("same", 6, plant{}), group("more", 6, plant{watts: 510})}
	}
	for want, texts := range map[Outcome][]string{
		Holds:    {"energy_per_output_token > -50%", "energy_per_output_token > +2%"},
		Unsure:   {"energy_per_output_token > +2%", "energy_per_output_token > +50%"},
		HoldsNot: {"energy_per_output_token > +40%", "energy_per_output_token > +50%"},
	} {
		var opt Options
		for _, s := range texts {
			opt.Conditions = append(opt.Conditions, cond(t, s))
		}
		if c := must(t, groups(), opt); c.Outcome() != want || len(c.Conditions) != 4 {
			t.Errorf("%q: %s, %v", texts, c.Outcome(), c.Conditions)
		}
	}
}

// A condition without a phase is of the phases that are compared, not of those that another
// condition names.
func TestConditionsOfPhases(t *testing.T) {
	t.Parallel()
	groups := []Group{group("base", 6, plant{}), group("new", 6, plant{})}
	for _, g := range groups {
		for _, r := range g.Runs {
			r.Report.Phases = append(r.Report.Phases, reduce.Phase{Name: "idle: before", Kind: "idle", Metrics: map[string]reduce.Metric{
				reduce.AverageGPUPower: {Unit: "W", Number: &reduce.Number{Value: 180}},
			}})
		}
	}
	c := must(t, groups, Options{
		Phases:     []string{"profiling", "profiling"},
		Conditions: []Condition{cond(t, "energy_per_output_token > +5%"), cond(t, "idle: before:average_gpu_power > 200 W")},
	})
	if len(c.Conditions) != 2 || c.Outcome() != HoldsNot || c.Conditions[1].Phase != "idle: before" {
		t.Errorf("%+v", c.Conditions)
	}
	n := 0
	for _, r := range c.Rows {
		if r.Phase == "profiling" && r.Metric == reduce.TotalGPUEnergy {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d rows of a phase that is named twice", n)
	}
}

func TestAxis(t *testing.T) {
	t.Parallel()
	var runs []Run
	for _, p := range []struct{ limit, watts, tokens float64 }{{700, 650, 1000}, {500, 480, 990}, {400, 390, 900}, {300, 295, 600}, {600, 590, 985}} {
		g := group("run", 3, plant{limit: p.limit, watts: p.watts, tokens: p.tokens})
		runs = append(runs, g.Runs...)
	}
	for i := range runs {
		runs[i].Path += string(rune('a' + i))
	}
	groups, err := GroupBy(PowerLimitAxis, runs)
	if err != nil || len(groups) != 5 || groups[0].Name != "power_limit=300" || len(groups[0].Runs) != 3 {
		t.Fatalf("%v, %v", groups, err)
	}
	c := must(t, groups, Options{Axis: PowerLimitAxis})
	points := c.Axis.Phases[0].Points
	for i, want := range []struct {
		at    float64
		front string
	}{{300, ""}, {400, EnergyFront}, {500, EnergyFront}, {600, ""}, {700, EnergyFront + UserFront}} { // 600 W are dominated by 500 W
		if p := points[i]; p.At != want.at || strings.Join(p.Front, "") != want.front {
			t.Errorf("%g W: %v, want %s", p.At, p.Front, want.front)
		}
	}
	if p := points[4]; p.ThroughputPerGPU.Median != 500 || p.PowerPerGPU.Median < 640 || p.PowerPerGPU.Median > 660 {
		t.Errorf("%+v", p)
	}
	// A group has one place on the axis.
	if _, err := Compare([]Group{{"all", runs}, {"one", runs[:3]}}, Options{Axis: PowerLimitAxis}); err == nil || !strings.Contains(err.Error(), "power_limit is") {
		t.Errorf("%v", err)
	}
	// Along another axis a power limit that differs is a fact that does.
	if _, err := Compare(groups, Options{Axis: ConcurrencyAxis}); err == nil || !strings.Contains(err.Error(), "power_limit of profiling differs") {
		t.Errorf("%v", err)
	}
	delete(runs[0].Report.Phases[0].Metrics, reduce.GPUPowerLimit)
	if _, err := GroupBy(PowerLimitAxis, runs); err == nil || !strings.Contains(err.Error(), "does not say its power_limit") {
		t.Errorf("%v", err)
	}
	byUsers := []Group{group("8", 2, plant{}), group("16", 2, plant{concurrency: 16, tokens: 1500})}
	if c := must(t, byUsers, Options{Axis: ConcurrencyAxis}); len(c.Axis.Phases[0].Points) != 2 {
		t.Errorf("%+v", c.Axis)
	}
}
