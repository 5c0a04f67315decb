package compare

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wattrace/reduce"
)

// plant is what runs of a test are made of. The zero value of a field takes the usual.
type plant struct {
	devices     []string // names of GPUs
	model       string
	driver      string
	trace       string
	concurrency int
	seconds     float64
	requests    int64
	watts       float64 // of each GPU
	tokens      float64 // per second
	limit       float64 // of each GPU, W
	start       time.Time
	random      float64 // relative
	sensor      *reduce.SensorDoubt
	method      string
	mig         bool
}

// run makes a report as reduce would, with the uncertainties that follow from its sensors.
func (p plant) run(path string) Run {
	p.devices = orElse(p.devices, []string{"GPU-a", "GPU-b"})
	p.model, p.driver, p.trace, p.method = or(p.model, "H100"), or(p.driver, "580"), or(p.trace, "18dcce21ec45e16a"), or(p.method, "counter")
	p.concurrency, p.seconds, p.requests = or(p.concurrency, 8), or(p.seconds, 100), or(p.requests, 1000)
	p.watts, p.tokens, p.limit, p.random = or(p.watts, 500), or(p.tokens, 1000), or(p.limit, 700), or(p.random, 1e-3)
	if p.sensor == nil {
		p.sensor = reduce.AssumedSensor()
	}
	if p.start.IsZero() {
		p.start = time.Date(2026, 5, 28, 20, 0, 0, 0, time.UTC)
	}
	n := float64(len(p.devices))
	joules := n * p.watts * p.seconds
	s := p.sensor
	zero := s.ZeroWatts / p.watts
	if s.Calibrated == "device" {
		zero /= math.Sqrt(n)
	}
	systematic := math.Sqrt(s.ModelGain*s.ModelGain + s.UnitGain*s.UnitGain/n + zero*zero)
	number := func(unit string, v float64) reduce.Metric {
		return reduce.Metric{Unit: unit, Number: &reduce.Number{Value: v, DevicesCovered: len(p.devices), Method: p.method, Uncertainty: &reduce.Uncertainty{Random: p.random * v, Systematic: systematic * v}}}
	}
	plain := func(unit string, v float64) reduce.Metric {
		return reduce.Metric{Unit: unit, Number: &reduce.Number{Value: v, DevicesCovered: len(p.devices)}}
	}
	ph := reduce.Phase{
		Name: "profiling", Kind: "measure", Start: p.start.Format(time.RFC3339Nano), DurationSeconds: &p.seconds, Concurrency: p.concurrency,
		Requests: &reduce.Requests{Sent: p.requests, Succeeded: p.requests},
		Devices:  &reduce.Devices{Expected: len(p.devices), Seen: len(p.devices)},
		Metrics: map[string]reduce.Metric{
			reduce.TotalGPUEnergy: number("J", joules), reduce.AverageGPUPower: number("W", joules/p.seconds),
			reduce.OutputTokensPerJoule:  number("tokens/J", p.tokens*p.seconds/joules),
			reduce.EnergyPerOutputToken:  number("J/token", joules/p.tokens/p.seconds),
			reduce.OutputTokenThroughput: plain("tokens/s", p.tokens), reduce.GPUPowerLimit: plain("W", n*p.limit),
			reduce.TimeToFirstToken:             {Unit: "s", Distribution: &reduce.Distribution{P50: 0.1 * 1000 / p.tokens, P99: 0.2, Count: p.requests}},
			reduce.OutputTokenThroughputPerUser: {Unit: "tokens/s/user", Distribution: &reduce.Distribution{P50: p.tokens / float64(p.concurrency), Count: p.requests}},
		},
	}
	rep := &reduce.Report{Schema: reduce.Schema, Inputs: []reduce.Input{{Path: path, SHA256: path}}, Runs: []reduce.Run{{
		Trace: &reduce.RunTrace{Path: "trace.jsonl", SHA256: p.trace},
		Plan:  json.RawMessage(fmt.Sprintf(`{"seed":%d,"phases":[{"name":"profiling","kind":"measure","concurrency":%d}]}`, p.start.Unix(), p.concurrency)),
	}}}
	for i, id := range p.devices {
		ph.PerDevice = append(ph.PerDevice, reduce.PerDevice{Device: id, DeviceIndex: i, Name: p.model, Source: "nvml", Scope: gpu, Metrics: map[string]reduce.Metric{reduce.GPUEnergy: number("J", joules/n)}})
		rep.Devices = append(rep.Devices, reduce.Device{Device: id, DeviceIndex: i, Name: p.model, Source: "nvml", Scope: gpu, Driver: p.driver, MIG: p.mig, Sensor: p.sensor})
	}
	rep.Phases = []reduce.Phase{ph}
	return Run{path, rep}
}

