package replay

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"time"

	"github.com/zeebo/xxh3"

	"wattrace/trace"
)

// ClientOptions says how requests are made. The zero value works.
type ClientOptions struct {
	Key     string        // sent as "Authorization: Bearer KEY"; "" sends none
	Header  http.Header   // added to every request
	Timeout time.Duration // of a whole request, from sent to the end of the answer; 0 is none

	// ServerMessages keeps the messages of servers' error objects in the log.
	// Some servers quote the prompt in them, so by default only their type and
	// code are kept.
	ServerMessages bool

	// TLS is the configuration of TLS; nil is Go's own. Where it has no
	// ServerName the target's is used.
	TLS *tls.Config
	// KeepAlive is how long a connection may rest between two requests; 0 is 4 s,
	// and less gives every request a connection of its own. So gets a server that
	// is seen to close connections right after its answers.
	KeepAlive time.Duration
	// SourceAddresses are local addresses that connections are made from, in
	// turn: each has some 28,000 ports. None leaves it to the system.
	SourceAddresses []netip.Addr
	// KernelTimestamps stamps what arrives with the kernel's clock (Linux only).
	KernelTimestamps bool

	// Transport makes the requests; nil is this package's own, over TCP. With
	// another one it is not known when a request was written and when the first
	// byte came, and events are stamped when they reach the client.
	Transport http.RoundTripper
}

// Client makes requests, one attempt each. It is safe for concurrent use.
type Client struct {
	opt    ClientOptions
	clock  *trace.SteadyClock
	header http.Header
	host   string
	own    *http.Transport // nil when it is the caller's
	apart  *http.Transport // of the same dialer, keeps no connections
	dialer *dialer         // of own
	kernel *kernelClock    // nil where the client stamps
}

// NewClient returns a client that stamps with clock. It fails only where the
// kernel is to stamp, and cannot.
func NewClient(clock *trace.SteadyClock, opt ClientOptions) (*Client, error) {
	c := &Client{opt: opt, clock: clock, header: http.Header{}}
	c.header.Set("Content-Type", "application/json")
	c.header.Set("User-Agent", "wattrace")
	if opt.Key != "" {
		c.header.Set("Authorization", "Bearer "+opt.Key)
	}
	for name, values := range opt.Header {
		c.header[http.CanonicalHeaderKey(name)] = values
	}
	c.host = c.header.Get("Host")
	if opt.Transport == nil {
		if opt.KernelTimestamps {
			var err error
			if c.kernel, err = newKernelClock(clock); err != nil {
				return nil, err
			}
		}
		c.dialer = newDialer(clock.Now, &opt, c.kernel)
		c.own = newTransport(c.dialer, opt.KeepAlive)
		c.apart = newTransport(c.dialer, -1)
		c.opt.Transport = c.own
	}
	return c, nil
}

// Close closes the kept connections.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
		c.dialer.close()
	}
	if c.kernel != nil {
		c.kernel.close()
	}
}

// Preconnect opens n connections, to the targets in turn, which the first
// requests take. It returns when all of them stand, or have failed.
func (c *Client) Preconnect(ctx context.Context, targets []Target, n int) error {
	if c.dialer == nil || n == 0 {
		return nil
	}
	var to []endpoint
	for i := range targets {
		to = append(to, targets[i].endpoint())
	}
	return c.dialer.preconnect(ctx, to, n)
}

var (
	errTimedOut = errors.New("the request took longer than its time limit")
	errGivenUp  = errors.New("given up by the plan")
	errLinger   = errors.New("the server left the stream open after [DONE]")
)

// linger is how long a stream may stay open after [DONE]: its end lets the
// connection be kept, but the answer is whole without it.
const linger = time.Second

// exchange is one request under way. A slot uses its own for one after another,
// so that the buffers stay.
type exchange struct {
	client *Client
	sse    sseReader
	answer answer
	body   []byte // of an answer that is not streamed

	buffers  [2][]byte     // of bodies that overlays change
	answered func()        // called at the first output, if it is streamed
	giveUp   time.Duration // cancel the request so long after it was sent; 0 is never

	trace  httptrace.ClientTrace
	conn   *stampConn // nil before it has one, or with another transport
	stamps *stamps    // of its connection; nil as conn
	reused bool       // the connection had been waiting: it may be stale
	first  bool       // no request had used it before
	idle   trace.Opt[time.Duration]
	sent   chan struct{} // has a token once the body was written, or has failed to
}

