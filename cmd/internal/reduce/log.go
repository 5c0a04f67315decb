package reduce

import (
	"errors"
	"fmt"
	"io"
	"time"

	"wattrace/formats"
	"wattrace/formats/energies"
	"wattrace/formats/requests"
	"wattrace/sample"
	"wattrace/trace"
)

type batch = sample.Batch

// logFile is one request log, or several one after another.
type logFile struct {
	in          *formats.Input
	runs        []*run
	incomplete  int
	interrupted bool
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
	ahead := parseAhead(reader)
	defer ahead.stop()
	for block := range ahead.blocks {
		for i := range block.n {
			if err := use(&block.records[i]); err != nil {
				return err
			}
		}
		switch err := block.err; {
		case err == io.EOF, errors.Is(err, requests.ErrTruncated), errors.Is(err, io.ErrUnexpectedEOF):
			l.incomplete = block.incomplete
			if err != io.EOF {
				l.incomplete = max(l.incomplete, 1)
			}
			return nil
		case err != nil:
			return err
		}
		ahead.free <- block
	}
	return nil
}

// A parsingAhead parses the next lines of a log while some are reduced.
type parsingAhead struct {
	blocks chan *logBlock
	free   chan *logBlock
}

// logBlock is some lines, and the error that came after them.
type logBlock struct {
	records    [64]requests.Record
	n          int
	err        error
	incomplete int // logs without a close line, at the end
}

// parseAhead begins to read. It ends with the first error, or when it is stopped.
func parseAhead(r *requests.Reader) *parsingAhead {
	const few = 3
	a := &parsingAhead{blocks: make(chan *logBlock, few), free: make(chan *logBlock, few)}
	for range few {
		a.free <- new(logBlock)
	}
	go func() {
		defer close(a.blocks)
		for b := range a.free {
			b.n, b.err = 0, nil
			for b.n < len(b.records) && b.err == nil {
				if b.err = r.Read(&b.records[b.n]); b.err == nil {
					b.n++
				}
			}
			b.incomplete = r.Incomplete()
			a.blocks <- b
			if b.err != nil {
				return
			}
		}
	}()
	return a
}

// stop ends the reading, and returns when the reader is no longer used.
func (a *parsingAhead) stop() {
	close(a.free)
	for range a.blocks {
	}
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
	share := s.r.RequestEnergy(q, offset)
	s.r.Request(phase, q, offset, share)
	if energy, ok := share.Get(); ok && s.energies != nil {
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
	ph, ok := p.log.runs[p.run].byName[name]
	if !ok {
		return 0, &trace.SyntaxError{Pos: rec.Pos, Err: fmt.Errorf("phase %q did not start", name)}
	}
	return ph.span, nil
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
	r := p.log.runs[p.run]
	p.ended(r.number, phase, q, r.joint.Offset)
	return nil
}
