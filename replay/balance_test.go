package replay

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

func TestLeastInFlight(t *testing.T) {
	t.Parallel()
	b, err := newBalancer(Least, 3)
	if err != nil {
		t.Fatal(err)
	}
	pick := func(want int) {
		t.Helper()
		if got := b.pick(0, "x"); got != want {
			t.Errorf("target %d, not %d", got, want)
		}
	}
	for _, want := range []int{0, 1, 2, 0} { // ties go round
		pick(want)
	}
	b.done(1) // 2 0 1
	pick(1)   // 2 1 1
	pick(2)   // 2 1 2
	pick(1)   // 2 2 2
	pick(2)
}

func TestStickyIsEven(t *testing.T) {
	t.Parallel()
	for _, targets := range []int{2, 3, 7, 8} {
		b, err := newBalancer(Sticky, targets)
		if err != nil {
			t.Fatal(err)
		}
		count := make([]int, targets)
		const names = 8000
		for i := range names {
			name := conversationName("", int64(i))
			to := b.pick(int64(i), name)
			if again := b.pick(int64(i)+5, name); again != to {
				t.Fatalf("%s went to %d and to %d", name, to, again)
			}
			count[to]++
		}
		for _, n := range count {
			if mean := names / targets; n < mean*3/4 || n > mean*5/4 {
				t.Errorf("%d targets got %v", targets, count)
			}
		}
	}
}

func TestUnknownBalance(t *testing.T) {
	t.Parallel()
	_, err := New(Options{Turns: plainTurns(1), Targets: []Target{{}}, Balance: "best",
		Plan: trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1}}}})
	if err == nil || err.Error() != `balance "best": want round-robin, least or sticky` {
		t.Errorf("%v", err)
	}
}

// TestBalanceInARun checks where three conversations go, twice over.
func TestBalanceInARun(t *testing.T) {
	for balance, check := range map[Balance]func(by map[string][]int) bool{
		// In turn, and on from there in the second lap.
		RoundRobin: func(by map[string][]int) bool {
			return cmp.Equal(by, map[string][]int{"a": {0, 0, 1, 1}, "b": {1, 1, 0, 0}, "c": {0, 0, 1, 1}})
		},
		Sticky: func(by map[string][]int) bool {
			for _, to := range by {
				if len(slices.Compact(to)) != 1 {
					return false
				}
			}
			return true
		},
		// The first target is slow: one request is there for a long time.
		Least: func(by map[string][]int) bool {
			n := 0
			for _, to := range by {
				for _, target := range to {
					n += 1 - target
				}
			}
			return n <= 3
		},
	} {
		t.Run(string(balance), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// By target, not by order: which of two slots is first is nobody's to say.
				f, slow := &fakeServer{latency: every(time.Second)}, atomic.Bool{}
				transport := roundTripper(func(req *http.Request) (*http.Response, error) {
					if balance == Least && req.URL.Host == "one" && !slow.Swap(true) {
						if err := sleep(req.Context(), time.Hour); err != nil {
							return nil, err
						}
					}
					return f.RoundTrip(req)
				})
				concurrency := 1
				if balance == Least {
					concurrency = 2
				}
				e, err := New(Options{
					Turns: talks("a0 a1 b0 b1 c0 c1"), Targets: []Target{target(t, "http://one"), target(t, "http://two")}, Balance: balance,
					Plan:   trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: concurrency, Requests: 12}}},
					Client: ClientOptions{Transport: transport},
				})
				if err != nil {
					t.Fatal(err)
				}
				s := &story{}
				if _, err := e.Run(t.Context(), nil, s); err != nil {
					t.Fatal(err)
				}
				slices.SortFunc(s.requests, func(a, b trace.Request) int { return int(a.Seq - b.Seq) })
				by := map[string][]int{}
				for _, q := range s.requests {
					by[q.Conversation] = append(by[q.Conversation], q.Target)
				}
				if !check(by) {
					t.Error(fmt.Sprint(by))
				}
			})
		})
	}
}
