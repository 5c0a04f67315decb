package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
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

// MaxDevices is how many devices a recording has room for.
const MaxDevices = maxIdentities

// Writer writes a recording. Each batch reaches the underlying writer in one
// Write, so that a killed recorder leaves whole batches. After an error a
// Writer is of no more use. It must not be used by two goroutines at once.
type Writer struct {
	encoder
	w      io.Writer
	lost   int64 // rows of all holes
	stream *ipc.Writer
	out    bytes.Buffer
	rows   int64
	err    error
}

// encoder makes Arrow records of batches, by one schema at a time.
type encoder struct {
	head   Head
	marks  bool         // there is a column of marks
	ids    []identities // of the dictionary columns
	schema *arrow.Schema
}

// identities is one dictionary column: its values, and which of them each
// device has.
type identities struct {
	values   *array.String
	ofDevice []uint8
}

// NewWriter begins a recording on w; the head reaches w with the first batch.
// The devices and their order are those of the batches to come, which may bring
// more: then, as with a metric that Head.Metrics does not have, a new stream
// begins.
func NewWriter(w io.Writer, h Head) (*Writer, error) {
	wr := &Writer{w: w}
	if err := wr.begin(h); err != nil {
		return nil, err
	}
	if err := wr.open(h.Snapshot, nil, nil); err != nil {
		return nil, err
	}
	return wr, nil
}

// begin takes what the recording says of itself.
func (w *encoder) begin(h Head) error {
	w.head = h
	if h.Metrics == nil {
		for id := range sample.NumMetrics {
			w.head.Metrics = append(w.head.Metrics, id)
		}
	} else {
		w.head.Metrics = slices.Compact(slices.Sorted(slices.Values(h.Metrics)))
	}
	w.head.Devices = slices.Clone(h.Devices)
	return w.identify()
}

