package benchserve

import (
	"io"
	"math"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// Reader reads the requests of all results, in order.
type Reader struct {
	f      *File
	d      *jsontext.Decoder // at the next element of itls
	result int
	next   int   // request of the result
	seq    int64 // of all
	begun  bool
	gaps   []float64
	err    error
}

// Requests returns a Reader from the start.
func (f *File) Requests() (*Reader, error) {
	r, err := f.open()
	if err != nil {
		return nil, err
	}
	return &Reader{f: f, d: decoder(r)}, nil
}

// Read reads the next request into q, whose slices are reused, and returns the index of
// its result. Instants are since Result.First, 0 of all where the result is Unplaced. The
// error is io.EOF at the end.
func (r *Reader) Read(q *trace.Request) (result int, err error) {
	if r.err != nil {
		return 0, r.err
	}
	if result, err = r.read(q); err != nil {
		if err != io.EOF {
			err = r.f.fault(err)
		}
		r.err = err
	}
	return result, err
}

func (r *Reader) read(q *trace.Request) (int, error) {
	for {
		if r.result == len(r.f.Results) {
			return 0, io.EOF
		}
		res := &r.f.Results[r.result]
		if res.gaps >= 0 && !r.begun {
			if err := r.seek(); err != nil {
				return 0, err
			}
			r.begun = true
		}
		if r.next < res.Requests {
			if err := r.readGaps(res); err != nil {
				return 0, err
			}
			res.request(r.next, r.gaps, q)
			q.Seq, q.Line = r.seq, int64(r.next)+1
			r.next++
			r.seq++
			return r.result, nil
		}
		if err := r.leave(res); err != nil {
			return 0, err
		}
		r.result, r.next, r.begun = r.result+1, 0, false
	}
}

// seek goes into the list itls of the next result.
func (r *Reader) seek() error {
	if _, err := r.d.ReadToken(); err != nil {
		return err
	}
	for {
		tok, err := r.d.ReadToken()
		if err != nil {
			return err
		}
		if tok.Kind() != '"' {
			return at(r.d, "the file is no longer what it was: itls is gone")
		}
		if tok.String() == "itls" && r.d.PeekKind() == '[' {
			_, err := r.d.ReadToken()
			return err
		}
		if err := r.d.SkipValue(); err != nil {
			return err
		}
	}
}

// leave goes behind the result.
func (r *Reader) leave(res *Result) error {
	if res.gaps < 0 {
		return r.d.SkipValue()
	}
	if _, err := r.d.ReadToken(); err != nil { // the end of itls
		return err
	}
	for r.d.PeekKind() == '"' {
		if _, err := r.d.ReadToken(); err != nil {
			return err
		}
		if err := r.d.SkipValue(); err != nil {
			return err
		}
	}
	_, err := r.d.ReadToken()
	return err
}

// readGaps reads the gaps of a request; one without a list has none.
func (r *Reader) readGaps(res *Result) error {
	r.gaps = r.gaps[:0]
	if res.gaps < 0 {
		return nil
	}
	if r.d.PeekKind() == 'n' {
		return r.d.SkipValue()
	}
	return list(r.d, "an element of itls", func() error {
		v, err := number(r.d, "itls", 0, maxSeconds)
		if err == nil && math.IsNaN(v) {
			err = at(r.d, "itls must be numbers")
		}
		r.gaps = append(r.gaps, v)
		return err
	})
}

// get returns an element of a column.
func get(column []float64, i int) trace.Opt[float64] {
	if column == nil || math.IsNaN(column[i]) {
		return trace.Opt[float64]{}
	}
	return trace.Some(column[i])
}

func tokens(column []float64, i int) trace.Opt[int64] {
	v, ok := get(column, i).Get()
	return trace.Opt[int64]{V: int64(v), OK: ok && v == math.Trunc(v)}
}

// request makes a request of its elements.
func (res *Result) request(i int, gaps []float64, q *trace.Request) {
	*q = trace.Request{Chunks: q.Chunks[:0], InputTokens: tokens(res.inputs, i), Outcome: trace.Succeeded}
	if start, ok := get(res.starts, i).Get(); ok && start > 0 && res.Time != Unplaced {
		q.Sent = trace.Time(nanos(start - res.First))
	}
	q.Scheduled, q.Done = q.Sent, q.Sent
	if wait, ok := get(res.queues, i).Get(); ok && wait > 0 && res.Load.Rate > 0 && res.Time != Unplaced && res.Time != Framed {
		q.Scheduled = q.Sent.Add(-nanos(wait))
	}
	latency, ended := get(res.latencies, i).Get()
	if res.failed(i) {
		q.Outcome, q.Error.Class = trace.Failed, trace.ErrBody
		if res.faults != nil && res.faults[i] != "" {
			q.Error.Class = res.faults[i]
		}
		if ended {
			q.Done = q.Sent.Add(nanos(latency))
		}
		return
	}
	if q.OutputTokens = tokens(res.outputs, i); q.OutputTokens.OK {
		q.TokenSource = trace.FromTokenizer
	}
	first, streamed := get(res.ttfts, i).Get()
	if streamed = streamed && first > 0; streamed {
		res.stream(first, gaps, q)
	}
	if ended {
		q.Done = q.Sent.Add(nanos(latency))
		if !streamed || res.gaps < 0 && q.Done >= q.LastToken.V {
			q.LastToken = trace.Some(q.Done)
		}
	}
	q.Done = max(q.Done, q.LastToken.V)
	if n := len(q.Chunks); res.Tool == TRTLLM && n > 0 && q.Done > q.LastToken.V.Add(time.Microsecond) {
		q.Chunks = append(q.Chunks, trace.Chunk{At: q.Done, Kind: trace.ChunkUsage})
	}
}

// stream places the events. Times are added up before they are rounded.
func (res *Result) stream(first float64, gaps []float64, q *trace.Request) {
	since := first
	q.FirstToken = trace.Some(q.Sent.Add(nanos(first)))
	q.LastToken = q.FirstToken
	if res.gaps < 0 {
		return
	}
	q.Chunks = append(q.Chunks, trace.Chunk{At: q.FirstToken.V, Kind: trace.ChunkContent})
	for _, gap := range gaps {
		since = min(since+gap, 2*maxSeconds)
		q.LastToken.V = q.Sent.Add(nanos(since))
		q.Chunks = append(q.Chunks, trace.Chunk{At: q.LastToken.V, Kind: trace.ChunkContent})
	}
}
