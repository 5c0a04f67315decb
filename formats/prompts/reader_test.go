package prompts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
	"wattrace/trace"
)

// readAll returns each request as line conversation/turn id in/out at prompt messages.
func readAll(in string, f Format, all bool) (rows, errs []string) {
	r := NewReader(strings.NewReader(in), "p", f)
	r.All = all
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
		n := func(v trace.Opt[int64]) string {
			if v.OK {
				return fmt.Sprint(v.V)
			}
			return "?"
		}
		rows = append(rows, fmt.Sprintf("%d %s/%d %q %s/%s %v %s%s", row.Pos.Line, row.Conversation, row.Turn, row.Timing.ID,
			n(row.Timing.InputTokens), n(row.Timing.OutputTokens), row.Timing.AtSeconds.V, string(row.Prompt), string(row.Messages)))
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	const u = `{"role":"user","content":`
	for _, c := range []struct {
		format Format
		all    bool
		in     string
		want   []string
	}{
		{VLLM, false, "{\"prompt\":\"a \\ud800\"}\r\n\n{\"output_tokens\":3,\"prompt\":\"b\",\"x\":1}\n{\"prompt\":\"c\",\"output_tokens\":null}", []string{
			`1 /0 "" ?/? 0 "a \ud800"`, `3 /0 "" ?/3 0 "b"`, `4 /0 "" ?/? 0 "c"`,
		}},
		{Questions, false, `{"question_id":-8,"turns":["a","b"]}` + "\n" + `{"turns":["c"],"question_id":"é"}`, []string{
			`1 /0 "-8" ?/? 0 "a"`, `2 /0 "é" ?/? 0 "c"`,
		}},
		{Questions, true, `{"turns":["z"]}` + "\n" + `{"question_id":8,"turns":["a","b","c"]}`, []string{
			`1 /0 "" ?/? 0 "z"`,
			`2 2/0 "8" ?/? 0 [` + u + `"a"}]`, `2 2/1 "8" ?/? 0 [` + u + `"a"},` + u + `"b"}]`, `2 2/2 "8" ?/? 0 [` + u + `"a"},` + u + `"b"},` + u + `"c"}]`,
		}},
		// The first name of a column counts for the whole file.
		{GuideLLM, false, `{"Questions":"a","prompt":"no","output_tokens_count":3}
{"prompt":"no","Questions":"b","prefix":"s","completion_tokens_count":9}
{"Questions":"c","output_tokens_count":4,"prompt_tokens_count":0,"relative_timestamp":1.5,"image":null,"prompt_1":null,"model":"m"}`, []string{
			`1 /0 "" ?/3 0 "a"`, `2 /0 "" ?/? 0 [{"role":"system","content":"s"},{"role":"user","content":"b"}]`, `3 /0 "" 0/4 1.5 "c"`,
		}},
		{GuideLLM, false, `{"chat_messages":[{"role":"user"}]}`, []string{`1 /0 "" ?/? 0 [{"role":"user"}]`}},
	} {
		rows, errs := readAll(c.in, c.format, c.all)
		if d := cmp.Diff(c.want, rows); d != "" || errs != nil {
			t.Errorf("%s: %v (-want +got):\n%s", c.in, errs, d)
		}
	}
}

func TestOmissions(t *testing.T) {
	t.Parallel()
	for all, want := range map[bool]int64{false: 3, true: 0} {
		r := NewReader(strings.NewReader(`{"turns":["a","b","c"]}`+"\n"+`{"turns":["a","b"]}`), "p", Questions)
		r.All = all
		for r.Read(new(formats.Request)) == nil {
		}
		if got := r.Omissions(); len(got) != 1 || got[0].N != want {
			t.Errorf("%v: %+v", all, got)
		}
	}
}

