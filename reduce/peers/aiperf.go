package peers

import (
	"math"
	"strings"

	"wattrace/trace"
)

// aiperf is NVIDIA's aiperf. Its generations differ in names and numerators more
// than in how they measure.
//
// Power is the sum over GPUs of the plain mean of the samples in the phase, both
// ends inclusive; energy the sum of the counter's last reading until 666 ms after the
// end, less the last one strictly before the start however old, else the first
// since the start; a fall is clamped to zero. A GPU counts once for every source.
// Generation 3 prefers a counter that moved, else takes power times duration, and does
// not say which. (Without bounds it takes those of its scrapes; that is not
// recomputed here.)
//
// It keeps counters in megajoules, doubles, and where its own figures are to be had again
// (Archive) so are they subtracted here: on a counter of years that shows in the tenth digit.
//
// The phase lasts from just before its first request was issued until the last one ended.
// Where an [Archive] does not say when that was it is taken to be from the first request
// to the last. Since 0.12 rates are over that time; up to then, and where it is not known,
// over benchmark_duration.
//
// By hand, of one GPU: readings 1000 J at 9.5 s, 1200 J at 10.5 s, 3100 J at 19.9 s,
// 3400 J at 20.5 s, 3600 J at 21 s, and a phase from 10 s to 20 s: 3400 - 1000 =
// 2400 J, since 20.5 s is within the grace and 21 s is not. Of 4800 output tokens:
// 2 tokens/J, in generation 3 500 mJ/token.
type aiperf struct {
	*Peer
	generation int
}

// prefix is that of the tags: vendors got their own with generation 2.
func (t aiperf) prefix() string {
	if t.generation >= 2 {
		return "nvidia_"
	}
	return ""
}

// suffix is that of the headers, which only generation 1 has.
func (t aiperf) suffix(gpus int) string {
	if t.generation == 1 {
		return Cohort(gpus, 0)
	}
	return ""
}

// base is the baseline of a counter. There is one wherever there is a final reading.
func base(k *track) mark {
	if k.before.ok {
		return k.before
	}
	return k.first
}

// megajoules is how aiperf keeps a counter of whole millijoules.
func megajoules(joules float64) float64 { return math.Round(joules*1e3) * 1e-9 }

// delta is a counter's energy over a window in joules, from its baseline to final.
func delta(t *track, final mark) (float64, bool) {
	if t.doubles {
		return deltaMegajoules(t, final) * 1e6, t.known && final.ok
	}
	return max(final.value-base(t).value, 0), t.known && final.ok
}

func deltaMegajoules(t *track, final mark) float64 {
	if !t.doubles {
		return max(final.value-base(t).value, 0) / 1e6
	}
	return max(megajoules(final.value)-megajoules(base(t).value), 0)
}

// counter is the energy of one sensor over the window.
func (t aiperf) counter(k *track) (float64, bool) {
	if t.opt.Unbounded {
		return openDelta(k)
	}
	return delta(k, k.final)
}

// openDelta is a counter's energy to the end of the recording, as in aiperf's
// tables of single GPUs.
func openDelta(k *track) (float64, bool) { return delta(k, k.open) }

// total sums one quantity over the sensors, with how many have it.
func (t aiperf) total(window int, of func(*track) (float64, bool)) (sum float64, n int) {
	for _, d := range t.devices {
		if v, ok := of(d.tracks[window]); ok {
			sum += v
			n++
		}
	}
	return sum, n
}

// concurrency is that of the first profiling phase, even of another phase.
func (t aiperf) concurrency(window int) int {
	for _, w := range t.windows {
		if w.Profiling {
			return w.Concurrency
		}
	}
	return t.windows[window].Concurrency
}

func (t aiperf) figures(b *builder, window int, r *Requests) {
	w := &t.windows[window]
	t.requests(b, w, r)
	if !w.Start.OK || !w.End.OK {
		b.omitAll("the phase's start or end is not known", t.names()...)
		return
	}
	t.perDevice(b, window)
	switch t.generation {
	case 1, 2:
		t.four(b, window, r)
	case 3:
		t.twelve(b, window, r)
	}
}

