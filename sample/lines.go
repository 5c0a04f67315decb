package sample

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"wattrace/trace"
)

// ErrCut is the cause of an error of a last line that nothing ends: there may
// have been more of it.
var ErrCut = errors.New("the last line has no end")

const (
	maxLine     = 64 << 10               // bytes of a line
	cutPatience = 200 * time.Millisecond // in which a Ctrl-C that cut a line reaches this process too
)

// Lines is the loop of a feed that reads text as it is written: it calls f with
// each line of r that is not blank, without its ending, and with when it
// arrived. It returns nil when ctx is done or r is over. A line that f, or Lines
// itself, cannot read ends it: a *trace.SyntaxError that has the line's number.
// name is what errors call r.
//
// A read of r may still be under way when Lines returns because ctx is done, as
// that of a pipe to which nobody writes.
func Lines(ctx context.Context, r io.Reader, name string, now func() trace.Time, f func(line []byte, at trace.Time) error) error {
	type line struct {
		text []byte
		at   trace.Time
		err  error // what came in place of a line, or after it
	}
	lines, done := make(chan line, 64), make(chan struct{})
	defer close(done)
	go func() {
		b := bufio.NewReaderSize(r, maxLine)
		for {
			text, err := b.ReadSlice('\n')
			l := line{bytes.Clone(text), now(), err}
			select {
			case lines <- l:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for pos := (trace.Pos{File: name, Line: 1}); ; pos.Line++ {
		var l line
		select {
		case l = <-lines:
		case <-ctx.Done():
			return nil
		}
		text := bytes.TrimRight(l.text, " \t\r\n")
		if len(bytes.TrimSpace(text)) == 0 { // white space of other kinds
			text = nil
		}
		switch {
		case l.err == nil && len(text) == 0:
			continue
		case l.err == nil:
			if err := f(text, l.at); err != nil {
				return trace.ErrorAt(pos, err)
			}
		case l.err == bufio.ErrBufferFull:
			return trace.ErrorAt(pos, fmt.Errorf("the line is longer than %d KiB", maxLine>>10))
		case l.err != io.EOF:
			return fmt.Errorf("%s: %w", name, l.err)
		case len(text) == 0:
			return nil
		default:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(cutPatience):
				return trace.ErrorAt(pos, ErrCut)
			}
		}
	}
}

const (
	wallAhead  = time.Second      // of a clock beside this host's
	wallBehind = 10 * time.Minute // that a line may wait in buffers
)

// FromWall returns when on the steady clock it was what a line says by a wall
// clock, given when the line arrived. A line comes soon after it was stamped:
// one that does not has its time from another clock or in another time zone,
// which is an error.
func FromWall(clock *trace.SteadyClock, stamp time.Time, arrived trace.Time) (trace.Time, error) {
	s := clock.Snapshot()
	late := time.Duration(s.UnixNanos-stamp.UnixNano()) - s.At.Sub(arrived)
	switch {
	case late < -wallAhead:
		return 0, fmt.Errorf("its time is %v after the one of this host: it has another time zone (TZ) or clock", (-late).Round(time.Second))
	case late > wallBehind:
		return 0, fmt.Errorf("its time is %v ago: it has another time zone (TZ) or clock, or is old", late.Round(time.Second))
	}
	return min(arrived, arrived-trace.Time(late)), nil
}
