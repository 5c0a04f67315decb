package mooncake

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
)

// said returns each request as line at in/out prompt messages body extra, and the faults.
func said(in string, o Options) (rows, errs []string) {
	r := NewReader(strings.NewReader(in), "m", o)
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
		rows = append(rows, fmt.Sprintf("%d %v %d/%d %s%s%s %v %s", row.Pos.Line, row.Timing.AtSeconds.V, len(row.IDs), row.Timing.OutputTokens.V,
			string(row.Prompt), string(row.Messages), row.Body, row.Bare, string(row.Extra)))
	}
}

// What genai-perf does not know goes into the body.
func TestFields(t *testing.T) {
	t.Parallel()
	rows, errs := said(`{"timestamp":1500,"text":"x","top_p":1e0,"ex\u0074ra":{"a":[1]},"chat_id":"c"}
{"text_input":"x","priority":null}
{"messages":[1],"tools":[],"max_tokens":3}
{"prompt":"x","n":1,"timestamp":0}
{"prompt":null,"input_length":3,"output_length":2,"seed":1}
{"payload":{"prompt":"x"}}
{"input_length":3,"output_length":2}`, Options{Fields: true})
	want := []string{
		`1 1.5 0/0 "x" false {"top_p":1e0,"extra":{"a":[1]},"chat_id":"c"}`, `2 0 0/0 "x" false {"priority":null}`,
		`3 0 0/0 [1] false {"tools":[],"max_tokens":3}`, `4 0 0/0 {"prompt":"x","n":1} true `, `5 0 3/2  false {"seed":1}`,
		`6 0 0/0 {"prompt":"x"} false `, `7 0 3/2  false `,
	}
	if d := cmp.Diff(want, rows); d != "" || errs != nil {
		t.Errorf("%v (-want +got):\n%s", errs, d)
	}
}

// guidellm's times are seconds since the first row.
func TestSeconds(t *testing.T) {
	t.Parallel()
	rows, errs := said(`{"timestamp":1700000000.5,"input_length":1,"output_length":1}
{"timestamp":1700000000,"input_length":1,"output_length":1}
{"timestamp":1700000002.75,"input_length":1,"output_length":1}`, Options{Seconds: true})
	if d := cmp.Diff([]string{"1 0 1/1  false ", "3 2.25 1/1  false "}, rows); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{`m:2:14: "timestamp" is earlier than the first`}, errs); d != "" {
		t.Error(d)
	}
}

func TestFieldErrors(t *testing.T) {
	t.Parallel()
	for marked, want := range map[string]string{
		`{"text":"x","text_input":∑"y"}`:                 `both "text" and "text_input"`,
		`{"text":"x","prompt":∑"y"}`:                     `both "text" and "prompt"`,
		`{"text":∑3}`:                                    `"text" must be a string`,
		`{"prompt":∑"x","output_length":3}`:              `both "prompt" and "output_length", which is not put into a body for completions`,
		`{"text":"x","output_length":3,"max_tokens":∑4}`: `both "max_tokens" and "output_length"`,
		`{"payload":{"prompt":"x"},"seed":∑4}`:           `"seed" beside "payload"`,
	} {
		before, after, _ := strings.Cut(marked, "∑")
		_, errs := said(before+after, Options{Fields: true})
		if d := cmp.Diff([]string{fmt.Sprintf("m:1:%d: %s", len(before)+1, want)}, errs); d != "" {
			t.Errorf("%s (-want +got):\n%s", marked, d)
		}
	}
	// What Mooncake has no place for is not lost without a word.
	_, errs := said(`{"text_input":"x","temperature":1}`, Options{})
	if d := cmp.Diff([]string{`m:1:33: "temperature" belongs into a body, as in a payload file of genai-perf, and not into a Mooncake trace`}, errs); d != "" {
		t.Error(d)
	}
}
