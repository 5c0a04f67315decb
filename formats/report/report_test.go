package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/reduce"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// example is a report with every kind of content.
func example() *reduce.Report {
	seconds, slice := 28.125, 10.0
	in, out := 20113.0, 3215.0
	number := func(unit string, v, random, systematic float64, devices int, method string) reduce.Metric {
		return reduce.Metric{Unit: unit, Number: &reduce.Number{Value: v, Method: method, DevicesCovered: devices,
			Uncertainty: &reduce.Uncertainty{Random: random, Systematic: systematic}}}
	}
	energy := number("J", 51432.25, 6.1, 2577.4, 3, "counter")
	energy.Enclosure = &reduce.Enclosure{Low: 51388.5, High: 51475.125}
	energy.ClockRange = &reduce.Enclosure{Low: 51290, High: 51440.5}
	plain := func(unit string, v float64, method string) reduce.Metric {
		return reduce.Metric{Unit: unit, Number: &reduce.Number{Value: v, Method: method, DevicesCovered: 3}}
	}
	return &reduce.Report{
		Schema: reduce.Schema, Producer: "wattrace 0.1.0",
		Inputs:   []reduce.Input{{Path: "requests.jsonl", Schema: "wattrace.requests/1", SHA256: "9f86"}},
		Runs:     []reduce.Run{{Trace: &reduce.RunTrace{Path: "trace.jsonl", SHA256: "0a1b", Turns: 200}, Plan: json.RawMessage(`{"schema":"wattrace.plan/1","phases":[{"name":"profiling","kind":"measure","concurrency":8}]}`), Overlays: []string{"stream=true"}, Targets: []string{"http://127.0.0.1:8000"}}},
		Devices:  []reduce.Device{{Device: "GPU-a", Host: "node1", Name: "H100", Source: "nvml", Scope: "gpu", Architecture: "hopper", Driver: "580.95.05", Sensor: reduce.AssumedSensor()}},
		Warnings: []reduce.Warning{{Code: reduce.WarnMissingDevice, Message: "node1 GPU 3: reports neither energy nor power", Phase: "profiling", Device: "GPU-d"}},
		Phases: []reduce.Phase{{
			Name: "profiling", Kind: "measure", Start: "2026-05-28T20:26:40.000000000Z", End: "2026-05-28T20:27:08.125000000Z", DurationSeconds: &seconds,
			Concurrency: 8, Requests: &reduce.Requests{Sent: 200, Succeeded: 199, Failed: 1}, Tokens: &reduce.Tokens{Input: &in, Output: &out},
			Devices: &reduce.Devices{Expected: 4, Seen: 3, Missing: []string{"GPU-d"}},
			Metrics: map[string]reduce.Metric{
				reduce.TotalGPUEnergy:                  energy,
				reduce.TotalGPUPower:                   number("W", 1828.7, 12, 91.4, 3, "mean of power_average_watts, 550ms earlier"),
				reduce.OutputTokensPerJoule:            number("tokens/J", 0.06250942, 0.0000074, 0.0031, 3, "output tokens / total_gpu_energy"),
				reduce.GPUUtilization:                  plain("1", 0.931, "mean over the GPUs"),
				reduce.GPUPowerLimit:                   plain("W", 2100, "sum over the GPUs"),
				reduce.PowerLimitShare:                 plain("1", 0.87, "average_gpu_power / gpu_power_limit"),
				reduce.ThrottledTime:                   plain("s", 12.5, "time that clock_event_reasons hold clocks down, added over the GPUs"),
				reduce.ThrottledTime + "_sw_power_cap": plain("s", 12.5, "time of that reason"),
				"total_module_energy":                  number("J", 80123, 20, 4010, 2, "counter"),
				reduce.RequestThroughput:               {Unit: "requests/s", Number: &reduce.Number{Value: 7.0755, Method: "count / duration"}},
				reduce.TimeToFirstToken: {Unit: "s", Distribution: &reduce.Distribution{Mean: 0.0912, Min: 0.02, P1: 0.021, P5: 0.03, P10: 0.04, P25: 0.06,
					P50: 0.09, P75: 0.11, P90: 0.14, P95: 0.15, P99: 0.2, Max: 0.31, Std: 0.04, Count: 199}},
			},
			PerDevice: []reduce.PerDevice{
				{Device: "GPU-a", DeviceIndex: 0, Host: "node1", Name: "H100", Source: "nvml", Scope: "gpu", Coverage: 1,
					Metrics: map[string]reduce.Metric{reduce.GPUEnergy: number("J", 17144, 3.5, 859, 0, "counter"), reduce.GPUPower: number("W", 609.5, 7, 30, 0, "mean"),
						reduce.CrossCheckRatio: plain("1", 1.0042, "energy / crosscheck_gpu_energy")}, Role: "decode", Worker: "d0"},
				{Device: "GPU-d", DeviceIndex: 3, Host: "node1", Name: "H100", Source: "nvml", Scope: "gpu", Coverage: 0, Metrics: map[string]reduce.Metric{}},
			},
			Roles: []reduce.Role{{Role: "decode", Devices: reduce.Devices{Expected: 4, Seen: 3, Missing: []string{"GPU-d"}}, Metrics: map[string]reduce.Metric{
				reduce.RoleEnergy: number("J", 151432.25, 6.1, 7577.4, 3, "counter, whole window"), reduce.RolePower: number("W", 1828.7, 0.2, 91.6, 3, "role_energy / duration"),
				reduce.RoleEnergyPerOutputToken: number("J/token", 16.1, 0.002, 0.8, 3, "role_energy / output tokens"),
			}}},
			Others: []reduce.OtherTool{{
				Tool: "aiperf", Figures: []reduce.OtherFigure{{Name: "nvidia_total_gpu_energy", Header: "Total GPU Energy", Unit: "J", Value: 51900.5, Formula: "last reading - baseline"}},
				Omitted:     []reduce.OtherOmission{{Name: "nvidia_goodput_per_watt", Why: "no service level objective is set"}},
				Devices:     []reduce.OtherDevice{{Device: "GPU-a", Source: "nvml", Figures: []reduce.OtherFigure{{Name: "nvidia_power_usage", Unit: "W", Value: 610.25, Formula: "mean of the samples"}}, Issues: []string{"sampling_gap_exceeded"}}},
				Explanation: &reduce.Explanation{Ours: 51432.25, Theirs: 51900.5, Steps: []reduce.ExplanationStep{{What: "readings until the grace after the end", Joules: 468.25}}},
			}},
			Windows: []reduce.Phase{{
				Name: "1", Kind: "window", Start: "2026-05-28T20:26:40.000000000Z", End: "2026-05-28T20:26:50.000000000Z", DurationSeconds: &slice,
				Metrics: map[string]reduce.Metric{
					reduce.TotalGPUEnergy:       number("J", 18000, 6, 902, 3, "counter"),
					reduce.AverageGPUPower:      number("W", 1800, 0.6, 90.2, 3, "total_gpu_energy / duration"),
					reduce.OutputTokensPerJoule: number("tokens/J", 0.0625, 0.00001, 0.0031, 3, "output tokens / total_gpu_energy"),
				},
				PerDevice: []reduce.PerDevice{}, Windows: []reduce.Phase{},
			}},
		}},
		Attribution: &reduce.Attribution{Mode: "fitted", ResolutionSeconds: 0.1, UnstreamedShare: 0.374, Servers: 2,
			Fit: &reduce.FitDoc{PromptJoules: 0.0119, OutputJoules: 0.055, ContextJoules: 8.5e-05, SharedJoules: 7.282, Condition: 294.5, Residual: 0.049}},
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(*bytes.Buffer) error{
		"example.json": func(b *bytes.Buffer) error { return WriteJSON(b, example()) },
		"example.txt":  func(b *bytes.Buffer) error { return WriteText(b, example()) },
		"example.md":   func(b *bytes.Buffer) error { return WriteMarkdown(b, example()) },
		"example.csv":  func(b *bytes.Buffer) error { return WriteCSV(b, example()) },
	} {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestSlicesAreWindows: slices that are made on the way give the bytes of windows, and
// are written before the next one is made.
// What needs requests is left out of every idle phase: one line says so.
func TestIdlePhasesLeaveOutInOneLine(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]int{"idle": 1, "measure": 2} {
		r := example()
		r.Phases[0].Kind = kind
		o := &r.Phases[0].Others[0]
		o.Omitted = append(o.Omitted, reduce.OtherOmission{Name: "request_latency", Why: "not known"})
		var got bytes.Buffer
		if err := WriteText(&got, r); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(got.String(), "aiperf leaves out"); n != want {
			t.Errorf("%s: %d lines, want %d\n%s", kind, n, want, &got)
		}
	}
}

func TestSlicesAreWindows(t *testing.T) {
	t.Parallel()
	const n = 300
	for name, write := range map[string]func(io.Writer, *reduce.Report) error{
		"json": WriteJSON, "csv": WriteCSV, "text": WriteText, "markdown": WriteMarkdown,
	} {
		var want, got bytes.Buffer
		r := example()
		ph := &r.Phases[0]
		slice := ph.Windows[0]
		for range n {
			ph.Windows = append(ph.Windows, slice)
		}
		if err := write(&want, r); err != nil {
			t.Fatal(err)
		}
		r = example()
		r.Phases[0].Slices = func(yield func(*reduce.Phase) bool) {
			for i := range n {
				if (name == "json" || name == "csv") && i == n-1 && got.Len() < want.Len()/2 {
					t.Errorf("%s: %d of %d bytes are written when the last slice is made", name, got.Len(), want.Len())
				}
				w := slice
				if !yield(&w) {
					t.Errorf("%s: not all slices are wanted", name)
					return
				}
			}
		}
		if err := write(&got, r); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.String(), got.String()); diff != "" {
			t.Errorf("%s (-windows +slices):\n%s", name, diff)
		}
	}
}

func TestJSONReadsBack(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WriteJSON(&b, example()); err != nil {
		t.Fatal(err)
	}
	var got reduce.Report
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example(), &got, cmp.Comparer(sameJSON)); diff != "" {
		t.Error(diff)
	}
}

// TestNamesCannotWriteToTheTerminal: a name with an escape sequence or a line feed stays
// a name.
func TestNamesCannotWriteToTheTerminal(t *testing.T) {
	r := example()
	r.Phases[0].Name = "a\x1b[31m\nb"
	r.Phases[0].PerDevice[0].Name = "H\x1b]0;x\a100"
	r.Warnings[0].Message = "m\r\nwarnings"
	for _, write := range []func(io.Writer, *reduce.Report) error{WriteText, WriteMarkdown} {
		var b bytes.Buffer
		if err := write(&b, r); err != nil {
			t.Fatal(err)
		}
		if i := bytes.IndexAny(b.Bytes(), "\x1b\r\a"); i >= 0 {
			t.Errorf("byte %d is a control character: %q", i, b.Bytes()[i-10:i+10])
		}
		if !bytes.Contains(b.Bytes(), []byte("a?[31m?b (measure)")) {
			t.Errorf("%.60q", b.Bytes())
		}
	}
}

// sameJSON reports whether two texts differ in their spaces alone: a document is indented.
func sameJSON(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && x.String() == y.String()
}
