package peers

import (
	"fmt"

	"wattrace/trace"
)

// trtllm is TensorRT-LLM, of which two programs publish an energy: trtllm-bench
// throughput in a section of its report, and benchmark_serving from the server's
// GET /energy_metrics. Both read every counter just before the first request and
// just after the last: here the last reading at or before the start, and the first
// at or after the end. With more ranks than devices seen the energy is scaled up, as
// if the others drew as much.
//
// By hand: two GPUs, 1000 J to 4000 J and 500 J to 3500 J in 10 s, 3000 tokens:
// 6000 J, 0.5 tokens/J, 600 W; with a world size of 4, 12000 J.
//
// Where saved answers of /energy_metrics say what the server's own meter read, that is
// benchmark_serving's energy: 500 J at 81000 s and 3500 J at 81010 s are 3000 J, 300 W.
//
// Latencies and rates are benchmark_serving's, see serve in latency.go: a request that was sent
// at 0 s, with the role at 1 s, 4 tokens at 2 to 5 s, the finish at 5 s, the usage at
// 6 s and [DONE] at 7 s has a ttft of 1 s, an e2el of 6 s and a tpot of 5/3 s.
type trtllm struct{ *Peer }

// bracket is a counter's energy from the last reading at or before the start to the
// first at or after the end.
func bracket(k *track) (float64, bool) {
	return k.after.value - k.upto.value, k.known && k.upto.ok && k.after.ok
}

// sumAll sums over the devices if all of them have the quantity, since a tool that
// reads counters itself has all of them; else it says which has not.
func sumAll(devices []*Device, of func(*Device) (float64, bool)) (sum float64, missing string) {
	for _, d := range devices {
		v, ok := of(d)
		if !ok {
			return 0, d.ID
		}
		sum += v
	}
	return sum, ""
}

// counters writes each device's part, and returns the sum; or it omits the names.
func (p *Peer) counters(b *builder, window int, of func(*track) (float64, bool), names ...string) (trace.Opt[float64], int) {
	devices := p.once("nvml")
	for _, d := range devices {
		res := DeviceResult{Device: d.DeviceInfo}
		if v, ok := of(d.tracks[window]); ok {
			res.Joules = trace.Some(v)
		}
		b.Devices = append(b.Devices, res)
	}
	sum, missing := sumAll(devices, func(d *Device) (float64, bool) { return of(d.tracks[window]) })
	switch {
	case len(devices) == 0:
		b.omitAll("no device", names...)
		return trace.Opt[float64]{}, 0
	case missing != "":
		b.omitAll("no reading of the counter on both sides of the window: "+missing, names...)
		return trace.Opt[float64]{}, 0
	}
	return trace.Some(sum), len(devices)
}

// scale is by how much trtllm-bench multiplies what it saw.
func (t trtllm) scale(devices int) float64 {
	if devices > 0 && t.opt.WorldSize > devices {
		return float64(t.opt.WorldSize) / float64(devices)
	}
	return 1
}

