package telemetry

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"wattrace/sample"
)

// small is a recording of little more than one row, for tests that read it
// very often.
func small(t testing.TB) []byte {
	h := testHead()
	h.Devices = h.Devices[:1]
	b := &sample.Batch{Devices: h.Devices}
	row := b.Append(0, 0, 1000)
	row.Set(sample.PowerWatts, 300)
	row.Fail(sample.EnergyJoules, "NOT_SUPPORTED")
	return write(t, h, testEnd(), b)
}

// allocated returns the bytes that f allocates, large objects exactly.
func allocated(f func()) uint64 {
	total := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(total)
	before := total[0].Value.Uint64()
	f()
	metrics.Read(total)
	return total[0].Value.Uint64() - before
}

// checkHostile reads bytes that may be anything. Whatever they are, the reader
// must end with io.EOF or an error that has a position, in memory in
// proportion to the input (but for slack, where there are decompressors).
// refused says that it was an error.
func checkHostile(t *testing.T, file []byte, slack uint64) (refused bool) {
	t.Helper()
	var rd *Reader
	var err error
	used := allocated(func() { rd, _, err = readAll(bytes.NewReader(file)) })
	if used > slack+100*uint64(len(file)) {
		t.Fatalf("reading %d bytes took %d of memory", len(file), used)
	}
	if err == io.EOF {
		if _, ok := rd.End(); !ok {
			t.Fatal("io.EOF without an end")
		}
		return false
	}
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || corrupt.File != "x.arrows" || corrupt.Offset < 0 || corrupt.Offset > int64(len(file)) {
		t.Fatalf("no position: %v", err)
	}
	if rd != nil {
		if _, ok := rd.End(); ok {
			t.Fatal("an error and an end:", err)
		}
	}
	return true
}

// TestFlipEveryByte damages every byte of a recording.
func TestFlipEveryByte(t *testing.T) {
	file := small(t)
	for i := 0; i < len(file); i += hostileStep {
		for _, mask := range []byte{0x01, 0x80} {
			damaged := bytes.Clone(file)
			damaged[i] ^= mask
			checkHostile(t, damaged, 1<<20)
		}
	}
}

// TestLargeLengths puts large numbers over every aligned word, as a flipped
// byte seldom does.
func TestLargeLengths(t *testing.T) {
	file := small(t)
	for i := 0; i+4 <= len(file); i += 4 * hostileStep {
		for _, word := range []uint32{0x7fffffff, 0x0000fff0} {
			damaged := bytes.Clone(file)
			binary.LittleEndian.PutUint32(damaged[i:], word)
			checkHostile(t, damaged, 1<<20)
		}
	}
}

// TestCompressedLies damages files whose buffers are compressed, and so say
// themselves how large they are.
func TestCompressedLies(t *testing.T) {
	for _, codec := range []ipc.Option{ipc.WithZstd(), ipc.WithLZ4()} {
		file := reencode(t, small(t), false, codec)
		for i := 0; i+8 <= len(file); i += 8 * hostileStep {
			damaged := bytes.Clone(file)
			binary.LittleEndian.PutUint64(damaged[i:], 200<<20)
			checkHostile(t, damaged, 8<<20)
		}
	}
}

