package attribute

import (
	"fmt"
	"hash/fnv"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"wattrace/trace"
)

const (
	ms  = trace.Time(time.Millisecond)
	sec = trace.Time(time.Second)
)

// run is a whole run to attribute.
type run struct {
	edges    []trace.Time
	step     time.Duration
	requests []*trace.Request
	total    []int64
	known    []bool
	idle     trace.Opt[float64]
	sees     time.Duration // what the sensor resolves; 0 is the default
	marks    []trace.Time
}

// both runs both passes, the second in the given order.
func (r *run) both(offset time.Duration, order []int) (*Attributor, []Share) {
	a := New(NewGrid(r.edges, r.step), Options{Resolution: r.sees, Marks: r.marks})
	for _, i := range order {
		a.Survey(r.requests[i], offset)
	}
	a.Energy(r.total, r.known, r.idle)
	shares := make([]Share, len(r.requests))
	for _, i := range order {
		shares[i] = a.Request(r.requests[i], offset)
	}
	return a, shares
}

func (r *run) inOrder() []int {
	order := make([]int, len(r.requests))
	for i := range order {
		order[i] = i
	}
	return order
}

// drawRequest draws any request that a log may hold, sane or not.
func drawRequest(t *rapid.T, until trace.Time) *trace.Request {
	instant := rapid.Int64Range(-int64(until/4), int64(until+until/4))
	q := &trace.Request{Sent: trace.Time(instant.Draw(t, "sent"))}
	at := q.Sent
	gap := rapid.Int64Range(0, int64(300*ms))
	if rapid.Bool().Draw(t, "streamed") {
		for range rapid.IntRange(0, 30).Draw(t, "events") {
			at += trace.Time(gap.Draw(t, "gap"))
			kind := rapid.SampledFrom([]trace.ChunkKind{trace.ChunkContent, trace.ChunkTool, trace.ChunkUsage}).Draw(t, "kind")
			q.Chunks = append(q.Chunks, trace.Chunk{At: at, Kind: kind})
			if kind.Output() {
				if !q.FirstToken.OK {
					q.FirstToken = trace.Some(at)
				}
				q.LastToken = trace.Some(at)
			}
		}
	}
	q.Done = at + trace.Time(gap.Draw(t, "rest"))
	q.Outcome = rapid.SampledFrom([]trace.Outcome{trace.Succeeded, trace.Failed, trace.Cancelled}).Draw(t, "outcome")
	if rapid.Bool().Draw(t, "counts") {
		q.InputTokens = trace.Some(rapid.Int64Range(-1, 1e10).Draw(t, "input"))
		q.OutputTokens = trace.Some(rapid.Int64Range(-1, 500).Draw(t, "output"))
		q.Usage = []byte(rapid.SampledFrom([]string{``, `{"prompt_tokens_details":{"cached_tokens": 20}}`,
			`{"metrics":{"queue_time_ms":35.5}}`}).Draw(t, "usage"))
	}
	return q
}

func drawRun(t *rapid.T) *run {
	r := &run{step: time.Duration(rapid.Int64Range(int64(5*ms), int64(70*ms)).Draw(t, "step"))}
	for _, at := range rapid.SliceOfNDistinct(rapid.Int64Range(0, int64(20*sec)), 2, 7, rapid.ID).Draw(t, "edges") {
		r.edges = append(r.edges, trace.Time(at))
	}
	slices.Sort(r.edges)
	n := NewGrid(r.edges, r.step).Len()
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	some := rapid.Bool().Draw(t, "unknown cells")
	for range n {
		r.total = append(r.total, rng.Int64N(5e6))
		r.known = append(r.known, !some || rng.IntN(5) > 0)
	}
	if rapid.Bool().Draw(t, "idle") {
		r.idle = trace.Some(rapid.Float64Range(0, 300).Draw(t, "idle watts"))
	}
	for range rapid.IntRange(0, 25).Draw(t, "requests") {
		r.requests = append(r.requests, drawRequest(t, 20*sec))
	}
	return r
}

