package reduce

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats/telemetry"
	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/trace"
)

const ms = time.Millisecond

// marking is a mark for a recording: at a true time, give or take half of what it took.
type marking struct {
	at, took time.Duration
	event    sample.MarkEvent
	phase    string
}

// starts and ends are marks that took 200 ms.
func starts(at time.Duration, phase string) marking {
	return marking{at, 200 * ms, sample.MarkStart, phase}
}

func ends(at time.Duration, phase string) marking {
	return marking{at, 200 * ms, sample.MarkEnd, phase}
}

// tape is a recording to be written: of one GPU as writePower's, from 0 to 30 s of true
// time, a batch each second, with marks.
type tape struct {
	m        machine
	gpu      string
	from, to time.Duration // 0 is -1 s and 31 s
	poll     time.Duration // 0 is 20 ms
	marks    []marking
	sync     telemetry.TimeSync
	units    []telemetry.UnitEnd
	hole     telemetry.Hole // after the first batch; its times are true ones
	more     func(b *sample.Batch, i int, now trace.Time)
	devices  []sample.Device // for more, after the GPU and the recorder
}

func (p *tape) begin() time.Duration {
	if p.from == 0 {
		return -second
	}
	return p.from
}

func (p *tape) head() telemetry.Head {
	h := telemetry.Head{Producer: "test", Clock: p.m.clock(p.begin()), Snapshot: p.m.snapshot(p.begin(), p.begin()), TimeSync: p.sync, Devices: []sample.Device{
		{ID: p.gpu, UUID: p.gpu, Host: p.m.host, Source: sample.NVML, Scope: sample.ScopeGPU, Name: "H100", Architecture: "hopper"},
	}}
	if p.marks != nil {
		h.Devices = append(h.Devices, sample.Device{ID: "record:" + p.m.host, Host: p.m.host, Source: sample.Recorder, Scope: sample.ScopeRun})
	}
	h.Devices = append(h.Devices, p.devices...)
	return h
}

// batches returns the rows, a second each.
func (p *tape) batches() (list []*sample.Batch) {
	begin, end := p.begin(), p.to
	if end == 0 {
		end = 31 * second
	}
	poll := p.poll
	if poll == 0 {
		poll = 20 * ms
	}
	marks := p.marks
	b := &sample.Batch{Devices: p.head().Devices}
	i := 0
	for now := begin; now < end; now += poll {
		moved := now - now%(100*ms)
		joules := 1000 + 100*moved.Seconds()
		if moved > 15*second {
			joules += 200 * (moved - 15*second).Seconds()
		}
		b.Append(0, trace.Time(now-begin), 0).Set(sample.EnergyJoules, joules)
		if p.more != nil {
			p.more(b, i, trace.Time(now-begin))
		}
		i++
		for len(marks) > 0 && marks[0].at <= now {
			m := marks[0]
			marks = marks[1:]
			b.Append(1, trace.Time(m.at-m.took/2-begin), m.took).Mark(sample.Mark{Event: m.event, Phase: m.phase})
		}
		if (now+poll-begin)%second < poll || now+poll >= end {
			list = append(list, b)
			b = &sample.Batch{Devices: b.Devices}
		}
	}
	return list
}

// write writes the recording into one file.
func (p *tape) write(t *testing.T, path string) string {
	t.Helper()
	p.writePart(t, path, p.batches(), p.units)
	return path
}

