package replay

import (
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"wattrace/trace"
)

func TestHistogramBuckets(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Int64Range(0, math.MaxInt64).Draw(t, "v") >> rapid.IntRange(0, 62).Draw(t, "shift")
		b := bucket(v)
		if hi := int64(top(b)); v > hi || float64(hi-v) > float64(v)/16 {
			t.Fatalf("%d is in bucket %d, up to %d", v, b, hi)
		}
		if b > 0 && int64(top(b-1)) >= v {
			t.Fatalf("%d is in bucket %d, and %d in the one before", v, b, top(b-1))
		}
	})
	if got := bucket(math.MaxInt64); got != buckets-1 {
		t.Errorf("the longest is in bucket %d of %d", got, buckets)
	}
}

func TestHistogramQuantiles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var h histogram
		all := rapid.SliceOfN(rapid.Int64Range(-5, 1e10), 1, 300).Draw(t, "all")
		for _, v := range all {
			h.add(time.Duration(v))
		}
		slices.Sort(all)
		var c counts
		h.counts(&c)
		for _, q := range []float64{0, 0.5, 0.99, 1} {
			want := float64(max(0, all[int(q*float64(len(all)-1))]))
			if got, ok := c.quantile(q); !ok || float64(got) < want || float64(got) > want*17/16 {
				t.Fatalf("quantile %g: %d, want %g", q, got, want)
			}
		}
	})
}

func TestSchedulerQuantile(t *testing.T) {
	t.Parallel()
	bounds := []float64{math.Inf(-1), 0, 1e-6, 1e-3, math.Inf(1)}
	for q, want := range map[float64]time.Duration{0.5: time.Microsecond, 0.99: time.Millisecond} {
		if got := quantile([]uint64{0, 90, 10, 0}, bounds, q); got.V != want {
			t.Errorf("%g: %v", q, got)
		}
	}
	if got := quantile([]uint64{0, 0, 0, 1}, bounds, 0.5); got.V != time.Millisecond {
		t.Errorf("without a bound: %v", got)
	}
	if got := quantile(make([]uint64, 4), bounds, 0.5); got.OK {
		t.Errorf("of nothing: %v", got)
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	ms := func(n float64) trace.Opt[time.Duration] { return trace.Some(time.Duration(n * 1e6)) }
	for name, test := range map[string]struct {
		j    Judgement
		want ClientVerdict
	}{
		"nothing known":         {Judgement{}, ClientOK},
		"on time":               {Judgement{LatenessP99: ms(0.9)}, ClientOK},
		"late":                  {Judgement{LatenessP99: ms(1.1)}, ClientLate},
		"slow answers":          {Judgement{LatenessP99: ms(1.1), MeanGap: ms(200)}, ClientOK},
		"later than those":      {Judgement{LatenessP99: ms(2.1), MeanGap: ms(200)}, ClientLate},
		"waits for a processor": {Judgement{SchedP99: ms(1.1)}, ClientSaturated},
		"busy for a moment":     {Judgement{BusyShare: trace.Some(0.05)}, ClientOK},
		"busy":                  {Judgement{BusyShare: trace.Some(0.06), LatenessP99: ms(9)}, ClientSaturated},
	} {
		if test.j.judge(); test.j.Verdict != test.want {
			t.Errorf("%s: %s, want %s", name, test.j.Verdict, test.want)
		}
	}
}

// slowSink stands still once, at the first request that it is given.
type slowSink struct {
	story
	stall time.Duration
}

func (s *slowSink) Request(q *trace.Request) error {
	time.Sleep(s.stall)
	s.stall = 0
	return s.story.Request(q)
}

func stalledLog(t *testing.T, turns int, ph trace.Phase) (*slowSink, Result) {
	t.Helper()
	e, err := New(Options{
		Turns: plainTurns(turns), Targets: []Target{target(t, "http://server")},
		Client: ClientOptions{Transport: &fakeServer{latency: every(time.Millisecond)}},
		Plan:   trace.Plan{Phases: []trace.Phase{ph}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &slowSink{stall: time.Minute}
	res, err := e.Run(t.Context(), nil, s)
	if err != nil {
		t.Fatal(err)
	}
	if res.Sent != int64(len(s.requests)) || res.Sent != int64(len(s.sent)) || int(res.Sent) != turns {
		t.Errorf("%d sent, %d and %d logged, of %d", res.Sent, len(s.sent), len(s.requests), turns)
	}
	return s, res
}

// A log that stands still for a minute delays no request of an open loop: the
// queue grows, and is written later.
func TestStalledLogDelaysNoOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20000 // in 50 s: two entries each are more than the queue may have before slots wait
		s, res := stalledLog(t, n, trace.Phase{Name: "p", Kind: trace.Measure, Load: trace.Load{Rate: 400, Arrival: trace.Constant}})
		for i := range s.requests {
			if q := &s.requests[i]; q.Sent != q.Scheduled {
				t.Fatalf("request %d was due at %v and sent at %v", q.Seq, time.Duration(q.Scheduled), time.Duration(q.Sent))
			}
		}
		if j := res.Client; j.Verdict != ClientOK || j.LogBlocked != 0 || j.LatenessMax.V != 0 {
			t.Errorf("%+v", j)
		}
		longest := 0
		for _, u := range s.uses {
			longest = max(longest, u.Queue)
		}
		if longest < 2*maxQueue {
			t.Errorf("the queue had %d entries at most", longest)
		}
	})
}

// A closed loop waits for its log before memory grows without bound: that is
// counted, and shows as lateness.
func TestStalledLogHoldsSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20000
		s, res := stalledLog(t, n, trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 1, Requests: n})
		late := time.Duration(0)
		for i := range s.requests {
			late = max(late, s.requests[i].Sent.Sub(s.requests[i].Scheduled))
		}
		if j := res.Client; j.LogBlocked == 0 || j.LogBlocked > time.Minute || late != j.LogBlocked || j.LatenessMax.V != late {
			t.Errorf("blocked for %v, one %v late: %+v", res.Client.LogBlocked, late, j)
		}
	})
}

