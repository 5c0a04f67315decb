package convert

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
	"wattrace/formats/bodies"
	"wattrace/formats/traces"
	"wattrace/trace"
)

// What replay makes of another tool's trace is what convert writes of it: the same hash, bodies,
// conversations, times and lengths.
func TestDirect(t *testing.T) {
	others(t, func(t *testing.T, c traces.Codec, name, example string) {
		for _, more := range []struct {
			args []string
			o    bodies.Options
		}{
			{nil, bodies.Options{}},
			{[]string{"--target", "openai", "--output-tokens", "9", "--no-stream", "--vocab", "5000"}, bodies.Options{Target: "openai", OutputTokens: 9, NoStream: true, Codec: traces.Options{Vocab: 5000}}},
			{[]string{"--tokenizer", small, "--endpoint", "completions"}, bodies.Options{Tokenizer: small, Completions: true}},
		} {
			dir := t.TempDir()
			out := convert(example, append(more.args, "--model", "m", "--from", c.Name, "-o", filepath.Join(dir, "t"))...)
			more.o.Model = "m"
			m, err := bodies.New(more.o)
			if err != nil {
				t.Fatal(err)
			}
			in, err := formats.Open("-", strings.NewReader(example))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			got, closer, err := bodies.Load(in, c, m, func() { n++ })
			in.Close()
			if out.Code != 0 {
				if err == nil || !strings.Contains(out.Stderr, err.Error()) {
					t.Errorf("%v: convert: %sLoad: %v", more.args, out.Stderr, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%v: %v", more.args, err)
			}
			want, file, err := traces.Load(filepath.Join(dir, "t"), "", nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want.Turns {
				want.Turns[i].Pos = got.Turns[i].Pos
			}
			if d := cmp.Diff(want.Turns, got.Turns); d != "" || want.SHA256 != got.SHA256 || n != len(want.Turns) {
				t.Errorf("%v: %d requests (-converted +direct):\n%s", more.args, n, d)
			}
			sum := sha256.Sum256([]byte(example))
			if got.Path != "-" || got.SourceSHA256 != hex.EncodeToString(sum[:]) || got.Format != c.Name || got.Lost != c.Lost {
				t.Errorf("%s of %s, lost %q: %s", got.Path, got.Format, got.Lost, got.SourceSHA256)
			}
			if left := got.LeftOut(); left != "" && !strings.Contains(out.Stderr, "left out: "+left+"\n") {
				t.Errorf("%v: left out %q: %s", more.args, left, out.Stderr)
			}
			file.Close()
			if err := closer.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A trace that is loaded is a whole one, or none.
func TestDirectFaults(t *testing.T) {
	mooncake, _ := traces.ByName("mooncake")
	sharegpt, _ := traces.ByName("sharegpt")
	trtllm, _ := traces.ByName("trtllm")
	const row = `{"timestamp":0,"input_length":4,"output_length":2,"hash_ids":[1]}` + "\n"
	for _, c := range []struct {
		codec traces.Codec
		in    io.Reader
		want  string
	}{
		{mooncake, strings.NewReader(row + "{}\n"), "-:2:1: "},
		{mooncake, strings.NewReader(""), "-: "},
		{mooncake, io.MultiReader(strings.NewReader(row), brokenPipe{}), "broken"},
		{mooncake, bytes.NewReader([]byte("\x1f\x8b\x08")), "-: "},
		{sharegpt, strings.NewReader(`[{"id":"a","conversations":[{"from":"gpt","value":"x"}]}]`), "-: no request is left: 1 "},
		{sharegpt, strings.NewReader(`[{"id":"a","conversations":[{"from":"human","value":"x"}]}`), "-:1:"},
		{trtllm, strings.NewReader(`{"task_id":0,"prompt":"x","output_tokens":1,"lora_request":{"lora_name":"a","lora_int_id":1}}`), "--target openai has no key"},
	} {
		m, err := bodies.New(bodies.Options{Model: "m", Target: "openai"})
		if err != nil {
			t.Fatal(err)
		}
		in, err := formats.Open("-", c.in)
		if err != nil {
			t.Fatal(err)
		}
		got, closer, err := bodies.Load(in, c.codec, m, nil)
		if err == nil || got != nil || closer != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.want, err)
		}
	}
	for _, o := range []bodies.Options{{Target: "x"}, {Model: "\xff"}, {AsText: true}, {Tokenizer: "none"}, {Tokenizer: "testdata/mooncake.in"}} {
		if _, err := bodies.New(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	m, _ := bodies.New(bodies.Options{})
	in, _ := formats.Open("-", strings.NewReader(row))
	if _, _, err := bodies.Load(in, mooncake, m, nil); !errors.Is(err, bodies.ErrNoModel) {
		t.Error(err)
	}
	again := traces.Codec{Open: func(io.Reader, string, traces.Options) formats.RequestReader { return new(repeating) }}
	m, _ = bodies.New(bodies.Options{})
	in, _ = formats.Open("-", strings.NewReader(""))
	if _, _, err := bodies.Load(in, again, m, nil); err == nil || err.Error() != "in:2:1: turn 1 of this conversation was there before" {
		t.Error(err)
	}
	twice := strings.Repeat(`{"session_id":"a","input_length":4,"output_length":2}`+"\n", 2)
	m, _ = bodies.New(bodies.Options{Model: "m"})
	in, _ = formats.Open("-", strings.NewReader(twice))
	got, closer, err := bodies.Load(in, mooncake, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if got.Turns[1].Index != 1 || got.Turns[1].Pos != (trace.Pos{File: "-", Line: 2, Col: got.Turns[1].Pos.Col}) {
		t.Errorf("%+v", got.Turns[1])
	}
}

// repeating reads the same turn for ever.
type repeating struct{ n int }

func (r *repeating) Read(dst *formats.Request) error {
	r.n++
	*dst = formats.Request{Pos: trace.Pos{File: "in", Line: r.n}, Body: []byte(`{"prompt":"x"}`), Conversation: "a"}
	return nil
}

type brokenPipe struct{}

func (brokenPipe) Read([]byte) (int, error) {
	return 0, &os.PathError{Op: "read", Path: "pipe", Err: errors.New("broken")}
}
