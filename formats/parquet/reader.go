package parquet

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"
)

const (
	readRows  = 64 << 10 // of a record
	maxFields = 1024
	maxSchema = 1 << 20 // bytes of ARROW:schema
)

// A Fault is what is wrong with a file.
type Fault struct {
	File string
	Err  error
}

func (f *Fault) Error() string { return f.File + ": " + f.Err.Error() }

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// Stream returns the rows of a Parquet file of flat columns as an Arrow IPC stream, with
// the file's key-value metadata as the schema's: what a reader of recordings takes. name is
// for errors, which are a *Fault, when it is opened or from Read. content is used until the
// stream has ended; the stream must be read to its end or to an error.
func Stream(content []byte, name string) (r io.Reader, err error) {
	defer caught(name, &err)
	f, err := file.NewParquetReader(bytes.NewReader(content))
	if err != nil {
		return nil, &Fault{name, err}
	}
	s, err := arrowSchema(f)
	if err != nil {
		return nil, &Fault{name, err}
	}
	return &stream{name: name, file: f, schema: s}, nil
}

// caught makes a panic of arrow/go, which trusts what it reads, the error that it is.
func caught(name string, err *error) {
	if p := recover(); p != nil {
		*err = &Fault{name, fmt.Errorf("the file does not hold together: %v", p)}
	}
}

// stream writes a record at a time into a buffer, which is read.
type stream struct {
	name   string
	file   *file.Reader
	schema *arrow.Schema
	out    bytes.Buffer
	writer *ipc.Writer
	group  int
	left   int64 // rows of the current row group
	chunks []file.ColumnChunkReader
	err    error
}

func (s *stream) Read(p []byte) (int, error) {
	for s.out.Len() == 0 && s.err == nil {
		s.err = s.advance()
	}
	if s.out.Len() > 0 {
		return s.out.Read(p)
	}
	return 0, s.err
}

// advance writes the schema, the next record or the end.
func (s *stream) advance() (err error) {
	defer caught(s.name, &err)
	if s.writer == nil {
		s.writer = ipc.NewWriter(&s.out, ipc.WithSchema(s.schema))
	}
	for s.left == 0 {
		if s.group == s.file.NumRowGroups() {
			if err := s.writer.Close(); err != nil {
				return &Fault{s.name, err}
			}
			return io.EOF
		}
		g := s.file.RowGroup(s.group)
		s.group++
		s.left, s.chunks = g.NumRows(), nil
		for i := range s.schema.NumFields() {
			c, err := g.Column(i)
			if err != nil {
				return &Fault{s.name, err}
			}
			s.chunks = append(s.chunks, c)
		}
	}
	n := min(s.left, readRows)
	s.left -= n
	columns := make([]arrow.Array, 0, len(s.chunks))
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	for i, c := range s.chunks {
		col, err := column(c, s.schema.Field(i), int(n))
		if err != nil {
			return &Fault{s.name, fmt.Errorf("row group %d, column %s: %w", s.group, s.schema.Field(i).Name, err)}
		}
		columns = append(columns, col)
	}
	record := array.NewRecord(s.schema, columns, n)
	defer record.Release()
	if err := s.writer.Write(record); err != nil {
		return &Fault{s.name, err}
	}
	return nil
}

// arrowSchema returns the columns with their Arrow types, units as the file's own Arrow
// schema has them, and the metadata.
func arrowSchema(f *file.Reader) (*arrow.Schema, error) {
	root := f.MetaData().Schema
	if n := root.NumColumns(); n > maxFields || n != root.Root().NumFields() {
		return nil, fmt.Errorf("not a table of at most %d flat columns", maxFields)
	}
	var keys, values []string
	own := map[string]arrow.Metadata{}
	for _, pair := range f.MetaData().KeyValueMetadata() {
		if pair.Key == "ARROW:schema" {
			own = unitsOf(pair.GetValue())
			continue
		}
		keys, values = append(keys, pair.Key), append(values, pair.GetValue())
	}
	var fields []arrow.Field
	for i := range root.NumColumns() {
		c := root.Column(i)
		t, err := typeOf(c)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.Name(), err)
		}
		fields = append(fields, arrow.Field{Name: c.Name(), Type: t, Nullable: c.MaxDefinitionLevel() > 0, Metadata: own[c.Name()]})
	}
	m := arrow.NewMetadata(keys, values)
	return arrow.NewSchema(fields, &m), nil
}

// unitsOf reads the metadata of the fields from the Arrow schema that writers put beside
// Parquet's own. One that cannot be read says nothing.
func unitsOf(text string) (own map[string]arrow.Metadata) {
	own = map[string]arrow.Metadata{}
	defer func() { _ = recover() }()
	message, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(message) > maxSchema {
		return own
	}
	r, err := ipc.NewReader(bytes.NewReader(message))
	if err != nil {
		return own
	}
	defer r.Release()
	for _, f := range r.Schema().Fields() {
		own[f.Name] = f.Metadata
	}
	return own
}

