package logtable

import (
	"errors"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"
)

// NewFileWriter begins an Arrow file of a table's records; compressed, its buffers are
// zstd, which not all readers of Arrow know. Close writes the footer, and does not close
// the underlying writer.
func NewFileWriter(w io.Writer, t *Table, compressed bool) (FileWriter, error) {
	options := []ipc.Option{ipc.WithSchema(t.schema)}
	if compressed {
		options = append(options, ipc.WithZstd())
	}
	return ipc.NewFileWriter(&placed{w: w}, options...)
}

// FileWriter writes records to an Arrow file.
type FileWriter interface {
	Write(arrow.Record) error
	Close() error
}

// placed tells arrow/go where in the file it is, which is all that it seeks for: so a
// pipe will do.
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
