package attribute

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// choosing are the loads that were looked at while the modes were built and their
// constants chosen.
var choosing = []load{
	{name: "closed 32", engine: "saturating", closed: 32, input: [2]float64{700, 4}, output: [2]float64{200, 4}, seconds: 90},
	{name: "closed 4", engine: "flat", closed: 4, input: [2]float64{1500, 6}, output: [2]float64{120, 6}, seconds: 90},
	{name: "Poisson 2/s cached", engine: "saturating", rate: 2, input: [2]float64{3000, 4}, output: [2]float64{250, 4}, cached: 0.6, seconds: 90},
	{name: "bursts of 40", engine: "linear", rate: 4, burst: 10, input: [2]float64{900, 4}, output: [2]float64{150, 4}, seconds: 90},
	{name: "cheap prefill closed", engine: "cheap prefill", closed: 24, input: [2]float64{1500, 5}, output: [2]float64{180, 5}, seconds: 90},
	{name: "dear prefill open", engine: "dear prefill", rate: 1, input: [2]float64{900, 5}, output: [2]float64{150, 5}, seconds: 120},
	{name: "overload", engine: "flat", rate: 10, input: [2]float64{1500, 4}, output: [2]float64{200, 4}, seconds: 45},
	{name: "closed 8", engine: "root", closed: 8, input: [2]float64{1000, 5}, output: [2]float64{180, 5}, seconds: 120},
	{name: "closed 64", engine: "root", closed: 64, input: [2]float64{1000, 5}, output: [2]float64{180, 5}, seconds: 90},
	{name: "closed 64, 4 tokens an event", engine: "saturating", closed: 64, input: [2]float64{500, 6}, output: [2]float64{300, 6}, perEvent: 4, seconds: 90},
	{name: "Poisson 1.5/s", engine: "root", rate: 1.5, input: [2]float64{1200, 6}, output: [2]float64{220, 6}, seconds: 120},
	{name: "Poisson 3/s, 1/4 not streamed", engine: "linear", rate: 3, input: [2]float64{800, 5}, output: [2]float64{150, 5}, unstreamed: 0.25, seconds: 90},
	{name: "bursts of 48", engine: "root", rate: 4, burst: 12, input: [2]float64{1500, 4}, output: [2]float64{150, 5}, seconds: 100},
	{name: "long context", engine: "linear", rate: 0.25, input: [2]float64{20000, 4}, output: [2]float64{400, 4}, seconds: 240},
	{name: "short chat", engine: "saturating", rate: 8, input: [2]float64{120, 5}, output: [2]float64{90, 5}, seconds: 90},
	{name: "agents, cached", engine: "root", closed: 12, input: [2]float64{8000, 4}, output: [2]float64{150, 5}, cached: 0.8, seconds: 120},
	{name: "agents, cache not told", engine: "root", closed: 12, input: [2]float64{8000, 4}, output: [2]float64{150, 5}, cached: 0.8, hideCache: true, seconds: 120},
	{name: "overload", engine: "root", rate: 9, input: [2]float64{2000, 4}, output: [2]float64{200, 4}, seconds: 45},
	{name: "overload of a small batch", engine: "flat", closed: 150, input: [2]float64{900, 4}, output: [2]float64{160, 4}, seconds: 60},
	{name: "cheap prefill", engine: "cheap prefill", rate: 4, input: [2]float64{2500, 5}, output: [2]float64{180, 5}, cached: 0.3, seconds: 90},
	{name: "dear prefill", engine: "dear prefill", closed: 12, input: [2]float64{600, 5}, output: [2]float64{150, 5}, seconds: 120},
	{name: "closed 16", engine: "fourth root", closed: 16, input: [2]float64{900, 5}, output: [2]float64{200, 5}, seconds: 120},
	{name: "closed 96", engine: "two knees", closed: 96, input: [2]float64{600, 5}, output: [2]float64{250, 5}, seconds: 60},
	{name: "Poisson 3/s", engine: "two knees", rate: 3, input: [2]float64{1500, 6}, output: [2]float64{250, 6}, seconds: 120},
	{name: "bursts of 24", engine: "fourth root", rate: 3, burst: 8, input: [2]float64{700, 5}, output: [2]float64{100, 5}, seconds: 100},
	{name: "retrieval, half cached", engine: "two knees", rate: 0.8, input: [2]float64{10000, 4}, output: [2]float64{80, 5}, cached: 0.5, seconds: 150},
	{name: "classification", engine: "fourth root", rate: 6, input: [2]float64{600, 4}, output: [2]float64{4, 3}, seconds: 90},
	{name: "reasoning", engine: "two knees", closed: 24, input: [2]float64{200, 4}, output: [2]float64{1500, 4}, seconds: 150},
	{name: "closed 100 over 64 slots", engine: "fourth root", closed: 100, input: [2]float64{900, 5}, output: [2]float64{150, 5}, seconds: 90},
	{name: "half not streamed, 2 an event", engine: "two knees", closed: 20, input: [2]float64{800, 5}, output: [2]float64{180, 5}, perEvent: 2, unstreamed: 0.5, seconds: 90},
}

