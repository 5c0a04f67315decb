package peers

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wattrace/trace"
)

// events is a request that succeeded, sent at so many seconds, with events of those kinds
// at those seconds and so many output tokens by the server's usage.
func events(sent float64, tokens int64, kinds string, seconds ...float64) *trace.Request {
	q := &trace.Request{Sent: at(sent), Outcome: trace.Succeeded, TokenSource: trace.FromUsage, InputTokens: trace.Some[int64](10), OutputTokens: trace.Some(tokens)}
	for i, k := range kinds {
		q.Chunks = append(q.Chunks, trace.Chunk{At: at(seconds[i]), Kind: trace.ChunkKind(k)})
	}
	if list := q.Outputs(); len(list) > 0 {
		q.FirstToken, q.LastToken = trace.Some(list[0].At), trace.Some(list[len(list)-1].At)
	}
	q.Done = at(seconds[len(seconds)-1])
	return q
}

// twoAnswers are the request of the comments at vllm, trtllm and sglang; another of two
// tokens, the first of them reasoning; and one that failed, which ends last.
func twoAnswers() *Requests {
	return requests(
		events(0, 4, "rccccfud", 1, 2, 3, 4, 5, 5, 6, 7),
		events(2, 2, "rgckfud", 3, 6, 8, 8.5, 8.5, 9, 9),
		&trace.Request{Sent: at(1), Done: at(20), Outcome: trace.Failed, OutputTokens: trace.Some[int64](99)})
}

func figuresOf(t *testing.T, tool string, r *Requests) Result {
	return newPeer(t, tool, Options{}, span(-1, 30)).Figures(0, r)
}

// Whatever the window, rates are over 20 s: from the first request sent to the end of
// the last, which failed.
func TestVLLMLatencies(t *testing.T) {
	check(t, figuresOf(t, "vllm", twoAnswers()), map[string]float64{
		"duration": 20, "completed": 2, "request_throughput": 0.1, "output_throughput": 0.3, "total_token_throughput": 1.3,
		"mean_ttft_ms": 1000, "median_ttft_ms": 1000, "std_ttft_ms": 0, "p99_ttft_ms": 1000, // the roles
		// 5 s and 6.5 s, up to the finish.
		"mean_e2el_ms": 5750, "median_e2el_ms": 5750, "std_e2el_ms": 750, "p99_e2el_ms": 6485,
		"mean_tpot_ms": (4./3 + 5.5) / 2 * 1e3, "p99_tpot_ms": (4./3 + 0.99*(5.5-4./3)) * 1e3,
		// 1, 1, 1, 1, 0 of the one, 3, 2, 0.5 of the other.
		"mean_itl_ms": 9.5 / 8 * 1e3, "std_itl_ms": math.Sqrt(17.25/8-(9.5/8)*(9.5/8)) * 1e3,
	})
	res := figuresOf(t, "vllm", twoAnswers())
	for name, want := range map[string]float64{"median_itl_ms": 1000, "p99_itl_ms": 2930} {
		if f, _ := res.Figure(name); math.Abs(f.Value-want) > 0.004*want {
			t.Errorf("%s is %v, want about %v", name, f.Value, want)
		}
	}
}

func TestTRTLLMLatencies(t *testing.T) {
	check(t, figuresOf(t, "trtllm", twoAnswers()), map[string]float64{
		"duration": 20, "request_throughput": 0.1, "output_throughput": 0.3, "total_token_throughput": 1.3,
		"mean_ttft_ms": 1000, "mean_e2el_ms": 6500, "std_e2el_ms": 500, // 6 s and 7 s, the usage
		"mean_tpot_ms": (5./3 + 6) / 2 * 1e3, "mean_itl_ms": 9.5 / 8 * 1e3, "user_throughput": (4./6 + 2./7) / 2,
	})
	// An event without choices between two of the answer moves the start of the gap.
	r := requests(events(0, 2, "ceuc", 1, 2, 2.5, 4))
	check(t, figuresOf(t, "trtllm", r), map[string]float64{"mean_itl_ms": 1e3, "mean_e2el_ms": 4e3}) // a usage before the finish has choices
	check(t, figuresOf(t, "vllm", r), map[string]float64{"mean_itl_ms": 1.5e3})
}

