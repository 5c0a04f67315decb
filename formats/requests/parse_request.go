package requests

import (
	"encoding/binary"
	"math"
	"math/bits"
	"time"

	"wattrace/trace"
)

// The keys of a request line, in the order in which they are written.
const (
	kSeq = iota
	kLine
	kConversation
	kTurn
	kPhase
	kSlot
	kTarget
	kScheduled
	kSent
	kWrote
	kFirstByte
	kFirstToken
	kLastToken
	kDone
	kOutcome
	kStatus
	kError
	kFinish
	kInput
	kOutput
	kSource
	kExpectedInput
	kExpectedOutput
	kConn
	kReused
	kConnIdle
	kConnect
	kConnected
	kReadLag
	kBodyBytes
	kBodyHash
	kSalt
	kResponse
	kChunkClock
	kMetrics
	kUsage
	kKinds
	kTokens
	kMicros
	kNanos
)

var requestKeys = []string{
	kSeq: "seq", kLine: "line", kConversation: "conversation", kTurn: "turn",
	kPhase: "phase", kSlot: "slot", kTarget: "target",
	kScheduled: "scheduled_nanos", kSent: "sent_nanos", kWrote: "wrote_nanos",
	kFirstByte: "first_byte_nanos", kFirstToken: "first_token_nanos",
	kLastToken: "last_token_nanos", kDone: "done_nanos",
	kOutcome: "outcome", kStatus: "status", kError: "error", kFinish: "finish_reason",
	kInput: "input_tokens", kOutput: "output_tokens", kSource: "token_source",
	kExpectedInput: "expected_input_tokens", kExpectedOutput: "expected_output_tokens",
	kConn: "conn", kReused: "conn_reused", kConnIdle: "conn_idle_nanos",
	kConnect: "connect_nanos", kConnected: "connected_nanos",
	kReadLag: "read_lag_nanos", kBodyBytes: "body_bytes", kBodyHash: "body_xxh3", kSalt: "cache_salt",
	kResponse: "response_id", kChunkClock: "chunk_clock", kMetrics: "server_metrics",
	kUsage: "usage", kKinds: "chunk_kinds", kTokens: "chunk_tokens", kMicros: "chunk_micros",
	kNanos: "chunk_nanos",
}

const requestRequired = 1<<kSeq | 1<<kLine | 1<<kPhase | 1<<kSlot | 1<<kTarget |
	1<<kScheduled | 1<<kSent | 1<<kDone | 1<<kOutcome

