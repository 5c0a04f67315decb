package trace

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// marker stands in an input where the fault must be reported. It is taken out
// before the input is used.
const marker = "∑"

// cutMarker returns s without its marker and the marker's 1-based column, 0 if
// there is none.
func cutMarker(s string) (string, int) {
	before, after, found := strings.Cut(s, marker)
	if !found {
		return s, 0
	}
	return before + after, len(before) + 1
}

func TestCheckPayloadShapes(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]Endpoint{
		`{"model":"m","messages":[]}`:                  Chat,
		`{"prompt":[1,2]}`:                             Completions,
		`{"input":"x"}`:                                Responses,
		`{"input":1,"prompt":2,"messages":3}`:          Chat,
		`{"input":1,"prompt":2}`:                       Completions,
		` { "prompt" : "x" } ` + "\t\r":                Completions,
		`{"mess\u0061ges":[]}`:                         Chat,
		`{"x":"\ud800","prompt":"\udc00\ud83d\ude00"}`: Completions, // lone surrogate escapes
		`{"prompt":1,"prompt":2}`:                      Completions,
		`{"\ud800":1,"prompt":"é😀\u0000"}`:             Completions,
		`{"prompt":1e999,"a":-0.0}`:                    Completions, // a number no double holds is still JSON
		`{"x":{"messages":1},"input":"\/"}`:            Responses,   // only top-level keys count
	} {
		got, err := CheckPayload([]byte(body))
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", body, got, err, want)
		}
	}
}

func TestCheckPayloadErrors(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`[`, 20_000)
	for _, c := range []struct {
		body string // with the marker where the fault is
		want error
		text string
	}{
		{`∑`, ErrNotJSON, "not JSON: nothing there"},
		{`hello`, ErrNotJSON, "not JSON: unexpected character"},
		{`∑hello`, ErrNotJSON, "not JSON: unexpected character"},
		{`{"prompt":∑}`, ErrNotJSON, "not JSON: unexpected character"},
		{`{"prompt":1∑,}`, ErrNotJSON, "not JSON: unexpected character"},
		{`{"prompt":1 ∑"x":2}`, ErrNotJSON, "not JSON: unexpected character"},
		{`{"prompt" ∑1}`, ErrNotJSON, "not JSON: unexpected character"},
		{`{∑1:2,"prompt":1}`, ErrNotJSON, "not JSON: unexpected character"},
		{`{∑prompt:1}`, ErrNotJSON, "not JSON: unexpected character"},
		{`{"prompt":∑'x'}`, ErrNotJSON, "not JSON: unexpected character"},
		{`{"prompt":∑NaN}`, ErrNotJSON, "not JSON: unexpected character"},
		{`{"prompt":0∑1}`, ErrNotJSON, "not JSON: unexpected character"},
		{`{"prompt":[1,2∑}`, ErrNotJSON, "not JSON: unexpected character"},
		{`{"prompt":"abc∑`, ErrNotJSON, "not JSON: the line ends inside a value"},
		{`{"prompt":"abc"∑`, ErrNotJSON, "not JSON: the line ends inside a value"},
		{`{∑`, ErrNotJSON, "not JSON: the line ends inside a value"},
		{`{"prompt":tru∑`, ErrNotJSON, "not JSON: the line ends inside a value"},
		{`{"prompt":"∑\x"}`, ErrNotJSON, "not JSON: invalid escape sequence"},
		{`{"prompt":"∑\u12g4"}`, ErrNotJSON, "not JSON: invalid escape sequence"},
		{"{\"prompt\":\"a∑\tb\"}", ErrNotJSON, "not JSON: unescaped control character"},
		{"{\"prompt\":\"é∑\xff\"}", ErrNotJSON, "not JSON: invalid UTF-8"},
		{"{\"prompt\":\"∑\xed\xa0\x80\"}", ErrNotJSON, "not JSON: invalid UTF-8"}, // a surrogate written as bytes
		{"{\"prompt\":\"∑\xe2\x82", ErrNotJSON, "not JSON: invalid UTF-8"},
		{"{\"prompt\":∑x, \"y\":\"\xff\"}", ErrNotJSON, "not JSON: unexpected character"}, // the first fault counts
		{"∑\xfe\xff{}", ErrNotJSON, "not JSON: invalid UTF-8"},
		{"{\"prompt\":1}∑\xff", ErrNotJSON, "not JSON: invalid UTF-8"},
		{`{"prompt":` + deep[:9999] + "∑" + deep[9999:], ErrNotJSON, "not JSON: nested too deep"},
		{`∑[1]`, ErrNotObject, "not a JSON object, but an array"},
		{` ∑"x"`, ErrNotObject, "not a JSON object, but a string"},
		{`∑1`, ErrNotObject, "not a JSON object, but a number"},
		{`∑true`, ErrNotObject, "not a JSON object, but a boolean"},
		{`∑null`, ErrNotObject, "not a JSON object, but null"},
		{`{"prompt":1} ∑{"prompt":2}`, ErrTrailingData, "data after the JSON object"},
		{`{"prompt":1}∑}`, ErrTrailingData, "data after the JSON object"},
		{`{"prompt":1}∑,`, ErrTrailingData, "data after the JSON object"},
		{"∑\ufeff{\"prompt\":1}", ErrByteOrderMark, "a byte order mark, which does not belong in JSON Lines"},
		{`∑{}`, ErrNoEndpoint, `none of the keys "messages", "prompt" and "input" is there`},
		{`∑{"x":{"prompt":1}}`, ErrNoEndpoint, `none of the keys "messages", "prompt" and "input" is there`},
	} {
		body, col := cutMarker(c.body)
		if col == 0 {
			col = 1
		}
		name := body[:min(len(body), 40)]
		_, err := CheckPayload([]byte(body))
		var at *ColumnError
		if !errors.As(err, &at) || !errors.Is(err, c.want) {
			t.Errorf("%q: got error %v, want %v", name, err, c.want)
			continue
		}
		if at.Col != col || at.Err.Error() != c.text {
			t.Errorf("%q: got column %d: %v; want column %d: %s", name, at.Col, at.Err, col, c.text)
		}
	}
}

