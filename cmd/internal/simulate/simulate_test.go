package simulate

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wattrace/formats/truth"
	"wattrace/trace"
)

// The test binary is the tool itself when it is told so, for the tests that
// need a process to signal.
const beTool = "WATTRACE_TEST_BE_SIMULATE"

func TestMain(m *testing.M) {
	if os.Getenv(beTool) != "" {
		os.Exit(Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// process is a running simulator.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr bytes.Buffer
	url    string
	dir    string
}

// start runs the tool on a free port and waits until it listens.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, dir: t.TempDir()}
	address := filepath.Join(p.dir, "url")
	p.cmd = exec.Command(os.Args[0], append([]string{"--listen", "127.0.0.1:0", "--addr-file", address}, args...)...)
	p.cmd.Env = append(os.Environ(), beTool+"=1")
	p.cmd.Stderr = &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	for deadline := time.Now().Add(30 * time.Second); ; {
		b, err := os.ReadFile(address)
		if err == nil {
			p.url = strings.TrimSuffix(string(b), "\n")
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not listen: %v\n%s", err, p.stderr.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (p *process) post(body string) (string, error) { return p.ask(context.Background(), body) }

func (p *process) ask(ctx context.Context, body string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/v1/completions", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

// end signals the process and returns its exit code.
func (p *process) end(signals ...os.Signal) int {
	p.t.Helper()
	for _, s := range signals {
		if err := p.cmd.Process.Signal(s); err != nil {
			p.t.Fatal(err)
		}
	}
	p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

func loadTruth(t *testing.T, path string) *truth.Truth {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tr, err := truth.Load(f, path)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestPowerFollowsTheServerAndTheTruthIsWhole(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		file := filepath.Join(t.TempDir(), "truth.jsonl")
		p := start(t, "--gpus", "3", "--seed", "7", "--model", "m", "--truth", file)
		answer, err := p.post(`{"model":"m","prompt":[1,2,3],"max_tokens":20,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true}}`)
		if err != nil || !strings.Contains(answer, `"completion_tokens":20}`) {
			t.Fatalf("%v\n%s", err, answer)
		}
		if code := p.end(signal); code != 0 {
			t.Errorf("exit %d", code)
		}
		want := "simulate: ready: " + p.url + " (model m, 3 x wattrace simulated H100, seed 7)\n"
		if p.stderr.String() != want {
			t.Errorf("stderr %q, want %q", p.stderr.String(), want)
		}
		if _, err := os.Stat(filepath.Join(p.dir, "url")); err == nil {
			t.Error("the address file is still there")
		}

		tr := loadTruth(t, file)
		end, ok := tr.End.Get()
		if !ok || !end.Clean || tr.Header.Seed != 7 || len(tr.Header.Devices) != 3 {
			t.Fatalf("end %+v of %+v", tr.End, tr.Header)
		}
		energies := map[uint64]bool{}
		for _, d := range tr.Header.Devices {
			rest, _ := tr.Power(d.ID, 0)
			peak := 0.0
			for at := trace.Time(0); at < end.At; at += trace.Time(time.Millisecond) {
				w, _ := tr.Power(d.ID, at)
				peak = max(peak, w)
			}
			last, _ := tr.Power(d.ID, end.At)
			energy, ok := tr.Energy(d.ID, end.At)
			energies[energy] = true
			// 20 decode steps of one sequence: 250 W for a quarter of a second.
			if rest < 70 || rest > 110 || peak < 200 || last != rest || !ok {
				t.Errorf("%s rests at %v W, peaks at %v W, ends at %v W", d.ID, rest, peak, last)
			}
			if extra := float64(energy)/1e6 - rest*end.At.Seconds(); extra < 20 {
				t.Errorf("%s: the request took %v J above rest", d.ID, extra)
			}
		}
		if len(energies) != 3 {
			t.Error("the devices do not differ")
		}
	}
}

func TestFirstSignalLetsAnswersFinish(t *testing.T) {
	t.Parallel()
	p := start(t)
	const n = 20
	var ended, sent sync.WaitGroup
	sent.Add(n)
	for i := range n {
		ended.Go(func() {
			stream := i%2 == 0
			trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { sent.Done() }}
			answer, err := p.ask(httptrace.WithClientTrace(t.Context(), trace),
				fmt.Sprintf(`{"prompt":[1],"max_tokens":60,"ignore_eos":true,"stream":%v}`, stream))
			if err != nil || stream != strings.HasSuffix(answer, "data: [DONE]\n\n") || !strings.Contains(answer, `"finish_reason":"length"`) {
				t.Errorf("%v %s", err, answer)
			}
		})
	}
	sent.Wait()
	// One more, behind them: by its end the server works on all of them.
	if _, err := p.post(`{"prompt":[1],"max_tokens":3,"ignore_eos":true}`); err != nil {
		t.Error(err)
	}
	if code := p.end(os.Interrupt); code != 0 {
		t.Errorf("exit %d", code)
	}
	ended.Wait()
}

func TestSecondSignalCutsOffWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "truth.jsonl")
	p := start(t, "--truth", file)
	r, err := http.Post(p.url+"/v1/completions", "application/json", strings.NewReader(`{"prompt":[1],"max_tokens":100000,"ignore_eos":true,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := io.ReadFull(r.Body, make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	// It drains: no new connection, but tokens still come.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			break
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("it still takes connections")
		}
	}
	if _, err := io.ReadFull(r.Body, make([]byte, 500)); err != nil {
		t.Fatalf("the first signal cuts the stream: %v", err)
	}
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d", code)
	}
	if rest, err := io.ReadAll(r.Body); err == nil {
		t.Errorf("the stream ends as if it were whole: %d bytes", len(rest))
	}
	if end := loadTruth(t, file).End; !end.OK || !end.V.Clean {
		t.Errorf("truth ends with %+v", end)
	}
}

func TestKilledSimulatorLeavesAReadableTruth(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "truth.jsonl")
	p := start(t, "--truth", file, "--gpus", "1")
	if _, err := p.post(`{"prompt":[1],"max_tokens":5,"ignore_eos":true}`); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if tr := loadTruth(t, file); tr.Steps(tr.Header.Devices[0].ID) > 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is flushed")
		}
	}
	p.end(os.Kill)
	if tr := loadTruth(t, file); tr.End.OK {
		t.Errorf("a killed simulator ends with %+v", tr.End)
	}
}

func TestSensorsArePublished(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the state file needs Linux")
	}
	file := filepath.Join(t.TempDir(), "nvml.state")
	p := start(t, "--gpus", "2", "--nvml-state", file)
	// The layout is in sample/sim/nvmlstate.go: values of device 1.
	read := func() (energy, instant, limit, utilisation uint64) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v := b[128+2048+264:]
		return binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[8:]), binary.LittleEndian.Uint64(v[24:]), binary.LittleEndian.Uint64(v[32:])
	}
	first, instant, limit, _ := read()
	if first == 0 || instant < 70_000 || instant > 110_000 || limit != 700_000 {
		t.Errorf("at rest: counter %d mJ, %d mW of %d", first, instant, limit)
	}
	if _, err := p.post(`{"prompt":[1],"max_tokens":60,"ignore_eos":true}`); err != nil {
		t.Fatal(err)
	}
	// The counter must have moved by what 0.7 s of work take, at the latest a
	// tick later, and utilisation must show and end.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if energy, _, _, utilisation := read(); energy > first+100_000 && utilisation == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the sensors do not move")
		}
	}
	if code := p.end(os.Interrupt); code != 0 {
		t.Errorf("exit %d", code)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the state file is still there")
	}
}

func TestFailedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	existing, state, address := filepath.Join(dir, "old.jsonl"), filepath.Join(dir, "state"), filepath.Join(dir, "url")
	if err := os.WriteFile(existing, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if code, stderr := tool("--listen=127.0.0.1:0", "--truth", existing, "--nvml-state", state, "--addr-file", address); code != 1 {
		t.Errorf("exit %d, %s", code, stderr)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 1 {
		t.Errorf("left: %v", names)
	}
}

// tool runs the tool in process to its end.
func tool(args ...string) (code int, stderr string) {
	var out, errs bytes.Buffer
	code = Main(context.Background(), args, strings.NewReader(""), &out, &errs)
	return code, errs.String()
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	existing := filepath.Join(dir, "old.jsonl")
	if err := os.WriteFile(existing, []byte("precious"), 0o666); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	const help = "simulate: hint: see simulate --help\n"
	check := func(wantCode int, want string, args ...string) {
		t.Helper()
		if code, stderr := tool(args...); code != wantCode || stderr != want {
			t.Errorf("%v: exit %d, stderr %q; want %d, %q", args, code, stderr, wantCode, want)
		}
	}
	const free = "--listen=127.0.0.1:0"
	check(1, "simulate: "+taken.Addr().String()+": the port is in use\nsimulate: hint: another --listen HOST:PORT; with port 0 the system chooses one\n",
		"--listen", taken.Addr().String(), "--truth", filepath.Join(dir, "none.jsonl"))
	check(1, "simulate: "+existing+": exists already\nsimulate: hint: --force replaces it\n", free, "--truth", existing)
	check(1, "simulate: open "+filepath.Join(dir, "no", "truth.jsonl")+": no such file or directory\nsimulate: hint: mkdir -p "+filepath.Join(dir, "no")+"\n", free, "--truth", filepath.Join(dir, "no", "truth.jsonl"))
	link := filepath.Join(dir, "stdout")
	if err := os.Symlink(os.DevNull, link); err != nil {
		t.Fatal(err)
	}
	check(1, "simulate: "+link+": is no regular file\n", free, "--addr-file", link)
	check(1, "simulate: "+link+": is no regular file\n", free, "--nvml-state", link)
	check(2, "simulate: --gpus 0: want 1 to 255\n"+help, free, "--gpus", "0")
	check(2, "simulate: --speed -1: want more than 0 and at most 1000\n"+help, free, "--speed=-1")
	check(2, "simulate: --speed NaN: want more than 0 and at most 1000\n"+help, free, "--speed=NaN")
	check(2, "simulate: --listen \"8000\": want HOST:PORT\n"+help, "--listen", "8000")
	check(2, "simulate: --model is empty\n"+help, free, "--model=")
	check(2, "simulate: --arch: unknown architecture \"kepler\" (hopper, ampere-ga100, ampere-ga10x, ada, volta)\n"+help, free, "--arch", "kepler")
	check(2, "simulate: --dialect \"tgi\": want vllm, sglang, trtllm, openai\n"+help, free, "--dialect", "tgi")
	check(2, "simulate: --max-context 0: want at least 1\n"+help, free, "--max-context", "0")
	check(2, "simulate: --max-queue, --reasoning-tokens and --fail-every: want at least 0\n"+help, free, "--fail-every=-1")
	check(2, "simulate: --max-batch 0: want 1 to 1048576\n"+help, free, "--max-batch", "0")
	check(2, "simulate: the queue of vllm has no limit\n"+help, free, "--max-queue", "5")
	check(2, "simulate: openai does not say the times of requests on request of its operator\n"+help, free, "--dialect", "openai", "--request-metrics")
	check(2, "simulate: unexpected operand \"x\"\n"+help, free, "x")
	check(2, "simulate: nothing may follow --\n"+help, free, "--", "x")
	if b, _ := os.ReadFile(existing); string(b) != "precious" {
		t.Error("the existing file is gone")
	}
	if _, err := os.Stat(filepath.Join(dir, "none.jsonl")); err == nil {
		t.Error("a truth file is left although the port was in use")
	}
}

func TestForceReplacesTheTruthAndSpeedSpeedsUp(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "truth.jsonl")
	if err := os.WriteFile(file, bytes.Repeat([]byte("old\n"), 10_000), 0o666); err != nil {
		t.Fatal(err)
	}
	p := start(t, "--truth", file, "--force", "--speed", "100", "--arch", "volta")
	began := time.Now()
	// 1,000 steps of 12 ms and more.
	if _, err := p.post(`{"prompt":[1],"max_tokens":1000,"ignore_eos":true}`); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("12 s of work take %v at a speed of 100", took)
	}
	if code := p.end(os.Interrupt); code != 0 {
		t.Errorf("exit %d", code)
	}
	tr := loadTruth(t, file)
	if got := tr.Header.Devices[0].Name; got != "wattrace simulated V100" || len(tr.Header.Devices) != 4 {
		t.Errorf("device %q", got)
	}
}

// A truth that cannot be written ends the simulator: nobody should measure
// against half of it.
func TestFullDiskEndsTheSimulator(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full to write to")
	}
	code, stderr := tool("--listen=127.0.0.1:0", "--truth=/dev/full", "-q")
	if code != 1 || stderr != "simulate: /dev/full: write /dev/full: no space left on device\n" {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, "--speed", "50")
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			b, err := p.post(fmt.Sprintf(`{"prompt":[%d],"max_tokens":%d,"ignore_eos":true}`, i, 10+i))
			var a struct {
				Usage struct {
					Completion int `json:"completion_tokens"`
				}
			}
			if err != nil || json.Unmarshal([]byte(b), &a) != nil || a.Usage.Completion != 10+i {
				t.Errorf("%v %s", err, b)
			}
		})
	}
	wg.Wait()
	if code := p.end(os.Interrupt); code != 0 {
		t.Errorf("exit %d", code)
	}
}
