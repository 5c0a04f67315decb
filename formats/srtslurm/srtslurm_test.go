package srtslurm

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats"
	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

// example is the package of testdata, to be changed.
func example(t testing.TB) fstest.MapFS {
	dir := fstest.MapFS{}
	for _, name := range []string{Manifest, Samples, "windows/results_concurrency_64.json"} {
		data, err := os.ReadFile("testdata/power/" + name)
		if err != nil {
			t.Fatal(err)
		}
		dir[name] = &fstest.MapFile{Data: data}
	}
	return dir
}

// readAll reads samples to their end, over faults.
func readAll(in io.Reader, p *Package) (b sample.Batch, devices []sample.Device, anchor int64, faults []string) {
	r, err := NewReader(in, "samples.csv", p)
	for part := new(sample.Batch); ; part.Reset() {
		var syntax *trace.SyntaxError
		if err == nil {
			err = r.Read(part)
		}
		switch {
		case err == io.EOF:
			return b, r.Head().Devices, r.Head().Clock.Anchor.UnixNanos, faults
		case err != nil:
			faults = append(faults, err.Error())
			if r == nil || !errors.As(err, &syntax) {
				return b, nil, 0, faults
			}
			err = nil
			continue
		}
		for i := range part.Len() {
			b.AppendFrom(part, i, int(part.Device[i]))
		}
	}
}

func TestPackage(t *testing.T) {
	t.Parallel()
	dir := example(t)
	if !Is(dir) || Is(fstest.MapFS{}) {
		t.Error("a package is none, or nothing is one")
	}
	p, err := Load(dir, "power")
	if err != nil {
		t.Fatal(err)
	}
	want := []reduce.Member{
		{Host: "node-a", Index: 0, Role: "prefill", Worker: "prefill0"}, {Host: "node-a", Index: 1, Role: "prefill", Worker: "prefill0"},
		{Host: "node-b", Index: 0, Role: "decode", Worker: "decode0"}, {Host: "node-b", Index: 1, Role: "decode", Worker: "decode0"},
	}
	if d := cmp.Diff(want, p.Topology); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]Window{{Name: "sa-bench c64", Concurrency: 64, Start: 1788000009250000000, End: 1788000019750000000}}, p.Windows); d != "" {
		t.Error(d)
	}
	b, devices, anchor, faults := readAll(bytes.NewReader(dir[Samples].Data), p)
	if faults != nil || b.Len() != 122 || len(devices) != 5 || anchor != 1788000000250000000-125e6 {
		t.Fatalf("%d rows, %d devices from %d: %q", b.Len(), len(devices), anchor, faults)
	}
	if d := cmp.Diff(sample.Device{ID: "GPU-a0000000-0000-4000-8000-000000000000", UUID: "GPU-a0000000-0000-4000-8000-000000000000", Host: "node-a", Source: sample.DCGM, Scope: sample.ScopeGPU}, devices[0]); d != "" {
		t.Error(d)
	}
	// The first row, then the marks.
	if w, _ := b.Float(sample.PowerWatts, 0); w != 95 || b.Took[0] != 150*time.Millisecond || b.MarkOf(1) != (sample.Mark{Event: sample.MarkStart, Phase: "sa-bench c64"}) {
		t.Errorf("%v W, %v, %+v", w, b.Took[0], b.MarkOf(1))
	}
	if at := anchor + int64(b.Time[2]); at != 1788000019750000000 || b.MarkOf(2).Event != sample.MarkEnd {
		t.Errorf("%d, %+v", at, b.MarkOf(2))
	}
	if v, ok := b.Float(sample.SMActivity, 0); ok {
		t.Errorf("an empty cell is %v", v)
	}
	in, err := formats.Open("testdata/power/samples.csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if in.Kind() != formats.SRTSlurm || p.Check(in) != nil {
		t.Errorf("%s, %v", in.Kind(), p.Check(in))
	}
	p.sha256 = strings.Repeat("0", 64)
	if p.Check(in) == nil {
		t.Error("other samples are taken for those of the manifest")
	}
}

