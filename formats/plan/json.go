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
		Schema string `json:"schema"`
		Phases []struct {
			Name        string          `json:"name"`
			Kind        trace.PhaseKind `json:"kind"`
			Concurrency int             `json:"concurrency"`
			Requests    int64           `json:"requests"`
			Duration    text            `json:"duration"`
			FirstLine   int64           `json:"first_line"`
			Grace       text            `json:"grace"`
			Handover    bool            `json:"handover"`
		} `json:"phases"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return trace.Plan{}, fmt.Errorf("plan: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if err := checkSchema(in.Schema); err != nil {
		return trace.Plan{}, fmt.Errorf("plan: %w", err)
	}
	var p trace.Plan
	for _, ph := range in.Phases {
		kind := ph.Kind
		if kind == "" {
			kind = trace.Measure
		}
		p.Phases = append(p.Phases, trace.Phase{
			Name: ph.Name, Kind: kind, Concurrency: ph.Concurrency, Requests: ph.Requests,
			Duration: time.Duration(ph.Duration), FirstLine: ph.FirstLine,
			Grace: time.Duration(ph.Grace), Handover: ph.Handover,
		})
	}
	if err := p.Validate(); err != nil {
		return trace.Plan{}, fmt.Errorf("plan: %w", err)
	}
	return p, nil
}

// text is a duration in the form of a JSON string.
type text time.Duration

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
