package replay

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/trace"
)

// plainTurns makes a trace of n turns without conversations.
func plainTurns(n int) []trace.Turn {
	turns := make([]trace.Turn, n)
	for i := range turns {
		turns[i] = trace.Turn{Payload: fmt.Appendf(nil, `{"n":%d,"stream":true,"messages":[]}`, i), Endpoint: trace.Chat, Pos: trace.Pos{Line: i + 1}}
	}
	return turns
}

// talks makes a trace of conversations: "a0 b0 a1" are three turns of two.
func talks(s string) (turns []trace.Turn) {
	for _, name := range strings.Fields(s) {
		turn := trace.Turn{Payload: []byte(`{"stream":true,"messages":[]}`), Endpoint: trace.Chat}
		if name[0] != '-' {
			turn.Conversation, turn.Index = name[:1], int(name[1]-'0')
		}
		turns = append(turns, turn)
	}
	return turns
}

// fataler is a test, of whatever kind.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// scheduleOf returns the schedule of a phase.
func scheduleOf(t fataler, turns []trace.Turn, ph trace.Phase, seed uint64, shard Shard) *Schedule {
	t.Helper()
	s, err := newSchedule(newLayout(turns), turns, &ph, 1, seed, shard)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// drain asks a schedule for slots in turn until it is over or has handed out
// most turns, and returns them as "slot:turn", "slot:wait".
func drain(s *Schedule, slots, most int) string {
	var got []string
	for i := 0; len(got) < most; i++ {
		item, v := s.Next(i%slots, 0, trace.Time(i))
		switch v {
		case Over:
			return strings.Join(append(got, "over"), " ")
		case Wait:
			got = append(got, fmt.Sprintf("%d:wait", i%slots))
		case Send:
			got = append(got, fmt.Sprintf("%d:%d", i%slots, item.Turn))
		}
		if v == Send && item.Due != trace.Time(i) {
			return "a slot is not due when it is free"
		}
	}
	return strings.Join(got, " ")
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		turns []trace.Turn
		ph    trace.Phase
		want  string
	}{
		{"once", plainTurns(3), trace.Phase{Concurrency: 1}, "0:0 0:1 0:2 over"},
		{"once by two", plainTurns(3), trace.Phase{Concurrency: 2}, "0:0 1:1 0:2 over"},
		{"once from 2 on", plainTurns(3), trace.Phase{Concurrency: 1, FirstLine: 2}, "0:1 0:2 over"},
		{"more requests than turns", plainTurns(3), trace.Phase{Concurrency: 1, Requests: 5, FirstLine: 3}, "0:2 0:0 0:1 0:2 0:0 over"},
		{"fewer requests", plainTurns(3), trace.Phase{Concurrency: 1, Requests: 2}, "0:0 0:1 over"},
		{"duration", plainTurns(2), trace.Phase{Concurrency: 1, Duration: 1}, "0:0 0:1 0:0 0:1 0:0 0:1 0:0 0:1"},
		{"conversations", talks("a0 a1 b0 b1 c0"), trace.Phase{Concurrency: 2}, "0:0 1:2 0:1 1:3 0:4 over"},
		{"a slot without one waits", talks("a0 a1 a2"), trace.Phase{Concurrency: 2}, "0:0 1:wait 0:1 1:wait 0:2 over"},
		{"interleaved", talks("a0 b0 a1 b1"), trace.Phase{Concurrency: 1}, "0:0 0:2 0:1 0:3 over"},
		{"turns by index", talks("a2 a0 a1"), trace.Phase{Concurrency: 1}, "0:1 0:2 0:0 over"},
		{"without a name", talks("a0 - - a1"), trace.Phase{Concurrency: 1}, "0:0 0:3 0:1 0:2 over"},
		{"first line inside", talks("a0 a1 b0 b1"), trace.Phase{Concurrency: 1, FirstLine: 2, Requests: 6}, "0:1 0:2 0:3 0:0 0:1 0:2 over"},
		{"first line after a conversation", talks("a0 b0 b1"), trace.Phase{Concurrency: 1, FirstLine: 2}, "0:1 0:2 over"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := drain(scheduleOf(t, test.turns, test.ph, 0, Shard{}), test.ph.Concurrency, 8)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestScheduleSendsEachTurnOnce checks, for any trace and any order of free
// slots, that one pass sends each turn once, the turns of a conversation in
// order, by one slot, and that every slot of a conversation has its number.
func TestScheduleSendsEachTurnOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "-"}), 1, 20).Draw(t, "names")
		count := map[string]int{}
		for i, n := range names {
			names[i] = fmt.Sprint(n, min(count[n], 9))
			count[n]++
		}
		turns := talks(strings.Join(names, " "))
		slots := rapid.IntRange(1, 4).Draw(t, "slots")
		s, _ := newSchedule(newLayout(turns), turns, &trace.Phase{Concurrency: slots}, 1, 0, Shard{})
		sent := map[int]bool{}
		by := map[string]int{}   // conversation to slot
		last := map[string]int{} // conversation to index
		for calls := 0; ; calls++ {
			slot := rapid.IntRange(0, slots-1).Draw(t, "slot")
			item, v := s.Next(slot, 0, 0)
			if v == Over {
				break
			}
			if v == Wait {
				continue
			}
			if sent[item.Turn] {
				t.Fatalf("turn %d is sent twice", item.Turn)
			}
			sent[item.Turn] = true
			turn := turns[item.Turn]
			if turn.Conversation == "" {
				continue
			}
			if before, ok := by[turn.Conversation]; ok && before != slot {
				t.Fatalf("conversation %s moved from slot %d to %d", turn.Conversation, before, slot)
			}
			if before, ok := last[turn.Conversation]; ok && before > turn.Index {
				t.Fatalf("conversation %s: turn %d after %d", turn.Conversation, turn.Index, before)
			}
			by[turn.Conversation], last[turn.Conversation] = slot, turn.Index
		}
		if len(sent) != len(turns) {
			t.Fatalf("%d of %d turns were sent", len(sent), len(turns))
		}
	})
}