func TestZstdFrames(t *testing.T) {
	t.Parallel()
	text := []byte(strings.Repeat("joules ", 100_000))
	frame := func(window int, stream bool, opts ...zstd.EOption) []byte {
		t.Helper()
		var out bytes.Buffer
		e, err := zstd.NewWriter(&out, append(opts, zstd.WithWindowSize(window), zstd.WithSingleSegment(!stream))...)
		if err != nil {
			t.Fatal(err)
		}
		if !stream {
			return e.EncodeAll(text, nil)
		}
		if _, err := e.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := e.Flush(); err != nil { // so that the encoder does not know the size
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	skippable := []byte{0x53, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'}
	good := [][]byte{
		frame(1<<20, false), frame(1<<20, true), frame(8<<20, true), frame(1<<20, true, zstd.WithEncoderCRC(false)),
		frame(1<<20, false, zstd.WithEncoderCRC(false)), frame(1<<20, true, zstd.WithEncoderLevel(zstd.SpeedBestCompression)), skippable,
	}
	for i, f := range good {
		if err := verifyZstd(f); err != nil {
			t.Errorf("frame %d: %v", i, err)
		}
		for n := 1; n < len(f); n++ {
			if verifyZstd(f[:n]) == nil {
				t.Fatalf("frame %d cut at %d of %d is good", i, n, len(f))
			}
		}
	}
	if err := verifyZstd(slices.Concat(good...)); err != nil {
		t.Error("all frames:", err)
	}
	large := frame(16<<20, true)
	if err := verifyZstd(slices.Concat(skippable, good[0], large)); err == nil || err.Error() != "a compressed buffer asks for too much memory" {
		t.Error("a large window behind others:", err)
	}
	// A single segment has no window but its content's size.
	big := bytes.Clone(good[0])
	if big[4]>>5&1 != 1 || big[4]>>6 != 2 {
		t.Fatalf("flags %x are not those of a single segment with 4 bytes of size", big[4])
	}
	binary.LittleEndian.PutUint32(big[5:], 16<<20)
	if err := verifyZstd(big); err == nil || err.Error() != "a compressed buffer asks for too much memory" {
		t.Error("a large segment:", err)
	}
}

func FuzzReadHostile(f *testing.F) {
	f.Add(small(f))
	f.Add(example(f))
	f.Add(reencode(f, example(f), true, ipc.WithZstd()))
	f.Add(reencode(f, example(f), false, ipc.WithLZ4()))
	f.Fuzz(func(t *testing.T, file []byte) { checkHostile(t, file, 64<<20) })
}

// reencode writes the rows of a recording again with arrow/go, as one stream
// or one file, as another program would.
func reencode(t testing.TB, file []byte, asFile bool, opts ...ipc.Option) []byte {
	t.Helper()
	var records []arrow.Record
	var schema *arrow.Schema
	r := bytes.NewReader(file)
	for r.Len() > 0 {
		rd, err := ipc.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		schema = rd.Schema() // the last has the end
		for rd.Next() {
			rd.Record().Retain()
			records = append(records, rd.Record())
		}
	}
	var out seekBuffer
	opts = append(opts, ipc.WithSchema(schema))
	var w interface {
		Write(arrow.Record) error
		Close() error
	}
	if asFile {
		fw, err := ipc.NewFileWriter(&out, opts...)
		if err != nil {
			t.Fatal(err)
		}
		w = fw
	} else {
		w = ipc.NewWriter(&out, opts...)
	}
	for _, record := range records {
		if err := w.Write(record); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// seekBuffer is a buffer that knows its place, as a FileWriter wants.
type seekBuffer struct{ bytes.Buffer }

func (b *seekBuffer) Seek(int64, int) (int64, error) { return int64(b.Len()), nil }

func TestOtherWriters(t *testing.T) {
	t.Parallel()
	_, want, err := readAll(bytes.NewReader(example(t)))
	if err != io.EOF {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{
		"stream":      reencode(t, example(t), false),
		"lz4 stream":  reencode(t, example(t), false, ipc.WithLZ4()),
		"zstd stream": reencode(t, example(t), false, ipc.WithZstd()),
		"file":        reencode(t, example(t), true),
		"zstd file":   reencode(t, example(t), true, ipc.WithZstd()),
	} {
		_, got, err := readAll(bytes.NewReader(file))
		if err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for n := 0; n < len(file); n += 101 {
			if _, _, err := readAll(bytes.NewReader(file[:n])); !errors.Is(err, ErrTruncated) {
				t.Fatalf("%s cut at %d: %v", name, n, err)
			}
		}
	}
	file := reencode(t, example(t), true)
	two := append(bytes.Clone(file), file...)
	if _, got, err := readAll(bytes.NewReader(two)); err != io.EOF || len(got) != 2*len(want) {
		t.Errorf("two files: %d batches, %v", len(got), err)
	}
	// The end marker before the footer, which others write and arrow/go v17
	// leaves out.
	footer := len(file) - 10 - int(binary.LittleEndian.Uint32(file[len(file)-10:]))
	marked := slices.Concat(file[:footer], []byte{255, 255, 255, 255, 0, 0, 0, 0}, file[footer:])
	if _, got, err := readAll(bytes.NewReader(marked)); err != io.EOF || len(got) != len(want) {
		t.Errorf("file with an end marker: %d batches, %v", len(got), err)
	}
}

func TestTailOfZeros(t *testing.T) {
	t.Parallel()
	file := example(t)
	for _, n := range []int{1, 4, 8, 4096} {
		_, batches, err := readAll(bytes.NewReader(append(bytes.Clone(file), make([]byte, n)...)))
		if !errors.Is(err, ErrTruncated) || len(batches) != 3 {
			t.Errorf("%d zeros after the end: %d batches, %v", n, len(batches), err)
		}
	}
}

func TestNotARecording(t *testing.T) {
	t.Parallel()
	check := func(name string, file []byte, want string) {
		t.Helper()
		_, _, err := readAll(bytes.NewReader(file))
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, want)
		}
	}
	check("empty", nil, "x.arrows: the recording is not complete: it is empty (at byte 0)")
	check("text", []byte("time,power\n1,2\n"), "x.arrows: no Arrow stream begins here (at byte 0)")
	check("metadata", binary.LittleEndian.AppendUint32([]byte{255, 255, 255, 255}, 1<<20+1),
		"x.arrows: metadata of 1048577 bytes; at most 1048576 are read (at byte 0)")
	check("another schema", bytes.Replace(small(t), []byte("wattrace.telemetry/1"), []byte("wattrace.requests/01"), 1),
		`x.arrows: not a telemetry recording: schema "wattrace.requests/01", want wattrace.telemetry/1 (at byte 0)`)
	check("later version", bytes.Replace(small(t), []byte("wattrace.telemetry/1"), []byte("wattrace.telemetry/2"), 1),
		"x.arrows: schema wattrace.telemetry/2 is newer than wattrace.telemetry/1, which this program reads (at byte 0)")
	check("no schema key", bytes.Replace(small(t), []byte("wattrace.schema"), []byte("wattrace.schemb"), 1),
		"x.arrows: not a telemetry recording: the Arrow schema has no wattrace.schema (at byte 0)")
	check("no column", bytes.Replace(small(t), []byte("took_nanos"), []byte("took_manos"), 1),
		"x.arrows: the schema has no column took_nanos (at byte 0)")
	check("unit", bytes.Replace(small(t), []byte("Cel"), []byte("Fah"), 1),
		`x.arrows: column temperature_celsius is in "Fah", want "Cel" (at byte 0)`)
	check("another index", bytes.ReplaceAll(small(t), []byte(`"index":0`), []byte(`"index":3`)),
		"x.arrows: batch 1 row 1: device_index 0, the device table says 3 (at byte 4272)")
	check("another device", bytes.ReplaceAll(small(t), []byte(`"id":"GPU-a`), []byte(`"id":"GPU-c`)),
		"x.arrows: batch 1 row 1: a device that the device table does not have (at byte 4272)")
	stranger := small(t)
	for _, change := range [][2]string{{`"id":"GPU-a`, `"id":"GPU-c`}, {`"host":"node1","index"`, `"host":"node2","index"`}, {`"source":"nvml"`, `"source":"dcgm"`}, {`"scope":"gpu"`, `"scope":"cpu"`}} {
		stranger = bytes.ReplaceAll(stranger, []byte(change[0]), []byte(change[1]))
	}
	check("a stranger in everything", stranger, "x.arrows: batch 1 row 1: a device that the device table does not have (at byte 4272)")
	check("rows left out", bytes.Replace(small(t), []byte(`{"rows":1,`), []byte(`{"rows":7,`), 1),
		"x.arrows: batch 2: the recording holds 1 rows, its end says 7 (at byte 9912)")
}

// TestBadRow damages single values of a batch with two rows before it.
func TestBadRow(t *testing.T) {
	t.Parallel()
	b := testBatch(0, 3)
	b.Took[4] = 0x123456789
	b.Columns[sample.PowerWatts].Float[3] = 12345.678
	check := func(name string, old, new uint64, want string) {
		t.Helper()
		var o, n [8]byte
		binary.LittleEndian.PutUint64(o[:], old)
		binary.LittleEndian.PutUint64(n[:], new)
		file := write(t, testHead(), testEnd(), testBatch(0, 1), b)
		if bytes.Count(file, o[:]) != 1 {
			t.Fatalf("%s: the value is not there", name)
		}
		_, got, err := readAll(bytes.NewReader(bytes.Replace(file, o[:], n[:], 1)))
		if err == nil || !strings.HasPrefix(err.Error(), want) || len(got) != 1 {
			t.Errorf("%s: %d batches, %v; want %s", name, len(got), err, want)
		}
	}
	check("negative", 0x123456789, math.MaxUint64, "x.arrows: batch 2 row 5: took_nanos is negative (at byte ")
	check("NaN", math.Float64bits(12345.678), math.Float64bits(math.NaN()), "x.arrows: batch 2 row 4: power_watts is not a finite number (at byte ")
	check("infinite", math.Float64bits(12345.678), math.Float64bits(math.Inf(-1)), "x.arrows: batch 2 row 4: power_watts is not a finite number (at byte ")
}

func TestConcatenated(t *testing.T) {
	t.Parallel()
	first := write(t, testHead(), testEnd(), testBatch(0, 2))

	// The second was made 10 s later in the same boot, by a recorder that saw
	// another device.
	h := testHead()
	h.Clock.Anchor.BootNanos += 10e9
	h.Clock.Anchor.MonotonicNanos += 10e9
	h.Clock.Anchor.UnixNanos += 9e9 // the wall clock was set back
	h.Devices[1].ID, h.Devices[1].UUID = "GPU-cccccccc", "GPU-cccccccc"
	end := testEnd()
	end.LatenessMax, end.Clean = 5, false
	second := write(t, h, end, testBatch(0, 3))

	rd, batches, err := readAll(bytes.NewReader(append(bytes.Clone(first), second...)))
	if err != io.EOF {
		t.Fatal(err)
	}
	if len(batches) != 2 || batches[0].Time[0] != 0 || batches[1].Time[0] != 10e9 {
		t.Errorf("the second recording does not begin 10 s after the first")
	}
	if got := rd.Head().Devices; len(got) != 3 || got[2].ID != "GPU-cccccccc" {
		t.Errorf("devices: %+v", got)
	}
	if diff := cmp.Diff([]int32{0, 2, 0, 2, 0, 2}, batches[1].Device); diff != "" {
		t.Error("devices of the second:", diff)
	}
	if len(batches[0].Devices) != 2 || len(batches[1].Devices) != 3 {
		t.Error("a batch that was handed out got another device")
	}
	e, ok := rd.End()
	if !ok || e.Clean || e.Rows != 10 || e.Ticks != 40 || e.Missed != 2 || e.LatenessMax != testEnd().LatenessMax {
		t.Errorf("end: %+v", e)
	}
	if s := rd.Snapshots(); len(s) != 4 || s[2].At != 10e9+1000 || s[3] != e.Snapshot {
		t.Errorf("snapshots: %+v", s)
	}
	if c := rd.Clocks(); len(c) != 2 || c[1].Clock != h.Clock || len(c[0].Snapshots) != 2 || len(c[1].Snapshots) != 2 || c[1].Snapshots[0].At != 1000 {
		t.Errorf("clocks: %+v", c)
	}

	// A first recording that never ended must not hide behind the second.
	unended := first[:bytes.LastIndex(first, []byte(keySchema))]
	unended = unended[:bytes.LastIndex(unended, []byte{255, 255, 255, 255, 0, 0, 0, 0})+8]
	_, batches, err = readAll(bytes.NewReader(append(bytes.Clone(unended), second...)))
	if !errors.Is(err, ErrTruncated) || len(batches) != 2 {
		t.Errorf("unended first: %d batches, %v", len(batches), err)
	}
}

// failingReader gives what r has and then err.
type failingReader struct {
	r   io.Reader
	err error
}

func (f failingReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

func TestReadErrorIsNoCorruption(t *testing.T) {
	t.Parallel()
	disk := errors.New("input/output error")
	file := small(t)
	for _, n := range []int{0, 5, 100, 6000, len(file)} {
		_, _, err := readAll(failingReader{bytes.NewReader(file[:n]), disk})
		var corrupt *CorruptError
		if !errors.Is(err, disk) || errors.As(err, &corrupt) || err.Error() != "x.arrows: input/output error" {
			t.Errorf("after %d bytes: %v", n, err)
		}
		// What a cut zstd or gzip layer says is a cut.
		_, _, err = readAll(failingReader{bytes.NewReader(file[:n]), io.ErrUnexpectedEOF})
		if n < len(file) && !errors.Is(err, ErrTruncated) {
			t.Errorf("cut layer after %d bytes: %v", n, err)
		}
	}
}

// split takes a stream apart into its messages, with their prefixes.
func split(t *testing.T, stream []byte) (out [][]byte) {
	t.Helper()
	for len(stream) > 0 {
		n := 8 + int(binary.LittleEndian.Uint32(stream[4:]))
		if n > 8 {
			m, err := verify(stream[8:n])
			if err != nil {
				t.Fatal(err)
			}
			n += int(m.body)
		}
		out = append(out, stream[:n])
		stream = stream[n:]
	}
	return out
}

// TestMessagesThatDoNotFit puts messages where arrow/go v17 would read past
// what they have.
func TestMessagesThatDoNotFit(t *testing.T) {
	t.Parallel()
	check := func(name string, want string, messages ...[]byte) {
		t.Helper()
		_, _, err := readAll(bytes.NewReader(slices.Concat(messages...)))
		if err == nil || !strings.HasPrefix(err.Error(), "x.arrows: batch 1: "+want+" (at byte ") {
			t.Errorf("%s: %v; want %s", name, err, want)
		}
	}
	m := split(t, small(t)) // schema, 4 dictionaries, rows, end marker, schema, end marker
	if len(m) != 9 {
		t.Fatal(len(m), "messages")
	}
	check("no dictionaries", "rows come before their dictionaries", m[0], m[5], m[6])
	check("one dictionary left out", "rows come before their dictionaries", m[0], m[1], m[2], m[3], m[5])
	check("schema in the middle", "a stream has one schema, before everything else", m[0], m[0], m[5])

	one := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int8}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, one)
	b.Field(0).(*array.Int8Builder).Append(1)
	var narrow bytes.Buffer
	w := ipc.NewWriter(&narrow, ipc.WithSchema(one))
	if err := w.Write(b.NewRecord()); err != nil {
		t.Fatal(err)
	}
	check("rows of another schema", "a batch with fewer columns than the schema",
		m[0], m[1], m[2], m[3], m[4], split(t, narrow.Bytes())[1])
}

func TestUnknownColumns(t *testing.T) {
	t.Parallel()
	for name, typ := range map[string]arrow.DataType{
		"list":       arrow.ListOf(arrow.StructOf(arrow.Field{Name: "x", Type: arrow.BinaryTypes.String})),
		"dictionary": &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int16, ValueType: arrow.ListOf(arrow.PrimitiveTypes.Int8)},
		"null":       arrow.Null,
		"decimal":    &arrow.Decimal128Type{Precision: 10, Scale: 2},
		"map":        arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int8),
	} {
		file := withColumn(t, small(t), typ)
		_, got, err := readAll(bytes.NewReader(file))
		if len(got) != 1 || got[0].Len() != 1 || err != io.EOF {
			t.Errorf("%s: %d batches, %v", name, len(got), err)
			continue
		}
		if w, ok := got[0].Float(sample.PowerWatts, 0); w != 300 || !ok {
			t.Errorf("%s: %v W, %v", name, w, ok)
		}
	}
	_, _, err := readAll(bytes.NewReader(withColumn(t, small(t), arrow.SparseUnionOf([]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Int8, Nullable: true}}, []arrow.UnionTypeCode{0}))))
	if err == nil || err.Error() != "x.arrows: a column of type 14, which is not read (at byte 0)" {
		t.Error("union:", err)
	}
}

