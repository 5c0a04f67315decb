// Package aiperfinputs reads and writes inputs.json, in which aiperf leaves the request bodies
// of a run, and the like file of genai-perf. It is one JSON document:
//
//	{"data":[{"session_id":"a","payloads":[{"model":"m","messages":[]},{"model":"m","messages":[]}]}]}
//	{"data":[{"payload":[{"model":"m","prompt":"Hello"}]}]}
//
// Keys of a session:
//
//	payloads    array of request bodies: the turns of a conversation, in order.
//	            genai-perf says payload, which may be a body alone
//	session_id  string that is not empty, the name of the conversation; may be
//	            missing. Twice the same is an error, since such turns would be mixed up
//
// Other keys are skipped; one of these twice, or payloads under both names, is an
// error. A session of one body that has no name is no conversation; one of several has its
// number in the file, from 1, for a name.
//
// Bodies are kept byte for byte; of one that goes over several lines, as
// aiperf writes them, the white space between its tokens is left out, since a
// line of a trace has none to spare. Numbers, escapes and the order of keys stay.
//
// A reader's memory depends on the longest session and on the names of all.
package aiperfinputs

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"wattrace/formats"
	"wattrace/formats/elements"
	"wattrace/trace"
)

// A Reader reads an inputs.json. It is not safe for concurrent use.
type Reader struct {
	elements *elements.Reader
	element  []byte
	pos      trace.Pos // of the session
	number   int       // of it, from 1
	names    map[string]bool

	name   string         // of the session's conversation; "" is none
	bodies []trace.Member // of the session
	next   int            // body to be returned
	body   []byte
}

// NewReader returns a reader of the document r. Positions have the given file
// name; "-" is standard input.
func NewReader(r io.Reader, name string) *Reader {
	return &Reader{elements: elements.NewReader(r, name, "data"), names: map[string]bool{}}
}

// Read reads the next body, as formats.RequestReader says. A fault skips the
// session.
func (r *Reader) Read(dst *formats.Request) error {
	*dst = formats.Request{}
	for r.next == len(r.bodies) {
		if err := r.session(); err != nil {
			return err
		}
	}
	m := &r.bodies[r.next]
	dst.Pos = elements.ErrorAt(r.pos, r.element, m.Errorf("")).Pos
	r.body = appendLine(r.body[:0], m.Value)
	dst.Body = r.body
	if dst.Conversation = r.name; r.name != "" {
		dst.Turn = r.next
	}
	r.next++
	return nil
}

// session reads the next one.
func (r *Reader) session() error {
	element, pos, err := r.elements.Read(r.element)
	r.element, r.bodies, r.next, r.name = element, r.bodies[:0], 0, ""
	if err != nil {
		return err
	}
	r.pos = pos
	r.number++
	if err := r.parse(element); err != nil {
		r.bodies = r.bodies[:0]
		return elements.ErrorAt(pos, element, err)
	}
	return nil
}

func (r *Reader) parse(element []byte) error {
	var id, payloads trace.Member
	err := trace.WalkObject(element, func(m trace.Member) error {
		kept := &payloads
		switch string(m.Name) {
		case "session_id":
			kept = &id
		case "payloads", "payload":
		default:
			return nil
		}
		switch {
		case kept.Value == nil:
		case string(kept.Name) == string(m.Name):
			return m.Errorf("%q is there twice", m.Name)
		default:
			return m.Errorf("both %q and %q", kept.Name, m.Name)
		}
		*kept = m
		return nil
	})
	if err != nil {
		return err
	}
	switch {
	case payloads.Value == nil:
		return &trace.ColumnError{Col: 1, Err: errors.New(`"payloads" is missing`)}
	case payloads.Value.Kind() == '{' && string(payloads.Name) == "payload":
		err = r.take(payloads)
	default:
		err = elements.Each(&payloads, r.take)
	}
	if err != nil {
		return err
	}
	return r.setName(&id)
}

// take takes a body.
func (r *Reader) take(m trace.Member) error {
	if _, err := trace.CheckPayload(m.Value); err != nil {
		return m.Inside(err)
	}
	r.bodies = append(r.bodies, m)
	return nil
}

// setName gives the session its name.
func (r *Reader) setName(id *trace.Member) (err error) {
	if id.Value != nil {
		if r.name, err = id.Text(); err != nil {
			return err
		}
	}
	if r.name == "" && len(r.bodies) > 1 {
		r.name = strconv.Itoa(r.number)
	}
	if r.name == "" {
		return nil
	}
	if r.names[r.name] {
		return &trace.ColumnError{Col: max(id.Col, 1), Err: errors.New("another session has this name")}
	}
	r.names[r.name] = true
	return nil
}

// appendLine appends valid JSON without its line ends, and then without any
// white space between its tokens.
func appendLine(dst, v []byte) []byte {
	if bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 {
		return append(dst, v...)
	}
	quoted := false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case quoted && c == '\\':
			dst = append(dst, c)
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t' || c == '\r' || c == '\n'):
			continue
		}
		dst = append(dst, v[i])
	}
	return dst
}
