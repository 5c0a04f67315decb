package reduce

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wattrace/sample"
	"wattrace/trace"
)

// both are readings of a counter and of an average that shows gain times as much.
func both(n int, watts, gain float64, until trace.Time) []*sample.Batch {
	var devices []sample.Device
	for i := range n {
		devices = append(devices, device(i))
	}
	g := &gpu{watts: flat(watts), period: 100 * ms, phase: 30 * ms, until: until + sec}
	return rows(devices, 0, until, 20*ms, func(_ int, t trace.Time, r sample.Row) {
		r.Set(sample.EnergyJoules, g.counter(t))
		r.Set(sample.PowerAverageWatts, watts*gain)
	})
}

func TestCrossCheck(t *testing.T) {
	run := func(gain float64, opt Options) *Report {
		return reduceAll(t, []Span{phaseSpan("p", 5*sec, 25*sec)}, true, opt, both(2, 400, gain, 30*sec))
	}
	good := run(1.004, Options{})
	m := good.Phases[0].Metrics
	near(t, "ratio", value(t, m, CrossCheckRatio), 1/1.004, 1e-3)
	near(t, "other energy", value(t, m, CrossCheckEnergy), 16000*1.004, 2)
	if warned(good, WarnDisagree, "p") {
		t.Errorf("a warning of 0.4 %%: %v", good.Warnings)
	}
	bad := run(1.05, Options{})
	if !warned(bad, WarnDisagree, "p") {
		t.Error("no warning of 5 %")
	}
	// The headline stays, and half the difference joins its systematic part.
	a, b := good.Phases[0].Metrics[TotalGPUEnergy], bad.Phases[0].Metrics[TotalGPUEnergy]
	if a.Value != b.Value {
		t.Errorf("the headline moved from %v to %v", a.Value, b.Value)
	}
	extra := math.Sqrt(b.Uncertainty.Systematic*b.Uncertainty.Systematic - a.Uncertainty.Systematic*a.Uncertainty.Systematic)
	near(t, "extra", extra, 16000*0.05/2, 5)

	for _, w := range run(0, Options{}).Warnings { // a gauge that shows nothing
		if strings.Contains(w.Message, "Inf") || strings.Contains(w.Message, "NaN") {
			t.Errorf("%+v", w)
		}
	}

	power := run(1.05, Options{EnergySource: SourcePower})
	near(t, "by power", value(t, power.Phases[0].Metrics, TotalGPUEnergy), 16000*1.05, 2)
	near(t, "its check", value(t, power.Phases[0].Metrics, CrossCheckEnergy), 16000, 5)
	if e := power.Phases[0].PerDevice[0].Metrics[GPUEnergy].Enclosure; e != nil {
		t.Errorf("an integral has an enclosure: %+v", e)
	}
	field := Calibration{Device: "GPU-a", Field: sample.PowerAverageWatts.String(), Gain: 1.05, GainSigma: 0.001, OffsetSigma: 0.1}
	d := run(1.05, Options{Calibration: []Calibration{field}}).Phases[0].PerDevice[0].Metrics
	near(t, "a gauge that is calibrated", d[CrossCheckEnergy].Value, 8000, 1)
	near(t, "its systematic part", d[CrossCheckEnergy].Uncertainty.Systematic, math.Hypot(8000*0.001/1.05, 2/1.05), 0.01)
	near(t, "the counter's", d[GPUEnergy].Uncertainty.Systematic, math.Sqrt(400*400+120*120+100*100), 1)
}

func TestEnergySourceThatIsNotThere(t *testing.T) {
	batches := rows([]sample.Device{device(0)}, 0, 30*sec, 50*ms, func(_ int, at trace.Time, r sample.Row) {
		r.Set(sample.PowerAverageWatts, 300)
	})
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{EnergySource: SourceCounter}, batches)
	absent(t, rep.Phases[0].Metrics, TotalGPUEnergy, AverageGPUPower)
	if !warned(rep, WarnMissingDevice, "p") {
		t.Error("no warning")
	}
}

