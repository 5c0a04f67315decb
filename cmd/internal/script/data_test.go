package script

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wattrace/cmd/internal/convert"
	"wattrace/cmd/internal/reduce"
	"wattrace/cmd/internal/replay"
)

// TestRealData: every file of a folder of real traces (traces/), recordings beside power
// meters (power-meter/*/) and runs of aiperf (aiperf*/) converts, replays or reduces.
// WATTRACE_DATA names it.
func TestRealData(t *testing.T) {
	dir := os.Getenv("WATTRACE_DATA")
	if dir == "" {
		t.Skip("WATTRACE_DATA does not name a folder of real data")
	}
	known := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		switch folder, _, _ := strings.Cut(rel, string(filepath.Separator)); {
		case folder == "traces":
			traceOf(t, path)
		case folder == "power-meter" && !strings.HasPrefix(e.Name(), "events"):
			recordingOf(t, path)
		case strings.HasPrefix(folder, "aiperf") && e.Name() == "profile_export.jsonl":
			runOf(t, filepath.Dir(path))
		default:
			return nil // notes, and what belongs to another file
		}
		known++
		return nil
	})
	if err != nil || known == 0 {
		t.Fatalf("%d files, %v", known, err)
	}
}

// run runs a tool, which must succeed or find what is incomplete.
func run(t *testing.T, tool func(context.Context, []string, *bytes.Buffer, *bytes.Buffer) int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	if code := tool(ctx, args, &out, &errs); code != 0 && code != 3 {
		t.Errorf("%s: exit %d: %s", args, code, errs.String())
	}
	return out.String()
}

func runConvert(ctx context.Context, args []string, out, errs *bytes.Buffer) int {
	return convert.Main(ctx, args, strings.NewReader(""), out, errs)
}

func runReplay(ctx context.Context, args []string, out, errs *bytes.Buffer) int {
	return replay.Main(ctx, args, strings.NewReader(""), out, errs)
}

func runReduce(ctx context.Context, args []string, out, errs *bytes.Buffer) int {
	return reduce.Main(ctx, args, strings.NewReader(""), out, errs)
}

// traceOf converts a trace, and has replay read what became of it.
func traceOf(t *testing.T, path string) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "trace.jsonl")
	run(t, runConvert, "-q", "--limit", "500", "--model", "m", "-o", to, path)
	if out := run(t, runReplay, "--check", to); !strings.Contains(out, "500 requests") {
		t.Errorf("%s: %s", path, out)
	}
}

// recordingOf reduces a recording, and converts it to Parquet and back, after which it says
// the same.
func recordingOf(t *testing.T, path string) {
	t.Helper()
	to := t.TempDir()
	zone := []string{"--timezone", "UTC"}
	energy := func(path string) (joules float64) {
		var rep struct {
			Phases []struct {
				Metrics map[string]struct{ Value float64 }
				Others  []struct {
					Metrics map[string]struct{ Value float64 }
				}
			}
		}
		if err := json.Unmarshal([]byte(run(t, runReduce, append(zone, "--driver", "535.54.03", "--format", "json", path)...)), &rep); err != nil || len(rep.Phases) != 1 {
			t.Fatalf("%s: %v, %+v", path, err, rep)
		}
		joules = rep.Phases[0].Metrics["total_gpu_energy"].Value
		for _, o := range rep.Phases[0].Others {
			for _, m := range o.Metrics {
				joules += m.Value
			}
		}
		return joules
	}
	parquet, back := filepath.Join(to, "p.parquet"), filepath.Join(to, "p.csv")
	run(t, runConvert, append(zone, "-q", "--to", "parquet", "-o", parquet, path)...)
	run(t, runConvert, "-q", "--to", "csv", "-o", back, parquet)
	if a, b := energy(path), energy(back); a <= 0 || a != b {
		t.Errorf("%s: %v J, and %v J when it came back", path, a, b)
	}
}

// runOf reduces a run of aiperf, whose every record is counted.
func runOf(t *testing.T, dir string) {
	t.Helper()
	var rep struct {
		Phases []struct {
			Requests struct{ Sent, Succeeded, Failed, Cancelled int64 }
		}
	}
	if err := json.Unmarshal([]byte(run(t, runReduce, "--as", "aiperf", "--format", "json", dir)), &rep); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "profile_export.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	for _, ph := range rep.Phases {
		q := ph.Requests
		if q.Succeeded == 0 || q.Sent != q.Succeeded+q.Failed+q.Cancelled {
			t.Errorf("%s: %+v", dir, q)
		}
		n += q.Sent
	}
	if records := int64(bytes.Count(b, []byte("\n"))); n != records {
		t.Errorf("%s: %d of %d records", dir, n, records)
	}
	if filepath.Base(dir) == "aiperf-0.1-run" && (len(rep.Phases) != 1 || rep.Phases[0].Requests.Succeeded != 89 || rep.Phases[0].Requests.Cancelled != 11) {
		t.Errorf("%+v", rep)
	}
}
