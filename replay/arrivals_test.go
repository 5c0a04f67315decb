package replay

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/trace"
)

// due returns when the first n conversations of an open loop are due.
func due(t fataler, ph trace.Phase, seed uint64, n int) (all []time.Duration) {
	t.Helper()
	ph.Duration = 1 << 60
	s := scheduleOf(t, plainTurns(3), ph, seed, Shard{})
	for range n {
		_, item, ok := s.Arrival(0)
		if !ok {
			t.Fatal("no more arrivals")
		}
		all = append(all, time.Duration(item.Due))
	}
	return all
}

func rate(r float64, l trace.Load) trace.Phase {
	l.Rate = r
	return trace.Phase{Name: "p", Kind: trace.Measure, Load: l}
}

// Gaps have the mean of the rate, the spread of their kind, and its distribution
// by the test of Kolmogorov and Smirnov at 0.1 %.
func TestArrivalsAreDistributed(t *testing.T) {
	t.Parallel()
	const n = 20000
	exponential := func(x float64) float64 { return 1 - math.Exp(-x) }
	for _, test := range []struct {
		load trace.Load
		cv   float64
		cdf  func(gap float64) float64 // of gaps of mean 1
	}{
		{trace.Load{}, 1, exponential},
		{trace.Load{Arrival: trace.Poisson}, 1, exponential},
		{trace.Load{Arrival: trace.Gamma, Shape: 1}, 1, exponential},
		{trace.Load{Arrival: trace.Gamma, Shape: 4}, 0.5, func(x float64) float64 { // of Erlang
			x *= 4
			return 1 - math.Exp(-x)*(1+x+x*x/2+x*x*x/6)
		}},
		{trace.Load{Arrival: trace.Gamma, Shape: 0.5}, math.Sqrt2, func(x float64) float64 { return math.Erf(math.Sqrt(0.5 * x)) }},
	} {
		for seed := range uint64(3) {
			all := due(t, rate(20, test.load), seed, n)
			gaps := make([]float64, n)
			sum, squares := 0.0, 0.0
			for i, at := range all {
				before := time.Duration(0)
				if i > 0 {
					before = all[i-1]
				}
				gaps[i] = (at - before).Seconds() * 20
				sum += gaps[i]
				squares += gaps[i] * gaps[i]
			}
			mean := sum / n
			cv := math.Sqrt(squares/n-mean*mean) / mean
			if math.Abs(mean-1) > 4*test.cv/math.Sqrt(n) || math.Abs(cv-test.cv) > 0.05 {
				t.Errorf("%+v, seed %d: mean gap %.4f, CV %.3f, want 1 and %.3f", test.load, seed, mean, cv, test.cv)
			}
			slices.Sort(gaps)
			far := 0.0
			for i, g := range gaps {
				f := test.cdf(g)
				far = max(far, math.Abs(f-float64(i)/n), math.Abs(f-float64(i+1)/n))
			}
			if limit := 1.95 / math.Sqrt(n); far > limit {
				t.Errorf("%+v, seed %d: Kolmogorov-Smirnov %.4f, more than %.4f", test.load, seed, far, limit)
			}
		}
	}
}

func TestConstantArrivals(t *testing.T) {
	t.Parallel()
	got := due(t, rate(4, trace.Load{Arrival: trace.Constant}), 1, 4)
	if diff := cmp.Diff([]time.Duration{0, 250e6, 500e6, 750e6}, got); diff != "" {
		t.Error(diff)
	}
}

// The same seed gives the same arrivals, another one others, and another phase of
// the plan others.
func TestArrivalsAreReproducible(t *testing.T) {
	t.Parallel()
	a, b, c := due(t, rate(4, trace.Load{}), 1, 100), due(t, rate(4, trace.Load{}), 1, 100), due(t, rate(4, trace.Load{}), 2, 100)
	if !slices.Equal(a, b) || slices.Equal(a, c) {
		t.Error("the seed does not decide")
	}
	if phaseSeed(1, 1) == phaseSeed(1, 2) || phaseSeed(1, 2) == phaseSeed(2, 1) {
		t.Error("phases share their draws")
	}
}

// As vLLM's benchmark does, the last request is due at their number / rate.
func TestNormalizedArrivals(t *testing.T) {
	t.Parallel()
	ph := rate(20, trace.Load{Arrival: trace.Gamma, Shape: 0.3, Normalize: true})
	ph.Requests = 100
	s := scheduleOf(t, plainTurns(7), ph, 5, Shard{})
	last := time.Duration(0)
	for n := 0; ; n++ {
		_, item, ok := s.Arrival(0)
		if !ok {
			if n != 100 {
				t.Errorf("%d arrivals", n)
			}
			break
		}
		last = time.Duration(item.Due)
	}
	if d := last - 5*time.Second; d.Abs() > time.Microsecond {
		t.Errorf("the last is due at %v, want 5s", last)
	}
}

