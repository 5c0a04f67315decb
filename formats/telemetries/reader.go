package telemetries

import (
	"errors"
	"io"

	"wattrace/formats/aiperf"
	"wattrace/formats/nvidiasmi"
	"wattrace/formats/stamped"
	"wattrace/formats/telemetry"
	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

// Head is what a recording says of itself.
type Head struct {
	Clock   trace.Clock     // the steady clock that its times are on
	Info    sample.Info     // the source
	Devices []sample.Device // those of the rows so far, at least of the first batch
	// TimeSync is how well the host's wall clock was kept; the zero value is unknown.
	TimeSync TimeSync
	// Local says that a time so far was local, without a zone, where the format has both.
	Local bool
	// Topology lists the GPUs that should be there, and what they do, where the format says
	// so; nil is unknown.
	Topology []reduce.Member
}

// What a recorder says is as package telemetry has it: other formats say none of it.
type (
	TimeSync = telemetry.TimeSync
	Hole     = telemetry.Hole
	UnitEnd  = telemetry.UnitEnd
)

// Account is what a recorder says of how it went, as far as the recording was read.
type Account struct {
	Lost  int64     // rows that were read and could not be kept
	Holes []Hole    // when, on Head's clock
	Units []UnitEnd // how devices were read; without Devices it is all of them
}

// AccountOf returns the account of a recording; of a format that has none it is empty.
func AccountOf(r Reader) Account {
	t, ok := r.(telemetryReader)
	if !ok {
		return Account{}
	}
	end, ended := t.End()
	a := Account{Lost: end.Lost, Holes: t.Holes(), Units: end.Units}
	if !ended { // the holes that were read may be more than those of the ends
		a.Lost = 0
		for _, h := range a.Holes {
			a.Lost += h.Rows
		}
	}
	if len(a.Units) == 0 && end.Ticks > 0 {
		a.Units = []UnitEnd{{Ticks: end.Ticks, Missed: end.Missed}}
	}
	return a
}

// Own returns the reader of a recording of ours; of another format it is nil.
func Own(r Reader) *telemetry.Reader {
	if t, ok := r.(telemetryReader); ok {
		return t.Reader
	}
	return nil
}

// Reader reads a recording. It is not safe for concurrent use.
type Reader interface {
	// Head returns what the recording has said of itself so far.
	Head() Head
	// Read replaces the content of b by the next rows, on Head's clock; an index
	// in b.Device keeps its meaning from one batch to the next. The error is
	// io.EOF at the end of a complete recording; [Judge] tells what another means.
	Read(b *sample.Batch) error
	// Clocks returns Head's clock with the readings of the host's clocks so far;
	// of recordings that were put one after the other, those of each.
	Clocks() []trace.Clocks
	// Clean reports, once Read has returned io.EOF, whether the recorder says
	// that nothing is missing. Formats that say nothing are clean.
	Clean() bool
}

// Fault is what an error of [Reader] means for the rows around it.
type Fault int

// The faults.
const (
	Failed    Fault = iota // it cannot be read, or is no such recording
	Truncated              // it breaks off; the rows so far are good
	Damaged                // the rest cannot be read; the rows so far are good
	Skipped                // a row is wrong, and left out: reading goes on
)

// Judge returns what an error of Read means. io.EOF is none.
func Judge(err error) Fault {
	var corrupt *telemetry.CorruptError
	var syntax *trace.SyntaxError
	switch {
	case errors.Is(err, telemetry.ErrTruncated), errors.Is(err, nvidiasmi.ErrTruncated), errors.Is(err, aiperf.ErrTruncated), errors.Is(err, stamped.ErrTruncated), errors.Is(err, io.ErrUnexpectedEOF):
		return Truncated
	case errors.As(err, &corrupt):
		return Damaged
	case errors.As(err, &syntax):
		return Skipped
	}
	return Failed
}
