package trace

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// readAll reads with a Reader: the turns up to the first error, and that error.
func readAll(r io.Reader, name string) ([]Turn, error) {
	var turns []Turn
	for t, err := range NewReader(r, name).All() {
		if err != nil {
			return nil, err
		}
		turns = append(turns, t)
	}
	return turns, nil
}

func TestReaderLines(t *testing.T) {
	t.Parallel()
	const in = "\n" +
		`{"prompt":1}` + "\r\n" +
		" \t\r\n" +
		` {"messages":2} ` + "\n" +
		"\r\n\n" +
		`{"input":3}`
	want := []Turn{
		{Payload: []byte(`{"prompt":1}`), Endpoint: Completions, Pos: Pos{File: "f", Line: 2}},
		{Payload: []byte(` {"messages":2} `), Endpoint: Chat, Pos: Pos{File: "f", Line: 4}},
		{Payload: []byte(`{"input":3}`), Endpoint: Responses, Pos: Pos{File: "f", Line: 7}},
	}
	got, err := readAll(strings.NewReader(in), "f")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Reader (-want +got):\n%s", d)
	}
	got, err = Split("f", []byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Split (-want +got):\n%s", d)
	}
}

// A bad line is reported where it stands, and the lines after it are read.
func TestReaderGoesOn(t *testing.T) {
	t.Parallel()
	const in = "{\"prompt\":1}\n\n{\"prompt\":∑x}\r\n[1]\n{\"prompt\":2}\n"
	text, _ := cutMarker(in)
	var got []string
	for turn, err := range NewReader(strings.NewReader(text), "a.jsonl").All() {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, fmt.Sprint(turn.Pos, " ", string(turn.Payload)))
	}
	want := []string{
		`a.jsonl:1 {"prompt":1}`,
		`a.jsonl:3:11: not JSON: unexpected character`,
		`a.jsonl:4:1: not a JSON object, but an array`,
		`a.jsonl:5 {"prompt":2}`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	_, err := Split("a.jsonl", []byte(text))
	if err == nil || err.Error() != want[1] {
		t.Errorf("Split: got %v, want %s", err, want[1])
	}
}

func TestEmptyTrace(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "\n", " \r\n\t", "\r", "\r\r\n"} {
		_, err := Split("-", []byte(in))
		if !errors.Is(err, ErrEmptyTrace) || err.Error() != "-: the trace is empty" {
			t.Errorf("Split(%q): got %v", in, err)
		}
		r := NewReader(strings.NewReader(in), "-")
		var turn Turn
		if err := r.Read(&turn); !errors.Is(err, ErrEmptyTrace) || err.Error() != "-: the trace is empty" {
			t.Errorf("Read(%q): got %v", in, err)
		}
		if err := r.Read(&turn); err != io.EOF {
			t.Errorf("second Read(%q): got %v, want EOF", in, err)
		}
	}
}

// A reader that breaks off is not a trace that ends: what was whole is given,
// then its error, and the half line is not.
func TestReaderBreaksOff(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	in := io.MultiReader(strings.NewReader("{\"prompt\":1}\n{\"prompt\":2}"), iotest.ErrReader(broken))
	r := NewReader(in, "f")
	var turn Turn
	if err := r.Read(&turn); err != nil || string(turn.Payload) != `{"prompt":1}` {
		t.Fatalf("got %s, %v", turn.Payload, err)
	}
	for range 2 {
		if err := r.Read(&turn); err != broken {
			t.Fatalf("got %v, want %v", err, broken)
		}
	}
	n := 0
	for _, err := range NewReader(io.MultiReader(strings.NewReader("{\"prompt\":1}\n"), iotest.ErrReader(broken)), "f").All() {
		n++
		if (err != nil) != (n == 2) {
			t.Errorf("step %d: %v", n, err)
		}
	}
	if n != 2 {
		t.Errorf("All yielded %d times, want 2", n)
	}
}

func TestReaderReusesBuffer(t *testing.T) {
	t.Parallel()
	r := NewReader(strings.NewReader("{\"prompt\":11}\n{\"prompt\":2}\n"), "f")
	turn := Turn{Payload: make([]byte, 0, 100), Conversation: "old", Index: 7, Timing: Timing{ID: "old"}}
	memory := &turn.Payload[:1][0]
	for _, want := range []string{`{"prompt":11}`, `{"prompt":2}`} {
		if err := r.Read(&turn); err != nil || string(turn.Payload) != want {
			t.Fatalf("got %s, %v; want %s", turn.Payload, err, want)
		}
		if &turn.Payload[0] != memory {
			t.Error("a buffer with room was not reused")
		}
		if turn.Conversation != "" || turn.Index != 0 || turn.Timing != (Timing{}) {
			t.Errorf("fields of an earlier turn are left: %+v", turn)
		}
	}
}

// Lines far beyond every buffer, read in pieces of every kind.
func TestReaderLongLines(t *testing.T) {
	t.Parallel()
	var lines []string
	for _, n := range []int{0, 64<<10 - 15, 64<<10 - 14, 64<<10 - 13, 64<<10 - 12, 200 << 10, 5 << 20, 1} {
		lines = append(lines, `{"prompt":"`+strings.Repeat("x", n)+`"}`)
	}
	text := strings.Join(lines, "\r\n")
	for name, r := range map[string]io.Reader{
		"whole":  strings.NewReader(text),
		"halves": iotest.HalfReader(strings.NewReader(text)),
		"eof":    iotest.DataErrReader(strings.NewReader(text)),
	} {
		turns, err := readAll(r, "f")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(turns) != len(lines) {
			t.Fatalf("%s: %d turns, want %d", name, len(turns), len(lines))
		}
		for i := range lines {
			if string(turns[i].Payload) != lines[i] {
				t.Errorf("%s: line %d differs (%d bytes, want %d)", name, i+1, len(turns[i].Payload), len(lines[i]))
			}
		}
	}
}

