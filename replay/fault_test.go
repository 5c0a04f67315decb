package replay

import (
	"context"
	"fmt"
	"net"
	"net/http/httptrace"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/replay/replaytest"
	"wattrace/trace"
)

// faulty makes a turn that asks for a fault; its prompt must never be shown.
func faulty(fault string, stream bool) trace.Turn {
	return trace.Turn{
		Payload:  fmt.Appendf(nil, `{"fault":%q,"stream":%v,"messages":[{"role":"user","content":"xyzzy"}]}`, fault, stream),
		Endpoint: trace.Chat,
	}
}

// over replays turns over TCP and returns the outcomes in the order of sending.
func over(t *testing.T, url string, opt ClientOptions, concurrency int, turns ...trace.Turn) []trace.Request {
	t.Helper()
	e, err := New(Options{
		Turns: turns, Targets: []Target{target(t, url)}, Client: opt,
		Plan: trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: concurrency}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &story{}
	if _, err := e.Run(t.Context(), nil, s); err != nil {
		t.Fatal(err)
	}
	if len(s.sent) != len(turns) || len(s.requests) != len(turns) {
		t.Fatalf("%d sent and %d ended of %d", len(s.sent), len(s.requests), len(turns))
	}
	last := trace.Time(0)
	for _, q := range s.requests {
		last = max(last, q.Done)
	}
	if end := fmt.Sprint("p end ", time.Duration(last)); s.events[1] != end {
		t.Errorf("%s, not %s with the last request", s.events[1], end)
	}
	s.lines() // sorts
	return s.requests
}

// kinds is what a request's chunks were, as chunk_kinds in the log.
func kinds(q *trace.Request) string {
	var b strings.Builder
	for i := 0; i < len(q.Chunks); {
		n := i
		for n < len(q.Chunks) && q.Chunks[n].Kind == q.Chunks[i].Kind {
			n++
		}
		fmt.Fprintf(&b, "%c%d", q.Chunks[i].Kind, n-i)
		i = n
	}
	return b.String()
}

const good = "r1c3f1u1d1"

// kernelToo is whether the kernel stamps: not, and where it can it does.
func kernelToo() []bool {
	if runtime.GOOS == "linux" {
		return []bool{false, true}
	}
	return []bool{false}
}

// checkOrder checks that the instants of a request are in the order in which
// they must have happened.
func checkOrder(t *testing.T, q *trace.Request) {
	t.Helper()
	at := q.Scheduled
	step := func(name string, v trace.Opt[trace.Time]) {
		if v.OK && v.V < at {
			t.Errorf("%s is before the instant before it: %+v", name, q)
		}
		if v.OK {
			at = v.V
		}
	}
	step("sent", trace.Some(q.Sent))
	step("first byte", q.FirstByte)
	step("first token", q.FirstToken)
	step("last token", q.LastToken)
	step("done", trace.Some(q.Done))
	last := q.Sent
	for _, c := range q.Chunks {
		if c.At < last || c.At > q.Done {
			t.Errorf("the chunks are not in order, or after the end: %+v", q)
			break
		}
		last = c.At
	}
	if q.Wrote.OK && q.Wrote.V < q.Sent {
		t.Errorf("written before it was sent: %+v", q)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	type want struct {
		class   trace.ErrorClass // "" is a success
		message string
		status  int
		kinds   string
		tokens  string // output tokens and their source
	}
	usage, counted := "3 usage", func(n int) string { return fmt.Sprint(n, " chunks") }
	for fault, want := range map[string]want{
		"reset_unread":        {trace.ErrReset, "", 0, "", ""},
		"reset_before_answer": {trace.ErrReset, "", 0, "", ""},
		"close_before_answer": {trace.ErrReset, "", 0, "", ""},
		"reset_in_head":       {trace.ErrReset, "", 0, "", ""},
		"reset_after_head":    {trace.ErrSSETruncated, "", 200, "", counted(0)},
		"reset_mid_stream":    {trace.ErrSSETruncated, "", 200, "", ""}, // a RST may overtake what was sent
		"close_mid_stream":    {trace.ErrSSETruncated, "the stream broke off: the server closed the connection", 200, "r1c1", counted(1)},
		"half_close":          {trace.ErrSSETruncated, "the stream broke off: the server closed the connection", 200, "r1c1", counted(1)},
		"cut_in_event":        {trace.ErrSSETruncated, "", 200, "r1", counted(0)},
		"until_close":         {trace.ErrSSETruncated, "the stream ended without [DONE] and without a finish reason", 200, "c1", counted(1)},
		"whole_cut":           {trace.ErrBody, "the answer broke off: the server closed the connection", 200, "", ""},
		"not_http":            {trace.ErrHTTPOther, "the answer is not HTTP", 0, "", ""},
		"unread":              {trace.ErrHTTP4xx, "status 413", 413, "", ""},
		"too_many":            {trace.ErrHTTP429, "status 429, InternalServerError, 500", 429, "", ""},
		"html":                {trace.ErrHTTP5xx, "status 500", 500, "", ""},
		"bad_request":         {trace.ErrHTTP4xx, "status 400, BadRequestError, 400", 400, "", ""},
		"plain_error":         {trace.ErrHTTP4xx, "status 422", 422, "", ""},
		"redirect":            {trace.ErrHTTPOther, "status 307", 307, "", ""},
		"no_content":          {trace.ErrHTTPOther, "status 204 with an empty body", 204, "", ""},
		"empty":               {trace.ErrHTTPOther, "status 200 with an empty body", 200, "", ""},
		"error_then_done":     {trace.ErrSSEEvent, "the server sent an error in the stream, InternalServerError, 500", 200, "r1c1e1d1", counted(1)},
		"error_by_name":       {trace.ErrSSEEvent, "the server sent an error in the stream", 200, "e1", counted(0)},
		"no_done":             {"", "", 200, "r1c3f1u1", usage},
		"no_end":              {trace.ErrSSETruncated, "the stream ended without [DONE] and without a finish reason", 200, "r1c2", counted(2)},
		"no_usage":            {"", "", 200, "r1c3f1d1", counted(3)},
		"empty_stream":        {trace.ErrSSETruncated, "the stream ended without [DONE] and without a finish reason", 200, "", counted(0)},
		"event_not_json":      {trace.ErrSSESyntax, "1 of 6 events are not JSON", 200, "r1c1o1c1f1d1", counted(2)},
		"wrong_type":          {trace.ErrSSESyntax, "a stream was asked for, and the answer has the content type application/json", 200, "", ""},
		"page_as_stream":      {trace.ErrSSESyntax, "the answer holds no server-sent events", 200, "", counted(0)},
		"page_with_200":       {trace.ErrSSESyntax, "a stream was asked for, and the answer has the content type text/html", 200, "", ""},
		"gzip":                {trace.ErrSSESyntax, "the answer has the content encoding gzip, which was not asked for", 200, "", counted(0)},
		"trickle":             {"", "", 200, good, usage},
		"trickle_head":        {"", "", 200, good, usage},
		"early_hints":         {"", "", 200, good, usage},
		"comments":            {"", "", 200, "k2r1c1k1c2f1u1d1", usage},
		"large_event":         {"", "", 200, good, usage},
		"carriage_returns":    {"", "", 200, good, usage},
		"open_after_done":     {"", "", 200, good, usage},
	} {
		for _, kernel := range kernelToo() {
			t.Run(fmt.Sprintf("%s,kernel=%v", fault, kernel), func(t *testing.T) {
				t.Parallel()
				server := replaytest.Listen(t)
				got := over(t, server.URL, ClientOptions{KernelTimestamps: kernel}, 3, faulty(fault, true), faulty("beside", true), faulty("", true), faulty("", true), faulty("", true))
				q := got[0]
				checkOrder(t, &q)
				if q.Error.Class == trace.ErrStale && q.Error.Message != "" {
					q.Error.Class = trace.ErrReset // it got a connection that another had opened
				}
				if q.Error.Class != want.class || (q.Outcome == trace.Succeeded) != (want.class == "") {
					t.Errorf("%s, class %q (%s)", q.Outcome, q.Error.Class, q.Error.Message)
				}
				if want.message != "" && q.Error.Message != want.message || strings.Contains(q.Error.Message, "xyzzy") {
					t.Errorf("message %q", q.Error.Message)
				}
				if q.Status.Or(0) != want.status {
					t.Errorf("status %v", q.Status)
				}
				if fault != "reset_mid_stream" && kinds(&q) != want.kinds {
					t.Errorf("chunks %s", kinds(&q))
				}
				if s := fmt.Sprint(q.OutputTokens.V, " ", q.TokenSource); fault != "reset_mid_stream" && (q.OutputTokens.OK || want.tokens != "") && s != want.tokens {
					t.Errorf("tokens %s, not %s", s, want.tokens)
				}
				if n := server.Requests(fault); n != 1 {
					t.Errorf("the server saw %d requests", n)
				}
				for _, q := range got[1:] {
					if checkOrder(t, &q); q.Outcome != trace.Succeeded || kinds(&q) != good || q.FinishReason != "stop" || !q.Wrote.OK || !q.FirstByte.OK {
						t.Errorf("another stream suffered: %+v", q)
					}
				}
				if n := server.Requests("") + server.Requests("beside"); n != 4 {
					t.Errorf("the server saw %d of 4 good requests", n)
				}
			})
		}
	}
}

// TestStalls is TestFaults for servers that stop in the middle. Only the client
// under test has a time limit: the other's streams take as long as they take.
func TestStalls(t *testing.T) {
	t.Parallel()
	for fault, wantKinds := range map[string]string{"stall_before_head": "", "stall_mid_stream": "r1c1"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			server := replaytest.Listen(t)
			others := make(chan []trace.Request)
			go func() {
				others <- over(t, server.URL, ClientOptions{}, 2, faulty("", true), faulty("", true), faulty("", true))
			}()
			q := over(t, server.URL, ClientOptions{Timeout: 2 * time.Second}, 1, faulty(fault, true))[0]
			checkOrder(t, &q)
			if q.Outcome != trace.Failed || q.Error.Class != trace.ErrTimeout || kinds(&q) != wantKinds {
				t.Errorf("%+v", q)
			}
			if d := q.Done.Sub(q.Sent); d < 1900*time.Millisecond {
				t.Errorf("given up after %v", d)
			}
			if n := server.Requests(fault); n != 1 {
				t.Errorf("the server saw %d requests", n)
			}
			for _, q := range <-others {
				if q.Outcome != trace.Succeeded {
					t.Errorf("another stream suffered: %+v", q)
				}
			}
		})
	}
}

