package measure

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/cmd/internal/sibling"
	"wattrace/formats/summary"
	"wattrace/formats/traces"
	"wattrace/trace"
)

// exitStatus runs the tool with args and returns its status and what it said.
func exitStatus(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(""), &out, &errs)
	if out.Len() > 0 {
		t.Errorf("%v: standard output has %q", args, out.String())
	}
	return code, errs.String()
}

func TestUsage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "run")
	check := func(want string, args ...string) {
		t.Helper()
		code, stderr := exitStatus(t, append([]string{"-o", dir}, args...)...)
		if code != 2 || !strings.Contains(stderr, "measure: "+want) {
			t.Errorf("%v: exit %d, %s want %s", args, code, stderr, want)
		}
	}
	url := "--url=http://127.0.0.1:1"
	check("--trace and --isl exclude each other", url, "--trace", "t.jsonl", "--isl", "1000")
	check("--trace and --osl exclude each other", url, "--trace", "t.jsonl", "--osl", "1000")
	check("measure takes no operand", url, "t.jsonl")
	check("no command after --", "--")
	check("no server", "--trace", "t.jsonl")
	check("--trace -: the trace must be a file", url, "--trace", "-")
	check("--isl and --osl: want from 1", url, "--isl", "0")
	check("--phases has the whole load: --duration", url, "--phases", "p.yaml", "--duration", "1s")
	check("--phases has the whole load: --requests", url, "--phases", "p.yaml", "--trace", "t.jsonl", "--requests", "1")
	check("--requests must be more than 0", url, "--requests", "0")
	check("--duration must be more than 0", url, "--duration", "0s")
	check("--rate must be more than 0", url, "--rate", "-1")
	check("--repeat 0", url, "--repeat", "0")
	check("--interval 1µs", url, "--interval", "1us")
	check(`--target "x": want`, url, "--target", "x")
	check("--idle-watts NaN: want a number from 0", url, "--idle-watts", "NaN")
	check("--idle-watts -1: want a number from 0", url, "--idle-watts", "-1")
	check("--set: want KEY=JSON", url, "--set", "a=1", "--set", "stream")
	check("--set: want KEY=JSON", url, "--set", "=1")
	check("--concurrency \"1,x\"", url, "--concurrency", "1,x")
	check("--concurrency \"1,1\": 1 is given twice", url, "--concurrency", "1,1")
	check("--cool-to \"5\"", url, "--cool-to", "5")
	check("--url and --url-file exclude", url, "--url-file", "f", "--", "true")
	check("--url-file is what the server's command writes", "--url-file", "f")
	check("--restart needs the server's command", url, "--restart")
	check("--resume and --force exclude", url, "--resume", "--force")
	check("--url: want http://HOST:PORT", "--url", "ftp://secret:pw@x")
	check("--ready-url: want", url, "--ready-url", "health")
	check("--mark is of --workload", url, "--mark", "a=b")
	check("--workload is empty", "--workload", "")
	check("--workload and a server's command exclude", "--workload", "x", "--", "true")
	check("--workload has its own load: --concurrency", "--workload", "x", "--concurrency", "1")
	check("--mark \"=x\"", "--workload", "x", "--mark", "=x")
	check("--record-flag \"--x\": want NAME", url, "--record-flag", "--x")
	check("--reduce-flag format", url, "--reduce-flag", "format=json")
	if code, stderr := exitStatus(t, url); code != 2 || !strings.Contains(stderr, "no directory: give -o DIR") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a mistake made a directory")
	}
}

