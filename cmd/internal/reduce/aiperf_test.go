package reduce

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wattrace/reduce"
	"wattrace/trace"
)

const aiperfRun = "../../../formats/aiperf/testdata/profile_export.jsonl"

// aiperfReport reduces a file of aiperf and returns the figures that it would publish.
func aiperfReport(t *testing.T, args ...string) (rep reduce.Report, figures map[string]float64) {
	t.Helper()
	code, out, errs := runMain(t, append([]string{"--format", "json", "--as", "aiperf"}, args...)...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if err := json.Unmarshal([]byte(out), &rep); err != nil {
		t.Fatal(err)
	}
	figures = map[string]float64{}
	for _, f := range rep.Phases[0].Others[0].Figures {
		figures[f.Name] = f.Value
	}
	return rep, figures
}

// numpy is np.percentile.
func numpy(sorted []float64, percent float64) float64 {
	at := percent / 100 * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// same compares to 15 digits: what an order of adding up changes.
func same(t *testing.T, name string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-14*math.Abs(want) {
		t.Errorf("%s is %v, aiperf has %v", name, got, want)
	}
}

// TestAIPerfFigures has the figures that aiperf's metrics of single requests make, from
// its own file, to the digit.
func TestAIPerfFigures(t *testing.T) {
	t.Parallel()
	f, err := os.Open(aiperfRun)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	values := map[string][]float64{}
	start, end := math.Inf(1), 0.
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var rec struct {
			Metadata struct {
				Timestamp int64 `json:"timestamp_ns"`
			} `json:"metadata"`
			Metrics map[string]struct {
				Value any `json:"value"`
			} `json:"metrics"`
		}
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			t.Fatal(err)
		}
		for name, m := range rec.Metrics {
			if v, ok := m.Value.(float64); ok {
				values[name] = append(values[name], v)
			}
		}
		if len(rec.Metrics) > 1 {
			sent := float64(rec.Metadata.Timestamp-1759522419154568925) / 1e9
			start, end = min(start, sent), max(end, sent+rec.Metrics["request_latency"].Value.(float64)/1e3)
		}
	}
	_, got := aiperfReport(t, aiperfRun)
	for theirs, ours := range map[string]string{
		"ttft": "time_to_first_token", "request_latency": "request_latency", "inter_token_latency": "inter_token_latency",
		"output_token_throughput_per_user": "output_token_throughput_per_user", "output_token_count": "output_token_count",
	} {
		list := values[theirs]
		slices.Sort(list)
		sum := 0.
		for _, v := range list {
			sum += v
		}
		same(t, ours, got[ours], sum/float64(len(list)))
		same(t, ours+".p50", got[ours+".p50"], numpy(list, 50))
		same(t, ours+".p99", got[ours+".p99"], numpy(list, 99))
	}
	tokens := 0.
	for _, n := range values["output_sequence_length"] {
		tokens += n
	}
	same(t, "total_osl", got["total_osl"], tokens)
	if d := got["benchmark_duration"]; math.Abs(d-(end-start)) > 1e-9 {
		t.Errorf("benchmark_duration is %v, want %v", d, end-start)
	}
	if got["request_count"] != 11 || got["error_request_count"] != 3 {
		t.Errorf("%v requests, %v errors", got["request_count"], got["error_request_count"])
	}
}

// TestAIPerfRun has the published figures of a whole run again, where there is one.
func TestAIPerfRun(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("WATTRACE_AIPERF_DATA")
	if dir == "" {
		t.Skip("WATTRACE_AIPERF_DATA does not name the folder of a run")
	}
	b, err := os.ReadFile(filepath.Join(dir, "profile_export_aiperf.json"))
	if err != nil {
		t.Fatal(err)
	}
	var published struct {
		Records map[string]struct{ Avg, P50, P99 float64 } `json:"records"`
	}
	if err := json.Unmarshal(b, &published); err != nil {
		t.Fatal(err)
	}
	rep, got := aiperfReport(t, filepath.Join(dir, "profile_export.jsonl"))
	if r := rep.Phases[0].Requests; r.Succeeded != 89 || r.Cancelled != 11 || rep.Phases[0].Concurrency != 100 {
		t.Errorf("%+v", r)
	}
	for theirs, ours := range map[string]string{
		"ttft": "time_to_first_token", "request_latency": "request_latency", "inter_token_latency": "inter_token_latency",
		"output_token_throughput_per_user": "output_token_throughput_per_user", "output_token_count": "output_token_count",
	} {
		p := published.Records[theirs]
		same(t, ours, got[ours], p.Avg)
		same(t, ours+".p50", got[ours+".p50"], p.P50)
		same(t, ours+".p99", got[ours+".p99"], p.P99)
	}
	for _, name := range []string{
		"request_count", "error_request_count", "total_isl", "total_osl", "total_output_tokens", "benchmark_duration", "request_throughput", "output_token_throughput",
	} {
		same(t, name, got[name], published.Records[name].Avg)
	}
}

