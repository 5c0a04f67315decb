//go:build linux && cgo

package nvml

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gonvml "github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
	"wattrace/sample/sampletest"
	"wattrace/sample/sim"
	"wattrace/trace"
)

// stub is the path of the library that this process loads: it can load only
// one. A child process is given that of an old driver.
var stub = os.Getenv("WATTRACE_TEST_STUB")

const isChild = "WATTRACE_TEST_STUB"

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if stub == "" && sampletest.Unusable() == "" {
			dir, err := os.MkdirTemp("", "nvml")
			if err == nil {
				defer os.RemoveAll(dir)
				stub, err = sampletest.Build(dir)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		return m.Run()
	}())
}

var testDevices = []sample.Device{
	{Name: "wattrace simulated H100", UUID: "GPU-0000", PCIBusID: "00000000:1B:00.0", Architecture: "hopper"},
	{Name: "wattrace simulated A100", UUID: "GPU-0001", PCIBusID: "00000000:3B:00.0", Architecture: "ampere", MIG: true},
	{Name: "a V100", UUID: "GPU-0002", PCIBusID: "00000000:5B:00.0", Architecture: "volta"},
}

var testReading = sim.Reading{
	EnergyMillijoules: 9007199254740991, PowerInstantMilliwatts: 432109, PowerAverageMilliwatts: 398001, PowerLimitMilliwatts: 700000,
	GPUUtilizationPercent: 87, MemoryUtilizationPercent: 34, MemoryUsedBytes: 70 << 30, MemoryTotalBytes: 80 << 30,
	TemperatureCelsius: 61, SMClockMegahertz: 1980, MemoryClockMegahertz: 2619, ClockEventReasons: 0x24,
}

// publish makes a state file whose devices all show testReading.
func publish(t *testing.T) *sim.State {
	t.Helper()
	if reason := sampletest.Unusable(); reason != "" {
		t.Skip(reason)
	}
	path := filepath.Join(t.TempDir(), "state")
	t.Setenv(sampletest.StateVariable, path)
	state, err := sim.CreateState(path, testDevices)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := state.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range testDevices {
		state.Publish(i, testReading)
	}
	return state
}

func open(t *testing.T) *Source {
	t.Helper()
	return openWith(t, Options{Library: stub})
}

