package replay

import (
	"context"
	"crypto/tls"
	"math"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"wattrace/trace"
)

// idleTimeout is how long a kept connection may rest. It is below the 5 s after
// which uvicorn closes it, so that we are the one who does.
const idleTimeout = 4 * time.Second

// newTransport returns the transport of a client. HTTP/1.1 only: each stream has
// a connection to itself, whose reads are the arrivals of its events.
func newTransport(now func() trace.Time) *http.Transport {
	dialer := net.Dialer{Timeout: 30 * time.Second}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newStampConn(conn, now), nil
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	t := &http.Transport{
		DialContext:         dial,
		Protocols:           &protocols,
		MaxIdleConnsPerHost: math.MaxInt, // the default of 2 would close the others
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true, // a gzip reader would hold events back
		ReadBufferSize:      readSize,
		WriteBufferSize:     8 << 10, // head and body of a usual request in one write
	}
	t.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		config := t.TLSClientConfig.Clone()
		if config == nil {
			config = new(tls.Config)
		}
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(addr)
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, &tlsError{err}
		}
		return secure, nil
	}
	return t
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
	ended     atomic.Bool  // a Read failed: the connection is over
}

// never is the stamp of what has not happened.
const never = math.MinInt64

func newStamps() *stamps {
	s := new(stamps)
	s.wrote.Store(never)
	s.firstByte.Store(never)
	s.lastRead.Store(never)
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
	now func() trace.Time
	cur atomic.Pointer[stamps]
}

func newStampConn(conn net.Conn, now func() trace.Time) *stampConn {
	c := &stampConn{Conn: conn, now: now}
	c.cur.Store(newStamps())
	return c
}

// Read implements net.Conn.
func (c *stampConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	s := c.cur.Load()
	if err != nil {
		s.ended.Store(true)
	}
	if n > 0 {
		at := int64(c.now())
		s.lastRead.Store(at)
		s.firstByte.CompareAndSwap(never, at)
	}
	return n, err
}

// Write implements net.Conn.
func (c *stampConn) Write(b []byte) (int, error) {
	s := c.cur.Load()
	n, err := c.Conn.Write(b)
	s.wrote.Store(int64(c.now()))
	return n, err
}

// stamped gives the stampConn under a connection the stamps of its next request,
// and returns them; nil if there is none.
func stamped(conn net.Conn) *stamps {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	c, ok := conn.(*stampConn)
	if !ok {
		return nil
	}
	s := newStamps()
	c.cur.Store(s)
	return s
}
