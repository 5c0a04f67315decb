package simserver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// serve starts a fast server on a loopback port.
func serve(t testing.TB, o Options) string {
	if o.Speed == 0 {
		o.Speed = 1000
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	h := httptest.NewServer(s)
	t.Cleanup(func() { cancel(); wg.Wait(); h.Close() })
	return h.URL
}

func post(t testing.TB, url, body string) (status int, header http.Header, answer string) {
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header, string(b)
}

// blank hides what may differ from run to run.
var blank = regexp.MustCompile(`"created":\d{10,}|cmpl-[0-9a-f]{32}`)

func hide(s string) string {
	return blank.ReplaceAllStringFunc(s, func(m string) string {
		if strings.HasPrefix(m, `"created"`) {
			return `"created":0`
		}
		return "cmpl-ID"
	})
}

func TestShapesOfVLLM(t *testing.T) {
	t.Parallel()
	url := serve(t, Options{Seed: 1})
	check := func(path, body, contentType, want string) {
		t.Helper()
		status, header, got := post(t, url+path, body)
		if status != 200 || header.Get("Content-Type") != contentType {
			t.Errorf("%s: status %d, type %q", path, status, header.Get("Content-Type"))
		}
		if diff := cmp.Diff(want, hide(got)); diff != "" {
			t.Errorf("%s %s:\n%s", path, body, diff)
		}
	}
	const sse = "text/event-stream; charset=utf-8"
	check("/v1/completions", `{"model":"wattrace-simulated","prompt":[5,6,7],"max_tokens":3,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true}}`, sse,
		`data: {"id":"cmpl-ID","object":"text_completion","created":0,"model":"wattrace-simulated","choices":[{"index":0,"text":"energy","logprobs":null,"finish_reason":null,"stop_reason":null}]}

data: {"id":"cmpl-ID","object":"text_completion","created":0,"model":"wattrace-simulated","choices":[{"index":0,"text":" many","logprobs":null,"finish_reason":null,"stop_reason":null}]}

data: {"id":"cmpl-ID","object":"text_completion","created":0,"model":"wattrace-simulated","choices":[{"index":0,"text":" energy","logprobs":null,"finish_reason":"length","stop_reason":null}]}

data: {"id":"cmpl-ID","object":"text_completion","created":0,"model":"wattrace-simulated","choices":[],"usage":{"prompt_tokens":3,"total_tokens":6,"completion_tokens":3}}

data: [DONE]

`)
	check("/v1/chat/completions", `{"messages":[{"role":"user","content":"Hello"}],"max_completion_tokens":2,"ignore_eos":true,"stream":true}`, sse,
		`data: {"id":"chatcmpl-ID","object":"chat.completion.chunk","created":0,"model":"wattrace-simulated","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

data: {"id":"chatcmpl-ID","object":"chat.completion.chunk","created":0,"model":"wattrace-simulated","choices":[{"index":0,"delta":{"content":"power"},"logprobs":null,"finish_reason":null}]}

data: {"id":"chatcmpl-ID","object":"chat.completion.chunk","created":0,"model":"wattrace-simulated","choices":[{"index":0,"delta":{"content":" great"},"logprobs":null,"finish_reason":"length","stop_reason":null}]}

data: [DONE]

`)
	check("/v1/completions", `{"prompt":"Hello, world","max_tokens":2,"ignore_eos":true}`, "application/json",
		`{"id":"cmpl-ID","object":"text_completion","created":0,"model":"wattrace-simulated","choices":[{"index":0,"text":"and counted","logprobs":null,"finish_reason":"length","stop_reason":null}],"usage":{"prompt_tokens":3,"total_tokens":5,"completion_tokens":2}}`)
	check("/v1/chat/completions", `{"messages":[{"role":"user","content":"Hello"}],"max_tokens":2,"ignore_eos":true}`, "application/json",
		`{"id":"chatcmpl-ID","object":"chat.completion","created":0,"model":"wattrace-simulated","choices":[{"index":0,"message":{"role":"assistant","content":"power great"},"logprobs":null,"finish_reason":"length","stop_reason":null}],"usage":{"prompt_tokens":9,"total_tokens":11,"completion_tokens":2}}`)
}

func TestModelsAndHealth(t *testing.T) {
	t.Parallel()
	url := serve(t, Options{Model: "m \"1\"", MaxContext: 4096})
	get := func(path string) (int, string) {
		r, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	want := `{"object":"list","data":[{"id":"m \"1\"","object":"model","created":0,"owned_by":"wattrace simulated","root":"m \"1\"","parent":null,"max_model_len":4096}]}`
	if status, body := get("/v1/models"); status != 200 || hide(body) != want {
		t.Errorf("%d %s", status, body)
	}
	if status, body := get("/health"); status != 200 || body != "" {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get("/v1/completions"); status != http.StatusMethodNotAllowed {
		t.Errorf("GET of a POST: %d", status)
	}
	if status, _ := get("/v1/nothing"); status != http.StatusNotFound {
		t.Errorf("unknown path: %d", status)
	}
}

// streamed is what a client makes of a stream.
type streamed struct {
	text     string
	content  int // events with text
	roles    int
	finish   []string
	usages   []usageJSON
	done     bool
	perChunk int // events with choices that have a usage
}

type usageJSON struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

func readStream(t testing.TB, r io.Reader) streamed {
	var s streamed
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			continue
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok || s.done {
			t.Fatalf("line %q", line)
		}
		if data == "[DONE]" {
			s.done = true
			continue
		}
		var e struct {
			Choices []struct {
				Text  string `json:"text"`
				Delta struct {
					Role    string `json:"role"`
					Content string `json:"content"`
				} `json:"delta"`
				Finish string `json:"finish_reason"`
			} `json:"choices"`
			Usage *usageJSON `json:"usage"`
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		if e.Usage != nil {
			s.usages = append(s.usages, *e.Usage)
			s.perChunk += len(e.Choices)
		}
		for _, c := range e.Choices {
			text := c.Text + c.Delta.Content
			if text != "" {
				s.content++
			}
			s.text += text
			if c.Delta.Role != "" {
				s.roles++
			}
			if c.Finish != "" {
				s.finish = append(s.finish, c.Finish)
			}
		}
	}
	return s
}

func TestUsageCountsTheEventsOfFiftyStreamsAtOnce(t *testing.T) {
	t.Parallel()
	url := serve(t, Options{})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			want := 1 + i*7%90
			path, body := "/v1/completions", fmt.Sprintf(`{"prompt":[%d,2],"max_tokens":%d`, i, want)
			if i%2 == 1 {
				path, body = "/v1/chat/completions", fmt.Sprintf(`{"messages":[{"role":"user","content":"%d"}],"max_tokens":%d`, i, want)
			}
			body += `,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true}}`
			r, err := http.Post(url+path, "application/json", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Body.Close()
			s := readStream(t, r.Body)
			if !s.done || s.content != want || len(s.usages) != 1 || s.usages[0].Completion != want || s.roles != i%2 {
				t.Errorf("request %d wants %d tokens: %+v", i, want, s)
			}
			if len(s.finish) != 1 || s.finish[0] != "length" {
				t.Errorf("request %d ends by %q", i, s.finish)
			}
		})
	}
	wg.Wait()
}

func TestAnswersEndByThemselvesAsTheSeedSays(t *testing.T) {
	t.Parallel()
	one, same, other := serve(t, Options{Seed: 1}), serve(t, Options{Seed: 1}), serve(t, Options{Seed: 2})
	ask := func(url, path, body string) streamed {
		t.Helper()
		_, _, b := post(t, url+path, body)
		return readStream(t, strings.NewReader(b))
	}
	lengths := map[int]bool{}
	differ := false
	for i := range 10 {
		body := fmt.Sprintf(`{"messages":[{"role":"user","content":"question %d"}],"stream":true,"stream_options":{"include_usage":true}}`, i)
		a, b, c := ask(one, "/v1/chat/completions", body), ask(same, "/v1/chat/completions", body), ask(other, "/v1/chat/completions", body)
		n := a.usages[0].Completion
		lengths[n] = true
		// The end of the sequence is a token without text.
		if n < 2 || n > 511 || a.content != n-1 || a.finish[0] != "stop" || !a.done {
			t.Errorf("answer %d has %d tokens, %d events with text, ends by %q", i, n, a.content, a.finish)
		}
		if diff := cmp.Diff(a, b, cmp.AllowUnexported(streamed{})); diff != "" {
			t.Errorf("one seed, two answers:\n%s", diff)
		}
		differ = differ || a.text != c.text && a.usages[0] != c.usages[0]
	}
	if len(lengths) < 5 || !differ {
		t.Errorf("lengths %v; another seed differs: %v", lengths, differ)
	}
}

func TestStreamedAndWholeAreTheSameAnswer(t *testing.T) {
	t.Parallel()
	url := serve(t, Options{Seed: 3})
	for _, extra := range []string{`"max_tokens":500`, `"max_tokens":20,"ignore_eos":true`, `"max_tokens":500,"min_tokens":480`} {
		_, _, s := post(t, url+"/v1/completions", `{"prompt":"a question",`+extra+`,"stream":true,"stream_options":{"include_usage":true}}`)
		_, _, w := post(t, url+"/v1/completions", `{"prompt":"a question",`+extra+`}`)
		stream := readStream(t, strings.NewReader(s))
		var whole struct {
			Choices []struct {
				Text   string
				Finish string `json:"finish_reason"`
			}
			Usage usageJSON
		}
		if err := json.Unmarshal([]byte(w), &whole); err != nil {
			t.Fatal(err)
		}
		if stream.text != whole.Choices[0].Text || stream.finish[0] != whole.Choices[0].Finish || stream.usages[0] != whole.Usage {
			t.Errorf("%s: streamed %+v, whole %+v", extra, stream, whole)
		}
		if strings.Contains(extra, "min_tokens") && whole.Usage.Completion < 480 {
			t.Errorf("%d tokens of at least 480", whole.Usage.Completion)
		}
		if words := len(strings.Fields(whole.Choices[0].Text)); words < whole.Usage.Completion-1 || words > whole.Usage.Completion {
			t.Errorf("%d words for %d tokens", words, whole.Usage.Completion)
		}
	}
}

func TestContinuousUsage(t *testing.T) {
	t.Parallel()
	url := serve(t, Options{})
	_, _, b := post(t, url+"/v1/chat/completions",
		`{"messages":[{"role":"user","content":"x"}],"max_tokens":4,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`)
	s := readStream(t, strings.NewReader(b))
	_, _, b = post(t, url+"/v1/completions", `{"prompt":"x","max_tokens":4,"stream":true,"stream_options":{"continuous_usage_stats":true}}`)
	if without := readStream(t, strings.NewReader(b)); len(without.usages) != 0 {
		t.Errorf("without include_usage there are %d", len(without.usages))
	}
	want := []usageJSON{{8, 0, 8}, {8, 1, 9}, {8, 2, 10}, {8, 3, 11}, {8, 4, 12}, {8, 4, 12}}
	if diff := cmp.Diff(want, s.usages); diff != "" || s.perChunk != 5 {
		t.Errorf("%d events with choices have a usage\n%s", s.perChunk, diff)
	}
}

func TestPromptsAreCounted(t *testing.T) {
	t.Parallel()
	url := serve(t, Options{})
	check := func(path, rest string, want int) {
		t.Helper()
		_, _, b := post(t, url+path, `{"max_tokens":1,`+rest+`}`)
		var got struct{ Usage usageJSON }
		if err := json.Unmarshal([]byte(b), &got); err != nil || got.Usage.Prompt != want {
			t.Errorf("%s counts %d, want %d (%v %s)", rest, got.Usage.Prompt, want, err, b)
		}
	}
	const completions, chat = "/v1/completions", "/v1/chat/completions"
	check(completions, `"prompt":"1234"`, 1)
	check(completions, `"prompt":"12345"`, 2)
	check(completions, `"prompt":"\u00e4\u00f6\u00fc"`, 2) // six bytes
	check(completions, `"prompt":["123456789"]`, 3)
	check(completions, `"prompt":[863, 22056 ,25603,`+"\n"+` 0]`, 4)
	check(completions, `"prompt":[[1,2,3]]`, 3)
	check(completions, `"prompt":[7]`, 1)
	check(chat, `"messages":[{"role":"user","content":"12345"}]`, 3+4+2)
	check(chat, `"messages":[{"role":"system","content":"1"},{"content":null,"role":"user","name":"x"}]`, 3+4+1+4)
	check(chat, `"messages":[{"role":"user","content":[{"type":"text","text":"12345"},{"text":"1","type":"text"}]}]`, 3+4+2+1)
}

func TestFaultsOfARequest(t *testing.T) {
	t.Parallel()
	url := serve(t, Options{MaxContext: 100, MaxBody: 1000})
	check := func(path, body string, status int, kind, param, message string) {
		t.Helper()
		gotStatus, header, b := post(t, url+path, body)
		if p := `"` + param + `"`; param == "" {
			param = "null"
		} else {
			param = p
		}
		want := fmt.Sprintf(`{"error":{"message":%q,"type":%q,"param":%s,"code":%d}}`, message, kind, param, status)
		if gotStatus != status || b != want || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s\n got %d %s\nwant %d %s", body, gotStatus, b, status, want)
		}
	}
	bad := func(body, param, message string) {
		t.Helper()
		check("/v1/completions", body, 400, "BadRequestError", param, message)
	}
	badChat := func(body, param, message string) {
		t.Helper()
		check("/v1/chat/completions", body, 400, "BadRequestError", param, message)
	}
	bad(`{"prompt":`, "", "byte 11: not JSON: the line ends inside a value")
	bad(`[]`, "", "byte 1: not a JSON object, but an array")
	bad(``, "", "byte 1: not JSON: nothing there")
	bad("{\"prompt\":\"\xff\"}", "", "byte 12: not JSON: invalid UTF-8")
	check("/v1/completions", `{"model":"other","prompt":"x"}`, 404, "NotFoundError", "model", "The model `other` does not exist.")
	bad(`{"model":5,"prompt":"x"}`, "model", "model must be a string")
	bad(`{"max_tokens":5}`, "prompt", "prompt is missing")
	bad(`{"prompt":null}`, "prompt", "prompt is missing")
	bad(`{"prompt":""}`, "prompt", "prompt: the prompt is empty")
	bad(`{"prompt":[]}`, "prompt", "prompt: the prompt is empty")
	bad(`{"prompt":[[]]}`, "prompt", "prompt: the prompt is empty")
	const form = "prompt: must be a string, a list of token ids, or a list of one of those"
	bad(`{"prompt":5}`, "prompt", form)
	bad(`{"prompt":[1,2.5]}`, "prompt", form)
	bad(`{"prompt":[1,-2]}`, "prompt", form)
	bad(`{"prompt":[1,"a"]}`, "prompt", form)
	bad(`{"prompt":["a",1]}`, "prompt", form)
	bad(`{"prompt":[[1],[[2]]]}`, "prompt", form)
	bad(`{"prompt":["a","b"]}`, "prompt", "prompt: several prompts in one request, of which this server takes one")
	bad(`{"prompt":[[1],[2]]}`, "prompt", "prompt: several prompts in one request, of which this server takes one")
	bad(`{"prompt":"x","max_tokens":0}`, "max_tokens", "max_tokens must be at least 1")
	bad(`{"prompt":"x","max_tokens":1.5}`, "max_tokens", "max_tokens must be an integer")
	bad(`{"prompt":"x","max_tokens":"5"}`, "max_tokens", "max_tokens must be an integer")
	bad(`{"prompt":"x","max_tokens":1e99}`, "max_tokens", "max_tokens must be an integer")
	bad(`{"prompt":"x","max_tokens":5,"min_tokens":6}`, "min_tokens", "min_tokens must be at most max_tokens, which is 5")
	bad(`{"prompt":"x","min_tokens":-1}`, "min_tokens", "min_tokens must be at least 0")
	bad(`{"prompt":"x","max_tokens":100}`, "max_tokens", "the prompt has 1 tokens and the answer may have 100, the context of the model 100")
	bad(`{"prompt":"`+strings.Repeat("x", 400)+`"}`, "", "the prompt has 100 tokens, the context of the model 100")
	bad(`{"prompt":"x","stream":1}`, "stream", "stream must be true or false")
	bad(`{"prompt":"x","ignore_eos":"yes"}`, "ignore_eos", "ignore_eos must be true or false")
	bad(`{"prompt":"x","stream_options":{"include_usage":true}}`, "stream_options", "stream_options can only be given when stream is true")
	bad(`{"prompt":"x","stream":true,"stream_options":true}`, "stream_options", "stream_options must be an object")
	bad(`{"prompt":"x","stream":true,"stream_options":{"include_usage":1}}`, "include_usage", "include_usage must be true or false")
	bad(`{"prompt":"x","n":2}`, "n", "n must be 1: this server makes one answer for each request")
	badChat(`{"prompt":"x"}`, "messages", "messages is missing")
	badChat(`{"messages":[]}`, "messages", "messages: must be a list of at least one message")
	badChat(`{"messages":"x"}`, "messages", "messages: must be a list of messages")
	badChat(`{"messages":[1]}`, "messages", "messages: a message must be an object")
	badChat(`{"messages":[{"content":"x"}]}`, "messages", "messages: a message has no role")
	badChat(`{"messages":[{"role":1,"content":"x"}]}`, "messages", "messages: the role of a message must be a string")
	badChat(`{"messages":[{"role":"user","content":1}]}`, "messages", "messages: the content of a message must be a string or a list of parts")
	badChat(`{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, "messages", "messages: a part of a content must be text: this server reads nothing else")
	badChat(`{"messages":[{"role":"user","content":"x"}],"max_tokens":5,"max_completion_tokens":0}`, "max_completion_tokens", "max_completion_tokens must be at least 1")
	check("/v1/completions", `{"prompt":"`+strings.Repeat("x", 1000)+`"}`, 413, "RequestEntityTooLarge", "", "the body is longer than 1000 bytes")
}

func TestWhatIsNoFault(t *testing.T) {
	t.Parallel()
	url := serve(t, Options{AnyModel: true})
	for _, body := range []string{
		`{"model":"other","prompt":"x","max_tokens":1}`,
		`{"model":null,"prompt":"x","max_tokens":1.0,"stop":["\n"],"temperature":0,"new_key":{},"stream":null,"stream_options":null}`,
		`{"prompt":[1],"prompt":"x","max_tokens":9,"max_tokens":1}`,
	} {
		status, _, b := post(t, url+"/v1/completions", body)
		if status != 200 || !strings.Contains(b, `"completion_tokens":1}`) {
			t.Errorf("%s: %d %s", body, status, b)
		}
	}
}

// A client that hangs up frees its place, over a real connection.
func TestHangingUpFreesThePlace(t *testing.T) {
	t.Parallel()
	url := serve(t, Options{MaxBatch: 1, Speed: 100})
	r, err := http.Post(url+"/v1/completions", "application/json", strings.NewReader(`{"prompt":[1],"max_tokens":100000,"ignore_eos":true,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if status, _, b := post(t, url+"/v1/completions", `{"prompt":[1],"max_tokens":1}`); status != 200 {
		t.Errorf("%d %s", status, b)
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"dialect": {Dialect: "tgi"},
		"queue":   {MaxQueue: 5},
		"times":   {Dialect: SGLang, RequestMetrics: true},
		"failing": {FailEvery: -1},
		"speed":   {Speed: -1},
		"budget":  {TokenBudget: 10},
		"batch":   {MaxBatch: -1},
		"timing":  {Timing: Timing{PerSequence: 1}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