func (t trtllm) figures(b *builder, window int, r *Requests) {
	seconds := t.windows[window].duration()
	b.rates(r, "req/s", "tok/s")
	b.over("total_token_throughput", "tok/s", r.totalTokens(), r.benchmarkDuration(), "(total_input_tokens + total_output_tokens) / duration")
	b.goodput("request_goodput", "req/s", r, &r.trtllm)
	b.over("user_throughput", "tok/s", r.have(r.trtllm.perUser.value()), trace.Some(1.0), "mean of output tokens / e2el")
	b.milliseconds("ttft", &r.trtllm.ttft, "first event with choices - sent", "p99")
	b.milliseconds("tpot", &r.trtllm.tpot, "(e2el - ttft) / (output tokens - 1)", "p99")
	b.milliseconds("itl", &r.trtllm.itl, "gaps before events with choices, of all requests together", "p99")
	b.milliseconds("e2el", &r.trtllm.e2e, "last event but [DONE] - sent", "p99")
	names := []string{"energy.total_energy_j", "energy.output_tps_per_w", "energy.average_gpu_power", "energy.total_gpu_power_w"}
	if m, ok := t.windows[window].Metered.Get(); ok {
		t.metered(b, m, r)
		return
	}
	e, n := t.counters(b, window, bracket, names...)
	if !e.OK {
		return
	}
	e.V *= t.scale(n)
	b.Joules, b.Covered = e, n
	b.add(names[0], "J", e.V, "sum over GPUs of the counter after the last request - before the first")
	b.over(names[1], "tps/W", r.outputTokens(), e, "total_output_tokens / total_energy_j")
	b.over(names[2], "W", e, seconds, "total_energy_j / duration: trtllm-bench's name, of all GPUs")
	b.over(names[3], "W", e, seconds, "total_energy_j / duration: benchmark_serving's name")
}

// metered writes benchmark_serving's figures from two answers of the server's meter, which
// covers GPUs that no recording of ours may have.
func (t trtllm) metered(b *builder, m Metered, r *Requests) {
	e := trace.Some(m.Joules)
	b.Joules = e
	b.add("energy.total_energy_j", "J", m.Joules, "the server's total_energy_j after the run - before it")
	b.over("energy.output_tps_per_w", "tps/W", r.outputTokens(), e, "total_output_tokens / total_energy_j")
	b.over("energy.total_gpu_power_w", "W", e, trace.Some(m.Seconds), "total_energy_j / the difference of query_time")
}

// vllm is vLLM, of which two open pull requests publish an energy or power.
//
// #56354 (offline throughput, --energy-gpu-ids) reads the counters before and after
// the timed run, and omits everything if one fell. By hand: 1000 J to 3000 J in 10 s, 400
// tokens: 2000 J, 200 W, 5 J/token. #38647 (bench serve --record-power) samples the
// power of all GPUs every 5 s from the start, see recorder.
//
// Latencies and rates are those of bench serve, see serve in latency.go: a request that was
// sent at 0 s, with the role at 1 s, 4 tokens at 2 to 5 s, the finish at 5 s, the usage at
// 6 s and [DONE] at 7 s has a ttft of 1 s, an e2el of 5 s and a tpot of 4/3 s.
type vllm struct{ *Peer }

func (t vllm) figures(b *builder, window int, r *Requests) {
	seconds := t.windows[window].duration()
	b.rates(r, "requests/s", "tokens/s")
	b.over("total_token_throughput", "tokens/s", r.totalTokens(), r.benchmarkDuration(), "(total_input_tokens + total_output_tokens) / duration")
	b.goodput("request_goodput", "requests/s", r, &r.vllm)
	b.milliseconds("ttft", &r.vllm.ttft, "first event with choices - sent", "p99")
	b.milliseconds("tpot", &r.vllm.tpot, "(e2el - ttft) / (output tokens - 1)", "p99")
	b.milliseconds("itl", &r.vllm.itl, "gaps between events with choices, of all requests together", "p99")
	b.milliseconds("e2el", &r.vllm.e2e, "last event with choices - sent", "p99")
	t.counterFigures(b, window, r, seconds)
	t.recorded(b, window)
}

func (t vllm) counterFigures(b *builder, window int, r *Requests, seconds trace.Opt[float64]) {
	names := []string{"gpu_energy_j", "gpu_energy_duration_s", "gpu_avg_power_w", "gpu_energy_per_output_token_j"}
	e, n := t.counters(b, window, bracket, names...)
	if !e.OK {
		return
	}
	for _, d := range b.Devices {
		if d.Joules.V < 0 {
			b.omitAll("the energy counter of "+d.Device.ID+" was reset", names...)
			return
		}
	}
	b.Joules, b.Covered = e, n
	b.add(names[0], "J", e.V, "sum over GPUs of the counter after the run - before it")
	b.over(names[1], "s", seconds, trace.Some(1.0), "duration")
	b.over(names[2], "W", e, seconds, "gpu_energy_j / gpu_energy_duration_s")
	b.over(names[3], "J/token", e, r.outputTokens(), "gpu_energy_j / output tokens")
}

