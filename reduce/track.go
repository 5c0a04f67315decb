package reduce

import (
	"math"
	"math/bits"
	"slices"
	"time"

	"wattrace/sample"
	"wattrace/trace"
)

// A track is the integral of a slow gauge over time, at the ends of windows, and
// its highest value in between: utilisation, temperature, clocks. Between two
// readings the gauge is taken to move in a straight line.
type track struct {
	edges []trace.Time // in order
	next  int          // the first edge that is not reached yet
	sum   []float64    // integral up to each edge, in the gauge's unit times seconds
	known []int64      // nanoseconds of it that readings cover
	top   []float64    // highest value between the edge before and this one; NaN is unknown; nil is not wanted

	have bool
	at   trace.Time
	v    float64
	area float64 // up to at
	time int64   // nanoseconds covered up to at
	high float64 // highest value since the last edge
}

// trackGap is the longest time between two readings that a straight line spans.
const trackGap = 10 * time.Second

func newTrack(edges []trace.Time, top bool) *track {
	n := len(edges)
	t := &track{edges: edges, sum: make([]float64, n), known: make([]int64, n), high: math.NaN()}
	if top {
		t.top = make([]float64, n)
	}
	return t
}

// read takes a reading; those not in order of time are passed over.
func (t *track) read(at trace.Time, v float64) {
	if t.have && at <= t.at {
		return
	}
	joined := t.have && at.Sub(t.at) <= trackGap
	for ; t.next < len(t.edges) && t.edges[t.next] <= at; t.next++ {
		i := t.next
		t.sum[i], t.known[i] = t.area, t.time
		if edge := t.edges[i]; joined && edge > t.at {
			w := float64(edge-t.at) / float64(at-t.at)
			there := t.v + float64(w*(v-t.v))
			t.sum[i] += float64((t.v + there) / 2 * edge.Sub(t.at).Seconds())
			t.known[i] += int64(edge - t.at)
			t.high = higher(t.high, there)
		}
		if t.top != nil {
			t.top[i] = t.high
		}
		t.high = math.NaN()
		if edge := t.edges[i]; joined && edge > t.at {
			w := float64(edge-t.at) / float64(at-t.at)
			t.high = t.v + float64(w*(v-t.v))
		}
	}
	if joined {
		t.area += float64((t.v + v) / 2 * at.Sub(t.at).Seconds())
		t.time += int64(at - t.at)
	}
	t.have, t.at, t.v, t.high = true, at, v, higher(t.high, v)
}

// higher returns the higher of two values of which NaN is unknown.
func higher(a, b float64) float64 {
	if math.IsNaN(a) || b > a {
		return b
	}
	return a
}

// end reaches the edges that are left.
func (t *track) end() {
	for ; t.next < len(t.edges); t.next++ {
		t.sum[t.next], t.known[t.next] = t.area, t.time
		if t.top != nil {
			t.top[t.next] = t.high
		}
		t.high = math.NaN()
	}
}

// mean returns the time-weighted mean and the highest value between two edges, where that
// is wanted, and false where readings cover less than half of it.
func (t *track) mean(from, to trace.Time) (mean, top float64, ok bool) {
	i, _ := slices.BinarySearch(t.edges, from)
	j, _ := slices.BinarySearch(t.edges, to)
	known := t.known[j] - t.known[i]
	if 2*known < int64(to-from) || known == 0 {
		return 0, 0, false
	}
	top = math.NaN()
	if t.top != nil {
		for _, v := range t.top[i+1 : j+1] {
			top = higher(top, v)
		}
	}
	return (t.sum[j] - t.sum[i]) / (float64(known) / 1e9), top, t.top == nil || !math.IsNaN(top)
}

// reasons are NVML's clock event reasons that hold clocks down, by bit: nvml.h 13.
// What says only that nothing runs, or that a user set the clocks, is not among them.
var reasons = []struct {
	bit  int
	name string
}{
	{2, "sw_power_cap"}, {3, "hw_slowdown"}, {4, "sync_boost"}, {5, "sw_thermal"}, {6, "hw_thermal"},
	{7, "hw_power_brake"}, {9, "board_limit"}, {10, "reliability"},
}

const reasonBits = 11 // that are followed

// reasonTrack is for how long each clock event reason held, at the ends of windows.
// A reading holds until the next.
type reasonTrack struct {
	edges []trace.Time
	next  int
	held  [reasonBits + 1][]int64 // nanoseconds up to each edge; the last one: of any that holds clocks down; nil is never so far
	known []int64

	have bool
	at   trace.Time
	mask uint64
	sums [reasonBits + 1]int64
	time int64
}