// judging are loads, on engines of their own, that were first run when all was
// done.
var judging = []load{
	{name: "closed 6", engine: "hyperbola", closed: 6, input: [2]float64{2000, 6}, output: [2]float64{100, 6}, seconds: 90},
	{name: "closed 48", engine: "constant", closed: 48, input: [2]float64{1200, 5}, output: [2]float64{300, 5}, seconds: 120},
	{name: "Poisson 5/s", engine: "hyperbola", rate: 5, input: [2]float64{400, 6}, output: [2]float64{300, 6}, seconds: 90},
	{name: "bursts of 30", engine: "constant", rate: 2, burst: 15, input: [2]float64{1000, 5}, output: [2]float64{120, 5}, seconds: 120},
	{name: "long documents", engine: "constant", rate: 0.15, input: [2]float64{30000, 3}, output: [2]float64{600, 4}, seconds: 240},
	{name: "agents, cached", engine: "hyperbola", closed: 20, input: [2]float64{12000, 4}, output: [2]float64{200, 5}, cached: 0.9, seconds: 90},
	{name: "cached, not told", engine: "constant", closed: 16, input: [2]float64{3000, 4}, output: [2]float64{150, 5}, cached: 0.5, hideCache: true, seconds: 120},
	{name: "overload", engine: "hyperbola", rate: 40, input: [2]float64{1500, 4}, output: [2]float64{150, 4}, seconds: 30},
	{name: "1/3 not streamed, 3 an event", engine: "constant", closed: 40, input: [2]float64{700, 5}, output: [2]float64{200, 5}, perEvent: 3, unstreamed: 0.33, seconds: 90},
}

