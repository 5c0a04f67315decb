package reduce

import (
	"math"
	"slices"
	"time"
)

// An averageSolver fits the power of the cells of one block: cell i is the time
// between update i, its first node, and update i+1. Power is in units of the
// Deconvolver's, time in seconds.
type averageSolver struct {
	length []float64 // of each cell
	power  []float64 // of each cell
	energy []float64 // at each node, since the first
	fixed  int       // cells before it are given
	rows   []equation

	zero     []bool    // cells that are held at zero
	slope    []float64 // of the objective by the power of each cell
	unknown  []int     // number of the unknown at each node; -1 where the energy is given
	first    []int     // for each unknown, the first one that it shares a term with
	matrix   skyline
	downhill []float64 // the objective's slope by each unknown, downwards; then the change of energy
}

// equation says that the mean power between two nodes is what was read.
type equation struct {
	from, to int
	seconds  float64 // between them
	reading  float64
	weight   float64 // of the square of residual
	residual float64
	others   []origin // where else the average may begin
}

type origin struct {
	node    int
	seconds float64 // until equation.to
}

// fit fits the power of the cells of d that are not final.
func (s *averageSolver) fit(d *Deconvolver) {
	s.fill(d)
	if len(s.power) == s.fixed {
		return
	}
	for n := range maxSteps {
		s.weigh()
		s.release()
		s.number()
		s.assemble()
		if !s.matrix.factor() {
			break // rounding alone can bring that about; what was found so far stands
		}
		s.matrix.solve(s.downhill)
		settled := s.move() < settledUnits
		if (settled || n%doubtEvery == doubtEvery-1) && !s.doubt() && settled {
			break
		}
	}
	for i := s.fixed; i < len(s.power); i++ {
		d.power[i] = s.power[i] * d.unit
	}
}

// fill takes over a block.
func (s *averageSolver) fill(d *Deconvolver) {
	cells := len(d.power)
	s.length, s.power = resize(s.length, cells), resize(s.power, cells)
	s.zero, s.slope = resize(s.zero, cells), resize(s.slope, cells)
	s.energy, s.unknown = resize(s.energy, cells+1), resize(s.unknown, cells+1)
	s.fixed = d.final
	for i := range cells {
		s.length[i] = d.ticks[i+1].At.Sub(d.ticks[i].At).Seconds()
		s.power[i] = d.power[i] / d.unit
		s.zero[i] = false
	}
	s.rows = s.rows[:0]
	for i := d.final + 1; i < len(d.ticks); i++ {
		if d.ticks[i].Known {
			s.equate(d, i)
		}
	}
}

// resize returns a slice of n elements, in v's memory where it is large enough.
func resize[T any](v []T, n int) []T { return slices.Grow(v[:0], n)[:n] }

// equate adds the equation of update i, unless the update that its average
// begins at is not there.
func (s *averageSolver) equate(d *Deconvolver, i int) {
	age := func(j int) time.Duration { return d.ticks[i].At.Sub(d.ticks[j].At) }
	// The latest old enough update: of those that were seen, of the assumed ones
	// too, and of all.
	latest := [...]int{TickSeen: -1, TickAssumed: -1, TickDoubtful: -1}
	for j := i - 1; j >= 0 && age(j) <= blockHistory; j-- {
		if age(j) < d.Span {
			continue
		}
		for kind := range latest {
			if latest[kind] < 0 && int(d.ticks[j].Kind) <= kind {
				latest[kind] = j
			}
		}
	}
	law := latest[TickAssumed]
	if law < 0 {
		return
	}
	n := len(s.rows)
	s.rows = slices.Grow(s.rows, 1)[:n+1]
	r := &s.rows[n]
	*r = equation{
		from: law, to: i, seconds: age(law).Seconds(), reading: d.ticks[i].Watts / d.unit,
		others: r.others[:0], // memory of an earlier block
	}
	for _, j := range [...]int{latest[TickSeen], latest[TickDoubtful], law - 1, law + 1} {
		if j >= 0 && j != law && age(j) >= d.Span-doubtSlack && age(j) <= blockHistory {
			r.others = append(r.others, origin{j, age(j).Seconds()})
		}
	}
}

// weigh brings energies, residuals and weights up to date with the power.
func (s *averageSolver) weigh() {
	s.energy[0] = 0
	for i, p := range s.power {
		s.energy[i+1] = s.energy[i] + float64(p*s.length[i])
	}
	for k := range s.rows {
		r := &s.rows[k]
		r.residual = s.misfit(r, origin{r.from, r.seconds})
		r.weight = huberUnits / max(huberUnits, math.Abs(r.residual))
	}
}

// misfit returns the residual of an equation whose average begins at o.
func (s *averageSolver) misfit(r *equation, o origin) float64 {
	return (s.energy[r.to]-s.energy[o.node])/o.seconds - r.reading
}

