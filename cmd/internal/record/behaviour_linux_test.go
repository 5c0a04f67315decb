package record

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/trace"
)

// marksOf returns the marks of a recording, and how long each is known to.
func marksOf(t *testing.T, path string) (marks []string, took []time.Duration) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rd, err := telemetry.NewReader(f, path)
	if err != nil {
		t.Fatal(err)
	}
	b := new(sample.Batch)
	for err = rd.Read(b); err == nil; err = rd.Read(b) {
		for i := range b.Len() {
			if m := b.MarkOf(i); m.Event != "" {
				marks = append(marks, string(m.Event)+" "+m.Phase)
				took = append(took, b.Took[i])
			}
		}
	}
	if err != io.EOF {
		t.Error(err)
	}
	return marks, took
}

// TestMarks has a command that says what it does, on both of its outputs, with
// progress bars between.
func TestMarks(t *testing.T) {
	n := newNode(t)
	script := `echo starting; printf 'warming up 1\rwarming up 2\rBENCH begins\n' >&2; printf 'BENCH ends=1\n'; echo 'BENCH begins'; exit 7`
	p := n.run("--margin", "50ms", "-o", "power.arrows", "--mark", "^warming up=warmup", "--mark", "begins=load at 64", "--mark", "ends=1=", "--", "sh", "-c", script)
	n.want(p, 7, `warming up 2\rBENCH begins\n`+summary)
	if p.stdout.String() != "starting\nBENCH ends=1\nBENCH begins\n" {
		t.Errorf("stdout %q", &p.stdout)
	}
	marks, took := marksOf(t, filepath.Join(n.dir, "power.arrows"))
	// The two outputs are pipes of their own: what is on one may be seen before
	// what was written on the other earlier.
	count := map[string]int{}
	for _, m := range marks {
		count[m]++
	}
	want := map[string]int{"start warmup": 2, "end warmup": 2, "start load at 64": 2, "end load at 64": 2}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Error(marks, diff)
	}
	for i, d := range took {
		if d < 0 || d > time.Second {
			t.Errorf("mark %d is known to %v", i, d)
		}
	}
	if last := marks[len(marks)-1]; !strings.HasPrefix(last, "end ") {
		t.Errorf("the last mark is %q: the command's end ends its phase", last)
	}
	// A command whose reader has gone is told so, as without record.
	p = n.command("--margin", "0s", "-o", "gone.arrows", "--mark", "x=y", "--", "sh", "-c", `trap '' PIPE; while echo line; do :; done; exit 9`)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Cmd.Stdout = w
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	r.Read(make([]byte, 10))
	r.Close()
	n.want(p, 9, summary)
}

// TestWatchedLines has lines in pieces, of any length, and without an end.
func TestWatchedLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pieces []string
		want   string
	}{
		{[]string{"be", "gin a\nno\nend\n"}, "start A, end A"},
		{[]string{"\r\nbegin a\r\nbegin b"}, "start A, end A, start B"},
		{[]string{"x begin a\n"}, ""},
		{[]string{"begin a b\n"}, "start A"}, // the first rule that matches
		{[]string{"end\n"}, ""},
		{[]string{"begin a" + strings.Repeat("x", 2*maxLine), "y\nend\n"}, "start A, end A"},
		{[]string{strings.Repeat("x", maxLine) + "begin a\n"}, ""},
	} {
		rules, err := newRules([]string{"^begin a=A", "^begin .*b$=B", "^end="})
		if err != nil {
			t.Fatal(err)
		}
		var inbox sample.Inbox
		w := &watch{out: io.Discard, marker: &marker{clock: trace.NewSteadyClock(), inbox: &inbox}, rules: rules}
		readers := make([]io.Reader, len(c.pieces))
		for i, p := range c.pieces {
			readers[i] = strings.NewReader(p)
		}
		w.pass(io.MultiReader(readers...))
		b := inbox.Collect()
		var got []string
		for i := range b.Len() {
			got = append(got, string(b.MarkOf(i).Event)+" "+b.MarkOf(i).Phase)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%.40q: %v, want %s", c.pieces, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path    string
		rotates bool
		want    string // of file 7, or the error
	}{
		{"power.arrows", false, "power.arrows"},
		{"power.%h.arrows", false, "power.node1.arrows"},
		{"100%%/%h%h", false, "100%/node1node1"},
		{"a.b/power.%h.arrows.zst", true, "a.b/power.node1.00007.arrows.zst"},
		{"power", true, "power.00007"},
		{".arrows", true, ".arrows.00007"},
		{"", false, "-"},
		{"-", true, "--rotate needs -o FILE: standard output cannot be closed and opened anew"},
		{"power.%n.arrows", true, "-o power.%n.arrows: a % must be followed by h or %"},
		{"power%", false, "-o power%: a % must be followed by h or %"},
	} {
		n, err := newNames(c.path, "node1", c.rotates)
		got := n.path(7)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.path, got, c.want)
		}
	}
}