// choosingBlind are loads of which the log does not tell the stages of many requests, or
// what was cached: they were looked at while the bounds for those were chosen.
var choosingBlind = []load{
	{name: "closed 24, 1/2 not streamed", engine: "saturating", closed: 24, input: [2]float64{900, 5}, output: [2]float64{200, 5}, unstreamed: 0.5, seconds: 90},
	{name: "bursts, 1/3 not streamed", engine: "fourth root", rate: 3, burst: 8, input: [2]float64{1200, 5}, output: [2]float64{120, 5}, unstreamed: 0.33, seconds: 100},
	{name: "Poisson 4/s, 2/3 not streamed", engine: "hyperbola", rate: 4, input: [2]float64{2000, 5}, output: [2]float64{250, 5}, unstreamed: 0.67, seconds: 90},
	{name: "closed 16, 4/5 not streamed", engine: "linear", closed: 16, input: [2]float64{1000, 5}, output: [2]float64{200, 5}, unstreamed: 0.8, seconds: 90},
	{name: "closed 32, none streamed", engine: "constant", closed: 32, input: [2]float64{900, 5}, output: [2]float64{200, 5}, unstreamed: 1, seconds: 90},
	{name: "overload, 1/2 not streamed", engine: "flat", rate: 8, input: [2]float64{1500, 4}, output: [2]float64{180, 4}, unstreamed: 0.5, seconds: 45},
	{name: "prefill alone, 1/2 not streamed", engine: "dear prefill", rate: 1, input: [2]float64{2000, 5}, output: [2]float64{8, 4}, unstreamed: 0.5, seconds: 150},
	{name: "agents, 1/3 not streamed, cache not told", engine: "two knees", closed: 16, input: [2]float64{6000, 4}, output: [2]float64{200, 5}, cached: 0.7, hideCache: true, unstreamed: 0.33, seconds: 90},
	{name: "chat, cache not told", engine: "saturating", rate: 4, input: [2]float64{1200, 5}, output: [2]float64{250, 5}, cached: 0.4, hideCache: true, seconds: 90},
	{name: "no cache, not told", engine: "hyperbola", closed: 24, input: [2]float64{1500, 5}, output: [2]float64{200, 5}, hideCache: true, seconds: 90},
	{name: "documents, cache not told", engine: "linear", rate: 0.3, input: [2]float64{12000, 4}, output: [2]float64{300, 4}, cached: 0.6, hideCache: true, seconds: 200},
}

// judgingBlind are more of them, first run when all was done.
var judgingBlind = []load{
	{name: "closed 12, 2/5 not streamed", engine: "hyperbola", closed: 12, input: [2]float64{1500, 5}, output: [2]float64{150, 6}, unstreamed: 0.4, seconds: 90},
	{name: "closed 64, 3/5 not streamed", engine: "root", closed: 64, input: [2]float64{800, 5}, output: [2]float64{250, 5}, perEvent: 2, unstreamed: 0.6, seconds: 90},
	{name: "Poisson 2/s, 1/2 not streamed", engine: "constant", rate: 2, input: [2]float64{1000, 6}, output: [2]float64{200, 6}, unstreamed: 0.5, seconds: 120},
	{name: "bursts of 20, 3/4 not streamed", engine: "two knees", rate: 2, burst: 10, input: [2]float64{1500, 5}, output: [2]float64{150, 5}, unstreamed: 0.75, seconds: 120},
	{name: "Poisson 3/s, none streamed", engine: "fourth root", rate: 3, input: [2]float64{900, 5}, output: [2]float64{150, 5}, unstreamed: 1, seconds: 90},
	{name: "long context, 1/2 not streamed", engine: "cheap prefill", rate: 0.4, input: [2]float64{15000, 4}, output: [2]float64{300, 4}, unstreamed: 0.5, seconds: 240},
	{name: "agents, cache not told", engine: "hyperbola", closed: 20, input: [2]float64{9000, 4}, output: [2]float64{200, 5}, cached: 0.8, hideCache: true, seconds: 90},
	{name: "Poisson 2/s, cache not told", engine: "fourth root", rate: 2, input: [2]float64{2500, 5}, output: [2]float64{150, 5}, cached: 0.5, hideCache: true, seconds: 120},
	{name: "closed 48, half of both not told", engine: "cheap prefill", closed: 48, input: [2]float64{2000, 5}, output: [2]float64{200, 5}, cached: 0.5, hideCache: true, unstreamed: 0.5, seconds: 90},
}

// score is how the shares of a run compare with the truth, in percent.
type score struct {
	load        string
	n           int
	refused     bool
	errors      map[Mode][2]float64 // relative error of a request: median and 95th percentile
	held        [3]float64          // how often the bounds hold: of requests, their prefill, their decode
	blind       int                 // requests that are not streamed
	heldBlind   [3]float64          // how often the bounds of those hold
	heldSeen    [3]float64          // and of the others
	nothing     float64             // how often the lower bound of a request is 0
	width       float64             // median of (high-low)/2/energy
	stagesOfRun bool                // whether the bounds of the run's stages hold
}

