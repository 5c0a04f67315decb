package peers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"wattrace/trace"
)

// example is that of aiperf's doc comment.
var example = []point{{9.5, 1000}, {10.5, 1200}, {19.9, 3100}, {20.5, 3400}, {21, 3600}}

var exampleRequests = []*trace.Request{
	streamed(10, 11, 14, 14, 100, 1600), streamed(11, 12, 16, 16.5, 100, 1600), streamed(12, 15, 20, 20, 200, 1600),
}

func TestAIPerfExample(t *testing.T) {
	for _, c := range []struct {
		tool string
		want map[string]float64
	}{
		{"aiperf-g1", map[string]float64{"total_gpu_energy": 2400, "output_tokens_per_joule": 2, "energy_per_user": 600}},
		{"aiperf-g2", map[string]float64{"nvidia_total_gpu_energy": 2400, "nvidia_output_tokens_per_joule": 2, "nvidia_energy_per_user": 600}},
		{"aiperf-g3", map[string]float64{
			"nvidia_total_gpu_energy": 2400, "nvidia_output_tokens_per_joule": 2, "nvidia_energy_per_user": 600,
			"nvidia_average_gpu_power": 240, "nvidia_energy_per_output_token": 500, "nvidia_energy_per_total_token": 2400e3 / 5200,
			"nvidia_energy_per_request":   800,
			"nvidia_energy_delay_product": 800 * 17.0 / 3,
			"nvidia_performance_per_watt": 0.3 / 240,
			"nvidia_output_tps_per_watt":  480.0 / 240,
			"request_throughput":          0.3,
			"nvidia_goodput_per_watt":     0.2 / 240,
			"goodput":                     0.2,
			"total_osl":                   4800,
			"request_latency":             17000.0 / 3,
			"inter_token_latency":         12000.0 / 3 / 1599,
			"total_token_throughput":      520,
			"output_token_throughput":     480,
			"time_to_first_token":         5000.0 / 3,
			"benchmark_duration":          10,
			"error_request_count":         0,
			"total_output_tokens":         4800,
			"request_count":               3,
		}},
	} {
		p := newPeer(t, c.tool, Options{}, span(10, 20))
		counter(p, "a", example...)
		r := &Requests{SLO: SLO{RequestLatency: trace.Some(6 * time.Second)}}
		for _, q := range exampleRequests {
			r.Add(q)
		}
		check(t, p.Figures(0, r), c.want)
	}
}

// The table of the thread of pull request #803: 8 H200, concurrency 1024. What is
// printed of the parts adds up to a cent more than the printed total, since that was
// added up before it was rounded; a millijoule less of each GPU gives both.
func TestAIPerfEightH200(t *testing.T) {
	p := newPeer(t, "aiperf-g1", Options{}, span(10, 20))
	printed := []string{"143653.77", "147784.43", "149026.62", "148156.23", "145397.66", "148267.18", "153568.17", "149799.60"}
	for i, s := range printed {
		joules, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		counter(p, fmt.Sprint("GPU-", i), point{9, 5e7 + float64(i)}, point{20, 5e7 + float64(i) + joules - 0.001})
	}
	res := p.Figures(0, nil)
	for i, d := range res.Devices {
		if got := fmt.Sprintf("%.2f", d.Joules.V); got != printed[i] {
			t.Errorf("GPU %d has %s J, want %s", i, got, printed[i])
		}
	}
	f, ok := res.Figure("total_gpu_energy")
	if got := fmt.Sprintf("%.2f", f.Value); !ok || got != "1185653.65" {
		t.Errorf("total is %s J", got)
	}
	if f.Header != "Total GPU Energy (8 GPUs)" {
		t.Errorf("header %q", f.Header)
	}
}