// TestCalibration reads a sensor that shows 0.95 of the power and 10 W more.
func TestCalibration(t *testing.T) {
	const watts = 400
	batches := both(2, 0.95*watts+10, 1, 30*sec)
	spans := []Span{phaseSpan("a", 5*sec, 12*sec+345*ms), phaseSpan("b", 12*sec+345*ms, 25*sec), phaseSpan("ab", 5*sec, 25*sec)}
	cal := Calibration{Device: "GPU-a", Gain: 0.95, GainSigma: 0.004, OffsetWatts: 10, OffsetSigma: 1}
	other := cal
	other.Device = "GPU-b"
	rep := reduceAll(t, spans, true, Options{Calibration: []Calibration{cal, other}}, batches)
	n := rep.Phases[2].Metrics[TotalGPUEnergy]
	near(t, "energy", n.Value, 2*watts*20, 4)
	near(t, "power", value(t, rep.Phases[2].Metrics, TotalGPUPower), 2*watts, 0.01)
	one := math.Hypot(watts*20*0.004/0.95, 20*1/0.95)
	near(t, "systematic", n.Uncertainty.Systematic, one*math.Sqrt2, 0.1)
	sum := microjoules(value(t, rep.Phases[0].Metrics, TotalGPUEnergy)) + microjoules(value(t, rep.Phases[1].Metrics, TotalGPUEnergy))
	if whole := microjoules(n.Value); sum != whole {
		t.Errorf("%d uJ in parts, %d uJ whole", sum, whole)
	}
	if e := n.Enclosure; e == nil || e.Low > 2*watts*20 || e.High < 2*watts*20 {
		t.Errorf("enclosure %+v", e)
	}
	// A model's gain is shared by its boards, and what differs from board to board
	// remains.
	cal.Device = "test GPU"
	if warned(rep, WarnCalibration, "") {
		t.Errorf("a calibration that is used is called unused: %v", rep.Warnings)
	}

	rep = reduceAll(t, spans, true, Options{Calibration: []Calibration{cal}}, batches)
	shared := 2 * watts * 20 * 0.004 / 0.95
	offset := 2 * 20 / 0.95
	unit := watts * 20 * unitGain * math.Sqrt2
	near(t, "model's", rep.Phases[2].Metrics[TotalGPUEnergy].Uncertainty.Systematic, math.Sqrt(shared*shared+offset*offset+unit*unit), 0.2)

	other.Device = "GPU-z" // which is not there
	rep = reduceAll(t, spans, true, Options{Calibration: []Calibration{cal, other}}, batches)
	if !warned(rep, WarnCalibration, "") || slices.Contains(rep.Incomplete(), WarnCalibration) {
		t.Errorf("warnings %v", rep.Warnings)
	}
}

// TestModelsErrApart: the gain that boards of a model share is another model's own.
func TestModelsErrApart(t *testing.T) {
	sum := func(names ...string) float64 {
		e := total{seconds: 10}
		for _, name := range names {
			e.add(&series{survey: survey{device: sample.Device{Name: name}}}, SourceCounter, estimate{value: 1000}, "")
		}
		return e.systematic(true)
	}
	near(t, "one model", sum("a", "a"), math.Sqrt(100*100+2*15*15+100*100), 1e-9)
	near(t, "two models", sum("a", "b"), math.Sqrt(2*50*50+2*15*15+100*100), 1e-9)
}

