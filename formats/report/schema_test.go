package report

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats/schematest"
	"wattrace/reduce"
)

const schemaFile = "report.schema.json"

// TestSchema keeps the JSON Schema of the document in step with the Go types:
// make schema writes it.
func TestSchema(t *testing.T) {
	t.Parallel()
	got := schematest.Text[reduce.Report](t, reduce.Schema, "../../reduce/*.go")
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
	s := schematest.Load(t, schemaFile)
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
	s := schematest.Load(t, schemaFile)
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