// TestRotate has files of a second each: every one is whole, and together they
// hold every row once.
func TestRotate(t *testing.T) {
	n := newNode(t)
	p := n.run("--for", "3200ms", "--rotate", "1s", "-o", "power[1].arrows")
	n.want(p, 0, summary)
	files, err := filepath.Glob(filepath.Join(n.dir, "power\\[1\\].*.arrows"))
	if err != nil || len(files) < 2 || !strings.HasSuffix(files[0], "power[1].00000.arrows") {
		t.Fatal(files, err)
	}
	rows, ticks := 0, int64(0)
	var last time.Time
	for _, name := range files {
		c := n.read(filepath.Base(name))
		if !c.complete || c.first.Before(last) || len(c.end.Units) != 2 || c.end.Units[0].Ticks+c.end.Units[1].Ticks != c.end.Ticks {
			t.Errorf("%s: complete %v, from %v after %v, end %+v", name, c.complete, c.first, last, c.end)
		}
		rows, ticks, last = rows+c.rows, ticks+c.end.Ticks, c.last
	}
	var said, missed, due int
	if _, err := fmt.Sscanf(p.stderr.String(), "record: %d rows", &said); err != nil || said != rows {
		t.Errorf("%d rows in the files: %s", rows, &p.stderr)
	}
	if m := regexp.MustCompile(`(\d+) of (\d+) ticks missed`).FindStringSubmatch(p.stderr.String()); m != nil {
		missed, _ = strconv.Atoi(m[1])
		due, _ = strconv.Atoi(m[2])
	}
	if int64(due-missed) != ticks {
		t.Errorf("%d ticks in the files: %s", ticks, &p.stderr)
	}
	n.want(n.run("--for", "100ms", "--rotate", "1s", "-o", "power[1].arrows"), 1, `power\[1\].00000.arrows: exists already`)
	os.Remove(files[0])
	n.want(n.run("--for", "100ms", "--rotate", "1s", "-o", "power[1].arrows"), 1, `power\[1\].00001.arrows: exists already`)
	n.want(n.run("--for", "100ms", "--rotate", "1s", "-o", "power[1].arrows", "--force", "-q"), 0, `^$`)
}

