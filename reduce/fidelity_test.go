package reduce_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"wattrace/reduce"
	"wattrace/sample"
	"wattrace/sample/sim"
	"wattrace/trace"
)

// This file asks how far the energies of a report are from the truth, and
// whether they say so themselves: simulated boards of five architectures under
// loads of many shapes, polled at six rates, windows of four lengths. `make
// fidelity` runs all of it; go test a part.

// fullFidelity reports whether all of it is asked for.
func fullFidelity() bool { return os.Getenv("WATTRACE_FIDELITY") == "full" }

// board is a kind of sensor.
type board struct {
	name    string
	profile string // of package sim
	change  func(p *sim.Profile)
	fields  []sample.MetricID // that are tried on their own
}

var boards = []board{
	{"hopper 25/100 + average", "hopper", nil, []sample.MetricID{sample.PowerAverageWatts, sample.PowerInstantWatts}},
	{"ga10x 100/100 + average", "ampere-ga10x", nil, []sample.MetricID{sample.PowerAverageWatts, sample.PowerInstantWatts}},
	{"ga100 25/100", "ampere-ga100", nil, []sample.MetricID{sample.PowerInstantWatts}},
	{"turing 100/100", "ampere-ga10x", func(p *sim.Profile) { p.Architecture, p.Product, p.AverageSpan = "turing", "T4", 0 }, []sample.MetricID{sample.PowerInstantWatts}},
	{"volta 10/20", "volta", nil, []sample.MetricID{sample.PowerInstantWatts}},
}

var (
	fidelityPolls   = []time.Duration{10, 20, 50, 100, 333, 1000} // milliseconds
	fidelityLengths = []time.Duration{time.Second, 3 * time.Second, 10 * time.Second, 60 * time.Second}
)

// loadCurve is a load and its energy.
type loadCurve struct {
	steps  []step
	joules []float64    // until each step
	marks  []trace.Time // steps that a phase may begin or end at
}

func newLoadCurve(steps []step, marks []trace.Time) *loadCurve {
	l := &loadCurve{steps: steps, joules: make([]float64, len(steps)), marks: marks}
	for i := 1; i < len(steps); i++ {
		l.joules[i] = l.joules[i-1] + steps[i-1].watts*steps[i].at.Sub(steps[i-1].at).Seconds()
	}
	return l
}

func (l *loadCurve) energy(t trace.Time) float64 {
	i := max(0, sort.Search(len(l.steps), func(i int) bool { return l.steps[i].at > t })-1)
	return l.joules[i] + l.steps[i].watts*t.Sub(l.steps[i].at).Seconds()
}

func evenIn(rng *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.Int64N(int64(high-low)))
}

// logIn draws a duration whose logarithm is even.
func logIn(rng *rand.Rand, low, high time.Duration) time.Duration {
	return time.Duration(float64(low) * math.Pow(float64(high)/float64(low), rng.Float64()))
}

var loadShapes = []string{"serve", "bursts", "square", "pulses", "ramps", "idle"}

