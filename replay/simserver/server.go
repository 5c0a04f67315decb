package simserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
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
	s.mux.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, r *http.Request) { s.complete(w, r, false) })
	s.mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) { s.complete(w, r, true) })
	s.mux.HandleFunc("GET /v1/models", s.models)
	s.mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
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

func (s *Server) complete(w http.ResponseWriter, r *http.Request, chat bool) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.opt.MaxBody))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		s.fault(w, &apiError{
			http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "",
			fmt.Sprintf("the body is longer than %d bytes", s.opt.MaxBody),
		})
		return
	case err != nil: // the client is gone, or has sent something that is no body
		s.fault(w, badRequest("", "the body ends early"))
		return
	}
	req, fault := s.opt.read(data, chat)
	if fault != nil {
		s.fault(w, fault)
		return
	}
	seq := newSequence(req.promptTokens, req.outputTokens)
	if !s.scheduler.submit(seq) {
		s.fault(w, errEnding)
		return
	}
	a := s.answer(req)
	if req.stream {
		s.stream(w, r, a, seq)
	} else {
		s.whole(w, r, a, seq)
	}
}

var errEnding = &apiError{http.StatusServiceUnavailable, "ServiceUnavailableError", "", "the server is shutting down"}

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
func (s *Server) answer(req *request) *answer {
	n := s.answers.Add(1)
	prefix := "cmpl-"
	if req.chat {
		prefix = "chatcmpl-"
	}
	return &answer{
		request: req, created: time.Now().Unix(), model: s.model,
		id: fmt.Sprintf("%s%016x%016x", prefix, mix(s.opt.Seed^n), mix(mix(s.opt.Seed)+n)),
	}
}

// whole waits for the last token and answers at once.
func (s *Server) whole(w http.ResponseWriter, r *http.Request, a *answer, seq *sequence) {
	for !seq.done() {
		select {
		case <-seq.more:
		case <-r.Context().Done():
			seq.cancelled.Store(true)
			return
		case <-s.scheduler.stopped:
			if !seq.done() {
				s.fault(w, errEnding)
				return
			}
		}
	}
	writeJSON(w, http.StatusOK, s.spell.whole(nil, a))
}

// stream sends each token when it is there. Tokens that came while the last
// ones were written go out in one write, each as an event of its own.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, a *answer, seq *sequence) {
	defer seq.cancelled.Store(true) // whatever ends it; after the last token it means nothing
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
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
		if len(b) == 0 {
			continue // it had gone out with the one before
		}
		if _, err := w.Write(b); err != nil || out.Flush() != nil {
			return
		}
	}
}

// event appends a token and what comes with the first and the last one.
func (s *Server) event(b []byte, a *answer, i int) []byte {
	if i == 0 && a.chat {
		b = s.spell.role(b, a)
	}
	b = s.spell.token(b, a, i)
	if !a.last(i) {
		return b
	}
	if a.request.usage {
		b = s.spell.usage(b, a)
	}
	return s.spell.end(b)
}
