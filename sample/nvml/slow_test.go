//go:build linux && cgo

package nvml

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/sample"
	"wattrace/sample/sampletest"
	"wattrace/sample/sim"
	"wattrace/trace"
)

var furtherValues = map[sim.NVMLValue]uint64{
	sim.MemoryMilliwatts: 71234, sim.ModuleInstantMilliwatts: 812345, sim.ModuleAverageMilliwatts: 801234,
	sim.ModuleLimitMilliwatts: 1000000, sim.ModuleMillijoules: 1 << 40,
	sim.MemoryCelsius: 77, sim.PowerCapNanos: 1500000000, sim.SoftwareThermalNanos: 250, sim.HardwareThermalNanos: 1, sim.PowerBrakeNanos: 0,
	sim.PCIeSentBytes: 4294967295, sim.PCIeReceivedBytes: 3, sim.NVLinkSentKibibytes: 1 << 40, sim.NVLinkReceivedKibibytes: 7,
	sim.ECCCorrected: 5, sim.ECCUncorrected: 0,
	sim.GraphicsPermille: 1000, sim.SMPermille: 995, sim.OccupancyPermille: 250, sim.TensorPermille: 500, sim.DRAMPermille: 800,
	sim.SmoothingEnabled: 1, sim.SmoothingPrivilege: 2, sim.SmoothingProfile: 3, sim.WorkloadProfiles: 1<<40 | 1<<6,
}

// setFurther gives a device all that not every one has.
func setFurther(state *sim.State, device int) {
	for v, x := range furtherValues {
		state.Set(device, v, x)
	}
}

var furtherWant = []any{
	"memory_temperature_celsius", 77.0, "power_cap_seconds", 1.5, "software_thermal_seconds", 250e-9, "hardware_thermal_seconds", 1e-9,
	"power_brake_seconds", 0.0, "pcie_sent_bytes", uint64(4294967295), "pcie_received_bytes", uint64(3),
	"nvlink_sent_bytes", uint64(1 << 50), "nvlink_received_bytes", uint64(7 << 10),
	"ecc_corrected_errors", uint64(5), "ecc_uncorrected_errors", uint64(0),
	"power_smoothing", uint64(0x303), "workload_profiles", uint64(1<<40 | 1<<6),
}

func TestFurtherMetrics(t *testing.T) {
	state := publish(t)
	setFurther(state, 0)
	s := open(t)
	all := append(slices.Clone(slow), furtherWant...)
	check(t, s, true, fast(all...), "") // too early for GPM
	if n := len(s.Info().Metrics); n != int(sample.XIDError)+1 {
		t.Errorf("%d metrics", n)
	}
	// What it supported is asked on, and told each time that it fails.
	const timeout = 10
	state.SetFault(0, sim.MemoryCelsius.Call(), timeout)
	state.SetFault(0, sim.SmoothingEnabled.Call(), timeout)
	state.SetFault(0, sim.CallProfiles, 3)
	for range 2 {
		check(t, s, true, fast(append(slices.Clone(all), "memory_temperature_celsius", nil, "power_smoothing", nil, "workload_profiles", nil)...),
			"workload_profiles=NOT_SUPPORTED,memory_temperature_celsius=TIMEOUT,power_smoothing=TIMEOUT")
	}
	state.SetFault(0, sim.MemoryCelsius.Call(), 0)
	state.SetFault(0, sim.SmoothingEnabled.Call(), 0)
	state.SetFault(0, sim.CallProfiles, 0)
	check(t, s, true, fast(all...), "")
	// A part of the mask that is not known.
	state.SetFault(0, sim.SmoothingPrivilege.Call(), 4)
	state.SetFault(0, sim.SmoothingProfile.Call(), 3)
	check(t, s, true, fast(append(slices.Clone(all), "power_smoothing", uint64(0xff01))...), "")
}

// TestNotAskedAgain has a GPU that supports a field only after it was opened.
func TestNotAskedAgain(t *testing.T) {
	state := publish(t)
	s := open(t)
	state.Set(0, sim.MemoryCelsius, 70)
	for range 2 {
		if got, _, _ := read(s, 0, true); got["memory_temperature_celsius"] != nil {
			t.Error(got)
		}
	}
}

