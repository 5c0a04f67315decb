package attribute

import (
	"time"

	"wattrace/trace"
)

// Stage is the energy of a stage with bounds, in microjoules.
type Stage struct {
	Energy, Low, High int64
	// Modelled says that it is shorter than the sensor resolves: a model, not a
	// measurement. Of a window: that most of its energy is of such stages.
	Modelled bool
}

// Share is what a request has of a run's active energy, in microjoules.
type Share struct {
	Energy          int64 // by the headline mode
	Low, High       int64 // what the modes and their suppositions leave open
	Prefill, Decode Stage // their energies add up to Energy

	Time   int64            // by time
	Tokens int64            // by tokens
	Fitted trace.Opt[int64] // by the fit; unknown where that is refused

	Known         float64 // share of its time in flight of which the energy is known, 0 to 1; 1 for one that the server refused
	UnknownCached bool    // the server does not say how many tokens were cached; taken as none
	UnknownInput  bool    // the tokens of its prompt are not known; taken as none
	Modelled      bool    // shorter than the sensor resolves
	UnknownStages bool    // not streamed: the split into stages is the model's alone
}

// Request is the second pass: it returns what a request has, and books it for
// Sum. It must see the requests that Survey saw, each once, in any order.
func (a *Attributor) Request(q *trace.Request, offset time.Duration) Share {
	l := a.life(q, offset)
	first, rows := a.weigh(q, &l, offset)
	var sum [estimates][2]int64
	known, brief := int64(0), a.brief(&l)
	for i := 0; i < len(rows); {
		s := a.partOf(first + i)
		before := sum
		for end := min(a.after(s)-first, len(rows)); i < end; i++ {
			if a.knows(first + i) {
				known += rows[i][flight] + rows[i][decode]
			}
			a.add(first+i, &rows[i], &sum)
		}
		for e := range sum {
			for stage := range sum[e] {
				got := sum[e][stage] - before[e][stage]
				a.parts[s].shared[e][stage] += got
				if !l.streamed {
					a.parts[s].unstaged[e][stage] += got
				}
				if brief[stage] {
					a.parts[s].brief[e][stage] += got
				}
			}
		}
	}
	return a.share(&l, &sum, known)
}

// brief reports of a request's prefill, its decode and all of it whether it is
// shorter than what the sensor resolves.
func (a *Attributor) brief(l *life) [3]bool {
	return [3]bool{l.early.Sub(l.sent) < a.resolution, l.end.Sub(l.first) < a.resolution, l.end.Sub(l.sent) < a.resolution}
}

