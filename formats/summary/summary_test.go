package summary

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
)

var update = flag.Bool("update", false, "write the schema anew")

const schemaFile = "summary.schema.json"

func ptr[T any](v T) *T { return &v }

// whole is a summary with something under every key.
func whole() *Summary {
	number := map[string]Metric{"total_gpu_energy": {Unit: "J", Value: ptr(44215.5), Method: "counter", DevicesCovered: 2, Uncertainty: &Uncertainty{6, 2300}}}
	return &Summary{
		Schema: Schema, Producer: "wattrace 0.1.0", Kind: Run, Status: Incomplete, Reason: "2 of 64 requests failed",
		Start: "2026-11-27T15:50:00.000000000Z", End: "2026-11-27T15:52:00.000000000Z", Host: "node1",
		Settings: map[string]string{"concurrency": "8", "set": "[a=<b>]"}, InputFile: "/data/trace.jsonl",
		Trace:    &Trace{Path: "/data/trace.jsonl", SHA256: "9f86", Turns: 64, Synthetic: &Synthetic{InputTokens: 1000, OutputTokens: 1000, Requests: 64, Seed: 1, Model: "m", Target: "vllm"}},
		Plan:     json.RawMessage(`{"schema":"wattrace.plan/1","phases":[{"name":"profiling","concurrency":8}]}`),
		Server:   &Server{Command: []string{"trtllm-serve", "m"}, URLs: []string{"http://127.0.0.1:8000"}, Version: "1.2", Log: "server.log", ReadySeconds: ptr(61.5), End: "stopped"},
		Workload: &Workload{Command: "trtllm-bench", Marks: []string{"a=b"}},
		Tools:    map[string]string{"record": "0.1.0"}, ReturnCodes: map[string]int{"replay": 3},
		Devices:   []Device{{Device: "GPU-1", Host: "node1", Name: "H100", Source: "nvml", Scope: "gpu", Architecture: "hopper", Driver: "580", PCIBusID: "00000000:01:00.0", MIG: true, Simulated: true}},
		Clocks:    &Clocks{Requests: &Clock{"node1", "b7", "1780000000000000000", "1", "1"}, Telemetry: &Clock{Host: "node1", UnixNanos: "1"}},
		Artifacts: map[string]string{"report": "report.json"},
		Phases: []Phase{{Name: "idle_before", Kind: "idle", Metrics: number}, {Name: "profiling", Kind: "measure", Start: "s", End: "e", DurationSeconds: ptr(37.0), Concurrency: 8,
			Requests: &Requests{64, 62, 2, 0}, Devices: &Devices{2, 2, []string{}}, Metrics: number}},
		EnergyCheck: &EnergyCheck{Method: "m", Absent: "why", Window: "counter check", Start: "s", End: "e", Devices: 2, CounterJoules: ptr(1.0), ResolutionJoules: ptr(1.0), ReportJoules: ptr(1.0), DifferenceJoules: ptr(0.0), DifferenceRelative: ptr(0.0)},
		Warnings:    []Warning{{Code: "simulated", Message: "m", Phase: "profiling"}},
		Runs:        []RunOf{{Directory: "c8-r1", Concurrency: 8, Repeat: 1, Status: Complete, Phase: "profiling", Reason: "r", Metrics: number}},
		Points:      []Point{{Concurrency: 8, Runs: 1, Metrics: map[string]Statistic{"total_gpu_energy": {Unit: "J", Mean: 1, Min: 1, Max: 1, Count: 1, Std: ptr(0.5)}}}},
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	want := whole()
	for i := range reflect.ValueOf(*want).NumField() {
		if reflect.ValueOf(*want).Field(i).IsZero() {
			t.Errorf("the test says nothing of %s", reflect.TypeFor[Summary]().Field(i).Name)
		}
	}
	var b, again bytes.Buffer
	if err := Write(&b, want); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if !strings.Contains(text, "[a=<b>]") {
		t.Error("< is escaped")
	}
	got, err := Read(&b, "s.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := Write(&again, got); err != nil || again.String() != text {
		t.Error("written again it has other bytes: ", err)
	}
	if h := got.Headline(); h == nil || h.Name != "profiling" {
		t.Errorf("headline %+v", h)
	}
	if (&Summary{}).Headline() != nil {
		t.Error("a headline of nothing")
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	check := func(in, want string) {
		t.Helper()
		_, err := Read(strings.NewReader(in), "s.json")
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
	check(``, "s.json: unexpected end of JSON input")
	check("{\n \"schema\": ]", `s.json:2:12: invalid character ']' looking for beginning of value`)
	check(`{"schema":"wattrace.summary/2"}`, `s.json: schema "wattrace.summary/2": newer than this program, which knows wattrace.summary/1`)
	check(`{"schema":"wattrace.report/1"}`, `s.json: schema "wattrace.report/1": not a summary of measure`)
	check(`{"schema":"wattrace.summary/0"}`, `s.json: schema "wattrace.summary/0": not a summary of measure`)
	check("{\"schema\":\"wattrace.summary/1\",\n\"phases\":1}", `s.json:2:10: "phases" is a JSON number`)
	if s, err := Read(strings.NewReader(`{"schema":"wattrace.summary/1","later":1,"status":"complete"}`), "s.json"); err != nil || !s.Status.Finished() {
		t.Error("a key of a later version: ", err)
	}
}

func FuzzReadWriteRoundTrip(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, whole()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"schema":"wattrace.summary/1"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := Read(bytes.NewReader(in), "-")
		if err != nil {
			return
		}
		var one, two bytes.Buffer
		if err := Write(&one, s); err != nil {
			t.Fatal(err)
		}
		s, err = Read(bytes.NewReader(one.Bytes()), "-")
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(&two, s); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Fatalf("%s\n%s\n%v", one.Bytes(), two.Bytes(), err)
		}
	})
}

// TestSchema keeps the JSON Schema in step with the Go types: make schema writes it.
// The whole summary is valid by it.
func TestSchema(t *testing.T) {
	t.Parallel()
	schema, err := jsonschema.For[Summary](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[json.RawMessage](): {Type: "object"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	schema.Schema, schema.Title = "https://json-schema.org/draft/2020-12/schema", Schema
	schema.Properties["schema"].Const = jsonschema.Ptr[any](Schema)
	for key, values := range map[string][]any{
		"kind": {Run, Sweep}, "status": {Running, Complete, Incomplete, Failed, Interrupted},
	} {
		schema.Properties[key].Enum = values
	}
	open(schema)
	got, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
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
	read := new(jsonschema.Schema)
	if err := json.Unmarshal(want, read); err != nil {
		t.Fatal(err)
	}
	resolved, err := read.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Write(&b, whole()); err != nil {
		t.Fatal(err)
	}
	valid := func(text string) error {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return resolved.Validate(v)
	}
	if err := valid(b.String()); err != nil {
		t.Error(err)
	}
	if valid(strings.Replace(b.String(), `"kind": "run"`, `"kind": "walk"`, 1)) == nil {
		t.Error("a kind that there is none of is valid")
	}
	if valid(strings.Replace(b.String(), `"sent": 64`, `"sent": "64"`, 1)) == nil {
		t.Error("a number in quotes is valid")
	}
}

// open allows keys of later versions, and no nulls: what is not known is absent.
func open(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if len(s.Properties) > 0 {
		s.AdditionalProperties = nil
	}
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
	for _, p := range s.Properties {
		open(p)
	}
	open(s.Items)
	open(s.AdditionalProperties)
}
