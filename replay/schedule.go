package replay

import (
	"cmp"
	"slices"
	"time"

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
	Turn         int           // index into the trace's turns
	Due          trace.Time    // when
	Conversation int64         // how many conversations were begun before this one, by all shards
	GiveUp       time.Duration // so long after it was sent the client cancels it; 0 is never
}

// Schedule says which turn of a phase is sent next, and when it is due. It is
// pure: it holds no clock and no lock, and the same calls give the same answers.
//
// Of a closed loop and of users it answers [Schedule.Next], for each slot. A slot
// takes the next conversation, sends its turns one after another, and takes the
// next. Of an open loop and of the trace's own times it answers [Schedule.Arrival]:
// conversations that begin at their times, whose later turns [Schedule.After] has.
type Schedule struct {
	layout *layout
	turns  []trace.Turn
	ph     *trace.Phase
	shard  Shard
	seed   uint64
	picker *picker
	slots  []slot
	limit  int64 // turns that slots are given; -1 is no such limit
	handed int64 // those that they were given

	arrivals *arrivals // of an open loop
	times    []timed   // of the trace's own times, those that are left
	total    int64     // turns of them
	empty    bool      // no more conversations
	ahead    *talk     // a conversation that was picked and not begun
}

// slot is a slot of a closed loop, or a user.
type slot struct {
	talk
	begun bool       // it has sent something
	last  trace.Time // when its last request was due
}

// newSchedule returns the schedule of the number-th phase of a plan, which has
// load. The phase's FirstLine is a turn of the trace. The error is of a trace that
// lacks times.
func newSchedule(l *layout, turns []trace.Turn, ph *trace.Phase, number int, seed uint64, shard Shard) (*Schedule, error) {
	seed = phaseSeed(seed, number)
	s := &Schedule{layout: l, turns: turns, ph: ph, shard: shard, seed: seed, picker: newPicker(l, ph, seed), limit: -1}
	var err error
	switch ph.LoadKind() {
	case trace.OpenLoop:
		s.arrivals = newArrivals(ph, seed, s.conversations())
	case trace.TraceTimes:
		s.times, err = byTrace(l, turns, ph)
		for i := range s.times {
			s.total += s.times[i].talk.left
		}
	default:
		// Slots are to be busy: which conversations a number of requests falls to is
		// left to who is free.
		s.slots = make([]slot, shard.Share(ph.Slots()))
		if ph.Requests > 0 {
			s.picker.limit, s.limit = -1, int64(shard.Share(int(ph.Requests)))
		}
	}
	return s, err
}

// conversations counts the conversations of a phase whose arrivals are stretched to
// a length.
func (s *Schedule) conversations() (n int64) {
	if !s.ph.Normalize {
		return 0
	}
	p := newPicker(s.layout, s.ph, s.seed)
	for _, ok := p.pick(); ok; _, ok = p.pick() {
		n++
	}
	return n
}

// Total returns how many turns the phase sends; not known where only time ends
// it, or of a shard.
func (s *Schedule) Total() trace.Opt[int64] {
	switch {
	case s.limit >= 0:
		return trace.Some(s.limit)
	case s.shard.count() > 1, s.total == 0 && s.picker.limit < 0:
		return trace.Opt[int64]{}
	case s.total > 0:
		return trace.Some(s.total)
	}
	return trace.Some(s.picker.limit)
}

// Slots returns how many slots or users the phase has here; 0 in an open loop.
func (s *Schedule) Slots() int { return len(s.slots) }

// Exhausted reports whether everything has been handed out.
func (s *Schedule) Exhausted() bool {
	if s.handed == s.limit {
		return true
	}
	for i := range s.slots {
		if s.slots[i].left > 0 {
			return false
		}
	}
	return !s.more()
}

// more reports whether there is a conversation left to begin.
func (s *Schedule) more() bool {
	if s.ahead == nil && !s.empty {
		for {
			t, ok := s.picker.pick()
			if !ok {
				s.empty = true
				break
			}
			if s.shard.mine(t.number) {
				s.ahead = &t
				break
			}
		}
	}
	return s.ahead != nil
}

