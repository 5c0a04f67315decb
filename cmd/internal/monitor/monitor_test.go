package monitor

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/formats/telemetry"
	"wattrace/sample"
	"wattrace/trace"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// epoch is when the readings of tests begin.
var epoch = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func wall(t trace.Time) time.Time { return epoch.Add(time.Duration(t)) }

// world is a model with a clock that a test sets.
type world struct {
	*model
	clock time.Time
}

func newWorld() *world {
	w := &world{clock: epoch}
	w.model = newModel(3600, func() time.Time { return w.clock })
	return w
}

// at makes a batch of one instant, in seconds, and moves the clock there.
func (w *world) at(seconds float64, devices []sample.Device, fill func(b *sample.Batch, at trace.Time)) {
	at := trace.Time(seconds * 1e9)
	w.clock = wall(at)
	b := &sample.Batch{Devices: devices}
	fill(b, at)
	w.take(b, wall)
}

func gpu(i int) sample.Device {
	id := "GPU-" + string(rune('a'+i))
	return sample.Device{ID: id, UUID: id, Host: "node1", Index: i, Source: sample.NVML, Scope: sample.ScopeGPU, Name: "NVIDIA H100 80GB HBM3"}
}

func set(b *sample.Batch, device int, at trace.Time, values map[sample.MetricID]float64) sample.Row {
	row := b.Append(device, at, 0)
	for id, v := range values {
		if sample.Metrics[id].Type == sample.Uint64 {
			row.SetUint(id, uint64(v))
		} else {
			row.Set(id, v)
		}
	}
	return row
}

func near(t *testing.T, what string, got number, want float64) {
	t.Helper()
	if got == nil || math.Abs(*got-want) > 1e-9*max(1, math.Abs(want)) {
		t.Errorf("%s: %v, want %v", what, text(got), want)
	}
}

func text(n number) any {
	if n == nil {
		return nil
	}
	return *n
}

// TestEnergy: by the counter, over its resets, else integrated, over no gap; since the start
// and since a mark.
func TestEnergy(t *testing.T) {
	t.Parallel()
	w := newWorld()
	devices := []sample.Device{gpu(0), gpu(1)}
	counter := []float64{1000, 1100, 1200, 50, 150, 250}
	for i, j := range counter {
		w.at(float64(i), devices, func(b *sample.Batch, at trace.Time) {
			set(b, 0, at, map[sample.MetricID]float64{sample.EnergyJoules: j, sample.PowerWatts: 900})
			set(b, 1, at, map[sample.MetricID]float64{sample.PowerWatts: 200})
		})
		if i == 1 {
			w.setMark("m")
		}
	}
	w.at(20, devices, func(b *sample.Batch, at trace.Time) {
		set(b, 0, at, map[sample.MetricID]float64{sample.EnergyJoules: 350})
		set(b, 1, at, map[sample.MetricID]float64{sample.PowerWatts: 400})
	})
	w.at(21, devices, func(b *sample.Batch, at trace.Time) {
		set(b, 1, at, map[sample.MetricID]float64{sample.PowerWatts: 200})
	})
	s := w.look("x")
	a, b := s.Devices[0], s.Devices[1]
	near(t, "counter since start", a.Start.Joules, 500)
	near(t, "counter since mark", a.Mark.Joules, 400)
	if a.Start.Method != byCounter || a.Start.Resets != 1 {
		t.Errorf("%+v", a.Start)
	}
	near(t, "power since start", b.Start.Joules, 1000+300)
	near(t, "power since mark", b.Mark.Joules, 800+300)
	if b.Mark.Method != byPower || b.Mark.Missing != 15 {
		t.Errorf("%+v", b.Mark)
	}
	near(t, "total", s.Total.Mark.Joules, 1500)
	if s.Total.Mark.Method != "mixed" || s.MarkIs != "m" || !s.MarkAt.Equal(epoch.Add(time.Second)) {
		t.Errorf("%+v", s.Total)
	}
}