func newReasonTrack(edges []trace.Time) *reasonTrack {
	return &reasonTrack{edges: edges, known: make([]int64, len(edges))}
}

func (t *reasonTrack) read(at trace.Time, mask uint64) {
	if t.have && at <= t.at {
		return
	}
	joined := t.have && at.Sub(t.at) <= trackGap
	if !joined {
		t.reach(at, false)
	} else {
		t.reach(at, true)
		t.move(at)
	}
	t.have, t.at, t.mask = true, at, mask
}

// reach gives the edges up to an instant their sums.
func (t *reasonTrack) reach(at trace.Time, joined bool) {
	for ; t.next < len(t.edges) && t.edges[t.next] <= at; t.next++ {
		if edge := t.edges[t.next]; joined && edge > t.at {
			t.move(edge)
		}
		t.known[t.next] = t.time
		for k, held := range t.sums {
			if held > 0 && t.held[k] == nil {
				t.held[k] = make([]int64, len(t.edges))
			}
			if t.held[k] != nil {
				t.held[k][t.next] = held
			}
		}
	}
}

// move lets the mask hold up to an instant.
func (t *reasonTrack) move(at trace.Time) {
	d := int64(at - t.at)
	throttling := uint64(0)
	for _, r := range reasons {
		throttling |= 1 << r.bit
	}
	for m := t.mask & (1<<reasonBits - 1); m != 0; m &= m - 1 {
		t.sums[bits.TrailingZeros64(m)] += d
	}
	if t.mask&throttling != 0 {
		t.sums[reasonBits] += d
	}
	t.time += d
	t.at = at
}

func (t *reasonTrack) end() { t.reach(math.MaxInt64, false) }

// seconds returns for how long each reason held between two edges, and any that holds
// clocks down; false where readings cover less than half of it.
func (t *reasonTrack) seconds(from, to trace.Time) (held [reasonBits + 1]float64, ok bool) {
	i, _ := slices.BinarySearch(t.edges, from)
	j, _ := slices.BinarySearch(t.edges, to)
	known := t.known[j] - t.known[i]
	if 2*known < int64(to-from) || known == 0 {
		return held, false
	}
	for k, until := range t.held {
		if until != nil {
			held[k] = float64(until[j]-until[i]) / 1e9
		}
	}
	return held, true
}

// slowGauges are the gauges whose means a report gives, and their tags.
var slowGauges = []struct {
	id   sample.MetricID
	mean string
	top  string // of the highest value; "" is not given
	unit string
	most float64 // that a reading can be; below 0 none is, but a temperature
}{
	{sample.GPUUtilization, GPUUtilization, "", "1", 100}, // some say percent
	{sample.MemoryUtilization, MemoryUtilization, "", "1", 100},
	{sample.TemperatureCelsius, GPUTemperature, PeakGPUTemperature, "Cel", 1e4},
	{sample.SMClockHertz, SMClock, PeakSMClock, "Hz", 1e12},
	{sample.MemoryClockHertz, MemoryClock, "", "Hz", 1e12},
	{sample.MemoryUsedBytes, MemoryUsed, "", "By", 1e18},
	{sample.PowerLimitWatts, GPUPowerLimit, "", "W", mostLimitWatts},
}

// slow follows the slow metrics of one device.
type slow struct {
	gauges  [sample.NumMetrics]*track
	reasons *reasonTrack

	implausible [sample.NumMetrics]int64 // readings that cannot be, and are left out
}

// read takes row i of a batch.
func (s *slow) read(b *sample.Batch, i int, at trace.Time, edges []trace.Time) {
	for _, g := range slowGauges {
		v, ok := b.Float(g.id, i)
		if sample.Metrics[g.id].Type == sample.Uint64 {
			var u uint64
			u, ok = b.Uint(g.id, i)
			v = float64(u)
		}
		if !ok {
			continue
		}
		if v > g.most || v < 0 && g.id != sample.TemperatureCelsius || v < -274 {
			s.implausible[g.id]++
			continue
		}
		if s.gauges[g.id] == nil {
			s.gauges[g.id] = newTrack(edges, g.top != "")
		}
		s.gauges[g.id].read(at, v)
	}
	if reasons, ok := b.Uint(sample.ClockEventReasons, i); ok {
		if s.reasons == nil {
			s.reasons = newReasonTrack(edges)
		}
		s.reasons.read(at, reasons)
	}
}

func (s *slow) end() {
	for _, t := range s.gauges {
		if t != nil {
			t.end()
		}
	}
	if s.reasons != nil {
		s.reasons.end()
	}
}
