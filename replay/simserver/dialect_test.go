package simserver_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wattrace/replay"
	"wattrace/replay/simserver"
	"wattrace/trace"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// serve starts a fast server on a loopback port.
func serve(t testing.TB, o simserver.Options) string {
	t.Helper()
	if o.Speed == 0 {
		o.Speed = 1000
	}
	s, err := simserver.New(o)
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

// requests keeps what a replay's log would hold of its requests.
type requests []trace.Request

func (*requests) Phase(*trace.Phase, bool, trace.Time) error  { return nil }
func (*requests) Sent(int64, int64, string, trace.Time) error { return nil }
func (*requests) Clock(trace.ClockSnapshot) error             { return nil }
func (*requests) Client(*replay.Use) error                    { return nil }
func (r *requests) Request(q *trace.Request) error {
	own := *q
	own.Chunks = slices.Clone(q.Chunks)
	*r = append(*r, own)
	return nil
}

// replayed sends bodies to a server, one after another, as replay does.
func replayed(t testing.TB, url string, bodies ...string) []trace.Request {
	t.Helper()
	target, err := replay.ParseTarget(url)
	if err != nil {
		t.Fatal(err)
	}
	var turns []trace.Turn
	for _, b := range bodies {
		endpoint, err := trace.CheckPayload([]byte(b))
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		turns = append(turns, trace.Turn{Payload: []byte(b), Endpoint: endpoint})
	}
	e, err := replay.New(replay.Options{
		Turns: turns, Targets: []replay.Target{target}, Client: replay.ClientOptions{ServerMessages: true},
		Plan: trace.Plan{Phases: []trace.Phase{{Name: "p", Kind: trace.Measure, Concurrency: 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var r requests
	if _, err := e.Run(t.Context(), nil, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// line says of a request what its log line says of it: the kinds of its chunks,
// the tokens and who counted them, how it ended.
func line(q *trace.Request) string {
	var kinds strings.Builder
	for i := 0; i < len(q.Chunks); {
		n := i
		for n < len(q.Chunks) && q.Chunks[n].Kind == q.Chunks[i].Kind {
			n++
		}
		fmt.Fprintf(&kinds, "%c%d", q.Chunks[i].Kind, n-i)
		i = n
	}
	count := func(n trace.Opt[int64]) string {
		if !n.OK {
			return "?"
		}
		return fmt.Sprint(n.V)
	}
	return strings.Join(strings.Fields(fmt.Sprintf("%d %s %s+%s %s %s %s %s", q.Status.Or(0), kinds.String(),
		count(q.InputTokens), count(q.OutputTokens), q.TokenSource, q.FinishReason, q.Error.Class, q.Error.Message)), " ")
}

// asked are the requests that every dialect is asked; of a golden file each has
// a paragraph. MODEL, EXACT and USAGE stand for what the dialects need.
var asked = []struct{ name, body string }{
	{"a completion, streamed", `{MODEL"prompt":[5,6,7],"max_tokens":3,EXACT"stream":true,USAGE}`},
	{"a completion", `{MODEL"prompt":[5,6,7],"max_tokens":3}`},
	{"a chat, streamed, without usage", `{MODEL"messages":[{"role":"user","content":"Hello"}],"max_tokens":3,"stream":true}`},
	{"a chat, streamed", `{MODEL"messages":[{"role":"user","content":"Hello"}],"max_tokens":3,EXACT"stream":true,USAGE}`},
	{"a chat, streamed, with stream_options but no include_usage", `{MODEL"messages":[{"role":"user","content":"Hello"}],"max_tokens":3,"stream":true,"stream_options":{}}`},
	{"a chat, streamed, counted at every event", `{MODEL"messages":[{"role":"user","content":"Hello"}],"max_tokens":3,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`},
	{"a chat", `{MODEL"messages":[{"role":"user","content":"Hello"}],"max_tokens":3}`},
	{"a call, streamed", `{MODEL"messages":[{"role":"user","content":"Weather 227?"}],"max_tokens":500,"tools":[{"type":"function","function":{"name":"look_up"}}],"tool_choice":"required","stream":true,USAGE}`},
	{"a call", `{MODEL"messages":[{"role":"user","content":"Weather 227?"}],"max_tokens":500,"tools":[{"type":"function","function":{"name":"look_up"}}],"tool_choice":{"type":"function","function":{"name":"look_up"}}}`},
	{"a response, streamed", `{MODEL"input":"Hello","max_output_tokens":3,"stream":true}`},
	{"a response", `{MODEL"input":[{"role":"user","content":[{"type":"input_text","text":"Hello"}]}],"max_output_tokens":3}`},
	{"an unknown key", `{MODEL"prompt":[5],"max_tokens":1,"new_key":"secret"}`},
	{"ignore_eos", `{MODEL"prompt":[5],"max_tokens":1,"ignore_eos":true}`},
	{"no model", `{"prompt":[5],"max_tokens":1}`},
	{"another model", `{"model":"other","prompt":[5],"max_tokens":1}`},
	{"a number that is none", `{MODEL"prompt":[5],"max_tokens":"many"}`},
	{"more tokens than fit", `{MODEL"prompt":[5],"max_tokens":600}`},
	{"a prompt that does not fit", `{MODEL"prompt":"` + strings.Repeat("secret. ", 300) + `"}`},
}

func bodyFor(d simserver.Dialect, body string) string {
	exact, usage := `"ignore_eos":true,`, `"stream_options":{"include_usage":true}`
	if d == simserver.OpenAI {
		exact, usage = "", `"stream_options":{"include_usage":true,"include_obfuscation":false}`
	}
	return strings.NewReplacer("MODEL", `"model":"m",`, "EXACT", exact, "USAGE", usage).Replace(body)
}

// blank hides what differs from run to run.
var blank = regexp.MustCompile(`"created(_at)?":\d+|[0-9a-f]{24,32}`)

func hide(s string) string {
	return blank.ReplaceAllStringFunc(s, func(m string) string {
		if name, _, ok := strings.Cut(m, ":"); ok {
			return name + ":0"
		}
		return "ID"
	})
}

// TestShapes compares every byte of what each dialect answers, and what replay
// makes of it, with a golden file.
func TestShapes(t *testing.T) {
	t.Parallel()
	for _, d := range simserver.Dialects() {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			options := simserver.Options{Model: "m", Dialect: d, Seed: 1, MaxContext: 512}
			plain := serve(t, options)
			options.ReasoningTokens = 2
			thoughtful := serve(t, options)
			var b strings.Builder
			show := func(url, name, body string) {
				q := replayed(t, url, body)
				fmt.Fprintf(&b, "== %s\n%s\n-- %s\n", name, shorten(body), line(&q[0]))
				endpoint, _ := trace.CheckPayload([]byte(body))
				r, err := http.Post(url+string(endpoint), "application/json", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				defer r.Body.Close()
				answer, _ := io.ReadAll(r.Body)
				fmt.Fprintf(&b, "%s\n%s\n", r.Header.Get("Content-Type"), strings.TrimRight(hide(shorten(string(answer))), "\n"))
			}
			for _, a := range asked {
				show(plain, a.name, bodyFor(d, a.body))
			}
			for _, a := range asked {
				if strings.HasPrefix(a.name, "a chat, streamed,") || !strings.Contains(a.body, `"messages"`) && !strings.Contains(a.body, `"input"`) {
					continue
				}
				body := strings.ReplaceAll(strings.ReplaceAll(a.body, "tokens\":3", "tokens\":4"), `"max_tokens":500`, `"max_tokens":6`)
				show(thoughtful, a.name+", with reasoning", bodyFor(d, body))
			}
			golden(t, string(d)+".txt", b.String())
		})
	}
}

// shorten leaves out most of what is repeated.
func shorten(s string) string {
	return strings.ReplaceAll(s, strings.Repeat("secret. ", 300), "secret...")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o777), os.WriteFile(path, []byte(got), 0o666)); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got)\n%s", path, diff)
	}
}

const (
	streamedChat = `{"model":"m","messages":[{"role":"user","content":"Hello"}],"max_tokens":4,"stream":true}`
	wholeChat    = `{"model":"m","messages":[{"role":"user","content":"Hello"}],"max_tokens":4}`
	response     = `{"model":"m","input":"Hello","max_output_tokens":4,"stream":true}`
)

// TestEngineFailures checks what each dialect makes of an engine that fails, as
// replay sees it: every second request, the others as if nothing had been.
func TestEngineFailures(t *testing.T) {
	t.Parallel()
	for d, want := range map[simserver.Dialect][]string{
		simserver.VLLM: {
			"200 r1c3e1d1 ?+3 chunks sse_error the server sent an error in the stream, InternalServerError, 500: the simulated engine failed, as it was told to",
			"500 ?+? http_5xx status 500, InternalServerError, 500: the simulated engine failed, as it was told to",
		},
		simserver.SGLang: {
			"200 r1c3e1d1 ?+3 chunks sse_error the server sent an error in the stream, INTERNAL_SERVER_ERROR, 500: Internal server error: the simulated engine failed, as it was told to",
			"500 ?+? http_5xx status 500, InternalServerError, 500: Internal server error: the simulated engine failed, as it was told to",
		},
		simserver.TRTLLM: {
			"200 r1c3 ?+3 chunks sse_truncated the stream broke off: the server closed the connection",
			"400 ?+? http_4xx status 400, BadRequestError, 400: the simulated engine failed, as it was told to",
		},
		simserver.OpenAI: {
			"200 r1c3e1 ?+3 chunks sse_error the server sent an error in the stream, server_error: The server had an error while processing your request, as it was told to.",
			"500 ?+? http_5xx status 500, server_error: The server had an error while processing your request, as it was told to.",
		},
	} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			url := serve(t, simserver.Options{Model: "m", Dialect: d, Seed: 1, FailEvery: 2})
			got := replayed(t, url, streamedChat, streamedChat, wholeChat, wholeChat, response, response)
			for i := range got {
				if i%2 == 0 && got[i].Outcome != trace.Succeeded {
					t.Errorf("request %d: %s", i, line(&got[i]))
				}
			}
			if diff := cmp.Diff(want, []string{line(&got[1]), line(&got[3])}); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			wantClass := trace.ErrSSEEvent
			if d == simserver.TRTLLM {
				wantClass = trace.ErrSSETruncated
			}
			if got[5].Error.Class != wantClass || got[5].OutputTokens != trace.Some(int64(3)) {
				t.Errorf("response: %s", line(&got[5]))
			}
		})
	}
}

