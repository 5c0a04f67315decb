package logtable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"wattrace/formats/requests"
	"wattrace/trace"
)

// Schema is the schema that this package writes.
const Schema = "wattrace.request_table/1"

// Head is what a log says beside its requests. It is gathered in a first pass, line by
// line, with Add.
type Head struct {
	Incomplete bool // the log has no close line, or a run of it has none

	runs     []run
	producer string
	lines    bytes.Buffer
	w        *requests.Writer
	closed   bool
}

type run struct {
	anchor  int64 // Unix nanoseconds
	clock   requests.ChunkClock
	targets []string
	kinds   map[string]trace.PhaseKind
}

// Add takes a line of the log. Requests need not be given.
func (h *Head) Add(rec *requests.Record) error {
	if h.w == nil {
		h.w = requests.NewWriter(&h.lines)
	}
	switch rec.Type {
	case requests.TypeRun:
		h.Incomplete = h.Incomplete || len(h.runs) > 0 && !h.closed
		h.closed = false
		h.runs = append(h.runs, newRun(&rec.Run))
		if len(h.runs) == 1 {
			h.producer = rec.Run.Producer
		}
		return h.w.Run(&rec.Run)
	case requests.TypePhase:
		h.runs[len(h.runs)-1].kinds[rec.Phase.Phase] = rec.Phase.Kind
		return h.w.Phase(&rec.Phase)
	case requests.TypeClock:
		return h.w.Clock(rec.Clock)
	case requests.TypeClose:
		h.closed = true
		return h.w.Close(&rec.Close)
	}
	return nil
}

func newRun(r *requests.Run) run {
	n := run{r.Clock.Anchor.UnixNanos, r.ChunkClock, r.Targets, map[string]trace.PhaseKind{}}
	for _, ph := range r.Plan.Phases {
		n.kinds[ph.Name] = ph.Kind
	}
	return n
}

// End ends the first pass.
func (h *Head) End() error {
	if len(h.runs) == 0 {
		return errors.New("the log has no run line")
	}
	h.Incomplete = h.Incomplete || !h.closed
	return h.w.Flush()
}

// metadata returns what the schema says of the log.
func (h *Head) metadata() (arrow.Metadata, error) {
	line, _, _ := strings.Cut(h.lines.String(), "\n")
	var first struct{ Clock, Plan json.RawMessage }
	if err := json.Unmarshal([]byte(line), &first); err != nil {
		return arrow.Metadata{}, err
	}
	return arrow.NewMetadata(
		[]string{"wattrace.schema", "wattrace.producer", "wattrace.clock", "wattrace.plan", "wattrace.log"},
		[]string{Schema, h.producer, string(first.Clock), string(first.Plan), h.lines.String()}), nil
}

// Table makes Arrow records of requests. It must not be used by two goroutines at once.
type Table struct {
	schema *arrow.Schema
	head   *Head
	run    int // of the next request
	b      *array.RecordBuilder
	rows   int
	text   []byte
}

// New returns the table of a log.
func New(h *Head) (*Table, error) {
	m, err := h.metadata()
	if err != nil {
		return nil, err
	}
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.name, Type: c.typ, Nullable: !c.always}
		if c.unit != "" {
			fields[i].Metadata = arrow.NewMetadata([]string{"unit"}, []string{c.unit})
		}
	}
	t := &Table{schema: arrow.NewSchema(fields, &m), head: h, run: -1}
	t.b = array.NewRecordBuilder(memory.DefaultAllocator, t.schema)
	return t, nil
}

// Schema returns the schema, with the metadata.
func (t *Table) Schema() *arrow.Schema { return t.schema }

// Rows returns how many requests were added since the last Record.
func (t *Table) Rows() int { return t.rows }

// Add takes a line of the log in the second pass: a run or a request. Others are
// passed over.
func (t *Table) Add(rec *requests.Record) error {
	switch rec.Type {
	case requests.TypeRun:
		if t.run++; t.run >= len(t.head.runs) {
			return errors.New("the log has grown meanwhile")
		}
	case requests.TypeRequest:
		if t.run < 0 {
			return errors.New("a request before the run")
		}
		t.rows++
		for i, c := range columns {
			c.put(t, t.b.Field(i), &rec.Request)
		}
	}
	return nil
}

// Record returns the requests that were added since the last one. The caller releases it.
func (t *Table) Record() arrow.Record {
	t.rows = 0
	return t.b.NewRecord()
}

