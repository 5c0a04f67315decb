package attribute

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"wattrace/trace"
)

// engine is a simulated server under continuous batching: what a step takes and
// what it draws beyond rest.
type engine struct {
	name                            string
	base, perPrompt, perSeq, perCtx float64 // seconds of a step: always, per prompt token, per sequence, per token of context
	promptLoad                      float64 // sequences that a prompt token counts for in the power
	watts                           func(load float64) float64
	budget, maxRunning              int
}

// The engines. Power is concave in the load, so that a batch shares; a step has
// a time of its own, in which weights are read, so that it shares that too.
var engines = map[string]engine{
	"saturating": {"saturating", 0.012, 50e-6, 120e-6, 50e-9, 1. / 16,
		func(u float64) float64 { return 180 + 430*u/(u+24) }, 2048, 256},
	"root": {"root", 0.020, 30e-6, 200e-6, 120e-9, 1. / 10,
		func(u float64) float64 { return 120 + 480*math.Sqrt(min(u, 256)/256) }, 2048, 128},
	"linear": {"linear", 0.008, 90e-6, 150e-6, 200e-9, 1. / 8,
		func(u float64) float64 { return 250 + min(u, 160)*2 }, 1024, 96},
	"flat": {"flat", 0.016, 40e-6, 60e-6, 80e-9, 1. / 12,
		func(u float64) float64 { return 300 + 250*u/(u+4) }, 4096, 48},
	"cheap prefill": {"cheap prefill", 0.014, 9e-6, 90e-6, 60e-9, 1. / 50,
		func(u float64) float64 { return 150 + 400*u/(u+16) }, 8192, 256},
	"dear prefill": {"dear prefill", 0.030, 190e-6, 250e-6, 100e-9, 1. / 4,
		func(u float64) float64 { return 90 + 200*u/(u+30) }, 1024, 64},
}

// joules is the active energy of a step with these members.
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
	name        string
	engine      string
	closed      int     // requests in flight, or
	rate        float64 // per second, open
	burst       float64 // seconds between bursts of rate*burst requests; 0 is Poisson
	input       [2]float64
	output      [2]float64 // median, and the largest factor about it
	cached      float64    // share of requests with most of their prompt in the cache
	hideCache   bool       // the server does not say what was cached
	perEvent    int        // tokens per event
	unstreamed  float64    // share of requests that are not streamed
	seconds     float64
	noQueueTime bool
}

// answer is a request in the simulation.
type answer struct {
	q              *trace.Request
	uncached, want int
	fed, made      int
	share          int // of the step under way
	prefill        float64
	decode         float64 // truth, in joules
}

func (a *answer) truth() float64 { return a.prefill + a.decode }

// simulation is a run with its truth.
type simulation struct {
	answers []*answer
	at      []float64 // ends of steps and rests, in seconds
	joules  []float64 // until then, rest included
	end     float64
}

const idleWatts = 100

func factor(rng *rand.Rand, d [2]float64) int {
	// The product of uniform factors is about log-normal.
	f := 1.0
	for range 2 {
		f *= 1 + rng.Float64()*(math.Sqrt(d[1])-1)
	}
	for range 2 {
		f /= 1 + rng.Float64()*(math.Sqrt(d[1])-1)
	}
	return max(int(d[0]*f), 1)
}

