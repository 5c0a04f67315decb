package replay

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wattrace/formats/requests"
	"wattrace/replay/replaytest"
	"wattrace/trace"
)

// logged is what the log says of each fault: its class, "" for a success.
var logged = map[string]trace.ErrorClass{
	"": "", "beside": "", "trickle": "", "trickle_head": "", "early_hints": "", "comments": "", "large_event": "",
	"carriage_returns": "", "open_after_done": "", "no_done": "", "no_usage": "",

	"reset_unread": trace.ErrReset, "reset_mid_body": trace.ErrReset, "reset_before_answer": trace.ErrReset,
	"close_before_answer": trace.ErrReset, "reset_in_head": trace.ErrReset,
	"reset_after_head": trace.ErrSSETruncated, "reset_mid_stream": trace.ErrSSETruncated, "close_mid_stream": trace.ErrSSETruncated,
	"half_close": trace.ErrSSETruncated, "cut_in_event": trace.ErrSSETruncated, "until_close": trace.ErrSSETruncated,
	"no_end": trace.ErrSSETruncated, "empty_stream": trace.ErrSSETruncated,
	"stall_unread": trace.ErrTimeout, "stall_before_head": trace.ErrTimeout, "stall_mid_stream": trace.ErrTimeout,
	"stall_in_rejection": trace.ErrHTTP5xx, "html": trace.ErrHTTP5xx,
	"too_many": trace.ErrHTTP429,
	"unread":   trace.ErrHTTP4xx, "bad_request": trace.ErrHTTP4xx, "plain_error": trace.ErrHTTP4xx,
	"not_http": trace.ErrHTTPOther, "redirect": trace.ErrHTTPOther, "no_content": trace.ErrHTTPOther, "empty": trace.ErrHTTPOther,
	"error_then_done": trace.ErrSSEEvent, "error_by_name": trace.ErrSSEEvent,
	"event_not_json": trace.ErrSSESyntax, "wrong_type": trace.ErrSSESyntax, "page_as_stream": trace.ErrSSESyntax,
	"page_with_200": trace.ErrSSESyntax, "gzip": trace.ErrSSESyntax, "whole": trace.ErrSSESyntax, "measured": "",
	"timed": "", "timed_two": "", "part": "", "close_later": trace.ErrReset,
	"error_with_200": trace.ErrSSESyntax, "not_an_answer": trace.ErrSSESyntax, // a stream was asked for
	"whole_cut": trace.ErrBody,
}

// TestEveryFaultIsLoggedOnce sends every fault there is, each beside good
// requests: each has one line that says it was sent and one that says how it
// ended, of the class that it should have; none is sent twice; and the good ones
// do not notice.
func TestEveryFaultIsLoggedOnce(t *testing.T) {
	server := replaytest.Listen(t)
	var lines, faults []string
	for _, fault := range slices.Sorted(maps.Keys(replaytest.Faults)) {
		for _, f := range []string{fault, "beside", ""} {
			faults = append(faults, f)
			lines = append(lines, fmt.Sprintf(`{"fault":%q,"messages":[{"role":"user","content":"xyzzy"}],"stream":true}`, f))
		}
	}
	path := file(t, "faults.jsonl", lines...)
	log := filepath.Join(t.TempDir(), "log.jsonl")
	code, _, stderr := tool("", "--url", server.URL, "--concurrency", "9", "--timeout", "5s", "-q", "-o", log, path)
	if code != 3 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b)+stderr, "xyzzy") {
		t.Error("a prompt, or an answer that quotes it, is shown")
	}
	sent, ended := map[int64]int{}, map[int64]int{}
	for _, rec := range read(t, string(b)) {
		switch rec.Type {
		case requests.TypeSent:
			sent[rec.Sent.Line]++
		case requests.TypeRequest:
			q := &rec.Request
			ended[q.Line]++
			fault := faults[q.Line-1]
			want, ok := logged[fault]
			got := q.Error.Class
			if got == trace.ErrStale {
				got = trace.ErrReset // it had got a connection that another had opened
			}
			if !ok || got != want || (want == "") != (q.Outcome == trace.Succeeded) {
				t.Errorf("%q: %s, %s (%s)", fault, q.Outcome, q.Error.Class, q.Error.Message)
			}
		}
	}
	for i := range lines {
		if n := int64(i + 1); sent[n] != 1 || ended[n] != 1 {
			t.Errorf("%q: %d lines say that it was sent, %d that it ended", faults[i], sent[n], ended[n])
		}
	}
	for fault := range replaytest.Faults {
		want := 1
		if fault == "" || fault == "beside" {
			want = len(replaytest.Faults) + 1
		}
		if n := server.Requests(fault); n != want {
			t.Errorf("%q: the server saw %d requests, not %d", fault, n, want)
		}
	}
}