// TestFieldNumbers has drivers that number the later fields otherwise.
func TestFieldNumbers(t *testing.T) {
	check := func(architecture, driver string, want bool) {
		t.Helper()
		s := &Source{info: sample.Info{Driver: driver}}
		if got := s.renumbered(&gpu{Device: sample.Device{Architecture: architecture}}); got != want {
			t.Errorf("%s, %s: %v", architecture, driver, got)
		}
	}
	check("blackwell", "570.86.10", true)
	check("blackwell", "580.65.06", false)
	check("rubin", "", true)
	check("", "570.86.10", true)
	check("", "590.1", false)
	check("hopper", "535.1", false)

	state := publish(t)
	setFurther(state, 0)
	s := open(t)
	s.info.Driver = "570.1"
	s.gpus[0].Architecture = "blackwell"
	s.gpus[0].slow = slowSet{probing: true}
	want := lacks("NOT_SUPPORTED", sample.SoftwareThermalSeconds, sample.HardwareThermalSeconds, sample.PowerBrakeSeconds, sample.PowerSmoothing)
	if got, status, _ := read(s, 0, true); status != want || got["power_cap_seconds"] != 1.5 {
		t.Error(got, status)
	}
}

// activity returns the metrics of GPM in a slow row.
func activity(s *Source, unit int) (got []float64, status string) {
	b := readUnit(s, unit, true)
	for _, m := range gpmMetrics {
		if v, ok := b.Float(m.metric, 0); ok {
			got = append(got, v)
		}
	}
	return got, b.Status[0]
}

func TestGPM(t *testing.T) {
	state := publish(t)
	setFurther(state, 0)
	setFurther(state, 1) // MIG: NVML has it by instance, and what the plain call gives is of no use
	s := open(t)
	check := func(want []float64, wantStatus string) {
		t.Helper()
		got, status := activity(s, 0)
		if diff := cmp.Diff(want, got); diff != "" || status != wantStatus {
			t.Error(diff, status)
		}
	}
	wait := func() { time.Sleep(gpmLeast + 5*time.Millisecond) }
	check(nil, "") // less than 100 ms after the first sample, which is of Open
	state.Set(0, sim.TensorPermille, 300)
	wait()
	check([]float64{1, 0.995, 0.25, 0.4, 0.8}, "") // the mean since then
	wait()
	check([]float64{1, 0.995, 0.25, 0.3, 0.8}, "")
	const timeout, notSupported = 10, 3
	state.SetFault(0, sim.TensorPermille.Call(), timeout)
	state.SetFault(0, sim.DRAMPermille.Call(), notSupported)
	wait()
	check([]float64{1, 0.995, 0.25}, "tensor_activity=TIMEOUT,dram_activity=NOT_SUPPORTED")
	state.SetFault(0, sim.TensorPermille.Call(), 0)
	wait()
	check([]float64{1, 0.995, 0.25, 0.3}, "") // the last is not asked again
	state.SetFault(0, sim.CallGPMSample, timeout)
	wait()
	check(nil, lacks("TIMEOUT", sample.GraphicsActivity, sample.SMActivity, sample.SMOccupancy, sample.TensorActivity))

	read(s, 1, false)
	if got, status := activity(s, 1); got != nil || !strings.HasSuffix(status, lacks("NOT_SUPPORTED", further[13:]...)) {
		t.Error("MIG:", got, status)
	}
}

