package trace

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// A Writer writes a raw_payload file. What it writes, a Reader gives back byte
// for byte. It is not safe for concurrent use.
type Writer struct {
	w *bufio.Writer
}

// NewWriter returns a writer to w. Flush must be called, and its error
// checked, when all is written.
func NewWriter(w io.Writer) *Writer { return &Writer{bufio.NewWriterSize(w, 64<<10)} }

// Write writes one body as a line. A body that a Reader would not give back is
// refused with a *ColumnError and nothing is written: one that CheckPayload
// refuses, has a line feed, ends with a carriage return, or is too long.
func (w *Writer) Write(payload []byte) error {
	if err := checkLine(payload); err != nil {
		return err
	}
	if _, err := CheckPayload(payload); err != nil {
		return err
	}
	return w.line(payload)
}

// Copy is Write for a body that CheckPayload took already, as those of a Reader are:
// it is not checked again, which is most of the work.
func (w *Writer) Copy(payload []byte) error {
	if err := checkLine(payload); err != nil {
		return err
	}
	return w.line(payload)
}

// checkLine refuses what would not be one line.
func checkLine(payload []byte) error {
	if i := bytes.IndexByte(payload, '\n'); i >= 0 {
		return &ColumnError{Col: i + 1, Err: errors.New("a line feed inside a payload")}
	}
	if bytes.HasSuffix(payload, []byte("\r")) {
		return &ColumnError{Col: len(payload), Err: errors.New("a carriage return at the end of a payload")}
	}
	if len(payload) > MaxLine {
		return &ColumnError{Col: MaxLine + 1, Err: ErrLineTooLong}
	}
	return nil
}

func (w *Writer) line(payload []byte) error {
	w.w.Write(payload)
	return w.w.WriteByte('\n') // an error of the writer sticks
}

// Flush writes out what is buffered.
func (w *Writer) Flush() error { return w.w.Flush() }
