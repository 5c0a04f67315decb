package reduce

import (
	"encoding/json"
	"iter"
	"slices"

	"wattrace/trace"
)

// Schema is the version of the report document.
const Schema = "wattrace.report/1"

// Report is everything that reduce has to say: the JSON document of package
// formats/report, of which every other form is a rendering.
type Report struct {
	Schema   string    `json:"schema"`
	Producer string    `json:"producer"`
	Inputs   []Input   `json:"inputs"`
	Runs     []Run     `json:"runs,omitempty"`    // what the request logs say of their runs; shards of one are one
	Devices  []Device  `json:"devices,omitempty"` // that the recordings have energy or power of
	Warnings []Warning `json:"warnings"`
	Phases   []Phase   `json:"phases"`
	// Attribution says how stages and requests were given their energy; absent where
	// they were not.
	Attribution *Attribution `json:"attribution,omitempty"`
	// Stated is what the tools that wrote the request logs state of their runs themselves.
	Stated []Statement `json:"stated,omitempty"`
}

// Statement is what a tool states of its own run, as its file has it. None of it is ours.
type Statement struct {
	Tool    string         `json:"tool"`
	Path    string         `json:"path"`
	Run     string         `json:"run,omitempty"` // which of several runs of the file
	Figures []StatedFigure `json:"figures"`
}

// StatedFigure is a number under the tool's own name.
type StatedFigure struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit,omitempty"` // absent where the file does not tell it
	Value float64 `json:"value"`
}

// Input is one file that a report was made from.
type Input struct {
	Path   string `json:"path"`
	Schema string `json:"schema"`
	SHA256 string `json:"sha256"`
	// LostRows were read and could not be kept, as its recorder says.
	LostRows int64 `json:"lost_rows,omitempty"`
}

// Run is how the requests of a run were made, as its request log says. What it does not
// say is absent.
type Run struct {
	Trace    *RunTrace       `json:"trace,omitempty"`
	Plan     json.RawMessage `json:"plan,omitempty"`     // wattrace.plan/1: the load of each phase, as it was to be
	Seed     *int64          `json:"seed,omitempty"`     // of what was drawn at random
	Overlays []string        `json:"overlays,omitempty"` // edits of the bodies, as given to replay --set
	Targets  []string        `json:"targets,omitempty"`  // base URLs
	Servers  []RunServer     `json:"servers,omitempty"`  // those of the targets that said their version
	Shards   int             `json:"shards,omitempty"`   // clients that shared the run out among them
}

// RunServer is what a target said of itself before the run.
type RunServer struct {
	Target  string `json:"target"`
	Version string `json:"version"`
}

// RunTrace is the trace that was replayed.
type RunTrace struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Turns  int64  `json:"turns"`

	Format       string `json:"format,omitempty"`        // of the source that it was made of; absent: it was a raw_payload trace
	SourceSHA256 string `json:"source_sha256,omitempty"` // of that source

	Like string `json:"like,omitempty"` // what traces of other bytes share that are alike, drawn anew for each run
}

// Device is what a recording says of a device, constant in it.
type Device struct {
	Device       string       `json:"device"`
	DeviceIndex  int          `json:"device_index"`
	Host         string       `json:"host"`
	Name         string       `json:"name"`
	Source       string       `json:"source"`
	Scope        string       `json:"scope"`
	Architecture string       `json:"architecture,omitempty"`
	Driver       string       `json:"driver,omitempty"` // its version; absent is unknown
	MIG          bool         `json:"mig,omitempty"`    // the board is partitioned
	MPS          bool         `json:"mps,omitempty"`    // processes shared it
	Simulated    bool         `json:"simulated,omitempty"`
	Clocks       *Clocks      `json:"clocks,omitempty"` // absent where none is known
	Sensor       *SensorDoubt `json:"sensor,omitempty"` // absent where the device has no energy
}

// Clocks are the settings of a device's clocks when the recording began, in hertz. What
// is absent is unknown. A range that nvidia-smi -lgc locks clocks to can't be read.
type Clocks struct {
	ApplicationSM     *float64 `json:"application_sm_hertz,omitempty"`     // what the clock is to be while something runs (nvidia-smi -ac)
	ApplicationMemory *float64 `json:"application_memory_hertz,omitempty"` // likewise
	DefaultSM         *float64 `json:"default_sm_hertz,omitempty"`         // what the two are unless somebody sets them
	DefaultMemory     *float64 `json:"default_memory_hertz,omitempty"`
	MaxSM             *float64 `json:"max_sm_hertz,omitempty"` // the highest that the device can have
	MaxMemory         *float64 `json:"max_memory_hertz,omitempty"`
}

