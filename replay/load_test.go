package replay

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

// instants returns when the requests were due, sent and done, in order of sending.
func (s *story) instants() (all []string) {
	slices.SortStableFunc(s.requests, func(a, b trace.Request) int { return int(a.Sent - b.Sent) })
	for _, q := range s.requests {
		all = append(all, fmt.Sprintf("%d: %v %v %v", q.Line, time.Duration(q.Scheduled), time.Duration(q.Sent), time.Duration(q.Done)))
	}
	return all
}

// In an open loop requests are sent at their times, whatever the server does.
func TestOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(10 * time.Second)}
		s, res := replayed(t, plainTurns(4), f, nil, trace.Phase{Name: "p", Kind: trace.Measure, Load: trace.Load{Rate: 2, Arrival: trace.Constant}})
		if diff := cmp.Diff([]string{
			"1: 0s 0s 10s", "2: 500ms 500ms 10.5s", "3: 1s 1s 11s", "4: 1.5s 1.5s 11.5s",
		}, s.instants()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"p start 0s", "p end 11.5s"}, s.events); diff != "" {
			t.Error(diff)
		}
		slots := map[int]bool{}
		for _, q := range s.requests {
			slots[q.Slot] = true
		}
		if f.most != 4 || res.Sent != 4 || !slots[0] || !slots[3] || len(slots) != 4 {
			t.Errorf("%d in flight, %d sent, slots %v", f.most, res.Sent, slots)
		}
	})
}

// With a ceiling, what is due waits in line, in order, and is logged as late.
func TestCappedOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(2 * time.Second)}
		s, res := replayed(t, plainTurns(4), f, nil, trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 1, Load: trace.Load{Rate: 1, Arrival: trace.Constant}})
		if diff := cmp.Diff([]string{"1: 0s 0s 2s", "2: 1s 2s 4s", "3: 2s 4s 6s", "4: 3s 6s 8s"}, s.instants()); diff != "" {
			t.Error(diff)
		}
		if n := res.Held["p"]; n != 3 {
			t.Errorf("%d requests were held", n)
		}
		if slot := s.requests[3].Slot; slot != 0 {
			t.Errorf("one request after another, and slot %d", slot)
		}
	})
}

// stalled is a Sleeper that stands still for a time once, as a thread does that
// the host does not run.
type stalled struct {
	timers
	at   trace.Time
	by   time.Duration
	done bool
}

func (s *stalled) Wait(until trace.Time) {
	s.timers.Wait(until)
	if !s.done && until >= s.at {
		s.done = true
		time.Sleep(s.by)
	}
}

func (s *stalled) Margin() time.Duration { return time.Millisecond }