func TestAIPerfPhaseTwo(t *testing.T) {
	// 100 W until 20 s, 500 W until 30 s, 100 W until the recording ends at 60 s.
	var points []point
	for i := range 121 {
		x := float64(i) / 2
		points = append(points, point{x, 100*x + 400*min(max(x-20, 0), 10)})
	}
	energy := func(tool string, opt Options) float64 {
		p := newPeer(t, tool, opt, span(10, 20), span(20, 30))
		counter(p, "a", points...)
		return p.Figures(1, nil).Joules.V
	}
	// From 19.5 s, strictly before the start, to 30.5 s: both ends leak a half second.
	if got := energy("aiperf", Options{}); got != 5100 {
		t.Errorf("phase 2 has %v J, want its own 5000 and 50 from either side", got)
	}
	if got := energy("aiperf-g1", Options{Unbounded: true}); got != 8050 {
		t.Errorf("unbounded, phase 2 has %v J, want 3000 more from what came after", got)
	}
	if got := energy("aiperf-g1", Options{Grace: trace.Some(time.Duration(0))}); got != 5050 {
		t.Errorf("without grace, phase 2 has %v J", got)
	}
}

func TestAIPerfGraceIsInclusive(t *testing.T) {
	for end, want := range map[float64]float64{20.666: 300, 20.667: 200} {
		p := newPeer(t, "aiperf", Options{}, span(10, 20))
		counter(p, "a", point{9, 100}, point{19, 300}, point{end, 400})
		if got := p.Figures(0, nil).Joules.V; got != want {
			t.Errorf("a reading at %v s: %v J, want %v", end, got, want)
		}
	}
}

func TestAIPerfBaseline(t *testing.T) {
	for _, c := range []struct {
		name   string
		points []point
		want   float64
		none   bool
	}{
		{"at any age", []point{{-3600, 0}, {15, 40}}, 40, false},
		{"strictly before the start", []point{{9, 100}, {10, 150}, {19, 300}}, 200, false},
		{"else the first in the phase", []point{{10, 150}, {19, 300}}, 150, false},
		{"a single reading", []point{{15, 150}}, 0, false},
		{"no reading in the phase", []point{{9, 100}, {21, 300}}, 0, true},
		{"none until after the grace", []point{{21, 300}}, 0, true},
		{"a reset is clamped", []point{{9, 1000}, {15, 1300}, {16, 10}, {20, 500}}, 0, false},
		{"a reset that grew past it", []point{{9, 100}, {15, 1300}, {16, 10}, {20, 500}}, 400, false},
	} {
		p := newPeer(t, "aiperf-g2", Options{}, span(10, 20))
		counter(p, "a", c.points...)
		res := p.Figures(0, nil)
		if res.Joules.V != c.want || res.Joules.OK == c.none {
			t.Errorf("%s: %v, want %v", c.name, res.Joules, c.want)
		}
	}
}

func TestAIPerfPowerWithoutCounter(t *testing.T) {
	build := func(tool string) Result {
		p := newPeer(t, tool, Options{}, span(10, 20))
		// The first sample and those at the ends count as much as any: 400 W.
		gauge(p, "a", point{9, 1000}, point{10, 300}, point{10.1, 300}, point{20, 600}, point{20.1, 900})
		return p.Figures(0, requests(exampleRequests...))
	}
	check(t, build("aiperf-g1"), map[string]float64{"total_gpu_power": 400}, "total_gpu_energy", "output_tokens_per_joule", "energy_per_user")
	check(t, build("aiperf-g3"), map[string]float64{
		"nvidia_total_gpu_power": 400, "nvidia_total_gpu_energy": 4000, "nvidia_average_gpu_power": 400, "nvidia_energy_per_user": 1000,
	}, "nvidia_goodput_per_watt")
}

func TestAIPerfCounterWithoutPower(t *testing.T) {
	for tool, prefix := range map[string]string{"aiperf-g1": "", "aiperf-g3": "nvidia_"} {
		p := newPeer(t, tool, Options{}, span(10, 20))
		counter(p, "a", example...)
		check(t, p.Figures(0, nil), map[string]float64{prefix + "total_gpu_energy": 2400}, prefix+"total_gpu_power", prefix+"output_tokens_per_joule")
	}
}

