package reduce

import (
	"math"
	"testing"

	"wattrace/sample"
	"wattrace/trace"
)

// square is a load of 700 W and 100 W that switches every second.
func square(t trace.Time) float64 {
	if t/sec%2 == 0 {
		return 700
	}
	return 100
}

func flat(w float64) func(trace.Time) float64 { return func(trace.Time) float64 { return w } }

func counterRows(gpus []*gpu, from, to, poll trace.Time) []*sample.Batch {
	var devices []sample.Device
	for i := range gpus {
		devices = append(devices, device(i))
	}
	return rows(devices, from, to, poll, func(d int, t trace.Time, r sample.Row) {
		r.Set(sample.EnergyJoules, gpus[d].counter(t))
		r.Set(sample.PowerLimitWatts, 700)
	})
}

func phaseSpan(name string, from, to trace.Time) Span {
	return Span{Name: name, Kind: "measure", Start: from, End: trace.Some(to), Concurrency: 4}
}

func succeeded(phase string, sent, first, last trace.Time, in, out int64) *trace.Request {
	return &trace.Request{
		Phase: phase, Sent: sent, FirstToken: trace.Some(first), LastToken: trace.Some(last), Done: last, Outcome: trace.Succeeded,
		InputTokens: trace.Some(in), OutputTokens: trace.Some(out), TokenSource: trace.FromUsage,
	}
}

func TestPhaseTwoHoldsOnlyPhaseTwo(t *testing.T) {
	g := &gpu{watts: func(at trace.Time) float64 {
		if at < 10*sec {
			return 650
		}
		return 90
	}, period: 100 * ms, phase: 37 * ms, until: 31 * sec}
	batches := counterRows([]*gpu{g}, 0, 30*sec, 20*ms)
	rep := reduceAll(t, []Span{phaseSpan("warmup", 5*sec, 10*sec), phaseSpan("profiling", 10*sec, 20*sec)}, true, Options{}, batches)
	near(t, "warmup", value(t, rep.Phases[0].Metrics, TotalGPUEnergy), 650*5, 20)
	near(t, "profiling", value(t, rep.Phases[1].Metrics, TotalGPUEnergy), 90*10, 20)

	union := reduceAll(t, []Span{phaseSpan("both", 5*sec, 20*sec)}, true, Options{}, batches)
	sum := microjoules(rep.Phases[0].Metrics[TotalGPUEnergy].Value) + microjoules(rep.Phases[1].Metrics[TotalGPUEnergy].Value)
	if whole := microjoules(union.Phases[0].Metrics[TotalGPUEnergy].Value); whole != sum {
		t.Errorf("the parts sum to %d uJ, the union is %d uJ", sum, whole)
	}
}

func TestCounterReset(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec, resetAt: 12*sec + 345*ms}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 25*sec)}, true, Options{}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms))
	ph := rep.Phases[0]
	got := value(t, ph.Metrics, TotalGPUEnergy)
	near(t, "energy over a reset", got, 6000, 70)
	if got > 6000 {
		t.Errorf("%v J: more than was drawn", got)
	}
	if c := ph.PerDevice[0].Coverage; c >= 1 || c < 0.99 {
		t.Errorf("coverage %v", c)
	}
	if !warned(rep, WarnReset, "") || !warned(rep, WarnMissing, "p") {
		t.Errorf("warnings: %v", rep.Warnings)
	}
	if u := ph.Metrics[TotalGPUEnergy].Uncertainty.Random; u < 0.98*(6000-got) {
		t.Errorf("random uncertainty %v J, but %v J are lost in the reset", u, 6000-got)
	}
}

