package characterise

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"wattrace/trace"
)

// Reading is what one poll found in a field.
type Reading struct {
	At    trace.Time // just before the call
	Took  time.Duration
	Value float64 // watts, of the counter joules
}

func (r Reading) middle() trace.Time { return r.At.Add(r.Took / 2) }

// Duration is a time that was measured, or the reason why it was not.
type Duration struct {
	Value       time.Duration
	Uncertainty time.Duration // standard
	N           int           // measurements that it rests on
	Unknown     string        // why it is not known; "" if it is
}

// Known reports whether there is a value.
func (d Duration) Known() bool { return d.Unknown == "" }

func (d Duration) String() string {
	if !d.Known() {
		return "unknown: " + d.Unknown
	}
	unit := 10 * time.Microsecond
	if d.Uncertainty < unit {
		unit = time.Microsecond
	}
	return fmt.Sprintf("%v ± %v (n=%d)", d.Value.Round(unit), d.Uncertainty.Round(unit), d.N)
}

func unknown(format string, args ...any) Duration {
	return Duration{Unknown: fmt.Sprintf(format, args...)}
}

// update is a change of a field.
type update struct {
	at    trace.Time // middle of the polls around it
	value float64    // from then on
}

// updates returns where a field changed. The first value is no update, and a
// change in a gap, of which nobody knows when it was, ends nothing: it is left out.
func updates(readings []Reading) (all []update) {
	longest := gapPolls * medianPoll(readings)
	for i := 1; i < len(readings); i++ {
		r, last := readings[i], readings[i-1]
		if around := r.middle().Sub(last.middle()); r.Value != last.Value && around <= longest {
			all = append(all, update{last.middle().Add(around / 2), r.Value})
		}
	}
	return all
}

// gapPolls is how much longer than the median a poll may be whose update is used.
const gapPolls = 4

func medianPoll(readings []Reading) time.Duration {
	var polls []time.Duration
	for i := 1; i < len(readings); i++ {
		polls = append(polls, readings[i].middle().Sub(readings[i-1].middle()))
	}
	return median(polls)
}

const (
	leastGaps    = 8               // that a period is taken from
	leastPolls   = 2.5             // in a period
	longestGap   = 4 * time.Second // that is looked at
	periodStep   = 1.002           // from one candidate to the next
	nearlyBest   = 0.97            // of the highest coherence
	coherent     = 0.5             // least coherence of a field with a period
	numberedGap  = 20              // periods in a gap across which updates are numbered, at first
	mostNumbered = 400             // and when the period is known well
	outOfTurnGap = 4               // part of a period by which a gap may differ from a multiple
	looseGap     = 8               // part of a period by which a gap may, where there is no grid
	mostJitter   = 0.03            // of a period, RMS, beyond that of polls
)

// period returns the time between updates, and how far they are seen from an even
// grid, or from each other where there is none, RMS: jitter and polls together.
func period(readings []Reading, all []update) (Duration, time.Duration) {
	poll := medianPoll(readings)
	var gaps []time.Duration
	for i := 1; i < len(all); i++ {
		if g := all[i].at.Sub(all[i-1].at); g <= longestGap {
			gaps = append(gaps, g)
		}
	}
	if len(gaps) < leastGaps {
		return unknown("the value changed only %d times", len(all)), 0
	}
	least := time.Duration(leastPolls * float64(poll))
	if median(gaps) < least {
		return unknown("polls every %v are too slow: half of them see a change within %v", poll.Round(10*time.Microsecond), median(gaps).Round(10*time.Microsecond)), 0
	}
	coarse, best := coarsePeriod(gaps, least)
	if best < coherent {
		return unknown("the changes keep to no period"), 0
	}
	p, rms := gridPeriod(all, coarse)
	if most := time.Duration(mostJitter*float64(p.Value)) + poll/3; p.Known() && rms > most { // polls alone: poll/sqrt(12)
		return gapPeriod(gaps, coarse)
	}
	return p, rms
}

