package formats

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSniff(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100_000)
	for head, want := range map[string]Kind{
		"":                                       Unknown,
		"\n \r\n":                                Unknown,
		"time, index\n1, 2\n":                    Unknown,
		"{}":                                     Unknown,
		"[]":                                     Unknown,
		"[1]":                                    Unknown,
		`"prompt"`:                               Unknown,
		`{"x":{"prompt":1}}`:                     Unknown,
		`{prompt:1}`:                             Unknown,
		`{"prompt":1}`:                           RawPayload,
		`{"metadata":{},"metrics":{},"error":1}`: AIPerf,
		`{"metadata":{},"metrics":{"a":[` + long: AIPerf, // cut
		`{"metadata":{},"start_perf_ns":1,"error":null}`:                                                           AIPerfRaw,
		`{"metadata":{},"messages":[],"error":1}`:                                                                  RawPayload,
		`{"phases":[],"schema_version":1}`:                                                                         AIPerfManifest,
		`{"date":"x","backend":"vllm","duration":1,"completed":2,"total_input_tokens":3,"x":"` + long:              BenchServe,
		`{"tag":null,"request_rate":Infinity,"duration":1,"completed":2,"request_throughput":NaN}`:                 BenchServe,
		`{"duration":1,"completed":2}`:                                                                             Unknown,
		`[{"id":1,"num_input_tokens":3,"error_tokens":0,"start_timestamp":1,"end_timestamp":2,"output_tokens":1}]`: TRTLLMRequests,
		`{"engine":{},"world_info":{},"performance":{}}`:                                                           TRTLLMReport,
		`[{"request_id":1,"perf_metrics":{}}]`:                                                                     PerfMetrics,
		`{"request_id":1,"perf_metrics":{},"status":"complete"}`:                                                   PerfMetrics,
		`[{"ctx_server":"a","ctx_perf_metrics":null,"gen_perf_metrics":{}}]`:                                       PerfMetrics,
		`{"timestamp_ns":1,"telemetry_data":{}}`:                                                                   AIPerfTelemetry,
		`{"metadata":{},"x":{}}`:                                                                                   Unknown,
		"\n\n  {\"messages\":[]}\n":                                                                                RawPayload,
		"\ufeff{\"messages\":[]}":                                                                                  RawPayload, // whose reader names the fault
		`{"model":"m","input":"` + long:                                                                            RawPayload, // cut
		`{"messages":[],"input_ids":[1]}`:                                                                          RawPayload, // as SGLang takes it
		`{"model":"m","prompt":[1],"line":1}`:                                                                      RawPayload,
		`{"model":"m","prompt":[1],"task_id":1}`:                                                                   RawPayload,
		`{"task_id":0,"prompt":"` + long:                                                                           TRTLLM,
		`{"prompt":"x","output_tokens":1}`:                                                                         TRTLLM,
		`{"input_ids":[1,2`:                                                                                        TRTLLM,
		`{"logits":[1],"output_tokens":2}`:                                                                         TRTLLM,
		`{"turns":["a"],"output_tokens":2}`:                                                                        TRTLLM,
		"{\n \"metadata\": {},\n \"samples\": [\n":                                                                 TRTLLM,
		`[{"input_ids":[1],"output_len":2}]`:                                                                       TRTLLM,
		`[{"messages":[]}]`:                                                                                        Unknown,
		`{"line":1,"input_tokens":1,"output_tokens":1}`:                                                            Timing,
		`{"line":1,"at_seconds":1}`:                                                                                Timing,
		`{"conversation":"a","turn":0}`:                                                                            Timing,
		`{"type":"request","line":1}`:                                                                              Unknown,
		`{"type":"run","schema":"wattrace.requests/1","producer":"x"`:                                              Requests,
		`{"schema":"wattrace.requests/22"}`:                                                                        Requests, // whose reader refuses it
		"{\n  \"schema\": \"wattrace.report\\/1\",\n \"a\":":                                                       Report,
		`{"type":"truth","schema":"wattrace.truth/1"}`:                                                             Truth,
		`{"schema":"else/1"}`:                                                                                      Unknown,
		"\xff\xff\xff\xff\x10\x00\x00\x00":                                                                         TelemetryStream,
		"ARROW1\x00\x00\x10":                                                                                       TelemetryFile,
		"ARROW":                                                                                                    Unknown,
		"ARROW2\x00\x00":                                                                                           Unknown,
		"timestamp, power.draw [W]\n2024/":                                                                         NVIDIASMI,
		"index,timestamp,\"power.draw\"\r\n":                                                                       NVIDIASMI,
		"\n\xef\xbb\xbftimestamp, power.draw\n":                                                                    Unknown, // a mark that is not at the start
		"\xef\xbb\xbftimestamp, memory.used [MiB]\n":                                                               NVIDIASMI,
		"timestamp, power.draw [mW]":                                                                               NVIDIASMI, // whose reader names the fault
		`{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1`:                           Mooncake,
		"[\n {\n  \"id\": \"a\",\n  \"conversations\": [":                                                          ShareGPT,
		`{"id":"a","conversations":[]}`:                                                                            ShareGPT,
		`[{"id":"a","conversation":[]}]`:                                                                           ShareGPT,
		`[{"conversation":"a","turn":0,"prompt":1}]`:                                                               ShareGPT,
		`[{"line":1,"input_length":3}]`:                                                                            Unknown,
		`{"body":{"messages":[]},"custom_id":"a"}`:                                                                 OpenAIBatch,
		`{"custom_id":"a","response":{}}`:                                                                          Unknown, // of a batch's output
		"\xef\xbb\xbfTIMESTAMP,ContextTokens,GeneratedTokens\r\n2023":                                              AzureLLM,
		"TIMESTAMP,ContextTokens\n":                                                                                Unknown,
		"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n":                                   BurstGPT,
		"\"Timestamp\",\"Response tokens\"\n":                                                                      Unknown,
		"{\n  \"data\": [\n    {\n      \"session_id\": \"a\"":                                                     AIPerfInputs,
		`{"object":"list","data":[]}`:                                                                              Unknown,
		`[{"data":[]}]`:                                                                                            Unknown,
		`{"text_input":"x"}`:                                                                                       Mooncake,
		`{"timestamp":10.5,"payload":{"model":"m"}}`:                                                               Mooncake,
		`{"session_id":"a","messages":[]}`:                                                                         Mooncake,
		`{"session_id":"a","messages":[],"model":"m"}`:                                                             RawPayload,
		`{"chat_id":159,"parent_chat_id":-1,"timestamp":61.114,"input_length":521,"type":"text"}`:                  Mooncake,
		"\xff\xfet\x00i\x00m\x00e\x00s\x00t\x00a\x00m\x00p\x00,\x00 \x00p\x00o\x00w\x00e\x00r\x00.\x00d\x00r\x00a\x00w\x00\n\x00": NVIDIASMI, // and here
		`{"input":{"messages":[]}}`:   TRTLLMCustom,
		`{"input":[{"role":"user"}]}`: RawPayload,
		`{"input":"x"}`:               RawPayload,
		`{"model":"m","input":{}}`:    RawPayload,
		`{"input":{"messages":[`:      TRTLLMCustom, // cut
		`{"question_id":81,"category":"writing","turns":["a"],"reference":[]}`: Questions,
		`{"turns":["a"]}`:             Questions,
		`{"turns":["a"],"task_id":1}`: TRTLLM, // whose reader names what is missing
		`{"conversation_id":"a","model":"m","conversation":[{"role":"user"}]}`: ShareGPT,
		`{"conversation":"a","turn":1,"model":"m"}`:                            Unknown,
		`{"line":1,"input_tokens":3}`:                                          Timing,
		`{"input_tokens":[1,2],"num_output_tokens":3}`:                         TokenTrace,
		`{"prompt":"x","output_tokens_count":3}`:                               GuideLLM,
		`{"messages":[],"prompt_tokens_count":3}`:                              GuideLLM,
		`{"timestamp":0,"input_length":1,"output_length":1}`:                   Lengths,
		`{"timestamp":0,"input_length":1,"output_length":1,"hash_ids":[1]}`:    Mooncake,
		`{"timestamp":0,"input_length":1,"output_length":1,"session_id":"a"}`:  Mooncake,
		`{"input_length":1,"output_length":1}`:                                 Mooncake, // has no times to mistake
		`{"timestamp":0,"input_length":1,"output_length":1,"temperature":1}`:   GenAIPerf,
		`{"text_input":"x","max_tokens":3}`:                                    GenAIPerf,
		`{"timestamp":0,"text":"x"}`:                                           GenAIPerf,
		`{"text":"x"}`:                                                         Unknown,
		`{"session_id":"a","messages":[],"max_tokens":3}`:                      GenAIPerf,
		`{"session_id":"a","messages":[],"max_tokens":3,"model":"m"}`:          RawPayload,
		`{"timestamp":1,"messages":[],"stream":true}`:                          GenAIPerf,
		`{"delay":1,"messages":[],"output_length":3}`:                          Mooncake,
		`{"delay":1,"prompt":"x"}`:                                             GenAIPerf,
		`{"messages":[],"max_tokens":3}`:                                       RawPayload,
		`{"id":"a","models":["m"],"block_size":64,"requests":[{"t":0,`:         WEKA,
		`[{"id":"a","block_size":64,"requests":[]}]`:                           WEKA,
		`{"block_size":64,"requests":3}`:                                       Unknown,
		`{"t":0,"type":"s","model":"m","in":3,"out":1,"hash_ids":[1]}`:         WEKA,
		"schema: wattrace.plan/1\nphases:\n":                                   Plan,
		"schema: \"wattrace.sensors/1\"\n":                                     Sensors,
		"schema: wattrace.calibration/1":                                       Calibration,
		`{"schema": "wattrace.topology/1"}`:                                    Topology,
		"schema: else/1\n":                                                     Unknown,
		"timestamp, pstate\n":                                                  Unknown,
		"power.draw [W], index\n":                                              Unknown,
		"timestamp\npower.draw\n":                                              Unknown,
		"timestamp, power.draw" + long + long:                                  Unknown,
		"timestamp, power.draw [W], x" + long[:9]:                              NVIDIASMI,
		"timestamps, power.drawn\n":                                            Unknown,
	} {
		if got := Sniff([]byte(head)); got != want {
			t.Errorf("%.60q: got %q, want %q", head, got, want)
		}
	}
}

