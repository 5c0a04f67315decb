package convert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"wattrace/cmd/internal/reduce"
	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/trace"
)

// root is the repository: tests change the directory.
var root, _ = filepath.Abs("../../..")

// full is a recording of several streams and sources, the others of real GPUs.
var (
	full     = filepath.Join(root, "formats/telemetry/testdata/full.arrows")
	recorded = []string{filepath.Join(root, "testdata/h200/load-20ms.arrows.zst"), filepath.Join(root, "testdata/h100/load-10ms.arrows.zst"), full}
)

// plain returns a file without its zstd layer.
func plain(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil && strings.HasSuffix(path, ".zst") {
		d, _ := zstd.NewReader(nil)
		b, err = d.DecodeAll(b, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// reduced is the report on a recording, without the hash of the file.
func reduced(t *testing.T, file []byte, args ...string) outcome {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("power", file, 0o666); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := reduce.Main(context.Background(), append(args, "power"), strings.NewReader(""), &stdout, &stderr)
	return outcome{code, regexp.MustCompile(`"sha256": "\w+"`).ReplaceAllString(stdout.String(), `"sha256": ""`), stderr.String()}
}

// The report on a sealed recording is the report on the recording.
func TestSealedReport(t *testing.T) {
	for _, path := range recorded {
		original := plain(t, path)
		want := reduced(t, original, "--format", "json", "--every", "300ms")
		for _, args := range [][]string{nil, {"--compress"}} {
			got := convert(string(original), append(args, "--to", "arrow", "-")...)
			if got.Code != 0 || !regexp.MustCompile(`^convert: \d+ rows of (1 device|\d devices)\n$`).MatchString(got.Stderr) {
				t.Fatalf("%s: %d %s", path, got.Code, got.Stderr)
			}
			if diff := cmp.Diff(want, reduced(t, []byte(got.Stdout), "--format", "json", "--every", "300ms")); diff != "" {
				t.Errorf("%s %v: %s", path, args, diff)
			}
			was, _, _ := readSealed(string(original))
			is, _, _ := readSealed(got.Stdout)
			wasEnd, _ := was.End()
			isEnd, _ := is.End()
			if diff := cmp.Diff([]any{was.Head(), was.Holes(), was.Snapshots(), wasEnd}, []any{is.Head(), is.Holes(), is.Snapshots(), isEnd}); diff != "" {
				t.Errorf("%s %v: %s", path, args, diff)
			}
			// Sealed again it is the same.
			if again := convert(got.Stdout, append(args, "--to", "arrow", "-")...); again.Stdout != got.Stdout {
				t.Errorf("%s %v: sealed again it differs", path, args)
			}
		}
	}
}

// Rows, columns and cells of the text forms, against each other and the reader.
func TestSealedText(t *testing.T) {
	for _, path := range recorded {
		csv, jsonl := convert("", "--to", "csv", path), convert("", "--to", "jsonl", path)
		rd, err := telemetry.NewReader(bytes.NewReader(plain(t, path)), path)
		if err != nil {
			t.Fatal(err)
		}
		rows, power := 0, 0.0
		for b := new(sample.Batch); rd.Read(b) == nil; rows += b.Len() {
			for i := range b.Len() {
				v, _ := b.Float(sample.PowerWatts, i)
				power += v
			}
		}
		names := strings.Split(strings.SplitN(csv.Stdout, "\n", 2)[0], ",")
		if n := strings.Count(csv.Stdout, "\n"); n != rows+1 || len(names) < 8 {
			t.Errorf("%s: %d lines for %d rows, %v", path, n, rows, names)
		}
		sum, n := 0.0, 0
		for d := json.NewDecoder(strings.NewReader(jsonl.Stdout)); ; n++ {
			var row map[string]any
			if err := d.Decode(&row); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			v, _ := row["power_watts"].(float64)
			sum += v
			for name := range row {
				if !slices.Contains(names, name) {
					t.Fatalf("%s: no column %s", path, name)
				}
			}
		}
		if n != rows || sum != power {
			t.Errorf("%s: %d rows of %v W, want %d of %v W", path, n, sum, rows, power)
		}
	}
}

// Marks are kept though no device is the run.
func TestSealedMarks(t *testing.T) {
	device := sample.Device{ID: "GPU-0", Host: "n", Source: sample.NVML, Scope: sample.ScopeGPU}
	h := telemetry.Head{Clock: trace.Clock{Anchor: trace.ClockSnapshot{UnixNanos: 1}}, Devices: []sample.Device{device}, Metrics: []sample.MetricID{}}
	b := &sample.Batch{Devices: h.Devices}
	b.Append(0, 0, 0).Mark(sample.Mark{Event: sample.MarkStart, Phase: "x"})
	var file bytes.Buffer
	w, err := telemetry.NewWriter(&file, h)
	if err := errors.Join(err, w.Write(b), w.Close(telemetry.End{})); err != nil {
		t.Fatal(err)
	}
	want := "time,took_nanos,host,device,device_index,source,scope,mark,status\n1970-01-01T00:00:00.000000001Z,0,n,GPU-0,0,nvml,gpu,start x,\n"
	if got := convert(file.String(), "-q", "--to", "csv"); got.Stdout != want {
		t.Errorf("%+v", got)
	}
}

// split cuts a recording into n files, as record --rotate leaves them.
func split(t *testing.T, file []byte, n int) [][]byte {
	t.Helper()
	rd, err := telemetry.NewReader(bytes.NewReader(file), "x")
	if err != nil {
		t.Fatal(err)
	}
	var batches []*sample.Batch
	for {
		b := new(sample.Batch)
		if err = rd.Read(b); err != nil {
			break
		}
		batches = append(batches, b)
	}
	end, ok := rd.End()
	if err != io.EOF || !ok || len(batches) < n {
		t.Fatal(err, ok, len(batches))
	}
	end.Ticks, end.Missed = end.Ticks/int64(n), end.Missed/int64(n)
	var files [][]byte
	for i := range n {
		var out bytes.Buffer
		w, err := telemetry.NewWriter(&out, rd.Head())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches[i*len(batches)/n : (i+1)*len(batches)/n] {
			if err := w.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(end); err != nil {
			t.Fatal(err)
		}
		files = append(files, out.Bytes())
	}
	return files
}

func save(t *testing.T, files [][]byte) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for i, file := range files {
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("power.%d.arrows", i)))
		if err := os.WriteFile(paths[i], file, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// The files of one recording are sealed as the whole of it, in whatever order.
func TestSealedRotated(t *testing.T) {
	files := split(t, plain(t, recorded[0]), 3)
	p := save(t, files)
	for _, to := range []string{"arrow", "csv", "parquet"} {
		want := convert(string(slices.Concat(files...)), "--to", to, "-")
		if want.Code != 0 {
			t.Fatal(want.Stderr)
		}
		for _, paths := range [][]string{p, {p[2], p[0], p[1]}} {
			if got := convert("", append(paths, "--to", to)...); got != want {
				t.Errorf("%s: %d, %d bytes, want %d: %s", to, got.Code, len(got.Stdout), len(want.Stdout), got.Stderr)
			}
		}
	}
	// One in the middle that was cut loses its own rows alone, and the claim to be whole.
	files[1] = files[1][:len(files[1])-300]
	p = save(t, files)
	got := convert("", append(p, "--to", "arrow")...)
	rd, rows, err := readSealed(got.Stdout)
	if got.Code != 3 || !errors.Is(err, telemetry.ErrTruncated) || rows < 2*6222/3 || rd == nil {
		t.Errorf("%d %s: %d rows, %v", got.Code, got.Stderr, rows, err)
	}
	if !strings.Contains(got.Stderr, p[1]+": ") {
		t.Error(got.Stderr)
	}
	// So does one that has no more than a part of its head.
	files = split(t, plain(t, recorded[0]), 3)
	files[2] = files[2][:100]
	got = convert("", append(save(t, files), "--to", "arrow")...)
	if _, rows, err := readSealed(got.Stdout); got.Code != 3 || rows == 0 || !errors.Is(err, telemetry.ErrTruncated) {
		t.Errorf("%d %s: %d rows, %v", got.Code, got.Stderr, rows, err)
	}
}

// Files may list their devices in another order, and others.
func TestSealedDevices(t *testing.T) {
	a := sample.Device{ID: "GPU-a", Host: "n", Source: sample.NVML, Scope: sample.ScopeGPU}
	b := sample.Device{ID: "GPU-b", Host: "n", Index: 1, Source: sample.NVML, Scope: sample.ScopeGPU}
	var files [][]byte
	for i, devices := range [][]sample.Device{{a}, {b, a}} {
		rows := &sample.Batch{Devices: devices}
		for d := range devices {
			rows.Append(d, trace.Time(i), 0).Set(sample.PowerWatts, float64(10*i+d))
		}
		var file bytes.Buffer
		w, err := telemetry.NewWriter(&file, telemetry.Head{Devices: devices, Metrics: []sample.MetricID{}})
		if err := errors.Join(err, w.Write(rows), w.Close(telemetry.End{})); err != nil {
			t.Fatal(err)
		}
		files = append(files, file.Bytes())
	}
	want := `time,took_nanos,host,device,device_index,source,scope,power_watts,status
1970-01-01T00:00:00.000000000Z,0,n,GPU-a,0,nvml,gpu,0,
1970-01-01T00:00:00.000000001Z,0,n,GPU-b,1,nvml,gpu,10,
1970-01-01T00:00:00.000000001Z,0,n,GPU-a,0,nvml,gpu,11,
`
	got := convert("", append(save(t, files), "-q", "--to", "csv")...)
	if diff := cmp.Diff(outcome{0, want, ""}, got); diff != "" {
		t.Error(diff)
	}
}

func readSealed(file string) (rd *telemetry.Reader, rows int, err error) {
	if rd, err = telemetry.NewReader(strings.NewReader(file), "x"); err != nil {
		return nil, 0, err
	}
	b := new(sample.Batch)
	for err = rd.Read(b); err == nil; err = rd.Read(b) {
		rows += b.Len()
	}
	return rd, rows, err
}

// A recording that breaks off is sealed as far as it goes, and says so.
func TestSealedIncomplete(t *testing.T) {
	file := plain(t, recorded[0])
	cut := file[:len(file)/2]
	_, want, _ := readSealed(string(cut))
	got := convert(string(cut), "--to", "arrow")
	_, rows, err := readSealed(got.Stdout)
	if got.Code != 3 || rows != want || !errors.Is(err, telemetry.ErrTruncated) || !strings.HasPrefix(got.Stderr, "convert: -: batch ") ||
		!strings.HasSuffix(got.Stderr, fmt.Sprintf("; %d rows of 1 device\n", want)) {
		t.Errorf("%d %s: %d rows of %d, %v", got.Code, got.Stderr, rows, want, err)
	}
	if r := reduced(t, []byte(got.Stdout)); r.Code != 3 || !strings.Contains(r.Stdout, "its recorder wrote no end") {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
	for _, to := range []string{"parquet", "csv", "jsonl"} {
		got := convert(string(cut), "--to", to)
		if got.Code != 3 || strings.Contains(got.Stdout, "wattrace.end") {
			t.Errorf("%s: %d %s", to, got.Code, got.Stderr)
		}
	}
	if whole := convert(string(file), "--to", "parquet"); whole.Code != 0 || !strings.Contains(whole.Stdout, "wattrace.end") {
		t.Errorf("%d: a whole one has its end", whole.Code)
	}

	// Damage is for those who ask for it.
	bad := slices.Clone(file)
	copy(bad[len(bad)/2:], bytes.Repeat([]byte{9}, 4096))
	out := filepath.Join(t.TempDir(), "x")
	got = convert(string(bad), "--to", "arrow", "-o", out)
	if _, err := os.Stat(out); got.Code != 1 || err == nil || !strings.Contains(got.Stderr, "hint: --keep-going takes what precedes it\n") {
		t.Errorf("%d %s %v", got.Code, got.Stderr, err)
	}
	got = convert(string(bad), "--to", "arrow", "--keep-going")
	if _, rows, err := readSealed(got.Stdout); got.Code != 3 || rows == 0 || rows >= 6222 || !errors.Is(err, telemetry.ErrTruncated) {
		t.Errorf("%d %s: %d rows, %v", got.Code, got.Stderr, rows, err)
	}
}

// What is no recording, or more than one.
func TestSealFailures(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	whole := string(plain(t, recorded[0]))
	hint := "convert: hint: see convert --help\n"
	for _, c := range []struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		{whole, []string{"--to", "xlsx"}, 2, "convert: --to \"xlsx\": want aiperfinputs, mooncake, openaibatch, trtllm, vllm of a trace; parquet, arrow, csv, jsonl, aiperf, perfetto of a request log; parquet, arrow, csv, jsonl, aiperf, perfetto of a recording\n" + hint},
		{whole, []string{"--to", ""}, 2, "convert: --to \"\": want aiperfinputs, mooncake, openaibatch, trtllm, vllm of a trace; parquet, arrow, csv, jsonl, aiperf, perfetto of a request log; parquet, arrow, csv, jsonl, aiperf, perfetto of a recording\n" + hint},
		{whole, []string{"--to", "csv", "--model", "m"}, 2, "convert: --model is for a trace, and - is a recording\n" + hint},
		{whole, []string{"--to", "csv", "--compress"}, 2, "convert: --compress is for --to arrow; parquet is compressed anyway, a FILE.zst of the others too\n" + hint},
		{whole, []string{"--model", "m", "--compress"}, 2, "convert: --compress is for --to arrow\n" + hint},
		{whole, []string{"--to", "csv", "a", "b", "a"}, 2, "convert: a is named twice\n" + hint},
		{whole, []string{"--to", "csv", full, recorded[0], "--", "x"}, 2, "convert: nothing may follow --\n" + hint},
		{whole, []string{"--model", "m"}, 1, "convert: -: is a telemetry recording, not a trace\nconvert: hint: --to parquet seals it, or --to arrow, csv, jsonl, aiperf\n"},
		{text, []string{"--to", "csv"}, 2, "convert: --to csv: - is a trace, which becomes aiperfinputs, mooncake, openaibatch, trtllm, vllm\n" + hint},
		{"", []string{"--to", "csv"}, 1, "convert: -: is empty\n"},
		{whole[:100], []string{"--to", "csv"}, 1, "convert: -: the recording is not complete: it ends inside a message's metadata (at byte 0)\n"},
		{whole + string(plain(t, recorded[1])), []string{"--to", "csv"}, 1, "convert: -: holds several recordings one after the other; one schema has one clock\n"},
		{whole, []string{"--to", "csv", full, "-"}, 1, "convert: -: is of another recording than " + full + "\n" +
			"convert: hint: seal each on its own; files of one are those of record --rotate\n"},
		{string(plain(t, full)), []string{"--to", "csv", full, "-"}, 1, "convert: -: is the same recording as " + full + "\n"},
	} {
		got := convert(c.stdin, append(c.args, "-o", out)...)
		if len(c.args) > 3 && slices.Contains(c.args, "--") { // what follows -- is a command's
			got = convert(c.stdin, append([]string{"-o", out}, c.args...)...)
		}
		if diff := cmp.Diff(outcome{c.code, "", c.want}, got); diff != "" {
			t.Errorf("%v: %s", c.args, diff)
		}
		if left := files(t, dir); len(left) > 0 {
			t.Fatalf("%v left files", c.args)
		}
	}
	got := convert(whole, "--to", "parquet", "-o", out+".zst")
	if got.Code != 2 || !strings.Contains(got.Stderr, "other programs do not open parquet inside zstd") {
		t.Errorf("%+v", got)
	}
	got = convert(whole, "-q", "--to", "csv", "-o", out+".csv.zst")
	if got.Code != 0 || string(plain(t, out+".csv.zst")) != convert(whole, "--to", "csv").Stdout {
		t.Errorf("%+v", got)
	}
	if got := convert(whole, "--to", "parquet", "-o", "/dev/full"); got.Code != 1 || !strings.Contains(got.Stderr, "no space left") {
		t.Errorf("%+v", got)
	}
}

// A device that is said to be something else later has one description.
func TestSealedRedescribed(t *testing.T) {
	files := split(t, plain(t, full), 2)
	files[1] = bytes.Replace(files[1], []byte(`"mig":false`), []byte(`"mig":true `), -1)
	got := convert("", append(save(t, files), "--to", "arrow")...)
	rd, rows, err := readSealed(got.Stdout)
	if got.Code != 0 || err != io.EOF || rows != 10 || !rd.Head().Devices[0].MIG || !strings.Contains(got.Stderr, ": what is said of it changes; the latest is kept\n") {
		t.Errorf("%d %s: %d rows, %v", got.Code, got.Stderr, rows, err)
	}
}

// long writes an unfinished recording of 8 GPUs at 20 ms.
func long(w io.Writer, rows int) error {
	var devices []sample.Device
	for i := range 8 {
		devices = append(devices, sample.Device{ID: fmt.Sprint("GPU-", i), Host: "n", Index: i, Source: sample.NVML, Scope: sample.ScopeGPU})
	}
	h := telemetry.Head{
		Clock: trace.Clock{Anchor: trace.ClockSnapshot{UnixNanos: 1_780_000_000_000_000_000}}, Devices: devices,
		Metrics: []sample.MetricID{sample.PowerWatts, sample.EnergyJoules},
	}
	out, err := telemetry.NewWriter(w, h)
	b := &sample.Batch{Devices: devices}
	for n := 0; n < rows && err == nil; {
		for b.Reset(); b.Len() < 4000; n++ {
			at := trace.Time(n/8) * trace.Time(20*time.Millisecond)
			row := b.Append(n%8, at+trace.Time(n%8*30_000), 30*time.Microsecond)
			row.Set(sample.PowerWatts, float64(n%701)+0.125)
			row.Set(sample.EnergyJoules, float64(n/8*9)/1000)
		}
		err = out.Write(b)
	}
	return err
}

// A recording far larger than the memory that it takes.
func TestSealConstantMemory(t *testing.T) {
	rows := 6_000_000
	if testing.Short() || raceEnabled {
		rows = 600_000
	}
	// A row group of Parquet is held until it is whole.
	for to, limit := range map[string]uint64{"arrow": 128 << 20, "parquet": 240 << 20, "csv": 128 << 20} {
		runtime.GC()
		r, w := io.Pipe()
		go func() { w.CloseWithError(errors.Join(long(w, rows), io.EOF)) }()
		done, top := make(chan struct{}), make(chan uint64)
		go func() {
			var most uint64
			for {
				select {
				case <-done:
					top <- most
					return
				case <-time.After(20 * time.Millisecond):
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					most = max(most, m.HeapAlloc)
				}
			}
		}()
		var out counter
		var stderr bytes.Buffer
		start := time.Now()
		code := Main(t.Context(), []string{"--to", to}, r, &out, &stderr)
		close(done)
		most := <-top
		t.Logf("%s: %.1f bytes a row, %.2f million rows/s, %d MiB of heap", to, float64(out)/float64(rows), float64(rows)/1e6/time.Since(start).Seconds(), most>>20)
		if code != 3 || most > limit {
			t.Errorf("%s: %d %s, %d MiB of heap", to, code, stderr.String(), most>>20)
		}
	}
}
