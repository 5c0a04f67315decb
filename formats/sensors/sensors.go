package sensors

import (
	"fmt"
	"io"
	"strings"
	"time"

	"wattrace/formats/strictyaml"
	"wattrace/reduce"
)

// Schema is the schema that this package reads and writes.
const Schema = "wattrace.sensors/1"

// Row is a row of the file: one of the table, and where it is from.
type Row struct {
	reduce.SensorRow
	Measured *Measured // nil: the file does not say
}

// Measured says where a row is from.
type Measured struct {
	Date    string // of the measurement, as 2026-11-27
	Device  string // product name
	Driver  string // version
	Devices int    // of which the row is that of one; 0 is not said

	Period, Window Precision
}

// Precision is how well a time is known.
type Precision struct {
	Uncertainty time.Duration // standard; 0 is not said
	N           int           // measurements that it rests on; 0 is not said
}

// Read reads a whole table. Errors of the file are *trace.SyntaxError with the
// position of what is wrong; name is the file's.
func Read(r io.Reader, name string) (reduce.SensorTable, error) {
	rows, err := ReadRows(r, name)
	var table reduce.SensorTable
	for i := range rows {
		table = append(table, rows[i].SensorRow)
	}
	return table, err
}

// ReadRows is Read that keeps where the rows are from.
func ReadRows(r io.Reader, name string) ([]Row, error) {
	f := file{strictyaml.File{Name: name, What: "a sensor table", Schema: Schema}}
	var table []Row
	body, err := f.Read(r, func(key string, value strictyaml.Node) error {
		if key != "sensors" {
			return strictyaml.ErrUnknown
		}
		rows, err := f.List(key, value)
		for _, n := range rows {
			if err == nil {
				err = f.row(n, &table)
			}
		}
		return err
	})
	if err == nil && len(table) == 0 {
		err = f.Errorf(body, "the table has no sensors")
	}
	if err != nil {
		return nil, err
	}
	return table, nil
}

// file is the file being read.
type file struct{ strictyaml.File }

// maxDriver bounds major versions of drivers.
const maxDriver = 1 << 20

func (f file) row(n strictyaml.Node, table *[]Row) error {
	var row Row
	err := f.Object(n, "a sensor", func(key string, v strictyaml.Node) (err error) {
		var word string
		switch key {
		case "field":
			word, err = f.Choice(key, v, string(reduce.FieldAverage), string(reduce.FieldInstant), string(reduce.FieldDraw))
			row.Field = reduce.PowerField(word)
		case "architecture":
			row.Architecture, err = f.Text(key, v)
		case "driver":
			err = f.driver(v, &row.SensorRow)
		case "kind":
			word, err = f.Choice(key, v, string(reduce.SensorAverage), string(reduce.SensorInstant), string(reduce.SensorFilter))
			row.Kind = reduce.SensorKind(word)
		case "window":
			row.Window, err = f.Duration(key, v)
		case "period":
			row.Period, err = f.Duration(key, v)
		case "span":
			row.Span, err = f.Duration(key, v)
		case "rest":
			row.Rest, err = f.Duration(key, v)
		case "assumed":
			row.Assumed, err = f.Boolean(key, v)
		case "measured":
			row.Measured, err = f.measured(v)
		default:
			return strictyaml.ErrUnknown
		}
		return err
	})
	if err == nil {
		err = complete(&row.SensorRow)
		if err != nil {
			err = f.Errorf(n, "%w", err)
		}
	}
	*table = append(*table, row)
	return err
}

func (f file) driver(n strictyaml.Node, row *reduce.SensorRow) error {
	err := f.Object(n, "driver", func(key string, v strictyaml.Node) error {
		version, err := f.Whole(key, v, 1, maxDriver)
		switch key {
		case "from":
			row.From = int(version)
		case "below":
			row.Below = int(version)
		default:
			return strictyaml.ErrUnknown
		}
		return err
	})
	if err == nil && row.Below > 0 && row.Below <= row.From {
		err = f.Errorf(n, "driver: below %d is not above from %d", row.Below, row.From)
	}
	return err
}

func (f file) measured(n strictyaml.Node) (*Measured, error) {
	m := &Measured{}
	err := f.Object(n, "measured", func(key string, v strictyaml.Node) (err error) {
		switch key {
		case "date":
			if m.Date, err = f.Text(key, v); err == nil {
				if _, wrong := time.Parse(time.DateOnly, m.Date); wrong != nil {
					err = f.Errorf(v, "date must be one such as 2026-11-27")
				}
			}
		case "device":
			m.Device, err = f.Text(key, v)
		case "driver":
			m.Driver, err = f.Text(key, v)
		case "devices":
			m.Devices, err = f.count(key, v)
		case "period":
			m.Period, err = f.precision(key, v)
		case "window":
			m.Window, err = f.precision(key, v)
		default:
			return strictyaml.ErrUnknown
		}
		return err
	})
	return m, err
}

