package convert

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
	"wattrace/formats/tokenizer"
	"wattrace/formats/tokens"
	"wattrace/formats/traces"
)

var small = filepath.Join(root, "formats/tokenizer/testdata/small.json")

func readSmall(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	f, err := os.Open(small)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok, err := tokenizer.Read(f, small)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// A codec says of ids whether they were made: those that another vocabulary changes.
func TestMadeIDs(t *testing.T) {
	others(t, func(t *testing.T, c traces.Codec, _, example string) {
		read := func(v tokens.Vocab) (all []formats.Request) {
			r := c.Open(strings.NewReader(example), "in", traces.Options{Vocab: v})
			for {
				var row formats.Request
				if r.Read(&row) != nil {
					return all
				}
				all = append(all, formats.Request{IDs: append([]int32(nil), row.IDs...), Made: row.Made})
			}
		}
		a, b := read(2000), read(30000)
		for i := range a {
			if changed := !cmp.Equal(a[i].IDs, b[i].IDs); changed != a[i].Made {
				t.Errorf("row %d: Made is %t, and another vocabulary gives other ids: %t", i+1, a[i].Made, changed)
			}
		}
	})
}

type anyBody struct {
	Prompt   json.RawMessage
	Messages []struct{ Content string }
	Max      int64 `json:"max_tokens"`
}

const lengths = `{"timestamp":0,"input_length":1500,"output_length":3,"hash_ids":[7,8,9]}
{"timestamp":0,"input_length":1100,"output_length":3,"hash_ids":[7,8,5]}
{"timestamp":1,"input_length":1,"output_length":1}
{"timestamp":1,"input_length":700,"output_length":1}
`

// Prompts that are made have the length in tokens, and share what the trace shares.
func TestAsText(t *testing.T) {
	tok := readSmall(t)
	for _, endpoint := range []string{"chat", "completions"} {
		args := []string{"--tokenizer", small, "--as-text", "--endpoint", endpoint}
		out, got, side := converted(t, lengths, args...)
		if _, again, _ := converted(t, lengths, args...); out.Code != 0 || again != got {
			t.Errorf("%+v", out)
		}
		if !strings.Contains(out.Stderr, "4 requests: 0 with token ids, 4 with text\n") {
			t.Error(out.Stderr)
		}
		var prompts [][]int32
		for line := range strings.Lines(got) {
			var b anyBody
			if err := json.Unmarshal([]byte(line), &b); err != nil {
				t.Fatal(err)
			}
			text := ""
			if endpoint == "chat" {
				text = b.Messages[0].Content
			} else if err := json.Unmarshal(b.Prompt, &text); err != nil {
				t.Fatal(err)
			}
			ids, err := tok.Append(nil, text)
			if err != nil {
				t.Fatal(err)
			}
			prompts = append(prompts, ids)
		}
		for i, n := range []int{1500, 1100, 1, 700} {
			if len(prompts[i]) != n {
				t.Errorf("%s: line %d has %d tokens, want %d", endpoint, i+1, len(prompts[i]), n)
			}
		}
		if !cmp.Equal(prompts[0][:1024], prompts[1][:1024]) || cmp.Equal(prompts[0][1024:1050], prompts[1][1024:1050]) {
			t.Errorf("%s: lines 1 and 2 must share two blocks", endpoint)
		}
		if !strings.HasPrefix(side, `{"line":1,"at_seconds":0,"input_tokens":1500,"output_tokens":3}`) {
			t.Error(side)
		}
	}
}

// Ids are the tokenizer's, and none is special.
func TestTokenizerIDs(t *testing.T) {
	ordinary := map[int32]bool{}
	for _, id := range readSmall(t).Ordinary() {
		ordinary[id] = true
	}
	_, got, _ := converted(t, lengths, "--tokenizer", small)
	seen := map[int32]bool{}
	for line := range strings.Lines(got) {
		var b anyBody
		var ids []int32
		if err := json.Unmarshal([]byte(line), &b); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b.Prompt, &ids); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			seen[id] = true
			if !ordinary[id] {
				t.Fatalf("%d is special or none", id)
			}
		}
	}
	if len(seen) < len(ordinary)/2 || seen[0] || seen[1] {
		t.Errorf("%d of %d tokens", len(seen), len(ordinary))
	}
	// Ids that a trace has stay.
	if _, got, _ := converted(t, ids, "--tokenizer", small, "--as-text"); !strings.Contains(got, "[863,22056]") {
		t.Error(got)
	}
}

// What has texts is counted, and an answer gives the length to ask for.
func TestCounts(t *testing.T) {
	const said = `{"id":"x","conversations":[{"from":"human","value":"the energy of a request"},{"from":"gpt","value":"the energy"},{"from":"human","value":"<|end|>"},{"from":"gpt","value":""}]}`
	for _, c := range []struct {
		in   string
		args []string
		side string
	}{
		{said, nil, `{"line":1,"conversation":"1","turn":0,"input_tokens":5,"output_tokens":2,"id":"x"}` + "\n" + `{"line":2,"conversation":"1","turn":1,"input_tokens":8,"id":"x"}` + "\n"},
		{said, []string{"--output-tokens", "9", "--max-input-tokens", "7"}, `{"line":1,"conversation":"1","turn":0,"input_tokens":5,"output_tokens":2,"id":"x"}` + "\n"},
		{`{"text_input":"the energy","input_length":77}` + "\n" + `{"text_input":"the energy"}`, nil, `{"line":1,"input_tokens":77}` + "\n" + `{"line":2,"input_tokens":2}` + "\n"},
		{`{"messages":[{"role":"user","content":[{"type":"text","text":"the energy"},{"type":"text","text":" of"}]},{"content":null}]}` + "\n" +
			`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}` + "\n" +
			`{"prompt":["the energy","the"]}` + "\n" + `{"prompt":[1, 2 ,3]}` + "\n" + `{"prompt":[[1],[2,3]]}` + "\n" + `{"prompt":[ ]}` + "\n" + `{"input":"the energy"}` + "\n" + `{"prompt":7}` + "\n",
			nil, `{"line":1,"input_tokens":3}` + "\n" + `{"line":2}` + "\n" + `{"line":3,"input_tokens":3}` + "\n" + `{"line":4,"input_tokens":3}` + "\n" + `{"line":5,"input_tokens":3}` + "\n" +
				`{"line":6,"input_tokens":0}` + "\n" + `{"line":7,"input_tokens":2}` + "\n" + `{"line":8}` + "\n"},
	} {
		dir := t.TempDir()
		args := append(c.args, "--tokenizer", small, "-o", filepath.Join(dir, "t"))
		if formats.Sniff([]byte(c.in)) != formats.RawPayload {
			args = append(args, "--model", "m")
		}
		out := convert(c.in, args...)
		side := files(t, dir)["t.timing"]
		if d := cmp.Diff(c.side, side); d != "" || out.Code != 0 {
			t.Errorf("%s: %+v (-want +got):\n%s", c.in, out, d)
		}
	}
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "no such file or directory",
		filepath.Join(root, "go.mod"):      "go.mod:1:1: not JSON",
	} {
		if got := convert(said, "--model", "m", "--tokenizer", path); got.Code != 1 || !strings.Contains(got.Stderr, want) {
			t.Errorf("%+v", got)
		}
	}
}