// TestControl talks to a running recorder.
func TestControl(t *testing.T) {
	n := newNode(t)
	socket := filepath.Join(n.dir, "s")
	l, err := net.Listen("unix", socket) // of a recorder that was killed
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	p := n.start("-o", "power.arrows", "--control", "s", "--ready", "up", "--slow-interval", "1h")
	n.waitForFile("up")
	if pid, _ := os.ReadFile(filepath.Join(n.dir, "up")); string(pid) != fmt.Sprintln(p.Process.Pid) {
		t.Errorf("the ready file says %q", pid)
	}
	n.want(n.run("--for", "1s", "--control", "s", "-o", "other.arrows"), 1, "record: --control s: another program listens there\n")
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewScanner(conn)
	ask := func(line, want string) {
		t.Helper()
		fmt.Fprintln(conn, line)
		if !answers.Scan() || !regexp.MustCompile("^"+want+"$").MatchString(answers.Text()) {
			t.Errorf("%q: %q, want %s", line, answers.Text(), want)
		}
	}
	ask("start decode", `ok \d{19}`)
	ask("start prefill", `ok \d{19}`)
	ask("status", `\{"rows":\d+,"ticks":\d+,"missed":\d+,"seconds":[\d.]+,"devices":2,"watts":[\d.]+,"joules":[\d.]+,"phase":"prefill"\}`)
	ask("note half time", `ok \d{19}`)
	ask("sample", `ok \d{19}`)
	ask("end", `ok \d{19}`)
	ask("end", "error: no phase has begun")
	ask("start", "error: start what.")
	ask("sample 3", "error: sample takes no argument")
	ask("stop", "error: want sample, start PHASE, end, note TEXT or status")
	p.Process.Signal(syscall.SIGTERM) // while the session is open
	n.want(p, 0, summary)
	marks, _ := marksOf(t, filepath.Join(n.dir, "power.arrows"))
	if diff := cmp.Diff([]string{"start decode", "end decode", "start prefill", "note half time", "end prefill"}, marks); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"s", "up"} {
		if _, err := os.Lstat(filepath.Join(n.dir, name)); err == nil {
			t.Errorf("%s is left", name)
		}
	}
	if err := os.WriteFile(socket, []byte("precious"), 0o666); err != nil {
		t.Fatal(err)
	}
	n.want(n.run("--for", "1s", "--control", "s", "-o", "other.arrows", "--force"), 1, "record: --control s: exists already and is no socket\n")
	n.want(n.run("--for", "1s", "--control", "none/s", "-o", "unborn.arrows"), 1, "record: --control none/s: .*no such file or directory\n")
	n.want(n.run("--for", "1s", "--control", strings.Repeat("s", 200), "-o", "unborn.arrows"), 1, "the path has 200 bytes, and that of a socket at most 107\nrecord: hint: ")
	if _, err := os.Stat(filepath.Join(n.dir, "unborn.arrows")); err == nil {
		t.Error("a recording without its socket was begun: it is in the way of the next")
	}
}

// lateListener has its only connection when it is closed.
type lateListener struct {
	net.Listener
	conn   net.Conn
	closed chan struct{} // as close begins
	done   chan struct{} // when it has ended all the sessions that it knows
}

func (l *lateListener) Accept() (net.Conn, error) {
	<-l.closed
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	conn := l.conn
	l.conn = nil
	<-l.done
	return conn, nil
}

func (l *lateListener) Close() error {
	close(l.closed)
	return nil
}

// TestControlLateSession has a session begin as the recording ends: nobody waits for it.
func TestControlLateSession(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	l := &lateListener{conn: ours, closed: make(chan struct{}), done: make(chan struct{})}
	c := serveControl(l, nil, nil)
	done := make(chan struct{})
	go func() { c.close(); close(done) }()
	waitFor(t, "end of the known sessions", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.closed
	})
	close(l.done)
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("record waits for a session")
	}
}

