package attribute

import (
	"time"

	"wattrace/trace"
)

// Stage is the energy of a stage with bounds, in microjoules.
type Stage struct {
	Energy, Low, High int64
	Modelled          bool // shorter than the sensor resolves: a model, not a measurement
}

// Share is what a request has of a run's active energy, in microjoules.
type Share struct {
	Energy          int64 // by the headline mode
	Low, High       int64 // what the modes and their suppositions leave open
	Prefill, Decode Stage // their energies add up to Energy

	Time   int64            // by time
	Tokens int64            // by tokens
	Fitted trace.Opt[int64] // by the fit; unknown where that is refused

	Known         float64 // share of its time in flight of which the energy is known, 0 to 1
	UnknownCached bool    // the server does not say how many tokens were cached; taken as none
	UnknownInput  bool    // the tokens of its prompt are not known; taken as none
	UnknownStages bool    // not streamed: the split into stages is the model's alone
}

// Request is the second pass: it returns what a request has, and books it for
// Sum. It must see the requests that Survey saw, each once, in any order.
func (a *Attributor) Request(q *trace.Request, offset time.Duration) Share {
	l := a.life(q, offset)
	first, rows := a.weigh(q, &l, offset)
	var sum [estimates][2]int64
	s, known := 0, int64(0)
	for i := range rows {
		k := first + i
		var e [estimates][2]int64
		a.of(k, &rows[i], &e)
		if i == 0 || k >= a.grid.after(s) {
			s = a.grid.stretchOf(k)
		}
		for j := range e {
			for stage, v := range e[j] {
				sum[j][stage] += v
				a.parts[s].shared[j][stage] += v
			}
		}
		if a.known == nil || a.known[k] {
			known += rows[i][flight] + rows[i][decode]
		}
	}
	return a.share(&l, &sum, known)
}

// share makes a Share of the sums of a request.
func (a *Attributor) share(l *life, sum *[estimates][2]int64, known int64) Share {
	b := a.bounded(sum)
	b.UnknownCached, b.UnknownInput = l.unknownCache, l.unknownInput
	b.Prefill.Modelled = l.first.Sub(l.sent) < a.resolution
	b.Decode.Modelled = l.end.Sub(l.first) < a.resolution
	if !l.streamed {
		b.UnknownStages = true
		b.Prefill.Low, b.Prefill.High, b.Prefill.Modelled = 0, b.High, true
		b.Decode.Low, b.Decode.High, b.Decode.Modelled = 0, b.High, true
	}
	b.Known = 1
	if whole := l.end.Sub(l.sent); whole > 0 {
		b.Known = float64(known) / float64(whole)
	}
	return b
}

// headline returns the estimate of a mode's figures.
func (a *Attributor) headline() estimate {
	switch {
	case a.fit.Refused != "":
		return byTokensLate
	case a.fit.Late:
		return byFitLate
	}
	return byFit
}

// How much wider than the estimates' spread the bounds are, as a share of the
// energy. Chosen on simulated servers so that nine in ten requests are within.
const (
	widenFitted  = 0.15
	widenRefused = 0.3
)

// bounded returns the headline energies of sums by estimate and stage, with
// bounds.
func (a *Attributor) bounded(sum *[estimates][2]int64) Share {
	from, widen := byFit, widenFitted
	if a.fit.Refused != "" {
		from, widen = byTime, widenRefused
	}
	until := from + 2
	if from == byTime {
		until = byFit
	}
	head := a.headline()
	var lows, highs [3]int64
	for e := from; e < until; e++ {
		for i, v := range [3]int64{sum[e][0], sum[e][1], sum[e][0] + sum[e][1]} {
			if e == from {
				lows[i], highs[i] = v, v
			}
			lows[i], highs[i] = min(lows[i], v), max(highs[i], v)
		}
	}
	stage := func(i int) Stage {
		return Stage{Energy: sum[head][i], Low: lows[i] - int64(float64(lows[i])*widen), High: highs[i] + int64(float64(highs[i])*widen)}
	}
	s := Share{
		Energy: sum[head][0] + sum[head][1], Prefill: stage(0), Decode: stage(1),
		Low: lows[2] - int64(float64(lows[2])*widen), High: highs[2] + int64(float64(highs[2])*widen),
		Time: sum[byTime][0] + sum[byTime][1], Tokens: sum[byTokensLate][0] + sum[byTokensLate][1],
	}
	if a.fit.Refused == "" {
		s.Fitted = trace.Some(s.Energy)
	}
	return s
}

// Totals is the energy of a window, in microjoules: Idle + Prefill.Energy +
// Decode.Energy + Unattributed = Total, exactly.
type Totals struct {
	Total        int64
	Idle         int64         // drawn at rest, or as much of it as there was
	Requests     int64         // of requests, by the headline mode
	Unattributed int64         // active, with no request there; and what is lost by whole microjoules
	Unknown      time.Duration // of which the energy is not known
	// Prefill and Decode are the stages of the requests, whenever these began.
	Prefill, Decode Stage
}

// Sum returns what Request booked in [from, to), once it has seen all requests.
// Sums of windows that meet add up exactly. It reports false where one of the
// two is not an edge of the grid.
func (a *Attributor) Sum(from, to trace.Time) (Totals, bool) {
	i, ok := a.grid.edge(from)
	j, ok2 := a.grid.edge(to)
	if !ok || !ok2 {
		return Totals{}, false
	}
	var t Totals
	var sum [estimates][2]int64
	for ; i < j; i++ {
		p := &a.parts[i]
		t.Total += p.total
		t.Idle += p.idle
		t.Unknown += time.Duration(p.unknown)
		for e := range sum {
			sum[e][0] += p.shared[e][0]
			sum[e][1] += p.shared[e][1]
		}
	}
	b := a.bounded(&sum)
	t.Requests, t.Prefill, t.Decode = b.Energy, b.Prefill, b.Decode
	t.Unattributed = t.Total - t.Idle - t.Requests
	return t, true
}
