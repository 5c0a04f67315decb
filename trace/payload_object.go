package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// What can be wrong with a line that should be one JSON object. They are
// wrapped in a *ColumnError.
var (
	ErrByteOrderMark = errors.New("a byte order mark, which does not belong in JSON Lines")
	ErrNotJSON       = errors.New("not JSON")
	ErrNotObject     = errors.New("not a JSON object")
	ErrTrailingData  = errors.New("data after the JSON object")
)

// A ColumnError is a fault of one line at a column. Its message never quotes
// the line.
type ColumnError struct {
	Col int // 1-based, in bytes
	Err error
}

// Error formats the error as "column N: message".
func (e *ColumnError) Error() string { return "column " + strconv.Itoa(e.Col) + ": " + e.Err.Error() }

// Unwrap returns the cause without its column.
func (e *ColumnError) Unwrap() error { return e.Err }

// ErrorAt gives the fault of a line its position: that of the line, and the
// column where err has one.
func ErrorAt(line Pos, err error) *SyntaxError {
	var at *ColumnError
	if errors.As(err, &at) {
		line.Col, err = at.Col, at.Err
	}
	return &SyntaxError{Pos: line, Err: err}
}

// A Member is one member of a JSON object.
type Member struct {
	Name  []byte         // unescaped
	Value jsontext.Value // as it stands
	Col   int            // 1-based column of the value
}

// Errorf returns a *ColumnError that points at the member's value.
func (m *Member) Errorf(format string, args ...any) error {
	return &ColumnError{Col: m.Col, Err: fmt.Errorf(format, args...)}
}

// WalkObject checks that line is one JSON object by RFC 8259 and nothing else,
// and calls member for each of its members, in order. Duplicate names and lone
// surrogate escapes are accepted, invalid UTF-8 and a nesting deeper than
// 10,000 are not. A *ColumnError says what is wrong and where. An error of
// member ends the walk and is returned.
//
// What member sees is part of line, which is never written to, and valid as
// long as line is. The walk is the check, so that a member may be seen before
// a fault behind it is found.
func WalkObject(line []byte, member func(Member) error) error {
	if bytes.HasPrefix(line, []byte("\xef\xbb\xbf")) {
		return &ColumnError{Col: 1, Err: ErrByteOrderMark}
	}
	err := walk(line, member)
	// The decoder must take invalid UTF-8, or it would refuse lone surrogate
	// escapes as well; so that is checked here. The first fault counts.
	if bad := invalidUTF8(line); bad >= 0 {
		var at *ColumnError
		if err == nil || errors.As(err, &at) && at.Col > bad {
			return &ColumnError{Col: bad + 1, Err: fmt.Errorf("%w: invalid UTF-8", ErrNotJSON)}
		}
	}
	return err
}

func walk(line []byte, member func(Member) error) error {
	// Of a bytes.Buffer the decoder copies nothing, and it writes nothing to it.
	d := jsontext.NewDecoder(bytes.NewBuffer(line), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if kind := d.PeekKind(); kind != '{' {
		v, err := d.ReadValue()
		if err != nil {
			return notJSON(line, err)
		}
		return &ColumnError{Col: int(d.InputOffset()) - len(v) + 1, Err: fmt.Errorf("%w, but %s", ErrNotObject, kindName(kind))}
	}
	if _, err := d.ReadToken(); err != nil {
		return notJSON(line, err)
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadValue()
		if err != nil {
			return notJSON(line, err)
		}
		value, err := d.ReadValue()
		if err != nil {
			return notJSON(line, err)
		}
		m := Member{Name: unquote(name), Value: value, Col: int(d.InputOffset()) - len(value) + 1}
		if err := member(m); err != nil {
			return err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return notJSON(line, err)
	}
	end := int(d.InputOffset())
	if rest := bytes.TrimLeft(line[end:], " \t\r\n"); len(rest) > 0 {
		return &ColumnError{Col: len(line) - len(rest) + 1, Err: ErrTrailingData}
	}
	return nil
}

// unquote returns the text of a JSON string that has been found valid.
func unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	text, _ := jsontext.AppendUnquote(nil, quoted) // fails on lone surrogates, which become U+FFFD
	return text
}

// notJSON describes what the decoder found wrong. The decoder's own message
// quotes the input, which may be part of a prompt.
func notJSON(line []byte, err error) error {
	if err == io.EOF {
		return &ColumnError{Col: 1, Err: fmt.Errorf("%w: nothing there", ErrNotJSON)}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return &ColumnError{Col: len(line) + 1, Err: fmt.Errorf("%w: the line ends inside a value", ErrNotJSON)}
	}
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) || syntax.ByteOffset >= int64(len(line)) {
		return &ColumnError{Col: 1, Err: ErrNotJSON}
	}
	what := "unexpected character"
	switch c := line[syntax.ByteOffset]; {
	case strings.Contains(syntax.Err.Error(), "depth"):
		what = "nested too deep"
	case c == '\\':
		what = "invalid escape sequence"
	case c < ' ':
		what = "unescaped control character"
	}
	return &ColumnError{Col: int(syntax.ByteOffset) + 1, Err: fmt.Errorf("%w: %s", ErrNotJSON, what)}
}

// invalidUTF8 returns the offset of the first invalid byte, or -1.
func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "an object"
}
