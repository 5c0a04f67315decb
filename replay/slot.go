package replay

import (
	"fmt"
	"time"

	"wattrace/trace"
)

// slot keeps one request in flight, in one phase of its group after another. It
// returns when there is nothing more for it to send.
func (r *run) slot(g *group, number int, free trace.Time) {
	x := newExchange(r.client)
	var pause time.Duration // before the next request; 0 while the server can be reached
	for {
		r.watching.blocked.Add(int64(r.journal.pause()))
		p, item, seq, verdict := r.next(g, number, free)
		switch verdict {
		case Send:
			done, reached, sent := r.turn(g, p, item, seq, number, x)
			if !sent {
				continue // the phase is over
			}
			if free, pause = done, nextPause(pause, reached); pause > 0 {
				free = r.rest(p, pause)
			}
		case Wait:
			<-p.over
		case Over:
			return
		}
	}
}

// notYet is the number of a request that may still not be sent.
const notYet = -1

// turn sends an item when it is due, if the phase still sends then.
func (r *run) turn(g *group, p *phaseRun, item Item, seq int64, slot int, x *exchange) (done trace.Time, reached, sent bool) {
	if item.Due > r.clock.Now() && !r.waitUntil(p, item.Due, nil) {
		return 0, false, false
	}
	way, in := r.enter(p)
	if !in {
		return 0, false, false
	}
	defer way.leave()
	if seq == notYet {
		var sends bool
		if seq, sends = r.commit(p); !sends {
			return 0, false, false
		}
	}
	done, reached = r.send(p, item, seq, slot, x, way)
	r.ended(g, done)
	return done, reached, true
}

// commit hands a request out, unless its phase sends no more.
func (r *run) commit(p *phaseRun) (seq int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	if end := p.start.Add(p.plan.Duration); p.plan.Duration > 0 && now >= end {
		r.endSending(p, end) // the timer is about to
	}
	if p.ended || r.stopping() {
		return 0, false
	}
	return r.number(p, now), true
}

// number gives the next number to a request that is handed out. r.mu is held.
func (r *run) number(p *phaseRun, now trace.Time) (seq int64) {
	seq, r.seq = r.seq, r.seq+1
	p.handed.Add(1)
	p.lastSend = now
	if p.schedule.Slots() > 0 && p.schedule.Exhausted() {
		r.armGrace(p) // nobody may ask again before it has passed
	}
	return seq
}

// ended notes that an answer has ended.
func (r *run) ended(g *group, done trace.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g.lastDone = max(g.lastDone, done)
}

// How long a slot rests after a request that reached no server: twice as long
// each time. A closed loop would spin otherwise, and fill the disk with its log.
const (
	leastPause = 10 * time.Millisecond
	mostPause  = time.Second
)

func nextPause(last time.Duration, reached bool) time.Duration {
	if reached {
		return 0
	}
	return min(max(2*last, leastPause), mostPause)
}

// rest lets a slot be idle, and returns when it is free again.
func (r *run) rest(p *phaseRun, d time.Duration) trace.Time {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.over:
	case <-r.ctx.Done():
	}
	return r.clock.Now()
}

// next returns what a slot does next: send the item, wait for the phase to be
// over, or end.
func (r *run) next(g *group, slot int, free trace.Time) (p *phaseRun, item Item, seq int64, v Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		p = g.phases[g.at]
		if end := p.start.Add(p.plan.Duration); p.plan.Duration > 0 && r.clock.Now() >= end {
			r.endSending(p, end) // the timer is about to
			p = g.phases[g.at]
		}
		switch {
		case r.stopping(), p.ended:
			return p, item, notYet, Over
		case slot >= p.schedule.Slots():
			v = Wait
		default:
			item, v = p.schedule.Next(slot, p.start, max(free, p.start))
		}
		if v == Wait && !p.plan.Handover {
			return p, item, notYet, Over // there is no phase to wait for
		}
		if v == Over {
			r.endSending(p, r.clock.Now())
			continue // in the next phase, if there is one
		}
		if now := r.clock.Now(); v == Send && item.Due <= now && p.prefills == nil {
			return p, item, r.number(p, now), v
		}
		return p, item, notYet, v
	}
}

// send makes one request and returns when it ended, and whether it reached a
// server.
func (r *run) send(p *phaseRun, item Item, seq int64, slot int, x *exchange, way *pass) (done trace.Time, reached bool) {
	turn := &r.opt.Turns[item.Turn]
	q := r.newRequest()
	q.Seq, q.Line, q.Phase, q.Slot = seq, int64(item.Turn)+1, p.plan.Name, slot
	q.Conversation, q.Turn = turn.Conversation, turn.Index
	q.Target = r.balance.pick(item.Conversation, conversationName(turn.Conversation, q.Line))
	defer r.balance.done(q.Target)
	q.Scheduled = item.Due
	q.ExpectedInput, q.ExpectedOutput = turn.Timing.InputTokens, turn.Timing.OutputTokens

	body, err := r.body(turn.Payload, q, &x.buffers)
	if err != nil { // a trace is checked before it is sent, so it cannot be
		q.Sent = r.clock.Now()
		q.Outcome, q.Done = trace.Failed, q.Sent
		q.Error = trace.RequestError{Class: trace.ErrClient, Message: "overlay: the body is not a JSON object"}
		r.wasSent(q, p, way)
	} else {
		x.answered, x.giveUp = way.answered, item.GiveUp
		x.do(p.ctx, &r.opt.Targets[q.Target], turn.Endpoint, body, q, func() { r.wasSent(q, p, way) })
	}
	r.count(p, q)
	done = q.Done
	switch q.Error.Class {
	case trace.ErrDNS, trace.ErrConnect, trace.ErrTLS, trace.ErrClient:
	default:
		reached = true
	}
	r.journal.add(entry{request: q})
	return done, reached
}

