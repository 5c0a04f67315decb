package script

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"wattrace/sample/sampletest"
)

// The commands of the manuals: code blocks of the mains' package comments whose
// first line begins with a tool; of the README, which shows what they print, the
// lines after a prompt.
var command = regexp.MustCompile(`^(\$ )?(compare|convert|measure|monitor|plot|record|reduce|replay|simulate) `)

// blocks returns the command lines of the indented blocks of a text.
func blocks(text, indent string) (all [][]string) {
	var block []string
	flush := func() {
		if len(block) > 0 && command.MatchString(block[0]) {
			all = append(all, block)
		}
		block = nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		line, ok := strings.CutPrefix(line, indent)
		if !ok {
			flush()
			continue
		}
		block = append(block, line)
	}
	flush()
	return all
}

// TestManuals runs every command that a manual shows, with a server of ours in
// the place of the one that it names, and shorter times.
func TestManuals(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash")
	}
	if why := sampletest.Unusable(); why != "" {
		t.Skip(why)
	}
	dir := t.TempDir()
	if _, err := sampletest.Build(dir); err != nil {
		t.Skip("no stub of the driver's library: ", err)
	}
	url, exporter := startSimulator(t, dir), startExporter(t)
	reports := recordOnce(t, dir, url)
	mains, err := filepath.Glob("../../*/main.go")
	if err != nil || len(mains) == 0 {
		t.Fatal("no mains: ", err)
	}
	n := 0
	for _, path := range append(mains, "../../../README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		comment, indent, name := string(text), "    ", "README"
		if strings.HasSuffix(path, ".go") {
			comment, _, _ = strings.Cut(comment, "\npackage ")
			indent, name = "//\t", filepath.Base(filepath.Dir(path))
		}
		for _, block := range blocks(comment, indent) {
			if name == "README" {
				block = slices.DeleteFunc(block, func(line string) bool { return !strings.HasPrefix(line, "$ ") })
			}
			if len(block) == 0 {
				continue
			}
			n++
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				t.Parallel()
				runBlock(t, dir, url, exporter, block, reports)
			})
		}
	}
	if n < 10 {
		t.Errorf("only %d blocks of commands found", n)
	}
}

// startSimulator starts the server that all blocks share.
func startSimulator(t *testing.T, dir string) (url string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "simulate", "--listen", "127.0.0.1:0", "--addr-file", "url", "--model", "llama-8b", "--nvml-state", "nvml.state", "-q")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
	})
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(filepath.Join(dir, "url")); err == nil && len(b) > 0 {
			return strings.TrimSpace(string(b))
		}
	}
	t.Fatal("the simulator does not come up")
	return ""
}

