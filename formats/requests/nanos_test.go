package requests

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"wattrace/trace"
)

// TestChunkNanos: the stamps of events come back to the nanosecond where they are asked
// for, and to the microsecond below where not.
func TestChunkNanos(t *testing.T) {
	t.Parallel()
	q := trace.Request{Line: 1, Phase: "p", Sent: 1_000_000_123, Done: 5_000_000_000, Outcome: trace.Succeeded}
	for _, at := range []trace.Time{1_000_000_123, 1_000_001_122, 1_000_001_123, 2_000_000_999, 2_000_000_999, 2_000_001_122} {
		q.Chunks = append(q.Chunks, trace.Chunk{At: at, Kind: trace.ChunkContent})
	}
	for _, nanos := range []bool{true, false} {
		var b bytes.Buffer
		w := NewWriter(&b)
		w.ChunkNanos = nanos
		run := Run{Clock: trace.Clock{Anchor: trace.ClockSnapshot{UnixNanos: 1780000000000000000}}, Targets: []string{""}, Plan: trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1}}}}
		if err := errors.Join(w.Run(&run), w.Request(&q), w.Flush()); err != nil {
			t.Fatal(err)
		}
		r := NewReader(&b, "f")
		var rec Record
		for rec.Type != TypeRequest {
			if err := r.Read(&rec); err != nil {
				t.Fatal(err)
			}
		}
		want := slices.Clone(q.Chunks)
		if !nanos {
			for i := range want {
				want[i].At = q.Sent + (want[i].At-q.Sent)/1000*1000
			}
		}
		if !slices.Equal(rec.Request.Chunks, want) {
			t.Errorf("nanos %v: %v, want %v", nanos, rec.Request.Chunks, want)
		}
	}
	// One before the one before it, within a microsecond.
	q.Chunks[2].At = 1_000_001_121
	q.Chunks[1].At = 1_000_001_122
	w := NewWriter(&bytes.Buffer{})
	w.ChunkNanos = true
	run := Run{Clock: trace.Clock{Anchor: trace.ClockSnapshot{UnixNanos: 1780000000000000000}}, Targets: []string{""}, Plan: trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1}}}}
	if err := w.Run(&run); err != nil {
		t.Fatal(err)
	}
	if err := w.Request(&q); err == nil || !strings.Contains(err.Error(), "order of time") {
		t.Error(err)
	}
}
