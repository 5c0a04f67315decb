package comparison

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats/schematest"
	"wattrace/reduce/compare"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func ptr(v float64) *float64 { return &v }

func span(low, high float64) *compare.Interval { return &compare.Interval{Low: low, High: high} }

// example is a comparison with every kind of content but a sweep.
func example() *compare.Comparison {
	side := func(v, half float64) *compare.Side {
		return &compare.Side{Runs: 6, Median: v, Interval: span(v-half, v+half)}
	}
	estimate := func(v, half, sensors float64) *compare.Estimate {
		return &compare.Estimate{Value: v, Random: span(v-half, v+half), Sensors: sensors, Total: span(v-half-2*sensors, v+half+2*sensors)}
	}
	return &compare.Comparison{
		Schema: compare.Schema, Producer: "wattrace 0.1.0", Alpha: 0.05, Test: compare.MannWhitney, Needed: 4,
		Groups: []compare.GroupInfo{
			{Name: "base", Runs: []compare.RunInfo{{Path: "base-1.json", Start: "2026-05-28T20:26:40Z"}, {Path: "base-2.json"}}},
			{Name: "new", Runs: []compare.RunInfo{{Path: "new-1.json"}, {Path: "new-2.json"}}},
		},
		Differ:  []compare.Fact{{Name: "driver", Values: []compare.Said{{Value: "570.86.15", Runs: []string{"base-1.json", "base-2.json"}}, {Value: "580.95.05", Runs: []string{"new-1.json", "new-2.json"}}}}},
		Unknown: []compare.Unknown{{Name: "power_limit"}, {Name: "plan", Runs: []string{"new-1.json"}}},
		Notes:   []string{"new-2.json is incomplete, by its own warnings: failed_requests"},
		Rows: []compare.Row{
			{Phase: "profiling", Metric: "total_gpu_energy", Unit: "J", Better: "lower", OfRecord: true, Group: "new", Base: side(51432.25, 120), New: side(50110.5, 90),
				Ratio: estimate(0.9743, 0.004, 0.0002), Difference: estimate(-1321.75, 200, 10), P: ptr(0.00216), Sensors: compare.SameDevices, Result: compare.BetterNow},
			{Phase: "profiling", Metric: "total_cpu_package_energy", Unit: "J", Better: "lower", Group: "new", Base: side(5000, 20), New: side(5100, 20),
				Ratio: estimate(1.02, 0.004, 0.0106), Difference: estimate(100, 30, 53), P: ptr(0.0004), Sensors: compare.SameModel, Result: compare.Undecided, Reason: "the runs differ, but no more than the sensors may (other devices of the same model)"},
			{Phase: "profiling", Metric: "time_to_first_token", Statistic: "p99", Unit: "s", Better: "lower", Group: "new", Base: side(0.0912, 0.004), New: side(0.0921, 0.003),
				Ratio: estimate(1.01, 0.03, 0), Difference: estimate(0.001, 0.003, 0), P: ptr(0.31), Result: compare.Undecided},
			{Phase: "profiling", Metric: "goodput", Unit: "requests/s", Better: "higher", Group: "new", Base: &compare.Side{Runs: 6}, New: side(7.5, 0.1),
				Difference: estimate(7.5, 0.1, 0), P: ptr(0.00216), Result: compare.BetterNow},
			{Phase: "profiling", Metric: "sm_clock", Unit: "Hz", Group: "new", Base: side(1.98e9, 1e6), New: side(1.7e9, 1e6), Ratio: estimate(0.859, 0.001, 0), Difference: estimate(-2.8e8, 1e6, 0), P: ptr(0.00216), Result: compare.Differs},
			{Phase: "profiling", Metric: "gpu_power", Unit: "W", Better: "lower", Group: "new", Device: &compare.RowDevice{Host: "node1", Scope: "gpu", Base: "GPU-a", New: "GPU-c"}, Base: side(500, 2), New: side(470, 2),
				Ratio: estimate(0.94, 0.004, 0.02), Difference: estimate(-30, 2, 10), P: ptr(0.00216), Sensors: compare.SameModel, Result: compare.BetterNow},
			{Phase: "profiling", Metric: "energy_per_user", OfRecord: true, Group: "new", Result: compare.Undecided, Reason: "is absent in new-2.json"},
			{Phase: "idle\x1b[31m\nafter", Metric: "total_gpu_energy", Unit: "J", Better: "lower", OfRecord: true, Group: "new", Base: &compare.Side{Runs: 1, Median: 700}, New: &compare.Side{Runs: 1, Median: 800},
				Ratio: estimate(1.142857, 0.002, 0.1), Difference: estimate(100, 1.5, 70), Sensors: compare.OtherModels, Result: compare.Undecided, Reason: "one run of each says nothing of the scatter between runs: 4 of each are needed"},
		},
		Conditions: []compare.Verdict{
			{Condition: "energy_per_output_token > +2%", Phase: "profiling", Group: "new", Outcome: compare.HoldsNot, Value: ptr(-0.0257), Interval: span(-0.03, -0.02)},
			{Condition: "time_to_first_token.p99 > 95 ms", Phase: "profiling", Group: "new", Outcome: compare.Unsure, Value: ptr(0.0921), Unit: "s", Interval: span(0.0891, 0.0951), Reason: "the bound is within the interval"},
			{Condition: "goodput > +1 requests/s", Phase: "profiling", Group: "new", Outcome: compare.Holds, Value: ptr(7.5), Unit: "requests/s", Interval: span(7.4, 7.6)},
		},
	}
}

