package trtllmbench

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"wattrace/formats/elements"
	"wattrace/formats/pyjson"
	"wattrace/trace"
)

// Figure is a number of the report.
type Figure struct {
	Name, Unit string
	Value      float64
}

// MaxReport bounds a report, in bytes.
const MaxReport = 64 << 20

// mostFigures and mostDepth bound what is taken of a report.
const (
	mostFigures = 4096
	mostDepth   = 8
)

// notFigures are sections that say what was run.
var notFigures = map[string]bool{"engine": true, "machine": true, "world_info": true, "dataset": true}

// ParseReport takes the figures of a report and the version of TensorRT-LLM, "" where it
// is not said. name is for errors.
func ParseReport(b []byte, name string) (figures []Figure, version string, err error) {
	b, err = plain(b)
	if err != nil {
		return nil, "", err
	}
	var walk func(prefix string, depth int, m trace.Member) error
	walk = func(prefix string, depth int, m trace.Member) error {
		path := prefix + string(m.Name)
		switch m.Value.Kind() {
		case '{':
			if depth == mostDepth {
				return m.Errorf("the report is nested too deep")
			}
			return m.Inside(trace.WalkObject(m.Value, func(inner trace.Member) error { return walk(path+".", depth+1, inner) }))
		case '0':
			if len(figures) == mostFigures {
				return m.Errorf("there are more than %d figures", mostFigures)
			}
			v, err := strconv.ParseFloat(string(m.Value), 64)
			if err != nil {
				return m.Errorf("%s is out of range", m.Name)
			}
			figures = append(figures, Figure{path, unitOf(path), v})
		}
		return nil
	}
	err = trace.WalkObject(b, func(m trace.Member) error {
		switch {
		case string(m.Name) == "engine" && m.Value.Kind() == '{':
			return m.Inside(trace.WalkObject(m.Value, func(inner trace.Member) error {
				if string(inner.Name) == "version" && inner.Value.Kind() == '"' {
					version = strings.Trim(string(inner.Value), `"`)
				}
				return nil
			}))
		case notFigures[string(m.Name)]:
			return nil
		}
		return walk("", 1, m)
	})
	if err == nil && len(figures) == 0 {
		err = errors.New("the report has no figures")
	}
	if err != nil {
		return nil, "", elements.ErrorAt(trace.Pos{File: name, Line: 1, Col: 1}, b, err)
	}
	return figures, version, nil
}

// plain returns the report without what only Python writes.
func plain(b []byte) ([]byte, error) {
	var buf bytes.Buffer
	_, err := buf.ReadFrom(pyjson.NewReader(bytes.NewReader(b)))
	if err != nil {
		return nil, fmt.Errorf("reading a report: %w", err)
	}
	return buf.Bytes(), nil
}

// units are those of figures by parts of their paths; the first that fits counts.
var units = []struct{ part, unit string }{
	{"total_energy_j", "J"}, {"output_tps_per_w", "tps/W"}, {"gpu_power", "W"},
	{"_ms", "ms"}, {"latency_ms", "ms"}, {"ttft_percentiles", "ms"}, {"tpot_percentiles", "ms"},
	{"tok_s", "tokens/s"}, {"gen_tps", "tokens/s"}, {"tokens_per_second", "tokens/s"}, {"token_throughput", "tokens/s"},
	{"req_s", "requests/s"}, {"requests_per_second", "requests/s"}, {"request_throughput", "requests/s"},
	{"num_requests", "requests"}, {"concurrent_requests", "requests"}, {"_length", "tokens"}, {"draft_tokens", "tokens"},
}

func unitOf(path string) string {
	for _, u := range units {
		if strings.Contains(path, u.part) && !strings.Contains(path, "acceptance") {
			return u.unit
		}
	}
	return ""
}
