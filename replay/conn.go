package replay

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"wattrace/trace"
)

// defaultKeepAlive is how long a kept connection may rest. It is below the 5 s
// after which uvicorn closes it, so that we are the one who does.
const defaultKeepAlive = 4 * time.Second

// newTransport returns the transport of a client. HTTP/1.1 only: each stream has
// a connection to itself, whose reads are the arrivals of its events.
func newTransport(d *dialer, keepAlive time.Duration) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	if keepAlive == 0 {
		keepAlive = defaultKeepAlive
	}
	none := keepAlive < 0
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return d.conn(ctx, endpoint{addr, false})
		},
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return d.conn(ctx, endpoint{addr, true})
		},
		Protocols:           &protocols,
		DisableKeepAlives:   none,
		MaxIdleConnsPerHost: math.MaxInt, // the default of 2 would close the others
		IdleConnTimeout:     max(keepAlive, 0),
		DisableCompression:  true, // a gzip reader would hold events back
		ReadBufferSize:      socketSize,
		WriteBufferSize:     8 << 10, // head and body of a usual request in one write
	}
}

// tlsError is a failed handshake.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// stamps are what a connection saw of one request.
type stamps struct {
	wrote     atomic.Int64 // the last Write returned
	firstByte atomic.Int64 // the first Read with bytes returned
	lastRead  atomic.Int64 // the last one did
	whole     atomic.Bool  // the answer has ended as it should, and the connection could be kept
	ended     atomic.Bool  // a Read failed: the connection is over
	endedAt   atomic.Int64 // when the other side ended it; never where we did
	lag       atomic.Int64 // the longest that what had come waited for a Read, in ns; never where the client stamps
	own       atomic.Bool  // a Read was stamped by the client, where the kernel should have
}

// never is the stamp of what has not happened.
const never = math.MinInt64

func newStamps() *stamps {
	s := new(stamps)
	s.wrote.Store(never)
	s.firstByte.Store(never)
	s.lastRead.Store(never)
	s.endedAt.Store(never)
	s.lag.Store(never)
	return s
}

// known returns a stamp, unless it is that of what has not happened.
func known(stamp *atomic.Int64) trace.Opt[trace.Time] {
	v := stamp.Load()
	if v == never {
		return trace.Opt[trace.Time]{}
	}
	return trace.Some(trace.Time(v))
}

// stampConn notes when bytes went and came. net/http's own hooks cannot:
// httptrace's WroteRequest runs before the last flush, and GotFirstResponseByte
// in another goroutine, later than the read.
//
// A connection is kept, and may be at its next request, before the reader of the
// last answer has seen its end. So each request has stamps of its own.
type stampConn struct {
	net.Conn
	now    func() trace.Time
	kernel *kernelReader // reads with the kernel's stamps; nil reads with the client's
	cur    atomic.Pointer[stamps]

	id           int64 // in the order of opening, from 0
	connectStart trace.Time
	connectEnd   trace.Time
	waited       time.Duration // from connectEnd until it was handed out, if it was opened ahead
	ahead        bool          // it was
	requests     int           // that it was given to
	parted       func()        // called when the server closes it right after a whole answer
}

// atOnceClosed is how soon after an answer a server must close its connection
// to be one that does so after each: less than any server's keep-alive.
const atOnceClosed = 250 * time.Millisecond

func newStampConn(conn net.Conn, now func() trace.Time) *stampConn {
	c := &stampConn{Conn: conn, now: now}
	c.cur.Store(newStamps())
	return c
}

// Read implements net.Conn.
func (c *stampConn) Read(b []byte) (n int, err error) {
	var at trace.Time
	lag, own := int64(never), false
	if c.kernel != nil {
		var read trace.Time
		if n, at, read, own, err = c.kernel.read(b); !own {
			lag = int64(read - at)
		}
	} else if n, err = c.Conn.Read(b); n > 0 {
		at = c.now()
	}
	s := c.cur.Load()
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			s.endedAt.Store(int64(c.now()))
		}
		s.ended.Store(true)
		c.part(s)
	}
	if n > 0 {
		if own {
			s.own.Store(true)
		}
		s.lag.Store(max(s.lag.Load(), lag)) // only one goroutine reads
		s.lastRead.Store(int64(at))
		s.firstByte.CompareAndSwap(never, int64(at))
	}
	return n, err
}

// part tells of a server that ended the connection right after a whole answer.
// Both who sees the end and who sees that the answer was whole call it, since
// either may be the later one.
func (c *stampConn) part(s *stamps) {
	if c.parted == nil || !s.ended.Load() || !s.whole.Load() || s.endedAt.Load() == never {
		return
	}
	if time.Duration(s.endedAt.Load()-s.lastRead.Load()) < atOnceClosed {
		c.parted()
	}
}

// Write implements net.Conn.
func (c *stampConn) Write(b []byte) (int, error) {
	s := c.cur.Load()
	n, err := c.Conn.Write(b)
	s.wrote.Store(int64(c.now()))
	return n, err
}

// stamped returns the stampConn under a connection; nil if there is none.
func stamped(conn net.Conn) *stampConn {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	c, _ := conn.(*stampConn)
	return c
}

// next gives the connection the stamps of its next request, and returns them.
func (c *stampConn) next() *stamps {
	s := newStamps()
	c.cur.Store(s)
	c.requests++
	return s
}
