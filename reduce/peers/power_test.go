package peers

import (
	"math"
	"slices"
	"testing"
	"time"

	"wattrace/trace"
)

// bracketing is that of InferenceX's doc comment.
var bracketing = []point{{9, 400}, {11, 500}, {13, 500}, {15, 500}, {17, 500}, {19, 500}, {21, 300}}

var threeTokens = streamed(10, 11, 20, 20, 7, 3)

func TestInferenceX(t *testing.T) {
	p := newPeer(t, "inferencex", Options{ExpectDevices: 2}, span(10, 20))
	gauge(p, "a", bracketing...)
	gauge(p, "b", bracketing...)
	res := p.Figures(0, requests(threeTokens))
	check(t, res, map[string]float64{
		"power_metric_schema_version": 2, "power_valid": 1, "total_gpu_energy_j": 9850, "avg_power_w": 492.5, "avg_total_gpu_power_w": 985,
		"joules_per_successful_query": 9850, "joules_per_input_token": 1407.142857, "joules_per_output_token": 3283.333333, "joules_per_total_token": 985,
	})
	if len(res.Reasons) > 0 {
		t.Error(res.Reasons)
	}
}

func TestInferenceXReasons(t *testing.T) {
	drop := func(i, j int) []point { return slices.Delete(slices.Clone(bracketing), i, j) }
	ok := requests(threeTokens)
	reported := func(d time.Duration) Window {
		w := span(10, 20)
		w.Reported = trace.Some(d)
		return w
	}
	mute := streamed(10, 11, 20, 20, 0, 0)
	for _, c := range []struct {
		name   string
		w      Window
		expect int
		points []point
		r      *Requests
		want   []string
	}{
		{"sound", span(10, 20), 1, bracketing, ok, nil},
		{"count not known", span(10, 20), 0, bracketing, ok, nil},
		{"no window", Window{}, 1, bracketing, ok, []string{"invalid_benchmark_window"}},
		{"a window of nothing", span(10, 10), 1, bracketing, ok, []string{"invalid_benchmark_window"}},
		{"a duration of nothing", reported(0), 1, bracketing, ok, []string{"invalid_benchmark_window"}},
		{"a duration at the tolerance", reported(10500 * time.Millisecond), 1, bracketing, ok, nil},
		{"a duration beyond it", reported(10501 * time.Millisecond), 1, bracketing, ok, []string{"benchmark_duration_mismatch"}},
		{"too few GPUs", span(10, 20), 2, bracketing, ok, []string{"expected_gpu_count_mismatch"}},
		{"a gap", span(10, 20), 1, drop(2, 5), ok, []string{"sampling_gap_exceeded"}},
		{"a gap at the start", span(10, 20), 1, append([]point{{7.9, 400}}, drop(0, 1)...), ok, []string{"sampling_gap_exceeded"}},
		{"a gap outside", span(10, 20), 1, append([]point{{2, 400}}, bracketing...), ok, nil},
		{"not before the start", span(10, 20), 1, drop(0, 1), ok, []string{"benchmark_window_not_bracketed"}},
		{"not after the end", span(10, 20), 1, drop(6, 7), ok, []string{"benchmark_window_not_bracketed"}},
		{"before it by more than 3 s", span(10, 20), 1, append([]point{{6.9, 400}}, drop(0, 1)...), ok, []string{"benchmark_window_not_bracketed"}},
		{"one sample", span(10, 20), 1, []point{{15, 100}}, ok, []string{"insufficient_power_samples"}},
		{"none near", span(10, 20), 1, []point{{1, 100}, {30, 100}}, ok, []string{"no_usable_power_samples"}},
		{"below zero", span(10, 20), 1, append(slices.Clone(bracketing), point{22, -1}), ok, []string{"invalid_power_sample"}},
		{"no number", span(10, 20), 1, append(slices.Clone(bracketing), point{22, math.NaN()}), ok, []string{"invalid_power_sample"}},
		{"below zero far away", span(10, 20), 1, append(slices.Clone(bracketing), point{24, -1}), ok, nil},
		{"no requests", span(10, 20), 1, bracketing, requests(), []string{"invalid_successful_query_count", "invalid_input_token_count", "invalid_output_token_count"}},
		{"no tokens", span(10, 20), 1, bracketing, requests(mute), []string{"invalid_input_token_count", "invalid_output_token_count"}},
		{"several", span(10, 20), 2, drop(0, 1), requests(), []string{"invalid_successful_query_count", "invalid_input_token_count", "invalid_output_token_count", "expected_gpu_count_mismatch", "benchmark_window_not_bracketed"}},
	} {
		p := newPeer(t, "inferencex", Options{ExpectDevices: c.expect}, c.w)
		gauge(p, "a", c.points...)
		res := p.Figures(0, c.r)
		if !slices.Equal(res.Reasons, c.want) {
			t.Errorf("%s: %v, want %v", c.name, res.Reasons, c.want)
		}
		if f, _ := res.Figure("power_valid"); (f.Value == 1) != (len(c.want) == 0) {
			t.Errorf("%s: power_valid %v", c.name, f.Value)
		}
		if _, ok := res.Figure("total_gpu_energy_j"); ok != (len(c.want) == 0) {
			t.Errorf("%s: withheld is %v", c.name, !ok)
		}
	}
	if res := newPeer(t, "inferencex", Options{}, span(10, 20)).Figures(0, ok); !slices.Equal(res.Reasons, []string{"telemetry_file_missing"}) {
		t.Error(res.Reasons)
	}
}

