package convert

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
	"wattrace/formats/telemetries"
	"wattrace/sample"
)

// fact is a row, by the wall clock.
type fact struct {
	Unix, Took int64
	Device     string
	Values     map[string]float64
	Mark       sample.Mark
	Status     string
}

// facts reads any recording but Parquet to its end.
func facts(t *testing.T, file string) (rows []fact, r telemetries.Reader) {
	t.Helper()
	in, err := formats.Open("-", strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	codec, ok := telemetries.ByKind(in.Kind())
	if !ok {
		t.Fatalf("it is a %s", in.Kind())
	}
	if r, err = codec.Open(in.Stream(), "-", telemetries.Options{}); err != nil {
		t.Fatal(err)
	}
	for b := new(sample.Batch); ; {
		if err := r.Read(b); err == io.EOF {
			return rows, r
		} else if err != nil {
			t.Fatal(err)
		}
		for i := range b.Len() {
			d := b.Devices[b.Device[i]]
			f := fact{
				Unix: r.Head().Clock.Anchor.UnixNanos + int64(b.Time[i]), Took: int64(b.Took[i]), Mark: b.MarkOf(i), Status: b.Status[i],
				Device: fmt.Sprintf("%s %s %d %s %s", d.Host, d.ID, d.Index, d.Source, d.Scope), Values: map[string]float64{},
			}
			for id := range sample.NumMetrics {
				if v, ok := b.Uint(id, i); ok {
					f.Values[id.String()] = float64(v)
				} else if v, ok := b.Float(id, i); ok {
					f.Values[id.String()] = v
				}
			}
			rows = append(rows, f)
		}
	}
}

// What a recording is written as, and read back from, has the same rows.
func TestFormsReadBack(t *testing.T) {
	t.Parallel()
	for _, path := range recorded {
		original := string(plain(t, path))
		want, _ := facts(t, original)
		if len(want) > 5000/partial {
			want = want[:5000/partial]
		}
		for _, form := range []string{"csv", "jsonl", "arrow", "parquet"} {
			got := convert(original, "--to", form, "-")
			if got.Code != 0 {
				t.Fatalf("%s: %+v", path, got.Stderr)
			}
			if form == "parquet" { // which convert alone reads
				if got = convert(got.Stdout, "--to", "arrow", "-"); got.Code != 0 {
					t.Fatalf("%s: %+v", path, got.Stderr)
				}
				if direct := convert(original, "--to", "arrow", "-"); direct.Stdout != got.Stdout {
					t.Errorf("%s: through Parquet the Arrow file differs", path)
				}
			}
			rows, _ := facts(t, got.Stdout)
			if len(rows) > len(want) {
				rows = rows[:len(want)]
			}
			if d := cmp.Diff(want, rows); d != "" {
				t.Errorf("%s as %s (-want +got):\n%.2000s", path, form, d)
			}
		}
	}
}

// A log of another tool, sealed, is a whole recording, which reduce takes.
func TestSealLog(t *testing.T) {
	log, err := os.ReadFile(filepath.Join(root, "formats/nvidiasmi/testdata/a5000-step.csv"))
	if err != nil {
		t.Fatal(err)
	}
	sealed := convert(string(log), "--to", "arrow", "--timezone", "Europe/London", "--host", "bench", "-")
	if sealed.Code != 0 || sealed.Stderr != "convert: 181 rows of 1 device\n" {
		t.Fatalf("%+v", sealed.Stderr)
	}
	_, r := facts(t, sealed.Stdout)
	if h := r.Head(); !r.Clean() || h.Devices[0].ID != "nvidia-smi:bench:0" || h.Clock.Anchor.UnixNanos != 1689839441439*1e6 {
		t.Errorf("%+v", h)
	}
	direct := reduced(t, log, "--format", "csv", "--timezone", "Europe/London", "--host", "power=bench")
	got := reduced(t, []byte(sealed.Stdout), "--format", "csv")
	if d := cmp.Diff(direct, got); d != "" {
		t.Errorf("(-the log +sealed):\n%s", d)
	}
	// Its faults are told, or left out and counted.
	bad := strings.Replace(string(log), "\n2023/07/20 08:50:41.5", "\nx\n2023/07/20 08:50:41.5", 1)
	if got := convert(bad, "--to", "csv", "-"); got.Code != 1 || got.Stdout != "" || !strings.Contains(got.Stderr, "--keep-going leaves such rows out") {
		t.Errorf("%+v", got)
	}
	got = convert(bad, "--to", "csv", "--keep-going", "-")
	if got.Code != 3 || strings.Count(got.Stdout, "\n") != 182 || !strings.Contains(got.Stderr, "181 rows of 1 device, 1 rows skipped") {
		t.Errorf("%d, %d lines, %s", got.Code, strings.Count(got.Stdout, "\n"), got.Stderr)
	}
	headless := "2024/01/02 03:04:05.000, 3, 412.34\n"
	if got := convert(headless, "--to", "csv", "-"); got.Code != 1 || !strings.Contains(got.Stderr, "hint: --columns") {
		t.Errorf("%+v", got)
	}
	got = convert(headless, "--to", "csv", "--timezone", "UTC", "--columns", "timestamp,index,power.draw", "-")
	want := "time,took_nanos,host,device,device_index,source,scope,power_watts,status\n2024-01-02T03:04:05.000000000Z,0,\"\",nvidia-smi::3,3,nvidia-smi,gpu,412.34,\n"
	if got.Stdout != want {
		t.Errorf("%+v", got)
	}
	if got := convert(headless, "--columns", "x", "--model", "m", "-"); got.Code != 2 {
		t.Errorf("%+v", got)
	}
	// What is said that nobody asks for is a mistake.
	for _, c := range [][]string{
		{"--to", "csv", "--timezone", "UTC", recorded[0]},
		{"--to", "parquet", "--host", "h", recorded[0]},
		{"--to", "csv", "--columns", "timestamp", filepath.Join(root, "formats/amdsmi/testdata/gpu_metrics.csv")},
		{"--to", "perfetto", "--host", "h", exampleLog, recorded[0]},
		{"--to", "perfetto", "--timezone", "UTC", exampleLog},
	} {
		if d := cmp.Diff(outcome{2, "", "convert: " + c[2] + " says what no input leaves open\nconvert: hint: see convert --help\n"}, convert("", c...)); d != "" {
			t.Errorf("%v (-want +got):\n%s", c, d)
		}
	}
	if got := convert("", "--to", "perfetto", "--timezone", "UTC", exampleLog, filepath.Join(root, "formats/nvidiasmi/testdata/a5000-step.csv")); got.Code != 0 {
		t.Error(got.Stderr)
	}
	if got := convert(headless, "--to", "csv", "--timezone", "Nowhere", "-"); got.Code != 2 {
		t.Errorf("%+v", got)
	}
	if got := convert("timestamp, power.draw [W]\n", "--to", "csv", "-"); got.Code != 1 || !strings.Contains(got.Stderr, "holds no rows") {
		t.Errorf("%+v", got)
	}
}

// aiperf's file has what aiperf knows of a recording.
func TestToAIPerf(t *testing.T) {
	t.Parallel()
	const table = "time,took_nanos,host,device,device_index,source,scope,power_watts,energy_joules,gpu_utilization,memory_utilization,memory_used_bytes,temperature_celsius,power_cap_seconds,power_limit_watts\n" +
		"2026-01-02T03:04:05.000000100Z,200,n1,GPU-a,0,nvml,gpu,412.3,143653.001,0.55,0.07,49660559360,61,0.001,700\n" +
		"2026-01-02T03:04:05.000000100Z,200,n1,GPU-a,0,nvml,module,812.3,,,,,,,\n" +
		"2026-01-02T03:04:05.000000100Z,0,n1,GPU-a,0,dcgm,gpu,412,,,,,,,\n" +
		"2026-01-02T03:04:05.000000200Z,0,n2,amd-smi:n2:1,1,amd-smi,gpu,238,9007199254.741,,,,,,\n" +
		"2026-01-02T03:04:06.000000000Z,0,n1,GPU-a,0,nvml,gpu,,,,,,,,700\n"
	const want = `{"timestamp_ns":1767323045000000200,"telemetry_source_url":"pynvml://n1","gpu_index":0,"gpu_uuid":"GPU-a","gpu_model_name":"","hostname":"n1","platform":"nvidia",` +
		`"telemetry_data":{"nvidia_power_usage":412.3,"nvidia_energy_consumption":0.143653001,"nvidia_gpu_utilization":55,"nvidia_memory_utilization":7,"nvidia_memory_used":49.66055936,"nvidia_temperature":61,"nvidia_power_violation":1000}}` + "\n" +
		`{"timestamp_ns":1767323045000000200,"telemetry_source_url":"amdsmi://n2","gpu_index":1,"gpu_uuid":"amd-smi:n2:1","gpu_model_name":"","hostname":"n2","platform":"amd","telemetry_data":{"amd_power":238,"amd_energy_consumption":9007.199254741}}` + "\n"
	got := convert(table, "--to", "aiperf", "-")
	if d := cmp.Diff(want, got.Stdout); d != "" || !strings.Contains(got.Stderr, "5 rows of 4 devices, 3 of them left out: they are of no GPU") {
		t.Errorf("%s (-want +got):\n%s", got.Stderr, d)
	}
	rows, _ := facts(t, got.Stdout)
	if d := cmp.Diff(map[string]float64{
		"power_watts": 412.3, "energy_joules": 143653.001, "gpu_utilization": .55, "memory_utilization": .07, "memory_used_bytes": 49660559360, "temperature_celsius": 61, "power_cap_seconds": .001,
	}, rows[0].Values); d != "" || len(rows) != 2 || rows[1].Values["energy_joules"] != 9007199254.741 {
		t.Errorf("%d rows (-want +got):\n%s", len(rows), d)
	}
	// Of real recordings all counters come back to the millijoule.
	for _, path := range recorded[:2] {
		got := convert(string(plain(t, path)), "--to", "aiperf", "-")
		back, _ := facts(t, got.Stdout)
		var was []fact
		all, _ := facts(t, string(plain(t, path)))
		for _, f := range all {
			if strings.HasSuffix(f.Device, " gpu") {
				was = append(was, f)
			}
		}
		if len(back) == 0 || len(back) != len(was) || got.Code != 0 {
			t.Fatalf("%s: %d of %d rows, %s", path, len(back), len(was), got.Stderr)
		}
		for i, f := range was {
			for _, name := range []string{"power_watts", "energy_joules", "gpu_utilization", "memory_used_bytes"} {
				if back[i].Values[name] != f.Values[name] || back[i].Unix != f.Unix+f.Took/2 {
					t.Fatalf("%s: row %d: %s is %v, was %v", path, i, name, back[i], f)
				}
			}
		}
	}
}

// A damaged Parquet file is an error, whatever is damaged.
func TestDamagedParquet(t *testing.T) {
	t.Parallel()
	whole := convert(string(plain(t, full)), "--to", "parquet", "-").Stdout
	for at := 4; at < len(whole); at += 1 + partial*len(whole)/500 {
		damaged := []byte(whole)
		damaged[at] ^= 0xff
		got := convert(string(damaged), "--to", "csv", "-")
		if got.Code == 0 && !bytes.HasPrefix([]byte(got.Stdout), []byte("time,")) {
			t.Fatalf("byte %d: %+v", at, got)
		}
	}
	for _, n := range []int{4, 8, 100, len(whole) / 2, len(whole) - 1} {
		if got := convert(whole[:n], "--to", "csv", "-"); got.Code != 1 || got.Stdout != "" {
			t.Errorf("cut at %d: %+v", n, got)
		}
	}
}
