package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/bitutil"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"wattrace/sample"
	"wattrace/trace"
)

// maxIdentities is how many values a dictionary<uint8> column can have.
const maxIdentities = 256

// Writer writes a recording. Each batch reaches the underlying writer in one
// Write, so that a killed recorder leaves whole batches. After an error a
// Writer is of no more use. It must not be used by two goroutines at once.
type Writer struct {
	w      io.Writer
	head   Head
	fields []arrow.Field
	ids    []identities // of the dictionary columns
	schema *arrow.Schema
	stream *ipc.Writer
	out    bytes.Buffer
	rows   int64
	err    error
}

// identities is one dictionary column: its values, and which of them each
// device has.
type identities struct {
	values   *array.String
	ofDevice []uint8
}

// NewWriter begins a recording on w; the head reaches w with the first batch.
// The devices and their order are those of the batches to come.
func NewWriter(w io.Writer, h Head) (*Writer, error) {
	wr := &Writer{w: w, head: h, fields: arrowFields()}
	for _, of := range []struct {
		column string
		value  func(d *sample.Device) string
	}{
		{colHost, func(d *sample.Device) string { return d.Host }},
		{colDevice, func(d *sample.Device) string { return d.ID }},
		{colSource, func(d *sample.Device) string { return string(d.Source) }},
		{colScope, func(d *sample.Device) string { return string(d.Scope) }},
	} {
		id, err := newIdentities(h.Devices, of.value)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", of.column, err)
		}
		wr.ids = append(wr.ids, id)
	}
	if err := checkDevices(h.Devices); err != nil {
		return nil, err
	}
	if err := wr.open(h.Snapshot, nil); err != nil {
		return nil, err
	}
	return wr, nil
}

// checkDevices makes sure that a reader can tell the devices apart.
func checkDevices(devices []sample.Device) error {
	seen := map[identity]bool{}
	for i := range devices {
		id := identityOf(&devices[i])
		if seen[id] {
			return fmt.Errorf("device %s stands twice in the device table", id.device)
		}
		seen[id] = true
	}
	return nil
}

// An identity is what the columns of a row say of its device.
type identity struct{ host, device, source, scope string }

func identityOf(d *sample.Device) identity {
	return identity{d.Host, d.ID, string(d.Source), string(d.Scope)}
}

func newIdentities(devices []sample.Device, value func(*sample.Device) string) (identities, error) {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	index := map[string]uint8{}
	var ids identities
	for i := range devices {
		v := value(&devices[i])
		if !utf8.ValidString(v) {
			return ids, errors.New("a name is not UTF-8")
		}
		k, ok := index[v]
		if !ok {
			if len(index) == maxIdentities {
				return ids, fmt.Errorf("more than %d names", maxIdentities)
			}
			k = uint8(len(index))
			index[v] = k
			b.Append(v)
		}
		ids.ofDevice = append(ids.ofDevice, k)
	}
	ids.values = b.NewStringArray()
	return ids, nil
}

// open begins an Arrow stream in the output buffer.
func (w *Writer) open(snapshot trace.ClockSnapshot, end *End) error {
	keys, values, err := encodeHead(&w.head, snapshot, end)
	if err != nil {
		return w.fail(err)
	}
	metadata := arrow.NewMetadata(keys, values)
	w.schema = arrow.NewSchema(w.fields, &metadata)
	w.stream = ipc.NewWriter(&w.out, ipc.WithSchema(w.schema))
	return nil
}

// flush hands what has been encoded to the underlying writer.
func (w *Writer) flush() error {
	if w.err != nil || w.out.Len() == 0 {
		return w.err
	}
	_, err := w.w.Write(w.out.Bytes())
	w.out.Reset()
	return w.fail(err)
}

func (w *Writer) fail(err error) error {
	if w.err == nil {
		w.err = err
	}
	return err
}

// Write writes b as one Arrow record batch. A batch without rows writes
// nothing. A row of a device that the head does not have, or a value that is
// not finite, is an error that names the row.
func (w *Writer) Write(b *sample.Batch) error {
	if w.err != nil || b.Len() == 0 {
		return w.err
	}
	if err := w.check(b); err != nil {
		return w.fail(err)
	}
	columns := w.columns(b)
	record := array.NewRecord(w.schema, columns, int64(b.Len()))
	for _, c := range columns {
		c.Release()
	}
	defer record.Release()
	if err := w.stream.Write(record); err != nil {
		return w.fail(err)
	}
	w.rows += int64(b.Len())
	return w.flush()
}

