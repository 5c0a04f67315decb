package telemetries

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"wattrace/formats"
	"wattrace/sample"
)

// readFile opens a file by its content and reads it to its end.
func readFile(t *testing.T, path string, o Options) (r Reader, rows int) {
	t.Helper()
	in, err := formats.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	c, ok := ByKind(in.Kind())
	if !ok {
		t.Fatalf("%s: %s", path, in.Kind())
	}
	content, err := in.Reader()
	if err != nil {
		t.Fatal(err)
	}
	if r, err = c.Open(content, path, o); err != nil {
		t.Fatal(err)
	}
	var b sample.Batch
	for {
		if err := r.Read(&b); err == io.EOF {
			return r, rows
		} else if err != nil {
			t.Fatal(err)
		}
		rows += b.Len()
	}
}

func TestExamples(t *testing.T) {
	t.Parallel()
	r, rows := readFile(t, "../telemetry/testdata/example.arrows", Options{})
	if rows == 0 || len(r.Head().Devices) == 0 || len(r.Clocks()[0].Snapshots) < 2 || r.Clocks()[0].Clock != r.Head().Clock || !r.Clean() {
		t.Errorf("%d rows, %+v, %+v, clean %v", rows, r.Head(), r.Clocks(), r.Clean())
	}
	r, rows = readFile(t, "../nvidiasmi/testdata/a5000-step.csv", Options{Host: "h", Location: time.FixedZone("BST", 3600)})
	h := r.Head()
	if at := time.Unix(0, h.Clock.Anchor.UnixNanos).UTC(); rows != 181 || h.Devices[0].Host != "h" || at.Hour() != 7 || !r.Clean() {
		t.Errorf("%d rows, %+v from %v", rows, h, at)
	}
	if c := r.Clocks(); len(c) != 1 || c[0].Clock != h.Clock {
		t.Errorf("%+v", c)
	}
	r, rows = readFile(t, "../aiperf/testdata/gpu_telemetry_export.jsonl", Options{})
	if c, h := r.Clocks(), r.Head(); rows != 124 || len(h.Devices) != 2 || h.Devices[0].Host != "node1" || !r.Clean() || len(c) != 1 || c[0].Clock != h.Clock || h.Clock.Anchor.UnixNanos == 0 {
		t.Errorf("%d rows, %+v, %+v", rows, h, c)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var kinds []formats.Kind
	for _, c := range Codecs {
		kinds = append(kinds, c.Kinds...)
		if c.Name == "" || c.Doc == "" || c.Schema == "" {
			t.Errorf("%+v", c)
		}
	}
	slices.Sort(kinds)
	if n := len(kinds); len(slices.Compact(kinds)) != n {
		t.Error("a kind is listed twice")
	}
	if _, ok := ByKind(formats.Requests); ok {
		t.Error("a request log is no telemetry")
	}
}

func codecOf(kind formats.Kind) Codec {
	c, _ := ByKind(kind)
	return c
}

func TestJudge(t *testing.T) {
	t.Parallel()
	smi, arrows := Codecs[1], Codecs[0]
	const header = "timestamp, power.draw [W]\n2024/01/02 03:04:05.000, 1 W\n"
	recording, err := os.ReadFile("../telemetry/testdata/example.arrows")
	if err != nil {
		t.Fatal(err)
	}
	n := len(recording)
	flipped := slices.Clone(recording)
	flipped[n/2], flipped[n/2+1], flipped[n/2+2], flipped[n/2+3] = 9, 9, 9, 9
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		codec Codec
		in    io.Reader
		want  Fault
	}{
		"a row":                          {smi, strings.NewReader(header + "x, 1 W\n"), Skipped},
		"a cut row":                      {smi, strings.NewReader(header + "2024/01/02 03:04:06.000, 1"), Truncated},
		"broken":                         {smi, io.MultiReader(strings.NewReader(header), errReader{broken}), Failed},
		"a cut layer":                    {smi, io.MultiReader(strings.NewReader(header), errReader{io.ErrUnexpectedEOF}), Truncated},
		"a row of aiperf":                {codecOf(formats.AIPerfTelemetry), strings.NewReader("{}\n"), Skipped},
		"a cut row of aiperf":            {codecOf(formats.AIPerfTelemetry), strings.NewReader("{"), Truncated},
		"cut":                            {arrows, strings.NewReader(string(recording[:n-200])), Truncated},
		"broken arrows":                  {arrows, io.MultiReader(strings.NewReader(string(recording[:n-200])), errReader{broken}), Failed},
		"rows that do not hold together": {arrows, strings.NewReader(strings.Replace(string(recording), `"rows":`, `"rows":9`, 1)), Damaged},
	} {
		r, err := test.codec.Open(test.in, "f", Options{})
		var b sample.Batch
		for err == nil {
			err = r.Read(&b)
		}
		if got := Judge(err); got != test.want {
			t.Errorf("%s: %v is judged %d, want %d", name, err, got, test.want)
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