func openWith(t *testing.T, o Options) *Source {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// read returns the first row of a unit as the names and values of its metrics
// and its status.
func read(s *Source, unit int, slow bool) (map[string]any, string, time.Duration) {
	b := readUnit(s, unit, slow)
	return values(b, 0), b.Status[0], b.Took[0]
}

func readUnit(s *Source, unit int, slow bool) *sample.Batch {
	b := &sample.Batch{Devices: s.Devices()}
	var rows []sample.Row
	for _, d := range s.Units()[unit] {
		rows = append(rows, b.Append(d, 0, 0))
	}
	s.Read(unit, slow, rows)
	return b
}

// values returns what row i holds.
func values(b *sample.Batch, i int) map[string]any {
	got := map[string]any{}
	for id := range sample.NumMetrics {
		if v, ok := b.Uint(id, i); ok {
			got[id.String()] = v
		} else if v, ok := b.Float(id, i); ok {
			got[id.String()] = v
		}
	}
	return got
}

// further are the metrics that testDevices lack, in the order in which the first
// slow row says it.
var further = []sample.MetricID{
	sample.WorkloadProfiles, sample.MemoryTemperatureCelsius, sample.PowerCapSeconds, sample.SoftwareThermalSeconds, sample.HardwareThermalSeconds,
	sample.PowerBrakeSeconds, sample.PCIeSentBytes, sample.PCIeReceivedBytes, sample.NVLinkSentBytes, sample.NVLinkReceivedBytes,
	sample.ECCCorrectedErrors, sample.ECCUncorrectedErrors, sample.PowerSmoothing,
	sample.GraphicsActivity, sample.SMActivity, sample.SMOccupancy, sample.TensorActivity, sample.DRAMActivity,
}

// lacks is the status of metrics that all lack for one reason.
func lacks(reason string, metrics ...sample.MetricID) string {
	var all []string
	for _, m := range metrics {
		all = append(all, m.String()+"="+reason)
	}
	return strings.Join(all, ",")
}

// check reads device 0 and compares.
func check(t *testing.T, s *Source, slow bool, want map[string]any, wantStatus string) {
	t.Helper()
	got, status, _ := read(s, 0, slow)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if status != wantStatus {
		t.Errorf("status %q, want %q", status, wantStatus)
	}
}

func fast(change ...any) map[string]any {
	m := map[string]any{
		"power_watts": 398.001, "power_instant_watts": 432.109, "power_average_watts": 398.001,
		"energy_joules": 9007199254740.991, "power_limit_watts": 700.0,
	}
	for i := 0; i < len(change); i += 2 {
		if change[i+1] == nil {
			delete(m, change[i].(string))
		} else {
			m[change[i].(string)] = change[i+1]
		}
	}
	return m
}

// slow are testReading's slow metrics.
var slow = []any{
	"gpu_utilization", 0.87, "memory_utilization", 0.34, "memory_used_bytes", uint64(70 << 30),
	"temperature_celsius", 61.0, "sm_clock_hertz", 1.98e9, "memory_clock_hertz", 2.619e9, "clock_event_reasons", uint64(0x24),
}

func TestDevices(t *testing.T) {
	publish(t)
	s := open(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	var want []sample.Device
	for i, d := range testDevices {
		d.ID, d.Host, d.Index, d.Source, d.Scope, d.Simulated = d.UUID, host, i, sample.NVML, sample.ScopeGPU, i < 2
		d.Driver = "580.00.00-simulated"
		want = append(want, d)
	}
	if diff := cmp.Diff(want, s.Devices()); diff != "" {
		t.Error(diff)
	}
	wantInfo := sample.Info{Source: sample.NVML, Driver: "580.00.00-simulated", API: "NVML 13.580.00.00-simulated"}
	for id := range sample.ClockEventReasons + 1 {
		wantInfo.Metrics = append(wantInfo.Metrics, id)
	}
	wantInfo.Metrics = append(wantInfo.Metrics, sample.XIDError)
	if diff := cmp.Diff(wantInfo, s.Info()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]int{{0}, {1}, {2}}, s.Units()); diff != "" {
		t.Error(diff)
	}
}

func TestRead(t *testing.T) {
	state := publish(t)
	s := open(t)
	check(t, s, false, fast(), "")
	// What it does not support it says once.
	check(t, s, true, fast(slow...), lacks("NOT_SUPPORTED", further...))
	check(t, s, false, fast(), "")
	check(t, s, true, fast(slow...), "")

	next := testReading
	next.EnergyMillijoules = 1
	state.Publish(0, next)
	check(t, s, false, fast("energy_joules", 0.001), "")
}

// TestNoAverageField is a device whose architecture has only instant power.
func TestNoAverageField(t *testing.T) {
	state := publish(t)
	r := testReading
	r.PowerAverageMilliwatts = 0
	state.Publish(0, r)
	check(t, open(t), false, fast("power_average_watts", nil, "power_watts", 432.109), "power_average_watts=NOT_SUPPORTED")
}

func TestFaults(t *testing.T) {
	state := publish(t)
	s := open(t)
	const notSupported, gpuLost, timeout = 3, 15, 10
	cases := []struct {
		name   string
		faults map[sim.NVMLCall]int
		want   map[string]any
		status string
	}{
		{
			"fields not supported: the older calls stand in",
			map[sim.NVMLCall]int{sim.FieldEnergy: notSupported, sim.FieldInstant: notSupported, sim.FieldAverage: notSupported, sim.FieldLimit: notSupported},
			fast("power_instant_watts", nil, "power_average_watts", nil),
			"power_instant_watts=NOT_SUPPORTED,power_average_watts=NOT_SUPPORTED",
		},
		{
			"nor the older calls",
			map[sim.NVMLCall]int{sim.FieldEnergy: notSupported, sim.CallEnergy: notSupported},
			fast("energy_joules", nil), "energy_joules=NOT_SUPPORTED",
		},
		{
			"a field that failed this time is not replaced",
			map[sim.NVMLCall]int{sim.FieldAverage: timeout, sim.FieldEnergy: timeout},
			fast("power_average_watts", nil, "power_watts", nil, "energy_joules", nil),
			"energy_joules=TIMEOUT,power_average_watts=TIMEOUT,power_watts=TIMEOUT",
		},
		{
			"the whole call fails",
			map[sim.NVMLCall]int{sim.CallFields: gpuLost}, map[string]any{},
			"energy_joules=GPU_IS_LOST,power_instant_watts=GPU_IS_LOST,power_average_watts=GPU_IS_LOST,power_limit_watts=GPU_IS_LOST,power_watts=GPU_IS_LOST",
		},
		{
			"a code of a later driver",
			map[sim.NVMLCall]int{sim.FieldLimit: 77}, fast("power_limit_watts", nil), "power_limit_watts=CODE_77",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for call, code := range c.faults {
				state.SetFault(0, call, code)
			}
			check(t, s, false, c.want, c.status)
			// The device beside it is not disturbed.
			if got, status, _ := read(s, 1, false); len(got) != 5 || status != "" {
				t.Error("device 1:", got, status)
			}
			for call := range c.faults {
				state.SetFault(0, call, 0)
			}
			check(t, s, false, fast(), "")
		})
	}
}

