package reduce

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wattrace/reduce"
)

const inferencexDir = "testdata/inferencex"

// copyFiles copies files of a directory into a new one, with what replaces some of them.
func copyFiles(t *testing.T, from string, replace map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if _, gone := replace[e.Name()]; !gone {
			writeFile(t, filepath.Join(dir, e.Name()), string(b))
		}
	}
	for name, text := range replace {
		if text != "" {
			writeFile(t, filepath.Join(dir, name), text)
		}
	}
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// other returns what another tool would have published of the only phase.
func other(t *testing.T, rep *reduce.Report) *reduce.OtherTool {
	t.Helper()
	if len(rep.Phases) != 1 || len(rep.Phases[0].Others) != 1 {
		t.Fatalf("%+v", rep.Phases)
	}
	return &rep.Phases[0].Others[0]
}

// TestInferenceXArchive: what InferenceX published of a run, again from its archive, to the
// last digit that it gives; figures of testdata are of another program's arithmetic.
func TestInferenceXArchive(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dir            string
		published      int
		sent, ok       int64
		input, output  float64
		inputs, stated int
		accumulated    float64
		users          bool // the requests say how many were in flight
	}{
		{"nvidia", 11, 64, 61, 61440, 30713, 4, 3, 0, false},
		{"amd", 15, 4, 3, 3072, 12, 6, 4, 9800 + 9751.25, true},
	} {
		dir := filepath.Join(inferencexDir, c.dir)
		for _, operands := range [][]string{{dir}, {filepath.Join(dir, "gpu_metrics.csv"), filepath.Join(dir, "run.json")}} {
			rep := otherReport(t, 3, append([]string{"--timezone", "UTC", "--as", "inferencex"}, operands...)...)
			o := other(t, &rep)
			if published, same := o.Agreement(); published != c.published || same != published {
				t.Errorf("%s: of %d figures %d are the same: %+v", c.dir, published, same, o)
			}
			ph := rep.Phases[0]
			if ph.Requests.Sent != c.sent || ph.Requests.Succeeded != c.ok || *ph.Tokens.Input != c.input || *ph.Tokens.Output != c.output ||
				ph.Devices.Expected != 2 || ph.Devices.Seen != 2 || len(rep.Inputs) != c.inputs || len(rep.Stated) != c.stated {
				t.Errorf("%s: %+v, %d inputs, %d statements", c.dir, ph, len(rep.Inputs), len(rep.Stated))
			}
			if _, ok := ph.Metrics[reduce.EnergyPerUserMeasured]; ok != c.users {
				t.Errorf("%s: users are known: %v", c.dir, ok)
			}
			if rep.Attribution != nil || len(ph.Windows) > 0 {
				t.Errorf("%s: what has no course has parts: %+v", c.dir, ph.Windows)
			}
			for _, f := range o.Figures {
				if f.Name == "accumulator_check.accumulator_delta_j" && f.Value != c.accumulated {
					t.Errorf("%s: %v", c.dir, f.Value)
				}
			}
		}
	}
}

