package aiperf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"wattrace/trace"
)

// Archive is what profile_export_aiperf.json publishes: the figures of a run, or of one of
// its phases.
type Archive struct {
	Version    string         // of aiperf; "" is unknown
	Generation trace.Opt[int] // of its metrics of energy, as package reduce/peers numbers them; unknown where nothing tells
	// Figures are by tag: the mean, or the only value. With a dot and its name appended
	// they are a tag's other statistics (time_to_first_token.p99).
	Figures map[string]float64
	Warmup  map[string]float64 // the same of the warm-up
	// GPUs are the tables of single GPUs, by UUID, in the same way. One that two exporters
	// show is not there.
	GPUs       map[string]map[string]float64
	Objectives map[string]float64 // --goodput: limits by tag, in the unit that the tag is shown in
	// Start and End are those of the measured phase to the microsecond, in local time of
	// aiperf's host, as if that were UTC.
	Start, End trace.Opt[int64] // nanoseconds
}

// ManifestName is the file that says when phases began and ended, since 0.13.
const ManifestName = "phase_manifest.json"

// PhaseEntry is a phase of the manifest.
type PhaseEntry struct {
	Name, Kind  string
	Start, End  trace.Opt[int64] // Unix nanoseconds: of the phase, and of its last request
	MetricsJSON string           // path of its own summary, in the directory of the manifest; "" is none
}

// ParseManifest reads phase_manifest.json. name is for errors.
func ParseManifest(b []byte, name string) ([]PhaseEntry, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	var in struct {
		Schema any `json:"schema_version"`
		Phases []struct {
			Name    string           `json:"phase_name"`
			Kind    string           `json:"phase_kind"`
			Start   maybeNanoseconds `json:"start_ns"`
			End     maybeNanoseconds `json:"end_ns"`
			Metrics string           `json:"metrics_json"`
		} `json:"phases"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, located(b, name, err)
	}
	if in.Phases == nil {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: errors.New("not a manifest of aiperf: it has no phases")}
	}
	var list []PhaseEntry
	for i, p := range in.Phases {
		if p.Start.OK && p.End.OK && p.End.V < p.Start.V {
			return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: fmt.Errorf("phase %d ends before it starts", i+1)}
		}
		list = append(list, PhaseEntry{p.Name, p.Kind, p.Start.Opt, p.End.Opt, p.Metrics})
	}
	return list, nil
}

// maybeNanoseconds is an instant, unknown where there is something else.
type maybeNanoseconds struct{ trace.Opt[int64] }

// UnmarshalJSON takes everything.
func (n *maybeNanoseconds) UnmarshalJSON(b []byte) error {
	if v, err := strconv.ParseInt(string(b), 10, 64); err == nil && v > 0 && v <= maxInstant {
		n.Opt = trace.Some(v)
	}
	return nil
}

// statistics are those of a metric that are figures. The percentiles that take failed
// requests for infinite ones (adj_p50, ...) are not.
var statistics = []string{"min", "p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "max", "std", "count", "sum"}

// oldTags are what the first versions called some metrics.
var oldTags = map[string]string{"ttft": "time_to_first_token", "ttst": "time_to_second_token"}

// metricJSON is a metric, or anything else, of which nothing is taken.
type metricJSON map[string]json.RawMessage

// UnmarshalJSON takes everything.
func (m *metricJSON) UnmarshalJSON(b []byte) error {
	var in map[string]json.RawMessage
	if json.Unmarshal(b, &in) == nil {
		*m = in
	}
	return nil
}

// into puts a metric's numbers into figures.
func (m metricJSON) into(figures map[string]float64, tag string) {
	if m["unit"] == nil {
		return
	}
	if renamed, ok := oldTags[tag]; ok {
		tag = renamed
	}
	put := func(name, key string) {
		var v *float64
		if json.Unmarshal(m[key], &v) == nil && v != nil && !math.IsNaN(*v) && !math.IsInf(*v, 0) {
			figures[name] = *v
		}
	}
	put(tag, "avg")
	for _, s := range statistics {
		put(tag+"."+s, s)
	}
}

// ParseArchive reads profile_export_aiperf.json, of a run or of one of its phases, for
// what it publishes. name is for errors.
func ParseArchive(b []byte, name string) (*Archive, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, located(b, name, err)
	}
	var in struct {
		Version   maybeText             `json:"aiperf_version"`
		Start     maybeText             `json:"start_time"`
		End       maybeText             `json:"end_time"`
		Records   map[string]metricJSON `json:"records"` // where the first versions had all metrics
		Warmup    map[string]metricJSON `json:"warmup_metrics"`
		Telemetry struct {
			Endpoints map[string]struct {
				GPUs map[string]struct {
					UUID    string                `json:"gpu_uuid"`
					Metrics map[string]metricJSON `json:"metrics"`
				} `json:"gpus"`
			} `json:"endpoints"`
		} `json:"telemetry_data"`
		Input struct {
			Objectives map[string]maybeLimit `json:"slos"`
			Input      struct {
				Goodput map[string]maybeLimit `json:"goodput"` // of old
			} `json:"input"`
		} `json:"input_config"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, located(b, name, err)
	}
	a := &Archive{
		Version: string(in.Version), Figures: map[string]float64{}, Warmup: map[string]float64{},
		GPUs: map[string]map[string]float64{}, Objectives: map[string]float64{},
		Start: local(string(in.Start)), End: local(string(in.End)),
	}
	for tag, raw := range all {
		var m metricJSON
		if json.Unmarshal(raw, &m) == nil {
			m.into(a.Figures, tag)
		}
	}
	for tag, m := range in.Records {
		m.into(a.Figures, tag)
	}
	for tag, m := range in.Warmup {
		m.into(a.Warmup, tag)
	}
	twice := map[string]bool{}
	for _, e := range in.Telemetry.Endpoints {
		for _, g := range e.GPUs {
			if a.GPUs[g.UUID] != nil {
				twice[g.UUID] = true
			}
			figures := map[string]float64{}
			for tag, m := range g.Metrics {
				m.into(figures, tag)
			}
			a.GPUs[g.UUID] = figures
		}
	}
	maps.DeleteFunc(a.GPUs, func(uuid string, _ map[string]float64) bool { return twice[uuid] })
	for _, list := range []map[string]maybeLimit{in.Input.Input.Goodput, in.Input.Objectives} {
		for tag, v := range list {
			a.Objectives[tag] = float64(v)
		}
	}
	a.Generation = a.generation()
	return a, nil
}

