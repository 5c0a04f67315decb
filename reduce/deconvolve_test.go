package reduce

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	"wattrace/trace"
)

// load is a power that is constant between its steps; the first is at or before
// any time that is asked for.
type load struct {
	at     []trace.Time
	watts  []float64
	joules []float64 // up to each step
}

func (l *load) step(at trace.Time, watts float64) {
	e := 0.0
	if n := len(l.at); n > 0 {
		e = l.joules[n-1] + l.watts[n-1]*at.Sub(l.at[n-1]).Seconds()
	}
	l.at, l.watts, l.joules = append(l.at, at), append(l.watts, watts), append(l.joules, e)
}

// energy is what was drawn between two instants, in joules.
func (l *load) energy(from, to trace.Time) float64 {
	upTo := func(t trace.Time) float64 {
		i := sort.Search(len(l.at), func(i int) bool { return l.at[i] > t }) - 1
		return l.joules[i] + l.watts[i]*t.Sub(l.at[i]).Seconds()
	}
	return upTo(to) - upTo(from)
}

// server is a load like that of an inference server at about 360 W: decode
// steps that drift, and twice a second a prefill of some tens of milliseconds.
func server(rng *rand.Rand, until trace.Time) *load {
	l := &load{}
	l.step(trace.Time(-10*time.Second), 330)
	decode, prefill := 330.0, trace.Time(0)
	for at := trace.Time(0); at < until; {
		if at >= prefill {
			l.step(at, 560+120*rng.Float64())
			at = at.Add(time.Duration(30e6 + 60e6*rng.Float64()))
			prefill = at.Add(time.Duration(rng.ExpFloat64() * 450e6))
			continue
		}
		decode += 12*rng.NormFloat64() + 0.02*(330-decode)
		decode = min(max(decode, 200), 450)
		l.step(at, decode)
		at = at.Add(time.Duration(15e6 + 10e6*rng.Float64()))
	}
	return l
}

// averages are the updates of a field that follows its law, stamped to a few
// milliseconds.
func averages(l *load, until trace.Time, rng *rand.Rand, jitter time.Duration) (ticks []Tick) {
	var at []trace.Time
	for u := trace.Time(-4 * time.Second); u < until; u = u.Add(time.Duration(99.7e6 + 0.6e6*rng.Float64())) {
		at = append(at, u)
		i := sort.Search(len(at), func(i int) bool { return u.Sub(at[i]) < 1050*time.Millisecond }) - 1
		tick := Tick{At: u}
		if jitter > 0 {
			tick.At = u.Add(time.Duration(rng.Int64N(int64(2*jitter))) - jitter)
		}
		if i >= 0 {
			tick.Known, tick.Watts = true, math.Round(100*l.energy(at[i], u)/u.Sub(at[i]).Seconds())/100
		}
		ticks = append(ticks, tick)
	}
	return ticks
}

// deconvolved is E(t) as a Deconvolver makes it, linear between updates.
type deconvolved struct {
	cells []Cell
	at    []trace.Time
	micro []int64
}

func deconvolve(d *Deconvolver, ticks []Tick) *deconvolved {
	r := &deconvolved{}
	d.Span = 1050 * time.Millisecond
	d.Emit = func(c Cell) {
		if len(r.at) == 0 {
			r.at, r.micro = append(r.at, c.From), append(r.micro, 0)
		}
		r.cells = append(r.cells, c)
		r.at, r.micro = append(r.at, c.To), append(r.micro, r.micro[len(r.micro)-1]+c.Microjoules)
	}
	for _, t := range ticks {
		d.Add(t)
	}
	d.Flush()
	return r
}

func (r *deconvolved) energy(from, to trace.Time) float64 {
	upTo := func(t trace.Time) float64 {
		i := sort.Search(len(r.at), func(i int) bool { return r.at[i] > t }) - 1
		share := float64(t-r.at[i]) / float64(r.at[i+1]-r.at[i])
		return (float64(r.micro[i]) + share*float64(r.micro[i+1]-r.micro[i])) / 1e6
	}
	return upTo(to) - upTo(from)
}

// rms is the root mean square of the difference of two ways to have the energy
// of windows of a length.
func rms(a, b interface {
	energy(from, to trace.Time) float64
}, from, to trace.Time, length time.Duration) float64 {
	rng := rand.New(rand.NewPCG(5, 6))
	sum, n := 0.0, 2000
	for range n {
		x := from + trace.Time(rng.Int64N(int64(to-from)-int64(length)))
		d := a.energy(x, x.Add(length)) - b.energy(x, x.Add(length))
		sum += d * d
	}
	return math.Sqrt(sum / float64(n))
}