func newExchange(c *Client) *exchange {
	x := &exchange{client: c, sent: make(chan struct{}, 1)}
	x.trace.GotConn = x.gotConn
	sent := x.sent
	x.trace.WroteRequest = func(httptrace.WroteRequestInfo) {
		select {
		case sent <- struct{}{}:
		default:
		}
	}
	return x
}

// gotConn notes the connection of the request.
func (x *exchange) gotConn(info httptrace.GotConnInfo) {
	x.reused = info.Reused
	if info.Reused { // or handed on at once
		x.idle = trace.Some(info.IdleTime)
	}
	c := stamped(info.Conn)
	if c == nil {
		return
	}
	x.conn = c
	x.first = c.requests == 0
	if x.first && c.ahead {
		x.reused, x.idle = true, trace.Some(c.waited+x.idle.Or(0))
	}
	x.stamps = c.next()
}

// connection tells what is known of the connection.
func (x *exchange) connection(r *trace.Request) {
	c := x.conn
	if c == nil {
		return
	}
	r.Conn, r.ConnReused, r.ConnIdle = trace.Some(c.id), trace.Some(!x.first), x.idle
	if x.first {
		r.ConnectStart, r.ConnectEnd = trace.Some(c.connectStart), trace.Some(c.connectEnd)
	}
	r.Wrote, r.FirstByte = known(&x.stamps.wrote), known(&x.stamps.firstByte)
	if lag := x.stamps.lag.Load(); lag != never {
		r.ReadLag = trace.Some(time.Duration(lag))
	}
	r.OwnChunkStamps = x.client.kernel != nil && x.stamps.own.Load()
}

// do makes one request and fills in r: everything from Sent on. It calls sent
// when Sent is known, before the first byte leaves. When it returns, nothing
// reads payload any more.
func (x *exchange) do(ctx context.Context, target *Target, endpoint trace.Endpoint, payload []byte, r *trace.Request, sent func()) {
	x.answer.reset()
	x.conn, x.stamps, x.reused, x.first, x.idle = nil, nil, false, false, trace.Opt[time.Duration]{}
	select {
	case <-x.sent:
	default:
	}
	cancel := context.CancelFunc(func() {})
	if x.client.opt.Timeout > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, x.client.opt.Timeout, errTimedOut)
	}
	ctx, end := context.WithCancelCause(ctx)
	defer func() { end(nil); cancel() }()
	if x.giveUp > 0 {
		defer time.AfterFunc(x.giveUp, func() { end(errGivenUp) }).Stop()
	}
	req := x.request(ctx, target.endpoints[endpoint], payload)

	r.Sent = x.client.clock.Now()
	sent()
	resp, err := x.client.transport(target).RoundTrip(req)
	if err != nil {
		x.refused(ctx, err, r)
		x.lost(target, r)
	} else {
		x.receive(ctx, end, resp, payload, r)
		resp.Body.Close()
		x.untilWritten()
	}
	x.connection(r)
	r.ResponseID, r.ServerMetrics = x.answer.id, x.answer.metrics.object()
	// After the end, where it delays nothing.
	r.BodyBytes, r.BodyHash = trace.Some(int64(len(payload))), trace.Some(xxh3.Hash(payload))
	if r.Outcome != trace.Failed {
		r.Error = trace.RequestError{}
	}
}

// transport returns what makes the requests to a target.
func (c *Client) transport(target *Target) http.RoundTripper {
	if c.own != nil && !c.dialer.keeps(target.endpoint()) {
		return c.apart
	}
	return c.opt.Transport
}

// lost notes a server that closed a kept connection at once, where the request
// was as fast as that.
func (x *exchange) lost(target *Target, r *trace.Request) {
	if x.conn != nil && !x.conn.ahead && r.Error.Class == trace.ErrStale && x.idle.OK && r.Done.Sub(r.Sent)+x.idle.V < atOnceClosed {
		x.client.dialer.parts.Store(target.endpoint(), true)
	}
}

// untilWritten waits until the transport lets go of the body: a server may
// answer before it has read all of it. Of failed requests the transport has let
// go before it says so.
func (x *exchange) untilWritten() {
	if x.stamps == nil {
		return // not our transport
	}
	select {
	case <-x.sent:
		return
	default:
	}
	select {
	case <-x.sent:
	case <-time.After(time.Second): // cannot be: the connection is closed
	}
}

