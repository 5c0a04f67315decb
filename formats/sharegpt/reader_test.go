package sharegpt

import (
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

// readAll returns each request as line:col conversation/turn id messages.
func readAll(in string) (rows, errs []string) {
	r := NewReader(strings.NewReader(in), "s.json")
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
		rows = append(rows, fmt.Sprintf("%d:%d %s/%d %s %s", row.Pos.Line, row.Pos.Col, row.Conversation, row.Turn, row.Timing.ID, row.Messages))
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	const u, a = `{"role":"user","content":"`, `{"role":"assistant","content":"`
	for in, want := range map[string][]string{
		`[{"id":"a1","conversations":[{"from":"human","value":"é \ud800"},{"from":"gpt","value":"Hi!"}]}]`: {
			`1:2 /0 a1 [` + u + `é \ud800"}]`,
		},
		"[\n {\"conversation\":[{\"role\":\"user\",\"content\":\"1\"},{\"role\":\"assistant\",\"content\":\"2\",\"x\":1},\n {\"from\":\"user\",\"value\":\"3\"}],\"id\":-7}]": {
			`2:2 1/0 -7 [` + u + `1"}]`, `2:2 1/1 -7 [` + u + `1"},` + a + `2"},` + u + `3"}]`,
		},
		// A dump that begins with an answer, questions in a row, none at all.
		`{"conversations":[{"from":"gpt","value":"0"},{"from":"system","value":"s"},{"from":"human","value":"1"},{"from":"human","value":"2"},{"from":"bard","value":"3"}]}
{"id":"","conversations":[]}
{"conversations":[{"from":"chatgpt","value":"0"}]}
{"id":"z","conversations":[{"from":"human","value":"1"},{"from":"bing","value":"2"},{"from":"human","value":"3"},{"from":"gpt","value":"4"}]}`: {
			`1:1 /0  [{"role":"system","content":"s"},` + u + `1"},` + u + `2"}]`,
			`4:1 4/0 z [` + u + `1"}]`, `4:1 4/1 z [` + u + `1"},` + a + `2"},` + u + `3"}]`,
		},
	} {
		rows, errs := readAll(in)
		if d := cmp.Diff(want, rows); d != "" || errs != nil {
			t.Errorf("%s: %v (-want +got):\n%s", in, errs, d)
		}
	}
}

// Each input has the marker where its fault must be reported. A good conversation
// before and after it must be read all the same.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	const good = `{"conversations":[{"from":"human","value":"x"}]}`
	const turn = `{"from":"human","value":"x"}`
	for marked, want := range map[string]string{
		`∑[1,2]`:                                            "not a JSON object, but an array",
		`∑{}`:                                               `"conversations" is missing`,
		`{"id":∑1.5,"conversations":[]}`:                    `"id" must be an integer`,
		`{"id":∑[],"conversations":[]}`:                     `"id" must be a string`,
		`{"id":1,"id":∑2,"conversations":[]}`:               `"id" is there twice`,
		`{"conversations":∑{}}`:                             `"conversations" must be an array`,
		`{"conversations":[],"conversation":∑[]}`:           `both "conversations" and "conversation"`,
		`{"conversations":[],"conversations":∑[]}`:          `"conversations" is there twice`,
		`{"conversations":[` + turn + `, ∑3]}`:              "not a JSON object, but a number",
		`{"conversations":[` + turn + `, ∑{"value":"x"}]}`:  `a turn without "from"`,
		`{"conversations":[∑{"from":"human"}]}`:             `a turn without "value"`,
		`{"conversations":[{"from":∑"tool","value":"x"}]}`:  `"from" must be human, gpt, system, or what they are also called`,
		`{"conversations":[{"value":"x", "role":∑null}]}`:   `"role" must be human, gpt, system, or what they are also called`,
		`{"conversations":[{"from":"gpt","value":∑["x"]}]}`: `"value" must be a string`,
		`{"conversations":[{"value":"x","content":∑"y"}]}`:  `both "value" and "content"`,
		`{"conversations":[{"from":"gpt","from":∑"gpt"}]}`:  `"from" is there twice`,
		`{"conversations":[{"value":"x` + "∑\xff" + `"}]}`:  "not JSON: invalid UTF-8",
		`{"conversations":[{"value":"\∑x"}]}`:               "not JSON: invalid escape sequence",
		`{"conversations":` + strings.Repeat("[", 9_999) + "∑" + strings.Repeat("[", 9) + strings.Repeat("]", 10_008) + "}": "not JSON: nested too deep",
	} {
		before, after, _ := strings.Cut(marked, "∑")
		col := len(before) + 1
		if strings.Contains(want, "escape") {
			col--
		}
		rows, errs := readAll("[" + good + ",\n" + before + after + ",\n" + good + "]")
		if d := cmp.Diff([]string{fmt.Sprintf("s.json:2:%d: %s", col, want)}, errs); d != "" {
			t.Errorf("%.80s (-want +got):\n%s", marked, d)
		}
		if len(rows) != 2 || !strings.HasPrefix(rows[1], "3:1 ") {
			t.Errorf("%.80s: the others are %q", marked, rows)
		}
	}
}

