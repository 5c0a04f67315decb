package record

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/sample/sampletest"
	"wattrace/sample/sim"
	"wattrace/trace"
)

// busyDevices are eight GPUs whose calls take so long each and whose power
// walks, until the test ends.
func busyDevices(t *testing.T, state string, call time.Duration) {
	t.Helper()
	var devices []sample.Device
	for i := range 8 {
		devices = append(devices, sample.Device{
			Name: "wattrace simulated H200", UUID: "GPU-0000000" + strconv.Itoa(i) + "-1111-2222-3333-444444444444",
			PCIBusID: "00000000:0" + strconv.Itoa(i) + ":00.0", Architecture: "hopper",
		})
	}
	s, err := sim.CreateState(state, devices)
	if err != nil {
		t.Fatal(err)
	}
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		energy, power := [8]float64{}, [8]float64{}
		for {
			for i := range devices {
				power[i] = min(700e3, max(90e3, power[i]+40e3*rand.NormFloat64()))
				energy[i] += power[i] * 0.02
				s.Publish(i, sim.Reading{
					EnergyMillijoules: uint64(energy[i]), PowerInstantMilliwatts: uint32(power[i]), PowerAverageMilliwatts: uint32(power[i] * 0.97),
					PowerLimitMilliwatts: 700e3, TemperatureCelsius: 60, SMClockMegahertz: 1980, MemoryClockMegahertz: 2619, GPUUtilizationPercent: 99,
				})
			}
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	for i := range devices {
		s.SetDelay(i, sim.CallFields, call)
		s.SetDelay(i, sim.CallPower, call/2) // of those that ask for each alone
		s.SetDelay(i, sim.CallEnergy, call/2)
	}
	t.Cleanup(func() {
		close(done)
		<-gone
		s.Close()
	})
}

// TestBenchRecord measures record on eight GPUs every 20 ms, whose calls take
// 0.3 ms, beside a poller in Python; WATTRACE_BENCH_RECORD names record, and
// WATTRACE_BENCH_PEERS a directory with pynvml/bin/python. It asserts nothing:
// make bench-record runs it.
func TestBenchRecord(t *testing.T) {
	bin := os.Getenv("WATTRACE_BENCH_RECORD")
	if bin == "" {
		t.Skip("WATTRACE_BENCH_RECORD is not set: make bench-record")
	}
	dir := t.TempDir()
	busyDevices(t, filepath.Join(dir, "state"), 300*time.Microsecond)
	stub := sampletest.BuildStub(t)
	t.Setenv(sampletest.StateVariable, filepath.Join(dir, "state"))
	const length, rounds = 20 * time.Second, 3
	for round := range rounds {
		for _, name := range []string{"power.arrows", "power.arrows.zst"} {
			path := filepath.Join(dir, strconv.Itoa(round)+name)
			cmd := exec.Command(bin, "-q", "--nvml-library", stub, "--interval", "20ms", "--for", length.String(), "-o", path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
			e := endOf(t, path)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%-17s %d rows, %d missed, own CPU %.2f %% of a core (in all %.2f %%), inside NVML %.1f %%, jitter p50 %v p99 %v max %v, %.1f B/row, peak %d MiB",
				name, e.Rows, e.Missed, 100*e.CPU.Seconds()/length.Seconds(), 100*(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()).Seconds()/length.Seconds(),
				100*e.Read.Seconds()/length.Seconds(), e.LatenessP50, e.LatenessP99, e.LatenessMax, float64(info.Size())/float64(e.Rows), usage.Maxrss>>10)
		}
		python := filepath.Join(os.Getenv("WATTRACE_BENCH_PEERS"), "pynvml", "bin", "python")
		if _, err := os.Stat(python); err != nil {
			t.Log("pynvml: left out: ", err)
			continue
		}
		cmd := exec.Command(python, filepath.Join("..", "..", "..", "testdata", "bench-record.py"), "0.02", strconv.Itoa(int(length.Seconds())), filepath.Join(dir, "p.csv"))
		if err := os.Symlink(stub, filepath.Join(dir, "libnvidia-ml.so.1")); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+dir)
		out, err := cmd.Output()
		if err != nil {
			t.Log("pynvml: left out: ", err)
			continue
		}
		var p struct {
			Rows, Missed int
			CPU          float64 `json:"cpu_share"`
			Inside       float64 `json:"inside_share"`
			P50          float64 `json:"late_p50_micros"`
			P99          float64 `json:"late_p99_micros"`
			Max          float64 `json:"late_max_micros"`
		}
		if err := json.Unmarshal(out, &p); err != nil {
			t.Fatal(err)
		}
		micros := func(x float64) time.Duration { return time.Duration(x * 1e3) }
		t.Logf("%-17s %d rows, %d missed, CPU in all %.2f %%, inside NVML %.1f %%, jitter p50 %v p99 %v max %v",
			"pynvml", p.Rows, p.Missed, 100*p.CPU, 100*p.Inside, micros(p.P50), micros(p.P99), micros(p.Max))
	}
}