func TestDeconvolverOfAServer(t *testing.T) {
	t.Parallel()
	until := trace.Time(2 * time.Minute)
	rng := rand.New(rand.NewPCG(1, 2))
	l := server(rng, until.Add(time.Second))
	r := deconvolve(&Deconvolver{Top: 600}, averages(l, until, rng, 5*time.Millisecond))
	for length, limit := range map[time.Duration]float64{time.Second: 5.5, 3 * time.Second: 6.5, 20 * time.Second: 7.5} {
		got := rms(r, l, 2*sec, until-3*sec, length)
		t.Logf("%v windows: RMS error %.2f J", length, got)
		if !(got <= limit) {
			t.Errorf("%v windows: RMS error %.2f J, want at most %.1f J", length, got, limit)
		}
	}
}

// Power that steps at updates and stays is found, but for what a short step and
// another a second later leave open.
func TestDeconvolverOfSteps(t *testing.T) {
	t.Parallel()
	l := &load{}
	rng := rand.New(rand.NewPCG(1, 3))
	until := trace.Time(time.Minute)
	for at := trace.Time(-10 * time.Second); at < until; at = at.Add(time.Duration(1+rng.IntN(40)) * 100 * time.Millisecond) {
		l.step(at, []float64{80, 150, 300, 420}[rng.IntN(4)])
	}
	var ticks []Tick
	for u := trace.Time(-2 * time.Second); u < until; u += 100 * ms {
		ticks = append(ticks, Tick{At: u, Known: true, Watts: l.energy(u-1100*ms, u) / 1.1})
	}
	r := deconvolve(&Deconvolver{}, ticks)
	wrong := 0
	for _, c := range r.cells[30:] {
		if got, want := float64(c.Microjoules)/1e6, l.energy(c.From, c.To); math.Abs(got-want) > 0.5 {
			wrong++
		}
	}
	if got := rms(r, l, sec, until-2*sec, time.Second); wrong > 10 || got > 0.3 {
		t.Errorf("%d of %d updates are off by more than half a joule, 1 s windows by %.2f J RMS", wrong, len(r.cells), got)
	}
}

// The averages of what was found are the readings.
func TestDeconvolverReturnsTheReadings(t *testing.T) {
	t.Parallel()
	until := trace.Time(2 * time.Minute)
	rng := rand.New(rand.NewPCG(1, 4))
	ticks := averages(server(rng, until.Add(time.Second)), until, rng, 0)
	r := deconvolve(&Deconvolver{Top: 600}, ticks)
	sum, n := 0.0, 0
	for _, u := range ticks {
		i := sort.Search(len(ticks), func(i int) bool { return u.At.Sub(ticks[i].At) < 1050*time.Millisecond }) - 1
		if i < 0 || ticks[i].At < r.at[0] || u.At >= r.at[len(r.at)-1] {
			continue
		}
		again := r.energy(ticks[i].At, u.At) / u.At.Sub(ticks[i].At).Seconds()
		sum += (again - u.Watts) * (again - u.Watts)
		n++
	}
	t.Logf("the averages of the power found are %.2f W RMS off %d readings", math.Sqrt(sum/float64(n)), n)
	if n < 1000 || !(math.Sqrt(sum/float64(n)) <= 2*600/topUnits) {
		t.Errorf("that is more than two units of %v W", 600/topUnits)
	}
}

// The joins of blocks do not show.
func TestDeconvolverBlocksEqualTheWhole(t *testing.T) {
	t.Parallel()
	until := trace.Time(5 * time.Minute)
	rng := rand.New(rand.NewPCG(1, 5))
	ticks := averages(server(rng, until.Add(time.Second)), until, rng, 5*time.Millisecond)
	whole := deconvolve(&Deconvolver{Top: 600, core: time.Hour, lag: time.Second}, ticks)
	for _, core := range []time.Duration{10 * time.Second, blockCore} {
		blocks := deconvolve(&Deconvolver{Top: 600, core: core, lag: blockLag}, ticks)
		if len(blocks.cells) != len(whole.cells) {
			t.Fatalf("%d cells and %d", len(blocks.cells), len(whole.cells))
		}
		worst := 0.0
		for i := range whole.micro {
			worst = max(worst, math.Abs(float64(whole.micro[i]-blocks.micro[i]))/1e6)
		}
		one := rms(whole, blocks, 0, until-sec, time.Second)
		t.Logf("blocks of %v: E(t) differs by at most %.2f J of %.0f J, 1 s windows by %.3f J RMS", core, worst, float64(whole.micro[len(whole.micro)-1])/1e6, one)
		if one > 0.1 || worst > 2.5 {
			t.Errorf("blocks of %v differ by %.3f J RMS in 1 s windows and by up to %.2f J in E(t)", core, one, worst)
		}
	}
}

