package parquet

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
)

var (
	identity = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Uint8, ValueType: arrow.BinaryTypes.String}
	pairs    = arrow.NewMetadata([]string{"wattrace.schema"}, []string{"wattrace.telemetry/1"})
	all      = arrow.NewSchema([]arrow.Field{
		{Name: "time", Type: arrow.FixedWidthTypes.Timestamp_ns},
		{Name: "took_nanos", Type: arrow.PrimitiveTypes.Int64},
		{Name: "device", Type: identity},
		{Name: "device_index", Type: arrow.PrimitiveTypes.Int32},
		{Name: "power_watts", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "reasons", Type: arrow.PrimitiveTypes.Uint64, Nullable: true},
		{Name: "status", Type: arrow.BinaryTypes.String, Nullable: true},
	}, &pairs)
)

// record has n rows from row first on; every third has no reading.
func record(first, n int) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, all)
	for i := first; i < first+n; i++ {
		b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(1_780_000_000_000_000_000 + i))
		b.Field(1).(*array.Int64Builder).Append(int64(i))
		b.Field(2).(*array.BinaryDictionaryBuilder).AppendString([]string{"a", "b"}[i%2])
		b.Field(3).(*array.Int32Builder).Append(int32(i % 2))
		if i%3 == 2 {
			b.Field(4).AppendNull()
			b.Field(5).AppendNull()
			b.Field(6).(*array.StringBuilder).Append("LOST")
			continue
		}
		b.Field(4).(*array.Float64Builder).Append(float64(i))
		b.Field(5).(*array.Uint64Builder).Append(1<<63 + uint64(i))
		b.Field(6).AppendNull()
	}
	return b.NewRecord()
}

// read reads column i of a row group.
func read[T any, R interface {
	ReadBatch(int64, []T, []int16, []int16) (int64, int, error)
}](t *testing.T, g *file.RowGroupReader, i int) []T {
	t.Helper()
	c, err := g.Column(i)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]T, g.NumRows())
	n := 0
	for at := int64(0); at < g.NumRows(); {
		rows, got, err := any(c).(R).ReadBatch(g.NumRows()-at, values[n:], make([]int16, g.NumRows()-at), nil)
		if err != nil || rows == 0 {
			t.Fatalf("column %d after %d rows: %v", i, at, err)
		}
		at, n = at+rows, n+got
	}
	return values[:n]
}