// TestFullQueue takes the one place and the one seat before it, and asks once
// more. Those that have them do not notice.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	for d, want := range map[simserver.Dialect][]string{
		simserver.SGLang: {
			"200 e1d1 ?+0 chunks sse_error the server sent an error in the stream, SERVICE_UNAVAILABLE, 503: The request queue is full.",
			"503 ?+? http_5xx status 503, ServiceUnavailable, 503: The request queue is full.",
		},
		simserver.OpenAI: {
			"429 ?+? http_429 status 429, requests, rate_limit_exceeded: Rate limit reached: the queue of the simulated server is full.",
			"429 ?+? http_429 status 429, requests, rate_limit_exceeded: Rate limit reached: the queue of the simulated server is full.",
		},
	} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			steps := make(chan simserver.Step, 1<<16)
			// The first step takes as long as the test: nothing leaves.
			slow := simserver.Timing{Base: 3 * time.Second}
			url := serve(t, simserver.Options{
				Model: "m", Dialect: d, Seed: 1, MaxBatch: 1, TokenBudget: 100, MaxQueue: 1, Speed: 1, Timing: slow,
				OnStep: func(s simserver.Step) { steps <- s },
			})
			answers := make(chan trace.Request, 3)
			ask := func() { answers <- replayed(t, url, strings.Replace(streamedChat, ":4,", ":1,", 1))[0] }
			go ask()
			<-steps // it runs
			go ask()
			go ask()
			// Of those two one waits, and the other is refused while it does.
			refused := <-answers
			got := []string{line(&refused), line(&replayed(t, url, wholeChat)[0])}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			r, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(wholeChat))
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			if after := r.Header.Get("Retry-After"); (d == simserver.OpenAI) != (after == "1") {
				t.Errorf("Retry-After %q", after)
			}
			for range 2 {
				if q := <-answers; q.Outcome != trace.Succeeded {
					t.Errorf("one that was not refused: %s", line(&q))
				}
			}
		})
	}
}

