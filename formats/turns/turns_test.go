package turns

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
	"wattrace/trace"
)

func questions(texts ...string) (list []jsontext.Value) {
	for _, s := range texts {
		list = append(list, jsontext.Value(s))
	}
	return list
}

// given are the requests that a queue makes of rows, with what is theirs copied.
func given(q *Queue, rows ...[]jsontext.Value) (list []formats.Request) {
	for i, turns := range rows {
		row := formats.Request{Conversation: string(rune('a' + i)), Timing: trace.Timing{ID: "id", OutputTokens: trace.Some(int64(7))}}
		q.Set(row, turns)
		var r formats.Request
		for q.Next(&r) {
			r.Prompt = jsontext.Value(string(r.Prompt))
			r.Messages = jsontext.Value(string(r.Messages))
			list = append(list, r)
		}
	}
	return list
}

func want(conversation string, turn int, prompt, messages string) formats.Request {
	return formats.Request{
		Conversation: conversation, Turn: turn, Prompt: jsontext.Value(prompt), Messages: jsontext.Value(messages),
		Timing: trace.Timing{ID: "id", OutputTokens: trace.Some(int64(7))},
	}
}

// Of each row the first question is given, or all of them, each after those before it.
func TestQueue(t *testing.T) {
	t.Parallel()
	rows := [][]jsontext.Value{questions(`"one"`), questions(`"é\n"`, `""`, `"three"`), questions(`"x"`, `"y"`)}
	const user = `{"role":"user","content":`
	for _, c := range []struct {
		all  bool
		want []formats.Request
		left int64
	}{
		{false, []formats.Request{want("", 0, `"one"`, ""), want("", 0, `"é\n"`, ""), want("", 0, `"x"`, "")}, 3},
		{true, []formats.Request{
			want("", 0, `"one"`, ""), // alone it is no conversation
			want("b", 0, "", `[`+user+`"é\n"}]`),
			want("b", 1, "", `[`+user+`"é\n"},`+user+`""}]`),
			want("b", 2, "", `[`+user+`"é\n"},`+user+`""},`+user+`"three"}]`),
			want("c", 0, "", `[`+user+`"x"}]`),
			want("c", 1, "", `[`+user+`"x"},`+user+`"y"}]`),
		}, 0},
	} {
		q := Queue{All: c.all}
		if d := cmp.Diff(c.want, given(&q, rows...)); d != "" {
			t.Errorf("all %v (-want +got):\n%s", c.all, d)
		}
		left := q.Omissions()
		if len(left) != 1 || left[0].N != c.left || left[0].What == "" {
			t.Errorf("all %v: left out %v, want %d", c.all, left, c.left)
		}
	}
}

// A queue that has given all gives no more, and an empty one nothing.
func TestQueueEnds(t *testing.T) {
	t.Parallel()
	var q Queue
	var r formats.Request
	if q.Next(&r) {
		t.Error("an empty queue gives something")
	}
	q.Set(formats.Request{}, questions(`"x"`))
	if !q.Next(&r) || q.Next(&r) || q.Next(&r) {
		t.Error("one question is not given once")
	}
}
