package trace

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// TimingSuffix is what the name of a trace's side file ends with, after the
// name of the trace.
const TimingSuffix = ".timing"

// TimingEntry is one line of a timing side file.
type TimingEntry struct {
	Pos          Pos    // where it stands; ignored by the writer
	Line         int64  // 1-based line of the trace file; 0 is absent
	Conversation string // "" is absent
	Turn         int    // 0-based turn of Conversation
	Timing

	lineCol, conversationCol, turnCol int
}

// check reports the first contradiction of an entry.
func (e *TimingEntry) check() error {
	switch {
	case e.Line < 0:
		return errors.New(`"line" must be at least 1`)
	case e.Line == 0 && e.Conversation == "":
		return errors.New(`neither "line" nor "conversation" is there`)
	case e.Turn > 0 && e.Conversation == "":
		return errors.New(`"turn" without "conversation"`)
	}
	for _, f := range []struct {
		name string
		v    Opt[float64]
	}{{"at_seconds", e.AtSeconds}, {"delay_seconds", e.DelaySeconds}} {
		switch v, ok := f.v.Get(); {
		case ok && !(v >= 0 && v <= math.MaxFloat64):
			return fmt.Errorf("%q must be finite and not negative", f.name)
		case ok && v > maxSeconds:
			return fmt.Errorf("%q is beyond what can be scheduled", f.name)
		}
	}
	for _, f := range []struct {
		name string
		v    Opt[int64]
		most int64
	}{{"turn", Some(int64(e.Turn)), math.MaxInt32}, {"input_tokens", e.InputTokens, maxTokens}, {"output_tokens", e.OutputTokens, maxTokens}} {
		switch v, ok := f.v.Get(); {
		case ok && v < 0:
			return fmt.Errorf("%q is negative", f.name)
		case ok && v > f.most:
			return fmt.Errorf("%q is too large", f.name)
		}
	}
	return nil
}

// A TimingReader reads a timing side file. It is not safe for concurrent use.
type TimingReader struct {
	lines *LineReader
	buf   []byte
}

// NewTimingReader returns a reader of the side file r. Positions have the
// given file name.
func NewTimingReader(r io.Reader, name string) *TimingReader {
	return &TimingReader{lines: NewLineReader(r, name)}
}

// Read reads the next entry. At the end the error is io.EOF. A fault of a line
// is a *SyntaxError, and reading goes on at the next line; any other error
// comes from the underlying reader and is final.
func (r *TimingReader) Read(dst *TimingEntry) error {
	line, pos, err := r.lines.ReadLine(r.buf)
	r.buf = line
	if err != nil {
		return err
	}
	*dst = TimingEntry{Pos: pos}
	if err := dst.parse(line); err != nil {
		return ErrorAt(pos, err)
	}
	return nil
}

