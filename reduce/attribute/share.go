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
	w := a.weigh(&l, offset)
	var sum stages
	for i, s := 0, a.partOf(w.first); i < len(w.output); s++ {
		end := min(a.after(s)-w.first, len(w.output))
		var got stages
		a.prefilled(w, &l, i, min(end, len(w.prompt)), &got)
		a.decoded(w, &l, i, end, &got)
		sum.add(&got)
		a.parts[s].book(&got, a.headline(), l.streamed, a.brief(&l))
		i = end
	}
	return a.share(&l, &sum, a.elapsed(w, 0, len(w.output), l.sent, l.end).known)
}

// book adds what a request got of a part.
func (p *part) book(got *stages, headline estimate, streamed bool, brief [3]bool) {
	p.shared.add(got)
	for stage, v := range got[headline] {
		if !streamed {
			p.unstaged[stage] += v
		}
		if brief[stage] {
			p.brief[stage] += v
		}
	}
}

func (s *stages) add(other *stages) {
	for e := range s {
		s[e][0] += other[e][0]
		s[e][1] += other[e][1]
	}
}

// elapsed returns what a request that is in flight in [start, end) has by time in
// cells [i, j) of its own.
func (a *Attributor) elapsed(w *weight, i, j int, start, end trace.Time) (sum elapsed) {
	part := func(i int) {
		if k := w.first + i; a.knows(k) {
			in := w.within(i, start, end)
			sum.energy += floor(in, a.rates[k].time)
			sum.known += in
		}
	}
	for ; i < j && w.bounds[i] < start; i++ {
		part(i)
	}
	for ; i < j && w.bounds[j] > end; j-- {
		part(j - 1)
	}
	if i < j {
		from, to := a.before[w.first+i], a.before[w.first+j]
		sum.energy += to.energy - from.energy
		sum.known += to.known - from.known
	}
	return sum
}

// prefilled adds what a request's prefill gets of cells [i, j) of its own by the
// estimates that count.
func (a *Attributor) prefilled(w *weight, l *life, i, j int, got *stages) {
	for ; i < j; i++ {
		r := &a.rates[w.first+i]
		v := w.prefill(i, l)
		byTimeAlone := floor(v[flight], r.time)
		got[byTime][0] += byTimeAlone
		got[byTokens][0] += floor(v[prompt], r.tokens)
		got[byTokensLate][0] += floor(v[latePrompt], r.tokensLate)
		got[byFit][0] += a.fit.early.prefill(v[prompt], v[prefill], r.fit, r.each)
		got[byFitLate][0] += a.fit.late.prefill(v[latePrompt], v[latePrefill], r.fitLate, r.eachLate)
		r.fallback.add(got, 0, byTimeAlone)
	}
}

// decoded is prefilled for the decode stage, of which there are a hundred cells for each
// of the other: those estimates are left out that nothing is made of, see spread.
func (a *Attributor) decoded(w *weight, l *life, i, j int, got *stages) {
	got[byTime][1] += a.elapsed(w, i, j, l.first, l.end).energy
	rates := a.rates[w.first:]
	var tokens, tokensLate, fit, fitLate int64
	fitted := a.fit.Refused == ""
	for ; i < j; i++ {
		r, made := &rates[i], w.output[i]
		tokensLate += floor(outputWorth*made.tokens, r.tokensLate)
		if fitted {
			time := w.within(i, l.first, l.end)
			fit += a.fit.early.decode(made, time, r.fit, r.each)
			fitLate += a.fit.late.decode(made, time, r.fitLate, r.eachLate)
		} else {
			tokens += floor(outputWorth*made.tokens, r.tokens)
		}
		if r.fallback != 0 {
			r.fallback.add(got, 1, floor(w.within(i, l.first, l.end), r.time))
		}
	}
	got[byTokens][1] += tokens
	got[byTokensLate][1] += tokensLate
	got[byFit][1] += fit
	got[byFitLate][1] += fitLate
}

// add adds what a stage has by time to the estimates that place no work in its cell.
func (f fallback) add(got *stages, stage int, microjoules int64) {
	for e := byTokens; e < estimates; e++ {
		if f>>e&1 == 1 {
			got[e][stage] += microjoules
		}
	}
}

// brief reports of a request's prefill, its decode and all of it whether it is
// shorter than what the sensor resolves.
func (a *Attributor) brief(l *life) [3]bool {
	return [3]bool{l.early.Sub(l.sent) < a.resolution, l.end.Sub(l.first) < a.resolution, l.end.Sub(l.sent) < a.resolution}
}