func TestEnergyIsConservedToTheMicrojoule(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRun(t)
		a, shares := r.both(0, r.inOrder())
		var total, requests int64
		for k, e := range r.total {
			if r.known[k] {
				total += e
			}
		}
		for _, s := range shares {
			requests += s.Energy
			if s.Prefill.Energy+s.Decode.Energy != s.Energy {
				t.Fatalf("stages %d and %d are not the request's %d", s.Prefill.Energy, s.Decode.Energy, s.Energy)
			}
			for _, b := range []Stage{{s.Energy, s.Low, s.High, false}, s.Prefill, s.Decode} {
				if b.Low < 0 || b.Energy < b.Low || b.Energy > b.High {
					t.Fatalf("%d is not within %d and %d", b.Energy, b.Low, b.High)
				}
			}
			if s.Known < 0 || s.Known > 1 {
				t.Fatalf("%v of its time is known", s.Known)
			}
		}
		from, to := r.edges[0], r.edges[len(r.edges)-1]
		got, ok := a.Sum(from, to)
		if !ok || got.Total != total || got.Requests != requests || got.Idle+requests+got.Unattributed != total {
			t.Fatalf("%+v, %v: want total %d and requests %d", got, ok, total, requests)
		}
		if got.Unattributed < 0 || got.Idle < 0 || got.Prefill.Energy+got.Decode.Energy != got.Requests {
			t.Fatalf("%+v", got)
		}
		// Windows that meet add up, and none gives more than it has.
		var sum Totals
		for i := 1; i < len(r.edges); i++ {
			p, ok := a.Sum(r.edges[i-1], r.edges[i])
			if !ok || p.Unattributed < 0 || p.Idle+p.Requests+p.Unattributed != p.Total {
				t.Fatalf("%+v, %v", p, ok)
			}
			sum.Total, sum.Idle, sum.Requests, sum.Unattributed = sum.Total+p.Total, sum.Idle+p.Idle, sum.Requests+p.Requests, sum.Unattributed+p.Unattributed
			sum.Prefill.Energy, sum.Decode.Energy, sum.Unknown = sum.Prefill.Energy+p.Prefill.Energy, sum.Decode.Energy+p.Decode.Energy, sum.Unknown+p.Unknown
		}
		for _, s := range []*Stage{&got.Prefill, &got.Decode} {
			s.Low, s.High, s.Modelled = 0, 0, false
		}
		if d := cmp.Diff(got, sum); d != "" {
			t.Fatalf("windows do not add up:\n%s", d)
		}
	})
}

// Marks change nothing but where sums can be asked for, and the sums between them add
// up, with no part that is less than nothing.
func TestMarksLeaveNoTrace(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRun(t)
		plain, want := r.both(0, r.inOrder())
		for _, at := range rapid.SliceOfN(rapid.Int64Range(-int64(sec), int64(21*sec)), 1, 40).Draw(t, "marks") {
			r.marks = append(r.marks, trace.Time(at))
		}
		a, got := r.both(0, r.inOrder())
		if d := cmp.Diff(want, got); d != "" || a.Fit() != plain.Fit() {
			t.Fatal(d)
		}
		from, to := r.edges[0], r.edges[len(r.edges)-1]
		inside := []trace.Time{from}
		for _, at := range slices.Sorted(slices.Values(append(r.marks, r.edges...))) {
			if at >= from && at <= to {
				inside = append(inside, at)
			} else if _, ok := a.Sum(min(at, from), max(at, to)); ok {
				t.Fatalf("a sum until %d, which is out of the grid", at)
			}
		}
		sums := func(p Totals) [6]int64 {
			return [6]int64{p.Total, p.Idle, p.Requests, int64(p.Unknown), p.Prefill.Energy, p.Decode.Energy}
		}
		var sum [6]int64
		for i := 1; i < len(inside); i++ {
			p, ok := a.Sum(inside[i-1], inside[i])
			if !ok || p.Idle+p.Requests+p.Unattributed != p.Total {
				t.Fatalf("%+v, %v", p, ok)
			}
			for k, v := range sums(p) {
				if v < 0 {
					t.Fatalf("less than nothing: %+v", p)
				}
				sum[k] += v
			}
		}
		whole, _ := plain.Sum(from, to)
		if sum != sums(whole) {
			t.Fatalf("%v in parts, %v as a whole", sum, sums(whole))
		}
		// An instant within a cell divides it by time.
		for _, at := range r.marks {
			k, ok := a.grid.Cell(at)
			if !ok {
				continue
			}
			p, _ := a.Sum(from, at)
			least, most := int64(0), int64(0)
			for c := range k {
				if a.knows(c) {
					least += r.total[c]
				}
			}
			if a.knows(k) {
				most = r.total[k]
			}
			share := float64(most) * float64(at-a.grid.Bound(k)) / float64(a.length(k))
			if d := float64(p.Total-least) - share; d > 1 || d < -1 {
				t.Fatalf("%d of a cell's %d, want %v", p.Total-least, most, share)
			}
		}
	})
}

func TestOrderOfRequestsDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRun(t)
		_, want := r.both(0, r.inOrder())
		_, got := r.both(0, rapid.Permutation(r.inOrder()).Draw(t, "order"))
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestShiftOfTimeDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawRun(t)
		_, want := r.both(0, r.inOrder())
		shift := time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(t, "shift"))
		moved := *r
		moved.edges = nil
		for _, e := range r.edges {
			moved.edges = append(moved.edges, e.Add(shift))
		}
		_, got := moved.both(shift, r.inOrder())
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

// slowly shares the energy of each cell as the modes time and tokens are
// described, with rational numbers and without any bookkeeping by cell.
func slowly(r *run) (byTime, byTokens []*big.Rat) {
	g := NewGrid(r.edges, r.step)
	for range r.requests {
		byTime, byTokens = append(byTime, new(big.Rat)), append(byTokens, new(big.Rat))
	}
	overlap := func(a, b, c, d trace.Time) int64 { return max(int64(min(b, d)-max(a, c)), 0) }
	for k := range g.Len() {
		from, to := g.Bound(k), g.Bound(k+1)
		inFlight, tokens := make([]*big.Rat, len(r.requests)), make([]*big.Rat, len(r.requests))
		sumF, sumT := new(big.Rat), new(big.Rat)
		for i, q := range r.requests {
			inFlight[i] = big.NewRat(overlap(q.Sent, q.LastToken.V, from, to), 1)
			w := big.NewRat(overlap(q.Sent, q.FirstToken.V, from, to)*q.InputTokens.V, int64(q.FirstToken.V-q.Sent))
			prev := q.FirstToken.V
			for _, c := range q.Chunks[1:] {
				each := big.NewRat(q.OutputTokens.V*outputWorth, int64(len(q.Chunks)))
				w.Add(w, each.Mul(each, big.NewRat(overlap(prev, c.At, from, to), int64(c.At-prev))))
				prev = c.At
			}
			tokens[i] = w
			sumF.Add(sumF, inFlight[i])
			sumT.Add(sumT, w)
		}
		give := func(to []*big.Rat, w []*big.Rat, sum *big.Rat) {
			for i := range w {
				if sum.Sign() > 0 {
					x := new(big.Rat).Quo(w[i], sum)
					to[i].Add(to[i], x.Mul(x, big.NewRat(r.total[k], 1)))
				}
			}
		}
		give(byTime, inFlight, sumF)
		give(byTokens, tokens, sumT)
	}
	return byTime, byTokens
}

func TestFastAgreesWithSlow(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 1))
	for range 20 {
		r := &run{edges: []trace.Time{0, 333 * ms, 1200*ms + 7, 2 * sec}, step: 25 * time.Millisecond, sees: 1}
		for range NewGrid(r.edges, r.step).Len() {
			r.total = append(r.total, rng.Int64N(5e6))
		}
		for range 1 + rng.IntN(8) {
			at := trace.Time(rng.Int64N(int64(sec)))
			q := &trace.Request{Sent: at, InputTokens: trace.Some(rng.Int64N(900)), Outcome: trace.Succeeded,
				Usage: []byte(`{"metrics":{"queue_time_ms": 0}}`)}
			n := 1 + rng.IntN(9)
			for i := range n {
				at += 1 + trace.Time(rng.Int64N(int64(90*ms)))
				q.Chunks = append(q.Chunks, trace.Chunk{At: at, Kind: trace.ChunkContent})
				if i == 0 {
					q.FirstToken = trace.Some(at)
				}
			}
			q.LastToken, q.Done, q.OutputTokens = trace.Some(at), at, trace.Some(int64(n))
			r.requests = append(r.requests, q)
		}
		_, shares := r.both(0, r.inOrder())
		byTime, byTokens := slowly(r)
		for i, s := range shares {
			for _, c := range []struct {
				name string
				got  int64
				want *big.Rat
			}{{"time", s.Time, byTime[i]}, {"tokens", s.Tokens, byTokens[i]}} {
				want, _ := c.want.Float64()
				// Two stages, each whole microjoules in 83 cells; weights in 2^-18 tokens.
				if d := want - float64(c.got); d < -1-1e-4*want || d > 170+1e-4*want {
					t.Errorf("%s: %d, slowly %.1f", c.name, c.got, want)
				}
			}
		}
	}
}