// SensorDoubt is what is not known of a device's own sensor, from which the systematic
// uncertainty of its energy follows. It holds standard uncertainties.
type SensorDoubt struct {
	Calibrated string  `json:"calibrated,omitempty"` // "device" or "model", by whose calibration; absent where it is all assumed
	ModelGain  float64 `json:"model_gain,omitempty"` // relative; the same in all devices of Name
	UnitGain   float64 `json:"unit_gain,omitempty"`  // relative; each device's own
	ZeroWatts  float64 `json:"zero_watts,omitempty"` // what it shows at no power: the same in all devices, of calibrated ones in those of Name, or each device's own
}

// Warning is a doubt that the report has about itself.
type Warning struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Phase   string `json:"phase,omitempty"`
	Device  string `json:"device,omitempty"` // Device.ID
}

// Code names a kind of warning. A code never changes its meaning.
type Code string

// The codes. Those that Incomplete names say that something is lacking.
const (
	WarnSimulated      Code = "simulated"            // the devices are not real
	WarnClock          Code = "clock"                // files were joined by wall clocks
	WarnIncompleteLog  Code = "incomplete_log"       // a request log has no close line
	WarnIncompleteTele Code = "incomplete_telemetry" // a recording was not ended, or lost rows
	WarnInterrupted    Code = "interrupted"          // a signal ended the run
	WarnNoEnd          Code = "no_end"               // the log does not say when the phase ended
	WarnFailed         Code = "failed_requests"      // requests failed; their energy stays in the total
	WarnNoRequests     Code = "no_requests"          // no request of the phase succeeded
	WarnNoTokens       Code = "no_tokens"            // a request does not say how many tokens it had
	WarnTokensCounted  Code = "tokens_counted"       // output tokens were counted from events, a lower bound
	WarnNoConcurrency  Code = "no_concurrency"       // energy per user needs a configured concurrency
	WarnWorkInFlight   Code = "work_in_flight"       // requests run across an end of the phase
	WarnNotBracketed   Code = "not_bracketed"        // the telemetry does not reach over both ends of the phase
	WarnMissing        Code = "missing_time"         // readings are missing inside the phase
	WarnMissingDevice  Code = "missing_device"       // an expected device gave no energy
	WarnNoGauge        Code = "no_power_gauge"       // no device's power is known over the phase
	WarnReset          Code = "counter_reset"        // an energy counter fell
	WarnJump           Code = "counter_jump"         // an energy counter rose by more than the device can draw
	WarnDisordered     Code = "disordered"           // readings out of order were left out
	WarnMIG            Code = "mig"                  // a board is partitioned: its energy is not one server's
	WarnNoTruth        Code = "no_truth"             // the truth file does not cover the phase
	WarnCancelled      Code = "cancelled_requests"   // requests were given up; their energy stays in the total
	WarnOverlap        Code = "overlap"              // phases overlap: each has the energy of both
	WarnImplausible    Code = "implausible"          // readings that cannot be were left out
	WarnNoTelemetry    Code = "no_telemetry"         // no recording was given
	WarnAliased        Code = "aliased"              // a sensor that sees a part of the time may show the beat of a load
	WarnUndersampled   Code = "undersampled"         // such a sensor and the average field beside it disagree
	WarnUnexpected     Code = "unexpected_device"    // more devices were seen than expected
	WarnOutside        Code = "not_in_topology"      // a device is left out that the topology does not list
	WarnIdleDevice     Code = "idle_device"          // a device did nothing while the others served
	WarnNotSteady      Code = "not_steady"           // no part of the phase is steady
	WarnNoIdle         Code = "no_idle_power"        // what was asked for at rest cannot be had
	WarnNoPhase        Code = "no_phase"             // the request log has no phase
	WarnDisagree       Code = "disagreement"         // counter and integrated power differ by more than is random
	WarnShifted        Code = "shifted"              // power and requests agree best when moved against each other
	WarnClientLate     Code = "client_late"          // the client sent requests late
	WarnSaturated      Code = "client_saturated"     // the client lacked processor time, by its own log
	WarnSlowRefresh    Code = "slow_refresh"         // new readings are more than a twentieth of the phase apart
	WarnTokensDisagree Code = "tokens_disagree"      // the server counts other output tokens than the log has
	WarnNotAsExpected  Code = "not_as_expected"      // requests had other token counts than the trace expects
	WarnCapped         Code = "capped_open_loop"     // requests that were due waited: the load was no open loop
)

