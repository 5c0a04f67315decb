package benchserve

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"wattrace/trace"
)

func text(s string) func() (io.Reader, error) {
	return func() (io.Reader, error) { return strings.NewReader(s), nil }
}

func file(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// all reads every request, with the index of its result.
func all(t *testing.T, f *File) (list []trace.Request, results []int) {
	t.Helper()
	r, err := f.Requests()
	if err != nil {
		t.Fatal(err)
	}
	for {
		var q trace.Request
		result, err := r.Read(&q)
		if err == io.EOF {
			return list, results
		}
		if err != nil {
			t.Fatal(err)
		}
		list, results = append(list, q), append(results, result)
	}
}

func TestGenerations(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, c := range []struct {
		name                                string
		tool                                Tool
		time                                Time
		results, requests, failed, parallel int
		end                                 time.Duration // of the first request
		figure                              Figure
	}{
		{"vllm-2026.json", VLLM, Steady, 1, 6, 1, 4, 80300 * time.Microsecond, Figure{"completed", "requests", 5}},
		{"vllm-2025.json", VLLM, Unplaced, 1, 6, 1, 8, 80300 * time.Microsecond, Figure{"output_throughput", "tokens/s", 124}},
		{"vllm-brief.json", VLLM, Unplaced, 1, 0, 0, 8, 0, Figure{"duration", "s", 0.25}},
		{"trtllm.json", TRTLLM, Unplaced, 1, 6, 1, 0, 85300 * time.Microsecond, Figure{"energy.total_energy_j", "J", 512.25}},
		{"sglang.jsonl", SGLang, Unplaced, 3, 6, 0, 4, 80300 * time.Microsecond, Figure{"mean_e2e_latency_ms", "ms", 100}},
	} {
		f, err := Open(text(file(t, c.name)), c.name)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		res := f.Results[0]
		if len(f.Results) != c.results || res.Tool != c.tool || res.Time != c.time || res.Requests != c.requests || res.Failed != c.failed || res.Parallel != c.parallel || res.Duration.V != 250*ms {
			t.Errorf("%s: %d results, %+v", c.name, len(f.Results), res)
		}
		found := false
		for _, fig := range res.Stated {
			found = found || fig == c.figure
			if math.IsNaN(fig.Value) || arguments[fig.Name] {
				t.Errorf("%s: %+v", c.name, fig)
			}
		}
		if !found || res.Contradiction() != "" {
			t.Errorf("%s: %+v, %s", c.name, res.Stated, res.Contradiction())
		}
		list, results := all(t, f)
		if c.requests == 0 {
			if len(list) != 0 {
				t.Errorf("%s: %+v", c.name, list)
			}
			continue
		}
		q := list[0]
		if q.FirstToken.V != trace.Time(50*ms) || q.LastToken.V != trace.Time(80300*time.Microsecond) || q.Done != trace.Time(c.end) || q.InputTokens.V != 100 || q.OutputTokens.V != 4 || q.Outcome != trace.Succeeded {
			t.Errorf("%s: %+v", c.name, q)
		}
		if n := len(q.Outputs()); n != 4 || q.Outputs()[3].At != q.LastToken.V {
			t.Errorf("%s: %+v", c.name, q.Chunks)
		}
		if c.failed > 0 {
			if q := list[4]; q.Outcome != trace.Failed || q.Error != (trace.RequestError{Class: trace.ErrReset}) || q.OutputTokens.OK {
				t.Errorf("%s: %+v", c.name, q)
			}
		}
		if c.results == 3 && (len(list) != 12 || results[5] != 0 || results[6] != 2) {
			t.Errorf("%s: %d requests, %v", c.name, len(list), results)
		}
	}
}

// TestStarts: what was sent when, and what waited before it.
func TestStarts(t *testing.T) {
	t.Parallel()
	f, err := Open(text(file(t, "vllm-2026.json")), "f")
	if err != nil {
		t.Fatal(err)
	}
	list, _ := all(t, f)
	if q := list[1]; f.Results[0].First != 81234.5 || q.Sent != 20e6 || q.Scheduled != 19e6 || f.Results[0].Load.Rate != 50 || f.Results[0].Load.Arrival != trace.Poisson {
		t.Errorf("%+v, %+v", q, f.Results[0])
	}
	f, err = Open(text(`{"duration":2,"completed":1,"start_times":[1780000000.5],"ttfts":[1]}`), "f")
	if err != nil || f.Results[0].Time != Wall {
		t.Errorf("%v, %+v", err, f)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                       "f: the file holds no result of a serving benchmark",
		"\n\n":                                   "f: the file holds no result of a serving benchmark",
		"[1]":                                    "f:1:3: a result must be an object",
		"{\"duration\":1,\n x}":                  "f:2:2: not JSON",
		`{"duration":1,"ttfts":[1`:               "f: the document breaks off: unexpected EOF",
		`{"duration":1,"ttfts":[1,"x"]}`:         "f:1:26: ttfts must be a number",
		`{"duration":1,"ttfts":[-3]}`:            "f:1:24: ttfts is out of range",
		`{"duration":1,"ttfts":[1],"ttfts":[1]}`: "f:1:33: ttfts is there twice",
		`{"duration":1,"ttfts":[1],"input_lens":[1,2]}`: "f:1:45: input_lens has 2 values, and ttfts 1: they are not of the same requests",
		`{"duration":-1}`:                              "f:1:14: duration is out of range",
		`{"duration":1,"errors":[7]}`:                  "f:1:25: errors must be texts",
		`{"duration":1,"start_times":[0],"ttfts":[1]}`: "f:1:44: start_times lacks the start of a request that succeeded",
		`{"a":"b"}`:                           "f:1:9: the result has neither figures nor requests",
		"\xef\xbb\xbf{}":                      "f:1:1: not JSON",
		`{"x":` + strings.Repeat("[", 20000):  "f:1:10005: not JSON",
		`{"duration":1,"output_lens":[9e99]}`: "f:1:30: output_lens is out of range",
		`{"duration":1,"generated_texts":["` + strings.Repeat("x", 10<<20) + `"],"ttfts":["secret"]}`: "ttfts must be a number",
	} {
		_, err := Open(text(in), "f")
		if err == nil || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.60s: %v, want %s", in, err, want)
		}
	}
	for in, want := range map[string]string{
		`{"duration":1,"ttfts":[1],"itls":[[1,"x"]]}`: "f:1:38: itls must be a number",
		`{"duration":1,"ttfts":[1],"itls":[[NaN]]}`:   "f:1:37: itls must be numbers",
		`{"duration":1,"ttfts":[1],"itls":[{}]}`:      "f:1:36: an element of itls must be a list",
	} {
		f, err := Open(text(in), "f")
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		r, _ := f.Requests()
		var q trace.Request
		_, err = r.Read(&q)
		if _, again := r.Read(&q); err == nil || err.Error() != want || again != err {
			t.Errorf("%s: %v, then %v, want %s", in, err, again, want)
		}
	}
	broken := errors.New("broken")
	if _, err := Open(func() (io.Reader, error) { return iotest.ErrReader(broken), nil }, "f"); !errors.Is(err, broken) {
		t.Error(err)
	}
	f, err := Open(text(`{"duration":1,"completed":3,"ttfts":[1],"itls":[null],"errors":[null]}`), "f")
	if err != nil || f.Results[0].Contradiction() != "it says that 3 requests were completed, and has 1 without an error" {
		t.Errorf("%v, %+v", err, f)
	}
}

