package replay

import (
	"encoding/json"
	"encoding/pem"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats/requests"
	"wattrace/replay/replaytest"
	"wattrace/replay/selftest"
	"wattrace/trace"
)

func TestClientFlags(t *testing.T) {
	one, two := replaytest.Listen(t), replaytest.Listen(t)
	path := file(t, "t.jsonl", good, good, good, good)
	args := []string{path, "--url", one.URL, "--url", two.URL, "--balance", "least", "--preconnect", "2", "--keepalive", "2s",
		"--insecure", "--cache-salt", "7", "--source-address", "127.0.0.1"}
	want := requests.Run{ChunkClock: requests.UserClock, Connections: requests.Connections{
		Balance: "least", KeepAlive: 2 * time.Second, Preconnect: 2, SourceAddresses: 1, Insecure: true, CacheSaltSeed: trace.Some[int64](7),
	}}
	if runtime.GOOS == "linux" {
		args = append(args, "--kernel-timestamps")
		want.ChunkClock = requests.KernelClock
	}
	code, log, stderr := tool("", args...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	all := read(t, log)
	if diff := cmp.Diff(want, requests.Run{ChunkClock: all[0].Run.ChunkClock, Connections: all[0].Run.Connections}); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !strings.Contains(log, `"tls_insecure":true`) {
		t.Error("the log does not say that certificates were not checked")
	}
	if one.Requests("") != 2 || two.Requests("") != 2 {
		t.Errorf("%d and %d requests", one.Requests(""), two.Requests(""))
	}
	salts := map[string]bool{}
	for _, rec := range all {
		if rec.Type == requests.TypeRequest {
			q := &rec.Request
			salts[q.CacheSalt] = true
			if !q.Conn.OK || !q.BodyHash.OK || q.BodyBytes.V != int64(len(good)+len(`,"cache_salt":"0123456789abcdef"`)) || q.ResponseID != "c" {
				t.Errorf("%+v", q)
			}
		}
	}
	if len(salts) != 4 || salts[""] {
		t.Errorf("salts %v", salts)
	}
}

func TestTLSFlags(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: "+replaytest.Token+"\n\ndata: [DONE]\n\n")
	}))
	s.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o666); err != nil {
		t.Fatal(err)
	}
	path := file(t, "t.jsonl", good)
	for _, test := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{"--ca-file", ca}, 0, ""},
		{[]string{"--ca-file", ca, "--server-name", "example.com"}, 0, ""},
		{[]string{"--insecure"}, 0, ""},
		{nil, 3, "tls 1"},
		{[]string{"--ca-file", ca, "--server-name", "other.test"}, 3, "tls 1"},
	} {
		code, _, stderr := tool("", append(test.args, path, "--url", s.URL)...)
		if code != test.code || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%q: exit %d, %s", test.args, code, stderr)
		}
	}
}

const checkedText = `trace            PATH
sha256           HASH
requests         5, of 4 conversations of up to 2 turns
endpoints        /v1/chat/completions 4, /v1/completions 1
models           llama 3, (none) 1, "an odd\nname" 1
streamed         3 of 5
body bytes       min 64, p50 83, p90 96, p99 96, max 96; 406 in all
expected tokens  20 (of 2 lines) in, unknown out
trace's times    1.6 s, at most 2 requests in one second (3 of 5 lines)
phase            idle_before, idle, 5s
phase            profiling, measure, concurrency 3, 9 requests
load             as long as the server takes
peak rate        closed loop: as fast as the server answers
dialect          trtllm would refuse 3 of 5 requests
  unknown key "a": 1 requests, the first at PATH:2
  unknown key "cache_salt": 1 requests, the first at PATH:5
  unknown key "min_new": 1 requests, the first at PATH:4
  the model is missing: 1 requests, the first at PATH:5
`

