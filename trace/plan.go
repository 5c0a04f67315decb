package trace

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// PhaseKind says what a phase is for.
type PhaseKind string

// The kinds of phase. Only measure phases are results; the others are there so
// that the results are clean, and are reported all the same.
const (
	Idle     PhaseKind = "idle"     // no requests: what the devices draw at rest
	Warmup   PhaseKind = "warmup"   // requests whose results do not count
	Measure  PhaseKind = "measure"  // the requests that count
	Cooldown PhaseKind = "cooldown" // requests after the ones that count
)

// MaxConcurrency bounds the requests that a phase keeps in flight: more than one
// host has ports for.
const MaxConcurrency = 1 << 16

// Plan is the load of a run: its phases, one after another.
type Plan struct {
	Seed   uint64 // of everything that is drawn at random: the same seed gives the same run
	Phases []Phase
}

// Phase is a part of a run with a load of its own. It is [start, end): it
// drains, and ends when its last request has ended, unless Handover is set.
//
// What makes its load is one of four: Rate, Users, FromTrace, or else Concurrency
// alone, which is a closed loop.
type Phase struct {
	Name        string // unique in the plan
	Kind        PhaseKind
	Concurrency int           // requests in flight at once: of a closed loop always, of an open one at most; 0 is no such limit
	Load                      // what is not the closed loop, and what shapes the load
	Requests    int64         // stop after this many; 0 is no such limit
	Duration    time.Duration // stop sending after this long; 0 is no such limit
	FirstLine   int64         // 1-based turn of the trace to begin with; 0 is 1
	Grace       time.Duration // cancel what is in flight this long after the last send; 0 waits for all
	Handover    bool          // end where the next phase starts, without a drain
}

// Validate reports the first contradiction in p.
func (p *Plan) Validate() error {
	if len(p.Phases) == 0 {
		return errors.New("the plan has no phase")
	}
	seen := map[string]bool{}
	for i, ph := range p.Phases {
		if ph.Name == "" {
			return fmt.Errorf("phase %d has no name", i+1)
		}
		if i := strings.IndexFunc(ph.Name, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			return fmt.Errorf("phase %q: the name has a character that cannot be printed", ph.Name)
		}
		if seen[ph.Name] {
			return fmt.Errorf("phase %q: the name is used twice", ph.Name)
		}
		seen[ph.Name] = true
		if err := ph.validate(); err != nil {
			return fmt.Errorf("phase %q: %w", ph.Name, err)
		}
		if ph.Handover && i == len(p.Phases)-1 {
			return fmt.Errorf("phase %q: handover needs a phase after it", ph.Name)
		}
		if ph.Handover && p.Phases[i+1].Kind == Idle {
			return fmt.Errorf("phase %q: handover to an idle phase would leave requests in it", ph.Name)
		}
	}
	return nil
}

func (ph *Phase) validate() error {
	switch {
	case ph.Requests < 0 || ph.Duration < 0 || ph.Grace < 0 || ph.FirstLine < 0 || ph.Concurrency < 0:
		return errors.New("a limit is negative")
	case ph.Kind == Idle && (ph.Concurrency != 0 || ph.Requests != 0 || ph.FirstLine != 0 || ph.Grace != 0 || ph.Handover || !ph.Load.isZero()):
		return errors.New("an idle phase has a duration and nothing else")
	case ph.Kind == Idle && ph.Duration == 0:
		return errors.New("an idle phase needs a duration")
	case ph.Kind == Idle:
		return nil
	case ph.Kind != Warmup && ph.Kind != Measure && ph.Kind != Cooldown:
		return fmt.Errorf("unknown kind %q (idle, warmup, measure, cooldown)", ph.Kind)
	case ph.Concurrency > MaxConcurrency:
		return fmt.Errorf("concurrency must be at most %d", MaxConcurrency)
	case ph.Users > MaxConcurrency:
		return fmt.Errorf("users must be at most %d", MaxConcurrency)
	case ph.FirstLine > 1 && (ph.Order == Shuffle || ph.Order == Random):
		return fmt.Errorf("first_line means nothing in the order %q", ph.Order)
	}
	return ph.validateLoad()
}
