package sensors

import (
	"fmt"
	"io"
	"time"

	"wattrace/formats/strictyaml"
	"wattrace/reduce"
)

// Schema is the schema that this package reads and writes.
const Schema = "wattrace.sensors/1"

// Read reads a whole table. Errors of the file are *trace.SyntaxError with the
// position of what is wrong; name is the file's.
func Read(r io.Reader, name string) (reduce.SensorTable, error) {
	f := file{strictyaml.File{Name: name, What: "a sensor table", Schema: Schema}}
	var table reduce.SensorTable
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

func (f file) row(n strictyaml.Node, table *reduce.SensorTable) error {
	var row reduce.SensorRow
	err := f.Object(n, "a sensor", func(key string, v strictyaml.Node) (err error) {
		var word string
		switch key {
		case "field":
			word, err = f.Choice(key, v, string(reduce.FieldAverage), string(reduce.FieldInstant), string(reduce.FieldDraw))
			row.Field = reduce.PowerField(word)
		case "architecture":
			row.Architecture, err = f.Text(key, v)
		case "driver":
			err = f.driver(v, &row)
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
		default:
			return strictyaml.ErrUnknown
		}
		return err
	})
	if err == nil {
		err = complete(&row)
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
	b := []byte("schema: " + Schema + "\nsensors:\n")
	for i := range table {
		b = appendRow(b, &table[i])
	}
	_, err := w.Write(b)
	return err
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