// TestSlowFaults has a GPU that supported what it then does not.
func TestSlowFaults(t *testing.T) {
	state := publish(t)
	s := open(t)
	read(s, 0, true)
	const notSupported = 3
	for _, call := range []sim.NVMLCall{sim.CallUtilization, sim.CallMemory, sim.CallTemperature, sim.CallClock, sim.CallReasons} {
		state.SetFault(0, call, notSupported)
	}
	for range 2 { // it did support these: each time it does not is told
		check(t, s, true, fast(), lacks("NOT_SUPPORTED", otherMetrics[:7]...))
	}
}

// TestLostAtOpen has a GPU that cannot be opened: it is still a device.
func TestLostAtOpen(t *testing.T) {
	state := publish(t)
	state.SetFault(1, sim.CallHandle, 15)
	s := open(t)
	d := s.Devices()
	if len(d) != 3 || d[1].UUID != "" || !strings.HasPrefix(d[1].ID, "nvml:") || !strings.HasSuffix(d[1].ID, ":1") || d[2].UUID != "GPU-0002" {
		t.Errorf("%+v", d)
	}
	got, status, _ := read(s, 1, true)
	if len(got) != 0 || strings.Count(status, "=GPU_IS_LOST") != 5+len(slowMetrics()) {
		t.Error(got, status)
	}
	// The slow metrics are named once.
	if got, status, _ := read(s, 1, true); len(got) != 0 || strings.Count(status, "=GPU_IS_LOST") != 5 {
		t.Error(got, status)
	}
	if len(s.Info().Metrics) != 5+len(slowMetrics())+1 {
		t.Error("it may have any metric, not just", s.Info().Metrics)
	}
	check(t, s, false, fast(), "")
}

// TestDeadPublisher has a simulator that stopped 6 s ago.
func TestDeadPublisher(t *testing.T) {
	publish(t)
	s := open(t)
	path := os.Getenv(sampletest.StateVariable)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var beat [8]byte
	if _, err := f.ReadAt(beat[:], 24); err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint64(beat[:], binary.LittleEndian.Uint64(beat[:])-6e9)
	if _, err := f.WriteAt(beat[:], 24); err != nil {
		t.Fatal(err)
	}
	if got, status, _ := read(s, 0, false); len(got) != 0 || !strings.Contains(status, "energy_joules=GPU_IS_LOST") {
		t.Error(got, status)
	}
}