var (
	timeType  = &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	textType  = arrow.BinaryTypes.String
	int64Type = arrow.PrimitiveTypes.Int64
	int32Type = arrow.PrimitiveTypes.Int32
	boolType  = arrow.FixedWidthTypes.Boolean
	listType  = arrow.ListOfNonNullable(int64Type)
)

// column is a column of the table.
type column struct {
	name   string
	typ    arrow.DataType
	always bool // never null
	unit   string
	put    func(t *Table, b array.Builder, q *trace.Request)
}

// columns are all of them, in order; doc.go specifies them.
var columns = []column{
	{"run", int32Type, true, "", func(t *Table, b array.Builder, _ *trace.Request) { b.(*array.Int32Builder).Append(int32(t.run)) }},
	count("seq", true, "", func(q *trace.Request) trace.Opt[int64] { return trace.Some(q.Seq) }),
	count("line", true, "", func(q *trace.Request) trace.Opt[int64] { return trace.Some(q.Line) }),
	text("conversation", func(q *trace.Request) string { return q.Conversation }),
	small("turn", false, func(q *trace.Request) trace.Opt[int] { return trace.Opt[int]{V: q.Turn, OK: q.Conversation != ""} }),
	always("phase", func(q *trace.Request) string { return q.Phase }),
	{"phase_kind", textType, false, "", func(t *Table, b array.Builder, q *trace.Request) {
		putText(b, string(t.head.runs[t.run].kinds[q.Phase]))
	}},
	small("slot", true, func(q *trace.Request) trace.Opt[int] { return trace.Some(q.Slot) }),
	small("target", true, func(q *trace.Request) trace.Opt[int] { return trace.Some(q.Target) }),
	{"target_url", textType, false, "", func(t *Table, b array.Builder, q *trace.Request) {
		url := ""
		if all := t.head.runs[t.run].targets; q.Target < len(all) {
			url = all[q.Target]
		}
		putText(b, url)
	}},
	{"time", timeType, true, "", func(t *Table, b array.Builder, q *trace.Request) {
		b.(*array.TimestampBuilder).Append(arrow.Timestamp(t.head.runs[t.run].anchor + int64(q.Sent)))
	}},
	instant("scheduled_nanos", true, func(q *trace.Request) trace.Opt[trace.Time] { return trace.Some(q.Scheduled) }),
	instant("sent_nanos", true, func(q *trace.Request) trace.Opt[trace.Time] { return trace.Some(q.Sent) }),
	instant("wrote_nanos", false, func(q *trace.Request) trace.Opt[trace.Time] { return q.Wrote }),
	instant("first_byte_nanos", false, func(q *trace.Request) trace.Opt[trace.Time] { return q.FirstByte }),
	instant("first_token_nanos", false, func(q *trace.Request) trace.Opt[trace.Time] { return q.FirstToken }),
	instant("last_token_nanos", false, func(q *trace.Request) trace.Opt[trace.Time] { return q.LastToken }),
	instant("done_nanos", true, func(q *trace.Request) trace.Opt[trace.Time] { return trace.Some(q.Done) }),
	instant("connect_nanos", false, func(q *trace.Request) trace.Opt[trace.Time] { return q.ConnectStart }),
	instant("connected_nanos", false, func(q *trace.Request) trace.Opt[trace.Time] { return q.ConnectEnd }),
	always("outcome", func(q *trace.Request) string { return string(q.Outcome) }),
	small("status", false, func(q *trace.Request) trace.Opt[int] { return q.Status }),
	text("error_class", func(q *trace.Request) string { return string(q.Error.Class) }),
	text("error_message", func(q *trace.Request) string { return q.Error.Message }),
	text("finish_reason", func(q *trace.Request) string { return q.FinishReason }),
	count("input_tokens", false, "tokens", func(q *trace.Request) trace.Opt[int64] { return q.InputTokens }),
	count("output_tokens", false, "tokens", func(q *trace.Request) trace.Opt[int64] { return q.OutputTokens }),
	text("token_source", func(q *trace.Request) string { return string(q.TokenSource) }),
	count("expected_input_tokens", false, "tokens", func(q *trace.Request) trace.Opt[int64] { return q.ExpectedInput }),
	count("expected_output_tokens", false, "tokens", func(q *trace.Request) trace.Opt[int64] { return q.ExpectedOutput }),
	count("conn", false, "", func(q *trace.Request) trace.Opt[int64] { return q.Conn }),
	{"conn_reused", boolType, false, "", func(_ *Table, b array.Builder, q *trace.Request) {
		if v, ok := q.ConnReused.Get(); ok {
			b.(*array.BooleanBuilder).Append(v)
		} else {
			b.AppendNull()
		}
	}},
	count("conn_idle_nanos", false, "ns", func(q *trace.Request) trace.Opt[int64] {
		return trace.Opt[int64]{V: int64(q.ConnIdle.V), OK: q.ConnIdle.OK}
	}),
	count("read_lag_nanos", false, "ns", func(q *trace.Request) trace.Opt[int64] {
		return trace.Opt[int64]{V: int64(q.ReadLag.V), OK: q.ReadLag.OK}
	}),
	count("body_bytes", false, "By", func(q *trace.Request) trace.Opt[int64] { return q.BodyBytes }),
	{"body_xxh3", textType, false, "", func(_ *Table, b array.Builder, q *trace.Request) {
		if v, ok := q.BodyHash.Get(); ok {
			putText(b, fmt.Sprintf("%016x", v))
		} else {
			b.AppendNull()
		}
	}},
	text("cache_salt", func(q *trace.Request) string { return q.CacheSalt }),
	text("response_id", func(q *trace.Request) string { return q.ResponseID }),
	{"chunk_clock", textType, false, "", func(t *Table, b array.Builder, q *trace.Request) {
		clock := t.head.runs[t.run].clock
		if q.OwnChunkStamps {
			clock = requests.UserClock
		}
		putText(b, string(clock))
	}},
	text("usage", func(q *trace.Request) string { return string(q.Usage) }),
	text("server_metrics", func(q *trace.Request) string { return string(q.ServerMetrics) }),
	{"chunk_nanos", listType, false, "ns", func(_ *Table, b array.Builder, q *trace.Request) {
		putList(b, q.Chunks, func(c trace.Chunk) int64 { return int64(c.At.Sub(q.Sent)) })
	}},
	{"chunk_kinds", textType, false, "", func(t *Table, b array.Builder, q *trace.Request) {
		t.text = t.text[:0]
		for _, c := range q.Chunks {
			t.text = append(t.text, byte(c.Kind))
		}
		putText(b, string(t.text))
	}},
	{"chunk_tokens", listType, false, "tokens", func(_ *Table, b array.Builder, q *trace.Request) {
		if !q.ChunkTokens {
			b.AppendNull()
			return
		}
		putList(b, q.Chunks, func(c trace.Chunk) int64 { return int64(c.Tokens) })
	}},
}

