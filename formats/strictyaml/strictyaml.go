// Package strictyaml is how every YAML file of ours is read: strictly. A key that
// is not known, given twice, or of the wrong type is an error with its line and
// column, as is a schema that is not known. JSON is YAML too.
package strictyaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"wattrace/trace"
)

// MaxFile bounds a file in bytes; a real one has a few thousand.
const MaxFile = 1 << 20

// ErrUnknown is what the callback of [File.Object] returns for a key that it does
// not know.
var ErrUnknown = errors.New("unknown key")

// Node is a value in a file.
type Node = ast.Node

// File is a file being read: its methods take values apart and give errors their
// place, as *trace.SyntaxError.
type File struct {
	Name   string // of the file, for errors
	What   string // what it is, as in "a plan"
	Schema string // the schema that is known, as in "wattrace.plan/1"
}

// Read reads a whole file, a mapping whose key schema has the known schema, and
// calls one for each other key.
func (f File) Read(r io.Reader, one func(key string, value Node) error) (body Node, err error) {
	src, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(src) > MaxFile {
		return nil, f.errorf(trace.Pos{}, "%s has at most %d bytes", f.What, MaxFile)
	}
	if !utf8.Valid(src) {
		return nil, f.errorf(trace.Pos{}, "invalid UTF-8")
	}
	if bytes.HasPrefix(src, []byte("\ufeff")) {
		return nil, f.errorf(trace.Pos{Line: 1, Col: 1}, "the file begins with a byte order mark, which is not supported: save it as UTF-8 without one")
	}
	tokens := lexer.Tokenize(string(src))
	for _, tk := range tokens {
		if tk.Type == token.AnchorType || tk.Type == token.AliasType || tk.Type == token.MergeKeyType {
			return nil, f.errorf(position(tk), "anchors, aliases and merge keys (&, *, <<) are not supported: write the value out")
		}
	}
	if tk := tooDeep(tokens); tk != nil {
		return nil, f.errorf(position(tk), "nested too deep")
	}
	tree, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, f.syntax(err)
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		return nil, f.errorf(trace.Pos{}, "%s is one YAML document that begins with schema: %s", f.What, f.Schema)
	}
	return f.document(tree.Docs[0].Body, one)
}

// maxNesting bounds how deep values may be nested on a line and in brackets; a
// real file needs three. The parser's memory grows with its square. By
// indentation a file of MaxFile cannot get far.
const maxNesting = 64

// tooDeep returns the token that nests too deep, if one does.
func tooDeep(tokens token.Tokens) *token.Token {
	brackets, line, onLine := 0, 0, 0
	for _, tk := range tokens {
		if tk.Position != nil && tk.Position.Line != line {
			line, onLine = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			onLine++
		}
		if brackets > maxNesting || onLine > maxNesting {
			return tk
		}
	}
	return nil
}

func (f File) document(body Node, one func(key string, value Node) error) (Node, error) {
	schema := ""
	err := f.Object(body, f.the(), func(key string, value Node) (err error) {
		if key != "schema" {
			return one(key, value)
		}
		if schema, err = f.Text(key, value); err == nil && schema != f.Schema {
			err = f.Errorf(value, "%w", f.CheckSchema(schema))
		}
		return err
	})
	if err == nil && schema == "" {
		err = f.Errorf(body, "%s has no key schema (schema: %s)", f.the(), f.Schema)
	}
	return body, err
}

// the is What with the definite article.
func (f File) the() string {
	_, noun, _ := strings.Cut(f.What, " ")
	return "the " + noun
}

// CheckSchema accepts exactly the schema that is known.
func (f File) CheckSchema(s string) error {
	family, _, _ := strings.Cut(f.Schema, "/")
	switch {
	case s == f.Schema:
		return nil
	case strings.HasPrefix(s, family+"/"):
		return fmt.Errorf("schema %q is not known here (this program knows %s)", s, f.Schema)
	}
	return fmt.Errorf("schema %q is not %s (%s)", s, f.What, f.Schema)
}

// Errorf returns an error at a value.
func (f File) Errorf(n Node, format string, args ...any) error {
	return f.errorf(At(n), format, args...)
}

func (f File) errorf(at trace.Pos, format string, args ...any) error {
	at.File = f.Name
	return &trace.SyntaxError{Pos: at, Err: fmt.Errorf(format, args...)}
}

// syntax turns an error of the YAML parser into ours, without its excerpt.
func (f File) syntax(err error) error {
	var y yaml.Error
	if !errors.As(err, &y) {
		return f.errorf(trace.Pos{}, "%v", err)
	}
	return f.errorf(position(y.GetToken()), "%s", y.GetMessage())
}