var errType = errors.New("of a type that is not read")

func typeOf(c *schema.Column) (arrow.DataType, error) {
	if c.MaxRepetitionLevel() > 0 || c.MaxDefinitionLevel() > 1 {
		return nil, errors.New("is not flat")
	}
	switch logical := logicalOf(c).(type) {
	case schema.TimestampLogicalType:
		if nanos(c) == 0 || !logical.IsAdjustedToUTC() || c.PhysicalType() != parquet.Types.Int64 {
			return nil, errType
		}
		return &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, nil
	case schema.IntLogicalType:
		if !logical.IsSigned() && logical.BitWidth() == 64 && c.PhysicalType() == parquet.Types.Int64 {
			return arrow.PrimitiveTypes.Uint64, nil
		}
	}
	switch c.PhysicalType() {
	case parquet.Types.Int64:
		return arrow.PrimitiveTypes.Int64, nil
	case parquet.Types.Int32:
		return arrow.PrimitiveTypes.Int32, nil
	case parquet.Types.Double:
		return arrow.PrimitiveTypes.Float64, nil
	case parquet.Types.ByteArray:
		return arrow.BinaryTypes.String, nil
	}
	return nil, errType
}

// logicalOf returns the logical type of a column as a value, which arrow/go gives as
// either.
func logicalOf(c *schema.Column) schema.LogicalType {
	switch t := c.LogicalType().(type) {
	case *schema.TimestampLogicalType:
		return *t
	case *schema.IntLogicalType:
		return *t
	default:
		return t
	}
}

// nanos returns how many nanoseconds the unit of a column of times is; 0 is that it has none.
func nanos(c *schema.Column) int64 {
	t, ok := logicalOf(c).(schema.TimestampLogicalType)
	if !ok {
		return 0
	}
	switch t.TimeUnit() {
	case schema.TimeUnitNanos:
		return 1
	case schema.TimeUnitMicros:
		return 1e3
	case schema.TimeUnitMillis:
		return 1e6
	}
	return 0
}

// column reads n rows of a column.
func column(c file.ColumnChunkReader, f arrow.Field, n int) (arrow.Array, error) {
	b := array.NewBuilder(memory.DefaultAllocator, f.Type)
	defer b.Release()
	b.Reserve(n)
	var err error
	switch c := c.(type) {
	case *file.Int64ColumnChunkReader:
		switch b := b.(type) {
		case *array.TimestampBuilder:
			unit := nanos(c.Descriptor())
			err = values(c.ReadBatch, n, f.Nullable, func(v int64) { b.Append(arrow.Timestamp(v * unit)) }, b.AppendNull)
		case *array.Uint64Builder:
			err = values(c.ReadBatch, n, f.Nullable, func(v int64) { b.Append(uint64(v)) }, b.AppendNull)
		case *array.Int64Builder:
			err = values(c.ReadBatch, n, f.Nullable, b.Append, b.AppendNull)
		default:
			err = errType
		}
	case *file.Int32ColumnChunkReader:
		err = values(c.ReadBatch, n, f.Nullable, b.(*array.Int32Builder).Append, b.AppendNull)
	case *file.Float64ColumnChunkReader:
		err = values(c.ReadBatch, n, f.Nullable, b.(*array.Float64Builder).Append, b.AppendNull)
	case *file.ByteArrayColumnChunkReader:
		size := 0
		err = values(c.ReadBatch, n, f.Nullable, func(v parquet.ByteArray) {
			if size += len(v); size <= math.MaxInt32 {
				b.(*array.StringBuilder).Append(string(v))
			}
		}, b.AppendNull)
		if size > math.MaxInt32 {
			err = errors.New("more than 2 GiB of text in one batch")
		}
	default:
		err = errType
	}
	if err != nil {
		return nil, err
	}
	return b.NewArray(), nil
}

// values reads n rows by a typed reader's ReadBatch.
func values[T any](read func(int64, []T, []int16, []int16) (int64, int, error), n int, nullable bool, add func(T), null func()) error {
	some, levels := make([]T, n), make([]int16, n)
	for n > 0 {
		def := levels[:n]
		if !nullable {
			def = nil
		}
		rows, present, err := read(int64(n), some[:n], def, nil)
		if err != nil {
			return err
		}
		if rows <= 0 || rows > int64(n) || present > int(rows) {
			return errors.New("it has fewer rows than its row group")
		}
		next := 0
		for i := range int(rows) {
			if nullable && levels[i] == 0 {
				null()
				continue
			}
			if next == present {
				return errors.New("it has fewer values than its levels say")
			}
			add(some[next])
			next++
		}
		n -= int(rows)
	}
	return nil
}