// gapPeriod returns the period of a field that keeps to no grid, since each update
// comes a period after the last one was asked for: the median of the gaps of one
// period. Their spread is a robust standard deviation.
func gapPeriod(gaps []time.Duration, coarse time.Duration) (Duration, time.Duration) {
	var single []time.Duration
	other := 0
	for _, g := range gaps {
		m := (g + coarse/2) / coarse
		switch off := (g - m*coarse).Abs(); {
		case m < 1 || off > coarse/looseGap:
			other++
		case m == 1:
			single = append(single, g)
		}
	}
	if len(single)*2 < len(gaps) || other*5 > len(gaps) {
		return unknown("the changes keep to no period: %d of %d gaps are near %v", len(single), len(gaps), coarse.Round(time.Millisecond)), 0
	}
	p := median(single)
	var off []time.Duration
	for _, g := range single {
		off = append(off, (g - p).Abs())
	}
	sigma := 1.4826 * float64(median(off)) // of normal ones
	return Duration{Value: p, Uncertainty: time.Duration(1.2533 * sigma / math.Sqrt(float64(len(single)))), N: len(single)}, time.Duration(sigma)
}

// numbered returns across how many periods updates can be numbered, when a period is
// known so well.
func numbered(period, uncertainty float64) float64 {
	return min(mostNumbered, max(numberedGap, period/(2*outOfTurnGap*max(1, uncertainty))))
}

// coarsePeriod returns the largest period whose coherence is nearly the highest.
func coarsePeriod(gaps []time.Duration, least time.Duration) (at time.Duration, best float64) {
	longest := 1.1 * float64(slices.Max(gaps))
	type candidate struct{ period, coherence float64 }
	var all []candidate
	for t := float64(least); t < longest; t *= periodStep {
		s := coherence(gaps, t)
		all, best = append(all, candidate{t, s}), max(best, s)
	}
	// The largest peak that is nearly the highest, and not its flank.
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].coherence < nearlyBest*best {
			continue
		}
		for i > 0 && all[i-1].coherence >= all[i].coherence {
			i--
		}
		return time.Duration(all[i].period), best
	}
	return 0, best
}

func coherence(gaps []time.Duration, t float64) float64 {
	sum := 0.0
	for _, g := range gaps {
		if x := float64(g) / t; x < 0.5 {
			sum--
		} else {
			sum += math.Cos(2 * math.Pi * x)
		}
	}
	return sum / float64(len(gaps))
}

// gridPeriod fits even grids to the updates, with a common period.
func gridPeriod(all []update, coarse time.Duration) (Duration, time.Duration) {
	period, rms, n, sxx, most := float64(coarse), 0.0, 0, 0.0, float64(numberedGap)
	for range 4 { // the better the period, the longer the runs and the surer the numbers
		var sxy, syy float64
		sxx, n = 0, 0
		for i := 0; i < len(all); {
			var number, stamp []float64
			from, last := all[i].at, 0.0
			number, stamp = append(number, 0), append(stamp, 0)
			j := i + 1
			for ; j < len(all); j++ {
				g := float64(all[j].at.Sub(all[j-1].at))
				m := math.Round(g / period)
				if m < 1 || m > most || math.Abs(g-m*period)*outOfTurnGap > period {
					break
				}
				last += m
				number, stamp = append(number, last), append(stamp, float64(all[j].at.Sub(from)))
			}
			_, _, xx, xy, yy := moments(number, stamp)
			if len(number) > 1 {
				sxx, sxy, syy, n = sxx+xx, sxy+xy, syy+yy, n+len(number)-1
			}
			i = j
		}
		if n < leastGaps {
			return unknown("only %d changes lie on a grid of %v", n, coarse.Round(time.Millisecond)), 0
		}
		period = sxy / sxx
		rms = math.Sqrt(max(0, syy-period*sxy) / float64(n))
		most = numbered(period, rms/math.Sqrt(sxx))
	}
	return Duration{Value: time.Duration(period), Uncertainty: time.Duration(rms / math.Sqrt(sxx)), N: n}, time.Duration(rms)
}

// moments returns the means and the central sums of squares and products.
func moments(x, y []float64) (mx, my, xx, xy, yy float64) {
	for i := range x {
		mx, my = mx+x[i], my+y[i]
	}
	n := float64(len(x))
	mx, my = mx/n, my/n
	for i := range x {
		dx, dy := x[i]-mx, y[i]-my
		xx, xy, yy = xx+dx*dx, xy+dx*dy, yy+dy*dy
	}
	return mx, my, xx, xy, yy
}

// median returns the lower median; 0 of nothing.
func median[T cmp.Ordered](values []T) T { return quantile(values, 0.5) }

// quantile returns the value at a share of the ordered ones, the lower of two.
func quantile[T cmp.Ordered](values []T, p float64) (q T) {
	if len(values) == 0 {
		return q
	}
	ordered := slices.Sorted(slices.Values(values))
	return ordered[int(p*float64(len(ordered)-1))]
}
