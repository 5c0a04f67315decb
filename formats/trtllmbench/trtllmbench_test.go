package trtllmbench

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"wattrace/trace"
)

func TestRequests(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/requests.json")
	if err != nil {
		t.Fatal(err)
	}
	l, err := Survey(bytes.NewReader(b), "f")
	if err != nil || *l != (Log{First: 81234500000000, Length: 180e6, Requests: 4, Failed: 1}) {
		t.Fatalf("%v, %+v", err, l)
	}
	r := NewReader(bytes.NewReader(b), "f")
	r.Anchor = l.First
	var q trace.Request
	for range 2 {
		if err := r.Read(&q); err != nil {
			t.Fatal(err)
		}
	}
	if q.Sent != 20e6 || q.FirstToken.V != 70e6 || q.LastToken.V != 120e6 || q.Done != 120e6 || q.InputTokens.V != 101 || q.OutputTokens.V != 6 || q.Seq != 1 || q.Line != 2 {
		t.Errorf("%+v", q)
	}
	r.Read(&q)
	if err := r.Read(&q); err != nil || q.Outcome != trace.Failed || q.FirstToken.OK || q.OutputTokens.OK {
		t.Errorf("%v, %+v", err, q)
	}
	// Of old, and without --streaming.
	r = NewReader(strings.NewReader(`[{"id":1,"num_input_tokens":-1,"start_timestamp":5,"first_token_timestamp":-1,"end_timestamp":9,"num_output_tokens":3,"output_tokens":4}]`), "f")
	if err := r.Read(&q); err != nil || q.FirstToken.OK || q.InputTokens.OK || q.OutputTokens.V != 3 || q.LastToken.V != 9 {
		t.Errorf("%v, %+v", err, q)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`[]`:   "f: the file holds no request of trtllm-bench",
		`[{}]`: "f:1:2: the record lacks start_timestamp or end_timestamp",
		"[\n{\"start_timestamp\":9,\"end_timestamp\":5}]":                                                 "f:2:1: the request ends before it is sent",
		`[{"start_timestamp":"secret","end_timestamp":5}]`:                                                `f:1:21: "start_timestamp" must be an integer`,
		`[{"start_timestamp":1,"end_timestamp":5,"first_token_timestamp":7}]`:                             "f:1:2: the first token is not between the start and the end of the request",
		`[{"id":1,"start_timestamp":1,"end_timestamp":5},{"id":1,"start_timestamp":1,"end_timestamp":5}]`: "f:1:49: the request (id) was read before, as number 1",
		`[{"start_timestamp":1,"end_timestamp":5}`:                                                        "f:1:41: the document breaks off: unexpected EOF",
	} {
		_, err := Survey(strings.NewReader(in), "f")
		if err == nil || !strings.HasPrefix(err.Error(), want) && err.Error() != want {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/report.json")
	if err != nil {
		t.Fatal(err)
	}
	list, version, err := ParseReport(b, "f")
	if err != nil || version != "1.3.0rc12" {
		t.Fatal(err, version)
	}
	got := map[string]Figure{}
	for _, f := range list {
		got[f.Name] = f
	}
	for _, want := range []Figure{
		{"energy.total_energy_j", "J", 1234.5}, {"energy.average_gpu_power", "W", 8817.9}, {"energy.output_tps_per_w", "tps/W", 0.0210611},
		{"performance.request_latency_percentiles_ms.p99", "ms", 120}, {"decoding_stats.acceptance_length_percentiles.p50", "", 1.7},
		{"performance.system_output_throughput_tok_s", "tokens/s", 185.71428571428572},
	} {
		if got[want.Name] != want {
			t.Errorf("%+v, want %+v", got[want.Name], want)
		}
	}
	for _, none := range []string{"streaming_metrics.token_output_speed_tok_s", "world_info.tp_size", "dataset.num_requests", "machine.memory.total"} {
		if _, ok := got[none]; ok {
			t.Errorf("%s is no figure", none)
		}
	}
	for in, want := range map[string]string{
		`{"engine":{}}`:               "f:1:1: the report has no figures",
		"{\"a\":{\"b\":1},\n\"c\":x}": "f:2:5: not JSON: unexpected character",
		`{"a":` + strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 21): "the report is nested too deep",
		`{"a":1e999}`: "f:1:6: a is out of range",
	} {
		if _, _, err := ParseReport([]byte(in), "f"); err == nil || !strings.HasPrefix(err.Error(), want) && !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
}

// FuzzRequests: what is read is a request whose instants are in order.
func FuzzRequests(f *testing.F) {
	b, err := os.ReadFile("testdata/requests.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		l, err := Survey(bytes.NewReader(in), "f")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f") {
				t.Fatal(err)
			}
			return
		}
		r := NewReader(bytes.NewReader(in), "f")
		r.Anchor = l.First
		var q trace.Request
		for n := int64(0); ; n++ {
			err := r.Read(&q)
			if errors.Is(err, io.EOF) && n == l.Requests {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if q.Sent < 0 || q.Done < q.Sent || q.Done > l.Length || q.FirstToken.OK && (q.FirstToken.V < q.Sent || q.FirstToken.V > q.Done) {
				t.Fatalf("%+v", q)
			}
		}
	})
}

// FuzzReport: figures are finite, and each has a name.
func FuzzReport(f *testing.F) {
	b, err := os.ReadFile("testdata/report.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		list, _, err := ParseReport(in, "f")
		if err != nil {
			return
		}
		for _, fig := range list {
			if fig.Value-fig.Value != 0 {
				t.Fatalf("%+v", fig)
			}
		}
	})
}
