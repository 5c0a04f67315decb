package sim

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

const ms = trace.Time(time.Millisecond)

// seen is a change that polling every millisecond found.
type seen struct {
	at    trace.Time // of the first poll that showed the value
	value uint64
}

// poll reads a device every millisecond and returns the changes of a field.
func poll(d *Device, from, to trace.Time, field func(Reading) uint64, before func(at trace.Time)) []seen {
	var changes []seen
	last := field(d.Read(from))
	for at := from + ms; at <= to; at += ms {
		if before != nil {
			before(at)
		}
		if v := field(d.Read(at)); v != last {
			changes = append(changes, seen{at, v})
			last = v
		}
	}
	return changes
}

func energyField(r Reading) uint64  { return r.EnergyMillijoules }
func averageField(r Reading) uint64 { return uint64(r.PowerAverageMilliwatts) }

func TestCounterMovesOnlyAtTicksAndToTheTruth(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		d := newOne(t, Options{Seed: seed})
		start := d.Read(0).EnergyMillijoules
		d.SetPower(0, 500)
		changes := poll(d, 0, 5000*ms, energyField, nil)
		if n := len(changes); n < 48 || n > 52 {
			t.Fatalf("seed %d: the counter moved %d times in 5 s", seed, n)
		}
		for i, c := range changes {
			if i > 0 {
				if gap := c.at.Sub(changes[i-1].at); gap < 97*time.Millisecond || gap > 103*time.Millisecond {
					t.Errorf("seed %d: %v between two moves", seed, gap)
				}
			}
			// The tick is within the millisecond before the poll; 500 W are 500 mJ/ms.
			truth := c.at.Seconds() * 500 * 1000
			if shown := float64(c.value - start); shown > truth || shown < truth-501 {
				t.Errorf("seed %d: at %v the counter shows %v mJ of %v", seed, c.at, shown, truth)
			}
		}
	}
}

func TestCounterIsTheFloorOfTheTruthAtItsTick(t *testing.T) {
	t.Parallel()
	d := newOne(t, Options{Seed: 8})
	before, _ := restless(d)
	last := d.sensors.counterStart
	for range 50 {
		tick := d.sensors.counterTicks.next
		for at := d.now + ms; at < tick; at += ms {
			before(at)
		}
		if got := d.Read(tick - 1).EnergyMillijoules; got != last {
			t.Fatalf("before its tick the counter moves from %d to %d", last, got)
		}
		last = d.Read(tick).EnergyMillijoules
		if want := d.sensors.counterStart + d.Energy(tick)/1000; last != want {
			t.Fatalf("at its tick the counter shows %d mJ, want %d", last, want)
		}
	}
}

func TestTicksDifferInPhaseAndJitterWithoutDrift(t *testing.T) {
	t.Parallel()
	devices, err := New(Options{Count: 8})
	if err != nil {
		t.Fatal(err)
	}
	phases := map[trace.Time]bool{}
	for _, d := range devices {
		k := &d.sensors.counterTicks
		period, jitter := k.period, k.jitter
		phases[k.next] = true
		if off := math.Abs(float64(period)/float64(100*time.Millisecond) - 1); off > periodSpread {
			t.Errorf("period %v", period)
		}
		moved := false
		for range 10_000 {
			k.step()
			due := k.origin.Add(time.Duration(k.n) * period)
			if off := k.next.Sub(due); off < -jitter || off > jitter {
				t.Fatalf("tick %d is %v off", k.n, off)
			} else if off != 0 {
				moved = true
			}
		}
		if !moved {
			t.Error("no tick jitters")
		}
	}
	if len(phases) != len(devices) {
		t.Errorf("%d phases for %d devices", len(phases), len(devices))
	}
}

// restless changes a device's power every few milliseconds, so that every tick
// shows, and remembers the truth.
func restless(d *Device) (before func(trace.Time), truth *slowEnergy) {
	rng := rand.New(rand.NewPCG(9, 9))
	truth = &slowEnergy{}
	return func(at trace.Time) {
		if rng.IntN(7) != 0 {
			return
		}
		step, _ := d.SetPower(at, 100+600*rng.Float64())
		truth.at, truth.power = append(truth.at, step.At), append(truth.power, step.Microwatts)
	}, truth
}

