package replay

import (
	"cmp"
	"slices"

	"wattrace/trace"
)

// layout orders the turns of a trace by conversation.
type layout struct {
	turns int
	order []int // turns, conversation after conversation; nil: each turn is one
	ends  []int // where in order each conversation ends
}

// newLayout keeps conversations in the order in which they appear, and their
// turns in the order of their indexes. A turn without one is its own.
func newLayout(turns []trace.Turn) *layout {
	l := &layout{turns: len(turns)}
	if !slices.ContainsFunc(turns, func(t trace.Turn) bool { return t.Conversation != "" }) {
		return l
	}
	of := map[string]int{} // conversation to its number
	var members [][]int
	for i := range turns {
		c, ok := of[turns[i].Conversation]
		if !ok || turns[i].Conversation == "" {
			c = len(members)
			of[turns[i].Conversation] = c
			members = append(members, nil)
		}
		members[c] = append(members[c], i)
	}
	for _, m := range members {
		slices.SortStableFunc(m, func(a, b int) int { return cmp.Compare(turns[a].Index, turns[b].Index) })
		l.order = append(l.order, m...)
		l.ends = append(l.ends, len(l.order))
	}
	return l
}

func (l *layout) conversations() int {
	if l.order == nil {
		return l.turns
	}
	return len(l.ends)
}

// bounds returns where conversation c stands in the order.
func (l *layout) bounds(c int) (start, end int) {
	if l.order == nil {
		return c, c + 1
	}
	if c > 0 {
		start = l.ends[c-1]
	}
	return start, l.ends[c]
}

func (l *layout) turn(i int) int {
	if l.order == nil {
		return i
	}
	return l.order[i]
}

// Verdict is what a Schedule says to a free slot.
type Verdict int

// The verdicts.
const (
	Send Verdict = iota // the item
	Wait                // nothing for this slot, but others still have turns of their conversations to send
	Over                // everything has been handed out
)

// Item is a turn to send.
type Item struct {
	Turn         int        // index into the trace's turns
	Due          trace.Time // when
	Conversation int64      // how many conversations were begun before this one
}

// Schedule says which turn each slot of a phase sends next. It is pure: it
// holds no clock and no lock, and the same calls give the same answers.
//
// This one is the closed loop: a slot is due as soon as it is free. It takes the
// next conversation, sends its turns one after another, and takes the next.
type Schedule struct {
	layout *layout
	first  int   // turns before this one are left out of the first lap
	limit  int64 // turns in all; -1 is none
	wrap   bool  // go on from the start at the end of the trace

	handed int64 // turns
	begun  int64 // conversations
	next   int   // conversation to begin next
	later  bool  // the first lap is over
	slots  []slotTurns
}

// slotTurns is what a slot still has to send of its conversation.
type slotTurns struct {
	next, end int // in the layout's order
	all       bool
	number    int64 // of the conversation
}

// newSchedule returns the schedule of a phase with load. The phase's FirstLine
// is a turn of the trace.
func newSchedule(l *layout, ph *trace.Phase) *Schedule {
	s := &Schedule{
		layout: l, first: max(0, int(ph.FirstLine)-1), limit: -1,
		wrap: ph.Requests > 0 || ph.Duration > 0, slots: make([]slotTurns, ph.Concurrency),
	}
	switch {
	case ph.Requests > 0:
		s.limit = ph.Requests
	case ph.Duration == 0:
		s.limit = int64(l.turns - s.first)
	}
	return s
}

// Total returns how many turns the phase sends; not known where only time ends
// it.
func (s *Schedule) Total() trace.Opt[int64] {
	if s.limit < 0 {
		return trace.Opt[int64]{}
	}
	return trace.Some(s.limit)
}

// Next says what a slot, free since free, sends next.
func (s *Schedule) Next(slot int, free trace.Time) (Item, Verdict) {
	if s.limit >= 0 && s.handed == s.limit {
		return Item{}, Over
	}
	mine := &s.slots[slot]
	for {
		for mine.next < mine.end {
			turn := s.layout.turn(mine.next)
			mine.next++
			if mine.all || turn >= s.first {
				s.handed++
				return Item{turn, free, mine.number}, Send
			}
		}
		if s.next == s.layout.conversations() {
			if !s.wrap {
				return Item{}, Wait
			}
			s.next, s.later = 0, true
		}
		mine.next, mine.end = s.layout.bounds(s.next)
		mine.all, mine.number = s.later, s.begun
		s.next++
		s.begun++
	}
}
