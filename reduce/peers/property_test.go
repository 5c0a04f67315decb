package peers

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/trace"
)

// run is a random run: readings of a few sensors, of which some repeat a GPU, and
// requests.
type run struct {
	window   Window
	opt      Options
	infos    []DeviceInfo
	samples  [][]Sample
	requests []*trace.Request
	ours     []Ours
}

func drawRun(t *rapid.T) run {
	instant := rapid.Map(rapid.IntRange(0, 400), func(n int) trace.Time { return trace.Time(n) * sec / 10 })
	known := rapid.IntRange(0, 9)
	r := run{window: Window{Name: "w", Concurrency: rapid.IntRange(0, 3).Draw(t, "users"), Profiling: rapid.Bool().Draw(t, "profiling")}}
	r.window.Start = trace.Opt[trace.Time]{V: instant.Draw(t, "start"), OK: known.Draw(t, "known") > 0}
	r.window.End = trace.Opt[trace.Time]{V: r.window.Start.V + instant.Draw(t, "length"), OK: known.Draw(t, "known") > 0}
	if r.window.Start.OK && r.window.End.OK && rapid.Bool().Draw(t, "steady") {
		a := r.window.Start.V
		r.window.Steady = trace.Some(Steady{Interval{a, a + instant.Draw(t, "steady length")}, float64(known.Draw(t, "steady tokens"))})
	}
	r.opt = Options{ExpectDevices: rapid.IntRange(0, 3).Draw(t, "expected"), Unbounded: rapid.Bool().Draw(t, "unbounded"), WorldSize: rapid.IntRange(0, 5).Draw(t, "ranks")}
	for range rapid.IntRange(0, 4).Draw(t, "sensors") {
		r.infos = append(r.infos, DeviceInfo{
			ID: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id"), Source: rapid.SampledFrom([]string{"nvml", "dcgm"}).Draw(t, "source"),
			Role: rapid.SampledFrom([]string{"", "prefill", "decode"}).Draw(t, "role"), Lag: time.Duration(known.Draw(t, "lag")) * time.Second / 10,
		})
		r.samples = append(r.samples, drawSamples(t, instant))
	}
	for _, id := range []string{"a", "b", "d"} {
		if rapid.Bool().Draw(t, "ours") {
			r.ours = append(r.ours, Ours{id, "nvml", rapid.Int64Range(0, 1e10).Draw(t, "microjoules")})
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "requests") {
		r.requests = append(r.requests, drawRequest(t, instant))
	}
	return r
}

func drawSamples(t *rapid.T, instant *rapid.Generator[trace.Time]) []Sample {
	strange := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, math.MaxFloat64}
	value := rapid.Custom(func(t *rapid.T) trace.Opt[float64] {
		switch rapid.IntRange(0, 19).Draw(t, "kind") {
		case 0:
			return trace.Opt[float64]{}
		case 1:
			return trace.Some(rapid.SampledFrom(strange).Draw(t, "strange"))
		}
		return trace.Some(float64(rapid.IntRange(0, 1e6).Draw(t, "milli")) / 1000)
	})
	var list []Sample
	for range rapid.IntRange(0, 30).Draw(t, "samples") {
		list = append(list, Sample{At: instant.Draw(t, "at"), Joules: value.Draw(t, "joules"), Watts: value.Draw(t, "watts")})
	}
	slices.SortStableFunc(list, func(a, b Sample) int { return int(a.At - b.At) })
	return list
}

func drawRequest(t *rapid.T, instant *rapid.Generator[trace.Time]) *trace.Request {
	maybe := func(v trace.Time) trace.Opt[trace.Time] {
		return trace.Opt[trace.Time]{V: v, OK: rapid.IntRange(0, 9).Draw(t, "known") > 0}
	}
	tokens := rapid.Map(rapid.IntRange(-1, 100), func(n int) trace.Opt[int64] { return trace.Opt[int64]{V: int64(n), OK: n >= 0} })
	sent := instant.Draw(t, "sent")
	first := sent + instant.Draw(t, "first")
	last := first + instant.Draw(t, "last")
	return &trace.Request{
		Sent: sent, FirstToken: maybe(first), LastToken: maybe(last), Done: last + instant.Draw(t, "done"),
		Outcome:     rapid.SampledFrom([]trace.Outcome{trace.Succeeded, trace.Succeeded, trace.Failed, trace.Cancelled}).Draw(t, "outcome"),
		InputTokens: tokens.Draw(t, "input"), OutputTokens: tokens.Draw(t, "output"), TokenSource: trace.FromUsage,
	}
}

