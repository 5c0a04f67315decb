package replay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"wattrace/trace"
)

// Options says what an Engine does. Turns, Plan and Targets are needed.
type Options struct {
	Turns    []trace.Turn // payloads must stay as they are until Run has returned
	Plan     trace.Plan
	Targets  []Target
	Balance  Balance   // how requests are shared among the targets; "" is RoundRobin
	Overlays []Overlay // applied to each body, in order
	// CacheSalt gives each body a "cache_salt" of its own, made of this seed and
	// the request's Seq, so that no server finds its prefix in a cache.
	CacheSalt  trace.Opt[int64]
	Preconnect int // connections that Engine.Preconnect opens
	Client     ClientOptions
	Clock      *trace.SteadyClock // stamps everything; nil starts one
	Shard      Shard              // which part of the run this client is
	StartAt    time.Time          // when the first phase begins, by the wall clock; zero is at once
	Sleeper    Sleeper            // waits for what is due in an open loop; nil has Go's timers. Each phase's arrivals lock it once
}

// Engine replays a trace once. Its methods may be called from any goroutine.
type Engine struct {
	opt       Options
	layout    *layout
	schedules []*Schedule // of the plan's phases; nil of idle ones
	clock     *trace.SteadyClock
	client    *Client
	balance   balancer
	ran       atomic.Bool

	phase     atomic.Pointer[phaseRun] // the one that sends, or sent last
	sent      atomic.Int64
	succeeded atomic.Int64
	failed    atomic.Int64
	cancelled atomic.Int64
	inFlight  atomic.Int64
	output    atomic.Int64 // tokens
}

// New checks opt and returns an Engine for one Run.
func New(opt Options) (*Engine, error) {
	if len(opt.Turns) == 0 {
		return nil, errors.New("the trace is empty")
	}
	if len(opt.Targets) == 0 {
		return nil, errors.New("no server to send to")
	}
	if err := opt.Plan.Validate(); err != nil {
		return nil, err
	}
	for _, ph := range opt.Plan.Phases {
		if ph.FirstLine > int64(len(opt.Turns)) {
			return nil, fmt.Errorf("phase %q: first_line %d is beyond the trace's %d turns", ph.Name, ph.FirstLine, len(opt.Turns))
		}
		if ph.LoadKind() == trace.ClosedLoop && falls(ph.Ramp, float64(ph.Concurrency)) {
			return nil, fmt.Errorf("phase %q: the ramp of a closed loop cannot fall: its slots go on to the end", ph.Name)
		}
	}
	if s := opt.Shard; s.Index < 0 || s.Index >= max(1, s.Count) {
		return nil, fmt.Errorf("shard %d of %d: the first is 0", s.Index, s.Count)
	}
	if late := time.Since(opt.StartAt); !opt.StartAt.IsZero() && late > 0 {
		return nil, fmt.Errorf("the time to start at was %v ago", late.Round(time.Millisecond))
	}
	if err := checkHeader(opt.Client.Header, opt.Client.Key); err != nil {
		return nil, err
	}
	e := &Engine{opt: opt, layout: newLayout(opt.Turns), clock: opt.Clock}
	if e.clock == nil {
		e.clock = trace.NewSteadyClock()
	}
	if err := e.plan(); err != nil {
		return nil, err
	}
	var err error
	if e.balance, err = newBalancer(opt.Balance, len(opt.Targets)); err != nil {
		return nil, err
	}
	if e.client, err = NewClient(e.clock, opt.Client); err != nil {
		return nil, err
	}
	return e, nil
}

// Preconnect opens the connections that are to be opened ahead, to the targets in
// turn, for the first requests of Run to take. Those that the server has closed by
// then are made anew.
func (e *Engine) Preconnect(ctx context.Context) error {
	return e.client.Preconnect(ctx, e.opt.Targets, e.opt.Preconnect)
}

// KernelClockLost says when the wall clock was found to have been set, if it
// was: from then on the client stamps what arrives, and not the kernel.
func (e *Engine) KernelClockLost() trace.Opt[trace.Time] {
	if e.client.kernel == nil {
		return trace.Opt[trace.Time]{}
	}
	return known(&e.client.kernel.lost)
}