// TestReadyFile has the file of --ready cost no other file, and none that a killed
// record left be taken for a recording that runs.
func TestReadyFile(t *testing.T) {
	n := newNode(t)
	path := func(name string) string { return filepath.Join(n.dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(path(name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"precious", "", "1 file", strings.Repeat("1", 100) + "\n"} {
		write("up", text)
		n.want(n.run("--for", "100ms", "--ready", "up", "-o", "p.arrows"), 1, "record: --ready up: exists already and is none of record's\nrecord: hint: .*\n")
		if b, _ := os.ReadFile(path("up")); string(b) != text {
			t.Errorf("%q became %q", text, b)
		}
	}
	n.want(n.run("--for", "100ms", "--ready", ".", "-o", "p.arrows"), 1, "record: --ready .: exists already and is none of record's\nrecord: hint: .*\n")
	n.want(n.run("--for", "100ms", "--ready", "none/up", "-o", "p.arrows"), 1, "record: --ready none/up: .*no such file or directory\n")
	n.want(n.run("--for", "100ms", "--ready", "./p.arrows", "-o", "p.arrows"), 2, "record: --ready ./p.arrows is what -o names, too\n.*\n")
	n.want(n.run("--for", "100ms", "--ready", "s", "--control", "s", "-o", "p.arrows"), 2, "record: --ready s is what --control names, too\n.*\n")
	if _, err := os.Stat(path("p.arrows")); err == nil {
		t.Error("a recording was begun")
	}
	write("up", "4194304\n")
	p := n.start("--margin", "1s", "--ready", "up", "-o", "p.arrows", "--", "cat", "up")
	n.want(p, 0, summary)
	if got := p.stdout.String(); got != fmt.Sprintln(p.Process.Pid) {
		t.Errorf("the ready file says %q", got)
	}
}

// slowRows counts the rows that have slow metrics.
func slowRows(t *testing.T, path string) (slow int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rd, err := telemetry.NewReader(f, path)
	if err != nil {
		t.Fatal(err)
	}
	b := new(sample.Batch)
	for rd.Read(b) == nil {
		for i := range b.Len() {
			if _, ok := b.Float(sample.TemperatureCelsius, i); ok {
				slow++
			}
		}
	}
	return slow
}

// TestSIGUSR1 has both devices read in full between the first reading and the
// last, which are.
func TestSIGUSR1(t *testing.T) {
	n := newNode(t)
	p := n.start("-o", "power.arrows", "--ready", "up", "--slow-interval", "1h")
	n.waitForFile("up")
	power := filepath.Join(n.dir, "power.arrows")
	if slow := slowRows(t, power); slow != 2 {
		t.Errorf("%d rows with slow metrics at first", slow)
	}
	p.Process.Signal(syscall.SIGUSR1)
	waitFor(t, "full reading", func() bool { return slowRows(t, power) == 4 })
	p.Process.Signal(syscall.SIGTERM)
	n.want(p, 0, summary)
	if slow := slowRows(t, power); slow != 6 {
		t.Errorf("%d rows with slow metrics", slow)
	}
}

// TestSystemd listens where systemd does.
func TestSystemd(t *testing.T) {
	n := newNode(t)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(n.dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	p := n.command("-o", "power.arrows")
	p.Env = append(p.Env, "NOTIFY_SOCKET="+filepath.Join(n.dir, "notify"), "WATCHDOG_USEC=600000")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-p.Process.Pid, syscall.SIGKILL) })
	next := func() string {
		socket.SetReadDeadline(time.Now().Add(20 * time.Second))
		b := make([]byte, 100)
		k, err := socket.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:k])
	}
	if got := next(); got != "READY=1" {
		t.Error(got)
	}
	for range 2 {
		if got := next(); got != "WATCHDOG=1" {
			t.Error(got)
		}
	}
	p.Process.Signal(syscall.SIGTERM)
	for got := next(); got != "STOPPING=1"; got = next() {
		if got != "WATCHDOG=1" {
			t.Fatal(got)
		}
	}
	n.want(p, 0, summary)
}

// tinyDisk mounts a disk of so many bytes, where that is allowed.
func tinyDisk(t *testing.T, size int) string {
	t.Helper()
	return mountDisk(t, fmt.Sprintf("size=%d", size))
}

func mountDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skip("no disk of its own for this test: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill leaves so many bytes of a disk.
func fill(t *testing.T, path string, left int64) {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &s); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, int64(s.Bavail)*s.Bsize-left), 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestDiskFillsAndIsFreed has a disk of 4 MB that fills while record runs, and
// is freed: nothing is lost.
func TestDiskFillsAndIsFreed(t *testing.T) {
	n := newNode(t)
	dir := tinyDisk(t, 4<<20)
	ballast, path := filepath.Join(dir, "ballast"), filepath.Join(dir, "power.arrows")
	fill(t, ballast, 32<<10)
	p := n.command("-o", path, "--interval", "5ms", "--control", "s")
	var said syncBuffer
	p.Cmd.Stderr = &said
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-p.Process.Pid, syscall.SIGKILL) })
	waitFor(t, "a full disk", func() bool { return strings.Contains(said.String(), "no space left on device") })
	full := rowsSoFar(t, filepath.Join(n.dir, "s"))
	waitFor(t, "more rows", func() bool { return rowsSoFar(t, filepath.Join(n.dir, "s")) > full }) // as the disk stays full
	os.Remove(ballast)
	waitFor(t, "space", func() bool { return strings.Contains(said.String(), "there is space again") })
	p.Process.Signal(syscall.SIGTERM)
	p.Wait()
	p.stderr.WriteString(said.String())
	n.want(p, 0, summary)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c := read(t, f); !c.complete || !strings.Contains(said.String(), fmt.Sprintf("record: %d rows", c.rows)) {
		t.Errorf("%d rows, complete %v, %v\n%s", c.rows, c.complete, c.err, &said)
	}
}

