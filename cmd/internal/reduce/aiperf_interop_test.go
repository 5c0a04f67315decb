package reduce

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"wattrace/reduce"
	"wattrace/sample/sampletest"
)

// The interop test runs a real aiperf against simulate, and has reduce say what aiperf
// published.
const (
	aiperfProgram = "WATTRACE_AIPERF" // aiperf's executable
	ourPrograms   = "WATTRACE_BIN"    // the directory of simulate and record
	keepArchives  = "WATTRACE_KEEP"   // where what aiperf left shall be kept; testdata/interop/aiperf-0.13 was made so
)

// rig is a simulated server on simulated GPUs, as aiperf and record see it.
type rig struct {
	t                 *testing.T
	dir, bin, program string
	url, page         string
	library, state    string
	trace, tokenizer  string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), program: os.Getenv(aiperfProgram), bin: os.Getenv(ourPrograms)}
	if r.program == "" || r.bin == "" {
		t.Skipf("%s and %s do not name aiperf and our programs: make interop does", aiperfProgram, ourPrograms)
	}
	if _, err := os.Stat(r.program); err != nil {
		t.Skip("there is no aiperf: it could not be installed")
	}
	if why := sampletest.Unusable(); why == "" {
		r.library, r.state = sampletest.BuildStub(t), filepath.Join(r.dir, "nvml.state")
	}
	r.files()
	r.start()
	return r
}

// files writes a trace, and a tokenizer of words that needs no network.
func (r *rig) files() {
	r.trace, r.tokenizer = filepath.Join(r.dir, "trace.jsonl"), filepath.Join(r.dir, "tokenizer")
	var lines strings.Builder
	for i := range 40 {
		fmt.Fprintf(&lines, `{"model":"m","messages":[{"role":"user","content":%q}],"max_tokens":%d,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true}}`+"\n",
			strings.Repeat("word ", 20+i), 8+i%7*6)
	}
	for name, text := range map[string]string{
		r.trace: lines.String(),
		filepath.Join(r.tokenizer, "tokenizer.json"): `{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"Whitespace"},` +
			`"post_processor":null,"decoder":null,"model":{"type":"WordLevel","vocab":{"[UNK]":0,"token":1},"unk_token":"[UNK]"}}`,
		filepath.Join(r.tokenizer, "tokenizer_config.json"): `{"tokenizer_class":"PreTrainedTokenizerFast","unk_token":"[UNK]"}`,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			r.t.Fatal(err)
		}
	}
}

// start runs simulate until the test ends.
func (r *rig) start() {
	url, page := filepath.Join(r.dir, "url"), filepath.Join(r.dir, "page")
	args := []string{"--listen", "127.0.0.1:0", "--addr-file", url, "--dcgm-listen", "127.0.0.1:0", "--dcgm-addr-file", page, "--dcgm-interval", "100ms", "--gpus", "2", "--model", "m", "-q"}
	if r.state != "" {
		args = append(args, "--nvml-state", r.state)
	}
	cmd := exec.Command(filepath.Join(r.bin, "simulate"), args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(url); err == nil {
			r.url = strings.TrimSpace(string(b))
			break
		}
		if time.Now().After(deadline) {
			r.t.Fatal("simulate does not listen")
		}
	}
	b, err := os.ReadFile(page)
	if err != nil {
		r.t.Fatal(err)
	}
	r.page = strings.TrimSpace(string(b))
}

// run runs aiperf, below record if a recording is wanted, and returns the directory of
// its artifacts.
func (r *rig) run(name string, recording string, args ...string) string {
	dir := filepath.Join(r.dir, name)
	command := append([]string{r.program, "profile"}, args...)
	if recording != "" {
		command = append([]string{filepath.Join(r.bin, "record"), "-o", recording, "--source", "nvml", "--nvml-library", r.library, "--interval", "20ms", "--margin", "1s", "-q", "--"}, command...)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "WATTRACE_NVML_STATE="+r.state)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("%s: %v\n%s", name, err, out.Bytes())
	}
	if keep := os.Getenv(keepArchives); keep != "" {
		r.keep(dir, filepath.Join(keep, name))
	}
	return dir
}

// flags are those of all runs that have no configuration file.
func (r *rig) flags(name string, more ...string) []string {
	return append([]string{
		"--model", "m", "--url", r.url, "--endpoint-type", "chat", "--streaming", "--tokenizer", r.tokenizer, "--ui", "none", "--no-server-metrics",
		"--gpu-telemetry", r.page, "--workers-max", "1", "--record-processors", "1", "--random-seed", "1", "--artifact-dir", filepath.Join(r.dir, name),
	}, more...)
}