// drawLoad draws a load of a shape.
func drawLoad(rng *rand.Rand, shape string, until trace.Time) *loadCurve {
	var steps []step
	var marks []trace.Time
	rest := 60 + 60*rng.Float64()
	noisy := func(from, until trace.Time, watts float64) { // decode steps around a level
		for at := from; at < until; at = at.Add(evenIn(rng, 15*time.Millisecond, 40*time.Millisecond)) {
			steps = append(steps, step{at, watts * (1 + 0.02*rng.NormFloat64())})
		}
	}
	mark := func(at trace.Time) { marks = append(marks, at) }
	at := trace.Time(0)
	switch shape {
	case "serve":
		steps = serve(rng, 0, until)
		for _, s := range steps {
			if s.watts > 500 {
				mark(s.at)
			}
		}
	case "bursts":
		for at < until {
			busy, idle := logIn(rng, 800*time.Millisecond, 30*time.Second), logIn(rng, 500*time.Millisecond, 5*time.Second)
			mark(at)
			mark(at.Add(busy))
			steps = append(append(steps, serve(rng, at, at.Add(busy))...), step{at.Add(busy), rest})
			at = at.Add(busy + idle)
		}
	case "square":
		period, duty, high := logIn(rng, 1200*time.Millisecond, 20*time.Second), 0.2+0.6*rng.Float64(), 200+450*rng.Float64()
		for ; at < until; at = at.Add(period) {
			end := at.Add(time.Duration(duty * float64(period)))
			mark(at)
			mark(end)
			noisy(at, end, high)
			steps = append(steps, step{end, rest})
		}
	case "pulses":
		steps = append(steps, step{0, rest})
		for at = at.Add(time.Second); at < until; at = at.Add(logIn(rng, 500*time.Millisecond, 5*time.Second)) {
			end := at.Add(logIn(rng, 40*time.Millisecond, 400*time.Millisecond))
			mark(at)
			mark(end)
			steps = append(steps, step{at, 200 + 480*rng.Float64()}, step{end, rest})
			at = end
		}
	case "ramps":
		level := rest
		for at < until {
			to, length := 70+550*rng.Float64(), logIn(rng, 500*time.Millisecond, 10*time.Second)
			mark(at)
			for x := time.Duration(0); x < length; x += 10 * time.Millisecond {
				steps = append(steps, step{at.Add(x), (level + (to-level)*float64(x)/float64(length)) * (1 + 0.01*rng.NormFloat64())})
			}
			at, level = at.Add(length), to
		}
	case "idle":
		for ; at < until; at = at.Add(evenIn(rng, 20*time.Millisecond, 400*time.Millisecond)) {
			steps = append(steps, step{at, rest * (1 + 0.01*rng.NormFloat64())})
			mark(at)
		}
	}
	return newLoadCurve(steps, marks)
}

// fidelityWindow is a window whose energy is asked for.
type fidelityWindow struct {
	from, to trace.Time
	length   int // index into fidelityLengths
	onStep   bool
}

// drawWindows draws windows of all lengths, at steps of the load and anywhere.
func drawWindows(rng *rand.Rand, l *loadCurve, until trace.Time, each int) (list []fidelityWindow) {
	const margin = trace.Time(6 * time.Second)
	for k, length := range fidelityLengths {
		for range each {
			from := margin + trace.Time(rng.Int64N(int64(until-2*margin)-int64(length)))
			list = append(list, fidelityWindow{from, from.Add(length), k, false})
			a := nearestMark(l.marks, margin+trace.Time(rng.Int64N(int64(until-2*margin)-int64(length))))
			b := nearestMark(l.marks, a.Add(length))
			if off := b.Sub(a) - length; off.Abs() < length/2 && a > margin && b < until-margin {
				list = append(list, fidelityWindow{a, b, k, true})
			}
		}
	}
	return list
}

func nearestMark(marks []trace.Time, t trace.Time) trace.Time {
	i := sort.Search(len(marks), func(i int) bool { return marks[i] >= t })
	if i == len(marks) || i > 0 && t-marks[i-1] < marks[i]-t {
		i--
	}
	return marks[i]
}

// recorded is what a recorder sees of a device under a load.
type recorded struct {
	batch *sample.Batch
	load  *loadCurve
	until trace.Time
}

// recordBoard polls one device.
func recordBoard(t testing.TB, b board, counterPeriod, poll time.Duration, l *loadCurve, until trace.Time, rng *rand.Rand) *recorded {
	profile, err := sim.ProfileByName(b.profile)
	if err != nil {
		t.Fatal(err)
	}
	if b.change != nil {
		b.change(&profile)
	}
	profile.CounterPeriod, profile.LimitWatts = counterPeriod, 800
	profile.TickJitter = min(profile.TickJitter, counterPeriod/20)
	devices, err := sim.New(sim.Options{Seed: rng.Uint64(), Profile: profile})
	if err != nil {
		t.Fatal(err)
	}
	device := devices[0]
	var now trace.Time
	source := sim.NewSource(devices, func() trace.Time { return now })
	r := &recorded{batch: &sample.Batch{Devices: source.Devices()}, load: l, until: until}
	next := 0
	for at := trace.Time(rng.Int64N(int64(poll))); at < until; at = at.Add(poll) {
		before := at.Add(time.Duration(rng.ExpFloat64() * 2e5))
		now = before.Add(time.Duration(20_000 + rng.Int64N(40_000)))
		for ; next < len(l.steps) && l.steps[next].at <= now; next++ {
			device.SetPower(l.steps[next].at, l.steps[next].watts)
		}
		row := r.batch.Append(0, before, 2*now.Sub(before))
		source.Read(0, false, []sample.Row{row})
	}
	return r
}

