package traces

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"wattrace/formats"
	"wattrace/trace"
)

const (
	content = "{\"messages\":[]}\n\n{\"prompt\":[1]}\n"
	side    = "{\"line\":3,\"output_tokens\":7,\"id\":\"x\"}\n"
)

// tree writes files below a fresh directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func compressed(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func TestLoadFile(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"a.jsonl": content, "a.jsonl.timing": side,
		"b.jsonl.gz": compressed(content), "b.jsonl.gz.timing": compressed(side),
		"plain.jsonl": content, "other": strings.ReplaceAll(side, "x", "y"),
	})
	for _, c := range []struct{ path, timing, stdin, id string }{
		{"a.jsonl", "", "", "x"},
		{"a.jsonl", "other", "", "y"},
		{"a.jsonl", "-", strings.ReplaceAll(side, "x", "z"), "z"},
		{"b.jsonl.gz", "", "", "x"},
		{"plain.jsonl", "", "", ""},
		{"plain.jsonl", "other", "", "y"},
		{"-", "", content, ""},
		{"-", "", compressed(content), ""},
		{"-", "other", content, "y"},
	} {
		in := func(name string) string {
			if name == "" || name == "-" {
				return name
			}
			return filepath.Join(dir, name)
		}
		got, closer, err := Load(in(c.path), in(c.timing), strings.NewReader(c.stdin))
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		want := &trace.Trace{Path: in(c.path), SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(content))), Turns: []trace.Turn{
			{Payload: []byte(`{"messages":[]}`), Endpoint: trace.Chat, Pos: trace.Pos{File: in(c.path), Line: 1}},
			{Payload: []byte(`{"prompt":[1]}`), Endpoint: trace.Completions, Pos: trace.Pos{File: in(c.path), Line: 3}},
		}}
		if c.id != "" {
			want.Turns[1].Timing = trace.Timing{OutputTokens: trace.Some[int64](7), ID: c.id}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%+v (-want +got):\n%s", c, d)
		}
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A named pipe would be waited for; a link to a file is one.
func TestLoadDirectoryOfOddFiles(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"f": `{"prompt":1}`, "d/a.jsonl": `{"prompt":2}`})
	dir = filepath.Join(dir, "d")
	if err := os.Symlink("../f", filepath.Join(dir, "b.jsonl")); err != nil {
		t.Skip(err)
	}
	got, closer, err := Load(dir, "", nil)
	if err != nil || len(got.Turns) != 2 {
		t.Fatal(got, err)
	}
	closer.Close()
	if err := unix.Mkfifo(filepath.Join(dir, "c.jsonl"), 0o600); err != nil {
		t.Skip(err)
	}
	if _, _, err := Load(dir, "", nil); err == nil || err.Error() != filepath.Join(dir, "c.jsonl")+": is no regular file" {
		t.Error(err)
	}
}