func (p *tape) writePart(t *testing.T, path string, batches []*sample.Batch, units []telemetry.UnitEnd) {
	t.Helper()
	var out bytes.Buffer
	h := p.head()
	if len(batches) > 0 {
		at := time.Duration(batches[0].Time[0])
		h.Snapshot = p.m.snapshot(p.begin()+at, p.begin())
	}
	w, err := telemetry.NewWriter(&out, h)
	if err != nil {
		t.Fatal(err)
	}
	end := telemetry.End{Clean: true, Units: units, Ticks: 1}
	for i, b := range batches {
		if err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		end.Snapshot = p.m.snapshot(p.begin()+time.Duration(b.Time[b.Len()-1]), p.begin())
		if p.hole.Rows > 0 && i == 0 {
			h := p.hole
			h.From, h.To = h.From.Add(-p.begin()), h.To.Add(-p.begin())
			if err := w.Hole(p.m.snapshot(0, p.begin()), h); err != nil {
				t.Fatal(err)
			}
			end.Lost, end.Clean = h.Rows, false
		}
	}
	if err := w.Close(end); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

func metric(t *testing.T, r *reduce.Report, phase, tag string) reduce.Metric {
	t.Helper()
	for _, ph := range r.Phases {
		if m, ok := ph.Metrics[tag]; ok && ph.Name == phase {
			return m
		}
	}
	t.Fatalf("no %s of %q: %+v", tag, phase, r)
	return reduce.Metric{}
}

func names(r *reduce.Report) (list []string) {
	for _, ph := range r.Phases {
		list = append(list, ph.Name+" "+ph.Kind)
	}
	return list
}

// TestMarksArePhases: a recording with marks and no log has the phases of its marks.
func TestMarksArePhases(t *testing.T) {
	t.Parallel()
	p := tape{m: machine{host: "a", boot: "1"}, gpu: "GPU-0", marks: []marking{
		starts(2*second, "idle"), ends(5*second, "idle"), {6 * second, 0, sample.MarkNote, "look here"},
		ends(7*second, "stray"), starts(8*second, "warmup"), ends(12*second, "warmup"),
		starts(12*second, "load"), ends(18*second, "load"), starts(18*second, "cooldown"), starts(20*second, "cooldown"),
		ends(21*second, "cooldown"), starts(21*second, "load"), ends(21*second+150*ms, "load"), starts(21*second+150*ms, "load"),
	}}
	r := reportOf(t, 3, p.write(t, filepath.Join(t.TempDir(), "p.arrows")))
	want := []string{"idle idle", "warmup warmup", "load measure", "cooldown cooldown", "cooldown (2) cooldown", "load (2) measure"}
	if d := cmp.Diff(want, names(r)); d != "" {
		t.Fatalf("-want +got:\n%s", d)
	}
	// 3 s at 100 W and 3 s at 300 W; 100 ms at either end.
	m := metric(t, r, "load", reduce.TotalGPUEnergy)
	for _, v := range []struct{ got, want float64 }{{m.Value, 1200}, {m.ClockRange.Low, 1160}, {m.ClockRange.High, 1240}} {
		if math.Abs(v.got-v.want) > 4 {
			t.Errorf("load: %v J, want %v: %+v", v.got, v.want, m.ClockRange)
		}
	}
	if r.Phases[0].Requests != nil || r.Phases[0].Tokens != nil || r.Phases[2].Metrics[reduce.OutputTokensPerJoule].Number != nil {
		t.Error("there is no request and no token")
	}
	if w := warnings(r, reduce.WarnNoStart); len(w) != 1 || !strings.Contains(w[0], `ends the phase "stray", which none begins`) {
		t.Errorf("%q", w)
	}
	if w := warnings(r, reduce.WarnNoEnd); len(w) != 1 || !strings.Contains(w[0], "as long as the recording") {
		t.Errorf("%q", w)
	}
	if e := energy(t, r, "load (2)"); e < 2900 || e > 3000 {
		t.Errorf("until the end: %v J", e)
	}
	// What is outside: from 0.9 s before zero to 2 s, 5 to 8 s.
	if w := warnings(r, reduce.WarnOutsidePhases); len(w) != 1 || !strings.Contains(w[0], "of 1 GPU are no phase's") {
		t.Errorf("%q", w)
	} else {
		var seconds, all, joules float64
		if _, err := fmt.Sscanf(w[0], "%f s of the recording's %f s are outside of the phases that are marked: %f J", &seconds, &all, &joules); err != nil {
			t.Fatal(err)
		}
		if math.Abs(seconds-5.9) > 0.2 || math.Abs(joules-590) > 30 || math.Abs(all-31.8) > 0.2 {
			t.Errorf("%q", w[0])
		}
	}
	// Slices share the ends of their phase, and what is not known of them.
	r = reportOf(t, 3, "--every", "3s", p.write(t, filepath.Join(t.TempDir(), "p.arrows")))
	first := r.Phases[2].Windows[0].Metrics[reduce.TotalGPUEnergy]
	if first.ClockRange == nil || math.Abs(first.Value-300) > 4 || math.Abs(first.ClockRange.Low-290) > 4 || math.Abs(first.ClockRange.High-310) > 4 {
		t.Errorf("%+v %+v", first.Number, first.ClockRange)
	}
}

// TestMarksOfSeveralHosts: the same phases are taken once, others beside them, and
// those that contradict each other are refused.
func TestMarksOfSeveralHosts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	a := tape{m: machine{host: "a", boot: "1"}, gpu: "GPU-0", marks: []marking{starts(10*second, "load"), ends(20*second, "load")}}
	b := tape{m: machine{host: "b", boot: "2"}, gpu: "GPU-1", marks: []marking{starts(10*second+400*ms, "load"), ends(20*second-300*ms, "load")}}
	first, second_ := a.write(t, at("a.arrows")), b.write(t, at("b.arrows"))
	r := reportOf(t, 0, second_, first)
	if d := cmp.Diff([]string{"load measure"}, names(r)); d != "" {
		t.Fatalf("-want +got:\n%s", d)
	}
	want := fmt.Sprintf("%s and %s mark the same phases (1), at most 400ms apart: they are taken once, as the former has them", first, second_)
	if w := warnings(r, reduce.WarnMarksShared); len(w) != 1 || w[0] != want {
		t.Errorf("%q, want %q", w, want)
	}
	m := metric(t, r, "load", reduce.TotalGPUEnergy)
	if math.Abs(m.Value-4000) > 20 || m.ClockRange.Low > 4000-2*(0.4*100+0.3*300)+15 || m.ClockRange.Low < 4000-2*(0.41*100+0.31*300)-25 {
		t.Errorf("%v J, %+v", m.Value, m.ClockRange)
	}

	// Outside are 10.9 s at 100 W before it and some 10.8 s at 300 W after it, of each.
	var seconds, all, joules float64
	if w := warnings(r, reduce.WarnOutsidePhases); len(w) != 1 {
		t.Errorf("%q", w)
	} else if _, err := fmt.Sscanf(w[0], "%f s of the recording's %f s are outside of the phases that are marked: %f J of 2 GPUs", &seconds, &all, &joules); err != nil ||
		math.Abs(seconds-21.7) > 0.3 || math.Abs(joules-2*(1090+3240)) > 100 {
		t.Errorf("%q", w)
	}

	b.marks = []marking{starts(15*second, "load"), ends(25*second, "load")}
	other := b.write(t, at("other.arrows"))
	code, _, errs := runMain(t, first, other)
	if code != 1 || !strings.Contains(errs, "contradict each other: "+first) || !strings.Contains(errs, other+" has \"load\" from 20:26:55.000Z to 20:27:05.000Z") {
		t.Errorf("exit %d: %s", code, errs)
	}
	log := writeLog(t, at("log.jsonl"), a.m, 3*second, nil)
	r = reportOf(t, 0, log, first, other)
	if d := cmp.Diff([]string{"a measure", "b measure"}, names(r)); d != "" {
		t.Errorf("with a log (-want +got):\n%s", d)
	}

	b.marks = []marking{starts(21*second, "more"), ends(25*second, "more")}
	r = reportOf(t, 0, first, b.write(t, at("more.arrows")))
	if d := cmp.Diff([]string{"load measure", "more measure"}, names(r)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if m := metric(t, r, "more", reduce.TotalGPUEnergy); math.Abs(m.Value-2400) > 20 || m.ClockRange.High-m.Value < 126 {
		t.Errorf("%v J, %+v", m.Value, m.ClockRange)
	}
}

// TestMarksAreExactOnTheirHost: where the marks are of one host, what its own devices drew
// does not depend on the clocks of others.
func TestMarksAreExactOnTheirHost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := tape{m: machine{host: "a", boot: "1"}, gpu: "GPU-0", from: -3 * second}
	b := tape{m: machine{host: "b", boot: "2"}, gpu: "GPU-1", marks: []marking{
		{10 * second, 0, sample.MarkStart, "load"}, {20 * second, 0, sample.MarkEnd, "load"}}}
	r := reportOf(t, 0, a.write(t, filepath.Join(dir, "a.arrows")), b.write(t, filepath.Join(dir, "b.arrows")))
	for i, d := range r.Phases[0].PerDevice {
		if m := d.Metrics[reduce.GPUEnergy]; (m.ClockRange == nil) != (d.Host == "b") || len(r.Phases[0].PerDevice) != 2 {
			t.Errorf("%d: %s of %s: %+v", i, d.Device, d.Host, m.ClockRange)
		}
	}
}