func TestSGLangLatencies(t *testing.T) {
	check(t, figuresOf(t, "sglang", twoAnswers()), map[string]float64{
		"duration": 20, "request_throughput": 0.1, "input_throughput": 1, "output_throughput": 0.3, "total_throughput": 1.3,
		"mean_ttft_ms": 3000, "std_ttft_ms": 1000, // 2 s and 4 s, reasoning counts
		"mean_e2e_latency_ms": 7000, "p90_e2e_latency_ms": 7000, "p99_e2e_latency_ms": 7000, // 7 s each, [DONE]
		"mean_tpot_ms": (5./3 + 3) / 2 * 1e3, "mean_itl_ms": 1250, "max_itl_ms": 2000, "concurrency": 0.7,
	})
	// 6 tokens in 3 events: 1, and then 5 in two, which are 2 of 1 s and 3 of 2 s.
	check(t, figuresOf(t, "sglang", requests(events(0, 6, "cccd", 1, 3, 9, 9))), map[string]float64{"mean_itl_ms": 1600, "median_itl_ms": 2000, "max_itl_ms": 2000})
	// The same, of a server that says that they are 1, 1 and 4, and none.
	known := events(0, 6, "cccd", 1, 3, 9, 9)
	known.ChunkTokens = true
	for i, n := range []int32{1, 1, 4, 0} {
		known.Chunks[i].Tokens = n
	}
	check(t, figuresOf(t, "sglang", requests(known)), map[string]float64{"mean_itl_ms": 1600, "median_itl_ms": 1500, "max_itl_ms": 2000})
	// A tool call is no text, and an answer that is not streamed has its first token last.
	check(t, figuresOf(t, "sglang", requests(events(0, 3, "tccd", 1, 2, 4, 5))), map[string]float64{"mean_ttft_ms": 2000})
	whole := &trace.Request{LastToken: trace.Some(at(3)), Done: at(4), Outcome: trace.Succeeded, OutputTokens: trace.Some[int64](5)}
	check(t, figuresOf(t, "sglang", requests(whole)), map[string]float64{"mean_ttft_ms": 4000, "mean_tpot_ms": 0})
	check(t, figuresOf(t, "vllm", requests(whole)), map[string]float64{"mean_e2el_ms": 3000}, "mean_ttft_ms", "mean_tpot_ms", "p99_itl_ms")
}

func TestAIPerfLatencies(t *testing.T) {
	for _, tool := range []string{"aiperf-g0", "aiperf-g1", "aiperf-g2", "aiperf"} {
		check(t, figuresOf(t, tool, twoAnswers()), map[string]float64{
			"time_to_first_token": 3000, "time_to_first_token.p50": 3000, "time_to_first_token.p99": 3980, // 2 s and 4 s
			"time_to_second_token": 1500, "time_to_first_output_token": 4000, // the other's text comes at 6 s
			"request_latency": 5500, "request_latency.p99": 5990, // 5 s and 6 s, to the last text
			"inter_token_latency": 1500, "inter_chunk_latency": 1250, // 1 s and 2 s; 1, 1, 1, 2
			"output_token_throughput_per_user": 0.75, "e2e_output_token_throughput": (4./5 + 2./6) / 2,
			"benchmark_duration": 8, "request_throughput": 0.25, "output_token_throughput": 0.75, "request_count": 2, "error_request_count": 1,
		})
	}
}

