package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/trace"
)

// holding is what testdata/interop/energy.py prints of a file.
type holding struct {
	Rows      int
	Nulls     map[string]int
	Joules    map[string]float64 // by the counter, last minus first
	Trapezoid map[string]float64
	Mask      string            // the largest
	Units     map[string]string `json:",omitempty"`
	Keys      []string          `json:",omitempty"`
}

// reading is the counter of the first device at an instant.
type reading struct {
	unixNanos int64
	joules    float64
}

// held is the same by our own reader, with the first device's readings of which
// each is a new value.
func held(t *testing.T, file []byte) (h holding, changes []reading) {
	t.Helper()
	rd, err := telemetry.NewReader(bytes.NewReader(file), "x")
	if err != nil {
		t.Fatal(err)
	}
	h = holding{Nulls: map[string]int{"power_watts": 0, "energy_joules": 0, "status": 0}, Joules: map[string]float64{}, Trapezoid: map[string]float64{}}
	type last struct {
		at    trace.Time
		watts float64
	}
	first, before := map[string]float64{}, map[string]last{}
	mask := uint64(0)
	for b := new(sample.Batch); rd.Read(b) == nil; h.Rows += b.Len() {
		for i := range b.Len() {
			id := b.Devices[b.Device[i]].ID
			if j, ok := b.Float(sample.EnergyJoules, i); ok {
				if _, ok := first[id]; !ok {
					first[id] = j
				}
				if d := j - first[id]; b.Device[i] == 0 && d != h.Joules[id] {
					changes = append(changes, reading{rd.Head().Clock.Wall(b.Time[i]).UnixNano(), j})
				}
				h.Joules[id] = j - first[id]
			} else {
				h.Nulls["energy_joules"]++
			}
			if w, ok := b.Float(sample.PowerWatts, i); ok {
				if l, ok := before[id]; ok {
					h.Trapezoid[id] += (w + l.watts) / 2 * b.Time[i].Sub(l.at).Seconds()
				}
				before[id] = last{b.Time[i], w}
			} else {
				h.Nulls["power_watts"]++
			}
			if b.Status[i] == "" {
				h.Nulls["status"]++
			}
			m, _ := b.Uint(sample.ClockEventReasons, i)
			mask = max(mask, m)
		}
	}
	if _, ok := rd.End(); !ok {
		t.Fatal("the recording is not whole")
	}
	h.Mask = strconv.FormatUint(mask, 10)
	h.Units = map[string]string{"took_nanos": "ns"}
	for _, id := range rd.Head().Metrics {
		h.Units[sample.Metrics[id].Name] = sample.Metrics[id].Unit
	}
	return h, changes
}

// have skips the test unless Python has the packages.
func have(t *testing.T, packages string) {
	t.Helper()
	out, err := exec.Command("python3", "-c", "import "+packages).CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Skipf("left out: %v %s", err, lines[len(lines)-1])
	}
}

// TestInterop has pyarrow, Polars and DuckDB read what record wrote and what
// convert made of it: the same rows, nulls and joules as our own reader.
func TestInterop(t *testing.T) {
	for _, path := range []string{recorded[0], full} {
		original := plain(t, path)
		want, _ := held(t, original)
		forms := map[string]string{"recorded.arrows": string(original)}
		for name, args := range map[string][]string{
			"sealed.arrow": {"--to", "arrow"}, "compressed.arrow": {"--to", "arrow", "--compress"}, "sealed.parquet": {"--to", "parquet"},
		} {
			got := convert(string(original), args...)
			if got.Code != 0 {
				t.Fatal(got.Stderr)
			}
			forms[name] = got.Stdout
		}
		for _, engine := range []struct{ name, packages string }{{"pyarrow", "pyarrow"}, {"polars", "polars"}, {"duckdb", "duckdb, pyarrow"}} {
			for name, content := range forms {
				if engine.name == "polars" && name == "recorded.arrows" && path == full {
					continue // it reads the first stream of a recording
				}
				t.Run(fmt.Sprintf("%s/%s/%s", filepath.Base(path), engine.name, name), func(t *testing.T) {
					have(t, engine.packages)
					file := filepath.Join(t.TempDir(), name)
					if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
						t.Fatal(err)
					}
					out, err := exec.Command("python3", filepath.Join(root, "testdata/interop/energy.py"), engine.name, file).Output()
					var exit *exec.ExitError
					if errors.As(err, &exit) {
						t.Fatalf("%v\n%s", err, exit.Stderr)
					} else if err != nil {
						t.Fatal(err)
					}
					var got holding
					if err := json.Unmarshal(out, &got); err != nil {
						t.Fatal(err)
					}
					ignore := cmp.FilterPath(func(p cmp.Path) bool {
						return p.String() == "Keys" || p.String() == "Units" && engine.name != "pyarrow"
					}, cmp.Ignore())
					// The counter's joules are one subtraction, those of power many sums.
					if diff := cmp.Diff(want, got, ignore, cmpopts.EquateApprox(1e-12, 0)); diff != "" {
						t.Error(diff)
					}
					if engine.name == "pyarrow" && !slices.Contains(got.Keys, "wattrace.end") {
						t.Errorf("metadata %v", got.Keys)
					}
				})
			}
		}
	}
}

// phase is what is looked at of a report's phase.
type phase struct {
	Name    string
	Metrics map[string]struct {
		Value       float64
		Method      string
		Uncertainty struct{ Random float64 }
	}
}

