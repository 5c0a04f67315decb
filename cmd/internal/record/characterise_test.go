package record

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wattrace/formats/sensors"
	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/sample/sampletest"
	"wattrace/sample/sim"
	"wattrace/trace"
)

// polledBoard is a simulated board under a square load, polled for a minute.
func polledBoard(t *testing.T, p sim.Profile, seed uint64, driver string) *finding {
	t.Helper()
	devices, err := sim.New(sim.Options{Profile: p, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	now := trace.Time(0)
	src := sim.NewSource(devices, func() trace.Time { return now })
	f := &finding{device: devices[0].Info(), driver: driver}
	f.in.Loaded = trace.Time(8 * time.Second)
	rng := rand.New(rand.NewPCG(seed, 2))
	watts, next := p.IdleWatts, f.in.Loaded
	b := &sample.Batch{Devices: src.Devices()}
	for ; now < trace.Time(time.Minute); now = now.Add(fastPoll) {
		for next <= now {
			watts = p.IdleWatts + p.LimitWatts*0.9 - watts
			next = next.Add(time.Second/2 + time.Duration(rng.Int64N(int64(time.Second))))
		}
		devices[0].SetPower(now, watts+2*rng.NormFloat64())
		b.Reset()
		row := b.Append(0, now, 0)
		src.Read(0, false, []sample.Row{row})
		put(&f.in, b, 0)
	}
	f.measure()
	return f
}

// b200 is a board that no table has.
func b200(t *testing.T) sim.Profile {
	p, err := sim.ProfileByName("hopper")
	if err != nil {
		t.Fatal(err)
	}
	p.Name, p.Product, p.Architecture = "blackwell", "wattrace simulated B200", "blackwell"
	p.PowerPeriod, p.InstantWindow, p.AverageSpan = 50*time.Millisecond, 20*time.Millisecond, 725*time.Millisecond
	return p
}

// What was measured is written, read, and then what reduce takes a board for.
func TestRowsRoundTrip(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	profiles := append(sim.Profiles(), b200(t))
	for _, p := range profiles {
		f := polledBoard(t, p, 3, "580.159.04")
		rows, notes := sensorRows([]*finding{f}, "2026-11-27")
		var b bytes.Buffer
		if err := sensors.WriteRows(&b, rows); err != nil {
			t.Fatal(err)
		}
		table, err := sensors.Read(&b, "sensors.yaml")
		if err != nil || len(notes) > 0 {
			t.Fatalf("%s: %v, %q", p.Name, err, notes)
		}
		table = append(table, reduce.Sensors()...) // as reduce --sensors does
		s, ok := table.Lookup(reduce.FieldInstant, f.device, "580.1")
		if !ok || s.Assumed || s.Kind != reduce.SensorInstant || (s.Period-p.PowerPeriod).Abs() > ms || (s.Window-p.InstantWindow).Abs() > 4*ms {
			t.Errorf("%s: instant %+v", p.Name, s)
		}
		if p.AverageSpan == 0 {
			continue
		}
		s, ok = table.Lookup(reduce.FieldAverage, f.device, "580.1")
		if !ok || s.Assumed || s.Kind != reduce.SensorAverage || (s.Span-p.AverageSpan).Abs() > 12*ms || (s.Window-p.AverageSpan-p.PowerPeriod/2).Abs() > 12*ms {
			t.Errorf("%s: average %+v", p.Name, s)
		}
		// The next driver is another matter.
		next, ok := table.Lookup(reduce.FieldAverage, f.device, "585.1")
		builtIn, _ := reduce.Sensors().Lookup(reduce.FieldAverage, f.device, "585.1")
		if !ok || next != builtIn {
			t.Errorf("%s: with driver 585 %+v, want %+v", p.Name, next, builtIn)
		}
		for _, c := range f.comparisons {
			if c.field == reduce.FieldAverage && (c.Ratio < 0.99 || c.Ratio > 1.01) {
				t.Errorf("%s: the counter is %.3f of the average", p.Name, c.Ratio)
			}
		}
	}
}

// reduce, which assumes that a board that it does not know is like the last one measured,
// tells the energy of seconds better by what was measured.
func TestReduceByWhatWasMeasured(t *testing.T) {
	t.Parallel()
	const s = trace.Time(time.Second)
	f := polledBoard(t, b200(t), 3, "580.1")
	rows, _ := sensorRows([]*finding{f}, "2026-11-27")
	var table reduce.SensorTable
	for _, r := range rows {
		table = append(table, r.SensorRow)
	}
	devices, err := sim.New(sim.Options{Profile: b200(t), Seed: 4}) // another board
	if err != nil {
		t.Fatal(err)
	}
	now := trace.Time(0)
	src := sim.NewSource(devices, func() trace.Time { return now })
	b, watts, next := &sample.Batch{Devices: src.Devices()}, 100.0, trace.Time(0)
	rng := rand.New(rand.NewPCG(7, 7))
	truth := map[trace.Time]uint64{}
	for ; now < 60*s; now = now.Add(20 * time.Millisecond) {
		if now >= next {
			watts, next = 100+500*rng.Float64(), now.Add(time.Duration(100+rng.IntN(900))*time.Millisecond)
			devices[0].SetPower(now, watts)
		}
		truth[now] = devices[0].Energy(now)
		row := b.Append(0, now, 0)
		src.Read(0, false, []sample.Row{row})
	}
	misses := func(table reduce.SensorTable) (rms float64) {
		r := reduce.New(trace.Clock{Host: "node"}, []reduce.Span{{Name: "p", Kind: "measure", Start: 5 * s, End: trace.Some(55 * s)}}, true,
			reduce.Options{Every: time.Second, EnergySource: reduce.SourcePower, Sensors: table})
		r.Survey(b, reduce.Recording{Driver: "580.1"})
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
		r.Telemetry(b, reduce.Recording{Driver: "580.1"})
		n := trace.Time(0)
		for slice := range r.Report().Phases[0].Slices {
			from := 5*s + n*s
			got := slice.Metrics[reduce.TotalGPUEnergy].Value
			want := float64(truth[from+s]-truth[from]) / 1e6
			rms, n = rms+(got-want)*(got-want), n+1
		}
		if n != 50 {
			t.Fatalf("%d windows", n)
		}
		return math.Sqrt(rms / float64(n))
	}
	before, after := misses(nil), misses(table)
	t.Logf("windows of 1 s miss the truth by %.1f J RMS as built in, by %.1f J as measured", before, after)
	if after > before/2 || after > 10 {
		t.Errorf("windows of 1 s miss the truth by %.1f J RMS as built in, by %.1f J as measured", before, after)
	}
}

// Of GPUs that are alike there is one row; those that differ are told.
func TestRowsOfSeveral(t *testing.T) {
	t.Parallel()
	a, b := polledBoard(t, b200(t), 1, "580.1"), polledBoard(t, b200(t), 2, "580.1")
	rows, notes := sensorRows([]*finding{a, b}, "2026-11-27")
	if len(rows) != 2 || len(notes) != 0 || rows[0].Measured.Devices != 2 || rows[0].From != 580 || rows[0].Below != 581 || rows[0].Measured.Window.N == 0 {
		t.Errorf("%+v, %q", rows, notes)
	}
	wide := b200(t)
	wide.AverageSpan = 1025 * time.Millisecond
	c := polledBoard(t, wide, 3, "580.1")
	c.device.Index = 2
	if rows, notes = sensorRows([]*finding{a, c}, "2026-11-27"); len(rows) != 2 || len(notes) != 1 || !strings.HasPrefix(notes[0], "GPU 0 and GPU 2 differ: windows of the field average") {
		t.Errorf("%+v, %q", rows, notes)
	}
	none := &finding{device: a.device}
	none.in.Average = a.in.Average[:10]
	none.measure()
	if rows, notes = sensorRows([]*finding{none}, ""); len(rows) != 0 || len(notes) != 1 || notes[0] != "GPU 0: no row for the field average" {
		t.Errorf("%+v, %q", rows, notes)
	}
	for version, want := range map[string]int{"580.159.04": 580, "simulated": 0, "": 0, "-3": 0} {
		if got := majorOf(version); got != want {
			t.Errorf("%q: %d, want %d", version, got, want)
		}
	}
}

// squareNode is a host whose GPU's load goes on and off as soon as a file says so.
func squareNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, stub: sampletest.BuildStub(t), dir: t.TempDir()}
	devices, err := sim.New(sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n.state, err = sim.CreateState(filepath.Join(n.dir, "nvml.state"), sim.Infos(devices)); err != nil {
		t.Fatal(err)
	}
	begin, done := time.Now(), make(chan struct{})
	var publisher sync.WaitGroup
	publisher.Go(func() {
		rng := rand.New(rand.NewPCG(1, 1))
		watts, next := 90.0, time.Duration(0)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for last := time.Duration(0); ; {
			at := time.Since(begin)
			n.ticks.Add(1)
			if at-last > 5*time.Millisecond {
				n.late.Add(1)
			}
			last = at
			if _, err := os.Stat(filepath.Join(n.dir, "on")); err == nil && at > next {
				watts, next = 700-watts, at+400*time.Millisecond+time.Duration(rng.Int64N(int64(400*time.Millisecond)))
			}
			devices[0].SetPower(trace.Time(at), watts+rng.NormFloat64())
			n.state.Publish(0, devices[0].Read(trace.Time(at)))
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
		n.state.Close()
	})
	return n
}

func TestCharacterise(t *testing.T) {
	t.Parallel()
	idle := startIdle(t)
	n := squareNode(t)
	var p *process
	said := regexp.MustCompile(`(?s)^record: 2.5s at rest, polls every 4.3ms for 7.5s under the load, every 10ms 20ms 50ms 100ms for 1.25s each\n` +
		`.*printed\n.*GPU 0, wattrace simulated H100 \(hopper, driver 580\.00\.00-simulated\)\n  one reading of all fields: .* n=[0-9]+\n  [0-9]+ edges of the load, by the counter\n` +
		`.*  counter +(99|100)\..*\n  average +average +(99|100)\..*\n  instant .*  counter / integral of instant: .*polls every 10[0-9.]*ms`)
	busy := false
	for try := 1; ; try++ { // a machine that is busy may poll, and its sensors show, too late to know anything
		ticks, late := n.ticks.Load(), n.late.Load()
		p = n.run("--characterise", "--interval", "4300us", "--for", "15s", "--load", "echo $$ > pid; touch on; echo printed; sleep 100; true", "-o", "sensors.yaml", "--force")
		share := float64(n.late.Load()-late) / float64(n.ticks.Load()-ticks)
		busy = share >= 0.01
		if p.ProcessState.ExitCode() == 0 && said.MatchString(p.stderr.String()) {
			break
		}
		t.Logf("%.1f %% of the sensor's updates were late:\n%s", 100*share, &p.stderr)
		if !busy {
			t.Fatal("something else is said, and the machine was in time")
		}
		if try == 3 {
			break // what does not go by the clock holds all the same
		}
		os.Remove(filepath.Join(n.dir, "on"))
	}
	if code := exitStatus(p.ProcessState); code != 0 && !(busy && code == 3) || !strings.HasPrefix(p.stderr.String(), "record: 2.5s at rest, polls every 4.3ms for 7.5s under the load, every 10ms") ||
		!strings.Contains(p.stderr.String(), "printed\n") || !strings.Contains(p.stderr.String(), "GPU 0, wattrace simulated H100 (hopper, driver 580.00.00-simulated)\n") {
		t.Fatalf("exit status %d:\n%s", code, &p.stderr)
	}
	n.gone("pid")
	idle()
	if exitStatus(p.ProcessState) == 3 {
		return // and no table
	}
	if strings.Contains(p.stderr.String(), "no load to tell rest from") {
		t.Errorf("the rest is not known:\n%s", &p.stderr)
	}
	b, err := os.ReadFile(filepath.Join(n.dir, "sensors.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := sensors.ReadRows(bytes.NewReader(b), "sensors.yaml")
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if r := rows[0]; r.Field != reduce.FieldAverage || r.Architecture != "hopper" || r.From != 580 || r.Below != 581 ||
		!busy && (r.Window-time.Second).Abs() > 20*time.Millisecond || r.Measured.Device != "wattrace simulated H100" || r.Measured.Driver != "580.00.00-simulated" {
		t.Errorf("%s", b)
	}
	if p.stdout.Len() > 0 {
		t.Errorf("on standard output: %q", &p.stdout)
	}
}

// startIdle measures a GPU without a load, beside what else a test does, and returns
// what checks that.
func startIdle(t *testing.T) (check func()) {
	t.Helper()
	n := squareNode(t)
	p := n.start("--characterise", "--for", "10s", "-o", "sensors.yaml")
	text := n.start("--characterise", "--for", "10s", "--format", "text", "-q")
	failed := n.start("--characterise", "--for", "10s", "--load", "exit 7", "-q", "-o", "none.yaml")
	return func() {
		n.want(p, 3, `(?s)no load, polls every 20ms .*\? .*instant: window unknown: no edges of a load.*record: nothing is known well enough for a table of sensors\nrecord: hint: windows are measured under a load`)
		if _, err := os.Stat(filepath.Join(n.dir, "sensors.yaml")); err == nil {
			t.Error("a file without rows")
		}
		n.want(text, 0, "^$")
		if !strings.Contains(text.stdout.String(), "GPU 0, wattrace simulated H100") {
			t.Errorf("%s", &text.stdout)
		}
		n.want(failed, 3, `record: the load ended before the measurement did\n(?s:.*)--load: exit status 7`)
	}
}

func TestLaws(t *testing.T) {
	t.Parallel()
	gpu := sample.Device{Source: sample.NVML, Scope: sample.ScopeGPU}
	check := func(architecture, driver, want string) {
		t.Helper()
		gpu.Architecture = architecture
		if got := lawOf(gpu, driver); got != want {
			t.Errorf("%s, driver %s:\n%swant\n%s", architecture, driver, got, want)
		}
	}
	check("hopper", "580.159.04", "  average: the mean of 1s, every 100ms (measured)\n  instant: the mean of 25ms, every 100ms: it sees 25 % of the time (measured)\n")
	check("ada", "550.1", "  average: the mean of 1.1s, every 100ms, at rest every 1s (measured)\n  instant: the mean of 100ms, every 100ms (measured)\n")
	check("blackwell", "580.1", "  average: the mean of 1s, every 100ms (assumed)\n  instant: the mean of 25ms, every 100ms: it sees 25 % of the time (assumed)\n")
	check("kepler", "", "  average: the mean of 1s, every 100ms (assumed)\n  instant: follows power as a capacitor's charge does, every 100ms (measured)\n")
	if got := lawOf(sample.Device{Source: sample.RAPL, Scope: sample.ScopeCPUPackage}, ""); got != "" {
		t.Errorf("of a processor: %q", got)
	}
}

func TestCharacteriseInterrupted(t *testing.T) {
	t.Parallel()
	n := squareNode(t)
	p := n.start("--characterise", "--for", "12s", "--load", "trap '' TERM; touch on; echo $$ > pid; sleep 100; true", "-o", "sensors.yaml")
	n.waitForFile("pid")
	p.Process.Signal(syscall.SIGINT)
	n.want(p, 130, "")
	if _, err := os.Stat(filepath.Join(n.dir, "sensors.yaml")); err == nil {
		t.Error("half a measurement was written")
	}
	n.gone("pid")
}

// gone fails the test unless the process has ended whose number a file has.
func (n *node) gone(name string) {
	n.t.Helper()
	pid, err := os.ReadFile(filepath.Join(n.dir, name))
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join("/proc", strings.TrimSpace(string(pid)))); err == nil {
		n.t.Error("the load is still there")
	}
}