// At returns the position of a value: that of its first token.
func At(n Node) trace.Pos {
	switch n := n.(type) {
	case *ast.MappingNode: // its own token is the first colon of the block
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return At(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return At(n.Key)
	}
	return position(n.GetToken())
}

func position(tk *token.Token) trace.Pos {
	if tk == nil || tk.Position == nil {
		return trace.Pos{}
	}
	return trace.Pos{Line: tk.Position.Line, Col: tk.Position.Column}
}

// Object calls one for each key of a mapping.
func (f File) Object(n Node, what string, one func(key string, value Node) error) error {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return f.Errorf(n, "%s must be a mapping, not %s", what, Kind(n))
	}
	seen := map[string]bool{}
	for _, entry := range m.Values {
		name, ok := entry.Key.(*ast.StringNode)
		if !ok {
			return f.Errorf(entry, "a key must be plain text")
		}
		key := name.Value
		if seen[key] {
			return f.Errorf(entry, "the key %q is given twice", key)
		}
		seen[key] = true
		if err := one(key, entry.Value); err == ErrUnknown {
			return f.Errorf(entry, "unknown key %q in %s", key, what)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// List returns the values of a list.
func (f File) List(key string, n Node) ([]Node, error) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return nil, f.Errorf(n, "%s must be a list, not %s", key, Kind(n))
	}
	return list.Values, nil
}

// Text reads text that is not empty.
func (f File) Text(key string, n Node) (string, error) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		return "", f.Errorf(n, "%s must be text, not %s", key, Kind(n))
	}
	if s.Value == "" {
		return "", f.Errorf(n, "%s is empty", key)
	}
	return s.Value, nil
}

// Choice reads one of some words.
func (f File) Choice(key string, n Node, words ...string) (string, error) {
	text, err := f.Text(key, n)
	if err != nil {
		return "", err
	}
	for _, w := range words {
		if text == w {
			return text, nil
		}
	}
	return "", f.Errorf(n, "%s is %q, and must be one of %s", key, text, strings.Join(words, ", "))
}

// IsWhole reports whether a value is a whole number.
func IsWhole(n Node) bool {
	_, ok := n.(*ast.IntegerNode)
	return ok
}

// Whole reads a decimal integer from least to most.
func (f File) Whole(key string, n Node, least, most int64) (int64, error) {
	if s, ok := n.(*ast.StringNode); ok && s.Token.Type == token.StringType && allDigits(s.Value) { // more than 64 bits
		return 0, f.Errorf(n, "%s is out of range: it must be a whole number from %d to %d", key, least, most)
	}
	if !IsWhole(n) {
		return 0, f.Errorf(n, "%s must be a whole number, not %s", key, Kind(n))
	}
	v, err := strconv.ParseInt(n.GetToken().Value, 10, 64)
	if err != nil || v < least || v > most {
		return 0, f.Errorf(n, "%s must be a whole number from %d to %d", key, least, most)
	}
	return v, nil
}

// allDigits reports whether text is that of an integer.
func allDigits(s string) bool {
	if s = strings.TrimLeft(s, "+-"); s == "" {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

// Number reads a finite number, for which valid holds; want says which those are.
func (f File) Number(key string, n Node, valid func(float64) bool, want string) (float64, error) {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
	default:
		return 0, f.Errorf(n, "%s must be a number, not %s", key, Kind(n))
	}
	v, err := strconv.ParseFloat(n.GetToken().Value, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) || !valid(v) {
		return 0, f.Errorf(n, "%s must be a number %s", key, want)
	}
	return v, nil
}

// Duration reads a duration above zero.
func (f File) Duration(key string, n Node) (time.Duration, error) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		return 0, f.Errorf(n, "%s must be a duration such as 90s or 1h30m, not %s", key, Kind(n))
	}
	d, err := time.ParseDuration(s.Value)
	if err != nil || d <= 0 {
		return 0, f.Errorf(n, "%s must be a duration above zero such as 90s or 1h30m", key)
	}
	return d, nil
}

// Boolean reads true or false.
func (f File) Boolean(key string, n Node) (bool, error) {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		return false, f.Errorf(n, "%s must be true or false, not %s", key, Kind(n))
	}
	return b.Value, nil
}

// Kind names the type of a value, for messages.
func Kind(n Node) string {
	switch n.(type) {
	case *ast.StringNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode:
		return "a number"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	}
	return strings.ToLower(n.Type().String())
}

// Quote returns text as a YAML value that is read as text whatever it holds.
func Quote(s string) string {
	b, _ := json.Marshal(s) // of a string it cannot fail
	return string(b)
}
