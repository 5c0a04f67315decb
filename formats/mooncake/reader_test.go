package mooncake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/formats"
	"wattrace/formats/tokens"
	"wattrace/trace"
)

func readAll(in string, o Options) (rows []formats.Request, errs []string) {
	r := NewReader(strings.NewReader(in), "m.jsonl", o)
	for {
		var row formats.Request
		err := r.Read(&row)
		if err == io.EOF {
			return rows, errs
		}
		var syntax *trace.SyntaxError
		if err != nil {
			errs = append(errs, err.Error())
			if !errors.As(err, &syntax) {
				return rows, errs
			}
			continue
		}
		row.Prompt, row.Messages = bytes.Clone(row.Prompt), bytes.Clone(row.Messages)
		row.Tools, row.Body = bytes.Clone(row.Tools), bytes.Clone(row.Body)
		rows = append(rows, row)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	const in = `{"timestamp": 27482, "input_length": 5, "output_length": 52, "hash_ids": [46 , 18446744073709551615]}
{"timestamp":0.5,"session_id":"a","messages":[{"role":"user","content":"é \ud800"}],"tools":[{}],"output_length":9,"priority":3}` + "\r\n\n" +
		`{"delay":500,"session_id":"b","text_input":"Hello","input_length":7}
{"delay":500,"session_id":"a","text_input":"And \"then\"?","output_length":null,"extra":{},"message_mode":"history"}
{"payload":{"model":"m", "prompt":"x","temperature":1.0e0}}
{"chat_id":159,"parent_chat_id":-1,"timestamp":61.114,"input_length":17,"output_length":13,"type":"text","turn":1,"hash_ids":[1,2]}
{"input_length":3,"output_length":1}`
	rows, errs := readAll(in, Options{BlockTokens: 3, Vocab: 5000})
	if len(errs) != 1 || !strings.HasPrefix(errs[0], `m.jsonl:7:126: "hash_ids" has 2 blocks of 3 tokens where "input_length" needs 6`) {
		t.Fatal(errs)
	}
	v := tokens.Vocab(5000)
	at := func(line int) trace.Pos { return trace.Pos{File: "m.jsonl", Line: line} }
	want := []formats.Request{
		{
			Pos: at(1), Made: true, IDs: v.AppendBlock(v.AppendBlock(nil, 46, 3), 1<<64-1, 2),
			Timing: trace.Timing{AtSeconds: trace.Some(27.482), InputTokens: trace.Some[int64](5), OutputTokens: trace.Some[int64](52)},
		},
		{
			Pos: at(2), Messages: []byte(`[{"role":"user","content":"é \ud800"}]`), Tools: []byte(`[{}]`), Conversation: "a",
			Timing: trace.Timing{AtSeconds: trace.Some(0.0005), OutputTokens: trace.Some[int64](9)},
		},
		{
			Pos: at(4), Prompt: []byte(`"Hello"`), Conversation: "b",
			Timing: trace.Timing{DelaySeconds: trace.Some(0.5), InputTokens: trace.Some[int64](7)},
		},
		{
			Pos: at(5), Prompt: []byte(`"And \"then\"?"`), Conversation: "a", Turn: 1,
			Timing: trace.Timing{DelaySeconds: trace.Some(0.5)},
		},
		{Pos: at(6), Body: []byte(`{"model":"m", "prompt":"x","temperature":1.0e0}`)},
		{
			Pos: at(8), Made: true, IDs: v.AppendUnique(nil, 8, 3),
			Timing: trace.Timing{InputTokens: trace.Some[int64](3), OutputTokens: trace.Some[int64](1)},
		},
	}
	if d := cmp.Diff(want, rows); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}

	// The formats' own blocks, and seconds in the one.
	rows, errs = readAll(`{"chat_id":159,"timestamp":61.114,"input_length":17,"output_length":13,"hash_ids":[1,2]}
{"timestamp":61.114,"input_length":513,"output_length":13,"hash_ids":[1,2]}`, Options{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	want = []formats.Request{
		{
			Pos: at(1), Made: true, IDs: tokens.Default.AppendBlock(tokens.Default.AppendBlock(nil, 1, 16), 2, 1),
			Timing: trace.Timing{ID: "159", AtSeconds: trace.Some(61.114), InputTokens: trace.Some[int64](17), OutputTokens: trace.Some[int64](13)},
		},
		{
			Pos: at(2), Made: true, IDs: tokens.Default.AppendBlock(tokens.Default.AppendBlock(nil, 1, 512), 2, 1),
			Timing: trace.Timing{AtSeconds: trace.Some(0.061114), InputTokens: trace.Some[int64](513), OutputTokens: trace.Some[int64](13)},
		},
	}
	if d := cmp.Diff(want, rows); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Each input has the marker where its fault must be reported. A good row
// before and after it must be read all the same.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	const good = `{"input_length":1,"output_length":1}`
	for marked, want := range map[string]string{
		`∑[1,2]`:              "not a JSON object, but an array",
		`{"timestamp":1∑`:     "not JSON: the line ends inside a value",
		good + ` ∑{}`:         "data after the JSON object",
		`∑{}`:                 `none of "input_length", "text_input", "messages" and "payload" is there`,
		`∑{"input_length":5}`: `"output_length" is missing`,
		`∑{"input_length":5,"output_length":null}`:                               `"output_length" is missing`,
		`{"input_length":∑0,"output_length":1}`:                                  `"input_length" must be at least 1`,
		`{"input_length":∑16777217,"output_length":1}`:                           `"input_length" is too large`,
		`{"input_length":∑1.5,"output_length":1}`:                                `"input_length" must be an integer`,
		`{"input_length":∑"5","output_length":1}`:                                `"input_length" must be an integer`,
		`{"input_length":5,"output_length":∑0}`:                                  `"output_length" must be at least 1`,
		`{"input_length":5,"output_length":∑2147483648}`:                         `"output_length" is too large`,
		`{"input_length":5,"input_length":∑5}`:                                   `"input_length" is there twice`,
		`{"input_length":5,"output_length":1,"hash_ids":∑[]}`:                    `"hash_ids" has 0 blocks of 512 tokens where "input_length" needs 1`,
		`{"input_length":512,"output_length":1,"hash_ids":∑[1,2]}`:               `"hash_ids" has 2 blocks of 512 tokens where "input_length" needs 1`,
		`{"hash_ids":∑{}}`:                                                       `"hash_ids" must be an array`,
		`{"hash_ids":[1, ∑-1]}`:                                                  `a hash in "hash_ids" must be an integer from 0 to 2^64-1`,
		`{"hash_ids":[∑1.0]}`:                                                    `a hash in "hash_ids" must be an integer from 0 to 2^64-1`,
		`{"hash_ids":[∑"1"]}`:                                                    `a hash in "hash_ids" must be an integer from 0 to 2^64-1`,
		`{"hash_ids":[∑18446744073709551616]}`:                                   `a hash in "hash_ids" must be an integer from 0 to 2^64-1`,
		`{"timestamp":∑"0","text_input":"x"}`:                                    `"timestamp" must be a number`,
		`{"timestamp":∑-1,"text_input":"x"}`:                                     `"timestamp" is negative`,
		`{"timestamp":∑1e999,"text_input":"x"}`:                                  `"timestamp" is beyond what can be scheduled`,
		`{"timestamp":∑1e11,"text_input":"x","chat_id":1}`:                       `"timestamp" is beyond what can be scheduled`,
		`{"delay":∑true,"text_input":"x"}`:                                       `"delay" must be a number`,
		`{"delay":∑-0.1,"text_input":"x"}`:                                       `"delay" is negative`,
		`{"session_id":∑"","text_input":"x"}`:                                    `"session_id" is empty`,
		`{"session_id":∑1,"text_input":"x"}`:                                     `"session_id" must be a string`,
		`{"session_id":∑"\ud800","text_input":"x"}`:                              `"session_id" is not valid Unicode`,
		`{"text_input":∑["x"]}`:                                                  `"text_input" must be a string`,
		`{"messages":∑{}}`:                                                       `"messages" must be an array that is not empty`,
		`{"messages":∑[]}`:                                                       `"messages" must be an array that is not empty`,
		`{"payload":∑[]}`:                                                        `"payload" must be an object`,
		`{"payload": ∑{"model":"m"}}`:                                            `none of the keys "messages", "prompt" and "input" is there`,
		`{"payload":{"prompt":"x"},"messages":∑[{}]}`:                            `both "payload" and "messages"`,
		`{"text_input":"x","tools":∑[{}]}`:                                       `"tools" without "messages"`,
		`{"messages":[{}],"tools":∑{}}`:                                          `"tools" must be an array`,
		`{"messages":[{}],"extra":∑{"a":1}}`:                                     `"extra" is not supported`,
		`{"messages":[{}],"message_mode":∑"delta"}`:                              `"message_mode" must be "history": others need the answers`,
		`{"chat_id":∑"a","text_input":"x"}`:                                      `"chat_id" must be an integer`,
		"∑\ufeff" + good:                                                         "a byte order mark, which does not belong in JSON Lines",
		`{"text_input":"x` + "∑\xff" + `"}`:                                      "not JSON: invalid UTF-8",
		`{"x":` + strings.Repeat("[", 9_999) + "∑" + strings.Repeat("[", 10_000): "not JSON: nested too deep",
	} {
		before, after, _ := strings.Cut(marked, "∑")
		rows, errs := readAll(good+"\n"+before+after+"\n"+good, Options{})
		wantErr := fmt.Sprintf("m.jsonl:2:%d: %s", len(before)+1, want)
		if d := cmp.Diff([]string{wantErr}, errs); d != "" {
			t.Errorf("%.80s (-want +got):\n%s", marked, d)
		}
		if len(rows) != 2 || rows[1].Pos.Line != 3 {
			t.Errorf("%.80s: %d other rows", marked, len(rows))
		}
	}
}

// A faulty row of a session is none of its turns.
func TestTurns(t *testing.T) {
	t.Parallel()
	rows, errs := readAll(`{"session_id":"a","text_input":"x"}
{"session_id":"a","text_input":1}
{"session_id":"a","text_input":"x"}`, Options{})
	if len(errs) != 1 || len(rows) != 2 || rows[1].Turn != 1 {
		t.Errorf("%v %v", rows, errs)
	}
}

// The real trace: what shares hashes shares tokens, and nothing else does.
func TestConversation(t *testing.T) {
	t.Parallel()
	in, err := os.ReadFile("testdata/conversation200.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	rows, errs := readAll(string(in), Options{})
	if len(rows) != 200 || len(errs) > 0 {
		t.Fatalf("%d rows, %v", len(rows), errs)
	}
	var hashes [][]int
	for i, line := range strings.Split(strings.TrimSpace(string(in)), "\n") {
		var want struct {
			Timestamp              float64
			Input_length, Hash_ids json.RawMessage
		}
		var ids []int
		if err := json.Unmarshal([]byte(line), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(want.Hash_ids, &ids); err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, ids)
		if got := fmt.Sprint(len(rows[i].IDs)); got != string(want.Input_length) || rows[i].Timing.AtSeconds.V != want.Timestamp/1000 {
			t.Errorf("row %d: %s ids, at %v", i, got, rows[i].Timing.AtSeconds)
		}
	}
	shared := func(i, j int) (hash, ids int) {
		for hash < min(len(hashes[i]), len(hashes[j])) && hashes[i][hash] == hashes[j][hash] {
			hash++
		}
		for ids < min(len(rows[i].IDs), len(rows[j].IDs)) && rows[i].IDs[ids] == rows[j].IDs[ids] {
			ids++
		}
		return hash, ids
	}
	for i := range rows {
		for j := range i {
			hash, ids := shared(i, j)
			if ids < min(hash*512, len(rows[i].IDs), len(rows[j].IDs)) || ids > hash*512+3 {
				t.Errorf("rows %d and %d: %d hashes, %d ids in common", j, i, hash, ids)
			}
		}
	}
}

// Whatever the lengths and hashes, a prompt has exactly its length and its blocks.
func TestLengths(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		block := rapid.SampledFrom([]int{1, 16, 64, 512}).Draw(t, "block")
		hashes := rapid.SliceOfN(rapid.Uint64(), 1, 20).Draw(t, "hashes")
		last := rapid.IntRange(1, block).Draw(t, "last")
		input := (len(hashes)-1)*block + last
		b, err := json.Marshal(map[string]any{"input_length": input, "output_length": 1, "hash_ids": hashes})
		if err != nil {
			t.Fatal(err)
		}
		rows, errs := readAll(string(b), Options{BlockTokens: block})
		if len(errs) > 0 || len(rows[0].IDs) != input {
			t.Fatalf("%s: %v", b, errs)
		}
		for i, hash := range hashes {
			got := rows[0].IDs[i*block : min(input, (i+1)*block)]
			if !slices.Equal(got, tokens.Default.AppendBlock(nil, hash, len(got))) {
				t.Fatalf("block %d of %s", i, b)
			}
		}
	})
}

func TestReadPassesErrorsOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	r := NewReader(io.MultiReader(strings.NewReader(`{"text_input":"x"`), iotest.ErrReader(broken)), "-", Options{})
	var row formats.Request
	if err := r.Read(&row); err != broken {
		t.Errorf("got %v", err)
	}
}

