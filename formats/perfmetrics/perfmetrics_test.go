package perfmetrics

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wattrace/trace"
)

func TestRequests(t *testing.T) {
	t.Parallel()
	const s = 81234.5
	for name, want := range map[string]struct {
		requests          int64
		sent, first, last trace.Time // of the second, since the first
		length            trace.Time
		metrics           string
	}{
		"perf_metrics.json":    {4, 20e6, 47e6, 120e6, 160e6, "perf_metrics"},
		"perf_metrics-1.jsonl": {4, 20e6, 47e6, 120e6, 160e6, "perf_metrics"},
		"disaggregated.json":   {3, 20e6, 81e6, 151e6, 171e6, "gen_perf_metrics"},
	} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		l, err := Survey(bytes.NewReader(b), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := NewReader(bytes.NewReader(b), name)
		r.Anchor = l.First
		var q trace.Request
		for range 2 {
			if err := r.Read(&q); err != nil {
				t.Fatal(err)
			}
		}
		near := func(a, b trace.Time) bool { return a.Sub(b).Abs() <= 100 } // of doubles of seconds since a boot
		if l.Requests != want.requests || !near(l.Length, want.length) || !near(q.Sent, want.sent) || !near(q.FirstToken.V, want.first) || !near(q.LastToken.V, want.last) || q.Done != q.LastToken.V || q.OutputTokens.OK {
			t.Errorf("%s: %+v, %+v", name, l, q)
		}
		var kept map[string]struct {
			Timing map[string]*float64 `json:"timing_metrics"`
		}
		if err := json.Unmarshal(q.ServerMetrics, &kept); err != nil || kept[want.metrics].Timing["first_scheduled_time"] == nil || *kept[want.metrics].Timing["first_scheduled_time"] < s {
			t.Errorf("%s: %v, %s", name, err, q.ServerMetrics)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	timing := func(s string) string { return `[{"request_id":1,"perf_metrics":{"timing_metrics":{` + s + `}}}]` }
	for in, want := range map[string]string{
		`[]`:                       "f: the file holds no request of trtllm-serve",
		`[{"request_id":1}]`:       "f:1:2: not a record of perf_metrics: it has no timing_metrics",
		timing(""):                 "f:1:2: the record does not say when the request arrived",
		timing(`"arrival_time":1`): "f:1:2: the record does not say when the last token came",
		timing(`"arrival_time":2,"last_token_time":1`):                      "f:1:2: the last token comes before the request",
		timing(`"arrival_time":2,"first_token_time":1,"last_token_time":3`): "f:1:2: the first token comes before the request",
		timing(`"arrival_time":"secret"`):                                   "f:1:67: arrival_time must be a number",
		timing(`"arrival_time":1e300`):                                      "f:1:67: arrival_time is out of range",
		`[` + strings.Trim(timing(`"arrival_time":2,"last_token_time":3`), "[]") + "," + strings.Trim(timing(`"arrival_time":2,"last_token_time":3`), "[]") + `]`: "the request (request_id) was read before, as number 1",
	} {
		if _, err := Survey(strings.NewReader(in), "f"); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
	if _, err := Survey(strings.NewReader(timing(`"server_arrival_time":NaN,"arrival_time":2,"first_token_time":0.0,"last_token_time":3`)), "f"); err != nil {
		t.Error(err)
	}
}

// FuzzRequests: what is read is a request whose instants are in order, and what is kept of
// it is JSON.
func FuzzRequests(f *testing.F) {
	for _, name := range []string{"perf_metrics.json", "perf_metrics-1.jsonl", "disaggregated.json"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
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
			if err == io.EOF && n == l.Requests {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if q.Sent < 0 || q.Done < q.Sent || q.Done > l.Length || q.FirstToken.OK && (q.FirstToken.V < q.Sent || q.FirstToken.V > q.Done) || !json.Valid(q.ServerMetrics) {
				t.Fatalf("%+v", q)
			}
		}
	})
}
