package characterise

import (
	"math"
	"time"

	"wattrace/reduce"
	"wattrace/trace"
)

// Input is what was read of a device, in the order of time. A field that it does
// not have is empty.
type Input struct {
	Average, Instant []Reading  // watts
	Counter          []Reading  // joules
	Edges            []Edge     // of the load; nil: found in the readings
	Loaded           trace.Time // when the load began, after which it is not at rest; 0: no load
}

// Result is what a device's sensors are.
type Result struct {
	Average, Instant, Counter Field
	Edges                     int    // that were found or given
	EdgesFrom                 string // who told them
}

// Field is what a field is. Of the counter there are but period and jitter.
type Field struct {
	Name    reduce.PowerField
	Present bool
	Period  Duration
	Jitter  time.Duration // of updates about an even grid, RMS, that of the polls included
	Rest    Duration      // period at rest, before the load
	Noise   float64       // RMS about the mean at rest, watts; NaN is unknown

	Kind    reduce.SensorKind // "" is unknown
	KindWhy string            // why
	Window  Duration
	Delay   Duration // by which an update is older than its stamp
	Unfit   float64  // RMS of what the fit of an average leaves, as a share of the range of power
}

// FieldCounter is the energy counter's name.
const FieldCounter reduce.PowerField = "counter"

// Measure finds out what the fields of a device are.
func Measure(in Input) Result {
	var r Result
	counter := r.Counter.begin(FieldCounter, in.Counter, in.Loaded)
	instant := r.Instant.begin(reduce.FieldInstant, in.Instant, in.Loaded)
	average := r.Average.begin(reduce.FieldAverage, in.Average, in.Loaded)

	edges, sharp := in.Edges, true
	r.EdgesFrom = "what made the load"
	if edges == nil && r.Counter.Period.Known() {
		edges, r.EdgesFrom = steps(counter.powers()), "the counter"
	}
	if edges == nil && r.Instant.Period.Known() {
		edges, r.EdgesFrom, sharp = steps(instant.ticks(r.Instant.Period.Value)), "the instant field", false
	}
	r.Edges = len(edges)
	r.Instant.classify(in.Instant, instant, edges, sharp)
	var energy *energyKnots
	switch {
	case r.Counter.Period.Known():
		energy = counterEnergy(counter, edges)
	case r.Instant.Kind == reduce.SensorInstant && r.Instant.Window.Known() && r.Instant.duty() > fullDuty:
		energy = instantEnergy(instant.ticks(r.Instant.Period.Value))
	}
	r.Average.classify(in.Average, average, edges, sharp)
	for _, f := range []struct {
		*Field
		grid
	}{{&r.Instant, instant}, {&r.Average, average}} {
		if f.Kind == reduce.SensorAverage {
			f.average(f.grid, energy)
		}
	}
	return r
}

// fullDuty is from where on an instant field counts as one that misses nothing.
const fullDuty = 0.9

// begin finds what needs no load.
func (f *Field) begin(name reduce.PowerField, readings []Reading, loaded trace.Time) grid {
	f.Name, f.Present, f.Noise = name, len(readings) > 0, math.NaN()
	f.Window, f.Delay = unknown("the field is not there"), unknown("the field is not there")
	f.Period, f.Rest = f.Window, f.Window
	if !f.Present {
		f.KindWhy = "the field is not there"
		return grid{}
	}
	all := updates(readings)
	f.Period, f.Jitter = period(readings, all)
	head := readings
	for i, r := range readings {
		if loaded > 0 && r.At >= loaded {
			head = readings[:i]
			break
		}
	}
	f.rest(head, loaded)
	if !f.Period.Known() {
		f.KindWhy = "its period is not known"
		f.Window, f.Delay = unknown("%s", f.KindWhy), unknown("%s", f.KindWhy)
		return grid{}
	}
	return onGrid(all, f.Period, medianPoll(readings))
}

// rest looks at a device before its load. Without a load that is all there is.
func (f *Field) rest(head []Reading, loaded trace.Time) {
	if loaded == 0 {
		f.Rest = unknown("no load to tell rest from")
	} else {
		f.Rest, _ = period(head, updates(head))
	}
	if f.Rest.Known() && f.Period.Known() && (f.Rest.Value-f.Period.Value).Abs() < f.Period.Value/20 {
		f.Rest = f.Period // which is known better
	}
	if f.Name == FieldCounter || len(head) == 0 {
		return
	}
	var mean, square float64
	for _, r := range head {
		mean += r.Value / float64(len(head))
	}
	for _, r := range head {
		square += (r.Value - mean) * (r.Value - mean) / float64(len(head))
	}
	f.Noise = math.Sqrt(square)
}

// classify finds what the field is and, of an instant one, over which time it looks.
func (f *Field) classify(readings []Reading, g grid, edges []Edge, sharp bool) {
	if !f.Period.Known() {
		return
	}
	f.Kind, f.KindWhy = kindOf(g, f.Period.Value, edges)
	switch f.Kind {
	case "":
		f.Window, f.Delay = unknown("%s", f.KindWhy), unknown("%s", f.KindWhy)
	case reduce.SensorInstant:
		f.Window, f.Delay = instantWindow(readings, g, f.Period.Value, edges, sharp)
	}
}