// A ramp is exact: by any time as many constant arrivals are due as the integral of
// the rate says.
func TestRampsAreExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := trace.Load{Arrival: trace.Constant, RampShape: rapid.SampledFrom([]trace.RampShape{trace.Linear, trace.Exponential}).Draw(t, "shape")}
		least := 0.0
		if l.RampShape == trace.Exponential {
			least = 0.1
		}
		at := time.Duration(0)
		for range rapid.IntRange(2, 4).Draw(t, "points") {
			l.Ramp = append(l.Ramp, trace.RampPoint{At: at, Value: rapid.Float64Range(least, 50).Draw(t, "value")})
			at += time.Duration(rapid.Int64Range(1e8, 3e9).Draw(t, "for"))
		}
		after := rapid.Float64Range(1, 50).Draw(t, "after")
		// The integral in small steps, by the midpoint rule.
		level := func(s float64) float64 {
			for i := 1; i < len(l.Ramp); i++ {
				a, b := l.Ramp[i-1], l.Ramp[i]
				if s >= b.At.Seconds() {
					continue
				}
				share := (s - a.At.Seconds()) / (b.At - a.At).Seconds()
				if l.RampShape == trace.Exponential {
					return a.Value * math.Pow(b.Value/a.Value, share)
				}
				return a.Value + (b.Value-a.Value)*share
			}
			return after
		}
		all := due(t, rate(after, l), 0, 100)
		sum, s := 0.0, 0.0
		for i, at := range all {
			steps := int((at.Seconds()-s)/1e-3) + 1
			step := (at.Seconds() - s) / float64(steps)
			for k := range steps {
				sum += level(s+(float64(k)+0.5)*step) * step
			}
			s = at.Seconds()
			if math.Abs(sum-float64(i)) > 2e-3*float64(i)+0.06 {
				t.Fatalf("%+v: at %v the integral is %.4f, and %d are due", l, at, sum, i)
			}
		}
	})
}