// grace makes a tree that has the GPUs at the sockets of two Grace CPUs.
func grace(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	for path, text := range map[string]string{
		"bus/pci/devices/0000:1b:00.0/numa_node":                    "1\n",
		"bus/pci/devices/0000:3b:00.0/numa_node":                    "-1\n",
		"devices/system/node/node1/cpulist":                         "72-143\n",
		"devices/system/cpu/cpu72/topology/physical_package_id":     "5\n",
		"bus/pci/devices/10009:01:00.0/numa_node":                   "2\n",
		"devices/system/node/node2/cpulist":                         "\n",
		"bus/pci/devices/0009:01:00.0/numa_node":                    "1\n",
		"devices/system/cpu/cpu0/topology/physical_package_id":      "0\n",
		"bus/pci/devices/0002:01:00.0/numa_node":                    "3\n",
		"devices/system/node/node3/cpulist":                         "144\n",
		"devices/system/cpu/cpu144/topology/physical_package_id":    "-1\n",
		"bus/pci/devices/0000:5b:00.0/unrelated":                    "1\n",
		"devices/system/node/node0/cpulist":                         "0-71\n",
		"devices/system/cpu/cpu143/topology/physical_package_id":    "5\n",
		"bus/pci/devices/0000:1b:00.0/firmware_node/physical_value": "x",
	} {
		file := filepath.Join(root, "sys", path)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestSocket(t *testing.T) {
	t.Parallel()
	root := grace(t)
	check := func(busID, want string) {
		t.Helper()
		if got := moduleOf(root, "h", busID); got != want {
			t.Errorf("%s: %q, want %q", busID, got, want)
		}
	}
	check("00000000:1B:00.0", "h:socket5")
	check("0000:1B:00.0", "h:socket5") // the short form
	check("00000009:01:00.0", "h:socket5")
	check("00000000:3B:00.0", "") // at no node
	check("00010009:01:00.0", "") // at a node without CPUs
	check("00000002:01:00.0", "") // at a CPU without a package
	check("00000000:5B:00.0", "")
	check("../../etc", "")
	check("", "")
}

func TestScopes(t *testing.T) {
	state := publish(t)
	setFurther(state, 0)
	// A driver that knows no scopes gives the GPU's own figures for any.
	state.Set(1, sim.MemoryMilliwatts, uint64(testReading.PowerAverageMilliwatts))
	state.Set(1, sim.ModuleInstantMilliwatts, uint64(testReading.PowerInstantMilliwatts))
	state.Set(1, sim.ModuleAverageMilliwatts, uint64(testReading.PowerAverageMilliwatts))
	state.Set(1, sim.ModuleLimitMilliwatts, uint64(testReading.PowerLimitMilliwatts))
	state.Set(1, sim.ModuleMillijoules, testReading.EnergyMillijoules)
	state.Set(2, sim.MemoryMilliwatts, 1)
	state.Set(2, sim.ModuleInstantMilliwatts, 0) // no sensor
	s := openWith(t, Options{Library: stub, Root: grace(t)})
	if diff := cmp.Diff([][]int{{0, 1, 2}, {3}, {4, 5}}, s.Units()); diff != "" {
		t.Fatal(diff)
	}
	d := s.Devices()
	for i, want := range []struct {
		uuid  string
		scope sample.Scope
		raw   int
	}{{"GPU-0000", "gpu", 0}, {"GPU-0000", "module", 1}, {"GPU-0000", "gpu_memory", 2}, {"GPU-0001", "gpu", 0}, {"GPU-0002", "gpu", 0}, {"GPU-0002", "gpu_memory", 2}} {
		module := ""
		if i < 3 {
			module = d[0].Host + ":socket5"
		}
		if d[i].ID != want.uuid || d[i].UUID != want.uuid || d[i].Scope != want.scope || d[i].RawScope != want.raw || d[i].Module != module {
			t.Errorf("device %d: %+v", i, d[i])
		}
	}
	b := readUnit(s, 0, false)
	for i, want := range []map[string]any{
		fast(),
		{"power_watts": 801.234, "power_instant_watts": 812.345, "power_average_watts": 801.234, "energy_joules": float64(1<<40) / 1000, "power_limit_watts": 1000.0},
		{"power_watts": 71.234, "power_average_watts": 71.234},
	} {
		if diff := cmp.Diff(want, values(b, i)); diff != "" || b.Status[i] != "" || b.Took[i] <= 0 {
			t.Errorf("row %d: %s, status %q", i, diff, b.Status[i])
		}
	}
	// One scope fails, the others do not.
	state.SetFault(0, sim.MemoryMilliwatts.Call(), 10)
	b = readUnit(s, 0, true)
	if diff := cmp.Diff([]string{"", "", "power_average_watts=TIMEOUT,power_watts=TIMEOUT"}, b.Status); diff != "" {
		t.Error(diff)
	}
	if got := values(b, 1)["gpu_utilization"]; got != nil {
		t.Error("the slow metrics are the GPU's")
	}
	state.SetFault(0, sim.CallFields, 15)
	b = readUnit(s, 0, false)
	if b.Status[2] != "power_average_watts=GPU_IS_LOST,power_watts=GPU_IS_LOST" || strings.Count(b.Status[1], "=GPU_IS_LOST") != 5 {
		t.Error(b.Status)
	}
}

// What a GPU does not say of its clocks is unknown; nothing is zero.
func TestClocks(t *testing.T) {
	state := publish(t)
	for value, megahertz := range map[sim.NVMLValue]uint64{
		sim.ApplicationSMMegahertz: 1590, sim.ApplicationMemoryMegahertz: 2619, sim.DefaultSMMegahertz: 1980, sim.DefaultMemoryMegahertz: 2619,
		sim.MaxSMMegahertz: 1995, sim.MaxMemoryMegahertz: 2620,
	} {
		state.Set(0, value, megahertz)
	}
	s := open(t)
	want := sample.Clocks{
		ApplicationSM: trace.Some(1.59e9), ApplicationMemory: trace.Some(2.619e9), DefaultSM: trace.Some(1.98e9), DefaultMemory: trace.Some(2.619e9),
		MaxSM: trace.Some(1.995e9), MaxMemory: trace.Some(2.62e9),
	}
	if d := s.Devices(); d[0].Clocks != want || d[1].Clocks != (sample.Clocks{}) {
		t.Error(d)
	}
	state.Set(0, sim.ApplicationSMMegahertz, 1410)
	state.Set(0, sim.DefaultSMMegahertz, 0)
	state.SetFault(0, sim.ApplicationMemoryMegahertz.Call(), 3)
	state.SetFault(0, sim.MaxSMMegahertz.Call(), 15)
	g := s.gpus[0]
	if c := s.clocks(g.handle); c != (sample.Clocks{ApplicationSM: trace.Some(1.41e9), DefaultMemory: trace.Some(2.619e9), MaxMemory: trace.Some(2.62e9)}) {
		t.Error(c)
	}
	s.have.applicationsClock, s.have.defaultApplicationsClock, s.have.maxClock = false, false, false // as of CUDA 14
	if c := s.clocks(g.handle); c != (sample.Clocks{}) {
		t.Error(c)
	}
}

func TestMPS(t *testing.T) {
	state := publish(t)
	state.SetMPS(0, 5)
	s := open(t)
	if d := s.Devices(); !d[0].MPS || d[1].MPS {
		t.Error(d)
	}
}

func TestChoose(t *testing.T) {
	state := publish(t)
	setFurther(state, 0)
	// Whoever asks the first GPU more than who it is waits.
	for call := sim.CallArchitecture; call < 64; call++ {
		state.SetDelay(0, call, 10*time.Second)
	}
	begin := time.Now()
	s := openWith(t, Options{Library: stub, Choose: func(i Inventory) ([]int, error) {
		if len(i.GPUs) != 3 || i.GPUs[0].UUID != "GPU-0000" || i.GPUs[0].PCIBusID == "" || i.GPUs[0].Index != 0 || i.GPUs[0].Name == "" {
			t.Errorf("%+v", i.GPUs)
		}
		if gpu, ok := i.Board("MIG-0001"); !ok || gpu != 1 {
			t.Error("board:", gpu, ok)
		}
		if _, ok := i.Board("MIG-0000"); ok {
			t.Error("an instance of a board without")
		}
		return []int{2, 1}, nil
	}})
	feed := s.Events(trace.NewSteadyClock())
	read(s, 0, true)
	read(s, 1, true)
	if feed == nil || time.Since(begin) > 5*time.Second {
		t.Error("a GPU that is not chosen was touched")
	}
	if d := s.Devices(); len(d) != 2 || d[0].UUID != "GPU-0001" || d[1].UUID != "GPU-0002" || d[1].Index != 2 {
		t.Errorf("%+v", d)
	}
	if _, err := Open(Options{Library: stub, Choose: func(Inventory) ([]int, error) { return nil, os.ErrExist }}); err != os.ErrExist {
		t.Error(err)
	}
}

// events runs the feed of a source beside the test.
type events struct {
	t     *testing.T
	inbox sample.Inbox
	done  chan struct{}
	stop  context.CancelFunc
}

func runEvents(t *testing.T, s *Source, clock *trace.SteadyClock) *events {
	t.Helper()
	feed := s.Events(clock)
	if feed == nil {
		t.Fatal("no events")
	}
	e := &events{t: t, done: make(chan struct{})}
	var ctx context.Context
	ctx, e.stop = context.WithCancel(t.Context())
	go func() {
		defer close(e.done)
		if err := feed.Run(ctx, &e.inbox); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(e.end)
	return e
}

func (e *events) end() { e.stop(); <-e.done }

// next waits for rows of so many events.
func (e *events) next(n int) (all []*sample.Batch) {
	e.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); n > 0; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			e.t.Fatal("events are missing:", n)
		}
		if b := e.inbox.Collect(); b.Len() > 0 {
			all = append(all, b)
			n -= b.Len()
		}
	}
	return all
}