// checkTrace is a trace with its side file.
func checkTrace(t *testing.T) string {
	path := file(t, "t.jsonl",
		`{"model":"llama","messages":[{"content":"xyzzy"}],"stream":true}`,
		`{"model":"llama","messages":[1],"stream":true,"a":1}`,
		`{"model":"llama","messages":[1],"stream":false}`,
		`{"model":"an odd\nname","messages":[1],"min_new":1}`,
		`{"prompt":"xyzzy","stream":true}`)
	lines := strings.Join([]string{
		`{"line":1,"conversation":"a","turn":0,"at_seconds":1,"input_tokens":8}`,
		`{"line":2,"conversation":"a","turn":1,"at_seconds":1.5,"input_tokens":12}`,
		`{"line":3,"at_seconds":2.6}`}, "\n")
	if err := os.WriteFile(path+trace.TimingSuffix, []byte(lines+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheck(t *testing.T) {
	path := checkTrace(t)
	args := []string{"--check", path, "--dialect", "trtllm", "--concurrency", "3", "--requests", "9", "--idle-before", "5s", "--cache-salt", "1"}
	code, text, stderr := tool("", args...)
	text = strings.ReplaceAll(text, path, "PATH")
	text = regexp.MustCompile(`[0-9a-f]{64}`).ReplaceAllString(text, "HASH")
	if diff := cmp.Diff(checkedText, text); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if code != 3 || stderr != "replay: trtllm would refuse 3 of 5 requests\n" {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// TestCheckOfARun checks that what --check is given is what a run would be, but
// that nothing is sent.
func TestCheckOfARun(t *testing.T) {
	server := replaytest.Listen(t)
	path := checkTrace(t)
	out := filepath.Join(t.TempDir(), "checked.json")
	code, stdout, stderr := tool("", "--check", path, "--format", "json", "--url", server.URL, "--duration", "90s", "--idle-after", "2s", "--set", "model=m", "-o", out)
	if code != 0 || stdout != "" || stderr != "" || server.Connections() != 0 {
		t.Errorf("exit %d, %d connections, %s%s", code, server.Connections(), stdout, stderr)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var got checked
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	seconds := func(v float64) *float64 { return &v }
	none := int64(0)
	if diff := cmp.Diff(checked{
		Trace: path, SHA256: got.SHA256, Lines: 5, Conversations: 4, MostTurns: 2,
		Endpoints: map[string]int{"/v1/chat/completions": 4, "/v1/completions": 1}, Models: map[string]int{"m": 5},
		Streamed: 3, BodyBytes: got.BodyBytes, Expected: expected{Input: 20, InputLines: 2},
		Times:   &times{Lines: 3, Seconds: 1.6, PeakRate: 2},
		Phases:  []phaseLoad{{Name: "profiling", Kind: "measure", Load: "closed", Concurrency: 1, Seconds: seconds(90)}, {Name: "idle_after", Kind: "idle", Requests: &none, Seconds: seconds(2)}},
		Seconds: seconds(92),
	}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if strings.Contains(string(b), "xyzzy") {
		t.Error("a prompt is shown")
	}
}

func TestCheckFindsEveryFault(t *testing.T) {
	broken := []string{good, `{"messages":[}`, good, `[1]`, `{"x":"xyzzy"}`}
	path := file(t, "t.jsonl", broken...)
	want := func(path string) string {
		return "replay: " + path + ":2:14: not JSON: unexpected character\n" +
			"replay: " + path + ":4:1: not a JSON object, but an array\n" +
			"replay: " + path + `:5:1: none of the keys "messages", "prompt" and "input" is there` + "\n"
	}
	if code, stdout, stderr := tool("", "--check", path); code != 2 || stdout != "" || stderr != want(path) {
		t.Errorf("exit %d, %s%s", code, stdout, stderr)
	}
	dir := filepath.Dir(file(t, "talks/a.jsonl", broken...))
	if err := os.WriteFile(filepath.Join(dir, "b.jsonl"), []byte("{}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := tool("", "--check", dir); code != 2 ||
		stderr != want(filepath.Join(dir, "a.jsonl"))+"replay: "+filepath.Join(dir, "b.jsonl")+`:1:1: none of the keys "messages", "prompt" and "input" is there`+"\n" {
		t.Errorf("exit %d, %s", code, stderr)
	}
	// Standard input cannot be read again: the first fault.
	if code, _, stderr := tool(strings.Join(broken, "\n"), "--check"); code != 2 || stderr != "replay: -:2:14: not JSON: unexpected character\n" {
		t.Errorf("exit %d, %s", code, stderr)
	}
	many := file(t, "many.jsonl", strings.Split(strings.Repeat("x ", 25), " ")...)
	if code, _, stderr := tool("", "--check", many); code != 2 || strings.Count(stderr, "\n") != 21 || !strings.HasSuffix(stderr, "replay: and 5 more\n") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	sound := file(t, "sound.jsonl", good)
	side := file(t, "side", `{"line":2}`)
	if code, _, stderr := tool("", "--check", sound, "--timing", side); code != 2 || !strings.HasPrefix(stderr, "replay: "+side+":1:") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	for _, test := range []struct {
		code   int
		stderr string
		args   []string
	}{
		{2, `--dialect "tgi": want trtllm, vllm, sglang or openai`, []string{"--dialect", "tgi"}},
		{2, `--format "xml": want text or json`, []string{"--format", "xml"}},
		{2, "--requests must be more than 0", []string{"--requests", "0"}},
		{1, "nothere: no such file or directory", []string{"--timing", "nothere"}},
	} {
		if code, _, stderr := tool("", append(test.args, "--check", sound)...); code != test.code || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%q: exit %d, %s", test.args, code, stderr)
		}
	}
}

// Each stream may have its goroutines while it runs; afterwards there are as many as
// before. Not at once with other tests, whose goroutines would count.
func TestGoroutinesEndWithTheStreams(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	warm := replaytest.Listen(t)
	tool("", file(t, "t.jsonl", good), "--url", warm.URL) // the first run begins what lasts, as package os/signal's
	before := runtime.NumGoroutine()
	go selftest.Serve(l)
	defer l.Close()
	body := selftest.Load{Chunks: 12, Gap: 100 * time.Millisecond}.Body()
	code, log, stderr := tool("", file(t, "t.jsonl", string(body)), "--url", "http://"+l.Addr().String(), "--concurrency", "300", "--requests", "300")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	most := 0
	for _, rec := range read(t, log) {
		if rec.Type == requests.TypeClient {
			most = max(most, rec.Client.Goroutines.V)
		}
	}
	if most < before+300 { // a slot each, and the server's
		t.Errorf("%d goroutines at most, with 300 streams", most)
	}
	const own = 2 // the server listens, and paces
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+own; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
	}
}
