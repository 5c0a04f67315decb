package bodies

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"wattrace/formats"
	"wattrace/formats/traces"
	"wattrace/trace"
)

// A trace that is loaded is a whole one, or none.
func TestLoadFaults(t *testing.T) {
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
		m, err := New(Options{Model: "m", Target: "openai"})
		if err != nil {
			t.Fatal(err)
		}
		in, err := formats.Open("-", c.in)
		if err != nil {
			t.Fatal(err)
		}
		got, closer, err := Load(in, c.codec, m, nil)
		if err == nil || got != nil || closer != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.want, err)
		}
	}
	for _, o := range []Options{{Target: "x"}, {Model: "\xff"}, {AsText: true}, {Tokenizer: "none"}, {Tokenizer: "load.go"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	m, _ := New(Options{})
	in, _ := formats.Open("-", strings.NewReader(row))
	if _, _, err := Load(in, mooncake, m, nil); !errors.Is(err, ErrNoModel) {
		t.Error(err)
	}
	again := traces.Codec{Open: func(io.Reader, string, traces.Options) formats.RequestReader { return new(repeating) }}
	m, _ = New(Options{})
	in, _ = formats.Open("-", strings.NewReader(""))
	if _, _, err := Load(in, again, m, nil); err == nil || err.Error() != "in:2:1: turn 1 of this conversation was there before" {
		t.Error(err)
	}
	twice := strings.Repeat(`{"session_id":"a","input_length":4,"output_length":2}`+"\n", 2)
	m, _ = New(Options{Model: "m"})
	in, _ = formats.Open("-", strings.NewReader(twice))
	got, closer, err := Load(in, mooncake, m, nil)
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
