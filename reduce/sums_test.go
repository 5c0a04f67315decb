package reduce

import (
	"math"
	"testing"
	"time"

	"wattrace/reduce/attribute"
	"wattrace/sample"
	"wattrace/trace"
)

// The formulas one by one, with figures that are worked out by hand.

func TestSystematicOfASum(t *testing.T) {
	model := calibrated{fix: fix{gain: 0.5, offset: 3}, gainSigma: 0.01, offsetSigma: 2}
	unit := model
	unit.unit = true
	of := func(zero bool, parts ...part) float64 {
		e := total{seconds: 10, parts: parts}
		return e.systematic(zero)
	}
	plain := part{"m", estimate{1000, 0}, calibrated{}}
	near(t, "nobody's", of(true, plain), math.Sqrt(50*50+15*15+50*50), 1e-9)
	near(t, "nobody's, of a difference", of(false, plain), math.Hypot(50, 15), 1e-9)
	one := part{"m", estimate{1000, 0}, unit}
	near(t, "the board's", of(true, one), math.Hypot(20, 40), 1e-9)
	near(t, "the board's, of a difference", of(false, one), 20, 1e-9)
	near(t, "two boards'", of(true, one, one), math.Sqrt(2*(400+1600)), 1e-9)
	shared := part{"m", estimate{1000, 0}, model}
	near(t, "the model's", of(true, shared, shared), math.Sqrt(40*40+80*80+2*15*15), 1e-9)
	near(t, "the model's, of a difference", of(false, shared, shared), math.Sqrt(40*40+2*15*15), 1e-9)
	near(t, "one of the model's, one of nobody's", of(true, shared, plain), math.Sqrt(20*20+40*40+50*50+2*15*15+50*50), 1e-9)
	extra := total{seconds: 10, parts: []part{one}, extra: 30}
	near(t, "besides", extra.systematic(false), math.Hypot(20, 30), 1e-9)
}

func TestNumberOfASum(t *testing.T) {
	e := total{seconds: 10, scale: 0.1, parts: []part{{"m", estimate{1000, 3}, calibrated{}}, {"n", estimate{500, 4}, calibrated{}}}}
	e.addClock(1000, &Enclosure{900, 1200})
	e.addClock(500, nil)
	n := e.number()
	near(t, "value", n.Value, 150, 1e-12)
	near(t, "random", n.Uncertainty.Random, 0.1*math.Sqrt(0.7*25+0.3*49), 1e-12)
	near(t, "systematic", n.Uncertainty.Systematic, 0.1*math.Sqrt(50*50+25*25+15*15+7.5*7.5+100*100), 1e-12)
	if c := n.ClockRange; c == nil || *c != (Enclosure{140, 170}) {
		t.Errorf("clock range %+v", c)
	}
	twice := scaled(n, 2, "")
	near(t, "twice, random", twice.Uncertainty.Random, 2*n.Uncertainty.Random, 1e-12)
	near(t, "twice, systematic", twice.Uncertainty.Systematic, 2*n.Uncertainty.Systematic, 1e-12)
	if c := twice.ClockRange; c == nil || *c != (Enclosure{280, 340}) {
		t.Errorf("clock range of twice %+v", c)
	}
	per := inverse(n, 300, "")
	near(t, "inverse", per.Value, 2, 1e-12)
	near(t, "inverse, random", per.Uncertainty.Random, 2*n.Uncertainty.Random/150, 1e-12)
	near(t, "inverse, systematic", per.Uncertainty.Systematic, 2*n.Uncertainty.Systematic/150, 1e-12)
	if c := per.ClockRange; c == nil || math.Abs(c.Low-300./170) > 1e-12 || math.Abs(c.High-300./140) > 1e-12 {
		t.Errorf("clock range of the inverse %+v", c)
	}
	n.ClockRange.Low = 0
	if c := inverse(n, 300, "").ClockRange; c != nil {
		t.Errorf("the range of an inverse has no end, and is %+v", c)
	}
	unclocked := total{parts: []part{{"m", estimate{1000, 3}, calibrated{}}}}
	unclocked.addClock(1000, nil)
	if c := unclocked.number().ClockRange; c != nil {
		t.Errorf("a range of clocks that are right: %+v", c)
	}
}

