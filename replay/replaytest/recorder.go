package replaytest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
)

// Received is a request as it arrived.
type Received struct {
	Path   string
	Header http.Header
	Body   []byte
}

// Recorder is a server that keeps every byte of the bodies that it gets, and
// answers each with a good stream.
type Recorder struct {
	URL string // base URL

	server *httptest.Server
	mu     sync.Mutex
	got    []Received
}

// NewRecorder starts a Recorder, to be closed.
func NewRecorder() *Recorder {
	r := &Recorder{}
	r.server = httptest.NewServer(http.HandlerFunc(r.serve))
	r.URL = r.server.URL
	return r
}

// Close ends the server.
func (r *Recorder) Close() { r.server.Close() }

// Received returns what has arrived whole, in that order.
func (r *Recorder) Received() []Received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *Recorder) serve(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodGet { // it says nothing of itself
		http.NotFound(w, req)
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.got = append(r.got, Received{req.URL.Path, req.Header.Clone(), body})
	r.mu.Unlock()
	w.Header().Set("Content-Type", sse)
	for _, data := range []string{Role, Token, Token, Token, Finish, Usage, Done} {
		io.WriteString(w, "data: "+data+"\n\n")
	}
}
