//go:build unix

package replay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"wattrace/formats/requests"
	"wattrace/replay/selftest"
	"wattrace/trace"
)

// TestBenchReplay is make bench-replay: replay beside other load generators, each
// on one core against the server of --selftest on another; medians of rounds in
// which all take turns. It fails on no figure. WATTRACE_BENCH_REPLAY is the
// program, WATTRACE_BENCH_PEERS a directory in which others may be.
func TestBenchReplay(t *testing.T) {
	program := os.Getenv("WATTRACE_BENCH_REPLAY")
	if program == "" {
		t.Skip("make bench-replay runs it")
	}
	b := &bench{t: t, program: program, peers: os.Getenv("WATTRACE_BENCH_PEERS"), dir: t.TempDir(), figures: map[string][]float64{}}
	if _, err := exec.LookPath("taskset"); err == nil && runtime.NumCPU() > 1 {
		b.serverCore, b.clientCore = []string{"taskset", "-c", "0"}, []string{"taskset", "-c", "1"}
	} else {
		t.Log("no taskset, or one processor: client and server share what there is")
	}
	b.serve()
	const rounds = 3
	for range rounds {
		b.plain()
		b.paced()
		b.few()
		b.coalesced()
		b.lateness()
	}
	b.memory()
	b.print()
}

type bench struct {
	t                      *testing.T
	program, peers, dir    string
	serverCore, clientCore []string // commands before the command
	url                    string
	names                  []string
	figures                map[string][]float64
	absent                 map[string]bool
}

// note keeps a figure of a round.
func (b *bench) note(name string, v float64) {
	if _, ok := b.figures[name]; !ok {
		b.names = append(b.names, name)
	}
	b.figures[name] = append(b.figures[name], v)
}

func (b *bench) median(name string) float64 {
	all := slices.Sorted(slices.Values(b.figures[name]))
	if len(all) == 0 {
		return math.NaN()
	}
	return all[len(all)/2]
}

func (b *bench) serve() {
	cmd := exec.Command(b.program, "--"+serverFlag)
	if len(b.serverCore) > 0 {
		cmd = exec.Command(b.serverCore[0], append(b.serverCore[1:], cmd.Args...)...)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { in.Close(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.t.Fatal(err)
	}
	b.url = "http://" + strings.TrimSpace(line)
}

// find returns a peer's program; "" where it is not here.
func (b *bench) find(name string) string {
	if path := filepath.Join(b.peers, name); b.peers != "" {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, err := exec.LookPath(filepath.Base(name))
	if err != nil || filepath.Base(name) == "python" {
		if b.absent == nil {
			b.absent = map[string]bool{}
		}
		if !b.absent[name] {
			b.absent[name] = true
			b.t.Logf("%s: not here", name)
		}
		return ""
	}
	return path
}

// client runs a command on the client's core, and returns its output and what it and
// its children used.
func (b *bench) client(args ...string) (stdout string, cpu time.Duration, rssKB int64) {
	b.t.Helper()
	stdout, cpu, rssKB, err := b.try(args...)
	if err != nil {
		b.t.Fatal(err)
	}
	return stdout, cpu, rssKB
}

// try is client for a command that may fail, or hang.
func (b *bench) try(args ...string) (stdout string, cpu time.Duration, rssKB int64, err error) {
	args = append(slices.Clone(b.clientCore), args...)
	ctx, cancel := context.WithTimeout(b.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		return "", 0, 0, err
	}
	over := make(chan struct{})
	most := make(chan int64)
	go func() { most <- mostMemory(cmd.Process.Pid, over) }()
	err = cmd.Wait()
	close(over)
	rssKB = <-most
	if err != nil {
		err = fmt.Errorf("%v: %w\n%s", args, err, errs.String())
	}
	return out.String(), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), rssKB, err
}

// mostMemory returns the most that a process had resident, in KB. getrusage(2)
// would count this process as well, which it was forked from.
func mostMemory(pid int, over <-chan struct{}) (kb int64) {
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
			if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
				fmt.Sscan(after, &kb)
			}
		}
		select {
		case <-tick.C:
		case <-over:
			return kb
		}
	}
}

