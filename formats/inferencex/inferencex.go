package inferencex

import (
	"bytes"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"

	"wattrace/formats/elements"
	"wattrace/formats/pyjson"
	"wattrace/formats/stamped"
	"wattrace/trace"
)

// Names of the files beside a result.
const (
	AggregatePrefix = "agg_"
	AuditPrefix     = "power_validation_"
)

// MaxFile bounds a file, in bytes.
const MaxFile = 16 << 20

const (
	mostFigures = 10_000
)

// Figure is a number of a file by its path of keys, as in accumulator_check.relative_error.
type Figure struct {
	Name, Unit string // Unit is "" where the name does not tell it
	Value      float64
}

// Aggregate is what was published of a run.
type Aggregate struct {
	Figures     []Figure
	Version     int                // of the keys of power; 0 is not said
	Concurrency trace.Opt[float64] // --max-concurrency of the result
}

// Audit is how the power of a run was judged.
type Audit struct {
	Valid      trace.Opt[bool]
	Reasons    []string         // codes, why not
	Result     string           // base name of the result that it is of; "" is not said
	Start, End trace.Opt[int64] // of the run, Unix nanoseconds
	Expected   trace.Opt[int]   // GPUs that the run had
	Figures    []Figure         // of metrics and of accumulator_check
	GPUs       map[int]float64  // joules, by index
}

// IsPower reports whether a key is one of power_metric_schema_version 2.
func IsPower(name string) bool { return slices.Contains(powerKeys, name) }

var powerKeys = []string{
	"power_metric_schema_version", "power_valid", "avg_power_w", "avg_total_gpu_power_w", "total_gpu_energy_j",
	"joules_per_successful_query", "joules_per_input_token", "joules_per_output_token", "joules_per_total_token",
	"prefill_gpu_energy_j", "decode_gpu_energy_j", "prefill_avg_power_w", "decode_avg_power_w",
	"prefill_joules_per_input_token", "decode_joules_per_output_token",
}

// arguments are numbers of an aggregate that are no figures.
var arguments = []string{
	"conc", "tp", "ep", "pp", "dcp", "pcp", "num_gpus", "num_prefill_gpu", "num_decode_gpu", "isl", "osl",
	"prefill_tp", "prefill_ep", "prefill_num_workers", "decode_tp", "decode_ep", "decode_num_workers",
}

