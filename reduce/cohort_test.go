package reduce

import (
	"math"
	"slices"
	"testing"

	"wattrace/sample"
	"wattrace/trace"
)

// meter is a device whose gauge and counter follow a power, in the scopes it has.
func meterRows(devices []sample.Device, watts func(d int) func(trace.Time) float64, until trace.Time) []*sample.Batch {
	gpus := make([]*gpu, len(devices))
	for i := range gpus {
		gpus[i] = &gpu{watts: watts(i), period: 100 * ms, phase: 30 * ms, until: until + sec}
	}
	return rows(devices, 0, until, 20*ms, func(d int, t trace.Time, r sample.Row) {
		r.Set(sample.EnergyJoules, gpus[d].counter(t))
	})
}

func numbered(host string, n int) []sample.Device {
	var list []sample.Device
	for i := range n {
		list = append(list, sample.Device{ID: host + "-" + string(rune('0'+i)), Host: host, Index: i, Source: sample.NVML, Scope: sample.ScopeGPU, Name: "GB200"})
	}
	return list
}

// TestModulesCountOnce has four GPUs on two modules, each of which reports the
// module's power as well: there are two modules, and they are not added to the GPUs.
func TestModulesCountOnce(t *testing.T) {
	for _, named := range []bool{false, true} {
		devices := numbered("node", 4)
		for i := range 4 {
			d := devices[i]
			d.Scope = sample.ScopeModule
			if named {
				d.Module = "node:" + string(rune('0'+i/2))
			}
			devices = append(devices, d)
		}
		batches := meterRows(devices, func(d int) func(trace.Time) float64 {
			if d < 4 {
				return flat(500 + float64(d))
			}
			return flat(1300 + 100*float64((d-4)/2))
		}, 20*sec)
		rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches)
		ph := rep.Phases[0]
		near(t, "GPUs", value(t, ph.Metrics, TotalGPUEnergy), 20060, 20)
		near(t, "modules", value(t, ph.Metrics, "total_module_energy"), 27000, 20)
		near(t, "modules' power", value(t, ph.Metrics, "average_module_power"), 2700, 2)
		modules := 0
		for _, d := range ph.PerDevice {
			if d.Scope == "module" {
				if want := []int{2 * modules, 2*modules + 1}; !slices.Equal(d.DeviceIndices, want) {
					t.Errorf("module %d is that of GPUs %v", modules, d.DeviceIndices)
				}
				modules++
			}
		}
		if modules != 2 || ph.Metrics["total_module_energy"].DevicesCovered != 2 {
			t.Errorf("named %v: %d modules", named, modules)
		}
		if ph.Devices.Seen != 4 {
			t.Errorf("%d GPUs", ph.Devices.Seen)
		}
	}
}

// TestRolesOnThreeHosts has prefill on one host and decode on two, one of which lacks
// a GPU.
func TestRolesOnThreeHosts(t *testing.T) {
	var devices []sample.Device
	var topology []Member
	for h, host := range []string{"a", "b", "c"} {
		role := "decode"
		if h == 0 {
			role = "prefill"
		}
		for i := range 4 {
			topology = append(topology, Member{Host: host, Index: i, Role: role, Worker: host})
		}
		devices = append(devices, numbered(host, 4)...)
	}
	devices = devices[:11] // c lacks its last
	batches := meterRows(devices, func(int) func(trace.Time) float64 { return flat(400) }, 20*sec)
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{Topology: topology}, batches,
		succeeded("p", 6*sec, 7*sec, 14*sec, 1000, 500))
	ph := rep.Phases[0]
	if d := ph.Devices; d.Expected != 12 || d.Seen != 11 || !slices.Equal(d.Missing, []string{"c GPU 3"}) {
		t.Errorf("devices: %+v", d)
	}
	if !warned(rep, WarnMissingDevice, "p") {
		t.Error("no warning")
	}
	if len(ph.Roles) != 2 || ph.Roles[0].Role != "decode" || ph.Roles[1].Role != "prefill" {
		t.Fatalf("roles: %+v", ph.Roles)
	}
	decode, prefill := ph.Roles[0], ph.Roles[1]
	if d := decode.Devices; d.Expected != 8 || d.Seen != 7 || !slices.Equal(d.Missing, []string{"c GPU 3"}) {
		t.Errorf("decode: %+v", d)
	}
	near(t, "prefill", value(t, prefill.Metrics, RoleEnergy), 16000, 20)
	near(t, "decode", value(t, decode.Metrics, RoleEnergy), 28000, 30)
	near(t, "prefill per input token", value(t, prefill.Metrics, RoleEnergyPerInputToken), 16, 0.02)
	near(t, "decode per output token", value(t, decode.Metrics, RoleEnergyPerOutputToken), 56, 0.06)
	if ph.PerDevice[0].Role != "prefill" || ph.PerDevice[10].Worker != "c" {
		t.Errorf("devices' roles: %+v", ph.PerDevice[0])
	}
}

