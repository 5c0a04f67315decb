package record

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"wattrace/cmd/internal/cli"
	"wattrace/sample"
)

// control listens on a Unix socket for those who want a reading, or a mark, at
// a moment of their own. A request is a line, and its answer is one:
//
//	sample        read every device in full at the next tick
//	start PHASE   a phase begins, and the one before ends
//	end           the phase that has begun ends
//	note TEXT     mark an instant
//	status        how it goes, as a JSON object
//
// An answer begins with "ok", followed by the instant in nanoseconds of Unix
// time, or with "error: ". What stands behind the socket may be the shell:
//
//	echo start decode | nc -UN power.sock
type control struct {
	listener net.Listener
	r        *recording
	marker   *marker
	sessions sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

// maxSessions is how many may talk at once.
const maxSessions = 64

// longestSocket is how many bytes the name of a socket can have.
const longestSocket = len(syscall.RawSockaddrUnix{}.Path) - 1

// openSocket opens the socket. One that a killed record left is replaced.
func openSocket(path string) (net.Listener, error) {
	if len(path) > longestSocket {
		return nil, cli.Hint(fmt.Errorf("--control %s: the path has %d bytes, and that of a socket at most %d", path, len(path), longestSocket), "a relative path may be shorter")
	}
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if info, statErr := os.Lstat(path); statErr != nil || info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("--control %s: exists already and is no socket", path)
		}
		if conn, dialErr := net.DialTimeout("unix", path, time.Second); dialErr == nil {
			conn.Close()
			return nil, fmt.Errorf("--control %s: another program listens there", path)
		}
		os.Remove(path)
		l, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, fmt.Errorf("--control %s: %w", path, reason(err))
	}
	os.Chmod(path, 0o600)
	return l, nil
}

// serveControl answers on the socket from then on.
func serveControl(l net.Listener, r *recording, m *marker) *control {
	c := &control{listener: l, r: r, marker: m, conns: map[net.Conn]bool{}}
	c.sessions.Go(c.serve)
	return c
}

// reason takes off what the net package puts around an error.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func (c *control) serve() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		full := len(c.conns) == maxSessions
		if c.closed {
			conn.SetReadDeadline(time.Now())
		}
		if !full {
			c.conns[conn] = true
		}
		c.mu.Unlock()
		if full {
			fmt.Fprintf(conn, "error: %d sessions are open already\n", maxSessions)
			conn.Close()
			continue
		}
		c.sessions.Go(func() {
			c.talk(conn)
			conn.Close()
			c.mu.Lock()
			delete(c.conns, conn)
			c.mu.Unlock()
		})
	}
}

// talk answers line by line.
func (c *control) talk(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 0, 1024), 16<<10)
	for lines.Scan() {
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := fmt.Fprintln(conn, c.answer(lines.Text())); err != nil {
			return
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		fmt.Fprintln(conn, "error: a line of over 16 KiB")
	}
}

// verbs are the requests, and whether they take an argument.
var verbs = map[string]bool{"sample": false, "start": true, "end": false, "note": true, "status": false}

func (c *control) answer(line string) string {
	clock := c.marker.clock
	now := clock.Now()
	ok := fmt.Sprintf("ok %d", clock.Clock().Wall(now).UnixNano())
	verb, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
	arg = strings.TrimSpace(arg)
	wanted, known := verbs[verb]
	switch {
	case !known:
		return "error: want sample, start PHASE, end, note TEXT or status"
	case wanted && arg == "":
		return "error: " + verb + " what?"
	case !wanted && arg != "":
		return "error: " + verb + " takes no argument"
	}
	arg = strings.ToValidUTF8(arg, "?")
	switch verb {
	case "sample":
		c.r.sampler.Scan()
	case "start":
		c.marker.start(arg, now, now)
	case "end":
		if c.marker.end(now, now) == "" {
			return "error: no phase has begun"
		}
	case "note":
		c.marker.note(arg, now, now)
	case "status":
		return c.status()
	}
	return ok
}

// status is how the recording goes.
func (c *control) status() string {
	s := c.r.sampler.Stats()
	c.marker.mu.Lock()
	phase := c.marker.open
	c.marker.mu.Unlock()
	var watts, joules *float64
	if w, known := c.r.watts(); known {
		watts = &w
	}
	if j, known := c.r.joules(); known {
		joules = &j
	}
	b, err := json.Marshal(struct {
		Rows    int64    `json:"rows"`
		Ticks   int64    `json:"ticks"`
		Missed  int64    `json:"missed"`
		Seconds float64  `json:"seconds"`
		Devices int      `json:"devices"`
		Watts   *float64 `json:"watts,omitempty"`  // of all GPUs, at their latest readings
		Joules  *float64 `json:"joules,omitempty"` // that their counters grew by since the first reading
		Phase   string   `json:"phase,omitempty"`
	}{s.Rows, s.Ticks, s.Missed, c.marker.clock.Now().Sub(0).Seconds(), c.r.countDevices(), watts, joules, phase})
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}

// close ends all sessions and removes the socket.
func (c *control) close() {
	c.listener.Close()
	c.mu.Lock()
	c.closed = true
	for conn := range c.conns {
		conn.SetReadDeadline(time.Now())
	}
	c.mu.Unlock()
	c.sessions.Wait()
}

// countDevices counts what is recorded, but for the marks.
func (r *recording) countDevices() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.known {
		if d.Scope != sample.ScopeRun {
			n++
		}
	}
	return n
}
