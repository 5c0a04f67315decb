package record

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"wattrace/cmd/internal/reduce"
	"wattrace/formats/telemetry"
	"wattrace/replay/simserver"
	"wattrace/sample"
)

// exporter stands for a dcgm-exporter of the node's GPUs, at 300 W each, refreshed
// every 100 ms.
func exporter(t *testing.T) string {
	begin := time.Now()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		age := time.Since(begin).Truncate(100 * time.Millisecond)
		for i := range 2 {
			labels := fmt.Sprintf(`{gpu="%d",UUID="GPU-%d",pci_bus_id="00000000:1B:00.0",device="nvidia%d",modelName="wattrace simulated H100",Hostname="pod-7"}`, i, i, i)
			fmt.Fprintf(w, "# TYPE DCGM_FI_DEV_POWER_USAGE gauge\nDCGM_FI_DEV_POWER_USAGE%s %v\n", labels, 300)
			fmt.Fprintf(w, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION%s %d\n", labels, int64(300*age.Seconds()*1000)+7)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// report reduces a recording.
func (n *node) report(name string) (out struct {
	Warnings []struct{ Code, Message string }
	Phases   []struct {
		Devices   struct{ Expected, Seen int }
		PerDevice []struct{ Device, Source string } `json:"per_device"`
		Metrics   map[string]struct{ Value float64 }
	}
}) {
	n.t.Helper()
	var stdout, stderr bytes.Buffer
	reduce.Main(context.Background(), []string{"--format", "json", filepath.Join(n.dir, name)}, nil, &stdout, &stderr)
	if err := json.Unmarshal(stdout.Bytes(), &out); err != nil || len(out.Phases) != 1 {
		n.t.Fatalf("%v: %s%s", err, stdout.Bytes(), stderr.Bytes())
	}
	return out
}

// batches reads a recording whole.
func (n *node) batches(name string) (all []*sample.Batch) {
	n.t.Helper()
	f, err := os.Open(filepath.Join(n.dir, name))
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	r, err := telemetry.NewReader(f, name)
	if err != nil {
		n.t.Fatal(err)
	}
	for {
		b := new(sample.Batch)
		if err := r.Read(b); err == io.EOF {
			return all
		} else if err != nil {
			n.t.Fatal(err)
		}
		all = append(all, b)
	}
}

// TestSeenTwice: a GPU that NVML and an exporter show is one, by NVML, whose readings
// are the more frequent ones; and the exporter alone does as well.
func TestSeenTwice(t *testing.T) {
	n := newNode(t)
	url := exporter(t)
	n.want(n.run("--for", "3s", "--source", "nvml", "--source", "dcgm:"+url, "--scrape-interval", "50ms", "-o", "both.arrows"), 0, "")
	n.want(n.run("--for", "3s", "--source", "dcgm:"+url, "--scrape-interval", "50ms", "-o", "dcgm.arrows"), 0, "")
	for name, source := range map[string]string{"both.arrows": "nvml", "dcgm.arrows": "dcgm"} {
		ph := n.report(name).Phases[0]
		if ph.Devices.Expected != 2 || ph.Devices.Seen != 2 || len(ph.PerDevice) != 2 || ph.PerDevice[0].Source != source || ph.PerDevice[1].Source != source {
			t.Errorf("%s: %+v", name, ph)
		}
		if w := ph.Metrics["average_gpu_power"].Value; w < 400 || w > 650 {
			t.Errorf("%s: %v W", name, w)
		}
	}
	sources := map[sample.SourceName]bool{}
	for _, b := range n.batches("both.arrows") {
		for _, d := range b.Devices {
			sources[d.Source] = true
		}
	}
	if !sources[sample.NVML] || !sources[sample.DCGM] {
		t.Error(sources)
	}
}

// TestFeedFails: a page that is none is said at once, and the rest is recorded.
func TestFeedFails(t *testing.T) {
	n := newNode(t)
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "up 1") }))
	defer other.Close()
	p := n.run("--for", "1s", "--source", "nvml", "--source", "dcgm:"+s.URL, "--source", "vllm:"+s.URL, "--source", "dcgm:"+other.URL, "-o", "power.arrows")
	n.want(p, 3, `(?s)record: dcgm:.*/metrics: HTTP 404 Not Found\n.*record: .*/metrics: the page has no metric of DCGM: it is no dcgm-exporter\n`)
	if !strings.Contains(p.stderr.String(), "vllm:"+s.URL+"/metrics: HTTP 404 Not Found\n") {
		t.Errorf("%s", p.stderr.String())
	}
	n.wantComplete(n.read("power.arrows"))
	// A page that is never had is not recorded, however well the rest is.
	for source, want := range map[string]string{"dcgm:" + s.URL: "dcgm:.*: there was no page: HTTP 404 Not Found", "vllm:" + s.URL: "vllm:.*: there was no page: HTTP 404 Not Found"} {
		n.want(n.run("--for", "300ms", "--source", "nvml", "--source", source, "-o", "power.arrows", "--force"), 3, "own CPU .*\nrecord: "+want+"\n$")
	}
	n.want(n.run("--for", "300ms", "--source", "dmon:-", "-o", "power.arrows", "--force"), 3, "record: nothing was recorded: no source told of a device\n$")
}

