package telemetry

import (
	"errors"
	"fmt"
	"strings"
)

// ErrTruncated is the cause in a [CorruptError] of a recording that is cut, or
// that was never ended: its recorder was killed. Everything before the cut has
// been returned and is good.
var ErrTruncated = errors.New("the recording is not complete")

// CorruptError is a fault of a recording and where it is. It comes after every
// batch that is whole.
type CorruptError struct {
	File   string
	Batch  int64 // 1-based over the file, the one that is at fault; 0 is the head
	Row    int64 // 1-based in the batch; 0 is the whole batch
	Offset int64 // byte of the (uncompressed) file where the faulty message begins
	Err    error
}

// Error formats the error as file: batch 12 row 340: message.
func (e *CorruptError) Error() string {
	var s strings.Builder
	s.WriteString(e.File)
	if e.Batch > 0 {
		fmt.Fprintf(&s, ": batch %d", e.Batch)
		if e.Row > 0 {
			fmt.Fprintf(&s, " row %d", e.Row)
		}
	}
	fmt.Fprintf(&s, ": %v (at byte %d)", e.Err, e.Offset)
	return s.String()
}

// Unwrap returns the cause without its position.
func (e *CorruptError) Unwrap() error { return e.Err }

// cut is ErrTruncated with what shows it.
func cut(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrTruncated, fmt.Sprintf(format, args...))
}