// TestStatusKnownButBodyStalls checks that the status decides even if the body
// that goes with it never comes.
func TestStatusKnownButBodyStalls(t *testing.T) {
	t.Parallel()
	server := replaytest.Listen(t)
	q := over(t, server.URL, ClientOptions{Timeout: time.Second}, 1, faulty("stall_in_rejection", true))[0]
	if q.Error.Class != trace.ErrHTTP5xx || q.Status.V != 503 {
		t.Errorf("%+v", q)
	}
}

// TestFaultsWhileTheBodyIsSent is TestFaults for a body that is longer than what
// the sockets hold, so that its sending is what fails.
func TestFaultsWhileTheBodyIsSent(t *testing.T) {
	t.Parallel()
	for fault, want := range map[string]trace.ErrorClass{
		"reset_mid_body": trace.ErrReset, "reset_unread": trace.ErrReset, "stall_unread": trace.ErrTimeout,
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			server := replaytest.Listen(t)
			long := faulty(fault, true)
			long.Payload = fmt.Appendf(nil, `{"fault":%q,"x":"%s"}`, fault, strings.Repeat("xyzzy", 4<<20))
			others := make(chan []trace.Request)
			go func() { others <- over(t, server.URL, ClientOptions{}, 1, faulty("beside", true)) }()
			q := over(t, server.URL, ClientOptions{Timeout: 3 * time.Second}, 1, long)[0]
			checkOrder(t, &q)
			if q.Error.Class != want || q.Status.OK || q.FirstByte.OK || strings.Contains(q.Error.Message, "xyzzy") {
				t.Errorf("%s: %s (%s)", q.Outcome, q.Error.Class, q.Error.Message)
			}
			if n := server.Requests(fault); n != 1 {
				t.Errorf("the server saw %d requests", n)
			}
			if q := (<-others)[0]; q.Outcome != trace.Succeeded || kinds(&q) != good {
				t.Errorf("another stream suffered: %+v", q)
			}
		})
	}
}

