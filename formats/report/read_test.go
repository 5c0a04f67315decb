package report

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/reduce"
)

// What was written is read back, but for slices, which are numbered windows.
func TestReadWhatWasWritten(t *testing.T) {
	t.Parallel()
	want := example()
	want.Phases[0].Windows = append(want.Phases[0].Windows, reduce.Phase{Name: "steady", Kind: "window", Metrics: map[string]reduce.Metric{}, PerDevice: []reduce.PerDevice{}, Windows: []reduce.Phase{}})
	var b bytes.Buffer
	if err := WriteJSON(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b, "report.json")
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Phases { // of the slices nothing is left
		var windows []reduce.Phase
		for _, w := range want.Phases[i].Windows {
			if strings.Trim(w.Name, "0123456789") != "" {
				windows = append(windows, w)
			}
		}
		want.Phases[i].Windows = windows
	}
	if d := cmp.Diff(want, got, cmp.Comparer(sameJSON)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestReadNamesTheFault(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":   `report.json:1:1: not JSON: it was cut off`,
		"[]": `report.json:1:1: want an object`,
		"{}": `report.json: not a report: no "schema"`,
		`{"schema":"wattrace.report/2","phases":[]}`:                       `report.json:1:11: schema "wattrace.report/2" is newer than this program, which knows "wattrace.report/1"`,
		`{"schema":"wattrace.requests/1"}`:                                 `report.json:1:11: not a report: schema "wattrace.requests/1"`,
		`{"schema":"wattrace.report/1"}`:                                   `report.json: not a report: no "phases"`,
		"{\n \"schema\": 7}":                                               `report.json:2:12: schema: want a text, not a number`,
		`{"schema":"wattrace.report/1","phases":{}}`:                       `report.json:1:40: want an array`,
		`{"schema":"wattrace.report/1","phases":[7]}`:                      `report.json:1:41: want an object`,
		`{"schema":"wattrace.report/1","phases":[]} {}`:                    `report.json:1:44: data after the report's end`,
		`{"schema":"wattrace.report/1","schema":"x"}`:                      `duplicate object member name`,
		"{\"schema\":\"wattrace.report/1\",\"phases\":[\n{\"name\":\"p\",": `report.json:2:13: not JSON: it was cut off`,
		"{\"schema\":\"wattrace.report/1\",\"phases\":[{\"metrics\":{\n\"total_gpu_energy\":{\"value\":\"x\"}}}]}":              `report.json:2:31: value: want a number, not a string`,
		"{\"schema\":\"wattrace.report/1\",\"phases\":[{\"metrics\":{\n\"a\":{\"value\":1e999}}}]}":                             `want a number, not a number 1e999`,
		"{\"schema\":\"wattrace.report/1\",\"phases\":[{\"name\":\"p\",\n\"duration_seconds\":-3}]}":                            `report.json:2:20: duration_seconds is -3: no phase ends before it starts`,
		"{\"schema\":\"wattrace.report/1\",\"phases\":[{\"metrics\":{\"total_gpu_energy\":{\"value\":-1e308}}}]}":               `report.json:1:52: metrics.total_gpu_energy.value is -1e+308: that can't be negative`,
		"{\"schema\":\"wattrace.report/1\",\"phases\":[{\"metrics\":{\"x\":{\"value\":1,\"uncertainty\":{\"random\":-1}}}}]}":   `metrics.x.uncertainty: none is negative`,
		"{\"schema\":\"wattrace.report/1\",\"phases\":[{\"per_device\":[{},{\"metrics\":{\"gpu_energy\":{\"value\":-1}}}]}]}":   `per_device[1].metrics.gpu_energy.value is -1`,
		"{\"schema\":\"wattrace.report/1\",\"phases\":[{\"windows\":[{\"name\":\"steady\",\"requests\":{\"succeeded\":-2}}]}]}": `window "steady": requests.succeeded is -2: no count is negative`,
		"{\"schema\":\"wattrace.report/1\",\"phases\":[{\"metrics\":{\"ttft\":{\"p50\":1,\"count\":-2}}}]}":                     `metrics.ttft.count is -2`,
		"{\"schema\":\"wattrace.report/1\",\"phases\":[{\"name\":\"\xff\"}]}":                                                   `invalid UTF-8`,
	} {
		_, err := Read(strings.NewReader(in), "report.json")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

// A report that is cut anywhere is refused, never taken for a shorter one.
func TestReadRefusesEveryCut(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WriteJSON(&b, example()); err != nil {
		t.Fatal(err)
	}
	text := bytes.TrimRight(b.Bytes(), "\n")
	for n := 0; n < len(text); n += 7 {
		if _, err := Read(bytes.NewReader(text[:n]), "-"); err == nil {
			t.Fatalf("%d of %d bytes are a report", n, len(text))
		}
	}
}

// FuzzReadIsWhatJSONSays: what is read without an error is what encoding/json reads.
func FuzzReadIsWhatJSONSays(f *testing.F) {
	for _, path := range []string{"testdata/example.json", "../../cmd/internal/reduce/testdata/smi.json"} {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"schema":"wattrace.report/1","phases":[{"name":"a","windows":[{"name":"1"},{"name":"steady"}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := Read(bytes.NewReader(text), "f")
		if err != nil {
			return
		}
		var want reduce.Report
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("read, but it is not JSON: %v", err)
		}
		if len(got.Phases) != len(want.Phases) || len(got.Warnings) != len(want.Warnings) || len(got.Devices) != len(want.Devices) {
			t.Errorf("%d phases of %d", len(got.Phases), len(want.Phases))
		}
		for i := range got.Phases {
			if d := cmp.Diff(want.Phases[i].Metrics, got.Phases[i].Metrics); d != "" {
				t.Error(d)
			}
		}
	})
}