func (w *Writer) check(b *sample.Batch) error {
	for i, d := range b.Device {
		if d < 0 || int(d) >= len(w.head.Devices) {
			return fmt.Errorf("row %d: device %d of %d", i+1, d, len(w.head.Devices))
		}
		if !utf8.ValidString(b.Status[i]) {
			return fmt.Errorf("row %d: the status is not UTF-8", i+1)
		}
	}
	for id := range sample.NumMetrics {
		c := &b.Columns[id]
		for i, v := range c.Float {
			if c.Valid[i] && !finite(v) {
				return fmt.Errorf("row %d: %s is not a finite number", i+1, id)
			}
		}
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// columns builds the Arrow columns of a batch, in the order of the schema.
func (w *Writer) columns(b *sample.Batch) []arrow.Array {
	n := b.Len()
	times, took, index := make([]int64, n), make([]int64, n), make([]int32, n)
	anchor := w.head.Clock.Anchor.UnixNanos
	for i := range n {
		times[i] = anchor + int64(b.Time[i])
		took[i] = int64(b.Took[i])
		index[i] = int32(w.head.Devices[b.Device[i]].Index)
	}
	out := []arrow.Array{
		fixed(timeType, n, arrow.Int64Traits.CastToBytes(times), nil),
		fixed(arrow.PrimitiveTypes.Int64, n, arrow.Int64Traits.CastToBytes(took), nil),
		w.identityColumn(0, b),
		w.identityColumn(1, b),
		fixed(arrow.PrimitiveTypes.Int32, n, arrow.Int32Traits.CastToBytes(index), nil),
		w.identityColumn(2, b),
		w.identityColumn(3, b),
	}
	for id := range sample.NumMetrics {
		out = append(out, metricColumn(id, &b.Columns[id]))
	}
	status := array.NewStringBuilder(memory.DefaultAllocator)
	for _, s := range b.Status {
		if s == "" {
			status.AppendNull()
		} else {
			status.Append(s)
		}
	}
	return append(out, status.NewArray())
}

func (w *Writer) identityColumn(k int, b *sample.Batch) arrow.Array {
	codes := make([]byte, b.Len())
	for i, d := range b.Device {
		codes[i] = w.ids[k].ofDevice[d]
	}
	indices := fixed(arrow.PrimitiveTypes.Uint8, len(codes), codes, nil)
	defer indices.Release()
	return array.NewDictionaryArray(identityType, indices, w.ids[k].values)
}

// metricColumn copies a column and writes zeros below the nulls, so that equal
// batches give equal bytes.
func metricColumn(id sample.MetricID, c *sample.Column) arrow.Array {
	n := len(c.Valid)
	if sample.Metrics[id].Type == sample.Uint64 {
		values := make([]uint64, n)
		for i, ok := range c.Valid {
			if ok {
				values[i] = c.Uint[i]
			}
		}
		return fixed(arrow.PrimitiveTypes.Uint64, n, arrow.Uint64Traits.CastToBytes(values), c.Valid)
	}
	values := make([]float64, n)
	for i, ok := range c.Valid {
		if ok {
			values[i] = c.Float[i]
		}
	}
	return fixed(arrow.PrimitiveTypes.Float64, n, arrow.Float64Traits.CastToBytes(values), c.Valid)
}

// fixed builds an array of fixed-width values; valid == nil means no nulls.
func fixed(typ arrow.DataType, n int, values []byte, valid []bool) arrow.Array {
	var bitmap *memory.Buffer
	nulls := 0
	if valid != nil {
		bits := make([]byte, bitutil.CeilByte(n)/8)
		for i, ok := range valid {
			if ok {
				bitutil.SetBit(bits, i)
			} else {
				nulls++
			}
		}
		if nulls > 0 {
			bitmap = memory.NewBufferBytes(bits)
		}
	}
	data := array.NewData(typ, n, []*memory.Buffer{bitmap, memory.NewBufferBytes(values)}, nil, nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}

// NewStream ends the current stream and begins the next with a fresh snapshot
// of the clocks. A recorder calls it when the clocks have stepped.
func (w *Writer) NewStream(snapshot trace.ClockSnapshot) error {
	if err := w.endStream(); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	return w.open(snapshot, nil)
}

// endStream writes the end marker of the current stream.
func (w *Writer) endStream() error {
	if w.err != nil {
		return w.err
	}
	return w.fail(w.stream.Close())
}

// Close ends the recording: it writes the last stream, which says how the
// recording went. The number of rows is the Writer's own count, whatever
// e.Rows. It does not close the underlying writer.
func (w *Writer) Close(e End) error {
	if err := w.endStream(); err != nil {
		return err
	}
	e.Rows = w.rows
	if err := w.open(e.Snapshot, &e); err != nil {
		return err
	}
	if err := w.endStream(); err != nil {
		return err
	}
	err := w.flush()
	w.fail(errors.New("the recording is closed"))
	return err
}
