package requests

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// outcome is all that is read of a log: its records, and its errors as text.
func outcome(rd *Reader, all []string) ([]string, error) {
	for {
		var rec Record
		switch err := rd.Read(&rec); {
		case err == io.EOF:
			return all, nil
		case err != nil:
			all = append(all, err.Error())
			if len(all) > 1 && all[len(all)-2] == err.Error() { // there is no going on
				return all, err
			}
		default:
			all = append(all, fmt.Sprintf("%+v", rec))
		}
	}
}

// inParts is outcome by parts, of which there are two at a time.
func inParts(r io.Reader) (all []string, incomplete, parts int) {
	rd := NewReader(r, "log")
	var part [2]Reader
	for ; ; parts++ {
		p := &part[parts%2]
		err := rd.Part(p)
		if err == io.EOF {
			return all, rd.Incomplete(), parts
		}
		if err != nil {
			return append(all, err.Error()), rd.Incomplete(), parts
		}
		if all, err = outcome(p, all); err != nil {
			return all, rd.Incomplete(), parts
		}
	}
}

// TestParts: in parts a log is what it is as a whole, wherever it is cut, with faults and
// with lines that another program wrote.
func TestParts(t *testing.T) {
	t.Parallel()
	whole := encode(t, exampleLog()...)
	run, rest, _ := bytes.Cut(whole, []byte("\n"))
	two := bytes.Replace(run, []byte(`"targets":[`), []byte(`"targets":["http://b",`), 1)
	request := rest[bytes.Index(rest, []byte(`{"type":"request"`)):]
	request = request[:bytes.IndexByte(request, '\n')]
	second := bytes.Replace(request, []byte(`"target":0`), []byte(`"target":1`), 1)
	sorted := []byte(`{"seq":9,"line":1,"phase":"p","sent_nanos":5,"type":"sent"}`)
	if bytes.Equal(two, run) || bytes.Equal(request, second) {
		t.Fatal("the example is another")
	}
	lines := func(list ...[]byte) []byte { return append(bytes.Join(list, []byte("\n")), '\n') }
	many := lines(run, bytes.Repeat(lines(request), 300), sorted, two, second, request, run, second, sorted)
	for name, log := range map[string][]byte{
		"whole": whole, "two": lines(whole, whole), "unended first": lines(run, whole), "targets": many, "empty": nil,
		"no run": rest, "bad run": lines([]byte(`{"type":"run"}`), rest), "faults": lines(run, []byte(`{"type":"sent"}`), second, request, two, second),
		"unknown": lines(run, []byte(`{"type":"new","a":1}`), request, []byte(`{"a":1}`), request), "blank": []byte("\n\r\n" + string(whole) + "\n\n"),
	} {
		rd := NewReader(bytes.NewReader(log), "log")
		want, _ := outcome(rd, nil)
		for how, r := range map[string]io.Reader{"at once": bytes.NewReader(log), "halves": iotest.HalfReader(bytes.NewReader(log)), "with data": iotest.DataErrReader(bytes.NewReader(log))} {
			got, incomplete, parts := inParts(r)
			if diff := cmp.Diff(want, got); diff != "" || incomplete != rd.Incomplete() {
				t.Errorf("%s, %s: %d incomplete, want %d\n%s", name, how, incomplete, rd.Incomplete(), diff)
			}
			if name == "targets" && parts < 6 {
				t.Errorf("%d parts", parts)
			}
		}
	}
	for n := range whole {
		rd := NewReader(bytes.NewReader(whole[:n]), "log")
		want, _ := outcome(rd, nil)
		got, incomplete, _ := inParts(iotest.OneByteReader(bytes.NewReader(whole[:n])))
		if diff := cmp.Diff(want, got); diff != "" || incomplete != rd.Incomplete() {
			t.Fatalf("cut at %d: %d incomplete, want %d\n%s", n, incomplete, rd.Incomplete(), diff)
		}
	}
	broken := io.MultiReader(strings.NewReader(string(whole)), iotest.ErrReader(io.ErrUnexpectedEOF))
	if got, _, _ := inParts(broken); len(got) == 0 || got[len(got)-1] != io.ErrUnexpectedEOF.Error() {
		t.Errorf("a reader that breaks off: %d records", len(got))
	}
}