// The shards of a run together send what the whole run sends, at the same times.
func TestShardsAreTheWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ph := rate(rapid.Float64Range(0.1, 1000).Draw(t, "rate"), trace.Load{
			Order:       rapid.SampledFrom([]trace.Order{"", trace.Shuffle, trace.Random}).Draw(t, "order"),
			Repeat:      rapid.IntRange(0, 3).Draw(t, "repeat"),
			CancelShare: 0.3, CancelAfter: time.Second,
		})
		if rapid.Bool().Draw(t, "times") {
			ph.Load = trace.Load{FromTrace: true, CancelShare: 0.3, CancelAfter: time.Second, Strict: rapid.Bool().Draw(t, "strict")}
		}
		ph.Requests = rapid.Int64Range(1, 60).Draw(t, "requests")
		var turns []trace.Turn
		for c := range rapid.IntRange(1, 12).Draw(t, "conversations") {
			for k := range rapid.IntRange(1, 4).Draw(t, "turns") {
				turns = append(turns, trace.Turn{Conversation: fmt.Sprint(c), Index: k, Timing: trace.Timing{AtSeconds: trace.Some(float64(c%5 + k))}})
			}
		}
		seed := rapid.Uint64().Draw(t, "seed")
		sent := func(shard Shard) (all []string) {
			s, err := newSchedule(newLayout(turns), turns, &ph, 1, seed, shard)
			if err != nil {
				t.Fatal(err)
			}
			for {
				talk, item, ok := s.Arrival(0)
				for ; ok; item, ok = s.After(&talk, item.Due) {
					all = append(all, fmt.Sprint(item))
				}
				if talk.end == 0 {
					return all
				}
			}
		}
		whole := sent(Shard{})
		if !ph.FromTrace && int64(len(whole)) != ph.Requests {
			t.Fatalf("%d of %d requests", len(whole), ph.Requests)
		}
		n := rapid.IntRange(2, 5).Draw(t, "shards")
		var parts []string
		for i := range n {
			parts = append(parts, sent(Shard{i, n})...)
		}
		slices.Sort(whole)
		slices.Sort(parts)
		if diff := cmp.Diff(whole, parts); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestTraceTimes(t *testing.T) {
	t.Parallel()
	turns := talks("a0 b0 a1 c0 d0")
	for i, at := range []float64{10, 12, 13, 30, 31} {
		turns[i].Timing.AtSeconds = trace.Some(at)
	}
	for _, test := range []struct {
		load trace.Load
		want string
	}{
		{trace.Load{}, "0@10s 1@12s 3@30s 4@31s"},
		{trace.Load{From: 10 * time.Second}, "0@0s 1@2s 3@20s 4@21s"},
		{trace.Load{From: 11 * time.Second, To: 31 * time.Second, Speedup: 2}, "1@500ms 3@9.5s"},
		{trace.Load{MaxGap: 3 * time.Second}, "0@3s 1@5s 3@8s 4@9s"},
		{trace.Load{Strict: true, From: 10 * time.Second}, "0@0s 1@2s 2@3s 3@20s 4@21s"},
	} {
		test.load.FromTrace = true
		s := scheduleOf(t, turns, trace.Phase{Load: test.load}, 0, Shard{})
		got := ""
		for _, item, ok := s.Arrival(0); ok; _, item, ok = s.Arrival(0) {
			got += fmt.Sprintf(" %d@%v", item.Turn, time.Duration(item.Due))
		}
		if got != " "+test.want {
			t.Errorf("%+v: got%s, want %s", test.load, got, test.want)
		}
	}
	for load, want := range map[*trace.Load]string{
		{FromTrace: true, From: time.Hour}: "times: trace: nothing begins in the part of the trace from 1h0m0s on that was asked for",
	} {
		if _, err := newSchedule(newLayout(turns), turns, &trace.Phase{Load: *load}, 1, 0, Shard{}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	turns[3].Timing = trace.Timing{}
	if _, err := newSchedule(newLayout(turns), turns, &trace.Phase{Load: trace.Load{FromTrace: true}}, 1, 0, Shard{}); err == nil || err.Error() != "times: trace: turn 4 of the trace has no time (at_seconds of a side file)" {
		t.Errorf("got %v", err)
	}
}

func TestOrders(t *testing.T) {
	t.Parallel()
	order := func(l trace.Load, requests int64) (got []int) {
		s := scheduleOf(t, plainTurns(5), trace.Phase{Concurrency: 1, Load: l, Requests: requests}, 3, Shard{})
		for item, v := s.Next(0, 0, 0); v == Send; item, v = s.Next(0, 0, 0) {
			got = append(got, item.Turn)
		}
		return got
	}
	laps := order(trace.Load{Order: trace.Shuffle}, 10)
	for _, lap := range [][]int{laps[:5], laps[5:]} {
		sorted := slices.Sorted(slices.Values(lap))
		if !slices.Equal(sorted, []int{0, 1, 2, 3, 4}) || slices.Equal(lap, sorted) {
			t.Errorf("a shuffled lap is %v", lap)
		}
	}
	if slices.Equal(laps[:5], laps[5:]) {
		t.Errorf("both laps are %v", laps[:5])
	}
	counts := make([]int, 5)
	for _, turn := range order(trace.Load{Order: trace.Random}, 5000) {
		counts[turn]++
	}
	for turn, n := range counts {
		if n < 880 || n > 1120 { // 4 sigma
			t.Errorf("turn %d was drawn %d times of 5000", turn, n)
		}
	}
	if got := order(trace.Load{Order: trace.Random}, 0); len(got) != 5 {
		t.Errorf("without an end, %d random requests of 5 turns", len(got))
	}
	if got := order(trace.Load{Repeat: 2}, 0); !slices.Equal(got, []int{0, 0, 1, 1, 2, 2, 3, 3, 4, 4}) {
		t.Errorf("repeated: %v", got)
	}
}

func TestForecast(t *testing.T) {
	t.Parallel()
	plan := trace.Plan{Phases: []trace.Phase{
		rate(4, trace.Load{Arrival: trace.Constant}),
		{Name: "c", Kind: trace.Measure, Concurrency: 1},
		{Name: "t", Kind: trace.Measure, Load: trace.Load{FromTrace: true}},
	}}
	plan.Phases[0].Duration = 2 * time.Second
	turns := talks("a0 a1 b0")
	for i, at := range []float64{1, 1, 1.5} {
		turns[i].Timing.AtSeconds = trace.Some(at)
	}
	for number, want := range map[int]Forecast{
		1: {Conversations: 8, Requests: 12, Last: 1750 * time.Millisecond, Peak: 4},
		3: {Conversations: 2, Requests: 3, Last: 1500 * time.Millisecond, Peak: 2},
	} {
		got, ok, err := ForecastPhase(turns, &plan, number)
		if diff := cmp.Diff(want, got); !ok || err != nil || diff != "" {
			t.Errorf("phase %d: %v, %v %s", number, ok, err, diff)
		}
	}
	if _, ok, _ := ForecastPhase(turns, &plan, 2); ok {
		t.Error("a closed loop has a forecast")
	}
	turns[0].Timing = trace.Timing{}
	if _, _, err := ForecastPhase(turns, &plan, 3); err == nil {
		t.Error("a trace without times has a forecast")
	}
}
