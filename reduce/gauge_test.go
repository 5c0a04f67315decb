package reduce

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"wattrace/sample/sim"
	"wattrace/trace"
)

// simulated is a simulated device under a load, and how the energies of its
// windows come out.
type simulated struct {
	load    string
	poll    time.Duration
	windows int
	average tally // deconvolved
	shifted tally // trapezoid, 0.55 s earlier
	instant tally // between updates
}

// shiftedGauge is what to compare with: the trapezoid through the readings, all
// of them earlier by a lag.
type shiftedGauge struct {
	curve *curve
	lag   time.Duration
	have  bool
	at    trace.Time
	watts float64
}

func (g *shiftedGauge) read(at trace.Time, watts float64) {
	at = at.Add(-g.lag)
	grown := int64(0)
	if g.have {
		grown = microjoules((g.watts + watts) / 2 * at.Sub(g.at).Seconds())
	}
	g.curve.add(at, grown, 0, watts)
	g.have, g.at, g.watts = true, at, watts
}

// tally sums up the errors of windows.
type tally struct{ square, covered float64 }

// run polls a device of an average field like GA10x's and adds its windows.
func (s *simulated) run(t *testing.T, seed uint64) {
	t.Helper()
	profile, err := sim.ProfileByName("ampere-ga10x")
	if err != nil {
		t.Fatal(err)
	}
	devices, err := sim.New(sim.Options{Seed: seed, Profile: profile})
	if err != nil {
		t.Fatal(err)
	}
	device, until := devices[0], trace.Time(time.Minute)
	l := simulatedLoad(s.load, until, rand.New(rand.NewPCG(seed, 11)))
	var instants []trace.Time
	for at := 2 * sec; at <= until-2*sec; at += 10 * ms {
		instants = append(instants, at)
	}
	gauge := func(field PowerField) *powerGauge {
		sensor, ok := Sensors().Lookup(field, device.Info(), "575.1")
		if !ok || sensor.Assumed || !sensor.fast(s.poll) {
			t.Fatalf("the %s field of %s: %+v", field, device.Info().Name, sensor)
		}
		return newPowerGauge(instants, sensor, sensor.Period, 700, 10*time.Second)
	}
	average, instant := gauge(FieldAverage), gauge(FieldInstant)
	shifted := &shiftedGauge{curve: newCurve(instants, true), lag: 550 * time.Millisecond}
	rng, next := rand.New(rand.NewPCG(seed, 12)), 0
	for at := trace.Time(0); at < until; at = at.Add(s.poll) {
		now := at.Add(time.Duration(rng.Int64N(2e6)))
		for ; next < len(l.at) && l.at[next] <= now; next++ {
			device.SetPower(max(0, l.at[next]), l.watts[next])
		}
		r := device.Read(now)
		average.read(now, 0, float64(r.PowerAverageMilliwatts)/1000)
		shifted.read(now, float64(r.PowerAverageMilliwatts)/1000)
		instant.read(now, 0, float64(r.PowerInstantMilliwatts)/1000)
	}
	average.end()
	shifted.curve.end()
	instant.end()
	for i := 0; i+100 < len(instants); i += 7 { // 1 s windows
		truth := l.energy(instants[i], instants[i+100])
		s.windows++
		s.average.add(t, average.curve, i, i+100, truth)
		s.shifted.add(t, shifted.curve, i, i+100, truth)
		s.instant.add(t, instant.curve, i, i+100, truth)
	}
}

func (y *tally) add(t *testing.T, c *curve, i, j int, truth float64) {
	t.Helper()
	a, b := c.edges[i], c.edges[j]
	if !a.inside || !b.inside || b.covered-a.covered != int64(b.at-a.at) {
		t.Fatalf("from %v to %v: not covered", a.at, b.at)
	}
	e := float64(b.energy-a.energy)/1e6 - truth
	y.square += e * e
	if math.Abs(e) <= 1.96*math.Hypot(a.sigma, b.sigma)+1e-3 {
		y.covered++
	}
}

func simulatedLoad(kind string, until trace.Time, rng *rand.Rand) *load {
	if kind == "server" {
		return server(rng, until)
	}
	l := &load{}
	l.step(trace.Time(-10*time.Second), 70)
	l.step(0, 70)
	for at := 3 * sec; at < until && kind != "constant"; {
		switch kind {
		case "plateaus": // of no noise at all, so that most updates cannot be seen
			l.step(at, []float64{100, 300, 500}[rng.IntN(3)])
			at = at.Add(time.Duration(2e9 + 4e9*rng.Float64()))
		case "pulses":
			l.step(at, 500)
			l.step(at.Add(time.Duration(50e6+150e6*rng.Float64())), 70)
			at = at.Add(time.Duration(1e9 + 2e9*rng.Float64()))
		}
	}
	return l
}