// Each input has the marker where its fault must be reported. A good row
// before and after it must be read all the same.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	good := map[Format]string{VLLM: `{"prompt":"x"}`, Questions: `{"turns":["x"]}`, GuideLLM: `{"prompt":"x"}`}
	for format, faults := range map[Format]map[string]string{
		VLLM: {
			`∑[1]`:                             "not a JSON object, but an array",
			`∑{}`:                              `"prompt" is missing`,
			`{"prompt":∑1}`:                    `"prompt" must be a string`,
			`{"prompt":"x","prompt":∑"y"}`:     `"prompt" is there twice`,
			`{"prompt":null,"prompt":∑"y"}`:    `"prompt" is there twice`,
			`{"output_tokens":∑0,"prompt":""}`: `"output_tokens" must be at least 1`,
			`{"prompt":"x` + "∑\xff" + `"}`:    "not JSON: invalid UTF-8",
			`∑` + "\ufeff" + `{"prompt":"x"}`:  "a byte order mark, which does not belong in JSON Lines",
		},
		Questions: {
			`∑{"question_id":1}`:                           `"turns" is missing`,
			`{"turns":∑[]}`:                                `"turns" is empty`,
			`{"turns":∑"x"}`:                               `"turns" must be an array`,
			`{"turns":["x",∑{"content":"x"}]}`:             `a turn in "turns" must be a string`,
			`{"turns":["x"],"turns":∑["x"]}`:               `"turns" is there twice`,
			`{"turns":["x"],"question_id":∑1.5}`:           `"question_id" must be an integer`,
			`{"turns":["x"],"question_id":∑""}`:            `"question_id" is empty`,
			`{"question_id":1,"question_id":∑2,"turns":0}`: `"question_id" is there twice`,
		},
		GuideLLM: {
			`∑{"x":"y"}`:                                       "no column of prompts or messages is there",
			`{"prompt":∑["x"]}`:                                `"prompt" must be a string`,
			`{"prompt":"x","prompt":∑"x"}`:                     `"prompt" is there twice`,
			`{"prompt":"x","prompt_1":∑"x"}`:                   `"prompt_1" is a turn, and only columns of one turn are read`,
			`{"prompt":"x","output_tokens_count-2":∑1}`:        `"output_tokens_count-2" is a turn, and only columns of one turn are read`,
			`{"prompt":"x","images":∑["x"]}`:                   `"images" is not supported`,
			`{"prompt":"x","tools":∑[]}`:                       `"tools" is not supported`,
			`{"messages":∑[]}`:                                 `"messages" must be an array that is not empty`,
			`{"prompt":"x","messages":∑[{}]}`:                  `both "messages" and "prompt"`,
			`{"system":"x","messages":∑[{}]}`:                  `both "messages" and "system"`,
			`{"prompt":"x","system":∑1}`:                       `"system" must be a string`,
			`{"prompt":"x","relative_timestamp":∑-1}`:          `"relative_timestamp" is negative`,
			`{"prompt":"x","input_tokens_count":∑-1}`:          `"input_tokens_count" must be at least 0`,
			`{"prompt":"x","completion_tokens_count":∑"8"}`:    `"completion_tokens_count" must be an integer`,
			`{"prompt":"x","output_tokens_count":∑2147483648}`: `"output_tokens_count" is too large`,
		},
	} {
		for marked, want := range faults {
			before, after, _ := strings.Cut(marked, "∑")
			rows, errs := readAll(good[format]+"\n"+before+after+"\n"+good[format], format, false)
			if d := cmp.Diff([]string{fmt.Sprintf("p:2:%d: %s", len(before)+1, want)}, errs); d != "" {
				t.Errorf("%s (-want +got):\n%s", marked, d)
			}
			if len(rows) != 2 || !strings.HasPrefix(rows[1], "3 ") {
				t.Errorf("%s: the others are %q", marked, rows)
			}
		}
	}
}

// What is read is a JSON string or messages, in whatever input.
func FuzzRead(f *testing.F) {
	f.Add(`{"prompt":"x","output_tokens":3}`, 0)
	f.Add(`{"question_id":8,"turns":["a","b","c"]}`, 1)
	f.Add(`{"system":"s","text":"x","output_tokens_count":3}`, 2)
	f.Fuzz(func(t *testing.T, in string, format int) {
		r := NewReader(strings.NewReader(in), "p", Format(uint(format)%3))
		r.All = true
		for range len(in) + 1 {
			var row formats.Request
			err := r.Read(&row)
			if err == io.EOF {
				return
			}
			if err == nil && (row.Prompt == nil) == (row.Messages == nil) || err == nil && !json.Valid(append(row.Prompt, row.Messages...)) {
				t.Fatalf("%q: %+v", in, row)
			}
		}
		if r.Read(new(formats.Request)) == nil {
			t.Fatalf("%q: requests without end", in)
		}
	})
}
