package script

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/rogpeppe/go-internal/testscript"

	"wattrace/formats/plan"
	"wattrace/formats/requests"
	"wattrace/formats/summary"
	"wattrace/formats/traces"
	"wattrace/reduce"
	"wattrace/trace"
)

// measured checks that what measure left in a directory agrees: measured DIR STATUS.
func measured(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: measured DIR STATUS")
	}
	dir := ts.MkAbs(args[0])
	sum := readMeasured(ts, dir)
	if string(sum.Status) != args[1] {
		ts.Fatalf("%s is %s (%s), not %s", dir, sum.Status, sum.Reason, args[1])
	}
	if sum.End == "" || sum.Host == "" || sum.Tools["record"] == "" {
		ts.Fatalf("it does not say when, where or with what: %+v", sum)
	}
	if sum.Kind == summary.Sweep {
		for _, r := range sum.Runs {
			of := readMeasured(ts, filepath.Join(dir, r.Directory))
			if of.Status != r.Status || of.Headline() != nil && cmp.Diff(of.Headline().Metrics, r.Metrics) != "" {
				ts.Fatalf("%s: the sweep says %s, its own summary %s, or other figures", r.Directory, r.Status, of.Status)
			}
			if of.Status.Finished() {
				consistent(ts, filepath.Join(dir, r.Directory), of)
			}
		}
		return
	}
	consistent(ts, dir, sum)
}

func readMeasured(ts *testscript.TestScript, dir string) *summary.Summary {
	f, err := os.Open(filepath.Join(dir, "summary.json"))
	ts.Check(err)
	defer f.Close()
	sum, err := summary.Read(f, f.Name())
	ts.Check(err)
	valid(ts, f.Name())
	return sum
}

// valid checks a summary against the schema that is committed.
func valid(ts *testscript.TestScript, path string) {
	var schema jsonschema.Schema
	var document any
	for name, to := range map[string]any{ts.MkAbs(filepath.Join(ts.Getenv("ROOT"), "formats", "summary", "summary.schema.json")): &schema, path: &document} {
		b, err := os.ReadFile(name)
		ts.Check(err)
		ts.Check(json.Unmarshal(b, to))
	}
	resolved, err := schema.Resolve(nil)
	ts.Check(err)
	ts.Check(resolved.Validate(document))
}

