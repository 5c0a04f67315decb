package benchserve

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats/pyjson"
	"wattrace/formats/stamped"
	"wattrace/trace"
)

// Tool is which of the benchmarks wrote a result, by the name of --as; "" is unknown.
type Tool string

// The tools.
const (
	VLLM       Tool = "vllm"
	TRTLLM     Tool = "trtllm"
	SGLang     Tool = "sglang"
	InferenceX Tool = "inferencex" // and sa-bench of srt-slurm, which descends from it
)

// Time is what a result says of when its requests were sent.
type Time int

// The kinds of time.
const (
	Unplaced Time = iota // nothing
	Steady               // by CLOCK_MONOTONIC of the client's host
	Wall                 // in Unix time
	Framed               // nothing, but from when to when the run was: Start and End
)

// Totals are what a result says of all its requests together.
type Totals struct {
	Completed     trace.Opt[int64] // requests that succeeded
	Failed        trace.Opt[int64]
	Input, Output trace.Opt[int64] // tokens of those that succeeded
}

// Figure is a number that the tool states.
type Figure struct {
	Name, Unit string
	Value      float64
}

// Result is one run.
type Result struct {
	Tool     Tool
	Backend  string
	Duration trace.Opt[time.Duration]
	Load     trace.Load // of what was asked for; FromTrace where that is not known
	Parallel int        // --max-concurrency; 0 is none
	Stated   []Figure
	Requests int // of its columns
	Failed   int
	Time     Time
	First    float64 // the least of start_times, in seconds
	// Start and End are benchmark_start_time_unix and benchmark_end_time_unix in Unix
	// nanoseconds, where both are there and the end comes after the start.
	Start, End trace.Opt[int64]
	Totals     Totals

	columns
	prompts trace.Opt[int64] // --num-prompts
}

// columns are what is held of the requests; one that is not there is nil.
type columns struct {
	inputs, outputs, ttfts, latencies, starts, queues []float64 // NaN is unknown
	faults                                            []trace.ErrorClass
	gaps                                              int // elements of itls; -1 is no such column
}

// File is a file of results.
type File struct {
	Results []Result

	open func() (io.Reader, error)
	name string
}

// Name is that of the file, for errors.
func (f *File) Name() string { return f.name }

// Bounds of what is read.
const (
	maxResults  = 4096
	maxRequests = 1 << 26
	maxTokens   = 1 << 31
	maxSeconds  = 1e9 // of a duration
	unixSeconds = 1e9 // from here on an instant is in Unix time
	maxInstant  = 4e9
	maxTotal    = 1 << 40 // requests, or tokens, of a run
)

// The keys of when a run was.
const (
	startKey = "benchmark_start_time_unix"
	endKey   = "benchmark_end_time_unix"
)

// arguments are numbers that are no figures.
var arguments = map[string]bool{
	"num_prompts": true, "request_rate": true, "burstiness": true, "max_concurrency": true, "best_of": true, "seed": true,
	"sharegpt_output_len": true, "random_input_len": true, "random_output_len": true, "random_range_ratio": true, "random_prefix_len": true,
	"ramp_up_start_rps": true, "ramp_up_end_rps": true, "logprobs": true, "label": true, "input_len": true, "output_len": true,
}

// Open reads a file for all but the gaps between tokens. open returns it from its start,
// each time; name is for errors, which are *trace.SyntaxError with a position.
func Open(open func() (io.Reader, error), name string) (*File, error) {
	f := &File{open: open, name: name}
	r, err := open()
	if err != nil {
		return nil, err
	}
	d := decoder(r)
	for {
		if d.PeekKind() == 0 {
			if _, err := d.ReadToken(); err == io.EOF {
				break
			} else if err != nil {
				return nil, f.fault(err)
			}
		}
		if len(f.Results) == maxResults {
			return nil, f.fault(at(d, "there are more than %d results", maxResults))
		}
		res := Result{columns: columns{gaps: -1}}
		if err := res.read(d); err != nil {
			return nil, f.fault(err)
		}
		if err := res.settle(); err != nil {
			return nil, f.fault(&faultAt{d.InputOffset() - 1, err})
		}
		f.Results = append(f.Results, res)
	}
	if len(f.Results) == 0 {
		return nil, &trace.SyntaxError{Pos: trace.Pos{File: name}, Err: errors.New("the file holds no result of a serving benchmark")}
	}
	return f, nil
}

