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
	// Client is, once a second and at the end, what the process uses: CPU time
	// so far, and requests in flight.
	Client(at trace.Time, cpu trace.Opt[time.Duration], inFlight int) error
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
// requests, where it shows as lateness.
const maxQueue = 1 << 14

// journal carries entries from the slots to the sink. Adding one never waits, so
// that a slow disk delays no stamp.
type journal struct {
	mu    sync.Mutex
	queue []entry
	room  sync.Cond     // signalled when the queue was taken
	wake  chan struct{} // has a token when there is something to take
	down  bool          // nobody takes any more
	spare []entry
}

func newJournal() *journal {
	j := &journal{wake: make(chan struct{}, 1)}
	j.room.L = &j.mu
	return j
}

func (j *journal) add(e entry) {
	j.mu.Lock()
	j.queue = append(j.queue, e)
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// pause waits while the queue is too long.
func (j *journal) pause() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.queue) > maxQueue && !j.down {
		j.room.Wait()
	}
}

// take returns what is there; it is valid until the next call.
func (j *journal) take() []entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	taken := j.queue
	clear(j.spare)
	j.queue, j.spare = j.spare[:0], taken
	j.room.Broadcast()
	return taken
}

// stop lets everybody pass who waits for room.
func (j *journal) stop() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.down = true
	j.room.Broadcast()
}
