package simserver

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func steps(b *batch, n int) []Step {
	var all []Step
	for range n {
		all = append(all, b.plan())
		b.complete()
	}
	return all
}

func TestPromptsAreFedInPartsBesideTheDecoding(t *testing.T) {
	t.Parallel()
	short, long := newSequence(10, 4), newSequence(250, 2)
	b := &batch{maxRunning: 8, budget: 100, waiting: []*sequence{short, long}}
	got := steps(b, 6)
	want := []Step{
		{PrefillTokens: 100, Running: 2},                                    // 10 of the short one, 90 of the long one
		{PrefillTokens: 99, DecodeTokens: 1, ContextTokens: 11, Running: 2}, // the short one has its first token
		{PrefillTokens: 61, DecodeTokens: 1, ContextTokens: 12, Running: 2},
		{DecodeTokens: 2, ContextTokens: 13 + 251, Running: 2},
		{},
		{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if short.made.Load() != 4 || long.made.Load() != 2 {
		t.Errorf("%d and %d tokens", short.made.Load(), long.made.Load())
	}
}

func TestTheBatchHasALimitAndTheQueueAnOrder(t *testing.T) {
	t.Parallel()
	a, c, d := newSequence(1, 2), newSequence(1, 1), newSequence(1, 1)
	b := &batch{maxRunning: 1, budget: 100, waiting: []*sequence{a, c, d}}
	var made [][3]int64
	for range 4 {
		b.plan()
		b.complete()
		made = append(made, [3]int64{a.made.Load(), c.made.Load(), d.made.Load()})
	}
	if diff := cmp.Diff([][3]int64{{1, 0, 0}, {2, 0, 0}, {2, 1, 0}, {2, 1, 1}}, made); diff != "" {
		t.Error(diff)
	}
}

func TestWhoIsGoneLeavesBatchAndQueue(t *testing.T) {
	t.Parallel()
	a, c, d := newSequence(1, 9), newSequence(1, 9), newSequence(1, 9)
	b := &batch{maxRunning: 2, budget: 100, waiting: []*sequence{a, c, d}}
	if s := b.plan(); s.Running != 2 || s.Waiting != 1 {
		t.Fatalf("%+v", s)
	}
	b.complete()
	a.cancelled.Store(true)
	if s := b.plan(); s.Running != 2 || s.Waiting != 0 || s.DecodeTokens != 1 || s.PrefillTokens != 1 {
		t.Errorf("after one left: %+v", s)
	}
	b.complete()
	e := newSequence(1, 9)
	b.waiting = append(b.waiting, e)
	e.cancelled.Store(true)
	if s := b.plan(); s.Running != 2 || s.Waiting != 0 {
		t.Errorf("after one left the queue: %+v", s)
	}
}

func TestEverySequenceGetsWhatItWantsWithinTheLimits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := &batch{maxRunning: rapid.IntRange(1, 8).Draw(t, "batch")}
		b.budget = b.maxRunning + rapid.IntRange(0, 50).Draw(t, "budget")
		var all []*sequence
		var prompts, answers int
		for range rapid.IntRange(1, 30).Draw(t, "sequences") {
			q := newSequence(rapid.IntRange(1, 200).Draw(t, "prompt"), rapid.IntRange(1, 20).Draw(t, "answer"))
			all = append(all, q)
			prompts, answers = prompts+q.prompt, answers+q.want
		}
		next, fed, decoded := 0, 0, 0
		for range 100_000 {
			for next < len(all) && rapid.IntRange(0, 2).Draw(t, "arrives") == 0 {
				b.waiting = append(b.waiting, all[next])
				next++
			}
			s := b.plan()
			if s.Running > b.maxRunning || s.PrefillTokens+s.DecodeTokens > b.budget || s.Waiting != len(b.waiting) {
				t.Fatalf("step %+v of a batch of %d and a budget of %d", s, b.maxRunning, b.budget)
			}
			if s.Rest() {
				if len(b.running)+len(b.waiting) > 0 {
					t.Fatal("rests while there is work")
				}
				if next == len(all) {
					break
				}
			}
			fed, decoded = fed+s.PrefillTokens, decoded+s.DecodeTokens
			b.complete()
		}
		// The first token of each answer comes with the prompt's last.
		if fed != prompts || decoded != answers-len(all) {
			t.Fatalf("fed %d of %d, decoded %d of %d", fed, prompts, decoded, answers-len(all))
		}
		for i, q := range all {
			if int(q.made.Load()) != q.want {
				t.Fatalf("sequence %d has %d of %d tokens", i, q.made.Load(), q.want)
			}
		}
	})
}
