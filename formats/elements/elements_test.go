package elements

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/trace"
)

func readAll(r io.Reader, key string) (got []string, err error) {
	e := NewReader(r, "f", key)
	for {
		v, pos, err := e.Read(nil)
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, fmt.Sprintf("%d:%d %s", pos.Line, pos.Col, v))
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, key string
		want    []string
	}{
		{"", "", nil},
		{" \n", "", nil},
		{"[]", "", nil},
		{" [ ]\n", "", nil},
		{"[{\"a\":\"]\\\"}\"},\r\n  {\"b\":[[1]]} ,3,\"x\",null, [2]\n]\n", "",
			[]string{`1:2 {"a":"]\"}"}`, `2:3 {"b":[[1]]}`, `2:16 3`, `2:18 "x"`, `2:22 null`, `2:28 [2]`}},
		{"{\"a\":1}\n{\"b\":\n2} {}", "", []string{`1:1 {"a":1}`, "2:1 {\"b\":\n2}", `3:4 {}`}},
		{"{\"x\":[1],\"data\" : [\n {}, {}],\"y\":{\"data\":[]},\"z\":0}", "data", []string{"2:2 {}", "2:6 {}"}},
		{`{"data":[]}`, "data", nil},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
			got, err := readAll(r, c.key)
			if d := cmp.Diff(c.want, got); d != "" || err != nil {
				t.Errorf("%q: %v (-want +got):\n%s", c.in, err, d)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, key, want string }{
		{"\ufeff[]", "", "f:1:1: a byte order mark, which does not belong in JSON Lines"},
		{"7", "", "f:1:1: neither a JSON array nor an object"},
		{"[", "", "f:1:2: the document breaks off: unexpected EOF"},
		{"[{\"a\":\n\"]}", "", "f:2:4: the document breaks off: unexpected EOF"},
		{`["\`, "", "f:1:4: the document breaks off: unexpected EOF"},
		{"[1", "", "f:1:3: the document breaks off: unexpected EOF"},
		{"[1,", "", "f:1:4: the document breaks off: unexpected EOF"},
		{"[1,]", "", "f:1:4: not JSON: a value is missing"},
		{"[{} {}]", "", "f:1:5: not JSON: neither a comma nor the end of the array"},
		{"[] []", "", "f:1:4: data after the end"},
		{"{} 1", "", "f:1:4: not a JSON object"},
		{"[]", "data", "f:1:1: not a JSON object"},
		{`{"a":1}`, "data", `f:1:8: the object has no "data"`},
		{`{"data":1}`, "data", `f:1:9: "data" must be an array`},
		{`{"data":[],"data":[]}`, "data", `f:1:19: "data" is there twice`},
		{`{"data":[]`, "data", "f:1:11: the document breaks off: unexpected EOF"},
		{`{"data":[]]`, "data", "f:1:11: not JSON: neither a comma nor the end of the object"},
		{`{data:[]}`, "data", "f:1:2: not JSON: a name must be a string"},
		{`{"data" []}`, "data", "f:1:9: not JSON: no colon behind a name"},
		{`{"data":[]} {}`, "data", "f:1:13: data after the end"},
	} {
		_, err := readAll(strings.NewReader(c.in), c.key)
		if err == nil || err.Error() != c.want {
			t.Errorf("%q: got %v, want %s", c.in, err, c.want)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) != strings.Contains(c.want, "unexpected EOF") {
			t.Errorf("%q: %v", c.in, err)
		}
	}
	broken := errors.New("broken")
	if _, err := readAll(io.MultiReader(strings.NewReader("[{}"), iotest.ErrReader(broken)), ""); err != broken {
		t.Errorf("got %v", err)
	}
	r := NewReader(strings.NewReader("[12345678]"), "f", "")
	r.max = 7
	if _, _, err := r.Read(nil); err == nil || err.Error() != "f:1:9: a value longer than 1 GiB" {
		t.Errorf("got %v", err)
	}
}

func TestErrorAt(t *testing.T) {
	t.Parallel()
	element := []byte("{\n  \"a\": 1\n}")
	at := func(col int) string {
		return ErrorAt(trace.Pos{File: "f", Line: 7, Col: 5}, element, &trace.ColumnError{Col: col, Err: io.EOF}).Error()
	}
	got := []string{at(1), at(2), at(3), at(5), at(12), at(99)}
	want := []string{"f:7:5: EOF", "f:7:6: EOF", "f:8:1: EOF", "f:8:3: EOF", "f:9:1: EOF", "f:9:2: EOF"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Whatever the elements and however they are indented, they come out as they stand.
func TestAnyArray(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var elements []any
		for _, s := range rapid.SliceOf(rapid.String()).Draw(t, "strings") {
			elements = append(elements, map[string]any{s: []any{s, 1.5, nil}}, s)
		}
		b, err := json.MarshalIndent(elements, "", rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "indent"))
		if elements == nil {
			b = []byte("[]")
		}
		if err != nil {
			t.Fatal(err)
		}
		for in, key := range map[string]string{string(b): "", `{"x":"[","data":` + string(b) + `}`: "data"} {
			r := NewReader(strings.NewReader(in), "f", key)
			for i := 0; ; i++ {
				v, pos, err := r.Read(nil)
				if err == io.EOF && i == len(elements) {
					break
				}
				if err != nil || !json.Valid(v) {
					t.Fatalf("%q: element %d: %q, %v", in, i, v, err)
				}
				line := strings.Split(in, "\n")[pos.Line-1]
				head, _, _ := strings.Cut(string(v), "\n")
				if !strings.HasPrefix(line[pos.Col-1:], head) {
					t.Fatalf("%q: element %d is not at %v", in, i, pos)
				}
			}
		}
	})
}

// What is valid JSON has the elements that another decoder finds.
func FuzzReadEqualsEncodingJSON(f *testing.F) {
	f.Add(`[1, {"a":"]"}, "\""]`)
	f.Add(`[[[]],{}]`)
	f.Fuzz(func(t *testing.T, in string) {
		got, err := readAll(strings.NewReader(in), "")
		var want []json.RawMessage
		if json.Unmarshal([]byte(in), &want) != nil || want == nil {
			return
		}
		if err != nil || len(got) != len(want) {
			t.Fatalf("%q: %q, %v", in, got, err)
		}
		for i := range want {
			if _, v, _ := strings.Cut(got[i], " "); v != string(want[i]) {
				t.Fatalf("%q: element %d is %q", in, i, v)
			}
		}
	})
}
