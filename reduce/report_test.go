package reduce

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"wattrace/reduce/attribute"
	"wattrace/sample"
	"wattrace/trace"
)

func kindSpan(name, kind string, from, to trace.Time) Span {
	s := phaseSpan(name, from, to)
	s.Kind = kind
	return s
}

// levels is a power that changes at instants.
func levels(first float64, steps ...float64) func(trace.Time) float64 {
	return func(t trace.Time) float64 {
		w := first
		for i := 0; i < len(steps); i += 2 {
			if t.Seconds() >= steps[i] {
				w = steps[i+1]
			}
		}
		return w
	}
}

// TestIdleNextToAPhase has idle phases of 50, 100, 120 and 60 W; those next to the load
// count, however far away.
func TestIdleNextToAPhase(t *testing.T) {
	watts := levels(50, 6, 100, 10, 600, 30, 120, 40, 60)
	g := &gpu{watts: watts, period: 100 * ms, phase: 30 * ms, until: 61 * sec}
	batches := rows([]sample.Device{device(0), device(1)}, 0, 60*sec, 20*ms, func(d int, at trace.Time, r sample.Row) {
		r.Set(sample.EnergyJoules, g.counter(at))
		r.Set(sample.TemperatureCelsius, 40+20*float64(d))
	})
	spans := []Span{
		kindSpan("i1", "idle", 2*sec, 6*sec), kindSpan("i2", "idle", 6*sec, 10*sec), kindSpan("warm", "warmup", 10*sec, 12*sec),
		phaseSpan("p", 12*sec, 30*sec), kindSpan("i3", "idle", 30*sec, 40*sec), kindSpan("i4", "idle", 40*sec, 50*sec),
	}
	rep := reduceAll(t, spans, true, Options{}, batches, succeeded("p", 13*sec, 14*sec, 29*sec, 10, 10))
	near(t, "what is nobody's", *rep.Attribution.IdleWatts, 220, 0.5)
	m := rep.Phases[3].Metrics
	near(t, "idle", value(t, m, IdleGPUPower), 220, 0.5)
	near(t, "its systematic part", m[IdleGPUPower].Uncertainty.Systematic, math.Sqrt(11*11+2*1.65*1.65+100), 0.05)
	if method := m[IdleGPUPower].Method; method != "before (4s, 50 °C) and after (10s, 50 °C)" {
		t.Errorf("%q", method)
	}
	// Of one alone the uncertainty is its own.
	for name, list := range map[string][]Span{"i2": spans[1:4], "i3": spans[3:5]} {
		rep := reduceAll(t, list, true, Options{}, batches)
		var idle, p map[string]Metric
		for _, ph := range rep.Phases {
			switch ph.Name {
			case name:
				idle = ph.Metrics
			case "p":
				p = ph.Metrics
			}
		}
		got, want := p[IdleGPUPower], idle[AverageGPUPower]
		near(t, name, got.Value, want.Value, 1e-9)
		near(t, name+": random", got.Uncertainty.Random, want.Uncertainty.Random, 1e-9)
		near(t, name+": systematic", got.Uncertainty.Systematic, want.Uncertainty.Systematic, 1e-9)
	}
	given := reduceAll(t, spans[3:4], true, Options{Idle: IdleChoice{Watts: trace.Some(90.)}}, batches).Phases[0].Metrics
	gross := given[TotalGPUEnergy]
	near(t, "net of what was given", given[NetGPUEnergy].Value, gross.Value-90*18, 1e-6)
	if u := given[NetGPUEnergy].Uncertainty; *u != *gross.Uncertainty {
		t.Errorf("%+v, gross %+v", *u, *gross.Uncertainty)
	}
	if given[IdleGPUPower].Uncertainty != nil || given[IdleGPUEnergy].Uncertainty != nil {
		t.Error("what was given has an uncertainty")
	}
	late := reduceAll(t, spans[3:4], true, Options{Idle: IdleChoice{Head: 61 * time.Second}}, batches)
	absent(t, late.Phases[0].Metrics, IdleGPUPower)
	if !warned(late, WarnNoIdle, "") {
		t.Error("a head that is longer than the recording")
	}
}

// TestIdleOfDevicesThatComeAndGo: net energy needs all devices at rest.
func TestIdleOfDevicesThatComeAndGo(t *testing.T) {
	g := &gpu{watts: levels(100, 10, 600, 30, 120), period: 100 * ms, phase: 30 * ms, until: 61 * sec}
	run := func(from, to float64, spans ...Span) *Report {
		return reduceAll(t, spans, true, Options{}, rows([]sample.Device{device(0), device(1)}, 0, 60*sec, 20*ms, func(d int, at trace.Time, r sample.Row) {
			if d == 0 || at.Seconds() >= from && at.Seconds() < to {
				r.Set(sample.EnergyJoules, g.counter(at))
			}
		}))
	}
	before, p, after := kindSpan("before", "idle", 2*sec, 9*sec), phaseSpan("p", 10*sec, 30*sec), kindSpan("after", "idle", 31*sec, 40*sec)
	came := run(8, 60, before, p)
	absent(t, came.Phases[1].Metrics, NetGPUEnergy, IdleGPUPower)
	if !warned(came, WarnNoIdle, "p") {
		t.Error("no warning of a device that has no idle energy")
	}
	absent(t, run(8, 60, before, p, after).Phases[1].Metrics, NetGPUEnergy)
	absent(t, run(0, 35, before, p, after).Phases[1].Metrics, NetGPUEnergy)
	// One that came after the load is at rest only then: before and after are not the same.
	absent(t, run(30.5, 60, before, p, after).Phases[1].Metrics, NetGPUEnergy)
	// One that went during the phase takes its idle energy along.
	went := run(0, 20, before, p).Phases[1]
	near(t, "idle of the one that stayed", value(t, went.Metrics, IdleGPUPower), 100, 0.3)
	near(t, "its net energy", value(t, went.Metrics, NetGPUEnergy), 10000, 15)
	if went.Devices.Seen != 1 || !slices.Equal(went.Devices.Missing, []string{"GPU-b"}) {
		t.Errorf("%+v", went.Devices)
	}
}