func text(name string, of func(*trace.Request) string) column {
	return column{name, textType, false, "", func(_ *Table, b array.Builder, q *trace.Request) { putText(b, of(q)) }}
}

// always makes a text that may be empty one that is never null.
func always(name string, of func(*trace.Request) string) column {
	return column{name, textType, true, "", func(_ *Table, b array.Builder, q *trace.Request) { b.(*array.StringBuilder).Append(of(q)) }}
}

func putText(b array.Builder, s string) {
	if s == "" {
		b.AppendNull()
		return
	}
	b.(*array.StringBuilder).Append(s)
}

func putList(b array.Builder, chunks []trace.Chunk, of func(trace.Chunk) int64) {
	if len(chunks) == 0 {
		b.AppendNull()
		return
	}
	list := b.(*array.ListBuilder)
	list.Append(true)
	values := list.ValueBuilder().(*array.Int64Builder)
	values.Reserve(len(chunks))
	for _, c := range chunks {
		values.UnsafeAppend(of(c))
	}
}

func count(name string, always bool, unit string, of func(*trace.Request) trace.Opt[int64]) column {
	return column{name, int64Type, always, unit, func(_ *Table, b array.Builder, q *trace.Request) {
		if v, ok := of(q).Get(); ok {
			b.(*array.Int64Builder).Append(v)
		} else {
			b.AppendNull()
		}
	}}
}

func small(name string, always bool, of func(*trace.Request) trace.Opt[int]) column {
	return column{name, int32Type, always, "", func(_ *Table, b array.Builder, q *trace.Request) {
		if v, ok := of(q).Get(); ok {
			b.(*array.Int32Builder).Append(int32(v))
		} else {
			b.AppendNull()
		}
	}}
}

func instant(name string, always bool, of func(*trace.Request) trace.Opt[trace.Time]) column {
	return count(name, always, "ns", func(q *trace.Request) trace.Opt[int64] {
		v := of(q)
		return trace.Opt[int64]{V: int64(v.V), OK: v.OK}
	})
}