func or[T comparable](v, otherwise T) T {
	if v == *new(T) {
		return otherwise
	}
	return v
}

func orElse(v, otherwise []string) []string {
	if v == nil {
		return otherwise
	}
	return v
}

// scatter is how six runs of a test scatter, with a standard deviation of 1 %.
var scatter = []float64{1.0123, 0.9901, 1.0034, 0.9876, 1.0067, 0.9999}

// group makes runs whose power scatters.
func group(name string, n int, p plant) Group {
	g := Group{Name: name}
	watts := or(p.watts, 500)
	for i := range n {
		p.watts = watts * scatter[i%len(scatter)]
		g.Runs = append(g.Runs, p.run(fmt.Sprintf("%s-%d.json", name, i+1)))
	}
	return g
}

func must(t *testing.T, groups []Group, opt Options) *Comparison {
	t.Helper()
	c, err := Compare(groups, opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func find(t *testing.T, c *Comparison, tag, statistic string) Row {
	t.Helper()
	for _, r := range c.Rows {
		if r.Metric == tag && r.Statistic == statistic {
			return r
		}
	}
	t.Fatalf("no row of %s %s", tag, statistic)
	return Row{}
}

func TestBetterAndWorse(t *testing.T) {
	t.Parallel()
	c := must(t, []Group{group("base", 6, plant{}), group("new", 6, plant{watts: 450})}, Options{})
	if c.Test != MannWhitney || c.Needed != 4 || len(c.Groups) != 2 {
		t.Errorf("%v, %d needed", c.Test, c.Needed)
	}
	for _, r := range []struct {
		tag, statistic string
		ratio          float64
		result         Result
	}{
		{reduce.TotalGPUEnergy, "", 0.9, BetterNow}, {reduce.OutputTokensPerJoule, "", 1 / 0.9, BetterNow}, {reduce.EnergyPerOutputToken, "", 0.9, BetterNow},
		{reduce.OutputTokenThroughput, "", 1, Undecided}, {reduce.TimeToFirstToken, "p50", 1, Undecided},
	} {
		got := find(t, c, r.tag, r.statistic)
		if got.Result != r.result || math.Abs(got.Ratio.Value-r.ratio) > 1e-3 || got.P == nil || (*got.P <= 0.05) != (r.result != Undecided) {
			t.Errorf("%s: %s, ratio %v, p %v", r.tag, got.Result, got.Ratio, got.P)
		}
	}
	if first := c.Rows[0].Metric; first != reduce.TotalGPUEnergy || !c.Rows[0].OfRecord {
		t.Errorf("first comes %s", first)
	}
	c = must(t, []Group{group("base", 6, plant{}), group("new", 6, plant{watts: 550})}, Options{Metrics: []Pattern{{Tag: "*"}}})
	if r := find(t, c, reduce.OutputTokensPerJoule, ""); r.Result != WorseNow {
		t.Errorf("more power for the same tokens is %s", r.Result)
	}
	find(t, c, reduce.TimeToFirstToken, "mean")
}

// What reports doubt of themselves is passed on.
func TestNotes(t *testing.T) {
	t.Parallel()
	base, late := group("base", 4, plant{}), group("new", 4, plant{})
	late.Runs[1].Report.Warnings = []reduce.Warning{{Code: reduce.WarnFailed}, {Code: reduce.WarnSimulated}, {Code: reduce.WarnNotSteady}}
	c := must(t, []Group{base, late}, Options{})
	if got := strings.Join(c.Notes, "; "); got != "devices are simulated: these figures are no measurement; a lock of the clocks (nvidia-smi -lgc, -lmc) can't be read from a GPU; no report says how high its SM clock rose; new-2.json is incomplete, by its own warnings: failed_requests" {
		t.Error(got)
	}
}

// With too few runs nothing is said, and how many are needed is.
func TestTooFewRuns(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 3; n++ {
		c := must(t, []Group{group("base", n, plant{}), group("new", n, plant{watts: 250})}, Options{})
		r := find(t, c, reduce.TotalGPUEnergy, "")
		if r.Result != Undecided || r.P != nil || !strings.Contains(r.Reason, "4 of each are needed") || (r.Ratio.Random != nil) != (n == 1) {
			t.Errorf("%d runs of each: %+v", n, r)
		}
	}
	c := must(t, []Group{group("base", 5, plant{}), group("new", 5, plant{watts: 250})}, Options{Alpha: 0.001})
	if r := find(t, c, reduce.TotalGPUEnergy, ""); !strings.Contains(r.Reason, "7 of each are needed") {
		t.Errorf("alpha 0.001: %s", r.Reason)
	}
}

// The interval of single runs is that of their measurements, and decides nothing.
func TestSingleRuns(t *testing.T) {
	t.Parallel()
	c := must(t, []Group{{"a", []Run{plant{}.run("a")}}, {"b", []Run{plant{watts: 600}.run("b")}}}, Options{})
	r := find(t, c, reduce.TotalGPUEnergy, "")
	half := 1.95996 * 1.2 * math.Sqrt2 * 1e-3
	if math.Abs(r.Ratio.Random.High-1.2-half) > 1e-9 || math.Abs(r.Ratio.Random.Low-1.2+half) > 1e-9 {
		t.Errorf("%+v, want 1.2 ± %v", r.Ratio.Random, half)
	}
	if r.Result != Undecided || r.P != nil {
		t.Errorf("%s", r.Result)
	}
}

// Three levels of what the sensors leave: u of ln(new/base), with 2 GPUs of the same power
// on both sides.
func TestSensors(t *testing.T) {
	t.Parallel()
	calibrated := &reduce.SensorDoubt{Calibrated: "device", UnitGain: 0.002, ZeroWatts: 0.5}
	model := &reduce.SensorDoubt{Calibrated: "model", ModelGain: 0.01, UnitGain: 0.015, ZeroWatts: 1}
	other := []string{"GPU-c", "GPU-d"}
	square := func(v ...float64) (sum float64) {
		for _, x := range v {
			sum += x * x
		}
		return math.Sqrt(sum)
	}
	for name, c := range map[string]struct {
		base, new plant
		level     Sensors
		want      float64
	}{
		"the same devices":                 {plant{}, plant{}, SameDevices, 0},
		"the same devices at less power":   {plant{}, plant{watts: 250}, SameDevices, 5 * (1/250. - 1/500.)},
		"other devices of the model":       {plant{}, plant{devices: other}, SameModel, 0.015},
		"one other device of the model":    {plant{}, plant{devices: []string{"GPU-a", "GPU-d"}}, SameModel, 0.015 / math.Sqrt2},
		"another model":                    {plant{}, plant{devices: other, model: "H200"}, OtherModels, square(0.05, 0.05, 0.015)},
		"calibrated, the same":             {plant{sensor: calibrated}, plant{sensor: calibrated}, SameDevices, 0},
		"calibrated, other devices":        {plant{sensor: calibrated}, plant{sensor: calibrated, devices: other}, SameModel, square(0.002, 0.5/500)},
		"calibrated by model, others":      {plant{sensor: model}, plant{sensor: model, devices: other}, SameModel, 0.015},
		"calibrated on one side":           {plant{}, plant{sensor: calibrated}, SameDevices, square(0.05, 0.015/math.Sqrt2, 5/500., 0.002/math.Sqrt2, 0.5/500/math.Sqrt2)},
		"calibrated on one side, by model": {plant{}, plant{sensor: model}, SameDevices, square(0.05, 5/500., 0.01, 1/500.)},
	} {
		c.base.random, c.new.random = 1e-5, 1e-5
		got := must(t, []Group{{"a", []Run{c.base.run("a")}}, {"b", []Run{c.new.run("b")}}}, Options{Ignore: []string{"all"}})
		r := find(t, got, reduce.TotalGPUEnergy, "")
		if u := r.Ratio.Sensors / r.Ratio.Value; math.Abs(u-c.want) > 1e-9 || r.Sensors != c.level {
			t.Errorf("%s: %s, %v, want %s, %v", name, r.Sensors, u, c.level, c.want)
		}
		// Tokens per joule have the same, being the inverse.
		if u := find(t, got, reduce.OutputTokensPerJoule, "").Ratio; math.Abs(u.Sensors/u.Value-c.want) > 1e-9 {
			t.Errorf("%s: tokens per joule: %v", name, u)
		}
	}
}

// In a difference of energies what sensors show at no power cancels before.
func TestSensorsOfNetEnergy(t *testing.T) {
	t.Parallel()
	a, b := plant{}.run("a"), plant{watts: 250}.run("b")
	for _, r := range []Run{a, b} {
		ph := r.Report.Phases[0]
		v := ph.Metrics[reduce.TotalGPUEnergy].Value / 2
		ph.Metrics[reduce.NetGPUEnergy] = reduce.Metric{Unit: "J", Number: &reduce.Number{Value: v, Uncertainty: &reduce.Uncertainty{Systematic: v * math.Sqrt(0.05*0.05+0.015*0.015/2)}}}
	}
	c := must(t, []Group{{"a", []Run{a}}, {"b", []Run{b}}}, Options{Metrics: []Pattern{{Tag: reduce.NetGPUEnergy}}})
	if r := find(t, c, reduce.NetGPUEnergy, ""); r.Ratio.Sensors > 1e-9 || r.Sensors != SameDevices {
		t.Errorf("%+v", r.Ratio)
	}
}

// What a report doubts beside its sensors is its own, on the same devices, too.
func TestSensorsAndOtherDoubts(t *testing.T) {
	t.Parallel()
	a, b := plant{}.run("a"), plant{}.run("b")
	u := b.Report.Phases[0].Metrics[reduce.TotalGPUEnergy].Number.Uncertainty
	v := b.Report.Phases[0].Metrics[reduce.TotalGPUEnergy].Value
	u.Systematic = math.Sqrt(u.Systematic*u.Systematic + 0.02*v*0.02*v)
	c := must(t, []Group{{"a", []Run{a}}, {"b", []Run{b}}}, Options{})
	if r := find(t, c, reduce.TotalGPUEnergy, ""); math.Abs(r.Ratio.Sensors-0.02) > 1e-9 {
		t.Errorf("%v, want 0.02", r.Ratio.Sensors)
	}
}

// A change that is no more than what other devices may show is not called one.
func TestSensorsHideChanges(t *testing.T) {
	t.Parallel()
	base := group("base", 6, plant{})
	for _, c := range []struct {
		new  plant
		want Result
	}{
		{plant{watts: 485}, BetterNow},
		{plant{watts: 485, devices: []string{"GPU-c", "GPU-d"}}, Undecided},
		{plant{watts: 450, devices: []string{"GPU-c", "GPU-d"}}, BetterNow},
		{plant{watts: 450, devices: []string{"GPU-c", "GPU-d"}, model: "H200"}, Undecided},
	} {
		r := find(t, must(t, []Group{base, group("new", 6, c.new)}, Options{Ignore: []string{"devices"}}), reduce.TotalGPUEnergy, "")
		if r.Result != c.want || *r.P > 0.05 || (r.Reason == "") != (c.want != Undecided) {
			t.Errorf("%+v: %s, %s", c.new, r.Result, r.Reason)
		}
	}
}

func TestUnlike(t *testing.T) {
	t.Parallel()
	base := group("base", 4, plant{})
	for name, p := range map[string]plant{
		"trace": {trace: "0a"}, "driver": {driver: "570"}, "devices": {model: "H200"}, "power_limit": {limit: 400}, "mig": {mig: true},
		"method": {method: "integrated power_average_watts, 500ms earlier"},
	} {
		groups := []Group{base, group("new", 4, p)}
		_, err := Compare(groups, Options{})
		var unlike *UnlikeError
		if !errors.As(err, &unlike) || !slices.Equal(unlike.Names(), []string{name}) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if v := unlike.Differ[0].Values; len(v) != 2 || len(v[0].Runs) != 4 || len(v[1].Runs) != 4 {
			t.Errorf("%s: %v", name, v)
		}
		if c := must(t, groups, Options{Ignore: []string{name}}); len(c.Differ) != 1 || c.Differ[0].Name != name {
			t.Errorf("%s, ignored: %v", name, c.Differ)
		}
	}
	_, err := Compare([]Group{base, group("new", 4, plant{concurrency: 16})}, Options{})
	if err == nil || !strings.Contains(err.Error(), "load of profiling differs: closed loop, concurrency 8 (base-1.json and 3 more); closed loop, concurrency 16") {
		t.Errorf("another load: %v", err)
	}
	if !strings.Contains(err.Error(), `plan of profiling differs: {"concurrency":8,"kind":"measure"} (base-1.json`) {
		t.Errorf("another plan: %v", err)
	}
	if _, err := Compare([]Group{base, group("new", 4, plant{devices: []string{"GPU-a"}})}, Options{}); err == nil || !strings.Contains(err.Error(), "2 of H100") {
		t.Errorf("one GPU less: %v", err)
	}
	// Within a group, too.
	odd := group("new", 4, plant{})
	odd.Runs[2] = plant{driver: "570"}.run("odd.json")
	if _, err := Compare([]Group{base, odd}, Options{}); err == nil || !strings.Contains(err.Error(), "570 (odd.json)") {
		t.Errorf("an odd one: %v", err)
	}
	// What differs in times that follow from the data is the same method.
	a, b := group("base", 4, plant{method: "integrated x, 503ms earlier"}), group("new", 4, plant{method: "integrated x, 497.5ms earlier"})
	must(t, []Group{a, b}, Options{})
}

// A report that does not say a fact is taken on trust, and that is said.
func TestUnknownFacts(t *testing.T) {
	t.Parallel()
	base, late := group("base", 4, plant{}), group("new", 4, plant{})
	for _, r := range base.Runs {
		r.Report.Runs, r.Report.Devices = nil, nil // as reports were
	}
	c := must(t, []Group{base, late}, Options{})
	said := map[string]int{}
	for _, u := range c.Unknown {
		said[u.Name] = len(u.Runs)
	}
	if said["trace"] != 4 || said["driver"] != 4 || said["plan"] != 4 {
		t.Errorf("%v", c.Unknown)
	}
	if r := find(t, c, reduce.TotalGPUEnergy, ""); r.Ratio.Sensors > 1e-9 {
		t.Errorf("without devices[].sensor the usual is assumed: %v", r.Ratio)
	}
}

// Energies of phases that differ in duration and in work say nothing of each other;
// energies per token do.
func TestDurations(t *testing.T) {
	t.Parallel()
	base := group("base", 4, plant{})
	for _, c := range []struct {
		new  plant
		fits bool
	}{{plant{seconds: 150, requests: 1500}, false}, {plant{seconds: 150}, true}, {plant{requests: 1500}, true}} {
		got := must(t, []Group{base, group("new", 4, c.new)}, Options{})
		if r := find(t, got, reduce.TotalGPUEnergy, ""); (r.Ratio != nil) != c.fits || (r.Reason == "") != c.fits {
			t.Errorf("%+v: %+v", c.new, r)
		}
		if r := find(t, got, reduce.EnergyPerOutputToken, ""); r.Ratio == nil {
			t.Errorf("%+v: %+v", c.new, r)
		}
	}
	got := must(t, []Group{base, group("new", 4, plant{seconds: 150, requests: 1500})}, Options{Ignore: []string{"duration"}})
	if r := find(t, got, reduce.TotalGPUEnergy, ""); r.Result != WorseNow {
		t.Errorf("ignored: %+v", r)
	}
}

// What cannot be compared is a row with a reason, never a number.
func TestRowsWithoutNumbers(t *testing.T) {
	t.Parallel()
	base, late := group("base", 4, plant{}), group("new", 4, plant{})
	edit := func(i int, tag string, m *reduce.Metric) {
		metrics := late.Runs[i].Report.Phases[0].Metrics
		if m == nil {
			delete(metrics, tag)
			return
		}
		metrics[tag] = *m
	}
	edit(1, reduce.TotalGPUEnergy, nil)
	edit(0, reduce.EnergyPerOutputToken, &reduce.Metric{Unit: "Wh/token", Number: &reduce.Number{Value: 1}})
	edit(2, reduce.OutputTokensPerJoule, &reduce.Metric{Unit: "tokens/J"})
	for i := range base.Runs {
		m := base.Runs[i].Report.Phases[0].Metrics
		m[reduce.OutputTokenThroughput] = reduce.Metric{Unit: "tokens/s", Number: &reduce.Number{Value: 0}}
	}
	c := must(t, []Group{base, late}, Options{})
	for tag, want := range map[string]string{
		reduce.TotalGPUEnergy: "is absent in new-2.json", reduce.EnergyPerOutputToken: "units differ: Wh/token and J/token", reduce.OutputTokensPerJoule: "has no value in new-3.json",
	} {
		if r := find(t, c, tag, ""); !strings.HasPrefix(r.Reason, strings.Split(want, ":")[0]) || r.Ratio != nil || r.P != nil || r.Result != Undecided {
			t.Errorf("%s: %+v", tag, r)
		}
	}
	// A median of zero has no ratio; the difference stands for it.
	if r := find(t, c, reduce.OutputTokenThroughput, ""); r.Ratio != nil || r.Difference.Value != 1000 || r.Result != BetterNow {
		t.Errorf("from zero: %+v", r)
	}
	// Asked for by name, what no report has is a row, too.
	c = must(t, []Group{base, late}, Options{Metrics: []Pattern{{Tag: reduce.GoodputRatio}}})
	if r := find(t, c, reduce.GoodputRatio, ""); !strings.Contains(r.Reason, "absent") {
		t.Errorf("%+v", r)
	}
	text, err := json.Marshal(c)
	if err != nil || strings.Contains(string(text), "null") {
		t.Errorf("%v: %s", err, text)
	}
}

func TestChoices(t *testing.T) {
	t.Parallel()
	groups := func() []Group { return []Group{group("base", 4, plant{}), group("new", 4, plant{})} }
	for want, opt := range map[string]Options{
		`no metric has the name "energy_per_token"`:       {Metrics: []Pattern{{Tag: "energy_per_token"}}},
		`no metric of the reports fits "zz*"`:             {Metrics: []Pattern{{Tag: "zz*"}}},
		`no report has a phase "warmup"`:                  {Phases: []string{"warmup"}},
		`time_to_first_token is a distribution`:           {Conditions: []Condition{cond(t, "time_to_first_token > +1%")}},
		`no metric has the name "energy_per_outputtoken"`: {Conditions: []Condition{cond(t, "energy_per_outputtoken > +1%")}},
		`the metric is in J/token`:                        {Conditions: []Condition{cond(t, "energy_per_output_token > 1 J")}},
	} {
		_, err := Compare(groups(), opt)
		var choice *ChoiceError
		if !errors.As(err, &choice) || !strings.Contains(choice.Msg, want) {
			t.Errorf("%v, want %s", err, want)
			continue
		}
		if strings.Contains(want, "has the name") && !slices.Contains(choice.Known, "energy_per_output_token") {
			t.Errorf("%s: there are %s", want, choice.Known)
		}
	}
}

// Runs that took turns are paired by when they started: a drift that hides a change from
// the U test does not from the pairs.
func TestPaired(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 28, 20, 0, 0, 0, time.UTC)
	var a, b Group
	a.Name, b.Name = "base", "new"
	for i := range 8 {
		drift := 1 + 0.02*float64(i)
		first, second := at.Add(time.Duration(2*i)*time.Minute), at.Add(time.Duration(2*i+1)*time.Minute)
		if i%2 == 1 {
			first, second = second, first // ABBA
		}
		a.Runs = append(a.Runs, plant{watts: 500 * drift, start: first}.run(fmt.Sprintf("a%d", i)))
		b.Runs = append(b.Runs, plant{watts: 505 * drift * (1 + 0.001*float64(i%3)), start: second}.run(fmt.Sprintf("b%d", i)))
	}
	slices.Reverse(b.Runs) // the order in which they are given does not matter
	unpaired := find(t, must(t, []Group{a, b}, Options{}), reduce.TotalGPUEnergy, "")
	c := must(t, []Group{a, b}, Options{Paired: true})
	row := find(t, c, reduce.TotalGPUEnergy, "")
	if unpaired.Result != Undecided || row.Result != WorseNow || math.Abs(row.Ratio.Value-1.011) > 1e-3 || c.Test != SignedRank || c.Needed != 6 {
		t.Errorf("unpaired %s, paired %s %v", unpaired.Result, row.Result, row.Ratio)
	}
	a.Runs[0] = plant{start: at.Add(time.Hour)}.run("late")
	if _, err := Compare([]Group{a, b}, Options{Paired: true}); err == nil || !strings.Contains(err.Error(), "do not alternate") {
		t.Errorf("runs that do not alternate: %v", err)
	}
	a.Runs = a.Runs[1:]
	if _, err := Compare([]Group{a, b}, Options{Paired: true}); err == nil || !strings.Contains(err.Error(), "as many runs") {
		t.Errorf("7 and 8 runs: %v", err)
	}
}

// Whatever numbers reports hold, a comparison has none that JSON does not.
func TestHostileNumbers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hostile := rapid.SampledFrom([]float64{0, 1, -1, 500, 1e-320, 1e-60, 1e-40, 1e40, 1e60, 1e300, math.MaxFloat64, -math.MaxFloat64})
		n := rapid.IntRange(1, 5).Draw(t, "runs")
		groups := []Group{group("base", n, plant{}), group("new", n, plant{devices: []string{"GPU-c"}})}
		for _, g := range groups {
			for _, r := range g.Runs {
				ph := &r.Report.Phases[0]
				seconds := hostile.Draw(t, "seconds")
				ph.DurationSeconds = &seconds
				for _, tag := range []string{reduce.TotalGPUEnergy, reduce.OutputTokensPerJoule, reduce.GPUPowerLimit, reduce.OutputTokenThroughput} {
					m := ph.Metrics[tag].Number
					m.Value = hostile.Draw(t, tag)
					if m.Uncertainty != nil {
						m.Uncertainty = &reduce.Uncertainty{Random: hostile.Draw(t, "random"), Systematic: hostile.Draw(t, "systematic")}
					}
				}
				for i := range ph.PerDevice {
					ph.PerDevice[i].Metrics[reduce.GPUEnergy].Number.Value = hostile.Draw(t, "joules")
					r.Report.Devices[i].Sensor = &reduce.SensorDoubt{ModelGain: hostile.Draw(t, "gain"), ZeroWatts: hostile.Draw(t, "zero")}
				}
			}
		}
		opt := Options{Ignore: []string{"all"}, Metrics: []Pattern{{Tag: "*"}}, Paired: false}
		for _, s := range []string{"total_gpu_energy > +2%", "total_gpu_energy > +1 J", "total_gpu_energy > 1 J"} {
			c, err := ParseCondition(s)
			if err != nil {
				t.Fatal(err)
			}
			opt.Conditions = append(opt.Conditions, c)
		}
		if rapid.Bool().Draw(t, "ignore all but durations") {
			opt.Ignore = append(opt.Ignore, "duration")
		}
		c, err := Compare(groups, opt)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := json.Marshal(c); err != nil || strings.Contains(string(text), "null") {
			t.Errorf("%v: %s", err, text)
		}
	})
}