func get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// TestPages checks which pages each dialect has, and that what they say of the
// load agrees with what the requests' usage said.
func TestPages(t *testing.T) {
	t.Parallel()
	const all = "/health /version /server_info /v1/models /metrics /prometheus/metrics /perf_metrics /energy_metrics"
	for d, want := range map[simserver.Dialect]struct{ pages, metrics, has string }{
		simserver.VLLM: {"/health /version /v1/models /metrics", "/metrics",
			`vllm:num_requests_running{engine="0",model_name="m"} 0|vllm:num_requests_waiting{engine="0",model_name="m"} 0|vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0|` +
				`vllm:prompt_tokens_total{engine="0",model_name="m"} 18|vllm:generation_tokens_total{engine="0",model_name="m"} 8|` +
				`vllm:request_success_total{engine="0",model_name="m",finished_reason="length"} 2|vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} 2`},
		simserver.SGLang: {"/health /server_info /v1/models /metrics", "/metrics",
			`sglang:num_running_reqs{model_name="m"} 0|sglang:num_queue_reqs{model_name="m"} 0|sglang:token_usage{model_name="m"} 0|sglang:num_used_tokens{model_name="m"} 0|` +
				`sglang:prompt_tokens_total{model_name="m"} 18|sglang:generation_tokens_total{model_name="m"} 8`},
		simserver.TRTLLM: {"/health /version /v1/models /metrics /prometheus/metrics /perf_metrics /energy_metrics", "/prometheus/metrics",
			`trtllm_request_success_total{engine_type="undefined",model_name="undefined",finished_reason="length"} 2|trtllm_kv_cache_utilization{engine_type="undefined",model_name="undefined"} 0|` +
				`trtllm_num_requests_running{engine_type="undefined",model_name="undefined"} 0|trtllm_num_requests_waiting{engine_type="undefined",model_name="undefined"} 0|` +
				`trtllm_prompt_tokens_total{engine_type="undefined",model_name="undefined"} 18|trtllm_generation_tokens_total{engine_type="undefined",model_name="undefined"} 8`},
		simserver.OpenAI: {"/v1/models", "/v1/models", `"id":"m"`},
	} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			o := simserver.Options{Model: "m", Dialect: d, Seed: 1, RequestMetrics: d == simserver.TRTLLM, Energy: func() float64 { return 12.5 }}
			rest := make(chan bool, 100)
			o.OnStep = func(s simserver.Step) {
				if s.Rest() {
					rest <- true
				}
			}
			url := serve(t, o)
			q := replayed(t, url, streamedChat, wholeChat)
			for range q {
				<-rest // the pages show what the last step left
			}
			var pages []string
			for _, path := range strings.Fields(all) {
				if status, _ := get(t, url+path); status == 200 {
					pages = append(pages, path)
				}
			}
			if got := strings.Join(pages, " "); got != want.pages {
				t.Errorf("pages %s", got)
			}
			_, page := get(t, url+want.metrics)
			for _, text := range strings.Split(want.has, "|") {
				if !strings.Contains(page, text) {
					t.Errorf("%s lacks %s:\n%s", want.metrics, text, page)
				}
			}
		})
	}
}

