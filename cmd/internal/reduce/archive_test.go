package reduce

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wattrace/reduce"
)

// agreement is how the figures of a phase compare with what aiperf published of it.
type agreement struct {
	published, compared, same int
	off                       []string // what differs
	missing                   []string // tags that are not recomputed
}

// compare holds figures against a summary of aiperf's, read here anew, within a relative
// difference.
func (a *agreement) compare(t *testing.T, ph *reduce.Phase, within float64, summaries ...string) {
	t.Helper()
	if len(ph.Others) != 1 {
		t.Fatalf("%s: %d other tools", ph.Name, len(ph.Others))
	}
	figures := map[string]float64{}
	for _, f := range ph.Others[0].Figures {
		figures[f.Name] = f.Value
	}
	one := func(name string, theirs float64, ours float64, have bool) {
		a.published++
		if !have {
			return
		}
		a.compared++
		if math.Abs(ours-theirs) <= within*math.Abs(theirs) {
			a.same++
		} else {
			a.off = append(a.off, fmt.Sprintf("%s %s: %v, published %v", ph.Name, name, ours, theirs))
		}
	}
	for _, path := range summaries {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(b, &all); err != nil {
			t.Fatal(err)
		}
		for tag, raw := range all {
			var m map[string]any
			if json.Unmarshal(raw, &m) != nil || m["unit"] == nil {
				continue
			}
			if _, ok := figures[tag]; !ok {
				a.missing = append(a.missing, tag)
			}
			for statistic, v := range m {
				v, ok := v.(float64)
				if !ok || strings.HasPrefix(statistic, "adj_") {
					continue
				}
				name := tag
				if statistic != "avg" {
					name += "." + statistic
				}
				ours, have := figures[name]
				one(name, v, ours, have)
			}
		}
		a.gpus(ph, all["telemetry_data"], one)
	}
}

// gpus compares the mean powers and the energies of single GPUs.
func (a *agreement) gpus(ph *reduce.Phase, raw json.RawMessage, one func(string, float64, float64, bool)) {
	var telemetry struct {
		Endpoints map[string]struct {
			GPUs map[string]struct {
				UUID    string                    `json:"gpu_uuid"`
				Metrics map[string]map[string]any `json:"metrics"`
			} `json:"gpus"`
		} `json:"endpoints"`
	}
	if json.Unmarshal(raw, &telemetry) != nil {
		return
	}
	for _, d := range ph.Others[0].Devices {
		for _, f := range d.Figures {
			for _, e := range telemetry.Endpoints {
				for _, g := range e.GPUs {
					if v, ok := g.Metrics[f.Name]["avg"].(float64); ok && g.UUID == d.Device {
						one(fmt.Sprintf("GPU %d %s", d.DeviceIndex, f.Name), v, f.Value, true)
					}
				}
			}
		}
	}
}

// asAIPerf reduces what aiperf left. An archive may have too few samples for our energy.
func asAIPerf(t *testing.T, args ...string) *reduce.Report {
	t.Helper()
	code, out, errs := runMain(t, append([]string{"--format", "json", "--as", "aiperf"}, args...)...)
	if code != 0 && code != 3 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	rep := &reduce.Report{}
	if err := json.Unmarshal([]byte(out), rep); err != nil {
		t.Fatal(err)
	}
	return rep
}

// compareArchive compares every phase of a directory with its own summary, and the only
// one that is measured with that of the run.
func compareArchive(t *testing.T, rep *reduce.Report, dir string, within float64) *agreement {
	t.Helper()
	a := &agreement{}
	measured := 0
	for i := range rep.Phases {
		if rep.Phases[i].Kind == "measure" {
			measured++
		}
	}
	for i := range rep.Phases {
		ph := &rep.Phases[i]
		var summaries []string
		own := filepath.Join(dir, "phases", ph.Name, "profile_export_aiperf.json")
		if _, err := os.Stat(own); !errors.Is(err, fs.ErrNotExist) {
			summaries = append(summaries, own)
		}
		if ph.Kind == "measure" && measured == 1 {
			summaries = append(summaries, filepath.Join(dir, "profile_export_aiperf.json"))
		}
		a.compare(t, ph, within, summaries...)
	}
	slices.Sort(a.missing)
	a.missing = slices.Compact(a.missing)
	return a
}

