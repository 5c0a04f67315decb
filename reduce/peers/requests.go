package peers

import (
	"encoding/json"
	"time"

	"wattrace/trace"
)

// SLO is what a request must meet to count as good: aiperf's --goodput. Unknown
// limits are none.
type SLO struct {
	TimeToFirstToken  trace.Opt[time.Duration]
	InterTokenLatency trace.Opt[time.Duration]
	RequestLatency    trace.Opt[time.Duration]
	TokensPerUser     trace.Opt[float64] // at least so many tokens/s: 1 / ITL
}

func (s SLO) set() bool {
	return s.TimeToFirstToken.OK || s.InterTokenLatency.OK || s.RequestLatency.OK || s.TokensPerUser.OK
}

// Requests gathers what the tools' formulas need of the requests of one window.
// The zero value has none. SLO and Stated are set before the first Add.
type Requests struct {
	SLO SLO
	// Stated is how long a serving benchmark says that it took, which knows it better than
	// its requests do; unknown where they have to tell.
	Stated trace.Opt[time.Duration]
	// Epoch is time 0 in Unix nanoseconds, where the tool keeps instants as doubles in Unix
	// seconds, as guidellm does; unknown is that its durations are exact.
	Epoch trace.Opt[int64]

	Sent, Succeeded, Failed, Cancelled int64
	Good                               int64 // succeeded within the SLO

	absent         bool // there is no request log
	input, output  tally
	visible        tally // output without reasoning
	firstSent      trace.Time
	lastToken      trace.Time
	tokenless      int64 // succeeded without a known last token
	firstDispatch  trace.Time
	lastDone       trace.Time // of all requests, failed ones too
	ttft, itl, e2e samples
	ttst, ttfo     samples // from the first output to the second; until the first that is no reasoning
	icl            gaps
	isl, osl       samples // tokens
	visibleLengths samples
	prefillRate    samples  // input tokens / TTFT, per second
	decode         samples  // from the first token to the last
	toDone         samples  // until the answer ended, instead of until its last token
	perToken       weighted // guidellm's time per output token, of so many
	perGap         weighted // its inter-token latency, of so many
	userRate       samples  // 1 / ITL, tokens per second
	e2eRate        samples  // output tokens / latency, per second

	vllm, trtllm, sglang served
}

// tally sums counts that some requests may not know.
type tally struct {
	sum     int64
	unknown int64
}

func (t *tally) add(n trace.Opt[int64]) {
	if v, ok := n.Get(); ok {
		t.sum += v
	} else {
		t.unknown++
	}
}

// get returns the sum, unknown if any part of it is.
func (t tally) get() trace.Opt[float64] {
	if t.unknown > 0 {
		return trace.Opt[float64]{}
	}
	return trace.Some(float64(t.sum))
}

// Add is AddFrom of a request whose clock is the window's.
func (r *Requests) Add(q *trace.Request) { r.AddFrom(q, 0) }

// AddFrom takes one request that ended; offset moves its times to the clock of the
// window, which other requests' times may be moved to by others. Every request counts once; tokens and latencies
// are those of the ones that succeeded, since no tool takes others.
func (r *Requests) AddFrom(q *trace.Request, offset time.Duration) {
	if sent := q.Sent.Add(offset); r.Sent == 0 || sent < r.firstDispatch {
		r.firstDispatch = sent
	}
	if done := q.Done.Add(offset); r.Sent == 0 || done > r.lastDone {
		r.lastDone = done
	}
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
	visible := visibleTokens(q)
	r.visible.add(visible)
	r.isl.addKnown(q.InputTokens)
	r.osl.addKnown(q.OutputTokens)
	if visible.V > 0 || q.TokenSource != trace.FromTokenizer { // of a text that is not there aiperf has no count
		r.visibleLengths.addKnown(visible)
	}
	if sent := q.Sent.Add(offset); r.Succeeded == 1 || sent < r.firstSent {
		r.firstSent = sent
	}
	r.toDone.add(r.nanos(q.Sent, q.Done, offset))
	r.latencies(q, offset)
	r.contents(q)
	r.serve(q)
}

// AddTotals counts requests of which nothing is known by themselves, and their tokens.
func (r *Requests) AddTotals(succeeded, failed int64, input, output trace.Opt[int64]) {
	r.Sent += succeeded + failed
	r.Succeeded += succeeded
	r.Failed += failed
	r.input.add(input)
	r.output.add(output)
	r.visible.add(trace.Opt[int64]{})
}

// contents takes the times of a request's events with output.
func (r *Requests) contents(q *trace.Request) {
	at, seen, last := stamps(q), 0, time.Duration(0)
	answered := false
	for i, c := range q.Chunks {
		if !c.Kind.Output() {
			continue
		}
		t := at(i)
		if c.Kind != trace.ChunkReasoning && !answered {
			answered = true
			r.ttfo.add(float64(t))
		}
		if seen > 0 {
			r.icl.add(t - last)
		}
		if seen == 1 {
			r.ttst.add(float64(t - last))
		}
		last = t
		seen++
	}
}

