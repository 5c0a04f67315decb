package peers

import (
	"math"
	"slices"
	"time"

	"wattrace/reduce/histogram"
	"wattrace/trace"
)

// samples are values of single requests, in nanoseconds or in what their name says.
type samples struct {
	list   []float64
	sorted bool
}

func (s *samples) add(v float64) { s.list, s.sorted = append(s.list, v), false }

// addKnown adds a number of tokens that is known.
func (s *samples) addKnown(n trace.Opt[int64]) {
	if v, ok := n.Get(); ok {
		s.add(float64(v))
	}
}

// sort puts the values in order, so that no sum depends on that of the requests.
func (s *samples) sort() []float64 {
	if !s.sorted {
		slices.Sort(s.list)
		s.sorted = true
	}
	return s.list
}

// Count, Mean, Std and Percentile are numpy's len, mean, std and percentile; of none
// they are 0.
func (s *samples) Count() int64 { return int64(len(s.list)) }

func (s *samples) Mean() float64 {
	sum := 0.0
	for _, v := range s.sort() {
		sum += v
	}
	return sum / float64(max(len(s.list), 1))
}

func (s *samples) Std() float64 {
	mean, squares := s.Mean(), 0.0
	for _, v := range s.sort() {
		squares += float64((v - mean) * (v - mean))
	}
	return math.Sqrt(squares / float64(max(len(s.list), 1)))
}

func (s *samples) Percentile(p float64) float64 {
	if len(s.list) == 0 {
		return 0
	}
	return percentile(s.sort(), p)
}

// seconds returns the mean times scale, in seconds: unknown for none.
func (s *samples) seconds(scale float64) trace.Opt[float64] {
	if len(s.list) == 0 {
		return trace.Opt[float64]{}
	}
	return trace.Some(s.Mean() * scale / 1e9)
}

// value returns the mean as it is: unknown for none.
func (s *samples) value() trace.Opt[float64] { return s.seconds(1e9) }

// mostGaps is how many gaps are kept one by one: 8 MB.
const mostGaps = 1 << 20

// gaps are those between events. Their percentiles are exact as long as there are no more
// than mostGaps, and then a histogram's.
type gaps struct {
	all  histogram.Histogram
	each samples // nothing once there are too many
}

func (g *gaps) add(d time.Duration) {
	g.all.Add(d)
	if g.all.Count() <= mostGaps {
		g.each.add(float64(d))
	} else {
		g.each.list = nil
	}
}

func (g *gaps) Count() int64  { return g.all.Count() }
func (g *gaps) Mean() float64 { return g.all.Mean() }
func (g *gaps) Std() float64  { return g.all.Std() }

func (g *gaps) Percentile(p float64) float64 {
	if g.Count() > mostGaps {
		return g.all.Percentile(p)
	}
	return g.each.Percentile(p)
}

// summary is what statistics are taken of: samples, or a histogram where there are too
// many, whose percentiles are within 0.4 %.
type summary interface {
	Count() int64
	Mean() float64
	Std() float64
	Percentile(percent float64) float64
}

// served is what a serving benchmark gathers of the requests that succeeded, in
// nanoseconds.
type served struct {
	ttft, tpot, e2e samples
	itl             histogram.Histogram
	perUser         samples // output tokens / E2E, per second
	good            int64   // all of ttft, tpot and e2e within the SLO
}

// stream follows one answer as a client does that takes some of its events for tokens.
type stream struct {
	begun       bool
	first, last time.Duration // since sent
}

// token takes an event that counts as a token.
func (s *stream) token(at time.Duration, gaps *histogram.Histogram) {
	if !s.begun {
		s.begun, s.first = true, at
	} else if gaps != nil {
		gaps.Add(at - s.last)
	}
	s.last = at
}