// TestAIPerfArchives has what real runs of aiperf 0.13 published again, to the digit.
func TestAIPerfArchives(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		compared int
		tags     []string // that must be among them
	}{
		"warmed": {640, []string{"nvidia_total_gpu_energy", "nvidia_energy_delay_product", "goodput", "nvidia_goodput_per_watt", "inter_chunk_latency.p99"}},
		"phases": {600, []string{"request_throughput", "time_to_second_token.std"}},
	} {
		dir := filepath.Join("../../../testdata/interop/aiperf-0.13", name)
		rep := asAIPerf(t, dir)
		a := compareArchive(t, rep, dir, 1e-12)
		if a.compared < want.compared || a.same != a.compared {
			t.Errorf("%s: of %d published figures %d are recomputed and %d the same, want at least %d and all\n%s",
				name, a.published, a.compared, a.same, want.compared, strings.Join(a.off, "\n"))
		}
		for _, ph := range rep.Phases {
			if ph.Kind != "measure" {
				continue
			}
			o := ph.Others[0]
			if o.Tool != "aiperf-g3" || len(o.Notes) != 0 || !slices.Contains(o.NotRecomputed, "effective_concurrency") {
				t.Errorf("%s: %s, %q, not recomputed %q", name, o.Tool, o.Notes, o.NotRecomputed)
			}
			for _, tag := range want.tags {
				i := slices.IndexFunc(o.Figures, func(f reduce.OtherFigure) bool { return f.Name == tag })
				if i < 0 || !o.Figures[i].Same() {
					t.Errorf("%s: %s is not the published one", name, tag)
				}
			}
		}
	}
}

// TestAIPerfArchiveText: the report shows ours beside theirs.
func TestAIPerfArchiveText(t *testing.T) {
	t.Parallel()
	_, out, _ := runMain(t, "--as", "aiperf", "../../../testdata/interop/aiperf-0.13/warmed")
	for _, want := range []string{"as aiperf-g3 ", " published ", "the same", "and not recomputed here: active_decode_throughput,"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing says %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, ".p25") {
		t.Error("every percentile is shown")
	}
}