// endOf reads the end of a recording, through its zstd layer if it has one.
func endOf(t *testing.T, path string) telemetry.End {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rd, err := telemetry.NewReader(layer(t, f, path), path)
	if err != nil {
		t.Fatal(err)
	}
	b := new(sample.Batch)
	for err = rd.Read(b); err == nil; err = rd.Read(b) {
	}
	e, ok := rd.End()
	if err != io.EOF || !ok {
		t.Fatal(err)
	}
	return e
}

// BenchmarkAnHour writes an hour of eight GPUs at 20 ms, 1.44 million rows, as
// record does each second.
func BenchmarkAnHour(b *testing.B) {
	for _, name := range []string{"power.arrows", "power.arrows.zst"} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), name)
			for b.Loop() {
				peak := writeHour(b, path)
				info, err := os.Stat(path)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(info.Size())/1.44e6, "B/row")
				b.ReportMetric(float64(peak)/(1<<20), "MiB-heap")
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1.44e6, "ns/row")
		})
	}
}

// writeHour returns the highest size of the heap.
func writeHour(b *testing.B, path string) (peak uint64) {
	var devices []sample.Device
	for i := range 8 {
		devices = append(devices, sample.Device{ID: "GPU-" + strconv.Itoa(i), Index: i, Source: sample.NVML, Scope: sample.ScopeGPU})
	}
	fast := []sample.MetricID{sample.PowerWatts, sample.PowerInstantWatts, sample.PowerAverageWatts, sample.EnergyJoules, sample.PowerLimitWatts}
	slow := []sample.MetricID{sample.GPUUtilization, sample.MemoryUtilization, sample.TemperatureCelsius, sample.SMClockHertz, sample.MemoryClockHertz}
	rng := rand.New(rand.NewPCG(1, 2))
	action := func(_ context.Context, env *cli.Env, _ *ucli.Context) error {
		clock := trace.NewSteadyClock()
		p := &parts{
			env: env, names: names{pattern: path}, clock: clock, clocks: clock.Snapshot, stats: func() sample.Stats { return sample.Stats{} },
			head: telemetry.Head{Clock: clock.Clock(), Devices: devices, Metrics: slices.Concat(fast, slow)},
		}
		if err := p.open(); err != nil {
			return err
		}
		batch := &sample.Batch{Devices: devices}
		power, energy := [8]float64{}, [8]float64{}
		for second := range 3600 {
			batch.Reset()
			for k := range 50 {
				for d := range devices {
					at := trace.Time(second)*1e9 + trace.Time(k)*2e7 + trace.Time(rng.IntN(60_000))
					row := batch.Append(d, at, time.Duration(300_000+rng.IntN(20_000)))
					power[d] = min(700e3, max(90e3, power[d]+40e3*rng.NormFloat64()))
					energy[d] += power[d] * 0.02
					mw := float64(int(power[d])) / 1000
					for _, id := range fast[:3] {
						row.Set(id, mw)
					}
					row.Set(sample.EnergyJoules, float64(int(energy[d]))/1000)
					row.Set(sample.PowerLimitWatts, 700)
					if k == d {
						for _, id := range slow {
							row.Set(id, float64(rng.IntN(100)))
						}
					}
				}
			}
			if err := p.write(batch); err != nil {
				return err
			}
			if second%60 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
		}
		return p.end(true)
	}
	if code := cli.Main(b.Context(), cli.Tool{Name: "record", Output: true, Action: action}, []string{"--force", "-o", path}, nil, io.Discard, os.Stderr); code != 0 {
		b.Fatal("exit status ", code)
	}
	return peak
}
