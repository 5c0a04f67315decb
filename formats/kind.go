package formats

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"wattrace/formats/pyjson"
)

// Kind is what an input holds, in words that fit into a message.
type Kind string

// The kinds.
const (
	Unknown             Kind = "unknown format"
	RawPayload          Kind = "raw_payload trace"
	Timing              Kind = "timing side file"
	TRTLLM              Kind = "trtllm-bench dataset"
	Mooncake            Kind = "Mooncake trace"
	ShareGPT            Kind = "ShareGPT dump"
	OpenAIBatch         Kind = "batch of OpenAI requests"
	AIPerfInputs        Kind = "file of aiperf inputs"
	TRTLLMCustom        Kind = "trtllm_custom dataset"
	Questions           Kind = "file of benchmark questions"
	TokenTrace          Kind = "token trace of SGLang"
	GenAIPerf           Kind = "payload file of genai-perf"
	GuideLLM            Kind = "guidellm dataset"
	WEKA                Kind = "WEKA trace"
	AzureLLM            Kind = "trace of Azure LLM inference"
	BurstGPT            Kind = "BurstGPT trace"
	Requests            Kind = "request log"
	AIPerf              Kind = "request log of aiperf"
	AIPerfRaw           Kind = "raw export of aiperf"
	AIPerfManifest      Kind = "phase manifest of aiperf"
	BenchServe          Kind = "result of a serving benchmark"       // vllm bench serve and its kin
	InferenceXAggregate Kind = "aggregate of InferenceX"             // agg_*.json
	InferenceXAudit     Kind = "power audit of InferenceX"           // power_validation_*.json
	EnergyMetrics       Kind = "energy metrics of trtllm-serve"      // /energy_metrics
	GuideLLMReport      Kind = "report of guidellm"                  // benchmarks.json
	TRTLLMRequests      Kind = "request log of trtllm-bench"         // --request_json
	TRTLLMReport        Kind = "report of trtllm-bench"              // --report_json
	PerfMetrics         Kind = "performance metrics of trtllm-serve" // /perf_metrics
	AIPerfTelemetry     Kind = "telemetry of aiperf"                 // gpu_telemetry_export.jsonl
	TelemetryStream     Kind = "telemetry recording"                 // Arrow IPC stream
	TelemetryFile       Kind = "telemetry file"                      // Arrow IPC file
	Report              Kind = "report"
	Truth               Kind = "truth file"
	TelemetryCSV        Kind = "telemetry CSV" // rows of a recording, by the names of its columns
	TelemetryLines      Kind = "telemetry JSON Lines"
	Parquet             Kind = "Parquet file"
	NVIDIASMI           Kind = "nvidia-smi log"      // CSV of nvidia-smi --query-gpu
	NVIDIASMIDmon       Kind = "nvidia-smi dmon log" // table of nvidia-smi dmon
	DCGMIDmon           Kind = "dcgmi dmon log"      // table of dcgmi dmon
	AMDSMI              Kind = "amd-smi log"         // CSV of amd-smi metric and amd-smi monitor
	SRTSlurm            Kind = "samples of srt-slurm's power package"
	Prometheus          Kind = "answer of Prometheus" // of its API to a query, JSON
	Plan                Kind = "plan"
	Sensors             Kind = "sensor table"
	Calibration         Kind = "calibration"
	Topology            Kind = "topology"
)

// Kinds that Sniff never returns, since what they hold is something else by its
// looks; someone has to say so.
const (
	VLLMCustom    Kind = "custom dataset of vLLM"
	SGLangOpenAI  Kind = "openai dataset of SGLang"
	GuideLLMTrace Kind = "trace of guidellm"
)

// Lengths is a kind that no reader has: what its times mean has to be said.
const Lengths Kind = "trace of times and lengths, in milliseconds as Mooncake's or in seconds as guidellm's"

// magics are kinds known by their first bytes.
var magics = []struct {
	magic string
	kind  Kind
}{
	{"\xff\xff\xff\xff", TelemetryStream}, // continuation marker of the first message
	{"ARROW1\x00\x00", TelemetryFile},
	{"PAR1", Parquet},
}

// schemas are kinds known by the "schema" of their first object, or of their first
// line, as YAML has it.
var schemas = []struct {
	prefix string
	kind   Kind
}{
	{"wattrace.requests/", Requests},
	{"wattrace.report/", Report},
	{"wattrace.truth/", Truth},
	{"wattrace.plan/", Plan},
	{"wattrace.sensors/", Sensors},
	{"wattrace.calibration/", Calibration},
	{"wattrace.topology/", Topology},
}

