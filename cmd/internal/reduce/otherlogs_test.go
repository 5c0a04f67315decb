package reduce

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wattrace/reduce"
)

const formatsDir = "../../../formats"

// otherReport reduces files of other tools.
func otherReport(t *testing.T, wantCode int, args ...string) (rep reduce.Report) {
	t.Helper()
	code, out, errs := runMain(t, append([]string{"--format", "json"}, args...)...)
	if code != wantCode {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if err := json.Unmarshal([]byte(out), &rep); err != nil {
		t.Fatal(err)
	}
	return rep
}

func warning(rep *reduce.Report, code reduce.Code) string {
	for _, w := range rep.Warnings {
		if w.Code == code {
			return w.Message
		}
	}
	return ""
}

// TestBenchResults has the figures that each serving benchmark published again, from the
// columns of its own file.
func TestBenchResults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		file, tool string
		code       int
		missing    []string // which the file's columns cannot give
	}{
		{"vllm-2026.json", "vllm", 3, nil}, {"vllm-2025.json", "vllm", 3, nil}, {"trtllm.json", "trtllm", 3, nil}, {"sglang.jsonl", "sglang", 0, []string{"mean_e2e_latency_ms", "concurrency"}},
	} {
		path := filepath.Join(formatsDir, "benchserve/testdata", c.file)
		rep := otherReport(t, c.code, "--as", c.tool, path)
		stated := map[string]float64{}
		for _, f := range rep.Stated[0].Figures {
			stated[f.Name] = f.Value
		}
		ph := rep.Phases[0]
		n := 0
		for _, f := range ph.Others[0].Figures {
			want, ok := stated[f.Name]
			if !ok || slices.Contains(c.missing, f.Name) {
				continue
			}
			n++
			exact := 1e-9
			if strings.HasPrefix(f.Name, "median_itl") || strings.HasPrefix(f.Name, "p99_itl") {
				exact = 4e-3 // of a histogram
			}
			if math.Abs(f.Value-want) > exact*want {
				t.Errorf("%s: %s is %v, published was %v", c.file, f.Name, f.Value, want)
			}
		}
		if n < 10 {
			t.Errorf("%s: only %d figures of %+v", c.file, n, stated)
		}
		if ph.Start != "" || ph.End != "" || ph.DurationSeconds == nil || len(ph.Windows) > 0 && c.file != "vllm-2026.json" {
			t.Errorf("%s: %+v", c.file, ph)
		}
		if c.file == "trtllm.json" && stated["energy.total_energy_j"] != 512.25 {
			t.Errorf("%+v", rep.Stated)
		}
		if _, ok := ph.Metrics[reduce.TotalGPUEnergy]; ok {
			t.Error("a stated energy became ours")
		}
	}
}

// TestStatementsOnly: a report of figures is given as it stands.
func TestStatementsOnly(t *testing.T) {
	t.Parallel()
	report := filepath.Join(formatsDir, "trtllmbench/testdata/report.json")
	rep := otherReport(t, 0, report)
	if len(rep.Phases) != 0 || len(rep.Inputs) != 1 || rep.Stated[0].Tool != "trtllm" || rep.Stated[0].Path != report || warning(&rep, reduce.WarnLogLimits) == "" {
		t.Errorf("%+v", rep)
	}
	for form, want := range map[string]string{
		"text": "energy.total_energy_j: 1234.5 J\n", "markdown": "- `energy.total_energy_j`: 1234.5 J\n", "csv": ",,stated,,,energy.total_energy_j,value,1234.5,J,,,,,,trtllm\n",
	} {
		if code, out, errs := runMain(t, "--format", form, report); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d: %s%s", form, code, out, errs)
		}
	}
	if code, _, errs := runMain(t, "--per-request", filepath.Join(t.TempDir(), "x"), report); code != 1 || !strings.Contains(errs, "there is no energy to split") {
		t.Errorf("exit %d: %s", code, errs)
	}
	// Beside the requests of the run it adds what it states.
	rep = otherReport(t, 3, report, filepath.Join(formatsDir, "trtllmbench/testdata/requests.json"))
	if len(rep.Phases) != 1 || rep.Phases[0].Requests.Succeeded != 3 || len(rep.Stated) != 1 {
		t.Errorf("%+v", rep)
	}
}