// identify makes the dictionaries of the devices.
func (w *encoder) identify() error {
	w.ids = w.ids[:0]
	w.marks = w.marks || slices.ContainsFunc(w.head.Devices, isRun)
	for _, of := range []struct {
		column string
		value  func(d *sample.Device) string
	}{
		{colHost, func(d *sample.Device) string { return d.Host }},
		{colDevice, func(d *sample.Device) string { return d.ID }},
		{colSource, func(d *sample.Device) string { return string(d.Source) }},
		{colScope, func(d *sample.Device) string { return string(d.Scope) }},
	} {
		id, err := newIdentities(w.head.Devices, of.value)
		if err != nil {
			return fmt.Errorf("column %s: %w", of.column, err)
		}
		w.ids = append(w.ids, id)
	}
	return checkDevices(w.head.Devices)
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
func (w *Writer) open(snapshot trace.ClockSnapshot, hole *Hole, end *End) error {
	w.head.Snapshot = snapshot
	h := streamHead{Head: w.head, end: end}
	if hole != nil {
		h.holes = []Hole{*hole}
	}
	if err := w.describe(&h); err != nil {
		return w.fail(err)
	}
	w.stream = ipc.NewWriter(&w.out, ipc.WithSchema(w.schema))
	return nil
}

// describe makes the schema.
func (w *encoder) describe(h *streamHead) error {
	keys, values, err := encodeHead(h)
	if err != nil {
		return err
	}
	metadata := arrow.NewMetadata(keys, values)
	w.schema = arrow.NewSchema(arrowFields(w.head.Metrics, w.marks), &metadata)
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
	if w.err != nil {
		return w.err
	}
	if err := w.grow(b); err != nil {
		return w.fail(err)
	}
	if b.Len() == 0 {
		return nil
	}
	if err := w.check(b); err != nil {
		return w.fail(err)
	}
	record := w.record(b)
	defer record.Release()
	if err := w.stream.Write(record); err != nil {
		return w.fail(err)
	}
	w.rows += int64(b.Len())
	return w.flush()
}

// grow begins a new stream if the batch has devices or metrics that the current
// one has not.
func (w *Writer) grow(b *sample.Batch) error {
	grown := false
	for id := range sample.NumMetrics {
		if slices.Contains(b.Columns[id].Valid, true) && !slices.Contains(w.head.Metrics, id) {
			w.head.Metrics = append(w.head.Metrics, id)
			grown = true
		}
	}
	slices.Sort(w.head.Metrics)
	if slices.ContainsFunc(b.Mark, func(m sample.Mark) bool { return m.Event != "" }) && !w.marks {
		w.marks, grown = true, true
	}
	if n := len(w.head.Devices); len(b.Devices) > n {
		w.head.Devices = append(w.head.Devices, b.Devices[n:]...)
		if err := w.identify(); err != nil {
			return err
		}
		grown = true
	}
	if !grown {
		return nil
	}
	return w.newStream(w.head.Snapshot, nil)
}

func (w *encoder) check(b *sample.Batch) error {
	for i, d := range b.Device {
		if d < 0 || int(d) >= len(w.head.Devices) {
			return fmt.Errorf("row %d: device %d of %d", i+1, d, len(w.head.Devices))
		}
		if !utf8.ValidString(b.Status[i]) {
			return fmt.Errorf("row %d: the status is not UTF-8", i+1)
		}
		if m := b.MarkOf(i); !utf8.ValidString(m.Phase) {
			return fmt.Errorf("row %d: the mark is not UTF-8", i+1)
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

// record makes the Arrow record of a batch that has been checked.
func (w *encoder) record(b *sample.Batch) arrow.Record {
	columns := w.columns(b)
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	return array.NewRecord(w.schema, columns, int64(b.Len()))
}

// columns builds the Arrow columns of a batch, in the order of the schema.
func (w *encoder) columns(b *sample.Batch) []arrow.Array {
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
	for _, id := range w.head.Metrics {
		out = append(out, metricColumn(id, &b.Columns[id], n))
	}
	if w.marks {
		out = append(out, textColumn(n, func(i int) string { return encodeMark(b.MarkOf(i)) }))
	}
	return append(out, textColumn(n, func(i int) string { return b.Status[i] }))
}

// textColumn is a column of texts, of which the empty ones are null.
func textColumn(n int, text func(i int) string) arrow.Array {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	for i := range n {
		if s := text(i); s != "" {
			b.Append(s)
		} else {
			b.AppendNull()
		}
	}
	return b.NewArray()
}

// encodeMark returns the text of a mark, "start profiling".
func encodeMark(m sample.Mark) string {
	if m.Event == "" {
		return ""
	}
	return string(m.Event) + " " + m.Phase
}

// ParseMark reads the text of a mark, as the column mark has it.
func ParseMark(s string) (sample.Mark, error) {
	event, phase, _ := strings.Cut(s, " ")
	m := sample.Mark{Event: sample.MarkEvent(event), Phase: phase}
	switch m.Event {
	case sample.MarkStart, sample.MarkEnd, sample.MarkNote:
		return m, nil
	}
	return m, fmt.Errorf("mark %.40q begins with neither start, end nor note", s)
}

func (w *encoder) identityColumn(k int, b *sample.Batch) arrow.Array {
	codes := make([]byte, b.Len())
	for i, d := range b.Device {
		codes[i] = w.ids[k].ofDevice[d]
	}
	indices := fixed(arrow.PrimitiveTypes.Uint8, len(codes), codes, nil)
	defer indices.Release()
	return array.NewDictionaryArray(identityType, indices, w.ids[k].values)
}

// metricColumn copies a column of n rows and writes zeros below the nulls, so
// that equal batches give equal bytes.
func metricColumn(id sample.MetricID, c *sample.Column, n int) arrow.Array {
	valid := make([]bool, n)
	copy(valid, c.Valid)
	if sample.Metrics[id].Type == sample.Uint64 {
		values := make([]uint64, n)
		for i, ok := range valid {
			if ok {
				values[i] = c.Uint[i]
			}
		}
		return fixed(arrow.PrimitiveTypes.Uint64, n, arrow.Uint64Traits.CastToBytes(values), valid)
	}
	values := make([]float64, n)
	for i, ok := range valid {
		if ok {
			values[i] = c.Float[i]
		}
	}
	return fixed(arrow.PrimitiveTypes.Float64, n, arrow.Float64Traits.CastToBytes(values), valid)
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
func (w *Writer) NewStream(snapshot trace.ClockSnapshot) error { return w.newStream(snapshot, nil) }

// Hole begins a new stream that says what was lost before it. A recorder calls
// it when it can write again.
func (w *Writer) Hole(snapshot trace.ClockSnapshot, h Hole) error {
	w.lost += h.Rows
	return w.newStream(snapshot, &h)
}

func (w *Writer) newStream(snapshot trace.ClockSnapshot, hole *Hole) error {
	if err := w.endStream(); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	return w.open(snapshot, hole, nil)
}

// endStream writes the end marker of the current stream.
func (w *Writer) endStream() error {
	if w.err != nil {
		return w.err
	}
	return w.fail(w.stream.Close())
}

// Close ends the recording: it writes the last stream, which says how the
// recording went. The numbers of rows, and of those lost in holes, are the
// Writer's own, whatever e.Rows and e.Lost. It does not close the underlying writer.
func (w *Writer) Close(e End) error {
	if err := w.endStream(); err != nil {
		return err
	}
	e.Rows, e.Lost = w.rows, w.lost
	if err := w.open(e.Snapshot, nil, &e); err != nil {
		return err
	}
	if err := w.endStream(); err != nil {
		return err
	}
	err := w.flush()
	w.fail(errors.New("the recording is closed"))
	return err
}