func TestClockRangesOfWhatFollows(t *testing.T) {
	g := &gpu{watts: levels(100, 10, 500, 20, 100), period: 100 * ms, phase: 30 * ms, until: 41 * sec}
	other := device(1)
	other.Scope = sample.ScopeModule
	batches := rows([]sample.Device{device(0), other}, 0, 40*sec, 20*ms, func(_ int, at trace.Time, r sample.Row) { r.Set(sample.EnergyJoules, g.counter(at)) })
	opt := Options{Idle: IdleChoice{Watts: trace.Some(50.)}, Topology: []Member{{Device: "GPU-a", Role: "agg"}}}
	rep := reduceFrom(t, Recording{Spread: 500 * time.Millisecond}, []Span{phaseSpan("p", 10*sec, 20*sec)}, true, opt, batches, succeeded("p", 11*sec, 12*sec, 19*sec, 10, 10))
	ph := rep.Phases[0]
	c := ph.Metrics[TotalGPUEnergy].ClockRange
	net := ph.Metrics[NetGPUEnergy].ClockRange
	near(t, "low", net.Low, c.Low-500, 1e-6)
	near(t, "high", net.High, c.High-500, 1e-6)
	near(t, "per joule", ph.Metrics[OutputTokensPerJoule].ClockRange.High, 10/c.Low, 1e-9)
	near(t, "J/user", ph.Metrics[EnergyPerUser].ClockRange.Low, c.Low/4, 1e-9)
	for name, got := range map[string]*Enclosure{"role": ph.Roles[0].Metrics[RoleEnergy].ClockRange, "module": ph.Metrics["total_module_energy"].ClockRange} {
		if got == nil || math.Abs(got.Low-c.Low) > 1e-6 {
			t.Errorf("%s: %+v, want %+v", name, got, c)
		}
	}
	if ph.Metrics[PrefillEnergy].ClockRange != nil {
		t.Error("a stage has the range of the whole")
	}
	right := reduceAll(t, []Span{phaseSpan("p", 10*sec, 20*sec)}, true, opt, batches)
	if got := right.Phases[0].PerDevice[0].Metrics[GPUEnergy].ClockRange; got != nil {
		t.Errorf("clocks that are right: %+v", got)
	}
}

func TestConditionsOfTwoGPUs(t *testing.T) {
	run := func(limits ...float64) map[string]Metric {
		batches := rows([]sample.Device{device(0), device(1)}, 0, 20*sec, sec/2, func(d int, at trace.Time, r sample.Row) {
			other := d == 1
			pick := func(a, b float64) float64 {
				if other {
					return b
				}
				return a
			}
			r.Set(sample.TemperatureCelsius, pick(80, 60))
			r.Set(sample.GPUUtilization, pick(0.9, 0.5))
			r.Set(sample.MemoryUtilization, pick(0.2, 0.4))
			r.Set(sample.SMClockHertz, pick(1.5e9, 1.7e9))
			r.Set(sample.MemoryClockHertz, pick(2.6e9, 2.8e9))
			r.SetUint(sample.MemoryUsedBytes, uint64(pick(8e9, 2e9)))
			r.Set(sample.PowerAverageWatts, 300)
			if d < len(limits) {
				r.Set(sample.PowerLimitWatts, limits[d])
			}
		})
		return reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches).Phases[0].Metrics
	}
	m := run(700, 500)
	for tag, want := range map[string]float64{
		GPUTemperature: 70, PeakGPUTemperature: 80, GPUUtilization: 0.7, MemoryUtilization: 0.3, SMClock: 1.6e9, MemoryClock: 2.7e9,
		MemoryUsed: 1e10, GPUPowerLimit: 1200, PowerLimitShare: 0.5,
	} {
		near(t, tag, value(t, m, tag), want, 1e-9*want)
		if n := m[tag].DevicesCovered; n != 2 {
			t.Errorf("%s covers %d", tag, n)
		}
	}
	absent(t, run(700), PowerLimitShare)
	absent(t, run(), PowerLimitShare, GPUPowerLimit)
}

func TestShareOfTheLimitOfOtherDevices(t *testing.T) {
	batches := rows([]sample.Device{device(0), device(1)}, 0, 20*sec, sec/2, func(d int, at trace.Time, r sample.Row) {
		if d == 0 {
			r.Set(sample.PowerAverageWatts, 300)
		} else {
			r.Set(sample.PowerLimitWatts, 700)
		}
	})
	m := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches).Phases[0].Metrics
	absent(t, m, PowerLimitShare)
	if n := m[PeakGPUPower].DevicesCovered; n != 1 {
		t.Errorf("the peak covers %d", n)
	}
}

// TestRoleThatLacksADevice has one whose telemetry ends within the phase.
func TestRoleThatLacksADevice(t *testing.T) {
	g := &gpu{watts: flat(400), period: 100 * ms, until: 31 * sec}
	batches := rows([]sample.Device{device(0), device(1), device(2)}, 0, 30*sec, 20*ms, func(d int, at trace.Time, r sample.Row) {
		if d != 1 || at < 10*sec {
			r.Set(sample.EnergyJoules, g.counter(at))
			r.Set(sample.PowerAverageWatts, 420)
		}
	})
	opt := Options{Topology: []Member{{Device: "GPU-a", Role: "prefill"}, {Device: "GPU-b", Role: "prefill"}, {Device: "GPU-c", Role: "decode"}}, ExpectDevices: 4}
	q := succeeded("p", 6*sec, 7*sec, 14*sec, 0, 500)
	ph := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, opt, batches, q).Phases[0]
	decode, prefill := ph.Roles[0], ph.Roles[1]
	if d := prefill.Devices; d.Expected != 2 || d.Seen != 1 || !slices.Equal(d.Missing, []string{"GPU-b"}) {
		t.Errorf("%+v", d)
	}
	if ph.Devices.Expected != 4 || ph.Devices.Seen != 2 {
		t.Errorf("%+v", ph.Devices)
	}
	absent(t, prefill.Metrics, RoleEnergyPerInputToken, RoleEnergyPerOutputToken)
	absent(t, decode.Metrics, RoleEnergyPerInputToken)
	near(t, "power", value(t, decode.Metrics, RolePower), 400, 1)
	// 5 %, 1.5 %, 5 W, and half of the 200 J that the gauge says more.
	want := math.Sqrt(200*200 + 60*60 + 50*50 + 100*100)
	near(t, "a role's systematic part", decode.Metrics[RoleEnergy].Uncertainty.Systematic, want, 2)
	near(t, "a device's", ph.PerDevice[0].Metrics[GPUEnergy].Uncertainty.Systematic, want, 2)
	near(t, "a device's other energy's", ph.PerDevice[0].Metrics[CrossCheckEnergy].Uncertainty.Systematic, math.Sqrt(210*210+63*63+50*50), 2)
	near(t, "both devices' other energy's", ph.Metrics[CrossCheckEnergy].Uncertainty.Systematic, math.Sqrt(420*420+2*63*63+100*100), 2)
	if n := ph.Metrics[CrossCheckRatio].DevicesCovered; n != 2 {
		t.Errorf("the ratio covers %d", n)
	}
	near(t, "a device's ratio", ph.PerDevice[0].Metrics[CrossCheckRatio].Value, 400./420, 1e-3)
	absent(t, ph.PerDevice[1].Metrics, CrossCheckEnergy, GPUEnergy)
}