func TestAverageFollowsTheLawOfTheTicks(t *testing.T) {
	t.Parallel()
	for _, arch := range []string{"hopper", "ampere-ga10x", "ada"} {
		p, err := ProfileByName(arch)
		if err != nil {
			t.Fatal(err)
		}
		d := newOne(t, Options{Profile: p, Seed: 3})
		before, truth := restless(d)
		changes := poll(d, 0, 20_000*ms, averageField, before)
		if len(changes) < 195 || len(changes) > 205 {
			t.Fatalf("%s: the average field moved %d times in 20 s", arch, len(changes))
		}
		judged := 0
		for k, c := range changes {
			// The latest tick at least the span older. A tick is up to 1 ms before
			// the poll that saw it.
			a := k - 1
			for a >= 0 && c.at-changes[a].at < trace.Time(p.AverageSpan) {
				a--
			}
			if a < 0 || changes[a].at < 200*ms {
				continue
			}
			from, to := changes[a].at, c.at
			want := float64(truth.microjoules(to)-truth.microjoules(from)) / float64(to-from) * 1e6
			// 1 ms at either edge, up to 600 W apart, of 1.1 s.
			if diff := math.Abs(float64(c.value) - want); diff > 1200 {
				t.Errorf("%s: at %v the average shows %d mW, the law says %.0f", arch, c.at, c.value, want)
			}
			judged++
		}
		if judged < 150 {
			t.Errorf("%s: only %d ticks were judged", arch, judged)
		}
	}
}

func TestAverageRisesInTenTicks(t *testing.T) {
	t.Parallel()
	d := newOne(t, Options{Seed: 4})
	d.SetPower(0, 100)
	d.Read(3000 * ms)
	d.SetPower(3000*ms, 500)
	changes := poll(d, 3000*ms, 6000*ms, averageField, nil)
	if n := len(changes); n < 10 || n > 11 {
		t.Fatalf("the step shows in %d updates, want 10 or 11", n)
	}
	for i, c := range changes {
		// Linear: 400 W more of as much of the 1.0 s as has passed.
		want := 100_000 + 400_000*min(1, float64(c.at-3000*ms)/float64(1000*ms))
		if math.Abs(float64(c.value)-want) > 4000 {
			t.Errorf("update %d at %v shows %d mW, want about %.0f", i, c.at, c.value, want)
		}
	}
	if last := changes[len(changes)-1]; last.value != 500_000 || last.at > 4150*ms {
		t.Errorf("the plateau of 500,000 mW is reached with %d at %v", last.value, last.at)
	}
}

func TestInstantSeesOnlyItsWindow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		arch   string
		window time.Duration
		period time.Duration
	}{
		{"hopper", 25 * time.Millisecond, 100 * time.Millisecond},
		{"ampere-ga100", 25 * time.Millisecond, 100 * time.Millisecond},
		{"ampere-ga10x", 100 * time.Millisecond, 100 * time.Millisecond},
		{"ada", 100 * time.Millisecond, 100 * time.Millisecond},
		{"volta", 10 * time.Millisecond, 20 * time.Millisecond},
	} {
		p, err := ProfileByName(c.arch)
		if err != nil {
			t.Fatal(err)
		}
		d := newOne(t, Options{Profile: p, Seed: 5})
		d.SetPower(0, 200)
		d.Read(2000 * ms)
		d.Read(d.sensors.powerTicks.next)
		for range 20 {
			// A pulse inside the window, of a fifth of its length.
			tick := d.sensors.powerTicks.next
			window := trace.Time(c.window)
			d.SetPower(tick-window/2, 600)
			d.SetPower(tick-window/2+window/5, 200)
			if got := d.Read(tick - 1).PowerInstantMilliwatts; got != 200_000 {
				t.Errorf("%s: before the tick the field shows %d mW", c.arch, got)
			}
			if got := d.Read(tick).PowerInstantMilliwatts; got != 280_000 {
				t.Errorf("%s: a fifth of the window at 600 W over 200 W shows as %d mW, want 280000", c.arch, got)
			}
			// What happens after a tick and before the next window is not seen.
			next := d.sensors.powerTicks.next
			if c.window < c.period {
				d.SetPower(tick+1, 700)
				d.SetPower(next-window, 200)
			}
			if got := d.Read(next).PowerInstantMilliwatts; got != 200_000 && c.window < c.period {
				t.Errorf("%s: outside its window the field sees %d mW", c.arch, got)
			}
			d.Read(d.sensors.powerTicks.next) // nothing of this is in the next round's window
		}
	}
}

