package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

// fakeServer answers in a synctest bubble: after latency, one event with one
// token, a finish and [DONE], gap apart.
type fakeServer struct {
	latency func(n int) time.Duration // of the n-th request
	byBody  bool                      // n is the body's, and 2 more each time that it comes again: which of two is first is nobody's to say
	gap     time.Duration

	mu       sync.Mutex
	requests []string
	inFlight int
	most     int
}

func (f *fakeServer) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	n := len(f.requests)
	if f.byBody {
		fmt.Sscanf(string(body), `{"n":%d`, &n)
		for _, r := range f.requests {
			if strings.HasSuffix(r, string(body)) {
				n += 2
			}
		}
	}
	f.requests = append(f.requests, req.URL.String()+" "+string(body))
	f.inFlight++
	f.most = max(f.most, f.inFlight)
	f.mu.Unlock()
	if err := sleep(req.Context(), f.latency(n)); err != nil {
		f.done()
		return nil, err
	}
	events := []string{
		`data: {"choices":[{"delta":{"content":"a"}}]}`,
		`data: {"choices":[{"delta":{"content":"b"},"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`,
		`data: [DONE]`,
	}
	r := readerFunc(func(b []byte) (int, error) {
		if len(events) == 0 {
			f.done()
			return 0, io.EOF
		}
		if len(events) < 3 {
			if err := sleep(req.Context(), f.gap); err != nil {
				f.done()
				return 0, err
			}
		}
		n := copy(b, events[0]+"\n\n")
		events = events[1:]
		return n, nil
	})
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(r)}, nil
}

func (f *fakeServer) done() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inFlight--
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// every is a latency that is always the same.
func every(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

// story is a Sink that keeps what it is given.
type story struct {
	events   []string // phases, and with all set requests too
	sent     []string
	requests []trace.Request
	clocks   []trace.Time
	clients  []trace.Time
	uses     []Use
	fail     func() error
}

func (s *story) Phase(ph *trace.Phase, start bool, at trace.Time) error {
	s.events = append(s.events, fmt.Sprintf("%s %s %v", ph.Name, map[bool]string{true: "start", false: "end"}[start], time.Duration(at)))
	return nil
}

func (s *story) Sent(seq, line int64, phase string, at trace.Time) error {
	s.sent = append(s.sent, fmt.Sprintf("%s %d %d %v", phase, seq, line, time.Duration(at)))
	return nil
}

func (s *story) Request(q *trace.Request) error {
	if s.fail != nil {
		return s.fail()
	}
	own := *q
	own.Chunks = slices.Clone(q.Chunks)
	s.requests = append(s.requests, own)
	return nil
}

func (s *story) Clock(c trace.ClockSnapshot) error {
	s.clocks = append(s.clocks, c.At)
	return nil
}

func (s *story) Client(u *Use) error {
	s.clients = append(s.clients, u.At)
	s.uses = append(s.uses, *u)
	return nil
}

// lines describes the requests, in the order of sending.
func (s *story) lines() (all []string) {
	slices.SortFunc(s.requests, func(a, b trace.Request) int { return int(a.Seq - b.Seq) })
	for _, q := range s.requests {
		all = append(all, fmt.Sprintf("%s line %d slot %d scheduled %v sent %v done %v %s", q.Phase, q.Line, q.Slot,
			time.Duration(q.Scheduled), time.Duration(q.Sent), time.Duration(q.Done), q.Outcome))
	}
	return all
}

func target(t testing.TB, url string) Target {
	t.Helper()
	target, err := ParseTarget(url)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// replayed runs phases against a fake server in a bubble of time.
func replayed(t *testing.T, turns []trace.Turn, f http.RoundTripper, stop <-chan struct{}, phases ...trace.Phase) (*story, Result) {
	t.Helper()
	e, err := New(Options{
		Turns: turns, Plan: trace.Plan{Phases: phases}, Targets: []Target{target(t, "http://server")},
		Client: ClientOptions{Transport: f},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &story{}
	res, err := e.Run(t.Context(), stop, s)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.sent) != len(s.requests) || int64(len(s.sent)) != res.Sent || res.Succeeded+res.Failed+res.Cancelled != res.Sent {
		t.Errorf("%d sent lines, %d requests, result %+v", len(s.sent), len(s.requests), res)
	}
	if p := e.Progress(); p.InFlight != 0 || p.Sent != res.Sent || p.Succeeded != res.Succeeded {
		t.Errorf("progress %+v, result %+v", p, res)
	}
	return s, res
}

func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(time.Second), gap: 100 * time.Millisecond}
		s, res := replayed(t, plainTurns(3), f, nil, trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 2})
		if diff := cmp.Diff([]string{
			"p line 1 slot 0 scheduled 0s sent 0s done 1.2s succeeded",
			"p line 2 slot 1 scheduled 0s sent 0s done 1.2s succeeded",
			"p line 3 slot 0 scheduled 1.2s sent 1.2s done 2.4s succeeded",
		}, normal(s.lines())); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"p start 0s", "p end 2.4s"}, s.events); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		res.Client = Judgement{}
		want := Result{Sent: 3, Succeeded: 3, Classes: map[trace.ErrorClass]int64{}, InputTokens: 9, OutputTokens: 6, End: trace.Time(2400 * time.Millisecond)}
		if diff := cmp.Diff(want, res); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		q := s.requests[2]
		ttft, _ := q.TTFT()
		itl, _ := q.ITL()
		e2e, _ := q.E2E()
		if ttft != time.Second || itl != 100*time.Millisecond || e2e != 1100*time.Millisecond || q.FinishReason != "length" {
			t.Errorf("TTFT %v, ITL %v, E2E %v, finish %q", ttft, itl, e2e, q.FinishReason)
		}
	})
}

