package reduce

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wattrace/formats/requests"
	"wattrace/formats/telemetry"
	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

const second = time.Second

// machine is a host with its clocks, which show true time zero as 2026-05-28
// 20:26:40 UTC and 1000 s after the boot.
type machine struct {
	host, boot string
	wallAhead  time.Duration
	noBoot     bool
	noMono     bool
}

// clock is that of a file whose anchor is at a true time.
func (m machine) clock(at time.Duration) trace.Clock {
	return trace.Clock{Host: m.host, BootID: m.boot, Anchor: m.snapshot(at, at)}
}

func (m machine) snapshot(t, anchor time.Duration) trace.ClockSnapshot {
	s := trace.ClockSnapshot{
		At: trace.Time(t - anchor), BootNanos: 1e12 + int64(t), MonotonicNanos: 1e12 + int64(t), UnixNanos: 1780e15 + int64(t+m.wallAhead),
	}
	if m.noBoot {
		s.BootNanos = 0
	}
	if m.noMono {
		s.MonotonicNanos = 0
	}
	return s
}

// writeLog writes the log of a client that began at a true time: its phases are
// "a" from 10 to 20 s of true time and, after it, "b" to 25 s, with a request
// each. edit may change the run line.
func writeLog(t *testing.T, path string, m machine, begin time.Duration, edit func(*requests.Run)) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := requests.NewWriter(f)
	at := func(t time.Duration) trace.Time { return trace.Time(t - begin) }
	run := requests.Run{Producer: "test", Clock: m.clock(begin), Trace: requests.TraceInfo{Path: "t", SHA256: "9f86", Turns: 2}, Targets: []string{"http://x"}}
	for _, name := range []string{"a", "b"} {
		run.Plan.Phases = append(run.Plan.Phases, trace.Phase{Name: name, Kind: trace.Measure, Concurrency: 2, Requests: 1})
	}
	if edit != nil {
		edit(&run)
	}
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	check(w.Run(&run))
	check(w.Clock(m.snapshot(begin, begin)))
	for i, ph := range []struct {
		name       string
		start, end time.Duration
	}{{"a", 10 * second, 20 * second}, {"b", 20 * second, 25 * second}} {
		check(w.Phase(&requests.PhaseEvent{Phase: ph.name, Kind: trace.Measure, Start: true, At: at(ph.start), Concurrency: 2}))
		check(w.Sent(&requests.Sent{Seq: int64(i), Line: 1, Phase: ph.name, At: at(ph.start)}))
		done := at(ph.end) - trace.Time(time.Millisecond)
		check(w.Request(&trace.Request{
			Seq: int64(i), Line: 1, Phase: ph.name, Scheduled: at(ph.start), Sent: at(ph.start), FirstToken: trace.Some(at(ph.start + second)), LastToken: trace.Some(done),
			Done: done, Outcome: trace.Succeeded, InputTokens: trace.Some(int64(100)), OutputTokens: trace.Some(int64(50)), TokenSource: trace.FromUsage,
		}))
		check(w.Phase(&requests.PhaseEvent{Phase: ph.name, Kind: trace.Measure, At: at(ph.end)}))
	}
	check(w.Clock(m.snapshot(25*second, begin)))
	for i, t := range []time.Duration{12, 14, 16} { // written late, which changes nothing
		check(w.Client(&requests.Client{At: at(t * second), CPUSeconds: trace.Some(float64(i)), InFlight: i}))
	}
	check(w.Close(&requests.Close{At: at(25 * second), Sent: 2, Succeeded: 2, Clean: true}))
	check(w.Flush())
	return path
}

