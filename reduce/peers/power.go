package peers

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"wattrace/trace"
)

// recordEvery is how often --record-power samples.
const recordEvery = 5 * time.Second

// recorder marks the tools that need a device's power every 5 s.
type recorder interface{ records() }

func (vllm) records()   {}
func (sglang) records() {}

// recorded writes what the power recorder of vLLM #38647 and SGLang #21034 says: it
// adds up the power of all GPUs at the start and every 5 s until the end, and gives
// percentiles of those sums. The power at an instant is that of the last sample
// until then. The original is for AMD's GPUs alone.
//
// By hand: sums of 900 W, 1000 W and 1400 W at 0 s, 5 s and 10 s, of 2 GPUs: a median
// of 1000 W, 500 W an accelerator, a p25 of 950 W and a mean of 1100 W.
func (p *Peer) recorded(b *builder, window int) (median trace.Opt[float64]) {
	sums, devices := p.ticks(window)
	names := []string{"p25_power_w", "mean_power_w", "median_power_w", "median_power_per_accelerator_w", "p75_power_w", "num_samples"}
	if len(sums) == 0 {
		b.omitAll("no instant at which all devices have a power", names...)
		return median
	}
	total := 0.0
	for _, s := range sums {
		total += s
	}
	slices.Sort(sums)
	m := percentile(sums, 50)
	b.add(names[0], "W", percentile(sums, 25), "25th percentile of the summed power, every 5 s")
	b.add(names[1], "W", total/float64(len(sums)), "mean of the summed power, every 5 s")
	b.add(names[2], "W", m, "median of the summed power, every 5 s")
	b.add(names[3], "W", m/float64(devices), "median_power_w / GPUs")
	b.add(names[4], "W", percentile(sums, 75), "75th percentile of the summed power, every 5 s")
	b.add(names[5], "samples", float64(len(sums)), "one at the start and every 5 s")
	return trace.Some(m)
}

// ticks returns the summed power of all devices at every tick that all have.
func (p *Peer) ticks(window int) (sums []float64, devices int) {
	list := p.once("nvml")
	for i := 0; ; i++ {
		sum := 0.0
		for _, d := range list {
			k := d.tracks[window]
			if i >= len(k.ticks) {
				return sums, len(list)
			}
			sum += k.ticks[i]
		}
		if len(list) == 0 {
			return nil, 0
		}
		sums = append(sums, sum)
	}
}

// percentile is numpy's default: linear between the order statistics around (n-1)q.
func percentile(sorted []float64, percent float64) float64 {
	h := float64(len(sorted)-1) * percent / 100
	i := int(h)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + float64((h-float64(i))*(sorted[i+1]-sorted[i]))
}

// sglang is the power recorder of SGLang's closed pull request #21034: tokens per
// watt are throughputs over the median power. By hand, at a median of 1000 W: 2000
// output tokens/s are 2 tokens/s/W.
//
// Latencies and rates are those of its serving benchmark, see serve in latency.go: a request
// that was sent at 0 s, with the role at 1 s, 4 tokens at 2 to 5 s, the finish at 5 s, the
// usage at 6 s and [DONE] at 7 s has a ttft of 2 s, an e2e_latency of 7 s and a tpot of
// 5/3 s. Its names are those of the file that it writes.
type sglang struct{ *Peer }

func (t sglang) figures(b *builder, window int, r *Requests) {
	seconds := r.benchmarkDuration()
	b.rates(r, "req/s", "tok/s")
	b.over("input_throughput", "tok/s", r.inputTokens(), seconds, "total_input_tokens / duration")
	b.over("total_throughput", "tok/s", r.totalTokens(), seconds, "(total_input_tokens + total_output_tokens) / duration")
	b.milliseconds("ttft", &r.sglang.ttft, "first text or reasoning - sent", "p99")
	b.milliseconds("tpot", &r.sglang.tpot, "(e2e_latency - ttft) / (output tokens - 1)", "p99")
	b.milliseconds("itl", &r.sglang.itl, "gaps between texts / tokens, of all requests together", "p95", "p99", "max")
	b.milliseconds("e2e_latency", &r.sglang.e2e, "last line, [DONE] too - sent", "p90", "p99")
	b.over("concurrency", "requests", r.have(trace.Some(r.sglang.e2e.Mean()*float64(r.sglang.e2e.Count())/1e9)), seconds, "sum of e2e_latency / duration")
	m := t.recorded(b, window)
	b.over("input_toks_per_watt", "tok/s/W", per(r.inputTokens(), seconds), m, "input_throughput / median_power_w")
	b.over("output_toks_per_watt", "tok/s/W", per(r.outputTokens(), seconds), m, "output_throughput / median_power_w")
	b.over("total_toks_per_watt", "tok/s/W", per(r.totalTokens(), seconds), m, "total_throughput / median_power_w")
	if m.OK && seconds.OK {
		_, b.Covered = t.ticks(window)
	}
}

