package plan

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"wattrace/trace"
)

// ParseJSON reads the JSON form of a plan, as the request log holds it. Keys
// that are not known are skipped, since a log may be newer than its reader; a
// schema with a higher number is refused.
func ParseJSON(b []byte) (trace.Plan, error) {
	var in struct {
		Schema string                       `json:"schema"`
		Seed   uint64                       `json:"seed"`
		Phases []map[string]json.RawMessage `json:"phases"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return trace.Plan{}, fmt.Errorf("plan: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if err := checkSchema(in.Schema); err != nil {
		return trace.Plan{}, fmt.Errorf("plan: %w", err)
	}
	p := trace.Plan{Seed: in.Seed}
	for _, values := range in.Phases {
		ph, err := phaseOf(values)
		if err != nil {
			return trace.Plan{}, fmt.Errorf("plan: %s", strings.TrimPrefix(err.Error(), "json: "))
		}
		p.Phases = append(p.Phases, ph)
	}
	if err := p.Validate(); err != nil {
		return trace.Plan{}, fmt.Errorf("plan: %w", err)
	}
	return p, nil
}

func phaseOf(values map[string]json.RawMessage) (ph trace.Phase, err error) {
	if b, ok := values["name"]; ok {
		if err := json.Unmarshal(b, &ph.Name); err != nil {
			return ph, fmt.Errorf("name: %w", err)
		}
	}
	for _, k := range keys {
		if b, ok := values[k.name]; ok {
			if err := k.field(&ph).unmarshal(b); err != nil {
				return ph, fmt.Errorf("%s: %w", k.name, err)
			}
		}
	}
	if ph.Kind == "" {
		ph.Kind = trace.Measure
	}
	return ph, nil
}

func (w word[T]) unmarshal(b []byte) error  { return json.Unmarshal(b, w.v) }
func (w whole[T]) unmarshal(b []byte) error { return json.Unmarshal(b, w.v) }
func (p positive) unmarshal(b []byte) error { return json.Unmarshal(b, p.v) }
func (t truth) unmarshal(b []byte) error    { return json.Unmarshal(b, t.v) }

func (s span) unmarshal(b []byte) error {
	var v text
	err := json.Unmarshal(b, &v)
	*s.v = time.Duration(v)
	return err
}

func (t times) unmarshal(b []byte) error {
	var s string
	err := json.Unmarshal(b, &s)
	*t.v = s == ofTrace
	return err
}

// rampJSON is the JSON form of a ramp.
type rampJSON struct {
	Shape  trace.RampShape `json:"shape,omitempty"`
	Points []pointJSON     `json:"points"`
}

type pointJSON struct {
	At    text    `json:"at"`
	Value float64 `json:"value"`
}

func (r ramp) unmarshal(b []byte) error {
	var in rampJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	r.p.RampShape = in.Shape
	for _, p := range in.Points {
		r.p.Ramp = append(r.p.Ramp, trace.RampPoint{At: time.Duration(p.At), Value: p.Value})
	}
	return nil
}

func (r ramp) json() string {
	out := rampJSON{Shape: r.p.RampShape}
	for _, p := range r.p.Ramp {
		out.Points = append(out.Points, pointJSON{text(p.At), p.Value})
	}
	b, _ := json.Marshal(out) // of finite numbers and text it cannot fail
	return string(b)
}

// text is a duration in the form of a JSON string.
type text time.Duration

// MarshalJSON writes a duration such as "1h30m".
func (t text) MarshalJSON() ([]byte, error) { return []byte(quote(duration(time.Duration(t)))), nil }

// UnmarshalJSON reads a duration such as "1h30m".
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a duration must be a string such as \"90s\"")
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("duration %s is not one such as 90s", strconv.Quote(s))
	}
	*t = text(d)
	return nil
}
