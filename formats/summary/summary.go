package summary

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Schema is the version of the document.
const Schema = "wattrace.summary/1"

// Kind is what a summary is of.
type Kind string

// The kinds.
const (
	Run   Kind = "run"   // one run
	Sweep Kind = "sweep" // several, each with a summary of its own in a directory below
)

// Status says how a run, or a sweep, ended.
type Status string

// The statuses.
const (
	Running     Status = "running" // or killed before it could say more
	Complete    Status = "complete"
	Incomplete  Status = "incomplete" // it went through; something is lacking
	Failed      Status = "failed"
	Interrupted Status = "interrupted" // by a signal
)

// Finished reports whether nothing is to be done again.
func (s Status) Finished() bool { return s == Complete || s == Incomplete }

// Summary is the document: doc.go says what its keys mean.
type Summary struct {
	Schema      string            `json:"schema"`
	Producer    string            `json:"producer"`
	Kind        Kind              `json:"kind"`
	Status      Status            `json:"status"`
	Reason      string            `json:"reason,omitempty"`
	Start       string            `json:"start"`
	End         string            `json:"end,omitempty"`
	Host        string            `json:"host"`
	Settings    map[string]string `json:"settings"`
	InputFile   string            `json:"input_file,omitempty"`
	Trace       *Trace            `json:"trace,omitempty"`
	Plan        json.RawMessage   `json:"plan,omitempty"`
	Server      *Server           `json:"server,omitempty"`
	Workload    *Workload         `json:"workload,omitempty"`
	Tools       map[string]string `json:"tools,omitempty"`
	ReturnCodes map[string]int    `json:"return_codes,omitempty"`
	Devices     []Device          `json:"devices,omitempty"`
	Clocks      *Clocks           `json:"clocks,omitempty"`
	Artifacts   map[string]string `json:"artifacts,omitempty"`
	Phases      []Phase           `json:"phases,omitempty"`
	EnergyCheck *EnergyCheck      `json:"energy_check,omitempty"`
	Warnings    []Warning         `json:"warnings,omitempty"`
	Runs        []RunOf           `json:"runs,omitempty"`
	Points      []Point           `json:"points,omitempty"`
}

// Trace is what was sent.
type Trace struct {
	Path      string     `json:"path"`
	SHA256    string     `json:"sha256"`
	Turns     int64      `json:"turns"`
	Synthetic *Synthetic `json:"synthetic,omitempty"`

	Format       string `json:"format,omitempty"`        // of the file at Path, where SHA256 is of the bodies that were made of it; absent: it is a raw_payload trace
	SourceSHA256 string `json:"source_sha256,omitempty"` // of that file, decompressed
}

// Synthetic is what a trace was made from: the same values give the same bytes.
type Synthetic struct {
	InputTokens  int    `json:"input_tokens"`
	OutputTokens int    `json:"output_tokens"`
	Requests     int64  `json:"requests"`
	Seed         uint64 `json:"seed"`
	Run          int    `json:"run"` // place in the sweep, from 0: no two runs have a prompt in common
	Model        string `json:"model"`
	Target       string `json:"target"`
}

// Server is what answered.
type Server struct {
	Command      []string `json:"command,omitempty"`
	URLs         []string `json:"urls"`
	Version      string   `json:"version,omitempty"`
	Log          string   `json:"log,omitempty"`
	ReadySeconds *float64 `json:"ready_seconds,omitempty"`
	End          string   `json:"end,omitempty"` // stopped, killed, died, left
}

// Workload is what ran in the place of a server and its load.
type Workload struct {
	Command string   `json:"command"`
	Marks   []string `json:"marks"` // record --mark
}

// Device is one sensor of the recording.
type Device struct {
	Device       string `json:"device"`
	DeviceIndex  int    `json:"device_index"`
	Host         string `json:"host"`
	Name         string `json:"name,omitempty"`
	Source       string `json:"source"`
	Scope        string `json:"scope"`
	Architecture string `json:"architecture,omitempty"`
	Driver       string `json:"driver,omitempty"`
	PCIBusID     string `json:"pci_bus_id,omitempty"`
	MIG          bool   `json:"mig,omitempty"`
	Simulated    bool   `json:"simulated,omitempty"`
}

// Clocks are the anchors of the two files that are joined.
type Clocks struct {
	Requests  *Clock `json:"requests,omitempty"`
	Telemetry *Clock `json:"telemetry,omitempty"`
}

// Clock is an anchor. Absolute instants are decimal strings, as in the files.
type Clock struct {
	Host           string `json:"host"`
	BootID         string `json:"boot_id,omitempty"`
	UnixNanos      string `json:"unix_nanos"`
	BootNanos      string `json:"boot_nanos,omitempty"`
	MonotonicNanos string `json:"monotonic_nanos,omitempty"`
}

// Phase is a phase of the report, in short.
type Phase struct {
	Name            string            `json:"name"`
	Kind            string            `json:"kind"`
	Start           string            `json:"start,omitempty"`
	End             string            `json:"end,omitempty"`
	DurationSeconds *float64          `json:"duration_seconds,omitempty"`
	Concurrency     int               `json:"concurrency,omitempty"`
	Requests        *Requests         `json:"requests,omitempty"`
	Devices         *Devices          `json:"devices,omitempty"`
	Metrics         map[string]Metric `json:"metrics"`
}

