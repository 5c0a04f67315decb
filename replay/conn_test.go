package replay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"wattrace/replay/replaytest"
	"wattrace/trace"
)

// engine makes an Engine that sends turns to one server.
func engine(t *testing.T, url string, opt ClientOptions, concurrency int, turns ...trace.Turn) *Engine {
	t.Helper()
	e, err := New(Options{
		Turns: turns, Targets: []Target{target(t, url)}, Client: opt,
		Plan: trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: concurrency}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestConnectionsInTheLog(t *testing.T) {
	t.Parallel()
	server := replaytest.Listen(t)
	got := over(t, server.URL, ClientOptions{}, 1, faulty("", true), faulty("measured", true), faulty("close_mid_stream", true), faulty("", false))
	for i, q := range got {
		conn, reused := []int64{0, 0, 0, 1}[i], i == 1 || i == 2
		if q.Conn != trace.Some(conn) || q.ConnReused != trace.Some(reused) || q.ConnIdle.OK != reused || q.ConnectStart.OK == reused || q.ConnectEnd.OK == reused {
			t.Errorf("request %d: %+v", i, q)
		}
		if !reused && (q.ConnectStart.V < q.Sent || q.ConnectEnd.V < q.ConnectStart.V || q.Wrote.V < q.ConnectEnd.V) {
			t.Errorf("request %d: connected from %v to %v: %+v", i, q.ConnectStart.V, q.ConnectEnd.V, q)
		}
	}
	q := got[1]
	body := faulty("measured", true).Payload
	if q.BodyBytes != trace.Some(int64(len(body))) || q.BodyHash != trace.Some(xxh3.Hash(body)) {
		t.Errorf("body of %d bytes, hash %x", q.BodyBytes.V, q.BodyHash.V)
	}
	if q.ResponseID != "c" || string(q.ServerMetrics) != `{"metrics":{"queue_time_ms":0.5}}` {
		t.Errorf("id %q, metrics %s", q.ResponseID, q.ServerMetrics)
	}
	if got[0].ServerMetrics != nil || got[2].ServerMetrics != nil {
		t.Error("metrics of another request")
	}
}

// TestHashIsThatOfXXHSum pins the hash to what xxhsum -H3 prints.
func TestHashIsThatOfXXHSum(t *testing.T) {
	t.Parallel()
	if h := xxh3.Hash(nil); h != 0x2d06800538d394c2 {
		t.Errorf("%x", h)
	}
}

func TestPreconnect(t *testing.T) {
	t.Parallel()
	server := replaytest.Listen(t)
	e := engine(t, server.URL, ClientOptions{}, 1, slices.Repeat([]trace.Turn{faulty("", true)}, 5)...)
	e.opt.Preconnect = 4
	if err := e.Preconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := e.clock.Now()
	s := &story{}
	if _, err := e.Run(t.Context(), nil, s); err != nil {
		t.Fatal(err)
	}
	if e.client.dialer.opened.Load() != 4 {
		t.Errorf("%d connections", e.client.dialer.opened.Load())
	}
	for i, q := range s.requests {
		if q.Outcome != trace.Succeeded || q.Conn.V > 3 || !q.ConnIdle.OK || q.ConnReused != trace.Some(i > 0) || q.Conn != s.requests[0].Conn {
			t.Errorf("%+v", q)
		}
	}
	if q := s.requests[0]; !q.ConnectEnd.OK || q.ConnectEnd.V > began || q.ConnIdle.V <= 0 {
		t.Errorf("connected at %v, after %v: %+v", q.ConnectEnd.V, began, q)
	}
}

// TestPreconnectedButClosed checks that connections that the server has closed
// before they were used fail no request.
func TestPreconnectedButClosed(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("it cannot be known here")
	}
	server := replaytest.Listen(t)
	server.CloseFirst(3)
	e := engine(t, server.URL, ClientOptions{}, 1, faulty("", true), faulty("", true))
	if err := e.client.Preconnect(t.Context(), e.opt.Targets, 3); err != nil {
		t.Fatal(err)
	}
	to := e.opt.Targets[0].endpoint()
	for _, conn := range e.client.dialer.held[to] {
		for stands(stamped(conn).Conn, false) { // until the FIN is here
			time.Sleep(time.Millisecond)
		}
	}
	s := &story{}
	if _, err := e.Run(t.Context(), nil, s); err != nil {
		t.Fatal(err)
	}
	for _, q := range s.requests {
		if q.Outcome != trace.Succeeded || q.Conn != trace.Some(int64(3)) {
			t.Errorf("%+v", q)
		}
	}
}

func TestPreconnectFails(t *testing.T) {
	t.Parallel()
	e := engine(t, replaytest.Refused(t), ClientOptions{}, 1, faulty("", true))
	if err := e.client.Preconnect(t.Context(), e.opt.Targets, 3); err == nil || err.Error()[:48] != "3 of 3 connections could not be opened ahead: di" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if err := e.client.Preconnect(ctx, e.opt.Targets, 3); err != gone {
		t.Errorf("%v", err)
	}
}

func TestPreconnectSpreadsOverTargets(t *testing.T) {
	t.Parallel()
	one, two := replaytest.Listen(t), replaytest.Listen(t)
	client, err := NewClient(trace.NewSteadyClock(), ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	targets := []Target{target(t, one.URL), target(t, two.URL)}
	if err := client.Preconnect(t.Context(), targets, 5); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{3, 2} {
		if n := len(client.dialer.held[targets[i].endpoint()]); n != want {
			t.Errorf("target %d has %d connections, not %d", i, n, want)
		}
	}
	client.Close()
	if len(client.dialer.held) != 0 {
		t.Error("they are held after Close")
	}
}

// tlsServer answers over TLS with a good stream, and tells the names that it was
// called by.
func tlsServer(t *testing.T) (url string, pool *x509.CertPool, names func() []string) {
	var mu sync.Mutex
	var called []string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for _, ev := range []string{replaytest.Role, replaytest.Token, replaytest.Token, replaytest.Token, replaytest.Finish, replaytest.Usage, replaytest.Done} {
			fmt.Fprintf(w, "data: %s\n\n", ev)
		}
	}))
	s.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		called = append(called, hello.ServerName)
		return nil, nil
	}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	pool = x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s.URL, pool, func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(called) }
}