func TestInferenceXAveragesDuplicates(t *testing.T) {
	p := newPeer(t, "inferencex", Options{}, span(10, 12))
	gauge(p, "a", point{9, 100}, point{9, 300}, point{11, 100}, point{11, 200}, point{11, 300}, point{13, 200})
	check(t, p.Figures(0, requests(threeTokens)), map[string]float64{"total_gpu_energy_j": 400})
}

func TestInferenceXRoles(t *testing.T) {
	p := newPeer(t, "inferencex", Options{}, span(10, 20))
	for id, role := range map[string]string{"a": "prefill", "b": "decode", "c": "decode"} {
		d := p.Device(DeviceInfo{ID: id, Role: role})
		for _, x := range bracketing {
			d.Read(Sample{At: at(x.at), Watts: trace.Some(x.value)})
		}
	}
	check(t, p.Figures(0, requests(threeTokens)), map[string]float64{
		"prefill_gpu_energy_j": 4925, "decode_gpu_energy_j": 9850, "prefill_avg_power_w": 492.5, "decode_avg_power_w": 492.5,
		"prefill_joules_per_input_token": 703.571429, "decode_joules_per_output_token": 3283.333333, "joules_per_output_token": 4925,
	})
}

func TestRound(t *testing.T) {
	for _, c := range []struct {
		v        float64
		decimals int
		want     float64
	}{{0.0005, 3, 0.001}, {0.0015, 3, 0.002}, {2.5, 0, 2}, {1e300, 3, 1e300}, {-1.2345678, 6, -1.234568}} {
		if got := round(c.v, c.decimals); got != c.want {
			t.Errorf("round(%v, %d) = %v", c.v, c.decimals, got)
		}
	}
}

func TestRecorder(t *testing.T) {
	for _, tool := range []string{"vllm", "sglang"} {
		p := newPeer(t, tool, Options{}, span(0, 12))
		gauge(p, "a", point{-1, 400}, point{4, 500}, point{9.9, 900}, point{13, 100})
		gauge(p, "b", point{0, 500}, point{7, 600}, point{10, 500})
		// At 0 s 400 + 500, at 5 s 500 + 500, at 10 s 900 + 500.
		check(t, p.Figures(0, requests(streamed(0, 1, 12, 12, 12000, 24000))), map[string]float64{
			"p25_power_w": 950, "mean_power_w": 1100, "median_power_w": 1000, "median_power_per_accelerator_w": 500, "p75_power_w": 1200, "num_samples": 3,
		})
		if tool == "sglang" {
			check(t, p.Figures(0, requests(streamed(0, 1, 12, 12, 12000, 24000))), map[string]float64{
				"input_toks_per_watt": 1, "output_toks_per_watt": 2, "total_toks_per_watt": 3,
			})
		}
	}
}

func TestRecorderEnds(t *testing.T) {
	p := newPeer(t, "sglang", Options{}, span(0, 10))
	gauge(p, "a", point{0, 100}, point{10, 300}, point{20, 300})
	check(t, p.Figures(0, nil), map[string]float64{"num_samples": 2, "mean_power_w": 100}, "output_toks_per_watt") // none at the end itself
	p = newPeer(t, "sglang", Options{}, span(0, 10))
	gauge(p, "a", point{2, 100}, point{3, 200}) // the first stands for 0 s, none for 5 s
	check(t, p.Figures(0, nil), map[string]float64{"num_samples": 1, "median_power_w": 100})
	p = newPeer(t, "sglang", Options{}, span(0, 10))
	gauge(p, "a", point{-3, 100}, point{11, 200})
	gauge(p, "b")
	check(t, p.Figures(0, nil), nil, "median_power_w", "num_samples")
}