// writePower writes a recording of one GPU from 0 to 30 s of true time: 100 W
// until 15 s, then 300 W. If steps is not nil it is asked every 5 s for a
// snapshot that begins a new stream.
func writePower(t *testing.T, path string, m machine, gpu string, steps func(at time.Duration) *trace.ClockSnapshot) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const begin = -second
	head := telemetry.Head{Producer: "test", Clock: m.clock(begin), Snapshot: m.snapshot(begin, begin), Devices: []sample.Device{{
		ID: gpu, UUID: gpu, Host: m.host, Source: sample.NVML, Scope: sample.ScopeGPU, Name: "H100", Architecture: "hopper"}}}
	w, err := telemetry.NewWriter(f, head)
	if err != nil {
		t.Fatal(err)
	}
	b := &sample.Batch{Devices: head.Devices}
	rows := int64(0)
	for now := time.Duration(begin); now < 31*second; now += 20 * time.Millisecond {
		if steps != nil && now%(5*second) == 0 {
			if s := steps(now); s != nil {
				if err := w.Write(b); err != nil {
					t.Fatal(err)
				}
				b.Reset()
				if err := w.NewStream(*s); err != nil {
					t.Fatal(err)
				}
			}
		}
		moved := now - now%(100*time.Millisecond)
		joules := 1000 + 100*moved.Seconds()
		if moved > 15*second {
			joules += 200 * (moved - 15*second).Seconds()
		}
		b.Append(0, trace.Time(now-begin), 0).Set(sample.EnergyJoules, joules)
		rows++
	}
	if err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(telemetry.End{Rows: rows, Clean: true, Snapshot: m.snapshot(31*second, begin)}); err != nil {
		t.Fatal(err)
	}
	return path
}

// reportOf runs reduce for the JSON report.
func reportOf(t *testing.T, code int, args ...string) *reduce.Report {
	t.Helper()
	got, stdout, stderr := runMain(t, append([]string{"--format", "json"}, args...)...)
	if got != code {
		t.Fatalf("%v: exit %d, want %d: %s\n%s", args, got, code, stderr, stdout)
	}
	var r reduce.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func runMain(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// energy returns that of a phase.
func energy(t *testing.T, r *reduce.Report, phase string) float64 {
	t.Helper()
	for _, ph := range r.Phases {
		if m, ok := ph.Metrics[reduce.TotalGPUEnergy]; ok && ph.Name == phase {
			return m.Value
		}
	}
	t.Fatalf("no energy of %q: %+v", phase, r)
	return 0
}

func warnings(r *reduce.Report, code reduce.Code) (list []string) {
	for _, w := range r.Warnings {
		if w.Code == code {
			list = append(list, w.Message)
		}
	}
	return list
}

// The phase a is half at 100 W and half at 300 W: 2000 J, and 200 J more or less
// for each second by which the files are joined wrongly.
func TestFilesOfTwoHosts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	a, b := machine{host: "a", boot: "1"}, machine{host: "b", boot: "2"}
	log := writeLog(t, at("a.jsonl"), a, 3*second, nil)
	check := func(name string, tele string, joules float64, clock string, flags ...string) {
		t.Helper()
		r := reportOf(t, 0, append(flags, log, tele)...)
		if e := energy(t, r, "a"); e < joules-15 || e > joules+15 {
			t.Errorf("%s: %v J, want %v", name, e, joules)
		}
		if got := strings.Join(warnings(r, reduce.WarnClock), "\n"); got != strings.ReplaceAll(clock, "TELE", tele) {
			t.Errorf("%s: warns %q", name, got)
		}
	}
	check("one host", writePower(t, at("same.arrows"), a, "GPU-0", nil), 2000, "")
	const wall = "TELE: joined by the wall clocks of b and a, whose difference is not known: ± 10ms is assumed (--clock-offset says better)"
	check("two hosts", writePower(t, at("two.arrows"), b, "GPU-0", nil), 2000, wall)

	b.wallAhead = -2 * second
	ahead := writePower(t, at("ahead.arrows"), b, "GPU-0", nil)
	check("a wrong clock", ahead, 2400, wall)
	check("a wrong clock that is known", ahead, 2000, "", "--clock-offset", ahead+"=2s")
	check("and how well", ahead, 2000, "", "--clock-offset", ahead+"=2s+-20ms")
	check("of the log, too", ahead, 2000, "", "--clock-offset", log+"=-2s±20ms", "--clock-offset", ahead+"=0s")

	mono, boot := a, a
	mono.noBoot, boot.noMono = true, true
	mono.wallAhead, boot.wallAhead = time.Hour, time.Hour
	check("one boot, by monotonic stamps alone", writePower(t, at("mono.arrows"), mono, "GPU-0", nil), 2000, "")
	boot.noBoot = true // no clock but the wall's
	boot.wallAhead = 0
	check("one boot, by the wall clock alone", writePower(t, at("wall.arrows"), boot, "GPU-0", nil), 2000, "TELE: joined by the wall clock of a, ± 10ms")
}

// Recordings of two hosts in one file.
func TestConcatenatedHosts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var whole []byte
	for i, host := range []string{"a", "b"} {
		path := writePower(t, filepath.Join(dir, host), machine{host: host, boot: host}, fmt.Sprint("GPU-", i), nil)
		part, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole = append(whole, part...)
	}
	path := filepath.Join(dir, "both.arrows")
	if err := os.WriteFile(path, whole, 0o666); err != nil {
		t.Fatal(err)
	}
	r := reportOf(t, 0, path)
	want := path + ": its recordings of a and b are joined by their wall clocks, whose difference is not known: ± 10ms is assumed"
	if got := warnings(r, reduce.WarnClock); len(got) != 1 || got[0] != want || len(r.Phases[0].PerDevice) != 2 {
		t.Errorf("%q", got)
	}
}