// rowsSoFar asks a recorder how many rows it has handed on to be written.
func rowsSoFar(t *testing.T, socket string) (rows int) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, "status")
	if _, err := fmt.Fscanf(conn, `{"rows":%d,`, &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestDiskStaysFull has one that is not freed: record goes on, and says at the
// end what is missing.
func TestDiskStaysFull(t *testing.T) {
	n := newNode(t)
	dir := tinyDisk(t, 1<<20)
	fill(t, filepath.Join(dir, "ballast"), 16<<10)
	path := filepath.Join(dir, "power.arrows")
	p := n.run("-o", path, "--interval", "5ms", "--for", "2500ms")
	n.want(p, 1, `power.arrows: no space left on device: up to 64 MiB wait in memory for it\nrecord: write .*: no space left on device`)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c := read(t, f); c.complete || !errors.Is(c.err, telemetry.ErrTruncated) || c.rows == 0 {
		t.Errorf("%d rows, complete %v, %v", c.rows, c.complete, c.err)
	}
}

// TestNoRoomForAnotherFile has a disk that takes two files, and a recording of more.
func TestNoRoomForAnotherFile(t *testing.T) {
	n := newNode(t)
	dir := mountDisk(t, "size=4m,nr_inodes=3") // one is the directory's
	p := n.run("--rotate", "1s", "--for", "5s", "-o", filepath.Join(dir, "power.arrows"))
	n.want(p, 0, summary)
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	rows := 0
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		c := read(t, f)
		f.Close()
		if !c.complete {
			t.Errorf("%s: %v", name, c.err)
		}
		rows += c.rows
	}
	if len(files) != 2 || !strings.Contains(p.stderr.String(), fmt.Sprintf("record: %d rows", rows)) {
		t.Errorf("%d rows in %v\n%s", rows, files, &p.stderr)
	}
}

