// Package elements reads a JSON document that is one long array, or has one, an
// element at a time: in memory that depends on the longest element only, and
// with the position of everything.
package elements

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// A Reader reads the elements of an array. It is not safe for concurrent use.
type Reader struct {
	r     *bufio.Reader
	next  trace.Pos // of the next byte
	key   string
	state state
	max   int
	done  error // what every further call returns
}

type state int

const (
	start    state = iota
	first          // in the array, before its first element
	rest           // behind an element
	sequence       // between objects that no array holds
)

// NewReader returns a reader of r, whose positions have the given file name. If
// key is "", r is an array, or objects one behind the other; else it is an object
// that has the array by that key.
func NewReader(r io.Reader, name, key string) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10), next: trace.Pos{File: name, Line: 1, Col: 1}, key: key, max: trace.MaxLine}
}

// Read appends the next element to buf[:0] and returns it, and where it begins.
// Only brackets and strings have been looked at: the element is as long as it
// is if it is valid. At the end the error is io.EOF; every error is final.
func (r *Reader) Read(buf []byte) ([]byte, trace.Pos, error) {
	if r.done != nil {
		return buf[:0], r.next, r.done
	}
	pos, err := r.seek(buf)
	if err == nil {
		buf, err = r.value(buf[:0], true)
	}
	if err != nil {
		r.done = err
		return buf[:0], r.next, err
	}
	return buf, pos, nil
}

// seek goes to the first byte of the next element.
func (r *Reader) seek(buf []byte) (trace.Pos, error) {
	if r.state == start {
		if err := r.open(buf); err != nil {
			return r.next, err
		}
	}
	c, err := r.space()
	switch {
	case err == io.EOF && r.state == sequence:
		return r.next, io.EOF
	case err != nil:
		return r.next, r.cut(err)
	case r.state == sequence && c != '{':
		return r.next, r.fault(trace.ErrNotObject)
	case r.state == sequence:
		return r.next, nil
	case c == ']':
		r.skip()
		return r.next, r.close(buf)
	case r.state == first:
		r.state = rest
		return r.next, nil
	case c != ',':
		return r.next, r.fault(errors.New("not JSON: neither a comma nor the end of the array"))
	}
	r.skip()
	if _, err := r.space(); err != nil {
		return r.next, r.cut(err)
	}
	return r.next, nil
}

// open goes into the array.
func (r *Reader) open(buf []byte) error {
	if mark, _ := r.r.Peek(3); string(mark) == "\xef\xbb\xbf" {
		return r.fault(trace.ErrByteOrderMark)
	}
	c, err := r.space()
	switch {
	case err == io.EOF:
		return io.EOF
	case err != nil:
		return err
	case r.key == "" && c == '{':
		r.state = sequence
		return nil
	case r.key == "" && c != '[':
		return r.fault(errors.New("neither a JSON array nor an object"))
	case r.key != "" && c != '{':
		return r.fault(trace.ErrNotObject)
	}
	r.skip()
	if r.key != "" {
		found, err := r.members(buf, true)
		if err == nil && !found {
			err = r.fault(fmt.Errorf("the object has no %q", r.key))
		}
		if err != nil {
			return err
		}
	}
	r.state = first
	return nil
}

// close reads what is behind the array and returns io.EOF if that is as it must be.
func (r *Reader) close(buf []byte) error {
	if r.key != "" {
		if c, err := r.space(); err != nil {
			return r.cut(err)
		} else if c == ',' {
			r.skip()
		} else if c != '}' {
			return r.fault(errors.New("not JSON: neither a comma nor the end of the object"))
		}
		if _, err := r.members(buf, false); err != nil {
			return err
		}
	}
	if _, err := r.space(); err != nil {
		return err
	}
	return r.fault(errors.New("data after the end"))
}

