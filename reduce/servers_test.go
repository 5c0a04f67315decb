package reduce

import (
	"strings"
	"testing"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// served is a recording of a GPU at 100 W, and of a server whose counter of tokens is a
// function of time and is read every second.
func served(from, to trace.Time, servers int, tokens func(server int, t trace.Time) uint64) []*sample.Batch {
	b := &sample.Batch{Devices: []sample.Device{device(0)}}
	for i := range servers {
		b.Devices = append(b.Devices, sample.Device{ID: "vllm:h:" + string(rune('0'+i)), Host: "h", Source: sample.VLLM, Scope: sample.ScopeServer})
	}
	for t := from; t <= to; t += 50 * ms {
		row := b.Append(0, t, 0)
		row.Set(sample.EnergyJoules, float64(100*(t-from)/sec*10)/10+float64(t-from)/float64(sec))
		row.Set(sample.PowerWatts, 100)
		for i := range servers {
			if (t-from)%sec == 0 {
				b.Append(1+i, t, 0).SetUint(sample.GenerationTokens, tokens(i, t))
			}
		}
	}
	return []*sample.Batch{b}
}

// answered is a request with so many output tokens.
func answered(phase string, sent, done trace.Time, tokens int64) *trace.Request {
	return &trace.Request{
		Phase: phase, Sent: sent, Done: done, FirstToken: trace.Some(sent), LastToken: trace.Some(done), Outcome: trace.Succeeded,
		OutputTokens: trace.Some(tokens), InputTokens: trace.Some(int64(1)),
	}
}

func TestServerTokens(t *testing.T) {
	t.Parallel()
	spans := []Span{{Name: "p", Kind: "measure", Start: 10 * sec, End: trace.Some(30 * sec), Concurrency: 1}}
	steps := func(total uint64) func(int, trace.Time) uint64 { // between 15 s and 25 s
		return func(_ int, at trace.Time) uint64 {
			return 500 + total*uint64(min(max(at-15*sec, 0), 10*sec))/uint64(10*sec)
		}
	}
	inside := answered("p", 15*sec, 25*sec, 1000)
	failed := answered("p", 16*sec, 17*sec, 200)
	failed.Outcome, failed.Error = trace.Failed, trace.RequestError{Class: "reset"}
	crossing := answered("p", 29*sec, 31*sec, 300)
	for _, c := range []struct {
		name     string
		tokens   func(int, trace.Time) uint64
		servers  int
		requests []*trace.Request
		want     float64
		absent   bool
		disagree bool
	}{
		{name: "agree", tokens: steps(1000), servers: 1, requests: []*trace.Request{inside}, want: 1000},
		{name: "within a hundredth", tokens: steps(1010), servers: 1, requests: []*trace.Request{inside}, want: 1010},
		{name: "others use it", tokens: steps(1100), servers: 1, requests: []*trace.Request{inside}, want: 1100, disagree: true},
		{name: "the log has more", tokens: steps(900), servers: 1, requests: []*trace.Request{inside}, want: 900, disagree: true},
		{name: "failed requests", tokens: steps(1200), servers: 1, requests: []*trace.Request{inside, failed}, want: 1200},
		{name: "in flight", tokens: steps(1290), servers: 1, requests: []*trace.Request{inside, crossing}, want: 1290},
		{name: "two servers", tokens: steps(500), servers: 2, requests: []*trace.Request{inside}, want: 1000},
		{name: "read at no edge", servers: 1, requests: []*trace.Request{inside}, want: 1050, tokens: func(_ int, at trace.Time) uint64 {
			return uint64(at * 105 / (2 * sec)) // at all times: what grew in the second of each edge may be beyond it
		}},
		{name: "started anew", servers: 1, requests: []*trace.Request{inside}, absent: true, tokens: func(_ int, at trace.Time) uint64 {
			return uint64(at / sec % 20)
		}},
	} {
		rep := reduceAll(t, spans, true, Options{}, served(9*sec+500*ms, 33*sec, c.servers, c.tokens), c.requests...)
		ph := rep.Phases[0]
		if c.absent {
			absent(t, ph.Metrics, ServerGenerationTokens)
			continue
		}
		near(t, c.name, value(t, ph.Metrics, ServerGenerationTokens), c.want, 1)
		if got := warned(rep, WarnTokensDisagree, "p"); got != c.disagree {
			t.Errorf("%s: %v", c.name, rep.Warnings)
		}
		if m := ph.Metrics[ServerGenerationTokens].Method; strings.Contains(m, "2 servers") != (c.servers == 2) {
			t.Errorf("%s: %s", c.name, m)
		}
		if warned(rep, WarnMissingDevice, "p") || len(ph.PerDevice) != 1 {
			t.Errorf("%s: %v, %+v", c.name, rep.Warnings, ph.PerDevice)
		}
	}
	// Two targets, of which one server was recorded: nothing to compare.
	other := answered("p", 15*sec, 25*sec, 1000)
	other.Target = 1
	rep := reduceAll(t, spans, true, Options{}, served(9*sec, 33*sec, 1, steps(1000)), inside, other)
	if warned(rep, WarnTokensDisagree, "p") {
		t.Error(rep.Warnings)
	}
	// One that ends before the phase.
	absent(t, reduceAll(t, spans, true, Options{}, served(9*sec, 29*sec, 1, steps(1000)), inside).Phases[0].Metrics, ServerGenerationTokens)
}

// TestRowsWithoutReadings: events, failed calls and metrics of other kinds between a
// device's readings change nothing of what its readings say.
func TestRowsWithoutReadings(t *testing.T) {
	t.Parallel()
	record := func(disturbed bool) *survey {
		b := &sample.Batch{Devices: []sample.Device{device(0)}}
		for at := trace.Time(0); at < 10*sec; at += sec {
			row := b.Append(0, at, 0)
			row.Set(sample.PowerWatts, 100)
			if disturbed {
				b.Append(0, at+10*ms, 0).SetUint(sample.XIDError, 13)
				b.Append(0, at+20*ms, 0).Fail(sample.PowerWatts, "TIMEOUT")
				b.Append(0, at+30*ms, 0).Set(sample.TemperatureCelsius, 30)
			}
		}
		s := &survey{device: device(0), sensors: Sensors()}
		for i := range b.Len() {
			s.row(b, i, b.Time[i])
		}
		return s
	}
	want, got := record(false), record(true)
	if got.rows != want.rows || got.poll() != want.poll() || got.poll() < 990*time.Millisecond {
		t.Errorf("%d rows, %v apart, want %d, %v", got.rows, got.poll(), want.rows, want.poll())
	}
}

func TestSlowRefresh(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		poll, length trace.Time
		source       sample.SourceName
		want         bool
	}{
		{30 * sec, 300 * sec, sample.DCGM, true},
		{30 * sec, 700 * sec, sample.DCGM, false},
		{sec, 10 * sec, sample.NVIDIASMI, true},
		{sec, 60 * sec, sample.NVIDIASMI, false},
		{100 * ms, sec, sample.NVML, false}, // short, but nothing is slow
	} {
		d := device(0)
		d.Source = c.source
		second := device(1)
		second.Source = c.source
		for _, devices := range [][]sample.Device{{d}, {d, second}} {
			batches := rows(devices, 0, 1000*sec, c.poll, func(_ int, at trace.Time, r sample.Row) {
				r.Set(sample.EnergyJoules, float64(at/ms)/10)
				r.Set(sample.PowerWatts, 100)
			})
			rep := reduceAll(t, []Span{{Name: "p", Kind: "measure", Start: 100 * sec, End: trace.Some(100*sec + c.length)}}, true, Options{}, batches)
			n, text := 0, ""
			for _, w := range rep.Warnings {
				if w.Code == WarnSlowRefresh {
					n++
					text = w.Message
				}
			}
			if (n == 1) != c.want || n > 1 || n == 1 && strings.Contains(text, "--collect-interval") != (c.source == sample.DCGM) || n == 1 && strings.Contains(text, "2 devices have") != (len(devices) == 2) {
				t.Errorf("%+v: %v", c, rep.Warnings)
			}
		}
	}
}
