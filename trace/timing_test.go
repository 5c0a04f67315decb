package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var ignoreColumns = cmpopts.IgnoreUnexported(TimingEntry{})

func readTiming(in string) (entries []TimingEntry, errs []string) {
	r := NewTimingReader(strings.NewReader(in), "t")
	for {
		var e TimingEntry
		err := r.Read(&e)
		switch {
		case err == io.EOF:
			return entries, errs
		case err != nil:
			errs = append(errs, err.Error())
		default:
			entries = append(entries, e)
		}
	}
}

func TestTimingRead(t *testing.T) {
	t.Parallel()
	const in = `{"line":1,"at_seconds":1.25,"delay_seconds":0.5,"conversation":"a","turn":2,"input_tokens":812,"output_tokens":128,"id":"17"}` + "\r\n\n" +
		`{"conversation":"Gr\u00fc\u00dfe","later":{"line":[]},"at_seconds":0}` + "\n" +
		` { "line" : 9007199254740993 , "id" : null, "turn":null, "output_tokens":0, "at_seconds":1e-3, "delay_seconds":-0.0 } `
	want := []TimingEntry{
		{Pos: Pos{File: "t", Line: 1}, Line: 1, Conversation: "a", Turn: 2, Timing: Timing{
			AtSeconds: Some(1.25), DelaySeconds: Some(0.5), InputTokens: Some[int64](812), OutputTokens: Some[int64](128), ID: "17"}},
		{Pos: Pos{File: "t", Line: 3}, Conversation: "Grüße", Timing: Timing{AtSeconds: Some(0.0)}},
		{Pos: Pos{File: "t", Line: 4}, Line: 1<<53 + 1, Timing: Timing{OutputTokens: Some[int64](0), AtSeconds: Some(0.001), DelaySeconds: Some(0.0)}},
	}
	got, errs := readTiming(in)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if d := cmp.Diff(want, got, ignoreColumns); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if math.Signbit(got[2].DelaySeconds.V) {
		t.Error("-0.0 kept its sign")
	}
}

