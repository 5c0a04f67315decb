package convert

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
	"wattrace/formats/traces"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// others are the formats that can be converted, each with its examples: NAME.in, and
// NAME-VARIANT.in of some.
func others(t *testing.T, do func(t *testing.T, c traces.Codec, name, example string)) {
	for _, c := range traces.Codecs {
		if c.Open == nil {
			continue
		}
		paths, err := filepath.Glob(filepath.Join("testdata", c.Name+"-*.in"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range append(paths, filepath.Join("testdata", c.Name+".in")) {
			name := strings.TrimSuffix(path, ".in")
			t.Run(filepath.Base(name), func(t *testing.T) {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				do(t, c, name, string(b))
			})
		}
	}
}

// converted returns the trace and the side file of an input.
func converted(t *testing.T, in string, args ...string) (out outcome, trace, timing string) {
	t.Helper()
	dir := t.TempDir()
	out = convert(in, append(args, "--model", "m", "-o", filepath.Join(dir, "t"))...)
	got := files(t, dir)
	return out, got["t"], got["t.timing"]
}

// Every format's example is recognised, or must be told, and becomes what its
// golden files say, which is a trace for replay.
func TestGolden(t *testing.T) {
	others(t, func(t *testing.T, c traces.Codec, name, example string) {
		var from []string
		if got := formats.Sniff([]byte(example)); got != c.Kind {
			if !slices.Contains(c.Alike, got) {
				t.Errorf("recognised as %s", got)
			}
			from = []string{"--from", c.Name}
			if out := convert(example, "--model", "m"); out.Code != 1 || !strings.Contains(out.Stderr, "--from "+c.Name) {
				t.Errorf("not told: %+v", out)
			}
		}
		out, trace, timing := converted(t, example, from...)
		loads(t, trace, timing)
		if out.Code != 0 || c.Lost != "" && !strings.Contains(out.Stderr, "convert: lost: "+c.Lost+"\n") {
			t.Errorf("%+v", out)
		}
		for suffix, got := range map[string]string{".trace": trace, ".timing": timing} {
			path := name + suffix
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("%s (-want +got):\n%s", path, d)
			}
		}

		// Told, compressed or with Windows' line ends it is the same.
		if _, told, _ := converted(t, example, "--from", c.Name); told != trace {
			t.Error("another trace with --from")
		}
		if _, crlf, side := converted(t, strings.ReplaceAll(example, "\n", "\r\n"), from...); crlf != trace || side != timing {
			t.Error("another trace with CRLF")
		}
		if out, whole, _ := converted(t, strings.TrimSuffix(example, "\n"), from...); out.Code != 0 || whole != trace {
			t.Error("another trace without the last line feed")
		}
	})
}

// loads has a trace and its side file read as replay reads them.
func loads(t *testing.T, trace, timing string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t.jsonl")
	for name, text := range map[string]string{path: trace, path + ".timing": timing} {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	_, closer, err := traces.Load(path, "", nil)
	if err != nil {
		t.Error(err)
		return
	}
	closer.Close()
}

// Whatever is cut off or damaged, there is an answer, and a fault has a position.
func TestHostile(t *testing.T) {
	others(t, func(t *testing.T, c traces.Codec, _, example string) {
		try := func(in string) {
			r := c.Open(strings.NewReader(in), "in", traces.Options{Vocab: 2000})
			var row formats.Request
			for range len(in) + 2 {
				row.IDs = row.IDs[:0]
				switch err := r.Read(&row); {
				case err == io.EOF:
					return
				case err != nil && !strings.HasPrefix(err.Error(), "in:"):
					t.Fatalf("%q: %v", in, err)
				}
			}
			if err := r.Read(&row); err == nil {
				t.Fatalf("%q: rows without end", in)
			}
		}
		for i := 0; i < len(example); i += 1 + partial*len(example)/300 {
			try(example[:i])
			for _, b := range []string{"\x00", "\xff", "\"", "{", "[", "]", "}", ",", "\n", "9", "-", "\\", "null"} {
				try(example[:i] + b + example[i+1:])
			}
		}
		deep := strings.Repeat("[", 100_000)
		try(deep)
		try(strings.Repeat(`{"a":`, 100_000))
		try(example + deep)
	})
}

// A long row is read, and what it took is given back or used again: inputs of any
// size are converted in the memory of some rows.
func TestLongInputs(t *testing.T) {
	size := 60 << 20
	switch {
	case raceEnabled:
		size = 2 << 20
	case testing.Short():
		size = 10 << 20
	}
	text := strings.Repeat("word ", 2_000)
	inputs := map[string]struct{ head, row, tail string }{
		"trtllm":        {row: `{"prompt":"` + text + `","output_tokens":5}` + "\n"},
		"sharegpt":      {"[\n", `{"id":"a","conversations":[{"from":"human","value":"` + text + `"},{"from":"gpt","value":"x"}]},` + "\n", "{\"conversations\":[]}]"},
		"openaibatch":   {row: `{"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"` + text + `"}}` + "\n"},
		"azure":         {head: "TIMESTAMP,ContextTokens,GeneratedTokens,x\n", row: "2023-11-16 18:17:03.9799600,2000,10," + text + "\n"},
		"burstgpt":      {head: "Timestamp,Model,Request tokens,Response tokens\n", row: "5," + text + ",2000,10\n"},
		"aiperfinputs":  {"{\"data\":[\n", `{"payloads":[{"prompt":"` + text + `"}]},` + "\n", "{\"payloads\":[]}]}"},
		"trtllmcustom":  {row: `{"input":{"messages":[{"role":"user","content":"` + text + `"}]}}` + "\n"},
		"vllmcustom":    {row: `{"prompt":"` + text + `"}` + "\n"},
		"questions":     {row: `{"turns":["` + text + `","x"]}` + "\n"},
		"guidellm":      {row: `{"text":"` + text + `","output_tokens_count":3}` + "\n"},
		"sglangopenai":  {row: `{"messages":[{"role":"user","content":"` + text + `"}],"top_p":1}` + "\n"},
		"genaiperf":     {row: `{"timestamp":1,"text":"` + text + `","top_p":1}` + "\n"},
		"tokentrace":    {row: `{"input_tokens":[` + strings.Repeat("12345, ", 1000) + `1],"num_output_tokens":5}` + "\n"},
		"guidellmtrace": {row: `{"timestamp":1,"input_length":500,"output_length":5,"x":"` + text + `"}` + "\n"},
		"weka":          {row: `{"requests":[{"in":640,"out":5,"hash_ids":[1,2,3,4,5,6,7,8,9,10],"x":"` + text + `"}]}` + "\n"},
		"mooncake":      {row: `{"timestamp":1,"input_length":5000,"output_length":5,"hash_ids":[1,2,3,4,5,6,7,8,9,10]}` + "\n" + `{"session_id":"a","text_input":"` + text + `"}` + "\n"},
	}
	for _, c := range traces.Codecs {
		if _, ok := inputs[c.Name]; !ok && c.Open != nil {
			t.Errorf("%s: no long input", c.Name)
		}
	}
	for name, in := range inputs {
		long := in.head + strings.Replace(in.row, text, strings.Repeat(text, 1000), 1) + in.row + in.tail
		if out := convert(long, "--model", "m", "--from", name); out.Code != 0 || strings.Contains(in.row, `"`+text) && name != "weka" && name != "guidellmtrace" && len(out.Stdout) < 10e6 {
			t.Errorf("%s: a row of 10 MB: exit %d, %s", name, out.Code, out.Stderr)
		}
		r, w := io.Pipe()
		var top uint64
		go func() {
			io.WriteString(w, in.head)
			for n, i := 0, 0; n < size; n, i = n+len(in.row), i+1 {
				if _, err := io.WriteString(w, in.row); err != nil {
					return
				}
				if i%1000 == 999 {
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					top = max(top, m.HeapAlloc)
				}
			}
			io.WriteString(w, in.tail)
			w.Close()
		}()
		runtime.GC()
		var written counter
		var stderr bytes.Buffer
		if code := Main(t.Context(), []string{"--model", "m", "--from", name}, r, &written, &stderr); code != 0 {
			t.Errorf("%s: %s", name, stderr.String())
		}
		r.Close()
		t.Logf("%s: %d MiB of heap at most, %d MB of trace", name, top>>20, written/1e6)
		if top > 48<<20 {
			t.Errorf("%s: %d MiB of heap for %d MiB of input", name, top>>20, size>>20)
		}
	}
}

func TestList(t *testing.T) {
	want := outcome{0, Table(), ""}
	if d := cmp.Diff(want, convert("", "--list")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestShapeOptions(t *testing.T) {
	const row = `{"input_length":65,"output_length":1,"hash_ids":[1,2,3,4,5]}`
	if got := convert(row, "--model", "m", "--block-size", "16", "--vocab", "2000"); got.Code != 0 || strings.Count(got.Stdout, ",1") < 60 {
		t.Errorf("%+v", got)
	}
	// A length is asked for where there is none; a body stays as it is, and means what it says.
	_, out, side := converted(t, `{"payload":{"prompt":"x"}}`+"\n"+`{"text_input":"x"}`+"\n"+`{"text_input":"x","output_length":3}`, "--no-stream", "--output-tokens", "9")
	const chat = `{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":`
	if want := `{"prompt":"x"}` + "\n" + chat + `9,"min_tokens":9,"ignore_eos":true,"temperature":0}` + "\n" + chat + `3,"min_tokens":3,"ignore_eos":true,"temperature":0}` + "\n"; out != want {
		t.Error(cmp.Diff(want, out))
	}
	if want := `{"line":1}` + "\n" + `{"line":2,"output_tokens":9}` + "\n" + `{"line":3,"output_tokens":3}` + "\n"; side != want {
		t.Error(cmp.Diff(want, side))
	}
	hint := "convert: hint: see convert --help\n"
	for arg, want := range map[string]string{
		"--block-size=0":      "convert: --block-size 0: want at least 1\n" + hint,
		"--output-tokens=0":   "convert: --output-tokens 0: want 1 to 2147483647\n" + hint,
		"--vocab=1999":        "convert: --vocab: a vocabulary of 1999 entries: want at least 2000, since none below 1000 is used\n" + hint,
		"--vocab=-1":          "convert: --vocab: a vocabulary of -1 entries: want at least 2000, since none below 1000 is used\n" + hint,
		"--vocab=99999999999": "convert: --vocab 99999999999: too large\n" + hint,
	} {
		if d := cmp.Diff(outcome{2, "", want}, convert(row, "--model", "m", arg)); d != "" {
			t.Errorf("%s (-want +got):\n%s", arg, d)
		}
	}
	// A body has its own model.
	if got := convert(`{"payload":{"model":"a","prompt":"x"}}`); got.Code != 0 || got.Stdout != "{\"model\":\"a\",\"prompt\":\"x\"}\n" {
		t.Errorf("%+v", got)
	}
}
