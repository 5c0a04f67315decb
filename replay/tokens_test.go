package replay

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"wattrace/trace"
)

// counted returns an event with a text and a usage that says so many tokens;
// below 0 it has none.
func counted(text string, tokens int) string {
	usage := "null"
	if tokens >= 0 {
		usage = fmt.Sprintf(`{"prompt_tokens":7,"total_tokens":%d,"completion_tokens":%d}`, 7+tokens, tokens)
	}
	return `{"id":"c","choices":[{"index":0,"delta":{"content":"` + text + `"},"finish_reason":null}],"usage":` + usage + `}`
}

// tokensOf replays one stream and returns how many tokens each of its events
// added; "unknown" is what the log leaves out.
func tokensOf(t *testing.T, stream string) string {
	t.Helper()
	transport := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(strings.NewReader(stream)),
		}, nil
	})
	q := over(t, "http://server", ClientOptions{Transport: transport}, 1, faulty("", true))[0]
	var tokens []int32
	for _, c := range q.Chunks {
		if tokens = append(tokens, c.Tokens); c.Tokens != 0 && !q.ChunkTokens {
			t.Errorf("an event has %d tokens, though they are not known", c.Tokens)
		}
	}
	if !q.ChunkTokens {
		return "unknown"
	}
	return fmt.Sprint(kinds(&q), " ", tokens)
}

func TestTokensOfEvents(t *testing.T) {
	t.Parallel()
	finish := func(index, tokens int) string {
		return strings.Replace(counted("", tokens), `"finish_reason":null`, fmt.Sprintf(`"finish_reason":"stop","i":%d`, index), 1)
	}
	const done = `[DONE]`
	for _, test := range []struct {
		name   string
		events []string
		want   string
	}{
		{"one each", []string{counted("", 0), counted("a", 1), counted("b", 2), finish(0, 2), `{"choices":[],"usage":{"completion_tokens":2}}`, done}, "u1c2f1u1d1 [0 1 1 0 0 0]"},
		{"several in one", []string{counted("a b", 2), counted("c", 3), counted("d e f", 6), finish(0, 6), done}, "c3f1d1 [2 1 3 0 0]"},
		{"none in one, and some that are not seen", []string{counted("a", 1), counted("b", 1), counted("", 3), counted("c", 4), finish(0, 5), done}, "c2u1c1f1d1 [1 0 2 1 1 0]"},
		{"a keep-alive between", []string{counted("a", 1) + "\n\n: ping", counted("b", 2), finish(0, 2), done}, "c1k1c1f1d1 [1 0 1 0 0]"},
		{"no count before the first output", []string{`{"choices":[{"delta":{"role":"assistant","content":""}}]}`, counted("a", 1), finish(0, -1), done}, "r1c1f1d1 [0 1 0 0]"},
		{"of one event with all", []string{counted("a b c", 3), finish(0, 3), done}, "c1f1d1 [3 0 0]"},
		{"only at the end", []string{counted("a", -1), counted("b", -1), finish(0, -1), counted("", 2), done}, "unknown"},
		{"with the last output only", []string{counted("a", -1), counted("b", 2), finish(0, 2), done}, "unknown"},
		{"not with the last output", []string{counted("a", 1), counted("b", -1), finish(0, 2), done}, "unknown"},
		{"not with one that looks like the one before", []string{counted("a", 1), counted("b", -1), counted("c", -1), counted("d", 4), finish(0, 4), done}, "unknown"},
		{"falls", []string{counted("a", 1), counted("b", 2), counted("c", 1), counted("d", 3), finish(0, 3), done}, "unknown"},
		{"falls at the end", []string{counted("a", 1), counted("b", 3), finish(0, 2), done}, "unknown"},
		{"two choices", []string{counted("a", 1), counted("b", 1), counted("c", 2), counted("d", 2), finish(0, 2), finish(1, 2), `{"choices":[],"usage":{"completion_tokens":4}}`, done}, "unknown"},
		{"the last usage has no count", []string{counted("a", 1), finish(0, 1), `{"choices":[],"usage":{"prompt_tokens":7}}`, done}, "unknown"},
		{"more than can be", []string{counted("a", 1), counted("b", maxCount+1), finish(0, -1), done}, "unknown"},
		{"an error", []string{counted("a", 1), `{"error":{"type":"x"}}`, done}, "unknown"},
		{"no output", []string{counted("", 0), finish(0, 0), done}, "unknown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := tokensOf(t, data(test.events...)); got != test.want {
				t.Errorf("%s, not %s", got, test.want)
			}
		})
	}
}

// TestTokensOfDialects checks that of what servers really send only usage on each
// event says how many tokens it has.
func TestTokensOfDialects(t *testing.T) {
	t.Parallel()
	known := map[string]string{"vLLM chat, usage on each": "u1c2d1 [0 2 1 0]"}
	for _, d := range dialects {
		want := known[d.name]
		if want == "" {
			want = "unknown"
		}
		if got := tokensOf(t, d.stream); got != want {
			t.Errorf("%s: %s, not %s", d.name, got, want)
		}
	}
}

// TestCountDoesNotAllocate: neither does a count with each event.
func TestCountDoesNotAllocate(t *testing.T) {
	var a answer
	events := [][]byte{[]byte(counted("a", 1)), []byte(counted("b", 20)), []byte(counted("c", 300))}
	a.event(nil, events[2])
	if n := testing.AllocsPerRun(1000, func() {
		a.running = running{}
		for _, ev := range events {
			if kind := a.event(nil, ev); kind != trace.ChunkContent || a.running.Added == 0 {
				t.Fatalf("%c, %d tokens", kind, a.running.Added)
			}
			a.running.Added = 0
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