// serve takes a request that succeeded as the serving benchmarks do that descend from
// vLLM's. They differ in which events they see, all other arithmetic is the same.
//
//   - vLLM (vllm/benchmarks/lib/endpoint_request_func.py,
//     async_request_openai_chat_completions, at 02cfb534): an event with a non-empty
//     choices list is a token, whatever it carries, so that the role counts as the first
//     and the finish as the last. The usage at the end does not count since that version;
//     up to then it ended the request, as it still does with TensorRT-LLM.
//   - TensorRT-LLM (tensorrt_llm/serve/scripts/backend_request_func.py, at 05c4d5ec): the
//     same, but every event moves the end, the usage too, and not [DONE].
//   - SGLang (python/sglang/benchmark/serving.py, at 00f9ec47): a token is text or
//     reasoning, and no tool call; the request ends with the last line, [DONE] too.
//
// An event of our kind "other" has an empty delta, and so choices; a usage before the
// finish comes with some (continuous usage), and one after it, or at the very end, has none.
func (r *Requests) serve(q *trace.Request) {
	var vllm, trtllm, sglang stream
	end := q.Done.Sub(q.Sent)
	finished, done := false, trace.Opt[time.Duration]{}
	final := len(q.Chunks) - 1 // the last event that counts
	for final >= 0 && (q.Chunks[final].Kind == trace.ChunkDone || q.Chunks[final].Kind == trace.ChunkComment) {
		final--
	}
	at := stamps(q)
	for i, c := range q.Chunks {
		t := at(i)
		choices := false
		switch c.Kind {
		case trace.ChunkComment:
			continue
		case trace.ChunkRole, trace.ChunkContent, trace.ChunkReasoning, trace.ChunkTool, trace.ChunkOther:
			choices = true
		case trace.ChunkFinish:
			choices, finished = true, true
		case trace.ChunkUsage:
			choices = !finished && i < final
		}
		done = trace.Some(t)
		if c.Kind == trace.ChunkContent || c.Kind == trace.ChunkReasoning {
			sglang.token(t, nil)
		}
		if choices {
			vllm.token(t, &r.vllm.itl)
			trtllm.token(t, &r.trtllm.itl)
		} else if c.Kind != trace.ChunkDone {
			trtllm.last = t
		}
	}
	if len(q.Chunks) == 0 && q.FirstToken.OK && q.LastToken.OK { // a log that keeps no events
		whole := stream{true, q.FirstToken.V.Sub(q.Sent), q.LastToken.V.Sub(q.Sent)}
		vllm, trtllm, sglang = whole, whole, whole
	}
	r.shareGaps(q, at)
	last := trace.Opt[time.Duration]{V: q.LastToken.V.Sub(q.Sent), OK: q.LastToken.OK}
	r.vllm.take(q, vllm, trace.Opt[time.Duration]{V: vllm.last, OK: vllm.begun}, last, r.SLO)
	r.trtllm.take(q, trtllm, trace.Opt[time.Duration]{V: trtllm.last, OK: trtllm.begun}, last, r.SLO)
	if !sglang.begun && len(q.Chunks) == 0 { // with --disable-stream the first token is the last
		sglang = stream{true, end, end}
	}
	r.sglang.take(q, sglang, done, trace.Some(end), r.SLO)
}

// shareGaps adds SGLang's inter-token latencies: the gap before an event, divided by its
// tokens and counted once for each. It knows the tokens of the native API from the events
// and of the other by tokenising their text, for speculative decoding. Where the log does
// not know those of each event it knows the answer's, which are shared among the events
// after the first as equally as whole numbers go. With a token an event these are the gaps.
func (r *Requests) shareGaps(q *trace.Request, at func(int) time.Duration) {
	var events []int
	for i, c := range q.Chunks {
		if c.Kind == trace.ChunkContent || c.Kind == trace.ChunkReasoning {
			events = append(events, i)
		}
	}
	gaps := int64(len(events)) - 1
	tokens := max(q.OutputTokens.Or(0)-1, gaps)
	for j := int64(1); j <= gaps; j++ {
		n := j*tokens/gaps - (j-1)*tokens/gaps
		if q.ChunkTokens {
			n = max(1, int64(q.Chunks[events[j]].Tokens)) // a text has one at least
		}
		r.sglang.itl.AddN((at(events[j])-at(events[j-1]))/time.Duration(n), n)
	}
}