// request reads a request line.
func (r *Reader) request(q *trace.Request) {
	p := &r.p
	chunks := q.Chunks[:0]
	if q.Usage != nil {
		r.usage = q.Usage[:0]
	}
	if q.ServerMetrics != nil {
		r.metrics = q.ServerMetrics[:0]
	}
	*q = trace.Request{}
	r.kinds, r.tokens, r.nanos = r.kinds[:0], r.tokens[:0], r.nanos[:0]
	kindsAt, tokensAt, microsAt, nanosAt := 0, 0, 0, 0
	seen := p.object("the request line", requestKeys, requestRequired, func(k int) {
		what := requestKeys[k]
		switch k {
		case kSeq:
			q.Seq = p.integer(what, 0, max53)
		case kLine:
			q.Line = p.integer(what, 1, max53)
		case kConversation:
			q.Conversation = p.text(what)
		case kTurn:
			q.Turn = int(p.integer(what, 0, math.MaxInt32))
		case kPhase:
			q.Phase = p.text(what)
		case kSlot:
			q.Slot = int(p.integer(what, 0, math.MaxInt32))
		case kTarget:
			r.target(q)
		case kScheduled:
			q.Scheduled = p.instant(what)
		case kSent:
			q.Sent = p.instant(what)
		case kWrote:
			q.Wrote = trace.Some(p.instant(what))
		case kFirstByte:
			q.FirstByte = trace.Some(p.instant(what))
		case kFirstToken:
			q.FirstToken = trace.Some(p.instant(what))
		case kLastToken:
			q.LastToken = trace.Some(p.instant(what))
		case kDone:
			q.Done = p.instant(what)
		case kOutcome:
			p.outcome(q)
		case kStatus:
			q.Status = trace.Some(int(p.integer(what, 0, 999)))
		case kError:
			p.requestError(&q.Error)
		case kFinish:
			q.FinishReason = p.text(what)
		case kInput:
			q.InputTokens = trace.Some(p.integer(what, 0, max53))
		case kOutput:
			q.OutputTokens = trace.Some(p.integer(what, 0, max53))
		case kSource:
			p.source(q)
		case kExpectedInput:
			q.ExpectedInput = trace.Some(p.integer(what, 0, max53))
		case kExpectedOutput:
			q.ExpectedOutput = trace.Some(p.integer(what, 0, max53))
		case kConn:
			q.Conn = trace.Some(p.integer(what, 0, max53))
		case kReused:
			q.ConnReused = trace.Some(p.boolean(what))
		case kConnIdle:
			q.ConnIdle = trace.Some(time.Duration(p.integer(what, 0, maxInstant)))
		case kConnect:
			q.ConnectStart = trace.Some(p.instant(what))
		case kConnected:
			q.ConnectEnd = trace.Some(p.instant(what))
		case kReadLag:
			q.ReadLag = trace.Some(time.Duration(p.integer(what, 0, maxInstant)))
		case kBodyBytes:
			q.BodyBytes = trace.Some(p.integer(what, 0, max53))
		case kBodyHash:
			q.BodyHash = trace.Some(p.hash(what))
		case kSalt:
			q.CacheSalt = string(p.raw(what)) // each its own: not worth keeping
		case kResponse:
			q.ResponseID = string(p.raw(what))
		case kChunkClock:
			q.OwnChunkStamps = p.chunkClock() == UserClock
		case kMetrics:
			q.ServerMetrics, r.metrics = p.verbatim(what, r.metrics), nil
		case kUsage:
			q.Usage, r.usage = p.verbatim(what, r.usage), nil
		case kKinds:
			kindsAt = p.i
			r.kinds = append(r.kinds, p.raw(what)...)
		case kTokens:
			tokensAt = p.i
			r.tokens = append(r.tokens, p.raw(what)...)
		case kMicros:
			microsAt = p.i
			chunks = p.micros(chunks)
		case kNanos:
			nanosAt = p.i
			r.nanos = append(r.nanos, p.raw(what)...)
		}
	})
	q.Chunks = chunks
	if seen&(1<<kKinds|1<<kMicros) != 0 {
		p.spread(q, r.kinds, kindsAt, microsAt)
	}
	if seen&(1<<kNanos) != 0 {
		p.spreadNanos(q, r.nanos, nanosAt)
	}
	if seen&(1<<kTokens) != 0 {
		p.spreadTokens(q, r.tokens, tokensAt)
	}
	if seen&(1<<kOutput) != 0 && q.TokenSource == "" {
		p.fail(0, "output_tokens needs token_source")
	}
}

// instant reads an instant on the steady clock. Sums of a few differences fit.
func (p *parser) instant(what string) trace.Time {
	return trace.Time(p.integer(what, -maxInstant, maxInstant))
}

func (r *Reader) target(q *trace.Request) {
	start := r.p.i
	q.Target = int(r.p.integer("target", 0, math.MaxInt32))
	if q.Target >= r.targets {
		r.p.fail(start, "target %d is not one of the run's %d", q.Target, r.targets)
	}
}

func (p *parser) outcome(q *trace.Request) {
	start := p.i
	switch o := trace.Outcome(p.text("outcome")); o {
	case trace.Succeeded, trace.Failed, trace.Cancelled:
		q.Outcome = o
	default:
		p.fail(start, "outcome must be succeeded, failed or cancelled")
	}
}

func (p *parser) source(q *trace.Request) {
	start := p.i
	switch s := trace.TokenSource(p.text("token_source")); s {
	case trace.FromUsage, trace.FromTimings, trace.FromTokenizer, trace.FromChunks:
		q.TokenSource = s
	default:
		p.fail(start, "token_source must be usage, timings, tokenizer or chunks")
	}
}