// TestHole has a disk that stays full for longer than memory lasts.
func TestHole(t *testing.T) {
	t.Parallel()
	dir := tinyDisk(t, 256<<10)
	ballast, path := filepath.Join(dir, "ballast"), filepath.Join(dir, "power.arrows")
	fill(t, ballast, 16<<10)
	device := sample.Device{ID: "GPU-0", Source: sample.NVML, Scope: sample.ScopeGPU}
	clock := trace.NewSteadyClock()
	var told []bool
	code := cli.Main(t.Context(), cli.Tool{Name: "record", Output: true, Action: func(_ context.Context, env *cli.Env, _ *ucli.Context) error {
		p := &parts{
			env: env, names: names{pattern: path}, clock: clock, clocks: clock.Snapshot, stats: func() sample.Stats { return sample.Stats{} },
			head: telemetry.Head{Clock: clock.Clock(), Devices: []sample.Device{device}}, patience: 20 << 10,
			full: func(full bool) { told = append(told, full) },
		}
		if err := p.open(); err != nil {
			return err
		}
		for k := range 100 {
			if k == 80 {
				os.Remove(ballast)
			}
			b := &sample.Batch{Devices: []sample.Device{device}}
			for i := range 10 {
				b.Append(0, trace.Time(1000*k+i), 1).Set(sample.PowerWatts, 300)
			}
			if err := p.write(b); err != nil {
				return err
			}
		}
		return p.end(true)
	}}, []string{"-o", path}, nil, io.Discard, os.Stderr)
	if code != 0 || fmt.Sprint(told) != "[true false]" {
		t.Fatal(code, told)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rd, err := telemetry.NewReader(f, path)
	if err != nil {
		t.Fatal(err)
	}
	var times []trace.Time
	b := new(sample.Batch)
	for err = rd.Read(b); err == nil; err = rd.Read(b) {
		times = append(times, b.Time...)
	}
	end, ok := rd.End()
	holes := rd.Holes()
	if err != io.EOF || !ok || len(holes) != 1 || !slices.IsSorted(times) {
		t.Fatal(err, ok, holes)
	}
	h := holes[0]
	if h.Rows == 0 || end.Lost != h.Rows || int64(len(times))+h.Rows != 1000 || h.Reason != "no space left on device" || h.To >= 80000 || !end.Clean {
		t.Errorf("hole %+v, end %+v, %d rows", h, end, len(times))
	}
	for _, at := range times {
		if at >= h.From && at <= h.To {
			t.Fatalf("a row at %v is in the hole %+v", at, h)
		}
	}
}

// kills is how many runs are killed: make kills has 200.
func kills(t *testing.T) int {
	if s := os.Getenv("WATTRACE_KILLS"); s != "" {
		k, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	return 12
}

// TestKilledAtRandom kills runs at random instants, on a file, a compressed file
// and a pipe. What is left can be read, is never called complete, and lacks at
// most the last second.
func TestKilledAtRandom(t *testing.T) {
	n := newNode(t)
	var all sync.WaitGroup
	slots := make(chan struct{}, 8)
	for k := range kills(t) {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			name := []string{"file", "file.zst", "pipe"}[k%3] + strconv.Itoa(k)
			if k%3 == 1 {
				name = strconv.Itoa(k) + ".zst"
			}
			path := filepath.Join(n.dir, name)
			p := n.command("-q", "--interval", "10ms")
			copied := make(chan struct{}) // all that a pipe had
			if k%3 == 2 {
				f, err := os.Create(path)
				if err != nil {
					t.Error(err)
					return
				}
				defer f.Close()
				r, w, err := os.Pipe()
				if err != nil {
					t.Error(err)
					return
				}
				p.Cmd.Stdout = w
				go func() { io.Copy(f, r); r.Close(); close(copied) }()
				defer w.Close()
			} else {
				close(copied)
				p.Args = append(p.Args, "-o", name)
			}
			if err := p.Start(); err != nil {
				t.Error(err)
				return
			}
			waitFor(t, "the first byte", func() bool {
				if k%3 == 2 {
					return true
				}
				info, err := os.Stat(path)
				return err == nil && info.Size() > 0
			})
			time.Sleep(time.Duration(rand.Int64N(int64(2500 * time.Millisecond))))
			p.Process.Kill()
			killed := time.Now()
			p.Wait()
			if w, ok := p.Cmd.Stdout.(*os.File); ok {
				w.Close()
			}
			<-copied
			b, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
				return
			}
			checkKilled(t, name, b, killed)
		})
	}
	all.Wait()
}

func checkKilled(t *testing.T, name string, b []byte, killed time.Time) {
	if len(b) == 0 {
		return // killed before the first reading
	}
	rd, err := telemetry.NewReader(layer(t, bytes.NewReader(b), name), name)
	if err != nil {
		if !errors.Is(err, telemetry.ErrTruncated) {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	var last trace.Time
	batch := new(sample.Batch)
	for err = rd.Read(batch); err == nil; err = rd.Read(batch) {
		last = slices.Max(batch.Time)
	}
	_, complete := rd.End()
	if complete || !errors.Is(err, telemetry.ErrTruncated) {
		t.Errorf("%s: complete %v, %v", name, complete, err)
	}
	// A second between batches; what a busy machine adds is not the recorder's.
	if lost := killed.Sub(rd.Head().Clock.Wall(last)); lost > 1500*time.Millisecond {
		t.Logf("%s: the last row is %v before the kill", name, lost)
		if lost > 4*time.Second {
			t.Errorf("%s: the last row is %v before the kill", name, lost)
		}
	}
}

// syncBuffer is a buffer that may be read while a process writes to it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// waitFor waits for a condition, a minute at most.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("no %s within a minute", what)
			return
		}
	}
}
