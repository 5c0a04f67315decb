package convert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"pgregory.net/rapid"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/traces"
	"wattrace/trace"
)

const (
	text  = `{"task_id":7,"prompt":"Say \"é\" \ud800","output_tokens":5}`
	ids   = `{"task_id":"b","logits":[863, 22056],"output_tokens":9}`
	dirty = text + "\n\n{\"prompt\":1}\n" + ids + "\n[]\n"
)

type outcome struct {
	Code           int
	Stdout, Stderr string
}

// convert runs the tool. Not at once with itself: urfave/cli writes to its
// global help flag.
func convert(stdin string, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := Main(context.Background(), args, strings.NewReader(stdin), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// files returns the files of a directory, hidden ones too, with their content.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = string(b)
	}
	return got
}

// Every target, whole: a server that refuses unknown keys refuses the request.
func TestBodies(t *testing.T) {
	const chat, done = `{"model":"a \"b\"","messages":[{"role":"user","content":"Say \"é\" \ud800"}]`, `{"model":"a \"b\"","prompt":[863,22056]`
	const usage = `,"stream":true,"stream_options":{"include_usage":true}`
	exact := func(n int) string {
		return fmt.Sprintf(`,"max_tokens":%d,"min_tokens":%d,"ignore_eos":true,"temperature":0`, n, n)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, chat + exact(5) + usage + "}\n" + done + exact(9) + usage + "}\n"},
		{[]string{"--target", "trtllm"}, chat + exact(5) + usage + "}\n" + done + exact(9) + usage + "}\n"},
		{[]string{"--target", "vllm"}, chat + exact(5) + usage + "}\n" + done + exact(9) + usage + "}\n"},
		{[]string{"--target=sglang"}, chat + exact(5) + usage + "}\n" + done + exact(9) + usage + "}\n"},
		{[]string{"--target", "openai"}, chat + `,"max_completion_tokens":5` + usage + "}\n" + done + `,"max_tokens":9` + usage + "}\n"},
		{[]string{"--no-stream"}, chat + exact(5) + "}\n" + done + exact(9) + "}\n"},
		{[]string{"--no-stream", "--target", "openai"}, chat + `,"max_completion_tokens":5` + "}\n" + done + `,"max_tokens":9` + "}\n"},
	} {
		got := convert(text+"\n"+ids, append(c.args, "--model", `a "b"`)...)
		want := outcome{0, c.want, "convert: 2 requests: 1 with token ids, 1 with text\n"}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%v (-want +got):\n%s", c.args, d)
		}
	}
}

const sideFile = `{"line":1,"output_tokens":5,"id":"7"}` + "\n" + `{"line":2,"input_tokens":2,"output_tokens":9,"id":"b"}` + "\n"

