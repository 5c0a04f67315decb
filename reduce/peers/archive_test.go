package peers

import (
	"math"
	"testing"
	"time"

	"wattrace/trace"
)

// TestArchiveBounds: with what an archive says, rates are over the phase and not over its
// requests, the mean power too, and instants are doubles.
func TestArchiveBounds(t *testing.T) {
	w := span(9, 21)
	w.Archive = &Archive{Bounded: true, Observed: true, Epoch: trace.Some(int64(1780000000000000100))}
	p := newPeer(t, "aiperf-g3", Options{}, w)
	counter(p, "a", point{8, 1000}, point{15, 2000}, point{21.5, 3400})
	r := requests(streamed(10, 11, 14, 14, 100, 1600), streamed(12, 15, 20.0000001, 20.0000001, 200, 3200))
	res := p.Figures(0, r)
	check(t, res, map[string]float64{
		"request_throughput": 2. / 12, "output_token_throughput": 400, "input_token_throughput": 25, "nvidia_average_gpu_power": 200,
		"nvidia_output_tps_per_watt": 2, "completed_request_count": 2, "request_error_rate": 0, "output_sequence_length.max": 3200, "input_sequence_length.sum": 300,
		"decode_duration.min": 3000, "prefill_throughput_per_user.count": 2,
	})
	f, _ := res.Figure("benchmark_duration")
	if nanos := f.Value * 1e9; math.Mod(math.Round(nanos), 256) != 0 || math.Abs(nanos-10_000_000_100) > 256 {
		t.Errorf("benchmark_duration %v, want a multiple of 256 ns", f.Value)
	}
	// Without the bounds of the phase they are over the requests.
	w.Archive = &Archive{}
	p = newPeer(t, "aiperf-g3", Options{}, w)
	counter(p, "a", point{8, 1000}, point{15, 2000}, point{21.5, 3400})
	check(t, p.Figures(0, r), map[string]float64{"request_throughput": 2 / 10.0000001, "benchmark_duration": 10.0000001})
}

// TestArchiveCounter: aiperf subtracts megajoules, doubles.
func TestArchiveCounter(t *testing.T) {
	for _, archive := range []*Archive{nil, {}} {
		w := span(10, 20)
		w.Archive = archive
		p := newPeer(t, "aiperf-g3", Options{}, w)
		counter(p, "a", point{9, 7_000_000_000.001}, point{15, 7_000_001_000.002})
		want := 1000.001
		if archive != nil {
			last, base := 7_000_001_000_002*1e-9, 7_000_000_000_001*1e-9
			want = (last - base) * 1e6
		}
		if got := p.Figures(0, nil).Joules.V; math.Abs(got-want) > 1e-6 || archive != nil && got != want {
			t.Errorf("archive %v: %v J, want %v", archive != nil, got, want)
		}
	}
}

func TestObjectives(t *testing.T) {
	fast, slow := streamed(10, 11, 12, 12, 1, 11), streamed(10, 11, 13, 13, 1, 11) // 10 and 5 tokens/s
	single := streamed(10, 11, 11, 11, 1, 1)                                       // no rate
	for limit, want := range map[float64]float64{4: 2, 5: 2, 6: 1, 11: 0} {
		r := &Requests{SLO: SLO{TokensPerUser: trace.Some(limit)}}
		for _, q := range []*trace.Request{fast, slow, single} {
			r.Add(q)
		}
		p := newPeer(t, "aiperf-g3", Options{}, span(10, 20))
		check(t, p.Figures(0, r), map[string]float64{"good_request_count": want})
	}
	w := span(10, 20)
	w.Archive = &Archive{Unknown: []string{"time_to_second_token"}}
	p := newPeer(t, "aiperf-g3", Options{}, w)
	counter(p, "a", example...)
	check(t, p.Figures(0, requests(fast)), nil, "goodput", "good_request_count", "nvidia_goodput_per_watt")
}

// TestGaps: percentiles are exact up to a million, and then within 0.4 %.
func TestGaps(t *testing.T) {
	var g gaps
	for i := range mostGaps {
		g.add(time.Duration(i) * time.Microsecond)
	}
	if got, want := g.Percentile(50), float64(mostGaps-1)/2*1e3; got != want {
		t.Errorf("%v, want %v", got, want)
	}
	g.add(0)
	if got, want := g.Percentile(50), float64(mostGaps-1)/2*1e3; got == want || math.Abs(got-want) > 0.004*want || len(g.each.list) != 0 {
		t.Errorf("%v, want about %v, and none kept", got, want)
	}
	if g.Count() != mostGaps+1 {
		t.Error(g.Count())
	}
}