// withColumn puts a column of nulls before those of a recording.
func withColumn(t *testing.T, file []byte, typ arrow.DataType) []byte {
	t.Helper()
	r, err := ipc.NewReader(bytes.NewReader(reencode(t, file, false)))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Next() {
		t.Fatal(r.Err())
	}
	rec := r.Record()
	metadata := rec.Schema().Metadata()
	schema := arrow.NewSchema(append([]arrow.Field{{Name: "extra", Type: typ, Nullable: true}}, rec.Schema().Fields()...), &metadata)
	extra := array.MakeArrayOfNull(memory.DefaultAllocator, typ, int(rec.NumRows()))
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema))
	if err := w.Write(array.NewRecord(schema, append([]arrow.Array{extra}, rec.Columns()...), rec.NumRows())); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestMissingMetricIsNull(t *testing.T) {
	t.Parallel()
	file := bytes.ReplaceAll(small(t), []byte("power_watts"), []byte("power_wotts"))
	_, got, err := readAll(bytes.NewReader(file))
	if err != io.EOF {
		t.Fatal(err)
	}
	if w, ok := got[0].Float(sample.PowerWatts, 0); ok || w != 0 {
		t.Error("a missing column gave", w)
	}
	if got[0].Status[0] != "energy_joules=NOT_SUPPORTED" {
		t.Errorf("status %q", got[0].Status[0])
	}
}
