package reduce

import (
	"fmt"
	"strings"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/reduce"
	"wattrace/trace"
)

// joint moves the times of a file to the common clock.
type joint struct {
	trace.Joint
	given bool // by --clock-offset
}

// join returns what moves the times of a file to the common clock; from and to
// bound what of it matters, on its own clock.
func (s *job) join(name string, d trace.Clocks, from, to trace.Time) joint {
	j := joint{Joint: s.common.Join(d, from, to)}
	if o, ok := s.opt.inputs.offsets[name]; ok {
		j.Offset += o.by
		j.Spread, j.given = o.spread, true
	}
	return j
}

// clockOffset is a --clock-offset.
type clockOffset struct{ by, spread time.Duration }

// parseClockOffset reads FILE=DUR or FILE=DUR±SPREAD, also written +-.
func parseClockOffset(s string) (file string, o clockOffset, err error) {
	fail := func(why string) (string, clockOffset, error) {
		return "", o, cli.Usagef("--clock-offset %q: %s; want FILE=TIME or FILE=TIME±TIME, as in b.arrows=-1.5s±20ms", s, why)
	}
	i := strings.LastIndexByte(s, '=')
	if i <= 0 {
		return fail("it names no file")
	}
	by, spread, uncertain := strings.Cut(strings.Replace(s[i+1:], "+-", "±", 1), "±")
	if o.by, err = time.ParseDuration(by); err != nil {
		return fail(fmt.Sprintf("%q is no time", by))
	}
	if uncertain {
		if o.spread, err = time.ParseDuration(spread); err != nil || o.spread < 0 {
			return fail(fmt.Sprintf("%q is no time above zero", spread))
		}
	}
	return s[:i], o, nil
}

// maxSteps is of how many steps of one clock a report warns.
const maxSteps = 3

// warnClocks warns of files that were joined by wall clocks, and of clocks that
// did not run evenly.
func (s *job) warnClocks() {
	for _, l := range s.logs {
		for _, r := range l.runs {
			s.warnJoint(l.in.Name(), r.clocks.Clock, r.joint)
			s.warnSteps(l.in.Name(), r.clocks)
		}
	}
	for _, t := range s.tele {
		if t == t.of.files[0] {
			s.warnJoint(t.in.Name(), t.head.Clock, t.joint)
		}
		for i, c := range t.clocks {
			if i == 0 && t != t.of.files[0] {
				continue
			}
			if i == 0 {
				c = t.of.clocks()
			}
			if innerSpread(t.clocks[:i+1]) > 0 {
				s.r.Warn(reduce.WarnClock, "", "", "%s: its recordings of %s and %s are joined by their wall clocks, whose difference is not known: ± %v is assumed",
					t.in.Name(), hostName(t.head.Clock), hostName(c.Clock), trace.HostSpread)
			}
			s.warnSteps(t.in.Name(), c)
		}
	}
	s.warnUnsynchronised()
}

func (s *job) warnJoint(file string, clock trace.Clock, j joint) {
	switch {
	case j.Exact || j.given:
	case clock.Host == s.common.Host && clock.Host != "":
		s.r.Warn(reduce.WarnClock, "", "", "%s: joined by the wall clock of %s, ± %v", file, clock.Host, j.Spread)
	default:
		s.r.Warn(reduce.WarnClock, "", "", "%s: joined by the wall clocks of %s and %s, whose difference is not known: ± %v is assumed (--clock-offset says better)",
			file, hostName(clock), hostName(s.common.Clock), j.Spread)
	}
}

func hostName(c trace.Clock) string {
	if c.Host == "" {
		return "a host without a name"
	}
	return c.Host
}

func (s *job) warnSteps(file string, c trace.Clocks) {
	steps := c.Steps()
	for i, step := range steps {
		if i == maxSteps {
			s.r.Warn(reduce.WarnClockStep, "", "", "%s: ... and %d times more", file, len(steps)-maxSteps)
			return
		}
		const layout = "2006-01-02T15:04:05.000Z"
		when := fmt.Sprintf("between %s and %s", c.Wall(step.After).Format(layout), c.Wall(step.Before).Format(layout))
		if step.Suspended != 0 {
			s.r.Warn(reduce.WarnClockStep, "", "", "%s: %s was suspended for %v %s", file, hostName(c.Clock), step.Suspended, when)
		}
		if step.Wall != 0 {
			way := "forward"
			if step.Wall < 0 {
				way = "back"
			}
			s.r.Warn(reduce.WarnClockStep, "", "", "%s: the wall clock of %s was set %s by %v %s", file, hostName(c.Clock), way, step.Wall.Abs(), when)
		}
	}
}
