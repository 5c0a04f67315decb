package aiperf

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const realRun = "../../testdata/interop/aiperf-0.13/warmed"

func TestArchive(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join(realRun, "profile_export_aiperf.json"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := ParseArchive(append([]byte("\xef\xbb\xbf"), b...), "f")
	if err != nil {
		t.Fatal(err)
	}
	if g, ok := a.Generation.Get(); a.Version != "0.13.0" || !ok || g != 3 || !a.Start.OK || a.End.V-a.Start.V < 1e9 || a.Start.V%1000 != 0 {
		t.Errorf("%+v", a)
	}
	if a.Figures["request_count"] != 12 || a.Warmup["request_latency.count"] != 4 || a.Figures["request_latency.p99"] <= a.Figures["request_latency"] || a.Figures["request_latency.unit"] != 0 {
		t.Errorf("%v", a.Figures)
	}
	if len(a.GPUs) != 2 || a.Objectives["time_to_first_token"] != 30 || a.Objectives["request_latency"] != 450 {
		t.Errorf("%v %v", a.GPUs, a.Objectives)
	}
	if b, err = os.ReadFile(filepath.Join(realRun, ManifestName)); err != nil {
		t.Fatal(err)
	}
	m, err := ParseManifest(b, "f")
	if err != nil || len(m) != 2 || m[0].Name != "warmup" || m[1].Kind != "profiling" || m[1].MetricsJSON != "phases/profiling/profile_export_aiperf.json" {
		t.Errorf("%v %+v", err, m)
	}
	// The summary's is the manifest's to a microsecond, here in UTC.
	if d := m[1].Start.V - a.Start.V; d < -1000 || d > 1000 {
		t.Errorf("the starts are %d ns apart", d)
	}
}

func TestOldArchive(t *testing.T) {
	t.Parallel()
	a, err := ParseArchive([]byte(`{"records":{"ttft":{"unit":"ms","avg":2,"p50":null},"x":3},"input_config":{"input":{"goodput":{"request_latency":"slow","itl":5}}},
		"start_time":"2025-10-03 20:13:39.15","end_time":7,"was_cancelled":"?","telemetry_data":null}`), "f")
	if err != nil || a.Figures["time_to_first_token"] != 2 || len(a.Figures) != 1 || a.Generation.OK || a.End.OK || a.Start.V%1e9 != 150e6 {
		t.Errorf("%v %+v", err, a)
	}
	if a.Objectives["itl"] != 5 || !math.IsNaN(a.Objectives["request_latency"]) {
		t.Errorf("%v", a.Objectives)
	}
	twice := `{"gpu_uuid":"GPU-0","metrics":{"gpu_power_usage":{"unit":"W","avg":1}}}`
	a, err = ParseArchive([]byte(`{"telemetry_data":{"endpoints":{"a":{"gpus":{"gpu_0":`+twice+`}},"b":{"gpus":{"gpu_0":`+twice+`}}}}}`), "f")
	if err != nil || len(a.GPUs) != 0 {
		t.Errorf("%v: a GPU that two exporters show: %v", err, a.GPUs)
	}
}

func TestArchiveFaults(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "f:1:1: not valid JSON", "[]": "must not be a array", "{\"records\":\n3}": "f:2:", `{"telemetry_data":{"endpoints":3}}`: "must not be a number",
		`{"a":1}{`: "f:1:8: not valid JSON",
	} {
		if _, err := ParseArchive([]byte(in), "f"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
	for in, want := range map[string]string{
		`{}`: "f: not a manifest of aiperf: it has no phases", `{"phases":3}`: "phases must not be a number",
		`{"phases":[{},{"start_ns":5,"end_ns":3}]}`: "f: phase 2 ends before it starts",
	} {
		if _, err := ParseManifest([]byte(in), "f"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
	m, err := ParseManifest([]byte(`{"phases":[{"start_ns":null,"end_ns":-4,"phase_name":"a"},{"start_ns":1e3,"end_ns":"9"}]}`), "f")
	if err != nil || len(m) != 2 || m[0].Start.OK || m[0].End.OK || m[1].Start.OK || m[1].End.OK {
		t.Errorf("%v %+v", err, m)
	}
}

// FuzzArchive: no figure is anything but a finite number, whatever the file holds.
func FuzzArchive(f *testing.F) {
	f.Add([]byte(`{"records":{"ttft":{"unit":"ms","avg":2}},"warmup_metrics":{"a":{"unit":"W","max":1e309}},"aiperf_version":"0.12.0","nvidia_total_gpu_power":{"unit":"W","avg":5,"sum":"x"}}`))
	f.Add([]byte(`{"phases":[{"phase_name":"a","start_ns":1,"end_ns":2,"metrics_json":"phases/a.json"}],"input_config":{"slos":{"request_latency":5}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := ParseArchive(b, "f"); err == nil {
			for _, list := range []map[string]float64{a.Figures, a.Warmup} {
				for name, v := range list {
					if math.IsNaN(v) || math.IsInf(v, 0) {
						t.Errorf("%s is %v", name, v)
					}
				}
			}
			if g, ok := a.Generation.Get(); ok && (g < 0 || g > 3) {
				t.Errorf("generation %d", g)
			}
		}
		m, err := ParseManifest(b, "f")
		for _, e := range m {
			if err != nil || e.Start.OK && e.End.OK && e.Start.V > e.End.V {
				t.Errorf("%v %+v", err, e)
			}
		}
	})
}
