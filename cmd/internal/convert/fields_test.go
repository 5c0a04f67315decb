package convert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a row says of its body wins, and an adapter is asked for as the target takes it.
func TestFields(t *testing.T) {
	const adapter = `{"task_id":1,"prompt":"x","output_tokens":3,"lora_request":{"lora_name":"a","lora_int_id":3,"lora_path":"/l"}}`
	const chat = `"messages":[{"role":"user","content":"x"}],`
	const exact = `"max_tokens":3,"min_tokens":3,"ignore_eos":true,`
	const fields = `{"text_input":"x","temperature":2,"max_tokens":5,"timestamp":0}`
	for _, c := range []struct {
		in   string
		args []string
		want string
	}{
		{adapter, nil, `{"model":"m",` + chat + exact + `"temperature":0,"lora_request":{"lora_name":"a","lora_int_id":3,"lora_path":"/l"}}`},
		{adapter, []string{"--target", "vllm"}, `{` + chat + exact + `"temperature":0,"model":"a"}`},
		{adapter, []string{"--target", "sglang"}, `{` + chat + exact + `"temperature":0,"model":"a"}`},
		{fields, nil, `{"model":"m",` + chat + `"temperature":2,"max_tokens":5}`},
		{fields, []string{"--output-tokens", "9"}, `{"model":"m",` + chat + `"temperature":2,"max_tokens":5}`},
		{`{"timestamp":0,"prompt":"x","stream":false}`, nil, `{"prompt":"x","stream":false,"model":"m"}`},
	} {
		got := convert(c.in, append(c.args, "--model", "m", "--no-stream")...)
		if d := cmp.Diff(c.want+"\n", got.Stdout); d != "" || got.Code != 0 {
			t.Errorf("%s %v: %s (-want +got):\n%s", c.in, c.args, got.Stderr, d)
		}
		byName := len(c.args) > 0 && c.args[0] == "--target"
		if byName != strings.Contains(got.Stderr, "left out: 1 paths of adapters, which the server must know by name\n") {
			t.Error(got.Stderr)
		}
	}
	const none = "-:1: a request for an adapter (lora_request), for which --target openai has no key\n"
	if d := cmp.Diff(outcome{1, "", "convert: " + none}, convert(adapter, "--model", "m", "--target", "openai")); d != "" {
		t.Error(d)
	}
	got := convert(adapter+"\n"+text, "--model", "m", "--target", "openai", "--keep-going")
	if d := cmp.Diff("convert: skipped: "+none+"convert: 1 requests, 1 rows skipped\n", got.Stderr); d != "" || got.Code != 3 || strings.Count(got.Stdout, "\n") != 1 {
		t.Errorf("%+v", got)
	}
	if got := convert(`{"input":{"messages":[]}}`); got.Code != 2 || got.Stdout != "" {
		t.Errorf("no model: %+v", got)
	}
}

func TestMedia(t *testing.T) {
	dir := t.TempDir()
	sound := filepath.Join(dir, "a.jpg")
	if err := os.WriteFile(sound, []byte("RIFF....WAVEfmt "), 0o666); err != nil {
		t.Fatal(err)
	}
	row := func(path string) string {
		return `{"prompt":"x","output_tokens":3,"media_paths":["testdata/media/dot.png","` + path + `"]}`
	}
	if got := convert(row(sound), "--model", "m"); got.Code != 0 || !strings.Contains(got.Stdout, `,{"type":"audio_url","audio_url":{"url":"data:audio/wav;base64,`) {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct{ path, target, want string }{
		{sound, "openai", "-:1: a request with audio, which --target openai does not take"},
		{dir + "/none", "vllm", "-:1:73: stat " + dir + "/none: no such file or directory"},
		{"testdata/trtllm.in", "vllm", "-:1:73: testdata/trtllm.in is no image, video or sound of a known format"},
		{dir, "vllm", "-:1:73: " + dir + " is no regular file"},
		{"", "vllm", `-:1:73: "media_paths" is empty`},
	} {
		if d := cmp.Diff(outcome{1, "", "convert: " + c.want + "\n"}, convert(row(c.path), "--model", "m", "--target", c.target)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.path, d)
		}
	}
}

// All questions, as turns.
func TestTurns(t *testing.T) {
	const u = `{"role":"user","content":`
	for _, in := range []string{`{"task_id":4,"input_ids":[1],"turns":["a","b"],"output_tokens":5}`, `{"question_id":4,"turns":["a","b"]}`} {
		out, trace, side := converted(t, in, "--turns", "user-only", "--no-stream", "--output-tokens", "5")
		tail := `],"max_tokens":5,"min_tokens":5,"ignore_eos":true,"temperature":0}` + "\n"
		want := `{"model":"m","messages":[` + u + `"a"}` + tail + `{"model":"m","messages":[` + u + `"a"},` + u + `"b"}` + tail
		if d := cmp.Diff(want, trace); d != "" || strings.Contains(out.Stderr, "left out") {
			t.Errorf("%+v (-want +got):\n%s", out, d)
		}
		if !strings.Contains(side, `{"line":2,"conversation":"1","turn":1,"output_tokens":5,"id":"4"}`) {
			t.Error(side)
		}
		loads(t, trace, side)
	}
}
