package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/sensors"
	"wattrace/reduce"
	"wattrace/reduce/characterise"
	"wattrace/sample"
	"wattrace/trace"
)

const (
	characteriseFor = time.Minute
	leastFor        = 10 * time.Second

	// fastPoll is no part of 20 or 100 ms, so that polls do not keep step with
	// updates, and longer than the counter's call takes on Hopper.
	fastPoll = 4300 * time.Microsecond

	callsAlone = 200 // that latencies are taken from
	aloneFor   = time.Second
	loadGrace  = 2 * time.Second // for the load to end by itself when it is told to
)

// comparedPolls are the polls at which the counter is held against power: a
// report has it that they differ the more the faster the polls are.
var comparedPolls = []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond}

// phases are the parts of a measurement.
type phases struct{ rest, fast, compare time.Duration } // compare is for each of comparedPolls

func planPhases(total time.Duration, load bool) phases {
	p := phases{rest: total / 6, compare: total / 12}
	if !load {
		p.rest = 0
	}
	p.fast = total - p.rest - time.Duration(len(comparedPolls))*p.compare
	return p
}

// finding is what was measured of one device.
type finding struct {
	device      sample.Device
	driver      string
	reading     characterise.Latency // of all its fast metrics at once, one device at a time
	in          characterise.Input   // of fast polls
	slower      []characterise.Input // by comparedPolls
	result      characterise.Result
	comparisons []comparison
}

// comparison is the counter beside the integral of a field.
type comparison struct {
	field reduce.PowerField
	characterise.Comparison
}

// characterise measures the sensors of the GPUs and writes what it finds.
func (o *options) characterise(ctx context.Context, env *cli.Env, src *sources, clock *trace.SteadyClock) error {
	if len(src.infos) > len(src.pulled) { // feeds of events are of what is pulled
		return cli.Usagef("--characterise reads sensors itself: a --source that brings readings is not for it")
	}
	out, err := env.Output(cli.OutputOptions{Atomic: true})
	if err != nil {
		return err
	}
	m := &measurement{options: o, env: env, src: src, clock: clock}
	if err := m.run(ctx); err != nil {
		return err
	}
	var all []*finding
	for i := range m.findings {
		if f := &m.findings[i]; f.device.Source == sample.NVML && f.device.Scope == sample.ScopeGPU {
			f.measure()
			all = append(all, f)
		}
	}
	if len(all) == 0 {
		return errors.New("no GPU has power fields that are read here")
	}
	var text strings.Builder
	for _, f := range all {
		f.print(&text)
	}
	if o.format == "text" {
		return errors.Join(write(out, text.String()), m.loadFailed)
	}
	if !env.Quiet {
		fmt.Fprint(env.Stderr, text.String())
	}
	rows, notes := sensorRows(all, time.Now().UTC().Format(time.DateOnly))
	for _, note := range notes {
		env.Printf("%s", note)
	}
	if len(rows) == 0 {
		err := cli.Incompletef("nothing is known well enough for a table of sensors")
		if o.load == "" {
			err = cli.Hint(err, "windows are measured under a load that switches between two powers: --load CMD")
		}
		return errors.Join(err, m.loadFailed)
	}
	file := bytes.NewBufferString("# " + cli.Producer() + ": record --characterise\n")
	if err := sensors.WriteRows(file, rows); err != nil {
		return err
	}
	return errors.Join(write(out, file.String()), m.loadFailed)
}

// write writes all of an output.
func write(out *cli.Output, text string) error {
	if _, err := io.WriteString(out, text); err != nil {
		out.Abort()
		return err
	}
	return out.Close()
}

// measurement is the part of it that takes time.
type measurement struct {
	*options
	env        *cli.Env
	src        *sources
	clock      *trace.SteadyClock
	findings   []finding
	doing      atomic.Pointer[string]
	loading    *exec.Cmd
	loadFailed error // what became of it
}