// container is what may hold the first object.
type container string

const (
	nothing  container = "{"
	array    container = "["
	anything container = "{["
)

// when are keys of genai-perf and Mooncake that no server takes in a body.
var when = []string{"timestamp", "delay", "session_id"}

// bodyFields are keys of request bodies beside what is asked.
var bodyFields = []string{
	"stream", "stream_options", "max_tokens", "max_completion_tokens", "min_tokens", "ignore_eos", "temperature", "top_p", "top_k", "min_p",
	"n", "best_of", "seed", "stop", "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs",
	"response_format", "tool_choice", "chat_template_kwargs", "reasoning_effort", "nvext",
}

// IsBodyField reports whether a key is known as one of request bodies, beside
// the model and what is asked.
func IsBodyField(name string) bool { return slices.Contains(bodyFields, name) }

// IsLimit reports whether a key of request bodies limits the length of the answer.
func IsLimit(name string) bool { return name == "max_tokens" || name == "max_completion_tokens" }

// shapes are kinds known by the keys of their first object: all of some, any of
// others, any of with if there are such, and none of the last. A key that ends
// with { or [ has such a value. The first that fits counts.
var shapes = []struct {
	all, any, with, none []string
	in                   container
	kind                 Kind
}{
	{all: []string{"time", "device"}, any: []string{"took_nanos"}, in: nothing, kind: TelemetryLines},
	{all: []string{"status"}, any: []string{"data"}, none: []string{"model", "messages", "schema"}, in: nothing, kind: Prometheus},
	{all: []string{"telemetry_data"}, any: []string{"timestamp_ns"}, in: nothing, kind: AIPerfTelemetry},
	{all: []string{"metadata"}, any: []string{"start_perf_ns", "responses", "payload"}, none: []string{"messages"}, in: nothing, kind: AIPerfRaw},
	{all: []string{"metadata"}, any: []string{"metrics", "error"}, none: []string{"messages"}, in: nothing, kind: AIPerf},
	{all: []string{"phases"}, any: []string{"schema_version"}, none: []string{"schema"}, in: nothing, kind: AIPerfManifest},
	{all: []string{"duration", "completed"}, any: []string{"total_input_tokens", "request_throughput"}, in: nothing, kind: BenchServe},
	{all: []string{"metadata{", "benchmarks["}, any: []string{"config", "args", "metadata"}, none: []string{"messages", "prompt", "model"}, in: nothing, kind: GuideLLMReport},
	{all: []string{"metadata{", "config{"}, any: []string{"config"}, none: []string{"messages", "prompt", "model", "samples", "schema", "metrics", "error"}, in: nothing, kind: GuideLLMReport},
	{all: []string{"tput_per_gpu", "conc"}, any: []string{"hw", "model", "framework"}, in: nothing, kind: InferenceXAggregate},
	{all: []string{"power_valid", "reasons["}, any: []string{"integration_method", "benchmark_window"}, in: nothing, kind: InferenceXAudit},
	{all: []string{"total_energy_j", "query_time"}, any: []string{"total_energy_j"}, in: nothing, kind: EnergyMetrics},
	{all: []string{"start_timestamp", "end_timestamp", "num_input_tokens"}, in: anything, any: []string{"id", "error_tokens", "first_token_timestamp"}, kind: TRTLLMRequests},
	{all: []string{"engine", "performance"}, any: []string{"world_info", "request_info"}, in: nothing, kind: TRTLLMReport},
	{any: []string{"perf_metrics"}, all: []string{"request_id"}, in: anything, kind: PerfMetrics},
	{any: []string{"gen_perf_metrics", "ctx_perf_metrics"}, in: anything, kind: PerfMetrics},
	{all: []string{"block_size", "requests["}, any: []string{"id", "hash_id_scope", "models"}, in: anything, kind: WEKA},
	{all: []string{"t", "in", "out"}, any: []string{"hash_ids"}, in: anything, kind: WEKA},
	{any: []string{"input_tokens["}, none: []string{"model", "messages", "prompt"}, in: nothing, kind: TokenTrace},
	{any: []string{"text_input", "input_length"}, with: bodyFields, none: []string{"model", "type"}, in: nothing, kind: GenAIPerf},
	{all: []string{"text"}, any: append([]string{"output_length"}, when...), none: []string{"model", "type"}, in: nothing, kind: GenAIPerf},
	{all: []string{"messages"}, any: when, with: bodyFields, none: []string{"model"}, in: nothing, kind: GenAIPerf},
	{all: []string{"prompt"}, any: when, none: []string{"model", "output_tokens"}, in: nothing, kind: GenAIPerf},
	{
		all: []string{"timestamp", "output_length"}, any: []string{"input_length"},
		none: []string{"hash_ids", "chat_id", "session_id", "delay", "text_input", "messages", "payload", "model", "type"}, in: nothing, kind: Lengths,
	},
	{any: []string{"input_length", "hash_ids", "text_input", "output_length", "payload"}, none: []string{"model", "type"}, in: nothing, kind: Mooncake},
	{any: []string{"chat_id"}, all: []string{"input_length"}, in: nothing, kind: Mooncake}, // has a type
	{any: when, all: []string{"messages"}, none: []string{"model"}, in: nothing, kind: Mooncake},
	{any: []string{"output_tokens_count", "completion_tokens_count", "prompt_tokens_count", "input_tokens_count"}, in: nothing, kind: GuideLLM},
	{any: []string{"messages"}, in: nothing, kind: RawPayload},
	{any: []string{"conversations[", "conversation["}, in: anything, kind: ShareGPT}, // LMSYS-Chat-1M too, which has a model
	{any: []string{"line", "conversation"}, none: []string{"type", "schema", "model", "prompt", "input", "input_ids", "logits", "turns"}, in: nothing, kind: Timing},
	{any: []string{"input{"}, none: []string{"model", "output", "custom_id"}, in: nothing, kind: TRTLLMCustom}, // of a body's it is a string or an array
	{any: []string{"turns["}, none: []string{"model", "prompt", "input_ids", "logits", "output_tokens", "task_id"}, in: nothing, kind: Questions},
	{any: []string{"input_ids", "logits", "turns", "output_tokens", "task_id", "samples"}, none: []string{"model"}, in: anything, kind: TRTLLM},
	{any: []string{"prompt", "input"}, in: nothing, kind: RawPayload},
	{any: []string{"custom_id"}, all: []string{"body"}, in: nothing, kind: OpenAIBatch},
	{any: []string{"conversations"}, in: anything, kind: ShareGPT},
	{any: []string{"conversation"}, in: array, kind: ShareGPT},
	{any: []string{"data"}, none: []string{"object", "type", "schema"}, in: nothing, kind: AIPerfInputs},
}

