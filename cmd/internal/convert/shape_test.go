package convert

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/formats"
	"wattrace/formats/traces"
	"wattrace/trace"
)

// turns are what a test's trace has.
func drawTurns(t *rapid.T) (turns []trace.Turn) {
	next := map[string]int{}
	at := float64(rapid.IntRange(0, 5).Draw(t, "start"))
	for i := range rapid.IntRange(1, 30).Draw(t, "turns") {
		turn := trace.Turn{
			Payload:      []byte(fmt.Sprintf(`{"n": %d,"prompt":"é\u00e9 1.0e0"}`, i)),
			Conversation: rapid.SampledFrom([]string{"", "", "a", "b/ä", "c"}).Draw(t, "conversation"),
			Timing:       trace.Timing{AtSeconds: trace.Some(at), InputTokens: trace.Some(int64(rapid.IntRange(1, 20).Draw(t, "input"))), ID: fmt.Sprint("id", i)},
		}
		if turn.Conversation != "" {
			turn.Index = next[turn.Conversation]
			next[turn.Conversation]++
		}
		if turn.Index > 0 && rapid.Bool().Draw(t, "delayed") {
			turn.Timing.AtSeconds = trace.Opt[float64]{}
			turn.Timing.DelaySeconds = trace.Some(0.5)
		}
		at += float64(rapid.IntRange(0, 3).Draw(t, "gap"))
		turns = append(turns, turn)
	}
	return turns
}

