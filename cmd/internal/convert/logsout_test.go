package convert

import (
	"bytes"
	stdcmp "cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/google/go-cmp/cmp"

	"wattrace/cmd/internal/reduce"
	"wattrace/formats/requests"
	"wattrace/trace"
)

var (
	exampleLog = filepath.Join(root, "formats/requests/testdata/example.jsonl")
	servedLog  = filepath.Join(root, "testdata/h200/serve-requests.jsonl.zst")
	aiperfLog  = filepath.Join(root, "formats/aiperf/testdata/profile_export.jsonl")
)

// logOf returns the requests of a log, each with its row's run.
func logOf(t *testing.T, text []byte) (list []trace.Request, runs []requests.Run) {
	t.Helper()
	r := requests.NewReader(bytes.NewReader(text), "log")
	for {
		var rec requests.Record // so that nothing is used again
		err := r.Read(&rec)
		if err != nil {
			return list, runs
		}
		switch rec.Type {
		case requests.TypeRun:
			runs = append(runs, rec.Run)
		case requests.TypeRequest:
			list = append(list, rec.Request)
		}
	}
}

// A log comes back as it was, byte for byte, whatever its layer.
func TestLogJSONL(t *testing.T) {
	t.Parallel()
	for _, path := range []string{exampleLog, servedLog} {
		if got := convert("", "--to", "jsonl", path); got.Code != 0 || got.Stdout != string(plain(t, path)) {
			t.Errorf("%s: %d %s", path, got.Code, got.Stderr)
		}
	}
}

// The Arrow file has every request, by columns that have the log's names, and so does Parquet.
func TestLogTable(t *testing.T) {
	t.Parallel()
	for _, path := range []string{exampleLog, servedLog} {
		want, runs := logOf(t, plain(t, path))
		got := convert("", "--to", "arrow", path)
		if got.Code != 0 {
			t.Fatal(got.Stderr)
		}
		f, err := ipc.NewFileReader(strings.NewReader(got.Stdout))
		if err != nil {
			t.Fatal(err)
		}
		m := f.Schema().Metadata()
		log, _ := m.GetValue("wattrace.log")
		if _, again := logOf(t, []byte(log)); cmp.Diff(runs, again) != "" {
			t.Error("the metadata has another run")
		}
		if plan, _ := m.GetValue("wattrace.plan"); !strings.HasPrefix(plan, `{"schema":"wattrace.plan/1"`) {
			t.Errorf("plan %s", plan)
		}
		row := 0
		for i := range f.NumRecords() {
			r, err := f.Record(i)
			if err != nil {
				t.Fatal(err)
			}
			col := func(name string) int { return r.Schema().FieldIndices(name)[0] }
			int64s := func(name string) *array.Int64 { return r.Column(col(name)).(*array.Int64) }
			times := r.Column(col("time")).(*array.Timestamp)
			chunks, tokens := r.Column(col("chunk_nanos")).(*array.List), r.Column(col("chunk_tokens")).(*array.List)
			kinds := r.Column(col("chunk_kinds")).(*array.String)
			for k := range int(r.NumRows()) {
				q := &want[row]
				row++
				opt := func(name string, v trace.Opt[trace.Time]) {
					if c := int64s(name); c.IsValid(k) != v.OK || v.OK && c.Value(k) != int64(v.V) {
						t.Fatalf("row %d: %s", row, name)
					}
				}
				opt("sent_nanos", trace.Some(q.Sent))
				opt("first_token_nanos", q.FirstToken)
				opt("connect_nanos", q.ConnectStart)
				if int64(times.Value(k)) != runs[0].Clock.Anchor.UnixNanos+int64(q.Sent) || int64s("output_tokens").IsValid(k) != q.OutputTokens.OK {
					t.Fatalf("row %d", row)
				}
				if len(q.Chunks) == 0 {
					if chunks.IsValid(k) || kinds.IsValid(k) {
						t.Fatalf("row %d has events", row)
					}
					continue
				}
				from, to := chunks.ValueOffsets(k)
				if int(to-from) != len(q.Chunks) || tokens.IsValid(k) != q.ChunkTokens {
					t.Fatalf("row %d: %d events of %d", row, to-from, len(q.Chunks))
				}
				for n, c := range q.Chunks {
					at := chunks.ListValues().(*array.Int64).Value(int(from) + n)
					if at != int64(c.At-q.Sent) || kinds.Value(k)[n] != byte(c.Kind) {
						t.Fatalf("row %d, event %d", row, n)
					}
				}
			}
		}
		if row != len(want) {
			t.Errorf("%d rows of %d", row, len(want))
		}
		for _, args := range [][]string{{"--to", "parquet"}, {"--to", "csv"}, {"--to", "arrow", "--compress"}} {
			got := convert("", append(args, path)...)
			rows := 0
			switch args[1] {
			case "parquet":
				p, err := file.NewParquetReader(strings.NewReader(got.Stdout))
				if err != nil {
					t.Fatal(err)
				}
				rows = int(p.NumRows())
			case "csv":
				all, err := csv.NewReader(strings.NewReader(got.Stdout)).ReadAll()
				if err != nil {
					t.Fatal(err)
				}
				rows = len(all) - 1
			default:
				p, err := ipc.NewFileReader(strings.NewReader(got.Stdout))
				if err != nil {
					t.Fatal(err)
				}
				for i := range p.NumRecords() {
					r, _ := p.Record(i)
					rows += int(r.NumRows())
				}
			}
			if rows != len(want) || got.Code != 0 {
				t.Errorf("%v: %d rows of %d, %s", args, rows, len(want), got.Stderr)
			}
		}
	}
}

