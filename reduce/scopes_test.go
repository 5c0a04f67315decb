package reduce

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
	"wattrace/trace"
)

// TestScopes has a sensor of every scope, each of which draws another power: only GPUs
// are in the totals of GPUs, and no scope is added to another.
func TestScopes(t *testing.T) {
	t.Parallel()
	devices := []sample.Device{device(0), device(1)}
	other := func(source sample.SourceName, scope sample.Scope, index int, module string) {
		devices = append(devices, sample.Device{
			ID: fmt.Sprintf("%s:node:%s:%d", source, scope, index), Host: "node", Index: index, Source: source, Scope: scope, Module: module,
		})
	}
	for _, scope := range []sample.Scope{sample.ScopeCPUPackage, sample.ScopeDRAM} {
		other(sample.RAPL, scope, 0, "")
		other(sample.RAPL, scope, 1, "")
		other(sample.HWMon, scope, 7, "") // the same once more, less often
	}
	other(sample.RAPL, sample.ScopePlatform, 0, "")
	other(sample.RAPL, sample.ScopeCPURail, 0, "")
	other(sample.RAPL, sample.ScopeIORail, 0, "")
	other(sample.VLLM, sample.ScopeServer, 0, "")
	other(sample.Recorder, sample.ScopeRun, 0, "")
	other(sample.NVML, sample.ScopeModule, 0, "node:socket0")
	other(sample.NVML, sample.ScopeModule, 1, "node:socket0")
	other(sample.HWMon, sample.ScopeModule, 3, "node:socket0")
	batches := rows(devices, 0, 30*sec, 50*ms, func(d int, at trace.Time, row sample.Row) {
		switch {
		case devices[d].Source == sample.HWMon && at%(500*ms) != 0:
			row.Set(sample.TemperatureCelsius, 40)
		case devices[d].Scope == sample.ScopeRun:
			row.Mark(sample.Mark{Event: sample.MarkNote, Phase: "a note"})
		case devices[d].Scope == sample.ScopeServer:
			row.Set(sample.RequestsRunning, 3)
		default:
			row.Set(sample.EnergyJoules, float64(at/(100*ms))*10*float64(d+1))
		}
	})
	r := reduceAll(t, nil, false, Options{}, batches)
	ph := r.Phases[0]
	seconds := *ph.DurationSeconds
	want := map[string]float64{
		TotalGPUEnergy: 100 + 200, "total_cpu_package_energy": 300 + 400, "total_dram_energy": 600 + 700,
		"total_platform_energy": 900, "total_cpu_rail_energy": 1000, "total_io_rail_energy": 1100, "total_module_energy": 1400,
	}
	got := map[string]float64{}
	for tag, m := range ph.Metrics {
		if _, ok := want[tag]; ok || m.Number != nil && m.Unit == "J" && tag != CrossCheckEnergy && tag != TotalGPUEnergyWh {
			got[tag] = math.Round(m.Value / seconds)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("watts by scope (-want +got):\n%s", d)
	}
	for _, w := range r.Warnings {
		if w.Code != WarnNoGauge {
			t.Errorf("%+v", w)
		}
	}
	if len(ph.PerDevice) != 10 || ph.Devices.Expected != 2 {
		t.Errorf("%d devices: %+v", len(ph.PerDevice), ph.PerDevice)
	}
	if last := ph.PerDevice[slices.IndexFunc(ph.PerDevice, func(d PerDevice) bool { return d.Scope == "module" })]; !slices.Equal(last.DeviceIndices, []int{0, 1}) {
		t.Errorf("%+v", last)
	}
}

// TestErrorsOfTheDriver: an XID is warned of in its phase, once for all that tell of it,
// and the row that holds it is no reading.
func TestErrorsOfTheDriver(t *testing.T) {
	t.Parallel()
	dcgm := device(0)
	dcgm.Source = sample.DCGM
	devices := []sample.Device{device(0), dcgm}
	batches := rows(devices, 0, 30*sec, 20*ms, func(d int, at trace.Time, row sample.Row) {
		if d == 0 || at%sec == 0 {
			row.Set(sample.EnergyJoules, float64(at/(100*ms))*10)
		}
	})
	xid := func(d int, at trace.Time, code uint64) {
		batches[min(int(at/sec), len(batches)-1)].Append(d, at, 0).SetUint(sample.XIDError, code)
	}
	for at := 12 * sec; at < 12*sec+300*ms; at += 2 * ms {
		xid(0, at, 31) // more rows than readings, had they been some
	}
	xid(0, 25*sec, 79)
	xid(1, 25*sec+ms, 79)
	xid(1, 26*sec, 79)
	r := New(trace.Clock{}, nil, false, Options{})
	for _, b := range batches {
		r.Survey(b, Recording{})
	}
	if poll := r.all[0].survey.poll(); poll < 19*time.Millisecond || poll > 21*time.Millisecond {
		t.Errorf("an event counts as a reading: %v", poll)
	}
	if n := r.all[1].survey.rows; n != 31 {
		t.Errorf("%d readings, want 31", n)
	}
	r.Marked([]Span{
		{Name: "a", Kind: "measure", Start: 10 * sec, End: trace.Some(20 * sec)}, {Name: "b", Kind: "measure", Start: 20 * sec, End: trace.Some(25*sec + 500*ms)},
	})
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		r.Telemetry(b, Recording{})
	}
	var got []Warning
	for _, w := range r.Report().Warnings {
		if w.Code == WarnXID {
			got = append(got, w)
		}
	}
	want := []Warning{
		{WarnXID, "node GPU 0: the driver reported XID 31, a critical error, 150 times", "a", "GPU-a"},
		{WarnXID, "node GPU 0: the driver reported XID 79, a critical error, once", "b", "GPU-a"},
		{WarnXID, "node GPU 0: the driver reported XID 79, a critical error, once", "", "GPU-a"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestWithoutGPUs: a recording of processors alone has their energy.
func TestWithoutGPUs(t *testing.T) {
	t.Parallel()
	devices := []sample.Device{{ID: "rapl:node:0", Host: "node", Source: sample.RAPL, Scope: sample.ScopeCPUPackage}}
	batches := rows(devices, 0, 30*sec, 50*ms, func(d int, at trace.Time, row sample.Row) {
		row.Set(sample.EnergyJoules, float64(at/(100*ms))*10)
	})
	r := reduceAll(t, nil, false, Options{}, batches)
	if len(r.Phases) != 1 || len(r.Warnings) != 0 {
		t.Fatalf("%d phases, %+v", len(r.Phases), r.Warnings)
	}
	m := r.Phases[0].Metrics
	near(t, "power", value(t, m, "average_cpu_package_power"), 100, 1)
	if _, ok := m[TotalGPUEnergy]; ok {
		t.Error("there is no GPU")
	}
}
