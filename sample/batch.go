package sample

import (
	"time"

	"wattrace/trace"
)

// Batch is a set of readings in columns: row i is one reading of one device.
// The zero Batch with Devices set is empty and ready. Readings of one device
// are in the order of time; those of several devices may interleave.
type Batch struct {
	Devices []Device // what Device indexes; shared, constant in a recording

	Time    []trace.Time       // just before the source was called
	Took    []time.Duration    // the call's length: the reading is at Time+Took/2, give or take Took/2
	Device  []int32            // index into Devices
	Columns [NumMetrics]Column // by MetricID; each as long as Time
	Status  []string           // "" or "energy_joules=NOT_SUPPORTED,..."
}

// Column holds the values of one metric. Of Float and Uint, the one that the
// metric's Type says is as long as Valid and the other nil.
type Column struct {
	Float []float64
	Uint  []uint64
	Valid []bool // false is null: not read, or the read failed
}

// Len returns the number of rows.
func (b *Batch) Len() int { return len(b.Time) }

// Reset empties the batch and keeps its memory and its devices.
func (b *Batch) Reset() {
	b.Time, b.Took, b.Device, b.Status = b.Time[:0], b.Took[:0], b.Device[:0], b.Status[:0]
	for id := range b.Columns {
		c := &b.Columns[id]
		c.Float, c.Uint, c.Valid = c.Float[:0], c.Uint[:0], c.Valid[:0]
	}
}

// Append adds a row of nulls for the device and returns it, to be filled
// before the next Append.
func (b *Batch) Append(device int, at trace.Time, took time.Duration) Row {
	b.Time = append(b.Time, at)
	b.Took = append(b.Took, took)
	b.Device = append(b.Device, int32(device))
	b.Status = append(b.Status, "")
	for id := range b.Columns {
		c := &b.Columns[id]
		if Metrics[id].Type == Uint64 {
			c.Uint = append(c.Uint, 0)
		} else {
			c.Float = append(c.Float, 0)
		}
		c.Valid = append(c.Valid, false)
	}
	return Row{b, len(b.Time) - 1}
}

// Float returns the value of a float64 metric in row i.
func (b *Batch) Float(id MetricID, i int) (float64, bool) {
	c := &b.Columns[id]
	return c.Float[i], c.Valid[i]
}

// Row is one row of a batch.
type Row struct {
	b *Batch
	i int
}

// SetTook sets how long the call took, once that is known.
func (r Row) SetTook(d time.Duration) { r.b.Took[r.i] = d }

// Set stores the value of a float64 metric.
func (r Row) Set(id MetricID, v float64) {
	c := &r.b.Columns[id]
	c.Float[r.i], c.Valid[r.i] = v, true
}

// SetUint stores the value of a uint64 metric.
func (r Row) SetUint(id MetricID, v uint64) {
	c := &r.b.Columns[id]
	c.Uint[r.i], c.Valid[r.i] = v, true
}

// Fail notes that a metric could not be read, and why, as in
// "energy_joules=NOT_SUPPORTED". The reason has no comma.
func (r Row) Fail(id MetricID, reason string) {
	s := Metrics[id].Name + "=" + reason
	if old := r.b.Status[r.i]; old != "" {
		s = old + "," + s
	}
	r.b.Status[r.i] = s
}