// bootRequests writes a --request_json of one request from 10 to 20 s of true time, on the
// boot of m.
func bootRequests(t *testing.T, path string, m machine) string {
	t.Helper()
	at := func(d time.Duration) int64 { return m.snapshot(d, d).MonotonicNanos }
	text := fmt.Sprintf(`[{"id":1,"num_input_tokens":100,"start_timestamp":%d,"first_token_timestamp":%d,"end_timestamp":%d,"num_total_output_tokens":50}]`,
		at(10*second), at(11*second), at(20*second))
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSameBoot: times since a boot are joined exactly with a recording of that boot, once
// the user says so, and not before.
func TestSameBoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := machine{host: "h", boot: "b"}
	log := bootRequests(t, filepath.Join(dir, "r.json"), m)
	power := writePower(t, filepath.Join(dir, "p.arrows"), m, "GPU-0", nil)

	rep := otherReport(t, 3, log, power)
	said := warning(&rep, reduce.WarnNoClock)
	if len(rep.Phases) != 1 || rep.Phases[0].Devices != nil || len(rep.Inputs) != 1 ||
		!strings.Contains(said, "its times are since a boot that it does not name, so that it is not joined with "+power+": nothing is said of power and energy") ||
		!strings.Contains(said, "it begins 11s after the start of "+power+" and takes 10s: --same-boot "+log+" joins them so, exactly") {
		t.Errorf("%+v", rep)
	}
	for _, flag := range []string{log, log + "=" + power} {
		rep = otherReport(t, 0, "--same-boot", flag, log, power)
		if e := energy(t, &rep, "benchmark"); math.Abs(e-2000) > 30 || warning(&rep, reduce.WarnClock) != "" {
			t.Errorf("%v J, %+v", e, rep.Warnings)
		}
		if ph := rep.Phases[0]; ph.Start == "" || *ph.DurationSeconds != 10 || len(rep.Inputs) != 2 {
			t.Errorf("%+v", ph)
		}
	}
	other := writePower(t, filepath.Join(dir, "q.arrows"), machine{host: "i", boot: "c"}, "GPU-1", nil)
	ours := writeLog(t, filepath.Join(dir, "ours.jsonl"), m, 0, nil)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--same-boot", log}, 2, "there is no recording that names its boot"},
		{[]string{"--same-boot", log, power, other}, 2, "the recordings are of several boots: say which, as in " + log + "="},
		{[]string{"--same-boot", log + "=nowhere", power}, 2, "nowhere is not among the recordings"},
		{[]string{"--same-boot", "nowhere", power}, 2, "nowhere is not among the logs whose times are since a boot"},
		{[]string{"--same-boot", log, "--same-boot", log, power}, 2, "each log once"},
		{[]string{ours}, 1, "cannot be put beside another log"},
		{[]string{"--window", "a=1..2"}, 1, "nothing can be said of a --window"},
	} {
		if code, _, errs := runMain(t, append(c.args, log)...); code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%q: exit %d: %s, want %s", c.args, code, errs, c.want)
		}
	}
}

// TestUnplaced: where nothing says when requests were sent there is no energy, and no
// window, slice or steady part.
func TestUnplaced(t *testing.T) {
	t.Parallel()
	log := filepath.Join(formatsDir, "benchserve/testdata/vllm-2025.json")
	power := writePower(t, filepath.Join(t.TempDir(), "p.arrows"), machine{host: "h", boot: "b"}, "GPU-0", nil)
	rep := otherReport(t, 3, log, power)
	if said := warning(&rep, reduce.WarnNoClock); !strings.HasSuffix(said, "it does not say when its requests were sent, so that it is not joined with "+power+": nothing is said of power and energy") {
		t.Errorf("%+v", rep.Warnings)
	}
	if warning(&rep, reduce.WarnNoTelemetry) != "" || len(rep.Phases[0].Windows) != 0 {
		t.Errorf("%+v", rep)
	}
	if code, _, errs := runMain(t, "--every", "1s", log); code != 1 || !strings.Contains(errs, "nothing can be said of slices") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestPerfMetrics: the server's own times give its latencies.
func TestPerfMetrics(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]float64{"perf_metrics.json": 0.027, "perf_metrics-1.jsonl": 0.027, "disaggregated.json": 0.061} {
		rep := otherReport(t, 0, filepath.Join(formatsDir, "perfmetrics/testdata", name))
		if m := rep.Phases[0].Metrics[reduce.TimeToFirstToken]; m.Distribution == nil || math.Abs(m.Mean-want) > 1e-6 {
			t.Errorf("%s: %+v", name, m)
		}
		if !strings.Contains(warning(&rep, reduce.WarnLogLimits), "first_scheduled_time") {
			t.Errorf("%+v", rep.Warnings)
		}
	}
}

