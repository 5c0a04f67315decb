package simserver

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"wattrace/trace"
)

// cacheTokens is how many tokens the key-value cache has room for: 60 GiB at 128
// KiB a token. Nothing is refused for want of it; it is what the gauge of its
// use is a part of.
const cacheTokens = 491_520

// kept is how many iterations, and how many requests, wait to be asked for.
const kept = 1000

// stats is what the pages of metrics show.
type stats struct {
	mu               sync.Mutex
	running, waiting int
	held             int64 // tokens in the cache
	prompt, output   int64
	finished         map[string]int64 // by reason

	endedPrompt, endedOutput int64 // tokens of the requests that have ended

	firstToken, endToEnd, queue, prefill, decode histogram

	steps    []iteration
	number   int64
	requests []perf
}

// iteration is a step as TensorRT-LLM reports it.
type iteration struct {
	number                         int64
	start                          trace.Time
	took                           time.Duration
	running, waiting, made, prompt int
}

// perf is a request as TensorRT-LLM reports it.
type perf struct {
	number uint64
	stamps stamps
}

func newStats() *stats { return &stats{finished: map[string]int64{}} }

func (s *stats) step(step Step, held int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.waiting, s.held = step.Running, step.Waiting, held
	if step.Rest() {
		return
	}
	s.prompt += int64(step.PrefillTokens)
	s.number++
	s.steps = append(s.steps[max(0, len(s.steps)-kept+1):], iteration{
		number: s.number, start: step.Start, took: step.End.Sub(step.Start), running: step.Running, waiting: step.Waiting,
		made: step.DecodeTokens, prompt: step.PrefillTokens,
	})
}

// made adds tokens of answers.
func (s *stats) made(tokens int, held int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.output += int64(tokens)
	s.held = held
}

// done adds a request that has all its tokens.
func (s *stats) done(number uint64, reason string, prompt, output int, t stamps) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endedPrompt += int64(prompt)
	s.endedOutput += int64(output)
	s.finished[reason]++
	s.firstToken.add(t.firstToken.Sub(t.arrival))
	s.endToEnd.add(t.lastToken.Sub(t.arrival))
	s.queue.add(t.scheduled.Sub(t.arrival))
	s.prefill.add(t.firstToken.Sub(t.scheduled))
	s.decode.add(t.lastToken.Sub(t.firstToken))
	s.requests = append(s.requests[max(0, len(s.requests)-kept+1):], perf{number, t})
}

// bounds are the upper bounds of a histogram's buckets, in seconds. They are
// ours; a reader must not rely on a server's.
var bounds = [...]float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300}

type histogram struct {
	counts [len(bounds)]int64
	count  int64
	sum    float64
}

func (h *histogram) add(d time.Duration) {
	s := max(d.Seconds(), 0) // a step may have begun before the request that it takes came
	h.count++
	h.sum += s
	for i, bound := range bounds {
		if s <= bound {
			h.counts[i]++
		}
	}
}

// page is a page in the text format of Prometheus.
type page struct {
	b      []byte
	labels string
}

func (p *page) head(name, kind string) {
	p.b = fmt.Appendf(p.b, "# HELP %s Simulated.\n# TYPE %s %s\n", name, name, kind)
}

func (p *page) line(name, more string, v float64) {
	labels := p.labels
	if more != "" {
		labels += "," + more
	}
	p.b = fmt.Appendf(p.b, "%s{%s} %v\n", name, labels, v)
}

func (p *page) gauge(name string, v float64) {
	p.head(name, "gauge")
	p.line(name, "", v)
}

func (p *page) counter(name string, v int64) {
	p.head(name, "counter")
	p.line(name, "", float64(v))
}

func (p *page) reasons(name, label string, by map[string]int64) {
	p.head(name, "counter")
	for _, reason := range []string{"stop", "length"} {
		p.line(name, fmt.Sprintf("%s=%q", label, reason), float64(by[reason]))
	}
}

