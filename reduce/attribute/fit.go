package attribute

import (
	"fmt"
	"math"
	"time"
)

// The terms of the fitted model.
const (
	perPrompt  = iota // microjoules per unit of prompt tokens
	shared            // microjoules per unit of steps: what a batch shares
	perOutput         // microjoules per unit of output tokens
	perContext        // microjoules per unit of output tokens times context
)

// model is the coefficients of the active energy of a cell.
type model [terms]float64

// Fit says how the fitted mode went.
type Fit struct {
	Refused       string        // why there is no fit; "" is that there is one
	Late          bool          // a prefill is taken to run at the end of the time to first token, not through all of it
	Cells         int           // cells of the fit
	Cell          time.Duration // their length
	Condition     float64       // of the scaled normal matrix
	R2            float64       // share of the variance of the cells' energy that the fit explains
	Residual      float64       // root of the mean square of what it leaves, by the mean energy of a cell
	PromptJoules  float64       // per prompt token that was not cached
	OutputJoules  float64       // per output token
	ContextJoules float64       // per output token and token of its context
	SharedJoules  float64       // per step, shared by the requests that are served

	early, late model
}

func (f *Fit) model(late bool) model {
	if late {
		return f.late
	}
	return f.early
}

// steps returns how many steps of the server a cell has, in units of tokens, as
// far as decoding shows: each makes a token for every request that is decoded, or
// as many as the server guesses. Where some requests are streamed, only these
// show the pace. It also returns how many nanoseconds of requests share them.
func steps(w *row, length int64, late bool) (n float64, sum int64) {
	sum = w[decode] + w[prefill]
	if late {
		sum = w[decode] + w[latePrefill]
	}
	made, took := w[output]-w[unpacedOutput], w[decode]-w[unpacedDecode]
	if took == 0 {
		made, took = w[output], w[decode]
	}
	if took > 0 {
		n = float64(made) * (float64(min(w[decode], length)) / float64(took))
	}
	return n, sum
}

// termsOf returns the columns of the fit in a cell.
func termsOf(w *row, length int64, late bool) [terms]float64 {
	tokens := w[prompt]
	if late {
		tokens = w[latePrompt]
	}
	n, _ := steps(w, length, late)
	return [terms]float64{perPrompt: float64(tokens), shared: n, perOutput: float64(w[output]), perContext: float64(w[context])}
}

// predict returns the energy of a cell in microjoules.
func (m *model) predict(w *row, length int64, late bool) float64 {
	sum := 0.0
	for i, v := range termsOf(w, length, late) {
		sum += float64(m[i] * v)
	}
	return sum
}

// prefill and decode return a request's energy of a stage in a cell, in whole
// microjoules.
func (m *model) prefill(tokens, time int64, scale, each float64) int64 {
	return int64(float64(m[perPrompt]*float64(tokens)*scale) + float64(float64(time)*each))
}

func (m *model) decode(made amount, time int64, scale, each float64) int64 {
	d := float64(m[perOutput]*float64(made.tokens)) + float64(m[perContext]*float64(made.context))
	return int64(float64(d*scale) + float64(float64(time)*each))
}

// When a fit is refused.
const (
	leastCells   = 30   // cells
	mostBadness  = 1e5  // condition number of the scaled normal matrix
	mostLeft     = 0.25 // residual, by the mean energy of a cell of fitCell; of a longer one, as of noise, less
	mostDoubt    = 0.15 // of the active energy: half the 95 % interval of one term's sum
	fitCell      = 500 * time.Millisecond
	fitCellTimes = 3 // and no shorter than so many times what the sensor resolves
)

// attempts are the terms that are tried, the richest first: in a load that
// hardly changes, the terms cannot be told apart, and need not be, since those
// that are left out then share in the same proportions.
var attempts = [][terms]bool{
	{true, true, true, true},
	{true, true, true, false},
	{true, true, false, false},
}

// fitAll fits the model under both suppositions on queues, and chooses.
func (a *Attributor) fitAll(active []int64) Fit {
	early, late := a.fitOne(active, false), a.fitOne(active, true)
	best := early
	if early.Refused != "" || late.Refused == "" && late.R2 > early.R2 {
		best, best.Late = late, true
	}
	best.early, best.late = early.early, late.early
	switch { // the other one has nothing better to say
	case early.Refused != "":
		best.early = best.late
	case late.Refused != "":
		best.late = best.early
	}
	m := best.model(best.Late)
	best.PromptJoules = m[perPrompt] * tokenUnit / 1e6
	best.OutputJoules = m[perOutput] * tokenUnit / 1e6
	best.ContextJoules = m[perContext] * tokenUnit / contextUnit / 1e6
	best.SharedJoules = m[shared] * tokenUnit / 1e6
	return best
}