func TestNotStreamed(t *testing.T) {
	t.Parallel()
	for fault, want := range map[string]trace.RequestError{
		"whole":          {},
		"":               {}, // streamed though it was not asked for
		"error_with_200": {Class: trace.ErrBody, Message: "the answer is an error object, InternalServerError, 500"},
		"not_an_answer":  {Class: trace.ErrBody, Message: "the answer is JSON without choices or output"},
		"page_with_200":  {Class: trace.ErrBody, Message: "the answer is not JSON; its content type is text/html"},
		"whole_cut":      {Class: trace.ErrBody, Message: "the answer broke off: the server closed the connection"},
	} {
		server := replaytest.Listen(t)
		q := over(t, server.URL, ClientOptions{}, 1, faulty(fault, false))[0]
		checkOrder(t, &q)
		if diff := cmp.Diff(want, q.Error); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", fault, diff)
		}
		if fault != "whole" {
			continue
		}
		if q.FirstToken.OK || q.LastToken != trace.Some(q.Done) || q.OutputTokens != trace.Some(int64(3)) || q.InputTokens != trace.Some(int64(7)) ||
			q.TokenSource != trace.FromUsage || string(q.Usage) != `{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}` || q.FinishReason != "stop" || len(q.Chunks) > 0 {
			t.Errorf("%+v", q)
		}
	}
}