func TestOutputs(t *testing.T) {
	want := convert(text+"\n"+ids, "--model", "m").Stdout
	for _, c := range []struct {
		name  string
		args  []string // % is the directory
		files map[string]string
		out   string
	}{
		{"beside", []string{"-o", "%/t"}, map[string]string{"t": want, "t.timing": sideFile}, ""},
		{"elsewhere", []string{"-o", "%/t", "--timing", "%/s"}, map[string]string{"t": want, "s": sideFile}, ""},
		{"stdout", nil, map[string]string{}, want},
		{"stdout and side", []string{"--timing", "%/s"}, map[string]string{"s": sideFile}, want},
		{"side to stdout", []string{"-o", "%/t", "--timing", "-"}, map[string]string{"t": want}, sideFile},
		{"device", []string{"-o", "/dev/null"}, map[string]string{}, ""},
	} {
		dir := t.TempDir()
		args := []string{"-q", "-", "--model", "m"}
		for _, a := range c.args {
			args = append(args, strings.ReplaceAll(a, "%", dir))
		}
		got := convert(text+"\n"+ids, args...)
		if d := cmp.Diff(outcome{0, c.out, ""}, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
		if d := cmp.Diff(c.files, files(t, dir)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
	if _, err := os.Stat("/dev/null.timing"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("/dev/null.timing was made")
	}
}

// Neither file is replaced unless told, and nothing is read before that is known.
func TestExistingOutputs(t *testing.T) {
	for _, name := range []string{"t", "t.timing"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("precious"), 0o666); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "t")
		var stdout, stderr bytes.Buffer
		unread := iotest.ErrReader(errors.New("was read"))
		code := Main(t.Context(), []string{"--model", "m", "-o", out}, unread, &stdout, &stderr)
		want := fmt.Sprintf("convert: %s: exists already\nconvert: hint: --force replaces it\n", filepath.Join(dir, name))
		if code != 1 || stderr.String() != want {
			t.Errorf("exit %d, %s", code, stderr.String())
		}
		if d := cmp.Diff(map[string]string{name: "precious"}, files(t, dir)); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		// A failed run leaves the old one alone even when it may replace it.
		if got := convert(dirty, "--model", "m", "-o", out, "--force"); got.Code != 1 {
			t.Errorf("%+v", got)
		}
		if d := cmp.Diff(map[string]string{name: "precious"}, files(t, dir)); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if got := convert(ids, "--model", "m", "-o", out, "--force"); got.Code != 0 {
			t.Errorf("%+v", got)
		}
		if got := files(t, dir); len(got) != 2 || got[name] == "precious" {
			t.Errorf("%v", got)
		}
	}
}

// What fails leaves nothing behind and says where the fault is.
func TestFailures(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "t")
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write([]byte(text + "\n" + ids + "\n" + ids))
	w.Close()
	many := strings.Repeat("{\"prompt\":1}\n", 30)
	hint := "convert: hint: see convert --help\n"
	for _, c := range []struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		{dirty, nil, 1, "convert: -:3:11: \"prompt\" must be a string\n"},
		{text + "\n" + `{"turns":["x",["secret"]],"output_tokens":1}`, nil, 1, "convert: -:2:15: a turn in \"turns\" must be a string\n"},
		{many, []string{"--from", "trtllm", "--keep-going"}, 1, "LINES" + "convert: skipped: more of them, counted at the end\nconvert: -: no row to convert\n"},
		{packed.String()[:packed.Len()-9], nil, 1, "convert: -: the gzip layer breaks off after 172 bytes of content: unexpected EOF\n"},
		{"", nil, 1, "convert: -: is empty\n"},
		{"\n\n", nil, 1, "convert: -: unknown format\nconvert: hint: --from FORMAT reads it all the same: " + traces.Names() + "\n"},
		{"\n\n", []string{"--from=trtllm"}, 1, "convert: -: no row to convert\n"},
		{"a,b\n1,2\n", nil, 1, "convert: -: unknown format\nconvert: hint: --from FORMAT reads it all the same: " + traces.Names() + "\n"},
		{"a,b\n", []string{"--from=trtllm"}, 1, "convert: -:1:1: not JSON: unexpected character\n"},
		{`{"prompt":"x"}`, nil, 1, "convert: -: is a raw_payload trace already\nconvert: hint: replay sends it as it is; --limit, --sample and others take a part of it; if it is a dataset, say of which tool: --from vllmcustom, --from guidellm, --from sglangopenai\n"},
		{`{"timestamp":1,"input_length":2,"output_length":3}`, nil, 1, "convert: -: is a trace of times and lengths, in milliseconds as Mooncake's or in seconds as guidellm's\nconvert: hint: say which: --from guidellmtrace, --from mooncake\n"},
		{text, []string{"--turns", "all"}, 2, "convert: --turns \"all\": want first or user-only\n" + hint},
		{`{"custom_id":"a","body":{}}`, []string{"--turns", "user-only"}, 2, "convert: --turns: of a batch of OpenAI requests all turns are known\n" + hint},
		{`{"schema":"wattrace.report/1"}`, nil, 1, "convert: -: is a report, which cannot be converted yet\n"},
		{`[{"input_ids":[1],"output_tokens":2}]`, nil, 1, "convert: -:1:2: \"output_len\" is missing\n"},
		{text, []string{"--target", "tgi"}, 2, "convert: --target \"tgi\": want trtllm, vllm, sglang, openai\n" + hint},
		{text, []string{"--from", "csv"}, 2, "convert: --from \"csv\": want one of " + traces.Names() + "\n" + hint},
		{text, []string{"--from", "raw_payload"}, 2, "convert: --from \"raw_payload\": want one of " + traces.Names() + "\n" + hint},
		{text, []string{"--timing", path}, 2, "convert: the trace and the side file cannot both be " + path + "\n" + hint},
		{text, []string{"-o", "-", "--timing", "-"}, 2, "convert: the trace and the side file cannot both be standard output\n" + hint},
		{text, []string{"a", "b"}, 2, "convert: one input at a time, not 2\n" + hint},
		{text, []string{"--", "cmd"}, 2, "convert: nothing may follow --\n" + hint},
		{text, []string{"--model", ""}, 2, "convert: --model is needed: the input does not name one, and each body must\n" + hint},
		{text, []string{"--model", "\xff"}, 2, "convert: --model: not UTF-8\n" + hint},
		{text, []string{filepath.Join(dir, "none")}, 1, "convert: open " + filepath.Join(dir, "none") + ": no such file or directory\n"},
		{text, []string{dir}, 2, "convert: --model is for the bodies that are made of another tool's trace, and those of " + dir + " stay as they are\n" + hint},
	} {
		got := convert(c.stdin, append([]string{"--model", "m", "-o", path}, c.args...)...)
		lines := ""
		for i := range 20 {
			lines += fmt.Sprintf("convert: skipped: -:%d:11: \"prompt\" must be a string\n", i+1)
		}
		want := outcome{c.code, "", strings.ReplaceAll(c.want, "LINES", lines)}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%.40q %v (-want +got):\n%s", c.stdin, c.args, d)
		}
		if left := files(t, dir); len(left) > 0 {
			t.Fatalf("%.40q %v left %v", c.stdin, c.args, left)
		}
	}
	// A place that cannot be written to.
	got := convert(ids, "--model", "m", "-o", filepath.Join(dir, "no", "t"))
	if got.Code != 1 || !strings.Contains(got.Stderr, "no such file or directory") {
		t.Errorf("%+v", got)
	}
	got = convert(ids, "--model", "m", "-o", path, "--timing", filepath.Join(dir, "no", "t"))
	if left := files(t, dir); got.Code != 1 || len(left) > 0 {
		t.Errorf("%+v left %v", got, left)
	}
}

