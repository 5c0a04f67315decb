package aiperf

import (
	"bufio"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// RecordsName and ConfigName are what aiperf calls its files in a run's directory.
const (
	RecordsName = recordsName
	ConfigName  = configName
)

// Metric is a metric of one request: a value, or a List.
type Metric struct {
	Tag, Unit string
	Value     float64
	List      []float64
}

// Stats is a metric of a run; Of are its figures by aiperf's names (avg, p50, ...), in order.
type Stats struct {
	Tag, Unit string
	Of        []Stat
}

// Stat is one figure of a metric.
type Stat struct {
	Name  string
	Value float64
}

// A Writer writes profile_export.jsonl: a line for each request, as aiperf 0.13 does.
// What a Reader takes of it is what was written, but for what aiperf has no place for: which is all that
// is of the connection, of the body and of the server's own figures, and the names of phases, which
// are warmup or profiling. It is not safe for concurrent use.
type Writer struct {
	w   *bufio.Writer
	buf []byte
}

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 64<<10)} }

// Record is a request to be written.
type Record struct {
	*trace.Request
	Run     int         // number of the run, from 0, by which ids differ
	Clock   trace.Clock // of its times
	Kind    trace.PhaseKind
	Metrics []Metric
}

// phaseOf is aiperf's for a kind of phase.
func phaseOf(kind trace.PhaseKind) string {
	if kind == trace.Measure || kind == "" {
		return DefaultPhase
	}
	return "warmup"
}

// Write writes one request.
func (w *Writer) Write(r *Record) error {
	b := append(w.buf[:0], `{"metadata":{`...)
	first := true
	key := func(name string) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(append(b, '"'), name...), '"', ':')
	}
	text := func(name, s string) {
		key(name)
		b, _ = jsontext.AppendQuote(b, strings.ToValidUTF8(s, "\ufffd"))
	}
	at := func(name string, t trace.Time) {
		key(name)
		b = strconv.AppendInt(b, r.Clock.Anchor.UnixNanos+int64(t), 10)
	}
	key("session_num")
	b = strconv.AppendInt(b, max(r.Line-1, 0), 10)
	text("x_request_id", strconv.Itoa(r.Run)+"-"+strconv.FormatInt(r.Seq, 10))
	if r.Conversation != "" {
		text("conversation_id", r.Conversation)
		key("turn_index")
		b = strconv.AppendInt(b, int64(r.Turn), 10)
	}
	at("credit_issued_ns", r.Scheduled)
	at("request_start_ns", r.Sent)
	if t, ok := r.FirstByte.Get(); ok {
		at("request_ack_ns", t)
	}
	at("request_end_ns", r.Done)
	text("worker_id", "wattrace")
	text("record_processor_id", "wattrace")
	text("benchmark_phase", phaseOf(r.Kind))
	key("was_cancelled")
	b = strconv.AppendBool(b, r.Outcome == trace.Cancelled)
	if r.Outcome == trace.Cancelled {
		at("cancellation_time_ns", r.Done)
	}
	b = append(b, `},"metrics":{`...)
	first = true
	for _, m := range r.Metrics {
		key(m.Tag)
		b = append(b, `{"value":`...)
		if m.List == nil {
			b = jsontext.AppendFloat(b, m.Value, 64)
		} else {
			for i, v := range m.List {
				b = jsontext.AppendFloat(append(b, "[,"[min(i, 1)]), v, 64)
			}
			b = append(b, ']')
		}
		b = append(b, `,"unit":`...)
		b, _ = jsontext.AppendQuote(b, m.Unit)
		b = append(b, '}')
	}
	b = append(b, '}')
	if r.Outcome != trace.Succeeded {
		b = append(b, `,"error":{`...)
		first = true
		switch code, ok := r.Status.Get(); {
		case r.Outcome == trace.Cancelled:
			key("code")
			b = append(b, "499"...)
			text("type", cancellation)
			text("message", "cancelled by the client")
		default:
			if ok {
				key("code")
				b = strconv.AppendInt(b, int64(code), 10)
			}
			text("type", string(r.Error.Class))
			text("message", r.Error.Message)
		}
		b = append(b, '}')
	}
	w.buf = append(b, '}', '\n')
	_, err := w.w.Write(w.buf)
	return err
}

// Flush writes what is left.
func (w *Writer) Flush() error { return w.w.Flush() }

// Summary is what WriteSummary writes.
type Summary struct {
	Producer   string // who wrote it
	Model      string // "" is unknown
	URLs       []string
	Phases     []trace.Phase
	Start, End time.Time // of the requests that are measured
	Cancelled  bool
	Metrics    []Stats
}

// WriteSummary writes profile_export_aiperf.json in the form of schema 1.1, with the load
// of each phase where input_config of aiperf from 0.9 on has it. aiperf_version names who wrote
// it.
func WriteSummary(w io.Writer, s *Summary) error {
	type object = map[string]any
	var phases []object
	for i := range s.Phases {
		if ph := &s.Phases[i]; ph.Kind != trace.Idle {
			phases = append(phases, phaseJSON(ph))
		}
	}
	input := object{"endpoint": object{"urls": s.URLs}, "phases": phases}
	if s.Model != "" {
		input["models"] = object{"items": []object{{"name": s.Model}}}
	}
	out := object{
		"schema_version": "1.1", "aiperf_version": s.Producer, "input_config": input, "was_cancelled": s.Cancelled,
		"start_time": s.Start.UTC().Format("2006-01-02T15:04:05.000000"), "end_time": s.End.UTC().Format("2006-01-02T15:04:05.000000"),
	}
	for _, m := range s.Metrics {
		of := object{"unit": m.Unit}
		for _, f := range m.Of {
			of[f.Name] = f.Value
			if f.Name == "count" {
				of[f.Name] = int64(f.Value)
			}
		}
		out[m.Tag] = of
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

// phaseJSON is a phase as input_config.phases has it.
func phaseJSON(ph *trace.Phase) map[string]any {
	p := map[string]any{"name": ph.Name, "kind": phaseOf(ph.Kind), "type": "concurrency"}
	if ph.Kind != trace.Measure {
		p["exclude_from_results"] = true
	}
	switch ph.LoadKind() {
	case trace.OpenLoop:
		p["rate"], p["type"] = ph.Rate, "poisson"
		if ph.Arrival == trace.Constant {
			p["type"] = "constant"
		} else if ph.Arrival == trace.Gamma {
			p["type"], p["smoothness"] = "gamma", ph.Shape
		}
	case trace.TraceTimes:
		p["type"] = "fixed_schedule"
	case trace.UserLoop:
		p["type"], p["users"] = "user_centric", ph.Users
	}
	if ph.Concurrency > 0 {
		p["concurrency"] = ph.Concurrency
	}
	if ph.Prefills > 0 {
		p["prefill_concurrency"] = ph.Prefills
	}
	if ph.Requests > 0 {
		p["requests"] = ph.Requests
	}
	if ph.Duration > 0 {
		p["duration"] = ph.Duration.Seconds()
	}
	return p
}
