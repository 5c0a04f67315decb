package replaytest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"sync"
	"testing"
)

// Server is a listener on the loopback. It counts what it sees.
type Server struct {
	URL string // base URL

	mu          sync.Mutex
	requests    map[string]int // by fault
	connections int
	closeFirst  int // connections that are closed as soon as they are accepted
	open        map[net.Conn]bool
	fault       chan struct{} // closed once a fault has happened
	happened    sync.Once
	closed      context.Context
	wait        sync.WaitGroup
}

// Listen starts a server that is closed with the test. Nobody's answer holds
// up the end of the test: stalled ones are cut.
func Listen(t testing.TB) *Server {
	t.Helper()
	return listen(t, (*Server).serve)
}

// ResetOnAccept starts a server that resets every connection.
func ResetOnAccept(t testing.TB) *Server {
	t.Helper()
	return listen(t, func(_ *Server, conn net.Conn) { reset(conn) })
}

// Refused returns the URL of a port that nobody listens on.
func Refused(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func listen(t testing.TB, serve func(*Server, net.Conn)) *Server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed, cancel := context.WithCancel(context.Background())
	s := &Server{URL: "http://" + l.Addr().String(), requests: map[string]int{}, open: map[net.Conn]bool{}, fault: make(chan struct{}), closed: closed}
	s.wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if !s.track(conn) {
				return
			}
			s.wait.Go(func() {
				defer conn.Close()
				serve(s, conn)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		s.mu.Lock()
		for conn := range s.open {
			conn.Close()
		}
		s.mu.Unlock()
		s.wait.Wait()
	})
	return s
}

// track counts a connection; false means that the server is closed.
func (s *Server) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections++
	s.open[conn] = true
	if s.closed.Err() != nil {
		conn.Close()
		return false
	}
	return true
}

// CloseFirst makes the server close the next n connections at once.
func (s *Server) CloseFirst(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeFirst = n
}

// farewell reports whether a connection is to be closed at once.
func (s *Server) farewell() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeFirst--
	return s.closeFirst >= 0
}

// Requests returns how many requests with a fault it has seen; "" are the good.
func (s *Server) Requests(fault string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[fault]
}

// Connections returns how many connections it has accepted.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

var faultKey = regexp.MustCompile(`"fault": ?"([a-z0-9_]*)"`)

// serve answers the requests of one connection, one after another.
func (s *Server) serve(conn net.Conn) {
	if s.farewell() {
		return
	}
	in := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if req.Method == http.MethodGet && req.URL.Path != "/" { // it says nothing of itself
			a := &Answer{conn: conn, closed: s.closed, rest: req.Body, fault: s.fault}
			a.Status(404, "Not Found", "text/plain", "no such page")
			return
		}
		// The head of a body says what to do; a fault may leave the rest unread.
		head, err := io.ReadAll(io.LimitReader(req.Body, 256))
		if err != nil {
			return
		}
		name := ""
		if m := faultKey.FindSubmatch(head); m != nil {
			name = string(m[1])
		}
		s.mu.Lock()
		s.requests[name]++
		s.mu.Unlock()
		a := &Answer{Head: head, conn: conn, closed: s.closed, rest: req.Body, fault: s.fault, given: func() {
			if name != "" && name != "beside" {
				s.happened.Do(func() { close(s.fault) })
			}
		}}
		answer, ok := Faults[name]
		if !ok {
			a.Status(400, "Bad Request", "text/plain", fmt.Sprintf("no fault %q", name))
			return
		}
		answer(a)
		a.given()
		if a.over {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
	}
}
