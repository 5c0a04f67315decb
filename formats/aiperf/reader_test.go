package aiperf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

// readAll reads requests; faults are collected.
func readAll(t *testing.T, in string) (list []trace.Request, faults []string) {
	t.Helper()
	r := NewReader(strings.NewReader(in), "f")
	for {
		var q trace.Request
		err := r.Read(&q)
		var syntax *trace.SyntaxError
		switch {
		case err == io.EOF:
			return list, faults
		case errors.As(err, &syntax):
			faults = append(faults, err.Error())
		case err != nil:
			t.Fatal(err)
		default:
			list = append(list, q)
		}
	}
}

const startNanos = 1780000000_000000000

// line is a record of the newest names; extra goes into metadata, metrics and behind.
func line(metadata, metrics, rest string) string {
	return fmt.Sprintf(`{"metadata":{"session_num":4,"conversation_id":"c","turn_index":2,"request_start_ns":%d%s},"metrics":{%s}%s}`+"\n", startNanos, metadata, metrics, rest)
}

func millis(name, value string) string {
	return fmt.Sprintf(`"%s":{"value":%s,"unit":"ms"}`, name, value)
}

func TestEarlyRun(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/profile_export.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	list, faults := readAll(t, string(b))
	if len(list) != 14 || faults != nil {
		t.Fatalf("%d requests, %q", len(list), faults)
	}
	for i, q := range list {
		want := trace.Succeeded
		if i < 3 {
			want = trace.Cancelled
		}
		if q.Outcome != want || q.Phase != "profiling" || q.Seq != int64(i) || q.Line != int64(i+1) || q.Error.Class != "" {
			t.Errorf("line %d: %+v", i+1, q)
		}
		if i < 3 {
			continue
		}
		if d, ok := q.TTFT(); !ok || d <= 0 || q.Done != q.LastToken.V || q.Scheduled != q.Sent || q.TokenSource != trace.FromTokenizer {
			t.Errorf("line %d: %+v", i+1, q)
		}
		if n := len(q.Chunks); n < 100 || q.Chunks[0].At != q.FirstToken.V || q.Chunks[n-1].At != q.LastToken.V || q.Chunks[0].Kind != trace.ChunkReasoning {
			t.Errorf("line %d: %d events", i+1, n)
		}
	}
}