// A file that appears under an output's name while the tool runs is not
// replaced, and the other output does not stay behind alone.
func TestOutputsAppearMeanwhile(t *testing.T) {
	for _, name := range []string{"t", "t.timing"} {
		dir := t.TempDir()
		r, w := io.Pipe()
		done := make(chan outcome)
		go func() {
			var stdout, stderr bytes.Buffer
			code := Main(context.Background(), []string{"--model", "m", "-o", filepath.Join(dir, "t")}, r, &stdout, &stderr)
			done <- outcome{code, stdout.String(), stderr.String()}
		}()
		io.WriteString(w, text+"\n")
		if err := os.WriteFile(filepath.Join(dir, name), []byte("precious"), 0o666); err != nil {
			t.Fatal(err)
		}
		w.Close()
		got := <-done
		if got.Code != 1 || !strings.Contains(got.Stderr, name+": exists already\n") {
			t.Errorf("%+v", got)
		}
		if d := cmp.Diff(map[string]string{name: "precious"}, files(t, dir)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	got := convert(ids, "--model", "m", "-o", "/dev/full", "--timing", filepath.Join(dir, "s"))
	if left := files(t, dir); got.Code != 1 || len(left) > 0 || !strings.Contains(got.Stderr, "no space left") {
		t.Errorf("%+v left %v", got, left)
	}
	got = convert(ids, "--model", "m", "-o", filepath.Join(dir, "t"), "--timing", "/dev/full")
	if left := files(t, dir); got.Code != 1 || len(left) > 0 || !strings.Contains(got.Stderr, "no space left") {
		t.Errorf("%+v left %v", got, left)
	}
}

func TestKeepGoing(t *testing.T) {
	clean := convert(text+"\n"+ids, "--model", "m").Stdout
	dir := t.TempDir()
	got := convert(dirty, "--model", "m", "--keep-going", "-o", filepath.Join(dir, "t"))
	want := outcome{3, "", `convert: skipped: -:3:11: "prompt" must be a string
convert: skipped: -:5:1: not a JSON object, but an array
convert: 2 requests, 2 rows skipped
`}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// The lines are those of the trace, not of the dataset.
	if d := cmp.Diff(map[string]string{"t": clean, "t.timing": sideFile}, files(t, dir)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}

	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write([]byte(text + "\n" + ids + "\n"))
	w.Flush()
	w.Write([]byte(ids))
	w.Close()
	got = convert(packed.String()[:packed.Len()-9], "--model", "m", "--keep-going")
	if got.Code != 3 || got.Stdout != clean || !strings.HasPrefix(got.Stderr, "convert: -: the gzip layer breaks off after ") || !strings.HasSuffix(got.Stderr, "; 2 requests\n") {
		t.Errorf("%+v", got)
	}
	// Where nothing precedes the break, it is what is wrong.
	got = convert(`{"data":[{"session_id":"a","payloads":[{"mod`, "--keep-going", "--model", "m")
	if d := cmp.Diff(outcome{1, "", "convert: -:1:45: the document breaks off: unexpected EOF\n"}, got); d != "" {
		t.Error(d)
	}
}

// The fixture converts, and what comes out is a trace that loads, with every
// length and id of the dataset.
func TestFixture(t *testing.T) {
	dataset := "../../../testdata/trtllm-bench/azure200.jsonl"
	path := filepath.Join(t.TempDir(), "t.jsonl")
	if got := convert("", "--model", "m", dataset, "-o", path); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	tr, closer, err := traces.Load(path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if len(tr.Turns) != 200 {
		t.Fatalf("%d turns", len(tr.Turns))
	}
	for i, turn := range tr.Turns {
		want := trace.Chat
		if i%2 == 1 {
			want = trace.Completions
		}
		if turn.Endpoint != want || turn.Timing.InputTokens.OK != (i%2 == 1) || !turn.Timing.OutputTokens.OK || turn.Timing.ID != fmt.Sprint(i) {
			t.Errorf("turn %d: %s, %+v", i, turn.Endpoint, turn.Timing)
		}
	}

	// Through a pipe, compressed, the bytes are the same.
	raw, err := os.ReadFile(dataset)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write(raw)
	w.Close()
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := convert(packed.String(), "--model", "m"); got.Code != 0 || got.Stdout != string(want) {
		t.Errorf("exit %d, %d bytes, want %d: %s", got.Code, len(got.Stdout), len(want), got.Stderr)
	}
}

// Whatever the rows, each body says what its row says, to another JSON decoder.
func TestConvertKeepsMeaning(t *testing.T) {
	type row struct {
		Prompt *string `json:"prompt,omitempty"`
		IDs    []int32 `json:"input_ids,omitempty"`
		Output int64   `json:"output_tokens"`
	}
	type body struct {
		Model    string  `json:"model"`
		Prompt   []int32 `json:"prompt"`
		Messages []struct{ Role, Content string }
		Max      int64 `json:"max_tokens"`
		Min      int64 `json:"min_tokens"`
	}
	rapid.Check(t, func(t *rapid.T) {
		model := rapid.StringN(1, 20, -1).Draw(t, "model")
		var in strings.Builder
		rows := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) row {
			r := row{Output: rapid.Int64Range(1, 1<<31-1).Draw(t, "output")}
			if rapid.Bool().Draw(t, "text") {
				s := rapid.String().Draw(t, "prompt")
				r.Prompt = &s
			} else {
				r.IDs = rapid.SliceOfN(rapid.Int32Min(0), 1, 50).Draw(t, "ids")
			}
			return r
		}), 1, 20).Draw(t, "rows")
		for _, r := range rows {
			b, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			in.Write(append(b, '\n'))
		}
		got := convert(in.String(), "--model="+model)
		lines := strings.Split(got.Stdout, "\n")
		if got.Code != 0 || len(lines) != len(rows)+1 {
			t.Fatalf("%+v", got)
		}
		for i, r := range rows {
			var b body
			if err := json.Unmarshal([]byte(lines[i]), &b); err != nil {
				t.Fatal(err)
			}
			same := b.Model == model && b.Max == r.Output && b.Min == r.Output
			if r.Prompt != nil {
				same = same && len(b.Messages) == 1 && b.Messages[0].Role == "user" && b.Messages[0].Content == *r.Prompt && b.Prompt == nil
			} else {
				same = same && cmp.Equal(b.Prompt, r.IDs) && b.Messages == nil
			}
			if !same {
				t.Fatalf("%+v became %s", r, lines[i])
			}
		}
	})
}