// TestGaugesAgainstTruth compares what is made of the fields of simulated
// devices with exact energies, of 1 s windows.
func TestGaugesAgainstTruth(t *testing.T) {
	if underRace {
		t.Skip("simulations are run without the race detector")
	}
	t.Parallel()
	for _, test := range []struct {
		load             string
		poll             time.Duration
		average, instant float64 // most RMS error, joules
		better           float64 // than the shifted trapezoid, at least by this factor
	}{
		{"server", 10 * time.Millisecond, 5, 3, 2},
		{"server", 20 * time.Millisecond, 5, 3, 2},
		{"server", 50 * time.Millisecond, 5.5, 3.5, 2},
		{"server", 100 * time.Millisecond, 6, 5, 1.8},
		{"plateaus", 20 * time.Millisecond, 1.5, 2, 8},
		{"plateaus", 100 * time.Millisecond, 5.5, 4.5, 2.3},
		{"pulses", 20 * time.Millisecond, 6, 3.5, 2},
		{"constant", 20 * time.Millisecond, 0.01, 0.01, 0},
	} {
		t.Run(test.load+test.poll.String(), func(t *testing.T) {
			t.Parallel()
			s := simulated{load: test.load, poll: test.poll}
			for seed := range uint64(6) {
				s.run(t, seed)
			}
			rms := func(y tally) float64 { return math.Sqrt(y.square / float64(s.windows)) }
			covered := func(y tally) float64 { return 100 * y.covered / float64(s.windows) }
			average, shifted, instant := rms(s.average), rms(s.shifted), rms(s.instant)
			t.Logf("average %.2f J (95 %% held %.1f %%), only shifted %.2f J, instant %.2f J (95 %% held %.1f %%)",
				average, covered(s.average), shifted, instant, covered(s.instant))
			if !(average <= test.average && instant <= test.instant && shifted >= test.better*average) {
				t.Errorf("want at most %v J from the average and %v J from the instant field, and a factor of %v", test.average, test.instant, test.better)
			}
			if covered(s.average) < 90 || covered(s.instant) < 84 {
				t.Error("the stated uncertainty does not hold")
			}
		})
	}
}

// A plateau that lasts as long as a device at rest goes without updates is told
// from one by what comes after it, unless a load came back within a period before the
// device at rest was updated.
func TestGaugeOfAPlateauLikeRest(t *testing.T) {
	t.Parallel()
	for _, rest := range []bool{false, true} {
		l := &load{}
		l.step(trace.Time(-10*time.Second), 100)
		l.step(5*sec+30*ms, 250)
		back := 7*sec + 110*ms
		if rest {
			back -= 200 * ms
		}
		l.step(back, 450) // the average is as it was until 7.2 s: since 6.2 s
		until := 12 * sec
		var at []trace.Time
		for u := -4 * sec; u < until; u += 100 * ms {
			if !rest || u <= 6200*ms || u >= 7200*ms {
				at = append(at, u)
			}
		}
		instants := []trace.Time{6 * sec, 7210 * ms, 7500 * ms, 8 * sec, 9 * sec}
		g := newPowerGauge(instants, averageSensor(false), 0, 450, 10*time.Second)
		next, watts := 0, 0.0
		for now := trace.Time(0); now < until; now += 10 * ms {
			for ; next < len(at) && at[next] <= now-3*ms; next++ {
				if begin := average(at, next); begin >= 0 {
					u, a := at[next], at[begin]
					watts = math.Round(100*l.energy(a, u)/u.Sub(a).Seconds()) / 100
				}
			}
			g.read(now, 0, watts)
		}
		g.end()
		for i := 1; i < len(instants); i++ {
			got := float64(g.curve.edges[i].energy-g.curve.edges[i-1].energy) / 1e6
			near(t, "energy until "+time.Duration(instants[i]).String(), got, l.energy(instants[i-1], instants[i]), 6)
		}
	}
}

// average returns which update an average begins at, by the law; -1 is none.
func average(at []trace.Time, update int) int {
	begin := -1
	for i := range at[:update] {
		if at[update].Sub(at[i]) >= 1050*time.Millisecond {
			begin = i
		}
	}
	return begin
}

