package reduce

import (
	"strings"
	"testing"

	"wattrace/sample"
	"wattrace/trace"
)

func TestSmallImpossibleStepIsLeftOut(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	batches := rows([]sample.Device{device(0)}, 0, 30*sec, 20*ms, func(_ int, at trace.Time, r sample.Row) {
		v := g.counter(at)
		if at > 12*sec {
			v += 800 // within 100 ms on a board of 700 W
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

func TestSlowUpdatesAreNoJumps(t *testing.T) {
	g := &gpu{watts: flat(690), period: sec, phase: 30 * ms, until: 31 * sec}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 25*sec)}, true, Options{}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms))
	near(t, "energy", value(t, rep.Phases[0].Metrics, TotalGPUEnergy), 690*20, 30)
	if warned(rep, WarnJump, "") {
		t.Error("updates once a second count as jumps")
	}
}

func TestImplausiblePowerIsLeftOut(t *testing.T) {
	batches := rows([]sample.Device{device(0)}, 0, 30*sec, 50*ms, func(_ int, at trace.Time, r sample.Row) {
		w := 300.0
		switch at {
		case 8 * sec:
			w = 1e9
		case 9 * sec:
			w = -300
		}
		r.Set(sample.PowerAverageWatts, w)
		r.Set(sample.PowerLimitWatts, 700)
	})
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches)
	near(t, "energy", value(t, rep.Phases[0].Metrics, TotalGPUEnergy), 3000, 1e-6)
	if !warned(rep, WarnImplausible, "") {
		t.Error("no warning")
	}
}

// No reading that cannot be gets into a figure, nor makes what can be drawn boundless.
func TestAbsurdReadingsAreLeftOut(t *testing.T) {
	for _, absurd := range []float64{1e308, -1e308, 2e6} {
		batches := rows([]sample.Device{device(0)}, 0, 30*sec, 50*ms, func(_ int, at trace.Time, r sample.Row) {
			w, limit, clock, celsius := 300.0, 700.0, 1.98e9, 50.0
			if at == 8*sec {
				w, limit, clock, celsius = absurd, absurd, absurd*1e6, absurd
			}
			r.Set(sample.PowerAverageWatts, w)
			r.Set(sample.PowerLimitWatts, limit)
			r.Set(sample.SMClockHertz, clock)
			r.Set(sample.TemperatureCelsius, celsius)
		})
		rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches)
		for tag, want := range map[string]float64{TotalGPUEnergy: 3000, GPUPowerLimit: 700, SMClock: 1.98e9, GPUTemperature: 50, PeakGPUTemperature: 50} {
			near(t, tag, value(t, rep.Phases[0].Metrics, tag), want, 1e-6)
		}
		var said []string
		for _, w := range rep.Warnings {
			if w.Code == WarnImplausible {
				said = append(said, w.Message)
			}
		}
		if all := strings.Join(said, "\n"); len(said) != 4 || !strings.Contains(all, "1 reading is of power_limit_watts left out") {
			t.Errorf("%v: %s", absurd, all)
		}
	}
}

func TestGapInThePowerIsMissing(t *testing.T) {
	batches := rows([]sample.Device{device(0)}, 0, 30*sec, 50*ms, func(_ int, at trace.Time, r sample.Row) {
		if at < 8*sec || at > 12*sec {
			r.Set(sample.PowerAverageWatts, 300)
		}
	})
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches)
	absent(t, rep.Phases[0].Metrics, TotalGPUEnergy, TotalGPUPower)
	near(t, "coverage", rep.Phases[0].PerDevice[0].Coverage, 0.595, 0.006)
	if !warned(rep, WarnMissing, "p") {
		t.Error("no warning")
	}
}

func TestOverlappingPhasesAreDoubted(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	rep := reduceAll(t, []Span{phaseSpan("a", 5*sec, 15*sec), phaseSpan("b", 14*sec, 20*sec), phaseSpan("c", 20*sec, 25*sec)}, true, Options{},
		counterRows([]*gpu{g}, 0, 30*sec, 20*ms))
	if !warned(rep, WarnOverlap, "b") || warned(rep, WarnOverlap, "c") || warned(rep, WarnOverlap, "a") {
		t.Errorf("%v", rep.Warnings)
	}
}

func TestCancelledRequests(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	given := succeeded("p", 6*sec, 7*sec, 9*sec, 100, 3)
	given.Outcome, given.TokenSource = trace.Cancelled, trace.FromChunks
	for i := range 3 {
		given.Chunks = append(given.Chunks, trace.Chunk{At: 7*sec + trace.Time(i)*sec, Kind: trace.ChunkContent})
	}
	batches := counterRows([]*gpu{g}, 0, 30*sec, 20*ms)
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches, given, succeeded("p", 6*sec, 7*sec, 8*sec, 10, 11))
	near(t, "drained", *rep.Phases[0].Tokens.Output, 11, 0)
	if !warned(rep, WarnCancelled, "p") {
		t.Error("no warning")
	}
	handed := phaseSpan("p", 5*sec, 15*sec)
	handed.Handover = true
	rep = reduceAll(t, []Span{handed, phaseSpan("q", 15*sec, 20*sec)}, true, Options{}, batches, given, succeeded("p", 6*sec, 7*sec, 8*sec, 10, 11))
	near(t, "handed over", *rep.Phases[0].Tokens.Output, 14, 0)
}

func TestPhaseWithoutLength(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 5*sec)}, true, Options{}, counterRows([]*gpu{g}, 0, 30*sec, 20*ms))
	absent(t, rep.Phases[0].Metrics, TotalGPUEnergy, AverageGPUPower, RequestThroughput)
	if !warned(rep, WarnNotBracketed, "p") || warned(rep, WarnMissingDevice, "p") {
		t.Errorf("%v", rep.Warnings)
	}
}

func TestMoreDevicesThanExpected(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{ExpectDevices: 1}, counterRows([]*gpu{g, g}, 0, 30*sec, 20*ms))
	if !warned(rep, WarnUnexpected, "p") {
		t.Errorf("%v", rep.Warnings)
	}
}

func TestRecordingTooShort(t *testing.T) {
	g := &gpu{watts: flat(300), period: 100 * ms, until: 31 * sec}
	rep := reduceAll(t, nil, false, Options{}, counterRows([]*gpu{g}, 0, 90*ms, 20*ms))
	if len(rep.Phases) != 0 || !warned(rep, WarnNotBracketed, "") || len(rep.Incomplete()) == 0 {
		t.Errorf("%+v", rep)
	}
}