// names are the tags of the generation's derived metrics.
func (t aiperf) names() []string {
	var names []string
	switch t.generation {
	case 1, 2:
		names = []string{"total_gpu_power", "total_gpu_energy", "output_tokens_per_joule", "energy_per_user"}
	case 3:
		names = append([]string{"total_gpu_power"}, needEnergy...)
	}
	for i := range names {
		names[i] = t.prefix() + names[i]
	}
	return names
}

// needEnergy are the tags of generation 3 that need an energy.
var needEnergy = []string{
	"average_gpu_power", "total_gpu_energy", "output_tokens_per_joule", "energy_per_output_token", "energy_per_total_token",
	"energy_per_request", "energy_per_user", "energy_delay_product", "performance_per_watt", "output_tps_per_watt", "goodput_per_watt",
}

// requests writes the metrics of requests that others are made of. Latency ends with
// the last token, never with the usage or [DONE]; the duration is from the first
// request sent to the last token.
//
// By hand: requests of 100 tokens from 0 s to 2 s and from 1 s to 5 s are 200 tokens in
// 5 s: 0.4 requests/sec, 40 tokens/sec, and a mean latency of 3000 ms.
func (t aiperf) requests(b *builder, w *Window, r *Requests) {
	known := func(name, unit string, v trace.Opt[float64], formula string) {
		if v.OK {
			b.add(name, unit, v.V, formula)
		} else {
			b.omit(name, "not known: "+formula)
		}
	}
	if r.absent {
		return
	}
	b.aiperfLatencies(r, w.Archive != nil)
	seconds := t.seconds(w, r)
	known("request_count", "requests", r.count(), "requests that succeeded")
	b.add("error_request_count", "requests", float64(r.Failed+r.Cancelled), "requests that did not")
	known("benchmark_duration", "sec", r.spanOf(w.Archive), "last token - first request sent")
	known("total_isl", "tokens", r.inputTokens(), "sum of input tokens")
	known("total_osl", "tokens", r.outputTokens(), "sum of output tokens, reasoning included")
	known("total_output_tokens", "tokens", r.visibleTokens(), "sum of output tokens without reasoning")
	over := "benchmark_duration"
	if w.Archive != nil && w.Archive.Observed {
		over = "phase's duration"
	}
	known("request_throughput", "requests/sec", per(r.count(), seconds), "request_count / "+over)
	known("output_token_throughput", "tokens/sec", per(r.outputTokens(), seconds), "total_osl / "+over)
	known("total_token_throughput", "tokens/sec", per(r.totalTokens(), seconds), "(total_isl + total_osl) / "+over)
	if w.Archive != nil {
		ended := trace.Some(float64(r.Sent))
		known("input_token_throughput", "tokens/sec", per(r.inputTokens(), seconds), "total_isl / "+over)
		known("completed_request_count", "requests", ended, "requests that ended")
		b.over("request_error_rate", "%", trace.Some(100*float64(r.Failed+r.Cancelled)), ended, "100 * error_request_count / completed_request_count")
	}
	if w.Archive != nil && len(w.Archive.Unknown) > 0 {
		b.omitAll("an objective that is not recomputed: "+strings.Join(w.Archive.Unknown, ", "), "good_request_count", "good_request_fraction", "goodput")
	} else if r.SLO.set() {
		b.add("good_request_count", "requests", float64(r.Good), "requests that succeeded and kept all objectives")
		b.over("good_request_fraction", "ratio", trace.Some(float64(r.Good)), trace.Some(float64(r.Sent)), "good_request_count / (request_count + error_request_count)")
		known("goodput", "requests/sec", t.goodput(w, r), "good requests / "+over)
	}
}

// seconds is what rates are over.
func (t aiperf) seconds(w *Window, r *Requests) trace.Opt[float64] {
	if w.Archive != nil && w.Archive.Observed {
		return r.have(w.duration())
	}
	return r.spanOf(w.Archive)
}