func TestAsksForStream(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`{"stream":true}`:                       true,
		`{"a":{"stream":true}}`:                 false,
		`{"a":"\"stream\":true"}`:               false,
		`{"stream":false,"stream" : true }`:     true,
		`{"stream":true,"stream":null}`:         false,
		`{"s\u0074ream":true}`:                  true,
		`{"stream":"true"}`:                     false,
		`{}`:                                    false,
		`{"messages":["stream"],"stream":true}`: true,
	} {
		if got := asksForStream([]byte(body)); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	url := replaytest.Refused(t)
	for _, q := range over(t, url, ClientOptions{}, 2, faulty("", true), faulty("", true), faulty("", true)) {
		if q.Error.Class != trace.ErrConnect || !strings.Contains(q.Error.Message, "connection refused") || q.Wrote.OK || q.FirstByte.OK || q.Status.OK || q.OutputTokens.OK {
			t.Errorf("%+v", q)
		}
	}
}

func TestResetBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	server := replaytest.Listen(t)
	for fault, want := range map[string]string{
		"reset_before_answer": "no answer: connection reset by peer",
		"close_before_answer": "no answer: the server closed the connection",
	} {
		q := over(t, server.URL, ClientOptions{}, 1, faulty(fault, true))[0]
		if q.Error != (trace.RequestError{Class: trace.ErrReset, Message: want}) {
			t.Errorf("%s: %+v", fault, q.Error)
		}
	}
}

func TestResetOnAccept(t *testing.T) {
	t.Parallel()
	server := replaytest.ResetOnAccept(t)
	for _, q := range over(t, server.URL, ClientOptions{}, 1, faulty("", true), faulty("", true)) {
		// Where the reset comes before connect has returned it is a refusal.
		if q.Error.Class != trace.ErrReset && q.Error.Class != trace.ErrConnect {
			t.Errorf("%+v", q)
		}
	}
	if n := server.Connections(); n != 2 {
		t.Errorf("%d connections for 2 requests", n)
	}
}

