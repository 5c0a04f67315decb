package sim

import (
	"math/big"
	"sort"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wattrace/trace"
)

// slowEnergy adds power times time in unbounded integers.
type slowEnergy struct {
	at    []trace.Time
	power []uint64
}

func (s *slowEnergy) microjoules(t trace.Time) uint64 {
	sum := new(big.Int)
	for i, at := range s.at {
		end := t
		if i+1 < len(s.at) && s.at[i+1] < t {
			end = s.at[i+1]
		}
		if end > at {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(int64(s.power[i])), big.NewInt(int64(end-at))))
		}
	}
	return sum.Div(sum, big.NewInt(femtoPerMicro)).Uint64()
}

func newOne(t interface{ Fatal(...any) }, o Options) *Device {
	devices, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return devices[0]
}

func TestEnergyEqualsSlowReference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := newOne(t, Options{Seed: rapid.Uint64().Draw(t, "seed")})
		first := d.Step()
		ref := slowEnergy{[]trace.Time{0}, []uint64{first.Microwatts}}
		now := trace.Time(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += trace.Time(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "wait"))
			if got, want := d.Energy(now), ref.microjoules(now); got != want {
				t.Fatalf("energy at %d: %d uJ, want %d", now, got, want)
			}
			watts := rapid.Float64Range(0, 100_000).Draw(t, "watts")
			step, changed := d.SetPower(now, watts)
			ref.at, ref.power = append(ref.at, now), append(ref.power, quantise(watts))
			if want := ref.microjoules(now); changed && (step.At != now || step.Microjoules != want || step.Microwatts != quantise(watts)) {
				t.Fatalf("step %+v, want energy %d", step, want)
			}
		}
	})
}

func TestEnergyIsAdditiveAndMonotone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p power
		p.start(trace.Time(-prehistory), rapid.Uint64Range(0, maxMicrowatts).Draw(t, "idle"))
		for i := range 20 {
			p.change(trace.Time(i)*trace.Time(time.Millisecond), rapid.Uint64Range(0, maxMicrowatts).Draw(t, "power"))
		}
		at := make([]int64, 3)
		for i := range at {
			at[i] = rapid.Int64Range(-int64(prehistory), int64(time.Second)).Draw(t, "at")
		}
		sort.Slice(at, func(i, j int) bool { return at[i] < at[j] })
		a, b, c := p.at(trace.Time(at[0])), p.at(trace.Time(at[1])), p.at(trace.Time(at[2]))
		femto := func(x, y energy) *big.Int {
			d := new(big.Int).Mul(big.NewInt(y.micro-x.micro), big.NewInt(femtoPerMicro))
			return d.Add(d, big.NewInt(y.femto-x.femto))
		}
		ab, bc := femto(a, b), femto(b, c)
		if ab.Sign() < 0 || bc.Sign() < 0 {
			t.Fatalf("energy decreases: %v %v %v", a, b, c)
		}
		if sum := new(big.Int).Add(ab, bc); sum.Cmp(femto(a, c)) != 0 {
			t.Fatalf("E[a,b)+E[b,c) = %v fJ, E[a,c) = %v fJ", sum, femto(a, c))
		}
	})
}

func TestForgettingChangesNothingThatIsStillNeeded(t *testing.T) {
	t.Parallel()
	var kept, cut power
	for _, p := range []*power{&kept, &cut} {
		p.start(trace.Time(-prehistory), 1)
	}
	for i := range trace.Time(5000) {
		at := i * trace.Time(time.Millisecond)
		kept.change(at, uint64(i%7)*1e8)
		cut.change(at, uint64(i%7)*1e8)
		cut.forget(at - trace.Time(100*time.Millisecond))
		for _, back := range []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond} {
			if got, want := cut.at(at.Add(-back)), kept.at(at.Add(-back)); got != want {
				t.Fatalf("energy at %v - %v: %v, want %v", at, back, got, want)
			}
		}
	}
	if len(cut.changes) > 500 {
		t.Errorf("%d changes are kept for 100 ms of one a millisecond", len(cut.changes))
	}
}

func TestSetBeforeTheLatestInstantCountsFromThere(t *testing.T) {
	t.Parallel()
	d := newOne(t, Options{})
	rest := d.Step().Microwatts
	d.Read(trace.Time(time.Second))
	step, changed := d.SetPower(trace.Time(time.Second/2), 500)
	want := Step{At: trace.Time(time.Second), Microwatts: 500e6, Microjoules: rest}
	if !changed || step != want {
		t.Errorf("step %+v, want %+v", step, want)
	}
}

func TestImpossiblePowerPanics(t *testing.T) {
	t.Parallel()
	d := newOne(t, Options{})
	for _, watts := range []float64{-1, 100_001, nan()} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("SetPower(%v) did not panic", watts)
				}
			}()
			d.SetPower(0, watts)
		}()
	}
}

func nan() float64 { z := 0.0; return z / z }