// play runs a tool over a run, with all its times moved.
func (r run) play(t testing.TB, tool string, shift trace.Time) (Result, Explanation) {
	w := r.window
	w.Start.V += shift
	w.End.V += shift
	w.Steady.V.Start += shift
	w.Steady.V.End += shift
	p := newPeer(t, tool, r.opt, w)
	for i, info := range r.infos {
		d := p.Device(info)
		for _, s := range r.samples[i] {
			s.At += shift
			d.Read(s)
		}
	}
	log := &Requests{SLO: SLO{RequestLatency: trace.Some(5 * time.Second)}}
	for _, q := range r.requests {
		c := *q
		c.Sent, c.Done, c.FirstToken.V, c.LastToken.V = q.Sent+shift, q.Done+shift, q.FirstToken.V+shift, q.LastToken.V+shift
		log.Add(&c)
	}
	return p.Figures(0, log), p.Explain(0, r.ours)
}

// published is the energy that an explanation must end at.
var published = map[string]string{
	"aiperf": "nvidia_total_gpu_energy", "aiperf-g1": "total_gpu_energy", "aiperf-g2": "nvidia_total_gpu_energy", "aiperf-g3": "nvidia_total_gpu_energy",
	"trtllm": "energy.total_energy_j", "vllm": "gpu_energy_j", "zeus": "total_energy", "mlenergy": "entire_benchmark_measurement.gpu_energy",
	"inferencex": "total_gpu_energy_j", "srtslurm": "gpu_total_joules",
}

// Whatever the input, no figure is without a number, the steps add up to theirs, which
// is what is published, and only the distances between times count.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := drawRun(rt)
		tool := rapid.SampledFrom(Tools()).Draw(rt, "tool")
		res, x := r.play(t, tool, 0)
		finiteFigures(rt, res)
		sum := x.Ours
		for _, s := range x.Steps {
			sum += s.Microjoules
			if s.Microjoules == 0 || s.What == "" {
				rt.Fatalf("an empty step: %+v", s)
			}
		}
		if x.Why == "" && sum != x.Theirs {
			rt.Fatalf("%d uJ and the steps are %d uJ, theirs are %d uJ", x.Ours, sum, x.Theirs)
		}
		if f, ok := res.Figure(published[tool]); ok && (x.Why != "" || microjoules(f.Value) != x.Theirs) {
			rt.Fatalf("published are %v J, explained %d uJ %s", f.Value, x.Theirs, x.Why)
		}
		shift := rapid.Int64Range(-1e18, 1e18).Draw(rt, "shift")
		shifted, y := r.play(t, tool, trace.Time(shift))
		if diff := cmp.Diff(res, shifted) + cmp.Diff(x, y); diff != "" {
			rt.Fatalf("moved by %d ns: %s", shift, diff)
		}
	})
}

func finiteFigures(t *rapid.T, res Result) {
	seen := map[string]bool{}
	for _, f := range res.Figures {
		if math.IsNaN(f.Value) || math.IsInf(f.Value, 0) {
			t.Fatalf("%s is %v", f.Name, f.Value)
		}
		if seen[f.Name] {
			t.Fatalf("%s twice", f.Name)
		}
		seen[f.Name] = true
	}
	for _, o := range res.Omitted {
		if seen[o.Name] {
			t.Fatalf("%s is both there and omitted", o.Name)
		}
	}
	for _, d := range res.Devices {
		for _, f := range d.Figures {
			if math.IsNaN(f.Value) || math.IsInf(f.Value, 0) {
				t.Fatalf("%s of %s is %v", f.Name, d.Device.ID, f.Value)
			}
		}
	}
	if math.IsNaN(res.Joules.V) || math.IsInf(res.Joules.V, 0) {
		t.Fatalf("%v J", res.Joules.V)
	}
}

// What is no number is no figure, and says so.
func TestNotANumber(t *testing.T) {
	b := &builder{}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		b.add("x", "J", v, "")
	}
	b.over("y", "1/J", trace.Some(1e15), trace.Some(math.SmallestNonzeroFloat64), "tokens / almost nothing")
	if len(b.Figures) > 0 || len(b.Omitted) != 4 {
		t.Errorf("%+v", b.Result)
	}
}