// soon has events happen until one arrives: while the feed makes its set anew none does.
func (e *events) soon(happen func()) *sample.Batch {
	e.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		happen()
		for range 50 {
			if b := e.inbox.Collect(); b.Len() > 0 {
				return b
			}
			time.Sleep(waitMillis / 10 * time.Millisecond)
		}
	}
	e.t.Fatal("no event arrives")
	return nil
}

func TestEvents(t *testing.T) {
	state := publish(t)
	state.Event(0, 13) // before anyone listens
	state.SetFault(2, sim.CallEvents, 3)
	s := open(t)
	clock := trace.NewSteadyClock()
	feed := runEvents(t, s, clock)
	before := clock.Now()
	state.Event(1, 79)
	b := feed.next(1)[0]
	if xid, ok := b.Uint(sample.XIDError, 0); !ok || xid != 79 || b.Devices[b.Device[0]] != s.Devices()[1] || b.Time[0] < before || b.Time[0] > clock.Now() || b.Status[0] != "" {
		t.Errorf("%+v", b)
	}
	state.Event(0, 31)
	state.Event(0, 45)
	var got []uint64
	for _, b := range feed.next(2) {
		for i := range b.Len() {
			xid, _ := b.Uint(sample.XIDError, i)
			got = append(got, xid)
		}
	}
	if diff := cmp.Diff([]uint64{31, 45}, got); diff != "" {
		t.Error(diff)
	}
	begin := time.Now()
	feed.end()
	if time.Since(begin) > 2*time.Second {
		t.Error("the feed ends late")
	}
}

