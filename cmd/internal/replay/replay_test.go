package replay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats/requests"
	"wattrace/replay"
	"wattrace/replay/replaytest"
	"wattrace/trace"
)

// good and bad are bodies for a replaytest.Server; their prompt is a secret.
const (
	good = `{"messages":[{"role":"user","content":"xyzzy"}],"stream":true}`
	bad  = `{"fault":"bad_request","messages":[{"role":"user","content":"xyzzy"}],"stream":true}`
)

// TestMain keeps the environment of whoever runs the tests out of them, and lets
// the test binary be the server of a self-test.
func TestMain(m *testing.M) {
	os.Unsetenv("WATTRACE_URL")
	os.Unsetenv("WATTRACE_API_KEY")
	if len(os.Args) == 2 && os.Args[1] == "--"+serverFlag { // the server of a self-test
		os.Exit(Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// tool runs the tool. Not at once with itself: urfave/cli has global state.
func tool(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(context.Background(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// file writes a file into a directory of the test.
func file(t *testing.T, name string, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// read reads a request log; it must be whole.
func read(t *testing.T, log string) (all []requests.Record) {
	t.Helper()
	r := requests.NewReader(strings.NewReader(log), "log")
	for {
		var rec requests.Record
		err := r.Read(&rec)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		all = append(all, rec)
	}
	if r.Incomplete() != 0 || len(all) == 0 {
		t.Fatalf("the log is not complete:\n%s", log)
	}
	return all
}

// outline is a log without what differs from run to run.
func outline(all []requests.Record) (lines []string) {
	for _, rec := range all {
		switch rec.Type {
		case requests.TypePhase:
			lines = append(lines, fmt.Sprintf("%s %s start=%v %d", rec.Phase.Phase, rec.Phase.Kind, rec.Phase.Start, rec.Phase.Concurrency))
		case requests.TypeRequest:
			q := rec.Request
			lines = append(lines, fmt.Sprintf("%s line %d %s %s", q.Phase, q.Line, q.Outcome, q.Error.Class))
		case requests.TypeClient:
			if c := rec.Client; !c.Held.OK || !c.Queue.OK || !c.LogBlocked.OK || !c.GCPause.OK || !c.Goroutines.OK || c.LatenessP50.OK && c.LatenessP50.V > c.LatenessMax.V {
				lines = append(lines, fmt.Sprintf("client %+v", c))
			}
		case requests.TypeClose:
			if j := rec.Close.Client; !j.Bound.OK || !j.LogBlocked.OK || !j.Held.OK || j.LatenessP99.OK && j.LatenessP99.V > j.LatenessMax.V {
				lines = append(lines, fmt.Sprintf("client %+v", j))
			}
			c := rec.Close
			lines = append(lines, fmt.Sprintf("close %d %d %d %d %v", c.Sent, c.Succeeded, c.Failed, c.Cancelled, c.Clean))
		}
	}
	return lines
}

func TestReplay(t *testing.T) {
	server := replaytest.Listen(t)
	path := file(t, "trace.jsonl", good, good, good)
	code, log, stderr := tool("", path, "--url", server.URL+"/v1", "--set", "model=m", "--set", `x={"a":1,"b":2}`)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	all := read(t, log)
	run := all[0].Run
	if run.Machine.GOMAXPROCS != runtime.GOMAXPROCS(0) {
		t.Errorf("client %+v", run.Machine)
	}
	run.Clock, run.Producer, run.Machine = trace.Clock{}, "", requests.Machine{}
	if diff := cmp.Diff(requests.Run{
		Trace:    requests.TraceInfo{Path: path, SHA256: run.Trace.SHA256, Turns: 3},
		Targets:  []string{server.URL},
		Plan:     trace.Plan{Phases: []trace.Phase{{Name: "profiling", Kind: trace.Measure, Concurrency: 1}}},
		Overlays: []string{"model=m", `x={"a":1,"b":2}`}, ChunkClock: requests.UserClock,
		Connections: requests.Connections{Balance: "round-robin", KeepAlive: 4 * time.Second},
	}, run); diff != "" {
		t.Errorf("run (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"profiling measure start=true 1",
		"profiling line 1 succeeded ", "profiling line 2 succeeded ", "profiling line 3 succeeded ",
		"profiling measure start=false 0",
		"close 3 3 0 0 true",
	}, outline(all)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	types := map[requests.Type]int{}
	for _, rec := range all {
		types[rec.Type]++
	}
	if types[requests.TypeSent] != 3 || types[requests.TypeClock] < 1 || types[requests.TypeClient] < 1 {
		t.Errorf("lines by type: %v", types)
	}
	if !strings.HasPrefix(stderr, "replay: 3 requests in ") || !strings.Contains(stderr, "3 succeeded, 0 failed; 9 output tokens") || strings.Count(stderr, "\n") != 2 || !strings.Contains(stderr, "\nreplay: client ") {
		t.Errorf("stderr %q", stderr)
	}
	if strings.Contains(log+stderr, "xyzzy") {
		t.Error("a prompt was shown")
	}
	if _, _, stderr := tool("", path, "--url", server.URL, "-q"); stderr != "" {
		t.Errorf("-q prints %q", stderr)
	}
}

func TestFailedRequests(t *testing.T) {
	server := replaytest.Listen(t)
	code, log, stderr := tool("", file(t, "t.jsonl", good, bad, strings.Replace(bad, "bad_request", "too_many", 1), bad), "--url", server.URL)
	if code != 3 || !strings.HasSuffix(stderr, "replay: 3 of 4 requests failed: http_4xx 2, http_429 1; the first: status 400, BadRequestError, 400\n") {
		t.Errorf("exit %d, stderr %s", code, stderr)
	}
	if lines := outline(read(t, log)); lines[len(lines)-1] != "close 4 1 3 0 true" {
		t.Errorf("%s", lines)
	}
	if strings.Contains(log+stderr, "xyzzy") {
		t.Error("a prompt was shown")
	}
	if _, log, _ := tool("", file(t, "t.jsonl", bad), "--url", server.URL, "--server-messages"); !strings.Contains(log, "xyzzy") {
		t.Error("--server-messages does not log them")
	}
}

func TestNobodyListens(t *testing.T) {
	url := replaytest.Refused(t)
	code, log, stderr := tool("", file(t, "t.jsonl", good, good), "--url", url)
	if lines := outline(read(t, log)); code != 3 || lines[len(lines)-1] != "close 2 0 2 0 true" {
		t.Errorf("exit %d, %s", code, lines)
	}
	if !strings.Contains(stderr, "replay: 2 of 2 requests failed: connect 2; the first: dial tcp") || !strings.HasSuffix(stderr, "replay: hint: is a server listening at "+url+"?\n") {
		t.Errorf("stderr %s", stderr)
	}
}

func TestPhases(t *testing.T) {
	server := replaytest.Listen(t)
	path := file(t, "t.jsonl", good, good, good)
	_, log, _ := tool("", path, "--url", server.URL, "--warmup-requests", "2", "--idle-before", "1ms", "--idle-after", "1ms", "--requests", "4")
	want := []string{
		"idle_before idle start=true 0", "idle_before idle start=false 0",
		"warmup warmup start=true 1", "warmup line 1 succeeded ", "warmup line 2 succeeded ", "warmup warmup start=false 0",
		"profiling measure start=true 1",
		"profiling line 1 succeeded ", "profiling line 2 succeeded ", "profiling line 3 succeeded ", "profiling line 1 succeeded ",
		"profiling measure start=false 0",
		"idle_after idle start=true 0", "idle_after idle start=false 0",
		"close 6 6 0 0 true",
	}
	if diff := cmp.Diff(want, outline(read(t, log))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	plan := file(t, "plan.yaml", "schema: wattrace.plan/1", "phases:", "  - {name: idle_before, kind: idle, duration: 1ms}",
		"  - {name: warmup, kind: warmup, concurrency: 1, requests: 2}", "  - {name: profiling, concurrency: 1, requests: 4}",
		"  - {name: idle_after, kind: idle, duration: 1ms}")
	_, log, _ = tool("", path, "--url", server.URL, "--phases", plan)
	if diff := cmp.Diff(want, outline(read(t, log))); diff != "" {
		t.Errorf("--phases (-want +got)\n%s", diff)
	}
}

func TestHandoverFlag(t *testing.T) {
	server := replaytest.Listen(t)
	_, log, stderr := tool("", file(t, "t.jsonl", good), "--url", server.URL, "--warmup-requests", "3", "--requests", "3", "--handover", "--grace", "1h", "--concurrency", "2")
	all := read(t, log)
	want := trace.Plan{Phases: []trace.Phase{
		{Name: "warmup", Kind: trace.Warmup, Concurrency: 2, Requests: 3, Handover: true, Grace: time.Hour},
		{Name: "profiling", Kind: trace.Measure, Concurrency: 2, Requests: 3, Grace: time.Hour},
	}}
	if diff := cmp.Diff(want, all[0].Run.Plan); diff != "" {
		t.Errorf("(-want +got)\n%s%s", diff, stderr)
	}
	if c := all[len(all)-1].Close; c.Succeeded != 6 {
		t.Errorf("%+v", c)
	}
}

// TestDirectoryAndSideFile checks what comes from beside the bodies.
func TestDirectoryAndSideFile(t *testing.T) {
	server := replaytest.Listen(t)
	dir := filepath.Dir(file(t, "talks/a.jsonl", good, good))
	timing := file(t, "side", `{"conversation":"a","turn":1,"input_tokens":8,"output_tokens":9}`)
	code, log, stderr := tool("", dir, "--url", server.URL, "--timing", timing)
	if code != 0 {
		t.Fatal(stderr)
	}
	var got []string
	for _, rec := range read(t, log) {
		if q := rec.Request; rec.Type == requests.TypeRequest {
			got = append(got, fmt.Sprintln(q.Line, q.Conversation, q.Turn, q.ExpectedInput, q.ExpectedOutput))
		}
	}
	if diff := cmp.Diff([]string{"1 a 0 {0 false} {0 false}\n", "2 a 1 {8 true} {9 true}\n"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestStandardInput(t *testing.T) {
	server := replaytest.Listen(t)
	for _, args := range [][]string{{"--url", server.URL}, {"-", "--url", server.URL}} {
		code, log, stderr := tool(good+"\n"+good, args...)
		if code != 0 {
			t.Fatal(stderr)
		}
		if all := read(t, log); all[0].Run.Trace.Path != "-" || all[0].Run.Trace.Turns != 2 {
			t.Errorf("%+v", all[0].Run.Trace)
		}
	}
}

// TestNothingIsSentBeforeAllIsChecked checks every mistake that can be known: its
// message, its exit code, and that no request was sent and no file made.
func TestNothingIsSentBeforeAllIsChecked(t *testing.T) {
	server := replaytest.Listen(t)
	ok := file(t, "t.jsonl", good)
	broken := file(t, "broken.jsonl", good, good, `{"messages":[}`)
	empty := file(t, "empty.jsonl", "")
	plan := file(t, "plan.yaml", "schema: wattrace.plan/1", "phases:", "  - {name: a, concurrncy: 1}")
	beyond := file(t, "plan.yaml", "schema: wattrace.plan/1", "phases:", "  - {name: a, concurrency: 1, first_line: 2}")
	taken := file(t, "taken")
	url := []string{"--url", server.URL}
	for _, test := range []struct {
		code   int
		stderr string
		args   []string
	}{
		{2, "no server: give --url or set WATTRACE_URL", []string{ok}},
		{2, "--url: want a URL that begins with http:// or https://", []string{ok, "--url", "localhost:8000"}},
		{2, "--url: a URL must not hold a user or a password: it goes into the log", []string{ok, "--url", "http://u:secret@h"}},
		{2, "one trace at a time, not 2", append(url, ok, ok)},
		{2, "nothing may follow --", append(url, ok, "--", "x")},
		{2, "--set: want KEY=JSON", append(url, ok, "--set", "stream")},
		{2, "--header: want 'NAME: VALUE'", append(url, ok, "--header", "x")},
		{1, `header "A b": not a header name`, append(url, ok, "--header", "A b: c")},
		{2, `--balance "best": want round-robin, least or sticky`, append(url, ok, "--balance", "best")},
		{2, "--keepalive is negative", append(url, ok, "--keepalive", "-1s")},
		{2, "--preconnect must be from 0 to 65536", append(url, ok, "--preconnect", "-1")},
		{2, "--insecure checks no certificate", append(url, ok, "--insecure", "--ca-file", ok)},
		{1, ok + ": no certificate in it (PEM)", append(url, ok, "--ca-file", ok)},
		{1, "nothere: no such file or directory", append(url, ok, "--ca-file", "nothere")},
		{2, `--source-address "lo": not an IP address`, append(url, ok, "--source-address", "lo")},
		{1, "--source-address 192.0.2.1: not an address of this machine", append(url, ok, "--source-address", "192.0.2.1")},
		{1, "2 of 2 connections could not be opened ahead", []string{ok, "--url", replaytest.Refused(t), "--preconnect", "2"}},
		{2, "--timeout is negative", append(url, ok, "--timeout", "-1s")},
		{2, "--concurrency must be more than 0", append(url, ok, "--concurrency", "0")},
		{2, "--requests must be more than 0", append(url, ok, "--requests", "-3")},
		{2, "--duration must be more than 0", append(url, ok, "--duration", "0s")},
		{2, "--handover needs --warmup-requests or --warmup-duration", append(url, ok, "--handover")},
		{2, "--phases has the whole load: --grace cannot be added to it", append(url, ok, "--phases", plan, "--grace", "1s")},
		{1, plan + `:3:15: unknown key "concurrncy" in a phase`, append(url, ok, "--phases", plan)},
		{1, `phase "a": first_line 2 is beyond the trace's 1 turns`, append(url, ok, "--phases", beyond)},
		{1, broken + ":3:14: ", append(url, broken)},
		{1, empty + ": the trace is empty", append(url, empty)},
		{1, "nothere: no such file or directory", append(url, "nothere")},
		{1, "nothere: no such file or directory", append(url, ok, "--phases", "nothere")},
		{1, "nothere: no such file or directory", append(url, ok, "--api-key-file", "nothere")},
		{1, empty + ": the file is empty", append(url, ok, "--api-key-file", empty)},
		{2, "an API key and --header Authorization: one of them is enough", append(url, ok, "--api-key-file", ok, "--header", "authorization: x")},
		{1, taken + ": exists already", append(url, ok, "-o", taken)},
	} {
		out := filepath.Join(t.TempDir(), "out")
		args := test.args
		if !strings.Contains(strings.Join(args, " "), " -o ") && args[len(args)-1] != "x" {
			args = append(append([]string(nil), args...), "-o", out)
		}
		code, stdout, stderr := tool("", args...)
		first, _, _ := strings.Cut(stderr, "\n")
		if code != test.code || !strings.Contains(first, test.stderr) || stdout != "" {
			t.Errorf("%q: exit %d, stderr %s", test.args, code, stderr)
		}
		if strings.Contains(stderr, "secret") || strings.Contains(stderr, "xyzzy") {
			t.Errorf("%q: a secret is shown: %s", test.args, stderr)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%q: there is an output", test.args)
		}
	}
	if n := server.Requests(""); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// Flags for bodies are checked before anything is sent, and refused where nothing uses them.
func TestOtherFormat(t *testing.T) {
	dataset := file(t, "d.jsonl", `{"task_id":0,"prompt":"xyzzy","output_tokens":5}`)
	raw := file(t, "r.jsonl", `{"model":"m","prompt":"xyzzy"}`)
	lengths := file(t, "l.jsonl", `{"timestamp":0,"input_length":4,"output_length":2}`)
	twice := file(t, "w.jsonl", `{"session_id":"a","input_length":4,"output_length":2,"hash_ids":[1]}`+"\n"+`{"session_id":"a","input_length":4,"output_length":0,"hash_ids":[1]}`)
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{2, "--model is needed: the input does not name one, and each body must", []string{dataset}},
		{2, `--target "x": want trtllm, vllm, sglang, openai`, []string{dataset, "--target", "x"}},
		{2, `--trace-format "x": want one of trtllm,`, []string{dataset, "--trace-format", "x"}},
		{2, "--turns: of a Mooncake trace all turns are known", []string{lengths, "--trace-format", "mooncake", "--turns", "user-only", "--model", "m"}},
		{2, "--timing is for a raw_payload trace, and ", []string{dataset, "--timing", raw, "--model", "m"}},
		{2, "--model is for the bodies that are made of another tool's trace, and those of " + raw + " stay as they are\nreplay: hint: if it is a dataset, say of which tool: --trace-format vllmcustom, --trace-format guidellm, --trace-format sglangopenai\n", []string{raw, "--model", "m"}},
		{2, "--tokenizer is for the bodies that are made of another tool's trace", []string{t.TempDir(), "--tokenizer", raw}},
		{2, "t is a directory, of raw_payload conversations", []string{filepath.Dir(file(t, "t/x.jsonl", "")), "--trace-format", "mooncake"}},
		{1, "is a trace of times and lengths, in milliseconds as Mooncake's or in seconds as guidellm's\n", []string{lengths, "--model", "m"}},
		{1, twice + ":2:", []string{twice, "--model", "m"}},
		{1, "no such file", []string{dataset, "--model", "m", "--tokenizer", raw + ".none"}},
		{1, ": d.jsonl: is a ", []string{file(t, "p.jsonl", `{"type":"run","schema":"wattrace.requests/1"}`)}},
	} {
		code, _, stderr := tool("", append(c.args, "--url", "http://h")...)
		want := strings.Replace(c.want, ": d.jsonl: is a ", "p.jsonl: is a request log, not a trace", 1)
		if code != c.code || !strings.Contains(stderr, want) || strings.Contains(stderr, "xyzzy") {
			t.Errorf("%v: exit %d, stderr %s", c.args, code, stderr)
		}
	}
	code, _, stderr := tool("", lengths, "--model", "m", "--url", "http://h")
	if code != 1 || !strings.Contains(stderr, "replay: hint: say which: --trace-format guidellmtrace, --trace-format mooncake\n") {
		t.Errorf("exit %d, stderr %s", code, stderr)
	}

	// --check shows every fault, not only the first.
	bad := file(t, "b.jsonl", strings.Repeat(`{"task_id":0,"prompt":"xyzzy","output_tokens":5}`+"\n"+`{"task_id":0,"prompt":"xyzzy","output_tokens":-5}`+"\n", 2))
	code, _, stderr = tool("", "--check", bad, "--model", "m")
	if code != 2 || strings.Count(stderr, bad+":") != 2 || !strings.Contains(stderr, bad+":4:") || strings.Contains(stderr, "xyzzy") {
		t.Errorf("exit %d, stderr %s", code, stderr)
	}
	code, stdout, stderr := tool("", "--check", dataset, "--model", "m")
	if code != 0 || !strings.Contains(stdout, "/v1/chat/completions") {
		t.Errorf("exit %d, stderr %s\n%s", code, stderr, stdout)
	}
}

func TestKeyIsSentAndNotShown(t *testing.T) {
	heads := make(chan http.Header, 3)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost { // else it is asked for its version
			heads <- r.Header
		}
		w.WriteHeader(500)
	})}
	go server.Serve(l)
	defer server.Close()
	path, key := file(t, "t.jsonl", good), file(t, "key", "from-file")
	t.Setenv("WATTRACE_URL", "http://"+l.Addr().String())
	t.Setenv("WATTRACE_API_KEY", "from-environment")
	for want, args := range map[string][]string{
		"from-environment": {path},
		"from-file":        {path, "--api-key-file", key},
	} {
		_, log, stderr := tool("", append(args, "--header", "X-A: b, c")...)
		head := <-heads
		if head.Get("Authorization") != "Bearer "+want || head.Get("X-A") != "b, c" {
			t.Errorf("headers %v", head)
		}
		if strings.Contains(log+stderr, "from-") {
			t.Errorf("the key is shown: %s%s", log, stderr)
		}
	}
}

func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	server := replaytest.Listen(t)
	code, _, stderr := tool("", file(t, "t.jsonl", good), "--url", server.URL, "-o", "/dev/full")
	if code != 1 || !strings.HasPrefix(stderr, "replay: cannot write the request log (/dev/full): ") || server.Requests("") != 0 {
		t.Errorf("exit %d, stderr %s", code, stderr)
	}
}

// waitFor waits for a condition that another goroutine brings about.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for range 6000 {
		if cond() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("waited a long time until", what)
}

func interrupt(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Error(err)
	}
}

// TestInterruptDrains checks that the first signal lets what is in flight end.
func TestInterruptDrains(t *testing.T) {
	server := replaytest.Listen(t)
	path := file(t, "t.jsonl", good, strings.Replace(good, `{"mess`, `{"fault":"open_after_done","mess`, 1))
	go func() {
		waitFor(t, "the slow request is under way", func() bool { return server.Requests("open_after_done") > 0 })
		interrupt(t)
	}()
	code, log, stderr := tool("", path, "--url", server.URL, "--duration", "1h")
	lines := outline(read(t, log))
	if code != 130 || !strings.HasSuffix(lines[len(lines)-1], " 0 0 false") || !strings.Contains(stderr, "; stopped before the end of the plan\n") {
		t.Errorf("exit %d, %s, stderr %s", code, lines[len(lines)-1], stderr)
	}
	if lines[len(lines)-2] != "profiling measure start=false 0" {
		t.Errorf("the phase has no end: %s", lines)
	}
}

// TestSecondInterruptCancels checks that the second signal gives up what is in
// flight, and that the log is whole all the same.
func TestSecondInterruptCancels(t *testing.T) {
	server := replaytest.Listen(t)
	path := file(t, "t.jsonl", strings.Replace(good, `{"mess`, `{"fault":"stall_mid_stream","mess`, 1))
	out := filepath.Join(t.TempDir(), "log")
	var sender sync.WaitGroup
	sender.Go(func() {
		waitFor(t, "the request is under way", func() bool { return server.Requests("stall_mid_stream") > 0 })
		interrupt(t)
		// That the first one was noticed shows nowhere, so the second is sent
		// until there is nobody any more to be interrupted.
		waitFor(t, "the log is closed", func() bool {
			b, _ := os.ReadFile(out)
			if bytes.Contains(b, []byte(`"type":"close"`)) {
				return true
			}
			time.Sleep(100 * time.Millisecond)
			syscall.Kill(os.Getpid(), syscall.SIGTERM)
			return false
		})
	})
	// A third signal would kill the process. Until nobody sends any more,
	// somebody else takes it.
	undo := ignoreSignals()
	code, _, _ := tool("", path, "--url", server.URL, "-o", out)
	sender.Wait()
	undo()
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := outline(read(t, string(b)))
	if code != 130 || lines[len(lines)-1] != "close 1 0 0 1 false" {
		t.Errorf("exit %d, %s", code, lines)
	}
}

func TestProgressLine(t *testing.T) {
	turns := []trace.Turn{{Payload: []byte(good), Endpoint: trace.Chat}}
	url, err := replay.ParseTarget("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	engine, err := replay.New(replay.Options{
		Turns: turns, Targets: []replay.Target{url},
		Plan: trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := progress{engine: engine}
	if s := p.status(); s != "starting" {
		t.Error(s)
	}
	if _, err := engine.Run(t.Context(), nil, &log{w: requests.NewWriter(io.Discard)}); err != nil {
		t.Fatal(err)
	}
	p.last.Now = engine.Clock().Now()
	time.Sleep(time.Millisecond)
	if s := p.status(); !strings.HasPrefix(s, "p (1 of 1): 1 ended, 0 in flight, 1 failed, ") || !strings.HasSuffix(s, " requests/s and 0 tokens/s ended, 0s left") {
		t.Error(s)
	}
	second := trace.Time(time.Second)
	for want, p := range map[time.Duration]replay.Progress{
		7 * time.Second: {Until: trace.Some(10 * second), Now: 3 * second, Total: trace.Some(int64(99))},
		0:               {Until: trace.Some(2 * second), Now: 3 * second},
		6 * time.Second: {Since: second, Now: 3 * second, Handed: 6, InFlight: 4, Total: trace.Some(int64(8))},
	} {
		if got, ok := left(&p); !ok || got != want {
			t.Errorf("%v, %v left, not %v", got, ok, want)
		}
	}
	if _, ok := left(&replay.Progress{Handed: 4, InFlight: 4, Total: trace.Some(int64(8))}); ok {
		t.Error("a rate without an answer")
	}
}
