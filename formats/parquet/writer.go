package parquet

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/schema"
)

// rowGroup is the rows of a row group, maxElements the elements of its lists, by
// which it ends sooner: a row group is held in memory.
const (
	rowGroup    = 1 << 20
	maxElements = 1 << 22
)

// Writer writes a Parquet file. After an error it is of no more use. It must not
// be used by two goroutines at once.
type Writer struct {
	sink     *sink
	file     *file.Writer
	schema   *arrow.Schema
	group    file.BufferedRowGroupWriter // nil: the next row begins one
	rows     int                         // of group
	elements int                         // of group's lists
	most     int                         // elements of a group, after which it ends

	levels []int16
	again  []int16 // repetition levels
	texts  []parquet.ByteArray
}

// NewWriter begins a file of records of the schema, whose columns are
// timestamps[ns], integers, float64, booleans, text, also as a dictionary, or lists
// of int64 that are never null.
func NewWriter(w io.Writer, s *arrow.Schema) (*Writer, error) {
	root, err := schemaOf(s)
	if err != nil {
		return nil, err
	}
	pairs, err := pairsOf(s)
	if err != nil {
		return nil, err
	}
	options := []parquet.WriterProperty{
		parquet.WithVersion(parquet.V2_LATEST), // nanoseconds
		parquet.WithDataPageVersion(parquet.DataPageV1),
		parquet.WithCompression(compress.Codecs.Zstd),
		parquet.WithMaxRowGroupLength(rowGroup),
		parquet.WithCreatedBy("wattrace"),
	}
	for _, f := range s.Fields() {
		if id := f.Type.ID(); id == arrow.TIMESTAMP || id == arrow.INT64 {
			// Stamps hardly repeat, but their differences do.
			options = append(options, parquet.WithDictionaryFor(f.Name, false), parquet.WithEncodingFor(f.Name, parquet.Encodings.DeltaBinaryPacked))
		} else if id == arrow.LIST {
			path := f.Name + listPath
			options = append(options, parquet.WithDictionaryFor(path, false), parquet.WithEncodingFor(path, parquet.Encodings.DeltaBinaryPacked))
		}
	}
	out := &sink{w: w}
	f := file.NewParquetWriter(out, root, file.WithWriterProps(parquet.NewWriterProperties(options...)), file.WithWriteMetadata(pairs))
	return &Writer{sink: out, file: f, schema: s, most: maxElements}, nil
}

// schemaOf returns the Parquet schema.
func schemaOf(s *arrow.Schema) (*schema.GroupNode, error) {
	var nodes schema.FieldList
	for _, f := range s.Fields() {
		if f.Type.ID() == arrow.LIST {
			node, err := listOf(f)
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, node)
			continue
		}
		var physical parquet.Type
		var logical schema.LogicalType = schema.NoLogicalType{}
		switch t := valueType(f.Type).(type) {
		case *arrow.TimestampType:
			if t.Unit != arrow.Nanosecond || t.TimeZone == "" {
				return nil, fmt.Errorf("column %s is %s, want nanoseconds in UTC", f.Name, t)
			}
			physical, logical = parquet.Types.Int64, schema.NewTimestampLogicalType(true, schema.TimeUnitNanos)
		case *arrow.Int64Type:
			physical = parquet.Types.Int64
		case *arrow.Uint64Type:
			physical, logical = parquet.Types.Int64, schema.NewIntLogicalType(64, false)
		case *arrow.Int32Type:
			physical = parquet.Types.Int32
		case *arrow.Float64Type:
			physical = parquet.Types.Double
		case *arrow.BooleanType:
			physical = parquet.Types.Boolean
		case *arrow.StringType:
			physical, logical = parquet.Types.ByteArray, schema.StringLogicalType{}
		default:
			return nil, fmt.Errorf("column %s: no Parquet column is made of %s", f.Name, f.Type)
		}
		repetition := parquet.Repetitions.Required
		if f.Nullable {
			repetition = parquet.Repetitions.Optional
		}
		node, err := schema.NewPrimitiveNodeLogical(f.Name, repetition, logical, physical, 0, -1)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, node)
	}
	return schema.NewGroupNode("schema", parquet.Repetitions.Required, nodes, -1)
}

