package plan

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"wattrace/trace"
)

// errUnknown is what the callback of object returns for a key it does not know.
var errUnknown = errors.New("unknown key")

func (f file) phase(n ast.Node) (trace.Phase, error) {
	ph := trace.Phase{Kind: trace.Measure}
	err := f.object(n, "a phase", func(key string, v ast.Node) (err error) {
		var count int64
		switch key {
		case "name":
			ph.Name, err = f.text(key, v)
		case "kind":
			var kind string
			kind, err = f.text(key, v)
			ph.Kind = trace.PhaseKind(kind)
		case "concurrency":
			count, err = f.count(key, v, 1<<20)
			ph.Concurrency = int(count)
		case "requests":
			ph.Requests, err = f.count(key, v, 1<<53)
		case "first_line":
			ph.FirstLine, err = f.count(key, v, 1<<53)
		case "duration":
			ph.Duration, err = f.duration(key, v)
		case "grace":
			ph.Grace, err = f.duration(key, v)
		case "handover":
			ph.Handover, err = f.boolean(key, v)
		default:
			return errUnknown
		}
		return err
	})
	return ph, err
}

// object calls one for each key of a mapping.
func (f file) object(n ast.Node, what string, one func(key string, value ast.Node) error) error {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return f.errorf(at(n), "%s must be a mapping, not %s", what, kind(n))
	}
	seen := map[string]bool{}
	for _, entry := range m.Values {
		name, ok := entry.Key.(*ast.StringNode)
		if !ok {
			return f.errorf(at(entry), "a key must be plain text")
		}
		key := name.Value
		if seen[key] {
			return f.errorf(at(entry), "the key %q is given twice", key)
		}
		seen[key] = true
		if err := one(key, entry.Value); err == errUnknown {
			return f.errorf(at(entry), "unknown key %q in %s", key, what)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (f file) text(key string, n ast.Node) (string, error) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		return "", f.errorf(at(n), "%s must be text, not %s", key, kind(n))
	}
	if s.Value == "" {
		return "", f.errorf(at(n), "%s is empty", key)
	}
	return s.Value, nil
}

// count reads a decimal integer of at least 1: the limits of a phase are left
// out where there is none, so a zero is a mistake.
func (f file) count(key string, n ast.Node, most int64) (int64, error) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return 0, f.errorf(at(n), "%s must be a whole number, not %s", key, kind(n))
	}
	v, err := strconv.ParseInt(i.GetToken().Value, 10, 64)
	if err != nil || v < 1 || v > most {
		return 0, f.errorf(at(n), "%s must be a whole number from 1 to %d", key, most)
	}
	return v, nil
}

func (f file) duration(key string, n ast.Node) (time.Duration, error) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		return 0, f.errorf(at(n), "%s must be a duration such as 90s or 1h30m, not %s", key, kind(n))
	}
	d, err := time.ParseDuration(s.Value)
	if err != nil || d <= 0 {
		return 0, f.errorf(at(n), "%s must be a duration above zero such as 90s or 1h30m", key)
	}
	return d, nil
}

func (f file) boolean(key string, n ast.Node) (bool, error) {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		return false, f.errorf(at(n), "%s must be true or false, not %s", key, kind(n))
	}
	return b.Value, nil
}

// kind names the type of a node for messages.
func kind(n ast.Node) string {
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