// TestUnknownIsNotZero: a device that cannot be read, one that was never read, one that has
// gone and come back, and a new one.
func TestUnknownIsNotZero(t *testing.T) {
	t.Parallel()
	w := newWorld()
	devices := []sample.Device{gpu(0), gpu(1)}
	s := w.look("x")
	if s.State != "waiting" || s.Total.Watts != nil || s.Total.Start.Joules != nil {
		t.Errorf("%+v", s)
	}
	w.at(1, devices[:1], func(b *sample.Batch, at trace.Time) {
		set(b, 0, at, map[sample.MetricID]float64{sample.PowerWatts: 300, sample.GPUUtilization: 0.5})
	})
	w.at(2, devices[:1], func(b *sample.Batch, at trace.Time) {
		row := b.Append(0, at, 0)
		row.Fail(sample.PowerWatts, "GPU_IS_LOST")
		row.Fail(sample.EnergyJoules, "GPU_IS_LOST")
	})
	if d := w.look("x").Devices[0]; d.State != "lost" || d.Watts != nil || d.GPU != nil || d.Status == "" {
		t.Errorf("%+v", d)
	}
	w.at(3, devices, func(b *sample.Batch, at trace.Time) {
		set(b, 0, at, map[sample.MetricID]float64{sample.PowerWatts: 310})
		set(b, 1, at, map[sample.MetricID]float64{sample.PowerWatts: 100})
	})
	s = w.look("x")
	near(t, "it came back, with a new one", s.Total.Watts, 410)
	w.clock = w.clock.Add(quiet)
	if s = w.look("x"); s.State != "silent" || s.Message != "no reading for 5 s" || s.Total.Watts != nil || s.Devices[0].State != "silent" {
		t.Errorf("%+v", s)
	}
	w.end()
	if s = w.look("x"); s.State != "ended" {
		t.Errorf("%+v", s)
	}
}

// TestSeenTwice: a GPU of two sources is one in the total.
func TestSeenTwice(t *testing.T) {
	t.Parallel()
	w := newWorld()
	other := gpu(0)
	other.Source = sample.DCGM
	w.at(1, []sample.Device{other, gpu(0), {ID: "cpu", Scope: sample.ScopeCPUPackage}}, func(b *sample.Batch, at trace.Time) {
		for i, v := range []float64{500, 300, 70} {
			set(b, i, at, map[sample.MetricID]float64{sample.PowerWatts: v})
		}
	})
	s := w.look("x")
	near(t, "total", s.Total.Watts, 300)
	if s.Total.GPUs != 1 || len(s.Devices) != 3 {
		t.Errorf("%+v", s.Total)
	}
}

// TestTokensPerJoule: tokens and energy of the same span, though they are read at different
// times.
func TestTokensPerJoule(t *testing.T) {
	t.Parallel()
	w := newWorld()
	server := sample.Device{ID: "vllm:a:1", Source: sample.VLLM, Scope: sample.ScopeServer}
	for i := range 8 {
		own := &sample.Batch{Devices: []sample.Device{server}}
		at := float64(i) + 0.37 // 50 tokens a second
		set(own, 0, trace.Time(at*1e9), map[sample.MetricID]float64{sample.GenerationTokens: 1000 + math.Round(at*100)/2*1})
		w.at(float64(i), []sample.Device{gpu(0)}, func(b *sample.Batch, at trace.Time) {
			set(b, 0, at, map[sample.MetricID]float64{sample.EnergyJoules: 200 * float64(i), sample.PowerWatts: 200})
		})
		w.takeOwn(own, wall)
	}
	if r := w.look("x").Total.TokensPerJoule; r == nil || math.Abs(*r-0.25) > 0.01 {
		t.Error(text(r))
	}
	if rate := w.look("x").Servers[0].Rate; rate == nil || math.Abs(*rate-50) > 1 {
		t.Error(text(rate))
	}
}

