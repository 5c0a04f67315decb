package convert

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
	"wattrace/formats/bodies"
	"wattrace/formats/traces"
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
