package replay

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"wattrace/trace"
)

// timed is what is due at a time of the trace.
type timed struct {
	at   time.Duration // since the start of the phase
	talk talk
}

// byTrace makes the schedule of a phase by the trace's own times: when each
// conversation begins, or with Strict when each turn is sent.
func byTrace(l *layout, turns []trace.Turn, ph *trace.Phase) ([]timed, error) {
	var all []timed
	for c := range l.conversations() {
		start, end := l.bounds(c)
		for i := start; i < end; i++ {
			turn := &turns[l.turn(i)]
			at, ok := turn.Timing.AtSeconds.Get()
			if !ok && (i == start || ph.Strict) {
				return nil, fmt.Errorf("times: trace: turn %d of the trace has no time (at_seconds of a side file)", l.turn(i)+1)
			}
			t := timed{at: duration(at), talk: talk{next: i, end: end, left: int64(end - i)}}
			if ph.Strict {
				t.talk.end, t.talk.left = i+1, 1
			}
			if t.at >= ph.From && (ph.To == 0 || t.at < ph.To) {
				all = append(all, t)
			}
			if !ph.Strict {
				break
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("times: trace: nothing begins in the part of the trace from %v on that was asked for", ph.From)
	}
	slices.SortStableFunc(all, func(a, b timed) int { return cmp.Compare(a.at, b.at) })
	last, shift := ph.From, time.Duration(0)
	left := ph.Requests
	for i := range all {
		t := &all[i]
		t.talk.number = int64(i)
		if gap := t.at - last; ph.MaxGap > 0 && gap > ph.MaxGap {
			shift += gap - ph.MaxGap
		}
		last = t.at
		if t.at -= ph.From + shift; ph.Speedup > 0 {
			t.at = duration(t.at.Seconds() / ph.Speedup)
		}
		if ph.Requests > 0 {
			t.talk.left = min(t.talk.left, left)
			if left -= t.talk.left; left == 0 {
				return all[:i+1], nil
			}
		}
	}
	return all, nil
}
