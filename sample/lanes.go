package sample

import (
	"context"
	"slices"
	"sync"
	"time"

	"wattrace/trace"
)

// A lane is a goroutine that reads some units, one after the other, on each tick.
// Every unit begins in a lane of its own. Those whose calls are short are then
// put together, since to wake one costs more than such a call: eight GPUs
// at 20 ms took 3.5 % of a core with one each. A unit whose calls turn long
// leaves the others, and a call that does not return is left behind.
type lane struct {
	run     *run
	workers []*worker // guarded by run.lanes.mu; never changed in place
}

// What is shared: calls of at most a sixteenth of the interval, in all a quarter,
// so that the last unit of a lane is not read much after the tick.
const (
	sharedCall = 16
	sharedLane = 4
)

// lanes are the lanes of a run.
type lanes struct {
	mu  sync.Mutex
	all sync.WaitGroup // lanes and feeds
	ctx context.Context
}

// openLane begins a lane for the workers, from a tick on. r.lanes.mu is held.
func (r *run) openLane(workers []*worker, from trace.Time, firstTick func()) {
	l := &lane{run: r, workers: workers}
	for _, w := range workers {
		w.lane = l
	}
	r.lanes.all.Go(func() { l.work(r.lanes.ctx, from, firstTick) })
}

// units returns the units of the lane as they are now.
func (l *lane) units() []*worker {
	l.run.lanes.mu.Lock()
	defer l.run.lanes.mu.Unlock()
	return l.workers
}

// claim begins the reading of a unit for a tick, unless the unit went to another
// lane, or was read on that tick. missed are the ticks since its latest reading.
func (l *lane) claim(w *worker, tick trace.Time) (missed int64, ok bool) {
	l.run.lanes.mu.Lock()
	defer l.run.lanes.mu.Unlock()
	if w.lane != l || w.busy || w.tick >= tick && l.run.lanes.ctx.Err() == nil {
		return 0, false
	}
	missed = int64(max(0, tick-w.tick-1))
	w.busy, w.since, w.tick = true, l.run.now(), tick
	return missed, true
}

func (l *lane) release(w *worker) {
	l.run.lanes.mu.Lock()
	defer l.run.lanes.mu.Unlock()
	w.busy = false
}

// work reads the lane's units on the ticks from the given one on, until ctx is
// done, and once more then; or until the lane has no units.
func (l *lane) work(ctx context.Context, from trace.Time, firstTick func()) {
	r := l.run
	wait, done := r.wait(ctx)
	defer done()
	interval := trace.Time(orDefault(r.sampler.Interval, DefaultInterval))
	limit := int64(r.sampler.MaxPending)
	if limit == 0 {
		limit = maxPending
	}
	for tick := from; ; {
		due := r.start + tick*interval
		if firstTick == nil { // the first is made even if the end came before it
			wait(due)
			if ctx.Err() != nil {
				l.finish(tick)
				return
			}
		}
		units := l.units()
		if len(units) == 0 {
			return
		}
		late := max(0, r.now().Sub(due))
		for _, w := range units {
			if r.pending.Load()+int64(len(w.devices)) > limit {
				continue // the next reading counts it as missed
			}
			if missed, ok := l.claim(w, tick); ok {
				w.count(1, missed)
				w.readTick(late)
				took := w.lastRead
				l.release(w)
				if took > time.Duration(interval)/sharedLane {
					r.apart(w) // at once, for the sake of the others
				}
			}
		}
		if firstTick != nil {
			firstTick()
			firstTick = nil
		}
		tick = max(tick+1, (r.now()-r.start+interval-1)/interval)
	}
}

// finish reads every unit once more, in full; the tick is the one that was waited
// for, and is not missed.
func (l *lane) finish(tick trace.Time) {
	for _, w := range l.units() {
		if missed, ok := l.claim(w, tick); ok {
			w.count(0, missed)
			w.read(true)
			l.release(w)
		}
	}
}

// plan puts the units into lanes anew, by how long their latest calls took. A
// lane that is in a call that has taken long keeps that unit alone.
func (r *run) plan() {
	interval := orDefault(r.sampler.Interval, DefaultInterval)
	r.lanes.mu.Lock()
	defer r.lanes.mu.Unlock()
	if r.lanes.ctx.Err() != nil {
		return
	}
	now := r.now()
	var shared []*worker
	room := interval / sharedLane
	for _, w := range r.workers {
		w.mu.Lock()
		call := w.longest
		w.longest = 0
		w.mu.Unlock()
		if w.busy {
			call = max(call, now.Sub(w.since))
		}
		switch {
		case call <= interval/sharedCall && call <= room:
			room -= call
			shared = append(shared, w)
		case len(w.lane.workers) == 1:
		case w.busy: // the others are moved, since its lane is in the call
			others := without(w.lane.workers, w)
			w.lane.workers = []*worker{w}
			r.openLane(others, r.nextTick(now), nil)
		default:
			r.moveOut(w, now)
		}
	}
	if len(shared) < 2 {
		return
	}
	// All that share go where the first is.
	l := shared[0].lane
	for _, w := range shared[1:] {
		if w.lane != l {
			w.lane.workers = without(w.lane.workers, w)
			l.workers = append(slices.Clone(l.workers), w)
			w.lane = l
		}
	}
}

// apart gives a unit a lane of its own, if it has none.
func (r *run) apart(w *worker) {
	r.lanes.mu.Lock()
	defer r.lanes.mu.Unlock()
	if len(w.lane.workers) > 1 && r.lanes.ctx.Err() == nil {
		r.moveOut(w, r.now())
	}
}

// moveOut opens a lane for a unit that leaves another. r.lanes.mu is held.
func (r *run) moveOut(w *worker, now trace.Time) {
	w.lane.workers = without(w.lane.workers, w)
	r.openLane([]*worker{w}, r.nextTick(now), nil)
}

// without returns the units but one, as a slice of its own.
func without(units []*worker, w *worker) []*worker {
	return slices.DeleteFunc(slices.Clone(units), func(o *worker) bool { return o == w })
}

// nextTick is the first tick after an instant.
func (r *run) nextTick(at trace.Time) trace.Time {
	return (at-r.start)/trace.Time(orDefault(r.sampler.Interval, DefaultInterval)) + 1
}
