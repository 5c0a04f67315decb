package sharegpt

import (
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats"
	"wattrace/formats/elements"
	"wattrace/trace"
)

// A Reader reads a dump. It is not safe for concurrent use.
type Reader struct {
	elements *elements.Reader
	buf      []byte
	pos      trace.Pos // of the conversation
	number   int       // of it, from 1

	answers, unasked int64 // left out: turns before the first question, conversations without one

	id       string
	turns    []turn // of it
	next     int    // turn that was not looked at yet
	asked    int    // requests that it has had
	several  bool   // it has more than one
	messages []byte // all turns to the last request, without the closing bracket
}

// A turn is something that was said.
type turn struct {
	role string         // of a chat message
	text jsontext.Value // a JSON string; part of Reader.buf
}

// NewReader returns a reader of the dump r. Positions have the given file name;
// "-" is standard input.
func NewReader(r io.Reader, name string) *Reader {
	return &Reader{elements: elements.NewReader(r, name, "")}
}

// Read reads the next request, as formats.RequestReader says; the position is
// the conversation's. A fault skips the conversation.
func (r *Reader) Read(dst *formats.Request) error {
	for {
		if end := r.question(); end > 0 {
			r.say(end)
			*dst = formats.Request{Pos: r.pos, Messages: append(r.messages, ']'), Timing: trace.Timing{ID: r.id}}
			if end < len(r.turns) {
				dst.Answer = r.turns[end].text
			}
			if r.several {
				dst.Conversation, dst.Turn = strconv.Itoa(r.number), r.asked
			}
			r.asked++
			return nil
		}
		*dst = formats.Request{}
		if err := r.conversation(); err != nil {
			return err
		}
	}
}

// Omissions says how many answers and conversations were left out.
func (r *Reader) Omissions() []formats.Omission {
	return []formats.Omission{{What: "answers before the first question", N: r.answers}, {What: "conversations without a question", N: r.unasked}}
}

// question returns the end of the turns to the next question; 0 is none.
func (r *Reader) question() int {
	for i := r.next; i < len(r.turns); i++ {
		if r.turns[i].role == "user" && (i+1 == len(r.turns) || r.turns[i+1].role == "assistant") {
			return i + 1
		}
	}
	return 0
}

// say appends the turns before end to the messages.
func (r *Reader) say(end int) {
	for _, t := range r.turns[r.next:end] {
		sep := byte(',')
		if len(r.messages) == 0 {
			sep = '['
		}
		r.messages = append(append(append(r.messages, sep), `{"role":"`...), t.role...)
		r.messages = append(append(append(r.messages, `","content":`...), t.text...), '}')
	}
	r.next = end
}

// conversation reads the next one.
func (r *Reader) conversation() error {
	element, pos, err := r.elements.Read(r.buf)
	r.buf = element
	if err != nil {
		return err
	}
	r.number++
	*r = Reader{elements: r.elements, buf: r.buf, pos: pos, number: r.number, answers: r.answers, unasked: r.unasked, turns: r.turns[:0], messages: r.messages[:0]}
	found := ""
	var ids [2]trace.Member
	err = trace.WalkObject(element, func(m trace.Member) error {
		switch name := string(m.Name); name {
		case "conversations", "conversation":
			if found != "" {
				return again(&m, found)
			}
			found = name
			return elements.Each(&m, r.turn)
		case "id", "conversation_id":
			kept := &ids[0]
			if name != "id" {
				kept = &ids[1]
			}
			if kept.Value != nil {
				return m.Errorf("%q is there twice", name)
			}
			*kept = m
		}
		return nil
	})
	for _, id := range ids {
		if err == nil && id.Value != nil && r.id == "" {
			err = r.setID(&id)
		}
	}
	if err == nil && found == "" {
		err = &trace.ColumnError{Col: 1, Err: errors.New(`"conversations" is missing`)}
	}
	if err != nil {
		r.turns = r.turns[:0]
		return elements.ErrorAt(pos, element, err)
	}
	for len(r.turns) > 0 && r.turns[0].role == "assistant" {
		r.turns = r.turns[1:]
		r.answers++
	}
	questions := 0
	for r.next = 0; ; {
		end := r.question()
		if end == 0 {
			break
		}
		questions++
		r.next = end
	}
	r.next, r.several = 0, questions > 1
	if questions == 0 {
		r.unasked++
	}
	return nil
}

func (r *Reader) setID(m *trace.Member) (err error) {
	if m.Value.Kind() == '0' {
		var id trace.Opt[int64]
		id, err = m.Integer(-1<<63, 1<<63-1)
		r.id = strconv.FormatInt(id.V, 10)
		return err
	}
	if string(m.Value) != `""` {
		r.id, err = m.Text()
	}
	return err
}

// turn takes an element of the conversation.
func (r *Reader) turn(e trace.Member) error {
	var t turn
	var from, value string
	err := trace.WalkObject(e.Value, func(m trace.Member) error {
		switch name := string(m.Name); name {
		case "from", "role":
			if from != "" {
				return again(&m, from)
			}
			from = name
			if t.role = role(m.Value); t.role == "" {
				return m.Errorf("%q must be human, gpt, system, or what they are also called", name)
			}
		case "value", "content":
			if value != "" {
				return again(&m, value)
			}
			value = name
			if m.Value.Kind() != '"' {
				return m.Errorf("%q must be a string", name)
			}
			t.text = m.Value
		}
		return nil
	})
	switch {
	case err != nil:
		return e.Inside(err)
	case from == "":
		return e.Errorf(`a turn without "from"`)
	case value == "":
		return e.Errorf(`a turn without "value"`)
	}
	r.turns = append(r.turns, t)
	return nil
}

func again(m *trace.Member, before string) error {
	if string(m.Name) == before {
		return m.Errorf("%q is there twice", m.Name)
	}
	return m.Errorf("both %q and %q", before, m.Name)
}

func role(v jsontext.Value) string {
	switch string(v) {
	case `"human"`, `"user"`:
		return "user"
	case `"gpt"`, `"chatgpt"`, `"bing"`, `"bard"`, `"assistant"`:
		return "assistant"
	case `"system"`:
		return "system"
	}
	return ""
}
