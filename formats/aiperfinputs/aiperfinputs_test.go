package aiperfinputs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/formats"
	"wattrace/trace"
)

// readAll returns each request as line:col conversation/turn body.
func readAll(in string) (rows, errs []string) {
	r := NewReader(strings.NewReader(in), "i.json")
	for {
		var row formats.Request
		err := r.Read(&row)
		if err == io.EOF {
			return rows, errs
		}
		var syntax *trace.SyntaxError
		if err != nil {
			errs = append(errs, err.Error())
			if !errors.As(err, &syntax) {
				return rows, errs
			}
			continue
		}
		rows = append(rows, fmt.Sprintf("%d:%d %s/%d %s", row.Pos.Line, row.Pos.Col, row.Conversation, row.Turn, row.Body))
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][]string{
		"{\n  \"data\": [\n    {\n      \"session_id\": \"\\u00e9\",\n      \"payloads\": [\n        {\n          \"model\": \"a \\\" b\",\n\t\"messages\": [ ],\r\n \"t\": 1.0e0\n        },\n        {\"prompt\":  1}\n      ]\n    }\n  ]\n}\n": {
			`6:9 é/0 {"model":"a \" b","messages":[],"t":1.0e0}`, `11:9 é/1 {"prompt":  1}`,
		},
		`{"x":1,"data":[{"payload":[{"prompt":"a"}]},{"payload":{"prompt":"b"},"x":0},{"payload":[]},{"payload":[{"prompt":"c"},{"input":"d"}],"session_id":null}],"version":1}`: {
			`1:28 /0 {"prompt":"a"}`, `1:56 /0 {"prompt":"b"}`, `1:105 4/0 {"prompt":"c"}`, `1:120 4/1 {"input":"d"}`,
		},
		`{"data":[]}`: nil,
	} {
		rows, errs := readAll(in)
		if d := cmp.Diff(want, rows); d != "" || errs != nil {
			t.Errorf("%s: %v (-want +got):\n%s", in, errs, d)
		}
	}
}

// Each input has the marker where its fault must be reported. A good session before
// and after it must be read all the same.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	const good = `{"payloads":[{"prompt":"x"}]}`
	for marked, want := range map[string]string{
		`∑[1,2]`:                                                "not a JSON object, but an array",
		`∑{"session_id":"b"}`:                                   `"payloads" is missing`,
		`{"payloads":∑{"prompt":1}}`:                            `"payloads" must be an array`,
		`{"payload":∑"x"}`:                                      `"payload" must be an array`,
		`{"payloads":[{"prompt":1}, ∑3]}`:                       "not a JSON object, but a number",
		`{"payloads":[{"prompt":1},∑{"x":1}]}`:                  `none of the keys "messages", "prompt" and "input" is there`,
		`{"payloads":[],"payloads":∑[]}`:                        `"payloads" is there twice`,
		`{"payloads":[],"payload":∑[]}`:                         `both "payloads" and "payload"`,
		`{"payloads":[],"session_id":∑1}`:                       `"session_id" must be a string`,
		`{"payloads":[],"session_id":∑""}`:                      `"session_id" is empty`,
		`{"payloads":[],"session_id":∑"first"}`:                 "another session has this name",
		`{"session_id":"x","payloads":[{"∑` + "\xff" + `":1}]}`: "not JSON: invalid UTF-8",
	} {
		before, after, _ := strings.Cut(marked, "∑")
		rows, errs := readAll(`{"data":[{"session_id":"first","payloads":[{"prompt":1}]},` + "\n" + before + after + ",\n" + good + "]}")
		if d := cmp.Diff([]string{fmt.Sprintf("i.json:2:%d: %s", len(before)+1, want)}, errs); d != "" {
			t.Errorf("%s (-want +got):\n%s", marked, d)
		}
		if len(rows) != 2 || !strings.HasPrefix(rows[1], "3:") {
			t.Errorf("%s: the others are %q", marked, rows)
		}
	}
	for in, want := range map[string]string{
		`[]`:                                   "i.json:1:1: not a JSON object",
		`{"data":[{"payloads":[{"prompt":1}]}`: "i.json:1:37: the document breaks off: unexpected EOF",
	} {
		if _, errs := readAll(in); len(errs) != 1 || errs[0] != want {
			t.Errorf("%s: %q", in, errs)
		}
	}
}

// However a document is indented, the bodies mean what they meant, and are lines.
func TestBodies(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var data []map[string]any
		var want []json.RawMessage
		for i, n := range rapid.SliceOfN(rapid.IntRange(0, 3), 0, 5).Draw(t, "sessions") {
			payloads := []json.RawMessage{}
			for range n {
				b, err := json.Marshal(map[string]any{"prompt": rapid.String().Draw(t, "prompt"), "x": []any{rapid.Float64().Draw(t, "x"), "\\\" \n"}})
				if err != nil {
					t.Fatal(err)
				}
				payloads, want = append(payloads, b), append(want, b)
			}
			data = append(data, map[string]any{"session_id": fmt.Sprint("s", i), "payloads": payloads})
		}
		if data == nil {
			data = []map[string]any{}
		}
		b, err := json.MarshalIndent(map[string]any{"data": data}, "", rapid.SampledFrom([]string{"", "  ", "\t"}).Draw(t, "indent"))
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(bytes.NewReader(b), "i")
		for _, want := range want {
			var row formats.Request
			if err := r.Read(&row); err != nil || !bytes.Equal(row.Body, want) {
				t.Fatalf("%s: got %s, want %s, %v", b, row.Body, want, err)
			}
		}
		if err := r.Read(new(formats.Request)); err != io.EOF {
			t.Fatal(err)
		}
	})
}

// What is read can be written as a line of a trace, and means what it meant.
func FuzzReadEqualsEncodingJSON(f *testing.F) {
	f.Add("{\"data\":[{\"session_id\":\"a\",\"payloads\":[{\"prompt\":\n \"\\\\\" }]}]}")
	f.Add(`{"data":[{"payload":[{"prompt":"x"}]},{"payload":{"prompt":"\" "}}]}`)
	f.Fuzz(func(t *testing.T, in string) {
		r := NewReader(strings.NewReader(in), "i")
		for range len(in) + 1 {
			var row formats.Request
			err := r.Read(&row)
			if err == io.EOF {
				return
			}
			if err != nil {
				continue
			}
			if err := trace.NewWriter(io.Discard).Write(row.Body); err != nil {
				t.Fatalf("%q: %q, %v", in, row.Body, err)
			}
			line, col := strings.Split(in, "\n")[row.Pos.Line-1], row.Pos.Col-1
			if line[col] != '{' {
				t.Fatalf("%q: nothing begins at %v", in, row.Pos)
			}
		}
		if err := r.Read(new(formats.Request)); err == nil {
			t.Fatalf("%q: requests without end", in)
		}
	})
}