// consistent checks a run's summary against the files beside it.
func consistent(ts *testscript.TestScript, dir string, sum *summary.Summary) {
	for what, name := range sum.Artifacts {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			ts.Fatalf("%s: %v", what, err)
		}
	}
	var rep reduce.Report
	b, err := os.ReadFile(filepath.Join(dir, "report.json"))
	ts.Check(err)
	ts.Check(json.Unmarshal(b, &rep))
	var of []reduce.Phase
	var window *reduce.Phase
	for i, ph := range rep.Phases {
		if ph.Kind == "window" {
			window = &rep.Phases[i]
			continue
		}
		of = append(of, ph)
	}
	if len(of) != len(sum.Phases) {
		ts.Fatalf("%d phases in the report, %d in the summary", len(of), len(sum.Phases))
	}
	for i, ph := range sum.Phases {
		if of[i].Name != ph.Name || of[i].Kind != ph.Kind || of[i].Start != ph.Start || of[i].End != ph.End {
			ts.Fatalf("phase %d: %s in the report, %s in the summary", i, of[i].Name, ph.Name)
		}
		for tag, m := range ph.Metrics {
			r := of[i].Metrics[tag]
			if r.Unit != m.Unit || (r.Number != nil) != (m.Value != nil) || r.Number != nil && r.Value != *m.Value || r.Distribution != nil && (r.Mean != *m.Mean || r.Count != *m.Count) {
				ts.Fatalf("%s: %s differs", ph.Name, tag)
			}
		}
	}
	if c := sum.EnergyCheck; c != nil && c.ReportJoules != nil {
		if window == nil || window.Metrics["total_gpu_energy"].Value != *c.ReportJoules {
			ts.Fatalf("the energy check has another energy than the report")
		}
		if c.ResolutionJoules == nil || math.Abs(*c.DifferenceJoules) > 2**c.ResolutionJoules || // this machine is late, too
			math.Abs(*c.ReportJoules-*c.CounterJoules-*c.DifferenceJoules) > 1e-6 {
			ts.Fatalf("the energy check does not hold: %s", text(c))
		}
	} else if sum.Status == summary.Complete {
		ts.Fatalf("a complete run without an energy check: %s", text(c))
	}
	if sum.Trace == nil {
		return // a workload
	}
	if !filepath.IsAbs(sum.InputFile) || sum.Trace.Path != sum.InputFile {
		ts.Fatalf("input_file %s, trace %s", sum.InputFile, sum.Trace.Path)
	}
	if sum.Trace.Format != "" { // its bodies were made for the run
		b, err := os.ReadFile(sum.InputFile)
		ts.Check(err)
		if h := sha256.Sum256(b); hex.EncodeToString(h[:]) != sum.Trace.SourceSHA256 {
			ts.Fatalf("the source of the trace has another hash than the summary says")
		}
	} else {
		t, closer, err := traces.Load(sum.InputFile, "", nil)
		ts.Check(err)
		closer.Close()
		if t.SHA256 != sum.Trace.SHA256 || int64(len(t.Turns)) != sum.Trace.Turns {
			ts.Fatalf("the trace has another hash or length than the summary says")
		}
	}
	counts, head := countLog(ts, filepath.Join(dir, "requests.jsonl"))
	if head.Trace.SHA256 != sum.Trace.SHA256 || head.Trace.Format != sum.Trace.Format || head.Trace.SourceSHA256 != sum.Trace.SourceSHA256 || string(plan.AppendJSON(nil, &head.Plan)) != string(sum.Plan) {
		ts.Fatalf("the log has another trace or plan:\n%s\n%s", plan.AppendJSON(nil, &head.Plan), sum.Plan)
	}
	if sum.Clocks.Requests.BootID != sum.Clocks.Telemetry.BootID || sum.Clocks.Requests.UnixNanos != strconv.FormatInt(head.Clock.Anchor.UnixNanos, 10) {
		ts.Fatalf("clocks: %s", text(sum.Clocks))
	}
	if sum.Status == summary.Complete || sum.Status == summary.Incomplete {
		var names []string
		for _, ph := range sum.Phases {
			names = append(names, ph.Name)
		}
		var planned []string
		for _, ph := range head.Plan.Phases {
			planned = append(planned, ph.Name)
		}
		if !slices.Equal(names, planned) {
			ts.Fatalf("phases %v, the plan has %v", names, planned)
		}
	}
	for _, ph := range sum.Phases {
		if ph.Requests != nil && *counts[ph.Name] != *ph.Requests {
			ts.Fatalf("%s: the log has %+v, the summary %+v", ph.Name, *counts[ph.Name], *ph.Requests)
		}
	}
	if len(sum.Devices) == 0 {
		ts.Fatalf("no devices")
	}
}

// countLog counts the requests of each phase in a log.
func countLog(ts *testscript.TestScript, path string) (map[string]*summary.Requests, requests.Run) {
	f, err := os.Open(path)
	ts.Check(err)
	defer f.Close()
	counts := map[string]*summary.Requests{}
	var head requests.Run
	r := requests.NewReader(f, path)
	for {
		var rec requests.Record
		err := r.Read(&rec)
		if errors.Is(err, io.EOF) {
			return counts, head
		}
		ts.Check(err)
		of := func(phase string) *summary.Requests {
			if counts[phase] == nil {
				counts[phase] = new(summary.Requests)
			}
			return counts[phase]
		}
		switch rec.Type {
		case requests.TypeRun:
			head = rec.Run
		case requests.TypePhase:
			of(rec.Phase.Phase)
		case requests.TypeRequest:
			c := of(rec.Request.Phase)
			c.Sent++
			switch rec.Request.Outcome {
			case trace.Succeeded:
				c.Succeeded++
			case trace.Failed:
				c.Failed++
			case trace.Cancelled:
				c.Cancelled++
			}
		}
	}
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// gone waits until the process is, whose number a file holds.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone FILE")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil && syscall.Kill(pid, 0) != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
	}
	ts.Fatalf("process %d is still there", pid)
}
