package plot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	reducer "wattrace/cmd/internal/reduce"
	"wattrace/reduce"
)

// simReport is the report of the simulated run.
var simReport = sync.OnceValue(func() []byte {
	var out bytes.Buffer
	reducer.Main(context.Background(), []string{"--format", "json", "-q", simRequests, simPower}, strings.NewReader(""), &out, io.Discard)
	return out.Bytes()
})

// reportFile writes a report of the simulated run, changed by edit.
func reportFile(t testing.TB, path string, edit func(ph *reduce.Phase)) string {
	t.Helper()
	var rep reduce.Report
	if err := json.Unmarshal(simReport(), &rep); err != nil {
		t.Fatal(err)
	}
	for i := range rep.Phases {
		if rep.Phases[i].Kind == "measure" && edit != nil {
			edit(&rep.Phases[i])
		}
	}
	text, err := json.Marshal(&rep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// scale changes a number of a phase.
func scale(ph *reduce.Phase, tag string, by float64) {
	m := ph.Metrics[tag]
	if m.Number != nil {
		n := *m.Number
		n.Value *= by
		m.Number = &n
	}
	if m.Distribution != nil {
		d := *m.Distribution
		d.P50 *= by
		m.Distribution = &d
	}
	ph.Metrics[tag] = m
}

// sweep writes the reports of three concurrencies, two runs of each; the second is worse
// in all than the third.
func sweep(t testing.TB, dir string) (paths []string) {
	for _, c := range []struct {
		concurrency          int
		rate, joule, perUser float64
	}{{1, 1, 1, 1}, {8, 3, 0.5, 0.4}, {64, 5, 2, 0.5}} {
		for rep := range 2 {
			paths = append(paths, reportFile(t, filepath.Join(dir, fmt.Sprintf("c%d-r%d", c.concurrency, rep+1), "report.json"), func(ph *reduce.Phase) {
				ph.Concurrency = c.concurrency
				scale(ph, reduce.OutputTokenThroughput, c.rate*(1+0.1*float64(rep)))
				scale(ph, reduce.OutputTokensPerJoule, c.joule)
				scale(ph, reduce.OutputTokenThroughputPerUser, c.perUser)
			}))
		}
	}
	return paths
}

func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	paths := sweep(t, dir)
	page := pageOf(t, paths...)
	checkPage(t, "sweep", page)
	for _, want := range []string{"6 reports, 3 configurations", "<td>c=1</td>", "<td>c=8</td>", "<td>c=64</td>", "c1-r1, c1-r2"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	row := regexp.MustCompile(`<td>c=(\d+)</td><td>2</td>.*?<td>([a-z, ]*)</td><td class="left">`)
	fronts := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(page, -1) {
		fronts[m[1]] = m[2]
	}
	if fmt.Sprint(fronts) != "map[1:user 64:energy, user 8:]" {
		t.Errorf("fronts: %v", fronts)
	}
	// Directories stand for the reports in them.
	var dirs []string
	for _, p := range paths {
		dirs = append(dirs, filepath.Dir(p))
	}
	if other := pageOf(t, dirs...); other != page {
		t.Error("the directories make another page than the reports")
	}
	svg := filepath.Join(dir, "sweep.svg")
	if code, _, stderr := runMain(t, append([]string{"-o", svg}, paths...)...); code != 0 && code != 3 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	checkSVG(t, "sweep", svg)
	text, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "<circle"); n != 6 {
		t.Errorf("%d points in two figures", n)
	}
	if n := strings.Count(string(text), "mark s0 hollow"); n != 3 { // c=8 in both, c=1 in the first
		t.Errorf("%d points are not on a front", n)
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	is := func(path, start string) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(text), start) {
			t.Errorf("%s: %v, begins with %.20q", path, err, text)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		code, stdout, stderr := runMain(t, args...)
		if code != 0 && code != 3 {
			t.Fatalf("%v: exit %d: %s", args, code, stderr)
		}
		return stdout
	}
	run("-o", at("a.html"), "--svg", at("a.svg"), simRequests, simPower)
	is(at("a.html"), "<!DOCTYPE html>")
	is(at("a.svg"), "<svg xmlns")
	checkSVG(t, "figure", at("a.svg"))
	run("-o", at("b.svg"), simRequests, simPower)
	is(at("b.svg"), "<svg xmlns")
	run("--format", "html", "-o", at("c.svg"), simRequests, simPower)
	is(at("c.svg"), "<!DOCTYPE html>")
	if out := run("--svg", "-", simRequests, simPower); !strings.HasPrefix(out, "<svg") {
		t.Errorf("--svg -: %.20q", out)
	}
	page := run(simRequests, simPower)
	checkPage(t, "page", page)
	for _, want := range []string{"total GPU energy", "± ", "Devices: profiling", "Every figure of profiling", "simulated", "SHA-256", "attributed in mode"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if page != run(simPower, simRequests) {
		t.Error("the order of the operands makes another page")
	}
	// A report has no course, and all the rest.
	rep := reportFile(t, at("report.json"), nil)
	one := run(rep)
	checkPage(t, "report", one)
	if strings.Contains(one, "<script") || !strings.Contains(one, "Every figure of profiling") {
		t.Error("the page of a report is not as it should be")
	}
	text, err := os.ReadFile(rep)
	if err != nil {
		t.Fatal(err)
	}
	if _, fromStdin, _ := runWith(t, string(text), "-"); fromStdin != one {
		t.Error("from standard input the report makes another page")
	}
	power, err := os.ReadFile(simPower)
	if err != nil {
		t.Fatal(err)
	}
	if _, fromStdin, stderr := runWith(t, string(power), simRequests, "-"); strings.Count(fromStdin, `id="data"`) != 1 {
		t.Errorf("a recording from standard input: %s", stderr)
	}
}

// writeIn writes a file into a new directory.
func writeIn(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestStandardInput: what is read from a pipe is copied once, and nothing of it is left or
// stays open, however it ends.
func TestStandardInput(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	power, err := os.ReadFile(simPower)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := os.ReadFile(reportFile(t, filepath.Join(t.TempDir(), "report.json"), nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		code  int
		stdin string
		args  []string
	}{
		"a recording":          {0, string(power), []string{simRequests, "-"}},
		"nothing named":        {0, string(power), nil},
		"a report":             {0, string(rep), []string{"-"}},
		"a report cut off":     {1, string(rep[:2000]), []string{"-"}},
		"a report beside logs": {2, string(rep), []string{"-", simPower}},
		"logs beside a report": {2, string(rep), []string{simPower, "-"}},
		"a recording cut off":  {3, string(power[:2000]), []string{"-"}},
		"garbage":              {1, "garbage", []string{"-"}},
		"nothing":              {1, "", nil},
	} {
		code, _, stderr := runWith(t, c.stdin, c.args...)
		if code != c.code && !(c.code == 0 && code == 3) {
			t.Errorf("%s: exit %d: %s", name, code, stderr)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%s: left %v, %v", name, entries, err)
		}
		open, _ := filepath.Glob("/proc/self/fd/*")
		for _, fd := range open {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, dir) {
				t.Errorf("%s: %s is open", name, to)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rep := reportFile(t, filepath.Join(dir, "report.json"), nil)
	whole, err := os.ReadFile(rep)
	if err != nil {
		t.Fatal(err)
	}
	text := string(whole)
	cut := func(n int) string { return writeFile(t, "cut.json", text[:n]) }
	empty := writeFile(t, "empty.json", `{"schema":"wattrace.report/1","phases":[]}`)
	idle := writeFile(t, "idle.json", `{"schema":"wattrace.report/1","phases":[{"name":"a","kind":"idle"}]}`)
	idle2 := writeFile(t, "idle2.json", `{"schema":"wattrace.report/1","phases":[{"name":"a","kind":"idle"}]}`)
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{2, "html or svg", []string{"--format", "png", rep}},
		{2, "--steps 5", []string{"--steps", "5", rep}},
		{2, "is a report and", []string{rep, simPower}},
		{2, "named twice", []string{rep, rep}},
		{2, "named twice", []string{"-", "-"}},
		{2, "there is only --svg", []string{"--svg", "x.svg", "--format", "svg", rep}},
		{2, "no such flag|not defined|unknown flag", []string{"--as", "aiperf", simRequests, simPower}},
		{2, "x.pdf: what is written is html", []string{"-o", "x.pdf", rep}},
		{2, "x.PNG: what is written is svg", []string{"--svg", "x.PNG", simRequests, simPower}},
		{2, "x.html: what is written is svg", []string{"--svg", "x.html", simRequests, simPower}},
		{2, "--svg needs", []string{"--svg", "", rep}},
		{2, "is a report and", []string{rep, "--", simPower}},
		{1, "-o: no such file", []string{"--", "-o"}},
		{1, "has no phase", []string{empty}},
		{1, `cut.json:1:1001: not JSON: it was cut off\n$`, []string{cut(1000)}},
		{1, `cut.json:1:21: not JSON: it was cut off\nplot: hint: plot takes reports, request logs, recordings`, []string{cut(20)}},
		{1, `^plot: \S+cut/report.json:1:21: not JSON`, []string{filepath.Dir(writeIn(t, "cut/report.json", text[:20]))}},
		{1, `garbage.json:1:1: not JSON: .*\nplot: hint: plot takes reports, `, []string{writeFile(t, "garbage.json", "\x00\xffgarbage")}},
		{1, `other.json: not a report: no "schema"\nplot: hint: plot takes reports, `, []string{writeFile(t, "other.json", `{"a": 1}`)}},
		{1, "nothing.json: is empty: plot takes reports, request logs", []string{writeFile(t, "nothing.json", "")}},
		{1, "x.bin: unknown format: plot takes reports, request logs", []string{writeFile(t, "x.bin", "garbage")}},
		{1, "nothing over time", []string{"--svg", "-", rep}},
		{1, "there is nothing to draw", []string{idle, idle2}},
		{1, "no such file", []string{filepath.Join(dir, "absent.jsonl")}},
		{1, "plot takes reports, request logs", []string{"../../../testdata/trtllm-bench/azure200.jsonl"}},
		{1, "exists", []string{"-o", writeFile(t, "there.html", ""), simRequests, simPower}},
		{2, "what is written is html", []string{"--force", "-o", rep, simRequests, simPower}},
		{1, "is an input", []string{"--force", "--format", "html", "-o", rep, rep}},
	} {
		code, stdout, stderr := runMain(t, c.args...)
		if code != c.code || !regexp.MustCompile(c.want).MatchString(stderr) || stdout != "" {
			t.Errorf("%v: exit %d, %q, %d bytes; want %d, %q", c.args, code, stderr, len(stdout), c.code, c.want)
		}
	}
	if text, err := os.ReadFile(rep); err != nil || string(text) != string(whole) {
		t.Error("an input was replaced")
	}
}

// TestAnyFigures: reports with any figures make a sweep and pages without NaN and infinity,
// or are refused by name with the figure.
func TestAnyFigures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	figures := []float64{0, 5e-324, 1, 1e99, 1e308, math.MaxFloat64}
	n := 0
	write := func(rate, perJoule, perUser, doubt float64) string {
		n++
		return reportFile(t, filepath.Join(dir, fmt.Sprintf("r%d", n), "report.json"), func(ph *reduce.Phase) {
			ph.Concurrency = n
			for tag, v := range map[string]float64{reduce.OutputTokenThroughput: rate, reduce.OutputTokensPerJoule: perJoule} {
				m := ph.Metrics[tag]
				m.Number = &reduce.Number{Value: v, Uncertainty: &reduce.Uncertainty{Random: doubt, Systematic: doubt}}
				ph.Metrics[tag] = m
			}
			m := ph.Metrics[reduce.OutputTokenThroughputPerUser]
			m.Distribution = &reduce.Distribution{P50: perUser, Min: perUser, Max: perUser, Count: 1}
			ph.Metrics[reduce.OutputTokenThroughputPerUser] = m
		})
	}
	draw := func(want string, paths ...string) {
		t.Helper()
		svg, html := filepath.Join(dir, fmt.Sprintf("s%d.svg", n)), filepath.Join(dir, fmt.Sprintf("s%d.html", n))
		args := append([]string{"-o", html}, paths...)
		if len(paths) > 1 {
			args = append(args, "--svg", svg)
		}
		code, _, stderr := runMain(t, args...)
		if want != "" {
			if code != 1 || !regexp.MustCompile(want).MatchString(stderr) {
				t.Errorf("%v: exit %d, %q, want %q", paths, code, stderr, want)
			}
			return
		}
		if code != 0 && code != 3 {
			t.Fatalf("%v: exit %d: %s", paths, code, stderr)
		}
		page, err := os.ReadFile(html)
		if err != nil {
			t.Fatal(err)
		}
		checkPage(t, "any figures", string(page))
		if m := regexp.MustCompile(`.{30}\b(NaN|Inf|null|undefined)\b.{10}`).FindString(scripts.ReplaceAllString(string(page), "")); m != "" {
			t.Errorf("%v: %s", paths, m)
		}
		if len(paths) > 1 {
			checkSVG(t, "any figures", svg)
		}
	}
	draw("output_token_throughput.value is -1: that can't be negative", write(-1, 1, 1, 1))
	draw("output_tokens_per_joule.value is -1.7976931348623157e\\+308: that can't be negative", write(1, -math.MaxFloat64, 1, 1))
	draw("uncertainty: none is negative", write(1, 1, 1, -5e-324))
	for _, v := range figures {
		for _, other := range figures {
			path := write(v, other, v, other)
			want := ""
			if math.Abs(v) > 1e100 || math.Abs(other) > 1e100 {
				want = fmt.Sprintf(`r%d/report.json: /phases/\d+/metrics/[a-z_]+(/[a-z0-9]+)+ is -?1\.?\d*e\+308: `, n)
			}
			draw(want, path)
			draw(want, path, write(1, 2, 3, 0))
			if want == "" {
				draw("", path, write(other, v, other, v), write(v, other, v, 0))
				draw("", path, write(v, other, v, 0))
			}
		}
	}
}

// TestAbsurdReadings: a recording that says of power what cannot be is drawn without it.
func TestAbsurdReadings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ power, limit float64 }{{1e308, 700}, {-1e308, 700}, {5e-324, 700}, {1e308, 1e308}} {
		log, power := generated{gpus: 2, length: 40 * time.Second, requests: 60, host: "h", model: "m", seed: 3, limit: c.limit, odd: c.power}.write(t, t.TempDir())
		svg := filepath.Join(t.TempDir(), "f.svg")
		code, page, stderr := runMain(t, "-o", "-", "--svg", svg, log, power)
		if code != 0 && code != 3 {
			t.Fatalf("%v: exit %d: %s", c, code, stderr)
		}
		checkSVG(t, "absurd", svg)
		if m := regexp.MustCompile(`.{30}\b(NaN|Inf)\b.{10}`).FindString(scripts.ReplaceAllString(page, "")); m != "" {
			t.Errorf("%v: %s", c, m)
		}
		for _, d := range dataOf(t, page).Devices {
			for i := range d.Lo {
				if (d.Lo[i] == nil) != (d.Hi[i] == nil) || d.Hi[i] != nil && *d.Hi[i] > 20000 {
					t.Fatalf("%v: step %d: %v to %v", c, i, d.Lo[i], d.Hi[i])
				}
			}
		}
	}
}
