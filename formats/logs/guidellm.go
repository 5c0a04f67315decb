package logs

import (
	"fmt"
	"io"
	"iter"

	"wattrace/formats"
	"wattrace/formats/guidellmreport"
	"wattrace/trace"
)

// pulled is the requests of a report, which come of themselves.
type pulled struct {
	next func() (*trace.Request, error, bool)
}

func (p pulled) Read(q *trace.Request) error {
	from, err, ok := p.next()
	switch {
	case !ok:
		return io.EOF
	case err != nil:
		return err
	}
	chunks := q.Chunks
	*q = *from
	q.Chunks = append(chunks[:0], from.Chunks...)
	return nil
}

func openGuideLLM(in, _ *formats.Input) (*Log, error) {
	f, err := guidellmreport.Open(in.Reader, in.Name())
	if err != nil {
		return nil, err
	}
	l := &Log{Doubles: true}
	h := &head{producer: "guidellm"}
	h.count.Clean = true
	first := int64(0)
	for i := range f.Benchmarks {
		b := &f.Benchmarks[i]
		if n := b.Succeeded + b.Failed + b.Cancelled; n > 0 && (first == 0 || b.First < first) {
			first = b.First
		}
		if first != 0 && b.Start.OK {
			first = min(first, b.Start.V)
		}
	}
	h.clock.Anchor.UnixNanos = first
	names := make([]string, len(f.Benchmarks))
	for i := range f.Benchmarks {
		b := &f.Benchmarks[i]
		name := DefaultPhase
		s := Statement{Tool: "guidellm", Figures: figures(b.Stated)}
		if len(f.Benchmarks) > 1 {
			name = fmt.Sprintf("%s %d", DefaultPhase, i+1)
			s.Run = name
		}
		names[i] = name
		l.Stated = append(l.Stated, s)
		n := b.Succeeded + b.Failed + b.Cancelled
		switch total, ok := b.Total.Get(); {
		case ok && n+b.Unsent < total:
			l.Notes = append(l.Notes, fmt.Sprintf("%s: the report has %d of %d requests (sample_size): counts, tokens and ratios are of those", name, n+b.Unsent, total))
		case b.Unsent > 0:
			l.Notes = append(l.Notes, fmt.Sprintf("%s: %d requests were never sent, and are left out", name, b.Unsent))
		}
		if n == 0 {
			continue
		}
		l.Requests = true
		ph := phase{name: name, kind: trace.Measure, start: trace.Time(b.First - first), end: trace.Time(b.Last - first)}
		if b.Start.OK && b.End.OK && b.Start.V <= b.First && b.End.V >= b.Last {
			ph.start, ph.end = trace.Time(b.Start.V-first), trace.Time(b.End.V-first)
		} else if b.Start.OK && b.End.OK {
			l.Notes = append(l.Notes, name+": its requests reach beyond start_time and end_time, which are of what guidellm measured: the phase is that of all of them")
		}
		load := trace.Phase{Name: name, Kind: trace.Measure, Concurrency: b.Parallel}
		if b.Strategy == "concurrent" && (&trace.Plan{Phases: []trace.Phase{load}}).Validate() == nil {
			ph.load = load
		}
		h.phases = append(h.phases, ph)
		h.count.Sent += n
		h.count.Succeeded += b.Succeeded
		h.count.Failed += b.Failed
		h.count.Cancelled += b.Cancelled
		h.count.At = max(h.count.At, trace.Time(b.Last-first))
	}
	if !l.Requests {
		return l, nil
	}
	l.head = h
	l.start = func() (source, error) {
		next, _ := iter.Pull2(func(yield func(*trace.Request, error) bool) {
			err := f.Each(first, func(i int, q *trace.Request) error {
				q.Phase = names[i]
				if !yield(q, nil) {
					return io.EOF
				}
				return nil
			})
			if err != nil && err != io.EOF {
				yield(nil, err)
			}
		})
		return pulled{next}, nil
	}
	return l, nil
}