// A dataset far larger than the memory that it takes.
func TestConstantMemory(t *testing.T) {
	size := 200 << 20
	if testing.Short() || raceEnabled {
		size = 20 << 20
	}
	const limit = 24 << 20
	row := `{"task_id":1,"prompt":"` + strings.Repeat("word ", 13_000) + `","output_tokens":5}` + "\n" +
		`{"input_ids":[` + strings.Repeat("31999,", 5_000) + `1],"output_tokens":9}` + "\n"
	var samples []uint64
	r, w := io.Pipe()
	go func() {
		for n := 0; n < size; n += len(row) {
			io.WriteString(w, row)
			if n%(64*len(row)) == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				samples = append(samples, m.HeapAlloc)
			}
		}
		w.Close()
	}()
	runtime.GC()
	var written counter
	var stderr bytes.Buffer
	if code := Main(t.Context(), []string{"--model", "m"}, r, &written, &stderr); code != 0 {
		t.Fatal(stderr.String())
	}
	sort.Slice(samples, func(i, j int) bool { return samples[i] < samples[j] })
	t.Logf("%d MiB of heap at most", samples[len(samples)-1]>>20)
	if top := samples[len(samples)-1]; top > limit {
		t.Errorf("%d MiB of heap for a dataset of %d MiB, limit %d", top>>20, size>>20, limit>>20)
	}
	if int(written) < size {
		t.Errorf("%d bytes came out, of %d", written, size)
	}
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// The first signal lets a consumer read to the end; the second ends it, even
// while it waits for a pipe, and leaves nothing.
func TestSignals(t *testing.T) {
	caught := make(chan os.Signal, 100)
	signal.Notify(caught, os.Interrupt) // so that none ends the test
	defer signal.Stop(caught)
	interrupt := func() {
		syscall.Kill(os.Getpid(), syscall.SIGINT)
		<-caught
	}
	dir := t.TempDir()
	start := func() (*io.PipeWriter, chan outcome) {
		r, w := io.Pipe()
		done := make(chan outcome, 1)
		go func() {
			var stdout, stderr bytes.Buffer
			code := Main(context.Background(), []string{"-q", "--model", "m", "-o", filepath.Join(dir, "t")}, r, &stdout, &stderr)
			done <- outcome{code, stdout.String(), stderr.String()}
		}()
		// Written is read: the tool is running, and its signal handler with it.
		io.WriteString(w, text+"\n")
		return w, done
	}

	w, done := start()
	interrupt()
	io.WriteString(w, ids+"\n")
	w.Close()
	if got := <-done; got.Code != 0 {
		t.Errorf("one signal: %+v", got)
	}
	if got := files(t, dir); got["t.timing"] != sideFile {
		t.Errorf("one signal: %v", got)
	}
	os.Remove(filepath.Join(dir, "t"))
	os.Remove(filepath.Join(dir, "t.timing"))

	_, done = start()
	for {
		interrupt()
		select {
		case got := <-done:
			if d := cmp.Diff(outcome{cli.ExitInterrupted, "", ""}, got); d != "" {
				t.Errorf("two signals (-want +got):\n%s", d)
			}
			if left := files(t, dir); len(left) > 0 {
				t.Errorf("two signals left %v", left)
			}
			return
		case <-time.After(20 * time.Millisecond): // two that come at once are one
		}
	}
}