func (p *page) histogram(name string, h *histogram) {
	p.head(name, "histogram")
	for i, bound := range bounds {
		p.line(name+"_bucket", fmt.Sprintf(`le="%v"`, bound), float64(h.counts[i]))
	}
	p.line(name+"_bucket", `le="+Inf"`, float64(h.count))
	p.line(name+"_count", "", float64(h.count))
	p.line(name+"_sum", "", h.sum)
}

// metricsPage answers with what fill writes, while nothing changes.
func (s *Server) metricsPage(w http.ResponseWriter, labels string, fill func(p *page, st *stats)) {
	p := &page{labels: labels}
	st := s.scheduler.stats
	st.mu.Lock()
	fill(p, st)
	st.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Write(p.b)
}

func (st *stats) use() float64 { return min(float64(st.held)/cacheTokens, 1) }

// vllmMetrics has the names of vLLM V1 (docs/design/metrics.md):
// kv_cache_usage_perc was gpu_cache_usage_perc before.
func (s *Server) vllmMetrics(w http.ResponseWriter, _ *http.Request) {
	s.metricsPage(w, fmt.Sprintf(`engine="0",model_name=%q`, s.opt.Model), func(p *page, st *stats) {
		p.gauge("vllm:num_requests_running", float64(st.running))
		p.gauge("vllm:num_requests_waiting", float64(st.waiting))
		p.gauge("vllm:kv_cache_usage_perc", st.use())
		p.counter("vllm:prefix_cache_queries_total", st.prompt)
		p.counter("vllm:prefix_cache_hits_total", 0)
		p.counter("vllm:num_preemptions_total", 0)
		p.counter("vllm:prompt_tokens_total", st.prompt)
		p.counter("vllm:generation_tokens_total", st.output)
		p.reasons("vllm:request_success_total", "finished_reason", st.finished)
		p.histogram("vllm:time_to_first_token_seconds", &st.firstToken)
		p.histogram("vllm:e2e_request_latency_seconds", &st.endToEnd)
		p.histogram("vllm:request_queue_time_seconds", &st.queue)
		p.histogram("vllm:request_prefill_time_seconds", &st.prefill)
		p.histogram("vllm:request_decode_time_seconds", &st.decode)
	})
}

// sglangMetrics has the names of SGLang with --enable-metrics, which counts tokens
// when their request has ended (metrics/collector.py, observe_one_finished_request; K).
func (s *Server) sglangMetrics(w http.ResponseWriter, _ *http.Request) {
	s.metricsPage(w, fmt.Sprintf(`model_name=%q`, s.opt.Model), func(p *page, st *stats) {
		p.gauge("sglang:num_running_reqs", float64(st.running))
		p.gauge("sglang:num_queue_reqs", float64(st.waiting))
		p.gauge("sglang:num_used_tokens", float64(st.held))
		p.gauge("sglang:token_usage", st.use())
		p.gauge("sglang:cache_hit_rate", 0)
		p.gauge("sglang:gen_throughput", st.throughput())
		p.counter("sglang:prompt_tokens_total", st.endedPrompt)
		p.counter("sglang:generation_tokens_total", st.endedOutput)
		p.histogram("sglang:time_to_first_token_seconds", &st.firstToken)
		p.histogram("sglang:e2e_request_latency_seconds", &st.endToEnd)
	})
}

// throughput is how many tokens a second the last step made, none at rest.
func (st *stats) throughput() float64 {
	if st.running == 0 || len(st.steps) == 0 {
		return 0
	}
	last := st.steps[len(st.steps)-1]
	return float64(last.made) / last.took.Seconds()
}

