package peers

import "wattrace/trace"

// guidellm measures no energy; its latencies bear names that others use for
// something else. The time per output token counts the first token's time too; a
// request ends when its stream does, not at its last token; rates are over the whole
// window. Values are means over the requests that succeeded
// (src/guidellm/schemas/request_stats.py, at 06cef291).
//
// By hand: a request sent at 0 s, tokens from 1 s to 4 s, done at 4.5 s, 16 tokens: a
// latency of 4.5 s, 250 ms per output token, an inter-token latency of 200 ms.
type guidellm struct{ *Peer }

func (t guidellm) figures(b *builder, window int, r *Requests) {
	seconds, one := t.windows[window].duration(), trace.Some(1.0)
	latency := func(name, unit string, m *samples, scale float64, formula string) {
		b.over(name, unit, r.have(m.seconds(scale)), one, formula)
	}
	latency("request_latency", "s", &r.toDone, 1, "mean of end - start")
	latency("time_to_first_token_ms", "ms", &r.ttft, 1e3, "mean of first token - start")
	latency("time_to_first_output_token_ms", "ms", &r.ttfo, 1e3, "mean of first token that is no reasoning - start")
	latency("time_per_output_token_ms", "ms", &r.perToken, 1e3, "mean of (last token - start) / output tokens")
	latency("inter_token_latency_ms", "ms", &r.itl, 1e3, "mean of (last token - first token) / (output tokens - 1)")
	b.over("prompt_token_count", "tokens", r.inputTokens(), r.count(), "mean of input tokens")
	b.over("output_token_count", "tokens", r.outputTokens(), r.count(), "mean of output tokens")
	b.over("requests_per_second", "requests/s", r.count(), seconds, "requests that succeeded / window")
	b.over("output_tokens_per_second", "tokens/s", r.outputTokens(), seconds, "output tokens / window")
	b.over("tokens_per_second", "tokens/s", r.totalTokens(), seconds, "all tokens / window")
}
