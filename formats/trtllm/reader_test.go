package trtllm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

func readAll(in string) (rows []Row, errs []string) {
	r := NewReader(strings.NewReader(in), "d.json")
	for {
		var row Row
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
		row.Prompt = bytes.Clone(row.Prompt)
		rows = append(rows, row)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	const in = `{"task_id":0,"prompt":"Write an endless story.","output_tokens":1000}
{"task_id":-1,"input_ids":[863, 22056,25603 , 11943],"output_tokens":128}` + "\r\n\n" +
		`{"task_id":"a\u00e9\"","logits":[0,2147483647],"output_tokens":1,"prompt":"not used"}
{"prompt":"lone \ud800 é \/","output_tokens":2147483647,"category":"writing","question_id":81,"output":{"task_id":9}}
{"input_ids":null,"logits":[ 7 ],"turns":null,"media_paths":[ ],"lora_request":{},"task_id":null,"output_tokens":3}
 {"prompt":"","output_tokens":4} `
	want := []Row{
		{Pos: trace.Pos{File: "d.json", Line: 1}, TaskID: "0", Prompt: []byte(`"Write an endless story."`), OutputTokens: 1000},
		{Pos: trace.Pos{File: "d.json", Line: 2}, TaskID: "-1", IDs: []int32{863, 22056, 25603, 11943}, OutputTokens: 128},
		{Pos: trace.Pos{File: "d.json", Line: 4}, TaskID: `aé"`, IDs: []int32{0, math.MaxInt32}, OutputTokens: 1},
		{Pos: trace.Pos{File: "d.json", Line: 5}, Prompt: []byte(`"lone \ud800 é \/"`), OutputTokens: math.MaxInt32},
		{Pos: trace.Pos{File: "d.json", Line: 6}, IDs: []int32{7}, OutputTokens: 3},
		{Pos: trace.Pos{File: "d.json", Line: 7}, Prompt: []byte(`""`), OutputTokens: 4},
	}
	rows, errs := readAll(in)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if d := cmp.Diff(want, rows); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Each input has the marker where its fault must be reported. A good row
// before and after it must be read all the same.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	const good = `{"prompt":"x","output_tokens":1}`
	for marked, want := range map[string]string{
		`∑[1,2]`:                                                  "not a JSON object, but an array",
		`{"prompt":"a∑`:                                           "not JSON: the line ends inside a value",
		`{"prompt":"a","output_tokens":1} ∑{}`:                    "data after the JSON object",
		`∑{}`:                                                     `none of "prompt", "input_ids" and "logits" is there`,
		`∑{"prompt":null,"output_tokens":1}`:                      `none of "prompt", "input_ids" and "logits" is there`,
		`∑{"prompt":"x"}`:                                         `"output_tokens" is missing`,
		`∑{"prompt":"x","output_tokens":null}`:                    `"output_tokens" is missing`,
		`{"prompt":"x","output_tokens":∑0}`:                       `"output_tokens" must be from 1 to 2147483647`,
		`{"prompt":"x","output_tokens":∑-3}`:                      `"output_tokens" must be from 1 to 2147483647`,
		`{"prompt":"x","output_tokens":∑2147483648}`:              `"output_tokens" must be from 1 to 2147483647`,
		`{"prompt":"x","output_tokens":∑1.0}`:                     `"output_tokens" must be an integer`,
		`{"prompt":"x","output_tokens":∑1e3}`:                     `"output_tokens" must be an integer`,
		`{"prompt":"x","output_tokens":∑"8"}`:                     `"output_tokens" must be an integer`,
		`{"prompt":"x","output_tokens":1,"output_tokens":∑2}`:     `"output_tokens" is there twice`,
		`{"prompt":∑["x"],"output_tokens":1}`:                     `"prompt" must be a string`,
		`{"task_id":∑1.5,"prompt":"x","output_tokens":1}`:         `"task_id" must be an integer or a string`,
		`{"task_id":∑true,"prompt":"x","output_tokens":1}`:        `"task_id" must be an integer or a string`,
		`{"task_id":∑"\ud800","prompt":"x","output_tokens":1}`:    `"task_id" is not valid Unicode`,
		`{"input_ids":∑{},"output_tokens":1}`:                     `"input_ids" must be an array`,
		`∑{"input_ids":[ ],"output_tokens":1}`:                    `"input_ids" is empty`,
		`∑{"logits":[],"prompt":"x","output_tokens":1}`:           `"logits" is empty`,
		`{"input_ids":[1],"logits":∑[1],"output_tokens":1}`:       `both "input_ids" and "logits"`,
		`{"input_ids":[1, ∑-2],"output_tokens":1}`:                `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"logits":[∑1.0],"output_tokens":1}`:                     `a token id in "logits" must be an integer from 0 to 2147483647`,
		`{"input_ids":[1,∑2e0],"output_tokens":1}`:                `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"input_ids":[∑2147483648],"output_tokens":1}`:           `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"input_ids":[∑99999999999999999999],"output_tokens":1}`: `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"input_ids":[∑18446744073709551617],"output_tokens":1}`: `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"input_ids":[1,∑[2]],"output_tokens":1}`:                `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"input_ids":[∑"1"],"output_tokens":1}`:                  `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"input_ids":[∑null],"output_tokens":1}`:                 `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"input_ids":[5],"turns":∑["a","b"],"output_tokens":1}`:  `"turns" is not supported`,
		`{"prompt":"x","media_paths":∑["/a.jpg"]}`:                `"media_paths" is not supported`,
		`{"prompt":"x","media_paths":∑"/a.jpg"}`:                  `"media_paths" is not supported`,
		`{"lora_request":∑{"lora_int_id":3},"input_ids":[5]}`:     `"lora_request" is not supported`,
		`∑` + "\ufeff" + `{"prompt":"x","output_tokens":1}`:       "a byte order mark, which does not belong in JSON Lines",
		`{"prompt":"x` + "∑\xff" + `","output_tokens":1}`:         "not JSON: invalid UTF-8",
		`{"prompt":"x","out\u0070ut_tokens":∑0}`:                  `"output_tokens" must be from 1 to 2147483647`,
	} {
		before, after, _ := strings.Cut(marked, "∑")
		rows, errs := readAll(good + "\n" + before + after + "\n" + good)
		wantErr := fmt.Sprintf("d.json:2:%d: %s", len(before)+1, want)
		if d := cmp.Diff([]string{wantErr}, errs); d != "" {
			t.Errorf("%s (-want +got):\n%s", marked, d)
		}
		if len(rows) != 2 || rows[1].Pos.Line != 3 {
			t.Errorf("%s: the other rows are %v", marked, rows)
		}
	}
}

// The whole-file forms are one fault, not one for each line.
func TestWholeFileForms(t *testing.T) {
	t.Parallel()
	for in, line := range map[string]int{
		"[\n {\"input_ids\":[1],\n \"output_len\":2}]":                   1,
		`[{"input_ids":[1],"output_len":2}]`:                             1,
		"\n\n{\n  \"metadata\": {},\n  \"samples\": []\n}":               3,
		"{\"metadata\":{},\"samples\":[\n{\"input_ids\":[1]}]}":          1,
		`{"metadata":{"workload_type":"x"},"samples":[{"input_len":1}]}`: 1,
		"{\"metadata\":\n{},\"samples\":[]}":                             1,
	} {
		r := NewReader(strings.NewReader(in), "-")
		for range 2 {
			var row Row
			err := r.Read(&row)
			if want := fmt.Sprintf("-:%d: %s", line, ErrWholeFile); !errors.Is(err, ErrWholeFile) || err.Error() != want {
				t.Errorf("%q: got %v, want %s", in, err, want)
			}
		}
	}
	// A file of one row that was cut is no document.
	if _, errs := readAll(`{"input_ids":[1,2`); len(errs) != 1 || !strings.Contains(errs[0], "the line ends inside") {
		t.Errorf("got %v", errs)
	}
}

func TestReadReusesIDs(t *testing.T) {
	t.Parallel()
	r := NewReader(strings.NewReader(`{"input_ids":[1,2,3],"output_tokens":1}
{"prompt":"x","output_tokens":1}
{"input_ids":[4],"output_tokens":1}`), "-")
	row := Row{IDs: make([]int32, 0, 10)}
	memory := &row.IDs[:1][0]
	if err := r.Read(&row); err != nil || &row.IDs[0] != memory {
		t.Errorf("the memory was not used: %v", err)
	}
	if err := r.Read(&row); err != nil || row.IDs != nil {
		t.Errorf("a text has ids %v, %v", row.IDs, err)
	}
}

func TestReadPassesErrorsOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	r := NewReader(io.MultiReader(strings.NewReader(`{"prompt":"x","outp`), iotest.ErrReader(broken)), "-")
	var row Row
	if err := r.Read(&row); err != broken {
		t.Errorf("got %v", err)
	}
}