// headers are kinds of CSV known by the names in their first line, without the
// units that may stand behind them in brackets: all of some and any of others.
var headers = []struct {
	all, any []string
	kind     Kind
}{
	{
		all: []string{"gpu"},
		any: []string{
			"socket_power", "current_socket_power", "average_socket_power", "socket_power_w", "power_usage",
			"total_energy_consumption", "energy_accumulator", "gfx_activity", "umc_activity", "hotspot", "hotspot_temperature", "gfx_0_clk",
		},
		kind: AMDSMI,
	},
	{
		all: []string{"timestamp"},
		any: []string{
			"power.draw", "power.draw.average", "power.draw.instant", "enforced.power.limit", "power.limit",
			"temperature.gpu", "utilization.gpu", "utilization.memory", "memory.used", "clocks.current.sm", "clocks.sm",
			"clocks.current.memory", "clocks.mem", "clocks_event_reasons.active", "clocks_throttle_reasons.active",
			"total_energy_consumption", "temperature.memory",
		},
		kind: NVIDIASMI,
	},
	{all: []string{"timestamp_unix", "hostname", "gpu_index"}, any: []string{"power_w"}, kind: SRTSlurm},
	{all: []string{"time", "device"}, any: []string{"took_nanos", "source", "scope"}, kind: TelemetryCSV},
	{all: []string{"time"}, any: []string{"power_watts", "power_instant_watts", "power_average_watts", "energy_joules"}, kind: TelemetryCSV},
	{all: []string{"time_unix_seconds"}, any: []string{"power_watts", "power_instant_watts", "power_average_watts", "energy_joules"}, kind: TelemetryCSV},
	{all: []string{"TIMESTAMP", "GeneratedTokens"}, any: []string{"ContextTokens"}, kind: AzureLLM},
	{all: []string{"Timestamp", "Response tokens"}, any: []string{"Request tokens"}, kind: BurstGPT},
}

// maxHeader bounds the line that is looked at for the names of columns, in bytes.
const maxHeader = 64 << 10

// Sniff returns the kind of the content that begins with head. A head that is
// cut inside the first object is judged by the keys that it shows.
func Sniff(head []byte) Kind {
	kind, _ := sniff(head)
	return kind
}