// TestAIPerfAlone: its own telemetry gives a run its energy, to what 333 ms leave open.
func TestAIPerfAlone(t *testing.T) {
	t.Parallel()
	rep, figures := aiperfReport(t, aiperfRun, filepath.Join(filepath.Dir(aiperfRun), "gpu_telemetry_export.jsonl"))
	ph := rep.Phases[0]
	if want, got := 2*300**ph.DurationSeconds, energy(t, &rep, "profiling"); math.Abs(got-want) > 0.03*want {
		t.Errorf("%v J, want about %v", got, want)
	}
	if e, want := ph.Metrics[reduce.EnergyPerUser], ph.Metrics[reduce.TotalGPUEnergy].Value/100; math.Abs(e.Value-want) > 1e-6 {
		t.Errorf("%v J/user, want %v", e.Value, want)
	}
	// aiperf's recipe: the last reading before the start to the last until 666 ms after the end.
	if e := figures["nvidia_total_gpu_energy"]; e <= 5600 || e > 6200 {
		t.Errorf("as aiperf %v J", e)
	}
}

// TestAIPerfDirectory: a directory is as good as its files, under any prefix, and a
// recording beside it counts instead of its telemetry.
func TestAIPerfDirectory(t *testing.T) {
	t.Parallel()
	from := filepath.Dir(aiperfRun)
	dir := filepath.Join(t.TempDir(), "run")
	copyTo := func(name, as string) {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, as), b, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "sub.jsonl"), 0o777); err != nil {
		t.Fatal(err)
	}
	copyTo("gpu_telemetry_export.jsonl", "foo_gpu_telemetry.jsonl")
	for name, text := range map[string]string{
		"inputs.json": `{"data":[]}`, "foo_server_metrics.jsonl": `{"endpoint_url":"u","metrics":{}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, errs := runMain(t, dir); code != 1 || !strings.Contains(errs, dir+": is a directory, and holds no request log of aiperf, no result of a serving benchmark and no power package of srt-slurm\nreduce: hint: ") {
		t.Errorf("exit %d: %s", code, errs)
	}
	copyTo("profile_export.jsonl", "foo.jsonl")
	copyTo("profile_export_aiperf.json", "foo.json")
	schemas := func(rep *reduce.Report) (list []string) {
		for _, in := range rep.Inputs {
			list = append(list, filepath.Base(in.Path)+" "+in.Schema)
		}
		return list
	}
	byFiles, _ := aiperfReport(t, aiperfRun, filepath.Join(from, "gpu_telemetry_export.jsonl"))
	rep, _ := aiperfReport(t, dir)
	if got, want := energy(t, &rep, "profiling"), energy(t, &byFiles, "profiling"); got != want || rep.Phases[0].Concurrency != 100 {
		t.Errorf("%v J, by its files %v", got, want)
	}
	if got, want := schemas(&rep), []string{"foo.json aiperf profile_export_aiperf", "foo.jsonl aiperf profile_export", "foo_gpu_telemetry.jsonl aiperf gpu_telemetry_export"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	// A raw export that cannot be read costs nothing but a word.
	raw := filepath.Join(dir, "foo_raw.jsonl")
	if err := os.WriteFile(raw, []byte(`{"metadata":{},"start_perf_ns":1,"responses":[]}`+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	rep, _ = aiperfReport(t, dir)
	if w := rep.Warnings; energy(t, &rep, "profiling") != energy(t, &byFiles, "profiling") || !slices.ContainsFunc(w, func(w reduce.Warning) bool {
		return w.Code == reduce.WarnLogChosen && strings.Contains(w.Message, "foo.jsonl is taken, and foo_raw.jsonl is not: the other cannot be read")
	}) {
		t.Errorf("%+v", w)
	}
	if err := os.Remove(raw); err != nil {
		t.Fatal(err)
	}
	// A recording of another time gives it no energy, but its telemetry counts no more.
	power := writePower(t, filepath.Join(t.TempDir(), "p.arrows"), machine{host: "h", boot: "b"}, "GPU-0", nil)
	_, out, _ := runMain(t, "--format", "json", power, dir)
	rep = reduce.Report{}
	if err := json.Unmarshal([]byte(out), &rep); err != nil {
		t.Fatal(err)
	}
	if got := schemas(&rep); len(got) != 3 || !strings.HasPrefix(got[0], "p.arrows") && !strings.HasPrefix(got[2], "p.arrows") {
		t.Errorf("%q", got)
	}
	if _, ok := rep.Phases[0].Metrics[reduce.TotalGPUEnergy]; ok {
		t.Error("an energy of which no recording says anything")
	}
	if code, _, errs := runMain(t, dir, dir); code != 2 || !strings.Contains(errs, dir+" is named twice") {
		t.Errorf("exit %d: %s", code, errs)
	}
	copyTo("profile_export.jsonl", "bar.jsonl")
	if code, _, errs := runMain(t, dir); code != 1 || !strings.Contains(errs, "holds the requests of two runs, "+filepath.Join(dir, "bar.jsonl")+" and "+filepath.Join(dir, "foo.jsonl")) {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestAIPerfBesideOurs: a recording of ours gives such a run its energy, joined by wall
// clocks, whose uncertainty is said.
func TestAIPerfBesideOurs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// True time zero is 1780000000 s: a request from 10 to 20 s, of which 5 at 100 W and 5
	// at 300 W.
	log := filepath.Join(dir, "x.jsonl")
	const record = `{"metadata":{"request_start_ns":1780000010000000000,"request_end_ns":1780000020000000000,"benchmark_phase":"profiling"},` +
		`"metrics":{"output_sequence_length":{"value":50,"unit":"tokens"}},"error":null}` + "\n"
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(log, record)
	write(filepath.Join(dir, "x.json"), `{"aiperf_version":"0.9.0","input_config":{"phases":[{"name":"profiling","type":"concurrency","concurrency":4}]}}`)
	power := writePower(t, filepath.Join(dir, "p.arrows"), machine{host: "h", boot: "b"}, "GPU-0", nil)
	rep, _ := aiperfReport(t, log, power)
	if e := energy(t, &rep, "profiling"); math.Abs(e-2000) > 30 {
		t.Errorf("%v J", e)
	}
	if ph := rep.Phases[0]; ph.Concurrency != 4 || *ph.DurationSeconds != 10 {
		t.Errorf("%+v", ph)
	}
	said := false
	for _, w := range rep.Warnings {
		said = said || w.Code == reduce.WarnClock && strings.Contains(w.Message, "a host without a name") && strings.Contains(w.Message, trace.HostSpread.String())
	}
	if !said {
		t.Errorf("nothing is said of the clocks: %+v", rep.Warnings)
	}
	if len(rep.Inputs) != 3 || rep.Inputs[2].Schema != "aiperf profile_export" || rep.Inputs[1].Schema != "aiperf profile_export_aiperf" {
		t.Errorf("%+v", rep.Inputs)
	}
	if err := os.Remove(filepath.Join(dir, "x.json")); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		record + record[:60]: "incomplete_log",
		strings.Replace(record, `"request_end_ns":17`, `"request_end_ns":16`, 1): log + ":1:70: the request ends before it is sent",
		`{"metadata":{},"start_perf_ns":1,"responses":[]}` + "\n":                log + ":1:1: the record does not say when the request was sent",
	} {
		write(log, text)
		code, out, errs := runMain(t, log)
		if code == 0 || !strings.Contains(out+errs, want) {
			t.Errorf("exit %d, %s, want %s", code, errs, want)
		}
	}
}