// average measures the window of an average field.
func (f *Field) average(g grid, energy *energyKnots) {
	if energy == nil {
		f.Window = unknown("neither a counter nor an instant field that misses nothing to hold it against")
		f.Delay = f.Window
		return
	}
	f.Window, f.Delay, f.Unfit = averageWindow(g, f.Period.Value, energy)
	if !f.Window.Known() {
		return
	}
	// The law has whole periods.
	n := max(1, (f.Window.Value+f.Period.Value/2)/f.Period.Value)
	if off := (f.Window.Value - n*f.Period.Value).Abs(); float64(off) <= nearWhole*float64(f.Period.Value) {
		f.Window.Value = n * f.Period.Value
		f.Window.Uncertainty = max(f.Window.Uncertainty, off)
	}
}

func (f *Field) duty() float64 {
	return min(1, float64(f.Window.Value)/float64(f.Period.Value))
}

// surePeriod is the part of a period to which it must be known.
const surePeriod = 100

// Sensor returns the row that the table of sensors has of the field. It is false
// where something that it needs is not known. A period at rest that is not
// known is that of any time, as in the file.
func (f *Field) Sensor() (reduce.Sensor, bool) {
	if f.Name == FieldCounter || f.Kind == "" || !f.Period.Known() || !f.Window.Known() || f.Period.Uncertainty > f.Period.Value/surePeriod {
		return reduce.Sensor{}, false
	}
	s := reduce.Sensor{Kind: f.Kind, Period: readable(f.Period.Value), Duty: 1}
	switch f.Kind {
	case reduce.SensorAverage:
		n := max(1, (f.Window.Value+f.Period.Value/2)/f.Period.Value)
		s.Window = n * s.Period
		s.Span = s.Window - s.Period/2
		s.Rest = s.Period
		if f.Rest.Known() && f.Rest.Value > s.Period*3/2 {
			s.Rest = readable(f.Rest.Value)
		}
	default:
		s.Window = max(readable(f.Window.Value), 100*time.Microsecond)
		if s.Window > s.Period && s.Window < s.Period+3*f.Window.Uncertainty {
			s.Window = s.Period // as near as it is known
		}
		s.Duty = min(1, float64(s.Window)/float64(s.Period))
	}
	return s, true
}

// readable rounds to what boards of one model have in common.
func readable(d time.Duration) time.Duration {
	if d >= 50*time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}

// Comparison is the counter's energy beside the integral of a power field.
type Comparison struct {
	Ratio  float64 // counter / integral
	Spread float64 // standard deviation of the parts' ratios
	Parts  int
	Poll   time.Duration // median
}

const (
	comparedPart = time.Second / 2 // least length of a part that is compared
	mostParts    = 8
)

// Compare holds the counter against the integral of a field, whose readings are
// late by lag: of all the time, and of equal parts of it, whose ratios spread. It
// is false where there is too little.
func Compare(counter, power []Reading, lag time.Duration) (Comparison, bool) {
	knots := &energyKnots{}
	for i, r := range counter {
		if i == 0 || r.Value != counter[i-1].Value {
			at := r.middle()
			if i > 0 {
				at = counter[i-1].middle().Add(at.Sub(counter[i-1].middle()) / 2)
			}
			knots.put(at, r.Value, i > 0 && r.Value < counter[i-1].Value)
		}
	}
	integral := &energyKnots{}
	joules := 0.0
	for i, r := range power {
		if i > 0 {
			joules += (r.Value + power[i-1].Value) / 2 * r.middle().Sub(power[i-1].middle()).Seconds()
		}
		integral.put(r.middle().Add(-lag), joules, false)
	}
	if len(knots.at) < 3 || len(integral.at) < 3 {
		return Comparison{}, false
	}
	from := max(knots.at[1], integral.at[0]) // the first knot is not an update
	to := min(knots.at[len(knots.at)-1], integral.at[len(integral.at)-1]) - 1
	parts := min(mostParts, int(to.Sub(from)/comparedPart))
	if parts < 2 {
		return Comparison{}, false
	}
	ratio := func(from, to trace.Time) (float64, bool) {
		e, ok := knots.mean(from, to)
		p, ok2 := integral.mean(from, to)
		return e / p, ok && ok2 && p > 0
	}
	c := Comparison{Poll: medianPoll(power)}
	var ok bool
	if c.Ratio, ok = ratio(from, to); !ok {
		return c, false
	}
	var all []float64
	for i := range parts {
		length := to.Sub(from) / time.Duration(parts)
		if r, ok := ratio(from.Add(time.Duration(i)*length), from.Add(time.Duration(i+1)*length)); ok {
			all = append(all, r)
		}
	}
	for _, r := range all {
		c.Spread += (r - c.Ratio) * (r - c.Ratio)
	}
	c.Parts = len(all)
	c.Spread = math.Sqrt(c.Spread / float64(max(1, c.Parts-1)))
	return c, c.Parts > 1
}

// Latency sums up the lengths of calls.
type Latency struct {
	P50, P99, Max time.Duration
	N             int
}

// Latencies sums up the lengths of calls.
func Latencies(took []time.Duration) Latency {
	return Latency{quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1), len(took)}
}