// keep copies what reduce reads of an archive, with the paths of this machine taken out.
func (r *rig) keep(from, to string) {
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(from, path)
		wanted := slices.Contains([]string{"profile_export.jsonl", "profile_export_aiperf.json", "gpu_telemetry_export.jsonl", "phase_manifest.json"}, filepath.Base(path))
		if err != nil || d.IsDir() || !wanted {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b = bytes.ReplaceAll(b, []byte(r.dir), []byte("/run"))
		if host, err := os.Hostname(); err == nil {
			b = bytes.ReplaceAll(b, []byte(fmt.Sprintf("%q", host)), []byte(`"host"`))
		}
		if err := os.MkdirAll(filepath.Join(to, filepath.Dir(name)), 0o777); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o666)
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// TestInteropAIPerf: every figure of aiperf that is recomputed is what aiperf published,
// to the order of its sums, over its modes of load.
func TestInteropAIPerf(t *testing.T) {
	r := newRig(t)
	raw := []string{"--custom-dataset-type", "raw-payload", "--input-file", r.trace}
	synthetic := []string{"--synthetic-input-tokens-mean", "60", "--output-tokens-mean", "16", "--extra-inputs", "ignore_eos:true"}
	plan := filepath.Join(r.dir, "plan.yaml")
	phases := fmt.Sprintf(`models: {items: [{name: m}]}
endpoint: {urls: [%q], type: chat, streaming: true, useServerTokenCount: true}
datasets: [{name: main, type: file, path: %q, format: raw_payload}]
phases:
  - {name: warmup, type: concurrency, requests: 4, concurrency: 2, excludeFromResults: true}
  - {name: slow, kind: profiling, type: poisson, rate: 8.0, requests: 8}
  - {name: fast, kind: profiling, type: constant, rate: 16.0, requests: 12, concurrency: 12}
tokenizer: {name: %q}
gpuTelemetry: {enabled: true, urls: [%q]}
serverMetrics: {enabled: false}
artifacts: {dir: %q}
runtime: {ui: none, workers: 1, recordProcessors: 1}
`, r.url, r.trace, r.tokenizer, r.page, filepath.Join(r.dir, "phases"))
	if err := os.WriteFile(plan, []byte(phases), 0o666); err != nil {
		t.Fatal(err)
	}
	// A phase whose bounds are exported to the microsecond alone: without phase_manifest.json,
	// which there is with several phases.
	rounded := func(rep *reduce.Report) float64 {
		for _, ph := range rep.Phases {
			if ph.Kind == "measure" {
				return 2e-6 / *ph.DurationSeconds
			}
		}
		return 0
	}
	exact := func(*reduce.Report) float64 { return 1e-12 }
	t.Logf("%-10s %9s %9s %9s %9s  %s", "run", "published", "compared", "same", "within", "not recomputed")
	for _, c := range []struct {
		name   string
		args   []string
		within func(*reduce.Report) float64
		least  int      // figures
		tags   []string // among them
	}{
		{"warmed", r.flags("warmed", append(raw, "--concurrency", "4", "--request-count", "12", "--warmup-request-count", "4", "--use-server-token-count",
			"--goodput", "time_to_first_token:30 request_latency:450")...), exact, 430, []string{"nvidia_total_gpu_energy", "nvidia_goodput_per_watt"}},
		{"phases", []string{"--config", plan}, exact, 600, nil},
		{"rate", r.flags("rate", append(synthetic, "--request-rate", "12", "--request-count", "24", "--warmup-request-count", "2")...), exact, 430, []string{"nvidia_energy_per_output_token"}},
		{"tokenizer", r.flags("tokenizer", append(raw, "--concurrency", "3", "--request-count", "9")...), rounded, 200, []string{"nvidia_energy_per_user"}},
		{"cancelled", r.flags("cancelled", append(raw, "--concurrency", "4", "--request-count", "24", "--use-server-token-count",
			"--request-cancellation-rate", "30", "--request-cancellation-delay", "0.2", "--goodput", "output_token_throughput_per_user:78")...), rounded, 200, []string{"error_request_count", "goodput"}},
	} {
		dir := r.run(c.name, "", c.args...)
		rep := asAIPerf(t, dir)
		within := c.within(rep)
		a := compareArchive(t, rep, dir, within)
		t.Logf("%-10s %9d %9d %9d %9.1g  %d tags", c.name, a.published, a.compared, a.same, within, len(a.missing))
		if a.same != a.compared || a.compared < c.least {
			t.Errorf("%s: want at least %d compared, and all the same:\n%s", c.name, c.least, strings.Join(a.off, "\n"))
		}
		for _, tag := range c.tags {
			if !slices.ContainsFunc(rep.Phases, func(ph reduce.Phase) bool {
				return ph.Kind == "measure" && slices.ContainsFunc(ph.Others[0].Figures, func(f reduce.OtherFigure) bool { return f.Name == tag && f.Published != nil })
			}) {
				t.Errorf("%s: %s was not compared", c.name, tag)
			}
		}
		t.Logf("%-10s not recomputed: %s", c.name, strings.Join(a.missing, ", "))
	}
}

// TestInteropAIPerfBesideOurs: a recording of ours of the same run has the energy of its
// phase, and aiperf's telemetry, by our arithmetic, the same within what 333 ms leave open.
func TestInteropAIPerfBesideOurs(t *testing.T) {
	r := newRig(t)
	if r.library == "" {
		t.Skip("without gcc there is no stub of NVML")
	}
	recording := filepath.Join(r.dir, "p.arrows")
	dir := r.run("beside", recording, r.flags("beside", "--custom-dataset-type", "raw-payload", "--input-file", r.trace, "--concurrency", "4", "--request-count", "48",
		"--warmup-request-count", "4", "--use-server-token-count")...)
	code, out, errs := runMain(t, "--format", "json", "--as", "aiperf", dir, recording)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var rep reduce.Report
	if err := json.Unmarshal([]byte(out), &rep); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(rep.Phases, func(ph reduce.Phase) bool { return ph.Kind == "measure" })
	ph := &rep.Phases[i]
	ours := ph.Metrics[reduce.TotalGPUEnergy].Value
	for _, f := range ph.Others[0].Figures {
		if f.Name != "nvidia_total_gpu_energy" {
			continue
		}
		// Its grace, and the age of its baseline, are of up to a second of 600 W.
		t.Logf("%.1f J by our recording; aiperf's formula makes %.1f J of it, and published %.1f J", ours, f.Value, *f.Published)
		if math.Abs(*f.Published-ours) > 700 || ours < 1000 {
			t.Errorf("%v J, aiperf has %v", ours, *f.Published)
		}
	}
}