// arrived returns when the bytes that were read last arrived.
func (x *exchange) arrived() trace.Time {
	if x.stamps != nil {
		if at := x.stamps.lastRead.Load(); at != never {
			return trace.Time(at)
		}
	}
	return x.client.clock.Now()
}

// receive reads an answer whose head has come.
func (x *exchange) receive(ctx context.Context, end context.CancelCauseFunc, resp *http.Response, payload []byte, r *trace.Request) {
	r.Status = trace.Some(resp.StatusCode)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		x.rejected(resp, r)
		return
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	encoding := resp.Header.Get("Content-Encoding")
	switch {
	case encoding != "" && encoding != "identity":
		class := trace.ErrBody
		if media == eventStream {
			class = trace.ErrSSESyntax
		}
		x.discard(resp.Body, r)
		x.failOr(ctx, r, class, "the answer has the content encoding "+printable(encoding)+", which was not asked for")
	case media == eventStream:
		x.stream(ctx, end, resp, r)
	default:
		x.whole(ctx, resp.Body, payload, printable(media), r)
	}
	x.tokens(r, media == eventStream)
}

const eventStream = "text/event-stream"

// stream reads a streamed answer to its end.
func (x *exchange) stream(ctx context.Context, end context.CancelCauseFunc, resp *http.Response, r *trace.Request) {
	x.sse.reset(resp.Body, x.arrived)
	var (
		ev   sseEvent
		err  error
		done bool
		last = r.Sent
	)
	for err = x.sse.next(&ev); err == nil; err = x.sse.next(&ev) {
		kind := trace.ChunkComment
		if !ev.comment {
			kind = x.answer.event(ev.name, ev.data)
		}
		last = max(last, ev.at) // stamps of one connection never go back
		chunk := trace.Chunk{At: last, Kind: kind}
		if n := x.answer.running.Added; n > 0 {
			chunk.Tokens, x.answer.running.Added = n, 0
		}
		r.Chunks = append(r.Chunks, chunk)
		if kind.Output() {
			if !r.FirstToken.OK {
				r.FirstToken = trace.Some(last)
				if x.answered != nil {
					x.answered()
				}
			}
			r.LastToken = trace.Some(last)
		}
		if kind == trace.ChunkDone && !done {
			done = true
			defer time.AfterFunc(linger, func() { end(errLinger) }).Stop()
		}
	}
	r.FinishReason = x.answer.finish
	r.Done = x.client.clock.Now()
	if err == io.EOF || done {
		r.Done = max(last, x.arrived())
	}
	if err == io.EOF && x.conn != nil && !resp.Close {
		x.stamps.whole.Store(true)
		x.conn.part(x.stamps)
	}
	x.judge(ctx, err, done, r)
}

// judge gives a stream that has ended its outcome.
func (x *exchange) judge(ctx context.Context, err error, done bool, r *trace.Request) {
	a := &x.answer
	switch {
	case a.failed:
		x.fail(r, trace.ErrSSEEvent, x.describe("the server sent an error in the stream"))
	case err == errLongEvent:
		x.fail(r, trace.ErrSSESyntax, err.Error())
	case !done && ctx.Err() != nil:
		x.ended(ctx, r)
	case a.invalid > 0:
		x.fail(r, trace.ErrSSESyntax, strconv.Itoa(a.invalid)+" of "+strconv.Itoa(len(r.Chunks))+" events are not JSON")
	case done, err == io.EOF && a.finish != "":
		r.Outcome = trace.Succeeded
	case err == io.EOF && len(r.Chunks) == 0 && x.sse.unknown > 0:
		x.fail(r, trace.ErrSSESyntax, "the answer holds no server-sent events")
	case err == io.EOF:
		x.fail(r, trace.ErrSSETruncated, "the stream ended without [DONE] and without a finish reason")
	default:
		x.fail(r, trace.ErrSSETruncated, "the stream broke off: "+broke(err))
	}
}

