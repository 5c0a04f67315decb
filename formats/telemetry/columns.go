package telemetry

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/bitutil"

	"wattrace/sample"
	"wattrace/trace"
)

// columns says where the columns of a recording stand in a schema.
type columns struct {
	time, took, index int
	identity          [4]int // host, device, source, scope
	metric            [sample.NumMetrics]int
	status, mark      int // -1 is absent, as in metric
}

// findColumns finds the columns by name and checks their types and units.
func findColumns(schema *arrow.Schema) (columns, error) {
	var c columns
	var err error
	find := func(name string, required bool, fits func(arrow.DataType) bool, want string) int {
		places := schema.FieldIndices(name)
		switch {
		case err != nil:
			return -1
		case len(places) > 1:
			err = fmt.Errorf("column %s stands %d times in the schema", name, len(places))
			return -1
		case len(places) == 0 && required:
			err = fmt.Errorf("the schema has no column %s", name)
			return -1
		case len(places) == 0:
			return -1
		}
		if f := schema.Field(places[0]); !fits(f.Type) {
			err = fmt.Errorf("column %s is %s, want %s", name, f.Type, want)
		}
		return places[0]
	}
	is := func(id arrow.Type) func(arrow.DataType) bool {
		return func(t arrow.DataType) bool { return t.ID() == id }
	}
	c.time = find(colTime, true, isTime, "timestamp[ns, UTC]")
	c.took = find(colTook, true, is(arrow.INT64), "int64")
	c.index = find(colIndex, true, is(arrow.INT32), "int32")
	for i, name := range []string{colHost, colDevice, colSource, colScope} {
		c.identity[i] = find(name, true, isText, "text or a dictionary of it")
	}
	c.mark = find(colMark, false, isText, "text or a dictionary of it")
	c.status = find(colStatus, false, isText, "text or a dictionary of it")
	for id, m := range sample.Metrics {
		typ := arrow.FLOAT64
		if m.Type == sample.Uint64 {
			typ = arrow.UINT64
		}
		c.metric[id] = find(m.Name, false, is(typ), string(m.Type))
		if place := c.metric[id]; place >= 0 && err == nil {
			if unit, ok := schema.Field(place).Metadata.GetValue("unit"); ok && unit != m.Unit {
				err = fmt.Errorf("column %s is in %q, want %q", m.Name, unit, m.Unit)
			}
		}
	}
	return c, err
}

func isTime(t arrow.DataType) bool {
	ts, ok := t.(*arrow.TimestampType)
	return ok && ts.Unit == arrow.Nanosecond
}

// isText accepts what other writers make of the identities when they pass a
// recording on.
func isText(t arrow.DataType) bool {
	if d, ok := t.(*arrow.DictionaryType); ok {
		t = d.ValueType
	}
	return t.ID() == arrow.STRING || t.ID() == arrow.LARGE_STRING
}

// deviceTable finds the device of a row by its identity columns. Each text
// that occurs in the table has a number, and four numbers are a key.
type deviceTable struct {
	text   map[string]uint16
	device map[[4]uint16]deviceEntry
}

type deviceEntry struct {
	place int32 // in Head.Devices
	index int32 // as column device_index must say
}

// unknownText is the number of a text that the table does not have.
const unknownText = 0

// add adds a device, unless one of its identity is there.
func (t *deviceTable) add(id identity, place, index int32) bool {
	if t.text == nil {
		t.text, t.device = map[string]uint16{}, map[[4]uint16]deviceEntry{}
	}
	var key [4]uint16
	for i, s := range []string{id.host, id.device, id.source, id.scope} {
		if t.text[s] == unknownText {
			t.text[s] = uint16(len(t.text) + 1)
		}
		key[i] = t.text[s]
	}
	if _, ok := t.device[key]; ok {
		return false
	}
	t.device[key] = deviceEntry{place, index}
	return true
}

// record is one Arrow batch, checked and ready to be copied from.
type record struct {
	arrow  arrow.Record
	rows   int
	time   []arrow.Timestamp
	took   []int64
	device []int32
	metric [sample.NumMetrics]struct {
		float  []float64
		uint   []uint64
		bitmap []byte // nil: no nulls, where there are values
	}
	status func(row int) string
	marks  []sample.Mark // of all rows; nil: none has one

	text  [4][]uint16
	known map[string]string // status texts, so that equal ones share memory
}

