package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"wattrace/sample"
)

// limitedWriter takes n writes and then fails.
type limitedWriter struct {
	n      int
	writes int
	err    error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if w.writes == w.n {
		return 0, w.err
	}
	w.writes++
	return len(p), nil
}

func TestWriterKeepsItsError(t *testing.T) {
	t.Parallel()
	full := errors.New("no space left on device")
	for n := range 3 {
		out := &limitedWriter{n: n, err: full}
		w, err := NewWriter(out, testHead())
		if err == nil {
			err = w.Write(testBatch(0, 1))
		}
		if err == nil {
			err = w.NewStream(testHead().Snapshot)
		}
		if err == nil {
			err = w.Close(testEnd())
		}
		if !errors.Is(err, full) {
			t.Errorf("%d writes: %v", n, err)
		}
		if w != nil {
			if err := w.Write(testBatch(0, 1)); !errors.Is(err, full) {
				t.Errorf("%d writes, then Write: %v", n, err)
			}
			if err := w.Close(testEnd()); !errors.Is(err, full) {
				t.Errorf("%d writes, then Close: %v", n, err)
			}
		}
	}
	out := &limitedWriter{n: 100, err: full}
	w, err := NewWriter(out, testHead())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := w.Write(testBatch(i, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if out.writes != 3 {
		t.Errorf("3 batches took %d writes: a kill could cut one", out.writes)
	}
	if err := w.Close(testEnd()); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(testBatch(3, 1)); err == nil {
		t.Error("Write after Close")
	}
}

func TestWriterRefuses(t *testing.T) {
	t.Parallel()
	head := func(change func(h *Head), want string) {
		t.Helper()
		h := testHead()
		change(&h)
		if _, err := NewWriter(new(bytes.Buffer), h); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	head(func(h *Head) { h.Devices[1].ID = h.Devices[0].ID }, "device GPU-aaaaaaaa-0000-0000-0000-000000000000 stands twice in the device table")
	head(func(h *Head) { h.Devices[1].Host = "\xff" }, "column host: a name is not UTF-8")
	head(func(h *Head) {
		h.Devices = nil
		for i := range 257 {
			h.Devices = append(h.Devices, sample.Device{ID: fmt.Sprint(i)})
		}
	}, "column device: more than 256 names")

	batch := func(change func(b *sample.Batch), want string) {
		t.Helper()
		w, err := NewWriter(new(bytes.Buffer), testHead())
		if err != nil {
			t.Fatal(err)
		}
		b := testBatch(0, 2)
		change(b)
		if err := w.Write(b); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	batch(func(b *sample.Batch) { b.Device[2] = 2 }, "row 3: device 2 of 2")
	batch(func(b *sample.Batch) { b.Columns[sample.PowerWatts].Float[1] = math.NaN() }, "row 2: power_watts is not a finite number")
	batch(func(b *sample.Batch) { b.Status[3] = "\xff" }, "row 4: the status is not UTF-8")
}

// TestNothingUnderANull makes sure that what a batch holds below a null stays
// out of the file.
func TestNothingUnderANull(t *testing.T) {
	t.Parallel()
	b := testBatch(0, 4)
	clean := write(t, testHead(), testEnd(), b)
	power, memory := &b.Columns[sample.PowerWatts], &b.Columns[sample.MemoryUsedBytes]
	if power.Valid[5] || len(memory.Valid) > 2 {
		t.Fatal("the batch has no nulls there")
	}
	power.Float[5] = math.NaN()
	memory.Uint, memory.Valid = append(memory.Uint, 12345), append(memory.Valid, false)
	if !bytes.Equal(clean, write(t, testHead(), testEnd(), b)) {
		t.Error("the file shows what was below a null")
	}
}

func TestMost256Devices(t *testing.T) {
	t.Parallel()
	h := testHead()
	h.Devices = nil
	for i := range 256 {
		h.Devices = append(h.Devices, sample.Device{ID: fmt.Sprint("GPU-", i), Host: "h", Index: i, Source: sample.NVML, Scope: sample.ScopeGPU})
	}
	b := &sample.Batch{Devices: h.Devices}
	for i := range h.Devices {
		b.Append(i, 0, 0)
	}
	_, got, err := readAll(bytes.NewReader(write(t, h, testEnd(), b)))
	if len(got) != 1 || got[0].Device[255] != 255 {
		t.Error(len(got), err)
	}
}

func BenchmarkWrite(b *testing.B) {
	batch := testBatch(0, 200) // one second of 8 devices at 20 ms
	b.ReportAllocs()
	w, err := NewWriter(&limitedWriter{n: math.MaxInt}, testHead())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := w.Write(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*batch.Len())/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkRead(b *testing.B) {
	for _, scans := range []int{200, 32 << 10} {
		batches := []*sample.Batch{}
		for i := range 5 {
			batches = append(batches, testBatch(i*scans, scans))
		}
		file := write(b, testHead(), testEnd(), batches...)
		b.Run(fmt.Sprint(2*scans, " rows a batch"), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(file)))
			batch := new(sample.Batch)
			for b.Loop() {
				rd, err := NewReader(bytes.NewReader(file), "x")
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					err = rd.Read(batch)
				}
			}
			b.ReportMetric(float64(b.N*5*2*scans)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
