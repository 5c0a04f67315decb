package simserver

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wattrace/trace"
)

// stamped is a response that knows when each event was written.
type stamped struct {
	*httptest.ResponseRecorder
	began time.Time
	at    []time.Duration // of each event
}

func (w *stamped) Write(p []byte) (int, error) {
	for range bytes.Count(p, []byte("\n\n")) {
		w.at = append(w.at, time.Since(w.began))
	}
	return w.ResponseRecorder.Write(p)
}

// bubble runs a server in the time of a synctest bubble.
type bubble struct {
	*Server
	mu    sync.Mutex
	steps []Step
	stop  func()
}

func startInBubble(t *testing.T, o Options) *bubble {
	b := &bubble{}
	then := o.OnStep
	o.OnStep = func(s Step) {
		b.mu.Lock()
		b.steps = append(b.steps, s)
		b.mu.Unlock()
		if then != nil {
			then(s)
		}
	}
	var err error
	if b.Server, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { b.Run(ctx) })
	b.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	return b
}

// all stops the server and returns its steps.
func (b *bubble) all() []Step {
	b.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.steps
}

func (b *bubble) post(path, body string) *stamped {
	w := &stamped{ResponseRecorder: httptest.NewRecorder(), began: time.Now()}
	b.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, bytes.NewReader([]byte(body))))
	return w
}

// round is a timing that is easy to add up.
var round = Timing{Base: 10 * time.Millisecond, PerPrefillToken: time.Millisecond, PerSequence: time.Millisecond, PerContextToken: time.Microsecond}

func equalTimes(t *testing.T, what string, got, want []time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d instants, want %d: %v", what, len(got), len(want), got)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
	}
}

const us, msec = time.Microsecond, time.Millisecond

func TestTokensComeWhenTheTimingSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startInBubble(t, Options{Timing: round})
		time.Sleep(time.Second)
		w := b.post("/v1/completions", `{"prompt":[1,2,3,4],"max_tokens":3,"ignore_eos":true,"stream":true}`)
		// Prefill 10 + 4 ms; then 10 + 1 ms and 5, 6 us for the context. [DONE]
		// comes with the last token.
		equalTimes(t, "events", w.at, []time.Duration{14 * msec, 25*msec + 5*us, 36*msec + 11*us, 36*msec + 11*us})
		synctest.Wait()
		steps := b.all()
		want := []Step{
			{Start: 1e9, End: 1e9 + 14e6, PrefillTokens: 4, Running: 1},
			{Start: 1e9 + 14e6, End: 1e9 + 25e6 + 5e3, DecodeTokens: 1, Running: 1, ContextTokens: 5},
			{Start: 1e9 + 25e6 + 5e3, End: 1e9 + 36e6 + 11e3, DecodeTokens: 1, Running: 1, ContextTokens: 6},
			{Start: 1e9 + 36e6 + 11e3, End: 1e9 + 36e6 + 11e3},
		}
		if len(steps) != len(want) {
			t.Fatalf("steps %+v", steps)
		}
		for i, s := range steps {
			if s != want[i] {
				t.Errorf("step %d: %+v, want %+v", i, s, want[i])
			}
		}
		if !steps[3].Rest() || steps[0].Rest() {
			t.Error("which step is a rest?")
		}
	})
}

func TestDefaultTimingIsH100Like(t *testing.T) {
	t.Parallel()
	decode := DefaultTiming.of(Step{DecodeTokens: 32, ContextTokens: 32_000})
	if decode < 15*msec || decode > 25*msec {
		t.Errorf("a decode step at batch 32 takes %v", decode)
	}
	prefill := DefaultTiming.of(Step{PrefillTokens: 20_000})
	if prefill < 900*msec || prefill > 1200*msec {
		t.Errorf("20,000 tokens of prompt take %v", prefill)
	}
}

func TestConcurrentRequestsShareSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startInBubble(t, Options{})
		defer b.stop()
		const body = `{"prompt":[1,2,3,4],"max_tokens":101,"ignore_eos":true}`
		alone := b.post("/v1/completions", body)
		if alone.Code != 200 {
			t.Fatal(alone.Body)
		}
		one := time.Since(alone.began)
		began := time.Now()
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() { b.post("/v1/completions", body) })
		}
		wg.Wait()
		if all := time.Since(began); all > one*3/2 || all <= one {
			t.Errorf("one request takes %v, 32 at once %v", one, all)
		}
		most := 0
		for _, s := range b.all() {
			most = max(most, s.DecodeTokens)
		}
		if most != 32 {
			t.Errorf("at most %d sequences were decoded at once", most)
		}
	})
}

func TestSpeedShortensEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startInBubble(t, Options{Timing: round, Speed: 4})
		defer b.stop()
		w := b.post("/v1/completions", `{"prompt":[1,2],"max_tokens":2,"ignore_eos":true,"stream":true}`)
		equalTimes(t, "events", w.at, []time.Duration{3 * msec, 5*msec + 750*us + 750*time.Nanosecond, 5*msec + 750*us + 750*time.Nanosecond})
	})
}

func TestDelaysOfTheProcessDoNotAddUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		b := startInBubble(t, Options{
			Timing: Timing{Base: 10 * msec},
			// Every step is announced late, and one of them by several steps.
			OnStep: func(s Step) {
				n++
				time.Sleep(3 * msec)
				if n == 20 {
					time.Sleep(45 * msec)
				}
			},
		})
		defer b.stop()
		w := b.post("/v1/completions", `{"prompt":[1],"max_tokens":100,"ignore_eos":true,"stream":true}`)
		if got := w.at[99]; got != 1000*msec {
			t.Errorf("100 steps of 10 ms end after %v", got)
		}
		if got := w.at[19]; got != 190*msec+48*msec {
			t.Errorf("the late step ends after %v", got)
		}
		for i, s := range b.all()[:100] {
			if s.Start != trace.Time(i)*trace.Time(10*msec) {
				t.Fatalf("step %d starts at %v", i, s.Start)
			}
		}
	})
}

func TestAfterALongStopTheScheduleStartsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		b := startInBubble(t, Options{
			Timing: Timing{Base: 10 * msec},
			OnStep: func(Step) {
				if n++; n == 5 {
					time.Sleep(10 * time.Second)
				}
			},
		})
		defer b.stop()
		w := b.post("/v1/completions", `{"prompt":[1],"max_tokens":10,"ignore_eos":true,"stream":true}`)
		if got := w.at[9]; got != 40*msec+10*time.Second+50*msec {
			t.Errorf("ten steps, one of them 10 s late, end after %v", got)
		}
	})
}

func TestAnswerWaitsForAPlaceInTheBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startInBubble(t, Options{Timing: Timing{Base: 10 * msec}, MaxBatch: 1})
		defer b.stop()
		go b.post("/v1/completions", `{"prompt":[1],"max_tokens":10,"ignore_eos":true}`)
		time.Sleep(25 * msec)
		w := b.post("/v1/completions", `{"prompt":[1],"max_tokens":2,"ignore_eos":true,"stream":true}`)
		equalTimes(t, "events", w.at, []time.Duration{85 * msec, 95 * msec, 95 * msec})
	})
}

func TestDisconnectFreesThePlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startInBubble(t, Options{Timing: Timing{Base: 10 * msec}, MaxBatch: 1})
		defer b.stop()
		for _, stream := range []string{"true", "false"} {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				body := `{"prompt":[1],"max_tokens":100000,"ignore_eos":true,"stream":` + stream + `}`
				r := httptest.NewRequest(http.MethodPost, "/v1/completions", bytes.NewReader([]byte(body)))
				b.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
			}()
			time.Sleep(25 * msec)
			time.AfterFunc(time.Second, cancel)
			w := b.post("/v1/completions", `{"prompt":[1],"max_tokens":1,"ignore_eos":true,"stream":true}`)
			// At 1.025 s the other one goes; the step under way ends at 1.03 s.
			equalTimes(t, "events", w.at, []time.Duration{1015 * msec, 1015 * msec})
			time.Sleep(5 * msec)
		}
	})
}

func TestEndOfRunBreaksOffWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startInBubble(t, Options{})
		const body = `{"prompt":[1],"max_tokens":100000,"ignore_eos":true,"stream":`
		var wg sync.WaitGroup
		var whole *stamped
		var aborted any
		wg.Go(func() { whole = b.post("/v1/completions", body+`false}`) })
		wg.Go(func() {
			defer func() { aborted = recover() }()
			b.post("/v1/completions", body+`true}`)
		})
		time.Sleep(time.Second)
		b.stop()
		wg.Wait()
		if whole.Code != http.StatusServiceUnavailable {
			t.Errorf("whole answer: status %d", whole.Code)
		}
		if aborted != http.ErrAbortHandler {
			t.Errorf("stream ends with %v", aborted)
		}
		if late := b.post("/v1/completions", body+`true}`); late.Code != http.StatusServiceUnavailable {
			t.Errorf("after the end: status %d", late.Code)
		}
	})
}
