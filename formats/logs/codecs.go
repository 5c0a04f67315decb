package logs

import (
	"bytes"
	"io"

	"wattrace/formats"
	"wattrace/formats/aiperf"
	"wattrace/formats/energymetrics"
	"wattrace/formats/inferencex"
	"wattrace/formats/requests"
	"wattrace/trace"
)

// A Codec is a format that a request log can come in.
type Codec struct {
	Name   string         // the package in formats
	Kinds  []formats.Kind // what formats.Sniff calls it
	Doc    string         // one line
	Lost   string         // what is not taken of it; "" is nothing
	Schema string         // what a report calls it
	// Untimed says that its logs have times since a boot, or none: see [Log.Time].
	Untimed bool
	// Beside returns where the file is, if it is there, that says what a log of this
	// path does not; nil is nowhere.
	Beside func(path string) string
	// BesideSchema is what a report calls that file.
	BesideSchema string

	open func(in *formats.Input, beside *formats.Input) (*Log, error)
}

// Codecs lists every format once.
var Codecs = []Codec{
	{Name: "requests", Kinds: []formats.Kind{formats.Requests}, Doc: "what replay writes: JSON Lines", Schema: requests.Schema, open: openOurs},
	{
		Name: "aiperf", Kinds: []formats.Kind{formats.AIPerf, formats.AIPerfRaw}, Doc: "aiperf's profile_export.jsonl and profile_export_raw.jsonl, of any version",
		Lost:   "messages of errors, metrics that follow from the times; of the first events where their gaps do not add up, of the second texts",
		Schema: "aiperf profile_export", Beside: aiperf.ConfigPath, BesideSchema: "aiperf profile_export_aiperf", open: openAIPerf,
	},
	{
		Name: "benchserve", Kinds: []formats.Kind{formats.BenchServe}, Doc: "results of vllm bench serve, TensorRT-LLM's benchmark_serving, SGLang's bench_serving and InferenceX's benchmark_serving",
		Lost: "texts; metrics that follow from the columns, but as stated", Schema: "serving benchmark", Untimed: true, open: openBenchServe,
	},
	{
		Name: "trtllmbench", Kinds: []formats.Kind{formats.TRTLLMRequests, formats.TRTLLMReport}, Doc: "trtllm-bench's --request_json, and the figures of its --report_json",
		Lost: "texts; rates that follow from the times", Schema: "trtllm-bench", Untimed: true, open: openTRTLLMBench,
	},
	{
		Name: "perfmetrics", Kinds: []formats.Kind{formats.PerfMetrics}, Doc: "trtllm-serve's /perf_metrics",
		Lost: "what is not of requests, or not of a time", Schema: "trtllm-serve perf_metrics", Untimed: true, open: openPerfMetrics,
	},
	{
		Name: "guidellmreport", Kinds: []formats.Kind{formats.GuideLLMReport}, Doc: "guidellm's report (benchmarks.json)",
		Lost: "texts, the words of errors; figures of requests that failed", Schema: "guidellm report", open: openGuideLLM,
	},
	{
		Name: "inferencex", Kinds: []formats.Kind{formats.InferenceXAggregate, formats.InferenceXAudit}, Doc: "InferenceX's agg_*.json and power_validation_*.json: figures",
		Lost: "it has no requests", Schema: "InferenceX", Untimed: true, open: openInferenceX,
	},
	{
		Name: "energymetrics", Kinds: []formats.Kind{formats.EnergyMetrics}, Doc: "saved answers of trtllm-serve's /energy_metrics: figures",
		Lost: "it has no requests", Schema: "trtllm-serve energy_metrics", Untimed: true, open: openEnergyMetrics,
	},
}

// ByKind finds the codec of a sniffed kind.
func ByKind(kind formats.Kind) (Codec, bool) {
	for _, c := range Codecs {
		for _, k := range c.Kinds {
			if k == kind {
				return c, true
			}
		}
	}
	return Codec{}, false
}

// Time is what is known of when the requests of a log were.
type Time int

// The kinds of time.
const (
	// Known is that the log's clock says it.
	Known Time = iota
	// Steady is that all instants are of the monotonic clock of a boot that the log does
	// not name, so that they can be joined once the user says which: see [Log.On].
	Steady
	// Unplaced is that of no request it is known when it was sent: those of a phase are
	// all given as sent at its start. There is nothing to join.
	Unplaced
	// Framed is as Unplaced, but from when to when each phase was the log's clock says:
	// its energy can be had, and nothing over its course.
	Framed
)