// rawRun is where a run of three named phases is.
const rawRun = formatsDir + "/aiperf/testdata/profile_export_raw.jsonl"

// TestAIPerfRaw: every named phase is one, with its own load.
func TestAIPerfRaw(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	raw, err := os.ReadFile(rawRun)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("foo_raw.jsonl", string(raw))
	write("foo.json", `{"aiperf_version":"0.13.0","input_config":{"phases":[{"name":"warm","kind":"warmup","type":"concurrency","concurrency":1},
		{"name":"low","type":"concurrency","concurrency":2},{"name":"high","type":"poisson","rate":9}]}}`)
	write("phase_manifest.json", `{"phases":[{"phase_index":0,"phase_name":"warm"}],"schema_version":1}`)
	rep := otherReport(t, 3, dir) // a request failed
	var names []string
	for _, ph := range rep.Phases {
		names = append(names, fmt.Sprintf("%s %s %d %s", ph.Name, ph.Kind, ph.Concurrency, ph.Load))
	}
	if want := []string{"warm warmup 1 ", "low measure 2 ", "high measure 0 open"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	if ph := rep.Phases[1]; *ph.DurationSeconds != 0.61 || *ph.Tokens.Output != 11 || ph.Start != "2026-05-28T20:26:41.000000000Z" {
		t.Errorf("%+v", ph)
	}
	// With both files of a run the answers count, unless the server did not count.
	records := ""
	for i := range 7 {
		records += fmt.Sprintf(`{"metadata":{"request_start_ns":%d,"request_end_ns":%d,"phase_name":"low"},"metrics":{"request_latency":{"value":1,"unit":"ms"},"output_sequence_length":{"value":3,"unit":"tokens"}}}`+"\n",
			1780000000000000000+i, 1780000000001000000+i)
	}
	write("foo.jsonl", records)
	for _, c := range []struct{ raw, taken, why string }{
		{string(raw), "foo_raw.jsonl", "it says when each event came"},
		{strings.ReplaceAll(string(raw), "completion_tokens", "x"), "foo.jsonl", "lacks the server's count of tokens (5 requests)"},
		{string(raw[:len(raw)/2]), "foo.jsonl", "of its 7 requests"},
	} {
		write("foo_raw.jsonl", c.raw)
		code, out, errs := runMain(t, "--format", "json", dir)
		rep := reduce.Report{}
		if err := json.Unmarshal([]byte(out), &rep); err != nil {
			t.Fatalf("exit %d: %s", code, errs)
		}
		if said := warning(&rep, reduce.WarnLogChosen); !strings.Contains(said, c.taken+" is taken") || !strings.Contains(said, c.why) {
			t.Errorf("%s", said)
		}
		if !slices.ContainsFunc(rep.Inputs, func(in reduce.Input) bool { return filepath.Base(in.Path) == c.taken }) || len(rep.Inputs) != 2 {
			t.Errorf("%+v", rep.Inputs)
		}
	}
	code, _, errs := runMain(t, filepath.Join(dir, "phase_manifest.json"))
	if code != 1 || !strings.Contains(errs, "hint: name its directory") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestAIPerfSeveralRuns: a directory of runs is none, and says where they are.
func TestAIPerfSeveralRuns(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(rawRun)
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	for _, dir := range []string{"profile_runs/run_0001", "profile_runs/run_0002", "profile_runs/run_0003", "profile_runs/run_0004", "aggregate"} {
		dir = filepath.Join(base, dir)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if filepath.Base(dir) != "aggregate" {
			err = os.WriteFile(filepath.Join(dir, "profile_export_raw.jsonl"), raw, 0o666)
		} else {
			err = os.WriteFile(filepath.Join(dir, "profile_export_aiperf_aggregate.json"), []byte("{}"), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	code, _, errs := runMain(t, base)
	if code != 1 || !strings.Contains(errs, base+": holds several runs of aiperf, or one deeper: "+filepath.Join(base, "profile_runs/run_0001")+", ") || !strings.Contains(errs, "run_0003 and 1 more\n") || !strings.Contains(errs, "hint: reduce one of them") {
		t.Errorf("exit %d: %s", code, errs)
	}
	one := t.TempDir()
	err = os.Mkdir(filepath.Join(one, "raw_records"), 0o777)
	if err == nil {
		err = os.WriteFile(filepath.Join(one, "raw_records", "raw_records_a.jsonl"), raw, 0o666)
	}
	if code, _, errs := runMain(t, one); err != nil || code != 1 || !strings.Contains(errs, "raw records of a run that was not ended") {
		t.Errorf("exit %d: %s, %v", code, errs, err)
	}
}
