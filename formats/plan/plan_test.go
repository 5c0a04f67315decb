package plan

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/formats/strictyaml"
	"wattrace/trace"
)

var example = trace.Plan{Phases: []trace.Phase{
	{Name: "idle", Kind: trace.Idle, Duration: 10 * time.Second},
	{Name: "warmup", Kind: trace.Warmup, Concurrency: 16, Requests: 64},
	{Name: "profiling", Kind: trace.Measure, Concurrency: 64, Duration: 2 * time.Minute, Grace: 30 * time.Second},
}}

func TestReadExample(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := Read(f, "example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestDocExample checks that the file that the specification shows is the one
// in testdata.
func TestDocExample(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var commented strings.Builder
	for line := range strings.Lines(string(want)) {
		commented.WriteString("//\t" + line)
	}
	if !strings.Contains(string(doc), commented.String()) {
		t.Error("doc.go does not show testdata/example.yaml")
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	const head = "schema: wattrace.plan/1\nphases:\n"
	for _, test := range []struct{ name, in, want string }{
		{"empty", "", "p.yaml: a plan is one YAML document that begins with schema: wattrace.plan/1"},
		{"two documents", head + "---\na: 1\n", "p.yaml: a plan is one YAML document that begins with schema: wattrace.plan/1"},
		{"a list", "- 1\n", "p.yaml:1:1: the plan must be a mapping, not a list"},
		{"no schema", "phases:\n  - {name: a, concurrency: 1}\n", "p.yaml:1:1: the plan has no key schema (schema: wattrace.plan/1)"},
		{"newer", "schema: wattrace.plan/2\n", `p.yaml:1:9: schema "wattrace.plan/2" is not known here (this program knows wattrace.plan/1)`},
		{"other", "schema: wattrace.report/1\n", `p.yaml:1:9: schema "wattrace.report/1" is not a plan (wattrace.plan/1)`},
		{"no phase", "schema: wattrace.plan/1\n", "p.yaml:1:1: the plan has no phase"},
		{"not a list", "schema: wattrace.plan/1\nphases: 3\n", "p.yaml:2:9: phases must be a list, not a number"},
		{"unknown top", "schema: wattrace.plan/1\nphase: []\n", `p.yaml:2:1: unknown key "phase" in the plan`},
		{"unknown key", head + "  - name: a\n    concurency: 1\n", `p.yaml:4:5: unknown key "concurency" in a phase`},
		{"twice", head + "  - name: a\n    name: b\n", `p.yaml:4:5: mapping key "name" already defined at [3:5]`},
		{"syntax", head + "  - name: [a\n", "p.yaml:3:11: sequence end token ']' not found"},
		{"type of name", head + "  - name: 7\n", "p.yaml:3:11: name must be text, not a number"},
		{"empty name", head + "  - name: ''\n", "p.yaml:3:11: name is empty"},
		{"no name", head + "  - concurrency: 1\n", "p.yaml:3:5: phase 1 has no name"},
		{"type of number", head + "  - name: a\n    concurrency: many\n", "p.yaml:4:18: concurrency must be a whole number, not text"},
		{"float", head + "  - name: a\n    requests: 1.5\n", "p.yaml:4:15: requests must be a whole number, not a number"},
		{"zero", head + "  - name: a\n    concurrency: 1\n    requests: 0\n", "p.yaml:5:15: requests must be a whole number from 1 to 9007199254740992"},
		{"duration number", head + "  - name: a\n    duration: 3\n", "p.yaml:4:15: duration must be a duration such as 90s or 1h30m, not a number"},
		{"duration text", head + "  - name: a\n    duration: soon\n", "p.yaml:4:15: duration must be a duration above zero such as 90s or 1h30m"},
		{"duration zero", head + "  - name: a\n    grace: 0s\n", "p.yaml:4:12: grace must be a duration above zero such as 90s or 1h30m"},
		{"bool", head + "  - name: a\n    handover: yes\n", "p.yaml:4:15: handover must be true or false, not text"},
		{"kind", head + "  - name: a\n    kind: hot\n    concurrency: 1\n", `p.yaml:3:5: phase "a": unknown kind "hot" (idle, warmup, measure, cooldown)`},
		{"second phase", head + "  - {name: a, concurrency: 1}\n  - {name: a, concurrency: 1}\n", `p.yaml:4:5: phase "a": the name is used twice`},
		{"handover last", head + "  - {name: a, concurrency: 1, handover: true}\n  - {name: b, concurrency: 1, handover: true}\n", `p.yaml:4:5: phase "b": handover needs a phase after it`},
		{"idle handover", head + "  - {name: a, kind: idle, duration: 1s, handover: true}\n  - {name: b, concurrency: 1}\n", `p.yaml:3:5: phase "a": an idle phase has a duration and nothing else`},
		{"no concurrency", head + "  - name: a\n", `p.yaml:3:5: phase "a": concurrency must be at least 1`},
		{"null", head + "  - name: a\n    requests:\n", "p.yaml:4:15: requests must be a whole number, not null"},
		{"anchor", head + "  - &x {name: a, concurrency: 1}\n", "p.yaml:3:5: a phase must be a mapping, not anchor"},
		{"bad UTF-8", "schema: \xff\n", "p.yaml: invalid UTF-8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := Read(strings.NewReader(test.in), "p.yaml")
			var syn *trace.SyntaxError
			if !errors.As(err, &syn) {
				t.Fatalf("error %v is no *trace.SyntaxError", err)
			}
			if err.Error() != test.want {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
		})
	}
}

func TestReadTooLong(t *testing.T) {
	t.Parallel()
	in := "schema: wattrace.plan/1 # " + strings.Repeat("x", strictyaml.MaxFile)
	if _, err := Read(strings.NewReader(in), "p"); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("error %v", err)
	}
}

// plans draws valid plans.
func plans(t *rapid.T) trace.Plan {
	n := rapid.IntRange(1, 5).Draw(t, "phases")
	var p trace.Plan
	for i := range n {
		name := rapid.StringOfN(rapid.RuneFrom(nil, unicode.L, unicode.P), 0, 8, -1).Draw(t, "name") + string(rune('0'+i))
		after := i > 0 && p.Phases[i-1].Handover // which cannot be idle
		if !after && rapid.Bool().Draw(t, "idle") {
			p.Phases = append(p.Phases, trace.Phase{Name: name, Kind: trace.Idle, Duration: time.Duration(rapid.Int64Range(1, 1<<50).Draw(t, "d"))})
			continue
		}
		p.Phases = append(p.Phases, trace.Phase{
			Name:        name,
			Kind:        rapid.SampledFrom([]trace.PhaseKind{trace.Warmup, trace.Measure, trace.Cooldown}).Draw(t, "kind"),
			Concurrency: rapid.IntRange(1, trace.MaxConcurrency).Draw(t, "c"),
			Requests:    rapid.Int64Range(0, 1<<53).Draw(t, "r"),
			Duration:    time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, "d")),
			FirstLine:   rapid.Int64Range(0, 1<<53).Draw(t, "f"),
			Grace:       time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "g")),
			Handover:    i < n-1 && rapid.Bool().Draw(t, "h"),
		})
	}
	return p
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := plans(t)
		var b bytes.Buffer
		if err := Write(&b, &want); err != nil {
			t.Fatal(err)
		}
		got, err := Read(&b, "p")
		if err != nil {
			t.Fatalf("%v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("YAML (-want +got)\n%s", diff)
		}
		got, err = ParseJSON(AppendJSON(nil, &want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("JSON (-want +got)\n%s", diff)
		}
		if got, err = Read(bytes.NewReader(AppendJSON(nil, &want)), "p"); err != nil {
			t.Fatalf("the JSON form is no YAML: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("JSON as YAML (-want +got)\n%s", diff)
		}
	})
}