func TestSparkline(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		top    float64
		width  int
		want   string
	}{
		{[]float64{0, 50, 100}, 100, 5, "  ▁▅█"},
		{[]float64{1, 2, math.NaN(), 100, 200}, 100, 3, " ██"},
		{nil, 100, 2, "  "},
		{[]float64{0, 0}, 0, 2, "  "},
		{[]float64{-5}, 10, 1, "▁"},
	} {
		if got := sparkline(c.values, c.top, c.width, blocks); got != c.want {
			t.Errorf("%v: %q, want %q", c.values, got, c.want)
		}
	}
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	for mask, want := range map[uint64]string{0: "", 1: "", 0x4: "power cap", 0x25: "power cap,sw thermal", 0x1000: "0x1000"} {
		if got := strings.Join(throttle(mask), ","); got != want {
			t.Errorf("%x: %s", mask, got)
		}
	}
}

// filled is a model with all that a table can show.
func filled() *world {
	w := newWorld()
	hostile := gpu(2)
	hostile.Name = "evil\x1b[31m<script>\u202e日本"
	devices := []sample.Device{gpu(0), gpu(1), hostile, {ID: "cpu0", Host: "node1", Source: sample.RAPL, Scope: sample.ScopeCPUPackage}}
	for i := range 30 {
		w.at(float64(i), devices, func(b *sample.Batch, at trace.Time) {
			set(b, 0, at, map[sample.MetricID]float64{
				sample.PowerWatts: 300 + 10*float64(i), sample.EnergyJoules: 1e6 + 400*float64(i), sample.PowerLimitWatts: 700, sample.GPUUtilization: 0.97,
				sample.TemperatureCelsius: 61, sample.SMClockHertz: 1.98e9, sample.MemoryClockHertz: 2.619e9, sample.MemoryUsedBytes: 70 << 30, sample.ClockEventReasons: 0x4,
			})
			set(b, 3, at, map[sample.MetricID]float64{sample.PowerWatts: 120})
			if i < 10 {
				set(b, 1, at, map[sample.MetricID]float64{sample.PowerWatts: 500})
			}
			if i > 4 {
				set(b, 2, at, map[sample.MetricID]float64{sample.PowerWatts: 250, sample.ClockEventReasons: 0})
			}
		})
	}
	return w
}