// stepWeight is the weight of the square of the step of power into cell i.
func (s *averageSolver) stepWeight(i int) float64 {
	step := s.power[i] - s.power[i-1]
	return totalLambda / math.Sqrt(float64(step*step)+1)
}

// release lets go of the cells held at zero with whose power the objective
// falls.
func (s *averageSolver) release() {
	if !slices.Contains(s.zero, true) {
		return
	}
	clear(s.slope)
	for k := range s.rows {
		r := &s.rows[k]
		pull := r.weight * r.residual / r.seconds
		s.slope[r.from] += pull
		if r.to < len(s.slope) {
			s.slope[r.to] -= pull
		}
	}
	pull := 0.0
	for i := range s.slope {
		pull += s.slope[i]
		s.slope[i] = pull * s.length[i]
	}
	for i := 1; i < len(s.power); i++ {
		pull := float64(s.stepWeight(i) * (s.power[i] - s.power[i-1]))
		s.slope[i] += pull
		s.slope[i-1] -= pull
	}
	for i := range s.zero {
		s.zero[i] = s.zero[i] && s.slope[i] >= 0
	}
}

// number gives the nodes their unknowns: none to those whose energy is given,
// and one to both ends of a cell that is held at zero.
func (s *averageSolver) number() {
	n := 0
	for node := range s.unknown {
		switch {
		case node <= s.fixed: // the first node is given, of whatever is
			s.unknown[node] = -1
		case s.zero[node-1]:
			s.unknown[node] = s.unknown[node-1]
		default:
			s.unknown[node] = n
			n++
		}
	}
	s.first, s.downhill = resize(s.first, n), resize(s.downhill, n)
	for i := range n {
		s.first[i], s.downhill[i] = i, 0
	}
	for i := max(1, s.fixed); i < len(s.power); i++ {
		s.share(i-1, i)
		s.share(i-1, i+1)
	}
	for k := range s.rows {
		s.share(s.rows[k].from, s.rows[k].to)
	}
	s.matrix.shape(s.first)
}

// share notes that a term has both nodes, the earlier one first.
func (s *averageSolver) share(a, b int) {
	if x, y := s.unknown[a], s.unknown[b]; x >= 0 {
		s.first[y] = min(s.first[y], x)
	}
}

// assemble makes the normal equations of a step.
func (s *averageSolver) assemble() {
	for k := range s.rows {
		r := &s.rows[k]
		c := 1 / r.seconds
		s.term(r.weight, r.residual, [3]int{r.from, r.to, -1}, [3]float64{-c, c})
	}
	for i := max(1, s.fixed); i < len(s.power); i++ {
		a, b := 1/s.length[i-1], 1/s.length[i]
		s.term(s.stepWeight(i), s.power[i]-s.power[i-1], [3]int{i - 1, i, i + 1}, [3]float64{a, -a - b, b})
	}
}

// term adds weight/2 * (residual + sum factor*change of the node's energy)^2.
// Nodes are in order of time; -1 is none.
func (s *averageSolver) term(weight, residual float64, nodes [3]int, factors [3]float64) {
	for i, node := range nodes {
		if node < 0 || s.unknown[node] < 0 {
			continue
		}
		row, f := s.unknown[node], float64(weight*factors[i])
		s.downhill[row] -= float64(f * residual)
		for j := range i + 1 {
			column := s.unknown[nodes[j]]
			if column < 0 {
				continue
			}
			x := float64(f * factors[j])
			if row == column && i != j {
				x *= 2 // the element is its own mirror
			}
			s.matrix.add(row, column, x)
		}
	}
}

// move changes the power by the energies solved for, holds at zero what would
// fall below, and returns by how much the power of a cell changed at most.
func (s *averageSolver) move() (most float64) {
	change := func(node int) float64 {
		if u := s.unknown[node]; u >= 0 {
			return s.downhill[u]
		}
		return 0
	}
	for i := s.fixed; i < len(s.power); i++ {
		old := s.power[i]
		p := old + (change(i+1)-change(i))/s.length[i]
		if p < 0 {
			p, s.zero[i] = 0, true
		}
		s.power[i] = p
		most = max(most, math.Abs(p-old))
	}
	return most
}

// doubt moves the origin of averages that fit badly to where they fit well, and
// reports whether it moved any.
func (s *averageSolver) doubt() (moved bool) {
	s.weigh()
	for k := range s.rows {
		r := &s.rows[k]
		if math.Abs(r.residual) < doubtUnits {
			continue
		}
		best, least := -1, doubtShare*math.Abs(r.residual)
		for i, o := range r.others {
			if m := math.Abs(s.misfit(r, o)); m < least {
				best, least = i, m
			}
		}
		if best >= 0 {
			o := &r.others[best]
			r.from, r.seconds, o.node, o.seconds = o.node, o.seconds, r.from, r.seconds
			moved = true
		}
	}
	return moved
}
