package plan

import (
	"bytes"
	"errors"
	"fmt"
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
		{"beyond 64 bits", head + "  - name: a\n    requests: 99999999999999999999999\n", "p.yaml:4:15: requests is out of range: it must be a whole number from 1 to 9007199254740992"},
		{"far below", head + "  - name: a\n    requests: -99999999999999999999999\n", "p.yaml:4:15: requests is out of range: it must be a whole number from 1 to 9007199254740992"},
		{"digits in quotes", head + "  - name: a\n    requests: '99999999999999999999999'\n", "p.yaml:4:15: requests must be a whole number, not text"},
		{"BOM", "\ufeff" + head + "  - {name: a, concurrency: 1}\n", "p.yaml:1:1: the file begins with a byte order mark, which is not supported: save it as UTF-8 without one"},
		{"anchor", head + "  - &x {name: a, concurrency: 1}\n", "p.yaml:3:5: anchors, aliases and merge keys (&, *, <<) are not supported: write the value out"},
		{"alias", head + "  - {name: a, concurrency: *x}\n", "p.yaml:3:28: anchors, aliases and merge keys (&, *, <<) are not supported: write the value out"},
		{"merge", head + "  - {<<: {name: a}, concurrency: 1}\n", "p.yaml:3:6: anchors, aliases and merge keys (&, *, <<) are not supported: write the value out"},
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
		ph := trace.Phase{
			Name:        name,
			Kind:        rapid.SampledFrom([]trace.PhaseKind{trace.Warmup, trace.Measure, trace.Cooldown}).Draw(t, "kind"),
			Concurrency: rapid.IntRange(1, trace.MaxConcurrency).Draw(t, "c"),
			Requests:    rapid.Int64Range(0, 1<<53).Draw(t, "r"),
			Duration:    time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, "d")),
			FirstLine:   rapid.Int64Range(0, 1<<53).Draw(t, "f"),
			Grace:       time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "g")),
			Handover:    i < n-1 && rapid.Bool().Draw(t, "h"),
		}
		load(t, &ph)
		p.Phases = append(p.Phases, ph)
	}
	p.Seed = rapid.Uint64Range(0, 1<<53).Draw(t, "seed")
	return p
}

// load draws the load of a phase that is a closed loop.
func load(t *rapid.T, ph *trace.Phase) {
	span := func(least int64) time.Duration {
		return time.Duration(rapid.Int64Range(least, 1<<40).Draw(t, "span"))
	}
	number := func() float64 { return rapid.Float64Range(1e-3, trace.MaxRate).Draw(t, "number") }
	if rapid.Bool().Draw(t, "cancel") {
		ph.CancelShare, ph.CancelAfter = rapid.Float64Range(1e-3, 1).Draw(t, "share"), span(1)
	}
	ph.Prefills = rapid.IntRange(0, 9).Draw(t, "prefills")
	ph.MaxErrorRate = rapid.Float64Range(0, 0.99).Draw(t, "errors")
	kind := rapid.SampledFrom([]trace.LoadKind{trace.ClosedLoop, trace.OpenLoop, trace.TraceTimes, trace.UserLoop}).Draw(t, "load")
	if kind == trace.TraceTimes {
		ph.FirstLine = 0
		ph.FromTrace, ph.Speedup, ph.MaxGap = true, number(), span(0)
		ph.Strict, ph.From = rapid.Bool().Draw(t, "strict"), span(0)
		if rapid.Bool().Draw(t, "to") {
			ph.To = ph.From + span(1)
		}
		return
	}
	ph.Order = rapid.SampledFrom([]trace.Order{"", trace.Sequential, trace.Shuffle, trace.Random}).Draw(t, "order")
	if ph.Order == trace.Shuffle || ph.Order == trace.Random {
		ph.FirstLine = 0
	}
	ph.Repeat = rapid.IntRange(0, 9).Draw(t, "repeat")
	switch kind {
	case trace.OpenLoop:
		ph.Rate, ph.Concurrency = number(), rapid.IntRange(0, 9).Draw(t, "at most")
		ph.Arrival = rapid.SampledFrom([]trace.Arrival{"", trace.Poisson, trace.Constant, trace.Gamma}).Draw(t, "arrival")
		if ph.Arrival == trace.Gamma {
			ph.Shape = number()
		}
	case trace.UserLoop:
		ph.Users, ph.TurnGap, ph.Concurrency = rapid.IntRange(1, 99).Draw(t, "users"), span(1), 0
		return
	default:
		ph.Think = span(0)
	}
	if rapid.Bool().Draw(t, "ramp") {
		ph.RampShape = rapid.SampledFrom([]trace.RampShape{"", trace.Linear, trace.Exponential}).Draw(t, "shape")
		at := time.Duration(0)
		for range rapid.IntRange(2, 4).Draw(t, "points") {
			ph.Ramp = append(ph.Ramp, trace.RampPoint{At: at, Value: number()})
			at += span(1)
		}
	} else if kind == trace.ClosedLoop {
		ph.Stagger = span(0)
	}
}