// TestMarksBesideALog: the log's phases count, and one line says so where the marks
// differ by more than they leave open.
func TestMarksBesideALog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := tape{m: machine{host: "a", boot: "1"}, gpu: "GPU-0"}
	log := writeLog(t, filepath.Join(dir, "log.jsonl"), p.m, 3*second, nil)
	for name, test := range map[string]struct {
		marks []marking
		want  string
	}{
		"the same":  {[]marking{starts(10*second+90*ms, "a"), ends(20*second-90*ms, "a"), starts(20*second, "b"), ends(25*second, "b")}, ""},
		"different": {[]marking{starts(10*second+110*ms, "a"), ends(19*second, "a")}, `"a" begins 110ms later, "a" ends 1s earlier`},
		"another":   {[]marking{starts(10*second, "load"), ends(20*second, "load")}, `"load" is no phase of the log`},
	} {
		p.marks = test.marks
		path := p.write(t, filepath.Join(dir, "p.arrows"))
		r := reportOf(t, 0, log, path)
		if d := cmp.Diff([]string{"a measure", "b measure"}, names(r)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		var want []string
		if test.want != "" {
			want = []string{path + ": the request log's phases count, and the marks say something else: " + test.want}
		}
		if d := cmp.Diff(want, warnings(r, reduce.WarnMarksDiffer)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// TestFilesOfOneRecording: a recording gives the same report from one file and from
// several that were written one after the other, named in any order.
func TestFilesOfOneRecording(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 1))
	p := tape{
		m: machine{host: "a", boot: "1"}, gpu: "GPU-0",
		marks: []marking{starts(3*second, "warmup"), ends(8*second, "warmup"), starts(8*second, "load"), ends(22*second, "load"), starts(26*second, "load")},
		units: []telemetry.UnitEnd{{Devices: []string{"GPU-0"}, Ticks: 1000, Missed: 50}},
		devices: []sample.Device{
			{ID: "GPU-1", Host: "a", Index: 1, Source: sample.NVML, Scope: sample.ScopeGPU, Name: "H100", Architecture: "hopper"},
			{ID: "cpu", Host: "a", Source: sample.RAPL, Scope: sample.ScopeCPUPackage, Name: "CPU"},
		},
	}
	watts := 300.0
	p.more = func(b *sample.Batch, i int, now trace.Time) {
		if i%5 == 0 {
			watts = 200 + 400*rng.Float64()
		}
		if i > 400 && i/50%4 != 0 { // a device that comes later, and is silent now and then
			b.Append(2, now, 30*time.Microsecond).Set(sample.PowerInstantWatts, watts)
		}
		b.Append(3, now, 30*time.Microsecond).Set(sample.EnergyJoules, 3*now.Sub(0).Seconds()+float64(i%7)*0.01)
	}
	batches := p.batches()
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.arrows")
	p.writePart(t, whole, batches, p.units)
	log := writeLog(t, filepath.Join(dir, "log.jsonl"), p.m, 3*second, nil)
	report := func(args ...string) string {
		code, out, errs := runMain(t, append([]string{"--format", "json", "--every", "2s"}, args...)...)
		if code != 0 && code != 3 {
			t.Fatalf("exit %d: %s", code, errs)
		}
		var r reduce.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		i, j := strings.Index(out, `"inputs"`), strings.Index(out, `"warnings"`)
		return out[:i] + out[j:]
	}
	want, withLog := report(whole), report(log, whole)
	if !strings.Contains(want, "50 of 1050 readings of GPU-0 were not made in time") {
		t.Error("no word of the ticks that were missed")
	}
	for n := range 12 {
		var paths []string
		rest, ticks, missed := batches, int64(1000), int64(50)
		for part := 0; len(rest) > 0; part++ {
			k := min(len(rest), 1+rng.IntN(len(batches)/2))
			u := telemetry.UnitEnd{Devices: []string{"GPU-0"}, Ticks: rng.Int64N(ticks + 1), Missed: rng.Int64N(missed + 1)}
			if k == len(rest) {
				u.Ticks, u.Missed = ticks, missed
			}
			ticks, missed = ticks-u.Ticks, missed-u.Missed
			path := filepath.Join(dir, fmt.Sprintf("part%d.%05d.arrows", n, part))
			p.writePart(t, path, rest[:k], []telemetry.UnitEnd{u})
			paths, rest = append(paths, path), rest[k:]
		}
		rng.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		first := slices.Min(paths)
		compare := func(want, got string) {
			t.Helper()
			if got = strings.ReplaceAll(got, first, whole); got != want {
				t.Fatalf("%d files (-want +got):\n%s", len(paths), cmp.Diff(want, got))
			}
		}
		compare(want, report(paths...))
		compare(withLog, report(append(slices.Clone(paths), log)...))
	}
}

// TestFilesOfAnotherHost: the files of one recording are joined alike, and that is said once.
func TestFilesOfAnotherHost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := writeLog(t, filepath.Join(dir, "log.jsonl"), machine{host: "a", boot: "1"}, 3*second, nil)
	p := tape{m: machine{host: "b", boot: "2", wallAhead: 2 * second}, gpu: "GPU-0"}
	batches := p.batches()
	first, rest := filepath.Join(dir, "p.00000.arrows"), filepath.Join(dir, "p.00001.arrows")
	p.writePart(t, first, batches[:15], nil)
	p.writePart(t, rest, batches[15:], nil)
	r := reportOf(t, 0, log, rest, first)
	want := []string{first + ": joined by the wall clocks of b and a, whose difference is not known: ± 10ms is assumed (--clock-offset says better)"}
	if d := cmp.Diff(want, warnings(r, reduce.WarnClock)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	// What is said of one file holds for the others.
	r = reportOf(t, 0, "--clock-offset", rest+"=-2s", log, rest, first)
	if e := energy(t, r, "a"); math.Abs(e-2000) > 15 {
		t.Errorf("%v J", e)
	}
}

// TestTwoRecordersOfOneDevice: files of a device that overlap are two sources of it, of
// which one is chosen; those that do not are one.
func TestTwoRecordersOfOneDevice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := machine{host: "a", boot: "1"}
	slow := tape{m: m, gpu: "GPU-0", from: -2 * second, poll: 50 * ms}
	fast := tape{m: m, gpu: "GPU-0"}
	one := fast.write(t, filepath.Join(dir, "z.arrows"))
	both := reportOf(t, 0, slow.write(t, filepath.Join(dir, "a.arrows")), one)
	alone := reportOf(t, 0, one)
	if d := cmp.Diff(alone.Phases, both.Phases); d != "" {
		t.Errorf("not that of the shorter interval (-want +got):\n%s", d)
	}
	if w := warnings(both, reduce.WarnDisordered); w != nil {
		t.Errorf("%q", w)
	}
	late := tape{m: m, gpu: "GPU-0", from: 15 * second}
	early := tape{m: m, gpu: "GPU-0", to: 15 * second}
	r := reportOf(t, 0, late.write(t, filepath.Join(dir, "b.arrows")), early.write(t, filepath.Join(dir, "c.arrows")))
	if e := energy(t, r, "recording"); math.Abs(e-energy(t, alone, "recording")) > 1 {
		t.Errorf("%v J", e)
	}
}