// Whom a gate held was not due before it let him through.
func TestGatesAreNoLateness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, res := replayed(t, plainTurns(4), &fakeServer{latency: every(2500 * time.Millisecond)}, nil,
			trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 1, Load: trace.Load{Rate: 1, Arrival: trace.Constant}})
		if j := res.Client; j.Verdict != ClientOK || j.LatenessMax.V != 0 || j.Held != 3 {
			t.Errorf("%+v", j)
		}
		held := 0
		for _, u := range s.uses {
			held = max(held, u.Held)
		}
		if held != 2 {
			t.Errorf("%d waited at once", held)
		}
	})
}

// Lateness is that of measuring phases, in the interval in which it was.
func TestLatenessOfTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := trace.NewSteadyClock()
		load := trace.Load{Rate: 1, Arrival: trace.Constant}
		e, err := New(Options{
			Turns: plainTurns(3), Targets: []Target{target(t, "http://server")}, Clock: clock,
			Client:  ClientOptions{Transport: &fakeServer{latency: every(time.Millisecond)}},
			Sleeper: &stalled{timers: timers{clock}, at: trace.Time(time.Second), by: 300 * time.Millisecond},
			Plan: trace.Plan{Phases: []trace.Phase{
				{Name: "w", Kind: trace.Warmup, Load: load},
				{Name: "p", Kind: trace.Measure, Load: load},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		var s story
		res, err := e.Run(t.Context(), nil, &s)
		if err != nil {
			t.Fatal(err)
		}
		if j := res.Client; j.Verdict != ClientOK || j.LatenessP99 != trace.Some(time.Duration(0)) || j.LatenessMax.V != 300*time.Millisecond {
			t.Errorf("%+v", j)
		}
		var most []time.Duration
		for _, u := range s.uses {
			most = append(most, u.LatenessMax.V)
		}
		if i := slices.Index(most, 300*time.Millisecond); i != 1 || slices.Max(append(most[:1:1], most[2:]...)) != 0 {
			t.Errorf("the latest of each second: %v", most)
		}
	})
}

func TestMeanGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(time.Second), gap: 500 * time.Millisecond}
		_, res := replayed(t, plainTurns(2), f, nil, trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 1, Requests: 2})
		if j := res.Client; j.MeanGap.V != 500*time.Millisecond || j.Bound != 5*time.Millisecond {
			t.Errorf("%+v", j)
		}
	})
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		m    Machine
		want float64
	}{
		{Machine{GOMAXPROCS: 4}, 4},
		{Machine{GOMAXPROCS: 4, CPUs: trace.Some(2)}, 2},
		{Machine{GOMAXPROCS: 2, CPUs: trace.Some(2), CPUQuota: trace.Some(1.5)}, 1.5},
	} {
		if got := test.m.Capacity(); got != test.want {
			t.Errorf("%+v: %g", test.m, got)
		}
	}
	if m := ThisMachine(); m.GOMAXPROCS < 1 || !(m.Capacity() > 0) {
		t.Errorf("%+v", m)
	}
}

func TestPagesComeInOrder(t *testing.T) {
	t.Parallel()
	j := newJournal()
	next, want := int64(0), int64(0)
	for round := range 50 {
		for range round * 37 {
			j.add(entry{seq: next})
			next++
		}
		for range j.pages() {
			p := j.take()
			for _, e := range p.entries[:p.n] {
				if e.seq != want {
					t.Fatalf("%d instead of %d", e.seq, want)
				}
				want++
			}
			j.giveBack(p)
		}
	}
	if want != next || j.length != 0 || len(j.spare) > maxSpare {
		t.Errorf("%d of %d, %d left, %d spare pages", want, next, j.length, len(j.spare))
	}
}
