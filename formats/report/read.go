package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/reduce"
	"wattrace/trace"
)

// maxValue bounds one member of a report, or one of its windows, in bytes.
const maxValue = 256 << 20

// Read reads a report document. Its slices, which are windows whose names are numbers,
// are passed over, one at a time, so that a report that was cut into many takes no more
// memory than one that was not. Keys that are unknown are skipped, and a schema with a
// higher number is refused. Errors have the position in the file of that name.
func Read(r io.Reader, name string) (*reduce.Report, error) {
	lines := &lineReader{r: r, pos: trace.Pos{File: name, Line: 1, Col: 1}}
	d := &reader{Decoder: jsontext.NewDecoder(lines), lines: lines}
	rep := &reduce.Report{}
	phases := false
	err := d.object(func(key string) error {
		switch key {
		case "schema":
			if err := d.member(key, rep); err != nil {
				return err
			}
			return d.at(d.lines.from, checkSchema(rep.Schema))
		case "phases":
			phases = true
			return d.array(func() error {
				var ph reduce.Phase
				if err := d.phase(&ph); err != nil {
					return err
				}
				rep.Phases = append(rep.Phases, ph)
				return nil
			})
		}
		return d.member(key, rep)
	})
	switch {
	case err != nil:
		return nil, err
	case rep.Schema == "":
		return nil, fmt.Errorf(`%s: not a report: no "schema"`, name)
	case !phases:
		return nil, fmt.Errorf(`%s: not a report: no "phases"`, name)
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, d.wrong(err, "data after the report's end")
	}
	return rep, nil
}

// checkSchema refuses what is no report, and reports of a later version.
func checkSchema(schema string) error {
	family, _, _ := strings.Cut(reduce.Schema, "/")
	version, ok := strings.CutPrefix(schema, family+"/")
	n, err := strconv.Atoi(version)
	switch {
	case !ok || err != nil || n < 1:
		return fmt.Errorf("not a report: schema %.40q", schema)
	case schema != reduce.Schema:
		return fmt.Errorf("schema %.40q is newer than this program, which knows %q", schema, reduce.Schema)
	}
	return nil
}

// reader reads a document value by value.
type reader struct {
	*jsontext.Decoder
	lines *lineReader
	start int64 // of the value that was read last
}

// phase reads a phase, without its slices.
func (d *reader) phase(ph *reduce.Phase) error {
	return d.object(func(key string) error {
		if key != "windows" {
			if err := d.member(key, ph); err != nil {
				return err
			}
			return d.at(d.start, checkMember(key, ph))
		}
		return d.array(func() error {
			text, err := d.value()
			if err != nil {
				return err
			}
			var window reduce.Phase
			var name struct {
				Name string `json:"name"`
			}
			if err := d.decode(text, 0, &name); err != nil {
				return err
			}
			if _, err := strconv.ParseUint(name.Name, 10, 64); err == nil {
				return nil
			}
			if err := d.decode(text, 0, &window); err != nil {
				return err
			}
			if err := checkPhase(&window); err != nil {
				return d.at(d.start, fmt.Errorf("window %.40q: %w", window.Name, err))
			}
			ph.Windows = append(ph.Windows, window)
			return nil
		})
	})
}

// object reads an object, whose members one reads by their keys.
func (d *reader) object(one func(key string) error) error {
	if err := d.begin('{', "an object"); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		key, err := d.ReadToken()
		if err != nil {
			return d.wrong(err, "")
		}
		if err := one(key.String()); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return d.wrong(err, "")
}

// array reads an array, whose elements one reads.
func (d *reader) array(one func() error) error {
	if err := d.begin('[', "an array"); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		if d.PeekKind() == 0 {
			_, err := d.ReadToken()
			return d.wrong(err, "")
		}
		if err := one(); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return d.wrong(err, "")
}

func (d *reader) begin(kind jsontext.Kind, what string) error {
	if k := d.PeekKind(); k != kind && k != 0 {
		if _, err := d.ReadToken(); err != nil {
			return d.wrong(err, "")
		}
		return d.at(d.InputOffset()-1, fmt.Errorf("want %s", what))
	}
	_, err := d.ReadToken()
	return d.wrong(err, "")
}