func TestTLS(t *testing.T) {
	t.Parallel()
	for _, kernel := range kernelToo() {
		url, pool, names := tlsServer(t)
		for _, test := range []struct {
			name string
			tls  *tls.Config
			want trace.ErrorClass
		}{
			{"unknown authority", nil, trace.ErrTLS},
			{"its authority", &tls.Config{RootCAs: pool}, ""},
			{"its authority, a name that it has", &tls.Config{RootCAs: pool, ServerName: "example.com"}, ""},
			{"its authority, another name", &tls.Config{RootCAs: pool, ServerName: "other.test"}, trace.ErrTLS},
			{"unchecked", &tls.Config{InsecureSkipVerify: true, ServerName: "other.test"}, ""},
		} {
			q := over(t, url, ClientOptions{TLS: test.tls, KernelTimestamps: kernel}, 1, faulty("", true))[0]
			checkOrder(t, &q)
			if q.Error.Class != test.want {
				t.Errorf("%s: %+v", test.name, q.Error)
			}
			if test.want == "" && (kinds(&q) != good || !q.ConnectEnd.OK || q.ConnectEnd.V > q.Wrote.V) {
				t.Errorf("%s: %+v", test.name, q)
			}
		}
		// An address is no name (RFC 6066, section 3); a host of the URL is.
		byName := strings.Replace(url, "127.0.0.1", "localhost", 1)
		if q := over(t, byName, ClientOptions{TLS: &tls.Config{InsecureSkipVerify: true}}, 1, faulty("", true))[0]; q.Outcome != trace.Succeeded {
			t.Errorf("%+v", q.Error)
		}
		if got := names(); !slices.Equal(got, []string{"", "", "example.com", "other.test", "other.test", "localhost"}) {
			t.Errorf("called %q", got)
		}
	}
}

func TestPreconnectOverTLS(t *testing.T) {
	t.Parallel()
	url, pool, names := tlsServer(t)
	e := engine(t, url, ClientOptions{TLS: &tls.Config{RootCAs: pool}}, 1, faulty("", true), faulty("", true))
	if err := e.client.Preconnect(t.Context(), e.opt.Targets, 1); err != nil {
		t.Fatal(err)
	}
	s := &story{}
	if _, err := e.Run(t.Context(), nil, s); err != nil {
		t.Fatal(err)
	}
	if s.requests[0].Outcome != trace.Succeeded || s.requests[1].Outcome != trace.Succeeded || len(names()) != 1 {
		t.Errorf("%d handshakes, %+v", len(names()), s.requests)
	}
}

func TestSourceAddresses(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the loopback has one address here")
	}
	var mu sync.Mutex
	seen := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		mu.Lock()
		seen[host]++
		mu.Unlock()
		w.Header().Set("Connection", "close")
		w.WriteHeader(500)
	}))
	defer s.Close()
	opt := ClientOptions{SourceAddresses: []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}}
	over(t, s.URL, opt, 1, slices.Repeat([]trace.Turn{faulty("", true)}, 6)...)
	if seen["127.0.0.2"] != 3 || seen["127.0.0.3"] != 3 {
		t.Errorf("%v", seen)
	}
	// An address that is not ours is the client's own fault.
	opt.SourceAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	if q := over(t, s.URL, opt, 1, faulty("", true))[0]; q.Error.Class != trace.ErrClient {
		t.Errorf("%+v", q.Error)
	}
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	for given, want := range map[time.Duration]time.Duration{0: 4 * time.Second, time.Minute: time.Minute} {
		client, err := NewClient(trace.NewSteadyClock(), ClientOptions{KeepAlive: given})
		if err != nil {
			t.Fatal(err)
		}
		if client.own.IdleConnTimeout != want {
			t.Errorf("%v is %v", given, client.own.IdleConnTimeout)
		}
	}
}