func TestSingleRequest(t *testing.T) {
	t.Parallel()
	q := &trace.Request{Sent: 100 * ms, FirstToken: trace.Some(300 * ms), LastToken: trace.Some(900 * ms), Done: 905 * ms,
		InputTokens: trace.Some[int64](100), OutputTokens: trace.Some[int64](3), Outcome: trace.Succeeded,
		Chunks: []trace.Chunk{{At: 300 * ms, Kind: trace.ChunkContent}, {At: 500 * ms, Kind: trace.ChunkContent}, {At: 900 * ms, Kind: trace.ChunkContent}}}
	r := &run{edges: []trace.Time{0, 100 * ms, 900 * ms, sec}, step: 100 * time.Millisecond, requests: []*trace.Request{q},
		total: []int64{1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6}, idle: trace.Some(2.0)}
	a, shares := r.both(0, []int{0})
	if got := shares[0].Time; got < 6.4e6-16 || got > 6.4e6 {
		t.Errorf("in flight alone for 0.8 s at 8 W above rest: %d µJ", got)
	}
	if !shares[0].UnknownCached || shares[0].UnknownInput || shares[0].UnknownStages || shares[0].Known != 1 {
		t.Errorf("%+v", shares[0])
	}
	if shares[0].Prefill.Modelled || shares[0].Decode.Modelled {
		t.Error("stages of 200 ms and more are called modelled")
	}
	got, ok := a.Sum(0, 100*ms)
	want := Totals{Total: 1e6, Idle: 2e5, Unattributed: 8e5}
	if d := cmp.Diff(want, got); !ok || d != "" {
		t.Error("before it was sent:", d)
	}
	if _, ok := a.Sum(0, 150*ms); ok {
		t.Error("a sum until no edge")
	}
}

func TestEdgeCases(t *testing.T) {
	t.Parallel()
	point := &trace.Request{Sent: 50 * ms, Done: 50 * ms, OutputTokens: trace.Some[int64](4), Outcome: trace.Succeeded}
	outside := &trace.Request{Sent: 2 * sec, Done: 3 * sec, OutputTokens: trace.Some[int64](4)}
	bare := &trace.Request{Sent: 20 * ms, Done: 90 * ms, Outcome: trace.Cancelled}
	refused := &trace.Request{Sent: 20 * ms, Done: 90 * ms, Outcome: trace.Failed, Status: trace.Some(429), ExpectedInput: trace.Some[int64](1000)}
	late := &trace.Request{Sent: 90 * ms, Done: 190 * ms, OutputTokens: trace.Some[int64](10)} // cell 9 is its first
	for _, c := range []struct {
		name   string
		q      *trace.Request
		watts  float64 // of every cell
		known  int     // cells from the first on
		time   int64
		tokens int64
		part   float64 // of its time that is known
	}{
		{"a point has tokens and no time", point, 10, 10, 0, 1e5, 1},
		{"outside the grid", outside, 10, 10, 0, 0, 0},
		{"no tokens known", bare, 10, 10, 7e5, 7e5, 1},
		{"refused by the server", refused, 10, 10, 0, 0, 1},
		{"no energy", point, 0, 10, 0, 0, 1},
		{"reaches out of the grid", late, 10, 10, 1e5, 1e5, 0.1},
		{"partly unknown", bare, 10, 5, 3e5, 3e5, 3. / 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := &run{edges: []trace.Time{0, 100 * ms}, requests: []*trace.Request{c.q}, sees: 1}
			for k := range 10 {
				r.total, r.known = append(r.total, int64(c.watts*1e4)), append(r.known, k < c.known)
			}
			a, shares := r.both(0, []int{0})
			near := func(got, want int64) bool { return got <= want && got >= want-10 }
			if s := shares[0]; !near(s.Time, c.time) || !near(s.Tokens, c.tokens) || s.Known != c.part {
				t.Errorf("time %d, tokens %d, known %v: want %d, %d, %v", s.Time, s.Tokens, s.Known, c.time, c.tokens, c.part)
			}
			sum, _ := a.Sum(0, 100*ms)
			if want := time.Duration(10-c.known) * DefaultStep; sum.Unknown != want {
				t.Errorf("unknown %v, want %v", sum.Unknown, want)
			}
		})
	}
}