// share makes a Share of the sums of a request.
func (a *Attributor) share(l *life, sum *[estimates][2]int64, known int64) Share {
	prefill, decode, all := a.bounded(sum, a.brief(l))
	if l.unknownCache {
		// All of the prompt may have been in the cache.
		all.Low, prefill.Low = max(all.Low-prefill.Energy, 0), 0
	}
	if !l.streamed {
		prefill.Low, prefill.High, prefill.Modelled = 0, all.High, true
		decode.Low, decode.High, decode.Modelled = 0, all.High, true
	}
	s := Share{
		Energy: all.Energy, Low: all.Low, High: all.High, Prefill: prefill, Decode: decode,
		Time: sum[byTime][0] + sum[byTime][1], Tokens: sum[byTokensLate][0] + sum[byTokensLate][1],
		UnknownCached: l.unknownCache, UnknownInput: l.unknownInput, UnknownStages: !l.streamed,
		Modelled: all.Modelled, Known: 1,
	}
	if a.fit.Refused == "" {
		s.Fitted = trace.Some(s.Energy)
	}
	if whole := l.end.Sub(l.sent); whole > 0 && !l.refused {
		s.Known = float64(known) / float64(whole)
	}
	return s
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

// widths say how much wider than the spread of the estimates bounds are, as a
// share of the energy. They were chosen on simulated servers so that of nineteen
// in twenty requests the truth is within.
type widths struct{ prefill, decode, all float64 }

var (
	fittedWidths  = widths{0.25, 0.12, 0.1}
	refusedWidths = widths{1.5, 0.4, 0.2} // of a fixed worth of tokens, a prefill says hardly anything
)

const (
	perResidual   = 1.5 // wider by so many times what a fit leaves unexplained
	modelledWidth = 0.4 // wider for a stage, or a request, that the sensor does not resolve
)

// widths returns those of the headline mode.
func (a *Attributor) widths() widths {
	if a.fit.Refused != "" {
		return refusedWidths
	}
	w, more := fittedWidths, float64(perResidual*a.fit.Residual)
	return widths{w.prefill + more, w.decode + more, w.all + more}
}

// spread returns the energy of the headline mode and the least and the most of
// the estimates that its bounds are made of: of the fitted mode, those under
// either supposition on queues; without it, all others.
func (a *Attributor) spread(of func(estimate) int64) Stage {
	from, until := byFit, estimates
	if a.fit.Refused != "" {
		from, until = byTime, byFit
	}
	s := Stage{Energy: of(a.headline()), Low: of(from), High: of(from)}
	for e := from + 1; e < until; e++ {
		s.Low, s.High = min(s.Low, of(e)), max(s.High, of(e))
	}
	return s
}

// widen moves bounds apart.
func (s *Stage) widen(by float64) {
	s.Low -= int64(float64(s.Low) * min(by, 1))
	s.High += int64(float64(s.High) * by)
}

// bounded returns the headline energies of sums by estimate and stage, with
// bounds; modelled says of the prefill, the decode and all whether the sensor does
// not resolve them.
func (a *Attributor) bounded(sum *[estimates][2]int64, modelled [3]bool) (prefill, decode, all Stage) {
	prefill = a.spread(func(e estimate) int64 { return sum[e][0] })
	decode = a.spread(func(e estimate) int64 { return sum[e][1] })
	all = a.spread(func(e estimate) int64 { return sum[e][0] + sum[e][1] })
	prefill.Modelled, decode.Modelled, all.Modelled = modelled[0], modelled[1], modelled[2]
	w := a.widths()
	if modelled[0] {
		w.prefill += modelledWidth
	}
	if modelled[1] {
		w.decode += modelledWidth
	}
	if modelled[2] {
		w.all += modelledWidth
	}
	prefill.widen(w.prefill)
	decode.widen(w.decode)
	all.widen(w.all)
	return prefill, decode, all
}

// unstage widens the bounds of stages by the energy of requests whose stages are
// not known.
func unstage(prefill, decode *Stage, unknown [2]int64) {
	prefill.Low, decode.Low = max(prefill.Low-unknown[0], 0), max(decode.Low-unknown[1], 0)
	prefill.High, decode.High = prefill.High+unknown[1], decode.High+unknown[0]
}

// Totals is the energy of a window, in microjoules: Idle + Prefill.Energy +
// Decode.Energy + Unattributed = Total, exactly.
type Totals struct {
	Total    int64
	Idle     int64 // drawn at rest, or as much of it as there was
	Requests int64 // of requests, by the headline mode
	// Unattributed is active, with no request there, and what is lost by whole
	// microjoules. A window that cuts cells which share their energy may have less of
	// that than its requests, and then it is negative.
	Unattributed int64
	Unknown      time.Duration // of which the energy is not known
	// Prefill and Decode are the stages of the requests, whenever these began.
	Prefill, Decode Stage
}

// Sum returns what Request booked in [from, to), once it has seen all requests.
// Sums of windows that meet add up exactly. It reports false where one of the
// two is neither an edge of the grid nor a mark within it.
func (a *Attributor) Sum(from, to trace.Time) (Totals, bool) {
	i, ok := a.place(from)
	j, ok2 := a.place(to)
	if !ok || !ok2 || from > to {
		return Totals{}, false
	}
	var p part
	for k := i.part; k < j.part; k++ {
		p.add(&a.parts[k], 1)
	}
	if j.within > 0 {
		share := a.parts[j.part].share(j)
		p.add(&share, 1)
	}
	if i.within > 0 {
		share := a.parts[i.part].share(i)
		p.add(&share, -1)
	}
	t := Totals{Total: p.total, Idle: p.idle, Unknown: time.Duration(p.unknown)}
	var all Stage
	t.Prefill, t.Decode, all = a.bounded(&p.shared, [3]bool{})
	t.Requests = all.Energy
	for i, st := range []*Stage{&t.Prefill, &t.Decode} {
		more := p.brief[a.headline()][i]
		st.Modelled = more > st.Energy/2
		st.Low, st.High = max(st.Low-int64(float64(more)*modelledWidth), 0), st.High+int64(float64(more)*modelledWidth)
	}
	// What is not known to be the one may be the other.
	unstage(&t.Prefill, &t.Decode, p.unstaged[a.headline()])
	t.Unattributed = t.Total - t.Idle - t.Requests
	return t, true
}