// wasSent notes that a request is under way.
func (r *run) wasSent(q *trace.Request, p *phaseRun, way *pass) {
	r.watching.sending(q.Sent.Sub(max(q.Scheduled, way.through)), p.plan.Kind == trace.Measure)
	r.journal.add(entry{sent: true, seq: q.Seq, line: q.Line, name: q.Phase, at: q.Sent})
	r.sent.Add(1)
	r.inFlight.Add(1)
}

// count adds an ended request to the engine's totals.
func (r *run) count(p *phaseRun, q *trace.Request) {
	r.inFlight.Add(-1)
	switch q.Outcome {
	case trace.Succeeded:
		r.succeeded.Add(1)
	case trace.Cancelled:
		r.cancelled.Add(1)
	default:
		r.failed.Add(1)
	}
	r.output.Add(q.OutputTokens.Or(0))
	if p.plan.MaxErrorRate > 0 && q.Outcome != trace.Cancelled {
		r.judgeErrors(p, q.Outcome == trace.Failed)
	}
}

// leastJudged is how many requests of a phase have ended before their share of
// failures is looked at.
const leastJudged = 20

// judgeErrors stops the run when too many requests of a phase have failed.
func (r *run) judgeErrors(p *phaseRun, failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.answered++
	if failed {
		p.failed++
	}
	if share := float64(p.failed) / float64(p.answered); p.answered >= leastJudged && share > p.plan.MaxErrorRate && !r.stopped {
		r.reason = fmt.Sprintf("phase %q: %d of %d requests failed, more than its max_error_rate of %g", p.plan.Name, p.failed, p.answered, p.plan.MaxErrorRate)
		r.halting()
	}
}

// newRequest returns a request without anything, with room for chunks.
func (r *run) newRequest() *trace.Request {
	q, ok := r.pool.Get().(*trace.Request)
	if !ok {
		return new(trace.Request)
	}
	*q = trace.Request{Chunks: q.Chunks[:0]}
	return q
}

// write feeds the sink until over is closed and the journal is empty, or the
// sink fails.
func (r *run) write(sink Sink, over <-chan struct{}) (res Result, err error) {
	res.Classes = map[trace.ErrorClass]int64{}
	tick := time.NewTicker(clientEvery)
	defer tick.Stop()
	snapshotAt := r.clock.Now().Add(snapshotEvery)
	for ended := false; ; {
		for range r.journal.pages() { // of those that come meanwhile the journal tells
			p := r.journal.take()
			for i := range p.n {
				if err := r.pass(sink, &p.entries[i], &res); err != nil {
					return res, err
				}
			}
			r.journal.giveBack(p)
		}
		if ended {
			break
		}
		select {
		case <-r.journal.wake:
		case <-tick.C:
			if err := r.use(sink); err != nil {
				return res, err
			}
			// The tick before 10 s are over: one a little late would break
			// the promise.
			if now := r.clock.Now(); now.Add(2*clientEvery) > snapshotAt {
				if err := sink.Clock(r.clock.Snapshot()); err != nil {
					return res, err
				}
				snapshotAt = now.Add(snapshotEvery)
			}
		case <-over:
			ended = true
		}
	}
	if err := r.use(sink); err != nil {
		return res, err
	}
	res.Client = r.watching.judgement()
	return res, sink.Clock(r.clock.Snapshot())
}

func (r *run) use(sink Sink) error {
	return sink.Client(r.watching.use(r.clock.Now(), int(r.inFlight.Load()), r.journal.longest()))
}

// pass hands one entry to the sink.
func (r *run) pass(sink Sink, e *entry, res *Result) error {
	switch {
	case e.phase != nil:
		return sink.Phase(e.phase, e.start, e.at)
	case e.sent:
		res.Sent++
		return sink.Sent(e.seq, e.line, e.name, e.at)
	}
	q := e.request
	switch q.Outcome {
	case trace.Succeeded:
		res.Succeeded++
	case trace.Cancelled:
		res.Cancelled++
	default:
		if res.Failed++; res.Failed == 1 {
			res.First = q.Error
		}
		res.Classes[q.Error.Class]++
	}
	res.InputTokens += q.InputTokens.Or(0)
	res.OutputTokens += q.OutputTokens.Or(0)
	r.watching.answered(q)
	err := sink.Request(q)
	r.pool.Put(q)
	return err
}