func TestNoTLS(t *testing.T) {
	t.Parallel()
	server := replaytest.Listen(t)
	q := over(t, strings.Replace(server.URL, "http:", "https:", 1), ClientOptions{}, 1, faulty("", true))[0]
	if q.Error.Class != trace.ErrTLS {
		t.Errorf("%+v", q)
	}
}

// TestStaleConnection checks that a connection that dies with the second request
// on it is told from one that never worked.
func TestStaleConnection(t *testing.T) {
	t.Parallel()
	server := replaytest.Listen(t)
	got := over(t, server.URL, ClientOptions{}, 1, faulty("", true), faulty("close_before_answer", true), faulty("", true))
	if got[1].Error.Class != trace.ErrStale || got[2].Outcome != trace.Succeeded {
		t.Errorf("%+v", got)
	}
	if a, b := server.Requests("close_before_answer"), server.Connections(); a != 1 || b != 2 {
		t.Errorf("%d requests, %d connections", a, b)
	}
}

func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	server := replaytest.Listen(t)
	var turns []trace.Turn
	for i := range 40 {
		turns = append(turns, faulty([]string{"", "whole", "too_many", "bad_request", "error_then_done"}[i%5], i%5 != 1))
	}
	over(t, server.URL, ClientOptions{}, 1, turns...)
	if n := server.Connections(); n != 1 {
		t.Errorf("%d connections for one slot", n)
	}
}