// TestTable draws at several widths: no line is wider, and none has what a device's name
// would do to a terminal.
func TestTable(t *testing.T) {
	t.Parallel()
	s := filled().look("power.arrows")
	for _, size := range []struct {
		name          string
		width, height int
	}{{"40", 40, 24}, {"80", 80, 24}, {"200", 200, 50}, {"short", 80, 6}} {
		l := look{width: size.width, height: size.height, keys: true}
		lines := l.table(s, []string{"record: a message"})
		if len(lines) > size.height {
			t.Errorf("%s: %d lines", size.name, len(lines))
		}
		for _, line := range lines {
			if n := len([]rune(line)); n > size.width {
				t.Errorf("%s: %d columns: %q", size.name, n, line)
			}
			if strings.ContainsAny(line, "\x1b\u202e") {
				t.Errorf("%s: %q", size.name, line)
			}
		}
		golden(t, "table-"+size.name+".txt", strings.Join(lines, "\n")+"\n")
	}
	golden(t, "line.txt", plainLine(s)+"\n")
	l := look{width: 80, height: 24, colour: true}
	if lines := l.table(s, nil); !strings.Contains(strings.Join(lines, ""), "\x1b[31m") {
		t.Error("nothing is red")
	}
	for width := range 130 { // whatever the size, it does not fail
		for height := range 12 {
			l := look{width: width, height: height}
			l.table(s, nil)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s:\n%s", name, diff)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	got := parseKeys([]byte("x\x1b[Aj\x1b[15~m\x1b[B\x03\x1aq\x1b["))
	if diff := cmp.Diff([]key{keyUp, keyDown, keyMark, keyDown, keyInterrupt, keyStop, keyQuit}, got); diff != "" {
		t.Error(diff)
	}
}

// recording is one in memory, of two batches; end says whether it has its end.
func recording(t *testing.T, end bool) (first, rest []byte) {
	t.Helper()
	return recordingOf(t, end, 100)
}

func recordingOf(t *testing.T, end bool, watts float64) (first, rest []byte) {
	t.Helper()
	var buf bytes.Buffer
	w, err := telemetry.NewWriter(&buf, telemetry.Head{Clock: trace.Clock{Host: "h", Anchor: trace.ClockSnapshot{UnixNanos: epoch.UnixNano()}}, Devices: []sample.Device{gpu(0)}})
	if err != nil {
		t.Fatal(err)
	}
	cut := 0
	for i := range 2 {
		b := &sample.Batch{Devices: []sample.Device{gpu(0)}}
		set(b, 0, trace.Time(i)*1e9, map[sample.MetricID]float64{sample.PowerWatts: watts})
		if err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			cut = buf.Len()
		}
	}
	if end {
		if err := w.Close(telemetry.End{Rows: 2, Clean: true}); err != nil {
			t.Fatal(err)
		}
	}
	return bytes.Clone(buf.Bytes()[:cut]), bytes.Clone(buf.Bytes()[cut:])
}

// TestFollow: a file that grows, that ends, that is replaced, that is given up, and one that
// was cut.
func TestFollow(t *testing.T) {
	t.Parallel()
	first, rest := recording(t, true)
	for name, c := range map[string]struct {
		before, after []byte
		stop          bool
		replace       bool
		rows          int64
		wrong         string
	}{
		"whole":    {before: append(bytes.Clone(first), rest...), rows: 2},
		"grows":    {before: first, after: rest, rows: 2},
		"empty":    {after: append(bytes.Clone(first), rest...), rows: 2},
		"stopped":  {before: first, stop: true, rows: 1},
		"torn":     {before: append(bytes.Clone(first), rest[:20]...), stop: true, rows: 1},
		"replaced": {before: first, after: append(bytes.Clone(first), rest...), replace: true, rows: 3},
		"text":     {before: []byte("not a recording at all\n"), wrong: "power.arrows: no recording begins like this"},
		"short":    {before: []byte("no"), wrong: "no recording begins like this"},
		"beheaded": {before: first[len(first)/2:], wrong: "no recording begins like this"},
		"zeros":    {before: make([]byte, 10), wrong: "no recording begins like this"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "power.arrows")
			if err := os.WriteFile(path, c.before, 0o666); err != nil {
				t.Fatal(err)
			}
			w := newWorld()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			waited := make(chan struct{})
			f := &feeder{model: w.model, say: t.Logf, wait: func(stop <-chan struct{}) {
				select {
				case waited <- struct{}{}:
				case <-stop:
				}
			}}
			result := make(chan error, 1)
			go func() { result <- f.follow(ctx, path) }()
			if c.after != nil || c.stop {
				<-waited // it has read all there is
				switch {
				case c.stop:
					cancel()
				case c.replace:
					if err := os.WriteFile(path+".new", c.after, 0o666); err != nil {
						t.Error(err)
					}
					if err := os.Rename(path+".new", path); err != nil {
						t.Error(err)
					}
				default:
					out, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
					if err != nil {
						t.Fatal(err)
					}
					out.Write(c.after)
					out.Close()
				}
			}
			var err error
			for done := false; !done; {
				select {
				case err = <-result:
					done = true
				case <-waited:
				}
			}
			if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
				t.Error(err)
			}
			if w.rows != c.rows {
				t.Errorf("%d rows, want %d", w.rows, c.rows)
			}
		})
	}
}

// TestHint: that a file has no whole head for long is said once, and the rest is still read.
func TestHint(t *testing.T) {
	t.Parallel()
	first, rest := recording(t, true)
	for name, c := range map[string]struct {
		before []byte
		want   string
	}{
		"empty": {nil, "power.arrows: is empty; a recording is waited for"},
		"torn":  {first[:100], "power.arrows: its 100 bytes have not all of a recording's head; more is waited for"},
		"whole": {first, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "power.arrows")
			if err := os.WriteFile(path, c.before, 0o666); err != nil {
				t.Fatal(err)
			}
			var said []string
			looks := 0
			w := newWorld()
			f := &feeder{model: w.model, say: func(format string, args ...any) { said = append(said, filepath.Base(fmt.Sprintf(format, args...))) }}
			f.wait = func(<-chan struct{}) {
				if looks++; looks == 3*hintAfter {
					if err := os.WriteFile(path, append(bytes.Clone(first), rest...), 0o666); err != nil {
						t.Error(err)
					}
				}
			}
			if err := f.follow(t.Context(), path); err != nil || w.rows != 2 {
				t.Error(err, w.rows)
			}
			if got := strings.Join(said, "; "); got != c.want {
				t.Errorf("said %q, want %q", got, c.want)
			}
		})
	}
}