func TestOneOfTwoGPUsReporting(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	batches := rows([]sample.Device{device(0), device(1)}, 0, 30*sec, 20*ms, func(d int, at trace.Time, r sample.Row) {
		if d == 0 {
			r.Set(sample.EnergyJoules, g.counter(at))
		} else {
			r.Fail(sample.EnergyJoules, "GPU_IS_LOST")
		}
	})
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches)
	ph := rep.Phases[0]
	if d := ph.Devices; d.Expected != 2 || d.Seen != 1 || len(d.Missing) != 1 || d.Missing[0] != "GPU-b" {
		t.Errorf("devices: %+v", d)
	}
	if n := ph.Metrics[TotalGPUEnergy].DevicesCovered; n != 1 {
		t.Errorf("%d devices covered", n)
	}
	if !warned(rep, WarnMissingDevice, "p") {
		t.Error("no warning")
	}
}

func TestExpectedDeviceThatNeverShowed(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{ExpectDevices: 8}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms))
	if d := rep.Phases[0].Devices; d.Expected != 8 || d.Seen != 1 || !warned(rep, WarnMissingDevice, "p") {
		t.Errorf("%+v %v", d, rep.Warnings)
	}
}

func TestPowerWithoutCounter(t *testing.T) {
	batches := rows([]sample.Device{device(0)}, 0, 30*sec, 50*ms, func(_ int, at trace.Time, r sample.Row) {
		r.Set(sample.PowerAverageWatts, 300)
	})
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches)
	m := rep.Phases[0].Metrics
	near(t, "integrated", value(t, m, TotalGPUEnergy), 3000, 1e-6)
	near(t, "mean", value(t, m, TotalGPUPower), 300, 1e-9)
}

func TestCounterWithoutPower(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms))
	absent(t, rep.Phases[0].Metrics, TotalGPUPower)
	near(t, "energy", value(t, rep.Phases[0].Metrics, TotalGPUEnergy), 3000, 4)
	if !warned(rep, WarnNoGauge, "p") {
		t.Error("no warning")
	}
}

func TestZeroRequests(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms))
	ph := rep.Phases[0]
	absent(t, ph.Metrics, OutputTokensPerJoule, EnergyPerOutputToken, EnergyPerRequest, TimeToFirstToken, OutputTokenThroughput, RequestThroughput)
	if ph.Tokens != nil || ph.Requests.Sent != 0 || !warned(rep, WarnNoRequests, "p") {
		t.Errorf("%+v %+v", ph.Tokens, ph.Requests)
	}
}

func TestConcurrencyAbsent(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	span := phaseSpan("p", 5*sec, 15*sec)
	span.Concurrency = 0
	rep := reduceAll(t, []Span{span}, true, Options{}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms))
	absent(t, rep.Phases[0].Metrics, EnergyPerUser)
	if !warned(rep, WarnNoConcurrency, "p") {
		t.Error("no warning")
	}
}

func TestMissingEnd(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	span := phaseSpan("p", 5*sec, 0)
	span.End = trace.Opt[trace.Time]{}
	rep := reduceAll(t, []Span{span}, true, Options{}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms), succeeded("p", 6*sec, 7*sec, 8*sec, 10, 11))
	absent(t, rep.Phases[0].Metrics, TotalGPUEnergy, TotalGPUPower, EnergyPerUser, OutputTokenThroughput)
	if rep.Phases[0].Metrics[TimeToFirstToken].Count != 1 || !warned(rep, WarnNoEnd, "p") {
		t.Error("requests are lost with the phase's end")
	}
}

func TestTelemetryAbsent(t *testing.T) {
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, nil, succeeded("p", 6*sec, 7*sec, 8*sec, 10, 11))
	ph := rep.Phases[0]
	absent(t, ph.Metrics, TotalGPUEnergy, TotalGPUPower, EnergyPerUser, OutputTokensPerJoule, AverageGPUPower)
	if ph.Devices != nil || len(ph.PerDevice) != 0 {
		t.Error("devices without telemetry")
	}
}