// Requests counts the requests of a phase.
type Requests struct {
	Sent      int64 `json:"sent"`
	Succeeded int64 `json:"succeeded"`
	Failed    int64 `json:"failed"`
	Cancelled int64 `json:"cancelled"`
}

// Devices counts the devices of a phase.
type Devices struct {
	Expected int      `json:"expected"`
	Seen     int      `json:"seen"`
	Missing  []string `json:"missing"`
}

// Metric is a figure of the report: one number, with value, or a distribution, with
// mean, percentiles and count.
type Metric struct {
	Unit           string       `json:"unit"`
	Value          *float64     `json:"value,omitempty"`
	Method         string       `json:"method,omitempty"`
	DevicesCovered int          `json:"devices_covered,omitempty"`
	Uncertainty    *Uncertainty `json:"uncertainty,omitempty"`
	Mean           *float64     `json:"mean,omitempty"`
	P50            *float64     `json:"p50,omitempty"`
	P90            *float64     `json:"p90,omitempty"`
	P99            *float64     `json:"p99,omitempty"`
	Count          *int64       `json:"count,omitempty"`
}

// Uncertainty holds the standard uncertainties, in the metric's unit.
type Uncertainty struct {
	Random     float64 `json:"random"`
	Systematic float64 `json:"systematic"`
}

// EnergyCheck compares the counters' rise, as another process saw it, with the
// report's energy of the same interval. Without figures it has the reason.
type EnergyCheck struct {
	Method             string   `json:"method"`
	Absent             string   `json:"absent,omitempty"` // why there is no comparison
	Window             string   `json:"window,omitempty"` // of the report
	Start              string   `json:"start,omitempty"`
	End                string   `json:"end,omitempty"`
	Devices            int      `json:"devices,omitempty"`
	CounterJoules      *float64 `json:"counter_joules,omitempty"`
	ResolutionJoules   *float64 `json:"resolution_joules,omitempty"`
	ReportJoules       *float64 `json:"report_joules,omitempty"`
	DifferenceJoules   *float64 `json:"difference_joules,omitempty"`   // report - counter
	DifferenceRelative *float64 `json:"difference_relative,omitempty"` // of the counter
}

// Warning is a doubt: a code of the report, or one of measure's own.
type Warning struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Phase   string `json:"phase,omitempty"`
}

// RunOf is a run of a sweep.
type RunOf struct {
	Directory   string            `json:"directory"`
	Concurrency int               `json:"concurrency,omitempty"`
	Repeat      int               `json:"repeat"`           // from 1
	Status      Status            `json:"status,omitempty"` // absent: it has not begun
	Reason      string            `json:"reason,omitempty"`
	Phase       string            `json:"phase,omitempty"` // whose metrics these are
	Metrics     map[string]Metric `json:"metrics,omitempty"`
}

// Point is what the runs of one concurrency have in common.
type Point struct {
	Concurrency int                  `json:"concurrency,omitempty"`
	Runs        int                  `json:"runs"`
	Metrics     map[string]Statistic `json:"metrics"`
}

// Statistic describes a metric's values over the runs of a point.
type Statistic struct {
	Unit  string   `json:"unit"`
	Mean  float64  `json:"mean"`
	Std   *float64 `json:"std,omitempty"` // of a sample; absent for one value
	Min   float64  `json:"min"`
	Max   float64  `json:"max"`
	Count int      `json:"count"`
}

// Headline returns the first phase of kind measure or, without one, nil.
func (s *Summary) Headline() *Phase {
	for i := range s.Phases {
		if s.Phases[i].Kind == "measure" {
			return &s.Phases[i]
		}
	}
	return nil
}

// Write writes the document, indented: the same summary gives the same bytes.
func Write(w io.Writer, s *Summary) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// maxSize bounds a summary: a sweep of thousands of runs is far below it.
const maxSize = 64 << 20

// Read reads a summary of any version there was. name is for error messages, which
// begin with name:line:column where the JSON is at fault.
func Read(r io.Reader, name string) (*Summary, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(b) > maxSize:
		return nil, fmt.Errorf("%s: larger than %d MiB", name, maxSize>>20)
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, at(b, name, err)
	}
	number, ok := strings.CutPrefix(head.Schema, "wattrace.summary/")
	if v, err := strconv.Atoi(number); !ok || err != nil || v < 1 {
		return nil, fmt.Errorf("%s: schema %q: not a summary of measure", name, head.Schema)
	} else if v > 1 {
		return nil, fmt.Errorf("%s: schema %q: newer than this program, which knows %s", name, head.Schema, Schema)
	}
	s := new(Summary)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, at(b, name, err)
	}
	if len(s.Plan) > 0 { // without the indentation of the file
		var plan bytes.Buffer
		if err := json.Compact(&plan, s.Plan); err != nil {
			return nil, fmt.Errorf("%s: plan: %w", name, err)
		}
		s.Plan = plan.Bytes()
	}
	return s, nil
}

// at puts the place of a JSON error before it.
func at(b []byte, name string, err error) error {
	offset := int64(-1)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	msg := strings.TrimPrefix(err.Error(), "json: ")
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
		msg = fmt.Sprintf("%q is a JSON %s", kind.Field, kind.Value)
	}
	if offset < 1 || offset > int64(len(b)) {
		return fmt.Errorf("%s: %s", name, msg)
	}
	before := b[:offset-1]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Errorf("%s:%d:%d: %s", name, line, column, msg)
}