func TestDevicesOutsideTheTopologyAreLeftOut(t *testing.T) {
	batches := meterRows(numbered("a", 3), func(int) func(trace.Time) float64 { return flat(400) }, 20*sec)
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{Topology: []Member{{Device: "a-1"}, {Host: "a", Index: 2}}}, batches)
	if d := rep.Phases[0].Devices; d.Expected != 2 || d.Seen != 2 {
		t.Errorf("%+v", d)
	}
	near(t, "energy", value(t, rep.Phases[0].Metrics, TotalGPUEnergy), 8000, 10)
	if !warned(rep, WarnOutside, "") || slices.Contains(rep.Incomplete(), WarnOutside) {
		t.Errorf("%+v", rep.Warnings)
	}
}

func TestTwoSourcesCountOnce(t *testing.T) {
	devices := numbered("a", 2)
	other := devices[1]
	other.Source = sample.DCGM
	batches := meterRows(append(devices, other), func(int) func(trace.Time) float64 { return flat(400) }, 20*sec)
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches)
	near(t, "energy", value(t, rep.Phases[0].Metrics, TotalGPUEnergy), 8000, 10)
	if rep.Phases[0].PerDevice[1].Source != "nvml" {
		t.Errorf("%+v", rep.Phases[0].PerDevice[1])
	}
}

func TestIdleDevice(t *testing.T) {
	run := func(kind string) *Report {
		batches := meterRows(numbered("a", 4), func(d int) func(trace.Time) float64 {
			if d == 2 {
				return flat(70)
			}
			return flat(600)
		}, 20*sec)
		span := phaseSpan("p", 5*sec, 15*sec)
		span.Kind = kind
		return reduceAll(t, []Span{span}, true, Options{}, batches)
	}
	if !warned(run("measure"), WarnIdleDevice, "p") {
		t.Error("no warning")
	}
	if warned(run("warmup"), WarnIdleDevice, "p") {
		t.Error("a warning of a phase that does not measure")
	}
}

func TestMIGWithholdsTokensUnlessTold(t *testing.T) {
	devices := numbered("a", 1)
	devices[0].MIG = true
	batches := meterRows(devices, func(int) func(trace.Time) float64 { return flat(400) }, 20*sec)
	run := func(told bool) *Report {
		return reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{MIG: told}, batches, succeeded("p", 6*sec, 7*sec, 14*sec, 1000, 500))
	}
	withheld := run(false)
	absent(t, withheld.Phases[0].Metrics, OutputTokensPerJoule, EnergyPerRequest, EnergyPerUser)
	if !warned(withheld, WarnMIG, "") {
		t.Error("no warning")
	}
	if told := run(true); warned(told, WarnMIG, "") || value(t, told.Phases[0].Metrics, OutputTokensPerJoule) == 0 {
		t.Error("not said though told")
	}
}

func TestThrottlingByReason(t *testing.T) {
	devices := numbered("a", 2)
	const idle, cap, thermal = 0x1, 0x4, 0x40
	batches := rows(devices, 0, 20*sec, sec/2, func(d int, at trace.Time, r sample.Row) {
		mask := uint64(idle)
		if at >= 6*sec && at < 9*sec {
			mask = cap
		}
		if d == 1 && at >= 8*sec && at < 12*sec {
			mask |= thermal
		}
		r.SetUint(sample.ClockEventReasons, mask)
		r.Set(sample.TemperatureCelsius, 40+at.Seconds())
		r.Set(sample.GPUUtilization, 0.5)
		r.Set(sample.PowerAverageWatts, 300)
		r.Set(sample.PowerLimitWatts, 700)
	})
	rep := reduceAll(t, []Span{phaseSpan("p", 5*sec, 15*sec)}, true, Options{}, batches)
	m := rep.Phases[0].Metrics
	near(t, "held down", value(t, m, ThrottledTime), 3+6, 1e-9)
	near(t, "by the cap", value(t, m, ThrottledTime+"_sw_power_cap"), 6, 1e-9)
	near(t, "by heat", value(t, m, ThrottledTime+"_hw_thermal"), 4, 1e-9)
	absent(t, m, ThrottledTime+"_gpu_idle")
	near(t, "mean temperature", value(t, m, GPUTemperature), 50, 1e-9)
	near(t, "highest temperature", value(t, m, PeakGPUTemperature), 55, 1e-9)
	near(t, "utilisation", value(t, m, GPUUtilization), 0.5, 1e-9)
	near(t, "limit", value(t, m, GPUPowerLimit), 1400, 1e-9)
	near(t, "share of it", value(t, m, PowerLimitShare), 600./1400, 1e-6)
}

func TestTrackBetweenEdges(t *testing.T) {
	tr := newTrack([]trace.Time{1 * sec, 3 * sec, 5 * sec, 60 * sec}, true)
	for _, r := range []struct{ at, v float64 }{{0, 10}, {2, 30}, {4, 10}, {50, 1000}} {
		tr.read(trace.Time(r.at*1e9), r.v)
	}
	tr.end()
	mean, top, ok := tr.mean(1*sec, 3*sec)
	if !ok || math.Abs(mean-25) > 1e-9 || top != 30 {
		t.Errorf("mean %v top %v %v", mean, top, ok)
	}
	if _, _, ok := tr.mean(5*sec, 60*sec); ok {
		t.Error("a gap of 46 s gives a mean")
	}
	if mean, top, ok := tr.mean(3*sec, 5*sec); !ok || math.Abs(mean-15) > 1e-9 || top != 20 {
		t.Errorf("half covered: mean %v top %v %v", mean, top, ok)
	}
}