func TestFailedRequestsCountOnce(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	failed := &trace.Request{Phase: "p", Sent: 6 * sec, Done: 7 * sec, Outcome: trace.Failed, Error: trace.RequestError{Class: trace.ErrHTTP5xx}, OutputTokens: trace.Some[int64](50)}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms),
		succeeded("p", 6*sec, 7*sec, 8*sec, 100, 11), failed)
	ph := rep.Phases[0]
	if q := ph.Requests; q.Sent != 2 || q.Succeeded != 1 || q.Failed != 1 || q.Errors[trace.ErrHTTP5xx] != 1 {
		t.Errorf("%+v", q)
	}
	near(t, "tokens/J", value(t, ph.Metrics, OutputTokensPerJoule), 11/value(t, ph.Metrics, TotalGPUEnergy), 1e-12)
	near(t, "J/user", value(t, ph.Metrics, EnergyPerUser), value(t, ph.Metrics, TotalGPUEnergy)/4, 1e-9)
	near(t, "ttft", ph.Metrics[TimeToFirstToken].Mean, 1, 0)
	near(t, "itl", ph.Metrics[InterTokenLatency].Mean, 0.1, 0)
	near(t, "e2e", ph.Metrics[RequestLatency].Mean, 2, 0)
}

func TestNotBracketed(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, counterRows([]*gpu{g}, 0, 10*sec, 20*ms))
	ph := rep.Phases[0]
	absent(t, ph.Metrics, TotalGPUEnergy, EnergyPerUser)
	near(t, "coverage", ph.PerDevice[0].Coverage, 0.5, 0.02)
	near(t, "covered energy", value(t, ph.PerDevice[0].Metrics, GPUEnergyCovered), 1500, 40)
	if !warned(rep, WarnNotBracketed, "p") {
		t.Error("no warning")
	}
}

func TestImpossibleJumpIsLeftOut(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	batches := rows([]sample.Device{device(0)}, 0, 30*sec, 20*ms, func(_ int, at trace.Time, r sample.Row) {
		v := g.counter(at)
		if at > 12*sec {
			v += 1e5
		}
		r.Set(sample.EnergyJoules, v)
		r.Set(sample.PowerLimitWatts, 700)
	})
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 25*sec)}, true, Options{}, batches)
	near(t, "energy", value(t, rep.Phases[0].Metrics, TotalGPUEnergy), 6000, 70)
	if !warned(rep, WarnJump, "") {
		t.Error("no warning")
	}
}

// The table of the aiperf thread that asked for these metrics: 8 H200, the sum
// is taken before any rounding.
func TestEightH200(t *testing.T) {
	want := []float64{143653.77, 147784.43, 149026.62, 148156.23, 145397.66, 148267.18, 153568.17, 149799.60}
	var devices []sample.Device
	for i := range want {
		devices = append(devices, device(i))
	}
	batches := rows(devices, 0, 400*sec, 100*ms, func(d int, at trace.Time, r sample.Row) {
		// Counters that move at every poll by the same amount between 50 s and
		// 350 s, so that the phase's ends are knots' midpoints.
		r.Set(sample.EnergyJoules, 1e6+want[d]*float64(at)/float64(300*sec))
	})
	rep := reduceAll(t, []Span{phaseSpan("p", 50*sec, 350*sec)}, true, Options{}, batches)
	ph := rep.Phases[0]
	sum := 0.0
	for i, d := range ph.PerDevice {
		got := value(t, d.Metrics, GPUEnergy)
		near(t, d.Device, got, want[i], 2e-5)
		sum += got
	}
	near(t, "total", value(t, ph.Metrics, TotalGPUEnergy), 1185653.66, 0.011)
	if got := value(t, ph.Metrics, TotalGPUEnergy); got != sum {
		t.Errorf("total %v is not the sum %v", got, sum)
	}
	if got := value(t, ph.Metrics, EnergyPerUser); got != sum*0.25 {
		t.Errorf("J/user %v", got)
	}
}