// goodput is of requests with an objective.
func (t aiperf) goodput(w *Window, r *Requests) trace.Opt[float64] {
	return per(trace.Some(float64(r.Good)), t.seconds(w, r))
}

// perDevice writes the tables of single GPUs. Up to generation 2 they run to the end of
// the recording: that is why their energies do not add up to the total. Those of 3 end
// with the grace, and so do their means, unlike that of the total power.
func (t aiperf) perDevice(b *builder, window int) {
	power, energy := "gpu_power_usage", "energy_consumption"
	if t.generation >= 2 {
		power, energy = "nvidia_power_usage", "nvidia_energy_consumption"
	}
	for _, d := range t.devices {
		k := d.tracks[window]
		res := DeviceResult{Device: d.DeviceInfo}
		if v, ok := t.counter(k); ok {
			res.Joules = trace.Some(v)
		}
		final, n, sum, until := k.open, k.openN, k.openSum, "since the start"
		if t.generation == 3 {
			final, n, sum, until = k.final, k.graceN, k.graceSum, "from the start until the grace after the end"
		}
		if k.known && n > 0 {
			res.Figures = append(res.Figures, Figure{power, "", "W", sum / n, "mean of the samples " + until})
		}
		if k.known && final.ok {
			res.Figures = append(res.Figures, Figure{energy, "", "MJ", deltaMegajoules(k, final), "last reading - baseline, " + until})
		}
		b.Devices = append(b.Devices, res)
	}
}

// four writes the metrics of generations 1 and 2. Each is omitted on its own. An
// energy of 0 J is written, and nothing per joule.
func (t aiperf) four(b *builder, window int, r *Requests) {
	prefix := t.prefix()
	power, powers := t.total(window, (*track).mean)
	joules, energies := t.total(window, t.counter)
	if powers > 0 {
		b.titled(prefix+"total_gpu_power", "Total GPU Power"+t.suffix(powers), "W", power, "sum over GPUs of the mean power sample")
	} else {
		b.omit(prefix+"total_gpu_power", "no GPU gave a power sample in the phase")
	}
	if energies == 0 {
		b.omitAll("no GPU gave an energy reading in the phase", t.names()[1:]...)
		return
	}
	b.Joules, b.Covered = trace.Some(joules), energies
	b.titled(prefix+"total_gpu_energy", "Total GPU Energy"+t.suffix(energies), "J", joules, "sum over GPUs of last reading (with grace) - baseline")
	n := len(b.Figures)
	b.over(prefix+"output_tokens_per_joule", "tokens/J", r.visibleTokens(), b.Joules, "total_output_tokens / total_gpu_energy")
	b.over(prefix+"energy_per_user", "joules/user", b.Joules, t.users(window), "total_gpu_energy / concurrency")
	for i := range b.Figures[n:] {
		f := &b.Figures[n+i]
		f.Header = map[string]string{"tokens/J": "Output Tokens per Joule", "joules/user": "Energy per User"}[f.Unit] + t.suffix(energies)
	}
}

// users is the configured concurrency: unknown without one.
func (t aiperf) users(window int) trace.Opt[float64] {
	n := t.concurrency(window)
	return trace.Opt[float64]{V: float64(n), OK: n > 0}
}

// energySource is where generation 3 has its energy from, which it does not publish.
type energySource int

const (
	unavailable energySource = iota
	fromCounter
	fromPower // mean fleet power * duration
)

// resolve gives the energy and average power of generation 3.
func (t aiperf) resolve(window int) (joules float64, watts trace.Opt[float64], n int, from energySource) {
	duration := t.windows[window].duration()
	if e, n := t.total(window, t.counter); n > 0 && e > 0 {
		return e, per(trace.Some(e), duration), n, fromCounter
	}
	if p, n := t.total(window, (*track).mean); n > 0 && p > 0 && duration.OK {
		return p * duration.V, trace.Some(p), n, fromPower
	}
	return 0, trace.Opt[float64]{}, 0, unavailable
}

