package reduce

import (
	"errors"
	"fmt"
	"io"
	"time"

	"wattrace/formats"
	"wattrace/formats/energies"
	"wattrace/formats/requests"
	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

type batch = sample.Batch

// logFile is one request log, or several one after another.
type logFile struct {
	in          *formats.Input
	firstRun    int // number of its first run over all logs
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
func eachRecord(l *logFile, skipRequests bool, use func(*requests.Record) error) error {
	r, err := l.in.Reader()
	if err != nil {
		return err
	}
	reader := requests.NewReader(r, l.in.Name())
	reader.SkipRequests = skipRequests
	var rec requests.Record
	for {
		switch err := reader.Read(&rec); {
		case err == io.EOF, errors.Is(err, requests.ErrTruncated), errors.Is(err, io.ErrUnexpectedEOF):
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
func (s *job) surveyLogs() ([]reduce.Span, error) {
	var spans []reduce.Span
	names := map[string]int{}
	seen := map[trace.Clock]bool{} // no two runs have one anchor
	runs := 0
	for i, l := range s.logs {
		l.firstRun = runs
		err := eachRecord(l, true, func(rec *requests.Record) error {
			switch rec.Type {
			case requests.TypeRun:
				if i == 0 && len(l.runs) == 0 {
					s.clock = rec.Run.Clock
				}
				if seen[rec.Run.Clock] {
					return &trace.SyntaxError{Pos: rec.Pos, Err: errors.New("this run was read before: the same log twice")}
				}
				seen[rec.Run.Clock] = true
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
		runs += len(l.runs)
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

// readLog passes the requests of a log on, and those that did not end, and
// checks that the log agrees with itself.
func (s *job) readLog(l *logFile, ended func(run, phase int, q *trace.Request, offset time.Duration), unended func(phase int)) error {
	p := &logPass{ended: ended, lost: unended, log: l, run: -1, pending: map[int64]int{}}
	err := eachRecord(l, false, p.take)
	p.unended()
	return err
}

// request takes a request in the second pass.
func (s *job) request(run, phase int, q *trace.Request, offset time.Duration) {
	energy, ok := s.r.Request(phase, q, offset).Get()
	if s.energies != nil && ok {
		s.energies.Request(&energies.Request{
			Run: run, Seq: q.Seq, Line: q.Line, Conversation: q.Conversation, Turn: q.Turn, Phase: q.Phase, Outcome: q.Outcome, Energy: energy,
		})
	}
}

// logPass is a pass over the requests of a log.
type logPass struct {
	ended   func(run, phase int, q *trace.Request, offset time.Duration)
	lost    func(phase int)
	log     *logFile
	run     int
	pending map[int64]int // phase of each request that was sent and has not ended
	count   requests.Close
}

// unended counts the requests of the run that were sent and have not ended.
func (p *logPass) unended() {
	for _, phase := range p.pending {
		p.lost(phase)
	}
	clear(p.pending)
	p.count = requests.Close{}
}

func (p *logPass) phase(rec *requests.Record, name string) (int, error) {
	index, ok := p.log.runs[p.run].phases[name]
	if !ok || index == handover {
		return 0, &trace.SyntaxError{Pos: rec.Pos, Err: fmt.Errorf("phase %q did not start", name)}
	}
	return index, nil
}

func (p *logPass) take(rec *requests.Record) error {
	switch rec.Type {
	case requests.TypeRun:
		p.run++
		p.unended()
	case requests.TypeSent:
		phase, err := p.phase(rec, rec.Sent.Phase)
		if err != nil {
			return err
		}
		if _, twice := p.pending[rec.Sent.Seq]; twice {
			return &trace.SyntaxError{Pos: rec.Pos, Err: fmt.Errorf("request %d is sent twice", rec.Sent.Seq)}
		}
		p.pending[rec.Sent.Seq] = phase
		p.count.Sent++
	case requests.TypeRequest:
		return p.request(rec)
	case requests.TypeClose:
		c := rec.Close
		c.At, c.Clean = 0, false
		if c != p.count {
			return &trace.SyntaxError{Pos: rec.Pos, Err: fmt.Errorf(
				"the log lacks lines, or has some twice: it ends with %d sent, %d succeeded, %d failed, %d cancelled, and holds %d, %d, %d, %d",
				c.Sent, c.Succeeded, c.Failed, c.Cancelled, p.count.Sent, p.count.Succeeded, p.count.Failed, p.count.Cancelled)}
		}
	}
	return nil
}

func (p *logPass) request(rec *requests.Record) error {
	q := &rec.Request
	if q.FirstToken.OK && q.FirstToken.V < q.Sent || q.LastToken.OK && q.LastToken.V < q.Sent || q.Done < q.Sent {
		return &trace.SyntaxError{Pos: rec.Pos, Err: errors.New("a token, or the end, comes before the request was sent")}
	}
	phase, err := p.phase(rec, q.Phase)
	if err != nil {
		return err
	}
	if _, sent := p.pending[q.Seq]; !sent {
		return &trace.SyntaxError{Pos: rec.Pos, Err: fmt.Errorf("request %d was not sent, or ended before", q.Seq)}
	}
	delete(p.pending, q.Seq)
	switch q.Outcome {
	case trace.Succeeded:
		p.count.Succeeded++
	case trace.Failed:
		p.count.Failed++
	case trace.Cancelled:
		p.count.Cancelled++
	}
	p.ended(p.log.firstRun+p.run, phase, q, p.log.runs[p.run].offset)
	return nil
}
