package requests

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats/plan"
	"wattrace/trace"
)

// Writer writes a log. Lines are buffered: Flush hands them on. The first error
// of the underlying writer is returned by every later call. A Writer is not
// safe for concurrent use.
type Writer struct {
	// ChunkNanos keeps the stamps of events to the nanosecond (chunk_nanos), for logs of
	// others that have them so.
	ChunkNanos bool

	w   *bufio.Writer
	b   []byte
	err error
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 64<<10)} }

// Flush writes what is buffered.
func (w *Writer) Flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

// Run writes the first line of a log.
func (w *Writer) Run(r *Run) error {
	b := w.open(TypeRun)
	b = text(b, "schema", Schema)
	b = text(b, "producer", r.Producer)
	b = append(b, `,"clock":{"host":`...)
	b = appendString(b, r.Clock.Host)
	b = optText(b, "boot_id", r.Clock.BootID)
	b = snapshot(b, r.Clock.Anchor)
	b = append(b, `},"trace":{"path":`...)
	b = appendString(b, r.Trace.Path)
	b = text(b, "sha256", r.Trace.SHA256)
	b = integer(b, "turns", r.Trace.Turns)
	b = optText(b, "format", r.Trace.Format)
	b = optText(b, "source_sha256", r.Trace.SourceSHA256)
	b = optText(b, "like", r.Trace.Like)
	b = append(b, '}')
	b = list(b, "targets", r.Targets)
	if len(r.Servers) > 0 {
		b = append(b, `,"servers":[`...)
		for i, s := range r.Servers {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"target":`...)
			b = appendString(b, s.Target)
			b = text(b, "version", s.Version)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	b = append(b, `,"plan":`...)
	b = plan.AppendJSON(b, &r.Plan)
	b = list(b, "overlays", r.Overlays)
	b = optInteger(b, "seed", r.Seed)
	if r.Shard.Count != 0 {
		b = append(b, `,"shard":{"index":`...)
		b = strconv.AppendInt(b, int64(r.Shard.Index), 10)
		b = integer(b, "count", int64(r.Shard.Count))
		b = append(b, '}')
	}
	b = optText(b, "chunk_clock", string(r.ChunkClock))
	if r.Connections != (Connections{}) {
		b = connections(b, &r.Connections)
	}
	if m := &r.Machine; m.GOMAXPROCS > 0 {
		b = append(b, `,"client":{"gomaxprocs":`...)
		b = strconv.AppendInt(b, int64(m.GOMAXPROCS), 10)
		b = optInteger(b, "cpus", m.CPUs)
		b = optNumber(b, "cpu_quota", m.CPUQuota)
		b = optText(b, "cpu_model", m.CPUModel)
		b = optText(b, "governor", m.Governor)
		b = append(b, '}')
	}
	return w.line(b)
}

func connections(b []byte, c *Connections) []byte {
	b = append(b, `,"connections":{"balance":`...)
	b = appendString(b, c.Balance)
	if c.KeepAlive > 0 {
		b = append(b, `,"keepalive_seconds":`...)
		b = strconv.AppendFloat(b, c.KeepAlive.Seconds(), 'f', -1, 64)
	}
	if c.Preconnect > 0 {
		b = integer(b, "preconnect", int64(c.Preconnect))
	}
	if c.SourceAddresses > 0 {
		b = integer(b, "source_addresses", int64(c.SourceAddresses))
	}
	if c.Insecure {
		b = append(b, `,"tls_insecure":true`...)
	}
	b = optInteger(b, "cache_salt_seed", c.CacheSaltSeed)
	return append(b, '}')
}

// Phase writes the start or the end of a phase.
func (w *Writer) Phase(p *PhaseEvent) error {
	b := w.open(TypePhase)
	b = text(b, "phase", p.Phase)
	b = text(b, "kind", string(p.Kind))
	if p.Start {
		b = text(b, "event", "start")
	} else {
		b = text(b, "event", "end")
	}
	b = integer(b, "at_nanos", int64(p.At))
	if p.Start && (p.Concurrency > 0 || p.Kind == trace.Idle) {
		b = integer(b, "concurrency", int64(p.Concurrency))
	}
	return w.line(b)
}

// Sent writes that a request was sent.
func (w *Writer) Sent(s *Sent) error {
	b := w.open(TypeSent)
	b = integer(b, "seq", s.Seq)
	b = integer(b, "line", s.Line)
	b = text(b, "phase", s.Phase)
	b = integer(b, "sent_nanos", int64(s.At))
	return w.line(b)
}

// Clock writes a reading of the clocks.
func (w *Writer) Clock(s trace.ClockSnapshot) error {
	b := w.open(TypeClock)
	b = integer(b, "at_nanos", int64(s.At))
	b = snapshot(b, s)
	return w.line(b)
}

// Client writes what the load generator used.
func (w *Writer) Client(c *Client) error {
	b := w.open(TypeClient)
	b = integer(b, "at_nanos", int64(c.At))
	b = optNumber(b, "cpu_seconds", c.CPUSeconds)
	b = integer(b, "in_flight", int64(c.InFlight))
	b = optInteger(b, "held", c.Held)
	b = lateness(b, c.LatenessP50, c.LatenessP99, c.LatenessMax)
	b = optInteger(b, "gc_pause_nanos", c.GCPause)
	b = optInteger(b, "sched_p99_nanos", c.SchedP99)
	b = optInteger(b, "queue", c.Queue)
	b = optInteger(b, "log_blocked_nanos", c.LogBlocked)
	b = optInteger(b, "goroutines", c.Goroutines)
	return w.line(b)
}

// Close writes the last line and flushes. It does not close the underlying
// writer.
func (w *Writer) Close(c *Close) error {
	b := w.open(TypeClose)
	b = integer(b, "at_nanos", int64(c.At))
	b = integer(b, "sent", c.Sent)
	b = integer(b, "succeeded", c.Succeeded)
	b = integer(b, "failed", c.Failed)
	b = integer(b, "cancelled", c.Cancelled)
	b = append(b, `,"clean":`...)
	b = strconv.AppendBool(b, c.Clean)
	if c.Client.Verdict != "" {
		b = judgement(b, &c.Client)
	}
	if err := w.line(b); err != nil {
		return err
	}
	return w.Flush()
}

func judgement(b []byte, j *Judgement) []byte {
	b = append(b, `,"client":{"verdict":`...)
	b = appendString(b, string(j.Verdict))
	b = lateness(b, j.LatenessP50, j.LatenessP99, j.LatenessMax)
	b = optInteger(b, "mean_gap_nanos", j.MeanGap)
	b = optInteger(b, "bound_nanos", j.Bound)
	b = optInteger(b, "sched_p99_nanos", j.SchedP99)
	b = optNumber(b, "cpu_share", j.CPUShare)
	b = optNumber(b, "busy_share", j.BusyShare)
	b = optInteger(b, "log_blocked_nanos", j.LogBlocked)
	b = optInteger(b, "held", j.Held)
	return append(b, '}')
}

func lateness(b []byte, p50, p99, most trace.Opt[time.Duration]) []byte {
	b = optInteger(b, "lateness_p50_nanos", p50)
	b = optInteger(b, "lateness_p99_nanos", p99)
	return optInteger(b, "lateness_max_nanos", most)
}

// Request writes the outcome of a request. Its chunks must be in the order of
// time and not before Sent, and their tokens, where they are known, add up to
// OutputTokens; times of chunks are floored to microseconds since
// Sent. Usage and ServerMetrics must be one JSON object or nil; line breaks in
// them become spaces, and bytes that are not UTF-8 the replacement character.
func (w *Writer) Request(r *trace.Request) error {
	b := w.open(TypeRequest)
	b = integer(b, "seq", r.Seq)
	b = integer(b, "line", r.Line)
	if r.Conversation != "" {
		b = text(b, "conversation", r.Conversation)
		b = integer(b, "turn", int64(r.Turn))
	}
	b = text(b, "phase", r.Phase)
	b = integer(b, "slot", int64(r.Slot))
	b = integer(b, "target", int64(r.Target))
	b = moments(b, r)
	b = text(b, "outcome", string(r.Outcome))
	b = optInteger(b, "status", r.Status)
	if r.Error.Class != "" {
		b = append(b, `,"error":{"class":`...)
		b = appendString(b, string(r.Error.Class))
		b = text(b, "message", r.Error.Message)
		b = append(b, '}')
	}
	b = optText(b, "finish_reason", r.FinishReason)
	b = optInteger(b, "input_tokens", r.InputTokens)
	b = optInteger(b, "output_tokens", r.OutputTokens)
	b = optText(b, "token_source", string(r.TokenSource))
	b = optInteger(b, "expected_input_tokens", r.ExpectedInput)
	b = optInteger(b, "expected_output_tokens", r.ExpectedOutput)
	b = connection(b, r)
	b = optInteger(b, "body_bytes", r.BodyBytes)
	if r.BodyHash.OK {
		b = hash(b, "body_xxh3", r.BodyHash.V)
	}
	b = optText(b, "cache_salt", r.CacheSalt)
	b = optText(b, "response_id", r.ResponseID)
	if r.OwnChunkStamps {
		b = text(b, "chunk_clock", string(UserClock))
	}
	if r.ServerMetrics != nil {
		b = append(b, `,"server_metrics":`...)
		b = appendObject(b, r.ServerMetrics)
	}
	if r.Usage != nil {
		b = append(b, `,"usage":`...)
		b = appendObject(b, r.Usage)
	}
	b, err := chunks(b, r, w.ChunkNanos)
	if err != nil {
		w.b = b[:0]
		return err
	}
	return w.line(b)
}

// connection appends what is known of the connection.
func connection(b []byte, r *trace.Request) []byte {
	b = optInteger(b, "conn", r.Conn)
	b = optBoolean(b, "conn_reused", r.ConnReused)
	b = optInteger(b, "conn_idle_nanos", r.ConnIdle)
	b = optInteger(b, "connect_nanos", r.ConnectStart)
	b = optInteger(b, "connected_nanos", r.ConnectEnd)
	return optInteger(b, "read_lag_nanos", r.ReadLag)
}

func moments(b []byte, r *trace.Request) []byte {
	b = integer(b, "scheduled_nanos", int64(r.Scheduled))
	b = integer(b, "sent_nanos", int64(r.Sent))
	b = optInteger(b, "wrote_nanos", r.Wrote)
	b = optInteger(b, "first_byte_nanos", r.FirstByte)
	b = optInteger(b, "first_token_nanos", r.FirstToken)
	b = optInteger(b, "last_token_nanos", r.LastToken)
	return integer(b, "done_nanos", int64(r.Done))
}

// What errOrder and errTokens say are mistakes of the caller: sums of such chunks would
// lie.
var (
	errOrder  = errors.New("requests: the chunks of a request are not in the order of time")
	errTokens = errors.New("requests: the tokens of a request's chunks do not add up to its output tokens")
)

// chunks appends kinds and tokens as run lengths and the times as differences of
// offsets that were floored first, so that the prefix sums never drift.
func chunks(b []byte, r *trace.Request, nanos bool) ([]byte, error) {
	if len(r.Chunks) == 0 {
		return b, nil
	}
	b = append(b, `,"chunk_kinds":"`...)
	run := 0
	for i := range r.Chunks {
		run++
		if i+1 == len(r.Chunks) || r.Chunks[i+1].Kind != r.Chunks[i].Kind {
			b = append(b, byte(r.Chunks[i].Kind))
			b = strconv.AppendInt(b, int64(run), 10)
			run = 0
		}
	}
	b = append(b, '"')
	if r.ChunkTokens {
		var ok bool
		if b, ok = chunkTokens(b, r); !ok {
			return b, errTokens
		}
	}
	b = append(b, `,"chunk_micros":[`...)
	before := int64(0)
	for i := range r.Chunks {
		offset := int64(r.Chunks[i].At.Sub(r.Sent)) / int64(time.Microsecond)
		if offset < before || r.Chunks[i].At < r.Sent {
			return b, errOrder
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, offset-before, 10)
		before = offset
	}
	b = append(b, ']')
	if !nanos {
		return b, nil
	}
	b = append(b, `,"chunk_nanos":"`...)
	for i := range r.Chunks {
		n := r.Chunks[i].At.Sub(r.Sent) % time.Microsecond
		b = append(b, byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
		if i > 0 && r.Chunks[i].At < r.Chunks[i-1].At {
			return b, errOrder
		}
	}
	return append(b, '"'), nil
}

// chunkTokens appends the tokens that each chunk added, not ok if they are not those of
// the request.
func chunkTokens(b []byte, r *trace.Request) ([]byte, bool) {
	b = append(b, `,"chunk_tokens":"`...)
	run, sum := 0, int64(0)
	for i := range r.Chunks {
		n := r.Chunks[i].Tokens
		if n < 0 {
			return b, false
		}
		sum += int64(n)
		if run++; i+1 < len(r.Chunks) && r.Chunks[i+1].Tokens == n {
			continue
		}
		b = strconv.AppendInt(b, int64(n), 10)
		if run > 1 {
			b = strconv.AppendInt(append(b, '*'), int64(run), 10)
		}
		b = append(b, ' ')
		run = 0
	}
	b[len(b)-1] = '"' // for the last space
	return b, r.OutputTokens.OK && sum == r.OutputTokens.V
}

// open begins a line.
func (w *Writer) open(t Type) []byte {
	b := append(w.b[:0], `{"type":"`...)
	b = append(b, t...)
	return append(b, '"')
}

// line ends a line and keeps its buffer for the next one.
func (w *Writer) line(b []byte) error {
	b = append(b, "}\n"...)
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
	w.b = b[:0]
	return w.err
}

// snapshot appends the readings that there are; absolute ones as strings.
func snapshot(b []byte, s trace.ClockSnapshot) []byte {
	b = absolute(b, "boot_nanos", s.BootNanos)
	b = absolute(b, "monotonic_nanos", s.MonotonicNanos)
	b = absolute(b, "unix_nanos", s.UnixNanos)
	return integer(b, "spread_nanos", int64(s.Spread))
}

func absolute(b []byte, key string, nanos int64) []byte {
	if nanos == 0 {
		return b
	}
	b = append(name(b, key), '"')
	b = strconv.AppendInt(b, nanos, 10)
	return append(b, '"')
}

func name(b []byte, key string) []byte {
	b = append(b, `,"`...)
	b = append(b, key...)
	return append(b, `":`...)
}

func integer(b []byte, key string, v int64) []byte {
	return strconv.AppendInt(name(b, key), v, 10)
}

func optInteger[T ~int | ~int64](b []byte, key string, v trace.Opt[T]) []byte {
	if !v.OK {
		return b
	}
	return integer(b, key, int64(v.V))
}

func optNumber(b []byte, key string, v trace.Opt[float64]) []byte {
	if !v.OK {
		return b
	}
	return strconv.AppendFloat(name(b, key), v.V, 'f', -1, 64)
}

func optBoolean(b []byte, key string, v trace.Opt[bool]) []byte {
	if !v.OK {
		return b
	}
	return strconv.AppendBool(name(b, key), v.V)
}

// hash appends a hash as 16 hexadecimal digits, as a string: a number would lose
// bits in other readers.
func hash(b []byte, key string, v uint64) []byte {
	b = append(name(b, key), '"')
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[v>>shift&15])
	}
	return append(b, '"')
}

func text(b []byte, key, v string) []byte { return appendString(name(b, key), v) }

func optText(b []byte, key, v string) []byte {
	if v == "" {
		return b
	}
	return text(b, key, v)
}

func list(b []byte, key string, all []string) []byte {
	b = append(name(b, key), '[')
	for i, s := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// appendObject appends a JSON object as a part of a line. In JSON a line break
// is white space or an error, never part of a string.
func appendObject(b, object []byte) []byte {
	if !utf8.Valid(object) {
		object = bytes.ToValidUTF8(object, []byte("\ufffd"))
	}
	start := len(b)
	b = append(b, object...)
	for i, c := range b[start:] {
		if c == '\n' || c == '\r' {
			b[start+i] = ' '
		}
	}
	return b
}

// appendString appends s as a JSON string. Bytes that are not UTF-8 become the
// replacement character.
func appendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			// After ToValidUTF8 there is nothing left to fail on.
			b, _ = jsontext.AppendQuote(b, strings.ToValidUTF8(s, "\ufffd"))
			return b
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
