package reduce

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"wattrace/formats"
	"wattrace/formats/energies"
	"wattrace/formats/logs"
	"wattrace/formats/requests"
	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

type batch = sample.Batch

// logFile is one request log, or several one after another.
type logFile struct {
	in          *formats.Input
	codec       logs.Codec
	content     *logs.Log // as one of ours
	runs        []*run
	incomplete  int
	interrupted bool
	saturated   bool                          // its client said so of a run
	boot        bool                          // its times are since a boot that it does not name
	published   map[string][]reduce.Published // by tools, of its phases
	metered     trace.Opt[reduce.Metered]     // of its only phase
}

// surveyLines passes the lines of a log on that are no requests.
func (l *logFile) surveyLines(use func(*requests.Record) error) error {
	r, err := l.content.Outline()
	if err != nil {
		return err
	}
	reader := requests.NewReader(r, l.in.Name())
	reader.SkipRequests = true
	var rec requests.Record
	for {
		if err := reader.Read(&rec); err != nil {
			return l.ended(err, reader.Incomplete())
		}
		if err := use(&rec); err != nil {
			return err
		}
	}
}

// ended takes the error that a log ends with, and how many logs had no close line by
// then. A last line that was cut off ends it, as killing the client does.
func (l *logFile) ended(err error, incomplete int) error {
	switch {
	case err == io.EOF:
	case errors.Is(err, requests.ErrTruncated), errors.Is(err, io.ErrUnexpectedEOF):
		incomplete = max(incomplete, 1)
	default:
		return err
	}
	l.incomplete = incomplete
	return nil
}

// share is what a request has of the energy; unknown where that is not known, or not
// asked for.
type share = trace.Opt[reduce.RequestEnergy]

// splitFunc does with a request what a Splitter has to do in a pass.
type splitFunc func(s *reduce.Splitter, q *trace.Request, offset time.Duration) share

// eachRecord passes all lines of a log on, in order. Before that, all requests have been
// given to split, in any order and several at a time, and what it returned comes along.
func (l *logFile) eachRecord(r *reduce.Reducer, split splitFunc, use func(*requests.Record, share) error) error {
	in, err := l.content.Reader()
	if err != nil {
		return err
	}
	var splitters []*reduce.Splitter
	for range min(runtime.GOMAXPROCS(0), maxWorkers) {
		splitters = append(splitters, r.Splitter())
	}
	ahead := l.readAhead(requests.NewReader(in, l.in.Name()), splitters, split)
	defer func() {
		ahead.stop()
		for _, s := range splitters {
			r.Join(s)
		}
	}()
	for block := range ahead.blocks {
		<-block.done
		for i := range block.n {
			if err := use(&block.records[i], block.shares[i]); err != nil {
				return err
			}
		}
		if block.err != io.EOF {
			return l.ended(block.err, block.incomplete)
		}
		if block.last {
			return l.ended(io.EOF, block.incomplete)
		}
		ahead.free <- block
	}
	return nil
}

// A logAhead reads the next parts of a log, and splits its energy, while one is reduced.
type logAhead struct {
	blocks  chan *logBlock // in the order of the log
	work    chan *logBlock
	free    chan *logBlock
	workers sync.WaitGroup
}

// logBlock is a part of a log, and the error that came after it; io.EOF is none.
type logBlock struct {
	part       requests.Reader
	offset     time.Duration // of its run
	records    []requests.Record
	shares     []share
	n          int
	err        error
	last       bool
	incomplete int           // logs without a close line, at the end
	done       chan struct{} // gets one when the block is as said
}

// maxWorkers bounds the memory: a Splitter each, and the requests of a part or two.
const maxWorkers = 4

// readAhead begins to read. It ends with the log, or when it is stopped.
func (l *logFile) readAhead(r *requests.Reader, splitters []*reduce.Splitter, split splitFunc) *logAhead {
	blocks := len(splitters) + 2
	a := &logAhead{blocks: make(chan *logBlock, blocks), work: make(chan *logBlock, blocks), free: make(chan *logBlock, blocks)}
	for range blocks {
		a.free <- &logBlock{done: make(chan struct{}, 1)}
	}
	for _, s := range splitters {
		a.workers.Go(func() {
			for b := range a.work {
				b.parse(s, split)
				b.done <- struct{}{}
			}
		})
	}
	go func() {
		defer close(a.blocks)
		defer close(a.work)
		for b := range a.free {
			err := r.Part(&b.part)
			b.n, b.err, b.last, b.incomplete = 0, io.EOF, err != nil, r.Incomplete()
			if run := r.Runs() - 1; run >= 0 && run < len(l.runs) {
				b.offset = l.runs[run].joint.Offset
			}
			a.blocks <- b
			if b.last {
				b.err = err
				b.done <- struct{}{}
				return
			}
			a.work <- b
		}
	}()
	return a
}

