package logs

import (
	"bytes"
	"io"
	"path/filepath"
	"testing"

	"wattrace/formats"
	"wattrace/formats/requests"
	"wattrace/trace"
)

// openFile opens a log by its content alone.
func openFile(t *testing.T, path string) *Log {
	t.Helper()
	in, err := formats.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	c, ok := ByKind(in.Kind())
	if !ok {
		t.Fatalf("%s: %s", path, in.Kind())
	}
	l, err := c.Open(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestOthers: every log becomes one of ours that is whole and agrees with itself, and its
// outline is what it has beside its requests.
func TestOthers(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]struct {
		time           Time
		sent, failed   int64
		phases, stated int
	}{
		"aiperf/testdata/profile_export.jsonl":      {Known, 14, 0, 1, 0},
		"aiperf/testdata/profile_export_raw.jsonl":  {Known, 7, 1, 3, 0},
		"benchserve/testdata/vllm-2026.json":        {Steady, 6, 1, 1, 1},
		"benchserve/testdata/vllm-2025.json":        {Unplaced, 6, 1, 1, 1},
		"benchserve/testdata/trtllm.json":           {Unplaced, 6, 1, 1, 1},
		"benchserve/testdata/sglang.jsonl":          {Unplaced, 12, 0, 2, 3},
		"trtllmbench/testdata/requests.json":        {Steady, 4, 1, 1, 0},
		"perfmetrics/testdata/perf_metrics.json":    {Steady, 4, 0, 1, 0},
		"perfmetrics/testdata/perf_metrics-1.jsonl": {Steady, 4, 0, 1, 0},
		"perfmetrics/testdata/disaggregated.json":   {Steady, 3, 0, 1, 0},
	} {
		l := openFile(t, filepath.Join("..", path))
		if l.Time != want.time || !l.Requests || l.Sent() != want.sent || len(l.Stated) != want.stated {
			t.Errorf("%s: %+v", path, l)
		}
		var lists [2][]requests.Record
		for i, open := range []func() (io.Reader, error){l.Reader, l.Outline} {
			r, err := open()
			if err != nil {
				t.Fatal(err)
			}
			list, incomplete, err := read(r)
			if err != nil || incomplete != 0 {
				t.Fatalf("%s: %v, %d", path, err, incomplete)
			}
			for _, rec := range list {
				rec.Pos = trace.Pos{}
				if rec.Type != requests.TypeRequest && rec.Type != requests.TypeSent {
					lists[i] = append(lists[i], rec)
				}
			}
			if n := len(list) - len(lists[i]); i == 0 && int64(n) != 2*want.sent {
				t.Errorf("%s: %d lines of requests", path, n)
			}
		}
		a, b := outline(lists[0]), outline(lists[1])
		if !bytes.Equal(a, b) {
			t.Errorf("%s: the log has\n%s\nits outline\n%s", path, a, b)
		}
		end := lists[0][len(lists[0])-1].Close
		if end.Sent != want.sent || end.Failed != want.failed || !end.Clean || len(lists[0]) != 2+2*want.phases {
			t.Errorf("%s: %+v, %d lines", path, end, len(lists[0]))
		}
		c := trace.Clock{Host: "h", BootID: "b", Anchor: trace.ClockSnapshot{MonotonicNanos: 5e9, BootNanos: 6e9, UnixNanos: 1780e15}}
		from, to := l.Spans()
		if on := l.On(c); on != (want.time == Steady) || on && (l.Time != Known || from == 0 || to <= from) {
			t.Errorf("%s: on a boot: %v, %+v", path, on, l)
		}
		if want.time == Steady {
			if joint, exact := c.Offset(l.head.clock); !exact || int64(joint) != from-5e9 || l.head.clock.Anchor.UnixNanos != 1780e15+from-5e9 {
				t.Errorf("%s: %v, %+v", path, joint, l.head.clock)
			}
		}
	}
	if l := openFile(t, "../benchserve/testdata/vllm-brief.json"); !l.Requests || len(l.Stated) != 1 || l.Totals[DefaultPhase].Succeeded != 5 || l.Totals[DefaultPhase].Failed != 1 {
		t.Errorf("%+v", l)
	}
}

// outline is the text of lines that are no requests.
func outline(list []requests.Record) []byte {
	var b bytes.Buffer
	w := requests.NewWriter(&b)
	for _, rec := range list {
		switch rec.Type {
		case requests.TypeRun:
			w.Run(&rec.Run)
		case requests.TypePhase:
			w.Phase(&rec.Phase)
		case requests.TypeClose:
			w.Close(&rec.Close)
		}
	}
	w.Flush()
	return b.Bytes()
}