func TestCellsOfAGrid(t *testing.T) {
	t.Parallel()
	g := NewGrid([]trace.Time{45, 0, 20, 20}, 10)
	var bounds []trace.Time
	for i := range g.Len() + 1 {
		bounds = append(bounds, g.Bound(i))
	}
	if d := cmp.Diff([]trace.Time{0, 10, 20, 30, 40, 45}, bounds); d != "" {
		t.Error(d)
	}
	for at := trace.Time(-3); at < 50; at++ {
		want, ok := -1, false
		for i := 1; i < len(bounds); i++ {
			if at >= bounds[i-1] && at < bounds[i] {
				want, ok = i-1, true
			}
		}
		if got, in := g.Cell(at); in != ok || ok && got != want {
			t.Errorf("Cell(%d) = %d, %v: want %d, %v", at, got, in, want, ok)
		}
	}
	if n := NewGrid([]trace.Time{7}, 10).Len(); n != 0 {
		t.Errorf("one edge makes %d cells", n)
	}
	long := NewGrid([]trace.Time{0, 1 << 60}, 0)
	if long.Len() > maxCells || long.Bound(long.Len()) != 1<<60 {
		t.Errorf("%d cells until %d", long.Len(), long.Bound(long.Len()))
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		usage string
		want  int64
		ok    bool
	}{
		{`{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":6}}`, 6, true},
		{`{"input_tokens_details": {"cached_tokens" : 0 }}`, 0, true},
		{`{"prompt_tokens_details":null}`, 0, false},
		{`{"cached_tokens":null}`, 0, false},
		{`{"cached_tokens":-1}`, 0, false},
		{`{"cached_tokens":1e300}`, 0, false},
		{`{"cached_tokens"`, 0, false},
		{``, 0, false},
	} {
		if got, ok := CachedTokens([]byte(c.usage)); got != c.want || ok != c.ok {
			t.Errorf("%s: %d, %v", c.usage, got, ok)
		}
	}
	q := &trace.Request{Usage: []byte(`{"metrics":{"queue_time_ms":12.5}}`)}
	if got, ok := queueTime(q); !ok || got != 12500*time.Microsecond {
		t.Errorf("queue time %v, %v", got, ok)
	}
}

// Shares are the same bits on every machine: the sum is of a run of 60 s with
// a fit, made with integers alone.
func TestSharesArePinned(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 1))
	r := &run{edges: []trace.Time{0, 20*sec + 3, 60 * sec}, idle: trace.Some(90.25)}
	active := make([]int64, 6000)
	for range 300 {
		at := trace.Time(rng.Int64N(int64(55 * sec)))
		q := &trace.Request{Sent: at, InputTokens: trace.Some(50 + rng.Int64N(3000)), Outcome: trace.Succeeded}
		at += 40*ms + trace.Time(q.InputTokens.V)*ms/20
		for k := q.Sent / (10 * ms); k < at/(10*ms); k++ {
			active[k] += 1_500_000
		}
		n := 1 + rng.IntN(120)
		for i := range n {
			q.Chunks = append(q.Chunks, trace.Chunk{At: at, Kind: trace.ChunkContent})
			if i == 0 {
				q.FirstToken = trace.Some(at)
			}
			active[at/(10*ms)] += 300_000
			at += 15*ms + trace.Time(rng.Int64N(int64(10*ms)))
		}
		q.Done = q.Chunks[n-1].At
		q.LastToken, q.OutputTokens = trace.Some(q.Done), trace.Some(int64(n))
		r.requests = append(r.requests, q)
	}
	g := NewGrid(r.edges, 0)
	for k := range g.Len() {
		r.total = append(r.total, active[min(g.Bound(k)/(10*ms), 5999)]+902_500+rng.Int64N(200_000))
	}
	a, shares := r.both(0, r.inOrder())
	if a.Mode() != ModeFitted {
		t.Fatalf("refused: %s", a.Fit().Refused)
	}
	for i, s := range shares {
		if s.Prefill.High > s.High || s.Decode.High > s.High {
			t.Errorf("share %d: a stage may be more than all of it: %+v", i, s)
		}
	}
	h := fnv.New64a()
	fmt.Fprint(h, shares, a.Fit())
	if got := h.Sum64(); got != pinned {
		t.Errorf("%#x, want %#x: %+v", got, uint64(pinned), a.Fit())
	}
}