// A wall clock that is set while the recording runs is said, and does not move
// what is joined by another clock.
func TestStepsAreSaid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	a, b := machine{host: "a", boot: "1"}, machine{host: "b", boot: "2"}
	log := writeLog(t, at("a.jsonl"), a, 3*second, nil)
	step := func(m machine, from time.Duration, wall, boot time.Duration) func(time.Duration) *trace.ClockSnapshot {
		return func(now time.Duration) *trace.ClockSnapshot {
			s := m.snapshot(now, -second)
			if now >= from {
				s.UnixNanos += int64(wall + boot)
				s.BootNanos += int64(boot)
			}
			return &s
		}
	}
	check := func(name string, tele string, joules float64, clock, steps string) {
		t.Helper()
		r := reportOf(t, 0, log, tele)
		if e := energy(t, r, "a"); e < joules-15 || e > joules+15 {
			t.Errorf("%s: %v J, want %v", name, e, joules)
		}
		for code, want := range map[reduce.Code]string{reduce.WarnClock: clock, reduce.WarnClockStep: steps} {
			if got := strings.Join(warnings(r, code), "\n"); got != strings.ReplaceAll(want, "TELE", tele) {
				t.Errorf("%s:\n got %s\nwant %s", name, got, want)
			}
		}
	}
	const wall = "TELE: joined by the wall clocks of b and a, whose difference is not known: ± %v is assumed (--clock-offset says better)"
	// Every reading after the step shows it, and the end's does not: back again.
	const forward = "TELE: the wall clock of %s was set forward by 1.5s between 2026-05-28T20:27:00.000Z and 2026-05-28T20:27:05.000Z\n" +
		"TELE: the wall clock of %[1]s was set back by 1.5s between 2026-05-28T20:27:10.000Z and 2026-05-28T20:27:11.000Z"
	check("one boot", writePower(t, at("one.arrows"), a, "GPU-0", step(a, 25*second, 1500*time.Millisecond, 0)), 2000, "", fmt.Sprintf(forward, "a"))
	check("two hosts, stepped after the phases", writePower(t, at("two.arrows"), b, "GPU-0", step(b, 25*second, 1500*time.Millisecond, 0)),
		2000, fmt.Sprintf(wall, "1.51s"), fmt.Sprintf(forward, "b"))
	const slept = "TELE: a was suspended for 7s between 2026-05-28T20:27:00.000Z and 2026-05-28T20:27:05.000Z\n" +
		"TELE: a was suspended for -7s between 2026-05-28T20:27:10.000Z and 2026-05-28T20:27:11.000Z"
	check("suspended", writePower(t, at("slept.arrows"), a, "GPU-0", step(a, 25*second, 0, 7*second)), 2000, "", slept)
}