func TestFieldsThatAnArchitectureLacks(t *testing.T) {
	t.Parallel()
	for _, p := range Profiles() {
		d := newOne(t, Options{Profile: p})
		r := d.Read(5000 * ms)
		has := p.Name != "ampere-ga100" && p.Name != "volta"
		if got := r.PowerAverageMilliwatts != 0; got != has {
			t.Errorf("%s: average field of %d mW", p.Name, r.PowerAverageMilliwatts)
		}
	}
}

func TestSensorErrorIsGainAndOffsetOnEveryField(t *testing.T) {
	t.Parallel()
	d := newOne(t, Options{Errors: []SensorError{{Gain: -0.05, OffsetWatts: 4}}})
	d.SetPower(0, 400)
	start := d.sensors.counterStart
	r := d.Read(20_000 * ms)
	const want = 400*0.95 + 4
	if r.PowerInstantMilliwatts != want*1000 || r.PowerAverageMilliwatts != want*1000 {
		t.Errorf("fields %d and %d mW, want %v W", r.PowerInstantMilliwatts, r.PowerAverageMilliwatts, want)
	}
	if got := float64(r.EnergyMillijoules-start) / 1000; math.Abs(got-want*20) > want*0.11 {
		t.Errorf("counter %v J, want about %v", got, want*20)
	}
	if got := d.Energy(20_000 * ms); got != 400*20*1_000_000 {
		t.Errorf("the truth is touched: %d uJ", got)
	}
	low := newOne(t, Options{Errors: []SensorError{{OffsetWatts: -500}}})
	a := low.Read(1000 * ms)
	b := low.Read(2000 * ms)
	if a.PowerInstantMilliwatts != 0 || b.EnergyMillijoules != a.EnergyMillijoules {
		t.Errorf("below zero the fields show %d mW and the counter moves by %d", a.PowerInstantMilliwatts, b.EnergyMillijoules-a.EnergyMillijoules)
	}
}

