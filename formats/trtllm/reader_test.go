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
	"github.com/google/go-cmp/cmp/cmpopts"

	"wattrace/formats"
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
		row.Adapter.Name, row.Adapter.Object = bytes.Clone(row.Adapter.Name), bytes.Clone(row.Adapter.Object)
		for i := range row.Turns {
			row.Turns[i] = bytes.Clone(row.Turns[i])
		}
		for i := range row.Media {
			row.Media[i] = trace.Member{Name: bytes.Clone(row.Media[i].Name), Value: bytes.Clone(row.Media[i].Value), Col: row.Media[i].Col}
		}
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
	if d := cmp.Diff(want, rows, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Each input has the marker where its fault must be reported. A good row
// before and after it must be read all the same.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	const good = `{"prompt":"x","output_tokens":1}`
	for marked, want := range map[string]string{
		`∑[1,2]`:                                                             "not a JSON object, but an array",
		`{"prompt":"a∑`:                                                      "not JSON: the line ends inside a value",
		`{"prompt":"a","output_tokens":1} ∑{}`:                               "data after the JSON object",
		`∑{}`:                                                                `none of "prompt", "input_ids", "logits" and "turns" is there`,
		`∑{"prompt":null,"output_tokens":1}`:                                 `none of "prompt", "input_ids", "logits" and "turns" is there`,
		`∑{"prompt":"x"}`:                                                    `"output_tokens" is missing`,
		`∑{"prompt":"x","output_tokens":null}`:                               `"output_tokens" is missing`,
		`{"prompt":"x","output_tokens":∑0}`:                                  `"output_tokens" must be at least 1`,
		`{"prompt":"x","output_tokens":∑-3}`:                                 `"output_tokens" must be at least 1`,
		`{"prompt":"x","output_tokens":∑2147483648}`:                         `"output_tokens" is too large`,
		`{"prompt":"x","output_tokens":∑1.0}`:                                `"output_tokens" must be an integer`,
		`{"prompt":"x","output_tokens":∑1e3}`:                                `"output_tokens" must be an integer`,
		`{"prompt":"x","output_tokens":∑"8"}`:                                `"output_tokens" must be an integer`,
		`{"prompt":"x","output_tokens":1,"output_tokens":∑2}`:                `"output_tokens" is there twice`,
		`{"prompt":∑["x"],"output_tokens":1}`:                                `"prompt" must be a string`,
		`{"task_id":∑1.5,"prompt":"x","output_tokens":1}`:                    `"task_id" must be an integer or a string`,
		`{"task_id":∑true,"prompt":"x","output_tokens":1}`:                   `"task_id" must be an integer or a string`,
		`{"task_id":∑"\ud800","prompt":"x","output_tokens":1}`:               `"task_id" is not valid Unicode`,
		`{"input_ids":∑{},"output_tokens":1}`:                                `"input_ids" must be an array`,
		`∑{"input_ids":[ ],"output_tokens":1}`:                               `"input_ids" is empty`,
		`∑{"logits":[],"prompt":"x","output_tokens":1}`:                      `"logits" is empty`,
		`{"input_ids":[1],"logits":∑[1],"output_tokens":1}`:                  `both "input_ids" and "logits"`,
		`{"input_ids":[1, ∑-2],"output_tokens":1}`:                           `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"logits":[∑1.0],"output_tokens":1}`:                                `a token id in "logits" must be an integer from 0 to 2147483647`,
		`{"input_ids":[1,∑2e0],"output_tokens":1}`:                           `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"input_ids":[∑2147483648],"output_tokens":1}`:                      `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"input_ids":[∑99999999999999999999],"output_tokens":1}`:            `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"input_ids":[∑18446744073709551617],"output_tokens":1}`:            `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"input_ids":[1,∑[2]],"output_tokens":1}`:                           `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"input_ids":[∑"1"],"output_tokens":1}`:                             `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"input_ids":[∑null],"output_tokens":1}`:                            `a token id in "input_ids" must be an integer from 0 to 2147483647`,
		`{"turns":["a",∑2],"output_tokens":1}`:                               `a turn in "turns" must be a string`,
		`{"turns":∑"a","output_tokens":1}`:                                   `"turns" must be an array`,
		`{"turns":["a"],"turns":∑[],"output_tokens":1}`:                      `"turns" is there twice`,
		`{"turns":["a"],"media_paths":[∑"/a"],"output_tokens":1}`:            `both "turns" and "media_paths"`,
		`{"input_ids":[1],"media_paths":[∑"/a"],"output_tokens":1}`:          `"media_paths" without "prompt"`,
		`{"prompt":"x","media_paths":[∑1],"output_tokens":1}`:                `a path in "media_paths" must be a string`,
		`{"prompt":"x","media_paths":∑"/a.jpg"}`:                             `"media_paths" must be an array`,
		`{"lora_request":∑[1],"prompt":"x","output_tokens":1}`:               `"lora_request" must be an object`,
		`{"lora_request":∑{"lora_int_id":3},"prompt":"x","output_tokens":1}`: `"lora_request" has no "lora_name"`,
		`{"lora_request":{"lora_name":∑3},"prompt":"x","output_tokens":1}`:   `"lora_name" must be a string`,
		`{"lora_request":{"lora_name":"a","lora_name":∑"b"},"prompt":"x"}`:   `"lora_name" is there twice`,
		`{"lora_request":{"lora_name":"a","lora_int_id":∑"b"},"prompt":"x"}`: `"lora_int_id" must be an integer`,
		`{"lora_request":{"lora_path":∑1,"lora_name":"a"},"prompt":"x"}`:     `"lora_path" must be a string`,
		`{"input_ids":[1],"input_len":∑2,"output_tokens":1}`:                 `"input_len" is 2 where "input_ids" has 1`,
		`∑` + "\ufeff" + `{"prompt":"x","output_tokens":1}`:                  "a byte order mark, which does not belong in JSON Lines",
		`{"prompt":"x` + "∑\xff" + `","output_tokens":1}`:                    "not JSON: invalid UTF-8",
		`{"prompt":"x","out\u0070ut_tokens":∑0}`:                             `"output_tokens" must be at least 1`,
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

// The forms that are one document, and what looks like them.
func TestDocuments(t *testing.T) {
	t.Parallel()
	ids := func(line, col int, id string) Row {
		return Row{Pos: trace.Pos{File: "d.json", Line: line, Col: col}, TaskID: id, IDs: []int32{1}, OutputTokens: 2}
	}
	for in, want := range map[string][]Row{
		"[\n {\"input_ids\":[1],\n \"output_len\":2}]":                                                          {ids(2, 2, "")},
		`[{"input_ids":[1],"output_len":2},{"logits":[1],"output_len":2,"output_tokens":9}]`:                    {ids(1, 2, ""), ids(1, 35, "")},
		"\n\n{\n  \"metadata\": {\"prompt\":1},\n  \"samples\": []\n}":                                          nil,
		"{\"samples\":[\n{\"input_len\":1,\"input_ids\":[1],\"output_len\":2,\"task_id\":-1}],\"metadata\":{}}": {ids(2, 1, "-1")},
		"{\"metadata\":\n{\"x\":\"" + strings.Repeat("x", 2*look) + "\"},\"samples\":[]}":                       nil,
	} {
		rows, errs := readAll(in)
		if len(errs) > 0 {
			t.Errorf("%.80q: %v", in, errs)
		}
		if d := cmp.Diff(want, rows, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%.80q (-want +got):\n%s", in, d)
		}
	}
	for in, want := range map[string]string{
		`{"metadata":{"workload_type":"x"},"samples":[{"input_len":1}]}`: `d.json:1:46: none of "prompt", "input_ids", "logits" and "turns" is there`,
		`[{"input_ids":[1],"output_tokens":2}]`:                          `d.json:1:2: "output_len" is missing`,
		`[{"input_ids":[1],"output_len":2}`:                              `d.json:1:34: the document breaks off: unexpected EOF`,
		`{"input_ids":[1,2`:                                              `d.json:1:18: not JSON: the line ends inside a value`,
		`{"metadata":{},"prompt":"x"}`:                                   `d.json:1:1: "output_tokens" is missing`,
		`{"metadata":{}}`:                                                `d.json:1:1: none of "prompt", "input_ids", "logits" and "turns" is there`,
	} {
		if _, errs := readAll(in); len(errs) != 1 || errs[0] != want {
			t.Errorf("%s: got %q, want %q", in, errs, want)
		}
	}
}

// What has turns, media or an adapter.
func TestReadMore(t *testing.T) {
	t.Parallel()
	const in = `{"turns":["a","b\n"],"input_ids":[1],"output_tokens":2,"prompt":"not used"}
{"prompt":"x","input_ids":[1],"media_paths":["/a","b"],"output_tokens":2}
{"prompt":"x","lora_request":{"lora_int_id":3, "lora_name":"é"},"output_tokens":2,"media_paths":null}`
	rows, errs := readAll(in)
	if len(errs) > 0 || len(rows) != 3 {
		t.Fatal(rows, errs)
	}
	if r := rows[0]; len(r.Turns) != 2 || string(r.Turns[1]) != `"b\n"` || len(r.IDs) != 1 || r.Prompt != nil {
		t.Errorf("turns: %+v", r)
	}
	if r := rows[1]; len(r.Media) != 2 || string(r.Media[1].Value) != `"b"` || r.Media[1].Col != 51 || r.IDs != nil || string(r.Prompt) != `"x"` {
		t.Errorf("media: %+v", r)
	}
	if r := rows[2]; string(r.Adapter.Name) != `"é"` || string(r.Adapter.Object) != `{"lora_int_id":3, "lora_name":"é"}` || len(r.Media) != 0 {
		t.Errorf("adapter: %+v", r)
	}
	// In a document an object may go over lines, and a line of a trace not.
	rows, errs = readAll("[{\"prompt\":\"x\",\"output_len\":1,\"lora_request\":{\"lora_name\":\n\"a\"}}]")
	if len(errs) > 0 || string(rows[0].Adapter.Object) != `{"lora_name":"a"}` {
		t.Errorf("%+v, %v", rows, errs)
	}
}

func TestCustom(t *testing.T) {
	t.Parallel()
	const good = `{"input":{"messages":[]}}`
	for marked, want := range map[string]string{
		`∑{}`:                                  `"input" is missing`,
		`{"input":∑"x"}`:                       "not a JSON object, but a string",
		`{"input":∑{"prompt":"x"}}`:            `"input" has no "messages"`,
		`{"input":∑{"x":1}}`:                   `none of the keys "messages", "prompt" and "input" is there`,
		`{"input":{"messages":[]},"input":∑1}`: `"input" is there twice`,
	} {
		before, after, _ := strings.Cut(marked, "∑")
		r := NewCustomReader(strings.NewReader(good+"\n"+before+after+"\n"+good), "c")
		var row formats.Request
		for i := range 3 {
			err := r.Read(&row)
			if i == 1 {
				if want := fmt.Sprintf("c:2:%d: %s", len(before)+1, want); err == nil || err.Error() != want {
					t.Errorf("%s: got %v, want %s", marked, err, want)
				}
			} else if err != nil || string(row.Body) != `{"messages":[]}` || !row.Bare {
				t.Errorf("%s: %+v, %v", marked, row, err)
			}
		}
		if err := r.Read(&row); err != io.EOF {
			t.Error(err)
		}
	}
}

// What is read is a body for a chat, in whatever input.
func FuzzCustom(f *testing.F) {
	f.Add(`{"input":{"messages":[{"role":"user","content":"x"}],"max_tokens":3}}`)
	f.Fuzz(func(t *testing.T, in string) {
		r := NewCustomReader(strings.NewReader(in), "c")
		for range len(in) + 1 {
			var row formats.Request
			err := r.Read(&row)
			if err == io.EOF {
				return
			}
			if err == nil {
				if shape, err := trace.CheckPayload(row.Body); err != nil || shape != trace.Chat {
					t.Fatalf("%q: %s, %v", in, row.Body, err)
				}
			}
		}
	})
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
	f.Add(`{"turns":["a"],"output_tokens":1,"lora_request":{"lora_name":"a"}}`)
	f.Add(`{"prompt":"a","media_paths":["b"],"output_tokens":1}`)
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
			Turns    []string
			Media    []string `json:"media_paths"`
			Output   int64    `json:"output_tokens"`
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
		if len(row.Turns) > 0 {
			var texts []string
			for _, v := range row.Turns {
				var text string
				if err := json.Unmarshal(v, &text); err != nil {
					t.Fatal(err)
				}
				texts = append(texts, text)
			}
			if !cmp.Equal(texts, want.Turns) {
				t.Fatalf("%q: turns %q", line, texts)
			}
		} else if row.IDs == nil {
			var text string
			if err := json.Unmarshal(row.Prompt, &text); err != nil || want.Prompt == nil || text != *want.Prompt || len(ids) > 0 && len(want.Media) == 0 {
				t.Fatalf("%q: prompt %s, %v", line, row.Prompt, err)
			}
		}
	})
}