// TestNetEnergy has idle phases of 100 and 110 W around a load of 500 W.
func TestNetEnergy(t *testing.T) {
	watts := func(at trace.Time) float64 {
		switch {
		case at < 15*sec:
			return 100
		case at < 35*sec:
			return 500
		}
		return 110
	}
	g := &gpu{watts: watts, period: 100 * ms, phase: 30 * ms, until: 61 * sec}
	batches := counterRows([]*gpu{g}, 0, 60*sec, 20*ms)
	spans := []Span{phaseSpan("before", 5*sec, 15*sec), phaseSpan("p", 15*sec, 35*sec), phaseSpan("after", 40*sec, 50*sec)}
	spans[0].Kind, spans[2].Kind = "idle", "idle"
	q := succeeded("p", 15*sec, 16*sec, 34*sec, 100, 1000)
	rep := reduceAll(t, spans, true, Options{}, batches, q)
	m := rep.Phases[1].Metrics
	near(t, "idle power", value(t, m, IdleGPUPower), 105, 0.3)
	near(t, "idle energy", value(t, m, IdleGPUEnergy), 2100, 6)
	near(t, "net", value(t, m, NetGPUEnergy), 7900, 12)
	near(t, "net per token", value(t, m, NetEnergyPerOutputToken), 7.9, 0.02)
	near(t, "gross", value(t, m, TotalGPUEnergy), 10000, 8)
	near(t, "u of idle", m[IdleGPUPower].Uncertainty.Random, 5, 0.3)
	near(t, "u of net", m[NetGPUEnergy].Uncertainty.Random, 100, 5)
	// The offset of the sensor is in both, so that the gains alone remain.
	near(t, "systematic of net", m[NetGPUEnergy].Uncertainty.Systematic, math.Hypot(0.05, 0.015)*7900, 2)
	absent(t, rep.Phases[0].Metrics, NetGPUEnergy, IdleGPUEnergy)

	given := reduceAll(t, spans[1:2], true, Options{Idle: IdleChoice{Watts: trace.Some(90.)}}, batches, q)
	near(t, "net by what was given", value(t, given.Phases[0].Metrics, NetGPUEnergy), 10000-1800, 8)
	head := reduceAll(t, spans[1:2], true, Options{Idle: IdleChoice{Head: 10 * time.Second}}, batches, q)
	near(t, "idle of the head", value(t, head.Phases[0].Metrics, IdleGPUPower), 100, 0.3)
	none := reduceAll(t, spans[1:2], true, Options{}, batches, q)
	absent(t, none.Phases[0].Metrics, NetGPUEnergy, IdleGPUPower)
}

// TestClockRange: a window of 500 W beside 100 W, whose place is known to 0.5 s.
func TestClockRange(t *testing.T) {
	watts := func(at trace.Time) float64 {
		if at >= 10*sec && at < 20*sec {
			return 500
		}
		return 100
	}
	g := &gpu{watts: watts, period: 100 * ms, phase: 30 * ms, until: 41 * sec}
	batches := counterRows([]*gpu{g}, 0, 40*sec, 20*ms)
	r := New(trace.Clock{}, []Span{phaseSpan("p", 10*sec, 20*sec), phaseSpan("flat", 25*sec, 35*sec)}, true, Options{})
	from := Recording{Spread: 500 * time.Millisecond}
	for _, b := range batches {
		r.Survey(b, from)
	}
	r.Start()
	for _, b := range batches {
		r.Telemetry(b, from)
	}
	rep := r.Report()
	n := rep.Phases[0].Metrics[TotalGPUEnergy]
	if n.ClockRange == nil {
		t.Fatal("no range")
	}
	near(t, "low", n.ClockRange.Low, 5000-200, 8)
	near(t, "high", n.ClockRange.High, 5000, 8)
	flat := rep.Phases[1].Metrics[TotalGPUEnergy].ClockRange
	near(t, "width where power is flat", flat.High-flat.Low, 0, 3)
	if c := rep.Phases[0].Metrics[AverageGPUPower].ClockRange; c == nil || math.Abs(c.Low-n.ClockRange.Low/10) > 1e-9 {
		t.Errorf("range of the mean power: %+v", c)
	}
	if c := rep.Phases[0].PerDevice[0].Metrics[GPUEnergy].ClockRange; c == nil || *c != *n.ClockRange {
		t.Errorf("the device's: %+v", c)
	}
}

// TestShiftedLogs moves the telemetry of a run with pauses by 3 s.
func TestShiftedLogs(t *testing.T) {
	var list []*trace.Request
	for i := range trace.Time(6) {
		list = append(list, closedLoop("p", 4, 5*sec+i*9*sec, 5*sec+i*9*sec+(3+i%2)*sec, time.Second, 5)...)
	}
	run := func(shift trace.Time) *Report {
		watts := loaded(list, 0)
		g := &gpu{watts: func(at trace.Time) float64 { return watts(at - shift) }, period: 100 * ms, until: 71 * sec}
		return reduceAll(t, []Span{phaseSpan("p", 5*sec, 55*sec)}, true, Options{}, counterRows([]*gpu{g}, 0, 70*sec, 20*ms), list...)
	}
	if rep := run(0); warned(rep, WarnShifted, "") {
		t.Errorf("unmoved: %v", rep.Warnings)
	}
	for _, shift := range []trace.Time{-3 * sec, 3 * sec} {
		if rep := run(shift); !warned(rep, WarnShifted, "") {
			t.Errorf("moved by %v: no warning", shift)
		}
	}
}

