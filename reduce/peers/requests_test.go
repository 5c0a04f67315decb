package peers

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"testing"
	"time"

	"wattrace/trace"
)

// artifact reads the requests of a real run, as an importer would.
func artifact(t *testing.T) *Requests {
	t.Helper()
	data, err := os.ReadFile("testdata/aiperf-0.1-requests.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	r := &Requests{}
	var anchor int64
	for line := range bytes.Lines(data) {
		var x struct {
			Stamp     int64 `json:"timestamp_ns"`
			Failed    bool
			Start     int64   `json:"min_request_timestamp"`
			TTFT      float64 `json:"ttft"`
			Latency   float64 `json:"request_latency"`
			Input     int64   `json:"input_sequence_length"`
			Output    int64   `json:"output_sequence_length"`
			Reasoning int64   `json:"reasoning_token_count"`
		}
		if err := json.Unmarshal(line, &x); err != nil {
			t.Fatal(err)
		}
		if anchor == 0 {
			anchor = x.Stamp
		}
		if x.Failed {
			r.Add(&trace.Request{Sent: trace.Time(x.Stamp - anchor), Outcome: trace.Cancelled})
			continue
		}
		ms := func(v float64) time.Duration { return time.Duration(math.Round(v * 1e6)) }
		sent := trace.Time(x.Start - anchor)
		r.Add(&trace.Request{
			Sent: sent, FirstToken: trace.Some(sent.Add(ms(x.TTFT))), LastToken: trace.Some(sent.Add(ms(x.Latency))),
			Done: sent.Add(ms(x.Latency)), Outcome: trace.Succeeded, TokenSource: trace.FromUsage,
			InputTokens: trace.Some(x.Input), OutputTokens: trace.Some(x.Output),
			Usage: []byte(`{"completion_tokens_details":{"reasoning_tokens":` + string(mustJSON(t, x.Reasoning)) + `}}`),
		})
	}
	return r
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a real aiperf published of its requests, recomputed.
func TestAIPerfArtifact(t *testing.T) {
	data, err := os.ReadFile("testdata/aiperf-0.1-summary.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]float64
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	want["time_to_first_token"] = want["ttft"] // its name of today
	delete(want, "ttft")
	p := newPeer(t, "aiperf", Options{}, span(0, 10))
	check(t, p.Figures(0, artifact(t)), want)
}

func TestFailedRequestsCountOnce(t *testing.T) {
	failed := &trace.Request{Sent: at(10), Done: at(11), Outcome: trace.Failed, InputTokens: trace.Some[int64](7), OutputTokens: trace.Some[int64](9)}
	cancelled := &trace.Request{Sent: at(0), Done: at(40), Outcome: trace.Cancelled, LastToken: trace.Some(at(40))}
	r := requests(exampleRequests[0], failed, cancelled)
	if r.Sent != 3 || r.Succeeded != 1 || r.Failed != 1 || r.Cancelled != 1 {
		t.Errorf("%+v", r)
	}
	p := newPeer(t, "aiperf", Options{}, span(10, 20))
	counter(p, "a", example...)
	// All of the energy falls to the one that succeeded; tokens and times are its own.
	check(t, p.Figures(0, r), map[string]float64{
		"nvidia_energy_per_request": 2400, "error_request_count": 2, "total_osl": 1600, "total_isl": 100, "benchmark_duration": 4, "request_latency": 4000,
	})
}

func TestNoRequests(t *testing.T) {
	p := newPeer(t, "aiperf", Options{}, span(10, 20))
	counter(p, "a", example...)
	check(t, p.Figures(0, requests()), map[string]float64{"nvidia_total_gpu_energy": 2400, "nvidia_energy_per_user": 600},
		"nvidia_output_tokens_per_joule", "nvidia_energy_per_output_token", "nvidia_energy_per_total_token", "nvidia_energy_per_request",
		"nvidia_energy_delay_product", "nvidia_performance_per_watt", "nvidia_output_tps_per_watt", "request_throughput", "request_latency")
}

func TestUnknownTokens(t *testing.T) {
	mute := streamed(12, 13, 14, 14, 0, 0)
	mute.OutputTokens = trace.Opt[int64]{}
	p := newPeer(t, "aiperf", Options{}, span(10, 20))
	counter(p, "a", example...)
	check(t, p.Figures(0, requests(exampleRequests[0], mute)), map[string]float64{"nvidia_energy_per_request": 1200},
		"nvidia_output_tokens_per_joule", "nvidia_energy_per_total_token", "total_osl")
}

func TestVisibleTokens(t *testing.T) {
	for _, c := range []struct {
		usage  string
		kinds  string
		want   int64
		absent bool
	}{
		{`{"completion_tokens_details":{"reasoning_tokens":30}}`, "gc", 70, false},
		{`{"reasoning_tokens":30}`, "gc", 70, false},
		{`{"completion_tokens":100}`, "cc", 100, false},
		{`{"completion_tokens":100,"completion_tokens_details":null}`, "cc", 100, false},
		{`{"completion_tokens":100}`, "gc", 0, true},
		{``, "", 100, false},
		{`{"reasoning_tokens":300}`, "", 0, false},
		{`not JSON`, "g", 0, true},
	} {
		q := streamed(0, 1, 2, 2, 10, 100)
		q.Usage = []byte(c.usage)
		for _, k := range c.kinds {
			q.Chunks = append(q.Chunks, trace.Chunk{Kind: trace.ChunkKind(k)})
		}
		if got := visibleTokens(q); got.V != c.want || got.OK == c.absent {
			t.Errorf("%s with chunks %q: %v", c.usage, c.kinds, got)
		}
	}
}

func TestGoodput(t *testing.T) {
	good := func(s SLO, list ...*trace.Request) int64 {
		r := &Requests{SLO: s}
		for _, q := range list {
			r.Add(q)
		}
		return r.Good
	}
	q := streamed(0, 1, 3, 3, 10, 21) // ITL 0.1 s
	whole := &trace.Request{Done: at(3), LastToken: trace.Some(at(3)), Outcome: trace.Succeeded, OutputTokens: trace.Some[int64](21)}
	limit := func(d time.Duration) trace.Opt[time.Duration] { return trace.Some(d) }
	for i, c := range []struct {
		slo  SLO
		q    *trace.Request
		want int64
	}{
		{SLO{TimeToFirstToken: limit(time.Second)}, q, 1},
		{SLO{TimeToFirstToken: limit(time.Second - 1)}, q, 0},
		{SLO{InterTokenLatency: limit(100 * time.Millisecond)}, q, 1},
		{SLO{InterTokenLatency: limit(99 * time.Millisecond)}, q, 0},
		{SLO{RequestLatency: limit(3 * time.Second)}, q, 1},
		{SLO{RequestLatency: limit(3 * time.Second), TimeToFirstToken: limit(1)}, q, 0},
		{SLO{RequestLatency: limit(3 * time.Second)}, whole, 1},
		{SLO{TimeToFirstToken: limit(time.Hour)}, whole, 0},
		{SLO{}, q, 0},
	} {
		if got := good(c.slo, c.q); got != c.want {
			t.Errorf("case %d: %d good, want %d", i, got, c.want)
		}
	}
	// No request within the objective is a goodput of 0, not none.
	p := newPeer(t, "aiperf", Options{}, span(0, 10))
	counter(p, "a", point{0, 0}, point{10, 1000})
	r := &Requests{SLO: SLO{TimeToFirstToken: limit(1)}}
	r.Add(q)
	check(t, p.Figures(0, r), map[string]float64{"goodput": 0, "nvidia_goodput_per_watt": 0})
}

func TestGuidellm(t *testing.T) {
	p := newPeer(t, "guidellm", Options{}, span(0, 10))
	res := p.Figures(0, requests(streamed(0, 1, 4, 4.5, 100, 16)))
	check(t, res, map[string]float64{
		"request_latency": 4.5, "time_to_first_token_ms": 1000, "time_per_output_token_ms": 250, "inter_token_latency_ms": 200,
		"prompt_token_count": 100, "output_token_count": 16, "requests_per_second": 0.1, "output_tokens_per_second": 1.6, "tokens_per_second": 11.6,
	})
	if x := p.Explain(0, nil); x.Why == "" {
		t.Error("guidellm has an energy")
	}
	check(t, newPeer(t, "guidellm", Options{}, span(0, 10)).Figures(0, nil), nil, "request_latency", "requests_per_second")
}

func TestMLEnergySteady(t *testing.T) {
	var l Load
	for i := range 8 { // first tokens at 1..8 s, ends at 11..18 s
		x := float64(i)
		l.Add(streamed(x, x+1, x+11, x+11, 1, 10))
	}
	// Two have their first token at 2 s; five of eight have ended at 15 s.
	if got, ok := l.MLEnergy(2); !ok || got != (Interval{at(2), at(15)}) {
		t.Errorf("%v %v", got, ok)
	}
	for _, n := range []int{0, -1, 7, 8, 100} {
		if got, ok := l.MLEnergy(n); ok {
			t.Errorf("with max_num_seqs %d: %v", n, got)
		}
	}
}

func TestSGLangSteady(t *testing.T) {
	var l Load
	for _, s := range [][2]float64{{0, 10}, {1, 9}, {2, 8}, {12, 14}, {12, 14}, {12, 14}} {
		l.Add(streamed(s[0], s[0]+0.1, s[1], s[1], 1, 1))
	}
	// The peak is 3, so at 0.5 two in flight are steady: from 1 s to 9 s.
	got, ok := l.SGLang(0.5)
	if !ok || got.Interval != (Interval{at(1), at(9)}) || got.Threshold != 2 || got.Completed != 2 {
		t.Errorf("%+v %v", got, ok)
	}
	if want := (8 + 8 + 6) / 8.0; got.AverageConcurrency != want {
		t.Errorf("%v in flight, want %v", got.AverageConcurrency, want)
	}
	if got, _ := l.SGLang(1); got.Interval != (Interval{at(2), at(8)}) {
		t.Errorf("at the peak: %v", got)
	}
	if got, ok := new(Load).SGLang(0.5); ok {
		t.Errorf("of no requests: %v", got)
	}
	// Of equals the first.
	var two Load
	two.Add(streamed(0, 0, 1, 1, 1, 1))
	two.Add(streamed(5, 5, 6, 6, 1, 1))
	if got, _ := two.SGLang(1); got.Interval != (Interval{at(0), at(1)}) {
		t.Errorf("of equals: %v", got)
	}
}

func TestIntervalTokens(t *testing.T) {
	v := Interval{at(2), at(4)}
	q := streamed(0, 1, 5, 5, 1, 100)
	if got, ok := v.Tokens(q); !ok || got != 50 {
		t.Errorf("spread evenly: %v %v", got, ok)
	}
	for _, x := range []float64{1, 2, 3, 3.5, 4} {
		q.Chunks = append(q.Chunks, trace.Chunk{At: at(x), Kind: trace.ChunkContent})
	}
	q.Chunks = append(q.Chunks, trace.Chunk{At: at(3), Kind: trace.ChunkUsage})
	if got, ok := v.Tokens(q); !ok || got != 60 {
		t.Errorf("by events: %v %v", got, ok)
	}
	whole := &trace.Request{LastToken: trace.Some(at(3)), OutputTokens: trace.Some[int64](7)}
	if got, ok := v.Tokens(whole); !ok || got != 7 {
		t.Errorf("at once: %v %v", got, ok)
	}
	if _, ok := v.Tokens(&trace.Request{}); ok {
		t.Error("of a request that does not say")
	}
}