// stamps returns the times of a request's events since it was sent. In a log events are
// stamped to the microsecond; the first and the last with output to the nanosecond.
func stamps(q *trace.Request) func(i int) time.Duration {
	first, last := -1, -1
	for i, c := range q.Chunks {
		if c.Kind.Output() {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	return func(i int) time.Duration {
		at := q.Chunks[i].At
		switch {
		case i == first && q.FirstToken.OK:
			at = q.FirstToken.V
		case i == last && q.LastToken.OK:
			at = q.LastToken.V
		}
		return at.Sub(q.Sent)
	}
}

// take adds one request: what was seen of its stream, and when it ended, which otherwise
// stands in for where nothing was seen. A request of one token has no time per output
// token, and 0 for the goodput.
func (s *served) take(q *trace.Request, seen stream, end, otherwise trace.Opt[time.Duration], slo SLO) {
	if !end.OK {
		end = otherwise
	}
	if !end.OK {
		return
	}
	e2e, ttft := float64(end.V), float64(seen.first)
	s.e2e.add(e2e)
	if seen.begun {
		s.ttft.add(ttft)
	}
	n, known := q.OutputTokens.Get()
	if !known {
		return
	}
	if e2e > 0 {
		s.perUser.add(float64(n) / e2e * 1e9)
	}
	tpot := 0.0
	if n > 1 && seen.begun {
		tpot = (e2e - ttft) / float64(n-1)
		s.tpot.add(tpot)
	}
	if slo.set() && within(slo.TimeToFirstToken, ttft, seen.begun) && within(slo.InterTokenLatency, tpot, n <= 1 || seen.begun) && within(slo.RequestLatency, e2e, true) {
		s.good++
	}
}

// milliseconds writes statistics of a latency as the benchmarks name them:
// mean_ttft_ms, median_ttft_ms, std_ttft_ms, p99_ttft_ms. Of none they write 0, which is
// left out here.
func (b *builder) milliseconds(name string, s summary, formula string, percents ...string) {
	figure := func(prefix string, nanos float64, what string) {
		full := prefix + "_" + name + "_ms"
		if s.Count() == 0 {
			b.omit(full, "of no request, for which the tool writes 0: "+formula)
			return
		}
		b.add(full, "ms", nanos/1e6, what+" of "+formula)
	}
	figure("mean", s.Mean(), "mean")
	figure("median", s.Percentile(50), "median")
	figure("std", s.Std(), "standard deviation")
	for _, p := range percents {
		figure(p, s.Percentile(map[string]float64{"p90": 90, "p95": 95, "p99": 99, "max": 100}[p]), p)
	}
}

// benchmarkDuration is that of the serving benchmarks, whose clock runs from before the
// first request until all have ended, failed ones too.
func (r *Requests) benchmarkDuration() trace.Opt[float64] {
	if d, ok := r.Stated.Get(); ok && !r.absent && r.Sent > 0 {
		return trace.Some(d.Seconds())
	}
	if r.absent || r.Sent == 0 || r.lastDone <= r.firstDispatch {
		return trace.Opt[float64]{}
	}
	return trace.Some(r.lastDone.Sub(r.firstDispatch).Seconds())
}

// rates writes the throughputs that the serving benchmarks have in common, as
// calculate_metrics has them in vllm/benchmarks/serve.py (at 009e6d4a),
// tensorrt_llm/serve/scripts/benchmark_serving.py (at 0228a712) and
// python/sglang/benchmark/serving.py: of the requests that succeeded, over the whole
// duration.
func (b *builder) rates(r *Requests, requests, tokens string) {
	seconds := r.benchmarkDuration()
	b.over("duration", "s", seconds, trace.Some(1.0), "last request ended - first request sent")
	b.over("completed", "requests", r.count(), trace.Some(1.0), "requests that succeeded")
	b.over("request_throughput", requests, r.count(), seconds, "completed / duration")
	b.over("output_throughput", tokens, r.outputTokens(), seconds, "total_output_tokens / duration")
}

// goodput writes the requests of all limits, by the tool's own latencies, over the
// duration.
func (b *builder) goodput(name, unit string, r *Requests, s *served) {
	if r.SLO.set() {
		b.over(name, unit, r.have(trace.Some(float64(s.good))), r.benchmarkDuration(), "requests with ttft, tpot and e2el within the limits / duration")
	}
}

// aiperfLatencies writes the latencies of aiperf: the mean under the metric's tag, with
// .p50 and .p99 appended its percentiles, and in detail all that it exports (docs/metrics-reference.md of 0.12; the first
// versions called two of them ttft and ttst). Content is text, reasoning and tool calls. A
// token throughput per user is the mean over requests of the reciprocal, and not the
// reciprocal of the mean.
func (b *builder) aiperfLatencies(r *Requests, detail bool) {
	list := []aiperfMetric{
		{"request_latency", "ms", &r.e2e, 1e-6, "last token - sent"},
		{"time_to_first_token", "ms", &r.ttft, 1e-6, "first token - sent"},
		{"time_to_second_token", "ms", &r.ttst, 1e-6, "second content - first content"},
		{"time_to_first_output_token", "ms", &r.ttfo, 1e-6, "first content that is no reasoning - sent"},
		{"inter_token_latency", "ms", &r.itl, 1e-6, "(request latency - TTFT) / (output tokens - 1)"},
		{"inter_chunk_latency", "ms", &r.icl, 1e-6, "gaps between contents, of all requests together"},
		{"output_token_throughput_per_user", "tokens/sec/user", &r.userRate, 1, "1 / inter_token_latency"},
		{"e2e_output_token_throughput", "tokens/sec/user", &r.e2eRate, 1, "output tokens / request latency"},
	}
	if detail {
		list = append(list,
			aiperfMetric{"input_sequence_length", "tokens", &r.isl, 1, "input tokens"},
			aiperfMetric{"output_sequence_length", "tokens", &r.osl, 1, "output tokens, reasoning included"},
			aiperfMetric{"output_token_count", "tokens", &r.visibleLengths, 1, "output tokens without reasoning"},
			aiperfMetric{"prefill_throughput_per_user", "tokens/sec/user", &r.prefillRate, 1, "input tokens / TTFT"},
			aiperfMetric{"decode_duration", "ms", &r.decode, 1e-6, "request latency - TTFT"},
		)
	}
	for _, c := range list {
		if c.values.Count() == 0 {
			b.omit(c.name, "not known: mean of "+c.formula)
			continue
		}
		b.add(c.name, c.unit, c.values.Mean()*c.scale, "mean of "+c.formula)
		percents := everyPercent
		if !detail {
			percents = percents[:2]
		}
		for _, p := range percents {
			b.add(c.name+"."+p.name, c.unit, c.values.Percentile(p.percent)*c.scale, p.name+" of "+c.formula)
		}
		if detail {
			n := float64(c.values.Count())
			b.add(c.name+".std", c.unit, c.values.Std()*c.scale, "standard deviation of "+c.formula)
			b.add(c.name+".count", "", n, "number of "+c.formula)
			b.add(c.name+".sum", c.unit, c.values.Mean()*n*c.scale, "sum of "+c.formula)
		}
	}
}

// everyPercent are the order statistics that aiperf exports. The first two are shown
// of every run.
var everyPercent = []struct {
	name    string
	percent float64
}{
	{"p50", 50}, {"p99", 99}, {"min", 0}, {"p1", 1}, {"p5", 5}, {"p10", 10}, {"p25", 25}, {"p75", 75}, {"p90", 90}, {"p95", 95}, {"max", 100},
}

// aiperfMetric is a metric of single requests, or of gaps within them.
type aiperfMetric struct {
	name, unit string
	values     summary
	scale      float64 // to the unit, of nanoseconds or of what the values are
	formula    string
}
