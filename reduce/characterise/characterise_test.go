package characterise

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"wattrace/reduce"
	"wattrace/sample/sim"
	"wattrace/trace"
)

const ms = time.Millisecond

// square is the times that a load is on and off: of 0.5 to 1.5 s, so that its edges
// come at all phases of a sensor.
func square(rng *rand.Rand) time.Duration {
	return 500*ms + time.Duration(rng.Int64N(int64(time.Second)))
}

// plan is how a simulated device is polled.
type plan struct {
	profile     sim.Profile
	seed        uint64
	poll        time.Duration
	rest, total time.Duration
	watts       float64 // of the load; 0 is nine tenths of the limit
	noise       float64 // of its power, watts, RMS
	counterless bool
}

func (p plan) run(t *testing.T) Input {
	t.Helper()
	devices, err := sim.New(sim.Options{Profile: p.profile, Seed: p.seed})
	if err != nil {
		t.Fatal(err)
	}
	if p.watts == 0 {
		p.watts = p.profile.LimitWatts * 0.9
	}
	rng := rand.New(rand.NewPCG(p.seed, 1))
	d, in := devices[0], Input{Loaded: trace.Time(p.rest)}
	next, on, watts := trace.Time(p.rest), false, p.profile.IdleWatts
	for at := trace.Time(0); at < trace.Time(p.total); at = at.Add(p.poll) {
		for next <= at {
			if on, watts = !on, p.profile.IdleWatts; on {
				watts = p.watts
			}
			d.SetPower(next, watts)
			next = next.Add(square(rng))
		}
		if p.noise > 0 {
			d.SetPower(at, watts+p.noise*rng.NormFloat64())
		}
		r := d.Read(at)
		if !p.counterless {
			in.Counter = append(in.Counter, Reading{At: at, Value: float64(r.EnergyMillijoules) / 1e3})
		}
		in.Instant = append(in.Instant, Reading{At: at, Value: float64(r.PowerInstantMilliwatts) / 1e3})
		if p.profile.AverageSpan > 0 {
			in.Average = append(in.Average, Reading{At: at, Value: float64(r.PowerAverageMilliwatts) / 1e3})
		}
	}
	return in
}

