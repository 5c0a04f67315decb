package reduce_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/sample/sim"
	"wattrace/trace"
)

// step is a change of power.
type step struct {
	at    trace.Time
	watts float64
}

// serve is what a server under continuous batching draws: decode steps whose
// power follows a batch that drifts, and about twice a second a prefill of some
// tens of milliseconds near the limit. The mean is about 360 W.
func serve(rng *rand.Rand, from, until trace.Time) []step {
	var steps []step
	decode, next := 330.0, from
	for at := from; at < until; {
		if at >= next {
			steps = append(steps, step{at, 560 + 120*rng.Float64()})
			at = at.Add(time.Duration(30e6 + 60e6*rng.Float64()))
			next = at.Add(time.Duration(rng.ExpFloat64() * 450e6))
			continue
		}
		decode += 12*rng.NormFloat64() + 0.02*(330-decode)
		decode = min(max(decode, 200), 450)
		steps = append(steps, step{at, decode})
		at = at.Add(time.Duration(15e6 + 10e6*rng.Float64()))
	}
	return steps
}

// truth is the energy of a load in a window, in joules.
func truth(load []step, from, to trace.Time) (joules float64) {
	for i, s := range load {
		until := to
		if i+1 < len(load) {
			until = min(to, load[i+1].at)
		}
		if a := max(s.at, from); a < until {
			joules += s.watts * until.Sub(a).Seconds()
		}
	}
	return joules
}

// errorSum gathers the errors of figures and what was stated of them.
type errorSum struct {
	n       int
	squares float64
	within  int // of 1.96 stated standard uncertainties
	sigmas  float64
}

func (s *errorSum) add(e, sigma float64) {
	s.n++
	s.squares += e * e
	s.sigmas += sigma
	if math.Abs(e) <= 1.96*sigma {
		s.within++
	}
}

func (s *errorSum) rms() float64    { return math.Sqrt(s.squares / float64(s.n)) }
func (s *errorSum) held() float64   { return 100 * float64(s.within) / float64(s.n) }
func (s *errorSum) stated() float64 { return s.sigmas / float64(s.n) }

// TestCounterEnergyAgainstTruth polls simulated counters every 20 ms, under one
// load for all devices, and compares with the truth: phases anywhere in the load,
// and phases that begin and end with it after a rest, as a real run's do.
func TestCounterEnergyAgainstTruth(t *testing.T) {
	if underRace {
		t.Skip("simulations are run without the race detector")
	}
	for _, length := range []time.Duration{2 * time.Second, 5 * time.Second, 20 * time.Second} {
		for _, c := range []struct {
			name      string
			rest      bool
			most, all float64 // RMS error of a device and of four, in joules
		}{
			{"anywhere", false, 3.5, 11},
			{"after a rest", true, 3.5, 11},
		} {
			t.Run(c.name+" "+length.String(), func(t *testing.T) {
				t.Parallel()
				var ours, last, total errorSum
				for seed := range uint64(20) {
					scenario(t, seed, length, c.rest, &ours, &last, &total)
				}
				t.Logf("%d windows: RMS error %.2f J, of the last-sample difference %.2f J; stated 95 %% held in %.1f %%, mean sigma %.2f J; of 4 devices: %.2f J, held in %.1f %%, mean sigma %.2f J",
					ours.n, ours.rms(), last.rms(), ours.held(), ours.stated(), total.rms(), total.held(), total.stated())
				if ours.rms() > c.most || total.rms() > c.all {
					t.Errorf("RMS error %.2f J, of 4 devices %.2f J: want at most %v and %v J", ours.rms(), total.rms(), c.most, c.all)
				}
				if last.rms() <= c.all {
					t.Errorf("the last-sample difference errs by %.2f J RMS: the comparison is void", last.rms())
				}
				for _, s := range []errorSum{ours, total} {
					if s.held() < 88 {
						t.Errorf("the stated 95 %% held in %.1f %% of windows", s.held())
					}
					if s.stated() > 2*s.rms() {
						t.Errorf("stated %.2f J for an error of %.2f J", s.stated(), s.rms())
					}
				}
			})
		}
	}
}

// scenario runs twelve windows on four devices.
func scenario(t *testing.T, seed uint64, length time.Duration, rest bool, ours, last, total *errorSum) {
	rng := rand.New(rand.NewPCG(seed, uint64(length)))
	devices, err := sim.New(sim.Options{Count: 4, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	// Phases back to back, or with a rest before each.
	var spans []reduce.Span
	var load []step // of all devices: they serve together
	start := trace.Time(2*time.Second) + trace.Time(rng.Int64N(1e9))
	for i := range 12 {
		end := start.Add(length + time.Duration(rng.Int64N(1e8)))
		spans = append(spans, reduce.Span{Name: string(rune('a' + i)), Kind: "measure", Start: start, End: trace.Some(end)})
		if rest {
			load = append(append(load, serve(rng, start, end)...), step{end, 90})
			end = end.Add(time.Second + time.Duration(rng.Int64N(1e9)))
		}
		start = end
	}
	until := start.Add(3 * time.Second)
	if rest {
		load = append([]step{{0, 90}}, load...)
	} else {
		load = serve(rng, 0, until)
	}
	rep := reduceSim(devices, load, spans, until, 20*time.Millisecond, rng)
	for p, span := range spans {
		want := truth(load, span.Start, span.End.V)
		for _, d := range rep.Phases[p].PerDevice {
			energy := d.Metrics[reduce.GPUEnergy]
			if energy.Number == nil {
				t.Fatalf("no energy: %v", rep.Warnings)
			}
			ours.add(energy.Value-want, energy.Uncertainty.Random)
			if enc := energy.Enclosure; enc == nil || want < enc.Low-0.01 || want > enc.High+0.01 {
				t.Errorf("truth %v J is not in %+v", want, enc)
			}
		}
		m := rep.Phases[p].Metrics
		total.add(m[reduce.TotalGPUEnergy].Value-m[reduce.TrueGPUEnergy].Value, m[reduce.TotalGPUEnergy].Uncertainty.Random)
		last.add(m[reduce.LastSampleGPUEnergy].Value-m[reduce.TrueGPUEnergy].Value, 0)
	}
}

// reduceSim polls the devices as record does, with a little jitter, and reduces.
func reduceSim(devices []*sim.Device, load []step, spans []reduce.Span, until trace.Time, poll time.Duration, rng *rand.Rand) *reduce.Report {
	var now trace.Time
	source := sim.NewSource(devices, func() trace.Time { return now })
	b := &sample.Batch{Devices: source.Devices()}
	next := make([]int, len(devices)) // the next step of each device
	for t := trace.Time(0); t < until; t = t.Add(poll) {
		now = t.Add(time.Duration(rng.ExpFloat64() * 2e5))
		for i := range devices {
			before := now
			for len(load) > next[i] && load[next[i]].at <= now.Add(60*time.Microsecond) {
				devices[i].SetPower(load[next[i]].at, load[next[i]].watts)
				next[i]++
			}
			now = now.Add(time.Duration(20_000 + rng.Int64N(40_000)))
			row := b.Append(i, before, 2*now.Sub(before))
			source.Read(i, false, []sample.Row{row})
			now = now.Add(now.Sub(before))
		}
	}
	r := reduce.New(trace.Clock{}, spans, true, reduce.Options{
		Truth: func(_ string, at trace.Time) (uint64, bool) { return uint64(truth(load, 0, at) * 1e6), true },
	})
	r.Survey(b, reduce.Recording{})
	r.Start()
	r.Telemetry(b, reduce.Recording{})
	return r.Report()
}