// FuzzFile: what can be opened can be read, or says where it cannot; all requests are
// there, with their instants in order.
func FuzzFile(f *testing.F) {
	for _, name := range []string{"vllm-2026.json", "vllm-2025.json", "vllm-brief.json", "trtllm.json", "sglang.jsonl"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"duration":1,"start_times":[NaN,3],"ttfts":[0,1],"itls":[[],[1e8,1e8]],"errors":["x",""]} {"completed":NaN,"duration":2}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		open := func() (io.Reader, error) { return bytes.NewReader(in), nil }
		file, err := Open(open, "f")
		var syntax *trace.SyntaxError
		if err != nil {
			if !errors.As(err, &syntax) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		r, err := file.Requests()
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, res := range file.Results {
			want += res.Requests
		}
		for n := 0; ; n++ {
			var q trace.Request
			_, err := r.Read(&q)
			if err == io.EOF {
				if n != want {
					t.Fatalf("%d of %d requests", n, want)
				}
				return
			}
			if err != nil {
				if !errors.As(err, &syntax) {
					t.Fatalf("%T %v", err, err)
				}
				return
			}
			before := q.Sent
			for _, c := range q.Chunks {
				if c.At < before {
					t.Fatalf("%+v", q)
				}
				before = c.At
			}
			if q.Done < before || q.LastToken.OK && q.LastToken.V > q.Done || q.FirstToken.OK && (q.FirstToken.V < q.Sent || q.FirstToken.V > q.LastToken.V) || q.Scheduled > q.Sent || q.Outcome == "" {
				t.Fatalf("%+v", q)
			}
		}
	})
}
