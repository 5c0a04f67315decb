package simulate

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wattrace/sample"
	"wattrace/sample/dcgm"
	"wattrace/sample/sim"
	"wattrace/trace"
)

// TestPageIsNVML: what sample/dcgm reads of the page is what the NVML view of the same
// devices shows at each refresh, the counter to the millijoule.
func TestPageIsNVML(t *testing.T) {
	t.Parallel()
	for _, p := range sim.Profiles() {
		devices, err := sim.New(sim.Options{Count: 3, Profile: p, Seed: 5, Host: `h"\`})
		if err != nil {
			t.Fatal(err)
		}
		now := trace.Time(0)
		clock := func() trace.Time { return now }
		e := newExporter(nil, time.Second, devices, clock)
		source := sim.NewSource(devices, clock)
		want := sample.Batch{Devices: source.Devices()}
		var mu sync.Mutex
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		const pages = 20
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if now += trace.Time(time.Second); now > pages*trace.Time(time.Second) {
				cancel()
				return
			}
			for i, d := range devices {
				d.SetWork(now-trace.Time(time.Second)/2, sim.Work{DecodeTokens: int(now/1e9) % 7 * 400})
				source.Read(i, true, []sample.Row{want.Append(i, now, 0)})
			}
			e.refresh()
			e.ServeHTTP(w, r)
		}))
		defer server.Close()
		feed, err := dcgm.Open(dcgm.Options{URL: server.URL, Interval: time.Millisecond, Now: trace.NewSteadyClock().Now})
		if err != nil {
			t.Fatal(err)
		}
		var in sample.Inbox
		if err := feed.Run(ctx, &in); err != nil {
			t.Fatal(err)
		}
		got := in.Collect()
		if len(got.Devices) != 3 || got.Len() != want.Len()-3 { // the first page is of no known age
			t.Fatalf("%s: %d devices, %d rows of %d", p.Name, len(got.Devices), got.Len(), want.Len())
		}
		for i := range got.Len() {
			g, w := got.Devices[got.Device[i]], want.Devices[want.Device[i+3]]
			if g.UUID != w.UUID || g.Host != w.Host || g.Name != w.Name || g.PCIBusID != w.PCIBusID || g.Index != w.Index {
				t.Fatalf("%s: %+v, want %+v", p.Name, g, w)
			}
			for _, id := range []sample.MetricID{
				sample.EnergyJoules, sample.PowerWatts, sample.PowerInstantWatts, sample.PowerLimitWatts, sample.GPUUtilization, sample.MemoryUtilization,
				sample.TemperatureCelsius, sample.SMClockHertz, sample.MemoryClockHertz,
			} {
				a, _ := got.Float(id, i)
				b, ok := want.Float(id, i+3)
				if !ok || a != b {
					t.Fatalf("%s: row %d: %v is %v, by NVML %v", p.Name, i, id, a, b)
				}
			}
			a, _ := got.Uint(sample.ClockEventReasons, i)
			if b, _ := want.Uint(sample.ClockEventReasons, i+3); a != b {
				t.Errorf("%s: row %d: reasons %#x, by NVML %#x", p.Name, i, a, b)
			}
		}
	}
}

// TestExporter: the page is on its own port, is what it was at its last refresh, and goes
// with the server.
func TestExporter(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "page")
	p := start(t, "--gpus", "2", "--dcgm-listen", "127.0.0.1:0", "--dcgm-addr-file", file, "--dcgm-interval", "1h")
	b, err := os.ReadFile(file) // it is there before the server's
	if err != nil {
		t.Fatal(err)
	}
	page := strings.TrimSpace(string(b))
	get := func(method, url string) (int, string, http.Header) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(b), answer.Header
	}
	code, first, header := get(http.MethodGet, page)
	if code != 200 || header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" ||
		strings.Count(first, "\nDCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu=") != 2 || !strings.Contains(first, "# TYPE DCGM_FI_DEV_POWER_USAGE gauge\n") {
		t.Errorf("%d %v\n%s", code, header, first)
	}
	if _, err := p.post(`{"prompt":[1],"max_tokens":20,"ignore_eos":true}`); err != nil {
		t.Fatal(err)
	}
	if _, second, _ := get(http.MethodGet, page); second != first {
		t.Error("the page changes before its interval is over")
	}
	base := strings.TrimSuffix(page, "/metrics")
	for path, want := range map[string]int{"/health": 200, "/": 200, "/v1/models": 404} {
		if code, _, _ := get(http.MethodGet, base+path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if code, _, header := get(http.MethodPost, page); code != 405 || header.Get("Allow") == "" {
		t.Errorf("POST: %d", code)
	}
	if _, server, _ := get(http.MethodGet, p.url+"/metrics"); strings.Contains(server, "DCGM_") || !strings.Contains(server, "vllm:") {
		t.Error("the server's own page is another")
	}
	if code := p.end(os.Interrupt); code != 0 || !strings.HasPrefix(p.stderr.String(), "simulate: ready: "+p.url+", "+page+" (model ") {
		t.Errorf("exit %d: %s", code, p.stderr.String())
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the address file is still there")
	}
}

// TestExporterRefreshes: at its interval.
func TestExporterRefreshes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "page")
	p := start(t, "--dcgm-listen", "127.0.0.1:0", "--dcgm-addr-file", file, "--dcgm-interval", "20ms")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var in sample.Inbox
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	feed, err := dcgm.Open(dcgm.Options{URL: strings.TrimSpace(string(b)), Interval: 10 * time.Millisecond, Now: trace.NewSteadyClock().Now})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- feed.Run(ctx, &in) }()
	for rows := 0; rows < 12; time.Sleep(10 * time.Millisecond) { // of four GPUs: three times
		if rows += in.Collect().Len(); ctx.Err() != nil {
			t.Fatalf("%d rows", rows)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if code := p.end(os.Interrupt); code != 0 {
		t.Errorf("exit %d: %s", code, p.stderr.String())
	}
}

func TestExporterMistakes(t *testing.T) {
	t.Parallel()
	const help = "simulate: hint: see simulate --help\n"
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--dcgm-listen", "9400"}, `--dcgm-listen "9400": want HOST:PORT`},
		{[]string{"--dcgm-listen", "127.0.0.1:0", "--dcgm-interval", "0s"}, "--dcgm-interval 0s: want 1ms to 1h0m0s"},
		{[]string{"--dcgm-addr-file", "x"}, "--dcgm-addr-file needs --dcgm-listen"},
		{[]string{"--dcgm-listen", "127.0.0.1:0", "--dcgm-addr-file", "x", "--addr-file", "x"}, "--addr-file and --dcgm-addr-file name one file"},
	} {
		if code, stderr := tool(append(c.args, "--listen=127.0.0.1:0")...); code != 2 || stderr != "simulate: "+c.want+"\n"+help {
			t.Errorf("%v: exit %d, %s", c.args, code, stderr)
		}
	}
	// A port that is taken is said, with the flag that chooses it, and leaves nothing.
	p := start(t)
	dir := t.TempDir()
	taken := strings.TrimPrefix(p.url, "http://")
	code, stderr := tool("--listen=127.0.0.1:0", "--dcgm-listen", taken, "--nvml-state", filepath.Join(dir, "state"), "--addr-file", filepath.Join(dir, "url"))
	if want := "simulate: " + taken + ": the port is in use\nsimulate: hint: another --dcgm-listen HOST:PORT; with port 0 the system chooses one\n"; code != 1 || stderr != want {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}
