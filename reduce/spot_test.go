package reduce

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
	"wattrace/trace"
)

// spotOf is a spot of the readings of devices, in joules; NaN is a failed one.
func spotOf(at trace.Time, readings map[string][]float64) *Spot {
	s := new(Spot)
	for id, joules := range readings {
		b := &sample.Batch{Devices: []sample.Device{{ID: "board", Scope: sample.ScopeBoard}, {ID: id, Scope: sample.ScopeGPU}}}
		for i, v := range joules {
			b.Append(0, at, 0).Set(sample.EnergyJoules, 1e9) // another scope is no GPU's energy
			row := b.Append(1, at.Add(time.Duration(i)*time.Second), 2*time.Millisecond)
			if !math.IsNaN(v) {
				row.Set(sample.EnergyJoules, v)
			}
			row.Set(sample.TemperatureCelsius, 40+v/1000)
		}
		s.Add(b)
	}
	return s
}

func TestRise(t *testing.T) {
	t.Parallel()
	check := func(from, to map[string][]float64, want SpotRise) {
		t.Helper()
		if diff := cmp.Diff(want, Rise(spotOf(0, from), spotOf(1, to))); diff != "" {
			t.Errorf("%v to %v (-want +got)\n%s", from, to, diff)
		}
	}
	type m = map[string][]float64
	nan := math.NaN()
	check(m{"a": {100, 100, 107, 117}, "b": {5, 8}}, m{"a": {500, 512}, "b": {50, 54}}, SpotRise{Joules: 395 + 46, Resolution: trace.Some(10.0 + 12 + 3 + 4), Devices: 2})
	check(m{"a": {100, 100}}, m{"a": {500, 512}}, SpotRise{Joules: 412, Devices: 1})                                                                          // did not move
	check(m{"a": {1, 2}, "b": {nan, nan}}, m{"a": {3, 4}, "b": {7, 8}}, SpotRise{Joules: 2, Resolution: trace.Some(2.0), Devices: 1, Lacking: []string{"b"}}) // one knows it
	check(m{"a": {100, 101}}, m{"a": {5, 6}}, SpotRise{Lacking: []string{"a"}})                                                                               // it was reset
	check(nil, nil, SpotRise{})
}

func TestSpot(t *testing.T) {
	t.Parallel()
	s := spotOf(10, map[string][]float64{"a": {1000, 2000}, "b": {9000}})
	if want := trace.Time(10).Add(time.Second + time.Millisecond); s.At != want {
		t.Errorf("at %d, want %d", s.At, want)
	}
	if h := s.Hottest(); h != trace.Some(49.0) {
		t.Errorf("hottest %v", h)
	}
	if h := new(Spot).Hottest(); h.OK {
		t.Errorf("nothing is %v hot", h)
	}
}

func TestSampled(t *testing.T) {
	t.Parallel()
	values := []float64{4, 1, 7}
	mean, std, least, most := Sampled(values)
	if mean != 4 || std != trace.Some(3.0) || least != 1 || most != 7 || !slices.Equal(values, []float64{4, 1, 7}) {
		t.Error(mean, std, least, most, values)
	}
	if mean, std, _, _ := Sampled([]float64{5}); mean != 5 || std.OK {
		t.Error(mean, std)
	}
}