// Totals are what is said of all requests of a phase together.
type Totals struct {
	Succeeded     int64
	Failed        int64            // 0 also where nothing is said of it
	Input, Output trace.Opt[int64] // tokens of those that succeeded
}

// Figure is a number that the tool that wrote a log states of its own run.
type Figure struct {
	Name, Unit string // Unit is "" where the file does not tell it
	Value      float64
}

// Statement is what a tool states.
type Statement struct {
	Tool    string // by the name that --as has, where it has one
	Run     string // the phase that it is of; "" is the file's only one
	Figures []Figure
}

// A Log is a request log that was opened.
type Log struct {
	Time     Time
	Requests bool                  // it has some, or totals of them; else there are only statements
	Stated   []Statement           // in the order of the file
	Lengths  map[string]trace.Time // how long a phase was, as its tool states it
	Totals   map[string]Totals     // of phases without single requests
	Frames   map[string][2]int64   // from when to when phases of a log that is Framed were, in Unix nanoseconds
	Notes    []string              // what its figures must be read with
	Parallel int                   // the most requests at once that were asked for, of a Framed log with one phase; 0 is not said
	// Answers are those of /energy_metrics, in the order of the file.
	Answers []energymetrics.Answer
	// Aggregate and Audit are what InferenceX published of a run; nil is none.
	Aggregate *inferencex.Aggregate
	Audit     *inferencex.Audit
	// Doubles says that its tool keeps instants as doubles in Unix seconds, of which its
	// figures are.
	Doubles bool
	Inexact int64 // requests whose output tokens were counted from events

	read  func() (io.Reader, error)
	head  *head // of what was turned; nil is ours
	start func() (source, error)
}

// Open opens a log; beside is the file that Codec.Beside named, or nil. Neither may be
// closed before the log is done with.
func (c Codec) Open(in, beside *formats.Input) (*Log, error) { return c.open(in, beside) }

// Reader returns the log from its start as the text of one of ours, each time it is
// called. A fault of the file comes as its error, with the position in the file.
func (l *Log) Reader() (io.Reader, error) {
	if l.head == nil {
		return l.read()
	}
	from, err := l.start()
	if err != nil {
		return nil, err
	}
	return turn(from, l.head), nil
}

// Outline returns what Reader does, without the requests where that is cheaper. Its close
// line counts them all the same.
func (l *Log) Outline() (io.Reader, error) {
	if l.head == nil {
		return l.read()
	}
	var text bytes.Buffer
	t := turn(nil, l.head)
	t.w = requests.NewWriter(&text)
	if err := t.begin(); err != nil {
		return nil, err
	}
	t.count = l.head.count
	if err := t.end(); err != nil {
		return nil, err
	}
	return &text, t.w.Flush()
}

// On says on which boot a log of the time Steady was written: that of a file whose clock
// is c. It is then Known, and can be joined to that file exactly. It reports whether c
// has a monotonic clock.
func (l *Log) On(c trace.Clock) bool {
	if l.Time != Steady || c.BootID == "" || c.Anchor.MonotonicNanos == 0 {
		return false
	}
	since := l.head.clock.Anchor.MonotonicNanos - c.Anchor.MonotonicNanos
	l.head.clock = trace.Clock{Host: c.Host, BootID: c.BootID, Anchor: trace.ClockSnapshot{
		MonotonicNanos: l.head.clock.Anchor.MonotonicNanos, UnixNanos: c.Anchor.UnixNanos + since,
	}}
	if c.Anchor.BootNanos != 0 {
		l.head.clock.Anchor.BootNanos = c.Anchor.BootNanos + since
	}
	l.Time = Known
	return true
}

// Sent returns how many requests another program's log has; of ours it is not known, and 0.
func (l *Log) Sent() int64 {
	if l.head == nil {
		return 0
	}
	return l.head.count.Sent
}

// Spans returns from when to when the log's requests were, on its own clock: for a log of
// the time Steady, in nanoseconds since the boot.
func (l *Log) Spans() (from, to int64) {
	if l.head == nil || len(l.head.phases) == 0 {
		return 0, 0
	}
	first, last := l.head.phases[0].start, l.head.phases[0].end
	for _, ph := range l.head.phases {
		first, last = min(first, ph.start), max(last, ph.end)
	}
	base := l.head.clock.Anchor.MonotonicNanos
	return base + int64(first), base + int64(last)
}

func openOurs(in, _ *formats.Input) (*Log, error) { return &Log{Requests: true, read: in.Reader}, nil }