// After a stall every request that was due is sent at once, and the next one at
// its own time: nothing is left out and no later time is moved.
func TestNoRebasingAfterAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := trace.NewSteadyClock()
		f := &fakeServer{latency: every(time.Second)}
		e, err := New(Options{
			Turns: plainTurns(6), Targets: []Target{target(t, "http://server")}, Client: ClientOptions{Transport: f}, Clock: clock,
			Sleeper: &stalled{timers: timers{clock}, at: trace.Time(time.Second), by: 2500 * time.Millisecond},
			Plan:    trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Load: trace.Load{Rate: 1, Arrival: trace.Constant}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		var s story
		if _, err := e.Run(t.Context(), nil, &s); err != nil {
			t.Fatal(err)
		}
		got := s.instants()
		slices.Sort(got)
		if diff := cmp.Diff([]string{
			"1: 0s 0s 1s", "2: 1s 3.5s 4.5s", "3: 2s 3.5s 4.5s", "4: 3s 3.5s 4.5s", "5: 4s 4s 5s", "6: 5s 5s 6s",
		}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// Turns of a conversation that began by itself follow when the one before has
// ended, after the delay that the trace has.
func TestOpenLoopOfConversations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := talks("a0 b0 a1 a2 b1")
		turns[2].Timing.DelaySeconds = trace.Some(0.5)
		s, _ := replayed(t, turns, &fakeServer{latency: every(2 * time.Second)}, nil,
			trace.Phase{Name: "p", Kind: trace.Measure, Load: trace.Load{Rate: 1, Arrival: trace.Constant}})
		if diff := cmp.Diff([]string{
			"1: 0s 0s 2s", "2: 1s 1s 3s", "3: 2.5s 2.5s 4.5s", "5: 3s 3s 5s", "4: 4.5s 4.5s 6.5s",
		}, s.instants()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestThinkStaggerAndUsers(t *testing.T) {
	for name, test := range map[string]struct {
		ph   trace.Phase
		want []string
	}{
		"think": {
			trace.Phase{Concurrency: 1, Requests: 3, Load: trace.Load{Think: 5 * time.Second}},
			[]string{"1: 0s 0s 2s", "2: 7s 7s 9s", "3: 14s 14s 16s"},
		},
		"stagger": {
			trace.Phase{Concurrency: 2, Requests: 4, Load: trace.Load{Stagger: 2 * time.Second}},
			[]string{"1: 0s 0s 2s", "2: 1s 1s 3s", "3: 2s 2s 4s", "4: 3s 3s 5s"},
		},
		"ramp": {
			trace.Phase{Concurrency: 3, Duration: 3500 * time.Millisecond, Load: trace.Load{Ramp: []trace.RampPoint{{Value: 1}, {At: 3 * time.Second, Value: 3}}}},
			[]string{"1: 0s 0s 2s", "2: 1.5s 1.5s 3.5s", "4: 2s 2s 4s", "3: 3s 3s 5s"},
		},
		"users": {
			trace.Phase{Requests: 4, Load: trace.Load{Users: 2, TurnGap: 3 * time.Second}},
			[]string{"1: 0s 0s 2s", "2: 1.5s 1.5s 3.5s", "3: 3s 3s 5s", "4: 4.5s 4.5s 6.5s"},
		},
		"slow users": {
			trace.Phase{Requests: 3, Load: trace.Load{Users: 1, TurnGap: time.Second}},
			[]string{"1: 0s 0s 2s", "2: 2s 2s 4s", "3: 4s 4s 6s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.ph.Name, test.ph.Kind = "p", trace.Measure
				s, _ := replayed(t, plainTurns(5), &fakeServer{latency: every(2 * time.Second)}, nil, test.ph)
				got := s.instants()
				if diff := cmp.Diff(len(test.want), len(got)); diff != "" {
					t.Fatal(diff, got)
				}
				for i, line := range got { // who takes which line when two are free is nobody's to say
					_, want, _ := strings.Cut(test.want[i], ":")
					if _, at, _ := strings.Cut(line, ":"); at != want {
						t.Errorf("request %d:%s, want%s", i, at, want)
					}
				}
			})
		})
	}
}

// No more prefills at once than asked for: the next request is sent at the first
// token of one before.
func TestPrefills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(time.Second), gap: 2 * time.Second}
		s, _ := replayed(t, plainTurns(3), f, nil, trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 3, Load: trace.Load{Prefills: 1}})
		got := s.instants()
		for i := range got {
			_, got[i], _ = strings.Cut(got[i], ":")
		}
		// The first event comes after 1 s, the end after two gaps more.
		if diff := cmp.Diff([]string{" 0s 0s 5s", " 0s 1s 6s", " 0s 2s 7s"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// A share of the requests is given up, each as long after it was sent as the plan
// says, and is no failure.
func TestEarlyCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(10 * time.Second)}
		s, res := replayed(t, plainTurns(200), f, nil, trace.Phase{Name: "p", Kind: trace.Measure, Load: trace.Load{Rate: 10, CancelShare: 0.25, CancelAfter: 3 * time.Second}})
		for _, q := range s.requests {
			if d := q.Done.Sub(q.Sent); q.Outcome == trace.Cancelled && d != 3*time.Second || q.Outcome == trace.Succeeded && d != 10*time.Second {
				t.Errorf("%s after %v", q.Outcome, d)
			}
		}
		if n := float64(res.Cancelled); math.Abs(n-50) > 25 || res.Failed != 0 || res.Succeeded+res.Cancelled != 200 {
			t.Errorf("%+v", res)
		}
	})
}

