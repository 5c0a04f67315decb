package reduce

import (
	"math"
	"strings"
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
	return reduceFrom(t, Recording{}, spans, hasLog, opt, batches, requests...)
}

// reduceFrom runs both passes over a recording that was joined in some way.
func reduceFrom(t *testing.T, from Recording, spans []Span, hasLog bool, opt Options, batches []*sample.Batch, requests ...*trace.Request) *Report {
	t.Helper()
	r := New(trace.Clock{Host: "node", Anchor: trace.ClockSnapshot{UnixNanos: 1e9}}, spans, hasLog, opt)
	for _, b := range batches {
		r.Survey(b, from)
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
	each(func(phase int, q *trace.Request, offset time.Duration) { surveyRequest(r, phase, q, offset) })
	r.Start()
	for _, b := range batches {
		r.Telemetry(b, from)
	}
	each(func(phase int, q *trace.Request, offset time.Duration) { takeRequest(r, phase, q, offset) })
	rep := whole(r.Report())
	checkFinite(t, rep)
	return rep
}

// surveyRequest and takeRequest do all that is done with a request in a pass.
func surveyRequest(r *Reducer, phase int, q *trace.Request, offset time.Duration) {
	r.SurveyRequest(phase, q, offset)
	r.WeighRequest(q, offset)
}

func takeRequest(r *Reducer, phase int, q *trace.Request, offset time.Duration) trace.Opt[RequestEnergy] {
	energy := r.RequestEnergy(q, offset)
	r.Request(phase, q, offset, energy)
	return energy
}

// whole makes the slices of a report windows, as in its document.
func whole(rep *Report) *Report {
	for i := range rep.Phases {
		ph := &rep.Phases[i]
		if ph.Slices != nil {
			for slice := range ph.Slices {
				ph.Windows = append(ph.Windows, *slice)
			}
			ph.Slices = nil
		}
	}
	return rep
}

func checkFinite(t *testing.T, rep *Report) {
	t.Helper()
	for _, ph := range rep.Phases {
		checkPhase(t, &ph)
	}
}

func checkPhase(t *testing.T, ph *Phase) {
	t.Helper()
	for i := range ph.Windows {
		checkPhase(t, &ph.Windows[i])
	}
	all := []map[string]Metric{ph.Metrics}
	for _, d := range ph.PerDevice {
		all = append(all, d.Metrics)
		if !(d.Coverage >= 0 && d.Coverage <= 1) {
			t.Errorf("%s %s: coverage %v", ph.Name, d.Device, d.Coverage)
		}
	}
	for _, role := range ph.Roles {
		all = append(all, role.Metrics)
	}
	finite := func(values ...float64) bool {
		for _, v := range values {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return false
			}
		}
		return true
	}
	for _, m := range all {
		for tag, metric := range m {
			if want, ok := unitOf(tag); !ok || metric.Unit != want {
				t.Errorf("%s %s is in %q, want %q", ph.Name, tag, metric.Unit, want)
			}
			if d := metric.Distribution; d != nil && !finite(d.Mean, d.Min, d.P1, d.P99, d.Max, d.Std) {
				t.Errorf("%s %s is %+v", ph.Name, tag, *d)
			}
			n := metric.Number
			if n == nil {
				continue
			}
			if !finite(n.Value) {
				t.Errorf("%s %s is %v", ph.Name, tag, n.Value)
			}
			if u := n.Uncertainty; u != nil && !(u.Random >= 0 && u.Systematic >= 0 && finite(u.Random, u.Systematic)) {
				t.Errorf("%s %s: uncertainty %+v", ph.Name, tag, *u)
			}
			for _, e := range []*Enclosure{n.Enclosure, n.ClockRange, n.Bounds} {
				if e != nil && !(e.Low <= e.High && finite(e.Low, e.High)) {
					t.Errorf("%s %s: from %v to %v", ph.Name, tag, e.Low, e.High)
				}
			}
		}
	}
}

// units are those of all tags of a report.
var units = map[string]string{
	TotalGPUEnergy: "J", TotalGPUPower: "W", AverageGPUPower: "W", OutputTokensPerJoule: "tokens/J", EnergyPerUser: "J/user",
	EnergyPerOutputToken: "J/token", EnergyPerTotalToken: "J/token", EnergyPerRequest: "J/request", EnergyPerInputToken: "J/token",
	EnergyDelayProduct: "J*s", EnergyPerUserMeasured: "J/user", WattsPerUser: "W/user", TotalGPUEnergyWh: "Wh",
	CostPerMillionTokens: "1/Mtok", CarbonPerMillionTokens: "gCO2e/Mtok", Goodput: "requests/s", GoodputPerWatt: "requests/s/W",
	RequestsInFlight: "requests", TimeToFirstToken: "s", InterTokenLatency: "s", RequestLatency: "s",
	OutputTokenThroughput: "tokens/s", TotalTokenThroughput: "tokens/s", RequestThroughput: "requests/s",
	TimeToFirstOutputToken: "s", TimeToSecondToken: "s", TimeToFirstTokenScheduled: "s", RequestLatencyScheduled: "s", InterChunkLatency: "s",
	InterTokenLatencyPooled: "s", MaxGap: "s", NormalizedLatency: "s/token", OutputTokenThroughputPerUser: "tokens/s/user", SendLateness: "s", ClientCPU: "1",
	ClientPeakInFlight: "requests", GoodputRatio: "1", ServerGenerationTokens: "tokens",
	IdleGPUPower: "W", IdleGPUEnergy: "J", NetGPUEnergy: "J", NetEnergyPerOutputToken: "J/token",
	GPUPowerOverTime: "W", PeakGPUPower: "W", PowerLimitShare: "1", CrossCheckEnergy: "J", CrossCheckRatio: "1",
	GPUUtilization: "1", MemoryUtilization: "1", GPUTemperature: "Cel", PeakGPUTemperature: "Cel", SMClock: "Hz", PeakSMClock: "Hz", MemoryClock: "Hz",
	MemoryUsed: "By", GPUPowerLimit: "W", ThrottledTime: "s",
	PrefillEnergy: "J", EnergyOfRequests: "J", EnergyOfConversations: "J", DecodeEnergy: "J", AttributedIdleEnergy: "J", UnattributedEnergy: "J",
	PrefillEnergyPerInputToken: "J/token", DecodeEnergyPerOutputToken: "J/token",
	RoleEnergy: "J", RolePower: "W", RoleEnergyPerInputToken: "J/token", RoleEnergyPerOutputToken: "J/token",
	GPUEnergy: "J", GPUEnergyCovered: "J", GPUPower: "W", TrueGPUEnergy: "J", LastSampleGPUEnergy: "J",
	"total_module_energy": "J", "average_module_power": "W", "total_cpu_package_energy": "J", "average_cpu_package_power": "W",
	"total_dram_energy": "J", "average_dram_power": "W", "total_platform_energy": "J", "average_platform_power": "W",
	"total_cpu_rail_energy": "J", "average_cpu_rail_power": "W", "total_io_rail_energy": "J", "average_io_rail_power": "W",
}

func unitOf(tag string) (string, bool) {
	if strings.HasPrefix(tag, ThrottledTime+"_") {
		tag = ThrottledTime
	}
	unit, ok := units[tag]
	return unit, ok
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
