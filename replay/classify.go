package replay

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// answer takes in the events of one answer, or its whole body, and keeps what
// the log needs of it. The zero answer is ready.
//
// Most events of a stream differ from the one before in one string only. So the
// slow path, which decodes an event, remembers the bytes around that string,
// and the fast path compares them: an event that has the same bytes around any
// other text, not empty, is of the same kind and changes nothing else.
type answer struct {
	usage   []byte // the last usage object, verbatim; empty is none
	finish  string // the last finish reason
	ends    int    // events that had one: one for each choice
	fault   fault  // the error object of an event or of the body
	failed  bool   // there was one
	invalid int    // events that are not JSON
	known   bool   // some object had the shape of an answer
	id      string // the first id that the server gave
	metrics metrics
	running running

	prefix, suffix []byte // around the text of the last event with output
	kind           trace.ChunkKind
	dec            decoder
}

// reset makes a ready for another answer, with the same buffers.
func (a *answer) reset() {
	a.metrics.reset()
	*a = answer{usage: a.usage[:0], metrics: a.metrics, prefix: a.prefix[:0], suffix: a.suffix[:0], dec: a.dec}
}

// running follows the usage that a server sends with each event, where it does.
type running struct {
	Total int64 // output tokens so far
	Added int32 // by the event at hand
	Told  int   // events with output that had a count
	Fell  bool  // a count was below one before it
}

// take takes in the count of an event. Events without one never come here.
func (r *running) take(total int64, kind trace.ChunkKind) {
	if total < r.Total {
		r.Fell = true
	} else {
		r.Added = int32(total - r.Total)
	}
	r.Total = total
	if kind.Output() {
		r.Told++
	}
}

// isDone reports whether data is the end mark of a stream.
func isDone(data []byte) bool {
	return len(data) >= len("[DONE]") && data[0] == '[' && string(bytes.TrimSpace(data)) == "[DONE]"
}

// event takes in one event of a stream and says what it carries. The name is
// that of the event field.
func (a *answer) event(name, data []byte) trace.ChunkKind {
	if isDone(data) {
		return trace.ChunkDone
	}
	if len(name) == len("error") && string(name) == "error" {
		a.decode(data)
		a.failed = true
		return trace.ChunkError
	}
	if a.like(data) {
		return a.kind
	}
	return a.decode(data)
}

// like reports whether data is the learned event with another text.
func (a *answer) like(data []byte) bool {
	n := len(data) - len(a.suffix)
	return len(a.prefix) > 0 && n > len(a.prefix) &&
		bytes.Equal(data[n:], a.suffix) && bytes.Equal(data[:len(a.prefix)], a.prefix) &&
		isText(data[len(a.prefix):n])
}

// isText reports whether b can stand between the quotes of a JSON string. As in
// the slow path, bytes that are not UTF-8 pass.
func isText(b []byte) bool {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c < ' ' || c == '"':
			return false
		case c == '\\':
			n := escape(b[i:])
			if n == 0 {
				return false
			}
			i += n - 1
		}
	}
	return true
}

// escape returns the length of the escape sequence that b begins with, 0 if it
// is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f') {
				return 0
			}
		}
		return 6
	}
	return 0
}

// decode is the slow path: it reads data as JSON.
func (a *answer) decode(data []byte) trace.ChunkKind {
	var f found
	a.dec.decode(data, &f)
	if f.err != nil {
		a.invalid++
		return trace.ChunkOther
	}
	a.known = a.known || f.known
	if len(f.usage) > 0 {
		a.usage = append(a.usage[:0], f.usage...)
	}
	if len(f.finish) > 0 {
		a.finish = reason(f.finish)
		a.ends++
	}
	if f.failed {
		a.failed, a.fault = true, f.fault
	}
	if a.id == "" && isID(f.id) { // only the first, so that the fast path need not look
		a.id = string(f.id)
	}
	measured := a.metrics.take(&f.metrics)
	kind := f.kind()
	if f.count.OK {
		a.running.take(f.count.V, kind)
	}
	if kind.Output() && len(f.usage) == 0 && len(f.finish) == 0 && !f.failed && !measured {
		a.learn(data, kind, f.text)
	}
	return kind
}

// learn keeps what stands around one text of an event with output. Where there
// are several, it does not matter which one: the others stay as they are.
func (a *answer) learn(data []byte, kind trace.ChunkKind, text span) {
	a.kind = kind
	a.prefix = append(a.prefix[:0], data[:text.start]...)
	a.suffix = append(a.suffix[:0], data[text.end:]...)
}

// reason returns a finish reason, given without its quotes, as a string: a word
// as servers give it, and "unknown" for anything that could be a text. The usual
// ones cost nothing.
func reason(b []byte) string {
	for _, s := range []string{"stop", "length", "tool_calls", "content_filter", "abort", "completed"} {
		if string(b) == s {
			return s
		}
	}
	if bytes.IndexByte(b, '\\') >= 0 {
		// Valid but for its UTF-8, which is repaired.
		b, _ = jsontext.AppendUnquote(nil, slices.Concat([]byte{'"'}, b, []byte{'"'}))
	}
	return printable(string(b))
}
