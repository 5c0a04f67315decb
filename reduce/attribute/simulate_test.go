package attribute

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"wattrace/trace"
)

// engine is a simulated server under continuous batching: what a step takes and
// what it draws beyond rest.
type engine struct {
	base, perPrompt, perSeq, perCtx float64 // seconds of a step: always, per prompt token, per sequence, per token of context
	promptLoad                      float64 // sequences that a prompt token counts for in the power
	watts                           func(load float64) float64
	budget, maxRunning              int
}

// The engines. Power is concave in the load, so that a batch shares; a step has
// a time of its own, in which weights are read, so that it shares that too.
var engines = map[string]engine{
	"saturating": {0.012, 50e-6, 120e-6, 50e-9, 1. / 16,
		func(u float64) float64 { return 180 + 430*u/(u+24) }, 2048, 256},
	"root": {0.020, 30e-6, 200e-6, 120e-9, 1. / 10,
		func(u float64) float64 { return 120 + 480*math.Sqrt(min(u, 256)/256) }, 2048, 128},
	"linear": {0.008, 90e-6, 150e-6, 200e-9, 1. / 8,
		func(u float64) float64 { return 250 + min(u, 160)*2 }, 1024, 96},
	"flat": {0.016, 40e-6, 60e-6, 80e-9, 1. / 12,
		func(u float64) float64 { return 300 + 250*u/(u+4) }, 4096, 48},
	"cheap prefill": {0.014, 9e-6, 90e-6, 60e-9, 1. / 50,
		func(u float64) float64 { return 150 + 400*u/(u+16) }, 8192, 256},
	"dear prefill": {0.030, 190e-6, 250e-6, 100e-9, 1. / 4,
		func(u float64) float64 { return 90 + 200*u/(u+30) }, 1024, 64},
	"fourth root": {0.025, 60e-6, 300e-6, 40e-9, 1. / 20,
		func(u float64) float64 { return 60 + 500*math.Sqrt(math.Sqrt(min(u, 64)/64)) }, 2048, 64},
	"two knees": {0.010, 22e-6, 90e-6, 150e-9, 1. / 32,
		func(u float64) float64 { return min(200+8*u, 320+1.2*u, 520) }, 8192, 200},
	"constant": {0.018, 45e-6, 150e-6, 100e-9, 1. / 16,
		func(float64) float64 { return 420 }, 2048, 128},
	"hyperbola": {0.006, 15e-6, 40e-6, 30e-9, 1. / 24,
		func(u float64) float64 { return 100 + 600*u/(u+60) }, 16384, 256},
}

// joules is the active energy of a step.
func (e *engine) joules(prompt, seqs int, context float64) float64 {
	if prompt == 0 && seqs == 0 {
		return 0
	}
	return e.seconds(prompt, seqs, context) * e.watts(float64(seqs)+float64(prompt)*e.promptLoad)
}

// seconds is how long it takes.
func (e *engine) seconds(prompt, seqs int, context float64) float64 {
	return e.base + float64(prompt)*e.perPrompt + float64(seqs)*e.perSeq + context*e.perCtx
}

// load is a shape of load.
type load struct {
	name       string
	engine     string
	closed     int        // requests in flight, or
	rate       float64    // per second, open
	burst      float64    // seconds between bursts of rate*burst requests; 0 is Poisson
	input      [2]float64 // tokens: median, and the largest factor about it
	output     [2]float64
	cached     float64 // share of requests with most of their prompt in the cache
	hideCache  bool    // the server does not say what was cached
	perEvent   int     // tokens per event; 0 is 1
	unstreamed float64 // share of requests that are not streamed
	seconds    float64 // in which requests are sent
}

// answer is a request in the simulation, with its truth.
type answer struct {
	q               *trace.Request
	uncached, want  int
	fed, made       int
	tokens          int     // of the step under way
	joules          float64 // of the step under way
	prefill, decode float64 // joules
}

func (a *answer) truth() float64 { return a.prefill + a.decode }

