package simserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"wattrace/trace"
)

// Server is a simulated LLM server. It answers only while Run runs: requests
// that come before wait for it.
type Server struct {
	opt       Options
	spell     dialect
	scheduler *scheduler
	mux       *http.ServeMux
	started   time.Time
	model     []byte // name as a JSON string
	answers   atomic.Uint64
}

var _ http.Handler = (*Server)(nil)

// New returns a server.
func New(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		opt: o, spell: dialects[o.Dialect], scheduler: newScheduler(o), mux: http.NewServeMux(),
		started: time.Now(), model: appendJSONString(nil, o.Model),
	}
	for _, e := range []trace.Endpoint{trace.Completions, trace.Chat, trace.Responses} {
		s.mux.HandleFunc("POST "+string(e), func(w http.ResponseWriter, r *http.Request) { s.complete(w, r, e) })
	}
	s.mux.HandleFunc("GET /v1/models", s.models)
	for pattern, handle := range s.spell.rules().routes {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { handle(s, w, r) })
	}
	return s, nil
}

// Model returns the name of the model.
func (s *Server) Model() string { return s.opt.Model }

// Run does the server's work until the context ends. Then every answer under
// way breaks off: a streamed one loses its connection, another is a 503. It
// must be called once.
func (s *Server) Run(ctx context.Context) { s.scheduler.run(ctx) }

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(s.spell.models(nil, &s.opt, s.started.Unix()))
}

// health: an engine that does not work any more is 503.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	select {
	case <-s.scheduler.stopped:
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
	}
}

// simulatedVersion is no version of a server: it says what it is.
const simulatedVersion = "0.0.0+wattrace.simulated"

func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, []byte(`{"version":"`+simulatedVersion+`"}`))
}

// serverInfo is SGLang's page of its arguments, of which there are few here.
func (s *Server) serverInfo(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, fmt.Appendf(nil, `{"model_path":%s,"served_model_name":%s,"context_length":%d,"max_running_requests":%d,"version":"%s"}`,
		s.model, s.model, s.opt.MaxContext, s.opt.MaxBatch, simulatedVersion))
}

// readBody reads the body of a request; not ok: it has answered.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) (data []byte, ok bool) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.opt.MaxBody))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		s.fault(w, &apiError{
			status: http.StatusRequestEntityTooLarge, kind: "RequestEntityTooLarge",
			message: fmt.Sprintf("the body is longer than %d bytes", s.opt.MaxBody),
		})
		return nil, false
	case err != nil: // the client is gone, or has sent something that is no body
		s.fault(w, badRequest("", "the body ends early"))
		return nil, false
	}
	return data, true
}

func (s *Server) complete(w http.ResponseWriter, r *http.Request, endpoint trace.Endpoint) {
	data, ok := s.readBody(w, r)
	if !ok {
		return
	}
	req, fault := s.opt.read(data, endpoint)
	if fault != nil {
		s.fault(w, fault)
		return
	}
	s.serve(w, r, req)
}

// serve queues a request and answers it.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, req *request) {
	seq := newSequence(req.promptTokens, req.outputTokens)
	switch ok, full := s.scheduler.submit(seq); {
	case full:
		s.refuse(w, req)
		return
	case !ok:
		s.fault(w, errEnding)
		return
	}
	a := s.answer(req, seq)
	if req.stream {
		s.stream(w, r, a)
	} else {
		s.whole(w, r, a)
	}
}

// refuse answers a request that the queue has no place for.
func (s *Server) refuse(w http.ResponseWriter, req *request) {
	rules := s.spell.rules()
	if rules.fullEvent && req.stream {
		w.Header().Set("Content-Type", eventStream)
		w.Write(append(s.failure(nil, rules.full), done...))
		return
	}
	if rules.full.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	s.fault(w, rules.full)
}

// failure appends the event of an error.
func (s *Server) failure(b []byte, e *apiError) []byte {
	inside := *e
	inside.inStream = true
	return append(s.spell.fault(append(b, "data: "...), &inside), "\n\n"...)
}

const (
	eventStream = "text/event-stream; charset=utf-8"
	done        = "data: [DONE]\n\n"
)

var errEnding = &apiError{status: http.StatusServiceUnavailable, kind: "ServiceUnavailableError", message: "the server is shutting down"}

func (s *Server) fault(w http.ResponseWriter, e *apiError) {
	writeJSON(w, e.status, s.spell.fault(nil, e))
}

func writeJSON(w http.ResponseWriter, status int, b []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b)
}

