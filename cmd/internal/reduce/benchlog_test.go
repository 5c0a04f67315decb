package reduce

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"wattrace/formats/requests"
	"wattrace/trace"
)

// writeStreams writes the log of a closed loop of n users, whose answers come in 500
// events about 20 ms apart, over ten minutes.
func writeStreams(tb testing.TB, path string, n int) (bytes int64) {
	tb.Helper()
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	check := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	const start, end, length = trace.Time(2 * time.Second), trace.Time(602 * time.Second), 10200 * time.Millisecond
	w := requests.NewWriter(f)
	check(w.Run(&requests.Run{
		Producer: "bench", Clock: trace.Clock{Host: "node", BootID: "b", Anchor: trace.ClockSnapshot{BootNanos: 1e12, UnixNanos: 1780e15}},
		Trace: requests.TraceInfo{Path: "t", SHA256: "00", Turns: 1}, Targets: []string{"http://127.0.0.1"},
		Plan: trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: n, Duration: 600 * time.Second}}},
	}))
	check(w.Phase(&requests.PhaseEvent{Phase: "p", Kind: trace.Measure, Start: true, At: start, Concurrency: n}))
	q := trace.Request{Line: 1, Phase: "p", Outcome: trace.Succeeded, Status: trace.Some(200), FinishReason: "length",
		InputTokens: trace.Some(int64(800)), OutputTokens: trace.Some(int64(500)), TokenSource: trace.FromUsage, Usage: []byte(`{"prompt_tokens":800,"completion_tokens":500,"prompt_tokens_details":{"cached_tokens":0}}`)}
	rng := uint64(1)
	for slot := range n {
		for at := start + trace.Time(slot)*trace.Time(length)/trace.Time(n); at.Add(length) < end; at = at.Add(length) {
			q.Slot, q.Scheduled, q.Sent, q.Wrote, q.FirstByte = slot, at, at, trace.Some(at+20_000), trace.Some(at.Add(180*time.Millisecond))
			q.Chunks = q.Chunks[:0]
			t := at.Add(180 * time.Millisecond)
			for range 500 {
				rng = rng*6364136223846793005 + 1442695040888963407
				t = t.Add(15*time.Millisecond + time.Duration(rng>>41)) // up to 8 ms more
				q.Chunks = append(q.Chunks, trace.Chunk{At: t, Kind: trace.ChunkContent})
			}
			q.FirstToken, q.LastToken, q.Done = trace.Some(q.Chunks[0].At), trace.Some(t), t+1000
			check(w.Sent(&requests.Sent{Seq: q.Seq, Line: 1, Phase: "p", At: at}))
			check(w.Request(&q))
			q.Seq++
		}
	}
	check(w.Phase(&requests.PhaseEvent{Phase: "p", Kind: trace.Measure, At: end}))
	check(w.Close(&requests.Close{At: end, Sent: q.Seq, Succeeded: q.Seq, Clean: true}))
	check(w.Flush())
	info, err := f.Stat()
	check(err)
	return info.Size()
}

// BenchmarkReduceLog is a log of 256 users over ten minutes beside a recording of one
// GPU: the goal is 500 MB/s.
func BenchmarkReduceLog(b *testing.B) {
	dir := b.TempDir()
	log, power := filepath.Join(dir, "requests.jsonl"), filepath.Join(dir, "power.arrows")
	b.SetBytes(writeStreams(b, log, 256))
	writeRecording(b, power, 1, 0, 610*time.Second)
	for _, with := range []struct {
		name string
		args []string
	}{{"alone", []string{log}}, {"and power", []string{log, power}}} {
		b.Run(with.name, func(b *testing.B) {
			info, _ := os.Stat(log)
			b.SetBytes(info.Size())
			for b.Loop() {
				var out, errs bytes.Buffer
				if code := Main(b.Context(), append([]string{"--format", "json"}, with.args...), nil, &out, &errs); code != 0 {
					b.Fatal(fmt.Sprint(code), errs.String())
				}
			}
		})
	}
}