// The codes that tell of how a recording went, and of its marks.
const (
	WarnHole           Code = "hole"           // a recorder could not keep rows of the phase
	WarnMissedTicks    Code = "missed_ticks"   // a recorder could not read devices as often as it should
	WarnXID            Code = "xid"            // the driver reported a critical error of a device
	WarnUnsynchronised Code = "unsynchronised" // a wall clock that files were joined by is not kept
	WarnMarksDiffer    Code = "marks_differ"   // a recording's marks say something else than the request log
	WarnMarksShared    Code = "marks_shared"   // several recordings mark the same phases
	WarnNoStart        Code = "no_start"       // a mark ends a phase that none begins
	WarnOutsidePhases  Code = "outside_phases" // a recording has energy that is no phase's
)

// The codes that tell of request logs of other tools.
const (
	WarnNoClock   Code = "no_clock"   // a log does not say when it was: it was not joined with the recording
	WarnLogLimits Code = "log_limits" // what the figures of a log must be read with
	WarnLogChosen Code = "log_chosen" // of two logs of one run one was taken
)

// Incomplete returns the codes of the warnings, each once, that say that
// something is lacking that the report should have had.
func (r *Report) Incomplete() []Code {
	var list []Code
	for _, w := range r.Warnings {
		switch w.Code {
		case WarnIncompleteLog, WarnIncompleteTele, WarnInterrupted, WarnNoEnd, WarnFailed, WarnNotBracketed, WarnMissing, WarnMissingDevice, WarnNoTruth, WarnOverlap, WarnNoPhase, WarnUnexpected, WarnMissingShard, WarnNoStart, WarnNoClock:
			if !slices.Contains(list, w.Code) {
				list = append(list, w.Code)
			}
		}
	}
	return list
}

// Phase is a window of the run and what is known of it.
type Phase struct {
	Name            string            `json:"name"`
	Kind            string            `json:"kind"`
	Start           string            `json:"start,omitempty"` // RFC 3339, nine digits
	End             string            `json:"end,omitempty"`
	DurationSeconds *float64          `json:"duration_seconds,omitempty"`
	Concurrency     int               `json:"concurrency,omitempty"`
	Load            Load              `json:"load,omitempty"`     // what made requests due; absent for a closed loop
	Requests        *Requests         `json:"requests,omitempty"` // absent without a request log
	Tokens          *Tokens           `json:"tokens,omitempty"`
	Audit           *Audit            `json:"audit,omitempty"`   // absent where the trace expects nothing
	Devices         *Devices          `json:"devices,omitempty"` // absent without telemetry
	Metrics         map[string]Metric `json:"metrics"`
	PerDevice       []PerDevice       `json:"per_device"`
	Roles           []Role            `json:"roles,omitempty"` // of the topology
	Others          []OtherTool       `json:"other_tools,omitempty"`
	// Windows are the parts of the phase that follow from its load, and of a document its
	// slices after them.
	Windows []Phase `json:"windows"`
	// Slices yields the slices in order, each made when it is come to: with what is said
	// of every device they take many times the memory that they are made from. nil is none.
	Slices iter.Seq[*Phase] `json:"-"`
}

// All yields the windows of a phase and then its slices. What it yields is the caller's.
func (ph *Phase) All() iter.Seq[*Phase] {
	return func(yield func(*Phase) bool) {
		for i := range ph.Windows {
			if w := ph.Windows[i]; !yield(&w) {
				return
			}
		}
		if ph.Slices != nil {
			ph.Slices(yield)
		}
	}
}

// Load says what made the requests of a phase due, where it was not the end of an earlier
// one. Latencies from the scheduled time are then what users would have seen.
type Load string