// The difference of two readings of the counter, which the engines give, is
// reduce's energy of the window between them, within what reduce says of it.
func TestCounterBesideReduce(t *testing.T) {
	file := plain(t, recorded[0])
	_, changes := held(t, file)
	from := changes[0].unixNanos + int64(3*time.Second)
	to := changes[len(changes)-1].unixNanos - int64(3*time.Second)
	changes = slices.DeleteFunc(changes, func(r reading) bool { return r.unixNanos < from || r.unixNanos > to })
	a, b := changes[0], changes[len(changes)-1]
	seconds := func(n int64) string { return fmt.Sprintf("%d.%09d", n/1e9, n%1e9) }
	for _, args := range [][]string{{"--to", "arrow"}, {"--to", "arrow", "--compress"}} {
		sealed := convert(string(file), args...)
		out := reduced(t, []byte(sealed.Stdout), "--format", "json", "--window", "between="+seconds(a.unixNanos)+".."+seconds(b.unixNanos))
		var report struct {
			Phases []phase
		}
		if err := json.Unmarshal([]byte(out.Stdout), &report); err != nil {
			t.Fatal(err, out.Stderr)
		}
		i := slices.IndexFunc(report.Phases, func(ph phase) bool { return ph.Name == "between" })
		e := report.Phases[i].Metrics["total_gpu_energy"]
		bound := 1.96*e.Uncertainty.Random + 0.001
		t.Logf("counter %.3f J, reduce %.3f J, ± %.3f J", b.joules-a.joules, e.Value, bound)
		if d := math.Abs(e.Value - (b.joules - a.joules)); d > bound || bound > 2 || e.Method != "counter" {
			t.Errorf("%v J from the counter's, more than %v J (%s)", d, bound, e.Method)
		}
	}
}

// python runs a script of testdata/interop and reads the object that it prints last.
func python(t *testing.T, out any, script string, args ...string) {
	t.Helper()
	cmd := exec.Command("python3", append([]string{filepath.Join(root, "testdata/interop", script)}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	printed, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%v\n%s", err, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(printed)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), out); err != nil {
		t.Fatal(err)
	}
}

// TestInteropRequests has pyarrow, Polars and DuckDB read the table of a log: the same
// requests and events as our own reader.
func TestInteropRequests(t *testing.T) {
	type table struct {
		Rows          int
		OutputTokens  int64 `json:"output_tokens"`
		TTFT          int64 `json:"ttft_nanos"`
		Events        int
		LastEvent     int64 `json:"last_event_nanos"`
		FirstUnixNano int64 `json:"first_unix_nanos"`
		Keys          []string
	}
	list, runs := logOf(t, plain(t, servedLog))
	want := table{Rows: len(list), FirstUnixNano: math.MaxInt64}
	for i := range list {
		q := &list[i]
		want.OutputTokens += q.OutputTokens.V
		want.TTFT += int64(q.FirstToken.V - q.Sent)
		want.Events += len(q.Chunks)
		want.LastEvent = max(want.LastEvent, int64(q.Chunks[len(q.Chunks)-1].At-q.Sent))
		want.FirstUnixNano = min(want.FirstUnixNano, runs[0].Clock.Anchor.UnixNanos+int64(q.Sent))
	}
	for _, engine := range []struct{ name, packages string }{{"pyarrow", "pyarrow"}, {"polars", "polars"}, {"duckdb", "duckdb, pyarrow"}} {
		for name, args := range map[string][]string{"t.parquet": {"--to", "parquet"}, "t.arrow": {"--to", "arrow"}, "z.arrow": {"--to", "arrow", "--compress"}} {
			t.Run(engine.name+"/"+name, func(t *testing.T) {
				have(t, engine.packages)
				file := filepath.Join(t.TempDir(), name)
				if got := convert("", append(args, "-o", file, servedLog)...); got.Code != 0 {
					t.Fatal(got.Stderr)
				}
				var got table
				python(t, &got, "requests.py", engine.name, file)
				if engine.name == "pyarrow" && !slices.Contains(got.Keys, "wattrace.log") {
					t.Errorf("metadata %v", got.Keys)
				}
				got.Keys = nil
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// TestInteropPerfetto decodes a trace by Perfetto's own definitions of its messages.
func TestInteropPerfetto(t *testing.T) {
	have(t, "perfetto.protos.perfetto.trace.perfetto_trace_pb2")
	file := filepath.Join(t.TempDir(), "run.pftrace")
	if got := convert("", "--to", "perfetto", "-o", file, servedLog, filepath.Join(root, "testdata/h200/serve-50ms.arrows.zst")); got.Code != 0 {
		t.Fatal(got.Stderr)
	}
	var got struct {
		Packets, Unknown, Faults int
		Slices, Counters         map[string]int
		Units                    map[string]string
	}
	python(t, &got, "pftrace.py", file)
	if got.Unknown != 0 || got.Faults != 0 || got.Slices["request"] != 187 || got.Slices["prefill"] != 187 || got.Units["power_watts"] != "W" || got.Counters["power_watts"] == 0 {
		t.Errorf("%+v", got)
	}
}

// TestInteropAIPerf has aiperf plot's own loader read a run, and numpy make its figures
// anew.
func TestInteropAIPerf(t *testing.T) {
	have(t, "aiperf.plot")
	dir := filepath.Join(t.TempDir(), "run")
	if got := convert("", "--to", "aiperf", "--model", "m", "-o", dir, servedLog); got.Code != 0 {
		t.Fatal(got.Stderr)
	}
	var got struct {
		Requests, Profiling int
		Model               string
		Concurrency         int
		Summary, Again      map[string]map[string]float64
	}
	python(t, &got, "aiperf.py", dir)
	if got.Requests != 187 || got.Profiling != 171 || got.Model != "m" || got.Concurrency == 0 || len(got.Again) != 4 {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff(got.Again, got.Summary, cmpopts.EquateApprox(1e-12, 0)); diff != "" {
		t.Errorf("(-numpy +ours):\n%s", diff)
	}
}
