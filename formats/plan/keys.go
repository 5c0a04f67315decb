package plan

import (
	"math"
	"time"

	"wattrace/formats/strictyaml"
	"wattrace/trace"
)

// key is one key of a phase, in every form of a plan.
type key struct {
	name  string
	field func(*trace.Phase) field
}

// field is what a key's value is kept in.
type field interface {
	isZero() bool
	json() string                                           // the value as JSON, and but for quotes as YAML
	yaml(f file, key string, n strictyaml.Node) (err error) // sets the value
	unmarshal(b []byte) error                               // sets the value by its JSON
}

// keys are those of a phase but for its name, in the order in which they are
// written.
var keys = []key{
	{"kind", func(p *trace.Phase) field { return word[trace.PhaseKind]{&p.Kind} }},
	{"concurrency", func(p *trace.Phase) field { return whole[int]{&p.Concurrency, 1, 1 << 20} }},
	{"rate", func(p *trace.Phase) field { return positive{&p.Rate} }},
	{"arrival", func(p *trace.Phase) field { return word[trace.Arrival]{&p.Arrival} }},
	{"shape", func(p *trace.Phase) field { return positive{&p.Shape} }},
	{"normalize", func(p *trace.Phase) field { return truth{&p.Normalize} }},
	{"times", func(p *trace.Phase) field { return times{&p.FromTrace} }},
	{"speedup", func(p *trace.Phase) field { return positive{&p.Speedup} }},
	{"from", func(p *trace.Phase) field { return span{&p.From} }},
	{"to", func(p *trace.Phase) field { return span{&p.To} }},
	{"max_gap", func(p *trace.Phase) field { return span{&p.MaxGap} }},
	{"strict", func(p *trace.Phase) field { return truth{&p.Strict} }},
	{"users", func(p *trace.Phase) field { return whole[int]{&p.Users, 1, 1 << 20} }},
	{"turn_gap", func(p *trace.Phase) field { return span{&p.TurnGap} }},
	{"think", func(p *trace.Phase) field { return span{&p.Think} }},
	{"stagger", func(p *trace.Phase) field { return span{&p.Stagger} }},
	{"ramp", func(p *trace.Phase) field { return ramp{p} }},
	{"prefills", func(p *trace.Phase) field { return whole[int]{&p.Prefills, 1, 1 << 20} }},
	{"cancel_share", func(p *trace.Phase) field { return positive{&p.CancelShare} }},
	{"cancel_after", func(p *trace.Phase) field { return span{&p.CancelAfter} }},
	{"order", func(p *trace.Phase) field { return word[trace.Order]{&p.Order} }},
	{"repeat", func(p *trace.Phase) field { return whole[int]{&p.Repeat, 1, 1 << 20} }},
	{"requests", func(p *trace.Phase) field { return whole[int64]{&p.Requests, 1, 1 << 53} }},
	{"duration", func(p *trace.Phase) field { return span{&p.Duration} }},
	{"first_line", func(p *trace.Phase) field { return whole[int64]{&p.FirstLine, 1, 1 << 53} }},
	{"max_error_rate", func(p *trace.Phase) field { return positive{&p.MaxErrorRate} }},
	{"grace", func(p *trace.Phase) field { return span{&p.Grace} }},
	{"handover", func(p *trace.Phase) field { return truth{&p.Handover} }},
}

// word is text. Whether it is one of those that there are is for trace.Plan to say.
type word[T ~string] struct{ v *T }

func (w word[T]) isZero() bool { return *w.v == "" }
func (w word[T]) json() string { return quote(string(*w.v)) }
func (w word[T]) yaml(f file, key string, n strictyaml.Node) error {
	s, err := f.Text(key, n)
	*w.v = T(s)
	return err
}

// whole is an integer.
type whole[T int | int64] struct {
	v           *T
	least, most int64
}

func (w whole[T]) isZero() bool { return *w.v == 0 }
func (w whole[T]) yaml(f file, key string, n strictyaml.Node) error {
	v, err := f.Whole(key, n, w.least, w.most)
	*w.v = T(v)
	return err
}

// positive is a number above zero.
type positive struct{ v *float64 }

func (p positive) isZero() bool { return *p.v == 0 }
func (p positive) yaml(f file, key string, n strictyaml.Node) (err error) {
	*p.v, err = f.Number(key, n, func(v float64) bool { return v > 0 }, "above zero")
	return err
}

// span is a duration above zero.
type span struct{ v *time.Duration }

func (s span) isZero() bool { return *s.v == 0 }
func (s span) json() string { return quote(duration(*s.v)) }
func (s span) yaml(f file, key string, n strictyaml.Node) (err error) {
	*s.v, err = f.Duration(key, n)
	return err
}

// truth is true or false.
type truth struct{ v *bool }

func (t truth) isZero() bool { return !*t.v }
func (t truth) json() string { return "true" }
func (t truth) yaml(f file, key string, n strictyaml.Node) (err error) {
	*t.v, err = f.Boolean(key, n)
	return err
}

// times is the word trace.
type times struct{ v *bool }

const ofTrace = "trace"

func (t times) isZero() bool { return !*t.v }
func (t times) json() string { return quote(ofTrace) }
func (t times) yaml(f file, key string, n strictyaml.Node) error {
	_, err := f.Choice(key, n, ofTrace)
	*t.v = err == nil
	return err
}

// ramp is a ramp: in YAML {from, over, shape} as well, whose end is the phase's
// own rate or concurrency.
type ramp struct{ p *trace.Phase }

func (r ramp) isZero() bool { return len(r.p.Ramp) == 0 }

func (r ramp) yaml(f file, key string, n strictyaml.Node) error {
	p := r.p
	from, over, hasFrom, points := 0.0, time.Duration(0), false, []strictyaml.Node(nil)
	err := f.Object(n, "a ramp", func(key string, v strictyaml.Node) (err error) {
		switch key {
		case "from":
			from, err = f.level(key, v)
			hasFrom = true
		case "over":
			over, err = f.Duration(key, v)
		case "shape":
			var s string
			s, err = f.Choice(key, v, string(trace.Linear), string(trace.Exponential))
			p.RampShape = trace.RampShape(s)
		case "points":
			points, err = f.List(key, v)
		default:
			return strictyaml.ErrUnknown
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case points != nil && len(points) == 0, (points == nil) == (!hasFrom && over == 0), points == nil && (!hasFrom || over == 0):
		return f.Errorf(n, "a ramp has from and over, or points")
	case points == nil:
		// The end is the phase's own value, which may stand below: see file.phase.
		p.Ramp = []trace.RampPoint{{Value: from}, {At: over, Value: math.NaN()}}
		return nil
	}
	for _, n := range points {
		var point trace.RampPoint
		if err := f.Object(n, "a point of a ramp", func(key string, v strictyaml.Node) (err error) {
			switch key {
			case "at":
				point.At, err = f.instant(key, v)
			case "value":
				point.Value, err = f.level(key, v)
			default:
				return strictyaml.ErrUnknown
			}
			return err
		}); err != nil {
			return err
		}
		p.Ramp = append(p.Ramp, point)
	}
	return nil
}

// level reads a rate or a concurrency, which may be zero.
func (f file) level(key string, n strictyaml.Node) (float64, error) {
	return f.Number(key, n, func(v float64) bool { return v >= 0 }, "of at least zero")
}

// instant reads a duration that may be zero.
func (f file) instant(key string, n strictyaml.Node) (time.Duration, error) {
	if s, err := f.Text(key, n); err == nil && (s == "0s" || s == "0") {
		return 0, nil
	}
	return f.Duration(key, n)
}
