package logs

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"wattrace/formats"
	"wattrace/formats/benchserve"
	"wattrace/formats/perfmetrics"
	"wattrace/formats/requests"
	"wattrace/formats/trtllmbench"
	"wattrace/trace"
)

// DefaultPhase is the phase of a log whose program knows of none.
const DefaultPhase = "benchmark"

// benchTools are the programs of package benchserve.
var benchTools = map[benchserve.Tool]string{
	benchserve.InferenceX: "InferenceX benchmark_serving",
	benchserve.VLLM:       "vllm bench serve", benchserve.TRTLLM: "TensorRT-LLM benchmark_serving", benchserve.SGLang: "sglang bench_serving", "": "a serving benchmark",
}

// benchSource gives the requests of all results on the clock of the first.
type benchSource struct {
	from   *benchserve.Reader
	phases []phase
	of     []int // phase of each result; -1 is none
}

func (s *benchSource) Read(q *trace.Request) error {
	result, err := s.from.Read(q)
	if err != nil {
		return err
	}
	ph := s.phases[s.of[result]]
	q.Phase = ph.name
	for _, t := range []*trace.Time{&q.Sent, &q.Scheduled, &q.Done, &q.FirstToken.V, &q.LastToken.V} {
		*t += ph.start
	}
	for i := range q.Chunks {
		q.Chunks[i].At += ph.start
	}
	return nil
}

func openBenchServe(in, _ *formats.Input) (*Log, error) {
	f, err := benchserve.Open(in.Reader, in.Name())
	if err != nil {
		return nil, err
	}
	l := &Log{Lengths: map[string]trace.Time{}, Totals: map[string]Totals{}, Frames: map[string][2]int64{}}
	h := &head{producer: benchTools[f.Results[0].Tool]}
	h.count.Clean = true
	detailed := slices.ContainsFunc(f.Results, func(r benchserve.Result) bool { return r.Requests > 0 })
	of := make([]int, len(f.Results))
	var first *benchserve.Result // with requests
	for i := range f.Results {
		res := &f.Results[i]
		name := DefaultPhase
		if len(f.Results) > 1 {
			name = fmt.Sprintf("%s %d", DefaultPhase, i+1)
		}
		s := Statement{Tool: string(res.Tool), Figures: figures(res.Stated)}
		if len(f.Results) > 1 {
			s.Run = name
		}
		l.Stated = append(l.Stated, s)
		of[i] = -1
		if res.Requests == 0 {
			done, ok := res.Totals.Completed.Get()
			if !ok || res.Time != benchserve.Framed && (!res.Duration.OK || detailed) {
				continue
			}
			all := res.All()
			l.Totals[name] = Totals{Succeeded: done, Failed: all.Failed.V, Input: all.Input, Output: all.Output}
			l.Notes = append(l.Notes, "it has totals and no single requests: nothing is said of when they were sent and what each took")
		}
		if first == nil {
			first = res
		}
		if res.Time != first.Time {
			return nil, fmt.Errorf("%s: some of its results say when requests were sent, and some do not: split it", in.Name())
		}
		if d, ok := res.Duration.Get(); ok {
			l.Lengths[name] = trace.Time(d)
		}
		if s := res.Contradiction(); s != "" {
			l.Notes = append(l.Notes, s)
		}
		if res.Time == benchserve.Framed {
			l.Frames[name], l.Parallel = [2]int64{res.Start.V, res.End.V}, res.Parallel
		}
		of[i] = len(h.phases)
		h.phases = append(h.phases, benchPhase(res, name))
	}
	if first == nil {
		return l, nil
	}
	l.Requests = true
	base := int64(math.Round(earliest(f, of) * 1e9))
	switch first.Time {
	case benchserve.Steady:
		l.Time, h.clock.Anchor.MonotonicNanos = Steady, base
	case benchserve.Unplaced:
		l.Time = Unplaced
	case benchserve.Wall:
		h.clock.Anchor.UnixNanos = base
	case benchserve.Framed:
		l.Time = Framed
		h.clock.Anchor.UnixNanos = frames(f, of)
		if first.Requests > 0 {
			l.Notes = append(l.Notes, "it does not say when its requests were sent: there is nothing over the course of the run, nor of single requests' energy")
		}
	}
	if err := placeBench(f, h, of, l); err != nil {
		return nil, err
	}
	l.head = h
	l.start = func() (source, error) {
		from, err := f.Requests()
		return &benchSource{from, h.phases, of}, err
	}
	return l, nil
}

func benchPhase(res *benchserve.Result, name string) phase {
	ph := phase{name: name, kind: trace.Measure}
	load := trace.Phase{Name: name, Kind: trace.Measure, Concurrency: res.Parallel, Load: res.Load}
	if load.FromTrace {
		load.Concurrency = 0
	}
	if (&trace.Plan{Phases: []trace.Phase{load}}).Validate() == nil {
		ph.load = load
	}
	return ph
}

// earliest returns the first start of all results, in seconds.
func earliest(f *benchserve.File, of []int) float64 {
	base := math.Inf(1)
	for i := range f.Results {
		if of[i] >= 0 {
			base = min(base, f.Results[i].First)
		}
	}
	return base
}

