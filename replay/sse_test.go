package replay

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

// gotEvent is an event as a test keeps it.
type gotEvent struct {
	Name, Data string
	Comment    bool
	At         trace.Time
}

// readSSE reads a stream to its end. The stamp of a read is its number.
func readSSE(r io.Reader) (all []gotEvent, s *sseReader, err error) {
	reads := trace.Time(0)
	counted := readerFunc(func(b []byte) (int, error) {
		n, err := r.Read(b)
		if n > 0 {
			reads++
		}
		return n, err
	})
	s = new(sseReader)
	s.reset(counted, func() trace.Time { return reads })
	for {
		var ev sseEvent
		if err := s.next(&ev); err != nil {
			return all, s, err
		}
		all = append(all, gotEvent{string(ev.name), string(ev.data), ev.comment, ev.at})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// pieces is a reader that returns one piece a Read.
func pieces(all ...string) io.Reader {
	return readerFunc(func(b []byte) (int, error) {
		if len(all) == 0 {
			return 0, io.EOF
		}
		n := copy(b, all[0])
		if all[0] = all[0][n:]; all[0] == "" {
			all = all[1:]
		}
		return n, nil
	})
}

func TestSSE(t *testing.T) {
	t.Parallel()
	data := func(all ...string) (evs []gotEvent) {
		for _, d := range all {
			evs = append(evs, gotEvent{Data: d})
		}
		return evs
	}
	comment := gotEvent{Comment: true}
	for _, test := range []struct {
		name, in string
		want     []gotEvent
		err      error
	}{
		{"empty", "", nil, io.EOF},
		{"one", "data: a\n\n", data("a"), io.EOF},
		{"no space", "data:a\n\n", data("a"), io.EOF},
		{"two spaces", "data:  a\n\n", data(" a"), io.EOF},
		{"CR", "data: a\r\rdata: b\r\r", data("a", "b"), io.EOF},
		{"CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", data("a", "b"), io.EOF},
		{"CRLF, two lines", "event: x\r\ndata: a\r\ndata: b\r\n\r\n", []gotEvent{{Name: "x", Data: "a\nb"}}, io.EOF},
		{"mixed ends", "data: a\n\rdata: b\r\n\ndata: c\r\r\n", data("a", "b", "c"), io.EOF},
		{"mark", "\xef\xbb\xbfdata: a\n\n", data("a"), io.EOF},
		{"second mark", "\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", nil, io.EOF},
		{"only a mark", "\xef\xbb\xbf", nil, io.EOF},
		{"half a mark", "\xef\xbb", nil, io.ErrUnexpectedEOF},
		{"two lines", "data: a\ndata: b\n\n", data("a\nb"), io.EOF},
		{"three lines", "data: a\ndata\ndata:b\n\n", data("a\n\nb"), io.EOF},
		{"empty data", "data\n\ndata:\n\n", data("", ""), io.EOF},
		{"comment", ": ping\n\n:\ndata: a\n\n", []gotEvent{comment, comment, {Data: "a"}}, io.EOF},
		{"comment inside", "data: a\n: ping\ndata: b\n\n", []gotEvent{comment, {Data: "a\nb"}}, io.EOF},
		{"name", "event: error\ndata: a\n\ndata: b\n\n", []gotEvent{{Name: "error", Data: "a"}, {Data: "b"}}, io.EOF},
		{"name without data", "event: x\n\ndata: b\n\n", data("b"), io.EOF},
		{"id and retry", "id: 1\nretry: 3\ndata: b\n\n", data("b"), io.EOF},
		{"colons", "data: {\"a\":1}\n\n", data(`{"a":1}`), io.EOF},
		{"longer name", "database: x\ndata: b\n\n", data("b"), io.EOF},
		{"cut in data", "data: a\n\ndata: b", data("a"), io.ErrUnexpectedEOF},
		{"cut before the blank line", "data: a\n\ndata: b\n", data("a"), io.ErrUnexpectedEOF},
		{"cut in a name", "data: a\n\nda", data("a"), io.ErrUnexpectedEOF},
		{"cut after [DONE]", "data: [DONE]", data("[DONE]"), io.EOF},
		{"cut after [DONE] and LF", "data: [DONE]\n", data("[DONE]"), io.EOF},
		{"cut inside [DONE]", "data: [DON", nil, io.ErrUnexpectedEOF},
		{"cut after two lines", "data: x\ndata: [DONE]", nil, io.ErrUnexpectedEOF},
		{"invalid UTF-8 stays", "data: \xff\n\n", data("\xff"), io.EOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{
				strings.NewReader(test.in),
				iotest.OneByteReader(strings.NewReader(test.in)),
				iotest.DataErrReader(strings.NewReader(test.in)),
			} {
				got, _, err := readSSE(r)
				for i := range got {
					got[i].At = 0
				}
				if err != test.err {
					t.Errorf("error %v, not %v", err, test.err)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}

// TestSSEStamps checks that each event has the stamp of the read that completed
// it, however the stream was cut into reads.
func TestSSEStamps(t *testing.T) {
	t.Parallel()
	got, _, err := readSSE(pieces("data: a\n", "\ndata: b\n\ndata: c\n\ndat", "a: d\r", "\n\r", "\ndata: e\n\n"))
	if err != io.EOF {
		t.Fatal(err)
	}
	// d ends with the CR of read 4: waiting for the LF would stamp it late.
	want := []gotEvent{{Data: "a", At: 2}, {Data: "b", At: 2}, {Data: "c", At: 2}, {Data: "d", At: 4}, {Data: "e", At: 5}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSSELongEvents(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 5<<20)
	got, s, err := readSSE(strings.NewReader("data: a\n\ndata: " + long + "\n\ndata: b\n\ndata: " + long + "\ndata: " + long + "\n\n"))
	if err != io.EOF || len(got) != 4 || got[1].Data != long || got[2].Data != "b" || got[3].Data != long+"\n"+long {
		t.Errorf("%d events, %v", len(got), err)
	}
	if len(s.buf) > 16<<20 {
		t.Errorf("the buffer grew to %d bytes", len(s.buf))
	}
}

func TestSSEEventCap(t *testing.T) {
	t.Parallel()
	const most = 1 << 20
	endless := func(line string) io.Reader {
		b := bytes.Repeat([]byte(line), 1<<16/len(line))
		return readerFunc(func(p []byte) (int, error) { return copy(p, b), nil })
	}
	for _, test := range []struct {
		r   io.Reader
		err error
	}{
		{io.MultiReader(strings.NewReader("data: "), endless("x")), errLongEvent},
		{io.MultiReader(strings.NewReader(": "), endless("x")), errLongEvent},
		{endless("data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"), errLongEvent},
		{io.MultiReader(strings.NewReader("data: "), io.LimitReader(endless("x"), most+1), strings.NewReader("\n\n")), errLongEvent},
		{io.MultiReader(strings.NewReader("data: "), io.LimitReader(endless("x"), most), strings.NewReader("\n\n")), nil},
	} {
		var s sseReader
		s.reset(test.r, func() trace.Time { return 0 })
		s.most = most
		var ev sseEvent
		if err := s.next(&ev); err != test.err {
			t.Errorf("%v, not %v", err, test.err)
		}
	}
	var s sseReader
	if s.reset(nil, nil); s.most != MaxEvent {
		t.Error("the limit is not MaxEvent")
	}
}

func TestSSEReadErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("reset")
	got, _, err := readSSE(io.MultiReader(strings.NewReader("data: a\n\ndata: [DONE]"), iotest.ErrReader(broken)))
	if err != broken || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if _, _, err := readSSE(readerFunc(func([]byte) (int, error) { return 0, nil })); err != io.ErrNoProgress {
		t.Error(err)
	}
}

func TestSSEUnknownLines(t *testing.T) {
	t.Parallel()
	_, s, err := readSSE(strings.NewReader("<html>\n<p>no</p>\n"))
	if err != io.EOF || s.unknown != 2 {
		t.Errorf("%d unknown lines, %v", s.unknown, err)
	}
}

// oracle is the standard's algorithm, written without thought of speed.
func oracle(in string) (all []gotEvent, cut bool) {
	in = strings.TrimPrefix(in, "\xef\xbb\xbf")
	in = strings.ReplaceAll(in, "\r\n", "\n")
	in = strings.ReplaceAll(in, "\r", "\n")
	lines := strings.Split(in, "\n")
	rest := lines[len(lines)-1]
	var data []string
	name := ""
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			if data != nil {
				all = append(all, gotEvent{Name: name, Data: strings.Join(data, "\n")})
			}
			data, name = nil, ""
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "":
			all = append(all, gotEvent{Comment: true})
		case "data":
			data = append(data, value)
		case "event":
			name = value
		}
	}
	last, ok := strings.CutPrefix(rest, "data:")
	switch {
	case ok && data == nil && strings.TrimSpace(last) == "[DONE]":
		all = append(all, gotEvent{Data: "[DONE]"})
	case rest == "" && len(data) == 1 && strings.TrimSpace(data[0]) == "[DONE]":
		all = append(all, gotEvent{Name: name, Data: data[0]})
	default:
		cut = rest != "" || data != nil
	}
	return all, cut
}

// FuzzSSE checks the reader against the oracle, whatever the reads.
func FuzzSSE(f *testing.F) {
	f.Add("\xef\xbb\xbf: hi\r\ndata: {\"a\":1}\n\nevent: x\rdata:a\rdata: b\r\rdata: [DONE]\n\n", uint64(1))
	f.Add("data: a\n\ndata: [DONE]", uint64(7))
	f.Fuzz(func(t *testing.T, in string, seed uint64) {
		want, cut := oracle(in)
		rng := rand.New(rand.NewPCG(seed, 0))
		r := strings.NewReader(in)
		got, _, err := readSSE(readerFunc(func(b []byte) (int, error) {
			return r.Read(b[:min(len(b), 1+rng.IntN(9))])
		}))
		for i := range got {
			got[i].At = 0
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got)\n%s", in, diff)
		}
		if wantErr := map[bool]error{true: io.ErrUnexpectedEOF, false: io.EOF}[cut]; err != wantErr {
			t.Errorf("%q: error %v, not %v", in, err, wantErr)
		}
	})
}
