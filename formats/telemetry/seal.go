package telemetry

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"

	"wattrace/sample"
	"wattrace/trace"
)

// Summary is what a whole recording says of itself, as a sealed one does before
// its first row: in one schema, whatever the streams were.
type Summary struct {
	Head      Head                  // with the devices and metrics of all streams
	Marks     bool                  // a row has a mark
	Snapshots []trace.ClockSnapshot // all, the first Head's and the last the end's
	Holes     []Hole
	End       *End // nil: the recording is incomplete
}

// marked reports whether there is a column of marks.
func (s *Summary) marked() bool {
	return s.Marks || slices.ContainsFunc(s.Head.Devices, isRun)
}

// isRun tells the device whose rows are marks.
func isRun(d sample.Device) bool { return d.Scope == sample.ScopeRun }

// Table makes Arrow records of batches, all of one schema and with the same
// dictionaries: what writers of other formats begin with.
type Table struct{ encoder }

// NewTable returns the table of a recording. Batches must have no devices,
// metrics or marks that the summary does not have.
func NewTable(s Summary) (*Table, error) {
	t := new(Table)
	t.marks = s.marked()
	if s.Head.Metrics == nil { // no stream had one
		s.Head.Metrics = []sample.MetricID{}
	}
	if err := t.begin(s.Head); err != nil {
		return nil, err
	}
	h := streamHead{Head: t.head, holes: s.Holes, end: s.End}
	if len(s.Snapshots) > 0 {
		h.Snapshot, h.later = s.Snapshots[0], s.Snapshots[1:]
	}
	if err := t.describe(&h); err != nil {
		return nil, err
	}
	return t, nil
}

// Schema returns the schema, with the metadata.
func (t *Table) Schema() *arrow.Schema { return t.schema }

// Record returns the rows of a batch. The caller releases it.
func (t *Table) Record(b *sample.Batch) (arrow.Record, error) {
	if err := t.check(b); err != nil {
		return nil, err
	}
	return t.record(b), nil
}

// FileWriter writes a sealed recording as an Arrow file. It must not be used by
// two goroutines at once.
type FileWriter struct {
	table *Table
	file  *ipc.FileWriter
	rows  int64
	end   *End
}

// NewFileWriter begins a file; compressed, its buffers are zstd, which not all
// readers of Arrow know.
func NewFileWriter(w io.Writer, s Summary, compressed bool) (*FileWriter, error) {
	t, err := NewTable(s)
	if err != nil {
		return nil, err
	}
	options := []ipc.Option{ipc.WithSchema(t.Schema())}
	if compressed {
		options = append(options, ipc.WithZstd())
	}
	file, err := ipc.NewFileWriter(&placed{w: w}, options...)
	if err != nil {
		return nil, err
	}
	return &FileWriter{table: t, file: file, end: s.End}, nil
}

// Write writes b as one Arrow batch, for which it should be large.
func (w *FileWriter) Write(b *sample.Batch) error {
	record, err := w.table.Record(b)
	if err != nil {
		return err
	}
	defer record.Release()
	w.rows += int64(b.Len())
	return w.file.Write(record)
}

// Close writes the footer. It does not close the underlying writer.
func (w *FileWriter) Close() error {
	if w.end != nil && w.end.Rows != w.rows {
		return fmt.Errorf("%d rows were written, the end says %d", w.rows, w.end.Rows)
	}
	return w.file.Close()
}

// placed tells arrow/go where in the file it is, which is all that it seeks for:
// so a pipe will do.
type placed struct {
	w io.Writer
	n int64
}

func (p *placed) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.n += int64(n)
	return n, err
}

func (p *placed) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekCurrent {
		return 0, errors.New("cannot seek")
	}
	return p.n, nil
}