// zeus is ml-energy's Zeus: it reads each counter at begin_window and at end_window,
// and gives the difference without a word about resets. A counter shows at an instant
// what its last reading until then showed, as far as the recording can tell.
//
// By hand: 1000 J is the last reading until the start, 2500 J the last until the end,
// 10 s later: 1500 J in 10 s.
type zeus struct{ *Peer }

// edges is a counter's energy between the last readings until both edges.
func edges(k *track) (float64, bool) {
	return k.last.value - k.upto.value, k.known && k.upto.ok && k.last.ok
}

func (t zeus) figures(b *builder, window int, _ *Requests) {
	e, n := t.counters(b, window, edges, "total_energy")
	seconds := t.windows[window].duration()
	b.over("time", "s", seconds, trace.Some(1.0), "end_window - begin_window")
	if !e.OK {
		return
	}
	b.Joules, b.Covered = e, n
	for i := range b.Devices {
		d := &b.Devices[i]
		name := fmt.Sprintf("gpu_energy[%d]", d.Device.Index)
		d.Figures = append(d.Figures, Figure{name, "", "J", d.Joules.V, "the counter at the end - at the start"})
	}
	b.add("total_energy", "J", e.V, "sum of gpu_energy")
}

// mlenergy is the ML.ENERGY Benchmark 3: Zeus over its steady window, which every
// figure per token is of, and over the whole run.
//
// By hand: a steady window in which the counters rise by 8000 J and 40000 output
// tokens arrive is 0.2 J/token.
type mlenergy struct{ *Peer }

func (t mlenergy) figures(b *builder, window int, r *Requests) {
	w := &t.windows[window]
	seconds := w.duration()
	b.over("duration", "s", seconds, trace.Some(1.0), "end - start")
	b.over("completed", "requests", r.count(), trace.Some(1.0), "requests that succeeded")
	b.over("request_throughput", "requests/s", r.count(), seconds, "completed / duration")
	b.over("output_throughput", "tokens/s", r.outputTokens(), seconds, "total_output_tokens / duration")
	b.over("total_token_throughput", "tokens/s", r.totalTokens(), seconds, "(total_input_tokens + total_output_tokens) / duration")
	e, n := t.counters(b, window, edges, "entire_benchmark_measurement.gpu_energy")
	if e.OK {
		b.Joules, b.Covered = e, n
		b.add("entire_benchmark_measurement.gpu_energy", "J", e.V, "sum over GPUs of Zeus's window over the whole run")
	}
	t.steady(b, window)
}

// steady writes the figures of the steady window.
func (t mlenergy) steady(b *builder, window int) {
	names := []string{"steady_state_duration", "steady_state_energy", "steady_state_energy_per_token"}
	s, ok := t.windows[window].Steady.Get()
	if !ok {
		b.omitAll("there is no steady window: too few requests", names...)
		return
	}
	devices := t.once("nvml")
	e, missing := sumAll(devices, func(d *Device) (float64, bool) {
		if d.steady[window] == nil {
			return 0, false
		}
		return edges(d.steady[window])
	})
	if len(devices) == 0 || missing != "" {
		b.omitAll("no reading of the counter on both sides of the steady window: "+missing, names...)
		return
	}
	b.add(names[0], "s", s.End.Sub(s.Start).Seconds(), "steady_state_end_time - steady_state_start_time")
	b.add(names[1], "J", e, "sum over GPUs of Zeus's window over the steady state")
	b.over(names[2], "J/token", trace.Some(e), trace.Some(s.OutputTokens), "steady_state_energy / output tokens in it")
}