// The loads that are no closed loop.
const (
	LoadOpen  Load = "open"       // a schedule: a rate, or the trace's own times
	LoadGated Load = "open_gated" // a schedule, but what was due waited where the plan has a ceiling
)

// Requests counts the requests that were sent in a phase, by how they ended.
type Requests struct {
	Sent      int64                      `json:"sent"`
	Succeeded int64                      `json:"succeeded"`
	Failed    int64                      `json:"failed"`
	Cancelled int64                      `json:"cancelled"`
	Unended   int64                      `json:"unended,omitempty"` // in flight when the log broke off
	Errors    map[trace.ErrorClass]int64 `json:"errors,omitempty"`
}

// Tokens sums the tokens of the requests that succeeded.
type Tokens struct {
	Input  *float64 `json:"input,omitempty"`
	Output *float64 `json:"output,omitempty"`
}

// Devices says which devices a phase has energy of.
type Devices struct {
	Expected int      `json:"expected"`
	Seen     int      `json:"seen"`
	Missing  []string `json:"missing"` // Device.ID, where it is known
}

// PerDevice is one device's share of a phase.
type PerDevice struct {
	Device      string `json:"device"`
	DeviceIndex int    `json:"device_index"`
	Host        string `json:"host"`
	Name        string `json:"name"`
	Source      string `json:"source"`
	Scope       string `json:"scope"`
	// DeviceIndices are the numbers of the GPUs that report this one module.
	DeviceIndices []int             `json:"device_indices,omitempty"`
	Role          string            `json:"role,omitempty"`   // of the topology
	Worker        string            `json:"worker,omitempty"` // of the topology
	Coverage      float64           `json:"coverage"`         // share of the phase that readings cover
	Metrics       map[string]Metric `json:"metrics"`
}

// Role is the share of a phase of the devices of one role, as a disaggregated server
// has them for prefill and for decode. Its energy is theirs over the whole phase,
// whatever they did, and not that of a stage of the requests.
type Role struct {
	Role    string            `json:"role"`
	Devices Devices           `json:"devices"`
	Metrics map[string]Metric `json:"metrics"`
}

// Metric is one number or one distribution, with its unit.
type Metric struct {
	Unit string `json:"unit"`
	*Number
	*Distribution
}

// Number is a single figure.
type Number struct {
	Value          float64      `json:"value"`
	Method         string       `json:"method,omitempty"`
	DevicesCovered int          `json:"devices_covered,omitempty"`
	Uncertainty    *Uncertainty `json:"uncertainty,omitempty"`
	// Enclosure holds the energy for certain, as far as the counters are right:
	// it follows from their being monotone alone.
	Enclosure *Enclosure `json:"enclosure,omitempty"`
	// ClockRange holds what the figure would be if the recordings' clocks were off
	// by what is not known of them, and the phase's ends by what is not known of the
	// marks that they come from.
	ClockRange *Enclosure `json:"clock_range,omitempty"`
	// Bounds hold what a figure that is modelled may be, by all models.
	Bounds *Enclosure `json:"bounds,omitempty"`
}

// Uncertainty holds standard uncertainties in the metric's unit.
type Uncertainty struct {
	Random     float64 `json:"random"`     // drawn anew in another run
	Systematic float64 `json:"systematic"` // the same in another run
}