// share makes a Share of the sums of a request.
func (a *Attributor) share(l *life, sum *stages, known int64) Share {
	prefill, decode, all := a.bounded(sum, a.brief(l))
	if !l.streamed {
		a.unstreamed(&prefill, &decode, &all)
	}
	if l.unknownCache {
		// All of the prompt may have been in the cache: what is left is the decode. Or
		// those of others were, and it took a part of what seems theirs.
		all.Low, prefill.Low = max(all.Low-prefill.Energy, decode.Low, 0), 0
		more := int64(float64(prefill.Energy) * uncachedWidth)
		prefill.High, decode.High, all.High = prefill.High+more, decode.High+more, all.High+more
	}
	// A stage is a part of its request, however wide its own bounds are.
	prefill.High, decode.High = max(prefill.Energy, min(prefill.High, all.High)), max(decode.Energy, min(decode.High, all.High))
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
	perResidual   = 1.5  // wider by so many times what a fit leaves unexplained
	mostBlind     = 0.7  // of the prompts: beyond that nothing is concluded from the others
	uncachedWidth = 0.25 // wider, of the prefill, where the server does not say what it had in its cache
	blindWidth    = 0.15 // wider for a request, by so much of the share of prompts that are not streamed
	modelledWidth = 0.4  // wider for a stage, or a request, that the sensor does not resolve
)

// widths returns those of the headline mode.
func (a *Attributor) widths() widths {
	all := float64(blindWidth * a.Unstreamed())
	if a.fit.Refused != "" {
		w := refusedWidths
		return widths{w.prefill, w.decode, w.all + all}
	}
	w, more := fittedWidths, float64(perResidual*a.fit.Residual)
	return widths{w.prefill + more, w.decode + more, w.all + more + all}
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
func (a *Attributor) bounded(sum *stages, modelled [3]bool) (prefill, decode, all Stage) {
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
	if a.fit.Refused == "" {
		more := a.attenuated(prefill.Energy, all.High-prefill.High)
		prefill.High, decode.Low = prefill.High+more, max(decode.Low-more, 0)
	}
	return prefill, decode, all
}

// Unstreamed returns the share of the prompt tokens of requests that are not streamed, of
// which the log does not say when they were computed, 0 to 1.
func (a *Attributor) Unstreamed() float64 {
	if a.prompts[1] == 0 {
		return 0
	}
	return float64(a.prompts[0]) / float64(a.prompts[1])
}

// attenuated returns how much more a prefill may have taken than a fit says that knew
// only of a part of the prompts when they were computed, and no more than most. A term
// whose weights stand in the wrong cells is fitted too small, in about the share of
// those that do.
func (a *Attributor) attenuated(energy, most int64) int64 {
	u := a.Unstreamed()
	if most <= 0 || u == 1 {
		return max(most, 0)
	}
	return int64(min(float64(energy)*(u/(1-u)), float64(most)))
}

// concludes reports whether enough is known from requests that are streamed for what a
// fit says of a prompt token to bound the prefill of one that is not, by twice as much.
func (a *Attributor) concludes() bool { return a.fit.Refused == "" && a.Unstreamed() <= mostBlind }

// unstreamed sets the bounds of the stages of a request of which nothing says where the
// one ends and the other begins: its tokens say, with those of others, what a prefill
// takes at most, and that leaves the decode the rest.
func (a *Attributor) unstreamed(prefill, decode, all *Stage) {
	most, least := all.High-decode.Low, decode.Low
	if a.fit.Refused == "" {
		most = all.High
		if a.concludes() {
			most = min(prefill.High+prefill.Energy, most)
		}
		least = max(all.Low-most, 0)
	}
	prefill.Low, prefill.High, prefill.Modelled = 0, max(most, prefill.Energy), true
	decode.Low, decode.High, decode.Modelled = min(least, decode.Energy), all.High, true
}

// unstage widens the bounds of a window's stages by the energy of requests that are not
// streamed, by stage: what is not known to be the one may be the other.
func (a *Attributor) unstage(prefill, decode *Stage, unknown [2]int64) {
	more := unknown[1]
	if a.concludes() {
		more = min(more, unknown[0])
	}
	prefill.Low, decode.Low = max(prefill.Low-unknown[0], 0), max(decode.Low-more, 0)
	prefill.High, decode.High = prefill.High+more, decode.High+unknown[0]
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
		more := p.brief[i]
		st.Modelled = more > st.Energy/2
		st.Low, st.High = max(st.Low-int64(float64(more)*modelledWidth), 0), st.High+int64(float64(more)*modelledWidth)
	}
	a.unstage(&t.Prefill, &t.Decode, p.unstaged)
	t.Unattributed = t.Total - t.Idle - t.Requests
	return t, true
}