// What is read is what another JSON decoder reads, or it is refused.
func FuzzReadEqualsEncodingJSON(f *testing.F) {
	f.Add(`{"timestamp":27482,"input_length":6,"output_length":52,"hash_ids":[46]}`)
	f.Add(`{"timestamp":1.5,"session_id":"a","messages":[{"role":"user"}],"output_length":9}`)
	f.Add(`{"delay":0,"text_input":"\ud83d\ude00","chat_id":3}`)
	f.Add(`{"payload":{"prompt":"x"}}`)
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "\n") {
			return
		}
		rows, _ := readAll(line, Options{})
		if len(rows) == 0 {
			return
		}
		var exact map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &exact); err != nil {
			t.Fatalf("%q was read, but %v", line, err)
		}
		row := rows[0]
		equal := func(key string, got []byte) {
			if got != nil && !bytes.Equal(exact[key], got) {
				t.Fatalf("%q: %s is %q", line, key, got)
			}
		}
		equal("text_input", row.Prompt)
		equal("messages", row.Messages)
		equal("payload", row.Body)
		equal("tools", row.Tools)
		given := 0
		for _, set := range []bool{row.IDs != nil, row.Prompt != nil, row.Messages != nil, row.Body != nil} {
			if set {
				given++
			}
		}
		if given != 1 {
			t.Fatalf("%q: %+v", line, row)
		}
		if n, ok := row.Timing.InputTokens.Get(); ok && (fmt.Sprint(n) != string(exact["input_length"]) || row.IDs != nil && int64(len(row.IDs)) != n) {
			t.Fatalf("%q: %d input tokens", line, n)
		}
	})
}