// TestInferenceXHostile: archives that lack something, are mixed up, or lie.
func TestInferenceXHostile(t *testing.T) {
	t.Parallel()
	from := filepath.Join(inferencexDir, "nvidia")
	result, csv := readFile(t, filepath.Join(from, "run.json")), readFile(t, filepath.Join(from, "gpu_metrics.csv"))
	swap := func(old, new string) string {
		if !strings.Contains(result, old) {
			t.Fatalf("no %s", old)
		}
		return strings.Replace(result, old, new, 1)
	}
	const start, end = `"benchmark_start_time_unix": 1788257709.4231179`, `"benchmark_end_time_unix": 1788257729.8702514`
	for name, c := range map[string]struct {
		replace map[string]string
		code    int
		says    []string // on standard error, or in the report
	}{
		"two results":   {map[string]string{"other.json": result}, 1, []string{"holds the results of two runs, ", "name the files of one of them"}},
		"no power":      {map[string]string{"gpu_metrics.csv": ""}, 3, []string{`"no_telemetry"`, "telemetry_file_missing"}},
		"swapped power": {map[string]string{"gpu_metrics.csv": strings.ReplaceAll(csv, "2026/09/01", "2026/09/02")}, 3, []string{`"not_bracketed"`, "no_usable_power_samples"}},
		"other audit": {map[string]string{"power_validation_run.json": strings.ReplaceAll(readFile(t, filepath.Join(from, "power_validation_run.json")), "1788257709.4231179", "1788257708")},
			3, []string{"its benchmark_window is that of no result here"}},
		"other aggregate": {map[string]string{"agg_run.json": strings.Replace(readFile(t, filepath.Join(from, "agg_run.json")), `"conc": 8`, `"conc": 16`, 1)}, 3, []string{"is of a run with a concurrency of 16"}},
		"old aggregate":   {map[string]string{"agg_run.json": strings.Replace(readFile(t, filepath.Join(from, "agg_run.json")), `"power_metric_schema_version": 2,`, "", 1)}, 3, []string{"is not of power_metric_schema_version 2"}},
		"no aggregate":    {map[string]string{"agg_run.json": "{}"}, 1, []string{"agg_run.json: is a unknown format, not the aggregate of InferenceX"}},
		"backwards":       {map[string]string{"run.json": swap(end, `"benchmark_end_time_unix": 1788257700.5`)}, 3, []string{"does not come after", "no_clock"}},
		"NaN":             {map[string]string{"run.json": swap(start, `"benchmark_start_time_unix": NaN`)}, 3, []string{"it says when it began or when it ended, and not both"}},
		"huge":            {map[string]string{"run.json": swap(start, `"benchmark_start_time_unix": 9e99`)}, 1, []string{"run.json:1:", "benchmark_start_time_unix must be a Unix time in seconds"}},
		"text":            {map[string]string{"run.json": swap(start, `"benchmark_start_time_unix": "secret"`)}, 1, []string{"must be a Unix time in seconds"}},
		"many tokens":     {map[string]string{"run.json": swap(`"total_input_tokens": 61440`, `"total_input_tokens": 1e18`)}, 1, []string{"total_input_tokens must be a whole number"}},
		"no tokens":       {map[string]string{"run.json": swap(`"total_output_tokens": 30713`, `"total_output_tokens": 0`)}, 3, []string{"invalid_output_token_count"}},
		"another duration": {map[string]string{"run.json": swap(`"duration": 20.4468`, `"duration": 12.5`)}, 3,
			[]string{"it took 12.5s by its duration and 20.4471335s by the wall clock", "benchmark_duration_mismatch"}},
		"one GPU":   {map[string]string{"gpu_metrics.csv": without(csv, ", 1, ")}, 3, []string{"expected_gpu_count_mismatch", `"missing_device"`}},
		"truncated": {map[string]string{"gpu_metrics.csv": csv[:len(csv)/2]}, 3, []string{"benchmark_window_not_bracketed"}},
	} {
		dir := copyFiles(t, from, c.replace)
		code, out, errs := runMain(t, "--format", "json", "--timezone", "UTC", "--as", "inferencex", dir)
		if code != c.code || strings.Contains(out+errs, "secret") {
			t.Errorf("%s: exit %d: %s", name, code, errs)
		}
		for _, want := range c.says {
			if !strings.Contains(out+errs, want) {
				t.Errorf("%s: says nothing of %s: %s%s", name, want, errs, tail(out))
			}
		}
	}
	// A cell that says that there is no power is a sample that InferenceX refuses.
	lines := strings.Split(csv, "\n")
	f := strings.Split(lines[30], ", ")
	f[2] = "[N/A]"
	lines[30] = strings.Join(f, ", ")
	dir := copyFiles(t, from, map[string]string{"gpu_metrics.csv": strings.Join(lines, "\n")})
	if rep := otherReport(t, 3, "--timezone", "UTC", "--as", "inferencex", dir); !strings.Contains(strings.Join(other(t, &rep).Reasons, " "), "invalid_power_sample") {
		t.Errorf("%+v", rep.Phases[0].Others)
	}
	for _, flag := range []string{"--every=1s", "--window=a=1788257710..1788257711"} {
		if code, _, errs := runMain(t, flag, from); code != 1 || !strings.Contains(errs, "does not say when its requests were sent: nothing can be said of parts of the run") {
			t.Errorf("exit %d: %s", code, errs)
		}
	}
	amd := copyFiles(t, filepath.Join(inferencexDir, "amd"), map[string]string{"gpu_metrics_energy_end.csv": ""})
	if rep := otherReport(t, 3, "--as", "inferencex", amd); !strings.Contains(fmt.Sprint(rep.Warnings), "only those of one moment are there") {
		t.Errorf("%+v", rep.Warnings)
	}
	amd = copyFiles(t, filepath.Join(inferencexDir, "amd"), map[string]string{"gpu_metrics_energy_end.csv": "gpu,total_energy_consumption\n0,1000\n0,2\n"})
	if code, _, errs := runMain(t, amd); code != 1 || !strings.Contains(errs, "gpu_metrics_energy_end.csv:3:1: GPU 0 is there twice") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func tail(s string) string { return s[max(0, len(s)-1500):] }

// without leaves lines out.
func without(text, part string) string {
	var keep []string
	for _, line := range strings.Split(text, "\n") {
		if !strings.Contains(line, part) {
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "\n")
}

// TestEnergyMetrics: two answers of trtllm-serve's meter give benchmark_serving's energy
// again, which stands beside what it published.
func TestEnergyMetrics(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	trtllm := filepath.Join(formatsDir, "benchserve/testdata/trtllm.json")
	write := func(name string, joules, seconds float64) string {
		path := filepath.Join(dir, name)
		writeFile(t, path, fmt.Sprintf(`{"total_energy_j": %.4f, "query_time": %v}`, joules, seconds))
		return path
	}
	before, after := write("before.json", 1000.125, 81000.125), write("after.json", 1512.375, 81000.375)
	rep := otherReport(t, 3, "--as", "trtllm", after, trtllm, before)
	published := map[string]*float64{}
	values := map[string]float64{}
	for _, f := range other(t, &rep).Figures {
		values[f.Name], published[f.Name] = f.Value, f.Published
	}
	tokens := *rep.Phases[0].Tokens.Output
	if values["energy.total_energy_j"] != 512.25 || values["energy.total_gpu_power_w"] != 512.25/0.25 || math.Abs(values["energy.output_tps_per_w"]-tokens/512.25) > 1e-15 ||
		published["energy.total_energy_j"] == nil || *published["energy.total_energy_j"] != 512.25 {
		t.Errorf("%v", values)
	}
	for name, c := range map[string]struct {
		files []string
		code  int
		says  string
	}{
		"one":     {[]string{trtllm, before}, 3, "is one answer of /energy_metrics"},
		"three":   {[]string{trtllm, before, after, write("more.json", 3, 90000)}, 1, "3 answers of /energy_metrics in all"},
		"fell":    {[]string{trtllm, before, write("fell.json", 3, 90000)}, 1, "the server was started anew in between"},
		"same":    {[]string{trtllm, before, write("same.json", 1000.125, 81000.125)}, 1, "is the same answer of /energy_metrics as"},
		"wide":    {[]string{trtllm, before, write("wide.json", 9000, 81100)}, 3, "what was drawn before and after it is in their energy"},
		"no run":  {[]string{before, after}, 0, "512.25 J and 0.25 s apart, 2049 W: no single run is here"},
		"refused": {[]string{trtllm, write("bad.json", -3, 5)}, 1, "bad.json:1:20: total_energy_j must be a number"},
	} {
		code, out, errs := runMain(t, append([]string{"--format", "json"}, c.files...)...)
		if code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("%s: exit %d: %s%s", name, code, errs, tail(out))
		}
	}
	// A result without single requests has the totals that the figures need.
	brief := filepath.Join(dir, "brief.json")
	writeFile(t, brief, `{"backend":"openai","num_prompts":4,"duration":0.25,"completed":4,"total_input_tokens":400,"total_output_tokens":1024.5,"user_throughput":1}`)
	if code, _, errs := runMain(t, brief); code != 1 || !strings.Contains(errs, "total_output_tokens must be a whole number") {
		t.Errorf("exit %d: %s", code, errs)
	}
	writeFile(t, brief, `{"backend":"openai","num_prompts":4,"duration":0.25,"completed":4,"total_input_tokens":400,"total_output_tokens":1024,"user_throughput":1}`)
	rep = otherReport(t, 0, "--as", "trtllm", brief, before, after)
	for _, f := range other(t, &rep).Figures {
		if f.Name == "energy.output_tps_per_w" && f.Value != 1024/512.25 {
			t.Errorf("%v", f)
		}
	}
}

// slurmJob makes the directory of a job of srt-slurm: its power package, and a result of sa-bench
// whose window the package has.
func slurmJob(t *testing.T, start, end float64) string {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "logs", "power"), os.DirFS(filepath.Join(formatsDir, "srtslurm/testdata/power"))); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root, "logs", "benchmark.out"), "Serving Benchmark Result\n")
	writeFile(t, filepath.Join(root, "logs", "sa-bench_isl_1024_osl_1024", "results_concurrency_64_gpus_4.json"), fmt.Sprintf(
		`{"num_prompts":640,"max_concurrency":64,"duration":10.5,"benchmark_start_time_unix":%v,"benchmark_end_time_unix":%v,"completed":640,"total_input_tokens":655360,"total_output_tokens":6400}`, start, end))
	return root
}

