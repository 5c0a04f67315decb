package peers

import (
	"maps"
	"math"
	"slices"
	"time"

	"wattrace/trace"
)

// inferencex is InferenceX's aggregate_power, power_metric_schema_version 2. Each
// GPU's power is integrated by the trapezoid rule, interpolated at both bounds;
// readings of one instant are averaged. Anything amiss withholds everything, with
// the reason codes. Watts and joules are rounded to 3 decimals, the rest to 6.
//
// By hand: samples of 400 W at 9 s, 500 W at 11 s, 13 s, 15 s, 17 s and 19 s and 300 W at
// 21 s, a window from 10 s to 20 s: 450 W at 10 s and 400 W at 20 s by interpolation, so
// (450+500)/2 * 1 + 500 * 8 + (500+400)/2 * 1 = 4925 J, 492.5 W. Without those from 13 s to
// 17 s there would be a gap of 8 s, and nothing but sampling_gap_exceeded.
//
// Its times are doubles in Unix seconds, a sample's the stamp in its file. What keeps a log
// from being read at all here (telemetry_file_unreadable, a missing column, a row without
// time or GPU) has no code: it is an error of ours that names the place.
//
// The accumulator_check is of AMD's counters, read before the log of power began and after
// it ended: their difference beside the trapezoids of all the log, GPUs of both added up.
// It decides nothing. By hand: 100 J to 2200 J beside 100 W from 0 s to 20 s: 2100 J and
// 2000 J, a relative error of 1/21, within 5 %.
//
// Sources: utils' aggregate_power.py and what it has in common with its kin (schema_version
// 1 of the sidecar power_validation_*.json).
type inferencex struct{ *Peer }

func (t inferencex) figures(b *builder, window int, r *Requests) {
	b.add("power_metric_schema_version", "", 2, "")
	defer t.accumulators(b)
	if w := &t.windows[window]; t.lasts(w) {
		b.Reasons = appendNew(t.requestReasons(w, r), t.sampleReasons(b, window)...)
	} else {
		b.Reasons = []string{"invalid_benchmark_window"}
	}
	if len(b.Reasons) > 0 {
		b.add("power_valid", "", 0, "1 if there is no reason against it")
		b.omitAll("withheld: "+b.Reasons[0], t.names()...)
		return
	}
	b.add("power_valid", "", 1, "1 if there is no reason against it")
	t.valid(b, window, r)
}

func (inferencex) names() []string {
	return []string{"avg_power_w", "avg_total_gpu_power_w", "total_gpu_energy_j",
		"joules_per_successful_query", "joules_per_input_token", "joules_per_output_token", "joules_per_total_token"}
}

// lasts reports whether the window has bounds and a duration above zero.
func (inferencex) lasts(w *Window) bool {
	return w.duration().OK && (!w.Reported.OK || w.Reported.V > 0)
}

// requestReasons are those of the benchmark's result.
func (t inferencex) requestReasons(w *Window, r *Requests) []string {
	var reasons []string
	seconds := t.seconds(w)
	if d, ok := w.Reported.Get(); ok && math.Abs(d.Seconds()-seconds) > max(0.5, seconds*0.01) {
		reasons = append(reasons, "benchmark_duration_mismatch")
	}
	for _, c := range []struct {
		v    trace.Opt[float64]
		code string
	}{
		{r.count(), "invalid_successful_query_count"}, {r.inputTokens(), "invalid_input_token_count"}, {r.outputTokens(), "invalid_output_token_count"},
	} {
		if !c.v.OK || c.v.V <= 0 {
			reasons = append(reasons, c.code)
		}
	}
	return reasons
}

// sampleReasons are those of the telemetry, and of each device.
func (t inferencex) sampleReasons(b *builder, window int) []string {
	var reasons []string
	devices, observed := t.once("nvml"), 0
	for _, d := range devices {
		if k := d.tracks[window]; k.invalid {
			reasons = appendNew(reasons, "invalid_power_sample")
		}
		if d.tracks[window].nearCount > 0 {
			observed++
		}
	}
	switch {
	case len(devices) == 0:
		return []string{"telemetry_file_missing"}
	case observed == 0:
		return appendNew(reasons, "no_usable_power_samples")
	case t.opt.ExpectDevices > 0 && observed != t.opt.ExpectDevices:
		reasons = appendNew(reasons, "expected_gpu_count_mismatch")
	}
	for _, d := range devices {
		k := d.tracks[window]
		if k.nearCount == 0 {
			continue // a GPU that no row names
		}
		res := DeviceResult{Device: d.DeviceInfo, Issues: k.issues()}
		if v, ok := k.near.value(); ok && k.nearCount > 1 {
			res.Joules = trace.Some(v)
			res.Figures = []Figure{{Name: "per_gpu_energy_j", Unit: "J", Value: v, Formula: "the trapezoid of power, interpolated at the bounds"}}
		}
		b.Devices = append(b.Devices, res)
		reasons = appendNew(reasons, res.Issues...)
	}
	return reasons
}

// issues are the reason codes of one device.
func (k *track) issues() []string {
	switch _, ok := k.near.value(); {
	case k.nearCount < 2:
		return []string{"insufficient_power_samples"}
	case !ok:
		return []string{"benchmark_window_not_bracketed"}
	case k.near.gap > nearWindow:
		return []string{"sampling_gap_exceeded"}
	}
	return nil
}

