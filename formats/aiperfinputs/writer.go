package aiperfinputs

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats"
	"wattrace/trace"
)

// A Writer writes inputs.json, with the sessions in the order of their first turns and a
// body a line, byte for byte:
//
//	{"data":[
//	{"session_id":"a","payloads":[
//	{"model":"m","messages":[]},
//	{"model":"m","messages":[]}]}
//	]}
//
// A request of no conversation is a session of one turn, since aiperf wants a name of
// each: "request-7", by its number. Turns of one session stand together in the document, wherever they come
// from; so bodies wait in a temporary file until Close, and memory has 32 B of each. It is
// not safe for concurrent use.
type Writer struct {
	w        io.Writer
	spool    *os.File
	out      *bufio.Writer // to spool
	end      int64
	n        int64
	sessions []session
	places   map[string]int // of sessions that have a name
}

type session struct {
	name  string // "" is none
	first int64  // number of the request
	turns []turn
}

// has reports whether a turn is there. Turns mostly come in order.
func (s *session) has(index int) bool {
	return s.turns[len(s.turns)-1].index >= index && slices.ContainsFunc(s.turns, func(t turn) bool { return t.index == index })
}

type turn struct {
	index  int
	offset int64 // in the spool
	length int
}

var _ formats.RequestWriter = (*Writer)(nil)

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w, places: map[string]int{}} }

// Write takes one request, as formats.RequestWriter says. A turn that was there before
// is refused.
func (w *Writer) Write(q *formats.Request) error {
	if _, err := trace.CheckPayload(q.Body); err != nil {
		return err
	}
	if _, err := jsontext.AppendQuote(nil, q.Conversation); err != nil {
		return &trace.ColumnError{Col: 1, Err: errors.New("the name of the conversation is not UTF-8")}
	}
	t := turn{q.Turn, w.end, len(q.Body)}
	i, known := w.places[q.Conversation]
	if known && w.sessions[i].has(t.index) {
		return &trace.ColumnError{Col: 1, Err: fmt.Errorf("turn %d of its conversation was there before", t.index)}
	}
	if w.out == nil {
		var err error
		if w.spool, err = formats.SpoolFile(); err != nil {
			return err
		}
		w.out = bufio.NewWriterSize(w.spool, 256<<10)
	}
	w.n++
	if !known {
		i = len(w.sessions)
		w.sessions = append(w.sessions, session{name: q.Conversation, first: w.n})
		if q.Conversation != "" {
			w.places[q.Conversation] = i
		}
	}
	w.sessions[i].turns = append(w.sessions[i].turns, t)
	w.end += int64(t.length)
	_, err := w.out.Write(q.Body)
	return err
}

// Close writes the document.
func (w *Writer) Close() error {
	if w.out == nil {
		_, err := io.WriteString(w.w, "{\"data\":[]}\n")
		return err
	}
	defer w.spool.Close()
	if err := w.out.Flush(); err != nil {
		return err
	}
	out := bufio.NewWriterSize(w.w, 256<<10)
	out.WriteString(`{"data":[`)
	for i := range w.sessions {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := w.session(out, &w.sessions[i]); err != nil {
			return err
		}
	}
	out.WriteString("\n]}\n")
	return out.Flush() // has the first error of all
}

func (w *Writer) session(out *bufio.Writer, s *session) error {
	if s.name == "" {
		s.name = "request-" + strconv.FormatInt(s.first, 10)
		for _, taken := w.places[s.name]; taken; _, taken = w.places[s.name] {
			s.name += "-"
		}
	}
	slices.SortFunc(s.turns, func(a, b turn) int { return cmp.Compare(a.index, b.index) })
	name, _ := jsontext.AppendQuote(nil, s.name) // was found valid
	fmt.Fprintf(out, "\n{\"session_id\":%s,\"payloads\":[", name)
	for i, t := range s.turns {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
		if n, err := io.Copy(out, io.NewSectionReader(w.spool, t.offset, int64(t.length))); err != nil {
			return err
		} else if n < int64(t.length) {
			return io.ErrUnexpectedEOF
		}
	}
	out.WriteString("]}")
	return nil
}

// Abort frees the temporary file where Close is not called.
func (w *Writer) Abort() {
	if w.spool != nil {
		w.spool.Close()
	}
}