func TestShards(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var logs []string
	for i := range 3 {
		m := machine{host: fmt.Sprint("client", i), boot: fmt.Sprint(i), wallAhead: time.Duration(i) * 100 * time.Millisecond}
		logs = append(logs, writeLog(t, filepath.Join(dir, fmt.Sprint("shard", i, ".jsonl")), m, 2*second, func(r *requests.Run) {
			r.Shard = requests.Shard{Index: i, Count: 3}
			r.Plan.Phases[0].Concurrency = 10 - i // a client's share
		}))
	}
	power := writePower(t, filepath.Join(dir, "power.arrows"), machine{host: "gpu", boot: "g"}, "GPU-0", nil)
	all := append([]string{power}, logs...)

	r := reportOf(t, 0, all...) // they do not end a together: it ends where the first begins b
	if len(r.Phases) != 2 || len(warnings(r, reduce.WarnMissingShard)) > 0 || len(warnings(r, reduce.WarnOverlap)) > 0 || len(warnings(r, reduce.WarnWorkInFlight)) == 0 {
		t.Fatalf("%+v", r)
	}
	ph := r.Phases[0]
	if ph.Name != "a" || ph.Concurrency != 6 || ph.Requests.Sent != 3 ||
		ph.Start != "2026-05-28T20:26:50.000000000Z" || ph.End != "2026-05-28T20:27:00.000000000Z" || r.Phases[1].End != "2026-05-28T20:27:05.200000000Z" {
		t.Errorf("%+v %+v %v", ph, ph.Requests, *ph.Tokens.Output)
	}
	// The last tokens of two clients' a arrived in b.
	if a, b := *ph.Tokens.Output, *r.Phases[1].Tokens.Output; a >= 150 || a < 148 || a+b < 299.99 || a+b > 300.01 {
		t.Errorf("%v tokens in a, %v in b", a, b)
	}

	r = reportOf(t, 3, power, logs[2], logs[0])
	if got := warnings(r, reduce.WarnMissingShard); len(got) != 1 ||
		got[0] != "1 of the run's 3 shards are missing (index 1): its requests, tokens and users are those of the others" {
		t.Errorf("%q", got)
	}

	twin := writeLog(t, filepath.Join(dir, "twin.jsonl"), machine{host: "other", boot: "o"}, 2*second, func(r *requests.Run) { r.Shard = requests.Shard{Index: 1, Count: 3} })
	if code, _, stderr := runMain(t, append(all, twin)...); code != 1 || !strings.HasSuffix(stderr, "shard1.jsonl\n") && !strings.HasSuffix(stderr, "twin.jsonl\n") ||
		!strings.Contains(stderr, ".jsonl:1: shard 1 of the run's 3 was read before, in ") {
		t.Errorf("exit %d %s", code, stderr)
	}

	// Shards of another run are another run.
	other := writeLog(t, filepath.Join(dir, "other.jsonl"), machine{host: "other", boot: "o"}, 2*second, func(r *requests.Run) {
		r.Shard, r.Seed = requests.Shard{Index: 1, Count: 3}, trace.Some(int64(7))
	})
	r = reportOf(t, 3, append(all, other)...)
	if got := warnings(r, reduce.WarnMissingShard); len(r.Phases) != 4 || len(got) != 1 || !strings.HasPrefix(got[0], "2 of the run's 3 shards are missing (index 0, 2)") {
		t.Errorf("%d phases, %q", len(r.Phases), got)
	}
}

const smi = "timestamp, index, power.draw [W]\n"