// sniff also reports whether more bytes could not change the answer.
func sniff(head []byte) (kind Kind, final bool) {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.kind, true
		}
		if strings.HasPrefix(m.magic, string(head)) {
			return Unknown, false
		}
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	if len(text) == 0 {
		return Unknown, false
	}
	if text[0] != '{' && text[0] != '[' {
		return sniffHeader(text)
	}
	keys, schema, final := firstObject(text)
	if kind := bySchema(schema); kind != Unknown {
		return kind, true
	}
	has := func(key string) bool { return slices.Contains(keys, key) }
	for _, s := range shapes {
		if strings.Contains(string(s.in), string(text[:1])) && slices.ContainsFunc(s.any, has) && hasAll(s.all, has) &&
			(s.with == nil || slices.ContainsFunc(s.with, has)) && !slices.ContainsFunc(s.none, has) {
			return s.kind, final
		}
	}
	return Unknown, final
}

func hasAll(names []string, has func(string) bool) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !has(name) })
}

func bySchema(schema string) Kind {
	for _, s := range schemas {
		if strings.HasPrefix(schema, s.prefix) {
			return s.kind
		}
	}
	return Unknown
}

// sniffHeader judges text that is no JSON by its first line. Some shells write
// UTF-16: such a log is still known, so that its reader can name the fault.
func sniffHeader(text []byte) (kind Kind, final bool) {
	line, _, ended := bytes.Cut(text, []byte("\n"))
	if len(line) > maxHeader {
		return Unknown, true
	}
	if wide, ok := bytes.CutPrefix(line, []byte("\xff\xfe")); ok {
		line = bytes.ReplaceAll(wide, []byte{0}, nil)
	}
	if schema, ok := bytes.CutPrefix(line, []byte("schema: ")); ok {
		kind := bySchema(strings.Trim(string(schema), " \"'"))
		return kind, ended || kind != Unknown
	}
	if title, ok := bytes.CutPrefix(line, []byte("#")); ok {
		return sniffTable(title), ended
	}
	if bytes.HasPrefix(line, []byte("'CTRL' + 'C' to stop")) { // what amd-smi says before its first row
		return AMDSMI, true
	}
	var names []string
	for field := range strings.SplitSeq(string(line), ",") {
		name, _, _ := strings.Cut(field, "[")
		names = append(names, strings.Trim(name, " \t\r\""))
	}
	has := func(name string) bool { return slices.Contains(names, name) }
	for _, h := range headers {
		if slices.ContainsFunc(h.any, has) && hasAll(h.all, has) {
			return h.kind, ended
		}
	}
	if len(names) > 1 && slices.ContainsFunc(names, isSMITime) {
		return NVIDIASMI, ended // without its header, of which its reader says what to do
	}
	return Unknown, ended
}

// sniffTable judges the first line of a table that begins with #.
func sniffTable(title []byte) Kind {
	names := strings.Fields(string(title))
	switch {
	case len(names) > 1 && names[0] == "Entity":
		return DCGMIDmon
	case len(names) > 1 && slices.Contains(names, "gpu"):
		return NVIDIASMIDmon
	}
	return Unknown
}

// isSMITime reports whether a field is a time as nvidia-smi writes it.
func isSMITime(text string) bool {
	const layout = "0000/00/00 00:00:00"
	if len(text) < len(layout) {
		return false
	}
	for i := range len(layout) {
		if digit := text[i] >= '0' && text[i] <= '9'; digit != (layout[i] == '0') || !digit && text[i] != layout[i] {
			return false
		}
	}
	return true
}

// firstObject returns the keys of the object that text begins with, or of the
// first element of the array, as far as text goes, each also with the first byte
// of its value; its schema; and whether the object ended or is broken, so that
// more text would change nothing.
func firstObject(text []byte) (keys []string, schema string, final bool) {
	if bytes.Contains(text, []byte("NaN")) || bytes.Contains(text, []byte("Infinity")) {
		text, _ = io.ReadAll(pyjson.NewReader(bytes.NewReader(text))) // of a slice there is no error
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	ended := func(err error) bool { return !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF }
	tok, err := d.ReadToken()
	if err == nil && tok.Kind() == '[' {
		tok, err = d.ReadToken()
	}
	if err != nil || tok.Kind() != '{' {
		return nil, "", ended(err)
	}
	for {
		name, err := d.ReadToken()
		if err != nil {
			return keys, schema, ended(err)
		}
		if name.Kind() == '}' {
			return keys, schema, true
		}
		key := name.String()
		keys = append(keys, key, key+string(d.PeekKind()))
		value, err := d.ReadValue()
		if err != nil {
			return keys, schema, ended(err)
		}
		if key == "schema" && value.Kind() == '"' {
			text, _ := jsontext.AppendUnquote(nil, value)
			schema = string(text)
		}
	}
}