func TestLoadDirectory(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"d/b.jsonl":   "{\"prompt\":1}\n",
		"d/B.jsonl":   "\n{\"prompt\":2}\r\n{\"prompt\":3}",
		"d/a b.jsonl": "{\"prompt\":4}",
		"d/.b.jsonl":  "not a conversation",
		"d/README.md": "neither",
		"d.timing":    `{"conversation":"B","turn":1,"delay_seconds":0.5}`,
	})
	dir = filepath.Join(dir, "d")
	got, closer, err := Load(dir+"/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	turn := func(payload, name string, line, index int) trace.Turn {
		return trace.Turn{Payload: []byte(payload), Endpoint: trace.Completions, Conversation: name, Index: index,
			Pos: trace.Pos{File: filepath.Join(dir, name+".jsonl"), Line: line}}
	}
	want := []trace.Turn{
		turn(`{"prompt":2}`, "B", 2, 0), turn(`{"prompt":3}`, "B", 3, 1),
		turn(`{"prompt":4}`, "a b", 1, 0), turn(`{"prompt":1}`, "b", 1, 0),
	}
	want[1].Timing.DelaySeconds = trace.Some(0.5)
	if d := cmp.Diff(want, got.Turns); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// The shell computes the hash too, as trace.Trace promises.
	sh := exec.Command("sh", "-c", "LC_ALL=C; export LC_ALL; sha256sum *.jsonl | sha256sum")
	sh.Dir = dir
	out, err := sh.Output()
	if err != nil {
		t.Skip(err)
	}
	if hash, _, _ := strings.Cut(string(out), " "); hash != got.SHA256 {
		t.Errorf("hash %s, the shell says %s", got.SHA256, hash)
	}
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"bad.jsonl":              "{\"prompt\":1}\n{\"prompt\":}\n",
		"empty.jsonl":            "\n",
		"dataset.json":           `{"task_id":0,"prompt":"x","output_tokens":1}`,
		"log.jsonl":              `{"type":"run","schema":"wattrace.requests/1"}`,
		"power.arrows":           "\xff\xff\xff\xff",
		"text":                   "hello",
		"cut.gz":                 compressed(content)[:40],
		"good.jsonl":             content,
		"wrong.timing":           "{\"line\":2}\n",
		"none/README":            "",
		"emptied/a.jsonl":        "{\"prompt\":1}",
		"emptied/b.jsonl":        "",
		"baddir/a.jsonl":         "[]",
		"nested/a.jsonl/b.jsonl": "{\"prompt\":1}",
		"side/a.jsonl":           "{\"prompt\":1}",
		"side.timing":            "{\"line\":1}",
		"badside.jsonl":          content,
		"badside.jsonl.timing":   "{\"line\":\"1\"}",
	})
	for _, c := range []struct{ path, timing, want string }{
		{"bad.jsonl", "", "DIR/bad.jsonl:2:11: not JSON: unexpected character"},
		{"empty.jsonl", "", "DIR/empty.jsonl: the trace is empty"},
		{"text", "", "DIR/text:1:1: not JSON: unexpected character"},
		{"dataset.json", "", "DIR/dataset.json: is a trtllm-bench dataset, not a raw_payload trace"},
		{"log.jsonl", "", "DIR/log.jsonl: is a request log, not a trace"},
		{"power.arrows", "", "DIR/power.arrows: is a telemetry recording, not a trace"},
		{"cut.gz", "", "DIR/cut.gz: the gzip layer breaks off after 25 bytes of content: unexpected EOF"},
		{"missing", "", "open DIR/missing: no such file or directory"},
		{"good.jsonl", "missing", "open DIR/missing: no such file or directory"},
		{"good.jsonl", "wrong.timing", "DIR/wrong.timing:1:9: the trace has no request on that line"},
		{"badside.jsonl", "", "DIR/badside.jsonl.timing:1:9: \"line\" must be an integer"},
		{"none", "", "DIR/none: the directory has no *.jsonl"},
		{"emptied", "", "DIR/emptied/b.jsonl: the trace is empty"},
		{"baddir", "", "DIR/baddir/a.jsonl:1:1: not a JSON object, but an array"},
		{"nested", "", "open DIR/nested/a.jsonl: is a directory"},
		{"side", "", "DIR/side.timing:1:9: \"line\" in the side file of a directory, whose turns go by \"conversation\" and \"turn\""},
	} {
		timing := c.timing
		if timing != "" {
			timing = filepath.Join(dir, timing)
		}
		got, closer, err := Load(filepath.Join(dir, c.path), timing, nil)
		if err == nil || got != nil || closer != nil {
			t.Errorf("%s: no error", c.path)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), dir, "DIR"); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.path, got, c.want)
		}
		var kind *KindError
		if errors.As(err, &kind) != strings.HasSuffix(c.want, " trace") {
			t.Errorf("%s: error of type %T", c.path, err)
		}
	}
	if _, _, err := Load("-", "-", strings.NewReader(content)); err == nil {
		t.Error("standard input twice: no error")
	}
	if _, _, err := Load("-", "", io.MultiReader(strings.NewReader(content), iotest.ErrReader(errBroken))); !errors.Is(err, errBroken) {
		t.Errorf("a broken pipe: %v", err)
	}
}

var errBroken = errors.New("broken")

func TestCodecs(t *testing.T) {
	t.Parallel()
	for _, c := range Codecs {
		if got, ok := ByName(c.Name); !ok || got.Kind != c.Kind {
			t.Errorf("ByName(%q) = %v", c.Name, got.Name)
		}
		if got, ok := ByKind(c.Kind); !ok || got.Name != c.Name {
			t.Errorf("ByKind(%q) = %v", c.Kind, got.Name)
		}
	}
	if _, ok := ByKind(formats.Unknown); ok {
		t.Error("a codec for what is unknown")
	}
}