func TestDisagreementIsSaid(t *testing.T) {
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 25*sec)}, true, Options{Idle: IdleChoice{Watts: trace.Some(0.)}}, both(1, 400, 1.015, 30*sec))
	found := false
	for _, w := range rep.Warnings {
		found = found || w.Code == WarnDisagree && strings.Contains(w.Message, "-1.4")
	}
	if !found {
		t.Errorf("%+v", rep.Warnings)
	}
	m := rep.Phases[0].Metrics
	near(t, "systematic", m[TotalGPUEnergy].Uncertainty.Systematic, math.Sqrt(400*400+120*120+100*100+60*60), 2)

	silent := both(1, 400, 0, 30*sec) // a gauge that always shows nothing
	rep = reduceAll(t, []Span{phaseSpan("p", 5*sec, 25*sec)}, true, Options{}, silent)
	for _, w := range rep.Warnings {
		if strings.Contains(w.Message, "Inf") || strings.Contains(w.Message, "NaN") {
			t.Error(w.Message)
		}
	}
	if !warned(rep, WarnDisagree, "p") {
		t.Error("no warning")
	}
	absent(t, rep.Phases[0].Metrics, CrossCheckRatio)

	// What is measured at rest leaves the offset out of the net energy, not the doubt.
	spans := []Span{kindSpan("idle", "idle", 2*sec, 8*sec), phaseSpan("p", 10*sec, 20*sec)}
	g := &gpu{watts: levels(100, 9, 500), period: 100 * ms, phase: 30 * ms, until: 31 * sec}
	batches := rows([]sample.Device{device(0)}, 0, 30*sec, 20*ms, func(_ int, at trace.Time, r sample.Row) {
		r.Set(sample.EnergyJoules, g.counter(at))
		r.Set(sample.PowerAverageWatts, 1.04*levels(100, 9, 500)(at))
	})
	m = reduceAll(t, spans, true, Options{}, batches).Phases[1].Metrics
	doubt := (m[CrossCheckEnergy].Value - m[TotalGPUEnergy].Value) / 2
	if doubt < 80 {
		t.Fatalf("no doubt: %v J", doubt)
	}
	net := m[NetGPUEnergy]
	near(t, "systematic of net", net.Uncertainty.Systematic, math.Sqrt(math.Pow(0.05*net.Value, 2)+math.Pow(0.015*net.Value, 2)+doubt*doubt), 0.1)
}

func TestEnergyThatIsNothing(t *testing.T) {
	batches := rows([]sample.Device{device(0)}, 0, 30*sec, 50*ms, func(_ int, at trace.Time, r sample.Row) {
		r.Set(sample.PowerAverageWatts, 0)
		r.Set(sample.PowerLimitWatts, 0)
	})
	opt := Options{SLO: SLO{TTFT: time.Second}, Price: trace.Some(0.3)}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, opt, batches, succeeded("p", 6*sec, 7*sec, 14*sec, 10, 10))
	absent(t, rep.Phases[0].Metrics, OutputTokensPerJoule, GoodputPerWatt, PrefillEnergy, PowerLimitShare)
	near(t, "J/token", value(t, rep.Phases[0].Metrics, EnergyPerOutputToken), 0, 0)
}

func TestMoneyCarbonAndDelay(t *testing.T) {
	g := &gpu{watts: flat(360), period: 100 * ms, until: 31 * sec}
	opt := Options{Price: trace.Some(0.5), Carbon: trace.Some(400.), SLO: SLO{E2E: 2 * time.Second}}
	batches := counterRows([]*gpu{g}, 0, 30*sec, 20*ms)
	list := []*trace.Request{succeeded("p", 6*sec, 6*sec+100*ms, 7*sec, 10, 100), succeeded("p", 6*sec, 6*sec+100*ms, 7*sec, 10, 100), succeeded("p", 6*sec, 6*sec+100*ms, 10*sec, 10, 100)}
	ph := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, opt, batches, list...).Phases[0]
	m := ph.Metrics
	e := value(t, m, TotalGPUEnergy)
	for tag, want := range map[string]float64{
		TotalGPUEnergyWh: e / 3600, CostPerMillionTokens: e / 300 / 3.6e6 * 0.5 * 1e6, CarbonPerMillionTokens: e / 300 / 3.6e6 * 400 * 1e6,
		EnergyDelayProduct: e / 3 * 2, GoodputPerWatt: 2 / e, Goodput: 0.2, EnergyPerInputToken: e / 30,
		RequestsInFlight: 0.6, EnergyPerUserMeasured: e / 0.6, WattsPerUser: e / 10 / 0.6,
	} {
		near(t, tag, value(t, m, tag), want, 1e-9*want)
	}
	if method := m[EnergyPerOutputToken].Method; method != "total_gpu_energy / output tokens" {
		t.Errorf("%q", method)
	}
	absent(t, reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, opt, batches).Phases[0].Metrics, Goodput, GoodputPerWatt)

	// A sum that would leave a request out is absent, the other one is not.
	list[0].InputTokens, list[1].TokenSource = trace.Opt[int64]{}, trace.FromChunks
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, opt, batches, list...)
	if got := rep.Phases[0].Tokens; got.Input != nil || got.Output == nil || *got.Output != 300 {
		t.Errorf("%+v", got)
	}
	absent(t, rep.Phases[0].Metrics, EnergyPerTotalToken, EnergyPerInputToken, TotalTokenThroughput)
	if !warned(rep, WarnTokensCounted, "p") || warned(rep, WarnNoTokens, "p") {
		t.Errorf("%+v", rep.Warnings)
	}
	list[0].InputTokens, list[0].OutputTokens = trace.Some[int64](10), trace.Opt[int64]{}
	rep = reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, opt, batches, list...)
	if got := rep.Phases[0].Tokens; got.Output != nil || got.Input == nil || !warned(rep, WarnNoTokens, "p") {
		t.Errorf("%+v", got)
	}
}

