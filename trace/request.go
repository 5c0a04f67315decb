package trace

import (
	"slices"
	"time"
)

// Outcome says how a request ended.
type Outcome string

// The outcomes. A request that ended before its answer was whole is failed or
// cancelled, however much of it had arrived.
const (
	Succeeded Outcome = "succeeded" // the answer came whole
	Failed    Outcome = "failed"    // see Request.Error
	Cancelled Outcome = "cancelled" // given up by the client: grace, or a signal
)

// TokenSource says who counted the output tokens.
type TokenSource string

// The sources of a token count.
const (
	FromUsage     TokenSource = "usage"     // the server's usage object: exact
	FromTimings   TokenSource = "timings"   // llama.cpp's timings, where it sends no usage: exact
	FromTokenizer TokenSource = "tokenizer" // the client's own tokenizer, of the whole text
	FromChunks    TokenSource = "chunks"    // events that carry output: a lower bound, since one event may hold several tokens
)

// Exact reports whether the count is of all tokens: the server's own, or a tokenizer's.
func (s TokenSource) Exact() bool { return s == FromUsage || s == FromTimings || s == FromTokenizer }

// ErrorClass groups failures by what failed, the same for every server.
type ErrorClass string

// The error classes of a request log.
const (
	ErrDNS          ErrorClass = "dns"           // the name did not resolve
	ErrConnect      ErrorClass = "connect"       // no connection
	ErrTLS          ErrorClass = "tls"           // no TLS session
	ErrStale        ErrorClass = "conn_stale"    // a kept connection had been closed, as was seen within 200 ms; nothing was answered
	ErrReset        ErrorClass = "reset"         // the connection broke before the answer began
	ErrTimeout      ErrorClass = "timeout"       // the request's own time limit
	ErrHTTP429      ErrorClass = "http_429"      // too many requests
	ErrHTTP4xx      ErrorClass = "http_4xx"      // any other client error
	ErrHTTP5xx      ErrorClass = "http_5xx"      // a server error
	ErrHTTPOther    ErrorClass = "http_other"    // a status that is no answer: 1xx, 3xx, an empty 2xx
	ErrSSEEvent     ErrorClass = "sse_error"     // an error event inside a stream that began with 200
	ErrSSETruncated ErrorClass = "sse_truncated" // the stream ended without [DONE] and without a finish reason
	ErrSSESyntax    ErrorClass = "sse_syntax"    // the stream is not server-sent events, or an event not JSON
	ErrBody         ErrorClass = "body"          // an answer that is not streamed broke off or is not JSON
	ErrClient       ErrorClass = "client"        // the client's own fault: out of descriptors, out of ports
)

// RequestError is why a request failed.
type RequestError struct {
	Class   ErrorClass
	Message string // for people; never a prompt or an answer
}

// ChunkKind is what one event of a stream carries, as the letter of
// chunk_kinds in the request log.
type ChunkKind byte

// The kinds of event. One that carries output counts as that, whatever else it
// carries; then the order is error, finish, usage, role.
const (
	ChunkRole      ChunkKind = 'r' // a role and no output
	ChunkContent   ChunkKind = 'c' // non-empty text
	ChunkReasoning ChunkKind = 'g' // non-empty reasoning text
	ChunkTool      ChunkKind = 't' // a tool call or a part of one
	ChunkFinish    ChunkKind = 'f' // a finish reason
	ChunkUsage     ChunkKind = 'u' // a usage object
	ChunkError     ChunkKind = 'e' // an error object
	ChunkDone      ChunkKind = 'd' // [DONE]
	ChunkComment   ChunkKind = 'k' // a comment line: keep-alive
	ChunkOther     ChunkKind = 'o' // none of these
)

// Output reports whether an event of kind k carries output tokens.
func (k ChunkKind) Output() bool {
	return k == ChunkContent || k == ChunkReasoning || k == ChunkTool
}

// Chunk is one event of a stream: what it was, and when the read that
// completed it returned.
type Chunk struct {
	At     Time
	Kind   ChunkKind
	Tokens int32 // output tokens that it added; 0 unless Request.ChunkTokens
}