func (r *record) release() {
	if r.arrow != nil {
		r.arrow.Release()
	}
	*r = record{device: r.device, text: r.text, known: r.known}
}

// decode checks every row of an Arrow batch. The row of an error is 1-based; 0
// is the whole batch. arrow/go panics on arrays that do not hold together.
func (r *record) decode(rec arrow.Record, c *columns, devices *deviceTable) (row int, err error) {
	rec.Retain()
	r.arrow = rec
	n := int(rec.NumRows())
	for i, col := range rec.Columns() {
		if col.Len() != n {
			return 0, fmt.Errorf("column %s has %d rows of %d", rec.ColumnName(i), col.Len(), n)
		}
	}
	for _, place := range append(c.identity[:], c.time, c.took, c.index) {
		if rec.Column(place).NullN() != 0 {
			return 0, fmt.Errorf("column %s has nulls", rec.ColumnName(place))
		}
	}
	r.time = rec.Column(c.time).(*array.Timestamp).TimestampValues()[:n]
	r.took = rec.Column(c.took).(*array.Int64).Int64Values()[:n]
	for i, took := range r.took {
		if took < 0 {
			return i + 1, errors.New("took_nanos is negative")
		}
	}
	if row, err := r.decodeDevices(rec, c, devices); err != nil {
		return row, err
	}
	for id, place := range c.metric {
		if place >= 0 {
			if row, err := r.decodeMetric(sample.MetricID(id), rec.Column(place)); err != nil {
				return row, err
			}
		}
	}
	if r.status, row, err = r.texts(rec, c.status, colStatus); err != nil {
		return row, err
	}
	if row, err := r.decodeMarks(rec, c.mark); err != nil {
		return row, err
	}
	r.rows = n
	return 0, nil
}

func (r *record) decodeDevices(rec arrow.Record, c *columns, devices *deviceTable) (row int, err error) {
	n := int(rec.NumRows())
	for i, place := range c.identity {
		r.text[i], err = numbers(r.text[i][:0], rec.Column(place), devices.text)
		if err != nil {
			return 0, fmt.Errorf("column %s: %w", rec.ColumnName(place), err)
		}
	}
	index := rec.Column(c.index).(*array.Int32).Int32Values()[:n]
	host, device, source, scope := r.text[0][:n], r.text[1][:n], r.text[2][:n], r.text[3][:n]
	r.device = slices.Grow(r.device[:0], n)[:n]
	var key [4]uint16
	var entry deviceEntry
	for i := range n {
		if k := [4]uint16{host[i], device[i], source[i], scope[i]}; i == 0 || k != key {
			var ok bool
			if entry, ok = devices.device[k]; !ok {
				return i + 1, errors.New("a device that the device table does not have")
			}
			key = k
		}
		if index[i] != entry.index {
			return i + 1, fmt.Errorf("device_index %d, the device table says %d", index[i], entry.index)
		}
		r.device[i] = entry.place
	}
	return 0, nil
}

// numbers appends the number of each row's text.
func numbers(dst []uint16, col arrow.Array, text map[string]uint16) ([]uint16, error) {
	n := col.Len()
	dict, ok := col.(*array.Dictionary)
	if !ok {
		value, err := textOf(col)
		if err != nil {
			return dst, err
		}
		for i := range n {
			dst = append(dst, text[value(i)])
		}
		return dst, nil
	}
	value, err := textOf(dict.Dictionary())
	if err != nil {
		return dst, err
	}
	ofCode := make([]uint16, dict.Dictionary().Len())
	for code := range ofCode {
		ofCode[code] = text[value(code)]
	}
	if codes, ok := dict.Indices().(*array.Uint8); ok {
		for _, code := range codes.Uint8Values()[:n] {
			dst = append(dst, ofCode[code])
		}
		return dst, nil
	}
	for i := range n {
		dst = append(dst, ofCode[dict.GetValueIndex(i)])
	}
	return dst, nil
}

func textOf(col arrow.Array) (func(i int) string, error) {
	switch col := col.(type) {
	case *array.String:
		return col.Value, nil
	case *array.LargeString:
		return col.Value, nil
	}
	return nil, fmt.Errorf("%s is no text", col.DataType())
}