// Too many failures stop the run, and it says why.
func TestMaxErrorRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := roundTripper(func(*http.Request) (*http.Response, error) {
			time.Sleep(100 * time.Millisecond)
			return &http.Response{StatusCode: 500, Body: http.NoBody}, nil
		})
		_, res := replayed(t, plainTurns(500), refuse, nil,
			trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 2, Load: trace.Load{MaxErrorRate: 0.5}},
			trace.Phase{Name: "q", Kind: trace.Measure, Concurrency: 2})
		if res.Sent < 20 || res.Sent > 22 || !res.Stopped || res.Reason != `phase "p": 20 of 20 requests failed, more than its max_error_rate of 0.5` {
			t.Errorf("%+v", res)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A phase hands over to one with another kind of load without a drain.
func TestHandoverBetweenLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := replayed(t, plainTurns(5), &fakeServer{latency: every(3 * time.Second)}, nil,
			trace.Phase{Name: "w", Kind: trace.Warmup, Concurrency: 1, Duration: 4 * time.Second, Handover: true},
			trace.Phase{Name: "m", Kind: trace.Measure, Duration: 2500 * time.Millisecond, Load: trace.Load{Rate: 1, Arrival: trace.Constant}, Handover: true},
			trace.Phase{Name: "c", Kind: trace.Cooldown, Concurrency: 2, Requests: 2})
		var got []string
		for _, q := range s.requests {
			got = append(got, fmt.Sprintf("%s %v %v", q.Phase, time.Duration(q.Sent), time.Duration(q.Done)))
		}
		if diff := cmp.Diff([]string{
			"w 0s 3s", "w 3s 6s", "m 4s 7s", "m 5s 8s", "m 6s 9s", "c 6.5s 9.5s", "c 6.5s 9.5s",
		}, got); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{
			"w start 0s", "w end 4s", "m start 4s", "m end 6.5s", "c start 6.5s", "c end 9.5s",
		}, s.events); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStartAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := Options{
			Turns: plainTurns(1), Targets: []Target{target(t, "http://server")}, Client: ClientOptions{Transport: &fakeServer{latency: every(time.Second)}},
			Plan:    trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1}}},
			StartAt: time.Now().Add(90 * time.Second),
		}
		e, err := New(opt)
		if err != nil {
			t.Fatal(err)
		}
		var s story
		res, err := e.Run(t.Context(), nil, &s)
		if err != nil {
			t.Fatal(err)
		}
		if res.End.Sub(res.Begin) != time.Second {
			t.Errorf("%+v: want one second", res)
		}
		if diff := cmp.Diff([]string{"p start 1m30s", "p end 1m31s"}, s.events); diff != "" {
			t.Error(diff)
		}

		// Stopped before it began, it ends then and not when it would have begun.
		stop := make(chan struct{})
		time.AfterFunc(2*time.Second, func() { close(stop) })
		opt.StartAt = time.Now().Add(90 * time.Second)
		if e, err = New(opt); err != nil {
			t.Fatal(err)
		}
		res, err = e.Run(t.Context(), stop, &story{})
		if want := trace.Time(2 * time.Second); err != nil || res.End != want || !res.Stopped {
			t.Errorf("%+v, %v", res, err)
		}

		opt.Clock, opt.StartAt = nil, time.Now().Add(-2*time.Second)
		if _, err := New(opt); err == nil || err.Error() != "the time to start at was 2s ago" {
			t.Errorf("%v", err)
		}
	})
}

func TestShardErrors(t *testing.T) {
	t.Parallel()
	opt := Options{
		Turns: plainTurns(1), Targets: []Target{target(t, "http://server")}, Shard: Shard{2, 3},
		Plan: trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 2}}},
	}
	if _, err := New(opt); err == nil || err.Error() != `phase "p": shard 2 of 3 has none of its 2 slots` {
		t.Errorf("%v", err)
	}
	opt.Plan.Phases[0].Load = trace.Load{Rate: 5}
	if _, err := New(opt); err == nil || err.Error() != `phase "p": shard 2 of 3 has no part in its concurrency of 2` {
		t.Errorf("%v", err)
	}
	opt.Plan.Phases[0].Concurrency, opt.Plan.Phases[0].Prefills = 0, 1
	if _, err := New(opt); err == nil || err.Error() != `phase "p": shard 2 of 3 has no part in its prefills of 1` {
		t.Errorf("%v", err)
	}
	opt.Shard = Shard{3, 3}
	if _, err := New(opt); err == nil || err.Error() != "shard 3 of 3: the first is 0" {
		t.Errorf("%v", err)
	}
}

// Slots begin and do not end: a ramp that asks for less is not quietly left out.
func TestFallingSlots(t *testing.T) {
	t.Parallel()
	const falls = `phase "p": the ramp of a closed loop cannot fall: its slots go on to the end`
	for _, test := range []struct {
		ph     trace.Phase
		values []float64
		want   string
	}{
		{trace.Phase{Concurrency: 4}, []float64{0, 2, 2, 4}, ""},
		{trace.Phase{Concurrency: 4}, []float64{8, 4}, falls},
		{trace.Phase{Concurrency: 4}, []float64{1, 4, 2}, falls},
		{trace.Phase{Concurrency: 4}, []float64{1, 5}, falls}, // to 4 at its end
		{trace.Phase{Load: trace.Load{Rate: 4}}, []float64{8, 4}, ""},
	} {
		ph := test.ph
		ph.Name, ph.Kind, ph.Requests = "p", trace.Measure, 1
		for i, v := range test.values {
			ph.Ramp = append(ph.Ramp, trace.RampPoint{At: time.Duration(i) * time.Second, Value: v})
		}
		_, err := New(Options{Turns: plainTurns(1), Targets: []Target{target(t, "http://server")}, Plan: trace.Plan{Phases: []trace.Phase{ph}}})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%v of %d: %q, want %q", test.values, ph.Concurrency, got, test.want)
		}
	}
}