// A sensor that looks for a part of the time gives the trapezoid through the
// middles of its windows.
func TestGaugeOfAPartialSensor(t *testing.T) {
	t.Parallel()
	instants := []trace.Time{sec, 2 * sec, 3*sec + 7*ms}
	sensor := instantSensor(25*time.Millisecond, 100*time.Millisecond, false)
	g := newPowerGauge(instants, sensor, sensor.Period, 400, 10*time.Second)
	power := func(at trace.Time) float64 { return 100 + 50*at.Seconds() }
	for at := trace.Time(0); at < 4*sec; at += ms { // updates every 100 ms; the window's mean is the power in its middle
		g.read(at, 0, power(at/(100*ms)*100*ms-12500*ms/1000))
	}
	g.end()
	want := func(at trace.Time) float64 { s := at.Seconds(); return 100*s + 25*s*s }
	for i := 1; i < len(instants); i++ {
		got := float64(g.curve.edges[i].energy-g.curve.edges[i-1].energy) / 1e6
		near(t, "energy", got, want(instants[i])-want(instants[i-1]), 0.15)
	}
}

// Gaps end a segment, and what is read again begins another; readings in
// disorder are counted.
func TestGaugeGaps(t *testing.T) {
	t.Parallel()
	for _, field := range []PowerField{FieldAverage, FieldInstant} {
		instants := []trace.Time{-sec, sec, 5 * sec, 9 * sec, 30 * sec, 41 * sec, 45 * sec, 60 * sec}
		sensor, _ := Sensors().Lookup(field, device(0), "")
		sensor.Duty = 1
		g := newPowerGauge(instants, sensor, sensor.Period, 200, 10*time.Second)
		for at := trace.Time(0); at <= 10*sec; at += 20 * ms {
			g.read(at, 0, 100+float64(at/(100*ms)%2))
			g.read(at-5*ms, 0, 1e9)
		}
		for at := 40 * sec; at <= 50*sec; at += 20 * ms {
			g.read(at, 0, 200+float64(at/(100*ms)%2))
		}
		g.end()
		if g.gaps != 1 || g.disordered != 501 {
			t.Errorf("%s: %d gaps, %d readings in disorder", field, g.gaps, g.disordered)
		}
		e := g.curve.edges
		for i, inside := range []bool{false, true, true, true, false, true, true, false} {
			if e[i].inside != inside {
				t.Errorf("%s: the edge at %v is bracketed: %v", field, e[i].at, e[i].inside)
			}
		}
		joules := func(i, j int) float64 { return float64(e[j].energy-e[i].energy) / 1e6 }
		near(t, string(field), joules(1, 2), 402, 1.5)
		near(t, string(field), joules(5, 6), 802, 1.5)
		missing := 59*sec - trace.Time(e[7].covered-e[1].covered)
		if missing < 40*sec-200*ms || missing > 40*sec+200*ms {
			t.Errorf("%s: %v are missing", field, time.Duration(missing))
		}
		if e[0].covered != 0 || e[0].energy != 0 {
			t.Errorf("%s: something is known before the first reading: %+v", field, e[0])
		}
	}
}

func BenchmarkGaugeHour(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 9))
	until := trace.Time(time.Hour)
	updates := averages(server(rng, until.Add(time.Second)), until, rng, 0)
	instants := []trace.Time{10 * sec, until - 10*sec}
	b.ReportAllocs()
	for b.Loop() {
		g, next, watts := newPowerGauge(instants, averageSensor(false), 0, 600, 10*time.Second), 0, 0.0
		for at := trace.Time(0); at < until; at += 20 * ms {
			for ; updates[next].At <= at; next++ {
				watts = updates[next].Watts
			}
			g.read(at, 0, watts)
		}
		g.end()
	}
}

func TestSensorFast(t *testing.T) {
	t.Parallel()
	average, instant := averageSensor(false), instantSensor(10*time.Millisecond, 20*time.Millisecond, false)
	for _, test := range []struct {
		sensor Sensor
		poll   time.Duration
		want   bool
	}{
		{average, 20 * time.Millisecond, true}, {average, 200 * time.Millisecond, true}, {average, 201 * time.Millisecond, false},
		{instant, 20 * time.Millisecond, true}, {instant, 21 * time.Millisecond, false},
		{filterSensor(time.Second), time.Millisecond, false}, {Sensor{Kind: SensorInstant}, 0, false},
	} {
		if got := test.sensor.fast(test.poll); got != test.want {
			t.Errorf("a %s of %v, polled every %v: %v", test.sensor.Kind, test.sensor.Period, test.poll, got)
		}
	}
	near(t, "the lag of an instant field, in ms", 1000*instant.Lag().Seconds(), 15, 0)
}
