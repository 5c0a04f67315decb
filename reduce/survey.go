package reduce

import (
	"fmt"
	"math"
	"slices"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// counterPeriod is Tu of NVIDIA's energy counter, where the polls do not show it
// (Zeus's documentation: about 100 ms). The power fields are in sensor.go.
const counterPeriod = 100 * time.Millisecond

// survey is what the first pass learns of one series.
type survey struct {
	device  sample.Device
	driver  string      // version; "" is unknown
	sensors SensorTable // what power fields are
	rows    int64       // with power or energy

	polls     pollCounts // time between readings, nanoseconds
	last      trace.Time
	hasLast   bool
	counter   trace.Opt[float64] // the last value
	counterAt trace.Time
	changes   int64
	changeSum time.Duration // between changes of one segment
	changeGap int64         // how many intervals changeSum adds up
	lastMove  trace.Opt[trace.Time]
	firstKnot trace.Opt[trace.Time] // a time that is not before the first knot
	finalKnot trace.Opt[trace.Time] // a time that is not after the last knot

	power       [sample.NumMetrics]powerSurvey // of the power gauges
	limitWatts  float64
	implausible int64 // readings of power that cannot be
	refuters    [sample.NumMetrics]*refuter
	both        sideBySide
	looks       [sample.NumMetrics]*aliasDetector // of the gauges that may see a part of the time only
}

// powerSurvey is what the first pass learns of one power gauge.
type powerSurvey struct {
	n           int64
	min, max    float64
	first, last trace.Time
}

var powerGauges = []sample.MetricID{sample.PowerWatts, sample.PowerInstantWatts, sample.PowerAverageWatts}

// readings are the metrics that make a row a reading of the device's draw. Rows of other
// things, as an event's or a failed call's, are none.
var readings = []sample.MetricID{sample.PowerWatts, sample.PowerInstantWatts, sample.PowerAverageWatts, sample.EnergyJoules}

// row takes row i of a batch, whose times are on the common clock.
func (s *survey) row(b *sample.Batch, i int, at trace.Time) {
	if !slices.ContainsFunc(readings, func(id sample.MetricID) bool { _, ok := b.Float(id, i); return ok }) {
		return
	}
	mid := at.Add(b.Took[i] / 2)
	if v, ok := b.Float(sample.PowerLimitWatts, i); ok {
		if v <= mostLimitWatts {
			s.limitWatts = max(s.limitWatts, v)
		}
	}
	if !reads(b, i) {
		return
	}
	s.rows++
	if s.hasLast {
		if dt := mid.Sub(s.last); dt > 0 {
			s.polls.add(int64(dt))
		}
	}
	s.last, s.hasLast = mid, true
	if v, ok := b.Float(sample.EnergyJoules, i); ok {
		s.counterRow(mid, v)
	}
	if average, ok := b.Float(sample.PowerAverageWatts, i); ok && s.plausible(average) {
		if instant, ok := b.Float(sample.PowerInstantWatts, i); ok && s.plausible(instant) {
			s.both.read(mid, average, instant, time.Second)
		}
	}
	for _, id := range powerGauges {
		v, ok := b.Float(id, i)
		if !ok {
			continue
		}
		if !s.plausible(v) {
			s.implausible++
			continue
		}
		p := &s.power[id]
		if p.n == 0 {
			p.min, p.max, p.first = v, v, mid
		}
		p.n++
		if id != sample.PowerInstantWatts {
			s.refute(id, mid, v)
		}
		// Where both are there, the instant field is the one that counts.
		if id == sample.PowerInstantWatts || id == sample.PowerWatts && s.power[sample.PowerInstantWatts].n == 0 {
			s.look(id, mid, v)
		}
		p.min, p.max, p.last = min(p.min, v), max(p.max, v), mid
	}
}

// reads reports whether row i holds power or energy, so that it is a reading of them: that
// of an event does not, nor does one of what is read more rarely.
func reads(b *sample.Batch, i int) bool {
	_, ok := b.Float(sample.EnergyJoules, i)
	for _, id := range powerGauges {
		if !ok {
			_, ok = b.Float(id, i)
		}
	}
	return ok
}

// refute lets a reading speak against the field's being an average.
func (s *survey) refute(id sample.MetricID, at trace.Time, watts float64) {
	if s.refuters[id] == nil {
		sensor, _ := s.sensors.Lookup(fields[id], s.device, s.driver)
		s.refuters[id] = newRefuter(sensor)
	}
	s.refuters[id].read(at, watts)
}

// look lets a reading show that the field may be the beat of a load.
func (s *survey) look(id sample.MetricID, at trace.Time, watts float64) {
	if s.looks[id] == nil {
		sensor, _ := s.sensors.Lookup(FieldInstant, s.device, s.driver)
		s.looks[id] = &aliasDetector{period: sensor.Period}
	}
	s.looks[id].read(at, watts)
}

// aliased reports whether the gauge that stands for the device's power sees a
// part of the time only, and may show the beat of a load.
func (s *survey) aliased() bool {
	id, ok := s.gauge()
	sensor := s.sensor()
	return ok && s.looks[id] != nil && sensor.Kind == SensorInstant && sensor.Duty < 1 && sensor.fast(s.poll()) && s.looks[id].aliased()
}

// plausible reports whether the device can have drawn so many watts.
func (s *survey) plausible(watts float64) bool { return watts >= 0 && watts <= s.maxWatts() }

func (s *survey) counterRow(mid trace.Time, v float64) {
	old, known := s.counter.Get()
	switch {
	case known && v > old:
		s.changes++
		if moved, ok := s.lastMove.Get(); ok {
			s.changeSum += mid.Sub(moved)
			s.changeGap++
		}
		s.lastMove = trace.Some(mid)
		if !s.firstKnot.OK {
			s.firstKnot = trace.Some(mid)
		}
		s.finalKnot = trace.Some(s.counterAt)
	case known && v < old:
		s.lastMove = trace.Opt[trace.Time]{}
	}
	s.counter, s.counterAt = trace.Some(v), mid
}

// poll returns the median time between readings.
func (s *survey) poll() time.Duration { return time.Duration(s.polls.quantile(0.5)) }

// maxGap returns the longest time without a reading that is not a gap.
func (s *survey) maxGap() time.Duration { return max(10*time.Second, 10*s.poll()) }

// maxPowerGap returns the longest time between two readings of power over which
// a straight line between them still says something.
func (s *survey) maxPowerGap() time.Duration { return max(time.Second, 3*s.poll()) }

// mostLimitWatts is what no device has as its power limit: a rack has less.
const mostLimitWatts = 1e6

// maxWatts returns a power that the device cannot reach: one and a half times
// its limit, or of the most that any known module may draw.
func (s *survey) maxWatts() float64 {
	if s.limitWatts > 0 {
		return 1.5 * s.limitWatts
	}
	return 1.5 * 3000
}

// periodSeen reports whether the polls are fast enough to tell the counter's
// updates apart: some polls see no change.
func (s *survey) periodSeen() bool {
	return s.changeGap >= 10 && float64(s.poll()) <= 0.9*float64(s.meanChange())
}

func (s *survey) meanChange() time.Duration {
	if s.changeGap == 0 {
		return 0
	}
	return s.changeSum / time.Duration(s.changeGap)
}

// updatePeriod returns Tu of the counter.
func (s *survey) updatePeriod() time.Duration {
	if s.periodSeen() {
		return s.meanChange()
	}
	if m := s.meanChange(); m > 0 {
		return min(m, counterPeriod)
	}
	return counterPeriod
}

// gauge returns the gauge that stands for the device's power, and whether it
// has one: an instant field that sees all of the time, of a known sensor whose updates
// the readings show, since it says more of a short window than an average; else the
// average; else what there is. It is the field itself rather than power_watts where that
// is known, because the fields have different lags.
func (s *survey) gauge() (sample.MetricID, bool) {
	order := []sample.MetricID{sample.PowerAverageWatts, sample.PowerInstantWatts, sample.PowerWatts}
	if s.power[sample.PowerInstantWatts].n >= 2 {
		instant, _ := s.sensors.Lookup(FieldInstant, s.device, s.driver)
		if instant.Kind == SensorInstant && instant.Duty >= 1 && !instant.Assumed && instant.fast(s.poll()) {
			order[0], order[1] = order[1], order[0]
		}
	}
	for _, id := range order {
		if s.power[id].n >= 2 {
			return id, true
		}
	}
	return 0, false
}

// fields are what the sensor table calls the gauges.
var fields = map[sample.MetricID]PowerField{
	sample.PowerAverageWatts: FieldAverage, sample.PowerInstantWatts: FieldInstant, sample.PowerWatts: FieldDraw,
}

// sensor returns what the gauge is, by the table. A field that the readings
// refute to be an average is taken for an instant one.
func (s *survey) sensor() Sensor {
	id, ok := s.gauge()
	if !ok {
		return Sensor{}
	}
	sensor, _ := s.sensors.Lookup(fields[id], s.device, s.driver)
	if r := s.refuters[id]; sensor.Kind == SensorAverage && r != nil && r.refutes(s.limitWatts) {
		sensor, _ = s.sensors.Lookup(FieldInstant, s.device, s.driver)
		sensor.Assumed = true
	}
	return sensor
}

// powerHow says how the gauge's readings become energy, for people.
func (s *survey) powerHow() string {
	sensor := s.sensor()
	how := ""
	switch {
	case !sensor.fast(s.poll()) && sensor.Lag() > 0:
		how = fmt.Sprintf(", %v earlier", sensor.Lag())
	case !sensor.fast(s.poll()):
		how = ", lag unknown"
	case sensor.Kind == SensorAverage:
		how = ", deconvolved"
	default:
		how = ", by its updates"
	}
	if sensor.Assumed {
		how += " (assumed)"
	}
	return how
}

// hasCounter reports whether the counter moved often enough to be used.
func (s *survey) hasCounter() bool { return s.changes >= 2 }

// energyMethod describes how the device's energy is had.
func (s *survey) energyMethod() string {
	switch gauge, ok := s.gauge(); {
	case s.hasCounter() && s.periodSeen():
		return "counter"
	case s.hasCounter():
		return "counter, update period assumed"
	case ok:
		return "integrated " + gauge.String() + s.powerHow()
	}
	return ""
}

// integralMethod describes how the integral of power is had.
func (s *survey) integralMethod() string {
	gauge, ok := s.gauge()
	if !ok {
		return ""
	}
	return "integrated " + gauge.String() + s.powerHow()
}

func (s *survey) powerMethod() string {
	gauge, ok := s.gauge()
	if !ok {
		return ""
	}
	return "mean of " + gauge.String() + s.powerHow()
}

// span returns the time that the series covers with all the methods that will
// be used on it.
func (s *survey) span() (from, to trace.Time, ok bool) {
	from, to = math.MinInt64, math.MaxInt64
	if s.hasCounter() && s.firstKnot.OK && s.finalKnot.OK {
		from, to, ok = s.firstKnot.V, s.finalKnot.V, true
	}
	if id, has := s.gauge(); has {
		// Samples are moved earlier by the lag; what goes by updates
		// begins after the first reading and ends before the last by a few periods.
		p, sensor := s.power[id], s.sensor()
		first, last := p.first.Add(-sensor.Lag()), p.last.Add(-sensor.Lag())
		if sensor.fast(s.poll()) {
			first, last = p.first.Add(sensor.Period), min(last, p.last.Add(-3*sensor.Period))
		}
		from, to, ok = max(from, first), min(to, last), true
	}
	return from, to, ok && to > from
}

// pollCounts counts positive integers in buckets of one part in 128, enough for
// a median that decides between methods.
type pollCounts struct {
	counts map[uint64]int64
	n      int64
}

func (h *pollCounts) add(v int64) {
	if h.counts == nil {
		h.counts = map[uint64]int64{}
	}
	h.counts[math.Float64bits(float64(v))>>45]++
	h.n++
}

// quantile returns the middle of the bucket that holds the quantile; 0 of none.
func (h *pollCounts) quantile(q float64) float64 {
	if h.n == 0 {
		return 0
	}
	keys := make([]uint64, 0, len(h.counts))
	for k := range h.counts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	rank := int64(q * float64(h.n-1))
	for _, k := range keys {
		if rank -= h.counts[k]; rank < 0 {
			return (math.Float64frombits(k<<45) + math.Float64frombits((k+1)<<45)) / 2
		}
	}
	return math.Float64frombits(keys[len(keys)-1] << 45)
}