// only hides all columns of energy and power but some.
func (r *recorded) only(keep ...sample.MetricID) *sample.Batch {
	b := *r.batch
	for _, id := range []sample.MetricID{sample.EnergyJoules, sample.PowerWatts, sample.PowerInstantWatts, sample.PowerAverageWatts} {
		if !slices.Contains(keep, id) {
			b.Columns[id].Valid = make([]bool, b.Len())
		}
	}
	return &b
}

// reduceWindows reduces a batch to the windows.
func reduceWindows(b *sample.Batch, windows []fidelityWindow) *reduce.Report {
	var spans []reduce.Span
	for i, w := range windows {
		spans = append(spans, reduce.Span{Name: fmt.Sprint(i), Kind: "window", Start: w.from, End: trace.Some(w.to)})
	}
	r := reduce.New(trace.Clock{}, nil, false, reduce.Options{Windows: spans})
	r.Survey(b, reduce.Recording{})
	r.Start()
	r.Telemetry(b, reduce.Recording{})
	return r.Report()
}

// phasesOf returns the report's windows, without the recording itself.
func phasesOf(rep *reduce.Report) []reduce.Phase {
	return slices.DeleteFunc(rep.Phases, func(p reduce.Phase) bool { return p.Kind != "window" })
}

// fidelityKey is a stratum.
type fidelityKey struct {
	estimator string
	poll      time.Duration
	length    int
	onStep    bool
}

// fidelityCell sums up the windows of a stratum.
type fidelityCell struct {
	n, absent       int
	squares         float64 // of errors
	relative        float64 // of errors relative to the truth, squared
	sigmas          float64
	within          int // random part, gain 1
	totalWithin     int // gain and offset drawn
	enclosed, bound int
}

func (c *fidelityCell) rms() float64     { return math.Sqrt(c.squares / float64(c.n)) }
func (c *fidelityCell) percent() float64 { return 100 * math.Sqrt(c.relative/float64(c.n)) }
func (c *fidelityCell) held() float64    { return 100 * float64(c.within) / float64(c.n) }
func (c *fidelityCell) width() float64   { return c.sigmas / float64(c.n) / c.rms() }
func (c *fidelityCell) total() float64   { return 100 * float64(c.totalWithin) / float64(c.n) }

func (c *fidelityCell) add(o fidelityCell) {
	c.n, c.absent = c.n+o.n, c.absent+o.absent
	c.squares, c.relative, c.sigmas = c.squares+o.squares, c.relative+o.relative, c.sigmas+o.sigmas
	c.within, c.totalWithin = c.within+o.within, c.totalWithin+o.totalWithin
	c.enclosed, c.bound = c.enclosed+o.enclosed, c.bound+o.bound
}

// fidelityTable is all strata.
type fidelityTable struct {
	mu    sync.Mutex
	cells map[fidelityKey]*fidelityCell
	order []string
}

func (t *fidelityTable) cell(key fidelityKey) *fidelityCell {
	c := t.cells[key]
	if c == nil {
		c = &fidelityCell{}
		t.cells[key] = c
		if !slices.Contains(t.order, key.estimator) {
			t.order = append(t.order, key.estimator)
		}
	}
	return c
}

