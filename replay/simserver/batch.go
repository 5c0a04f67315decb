package simserver

import (
	"slices"
	"sync/atomic"

	"wattrace/trace"
)

// sequence is one answer in the making. The scheduler owns it; the fields that
// the request's goroutine shares are atomic or channels.
type sequence struct {
	prompt int // tokens of the prompt
	want   int // tokens of the answer

	fed   int // tokens of the prompt that have been fed
	share int // tokens that the step under way feeds or makes

	made      atomic.Int64  // tokens of the answer that there are
	more      chan struct{} // holds a token after made has grown
	cancelled atomic.Bool   // nobody waits for it any more

	stamps stamps // of what made says has happened
}

// stamps are the instants of a sequence, as its steps were scheduled.
type stamps struct {
	arrival, scheduled, firstToken, lastToken trace.Time
}

func newSequence(prompt, want int) *sequence {
	return &sequence{prompt: prompt, want: want, more: make(chan struct{}, 1)}
}

// add hands over a token of the answer.
func (q *sequence) add(at trace.Time) {
	if q.made.Load() == 0 {
		q.stamps.firstToken = at
	}
	q.stamps.lastToken = at
	q.made.Add(1)
	select {
	case q.more <- struct{}{}:
	default: // the request has not yet looked at the last one
	}
}

func (q *sequence) done() bool { return int(q.made.Load()) >= q.want }

// batch is the state of continuous batching: which sequences run and which
// wait. Of the time it knows what it is told, for the stamps of sequences.
type batch struct {
	maxRunning, budget int
	running, waiting   []*sequence
	start, end         trace.Time // of the step under way
}

// plan fills the next step: a token for each sequence whose prompt has been
// fed, then prompts, in the order of arrival, as far as the budget goes.
func (b *batch) plan() Step {
	gone := func(q *sequence) bool { return q.cancelled.Load() }
	b.running = slices.DeleteFunc(b.running, gone)
	b.waiting = slices.DeleteFunc(b.waiting, gone)

	var s Step
	left := b.budget
	for _, q := range b.running {
		left -= q.plan(&s, left)
	}
	for left > 0 && len(b.waiting) > 0 && len(b.running) < b.maxRunning {
		q := b.waiting[0]
		b.waiting = slices.Delete(b.waiting, 0, 1)
		b.running = append(b.running, q)
		q.stamps.scheduled = b.start
		left -= q.plan(&s, left)
	}
	s.Running, s.Waiting = len(b.running), len(b.waiting)
	return s
}

// plan gives q its share of a step, of what is left of the budget.
func (q *sequence) plan(s *Step, left int) int {
	if q.fed < q.prompt {
		q.share = min(q.prompt-q.fed, left)
		s.PrefillTokens += q.share
		return q.share
	}
	q.share = min(1, left)
	s.DecodeTokens += q.share
	if q.share > 0 {
		s.ContextTokens += int64(q.prompt) + q.made.Load()
	}
	return q.share
}

// complete ends the step that was planned last: tokens are there, and whoever
// has all of them leaves. It returns how many there are more.
func (b *batch) complete() (tokens int) {
	for _, q := range b.running {
		switch {
		case q.share == 0:
		case q.fed < q.prompt:
			// The step that feeds the last of a prompt makes the first token.
			if q.fed += q.share; q.fed == q.prompt {
				q.add(b.end)
				tokens++
			}
		default:
			q.add(b.end)
			tokens++
		}
		q.share = 0
	}
	b.running = slices.DeleteFunc(b.running, (*sequence).done)
	return tokens
}

// held returns how many tokens the running sequences have in the cache.
func (b *batch) held() (tokens int64) {
	for _, q := range b.running {
		tokens += int64(q.fed) + q.made.Load()
	}
	return tokens
}