// TestSlurmJob: a job's directory has its runs and its power, and roles their own energy.
func TestSlurmJob(t *testing.T) {
	t.Parallel()
	root := slurmJob(t, 1788000009.25, 1788000019.75)
	rep := otherReport(t, 0, "--as", "srt-slurm,inferencex", root)
	if w := warning(&rep, reduce.WarnMarksDiffer); w != "" || len(rep.Phases) != 1 || len(rep.Phases[0].Roles) == 0 || rep.Phases[0].Requests.Succeeded != 640 {
		t.Fatalf("%s, %+v", w, rep.Phases)
	}
	figures := map[string]float64{}
	for _, o := range rep.Phases[0].Others {
		for _, f := range o.Figures {
			figures[f.Name] = f.Value
		}
	}
	roles, nodes := 0., 0.
	for name, v := range figures {
		if strings.HasPrefix(name, "gpu_per_role.") {
			roles += v
		}
		if strings.HasPrefix(name, "gpu_per_node.") {
			nodes += v
		}
	}
	total := figures["gpu_total_joules"]
	if total <= 0 || math.Abs(roles-total) > 1e-9*total || math.Abs(nodes-total) > 1e-9*total || math.Abs(figures["joules_per_total_token"]-figures["total_gpu_energy_j"]/661760) > 1e-6 {
		t.Errorf("%v", figures)
	}
	// The same, named apart.
	logs := filepath.Join(root, "logs")
	apart := otherReport(t, 0, filepath.Join(logs, "power"), filepath.Join(logs, "sa-bench_isl_1024_osl_1024", "results_concurrency_64_gpus_4.json"))
	if a, b := energy(t, &rep, "benchmark"), energy(t, &apart, "benchmark"); a != b || warning(&apart, reduce.WarnMarksDiffer) != "" {
		t.Errorf("%v J and %v J", a, b)
	}
	// A result of another time than its window says so.
	rep = otherReport(t, 0, slurmJob(t, 1788000009.25, 1788000018.5))
	if w := warning(&rep, reduce.WarnMarksDiffer); !strings.Contains(w, `"sa-bench c64" ends 1.25s later than "benchmark"`) {
		t.Error(w)
	}
	rep = otherReport(t, 3, slurmJob(t, 1788000109.25, 1788000118.5))
	if w := warning(&rep, reduce.WarnMarksDiffer); !strings.Contains(w, "none of its windows is of the time of a phase") {
		t.Error(w)
	}
}