// simulate runs a load.
func simulate(l load, seed uint64) *simulation {
	rng := rand.New(rand.NewPCG(seed, 1))
	e := engines[l.engine]
	s := &simulation{}
	var waiting, running []*answer
	now := 1.0
	next := now
	if l.closed > 0 {
		next = math.Inf(1)
	}
	send := func(at float64) {
		in := factor(rng, l.input)
		a := &answer{uncached: in, want: factor(rng, l.output)}
		if rng.Float64() < l.cached {
			a.uncached = max(in-int(float64(in)*(0.5+0.5*rng.Float64())), 1)
		}
		t := trace.Time(at * 1e9)
		a.q = &trace.Request{Seq: int64(len(s.answers)), Sent: t, Outcome: trace.Succeeded, Status: trace.Some(200),
			InputTokens: trace.Some(int64(in)), OutputTokens: trace.Some(int64(a.want)), TokenSource: trace.FromUsage}
		if !l.hideCache {
			a.q.Usage = fmt.Appendf(nil, `{"prompt_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}`, in, in-a.uncached)
		}
		s.answers = append(s.answers, a)
		waiting = append(waiting, a)
	}
	arrive := func() {
		for next <= now && next < l.seconds {
			n := 1
			if l.burst > 0 {
				n = int(l.rate * l.burst)
			}
			for range n {
				send(next)
			}
			if l.burst > 0 {
				next += l.burst
			} else {
				next += rng.ExpFloat64() / l.rate
			}
		}
		for l.closed > 0 && now < l.seconds && len(waiting)+len(running) < l.closed {
			send(now)
		}
	}
	rest := func(until float64) {
		s.joules = append(s.joules, s.last()+idleWatts*(until-now))
		s.at = append(s.at, until)
		now = until
	}
	rest(1)
	s.at[0], s.joules[0] = 1, idleWatts
	noise := 1.0
	for {
		arrive()
		if len(running)+len(waiting) == 0 {
			if next >= l.seconds {
				break
			}
			rest(next)
			continue
		}
		members, left := []*answer(nil), e.budget
		plan := func(a *answer) {
			a.share = min(1, left)
			if a.fed < a.uncached {
				a.share = min(a.uncached-a.fed, left)
			}
			left -= a.share
			if a.share > 0 {
				members = append(members, a)
			}
		}
		for _, a := range running {
			plan(a)
		}
		for left > 0 && len(waiting) > 0 && len(running) < e.maxRunning {
			a := waiting[0]
			waiting = waiting[1:]
			running = append(running, a)
			plan(a)
		}
		noise += 0.2*(1-noise) + 0.02*rng.NormFloat64()
		seconds := e.shapley(members, noise, rng)
		total := 0.0
		for _, a := range members {
			total += a.now()
		}
		now += seconds
		s.joules = append(s.joules, s.last()+total+idleWatts*seconds)
		s.at = append(s.at, now)
		for _, a := range members {
			a.step(now+rng.Float64()*0.5e-3, l.perEvent)
		}
		running = slices.DeleteFunc(running, func(a *answer) bool { return a.made >= a.want })
	}
	rest(now + 1)
	s.end = now
	for _, a := range s.answers {
		if rng.Float64() < l.unstreamed {
			a.q.Chunks, a.q.FirstToken = nil, trace.Opt[trace.Time]{}
		}
	}
	return s
}

func (s *simulation) last() float64 {
	if len(s.joules) == 0 {
		return 0
	}
	return s.joules[len(s.joules)-1]
}

var stepShare = map[*answer]float64{}

func (a *answer) now() float64 { return stepShare[a] }

// shapley adds to the members' truth their Shapley values of the step, sampled
// over pairs of a permutation and its reverse, and returns the step's length.
func (e *engine) shapley(members []*answer, noise float64, rng *rand.Rand) float64 {
	const pairs = 6
	clear(stepShare)
	order := slices.Clone(members)
	add := func(seq func(func(int, *answer) bool)) (p, d int, x float64) {
		before := 0.0
		for _, a := range seq {
			if a.fed < a.uncached {
				p += a.share
			} else {
				d++
				x += float64(a.q.InputTokens.V) + float64(a.made)
			}
			v := e.joules(p, d, x)
			stepShare[a] += (v - before) * noise / (2 * pairs)
			before = v
		}
		return p, d, x
	}
	var p, d int
	var x float64
	for range pairs {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		add(slices.All(order))
		p, d, x = add(slices.Backward(order))
	}
	for _, a := range members {
		if a.made == 0 {
			a.prefill += stepShare[a]
		} else {
			a.decode += stepShare[a]
		}
	}
	return e.seconds(p, d, x)
}

// step ends a step at an instant.
func (a *answer) step(now float64, perEvent int) {
	if a.fed < a.uncached {
		if a.fed += a.share; a.fed < a.uncached {
			return
		}
	}
	a.made++
	t := trace.Time(now * 1e9)
	if a.made != 1 && a.made%max(perEvent, 1) != 0 && a.made != a.want {
		return
	}
	if a.made == 1 {
		a.q.FirstToken = trace.Some(t)
	}
	a.q.LastToken, a.q.Done = trace.Some(t), t
	a.q.Chunks = append(a.q.Chunks, trace.Chunk{At: t, Kind: trace.ChunkContent})
}

// cells returns the energy that a counter shows which moves every 100 ms.
func (s *simulation) cells(g *Grid, tick float64) []int64 {
	at := func(t float64, xs, ys []float64) float64 {
		i, _ := slices.BinarySearch(xs, t)
		switch {
		case i == 0:
			return ys[0] * t / xs[0]
		case i == len(xs):
			return ys[len(ys)-1]
		}
		return ys[i-1] + (ys[i]-ys[i-1])*(t-xs[i-1])/(xs[i]-xs[i-1])
	}
	var xs, ys []float64
	for t := tick * 0.37; t < s.end+tick; t += tick {
		xs, ys = append(xs, t), append(ys, at(min(t, s.end), s.at, s.joules))
	}
	cells := make([]int64, g.Len())
	read := func(i int) int64 { return int64(at(float64(g.Bound(i))/1e9, xs, ys) * 1e6) }
	for k := range cells {
		cells[k] = read(k+1) - read(k)
	}
	return cells
}

// attribute runs both passes over a simulation.
func (s *simulation) attribute(tick time.Duration, refuse bool) (*Attributor, []Share) {
	g := NewGrid([]trace.Time{0, trace.Time(s.end / 2 * 1e9), trace.Time(s.end * 1e9)}, 0)
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