// TestHoles: each phase that lacks rows says so, and the inputs say how many.
func TestHoles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := tape{m: machine{host: "a", boot: "1"}, gpu: "GPU-0", hole: telemetry.Hole{
		From: trace.Time(12 * second), To: trace.Time(13500 * ms), Rows: 75, Reason: "no space left on device"}}
	log := writeLog(t, filepath.Join(dir, "log.jsonl"), p.m, 3*second, nil)
	path := p.write(t, filepath.Join(dir, "p.arrows"))
	r := reportOf(t, 3, log, path)
	var got []reduce.Warning
	for _, w := range r.Warnings {
		if w.Code == reduce.WarnHole || w.Code == reduce.WarnIncompleteTele {
			got = append(got, w)
		}
	}
	want := []reduce.Warning{
		{Code: reduce.WarnIncompleteTele, Message: path + ": the recorder says that 75 rows are missing"},
		{Code: reduce.WarnHole, Phase: "a", Message: "a: 75 rows of 1.5s lost: no space left on device"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for _, in := range r.Inputs {
		if lost := in.LostRows; (lost == 75) != (in.Path == path) {
			t.Errorf("%s: %d rows lost", in.Path, lost)
		}
	}
}

// TestHostsThatKeepTime: what hosts say of their wall clocks is the least of the
// uncertainty, and one that nobody keeps is named, where files were joined by it.
func TestHostsThatKeepTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := tape{m: machine{host: "a", boot: "1"}, gpu: "GPU-0", sync: telemetry.TimeSync{Source: "chrony", Synchronised: true, MaxError: 30 * ms}}
	b := tape{m: machine{host: "b", boot: "2"}, gpu: "GPU-1", sync: telemetry.TimeSync{Source: "kernel", MaxError: 20 * ms}}
	first, other := a.write(t, filepath.Join(dir, "a.arrows")), b.write(t, filepath.Join(dir, "b.arrows"))
	r := reportOf(t, 0, first, other)
	want := other + ": joined by the wall clocks of b and a, whose difference is not known: ± 50ms is assumed (--clock-offset says better)"
	if d := cmp.Diff([]string{want}, warnings(r, reduce.WarnClock)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	kept := []string{"b says that its wall clock is not synchronised (kernel), and files were joined by it: they may be off by any time"}
	if d := cmp.Diff(kept, warnings(r, reduce.WarnUnsynchronised)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for _, args := range [][]string{{other}, {first, other, "--clock-offset"}} {
		if len(args) > 2 {
			args = []string{"--clock-offset", other + "=0s±1ms", first, other}
		}
		if w := warnings(reportOf(t, 0, args...), reduce.WarnUnsynchronised); w != nil {
			t.Errorf("%q: %q", args, w)
		}
	}
	a.sync.MaxError, b.sync.MaxError = ms, ms // what is assumed of hosts is more
	r = reportOf(t, 0, a.write(t, first), b.write(t, other))
	if w := warnings(r, reduce.WarnClock); len(w) != 1 || !strings.Contains(w[0], "± 10ms is assumed") {
		t.Errorf("%q", w)
	}
}