// round rounds the decimal digits of v, half to even on the exact value, as Python
// and C do.
func round(v float64, decimals int) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'f', decimals, 64), 64)
	if err != nil {
		return v
	}
	return r
}

// srtslurm is the power and energy report of NVIDIA's srt-slurm: each bound moves to
// the nearest sample within 3 s, and the trapezoids between the two are summed,
// without interpolation. Watts are the energy over the window as it was.
//
// By hand: samples of 400 W at 9.6 s and 600 W at 19.6 s, a window from 10 s to 20 s:
// 5000 J of the 10 s between the samples, 500 W.
//
// Its window is from the first request of the measured phase that succeeded to the end of
// the last, or the result's own (analysis/power_energy_report.py at 12fa41fd). Energies of
// CPUs, and what is combined of both, are not recomputed.
type srtslurm struct{ *Peer }

// snapped is the energy between the samples nearest to the bounds.
func snapped(k *track) (float64, bool) {
	a, okA := snap(k.snapA0, k.snapA1, k.a)
	b, okB := snap(k.snapB0, k.snapB1, k.b)
	return b.sum - a.sum, k.known && okA && okB && a.at < b.at
}

// snap returns the nearer of two marks, the earlier of equals.
func snap(before, since mark, at trace.Time) (mark, bool) {
	best := before
	if !before.ok || since.ok && since.at.Sub(at) < at.Sub(before.at) {
		best = since
	}
	return best, best.ok && best.at.Sub(at).Abs() <= nearWindow
}

func (t srtslurm) figures(b *builder, window int, r *Requests) {
	total, n, hosts := 0.0, 0, map[string]float64{}
	for _, d := range t.once("dcgm") {
		v, ok := snapped(d.tracks[window])
		res := DeviceResult{Device: d.DeviceInfo}
		if ok {
			res.Joules = trace.Some(v)
			res.Figures = []Figure{{Name: "gpu_per_device", Unit: "J", Value: v, Formula: "the trapezoid between the samples nearest to the bounds"}}
			total += v
			n++
			hosts[d.Host] += v
		}
		b.Devices = append(b.Devices, res)
	}
	names := []string{"gpu_total_joules", "joules_per_output_token", "joules_per_total_token",
		"perf_per_watt.gpu_avg_power_w", "perf_per_watt.output_tokens_per_second_per_gpu_watt"}
	if n == 0 {
		b.omitAll("no GPU has samples within 3 s of both bounds", names...)
		return
	}
	e, seconds := trace.Some(total), t.windows[window].duration()
	b.Joules, b.Covered = e, n
	b.add(names[0], "J", total, "sum over GPUs of the trapezoid between the samples nearest to the bounds")
	b.over(names[1], "J/token", e, r.outputTokens(), "gpu_total_joules / total_osl")
	b.over(names[2], "J/token", e, r.totalTokens(), "gpu_total_joules / (total_isl + total_osl)")
	b.over(names[3], "W", e, seconds, "gpu_total_joules / window")
	b.over(names[4], "tokens/s/W", per(r.outputTokens(), seconds), per(e, seconds), "output tokens per second / gpu_avg_power_w")
	for _, role := range []string{"prefill", "decode", "agg"} {
		if joules, n := roleJoules(b.Devices, role); n > 0 {
			b.add(fmt.Sprintf("gpu_per_role.%s", role), "J", joules, "sum over the "+role+" GPUs")
		}
	}
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		if host != "" {
			b.add("gpu_per_node."+host, "J", hosts[host], "sum over the GPUs of the host")
		}
	}
}

// roleJoules adds up the energies of the GPUs of a role.
func roleJoules(devices []DeviceResult, role string) (sum float64, n int) {
	for _, d := range devices {
		if v, ok := d.Joules.Get(); ok && d.Device.Role == role {
			sum += v
			n++
		}
	}
	return sum, n
}