// pinned is the sum of TestSharesArePinned. It changes with the arithmetic only.
const pinned = 0xf5c333203c620900

// A request that the server says waited gets nothing of that time while others
// are served.
func TestQueueMovesPrefill(t *testing.T) {
	t.Parallel()
	one := func(sent, first, last trace.Time, input, output int64) *trace.Request {
		return &trace.Request{Sent: sent, FirstToken: trace.Some(first), LastToken: trace.Some(last), Done: last,
			InputTokens: trace.Some(input), OutputTokens: trace.Some(output)}
	}
	waits := one(0, 100*ms, 100*ms, 100, 1)
	waits.Usage = []byte(`{"metrics":{"queue_time_ms":50}}`)
	served := one(0, 0, 50*ms, 0, 6)
	r := &run{edges: []trace.Time{0, 50 * ms, 100 * ms}, requests: []*trace.Request{waits, served}}
	for range 10 {
		r.total = append(r.total, 1000)
	}
	_, shares := r.both(0, r.inOrder())
	if got := [2]int64{shares[0].Tokens, shares[1].Tokens}; got[0] < 4990 || got[0] > 5000 || got[1] < 4990 || got[1] > 5000 {
		t.Errorf("%d µJ to the one that waited 50 of 100 ms, %d µJ to the one served meanwhile", got[0], got[1])
	}
}

// Where all wait, as far as the supposed rate of prefills says, what is drawn is
// theirs all the same.
func TestSlowPrefillIsAttributed(t *testing.T) {
	t.Parallel()
	q := &trace.Request{Sent: 0, FirstToken: trace.Some(sec), LastToken: trace.Some(sec), Done: sec,
		InputTokens: trace.Some[int64](100), OutputTokens: trace.Some[int64](1)}
	r := &run{edges: []trace.Time{0, sec}, requests: []*trace.Request{q}}
	for range 100 {
		r.total = append(r.total, 1e6)
	}
	a, _ := r.both(0, []int{0})
	if sum, _ := a.Sum(0, sec); sum.Unattributed > 300 {
		t.Errorf("%d of %d µJ are nobody's", sum.Unattributed, sum.Total)
	}
}

// Of a request that is not streamed nothing says which of its energy is prefill:
// its own bounds and those of a window say so. Its tokens leave the decode something.
func TestStagesThatAreNotKnown(t *testing.T) {
	t.Parallel()
	q := &trace.Request{Sent: 0, LastToken: trace.Some(sec), Done: sec, InputTokens: trace.Some[int64](800), OutputTokens: trace.Some[int64](50),
		Usage: []byte(`{"prompt_tokens_details":{"cached_tokens":0}}`)}
	r := &run{edges: []trace.Time{0, sec}, requests: []*trace.Request{q}}
	for range 100 {
		r.total = append(r.total, 1e6)
	}
	a, shares := r.both(0, []int{0})
	s := &shares[0]
	if s.Prefill.Low != 0 || s.Decode.High != s.High || s.Prefill.High+s.Decode.Low != s.High {
		t.Errorf("prefill %+v, decode %+v of %d to %d", s.Prefill, s.Decode, s.Low, s.High)
	}

	if s.Decode.Low < s.Energy/4 || s.Decode.Low > s.Decode.Energy {
		t.Errorf("of 50 tokens' decode no less than %d of %d", s.Decode.Low, s.Energy)
	}
	if !s.UnknownStages {
		t.Error("stages are called known")
	}
	sum, _ := a.Sum(0, sec)
	if sum.Prefill.Low != 0 || sum.Decode.Low != 0 || sum.Prefill.High < sum.Requests || sum.Decode.High < sum.Requests {
		t.Errorf("window: prefill %+v, decode %+v of %d", sum.Prefill, sum.Decode, sum.Requests)
	}
}

