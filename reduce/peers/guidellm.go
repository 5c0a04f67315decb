package peers

import (
	"cmp"
	"slices"
)

// guidellm measures no energy; its latencies bear names that others use for
// something else. The time per output token counts the first token's time too; a
// request ends when its stream does, not at its last token; rates are over the whole
// window. Values are of the requests that succeeded
// (src/guidellm/schemas/request_stats.py, at 06cef291).
//
// In the mean and the percentiles of the time per output token a request weighs as many
// as it has output tokens, in those of the inter-token latency one less
// (GenerativeMetrics.compile in benchmark/schemas/metrics.py of 0.8.1): long answers
// count for more than in the other tools' figures. Percentiles are not interpolated:
// each is the first of the values in order up to which the probabilities add up to it
// (Percentiles.from_pdf in schemas/base/statistics.py of 0.8.1).
//
// By hand: a request sent at 0 s, tokens from 1 s to 4 s, done at 4.5 s, 16 tokens: a
// latency of 4.5 s, 250 ms per output token, an inter-token latency of 200 ms. With
// another of 4 tokens and 500 ms per output token the mean is (16 250 + 4 500)/20 = 300
// ms, the p50 250 ms, the p99 500 ms.
type guidellm struct{ *Peer }

func (t guidellm) figures(b *builder, window int, r *Requests) {
	seconds := t.windows[window].duration()
	if r.Epoch.OK && seconds.OK {
		seconds.V = t.opt.between(t.windows[window].Start.V, t.windows[window].End.V)
	}
	latency := func(name, unit string, w *weighted, scale float64, formula string) {
		if r.absent || len(w.list) == 0 {
			b.omit(name, "not known: mean of "+formula)
			return
		}
		mean, percentiles := w.summary(0.5, 0.95, 0.99)
		b.add(name, unit, mean*scale/1e9, "mean of "+formula)
		for i, p := range []string{"p50", "p95", "p99"} {
			b.add(name+"."+p, unit, percentiles[i]*scale/1e9, p+" of "+formula)
		}
	}
	latency("request_latency", "s", r.toDone.weighted(), 1, "end - start")
	latency("time_to_first_token_ms", "ms", r.ttft.weighted(), 1e3, "first token - start")
	latency("time_to_first_output_token_ms", "ms", r.ttfo.weighted(), 1e3, "first token that is no reasoning - start")
	latency("time_per_output_token_ms", "ms", &r.perToken, 1e3, "(last token - start) / output tokens, a request as often as it has tokens")
	latency("inter_token_latency_ms", "ms", &r.perGap, 1e3, "(last token - first token) / (output tokens - 1), a request as often as it has gaps")
	b.over("prompt_token_count", "tokens", r.inputTokens(), r.count(), "mean of input tokens")
	b.over("output_token_count", "tokens", r.outputTokens(), r.count(), "mean of output tokens")
	b.over("requests_per_second", "requests/s", r.count(), seconds, "requests that succeeded / window")
	b.over("output_tokens_per_second", "tokens/s", r.outputTokens(), seconds, "output tokens / window")
	b.over("tokens_per_second", "tokens/s", r.totalTokens(), seconds, "all tokens / window")
}

// weighted are values, each with a weight: DistributionSummary.from_values of guidellm.
type weighted struct{ list []weightedValue }

type weightedValue struct {
	value  float64
	weight int64
}

func (w *weighted) add(value float64, weight int64) {
	w.list = append(w.list, weightedValue{value, weight})
}

// weighted gives each value the same weight.
func (s *samples) weighted() *weighted {
	w := new(weighted)
	for _, v := range s.list {
		w.add(v, 1)
	}
	return w
}

// summary returns the mean and percentiles, of at least one value with a weight above 0.
// The probabilities are added up as guidellm does it, equal values taken together:
// ten times 0.01 is less than 0.1.
func (w *weighted) summary(probabilities ...float64) (mean float64, percentiles []float64) {
	slices.SortFunc(w.list, func(a, b weightedValue) int { return cmp.Compare(a.value, b.value) })
	var pdf []weightedValue
	total := int64(0)
	for _, v := range w.list {
		total += v.weight
		if n := len(pdf); n > 0 && pdf[n-1].value == v.value {
			pdf[n-1].weight += v.weight
		} else {
			pdf = append(pdf, v)
		}
	}
	cumulative := make([]float64, len(pdf))
	sum := 0.0
	for i, v := range pdf {
		p := float64(v.weight) / float64(total)
		mean += float64(v.value * p)
		sum += p
		cumulative[i] = sum
	}
	for _, p := range probabilities {
		i, _ := slices.BinarySearch(cumulative, p)
		percentiles = append(percentiles, pdf[min(i, len(pdf)-1)].value)
	}
	return mean, percentiles
}