// The rows of a batch may lie in two row groups.
func TestRowGroups(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := NewWriter(&out, all)
	if err != nil {
		t.Fatal(err)
	}
	const batch, rows = 300_000, 1_200_000
	for first := 0; first < rows; first += batch {
		r := record(first, batch)
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
		r.Release()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := file.NewParquetReader(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if f.NumRows() != rows || f.NumRowGroups() != 2 || f.RowGroup(0).NumRows() != rowGroup {
		t.Fatalf("%d rows in %d groups, the first of %d", f.NumRows(), f.NumRowGroups(), f.RowGroup(0).NumRows())
	}
	if v := f.MetaData().KeyValueMetadata().FindValue("wattrace.schema"); v == nil || *v != "wattrace.telemetry/1" {
		t.Errorf("metadata %v", f.MetaData().KeyValueMetadata())
	}
	row := 0
	for i := range f.NumRowGroups() {
		g := f.RowGroup(i)
		times := read[int64, *file.Int64ColumnChunkReader](t, g, 0)
		took := read[int64, *file.Int64ColumnChunkReader](t, g, 1)
		device := read[parquet.ByteArray, *file.ByteArrayColumnChunkReader](t, g, 2)
		index := read[int32, *file.Int32ColumnChunkReader](t, g, 3)
		power := read[float64, *file.Float64ColumnChunkReader](t, g, 4)
		reasons := read[int64, *file.Int64ColumnChunkReader](t, g, 5)
		status := read[parquet.ByteArray, *file.ByteArrayColumnChunkReader](t, g, 6)
		for j := range times {
			ok := times[j] == int64(1_780_000_000_000_000_000+row) && took[j] == int64(row) && index[j] == int32(row%2) && string(device[j]) == []string{"a", "b"}[row%2]
			if row%3 == 2 {
				ok = ok && string(status[0]) == "LOST"
				status = status[1:]
			} else {
				ok = ok && power[0] == float64(row) && uint64(reasons[0]) == 1<<63+uint64(row)
				power, reasons = power[1:], reasons[1:]
			}
			if !ok {
				t.Fatalf("row %d", row)
			}
			row++
		}
		if len(power)+len(reasons)+len(status) > 0 {
			t.Error("more values than rows")
		}
	}
}

// failing takes n bytes.
type failing struct{ n int }

var errFull = errors.New("no space left on device")

func (f *failing) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// Wherever the disk is full, an error says so: arrow/go panics, or forgets it.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	r := record(0, 100)
	write := func(out io.Writer) error {
		w, err := NewWriter(out, all)
		if err != nil {
			return err
		}
		return errors.Join(w.Write(r), w.Close())
	}
	var whole bytes.Buffer
	if err := write(&whole); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < whole.Len(); n += 1 + n/7 {
		if err := write(&failing{n}); !errors.Is(err, errFull) {
			t.Fatalf("after %d of %d bytes: %v", n, whole.Len(), err)
		}
	}
}

// Lists, null and empty ones too, and booleans, over many row groups.
func TestLists(t *testing.T) {
	t.Parallel()
	s := arrow.NewSchema([]arrow.Field{
		{Name: "list", Type: arrow.ListOfNonNullable(arrow.PrimitiveTypes.Int64), Nullable: true},
		{Name: "flag", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	}, nil)
	var out bytes.Buffer
	w, err := NewWriter(&out, s)
	if err != nil {
		t.Fatal(err)
	}
	w.most = 60_000
	length := func(i int) int { // -1 is null
		switch {
		case i%7 == 3:
			return -1
		case i == 50:
			return 40_000
		case i >= 100:
			return 700
		}
		return i % 5
	}
	const rows = 200
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	next := int64(0)
	for i := range rows {
		list := b.Field(0).(*array.ListBuilder)
		if n := length(i); n < 0 {
			list.AppendNull()
			b.Field(1).AppendNull()
		} else {
			list.Append(true)
			for range n {
				list.ValueBuilder().(*array.Int64Builder).Append(next)
				next++
			}
			b.Field(1).(*array.BooleanBuilder).Append(i%2 == 0)
		}
		if i%50 == 49 {
			r := b.NewRecord()
			if err := w.Write(r); err != nil {
				t.Fatal(err)
			}
			r.Release()
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := file.NewParquetReader(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if f.NumRows() != rows || f.NumRowGroups() != 2 {
		t.Fatalf("%d rows in %d groups", f.NumRows(), f.NumRowGroups())
	}
	row, want := -1, int64(0)
	got, flags := map[int]int{}, 0
	for i := range f.NumRowGroups() {
		g := f.RowGroup(i)
		c, err := g.Column(0)
		if err != nil {
			t.Fatal(err)
		}
		n := c.(*file.Int64ColumnChunkReader)
		values, def, rep := make([]int64, 4096), make([]int16, 4096), make([]int16, 4096)
		for n.HasNext() {
			levels, k, err := n.ReadBatch(4096, values, def, rep)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range values[:k] {
				if v != want {
					t.Fatalf("%d instead of %d", v, want)
				}
				want++
			}
			for j := range levels {
				if rep[j] == 0 {
					row++
				}
				got[row] += int(def[j]) - 1 // of null -1, of an empty list 0, of an element 1
			}
		}
		for _, v := range read[bool, *file.BooleanColumnChunkReader](t, g, 1) {
			if v {
				flags++
			}
		}
	}
	for i := range rows {
		if got[i] != length(i) {
			t.Fatalf("row %d has %d elements, want %d", i, got[i], length(i))
		}
	}
	even := 0
	for i := range rows {
		if i%2 == 0 && length(i) >= 0 {
			even++
		}
	}
	if want != next || flags != even {
		t.Errorf("%d elements of %d, %d of %d flags", want, next, flags, even)
	}
	for _, typ := range []arrow.DataType{arrow.ListOf(arrow.PrimitiveTypes.Int64), arrow.ListOfNonNullable(arrow.PrimitiveTypes.Float64)} {
		if _, err := NewWriter(&out, arrow.NewSchema([]arrow.Field{{Name: "x", Type: typ, Nullable: true}}, nil)); err == nil {
			t.Errorf("%s is taken", typ)
		}
	}
}

func TestUnknownTypes(t *testing.T) {
	t.Parallel()
	for want, typ := range map[string]arrow.DataType{
		"column x: no Parquet column is made of int16":               arrow.PrimitiveTypes.Int16,
		"column x is timestamp[us, tz=UTC], want nanoseconds in UTC": arrow.FixedWidthTypes.Timestamp_us,
	} {
		_, err := NewWriter(io.Discard, arrow.NewSchema([]arrow.Field{{Name: "x", Type: typ}}, nil))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