// startExporter starts what stands for the dcgm-exporters of hosts, each at a path of
// its name.
func startExporter(t *testing.T) (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := strings.Trim(r.URL.Path, "/")
		labels := fmt.Sprintf(`{gpu="0",UUID="GPU-%s",modelName="NVIDIA H100",Hostname="%s"}`, host, host)
		fmt.Fprintf(w, "DCGM_FI_DEV_POWER_USAGE%s 300.5\nDCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION%s %d\n", labels, labels, time.Now().UnixMilli()*300)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const datasetRow = `{"task_id":0,"prompt":"Write an endless story.","output_tokens":20}` + "\n"

const mooncakeRow = `{"timestamp":100,"input_length":600,"output_length":20,"hash_ids":[1,2]}` + "\n"

// recordOnce makes the files that blocks read.
func recordOnce(t *testing.T, dir, url string) (reports []string) {
	t.Helper()
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write([]byte(datasetRow))
	z.Close()
	for name, content := range map[string]string{
		"topology.yaml":    "schema: wattrace.topology/1\nhosts:\n  - {host: " + hostname(t) + ", gpus: 2}\n",
		"calibration.yaml": "schema: wattrace.calibration/1\ndevices:\n  - {device: wattrace simulated H100, gain: 1, gain_sigma: 0.01}\n",
		"sensors.yaml":     "schema: wattrace.sensors/1\nsensors:\n  - {field: instant, kind: instant, window: 25ms, period: 100ms}\n",
		"dataset.jsonl":    datasetRow, "dataset.jsonl.gz": zipped.String(),
		"mooncake.jsonl": mooncakeRow,
		"sharegpt.json":  `[{"id":"a","conversations":[{"from":"human","value":"Hello"},{"from":"gpt","value":"Hi"},{"from":"human","value":"Why?"}]}]`,
		"tokenizer.json": readFile(t, "../../../formats/tokenizer/testdata/small.json"),
		"plan.yaml":      "schema: wattrace.plan/1\nphases:\n  - {name: warmup, kind: warmup, concurrency: 1, requests: 1}\n  - {name: profiling, concurrency: 2, requests: 3}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	shell(t, dir, dir, "convert --model llama-8b -q -o trace.jsonl dataset.jsonl && record -q -o power.arrows -- replay -q -o requests.jsonl --url "+url+" trace.jsonl")
	if err := os.WriteFile(filepath.Join(dir, "trace.jsonl.timing"), []byte(`{"line":1,"at_seconds":0}`+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	reports = repeat(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "smi.csv"), smiLog(t, time.Now()), 0o666); err != nil {
		t.Fatal(err)
	}
	return reports
}

// repeat writes the reports that compare is shown with: runs like the one that was
// recorded, of two configurations in turns, and of three power limits.
func repeat(t *testing.T, dir string) (names []string) {
	t.Helper()
	shell(t, dir, dir, "reduce --format json -q -o run.json requests.jsonl power.arrows")
	text, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, n int, edit func(phase map[string]any)) {
		var doc map[string]any
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		for _, in := range doc["inputs"].([]any) {
			in.(map[string]any)["sha256"] = name
		}
		for _, ph := range doc["phases"].([]any) {
			phase := ph.(map[string]any)
			start, err := time.Parse(time.RFC3339Nano, phase["start"].(string))
			if err != nil {
				t.Fatal(err)
			}
			phase["start"] = start.Add(time.Duration(n) * time.Hour).Format(time.RFC3339Nano)
			edit(phase)
		}
		out, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), out, 0o666); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	same := func(map[string]any) {}
	for i := range 6 {
		write(fmt.Sprintf("base-%d.json", i+1), 2*i+1, same)
		write(fmt.Sprintf("new-%d.json", i+1), 2*i+2, same)
		write(fmt.Sprintf("sweep-%d.json", i+1), i+1, func(phase map[string]any) {
			limit := phase["metrics"].(map[string]any)["gpu_power_limit"].(map[string]any)
			limit["value"] = limit["value"].(float64) - float64(100*(i%3))
		})
	}
	return names
}

// smiLog is what nvidia-smi would have written in London in the minute until an
// instant, so that it covers the run that has just been.
func smiLog(t *testing.T, until time.Time) []byte {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	out := []byte("timestamp, index, power.draw [W]\n")
	for at := until.Add(-time.Minute); at.Before(until); at = at.Add(20 * time.Millisecond) {
		out = fmt.Appendf(out, "%s, 0, 77.47 W\n", at.In(london).Format("2006/01/02 15:04:05.000"))
	}
	return out
}

func readFile(t *testing.T, path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func hostname(t *testing.T) string {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Quote(name)
}

// shell runs a script; the tools find the stub as they would find the driver's
// library.
func shell(t *testing.T, dir, home, script string) {
	t.Helper()
	cmd := exec.Command("bash", "-c", "set -e -o pipefail\n"+script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+home, "WATTRACE_NVML_STATE="+filepath.Join(home, "nvml.state"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s\n%s%v", script, out, err)
	}
}

var (
	seconds = regexp.MustCompile(`(--for|--duration|--idle-before|--idle-after) [0-9]+s`)
	writes  = regexp.MustCompile(`-o ([a-z0-9][a-z0-9.-]*)`)
	node    = regexp.MustCompile(`(node[0-9]):9400`)
	server  = regexp.MustCompile(`http://(server|127\.0\.0\.1):8000`)
)

var (
	ofServer  = regexp.MustCompile(`-- (trtllm-serve|vllm serve|simulate) .*`)
	elsewhere = regexp.MustCompile(`--(url|nvml-library) \S+ `)
	lengths   = regexp.MustCompile(`--isl \d+ --osl \d+`)
	many      = regexp.MustCompile(`--requests \d+`)
)

// measureForTests makes a command of measure short, with a server of ours that it starts,
// and a benchmark that does nothing.
func measureForTests(line string) string {
	rest, ok := strings.CutPrefix(line, "measure ")
	if !ok {
		return line
	}
	if ofServer.MatchString(rest) {
		rest = elsewhere.ReplaceAllString(rest, "")
	}
	rest = ofServer.ReplaceAllString(rest, "--url-file own.url --ready-poll 50ms -- simulate --listen 127.0.0.1:0 --addr-file own.url --model llama-8b -q")
	rest = many.ReplaceAllString(lengths.ReplaceAllString(rest, "--isl 20 --osl 5"), "--requests 4")
	rest = strings.NewReplacer("--cool-to 60s", "--cool-to 50ms", "'trtllm-bench ", "'echo Starting benchmark...; sleep 0.6; echo ").Replace(rest)
	rest = strings.NewReplacer("--cool-to 1s", "--cool-to 50ms", "--idle 2s ", "").Replace(rest)
	if !strings.Contains(rest, "--workload") {
		rest = "--idle 300ms " + rest
	}
	return "measure -q --margin 300ms " + rest
}

// monitorForTests ends a monitor that would go on, as Ctrl-C would.
func monitorForTests(line string) string {
	if !strings.HasPrefix(line, "monitor") && !strings.Contains(line, "| monitor") {
		return line
	}
	line = strings.Replace(line, "--listen 127.0.0.1:8080", "--listen 127.0.0.1:0", 1)
	if strings.Contains(line, "| monitor") { // ends with what it reads
		return strings.NewReplacer("record ", "record --for 1s ", "tee -i power.arrows", "tee live.arrows").Replace(line)
	}
	return "timeout -s INT 3 " + line + " < /dev/null || [ $? = 124 ]"
}

var ofArchive = regexp.MustCompile(`^reduce .*( results/| outputs/| result\.json| benchmarks\.json)`)

// otherArchives puts what other tools left of runs where the manuals say.
func otherArchives(dir string) error {
	root, err := filepath.Abs("../../..")
	if err != nil {
		return err
	}
	for to, from := range map[string]string{
		"results": "cmd/internal/reduce/testdata/inferencex/nvidia", "result.json": "formats/benchserve/testdata/trtllm.json",
		"benchmarks.json": "testdata/interop/results/guidellm-0.8.1.json",
	} {
		if err := os.Symlink(filepath.Join(root, from), filepath.Join(dir, to)); err != nil {
			return err
		}
	}
	job := filepath.Join(dir, "outputs", "12345", "logs")
	if err := os.CopyFS(filepath.Join(job, "power"), os.DirFS(filepath.Join(root, "formats/srtslurm/testdata/power"))); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(job, "sa-bench_1"), 0o777); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"energy-before.json": `{"total_energy_j": 1000.125, "query_time": 81000.125}`,
		"energy-after.json":  `{"total_energy_j": 1512.375, "query_time": 81000.375}`,
		"outputs/12345/logs/sa-bench_1/results_concurrency_64_gpus_4.json": `{"max_concurrency": 64, "duration": 10.5, "completed": 640,
			"benchmark_start_time_unix": 1788000009.25, "benchmark_end_time_unix": 1788000019.75, "total_input_tokens": 655360, "total_output_tokens": 6400}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			return err
		}
	}
	return nil
}

func runBlock(t *testing.T, home, url, exporter string, block, reports []string) {
	dir := t.TempDir()
	for _, name := range append([]string{"dataset.jsonl", "dataset.jsonl.gz", "mooncake.jsonl", "sharegpt.json", "tokenizer.json", "plan.yaml", "smi.csv", "topology.yaml", "calibration.yaml", "sensors.yaml", "trace.jsonl", "trace.jsonl.timing", "requests.jsonl", "power.arrows"}, slices.Clone(reports)...) {
		if err := os.Symlink(filepath.Join(home, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	archive, err := filepath.Abs("../../../testdata/interop/aiperf-0.13/warmed")
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "artifacts"), 0o777)
	}
	if err == nil {
		err = os.Symlink(archive, filepath.Join(dir, "artifacts", "DIR"))
	}
	if err == nil {
		err = otherArchives(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for _, line := range block {
		line = strings.TrimPrefix(line, "$ ")
		if strings.Contains(line, "aiperf profile ") {
			continue // needs aiperf: make interop has it
		}
		line, _, _ = strings.Cut(line, " && aiperf plot ")
		if ofArchive.MatchString(line) {
			line += " || [ $? = 3 ]" // with failed requests, or of another time than the recording
		}
		if strings.HasSuffix(line, " artifacts/DIR") || strings.Contains(line, " artifacts/DIR ") {
			line += " || [ $? = 3 ]" // a run too short for our energy
		}
		if strings.HasPrefix(line, "simulate ") {
			line = strings.Replace(line, "--dcgm-listen 127.0.0.1:9400", "--dcgm-listen 127.0.0.1:0 --dcgm-addr-file own.page", 1)
		}
		line = strings.Replace(line, "dcgm:127.0.0.1:9400", "dcgm:$(cat own.page)", 1)
		if strings.HasPrefix(line, "simulate ") { // a server of the block's own, at a port that is free
			if _, err := exec.LookPath("curl"); err != nil {
				t.Skip("no curl")
			}
			script.WriteString("trap 'kill %1' EXIT\n")
			if !strings.Contains(line, "--listen") {
				line = strings.Replace(line, "simulate ", "simulate --listen 127.0.0.1:0 --addr-file own.url ", 1) +
					"\nuntil [ -s own.url ]; do sleep 0.1; done; url=$(cat own.url)"
			}
		} else if strings.HasPrefix(line, "curl ") {
			line = server.ReplaceAllString(line, "$$url")
		}
		if strings.HasPrefix(line, "kill %1") {
			script.WriteString("trap - EXIT\n")
		}
		for _, m := range writes.FindAllStringSubmatch(line, -1) {
			fmt.Fprintf(&script, "rm -f %s %s.timing\n", m[1], m[1])
		}
		if strings.HasSuffix(line, "> requests.jsonl") {
			script.WriteString("rm -f requests.jsonl\n")
		}
		line = seconds.ReplaceAllString(line, "$1 2s")
		line = measureForTests(line)
		line = monitorForTests(line)
		line = strings.ReplaceAll(node.ReplaceAllString(line, exporter+"/$1"), "--listen :9835", "--listen :0")
		if strings.Contains(line, "| head") { // which, once it has enough, may end the writer by SIGPIPE
			line += " || test $? = 141"
		}
		script.WriteString(server.ReplaceAllString(line, url) + "\n")
	}
	shell(t, dir, home, script.String())
}
