package convert

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats/traces"
)

// tree is files below a directory, by their paths.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if name, _ := filepath.Rel(dir, path); strings.HasPrefix(name, ".") && name != "." {
				t.Errorf("%s was left", path)
			}
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		got[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	chats := filepath.Join(dir, "chats")
	const in = `{"session_id":"../../etc/pässwd","text_input":"1","timestamp":5}
{"session_id":"b","text_input":"2"}
{"session_id":"../../etc/pässwd","text_input":"3","delay":1000}
{"text_input":"4"}
{"chat_id":7,"input_length":1,"output_length":1}
`
	args := []string{"--model", "m", "--target", "openai", "--no-stream", "-o", chats + "/"}
	got := convert(in, args...)
	if got.Code != 0 {
		t.Fatal(got.Stderr)
	}
	chat := func(s string) string {
		return `{"model":"m","messages":[{"role":"user","content":"` + s + `"}]}` + "\n"
	}
	want := map[string]string{
		"chats/00000001-.._.._etc_p_sswd.jsonl": chat("1") + chat("3"),
		"chats/00000002-b.jsonl":                chat("2"),
		"chats/00000003.jsonl":                  chat("4"),
		"chats/00000004-7.jsonl":                `{"model":"m","prompt":[23721],"max_tokens":1}` + "\n",
		"chats.timing": `{"at_seconds":0.005,"conversation":"00000001-.._.._etc_p_sswd","turn":0}
{"delay_seconds":1,"conversation":"00000001-.._.._etc_p_sswd","turn":1}
{"conversation":"00000002-b","turn":0}
{"conversation":"00000003","turn":0}
{"conversation":"00000004-7","turn":0,"input_tokens":1,"output_tokens":1,"id":"7"}
`,
	}
	if d := cmp.Diff(want, tree(t, dir)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	info, err := os.Stat(chats)
	made := filepath.Join(dir, "made")
	if err := os.Mkdir(made, 0o777); err != nil {
		t.Fatal(err)
	}
	if other, _ := os.Stat(made); err != nil || info.Mode() != other.Mode() {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	os.Remove(made)

	// It stays, is replaced when told, and not with what is not its own.
	if got := convert(in, args...); got.Code != 1 || got.Stderr != "convert: "+chats+": exists already\nconvert: hint: --force replaces a directory of conversations\n" {
		t.Errorf("%+v", got)
	}
	one := convert(in, append(args, "--force", "--limit", "1")...)
	if left := tree(t, dir); one.Code != 0 || len(left) != 2 {
		t.Errorf("%+v %v", one, left)
	}
	for _, name := range []string{"precious", "precious.jsonl"} {
		precious := filepath.Join(chats, name)
		if err := os.WriteFile(precious, []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
		if got := convert(in, append(args, "--force")...); got.Code != 1 || got.Stderr != "convert: "+chats+": has other files than conversations, and is not replaced\n" {
			t.Errorf("%+v", got)
		}
		os.Remove(precious)
	}
	// Nor an input, nor without the slash.
	if got := convert("", chats, "--force", "-o", chats+"/"); got.Code != 1 || got.Stderr != "convert: "+chats+": is an input\n" {
		t.Errorf("%+v", got)
	}
	for name := range files(t, chats) {
		if got := convert("", filepath.Join(chats, name), "--force", "-o", chats+"/"); got.Code != 1 || got.Stderr != "convert: "+chats+": has an input, "+name+"\n" {
			t.Errorf("%+v", got)
		}
	}
	if got := convert(in, "--model", "m", "-o", chats); got.Code != 1 || got.Stderr != "convert: "+chats+": is a directory\nconvert: hint: -o "+chats+"/ makes one of conversations\n" {
		t.Errorf("%+v", got)
	}
	// An empty one is taken.
	empty := filepath.Join(dir, "empty")
	os.Mkdir(empty, 0o777)
	if got := convert(in, "--model", "m", "-o", empty+"/"); got.Code != 0 || len(tree(t, empty)) != 4 {
		t.Errorf("%+v", got)
	}
}

func TestDirectoryFailures(t *testing.T) {
	dir := t.TempDir()
	chats := filepath.Join(dir, "chats") + "/"
	for in, want := range map[string]string{
		text + "\n{}\n": "convert: -:2:1: none of ",
		"":              "convert: -: is empty",
		`{"prompt":"x","output_tokens":1}` + "\n" + `{"input_ids":[1],"output_tokens":1,"lora_request":{"a":1}}`: `convert: -:2:`,
	} {
		if got := convert(in, "--model", "m", "-o", chats); got.Code != 1 || !strings.HasPrefix(got.Stderr, want) {
			t.Errorf("%q: %+v", in, got)
		}
		if left := files(t, dir); len(left) > 0 {
			t.Fatalf("%q left %v", in, left)
		}
	}
	if got := convert(text, "--model", "m", "-o", chats, "--timing", dir+"/chats"); got.Code != 2 {
		t.Errorf("%+v", got)
	}
	// A side file that mixes turns up.
	path := filepath.Join(t.TempDir(), "t")
	body := "{\"prompt\":1}\n"
	for side, want := range map[string]string{
		`{"line":1,"conversation":"a","turn":1}`: ":1:1: turn 1 of a conversation where turn 0 would be next: a directory has them in order\n",
		`{"line":2}` + "\n" + `{"line":1}`:       ".timing:2:1: the trace has no such turn, or not in this order\n",
		`{"line":3}`:                             ".timing:1:1: the trace has no such turn, or not in this order\n",
		`{"conversation":"a"}`:                   ".timing:1:1: \"line\" is missing, by which the turns of a file go\n",
		`{"line":1}` + "\n" + `{"line":"2"}`:     ".timing:2:9: \"line\" must be an integer\n",
	} {
		os.WriteFile(path, []byte(body+body), 0o666)
		os.WriteFile(path+".timing", []byte(side), 0o666)
		if got := convert("", "-o", chats, path); got.Code != 1 || got.Stderr != "convert: "+path+want {
			t.Errorf("%s: %+v", side, got)
		}
		if left := files(t, dir); len(left) > 0 {
			t.Fatalf("%q left %v", side, left)
		}
	}
	// The side file of a directory.
	conversations := filepath.Join(dir, "d")
	os.Mkdir(conversations, 0o777)
	os.WriteFile(filepath.Join(conversations, "a.jsonl"), []byte(body+body), 0o666)
	for side, want := range map[string]string{
		`{"line":1}`:                     ".timing:1:1: \"line\" in the side file of a directory, whose turns go by \"conversation\" and \"turn\"\n",
		`{"conversation":"b"}`:           ".timing:1:1: the trace has no such turn, or not in this order\n",
		`{"conversation":"a","turn":2}`:  ".timing:1:1: the trace has no such turn, or not in this order\n",
		`{"conversation":"a","turn":-1}`: ".timing:1:28: \"turn\" must be at least 0\n",
	} {
		os.WriteFile(conversations+".timing", []byte(side), 0o666)
		if got := convert("", conversations); got.Code != 1 || got.Stderr != "convert: "+conversations+want {
			t.Errorf("%s: %+v", side, got)
		}
	}
}

// Turns that come in any order, more than wait in memory: few files are open, and each
// conversation is whole.
func TestDirectoryInterleaved(t *testing.T) {
	const talks, turns = 700, 5
	long := strings.Repeat("x", 32_000) // 112 MB
	var in strings.Builder
	for turn := range turns {
		for talk := range talks {
			fmt.Fprintf(&in, "{\"session_id\":\"s%d\",\"payload\":{\"prompt\":\"%d %d %s\"}}\n", (talk*331+turn)%talks, (talk*331+turn)%talks, turn, long)
		}
	}
	dir := t.TempDir()
	chats := filepath.Join(dir, "chats")
	if got := convert(in.String(), "-o", chats+"/"); got.Code != 0 {
		t.Fatal(got.Stderr)
	}
	loaded, closer, err := traces.Load(chats, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if len(loaded.Turns) != talks*turns {
		t.Fatalf("%d turns", len(loaded.Turns))
	}
	for _, turn := range loaded.Turns {
		_, name, _ := strings.Cut(turn.Conversation, "-s")
		if !strings.HasPrefix(string(turn.Payload), fmt.Sprintf(`{"prompt":"%s %d x`, name, turn.Index)) {
			t.Fatalf("%s/%d: %.40s", turn.Conversation, turn.Index, turn.Payload)
		}
	}
	b, err := os.ReadFile(chats + ".timing")
	if lines := strings.Split(strings.TrimSpace(string(b)), "\n"); err != nil || len(lines) != talks*turns || !slices.IsSorted(lines) {
		t.Errorf("%d lines of the side file, %v", len(lines), err)
	}
}