func TestRatioAndDisagreement(t *testing.T) {
	m := ratio(estimate{100, 3}, estimate{50, 2})
	near(t, "ratio", m.Value, 2, 1e-12)
	near(t, "its random part", m.Uncertainty.Random, 0.1, 1e-12) // 3/50 and 100*2/50^2
	for _, c := range []struct {
		a, b      estimate
		by, limit float64
	}{
		{estimate{90, 3}, estimate{100, 4}, 10, 15},
		{estimate{100, 3}, estimate{90, 4}, 10, 15},
		{estimate{500, 0}, estimate{1000, 0}, 500, 10},
	} {
		by, limit := disagreement(c.a, c.b)
		near(t, "difference", by, c.by, 1e-12)
		near(t, "limit", limit, c.limit, 1e-12)
	}
}

func TestWhichCalibrationCounts(t *testing.T) {
	const field = sample.PowerAverageWatts
	model, modelField := Calibration{Device: "test GPU", Gain: 1}, Calibration{Device: "test GPU", Field: field.String(), Gain: 2}
	own, ownField := Calibration{Device: "GPU-a", Gain: 3}, Calibration{Device: "GPU-a", Field: field.String(), Gain: 4, OffsetWatts: 5, GainSigma: 6, OffsetSigma: 7}
	other, foreign := Calibration{Device: "GPU-b", Gain: 8}, Calibration{Device: "GPU-a", Field: sample.EnergyJoules.String(), Gain: 9}
	for _, c := range []struct {
		list []Calibration
		gain float64
		unit bool
	}{
		{nil, 0, false}, {[]Calibration{other, foreign}, 0, false}, {[]Calibration{model, other}, 1, false},
		{[]Calibration{model, modelField}, 2, false}, {[]Calibration{modelField, model}, 2, false},
		{[]Calibration{modelField, own}, 3, true}, {[]Calibration{own, modelField}, 3, true},
		{[]Calibration{own, ownField}, 4, true}, {[]Calibration{ownField, own}, 4, true},
	} {
		r := &Reducer{opt: Options{Calibration: c.list}}
		got := r.calibration(&series{survey: survey{device: device(0)}}, field)
		if got.gain != c.gain || got.unit != c.unit {
			t.Errorf("%+v: %+v", c.list, got)
		}
		if c.gain == 4 && (got.offset != 5 || got.gainSigma != 6 || got.offsetSigma != 7) {
			t.Errorf("%+v", got)
		}
	}
}

func TestSigmaBetweenEdges(t *testing.T) {
	a, b := &edge{sigma: 3, spread: 4}, &edge{sigma: 4, spread: 15, covered: int64(9 * sec), energy: 90e6}
	near(t, "sigma", sigma(a, b, 0), 6, 1e-12)
	near(t, "with a second lost", sigma(a, b, 1), math.Sqrt(36+100), 1e-12)
	near(t, "with nothing known", sigma(&edge{sigma: 3}, &edge{sigma: 4}, 1), 5, 1e-12)
	near(t, "a spread that falls", sigma(&edge{sigma: 3, spread: 4}, &edge{sigma: 4}, 0), 5, 1e-12)
}

func TestEnclosureNeedsFourBounds(t *testing.T) {
	known := bounds{low: 1e6, high: 4e6, hasLow: true, hasHigh: true}
	later := bounds{low: 3e6, high: 9e6, hasLow: true, hasHigh: true}
	if e := enclosure(&edge{bounds: known}, &edge{bounds: later}); e == nil || *e != (Enclosure{0, 8}) {
		t.Errorf("%+v", e)
	}
	later.low = 6e6
	if e := enclosure(&edge{bounds: known}, &edge{bounds: later}); e == nil || *e != (Enclosure{2, 8}) {
		t.Errorf("%+v", e)
	}
	for i := range 4 {
		a, b := known, later
		*[]*bool{&a.hasLow, &a.hasHigh, &b.hasLow, &b.hasHigh}[i] = false
		if e := enclosure(&edge{bounds: a}, &edge{bounds: b}); e != nil {
			t.Errorf("%d is not known: %+v", i, e)
		}
	}
}