func TestNoEvents(t *testing.T) {
	state := publish(t)
	for i := range testDevices {
		state.SetFault(i, sim.CallEvents, 3)
	}
	if open(t).Events(trace.NewSteadyClock()) != nil {
		t.Error("events of GPUs that have none")
	}
}

// awaitReading reads a unit until it has power again.
func awaitReading(t *testing.T, s *Source, unit int, within time.Duration) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		got, status, _ := read(s, unit, false)
		if got["power_watts"] != nil {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("unit %d: still %s", unit, status)
		}
	}
}

// TestGPUComesBack has a GPU that falls off the bus and is there again, while
// another is read on.
func TestGPUComesBack(t *testing.T) {
	state := publish(t)
	s := open(t)
	feed := runEvents(t, s, trace.NewSteadyClock())
	const lost = 15
	for _, call := range []sim.NVMLCall{sim.CallHandle, sim.CallFields, sim.CallEvents} {
		state.SetFault(0, call, lost)
	}
	for range 20 {
		if got, status, _ := read(s, 0, true); len(got) != 0 || !strings.Contains(status, "energy_joules=GPU_IS_LOST") {
			t.Error(got, status)
		}
		if got, status, _ := read(s, 1, false); len(got) != 5 || status != "" {
			t.Error("the other:", got, status)
		}
		time.Sleep(5 * time.Millisecond)
	}
	state.Set(0, sim.MemoryCelsius, 66) // by a newer driver
	next := testReading
	next.EnergyMillijoules = 5
	state.Publish(0, next)
	for _, call := range []sim.NVMLCall{sim.CallHandle, sim.CallFields, sim.CallEvents} {
		state.SetFault(0, call, 0)
	}
	if got := awaitReading(t, s, 0, 5*time.Second); got["energy_joules"] != 0.005 {
		t.Error(got)
	}
	// The new handle comes within a second; what it supports is found out anew.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if got, _, _ := read(s, 0, true); got["memory_temperature_celsius"] == 66.0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("what the GPU supports was not found out anew")
		}
		state.SetFault(0, sim.CallFields, lost)
		read(s, 0, false)
		state.SetFault(0, sim.CallFields, 0)
	}
	feed.soon(func() { state.Event(0, 94) })
}

