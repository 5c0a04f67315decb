package requests

import (
	"bytes"
	"io"
	"testing"
	"time"

	"wattrace/trace"
)

// benchLog returns a log of n requests with 500 chunks of about 20 ms each, as
// a vLLM server streams them.
func benchLog(b *testing.B, n int) []byte {
	b.Helper()
	log := exampleLog()[:2]
	rng := uint64(1)
	for seq := range int64(n) {
		q := exampleLog()[3].Request
		q.Seq, q.Line, q.Chunks, q.ChunkTokens = seq, seq+1, nil, false
		at := q.Sent
		for i := range 500 {
			rng = rng*6364136223846793005 + 1442695040888963407
			at = at.Add(15*time.Millisecond + time.Duration(rng>>40))
			kind := trace.ChunkContent
			if i == 0 {
				kind = trace.ChunkRole
			}
			q.Chunks = append(q.Chunks, trace.Chunk{At: at, Kind: kind})
		}
		log = append(log,
			Record{Type: TypeSent, Sent: Sent{Seq: seq, Line: seq + 1, Phase: q.Phase, At: q.Sent}},
			Record{Type: TypeRequest, Request: q})
	}
	return encode(b, log...)
}

func BenchmarkRead(b *testing.B) {
	log := benchLog(b, 1000)
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		rd := NewReader(bytes.NewReader(log), "log")
		var rec Record
		for {
			if err := rd.Read(&rec); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkWriteRequest(b *testing.B) {
	rd := NewReader(bytes.NewReader(benchLog(b, 1)), "log")
	var rec Record
	for rec.Type != TypeRequest {
		if err := rd.Read(&rec); err != nil {
			b.Fatal(err)
		}
	}
	w := NewWriter(io.Discard)
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Request(&rec.Request); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(w.b[:cap(w.b)])))
}

// TestReadDoesNotAllocate checks that reading a request line costs no memory
// once its buffers have grown, but for the two strings that each request has for
// itself.
func TestReadDoesNotAllocate(t *testing.T) {
	rec3 := exampleLog()[3]
	rec3.Request.CacheSalt, rec3.Request.ResponseID = "", ""
	line := encode(t, rec3)
	head := encode(t, exampleLog()[0])
	rd := NewReader(io.MultiReader(bytes.NewReader(head), bytes.NewReader(bytes.Repeat(line, 2000))), "log")
	var rec Record
	for range 500 {
		if err := rd.Read(&rec); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(1000, func() {
		if err := rd.Read(&rec); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a line", n)
	}
}