// TestBegin: what may be the first bytes of a recording, cut anywhere.
func TestBegin(t *testing.T) {
	t.Parallel()
	for _, head := range []string{"", "\xff", "\xff\xff\xff\xff\x10\x00", "A", "ARROW1\x00\x00", "\x1f", "\x1f\x8b\x08", "\x28\xb5", "\x28\xb5\x2f\xfd", "\x51", "\x50\x2a\x4d\x18"} {
		if !mayBegin([]byte(head)) {
			t.Errorf("%q is refused", head)
		}
	}
	for _, head := range []string{"\x00", "{", "\xff\xfe", "ARROW2", "\x1f\x8a", "\x50\x2a\x4d\x19", "hello"} {
		if mayBegin([]byte(head)) {
			t.Errorf("%q is not refused", head)
		}
	}
}

// TestCut: a stream that breaks off is said, and what came is shown.
func TestCut(t *testing.T) {
	t.Parallel()
	first, _ := recording(t, false)
	w := newWorld()
	f := &feeder{model: w.model}
	if err := f.stream(bytes.NewReader(first), "-"); err == nil || !strings.Contains(err.Error(), "not complete") || w.rows != 1 {
		t.Error(err, w.rows)
	}
}

// TestCSV: the header once, each reading once, and columns that are not ours refused.
func TestCSV(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rows.csv")
	w := filled()
	for range 2 {
		c, err := openCSV(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := c.poll(w.model); err != nil {
				t.Fatal(err)
			}
		}
		c.close()
		w.at(31, []sample.Device{gpu(5)}, func(b *sample.Batch, at trace.Time) {
			set(b, 0, at, map[sample.MetricID]float64{sample.PowerWatts: 10})
		})
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "took_nanos"); n != 1 {
		t.Errorf("%d headers", n)
	}
	if n := strings.Count(string(b), "\n"); n != 1+4+5 {
		t.Errorf("%d lines:\n%s", n, b)
	}
	for content, wrong := range map[string]string{"a,b\n1,2\n": "other columns", string(b[:len(b)-1]): "not whole"} {
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := openCSV(path); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Error(err)
		}
		if left, _ := os.ReadFile(path); string(left) != content {
			t.Error("it was changed")
		}
	}
}

// TestHistory: memory is what is stated, and nothing is kept longer.
func TestHistory(t *testing.T) {
	t.Parallel()
	h := newHistory(60)
	for i := range 200 {
		h.add(int64(i)*1e9, float64(i))
		h.add(int64(i)*1e9+5e8, float64(i))
	}
	if v := h.mean(199, 200); v != 199 {
		t.Error(v)
	}
	if v := h.mean(100, 139); !math.IsNaN(v) {
		t.Error(v)
	}
	if v := h.mean(-50, 200); v != 169.5 {
		t.Error(v)
	}
	full := 0
	m := newModel(24*3600, time.Now)
	m.full = func() { full++ }
	b := &sample.Batch{}
	for i := range 60 {
		d := gpu(0)
		d.ID = string(rune('A' + i))
		b.Devices = append(b.Devices, d)
		b.Append(i, trace.Time(i), 0).Set(sample.PowerWatts, 1)
	}
	m.take(b, wall)
	if m.taken > maxHistory || full != 1 || len(m.devices) != 60 {
		t.Error(m.taken, full)
	}
}