func TestTokensInFlightWidenEveryRatio(t *testing.T) {
	g := &gpu{watts: levels(100, 4.5, 300), period: 100 * ms, until: 31 * sec}
	opt := Options{Topology: []Member{{Device: "GPU-a", Role: "decode"}}}
	idle, warm := kindSpan("idle", "idle", sec, 4*sec), phaseSpan("warmup", 5*sec, 10*sec)
	warm.Handover = true
	q := succeeded("warmup", 8*sec, 9*sec, 11*sec, 100, 1200)
	ph := reduceAll(t, []Span{idle, warm, phaseSpan("profiling", 10*sec, 20*sec)}, true, opt, counterRows([]*gpu{g}, 0, 30*sec, 20*ms), q).Phases[1]
	m := ph.Metrics
	tokens := 1200 / math.Sqrt(12)
	for _, c := range []struct {
		name      string
		ratio, of Metric
		count     float64
	}{
		{"output", m[EnergyPerOutputToken], m[TotalGPUEnergy], 600}, {"all", m[EnergyPerTotalToken], m[TotalGPUEnergy], 700},
		{"net", m[NetEnergyPerOutputToken], m[NetGPUEnergy], 600},
		{"role", ph.Roles[0].Metrics[RoleEnergyPerOutputToken], ph.Roles[0].Metrics[RoleEnergy], 600},
	} {
		near(t, c.name, c.ratio.Uncertainty.Random/c.ratio.Value, math.Hypot(c.of.Uncertainty.Random/c.of.Value, tokens/c.count), 1e-9)
	}
	j := m[OutputTokensPerJoule]
	near(t, "tokens/J", j.Uncertainty.Random/j.Value, m[EnergyPerOutputToken].Uncertainty.Random/m[EnergyPerOutputToken].Value, 1e-9)
	if method := m[EnergyPerOutputToken].Method; method != "total_gpu_energy / output tokens arrived" {
		t.Errorf("%q", method)
	}
}

// TestTokensOfUnknownTimes: tokens that came at a time that the log does not tell are not
// counted as none.
func TestTokensOfUnknownTimes(t *testing.T) {
	for i := range 2 {
		q := succeeded("p", 6*sec, 7*sec, 9*sec, 10, 100)
		q.LastToken = trace.Opt[trace.Time]{}
		if i == 1 {
			q.FirstToken = trace.Opt[trace.Time]{}
		}
		ph := reduceAll(t, []Span{phaseSpan("p", 5*sec, 11*sec)}, true, Options{Every: 2 * time.Second}, nil, q).Phases[0]
		if *ph.Tokens.Output != 100 {
			t.Errorf("%v tokens in the phase", *ph.Tokens.Output)
		}
		list := slicesOf(&ph)
		if list[1].Tokens.Output != nil || list[2].Tokens.Output == nil && i == 0 && q.Done < 9*sec {
			t.Errorf("%d: %+v", i, list[1].Tokens)
		}
	}
}

// TestRequestThatOutlastsTwoPhases has tokens in three phases, of which no plan says that
// they are handed over.
func TestRequestThatOutlastsTwoPhases(t *testing.T) {
	long := succeeded("a", 6*sec, 8*sec, 18*sec, 10, 100) // ten tokens a second
	rep := reduceAll(t, []Span{phaseSpan("a", 5*sec, 10*sec), phaseSpan("b", 10*sec, 15*sec), phaseSpan("c", 15*sec, 20*sec), phaseSpan("d", 20*sec, 25*sec)}, true, Options{}, nil,
		long, succeeded("d", 21*sec, 22*sec, 23*sec, 1, 7))
	for i, want := range []float64{20, 50, 30, 7} {
		if got := rep.Phases[i].Tokens; got == nil || got.Output == nil || *got.Output != want {
			t.Errorf("%s: %+v, want %v", rep.Phases[i].Name, got, want)
		}
	}
	if !warned(rep, WarnWorkInFlight, "c") || warned(rep, WarnWorkInFlight, "d") {
		t.Errorf("%+v", rep.Warnings)
	}
}

func TestOneReadingIsNoSource(t *testing.T) {
	for i := range 2 {
		g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
		once := device(0)
		once.Source = sample.DCGM
		batches := counterRows([]*gpu{g}, 0, 30*sec, 20*ms)
		one := rows([]sample.Device{once}, 0, 0, sec, func(_ int, at trace.Time, r sample.Row) { r.Set(sample.EnergyJoules, g.counter(at)) })
		if i == 0 {
			batches = append(one, batches...)
		} else {
			batches = append(batches, one...)
		}
		ph := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches).Phases[0]
		if len(ph.PerDevice) != 1 || ph.PerDevice[0].Source != "nvml" {
			t.Errorf("%d: %+v", i, ph.PerDevice)
		}
	}
}

func TestScopesThatAreNotWhole(t *testing.T) {
	g := &gpu{watts: flat(200), period: 100 * ms, until: 31 * sec}
	var devices []sample.Device
	for i := range 3 {
		d := device(i)
		d.Scope, d.Name, d.Simulated = sample.ScopeCPUPackage, "CPU", true
		devices = append(devices, d)
	}
	devices = append(devices, device(3))
	batches := rows(devices, 0, 30*sec, 20*ms, func(d int, at trace.Time, r sample.Row) {
		if d != 2 || at < 10*sec {
			r.Set(sample.EnergyJoules, g.counter(at))
		}
	})
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{Topology: []Member{{Device: "GPU-d"}}}, batches)
	m := rep.Phases[0].Metrics
	n := m["total_cpu_package_energy"]
	near(t, "CPUs", n.Value, 4000, 8)
	near(t, "systematic", n.Uncertainty.Systematic, math.Sqrt(200*200+2*30*30+100*100), 1)
	near(t, "power", value(t, m, "average_cpu_package_power"), 400, 1)
	near(t, "GPU", value(t, m, TotalGPUEnergy), 2000, 5)
	near(t, "peak of the GPU alone", value(t, m, PeakGPUPower), 200, 1)
	if n.DevicesCovered != 2 || warned(rep, WarnOutside, "") || warned(rep, WarnSimulated, "") {
		t.Errorf("%d covered, %+v", n.DevicesCovered, rep.Warnings)
	}
}