// value reads a whole value, which is the decoder's until the next call.
func (d *reader) value() (jsontext.Value, error) {
	text, err := d.ReadValue()
	if err != nil {
		return nil, d.wrong(err, "")
	}
	d.start = d.InputOffset() - int64(len(text))
	d.lines.forget(d.start)
	return text, nil
}

// member reads the value of a key into the field of that name.
func (d *reader) member(key string, into any) error {
	text, err := d.value()
	if err != nil {
		return err
	}
	name, err := json.Marshal(key)
	if err != nil {
		return err
	}
	object := fmt.Appendf(nil, "{%s:%s}", name, text)
	return d.decode(object, len(name)+2, into)
}

// decode decodes the value that was read last, with so many bytes before it.
func (d *reader) decode(text []byte, before int, into any) error {
	err := json.Unmarshal(text, into)
	if err == nil {
		return nil
	}
	start := d.InputOffset() - int64(len(text))
	if before > 0 {
		start++ // the bracket that closes the object
	}
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		where := ""
		if wrong.Field != "" {
			where = wrong.Field[strings.LastIndexByte(wrong.Field, '.')+1:] + ": "
		}
		return d.at(max(0, start+wrong.Offset-1), fmt.Errorf("%swant %s, not a %s", where, kindOf(wrong.Type.Kind().String()), wrong.Value))
	}
	return d.at(max(0, d.InputOffset()-1), err)
}

// kindOf says in the words of JSON what a kind of Go is.
func kindOf(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "an integer"
	case strings.HasPrefix(kind, "float"):
		return "a number"
	case kind == "slice":
		return "an array"
	case kind == "bool":
		return "true or false"
	case kind == "string":
		return "a text"
	}
	return "an object"
}

// wrong gives an error of the decoder its position; nil stays nil unless instead says what
// it then is.
func (d *reader) wrong(err error, instead string) error {
	var syntax *jsontext.SyntacticError
	switch {
	case err == nil && instead == "":
		return nil
	case err == nil:
		return d.at(d.InputOffset()-1, errors.New(instead))
	case errors.As(err, &syntax):
		why := syntax.Err
		if errors.Is(why, io.ErrUnexpectedEOF) {
			why = errors.New("it was cut off")
		}
		return d.at(syntax.ByteOffset, fmt.Errorf("not JSON: %w", why))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return d.at(d.InputOffset(), errors.New("not JSON: it was cut off"))
	}
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "jsontext: read error: ") {
		err = inner
	}
	return fmt.Errorf("%s: %w", d.lines.pos.File, err)
}

// at gives an error the position of a byte; nil stays nil.
func (d *reader) at(offset int64, err error) error {
	if err == nil {
		return nil
	}
	return &trace.SyntaxError{Pos: d.lines.position(offset), Err: err}
}

// lineReader knows the lines of what was read and may still be asked for.
type lineReader struct {
	r      io.Reader
	pos    trace.Pos // of the byte at offset from
	from   int64
	read   int64
	breaks []int64 // offsets of the line feeds from there on
}

func (l *lineReader) Read(p []byte) (int, error) {
	if l.read-l.from > maxValue {
		return 0, fmt.Errorf("a value is longer than %d MiB", maxValue>>20)
	}
	n, err := l.r.Read(p)
	for i, c := range p[:n] {
		if c == '\n' {
			l.breaks = append(l.breaks, l.read+int64(i))
		}
	}
	l.read += int64(n)
	return n, err
}

// position returns that of a byte that was not forgotten.
func (l *lineReader) position(offset int64) trace.Pos {
	pos, from := l.pos, l.from
	for _, b := range l.breaks {
		if b >= offset {
			break
		}
		pos.Line, pos.Col, from = pos.Line+1, 1, b+1
	}
	pos.Col += int(max(0, offset-from))
	return pos
}

// forget forgets what is before a byte.
func (l *lineReader) forget(offset int64) {
	pos := l.position(offset)
	n := 0
	for n < len(l.breaks) && l.breaks[n] < offset {
		n++
	}
	l.breaks = append(l.breaks[:0], l.breaks[n:]...)
	l.pos, l.from = pos, offset
}