// ours adds what a report says of the windows.
func (t *fidelityTable) ours(name string, poll time.Duration, r *recorded, keep sample.MetricID, windows []fidelityWindow, rng *rand.Rand) {
	phases := phasesOf(reduceWindows(r.only(keep), windows))
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, w := range windows {
		c := t.cell(fidelityKey{name, poll, w.length, w.onStep})
		m := phases[i].PerDevice[0].Metrics[reduce.GPUEnergy]
		if m.Number == nil {
			c.absent++
			continue
		}
		want := r.load.energy(w.to) - r.load.energy(w.from)
		e, sigma := m.Value-want, m.Uncertainty.Random
		c.n++
		c.squares += e * e
		c.relative += e * e / (want * want)
		c.sigmas += sigma
		if math.Abs(e) <= 1.96*sigma+0.002 { // two readings of whole millijoules
			c.within++
		}
		// A sensor's gain and offset as the report's systematic part has them.
		gain := 1 + 0.05*rng.NormFloat64() + 0.015*rng.NormFloat64()
		seen := m.Value*gain + 5*rng.NormFloat64()*w.to.Sub(w.from).Seconds()
		if math.Abs(seen-want) <= 1.96*math.Hypot(sigma, m.Uncertainty.Systematic) {
			c.totalWithin++
		}
		if enc := m.Enclosure; enc != nil {
			c.bound++
			if want >= enc.Low-0.0021 && want <= enc.High+0.0021 {
				c.enclosed++
			}
		}
	}
}