// latencies takes the times of a request that succeeded.
func (r *Requests) latencies(q *trace.Request, offset time.Duration) {
	last, ok := q.LastToken.Get()
	if !ok {
		r.tokenless++
		return
	}
	if at := last.Add(offset); r.e2e.Count() == 0 || at > r.lastToken {
		r.lastToken = at
	}
	e2e := last.Sub(q.Sent)
	r.e2e.add(float64(e2e))
	n := q.OutputTokens.Or(0)
	if n > 0 {
		r.perToken.add(r.nanos(q.Sent, last, offset)/float64(n), n)
		if e2e > 0 {
			r.e2eRate.add(float64(n) / float64(e2e) * 1e9)
		}
	}
	ttft, streamed := q.TTFT()
	itl, many := 0.0, streamed && n > 1
	if streamed {
		r.ttft.add(r.nanos(q.Sent, q.FirstToken.V, offset))
		r.decode.add(float64(e2e - ttft))
		if in, ok := q.InputTokens.Get(); ok && ttft > 0 {
			r.prefillRate.add(float64(in) / float64(ttft) * 1e9)
		}
	}
	if many {
		itl = float64(e2e-ttft) / float64(n-1)
		r.itl.add(itl)
		r.perGap.add(r.nanos(q.FirstToken.V, last, offset)/float64(n-1), n-1)
		if itl > 0 { // tokens that came all at once have no rate
			r.userRate.add(1e9 / itl)
		}
	}
	if r.SLO.set() && r.SLO.fast(itl) && within(r.SLO.RequestLatency, float64(e2e), true) &&
		within(r.SLO.TimeToFirstToken, float64(ttft), streamed) && within(r.SLO.InterTokenLatency, itl, many) {
		r.Good++
	}
}

// nanos is the time between two instants of a request in nanoseconds, as a difference of
// doubles where the tool has that.
func (r *Requests) nanos(from, to trace.Time, offset time.Duration) float64 {
	if !r.Epoch.OK {
		return float64(to.Sub(from))
	}
	o := Options{Epoch: r.Epoch}
	return o.between(from.Add(offset), to.Add(offset)) * 1e9
}

// fast reports whether an inter-token latency is that of enough tokens per second.
func (s SLO) fast(itl float64) bool {
	return !s.TokensPerUser.OK || itl > 0 && 1e9/itl >= s.TokensPerUser.V
}

// within reports whether a value in nanoseconds is known and within a limit, or
// there is none.
func within(limit trace.Opt[time.Duration], nanos float64, known bool) bool {
	return !limit.OK || known && nanos <= float64(limit.V)
}

// visibleTokens returns the output tokens without the reasoning, as the server's
// usage says. A usage without reasoning tokens is of an answer without reasoning,
// unless reasoning was seen arriving.
func visibleTokens(q *trace.Request) trace.Opt[int64] {
	n, ok := q.OutputTokens.Get()
	if !ok {
		return trace.Opt[int64]{}
	}
	var usage struct {
		ReasoningTokens *int64 `json:"reasoning_tokens"` // SGLang
		Details         *struct {
			ReasoningTokens *int64 `json:"reasoning_tokens"` // OpenAI and vLLM
		} `json:"completion_tokens_details"`
	}
	if json.Unmarshal(q.Usage, &usage) == nil {
		if usage.Details != nil && usage.Details.ReasoningTokens != nil {
			return trace.Some(max(n-*usage.Details.ReasoningTokens, 0))
		}
		if usage.ReasoningTokens != nil {
			return trace.Some(max(n-*usage.ReasoningTokens, 0))
		}
	}
	for _, c := range q.Chunks {
		if c.Kind == trace.ChunkReasoning {
			return trace.Opt[int64]{}
		}
	}
	return trace.Some(n)
}

// count returns the successes, as a divisor: unknown without a log.
func (r *Requests) count() trace.Opt[float64] {
	return r.have(trace.Some(float64(r.Succeeded)))
}

// have returns v, but unknown if there is no request log or no request succeeded.
func (r *Requests) have(v trace.Opt[float64]) trace.Opt[float64] {
	if r.absent || r.Succeeded == 0 {
		return trace.Opt[float64]{}
	}
	return v
}

func (r *Requests) inputTokens() trace.Opt[float64]   { return r.have(r.input.get()) }
func (r *Requests) outputTokens() trace.Opt[float64]  { return r.have(r.output.get()) }
func (r *Requests) visibleTokens() trace.Opt[float64] { return r.have(r.visible.get()) }

func (r *Requests) totalTokens() trace.Opt[float64] {
	in, out := r.inputTokens(), r.outputTokens()
	return trace.Opt[float64]{V: in.V + out.V, OK: in.OK && out.OK}
}

// span is aiperf's benchmark_duration: from the first request to the last token,
// of the requests that succeeded.
func (r *Requests) span() trace.Opt[float64] {
	if r.absent || r.e2e.Count() == 0 || r.tokenless > 0 || r.lastToken <= r.firstSent {
		return trace.Opt[float64]{}
	}
	return trace.Some(r.lastToken.Sub(r.firstSent).Seconds())
}

// spanOf is span as aiperf has it: of instants in doubles, where it is known which.
func (r *Requests) spanOf(a *Archive) trace.Opt[float64] {
	span := r.span()
	if a == nil || !a.Epoch.OK || !span.OK {
		return span
	}
	unix := func(t trace.Time) float64 { return float64(a.Epoch.V + int64(t)) }
	return trace.Some((unix(r.lastToken) - unix(r.firstSent)) / 1e9)
}

// per divides, if both are known and the divisor is above zero.
func per(a, c trace.Opt[float64]) trace.Opt[float64] {
	if !a.OK || !c.OK || c.V <= 0 {
		return trace.Opt[float64]{}
	}
	return trace.Some(a.V / c.V)
}