// listPath leads from a list to its elements, as the format has it.
const listPath = ".list.element"

// listOf returns the three levels of a list.
func listOf(f arrow.Field) (schema.Node, error) {
	l := f.Type.(*arrow.ListType)
	if l.Elem().ID() != arrow.INT64 || l.ElemField().Nullable || !f.Nullable {
		return nil, fmt.Errorf("column %s: no Parquet column is made of %s", f.Name, f.Type)
	}
	return schema.ListOfWithName(f.Name, schema.NewInt64Node("element", parquet.Repetitions.Required, -1), parquet.Repetitions.Optional, -1)
}

func valueType(t arrow.DataType) arrow.DataType {
	if d, ok := t.(*arrow.DictionaryType); ok {
		return d.ValueType
	}
	return t
}

// pairsOf returns the key-value metadata.
func pairsOf(s *arrow.Schema) (metadata.KeyValueMetadata, error) {
	var pairs metadata.KeyValueMetadata
	m := s.Metadata()
	for i, key := range m.Keys() {
		if err := pairs.Append(key, m.Values()[i]); err != nil {
			return nil, err
		}
	}
	// The message of a schema is a stream without its end marker. pyarrow takes
	// the metadata from there alone.
	const endMarker = 8
	var stream bytes.Buffer
	if err := ipc.NewWriter(&stream, ipc.WithSchema(s)).Close(); err != nil {
		return nil, err
	}
	message := stream.Bytes()[:stream.Len()-endMarker]
	return pairs, pairs.Append("ARROW:schema", base64.StdEncoding.EncodeToString(message))
}

