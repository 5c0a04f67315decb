package dcgm

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"wattrace/sample"
	"wattrace/sample/scrape"
	"wattrace/trace"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// describe writes devices and rows for people.
func describe(b *sample.Batch) string {
	var out strings.Builder
	for _, d := range b.Devices {
		fmt.Fprintf(&out, "%+v\n", d)
	}
	for i := range b.Len() {
		fmt.Fprintf(&out, "%s %s at %v took %v", b.Devices[b.Device[i]].ID, b.Devices[b.Device[i]].Scope, time.Duration(b.Time[i]), b.Took[i])
		for id := range sample.NumMetrics {
			if v, ok := b.Float(id, i); ok {
				fmt.Fprintf(&out, " %v=%v", id, v)
			}
			if v, ok := b.Uint(id, i); ok {
				fmt.Fprintf(&out, " %v=%d", id, v)
			}
		}
		if b.Status[i] != "" {
			fmt.Fprintf(&out, " %s", b.Status[i])
		}
		out.WriteByte('\n')
	}
	return out.String()
}

const second = trace.Time(time.Second)

// TestPages has each page come after one with other readings of power.
func TestPages(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		page, err := scrape.Parse(body)
		if err != nil {
			t.Fatal(file, err)
		}
		before, err := scrape.Parse(body)
		if err != nil {
			t.Fatal(file, err)
		}
		for name, list := range before {
			for i := range list {
				if strings.Contains(name, "POWER") {
					list[i].Value++
				}
			}
		}
		f, err := Open(Options{URL: "exporter:9400"})
		if err != nil {
			t.Fatal(err)
		}
		in := &sample.Inbox{}
		f.take(in, before, 10*second, 10*second+second/10)
		f.take(in, page, 11*second, 11*second+second/10)
		golden, got := strings.TrimSuffix(file, ".txt")+".golden", describe(in.Collect())
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if diff := gocmp.Diff(string(want), got); err != nil || diff != "" {
			t.Errorf("%s: %v%s", file, err, diff)
		}
	}
}

// exporter is a page that a test sets.
type exporter struct {
	*httptest.Server
	status atomic.Int64
	body   atomic.Pointer[string]
}

func newExporter(t *testing.T) *exporter {
	e := &exporter{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			t.Errorf("%s was asked for", r.URL.Path)
		}
		w.WriteHeader(int(e.status.Load()))
		fmt.Fprint(w, *e.body.Load())
	}))
	t.Cleanup(e.Close)
	e.show(200, "")
	return e
}

func (e *exporter) show(status int, body string) {
	e.status.Store(int64(status))
	e.body.Store(&body)
}

// gpu is a page of one GPU.
func gpu(watts float64, millijoules uint64, celsius, xid int) string {
	const labels = `{gpu="3",UUID="GPU-x",Hostname="h"}`
	return fmt.Sprintf("DCGM_FI_DEV_POWER_USAGE%[1]s %[2]v\nDCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION%[1]s %[3]d\nDCGM_FI_DEV_GPU_TEMP%[1]s %[4]d\nDCGM_FI_DEV_XID_ERRORS%[1]s %[5]d\n",
		labels, watts, millijoules, celsius, xid)
}

// TestTime follows a page through refreshes and failures: rows are of changes, and
// cover the time that the change may have been in.
func TestTime(t *testing.T) {
	t.Parallel()
	e := newExporter(t)
	now := 100 * second
	var failures []string
	f, err := Open(Options{URL: e.URL, Now: func() trace.Time { return now }, Failed: func(err error) { failures = append(failures, err.Error()) }})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := &sample.Inbox{}
	fetch := func(status int, body string) {
		t.Helper()
		e.show(status, body)
		if err := f.fetch(t.Context(), in, now); err != nil {
			t.Fatal(err)
		}
		now += second
	}
	fetch(503, "")                         // 0: nothing is known yet
	fetch(502, "")                         // 1: nor said twice
	fetch(200, gpu(100, 1000, 30, 13))     // 2: the first page; its XID is old
	fetch(200, gpu(100, 1000, 35, 13))     // 3: the temperature is no reading of power
	fetch(200, gpu(200, 2000, 40, 13))     // 4
	fetch(200, gpu(200, 2000, 40, 31))     // 5: another XID alone
	fetch(503, "")                         // 6
	fetch(200, "DCGM_FI_DEV_GPU_UTIL 5\n") // 7: the GPU is gone
	fetch(200, gpu(300, 3000, 50, 31))     // 8: at some time since 5
	fetch(200, gpu(400, 4000, 50, 31))     // 9
	fetch(200, "<html>")                   // 10
	fetch(200, gpu(400, 4000, 50, 0))      // 11: another exporter, which has seen no XID
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.fetch(ended, in, now); err != nil { // the end of a run is no failure
		t.Error(err)
	}
	want := `{ID:GPU-x Host:h Index:3 Source:dcgm Scope:gpu RawScope:0 Name: UUID:GPU-x PCIBusID: Architecture: Driver: Module: MIG:false MPS:false Clocks: Simulated:false}
GPU-x gpu at 1m43s took 1s power_watts=200 energy_joules=2 temperature_celsius=40
GPU-x gpu at 1m44s took 1s xid_error=31
GPU-x gpu at 1m46s took 0s power_watts=HTTP_503
GPU-x gpu at 1m47s took 0s power_watts=ABSENT
GPU-x gpu at 1m45s took 3s power_watts=300 energy_joules=3 temperature_celsius=50
GPU-x gpu at 1m48s took 1s power_watts=400 energy_joules=4 temperature_celsius=50
GPU-x gpu at 1m50s took 0s power_watts=BAD_PAGE
`
	if diff := gocmp.Diff(want, describe(in.Collect())); diff != "" {
		t.Error(diff)
	}
	if len(failures) != 3 || !strings.HasSuffix(failures[0], "/metrics: HTTP 503 Service Unavailable") {
		t.Errorf("%q", failures)
	}
	if refresh, ok := f.Refresh(); !ok || refresh != 4*time.Second || len(f.between) != 2 { // of 4 s and 1 s
		t.Errorf("%v, %v", refresh, ok)
	}
}

// TestRun: a page that is none of DCGM's ends the feed, and the end of the run is no
// failure.
func TestRun(t *testing.T) {
	t.Parallel()
	e := newExporter(t)
	clock := trace.NewSteadyClock()
	e.show(200, "go_goroutines 7\n")
	run := func(ctx context.Context, in *sample.Inbox) error {
		f, err := Open(Options{URL: strings.TrimPrefix(e.URL, "http://"), Interval: 10 * time.Millisecond, Now: clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return f.Run(ctx, in)
	}
	if err := run(t.Context(), &sample.Inbox{}); err == nil || !strings.Contains(err.Error(), "it is no dcgm-exporter") {
		t.Error(err)
	}
	var count atomic.Int64
	e.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := count.Add(1)
		fmt.Fprint(w, gpu(float64(100+n/5), uint64(n/5), 30, 0)) // every 50 ms
	})
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	in := &sample.Inbox{}
	if err := run(ctx, in); err != nil {
		t.Error(err)
	}
	if b := in.Collect(); b.Len() < 3 || int64(b.Len()) > count.Load()/5 || bytes.ContainsAny([]byte(strings.Join(b.Status, "")), "=") {
		t.Errorf("%d fetches:\n%s", count.Load(), describe(b))
	}
}