func TestGuidellmLatencies(t *testing.T) {
	check(t, figuresOf(t, "guidellm", twoAnswers()), map[string]float64{
		"request_latency": 7, "time_to_first_token_ms": 3000, "time_to_first_output_token_ms": 4000,
		"time_to_first_token_ms.p50": 2000, "time_to_first_token_ms.p95": 4000, // 2 s and 4 s, none between them
		// 5/4 s of 4 tokens and 6/2 s of 2; 1 s of 3 gaps and 2 s of 1.
		"time_per_output_token_ms": (5. + 6.) / 6 * 1e3, "time_per_output_token_ms.p50": 1250, "time_per_output_token_ms.p99": 3000,
		"inter_token_latency_ms": 1250, "inter_token_latency_ms.p50": 1000, "inter_token_latency_ms.p99": 2000,
	})
}

// What guidellm 0.8.1 itself says: mean, p50, p95 and p99 of
// DistributionSummary.from_values (schemas/base/statistics.py) of these values and
// weights, with numpy 2.4.6 and Python 3.11.
func TestGuidellmSummary(t *testing.T) {
	hundred := make([]weightedValue, 100)
	for i := range hundred {
		hundred[i] = weightedValue{float64(i + 1), 1}
	}
	for _, test := range []struct {
		list []weightedValue
		want [4]float64
	}{
		{[]weightedValue{{1, 1}, {2, 1}, {3, 1}, {4, 1}}, [4]float64{2.5, 2, 4, 4}},
		{[]weightedValue{{5, 1}, {1, 1}, {3, 1}, {3, 1}, {2, 1}, {8, 1}, {13, 1}, {21, 1}, {34, 1}, {55, 1}}, [4]float64{14.5, 5, 55, 55}},
		{hundred, [4]float64{50.5, 50, 95, 99}},
		{[]weightedValue{{1250, 4}, {3000, 2}}, [4]float64{1833.3333333333333, 1250, 3000, 3000}},
		{[]weightedValue{{2000, 1}, {1000, 3}}, [4]float64{1250, 1000, 2000, 2000}},
		{[]weightedValue{{10, 1}, {20, 98}, {30, 1}}, [4]float64{20.000000000000004, 20, 20, 20}},
		{[]weightedValue{{7, 1}, {7, 1}}, [4]float64{7, 7, 7, 7}},
	} {
		w := weighted{test.list}
		mean, p := w.summary(0.5, 0.95, 0.99)
		if got := [4]float64{mean, p[0], p[1], p[2]}; math.Abs(mean-test.want[0]) > 1e-12*mean || got[1] != test.want[1] || got[2] != test.want[2] || got[3] != test.want[3] {
			t.Errorf("%v: %v, want %v", test.list, got, test.want)
		}
	}
	w := weighted{hundred}
	if _, p := w.summary(0.1, 0.25, 0.999); p[0] != 11 || p[1] != 25 || p[2] != 100 { // as its sums round
		t.Errorf("of a hundred: %v", p)
	}
}

// The limits are on the tool's own latencies; failed requests are not good, and divide.
func TestBenchmarkGoodput(t *testing.T) {
	r := &Requests{SLO: SLO{TimeToFirstToken: trace.Some(2 * time.Second), RequestLatency: trace.Some(5 * time.Second)}}
	one := events(0, 1, "rcfud", 1, 2, 3, 6, 7) // one token: its tpot is 0
	for _, q := range []*trace.Request{events(0, 4, "rccccfud", 1, 2, 3, 4, 5, 5, 6, 7), one, {Sent: at(1), Done: at(10), Outcome: trace.Failed}} {
		r.Add(q)
	}
	check(t, figuresOf(t, "vllm", r), map[string]float64{"request_goodput": 0.2})
	check(t, figuresOf(t, "trtllm", r), map[string]float64{"request_goodput": 0})
	check(t, figuresOf(t, "aiperf", r), map[string]float64{"good_request_count": 2, "good_request_fraction": 2. / 3})
}

