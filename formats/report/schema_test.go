package report

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"wattrace/reduce"
)

const schemaFile = "report.schema.json"

// TestSchema keeps the JSON Schema of the document in step with the Go types:
// make schema writes it.
func TestSchema(t *testing.T) {
	t.Parallel()
	got := schemaText(t)
	if *update {
		if err := os.WriteFile(schemaFile, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s is stale: run make schema (-want +got):\n%s", schemaFile, d)
	}
}

// schemaText generates the schema of reduce.Report. Keys that are not in it are
// allowed, as the format may gain some.
func schemaText(t *testing.T) []byte {
	t.Helper()
	g := generator{docs: docs(t), defs: map[string]*jsonschema.Schema{}}
	root := g.of(reflect.TypeFor[reduce.Report]())
	name := strings.TrimPrefix(root.Ref, "#/$defs/")
	top := g.defs[name]
	delete(g.defs, name)
	top.Schema, top.Title, top.Defs = "https://json-schema.org/draft/2020-12/schema", reduce.Schema, g.defs
	top.Properties["schema"].Const = jsonschema.Ptr[any](reduce.Schema)
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

// docs reads the comments of the structs of package reduce.
func docs(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := filepath.Glob("../../reduce/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no source of package reduce: ", err)
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

// compiled is the committed schema, ready to validate.
func compiled(t *testing.T) *jsonschema.Resolved {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
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

func decode(t *testing.T, text []byte) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestGoldenReportsFitTheSchema validates every golden report of the repository,
// and checks that no key of them is unknown to it.
func TestGoldenReportsFitTheSchema(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	n := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" || filepath.Base(filepath.Dir(path)) == "report" || !strings.Contains(path, "testdata") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte(`"`+reduce.Schema+`"`)) {
			return err
		}
		n++
		if err := s.Validate(decode(t, text)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		strict := json.NewDecoder(bytes.NewReader(text))
		strict.DisallowUnknownFields()
		if err := strict.Decode(new(reduce.Report)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return nil
	})
	if err != nil || n < 2 {
		t.Errorf("%d golden reports: %v", n, err)
	}
}

// What is no report does not fit.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	var b bytes.Buffer
	if err := WriteJSON(&b, example()); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(decode(t, b.Bytes())); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(report, phase, metrics map[string]any){
		"another schema":         func(r, _, _ map[string]any) { r["schema"] = "wattrace.report/2" },
		"no phases":              func(r, _, _ map[string]any) { delete(r, "phases") },
		"phases that are none":   func(r, _, _ map[string]any) { r["phases"] = "none" },
		"a phase without a kind": func(_, ph, _ map[string]any) { delete(ph, "kind") },
		"half a request":         func(_, ph, _ map[string]any) { ph["requests"].(map[string]any)["sent"] = 1.5 },
		"a metric without a value": func(_, _, m map[string]any) {
			delete(m[reduce.TotalGPUEnergy].(map[string]any), "value")
		},
		"a metric without a unit": func(_, _, m map[string]any) { delete(m[reduce.TotalGPUPower].(map[string]any), "unit") },
		"a distribution without its median": func(_, _, m map[string]any) {
			delete(m[reduce.TimeToFirstToken].(map[string]any), "p50")
		},
		"a value that is null": func(_, _, m map[string]any) { m[reduce.TotalGPUEnergy].(map[string]any)["value"] = nil },
	} {
		v := decode(t, b.Bytes())
		phase := v["phases"].([]any)[0].(map[string]any)
		edit(v, phase, phase["metrics"].(map[string]any))
		if s.Validate(v) == nil {
			t.Errorf("%s fits the schema", name)
		}
	}
	v := decode(t, b.Bytes())
	v["phases"].([]any)[0].(map[string]any)["new_key"] = 1
	if err := s.Validate(v); err != nil {
		t.Errorf("a key that is new: %v", err)
	}
}