func profile(t *testing.T, name string) sim.Profile {
	t.Helper()
	p, err := sim.ProfileByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// near fails the test unless a time is known and within an error.
func near(t *testing.T, what string, got Duration, want, most time.Duration) {
	t.Helper()
	off := (got.Value - want).Abs()
	if !got.Known() || off > most || got.Uncertainty > most {
		t.Errorf("%s: %v, want %v to %v", what, got, want, most)
	}
}

const usualPoll = 4300 * time.Microsecond

// What is found of simulated boards, whose sensors are known. Their own periods
// differ from the profile's by up to half a percent.
func TestProfiles(t *testing.T) {
	t.Parallel()
	for _, p := range sim.Profiles() {
		for seed := range uint64(2) {
			what := p.Name
			r := Measure(plan{profile: p, seed: seed, poll: usualPoll, rest: 8 * time.Second, total: 60 * time.Second, noise: 3}.run(t))
			t.Logf("%s: instant every %v, window %v; average every %v, window %v", what, r.Instant.Period, r.Instant.Window, r.Average.Period, r.Average.Window)
			near(t, what+": counter", r.Counter.Period, p.CounterPeriod, p.CounterPeriod/180)
			near(t, what+": counter at rest", r.Counter.Rest, p.CounterPeriod, p.CounterPeriod/180)
			near(t, what+": instant", r.Instant.Period, p.PowerPeriod, p.PowerPeriod/180)
			if r.Instant.Kind != reduce.SensorInstant {
				t.Errorf("%s: %q: %s", what, r.Instant.Kind, r.Instant.KindWhy)
			}
			near(t, what+": window", r.Instant.Window, p.InstantWindow, 4*ms)
			if off := (r.Instant.Window.Value - p.InstantWindow).Abs(); off > 4*r.Instant.Window.Uncertainty {
				t.Errorf("%s: a window of %v, want %v", what, r.Instant.Window, p.InstantWindow)
			}
			if r.Instant.Delay.Value.Abs() > 3*ms {
				t.Errorf("%s: a delay of %v", what, r.Instant.Delay)
			}
			if p.AverageSpan == 0 {
				if r.Average.Present || r.Average.Window.Unknown != "the field is not there" {
					t.Errorf("%s: an average: %+v", what, r.Average)
				}
				continue
			}
			if r.Average.Kind != reduce.SensorAverage {
				t.Errorf("%s: average is %q: %s", what, r.Average.Kind, r.Average.KindWhy)
			}
			if d := r.Average.Delay; !d.Known() || d.Value.Abs() > ms/2 {
				t.Errorf("%s: the average is late by %v", what, d)
			}
			near(t, what+": average's window", r.Average.Window, p.AverageSpan+p.PowerPeriod/2, 7*ms)
			s, ok := r.Average.Sensor()
			if want := (reduce.Sensor{Kind: reduce.SensorAverage, Window: p.AverageSpan + 50*ms, Period: 100 * ms, Duty: 1, Span: p.AverageSpan, Rest: 100 * ms}); !ok ||
				(s.Window-want.Window).Abs() > 12*ms || (s.Span-want.Span).Abs() > 12*ms || (s.Period-want.Period).Abs() > ms || s.Rest != s.Period {
				t.Errorf("%s: %+v, want %+v", what, s, want)
			}
		}
	}
}

// Power that does not change on its plateaus leaves most updates unseen. Then a
// period is right or not known.
func TestRepeatedValues(t *testing.T) {
	t.Parallel()
	for _, p := range sim.Profiles() {
		for seed := range uint64(3) {
			r := Measure(plan{profile: p, seed: seed, poll: usualPoll, rest: 8 * time.Second, total: 60 * time.Second}.run(t))
			for _, f := range []Field{r.Instant, r.Average} {
				if f.Period.Known() && (f.Period.Value-p.PowerPeriod).Abs() > p.PowerPeriod/100+3*f.Period.Uncertainty {
					t.Errorf("%s %d: %s every %v, want %v", p.Name, seed, f.Name, f.Period, p.PowerPeriod)
				}
				if f.Rest.Known() {
					t.Errorf("%s: a constant power at rest, and updates every %v", p.Name, f.Rest)
				}
			}
		}
	}
}

// Gaps of many periods fit other periods nearly as well.
func TestCoarsePeriod(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	for name, counts := range map[string]map[int]int{
		"short":        {1: 100},
		"long":         {1: 10, 11: 10, 12: 15, 13: 15},
		"some rests":   {1: 80, 10: 20},
		"many doubles": {1: 20, 2: 80},
		"now and then": {1: 4, 7: 10, 9: 10, 16: 10},
	} {
		var gaps []time.Duration
		for m, n := range counts {
			for range n {
				gaps = append(gaps, time.Duration(m)*100*ms+time.Duration(2e6*(rng.Float64()-rng.Float64())))
			}
		}
		if got, best := coarsePeriod(gaps, 10*ms); (got-100*ms).Abs() > 2*ms || best < 0.8 {
			t.Errorf("%s: %v, coherence %.2f", name, got, best)
		}
	}
}

func TestNoPeriod(t *testing.T) {
	t.Parallel()
	gaps := func(multiples ...float64) (all []time.Duration) {
		for range 20 {
			for _, m := range multiples {
				all = append(all, time.Duration(m*float64(100*ms)))
			}
		}
		return all
	}
	for name, c := range map[string]struct {
		gaps  []time.Duration
		known bool
	}{
		"regular":      {gaps(1, 1, 1, 2), true},
		"some off":     {gaps(1, 1, 1, 1, 1, 1.3), true},
		"mostly long":  {gaps(1, 5, 6, 7), false},
		"too many off": {gaps(1, 1, 1, 1.3), false},
	} {
		if p, _ := gapPeriod(c.gaps, 101*ms); p.Known() != c.known || c.known && p.Value != 100*ms {
			t.Errorf("%s: %v", name, p)
		}
	}
	var fast []Reading
	for i := range 1000 {
		fast = append(fast, Reading{At: trace.Time(i) * trace.Time(5*ms), Value: float64(i)})
	}
	if p, _ := period(fast, updates(fast)); !strings.HasPrefix(p.Unknown, "polls every 5ms are too slow") {
		t.Errorf("a field that is new at every poll: %v", p)
	}
	if p, _ := period(fast[:5], updates(fast[:5])); p.Unknown != "the value changed only 4 times" {
		t.Errorf("four changes: %v", p)
	}
	// In a gap of the readings nobody saw when the field changed.
	gap := append([]Reading{}, fast[:10]...)
	gap = append(gap, fast[500:510]...)
	if got := len(updates(gap)); got != 18 {
		t.Errorf("%d updates beside a gap, want 18", got)
	}
}

// Without a counter an instant field tells its window by a count of edges, and
// is what the average is held against if it misses nothing.
func TestCounterless(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ada", "hopper"} {
		p := profile(t, name)
		r := Measure(plan{profile: p, poll: usualPoll, rest: 8 * time.Second, total: 200 * time.Second, noise: 3, counterless: true}.run(t))
		if r.EdgesFrom != "the instant field" || r.Edges < 100 {
			t.Errorf("%s: %d edges from %s", name, r.Edges, r.EdgesFrom)
		}
		near(t, name, r.Instant.Window, p.InstantWindow, 10*ms)
		if name == "ada" {
			near(t, name, r.Average.Window, 1100*ms, 20*ms)
		} else if r.Average.Window.Known() || !strings.Contains(r.Average.Window.Unknown, "neither a counter") {
			t.Errorf("%s: %v", name, r.Average.Window)
		}
	}
}