// TestServerThatPartsAfterEachStream has one that says it keeps the connection
// and does not, as llama.cpp's does: it is found out by the first answer, at the
// price of one request for each slot at most.
func TestServerThatPartsAfterEachStream(t *testing.T) {
	t.Parallel()
	const turns = 40
	for _, slots := range []int{1, 8} {
		s := replaytest.Listen(t)
		stale := 0
		for _, q := range over(t, s.URL, ClientOptions{}, slots, slices.Repeat([]trace.Turn{faulty("part", true)}, turns)...) {
			switch {
			case q.Error.Class == trace.ErrStale:
				stale++
			case q.Outcome != trace.Succeeded:
				t.Errorf("%+v", q.Error)
			}
		}
		if stale > slots || s.Connections() < turns-stale {
			t.Errorf("%d slots: %d of %d requests met a closed connection; %d connections", slots, stale, turns, s.Connections())
		}
	}
}

// TestBreakIsNoParting has answers that break off, after which connections are
// kept as before.
func TestBreakIsNoParting(t *testing.T) {
	t.Parallel()
	s := replaytest.Listen(t)
	for _, fault := range []string{"close_mid_stream", "reset_mid_stream", "until_close", "close_before_answer"} {
		before := s.Connections()
		over(t, s.URL, ClientOptions{}, 1, faulty(fault, true), faulty("", true), faulty("", true), faulty("", true))
		if n := s.Connections() - before; n != 2 {
			t.Errorf("%s: %d connections", fault, n)
		}
	}
}

// TestKeptConnectionThatBreaksLater has a server that takes a request over a
// kept connection and goes away: that connection was not stale.
func TestKeptConnectionThatBreaksLater(t *testing.T) {
	t.Parallel()
	s := replaytest.Listen(t)
	got := over(t, s.URL, ClientOptions{}, 1, faulty("", true), faulty("close_later", true))
	if q := got[1]; q.ConnReused != trace.Some(true) || q.Error.Class != trace.ErrReset {
		t.Errorf("%+v", q)
	}
}

// TestTokensFromTimings has llama.cpp's counts, where no usage came: exact for
// one choice, and not taken where there are more.
func TestTokensFromTimings(t *testing.T) {
	t.Parallel()
	s := replaytest.Listen(t)
	got := over(t, s.URL, ClientOptions{}, 1, faulty("timed", true), faulty("timed_two", true), faulty("measured", true))
	for i, want := range []struct {
		source trace.TokenSource
		input  trace.Opt[int64]
		output int64
	}{{trace.FromTimings, trace.Some(int64(27)), 6}, {trace.FromChunks, trace.Opt[int64]{}, 3}, {trace.FromUsage, trace.Some(int64(7)), 3}} {
		if q := got[i]; q.TokenSource != want.source || q.InputTokens != want.input || q.OutputTokens.V != want.output {
			t.Errorf("%d: %v tokens in, %v out of %s", i, q.InputTokens, q.OutputTokens, q.TokenSource)
		}
	}
	if m := string(got[0].ServerMetrics); !strings.HasPrefix(m, `{"timings":{"cache_n":2,`) {
		t.Errorf("measured %s", m)
	}
	if _, ok := got[0].ITL(); !ok {
		t.Error("no inter-token latency")
	}
}

// TestNothingIsSentTwice has a server that closes each connection behind its
// answer without saying so, so that requests meet connections that are about to
// die, with and without the header that would make net/http try again.
func TestNothingIsSentTwice(t *testing.T) {
	t.Parallel()
	for _, header := range []http.Header{{}, {"Idempotency-Key": {"1"}}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var requests atomic.Int64 // whose head came
		var wait sync.WaitGroup
		wait.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				wait.Go(func() {
					defer conn.Close()
					b := make([]byte, 1<<16)
					if n, _ := conn.Read(b); n > 0 {
						requests.Add(1)
						io.WriteString(conn, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
					}
				})
			}
		})
		const sent = 300
		got := over(t, "http://"+l.Addr().String(), ClientOptions{Header: header}, 1, slices.Repeat([]trace.Turn{faulty("", true)}, sent)...)
		l.Close()
		wait.Wait()
		classes := map[trace.ErrorClass]int{}
		for _, q := range got {
			classes[q.Error.Class]++
		}
		// What met a dying connection was not seen by the server and is conn_stale;
		// everything else was seen once.
		if classes[trace.ErrHTTP5xx]+classes[trace.ErrStale] != sent || int(requests.Load()) != classes[trace.ErrHTTP5xx] {
			t.Errorf("%v of %d, and the server saw %d", classes, sent, requests.Load())
		}
		x := newExchange(&Client{})
		if req := x.request(t.Context(), nil, nil); req.GetBody != nil {
			t.Error("net/http could send the body again")
		}
	}
}
