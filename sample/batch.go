package sample

import (
	"time"

	"wattrace/trace"
)

// Batch is a set of readings in columns: row i is one reading of one device.
// The zero Batch with Devices set is empty and ready. Readings of one device
// are in the order of time, but for events, which may stand before a reading
// that had begun; those of several devices may interleave.
type Batch struct {
	Devices []Device // what Device indexes; shared; it only ever grows in a recording

	Time    []trace.Time       // just before the source was called
	Took    []time.Duration    // the call's length: the reading is at Time+Took/2, give or take Took/2
	Device  []int32            // index into Devices
	Columns [NumMetrics]Column // by MetricID
	Status  []string           // "" or "energy_joules=NOT_SUPPORTED,..."
	Mark    []Mark             // of rows of scope run; a nil Mark is nil for all rows
}

// Column holds the values of one metric. Of Float and Uint, the one that the
// metric's Type says is as long as Valid and the other nil. A column may be
// shorter than the batch: the rows beyond it are null.
type Column struct {
	Float []float64
	Uint  []uint64
	Valid []bool // false is null: not read, or the read failed
}

// Mark is what the recorder was told of a run: that a phase begins or ends at
// the row's instant, which is known to Took.
type Mark struct {
	Event MarkEvent // "" is no mark
	Phase string    // name of the phase, or the text of a note
}

// MarkEvent says what a mark means.
type MarkEvent string

// The events.
const (
	MarkStart MarkEvent = "start" // the phase begins
	MarkEnd   MarkEvent = "end"   // the phase ends
	MarkNote  MarkEvent = "note"  // something happened that begins and ends nothing
)

// Len returns the number of rows.
func (b *Batch) Len() int { return len(b.Time) }

// Reset empties the batch and keeps its memory and its devices.
func (b *Batch) Reset() {
	b.Time, b.Took, b.Device, b.Status, b.Mark = b.Time[:0], b.Took[:0], b.Device[:0], b.Status[:0], b.Mark[:0]
	for id := range b.Columns {
		c := &b.Columns[id]
		c.Float, c.Uint, c.Valid = c.Float[:0], c.Uint[:0], c.Valid[:0]
	}
}

// Append adds a row of nulls for the device and returns it, to be filled.
func (b *Batch) Append(device int, at trace.Time, took time.Duration) Row {
	b.Time = append(b.Time, at)
	b.Took = append(b.Took, took)
	b.Device = append(b.Device, int32(device))
	b.Status = append(b.Status, "")
	return Row{b, len(b.Time) - 1}
}

// AppendFrom adds row i of another batch, as one of the device with the given
// place in b.Devices.
func (b *Batch) AppendFrom(from *Batch, i, device int) {
	row := b.Append(device, from.Time[i], from.Took[i])
	b.Status[row.i] = from.Status[i]
	if i < len(from.Mark) && from.Mark[i].Event != "" {
		row.Mark(from.Mark[i])
	}
	for id := range from.Columns {
		c := &from.Columns[id]
		if i >= len(c.Valid) || !c.Valid[i] {
			continue
		}
		if Metrics[id].Type == Uint64 {
			row.SetUint(MetricID(id), c.Uint[i])
		} else {
			row.Set(MetricID(id), c.Float[i])
		}
	}
}

// AppendRows adds rows [a, z) of another batch, which has the same devices.
func (b *Batch) AppendRows(from *Batch, a, z int) {
	n := b.Len()
	b.Time = append(b.Time, from.Time[a:z]...)
	b.Took = append(b.Took, from.Took[a:z]...)
	b.Device = append(b.Device, from.Device[a:z]...)
	b.Status = append(b.Status, from.Status[a:z]...)
	b.Mark = appendRows(b.Mark, n, from.Mark, a, z)
	for id := range b.Columns {
		dst, src := &b.Columns[id], &from.Columns[id]
		if len(src.Valid) <= a {
			continue
		}
		if Metrics[id].Type == Uint64 {
			dst.Uint = appendRows(dst.Uint, n, src.Uint, a, z)
		} else {
			dst.Float = appendRows(dst.Float, n, src.Float, a, z)
		}
		dst.Valid = appendRows(dst.Valid, n, src.Valid, a, z)
	}
}

// appendRows adds [a, z) of a column to one that is to have n rows before; both
// may be shorter.
func appendRows[T any](dst []T, n int, src []T, a, z int) []T {
	if z = min(z, len(src)); a >= z {
		return dst
	}
	if short := n - len(dst); short > 0 {
		dst = append(dst, make([]T, short)...)
	}
	return append(dst, src[a:z]...)
}

// Float returns the value of a float64 metric in row i; one of another type
// has none.
func (b *Batch) Float(id MetricID, i int) (float64, bool) {
	c := &b.Columns[id]
	if i >= len(c.Float) || !c.Valid[i] {
		return 0, false
	}
	return c.Float[i], true
}

// Uint returns the value of a uint64 metric in row i; one of another type has
// none.
func (b *Batch) Uint(id MetricID, i int) (uint64, bool) {
	c := &b.Columns[id]
	if i >= len(c.Uint) || !c.Valid[i] {
		return 0, false
	}
	return c.Uint[i], true
}

// MarkOf returns the mark of row i; its Event is "" where there is none.
func (b *Batch) MarkOf(i int) Mark {
	if i >= len(b.Mark) {
		return Mark{}
	}
	return b.Mark[i]
}

// Row is one row of a batch. It stays good while rows are appended.
type Row struct {
	b *Batch
	i int
}

// SetTook sets how long the call took, once that is known.
func (r Row) SetTook(d time.Duration) { r.b.Took[r.i] = d }

// Took returns how long the call took; 0 is not set.
func (r Row) Took() time.Duration { return r.b.Took[r.i] }

// Set stores the value of a float64 metric.
func (r Row) Set(id MetricID, v float64) {
	c := &r.b.Columns[id]
	for len(c.Valid) <= r.i {
		c.Float, c.Valid = append(c.Float, 0), append(c.Valid, false)
	}
	c.Float[r.i], c.Valid[r.i] = v, true
}

// SetUint stores the value of a uint64 metric.
func (r Row) SetUint(id MetricID, v uint64) {
	c := &r.b.Columns[id]
	for len(c.Valid) <= r.i {
		c.Uint, c.Valid = append(c.Uint, 0), append(c.Valid, false)
	}
	c.Uint[r.i], c.Valid[r.i] = v, true
}

// Mark stores a mark.
func (r Row) Mark(m Mark) {
	for len(r.b.Mark) <= r.i {
		r.b.Mark = append(r.b.Mark, Mark{})
	}
	r.b.Mark[r.i] = m
}

// SetStatus sets the whole status, as another recording has it.
func (r Row) SetStatus(status string) { r.b.Status[r.i] = status }

// Fail notes that a metric could not be read, and why, as in
// "energy_joules=NOT_SUPPORTED". The reason has no comma.
func (r Row) Fail(id MetricID, reason string) {
	s := Metrics[id].Name + "=" + reason
	if old := r.b.Status[r.i]; old != "" {
		s = old + "," + s
	}
	r.b.Status[r.i] = s
}