// ParseAggregate reads an aggregate. name is for errors, which are *trace.SyntaxError.
func ParseAggregate(b []byte, name string) (*Aggregate, error) {
	a := &Aggregate{}
	err := parse(b, name, func(m trace.Member) error {
		switch key := string(m.Name); {
		case m.Value.Kind() == '{' || m.Value.Kind() == '[':
			return nil
		case key == "conc":
			v, err := number(&m)
			a.Concurrency = v
			return err
		case slices.Contains(arguments, key):
			return nil
		case key == "power_metric_schema_version":
			v, err := number(&m)
			if v.OK && v.V >= 1 && v.V < 1000 {
				a.Version = int(v.V)
			}
			if err != nil {
				return err
			}
		}
		return figure(&a.Figures, "", &m)
	})
	if err == nil && len(a.Figures) == 0 {
		err = &trace.SyntaxError{Pos: trace.Pos{File: name, Line: 1, Col: 1}, Err: errors.New("the aggregate has no figures")}
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// ParseAudit reads an audit. name is for errors, which are *trace.SyntaxError.
func ParseAudit(b []byte, name string) (*Audit, error) {
	a := &Audit{GPUs: map[int]float64{}}
	err := parse(b, name, func(m trace.Member) error {
		object := m.Value.Kind() == '{'
		switch key := string(m.Name); {
		case key == "schema_version":
			v, err := number(&m)
			if err == nil && v.V > 1 {
				return m.Errorf("schema_version is newer than 1, which this program reads")
			}
			return err
		case key == "power_valid" && (m.Value.Kind() == 't' || m.Value.Kind() == 'f'):
			a.Valid = trace.Some(m.Value.Kind() == 't')
		case key == "benchmark_result" && m.Value.Kind() == '"':
			text, err := m.Text()
			if err != nil {
				return err
			}
			a.Result = path.Base(text)
		case key == "reasons" && m.Value.Kind() == '[':
			return elements.Each(&m, func(e trace.Member) error {
				text, err := e.Text()
				if err != nil || len(a.Reasons) == mostFigures {
					return e.Errorf("reasons must be a list of codes")
				}
				a.Reasons = append(a.Reasons, text)
				return nil
			})
		case key == "expected_gpu_count":
			v, err := number(&m)
			if v.OK && v.V >= 1 && v.V <= 1<<20 {
				a.Expected = trace.Some(int(v.V))
			}
			return err
		case key == "benchmark_window" && object:
			return m.Inside(trace.WalkObject(m.Value, a.window))
		case key == "per_gpu_energy_j" && object:
			return m.Inside(trace.WalkObject(m.Value, func(g trace.Member) error {
				v, err := number(&g)
				if i, bad := strconv.Atoi(string(g.Name)); bad == nil && v.OK { // hosts' names are of several hosts
					a.GPUs[i] = v.V
				}
				return err
			}))
		case key == "metrics" && object:
			return m.Inside(trace.WalkObject(m.Value, func(g trace.Member) error { return figure(&a.Figures, "", &g) }))
		case key == "accumulator_check" && object:
			return m.Inside(trace.WalkObject(m.Value, func(g trace.Member) error { return figure(&a.Figures, key+".", &g) }))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// window reads from when to when the run was.
func (a *Audit) window(m trace.Member) error {
	to := map[string]*trace.Opt[int64]{"start_time_unix": &a.Start, "end_time_unix": &a.End}[string(m.Name)]
	if to == nil || m.Value.Kind() == 'n' {
		return nil
	}
	v, err := stamped.Seconds(m.Value)
	if err != nil {
		return m.Errorf("%s must be a Unix time in seconds", m.Name)
	}
	*to = trace.Some(v)
	return nil
}

// figure takes a scalar, if it is a number.
func figure(list *[]Figure, prefix string, m *trace.Member) error {
	v, err := number(m)
	switch {
	case m.Value.Kind() == 't' && prefix != "", m.Value.Kind() == 'f' && prefix != "":
		v = trace.Some(0.)
		if m.Value.Kind() == 't' {
			v.V = 1
		}
	case m.Value.Kind() != '0':
		return nil
	}
	switch {
	case err != nil:
		return err
	case len(*list) == mostFigures:
		return m.Errorf("there are more than %d figures", mostFigures)
	}
	*list = append(*list, Figure{prefix + string(m.Name), unitOf(string(m.Name)), v.V})
	return nil
}

// number reads a number; unknown where there is none.
func number(m *trace.Member) (v trace.Opt[float64], err error) {
	if m.Value.Kind() != '0' {
		return v, nil
	}
	f, err := strconv.ParseFloat(string(m.Value), 64)
	if err != nil {
		return v, m.Errorf("%s is out of range", m.Name)
	}
	return trace.Some(f), nil
}

// units are those of figures by the ends of their names.
var units = []struct{ end, unit string }{
	{"_w", "W"}, {"_j", "J"}, {"joules_per_successful_query", "J/request"}, {"_token", "J/token"}, {"_s", "s"},
	{"ttft", "s"}, {"tpot", "s"}, {"itl", "s"}, {"e2el", "s"}, {"intvty", "tokens/s/user"}, {"tput_per_gpu", "tokens/s/GPU"},
}

func unitOf(name string) string {
	for _, u := range units {
		if strings.HasSuffix(name, u.end) {
			return u.unit
		}
	}
	return ""
}

// parse walks the object that a file is.
func parse(b []byte, name string, member func(trace.Member) error) error {
	if len(b) > MaxFile {
		return &trace.SyntaxError{Pos: trace.Pos{File: name, Line: 1, Col: 1}, Err: errors.New("is larger than 16 MiB")}
	}
	var plain bytes.Buffer
	if _, err := plain.ReadFrom(pyjson.NewReader(bytes.NewReader(b))); err != nil {
		return err
	}
	if err := trace.WalkObject(plain.Bytes(), member); err != nil {
		return elements.ErrorAt(trace.Pos{File: name, Line: 1, Col: 1}, b, err)
	}
	return nil
}
