// Package turns makes requests of conversations of which only the questions are
// known, and not the answers between them.
package turns

import (
	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats"
)

// A Queue gives the questions of one row after the other. The zero value gives
// the first of each row, and counts the others.
type Queue struct {
	All bool // each question, with those before it, as a turn of a conversation

	row      formats.Request
	turns    []jsontext.Value
	next     int
	messages []byte // to the last question, without the closing bracket
	left     int64
}

// Set takes the questions of a row, JSON strings of which there is at least one. The row has
// what is the same for all of its requests; it has the name of the conversation if there are several. What is given stays
// in use until Next has said that there is no more.
func (q *Queue) Set(row formats.Request, turns []jsontext.Value) {
	if !q.All {
		q.left += int64(len(turns) - 1)
		turns = turns[:1]
	}
	if len(turns) == 1 {
		row.Conversation = ""
	}
	q.row, q.turns, q.next, q.messages = row, turns, 0, q.messages[:0]
}

// Next stores the next request, if there is one.
func (q *Queue) Next(dst *formats.Request) bool {
	if q.next == len(q.turns) {
		return false
	}
	text := q.turns[q.next]
	*dst = q.row
	if len(q.turns) == 1 {
		dst.Prompt = text
		q.next++
		return true
	}
	sep := byte(',')
	if q.next == 0 {
		sep = '['
	}
	q.messages = append(append(append(append(q.messages, sep), `{"role":"user","content":`...), text...), '}')
	dst.Turn, dst.Messages = q.next, append(q.messages, ']')
	q.next++
	return true
}

// Omissions says how many questions were left out.
func (q *Queue) Omissions() []formats.Omission {
	return []formats.Omission{{What: "questions after the first of a conversation", N: q.left}}
}
