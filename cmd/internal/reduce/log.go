package reduce

import (
	"errors"
	"fmt"
	"io"
	"time"

	"wattrace/formats"
	"wattrace/formats/requests"
	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

type batch = sample.Batch

// logFile is one request log, or several one after another.
type logFile struct {
	in          *formats.Input
	runs        []runPart
	incomplete  int
	interrupted bool
}

// runPart is one run of a log.
type runPart struct {
	offset time.Duration  // moves its times to the common clock
	phases map[string]int // the reducer's index of each phase
}

// eachRecord reads a log to its end. A last line that was cut off ends it, as
// killing the client does.
func eachRecord(l *logFile, use func(*requests.Record) error) error {
	r, err := l.in.Reader()
	if err != nil {
		return err
	}
	reader := requests.NewReader(r, l.in.Name())
	var rec requests.Record
	for {
		switch err := reader.Read(&rec); {
		case err == io.EOF, errors.Is(err, requests.ErrTruncated):
			l.incomplete = reader.Incomplete()
			if err != io.EOF {
				l.incomplete = max(l.incomplete, 1)
			}
			return nil
		case err != nil:
			return err
		}
		if err := use(&rec); err != nil {
			return err
		}
	}
}

// surveyLogs finds the phases of all runs. The first run's clock becomes the
// common one.
func (s *session) surveyLogs() ([]reduce.Span, error) {
	var spans []reduce.Span
	names := map[string]int{}
	for i, l := range s.logs {
		err := eachRecord(l, func(rec *requests.Record) error {
			switch rec.Type {
			case requests.TypeRun:
				if i == 0 && len(l.runs) == 0 {
					s.clock = rec.Run.Clock
				}
				offset, _ := s.clock.Offset(rec.Run.Clock)
				l.runs = append(l.runs, runPart{offset, map[string]int{}})
				for _, ph := range rec.Run.Plan.Phases {
					if ph.Handover {
						l.runs[len(l.runs)-1].phases[ph.Name] = handover
					}
				}
			case requests.TypeClose:
				l.interrupted = l.interrupted || !rec.Close.Clean
			case requests.TypePhase:
				return l.phase(rec, &spans, names)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return spans, nil
}

// handover marks a phase that is not known yet as one that ends without a drain.
const handover = -1

// phase takes the start or the end of a phase. A name that an earlier run had
// gets a number.
func (l *logFile) phase(rec *requests.Record, spans *[]reduce.Span, names map[string]int) error {
	p, part := rec.Phase, l.runs[len(l.runs)-1]
	index, known := part.phases[p.Phase]
	started := known && index != handover
	switch {
	case p.Start && started:
		return &trace.SyntaxError{Pos: rec.Pos, Err: fmt.Errorf("phase %q starts twice", p.Phase)}
	case p.Start:
		names[p.Phase]++
		name := p.Phase
		if n := names[name]; n > 1 {
			name = fmt.Sprintf("%s (%d)", name, n)
		}
		part.phases[p.Phase] = len(*spans)
		*spans = append(*spans, reduce.Span{
			Name: name, Kind: string(p.Kind), Start: p.At.Add(part.offset), Concurrency: p.Concurrency, Handover: known,
		})
	case !started:
		return &trace.SyntaxError{Pos: rec.Pos, Err: fmt.Errorf("phase %q ends but did not start", p.Phase)}
	default:
		span := &(*spans)[index]
		end := p.At.Add(part.offset)
		if end < span.Start {
			return &trace.SyntaxError{Pos: rec.Pos, Err: fmt.Errorf("phase %q ends before it starts", p.Phase)}
		}
		span.End = trace.Some(end)
	}
	return nil
}

// readLog passes the requests of a log on.
func (s *session) readLog(l *logFile) error {
	run := -1
	pending := map[int64]int{} // phase of each request that was sent and has not ended
	unended := func() {
		for _, phase := range pending {
			s.r.Unended(phase)
		}
		clear(pending)
	}
	phaseOf := func(rec *requests.Record, name string) (int, error) {
		index, ok := l.runs[run].phases[name]
		if !ok || index == handover {
			return 0, &trace.SyntaxError{Pos: rec.Pos, Err: fmt.Errorf("phase %q did not start", name)}
		}
		return index, nil
	}
	err := eachRecord(l, func(rec *requests.Record) error {
		switch rec.Type {
		case requests.TypeRun:
			run++
			unended()
		case requests.TypeSent:
			phase, err := phaseOf(rec, rec.Sent.Phase)
			if err != nil {
				return err
			}
			pending[rec.Sent.Seq] = phase
		case requests.TypeRequest:
			phase, err := phaseOf(rec, rec.Request.Phase)
			if err != nil {
				return err
			}
			delete(pending, rec.Request.Seq)
			s.r.Request(phase, &rec.Request, l.runs[run].offset)
		}
		return nil
	})
	unended()
	return err
}