// Requests of two clients, whose clocks have other zeros.
func TestClocksOfTwoClients(t *testing.T) {
	r := &Requests{}
	r.AddFrom(events(0, 2, "ccd", 1, 2, 3), 100*time.Second)
	r.AddFrom(events(50, 2, "ccd", 51, 52, 53), 60*time.Second) // at 110 s
	check(t, figuresOf(t, "aiperf", r), map[string]float64{"benchmark_duration": 12, "time_to_first_token": 1000})
	check(t, figuresOf(t, "vllm", r), map[string]float64{"duration": 13, "mean_itl_ms": 1000})
}

// Of answers with a role before, a finish at and [DONE] after them, and a token an event,
// the tools' latencies are ordered by what they count in; and no order of the requests
// changes a byte.
func TestLatenciesOfTools(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var list []*trace.Request
		for range rapid.IntRange(1, 6).Draw(rt, "requests") {
			now := float64(rapid.IntRange(0, 100).Draw(rt, "sent")) / 10
			sent, kinds, stamps := now, "r", []float64(nil)
			tokens := rapid.IntRange(1, 6).Draw(rt, "tokens")
			for range tokens {
				kinds += rapid.SampledFrom([]string{"c", "g"}).Draw(rt, "kind")
			}
			kinds += "fud"
			for range kinds {
				now += float64(rapid.IntRange(1, 9).Draw(rt, "gap")) / 100
				stamps = append(stamps, now)
			}
			list = append(list, events(sent, int64(tokens), kinds, stamps...))
		}
		all := func(list []*trace.Request) (out map[string]Result) {
			out = map[string]Result{}
			for _, tool := range []string{"vllm", "trtllm", "sglang", "aiperf", "guidellm"} {
				out[tool] = figuresOf(t, tool, requests(list...))
			}
			return out
		}
		res := all(list)
		turned := append(append([]*trace.Request(nil), list[1:]...), list[0])
		if fmt.Sprint(res) != fmt.Sprint(all(turned)) {
			rt.Fatal("the order of the requests changes a figure")
		}
		figure := func(tool, name string) float64 {
			f, ok := res[tool].Figure(name)
			if !ok {
				rt.Fatalf("%s has no %s", tool, name)
			}
			return f.Value
		}
		order := func(values ...float64) {
			for i := 1; i < len(values); i++ {
				if values[i] < values[i-1]-1e-6 {
					rt.Fatalf("out of order: %v", values)
				}
			}
		}
		ttft := figure("aiperf", "time_to_first_token")
		order(figure("vllm", "mean_ttft_ms"), ttft, figure("aiperf", "time_to_first_token.p99"))
		order(ttft, figure("sglang", "mean_ttft_ms"), ttft) // equal
		order(figure("aiperf", "request_latency"), figure("vllm", "mean_e2el_ms"), figure("trtllm", "mean_e2el_ms"), figure("sglang", "mean_e2e_latency_ms"), figure("guidellm", "request_latency")*1e3)
	})
}

// The example of the package comment.
func TestDocumentedLatencies(t *testing.T) {
	r := requests(events(0, 3, "rgccfud", 1, 2, 3, 4, 4.5, 5, 6))
	for tool, want := range map[string]map[string]float64{
		"aiperf":   {"time_to_first_token": 2000, "request_latency": 4000, "inter_token_latency": 1000},
		"vllm":     {"mean_ttft_ms": 1000, "mean_e2el_ms": 4500, "mean_tpot_ms": 1750},
		"trtllm":   {"mean_ttft_ms": 1000, "mean_e2el_ms": 5000, "mean_tpot_ms": 2000},
		"sglang":   {"mean_ttft_ms": 2000, "mean_e2e_latency_ms": 6000, "mean_tpot_ms": 2000},
		"guidellm": {"time_to_first_token_ms": 2000, "request_latency": 6, "time_per_output_token_ms": 4e3 / 3, "inter_token_latency_ms": 1000},
	} {
		check(t, figuresOf(t, tool, r), want)
	}
}
