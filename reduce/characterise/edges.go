package characterise

import (
	"math"
	"slices"
	"time"

	"wattrace/trace"
)

// tick is a value of a field as of one update, or of the counter the mean power
// since the tick before.
type tick struct {
	at    trace.Time
	watts float64
	first bool // nothing is known of the time before it
}

// smoothing is how many updates on either side help to say when one was.
const smoothing = 16

// grid is updates with their numbers on even grids.
type grid struct {
	updates []update
	number  []int // since the run's first
	run     []int // which one
}

// onGrid numbers updates and moves them to where their neighbours on the same grid
// say that they were: polls see each one only to within a poll, so by no more
// than that.
func onGrid(all []update, known Duration, poll time.Duration) grid {
	period := known.Value
	most := time.Duration(numbered(float64(period), float64(known.Uncertainty)))
	g := grid{make([]update, len(all)), make([]int, len(all)), make([]int, len(all))}
	for i := 1; i < len(all); i++ {
		gap := all[i].at.Sub(all[i-1].at)
		m := (gap + period/2) / period
		g.run[i], g.number[i] = g.run[i-1], g.number[i-1]+int(m)
		if m < 1 || m > most || (gap-m*period).Abs()*outOfTurnGap > period {
			g.run[i], g.number[i] = i, 0
		}
	}
	for i, u := range all {
		var sum, n time.Duration
		for j := max(0, i-smoothing); j < min(len(all), i+smoothing+1); j++ {
			if g.run[j] == g.run[i] {
				sum += all[j].at.Add(time.Duration(g.number[i]-g.number[j]) * period).Sub(u.at)
				n++
			}
		}
		if mean := sum / n; mean.Abs() <= poll {
			u.at = u.at.Add(mean)
		}
		g.updates[i] = u
	}
	return g
}

// ticks returns the values of a power field at all its updates: those that left
// the value as it was are put back.
func (g grid) ticks(period time.Duration) (all []tick) {
	for i, u := range g.updates {
		first := i == 0 || g.run[i] != g.run[i-1]
		if !first {
			for n, last := g.number[i-1]+1, g.updates[i-1]; n < g.number[i]; n++ {
				all = append(all, tick{at: u.at.Add(-time.Duration(g.number[i]-n) * period), watts: last.value})
			}
		}
		all = append(all, tick{u.at, u.value, first})
	}
	return all
}

// powers returns the mean powers between updates of the counter.
func (g grid) powers() (all []tick) {
	for i, u := range g.updates {
		t := tick{at: u.at, first: true}
		if i > 0 && g.run[i] == g.run[i-1] && u.value > g.updates[i-1].value {
			last := g.updates[i-1]
			t.first, t.watts = false, (u.value-last.value)/u.at.Sub(last.at).Seconds()
		}
		all = append(all, t)
	}
	return all
}

// Edge is a step of the load's power.
type Edge struct {
	At       trace.Time
	From, To float64 // watts; 0, 0 is not known

	between int // values between the two plateaus
}

const (
	plateau     = 3   // ticks before and after a step that must agree
	mostBetween = 2   // ticks in which power may be on its way
	flat        = 0.1 // by which a plateau may spread, as a share of the step
	leastShare  = 0.2 // of the range of power that a step must have
	leastStep   = 20  // watts
)

// steps returns where power goes from one plateau to another. A step of a mean
// that ends in between has the instant that the mean says.
func steps(ticks []tick) (all []Edge) {
	var watts []float64
	for _, t := range ticks {
		if !t.first {
			watts = append(watts, t.watts)
		}
	}
	least := max(leastStep, leastShare*(quantile(watts, 0.95)-quantile(watts, 0.05)))
	for i := plateau - 1; i+1+plateau <= len(ticks); i++ {
		for between := range mostBetween + 1 {
			j := i + 1 + between
			if j+plateau > len(ticks) {
				break
			}
			from, spread, ok := level(ticks[i-plateau+1:i+1], true)
			to, spread2, ok2 := level(ticks[j:j+plateau], false)
			step := math.Abs(to - from)
			if !ok || !ok2 || step < least || max(spread, spread2) > flat*step || slices.ContainsFunc(ticks[i+1:j], func(t tick) bool { return t.first }) {
				continue
			}
			a, b := ticks[i].at, ticks[j-1].at
			joules := 0.0
			for k := i + 1; k < j; k++ {
				joules += ticks[k].watts * ticks[k].at.Sub(ticks[k-1].at).Seconds()
			}
			after := (to*b.Sub(a).Seconds() - joules) / (to - from) // seconds
			all = append(all, Edge{a.Add(time.Duration(after * 1e9)), from, to, between})
			i = j - 1
			break
		}
	}
	return all
}

// level returns the mean of a plateau and its spread. Of the first of the ticks
// before a step it does not matter what was before.
func level(ticks []tick, head bool) (mean, spread float64, ok bool) {
	lo, hi, n := math.Inf(1), math.Inf(-1), 0.0
	for i, t := range ticks {
		if t.first && (i > 0 || !head || t.watts == 0) {
			return 0, 0, false
		}
		lo, hi, mean, n = min(lo, t.watts), max(hi, t.watts), mean+t.watts, n+1
	}
	return mean / n, hi - lo, true
}