func TestNewestNames(t *testing.T) {
	t.Parallel()
	in := line(fmt.Sprintf(`,"credit_issued_ns":%d,"request_ack_ns":%d,"request_end_ns":%d,"benchmark_phase":"load","was_cancelled":false,"x_request_id":"x"`,
		startNanos-5, startNanos+7, startNanos+60_000_000),
		strings.Join([]string{
			millis("time_to_first_token", "10"), millis("request_latency", "50.000001"), millis("inter_chunk_latency", "[10, 20.5, 9.500001 ]"),
			millis("time_to_first_output_token", "20"),
			`"input_sequence_length":{"value":9,"unit":"tokens"}`, `"output_sequence_length":{"value":4,"unit":"tokens"}`,
			`"usage_completion_tokens":{"value":4,"unit":"tokens"}`, `"reasoning_token_count":{"value":1,"unit":"tokens"}`,
		}, ","), `,"trace_data":{"x":[1]},"error":null`)
	r := NewReader(strings.NewReader(in), "f")
	r.Anchor = startNanos
	var q trace.Request
	if err := r.Read(&q); err != nil {
		t.Fatal(err)
	}
	ms := func(n float64) trace.Time { return trace.Time(n * 1e6) }
	want := trace.Request{
		Line: 5, Conversation: "c", Turn: 2, Phase: "load", Scheduled: -5, Sent: 0, FirstByte: trace.Some(trace.Time(7)), FirstToken: trace.Some(ms(10)),
		LastToken: trace.Some(ms(50) + 1), Done: ms(60), Outcome: trace.Succeeded, InputTokens: trace.Some(int64(9)), OutputTokens: trace.Some(int64(4)),
		TokenSource: trace.FromUsage, Usage: []byte(`{"completion_tokens_details":{"reasoning_tokens":1}}`),
		Chunks: []trace.Chunk{{At: ms(10), Kind: 'g'}, {At: ms(20), Kind: 'c'}, {At: ms(40.5), Kind: 'c'}, {At: ms(50) + 1, Kind: 'c'}},
	}
	if d := cmp.Diff(want, q); d != "" {
		t.Error(d)
	}
	// What is said by the credit of another process's clock cannot be later than the start.
	list, _ := readAll(t, line(fmt.Sprintf(`,"credit_issued_ns":%d`, startNanos+1), "", ""))
	if list[0].Scheduled != list[0].Sent {
		t.Error("due after it was sent")
	}
	// Gaps that do not lead to the last token are not taken.
	list, _ = readAll(t, line("", millis("ttft", "10")+","+millis("request_latency", "50")+","+millis("inter_chunk_latency", "[10,20]"), ""))
	if len(list[0].Chunks) > 0 || list[0].TokenSource != "" {
		t.Errorf("%+v", list[0])
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		metadata, err string
		outcome       trace.Outcome
		class         trace.ErrorClass
		status        int
	}{
		{"", `null`, trace.Succeeded, "", 0},
		{`,"was_cancelled":true`, `null`, trace.Cancelled, "", 0},
		{"", `{"code":499,"type":"X","message":"m"}`, trace.Cancelled, "", 0},
		{"", `{"code":null,"type":"RequestCancellationError"}`, trace.Cancelled, "", 0},
		{"", `{"code":429,"type":"X"}`, trace.Failed, trace.ErrHTTP429, 429},
		{"", `{"code":400,"type":"X"}`, trace.Failed, trace.ErrHTTP4xx, 400},
		{"", `{"code":503,"type":"X"}`, trace.Failed, trace.ErrHTTP5xx, 503},
		{"", `{"code":302}`, trace.Failed, trace.ErrHTTPOther, 302},
		{"", `{"type":"RequestTimeoutError"}`, trace.Failed, trace.ErrTimeout, 0},
		{"", `{"type":"ClientConnectorDNSError"}`, trace.Failed, trace.ErrDNS, 0},
		{"", `{"type":"ClientConnectorError"}`, trace.Failed, trace.ErrConnect, 0},
		{"", `{"type":"ServerDisconnectedError"}`, trace.Failed, trace.ErrReset, 0},
		{"", `{"type":"SSEResponseError"}`, trace.Failed, trace.ErrSSEEvent, 0},
		{"", `{"message":"secret prompt"}`, trace.Failed, trace.ErrBody, 0},
	} {
		list, faults := readAll(t, line(c.metadata, "", `,"error":`+c.err))
		if len(list) != 1 {
			t.Fatal(faults)
		}
		q := list[0]
		if q.Outcome != c.outcome || q.Error.Class != c.class || q.Status.V != c.status || strings.Contains(q.Error.Message, "secret") {
			t.Errorf("%s: %+v", c.err, q)
		}
	}
}