func TestEnclosureAndPowerOfTwoGPUs(t *testing.T) {
	gpus := []*gpu{{watts: flat(300), period: 100 * ms, phase: 30 * ms, until: 31 * sec}, {watts: levels(150, 20, 650, 21, 150), period: 100 * ms, phase: 70 * ms, until: 31 * sec}}
	run := func(set func(d int, at trace.Time, r sample.Row)) Phase {
		batches := rows([]sample.Device{device(0), device(1)}, 0, 30*sec, 20*ms, set)
		return reduceAll(t, []Span{phaseSpan("p", 5*sec, 25*sec)}, true, Options{Every: 5 * time.Second}, batches).Phases[0]
	}
	ph := run(func(d int, at trace.Time, r sample.Row) { r.Set(sample.EnergyJoules, gpus[d].counter(at)) })
	a, b, sum := ph.PerDevice[0].Metrics[GPUEnergy].Enclosure, ph.PerDevice[1].Metrics[GPUEnergy].Enclosure, ph.Metrics[TotalGPUEnergy].Enclosure
	near(t, "low", sum.Low, a.Low+b.Low, 1e-6)
	near(t, "high", sum.High, a.High+b.High, 1e-6)
	near(t, "peak", value(t, ph.Metrics, PeakGPUPower), 950, 10)
	if p99 := ph.Metrics[GPUPowerOverTime].P99; p99 > 930 {
		t.Errorf("p99 %v W", p99)
	}
	near(t, "systematic of one", ph.PerDevice[0].Metrics[GPUEnergy].Uncertainty.Systematic, math.Sqrt(300*300+90*90+100*100), 1)
	absent(t, slicesOf(&ph)[0].Metrics, GPUPowerOverTime, PeakGPUPower)

	mixed := run(func(d int, at trace.Time, r sample.Row) {
		if d == 0 {
			r.Set(sample.EnergyJoules, gpus[d].counter(at))
		} else {
			r.Set(sample.PowerAverageWatts, 150)
		}
	})
	if e := mixed.Metrics[TotalGPUEnergy].Enclosure; e != nil {
		t.Errorf("of a counter and a gauge: %+v", e)
	}
	one := mixed.PerDevice[1].Metrics[GPUPower]
	near(t, "its power's systematic part", one.Uncertainty.Systematic, math.Sqrt(7.5*7.5+2.25*2.25+25), 1e-6)
	near(t, "its power's random part", one.Uncertainty.Random, mixed.Metrics[TotalGPUPower].Uncertainty.Random, 1e-12)
	near(t, "and its energy's", one.Uncertainty.Random, mixed.PerDevice[1].Metrics[GPUEnergy].Uncertainty.Random/20, 1e-12)
	near(t, "of the total", mixed.Metrics[TotalGPUPower].Uncertainty.Systematic, math.Sqrt(7.5*7.5+2.25*2.25+25), 1e-6)

	// A counter that breaks off leaves the gauge's mean.
	broken := run(func(d int, at trace.Time, r sample.Row) {
		if d == 0 || at < 10*sec {
			r.Set(sample.EnergyJoules, gpus[d].counter(at))
		}
		r.Set(sample.PowerAverageWatts, 150)
	})
	if p, e := broken.Metrics[TotalGPUPower].DevicesCovered, broken.Metrics[TotalGPUEnergy].DevicesCovered; p != 2 || e != 1 {
		t.Errorf("power of %d, energy of %d", p, e)
	}
	absent(t, broken.PerDevice[1].Metrics, CrossCheckEnergy)

	// A phase that begins before the recording.
	batches := counterRows(gpus[:1], 6*sec, 30*sec, 20*ms)
	early := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches)
	if !warned(early, WarnNotBracketed, "p") {
		t.Errorf("%+v", early.Warnings)
	}
}

func TestTruthBesideTheReport(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, phase: 30 * ms, until: 31 * sec}
	batches := rows([]sample.Device{device(0), device(1)}, 0, 30*sec, 20*ms, func(d int, at trace.Time, r sample.Row) {
		if d == 0 || at < 10*sec {
			r.Set(sample.EnergyJoules, g.counter(at))
		}
	})
	known := 25 * sec
	opt := Options{Truth: func(id string, at trace.Time) (uint64, bool) {
		return uint64(at / 1000 * 300), id == "GPU-a" && at <= known
	}}
	run := func() *Report { return reduceAll(t, []Span{phaseSpan("p", 5*sec+10*ms, 25*sec)}, true, opt, batches) }
	rep := run()
	m := rep.Phases[0].Metrics
	near(t, "truth", value(t, m, TrueGPUEnergy), 300*19.99, 1e-6)
	near(t, "last readings", value(t, m, LastSampleGPUEnergy), 300*20, 0.002) // of the updates at 4.93 s and 24.93 s
	if m[TrueGPUEnergy].Uncertainty != nil || m[TrueGPUEnergy].DevicesCovered != 1 || warned(rep, WarnNoTruth, "p") {
		t.Errorf("%+v", *m[TrueGPUEnergy].Number)
	}
	known = 24 * sec
	if rep := run(); !warned(rep, WarnNoTruth, "p") || rep.Phases[0].Metrics[TrueGPUEnergy].Number != nil {
		t.Error("a truth that ends before the phase")
	}
}

func TestIdleDeviceThatIsUsed(t *testing.T) {
	run := func(used float64, watts ...float64) *Report {
		var devices []sample.Device
		for i := range watts {
			devices = append(devices, device(i))
		}
		batches := rows(devices, 0, 20*sec, 50*ms, func(d int, at trace.Time, r sample.Row) {
			if watts[d] > 0 || at < 10*sec {
				r.Set(sample.PowerAverageWatts, max(watts[d], 1))
			}
			r.Set(sample.GPUUtilization, used)
		})
		return reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches)
	}
	rep := run(0, 100, 600, 600)
	found := false
	for _, w := range rep.Warnings {
		found = found || w.Code == WarnIdleDevice && w.Device == "GPU-a" && strings.Contains(w.Message, "17 %")
	}
	if !found {
		t.Errorf("%+v", rep.Warnings)
	}
	for i, rep := range []*Report{run(0.05, 100, 600, 600), run(0, 200, 600, 600), run(0, 150, 200, 1000), run(0, 0, 600, 600)} {
		if warned(rep, WarnIdleDevice, "p") {
			t.Errorf("%d: %+v", i, rep.Warnings)
		}
	}
	if !warned(run(0.005, 100, 600, 600), WarnIdleDevice, "p") {
		t.Error("used 0.5 % of the time")
	}
}

func TestOneDeviceLessThanExpected(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{ExpectDevices: 2}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms))
	if !warned(rep, WarnMissingDevice, "p") {
		t.Error("no warning")
	}
}

