package replaytest

import (
	"bytes"
	"compress/gzip"
	"strconv"
	"strings"
	"time"
)

// The events of a good answer, and its tokens. A whole stream has the kinds
// r1c3f1u1d1.
const (
	Role   = `{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`
	Token  = `{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" a"},"finish_reason":null}]}`
	Finish = `{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	Usage  = `{"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`
	Done   = `[DONE]`

	// Timed is the last event of llama.cpp's server (xllamacpp 2026.10.11549) where
	// no usage was asked for, as it sent it but for the id.
	Timed = `{"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1795792413,"id":"c","model":"tiny","system_fingerprint":"b0-unknown","object":"chat.completion.chunk","timings":{"cache_n":2,"prompt_n":25,"prompt_ms":1.717,"prompt_per_token_ms":0.06868,"prompt_per_second":14560.2795573675,"predicted_n":6,"predicted_ms":1.228,"predicted_per_token_ms":0.24559999999999998,"predicted_per_second":4071.661237785016}}`

	// Measured is Usage with what vLLM says of the request, and a text that it
	// does not say.
	Measured = `{"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10},"metrics":{"queue_time_ms":0.5,"prompt":"the xyzzy"}}`

	Whole = `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":" a a a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`

	// Fault is an error event that quotes the prompt, as some servers do.
	Fault = `{"error":{"message":"cannot serve xyzzy","type":"InternalServerError","param":null,"code":500}}`
)

const (
	sse  = "text/event-stream; charset=utf-8"
	json = "application/json"
)

func stream(a *Answer, events ...string) {
	a.Begin(sse)
	a.Events(events...)
	a.End()
}

// Faults are the answers, by the names that requests give.
var Faults = map[string]func(a *Answer){
	"":      good,
	"whole": func(a *Answer) { a.Status(200, "OK", json, Whole) },
	"beside": func(a *Answer) { // a good one that is under way while another fails
		a.Begin(sse)
		a.Events(Role, Token)
		a.AwaitFault()
		a.Events(Token, Token, Finish, Usage, Done)
		a.End()
	},
	"measured":  func(a *Answer) { stream(a, Role, Token, Token, Token, Finish, Measured, Done) },
	"timed":     func(a *Answer) { stream(a, Role, Token, Token, Token, Timed, Done) },
	"timed_two": func(a *Answer) { stream(a, Role, Token, Token, Token, Finish, Timed, Done) },

	// The connection.
	"close_later":         func(a *Answer) { a.ReadBody(); time.Sleep(300 * time.Millisecond); a.Close() },
	"reset_unread":        func(a *Answer) { a.Reset() },
	"reset_mid_body":      func(a *Answer) { a.ReadSome(1 << 20); a.Reset() },
	"reset_before_answer": func(a *Answer) { a.ReadBody(); a.Reset() },
	"close_before_answer": func(a *Answer) { a.ReadBody(); a.Close() },
	"reset_in_head":       func(a *Answer) { a.ReadBody(); a.Raw("HTTP/1.1 200 OK\r\nContent-"); a.Reset() },
	"reset_after_head":    func(a *Answer) { a.Begin(sse); a.Reset() },
	"reset_mid_stream":    func(a *Answer) { a.Begin(sse); a.Events(Role, Token); a.Reset() },
	"close_mid_stream":    func(a *Answer) { a.Begin(sse); a.Events(Role, Token); a.Close() },
	"part": func(a *Answer) { // a good one, after which llama.cpp's server closes, whatever it says
		a.Begin(sse, "Keep-Alive: timeout=5, max=100")
		a.Events(Role, Token, Token, Token, Finish, Usage, Done)
		a.End()
		a.Close()
	},
	"half_close":   func(a *Answer) { a.Begin(sse); a.Events(Role, Token); a.HalfClose() },
	"cut_in_event": func(a *Answer) { a.Begin(sse); a.Events(Role); a.Chunk("data: " + Token[:30]); a.End() },
	"until_close": func(a *Answer) {
		a.ReadBody()
		a.Raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: " + Token + "\n\n")
		a.Close()
	},
	"whole_cut": func(a *Answer) {
		a.ReadBody()
		a.Raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n" + Whole[:80])
		a.Close()
	},
	"stall_unread":       func(a *Answer) { a.Stall() },
	"stall_before_head":  func(a *Answer) { a.ReadBody(); a.Stall() },
	"stall_mid_stream":   func(a *Answer) { a.Begin(sse); a.Events(Role, Token); a.Stall() },
	"stall_in_rejection": func(a *Answer) { a.ReadBody(); a.Raw("HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\nabc"); a.Stall() },
	"open_after_done": func(a *Answer) {
		a.Begin(sse)
		a.Events(Role, Token, Token, Token, Finish, Usage, Done)
		a.Stall()
	},
	"not_http": func(a *Answer) { a.ReadBody(); a.Raw("hello, this is xyzzy\r\n\r\n"); a.Close() },
	"unread": func(a *Answer) { // answers, and reads no more of the request
		a.Raw("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		a.Stall()
	},

	// The status.
	"too_many": func(a *Answer) { a.Status(429, "Too Many Requests", json, Fault, "Retry-After: 1") },
	"html": func(a *Answer) {
		a.Status(500, "Internal Server Error", "text/html", "<html><body>xyzzy</body></html>")
	},
	"bad_request": func(a *Answer) {
		a.Status(400, "Bad Request", json, `{"object":"error","message":"[{'input': 'xyzzy'}]","type":"BadRequestError","param":"the xyzzy","code":400}`)
	},
	"plain_error": func(a *Answer) { a.Status(422, "Unprocessable", json, `{"error":"xyzzy"}`) },
	"redirect":    func(a *Answer) { a.Status(307, "Temporary Redirect", "", "", "Location: /v1/chat/completions") },
	"no_content":  func(a *Answer) { a.ReadBody(); a.Raw("HTTP/1.1 204 No Content\r\n\r\n") },
	"empty":       func(a *Answer) { a.Status(200, "OK", json, "") },

	// The stream.
	"error_then_done":  func(a *Answer) { stream(a, Role, Token, Fault, Done) },
	"error_by_name":    func(a *Answer) { a.Begin(sse); a.Chunk("event: error\ndata: xyzzy\n\n"); a.End() },
	"no_done":          func(a *Answer) { stream(a, Role, Token, Token, Token, Finish, Usage) },
	"no_end":           func(a *Answer) { stream(a, Role, Token, Token) },
	"no_usage":         func(a *Answer) { stream(a, Role, Token, Token, Token, Finish, Done) },
	"empty_stream":     func(a *Answer) { stream(a) },
	"event_not_json":   func(a *Answer) { stream(a, Role, Token, `{"xyzzy"`, Token, Finish, Done) },
	"wrong_type":       func(a *Answer) { a.Begin(json); a.Events(Role, Token, Finish, Done); a.End() },
	"page_as_stream":   func(a *Answer) { a.Begin(sse); a.Chunk("<html>\n<body>xyzzy</body>\n"); a.End() },
	"error_with_200":   func(a *Answer) { a.Status(200, "OK", json, Fault) },
	"not_an_answer":    func(a *Answer) { a.Status(200, "OK", json, `{"status":"fine"}`) },
	"page_with_200":    func(a *Answer) { a.Status(200, "OK", "text/html", "<html>xyzzy</html>") },
	"gzip":             compressed,
	"trickle":          trickle,
	"trickle_head":     trickleHead,
	"early_hints":      func(a *Answer) { a.ReadBody(); a.Raw("HTTP/1.1 103 Early Hints\r\n\r\n"); good(a) },
	"comments":         comments,
	"large_event":      large,
	"carriage_returns": returns,
}

func compressed(a *Answer) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte("data: " + Token + "\n\ndata: [DONE]\n\n"))
	z.Close()
	a.Begin(sse, "Content-Encoding: gzip")
	a.Chunk(b.String())
	a.End()
}

