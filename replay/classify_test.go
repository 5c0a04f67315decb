package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wattrace/trace"
)

// outcome is what an answer holds after some events, for comparison.
type outcome struct {
	Kinds         string
	Usage, Finish string
	Fault         fault
	Failed, Known bool
	Invalid       int
	ID, Metrics   string
	Added         []int32 // by each event, where any had a count
	Running       running
}

// take feeds events to an answer; slow keeps it from the fast path.
func take(slow bool, events ...string) outcome {
	var a answer
	var o outcome
	for _, ev := range events {
		if slow {
			a.prefix = a.prefix[:0]
		}
		o.Kinds += string(rune(a.event(nil, []byte(ev))))
		o.Added = append(o.Added, a.running.Added)
		a.running.Added = 0
	}
	if o.Running = a.running; o.Running == (running{}) {
		o.Added = nil
	}
	o.Usage, o.Finish, o.Fault, o.Failed, o.Known, o.Invalid = string(a.usage), a.finish, a.fault, a.failed, a.known, a.invalid
	o.ID, o.Metrics = a.id, string(a.metrics.object())
	return o
}

func chat(delta, rest string) string {
	return `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":` + delta + `,"logprobs":null` + rest + `}]}`
}

func TestClassify(t *testing.T) {
	t.Parallel()
	const usage = `{"prompt_tokens": 7,"completion_tokens":3,"total_tokens":10}`
	for _, test := range []struct {
		name, event string
		want        outcome
	}{
		{"done", "[DONE]", outcome{Kinds: "d"}},
		{"done with a space", "[DONE] ", outcome{Kinds: "d"}},
		{"role with empty content", chat(`{"role":"assistant","content":""}`, `,"finish_reason":null`), outcome{Kinds: "r", Known: true}},
		{"role with null content", chat(`{"role":"assistant","content":null}`, ``), outcome{Kinds: "r", Known: true}},
		{"role with content", chat(`{"role":"assistant","content":"Hi"}`, ``), outcome{Kinds: "c", Known: true}},
		{"content", chat(`{"content":" hello"}`, `,"finish_reason":null`), outcome{Kinds: "c", Known: true}},
		{"white space", " { \"choices\" : [ { \"delta\" : { \"content\" : \" a\" } } ] } ", outcome{Kinds: "c", Known: true}},
		{"escaped key", `{"choices":[{"delta":{"c\u006fntent":"a"}}]}`, outcome{Kinds: "c", Known: true}},
		{"a needle in the text", chat(`{"content":"\"reasoning\":\"x\",\"usage\":{"}`, ``), outcome{Kinds: "c", Known: true}},
		{"empty content alone", chat(`{"content":""}`, ``), outcome{Kinds: "o", Known: true}},
		{"empty delta", chat(`{}`, ``), outcome{Kinds: "o", Known: true}},
		{"null delta", chat(`null`, ``), outcome{Kinds: "o", Known: true}},
		{"content parts", chat(`{"content":[{"type":"text","text":"a"}]}`, ``), outcome{Kinds: "c", Known: true}},
		{"reasoning_content", chat(`{"reasoning_content":"hm","content":null}`, ``), outcome{Kinds: "g", Known: true}},
		{"reasoning", chat(`{"reasoning":"hm"}`, ``), outcome{Kinds: "g", Known: true}},
		{"reasoning twice", chat(`{"reasoning":"hm","reasoning_content":"hm"}`, ``), outcome{Kinds: "g", Known: true}},
		{"reasoning null", chat(`{"content":"a","reasoning_content":null}`, ``), outcome{Kinds: "c", Known: true}},
		{"refusal", chat(`{"refusal":"no"}`, ``), outcome{Kinds: "c", Known: true}},
		{"tool calls", chat(`{"tool_calls":[{"index":0,"function":{"arguments":"{\""}}]}`, ``), outcome{Kinds: "t", Known: true}},
		{"no tool calls", chat(`{"role":"assistant","tool_calls":[]}`, ``), outcome{Kinds: "r", Known: true}},
		{"function call", chat(`{"function_call":{"name":"f"}}`, ``), outcome{Kinds: "t", Known: true}},
		{"finish", chat(`{}`, `,"finish_reason":"stop"`), outcome{Kinds: "f", Finish: "stop", Known: true}},
		{"finish with empty content", chat(`{"content":""}`, `,"finish_reason":"length"`), outcome{Kinds: "f", Finish: "length", Known: true}},
		{"finish with content", chat(`{"content":"!"}`, `,"finish_reason":"length"`), outcome{Kinds: "c", Finish: "length", Known: true}},
		{"finish of a kind of its own", chat(`{}`, `,"finish_reason":"repetition"`), outcome{Kinds: "f", Finish: "repetition", Known: true}},
		{"finish with an escape", chat(`{}`, `,"finish_reason":"st\u006fp"`), outcome{Kinds: "f", Finish: "stop", Known: true}},
		{"finish that is no reason", chat(`{}`, `,"finish_reason":"`+strings.Repeat("é", 40)+`"`), outcome{Kinds: "f", Finish: "unknown", Known: true}},
		{"usage", `{"choices":[],"usage":` + usage + `}`, outcome{Kinds: "u", Usage: usage, Known: true}},
		{"usage null", `{"choices":[],"usage":null}`, outcome{Kinds: "o", Known: true}},
		{"usage with content", `{"choices":[{"delta":{"content":"a"}}],"usage":` + usage + `}`, outcome{Kinds: "c", Usage: usage, Known: true}},
		{"usage with finish", `{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":` + usage + `}`, outcome{Kinds: "f", Usage: usage, Finish: "stop", Known: true}},
		{"second choice", `{"choices":[{"index":0,"delta":{"content":""}},{"index":1,"delta":{"content":"a"}}]}`, outcome{Kinds: "c", Known: true}},
		{"completion", `{"id":"cmpl-1","object":"text_completion","choices":[{"index":0,"text":" a","finish_reason":null}]}`, outcome{Kinds: "c", Known: true}},
		{"completion end", `{"choices":[{"index":0,"text":"","finish_reason":"length","stop_reason":null}]}`, outcome{Kinds: "f", Finish: "length", Known: true}},
		{"vLLM error", `{"error":{"message":"secret","type":"BadRequestError","param":null,"code":400}}`, outcome{Kinds: "e", Failed: true, Fault: fault{Type: "BadRequestError", Code: "400", Message: "secret"}}},
		{"flat error", `{"object":"error","message":"secret","type":"T","param":"p","code":"c"}`, outcome{Kinds: "e", Failed: true, Fault: fault{Type: "T", Code: "c", Param: "p", Message: "secret"}}},
		{"error as text", `{"error":"secret"}`, outcome{Kinds: "e", Failed: true, Fault: fault{Message: "secret"}}},
		{"error null", `{"choices":[{"delta":{"content":"a"}}],"error":null}`, outcome{Kinds: "c", Known: true}},
		{"error with content", `{"choices":[{"delta":{"content":"a"}}],"error":{"type":"x"}}`, outcome{Kinds: "c", Known: true, Failed: true, Fault: fault{Type: "x"}}},
		{"responses created", `{"type":"response.created","response":{"status":"in_progress","error":null,"usage":null}}`, outcome{Kinds: "r", Known: true}},
		{"responses text", `{"type":"response.output_text.delta","sequence_number":4,"delta":"a"}`, outcome{Kinds: "c", Known: true}},
		{"responses text, keys turned", `{"delta":"a","type":"response.output_text.delta"}`, outcome{Kinds: "c", Known: true}},
		{"responses empty text", `{"type":"response.output_text.delta","delta":""}`, outcome{Kinds: "o", Known: true}},
		{"responses reasoning", `{"type":"response.reasoning_text.delta","delta":"a"}`, outcome{Kinds: "g", Known: true}},
		{"responses tool", `{"type":"response.function_call_arguments.delta","delta":"{"}`, outcome{Kinds: "t", Known: true}},
		{"responses text done", `{"type":"response.output_text.done","text":"a"}`, outcome{Kinds: "o", Known: true}},
		{"responses completed", `{"type":"response.completed","response":{"status":"completed","incomplete_details":null,"usage":{"input_tokens":1}}}`, outcome{Kinds: "f", Known: true, Finish: "completed", Usage: `{"input_tokens":1}`}},
		{"responses incomplete", `{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}`, outcome{Kinds: "f", Known: true, Finish: "max_output_tokens"}},
		{"responses failed", `{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"secret"}}}`, outcome{Kinds: "e", Known: true, Failed: true, Fault: fault{Code: "server_error", Message: "secret"}}},
		{"responses error", `{"type":"error","code":"c","message":"secret","param":null}`, outcome{Kinds: "e", Failed: true, Fault: fault{Type: "error", Code: "c", Message: "secret"}}},
		{"ping", `{"type":"ping"}`, outcome{Kinds: "o"}},
		{"null", `null`, outcome{Kinds: "o"}},
		{"a string", `"hi"`, outcome{Kinds: "o"}},
		{"nothing", ``, outcome{Kinds: "o", Invalid: 1}},
		{"no JSON", `hello`, outcome{Kinds: "o", Invalid: 1}},
		{"cut JSON", `{"choices":[{"delta":{"content":"a`, outcome{Kinds: "o", Invalid: 1}},
		{"two values", `{"choices":[]}{}`, outcome{Kinds: "o", Invalid: 1}},
		{"trailing comma", `{"choices":[{"delta":{"content":"a"}},]}`, outcome{Kinds: "o", Invalid: 1}},
		{"lone surrogate", chat(`{"content":"\ud800"}`, ``), outcome{Kinds: "c", Known: true}},
		{"invalid UTF-8", chat("{\"content\":\"\xff\"}", ``), outcome{Kinds: "c", Known: true}},
		{"twice, then empty", chat(`{"content":"a","content":""}`, ``), outcome{Kinds: "c", Known: true}},
		{"wrong types", `{"choices":{"delta":1},"usage":[1],"error":7,"type":{},"object":3,"delta":{},"status":1,"code":null}`, outcome{Kinds: "o", Known: true}},
		{"a whole chat answer", `{"object":"chat.completion","choices":[{"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}`, outcome{Kinds: "c", Known: true, Finish: "stop", Usage: `{"prompt_tokens":1}`}},
		{"a whole response", `{"object":"response","status":"completed","error":null,"incomplete_details":null,"output":[{"type":"message"}],"usage":{"input_tokens":1}}`, outcome{Kinds: "c", Known: true, Finish: "completed", Usage: `{"input_tokens":1}`}},
		{"a failed response", `{"object":"response","status":"failed","error":{"code":"c"},"output":[]}`, outcome{Kinds: "e", Known: true, Failed: true, Finish: "failed", Fault: fault{Code: "c"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := take(true, test.event)
			got.ID = "" // see TestResponseID
			if got.Usage == usage {
				test.want.Added, test.want.Running = []int32{3}, running{Total: 3, Told: strings.Count(got.Kinds, "c")}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			// Twice, so that the second may take the fast path.
			if diff := cmp.Diff(take(true, test.event, test.event), take(false, test.event, test.event)); diff != "" {
				t.Errorf("the fast path differs (-slow +fast)\n%s", diff)
			}
		})
	}
}

func TestErrorByEventName(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`{"code":3}`, `no JSON`, ``} {
		var a answer
		if kind := a.event([]byte("error"), []byte(data)); kind != trace.ChunkError || !a.failed {
			t.Errorf("%s: kind %c, failed %v", data, kind, a.failed)
		}
	}
}

// TestFastPathIsTaken checks that the events of an ordinary stream are not
// decoded one by one, and that they are not taken for what they are not.
func TestFastPathIsTaken(t *testing.T) {
	t.Parallel()
	var a answer
	a.event(nil, []byte(chat(`{"content":"a"}`, ``)))
	first := a.dec.data
	if a.event(nil, []byte(chat(`{"content":"b"}`, ``))); &a.dec.data[0] != &first[0] {
		t.Error("an event of the same form is decoded")
	}
	for _, text := range []string{"b", " c", `\n`, `\"`, `\u00e9`, "é", strings.Repeat("x", 9000)} {
		if !a.like([]byte(chat(`{"content":"`+text+`"}`, ``))) {
			t.Errorf("%q takes the slow path", text)
		}
	}
	for _, text := range []string{"", `a"b`, `\`, `\x`, `\u12`, "a\nb", `a","x":"b\`} {
		if a.like([]byte(chat(`{"content":"`+text+`"}`, ``))) {
			t.Errorf("%q takes the fast path", text)
		}
	}
}

func TestFastPathDoesNotAllocate(t *testing.T) {
	var a answer
	events := [][]byte{[]byte(chat(`{"content":"a"}`, ``)), []byte(chat(`{"content":"bc"}`, ``))}
	a.event(nil, events[0])
	if n := testing.AllocsPerRun(1000, func() {
		for _, ev := range events {
			a.event(nil, ev)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	usage := []byte(`{"choices":[{"delta":{"content":"a"}}],"usage":{"completion_tokens":1}}`)
	a.event(nil, usage)
	if n := testing.AllocsPerRun(1000, func() { a.event(nil, usage) }); n > 0 {
		t.Errorf("%v allocations on the slow path", n)
	}
}

// FuzzFastEqualsSlow checks that the fast path says what the slow path says, for
// any stream of events, and that the slow path refuses what is no JSON.
func FuzzFastEqualsSlow(f *testing.F) {
	f.Add(chat(`{"role":"assistant","content":""}`, ``) + "\n" + chat(`{"content":"a"}`, ``) + "\n" + chat(`{"content":"\u00e9\\"}`, ``) + "\n" + chat(`{}`, `,"finish_reason":"stop"`))
	f.Add(chat(`{"content":"","reasoning":"a"}`, ``) + "\n" + chat(`{"content":"","reasoning":"b"}`, ``))
	f.Add(`{"choices":[{"text":"a"}],"usage":{"a":1}}` + "\n" + `{"choices":[{"text":"b"}]}` + "\n" + `{"choices":[{"text":"c"}],"usage":{"a":2}}`)
	// What goes with a text must not be forgotten when it comes again.
	for _, with := range [][2]string{
		{`,"usage":{"a":1}`, `{"choices":[],"usage":{"a":2}}`},
		{`,"error":{"type":"x"}`, `{"error":{"type":"y"}}`},
	} {
		f.Add(`{"choices":[{"text":"a"}]` + with[0] + "}\n" + with[1] + "\n" + `{"choices":[{"text":"b"}]` + with[0] + "}")
	}
	for _, d := range dialects {
		f.Add(strings.ReplaceAll(strings.ReplaceAll(d.stream, "data: ", ""), "\n\n", "\n"))
	}
	// Running counts: of some events only, twice in one, of the wrong kind, falling.
	f.Add(`{"choices":[{"text":"a"}]}` + "\n" + `{"choices":[{"text":"b"}],"usage": {"completion_tokens":2}}` + "\n" + `{"choices":[{"text":"c"}]}` + "\n" + `{"choices":[{"text":"d"}],"usage":null}`)
	f.Add(`{"usage":{"completion_tokens":1},"choices":[{"text":"a"}],"usage" :{"output_tokens":2,"completion_tokens":3}}` + "\n" + `{"usage":{"completion_tokens":9},"usage":{"completion_tokens":"x"},"usage":[1]}`)
	f.Add(`{"choices":[{"text":"a"}],"usage":{"completion_tokens":7,"x":{"completion_tokens":1}}}` + "\n" + `{"choices":[{"text":"a"}],"usage":{"completion_tokens":5,"completion_tokens":-1}}`)
	f.Add(`{"choices":[{"text":"a"}]` + "\n" + `{"response":{"usage":{"output_tokens":4}},"usage":{"completion_tokens":1e1}}`)
	f.Add(`{"choices":[{"text":"a"}],"metrics":{"a":1}}` + "\n" + `{"metrics":{"a":2}}` + "\n" + `{"choices":[{"text":"b"}],"metrics":{"a":1}}`)
	f.Add(`{"id":"a b","choices":[{"text":"a"}]}` + "\n" + `{"id":"c"}` + "\n" + `{"id":"a b","choices":[{"text":"b"}]}`)
	f.Add(`{"choices":[{"text":"a","finish_reason":"x"}]}` + "\n" + `{"choices":[{"finish_reason":"y"}]}` + "\n" + `{"choices":[{"text":"b","finish_reason":"x"}]}`)
	f.Add(`{"choices":[{"delta":{"reasoning":"a","content":[1]}}]}` + "\n" + `{"choices":[{"delta":{"reasoning":"b","content":[1]}}]}`)
	f.Add(`{"type":"response.output_text.delta","delta":"a"}` + "\n" + `{"type":"response.output_text.delta","delta":"b"}`)
	f.Add(`{"choices":[{"delta":{"content":"a","content":"b"}}],"error":null}` + "\n" + `{"choices":[{"delta":{"content":"","content":"b"}}],"error":null}`)
	f.Fuzz(func(t *testing.T, stream string) {
		events := strings.Split(stream, "\n")
		slow, fast := take(true, events...), take(false, events...)
		if diff := cmp.Diff(slow, fast); diff != "" {
			t.Errorf("(-slow +fast)\n%s", diff)
		}
		invalid := 0
		for _, ev := range events {
			if !json.Valid([]byte(ev)) && !isDone([]byte(ev)) {
				invalid++
			}
		}
		if slow.Invalid != invalid {
			t.Errorf("%d events are not JSON, not %d", invalid, slow.Invalid)
		}
		if slow.Metrics != "" && !json.Valid([]byte(slow.Metrics)) {
			t.Errorf("the metrics are not JSON: %s", slow.Metrics)
		}
		if slow.Usage != "" && !json.Valid([]byte(slow.Usage)) {
			t.Errorf("usage is not JSON: %s", slow.Usage)
		}
		added, before := int64(0), int64(0)
		for i := range events {
			// The last usage that there was until then, read once more on its own.
			so := take(true, events[:i+1]...)
			var d decoder
			if _, total := d.counts([]byte(so.Usage)); so.Usage != "" && total.OK && total.V != so.Running.Total {
				t.Errorf("event %d: %d tokens, but its usage says %d", i, so.Running.Total, total.V)
			}
			if len(so.Added) > 0 {
				added += int64(so.Added[i])
			}
			if so.Running.Total < before && !so.Running.Fell {
				t.Errorf("event %d: a count fell, unseen", i)
			}
			before = so.Running.Total
		}
		if !slow.Running.Fell && added != slow.Running.Total {
			t.Errorf("%d tokens were added, not %d", added, slow.Running.Total)
		}
	})
}

// FuzzFastEqualsSlowText varies the text of an event alone, where the fast path
// decides.
func FuzzFastEqualsSlowText(f *testing.F) {
	f.Add("a", `b\"`)
	f.Add(`\ud83d\ude00`, "\x7f")
	f.Fuzz(func(t *testing.T, one, two string) {
		for _, form := range []string{
			chat(`{"content":"%s"}`, ``), chat(`{"content":"","reasoning":"%s"}`, ``), `{"choices":[{"text":"%s"}]}`,
			`{"type":"response.output_text.delta","delta":"%s"}`, `{"choices":[{"delta":{"content":"%s","content":"x"}}]}`,
			`{"choices":[{"delta":{"reasoning":"%s","content":"x"}}]}`,
		} {
			events := []string{fmt.Sprintf(form, one), fmt.Sprintf(form, two), fmt.Sprintf(form, one+two)}
			if diff := cmp.Diff(take(true, events...), take(false, events...)); diff != "" {
				t.Errorf("(-slow +fast)\n%s", diff)
			}
		}
	})
}

func BenchmarkStream(b *testing.B) {
	for _, bench := range []struct{ name, form string }{
		{"same", chat(`{"content":" tok%d"}`, `,"finish_reason":null`)},
		{"usage", `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}],"usage":{"prompt_tokens":1,"completion_tokens":%d}}`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var stream bytes.Buffer
			const events = 1000
			for i := range events {
				fmt.Fprintf(&stream, "data: "+bench.form+"\n\n", i)
			}
			var s sseReader
			var a answer
			b.SetBytes(int64(stream.Len()))
			b.ReportAllocs()
			for b.Loop() {
				s.reset(bytes.NewReader(stream.Bytes()), func() trace.Time { return 0 })
				a.reset()
				var ev sseEvent
				for s.next(&ev) == nil {
					a.event(ev.name, ev.data)
				}
			}
			b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds()/1e6, "Mevents/s")
		})
	}
}

// A count that no log may hold is not believed.
func TestHugeCounts(t *testing.T) {
	t.Parallel()
	var d decoder
	for _, test := range []struct {
		usage   string
		in, out trace.Opt[int64]
	}{
		{`{"prompt_tokens":1073741824,"completion_tokens":0}`, trace.Some[int64](1 << 30), trace.Some[int64](0)},
		{`{"prompt_tokens":1073741825,"completion_tokens":9223372036854775807}`, trace.Opt[int64]{}, trace.Opt[int64]{}},
		{`{"prompt_tokens":-1,"completion_tokens":3}`, trace.Opt[int64]{}, trace.Some[int64](3)},
	} {
		if in, out := d.counts([]byte(test.usage)); in != test.in || out != test.out {
			t.Errorf("%s: %v, %v", test.usage, in, out)
		}
	}
}