// TestTookIsOfTheFastCall has a slow device: that is seen in its row and in no
// other, and the slow metrics do not count.
func TestTookIsOfTheFastCall(t *testing.T) {
	state := publish(t)
	s := open(t)
	const delay = 30 * time.Millisecond
	state.SetDelay(0, sim.CallFields, delay)
	if _, _, took := read(s, 0, false); took < delay {
		t.Errorf("took %v with a delay of %v", took, delay)
	}
	if _, _, took := read(s, 1, true); took <= 0 {
		t.Error("took", took)
	}
	const long = 300 * time.Millisecond
	state.SetDelay(1, sim.CallUtilization, long)
	begin := time.Now()
	if _, _, took := read(s, 1, true); took >= long || time.Since(begin) < long {
		t.Errorf("took %v with a slow call of %v", took, long)
	}
}

func TestOpenErrors(t *testing.T) {
	if reason := sampletest.Unusable(); reason != "" {
		t.Skip(reason)
	}
	_, err := Open(Options{Library: "/nonexistent/libnvidia-ml.so.1"})
	if !errors.Is(err, ErrNoLibrary) || err.Error() != "cannot load the NVML library: /nonexistent/libnvidia-ml.so.1: cannot open shared object file: No such file or directory" {
		t.Error(err)
	}
	if _, err := Open(Options{Library: "libm.so.6"}); !errors.Is(err, ErrNoLibrary) || err.Error() != "cannot load the NVML library: libm.so.6 has no function nvmlInit" {
		t.Error("not NVML:", err)
	}
	check := func(state, want string) {
		t.Helper()
		t.Setenv(sampletest.StateVariable, state)
		var call *Error
		if _, err := Open(Options{Library: stub}); !errors.As(err, &call) || err.Error() != want {
			t.Errorf("state %q: %v, want %s", state, err, want)
		}
	}
	check("/nonexistent", "NVML: nvmlInit: DRIVER_NOT_LOADED")
	other := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(other, make([]byte, 4096), 0o666); err != nil {
		t.Fatal(err)
	}
	check(other, "NVML: nvmlInit: LIB_RM_VERSION_MISMATCH")
}

// TestOldDriver runs TestWithOldDriver in a process of its own, with a library
// that lacks what came later. A call of a missing function would end it.
func TestOldDriver(t *testing.T) {
	library := sampletest.BuildStub(t, "OLD_DRIVER")
	cmd := exec.Command(os.Args[0], "-test.run=^TestWithOldDriver$", "-test.v")
	cmd.Env = append(os.Environ(), isChild+"="+library)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestWithOldDriver") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestWithOldDriver(t *testing.T) {
	if os.Getenv(isChild) == "" {
		t.Skip("run by TestOldDriver")
	}
	publish(t)
	s := open(t)
	d := s.Devices()[0]
	if d.UUID != "GPU-0000" || d.PCIBusID != "00000000:1B:00.0" || d.Architecture != "" || d.MIG {
		t.Errorf("%+v", d)
	}
	check(t, s, true, fast(append(slow, "power_instant_watts", nil, "power_average_watts", nil)...),
		"power_instant_watts=FUNCTION_NOT_FOUND,power_average_watts=FUNCTION_NOT_FOUND,"+lacks("FUNCTION_NOT_FOUND", further...))
	check(t, s, true, fast(append(slow, "power_instant_watts", nil, "power_average_watts", nil)...),
		"power_instant_watts=FUNCTION_NOT_FOUND,power_average_watts=FUNCTION_NOT_FOUND")
	if s.Events(trace.NewSteadyClock()) != nil || slices.Contains(s.Info().Metrics, sample.XIDError) {
		t.Error("events without the functions")
	}
	if _, ok := s.board("MIG-0001"); ok {
		t.Error("the board of an instance without the function")
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	check := func(typ gonvml.ValueType, bytes []byte, want uint64, wantCode gonvml.Return) {
		t.Helper()
		f := gonvml.FieldValue{ValueType: uint32(typ)}
		copy(f.Value[:], bytes)
		if got := decode(&f); got.code != wantCode || got.ok() && got.value != want {
			t.Errorf("type %d: %+v, want %d, %d", typ, got, want, wantCode)
		}
	}
	garbage := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	check(gonvml.VALUE_TYPE_UNSIGNED_INT, garbage, 0x04030201, gonvml.SUCCESS)
	check(gonvml.VALUE_TYPE_UNSIGNED_SHORT, garbage, 0x0201, gonvml.SUCCESS)
	check(gonvml.VALUE_TYPE_UNSIGNED_LONG, garbage, 0x0807060504030201, gonvml.SUCCESS)
	check(gonvml.VALUE_TYPE_UNSIGNED_LONG_LONG, garbage, 0x0807060504030201, gonvml.SUCCESS)
	check(gonvml.VALUE_TYPE_SIGNED_LONG_LONG, garbage, 0x0807060504030201, gonvml.SUCCESS)
	check(gonvml.VALUE_TYPE_SIGNED_INT, garbage, 0x04030201, gonvml.SUCCESS)
	check(gonvml.VALUE_TYPE_SIGNED_INT, []byte{255, 255, 255, 255}, 0, gonvml.ERROR_UNKNOWN)
	check(gonvml.VALUE_TYPE_SIGNED_LONG_LONG, []byte{0, 0, 0, 0, 0, 0, 0, 128}, 0, gonvml.ERROR_UNKNOWN)
	check(gonvml.VALUE_TYPE_DOUBLE, []byte{0, 0, 0, 0, 0, 0, 0x59, 0x40}, 100, gonvml.SUCCESS)
	check(gonvml.VALUE_TYPE_DOUBLE, []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x7f}, 0, gonvml.ERROR_UNKNOWN)
	check(99, garbage, 0, gonvml.ERROR_UNKNOWN)
}