// twelve writes the metrics of generation 3.
func (t aiperf) twelve(b *builder, window int, r *Requests) {
	power, powers := t.total(window, (*track).mean)
	if powers > 0 {
		b.titled("nvidia_total_gpu_power", "Total GPU Power", "W", power, "sum over GPUs of the mean power sample")
	} else {
		b.omit("nvidia_total_gpu_power", "no GPU gave a power sample in the phase")
	}
	joules, watts, n, from := t.resolve(window)
	if from == unavailable {
		b.omitAll("neither a counter that moved nor a power above zero in the phase", t.names()[1:]...)
		return
	}
	how := "sum over GPUs of last reading (with grace) - baseline"
	if from == fromPower {
		how = "total_gpu_power * duration, since no counter moved"
	}
	e := trace.Some(joules)
	b.Joules, b.Covered = e, n
	b.over("nvidia_average_gpu_power", "W", watts, trace.Some(1.0), "total_gpu_energy / duration")
	b.titled("nvidia_total_gpu_energy", "Total GPU Energy", "J", joules, how)
	mj := trace.Some(joules * 1000)
	b.over("nvidia_output_tokens_per_joule", "tokens/J", r.outputTokens(), e, "total_osl / total_gpu_energy")
	b.over("nvidia_energy_per_output_token", "mJ/token", mj, r.outputTokens(), "total_gpu_energy * 1000 / total_osl")
	b.over("nvidia_energy_per_total_token", "mJ/token", mj, r.totalTokens(), "total_gpu_energy * 1000 / (total_isl + total_osl)")
	b.over("nvidia_energy_per_request", "joules/request", e, r.count(), "total_gpu_energy / request_count")
	b.over("nvidia_energy_per_user", "joules/user", e, t.users(window), "total_gpu_energy / concurrency")
	t.perWatt(b, &t.windows[window], r, e, watts)
	t.title(b)
}

// perWatt writes the metrics of generation 3 that set rates and latencies against
// power.
func (t aiperf) perWatt(b *builder, w *Window, r *Requests, e, watts trace.Opt[float64]) {
	each, latency := per(e, r.count()), r.e2e.seconds(1)
	if each.OK && latency.OK && !r.absent {
		b.add("nvidia_energy_delay_product", "J*s", each.V*latency.V, "energy_per_request * request_latency")
	} else {
		b.omit("nvidia_energy_delay_product", "not known: energy_per_request * request_latency")
	}
	b.over("nvidia_performance_per_watt", "requests/sec/W", per(r.count(), t.seconds(w, r)), watts, "request_throughput / average_gpu_power")
	b.over("nvidia_output_tps_per_watt", "tokens/sec/W", per(r.outputTokens(), t.seconds(w, r)), watts, "output_token_throughput / average_gpu_power")
	if w.Archive != nil && len(w.Archive.Unknown) > 0 {
		b.omit("nvidia_goodput_per_watt", "an objective that is not recomputed: "+strings.Join(w.Archive.Unknown, ", "))
	} else if r.SLO.set() {
		b.over("nvidia_goodput_per_watt", "good-req/s/W", t.goodput(w, r), watts, "goodput / average_gpu_power")
	} else {
		b.omit("nvidia_goodput_per_watt", "no service level objective is set")
	}
}

// title gives the figures of generation 3 their headers.
func (t aiperf) title(b *builder) {
	for i := range b.Figures {
		if h, ok := headers[b.Figures[i].Name]; ok {
			b.Figures[i].Header = h
		}
	}
}

var headers = map[string]string{
	"nvidia_average_gpu_power":       "Average GPU Power",
	"nvidia_output_tokens_per_joule": "Output Tokens per Joule",
	"nvidia_energy_per_output_token": "Energy per Output Token",
	"nvidia_energy_per_total_token":  "Energy per Total Token",
	"nvidia_energy_per_request":      "Energy per Request",
	"nvidia_energy_per_user":         "Energy per User",
	"nvidia_energy_delay_product":    "Energy Delay Product",
	"nvidia_performance_per_watt":    "Performance per Watt",
	"nvidia_output_tps_per_watt":     "Output Tokens per Second per Watt",
	"nvidia_goodput_per_watt":        "Goodput per Watt",
}