// TestTimesOfRequests checks that the times that servers give agree with each
// other and with the timing: 10 ms a step, no wait in the queue.
func TestTimesOfRequests(t *testing.T) {
	t.Parallel()
	timing := simserver.Timing{Base: 10 * time.Millisecond}
	numbers := func(t *testing.T, s string, names ...string) (all []float64) {
		t.Helper()
		for _, name := range names {
			m := regexp.MustCompile(`"` + name + `":([0-9.]+)`).FindStringSubmatch(s)
			if m == nil {
				t.Fatalf("no %s in %s", name, s)
			}
			v, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, v)
		}
		return all
	}
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-3*max(1, b) }
	ask := func(t *testing.T, url, path, body string) string {
		t.Helper()
		r, err := http.Post(url+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return string(b)
	}
	const chat = "/v1/chat/completions"
	t.Run("vllm", func(t *testing.T) {
		t.Parallel()
		url := serve(t, simserver.Options{Model: "m", RequestMetrics: true, Speed: 1, Timing: timing})
		withUsage := strings.Replace(streamedChat, `"stream"`, `"stream_options":{"include_usage":true},"stream"`, 1)
		for _, body := range []string{wholeChat, streamedChat, withUsage} {
			answer := ask(t, url, chat, body)
			if strings.Count(answer, `"metrics":{`) != 1 {
				t.Errorf("not once in %s", answer)
			}
			v := numbers(t, answer, "time_to_first_token_ms", "generation_time_ms", "queue_time_ms", "mean_itl_ms", "tokens_per_second")
			if v[0] < 10 || !near(v[1], 30) || !near(v[3], 10) || !near(v[4], 100) || !near(v[0], v[2]+10) {
				t.Errorf("times %v", v)
			}
		}
	})
	t.Run("sglang", func(t *testing.T) {
		t.Parallel()
		url := serve(t, simserver.Options{Model: "m", Dialect: simserver.SGLang, Speed: 1, Timing: timing})
		answer := ask(t, url, chat, strings.Replace(wholeChat, "}]", `}],"return_meta_info":true`, 1))
		if v := numbers(t, answer, "e2e_latency", "prompt_tokens", "completion_tokens"); v[0] < 0.04 || v[1] != 9 || v[2] != 4 {
			t.Errorf("%v", v)
		}
		answer = ask(t, url, "/generate", `{"input_ids":[1,2,3],"sampling_params":{"max_new_tokens":2,"ignore_eos":true}}`)
		if v := numbers(t, answer, "e2e_latency", "prompt_tokens", "completion_tokens"); v[0] < 0.02 || v[1] != 3 || v[2] != 2 || !strings.Contains(answer, `"finish_reason":{"type":"length","length":2}`) {
			t.Errorf("%v %s", v, answer)
		}
		answer = ask(t, url, "/generate", `{"text":"Hello","stream":true,"sampling_params":{"max_new_tokens":2}}`)
		if !strings.HasSuffix(answer, "data: [DONE]\n\n") || strings.Count(answer, "data: {\"text\":") != 2 || strings.Count(answer, `"finish_reason":null`) != 1 {
			t.Errorf("%s", answer)
		}
	})
	t.Run("trtllm", func(t *testing.T) {
		t.Parallel()
		url := serve(t, simserver.Options{Model: "m", Dialect: simserver.TRTLLM, RequestMetrics: true, Speed: 1, Timing: timing})
		ask(t, url, chat, wholeChat)
		_, page := get(t, url+"/perf_metrics")
		v := numbers(t, page, "arrival_time", "first_scheduled_time", "first_token_time", "last_token_time")
		if v[0] > v[1] || !near(v[2]-v[1], 0.01) || !near(v[3]-v[2], 0.03) || strings.Count(page, "request_id") != 1 {
			t.Errorf("%v %s", v, page)
		}
		if _, page = get(t, url+"/perf_metrics"); page != "[]" {
			t.Errorf("they are told twice: %s", page)
		}
		if _, page = get(t, url+"/metrics"); strings.Count(page, `"iter":`) != 4 {
			t.Errorf("4 steps, and the page says %s", page)
		}
		if _, page = get(t, url+"/metrics"); page != "[]" {
			t.Errorf("steps are told twice: %s", page)
		}
	})
}

