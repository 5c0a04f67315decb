package convert

// A grid adds amounts up in cells of time, for a rate that is drawn. Its cells are 100 ms
// wide; they get wider where there would be more than maxCells.
type grid struct {
	first int64 // Unix nanoseconds where cell 0 begins
	width int64
	cells []float64
}

const (
	cellNanos = 100_000_000
	maxCells  = 1 << 17
)

// spread adds an amount evenly between two times.
func (g *grid) spread(from, to int64, amount float64) {
	if to < from {
		return
	}
	if g.cells == nil {
		g.width = cellNanos
		g.first = from - from%g.width
	}
	g.hold(from)
	g.hold(to)
	a, b := (from-g.first)/g.width, (to-g.first)/g.width
	if a == b {
		g.cells[a] += amount
		return
	}
	perNano := amount / float64(to-from)
	for i := a; i <= b; i++ {
		begin := g.first + i*g.width
		g.cells[i] += float64(min(to, begin+g.width)-max(from, begin)) * perNano
	}
}

// hold makes a cell for a time.
func (g *grid) hold(at int64) {
	for {
		begin, end := g.first, g.first+int64(len(g.cells))*g.width
		if at >= begin && at < end {
			return
		}
		cells := (max(end, at+1) - min(begin, at) + g.width - 1) / g.width
		if cells < maxCells {
			if at >= begin {
				g.cells = append(g.cells, make([]float64, (at-begin)/g.width+1-int64(len(g.cells)))...)
				return
			}
			more := (begin - at + g.width - 1) / g.width
			g.cells = append(make([]float64, more), g.cells...)
			g.first -= more * g.width
			return
		}
		g.widen()
	}
}

// widen makes cells twice as wide.
func (g *grid) widen() {
	wide := make([]float64, 0, len(g.cells)/2+2)
	if (g.first/g.width)%2 != 0 { // cells keep to multiples of their width
		g.first -= g.width
		g.cells = append([]float64{0}, g.cells...)
	}
	for i := 0; i < len(g.cells); i += 2 {
		v := g.cells[i]
		if i+1 < len(g.cells) {
			v += g.cells[i+1]
		}
		wide = append(wide, v)
	}
	g.width *= 2
	g.cells = wide
}

// each passes on where the rate changes, with what it is, per second, and 0 at the end.
func (g *grid) each(use func(unixNanos int64, perSecond float64)) {
	last := -1.0
	for i, v := range append(g.cells, 0) {
		if rate := v / float64(g.width) * 1e9; rate != last && g.width > 0 {
			use(g.first+int64(i)*g.width, rate)
			last = rate
		}
	}
}
