package peers

import (
	"math"
	"slices"
	"time"

	"wattrace/trace"
)

// RecordMetric is a metric of one request as aiperf writes it to
// profile_export.jsonl: one value, or a List.
type RecordMetric struct {
	Tag, Unit string
	Value     float64
	List      []float64
}

// SummaryMetric is a metric of a run as aiperf writes it to
// profile_export_aiperf.json. One of requests is a distribution; others are Avg alone.
type SummaryMetric struct {
	Tag, Unit    string
	Avg          float64
	Distribution bool
	Percentiles  [len(Percents)]float64 // at Percents, as numpy's percentile
	Min, Max     float64
	Std          float64 // of the whole population
	Count        int64
	Sum          float64
}

// Percents are aiperf's percentiles.
var Percents = [...]float64{1, 5, 10, 25, 50, 75, 90, 95, 99}

// AIPerfExport makes the metrics that aiperf's files have, by the formulas of
// [Requests]. It holds 16 B at most for each request and metric; of the gaps between events a million
// are kept, and of more a histogram, by which their percentiles are within 0.4 %. The
// zero value is ready.
//
// By hand: a request that was sent at 0 s, with contents at 1, 2 and 4 s, 10 input tokens
// and 3 output tokens, has a time_to_first_token of 1000 ms, a request_latency of 4000 ms,
// an inter_token_latency of 1500 ms, an inter_chunk_latency of [1000, 2000] ms and a
// prefill_throughput_per_user of 10 tokens/sec/user.
type AIPerfExport struct {
	all    Requests
	values map[string]*samples
	units  map[string]string
	gaps   gaps
	list   []RecordMetric
}

// Record returns the metrics of a request; the list is valid until the next call. Where
// it counts, they go into the summary.
func (x *AIPerfExport) Record(q *trace.Request, counts bool) []RecordMetric {
	x.list = x.list[:0]
	if q.Outcome == trace.Succeeded {
		x.record(q)
	} else {
		x.add("error_request_count", "requests", 1)
	}
	if !counts {
		return x.list
	}
	x.all.countFrom(q)
	if q.Outcome != trace.Succeeded {
		return x.list
	}
	if x.values == nil {
		x.values, x.units = map[string]*samples{}, map[string]string{}
	}
	for _, m := range x.list {
		if m.List != nil {
			for _, ms := range m.List {
				x.gaps.add(time.Duration(math.Round(ms * 1e6)))
			}
			continue
		}
		if x.values[m.Tag] == nil {
			x.values[m.Tag], x.units[m.Tag] = new(samples), m.Unit
		}
		x.values[m.Tag].add(m.Value)
	}
	return x.list
}

// countFrom is AddFrom for what totals need alone.
func (r *Requests) countFrom(q *trace.Request) {
	r.Sent++
	switch q.Outcome {
	case trace.Failed:
		r.Failed++
		return
	case trace.Cancelled:
		r.Cancelled++
		return
	}
	r.Succeeded++
	r.input.add(q.InputTokens)
	r.output.add(q.OutputTokens)
	r.visible.add(visibleTokens(q))
	if r.Succeeded == 1 || q.Sent < r.firstSent {
		r.firstSent = q.Sent
	}
	r.latencies(q, 0)
}

func (x *AIPerfExport) add(tag, unit string, v float64) {
	x.list = append(x.list, RecordMetric{Tag: tag, Unit: unit, Value: v})
}

func (x *AIPerfExport) record(q *trace.Request) {
	const ms = 1e6
	if n, ok := q.InputTokens.Get(); ok {
		x.add("input_sequence_length", "tokens", float64(n))
	}
	x.tokens(q)
	e2e, whole := q.E2E()
	if whole {
		x.add("request_latency", "ms", float64(e2e)/ms)
	}
	ttft, streamed := q.TTFT()
	if streamed {
		x.add("time_to_first_token", "ms", float64(ttft)/ms)
		if n, ok := q.InputTokens.Get(); ok && ttft > 0 {
			x.add("prefill_throughput_per_user", "tokens/sec/user", float64(n)/ttft.Seconds())
		}
	}
	n := q.OutputTokens.Or(0)
	if whole && streamed && n > 1 {
		itl := float64(e2e-ttft) / float64(n-1)
		x.add("inter_token_latency", "ms", itl/ms)
		if itl > 0 {
			x.add("output_token_throughput_per_user", "tokens/sec/user", 1e9/itl)
		}
	}
	if whole && n > 0 && e2e > 0 {
		x.add("e2e_output_token_throughput", "tokens/sec/user", float64(n)/float64(e2e)*1e9)
	}
	x.events(q)
}

