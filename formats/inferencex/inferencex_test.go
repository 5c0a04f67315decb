package inferencex

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wattrace/trace"
)

const archive = "../../cmd/internal/reduce/testdata/inferencex/amd"

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(archive, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func find(list []Figure, name string) Figure {
	for _, f := range list {
		if f.Name == name {
			return f
		}
	}
	return Figure{}
}

func TestArchive(t *testing.T) {
	t.Parallel()
	a, err := ParseAggregate(read(t, "agg_run.json"), "f")
	if err != nil || a.Version != 2 || a.Concurrency != trace.Some(2.) || find(a.Figures, "total_gpu_energy_j") != (Figure{"total_gpu_energy_j", "J", 14512.031}) || find(a.Figures, "tp").Name != "" {
		t.Errorf("%+v, %v", a, err)
	}
	v, err := ParseAudit(read(t, "power_validation_run.json"), "f")
	if err != nil || v.Valid != trace.Some(true) || v.Result != "run.json" || v.Start.V != 1788257705250000000 || v.End.V != 1788257716500000000 || v.Expected != trace.Some(2) ||
		len(v.GPUs) != 2 || v.GPUs[1] <= 0 || find(v.Figures, "accumulator_check.within_tolerance").Value != 1 || find(v.Figures, "avg_power_w").Unit != "W" {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                             "f:1:1: ",
		"{}":                           "f:1:1: the aggregate has no figures",
		"{\n\"a\": 9e999}":             "f:2:6: a is out of range",
		"\ufeff{}":                     "f:1:1: ",
		`{"a":1`:                       "f:1:7: ",
		`{"x":"` + "\xff" + `"}`:       "f:1:7: ",
		"[" + strings.Repeat("[", 9e3): "f:1:",
	} {
		if _, err := ParseAggregate([]byte(in), "f"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.20q: %v", in, err)
		}
	}
	for in, want := range map[string]string{
		`{"reasons":[1]}`: "f:1:13: reasons must be a list of codes",
		`{"benchmark_window":{"start_time_unix":"secret"}}`: "f:1:40: start_time_unix must be a Unix time in seconds",
		`{"schema_version":2}`:                              "f:1:19: schema_version is newer than 1",
	} {
		if _, err := ParseAudit([]byte(in), "f"); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", in, err)
		}
	}
	a, err := ParseAudit([]byte(`{"power_valid":false,"reasons":["sampling_gap_exceeded"],"benchmark_window":null,"per_gpu_energy_j":{"h/GPU-1":3,"0":NaN},"metrics":{},"accumulator_check":null}`), "f")
	if err != nil || a.Valid != trace.Some(false) || a.Reasons[0] != "sampling_gap_exceeded" || a.Start.OK || len(a.GPUs) != 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

// FuzzFiles: what is no archive is a fault with its place.
func FuzzFiles(f *testing.F) {
	f.Add(read(f, "agg_run.json"))
	f.Add(read(f, "power_validation_run.json"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, parse := range []func() error{
			func() error { _, err := ParseAggregate(in, "f"); return err },
			func() error { _, err := ParseAudit(in, "f"); return err },
		} {
			var syntax *trace.SyntaxError
			if err := parse(); err != nil && !errors.As(err, &syntax) {
				t.Fatalf("%T %v", err, err)
			}
		}
	})
}