func (p *parser) requestError(e *trace.RequestError) {
	p.object("error", []string{"class", "message"}, 1, func(k int) {
		if k == 0 {
			e.Class = trace.ErrorClass(p.text("class"))
		} else {
			e.Message = p.text("message")
		}
	})
}

// verbatim appends an object as it stands to dst[:0].
func (p *parser) verbatim(what string, dst []byte) []byte {
	if p.peek() != '{' {
		p.fail(p.i, "%s must be an object", what)
	}
	return append(dst[:0], p.skip()...)
}

// hash reads a hash of 64 bits: 16 hexadecimal digits.
func (p *parser) hash(what string) uint64 {
	start := p.i
	s := p.raw(what)
	v, ok := uint64(0), len(s) == 16
	for _, c := range s {
		switch {
		case c-'0' < 10:
			v = v<<4 | uint64(c-'0')
		case c-'a' < 6:
			v = v<<4 | uint64(c-'a'+10)
		default:
			ok = false
		}
	}
	if !ok {
		p.fail(start, "%s must be 16 hexadecimal digits", what)
	}
	return v
}

// chunkClock reads who stamped the events.
func (p *parser) chunkClock() ChunkClock {
	start := p.i
	switch c := ChunkClock(p.text("chunk_clock")); c {
	case UserClock, KernelClock:
		return c
	}
	p.fail(start, `chunk_clock must be "user" or "kernel"`)
	return ""
}

// mostMicros is the most that fits an instant.
const mostMicros = math.MaxInt64 / int64(time.Microsecond)

// micros reads chunk_micros and adds it up: At is in microseconds since sent until
// spread makes instants of it, and mostMicros+1 where they are out of range.
func (p *parser) micros(chunks []trace.Chunk) []trace.Chunk {
	if p.err != nil {
		return chunks
	}
	if p.peek() != '[' {
		p.fail(p.i, "chunk_micros must be an array")
		return chunks
	}
	p.i++
	sum := int64(0)
	for {
		chunks, sum = p.shortMicros(chunks, sum)
		p.peek()
		start := p.i
		v, ok := p.digits()
		if !ok {
			p.fail(start, "chunk_micros must hold whole numbers from 0 on")
			return chunks
		}
		if sum += v; v > mostMicros || sum > mostMicros {
			sum = mostMicros + 1
		}
		chunks = append(chunks, trace.Chunk{At: trace.Time(sum)})
		if p.peek() != ',' {
			break
		}
		p.i++
	}
	p.take(']', "chunk_micros")
	return chunks
}

// shortMicros is micros for the numbers of up to seven digits that a comma ends, from
// here on; nearly all are. They are most of a log, so eight bytes are looked at at once.
func (p *parser) shortMicros(chunks []trace.Chunk, sum int64) ([]trace.Chunk, int64) {
	const each = 0x0101010101010101
	b := p.b[p.i:]
	for len(b) >= 8 && sum <= mostMicros-1e7 {
		v := binary.LittleEndian.Uint64(b) ^ '0'*each // the first digit is in the lowest byte
		other := (v + 0x76*each | v) & (0x80 * each)  // the lowest bit is in the first byte that is no digit
		n := bits.TrailingZeros64(other) &^ 7
		if n == 0 || n == 64 || byte(v>>n) != ','^'0' || byte(v) == 0 && n > 8 {
			break
		}
		v <<= (64 - n) & 63
		v = v*10 + v>>8 // pairs of digits, in every other byte
		v = ((v&0x000000ff000000ff)*(100+1000000<<32) + (v>>16&0x000000ff000000ff)*(1+10000<<32)) >> 32
		sum += int64(v)
		chunks = append(chunks, trace.Chunk{At: trace.Time(sum)})
		if n == 5*8 { // 10 to 100 ms; foreseen, so that the next one does not wait for n
			b = b[6:]
		} else {
			b = b[n/8+1:]
		}
	}
	p.i = len(p.b) - len(b)
	return chunks, sum
}