func TestLargeBodies(t *testing.T) {
	t.Parallel()
	server := replaytest.Listen(t)
	big := func(fault string) trace.Turn {
		turn := faulty(fault, true)
		turn.Payload = fmt.Appendf(nil, `{"fault":%q,"stream":true,"messages":[],"x":"%s"}`, fault, strings.Repeat("x", 16<<20))
		return turn
	}
	overlay, err := ParseOverlay("a=1")
	if err != nil {
		t.Fatal(err)
	}
	// The body that is not read to its end stands in a buffer that the next
	// request's body is written to: the race detector looks on.
	e, err := New(Options{
		Turns: []trace.Turn{big("unread"), big(""), big("unread"), big("")}, Targets: []Target{target(t, server.URL)}, Overlays: []Overlay{overlay},
		Plan: trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &story{}
	if _, err := e.Run(t.Context(), nil, s); err != nil {
		t.Fatal(err)
	}
	for i, q := range s.requests {
		if i%2 == 1 && q.Outcome != trace.Succeeded || i%2 == 0 && q.Status.V != 413 {
			t.Errorf("%+v", q)
		}
	}
}

// TestBodyIsLetGo checks that a request whose body the server did not read ends
// only when the transport has let go of the body: it may be unmapped, or a
// buffer that the next request uses.
func TestBodyIsLetGo(t *testing.T) {
	t.Parallel()
	server := replaytest.Listen(t)
	client, err := NewClient(trace.NewSteadyClock(), ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	x := newExchange(client)
	var free atomic.Bool
	wrote := x.trace.WroteRequest
	x.trace.WroteRequest = func(info httptrace.WroteRequestInfo) {
		time.Sleep(50 * time.Millisecond) // as if the body were still being read
		free.Store(true)
		wrote(info)
	}
	to := target(t, server.URL)
	var q trace.Request
	x.do(t.Context(), &to, trace.Chat, fmt.Appendf(nil, `{"fault":"unread","x":"%s"}`, strings.Repeat("x", 8<<20)), &q, func() {})
	if q.Status.V != 413 || !free.Load() {
		t.Errorf("status %v, let go %v", q.Status, free.Load())
	}
}

// TestServerMessages checks that a server's message is kept on request only.
func TestServerMessages(t *testing.T) {
	t.Parallel()
	server := replaytest.Listen(t)
	got := over(t, server.URL, ClientOptions{ServerMessages: true}, 1, faulty("bad_request", true), faulty("error_then_done", true), faulty("plain_error", true))
	for i, want := range []string{
		"status 400, BadRequestError, 400: [{'input': 'xyzzy'}]",
		"the server sent an error in the stream, InternalServerError, 500: cannot serve xyzzy",
		"status 422: xyzzy",
	} {
		if got[i].Error.Message != want {
			t.Errorf("%s", got[i].Error.Message)
		}
	}
}

func TestMessagesAreShort(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"short", strings.Repeat("é", 256), strings.Repeat("é", 257), strings.Repeat("x", 5000)} {
		if got := cut(s); len(got) > maxMessage || len(s) <= maxMessage && got != s {
			t.Errorf("%d bytes became %d", len(s), len(got))
		}
	}
}

// TestCancelledStream checks that a stream given up in the middle keeps what
// had come.
func TestCancelledStream(t *testing.T) {
	t.Parallel()
	server := replaytest.Listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	e, err := New(Options{
		Turns: []trace.Turn{faulty("stall_mid_stream", true)}, Targets: []Target{target(t, server.URL)},
		Plan: trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for server.Requests("stall_mid_stream") == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	s := &story{}
	res, err := e.Run(ctx, nil, s)
	if err != nil || res.Cancelled != 1 || !res.Stopped || s.requests[0].Outcome != trace.Cancelled || s.requests[0].Error.Class != "" {
		t.Errorf("%+v, %+v, %v", res, s.requests, err)
	}
}

// TestWrote checks, with a server that reads slowly, that wrote is when the
// last byte was handed to the kernel and not when the request was built.
func TestWrote(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const pause = 200 * time.Millisecond
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		time.Sleep(pause) // more than the socket buffers hold is still to come
		buf := make([]byte, 1<<20)
		for n := 0; n < 24<<20; {
			k, err := conn.Read(buf)
			if err != nil {
				done <- err
				return
			}
			n += k
		}
		_, err = conn.Write([]byte("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"))
		done <- err
	}()
	turn := trace.Turn{Payload: make([]byte, 24<<20), Endpoint: trace.Chat}
	q := over(t, "http://"+l.Addr().String(), ClientOptions{}, 1, turn)[0]
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if d := q.Wrote.V.Sub(q.Sent); !q.Wrote.OK || d < pause/2 {
		t.Errorf("written after %v", d)
	}
}

func TestKeyAndHeaders(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heads := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 4096)
		n, _ := conn.Read(buf)
		heads <- string(buf[:n])
		conn.Write([]byte("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"))
	}()
	opt := ClientOptions{Key: "secret", Header: map[string][]string{"x-a": {"1", "2"}, "Host": {"other"}, "content-type": {"application/json; charset=utf-8"}}}
	over(t, "http://"+l.Addr().String(), opt, 1, faulty("x", true))
	// Head and body come in one piece.
	want := "POST /v1/chat/completions HTTP/1.1\r\nHost: other\r\nUser-Agent: wattrace\r\nContent-Length: 74\r\nAuthorization: Bearer secret\r\n" +
		"Content-Type: application/json; charset=utf-8\r\nX-A: 1\r\nX-A: 2\r\n\r\n" + string(faulty("x", true).Payload)
	if diff := cmp.Diff(want, <-heads); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestClassesOfErrors checks the classes of what cannot be brought about on the
// loopback.
func TestClassesOfErrors(t *testing.T) {
	t.Parallel()
	dial := func(call string, err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError(call, err)}
	}
	for _, test := range []struct {
		err  error
		want trace.ErrorClass
	}{
		{dial("socket", syscall.EMFILE), trace.ErrClient},
		{dial("connect", syscall.EADDRNOTAVAIL), trace.ErrClient},
		{dial("connect", syscall.EHOSTUNREACH), trace.ErrConnect},
		{&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}}, trace.ErrDNS},
	} {
		client, err := NewClient(trace.NewSteadyClock(), ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		x := newExchange(client)
		var q trace.Request
		x.refused(t.Context(), test.err, &q)
		if q.Error.Class != test.want || q.Outcome != trace.Failed {
			t.Errorf("%v: %+v", test.err, q.Error)
		}
	}
}