// Memory is that of a block however long the stream.
func TestDeconvolverMemory(t *testing.T) {
	t.Parallel()
	cells := 0
	d := Deconvolver{Span: 1050 * time.Millisecond, Top: 500, Emit: func(Cell) { cells++ }}
	most := 0
	for i := range 36_000 {
		d.Add(Tick{At: trace.Time(i) * 100 * ms, Known: true, Watts: 300 + 50*math.Sin(float64(i)/40)})
		most = max(most, cap(d.ticks), cap(d.power), cap(d.solver.rows), cap(d.solver.matrix.v)/12)
	}
	d.Flush()
	if cells != 35_999 || most > 2000 {
		t.Errorf("%d cells; %d updates were kept", cells, most)
	}
}

// Power is never negative, whatever the readings say.
func TestDeconvolverIsNotNegative(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 6))
	pulses := &load{}
	pulses.step(trace.Time(-10*time.Second), 0)
	until := trace.Time(time.Minute)
	for at := trace.Time(0); at < until; at = at.Add(time.Duration(300e6 + 2e9*rng.Float64())) {
		pulses.step(at, 500)
		at = at.Add(time.Duration(20e6 + 200e6*rng.Float64()))
		pulses.step(at, 0)
	}
	ticks := averages(pulses, until, rng, 20*time.Millisecond)
	noise := slices.Clone(ticks)
	for i := range noise {
		noise[i].Watts = 500 * rng.Float64()
	}
	for name, ticks := range map[string][]Tick{"pulses": ticks, "noise": noise} {
		zero := 0
		r := deconvolve(&Deconvolver{}, ticks)
		for _, c := range r.cells {
			if c.Microjoules < 0 {
				t.Fatalf("%s: %d uJ from %v to %v", name, c.Microjoules, c.From, c.To)
			}
			if c.Microjoules <= 1 {
				zero++
			}
		}
		if zero < 50 {
			t.Errorf("%s: %d cells at zero only: the bound was not tried", name, zero)
		}
		if name == "pulses" {
			if got := rms(r, pulses, 0, until-2*sec, 5*time.Second); got > 12 {
				t.Errorf("pulses: RMS error %.1f J in 5 s windows", got)
			}
		}
	}
}

// The same readings at another time give the same energies.
func TestDeconvolverShift(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 7))
	until := trace.Time(3 * time.Minute)
	ticks := averages(server(rng, until.Add(time.Second)), until, rng, 5*time.Millisecond)
	a := deconvolve(&Deconvolver{Top: 600}, ticks)
	for i := range ticks {
		ticks[i].At += 1_700_000_000_123_456_789
	}
	b := deconvolve(&Deconvolver{Top: 600}, ticks)
	if !slices.Equal(a.micro, b.micro) {
		t.Error("energies change with time")
	}
}

// Readings that do not follow the law are seen through: an average that begins an
// update late, as boards do now and then, moves no energy.
func TestDeconvolverDoubts(t *testing.T) {
	t.Parallel()
	l := &load{}
	l.step(trace.Time(-10*time.Second), 130)
	l.step(3050*ms, 415)
	l.step(9050*ms, 150)
	until := 14 * sec
	var ticks []Tick
	for u := -2 * sec; u < until; u += 100 * ms {
		span := 1100 * ms
		if u == 9800*ms || u == 4000*ms {
			span = 1000 * ms
		}
		ticks = append(ticks, Tick{At: u, Known: true, Watts: l.energy(u-span, u) / span.Seconds()})
	}
	r := deconvolve(&Deconvolver{}, ticks)
	for at := sec; at+sec < until-sec; at += 30 * ms {
		if got, want := r.energy(at, at+sec), l.energy(at, at+sec); math.Abs(got-want) > 8 {
			t.Errorf("from %v on: %.1f J in a second, want %.1f J", at, got, want)
		}
	}
}