func TestFixOfACurve(t *testing.T) {
	c := &curve{edges: []edge{{
		energy: 1000e6, covered: int64(10 * sec), sigma: 6, spread: 12, bounds: bounds{low: 900e6, high: 1100e6, hasLow: true, hasHigh: true},
	}}}
	c.fix(fix{gain: 2, offset: 20})
	e := c.edges[0]
	if e.energy != 400e6 || e.bounds.low != 350e6 || e.bounds.high != 450e6 || e.sigma != 3 || e.spread != 3 {
		t.Errorf("%+v", e)
	}
	near(t, "sigma of no calibration", fix{}.sigma(100), 100, 0)
}

func TestClockRangeOfACurve(t *testing.T) {
	c := &curve{}
	for _, p := range []struct {
		at trace.Time
		j  int64
	}{{8, 0}, {10, 10}, {11, 12}, {12, 13}, {18, 95}, {19, 20}, {20, 110}, {21, 130}, {22, 1000}} {
		c.edges = append(c.edges, edge{at: p.at, energy: p.j * 1e6, inside: p.at < 22})
	}
	s := &series{spread: 2}
	// By -2 the window has 95 J, by +1 118 J; 9 is no edge, 22 is not covered.
	if r, cut := clockRange(c, &Span{Start: 10, End: trace.Some(trace.Time(20))}, s); r == nil || *r != (Enclosure{95, 118}) || !cut {
		t.Errorf("%+v", r)
	}
	if r, _ := clockRange(c, &Span{Start: 10, End: trace.Some(trace.Time(22))}, s); r != nil {
		t.Errorf("of a window that is not covered: %+v", r)
	}
}

func TestEstimateOfOneMethod(t *testing.T) {
	run := func(a, b edge) (estimate, bool) {
		b.at = 100 * sec
		s := &series{counter: &counter{curve: &curve{edges: []edge{a, b}}}}
		return s.estimate(SourceCounter, 0, 100*sec)
	}
	got, ok := run(edge{inside: true, sigma: 3}, edge{inside: true, sigma: 4, energy: 990e6, covered: int64(99 * sec)})
	if !ok {
		t.Fatal("99 % are not enough")
	}
	near(t, "value", got.value, 1000, 1e-9)
	near(t, "sigma", got.sigma, math.Sqrt(25+100), 1e-9)
	for i, c := range [][2]edge{
		{{}, {inside: true, covered: int64(99 * sec)}},
		{{inside: true}, {covered: int64(99 * sec)}},
		{{inside: true}, {inside: true, covered: int64(98 * sec)}},
		{{inside: true}, {inside: true}},
	} {
		if _, ok := run(c[0], c[1]); ok {
			t.Errorf("%d: it stands for the window", i)
		}
	}
}

func TestLastDifference(t *testing.T) {
	c := &counter{curve: newCurve([]trace.Time{1, 2, 3}, false), lastBefore: []trace.Opt[float64]{{}, trace.Some(10.), trace.Some(25.)}}
	if v, ok := c.lastDifference(2, 3).Get(); !ok || v != 15 {
		t.Errorf("%v %v", v, ok)
	}
	if v, ok := c.lastDifference(1, 3).Get(); ok {
		t.Errorf("no reading before the first end, and %v", v)
	}
}

func TestDescribeFloats(t *testing.T) {
	d, ok := describeFloats([]float64{10, 1, 2, 3})
	if !ok || d.Mean != 4 || d.Min != 1 || d.Max != 10 || d.P50 != 2.5 || d.Count != 4 {
		t.Errorf("%+v", d)
	}
	near(t, "std", d.Std, math.Sqrt((9.+4+1+36)/4), 1e-12)
	list := make([]float64, 101)
	for i := range list {
		list[i] = float64(100 - i)
	}
	d, _ = describeFloats(list)
	if d.P1 != 1 || d.P5 != 5 || d.P10 != 10 || d.P25 != 25 || d.P50 != 50 || d.P75 != 75 || d.P90 != 90 || d.P95 != 95 || d.P99 != 99 {
		t.Errorf("%+v", d)
	}
	if _, ok := describeFloats(nil); ok {
		t.Error("a distribution of nothing")
	}
}