// plan makes the schedules of the phases, all before the first begins.
func (e *Engine) plan() error {
	for i := range e.opt.Plan.Phases {
		ph := &e.opt.Plan.Phases[i]
		var s *Schedule
		if ph.Kind != trace.Idle {
			var err error
			if s, err = newSchedule(e.layout, e.opt.Turns, ph, i+1, e.opt.Plan.Seed, e.opt.Shard); err != nil {
				return fmt.Errorf("phase %q: %w", ph.Name, err)
			}
			if n := ph.Slots(); n > 0 && s.Slots() == 0 {
				return fmt.Errorf("phase %q: shard %d of %d has none of its %d slots", ph.Name, e.opt.Shard.Index, e.opt.Shard.Count, n)
			}
			// A limit of which this shard has nothing must not become no limit.
			if n := ph.Concurrency; n > 0 && e.opt.Shard.Share(n) == 0 {
				return fmt.Errorf("phase %q: shard %d of %d has no part in its concurrency of %d", ph.Name, e.opt.Shard.Index, e.opt.Shard.Count, n)
			}
			if n := ph.Prefills; n > 0 && e.opt.Shard.Share(n) == 0 {
				return fmt.Errorf("phase %q: shard %d of %d has no part in its prefills of %d", ph.Name, e.opt.Shard.Index, e.opt.Shard.Count, n)
			}
		}
		e.schedules = append(e.schedules, s)
	}
	return nil
}

// Clock returns the clock that stamps the run.
func (e *Engine) Clock() *trace.SteadyClock { return e.clock }

// falls reports whether a ramp falls, or a level that follows on it is lower.
func falls(ramp []trace.RampPoint, after float64) bool {
	for i, p := range ramp {
		next := after
		if i+1 < len(ramp) {
			next = ramp[i+1].Value
		}
		if next < p.Value {
			return true
		}
	}
	return false
}

// checkHeader refuses what net/http would refuse at each request. A value is
// not shown: it may be a secret.
func checkHeader(h http.Header, key string) error {
	for name, values := range h {
		for _, c := range []byte(name) {
			if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
				return fmt.Errorf("header %q: not a header name", name)
			}
		}
		if name == "" {
			return errors.New("a header without a name")
		}
		for _, v := range values {
			if !isFieldValue(v) {
				return fmt.Errorf("header %q: the value has a control character", name)
			}
		}
	}
	if !isFieldValue(key) {
		return errors.New("the key has a control character")
	}
	return nil
}

// isFieldValue reports whether v may be the value of a header (RFC 9110, 5.5).
func isFieldValue(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// Result is how a run went.
type Result struct {
	Sent, Succeeded, Failed, Cancelled int64
	Classes                            map[trace.ErrorClass]int64 // of the failed
	First                              trace.RequestError         // of the first that failed
	InputTokens, OutputTokens          int64                      // those that are known
	Begin, End                         trace.Time                 // of the first phase, of the last
	Stopped                            bool                       // before the plan was done
	Reason                             string                     // why it stopped by itself; "" if it did not
	Held                               map[string]int64           // of phases by name: requests that were due and had to wait for a ceiling or a prefill
	Client                             Judgement                  // on the client itself
}

// Progress is how a run is going.
type Progress struct {
	Phase           string // the one that sends; "" before the first
	Number, Phases  int    // Phase is the Number-th of Phases
	Kind            trace.PhaseKind
	Since           trace.Time            // start of the phase
	Until           trace.Opt[trace.Time] // when it stops sending, if time ends it
	Handed          int64                 // requests of the phase that were handed out
	Total           trace.Opt[int64]      // requests of the phase, if their number ends it
	Now             trace.Time
	Sent, Succeeded int64 // of the run
	Failed          int64
	Cancelled       int64
	InFlight        int64
	OutputTokens    int64 // of requests that have ended
}

// Progress returns how the run is going. It may be called while Run runs.
func (e *Engine) Progress() Progress {
	p := Progress{
		Phases: len(e.opt.Plan.Phases), Now: e.clock.Now(),
		Sent: e.sent.Load(), Succeeded: e.succeeded.Load(), Failed: e.failed.Load(), Cancelled: e.cancelled.Load(),
		InFlight: e.inFlight.Load(), OutputTokens: e.output.Load(),
	}
	if ph := e.phase.Load(); ph != nil {
		p.Phase, p.Kind, p.Number, p.Since = ph.plan.Name, ph.plan.Kind, ph.number, ph.start
		p.Handed = ph.handed.Load()
		if ph.plan.Duration > 0 {
			p.Until = trace.Some(ph.start.Add(ph.plan.Duration))
		}
		if ph.schedule != nil {
			p.Total = ph.schedule.Total()
		}
	}
	return p
}

// snapshotEvery and clientEvery are how often the clocks and the client's own
// use are noted.
const (
	clientEvery   = time.Second
	snapshotEvery = 10 * time.Second
)