// TestUsage: what is wrong is said before anything is opened.
func TestUsage(t *testing.T) {
	t.Setenv(tokenVariable, "")
	dir := t.TempDir()
	short := filepath.Join(dir, "short")
	os.WriteFile(short, []byte("abc\n"), 0o600)
	for args, want := range map[string]string{
		"a b":                                 "monitor follows one recording",
		"a --interval 1s":                     "--interval is for the record that monitor starts",
		"--listen 0.0.0.0:0 -":                "needs a token",
		"--listen :0 --token-file " + short:   "want 16 to 4096",
		"--server foo:bar -":                  "want vllm:URL",
		"--server vllm: -":                    "want vllm:URL",
		"--every 1ms":                         "want 100ms to 1h",
		"--history 1s":                        "want 1m to 24h",
		"--source dmon:-":                     "has no standard input",
		"--record-flag rotate=1s":             "gives that flag itself",
		"-o " + short:                         "exists already",
		"-o power.%h.arrows":                  "without record's %",
		filepath.Join(dir, "absent"):          "no such file",
		dir:                                   "is a directory",
		"--csv " + short + " " + short:        "other columns",
		"- -- true":                           "runs no command",
		"--listen nonsense":                   "want HOST:PORT",
		"--csv= -":                            "--csv is empty",
		"-o= -":                               "--output is empty",
		"--csv /dev/full " + short:            "/dev/full: no space left on device",
		"--token-file " + short + " " + short: "is of --listen",
		"--scrape-interval 3s " + short:       "is of --server",
	} {
		var out, errs bytes.Buffer
		code := Main(t.Context(), append([]string{"-q"}, strings.Fields(args)...), nil, &out, &errs)
		if code == 0 || !strings.Contains(errs.String(), want) || out.Len() > 0 {
			t.Errorf("%s: %d, %s%s", args, code, &out, &errs)
		}
	}
}

// TestLastLine: while the page of a recording that has ended stays, its last line is not
// said again and again.
func TestLastLine(t *testing.T) {
	t.Parallel()
	first, rest := recording(t, true)
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	var out, errs bytes.Buffer
	Main(ctx, []string{"--listen", "127.0.0.1:0", "--every", "100ms"}, io.MultiReader(bytes.NewReader(first), bytes.NewReader(rest)), &out, &errs)
	if got := strings.Count(out.String(), "no more readings will come"); got != 1 || !strings.Contains(errs.String(), "the page stays") {
		t.Errorf("said %d times: %s%s", got, &out, &errs)
	}
}

// TestPiped: a recording on standard input, one line a second and the last.
func TestPiped(t *testing.T) {
	t.Parallel()
	first, rest := recording(t, true)
	var out, errs bytes.Buffer
	if code := Main(t.Context(), nil, io.MultiReader(bytes.NewReader(first), bytes.NewReader(rest)), &out, &errs); code != 0 {
		t.Fatal(code, errs.String())
	}
	if got, want := out.String(), "2026-11-27T12:00:01Z  1 GPU  100.0 W  ~100.0 J in 1s  standard input  no more readings will come\n"; got != want || errs.Len() > 0 {
		t.Errorf("%q, %s", got, &errs)
	}
	out.Reset()
	if code := Main(t.Context(), nil, bytes.NewReader(first), &out, &errs); code != 1 || !strings.Contains(errs.String(), "not complete") {
		t.Error(code, errs.String())
	}
}