// trtllmMetrics has the names of trtllm-serve's /prometheus/metrics, which is
// there with return_perf_metrics (openai_server.py, mount_metrics; names: metrics/collector.py).
// It counts tokens when their request has ended.
func (s *Server) trtllmMetrics(w http.ResponseWriter, r *http.Request) {
	if !s.opt.RequestMetrics {
		http.NotFound(w, r)
		return
	}
	s.metricsPage(w, fmt.Sprintf(`engine_type="undefined",model_name=%q`, "undefined"), func(p *page, st *stats) {
		p.reasons("trtllm_request_success_total", "finished_reason", st.finished)
		p.histogram("trtllm_e2e_request_latency_seconds", &st.endToEnd)
		p.histogram("trtllm_time_to_first_token_seconds", &st.firstToken)
		p.histogram("trtllm_request_queue_time_seconds", &st.queue)
		p.counter("trtllm_prompt_tokens_total", st.endedPrompt)
		p.counter("trtllm_generation_tokens_total", st.endedOutput)
		p.gauge("trtllm_num_requests_running", float64(st.running))
		p.gauge("trtllm_num_requests_waiting", float64(st.waiting))
		p.gauge("trtllm_kv_cache_hit_rate", 0)
		p.gauge("trtllm_kv_cache_utilization", st.use())
	})
}

// iterations is trtllm-serve's /metrics: the steps since it was last asked, as
// JSON (openai_server.py, get_iteration_stats).
func (s *Server) iterations(w http.ResponseWriter, _ *http.Request) {
	st := s.scheduler.stats
	st.mu.Lock()
	b := []byte("[")
	for i, it := range st.steps {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"iter":%d,"iterLatencyMS":%.3f,"numActiveRequests":%d,"numQueuedRequests":%d,"maxNumActiveRequests":%d,"inflightBatchingStats":{"numContextRequests":0,"numCtxTokens":%d,"numGenRequests":%d,"numScheduledRequests":%d},"kvCacheStats":{"usedNumBlocks":%d,"maxNumBlocks":%d,"tokensPerBlock":32}}`,
			it.number, float64(it.took.Nanoseconds())/1e6, it.running, it.waiting, s.opt.MaxBatch, it.prompt, it.made, it.running, (st.held+31)/32, cacheTokens/32)
	}
	st.steps = st.steps[:0]
	st.mu.Unlock()
	writeJSON(w, http.StatusOK, append(b, ']'))
}

// energyMetrics is trtllm-serve's /energy_metrics, which is there with
// enable_energy_metrics: joules since its monitor began (openai_server.py,
// get_energy_metrics).
func (s *Server) energyMetrics(w http.ResponseWriter, _ *http.Request) {
	if s.opt.Energy == nil {
		writeJSON(w, http.StatusServiceUnavailable, []byte(`{"error":"Energy monitoring is not available"}`))
		return
	}
	writeJSON(w, http.StatusOK, fmt.Appendf(nil, `{"total_energy_j":%.4f,"query_time":%.9f}`, s.opt.Energy(), time.Since(s.started).Seconds()))
}

// perfMetrics is trtllm-serve's /perf_metrics: the requests since it was last
// asked, in seconds of a steady clock; empty without return_perf_metrics
// (openai_server.py, get_perf_metrics).
func (s *Server) perfMetrics(w http.ResponseWriter, _ *http.Request) {
	st := s.scheduler.stats
	st.mu.Lock()
	b := []byte("[")
	for i, q := range st.requests {
		if !s.opt.RequestMetrics {
			break
		}
		if i > 0 {
			b = append(b, ',')
		}
		t := q.stamps
		b = fmt.Appendf(b, `{"request_id":%d,"server_arrival_time":%.9f,"server_first_token_time":%.9f,"perf_metrics":{"first_iter":0,"last_iter":0,"timing_metrics":{"arrival_time":%.9f,"first_scheduled_time":%.9f,"first_token_time":%.9f,"last_token_time":%.9f},"kv_cache_metrics":{"num_total_allocated_blocks":0,"num_new_allocated_blocks":0,"num_reused_blocks":0,"num_missed_blocks":0}}}`,
			q.number, t.arrival.Seconds(), t.firstToken.Seconds(), t.arrival.Seconds(), t.scheduled.Seconds(), t.firstToken.Seconds(), t.lastToken.Seconds())
	}
	st.requests = st.requests[:0]
	st.mu.Unlock()
	writeJSON(w, http.StatusOK, append(b, ']'))
}