func TestDeconvolverOfLittle(t *testing.T) {
	t.Parallel()
	known := func(at trace.Time, watts float64) Tick { return Tick{At: at, Known: true, Watts: watts} }
	for name, test := range map[string]struct {
		ticks []Tick
		want  []Cell
	}{
		"nothing":           {},
		"one update":        {ticks: []Tick{known(0, 5)}},
		"one at two times":  {ticks: []Tick{known(0, 5), known(ms/2, 7)}},
		"no average begins": {ticks: []Tick{known(0, 100), known(sec, 200)}, want: []Cell{{From: 0, To: sec, Microjoules: 200e6}}},
		"no power at all":   {ticks: []Tick{known(0, 0), known(sec, 0), known(2*sec, 0)}, want: []Cell{{From: 0, To: sec}, {From: sec, To: 2 * sec}}},
		"constant": {
			ticks: []Tick{{At: 0}, {At: sec}, known(2*sec, 70), known(3*sec, 70)},
			want:  []Cell{{From: 0, To: sec, Microjoules: 70e6}, {From: sec, To: 2 * sec, Microjoules: 70e6}, {From: 2 * sec, To: 3 * sec, Microjoules: 70e6}},
		},
	} {
		got := deconvolve(&Deconvolver{}, test.ticks).cells
		equal := len(got) == len(test.want)
		for i := 0; equal && i < len(got); i++ {
			off := got[i].Microjoules - test.want[i].Microjoules
			got[i].Microjoules -= off
			equal = got[i] == test.want[i] && off*off <= 1e6*1e6/1e4
		}
		if !equal {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
	// From leaves out what is before it, and a flush begins anew.
	d := &Deconvolver{From: trace.Some(500 * ms)}
	r := deconvolve(d, []Tick{known(0, 100), known(sec, 100), known(2*sec, 100)})
	if len(r.cells) != 2 || r.cells[0].From != 500*ms || math.Abs(float64(r.cells[0].Microjoules)-50e6) > 1e4 {
		t.Errorf("%+v", r.cells)
	}
	d.Add(known(9*sec, 100))
	d.Flush()
	if len(r.cells) != 2 {
		t.Errorf("the time between segments was filled: %+v", r.cells)
	}
}

// A slow reference: the same objective over the powers themselves, its normal
// equations as a whole matrix, no blocks.
func TestDeconvolverEqualsTheReference(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 8))
	until := trace.Time(5 * time.Second)
	l := server(rng, until.Add(time.Second))
	ticks := averages(l, until, rng, 5*time.Millisecond)
	got := deconvolve(&Deconvolver{Top: 600}, ticks)
	cells := len(ticks) - 1
	unit := 600 / topUnits
	type row struct {
		share []float64
		y     float64
	}
	var rows []row
	for i, u := range ticks {
		j := sort.Search(len(ticks), func(j int) bool { return u.At.Sub(ticks[j].At) < 1050*time.Millisecond }) - 1
		if !u.Known || j < 0 {
			continue
		}
		r := row{make([]float64, cells), u.Watts / unit}
		for k := j; k < i; k++ {
			r.share[k] = float64(ticks[k+1].At-ticks[k].At) / float64(u.At-ticks[j].At)
		}
		rows = append(rows, r)
	}
	p := make([]float64, cells)
	for range 100 {
		m := make([][]float64, cells)
		for i := range m {
			m[i] = make([]float64, cells+1)
		}
		for _, r := range rows {
			residual := -r.y
			for k, s := range r.share {
				residual += s * p[k]
			}
			w := huberUnits / max(huberUnits, math.Abs(residual))
			for i, s := range r.share {
				for j, q := range r.share {
					m[i][j] += w * s * q
				}
				m[i][cells] += w * s * r.y
			}
		}
		for i := 1; i < cells; i++ {
			w := totalLambda / math.Sqrt((p[i]-p[i-1])*(p[i]-p[i-1])+1)
			m[i][i] += w
			m[i-1][i-1] += w
			m[i][i-1] -= w
			m[i-1][i] -= w
		}
		p = eliminate(m)
	}
	for i, c := range got.cells {
		want := p[i] * unit * c.To.Sub(c.From).Seconds()
		if math.Abs(float64(c.Microjoules)/1e6-want) > 0.1 {
			t.Errorf("from %v to %v: %.3f J, the reference %.3f J", c.From, c.To, float64(c.Microjoules)/1e6, want)
		}
	}
}

// Every machine gets the same bits: this sum was made on amd64.
func TestDeconvolverSameBits(t *testing.T) {
	t.Parallel()
	// Readings without the library's random numbers or its functions.
	x := uint64(1)
	var ticks []Tick
	for i := range 2000 {
		x = x*6364136223846793005 + 1442695040888963407
		ticks = append(ticks, Tick{At: trace.Time(i)*100*ms + trace.Time(x>>44), Known: true, Watts: 200 + float64(x>>40)/1e5})
	}
	h := fnv.New64a()
	for _, c := range deconvolve(&Deconvolver{Top: 400}, ticks).cells {
		binary.Write(h, binary.LittleEndian, c.Microjoules)
	}
	const want = 0x65a65a996c2ca62f
	if got := h.Sum64(); got != want {
		t.Errorf("got %#x, want %#x: either the deconvolution was changed or this machine rounds differently", got, uint64(want))
	}
}

func BenchmarkDeconvolveHour(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 9))
	until := trace.Time(time.Hour)
	ticks := averages(server(rng, until.Add(time.Second)), until, rng, 5*time.Millisecond)
	b.ReportAllocs()
	for b.Loop() {
		deconvolve(&Deconvolver{Top: 600}, ticks)
	}
}
