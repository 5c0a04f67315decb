package logtable

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

// CSVWriter writes the rows of a table as CSV, RFC 4180 but for its line ends, which are
// \n: without lists, chunk_kinds and metadata. What is null is empty, an empty text is "". It must not be used by two
// goroutines at once.
type CSVWriter struct {
	w     *bufio.Writer
	line  []byte
	shown []int // columns
}

// NewCSVWriter begins a CSV: the first line has the names of the columns.
func NewCSVWriter(w io.Writer, t *Table) *CSVWriter {
	c := &CSVWriter{w: bufio.NewWriterSize(w, 256<<10)}
	var names []string
	for i, f := range t.schema.Fields() {
		if f.Type.ID() != arrow.LIST && f.Name != "chunk_kinds" {
			c.shown, names = append(c.shown, i), append(names, f.Name)
		}
	}
	c.w.WriteString(strings.Join(names, ",") + "\n") // its error sticks
	return c
}

// Write writes the rows of a record of the table.
func (c *CSVWriter) Write(r arrow.Record) error {
	for row := range int(r.NumRows()) {
		c.line = c.line[:0]
		for i, k := range c.shown {
			if i > 0 {
				c.line = append(c.line, ',')
			}
			if col := r.Column(k); col.IsValid(row) {
				c.value(col, row)
			}
		}
		if _, err := c.w.Write(append(c.line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func (c *CSVWriter) value(col arrow.Array, row int) {
	switch col := col.(type) {
	case *array.Timestamp:
		c.line = time.Unix(0, int64(col.Value(row))).UTC().AppendFormat(c.line, "2006-01-02T15:04:05.000000000Z")
	case *array.Int64:
		c.line = strconv.AppendInt(c.line, col.Value(row), 10)
	case *array.Int32:
		c.line = strconv.AppendInt(c.line, int64(col.Value(row)), 10)
	case *array.Boolean:
		c.line = strconv.AppendBool(c.line, col.Value(row))
	case *array.String:
		s := col.Value(row)
		if s == "" || strings.ContainsAny(s, "\",\r\n") {
			s = `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
		}
		c.line = append(c.line, s...)
	default:
		panic(fmt.Sprintf("no text is made of %s", col.DataType())) // no column is that
	}
}

// Close writes what is left. It does not close the underlying writer.
func (c *CSVWriter) Close() error { return c.w.Flush() }
