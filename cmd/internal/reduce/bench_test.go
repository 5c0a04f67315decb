package reduce

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strconv"
	"testing"
	"time"

	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/trace"
)

// writeRecording writes what record would have: devices polled every 20 ms,
// whose counters move every 100 ms.
func writeRecording(tb testing.TB, path string, devices int, from, to time.Duration) (rows int64) {
	tb.Helper()
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	head := telemetry.Head{Producer: "bench", Clock: trace.Clock{Host: "node", BootID: "b", Anchor: trace.ClockSnapshot{BootNanos: 1e12, UnixNanos: 1780e15}}}
	for i := range devices {
		head.Devices = append(head.Devices, sample.Device{ID: fmt.Sprintf("GPU-%d", i), Host: "node", Index: i, Source: sample.NVML, Scope: sample.ScopeGPU, Name: "H100", Architecture: "hopper"})
	}
	w, err := telemetry.NewWriter(f, head)
	if err != nil {
		tb.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	b := &sample.Batch{Devices: head.Devices}
	energy, watts := make([]float64, devices), make([]float64, devices)
	for d := range energy {
		energy[d], watts[d] = float64(from/1e6*400)/1000, 400
	}
	const poll = trace.Time(20 * time.Millisecond)
	for at := trace.Time(from); at < trace.Time(to); at += poll {
		for d := range devices {
			row := b.Append(d, at+trace.Time(d*30_000), 30*time.Microsecond)
			if int64(at/poll)%5 == int64(d%5) {
				energy[d] = float64(at/1e6*400+trace.Time(rng.IntN(20_000))) / 1000 // 400 W, less evenly
				watts[d] = float64(rng.IntN(300_000)+250_000) / 1000
			}
			row.Set(sample.EnergyJoules, energy[d])
			row.Set(sample.PowerWatts, watts[d])
			row.Set(sample.PowerAverageWatts, watts[d])
			row.Set(sample.PowerInstantWatts, watts[d])
			row.Set(sample.PowerLimitWatts, 700)
		}
		if b.Len() >= 50*devices {
			rows += int64(b.Len())
			if err := w.Write(b); err != nil {
				tb.Fatal(err)
			}
			b.Reset()
		}
	}
	if b.Len() > 0 {
		rows += int64(b.Len())
		if err := w.Write(b); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(telemetry.End{Rows: rows, Clean: true}); err != nil {
		tb.Fatal(err)
	}
	return rows
}

// BenchmarkReduceHour is an hour of 8 GPUs at 20 ms, as recorded: the goal is
// under 1 s on 2 cores.
func BenchmarkReduceHour(b *testing.B) {
	path := filepath.Join(b.TempDir(), "power.arrows")
	rows := writeRecording(b, path, 8, 0, time.Hour)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	b.ReportAllocs()
	for b.Loop() {
		var out, errs bytes.Buffer
		if code := Main(b.Context(), []string{"--format", "json", path}, nil, &out, &errs); code != 0 {
			b.Fatal(code, errs.String())
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkReduceRows reduces recordings of many rows, and says how much memory
// that took at most: it must not grow with the rows. 10^8 rows take minutes and
// 15 GB of disk; WATTRACE_BENCH_ROWS=100000000 asks for them.
func BenchmarkReduceRows(b *testing.B) {
	counts := []int64{1e6, 1e7}
	if n, err := strconv.ParseInt(os.Getenv("WATTRACE_BENCH_ROWS"), 10, 64); err == nil {
		counts = []int64{n}
	}
	for _, n := range counts {
		b.Run(strconv.FormatInt(n, 10), func(b *testing.B) {
			const devices = 8
			path := filepath.Join(b.TempDir(), "power.arrows")
			rows := writeRecording(b, path, devices, 0, time.Duration(n/devices)*20*time.Millisecond)
			reducePeak(b, "--format", "json", path)
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkReduceSlices cuts ten minutes of a rack into slices that are as short as a
// counter's updates, and says how much memory that took at most.
func BenchmarkReduceSlices(b *testing.B) {
	path := filepath.Join(b.TempDir(), "power.arrows")
	writeRecording(b, path, 72, 0, 10*time.Minute)
	reducePeak(b, "--format", "json", "--every", "100ms", path)
}

// reducePeak runs reduce, and reports the most memory that its heap took.
func reducePeak(b *testing.B, args ...string) {
	runtime.GC()
	stop, peak := make(chan struct{}), make(chan uint64)
	go watchHeap(stop, peak)
	for b.Loop() {
		var errs bytes.Buffer
		if code := Main(b.Context(), args, nil, io.Discard, &errs); code != 0 {
			b.Fatal(code, errs.String())
		}
	}
	close(stop)
	b.ReportMetric(float64(<-peak)/(1<<20), "peak-MiB")
}

// watchHeap sends the most bytes of live and dead objects on the heap, looked at
// every few milliseconds, when it is told to stop.
func watchHeap(stop <-chan struct{}, peak chan<- uint64) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	var most uint64
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		select {
		case <-stop:
			peak <- most
			return
		case <-tick.C:
			metrics.Read(sample)
			most = max(most, sample[0].Value.Uint64())
		}
	}
}