// members passes over the members of the object, to the end of it or into the
// array that is looked for.
func (r *Reader) members(buf []byte, look bool) (found bool, _ error) {
	for {
		c, err := r.space()
		if err != nil {
			return false, r.cut(err)
		}
		if c == '}' {
			r.skip()
			return false, nil
		}
		if c != '"' {
			return false, r.fault(errors.New("not JSON: a name must be a string"))
		}
		name, err := r.value(buf[:0], true)
		if err != nil {
			return false, err
		}
		ours := string(name) == `"`+r.key+`"`
		if c, err = r.space(); err == nil && c != ':' {
			return false, r.fault(errors.New("not JSON: no colon behind a name"))
		}
		r.skip()
		if c, err = r.space(); err != nil {
			return false, r.cut(err)
		}
		switch {
		case ours && !look:
			return false, r.fault(fmt.Errorf("%q is there twice", r.key))
		case ours && c != '[':
			return false, r.fault(fmt.Errorf("%q must be an array", r.key))
		case ours:
			r.skip()
			return true, nil
		}
		if _, err := r.value(nil, false); err != nil {
			return false, err
		}
		if c, err = r.space(); err == nil && c == ',' {
			r.skip()
		}
	}
}

// space passes over white space and returns the byte behind it, which stays.
func (r *Reader) space() (byte, error) {
	for {
		b, err := r.r.Peek(1)
		if err != nil {
			return 0, err
		}
		if c := b[0]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, nil
		}
		r.skip()
	}
}

// skip passes over a byte, if there is one.
func (r *Reader) skip() byte {
	c, err := r.r.ReadByte()
	switch {
	case err != nil:
	case c == '\n':
		r.next.Line++
		r.next.Col = 1
	default:
		r.next.Col++
	}
	return c
}

// value reads one value, whose first byte is next, and keeps it if told.
func (r *Reader) value(dst []byte, keep bool) ([]byte, error) {
	depth, quoted, n := 0, false, 0
	for {
		b, err := r.r.Peek(1)
		if err == io.EOF && depth == 0 && !quoted && n > 0 {
			return dst, nil // a scalar that the input ends with
		}
		if err != nil {
			return dst, r.cut(err)
		}
		c := b[0]
		if depth == 0 && !quoted && (c == ',' || c == ']' || c == '}' || c == ':' || c <= ' ') {
			if n == 0 {
				return dst, r.fault(errors.New("not JSON: a value is missing"))
			}
			return dst, nil // behind a scalar
		}
		if n++; n > r.max {
			return dst, r.fault(errors.New("a value longer than 1 GiB"))
		}
		r.skip()
		if keep {
			dst = append(dst, c)
		}
		switch {
		case quoted && c == '\\':
			if _, err := r.r.Peek(1); err != nil {
				return dst, r.cut(err)
			}
			c := r.skip()
			if n++; keep {
				dst = append(dst, c)
			}
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth == 0 && !quoted && (c == '"' || c == '}' || c == ']') {
			return dst, nil
		}
	}
}

func (r *Reader) fault(err error) error { return fmt.Errorf("%s: %w", r.next, err) }

// cut is the error of an input that ends too early.
func (r *Reader) cut(err error) error {
	if err == io.EOF {
		err = fmt.Errorf("%s: the document breaks off: %w", r.next, io.ErrUnexpectedEOF)
	}
	return err
}

// ErrorAt gives the fault of an element that begins at pos its position.
func ErrorAt(pos trace.Pos, element []byte, err error) *trace.SyntaxError {
	var at *trace.ColumnError
	if !errors.As(err, &at) {
		return &trace.SyntaxError{Pos: pos, Err: err}
	}
	before := element[:min(max(at.Col-1, 0), len(element))]
	if i := bytes.LastIndexByte(before, '\n'); i >= 0 {
		pos.Line += bytes.Count(before, []byte("\n"))
		pos.Col = len(before) - i
	} else {
		pos.Col += len(before)
	}
	return &trace.SyntaxError{Pos: pos, Err: at.Err}
}

// Each calls do for each element of a member's value, which must be an array and is
// known to be valid. Elements have the name of the member, and columns in its line.
func Each(m *trace.Member, do func(element trace.Member) error) error {
	if m.Value.Kind() != '[' {
		return m.Errorf("%q must be an array", m.Name)
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(m.Value), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	d.ReadToken()
	for d.PeekKind() != ']' {
		v, err := d.ReadValue()
		if err != nil {
			return m.Errorf("%q is not JSON", m.Name)
		}
		e := trace.Member{Name: m.Name, Value: v, Col: m.Col + int(d.InputOffset()) - len(v)}
		if err := do(e); err != nil {
			return err
		}
	}
	return nil
}