// A log of aiperf goes the same ways, and several runs keep their clocks apart.
func TestLogsOfOthers(t *testing.T) {
	t.Parallel()
	got := convert("", "--to", "csv", aiperfLog)
	rows, err := csv.NewReader(strings.NewReader(got.Stdout)).ReadAll()
	if got.Code != 0 || err != nil || len(rows) < 2 || rows[0][0] != "run" {
		t.Errorf("%d rows, %v, %s", len(rows), err, got.Stderr)
	}
	one := string(plain(t, exampleLog))
	two := strings.ReplaceAll(one, `"unix_nanos":"1780000000000000000"`, `"unix_nanos":"1790000000000000000"`)
	got = convert(one+two, "-q", "--to", "csv")
	rows, err = csv.NewReader(strings.NewReader(got.Stdout)).ReadAll()
	if err != nil || got.Code != 0 {
		t.Fatal(err, got.Stderr)
	}
	n := len(rows) / 2
	last := rows[len(rows)-1]
	if rows[1][0] != "0" || last[0] != "1" || !strings.HasPrefix(strings.Join(last, ","), "1,") || rows[1][10] == rows[1+n][10] {
		at := rows[0]
		t.Errorf("%v\n%v\n%v", at, rows[1], last)
	}
}

// What is not whole, or not a log.
func TestLogFaults(t *testing.T) {
	t.Parallel()
	whole := string(plain(t, exampleLog))
	lines := strings.SplitAfter(strings.TrimSuffix(whole, "\n"), "\n")
	open := strings.Join(lines[:len(lines)-1], "")
	for _, to := range []string{"csv", "parquet", "jsonl", "perfetto", "aiperf"} {
		run := func(in string, args ...string) outcome {
			return convert(in, append(args, "--to", to, "-o", filepath.Join(t.TempDir(), "out"))...)
		}
		if got := run(open); got.Code != 3 || !strings.Contains(got.Stderr, "-: the log is incomplete, it has no close line; ") {
			t.Errorf("%s: %+v", to, got)
		}
		if got := run(whole[:len(whole)-9]); got.Code != 3 || !strings.Contains(got.Stderr, "the last line is cut off; ") {
			t.Errorf("%s: %+v", to, got)
		}
		bad := strings.Replace(whole, `"outcome":"succeeded"`, `"outcome":7`, 1)
		if got := run(bad); got.Code != 1 || !regexp.MustCompile(`convert: -:\d+:\d+: `).MatchString(got.Stderr) {
			t.Errorf("%s: %+v", to, got)
		}
		if got := run(bad, "--keep-going"); got.Code != 3 || !strings.Contains(got.Stderr, ", 1 lines skipped") {
			t.Errorf("%s: %+v", to, got)
		}
	}
	if got := convert(whole+whole, "--to", "aiperf", "-o", filepath.Join(t.TempDir(), "out")); got.Code != 1 || !strings.Contains(got.Stderr, "holds several runs") {
		t.Errorf("%+v", got)
	}
}

