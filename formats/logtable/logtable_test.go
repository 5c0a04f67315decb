package logtable

import (
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"wattrace/formats/requests"
)

const example = "../requests/testdata/example.jsonl"

// read passes the lines of a log on.
func read(t testing.TB, log []byte, use func(*requests.Record) error) {
	t.Helper()
	r := requests.NewReader(bytes.NewReader(log), "log")
	var rec requests.Record
	for {
		err := r.Read(&rec)
		if err == io.EOF {
			return
		}
		if err == nil {
			err = use(&rec)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func table(t testing.TB, log []byte) (*Head, *Table) {
	t.Helper()
	h := new(Head)
	read(t, log, h.Add)
	if err := h.End(); err != nil {
		t.Fatal(err)
	}
	tab, err := New(h)
	if err != nil {
		t.Fatal(err)
	}
	return h, tab
}

// doc.go has every column, with its type.
func TestDoc(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "# Columns")
	section, _, _ = strings.Cut(section, "# Metadata")
	for _, c := range columns {
		if !regexp.MustCompile(`\b` + c.name + `\b`).MatchString(section) {
			t.Errorf("doc.go does not have %s", c.name)
		}
	}
}

// A CSV has what Arrow has, one line a request; null is nothing.
func TestCSV(t *testing.T) {
	t.Parallel()
	log, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	h, tab := table(t, log)
	if h.Incomplete {
		t.Error("incomplete")
	}
	var out bytes.Buffer
	w := NewCSVWriter(&out, tab)
	read(t, log, tab.Add)
	r := tab.Record()
	defer r.Release()
	if err := errors.Join(w.Write(r), w.Close()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	want := "0,17,18,,,profiling,measure,3,0,http://127.0.0.1:8000,2026-05-28T20:26:42.000120034Z,2000120000,2000120034,2000160000,2090000000,2110000000,4598500000,4598600000,,,succeeded,200,,,length,812,128,usage,812,128,3,true,1200000,310000,4210,0f9c3de1a7b24c58,8c1f0a6e52d94b37,chatcmpl-71,user,\"{\"\"prompt_tokens\"\":812,\"\"completion_tokens\"\":128}\",\"{\"\"metrics\"\":{\"\"queue_time_ms\"\":0.5}}\""
	if lines[1] != want || strings.Contains(lines[0], "chunk_nanos") || len(lines) != int(r.NumRows())+2 {
		t.Errorf("%s\n%s\n%d lines", lines[0], lines[1], len(lines))
	}
}

// A log whose last run, or another, has no close line is incomplete.
func TestIncomplete(t *testing.T) {
	t.Parallel()
	log, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	cut := log[:bytes.LastIndexByte(log[:len(log)-1], '\n')+1]
	for _, c := range []struct {
		log  []byte
		want bool
	}{{log, false}, {cut, true}, {append(bytes.Clone(cut), log...), true}, {append(bytes.Clone(log), cut...), true}, {append(bytes.Clone(log), log...), false}} {
		if h, _ := table(t, c.log); h.Incomplete != c.want {
			t.Errorf("incomplete is %v", h.Incomplete)
		}
	}
	if err := new(Head).End(); err == nil {
		t.Error("a log without a run")
	}
}

func BenchmarkTable(b *testing.B) {
	log, err := os.ReadFile(example)
	if err != nil {
		b.Fatal(err)
	}
	_, tab := table(b, log)
	var run, request requests.Record
	read(b, log, func(rec *requests.Record) error {
		switch {
		case rec.Type == requests.TypeRun:
			run = *rec
		case rec.Type == requests.TypeRequest && request.Type == "" && len(rec.Request.Chunks) > 100:
			request = *rec
			request.Request.Chunks = append(request.Request.Chunks[:0:0], rec.Request.Chunks...)
		}
		return nil
	})
	if err := tab.Add(&run); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := tab.Add(&request); err != nil {
			b.Fatal(err)
		}
		if tab.Rows() == 1000 {
			tab.Record().Release()
		}
	}
}
