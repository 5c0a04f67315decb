package logs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"wattrace/formats"
	"wattrace/formats/aiperf"
	"wattrace/formats/requests"
	"wattrace/trace"
)

// open opens a log by its content, with what is beside it.
func open(t *testing.T, path string) *Log {
	t.Helper()
	input := func(path string) *formats.Input {
		in, err := formats.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close() })
		return in
	}
	in := input(path)
	c, ok := ByKind(in.Kind())
	if !ok {
		t.Fatalf("%s: %s", path, in.Kind())
	}
	var beside *formats.Input
	if c.Beside != nil {
		beside = input(c.Beside(path))
	}
	l, err := c.Open(in, beside)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// read reads a log of ours to its end.
func read(r io.Reader) (list []requests.Record, incomplete int, err error) {
	rd := requests.NewReader(r, "f")
	for {
		var rec requests.Record
		err := rd.Read(&rec)
		if err == io.EOF {
			return list, rd.Incomplete(), nil
		}
		if err != nil {
			return list, 0, err
		}
		list = append(list, rec)
	}
}

func TestEarlyRun(t *testing.T) {
	t.Parallel()
	l := open(t, "../aiperf/testdata/profile_export.jsonl")
	var texts []string
	for range 2 {
		r, err := l.Reader()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(iotest.OneByteReader(r))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	if texts[0] != texts[1] {
		t.Error("another text the second time")
	}
	list, incomplete, err := read(strings.NewReader(texts[0]))
	if err != nil || incomplete != 0 {
		t.Fatal(err, incomplete)
	}
	run, end := list[0].Run, list[len(list)-1].Close
	if run.Clock.Anchor.UnixNanos != 1759522419154568925 || run.Producer != "aiperf" || run.Targets[0] != "http://localhost:9000" || run.Plan.Phases[0].Concurrency != 100 {
		t.Errorf("%+v", run)
	}
	if start := list[1].Phase; !start.Start || start.At != 0 || start.Concurrency != 100 || start.Kind != trace.Measure {
		t.Errorf("%+v", start)
	}
	if end.Sent != 14 || end.Succeeded != 11 || end.Cancelled != 3 || !end.Clean {
		t.Errorf("%+v", end)
	}
	// To the nanosecond, as aiperf has the 4th: 730.147344 ms and 8877.620132 ms.
	q := list[2+2*3+1].Request
	if q.FirstToken.V != 730147344 || q.LastToken.V != 8877620132 || len(q.Chunks) != 247 || q.OutputTokens.V != 247 || q.TokenSource != trace.FromTokenizer {
		t.Errorf("%+v", q)
	}
}

func TestOurs(t *testing.T) {
	t.Parallel()
	const path = "../requests/testdata/example.jsonl"
	r, err := open(t, path).Reader()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	want, err2 := os.ReadFile(path)
	if err != nil || err2 != nil || !bytes.Equal(got, want) {
		t.Error(err, err2, "not the same text")
	}
}

// TestUnknownLoad: what nothing says is not taken for a closed loop.
func TestUnknownLoad(t *testing.T) {
	t.Parallel()
	text, err := turned([]byte(`{"metadata":{"request_start_ns":5,"benchmark_phase":"warmup"}}`+"\n"+`{"metadata":{"request_start_ns":9},"error":{"code":500}}`+"\n{"), nil)
	if err != nil {
		t.Fatal(err)
	}
	list, incomplete, err := read(bytes.NewReader(text))
	if err != nil || incomplete != 1 { // the last line is cut off
		t.Fatal(err, incomplete)
	}
	plan := list[0].Run.Plan.Phases
	if len(plan) != 2 || plan[0].Kind != trace.Warmup || plan[1].LoadKind() != trace.TraceTimes || list[1].Phase.Concurrency != 0 {
		t.Errorf("%+v", plan)
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"localhost:9000": "http://localhost:9000", "https://u:secret@h/v1?key=secret#x": "https://h/v1", "http://[": "",
	} {
		if got := target(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var kinds []formats.Kind
	for _, c := range Codecs {
		kinds = append(kinds, c.Kinds...)
		if c.Name == "" || c.Doc == "" || c.Schema == "" || (c.Beside == nil) != (c.BesideSchema == "") {
			t.Errorf("%+v", c)
		}
	}
	slices.Sort(kinds)
	if n := len(kinds); len(slices.Compact(kinds)) != n {
		t.Error("a kind is listed twice")
	}
	if _, ok := ByKind(formats.TelemetryStream); ok {
		t.Error("a recording is no request log")
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	input := func(name, text string) *formats.Input {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		in, err := formats.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close() })
		return in
	}
	log, bad, config := input("a.jsonl", `{"metadata":{"request_start_ns":5}}`), input("b.jsonl", `{"metadata":{"request_start_ns":"5"}}`+"\n"), input("a.json", "x")
	if _, err := Codecs[1].Open(log, config); err == nil || err.Error() != config.Name()+":1:1: not valid JSON" {
		t.Error(err)
	}
	if _, err := Codecs[1].Open(bad, nil); err == nil || err.Error() != bad.Name()+":1:33: request_start_ns must be an integer" {
		t.Error(err)
	}
}

// turned is a file of aiperf as a log of ours.
func turned(in []byte, config *aiperf.Config) ([]byte, error) {
	log, err := aiperf.Survey(bytes.NewReader(in), "f", config)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(turn(aiperfSource(bytes.NewReader(in), "f", log), aiperfHead(log, config)))
	if err != nil {
		return nil, fmt.Errorf("surveyed, but: %w", err)
	}
	return text, nil
}

// FuzzTurn: whatever can be surveyed becomes a log of ours that can be read, with all of
// its requests, each within its phase's start.
func FuzzTurn(f *testing.F) {
	f.Add([]byte(`{"metadata":{"request_start_ns":5,"request_end_ns":7,"benchmark_phase":"warmup"}}`+"\n"+`{"metadata":{"request_start_ns":6},"error":{"code":500}}`+"\n"), 3, 0.)
	f.Add([]byte(`{"metadata":{"timestamp_ns":1780000000000000000},"metrics":{"ttft":{"value":1,"unit":"ms"},"request_latency":{"value":3.5,"unit":"ms"},"inter_chunk_latency":{"value":[1,1.5],"unit":"ms"}},"error":null}`), 0, 2.5)
	f.Fuzz(func(t *testing.T, in []byte, concurrency int, rate float64) {
		config := &aiperf.Config{URLs: []string{"u"}}
		ph := trace.Phase{Name: aiperf.DefaultPhase, Kind: trace.Measure, Concurrency: concurrency, Load: trace.Load{Rate: rate}}
		if (&trace.Plan{Phases: []trace.Phase{ph}}).Validate() == nil {
			config.Phases = append(config.Phases, ph)
		}
		log, err := aiperf.Survey(bytes.NewReader(in), "f", config)
		if err != nil {
			return
		}
		text, err := turned(in, config)
		if err != nil {
			t.Fatal(err)
		}
		list, incomplete, err := read(bytes.NewReader(text))
		if err != nil || (incomplete == 0) == log.Truncated {
			t.Fatalf("%v, %d\n%s", err, incomplete, text)
		}
		starts, n := map[string]trace.Time{}, int64(0)
		for _, rec := range list {
			switch rec.Type {
			case requests.TypePhase:
				if rec.Phase.Start {
					starts[rec.Phase.Phase] = rec.Phase.At
				} else if rec.Phase.At < starts[rec.Phase.Phase] {
					t.Fatalf("%+v", rec.Phase)
				}
			case requests.TypeRequest:
				n++
				if start, ok := starts[rec.Request.Phase]; !ok || rec.Request.Sent < start {
					t.Fatalf("%+v", rec.Request)
				}
			}
		}
		if n != log.Requests {
			t.Fatalf("%d of %d requests", n, log.Requests)
		}
	})
}
