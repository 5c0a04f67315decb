package replay

import (
	"math/rand/v2"

	"wattrace/trace"
)

// Shard says which part of a run this client is, of how many: it takes every
// Count-th conversation, from the Index-th on. The zero Shard is the whole run.
type Shard struct {
	Index, Count int
}

func (s Shard) count() int64 { return int64(max(1, s.Count)) }

// mine reports whether the n-th of anything is for this shard.
func (s Shard) mine(n int64) bool { return n%s.count() == int64(s.Index) }

// Share returns how many of n are for this shard.
func (s Shard) Share(n int) int { return (n + int(s.count()) - 1 - s.Index) / int(s.count()) }

// talk is a conversation that was picked, and what is left of it.
type talk struct {
	next, end int   // in the layout's order
	from      int   // turns of the trace before this one are left out
	left      int64 // turns that may still be sent
	number    int64 // how many conversations were picked before
	sent      int   // turns that were handed out
}

// picker says which conversation is begun next. All shards pick the same ones in
// the same order.
type picker struct {
	layout *layout
	first  int   // turns before this one are left out of the first lap
	limit  int64 // turns of the conversations that are picked, in all; -1 is none
	wrap   bool  // go on at the end of the trace
	order  trace.Order
	repeat int
	rng    *rand.Rand

	planned int64 // turns of the conversations picked so far
	picked  int64 // conversations
	next    int   // in perm, or of the layout
	perm    []int // of a shuffled lap
	later   bool  // the first lap is over
	current int   // conversation picked last
	again   int   // how often it is to be picked again
}

func newPicker(l *layout, ph *trace.Phase, seed uint64) *picker {
	p := &picker{
		layout: l, first: max(0, int(ph.FirstLine)-1), limit: -1,
		wrap: ph.Requests > 0 || ph.Duration > 0 || ph.Order == trace.Random, order: ph.Order, repeat: max(1, ph.Repeat),
	}
	if p.order == trace.Shuffle || p.order == trace.Random {
		p.rng = rand.New(rand.NewPCG(seed, orderStream))
	}
	switch {
	case ph.Requests > 0:
		p.limit = ph.Requests
	case ph.Duration == 0:
		p.limit = int64(l.turns-p.first) * int64(p.repeat)
	}
	return p
}

// pick returns the next conversation; false if there is none.
func (p *picker) pick() (talk, bool) {
	for p.limit < 0 || p.planned < p.limit {
		if p.again > 0 {
			p.again--
		} else if !p.advance() {
			return talk{}, false
		}
		t := talk{number: p.picked}
		t.next, t.end = p.layout.bounds(p.current)
		if !p.later {
			t.from = p.first
		}
		turns := int64(0)
		for i := t.next; i < t.end; i++ {
			if p.layout.turn(i) >= t.from {
				turns++
			}
		}
		if turns == 0 {
			continue // all of it is before the first turn
		}
		if t.left = turns; p.limit >= 0 {
			t.left = min(turns, p.limit-p.planned)
		}
		p.planned += t.left
		p.picked++
		return t, true
	}
	return talk{}, false
}

// advance moves on to the next conversation of the lap, or to the next lap.
func (p *picker) advance() bool {
	n := p.layout.conversations()
	p.again = p.repeat - 1
	if p.order == trace.Random {
		p.current = p.rng.IntN(n)
		return true
	}
	if p.next == n {
		if !p.wrap {
			return false
		}
		p.next, p.later = 0, true
	}
	if p.current = p.next; p.order == trace.Shuffle {
		if p.next == 0 {
			p.perm = p.rng.Perm(n)
		}
		p.current = p.perm[p.next]
	}
	p.next++
	return true
}