// Stages as modes of a score.
const (
	headlined      Mode = "headline"
	prefillOfShare Mode = "prefill"
	decodeOfShare  Mode = "decode"
)

func scoreOf(s *simulation, a *Attributor, shares []Share) score {
	r := score{load: s.name, n: len(shares), refused: a.Fit().Refused != "", errors: map[Mode][2]float64{}}
	errors := map[Mode][]float64{}
	var widths []float64
	var prefill, decode float64
	for i, sh := range shares {
		x := s.answers[i]
		note := func(m Mode, got int64, want float64) {
			errors[m] = append(errors[m], 100*math.Abs(float64(got)/1e6-want)/want)
		}
		note(ModeTime, sh.Time, x.truth())
		note(ModeTokens, sh.Tokens, x.truth())
		note(ModeFitted, sh.Fitted.V, x.truth())
		note(headlined, sh.Energy, x.truth())
		note(prefillOfShare, sh.Prefill.Energy, x.prefill)
		note(decodeOfShare, sh.Decode.Energy, x.decode)
		for j, st := range []Stage{{sh.Energy, sh.Low, sh.High, false}, sh.Prefill, sh.Decode} {
			if st.holds([]float64{x.truth(), x.prefill, x.decode}[j]) {
				r.held[j] += 100 / float64(len(shares))
				if sh.UnknownStages {
					r.heldBlind[j]++
				} else {
					r.heldSeen[j]++
				}
			}
		}
		if sh.UnknownStages {
			r.blind++
		}
		if sh.Low == 0 {
			r.nothing += 100 / float64(len(shares))
		}
		prefill, decode = prefill+x.prefill, decode+x.decode
		widths = append(widths, 100*float64(sh.High-sh.Low)/2/float64(max(sh.Energy, 1)))
	}
	for m, e := range errors {
		slices.Sort(e)
		r.errors[m] = [2]float64{e[len(e)/2], e[len(e)*95/100]}
	}
	for j := range r.held {
		r.heldBlind[j] *= 100 / float64(max(r.blind, 1))
		r.heldSeen[j] *= 100 / float64(max(r.n-r.blind, 1))
	}
	slices.Sort(widths)
	r.width = widths[len(widths)/2]
	run, _ := a.Sum(0, a.grid.Bound(a.grid.Len()))
	r.stagesOfRun = run.Prefill.holds(prefill) && run.Decode.holds(decode)
	return r
}

func (s Stage) holds(joules float64) bool {
	return joules*1e6 >= float64(s.Low) && joules*1e6 <= float64(s.High)
}

func (r *score) String() string {
	out := fmt.Sprintf("%-30s %5d", r.load, r.n)
	for _, m := range []Mode{ModeTime, ModeTokens, ModeFitted} {
		if m == ModeFitted && r.refused {
			out += "   refused"
			continue
		}
		out += fmt.Sprintf("  %3.0f %4.0f", r.errors[m][0], r.errors[m][1])
	}
	out += fmt.Sprintf("   %4.0f  %3.0f %3.0f %3.0f", r.width, r.held[0], r.held[1], r.held[2])
	if r.blind > 0 {
		out += fmt.Sprintf("  not streamed %3.0f %3.0f %3.0f, others %3.0f %3.0f %3.0f", r.heldBlind[0], r.heldBlind[1], r.heldBlind[2], r.heldSeen[0], r.heldSeen[1], r.heldSeen[2])
	}
	return out
}

// stagesHold reports whether the bounds of stages hold for 85 % of the requests that are
// streamed and of those that are not, each where there are enough to tell, and for
// the run.
func (r *score) stagesHold() bool {
	const enough = 30
	for _, stage := range []int{1, 2} {
		if r.blind >= enough && r.heldBlind[stage] < 85 || r.n-r.blind >= enough && r.heldSeen[stage] < 85 {
			return false
		}
	}
	return r.stagesOfRun
}

