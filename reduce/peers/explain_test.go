package peers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

func one(joules float64) []Ours {
	return []Ours{{"a", "nvml", microjoules(joules)}}
}

// The example of the package comment.
func TestExplainAIPerf(t *testing.T) {
	p := newPeer(t, "aiperf", Options{}, span(10, 20))
	counter(p, "a", point{9.5, 2850}, point{19.5, 7750}, point{20.5, 8150})
	x := p.Explain(0, one(5000))
	want := []Step{
		{"both ends moved to the last readings until then", -100e6},
		{"readings until the grace after the end", 400e6},
	}
	if diff := cmp.Diff(Explanation{"aiperf", 5000e6, 5300e6, want, ""}, x); diff != "" {
		t.Error(diff)
	}
}

// steps are those of an explanation, by name, and their sum is checked.
func steps(t *testing.T, x Explanation) map[string]float64 {
	t.Helper()
	m := map[string]float64{}
	sum := x.Ours
	for _, s := range x.Steps {
		m[s.What] += s.Joules()
		sum += s.Microjoules
	}
	if sum != x.Theirs || x.Why != "" {
		t.Errorf("the steps make %d uJ, theirs are %d uJ; %s", sum, x.Theirs, x.Why)
	}
	return m
}

func TestExplainEveryCause(t *testing.T) {
	windows := []Window{span(10, 20)}
	sensor := func(p *Peer, id, source string, points ...point) {
		d := p.Device(DeviceInfo{ID: id, Source: source, Index: int(id[0])})
		for _, x := range points {
			d.Read(Sample{At: at(x.at), Joules: trace.Some(x.value)})
		}
	}
	p := newPeer(t, "aiperf-g1", Options{}, windows...)
	sensor(p, "a", "nvml", point{9, 0}, point{10, 100}, point{20, 1100}, point{20.6, 1160}) // baseline, grace
	sensor(p, "a", "dcgm", point{9, 0}, point{19, 1000})                                    // counted twice
	sensor(p, "b", "nvml", point{9, 5000}, point{15, 5600}, point{16, 50}, point{20, 450})  // reset
	sensor(p, "c", "nvml", point{12, 200}, point{20, 1000})                                 // no baseline
	sensor(p, "d", "nvml", point{9, 100})                                                   // nothing in the phase
	sensor(p, "f", "nvml", point{9, 0}, point{19, 700})                                     // not ours
	ours := []Ours{{"a", "nvml", 1000e6}, {"b", "nvml", 1010e6}, {"c", "nvml", 990e6}, {"d", "nvml", 77e6}, {"e", "nvml", 1e6}}
	x := p.Explain(0, ours)
	want := map[string]float64{
		"devices of which the tool has no energy":                                                   -78,
		"both ends moved to the last readings until then":                                           -10, // b; a is exact, c has no reading before the start
		"the baseline strictly before the start, or the first reading after it where there is none": 100 + 800 - 990,
		"readings until the grace after the end":                                                    60,
		stepFall + ", and never below zero":                                                         -1000,
		"GPUs seen through more than one source, counted once for each":                             1000,
		"devices of which we have no energy":                                                        700,
	}
	if diff := cmp.Diff(want, steps(t, x)); diff != "" {
		t.Error(diff)
	}
	if f, _ := p.Figures(0, nil).Figure("total_gpu_energy"); microjoules(f.Value) != x.Theirs {
		t.Errorf("explained are %d uJ, published %v J", x.Theirs, f.Value)
	}
}

func TestExplainUnbounded(t *testing.T) {
	p := newPeer(t, "aiperf-g1", Options{Unbounded: true}, span(10, 20))
	counter(p, "a", point{9, 0}, point{20, 1000}, point{60, 5000})
	want := map[string]float64{"both ends moved to the last readings until then": 50, "readings until the end of the recording": 4000}
	if diff := cmp.Diff(want, steps(t, p.Explain(0, one(950)))); diff != "" {
		t.Error(diff)
	}
}