func TestAIPerfStandstill(t *testing.T) {
	build := func(tool string) Result {
		p := newPeer(t, tool, Options{}, span(10, 20))
		counter(p, "a", point{9, 100}, point{15, 100})
		return p.Figures(0, requests(exampleRequests...))
	}
	// Generations 1 and 2 write an energy of nothing, generation 3 does not.
	check(t, build("aiperf-g1"), map[string]float64{"total_gpu_energy": 0, "energy_per_user": 0}, "output_tokens_per_joule")
	check(t, build("aiperf-g3"), nil, "nvidia_total_gpu_energy", "nvidia_energy_per_user", "nvidia_total_gpu_power")
}

func TestAIPerfCohort(t *testing.T) {
	p := newPeer(t, "aiperf-g1", Options{}, span(10, 20))
	counter(p, "a", example...)
	gauge(p, "b", point{15, 100})
	gauge(p, "c", point{15, 100})
	res := p.Figures(0, requests(exampleRequests...))
	for name, want := range map[string]string{
		"total_gpu_power": "Total GPU Power (2 GPUs)", "total_gpu_energy": "Total GPU Energy (1 GPU)",
		"output_tokens_per_joule": "Output Tokens per Joule (1 GPU)", "energy_per_user": "Energy per User (1 GPU)",
	} {
		if f, _ := res.Figure(name); f.Header != want {
			t.Errorf("%s: header %q, want %q", name, f.Header, want)
		}
	}
	for _, c := range []struct {
		covered, expected int
		want              string
	}{{7, 8, " (7 of 8 GPUs)"}, {8, 8, " (8 GPUs)"}, {1, 1, " (1 GPU)"}, {1, 0, " (1 GPU)"}, {0, 1, " (0 of 1 GPUs)"}, {9, 8, " (9 of 8 GPUs)"}} {
		if got := Cohort(c.covered, c.expected); got != c.want {
			t.Errorf("Cohort(%d, %d) = %q", c.covered, c.expected, got)
		}
	}
}

func TestAIPerfCountsTwice(t *testing.T) {
	p := newPeer(t, "aiperf-g1", Options{}, span(10, 20))
	for _, source := range []string{"http://localhost:9400/metrics", "http://localhost:9401/metrics"} {
		d := p.Device(DeviceInfo{ID: "a", Source: source})
		for _, x := range example {
			d.Read(Sample{At: at(x.at), Joules: trace.Some(x.value)})
		}
	}
	f, _ := p.Figures(0, nil).Figure("total_gpu_energy")
	if f.Value != 4800 || f.Header != "Total GPU Energy (2 GPUs)" {
		t.Errorf("%v %q", f.Value, f.Header)
	}
}

func TestAIPerfConcurrency(t *testing.T) {
	user := func(windows []Window, i int) (float64, bool) {
		p := newPeer(t, "aiperf", Options{}, windows...)
		counter(p, "a", example...)
		f, ok := p.Figures(i, nil).Figure("nvidia_energy_per_user")
		return f.Value, ok
	}
	second := span(10, 20)
	second.Concurrency = 8
	warmup := span(0, 5)
	warmup.Concurrency, warmup.Profiling = 2, false
	if got, _ := user([]Window{warmup, span(5, 10), second}, 2); got != 600 {
		t.Errorf("%v J/user, want those of the first profiling phase's 4 users", got)
	}
	none := span(10, 20)
	none.Concurrency = 0
	if got, ok := user([]Window{none}, 0); ok {
		t.Errorf("%v J/user of no concurrency", got)
	}
}

