package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wattrace/formats/schematest"
)

// golden is a report of a run on two simulated GPUs.
const golden = "../reduce/testdata/report.json"

func runMain(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

// repeats writes reports of runs like the golden one, whose energy and what follows from it
// is multiplied by factors, and returns their paths.
func repeats(t *testing.T, dir, name string, edit func(map[string]any), factors ...float64) (paths []string) {
	t.Helper()
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for i, factor := range factors {
		var doc map[string]any
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		for _, in := range doc["inputs"].([]any) {
			in.(map[string]any)["sha256"] = fmt.Sprint(name, i)
		}
		for _, ph := range doc["phases"].([]any) {
			for _, d := range ph.(map[string]any)["per_device"].([]any) {
				multiply(d.(map[string]any)["metrics"].(map[string]any)["gpu_energy"], factor)
			}
			metrics := ph.(map[string]any)["metrics"].(map[string]any)
			for tag, by := range map[string]float64{"total_gpu_energy": factor, "average_gpu_power": factor, "energy_per_output_token": factor, "output_tokens_per_joule": 1 / factor} {
				multiply(metrics[tag], by)
			}
		}
		if edit != nil {
			edit(doc)
		}
		out, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, fmt.Sprintf("%s-%d.json", name, i+1))
		if err := os.WriteFile(path, out, 0o666); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// multiply multiplies a metric, if it is there, and its uncertainties.
func multiply(metric any, by float64) {
	m, ok := metric.(map[string]any)
	if !ok {
		return
	}
	m["value"] = m["value"].(float64) * by
	u := m["uncertainty"].(map[string]any)
	u["random"], u["systematic"] = u["random"].(float64)*by, u["systematic"].(float64)*by
}

func parted(groups ...[]string) (args []string) {
	for i, g := range groups {
		if i > 0 {
			args = append(args, "--")
		}
		args = append(args, g...)
	}
	return args
}

func TestCompare(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	base := repeats(t, dir, "base", nil, 1, 1.01, 0.995, 1.004)
	less := repeats(t, dir, "new", nil, 0.95, 0.955, 0.94, 0.948)
	args := parted(base, less)

	code, out, stderr := runMain(t, args...)
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	for _, want := range []string{
		`(?m)^profiling: \S*/new against \S*/base$`,
		`(?m)^  \*  total_gpu_energy +8616\.\d +816\d\.\d +J +-5\.\d\d % +-6\.\d\d % to -4\.\d\d % +0\.029  better$`,
		`(?m)^     output_token_throughput .* ~ `,
		`energy is of the same devices: their gains cancel; what does not: standard uncertainty up to 0.054 %`,
		`Runs: 4 of \S*base, 4 of \S*new`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in:\n%s", want, out)
		}
	}

	code, out, _ = runMain(t, append(args, "--format", "json", "--phase", "all")...)
	var doc map[string]any
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 0 {
		t.Fatal(err)
	}
	if err := schematest.Load(t, "../../../formats/comparison/comparison.schema.json").Validate(doc); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out, `"phase": "warmup"`) {
		t.Error("--phase all has no warm-up")
	}

	code, out, _ = runMain(t, append(args, "--format", "csv", "--metric", "*energy*,time_to_first_token.p90")...)
	if code != 0 || !strings.Contains(out, "\nprofiling,time_to_first_token,p90,s,lower,false,") || strings.Contains(out, "total_gpu_power") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestFailIf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	base := repeats(t, dir, "base", nil, 1, 1.01, 0.995, 1.004)
	more := repeats(t, dir, "new", nil, 1.05, 1.055, 1.04, 1.048)
	for _, c := range []struct {
		conditions []string
		code       int
		stderr     string
	}{
		{[]string{"energy_per_output_token > +2%"}, 1, `profiling: energy_per_output_token > \+2%`},
		{[]string{"energy_per_output_token > +10%"}, 0, `^$`},
		{[]string{"energy_per_output_token > +4.5%"}, 3, `the bound is within the interval`},
		{[]string{"energy_per_output_token > +10%", "profiling:average_gpu_power > +20 W"}, 1, `average_gpu_power > \+20 W`},
		{[]string{"energy_per_output_token > +10%", "energy_per_output_token > +4.5%"}, 3, `4.5%`},
		{[]string{"goodput_ratio < -1%"}, 3, `is absent in`},
		{[]string{"energy_per_outputtoken > +2%"}, 2, `hint: there are .*energy_per_output_token`},
		{[]string{"energy_per_output_token > 2"}, 2, `a bound has a unit`},
		{[]string{"nowhere:energy_per_output_token > 2%"}, 2, `no report has a phase "nowhere"`},
	} {
		args := parted(base, more)
		for _, cond := range c.conditions {
			args = append(args, "--fail-if", cond)
		}
		code, out, stderr := runMain(t, args...)
		if code != c.code || !regexp.MustCompile(c.stderr).MatchString(stderr) || (out == "") != (code == 2) {
			t.Errorf("%q: exit %d, want %d: %s", c.conditions, code, c.code, stderr)
		}
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := repeats(t, dir, "a", nil, 1, 1.01)
	b := repeats(t, dir, "b", func(doc map[string]any) {
		doc["runs"].([]any)[0].(map[string]any)["trace"].(map[string]any)["sha256"] = "0a1b"
		doc["devices"].([]any)[0].(map[string]any)["driver"] = "999"
	}, 1, 1.01)
	same := write("same.json", func() string { text, _ := os.ReadFile(a[0]); return string(text) + "\n" }())
	for _, c := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{nil, 2, `no reports`},
		{[]string{a[0]}, 2, `one report`},
		{[]string{a[0], a[1], b[0]}, 2, `hint: compare base`},
		{[]string{a[0], "--"}, 2, `a group has no report`},
		{[]string{"--", a[0]}, 2, `a group has no report`},
		{[]string{a[0], ""}, 2, `an operand is empty`},
		{[]string{a[0], a[0]}, 2, `is named twice`},
		{[]string{"-", "-"}, 2, `- is named twice`},
		{[]string{a[0], same, "--", a[1]}, 2, `are of the same run`},
		{[]string{a[0], filepath.Join(dir, "none.json")}, 1, `no such file`},
		{[]string{a[0], dir}, 1, `report.json: no such file`},
		{[]string{a[0], write("new.json", `{"schema":"wattrace.report/2","phases":[]}`)}, 1, `new.json:1:11: schema "wattrace.report/2" is newer`},
		{[]string{a[0], write("old.json", `{"a":1}`)}, 1, `not a report`},
		{[]string{a[0], write("cut.json", `{"schema":"wattrace.report/1","phases":[{"name"`)}, 1, `cut.json:1:\d+: not JSON`},
		{[]string{a[0], "../reduce/testdata/requests.jsonl.gz"}, 1, `request log: compare takes reports`},
		{[]string{a[0], b[0]}, 2, `(?s)not alike:.*trace differs: 18dcce21ec45 \(\S+a-1.json\); 0a1b.*driver differs.*hint: --ignore trace,driver `},
		{[]string{a[0], b[0], "--ignore", "trace"}, 2, `driver differs`},
		{[]string{a[0], a[1], "--ignore", "weather"}, 2, `want some of trace, `},
		{[]string{a[0], a[1], "--metric", "energy_per_outputtokn"}, 2, `(?s)no metric has the name.*hint: there are energy_per_output_token`},
		{[]string{a[0], a[1], "--metric", "output_token_energy"}, 2, `(?s)no metric has the name.*hint: there are .*energy_per_output_token`},
		{[]string{a[0], a[1], "--metric", strings.Repeat("z", 60)}, 2, `no metric has the name "z+"\n.*hint: see compare --help`},
		{[]string{a[0], a[1], "--force"}, 2, `--force is of -o`},
		{[]string{a[0], a[1], "--per-device", "--axis", "concurrency"}, 2, `exclude each other`},
		{[]string{write("n1.json", `{"schema":"wattrace.report/1","phases":[]}`), write("n2.json", `{"schema":"wattrace.report/1","phases":[]}`), "--ignore", "all"}, 2, `the reports have no phase`},
		{[]string{a[0], a[1], "--metric", "total_gpu_energy.p42"}, 2, `want TAG or TAG.STATISTIC`},
		{[]string{a[0], a[1], "--alpha", "0"}, 2, `--alpha 0: want`},
		{[]string{a[0], a[1], "--alpha", "NaN"}, 2, `--alpha NaN: want`},
		{[]string{a[0], a[1], "--axis", "voltage"}, 2, `want power_limit or concurrency`},
		{[]string{a[0], a[1], "--axis", "concurrency"}, 2, `nothing to compare`},
		{[]string{a[0], a[1], "--format", "xml"}, 2, `want text, json, csv or markdown`},
		{[]string{a[0], a[1], "--paired", "--axis", "concurrency"}, 2, `exclude each other`},
		{[]string{a[0], a[1], "--force", "-o", a[1]}, 1, `is an input`},
		{[]string{a[0], a[1], "-o", same}, 1, `exists already`},
	} {
		code, out, stderr := runMain(t, c.args...)
		if code != c.code || out != "" || !regexp.MustCompile(c.stderr).MatchString(stderr) {
			t.Errorf("%q: exit %d, want %d: %s%s", c.args, code, c.code, stderr, out)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for want, paths := range map[string][]string{
		"base": {"base-1.json", "base-2.json"}, "runs/a": {"runs/a/report.json"}, "x.json": {"x.json"},
		"1.json and 1 more": {"1.json", "2.json"}, "é": {"é1", "é2"}, "ab": {"abé", "abè"}, "a": {"a", "a/b"},
	} {
		if got := name(paths); got != want {
			t.Errorf("%q: %q, want %q", paths, got, want)
		}
	}
}
