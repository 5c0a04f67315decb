package replay

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"wattrace/trace"
)

// Run walks the plan and returns when every request has ended and the sink has
// had everything. Closing stop ends it softly: nothing more is sent, what is in
// flight is waited for, and the phases that have begun end. When ctx ends, what
// is in flight is cancelled. Neither is an error: the result says Stopped.
// Failed requests are none either. The error is the sink's.
func (e *Engine) Run(ctx context.Context, stop <-chan struct{}, sink Sink) (Result, error) {
	if e.ran.Swap(true) {
		return Result{}, errors.New("replay: an Engine runs once")
	}
	defer e.client.Close()
	ctx, cancel := context.WithCancel(ctx)
	r := &run{Engine: e, ctx: ctx, journal: newJournal(), watching: newObserver(e.clock.Now()), halt: make(chan struct{})}

	var written, watched sync.WaitGroup
	watched.Go(func() { r.watch(stop) })
	over := make(chan struct{})
	var result Result
	var err error
	written.Go(func() {
		result, err = r.write(sink, over)
		if err != nil {
			cancel()
		}
		r.journal.stop()
	})
	begin := r.begins()
	end := r.phases(begin)
	close(over)
	written.Wait()
	result.Begin, result.End = begin, end
	result.Stopped, result.Reason, result.Held = r.isStopped(), r.reason, r.held
	cancel()
	watched.Wait()
	return result, err
}

// run is one Run.
type run struct {
	*Engine
	ctx       context.Context // ends: what is in flight is cancelled
	journal   *journal
	watching  *observer
	halt      chan struct{} // closed when stopped
	pool      sync.Pool     // of *trace.Request
	exchanges sync.Pool     // of *exchange

	mu      sync.Mutex
	seq     int64
	stopped bool
	reason  string // why it stopped by itself
	current *group // whose phases are under way
	held    map[string]int64
}

// phaseRun is a phase under way.
type phaseRun struct {
	plan     *trace.Phase
	number   int // from 1
	schedule *Schedule
	start    trace.Time
	handed   atomic.Int64
	held     atomic.Int64  // requests that waited for a gate
	over     chan struct{} // closed when the phase sends no more
	ctx      context.Context
	giveUp   context.CancelFunc // cancels the phase's requests
	ceiling  gate               // of an open loop's requests in flight
	prefills gate

	// Guarded by run.mu.
	ended    bool
	lanes    lanes       // slots of an open loop that are free
	width    int         // and how many there are
	answered int64       // requests that have ended, but for those given up
	failed   int64       // of those
	lastSend trace.Time  // when a request was handed out last
	deadline *time.Timer // ends the sending
	grace    *time.Timer // gives up the requests
}

// group is a phase and those that it and its successors hand over to. Their
// slots are the same.
type group struct {
	phases   []*phaseRun
	at       int        // the phase that sends
	lastDone trace.Time // guarded by run.mu
	busy     sync.WaitGroup
}

// watch ends the run softly when it is asked to.
func (r *run) watch(stop <-chan struct{}) {
	select {
	case <-stop:
	case <-r.ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.halting()
}

// halting ends the run softly. r.mu is held.
func (r *run) halting() {
	if r.stopped {
		return
	}
	r.stopped = true
	close(r.halt)
	if g := r.current; g != nil {
		r.endSending(g.phases[g.at], r.clock.Now())
	}
}

// phases runs the phases and returns when the last has ended. Each begins where
// the one before ended, so that they leave no time between them.
func (r *run) phases(begin trace.Time) (end trace.Time) {
	end = begin
	plan := r.opt.Plan.Phases
	for i := 0; i < len(plan) && !r.isStopped(); {
		n := 1
		for plan[i+n-1].Handover {
			n++
		}
		if plan[i].Kind == trace.Idle {
			end = r.idle(&plan[i], i+1, end)
		} else {
			end = r.group(plan[i:i+n], i+1, end)
		}
		i += n
	}
	return end
}

func (r *run) isStopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopping()
}

// stopping reports whether nothing more is to be sent. r.mu is held.
func (r *run) stopping() bool { return r.stopped || r.ctx.Err() != nil }