// simulation is a run with its truth.
type simulation struct {
	load
	engine
	rng              *rand.Rand
	now, next        float64 // seconds; next: of an open loop's next request
	answers          []*answer
	waiting, running []*answer
	at               []float64 // ends of steps and rests, in seconds
	total            []float64 // joules until then, rest included
}

const idleWatts = 100

// simulate runs a load, after a second of rest and before another.
func simulate(l load, seed uint64) *simulation {
	s := &simulation{load: l, engine: engines[l.engine], rng: rand.New(rand.NewPCG(seed, 1)), at: []float64{0}, total: []float64{0}, next: 1}
	if l.closed > 0 {
		s.next = math.Inf(1)
	}
	s.draw(1, 0)
	noise := 1.0
	for {
		s.arrive()
		if len(s.running)+len(s.waiting) == 0 {
			if s.next >= l.seconds {
				break
			}
			s.draw(s.next-s.now, 0)
			continue
		}
		noise += 0.2*(1-noise) + 0.02*s.rng.NormFloat64()
		s.step(noise)
	}
	s.draw(1, 0)
	for _, a := range s.answers {
		if s.rng.Float64() < l.unstreamed {
			a.q.Chunks, a.q.FirstToken = nil, trace.Opt[trace.Time]{}
		}
	}
	return s
}

// draw lets time pass.
func (s *simulation) draw(seconds, active float64) {
	s.now += seconds
	s.at = append(s.at, s.now)
	s.total = append(s.total, s.total[len(s.total)-1]+active+idleWatts*seconds)
}

// arrive sends what is due.
func (s *simulation) arrive() {
	for s.next <= s.now && s.next < s.load.seconds {
		at := s.next
		if s.burst == 0 {
			s.send(at)
			s.next += s.rng.ExpFloat64() / s.rate
			continue
		}
		for range int(s.rate * s.burst) {
			s.send(at)
		}
		s.next += s.burst
	}
	for s.closed > 0 && s.now < s.load.seconds && len(s.waiting)+len(s.running) < s.closed {
		s.send(s.now)
	}
}

func (s *simulation) send(at float64) {
	in := s.count(s.input)
	a := &answer{uncached: in, want: s.count(s.output)}
	if s.rng.Float64() < s.cached {
		a.uncached = max(in-int(float64(in)*(0.5+0.5*s.rng.Float64())), 1)
	}
	a.q = &trace.Request{Seq: int64(len(s.answers)), Sent: trace.Time(at * 1e9), Outcome: trace.Succeeded, Status: trace.Some(200),
		InputTokens: trace.Some(int64(in)), OutputTokens: trace.Some(int64(a.want)), TokenSource: trace.FromUsage}
	if !s.hideCache {
		a.q.Usage = fmt.Appendf(nil, `{"prompt_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}`, in, in-a.uncached)
	}
	s.answers = append(s.answers, a)
	s.waiting = append(s.waiting, a)
}

// count draws a number of tokens, about log-normal: a product of uniform factors.
func (s *simulation) count(d [2]float64) int {
	f := 1.0
	for range 2 {
		f *= 1 + s.rng.Float64()*(math.Sqrt(d[1])-1)
		f /= 1 + s.rng.Float64()*(math.Sqrt(d[1])-1)
	}
	return max(int(d[0]*f), 1)
}

// step runs a step of the batch: a token for those whose prompt has been fed,
// then prompts in the order of arrival, as far as the budget goes.
func (s *simulation) step(noise float64) {
	var members []*answer
	left := s.budget
	plan := func(a *answer) {
		a.tokens = min(1, left)
		if a.fed < a.uncached {
			a.tokens = min(a.uncached-a.fed, left)
		}
		if left -= a.tokens; a.tokens > 0 {
			members = append(members, a)
		}
	}
	for _, a := range s.running {
		plan(a)
	}
	for left > 0 && len(s.waiting) > 0 && len(s.running) < s.maxRunning {
		a := s.waiting[0]
		s.waiting, s.running = s.waiting[1:], append(s.running, a)
		plan(a)
	}
	seconds := s.shapley(members, noise)
	active := 0.0
	for _, a := range members {
		active += a.joules
	}
	s.draw(seconds, active)
	for _, a := range members {
		a.end(s.now+s.rng.Float64()*0.5e-3, s.perEvent)
	}
	s.running = slices.DeleteFunc(s.running, func(a *answer) bool { return a.made >= a.want })
}

