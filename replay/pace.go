package replay

import (
	"math"
	"sync"
	"time"

	"wattrace/trace"
)

// A Sleeper waits for an instant on the calling goroutine's own thread, more
// exactly than a timer does.
type Sleeper interface {
	// Lock is called once, by the goroutine that will wait.
	Lock()
	// Wait returns at an instant, or a little later. It cannot be interrupted.
	Wait(until trace.Time)
	// Margin is how long before an instant a timer must have fired for Wait to
	// be on time.
	Margin() time.Duration
}

// timers is a Sleeper that has nothing but Go's timers.
type timers struct{ clock *trace.SteadyClock }

func (timers) Lock()                 {}
func (timers) Margin() time.Duration { return 0 }
func (t timers) Wait(until trace.Time) {
	time.Sleep(time.Until(t.clock.Deadline(until)))
}

// waitUntil waits until an instant, and reports whether the phase still sends
// then. With a Sleeper of its own the goroutine is more exact.
func (r *run) waitUntil(p *phaseRun, at trace.Time, sleeper Sleeper) bool {
	margin := time.Duration(0)
	if sleeper != nil {
		margin = sleeper.Margin()
	}
	if left := at.Sub(r.clock.Now()) - margin; left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.over:
			return false
		case <-r.ctx.Done():
			return false
		}
	}
	if sleeper != nil && r.clock.Now() < at {
		sleeper.Wait(at)
	}
	select {
	case <-p.over:
		return false
	case <-r.ctx.Done():
		return false
	default:
		return true
	}
}

// A gate lets a number of requests through at once, in the order in which they
// came. The nil gate is open.
type gate chan struct{}

func newGate(n int) gate {
	if n == 0 {
		return nil
	}
	return make(gate, n)
}

// enter waits for room; in is false if the phase sends no more.
func (g gate) enter(r *run, p *phaseRun) (in, waited bool) {
	if g == nil {
		return true, false
	}
	select {
	case g <- struct{}{}:
		return true, false
	default:
	}
	p.held.Add(1)
	r.watching.held.Add(1)
	r.watching.waiting.Add(1)
	defer r.watching.waiting.Add(-1)
	select {
	case g <- struct{}{}:
		return true, true
	case <-p.over:
	case <-r.ctx.Done():
	}
	return false, true
}

func (g gate) leave() {
	if g != nil {
		<-g
	}
}

// pass is the way of one request through its phase's gates.
type pass struct {
	p       *phaseRun
	prefill sync.Once
	through trace.Time // when it was let through, where it had to wait; else before it was due
}

// enter waits until a request may be sent; false if the phase sends no more.
func (r *run) enter(p *phaseRun) (*pass, bool) {
	in, waited := p.ceiling.enter(r, p)
	if !in {
		return nil, false
	}
	in, again := p.prefills.enter(r, p)
	if !in {
		p.ceiling.leave()
		return nil, false
	}
	way := &pass{p: p, through: math.MinInt64}
	if waited || again {
		way.through = r.clock.Now()
	}
	return way, true
}

// answered lets the next prefill begin: the first token is there, or never comes.
func (w *pass) answered() { w.prefill.Do(w.p.prefills.leave) }

// leave ends the way.
func (w *pass) leave() {
	w.answered()
	w.p.ceiling.leave()
}
