package reduce

import (
	"fmt"
	"slices"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/formats/logs"
	"wattrace/reduce"
	"wattrace/trace"
)

// doubt is a warning that is found before there is a report.
type doubt struct {
	code reduce.Code
	text string
}

// placeLogs sorts out logs that are statements only, and those of which it is not known
// when they were: --same-boot says it of some, and of the others nothing is said of energy.
func (s *job) placeLogs() error {
	for _, l := range s.logs {
		l.boot = l.content.Time == logs.Steady
		for _, st := range l.content.Stated {
			out := reduce.Statement{Tool: st.Tool, Path: l.in.Name(), Run: st.Run, Figures: []reduce.StatedFigure{}}
			for _, f := range st.Figures {
				out.Figures = append(out.Figures, reduce.StatedFigure{Name: f.Name, Unit: f.Unit, Value: f.Value})
			}
			s.stated = append(s.stated, out)
		}
		for _, note := range l.content.Notes {
			s.doubts = append(s.doubts, doubt{reduce.WarnLogLimits, l.in.Name() + ": " + note})
		}
	}
	several := 0
	for _, l := range s.logs {
		if l.content.Requests {
			several++
		}
	}
	s.logs = slices.DeleteFunc(s.logs, func(l *logFile) bool {
		c := l.content
		bare := len(c.Totals) > 0 && c.Sent() == 0 && c.Time == logs.Unplaced && several > 1 // beside other logs
		if c.Requests && !bare {
			return false
		}
		if c.Aggregate != nil || c.Audit != nil || len(c.Answers) > 0 {
			return true // it is said of what they are
		}
		s.doubts = append(s.doubts, doubt{reduce.WarnLogLimits, l.in.Name() + ": holds figures and no requests: they are given as they stand (stated)"})
		return true
	})
	for _, l := range s.logs {
		if recording, said := s.opt.inputs.boots[l.in.Name()]; said && l.boot {
			if err := s.sameBoot(l, recording); err != nil {
				return err
			}
		}
	}
	framed := slices.IndexFunc(s.logs, func(l *logFile) bool { return l.content.Time == logs.Framed })
	if framed >= 0 && (len(s.opt.windows) > 0 || s.opt.reduce.Every > 0) {
		return fmt.Errorf("%s: it does not say when its requests were sent: nothing can be said of parts of the run (--window, --every)", s.logs[framed].in.Name())
	}
	i := slices.IndexFunc(s.logs, func(l *logFile) bool { return l.content.Time != logs.Known && l.content.Time != logs.Framed })
	if i < 0 {
		return nil
	}
	l := s.logs[i]
	why := "it does not say when its requests were sent"
	if l.boot {
		why = "its times are since a boot that it does not name"
	}
	switch {
	case len(s.logs) > 1:
		return cli.Hint(fmt.Errorf("%s: %s, so that it cannot be put beside another log", l.in.Name(), why), "reduce it alone")
	case len(s.opt.windows) > 0:
		return fmt.Errorf("%s: %s: nothing can be said of a --window", l.in.Name(), why)
	case s.opt.reduce.Every > 0 && l.content.Time == logs.Unplaced:
		return fmt.Errorf("%s: %s: nothing can be said of slices (--every)", l.in.Name(), why)
	case len(s.tele) == 0:
		return nil
	}
	hint, err := s.bootHint(l)
	if err != nil {
		return err
	}
	s.doubts = append(s.doubts, doubt{reduce.WarnNoClock, fmt.Sprintf("%s: %s, so that it is not joined with %s: nothing is said of power and energy%s", l.in.Name(), why, s.tele[0].in.Name(), hint)})
	for _, t := range s.tele {
		s.forget(t.in)
		if err := t.in.Close(); err != nil {
			return err
		}
	}
	s.tele = nil
	return nil
}

// clockOf returns the clock of a recording, of which nothing else has been read yet.
func (s *job) clockOf(t *teleFile) (trace.Clock, error) {
	r, err := s.openTelemetry(t)
	if err != nil {
		return trace.Clock{}, err
	}
	return r.Head().Clock, nil
}

// sameBoot puts a log on the boot of a recording; "" is that of all.
func (s *job) sameBoot(l *logFile, recording string) error {
	var found *trace.Clock
	for _, t := range s.tele {
		if recording != "" && t.in.Name() != recording {
			continue
		}
		c, err := s.clockOf(t)
		if err != nil {
			return err
		}
		switch {
		case c.BootID == "" || c.Anchor.MonotonicNanos == 0:
			if recording != "" {
				return cli.Usagef("--same-boot: %s does not name its boot, as recordings of record do", recording)
			}
			continue
		case found != nil && found.BootID != c.BootID:
			return cli.Usagef("--same-boot: the recordings are of several boots: say which, as in %s=%s", l.in.Name(), t.in.Name())
		}
		if found == nil {
			found = &c
		}
	}
	if found == nil {
		if recording != "" {
			return cli.Usagef("--same-boot: %s is not among the recordings", recording)
		}
		return cli.Usagef("--same-boot: there is no recording that names its boot, as those of record do")
	}
	l.content.On(*found)
	return nil
}

// bootHint says where a log would lie in the recordings if it were of their boot.
func (s *job) bootHint(l *logFile) (string, error) {
	if !l.boot {
		return "", nil
	}
	for _, t := range s.tele {
		c, err := s.clockOf(t)
		if err != nil {
			return "", err
		}
		if c.BootID == "" || c.Anchor.MonotonicNanos == 0 {
			continue
		}
		from, to := l.content.Spans()
		after := time.Duration(from - c.Anchor.MonotonicNanos).Round(time.Millisecond)
		where := fmt.Sprintf("%v after", after)
		if after < 0 {
			where = fmt.Sprintf("%v before", -after)
		}
		return fmt.Sprintf(" (if both are of one boot of one host it begins %s the start of %s and takes %v: --same-boot %s joins them so, exactly)",
			where, t.in.Name(), time.Duration(to-from).Round(time.Millisecond), l.in.Name()), nil
	}
	return "", nil
}
