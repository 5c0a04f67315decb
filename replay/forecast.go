package replay

import (
	"fmt"
	"time"

	"wattrace/trace"
)

// Forecast says what a phase will send that does not wait for the server: an open
// loop, or the trace's own times.
type Forecast struct {
	Conversations int64         // that begin
	Requests      int64         // in them; what a server is slow to answer may fall beyond the phase's end
	Last          time.Duration // when the last of them begins, since the phase's start
	Peak          int           // the most of them that begin within any one second
}

// maxForecast is how many conversations a forecast looks at.
const maxForecast = 10_000_000

// ForecastPhase returns what a phase of a plan, by its number from 1, will send; false
// of a closed loop, which sends as fast as the server answers, and of an idle
// phase.
func ForecastPhase(turns []trace.Turn, plan *trace.Plan, number int) (Forecast, bool, error) {
	ph := &plan.Phases[number-1]
	switch ph.LoadKind() {
	case trace.OpenLoop, trace.TraceTimes:
	default:
		return Forecast{}, false, nil
	}
	s, err := newSchedule(newLayout(turns), turns, ph, number, plan.Seed, Shard{})
	if err != nil {
		return Forecast{}, false, fmt.Errorf("phase %q: %w", ph.Name, err)
	}
	var f Forecast
	var window []time.Duration // begun within the last second
	for f.Conversations < maxForecast {
		t, item, ok := s.Arrival(0)
		at := time.Duration(item.Due)
		if !ok || ph.Duration > 0 && at >= ph.Duration {
			break
		}
		for len(window) > 0 && window[0] <= at-time.Second {
			window = window[1:]
		}
		window = append(window, at)
		f.Conversations++
		f.Requests += 1 + t.left
		f.Last, f.Peak = at, max(f.Peak, len(window))
	}
	return f, true, nil
}
