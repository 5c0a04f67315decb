package attribute

import (
	"math"
	"slices"
	"testing"
	"time"
)

// choosing are the loads that constants were chosen on; judging are others.
var choosing = []load{
	{name: "closed 32", engine: "saturating", closed: 32, input: [2]float64{700, 4}, output: [2]float64{200, 4}, seconds: 90},
	{name: "closed 4", engine: "flat", closed: 4, input: [2]float64{1500, 6}, output: [2]float64{120, 6}, seconds: 90},
	{name: "Poisson 2/s cached", engine: "saturating", rate: 2, input: [2]float64{3000, 4}, output: [2]float64{250, 4}, cached: 0.6, seconds: 90},
	{name: "bursts of 40", engine: "linear", rate: 4, burst: 10, input: [2]float64{900, 4}, output: [2]float64{150, 4}, seconds: 90},
	{name: "cheap prefill closed", engine: "cheap prefill", closed: 24, input: [2]float64{1500, 5}, output: [2]float64{180, 5}, seconds: 90},
	{name: "dear prefill open", engine: "dear prefill", rate: 1, input: [2]float64{900, 5}, output: [2]float64{150, 5}, seconds: 120},
	{name: "overload", engine: "flat", rate: 10, input: [2]float64{1500, 4}, output: [2]float64{200, 4}, seconds: 45},
}

var judging = []load{
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
}

// score is how the shares of a run compare with the truth.
type score struct {
	median, p95                  map[Mode]float64 // relative error per request
	covered, prefillIn, decodeIn float64          // share of requests whose bounds hold the truth
	width                        float64          // median of (high-low)/2/energy
}

func scoreOf(s *simulation, shares []Share) score {
	r := score{median: map[Mode]float64{}, p95: map[Mode]float64{}}
	errs := map[Mode][]float64{}
	var widths []float64
	n := float64(len(shares))
	stages := 0.0
	for i, sh := range shares {
		want := s.answers[i].truth() * 1e6
		rel := func(got int64) float64 { return math.Abs(float64(got)-want) / want }
		errs[ModeTime] = append(errs[ModeTime], rel(sh.Time))
		errs[ModeTokens] = append(errs[ModeTokens], rel(sh.Tokens))
		errs["headline"] = append(errs["headline"], rel(sh.Energy))
		if v, ok := sh.Fitted.Get(); ok {
			errs[ModeFitted] = append(errs[ModeFitted], rel(v))
		}
		errs["pre"] = append(errs["pre"], math.Abs(float64(sh.Prefill.Energy)/1e6-s.answers[i].prefill)/s.answers[i].prefill)
		errs["dec"] = append(errs["dec"], math.Abs(float64(sh.Decode.Energy)/1e6-s.answers[i].decode)/s.answers[i].decode)
		in := func(x float64, low, high int64) float64 {
			if x*1e6 >= float64(low) && x*1e6 <= float64(high) {
				return 1
			}
			return 0
		}
		r.covered += in(s.answers[i].truth(), sh.Low, sh.High) / n
		stages++
		r.prefillIn += in(s.answers[i].prefill, sh.Prefill.Low, sh.Prefill.High)
		r.decodeIn += in(s.answers[i].decode, sh.Decode.Low, sh.Decode.High)
		widths = append(widths, float64(sh.High-sh.Low)/2/float64(max(sh.Energy, 1)))
	}
	r.prefillIn /= stages
	r.decodeIn /= stages
	for m, e := range errs {
		slices.Sort(e)
		r.median[m], r.p95[m] = e[len(e)/2], e[len(e)*95/100]
	}
	slices.Sort(widths)
	r.width = widths[len(widths)/2]
	return r
}

func TestAttributionAgainstShapley(t *testing.T) {
	for _, set := range []struct {
		name  string
		loads []load
	}{{"choosing", choosing}, {"judging", judging}} {
		for _, c := range []struct {
			tick   time.Duration
			refuse bool
		}{{100 * time.Millisecond, false}, {100 * time.Millisecond, true}, {time.Second, false}} {
			t.Logf("%-30s %v %v", set.name, c.tick, c.refuse)
			for i, l := range set.loads {
				s := simulate(l, uint64(100+i))
				a, shares := s.attribute(c.tick, c.refuse)
				r := scoreOf(s, shares)
				cell := func(m Mode) []any { return []any{100 * r.median[m], 100 * r.p95[m]} }
				args := []any{l.name, len(shares)}
				for _, m := range []Mode{ModeTime, ModeTokens, ModeFitted, "headline", "pre", "dec"} {
					args = append(args, cell(m)...)
				}
				f := a.Fit()
				args = append(args, f.Residual, f.Condition, 100*r.covered, 100*r.prefillIn, 100*r.decodeIn, 100*r.width)
				t.Logf("%-30s %5d %4.0f %4.0f %4.0f %4.0f %4.0f %4.0f %4.0f %4.0f  %4.0f %4.0f %4.0f %4.0f %7.3f %7.0f %5.1f %5.1f %5.1f %5.1f", args...)
				if f.Refused != "" && !c.refuse {
					t.Logf("    %v late=%v %q J/tok %.4f %.4f %.2g shared %.0f W", f.early, f.Late, f.Refused, f.PromptJoules, f.OutputJoules, f.ContextJoules, f.SharedJoules)
				}
			}
		}
	}
}