func TestTimingReadErrors(t *testing.T) {
	t.Parallel()
	for marked, want := range map[string]string{
		`∑[]`:                                             "not a JSON object, but an array",
		`{"line":1∑`:                                      "not JSON: the line ends inside a value",
		`{"line":1} ∑{}`:                                  "data after the JSON object",
		`∑` + "\ufeff{}":                                  "a byte order mark, which does not belong in JSON Lines",
		`∑{}`:                                             `neither "line" nor "conversation" is there`,
		`∑{"turn":1}`:                                     `neither "line" nor "conversation" is there`,
		`∑{"line":1,"turn":1}`:                            `"turn" without "conversation"`,
		`∑{"line":null}`:                                  `neither "line" nor "conversation" is there`,
		`{"line":∑0}`:                                     `"line" must be at least 1`,
		`{"line":∑-1}`:                                    `"line" must be at least 1`,
		`{"line":∑-99999999999999999999}`:                 `"line" must be at least 1`,
		`{"line":∑1.0}`:                                   `"line" must be an integer`,
		`{"line":∑1e3}`:                                   `"line" must be an integer`,
		`{"line":∑"1"}`:                                   `"line" must be an integer`,
		`{"line":∑true}`:                                  `"line" must be an integer`,
		`{"line":∑9223372036854775808}`:                   `"line" is too large`,
		`{"line":1,"line":∑1}`:                            `"line" is there twice`,
		`{"line":1,"l\u0069ne":∑1}`:                       `"line" is there twice`,
		`{"line":1,"turn":∑-1}`:                           `"turn" must be at least 0`,
		`{"line":1,"at_seconds":∑-0.5}`:                   `"at_seconds" is negative`,
		`{"line":1,"at_seconds":∑1e999}`:                  `"at_seconds" is beyond what can be scheduled`,
		`{"line":1,"at_seconds":∑-1e999}`:                 `"at_seconds" is negative`,
		`{"line":1,"at_seconds":∑"1"}`:                    `"at_seconds" must be a number`,
		`{"line":1,"delay_seconds":∑[1]}`:                 `"delay_seconds" must be a number`,
		`{"line":1,"at_seconds":∑1e18}`:                   `"at_seconds" is beyond what can be scheduled`,
		`{"line":1,"delay_seconds":∑2305843010}`:          `"delay_seconds" is beyond what can be scheduled`,
		`{"line":1,"delay_seconds":∑-1}`:                  `"delay_seconds" is negative`,
		`{"line":1,"input_tokens":∑1.5}`:                  `"input_tokens" must be an integer`,
		`{"line":1,"output_tokens":∑-1}`:                  `"output_tokens" must be at least 0`,
		`{"line":1,"input_tokens":∑9007199254740993}`:     `"input_tokens" is too large`,
		`{"line":1,"output_tokens":∑9223372036854775807}`: `"output_tokens" is too large`,
		`{"conversation":"a","turn":∑2147483648}`:         `"turn" is too large`,
		`{"line":1,"id":∑17}`:                             `"id" must be a string`,
		`{"line":1,"id":∑""}`:                             `"id" is empty`,
		`{"line":1,"id":∑"\ud800"}`:                       `"id" is not valid Unicode`,
		`{"line":1,"conversation":∑{}}`:                   `"conversation" must be a string`,
		`{"conversation":∑""}`:                            `"conversation" is empty`,
		`{"line":1,"x":∑}`:                                "not JSON: unexpected character",
		`{"line":1,"x":"` + "∑\xff" + `"}`:                "not JSON: invalid UTF-8",
		`{"line":1,"id":∑"` + "\xff" + `"}`:               `"id" is not valid Unicode`,
		`{"line":1,"id":null,"id":` + `∑"x"}`:             `"id" is there twice`,
	} {
		text, col := cutMarker(marked)
		entries, errs := readTiming(`{"line":7}` + "\n" + text + "\n" + `{"line":8}`)
		if d := cmp.Diff([]string{fmt.Sprintf("t:2:%d: %s", col, want)}, errs); d != "" {
			t.Errorf("%s (-want +got):\n%s", marked, d)
		}
		if len(entries) != 2 || entries[0].Line != 7 || entries[1].Line != 8 {
			t.Errorf("%s: the other entries are %v", marked, entries)
		}
	}
}