func (r *record) decodeMetric(id sample.MetricID, col arrow.Array) (row int, err error) {
	m, n := &r.metric[id], col.Len()
	if col.NullN() == n {
		return 0, nil
	}
	if col.NullN() != 0 {
		m.bitmap = col.NullBitmapBytes()[:bitutil.CeilByte(n)/8]
	}
	if u, ok := col.(*array.Uint64); ok {
		m.uint = u.Uint64Values()[:n]
		return 0, nil
	}
	m.float = col.(*array.Float64).Float64Values()[:n]
	for i, v := range m.float {
		if v-v != 0 && (m.bitmap == nil || bitutil.BitIsSet(m.bitmap, i)) { // NaN or infinite
			return i + 1, fmt.Errorf("%s is not a finite number", id)
		}
	}
	return 0, nil
}

// decodeMarks reads the column of marks.
func (r *record) decodeMarks(rec arrow.Record, place int) (row int, err error) {
	text, row, err := r.texts(rec, place, colMark)
	if err != nil || place < 0 || rec.Column(place).NullN() == rec.Column(place).Len() {
		return row, err
	}
	r.marks = make([]sample.Mark, rec.NumRows())
	for i := range r.marks {
		if s := text(i); s != "" {
			if r.marks[i], err = ParseMark(s); err != nil {
				return i + 1, err
			}
		}
	}
	return 0, nil
}

// texts finds the texts of a column, "" for null, and checks that they can be
// read. A column that is not there has none.
func (r *record) texts(rec arrow.Record, place int, name string) (text func(i int) string, row int, err error) {
	if place < 0 || rec.Column(place).NullN() == rec.Column(place).Len() {
		return func(int) string { return "" }, 0, nil
	}
	col := rec.Column(place)
	values, code := col, func(i int) int { return i }
	if dict, ok := col.(*array.Dictionary); ok {
		values, code = dict.Dictionary(), dict.GetValueIndex
	}
	value, err := textOf(values)
	if err != nil {
		return nil, 0, fmt.Errorf("column %s: %w", name, err)
	}
	text = func(i int) string {
		if col.IsNull(i) {
			return ""
		}
		return r.share(value(code(i)))
	}
	total := 0
	for i := range col.Len() {
		if total += len(text(i)); total > maxBody {
			return nil, i + 1, fmt.Errorf("column %s refers to more text than a batch may have", name)
		}
	}
	return text, 0, nil
}

// share returns a copy of s that does not hold on to the Arrow batch. A
// recording has few different statuses.
func (r *record) share(s string) string {
	if known, ok := r.known[s]; ok {
		return known
	}
	if r.known == nil || len(r.known) == 256 {
		r.known = map[string]string{}
	}
	s = string([]byte(s))
	r.known[s] = s
	return s
}

// copyTo replaces the content of b by rows [from, to). shift is added to the
// times of the file.
func (r *record) copyTo(b *sample.Batch, from, to int, shift time.Duration) {
	n := to - from
	b.Time = slices.Grow(b.Time[:0], n)[:n]
	b.Took = slices.Grow(b.Took[:0], n)[:n]
	b.Status = slices.Grow(b.Status[:0], n)[:n]
	b.Device = append(b.Device[:0], r.device[from:to]...)
	for i := range n {
		b.Time[i] = trace.Time(r.time[from+i]).Add(shift)
		b.Took[i] = time.Duration(r.took[from+i])
		b.Status[i] = r.status(from + i)
	}
	b.Mark = b.Mark[:0]
	if r.marks != nil {
		b.Mark = append(b.Mark, r.marks[from:to]...)
	}
	for id := range b.Columns {
		c, m := &b.Columns[id], &r.metric[id]
		c.Float, c.Uint, c.Valid = c.Float[:0], c.Uint[:0], c.Valid[:0]
		switch {
		case m.uint != nil:
			c.Uint = append(c.Uint, m.uint[from:to]...)
		case m.float != nil:
			c.Float = append(c.Float, m.float[from:to]...)
		default: // null throughout
			continue
		}
		c.Valid = slices.Grow(c.Valid, n)[:n]
		for i := range n {
			c.Valid[i] = m.bitmap == nil || bitutil.BitIsSet(m.bitmap, from+i)
		}
	}
}
