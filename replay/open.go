package replay

import (
	"sync"

	"wattrace/trace"
)

// arrive begins the conversations of an open loop, each at its time. What is late
// is begun at once, and its lateness shows in the log: nothing is left out, and no
// later time is moved.
func (r *run) arrive(g *group, p *phaseRun) {
	sleeper := r.opt.Sleeper
	if sleeper == nil {
		sleeper = timers{r.clock}
	}
	sleeper.Lock()
	var talks sync.WaitGroup
	for {
		r.mu.Lock()
		t, item, ok := p.schedule.Arrival(p.start)
		r.mu.Unlock()
		if !ok || !r.waitUntil(p, item.Due, sleeper) {
			break
		}
		talks.Go(func() { r.talk(g, p, t, item) })
	}
	talks.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endSending(p, r.clock.Now())
}

// talk sends the turns of a conversation, each when the one before it has ended.
func (r *run) talk(g *group, p *phaseRun, t talk, item Item) {
	x := r.exchange()
	defer r.exchanges.Put(x)
	for ok := true; ok; {
		way, in := r.enter(p)
		if !in {
			return
		}
		var done trace.Time
		seq, sends := r.commit(p)
		if sends {
			done, _ = r.send(p, item, seq, noSlot, x, way)
			r.ended(g, done)
		}
		way.leave()
		if !sends {
			return
		}
		if item, ok = p.schedule.After(&t, done); ok && !r.waitUntil(p, item.Due, nil) {
			return
		}
	}
}

// noSlot is the slot of a request of an open loop.
const noSlot = -1

// exchange returns an exchange with buffers that were used before, if there is one.
func (r *run) exchange() *exchange {
	if x, ok := r.exchanges.Get().(*exchange); ok {
		return x
	}
	return newExchange(r.client)
}