// placeBench finds the ends of the phases, by reading all requests. Results of which it
// is not known when they were follow one another.
func placeBench(f *benchserve.File, h *head, of []int, l *Log) error {
	base, frame := earliest(f, of), frames(f, of)
	for i := range f.Results {
		if k := of[i]; k >= 0 && l.Time == Framed {
			h.phases[k].start, h.phases[k].end = trace.Time(f.Results[i].Start.V-frame), trace.Time(f.Results[i].End.V-frame)
		} else if k >= 0 {
			h.phases[k].start = trace.Time(math.Round((f.Results[i].First - base) * 1e9))
		}
	}
	r, err := f.Requests()
	if err != nil {
		return err
	}
	longest := make([]trace.Time, len(h.phases))
	var q trace.Request
	for {
		result, err := r.Read(&q)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		k := of[result]
		longest[k] = max(longest[k], q.Done)
		count(&h.count, &q)
	}
	if l.Time == Framed {
		return checkFrames(f, h, of, longest)
	}
	after := trace.Time(0)
	for k := range h.phases {
		ph := &h.phases[k]
		length := longest[k]
		if l.Time == Unplaced {
			stated, ok := l.Lengths[ph.name]
			length, ph.endless = max(length, stated), !ok
			ph.start = after
		}
		ph.end = ph.start + length
		after = ph.end
		h.count.At = max(h.count.At, ph.start+longest[k])
	}
	return nil
}

// frames returns when the first of all runs began, in Unix nanoseconds.
func frames(f *benchserve.File, of []int) int64 {
	first := int64(math.MaxInt64)
	for i := range f.Results {
		if start, ok := f.Results[i].Start.Get(); ok && of[i] >= 0 {
			first = min(first, start)
		}
	}
	return first
}

// checkFrames checks that requests fit into the runs that they are of, as far as two clocks
// of one host agree, and that no two runs are of the same time.
func checkFrames(f *benchserve.File, h *head, of []int, longest []trace.Time) error {
	fault := func(format string, args ...any) error {
		return &trace.SyntaxError{Pos: trace.Pos{File: f.Name()}, Err: fmt.Errorf(format, args...)}
	}
	for k := range h.phases {
		ph := &h.phases[k]
		length := ph.end - ph.start
		if longest[k] > length+max(trace.Time(500*time.Millisecond), length/100) {
			return fault("%s: a request took %v, and all of them %v by benchmark_start_time_unix and benchmark_end_time_unix", ph.name, time.Duration(longest[k]), time.Duration(length))
		}
		for _, other := range h.phases[:k] {
			if ph.start < other.end && other.start < ph.end {
				return fault("%s and %s are of the same time", other.name, ph.name)
			}
		}
		h.count.At = max(h.count.At, ph.end)
	}
	return nil
}

func count(c *requests.Close, q *trace.Request) {
	c.Sent++
	switch q.Outcome {
	case trace.Succeeded:
		c.Succeeded++
	case trace.Failed:
		c.Failed++
	case trace.Cancelled:
		c.Cancelled++
	}
}

func figures[F ~struct {
	Name, Unit string
	Value      float64
}](list []F) (out []Figure) {
	for _, f := range list {
		out = append(out, Figure(f))
	}
	return out
}

// single is a log of one phase, on the monotonic clock of an unknown boot.
func single(producer string, first int64, length trace.Time, c requests.Close) *head {
	c.At, c.Clean = length, true
	return &head{
		producer: producer, clock: trace.Clock{Anchor: trace.ClockSnapshot{MonotonicNanos: first}}, count: c,
		phases: []phase{{name: DefaultPhase, kind: trace.Measure, end: length}},
	}
}

// named gives the requests of a source a phase.
type named struct{ source }

func (n named) Read(q *trace.Request) error {
	err := n.source.Read(q)
	q.Phase = DefaultPhase
	return err
}

func openTRTLLMBench(in, _ *formats.Input) (*Log, error) {
	if in.Kind() == formats.TRTLLMReport {
		b, err := whole(in, trtllmbench.MaxReport)
		if err != nil {
			return nil, err
		}
		list, _, err := trtllmbench.ParseReport(b, in.Name())
		if err != nil {
			return nil, err
		}
		return &Log{Stated: []Statement{{Tool: "trtllm", Figures: figures(list)}}}, nil
	}
	r, err := in.Reader()
	if err != nil {
		return nil, err
	}
	survey, err := trtllmbench.Survey(r, in.Name())
	if err != nil {
		return nil, err
	}
	l := &Log{Requests: true, Time: Steady}
	l.head = single("trtllm-bench", survey.First, survey.Length, requests.Close{Sent: survey.Requests, Succeeded: survey.Requests - survey.Failed, Failed: survey.Failed})
	l.start = func() (source, error) {
		r, err := in.Reader()
		if err != nil {
			return nil, err
		}
		from := trtllmbench.NewReader(r, in.Name())
		from.Anchor = survey.First
		return named{from}, nil
	}
	return l, nil
}

func openPerfMetrics(in, _ *formats.Input) (*Log, error) {
	r, err := in.Reader()
	if err != nil {
		return nil, err
	}
	survey, err := perfmetrics.Survey(r, in.Name())
	if err != nil {
		return nil, err
	}
	l := &Log{Requests: true, Time: Steady, Notes: []string{
		"its latencies are the server's, without the network and the client; it does not say how many tokens a request had, nor which requests failed; when a prefill really began (first_scheduled_time) is not used",
	}}
	l.head = single("trtllm-serve", survey.First, survey.Length, requests.Close{Sent: survey.Requests, Succeeded: survey.Requests})
	l.start = func() (source, error) {
		r, err := in.Reader()
		if err != nil {
			return nil, err
		}
		from := perfmetrics.NewReader(r, in.Name())
		from.Anchor = survey.First
		return named{from}, nil
	}
	return l, nil
}