// theirs adds what others would say: e returns false where they say nothing.
func (t *fidelityTable) theirs(name string, poll time.Duration, r *recorded, windows []fidelityWindow, energy func(w fidelityWindow) (float64, bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range windows {
		c := t.cell(fidelityKey{name, poll, w.length, w.onStep})
		got, ok := energy(w)
		if !ok {
			c.absent++
			continue
		}
		want := r.load.energy(w.to) - r.load.energy(w.from)
		c.n++
		c.squares += (got - want) * (got - want)
		c.relative += (got - want) * (got - want) / (want * want)
	}
}

// The estimators of other tools, on the same readings.

// lastBefore returns the index of the last reading before t; -1 is none.
func (r *recorded) lastBefore(t trace.Time) int {
	return sort.Search(len(r.batch.Time), func(i int) bool { return r.batch.Time[i] >= t }) - 1
}

// zeus takes the counter as it stands at each end, as Zeus's begin_window and
// end_window read it.
func (r *recorded) zeus(w fidelityWindow) (float64, bool) {
	a, b := r.lastBefore(w.from), r.lastBefore(w.to)
	if a < 0 || b < 0 {
		return 0, false
	}
	c := r.batch.Columns[sample.EnergyJoules].Float
	return c[b] - c[a], true
}

// aiperfCounter takes the last reading before the start and the last until
// 666 ms after the end.
func (r *recorded) aiperfCounter(w fidelityWindow) (float64, bool) {
	a, b := r.lastBefore(w.from), r.lastBefore(w.to.Add(666*time.Millisecond)+1)
	if a < 0 || b <= a {
		return 0, false
	}
	c := r.batch.Columns[sample.EnergyJoules].Float
	return c[b] - c[a], true
}

// meanOfSamples takes the mean of the readings inside, times the length.
func (r *recorded) meanOfSamples(id sample.MetricID) func(w fidelityWindow) (float64, bool) {
	return func(w fidelityWindow) (float64, bool) {
		a, b := r.lastBefore(w.from)+1, r.lastBefore(w.to)
		if b < a {
			return 0, false
		}
		sum := 0.0
		for _, v := range r.batch.Columns[id].Float[a : b+1] {
			sum += v
		}
		return sum / float64(b-a+1) * w.to.Sub(w.from).Seconds(), true
	}
}

// edgeTrapezoid is InferenceX's: trapezoids between readings, the ends
// interpolated.
func (r *recorded) edgeTrapezoid(id sample.MetricID) func(w fidelityWindow) (float64, bool) {
	v, at := r.batch.Columns[id].Float, r.batch.Time
	return func(w fidelityWindow) (float64, bool) {
		a, b := r.lastBefore(w.from), r.lastBefore(w.to)
		if a < 0 || b+1 >= len(at) {
			return 0, false
		}
		value := func(i int, t trace.Time) float64 {
			return v[i] + (v[i+1]-v[i])*float64(t-at[i])/float64(at[i+1]-at[i])
		}
		joules, last, before := 0.0, value(a, w.from), w.from
		for i := a + 1; i <= b; i++ {
			joules += (last + v[i]) / 2 * at[i].Sub(before).Seconds()
			last, before = v[i], at[i]
		}
		return joules + (last+value(b, w.to))/2*w.to.Sub(before).Seconds(), true
	}
}

// fidelityRun adds one recording of every shape of load.
func fidelityRun(t testing.TB, table *fidelityTable, b board, poll time.Duration, seed uint64, each int) {
	for s, shape := range loadShapes {
		rng := rand.New(rand.NewPCG(seed, uint64(poll)*100+uint64(s)*7+uint64(len(b.name))))
		until := trace.Time(110 * time.Second)
		load := drawLoad(rng, shape, until)
		period := []time.Duration{100 * time.Millisecond, 20 * time.Millisecond}[seed%2]
		r := recordBoard(t, b, period, poll, load, until, rng)
		windows := drawWindows(rng, load, until, each)
		counter := fmt.Sprintf("counter %v", period)
		table.ours(counter, poll, r, sample.EnergyJoules, windows, rng)
		table.theirs("  last reading (Zeus) "+period.String(), poll, r, windows, r.zeus)
		table.theirs("  + 666 ms (aiperf) "+period.String(), poll, r, windows, r.aiperfCounter)
		if shape == "serve" {
			table.ours(counter+", serving", poll, r, sample.EnergyJoules, windows, rng)
		}
		for _, id := range b.fields {
			name := b.name + ": " + strings.TrimSuffix(strings.TrimPrefix(id.String(), "power_"), "_watts")
			table.ours(name, poll, r, id, windows, rng)
			table.theirs("  mean of samples (aiperf)", poll, r, windows, r.meanOfSamples(id))
			table.theirs("  trapezoid (InferenceX)", poll, r, windows, r.edgeTrapezoid(id))
		}
	}
}

// TestFidelity holds the reports to the truth.
func TestFidelity(t *testing.T) {
	if underRace {
		t.Skip("simulations are run without the race detector")
	}
	t.Parallel()
	table := &fidelityTable{cells: map[fidelityKey]*fidelityCell{}}
	seeds, each := uint64(2), 6
	if fullFidelity() {
		seeds, each = 28, 36
	}
	var work sync.WaitGroup
	jobs := make(chan func(), 1)
	for range 2 {
		work.Go(func() {
			for job := range jobs {
				job()
			}
		})
	}
	for _, b := range boards {
		for _, poll := range fidelityPolls {
			for seed := range seeds {
				jobs <- func() { fidelityRun(t, table, b, poll*time.Millisecond, seed, each) }
			}
		}
	}
	close(jobs)
	work.Wait()
	table.summary(t)
	if fullFidelity() || testing.Verbose() {
		table.print(t)
	}
	least := 2000
	if !fullFidelity() {
		least = math.MaxInt // strata are too small to say anything; the sums below are not
	}
	table.check(t, least)
}

// aims is how the strata of a kind of sensor stand to the aim.
type aims struct{ low, in, high, wide int }

func (a *aims) count(c *fidelityCell) {
	switch held := c.held(); {
	case held < 93:
		a.low++
	case held > 98:
		a.high++
	case c.width() > 1.5:
		a.wide++
	default:
		a.in++
	}
}

// summary writes how many strata of each estimator and poll hold in less than 93 %
// of their windows, in more than 98 %, or in between, but too wide.
func (t *fidelityTable) summary(tb testing.TB) {
	slices.Sort(t.order)
	var all aims
	least := math.MaxInt
	for _, name := range t.order {
		line := ""
		for _, poll := range fidelityPolls {
			poll *= time.Millisecond
			var here aims
			for key, c := range t.cells {
				if key.estimator == name && key.poll == poll && c.sigmas > 0 {
					here.count(c)
					all.count(c)
					least = min(least, c.n)
				}
			}
			line += fmt.Sprintf(" | %v: low %d, in %d, high %d, wide %d", poll, here.low, here.in, here.high, here.wide)
		}
		if !strings.HasPrefix(name, " ") {
			tb.Logf("%-34s%s", name, line)
		}
	}
	tb.Logf("all strata, of %d windows or more: low %d, in %d, high %d, wide %d", least, all.low, all.in, all.high, all.wide)
}

// print writes the table: per length of windows the RMS error in joules and in
// per cent of windows anywhere and of those on steps, the share of both in which
// the stated 95 % held, the mean stated width relative to that of the errors, and
// the share in which the total of both parts held.
func (t *fidelityTable) print(tb testing.TB) {
	slices.Sort(t.order)
	for _, name := range t.order {
		for _, poll := range fidelityPolls {
			poll *= time.Millisecond
			line := ""
			for k := range fidelityLengths {
				off, on := t.cells[fidelityKey{name, poll, k, false}], t.cells[fidelityKey{name, poll, k, true}]
				if off == nil || on == nil || off.n == 0 || on.n == 0 {
					line += " | -"
					continue
				}
				line += fmt.Sprintf(" | %v: %6.2f %6.2f J %5.2f %5.2f %%", fidelityLengths[k], off.rms(), on.rms(), off.percent(), on.percent())
				if off.sigmas > 0 {
					line += fmt.Sprintf(", held %5.1f %5.1f, width %.2f %.2f, total %4.1f %4.1f", off.held(), on.held(), off.width(), on.width(), off.total(), on.total())
				}
			}
			if line != strings.Repeat(" | -", len(fidelityLengths)) {
				tb.Logf("%-34s %5v%s", name, poll, line)
			}
		}
	}
}

// fidelityBound is between which shares the stated 95 % of some strata must hold,
// and how wide it may be relative to the errors.
type fidelityBound struct {
	estimator        string        // which a name begins with
	from, to         time.Duration // polls, milliseconds
	low, high, width float64
}

// fidelityBounds are what the strata keep to: the aim, 93 to 98 % and 1.5, but for
// those that are here. The first bound that fits counts. The reasons are in the
// package's documentation.
var fidelityBounds = []fidelityBound{
	// Nothing shows that a counter moves more often than it is polled: 100 ms are
	// assumed, and stated. Polls that keep step with 20 ms lose the updates at times.
	{"counter 20ms, serving", 10, 10, 85, 98, 1.5},
	{"counter 20ms, serving", 20, 20, 93, 99, 1.5},
	{"counter 20ms, serving", 50, 100, 93, 100, 3.9},
	{"counter 20ms, serving", 333, 1000, 93, 100, 2.2},
	{"counter 20ms", 10, 10, 88, 98, 1.5},
	{"counter 20ms", 20, 20, 93, 99, 1.5},
	{"counter 20ms", 50, 100, 93, 100, 2.1},
	{"counter 20ms", 333, 333, 93, 99, 1.5},
	// Between two polls a step or a pulse may be anywhere.
	{"counter 20ms", 1000, 1000, 88, 98, 1.5},
	// Decode calm, prefills at the ends.
	{"counter 100ms, serving", 10, 20, 93, 98.8, 1.5},
	// Until polls that keep step with the updates have walked past them.
	{"counter 100ms, serving", 50, 50, 87, 99, 1.7},
	{"counter 100ms", 50, 50, 92.5, 98.8, 1.5},
	// The stamps of both ends err alike, which is known to be so, not by how much:
	// windows of 1 s are stated too wide.
	{"counter 100ms, serving", 100, 100, 93, 98.5, 2.6},
	{"counter 100ms", 100, 100, 93, 98.5, 2},
	{"counter 100ms, serving", 333, 1000, 93, 99.7, 2.2},
	{"counter 100ms", 333, 333, 93, 99, 1.6},
	{"counter 100ms", 1000, 1000, 85, 98, 1.5},
	// What is left open is judged by how rough the load is, as a server's is; squares,
	// ramps and pulses between which a window begins are known better.
	{"ga10x 100/100 + average: average", 10, 100, 93, 99, 1.55},
	{"hopper 25/100 + average: average", 10, 100, 93, 99.4, 1.8},
	// A second of blur: what holds at a step is wide elsewhere.
	{"ga10x 100/100 + average: average", 333, 1000, 93, 99.7, 1.8},
	{"hopper 25/100 + average: average", 333, 1000, 93, 99.8, 1.85},
	// Squares of many periods cancel better than chance has it.
	{"ga100 25/100", 10, 100, 93, 99.8, 1.5},
	{"hopper 25/100 + average: instant", 10, 100, 93, 99.8, 1.5},
	// Calm and stepped loads are in one stratum: the errors have heavy tails.
	{"ga10x 100/100 + average: instant", 10, 100, 92.5, 99, 1.5},
	{"turing 100/100", 10, 1000, 93, 99, 1.5},
	{"volta 10/20", 10, 10, 90.5, 98, 1.5},
	{"volta 10/20", 20, 333, 93, 99, 1.5},
	{"", 0, 1000, 93, 98, 1.5},
}

func boundOf(key fidelityKey) fidelityBound {
	i := slices.IndexFunc(fidelityBounds, func(b fidelityBound) bool {
		return strings.HasPrefix(key.estimator, b.estimator) && key.poll >= b.from*time.Millisecond && key.poll <= b.to*time.Millisecond
	})
	return fidelityBounds[i]
}

// mostServing is the most that the energy of a serving GPU of about 360 W may
// err by: a counter of 100 ms, polled every 20 ms. Joules, RMS; of few windows
// half as much again.
const mostServing = 3.0

// check holds the strata to their bounds, and prints how many of them keep to the
// aim itself.
func (t *fidelityTable) check(tb testing.TB, least int) {
	strata, aim := 0, 0
	var all fidelityCell
	for key, c := range t.cells {
		if c.enclosed < c.bound {
			tb.Errorf("%v: the enclosure holds the truth in %d of %d windows", key, c.enclosed, c.bound)
		}
		if c.sigmas == 0 {
			continue
		}
		all.add(*c)
		if c.n < least {
			continue
		}
		strata++
		if c.held() >= 93 && c.held() <= 98 && c.width() <= 1.5 {
			aim++
		}
		bound := boundOf(key)
		what := fmt.Sprintf("%s polled every %v, %v windows, on steps %v", key.estimator, key.poll, fidelityLengths[key.length], key.onStep)
		if held := c.held(); held < bound.low || held > bound.high {
			tb.Errorf("%s: the stated 95 %% held in %.1f %% of %d windows, want %v to %v %%", what, held, c.n, bound.low, bound.high)
		}
		if w := c.width(); w > bound.width {
			tb.Errorf("%s: the stated width is %.2f of the errors', want at most %v", what, w, bound.width)
		}
		if c.total() < min(92, bound.low) || c.total() > 99.5 {
			tb.Errorf("%s: the stated total held in %.1f %%", what, c.total())
		}
	}
	if held := all.held(); held < 93 || held > 98.5 {
		tb.Errorf("the stated 95 %% held in %.1f %% of all windows", held)
	}
	for k := range fidelityLengths {
		ours := t.cells[fidelityKey{"counter 100ms, serving", 20 * time.Millisecond, k, false}]
		zeus := t.cells[fidelityKey{"  last reading (Zeus) 100ms", 20 * time.Millisecond, k, false}]
		most := mostServing
		if ours.n < least {
			most *= 1.5
		}
		if ours.rms() > most {
			tb.Errorf("serving, %v windows: RMS error %.2f J, want at most %v", fidelityLengths[k], ours.rms(), most)
		}
		if zeus.rms() < 2*ours.rms() {
			tb.Errorf("serving, %v windows: the last reading errs by %.2f J, ours by %.2f J: the comparison is void", fidelityLengths[k], zeus.rms(), ours.rms())
		}
	}
	tb.Logf("%d strata, of which %d hold in 93 to 98 %% at a width of at most 1.5", strata, aim)
}
