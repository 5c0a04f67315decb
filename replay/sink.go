package replay

import (
	"sync"
	"time"

	"wattrace/trace"
)

// Sink takes what happens in a run, in order, from one goroutine. The first
// error ends the run.
type Sink interface {
	// Phase is the start or the end of a phase.
	Phase(ph *trace.Phase, start bool, at trace.Time) error
	// Sent is a request that was handed to the HTTP client.
	Sent(seq, line int64, phase string, at trace.Time) error
	// Request is a request that has ended. It is valid during the call.
	Request(r *trace.Request) error
	// Clock is a reading of the clocks, at least every 10 s and at the end.
	Clock(s trace.ClockSnapshot) error
	// Client is, once a second and at the end, what the client itself uses. It is
	// valid during the call.
	Client(u *Use) error
}

// entry is a call of a Sink that waits for its turn.
type entry struct {
	request *trace.Request // with sent unset: it has ended
	phase   *trace.Phase
	start   bool
	at      trace.Time // of a phase

	sent      bool // seq, line, name, at are those of a request that was sent
	seq, line int64
	name      string
}

// maxQueue is how far the sink may fall behind before slots wait for it, between
// requests, where it shows as lateness. Nothing of an open loop waits: what is
// due goes out, and the queue grows.
const maxQueue = 1 << 14

// journal carries entries from the slots to the sink. Adding one never waits for
// the sink, so that a slow disk delays no stamp, nor for a long queue to be
// copied: it is kept in pages.
type journal struct {
	mu     sync.Mutex
	queue  []*page
	length int           // of the queue, in entries, with those of the page that is being written
	most   int           // that it has been since it was asked for
	room   sync.Cond     // signalled when the queue was taken
	wake   chan struct{} // has a token when there is something to take
	down   bool          // nobody takes any more
	spare  []*page       // empty ones
}

// page is a part of the queue.
type page struct {
	n       int
	entries [256]entry
}

// maxSpare bounds the pages that are kept for later.
const maxSpare = 16

func newJournal() *journal {
	j := &journal{wake: make(chan struct{}, 1)}
	j.room.L = &j.mu
	return j
}

func (j *journal) add(e entry) {
	j.mu.Lock()
	if k := len(j.queue); k == 0 || j.queue[k-1].n == len(page{}.entries) {
		if s := len(j.spare); s > 0 {
			j.queue, j.spare = append(j.queue, j.spare[s-1]), j.spare[:s-1]
		} else {
			j.queue = append(j.queue, new(page))
		}
	}
	p := j.queue[len(j.queue)-1]
	p.entries[p.n] = e
	p.n++
	j.length++
	j.most = max(j.most, j.length)
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// pause waits while the queue is too long, and returns for how long it did.
func (j *journal) pause() (waited time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.length <= maxQueue || j.down {
		return 0
	}
	start := time.Now()
	for j.length > maxQueue && !j.down {
		j.room.Wait()
	}
	return time.Since(start)
}

// take returns the next page, which is to be given back. There must be one.
func (j *journal) take() *page {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.queue[0]
	j.queue[0] = nil
	j.queue = j.queue[1:]
	return p
}

// giveBack returns a page whose entries the sink has had.
func (j *journal) giveBack(p *page) {
	n := p.n
	clear(p.entries[:n])
	p.n = 0
	j.mu.Lock()
	defer j.mu.Unlock()
	j.length -= n
	if len(j.spare) < maxSpare {
		j.spare = append(j.spare, p)
	}
	j.room.Broadcast()
}

// pages returns how many pages there are to take.
func (j *journal) pages() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.queue)
}

// longest returns how long the queue has been at most since it was called last.
func (j *journal) longest() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := j.most
	j.most = j.length
	return n
}

// stop lets everybody pass who waits for room.
func (j *journal) stop() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.down = true
	j.room.Broadcast()
}