// TestGuideLLMReport has what guidellm 0.8.1 published of a real run again.
func TestGuideLLMReport(t *testing.T) {
	t.Parallel()
	rep := otherReport(t, 0, "--as", "guidellm", "../../../testdata/interop/results/guidellm-0.8.1.json")
	o := other(t, &rep)
	if published, same := o.Agreement(); published != 21 || same != published {
		t.Errorf("of %d figures %d are the same: %+v", published, same, o.Figures)
	}
	if ph := rep.Phases[0]; ph.Requests.Succeeded != 5 || *ph.Tokens.Output != 40 || ph.Start != "2026-11-27T21:21:22.467633700Z" || ph.Concurrency != 2 {
		t.Errorf("%+v", ph)
	}
}

// TestVLLMResults: what vLLM's benchmark published of its runs is what reduce makes of their
// requests, as far as their times, which it keeps to the nanosecond, go.
func TestVLLMResults(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("../../../testdata/interop/results/vllm-*.json")
	if err != nil || len(paths) != 2 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		compareVLLM(t, path)
	}
}

// TestInteropVLLM runs vLLM's benchmark against simulate.
func TestInteropVLLM(t *testing.T) {
	program, bin := os.Getenv("WATTRACE_VLLM"), os.Getenv(ourPrograms)
	if program == "" || bin == "" {
		t.Skipf("WATTRACE_VLLM and %s do not name vllm and our programs", ourPrograms)
	}
	r := &rig{t: t, dir: t.TempDir(), bin: bin}
	r.files()
	r.start()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "bench", "serve", "--backend", "openai", "--base-url", r.url, "--endpoint", "/v1/completions", "--model", "m", "--tokenizer", r.tokenizer,
		"--dataset-name", "random", "--random-input-len", "50", "--random-output-len", "20", "--num-prompts", "40", "--request-rate", "20", "--ignore-eos",
		"--save-result", "--save-detailed", "--result-dir", r.dir, "--result-filename", "result.json", "--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,90,99")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	compareVLLM(t, filepath.Join(r.dir, "result.json"))
}