// body writes a body to a file that is a trace of one line as well.
func (b *bench) body(l selftest.Load) string {
	path := filepath.Join(b.dir, fmt.Sprintf("%d-%d-%d.jsonl", l.Chunks, l.Gap, l.Size))
	if err := os.WriteFile(path, append(l.Body(), '\n'), 0o666); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// result is a log of replay, read.
type result struct {
	requests []trace.Request
	epoch    int64
	cpu      time.Duration
	rssKB    int64
}

func (b *bench) replay(l selftest.Load, flags ...string) (r result) {
	b.t.Helper()
	log := filepath.Join(b.dir, "log.jsonl")
	args := append([]string{b.program, "--url", b.url, "-q", "--force", "-o", log}, flags...)
	_, r.cpu, r.rssKB = b.client(append(args, b.body(l))...)
	f, err := os.Open(log)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	rd := requests.NewReader(f, log)
	for {
		var rec requests.Record
		err := rd.Read(&rec)
		if err == io.EOF {
			return r
		}
		if err != nil {
			b.t.Fatal(err)
		}
		switch rec.Type {
		case requests.TypeRun:
			r.epoch = selftest.Epoch(rec.Run.Clock)
		case requests.TypeRequest:
			q := rec.Request
			q.Chunks, q.Usage = slices.Clone(q.Chunks), slices.Clone(q.Usage)
			r.requests = append(r.requests, q)
		}
	}
}

// seconds returns how long the requests took.
func (r *result) seconds() float64 {
	first, last := r.requests[0].Sent, trace.Time(0)
	for i := range r.requests {
		first, last = min(first, r.requests[i].Sent), max(last, r.requests[i].Done)
	}
	return last.Sub(first).Seconds()
}

// plain is 64 connections, each with one request of 4 KB after another.
func (b *bench) plain() {
	load := selftest.Load{Size: 4 << 10}
	body := b.body(load)
	url := b.url + "/v1/chat/completions"
	tell := func(who string, n, seconds float64, cpu time.Duration) {
		b.note("plain: requests/s, "+who, n/seconds)
		b.note("plain: us of CPU per request, "+who, cpu.Seconds()*1e6/n)
	}
	r := b.replay(load, "--concurrency", "64", "--duration", "2s")
	tell("replay", float64(len(r.requests)), r.seconds(), r.cpu)
	if vegeta := b.find("vegeta"); vegeta != "" {
		targets, results := filepath.Join(b.dir, "targets"), filepath.Join(b.dir, "results")
		if err := os.WriteFile(targets, []byte("POST "+url+"\n"), 0o666); err != nil {
			b.t.Fatal(err)
		}
		_, cpu, _ := b.client(vegeta, "attack", "-rate", "0", "-workers", "64", "-max-workers", "64", "-duration", "2s", "-body", body, "-targets", targets, "-output", results)
		out, err := exec.Command(vegeta, "report", "-type", "json", results).Output()
		var rep struct{ Requests, Throughput float64 }
		if err == nil {
			err = json.Unmarshal(out, &rep)
		}
		if err != nil {
			b.t.Fatal(err)
		}
		tell("vegeta", rep.Requests, rep.Requests/rep.Throughput, cpu)
	}
	parse := func(out, pattern string) float64 {
		m := regexp.MustCompile(pattern).FindStringSubmatch(out)
		if m == nil {
			b.t.Fatalf("no %s in %s", pattern, out)
		}
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			b.t.Fatal(err)
		}
		return v
	}
	if hey := b.find("hey"); hey != "" {
		out, cpu, _ := b.client(hey, "-z", "2s", "-c", "64", "-m", "POST", "-T", "application/json", "-D", body, url)
		rate, total := parse(out, `Requests/sec:\s+([\d.]+)`), parse(out, `Total:\s+([\d.]+) secs`)
		tell("hey", rate*total, total, cpu)
	}
	if wrk := b.find("wrk"); wrk != "" {
		script := filepath.Join(b.dir, "post.lua")
		lua := fmt.Sprintf("wrk.method = \"POST\"\nlocal f = io.open(%q, \"rb\")\nwrk.body = f:read(\"*a\")\nf:close()\n", body)
		if err := os.WriteFile(script, []byte(lua), 0o666); err != nil {
			b.t.Fatal(err)
		}
		out, cpu, _ := b.client(wrk, "-t", "1", "-c", "64", "-d", "2s", "-s", script, url)
		n := parse(out, `(\d+) requests in`)
		tell("wrk", n, n/parse(out, `Requests/sec:\s+([\d.]+)`), cpu)
	}
}