func TestMIGDeviceThatIsNotWhole(t *testing.T) {
	devices := numbered("a", 2)
	devices[1].MIG = true
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	run := func(until trace.Time) map[string]Metric {
		batches := rows(devices, 0, 30*sec, 20*ms, func(d int, at trace.Time, r sample.Row) {
			if d == 0 || at < until {
				r.Set(sample.EnergyJoules, g.counter(at))
			}
		})
		opt := Options{Idle: IdleChoice{Watts: trace.Some(10.)}}
		return reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, opt, batches, succeeded("p", 6*sec, 7*sec, 14*sec, 1000, 500)).Phases[0].Metrics
	}
	absent(t, run(30*sec), OutputTokensPerJoule, NetEnergyPerOutputToken)
	value(t, run(10*sec), OutputTokensPerJoule)
}

// TestStagesOfARun has two requests one after the other, 100 W at rest and 500 W at work.
func TestStagesOfARun(t *testing.T) {
	g := &gpu{watts: levels(100, 10, 500, 20, 100, 22, 500, 30, 100), period: 100 * ms, phase: 30 * ms, until: 41 * sec}
	batches := counterRows([]*gpu{g, g}, 0, 40*sec, 20*ms)
	stream := func(sent, first, last trace.Time) *trace.Request {
		q := succeeded("p", sent, first, last, 200, 100)
		for i := range trace.Time(100) {
			q.Chunks = append(q.Chunks, trace.Chunk{At: first + (last-first)*i/99, Kind: trace.ChunkContent})
		}
		return q
	}
	list := []*trace.Request{stream(10*sec, 12*sec, 20*sec), stream(22*sec, 23*sec, 30*sec)}
	spans := []Span{kindSpan("idle", "idle", 2*sec, 8*sec), phaseSpan("p", 9*sec, 31*sec)}
	rep := reduceAll(t, spans, true, Options{}, batches, list...)
	m := rep.Phases[1].Metrics
	total := m[TotalGPUEnergy]
	prefill, decode, idle, rest := m[PrefillEnergy], m[DecodeEnergy], m[AttributedIdleEnergy], m[UnattributedEnergy]
	near(t, "sum", prefill.Value+decode.Value+idle.Value+rest.Value, total.Value, 2e-6)
	near(t, "idle", idle.Value, 200*22, 20)
	near(t, "work", prefill.Value+decode.Value, 800*18, 60)
	if rest.Value > 40 || prefill.Value < 100 || decode.Value < prefill.Value {
		t.Errorf("prefill %v, decode %v, unattributed %v", prefill.Value, decode.Value, rest.Value)
	}
	for tag, n := range map[string]Metric{PrefillEnergy: prefill, DecodeEnergy: decode} {
		b := n.Bounds
		if b == nil || b.Low > n.Value+1e-6 || b.High < n.Value-1e-6 || b.High > total.Value-idle.Value+1e-6 || b.Low == b.High {
			t.Errorf("%s: %v in %+v", tag, n.Value, b)
		}
		near(t, tag+" random", n.Uncertainty.Random/n.Value, total.Uncertainty.Random/total.Value, 1e-9)
	}
	per := m[PrefillEnergyPerInputToken]
	near(t, "prefill by token", per.Value, prefill.Value/400, 1e-9)
	near(t, "its least", per.Bounds.Low, prefill.Bounds.Low/400, 1e-9)
	near(t, "its most", per.Bounds.High, prefill.Bounds.High/400, 1e-9)
	near(t, "decode by token", m[DecodeEnergyPerOutputToken].Value, decode.Value/200, 1e-9)
	absent(t, rep.Phases[0].Metrics, PrefillEnergy)
	near(t, "idle watts", *rep.Attribution.IdleWatts, 200, 1)
	near(t, "resolution", rep.Attribution.ResolutionSeconds, 0.1, 0.002)

	alone := reduceAll(t, spans[1:], true, Options{}, batches, list...)
	absent(t, alone.Phases[0].Metrics, AttributedIdleEnergy)

	near(t, "peak at rest", value(t, rep.Phases[0].Metrics, PeakGPUPower), 200, 2)

	fell := *g
	fell.resetAt = 25 * sec
	reset := reduceAll(t, spans, true, Options{}, counterRows([]*gpu{g, &fell}, 0, 40*sec, 20*ms), list...).Phases[1].Metrics
	absent(t, reset, PrefillEnergy)
	value(t, reset, TotalGPUEnergy)
	silent := rows([]sample.Device{device(0), device(1)}, 0, 40*sec, 20*ms, func(d int, at trace.Time, r sample.Row) {
		if d == 0 {
			r.Set(sample.EnergyJoules, g.counter(at))
		}
	})
	absent(t, reduceAll(t, spans, true, Options{}, silent, list...).Phases[1].Metrics, PrefillEnergy)

	gap := rows([]sample.Device{device(0), device(1)}, 0, 40*sec, 20*ms, func(d int, at trace.Time, r sample.Row) {
		if d == 0 || at < 15*sec {
			r.Set(sample.EnergyJoules, g.counter(at))
		}
	})
	absent(t, reduceAll(t, spans, true, Options{}, gap, list...).Phases[1].Metrics, PrefillEnergy, UnattributedEnergy)
}

func TestResolution(t *testing.T) {
	run := func(opt Options, poll trace.Time, average bool) float64 {
		g := &gpu{watts: flat(300), period: 100 * ms, phase: 30 * ms, until: 41 * sec}
		d := device(0)
		d.Architecture = "hopper"
		slow := device(1)
		slow.Architecture = "hopper"
		batches := rows([]sample.Device{d}, 0, 40*sec, poll, func(_ int, at trace.Time, r sample.Row) {
			r.Set(sample.EnergyJoules, g.counter(at))
			if average {
				r.Set(sample.PowerAverageWatts, 300)
			}
		})
		rep := reduceAll(t, []Span{phaseSpan("p", 9*sec, 31*sec)}, true, opt, batches, succeeded("p", 10*sec, 12*sec, 20*sec, 10, 10))
		return rep.Attribution.ResolutionSeconds
	}
	near(t, "a counter", run(Options{}, 20*ms, true), 0.1, 0.002)
	near(t, "a counter that is read slowly", run(Options{}, 2*sec, true), 2, 0.02)
	s := survey{device: sample.Device{Architecture: "hopper"}}
	sensor, _ := Sensors().Lookup(FieldAverage, s.device, "")
	near(t, "an average", run(Options{EnergySource: SourcePower}, 20*ms, true), (sensor.Window + sensor.Period).Seconds(), 1e-9)
}

