package guidellmreport

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"wattrace/trace"
)

const real = "../../testdata/interop/results/guidellm-0.8.1.json"

func text(s string) func() (io.Reader, error) {
	return func() (io.Reader, error) { return strings.NewReader(s), nil }
}

func all(t *testing.T, f *File, anchor int64) (list []trace.Request, of []int) {
	t.Helper()
	if err := f.Each(anchor, func(i int, q *trace.Request) error {
		list, of = append(list, *q), append(of, i)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list, of
}

func TestReport(t *testing.T) {
	t.Parallel()
	f, err := Open(func() (io.Reader, error) { return os.Open(real) }, "f")
	if err != nil {
		t.Fatal(err)
	}
	b := f.Benchmarks[0]
	if len(f.Benchmarks) != 1 || b.Succeeded != 5 || b.Parallel != 2 || b.Strategy != "concurrent" || b.Total != trace.Some[int64](5) || b.Start.V != b.First || b.First != 1795814482467633700 || b.End.V != b.Last {
		t.Errorf("%+v", b)
	}
	list, _ := all(t, f, b.First)
	q := list[1]
	if len(list) != 5 || q.Sent != trace.Time(111716500*time.Nanosecond) || q.FirstToken.V <= q.Sent || q.LastToken.V <= q.FirstToken.V || q.Done <= q.LastToken.V ||
		q.InputTokens != trace.Some[int64](7) || q.OutputTokens != trace.Some[int64](8) || q.TokenSource != trace.FromUsage || q.Conversation == "" || q.Line != 2 {
		t.Errorf("%+v", q)
	}
}

// TestOutcomes: an early generation, whose times are in info alone, with all that can go wrong.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	f, err := Open(text(`{"metadata":{"version":1},"config":{},"benchmarks":[{"config":{"strategy":{"type_":"poisson"}},"requests":{
		"successful":[{"info":{"timings":{"targeted_start":99.5,"request_start":100.25,"first_iteration":100.5,"last_iteration":101,"request_end":101.5}},"output_tokens":3,"prompt_tokens":null}],
		"errored":[{"request_start_time":100,"request_end_time":null,"info":{"error":"secret","timings":{}}}],
		"incomplete":[{"info":{"timings":{"queued":99,"request_start":null}}},{"request_start_time":100,"request_end_time":104.5,"info":{"timings":{"first_token_iteration":101}}}],
		"total":null},"metrics":{"request_totals":{"total":4},"request_latency":{"successful":{"mean":NaN,"count":1}}}},{"requests":{"successful":null}}],"conclusions":[]}`), "f")
	if err != nil {
		t.Fatal(err)
	}
	b := f.Benchmarks[0]
	if len(f.Benchmarks) != 2 || b.Succeeded != 1 || b.Failed != 1 || b.Cancelled != 1 || b.Unsent != 1 || b.First != 100e9 || b.Last != 104.5e9 || len(b.Stated) != 0 || f.Benchmarks[1].Succeeded != 0 {
		t.Errorf("%+v", b)
	}
	list, of := all(t, f, 100e9)
	if len(list) != 3 || of[2] != 0 || list[0].Scheduled != trace.Time(-500*time.Millisecond) || list[0].InputTokens.OK || list[0].TokenSource != trace.FromTokenizer ||
		list[1].Outcome != trace.Failed || list[1].Done != 0 || list[2].Outcome != trace.Cancelled || list[2].FirstToken.V != trace.Time(time.Second) {
		t.Errorf("%+v", list)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	request := func(s string) string { return `{"benchmarks":[{"requests":{"successful":[` + s + `]}}]}` }
	for in, want := range map[string]string{
		"":                           "f: the document breaks off: unexpected EOF",
		"{}":                         "f: the report has no benchmarks",
		"[1]":                        "f:1:3: a report must be an object",
		`{"benchmarks":[]} {}`:       "f:1:19: something follows the report",
		"{\"benchmarks\":[{},\n x]}": "f:2:2: not JSON",
		`{"benchmarks":[{"start_time":"secret"}]}`: "f:1:37: start_time must be a Unix time in seconds",
		request(`1`):                        "f:1:43: a request must be an object",
		request(`{}`):                       "f:1:44: a request that succeeded has no start",
		request(`{"request_start_time":2}`): "f:1:66: a request that succeeded has no end",
		request(`{"request_start_time":2,"request_end_time":1}`):                                                                         "f:1:87: a request ends before it starts",
		request(`{"request_start_time":1,"request_end_time":9e9}`):                                                                       "f:1:86: request_end_time must be a Unix time in seconds",
		request(`{"request_start_time":1,"request_end_time":3,"output_tokens":-2}`):                                                      "f:1:104: ",
		request(`{"request_start_time":1,"request_end_time":3,"info":{"timings":{"last_token_iteration":4}}}`):                           "f:1:133: a token comes before its request was sent, or after it ended",
		request(`{"request_start_time":1,"request_end_time":3,"output":"` + strings.Repeat("x", 10<<20) + `","prompt_tokens":"secret"}`): "f:1:10485",
		request(strings.Repeat("[", 20000)):                                                                                              "f:1:10",
	} {
		_, err := Open(text(in), "f")
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.80s: %.200v, want %s", in, err, want)
		}
	}
}

// FuzzReport: what can be opened can be read, and is in order.
func FuzzReport(f *testing.F) {
	b, err := os.ReadFile(real)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"benchmarks":[{"start_time":1,"requests":{"errored":[{"request_start_time":1}],"successful":[{"request_start_time":1,"request_end_time":3,"info":{"timings":{"first_iteration":2}}}]}}]}`))
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
		counts := make([]int64, len(file.Benchmarks))
		if err := file.Each(0, func(i int, q *trace.Request) error {
			counts[i]++
			if q.Done < q.Sent || q.Scheduled > q.Sent || q.FirstToken.OK && q.FirstToken.V < q.Sent || q.Outcome == "" {
				t.Fatalf("%+v", q)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for i, b := range file.Benchmarks {
			if counts[i] != b.Succeeded+b.Failed+b.Cancelled {
				t.Fatalf("%d of %+v", counts[i], b)
			}
		}
	})
}