// Next says what a slot, free since free, sends next in a phase that began at
// start.
func (s *Schedule) Next(number int, start, free trace.Time) (Item, Verdict) {
	if s.handed == s.limit {
		return Item{}, Over
	}
	mine := &s.slots[number]
	fresh := mine.left == 0
	if fresh {
		if !s.more() {
			if s.Exhausted() {
				return Item{}, Over
			}
			return Item{}, Wait
		}
		mine.talk, s.ahead = *s.ahead, nil
	}
	item := s.turn(&mine.talk)
	s.handed++
	switch {
	case !mine.begun:
		offset, ok := s.offset(number)
		if !ok {
			offset = farAway // the ramp never gets that far
		}
		item.Due = max(free, start.Add(offset))
	case s.ph.Users > 0:
		item.Due = max(free, mine.last.Add(s.ph.TurnGap))
	case fresh:
		item.Due = free.Add(s.ph.Think)
	default:
		item.Due = free.Add(s.pause(item.Turn, s.ph.Think))
	}
	mine.begun, mine.last = true, item.Due
	return item, Send
}

// offset returns when a slot begins, since the start of the phase; false if never.
func (s *Schedule) offset(number int) (time.Duration, bool) {
	all := int64(number)*s.shard.count() + int64(s.shard.Index) // the slot, of those of all shards
	switch ph := s.ph; {
	case ph.Users > 0:
		return time.Duration(float64(ph.TurnGap) * float64(all) / float64(ph.Users)), true
	case ph.Stagger > 0:
		return time.Duration(float64(ph.Stagger) * float64(all) / float64(ph.Concurrency)), true
	case len(ph.Ramp) > 0:
		v := newLevels(&ph.Load, float64(ph.Concurrency))
		return v.reaches(float64(all + 1))
	}
	return 0, true
}

// turn takes the next turn of a conversation that has one.
func (s *Schedule) turn(t *talk) Item {
	for s.layout.turn(t.next) < t.from {
		t.next++
	}
	item := Item{Turn: s.layout.turn(t.next), Conversation: t.number}
	if share := s.ph.CancelShare; share > 0 {
		draw := mix(mix(s.seed+cancelStream+uint64(t.number)) + uint64(t.sent))
		if float64(draw>>11)/(1<<53) < share {
			item.GiveUp = s.ph.CancelAfter
		}
	}
	t.next++
	t.sent++
	t.left--
	return item
}

// pause returns the time between an answer and a later turn of its conversation:
// what the side file has, else usual.
func (s *Schedule) pause(turn int, usual time.Duration) time.Duration {
	d, ok := s.turns[turn].Timing.DelaySeconds.Get()
	if !ok {
		return usual
	}
	if s.ph.Speedup > 0 {
		d /= s.ph.Speedup
	}
	return duration(d)
}

// Arrival returns the next conversation that begins by itself, and its first turn;
// false when there is none.
func (s *Schedule) Arrival(start trace.Time) (talk, Item, bool) {
	for {
		var t talk
		var at time.Duration
		var ok bool
		if s.arrivals != nil {
			if t, ok = s.picker.pick(); ok {
				at, ok = s.arrivals.next()
			}
		} else if ok = len(s.times) > 0; ok {
			t, at, s.times = s.times[0].talk, s.times[0].at, s.times[1:]
		}
		if !ok || at >= farAway {
			s.empty = true
			return talk{}, Item{}, false
		}
		if s.shard.mine(t.number) {
			item := s.turn(&t)
			item.Due = start.Add(at)
			return t, item, true
		}
	}
}

// After returns the next turn of a conversation whose last answer ended at done;
// false if that was the last.
func (s *Schedule) After(t *talk, done trace.Time) (Item, bool) {
	if t.left == 0 {
		return Item{}, false
	}
	item := s.turn(t)
	item.Due = done.Add(s.pause(item.Turn, 0))
	return item, true
}