// shapley gives the members their Shapley values of the step's active energy,
// sampled over pairs of a permutation and its reverse, and returns how long the
// step takes.
func (s *simulation) shapley(members []*answer, noise float64) (seconds float64) {
	const pairs = 6
	for _, a := range members {
		a.joules = 0
	}
	order := slices.Clone(members)
	for range pairs {
		s.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		s.marginal(slices.All(order), noise/(2*pairs))
		seconds = s.marginal(slices.Backward(order), noise/(2*pairs))
	}
	for _, a := range members {
		if a.made == 0 {
			a.prefill += a.joules
		} else {
			a.decode += a.joules
		}
	}
	return seconds
}

// marginal adds to each member what it adds to the energy of those before it,
// times a weight.
func (s *simulation) marginal(order iter.Seq2[int, *answer], weight float64) (seconds float64) {
	prompt, seqs, context, before := 0, 0, 0.0, 0.0
	for _, a := range order {
		if a.fed < a.uncached {
			prompt += a.tokens
		} else {
			seqs++
			context += float64(a.q.InputTokens.V) + float64(a.made)
		}
		v := s.engine.joules(prompt, seqs, context)
		a.joules += (v - before) * weight
		before = v
	}
	return s.engine.seconds(prompt, seqs, context)
}

// end ends a step at an instant.
func (a *answer) end(now float64, perEvent int) {
	if a.fed < a.uncached {
		if a.fed += a.tokens; a.fed < a.uncached {
			return
		}
	}
	a.made++
	if a.made != 1 && a.made%max(perEvent, 1) != 0 && a.made != a.want {
		return
	}
	at := trace.Some(trace.Time(now * 1e9))
	if a.made == 1 {
		a.q.FirstToken = at
	}
	a.q.LastToken, a.q.Done = at, at.V
	a.q.Chunks = append(a.q.Chunks, trace.Chunk{At: at.V, Kind: trace.ChunkContent})
}

// until is the piecewise linear function through points.
func until(t float64, xs, ys []float64) float64 {
	i, _ := slices.BinarySearch(xs, t)
	switch {
	case i == 0:
		return ys[0]
	case i == len(xs):
		return ys[len(ys)-1]
	}
	return ys[i-1] + (ys[i]-ys[i-1])*(t-xs[i-1])/(xs[i]-xs[i-1])
}

// cells returns the energy of cells as a counter shows it that moves once a
// tick, with straight lines between.
func (s *simulation) cells(g *Grid, tick float64) []int64 {
	xs, ys := []float64{0}, []float64{0}
	for t := tick * 0.37; t < s.now+tick; t += tick {
		xs, ys = append(xs, t), append(ys, until(t, s.at, s.total))
	}
	read := func(i int) int64 { return int64(until(g.Bound(i).Seconds(), xs, ys) * 1e6) }
	cells := make([]int64, g.Len())
	for k := range cells {
		cells[k] = read(k+1) - read(k)
	}
	return cells
}

// attribute runs both passes over a simulation that a sensor of this period saw.
// refuse is as if there were no fit.
func (s *simulation) attribute(tick time.Duration, refuse bool) (*Attributor, []Share) {
	g := NewGrid([]trace.Time{0, trace.Time(s.now / 2 * 1e9), trace.Time(s.now * 1e9)}, 0)
	a := New(g, Options{Resolution: tick})
	for _, x := range s.answers {
		a.Survey(x.q, 0)
	}
	a.Energy(s.cells(g, tick.Seconds()), nil, trace.Some[float64](idleWatts))
	if refuse {
		a.fit.Refused = "for the test"
	}
	var shares []Share
	for _, x := range s.answers {
		shares = append(shares, a.Request(x.q, 0))
	}
	return a, shares
}