// TestCellsHoldTheWindows: whatever the windows, the cells between a window's ends hold
// the devices' energy to the microjoule, calibrated or not.
func TestCellsHoldTheWindows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := drawGPU(t, 12*sec)
		if rapid.Bool().Draw(t, "reset") {
			g.resetAt = trace.Time(rapid.Int64Range(int64(sec), int64(11*sec)).Draw(t, "reset at"))
		}
		average := rapid.Bool().Draw(t, "average")
		batches := rows([]sample.Device{device(0)}, 0, 11*sec, drawPoll(t), func(_ int, at trace.Time, r sample.Row) {
			if average {
				r.Set(sample.PowerAverageWatts, g.watts(at))
			} else {
				r.Set(sample.EnergyJoules, g.counter(at))
			}
		})
		a := trace.Time(rapid.Int64Range(0, int64(6*sec)).Draw(t, "a"))
		b := a + trace.Time(rapid.Int64Range(1, int64(6*sec)).Draw(t, "b"))
		c := b + trace.Time(rapid.Int64Range(1, int64(3*sec)).Draw(t, "c"))
		var opt Options
		if rapid.Bool().Draw(t, "calibrated") {
			opt.Calibration = []Calibration{{Device: "GPU-a", Gain: 0.97, OffsetWatts: -3}}
		}
		r := New(trace.Clock{}, []Span{phaseSpan("one", a, b), phaseSpan("two", b, c)}, true, opt)
		for _, batch := range batches {
			r.Survey(batch, Recording{})
		}
		r.Start()
		for _, batch := range batches {
			r.Telemetry(batch, Recording{})
		}
		r.settle()
		for _, ph := range r.phases {
			curve, _ := r.gpus[0].curve(r.gpus[0].source)
			if curve == nil {
				continue
			}
			want := curve.edgeAt(ph.End.V).energy - curve.edgeAt(ph.Start).energy
			got := int64(0)
			for i := r.cells.bound(ph.Start); i < r.cells.bound(ph.End.V); i++ {
				got += r.cells.energy[i]
			}
			if got != want {
				t.Fatalf("%s: cells hold %d uJ, the device drew %d", ph.Name, got, want)
			}
		}
	})
}

func TestSLO(t *testing.T) {
	q := succeeded("p", 10*sec, 10*sec+300*ms, 12*sec, 10, 11)
	for _, c := range []struct {
		slo  SLO
		want bool
	}{
		{SLO{TTFT: 300 * time.Millisecond}, true}, {SLO{TTFT: 299 * time.Millisecond}, false},
		{SLO{ITL: 170 * time.Millisecond}, true}, {SLO{ITL: 169 * time.Millisecond}, false},
		{SLO{E2E: 2 * time.Second}, true}, {SLO{TTFT: time.Second, E2E: time.Second}, false},
	} {
		if got := c.slo.keeps(q, false); got != c.want {
			t.Errorf("%v: %v", c.slo, got)
		}
	}
	// Due 150 ms earlier: an open loop's user has waited since.
	q.Scheduled = q.Sent - 150*ms
	for _, c := range []struct {
		slo          SLO
		closed, open bool
	}{
		{SLO{TTFT: 449 * time.Millisecond}, true, false}, {SLO{TTFT: 450 * time.Millisecond}, true, true}, {SLO{TTFT: 299 * time.Millisecond}, false, false},
		{SLO{E2E: 2149 * time.Millisecond}, true, false}, {SLO{E2E: 2150 * time.Millisecond}, true, true}, {SLO{E2E: 1999 * time.Millisecond}, false, false},
		{SLO{TTFTSent: 300 * time.Millisecond}, true, true}, {SLO{TTFTSent: 299 * time.Millisecond}, false, false},
		{SLO{E2ESent: 2 * time.Second}, true, true}, {SLO{E2ESent: 1999 * time.Millisecond}, false, false},
		{SLO{TTFTScheduled: 450 * time.Millisecond}, true, true}, {SLO{TTFTScheduled: 449 * time.Millisecond}, false, false},
		{SLO{E2EScheduled: 2150 * time.Millisecond}, true, true}, {SLO{E2EScheduled: 2149 * time.Millisecond}, false, false},
		{SLO{ITL: 170 * time.Millisecond, TTFT: time.Second, E2EScheduled: 2149 * time.Millisecond}, false, false},
	} {
		if closed, open := c.slo.keeps(q, false), c.slo.keeps(q, true); closed != c.closed || open != c.open {
			t.Errorf("%+v: closed %v, open %v", c.slo, closed, open)
		}
	}
	if !(SLO{ITL: 1}).keeps(succeeded("p", 0, sec, 2*sec, 1, 1), false) {
		t.Error("one token has an inter-token latency")
	}
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{SLO: SLO{TTFT: time.Second}}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms),
		succeeded("p", 6*sec, 6*sec+500*ms, 8*sec, 10, 10), succeeded("p", 6*sec, 8*sec, 9*sec, 10, 10))
	m := rep.Phases[0].Metrics
	near(t, "goodput", value(t, m, Goodput), 0.1, 1e-9)
	near(t, "goodput per watt", value(t, m, GoodputPerWatt), 0.1/300, 1e-5)
}

