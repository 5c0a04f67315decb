package plan

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"wattrace/trace"
)

// Schema is the schema that this package reads and writes.
const Schema = "wattrace.plan/1"

// maxFile bounds a plan file in bytes; a real one has a few hundred.
const maxFile = 1 << 20

// Read reads a whole plan file. Errors of the file are *trace.SyntaxError with
// the position of what is wrong; name is the file's.
func Read(r io.Reader, name string) (trace.Plan, error) {
	src, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return trace.Plan{}, err
	}
	f := file{name: name}
	if len(src) > maxFile {
		return trace.Plan{}, f.errorf(trace.Pos{}, "a plan has at most %d bytes", maxFile)
	}
	if !utf8.Valid(src) {
		return trace.Plan{}, f.errorf(trace.Pos{}, "invalid UTF-8")
	}
	tree, err := parser.ParseBytes(src, 0)
	if err != nil {
		return trace.Plan{}, f.syntax(err)
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		return trace.Plan{}, f.errorf(trace.Pos{}, "a plan is one YAML document with the keys schema and phases")
	}
	return f.plan(tree.Docs[0].Body)
}

// file is the file being read: it places errors.
type file struct{ name string }

func (f file) errorf(at trace.Pos, format string, args ...any) error {
	at.File = f.name
	return &trace.SyntaxError{Pos: at, Err: fmt.Errorf(format, args...)}
}

// at returns the position of a node: that of its first token.
func at(n ast.Node) trace.Pos {
	switch n := n.(type) {
	case *ast.MappingNode: // its own token is the first colon of the block
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return at(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return at(n.Key)
	}
	return position(n.GetToken())
}

func position(tk *token.Token) trace.Pos {
	if tk == nil || tk.Position == nil {
		return trace.Pos{}
	}
	return trace.Pos{Line: tk.Position.Line, Col: tk.Position.Column}
}

// syntax turns an error of the YAML parser into ours, without its excerpt.
func (f file) syntax(err error) error {
	var y yaml.Error
	if !errors.As(err, &y) {
		return f.errorf(trace.Pos{}, "%v", err)
	}
	return f.errorf(position(y.GetToken()), "%s", y.GetMessage())
}

func (f file) plan(body ast.Node) (trace.Plan, error) {
	var (
		p      trace.Plan
		nodes  []ast.Node
		schema string
	)
	err := f.object(body, "the plan", func(key string, value ast.Node) (err error) {
		switch key {
		case "schema":
			if schema, err = f.text(key, value); err == nil {
				if e := checkSchema(schema); e != nil {
					err = f.errorf(at(value), "%w", e)
				}
			}
		case "phases":
			list, ok := value.(*ast.SequenceNode)
			if !ok {
				return f.errorf(at(value), "phases must be a list, not %s", kind(value))
			}
			nodes = list.Values
		default:
			return errUnknown
		}
		return err
	})
	if err != nil {
		return p, err
	}
	if schema == "" {
		return p, f.errorf(at(body), "the plan has no key schema (schema: %s)", Schema)
	}
	for _, n := range nodes {
		ph, err := f.phase(n)
		if err != nil {
			return p, err
		}
		p.Phases = append(p.Phases, ph)
	}
	if err := p.Validate(); err != nil {
		return p, f.errorf(guilty(&p, body, nodes), "%w", err)
	}
	return p, nil
}

// guilty finds where a plan that does not validate goes wrong: at the first
// phase with which the phases so far do not validate either.
func guilty(p *trace.Plan, body ast.Node, nodes []ast.Node) trace.Pos {
	for i, n := range nodes {
		sofar := trace.Plan{Phases: append([]trace.Phase(nil), p.Phases[:i+1]...)}
		if last := &sofar.Phases[i]; i < len(nodes)-1 && last.Kind != trace.Idle {
			last.Handover = false // there is a phase after it
		}
		if sofar.Validate() != nil {
			return at(n)
		}
	}
	return at(body)
}

// checkSchema accepts exactly the versions that this package knows.
func checkSchema(s string) error {
	if s == Schema {
		return nil
	}
	if strings.HasPrefix(s, "wattrace.plan/") {
		return fmt.Errorf("schema %q is not known here (this program knows %s)", s, Schema)
	}
	return fmt.Errorf("schema %q is not a plan (%s)", s, Schema)
}