func TestTimingExample(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/example.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	turns, err := Split("example.jsonl", data)
	if err != nil {
		t.Fatal(err)
	}
	side, err := os.ReadFile("testdata/example.jsonl.timing")
	if err != nil {
		t.Fatal(err)
	}
	if err := ApplyTiming(bytes.NewReader(side), "example.jsonl.timing", turns); err != nil {
		t.Fatal(err)
	}
	type row struct {
		Line         int
		Endpoint     Endpoint
		Conversation string
		Index        int
		Timing       Timing
	}
	var got []row
	for _, t := range turns {
		got = append(got, row{t.Pos.Line, t.Endpoint, t.Conversation, t.Index, t.Timing})
	}
	n := Some[int64]
	want := []row{
		{1, Chat, "a", 0, Timing{AtSeconds: Some(0.0), InputTokens: n(10), OutputTokens: n(16), ID: "17"}},
		{2, Completions, "", 0, Timing{AtSeconds: Some(1.25), InputTokens: n(3), OutputTokens: n(128), ID: `request "18"`}},
		{4, Chat, "a", 1, Timing{DelaySeconds: Some(0.5)}},
		{5, Responses, "", 0, Timing{}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}

	// Written again, the side file is the same bytes.
	var b bytes.Buffer
	w := NewTimingWriter(&b)
	entries, errs := readTiming(string(side))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, e := range entries {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	if d := cmp.Diff(string(side), b.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func file(lines ...int) []Turn {
	var turns []Turn
	for _, l := range lines {
		turns = append(turns, Turn{Pos: Pos{File: "f", Line: l}})
	}
	return turns
}

func directory(counts ...int) []Turn {
	var turns []Turn
	for c, n := range counts {
		for i := range n {
			turns = append(turns, Turn{Conversation: string(rune('a' + c)), Index: i, Pos: Pos{File: "f", Line: i + 1}})
		}
	}
	return turns
}

func TestApplyTimingErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		turns func() []Turn
		in    string // the fault is at the marker
		want  string
	}{
		{func() []Turn { return file(1, 3) }, `{"line":∑2}`, "the trace has no request on that line"},
		{func() []Turn { return file(1, 3) }, `{"line":∑4}`, "the trace has no request on that line"},
		{func() []Turn { return file(1, 3) }, `{"line":1}` + "\n" + `{"id":"x","line":∑1}`, "the turn was named before"},
		{func() []Turn { return file(1, 3) }, `∑{"conversation":"a"}`, `"line" is missing, by which the turns of a file go`},
		{func() []Turn { return file(1, 3) }, `{"line":1,"conversation":"a"}` + "\n" + `{"line":3,"conversation":∑"a"}`, "the turn was named before"},
		{func() []Turn { return file(1, 3) }, `{"line":1,"conversation":"a","turn":1}` + "\n" + `{"line":3,"conversation":"a","turn":∑1}`, "the turn was named before"},
		{func() []Turn { return file(1, 3) }, `{"line":1}` + "\n" + `{"line":∑x}`, "not JSON: unexpected character"},
		{func() []Turn { return directory(2, 1) }, `{"conversation":"a","turn":∑2}`, "the trace has no such turn"},
		{func() []Turn { return directory(2, 1) }, `{"conversation":∑"c"}`, "the trace has no such turn"},
		{func() []Turn { return directory(2, 1) }, `{"conversation":"b"}` + "\n" + `{"conversation":∑"b","turn":0}`, "the turn was named before"},
		{func() []Turn { return directory(2, 1) }, `{"conversation":"b","line":∑1}`, `"line" in the side file of a directory, whose turns go by "conversation" and "turn"`},
	} {
		text, col := cutMarker(c.in)
		line := strings.Count(c.in[:strings.Index(c.in, marker)], "\n") + 1
		if line == 2 {
			col -= strings.Index(c.in, "\n") + 1
		}
		err := ApplyTiming(strings.NewReader(text), "f.timing", c.turns())
		want := fmt.Sprintf("f.timing:%d:%d: %s", line, col, c.want)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", c.in, err, want)
		}
	}
}

func TestApplyTimingDirectory(t *testing.T) {
	t.Parallel()
	turns := directory(2, 1)
	err := ApplyTiming(strings.NewReader(`{"conversation":"b","id":"x"}
{"conversation":"a","turn":1,"delay_seconds":2}`), "d.timing", turns)
	if err != nil {
		t.Fatal(err)
	}
	want := directory(2, 1)
	want[1].Timing.DelaySeconds = Some(2.0)
	want[2].Timing.ID = "x"
	if d := cmp.Diff(want, turns); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := ApplyTiming(strings.NewReader(""), "d.timing", turns); err != nil {
		t.Errorf("an empty side file: %v", err)
	}
}

func TestTimingWriterRefuses(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]TimingEntry{
		`neither "line" nor "conversation" is there`:      {},
		`"line" must be at least 1`:                       {Line: -1},
		`"turn" without "conversation"`:                   {Line: 1, Turn: 1},
		`"turn" is negative`:                              {Conversation: "a", Turn: -1},
		`"at_seconds" must be finite and not negative`:    {Line: 1, Timing: Timing{AtSeconds: Some(math.NaN())}},
		`"delay_seconds" must be finite and not negative`: {Line: 1, Timing: Timing{DelaySeconds: Some(math.Inf(1))}},
		`"input_tokens" is negative`:                      {Line: 1, Timing: Timing{InputTokens: Some[int64](-1)}},
		`"output_tokens" is negative`:                     {Line: 1, Timing: Timing{OutputTokens: Some[int64](-1)}},
		`"turn" is too large`:                             {Conversation: "a", Turn: math.MaxInt32 + 1},
		`"input_tokens" is too large`:                     {Line: 1, Timing: Timing{InputTokens: Some[int64](maxTokens + 1)}},
		`"output_tokens" is too large`:                    {Line: 1, Timing: Timing{OutputTokens: Some[int64](maxTokens + 1)}},
		`"id" is not UTF-8`:                               {Line: 1, Timing: Timing{ID: "\xff"}},
	} {
		var b bytes.Buffer
		w := NewTimingWriter(&b)
		if err := w.Write(e); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if w.Flush(); b.Len() > 0 {
			t.Errorf("%s: %q was written", want, b.String())
		}
	}
}