// laid writes turns as a trace with its side file.
func laid(t *rapid.T, dir string, turns []trace.Turn) string {
	var body, side bytes.Buffer
	w, s := trace.NewWriter(&body), trace.NewTimingWriter(&side)
	for i, turn := range turns {
		if err := w.Write(turn.Payload); err != nil {
			t.Fatal(err)
		}
		if err := s.Write(trace.TimingEntry{Line: int64(i + 1), Conversation: turn.Conversation, Turn: turn.Index, Timing: turn.Timing}); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	s.Flush()
	path := filepath.Join(dir, "in.jsonl")
	for name, b := range map[string]*bytes.Buffer{path: &body, path + trace.TimingSuffix: &side} {
		if err := os.WriteFile(name, b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// shaped converts a trace and returns what replay would load; nothing if nothing is left.
func shaped(t *rapid.T, in, out string, args ...string) []trace.Turn {
	got := convert("", append(args, "--force", "-o", out, in)...)
	if got.Code == 1 && strings.Contains(got.Stderr, ": no request is left: ") {
		return nil
	}
	if got.Code != 0 {
		t.Fatalf("%v: %+v", args, got)
	}
	loaded, closer, err := traces.Load(out, "", nil)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	defer closer.Close()
	turns := slices.Clone(loaded.Turns)
	for i := range turns {
		turns[i].Payload = bytes.Clone(turns[i].Payload)
		turns[i].Pos, turns[i].Endpoint = trace.Pos{}, ""
	}
	return turns
}

// indexes returns where turns, which may have other times, stand in all.
func indexes(t *rapid.T, all, turns []trace.Turn) (at []int) {
	for _, turn := range turns {
		i := slices.IndexFunc(all, func(x trace.Turn) bool {
			return bytes.Equal(x.Payload, turn.Payload) && x.Timing.ID == turn.Timing.ID && x.Conversation == turn.Conversation && x.Index == turn.Index && x.Timing.InputTokens == turn.Timing.InputTokens
		})
		if i < 0 {
			t.Fatalf("%s is none of the trace", turn.Payload)
		}
		at = append(at, i)
	}
	if !slices.IsSorted(at) || len(slices.Compact(slices.Clone(at))) != len(at) {
		t.Fatalf("not in the order of the trace: %d", at)
	}
	return at
}

// unbroken fails if a turn is there without the one before it.
func unbroken(t *rapid.T, turns []trace.Turn) {
	next := map[string]int{}
	for _, turn := range turns {
		if turn.Conversation != "" {
			if turn.Index != next[turn.Conversation] {
				t.Fatalf("turn %d of %s follows turn %d", turn.Index, turn.Conversation, next[turn.Conversation]-1)
			}
			next[turn.Conversation]++
		}
	}
}

func units(turns []trace.Turn) (n int) {
	seen := map[string]bool{}
	for _, turn := range turns {
		if turn.Conversation == "" || !seen[turn.Conversation] {
			n++
		}
		seen[turn.Conversation] = true
	}
	return n
}

func TestShapeProperties(t *testing.T) {
	dir := t.TempDir()
	out, again := filepath.Join(dir, "out.jsonl"), filepath.Join(dir, "again.jsonl")
	same := func(t *rapid.T, what string, want, got []trace.Turn) {
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%s (-want +got):\n%s", what, d)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		all := drawTurns(t)
		in := laid(t, dir, all)

		n := rapid.IntRange(1, 35).Draw(t, "n")
		limit := fmt.Sprint("--limit=", n)
		same(t, "limit", all[:min(n, len(all))], shaped(t, in, out, limit))
		same(t, "limit twice", all[:min(n, len(all))], shaped(t, out, again, limit))

		// A sample has so many whole conversations, and a larger one has all of it.
		seed := fmt.Sprint("--seed=", rapid.Int64().Draw(t, "seed"))
		sample := shaped(t, in, out, fmt.Sprint("--sample=", n), seed)
		if got := units(sample); got != min(n, units(all)) {
			t.Fatalf("a sample of %d of %d has %d", n, units(all), got)
		}
		taken := indexes(t, all, sample)
		talks := map[string]bool{}
		for _, turn := range sample {
			talks[turn.Conversation] = true
		}
		for i, turn := range all {
			if turn.Conversation != "" && talks[turn.Conversation] != slices.Contains(taken, i) {
				t.Fatalf("conversation %s is torn", turn.Conversation)
			}
		}
		same(t, "sample of all that it has", sample, shaped(t, out, again, fmt.Sprint("--sample=", n), seed))
		larger := indexes(t, all, shaped(t, in, again, fmt.Sprint("--sample=", n+1), seed))
		for _, i := range taken {
			if !slices.Contains(larger, i) {
				t.Fatalf("a sample of %d lacks what one of %d has", n+1, n)
			}
		}
		same(t, "sample of all", all, shaped(t, in, out, fmt.Sprint("--sample=", len(all))))

		// A time range and the rest are the whole; times count from its start.
		cut := time.Duration(rapid.IntRange(1, 40).Draw(t, "cut")) * time.Second
		before := shaped(t, in, out, "--before", cut.String())
		same(t, "before twice", before, slices.Clone(func() []trace.Turn {
			if before == nil {
				return nil
			}
			return shaped(t, out, again, "--before", cut.String())
		}()))
		after := shaped(t, in, out, "--after", cut.String())
		unbroken(t, before)
		unbroken(t, after)
		both := append(indexes(t, all, before), indexes(t, all, after)...)
		slices.Sort(both)
		if len(both) != len(all) || len(slices.Compact(both)) != len(all) {
			t.Fatalf("%d before and %d after %v of %d", len(before), len(after), cut, len(all))
		}
		for _, turn := range after {
			was := all[indexes(t, all, []trace.Turn{turn})[0]].Timing.AtSeconds
			if want := was.V - all[0].Timing.AtSeconds.V - cut.Seconds(); was.OK && math.Abs(turn.Timing.AtSeconds.V-max(0, want)) > 1e-9 {
				t.Fatalf("%v became %v", was, turn.Timing.AtSeconds)
			}
		}

		// Lengths end conversations, and what remains is short.
		most := rapid.IntRange(1, 20).Draw(t, "most")
		short := shaped(t, in, out, fmt.Sprint("--max-input-tokens=", most))
		indexes(t, all, short)
		unbroken(t, short)
		for _, turn := range short {
			if turn.Timing.InputTokens.V > int64(most) {
				t.Fatalf("%d tokens", turn.Timing.InputTokens.V)
			}
		}
		if short != nil {
			same(t, "lengths twice", short, shaped(t, out, again, fmt.Sprint("--max-input-tokens=", most)))
		}

		// A directory has the same, by conversation; and back in a file.
		d := filepath.Join(dir, "chats") + "/"
		chats := shaped(t, in, d)
		var names []string
		for i, turn := range chats {
			if i == 0 || turn.Conversation != chats[i-1].Conversation {
				names = append(names, turn.Conversation)
			}
		}
		if len(names) != units(all) || !slices.IsSorted(names) {
			t.Fatalf("%d conversations of %d: %q", len(names), units(all), names)
		}
		var grouped []trace.Turn
		done := map[string]bool{}
		for _, turn := range all {
			switch {
			case turn.Conversation == "":
				grouped = append(grouped, turn)
			case !done[turn.Conversation]:
				done[turn.Conversation] = true
				for _, other := range all {
					if other.Conversation == turn.Conversation {
						grouped = append(grouped, other)
					}
				}
			}
		}
		for i := range grouped {
			grouped[i].Conversation = chats[i].Conversation
			if grouped[i].Index != chats[i].Index {
				t.Fatalf("turn %d: %d", i, chats[i].Index)
			}
		}
		same(t, "directory", grouped, chats)
		same(t, "directory in a file", grouped, shaped(t, d, out))
		same(t, "directory in a directory", grouped, shaped(t, d, filepath.Join(dir, "more")+"/"))
		if err := os.RemoveAll(d); err != nil {
			t.Fatal(err)
		}
	})
}

// A sample is drawn evenly, and by the seed.
func TestSampleIsUniform(t *testing.T) {
	counts := make([]int, 10)
	for seed := range uint64(4000) {
		s := &sampler{most: 3, seed: mix(seed)}
		for unit := range int64(10) {
			s.offer(unit)
		}
		got := s.chosen()
		if len(got) != 3 {
			t.Fatal(got)
		}
		for unit := range got {
			counts[unit]++
		}
	}
	for unit, n := range counts {
		if n < 1060 || n > 1340 { // 1,200 ± 4.8 standard deviations
			t.Errorf("%d was taken %d times of 4,000, want 1,200: %d", unit, n, counts)
		}
	}
}

func TestShapeWords(t *testing.T) {
	const side = `{"line":1,"at_seconds":100,"input_tokens":5}
{"line":2,"at_seconds":101,"conversation":"a","turn":0,"input_tokens":50}
{"line":3,"delay_seconds":3,"conversation":"a","turn":1,"input_tokens":5}
{"line":5,"at_seconds":160,"input_tokens":6}
{"line":6,"at_seconds":161}
`
	body := func(n int) string { return fmt.Sprintf("{\"prompt\": [ %d ] }\n", n) }
	in := body(1) + body(2) + body(3) + "\n" + body(4) + body(5)
	dir := t.TempDir()
	path, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	for name, content := range map[string]string{path: in, path + ".timing": side} {
		if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args          []string
		trace, timing string
		stderr        string
	}{
		{
			[]string{"--max-input-tokens", "10", "--speedup", "10"}, body(1) + body(4) + body(5),
			`{"line":1,"at_seconds":10,"input_tokens":5}` + "\n" + `{"line":2,"at_seconds":16,"input_tokens":6}` + "\n" + `{"line":3,"at_seconds":16.1,"input_tokens":1}` + "\n",
			"convert: left out: 1 of more than 10 tokens, 1 that follow those in their conversations\nconvert: 3 requests: 0 with token ids, 0 with text, 3 as they were\n",
		},
		{
			[]string{"--after", "1s", "--before", "1m", "--speedup", "0.5"}, body(2) + body(3),
			`{"line":1,"at_seconds":0,"conversation":"a","turn":0,"input_tokens":50}` + "\n" + `{"line":2,"delay_seconds":6,"conversation":"a","turn":1,"input_tokens":5}` + "\n",
			"convert: left out: 3 outside the time range\nconvert: 2 requests: 0 with token ids, 0 with text, 2 as they were\n",
		},
	} {
		got := convert("", append(c.args, "--force", "-o", out, path)...)
		trace, _ := os.ReadFile(out)
		timing, _ := os.ReadFile(out + ".timing")
		want := []any{outcome{0, "", c.stderr}, c.trace, c.timing}
		if d := cmp.Diff(want, []any{got, string(trace), string(timing)}); d != "" {
			t.Errorf("%v (-want +got):\n%s", c.args, d)
		}
	}

	// From a pipe, twice over for a sample, with a side file that is named.
	got := convert(in, "--sample", "4", "--from-timing", path+".timing")
	if got.Code != 0 || got.Stdout != strings.ReplaceAll(in, "\n\n", "\n") {
		t.Errorf("%+v", got)
	}
	if got := convert(side, "--limit", "1", "--from-timing", "-", path); got.Code != 0 || got.Stdout != body(1) {
		t.Errorf("%+v", got)
	}

	hint := "convert: hint: see convert --help\n"
	for _, c := range []struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		{in, []string{"--limit", "0"}, 2, "convert: --limit 0: want at least 1\n" + hint},
		{in, []string{"--sample=-1"}, 2, "convert: --sample -1: want at least 1\n" + hint},
		{in, []string{"--max-input-tokens", "0"}, 2, "convert: --max-input-tokens 0: want at least 1\n" + hint},
		{in, []string{"--after=-1s"}, 2, "convert: --after -1s: is negative\n" + hint},
		{in, []string{"--after=2s", "--before", "2s"}, 2, "convert: --before 2s: want a time after --after 2s\n" + hint},
		{in, []string{"--before", "0"}, 2, "convert: --before 0s: want a time after --after 0s\n" + hint},
		{in, []string{"--speedup", "0"}, 2, "convert: --speedup 0: want a number above 0\n" + hint},
		{in, []string{"--speedup", "NaN"}, 2, "convert: --speedup NaN: want a number above 0\n" + hint},
		{in, []string{"--seed", "1"}, 2, "convert: --seed is for --sample\n" + hint},
		{in, []string{"--endpoint", "x"}, 2, "convert: --endpoint \"x\": want chat or completions\n" + hint},
		{in, []string{"--as-text"}, 2, "convert: --as-text needs a --tokenizer\n" + hint},
		{in, []string{"--tokenizer", "t", "--vocab", "9999"}, 2, "convert: --vocab and --tokenizer: the tokenizer has a vocabulary\n" + hint},
		{in, []string{"--to", "csv", "--limit", "1"}, 2, "convert: --to csv: - is a trace, which becomes aiperfinputs, mooncake, openaibatch, trtllm, vllm\n" + hint},
		{text, []string{"--limit", "1", "--from-timing", path}, 2, "convert: --from-timing is for a raw_payload trace, and - is a trtllm-bench dataset\n" + hint},
		{in, []string{"--limit", "1", "--from-timing", "-"}, 1, "convert: -: standard input cannot be both the trace and its side file\n"},
		{in, []string{"--after", "1s"}, 1, "convert: -:1:1: no time, by which --after and --before go\n"},
		{`{"prompt":"x"}`, []string{"--max-input-tokens", "1"}, 1, "convert: -:1:1: how many tokens the prompt has is not known, by which --max-input-tokens goes; --tokenizer counts those of texts\n"},
		{in, []string{"--after", "1h", "--from-timing", path + ".timing"}, 1, "convert: -: no request is left: 5 outside the time range\n"},
		{in, []string{"--speedup", "1e-300", "--from-timing", path + ".timing"}, 1, "convert: -:1:1: divided by --speedup 1e-300 it is beyond what can be scheduled\n"},
		{in + "{}\n", []string{"--sample", "9"}, 1, "convert: -:7:1: none of the keys \"messages\", \"prompt\" and \"input\" is there\n"},
	} {
		args := c.args
		if c.stdin == text {
			args = append(args, "--model", "m")
		}
		if d := cmp.Diff(outcome{c.code, "", c.want}, convert(c.stdin, args...)); d != "" {
			t.Errorf("%v (-want +got):\n%s", args, d)
		}
		// What means nothing means nothing with --to either.
		if c.code != 2 || slices.Contains(args, "--to") {
			continue
		}
		if d := cmp.Diff(outcome{c.code, "", c.want}, convert(c.stdin, append(args, "--to", "mooncake")...)); d != "" {
			t.Errorf("%v --to mooncake (-want +got):\n%s", args, d)
		}
	}
	// Bodies that are there already stay as they are, whatever is asked for.
	for _, arg := range []string{"--model=m", "--target=vllm", "--endpoint=chat", "--no-stream", "--block-size=9", "--vocab=9999", "--turns=first", "--output-tokens=9"} {
		flag, _, _ := strings.Cut(arg, "=")
		want := "convert: " + flag + " is for the bodies that are made of another tool's trace, and those of - stay as they are\n" + hint
		for _, more := range []string{"--limit=1", "--to=mooncake"} {
			if d := cmp.Diff(outcome{2, "", want}, convert(in, arg, more)); d != "" {
				t.Errorf("%s %s (-want +got):\n%s", arg, more, d)
			}
		}
	}
	if got := convert(`{"model":"m","prompt":"x"}`, "--to", "vllm", "--output-tokens", "9"); got.Code != 0 || !strings.Contains(got.Stdout, `"output_tokens":9`) {
		t.Errorf("%+v", got)
	}
	// Bad rows are skipped, and said to be once though they are read twice.
	got = convert(body(1)+"{}\n"+body(2), "--sample", "9", "--keep-going")
	if d := cmp.Diff(outcome{3, body(1) + body(2), "convert: skipped: -:2:1: none of the keys \"messages\", \"prompt\" and \"input\" is there\nconvert: 2 requests, 1 rows skipped\n"}, got); d != "" {
		t.Error(d)
	}
}

// A limit is of requests that are written, and a sample of all that there is.
func TestShapeCounts(t *testing.T) {
	t.Parallel()
	const ok, chat = `{"prompt":"x","max_tokens":1}` + "\n", `{"messages":[{"role":"user","content":"x"},{"role":"user","content":"y"}],"max_tokens":1}` + "\n"
	got := convert(chat+ok+chat+ok+ok, "--to", "vllm", "--keep-going", "--limit", "2")
	if got.Code != 3 || strings.Count(got.Stdout, "\n") != 2 || !strings.Contains(got.Stderr, "convert: 2 requests, 2 rows skipped\n") {
		t.Errorf("%+v", got)
	}
	const question = `{"task_id":1,"prompt":"x","output_tokens":1}` + "\n"
	const image = `{"task_id":1,"prompt":"x","output_tokens":1,"media_paths":["none.png"],"modality":"image"}` + "\n"
	got = convert(image+question+question, "--model", "m", "--keep-going", "--limit", "1")
	if got.Code != 3 || strings.Count(got.Stdout, "\n") != 1 {
		t.Errorf("%+v", got)
	}
	got = convert(strings.Repeat(ok, 9), "--sample", "5", "--limit", "1")
	if got.Code != 0 || strings.Contains(got.Stderr, "sample") && !strings.Contains(got.Stderr, "not in the sample of 5 of 9\n") {
		t.Errorf("%+v", got)
	}
	for seed := range 9 { // some sample begins after the first
		got := convert(strings.Repeat(ok, 9), "--sample", "1", "--limit", "1", "--seed", fmt.Sprint(seed))
		if n := strings.Count(got.Stderr, "left out"); n > 0 && !strings.Contains(got.Stderr, "not in the sample of 1 of 9\n") {
			t.Errorf("%+v", got)
		}
	}
}

// rows is a source of raw rows.
type rows struct {
	line []byte
	n    int
}

func (r *rows) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	total := 0
	for r.n > 0 && len(p) >= len(r.line) {
		n := copy(p, r.line)
		p, total, r.n = p[n:], total+n, r.n-1
	}
	return total, nil
}

// BenchmarkRows is what a trace that stays one costs, in memory that is a row's.
func BenchmarkRows(b *testing.B) {
	line := []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("the energy of a request, \\\"quoted\\\", ", 120) + `"}],"max_tokens":100}` + "\n")
	for b.Loop() {
		const n = 50_000
		b.SetBytes(int64(n * len(line)))
		var stderr bytes.Buffer
		if code := Main(b.Context(), []string{"-q", "--limit", fmt.Sprint(n)}, &rows{line, n}, io.Discard, &stderr); code != 0 {
			b.Fatal(stderr.String())
		}
	}
}

var _ formats.RequestReader = (*traces.RawReader)(nil)