// TestHealthEndsWithTheServer checks that a server that does no work any more
// says so.
func TestHealthEndsWithTheServer(t *testing.T) {
	t.Parallel()
	for _, d := range []simserver.Dialect{simserver.VLLM, simserver.SGLang, simserver.TRTLLM} {
		s, err := simserver.New(simserver.Options{Dialect: d})
		if err != nil {
			t.Fatal(err)
		}
		health := func() int {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/health", nil))
			return w.Code
		}
		before := health()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		s.Run(ended)
		if after := health(); before != 200 || after != http.StatusServiceUnavailable {
			t.Errorf("%s: %d, then %d", d, before, after)
		}
	}
}

// TestPadding checks that OpenAI's events are padded to different lengths unless
// that is declined, and that replay reads them all the same.
func TestPadding(t *testing.T) {
	t.Parallel()
	url := serve(t, simserver.Options{Model: "m", Dialect: simserver.OpenAI, Seed: 1})
	const declined = `"stream_options":{"include_obfuscation":false},"stream"`
	for body, want := range map[string]bool{streamedChat: true, strings.Replace(streamedChat, `"stream"`, declined, 1): false} {
		if q := replayed(t, url, body); line(&q[0]) != "200 r1c4f1d1 ?+4 chunks length" {
			t.Error(line(&q[0]))
		}
		r, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		lengths := map[int]bool{}
		for _, m := range regexp.MustCompile(`"obfuscation":"([^"]*)"`).FindAllSubmatch(b, -1) {
			lengths[len(m[1])] = true
		}
		if got := len(lengths) > 1; got != want {
			t.Errorf("%s: lengths %v", body, lengths)
		}
	}
}