// whole reads an answer that is not streamed.
func (x *exchange) whole(ctx context.Context, body io.Reader, payload []byte, media string, r *trace.Request) {
	err := x.read(body, MaxEvent)
	r.Done = x.client.clock.Now()
	if err == io.EOF {
		r.Done = x.arrived()
	}
	if len(x.body) > 0 {
		x.answer.decode(x.body)
	}
	a := &x.answer
	r.FinishReason = a.finish
	switch {
	case ctx.Err() != nil:
		x.ended(ctx, r)
	case err == errLongBody:
		x.fail(r, trace.ErrBody, err.Error())
	case err != io.EOF:
		x.fail(r, trace.ErrBody, "the answer broke off: "+broke(err))
	case len(x.body) == 0:
		x.fail(r, trace.ErrHTTPOther, "status "+strconv.Itoa(r.Status.V)+" with an empty body")
	case asksForStream(payload):
		x.fail(r, trace.ErrSSESyntax, "a stream was asked for, and the answer has the content type "+media)
	case a.invalid > 0:
		x.fail(r, trace.ErrBody, "the answer is not JSON; its content type is "+media)
	case a.failed:
		x.fail(r, trace.ErrBody, x.describe("the answer is an error object"))
	case !a.known:
		x.fail(r, trace.ErrBody, "the answer is JSON without choices or output")
	default:
		r.Outcome = trace.Succeeded
		r.LastToken = trace.Some(r.Done)
	}
}

var errLongBody = errors.New("the answer is longer than 64 MiB")

// read reads a body into x.body. The error is never nil: io.EOF is a whole one.
func (x *exchange) read(body io.Reader, most int) error {
	x.body = x.body[:0]
	if x.body == nil {
		x.body = make([]byte, 0, readSize)
	}
	for {
		if len(x.body) == cap(x.body) {
			x.body = append(x.body, 0)[:len(x.body)]
		}
		n, err := body.Read(x.body[len(x.body):cap(x.body)])
		x.body = x.body[:len(x.body)+n]
		if err != nil {
			return err
		}
		if len(x.body) > most {
			return errLongBody
		}
	}
}

// discard reads a body to its end without keeping it: the server works until
// then, and the connection can be kept.
func (x *exchange) discard(body io.Reader, r *trace.Request) {
	io.Copy(io.Discard, body) // however it ends, the request has failed
	r.Done = x.client.clock.Now()
}

// rejected reads the answer to a request that the server did not take.
func (x *exchange) rejected(resp *http.Response, r *trace.Request) {
	const most = 64 << 10
	err := x.read(resp.Body, most)
	r.Done = x.client.clock.Now()
	if err == io.EOF {
		x.answer.decode(x.body)
	}
	class := trace.ErrHTTPOther
	switch s := resp.StatusCode; {
	case s == http.StatusTooManyRequests:
		class = trace.ErrHTTP429
	case s >= 400 && s < 500:
		class = trace.ErrHTTP4xx
	case s >= 500:
		class = trace.ErrHTTP5xx
	}
	x.fail(r, class, x.describe("status "+strconv.Itoa(resp.StatusCode)))
}

// tokens takes the counts from the usage object, else from llama.cpp's timings,
// which are of one choice only, else counts events.
func (x *exchange) tokens(r *trace.Request, streamed bool) {
	if len(x.answer.usage) > 0 {
		r.Usage = append([]byte(nil), x.answer.usage...)
		r.InputTokens, r.OutputTokens = x.answer.dec.counts(x.answer.usage)
	}
	r.TokenSource = trace.FromUsage
	if t := x.answer.metrics[timings]; !r.OutputTokens.OK && len(t) > 0 && x.answer.ends == 1 {
		var input trace.Opt[int64]
		input, r.OutputTokens = x.answer.dec.timed(t)
		if !r.InputTokens.OK {
			r.InputTokens = input
		}
		r.TokenSource = trace.FromTimings
	}
	switch {
	case r.OutputTokens.OK:
	case streamed:
		r.OutputTokens, r.TokenSource = trace.Some(outputs(r)), trace.FromChunks
	default:
		r.TokenSource = ""
	}
	r.ChunkTokens = x.eachTold(r)
	if !r.ChunkTokens && len(x.answer.usage) > 0 {
		for i := range r.Chunks {
			r.Chunks[i].Tokens = 0
		}
	}
}

// outputs counts the events with output.
func outputs(r *trace.Request) (n int64) {
	for i := range r.Chunks {
		if r.Chunks[i].Kind.Output() {
			n++
		}
	}
	return n
}

// eachTold reports whether it is known how many tokens each event added: every one
// with output had a running count, which never fell; the last one is the answer's. With
// several choices it may be of one of them, or of all.
func (x *exchange) eachTold(r *trace.Request) bool {
	a := &x.answer
	return a.running.Told > 0 && !a.running.Fell && !a.failed && a.ends <= 1 &&
		r.TokenSource == trace.FromUsage && int64(a.running.Told) == outputs(r)
}
