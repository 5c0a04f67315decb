package sglang

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
)

var readers = map[string]func(io.Reader, string) formats.RequestReader{
	"openai": func(r io.Reader, name string) formats.RequestReader { return NewOpenAIReader(r, name) },
	"tokens": func(r io.Reader, name string) formats.RequestReader { return NewTokenTraceReader(r, name) },
}

func readAll(in, reader string) (rows, errs []string) {
	r := readers[reader](strings.NewReader(in), "s")
	var row formats.Request
	for {
		err := r.Read(&row)
		if err == io.EOF {
			return rows, errs
		}
		if err != nil {
			errs = append(errs, err.Error())
			continue
		}
		at, ok := row.Timing.AtSeconds.Get()
		rows = append(rows, fmt.Sprintf("%d %s%v %d %v %v %s", row.Pos.Line, string(row.Messages), row.IDs, row.Timing.OutputTokens.V, at, ok, string(row.Extra)))
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reader, in string
		want       []string
	}{
		{"openai", `{"model":"a","messages":[{}],"max_tokens":5,"top_p":1e0,"stream":true,"t\"o":[ ]}
{"messages":[{}],"max_completion_tokens":7,"stream_options":{}}`, []string{`1 [{}][] 5 0 false {"top_p":1e0,"t\"o":[ ]}`, `2 [{}][] 256 0 false `}},
		{"tokens", `{"input_tokens":[1, 2],"num_output_tokens":3,"output_tokens":"not used","ts":1700000000.1}
{"input_tokens":[3],"output_tokens":[],"ts":1}
{"input_tokens":[3],"output_tokens":[7,8],"num_input_tokens":1,"ts":1700000000.4,"x":[]}
{"input_tokens":[4],"num_output_tokens":1,"ts":null,"num_input_tokens":null}`, nil},
	} {
		rows, errs := readAll(c.in, c.reader)
		if c.want == nil { // an answer of no tokens may not be the earliest either
			c.want = []string{`1 [1 2] 3 0 true `, `3 [3] 2 0.3 true `, `4 [4] 1 0 false `}
			if d := cmp.Diff([]string{`s:2:45: "ts" is earlier than the first`}, errs); d != "" {
				t.Error(d)
			}
			errs = nil
		}
		for i := range rows {
			rows[i] = strings.Replace(rows[i], "0.300000191", "0.3", 1)
		}
		if d := cmp.Diff(c.want, rows); d != "" || errs != nil {
			t.Errorf("%s: %v (-want +got):\n%s", c.in, errs, d)
		}
	}
}

func TestOmissions(t *testing.T) {
	t.Parallel()
	r := NewTokenTraceReader(strings.NewReader(`{"input_tokens":[3],"output_tokens":[]}`+"\n"+`{"input_tokens":[3],"num_output_tokens":0}`), "s")
	if err := r.Read(new(formats.Request)); err != io.EOF || r.Omissions()[0].N != 2 {
		t.Error(err, r.Omissions())
	}
}

// Each input has the marker where its fault must be reported.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	good := map[string]string{"openai": `{"messages":[{}]}`, "tokens": `{"input_tokens":[1],"num_output_tokens":1}`}
	for reader, faults := range map[string]map[string]string{
		"openai": {
			`∑{}`:                               `"messages" is missing`,
			`∑3`:                                "not a JSON object, but a number",
			`{"messages":∑[]}`:                  `"messages" must be an array that is not empty`,
			`{"messages":∑"x"}`:                 `"messages" must be an array that is not empty`,
			`{"messages":[{}],"max_tokens":∑0}`: `"max_tokens" must be at least 1`,
			`{"messages":[{}],"a":1,"a":∑2}`:    "a key is there twice",
		},
		"tokens": {
			`∑{"num_output_tokens":1}`:                                         `"input_tokens" is missing`,
			`{"input_tokens":∑3,"num_output_tokens":1}`:                        `"input_tokens" must be an array`,
			`{"input_tokens":∑[],"num_output_tokens":1}`:                       `"input_tokens" is empty`,
			`{"input_tokens":[1,∑-1],"num_output_tokens":1}`:                   `a token id in "input_tokens" must be an integer from 0 to 2147483647`,
			`{"input_tokens":[1],"output_tokens":[∑null]}`:                     `a token id in "output_tokens" must be an integer from 0 to 2147483647`,
			`∑{"input_tokens":[1]}`:                                            `neither "num_output_tokens" nor "output_tokens" is there`,
			`{"input_tokens":[1],"num_input_tokens":∑2,"num_output_tokens":1}`: `"num_input_tokens" is 2 where "input_tokens" has 1`,
			`{"input_tokens":[1],"num_output_tokens":∑-1}`:                     `"num_output_tokens" must be at least 0`,
			`{"input_tokens":[1],"num_output_tokens":1,"ts":∑-1}`:              `"ts" is negative`,
			`{"input_tokens":[1],"input_tokens":∑[1]}`:                         `"input_tokens" is there twice`,
		},
	} {
		for marked, want := range faults {
			before, after, _ := strings.Cut(marked, "∑")
			rows, errs := readAll(good[reader]+"\n"+before+after+"\n"+good[reader], reader)
			if d := cmp.Diff([]string{fmt.Sprintf("s:2:%d: %s", len(before)+1, want)}, errs); d != "" {
				t.Errorf("%s (-want +got):\n%s", marked, d)
			}
			if len(rows) != 2 || !strings.HasPrefix(rows[1], "3 ") {
				t.Errorf("%s: the others are %q", marked, rows)
			}
		}
	}
}

// What is read is messages and an object, or token ids, in whatever input.
func FuzzRead(f *testing.F) {
	f.Add(`{"messages":[{}],"max_tokens":5,"top_p":1e0,"t\"o":[ ]}`)
	f.Add(`{"input_tokens":[1, 2],"num_output_tokens":3,"ts":1}`)
	f.Fuzz(func(t *testing.T, in string) {
		for _, open := range readers {
			r := open(strings.NewReader(in), "s")
			for range len(in) + 1 {
				var row formats.Request
				err := r.Read(&row)
				if err == io.EOF {
					break
				}
				var fields map[string]json.RawMessage
				if err == nil && (len(row.IDs) > 0) == (row.Messages != nil) || row.Extra != nil && json.Unmarshal(row.Extra, &fields) != nil {
					t.Fatalf("%q: %+v", in, row)
				}
			}
		}
	})
}