// Request is the outcome of one request. Instants are on the log's steady
// clock; durations are derived by methods, never stored.
type Request struct {
	Seq          int64 // order of sending, from 0
	Line         int64 // 1-based turn of the trace
	Conversation string
	Turn         int
	Phase        string
	Slot         int // which of the phase's concurrent slots; in an open loop the lowest that no other request in flight had
	Target       int // which of the run's servers

	Scheduled  Time      // when the request was due
	Sent       Time      // the HTTP client was called
	Wrote      Opt[Time] // the last Write of the request returned
	FirstByte  Opt[Time] // the first byte of the answer was there
	FirstToken Opt[Time] // the first event with output; unknown if not streamed
	LastToken  Opt[Time] // the last event with output; if not streamed, the end of the body
	Done       Time      // the answer ended, or the failure was known

	Outcome      Outcome
	Status       Opt[int] // HTTP status
	Error        RequestError
	FinishReason string // "" is none

	InputTokens    Opt[int64] // as the server's usage says
	OutputTokens   Opt[int64] // completion tokens, reasoning included
	TokenSource    TokenSource
	ExpectedInput  Opt[int64] // from the side file
	ExpectedOutput Opt[int64] // from the side file

	Conn           Opt[int64]         // the connection, numbered from 0 in the order of opening
	ConnReused     Opt[bool]          // an earlier request had used the connection
	ConnIdle       Opt[time.Duration] // how long the connection had been waiting, kept or opened ahead
	ConnectStart   Opt[Time]          // the connection's dial began; unknown unless this request is its first
	ConnectEnd     Opt[Time]          // the connection stood, TLS included
	ReadLag        Opt[time.Duration] // how late the client read the answer, at worst; known where the kernel stamps
	BodyBytes      Opt[int64]         // length of the body as it was sent
	BodyHash       Opt[uint64]        // XXH3-64 of the body as it was sent, seed 0
	CacheSalt      string             // the cache_salt that was put into the body; "" is none
	ResponseID     string             // the server's name of the answer; "" is none
	OwnChunkStamps bool               // some instants of the answer are the client's, though the run's are the kernel's

	ServerMetrics []byte  // what the server measured of the request: an object of its objects; nil is none
	Usage         []byte  // the server's usage object, verbatim JSON; nil is none
	Chunks        []Chunk // every event, in order
	ChunkTokens   bool    // the server said how many tokens each of Chunks added: they add up to OutputTokens
}

// TTFT returns the time to first token: first token - sent.
func (r *Request) TTFT() (time.Duration, bool) {
	return r.FirstToken.V.Sub(r.Sent), r.FirstToken.OK
}

// ITL returns the mean inter-token latency, (last token - first token) /
// (output tokens - 1), as aiperf and vLLM's TPOT define it. It is unknown for
// fewer than two tokens, and for a count that is a lower bound.
func (r *Request) ITL() (time.Duration, bool) {
	n, ok := r.OutputTokens.Get()
	if !ok || n < 2 || !r.TokenSource.Exact() || !r.FirstToken.OK || !r.LastToken.OK {
		return 0, false
	}
	return r.LastToken.V.Sub(r.FirstToken.V) / time.Duration(n-1), true
}

// E2E returns the request latency: last token - sent.
func (r *Request) E2E() (time.Duration, bool) {
	return r.LastToken.V.Sub(r.Sent), r.LastToken.OK
}

// Lateness returns sent - scheduled: the client's own delay.
func (r *Request) Lateness() time.Duration { return r.Sent.Sub(r.Scheduled) }

// Outputs returns the events that carry output, in order. They are a part of Chunks where
// no others are between them, as is usual, and then cost nothing.
func (r *Request) Outputs() []Chunk {
	first, last := 0, len(r.Chunks)
	for first < last && !r.Chunks[first].Kind.Output() {
		first++
	}
	for first < last && !r.Chunks[last-1].Kind.Output() {
		last--
	}
	list := r.Chunks[first:last:last]
	for i := range list {
		if !list[i].Kind.Output() {
			return slices.DeleteFunc(slices.Clone(list), func(c Chunk) bool { return !c.Kind.Output() })
		}
	}
	return list
}
