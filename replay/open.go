package replay

import (
	"container/heap"
	"runtime"
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
		// This goroutine may sleep in the kernel next, where the runtime sees it
		// busy for a while: the other is to run first.
		runtime.Gosched()
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
			lane := r.lane(p)
			done, _ = r.send(p, item, seq, lane, x, way)
			r.ended(g, done)
			r.free(p, lane)
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

// lane gives a request of an open loop a slot: the lowest number that no other one
// in flight has, so that requests can be drawn side by side.
func (r *run) lane(p *phaseRun) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(p.lanes) > 0 {
		return heap.Pop(&p.lanes).(int)
	}
	p.width++
	return p.width - 1
}

func (r *run) free(p *phaseRun, lane int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	heap.Push(&p.lanes, lane)
}

// lanes are numbers that are free, the lowest first (container/heap).
type lanes []int

func (l lanes) Len() int           { return len(l) }
func (l lanes) Less(i, j int) bool { return l[i] < l[j] }
func (l lanes) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *lanes) Push(x any)        { *l = append(*l, x.(int)) }
func (l *lanes) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

// exchange returns an exchange with buffers that were used before, if there is one.
func (r *run) exchange() *exchange {
	if x, ok := r.exchanges.Get().(*exchange); ok {
		return x
	}
	return newExchange(r.client)
}
