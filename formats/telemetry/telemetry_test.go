package telemetry

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/sample"
	"wattrace/trace"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// firstMetrics are the columns of the recordings before there were more.
var firstMetrics = []sample.MetricID{
	sample.PowerWatts, sample.PowerInstantWatts, sample.PowerAverageWatts, sample.EnergyJoules, sample.GPUUtilization, sample.MemoryUtilization,
	sample.MemoryUsedBytes, sample.TemperatureCelsius, sample.SMClockHertz, sample.MemoryClockHertz, sample.PowerLimitWatts, sample.ClockEventReasons,
}

// testHead is the head of a node with two GPUs.
func testHead() Head {
	return Head{
		Producer: "wattrace test",
		Clock: trace.Clock{Host: "node1", BootID: "b7c1d0e2-0000-4000-8000-000000000001", Anchor: trace.ClockSnapshot{
			BootNanos: 812345678901, MonotonicNanos: 812345678000, UnixNanos: 1780000000000000000,
		}},
		Info: sample.Info{Driver: "570.86.15", API: "NVML 12.570.86.15", Interval: 50 * time.Millisecond, SlowInterval: time.Second},
		Devices: []sample.Device{
			{
				ID: "GPU-aaaaaaaa-0000-0000-0000-000000000000", Host: "node1", Index: 0, Source: sample.NVML, Scope: sample.ScopeGPU,
				Name: "NVIDIA H200", UUID: "GPU-aaaaaaaa-0000-0000-0000-000000000000", PCIBusID: "00000000:1B:00.0", Architecture: "hopper",
			},
			{
				ID: "GPU-bbbbbbbb-0000-0000-0000-000000000000", Host: "node1", Index: 1, Source: sample.NVML, Scope: sample.ScopeGPU,
				Name: "NVIDIA H200", UUID: "GPU-bbbbbbbb-0000-0000-0000-000000000000", PCIBusID: "00000000:3B:00.0", Architecture: "hopper", MIG: true,
			},
		},
		Snapshot: trace.ClockSnapshot{
			At: 1000, BootNanos: 812345679901, MonotonicNanos: 812345679000, UnixNanos: 1780000000000001000, Spread: 85,
		},
		Metrics: firstMetrics,
	}
}

// testBatch returns n scans of the devices of testHead from scan first on. The
// second device fails now and then.
func testBatch(first, n int) *sample.Batch {
	b := &sample.Batch{Devices: testHead().Devices}
	for k := first; k < first+n; k++ {
		at := trace.Time(k) * trace.Time(50*time.Millisecond)
		for d := range b.Devices {
			row := b.Append(d, at.Add(time.Duration(d)*40*time.Microsecond), 31*time.Microsecond)
			if d == 1 && k%3 == 2 {
				row.Fail(sample.PowerWatts, "GPU_IS_LOST")
				row.Fail(sample.EnergyJoules, "GPU_IS_LOST")
				continue
			}
			row.Set(sample.PowerWatts, 300.125+float64(k)+100*float64(d))
			row.Set(sample.EnergyJoules, float64(123456789+17*k)/1000)
			if k%20 == 0 {
				row.Set(sample.TemperatureCelsius, 54)
				row.SetUint(sample.MemoryUsedBytes, 70<<30)
				row.SetUint(sample.ClockEventReasons, 1<<63|4)
			}
		}
	}
	return b
}