// normal hides which of two slots that are free at the same instant is first.
func normal(lines []string) []string {
	if len(lines) > 1 && strings.Contains(lines[0], "slot 1") {
		for i := range lines {
			lines[i] = strings.NewReplacer("slot 0", "slot 1", "slot 1", "slot 0").Replace(lines[i])
		}
	}
	if len(lines) > 2 {
		lines[2] = strings.Replace(lines[2], "slot 1", "slot 0", 1)
	}
	return lines
}

func TestPhasesFollowWithoutAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(time.Second)}
		s, _ := replayed(t, plainTurns(4), f, nil,
			trace.Phase{Name: "before", Kind: trace.Idle, Duration: 5 * time.Second},
			trace.Phase{Name: "warmup", Kind: trace.Warmup, Concurrency: 2, Requests: 3},
			trace.Phase{Name: "profiling", Kind: trace.Measure, Concurrency: 1, Duration: 2500 * time.Millisecond, FirstLine: 3},
			trace.Phase{Name: "after", Kind: trace.Idle, Duration: time.Second})
		if diff := cmp.Diff([]string{
			"before start 0s", "before end 5s", "warmup start 5s", "warmup end 7s",
			"profiling start 7s", "profiling end 10s", "after start 10s", "after end 11s",
		}, s.events); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		var lines []int64
		for _, q := range s.requests {
			lines = append(lines, q.Line)
		}
		slices.Sort(lines[:3])
		if diff := cmp.Diff([]int64{1, 2, 3, 3, 4, 1}, lines); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		// At least every 10 s, and at the end.
		if n := len(s.clocks); n < 2 || s.clocks[0] > trace.Time(10*time.Second) || s.clocks[n-1] != trace.Time(11*time.Second) {
			t.Errorf("clocks at %v", s.clocks)
		}
		if len(s.clients) < 11 {
			t.Errorf("%d client lines in 11 s", len(s.clients))
		}
	})
}

func TestClocksEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := replayed(t, plainTurns(1), &fakeServer{latency: every(time.Minute)}, nil, trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 1})
		last := trace.Time(0)
		for _, at := range s.clocks {
			if at.Sub(last) > 10*time.Second {
				t.Errorf("no clock between %v and %v", last, at)
			}
			last = at
		}
		if last != trace.Time(time.Minute) {
			t.Errorf("the last clock is at %v", last)
		}
	})
}