// tokens writes the output tokens and their parts.
func (x *AIPerfExport) tokens(q *trace.Request) {
	n, ok := q.OutputTokens.Get()
	if !ok {
		return
	}
	x.add("output_sequence_length", "tokens", float64(n))
	if visible, ok := visibleTokens(q).Get(); ok {
		x.add("output_token_count", "tokens", float64(visible))
		if visible < n {
			x.add("reasoning_token_count", "tokens", float64(n-visible))
		}
	}
	if q.TokenSource == trace.FromUsage {
		x.add("usage_completion_tokens", "tokens", float64(n))
		if in, ok := q.InputTokens.Get(); ok {
			x.add("usage_prompt_tokens", "tokens", float64(in))
		}
	}
}

// events writes the times of the events with output.
func (x *AIPerfExport) events(q *trace.Request) {
	const ms = 1e6
	at, seen, last, answered := stamps(q), 0, time.Duration(0), false
	var gaps []float64
	for i, c := range q.Chunks {
		if !c.Kind.Output() {
			continue
		}
		t := at(i)
		if c.Kind != trace.ChunkReasoning && !answered {
			answered = true
			x.add("time_to_first_output_token", "ms", float64(t)/ms)
		}
		if seen > 0 {
			gaps = append(gaps, float64(t-last)/ms)
		}
		if seen == 1 {
			x.add("time_to_second_token", "ms", float64(t-last)/ms)
		}
		last = t
		seen++
	}
	if len(gaps) > 0 {
		x.list = append(x.list, RecordMetric{Tag: "inter_chunk_latency", Unit: "ms", List: gaps})
	}
}

// Summary returns the metrics of the run, by tag.
func (x *AIPerfExport) Summary() []SummaryMetric {
	var list []SummaryMetric
	for tag, s := range x.values {
		sorted := s.sort()
		m := distribution(tag, x.units[tag], s)
		m.Min, m.Max = sorted[0], sorted[len(sorted)-1]
		for _, v := range sorted {
			m.Sum += v
		}
		list = append(list, m)
	}
	if x.gaps.Count() > 0 {
		const ms = 1e6
		m := distribution("inter_chunk_latency", "ms", &x.gaps)
		m.Min, m.Max = float64(x.gaps.all.Min()), float64(x.gaps.all.Max())
		for _, v := range []*float64{&m.Avg, &m.Std, &m.Min, &m.Max} {
			*v /= ms
		}
		for i := range m.Percentiles {
			m.Percentiles[i] /= ms
		}
		m.Sum = m.Avg * float64(m.Count)
		list = append(list, m)
	}
	r := &x.all
	known := func(tag, unit string, v trace.Opt[float64]) {
		if v.OK {
			list = append(list, SummaryMetric{Tag: tag, Unit: unit, Avg: v.V})
		}
	}
	known("request_count", "requests", trace.Some(float64(r.Succeeded)))
	if r.Failed+r.Cancelled > 0 {
		known("error_request_count", "requests", trace.Some(float64(r.Failed+r.Cancelled)))
	}
	known("benchmark_duration", "sec", r.span())
	known("total_isl", "tokens", r.inputTokens())
	known("total_osl", "tokens", r.outputTokens())
	known("total_output_tokens", "tokens", r.visibleTokens())
	known("request_throughput", "requests/sec", per(r.count(), r.span()))
	known("output_token_throughput", "tokens/sec", per(r.outputTokens(), r.span()))
	known("total_token_throughput", "tokens/sec", per(r.totalTokens(), r.span()))
	slices.SortFunc(list, func(a, b SummaryMetric) int {
		if a.Tag < b.Tag {
			return -1
		}
		return 1
	})
	return list
}

func distribution(tag, unit string, s summary) SummaryMetric {
	m := SummaryMetric{Tag: tag, Unit: unit, Avg: s.Mean(), Distribution: true, Std: s.Std(), Count: s.Count()}
	for i, p := range Percents {
		m.Percentiles[i] = s.Percentile(p)
	}
	return m
}