// spread gives each chunk its kind and its instant.
func (p *parser) spread(q *trace.Request, kinds []byte, kindsAt, microsAt int) {
	if p.err != nil {
		return
	}
	most := mostMicros
	if q.Sent > 0 {
		most = (math.MaxInt64 - int64(q.Sent)) / int64(time.Microsecond)
	}
	if n := len(q.Chunks); n > 0 && int64(q.Chunks[n-1].At) > most {
		defer p.fail(microsAt, "%w", errOverflow) // unless something else is wrong
	}
	chunks := q.Chunks
	for i := 0; i < len(kinds); {
		kind := kinds[i]
		n := 0
		for i++; i < len(kinds) && kinds[i]-'0' < 10 && n < 1<<40; i++ {
			n = n*10 + int(kinds[i]-'0')
		}
		if kind-'a' >= 26 || n == 0 {
			p.fail(kindsAt, "chunk_kinds must be letters, each with a count from 1 on")
			return
		}
		if n > len(chunks) {
			p.fail(kindsAt, "chunk_kinds has more chunks than chunk_micros")
			return
		}
		for k := range chunks[:n] {
			c := &chunks[k]
			c.At, c.Kind = q.Sent+c.At*trace.Time(time.Microsecond), trace.ChunkKind(kind)
		}
		chunks = chunks[n:]
	}
	if len(chunks) > 0 {
		p.fail(microsAt, "chunk_micros has more chunks than chunk_kinds")
	}
}

// nanosDigits is how many digits of chunk_nanos an event has.
const nanosDigits = 3

// spreadNanos adds to each chunk's instant what the microseconds were floored by.
func (p *parser) spreadNanos(q *trace.Request, nanos []byte, at int) {
	if p.err != nil {
		return
	}
	if len(nanos) != nanosDigits*len(q.Chunks) {
		p.fail(at, "chunk_nanos must have three digits for each chunk")
		return
	}
	for i := range q.Chunks {
		n, k := digits(nanos[nanosDigits*i:nanosDigits*(i+1)], 999)
		if k < nanosDigits {
			p.fail(at, "chunk_nanos must have three digits for each chunk")
			return
		}
		c := &q.Chunks[i]
		if c.At > math.MaxInt64-trace.Time(n) {
			p.fail(at, "%w", errOverflow)
			return
		}
		if c.At += trace.Time(n); i > 0 && c.At < q.Chunks[i-1].At {
			p.fail(at, "chunk_nanos puts a chunk before the one before it")
			return
		}
	}
}

// spreadTokens gives each chunk its tokens.
func (p *parser) spreadTokens(q *trace.Request, tokens []byte, at int) {
	if p.err != nil {
		return
	}
	const most = math.MaxInt32
	chunks, sum := q.Chunks, int64(0)
	for i := 0; i <= len(tokens); i++ { // tokens[i-1] is a space
		n, k := digits(tokens[i:], most)
		times, ok := int64(1), k > 0
		if i += k; ok && i < len(tokens) && tokens[i] == '*' {
			times, k = digits(tokens[i+1:], most)
			i, ok = i+1+k, times > 0
		}
		if !ok || n > most || i < len(tokens) && tokens[i] != ' ' {
			p.fail(at, "chunk_tokens must be whole numbers, each with * and a count from 1 on where it is that of several chunks")
			return
		}
		if times > int64(len(chunks)) {
			p.fail(at, "chunk_tokens has more chunks than chunk_kinds")
			return
		}
		for k := range chunks[:times] {
			chunks[k].Tokens = int32(n)
		}
		chunks, sum = chunks[times:], sum+n*times
	}
	switch {
	case len(chunks) > 0:
		p.fail(at, "chunk_tokens has fewer chunks than chunk_kinds")
	case !q.OutputTokens.OK || sum != q.OutputTokens.V:
		p.fail(at, "chunk_tokens add up to %d, which is not what output_tokens says", sum)
	}
	q.ChunkTokens = true
}

// digits reads a number, which is most+1 if it is more than most, and returns its length.
func digits(b []byte, most int64) (v int64, n int) {
	for n < len(b) && b[n]-'0' < 10 {
		v = min(v*10+int64(b[n]-'0'), most+1)
		n++
	}
	return v, n
}
