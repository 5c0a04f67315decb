package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"wattrace/sample"
	"wattrace/trace"
)

// pages is a server whose pages a test sets; the status of one that is not set is
// 404, and of one whose text is a number that number.
type pages struct {
	*httptest.Server
	mu    sync.Mutex
	pages map[string]string
	asked []string
}

func serve(t *testing.T) *pages {
	p := &pages{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked = append(p.asked, r.URL.Path)
		var status int
		body, ok := p.pages[r.URL.Path]
		switch _, err := fmt.Sscan(body, &status); {
		case !ok:
			w.WriteHeader(404)
		case err == nil:
			w.WriteHeader(status)
		default:
			fmt.Fprint(w, body)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// follow fetches once for each set of pages, and returns the rows, without the
// device's name, and the failures.
func follow(t *testing.T, kind sample.SourceName, fragment string, sets ...map[string]string) (rows, failures []string, device sample.Device) {
	t.Helper()
	p := serve(t)
	var now trace.Time
	f, err := Open(Options{Kind: kind, URL: p.URL + fragment, Now: func() trace.Time { now += 1e6; return now }, Failed: func(err error) {
		failures = append(failures, strings.ReplaceAll(err.Error(), p.URL, "URL"))
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := &sample.Inbox{}
	for _, set := range sets {
		p.mu.Lock()
		p.pages = set
		p.mu.Unlock()
		if err := f.fetch(t.Context(), in); err != nil {
			failures = append(failures, "fatal: "+strings.ReplaceAll(err.Error(), p.URL, "URL"))
		}
	}
	b := in.Collect()
	for i := range b.Len() {
		var parts []string
		for id := range sample.NumMetrics {
			if v, ok := b.Float(id, i); ok {
				parts = append(parts, fmt.Sprintf("%v=%v", id, v))
			}
			if v, ok := b.Uint(id, i); ok {
				parts = append(parts, fmt.Sprintf("%v=%d", id, v))
			}
		}
		if b.Status[i] != "" {
			parts = append(parts, b.Status[i])
		}
		rows = append(rows, strings.Join(parts, " "))
	}
	if len(b.Devices) > 1 {
		t.Errorf("%d devices", len(b.Devices))
	}
	if len(b.Devices) > 0 {
		device = b.Devices[0]
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(p.URL, "http://"), ":")
	if host, err := os.Hostname(); err == nil && device.ID != "" && (device.ID != string(kind)+":"+host+":"+port || device.Host != host || device.Scope != sample.ScopeServer || device.Source != kind) {
		t.Errorf("%+v", device)
	}
	return rows, failures, device
}

const vllm = `# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="llama"} 3.0
vllm:num_requests_running{engine="1",model_name="llama"} 4.0
vllm:num_requests_waiting{engine="0",model_name="llama"} 1.0
vllm:num_requests_waiting{engine="1",model_name="llama"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="llama"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="llama"} 0.25
vllm:prompt_tokens_total{engine="0",model_name="llama"} 1000.0
vllm:prompt_tokens_total{engine="1",model_name="llama"} 10.0
vllm:generation_tokens_total{engine="0",model_name="llama"} 7e+06
vllm:generation_tokens_total{engine="1",model_name="llama"} 5.0
vllm:request_generation_tokens_bucket{engine="0",le="+Inf",model_name="llama"} 9.0
`

func TestVLLM(t *testing.T) {
	t.Parallel()
	old := "vllm:num_requests_running{model_name=\"b\"} 1\nvllm:gpu_cache_usage_perc{model_name=\"a\"} 0.75\nvllm:generation_tokens{model_name=\"a\"} 6\n"
	rows, failures, device := follow(t, sample.VLLM, "",
		map[string]string{"/metrics": "503"}, // while it loads the model: nobody knows it yet
		map[string]string{"/metrics": vllm},
		map[string]string{"/metrics": old},
		map[string]string{"/metrics": "500"},
		map[string]string{"/metrics": "go_goroutines 1\n"}, // it was there: no end
	)
	want := []string{
		"requests_running=7 requests_waiting=1 kv_cache_utilization=0.375 prompt_tokens=1010 generation_tokens=7000005",
		"requests_running=1 kv_cache_utilization=0.75 generation_tokens=6",
		"generation_tokens=HTTP_500",
		"generation_tokens=BAD_PAGE",
	}
	if diff := gocmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff([]string{"vllm:URL/metrics: HTTP 503 Service Unavailable", "vllm:URL/metrics: HTTP 500 Internal Server Error"}, failures); diff != "" {
		t.Error(diff)
	}
	if device.Name != "llama" {
		t.Errorf("%+v", device)
	}
	_, failures, _ = follow(t, sample.VLLM, "", map[string]string{"/metrics": "sglang:token_usage 1\n"})
	if diff := gocmp.Diff([]string{"fatal: vllm:URL/metrics: the page has no metric of vllm"}, failures); diff != "" {
		t.Error(diff)
	}
}

// TestSGLang has the ranks of tensor parallelism, which work on the same
// requests, two ranks of data parallelism, and a count by priority beside the whole.
func TestSGLang(t *testing.T) {
	t.Parallel()
	page := `sglang:num_running_reqs{dp_rank="0",tp_rank="0",pp_rank="0",model_name="q"} 5
sglang:num_running_reqs{dp_rank="0",tp_rank="1",pp_rank="0",model_name="q"} 5
sglang:num_running_reqs{dp_rank="0",tp_rank="0",pp_rank="1",model_name="q"} 5
sglang:num_running_reqs{dp_rank="1",tp_rank="0",pp_rank="0",model_name="q"} 2
sglang:num_queue_reqs{model_name="q",priority=""} 3
sglang:num_queue_reqs{model_name="q",priority="1"} 2
sglang:num_queue_reqs{model_name="q",priority="9"} 1
sglang_token_usage{model_name="q"} 0.5
sglang:generation_tokens_total{model_name="q"} 11
`
	rows, failures, _ := follow(t, sample.SGLang, "", map[string]string{"/metrics": page})
	want := []string{"requests_running=7 requests_waiting=3 kv_cache_utilization=0.5 generation_tokens=11"}
	if diff := gocmp.Diff(want, rows); diff != "" || failures != nil {
		t.Error(diff, failures)
	}
}

func TestTRTLLM(t *testing.T) {
	t.Parallel()
	const steps = `[{"iter":1,"numActiveRequests":9},{"iter":2,"numActiveRequests":4,"numQueuedRequests":2,"kvCacheStats":{"usedNumBlocks":25,"maxNumBlocks":100}}]`
	const page = "trtllm_num_requests_running{model_name=\"undefined\"} 6\ntrtllm_generation_tokens_total{model_name=\"zephyr\"} 40\n"
	check := func(name, fragment string, want, wantFailures []string, sets ...map[string]string) {
		t.Helper()
		rows, failures, device := follow(t, sample.TRTLLM, fragment, sets...)
		if diff := gocmp.Diff(want, rows); diff != "" {
			t.Error(name, diff)
		}
		if diff := gocmp.Diff(wantFailures, failures); diff != "" {
			t.Error(name, diff)
		}
		if name == "page" && device.Name != "zephyr" {
			t.Errorf("%+v", device)
		}
	}
	energy := func(s string) map[string]string {
		return map[string]string{"/prometheus/metrics": page, "/metrics": steps, "/energy_metrics": s}
	}
	check("page", "", []string{
		"requests_running=6 generation_tokens=40", "energy_joules=12.5",
		"requests_running=6 generation_tokens=40", "energy_joules=HTTP_503",
		"requests_running=6 generation_tokens=40", "energy_joules=BAD_PAGE",
		"requests_running=6 generation_tokens=40",
		"requests_running=6 generation_tokens=40",
	}, nil, energy(`{"total_energy_j":12.5,"query_time":1}`), energy("503"), energy(`{"error":"?"}`), energy("404"), energy(`{"total_energy_j":99}`))
	check("drain", "#drain", []string{"requests_running=4 requests_waiting=2 kv_cache_utilization=0.25"}, nil,
		map[string]string{"/metrics": steps}, map[string]string{"/metrics": "[]"})
	check("drain and page", "#drain", []string{"requests_running=6 requests_waiting=2 kv_cache_utilization=0.25 generation_tokens=40"}, nil,
		map[string]string{"/metrics": steps, "/prometheus/metrics": page})
	check("energy alone", "", []string{"energy_joules=1", "energy_joules=2"}, []string{"trtllm:URL/prometheus/metrics: HTTP 404 Not Found"},
		map[string]string{"/energy_metrics": `{"total_energy_j":1}`}, map[string]string{"/energy_metrics": `{"total_energy_j":2}`})
	check("young", "", nil, nil, map[string]string{"/prometheus/metrics": "# TYPE trtllm_generation_tokens_total counter\n"})
}

// TestDrainIsAskedFor: nobody takes the iterations away unasked.
func TestDrainIsAskedFor(t *testing.T) {
	t.Parallel()
	p := serve(t)
	f, err := Open(Options{Kind: sample.TRTLLM, URL: p.URL, Now: trace.NewSteadyClock().Now})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.fetch(t.Context(), &sample.Inbox{}); err != nil {
		t.Error(err)
	}
	if diff := gocmp.Diff([]string{"/prometheus/metrics", "/energy_metrics"}, p.asked); diff != "" {
		t.Error(diff)
	}
	for _, url := range []string{p.URL + "#drane", "ftp://h"} {
		if _, err := Open(Options{Kind: sample.TRTLLM, URL: url}); err == nil {
			t.Error(url)
		}
	}
	if _, err := Open(Options{Kind: sample.VLLM, URL: p.URL + "#drain"}); err == nil {
		t.Error("vllm#drain")
	}
}

// TestEnd: a fetch that the end of the run cuts is no failure.
func TestEnd(t *testing.T) {
	t.Parallel()
	p := serve(t)
	f, err := Open(Options{Kind: sample.VLLM, URL: p.URL, Now: trace.NewSteadyClock().Now, Failed: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Run(ctx, &sample.Inbox{}); err != nil {
		t.Error(err)
	}
	if err := f.fetch(ctx, &sample.Inbox{}); err != nil {
		t.Error(err)
	}
}
