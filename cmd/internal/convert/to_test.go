package convert

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/trace"
)

// entry is a request of a trace with what its side file says.
type entry struct {
	Body         string
	Conversation string
	Turn         int
	Timing       trace.Timing
}

// raw writes a trace and its side file, and returns the trace's path.
func raw(t interface{ Fatal(...any) }, dir string, list []entry) string {
	var body, side bytes.Buffer
	w, s := trace.NewWriter(&body), trace.NewTimingWriter(&side)
	for i, e := range list {
		if err := w.Write([]byte(e.Body)); err != nil {
			t.Fatal(err)
		}
		if err := s.Write(trace.TimingEntry{Line: int64(i + 1), Conversation: e.Conversation, Turn: e.Turn, Timing: e.Timing}); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	s.Flush()
	path := filepath.Join(dir, "raw.jsonl")
	for p, b := range map[string][]byte{path: body.Bytes(), path + ".timing": side.Bytes()} {
		if err := os.WriteFile(p, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// readRaw reads a trace with its side file.
func readRaw(t interface{ Fatal(...any) }, path string) (list []entry) {
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	turns, err := trace.Split("raw", body)
	if err != nil {
		t.Fatal(err)
	}
	side, err := os.Open(path + ".timing")
	if err != nil {
		t.Fatal(err)
	}
	defer side.Close()
	if err := trace.ApplyTiming(side, "side", turns); err != nil {
		t.Fatal(err)
	}
	for _, u := range turns {
		list = append(list, entry{string(u.Payload), u.Conversation, u.Index, u.Timing})
	}
	return list
}

// question is a text in JSON.
func question(t *rapid.T) string {
	q, _ := jsontext.AppendQuote(nil, strings.ToValidUTF8(rapid.String().Draw(t, "text"), "?"))
	return string(q)
}

// drawEntries makes a trace: conversations whose turns lie among each other.
func drawEntries(t *rapid.T) []entry {
	var list []entry
	turns := map[string]int{}
	for i := range rapid.IntRange(1, 12).Draw(t, "requests") {
		n := rapid.Int64Range(1, 1000).Draw(t, "tokens")
		body := rapid.SampledFrom([]string{
			fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%s}],"max_tokens":%d}`, question(t), n),
			fmt.Sprintf(`{"prompt": %s ,"max_tokens":%d,"x":1.0e0}`, question(t), n),
			fmt.Sprintf(`{"max_tokens":%d,"prompt":[1, %d]}`, n, rapid.Int32Min(0).Draw(t, "id")),
		}).Draw(t, "body")
		e := entry{Body: body, Conversation: rapid.SampledFrom([]string{"", "", "a", "b\"é", "request-1"}).Draw(t, "conversation")}
		if e.Conversation != "" {
			e.Turn = turns[e.Conversation]
			turns[e.Conversation]++
		}
		if rapid.Bool().Draw(t, "times") {
			e.Timing.AtSeconds = trace.Some(rapid.Float64Range(0, 1e9).Draw(t, "at"))
			e.Timing.DelaySeconds = trace.Some(float64(rapid.Int64Range(0, 1e12).Draw(t, "delay")) / 1e6)
		}
		if rapid.Bool().Draw(t, "lengths") {
			e.Timing.InputTokens, e.Timing.OutputTokens = trace.Some(n+1), trace.Some(n)
		}
		if rapid.Bool().Draw(t, "id") {
			e.Timing.ID = fmt.Sprintf("id %d", i)
		}
		list = append(list, e)
	}
	return list
}

// What each format keeps comes back as it was; what it says is lost is, and nothing else.
func TestTraceRoundTrips(t *testing.T) {
	dir := t.TempDir()
	for to, lose := range map[string]func(list []entry) []entry{
		"mooncake": func(list []entry) []entry {
			for i := range list {
				list[i].Timing.ID, list[i].Timing.InputTokens = "", trace.Opt[int64]{}
			}
			return list
		},
		"openaibatch": func(list []entry) []entry {
			for i := range list {
				id := list[i].Timing.ID
				if id == "" {
					id = fmt.Sprintf("request-%d", i+1)
				}
				list[i] = entry{Body: list[i].Body, Timing: trace.Timing{ID: id}}
			}
			return list
		},
		"aiperfinputs": func(list []entry) (out []entry) {
			var names []string
			of := map[string][]entry{}
			for i, e := range list {
				if e.Conversation == "" {
					e.Conversation = fmt.Sprintf("request-%d", i+1)
					for slices.ContainsFunc(list, func(o entry) bool { return o.Conversation == e.Conversation }) {
						e.Conversation += "-"
					}
				}
				e.Timing = trace.Timing{}
				if of[e.Conversation] == nil {
					names = append(names, e.Conversation)
				}
				of[e.Conversation] = append(of[e.Conversation], e)
			}
			for _, n := range names {
				out = append(out, of[n]...)
			}
			return out
		},
	} {
		rapid.Check(t, func(t *rapid.T) {
			list := drawEntries(t)
			path := raw(t, dir, list)
			there, back := filepath.Join(dir, "there"), filepath.Join(dir, "back")
			if got := convert("", "--force", "--to", to, "-o", there, path); got.Code != 0 {
				t.Fatal(got.Stderr)
			}
			if got := convert("", "--force", "-o", back, there); got.Code != 0 {
				t.Fatal(got.Stderr)
			}
			want, got := lose(slices.Clone(list)), readRaw(t, back)
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%s (-want +got):\n%s", to, d)
			}
			// A second time nothing is lost any more.
			again := filepath.Join(dir, "again")
			if out := convert("", "--force", "--to", to, "-o", again, back); out.Code != 0 {
				t.Fatal(out.Stderr)
			}
			a, _ := os.ReadFile(there)
			b, _ := os.ReadFile(again)
			if string(a) != string(b) {
				t.Fatalf("%s: not the same again:\n%s\n%s", to, a, b)
			}
		})
	}
}

// A dataset is what convert made the bodies of.
func TestDatasetRoundTrip(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		var in strings.Builder
		textOnly := true
		for i := range rapid.IntRange(1, 8).Draw(t, "rows") {
			n := rapid.Int64Range(1, 1<<31-1).Draw(t, "output")
			if rapid.Bool().Draw(t, "text") {
				fmt.Fprintf(&in, `{"task_id":%d,"prompt":%s,"output_tokens":%d}`+"\n", i-1, question(t), n)
			} else {
				textOnly = false
				fmt.Fprintf(&in, `{"task_id":"t%d","input_ids":[%d,7],"output_tokens":%d}`+"\n", i, rapid.Int32Min(0).Draw(t, "id"), n)
			}
		}
		path := filepath.Join(dir, "t")
		target := rapid.SampledFrom([]string{"trtllm", "vllm", "sglang", "openai"}).Draw(t, "target")
		if got := convert(in.String(), "--force", "--model", "m", "--target", target, "-o", path); got.Code != 0 {
			t.Fatal(got.Stderr)
		}
		got := convert("", "--to", "trtllm", path)
		if got.Code != 0 || got.Stdout != in.String() {
			t.Fatalf("%d %s\n%s\n%s", got.Code, got.Stderr, in.String(), got.Stdout)
		}
		if direct := convert(in.String(), "--model", "m", "--target", target, "--to", "trtllm"); direct.Stdout != in.String() {
			t.Fatalf("directly: %+v", direct)
		}
		vllm := convert("", "--to", "vllm", path)
		if (vllm.Code == 0) != textOnly {
			t.Fatalf("%+v", vllm)
		}
	})
}

// What cannot be said in a dataset is an error where it stands, or is skipped.
func TestUnsaid(t *testing.T) {
	t.Parallel()
	const good = `{"prompt":"x","max_tokens":3}`
	for body, want := range map[string]string{
		`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"max_tokens":1}`: "2:44: a chat of several messages has no place in a dataset",
		`{"messages":[{"role":"system","content":"q"}],"max_tokens":1}`:                                  "2:14: a message that is not a user's has no place in a dataset",
		`{"messages":[{"role":"user","content":[]}],"max_tokens":1}`:                                     "2:14: the content of a message is no string",
		`{"messages":[],"max_tokens":1}`:                                                                 "2:13: the chat has no message",
		`{"messages":7,"max_tokens":1}`:                                                                  `2:13: "messages" must be an array`,
		`{"messages":[7],"max_tokens":1}`:                                                                "2:14: a message is no object",
		`{"prompt":["a","b"],"max_tokens":1}`:                                                            "2:12: the prompt is neither a text nor token ids",
		`{"prompt":[],"max_tokens":1}`:                                                                   "2:11: the prompt is empty",
		`{"prompt":null,"max_tokens":1}`:                                                                 "2:11: the prompt is neither a text nor token ids",
		`{"prompt":"x"}`:                                                                                 "2:1: nothing says how many tokens the answer has, from 1 to 2147483647",
		`{"prompt":"x","max_tokens":0}`:                                                                  `2:28: "max_tokens" must be an integer of at least 1`,
		`{"prompt":"x","max_tokens":9999999999}`:                                                         "2:1: nothing says how many tokens the answer has, from 1 to 2147483647",
		`{"prompt":"x","suffix":"y","max_tokens":1}`:                                                     `2:24: "suffix" has no place in a dataset`,
		`{"messages":[{"role":"user","content":"q"}],"tools":[1]}`:                                       `2:53: "tools" has no place in a dataset`,
		`{"prompt":"x","max_tokens":1} x`:                                                                "2:31: data after the JSON object",
		"\xef\xbb\xbf" + good:                                                                            "2:1: a byte order mark, which does not belong in JSON Lines",
		`{"input":"x","instructions":"y","max_output_tokens":1}`:                                         `2:29: "instructions" has no place in a dataset`,
	} {
		in := good + "\n" + body + "\n" + good + "\n"
		got := convert(in, "--to", "trtllm", "--from", "raw_payload")
		if diff := cmp.Diff(outcome{1, "", "convert: -:" + want + "\n"}, outcome{got.Code, "", got.Stderr}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
		got = convert(in, "--to", "trtllm", "--from", "raw_payload", "--keep-going")
		if got.Code != 3 || strings.Count(got.Stdout, "\n") != 2 || !strings.Contains(got.Stderr, "skipped: -:"+want) || !strings.Contains(got.Stderr, "2 requests, 1 rows skipped") {
			t.Errorf("%s: %+v", body, got)
		}
	}
	if got := convert(`{"prompt":[1,2],"max_tokens":1}`, "--to", "vllm"); got.Code != 1 || !strings.Contains(got.Stderr, "-:1:11: the prompt is token ids, and this dataset has texts") {
		t.Errorf("%+v", got)
	}
	if got := convert(`{"prompt":"x"}`, "-q", "--to", "vllm", "--output-tokens", "9"); got.Stdout != `{"prompt":"x","output_tokens":9}`+"\n" {
		t.Errorf("%+v", got)
	}
}

// The side file must be of this trace.
func TestSideFile(t *testing.T) {
	t.Parallel()
	body := "{\"prompt\":\"a\"}\n\n{\"prompt\":\"b\"}\n{\"prompt\":\"c\"}\n"
	for side, want := range map[string]string{
		"":                              "",
		`{"line":3,"id":"x"}`:           "",
		"{\"line\":1}\n{\"line\":4}":    "",
		`{"line":2}`:                    "s:1:1: the trace has no such turn, or not in this order",
		`{"line":5}`:                    "s:1:1: the trace has no such turn, or not in this order",
		"{\"line\":3}\n{\"line\":1}":    "s:2:1: the trace has no such turn, or not in this order",
		"{\"line\":3}\n{\"line\":3}":    "s:2:1: the trace has no such turn, or not in this order",
		`{"conversation":"a"}`:          `s:1:1: "line" is missing, by which the turns of a file go`,
		`{"line":1,"output_tokens":-1}`: `s:1:27: "output_tokens" must be at least 0`,
		`{"line":1`:                     "s:1:10: not JSON: the line ends inside a value",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "s")
		if err := os.WriteFile(path, []byte(side), 0o666); err != nil {
			t.Fatal(err)
		}
		got := convert(body, "-q", "--to", "openaibatch", "--from-timing", path)
		if want == "" && (got.Code != 0 || strings.Count(got.Stdout, "\n") != 3) || want != "" && !strings.HasPrefix(got.Stderr, "convert: "+dir+"/"+want) {
			t.Errorf("%q: %+v, want %s", side, got, want)
		}
	}
	// A line that is skipped takes its entry with it.
	path := filepath.Join(t.TempDir(), "s")
	os.WriteFile(path, []byte("{\"line\":1,\"id\":\"one\"}\n{\"line\":2,\"id\":\"two\"}\n{\"line\":3,\"id\":\"three\"}\n"), 0o666)
	got := convert("{\"prompt\":\"a\"}\n{\"prompt\":\n{\"prompt\":\"c\"}\n", "-q", "--to", "openaibatch", "--from-timing", path, "--keep-going")
	if got.Code != 3 || !strings.Contains(got.Stdout, `"one"`) || strings.Contains(got.Stdout, `"two"`) || !strings.Contains(got.Stdout, `"three"`) {
		t.Errorf("%+v", got)
	}
}

// Ids that are there twice, and bodies that a batch cannot have.
func TestBatchIDs(t *testing.T) {
	t.Parallel()
	in := `{"task_id":-1,"prompt":"a","output_tokens":1}` + "\n" + `{"task_id":-1,"prompt":"b","output_tokens":1}` + "\n" + `{"task_id":"-1-2","prompt":"c","output_tokens":1}` + "\n"
	got := convert(in, "--model", "m", "--to", "openaibatch")
	var ids []string
	for line := range strings.Lines(got.Stdout) {
		ids = append(ids, strings.Split(line, `"`)[3])
	}
	if d := cmp.Diff([]string{"-1", "-1-2", "-1-2-3"}, ids); d != "" || got.Code != 0 ||
		!strings.Contains(got.Stderr, "convert: 2 ids were there before") || !strings.Contains(got.Stderr, "convert: 3 bodies ask for a stream, which OpenAI's Batch API refuses\n") {
		t.Errorf("%s %+v", d, got)
	}
	if got := convert(in, "--model", "m", "--to", "openaibatch", "--no-stream"); strings.Contains(got.Stderr, "stream") {
		t.Error(got.Stderr)
	}
}

// A directory is a trace of conversations.
func TestDirectoryOfConversations(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	os.Mkdir(dir, 0o777)
	os.WriteFile(filepath.Join(dir, "b.jsonl"), []byte("{\"prompt\":\"3\"}\n"), 0o666)
	os.WriteFile(filepath.Join(dir, "a.jsonl"), []byte("{\"prompt\":\"1\"}\n{\"prompt\":\"2\"}\n"), 0o666)
	got := convert("", "-q", "--to", "aiperfinputs", dir)
	want := "{\"data\":[\n{\"session_id\":\"a\",\"payloads\":[\n{\"prompt\":\"1\"},\n{\"prompt\":\"2\"}]},\n{\"session_id\":\"b\",\"payloads\":[\n{\"prompt\":\"3\"}]}\n]}\n"
	if d := cmp.Diff(outcome{0, want, ""}, got); d != "" {
		t.Error(d)
	}
}

// Flags that do not go together, and what is no input.
func TestToRefusals(t *testing.T) {
	t.Parallel()
	hint := "convert: hint: see convert --help\n"
	dir := t.TempDir()
	path := raw(t, dir, []entry{{Body: `{"prompt":"x"}`}})
	log := filepath.Join(root, "formats/requests/testdata/example.jsonl")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--to", "aiperf", log}, 2, "convert: --to aiperf writes a directory: name it with -o\n" + hint},
		{[]string{"--to", "mooncake", log}, 2, "convert: --to mooncake: " + log + " is a request log, which becomes parquet, arrow, csv, jsonl, aiperf, perfetto\n" + hint},
		{[]string{"--to", "perfetto", path}, 2, "convert: --to perfetto: " + path + " is a trace, which becomes aiperfinputs, mooncake, openaibatch, trtllm, vllm\n" + hint},
		{[]string{"--to", "csv", dir}, 2, "convert: --to csv: " + dir + " is a directory, whose conversations become aiperfinputs, mooncake, openaibatch, trtllm, vllm\nconvert: hint: of a run's directory name the log or the recording in it\n"},
		{[]string{"--to", "parquet", log, path}, 2, "convert: --to parquet takes one request log at a time, not 2\n" + hint},
		{[]string{"--to", "mooncake", path, log}, 2, "convert: --to mooncake takes one trace at a time, not 2\n" + hint},
		{[]string{"--to", "perfetto", log, path}, 1, "convert: " + path + ": is a raw_payload trace, which has no times\n"},
		{[]string{"--to", "parquet", "--from-timing", "x", log}, 2, "convert: --from-timing is for a trace, and " + log + " is a request log\n" + hint},
		{[]string{"--to", "parquet", "--model", "x", log}, 2, "convert: --model is for a trace, and " + log + " is a request log\n" + hint},
		{[]string{"--to", "mooncake", "--model", "x", path}, 2, "convert: --model is for the bodies that are made of another tool's trace, and those of " + path + " stay as they are\n" + hint},
		{[]string{"--to", "csv", "--list", path}, 2, "convert: --list takes no --to\n" + hint},
		{[]string{"--to", "mooncake", path + ".timing"}, 1, "convert: " + path + ".timing: is a timing side file, which is no input\nconvert: hint: it is read beside its trace, or with --from-timing\n"},
		{[]string{"--to", "mooncake", "-o", path, path}, 1, "convert: " + path + ": is an input\n"},
		{[]string{"--to", "mooncake", "-o", path + ".timing", "--force", path}, 1, "convert: " + path + ".timing: is an input\n"},
		{[]string{"--to", "perfetto", "-o", filepath.Join(dir, "x.zst"), log}, 2, "convert: -o " + filepath.Join(dir, "x.zst") + ": Perfetto does not open what is inside zstd\n" + hint},
		{[]string{"--to", "mooncake", filepath.Join(root, "formats/report/report.schema.json")}, 1, "convert: " + filepath.Join(root, "formats/report/report.schema.json") + ": unknown format\n"},
	} {
		got := convert("", c.args...)
		if got.Code != c.code || !strings.HasPrefix(got.Stderr, c.want) {
			t.Errorf("%v: %+v", c.args, got)
		}
	}
	if got := convert(`{"task_id":1,"prompt":"x","output_tokens":1}`, "--to", "mooncake"); got.Code != 2 || !strings.Contains(got.Stderr, "--model is needed") {
		t.Errorf("%+v", got)
	}
}

// What the output has no place for is said, of whatever it is made.
func TestLostIsSaid(t *testing.T) {
	t.Parallel()
	path := raw(t, t.TempDir(), []entry{{Body: `{"model":"m","prompt":"x","max_tokens":2}`}})
	for _, f := range forms() {
		in := map[family]string{ofTrace: path, ofLog: exampleLog, ofRecording: recorded[0]}[f.of]
		got := convert("", "--to", f.name, "-o", filepath.Join(t.TempDir(), "out"), in)
		if want := "lost: " + f.lost + "\n"; (f.lost != "") != strings.Contains(got.Stderr, want) {
			t.Errorf("--to %s of a %s: %d %s, want %s", f.name, f.of, got.Code, got.Stderr, want)
		}
	}
}

// The README has the table that convert --list prints.
func TestReadme(t *testing.T) {
	path := filepath.Join(root, "README.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	readme := string(b)
	const header = "\n\n| of | format |"
	i := strings.Index(readme, header)
	if i < 0 {
		t.Fatal("the README lacks the table of formats")
	}
	end := i + 2 + strings.Index(readme[i+2:], "\n\n") + 1
	if *update {
		if err := os.WriteFile(path, []byte(readme[:i+2]+Table()+readme[end:]), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(Table(), readme[i+2:end]); d != "" {
		t.Errorf("the README lacks this table (-want +got):\n%s", d)
	}
}

// Every form has one entry, and says what it is.
func TestForms(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range forms() {
		key := string(f.of) + " " + f.name
		if seen[key] || f.doc == "" || f.write == nil || strings.Contains(f.doc+f.lost, "|") {
			t.Errorf("%s: %+v", key, f)
		}
		seen[key] = true
	}
}