// TestDriverIsLoadedAnew has NVML lose its driver, for all GPUs at once.
func TestDriverIsLoadedAnew(t *testing.T) {
	state := publish(t)
	setFurther(state, 0)
	s := open(t)
	feed := runEvents(t, s, trace.NewSteadyClock())
	const notLoaded = 9
	state.Reload(notLoaded)
	for begin := time.Now(); time.Since(begin) < 1200*time.Millisecond; time.Sleep(20 * time.Millisecond) {
		for unit := range 3 {
			if got, status, _ := read(s, unit, false); len(got) != 0 || !strings.Contains(status, "energy_joules=UNINITIALIZED") {
				t.Error(unit, got, status)
			}
		}
	}
	state.Publish(0, sim.Reading{EnergyMillijoules: 1, PowerInstantMilliwatts: 1000, PowerAverageMilliwatts: 1000})
	state.Reload(0)
	for unit := range 3 {
		awaitReading(t, s, unit, 5*time.Second)
	}
	if got, _, _ := read(s, 0, false); got["energy_joules"] != 0.001 {
		t.Error(got)
	}
	read(s, 0, true)
	time.Sleep(gpmLeast + 5*time.Millisecond)
	if got, status := activity(s, 0); len(got) != 5 {
		t.Error("GPM:", got, status)
	}
	if b := feed.soon(func() { state.Event(2, 48) }); b.Devices[b.Device[0]] != s.Devices()[len(s.Devices())-1] {
		t.Errorf("%+v", b)
	}
}

// TestStaleHandle has NVML initialised anew by someone else, so to say: handles
// that were good are not.
func TestStaleHandle(t *testing.T) {
	state := publish(t)
	s := open(t)
	check(t, s, false, fast(), "")
	state.SetFault(0, sim.CallFields, 2)
	if got, status, _ := read(s, 0, false); len(got) != 0 || !strings.Contains(status, "power_watts=INVALID_ARGUMENT") || !s.gpus[0].down.Load() {
		t.Error(got, status)
	}
	state.SetFault(0, sim.CallFields, 0)
	check(t, s, false, fast(), "")
	// A driver may say it of each field alone.
	state.SetFault(0, sim.FieldAverage, 15)
	if _, status, _ := read(s, 0, false); status != "power_average_watts=GPU_IS_LOST,power_watts=GPU_IS_LOST" || !s.gpus[0].down.Load() {
		t.Error(status)
	}
}