func (m *measurement) run(ctx context.Context) error {
	soft, hard, stop := cli.Signals(ctx)
	defer stop()
	ctx, cancel := context.WithCancel(soft)
	defer cancel()
	context.AfterFunc(hard, cancel)

	for _, s := range m.src.pulled {
		for _, d := range s.Devices() {
			m.findings = append(m.findings, finding{device: d, driver: driverOf(d, s.Info())})
		}
	}
	total, poll := m.duration, m.interval
	if total == 0 {
		total = characteriseFor
	}
	p := planPhases(total, m.load != "")
	m.env.Summaryf("%s, polls every %v for %v%s, every %s for %v each", p.before(), poll, p.fast, m.under(), strings.Trim(fmt.Sprint(comparedPolls), "[]"), p.compare)
	m.say("reading each GPU alone")
	defer m.env.Progress(func() string { return *m.doing.Load() })()
	m.alone(ctx)

	if p.rest > 0 {
		m.say("at rest")
		if err := m.poll(ctx, poll, p.rest, m.keep); err != nil {
			return err
		}
		load, err := m.startLoad()
		if err != nil {
			return err
		}
		defer m.stopLoad(load)
		for i := range m.findings {
			m.findings[i].in.Loaded = m.clock.Now()
		}
	}
	m.say("polling every %v%s", poll, m.under())
	if err := m.poll(ctx, poll, p.fast, m.keep); err != nil {
		return err
	}
	for _, poll := range comparedPolls {
		m.say("polling every %v%s", poll, m.under())
		some := make([]characterise.Input, len(m.findings))
		if err := m.poll(ctx, poll, p.compare, func(b *sample.Batch, i int) { put(&some[b.Device[i]], b, i) }); err != nil {
			return err
		}
		for i := range m.findings {
			m.findings[i].slower = append(m.findings[i].slower, some[i])
		}
	}
	return nil
}

func (p phases) before() string {
	if p.rest == 0 {
		return "no load"
	}
	return fmt.Sprintf("%v at rest", p.rest)
}

func (m *measurement) under() string {
	if m.load == "" {
		return ""
	}
	return " under the load"
}

func (m *measurement) say(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	m.doing.Store(&s)
}

// alone measures how long the readings take when nobody else reads.
func (m *measurement) alone(ctx context.Context) {
	base := 0
	for _, s := range m.src.pulled {
		devices := s.Devices()
		for unit, places := range s.Units() {
			var took []time.Duration
			begin := m.clock.Now()
			for len(took) < callsAlone && m.clock.Now().Sub(begin) < aloneFor && ctx.Err() == nil {
				b := &sample.Batch{Devices: devices}
				var rows []sample.Row
				at := m.clock.Now()
				for _, d := range places {
					rows = append(rows, b.Append(d, at, 0))
				}
				s.Read(unit, false, rows)
				t := rows[0].Took()
				if t == 0 {
					t = m.clock.Now().Sub(at)
				}
				took = append(took, t)
			}
			for _, d := range places {
				m.findings[base+d].reading = characterise.Latencies(took)
			}
		}
		base += len(devices)
	}
}

// poll samples for a time.
func (m *measurement) poll(ctx context.Context, every, length time.Duration, row func(*sample.Batch, int)) error {
	phase, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	s := &sample.Sampler{Sources: m.src.pulled, Clock: m.clock, Interval: every, SlowInterval: max(every, time.Hour)}
	_, err := s.Run(phase, func(b *sample.Batch) error {
		for i := range b.Len() {
			row(b, i)
		}
		return nil
	})
	if err == nil && ctx.Err() != nil {
		err = cli.ErrInterrupted
	}
	return err
}

func (m *measurement) keep(b *sample.Batch, i int) { put(&m.findings[b.Device[i]].in, b, i) }

