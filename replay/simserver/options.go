package simserver

import (
	"errors"
	"fmt"
	"time"

	"wattrace/trace"
)

// Options says how a server behaves. The zero value is a server of the size of
// a model of some ten billion parameters on a current board.
type Options struct {
	Model    string // name of the model; "" is DefaultModel
	AnyModel bool   // answer for every model, not only this one
	Dialect  Dialect
	Seed     uint64  // decides words, and the lengths of answers that end by themselves
	Speed    float64 // how much faster than the timing says; 0 is 1

	Timing      Timing // the zero Timing is DefaultTiming
	MaxBatch    int    // most sequences that run at once; 0 is 256
	TokenBudget int    // most tokens in one step, of prompts and answers; 0 is 2048
	MaxContext  int    // most tokens of a prompt and its answer; 0 is 131,072
	MaxBody     int64  // most bytes of a request's body; 0 is 64 MiB
	MaxQueue    int    // most sequences that wait, where the dialect has such a limit; 0 is none

	ReasoningTokens int  // so many of the first tokens of a chat or a response are reasoning
	FailEvery       int  // every so many-th request fails before its last token; 0 is none
	RequestMetrics  bool // answers or pages say the times of each request, where the dialect can

	// Energy returns the joules that the server has drawn, for the page that the
	// dialect may have of them; nil: it does not know.
	Energy func() float64

	// Clock stamps the steps; nil is a new one.
	Clock *trace.SteadyClock

	// OnStep is called from Run at the start of each step, and when there is
	// nothing more to do. It delays the step that it announces, not the ones
	// after.
	OnStep func(Step)
}

// DefaultModel is the name of the model when none is given. It says what it is.
const DefaultModel = "wattrace-simulated"

// Step is one step of the batch. All counts are zero when a rest begins, which
// has no known end.
type Step struct {
	Start, End    trace.Time // as scheduled; of a rest both are its beginning
	PrefillTokens int        // tokens of prompts fed
	DecodeTokens  int        // sequences that get a further token
	Running       int        // sequences in the batch
	Waiting       int        // sequences in the queue
	ContextTokens int64      // tokens that the decoded sequences have in their caches
}

// Rest reports whether s is the beginning of a rest.
func (s Step) Rest() bool { return s.PrefillTokens == 0 && s.DecodeTokens == 0 }

// Timing says how long a step takes: Base + PerPrefillToken * prefill tokens +
// PerSequence * decoded sequences + PerContextToken * context tokens.
type Timing struct {
	Base            time.Duration // reading the weights, launching kernels
	PerPrefillToken time.Duration // computing a token of a prompt
	PerSequence     time.Duration // sampling and scheduling one sequence
	PerContextToken time.Duration // reading one cached token
}

// DefaultTiming is H100-like: about 20,000 prompt tokens a second, and a decode
// step of 12 ms for one sequence and 17 ms for 32 of a thousand tokens. It is
// plausible, not a fit to a model.
var DefaultTiming = Timing{
	Base:            12 * time.Millisecond,
	PerPrefillToken: 50 * time.Microsecond,
	PerSequence:     120 * time.Microsecond,
	PerContextToken: 50 * time.Nanosecond,
}

// of returns how long a step takes.
func (t Timing) of(s Step) time.Duration {
	return t.Base + time.Duration(s.PrefillTokens)*t.PerPrefillToken +
		time.Duration(s.DecodeTokens)*t.PerSequence + time.Duration(s.ContextTokens)*t.PerContextToken
}

// withDefaults fills in what is zero and refuses what cannot be.
func (o Options) withDefaults() (Options, error) {
	if o.Model == "" {
		o.Model = DefaultModel
	}
	if o.Dialect == "" {
		o.Dialect = VLLM
	}
	if _, ok := dialects[o.Dialect]; !ok {
		return o, fmt.Errorf("unknown dialect %q (%s)", o.Dialect, dialectNames())
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	if o.Timing == (Timing{}) {
		o.Timing = DefaultTiming
	}
	setDefault(&o.MaxBatch, 256)
	setDefault(&o.TokenBudget, 2048)
	setDefault(&o.MaxContext, 131_072)
	setDefault(&o.MaxBody, 64<<20)
	if o.Clock == nil {
		o.Clock = trace.NewSteadyClock()
	}
	t := o.Timing
	switch {
	case !(o.Speed > 0 && o.Speed <= 1e6):
		return o, fmt.Errorf("speed %v: must be above 0 and at most 1e6", o.Speed)
	case o.MaxBatch < 0 || o.TokenBudget < 0 || o.MaxContext < 0 || o.MaxBody < 0 || o.MaxQueue < 0 || o.ReasoningTokens < 0 || o.FailEvery < 0:
		return o, errors.New("a limit is negative")
	case o.MaxQueue > 0 && dialects[o.Dialect].rules().full == nil:
		return o, fmt.Errorf("the queue of %s has no limit", o.Dialect)
	case o.RequestMetrics && o.Dialect != VLLM && o.Dialect != TRTLLM:
		return o, fmt.Errorf("%s does not say the times of requests on request of its operator", o.Dialect)
	case o.TokenBudget < o.MaxBatch:
		return o, errors.New("the token budget of a step is below the largest batch")
	case t.Base <= 0 || t.PerPrefillToken < 0 || t.PerSequence < 0 || t.PerContextToken < 0:
		return o, errors.New("a step must take time, and no part of it a negative one")
	}
	return o, nil
}

func setDefault[T int | int64](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}