func TestReadingsFollowFromTheSeedAlone(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (all []Reading, ids []string) {
		devices, err := New(Options{Count: 3, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range devices {
			ids = append(ids, d.Info().ID)
			for at := trace.Time(0); at < 3000*ms; at += 7 * ms {
				d.SetWork(at, Work{DecodeTokens: int(at/ms) % 64, PrefillTokens: int(at/ms) % 3 * 500})
				all = append(all, d.Read(at+3*ms))
			}
		}
		return all, ids
	}
	a, ids := run(1)
	b, same := run(1)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("one seed, two histories:\n%s", diff)
	}
	if diff := cmp.Diff(ids, same); diff != "" {
		t.Errorf("one seed, two sets of identities:\n%s", diff)
	}
	c, others := run(2)
	if cmp.Equal(a, c) || ids[0] == others[0] {
		t.Error("another seed changes nothing")
	}
}

// Reading often or seldom must not matter: what a sensor shows follows from
// time and power, not from who looked.
func TestReadingDoesNotDisturb(t *testing.T) {
	t.Parallel()
	often, seldom := newOne(t, Options{Seed: 6}), newOne(t, Options{Seed: 6})
	rng := rand.New(rand.NewPCG(1, 1))
	for at := trace.Time(0); at < 10_000*ms; at += 3 * ms {
		if rng.IntN(9) == 0 {
			w := Work{DecodeTokens: rng.IntN(100)}
			often.SetWork(at, w)
			seldom.SetWork(at, w)
		}
		r := often.Read(at)
		if rng.IntN(50) == 0 {
			if diff := cmp.Diff(r, seldom.Read(at)); diff != "" {
				t.Fatalf("at %v:\n%s", at, diff)
			}
		}
	}
}

func TestNothingUpdatesBeforeNextUpdate(t *testing.T) {
	t.Parallel()
	for _, p := range Profiles() {
		d := newOne(t, Options{Profile: p, Seed: 11})
		before, _ := restless(d)
		changed := 0
		for at := ms; at < 3000*ms; at += ms {
			before(at)
			last := d.Read(at)
			next := d.NextUpdate()
			if next > at+ms {
				continue
			}
			if got := d.Read(next - 1); got != last {
				t.Fatalf("%s: before %v: %+v, then %+v", p.Name, next, last, got)
			}
			if got := d.Read(next); got != last {
				changed++
			}
		}
		if least := int(3*time.Second/p.CounterPeriod) * 3 / 2; changed < least {
			t.Errorf("%s: %d updates changed anything, want at least %d", p.Name, changed, least)
		}
	}
}

func TestUtilisationAndTemperature(t *testing.T) {
	t.Parallel()
	d := newOne(t, Options{})
	if r := d.Read(1000 * ms); r.GPUUtilizationPercent != 0 || r.ClockEventReasons != reasonGPUIdle {
		t.Errorf("at rest: utilisation %d %%, reasons %#x", r.GPUUtilizationPercent, r.ClockEventReasons)
	}
	cold := d.Read(1000 * ms).TemperatureCelsius
	var soon uint32
	for at := 1000 * ms; at < 121_000*ms; at += 10 * ms {
		d.SetWork(at, Work{DecodeTokens: 32})
		d.SetWork(at+5*ms, Work{}) // half of the time
		if at == 6000*ms {
			soon = d.Read(at).TemperatureCelsius
		}
	}
	r := d.Read(121_000 * ms)
	if soon <= cold || soon-cold > (r.TemperatureCelsius-cold)/3 {
		t.Errorf("of %d degrees, %d come in the first 5 s of a response of 25 s", r.TemperatureCelsius-cold, soon-cold)
	}
	if r.GPUUtilizationPercent < 45 || r.GPUUtilizationPercent > 55 {
		t.Errorf("half busy shows as %d %%", r.GPUUtilizationPercent)
	}
	if r.TemperatureCelsius <= cold+5 || r.TemperatureCelsius > 80 {
		t.Errorf("from %d to %d degrees in two minutes", cold, r.TemperatureCelsius)
	}
	if early := d.Read(121_500 * ms).TemperatureCelsius; early+3 < r.TemperatureCelsius {
		t.Errorf("the die cools from %d to %d in half a second", r.TemperatureCelsius, early)
	}
	if late := d.Read(400_000 * ms).TemperatureCelsius; late != cold {
		t.Errorf("cools to %d, began at %d", late, cold)
	}
}

func TestDeviceIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	d := newOne(t, Options{})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var last uint64
			for i := range trace.Time(2000) {
				at := i * ms
				if g%2 == 0 {
					d.SetWork(at, Work{DecodeTokens: int(i) % 9})
				} else if e := d.Read(at).EnergyMillijoules; e < last {
					t.Error("the counter went down")
				} else {
					last = e
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkReadEvery20ms(b *testing.B) {
	d := newOne(b, Options{})
	at := trace.Time(0)
	for b.Loop() {
		d.SetWork(at, Work{DecodeTokens: int(at/ms) % 64})
		d.Read(at)
		at += 20 * ms
	}
}

func TestPowerCapped(t *testing.T) {
	t.Parallel()
	devices, err := New(Options{LimitWatts: 200})
	if err != nil {
		t.Fatal(err)
	}
	d := devices[0]
	check := func(at trace.Time, want time.Duration) {
		t.Helper()
		if got := d.PowerCapped(at); got != want {
			t.Errorf("at %v: %v, want %v", at, got, want)
		}
	}
	second := trace.Time(time.Second)
	check(second, 0)
	d.SetWork(2*second, Work{PrefillTokens: 8192})
	check(3*second, time.Second)
	d.SetWork(4*second, Work{PrefillTokens: 4096})
	check(5*second, 3*time.Second)
	d.SetWork(6*second, Work{})
	check(9*second, 4*time.Second)
}