// TestCellsOfTwoDevices has 100 W and 200 W, the second of which is not known for all of
// the time.
func TestCellsOfTwoDevices(t *testing.T) {
	c := newCells(attribute.NewGrid([]trace.Time{0, 4 * sec}, 800*time.Millisecond))
	if c.whole(0) {
		t.Error("known of no device")
	}
	c.devices = 2
	c.add(-sec, 5*sec, 600e6)
	c.add(0, 3*sec, 600e6)
	if w, ok := c.watts(0, 2400*ms); !ok || math.Abs(w-300) > 1e-9 {
		t.Errorf("%v W %v", w, ok)
	}
	if w, ok := c.watts(0, 4*sec); ok {
		t.Errorf("%v W of what is not known", w)
	}
	if _, ok := c.watts(0, 0); ok {
		t.Error("power over no time")
	}
	if got := c.means(0, 4*sec); len(got) != 2 || math.Abs(got[0]-300) > 1e-9 || math.Abs(got[1]-300) > 1e-9 {
		t.Errorf("means %v", got) // the third second ends in a cell that is not known
	}
	if got := c.means(0, 2999*ms); len(got) != 2 {
		t.Errorf("means %v", got)
	}
	c.add(3*sec, 5*sec, 400e6)
	got := c.means(500*ms, 3500*ms)
	if len(got) != 3 || math.Abs(got[0]-300) > 1e-9 || math.Abs(got[2]-300) > 1e-9 {
		t.Errorf("means %v", got)
	}
	before := c.energy[0]
	c.add(0, sec, -100e6) // as of a calibration with an offset
	if grown := c.energy[0] - before; grown != -80e6 {
		t.Errorf("%d uJ", grown)
	}
	// A step within a cell: 300 W until 0.5 s.
	c = newCells(attribute.NewGrid([]trace.Time{0, 4 * sec}, 500*time.Millisecond))
	c.devices = 1
	c.add(500*ms, 4*sec, 350e6)
	if got := c.means(0, 2500*ms); len(got) != 1 || math.Abs(got[0]-100) > 1e-9 {
		t.Errorf("means %v", got)
	}
	c.add(0, 500*ms, 150e6)
	if got := c.means(0, 1500*ms); len(got) != 1 {
		t.Errorf("means %v", got)
	}
	if got := c.means(0, 4*sec); len(got) != 4 || math.Abs(got[0]-200) > 1e-9 || math.Abs(got[1]-100) > 1e-9 {
		t.Errorf("means %v", got)
	}
}

func TestFillerLeavesOutWhatIsCut(t *testing.T) {
	c := newCells(attribute.NewGrid([]trace.Time{0, 4 * sec}, time.Second))
	c.devices = 1
	f := &filler{cells: c, fix: fix{gain: 0.5}}
	f.to(sec, 100e6, 0)
	f.to(2*sec, 150e6, int64(sec))
	f.cut()
	f.to(3*sec, 950e6, int64(sec))
	f.to(4*sec, 960e6, int64(2*sec))
	want := []int64{0, 100e6, 0, 20e6}
	for i, e := range c.energy {
		if e != want[i] || c.whole(i) != (want[i] != 0) {
			t.Errorf("cell %d: %d uJ, known %v", i, e, c.whole(i))
		}
	}
}