// TestAttributionAgainstShapley compares shares with the Shapley values of
// simulated servers, and prints the table of the package comment: for each mode
// the median and the 95th percentile of a request's relative error, half the
// width of the bounds, and how many of the requests, prefills and decodes are
// within theirs, all in percent.
func TestAttributionAgainstShapley(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 15 s")
	}
	for _, c := range []struct {
		name   string
		loads  []load
		seed   uint64
		tick   time.Duration
		refuse bool
		least  float64 // percent of requests that must be within bounds, of every load
		slack  float64 // percent that the figures themselves may be worse by, where the log hides much
	}{
		{"choosing", choosing, 100, 100 * time.Millisecond, false, 90, 0},
		{"choosing, sensor of 1 s", choosing, 100, time.Second, false, 80, 0},
		{"choosing, no fit", choosing, 100, 100 * time.Millisecond, true, 85, 0},
		{"choosing, not told", choosingBlind, 700, 100 * time.Millisecond, false, 90, 3},
		{"choosing, not told, sensor of 1 s", choosingBlind, 700, time.Second, false, 80, 3},
		{"choosing, not told, no fit", choosingBlind, 700, 100 * time.Millisecond, true, 85, 3},
		{"judging, not told", judgingBlind, 800, 100 * time.Millisecond, false, 90, 3},
		{"judging, not told, sensor of 1 s", judgingBlind, 800, time.Second, false, 80, 3},
		{"judging, not told, no fit", judgingBlind, 800, 100 * time.Millisecond, true, 85, 3},
		{"judging", judging, 400, 100 * time.Millisecond, false, 90, 0},
		{"judging, sensor of 1 s", judging, 400, time.Second, false, 80, 0},
		{"judging, no fit", judging, 400, 100 * time.Millisecond, true, 85, 0},
	} {
		table := fmt.Sprintf("%-30s %5s  %-8s  %-8s  %-8s  ±width  within", c.name, "n", "time", "tokens", "fitted")
		sum := score{errors: map[Mode][2]float64{}}
		for i, l := range c.loads {
			s := simulate(l, c.seed+uint64(i))
			a, shares := s.attribute(c.tick, c.refuse)
			r := scoreOf(s, a, shares)
			table += "\n" + r.String()
			sum.merge(&r)
			if r.held[0] < c.least || !r.stagesHold() {
				t.Errorf("%s, %s: bounds hold of %.0f %% of requests, %.0f %% of prefills, %.0f %% of decodes; of the run's stages %v",
					c.name, l.name, r.held[0], r.held[1], r.held[2], r.stagesOfRun)
			}
			if r.nothing > 5 {
				t.Errorf("%s, %s: of %.0f %% of requests the least is 0", c.name, l.name, r.nothing)
			}
			if !r.refused && r.errors[ModeFitted][0] > r.errors[ModeTokens][0]+2+c.slack {
				t.Errorf("%s, %s: the fit errs by %.1f %%, tokens by %.1f %%", c.name, l.name, r.errors[ModeFitted][0], r.errors[ModeTokens][0])
			}
		}
		t.Log(table)
		sum.check(t, c.name, float64(len(c.loads)), c.slack)
	}
}

// merge adds another score.
func (r *score) merge(other *score) {
	for m, e := range other.errors {
		r.errors[m] = [2]float64{r.errors[m][0] + e[0], r.errors[m][1] + e[1]}
	}
	for i := range r.held {
		r.held[i] += other.held[i]
	}
}

// check fails where n merged scores are worse than the package comment says.
func (r *score) check(t *testing.T, name string, n, slack float64) {
	headline, tokens, byTime := r.errors[headlined][0]/n, r.errors[ModeTokens][0]/n, r.errors[ModeTime][0]/n
	if headline > 8+slack || headline > tokens+slack || tokens > byTime {
		t.Errorf("%s: the headline errs by %.1f %%, tokens by %.1f %%, time by %.1f %%", name, headline, tokens, byTime)
	}
	for i, h := range r.held {
		if h/n < 92 {
			t.Errorf("%s: bounds %d hold in %.1f %%", name, i, h/n)
		}
	}
}