// TestHelpOfOutput: -o is a directory, never standard output.
func TestHelpOfOutput(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if code := Main(t.Context(), []string{"--help"}, nil, &out, &errs); code != 0 {
		t.Fatalf("exit %d, %s", code, &errs)
	}
	if text := out.String(); !strings.Contains(text, "--output DIR, -o DIR") || strings.Contains(text, "standard output") || strings.Contains(text, `"-"`) {
		t.Error(text)
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	check := func(want string, command ...string) {
		t.Helper()
		if got := strings.Join(redactCommand(command), " "); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	check("vllm serve m --api-key REDACTED --port 1", "vllm", "serve", "m", "--api-key", "s3cret", "--port", "1")
	check("s --api-key=REDACTED --max-num-tokens 8192 --tokenizer t", "s", "--api-key=s3cret", "--max-num-tokens", "8192", "--tokenizer", "t")
	check("env HF_TOKEN=REDACTED s", "env", "HF_TOKEN=s3cret", "s")
	check("sh -c export HF_TOKEN=REDACTED; s --api-key REDACTED --port 1", "sh", "-c", "export HF_TOKEN=s3cret; s --api-key 'a b' --port 1")
	check("s http://REDACTED@host/x", "s", "http://user:pw@host/x")
	if got := redactText("[header=Authorization: Bearer abc]"); strings.Contains(got, "abc") {
		t.Error(got)
	}
}

func TestPortOf(t *testing.T) {
	t.Parallel()
	for want, command := range map[string][]string{"9": {"s", "--port", "9"}, "7": {"s", "--port=7"}, "8000": {"s", "--port"}} {
		if got := portOf(command); got != want {
			t.Errorf("%v: %s", command, got)
		}
	}
}

// optionsOf are the options of flags that were given.
func optionsOf(o options, given ...string) *options {
	o.isSet = func(name string) bool { return slices.Contains(given, name) }
	return &o
}

func TestPlan(t *testing.T) {
	t.Parallel()
	check := func(o *options, given trace.Plan, concurrency int, prompts int64, want ...trace.Phase) {
		t.Helper()
		p, err := o.planOf(given, concurrency)
		if err != nil {
			t.Error(err)
			return
		}
		if diff := cmp.Diff(want, p.Phases); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if n := o.prompts(&p); n != prompts {
			t.Errorf("%d prompts, want %d", n, prompts)
		}
	}
	rest := func(name string) trace.Phase {
		return trace.Phase{Name: name, Kind: trace.Idle, Duration: time.Minute}
	}
	// Synthetic: ten for each slot; the warmup's prompts are its own.
	check(optionsOf(options{idle: time.Minute, warmup: 3}), trace.Plan{}, 4, 43, rest("idle_before"),
		trace.Phase{Name: "warmup", Kind: trace.Warmup, Concurrency: 4, Requests: 3},
		trace.Phase{Name: "profiling", Kind: trace.Measure, Concurrency: 4, Requests: 40, FirstLine: 4}, rest("idle_after"))
	check(optionsOf(options{}), trace.Plan{}, 0, 10, trace.Phase{Name: "profiling", Kind: trace.Measure, Concurrency: 1, Requests: 10})
	check(optionsOf(options{rate: 2, requests: 7}), trace.Plan{}, 0, 7, trace.Phase{Name: "profiling", Kind: trace.Measure, Requests: 7, Load: trace.Load{Rate: 2}})
	check(optionsOf(options{duration: time.Hour}), trace.Plan{}, 0, 1000, trace.Phase{Name: "profiling", Kind: trace.Measure, Concurrency: 1, Duration: time.Hour})
	// A trace is sent once.
	check(optionsOf(options{trace: "t", warmup: 3}), trace.Plan{}, 2, 3,
		trace.Phase{Name: "warmup", Kind: trace.Warmup, Concurrency: 2, Requests: 3}, trace.Phase{Name: "profiling", Kind: trace.Measure, Concurrency: 2})
	// A plan keeps its own rest, and its name; each of a sweep has another concurrency.
	load := trace.Phase{Name: "idle_after", Kind: trace.Measure, Concurrency: 9, Requests: 5}
	at8 := load
	at8.Concurrency = 8
	check(optionsOf(options{trace: "t", phases: "p", idle: time.Minute}), trace.Plan{Phases: []trace.Phase{rest("r"), load}}, 8, 1000, rest("r"), at8, rest("idle_after_2"))

	refuse := func(o *options, given trace.Plan, want string) {
		t.Helper()
		if _, err := o.planOf(given, 8); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	refuse(optionsOf(options{phases: "p", idle: 1}, "idle"), trace.Plan{Phases: []trace.Phase{rest("r"), load}}, "begins with a rest of its own")
	open := trace.Phase{Name: "o", Kind: trace.Measure, Load: trace.Load{Rate: 1}}
	refuse(optionsOf(options{phases: "p"}), trace.Plan{Phases: []trace.Phase{open}}, `phase "o" of p is no closed loop`)
}

func TestSynthetic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, s summary.Synthetic) (*trace.Trace, []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		info, err := writeSynthetic(path, &s)
		if err != nil {
			t.Fatal(err)
		}
		tr, closer, err := traces.Load(path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closer.Close() })
		if tr.SHA256 != info.SHA256 || int64(len(tr.Turns)) != s.Requests || info.Turns != s.Requests {
			t.Errorf("%s: hash %s of %d turns, and the file has %s of %d", name, info.SHA256, info.Turns, tr.SHA256, len(tr.Turns))
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return tr, b
	}
	base := summary.Synthetic{InputTokens: 17, OutputTokens: 5, Requests: 3, Seed: 1, Model: `m"`, Target: "vllm"}
	tr, one := write("one", base)
	_, again := write("again", base)
	if !bytes.Equal(one, again) {
		t.Error("the same values, other bytes")
	}
	for i, turn := range tr.Turns {
		if turn.Timing.InputTokens != trace.Some(int64(17)) || turn.Timing.OutputTokens != trace.Some(int64(5)) || turn.Endpoint != trace.Completions {
			t.Errorf("turn %d: %+v", i, turn.Timing)
		}
		for _, want := range []string{`"model":"m\""`, `"max_tokens":5,"min_tokens":5,"ignore_eos":true`, `"stream_options":{"include_usage":true}`} {
			if !strings.Contains(string(turn.Payload), want) {
				t.Errorf("turn %d lacks %s", i, want)
			}
		}
		ids, _, _ := strings.Cut(strings.SplitN(string(turn.Payload), "[", 2)[1], "]")
		if n := strings.Count(ids, ",") + 1; n != 17 {
			t.Errorf("turn %d has %d tokens", i, n)
		}
	}
	for what, change := range map[string]func(*summary.Synthetic){"seed": func(s *summary.Synthetic) { s.Seed = 2 }, "run": func(s *summary.Synthetic) { s.Run = 1 }} {
		s := base
		change(&s)
		other, _ := write(what, s)
		for _, a := range tr.Turns {
			for _, b := range other.Turns {
				if bytes.Equal(a.Payload, b.Payload) {
					t.Errorf("another %s has a prompt in common", what)
				}
			}
		}
	}
	plain := base
	plain.Target = "openai"
	if _, b := write("openai", plain); bytes.Contains(b, []byte("ignore_eos")) || bytes.Contains(b, []byte("min_tokens")) {
		t.Error("OpenAI refuses ignore_eos and min_tokens")
	}
}

func TestPoints(t *testing.T) {
	t.Parallel()
	names := func(o options) (all []string) {
		for _, p := range o.points(nil) {
			all = append(all, p.name)
		}
		return all
	}
	for _, c := range []struct {
		o    options
		want []string
	}{
		{options{repeat: 1}, []string{""}},
		{options{repeat: 1, concurrencies: []int{8}}, []string{""}},
		{options{repeat: 2}, []string{"r1", "r2"}},
		{options{repeat: 1, concurrencies: []int{1, 8}}, []string{"c1", "c8"}},
		{options{repeat: 2, concurrencies: []int{1, 8}}, []string{"c1-r1", "c8-r1", "c1-r2", "c8-r2"}},
	} {
		if diff := cmp.Diff(c.want, names(c.o)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		for _, n := range c.want {
			if n != "" && !runName.MatchString(n) {
				t.Errorf("%s is not known as the name of a run", n)
			}
		}
	}
	joules := func(v float64) map[string]summary.Metric {
		return map[string]summary.Metric{"e": {Unit: "J", Value: &v}, "none": {Unit: "s"}}
	}
	points := pointsOf([]summary.RunOf{
		{Concurrency: 8, Status: summary.Complete, Metrics: joules(1)}, {Concurrency: 1, Status: summary.Complete, Metrics: joules(10)},
		{Concurrency: 8, Status: summary.Incomplete, Metrics: joules(3)}, {Concurrency: 8, Status: summary.Failed, Metrics: joules(1000)}, {Concurrency: 8},
	})
	std := 1.4142135623730951
	want := []summary.Point{
		{Concurrency: 8, Runs: 2, Metrics: map[string]summary.Statistic{"e": {Unit: "J", Mean: 2, Std: &std, Min: 1, Max: 3, Count: 2}}},
		{Concurrency: 1, Runs: 1, Metrics: map[string]summary.Statistic{"e": {Unit: "J", Mean: 10, Min: 10, Max: 10, Count: 1}}},
	}
	if diff := cmp.Diff(want, points); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	_, unlock, err := openDirectory(dir, false, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := openDirectory(dir, false, false); err == nil || !strings.Contains(err.Error(), "another measure is at work there") {
		t.Errorf("a second one: %v", err)
	}
	unlock()
	put := func(name string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range artifacts {
		put(name)
		put("c8-r1/" + name)
	}
	for _, name := range []string{summaryFile, "server.log", "server.2.log", "table.txt", ".power.arrows.123", "r2/summary.json"} {
		put(name)
	}
	put("c8-r1/notes")
	if _, _, err := openDirectory(dir, true, false); err == nil || !strings.Contains(err.Error(), "c8-r1/notes: is none of measure's files") {
		t.Errorf("a file of another: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "requests.jsonl")); err != nil {
		t.Error("something was removed all the same")
	}
	if err := os.Remove(filepath.Join(dir, "c8-r1/notes")); err != nil {
		t.Fatal(err)
	}
	_, unlock, err = openDirectory(dir, true, false)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
	put("mine")
	if _, _, err := openDirectory(dir, false, true); err == nil || !strings.Contains(err.Error(), "there is no summary.json to resume") {
		t.Errorf("nothing to resume: %v", err)
	}
}

// TestServerAt: where the server is asked is said while it is waited for, without passwords.
func TestServerAt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ready string
		urls  []string
		want  string
	}{
		{"", nil, ""},
		{"", []string{"http://127.0.0.1:8000", "http://b:1"}, " at http://127.0.0.1:8000"},
		{"", []string{"http://me:xyzzy@h:1"}, " at http://" + redacted + "@h:1"},
		{"http://h:2/ready", []string{"http://h:1"}, " at http://h:2/ready"},
	} {
		s := &session{o: &options{readyURL: c.ready}, server: &server{urls: c.urls}}
		if got := s.serverAt(); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// TestOwnLines: no mark of the user's matches the lines that measure has the shell print,
// since of the rules that match a line record takes the first.
func TestOwnLines(t *testing.T) {
	t.Parallel()
	for _, marks := range [][]string{nil, {"begin=load", "end="}, {".=all"}} {
		w := (&options{workload: "true", marks: marks}).newWorkload()
		var rules []string
		for i, arg := range w.args {
			if arg == "--mark" {
				rules = append(rules, w.args[i+1])
			}
		}
		for line, want := range map[string]string{w.begin: w.begin + "=", w.end + "0": strings.TrimSpace(w.end) + "="} {
			if len(marks) == 0 && line == w.begin {
				want += "workload"
			}
			first := slices.IndexFunc(rules, func(rule string) bool {
				pattern := rule[:strings.LastIndex(rule, "=")]
				return regexp.MustCompile(pattern).MatchString(line)
			})
			if first < 0 || rules[first] != want {
				t.Errorf("marks %q, line %q: rule %d of %q, want %q", marks, line, first, rules, want)
			}
		}
	}
}

// TestWatcher: the log has what the command printed, byte for byte, wherever its output is
// parted and however its last line ends.
func TestWatcher(t *testing.T) {
	t.Parallel()
	const begin, end = "nonce begins", "nonce has ended: "
	for _, printed := range []string{"", "a\n", "no end", strings.Repeat("x", longestPart-5), strings.Repeat("x", 3*longestPart+7), "nonce has ended: soon\nb", "\xff\x00\r\n\n"} {
		for _, piece := range []int{1, 7, 1 << 20} {
			var log bytes.Buffer
			w := &watcher{log: &log, begin: begin, end: end, ended: make(chan struct{})}
			text := []byte(begin + "\n" + printed + end + "42\n" + "late")
			for len(text) > 0 {
				n := min(piece, len(text))
				if m, err := w.Write(text[:n]); m != n || err != nil {
					t.Fatal(m, err)
				}
				text = text[n:]
			}
			w.rest()
			status, begun, ended := w.exitStatus()
			if status != 42 || !begun || !ended || log.String() != printed+"late" {
				t.Errorf("%.20q in pieces of %d: status %d, %v, %v, log %.40q", printed, piece, status, begun, ended, log.String())
			}
			select {
			case <-w.ended:
			default:
				t.Error("nobody is told of the end")
			}
		}
	}
}

// TestFollower reads a log while it grows, in pieces of any length.
func TestFollower(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "requests.jsonl")
	var f follower
	f.follow(path)
	text := `{"type":"run","schema":"wattrace.requests/1","clock":{"host":"h","unix_nanos":"1780000000000000000"},"targets":[]}
{"type":"phase","phase":"warm","kind":"warmup","event":"start","at_nanos":1,"concurrency":1}
{"type":"sent","seq":0,"line":1,"phase":"warm","sent_nanos":5}
{"type":"sent","seq":1,"line":1,"phase":"warm","sent_nanos":5}
{"type":"request","seq":0,"phase":"warm","outcome":"succeeded","output_tokens":7,"expected_output_tokens":9,"usage":{"output_tokens":8},"chunk_micros":[` + strings.Repeat("1,", 40<<10) + `1]}
{"type":"phase","phase":"the \"load\"","kind":"measure","event":"start","at_nanos":2000000000,"concurrency":1}
{"type":"sent","seq":2,"line":1,"phase":"the \"load\"","sent_nanos":5}
{"type":"request","seq":1,"phase":"warm","outcome":"failed","error":{"class":"http","message":"\",\"output_tokens\":5"}}
{"type":"request","seq":2,"phase":"warm","outcome":"succeeded","output_tokens":30,"expected_output_tokens":9}
{"type":"phase","phase":"the \"load\"","kind":"measure","event":"end","at_nanos":3000000000}
{"type":"sent","seq":99,"phase":"cut`
	for n := 0; n < len(text); n += 1 + n/2 {
		if err := os.WriteFile(path, []byte(text[:n]), 0o666); err != nil {
			t.Fatal(err)
		}
		f.follow(path)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	f.follow(path)
	f.follow(path)
	want := follower{phase: `the "load"`, begun: time.Unix(1780000002, 0), sent: 2, ended: 2, failed: 1, tokens: 37}
	if f.phase != want.phase || !f.begun.Equal(want.begun) || f.sent != want.sent || f.ended != want.ended || f.failed != want.failed || f.tokens != want.tokens {
		t.Errorf("%+v, want %+v", f, want)
	}
}

// TestProgressLine: energy and tokens per joule are those since a phase was seen first, and
// what is not known is left out.
func TestProgressLine(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1000, 0)
	w := &watch{log: follower{sent: 3, ended: 1, tokens: 100}}
	load := at{stage: "load", since: begin, phase: &trace.Phase{Name: "profiling", Kind: trace.Measure, Requests: 10}}
	check := func(want string, a at, seconds int, watts, joules trace.Opt[float64]) {
		t.Helper()
		if got := w.line(a, begin.Add(time.Duration(seconds)*time.Second), watts, joules); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	none := trace.Opt[float64]{}
	check("starting to record, 2s", at{stage: "starting to record", since: begin}, 2, none, none)
	check("profiling: 1 ended, 2 in flight, 2s, 300 W, 18s left", load, 2, trace.Some(300.0), trace.Some(5000.0))
	w.log = follower{sent: 7, ended: 5, failed: 1, tokens: 500}
	check("profiling: 5 ended, 2 in flight, 1 failed, 10s, 400 W, 4 kJ, 0.1 tokens/J so far, 10s left", load, 10, trace.Some(400.0), trace.Some(9000.0))
	check("profiling: 5 ended, 2 in flight, 1 failed, 10s, 10s left", load, 10, none, none)
	rest := at{stage: "load", since: begin, phase: &trace.Phase{Name: "idle_after", Kind: trace.Idle, Duration: time.Minute}}
	check("idle_after, 20s, 60 W, 40s left", rest, 20, trace.Some(60.0), trace.Some(9000.0))
	check("idle_after, 30s, 60 W, 0.6 kJ, 30s left", rest, 30, trace.Some(60.0), trace.Some(9600.0))
}

func TestLastLine(t *testing.T) {
	t.Parallel()
	l := &sibling.Tail{}
	l.Write([]byte("a\nreplay: c\nreplay: hint: d\nand e\n"))
	if got := lastLine(l); got != "c" {
		t.Errorf("last line %q", got)
	}
}