func TestShiftSaysWhichWay(t *testing.T) {
	var list []*trace.Request
	for i := range trace.Time(6) {
		list = append(list, closedLoop("p", 4, 5*sec+i*9*sec, 5*sec+i*9*sec+(3+i%2)*sec, time.Second, 5)...)
	}
	for shift, want := range map[trace.Time]string{-3 * sec: "3s too early", 3 * sec: "3s too late", 15 * sec: "", 300 * ms: ""} {
		watts := loaded(list, 0)
		g := &gpu{watts: func(at trace.Time) float64 { return watts(at - shift) }, period: 100 * ms, until: 71 * sec}
		rep := reduceAll(t, []Span{phaseSpan("q", 30*sec, 56*sec), phaseSpan("p", 5*sec, 30*sec)}, true, Options{}, counterRows([]*gpu{g}, 0, 70*sec, 20*ms), list...)
		got := ""
		for _, w := range rep.Warnings {
			if w.Code == WarnShifted {
				got = w.Message
			}
		}
		if want == "" && got != "" && shift < sec || !strings.Contains(got, want) {
			t.Errorf("by %v: %q", shift.Seconds(), got)
		}
	}
}

func TestWindowsAreNotDoubted(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	opt := Options{Windows: []Span{{Name: "mine", Start: 7 * sec, End: trace.Some(12 * sec)}}}
	rep := reduceAll(t, []Span{phaseSpan("a", 5*sec, 15*sec)}, true, opt, counterRows([]*gpu{g}, 0, 30*sec, 20*ms),
		succeeded("a", 7*sec, 8*sec, 9*sec, 10, 11), succeeded("a", 12*sec, 13*sec, 14*sec, 10, 11))
	for _, w := range rep.Warnings {
		if w.Phase == "mine" {
			t.Error(w)
		}
	}
	if n := rep.Phases[1].Requests.Sent; n != 1 {
		t.Errorf("%d sent in [7 s, 12 s)", n)
	}
	none := reduceAll(t, []Span{phaseSpan("a", 5*sec, 50*sec), kindSpan("w", "warmup", 50*sec, 95*sec)}, true, Options{}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms),
		succeeded("w", 51*sec, 52*sec, 94*sec, 10, 11))
	for _, ph := range none.Phases {
		for _, w := range ph.Windows {
			if w.Name == WindowSteady {
				t.Errorf("%s has a steady part", ph.Name)
			}
		}
	}
	if warned(none, WarnNotSteady, "a") || warned(none, WarnNotSteady, "w") {
		t.Errorf("%+v", none.Warnings)
	}
}

func TestNothingAtAll(t *testing.T) {
	for _, hasLog := range []bool{false, true} {
		rep := reduceAll(t, nil, hasLog, Options{Every: time.Second, Idle: IdleChoice{Head: time.Second}}, nil)
		if len(rep.Phases) != 0 || rep.Warnings == nil {
			t.Errorf("%+v", rep)
		}
	}
	open := phaseSpan("p", 5*sec, 0)
	open.End = trace.Opt[trace.Time]{}
	opt := Options{Every: time.Second, Idle: IdleChoice{Watts: trace.Some(10.)}, Peers: []string{"aiperf"}, Steady: SteadyMLEnergy}
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	rep := reduceAll(t, []Span{open}, true, opt, counterRows([]*gpu{g}, 0, 30*sec, 20*ms), succeeded("p", 6*sec, 7*sec, 8*sec, 10, 11))
	absent(t, rep.Phases[0].Metrics, TotalGPUEnergy, NetGPUEnergy)
	zero := reduceAll(t, []Span{phaseSpan("p", 5*sec, 5*sec)}, true, opt, counterRows([]*gpu{g}, 0, 30*sec, 20*ms), succeeded("p", 5*sec, 5*sec, 5*sec, 10, 11))
	absent(t, zero.Phases[0].Metrics, TotalGPUEnergy, OutputTokenThroughput)
}

// TestShiftAgainstNoise has a load of which the power follows four parts in five, 4 s late,
// when it is opposed as joined.
func TestShiftAgainstNoise(t *testing.T) {
	load := busyActivity(80*sec, func(at float64) float64 { return math.Floor(math.Mod(at, 8) / 4) }, always(0))
	c := newCells(attribute.NewGrid([]trace.Time{0, 80 * sec}, 30*time.Millisecond))
	c.devices = 1
	for at := trace.Time(0); at < 80*sec; at += 100 * ms {
		watts := 500 - 100*math.Floor(math.Mod(at.Seconds()+0.01, 8)/4) // opposed
		watts += 45 * float64(1-2*(at/(100*ms)%2))
		c.add(at, at+100*ms, int64(watts*1e5))
	}
	series := c.series(load)
	for _, k := range []int{0, 1, 400, 799} {
		near(t, "power of a cell", series[k], float64(500-100*(k/40%2)+45*(1-2*(k%2))), 25)
	}
	best := correlation(load.concurrency(), series, 40)
	if best < 0.7 || best > 0.9 {
		t.Fatalf("correlation %v", best)
	}
	r := &Reducer{load: load, cells: c}
	if r.warnShifted(); len(r.warnings) != 1 {
		t.Errorf("%+v", r.warnings)
	}
	c.covered[5] = 0
	if v := c.series(load)[1]; !math.IsNaN(v) {
		t.Errorf("%v W of what is not known", v)
	}
}

func TestTimesOfTheSurvey(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 61 * sec}
	rep := reduceFrom(t, Recording{Offset: 100 * time.Second}, nil, false, Options{}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms))
	if len(rep.Phases) != 1 || !strings.HasPrefix(rep.Phases[0].Start, "1970-01-01T00:01:41") {
		t.Errorf("%+v", rep.Phases)
	}
	apart := rows([]sample.Device{device(0), device(1)}, 0, 60*sec, 20*ms, func(d int, at trace.Time, r sample.Row) {
		if d == 0 && at < 20*sec || d == 1 && at > 30*sec {
			r.Set(sample.EnergyJoules, g.counter(at))
		}
	})
	rep = reduceAll(t, nil, false, Options{}, apart)
	if len(rep.Phases) != 0 || !warned(rep, WarnNotBracketed, "") {
		t.Errorf("%+v", rep.Phases)
	}

	r := New(trace.Clock{}, []Span{phaseSpan("p", 5*sec, 15*sec), phaseSpan("q", 15*sec, 20*sec)}, true, Options{Steady: SteadyMLEnergy})
	for _, spread := range []time.Duration{2, 1} {
		for _, b := range counterRows([]*gpu{g}, 0, sec, 20*ms) {
			r.Survey(b, Recording{Spread: spread})
		}
	}
	if r.all[0].spread != 2 {
		t.Errorf("spread %v", r.all[0].spread)
	}
	q := succeeded("p", 6*sec, 7*sec, 15*sec, 10, 10)
	q.FirstToken = trace.Opt[trace.Time]{}
	r.SurveyRequest(0, q, 0)
	if ph := r.phases[0]; ph.arrivals || r.phases[1].arrivals || len(ph.firsts) != 0 || len(ph.dones) != 1 {
		t.Errorf("%+v", ph)
	}
}