func TestSamplesAlone(t *testing.T) {
	t.Parallel()
	const in = "schema_version,timestamp_unix,scrape_seq,hostname,gpu_index,gpu_uuid,power_w\r\n1,1788000000.1234567,0,h,0,GPU-a,95.5\r\n1,1788000001.1234567,1,h,0,GPU-a,0\r\n"
	b, devices, anchor, faults := readAll(strings.NewReader(in), nil)
	if faults != nil || b.Len() != 2 || len(devices) != 1 || anchor != 1788000000123456700 || b.Took[0] != 0 || b.Time[1] != 1e9 {
		t.Errorf("%+v %d %q", b, anchor, faults)
	}
}

// Each input has the marker where its fault must be reported.
func TestFaults(t *testing.T) {
	t.Parallel()
	const header = "schema_version,timestamp_unix,scrape_seq,hostname,gpu_index,gpu_uuid,power_w,gpu_util_pct,sm_active\n"
	const before, after = "2,1788000000.5,0,h,0,GPU-a,95,,\n2,1788000000.5,0,h,1,GPU-b,95,,\n", "2,1788000009.5,9,h,0,GPU-a,95,,\n"
	for marked, want := range map[string]string{
		"∑3,1788000001.5,1,h,0,GPU-a,95,,":      "schema_version is newer than 2, which this program reads",
		"∑x,1788000001.5,1,h,0,GPU-a,95,,":      "not a number of a version",
		"2,∑1e9,1,h,0,GPU-a,95,,":               "not a Unix time in seconds",
		"2,∑-1,1,h,0,GPU-a,95,,":                "not a Unix time in seconds",
		"2,∑1788000000.5,1,h,0,GPU-a,95,,":      "a second row of this time, of the same GPU",
		"2,∑1787999999.5,1,h,0,GPU-a,95,,":      "1s before the row before, of the same device",
		"2,1788000001.5,1,∑,0,GPU-a,95,,":       "the row does not say which host it is of",
		"2,1788000001.5,1,h,∑x,GPU-a,95,,":      "not the number of a GPU",
		"2,1788000001.5,1,h,0,∑,95,,":           "the row does not say which GPU it is of",
		"2,1788000001.5,1,h,0,∑GPU-c,95,,":      "the GPU had another UUID before",
		"2,1788000001.5,1,h,7,∑GPU-a,95,,":      "another GPU has this UUID",
		"2,1788000001.5,1,h,0,GPU-a,∑nan,,":     "not a number that is not negative",
		"2,1788000001.5,1,h,0,GPU-a,∑,,":        "not a number that is not negative",
		"2,1788000001.5,1,h,0,GPU-a,95,∑-1,":    "not a number that is not negative",
		"2,1788000001.5,1,h,0,GPU-a,95,,,∑":     "more than the header's 9 fields",
		"2,1788000001.5,1,h,0,GPU-a,95∑":        "7 fields, where the header has 9",
		"2,1788000001.5,1,∑\"h,0,GPU-a,95,,\"x": "",
	} {
		i := strings.Index(marked, "∑")
		line := marked[:i] + marked[i+len("∑"):]
		b, _, _, faults := readAll(strings.NewReader(header+before+line+"\n"+after), nil)
		if want == "" {
			if len(faults) != 1 {
				t.Errorf("%q: %q", marked, faults)
			}
			continue
		}
		if d := cmp.Diff([]string{trace.Pos{File: "samples.csv", Line: 4, Col: i + 1}.String() + ": " + want}, faults); d != "" || b.Len() != 3 {
			t.Errorf("%q: %d rows (-want +got):\n%s", marked, b.Len(), d)
		}
	}
}

