package reduce

import (
	"math"
	"testing"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

const ms = trace.Time(time.Millisecond)
const sec = trace.Time(time.Second)

// gpu is a scripted device: power in watts as a function of time, a counter
// that is updated every period at phase, and no instant at which it is read
// but those that a test asks for.
type gpu struct {
	watts        func(t trace.Time) float64 // constant over whole milliseconds
	period       trace.Time
	phase        trace.Time
	resetAt      trace.Time // the counter starts again from zero; 0 is never
	energyAtMS   []float64  // joules at each millisecond, made on first use
	start, until trace.Time
}

func (g *gpu) energy(t trace.Time) float64 {
	if g.energyAtMS == nil {
		g.energyAtMS = []float64{0}
		for at := g.start; at <= g.until; at += ms {
			last := g.energyAtMS[len(g.energyAtMS)-1]
			g.energyAtMS = append(g.energyAtMS, last+g.watts(at)/1000)
		}
	}
	i := int((t - g.start) / ms)
	rest := float64((t-g.start)%ms) / float64(ms)
	return g.energyAtMS[i] + rest*(g.energyAtMS[i+1]-g.energyAtMS[i])
}

// counter is what the device's counter shows at t, in joules: whole mJ.
func (g *gpu) counter(t trace.Time) float64 {
	update := (t-g.phase-g.start)/g.period*g.period + g.phase + g.start
	update = max(update, g.start)
	e := g.energy(update)
	if g.resetAt != 0 && t >= g.resetAt {
		e -= g.energy(g.resetAt)
		e = max(e, 0)
	} else {
		e += 1e6 // the driver was loaded long ago
	}
	return math.Floor(e*1000) / 1000
}

func device(i int) sample.Device {
	return sample.Device{ID: "GPU-" + string(rune('a'+i)), Host: "node", Index: i, Source: sample.NVML, Scope: sample.ScopeGPU, Name: "test GPU"}
}

// rows fills batches by calling row for every poll.
func rows(devices []sample.Device, from, to, poll trace.Time, row func(device int, t trace.Time, r sample.Row)) []*sample.Batch {
	var out []*sample.Batch
	b := &sample.Batch{Devices: devices}
	for t := from; t <= to; t += poll {
		for d := range devices {
			row(d, t, b.Append(d, t, 0))
		}
		if b.Len() >= 50*len(devices) {
			out = append(out, b)
			b = &sample.Batch{Devices: devices}
		}
	}
	return append(out, b)
}

// reduceAll runs both passes.
func reduceAll(t *testing.T, spans []Span, hasLog bool, opt Options, batches []*sample.Batch, requests ...*trace.Request) *Report {
	t.Helper()
	r := New(trace.Clock{Host: "node"}, spans, hasLog, opt)
	for _, b := range batches {
		r.Survey(b, Recording{})
	}
	each := func(use func(phase int, q *trace.Request, offset time.Duration)) {
		for _, q := range requests {
			for i, s := range spans {
				if s.Name == q.Phase {
					use(i, q, 0)
				}
			}
		}
	}
	each(r.SurveyRequest)
	r.Start()
	for _, b := range batches {
		r.Telemetry(b, Recording{})
	}
	each(func(phase int, q *trace.Request, offset time.Duration) { r.Request(phase, q, offset) })
	rep := r.Report()
	checkFinite(t, rep)
	return rep
}

func checkFinite(t *testing.T, rep *Report) {
	t.Helper()
	for _, ph := range rep.Phases {
		all := []map[string]Metric{ph.Metrics}
		for _, d := range ph.PerDevice {
			all = append(all, d.Metrics)
			if !(d.Coverage >= 0 && d.Coverage <= 1) {
				t.Errorf("%s %s: coverage %v", ph.Name, d.Device, d.Coverage)
			}
		}
		for _, m := range all {
			for tag, metric := range m {
				if metric.Number != nil && (math.IsNaN(metric.Value) || math.IsInf(metric.Value, 0)) {
					t.Errorf("%s %s is %v", ph.Name, tag, metric.Value)
				}
				if metric.Number != nil && metric.Uncertainty != nil && !(metric.Uncertainty.Random >= 0 && metric.Uncertainty.Systematic >= 0 && !math.IsInf(metric.Uncertainty.Random+metric.Uncertainty.Systematic, 0)) {
					t.Errorf("%s %s: uncertainty %+v", ph.Name, tag, *metric.Uncertainty)
				}
			}
		}
	}
}

// value returns a metric's number, and fails without one.
func value(t *testing.T, m map[string]Metric, tag string) float64 {
	t.Helper()
	got, ok := m[tag]
	if !ok || got.Number == nil {
		t.Fatalf("no %s", tag)
	}
	return got.Value
}

func absent(t *testing.T, m map[string]Metric, tags ...string) {
	t.Helper()
	for _, tag := range tags {
		if got, ok := m[tag]; ok {
			t.Errorf("%s is there: %+v", tag, got.Number)
		}
	}
}

// warned reports whether a warning of that code stands for the phase.
func warned(rep *Report, code Code, phase string) bool {
	for _, w := range rep.Warnings {
		if w.Code == code && w.Phase == phase {
			return true
		}
	}
	return false
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %v, want %v +- %v", what, got, want, tolerance)
	}
}

func seconds(values ...float64) []time.Duration {
	var out []time.Duration
	for _, v := range values {
		out = append(out, time.Duration(v*1e9))
	}
	return out
}
