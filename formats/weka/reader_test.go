package weka

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
)

// readAll returns each request as line:col conversation/turn in/out delay, and its ids.
func readAll(in string, o Options) (rows, errs []string, ids [][]int32, r *Reader) {
	r = NewReader(strings.NewReader(in), "w", o)
	var row formats.Request
	for {
		err := r.Read(&row)
		if err == io.EOF {
			return rows, errs, ids, r
		}
		if err != nil {
			errs = append(errs, err.Error())
			if len(errs) > len(in) {
				return
			}
			continue
		}
		delay := "?"
		if v, ok := row.Timing.DelaySeconds.Get(); ok {
			delay = fmt.Sprint(v)
		}
		rows = append(rows, fmt.Sprintf("%d:%d %s/%d %d/%d %s", row.Pos.Line, row.Pos.Col, row.Conversation, row.Turn, row.Timing.InputTokens.V, row.Timing.OutputTokens.V, delay))
		ids = append(ids, slices.Clone(row.IDs))
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	const in = `[{"id":"a","block_size":4,"requests":[
 {"t":0,"type":"s","in":10,"out":2,"hash_ids":[1,2],"api_time":0.5},
 {"t":2,"type":"n","in":10,"out":2,"hash_ids":[1,2,3],"api_time":0.5},
 {"t":3,"type":"subagent","requests":[{"t":0,"in":4,"out":1,"hash_ids":[1],"think_time":0.1},
  {"t":1,"in":4,"out":0,"hash_ids":[1],"api_time":1},{"t":1.5,"in":4,"out":1,"hash_ids":[5]}]},
 {"t":9,"type":"s","in":10,"out":2,"hash_ids":[1,2]}]},
{"block_size":4,"hash_id_scope":"global","requests":[{"in":4,"out":1,"hash_ids":[1]}]},
{"id":7,"block_size":4,"hash_id_scope":"global","requests":[{"in":4,"out":1,"hash_ids":[1]},{"in":4,"out":1}]}]`
	rows, errs, ids, r := readAll(in, Options{})
	want := []string{
		"2:2 a/0 10/2 ?", "3:2 a/1 10/2 1.5", "4:39 a/2 4/1 0.1", "5:54 a/3 4/1 0", "6:2 a/4 10/2 ?", "7:54 2/0 4/1 ?", "8:61 7/0 4/1 ?", "8:93 7/1 4/1 ?",
	}
	if d := cmp.Diff(want, rows); d != "" || errs != nil {
		t.Errorf("%v (-want +got):\n%s", errs, d)
	}
	if n := r.Omissions()[0].N; n != 1 {
		t.Errorf("%d left out", n)
	}
	// The last block is whole by a hash, or its tokens are of this row only.
	if !slices.Equal(ids[0][:8], ids[1][:8]) || slices.Equal(ids[0][8:], ids[1][8:]) || !slices.Equal(ids[0][:8], ids[4][:8]) || slices.Equal(ids[0][8:], ids[4][8:]) {
		t.Error("within a conversation: ", ids)
	}
	if !slices.Equal(ids[0][:4], ids[2]) || slices.Equal(ids[0][:4], ids[5]) || !slices.Equal(ids[5], ids[6]) || slices.Equal(ids[6], ids[7]) {
		t.Error("across conversations: ", ids)
	}

	// Objects of their own.
	rows, errs, ids, _ = readAll(`{"id":"a","t":0,"in":64,"out":1,"hash_ids":[1],"api_time":0.25}
{"id":"b","t":5,"in":64,"out":1,"hash_ids":[1]}
{"id":"a","t":1,"in":64,"out":1,"hash_ids":[1]}`, Options{})
	if d := cmp.Diff([]string{"1:1 a/0 64/1 ?", "2:1 b/0 64/1 ?", "3:1 a/1 64/1 0.75"}, rows); d != "" || errs != nil {
		t.Errorf("%v (-want +got):\n%s", errs, d)
	}
	if !slices.Equal(ids[0], ids[2]) || slices.Equal(ids[0], ids[1]) {
		t.Error("objects of their own: ", ids)
	}
}

// Each input has the marker where its fault must be reported. A good object
// before and after it must be read all the same.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	const good = `{"requests":[{"in":1,"out":1}]}`
	const row = `{"in":64,"out":1}`
	for marked, want := range map[string]string{
		`∑{}`:                                                 `neither "requests" nor "id" is there`,
		`∑{"id":"a"}`:                                         `"in" is missing`,
		`{"id":∑"","requests":[]}`:                            `"id" is empty`,
		`{"id":∑"1","requests":[]}`:                           "another conversation has this id",
		`{"id":"a","id":∑"b"}`:                                `"id" is there twice`,
		`{"requests":∑{}}`:                                    `"requests" must be an array`,
		`{"requests":[∑1]}`:                                   "not a JSON object, but a number",
		`{"requests":[` + row + `,∑{"in":1}]}`:                `"out" is missing`,
		`{"requests":[{"in":∑16777217,"out":1}]}`:             `"in" is too large`,
		`{"requests":[{"in":∑0,"out":1}]}`:                    `"in" must be at least 1`,
		`{"requests":[{"in":1,"out":∑-1}]}`:                   `"out" must be at least 0`,
		`{"requests":[{"in":1,"out":1,"out":∑1}]}`:            `"out" is there twice`,
		`{"requests":[{"in":1,"out":1,"t":∑-1}]}`:             `"t" is negative`,
		`{"requests":[{"type":∑"x"}]}`:                        `"type" must be s, n or subagent`,
		`{"block_size":∑0,"requests":[]}`:                     `"block_size" must be at least 1`,
		`{"hash_id_scope":∑"x","requests":[]}`:                `"hash_id_scope" must be "local" or "global"`,
		`{"requests":[{"in":64,"out":1,"hash_ids":∑3}]}`:      `"hash_ids" must be an array`,
		`{"requests":[{"in":64,"out":1,"hash_ids":[1,∑-3]}]}`: `a hash in "hash_ids" must be an integer from 0 to 2^64-1`,
		`{"requests":[{"in":64,"out":1,"hash_ids":∑[1,2]}]}`:  `"hash_ids" has 2 blocks of 64 tokens where "in" needs 1`,
		`{"requests":[{"type":"subagent","requests":[{"type":∑"subagent","requests":[]}]}]}`:                           "a subagent where there can be none",
		`{"requests":[{"type":"subagent","requests":[` + row + `,{"in":1,"out":∑"1"}]}]}`:                              `"out" must be an integer`,
		`{"id":"x","type":∑"subagent","in":1}`:                                                                         "a subagent where there can be none",
		`{"requests":` + strings.Repeat("[", 9_999) + "∑" + strings.Repeat("[", 9) + strings.Repeat("]", 10_008) + "}": "not JSON: nested too deep",
	} {
		before, after, _ := strings.Cut(marked, "∑")
		rows, errs, _, _ := readAll(good+"\n"+before+after+"\n"+good, Options{})
		if d := cmp.Diff([]string{fmt.Sprintf("w:2:%d: %s", len(before)+1, want)}, errs); d != "" {
			t.Errorf("%.80s (-want +got):\n%s", marked, d)
		}
		if len(rows) != 2 || !strings.HasPrefix(rows[1], "3:14 ") {
			t.Errorf("%.80s: the others are %q", marked, rows)
		}
	}
}

// A prompt has as many ids as is said, in whatever input.
func FuzzRead(f *testing.F) {
	f.Add(`{"id":"a","block_size":4,"requests":[{"t":0,"in":10,"out":2,"hash_ids":[1,2]},{"type":"subagent","requests":[{"in":4,"out":1}]}]}`)
	f.Add(`{"id":"a","t":0,"in":64,"out":1,"hash_ids":[1]}`)
	f.Fuzz(func(t *testing.T, in string) {
		r := NewReader(strings.NewReader(in), "w", Options{})
		var row formats.Request
		turns := map[string]int{}
		for range len(in) + 1 {
			err := r.Read(&row)
			if err == io.EOF {
				return
			}
			if err != nil {
				continue
			}
			if n := int64(len(row.IDs)); n != row.Timing.InputTokens.V || n == 0 || row.Turn != turns[row.Conversation] {
				t.Fatalf("%q: %d ids, %+v", in, n, row.Timing)
			}
			turns[row.Conversation]++
		}
		if r.Read(&row) == nil {
			t.Fatalf("%q: requests without end", in)
		}
	})
}