// fitOne fits the model under one supposition.
func (a *Attributor) fitOne(active []int64, late bool) Fit {
	m, sum, mean := a.observe(active, late)
	f := Fit{Cells: m.count, Cell: max(fitCell, fitCellTimes*a.resolution)}
	if m.count < leastCells {
		f.Refused = fmt.Sprintf("too few cells: %d of %v, of %d", m.count, f.Cell, leastCells)
		return f
	}
	for i, use := range attempts {
		var why string
		f.early, f.Condition, f.R2, f.Residual, why = m.try(use, sum, mean, f.Cell)
		if why == "" {
			f.Refused = ""
			return f
		}
		if i == 0 || f.Refused == "" {
			f.Refused = why
		}
	}
	return f
}

// observe gathers the sums of the fit over cells of its own length, and the
// sums of its columns and of the energy. Pieces between edges that are shorter,
// and cells that are not known whole, are left out.
func (a *Attributor) observe(active []int64, late bool) (m normal, sum [terms]float64, total float64) {
	m.n = terms
	width := max(fitCell, fitCellTimes*a.resolution)
	for _, r := range a.runs() {
		k, end := r[0], r[1]
		for k < end {
			from, whole := a.grid.Bound(k), false
			var x [terms]float64
			var energy int64
			for known := true; k < end && !whole && known; k++ {
				known = a.knows(k)
				for i, v := range termsOf(&a.weights[k], a.length(k), late) {
					x[i] += v
				}
				energy += active[k]
				whole = known && a.grid.Bound(k+1).Sub(from) >= width
			}
			if whole && x != ([terms]float64{}) {
				m.add(x, float64(energy))
				for i := range x {
					sum[i] += x[i]
				}
				total += float64(energy)
			}
		}
	}
	return m, sum, total
}

// try fits some of the terms and says why not, if it cannot be trusted.
func (m *normal) try(use [terms]bool, sum [terms]float64, total float64, width time.Duration) (c model, condition, r2, rest float64, why string) {
	part := *m
	for i, u := range use {
		if !u {
			for j := range terms {
				part.gram[i][j], part.gram[j][i] = 0, 0
			}
			part.moment[i] = 0
		}
	}
	part, length := part.scaled()
	x, free := part.nnls()
	// All columns count here: of two that look alike, one may be held at zero for
	// no better reason than that it came second.
	var there [terms]bool
	for i := range there {
		there[i] = part.gram[i][i] > 0
	}
	condition = part.condition(there)
	left := part.residual(x)
	count := float64(m.count)
	if spread := m.squares - float64(total*total)/count; spread > 0 {
		r2 = 1 - left/spread
	}
	if total > 0 {
		rest = math.Sqrt(left/count) / (total / count)
	}
	for i := range c {
		if free[i] {
			c[i] = x[i] / length[i]
		}
	}
	switch {
	case x == [terms]float64{}:
		return c, condition, r2, rest, "no term explains the energy"
	case condition > mostBadness:
		return c, condition, r2, rest, fmt.Sprintf("the load does not tell its terms apart: condition number %.2g", condition)
	}
	// Where power grows less than the batch, context may take the place of tokens.
	if free[perContext] && !free[perOutput] {
		return c, condition, r2, rest, "the context of tokens is charged, but not the tokens"
	}
	if rest > float64(mostLeft*math.Sqrt(float64(fitCell)/float64(width))) {
		return c, condition, r2, rest, fmt.Sprintf("it leaves %.0f %% of the energy of a cell unexplained", 100*rest)
	}
	inv, _ := part.inverse(free)
	variance := left / max(count-terms, 1)
	for i := range c {
		if !free[i] {
			continue
		}
		half := 2 * math.Sqrt(float64(variance*max(inv[i][i], 0))) / length[i] * sum[i]
		if half > mostDoubt*total {
			return c, condition, r2, rest, fmt.Sprintf("a term's 95 %% interval is ±%.0f %% of the active energy", 100*half/total)
		}
	}
	return c, condition, r2, rest, ""
}