// TestHandoverByCount: the next phase begins when the first slot is free, takes
// over slot by slot, and the number in flight never changes.
func TestHandoverByCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{byBody: true, latency: func(n int) time.Duration { return time.Duration(n+1) * time.Second }}
		s, res := replayed(t, plainTurns(10), f, nil,
			trace.Phase{Name: "w", Kind: trace.Warmup, Concurrency: 2, Requests: 2, Handover: true},
			trace.Phase{Name: "m", Kind: trace.Measure, Concurrency: 2, Requests: 2})
		if diff := cmp.Diff([]string{"w start 0s", "w end 1s", "m start 1s", "m end 6s"}, s.events); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		var got []string
		for _, line := range s.lines() {
			before, after, _ := strings.Cut(line, " slot ")
			got = append(got, before+after[1:])
		}
		if diff := cmp.Diff([]string{
			"w line 1 scheduled 0s sent 0s done 1s succeeded",
			"w line 2 scheduled 0s sent 0s done 2s succeeded",
			"m line 1 scheduled 1s sent 1s done 4s succeeded",
			"m line 2 scheduled 2s sent 2s done 6s succeeded",
		}, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if f.most != 2 || res.Succeeded != 4 {
			t.Errorf("%d in flight at most; %+v", f.most, res)
		}
	})
}

// TestHandoverByDuration: the next phase begins at the deadline; if it has more
// slots, the new ones send at once, and if fewer, the others end.
func TestHandoverByDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(4 * time.Second)}
		s, _ := replayed(t, plainTurns(10), f, nil,
			trace.Phase{Name: "a", Kind: trace.Warmup, Concurrency: 2, Duration: 5 * time.Second, Handover: true},
			trace.Phase{Name: "b", Kind: trace.Warmup, Concurrency: 3, Duration: 5 * time.Second, Handover: true},
			trace.Phase{Name: "c", Kind: trace.Measure, Concurrency: 1, Requests: 1})
		if diff := cmp.Diff([]string{"a start 0s", "a end 5s", "b start 5s", "b end 10s", "c start 10s", "c end 16s"}, s.events); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		var got []string
		for _, q := range s.requests {
			got = append(got, fmt.Sprintf("%s %v-%v", q.Phase, time.Duration(q.Sent), time.Duration(q.Done)))
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{
			"a 0s-4s", "a 0s-4s", "a 4s-8s", "a 4s-8s",
			"b 5s-9s", "b 8s-12s", "b 8s-12s", "b 9s-13s",
			"c 12s-16s",
		}, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestHandoverOfConversations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(time.Second)}
		s, _ := replayed(t, talks("a0 a1 a2"), f, nil,
			trace.Phase{Name: "w", Kind: trace.Warmup, Concurrency: 2, Handover: true},
			trace.Phase{Name: "m", Kind: trace.Measure, Concurrency: 2, Requests: 2})
		// The slot without a conversation waits, and w sends all that it has to.
		if diff := cmp.Diff([]string{"w start 0s", "w end 3s", "m start 3s", "m end 4s"}, s.events); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if len(s.requests) != 5 {
			t.Errorf("%d requests", len(s.requests))
		}
	})
}

func TestConversationsGoInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(time.Second)}
		s, _ := replayed(t, talks("a0 a1 b0 b1"), f, nil, trace.Phase{Name: "m", Kind: trace.Measure, Concurrency: 4})
		var got []string
		for _, q := range s.requests {
			got = append(got, fmt.Sprintf("%s%d at %v", q.Conversation, q.Turn, time.Duration(q.Sent)))
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"a0 at 0s", "a1 at 1s", "b0 at 0s", "b1 at 1s"}, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: func(n int) time.Duration { return []time.Duration{1, 60, 2}[n] * time.Second }}
		s, res := replayed(t, plainTurns(3), f, nil,
			trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 2, Grace: 5 * time.Second},
			trace.Phase{Name: "q", Kind: trace.Idle, Duration: time.Second})
		// The last request is sent at 1 s, so the other one is given up at 6 s.
		if diff := cmp.Diff([]string{"p start 0s", "p end 6s", "q start 6s", "q end 7s"}, s.events); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if res.Cancelled != 1 || res.Succeeded != 2 || res.Stopped {
			t.Errorf("%+v", res)
		}
		for _, q := range s.requests {
			if q.Outcome == trace.Cancelled && (q.Error.Class != "" || q.Done != trace.Time(6*time.Second)) {
				t.Errorf("%+v", q)
			}
		}
	})
}