// TestWriteExample checks that the example is written as people write it.
func TestWriteExample(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Write(&b, &example); err != nil {
		t.Fatal(err)
	}
	got := strings.NewReplacer(`"idle"`, "idle", `"warmup"`, "warmup", `"profiling"`, "profiling").Replace(b.String())
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestParseJSONErrors(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"schema":"wattrace.plan/2"}`:                                           `plan: schema "wattrace.plan/2" is not known here (this program knows wattrace.plan/1)`,
		`{"schema":"wattrace.plan/1"}`:                                           "plan: the plan has no phase",
		`{"schema":"wattrace.plan/1","phases":3}`:                                "plan: cannot unmarshal number into Go struct field .phases",
		`{"schema":"wattrace.plan/1","phases":[{"name":"a","duration":3}]}`:      `plan: a duration must be a string such as "90s"`,
		`{"schema":"wattrace.plan/1","phases":[{"name":"a","duration":"soon"}]}`: `plan: duration "soon" is not one such as 90s`,
	} {
		if _, err := ParseJSON([]byte(in)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", in, err, want)
		}
	}
	got, err := ParseJSON([]byte(`{"schema":"wattrace.plan/1","new":1,"phases":[{"name":"a","concurrency":2,"new":[]}]}`))
	if err != nil {
		t.Fatalf("unknown keys: %v", err)
	}
	if diff := cmp.Diff(trace.Plan{Phases: []trace.Phase{{Name: "a", Kind: trace.Measure, Concurrency: 2}}}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// FuzzReadHostile checks that no input makes Read panic, and that what it
// accepts is valid and survives a round trip.
func FuzzReadHostile(f *testing.F) {
	b, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("schema: wattrace.plan/1\nphases: [{name: a, concurrency: 1}]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Read(bytes.NewReader(b), "p")
		if err != nil {
			return
		}
		if err := p.Validate(); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		var out bytes.Buffer
		if err := Write(&out, &p); err != nil {
			t.Fatal(err)
		}
		again, err := Read(&out, "p")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, again); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}