func TestAIPerfMissingBounds(t *testing.T) {
	for _, w := range []Window{{Start: trace.Some(at(10))}, {End: trace.Some(at(20))}, {}} {
		for _, tool := range Tools() {
			p := newPeer(t, tool, Options{}, w)
			counter(p, "a", example...)
			gauge(p, "b", point{9, 100}, point{11, 100}, point{21, 100})
			if res := p.Figures(0, requests(exampleRequests...)); res.Joules.OK || res.Covered != 0 {
				t.Errorf("%s: %v J of a window without both bounds", tool, res.Joules.V)
			}
			if x := p.Explain(0, nil); x.Why == "" || len(x.Steps) > 0 {
				t.Errorf("%s explains %v", tool, x)
			}
		}
	}
}

func TestAIPerfNoTelemetry(t *testing.T) {
	p := newPeer(t, "aiperf", Options{}, span(10, 20))
	res := p.Figures(0, requests(exampleRequests...))
	for _, f := range res.Figures {
		if slices.Contains(aiperf{p, 3}.names(), f.Name) {
			t.Errorf("%s without telemetry", f.Name)
		}
	}
	check(t, res, map[string]float64{"request_count": 3}, aiperf{p, 3}.names()[:11]...)
}

func TestAIPerfDevices(t *testing.T) {
	p := newPeer(t, "aiperf-g0", Options{}, span(10, 20))
	d := p.Device(DeviceInfo{ID: "a"})
	for _, x := range []point{{9, 100}, {10, 200}, {20, 300}, {100, 3100}} {
		d.Read(Sample{At: at(x.at), Joules: trace.Some(x.value), Watts: trace.Some(x.value)})
	}
	res := p.Figures(0, nil)
	if res.Joules.OK || len(res.Figures) > 0 {
		t.Errorf("generation 0 has no totals: %v", res)
	}
	if f := res.Devices[0].Figures; len(f) != 2 || f[0].Value != 1200 || f[1].Name != "energy_consumption" || f[1].Value != 0.003 {
		t.Errorf("%v, want all to the end of the recording: 1200 W, 0.003 MJ", f)
	}
}

// Reasoning tokens are no output tokens to generation 1, and are to generation 3.
func TestAIPerfReasoning(t *testing.T) {
	q := streamed(10, 11, 14, 14, 100, 2400)
	q.Usage = []byte(`{"completion_tokens_details":{"reasoning_tokens":1200}}`)
	for tool, want := range map[string]map[string]float64{
		"aiperf-g1": {"output_tokens_per_joule": 0.5, "output_token_throughput": 600}, "aiperf-g2": {"nvidia_output_tokens_per_joule": 0.5},
		"aiperf-g3": {"nvidia_output_tokens_per_joule": 1, "total_output_tokens": 1200, "total_osl": 2400},
	} {
		p := newPeer(t, tool, Options{}, span(10, 20))
		counter(p, "a", example...)
		check(t, p.Figures(0, requests(q)), want)
	}
}

func TestAIPerfHeaders(t *testing.T) {
	for tool, want := range map[string]string{"aiperf-g2": "Energy per User", "aiperf-g3": "Energy per User"} {
		p := newPeer(t, tool, Options{}, span(10, 20))
		counter(p, "a", example...)
		gauge(p, "b", point{15, 100})
		res := p.Figures(0, requests(exampleRequests...))
		if f, _ := res.Figure("nvidia_energy_per_user"); f.Header != want {
			t.Errorf("%s: %q", tool, f.Header)
		}
		for _, f := range res.Figures {
			if strings.Contains(f.Header, "(") || strings.HasPrefix(f.Name, "nvidia_") && f.Header == "" {
				t.Errorf("%s: %s has the header %q", tool, f.Name, f.Header)
			}
		}
	}
}

func TestAIPerfNoObjective(t *testing.T) {
	p := newPeer(t, "aiperf", Options{}, span(10, 20))
	counter(p, "a", example...)
	for _, o := range p.Figures(0, requests(exampleRequests...)).Omitted {
		if o.Name == "nvidia_goodput_per_watt" && o.Why == "no service level objective is set" {
			return
		}
	}
	t.Error("goodput without an objective")
}
