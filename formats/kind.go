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
	Unknown         Kind = "unknown format"
	RawPayload      Kind = "raw_payload trace"
	Timing          Kind = "timing side file"
	TRTLLM          Kind = "trtllm-bench dataset"
	Mooncake        Kind = "Mooncake trace"
	ShareGPT        Kind = "ShareGPT dump"
	OpenAIBatch     Kind = "batch of OpenAI requests"
	AIPerfInputs    Kind = "file of aiperf inputs"
	AzureLLM        Kind = "trace of Azure LLM inference"
	BurstGPT        Kind = "BurstGPT trace"
	Requests        Kind = "request log"
	AIPerf          Kind = "request log of aiperf"
	AIPerfRaw       Kind = "raw export of aiperf"
	AIPerfManifest  Kind = "phase manifest of aiperf"
	BenchServe      Kind = "result of a serving benchmark"       // vllm bench serve and its kin
	TRTLLMRequests  Kind = "request log of trtllm-bench"         // --request_json
	TRTLLMReport    Kind = "report of trtllm-bench"              // --report_json
	PerfMetrics     Kind = "performance metrics of trtllm-serve" // /perf_metrics
	AIPerfTelemetry Kind = "telemetry of aiperf"                 // gpu_telemetry_export.jsonl
	TelemetryStream Kind = "telemetry recording"                 // Arrow IPC stream
	TelemetryFile   Kind = "telemetry file"                      // Arrow IPC file
	Report          Kind = "report"
	Truth           Kind = "truth file"
	NVIDIASMI       Kind = "nvidia-smi log" // CSV of nvidia-smi --query-gpu
	Plan            Kind = "plan"
	Sensors         Kind = "sensor table"
	Calibration     Kind = "calibration"
	Topology        Kind = "topology"
)

// magics are kinds known by their first bytes.
var magics = []struct {
	magic string
	kind  Kind
}{
	{"\xff\xff\xff\xff", TelemetryStream}, // continuation marker of the first message
	{"ARROW1\x00\x00", TelemetryFile},
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

// shapes are kinds known by the keys of their first object: all of some, any of
// others and none of third ones. The first that fits counts.
var shapes = []struct {
	all, any, none []string
	in             container
	kind           Kind
}{
	{all: []string{"telemetry_data"}, any: []string{"timestamp_ns"}, in: nothing, kind: AIPerfTelemetry},
	{all: []string{"metadata"}, any: []string{"start_perf_ns", "responses", "payload"}, none: []string{"messages"}, in: nothing, kind: AIPerfRaw},
	{all: []string{"metadata"}, any: []string{"metrics", "error"}, none: []string{"messages"}, in: nothing, kind: AIPerf},
	{all: []string{"phases"}, any: []string{"schema_version"}, none: []string{"schema"}, in: nothing, kind: AIPerfManifest},
	{all: []string{"duration", "completed"}, any: []string{"total_input_tokens", "request_throughput"}, in: nothing, kind: BenchServe},
	{all: []string{"start_timestamp", "end_timestamp", "num_input_tokens"}, in: anything, any: []string{"id", "error_tokens", "first_token_timestamp"}, kind: TRTLLMRequests},
	{all: []string{"engine", "performance"}, any: []string{"world_info", "request_info"}, in: nothing, kind: TRTLLMReport},
	{any: []string{"perf_metrics"}, all: []string{"request_id"}, in: anything, kind: PerfMetrics},
	{any: []string{"gen_perf_metrics", "ctx_perf_metrics"}, in: anything, kind: PerfMetrics},
	{any: []string{"input_length", "hash_ids", "text_input", "output_length", "payload"}, none: []string{"model", "type"}, in: nothing, kind: Mooncake},
	{any: []string{"chat_id"}, all: []string{"input_length"}, in: nothing, kind: Mooncake}, // has a type
	{any: []string{"timestamp", "delay", "session_id"}, all: []string{"messages"}, none: []string{"model"}, in: nothing, kind: Mooncake},
	{any: []string{"messages"}, in: nothing, kind: RawPayload},
	{any: []string{"line", "conversation"}, none: []string{"type", "schema", "model", "prompt", "input", "input_ids", "logits", "turns"}, in: nothing, kind: Timing},
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
		all: []string{"timestamp"},
		any: []string{
			"power.draw", "power.draw.average", "power.draw.instant", "enforced.power.limit", "power.limit",
			"temperature.gpu", "utilization.gpu", "utilization.memory", "memory.used", "clocks.current.sm", "clocks.sm",
			"clocks.current.memory", "clocks.mem", "clocks_event_reasons.active", "clocks_throttle_reasons.active",
		},
		kind: NVIDIASMI,
	},
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
		if strings.Contains(string(s.in), string(text[:1])) && slices.ContainsFunc(s.any, has) && hasAll(s.all, has) && !slices.ContainsFunc(s.none, has) {
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
	return Unknown, ended
}

// firstObject returns the keys of the object that text begins with, or of the
// first element of the array, as far as text goes; its schema; and whether the
// object ended or is broken, so that more text would change nothing.
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
		keys = append(keys, key)
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
