package openaibatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/formats"
	"wattrace/trace"
)

// readAll returns each request as line id body.
func readAll(in string) (rows, errs []string) {
	r := NewReader(strings.NewReader(in), "b.jsonl")
	for {
		var row formats.Request
		switch err := r.Read(&row); {
		case err == io.EOF:
			return rows, errs
		case err != nil:
			errs = append(errs, err.Error())
		default:
			rows = append(rows, fmt.Sprintf("%d %s %s", row.Pos.Line, row.Timing.ID, row.Body))
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	const in = `{"custom_id":"r\u00e9","method":"POST","url":"/v1/chat/completions","body":{"model":"m", "messages":[ ],"temperature":1.0e0,"temperature":0}}` + "\r\n\n" +
		`{"body":{"prompt":"\ud800 \/"},"x":[],"custom_id":"2","url":"\/v1\/completions","method":"POST"}
{"custom_id":"2","method":"POST","url":"/v1/responses","body":{"input":"x"}}`
	rows, errs := readAll(in)
	want := []string{
		`1 ré {"model":"m", "messages":[ ],"temperature":1.0e0,"temperature":0}`,
		`3 2 {"prompt":"\ud800 \/"}`,
		`4 2 {"input":"x"}`, // the same name again
	}
	if d := cmp.Diff(want, rows); d != "" || errs != nil {
		t.Errorf("%v (-want +got):\n%s", errs, d)
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	const good = `{"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"x"}}`
	const urls = `"url" must be /v1/chat/completions, /v1/completions or /v1/responses`
	for marked, want := range map[string]string{
		`∑[]`:                                                              "not a JSON object, but an array",
		`∑{"custom_id":"a"}`:                                               `"method" is missing`,
		`∑{"method":"POST"}`:                                               `"custom_id" is missing`,
		`{"custom_id":"a"∑`:                                                "not JSON: the line ends inside a value",
		strings.Replace(good, `"a"`, `∑1`, 1):                              `"custom_id" must be a string`,
		strings.Replace(good, `"a"`, `∑null`, 1):                           `"custom_id" must be a string`,
		strings.Replace(good, `"a"`, `∑""`, 1):                             `"custom_id" is empty`,
		strings.Replace(good, `"a"`, `"a","custom_id":∑"b"`, 1):            `"custom_id" is there twice`,
		strings.Replace(good, `"POST"`, `∑"GET"`, 1):                       `"method" must be "POST"`,
		strings.Replace(good, `"/v1/completions"`, `∑"/v1/embeddings"`, 1): urls,
		strings.Replace(good, `"/v1/completions"`, `∑7`, 1):                urls,
		strings.Replace(good, `{"prompt"`, `∑{"messages"`, 1):              `"body" has the shape of /v1/chat/completions`,
		strings.Replace(good, `{"prompt"`, `∑{"x"`, 1):                     `none of the keys "messages", "prompt" and "input" is there`,
		strings.Replace(good, `{"prompt":"x"}`, `∑"x"`, 1):                 `"body" must be an object`,
		strings.Replace(good, `"x"`, `"`+"∑\xff"+`"`, 1):                   "not JSON: invalid UTF-8",
		"∑\ufeff" + good:                                                   "a byte order mark, which does not belong in JSON Lines",
	} {
		before, after, found := strings.Cut(marked, "∑")
		if !found {
			t.Fatal(marked)
		}
		rows, errs := readAll(good + "\n" + before + after + "\n" + good)
		if d := cmp.Diff([]string{fmt.Sprintf("b.jsonl:2:%d: %s", len(before)+1, want)}, errs); d != "" || len(rows) != 2 {
			t.Errorf("%s: %d rows (-want +got):\n%s", marked, len(rows), d)
		}
	}
	broken := errors.New("broken")
	r := NewReader(io.MultiReader(strings.NewReader(good), iotest.ErrReader(broken)), "-")
	if err := r.Read(new(formats.Request)); err != broken {
		t.Errorf("got %v", err)
	}
}

// Whatever the bodies, they come out byte for byte.
func TestBodies(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body, err := json.Marshal(map[string]any{"prompt": rapid.String().Draw(t, "prompt"), rapid.String().Draw(t, "key"): rapid.Float64().Draw(t, "value")})
		if err != nil {
			t.Fatal(err)
		}
		if e, err := trace.CheckPayload(body); err != nil || e != trace.Completions {
			t.Skip("another shape")
		}
		space := rapid.SampledFrom([]string{"", " ", "\t "}).Draw(t, "space")
		rows, errs := readAll(`{"custom_id":"a","method":"POST","url":"/v1/completions","body":` + space + string(body) + space + "}")
		if errs != nil || rows[0] != "1 a "+string(body) {
			t.Fatalf("%q: %q %v", body, rows, errs)
		}
	})
}

// What is read is what another JSON decoder reads, or it is refused.
func FuzzReadEqualsEncodingJSON(f *testing.F) {
	f.Add(`{"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"x"}}`)
	f.Fuzz(func(t *testing.T, line string) {
		var row formats.Request
		if NewReader(strings.NewReader(line), "-").Read(&row) != nil {
			return
		}
		if i := strings.Index(strings.TrimLeft(line, " \t\r\n"), "\n"); i >= 0 {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &want); err != nil || !bytes.Equal(want["body"], row.Body) || string(want["method"]) != `"POST"` {
			t.Fatalf("%q: %q, %v", line, row.Body, err)
		}
	})
}