// sweep is a comparison along an axis.
func sweep() *compare.Comparison {
	side := func(v float64) *compare.Side {
		return &compare.Side{Runs: 6, Median: v, Interval: span(0.99*v, 1.01*v)}
	}
	return &compare.Comparison{
		Schema: compare.Schema, Producer: "wattrace 0.1.0", Alpha: 0.05, Test: compare.MannWhitney, Needed: 4, Rows: []compare.Row{},
		Groups: []compare.GroupInfo{{Name: "power_limit=400", Runs: []compare.RunInfo{{Path: "a.json"}}}, {Name: "power_limit=700", Runs: []compare.RunInfo{{Path: "b.json"}}}},
		Axis: &compare.AxisTable{Axis: compare.PowerLimitAxis, Unit: "W", Phases: []compare.AxisPhase{{Phase: "profiling", Points: []compare.Point{
			{At: 400, Group: "power_limit=400", Runs: 6, ThroughputPerGPU: side(2210), OutputTokensPerJoule: side(5.9), ThroughputPerUser: side(31), PowerPerGPU: side(374), Front: []string{"energy"}},
			{At: 700, Group: "power_limit=700", Runs: 6, ThroughputPerGPU: side(2480), OutputTokensPerJoule: side(4.1), PowerPerGPU: side(604.5), Front: []string{"energy", "user"}},
		}}}},
	}
}

var forms = map[string]func(io.Writer, *compare.Comparison) error{".json": WriteJSON, ".txt": WriteText, ".md": WriteMarkdown, ".csv": WriteCSV}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*compare.Comparison{"example": example(), "sweep": sweep()} {
		for ext, write := range forms {
			if name == "sweep" && ext == ".csv" {
				continue // no rows
			}
			var got bytes.Buffer
			if err := write(&got, c); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+ext)
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got.String()); d != "" {
				t.Errorf("%s (-want +got):\n%s", path, d)
			}
			if strings.ContainsRune(got.String(), '\x1b') && ext != ".csv" {
				t.Errorf("%s has an escape sequence", path)
			}
		}
	}
}

const schemaFile = "comparison.schema.json"

// TestSchema keeps the JSON Schema of the document in step with the Go types: make schema
// writes it.
func TestSchema(t *testing.T) {
	t.Parallel()
	got := schematest.Text[compare.Comparison](t, compare.Schema, "../../reduce/compare/*.go")
	if *update {
		if err := os.WriteFile(schemaFile, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s is stale: run make schema (-want +got):\n%s", schemaFile, d)
	}
}

func TestDocumentsFitTheSchema(t *testing.T) {
	t.Parallel()
	s := schematest.Load(t, schemaFile)
	for _, c := range []*compare.Comparison{example(), sweep()} {
		var b bytes.Buffer
		if err := WriteJSON(&b, c); err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal(b.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Error(err)
		}
		v["schema"] = "wattrace.comparison/2"
		if s.Validate(v) == nil {
			t.Error("another schema fits")
		}
	}
}

// Every row of CSV has every column.
func TestCSVIsWhole(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WriteCSV(&b, example()); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 1+len(example().Rows) {
		t.Errorf("%d rows: %v", len(rows), err)
	}
}

// What the writer below says is returned.
func TestWritersReturnErrors(t *testing.T) {
	t.Parallel()
	for ext, write := range forms {
		if err := write(full{}, example()); err == nil {
			t.Errorf("%s: a full disk is no error", ext)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// Changes beyond all measure are short, too.
func TestPercent(t *testing.T) {
	t.Parallel()
	for ratio, want := range map[float64]string{1.5: "+50.00 %", 0.999999: "+0.00 %", 9999: "+999800.00 %", 1e50: "+1e+52 %", 1e100: "+1e+102 %", -1e100: "-1e+102 %"} {
		if got := percent(ratio); got != want {
			t.Errorf("%g: %s, want %s", ratio, got, want)
		}
	}
}
