package convert

import (
	"container/heap"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"wattrace/cmd/internal/cli"
	"wattrace/formats"
	"wattrace/formats/bodies"
	"wattrace/trace"
)

// shape is what of a trace is taken, and how fast it goes.
type shape struct {
	after, before time.Duration // since the first request's time; before 0 is no end
	maxInput      int64         // tokens; 0 is no limit
	sample        int64         // conversations; 0 is all
	seed          int64
	limit         int64   // requests; 0 is all
	speedup       float64 // 0 is 1
}

func (s *shape) flags() []ucli.Flag {
	return []ucli.Flag{
		&ucli.DurationFlag{Name: "after", Usage: "leave out what begins before `TIME` (10m) since the first request; the times then count from there", Destination: &s.after},
		&ucli.DurationFlag{Name: "before", Usage: "leave out what begins at `TIME` since the first request, or later", Destination: &s.before},
		&ucli.Int64Flag{Name: "max-input-tokens", Usage: "leave out requests whose prompt has more than `N` tokens, and what follows in their conversations", Destination: &s.maxInput},
		&ucli.Int64Flag{Name: "sample", Usage: "take `N` conversations by chance, each whole and all in their order; a request without one is one", Destination: &s.sample},
		&ucli.Int64Flag{Name: "seed", Usage: "another `N`, another sample", Destination: &s.seed},
		&ucli.Int64Flag{Name: "limit", Usage: "end after `N` requests", Destination: &s.limit},
		&ucli.Float64Flag{Name: "speedup", Usage: "divide times and delays by `X`", Destination: &s.speedup},
	}
}

// check refuses values that mean nothing.
func (s *shape) check(c *ucli.Context) error {
	switch {
	case s.after < 0:
		return cli.Usagef("--after %v: is negative", s.after)
	case c.IsSet("before") && s.before <= s.after:
		return cli.Usagef("--before %v: want a time after --after %v", s.before, s.after)
	case c.IsSet("speedup") && !(s.speedup > 0 && s.speedup <= math.MaxFloat64):
		return cli.Usagef("--speedup %v: want a number above 0", s.speedup)
	case c.IsSet("seed") && s.sample == 0:
		return cli.Usagef("--seed is for --sample")
	}
	for name, n := range map[string]int64{"max-input-tokens": s.maxInput, "sample": s.sample, "limit": s.limit} {
		if c.IsSet(name) && n < 1 {
			return cli.Usagef("--%s %d: want at least 1", name, n)
		}
	}
	return nil
}

// asked reports whether anything is left out or changed.
func (s *shape) asked() bool { return *s != shape{} }

func (s *shape) ranged() bool { return s.after > 0 || s.before > 0 }

// keepsState reports whether conversations must be remembered.
func (s *shape) keepsState() bool { return s.ranged() || s.maxInput > 0 || s.sample > 0 }

// A selection is one pass over the rows, which says of each whether it is taken.
type selection struct {
	shape
	count  func(*formats.Request) error // fills in InputTokens, if it can
	chosen map[int64]bool               // units of the sample; nil takes all
	of     int64                        // units that it was taken of
	offer  func(unit int64)             // of a survey: told of each unit

	talks   map[string]*talk
	units   int64 // conversations, and requests without one
	started bool
	first   float64 // the first request's time

	taken, outside, tooLong, afterTooLong, notSampled int64
}

// talk is what was decided of a conversation.
type talk struct {
	outside, ended bool
	unit           int64 // 0: none yet
}

func newSelection(s shape, count func(*formats.Request) error) *selection {
	return &selection{shape: s, count: count, talks: map[string]*talk{}}
}

// errEnough is that no further row is wanted.
var errEnough = errors.New("enough")

// take decides whether a row is taken, and moves its times if it is. A fault is one
// of the row.
func (s *selection) take(row *formats.Request) (bool, error) {
	if s.limit > 0 && s.taken == s.limit {
		return false, errEnough
	}
	at, timed := row.Timing.AtSeconds.Get()
	if timed && !s.started {
		s.started, s.first = true, at
	}
	var t talk
	known := &t
	if row.Conversation != "" && s.keepsState() {
		if known = s.talks[row.Conversation]; known == nil {
			known = &t
			if s.ranged() {
				if !timed {
					return false, untimed(row)
				}
				known.outside = !s.within(at)
			}
			known = &talk{outside: known.outside}
			s.talks[row.Conversation] = known
		}
	} else if s.ranged() {
		if !timed {
			return false, untimed(row)
		}
		known.outside = !s.within(at)
	}
	if known.outside {
		s.outside++
		return false, nil
	}
	if known.ended {
		s.afterTooLong++
		return false, nil
	}
	if s.maxInput > 0 {
		long, err := s.isTooLong(row)
		if err != nil {
			return false, err
		}
		if long {
			s.tooLong++
			known.ended = true
			return false, nil
		}
	}
	if known.unit == 0 {
		s.units++
		known.unit = s.units
		if s.offer != nil {
			s.offer(s.units)
		}
	}
	if s.chosen != nil && !s.chosen[known.unit] {
		s.notSampled++
		return false, nil
	}
	s.taken++
	return true, s.move(row)
}