func decoder(r io.Reader) *jsontext.Decoder {
	return jsontext.NewDecoder(pyjson.NewReader(r), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// faultAt is a fault at an offset of the file.
type faultAt struct {
	offset int64
	err    error
}

func (e *faultAt) Error() string { return e.err.Error() }

// at is a fault of the value that was read last, at its last byte.
func at(d *jsontext.Decoder, format string, args ...any) error {
	return &faultAt{d.InputOffset() - 1, fmt.Errorf(format, args...)}
}

// fault gives an error its position. The decoder's own words may quote a text.
func (f *File) fault(err error) error {
	offset, what := int64(0), error(nil)
	var syntax *jsontext.SyntacticError
	var ours *faultAt
	switch {
	case errors.As(err, &ours):
		offset, what = ours.offset, ours.err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &trace.SyntaxError{Pos: trace.Pos{File: f.name}, Err: fmt.Errorf("the document breaks off: %w", io.ErrUnexpectedEOF)}
	case errors.As(err, &syntax):
		offset, what = syntax.ByteOffset, trace.ErrNotJSON
	default:
		return err
	}
	r, err := f.open()
	if err != nil {
		return err
	}
	pos, err := pyjson.Position(r, f.name, max(offset, 0))
	if err != nil {
		return err
	}
	return &trace.SyntaxError{Pos: pos, Err: what}
}

// object calls one for each name of an object, which must take the value.
func object(d *jsontext.Decoder, what string, one func(name string) error) error {
	if kind := d.PeekKind(); kind != '{' {
		if err := d.SkipValue(); err != nil {
			return err
		}
		return at(d, "%s must be an object", what)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() == '"' {
		tok, err := d.ReadToken()
		if err != nil {
			return err
		}
		if err := one(tok.String()); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// list calls one for each element of an array, which must take it.
func list(d *jsontext.Decoder, what string, one func() error) error {
	if kind := d.PeekKind(); kind != '[' {
		if err := d.SkipValue(); err != nil {
			return err
		}
		return at(d, "%s must be a list", what)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for kind := d.PeekKind(); kind != ']' && kind != 0; kind = d.PeekKind() {
		if err := one(); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// number reads a number: NaN is one that is unknown, or null.
func number(d *jsontext.Decoder, what string, least, most float64) (float64, error) {
	v, err := d.ReadValue()
	if err != nil {
		return 0, err
	}
	switch v.Kind() {
	case 'n':
		return math.NaN(), nil
	case '"':
		if len(v) == 2 {
			return math.NaN(), nil
		}
	case '0':
		n, err := strconv.ParseFloat(string(v), 64)
		if err != nil || n < least || n > most {
			return 0, &faultAt{d.InputOffset() - int64(len(v)), fmt.Errorf("%s is out of range", what)}
		}
		return n, nil
	}
	return 0, &faultAt{d.InputOffset() - int64(len(v)), fmt.Errorf("%s must be a number", what)}
}

// column reads a list of numbers.
func column(d *jsontext.Decoder, what string, least, most float64) ([]float64, error) {
	values := []float64{}
	err := list(d, what, func() error {
		if len(values) == maxRequests {
			return at(d, "%s has more than %d values", what, maxRequests)
		}
		v, err := number(d, what, least, most)
		values = append(values, v)
		return err
	})
	return values, err
}

// read reads a result.
func (res *Result) read(d *jsontext.Decoder) error {
	rate, burst := math.NaN(), 1.
	known := map[string]bool{}
	twice := map[string]bool{}
	err := object(d, "a result", func(name string) (err error) {
		known[name] = true
		into := map[string]*[]float64{
			"input_lens": &res.inputs, "output_lens": &res.outputs, "ttfts": &res.ttfts, "latencies": &res.latencies,
			"e2els": &res.latencies, "start_times": &res.starts, "queue_times": &res.queues,
		}[name]
		if into != nil && d.PeekKind() == '[' {
			if *into != nil {
				return at(d, "%s is there twice", name)
			}
			least, most := 0., maxSeconds
			switch name {
			case "input_lens", "output_lens":
				most = maxTokens
			case "start_times":
				most = maxInstant
			case "ttfts", "queue_times":
				least = -1 // a first token that never came; a queue by a clock that was read before
			}
			*into, err = column(d, name, least, most)
			return err
		}
		if (name == "itls" || name == "errors") && d.PeekKind() == '[' {
			if twice[name] {
				return at(d, "%s is there twice", name)
			}
			twice[name] = true
		}
		switch name {
		case startKey, endKey:
			return res.bound(d, name)
		case "num_prompts":
			if d.PeekKind() == '0' {
				res.prompts, err = whole(d, name)
				return err
			}
		case "itls":
			if d.PeekKind() != '[' {
				return d.SkipValue()
			}
			res.gaps = 0
			return list(d, name, func() error {
				res.gaps++
				return d.SkipValue()
			})
		case "errors":
			if d.PeekKind() == '[' {
				return res.errors(d)
			}
		case "request_rate":
			if d.PeekKind() == '0' {
				rate, err = number(d, name, 0, math.MaxFloat64)
				return err
			}
		case "burstiness":
			burst, err = number(d, name, 0, math.MaxFloat64)
			return err
		case "max_concurrency":
			if d.PeekKind() == '0' {
				n, err := number(d, name, 0, math.MaxFloat64)
				if n <= trace.MaxConcurrency && n == math.Trunc(n) {
					res.Parallel = int(n)
				}
				return err
			}
		case "backend":
			if d.PeekKind() == '"' {
				tok, err := d.ReadToken()
				if err == nil {
					res.Backend = tok.String()
				}
				return err
			}
		case "energy":
			if d.PeekKind() == '{' {
				return object(d, name, func(inner string) error { return res.state(d, name+"."+inner) })
			}
		}
		return res.state(d, name)
	})
	if err != nil {
		return err
	}
	res.Tool = toolOf(known)
	res.load(rate, burst, known["ramp_up_strategy"])
	return nil
}

// state takes a scalar, if it is a figure.
func (res *Result) state(d *jsontext.Decoder, name string) error {
	if d.PeekKind() != '0' || arguments[name] {
		return d.SkipValue()
	}
	v, err := number(d, name, -math.MaxFloat64, math.MaxFloat64)
	if err != nil {
		return err
	}
	switch {
	case name == "duration" && (v <= 0 || v > maxSeconds):
		return at(d, "duration is out of range")
	case name == "duration":
		res.Duration = trace.Some(nanos(v))
	default:
		to := map[string]*trace.Opt[int64]{
			"completed": &res.Totals.Completed, "failed": &res.Totals.Failed,
			"total_input_tokens": &res.Totals.Input, "total_output_tokens": &res.Totals.Output,
		}[name]
		switch {
		case to == nil:
		case !math.IsNaN(v) && (v < 0 || v > maxTotal || v != math.Trunc(v)):
			return at(d, "%s must be a whole number up to %v", name, float64(maxTotal))
		case !math.IsNaN(v):
			*to = trace.Some(int64(v))
		}
	}
	res.Stated = append(res.Stated, Figure{name, unitOf(name), v})
	return nil
}

// bound reads when the run began or ended: Unix seconds, exactly.
func (res *Result) bound(d *jsontext.Decoder, name string) error {
	v, err := d.ReadValue()
	if err != nil {
		return err
	}
	if v.Kind() == 'n' || v.Kind() == '"' && len(v) == 2 { // null, or NaN
		return nil
	}
	nanos, err := stamped.Seconds(v)
	if f, bad := strconv.ParseFloat(string(v), 64); err != nil && bad == nil && f > 0 && f <= maxInstant { // with an exponent
		nanos, err = int64(math.Round(f*1e9)), nil
	}
	if v.Kind() != '0' || err != nil || nanos <= 0 || nanos > maxInstant*1e9 {
		return &faultAt{d.InputOffset() - int64(len(v)), fmt.Errorf("%s must be a Unix time in seconds", name)}
	}
	if name == startKey {
		res.Start = trace.Some(nanos)
	} else {
		res.End = trace.Some(nanos)
	}
	return nil
}

// whole reads a whole number; one that is not is unknown.
func whole(d *jsontext.Decoder, name string) (trace.Opt[int64], error) {
	v, err := number(d, name, -math.MaxFloat64, math.MaxFloat64)
	if err != nil || !(v >= 0 && v <= maxTotal) || v != math.Trunc(v) {
		return trace.Opt[int64]{}, err
	}
	return trace.Some(int64(v)), nil
}

// units are those of figures by the ends of their names.
var units = []struct{ end, unit string }{
	{"_ms", "ms"}, {"duration", "s"}, {"_energy_j", "J"}, {"joules_per_input_token", "J/token"}, {"joules_per_output_token", "J/token"},
	{"joules_per_total_token", "J/token"}, {"joules_per_successful_query", "J/request"}, {"output_tps_per_w", "tps/W"}, {"_power_w", "W"},
	{"request_throughput", "requests/s"}, {"request_goodput", "requests/s"}, {"request_goodput:", "requests/s"},
	{"throughput", "tokens/s"}, {"tokens_per_s", "tokens/s"}, {"_tokens", "tokens"}, {"_tokens_retokenized", "tokens"},
	{"completed", "requests"}, {"failed", "requests"}, {"concurrent_requests", "requests"},
}

func unitOf(name string) string {
	for _, u := range units {
		if strings.HasSuffix(name, u.end) {
			return u.unit
		}
	}
	return ""
}

// errors reads what went wrong, of which the words are not kept: they may quote a prompt.
func (res *Result) errors(d *jsontext.Decoder) error {
	res.faults = []trace.ErrorClass{}
	return list(d, "errors", func() error {
		if len(res.faults) == maxRequests {
			return at(d, "errors has more than %d values", maxRequests)
		}
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		class := trace.ErrorClass("")
		switch {
		case v.Kind() == '"' && len(v) > 2:
			class = classOf(strings.ToLower(string(v)))
		case v.Kind() != '"' && v.Kind() != 'n':
			return at(d, "errors must be texts")
		}
		res.faults = append(res.faults, class)
		return nil
	})
}

// classOf groups an error by the words that Python's clients have for it.
func classOf(text string) trace.ErrorClass {
	for _, c := range []struct {
		word  string
		class trace.ErrorClass
	}{
		{"timeout", trace.ErrTimeout}, {"too many requests", trace.ErrHTTP429}, {"dns", trace.ErrDNS}, {"certificate", trace.ErrTLS},
		{"disconnected", trace.ErrReset}, {"reset by peer", trace.ErrReset}, {"cannot connect", trace.ErrConnect}, {"connection refused", trace.ErrConnect},
		{"internal server error", trace.ErrHTTP5xx}, {"service unavailable", trace.ErrHTTP5xx}, {"bad gateway", trace.ErrHTTP5xx},
		{"bad request", trace.ErrHTTP4xx}, {"not found", trace.ErrHTTP4xx}, {"unauthorized", trace.ErrHTTP4xx}, {"unprocessable", trace.ErrHTTP4xx},
	} {
		if strings.Contains(text, c.word) {
			return c.class
		}
	}
	return trace.ErrBody
}

// toolOf tells the tools by the keys that one of them writes only.
func toolOf(known map[string]bool) Tool {
	any := func(names ...string) bool {
		for _, name := range names {
			if known[name] {
				return true
			}
		}
		return false
	}
	switch {
	case any(startKey, endKey):
		return InferenceX
	case any("total_output_tokens_retokenized", "sharegpt_output_len", "server_info"):
		return SGLang
	case any("request_goodput:", "user_throughput", "e2els", "energy"):
		return TRTLLM
	case any("total_token_throughput", "endpoint_type", "start_times", "latencies"):
		return VLLM
	}
	return ""
}

// load takes what was asked for.
func (res *Result) load(rate, burst float64, ramp bool) {
	switch {
	case ramp:
	case rate > 0 && burst == 1:
		res.Load = trace.Load{Rate: rate, Arrival: trace.Poisson}
	case rate > 0 && burst > 0:
		res.Load = trace.Load{Rate: rate, Arrival: trace.Gamma, Shape: burst}
	case res.Parallel > 0:
		return
	}
	if res.Load.Rate == 0 {
		res.Load = trace.Load{FromTrace: true}
	}
}

// settle checks that the columns are of the same requests.
func (res *Result) settle() error {
	first := ""
	for _, c := range []struct {
		name string
		n    int
		ok   bool
	}{
		{"input_lens", len(res.inputs), res.inputs != nil}, {"output_lens", len(res.outputs), res.outputs != nil},
		{"ttfts", len(res.ttfts), res.ttfts != nil}, {"itls", res.gaps, res.gaps >= 0},
		{"latencies", len(res.latencies), res.latencies != nil}, {"start_times", len(res.starts), res.starts != nil},
		{"queue_times", len(res.queues), res.queues != nil}, {"errors", len(res.faults), res.faults != nil},
	} {
		switch {
		case !c.ok:
		case first == "":
			first, res.Requests = c.name, c.n
		case c.n != res.Requests:
			return fmt.Errorf("%s has %d values, and %s %d: they are not of the same requests", first, res.Requests, c.name, c.n)
		}
	}
	res.First = math.Inf(1)
	for i := range res.Requests {
		if res.failed(i) {
			res.Failed++
		}
		if res.starts != nil {
			if math.IsNaN(res.starts[i]) || res.starts[i] <= 0 {
				if !res.failed(i) {
					return errors.New("start_times lacks the start of a request that succeeded")
				}
				continue
			}
			res.First = min(res.First, res.starts[i])
		}
	}
	ordered := res.Start.OK && res.End.OK && res.Start.V < res.End.V
	switch {
	case res.starts == nil && ordered:
		res.First, res.Time = 0, Framed
	case res.starts == nil || math.IsInf(res.First, 1):
		res.First = 0
	case res.First >= unixSeconds:
		res.Time = Wall
	default:
		res.Time = Steady
	}
	if len(res.Stated) == 0 && res.Requests == 0 {
		return errors.New("the result has neither figures nor requests")
	}
	return nil
}

// All returns what is known of the requests together: the totals that are stated, and how
// many failed as what is left of --num-prompts, which are all sent.
func (res *Result) All() Totals {
	t := res.Totals
	if n, ok := res.prompts.Get(); ok && !t.Failed.OK && t.Completed.OK && n >= t.Completed.V {
		t.Failed = trace.Some(n - t.Completed.V)
	}
	return t
}

// failed reports whether a request failed.
func (res *Result) failed(i int) bool {
	if res.faults != nil && res.faults[i] != "" {
		return true
	}
	return res.ttfts != nil && res.outputs != nil && !(res.ttfts[i] > 0) && !(res.outputs[i] > 0)
}

// Contradiction says where the requests are not those that the figures are of; "" is
// nowhere.
func (res *Result) Contradiction() string {
	succeeded := int64(res.Requests - res.Failed)
	if n, ok := res.Totals.Completed.Get(); ok && res.Requests > 0 && n != succeeded {
		return fmt.Sprintf("it says that %d requests were completed, and has %d without an error", n, succeeded)
	}
	switch wall, ok := res.wall(); {
	case res.Start.OK && res.End.OK && !ok:
		return "its benchmark_end_time_unix does not come after its benchmark_start_time_unix: neither is used"
	case res.Start.OK != res.End.OK:
		return "it says when it began or when it ended, and not both: neither is used"
	case ok && res.Duration.OK && (wall-res.Duration.V).Abs() > max(500*time.Millisecond, wall/100):
		return fmt.Sprintf("it took %v by its duration and %v by the wall clock, which may have been set: its energy is of the latter", res.Duration.V, wall)
	}
	return ""
}

// wall is how long the run was by the wall clock.
func (res *Result) wall() (time.Duration, bool) {
	d := time.Duration(res.End.V - res.Start.V)
	return d, res.Start.OK && res.End.OK && d > 0
}

func nanos(seconds float64) time.Duration { return time.Duration(math.Round(seconds * 1e9)) }