func TestSrtSlurm(t *testing.T) {
	for _, c := range []struct {
		name   string
		points []point
		want   float64
		none   bool
	}{
		{"moved back", []point{{9.6, 400}, {19.6, 600}}, 5000, false},
		{"moved on", []point{{5, 0}, {10.4, 400}, {20.4, 600}, {30, 0}}, 5000, false},
		{"of equals the earlier", []point{{9, 400}, {11, 400}, {20, 400}}, 4400, false},
		{"at the bounds", []point{{9.9, 0}, {10, 400}, {20, 400}, {20.1, 0}}, 4000, false},
		{"3 s away", []point{{7, 400}, {23, 400}}, 6400, false},
		{"further away", []point{{6.9, 400}, {20, 400}}, 0, true},
		{"one sample for both", []point{{12, 400}}, 0, true},
		{"no samples", nil, 0, true},
	} {
		p := newPeer(t, "srtslurm", Options{}, span(10, 20))
		gauge(p, "a", c.points...)
		res := p.Figures(0, requests(streamed(10, 11, 20, 20, 10, 40)))
		if c.none {
			check(t, res, nil, "gpu_total_joules", "perf_per_watt.gpu_avg_power_w")
			continue
		}
		check(t, res, map[string]float64{
			"gpu_total_joules": c.want, "joules_per_output_token": c.want / 40, "joules_per_total_token": c.want / 50,
			"perf_per_watt.gpu_avg_power_w": c.want / 10, "perf_per_watt.output_tokens_per_second_per_gpu_watt": 40 / c.want,
		})
	}
}

func TestSrtSlurmRoles(t *testing.T) {
	p := newPeer(t, "srtslurm", Options{}, span(10, 20))
	for i, role := range []string{"prefill", "decode", "decode", "agg"} {
		d := p.Device(DeviceInfo{ID: role + string(rune('0'+i)), Role: role})
		d.Read(Sample{At: at(10), Watts: trace.Some(100.0)})
		d.Read(Sample{At: at(20), Watts: trace.Some(100.0)})
	}
	check(t, p.Figures(0, nil), map[string]float64{"gpu_per_role.prefill": 1000, "gpu_per_role.decode": 2000, "gpu_per_role.agg": 1000, "gpu_total_joules": 4000})
}

func TestSrtSlurmShortWindow(t *testing.T) {
	p := newPeer(t, "srtslurm", Options{}, span(10, 12))
	gauge(p, "a", point{11, 400}) // the nearest to both bounds
	check(t, p.Figures(0, nil), nil, "gpu_total_joules")
}

func TestRecorderFalling(t *testing.T) {
	p := newPeer(t, "sglang", Options{}, span(0, 14))
	gauge(p, "a", point{0, 900}, point{5, 500}, point{10, 700}, point{15, 0})
	check(t, p.Figures(0, nil), map[string]float64{"median_power_w": 700, "p25_power_w": 600, "p75_power_w": 800})
}

// TestInferenceXAccumulators is the case by hand, and samples of one instant, of which the
// neighbours see the least and the most.
func TestInferenceXAccumulators(t *testing.T) {
	p := newPeer(t, "inferencex", Options{Accumulated: map[int]float64{0: 2100}}, span(5, 8))
	gauge(p, "GPU-0", point{0, 100}, point{10, 100}, point{20, 100})
	check(t, p.Figures(0, nil), map[string]float64{
		"accumulator_check.accumulator_delta_j": 2100, "accumulator_check.integrated_stream_j": 2000,
		"accumulator_check.relative_error": 1. / 21, "accumulator_check.within_tolerance": 1,
	})
	p = newPeer(t, "inferencex", Options{Accumulated: map[int]float64{0: 2000, 7: -1}}, span(5, 8))
	gauge(p, "GPU-0", point{0, 100}, point{10, 200}, point{10, 100}, point{20, 100})
	check(t, p.Figures(0, nil), map[string]float64{
		"accumulator_check.integrated_stream_j": 1000 + 1500, "accumulator_check.within_tolerance": 0,
	})
	p = newPeer(t, "inferencex", Options{Accumulated: map[int]float64{0: 0}}, span(5, 8))
	check(t, p.Figures(0, nil), map[string]float64{"accumulator_check.within_tolerance": 0}, "accumulator_check.relative_error")
}
