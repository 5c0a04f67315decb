package replay

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"
)

// Balance is how requests are shared among several targets.
type Balance string

// The ways to share.
const (
	// RoundRobin gives the targets conversations in turn, as they begin; a
	// conversation stays with its target until its last turn.
	RoundRobin Balance = "round-robin"
	// Least gives each request to the target with the fewest of ours in flight;
	// of several the next in turn.
	Least Balance = "least"
	// Sticky gives each conversation one target for the whole run, by a hash of
	// its name, so that its prefix is cached there when it comes again, in
	// another lap, phase or run.
	Sticky Balance = "sticky"
)

// balancer chooses targets. It is safe for concurrent use.
type balancer interface {
	// pick returns the target of a request of the conversation that begun others
	// were begun before. name is the conversation's own, the same each time.
	pick(begun int64, name string) int
	// done notes that a request to a target has ended.
	done(target int)
}

func newBalancer(b Balance, targets int) (balancer, error) {
	switch b {
	case RoundRobin, "":
		return inTurn(targets), nil
	case Least:
		return &least{inFlight: make([]int, targets)}, nil
	case Sticky:
		return sticky(targets), nil
	}
	return nil, fmt.Errorf("balance %q: want %s, %s or %s", string(b), RoundRobin, Least, Sticky)
}

// conversationName names a conversation in all of its laps; a turn without one
// by its line.
func conversationName(conversation string, line int64) string {
	if conversation != "" {
		return conversation
	}
	return strconv.FormatInt(line, 10)
}

type inTurn int

func (n inTurn) pick(begun int64, _ string) int { return int(begun % int64(n)) }
func (n inTurn) done(int)                       {}

type sticky int

func (n sticky) pick(_ int64, name string) int {
	if n == 1 {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	// The low bits of FNV are poor for short names.
	v := h.Sum64()
	return int((v ^ v>>32) * 0x9e3779b97f4a7c15 >> 33 % uint64(n))
}
func (n sticky) done(int) {}

type least struct {
	mu       sync.Mutex
	inFlight []int
	next     int // where the search begins, so that ties go round
}

func (l *least) pick(int64, string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	best := l.next
	for i := range l.inFlight {
		if t := (l.next + i) % len(l.inFlight); l.inFlight[t] < l.inFlight[best] {
			best = t
		}
	}
	l.inFlight[best]++
	l.next = (best + 1) % len(l.inFlight)
	return best
}

func (l *least) done(target int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight[target]--
}