func TestReadLoads(t *testing.T) {
	t.Parallel()
	const in = `schema: wattrace.plan/1
seed: 7
phases:
  - {name: a, rate: 20, arrival: gamma, shape: 0.5, requests: 100, ramp: {from: 2, over: 30s, shape: exponential}}
  - {name: b, concurrency: 8, think: 1s, ramp: {points: [{at: 0s, value: 0}, {at: 10s, value: 4}]}}
  - {name: c, times: trace, speedup: 10, from: 1m, to: 2m, concurrency: 64}
  - {name: d, users: 4, turn_gap: 10s, order: shuffle, cancel_share: 0.1, cancel_after: 2s}
`
	want := trace.Plan{Seed: 7, Phases: []trace.Phase{
		{Name: "a", Kind: trace.Measure, Requests: 100, Load: trace.Load{Rate: 20, Arrival: trace.Gamma, Shape: 0.5, RampShape: trace.Exponential, Ramp: []trace.RampPoint{{Value: 2}, {At: 30 * time.Second, Value: 20}}}},
		{Name: "b", Kind: trace.Measure, Concurrency: 8, Load: trace.Load{Think: time.Second, Ramp: []trace.RampPoint{{}, {At: 10 * time.Second, Value: 4}}}},
		{Name: "c", Kind: trace.Measure, Concurrency: 64, Load: trace.Load{FromTrace: true, Speedup: 10, From: time.Minute, To: 2 * time.Minute}},
		{Name: "d", Kind: trace.Measure, Load: trace.Load{Users: 4, TurnGap: 10 * time.Second, Order: trace.Shuffle, CancelShare: 0.1, CancelAfter: 2 * time.Second}},
	}}
	got, err := Read(strings.NewReader(in), "p")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestLoadErrors reads phases whose keys contradict each other.
func TestLoadErrors(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"rate: 0":                                      "3:21: rate must be a number above zero",
		"rate: 2, users: 3, turn_gap: 1s":              `3:5: phase "a": rate, times and users exclude each other`,
		"rate: 2, think: 1s":                           `3:5: phase "a": think means nothing in an open loop at a rate`,
		"rate: 2, arrival: even":                       `3:5: phase "a": unknown arrival "even" (poisson, constant, gamma)`,
		"rate: 2, arrival: gamma":                      `3:5: phase "a": gamma arrivals and a shape need each other`,
		"rate: 2, shape: 2":                            `3:5: phase "a": gamma arrivals and a shape need each other`,
		"rate: 2000000":                                `3:5: phase "a": rate must be at most 1e+06`,
		"times: clock":                                 "3:22: times is \"clock\", and must be one of trace",
		"times: trace, from: 2m, to: 1m":               `3:5: phase "a": to must be after from`,
		"concurrency: 1, speedup: 2":                   `3:5: phase "a": speedup means nothing in a closed loop`,
		"users: 3":                                     `3:5: phase "a": users need a turn_gap`,
		"concurrency: 1, cancel_share: 0.5":            `3:5: phase "a": cancel needs a share, from 0 to 1, and a time after which`,
		"concurrency: 1, order: backwards":             `3:5: phase "a": unknown order "backwards" (sequential, shuffle, random)`,
		"concurrency: 1, order: random, first_line: 2": `3:5: phase "a": first_line means nothing in the order "random"`,
		"concurrency: 4, ramp: {from: 1}":              "3:37: a ramp has from and over, or points",
		"concurrency: 4, ramp: {over: 1s, points: []}": "3:37: a ramp has from and over, or points",
		"concurrency: 4, ramp: {points: []}":           "3:37: a ramp has from and over, or points",
		"concurrency: 4, ramp: {points: [{at: 1s, value: 1}, {at: 2s, value: 4}]}": `3:5: phase "a": a ramp begins at 0 and has an end`,
		"concurrency: 4, ramp: {points: [{at: 0s, value: 1}, {at: 0s, value: 4}]}": `3:5: phase "a": the points of a ramp must be in order of time`,
		"rate: 4, ramp: {from: 0, over: 1s, shape: exponential}":                   `3:5: phase "a": an exponential ramp cannot begin or end at 0`,
		"rate: 4, ramp: {from: -1, over: 1s}":                                      "3:37: from must be a number of at least zero",
		"concurrency: 4, ramp: {from: 1, over: 1s, shape: round}":                  `3:64: shape is "round", and must be one of linear, exponential`,
		"concurrency: 1, stagger: 1s, ramp: {from: 1, over: 1s}":                   `3:5: phase "a": stagger and ramp exclude each other`,
		"rate: 4, duration: 1s, normalize: true":                                   `3:5: phase "a": normalize needs a number of requests and no ramp`,
		"concurrency: 1, max_error_rate: 1.5":                                      `3:5: phase "a": max_error_rate must be from 0 to less than 1`,
		"kind: idle, duration: 1s, rate: 3":                                        `3:5: phase "a": an idle phase has a duration and nothing else`,
	} {
		_, err := Read(strings.NewReader("schema: wattrace.plan/1\nphases:\n  - {name: a, "+in+"}\n"), "p")
		if err == nil || err.Error() != "p:"+want {
			t.Errorf("%s:\ngot  %v\nwant p:%s", in, err, want)
		}
	}
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
		`{"schema":"wattrace.plan/1","phases":[{"name":"a","duration":3}]}`:      `plan: duration: a duration must be a string such as "90s"`,
		`{"schema":"wattrace.plan/1","phases":[{"name":"a","duration":"soon"}]}`: `plan: duration: duration "soon" is not one such as 90s`,
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

// What a short file can nest, and a long one can list, costs neither memory nor time.
func TestReadHostile(t *testing.T) {
	t.Parallel()
	const head = "schema: wattrace.plan/1\nphases:\n  - "
	var many strings.Builder
	many.WriteString("schema: wattrace.plan/1\nphases:\n")
	for i := range 8000 {
		fmt.Fprintf(&many, "  - {name: a%d, concurrency: 1}\n", i)
	}
	many.WriteString("  - {name: a1, concurrency: 1}\n")
	for _, test := range []struct{ name, in, want string }{
		{"lists", head + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), "p.yaml:3:69: nested too deep"},
		{"mappings", head + strings.Repeat("{a: ", 50_000) + strings.Repeat("}", 50_000), "p.yaml:3:261: nested too deep"},
		{"entries", head + strings.Repeat("- ", 100_000), "p.yaml:3:131: nested too deep"},
		{"phases", many.String(), `p.yaml:8003:5: phase "a1": the name is used twice`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			if _, err := Read(strings.NewReader(test.in), "p.yaml"); err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