// answer begins an answer: its identity follows from the seed and its number.
func (s *Server) answer(req *request, seq *sequence) *answer {
	n := s.answers.Add(1)
	rules := s.spell.rules()
	prefix := map[trace.Endpoint]string{trace.Completions: "cmpl-", trace.Chat: "chatcmpl-"}[req.endpoint]
	if rules.plainIDs {
		prefix = ""
	}
	model := s.model
	if rules.anyModel {
		model = appendJSONString(nil, cmp.Or(req.model, rules.unnamed))
	}
	return &answer{
		request: req, created: time.Now().Unix(), model: model, opt: &s.opt, seq: seq, number: n,
		fails: s.opt.FailEvery > 0 && n%uint64(s.opt.FailEvery) == 0,
		id:    fmt.Sprintf("%s%016x%016x", prefix, mix(s.opt.Seed^n), mix(mix(s.opt.Seed)+n)),
	}
}

// whole waits for the last token and answers at once.
func (s *Server) whole(w http.ResponseWriter, r *http.Request, a *answer) {
	for !a.seq.done() {
		select {
		case <-a.seq.more:
		case <-r.Context().Done():
			a.seq.cancelled.Store(true)
			return
		case <-s.scheduler.stopped:
			if !a.seq.done() {
				s.fault(w, errEnding)
				return
			}
		}
	}
	if a.fails {
		s.fault(w, s.spell.rules().broken)
		return
	}
	s.count(a)
	switch {
	case a.native:
		writeJSON(w, http.StatusOK, sglang{}.native(nil, a, a.outputTokens))
	case a.endpoint == trace.Responses:
		writeJSON(w, http.StatusOK, []byte(responses{s.opt.Dialect}.whole(a)))
	default:
		writeJSON(w, http.StatusOK, s.spell.whole(nil, a))
	}
}

// count adds an answer that is whole to the statistics. A call counts as what
// ended its text.
func (s *Server) count(a *answer) {
	reason := "length"
	if a.ends {
		reason = "stop"
	}
	s.scheduler.stats.done(a.number, reason, a.promptTokens, a.outputTokens, a.seq.stamps)
}

// stream sends each token when it is there. Tokens that came while the last
// ones were written go out in one write, each as an event of its own.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, a *answer) {
	seq := a.seq
	defer seq.cancelled.Store(true) // whatever ends it; after the last token it means nothing
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", eventStream)
	w.WriteHeader(http.StatusOK)
	if out.Flush() != nil {
		return
	}
	var b []byte
	for sent := 0; sent < a.outputTokens; {
		select {
		case <-seq.more:
		case <-r.Context().Done():
			return
		case <-s.scheduler.stopped:
			if !seq.done() {
				panic(http.ErrAbortHandler) // a stream that does not end is cut
			}
		}
		b = b[:0]
		for made := int(seq.made.Load()); sent < made; sent++ {
			b = s.event(b, a, sent)
		}
		if len(b) > 0 { // else it had gone out with the one before, or shows nothing
			if _, err := w.Write(b); err != nil || out.Flush() != nil {
				return
			}
		}
	}
	if a.fails && s.spell.rules().cut {
		panic(http.ErrAbortHandler)
	}
}

// event appends a token and what comes with the first and the last one.
func (s *Server) event(b []byte, a *answer, i int) []byte {
	if i == 0 && a.endpoint == trace.Chat {
		b = s.spell.role(b, a)
	}
	if a.fails && a.last(i) {
		return s.breakOff(b, a)
	}
	switch {
	case a.native:
		b = sglang{}.nativeToken(b, a, i)
	case a.endpoint == trace.Responses:
		b = responses{s.opt.Dialect}.token(b, a, i)
	default:
		b = s.spell.token(b, a, i)
	}
	if !a.last(i) {
		return b
	}
	s.count(a)
	if a.endpoint == trace.Responses {
		return responses{s.opt.Dialect}.end(b, a)
	}
	if !a.native {
		b = s.spell.finish(b, a)
	}
	if a.request.usage {
		b = s.spell.usage(b, a)
	}
	return append(b, done...)
}

// breakOff appends what a stream that fails ends with.
func (s *Server) breakOff(b []byte, a *answer) []byte {
	rules := s.spell.rules()
	switch {
	case rules.cut:
		return b
	case a.endpoint == trace.Responses:
		return responses{s.opt.Dialect}.failed(b, a)
	case rules.stops:
		return s.failure(b, rules.broken)
	}
	return append(s.failure(b, rules.broken), done...)
}