func TestLineTooLong(t *testing.T) {
	t.Parallel()
	good := `{"prompt":1}`
	for _, ending := range []string{"\n", "\r\n"} {
		for size := len(good); size < 100; size++ {
			long := good + strings.Repeat(" ", size-len(good))
			lines := NewLineReader(strings.NewReader(long+ending+good), "f")
			lines.r = bufio.NewReaderSize(strings.NewReader(long+ending+good), 16)
			lines.max = 50
			r := &Reader{lines: lines}
			var turn Turn
			err := r.Read(&turn)
			if size <= 50 && err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if size > 50 && (err == nil || err.Error() != "f:1: the line is longer than 1 GiB") {
				t.Fatalf("%d bytes: got %v", size, err)
			}
			if err := r.Read(&turn); err != nil || string(turn.Payload) != good || turn.Pos.Line != 2 {
				t.Fatalf("%d bytes: the next line is %q at %v, %v", size, turn.Payload, turn.Pos, err)
			}
		}
	}
}

// Split must not copy, and a caller who appends to one payload must not write
// into the next.
func TestSplitAliases(t *testing.T) {
	t.Parallel()
	data := []byte("{\"prompt\":1}\n{\"prompt\":2}\n")
	turns, err := Split("f", data)
	if err != nil {
		t.Fatal(err)
	}
	if &turns[1].Payload[0] != &data[13] {
		t.Error("the payload is a copy")
	}
	_ = append(turns[0].Payload, "XXXXX"...)
	if string(turns[1].Payload) != `{"prompt":2}` {
		t.Error("an append to the first payload reached the second")
	}
}

func TestWriterRoundTrip(t *testing.T) {
	t.Parallel()
	bodies := []string{`{"prompt":1}`, ` {"messages":["\ud800"]} `, "{\"input\":\r1}", `{"prompt":"` + strings.Repeat("é", 100_000) + `"}`}
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, body := range bodies {
		if err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	turns, err := readAll(&b, "f")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, turn := range turns {
		got = append(got, string(turn.Payload))
	}
	if d := cmp.Diff(bodies, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestWriterRefuses(t *testing.T) {
	t.Parallel()
	for marked, want := range map[string]string{
		"{\"prompt\":1∑\n}": "a line feed inside a payload",
		"{\"prompt\":1}\r∑": "a carriage return at the end of a payload",
		"{∑}":               "none of the keys",
		"∑":                 "not JSON",
		"{\"prompt\":1}∑ x": "data after the JSON object",
	} {
		body, _ := cutMarker(marked)
		var b bytes.Buffer
		w := NewWriter(&b)
		err := w.Write([]byte(body))
		var at *ColumnError
		if !errors.As(err, &at) || !strings.HasPrefix(at.Err.Error(), want) {
			t.Errorf("%q: got %v, want %s", body, err, want)
		}
		if w.Flush(); b.Len() > 0 {
			t.Errorf("%q: %q was written", body, b.String())
		}
	}
	w := &Writer{bufio.NewWriterSize(errWriter{}, 16)}
	w.Write([]byte(`{"prompt":"` + strings.Repeat("x", 100) + `"}`))
	if err := w.Flush(); err != errFull {
		t.Errorf("got %v, want %v", err, errFull)
	}
}

var errFull = errors.New("full")

type errWriter struct{}

func (errWriter) Write([]byte) (int, error) { return 0, errFull }

// Reader and Split agree on every input: on the turns, and on the first error.
func FuzzSplitEqualsReader(f *testing.F) {
	for _, s := range []string{
		"", "\n", "{\"prompt\":1}", "{\"prompt\":1}\r\n\r\n{\"messages\":[]}", "{\"prompt\":1}\r", "{\"prompt\":1}\n[\n",
		"\xef\xbb\xbf{\"prompt\":1}\n", "{\"input\":\"\\ud800\"}\n\xff", "{}\n", "{\"prompt\":1}x\n{\"prompt\":1}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		split, splitErr := Split("f", data)
		read, readErr := readAll(bytes.NewReader(data), "f")
		if fmt.Sprint(splitErr) != fmt.Sprint(readErr) {
			t.Fatalf("Split: %v\nReader: %v", splitErr, readErr)
		}
		if d := cmp.Diff(split, read); d != "" {
			t.Fatalf("(-Split +Reader):\n%s", d)
		}
		// What was read can be written and read again.
		var b bytes.Buffer
		w := NewWriter(&b)
		for _, turn := range read {
			err := w.Write(turn.Payload)
			if bytes.HasSuffix(turn.Payload, []byte("\r")) {
				return // a CR at the end of the file, which no line can carry
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		w.Flush()
		if len(read) == 0 {
			return
		}
		again, err := Split("f", b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for i := range read {
			if !bytes.Equal(read[i].Payload, again[i].Payload) {
				t.Fatalf("turn %d changed", i)
			}
		}
	})
}