// Write writes the rows of a record.
func (w *Writer) Write(record arrow.Record) error {
	for from, n := int64(0), record.NumRows(); from < n; {
		if w.group == nil {
			w.group = w.file.AppendBufferedRowGroup()
		}
		to := min(n, from+int64(rowGroup-w.rows))
		part := record.NewSlice(from, to)
		err := w.write(part)
		part.Release()
		if err != nil {
			return errors.Join(err, w.sink.err)
		}
		w.rows += int(to - from)
		from = to
		if w.rows == rowGroup || w.elements >= w.most {
			if err := w.endGroup(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *Writer) endGroup() error {
	if w.group == nil {
		return nil
	}
	// Its FileWriter would close it too, and lose the error.
	err := w.group.Close()
	w.group, w.rows, w.elements = nil, 0, 0
	return errors.Join(err, w.sink.err)
}

func (w *Writer) write(record arrow.Record) error {
	for i, col := range record.Columns() {
		out, err := w.group.Column(i)
		if err != nil {
			return err
		}
		if l, ok := col.(*array.List); ok {
			if err := w.writeList(out.(*file.Int64ColumnChunkWriter), l); err != nil {
				return fmt.Errorf("column %s: %w", record.ColumnName(i), err)
			}
			continue
		}
		levels := w.levelsOf(col, record.Schema().Field(i).Nullable)
		switch out := out.(type) {
		case *file.Int64ColumnChunkWriter:
			_, err = out.WriteBatch(int64s(col), levels, nil)
		case *file.Int32ColumnChunkWriter:
			_, err = out.WriteBatch(present(col, col.(*array.Int32).Int32Values()), levels, nil)
		case *file.Float64ColumnChunkWriter:
			_, err = out.WriteBatch(present(col, col.(*array.Float64).Float64Values()), levels, nil)
		case *file.BooleanColumnChunkWriter:
			_, err = out.WriteBatch(booleans(col.(*array.Boolean)), levels, nil)
		case *file.ByteArrayColumnChunkWriter:
			if w.texts, err = appendTexts(w.texts[:0], col); err == nil {
				_, err = out.WriteBatch(w.texts, levels, nil)
			}
		}
		if err != nil {
			return fmt.Errorf("column %s: %w", record.ColumnName(i), err)
		}
	}
	return nil
}

// levelsOf returns the definition levels: which rows have a value. A column that
// always has one has none.
func (w *Writer) levelsOf(col arrow.Array, nullable bool) []int16 {
	if !nullable {
		return nil
	}
	w.levels = w.levels[:0]
	for i := range col.Len() {
		level := int16(1)
		if col.IsNull(i) {
			level = 0
		}
		w.levels = append(w.levels, level)
	}
	return w.levels
}

// writeList writes lists: of each element, and of each list without any, whether it is
// there (2), the list is empty (1) or null (0), and whether it goes on with a list (1).
func (w *Writer) writeList(out *file.Int64ColumnChunkWriter, col *array.List) error {
	w.levels, w.again = w.levels[:0], w.again[:0]
	values := col.ListValues().(*array.Int64).Int64Values()
	var some []int64 // without what null lists may hide
	for i := range col.Len() {
		from, to := col.ValueOffsets(i)
		switch {
		case col.IsNull(i):
			w.levels, w.again = append(w.levels, 0), append(w.again, 0)
			continue
		case from == to:
			w.levels, w.again = append(w.levels, 1), append(w.again, 0)
			continue
		}
		some = append(some, values[from:to]...)
		w.levels, w.again = append(w.levels, 2), append(w.again, 0)
		for range to - from - 1 {
			w.levels, w.again = append(w.levels, 2), append(w.again, 1)
		}
	}
	w.elements += len(some)
	_, err := out.WriteBatch(some, w.levels, w.again)
	return err
}

func booleans(col *array.Boolean) []bool {
	some := make([]bool, 0, col.Len())
	for i := range col.Len() {
		if col.IsValid(i) {
			some = append(some, col.Value(i))
		}
	}
	return some
}

func int64s(col arrow.Array) []int64 {
	switch col := col.(type) {
	case *array.Timestamp:
		return present(col, arrow.Int64Traits.CastFromBytes(arrow.TimestampTraits.CastToBytes(col.TimestampValues())))
	case *array.Uint64:
		return present(col, arrow.Int64Traits.CastFromBytes(arrow.Uint64Traits.CastToBytes(col.Uint64Values())))
	}
	return present(col, col.(*array.Int64).Int64Values())
}

// present returns the values that are not null.
func present[T any](col arrow.Array, values []T) []T {
	if col.NullN() == 0 {
		return values
	}
	some := make([]T, 0, len(values)-col.NullN())
	for i, v := range values {
		if col.IsValid(i) {
			some = append(some, v)
		}
	}
	return some
}

// appendTexts appends the texts that are not null.
func appendTexts(dst []parquet.ByteArray, col arrow.Array) ([]parquet.ByteArray, error) {
	text := func(i int) int { return i }
	values := col
	if d, ok := col.(*array.Dictionary); ok {
		values, text = d.Dictionary(), d.GetValueIndex
	}
	s, ok := values.(*array.String)
	if !ok {
		return dst, fmt.Errorf("%s is no text", col.DataType())
	}
	for i := range col.Len() {
		if col.IsValid(i) {
			dst = append(dst, parquet.ByteArray(s.Value(text(i))))
		}
	}
	return dst, nil
}

// Close writes the footer. It does not close the underlying writer.
func (w *Writer) Close() error {
	if err := w.endGroup(); err != nil {
		return err
	}
	// Close of arrow/go v17 returns no error of what it writes.
	return errors.Join(w.file.FlushWithFooter(), w.sink.err)
}

// sink keeps the first error: arrow/go panics where it cannot write a file's first
// bytes.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err == nil {
		_, s.err = s.w.Write(p)
	}
	return len(p), nil
}
