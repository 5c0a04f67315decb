package attribute

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

// TestFork: requests that forks take at the same time, of two logs one after the other,
// get what they get one by one.
func TestFork(t *testing.T) {
	t.Parallel()
	var log []*trace.Request
	for i := range trace.Time(300) {
		q := &trace.Request{Sent: i * 100 * ms, FirstToken: trace.Some(i*100*ms + 150*ms), InputTokens: trace.Some(int64(100 + i*i%700)), Outcome: trace.Succeeded}
		for k := range 20 + i*37%90 {
			q.Chunks = append(q.Chunks, trace.Chunk{At: q.FirstToken.V + k*(13*ms+i), Kind: trace.ChunkContent})
		}
		q.LastToken = trace.Some(q.Chunks[len(q.Chunks)-1].At)
		q.Done = q.LastToken.V
		if i < 150 && i%3 == 1 { // not streamed
			q.FirstToken, q.Chunks, q.OutputTokens = trace.Opt[trace.Time]{}, nil, trace.Some(int64(len(q.Chunks)))
		}
		log = append(log, q)
	}
	run := func(goroutines int) ([]Share, Totals, Fit) {
		grid := NewGrid([]trace.Time{0, 7 * sec, 33 * sec}, 0)
		a := New(grid, Options{Resolution: 100 * time.Millisecond, Marks: []trace.Time{9*sec + 3}})
		some := func(from, until int, use func(a *Attributor, i int)) {
			var all sync.WaitGroup
			var forks []*Attributor
			for g := range goroutines {
				fork := a.Fork()
				forks = append(forks, fork)
				all.Go(func() {
					for i := from + g; i < until; i += goroutines {
						use(fork, i)
					}
				})
			}
			all.Wait()
			for _, fork := range forks {
				a.Join(fork)
			}
		}
		each := func(use func(a *Attributor, i int)) {
			if goroutines == 0 {
				for i := range log {
					use(a, i)
				}
				return
			}
			some(0, 150, use)
			some(150, len(log), use)
		}
		each(func(a *Attributor, i int) { a.Survey(log[i], time.Second) })
		microjoules := make([]int64, grid.Len())
		for k := range microjoules {
			microjoules[k] = 3_000_000 + int64(k%7)*40_000
		}
		a.Energy(microjoules, nil, trace.Opt[float64]{})
		shares := make([]Share, len(log))
		each(func(a *Attributor, i int) { shares[i] = a.Request(log[i], time.Second) })
		sum, ok := a.Sum(9*sec+3, 33*sec)
		if u := a.Unstreamed(); u < 0.1 || u > 0.3 || !ok {
			t.Errorf("%v of the prompts are not streamed; %v", u, ok)
		}
		return shares, sum, a.Fit()
	}
	shares, sum, fit := run(0)
	for range 5 {
		got, gotSum, gotFit := run(4)
		if diff := cmp.Diff(shares, got); diff != "" || gotSum != sum || gotFit != fit {
			t.Fatalf("%+v, want %+v\n%+v, want %+v\n%s", gotSum, sum, gotFit, fit, diff)
		}
	}
}