// What a load does not tell is not known.
func TestUnknown(t *testing.T) {
	t.Parallel()
	p := profile(t, "hopper")
	const s = time.Second
	for _, c := range []struct {
		name             string
		plan             plan
		instant, average string
	}{
		{"no load", plan{rest: 60 * s, total: 30 * s, noise: 3}, "no edges of a load", "no edges of a load"},
		{"a small step", plan{rest: 4 * s, total: 40 * s, noise: 3, watts: p.IdleWatts + 15}, "no edges", "no edges"},
		{"one edge", plan{rest: 6 * s, total: 6*s + 600*ms, noise: 3}, "only 1 edges", "only 1 edges"},
		{"few edges", plan{rest: 6 * s, total: 10 * s, noise: 3}, "edges of a load: want at least 6", ""},
		{"slow polls", plan{rest: 6 * s, total: 60 * s, noise: 3, poll: 50 * ms}, "its period is not known", "its period is not known"},
	} {
		c.plan.profile = p
		if c.plan.poll == 0 {
			c.plan.poll = usualPoll
		}
		r := Measure(c.plan.run(t))
		for _, f := range []struct {
			Field
			want string
		}{{r.Instant, c.instant}, {r.Average, c.average}} {
			if !strings.Contains(f.Window.Unknown, f.want) {
				t.Errorf("%s: %s: %v, want unknown: %s", c.name, f.Name, f.Window, f.want)
			}
			if _, ok := f.Sensor(); ok != (f.want == "") {
				t.Errorf("%s: %s: a row: %v", c.name, f.Name, ok)
			}
		}
	}
	if r := Measure(Input{}); r.Average.Present || r.Instant.Window.Known() || r.Counter.Period.Known() {
		t.Errorf("of nothing: %+v", r)
	}
}