// TestWithoutManifest: the summary has the bounds of a phase to a microsecond, in local
// time of any zone.
func TestWithoutManifest(t *testing.T) {
	t.Parallel()
	from := "../../../testdata/interop/aiperf-0.13/warmed"
	for _, zone := range []string{"T20", "T02"} { // 20:00 UTC, and where it is 02:00
		dir := t.TempDir()
		var duration float64
		for _, name := range []string{"profile_export.jsonl", "profile_export_aiperf.json", "gpu_telemetry_export.jsonl"} {
			b, err := os.ReadFile(filepath.Join(from, name))
			if err != nil {
				t.Fatal(err)
			}
			if name == "profile_export_aiperf.json" {
				var in map[string]any
				if err := json.Unmarshal(b, &in); err != nil {
					t.Fatal(err)
				}
				for _, key := range []string{"start_time", "end_time"} {
					s := in[key].(string)
					i := strings.IndexByte(s, 'T')
					in[key] = s[:i] + zone + s[i+3:]
				}
				if b, err = json.Marshal(in); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		rep := asAIPerf(t, dir)
		for _, ph := range rep.Phases {
			if ph.Kind != "measure" {
				continue
			}
			duration = *ph.DurationSeconds
			if notes := ph.Others[0].Notes; len(notes) != 1 || !strings.Contains(notes[0], "is exported to 1µs") {
				t.Errorf("%s: %q", zone, notes)
			}
		}
		if a := compareArchive(t, rep, dir, 1e-6/duration); a.same != a.compared || a.compared < 200 {
			t.Errorf("%s: %d of %d\n%s", zone, a.same, a.compared, strings.Join(a.off, "\n"))
		}
	}
}

// TestGenerations: an archive's own generation chooses the names and formulas. Two GPUs
// of which one is read at 9, 11, 19 and 20.5 s; a phase from 10 to 20 s, by the first and
// the last request.
func TestGenerations(t *testing.T) {
	t.Parallel()
	epoch := 1780000000.
	write := func(dir, summary, power, energy, source string) {
		t.Helper()
		epoch += 100 // no log is another's
		var telemetry strings.Builder
		for i, at := range []float64{9, 11, 19, 20.5} {
			for gpu := range 2 {
				fmt.Fprintf(&telemetry, `{"timestamp_ns":%d,%q:"http://h:9400/metrics","gpu_index":%d,"gpu_uuid":"GPU-%d","gpu_model_name":"NVIDIA H100","telemetry_data":{%q:%d,%q:%.9f}}`+"\n",
					int64((epoch+at)*10)*1e8, source, gpu, gpu, power, 100*(gpu+1), energy, float64(gpu)+float64(i)*1e-3)
			}
		}
		request := `{"metadata":{"request_start_ns":%d000000000,"request_end_ns":%d000000000,"benchmark_phase":"profiling"},"metrics":{"time_to_first_token":{"value":1000,"unit":"ms"},` +
			`"request_latency":{"value":5000,"unit":"ms"},"output_token_count":{"value":60,"unit":"tokens"},"reasoning_token_count":{"value":40,"unit":"tokens"},"output_sequence_length":{"value":100,"unit":"tokens"}},"error":null}` + "\n"
		for name, text := range map[string]string{
			"gpu_telemetry_export.jsonl": telemetry.String(), "profile_export_aiperf.json": summary,
			"profile_export.jsonl": fmt.Sprintf(request, int(epoch)+10, int(epoch)+15) + fmt.Sprintf(request, int(epoch)+15, int(epoch)+20),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	const config = `"input_config":{"phases":[{"name":"profiling","type":"concurrency","concurrency":4}]}`
	const oldGPU = `"telemetry_data":{"endpoints":{"h:9400":{"gpus":{"gpu_0":{"gpu_uuid":"GPU-0","metrics":{"gpu_power_usage":{"unit":"W","avg":1}}}}}}}`
	tag := func(name, unit string) string { return fmt.Sprintf(`%q:{"unit":%q,"avg":1}`, name, unit) }
	third := []string{"nvidia_total_gpu_energy", "nvidia_average_gpu_power", "nvidia_energy_per_output_token", "nvidia_output_tokens_per_joule"}
	var dirs []string
	for _, c := range []struct {
		name, summary, tool string
		modern              bool     // names of the telemetry
		want                []string // figures
		tokensPerJoule      float64
	}{
		{"0 by version", `{"aiperf_version":"0.7.0",` + config + `}`, "aiperf-g0", false, nil, 0},
		{"0 by its telemetry", `{"schema_version":"1.0",` + oldGPU + `,` + config + `}`, "aiperf-g0", false, nil, 0},
		{"1 by its tags", `{"schema_version":"1.1",` + tag("total_gpu_energy", "J") + `,` + oldGPU + `,` + config + `}`, "aiperf-g1", false, []string{"total_gpu_energy", "total_gpu_power", "energy_per_user"}, 120. / 6000},
		{"1 by version", `{"aiperf_version":"0.11.2",` + config + `}`, "aiperf-g1", false, []string{"total_gpu_energy"}, 120. / 6000},
		{"2 by its tags", `{"schema_version":"1.5",` + tag("nvidia_total_gpu_energy", "J") + `,` + config + `}`, "aiperf-g2", true, []string{"nvidia_total_gpu_energy", "nvidia_energy_per_user"}, 120. / 6000},
		{"3 by its tags", `{` + tag("nvidia_total_gpu_energy", "J") + `,` + tag("nvidia_energy_per_request", "joules/request") + `,` + config + `}`, "aiperf-g3", true, third, 200. / 6000},
		{"3 by version", `{"aiperf_version":"0.12.0",` + tag("nvidia_total_gpu_power", "W") + `,` + config + `}`, "aiperf-g3", true, third, 200. / 6000},
		{"3 by a later version", `{"aiperf_version":"1.2.0",` + config + `}`, "aiperf-g3", true, third, 200. / 6000},
		{"nothing tells", `{` + config + `}`, "aiperf", true, third, 200. / 6000},
	} {
		dir := t.TempDir()
		if c.modern {
			write(dir, c.summary, "nvidia_power_usage", "nvidia_energy_consumption", "telemetry_source_url")
		} else {
			write(dir, c.summary, "gpu_power_usage", "energy_consumption", "dcgm_url")
		}
		dirs = append(dirs, dir)
		o := asAIPerf(t, dir).Phases[0].Others[0]
		if o.Tool != c.tool || len(o.Notes) != 1 || !strings.Contains(o.Notes[0], "is not exported") {
			t.Errorf("%s: %s, %q", c.name, o.Tool, o.Notes)
		}
		figures := map[string]float64{}
		for _, f := range o.Figures {
			figures[f.Name] = f.Value
		}
		for _, name := range c.want {
			if _, ok := figures[name]; !ok {
				t.Errorf("%s: there is no %s", c.name, name)
			}
		}
		for name, v := range figures {
			if strings.HasSuffix(name, "output_tokens_per_joule") && math.Abs(v-c.tokensPerJoule) > 1e-12 || c.want == nil && strings.Contains(name, "gpu") {
				t.Errorf("%s: %s is %v, want %v", c.name, name, v, c.tokensPerJoule)
			}
		}
		if d := o.Devices; len(d) != 2 || len(d[0].Figures) != 2 || strings.HasPrefix(d[0].Figures[0].Name, "nvidia_") != c.modern {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
	// A generation that is named is taken, and one that cannot be chosen is not.
	code, out, errs := runMain(t, "--format", "json", "--as", "aiperf-g1", dirs[0])
	if code != 0 && code != 3 || !strings.Contains(out, `"total_gpu_energy"`) {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := runMain(t, "--as", "aiperf", dirs[0], dirs[2]); code != 1 || !strings.Contains(errs, "is of generation 0 and ") && !strings.Contains(errs, "is of generation 1 and ") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := runMain(t, "--as", "aiperf,aiperf-g0", dirs[0]); code != 2 || !strings.Contains(errs, "aiperf is aiperf-g0 here") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestCancelledArchive: a run of one phase has no manifest; a third of its requests were
// cancelled, and count as errors.
func TestCancelledArchive(t *testing.T) {
	t.Parallel()
	dir := "../../../testdata/interop/aiperf-0.13/cancelled"
	rep := asAIPerf(t, dir)
	ph := &rep.Phases[0]
	a := compareArchive(t, rep, dir, 2e-6 / *ph.DurationSeconds)
	if a.same != a.compared || a.compared < 220 || ph.Requests.Cancelled == 0 || len(ph.Others[0].Notes) != 1 {
		t.Errorf("%d of %d, %+v, %q\n%s", a.same, a.compared, ph.Requests, ph.Others[0].Notes, strings.Join(a.off, "\n"))
	}
}