// What is read is what another JSON decoder reads, or it is refused.
func FuzzReadEqualsEncodingJSON(f *testing.F) {
	f.Add(`{"task_id":1,"input_ids":[1, 2,3],"output_tokens":5}`)
	f.Add(`{"prompt":"\ud83d\ude00","output_tokens":5,"logits":null}`)
	f.Add(`{"logits":[0],"output_tokens":1,"prompt":"x"}`)
	f.Add(`{"input_ids":[],"output_tokens":1}`)
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "\n") {
			return
		}
		rows, _ := readAll(line)
		if len(rows) == 0 {
			return
		}
		var want struct {
			InputIDs []int32 `json:"input_ids"`
			Logits   []int32 `json:"logits"`
			Prompt   *string `json:"prompt"`
			Output   int64   `json:"output_tokens"`
		}
		// encoding/json matches names in any case; such lines are not of interest.
		var exact map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &exact); err != nil {
			t.Fatal(err)
		}
		for k := range exact {
			if lower := strings.ToLower(k); lower != k {
				return
			}
		}
		if err := json.Unmarshal([]byte(line), &want); err != nil {
			t.Fatalf("%q was read, but %v", line, err)
		}
		ids := append(want.InputIDs, want.Logits...)
		row := rows[0]
		if len(row.IDs) > 0 && !cmp.Equal(ids, row.IDs) || row.OutputTokens != want.Output {
			t.Fatalf("%q: got %+v", line, row)
		}
		if row.IDs == nil {
			var text string
			if err := json.Unmarshal(row.Prompt, &text); err != nil || want.Prompt == nil || text != *want.Prompt || len(ids) > 0 {
				t.Fatalf("%q: prompt %s, %v", line, row.Prompt, err)
			}
		}
	})
}
