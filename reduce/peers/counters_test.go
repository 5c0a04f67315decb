package peers

import (
	"slices"
	"testing"

	"wattrace/trace"
)

func TestTRTLLM(t *testing.T) {
	build := func(opt Options) Result {
		p := newPeer(t, "trtllm", opt, span(10, 20))
		counter(p, "a", point{9, 900}, point{10, 1000}, point{15, 2000}, point{20.5, 4000}, point{21, 4100})
		counter(p, "b", point{9.9, 500}, point{19.9, 3400}, point{20, 3500}, point{21, 3600})
		return p.Figures(0, requests(streamed(10, 11, 20, 20, 6000, 3000)))
	}
	check(t, build(Options{}), map[string]float64{
		"energy.total_energy_j": 6000, "energy.output_tps_per_w": 0.5, "energy.average_gpu_power": 600, "energy.total_gpu_power_w": 600,
		"output_throughput": 300, "total_token_throughput": 900, "request_throughput": 0.1,
	})
	check(t, build(Options{WorldSize: 4}), map[string]float64{"energy.total_energy_j": 12000, "energy.output_tps_per_w": 0.25, "energy.average_gpu_power": 1200})
	check(t, build(Options{WorldSize: 1}), map[string]float64{"energy.total_energy_j": 6000})
}

func TestBracketMissing(t *testing.T) {
	for _, c := range []struct {
		tool, name string
	}{{"trtllm", "energy.total_energy_j"}, {"vllm", "gpu_energy_j"}} {
		for _, points := range [][]point{{{11, 1}, {20, 2}}, {{10, 1}, {19, 2}}, {}} {
			p := newPeer(t, c.tool, Options{}, span(10, 20))
			counter(p, "a", point{9, 0}, point{21, 5})
			counter(p, "b", points...)
			check(t, p.Figures(0, nil), nil, c.name)
		}
		check(t, newPeer(t, c.tool, Options{}, span(10, 20)).Figures(0, nil), nil, c.name)
	}
}

func TestVLLM(t *testing.T) {
	p := newPeer(t, "vllm", Options{}, span(10, 20))
	counter(p, "a", point{10, 1000}, point{20, 3000})
	check(t, p.Figures(0, requests(streamed(10, 11, 20, 20, 6000, 400))), map[string]float64{
		"gpu_energy_j": 2000, "gpu_energy_duration_s": 10, "gpu_avg_power_w": 200, "gpu_energy_per_output_token_j": 5,
	}, "median_power_w")
}

func TestVLLMReset(t *testing.T) {
	p := newPeer(t, "vllm", Options{}, span(10, 20))
	counter(p, "a", point{10, 1000}, point{20, 9000})
	counter(p, "b", point{10, 1000}, point{15, 0}, point{20, 500})
	check(t, p.Figures(0, nil), nil, "gpu_energy_j", "gpu_avg_power_w")
	if x := p.Explain(0, []Ours{{"a", "nvml", 1}}); x.Why != "the energy counter of b was reset" {
		t.Errorf("%+v", x)
	}
}

func TestZeus(t *testing.T) {
	p := newPeer(t, "zeus", Options{}, span(10, 20))
	counter(p, "a", point{8, 900}, point{9, 1000}, point{19, 2500}, point{20.3, 2900}, point{21, 3000})
	res := p.Figures(0, nil)
	check(t, res, map[string]float64{"total_energy": 1500, "time": 10})
	if f := res.Devices[0].Figures; len(f) != 1 || f[0].Name != "gpu_energy[0]" || f[0].Value != 1500 {
		t.Errorf("%v", f)
	}
	// A reset goes unnoticed.
	p = newPeer(t, "zeus", Options{}, span(10, 20))
	counter(p, "a", point{9, 1000}, point{19, 400})
	check(t, p.Figures(0, nil), map[string]float64{"total_energy": -600})
}

func TestZeusKnowsOneSource(t *testing.T) {
	p := newPeer(t, "zeus", Options{}, span(10, 20))
	for _, source := range []string{"dcgm", "nvml"} {
		d := p.Device(DeviceInfo{ID: "a", Source: source})
		d.Read(Sample{At: at(9), Joules: trace.Some(0.0)})
		d.Read(Sample{At: at(19), Joules: trace.Some(map[string]float64{"dcgm": 100, "nvml": 200}[source])})
	}
	check(t, p.Figures(0, nil), map[string]float64{"total_energy": 200})
}

func TestMLEnergy(t *testing.T) {
	w := span(0, 100)
	w.Steady = trace.Some(Steady{Interval{at(20), at(60)}, 40000})
	p := newPeer(t, "mlenergy", Options{}, w)
	counter(p, "a", point{0, 1000}, point{19, 3000}, point{59, 11000}, point{61, 12000}, point{100, 15000})
	check(t, p.Figures(0, requests(streamed(0, 1, 99, 99, 10, 100))), map[string]float64{
		"steady_state_energy": 8000, "steady_state_duration": 40, "steady_state_energy_per_token": 0.2,
		"entire_benchmark_measurement.gpu_energy": 14000, "duration": 100, "completed": 1, "output_throughput": 1,
	})
	p = newPeer(t, "mlenergy", Options{}, span(0, 100))
	counter(p, "a", point{0, 1000}, point{100, 15000})
	check(t, p.Figures(0, nil), map[string]float64{"entire_benchmark_measurement.gpu_energy": 14000}, "steady_state_energy", "steady_state_energy_per_token")
}

func TestNew(t *testing.T) {
	_, err := New("aiperf-g4", nil, Options{})
	if err == nil || err.Error() != `unknown tool "aiperf-g4": have aiperf, aiperf-g0, aiperf-g1, aiperf-g2, aiperf-g3, guidellm, inferencex, mlenergy, sglang, srtslurm, trtllm, vllm, zeus` {
		t.Error(err)
	}
	for _, name := range Tools() {
		if _, err := New(name, nil, Options{}); err != nil {
			t.Error(err)
		}
	}
}

// The order in which devices are given changes nothing.
func TestDeviceOrder(t *testing.T) {
	build := func(ids ...string) Result {
		p := newPeer(t, "aiperf", Options{}, span(10, 20))
		for _, id := range ids {
			d := p.Device(DeviceInfo{ID: id, Index: int(id[0])})
			d.Read(Sample{At: at(9), Joules: trace.Some(0.1)})
			d.Read(Sample{At: at(19), Joules: trace.Some(float64(id[0]) / 3)})
		}
		return p.Figures(0, nil)
	}
	a, b := build("a", "b", "c", "d", "e"), build("e", "c", "a", "d", "b")
	if a.Joules != b.Joules || !slices.Equal(names(a), names(b)) || a.Devices[0].Device.ID != "a" || b.Devices[0].Device.ID != "a" {
		t.Errorf("%v and %v", a, b)
	}
}

func TestDisorderedReadings(t *testing.T) {
	p := newPeer(t, "zeus", Options{}, span(10, 20))
	counter(p, "a", point{9, 100}, point{19, 300}, point{15, 200})
	check(t, p.Figures(0, nil), map[string]float64{"total_energy": 200})
}

// TensorRT-LLM subtracts whatever it reads; tokens per watt of less than nothing are
// none.
func TestTRTLLMReset(t *testing.T) {
	p := newPeer(t, "trtllm", Options{}, span(10, 20))
	counter(p, "a", point{10, 1000}, point{20, 400})
	check(t, p.Figures(0, requests(threeTokens)), map[string]float64{"energy.total_energy_j": -600, "energy.total_gpu_power_w": -60}, "energy.output_tps_per_w")
}