// Where the server does not say what it had in its cache, a request took no less than
// its decode, and more than it seems if others' prompts were in there.
func TestCacheThatIsNotTold(t *testing.T) {
	t.Parallel()
	share := func(usage string) Share {
		q := &trace.Request{Sent: 0, FirstToken: trace.Some(sec / 2), LastToken: trace.Some(sec), Done: sec, Usage: []byte(usage),
			InputTokens: trace.Some[int64](8000), OutputTokens: trace.Some[int64](51)}
		r := &run{edges: []trace.Time{0, sec}, requests: []*trace.Request{q}}
		for range 100 {
			r.total = append(r.total, 1e6)
		}
		_, shares := r.both(0, []int{0})
		return shares[0]
	}
	told, not := share(`{"prompt_tokens_details":{"cached_tokens":0}}`), share(`{}`)
	if not.Energy != told.Energy || not.Prefill.Energy != told.Prefill.Energy || told.UnknownCached || !not.UnknownCached {
		t.Fatalf("told %+v, not told %+v", told, not)
	}
	if not.Prefill.Low != 0 || not.Low != told.Decode.Low || not.Low < not.Energy/5 {
		t.Errorf("no less than %d, of which prefill %d, of %d; its decode is no less than %d", not.Low, not.Prefill.Low, not.Energy, told.Decode.Low)
	}
	more := told.Prefill.Energy / 4
	if not.High != told.High+more || not.Prefill.High != told.Prefill.High+more || not.Decode.High != told.Decode.High+more {
		t.Errorf("told %+v, not told %+v", told, not)
	}
}

// What the log does not tell of prompts, the fit takes for too little.
func TestAttenuated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		blind, all         int64
		energy, most, want int64
	}{
		{0, 100, 1000, 5000, 0},
		{0, 0, 1000, 5000, 0},
		{50, 100, 1000, 5000, 1000},
		{75, 100, 1000, 5000, 3000},
		{75, 100, 1000, 2000, 2000},
		{75, 100, 1000, -5, 0},
		{100, 100, 1000, 5000, 5000},
		{1<<62 - 1, 1 << 62, 1 << 60, 5000, 5000},
	} {
		a := &Attributor{prompts: [2]int64{c.blind, c.all}}
		if got := a.attenuated(c.energy, c.most); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// Answers that come in one piece do not say how many steps a cell had.
func TestStepsAreCountedFromStreams(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		w    row
		want float64
	}{
		{"one stream", row{output: 40, decode: 100}, 40},
		{"two streams", row{output: 80, decode: 200}, 40},
		{"one that is not streamed beside it", row{output: 45, decode: 200, unpacedOutput: 5, unpacedDecode: 100}, 40},
		{"none that is streamed", row{output: 30, decode: 200, unpacedOutput: 30, unpacedDecode: 200}, 15},
		{"for half of the cell", row{output: 20, decode: 50}, 20},
	} {
		if got, _ := steps(&c.w, 100, false); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func BenchmarkSurvey(b *testing.B)  { benchmark(b, true) }
func BenchmarkRequest(b *testing.B) { benchmark(b, false) }

// benchmark passes over requests of 200 events in 4 s, 32 at a time.
func benchmark(b *testing.B, survey bool) {
	var requests []*trace.Request
	for i := range 1000 {
		at := trace.Time(i) * 125 * ms
		q := &trace.Request{Sent: at, InputTokens: trace.Some[int64](500), OutputTokens: trace.Some[int64](200), Outcome: trace.Succeeded}
		for range 200 {
			at += 20 * ms
			q.Chunks = append(q.Chunks, trace.Chunk{At: at, Kind: trace.ChunkContent})
		}
		q.FirstToken, q.LastToken, q.Done = trace.Some(q.Chunks[0].At), trace.Some(at), at
		requests = append(requests, q)
	}
	a := New(NewGrid([]trace.Time{0, 130 * sec}, 0), Options{})
	for _, q := range requests {
		a.Survey(q, 0)
	}
	if !survey {
		total := make([]int64, a.grid.Len())
		for k := range total {
			total[k] = 4e6
		}
		a.Energy(total, nil, trace.Some(100.0))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if q := requests[i%len(requests)]; survey {
			a.Survey(q, 0)
		} else {
			a.Request(q, 0)
		}
	}
}