func good(a *Answer) { stream(a, Role, Token, Token, Token, Finish, Usage, Done) }

// trickleHead writes a head byte by byte. Each is a packet of its own: Go sets
// TCP_NODELAY.
func trickleHead(a *Answer) {
	a.ReadBody()
	for _, c := range []byte("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: " + sse + "\r\n\r\n") {
		a.Raw(string(rune(c)))
	}
	for _, data := range []string{Role, Token, Token, Token, Finish, Usage, Done} {
		a.Raw("data: " + data + "\n\n")
	}
	a.Close()
}

// trickle writes a stream byte by byte.
func trickle(a *Answer) {
	a.Begin(sse)
	for _, data := range []string{Role, Token, Token, Token, Finish, Usage, Done} {
		for _, c := range []byte("data: " + data + "\n\n") {
			a.Chunk(string(rune(c)))
		}
	}
	a.End()
}

// comments writes keep-alives before the answer and in it.
func comments(a *Answer) {
	a.Begin(sse)
	a.Chunk(": ping\n\n: ping\n\n")
	a.Events(Role, Token)
	a.Chunk(":\n")
	a.Events(Token, Token, Finish, Usage, Done)
	a.End()
}

// LargeEvent is how long the event of large_event is, in bytes.
const LargeEvent = 5 << 20

func large(a *Answer) {
	text := strings.Repeat("x", LargeEvent)
	a.Begin(sse)
	a.Events(Role, Token, `{"choices":[{"delta":{"content":`+strconv.Quote(text)+`}}]}`, Token, Finish, Usage, Done)
	a.End()
}

func returns(a *Answer) {
	a.Begin(sse)
	for _, data := range []string{Role, Token, Token, Token, Finish, Usage, Done} {
		a.Chunk("data:" + data + "\r\r")
	}
	a.End()
}