// put takes a row's readings.
func put(in *characterise.Input, b *sample.Batch, i int) {
	for _, f := range []struct {
		to     *[]characterise.Reading
		metric sample.MetricID
	}{{&in.Average, sample.PowerAverageWatts}, {&in.Instant, sample.PowerInstantWatts}, {&in.Counter, sample.EnergyJoules}} {
		if v, ok := b.Float(f.metric, i); ok {
			*f.to = append(*f.to, characterise.Reading{At: b.Time[i], Took: b.Took[i], Value: v})
		}
	}
}

// startLoad starts the load in a process group of its own, so that all of it can
// be ended. What it prints must not get among the results.
func (m *measurement) startLoad() (*task, error) {
	m.loading = exec.Command("sh", "-c", m.load)
	m.loading.Stdout, m.loading.Stderr = m.env.Stderr, m.env.Stderr
	m.loading.WaitDelay = loadGrace // for what of it has left the group and still prints
	ownGroup(m.loading)
	if err := m.loading.Start(); err != nil {
		return nil, fmt.Errorf("--load: %w", err)
	}
	return begin(m.loading.Wait), nil
}

// stopLoad ends the load. One that ended before has left the rest of the time
// without it, and one that failed perhaps all.
func (m *measurement) stopLoad(load *task) {
	select {
	case <-load.done:
		m.env.Printf("the load ended before the measurement did")
		if load.err != nil {
			m.loadFailed = cli.Incompletef("--load: %w", load.err)
		}
	default:
	}
	signalGroup(m.loading, syscall.SIGTERM)
	select {
	case <-load.done:
	case <-time.After(loadGrace):
	}
	signalGroup(m.loading, syscall.SIGKILL) // what is left of it
	<-load.done
}

// measure makes a result of the readings.
func (f *finding) measure() {
	f.result = characterise.Measure(f.in)
	for _, field := range []*characterise.Field{&f.result.Average, &f.result.Instant} {
		s, ok := field.Sensor()
		if !ok {
			s, _ = reduce.Sensors().Lookup(field.Name, f.device, f.driver)
		}
		for _, in := range append([]characterise.Input{f.in}, f.slower...) {
			power := in.Average
			if field.Name == reduce.FieldInstant {
				power = in.Instant
			}
			if c, ok := characterise.Compare(in.Counter, power, s.Lag()); ok {
				f.comparisons = append(f.comparisons, comparison{field.Name, c})
			}
		}
	}
}