// TestFaults has the fault where the marker stands.
func TestFaults(t *testing.T) {
	t.Parallel()
	good := line("", "", "")
	for _, c := range []struct{ in, want string }{
		{`^[1]`, "not a JSON object, but an array"},
		{`^{}`, "not a record of aiperf: it has no metadata"},
		{`^{"metadata":{}}`, "the record does not say when the request was sent: request_start_ns is wanted"},
		{`{"metadata":^7}`, "metadata must be an object"},
		{`{"metadata":{"request_start_ns":^1.5}}`, "request_start_ns must be an integer"},
		{`{"metadata":{"request_start_ns":^"1"}}`, "request_start_ns must be an integer"},
		{`{"metadata":{"request_start_ns":^-1}}`, "request_start_ns is out of range"},
		{`{"metadata":{"request_start_ns":^9223372036854775807}}`, "request_start_ns is out of range"},
		{`{"metadata":{"request_start_ns":^0}}`, "the request was sent at time 0, which is no time"},
		{`{"metadata":{"request_start_ns":9,"request_end_ns":^8}}`, "the request ends before it is sent"},
		{`{"metadata":{"request_start_ns":9,"request_end_ns":^10},"metrics":{"ttft":{"value":5,"unit":"us"}}}`, "the request ends before its last token"},
		{`{"metadata":{"request_start_ns":9,"request_ack_ns":^8}}`, "request_ack_ns is not between the start and the end of the request"},
		{`{"metadata":{"request_start_ns":9,"was_cancelled":^1}}`, "was_cancelled must be true or false"},
		{`{"metadata":{"request_start_ns":9,"conversation_id":^{}}}`, "conversation_id must be a string"},
		{`{"metadata":{"request_start_ns":9,"turn_index":^4000000000}}`, "turn_index is out of range"},
		{`{"metadata":{"benchmark_phase":^"a\u0000"}}`, "benchmark_phase has a character that cannot be printed"},
		{`{"metadata":{},"metrics":{"ttft":^7}}`, "ttft must be an object"},
		{`{"metadata":{},"metrics":{"ttft":{"value":^"7","unit":"ms"}}}`, "ttft must be a number"},
		{`{"metadata":{},"metrics":{"ttft":{"unit":"ms","value":^-7}}}`, "ttft is out of range"},
		{`{"metadata":{},"metrics":{"ttft":{"unit":"ms","value":^1e300}}}`, "ttft is out of range"},
		{`{"metadata":{},"metrics":{"ttft":{"value":^7,"unit":"tokens"}}}`, "the unit of ttft must be ns, us, ms or s"},
		{`{"metadata":{},"metrics":{"ttft":{"value":7,"unit":^8}}}`, "unit must be a string"},
		{`{"metadata":{},"metrics":{"inter_chunk_latency":{"value":^7,"unit":"ms"}}}`, "inter_chunk_latency must be a list of numbers"},
		{`{"metadata":{},"metrics":{"inter_chunk_latency":{"value":^[1,[2]],"unit":"ms"}}}`, "inter_chunk_latency must be a number"},
		{`{"metadata":{},"metrics":{"output_sequence_length":{"value":^3e9}}}`, "output_sequence_length is more than any request has"},
		{`{"metadata":{"request_start_ns":9},"metrics":{"ttft":{"value":^7,"unit":"s"},"request_latency":{"value":6,"unit":"s"}}}`, "the first token comes after the last"},
		{`{"metadata":{},"error":^"x"}`, "error must be an object"},
		{`{"metadata":{},"error":{"code":^"x"}}`, "code must be an integer"},
		{"{\"metadata\":{\"x\":\"^\xff\"}}", "not JSON: invalid UTF-8"},
	} {
		col := strings.IndexByte(c.in, '^') + 1
		list, faults := readAll(t, good+strings.Replace(c.in, "^", "", 1)+"\r\n"+good)
		if want := fmt.Sprintf("f:2:%d: ", col); len(faults) != 1 || !strings.HasPrefix(faults[0], want) || !strings.Contains(faults[0], c.want) {
			t.Errorf("%s: %q, want %s%s", c.in, faults, want, c.want)
		}
		if len(list) != 2 {
			t.Errorf("%s: reading does not go on", c.in)
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	good := line("", "", "")
	crlf := strings.ReplaceAll(good, "\n", "\r\n")
	if list, faults := readAll(t, "\xef\xbb\xbf"+crlf+"\r\n"+crlf+strings.TrimSpace(good)); len(list) != 3 || faults != nil {
		t.Errorf("%d requests, %q", len(list), faults)
	}
	if _, faults := readAll(t, "\xef\xbb\xbf{}\n"); len(faults) != 1 || !strings.HasPrefix(faults[0], "f:1:4: ") {
		t.Errorf("%q", faults)
	}
	if list, faults := readAll(t, good+good[:40]); len(list) != 1 || len(faults) != 1 || faults[0] != "f:2: the last line is cut off" {
		t.Errorf("%d requests, %q", len(list), faults)
	}
	long := line("", "", `,"x":"`+strings.Repeat("y", 10<<20)+`"`)
	if list, faults := readAll(t, long+good); len(list) != 2 || faults != nil {
		t.Errorf("%d requests, %q", len(list), faults)
	}
	deep := line("", "", `,"x":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000))
	if list, faults := readAll(t, deep+good); len(list) != 1 || len(faults) != 1 {
		t.Errorf("%d requests, %q", len(list), faults)
	}
	broken := errors.New("broken")
	r := NewReader(io.MultiReader(strings.NewReader(good), errReader{broken}), "f")
	var q trace.Request
	if err := errors.Join(r.Read(&q), r.Read(&q), r.Read(&q)); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestSurvey(t *testing.T) {
	t.Parallel()
	at := func(phase, id string, start, end time.Duration) string {
		return fmt.Sprintf(`{"metadata":{"benchmark_phase":%q,"x_request_id":%q,"request_start_ns":%d,"request_end_ns":%d}}`+"\n", phase, id, startNanos+int64(start), startNanos+int64(end))
	}
	in := at("profiling", "c", 5e9, 8e9) + at("warmup", "a", 1e9, 3e9) + at("warmup", "b", 2e9, 6e9) + at("profiling", "d", 4e9, 7e9)
	config := &Config{Cancelled: true, Phases: []trace.Phase{{Name: "Profiling", Kind: trace.Measure, Concurrency: 3}}}
	got, err := Survey(strings.NewReader(in+in[:20]), "f", config)
	if err != nil {
		t.Fatal(err)
	}
	want := &Log{Requests: 4, Outcomes: map[trace.Outcome]int64{trace.Succeeded: 4}, Last: 7e9, Inexact: 4, Truncated: true, Cancelled: true, Phases: []Phase{
		{Name: "warmup", Kind: trace.Warmup, End: 3e9, Handover: true},
		{Name: "profiling", Kind: trace.Measure, Start: 3e9, End: 7e9, Load: config.Phases[0]},
	}}
	want.Clock.Anchor.UnixNanos = startNanos + 1e9
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	_, err = Survey(strings.NewReader(in+at("x", "b", 0, 1)), "f", nil)
	if err == nil || err.Error() != "f:5: the request (x_request_id) was read before, in line 3" {
		t.Error(err)
	}
	if _, err = Survey(strings.NewReader("\n"), "f", nil); err == nil || err.Error() != "f: the file holds no request of aiperf" {
		t.Error(err)
	}
	var phases bytes.Buffer
	for i := range maxPhases + 1 {
		phases.WriteString(at(fmt.Sprint("p", i), "", 0, 1))
	}
	if _, err = Survey(&phases, "f", nil); err == nil || !strings.Contains(err.Error(), "more than 4096 phases") {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	closed := func(name string, kind trace.PhaseKind, n int) trace.Phase {
		return trace.Phase{Name: name, Kind: kind, Concurrency: n}
	}
	rate := func(name string, rate float64, arrival trace.Arrival, shape float64) trace.Phase {
		return trace.Phase{Name: name, Kind: trace.Measure, Load: trace.Load{Rate: rate, Arrival: arrival, Shape: shape}}
	}
	early, err := os.ReadFile("testdata/profile_export_aiperf.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		in   string
		want []trace.Phase
	}{
		"early":     {string(early), []trace.Phase{closed("profiling", trace.Measure, 100), closed("warmup", trace.Warmup, 100)}},
		"v1 rate":   {`{"input_config":{"loadgen":{"request_rate":2.5,"request_rate_mode":"constant"}}}`, []trace.Phase{rate("profiling", 2.5, trace.Constant, 0), {Name: "warmup", Kind: trace.Warmup, Load: trace.Load{Rate: 2.5, Arrival: trace.Constant}}}},
		"v1 warmup": {`{"input_config":{"loadgen":{"concurrency":8,"warmup_concurrency":2}}}`, []trace.Phase{closed("profiling", trace.Measure, 8), closed("warmup", trace.Warmup, 2)}},
		"v2": {`{"input_config":{"phases":[{"name":"w","type":"concurrency","concurrency":1,"exclude_from_results":true},{"name":"a","kind":"profiling","type":"gamma","rate":3,"smoothness":2},
			{"name":"b","type":"user_centric","users":4,"rate":1},{"name":"c","type":"poisson","rate":9}]}}`,
			[]trace.Phase{closed("w", trace.Warmup, 1), rate("a", 3, trace.Gamma, 2), closed("b", trace.Measure, 4), rate("c", 9, "", 0)}},
		"a sweep":      {`{"input_config":{"loadgen":{"concurrency":[1,2]}}}`, nil},
		"nothing":      {`{}`, nil},
		"out of range": {`{"input_config":{"phases":[{"name":"a","type":"concurrency","concurrency":1e9},{"name":"b","concurrency":1.5},{"name":"c","concurrency":true},{"name":"d\u0000","concurrency":1}]}}`, nil},
	} {
		got, err := ParseConfig([]byte(c.in), "c")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(c.want, got.Phases); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	c := &Config{Phases: []trace.Phase{closed("Load", trace.Measure, 1)}}
	for name, want := range map[string]bool{"load": true, "profiling": true, "warmup": false, "other": false} {
		kind := trace.Measure
		if name == "warmup" {
			kind = trace.Warmup
		}
		if _, ok := c.phase(name, kind); ok != want {
			t.Errorf("load of %s known: %v", name, ok)
		}
	}
	for in, want := range map[string]string{
		"{\n \"a\": x}":                       "c:2:7: not valid JSON",
		"{\"input_config\":\n{\"phases\":7}}": "c:2:11: input_config.phases must not be a number",
		"":                                    "c:1:1: not valid JSON",
	} {
		if _, err := ParseConfig([]byte(in), "c"); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

func TestConfigPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"d/profile_export.jsonl": "d/profile_export_aiperf.json", "profile_export.jsonl.gz": "profile_export_aiperf.json",
		"d/profile_export_raw.jsonl.zst": "d/profile_export_aiperf.json", "foo_raw.jsonl": "foo.json",
		"d/foo.jsonl": "d/foo.json", "_raw.jsonl": "", "-": "", "d/.jsonl": "", "foo.json": "",
	} {
		if got := ConfigPath(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// FuzzReader: what is read is a request that reduce takes: its instants are in order, its
// events too, and what the anchor is moves all instants alike.
func FuzzReader(f *testing.F) {
	b, err := os.ReadFile("testdata/profile_export.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if len(l) < 4000 {
			f.Add([]byte(l))
		}
	}
	f.Add([]byte(line(`,"request_ack_ns":1780000000000000001,"was_cancelled":true`, millis("ttft", "3")+","+millis("request_latency", "5")+","+millis("inter_chunk_latency", "[1,1]"), `,"error":{}`)))
	raw, err := os.ReadFile("testdata/profile_export_raw.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	for l := range strings.Lines(string(raw)) {
		f.Add([]byte(l))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, moved := NewReader(bytes.NewReader(in), "f"), NewReader(bytes.NewReader(in), "f")
		moved.Anchor = 1000
		for {
			var q, m trace.Request
			err, err2 := r.Read(&q), moved.Read(&m)
			if (err == nil) != (err2 == nil) {
				t.Fatalf("%v, moved: %v", err, err2)
			}
			var syntax *trace.SyntaxError
			if errors.As(err, &syntax) {
				continue
			}
			if err != nil {
				return
			}
			if m.Sent != q.Sent-1000 || m.Done != q.Done-1000 || m.FirstToken.OK && m.FirstToken.V != q.FirstToken.V-1000 {
				t.Fatalf("%+v moved is %+v", q, m)
			}
			before := q.Sent
			for _, c := range q.Chunks {
				if c.At < before || c.At > q.Done {
					t.Fatalf("%+v", q)
				}
				before = c.At
			}
			if q.Scheduled > q.Sent || q.Done < q.Sent || q.FirstToken.OK && (q.FirstToken.V < q.Sent || q.FirstToken.V > q.Done) ||
				q.LastToken.OK && (q.LastToken.V < q.Sent || q.LastToken.V > q.Done) || q.Phase == "" || q.Line < 1 || q.Outcome == "" {
				t.Fatalf("%+v", q)
			}
		}
	})
}

// FuzzConfig: what is taken is a load that a plan can have.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"input_config":{"loadgen":{"concurrency":8,"request_rate":2}}}`))
	f.Add([]byte(`{"input_config":{"phases":[{"name":"a","type":"gamma","rate":3,"smoothness":2}]}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := ParseConfig(in, "c")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "c:") {
				t.Fatal(err)
			}
			return
		}
		for _, ph := range c.Phases {
			if err := (&trace.Plan{Phases: []trace.Phase{ph}}).Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// BenchmarkReader reads the lines of a real run.
func BenchmarkReader(b *testing.B) {
	for _, name := range []string{"profile_export.jsonl", "profile_export_raw.jsonl"} {
		b.Run(name, func(b *testing.B) {
			text, err := os.ReadFile("testdata/" + name)
			if err != nil {
				b.Fatal(err)
			}
			text = bytes.Repeat(text, 20)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				r := NewReader(bytes.NewReader(text), name)
				var q trace.Request
				for {
					if err := r.Read(&q); err != nil {
						if err != io.EOF {
							b.Fatal(err)
						}
						break
					}
				}
			}
		})
	}
}

// TestPlain: the fast way of reading a number gives what a double does.
func TestPlain(t *testing.T) {
	t.Parallel()
	m := trace.Member{Name: []byte("n")}
	for _, text := range []string{"0", "7", "0.0", "12.5", "1.4999999", "0.0000005", "0.0000015", "20.113456", "35.63220900000001", "8877.620132", "123456789012345", "999999999999.999", "0.00000049999999", "2251799813685248"} {
		for _, scale := range []float64{1, 1e3, 1e6, 1e9} {
			got, ok := plain([]byte(text), scale)
			v, err := strconv.ParseFloat(text, 64)
			if want := int64(math.Round(v * scale)); err != nil || ok && got != want {
				t.Errorf("%s by %v is %d, want %d", text, scale, got, want)
			}
		}
	}
	for _, text := range []string{"", ".", "1.", ".5", "-1", "1e3", "1.2.3", "x"} {
		if _, ok := plain([]byte(text), 1e6); ok {
			t.Errorf("%q is no plain number", text)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100000 {
		text, scale := strconv.FormatFloat(r.Float64()*math.Pow(10, float64(r.IntN(9))), 'f', r.IntN(12), 64), math.Pow(1000, float64(r.IntN(4)))
		v, _ := strconv.ParseFloat(text, 64)
		if got, err := number(m, []byte(text), scale); err != nil || got != int64(math.Round(v*scale)) {
			t.Fatalf("%s by %v is %d, want %v", text, scale, got, math.Round(v*scale))
		}
	}
}