// compareVLLM compares the report of a result with what the result itself says.
func compareVLLM(t *testing.T, path string) {
	t.Helper()
	var published map[string]any
	if err := json.Unmarshal([]byte(readFile(t, path)), &published); err != nil {
		t.Fatal(err)
	}
	rep := otherReport(t, 0, path)
	if len(rep.Phases) != 1 {
		t.Fatalf("%s: %d phases", path, len(rep.Phases))
	}
	ph := rep.Phases[0]
	same := 0
	// A file without latencies has those of its tool no more: the end of an answer is then its last event.
	_, whole := published["latencies"]
	check := func(key string, ours float64) {
		theirs, ok := published[key].(float64)
		if !ok {
			return // an older version does not say it
		}
		same++
		near := 2e-6 // nanoseconds of milliseconds
		if !whole && (strings.Contains(key, "tpot") || strings.Contains(key, "e2el")) {
			near = 1e-3
		}
		if math.Abs(ours-theirs) > near*math.Abs(theirs) {
			t.Errorf("%s: %s is %v, and of its requests %v", path, key, theirs, ours)
		}
	}
	check("completed", float64(ph.Requests.Succeeded))
	check("total_input_tokens", *ph.Tokens.Input)
	check("total_output_tokens", *ph.Tokens.Output)
	for name, tag := range map[string]string{"ttft": reduce.TimeToFirstToken, "tpot": reduce.InterTokenLatency, "e2el": reduce.RequestLatency, "itl": reduce.InterTokenLatencyPooled} {
		d := ph.Metrics[tag].Distribution
		if d == nil {
			t.Errorf("%s: no %s", path, tag)
			continue
		}
		check("mean_"+name+"_ms", 1e3*d.Mean)
		if name == "itl" {
			continue // of a histogram
		}
		check("median_"+name+"_ms", 1e3*d.P50)
		check("std_"+name+"_ms", 1e3*d.Std)
		check("p90_"+name+"_ms", 1e3*d.P90)
		check("p99_"+name+"_ms", 1e3*d.P99)
	}
	if same < 16 {
		t.Errorf("%s: %d figures in all", path, same)
	}
	t.Logf("%s: %d figures", path, same)
}