func TestTrackOfSteps(t *testing.T) {
	tr := newTrack([]trace.Time{2 * sec, 4 * sec, 6 * sec, 20 * sec, 40 * sec}, true)
	for _, r := range []struct{ at, v float64 }{{0, 10}, {2, 30}, {1, 999}, {2, 999}, {4, 10}, {5, 100}, {25, 1}, {30, 1}, {31, 3}} {
		tr.read(trace.Time(r.at*1e9), r.v)
	}
	tr.end()
	for _, c := range []struct {
		from, to  trace.Time
		mean, top float64
		ok        bool
	}{
		{2 * sec, 4 * sec, 20, 30, true},       // what stands at an end counts on both sides
		{4 * sec, 6 * sec, 55, 100, true},      // half of it
		{6 * sec, 20 * sec, 0, 0, false},       // a gap
		{20 * sec, 40 * sec, 0, 0, false},      // 6 s of 20
		{2 * sec, 6 * sec, 95. / 3, 100, true}, // over all that is known
	} {
		mean, top, ok := tr.mean(c.from, c.to)
		if ok != c.ok || ok && (math.Abs(mean-c.mean) > 1e-9 || top != c.top) {
			t.Errorf("%v to %v: %v %v %v, want %+v", c.from, c.to, mean, top, ok, c)
		}
	}
	tr = newTrack([]trace.Time{10 * sec, 30 * sec, 100 * sec}, true)
	for _, at := range []float64{0, 15, 20, 30} {
		v := 1.0
		if at == 0 {
			v = 100
		}
		tr.read(trace.Time(at*1e9), v)
	}
	tr.end()
	if mean, top, ok := tr.mean(10*sec, 30*sec); !ok || mean != 1 || top != 1 {
		t.Errorf("what was before a gap counts after it: %v %v %v", mean, top, ok)
	}
	tr = newTrack([]trace.Time{sec, 10 * sec}, true)
	tr.read(0, 5)
	tr.read(8*sec, 5)
	tr.end()
	if mean, top, ok := tr.mean(sec, 10*sec); !ok || mean != 5 || top != 5 {
		t.Errorf("the last edge: %v %v %v", mean, top, ok)
	}
}

func TestReasonTrack(t *testing.T) {
	tr := newReasonTrack([]trace.Time{sec, 3 * sec, 10 * sec, 40 * sec, 41 * sec})
	for _, r := range []struct {
		at   float64
		mask uint64
	}{{0, 1 << 2}, {0.5, 1<<2 | 1}, {2, 1 << 5}, {1.5, 1 << 7}, {4, 1}, {6, 1 << 6}, {7, 0}, {30, 1 << 9}, {31, 1 << 9}, {40.5, 1 << 9}, {41, 0}} {
		tr.read(trace.Time(r.at*1e9), r.mask)
	}
	tr.end()
	held, ok := tr.seconds(sec, 3*sec)
	if !ok || held[2] != 1 || held[0] != 1 || held[5] != 1 || held[7] != 0 || held[reasonBits] != 2 {
		t.Errorf("%v %v", held, ok)
	}
	held, ok = tr.seconds(3*sec, 10*sec)
	if !ok || held[5] != 1 || held[0] != 2 || held[6] != 1 || held[reasonBits] != 2 {
		t.Errorf("%v %v", held, ok)
	}
	if held, ok = tr.seconds(10*sec, 40*sec); ok {
		t.Errorf("a gap: %v", held)
	}
	if held, ok = tr.seconds(40*sec, 41*sec); !ok || held[9] != 1 || held[reasonBits] != 1 {
		t.Errorf("all of it: %v %v", held, ok)
	}
	want := map[int]string{
		2: "sw_power_cap", 3: "hw_slowdown", 4: "sync_boost", 5: "sw_thermal", 6: "hw_thermal", 7: "hw_power_brake", 9: "board_limit", 10: "reliability",
	}
	for _, r := range reasons {
		if want[r.bit] != r.name {
			t.Errorf("bit %d is %s", r.bit, r.name)
		}
	}
}

func TestCorrelation(t *testing.T) {
	load := []float64{0, 1, 5, 2, 0, 0}
	power := []float64{50, 50, 100, 150, 350, 200}
	near(t, "moved by two", correlation(load, power, 2), 1, 1e-12)
	near(t, "the other way", correlation(power, load, -2), 1, 1e-12)
	near(t, "opposed", correlation([]float64{1, 2, 3}, []float64{3, 2, 1}, 0), -1, 1e-12)
	near(t, "what is not known", correlation([]float64{1, 2, 3, 9}, []float64{10, 20, 30, math.NaN()}, 0), 1, 1e-12)
	near(t, "by hand", correlation([]float64{1, 2, 3}, []float64{1, 3, 2}, 0), 0.5, 1e-12)
	for _, power := range [][]float64{{7, 7, 7}, {math.NaN(), math.NaN(), math.NaN()}} {
		near(t, "no change", correlation([]float64{1, 2, 3}, power, 0), 0, 0)
	}
	near(t, "no change of the load", correlation([]float64{7, 7, 7}, []float64{1, 2, 3}, 0), 0, 0)
}
