package requests

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

var update = flag.Bool("update", false, "write testdata/example.jsonl anew")

// exampleLog is the log of testdata/example.jsonl: one request that succeeded
// and one that failed.
func exampleLog() []Record {
	chunks := []trace.Chunk{{At: 2_090_331_000, Kind: 'r'}}
	for i := range 127 {
		chunks = append(chunks, trace.Chunk{At: 2_110_000_000 + trace.Time(i)*19_750_000, Kind: 'c'})
	}
	for i := range chunks[1:] {
		chunks[1+i].Tokens = 1
	}
	chunks[len(chunks)-1].Tokens = 2
	end := chunks[len(chunks)-1].At
	chunks = append(chunks, trace.Chunk{At: end, Kind: 'f'}, trace.Chunk{At: end + 100_000, Kind: 'u'}, trace.Chunk{At: end + 100_000, Kind: 'd'})
	return []Record{
		{Type: TypeRun, Run: Run{
			Producer: "wattrace 0.1.0",
			Clock: trace.Clock{Host: "node1", BootID: "b7c1f3a0-5d1e-4c55-9a0b-0c6a3f1d2e4b", Anchor: trace.ClockSnapshot{
				BootNanos: 812345678901, MonotonicNanos: 812345678901, UnixNanos: 1780000000000000000, Spread: 290,
			}},
			Trace:   TraceInfo{Path: "trace.jsonl", SHA256: strings.Repeat("9f86d081", 8), Turns: 200},
			Targets: []string{"http://127.0.0.1:8000"},
			Servers: []Server{{"http://127.0.0.1:8000", "0.11.0"}},
			Plan: trace.Plan{Phases: []trace.Phase{
				{Name: "profiling", Kind: trace.Measure, Concurrency: 64, Duration: 2 * time.Minute, Grace: 30 * time.Second},
			}},
			Overlays:    []string{"stream=true"},
			ChunkClock:  KernelClock,
			Connections: Connections{Balance: "least", KeepAlive: 4 * time.Second, Preconnect: 64, SourceAddresses: 2, Insecure: true, CacheSaltSeed: trace.Some(int64(7))},
			Machine:     Machine{GOMAXPROCS: 4, CPUs: trace.Some(4), CPUQuota: trace.Some(3.5), CPUModel: "AMD EPYC 9654", Governor: "performance"},
		}},
		{Type: TypePhase, Phase: PhaseEvent{Phase: "profiling", Kind: trace.Measure, Start: true, At: 2_000_000_000, Concurrency: 64}},
		{Type: TypeSent, Sent: Sent{Seq: 17, Line: 18, Phase: "profiling", At: 2_000_120_034}},
		{Type: TypeRequest, Request: trace.Request{
			Seq: 17, Line: 18, Phase: "profiling", Slot: 3,
			Scheduled: 2_000_120_000, Sent: 2_000_120_034, Wrote: trace.Some(trace.Time(2_000_160_000)),
			FirstByte: trace.Some(trace.Time(2_090_000_000)), FirstToken: trace.Some(chunks[1].At),
			LastToken: trace.Some(end), Done: end + 100_000,
			Outcome: trace.Succeeded, Status: trace.Some(200), FinishReason: "length",
			InputTokens: trace.Some(int64(812)), OutputTokens: trace.Some(int64(128)), TokenSource: trace.FromUsage,
			ExpectedInput: trace.Some(int64(812)), ExpectedOutput: trace.Some(int64(128)),
			Conn: trace.Some(int64(3)), ConnReused: trace.Some(true), ConnIdle: trace.Some(1_200_000 * time.Nanosecond),
			ReadLag: trace.Some(310_000 * time.Nanosecond), BodyBytes: trace.Some(int64(4210)), BodyHash: trace.Some(uint64(0x0f9c3de1a7b24c58)), CacheSalt: "8c1f0a6e52d94b37",
			ResponseID: "chatcmpl-71", OwnChunkStamps: true,
			ServerMetrics: []byte(`{"metrics":{"queue_time_ms":0.5}}`),
			Usage:         []byte(`{"prompt_tokens":812,"completion_tokens":128}`),
			Chunks:        chunks, ChunkTokens: true,
		}},
		{Type: TypeSent, Sent: Sent{Seq: 18, Line: 19, Phase: "profiling", At: 2_000_180_000}},
		{Type: TypeRequest, Request: trace.Request{
			Seq: 18, Line: 19, Conversation: "a", Turn: 1, Phase: "profiling", Slot: 4,
			Scheduled: 2_000_179_000, Sent: 2_000_180_000, Done: 2_000_400_000,
			BodyBytes: trace.Some(int64(96)), BodyHash: trace.Some(uint64(1)),
			Outcome: trace.Failed, Error: trace.RequestError{Class: trace.ErrConnect, Message: "dial tcp 127.0.0.1:8000: connect: connection refused"},
		}},
		{Type: TypeClock, Clock: trace.ClockSnapshot{
			At: 12_000_000_000, BootNanos: 824345678901, MonotonicNanos: 824345678901, UnixNanos: 1780000012000000000, Spread: 310,
		}},
		{Type: TypeClient, Client: Client{
			At: 12_000_000_000, CPUSeconds: trace.Some(0.31), InFlight: 64, Held: trace.Some(0),
			LatenessP50: trace.Some(18_431 * time.Nanosecond), LatenessP99: trace.Some(126_975 * time.Nanosecond), LatenessMax: trace.Some(201_344 * time.Nanosecond),
			GCPause: trace.Some(90_112 * time.Nanosecond), SchedP99: trace.Some(40_960 * time.Nanosecond), Queue: trace.Some(12), LogBlocked: trace.Some(time.Duration(0)),
			Goroutines: trace.Some(147),
		}},
		{Type: TypePhase, Phase: PhaseEvent{Phase: "profiling", Kind: trace.Measure, At: 30_000_000_000}},
		{Type: TypeClose, Close: Close{At: 30_000_200_000, Sent: 2, Succeeded: 1, Failed: 1, Clean: true, Client: Judgement{
			Verdict: ClientOK, LatenessP50: trace.Some(17_407 * time.Nanosecond), LatenessP99: trace.Some(131_071 * time.Nanosecond), LatenessMax: trace.Some(310_272 * time.Nanosecond),
			MeanGap: trace.Some(19_750_000 * time.Nanosecond), Bound: trace.Some(time.Millisecond), SchedP99: trace.Some(40_960 * time.Nanosecond),
			CPUShare: trace.Some(0.08), BusyShare: trace.Some(0.0), LogBlocked: trace.Some(time.Duration(0)), Held: trace.Some(int64(0)),
		}}},
	}
}