// Whatever was said, each question is asked with all that was said before it.
func TestConversations(t *testing.T) {
	t.Parallel()
	type said struct {
		From  string `json:"from"`
		Value string `json:"value"`
	}
	rapid.Check(t, func(t *rapid.T) {
		var all [][]said
		var want []string
		for range rapid.IntRange(1, 5).Draw(t, "n") {
			var c []said
			history := []map[string]string{}
			for range rapid.IntRange(0, 5).Draw(t, "questions") {
				q, a := rapid.String().Draw(t, "q"), rapid.String().Draw(t, "a")
				c = append(c, said{"human", q}, said{"gpt", a})
				history = append(history, map[string]string{"role": "user", "content": q})
				b, err := json.Marshal(history)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, string(b))
				history = append(history, map[string]string{"role": "assistant", "content": a})
			}
			all = append(all, c)
		}
		var in []map[string]any
		for _, c := range all {
			if c == nil {
				c = []said{}
			}
			in = append(in, map[string]any{"conversations": c})
		}
		b, err := json.MarshalIndent(in, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(strings.NewReader(string(b)), "s")
		for _, want := range want {
			var row formats.Request
			if err := r.Read(&row); err != nil {
				t.Fatal(err)
			}
			var got, exact any
			if json.Unmarshal(row.Messages, &got) != nil || json.Unmarshal([]byte(want), &exact) != nil || !cmp.Equal(got, exact) {
				t.Fatalf("got %s, want %s", row.Messages, want)
			}
		}
		if err := r.Read(new(formats.Request)); err != io.EOF {
			t.Fatal(err)
		}
	})
}

// What is read is valid messages, in whatever input.
func FuzzRead(f *testing.F) {
	f.Add(`[{"id":"a1","conversations":[{"from":"human","value":"Hello"},{"from":"gpt","value":"Hi!"},{"from":"human","value":"3"}]}]`)
	f.Add("{\"conversation\":[{\"role\":\"user\",\"content\":\"1\"}]}\n{}")
	f.Fuzz(func(t *testing.T, in string) {
		r := NewReader(strings.NewReader(in), "s")
		for range len(in) + 1 {
			var row formats.Request
			err := r.Read(&row)
			if err == nil {
				var messages []struct{ Role, Content *string }
				if err := json.Unmarshal(row.Messages, &messages); err != nil || len(messages) == 0 || *messages[len(messages)-1].Role != "user" {
					t.Fatalf("%q: %s, %v", in, row.Messages, err)
				}
			}
			if err == io.EOF {
				return
			}
		}
		if err := r.Read(new(formats.Request)); err == nil {
			t.Fatalf("%q: requests without end", in)
		}
	})
}