// maybeText is a string, "" where there is something else.
type maybeText string

// UnmarshalJSON takes everything.
func (s *maybeText) UnmarshalJSON(b []byte) error {
	var v string
	if json.Unmarshal(b, &v) == nil {
		*s = maybeText(v)
	}
	return nil
}

// maybeLimit is a limit, not a number where there is something else.
type maybeLimit float64

// UnmarshalJSON takes everything.
func (n *maybeLimit) UnmarshalJSON(b []byte) error {
	v := math.NaN()
	if json.Unmarshal(b, &v) != nil {
		v = math.NaN()
	}
	*n = maybeLimit(v)
	return nil
}

// local reads a time without a zone.
func local(s string) trace.Opt[int64] {
	t, err := time.Parse("2006-01-02T15:04:05.999999", strings.Replace(s, " ", "T", 1))
	if err != nil || t.Year() < 2000 || t.Year() > 2200 {
		return trace.Opt[int64]{}
	}
	return trace.Some(t.UnixNano())
}

// The tags by which generations are known, without a vendor.
var (
	fourTags  = []string{"total_gpu_power", "total_gpu_energy", "output_tokens_per_joule", "energy_per_user"}
	onlyThird = []string{
		"average_gpu_power", "energy_per_output_token", "energy_per_total_token", "energy_per_request", "energy_delay_product",
		"performance_per_watt", "output_tps_per_watt", "goodput_per_watt",
	}
)

// generation tells by the tags, then by the version, then by the names of the telemetry.
// By its releases: 0.10 and 0.11 are generation 1, 0.12 and 0.13 generation 3; 2 was in
// between and in none of them.
func (a *Archive) generation() trace.Opt[int] {
	has := func(prefix string, tags []string) bool {
		return slices.ContainsFunc(tags, func(tag string) bool { _, ok := a.Figures[prefix+tag]; return ok })
	}
	version, known := versionOf(a.Version)
	modern := known && version >= 12
	for _, vendor := range []string{"nvidia_", "amd_"} {
		switch _, energy := a.Figures[vendor+"total_gpu_energy"]; {
		case has(vendor, onlyThird):
			return trace.Some(3)
		case energy || !modern && has(vendor, fourTags):
			return trace.Some(2)
		}
	}
	switch {
	case has("", fourTags):
		return trace.Some(1)
	case modern:
		return trace.Some(3)
	case known && version >= 10:
		return trace.Some(1)
	case known:
		return trace.Some(0)
	}
	for _, figures := range a.GPUs {
		for name := range figures {
			if strings.HasPrefix(name, "nvidia_") || strings.HasPrefix(name, "amd_") {
				return trace.Some(3)
			}
			return trace.Some(0)
		}
	}
	return trace.Opt[int]{}
}

// versionOf returns the minor number of a version 0.N; of a later one it is above all
// of them.
func versionOf(s string) (minor int, ok bool) {
	major, rest, _ := strings.Cut(s, ".")
	text, _, _ := strings.Cut(rest, ".")
	if major != "0" {
		n, err := strconv.Atoi(major)
		return math.MaxInt, err == nil && n > 0
	}
	minor, err := strconv.Atoi(text)
	return minor, err == nil && minor >= 0
}

// Observed reports whether this version divides by the phase's own duration: from 0.12
// on. An archive without a version that has a manifest is of no earlier one.
func (a *Archive) Observed(manifest bool) bool {
	version, known := versionOf(a.Version)
	return known && version >= 12 || !known && manifest
}