// Enclosure is an interval, in the metric's unit.
type Enclosure struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Distribution describes a set of values: percentiles of type 7, the
// population's standard deviation.
type Distribution struct {
	Mean  float64 `json:"mean"`
	Min   float64 `json:"min"`
	P1    float64 `json:"p1"`
	P5    float64 `json:"p5"`
	P10   float64 `json:"p10"`
	P25   float64 `json:"p25"`
	P50   float64 `json:"p50"`
	P75   float64 `json:"p75"`
	P90   float64 `json:"p90"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
	Std   float64 `json:"std"`
	Count int64   `json:"count"`
	Of    string  `json:"of,omitempty"` // what the values are, where the tag does not say it
	// Coverage says of how many requests the values are, where they are not known of all.
	Coverage *Coverage `json:"coverage,omitempty"`
	// Histogram is what the percentiles were taken from, where not all values are kept.
	Histogram *Histogram `json:"histogram,omitempty"`
}

// Coverage counts the requests that values are of, and those that have such values.
type Coverage struct {
	Known    int64 `json:"known"`
	Requests int64 `json:"requests"`
}

// Histogram counts values in buckets of a fixed layout, so that those of several reports
// merge by adding them up. A percentile from it is within 0.4 % of the exact one; mean,
// std, min, max and count are exact.
type Histogram struct {
	Layout  string   `json:"layout"`  // log2/128: each octave of nanoseconds has 128 buckets of equal width, and below 256 ns each has its own
	Buckets []Bucket `json:"buckets"` // those that hold any, in order
}

// Bucket is a part of a histogram.
type Bucket struct {
	From  float64 `json:"from"` // the least value that it may hold, in the metric's unit
	Count int64   `json:"count"`
}

// Tags of metrics: what a report calls them. For each the formula.
const (
	// Energy: for a phase the sum over its devices of E(end)-E(start).
	TotalGPUEnergy = "total_gpu_energy" // J
	// Power: the sum over the devices of the time-weighted mean of the power gauge.
	TotalGPUPower = "total_gpu_power" // W
	// total_gpu_energy / duration.
	AverageGPUPower = "average_gpu_power" // W
	// Output tokens / total_gpu_energy.
	OutputTokensPerJoule = "output_tokens_per_joule" // tokens/J
	// total_gpu_energy / configured concurrency.
	EnergyPerUser = "energy_per_user" // J/user
	// total_gpu_energy / output tokens.
	EnergyPerOutputToken = "energy_per_output_token" // J/token
	// total_gpu_energy / (input + output tokens).
	EnergyPerTotalToken = "energy_per_total_token" // J/token
	// total_gpu_energy / requests that succeeded.
	EnergyPerRequest = "energy_per_request" // J/request
	// total_gpu_energy / input tokens.
	EnergyPerInputToken = "energy_per_input_token" // J/token
	// energy_per_request times the mean of request_latency.
	EnergyDelayProduct = "energy_delay_product" // J*s
	// total_gpu_energy / time-weighted mean of the requests in flight.
	EnergyPerUserMeasured = "energy_per_user_measured" // J/user
	// average_gpu_power / time-weighted mean of the requests in flight.
	WattsPerUser = "watts_per_user" // W/user
	// total_gpu_energy / 3600.
	TotalGPUEnergyWh = "total_gpu_energy_watt_hours" // Wh
	// energy_per_output_token times a price, and times a carbon intensity.
	CostPerMillionTokens   = "energy_cost_per_million_output_tokens" // in the price's currency
	CarbonPerMillionTokens = "carbon_per_million_output_tokens"      // gCO2e/Mtok
	// Requests that succeeded and kept the latencies asked for / duration, and
	// / total_gpu_energy.
	Goodput        = "goodput"          // requests/s
	GoodputPerWatt = "goodput_per_watt" // requests/s/W
	// Requests that succeeded and kept the latencies asked for / requests sent, those that
	// failed, were given up or did not end among them.
	GoodputRatio = "goodput_ratio"
	// Time-weighted mean of the requests that were sent and had not ended.
	RequestsInFlight = "requests_in_flight"

	// Of the requests that succeeded; latency.go says more. First output event - sent;
	// the first that is no reasoning - sent; the second output event - the first.
	TimeToFirstToken       = "time_to_first_token"        // s
	TimeToFirstOutputToken = "time_to_first_output_token" // s
	TimeToSecondToken      = "time_to_second_token"       // s
	// (Last output event - first) / (output tokens - 1), per request.
	InterTokenLatency = "inter_token_latency" // s
	// Last output event - sent.
	RequestLatency = "request_latency" // s
	// The same from when the request was due, which an open loop's users would see.
	TimeToFirstTokenScheduled = "time_to_first_token_scheduled" // s
	RequestLatencyScheduled   = "request_latency_scheduled"     // s
	// Time between output events that follow each other, of all requests together; and
	// the longest of each request.
	InterChunkLatency = "inter_chunk_latency" // s
	MaxGap            = "max_gap"             // s
	// The same per token, where it is known how many tokens each event brought: gap /
	// tokens, counted once for each token. What vLLM and SGLang call inter-token latency.
	InterTokenLatencyPooled = "inter_token_latency_pooled" // s
	// request_latency / output tokens, per request.
	NormalizedLatency = "normalized_latency" // s/token
	// 1 / inter_token_latency, per request.
	OutputTokenThroughputPerUser = "output_token_throughput_per_user" // tokens/s/user
	// Sent - due, of every request that ended: the client's own delay, or the wait at a
	// ceiling.
	SendLateness = "send_lateness" // s
	// CPU seconds of the client / second, and the most requests that it says it had in
	// flight; both from lines that it writes once a second.
	ClientCPU          = "client_cpu"
	ClientPeakInFlight = "client_peak_in_flight" // requests
	// Tokens that the servers say they generated: the growth of their counters over the
	// phase.
	ServerGenerationTokens = "server_generation_tokens" // tokens
	// Output tokens / duration.
	OutputTokenThroughput = "output_token_throughput" // tokens/s
	// (Input + output tokens) / duration.
	TotalTokenThroughput = "total_token_throughput" // tokens/s
	// Requests that succeeded / duration.
	RequestThroughput = "request_throughput" // requests/s

	// What the GPUs draw at rest, over the phase, and what is left: total_gpu_energy -
	// idle_gpu_energy.
	IdleGPUPower            = "idle_gpu_power"              // W
	IdleGPUEnergy           = "idle_gpu_energy"             // J
	NetGPUEnergy            = "net_gpu_energy"              // J
	NetEnergyPerOutputToken = "net_energy_per_output_token" // J/token

	// The distribution over time of the power of all GPUs, its maximum, and
	// average_gpu_power / sum of the limits.
	GPUPowerOverTime = "gpu_power_over_time" // W
	PeakGPUPower     = "peak_gpu_power"      // W
	PowerLimitShare  = "power_limit_share"

	// Energy by the method that is not the headline's, of the devices that have both,
	// and the headline's of the same devices / that.
	CrossCheckEnergy = "crosscheck_gpu_energy" // J
	CrossCheckRatio  = "crosscheck_ratio"

	// Time-weighted means over the phase, of a device or over the devices; of memory
	// and limits the sums.
	GPUUtilization     = "gpu_utilization"
	MemoryUtilization  = "memory_utilization"
	GPUTemperature     = "gpu_temperature"      // Cel
	PeakGPUTemperature = "peak_gpu_temperature" // Cel
	SMClock            = "sm_clock"             // Hz
	PeakSMClock        = "peak_sm_clock"        // Hz
	MemoryClock        = "memory_clock"         // Hz
	MemoryUsed         = "memory_used"          // By
	GPUPowerLimit      = "gpu_power_limit"      // W
	// For how long clocks were held down, and with _REASON appended by what.
	ThrottledTime = "throttled_time" // s

	// The energy of the requests' stages, by package attribute, and per token; what was
	// drawn at rest; and what was drawn for no request.
	PrefillEnergy              = "prefill_energy"                 // J
	DecodeEnergy               = "decode_energy"                  // J
	AttributedIdleEnergy       = "attributed_idle_energy"         // J
	UnattributedEnergy         = "unattributed_energy"            // J
	PrefillEnergyPerInputToken = "prefill_energy_per_input_token" // J/token
	DecodeEnergyPerOutputToken = "decode_energy_per_output_token" // J/token

	// The energy of single requests that succeeded, and of conversations, by package
	// attribute.
	EnergyOfRequests      = "request_energy"      // J
	EnergyOfConversations = "conversation_energy" // J

	// Of the devices of one role, over the whole phase.
	RoleEnergy               = "role_energy"                  // J
	RolePower                = "average_role_power"           // W
	RoleEnergyPerInputToken  = "role_energy_per_input_token"  // J/token
	RoleEnergyPerOutputToken = "role_energy_per_output_token" // J/token

	// Per device: its E(end)-E(start), and of the part of the phase that
	// readings cover where they do not cover all of it.
	GPUEnergy        = "gpu_energy"         // J
	GPUEnergyCovered = "gpu_energy_covered" // J
	// Per device: the time-weighted mean of the power gauge.
	GPUPower = "gpu_power" // W

	// Of simulated devices, on request: what they drew in truth, and what the
	// difference of the last counter readings before each edge would say.
	TrueGPUEnergy       = "true_gpu_energy"        // J
	LastSampleGPUEnergy = "last_sample_gpu_energy" // J
)