// The golden examples of our own files are what their names say.
func TestSniffExamples(t *testing.T) {
	t.Parallel()
	found := 0
	for file, want := range map[string]Kind{
		"requests/testdata/example.jsonl":         Requests,
		"report/testdata/example.json":            Report,
		"truth/testdata/example.jsonl":            Truth,
		"telemetry/testdata/example.arrows":       TelemetryStream,
		"nvidiasmi/testdata/a5000-step.csv":       NVIDIASMI,
		"plan/testdata/example.yaml":              Plan,
		"sensors/testdata/example.yaml":           Sensors,
		"calibration/testdata/example.yaml":       Calibration,
		"topology/testdata/example.yaml":          Topology,
		"../trace/testdata/example.jsonl":         RawPayload,
		"aiperf/testdata/profile_export.jsonl":    AIPerf,
		"../trace/testdata/example.jsonl.timing":  Timing,
		"../testdata/trtllm-bench/azure200.jsonl": TRTLLM,
		"lengths/testdata/azure50.csv":            AzureLLM,
		"mooncake/testdata/conversation200.jsonl": Mooncake,
	} {
		f, err := os.Open(filepath.FromSlash(file))
		if err != nil {
			t.Log(err)
			continue
		}
		found++
		f.Close()
		if got := open(t, file, nil).Kind(); got != want {
			t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
	if found == 0 {
		t.Error("no example is there")
	}
}

// A head that is longer than the first look, with what tells at its end.
func TestKindOfLongFirstLine(t *testing.T) {
	t.Parallel()
	line := `{"prompt":"` + strings.Repeat("x", 1<<20) + `","output_tokens":1}` + "\n"
	if got := open(t, "-", strings.NewReader(line)).Kind(); got != TRTLLM {
		t.Errorf("got %q", got)
	}
	// Beyond the limit the keys so far decide, and nothing is lost.
	line = `{"prompt":"` + strings.Repeat("x", maxHead) + `","output_tokens":1}` + "\n"
	in := open(t, "-", strings.NewReader(line))
	if got := in.Kind(); got != RawPayload {
		t.Errorf("got %q", got)
	}
	if b, err := in.Bytes(); err != nil || string(b) != line {
		t.Errorf("%d bytes, %v; want %d", len(b), err, len(line))
	}
}