func TestBadPackages(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ file, old, new, want string }{
		{Manifest, `"schema_version": 1,`, `"schema_version": 2,`, "power/manifest.json: schema_version 2 is newer than 1, which this program reads"},
		{Manifest, `"unit": "W"`, `"unit": "mW"`, `power/manifest.json: unit is "mW", want W`},
		{Manifest, "srt-slurm.dcgm-power", "other", `power/manifest.json: producer is "other", want srt-slurm.dcgm-power`},
		{Manifest, `"status":`, `"status"`, "power/manifest.json:19:12: not JSON"},
		{Manifest, `"hostname": "node-b"`, `"hostname": 1`, "power/manifest.json:53:19: expected_devices.hostname has a value of the wrong type"},
		{Manifest, `"hostname": "node-b"`, `"hostname": ""`, "power/manifest.json: expected_devices[2] has no hostname, or no gpu_index"},
		{Manifest, `"hostname": "node-b"`, `"hostname": "node-a"`, "power/manifest.json: expected_devices[2], GPU 0 of node-a, is listed twice"},
		{"windows/results_concurrency_64.json", `"completed"`, `"odd"`, "power/windows/results_concurrency_64.json: its status is not one that is known"},
		{"windows/results_concurrency_64.json", "1788000019.75", "1788000000.75", "power/windows/results_concurrency_64.json: it has no benchmark_end_time_unix after its start"},
		{"windows/results_concurrency_64.json", "1788000019.75", "null", "power/windows/results_concurrency_64.json: it has no benchmark_end_time_unix after its start"},
		{"windows/results_concurrency_64.json", `"schema_version": 1`, `"schema_version": 9`, "power/windows/results_concurrency_64.json: not a window of schema_version 1"},
	} {
		dir := example(t)
		data := dir[test.file].Data
		if !bytes.Contains(data, []byte(test.old)) {
			t.Fatalf("%s has no %s", test.file, test.old)
		}
		dir[test.file].Data = bytes.Replace(data, []byte(test.old), []byte(test.new), 1)
		if _, err := Load(dir, "power"); err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", test.new, err, test.want)
		}
	}
	dir := example(t)
	dir["windows/b.json"] = &fstest.MapFile{Data: []byte(`{"schema_version":1,"status":"interrupted","benchmark_type":"sa-bench","concurrency":4,"benchmark_start_time_unix":1788000001,"reason":"x"}`)}
	dir["windows/a.json"] = &fstest.MapFile{Data: []byte(`{"schema_version":1,"status":"failed","benchmark_type":"sa-bench","concurrency":8,"benchmark_start_time_unix":1788000002,"benchmark_end_time_unix":1788000003.5}`)}
	p, err := Load(dir, "power")
	if err != nil || len(p.Windows) != 3 || p.Windows[0].Name != "sa-bench c4 (interrupted)" || !p.Windows[0].Open || p.Windows[1].Name != "sa-bench c8 (failed)" {
		t.Errorf("%v, %+v", err, p)
	}
}

// Whatever the input: no panic, and the rows are the same however it arrives.
func FuzzRead(f *testing.F) {
	data, err := os.ReadFile("testdata/power/samples.csv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:900])
	f.Fuzz(func(t *testing.T, data []byte) {
		a, _, _, faults := readAll(bytes.NewReader(data), nil)
		b, _, _, again := readAll(iotest.OneByteReader(bytes.NewReader(data)), nil)
		if d := cmp.Diff(a, b) + cmp.Diff(faults, again); d != "" {
			t.Fatalf("(-whole +byte by byte):\n%s", d)
		}
	})
}

func FuzzManifest(f *testing.F) {
	dir := example(f)
	f.Add(dir[Manifest].Data, dir["windows/results_concurrency_64.json"].Data)
	f.Fuzz(func(t *testing.T, manifest, window []byte) {
		dir := fstest.MapFS{Manifest: &fstest.MapFile{Data: manifest}, "windows/a.json": &fstest.MapFile{Data: window}}
		if p, err := Load(dir, "power"); err == nil {
			readAll(strings.NewReader("timestamp_unix,hostname,gpu_index,gpu_uuid,power_w\n1788000000.5,h,0,GPU-a,95\n"), p)
		}
	})
}
