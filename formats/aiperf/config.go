package aiperf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"wattrace/trace"
)

// Config is what is taken of profile_export_aiperf.json.
type Config struct {
	Version   string // of aiperf; "" is unknown
	Cancelled bool   // the run was, before its end
	URLs      []string
	Phases    []trace.Phase // those whose load is known, in order; Rate 0 and Concurrency 0 is none
}

const (
	recordsName = "profile_export.jsonl"
	rawSuffix   = "_raw"
	configName  = "profile_export_aiperf.json"
)

// ConfigPath returns where the configuration of a file of requests is, if anywhere:
// a file's prefix is renamed for both. The raw export has the same.
func ConfigPath(records string) string {
	dir, base := filepath.Split(records)
	for _, layer := range []string{".gz", ".zst"} {
		base = strings.TrimSuffix(base, layer)
	}
	stem, ok := strings.CutSuffix(base, ".jsonl")
	stem = strings.TrimSuffix(stem, rawSuffix)
	if stem+".jsonl" == recordsName {
		return dir + configName
	}
	if ok && stem != "" {
		return dir + stem + ".json"
	}
	return ""
}

// loadJSON is a phase of input_config.phases, and with other names input_config.loadgen.
// A number that is swept is a list, which is no number.
type loadJSON struct {
	Name        string      `json:"name"`
	Kind        string      `json:"kind"`
	Type        string      `json:"type"`
	Excluded    bool        `json:"exclude_from_results"`
	Concurrency maybeNumber `json:"concurrency"`
	Rate        maybeNumber `json:"rate"`
	Smoothness  maybeNumber `json:"smoothness"`
	Users       maybeNumber `json:"users"`
	Prefills    maybeNumber `json:"prefill_concurrency"`

	RequestRate       maybeNumber `json:"request_rate"`
	RequestRateMode   string      `json:"request_rate_mode"`
	ArrivalPattern    string      `json:"arrival_pattern"`
	ArrivalSmoothness maybeNumber `json:"arrival_smoothness"`
	WarmupConcurrency maybeNumber `json:"warmup_concurrency"`
	WarmupRate        maybeNumber `json:"warmup_request_rate"`
}

// maybeNumber is a number above zero, 0 where there is something else.
type maybeNumber float64

// UnmarshalJSON takes everything.
func (n *maybeNumber) UnmarshalJSON(b []byte) error {
	var v float64
	if json.Unmarshal(b, &v) == nil && v > 0 {
		*n = maybeNumber(v)
	}
	return nil
}

// ParseConfig reads profile_export_aiperf.json. name is for errors.
func ParseConfig(b []byte, name string) (*Config, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	var in struct {
		Version   string `json:"aiperf_version"`
		Cancelled bool   `json:"was_cancelled"`
		Input     struct {
			Phases   []loadJSON `json:"phases"`
			LoadGen  *loadJSON  `json:"loadgen"`
			Endpoint struct {
				URL  string   `json:"url"`
				URLs []string `json:"urls"`
			} `json:"endpoint"`
		} `json:"input_config"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, located(b, name, err)
	}
	c := &Config{Version: in.Version, Cancelled: in.Cancelled, URLs: in.Input.Endpoint.URLs}
	if len(c.URLs) == 0 && in.Input.Endpoint.URL != "" {
		c.URLs = []string{in.Input.Endpoint.URL}
	}
	if g := in.Input.LoadGen; g != nil && len(in.Input.Phases) == 0 {
		c.loadgen(g)
	}
	for _, p := range in.Input.Phases {
		c.add(p)
	}
	return c, nil
}

// located gives an error of encoding/json its line and column. Its own words may quote
// what the file holds.
func located(b []byte, name string, err error) error {
	offset, what := int64(0), "not valid JSON"
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &wrong):
		offset, what = wrong.Offset, fmt.Sprintf("%s must not be a %s", wrong.Field, strings.Fields(wrong.Value + " ")[0])
	}
	before := b[:min(max(offset-1, 0), int64(len(b)))]
	line := 1 + bytes.Count(before, []byte("\n"))
	col := len(before) - bytes.LastIndexByte(before, '\n')
	return &trace.SyntaxError{Pos: trace.Pos{File: name, Line: line, Col: col}, Err: errors.New(what)}
}

// loadgen takes the configuration of old, which has no list of phases.
func (c *Config) loadgen(g *loadJSON) {
	p := loadJSON{
		Name: DefaultPhase, Type: g.ArrivalPattern, Concurrency: g.Concurrency, Rate: g.RequestRate,
		Smoothness: g.ArrivalSmoothness, Prefills: g.Prefills,
	}
	if p.Type == "" {
		p.Type = g.RequestRateMode
	}
	c.add(p)
	p.Name, p.Kind = "warmup", "warmup"
	if g.WarmupConcurrency > 0 {
		p.Concurrency = g.WarmupConcurrency
	}
	if g.WarmupRate > 0 {
		p.Rate = g.WarmupRate
	}
	c.add(p)
}

// add takes a phase, if a plan can have it.
func (c *Config) add(in loadJSON) {
	ph := trace.Phase{Name: in.Name, Kind: trace.Measure, Concurrency: whole(in.Concurrency)}
	if strings.EqualFold(in.Kind, "warmup") || in.Kind == "" && (in.Excluded || strings.EqualFold(in.Name, "warmup")) {
		ph.Kind = trace.Warmup
	}
	ph.Prefills = whole(in.Prefills)
	switch in.Type {
	case "fixed_schedule":
		ph.FromTrace = true
	case "user_centric":
		// Users who send at a gap: the only thing asked for is how many there are.
		ph.Concurrency = whole(in.Users)
	case "concurrency", "concurrency_burst":
	default:
		ph.Rate = float64(in.Rate)
		if ph.Rate > 0 && in.Type == "constant" {
			ph.Arrival = trace.Constant
		}
		if ph.Rate > 0 && in.Type == "gamma" && in.Smoothness > 0 {
			ph.Arrival, ph.Shape = trace.Gamma, float64(in.Smoothness)
		}
	}
	if (&trace.Plan{Phases: []trace.Phase{ph}}).Validate() == nil {
		c.Phases = append(c.Phases, ph)
	}
}

func whole(n maybeNumber) int {
	if n > trace.MaxConcurrency || n != maybeNumber(int(n)) {
		return 0
	}
	return int(n)
}

// phase returns the load of a phase: by its name, else the first of its kind.
func (c *Config) phase(name string, kind trace.PhaseKind) (trace.Phase, bool) {
	if c == nil {
		return trace.Phase{}, false
	}
	for _, ph := range c.Phases {
		if strings.EqualFold(ph.Name, name) {
			return ph, true
		}
	}
	for _, ph := range c.Phases {
		if ph.Kind == kind && (strings.EqualFold(name, DefaultPhase) || strings.EqualFold(name, "warmup")) {
			return ph, true
		}
	}
	return trace.Phase{}, false
}