// TestConcurrentPublisher reads while another goroutine publishes: a reading
// is never half of one and half of another.
func TestConcurrentPublisher(t *testing.T) {
	state := publish(t)
	s := open(t)
	done := make(chan struct{})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for k := uint32(1); ; k++ {
			select {
			case <-done:
				return
			default:
				state.Publish(0, sim.Reading{EnergyMillijoules: uint64(k) * 1000, PowerInstantMilliwatts: k * 1000, PowerAverageMilliwatts: k * 1000, PowerLimitMilliwatts: k * 1000})
			}
		}
	}()
	b := &sample.Batch{Devices: s.Devices()}
	for i := range 5000 {
		s.Read(0, false, []sample.Row{b.Append(0, 0, 0)})
		if i == 0 {
			continue // may still be testReading
		}
		energy, _ := b.Float(sample.EnergyJoules, i)
		for _, id := range []sample.MetricID{sample.PowerInstantWatts, sample.PowerAverageWatts, sample.PowerLimitWatts} {
			if w, ok := b.Float(id, i); (!ok || w != energy) && energy != 9007199254740.991 {
				t.Fatalf("reading %d: %v J and %v W, %v", i, energy, w, b.Status[i])
			}
		}
	}
	close(done)
	<-gone
}

// TestReadAllocatesNothing has a GPU with all scopes.
func TestReadAllocatesNothing(t *testing.T) {
	state := publish(t)
	setFurther(state, 0)
	s := open(t)
	b := &sample.Batch{Devices: s.Devices()}
	rows := make([]sample.Row, 0, 3)
	if n := testing.AllocsPerRun(100, func() {
		b.Reset()
		rows = append(rows[:0], b.Append(0, 0, 0), b.Append(1, 0, 0), b.Append(2, 0, 0))
		s.Read(0, false, rows)
	}); n != 0 || len(s.Units()[0]) != 3 {
		t.Errorf("%v allocations, units %v", n, s.Units())
	}
}

func BenchmarkRead(b *testing.B) {
	if reason := sampletest.Unusable(); reason != "" {
		b.Skip(reason)
	}
	path := filepath.Join(b.TempDir(), "state")
	b.Setenv(sampletest.StateVariable, path)
	state, err := sim.CreateState(path, testDevices)
	if err != nil {
		b.Fatal(err)
	}
	defer state.Close()
	s, err := Open(Options{Library: stub})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	batch := &sample.Batch{Devices: s.Devices()}
	rows := make([]sample.Row, 0, 1)
	b.ReportAllocs()
	for b.Loop() {
		state.Publish(0, testReading)
		batch.Reset()
		s.Read(0, false, append(rows[:0], batch.Append(0, 0, 0)))
	}
}