func untimed(row *formats.Request) error {
	return bodies.FaultOf(row, errors.New("no time, by which --after and --before go"))
}

func (s *selection) within(at float64) bool {
	at -= s.first
	return at >= s.after.Seconds() && (s.before == 0 || at < s.before.Seconds())
}

func (s *selection) isTooLong(row *formats.Request) (bool, error) {
	if !row.Timing.InputTokens.OK {
		if err := s.count(row); err != nil {
			return false, err
		}
	}
	n, ok := row.Timing.InputTokens.Get()
	if !ok {
		return false, bodies.FaultOf(row, errUncounted)
	}
	return n > s.maxInput, nil
}

var errUncounted = errors.New("how many tokens the prompt has is not known, by which --max-input-tokens goes; --tokenizer counts those of texts")

// move changes the times of a row that is taken.
func (s *selection) move(row *formats.Request) error {
	at, delay := &row.Timing.AtSeconds, &row.Timing.DelaySeconds
	if at.OK && s.after > 0 {
		// A later turn may have an earlier time.
		at.V = max(0, at.V-s.first-s.after.Seconds())
	}
	if s.speedup == 0 {
		return nil
	}
	at.V /= s.speedup
	delay.V /= s.speedup
	const most = 1 << 61 / 1e9 // what a side file may say
	if at.V > most || delay.V > most {
		return bodies.FaultOf(row, fmt.Errorf("divided by --speedup %v it is beyond what can be scheduled", s.speedup))
	}
	return nil
}

// leftOut says what was not taken and why; "" is nothing.
func (s *selection) leftOut() string {
	var parts []string
	add := func(n int64, format string, args ...any) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d ", n)+fmt.Sprintf(format, args...))
		}
	}
	add(s.outside, "outside the time range")
	add(s.tooLong, "of more than %d tokens", s.maxInput)
	add(s.afterTooLong, "that follow those in their conversations")
	add(s.notSampled, "not in the sample of %d of %d", int64(len(s.chosen)), s.of)
	return strings.Join(parts, ", ")
}

// A sampler chooses the units with the lowest marks, which are a bijection of
// their numbers: each set is as likely, a larger sample has all of a smaller one,
// and the memory is that of the sample.
type sampler struct {
	most int
	seed uint64
	kept marks
}

type marked struct {
	mark uint64
	unit int64
}

type marks []marked // the highest first

func (m marks) Len() int           { return len(m) }
func (m marks) Less(i, j int) bool { return m[i].mark > m[j].mark }
func (m marks) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m *marks) Push(x any)        { *m = append(*m, x.(marked)) }
func (m *marks) Pop() any {
	last := len(*m) - 1
	x := (*m)[last]
	*m = (*m)[:last]
	return x
}

func (s *sampler) offer(unit int64) {
	m := marked{mix(mix(uint64(unit)) ^ s.seed), unit}
	if len(s.kept) < s.most {
		heap.Push(&s.kept, m)
	} else if m.mark < s.kept[0].mark {
		s.kept[0] = m
		heap.Fix(&s.kept, 0)
	}
}

func (s *sampler) chosen() map[int64]bool {
	units := make(map[int64]bool, len(s.kept))
	for _, m := range s.kept {
		units[m.unit] = true
	}
	return units
}

// mix is the step and the finaliser of SplitMix64.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// survey reads all rows to choose the sample, and counts what it is of. Faults of rows are left to the pass
// that writes them, if they are to be skipped.
func (c *conversion) survey(r formats.RequestReader, s shape) (chosen map[int64]bool, of int64, _ error) {
	pick := &sampler{most: int(min(s.sample, math.MaxInt32)), seed: mix(uint64(s.seed))}
	s.limit, s.sample = 0, 0
	sel := newSelection(s, c.bodies.Count)
	sel.talks, sel.offer = map[string]*talk{}, pick.offer
	sel.sample = 1 // so that conversations are kept together
	var row formats.Request
	var ids []int32
	for {
		if c.ctx.Err() != nil {
			return nil, 0, cli.ErrInterrupted
		}
		row.IDs = ids[:0]
		err := r.Read(&row)
		if cap(row.IDs) > cap(ids) {
			ids = row.IDs
		}
		if err == nil {
			_, err = sel.take(&row)
		}
		var syntax *trace.SyntaxError
		switch {
		case err == io.EOF:
			return pick.chosen(), sel.units, nil
		case err == nil:
			c.surveyed.Add(1)
		case c.keepGoing && errors.As(err, &syntax):
		case c.keepGoing && errors.Is(err, io.ErrUnexpectedEOF):
			return pick.chosen(), sel.units, nil
		default:
			return nil, 0, err
		}
	}
}