func TestRecordingWithoutLogIsOnePhase(t *testing.T) {
	g := &gpu{watts: square, period: 100 * ms, phase: 11 * ms, until: 31 * sec}
	rep := reduceAll(t, nil, false, Options{}, counterRows([]*gpu{g, g}, 0, 30*sec, 20*ms))
	if len(rep.Phases) != 1 || rep.Phases[0].Name != "recording" || rep.Phases[0].Requests != nil {
		t.Fatalf("%+v", rep.Phases)
	}
	ph := rep.Phases[0]
	if ph.Devices.Seen != 2 || *ph.DurationSeconds < 29.5 || *ph.DurationSeconds > 30 {
		t.Errorf("%+v, %v s", ph.Devices, *ph.DurationSeconds)
	}
	near(t, "power", value(t, ph.Metrics, AverageGPUPower), 800, 10)
}

func TestHandover(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	warm := phaseSpan("warmup", 5*sec, 10*sec)
	warm.Handover = true
	q := succeeded("warmup", 8*sec, 9*sec, 11*sec, 100, 21)
	for i := range 21 {
		q.Chunks = append(q.Chunks, trace.Chunk{At: 9*sec + trace.Time(i)*100*ms, Kind: trace.ChunkContent})
	}
	rep := reduceAll(t, []Span{warm, phaseSpan("profiling", 10*sec, 20*sec)}, true, Options{}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms),
		q, succeeded("profiling", 12*sec, 13*sec, 14*sec, 7, 10))
	near(t, "warmup output", *rep.Phases[0].Tokens.Output, 10, 1e-9)
	near(t, "profiling output", *rep.Phases[1].Tokens.Output, 21, 1e-9)
	near(t, "warmup input", *rep.Phases[0].Tokens.Input, 100, 0)
	near(t, "profiling input", *rep.Phases[1].Tokens.Input, 7, 0)
	for _, name := range []string{"warmup", "profiling"} {
		if !warned(rep, WarnWorkInFlight, name) {
			t.Error("no work_in_flight for", name)
		}
	}
}

func TestMIGSaysNothingPerToken(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	batches := counterRows([]*gpu{g}, 0, 30*sec, 20*ms)
	for _, b := range batches {
		b.Devices[0].MIG = true
	}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches, succeeded("p", 6*sec, 7*sec, 8*sec, 100, 11))
	absent(t, rep.Phases[0].Metrics, OutputTokensPerJoule, EnergyPerUser, EnergyPerRequest)
	value(t, rep.Phases[0].Metrics, TotalGPUEnergy)
	if !warned(rep, WarnMIG, "") {
		t.Error("no warning")
	}
}

func TestOneDeviceThroughTwoSources(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	slow := device(0)
	slow.Source = sample.DCGM
	batches := rows([]sample.Device{slow}, 0, 30*sec, sec, func(_ int, at trace.Time, r sample.Row) {
		r.Set(sample.EnergyJoules, g.counter(at))
	})
	batches = append(batches, counterRows([]*gpu{g}, 0, 30*sec, 20*ms)...)
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches)
	ph := rep.Phases[0]
	if len(ph.PerDevice) != 1 || ph.PerDevice[0].Source != "nvml" {
		t.Errorf("%+v", ph.PerDevice)
	}
	near(t, "energy", value(t, ph.Metrics, TotalGPUEnergy), 3000, 4)
}

func TestPercentileIsType7(t *testing.T) {
	d, _ := Describe(seconds(5, 1, 4, 2, 3))
	near(t, "p90 of 1..5", d.P90, 4.6, 1e-12)
	near(t, "p25 of 1..5", d.P25, 2, 1e-12)
	near(t, "std of 1..5", d.Std, math.Sqrt2, 1e-12)
	near(t, "mean", d.Mean, 3, 0)
	one, _ := Describe(seconds(7))
	near(t, "p1 of one", one.P1, 7, 0)
	near(t, "p99 of one", one.P99, 7, 0)
}