// TestPhasesThatARequestReaches: of those that it outlasts its own into, no others, tokens
// are counted where they arrive.
func TestPhasesThatARequestReaches(t *testing.T) {
	r := New(trace.Clock{}, []Span{phaseSpan("a", 5*sec, 10*sec), phaseSpan("b", 12*sec, 14*sec), phaseSpan("c", 14*sec, 20*sec), phaseSpan("other log", 8*sec, 30*sec)}, true, Options{})
	r.SurveyRequest(0, succeeded("a", 6*sec, 7*sec, 14*sec, 10, 10), 0)
	for i, want := range []bool{true, true, false, false} {
		if ph := r.phases[i]; ph.arrivals != want {
			t.Errorf("%s: %v", ph.Name, ph.arrivals)
		}
	}
}

func TestScopeWhoseMethodsDisagree(t *testing.T) {
	batches := both(2, 400, 1.05, 30*sec)
	for _, b := range batches {
		b.Devices[1].Scope = sample.ScopeModule
	}
	m := reduceAll(t, []Span{phaseSpan("p", 5*sec, 25*sec)}, true, Options{}, batches).Phases[0].Metrics
	near(t, "module", m["total_module_energy"].Uncertainty.Systematic, m[TotalGPUEnergy].Uncertainty.Systematic, 1e-6)
	near(t, "GPU", m[TotalGPUEnergy].Uncertainty.Systematic, math.Sqrt(400*400+120*120+100*100+200*200), 3)
}

func TestTemperatureThatEndsEarly(t *testing.T) {
	batches := rows([]sample.Device{device(0)}, 0, 20*sec, sec/2, func(_ int, at trace.Time, r sample.Row) {
		r.Set(sample.PowerAverageWatts, 300)
		if at <= 12*sec {
			r.Set(sample.TemperatureCelsius, 50)
			r.SetUint(sample.ClockEventReasons, 1<<2)
		}
	})
	m := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches).Phases[0].Metrics
	near(t, "temperature", value(t, m, GPUTemperature), 50, 1e-9)
	near(t, "held down", value(t, m, ThrottledTime), 7, 1e-9)
}

// TestOtherToolsReadTheHeadline: the headline field first, and no device that the topology
// does not have.
func TestOtherToolsReadTheHeadline(t *testing.T) {
	batches := rows([]sample.Device{device(0), device(1)}, 0, 30*sec, sec/4, func(_ int, at trace.Time, r sample.Row) {
		r.Set(sample.PowerWatts, 500)
		r.Set(sample.PowerAverageWatts, 400)
		r.Set(sample.PowerInstantWatts, 300)
	})
	opt := Options{Peers: []string{"inferencex"}, Topology: []Member{{Device: "GPU-a"}}}
	rep := reduceAll(t, []Span{phaseSpan("p", 10*sec, 20*sec)}, true, opt, batches, succeeded("p", 11*sec, 12*sec, 19*sec, 10, 10))
	for _, f := range rep.Phases[0].Others[0].Figures {
		if f.Name == "total_gpu_energy_j" {
			near(t, f.Name, f.Value, 5000, 130)
			return
		}
	}
	t.Errorf("%+v", rep.Phases[0].Others)
}

// TestModulesOfTwoHosts show the same all the time, and are two.
func TestModulesOfTwoHosts(t *testing.T) {
	devices := numbered("a", 2)
	for i := range devices {
		devices[i].Scope = sample.ScopeModule
		devices[i].Host = string(rune('a' + i))
	}
	ph := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, meterRows(devices, func(int) func(trace.Time) float64 { return flat(1000) }, 20*sec)).Phases[0]
	near(t, "modules", value(t, ph.Metrics, "total_module_energy"), 20000, 20)
}

// TestShiftThatExplainsLittle has a power that is 1 s late and much of it noise: moved, it
// follows better, but not twice as much is explained.
func TestShiftThatExplainsLittle(t *testing.T) {
	load := busyActivity(80*sec, func(at float64) float64 { return math.Floor(math.Mod(at, 8) / 4) }, always(0))
	c := newCells(attribute.NewGrid([]trace.Time{0, 80 * sec}, 100*time.Millisecond))
	c.devices = 1
	for k := range trace.Time(800) {
		at := k * 100 * ms
		watts := 500 + 100*math.Floor(math.Mod(at.Seconds()+7.01, 8)/4) + 45*float64(1-2*(k%2))
		c.add(at, at+100*ms, int64(watts*1e5))
	}
	best, zero := correlation(load.concurrency(), c.series(load), 10), correlation(load.concurrency(), c.series(load), 0)
	if best < 0.71 || best > 0.755 || zero < 0.3 || zero > 0.5 {
		t.Fatalf("correlations %v and %v", best, zero)
	}
	r := &Reducer{load: load, cells: c}
	if r.warnShifted(); len(r.warnings) != 0 {
		t.Errorf("%+v", r.warnings)
	}
}

// TestTwins: of ten scans nine must show the same, and of a scan are readings within 5 ms.
func TestTwins(t *testing.T) {
	for _, c := range []struct {
		scans, same int
		apart       trace.Time
		source      sample.SourceName
		want        bool
	}{
		{10, 10, 0, sample.NVML, true}, {10, 9, 0, sample.NVML, true}, {10, 8, 0, sample.NVML, false}, {9, 9, 0, sample.NVML, false},
		{10, 10, 5 * ms, sample.NVML, true}, {10, 10, 6 * ms, sample.NVML, false}, {10, 10, 0, sample.DCGM, false},
	} {
		devices := numbered("a", 2)
		for i := range devices {
			devices[i].Scope = sample.ScopeModule
		}
		devices[1].Source = c.source
		a, b := &series{survey: survey{device: devices[0]}}, &series{survey: survey{device: devices[1]}}
		var w twins
		for k := range c.scans {
			at := trace.Time(k) * sec
			batch := &sample.Batch{Devices: devices}
			batch.Append(0, at, 0).Set(sample.EnergyJoules, float64(k))
			v := float64(k)
			if k >= c.same {
				v++
			}
			batch.Append(1, at+c.apart, 0).Set(sample.EnergyJoules, v)
			w.row(a, batch, 0, at)
			w.row(b, batch, 1, at+c.apart)
		}
		if got := w.module(b) == "a-0"; got != c.want || w.module(a) != "a-0" {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