// appendNew appends the codes that are not there yet.
func appendNew(list []string, codes ...string) []string {
	for _, c := range codes {
		if !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	return list
}

// valid writes the metrics of a valid window.
func (t inferencex) valid(b *builder, window int, r *Requests) {
	seconds := t.seconds(&t.windows[window])
	total := 0.0
	for _, d := range b.Devices {
		total += d.Joules.V
	}
	b.Joules, b.Covered = trace.Some(total), len(b.Devices)
	watts := func(name string, v float64, formula string) { b.add(name, "W", round(v, 3), formula) }
	watts("avg_power_w", total/seconds/float64(len(b.Devices)), "avg_total_gpu_power_w / GPUs")
	watts("avg_total_gpu_power_w", total/seconds, "total_gpu_energy_j / window")
	b.add("total_gpu_energy_j", "J", round(total, 3), "sum over GPUs of the trapezoid of power, interpolated at the bounds")
	for i, c := range []trace.Opt[float64]{r.count(), r.inputTokens(), r.outputTokens(), r.totalTokens()} {
		name := t.names()[3+i]
		b.add(name, "J", round(total/c.V, 6), "total_gpu_energy_j / "+[]string{"completed", "total_input_tokens", "total_output_tokens", "all tokens"}[i])
	}
	t.roles(b, seconds, r)
}

// roles writes the energies of the prefill and decode GPUs over the whole window,
// idle time included: of the GPUs, not of the stages.
func (t inferencex) roles(b *builder, seconds float64, r *Requests) {
	for _, c := range []struct {
		role, per string
		tokens    trace.Opt[float64]
	}{
		{"prefill", "prefill_joules_per_input_token", r.inputTokens()}, {"decode", "decode_joules_per_output_token", r.outputTokens()},
	} {
		joules, n := roleJoules(b.Devices, c.role)
		if n == 0 {
			continue
		}
		b.add(c.role+"_gpu_energy_j", "J", round(joules, 3), "sum over the "+c.role+" GPUs")
		b.add(c.role+"_avg_power_w", "W", round(joules/seconds/float64(n), 3), c.role+"_gpu_energy_j / window / GPUs")
		b.add(c.per, "J/token", round(joules/c.tokens.V, 6), c.role+"_gpu_energy_j / tokens")
	}
}

// seconds is how long a window was, by two doubles.
func (t inferencex) seconds(w *Window) float64 { return t.opt.between(w.Start.V, w.End.V) }

// between is the time between two instants as a difference of doubles, where the epoch is
// known.
func (o *Options) between(a, b trace.Time) float64 {
	epoch, ok := o.Epoch.Get()
	if !ok {
		return b.Sub(a).Seconds()
	}
	return unixSeconds(epoch+int64(b)) - unixSeconds(epoch+int64(a))
}

// unixSeconds is the double that is nearest to an instant in decimal seconds.
func unixSeconds(nanos int64) float64 {
	const second = int64(time.Second)
	whole, rest := nanos/second, nanos%second
	return float64(whole) + float64(rest)/1e9
}

// accumulatorTolerance is by which share the counters and the trapezoids may differ.
const accumulatorTolerance = 0.05

// accumulators compares what the counters say with the whole log of power.
func (t inferencex) accumulators(b *builder) {
	if len(t.opt.Accumulated) == 0 {
		return
	}
	delta, integral, fell := 0.0, 0.0, false
	for _, index := range slices.Sorted(maps.Keys(t.opt.Accumulated)) {
		joules := t.opt.Accumulated[index]
		delta += joules
		fell = fell || joules < 0
		for _, d := range t.once("nvml") {
			if d.Index == index {
				integral += d.whole.joules
			}
		}
	}
	const name = "accumulator_check."
	b.add(name+"accumulator_delta_j", "J", delta, "sum over GPUs of the last reading of the counter minus the first")
	b.add(name+"integrated_stream_j", "J", integral, "sum over those GPUs of the trapezoid of all samples")
	if delta <= 0 {
		b.omit(name+"relative_error", "the counters did not rise")
		b.add(name+"within_tolerance", "", 0, "1 if no counter fell and the relative error is at most 0.05")
		return
	}
	off, within := math.Abs(delta-integral)/delta, 0.0
	if !fell && off <= accumulatorTolerance {
		within = 1
	}
	b.add(name+"relative_error", "1", off, "|accumulator_delta_j - integrated_stream_j| / accumulator_delta_j")
	b.add(name+"within_tolerance", "", within, "1 if no counter fell and the relative error is at most 0.05")
}

// wholeLog is the trapezoid of all samples of a device. Those of one instant are taken from
// the least to the most, which only their neighbours see.
type wholeLog struct {
	joules   float64
	at       trace.Time
	low, top float64
	last     mark // the most of the instant before
	begun    bool
}

func (s *wholeLog) add(o *Options, at trace.Time, watts float64) {
	if s.begun && at == s.at {
		s.low, s.top = min(s.low, watts), max(s.top, watts)
		return
	}
	s.close(o)
	s.begun, s.at, s.low, s.top = true, at, watts, watts
}

// close takes the samples of the last instant.
func (s *wholeLog) close(o *Options) {
	if !s.begun {
		return
	}
	if s.last.ok {
		s.joules += float64(o.between(s.last.at, s.at) * (s.last.value + s.low) / 2)
	}
	s.last, s.begun = mark{at: s.at, value: s.top, ok: true}, false
}