// TestOperandsInAnyOrder shuffles operands of all kinds: the same bytes.
func TestOperandsInAnyOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	var rows strings.Builder
	for i := range 700 {
		when := time.Date(2026, 5, 28, 20, 26, 39, i*50_000_000, time.UTC)
		fmt.Fprintf(&rows, "%s, 0, %d.5 W\n", when.Format("2006/01/02 15:04:05.000"), 100+i/100)
	}
	csv := func(name string) string {
		if err := os.WriteFile(at(name), []byte(smi+rows.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	operands := []string{
		writeLog(t, at("z.jsonl"), machine{host: "c", boot: "c"}, second, nil),
		writeLog(t, at("s0.jsonl"), machine{host: "c", boot: "c", wallAhead: -100 * time.Millisecond}, 2*second, func(r *requests.Run) { r.Shard = requests.Shard{Count: 2} }),
		writeLog(t, at("s1.jsonl"), machine{host: "d", boot: "d"}, 2*second, func(r *requests.Run) { r.Shard = requests.Shard{Index: 1, Count: 2} }),
		writeLog(t, at("a.jsonl"), machine{host: "g", boot: "g"}, 3*second, nil),
		writePower(t, at("p.arrows"), machine{host: "e", boot: "e"}, "GPU-e", nil),
		writePower(t, at("b.arrows"), machine{host: "f", boot: "f", wallAhead: 3 * time.Millisecond}, "GPU-f", nil),
		csv("node1.csv"), csv("node2.smi.csv"),
	}
	for _, set := range [][]string{operands, operands[4:]} {
		for _, format := range []string{"json", "text", "csv"} {
			want := ""
			for try := range 5 {
				args := append([]string(nil), set...)
				rng := rand.New(rand.NewPCG(uint64(try), 1))
				rng.Shuffle(len(args), func(i, j int) { args[i], args[j] = args[j], args[i] })
				code, got, stderr := runMain(t, append([]string{"--format", format, "--every", "3s", "--timezone", "UTC"}, args...)...)
				if want == "" {
					want = got
				}
				if code == 1 || code == 2 || got != want {
					t.Fatalf("exit %d %s: %v gives other bytes", code, stderr, args)
				}
			}
			if format == "text" && (!strings.Contains(want, "node1") || !strings.Contains(want, "node2") || !strings.Contains(want, "(4 GPUs)")) {
				t.Errorf("two logs are not of two hosts:\n%s", want)
			}
		}
	}
}

// Without a zone database the binary's own does, and the zone moves the times.
// TestLoadAndClient reads what a log says of a phase's load and of its client.
func TestLoadAndClient(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := writeLog(t, filepath.Join(dir, "a.jsonl"), machine{host: "a", boot: "a"}, 3*second, func(r *requests.Run) {
		a, b := &r.Plan.Phases[0], &r.Plan.Phases[1]
		a.Concurrency, a.Rate = 0, 20
		b.Concurrency, b.FromTrace, b.Prefills = 0, true, 2
	})
	rep := reportOf(t, 0, "--as", "sglang", log)
	a, b := rep.Phases[0], rep.Phases[1]
	if a.Load != reduce.LoadOpen || b.Load != reduce.LoadGated {
		t.Errorf("loads %q, %q", a.Load, b.Load)
	}
	if m := a.Metrics[reduce.ClientCPU]; m.Number == nil || m.Value != 0.5 {
		t.Errorf("CPU of the client: %+v", m)
	}
	if m := a.Metrics[reduce.ClientPeakInFlight]; m.Number == nil || m.Value != 2 {
		t.Errorf("in flight: %+v", m)
	}
	if _, ok := b.Metrics[reduce.ClientCPU]; ok {
		t.Error("there is no line of the client in b")
	}
	if len(a.Others) != 1 || len(a.Others[0].Figures) == 0 { // without a recording
		t.Errorf("%+v", a.Others)
	}
}

func TestTimezone(t *testing.T) {
	t.Parallel()
	path := "../../../formats/nvidiasmi/testdata/a5000-step.csv"
	for zone, want := range map[string]string{"Europe/London": "T07:50:", "UTC": "T08:50:", "America/New_York": "T12:50:"} {
		r := reportOf(t, 0, "--timezone", zone, path)
		if !strings.Contains(r.Phases[0].Start, want) || len(r.Warnings) > 0 {
			t.Errorf("%s: %s %v", zone, r.Phases[0].Start, r.Warnings)
		}
	}
	if r := reportOf(t, 0, path); len(warnings(r, reduce.WarnTimezone)) != 1 {
		t.Errorf("no warning: %v", r.Warnings)
	}
}

func TestParseClockOffset(t *testing.T) {
	t.Parallel()
	check := func(in, file string, by, spread time.Duration) {
		t.Helper()
		if f, o, err := parseClockOffset(in); err != nil || f != file || o.by != by || o.spread != spread {
			t.Errorf("%q: %q %+v %v", in, f, o, err)
		}
	}
	check("a.arrows=1.5s", "a.arrows", 1500*time.Millisecond, 0)
	check("a=b.arrows=-2ms", "a=b.arrows", -2*time.Millisecond, 0)
	check("a=-1s±20ms", "a", -second, 20*time.Millisecond)
	check("a=1s+-20ms", "a", second, 20*time.Millisecond)
	for in, want := range map[string]string{
		"a": "it names no file", "=1s": "it names no file", "a=": `"" is no time`, "a=3": `"3" is no time`, "a=1s±": `"" is no time above zero`,
		"a=1s±-1s": `"-1s" is no time above zero`,
	} {
		if _, _, err := parseClockOffset(in); err == nil || !strings.Contains(err.Error(), want+"; want FILE=TIME") {
			t.Errorf("%q: %v", in, err)
		}
	}
}
