package aiperf

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// walker goes through the JSON of a line once, from its start to its end, with one
// decoder for all lines: what is not wanted is passed over, and nothing is read twice.
type walker struct {
	json *jsontext.Decoder
	buf  *bytes.Buffer
	line []byte
}

// document walks over a line that is an object, and calls one for each name, which must
// take the value: by member, members, object, list or skip. Errors have columns.
func (w *walker) document(line []byte, one func(name []byte) error) error {
	if w.json == nil {
		w.json, w.buf = new(jsontext.Decoder), new(bytes.Buffer)
	}
	// Of a bytes.Buffer the decoder copies nothing.
	*w.buf = *bytes.NewBuffer(line)
	w.json.Reset(w.buf, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	w.line = line
	err := w.object(nil, one)
	_, syntax := err.(*jsontext.SyntacticError)
	trailing := err == nil && len(bytes.TrimLeft(line[w.json.InputOffset():], " \t\r\n")) > 0
	if _, ours := err.(*trace.ColumnError); syntax || errors.Is(err, trace.ErrNotObject) || trailing || err != nil && !ours || !utf8.Valid(line) {
		// What is no JSON is told by who tells it everywhere. A fault of ours that comes
		// first stays.
		if bad := trace.WalkObject(line, func(trace.Member) error { return nil }); bad != nil {
			theirs, ok := bad.(*trace.ColumnError)
			if mine, both := err.(*trace.ColumnError); !ok || !both || theirs.Col <= mine.Col {
				return bad
			}
		}
	}
	return err
}

// peek returns the kind of the next value.
func (w *walker) peek() jsontext.Kind { return w.json.PeekKind() }

// skip passes over a value.
func (w *walker) skip() error { return w.json.SkipValue() }

// member reads a value, which is a part of the line.
func (w *walker) member(name []byte) (trace.Member, error) {
	v, err := w.json.ReadValue()
	end := int(w.json.InputOffset())
	return trace.Member{Name: name, Value: w.line[end-len(v) : end : end], Col: end - len(v) + 1}, err
}

// members calls one for each member of an object; a null has none.
func (w *walker) members(name []byte, one func(trace.Member) error) error {
	return w.object(name, func(name []byte) error {
		m, err := w.member(name)
		if err != nil {
			return err
		}
		return one(m)
	})
}

// object calls one for each name of an object, which must take the value; a null has
// none. what is the object's own name, nil the line's.
func (w *walker) object(what []byte, one func(name []byte) error) error {
	switch kind := w.json.PeekKind(); {
	case kind == 'n' && what != nil:
		return w.skip()
	case kind != '{':
		m, err := w.member(what)
		if err != nil {
			return err
		}
		if what == nil {
			return at(m.Col, "%w", trace.ErrNotObject) // WalkObject says it better
		}
		return m.Errorf("%s must be an object", what)
	}
	if _, err := w.json.ReadToken(); err != nil {
		return err
	}
	for w.json.PeekKind() == '"' {
		m, err := w.member(nil)
		if err != nil {
			return err
		}
		name := []byte(m.Value[1 : len(m.Value)-1])
		if bytes.IndexByte(name, '\\') >= 0 {
			name, _ = jsontext.AppendUnquote(nil, m.Value) // lone surrogates become U+FFFD
		}
		if err := one(name); err != nil {
			return err
		}
	}
	_, err := w.json.ReadToken()
	return err
}

// list calls one for each element of an array, which must take it; a null has none.
func (w *walker) list(what []byte, one func() error) error {
	switch kind := w.json.PeekKind(); {
	case kind == 'n':
		return w.skip()
	case kind != '[':
		m, err := w.member(what)
		if err != nil {
			return err
		}
		return m.Errorf("%s must be a list", what)
	}
	if _, err := w.json.ReadToken(); err != nil {
		return err
	}
	for kind := w.json.PeekKind(); kind != ']'; kind = w.json.PeekKind() {
		if kind == 0 {
			break // ReadToken says what is wrong
		}
		if err := one(); err != nil {
			return err
		}
	}
	_, err := w.json.ReadToken()
	return err
}

// walk walks over an object that is the value of a member.
func walk(m trace.Member, member func(trace.Member) error) error {
	if m.Value.Kind() == 'n' {
		return nil
	}
	if m.Value.Kind() != '{' {
		return m.Errorf("%s must be an object", m.Name)
	}
	var inside error // has the column of the line
	err := trace.WalkObject(m.Value, func(inner trace.Member) error {
		inner.Col += m.Col - 1
		inside = member(inner)
		return inside
	})
	var syntax *trace.ColumnError
	if inside == nil && errors.As(err, &syntax) {
		return at(m.Col-1+syntax.Col, "%w", syntax.Err)
	}
	return err
}