// write writes a recording of the given batches, each pair of them a stream.
func write(t testing.TB, h Head, end End, batches ...*sample.Batch) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, h)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range batches {
		if i > 0 && i%2 == 0 {
			s := h.Snapshot
			s.At = b.Time[0]
			if err := w.NewStream(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(end); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func testEnd() End {
	h := testHead()
	s := h.Snapshot
	s.At = trace.Time(time.Second)
	return End{
		Ticks: 20, Missed: 1, LatenessP50: 3 * time.Microsecond, LatenessP99: 80 * time.Microsecond, LatenessMax: time.Millisecond,
		Read: 12 * time.Millisecond, CPU: 2 * time.Millisecond, Clean: true, Snapshot: s,
	}
}

// readAll returns copies of the batches before the error that ends the reading.
func readAll(r io.Reader) (rd *Reader, batches []*sample.Batch, err error) {
	if rd, err = NewReader(r, "x.arrows"); err != nil {
		return nil, nil, err
	}
	for {
		b := new(sample.Batch)
		if err := rd.Read(b); err != nil {
			return rd, batches, err
		}
		batches = append(batches, b)
	}
}

// byRow compares batches by what their rows say: the columns may be shorter.
var byRow = cmp.Transformer("rows", func(b sample.Batch) []map[string]any {
	rows := make([]map[string]any, b.Len())
	for i := range rows {
		r := map[string]any{"time": b.Time[i], "took": b.Took[i], "device": b.Devices[b.Device[i]], "status": b.Status[i], "mark": b.MarkOf(i)}
		for id := range sample.NumMetrics {
			if v, ok := b.Uint(id, i); ok {
				r[id.String()] = v
			} else if v, ok := b.Float(id, i); ok {
				r[id.String()] = v
			}
		}
		rows[i] = r
	}
	return rows
})

// dump shows a recording as text.
func dump(rd *Reader, batches []*sample.Batch) string {
	var s strings.Builder
	h := rd.Head()
	fmt.Fprintf(&s, "producer %s\nclock %+v\ninfo %+v\n", h.Producer, h.Clock, h.Info)
	for _, d := range h.Devices {
		fmt.Fprintf(&s, "device %+v\n", d)
	}
	for i, b := range batches {
		fmt.Fprintf(&s, "batch %d\n", i+1)
		for row := range b.Len() {
			fmt.Fprintf(&s, "%s took=%v device=%d", h.Clock.Wall(b.Time[row]).Format(time.RFC3339Nano), b.Took[row], b.Device[row])
			for id := range sample.NumMetrics {
				if v, ok := b.Uint(id, row); ok {
					fmt.Fprintf(&s, " %s=%d", id, v)
				} else if v, ok := b.Float(id, row); ok {
					fmt.Fprintf(&s, " %s=%v", id, v)
				}
			}
			if m := b.MarkOf(row); m.Event != "" {
				fmt.Fprintf(&s, " mark=%q", m)
			}
			fmt.Fprintf(&s, " status=%q\n", b.Status[row])
		}
	}
	for _, info := range h.Sources {
		fmt.Fprintf(&s, "source %+v\n", info)
	}
	fmt.Fprintf(&s, "metrics %v\ntime sync %+v\n", h.Metrics, h.TimeSync)
	for _, hole := range rd.Holes() {
		fmt.Fprintf(&s, "hole %+v\n", hole)
	}
	for _, snapshot := range rd.Snapshots() {
		fmt.Fprintf(&s, "snapshot %+v\n", snapshot)
	}
	if end, ok := rd.End(); ok {
		fmt.Fprintf(&s, "end %+v\n", end)
	}
	return s.String()
}

func example(t testing.TB) []byte {
	return write(t, testHead(), testEnd(), testBatch(0, 2), testBatch(2, 3), testBatch(5, 1))
}

// TestExample has a recording as they were before there were marks, holes and
// several sources: it must be read for ever.
func TestExample(t *testing.T) { golden(t, "example", example(t)) }

// TestFullExample has all that a recording can say: two sources, marks, a
// device and a metric that come later, a hole.
func TestFullExample(t *testing.T) {
	h := testHead()
	h.Info.Source = sample.NVML
	h.Sources = []sample.Info{h.Info, {Source: sample.VLLM, API: "vLLM /metrics", Interval: time.Second}}
	h.TimeSync = TimeSync{Source: "chrony", Synchronised: true, Offset: -12 * time.Microsecond, MaxError: 800 * time.Microsecond, Stratum: 3}
	run := sample.Device{ID: "record:node1", Host: "node1", Source: sample.Recorder, Scope: sample.ScopeRun}
	h.Devices = append(h.Devices, run)
	h.Devices[0].Module, h.Devices[0].Driver, h.Devices[0].MPS = "node1:0", "570.86.15", true
	h.Devices[0].Clocks = sample.Clocks{ApplicationSM: trace.Some(1.41e9), ApplicationMemory: trace.Some(2.619e9), MaxSM: trace.Some(1.98e9)}
	first := testBatch(0, 2)
	first.Devices = h.Devices
	first.Append(2, trace.Time(60*time.Millisecond), time.Millisecond).Mark(sample.Mark{Event: sample.MarkStart, Phase: "profiling at 64"})
	server := sample.Device{ID: "vllm:node1:8000", Host: "node1", Source: sample.VLLM, Scope: sample.ScopeServer, Name: "llama"}
	second := &sample.Batch{Devices: append(h.Devices[:3:3], server)}
	row := second.Append(3, trace.Time(70*time.Millisecond), 2*time.Millisecond)
	row.Set(sample.RequestsRunning, 64)
	row.SetUint(sample.GenerationTokens, 1<<53+1)
	second.Append(2, trace.Time(80*time.Millisecond), 0).Mark(sample.Mark{Event: sample.MarkEnd, Phase: "profiling at 64"})
	second.Append(0, trace.Time(90*time.Millisecond), 0).SetUint(sample.XIDError, 79)
	third := testBatch(4, 1)
	third.Devices = second.Devices

	var out bytes.Buffer
	w, err := NewWriter(&out, h)
	if err != nil {
		t.Fatal(err)
	}
	snapshot := h.Snapshot
	snapshot.At = trace.Time(190 * time.Millisecond)
	end := testEnd()
	end.Units = []UnitEnd{{Devices: []string{h.Devices[0].ID}, Ticks: 20, Missed: 1, LatenessP99: 1, LatenessMax: 2, Read: 3, ReadMax: 4}}
	for _, err := range []error{
		w.Write(first), w.Write(second),
		w.Hole(snapshot, Hole{trace.Time(100 * time.Millisecond), trace.Time(150 * time.Millisecond), 4, "no space left on device"}),
		w.Write(third), w.Close(end),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "full", out.Bytes())
	rd, batches, err := readAll(bytes.NewReader(out.Bytes()))
	if diff := cmp.Diff([]*sample.Batch{first, second, third}, batches, byRow); diff != "" || err != io.EOF {
		t.Error(diff, err)
	}
	if e, ok := rd.End(); !ok || e.Lost != 4 || e.Rows != 10 || len(e.Units) != 1 || len(rd.Holes()) != 1 || len(rd.Head().Sources) != 2 || rd.Head().Devices[0] != h.Devices[0] || rd.Head().TimeSync != h.TimeSync {
		t.Errorf("%+v %+v %+v", e, rd.Holes(), rd.Head())
	}
}

// TestBadMark has a mark that says nothing.
func TestBadMark(t *testing.T) {
	b := &sample.Batch{Devices: testHead().Devices}
	b.Append(0, 0, 0).Mark(sample.Mark{Event: "begin", Phase: "x"})
	_, _, err := readAll(bytes.NewReader(write(t, testHead(), testEnd(), b)))
	if want := `x.arrows: batch 1 row 1: mark "begin x" begins with neither start, end nor note`; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// golden compares a recording, and what it holds, with the committed ones.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	rd, batches, err := readAll(bytes.NewReader(got))
	if err != io.EOF {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{name + ".arrows": got, name + ".txt": []byte(dump(rd, batches))} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, content, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, content) {
			t.Errorf("%s differs (run with -update and look at the difference)", path)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	b := testBatch(0, 30)
	rd, batches, err := readAll(bytes.NewReader(write(t, testHead(), testEnd(), b)))
	if err != io.EOF {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*sample.Batch{b}, batches, byRow); diff != "" {
		t.Error("batch:", diff)
	}
	if diff := cmp.Diff(testHead(), rd.Head()); diff != "" {
		t.Error("head:", diff)
	}
	want := testEnd()
	want.Rows = 60
	if got, ok := rd.End(); !ok || !cmp.Equal(got, want) {
		t.Errorf("end: %+v, %v; want %+v", got, ok, want)
	}
	if got := rd.Snapshots(); len(got) != 2 || got[0] != testHead().Snapshot || got[1] != want.Snapshot {
		t.Error("snapshots:", got)
	}
	b = new(sample.Batch)
	if err := rd.Read(b); err != io.EOF {
		t.Error("a second Read at the end:", err)
	}
}

// TestAnyBatchRoundTrips draws batches with any values. They come back bit by
// bit, so that the millijoules behind joules do.
func TestAnyBatchRoundTrips(t *testing.T) {
	t.Parallel()
	devices := testHead().Devices
	rapid.Check(t, func(t *rapid.T) {
		var want []*sample.Batch
		var out bytes.Buffer
		w, err := NewWriter(&out, testHead())
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 4).Draw(t, "batches") {
			b := &sample.Batch{Devices: devices}
			for range rapid.IntRange(1, 20).Draw(t, "rows") {
				row := b.Append(rapid.IntRange(0, 1).Draw(t, "device"), trace.Time(rapid.Int64Range(0, 1<<60).Draw(t, "time")), 0)
				row.SetTook(time.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "took")))
				for id, m := range sample.Metrics {
					id := sample.MetricID(id)
					switch {
					case rapid.Bool().Draw(t, "null"):
						row.Fail(id, "NO_DATA")
					case m.Type == sample.Uint64:
						row.SetUint(id, rapid.Uint64().Draw(t, "uint"))
					case id == sample.EnergyJoules:
						m := rapid.Uint64Range(0, 1000<<42).Draw(t, "millijoules")
						j := float64(m) / 1000
						if uint64(math.Round(j*1000)) != m {
							t.Fatalf("%d mJ are %v J, which are other millijoules", m, j)
						}
						row.Set(id, j)
					default:
						row.Set(id, rapid.Float64().Draw(t, "float"))
					}
				}
			}
			want = append(want, b)
			if err := w.Write(b); err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "new stream") {
				if err := w.NewStream(testHead().Snapshot); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(testEnd()); err != nil {
			t.Fatal(err)
		}
		_, got, err := readAll(&out)
		if err != io.EOF {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, byRow); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestLargeBatchIsReadInParts(t *testing.T) {
	t.Parallel()
	b := testBatch(0, maxRead/2+10)
	_, batches, err := readAll(bytes.NewReader(write(t, testHead(), testEnd(), b)))
	if err != io.EOF {
		t.Fatal(err)
	}
	if len(batches) != 2 || batches[0].Len() != maxRead || batches[1].Len() != 20 {
		t.Fatalf("%d parts", len(batches))
	}
	for i := range b.Len() {
		part, j := batches[i/maxRead], i%maxRead
		if part.Time[j] != b.Time[i] || part.Device[j] != b.Device[i] || part.Status[j] != b.Status[i] {
			t.Fatalf("row %d differs", i)
		}
		want, known := b.Float(sample.PowerWatts, i)
		if w, ok := part.Float(sample.PowerWatts, j); ok != known || w != want {
			t.Fatalf("power of row %d differs", i)
		}
	}
}

func TestCutAtEveryByte(t *testing.T) {
	t.Parallel()
	batches := []*sample.Batch{testBatch(0, 2), testBatch(2, 3), testBatch(5, 1)}
	// Every batch reaches the file in one write, so the ends are known.
	var out bytes.Buffer
	var ends []int
	w, err := NewWriter(&out, testHead())
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range batches {
		if i == 2 {
			if err := w.NewStream(testHead().Snapshot); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, out.Len())
	}
	if err := w.Close(testEnd()); err != nil {
		t.Fatal(err)
	}
	file := out.Bytes()
	_, whole, _ := readAll(bytes.NewReader(file))
	if diff := cmp.Diff(batches, whole, byRow); diff != "" {
		t.Fatal(diff)
	}
	for n := 0; n < len(file); n += hostileStep {
		want := 0
		for want < len(ends) && ends[want] <= n {
			want++
		}
		rd, got, err := readAll(bytes.NewReader(file[:n]))
		if !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d of %d: %v", n, len(file), err)
		}
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) || corrupt.Offset > int64(n) {
			t.Fatalf("cut at %d: no position in %v", n, err)
		}
		if len(got) != want || want > 0 && !reflect.DeepEqual(whole[:want], got) { // cmp would take minutes
			t.Fatalf("cut at %d: %d batches are not the first %d written", n, len(got), want)
		}
		if rd != nil {
			if _, ok := rd.End(); ok {
				t.Fatalf("cut at %d: passed off as complete", n)
			}
			if again := rd.Read(new(sample.Batch)); again != err {
				t.Fatalf("cut at %d: a second Read gave %v", n, again)
			}
		}
	}
	if _, _, err := readAll(bytes.NewReader(file)); err != io.EOF {
		t.Fatal("the whole file:", err)
	}
}
