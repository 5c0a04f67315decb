package reduce

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats/requests"
	"wattrace/reduce"
	"wattrace/trace"
)

// TestLastOfARun: a run lasts until the latest instant that its lines name, in whichever
// order those stand: a clock is read while a phase ends, and may be written after it.
func TestLastOfARun(t *testing.T) {
	t.Parallel()
	phase := func(start bool, at trace.Time) requests.Record {
		return requests.Record{Type: requests.TypePhase, Phase: requests.PhaseEvent{Phase: "p", Kind: trace.Measure, Start: start, At: at}}
	}
	clock := func(at trace.Time) requests.Record {
		return requests.Record{Type: requests.TypeClock, Clock: trace.ClockSnapshot{At: at}}
	}
	for _, c := range []struct {
		name  string
		lines []requests.Record
	}{
		{"a clock last", []requests.Record{phase(true, 10), phase(false, 20), clock(30)}},
		{"an earlier clock after the end", []requests.Record{phase(true, 10), phase(false, 30), clock(20)}},
		{"an earlier end after a clock", []requests.Record{phase(true, 10), clock(30), phase(false, 20)}},
	} {
		l := &logFile{}
		for _, rec := range append([]requests.Record{{Type: requests.TypeRun}}, c.lines...) {
			if err := l.survey(&rec); err != nil {
				t.Fatal(err)
			}
		}
		if got := l.runs[0].last; got != 30 {
			t.Errorf("%s: %d", c.name, got)
		}
	}
}

// TestSaturatedClient: what a client says of itself at the end of its log is said in the
// report.
func TestSaturatedClient(t *testing.T) {
	t.Parallel()
	log := unpacked(t, "../../../testdata/h200/open-requests.jsonl.zst")
	for verdict, want := range map[string]bool{"ok": false, "late": false, "saturated": true} {
		path := filepath.Join(t.TempDir(), "log.jsonl")
		own := bytes.Replace(log, []byte(`"verdict":"ok"`), []byte(`"verdict":"`+verdict+`"`), 1)
		if err := os.WriteFile(path, own, 0o666); err != nil {
			t.Fatal(err)
		}
		r := reportOf(t, 0, path)
		if got := slices.ContainsFunc(r.Warnings, func(w reduce.Warning) bool { return w.Code == reduce.WarnSaturated }); got != want {
			t.Errorf("%s: warned %v", verdict, got)
		}
	}
}

// TestShardsEndWithTheLast: a phase of several clients begins with the first and ends with the
// last of them, whichever of them is read first.
func TestShardsEndWithTheLast(t *testing.T) {
	t.Parallel()
	part := func(start, end trace.Time, users int) *runPhase {
		return &runPhase{Span: reduce.Span{Name: "p", Start: start, End: trace.Some(end), Concurrency: users}}
	}
	for _, order := range [][2]*runPhase{{part(10, 40, 3), part(12, 30, 4)}, {part(12, 30, 4), part(10, 40, 3)}} {
		k := &shards{phases: map[string]int{}}
		var spans []reduce.Span
		for _, ph := range order {
			spans = k.join(spans, ph, joint{}, map[string]int{})
		}
		want := []reduce.Span{{Name: "p", Start: 10, End: trace.Some[trace.Time](40), Concurrency: 7}}
		if diff := cmp.Diff(want, spans); diff != "" {
			t.Error(diff)
		}
	}
}