func (e *TimingEntry) parse(line []byte) error {
	seen := map[string]bool{}
	err := WalkObject(line, func(m Member) error {
		err := e.set(&m)
		if err == errUnknownKey {
			return nil
		}
		if name := string(m.Name); err == nil && seen[name] {
			err = m.Errorf("%q is there twice", name)
		} else {
			seen[name] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := e.check(); err != nil {
		return &ColumnError{Col: 1, Err: err}
	}
	return nil
}

var errUnknownKey = errors.New("unknown key")

// set stores one member. A null is a value that is not known.
func (e *TimingEntry) set(m *Member) (err error) {
	switch string(m.Name) {
	case "line":
		e.lineCol = m.Col
		var v Opt[int64]
		if v, err = integer(m, 1, math.MaxInt64); v.OK {
			e.Line = v.V
		}
	case "turn":
		e.turnCol = m.Col
		var v Opt[int64]
		if v, err = integer(m, 0, math.MaxInt32); v.OK {
			e.Turn = int(v.V)
		}
	case "conversation":
		e.conversationCol = m.Col
		e.Conversation, err = text(m)
	case "id":
		e.ID, err = text(m)
	case "at_seconds":
		e.AtSeconds, err = seconds(m)
	case "delay_seconds":
		e.DelaySeconds, err = seconds(m)
	case "input_tokens":
		e.InputTokens, err = integer(m, 0, maxTokens)
	case "output_tokens":
		e.OutputTokens, err = integer(m, 0, maxTokens)
	default:
		return errUnknownKey
	}
	return err
}

// maxTokens bounds counts of tokens: what every reader of the request log, which
// says them again, keeps exactly.
const maxTokens = 1 << 53

// maxSeconds bounds times: 73 years, in nanoseconds what an instant of the request log
// may be.
const maxSeconds = 1 << 61 / 1e9

// integer reads an integer from least to most, written without point or exponent.
func integer(m *Member, least, most int64) (Opt[int64], error) {
	if m.Value.Kind() == 'n' {
		return Opt[int64]{}, nil
	}
	v, err := strconv.ParseInt(string(m.Value), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && m.Value[0] != '-':
		return Opt[int64]{}, m.Errorf("%q is too large", m.Name)
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return Opt[int64]{}, m.Errorf("%q must be an integer", m.Name)
	case err != nil || v < least:
		return Opt[int64]{}, m.Errorf("%q must be at least %d", m.Name, least)
	case v > most:
		return Opt[int64]{}, m.Errorf("%q is too large", m.Name)
	}
	return Some(v), nil
}

// seconds reads a finite number that is not negative.
func seconds(m *Member) (Opt[float64], error) {
	switch m.Value.Kind() {
	case 'n':
		return Opt[float64]{}, nil
	case '0':
	default:
		return Opt[float64]{}, m.Errorf("%q must be a number", m.Name)
	}
	v, err := strconv.ParseFloat(string(m.Value), 64)
	switch {
	case v < 0:
		return Opt[float64]{}, m.Errorf("%q is negative", m.Name)
	case err != nil || v > maxSeconds:
		return Opt[float64]{}, m.Errorf("%q is beyond what can be scheduled", m.Name)
	}
	return Some(v + 0), nil // no negative zero
}

// text reads a string that is not empty.
func text(m *Member) (string, error) {
	switch m.Value.Kind() {
	case 'n':
		return "", nil
	case '"':
	default:
		return "", m.Errorf("%q must be a string", m.Name)
	}
	s, err := jsontext.AppendUnquote(nil, m.Value)
	switch {
	case err != nil:
		return "", m.Errorf("%q is not valid Unicode", m.Name)
	case len(s) == 0:
		return "", m.Errorf("%q is empty", m.Name)
	}
	return string(s), nil
}

// A TimingWriter writes a timing side file. It is not safe for concurrent use.
type TimingWriter struct {
	w   *bufio.Writer
	buf []byte
}

// NewTimingWriter returns a writer to w. Flush must be called, and its error
// checked, when all is written.
func NewTimingWriter(w io.Writer) *TimingWriter {
	return &TimingWriter{w: bufio.NewWriterSize(w, 64<<10)}
}

// Write writes one entry as a line. One that a TimingReader would refuse is an
// error, and nothing is written.
func (w *TimingWriter) Write(e TimingEntry) error {
	if err := e.check(); err != nil {
		return err
	}
	b := append(w.buf[:0], '{')
	var err error
	key := func(name string) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, '"', ':')
	}
	number := func(name string, v Opt[float64]) {
		if v.OK {
			key(name)
			b = jsontext.AppendFloat(b, v.V+0, 64)
		}
	}
	count := func(name string, v Opt[int64]) {
		if v.OK {
			key(name)
			b = strconv.AppendInt(b, v.V, 10)
		}
	}
	str := func(name, s string) {
		if s != "" && err == nil {
			key(name)
			if b, err = jsontext.AppendQuote(b, s); err != nil {
				err = fmt.Errorf("%q is not UTF-8", name)
			}
		}
	}
	count("line", Opt[int64]{e.Line, e.Line > 0})
	number("at_seconds", e.AtSeconds)
	number("delay_seconds", e.DelaySeconds)
	str("conversation", e.Conversation)
	count("turn", Opt[int64]{int64(e.Turn), e.Conversation != ""})
	count("input_tokens", e.InputTokens)
	count("output_tokens", e.OutputTokens)
	str("id", e.ID)
	w.buf = append(b, '}', '\n')
	if err != nil {
		return err
	}
	_, err = w.w.Write(w.buf)
	return err
}

// Flush writes out what is buffered.
func (w *TimingWriter) Flush() error { return w.w.Flush() }

// ApplyTiming reads the side file r and stores what it says in turns, which
// must be as they were read: of one file, in its order and without
// conversations, or of a directory, each with its Conversation and Index. In a
// file it also stores the conversations that the side file forms of its lines.
// The first fault is returned, with its position in the side file where it has
// one; turns may then be partly filled in.
func ApplyTiming(r io.Reader, name string, turns []Turn) error {
	a := newApplier(turns)
	reader := NewTimingReader(r, name)
	for {
		var e TimingEntry
		err := reader.Read(&e)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		i, err := a.find(&e)
		if err != nil {
			return ErrorAt(e.Pos, err)
		}
		turns[i].Timing = e.Timing
		if !a.directory {
			turns[i].Conversation, turns[i].Index = e.Conversation, e.Turn
		}
	}
}

// key is how a turn of a directory is found.
type key struct {
	conversation string
	turn         int
}

// An applier finds the turn that an entry means.
type applier struct {
	directory bool
	byLine    map[int64]int
	byKey     map[key]int // of a directory: all turns; of a file: those that had an entry
	named     []bool      // by turn: it had an entry
}

func newApplier(turns []Turn) *applier {
	a := &applier{
		directory: len(turns) > 0 && turns[0].Conversation != "",
		byKey:     map[key]int{},
		named:     make([]bool, len(turns)),
	}
	if a.directory {
		for i := range turns {
			a.byKey[key{turns[i].Conversation, turns[i].Index}] = i
		}
		return a
	}
	a.byLine = make(map[int64]int, len(turns))
	for i := range turns {
		a.byLine[int64(turns[i].Pos.Line)] = i
	}
	return a
}

func (a *applier) find(e *TimingEntry) (int, error) {
	i, col, err := a.lookup(e)
	if err == nil && a.named[i] {
		err = errors.New("the turn was named before")
	}
	if err != nil {
		return 0, &ColumnError{Col: max(col, 1), Err: err}
	}
	a.named[i] = true
	return i, nil
}

func (a *applier) lookup(e *TimingEntry) (turn, col int, err error) {
	k := key{e.Conversation, e.Turn}
	if a.directory {
		if e.Line != 0 {
			return 0, e.lineCol, errors.New(`"line" in the side file of a directory, whose turns go by "conversation" and "turn"`)
		}
		i, ok := a.byKey[k]
		if !ok {
			return 0, max(e.conversationCol, e.turnCol), errors.New("the trace has no such turn")
		}
		return i, e.conversationCol, nil
	}
	if e.Line == 0 {
		return 0, 1, errors.New(`"line" is missing, by which the turns of a file go`)
	}
	i, ok := a.byLine[e.Line]
	if !ok {
		return 0, e.lineCol, errors.New("the trace has no request on that line")
	}
	if e.Conversation != "" {
		if _, twice := a.byKey[k]; twice && !a.named[i] {
			return 0, max(e.conversationCol, e.turnCol), errors.New("the turn was named before")
		}
		a.byKey[k] = i
	}
	return i, e.lineCol, nil
}

// TimingPath returns the name of a trace's side file: the trace's with
// TimingSuffix, for a directory without the slashes that it may end with.
func TimingPath(path string) string {
	trimmed := strings.TrimRight(path, "/")
	if trimmed == "" {
		return path + TimingSuffix
	}
	return trimmed + TimingSuffix
}
