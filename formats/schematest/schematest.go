// Package schematest generates JSON Schemas (draft 2020-12) of documents from their Go
// types, for tests that keep committed schemas in step with them.
package schematest

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

// Text returns the schema of the document T, whose key schema has the given value. The
// comments of the Go files that the patterns name become descriptions. Keys that are not
// in it are allowed, as a format may gain some.
func Text[T any](t *testing.T, schema string, sources ...string) []byte {
	t.Helper()
	g := generator{docs: docs(t, sources), defs: map[string]*jsonschema.Schema{}}
	root := g.of(reflect.TypeFor[T]())
	name := strings.TrimPrefix(root.Ref, "#/$defs/")
	top := g.defs[name]
	delete(g.defs, name)
	top.Schema, top.Title, top.Defs = "https://json-schema.org/draft/2020-12/schema", schema, g.defs
	top.Properties["schema"].Const = jsonschema.Ptr[any](schema)
	compact, err := json.Marshal(top)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, compact, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// generator makes schemas of Go types as encoding/json writes them.
type generator struct {
	docs map[string]string // comments of types and, after a point, of fields
	defs map[string]*jsonschema.Schema
}

// of returns the schema of a type: of a struct a reference.
func (g *generator) of(t reflect.Type) *jsonschema.Schema {
	if t == reflect.TypeFor[json.RawMessage]() { // another format's object
		return &jsonschema.Schema{Type: "object"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.of(t.Elem())
	case reflect.Struct:
		if _, ok := g.defs[t.Name()]; !ok {
			s := &jsonschema.Schema{Type: "object", Description: g.docs[t.Name()], Properties: map[string]*jsonschema.Schema{}}
			g.defs[t.Name()] = s // before its fields: a phase has windows, which are phases
			g.fields(s, t)
		}
		return &jsonschema.Schema{Ref: "#/$defs/" + t.Name()}
	case reflect.Slice:
		return &jsonschema.Schema{Type: "array", Items: g.of(t.Elem())}
	case reflect.Map:
		return &jsonschema.Schema{Type: "object", AdditionalProperties: g.of(t.Elem())}
	case reflect.String:
		return &jsonschema.Schema{Type: "string"}
	case reflect.Bool:
		return &jsonschema.Schema{Type: "boolean"}
	case reflect.Float64:
		return &jsonschema.Schema{Type: "number"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return &jsonschema.Schema{Type: "integer"}
	}
	panic("no JSON is known of " + t.String())
}

// fields adds the fields of a struct. Of embedded pointers one at least is there,
// with all that it needs.
func (g *generator) fields(s *jsonschema.Schema, t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "-" || !f.IsExported() {
			continue
		}
		if f.Anonymous && key == "" {
			part := &jsonschema.Schema{Properties: s.Properties}
			if f.Type.Kind() != reflect.Pointer {
				part = s
			}
			g.fields(part, deref(f.Type))
			s.PropertyOrder = append(s.PropertyOrder, part.PropertyOrder...)
			if part != s {
				s.AnyOf = append(s.AnyOf, &jsonschema.Schema{Required: part.Required})
			}
			continue
		}
		value := g.of(f.Type)
		value.Description = g.docs[t.Name()+"."+f.Name]
		s.Properties[key] = value
		s.PropertyOrder = append(s.PropertyOrder, key)
		if !strings.Contains(options, "omit") {
			s.Required = append(s.Required, key)
		}
	}
}

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// docs reads the comments of structs.
func docs(t *testing.T, sources []string) map[string]string {
	t.Helper()
	all := map[string]string{}
	var files []string
	for _, pattern := range sources {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no source fits %s: %v", pattern, err)
		}
		files = append(files, found...)
	}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			types, ok := decl.(*ast.GenDecl)
			if !ok || types.Tok != token.TYPE {
				continue
			}
			for _, spec := range types.Specs {
				spec := spec.(*ast.TypeSpec)
				all[spec.Name.Name] = oneLine(types.Doc.Text() + spec.Doc.Text())
				if s, ok := spec.Type.(*ast.StructType); ok {
					for _, field := range s.Fields.List {
						for _, name := range field.Names {
							all[spec.Name.Name+"."+name.Name] = oneLine(field.Doc.Text() + field.Comment.Text())
						}
					}
				}
			}
		}
	}
	return all
}

func oneLine(comment string) string { return strings.Join(strings.Fields(comment), " ") }

// Load returns the schema of a file, ready to validate.
func Load(t *testing.T, path string) *jsonschema.Resolved {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