// What is written is read again, whatever is known and unknown.
func TestTimingRoundTrip(t *testing.T) {
	t.Parallel()
	seconds := rapid.Custom(func(t *rapid.T) Opt[float64] {
		return Opt[float64]{rapid.Float64Range(0, maxSeconds).Draw(t, "seconds"), true}
	})
	count := rapid.Custom(func(t *rapid.T) Opt[int64] { return Some(rapid.Int64Range(0, maxTokens).Draw(t, "count")) })
	rapid.Check(t, func(t *rapid.T) {
		e := TimingEntry{
			Line:         rapid.Int64Min(0).Draw(t, "line"),
			Conversation: rapid.String().Draw(t, "conversation"),
			Timing:       Timing{ID: rapid.String().Draw(t, "id")},
		}
		if e.Conversation != "" {
			e.Turn = rapid.IntRange(0, math.MaxInt32).Draw(t, "turn")
		}
		if e.Line == 0 && e.Conversation == "" {
			e.Line = 1
		}
		for _, f := range []*Opt[float64]{&e.AtSeconds, &e.DelaySeconds} {
			if rapid.Bool().Draw(t, "known") {
				*f = seconds.Draw(t, "v")
			}
		}
		for _, f := range []*Opt[int64]{&e.InputTokens, &e.OutputTokens} {
			if rapid.Bool().Draw(t, "known") {
				*f = count.Draw(t, "v")
			}
		}
		var b bytes.Buffer
		w := NewTimingWriter(&b)
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		got, errs := readTiming(b.String())
		if len(errs) > 0 || len(got) != 1 {
			t.Fatalf("%s: %v", b.String(), errs)
		}
		e.Pos = Pos{File: "t", Line: 1}
		if d := cmp.Diff(e, got[0], ignoreColumns); d != "" {
			t.Fatalf("%s (-want +got):\n%s", b.String(), d)
		}
	})
}

// Whatever a reader accepts a writer writes, and that reads the same.
func FuzzTimingRoundTrip(f *testing.F) {
	f.Add(`{"line":1,"at_seconds":1.25,"delay_seconds":0.5,"conversation":"a","turn":0,"input_tokens":812,"output_tokens":128,"id":"17"}`)
	f.Add("{\"conversation\":\"\\u0000\\n\",\"at_seconds\":5e-324}\n{\"line\":2,\"delay_seconds\":1e308}")
	f.Add(`{"line":1,"at_seconds":-0}`)
	f.Fuzz(func(t *testing.T, in string) {
		entries, _ := readTiming(in)
		var b bytes.Buffer
		w := NewTimingWriter(&b)
		for i, e := range entries {
			if err := w.Write(e); err != nil {
				t.Fatalf("%+v: %v", e, err)
			}
			entries[i].Pos = Pos{File: "t", Line: i + 1}
		}
		w.Flush()
		again, errs := readTiming(b.String())
		if len(errs) > 0 {
			t.Fatalf("%s: %v", b.String(), errs)
		}
		if d := cmp.Diff(entries, again, ignoreColumns); d != "" {
			t.Fatalf("(-first +second):\n%s", d)
		}
	})
}