// parse reads the lines of a block.
func (b *logBlock) parse(s *reduce.Splitter, split splitFunc) {
	for b.n = 0; ; b.n++ {
		if b.n == len(b.records) {
			b.records = append(b.records, requests.Record{})
			b.shares = append(b.shares, share{})
		}
		rec := &b.records[b.n]
		if b.err = b.part.Read(rec); b.err != nil {
			return
		}
		b.shares[b.n] = share{}
		if rec.Type == requests.TypeRequest {
			b.shares[b.n] = split(s, &rec.Request, b.offset)
		}
	}
}

// stop ends the reading, and returns when the log is no longer used.
func (a *logAhead) stop() {
	close(a.free)
	for range a.blocks {
	}
	a.workers.Wait()
}

// surveyRequests passes the requests on for the first time.
func (s *job) surveyRequests(l *logFile) error {
	p := newPass(l)
	p.ended = func(_, phase int, q *trace.Request, offset time.Duration, _ share) {
		s.progress.requests[0].Add(1)
		s.r.SurveyRequest(phase, q, offset)
	}
	p.lost = func(int) {}
	return p.read(s.r, func(s *reduce.Splitter, q *trace.Request, offset time.Duration) share {
		s.WeighRequest(q, offset)
		return share{}
	})
}

// readRequests passes the requests on for the second time, and those that did not end.
func (s *job) readRequests(l *logFile) error {
	p := newPass(l)
	p.ended, p.lost = s.request, s.r.Unended
	return p.read(s.r, (*reduce.Splitter).RequestEnergy)
}

// request takes a request in the second pass.
func (s *job) request(run, phase int, q *trace.Request, offset time.Duration, its share) {
	s.progress.requests[1].Add(1)
	s.r.Request(phase, q, offset, its)
	if energy, ok := its.Get(); ok && s.energies != nil {
		s.energies.Request(&energies.Request{
			Run: run, Seq: q.Seq, Line: q.Line, Conversation: q.Conversation, Turn: q.Turn, Phase: q.Phase, Outcome: q.Outcome, Energy: energy,
		})
	}
}

// logPass is a pass over the requests of a log, which checks that the log agrees with
// itself.
type logPass struct {
	ended   func(run, phase int, q *trace.Request, offset time.Duration, its share)
	lost    func(phase int)
	log     *logFile
	run     int
	pending map[int64]int // phase of each request that was sent and has not ended
	count   requests.Close
}

func newPass(l *logFile) *logPass { return &logPass{log: l, run: -1, pending: map[int64]int{}} }

func (p *logPass) read(r *reduce.Reducer, split splitFunc) error {
	err := p.log.eachRecord(r, split, p.take)
	p.unended()
	return err
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

func (p *logPass) take(rec *requests.Record, its share) error {
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
		return p.request(rec, its)
	case requests.TypeClose:
		c := rec.Close
		c.At, c.Clean, c.Client = 0, false, requests.Judgement{}
		if c != p.count {
			return &trace.SyntaxError{Pos: rec.Pos, Err: fmt.Errorf(
				"the log lacks lines, or has some twice: it ends with %d sent, %d succeeded, %d failed, %d cancelled, and holds %d, %d, %d, %d",
				c.Sent, c.Succeeded, c.Failed, c.Cancelled, p.count.Sent, p.count.Succeeded, p.count.Failed, p.count.Cancelled)}
		}
	}
	return nil
}

// mostTokens is what one request can have: sums in millionths of a token fit 64 bits.
const mostTokens = 1 << 31

func (p *logPass) request(rec *requests.Record, its share) error {
	q := &rec.Request
	if q.Sent < q.Scheduled {
		return &trace.SyntaxError{Pos: rec.Pos, Err: errors.New("the request was sent before it was due")}
	}
	if q.FirstToken.OK && q.FirstToken.V < q.Sent || q.LastToken.OK && q.LastToken.V < q.Sent || q.Done < q.Sent {
		return &trace.SyntaxError{Pos: rec.Pos, Err: errors.New("a token, or the end, comes before the request was sent")}
	}
	if q.FirstToken.OK && q.LastToken.OK && q.LastToken.V < q.FirstToken.V {
		return &trace.SyntaxError{Pos: rec.Pos, Err: errors.New("the last token comes before the first")}
	}
	if q.LastToken.OK && q.LastToken.V > q.Done || q.FirstToken.OK && q.FirstToken.V > q.Done {
		return &trace.SyntaxError{Pos: rec.Pos, Err: errors.New("a token comes after the end")}
	}
	// What ends a request that failed, and what a server sends unasked, may be on either side.
	if q.Outcome == trace.Succeeded && q.FirstByte.OK && (q.FirstByte.V < q.Sent || q.FirstByte.V > q.Done) {
		return &trace.SyntaxError{Pos: rec.Pos, Err: errors.New("the first byte comes before the request was sent, or after the end")}
	}
	if max(q.InputTokens.V, q.OutputTokens.V) > mostTokens {
		return &trace.SyntaxError{Pos: rec.Pos, Err: fmt.Errorf("the request has more tokens than any can: over %d", int64(mostTokens))}
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
	p.ended(r.number, phase, q, r.joint.Offset, its)
	return nil
}