// Good requests of an open loop are those whose user did not wait too long, and the report
// says from when that is; windows over both loads judge each request by its own.
func TestSLOByLoad(t *testing.T) {
	open, closed := phaseSpan("open", 0, 2*sec), phaseSpan("closed", 2*sec, 4*sec)
	open.Open = true
	both := Span{Name: "both", Start: 0, End: trace.Some(4 * sec)}
	late := func(phase string, at trace.Time) *trace.Request {
		q := chunked(at, at+100, "cc", at+110, at+120)
		q.Phase = phase
		return q
	}
	punctual := chunked(500, 500, "cc", 510, 520)
	punctual.Phase = "open"
	for _, c := range []struct {
		slo   SLO
		ratio [3]float64
		says  [3]string
	}{
		{SLO{TTFT: 50 * time.Millisecond}, [3]float64{1. / 2, 1, 2. / 3}, [3]string{"TTFT <= 50ms since due", "TTFT <= 50ms since sent", "TTFT <= 50ms since sent, in an open loop due"}},
		{SLO{E2ESent: 50 * time.Millisecond, ITL: time.Second}, [3]float64{1, 1, 1}, [3]string{"ITL <= 1s, latency <= 50ms since sent", "ITL <= 1s, latency <= 50ms since sent", "ITL <= 1s, latency <= 50ms since sent"}},
		{SLO{TTFTScheduled: 50 * time.Millisecond}, [3]float64{1. / 2, 0, 1. / 3}, [3]string{"TTFT <= 50ms since due", "TTFT <= 50ms since due", "TTFT <= 50ms since due"}},
	} {
		rep := reduceAll(t, []Span{open, closed}, true, Options{SLO: c.slo, Windows: []Span{both}}, nil, late("open", 100), punctual, late("closed", 2100))
		for i, ph := range rep.Phases {
			near(t, ph.Name, value(t, ph.Metrics, GoodputRatio), c.ratio[i], 1e-12)
			for tag, rest := range map[string]string{GoodputRatio: " / requests sent, failed ones among them", Goodput: " / duration"} {
				if want := "requests with " + c.says[i] + rest; ph.Metrics[tag].Method != want {
					t.Errorf("%s: %q, not %q", ph.Name, ph.Metrics[tag].Method, want)
				}
			}
		}
	}
}

func TestLogWithoutPhase(t *testing.T) {
	rep := reduceAll(t, nil, true, Options{}, both(1, 300, 1, 10*sec))
	if !warned(rep, WarnNoPhase, "") || len(rep.Incomplete()) == 0 {
		t.Errorf("%+v", rep.Warnings)
	}
}

// TestIdlePhaseWithoutEnergy: that rest is not known though the run had some is said.
func TestIdlePhaseWithoutEnergy(t *testing.T) {
	spans := []Span{phaseSpan("before", 0, sec/2), phaseSpan("p", 10*sec, 20*sec)}
	spans[0].Kind = "idle"
	var late []*sample.Batch
	for _, b := range both(1, 300, 1, 30*sec) {
		if b.Time[0] >= 5*sec {
			late = append(late, b)
		}
	}
	rep := reduceAll(t, spans, true, Options{}, late)
	absent(t, rep.Phases[1].Metrics, NetGPUEnergy)
	if !warned(rep, WarnNoIdle, "p") {
		t.Errorf("%v", rep.Warnings)
	}
	if rep := reduceAll(t, spans[1:], true, Options{}, late); warned(rep, WarnNoIdle, "p") {
		t.Errorf("of a run without rest: %v", rep.Warnings)
	}
}