// TestGraceOfTheLastRequest: no slot asks for another one while it runs.
func TestGraceOfTheLastRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, handover := range []bool{false, true} {
			phases := []trace.Phase{
				{Name: "p", Kind: trace.Measure, Concurrency: 1, Grace: 5 * time.Second, Handover: handover},
				{Name: "q", Kind: trace.Measure, Concurrency: 1, Grace: 5 * time.Second},
			}
			s, res := replayed(t, plainTurns(1), &fakeServer{latency: every(time.Minute)}, nil, phases...)
			if diff := cmp.Diff([]string{"p start 0s", "p end 5s", "q start 5s", "q end 10s"}, s.events); diff != "" || res.Cancelled != 2 {
				t.Errorf("%+v (-want +got)\n%s", res, diff)
			}
		}
	})
}

// TestSlotFreeAtTheDeadline: whoever is first, slot or timer, nothing is sent.
func TestSlotFreeAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 {
			s, _ := replayed(t, plainTurns(1), &fakeServer{latency: every(time.Second)}, nil, trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 1, Duration: 2 * time.Second})
			if len(s.requests) != 2 {
				t.Fatalf("%d requests", len(s.requests))
			}
		}
	})
}

// TestJournalHoldsSlotsBack: a sink that is far behind is waited for, unless it
// is gone.
func TestJournalHoldsSlotsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		for range maxQueue {
			j.add(entry{})
		}
		j.pause() // there is room for one more
		j.add(entry{})
		passed := 0
		for _, release := range []func(){func() { j.giveBack(j.take()) }, j.stop} {
			go func() { j.pause(); passed++ }()
			synctest.Wait()
			if passed != 0 {
				t.Fatal("nobody was held back")
			}
			release()
			synctest.Wait()
			if passed != 1 {
				t.Fatal("nobody was let go")
			}
			passed = 0
			for range maxQueue + 1 {
				j.add(entry{})
			}
		}
	})
}

func TestGraceAfterADuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(time.Minute)}
		s, _ := replayed(t, plainTurns(1), f, nil, trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 1, Duration: 10 * time.Second, Grace: 3 * time.Second})
		// The last send is long ago when sending ends.
		if diff := cmp.Diff([]string{"p start 0s", "p end 10s"}, s.events); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestSoftStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(4 * time.Second)}
		stop := make(chan struct{})
		time.AfterFunc(6*time.Second, func() { close(stop) })
		s, res := replayed(t, plainTurns(100), f, stop,
			trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 2},
			trace.Phase{Name: "q", Kind: trace.Idle, Duration: time.Second})
		if diff := cmp.Diff([]string{"p start 0s", "p end 8s"}, s.events); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if !res.Stopped || res.Succeeded != 4 || res.Cancelled != 0 {
			t.Errorf("%+v", res)
		}
	})
}

func TestSoftStopWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		time.AfterFunc(2*time.Second, func() { close(stop) })
		s, res := replayed(t, plainTurns(1), &fakeServer{latency: every(1)}, stop,
			trace.Phase{Name: "i", Kind: trace.Idle, Duration: time.Hour},
			trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 1})
		if diff := cmp.Diff([]string{"i start 0s", "i end 2s"}, s.events); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if !res.Stopped || res.Sent != 0 {
			t.Errorf("%+v", res)
		}
	})
}

func TestSoftStopInAHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		time.AfterFunc(5*time.Second, func() { close(stop) })
		s, res := replayed(t, talks("a0 a1 a2 a3"), &fakeServer{latency: every(2 * time.Second)}, stop,
			trace.Phase{Name: "w", Kind: trace.Warmup, Concurrency: 3, Handover: true},
			trace.Phase{Name: "p", Kind: trace.Measure, Concurrency: 3})
		if diff := cmp.Diff([]string{"w start 0s", "w end 6s"}, s.events); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if !res.Stopped || res.Sent != 3 {
			t.Errorf("%+v", res)
		}
	})
}

func TestHardStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		e, err := New(Options{
			Turns: plainTurns(100), Targets: []Target{target(t, "http://server")},
			Plan:   trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 3}}},
			Client: ClientOptions{Transport: &fakeServer{latency: every(4 * time.Second)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := &story{}
		res, err := e.Run(ctx, nil, s)
		if err != nil || !res.Stopped || res.Succeeded != 3 || res.Cancelled != 3 || res.Sent != 6 {
			t.Errorf("%+v, %v", res, err)
		}
		if diff := cmp.Diff([]string{"p start 0s", "p end 6s"}, s.events); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The second request stalls in its stream, the first before it.
		f := &fakeServer{latency: func(n int) time.Duration { return []time.Duration{time.Hour, time.Second}[n] }, gap: time.Hour}
		e, err := New(Options{
			Turns: plainTurns(2), Targets: []Target{target(t, "http://server")},
			Plan:   trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1}}},
			Client: ClientOptions{Transport: f, Timeout: 3 * time.Second},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := &story{}
		res, err := e.Run(t.Context(), nil, s)
		if err != nil || res.Failed != 2 || res.Classes[trace.ErrTimeout] != 2 {
			t.Errorf("%+v, %v", res, err)
		}
		for i, want := range []time.Duration{3 * time.Second, 6 * time.Second} {
			q := s.requests[i]
			if q.Done != trace.Time(want) || q.Error.Message != "no whole answer within 3s" || q.Outcome != trace.Failed {
				t.Errorf("%+v", q)
			}
		}
		if q := s.requests[1]; len(q.Chunks) != 1 || q.OutputTokens != trace.Some(int64(1)) || q.TokenSource != trace.FromChunks || q.Status != trace.Some(200) {
			t.Errorf("what had come is lost: %+v", q)
		}
	})
}

func TestSinkError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("disk full")
		e, err := New(Options{
			Turns: plainTurns(1000), Targets: []Target{target(t, "http://server")},
			Plan:   trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 2}}},
			Client: ClientOptions{Transport: &fakeServer{latency: every(time.Second)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		f := e.opt.Client.Transport.(*fakeServer)
		if _, err := e.Run(t.Context(), nil, &story{fail: func() error { return full }}); err != full {
			t.Errorf("%v", err)
		}
		if len(f.requests) > 6 || f.inFlight != 0 {
			t.Errorf("%d requests were sent, %d are in flight", len(f.requests), f.inFlight)
		}
	})
}

// TestSinkErrorWithAFullQueue: the slots that wait for room are let go.
func TestSinkErrorWithAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(0)}
		e, err := New(Options{
			Turns: plainTurns(maxQueue), Targets: []Target{target(t, "http://server")},
			Plan:   trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1}}},
			Client: ClientOptions{Transport: f},
		})
		if err != nil {
			t.Fatal(err)
		}
		full := errors.New("disk full")
		if _, err := e.Run(t.Context(), nil, &story{fail: func() error { time.Sleep(time.Second); return full }}); err != full {
			t.Error(err)
		}
		if n := len(f.requests); n < maxQueue/2 || n >= maxQueue {
			t.Errorf("%d requests were sent to a queue of %d entries", n, maxQueue)
		}
	})
}