// TestSimulatorComesBack has all GPUs lost, and others of the same names then:
// NVML is initialised anew though it never said that it was gone.
func TestSimulatorComesBack(t *testing.T) {
	state := publish(t)
	s := open(t)
	path := os.Getenv(sampletest.StateVariable)
	if err := state.Close(); err != nil {
		t.Fatal(err)
	}
	for unit := range 3 {
		if got, status, _ := read(s, unit, false); len(got) != 0 || !strings.Contains(status, "energy_joules=") {
			t.Error(got, status)
		}
	}
	again, err := sim.CreateState(path, testDevices)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for i := range testDevices {
		again.Publish(i, testReading)
	}
	for unit := range 3 {
		awaitReading(t, s, unit, 10*time.Second)
	}
}

// TestHangingCall has a GPU whose call does not return, beside one for which
// NVML must be initialised anew: a third is read on.
func TestHangingCall(t *testing.T) {
	state := publish(t)
	s := open(t)
	const hang = 1600 * time.Millisecond
	state.SetDelay(0, sim.CallFields, hang)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		read(s, 0, false)
	}()
	time.Sleep(50 * time.Millisecond)
	state.SetFault(1, sim.CallFields, 1)
	state.SetFault(1, sim.CallHandle, 1)
	for begin := time.Now(); time.Since(begin) < 1300*time.Millisecond; time.Sleep(20 * time.Millisecond) {
		at := time.Now()
		read(s, 1, false)
		if got, status, _ := read(s, 2, false); len(got) != 5 || time.Since(at) > time.Second {
			t.Fatal(got, status, time.Since(at))
		}
	}
	state.SetDelay(0, sim.CallFields, 0)
	<-gone
	// As soon as it can be, NVML is initialised anew.
	epoch := func() int { s.calls.RLock(); defer s.calls.RUnlock(); return s.epoch }
	for deadline := time.Now().Add(5 * time.Second); epoch() == 0; time.Sleep(20 * time.Millisecond) {
		read(s, 1, false)
		if got, _, _ := read(s, 2, false); time.Now().After(deadline) {
			t.Fatal("NVML was not initialised anew:", got)
		}
	}
	state.SetFault(1, sim.CallFields, 0)
	state.SetFault(1, sim.CallHandle, 0)
	for unit := range 3 {
		awaitReading(t, s, unit, 5*time.Second)
	}
}

// TestInstantScope has a module with one power sensor, as Grace's.
func TestInstantScope(t *testing.T) {
	state := publish(t)
	state.Set(0, sim.ModuleInstantMilliwatts, 5000)
	s := open(t)
	b := readUnit(s, 0, false)
	if diff := cmp.Diff(map[string]any{"power_watts": 5.0, "power_instant_watts": 5.0}, values(b, 1)); diff != "" || b.Status[1] != "" {
		t.Error(diff, b.Status)
	}
}

// TestReadWhileInitialising has NVML away for as long as that takes.
func TestReadWhileInitialising(t *testing.T) {
	publish(t)
	s := open(t)
	s.calls.Lock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if got, status, _ := read(s, 0, true); len(got) != 0 || !strings.HasPrefix(status, "energy_joules=UNINITIALIZED") {
			t.Error(got, status)
		}
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Error("the reading waits")
	}
	s.calls.Unlock()
	<-done
}

// TestInitialisedOnce has several GPUs find that NVML is gone.
func TestInitialisedOnce(t *testing.T) {
	publish(t)
	s := open(t)
	s.reopen(0, 0)
	s.reopen(0, 0)
	s.reopen(1, time.Hour)
	if s.epoch != 1 {
		t.Error(s.epoch)
	}
	check(t, s, false, fast(), "")
}

// TestCloseDuringAHangingCall does not wait for it.
func TestCloseDuringAHangingCall(t *testing.T) {
	state := publish(t)
	s := open(t)
	state.SetDelay(0, sim.CallFields, 2*patience)
	done := make(chan struct{})
	go func() {
		defer close(done)
		read(s, 0, false)
	}()
	time.Sleep(50 * time.Millisecond)
	err := s.Close()
	select {
	case <-done:
		t.Error("waited")
	default:
	}
	if err == nil || err.Error() != "NVML: nvmlShutdown: TIMEOUT" {
		t.Error(err)
	}
	<-done
}
