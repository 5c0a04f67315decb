package record

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/sample/sampletest"
	"wattrace/sample/sim"
	"wattrace/trace"
)

// asRecord makes this test binary be record.
const asRecord = "WATTRACE_TEST_AS_RECORD"

func TestMain(m *testing.M) {
	if os.Getenv(asRecord) != "" {
		os.Unsetenv(asRecord) // not for the command that it runs
		os.Exit(Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// node is a host with two simulated GPUs.
type node struct {
	t     *testing.T
	dir   string
	stub  string
	state *sim.State

	ticks, late atomic.Int64 // of the sensor that squareNode shows, and those that were late
}

func newNode(t *testing.T) *node {
	t.Helper()
	t.Parallel()
	n := &node{t: t, stub: sampletest.BuildStub(t), dir: t.TempDir()}
	var err error
	n.state, err = sim.CreateState(filepath.Join(n.dir, "nvml.state"), []sample.Device{
		{Name: "wattrace simulated H100", UUID: "GPU-0", PCIBusID: "00000000:1B:00.0", Architecture: "hopper"},
		{Name: "wattrace simulated H100", UUID: "GPU-1", PCIBusID: "00000000:3B:00.0", Architecture: "hopper"},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var publisher sync.WaitGroup
	publisher.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for k := uint64(0); ; k++ {
			for i := range 2 {
				n.state.Publish(i, sim.Reading{EnergyMillijoules: k * 3000, PowerInstantMilliwatts: 300000, PowerAverageMilliwatts: 300000, PowerLimitMilliwatts: 700000})
			}
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	t.Cleanup(func() {
		close(done)
		publisher.Wait()
		if err := n.state.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// process is a running record.
type process struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

func (n *node) command(args ...string) *process {
	p := &process{Cmd: exec.Command(os.Args[0], append([]string{"--nvml-library", n.stub, "--interval", "20ms"}, args...)...)}
	p.Dir = n.dir
	p.Env = append(os.Environ(), asRecord+"=1", sampletest.StateVariable+"=nvml.state")
	p.Cmd.Stdout, p.Cmd.Stderr = &p.stdout, &p.stderr
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its own terminal, so to say
	return p
}

func (n *node) start(args ...string) *process {
	n.t.Helper()
	p := n.command(args...)
	if err := p.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { syscall.Kill(-p.Process.Pid, syscall.SIGKILL) }) // what a failed test left
	return p
}

func (n *node) run(args ...string) *process {
	n.t.Helper()
	p := n.start(args...)
	p.Wait()
	return p
}

// want fails the test unless record ended with the status and said what matches.
func (n *node) want(p *process, status int, stderr string) {
	n.t.Helper()
	if p.ProcessState == nil {
		p.Wait()
	}
	if got := exitStatus(p.ProcessState); got != status {
		n.t.Errorf("exit status %d, want %d", got, status)
	}
	if !regexp.MustCompile(stderr).MatchString(p.stderr.String()) {
		n.t.Errorf("stderr does not match %s", stderr)
	}
	if n.t.Failed() {
		n.t.Logf("stderr:\n%s", &p.stderr)
	}
}

// contents is a recording, read.
type contents struct {
	head        telemetry.Head
	end         telemetry.End
	complete    bool
	err         error
	rows        int
	perDevice   map[string]int
	first, last time.Time
	statuses    map[string]int
}

func read(t *testing.T, r io.Reader) contents {
	t.Helper()
	c := contents{perDevice: map[string]int{}, statuses: map[string]int{}}
	rd, err := telemetry.NewReader(r, "power.arrows")
	if err != nil {
		t.Fatal(err)
	}
	c.head = rd.Head()
	b := new(sample.Batch)
	for c.err = rd.Read(b); c.err == nil; c.err = rd.Read(b) {
		for i := range b.Len() {
			c.rows++
			c.perDevice[b.Devices[b.Device[i]].ID]++
			c.statuses[b.Status[i]]++
			at := c.head.Clock.Wall(b.Time[i])
			if c.first.IsZero() {
				c.first = at
			}
			c.last = at
		}
	}
	c.end, c.complete = rd.End()
	if c.complete && (c.err != io.EOF || c.end.Rows != int64(c.rows) || !c.end.Clean) {
		t.Errorf("read %d rows, end %+v, %v", c.rows, c.end, c.err)
	}
	return c
}

// layer takes off the zstd layer of a file of that name.
func layer(t testing.TB, r io.Reader, name string) io.Reader {
	if !strings.HasSuffix(name, ".zst") {
		return r
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Error(err)
		return r
	}
	t.Cleanup(z.Close)
	return z
}

func (n *node) read(name string) contents {
	n.t.Helper()
	f, err := os.Open(filepath.Join(n.dir, name))
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	return read(n.t, f)
}

// wantComplete fails the test unless the recording is whole and has as many
// rows of both GPUs.
func (n *node) wantComplete(c contents) {
	n.t.Helper()
	if !c.complete || c.perDevice["GPU-0"] < 2 || c.perDevice["GPU-1"] < 2 {
		n.t.Errorf("complete %v, %v rows, %v", c.complete, c.perDevice, c.err)
	}
}

const summary = `record: \d+ rows of 2 GPUs in [\d.]+m?s, \d+ of \d+ ticks missed, jitter p99 [\d.]+(µs|ms|s), inside the driver .* \([\d.]+ %\), own CPU .* \([\d.]+ %\)\n$`

func TestForATime(t *testing.T) {
	n := newNode(t)
	n.want(n.run("--for", "400ms", "-o", "power.arrows"), 0, "^"+summary)
	c := n.read("power.arrows")
	n.wantComplete(c)
	if c.last.Sub(c.first) > 500*time.Millisecond {
		t.Errorf("recorded for %v", c.last.Sub(c.first))
	}
	h := c.head
	if h.Info.Interval != 20*time.Millisecond || h.Info.SlowInterval != time.Second || h.Info.Driver == "" || h.Clock.BootID == "" ||
		!strings.HasPrefix(h.Producer, "wattrace ") || len(h.Devices) != 2 || !h.Devices[0].Simulated || h.Snapshot.UnixNanos == 0 {
		t.Errorf("%+v", h)
	}
	if c.end.Snapshot.At <= h.Snapshot.At {
		t.Errorf("clocks at the end: %+v", c.end.Snapshot)
	}
	n.want(n.run("--for", "400ms", "-o", "power.arrows"), 1, "^record: power.arrows: exists already\nrecord: hint: --force replaces it\n$")
	n.want(n.run("--for", "100ms", "-q", "-o", "power.arrows", "--force"), 0, "^$")
}

func TestCompressed(t *testing.T) {
	n := newNode(t)
	n.want(n.run("--for", "300ms", "-o", "power.arrows.zst"), 0, summary)
	f, err := os.Open(filepath.Join(n.dir, "power.arrows.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	n.wantComplete(read(t, z))
}

func TestSignalsAreTheNormalEnd(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			n := newNode(t)
			p := n.start("-o", "power.arrows")
			n.waitForFile("power.arrows")
			p.Process.Signal(s)
			n.want(p, 0, summary)
			n.wantComplete(n.read("power.arrows"))
		})
	}
}

// waitForFile waits until a file has content.
func (n *node) waitForFile(name string) int64 { return n.waitForGrowth(name, 0) }

// waitForGrowth waits until a file is longer than size, and returns how long.
func (n *node) waitForGrowth(name string, size int64) int64 {
	n.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if info, err := os.Stat(filepath.Join(n.dir, name)); err == nil && info.Size() > size {
			return info.Size()
		}
	}
	n.t.Fatal(name, " does not grow beyond ", size, " bytes")
	return 0
}

func TestCommandStatus(t *testing.T) {
	check := func(name string, status int, args ...string) {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.want(n.run(append([]string{"--margin", "100ms", "-o", "power.arrows", "--"}, args...)...), status, summary)
			n.wantComplete(n.read("power.arrows"))
		})
	}
	check("success", 0, "true")
	check("failure", 7, "sh", "-c", "exit 7")
	check("killed", 128+9, "sh", "-c", "kill -KILL $$")
	check("flags of its own", 0, "sh", "-c", `[ "$1" = --interval ]`, "sh", "--interval")
}

func TestCommandThatCannotRun(t *testing.T) {
	n := newNode(t)
	n.want(n.run("-o", "power.arrows", "--", "no-such-command"), 127, "^record: no-such-command: executable file not found")
	if err := os.WriteFile(filepath.Join(n.dir, "plain"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	n.want(n.run("-o", "power.arrows", "--", "./plain"), 126, "^record: ./plain: permission denied\n$")
	if _, err := os.Stat(filepath.Join(n.dir, "power.arrows")); err == nil {
		t.Error("a recording of nothing was left")
	}
	// Found, but no program: that shows only when it is started.
	if err := os.WriteFile(filepath.Join(n.dir, "garbage"), []byte("\x7fELFnot really"), 0o777); err != nil {
		t.Fatal(err)
	}
	n.want(n.run("--margin", "50ms", "-o", "power.arrows", "--", "./garbage"), 126, "record: ./garbage: exec format error\n$")
}

// TestMargins compares the command's own clock with the recording's.
func TestMargins(t *testing.T) {
	n := newNode(t)
	const margin = 300 * time.Millisecond
	p := n.run("--margin", margin.String(), "-o", "power.arrows", "--", "sh", "-c", "date +%s%N; sleep 0.1; date +%s%N")
	n.want(p, 0, summary)
	times := strings.Fields(p.stdout.String())
	if len(times) != 2 {
		t.Fatalf("the command printed %q", &p.stdout)
	}
	at := func(s string) time.Time {
		nanos, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.Unix(0, nanos)
	}
	c := n.read("power.arrows")
	n.wantComplete(c)
	if before := at(times[0]).Sub(c.first); before < margin {
		t.Errorf("recorded %v before the command", before)
	}
	// A scan may be missed at the very end, where the machine is busy.
	if after := c.last.Sub(at(times[1])); after < margin/2 {
		t.Errorf("recorded %v after the command", after)
	}
}

// TestRecordingOnStdout keeps the command's output out of the recording.
func TestRecordingOnStdout(t *testing.T) {
	n := newNode(t)
	p := n.command("--margin", "50ms", "--", "sh", "-c", "cat; echo to stdout")
	p.Cmd.Stdin = strings.NewReader("from stdin\n")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	n.want(p, 0, `(?s)from stdin\nto stdout\n.*`+summary)
	n.wantComplete(read(t, &p.stdout))
}

func TestSIGTERMIsPassedOnOnce(t *testing.T) {
	n := newNode(t)
	p := n.start("--margin", "50ms", "-o", "power.arrows", "--", "sh", "-c",
		`trap 'echo got it; exit 5' TERM; echo ready > ready; while :; do sleep 0.02; done`)
	n.waitForFile("ready")
	p.Process.Signal(syscall.SIGTERM)
	n.want(p, 5, summary)
	if p.stdout.String() != "got it\n" {
		t.Errorf("stdout %q", &p.stdout)
	}
	n.wantComplete(n.read("power.arrows"))
}

func TestSecondSIGTERMLeavesTheCommand(t *testing.T) {
	n := newNode(t)
	p := n.command("--margin", "50ms", "-o", "power.arrows", "--", "sh", "-c",
		`trap 'echo > first' TERM; echo $$ > ready; while :; do sleep 0.02; done`)
	p.Cmd.Stdout, p.Cmd.Stderr = nil, nil // else Wait would wait for the command
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	n.waitForFile("ready")
	p.Process.Signal(syscall.SIGTERM)
	n.waitForFile("first")
	p.Process.Signal(syscall.SIGTERM)
	n.want(p, 128+15, "")
	n.wantComplete(n.read("power.arrows"))
	pid, err := os.ReadFile(filepath.Join(n.dir, "ready"))
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(child, 0); err != nil {
		t.Error("the command is gone:", err)
	}
}

// TestSIGINTIsNotPassedOn sends the signal to record alone, and then, as a
// terminal does, to the group.
func TestSIGINTIsNotPassedOn(t *testing.T) {
	n := newNode(t)
	const script = `trap 'echo interrupted >> log' INT; echo >> ready; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.03; done; echo >> log; exit 4`
	p := n.start("--margin", "50ms", "-o", "one.arrows", "--", "sh", "-c", script)
	n.waitForFile("ready")
	p.Process.Signal(syscall.SIGINT)
	n.want(p, 4, summary)
	n.wantComplete(n.read("one.arrows"))
	if log, _ := os.ReadFile(filepath.Join(n.dir, "log")); string(log) != "\n" {
		t.Errorf("the command got a signal: %q", log)
	}

	p = n.start("--margin", "50ms", "-o", "two.arrows", "--", "sh", "-c", "echo >> ready2; exec sleep 20")
	n.waitForFile("ready2")
	syscall.Kill(-p.Process.Pid, syscall.SIGINT)
	n.want(p, 128+2, summary)
	n.wantComplete(n.read("two.arrows"))
}

// TestTerminalIsGone: what the terminal's end leaves of the command is recorded.
func TestTerminalIsGone(t *testing.T) {
	n := newNode(t)
	p := n.start("--margin", "50ms", "-o", "power.arrows", "--control", "s", "--ready", "up", "--", "sh", "-c", "trap '' HUP; echo > ready; sleep 0.3; exit 4")
	n.waitForFile("ready")
	syscall.Kill(-p.Process.Pid, syscall.SIGHUP)
	n.want(p, 4, summary)
	n.wantComplete(n.read("power.arrows"))
	for _, name := range []string{"s", "up"} {
		if _, err := os.Lstat(filepath.Join(n.dir, name)); err == nil {
			t.Errorf("%s was left", name)
		}
	}
}

// TestNobodyReadsTheCommand has what the command wrote wait for a reader that does not
// read: once the command has ended, a signal ends the waiting.
func TestNobodyReadsTheCommand(t *testing.T) {
	n := newNode(t)
	p, r := n.startPiped("--margin", "50ms", "-o", "power.arrows", "--mark", "x=y", "--", "sh", "-c", "echo > ready; exec yes")
	defer r.Close()
	n.waitForFile("ready")
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	for range 50 {
		time.Sleep(200 * time.Millisecond)
		p.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
			n.want(p, 128+15, summary)
			n.wantComplete(n.read("power.arrows"))
			return
		default:
		}
	}
	t.Fatal("record waits for the reader")
}

func TestSignalBeforeTheCommand(t *testing.T) {
	n := newNode(t)
	p := n.start("--margin", "20s", "-o", "power.arrows", "--", "sh", "-c", "echo > ran")
	n.waitForFile("power.arrows")
	p.Process.Signal(syscall.SIGINT)
	n.want(p, 130, "")
	n.wantComplete(n.read("power.arrows"))
	if _, err := os.Stat(filepath.Join(n.dir, "ran")); err == nil {
		t.Error("the command ran")
	}
}

// TestFullDisk has a disk that is full from the start: the command is not
// started for nothing.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	n := newNode(t)
	n.want(n.run("-o", "/dev/full"), 1, "^record: write /dev/full: no space left on device\n$")
	n.want(n.run("--margin", "20s", "-o", "/dev/full", "--", "sh", "-c", "echo > ran"), 1, "^record: write /dev/full: no space left on device\n$")
	if _, err := os.Stat(filepath.Join(n.dir, "ran")); err == nil {
		t.Error("a command was started though nothing could be recorded")
	}
}

// startPiped starts record with a pipe as its standard output.
func (n *node) startPiped(args ...string) (*process, *os.File) {
	n.t.Helper()
	p := n.command(args...)
	r, w, err := os.Pipe()
	if err != nil {
		n.t.Fatal(err)
	}
	p.Cmd.Stdout = w
	if err := p.Start(); err != nil {
		n.t.Fatal(err)
	}
	w.Close()
	return p, r
}

// TestClosedPipe has a reader that has had enough. Alone, record dies of it
// like any filter, without a word.
func TestClosedPipe(t *testing.T) {
	n := newNode(t)
	p, r := n.startPiped()
	r.Close()
	n.want(p, 128+13, "^$")
}

// TestWriteErrorLeavesTheCommand has an output that fails while the command
// runs: it ends by itself, and its own failure counts.
func TestWriteErrorLeavesTheCommand(t *testing.T) {
	check := func(name, script string, status int) {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			p, r := n.startPiped("--margin", "10ms", "--", "sh", "-c", "echo > ready; sleep 1.5; "+script)
			n.waitForFile("ready")
			r.Close()
			n.want(p, status, `(?s)^record: write /dev/stdout: broken pipe\nrecord: .*sh goes on without being recorded\nrecord: the recording is incomplete: write /dev/stdout: broken pipe\n$`)
			if _, err := os.Stat(filepath.Join(n.dir, "done")); err != nil {
				t.Error("the command did not end by itself:", err)
			}
		})
	}
	check("success", "echo > done", 3)
	check("failure", "echo > done; exit 6", 6)
}

// TestLostGPU has a GPU that fails from the second reading on, and one that
// does not.
func TestLostGPU(t *testing.T) {
	n := newNode(t)
	p := n.start("-o", "power.arrows")
	size := n.waitForFile("power.arrows")
	n.state.SetFault(1, sim.CallFields, 15)
	for range 2 { // the second batch from here on was read with the fault
		size = n.waitForGrowth("power.arrows", size)
	}
	p.Process.Signal(syscall.SIGINT)
	n.want(p, 3, `(?s)record: GPU-1: \d+ of \d+ readings failed: energy_joules=GPU_IS_LOST,.*\n$`)
	c := n.read("power.arrows")
	n.wantComplete(c)                                                   // whole as a file: the failed readings are in it
	if len(c.statuses) < 2 || c.statuses[""] < c.perDevice["GPU-0"]-1 { // the first says what is not supported
		t.Errorf("statuses %v of %v", c.statuses, c.perDevice)
	}
}

// TestKilled leaves what was written until then.
func TestKilled(t *testing.T) {
	n := newNode(t)
	for _, name := range []string{"power.arrows", "power.arrows.zst"} {
		p := n.start("-o", name)
		n.waitForFile(name)
		p.Process.Kill()
		p.Wait()
		f, err := os.Open(filepath.Join(n.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(name, ".zst") {
			z, err := zstd.NewReader(f)
			if err != nil {
				t.Fatal(err)
			}
			defer z.Close()
			r = z
		}
		c := read(t, r)
		if c.complete || !errors.Is(c.err, telemetry.ErrTruncated) || c.rows == 0 {
			t.Errorf("%s: %d rows, complete %v, %v", name, c.rows, c.complete, c.err)
		}
	}
}

// TestClocksThatStepBeginAStream counts the streams of four batches.
func TestClocksThatStepBeginAStream(t *testing.T) {
	t.Parallel()
	check := func(every, step time.Duration, want int) {
		t.Helper()
		clock := trace.NewSteadyClock()
		device := sample.Device{ID: "GPU-0"}
		var out bytes.Buffer
		w, err := telemetry.NewWriter(&out, telemetry.Head{Clock: clock.Clock(), Devices: []sample.Device{device}, Snapshot: clock.Snapshot()})
		if err != nil {
			t.Fatal(err)
		}
		r := &recording{sampler: &sample.Sampler{Clock: clock}, every: every, running: make(chan struct{})}
		r.parts = parts{clock: clock, out: &cli.Output{}, w: w, told: clock.Snapshot()}
		r.parts.clocks = func() trace.ClockSnapshot {
			s := clock.Snapshot()
			told := r.parts.told
			s.UnixNanos = told.UnixNanos + int64(s.At-told.At) + int64(step) // set by as much each time
			return s
		}
		for range 4 {
			b := &sample.Batch{Devices: []sample.Device{device}}
			b.Append(0, clock.Now(), 0)
			if err := r.write(b); err != nil {
				t.Fatal(err)
			}
		}
		rd, err := telemetry.NewReader(&out, "x")
		for err == nil {
			err = rd.Read(new(sample.Batch))
		}
		if got := len(rd.Snapshots()); got != want {
			t.Errorf("looked every %v, set by %v: %d streams, want %d", every, step, got, want)
		}
	}
	check(0, time.Minute, 5) // the head's, and one before each batch
	check(0, -time.Minute, 5)
	check(0, 0, 1)
	check(time.Hour, time.Minute, 1)
}

func TestList(t *testing.T) {
	n := newNode(t)
	n.state.SetMPS(0, 1)
	n.state.Set(1, sim.MemoryMilliwatts, 50500)
	n.state.Set(1, sim.TensorPermille, 250)
	n.state.Set(1, sim.GraphicsPermille, 500)
	n.state.Set(1, sim.WorkloadProfiles, 5)
	n.state.SetFault(0, sim.CallClock, 10)
	p := n.run("--list")
	n.want(p, 0, "^$")
	got := regexp.MustCompile(`(energy_joules +J) .*`).ReplaceAllString(p.stdout.String(), "$1 ...")
	want := `INDEX  DEVICE  NAME                     PCI BUS ID        ARCHITECTURE  DRIVER               MIG  MPS  SCOPES
0      GPU-0   wattrace simulated H100  00000000:1B:00.0  hopper        580.00.00-simulated  off  on   gpu
1      GPU-1   wattrace simulated H100  00000000:3B:00.0  hopper        580.00.00-simulated  off  off  gpu,gpu_memory

SCOPE       METRIC                      UNIT  0                1
gpu         power_watts                 W     300              300
gpu         power_instant_watts         W     300              300
gpu         power_average_watts         W     300              300
gpu         energy_joules               J ...
gpu         gpu_utilization             1     0                0
gpu         memory_utilization          1     0                0
gpu         memory_used_bytes           By    0                0
gpu         temperature_celsius         Cel   0                0
gpu         sm_clock_hertz              Hz    TIMEOUT          0
gpu         memory_clock_hertz          Hz    TIMEOUT          0
gpu         power_limit_watts           W     700              700
gpu         clock_event_reasons         -     0x0              0x0
gpu         memory_temperature_celsius  Cel   NOT_SUPPORTED    NOT_SUPPORTED
gpu         power_cap_seconds           s     NOT_SUPPORTED    NOT_SUPPORTED
gpu         software_thermal_seconds    s     NOT_SUPPORTED    NOT_SUPPORTED
gpu         hardware_thermal_seconds    s     NOT_SUPPORTED    NOT_SUPPORTED
gpu         power_brake_seconds         s     NOT_SUPPORTED    NOT_SUPPORTED
gpu         pcie_sent_bytes             By    NOT_SUPPORTED    NOT_SUPPORTED
gpu         pcie_received_bytes         By    NOT_SUPPORTED    NOT_SUPPORTED
gpu         nvlink_sent_bytes           By    NOT_SUPPORTED    NOT_SUPPORTED
gpu         nvlink_received_bytes       By    NOT_SUPPORTED    NOT_SUPPORTED
gpu         ecc_corrected_errors        1     NOT_SUPPORTED    NOT_SUPPORTED
gpu         ecc_uncorrected_errors      1     NOT_SUPPORTED    NOT_SUPPORTED
gpu         graphics_activity           1     NOT_SUPPORTED    0.5
gpu         sm_activity                 1     NOT_SUPPORTED    0
gpu         sm_occupancy                1     NOT_SUPPORTED    0
gpu         tensor_activity             1     NOT_SUPPORTED    0.25
gpu         dram_activity               1     NOT_SUPPORTED    0
gpu         power_smoothing             -     NOT_SUPPORTED    NOT_SUPPORTED
gpu         workload_profiles           -     NOT_SUPPORTED    0x5
gpu         xid_error                   -     when it happens  when it happens
gpu_memory  power_watts                 W     -                50.5
gpu_memory  power_average_watts         W     -                50.5

The power fields of 0, 1, as reduce takes them:
  average: the mean of 1s, every 100ms (measured)
  instant: the mean of 25ms, every 100ms: it sees 25 % of the time (measured)
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	p = n.run("--list", "-o", "list.txt")
	n.want(p, 0, "^$")
	if b, err := os.ReadFile(filepath.Join(n.dir, "list.txt")); err != nil || !strings.HasPrefix(string(b), "INDEX") || p.stdout.Len() > 0 {
		t.Errorf("-o: %v, %q in the file, %q on standard output", err, b, &p.stdout)
	}
}

// TestEvents has an error of a GPU in the middle of a recording.
func TestEvents(t *testing.T) {
	n := newNode(t)
	p := n.start("-o", "power.arrows")
	n.waitForFile("power.arrows")
	n.state.Event(1, 79)
	n.waitForGrowth("power.arrows", n.waitForFile("power.arrows"))
	p.Process.Signal(syscall.SIGINT)
	n.want(p, 0, "2 GPUs in")
	f, err := os.Open(filepath.Join(n.dir, "power.arrows"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rd, err := telemetry.NewReader(f, "power.arrows")
	found := 0
	for b := new(sample.Batch); err == nil; {
		if err = rd.Read(b); err != nil {
			break
		}
		for i := range b.Len() {
			if xid, ok := b.Uint(sample.XIDError, i); ok {
				found++
				if xid != 79 || b.Devices[b.Device[i]].ID != "GPU-1" {
					t.Error(xid, b.Devices[b.Device[i]])
				}
			}
		}
	}
	if found != 1 || err != io.EOF || len(rd.Head().Devices) != 2 {
		t.Error(found, "events", err, rd.Head().Devices)
	}
	// The columns are those of what the GPUs may tell.
	if m := rd.Head().Metrics; len(m) != 13 || m[12] != sample.XIDError {
		t.Error("metrics", m)
	}
}

func TestChosenDevices(t *testing.T) {
	n := newNode(t)
	n.state.Set(1, sim.MemoryMilliwatts, 50500)
	n.want(n.run("--for", "100ms", "--devices", "3b:00.0", "-o", "power.arrows"), 0, "rows of 1 GPU (and 1 other sensor )?in")
	c := n.read("power.arrows")
	if c.perDevice["GPU-1"] < 2 || len(c.perDevice) != 1 || len(c.head.Devices) != 2 || c.head.Devices[1].Scope != sample.ScopeGPUMemory {
		t.Error(c.perDevice, c.head.Devices)
	}
	p := n.command("--list", "--devices", "cuda")
	p.Env = append(p.Env, "CUDA_VISIBLE_DEVICES=GPU-0,-1,1")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	n.want(p, 0, "^$")
	if s := p.stdout.String(); !strings.Contains(s, "GPU-0") || strings.Contains(s, "GPU-1") {
		t.Error(s)
	}
	n.want(n.run("--devices", "2"), 2, `^record: --devices: no GPU is "2"\nrecord: hint: there are 0 GPU-0 00000000:1B:00.0, 1 GPU-1 00000000:3B:00.0\n`)
}

// TestUsage needs no GPU.
func TestUsage(t *testing.T) {
	t.Parallel()
	check := func(status int, want string, args ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if got := Main(t.Context(), args, strings.NewReader(""), &stdout, &stderr); got != status || !strings.HasPrefix(stderr.String(), want) || stdout.Len() != 0 {
			t.Errorf("%q: exit %d, stdout %q, stderr %q; want %d, %q", args, got, &stdout, &stderr, status, want)
		}
	}
	check(2, "record: record takes no operand\nrecord: hint: a command to run goes after --\n", "ls")
	check(2, "record: no command after --\n", "--")
	check(2, "record: --interval 0s: want at least 1ms\n", "--interval", "0s")
	check(2, "record: --slow-interval 10ms: want at least the interval, 50ms\n", "--slow-interval", "10ms")
	check(2, "record: --for -1s: want a positive time\n", "--for", "-1s")
	check(2, "record: --for 0s: want a positive time\n", "--for", "0")
	check(2, "record: --for and a command exclude each other", "--for", "1s", "--", "true")
	check(2, "record: --margin -1s: want no negative time\n", "--margin", "-1s")
	check(2, "record: --source \"nvlm\": no such source\nrecord: hint: ", "--source", "nvlm")
	check(2, "record: --source nvml:1: nvml takes no argument\n", "--source", "nvml:1")
	check(2, "record: --source nvml stands twice\n", "--source", "nvml", "--source", "nvml")
	check(2, "record: --devices is of --source nvml, which is not recorded\n", "--devices", "0", "--source", "other")
	check(2, "record: --list runs no command\n", "--list", "--", "true")
	check(2, "record: --load and --format are of --characterise\n", "--load", "true")
	check(2, "record: --characterise takes no command after --\nrecord: hint: ", "--characterise", "--", "true")
	check(2, "record: --list and --characterise exclude each other\n", "--characterise", "--list")
	check(2, "record: --for 9s: --characterise wants at least 10s\n", "--characterise", "--for", "9s")
	check(2, "record: --format \"json\": want yaml or text\n", "--characterise", "--format", "json")
	check(2, "record: --mark \"p=\\xff\": is not UTF-8\n", "--mark", "p=\xff", "--", "true")
	check(2, "record: -o there/: names a directory, no file\n", "--rotate", "1s", "-o", "there/")
	check(2, "record: unknown flag --intervall\nrecord: hint: did you mean --interval?\n", "--intervall", "1s")
	check(127, "record: no-such-command: ", "--", "no-such-command")
}

func TestNoLibrary(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	code := Main(t.Context(), []string{"--nvml-library", "/nonexistent/libnvidia-ml.so.1"}, strings.NewReader(""), &stdout, &stderr)
	if code != 1 || stdout.Len() != 0 {
		t.Errorf("exit %d, stdout %q", code, &stdout)
	}
	want := "record: cannot load the NVML library: /nonexistent/libnvidia-ml.so.1: cannot open shared object file: No such file or directory\n" +
		"record: hint: without --nvml-library the driver's own libnvidia-ml.so.1 is loaded\n"
	if sampletest.Unusable() != "" {
		want = "record: this program was built without NVML, which needs Linux and cgo\n"
	}
	if stderr.String() != want {
		t.Errorf("stderr %q, want %q", &stderr, want)
	}
}

func TestDriverNotLoaded(t *testing.T) {
	n := newNode(t)
	p := n.command("--list")
	p.Env = append(p.Env, sampletest.StateVariable+"=/nonexistent")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	n.want(p, 1, "^record: NVML: nvmlInit: DRIVER_NOT_LOADED\nrecord: hint: load the NVIDIA kernel driver: nvidia-smi must work\n$")
}