// TestSlowSink checks that a sink that is behind delays no request until the
// queue is full, and loses nothing.
func TestSlowSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := New(Options{
			Turns: plainTurns(50), Targets: []Target{target(t, "http://server")},
			Plan:   trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1}}},
			Client: ClientOptions{Transport: &fakeServer{latency: every(time.Millisecond)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		s := &story{fail: func() error { n++; time.Sleep(time.Second); return nil }}
		res, err := e.Run(t.Context(), nil, s)
		if err != nil || n != 50 || res.End != trace.Time(50*time.Millisecond) {
			t.Errorf("%d requests, %+v, %v", n, res, err)
		}
	})
}

func TestTargetsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{latency: every(time.Second)}
		overlay, err := ParseOverlay("model=m")
		if err != nil {
			t.Fatal(err)
		}
		turns := talks("a0 a1 b0 b1")
		turns[3].Endpoint = trace.Completions
		e, err := New(Options{
			Turns: turns, Targets: []Target{target(t, "http://one"), target(t, "http://two/base/v1/")},
			Plan:     trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1}}},
			Overlays: []Overlay{overlay}, Client: ClientOptions{Transport: f},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := &story{}
		if _, err := e.Run(t.Context(), nil, s); err != nil {
			t.Fatal(err)
		}
		body := ` {"stream":true,"messages":[],"model":"m"}`
		if diff := cmp.Diff([]string{
			"http://one/v1/chat/completions" + body, "http://one/v1/chat/completions" + body,
			"http://two/base/v1/chat/completions" + body, "http://two/base/v1/completions" + body,
		}, f.requests); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if s.requests[1].Target != 0 || s.requests[2].Target != 1 {
			t.Error("targets are not in the log")
		}
	})
}

func TestNewErrors(t *testing.T) {
	t.Parallel()
	one := []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1}}
	for want, opt := range map[string]Options{
		"the trace is empty":    {Plan: trace.Plan{Phases: one}, Targets: []Target{{}}},
		"no server to send to":  {Plan: trace.Plan{Phases: one}, Turns: plainTurns(1)},
		"the plan has no phase": {Turns: plainTurns(1), Targets: []Target{{}}},
		`phase "p": first_line 3 is beyond the trace's 2 turns`: {Turns: plainTurns(2), Targets: []Target{{}},
			Plan: trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1, FirstLine: 3}}}},
		`header "a b": not a header name`: {Turns: plainTurns(1), Targets: []Target{{}}, Plan: trace.Plan{Phases: one},
			Client: ClientOptions{Header: http.Header{"a b": {"c"}}}},
		`header "A": the value has a control character`: {Turns: plainTurns(1), Targets: []Target{{}}, Plan: trace.Plan{Phases: one},
			Client: ClientOptions{Header: http.Header{"A": {"c\n"}}}},
		"the key has a control character": {Turns: plainTurns(1), Targets: []Target{{}}, Plan: trace.Plan{Phases: one},
			Client: ClientOptions{Key: "a\r\nb"}},
	} {
		if _, err := New(opt); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestParseTarget(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"http://h:8000":         "http://h:8000/v1/chat/completions",
		"http://h:8000/":        "http://h:8000/v1/chat/completions",
		"http://h/v1":           "http://h/v1/chat/completions",
		"https://h/openai/v1//": "https://h/openai/v1/chat/completions",
		"http://[::1]:8000":     "http://[::1]:8000/v1/chat/completions",
		"h:8000":                "want a URL that begins with http:// or https://",
		"localhost":             "want a URL that begins with http:// or https://",
		"http://":               "the URL has no host",
		"http://:80":            "the URL has no host",
		"http://u:secret@h":     "a URL must not hold a user or a password: it goes into the log",
		"http://h?key=secret":   "a base URL has no query and no fragment",
		"http://h#f":            "a base URL has no query and no fragment",
		"http://h:port":         "not a URL",
		"http://h:65536":        "the port must be from 1 to 65535",
		"http://h:0":            "the port must be from 1 to 65535",
	} {
		got, err := ParseTarget(in)
		s := ""
		if err != nil {
			s = err.Error()
		} else {
			s = got.endpoints[trace.Chat].String()
		}
		if s != want {
			t.Errorf("%s: got %s, want %s", in, s, want)
		}
	}
}