// write writes records to a log.
func write(w *Writer, all ...Record) error {
	for i := range all {
		var err error
		switch r := &all[i]; r.Type {
		case TypeRun:
			err = w.Run(&r.Run)
		case TypePhase:
			err = w.Phase(&r.Phase)
		case TypeSent:
			err = w.Sent(&r.Sent)
		case TypeRequest:
			err = w.Request(&r.Request)
		case TypeClock:
			err = w.Clock(r.Clock)
		case TypeClient:
			err = w.Client(&r.Client)
		case TypeClose:
			err = w.Close(&r.Close)
		}
		if err != nil {
			return err
		}
	}
	return w.Flush()
}

func encode(t testing.TB, all ...Record) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(NewWriter(&b), all...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// decode reads a log to its end, without positions, into records of their own.
func decode(r io.Reader) (all []Record, rd *Reader, err error) {
	rd = NewReader(r, "log")
	for {
		var rec Record
		err := rd.Read(&rec)
		if err == io.EOF {
			return all, rd, nil
		}
		if err != nil {
			return all, rd, err
		}
		rec.Pos = trace.Pos{}
		all = append(all, rec)
	}
}

// floored returns the log as it reads back: chunks to the microsecond.
func floored(all []Record) []Record {
	for i := range all {
		q := &all[i].Request
		q.Chunks = append([]trace.Chunk(nil), q.Chunks...)
		for k := range q.Chunks {
			since := q.Chunks[k].At.Sub(q.Sent).Truncate(time.Microsecond)
			q.Chunks[k].At = q.Sent.Add(since)
		}
	}
	return all
}

func TestExample(t *testing.T) {
	t.Parallel()
	got := encode(t, exampleLog()...)
	if *update {
		if err := os.WriteFile("testdata/example.jsonl", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/example.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("written (-want +got)\n%s", diff)
	}
	log, rd, err := decode(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(floored(exampleLog()), log); diff != "" {
		t.Errorf("read (-want +got)\n%s", diff)
	}
	if rd.Incomplete() != 0 {
		t.Error("a log with a close line is complete")
	}
}

// TestDocKeys checks that the lines that the specification shows have the keys,
// in the order, that the lines of testdata/example.jsonl have.
func TestDocKeys(t *testing.T) {
	t.Parallel()
	key := regexp.MustCompile(`"([a-z0-9_]+)":`)
	keys := func(line string) string {
		line = regexp.MustCompile(`"phases":\[.*?\]\}`).ReplaceAllString(line, `"phases":[]}`)
		var all []string
		for _, m := range key.FindAllStringSubmatch(line, -1) {
			all = append(all, m[1])
		}
		return strings.Join(all, " ")
	}
	example, err := os.ReadFile("testdata/example.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for line := range strings.Lines(string(example)) {
		have[keys(line)] = true
	}
	shown := 0
	for line := range strings.Lines(string(doc)) {
		if line, ok := strings.CutPrefix(line, "//\t"); ok && strings.HasPrefix(line, "{") {
			shown++
			if !have[keys(line)] {
				t.Errorf("no line of the example has the keys of\n%s\n%s", line, keys(line))
			}
		}
	}
	if shown != 8 {
		t.Errorf("doc.go shows %d lines, not 8", shown)
	}
}

func TestReadInPieces(t *testing.T) {
	t.Parallel()
	b := encode(t, exampleLog()...)
	b = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n\n"))
	got, _, err := decode(iotest.OneByteReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(floored(exampleLog()), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestReuseOfARecord(t *testing.T) {
	t.Parallel()
	b := encode(t, exampleLog()...)
	rd := NewReader(bytes.NewReader(b), "log")
	want := floored(exampleLog())
	var rec Record
	for i := range want {
		if err := rd.Read(&rec); err != nil {
			t.Fatal(err)
		}
		if rec.Type != TypeRequest {
			continue
		}
		if diff := cmp.Diff(want[i].Request, rec.Request, cmp.Transformer("empty", func(c []trace.Chunk) []trace.Chunk {
			return append([]trace.Chunk(nil), c...)
		})); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func TestConcatenated(t *testing.T) {
	t.Parallel()
	b := encode(t, exampleLog()...)
	noClose := b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1]
	for _, test := range []struct {
		name       string
		log        []byte
		records    int
		incomplete int
	}{
		{"two", append(append([]byte(nil), b...), b...), 20, 0},
		{"first without close", append(append([]byte(nil), noClose...), b...), 19, 1},
		{"last without close", append(append([]byte(nil), b...), noClose...), 19, 1},
		{"no final newline", b[:len(b)-1], 10, 0},
		{"nothing", nil, 0, 0},
	} {
		all, rd, err := decode(bytes.NewReader(test.log))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if len(all) != test.records || rd.Incomplete() != test.incomplete {
			t.Errorf("%s: %d records, %d incomplete", test.name, len(all), rd.Incomplete())
		}
	}
}

// TestTruncatedEverywhere cuts a log at every byte: what is read is a prefix of
// the whole, and the log is called incomplete unless nothing is missing.
func TestTruncatedEverywhere(t *testing.T) {
	t.Parallel()
	b := encode(t, exampleLog()...)
	want := floored(exampleLog())
	for n := range len(b) - 1 {
		all, rd, err := decode(bytes.NewReader(b[:n]))
		atLine := n == 0 || b[n-1] == '\n' || b[n] == '\n'
		if atLine != (err == nil) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if err != nil && !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if len(all) > 0 && rd.Incomplete() == 0 && err == nil {
			t.Fatalf("cut at %d: complete", n)
		}
		whole := bytes.Count(b[:n], []byte("\n"))
		if err == nil && n > 0 && b[n-1] != '\n' { // all but the newline of the last line
			whole++
		}
		if len(all) != whole {
			t.Fatalf("cut at %d: %d records, not %d", n, len(all), whole)
		}
		if diff := cmp.Diff(want[:whole], all); atLine && whole > 0 && diff != "" {
			t.Fatalf("cut at %d (-want +got)\n%s", n, diff)
		}
		if err != nil { // it is the last that there is to read
			var rec Record
			if again := rd.Read(&rec); again != io.EOF || rd.Incomplete() == 0 && len(all) > 0 {
				t.Fatalf("cut at %d: after the error %v, incomplete %d", n, again, rd.Incomplete())
			}
		}
	}
}

func TestUnknownIsSkipped(t *testing.T) {
	t.Parallel()
	b := string(encode(t, exampleLog()...))
	b = strings.ReplaceAll(b, `{"type":`, `{"x":{"a":[1,-2.5e3,{"b":null},"\u00e9"],"c":true},"type":`)
	b = strings.Replace(b, "\n", "\n{\"type\":\"weather\",\"wind\":[]}\n{\"type\":\"x\"}\n", 1)
	got, _, err := decode(strings.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(floored(exampleLog()), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSpace(string(encode(t, exampleLog()...))), "\n")
	run, request := lines[0], lines[3]
	swap := func(line, from, to string) string {
		if !strings.Contains(line, from) {
			t.Fatalf("%s is not in %s", from, line)
		}
		return strings.Replace(line, from, to, 1)
	}
	for _, test := range []struct{ name, in, want string }{
		{"no run", request, "log:1:1: the log does not begin with a run line"},
		{"not JSON", run + "\nhello", "log:2:1: the line must be an object"},
		{"an array", run + "\n[]", "log:2:1: the line must be an object"},
		{"no type", run + "\n{}", `log:2:1: the line has no key "type"`},
		{"type of type", run + "\n" + `{"type":7}`, "log:2:9: type must be a string"},
		{"after", run + "\n" + lines[1] + "}", "log:2:" + strconv.Itoa(len(lines[1])+1) + ": there is something after the object"},
		{"higher", swap(run, "requests/1", "requests/2"), "log:1:24: the log has schema wattrace.requests/2; this program reads up to wattrace.requests/1"},
		{"other schema", swap(run, "requests/1", "report/1"), "log:1:24: the schema is not that of a request log (wattrace.requests/1)"},
		{"no schema", swap(run, `"schema"`, `"shema"`), `log:1:1: the run line has no key "schema"`},
		{"plan", swap(run, `"measure"`, `"rest"`), `plan: phase "profiling": unknown kind "rest"`},
		{"clock as number", swap(run, `"812345678901"`, `812345678901`), "boot_nanos must be a string"},
		{"clock not decimal", swap(run, `"812345678901"`, `"0x12"`), "must be a decimal integer in a string"},
		{"string for integer", run + "\n" + swap(request, `"seq":17`, `"seq":"17"`), "log:2:25: seq must be an integer"},
		{"fraction", run + "\n" + swap(request, `"seq":17`, `"seq":17.0`), "log:2:25: seq must be an integer"},
		{"exponent", run + "\n" + swap(request, `"seq":17`, `"seq":1e2`), "log:2:25: seq must be an integer"},
		{"leading zero", run + "\n" + swap(request, `"seq":17`, `"seq":017`), "log:2:25: seq must be an integer"},
		{"too big", run + "\n" + swap(request, `"seq":17`, `"seq":99999999999999999999`), "log:2:25: seq must be an integer"},
		{"negative", run + "\n" + swap(request, `"seq":17`, `"seq":-1`), "log:2:25: seq is out of range"},
		{"far instant", run + "\n" + swap(request, `"sent_nanos":2000120034`, `"sent_nanos":-2305843009213693952`), "sent_nanos is out of range"},
		{"far phase", run + "\n" + swap(lines[1], `"at_nanos":2000000000`, `"at_nanos":2305843009213693952`), "at_nanos is out of range"},
		{"null", run + "\n" + swap(request, `"status":200`, `"status":null`), "status must be an integer"},
		{"twice", run + "\n" + swap(request, `"line":18`, `"seq":18`), `log:2:28: the key "seq" is given twice`},
		{"missing", run + "\n" + swap(request, `"done_nanos"`, `"dome_nanos"`), `log:2:1: the request line has no key "done_nanos"`},
		{"outcome", run + "\n" + swap(request, `"succeeded"`, `"fine"`), "outcome must be succeeded, failed or cancelled"},
		{"token source", run + "\n" + swap(request, `"token_source":"usage"`, `"token_source":"guess"`), "token_source must be usage, timings, tokenizer or chunks"},
		{"no token source", run + "\n" + swap(request, `"token_source"`, `"tokensource"`), "log:2:1: output_tokens needs token_source"},
		{"target", run + "\n" + swap(request, `"target":0`, `"target":1`), "target 1 is not one of the run's 1"},
		{"usage", run + "\n" + swap(request, `{"prompt_tokens":812,"completion_tokens":128}`, `[]`), "usage must be an object"},
		{"reused", run + "\n" + swap(request, `"conn_reused":true`, `"conn_reused":1`), "conn_reused must be true or false"},
		{"idle", run + "\n" + swap(request, `"conn_idle_nanos":1`, `"conn_idle_nanos":-1`), "conn_idle_nanos is out of range"},
		{"hash as number", run + "\n" + swap(request, `"0f9c3de1a7b24c58"`, `1`), "body_xxh3 must be a string"},
		{"short hash", run + "\n" + swap(request, `"0f9c3de1a7b24c58"`, `"f9c3de1a7b24c58"`), "body_xxh3 must be 16 hexadecimal digits"},
		{"hash in capitals", run + "\n" + swap(request, `"0f9c3de1a7b24c58"`, `"0F9C3DE1A7B24C58"`), "body_xxh3 must be 16 hexadecimal digits"},
		{"chunk clock", run + "\n" + swap(request, `"chunk_clock":"user"`, `"chunk_clock":"mine"`), `chunk_clock must be "user" or "kernel"`},
		{"run's chunk clock", swap(run, `"chunk_clock":"kernel"`, `"chunk_clock":"mine"`), `chunk_clock must be "user" or "kernel"`},
		{"server metrics", run + "\n" + swap(request, `{"metrics":{"queue_time_ms":0.5}}`, `3`), "server_metrics must be an object"},
		{"keepalive", swap(run, `"keepalive_seconds":4`, `"keepalive_seconds":-4`), "keepalive_seconds is out of range"},
		{"usage broken", run + "\n" + swap(request, `"completion_tokens":128}`, `"completion_tokens":128]`), "expected ',' in an object"},
		{"kinds", run + "\n" + swap(request, `"r1c127f1u1d1"`, `"r1c127f1u1d"`), "chunk_kinds must be letters, each with a count from 1 on"},
		{"kinds upper", run + "\n" + swap(request, `"r1c`, `"R1c`), "chunk_kinds must be letters"},
		{"more kinds", run + "\n" + swap(request, "c127", "c128"), "chunk_kinds has more chunks than chunk_micros"},
		{"fewer kinds", run + "\n" + swap(request, "c127", "c126"), "chunk_micros has more chunks than chunk_kinds"},
		{"tokens", run + "\n" + swap(request, `"0 1*126 2 0*3"`, `"0 1*126 x 0*3"`), "chunk_tokens must be whole numbers, each with * and a count from 1 on where it is that of several chunks"},
		{"no tokens", run + "\n" + swap(request, `"0 1*126 2 0*3"`, `""`), "chunk_tokens must be whole numbers"},
		{"space before tokens", run + "\n" + swap(request, `"0 1*126`, `" 0 1*126`), "chunk_tokens must be whole numbers"},
		{"space after tokens", run + "\n" + swap(request, `2 0*3"`, `2 0*3 "`), "chunk_tokens must be whole numbers"},
		{"two spaces in tokens", run + "\n" + swap(request, `126 2`, `126  2`), "chunk_tokens must be whole numbers"},
		{"tokens no times", run + "\n" + swap(request, "1*126 2", "1*126 7*0 2"), "chunk_tokens must be whole numbers"},
		{"tokens how often", run + "\n" + swap(request, "1*126 2", "1*126 2*"), "chunk_tokens must be whole numbers"},
		{"many tokens", run + "\n" + swap(request, "1*126 2", "1*126 2147483648"), "chunk_tokens must be whole numbers"},
		{"tokens very often", run + "\n" + swap(request, "1*126 2", "1*18446744073709551742 2"), "chunk_tokens has more chunks than chunk_kinds"},
		{"tokens of more", run + "\n" + swap(request, "1*126", "1*127"), "chunk_tokens has more chunks than chunk_kinds"},
		{"tokens of fewer", run + "\n" + swap(request, "0*3", "0*2"), "chunk_tokens has fewer chunks than chunk_kinds"},
		{"tokens of none", run + "\n" + swap(swap(request, `"chunk_kinds"`, `"chunk_k"`), `"chunk_micros"`, `"chunk_m"`), "chunk_tokens has more chunks than chunk_kinds"},
		{"other tokens", run + "\n" + swap(request, "126 2 0", "126 3 0"), "chunk_tokens add up to 129, which is not what output_tokens says"},
		{"tokens of an unknown number", run + "\n" + swap(swap(request, `"output_tokens":128,`, ``), "0 1*126 2 0*3", "0*131"), "chunk_tokens add up to 0, which is not what output_tokens says"},
		{"tokens that are no string", run + "\n" + swap(request, `"0 1*126 2 0*3"`, `[0,1]`), "chunk_tokens must be a string"},
		{"few nanos", run + "\n" + swap(request, `"chunk_micros":`, `"chunk_nanos":"001","chunk_micros":`), "chunk_nanos must have three digits for each chunk"},
		{"nanos of none", run + "\n" + swap(swap(swap(request, `"chunk_kinds"`, `"chunk_nanos":"001","chunk_k"`), `"chunk_micros"`, `"chunk_m"`), `"chunk_tokens"`, `"chunk_t"`), "chunk_nanos must have three digits for each chunk"},
		{"nanos that are no digits", run + "\n" + swap(request, `"chunk_micros":`, `"chunk_nanos":"`+strings.Repeat("0x0", 131)+`","chunk_micros":`), "chunk_nanos must have three digits for each chunk"},
		{"nanos that are no string", run + "\n" + swap(request, `"chunk_micros":`, `"chunk_nanos":[1],"chunk_micros":`), "chunk_nanos must be a string"},
		{"negative micros", run + "\n" + swap(request, "19750,", "-19750,"), "chunk_micros must hold whole numbers from 0 on"},
		{"float micros", run + "\n" + swap(request, "19750,", "19750.5,"), "chunk_micros must hold whole numbers from 0 on"},
		{"micros overflow", run + "\n" + swap(request, "19750,", "9100000000000000000,"), "the times of the chunks are out of range"},
		{"control character", run + "\n" + swap(request, "length", "le\x01ngth"), "the string is not valid JSON"},
		{"escape", run + "\n" + swap(request, "length", `le\qngth`), "the string is not valid JSON"},
		{"UTF-8", run + "\n" + swap(request, "length", "le\xffngth"), "invalid UTF-8"},
		{"event", run + "\n" + swap(lines[1], `"start"`, `"begin"`), `event must be "start" or "end"`},
		{"clean", run + "\n" + swap(lines[9], `true,`, `1,`), "clean must be true or false"},
		{"cpu", run + "\n" + swap(lines[7], `0.31`, `"0.31"`), "cpu_seconds must be a number"},
		{"lateness", run + "\n" + swap(lines[7], `"lateness_p99_nanos":1`, `"lateness_p99_nanos":-1`), "lateness_p99_nanos is out of range"},
		{"queue", run + "\n" + swap(lines[7], `"queue":12`, `"queue":1.5`), "queue must be an integer"},
		{"no verdict", run + "\n" + swap(lines[9], `"verdict"`, `"sentence"`), `client has no key "verdict"`},
		{"no threads", swap(run, `"gomaxprocs":4`, `"gomaxprocs":0`), "gomaxprocs is out of range"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := decode(strings.NewReader(test.in + "\n"))
			var syn *trace.SyntaxError
			if !errors.As(err, &syn) || syn.Pos.Line == 0 || syn.Pos.Col == 0 {
				t.Fatalf("error %v is no *trace.SyntaxError with a position", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
		})
	}
}

// TestReadingGoesOn checks that a bad line does not hide the next one.
func TestReadingGoesOn(t *testing.T) {
	t.Parallel()
	lines := strings.SplitAfter(string(encode(t, exampleLog()...)), "\n")
	rd := NewReader(strings.NewReader(lines[0]+"{\n"+lines[1]), "log")
	var rec Record
	var types []Type
	for {
		err := rd.Read(&rec)
		if err == io.EOF {
			break
		}
		if err != nil {
			types = append(types, "error")
			continue
		}
		types = append(types, rec.Type)
	}
	if diff := cmp.Diff([]Type{TypeRun, "error", TypePhase}, types); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if rec.Pos != (trace.Pos{File: "log", Line: 3}) {
		t.Errorf("position %v", rec.Pos)
	}
}

func TestReaderError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	_, _, err := decode(io.MultiReader(bytes.NewReader(encode(t, exampleLog()...)), iotest.ErrReader(broken)))
	if err != broken {
		t.Errorf("error %v", err)
	}
}

// TestUsageStaysOnItsLine checks that a usage object that a server broke over
// lines does not break the log.
func TestUsageStaysOnItsLine(t *testing.T) {
	t.Parallel()
	log := exampleLog()
	log[3].Request.Usage = []byte("{\n\t\"prompt_tokens\": 812,\r\n\t\"x\": \"\xff\"\n}")
	got, _, err := decode(bytes.NewReader(encode(t, log...)))
	if err != nil {
		t.Fatal(err)
	}
	if s := string(got[3].Request.Usage); s != "{ \t\"prompt_tokens\": 812,  \t\"x\": \"\ufffd\" }" {
		t.Errorf("%q", s)
	}
}

func TestWriterErrors(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	w := NewWriter(writerFunc(func([]byte) (int, error) { return 0, full }))
	if err := w.Sent(&Sent{}); err != nil {
		t.Errorf("a buffered line gave %v", err)
	}
	if err := w.Flush(); err != full {
		t.Errorf("Flush gave %v", err)
	}
	if err := w.Clock(trace.ClockSnapshot{}); err != full {
		t.Errorf("a line after the error gave %v", err)
	}
	var b bytes.Buffer
	w = NewWriter(&b)
	for _, chunks := range [][]trace.Chunk{{{At: 9, Kind: 'c'}}, {{At: 9000, Kind: 'c'}, {At: 7000, Kind: 'c'}}} {
		if err := w.Request(&trace.Request{Sent: 10, Chunks: chunks}); err == nil {
			t.Errorf("chunks %v were written", chunks)
		}
	}
	for _, tokens := range [][2]int32{{1, 1}, {-1, 4}} {
		q := trace.Request{ChunkTokens: true, OutputTokens: trace.Some[int64](3), Chunks: []trace.Chunk{{Kind: 'c', Tokens: tokens[0]}, {Kind: 'c', Tokens: tokens[1]}}}
		if err := w.Request(&q); err == nil {
			t.Errorf("tokens %v were written", tokens)
		}
	}
	if err := w.Flush(); err != nil || b.Len() != 0 {
		t.Errorf("half a line was written: %q, %v", b.Bytes(), err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestChunkTokens: runs are read as they are written, whatever their lengths, and as
// others may write them.
func TestChunkTokens(t *testing.T) {
	t.Parallel()
	head := exampleLog()[0]
	for _, test := range []struct{ written, also string }{
		{"1", "1*1"},
		{"0 1*2 3", "0 1 1 3"},
		{"2*2", "2*1 2"},
		{"7 0*2 7", "07 0*02 7"},
		{"2147483647*3", ""},
	} {
		rec := exampleLog()[3]
		q := &rec.Request
		q.Chunks, q.OutputTokens.V = nil, 0
		for run := range strings.SplitSeq(test.written, " ") {
			n, times, many := strings.Cut(run, "*")
			if !many {
				times = "1"
			}
			tokens, _ := strconv.Atoi(n)
			count, _ := strconv.Atoi(times)
			for range count {
				q.Chunks = append(q.Chunks, trace.Chunk{At: q.Sent, Kind: 'c', Tokens: int32(tokens)})
				q.OutputTokens.V += int64(tokens)
			}
		}
		text := string(encode(t, head, rec))
		if !strings.Contains(text, `"chunk_tokens":"`+test.written+`",`) {
			t.Errorf("%s: %s", test.written, text)
		}
		for _, form := range []string{test.written, test.also} {
			if form == "" {
				continue
			}
			got, _, err := decode(strings.NewReader(strings.Replace(text, `"`+test.written+`"`, `"`+form+`"`, 1)))
			if err != nil {
				t.Errorf("%s: %v", form, err)
			} else if diff := cmp.Diff(*q, got[1].Request); diff != "" {
				t.Errorf("%s (-want +got)\n%s", form, diff)
			}
		}
	}
}

// TestMicros: numbers of every length, with and without space around them, whole arrays
// of one length too, are read as strconv reads them.
func TestMicros(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	const most = int64(math.MaxInt64/1000) / 64 // so that 64 of them are an instant
	powers := []int64{1, 10, 100, 1000, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e12, most}
	gaps := []string{",", ",", ",", ",", ",", " ,", ", ", "\t,\t ", ",\t"}
	for round := range 2000 {
		var text strings.Builder
		var want []trace.Chunk
		at := int64(0)
		for i := range 1 + rng.IntN(64) {
			d := rng.Int64N(powers[rng.IntN(len(powers))])
			if n := int64(round % 9); round < 900 {
				d = powers[n] + rng.Int64N(9*powers[n])
			}
			at += d
			if i > 0 {
				text.WriteString(gaps[rng.IntN(len(gaps))])
			}
			text.WriteString(strconv.FormatInt(d, 10))
			want = append(want, trace.Chunk{At: trace.Time(at)})
		}
		array := "[" + text.String() + "]"
		var p parser
		p.reset([]byte(array))
		got := p.micros(nil)
		p.end()
		if diff := cmp.Diff(want, got); p.err != nil || diff != "" {
			t.Fatalf("%s: %v\n%s", array, p.err, diff)
		}
	}
	for _, bad := range []string{
		"[]", "[,1,2,3,4]", "[1,,2,3,4,5]", "[1,2,3,4,5,]", "[01,2,3,4,5,6]", "[1,00,2,3,4,5]", "[1,-2,3,4,5,6]", "[1,2.5,3,4,5,6]",
		"[1,2e3,3,4,5,6]", "[1,12345x,3,4,5]", "[1,/0,3,4,5,6]", "[1,1:,3,4,5,6]", "[1,\xb1,3,4,5,6]", "[1,2,3,4,5,6", "[9999999999999999999,1,2,3]",
	} {
		var p parser
		p.reset([]byte(bad))
		if p.micros(nil); p.err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	var p parser
	p.reset([]byte("[9223372036854775000,9223372036854775000,1]"))
	if got := p.micros(nil); p.err == nil && got[2].At <= trace.Time(mostMicros) {
		t.Error("an instant out of range passes for one")
	}
}

// The source of a trace that was made for the run is kept.
func TestTraceSource(t *testing.T) {
	t.Parallel()
	want := exampleLog()[0]
	want.Run.Trace.Format, want.Run.Trace.SourceSHA256 = "mooncake", strings.Repeat("0f", 32)
	want.Run.Trace.Like = "1000 tokens"
	var buf bytes.Buffer
	w := NewWriter(&buf)
	if err := errors.Join(w.Run(&want.Run), w.Flush()); err != nil {
		t.Fatal(err)
	}
	var got Record
	if err := NewReader(&buf, "log").Read(&got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.Run.Trace, got.Run.Trace); d != "" {
		t.Error(d)
	}
}

// Behind a run line that is damaged nothing is read by the clock of the run before it, and
// what follows a third one is read again.
func TestDamagedRun(t *testing.T) {
	t.Parallel()
	b := string(encode(t, exampleLog()...))
	n := strings.Count(b, "\n")
	unclosed := b[:strings.LastIndex(strings.TrimSuffix(b, "\n"), "\n")+1]
	for name, c := range map[string]struct {
		in        string
		good, bad int
	}{
		"a key":              {b + strings.Replace(b, `"schema"`, `"shema"`, 1) + b, 2 * n, n},
		"garbage":            {b + "\x00\x01" + b + b, 2 * n, n},
		"gone":               {b + b[strings.Index(b, "\n")+1:] + b, 2 * n, n - 1},
		"a key, not closed":  {unclosed + strings.Replace(b, `"schema"`, `"shema"`, 1) + b, 2*n - 1, n},
		"unknown types stay": {b + `{"type":"weather"}` + "\n" + b, 2 * n, 0},
	} {
		r := NewReader(strings.NewReader(c.in), "log")
		good, bad := 0, 0
		for {
			var rec Record
			err := r.Read(&rec)
			var syntax *trace.SyntaxError
			switch {
			case err == nil:
				good++
				continue
			case errors.As(err, &syntax):
				bad++
				continue
			case err != io.EOF:
				t.Fatal(err)
			}
			break
		}
		if good != c.good || bad != c.bad {
			t.Errorf("%s: %d records and %d faults, not %d and %d", name, good, bad, c.good, c.bad)
		}
	}
}