// A report of aiperf's directory has the figures of the log that it was made of.
func TestAIPerfDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	got := convert("", "--to", "aiperf", "--model", "m", "-o", dir+"/", servedLog)
	if got.Code != 0 {
		t.Fatal(got.Stderr)
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
		t.Errorf("%v beside it, %v", left, err)
	}
	made := files(t, dir)
	if len(made) != 2 {
		t.Fatalf("%d files", len(made))
	}
	if again := convert("", "--to", "aiperf", "-o", dir, servedLog); again.Code != 1 || !strings.Contains(again.Stderr, dir+": exists already\nconvert: hint: --force replaces one that has nothing else\n") {
		t.Errorf("%+v", again)
	}
	var summary map[string]json.RawMessage
	if err := json.Unmarshal([]byte(made["profile_export_aiperf.json"]), &summary); err != nil {
		t.Fatal(err)
	}
	// What our own reader makes of it, written again, is the same: all else was lost the
	// first time.
	again := filepath.Join(t.TempDir(), "run")
	log := convert("", "-q", "--to", "jsonl", filepath.Join(dir, "profile_export.jsonl"))
	if got := convert(log.Stdout, "-q", "--to", "aiperf", "--model", "m", "-o", again); got.Code != 0 {
		t.Fatal(got.Stderr)
	}
	ids := regexp.MustCompile(`"x_request_id":"[^"]*"`)
	if d := cmp.Diff(ids.ReplaceAllString(made["profile_export.jsonl"], ""), ids.ReplaceAllString(files(t, again)["profile_export.jsonl"], "")); d != "" {
		t.Errorf("(-once +twice):\n%.3000s", d)
	}
	// Its formulas are those of reduce --as aiperf.
	var out, stderr bytes.Buffer
	reduce.Main(context.Background(), []string{"--as", "aiperf", "--format", "json", filepath.Join(dir, "profile_export.jsonl")}, strings.NewReader(""), &out, &stderr)
	var report struct {
		Phases []struct {
			Name  string
			Tools []struct {
				Figures []struct {
					Name  string
					Value float64
				}
			} `json:"other_tools"`
		}
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatal(err, stderr.String())
	}
	compared := 0
	for _, ph := range report.Phases {
		if ph.Name != "profiling" {
			continue
		}
		for _, f := range ph.Tools[0].Figures {
			tag, stat, _ := strings.Cut(f.Name, ".")
			var of map[string]any
			if json.Unmarshal(summary[tag], &of) != nil {
				continue
			}
			got, ok := of[stdcmp.Or(stat, "avg")].(float64)
			if !ok || math.Abs(got-f.Value) > 1e-12*math.Abs(f.Value) {
				t.Errorf("%s: %v, reduce says %v", f.Name, got, f.Value)
			}
			compared++
		}
	}
	if compared < 20 {
		t.Errorf("%d figures compared", compared)
	}
	// With --force what is there is replaced, but not where it holds another's files.
	if got := convert("", "-q", "--force", "--to", "aiperf", "-o", dir, exampleLog); got.Code != 0 || len(files(t, dir)) != 2 {
		t.Errorf("%+v", got)
	}
	// Nor an input, nor what a link names.
	if got := convert("", "--force", "--to", "aiperf", "-o", dir, filepath.Join(dir, "profile_export.jsonl")); got.Code != 1 || got.Stderr != "convert: "+dir+": has an input, profile_export.jsonl\n" || len(files(t, dir)) != 2 {
		t.Errorf("%+v", got)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if got := convert("", "--force", "--to", "aiperf", "-o", link, servedLog); got.Code != 1 || got.Stderr != "convert: "+link+": is there, and no directory\n" {
		t.Errorf("%+v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	if got := convert("", "-q", "--force", "--to", "aiperf", "-o", dir, servedLog); got.Code != 1 || !strings.Contains(got.Stderr, "has mine, and is not replaced") || cmp.Diff(before, files(t, dir)) != "" {
		t.Errorf("%+v", got)
	}
}

// A log without a place in time is not given one.
func TestUntimedLogs(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"benchserve/testdata/vllm-2025.json":     "does not say when requests were sent",
		"trtllmbench/testdata/requests.json":     "has times since the start of a host that it does not name, not those of a clock",
		"trtllmbench/testdata/report.json":       "holds no requests, only what its tool states of them",
		"perfmetrics/testdata/perf_metrics.json": "has times since the start of a host that it does not name, not those of a clock",
	} {
		path = filepath.Join("../../../formats", path)
		for _, form := range []string{"jsonl", "perfetto", "csv"} {
			got := convert("", "--to", form, path)
			if d := cmp.Diff(outcome{1, "", "convert: " + path + ": " + want + "\nconvert: hint: reduce takes it as it is\n"}, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", form, d)
			}
		}
	}
}