// begins waits for the time at which the run is to begin, and returns it, or when
// it was stopped before.
func (r *run) begins() trace.Time {
	now := r.clock.Now()
	if r.opt.StartAt.IsZero() {
		return now
	}
	at := now.Add(r.opt.StartAt.Sub(time.Now().Round(0))) // by the wall clock
	timer := time.NewTimer(at.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.halt:
		return r.clock.Now()
	}
	return at
}

// idle lets a phase without requests pass.
func (r *run) idle(ph *trace.Phase, number int, start trace.Time) (end trace.Time) {
	r.Engine.phase.Store(&phaseRun{plan: ph, number: number, start: start})
	r.journal.add(entry{phase: ph, start: true, at: start})
	end = start.Add(ph.Duration)
	timer := time.NewTimer(time.Until(r.clock.Deadline(end)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.halt:
		end = r.clock.Now()
	}
	r.journal.add(entry{phase: ph, at: end})
	return end
}

// group runs phases that hand over to one another.
func (r *run) group(plan []trace.Phase, number int, start trace.Time) (end trace.Time) {
	g := &group{lastDone: start}
	slots := 0
	for i := range plan {
		p := &phaseRun{plan: &plan[i], number: number + i, schedule: r.schedules[number+i-1], over: make(chan struct{})}
		p.ctx, p.giveUp = context.WithCancel(r.ctx)
		p.prefills = newGate(r.opt.Shard.Share(plan[i].Prefills))
		if p.schedule.Slots() == 0 {
			p.ceiling = newGate(r.opt.Shard.Share(plan[i].Concurrency))
		}
		g.phases = append(g.phases, p)
		slots = max(slots, p.schedule.Slots())
	}
	r.mu.Lock()
	r.current = g
	r.begin(g.phases[0], start)
	if r.stopped {
		r.endSending(g.phases[0], start)
	}
	r.mu.Unlock()

	for slot := range slots {
		g.busy.Go(func() { r.slot(g, slot, start) })
	}
	g.busy.Wait()

	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = nil
	for _, p := range g.phases {
		for _, t := range []*time.Timer{p.deadline, p.grace} {
			if t != nil {
				t.Stop()
			}
		}
		p.giveUp()
	}
	for _, p := range g.phases {
		if n := p.held.Load(); n > 0 {
			if r.held == nil {
				r.held = map[string]int64{}
			}
			r.held[p.plan.Name] = n
		}
	}
	last := g.phases[g.at]
	if end = g.lastDone; end <= last.start { // nothing ended in it
		end = r.clock.Now()
	}
	r.journal.add(entry{phase: last.plan, at: end})
	return end
}

// begin starts a phase. r.mu is held.
func (r *run) begin(p *phaseRun, at trace.Time) {
	p.start, p.lastSend = at, at
	r.Engine.phase.Store(p)
	r.journal.add(entry{phase: p.plan, start: true, at: at})
	if p.plan.Duration > 0 {
		end := at.Add(p.plan.Duration)
		p.deadline = time.AfterFunc(time.Until(r.clock.Deadline(end)), func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.endSending(p, end)
		})
	}
	if g := r.current; p.schedule.Slots() == 0 {
		g.busy.Go(func() { r.arrive(g, p) })
	}
}

// endSending notes that a phase sends no more, and begins the next one if it is
// to be handed over. r.mu is held.
func (r *run) endSending(p *phaseRun, at trace.Time) {
	if p.ended {
		return
	}
	p.ended = true
	r.armGrace(p)
	if g := r.current; p.plan.Handover && !r.stopping() {
		r.journal.add(entry{phase: p.plan, at: at})
		g.at++
		r.begin(g.phases[g.at], at)
	}
	close(p.over)
}

// armGrace gives a phase's requests up when its grace has passed since the last
// was sent. r.mu is held.
func (r *run) armGrace(p *phaseRun) {
	if p.plan.Grace > 0 && p.grace == nil {
		end := p.lastSend.Add(p.plan.Grace)
		p.grace = time.AfterFunc(time.Until(r.clock.Deadline(end)), p.giveUp)
	}
}