// A field that charges as a capacitor does is no mean over a window, nor is one that
// has nothing to do with the counter.
func TestNoWindow(t *testing.T) {
	t.Parallel()
	for name, field := range map[string]func(in Input, i int, last float64) float64{
		"filter of 0.3 s": func(in Input, i int, last float64) float64 {
			return last + (in.Instant[i].Value-last)*(1-math.Exp(-0.1/0.3))
		},
		"filter of 0.8 s": func(in Input, i int, last float64) float64 {
			return last + (in.Instant[i].Value-last)*(1-math.Exp(-0.1/0.8))
		},
		"another's": func(in Input, i int, last float64) float64 { return in.Average[len(in.Average)-1-i].Value },
	} {
		in := plan{profile: profile(t, "ada"), poll: usualPoll, rest: 8 * time.Second, total: 60 * time.Second, noise: 3}.run(t)
		var out []Reading
		last, due := in.Instant[0].Value, trace.Time(0)
		for i, r := range in.Instant {
			if r.At >= due {
				last, due = field(in, i, last), due.Add(100*ms)
			}
			out = append(out, Reading{At: r.At, Value: last})
		}
		in.Average = out
		r := Measure(in)
		t.Logf("%s: %q %v, unfit %.3f", name, r.Average.Kind, r.Average.Window, r.Average.Unfit)
		if s, ok := r.Average.Sensor(); ok {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// Edges that are not where they are said to be make a window longer, but not the
// number of updates that see one.
func TestFitAgainstCount(t *testing.T) {
	t.Parallel()
	in := plan{profile: profile(t, "hopper"), poll: usualPoll, rest: 8 * time.Second, total: 150 * time.Second, noise: 3}.run(t)
	var f Field
	rng := rand.New(rand.NewPCG(1, 1))
	in.Average = nil // which takes the longest
	in.Edges = steps(f.begin(FieldCounter, in.Counter, in.Loaded).powers())
	if r := Measure(in); !r.Instant.Window.Known() || r.EdgesFrom != "what made the load" {
		t.Errorf("%v by edges of %s", r.Instant.Window, r.EdgesFrom)
	}
	for i := range in.Edges {
		in.Edges[i].At += trace.Time(40e6 * (rng.Float64() - 0.5))
	}
	if r := Measure(in); !strings.Contains(r.Instant.Window.Unknown, "a fit to ") {
		t.Errorf("with edges up to 20 ms off: %v", r.Instant.Window)
	}
}

// A few edges that are wrong are seen in the uncertainty.
func TestUncertainty(t *testing.T) {
	t.Parallel()
	in := plan{profile: profile(t, "hopper"), seed: 2, poll: usualPoll, rest: 8 * time.Second, total: 60 * time.Second, noise: 3}.run(t)
	in.Average = nil
	w := Measure(in).Instant.Window
	if off := (w.Value - 25*ms).Abs(); !w.Known() || off > 2*w.Uncertainty {
		t.Errorf("%v, want 25ms", w)
	}
	for _, c := range []struct {
		value, uncertainty, poll time.Duration
		want                     string
	}{
		{25 * ms, 6 * ms, 4 * ms, ""},
		{25 * ms, 7 * ms, 4 * ms, "no better than to 7ms"},
		{25 * ms, ms, 13 * ms, "polls every 13ms do not tell"},
	} {
		if got := good(Duration{Value: c.value, Uncertainty: c.uncertainty}, c.poll); c.want == "" != got.Known() || !strings.Contains(got.Unknown, c.want) {
			t.Errorf("%v, want %q", got, c.want)
		}
	}
}

func TestSensor(t *testing.T) {
	t.Parallel()
	good := Field{Name: reduce.FieldInstant, Kind: reduce.SensorInstant,
		Period: Duration{Value: 19_984_000, Uncertainty: 20_000}, Window: Duration{Value: 10_260_000, Uncertainty: 700_000}}
	if s, ok := good.Sensor(); !ok || s != (reduce.Sensor{Kind: reduce.SensorInstant, Period: 20 * ms, Window: 10_300_000, Duty: 0.515}) {
		t.Errorf("%+v, %v", s, ok)
	}
	full := good
	full.Window.Value = 21 * ms // no further than it is known from what misses nothing
	if s, ok := full.Sensor(); !ok || s.Window != s.Period || s.Duty != 1 {
		t.Errorf("%+v, %v", s, ok)
	}
	loose := good
	loose.Period.Uncertainty = 300_000
	if s, ok := loose.Sensor(); ok {
		t.Errorf("of a period to 1.5 %%: %+v", s)
	}
}

// A board whose average is updated once a second at rest.
func TestRest(t *testing.T) {
	t.Parallel()
	in := plan{profile: profile(t, "ada"), poll: usualPoll, rest: 20 * time.Second, total: 60 * time.Second, noise: 3}.run(t)
	held, due := in.Average[0].Value, trace.Time(0)
	for i := range in.Average {
		r := &in.Average[i]
		if r.At >= in.Loaded {
			break
		}
		if r.At >= due {
			held, due = r.Value, due.Add(time.Second)
		}
		r.Value = held
	}
	r := Measure(in)
	near(t, "period", r.Average.Period, 100*ms, ms)
	near(t, "at rest", r.Average.Rest, time.Second, 10*ms)
	if s, ok := r.Average.Sensor(); !ok || (s.Rest-time.Second).Abs() > 10*ms {
		t.Errorf("%+v", s)
	}
}

// A field that is updated when it is read, a period after the last time, as Hopper's is.
func TestNoGrid(t *testing.T) {
	t.Parallel()
	var readings []Reading
	rng := rand.New(rand.NewPCG(1, 2))
	value, since := 0.0, trace.Time(0)
	for at := trace.Time(0); at < trace.Time(60*time.Second); at = at.Add(4*ms + time.Duration(rng.Int64N(int64(3*ms)))) {
		if at.Sub(since) >= 100*ms {
			value, since = rng.Float64(), at
		}
		readings = append(readings, Reading{At: at, Value: value})
	}
	p, spread := period(readings, updates(readings))
	if !p.Known() || p.Value < 100*ms || p.Value > 104*ms || spread > 3*ms {
		t.Errorf("%v, spread %v", p, spread)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	p := profile(t, "ada")
	in := plan{profile: p, poll: usualPoll, rest: 4 * time.Second, total: 40 * time.Second, noise: 3}.run(t)
	c, ok := Compare(in.Counter, in.Instant, 50*ms+50*ms)
	if !ok || math.Abs(c.Ratio-1) > 0.01 || c.Spread > 0.02 || c.Parts != mostParts || c.Poll != usualPoll {
		t.Errorf("%+v", c)
	}
	half := make([]Reading, len(in.Instant))
	for i, r := range in.Instant {
		half[i] = Reading{r.At, r.Took, r.Value * 2}
	}
	if c, ok := Compare(in.Counter, half, 100*ms); !ok || math.Abs(c.Ratio-0.5) > 0.01 {
		t.Errorf("of twice the power: %+v", c)
	}
	if c, ok := Compare(in.Counter, in.Instant[:200], 0); ok {
		t.Errorf("of less than a second: %+v", c)
	}
}

func TestLatencies(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for i := range 100 {
		took = append(took, time.Duration(100-i)*ms)
	}
	if got, want := Latencies(took), (Latency{50 * ms, 99 * ms, 100 * ms, 100}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if got := Latencies(nil); got != (Latency{}) {
		t.Errorf("of none: %v", got)
	}
}