// TestTooManyDevices has an exporter of more than a recording has room for: the rest is
// recorded, and the driver's GPUs with it.
func TestTooManyDevices(t *testing.T) {
	n := newNode(t)
	begin := time.Now()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := range 300 {
			fmt.Fprintf(w, "DCGM_FI_DEV_POWER_USAGE{gpu=\"%d\",UUID=\"GPU-x%d\"} %v\n", i, i, time.Since(begin).Seconds())
		}
	}))
	defer s.Close()
	p := n.run("--for", "1s", "--scrape-interval", "100ms", "--source", "nvml", "--source", "dcgm:"+s.URL, "-o", "power.arrows")
	n.want(p, 3, `rows of 256 GPUs in .*\nrecord: \d+ readings were left out: a recording has room for 256 devices, and the sources told of more\n$`)
	c := n.read("power.arrows")
	if !c.complete || c.perDevice["GPU-0"] == 0 || c.perDevice["GPU-x253"] == 0 || len(c.perDevice) != 256 {
		t.Errorf("complete %v, %d devices", c.complete, len(c.perDevice))
	}
}

// TestServers records simulated servers beside the GPUs.
func TestServers(t *testing.T) {
	n := newNode(t)
	begin := time.Now()
	args := []string{"--for", "1500ms", "--source", "nvml", "--scrape-interval", "100ms", "-o", "power.arrows"}
	for _, d := range []simserver.Dialect{simserver.VLLM, simserver.SGLang, simserver.TRTLLM} {
		server, err := simserver.New(simserver.Options{Model: "m", Dialect: d, RequestMetrics: d == simserver.TRTLLM, Energy: func() float64 { return 12.5 + 100*time.Since(begin).Seconds() }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan bool)
		go func() { server.Run(ctx); close(ran) }()
		s := httptest.NewServer(server)
		t.Cleanup(func() { s.Close(); cancel(); <-ran })
		answer, err := http.Post(s.URL+"/v1/completions", "application/json", strings.NewReader(`{"model":"m","prompt":[1,2,3],"max_tokens":5,"ignore_eos":true}`))
		if err != nil || answer.StatusCode != 200 {
			t.Fatal(answer, err)
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		args = append(args, "--source", string(d)+":"+s.URL)
	}
	n.want(n.run(args...), 0, "")
	got := map[sample.SourceName]map[sample.MetricID]float64{}
	for _, b := range n.batches("power.arrows") {
		for i := range b.Len() {
			d := b.Devices[b.Device[i]]
			if d.Scope != sample.ScopeServer {
				continue
			}
			if got[d.Source] == nil {
				got[d.Source] = map[sample.MetricID]float64{}
			}
			for _, id := range []sample.MetricID{sample.PromptTokens, sample.GenerationTokens} {
				if v, ok := b.Uint(id, i); ok {
					got[d.Source][id] = float64(v)
				}
			}
			if v, ok := b.Float(sample.EnergyJoules, i); ok {
				got[d.Source][sample.EnergyJoules] = v
			}
			if v, ok := b.Float(sample.RequestsRunning, i); ok {
				got[d.Source][sample.RequestsRunning] = v
			}
		}
	}
	for _, source := range []sample.SourceName{sample.VLLM, sample.SGLang, sample.TRTLLM} {
		v := got[source]
		_, running := v[sample.RequestsRunning]
		if v[sample.PromptTokens] != 3 || v[sample.GenerationTokens] != 5 || !running || (v[sample.EnergyJoules] > 12.5) != (source == sample.TRTLLM) {
			t.Errorf("%s: %v", source, v)
		}
	}
	// Nothing of a server is a GPU's, nor a device without energy.
	rep := n.report("power.arrows")
	if ph := rep.Phases[0]; ph.Devices.Seen != 2 || len(ph.PerDevice) > 3 || slices.ContainsFunc(rep.Warnings, func(w struct{ Code, Message string }) bool { return w.Code == "missing_device" }) {
		t.Errorf("%+v", rep)
	}
}

// TestListen reads the page while a recording runs.
func TestListen(t *testing.T) {
	n := newNode(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	m := "http://" + address + "/metrics"
	p := n.start("--for", "6s", "--listen", address, "-o", "power.arrows")
	n.waitForFile("power.arrows")
	// A client that does not read disturbs nobody.
	idle, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	fmt.Fprint(idle, "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\nGET /metrics HTTP/1.1\r\n")
	var body []byte
	for range 50 {
		resp, err := http.Get(m)
		if err != nil {
			t.Fatal(err)
		}
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
			t.Fatal(err, resp.Header)
		}
		if bytes.Contains(body, []byte("wattrace_power_watts")) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	power := families["wattrace_power_watts"]
	if len(power.GetMetric()) != 2 || power.Metric[0].Gauge.GetValue() != 300 {
		t.Errorf("%s", body)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`wattrace_power_watts{device="GPU-1",host="%s",index="1",scope="gpu",source="nvml"} 300`, host); !bytes.Contains(body, []byte(want+"\n")) {
		t.Errorf("no %s in\n%s", want, body)
	}
	if read := families["wattrace_last_reading_timestamp_seconds"]; len(read.GetMetric()) != 2 || time.Since(time.UnixMicro(int64(read.Metric[0].Gauge.GetValue()*1e6))).Abs() > 5*time.Second {
		t.Errorf("%s", body)
	}
	if rows := families["wattrace_rows_total"]; rows == nil || rows.Metric[0].Counter.GetValue() < 2 || families["wattrace_missed_ticks_total"] == nil || families["wattrace_energy_joules_total"] == nil {
		t.Errorf("%s", body)
	}
	second := n.run("--for", "1s", "--listen", address, "-o", "second.arrows")
	n.want(second, 1, `the port is in use`)
	if _, err := os.Stat(filepath.Join(n.dir, "second.arrows")); err == nil {
		t.Error("it began to record")
	}
	n.want(p, 0, "^record: the latest readings are at "+m+"\n"+summary)
}