// A body may be mapped read-only, so that a write to it would end the process.
func TestCheckPayloadDoesNotWrite(t *testing.T) {
	t.Parallel()
	body := []byte(`{"a":"b\n","messages":[{"role":"user","content":"x y"}],"n":[1,2,{"k":null}]} `)
	before := bytes.Clone(body)
	if _, err := CheckPayload(body); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(body, before) {
		t.Errorf("the body became %s", body)
	}
}

// No message may hold a part of a prompt, whatever is wrong with it.
func FuzzErrorsQuoteNothing(f *testing.F) {
	f.Add([]byte(`{"prompt":"secret\x"}`))
	f.Add([]byte("{\"secret\":\x01}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := CheckPayload(body)
		if err == nil {
			return
		}
		known := []string{"nothing there", "the line ends inside a value", "unexpected character",
			"invalid escape sequence", "unescaped control character", "invalid UTF-8", "nested too deep"}
		var at *ColumnError
		if !errors.As(err, &at) || at.Col < 1 || at.Col > len(body)+1 {
			t.Fatalf("%q: %v has no column of the line", body, err)
		}
		if at.Err == ErrByteOrderMark || at.Err == ErrTrailingData || at.Err == ErrNoEndpoint {
			return
		}
		for _, k := range known {
			if at.Err.Error() == ErrNotJSON.Error()+": "+k {
				return
			}
		}
		if kind, ok := strings.CutPrefix(at.Err.Error(), ErrNotObject.Error()+", but "); ok && len(kind) <= len("a boolean") {
			return
		}
		t.Fatalf("%q: unknown message %q", body, at.Err)
	})
}

func BenchmarkCheckPayload(b *testing.B) {
	body := []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat(`Some words and a \"quote\".\n`, 8000) + `"}],"max_tokens":16}`)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := CheckPayload(body); err != nil {
			b.Fatal(err)
		}
	}
}