func (f file) precision(key string, n strictyaml.Node) (p Precision, err error) {
	err = f.Object(n, key, func(key string, v strictyaml.Node) (err error) {
		switch key {
		case "uncertainty":
			p.Uncertainty, err = f.Duration(key, v)
		case "n":
			p.N, err = f.count(key, v)
		default:
			return strictyaml.ErrUnknown
		}
		return err
	})
	return p, err
}

// maxCount bounds how often something was measured.
const maxCount = 1 << 40

func (f file) count(key string, n strictyaml.Node) (int, error) {
	v, err := f.Whole(key, n, 1, maxCount)
	return int(v), err
}

// complete checks a row and fills in what follows from the rest of it.
func complete(row *reduce.SensorRow) error {
	switch {
	case row.Field == "":
		return fmt.Errorf("the sensor has no field")
	case row.Kind == "":
		return fmt.Errorf("the sensor has no kind")
	case row.Period == 0:
		return fmt.Errorf("the sensor has no period")
	case row.Kind == reduce.SensorFilter && row.Window != 0:
		return fmt.Errorf("a filter has no window")
	case row.Kind != reduce.SensorFilter && row.Window == 0:
		return fmt.Errorf("the sensor has no window")
	case row.Kind != reduce.SensorAverage && (row.Span != 0 || row.Rest != 0):
		return fmt.Errorf("span and rest are of the kind average alone")
	case row.Kind == reduce.SensorAverage && row.Window < row.Period:
		return fmt.Errorf("an average covers at least its period: the window is %v, the period %v", row.Window, row.Period)
	case row.Span > row.Window:
		return fmt.Errorf("the span %v is longer than the window %v", row.Span, row.Window)
	case row.Rest != 0 && row.Rest < row.Period:
		return fmt.Errorf("the period at rest, %v, is shorter than the period, %v", row.Rest, row.Period)
	}
	row.Duty = 1
	if row.Kind == reduce.SensorInstant {
		row.Duty = min(1, float64(row.Window)/float64(row.Period))
	}
	if row.Kind == reduce.SensorAverage && row.Span == 0 {
		row.Span = row.Window - row.Period/2
	}
	if row.Kind == reduce.SensorAverage && row.Rest == 0 {
		row.Rest = row.Period
	}
	return nil
}

// Write writes a table as a file.
func Write(w io.Writer, table reduce.SensorTable) error {
	rows := make([]Row, len(table))
	for i := range table {
		rows[i].SensorRow = table[i]
	}
	return WriteRows(w, rows)
}

// WriteRows writes rows as a file.
func WriteRows(w io.Writer, rows []Row) error {
	b := []byte("schema: " + Schema + "\nsensors:\n")
	for i := range rows {
		b = appendRow(b, &rows[i].SensorRow)
		if m := rows[i].Measured; m != nil {
			b = appendMeasured(b, m)
		}
	}
	_, err := w.Write(b)
	return err
}

func appendMeasured(b []byte, m *Measured) []byte {
	var keys []string
	text := func(key, value string) {
		if value != "" {
			keys = append(keys, key+": "+strictyaml.Quote(value))
		}
	}
	text("date", m.Date)
	text("device", m.Device)
	text("driver", m.Driver)
	if m.Devices > 0 {
		keys = append(keys, fmt.Sprint("devices: ", m.Devices))
	}
	for _, p := range []struct {
		key string
		Precision
	}{{"period", m.Period}, {"window", m.Window}} {
		var parts []string
		if p.Uncertainty > 0 {
			parts = append(parts, fmt.Sprint("uncertainty: ", p.Uncertainty))
		}
		if p.N > 0 {
			parts = append(parts, fmt.Sprint("n: ", p.N))
		}
		if len(parts) > 0 {
			keys = append(keys, p.key+": {"+strings.Join(parts, ", ")+"}")
		}
	}
	if len(keys) == 0 {
		return append(b, "    measured: {}\n"...)
	}
	b = append(b, "    measured:\n"...)
	for _, k := range keys {
		b = append(b, "      "+k+"\n"...)
	}
	return b
}

func appendRow(b []byte, row *reduce.SensorRow) []byte {
	add := func(format string, args ...any) { b = fmt.Appendf(b, "    "+format+"\n", args...) }
	b = fmt.Appendf(b, "  - field: %s\n", row.Field)
	if row.Architecture != "" {
		add("architecture: %s", strictyaml.Quote(row.Architecture))
	}
	switch {
	case row.From > 0 && row.Below > 0:
		add("driver: {from: %d, below: %d}", row.From, row.Below)
	case row.From > 0:
		add("driver: {from: %d}", row.From)
	case row.Below > 0:
		add("driver: {below: %d}", row.Below)
	}
	add("kind: %s", row.Kind)
	for _, d := range []struct {
		key string
		v   time.Duration
	}{{"window", row.Window}, {"period", row.Period}, {"span", row.Span}, {"rest", row.Rest}} {
		if d.v != 0 {
			add("%s: %v", d.key, d.v)
		}
	}
	if row.Assumed {
		add("assumed: true")
	}
	return b
}