func TestExplainBracketed(t *testing.T) {
	p := newPeer(t, "trtllm", Options{WorldSize: 2}, span(10, 20))
	counter(p, "a", point{9, 0}, point{19, 1000}, point{21, 1300})
	want := map[string]float64{
		"both ends moved to the last readings until then": -100,
		"the end moved on to the first reading after it":  300,
		"scaled up to the number of ranks":                1300,
	}
	if diff := cmp.Diff(want, steps(t, p.Explain(0, one(1100)))); diff != "" {
		t.Error(diff)
	}
}

func TestExplainZeus(t *testing.T) {
	p := newPeer(t, "zeus", Options{}, span(10, 20))
	counter(p, "a", point{9, 1000}, point{15, 1600}, point{16, 0}, point{19, 300})
	want := map[string]float64{"both ends moved to the last readings until then": -100, stepFall: -1600}
	if diff := cmp.Diff(want, steps(t, p.Explain(0, one(1000)))); diff != "" {
		t.Error(diff)
	}
}

// A gauge that lags by 1 s, of a device that draws 100 W until 10 s, 500 W until 20 s.
func lagging(t *testing.T, tool string) *Peer {
	p := newPeer(t, tool, Options{}, span(10, 20))
	d := p.Device(DeviceInfo{ID: "a", Source: "nvml", Lag: time.Second})
	for _, x := range []point{{8, 100}, {10, 100}, {10.999, 100}, {11, 500}, {13, 500}, {15, 500}, {17, 500}, {19, 500}, {21, 500}, {21.001, 100}, {23, 100}} {
		d.Read(Sample{At: at(x.at), Watts: trace.Some(x.value)})
	}
	return p
}

func TestExplainGauge(t *testing.T) {
	// Unshifted: 100 W for 0.9995 s, and 500 W until 20 s: 4600.2 J; less its lag 5000 J.
	for tool, last := range map[string]map[string]float64{
		"inferencex": {},
		// The nearest samples are those at 10 s and at 19 s, of two equally near.
		"srtslurm": {"the bounds moved to the nearest samples, without interpolation": -500},
		// 7 samples inside, of which 2 are of 100 W.
		"aiperf": {"the plain mean of the samples, times the duration, instead of trapezoids": 2700/7.0*10 - 4600.2},
		// Samples at 10 s and at 15 s: 100 W and 500 W.
		"sglang": {"a sample every 5 s, their mean times the duration": 3000 - 4600.2},
	} {
		want := map[string]float64{stepGauge: 10, stepLag: -399.8}
		for what, joules := range last {
			want[what] = joules
		}
		got := steps(t, lagging(t, tool).Explain(0, one(4990)))
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return microjoules(a-b) == 0 })); diff != "" {
			t.Errorf("%s: %s", tool, diff)
		}
	}
}

func TestExplainMedian(t *testing.T) {
	p := newPeer(t, "sglang", Options{}, span(0, 15))
	gauge(p, "a", point{0, 100}, point{5, 100}, point{10, 400}, point{15, 400})
	// Trapezoids of 3750 J; a mean of 200 W is 3000 J, a median of 100 W is 1500 J.
	want := map[string]float64{stepGauge: 1, "a sample every 5 s, their mean times the duration": -750, "the median of the samples instead of their mean": -1500}
	if diff := cmp.Diff(want, steps(t, p.Explain(0, one(3749)))); diff != "" {
		t.Error(diff)
	}
}

func TestExplainWithheld(t *testing.T) {
	p := newPeer(t, "inferencex", Options{ExpectDevices: 2}, span(10, 20))
	gauge(p, "a", bracketing...)
	if x := p.Explain(0, one(1)); x.Why != "withheld: expected_gpu_count_mismatch" || len(x.Steps) > 0 {
		t.Errorf("%+v", x)
	}
}

func TestExplainRounding(t *testing.T) {
	p := newPeer(t, "inferencex", Options{}, span(0, 1))
	gauge(p, "a", point{0, 1.0004}, point{1, 1.0004})
	want := map[string]float64{"published with 3 decimals": -0.0004}
	if diff := cmp.Diff(want, steps(t, p.Explain(0, one(1.0004)))); diff != "" {
		t.Error(diff)
	}
}