// paced is 500 streams of 50 chunks/s, each chunk by itself.
func (b *bench) paced() {
	load := selftest.Load{Chunks: 100, Gap: 20 * time.Millisecond}
	tell := func(who string, chunks float64, p50, p99, cpu time.Duration) {
		b.note("paced: us of CPU per chunk, "+who, cpu.Seconds()*1e6/chunks)
		b.note("paced: us of stamp lag p50, "+who, p50.Seconds()*1e6)
		b.note("paced: us of stamp lag p99, "+who, p99.Seconds()*1e6)
	}
	for _, flags := range [][]string{nil, {"--kernel-timestamps"}} {
		who := "replay"
		if flags != nil {
			who = "replay, kernel"
		}
		r := b.replay(load, append([]string{"--concurrency", "500", "--requests", "500", "--stagger", "20ms", "--preconnect", "500"}, flags...)...)
		var lags []time.Duration
		for i := range r.requests {
			lags = selftest.StampErrors(lags, &r.requests[i], r.epoch)
		}
		q := selftest.QuantilesOf(lags)
		tell(who, float64(len(lags)), q.P50, q.P99, r.cpu)
	}
	if python := b.find("aiohttp/bin/python"); python != "" {
		out, cpu, _ := b.client(python, "../../../testdata/bench-aiohttp.py", b.url+"/v1/chat/completions", b.body(load), "500", "0.02")
		var got struct{ Chunks, P50, P99 float64 }
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			b.t.Fatal(err, out)
		}
		tell("aiohttp", got.Chunks, time.Duration(got.P50), time.Duration(got.P99), cpu)
	}
}

// coalesced is eight streams that send as fast as the client reads.
func (b *bench) coalesced() {
	r := b.replay(selftest.Load{Chunks: 64 << 10}, "--concurrency", "8", "--duration", "2s")
	chunks := 0
	for i := range r.requests {
		chunks += len(r.requests[i].Chunks)
	}
	b.note("coalesced: million chunks/s of a core", float64(chunks)/r.cpu.Seconds()/1e6)
}

func (b *bench) lateness() {
	for _, rate := range []string{"200", "1000", "5000"} {
		r := b.replay(selftest.Load{Size: 4 << 10}, "--rate", rate, "--duration", "2s", "--preconnect", "64")
		sent, wrote := selftest.LatenessOf(r.requests)
		b.note("lateness: ms p50 at "+rate+"/s", sent.P50.Seconds()*1e3)
		b.note("lateness: ms p99 at "+rate+"/s", sent.P99.Seconds()*1e3)
		b.note("lateness: ms p99 until written, at "+rate+"/s", wrote.P99.Seconds()*1e3)
	}
}

// memory is 4,000 streams at once of a chunk a second.
func (b *bench) memory() {
	const streams = 4000
	load := selftest.Load{Chunks: 5, Gap: time.Second}
	one := b.replay(load, "--requests", "1")
	all := b.replay(load, "--concurrency", strconv.Itoa(streams), "--requests", strconv.Itoa(streams), "--stagger", "1s")
	b.note("memory: KB of RSS per stream, of 4000", float64(all.rssKB-one.rssKB)/(streams-1))
}

// print writes the figures, with what DESIGN.md asks for.
func (b *bench) print() {
	goals := map[string]string{
		"paced: us of stamp lag p99, replay, kernel": "under 10",
		"coalesced: million chunks/s of a core":      "at least 4",
		"lateness: ms p99 at 1000/s":                 "under 0.5",
		"memory: KB of RSS per stream, of 4000":      "under 45",
	}
	b.note("plain: CPU per request, replay / vegeta", b.median("plain: us of CPU per request, replay")/b.median("plain: us of CPU per request, vegeta"))
	goals["plain: CPU per request, replay / vegeta"] = "at most 0.75"
	slices.Sort(b.names)
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tmedian\tleast\tmost\tgoal")
	for _, name := range b.names {
		all := b.figures[name]
		fmt.Fprintf(w, "%s\t%.4g\t%.4g\t%.4g\t%s\n", name, b.median(name), slices.Min(all), slices.Max(all), goals[name])
	}
	w.Flush()
	b.t.Logf("\n%s", out.String())
}
