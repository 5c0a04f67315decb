package simserver

import (
	"context"
	"sync"
	"time"

	"wattrace/trace"
)

// maxLag is how far the schedule may fall behind before the time is given up:
// a process that was stopped does not rush through what it missed.
const maxLag = time.Second

// scheduler runs the batch against the clock.
type scheduler struct {
	opt   Options
	batch batch

	mu       sync.Mutex
	arrivals []*sequence
	waiting  int // as the last step left it
	closed   bool
	wake     chan struct{} // holds a token after an arrival
	stopped  chan struct{} // closed when no step will follow

	stats *stats
}

func newScheduler(o Options) *scheduler {
	return &scheduler{
		opt: o, batch: batch{maxRunning: o.MaxBatch, budget: o.TokenBudget},
		wake: make(chan struct{}, 1), stopped: make(chan struct{}), stats: newStats(),
	}
}

// submit queues a sequence. Not ok: the scheduler has ended, or the queue is
// full.
func (s *scheduler) submit(q *sequence) (ok, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, false
	}
	if s.opt.MaxQueue > 0 && len(s.arrivals)+s.waiting >= s.opt.MaxQueue {
		return false, true
	}
	q.stamps.arrival = s.opt.Clock.Now()
	s.arrivals = append(s.arrivals, q)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true, false
}

// planned notes how many wait on, for the limit of the queue.
func (s *scheduler) planned(step Step) {
	s.mu.Lock()
	s.waiting = step.Waiting
	s.mu.Unlock()
}

// take moves what had arrived by an instant into the batch's queue, and reports
// whether there is more: a step begins where the last one ended, which is a little
// before it is planned, and what came in between was not there yet.
func (s *scheduler) take(at trace.Time) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.arrivals) && s.arrivals[n].stamps.arrival <= at {
		n++
	}
	s.batch.waiting = append(s.batch.waiting, s.arrivals[:n]...)
	left := copy(s.arrivals, s.arrivals[n:])
	clear(s.arrivals[left:])
	s.arrivals = s.arrivals[:left]
	return left > 0
}

// run schedules until the context ends.
func (s *scheduler) run(ctx context.Context) {
	defer s.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	resting := true
	at := s.opt.Clock.Now()
	for ctx.Err() == nil {
		more := s.take(at)
		s.batch.start = at
		step := s.batch.plan()
		s.planned(step)
		s.stats.step(step, s.batch.held())
		step.Start, step.End = at, at
		if step.Rest() {
			if !resting {
				s.report(step)
				resting = true
			}
			if !more {
				select {
				case <-s.wake:
				case <-ctx.Done():
				}
			}
			at = s.opt.Clock.Now()
			continue
		}
		resting = false
		step.End = at.Add(time.Duration(float64(s.opt.Timing.of(step)) / s.opt.Speed))
		s.report(step)
		if !s.wait(ctx, timer, step.End) {
			return
		}
		s.batch.end = step.End
		s.stats.made(s.batch.complete(), s.batch.held())
		at = step.End
		if now := s.opt.Clock.Now(); now.Sub(at) > maxLag {
			at = now
		}
	}
}

func (s *scheduler) report(step Step) {
	if s.opt.OnStep != nil {
		s.opt.OnStep(step)
	}
}

// wait sleeps until an instant; it is false when the context ended first.
func (s *scheduler) wait(ctx context.Context, timer *time.Timer, until trace.Time) bool {
	d := until.Sub(s.opt.Clock.Now())
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer.Reset(d)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *scheduler) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.stopped)
}
