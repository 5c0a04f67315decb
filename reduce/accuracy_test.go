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
func serve(rng *rand.Rand, until trace.Time) []step {
	var steps []step
	decode, next := 330.0, trace.Time(0)
	for at := trace.Time(0); at < until; {
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

// TestCounterEnergyAgainstTruth polls simulated counters every 20 ms and asks
// that a window's energy be within 3.5 J RMS of the truth, whatever the
// window's length, where the difference of the last readings is not.
func TestCounterEnergyAgainstTruth(t *testing.T) {
	const seeds, poll = 20, 20 * time.Millisecond
	for _, length := range []time.Duration{2 * time.Second, 5 * time.Second, 20 * time.Second} {
		t.Run(length.String(), func(t *testing.T) {
			t.Parallel()
			var ours, last, covered, widths float64
			n := 0
			meanWatts := 0.0
			for seed := range uint64(seeds) {
				rng := rand.New(rand.NewPCG(seed, uint64(length)))
				devices, err := sim.New(sim.Options{Count: 2, Seed: seed})
				if err != nil {
					t.Fatal(err)
				}
				// Phases back to back, after a lead that brackets the first.
				var spans []reduce.Span
				start := trace.Time(2*time.Second) + trace.Time(rng.Int64N(1e9))
				for i := range 4 {
					end := start.Add(length + time.Duration(rng.Int64N(1e8)))
					spans = append(spans, reduce.Span{Name: string(rune('a' + i)), Kind: "measure", Start: start, End: trace.Some(end)})
					start = end
				}
				until := start.Add(3 * time.Second)
				var loads [][]step
				for i := range devices {
					loads = append(loads, serve(rand.New(rand.NewPCG(seed, uint64(i)+100)), until))
				}
				rep := reduceSim(devices, loads, spans, until, poll, rng)
				for p, span := range spans {
					for i, d := range rep.Phases[p].PerDevice {
						energy := d.Metrics[reduce.GPUEnergy]
						if energy.Number == nil {
							t.Fatalf("no energy: %v", rep.Warnings)
						}
						truth := truth(loads[i], span.Start, span.End.V)
						e := energy.Value - truth
						ours += e * e
						meanWatts += truth / span.End.V.Sub(span.Start).Seconds()
						widths += energy.Uncertainty.Random
						if math.Abs(e) <= 1.96*energy.Uncertainty.Random {
							covered++
						}
						if enc := energy.Enclosure; enc == nil || truth < enc.Low-0.01 || truth > enc.High+0.01 {
							t.Errorf("truth %v J is not in %+v", truth, enc)
						}
						n++
					}
					total := rep.Phases[p].Metrics[reduce.LastSampleGPUEnergy].Value - rep.Phases[p].Metrics[reduce.TrueGPUEnergy].Value
					last += total * total / float64(len(devices)) // per device, as the errors are independent
				}
			}
			rms, lastRMS := math.Sqrt(ours/float64(n)), math.Sqrt(last/float64(n/2))
			t.Logf("%d windows at %.0f W: RMS error %.2f J, of the last-sample difference %.2f J; stated 95 %% held %.1f %%, mean sigma %.2f J",
				n, meanWatts/float64(n), rms, lastRMS, 100*covered/float64(n), widths/float64(n))
			if rms > 3.5 {
				t.Errorf("RMS error %.2f J, want at most 3.5 J", rms)
			}
			if lastRMS <= 3.5 {
				t.Errorf("the last-sample difference errs by %.2f J RMS: the comparison is void", lastRMS)
			}
			if share := covered / float64(n); share < 0.90 || share > 0.995 {
				t.Errorf("the stated 95 %% held in %.1f %% of windows", 100*share)
			}
		})
	}
}

// reduceSim polls the devices as record does, with a little jitter, and reduces.
func reduceSim(devices []*sim.Device, loads [][]step, spans []reduce.Span, until trace.Time, poll time.Duration, rng *rand.Rand) *reduce.Report {
	var now trace.Time
	source := sim.NewSource(devices, func() trace.Time { return now })
	b := &sample.Batch{Devices: source.Devices()}
	next := make([]int, len(devices)) // the next step of each load
	for t := trace.Time(0); t < until; t = t.Add(poll) {
		now = t.Add(time.Duration(rng.ExpFloat64() * 2e5))
		for i := range devices {
			before := now
			for len(loads[i]) > next[i] && loads[i][next[i]].at <= now.Add(60*time.Microsecond) {
				devices[i].SetPower(loads[i][next[i]].at, loads[i][next[i]].watts)
				next[i]++
			}
			now = now.Add(time.Duration(20_000 + rng.Int64N(40_000)))
			row := b.Append(i, before, 2*now.Sub(before))
			source.Read(i, false, row)
			now = now.Add(now.Sub(before))
		}
	}
	r := reduce.New(trace.Clock{}, spans, true, reduce.Options{
		Truth: func(id string, at trace.Time) (uint64, bool) {
			for i, d := range devices {
				if d.Info().ID == id {
					return uint64(truth(loads[i], 0, at) * 1e6), true
				}
			}
			return 0, false
		},
	})
	r.Survey(b, 0)
	r.Start()
	r.Telemetry(b, 0)
	return r.Report()
}