// print writes what was found as a table.
func (f *finding) print(w io.Writer) {
	or := func(s string) string {
		if s == "" {
			return "?"
		}
		return s
	}
	d, r := f.device, &f.result
	fmt.Fprintf(w, "GPU %d, %s (%s, driver %s)\n", d.Index, or(d.Name), or(reduce.GPUArchitecture(d)), or(f.driver))
	fmt.Fprintf(w, "  one reading of all fields: %v (p50), %v (p99), %v at most, n=%d\n", short(f.reading.P50), short(f.reading.P99), short(f.reading.Max), f.reading.N)
	if r.Edges > 0 {
		fmt.Fprintf(w, "  %d edges of the load, by %s\n", r.Edges, r.EdgesFrom)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  FIELD\tKIND\tPERIOD\tOFF THE GRID\tWINDOW\tLATE BY\tAT REST EVERY\tNOISE AT REST")
	var why []string
	cell := func(field *characterise.Field, what string, m characterise.Duration) string {
		if m.Known() {
			return m.String()
		}
		why = append(why, fmt.Sprintf("  %s: %s unknown: %s", field.Name, what, m.Unknown))
		return "?"
	}
	for _, field := range []*characterise.Field{&r.Counter, &r.Average, &r.Instant} {
		if !field.Present {
			fmt.Fprintf(t, "  %s\tnot there\t\t\t\t\t\t\n", field.Name)
			continue
		}
		period := cell(field, "period", field.Period)
		rest := cell(field, "period at rest", field.Rest)
		if field.Name == characterise.FieldCounter {
			fmt.Fprintf(t, "  %s\t\t%s\t%v\t\t\t%s\t\n", field.Name, period, short(field.Jitter), rest)
			continue
		}
		window, delay := cell(field, "window", field.Window), "?"
		if field.Delay.Known() {
			delay = field.Delay.String()
		}
		if s, ok := field.Sensor(); ok && s.Duty < 1 {
			window += fmt.Sprintf(", %.0f %% of the time", 100*s.Duty)
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%v\t%s\t%s\t%s\t%.2g W\n", field.Name, or(string(field.Kind)), period, short(field.Jitter), window, delay, rest, field.Noise)
	}
	t.Flush()
	for _, line := range why {
		fmt.Fprintln(w, line)
	}
	for _, field := range []reduce.PowerField{reduce.FieldAverage, reduce.FieldInstant} {
		var parts []string
		for _, c := range f.comparisons {
			if c.field == field {
				parts = append(parts, fmt.Sprintf("%.3f ± %.3f (polls every %v, %d parts)", c.Ratio, c.Spread, short(c.Poll), c.Parts))
			}
		}
		if len(parts) > 0 {
			fmt.Fprintf(w, "  counter / integral of %s: %s\n", field, strings.Join(parts, ", "))
		}
	}
}

// boardSpread is the part of a time by which boards of one model may differ.
const boardSpread = 50

// sensorRows makes rows of a table of what was found: of GPUs that are alike the
// row of the one whose window is known best. It tells what is missing, and where
// such GPUs differ.
func sensorRows(all []*finding, date string) (rows []sensors.Row, notes []string) {
	type key struct {
		field        reduce.PowerField
		architecture string
		major        int
	}
	best := map[key]*finding{}
	count := map[key]int{}
	var order []key
	fieldOf := func(f *finding, name reduce.PowerField) *characterise.Field {
		if name == reduce.FieldAverage {
			return &f.result.Average
		}
		return &f.result.Instant
	}
	for _, f := range all {
		for _, name := range []reduce.PowerField{reduce.FieldAverage, reduce.FieldInstant} {
			field := fieldOf(f, name)
			if !field.Present {
				continue
			}
			if _, ok := field.Sensor(); !ok {
				notes = append(notes, fmt.Sprintf("GPU %d: no row for the field %s", f.device.Index, name))
				continue
			}
			k := key{name, reduce.GPUArchitecture(f.device), majorOf(f.driver)}
			count[k]++
			last := best[k]
			if last == nil {
				order = append(order, k)
			} else {
				w, v := fieldOf(last, name).Window, field.Window
				if off := (w.Value - v.Value).Abs(); off > 3*(w.Uncertainty+v.Uncertainty)+w.Value/boardSpread {
					notes = append(notes, fmt.Sprintf("GPU %d and GPU %d differ: windows of the field %s of %v and %v", last.device.Index, f.device.Index, name, w, v))
				}
			}
			if last == nil || field.Window.Uncertainty < fieldOf(last, name).Window.Uncertainty {
				best[k] = f
			}
		}
	}
	for _, k := range order {
		f := best[k]
		field := fieldOf(f, k.field)
		s, _ := field.Sensor()
		row := sensors.Row{
			SensorRow: reduce.SensorRow{Field: k.field, Architecture: k.architecture, Sensor: s},
			Measured: &sensors.Measured{
				Date: date, Device: f.device.Name, Driver: f.driver, Devices: count[k],
				Period: sensors.Precision{Uncertainty: field.Period.Uncertainty, N: field.Period.N},
				Window: sensors.Precision{Uncertainty: field.Window.Uncertainty, N: field.Window.N},
			},
		}
		if k.major > 0 { // what the next driver shows nobody has measured
			row.From, row.Below = k.major, k.major+1
		}
		rows = append(rows, row)
	}
	return rows, notes
}

// majorOf returns 580 of "580.159.04"; 0 of what is no version.
func majorOf(driver string) int {
	text, _, _ := strings.Cut(driver, ".")
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
