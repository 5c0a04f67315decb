package replay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"wattrace/trace"
)

// dialTimeout bounds the making of one connection.
const dialTimeout = 30 * time.Second

// endpoint is what connections are made to.
type endpoint struct {
	addr   string // host:port
	secure bool
}

// dialer makes connections, and holds those that were made ahead of the load,
// for which net/http has no call.
type dialer struct {
	now     func() trace.Time
	tls     *tls.Config
	sources []netip.Addr
	kernel  *kernelClock // stamps what arrives; nil is nobody but the client
	turn    atomic.Uint64
	opened  atomic.Int64

	parts sync.Map // endpoints that close the connection right after an answer

	mu   sync.Mutex
	held map[endpoint][]net.Conn
}

// keeps reports whether connections to an endpoint can be kept, as far as is
// known. llama.cpp's server closes them after each stream, and says that it
// keeps them for 5 s: a request that takes such a connection is lost if it is
// faster than the close.
func (d *dialer) keeps(to endpoint) bool {
	_, parts := d.parts.Load(to)
	return !parts
}

func newDialer(now func() trace.Time, opt *ClientOptions, kernel *kernelClock) *dialer {
	d := &dialer{now: now, tls: opt.TLS, sources: opt.SourceAddresses, kernel: kernel, held: map[endpoint][]net.Conn{}}
	if d.tls == nil {
		d.tls = new(tls.Config)
	}
	return d
}

// conn returns a connection that was opened ahead, if there is one that still
// stands, or a new one.
func (d *dialer) conn(ctx context.Context, to endpoint) (net.Conn, error) {
	for {
		conn := d.take(to)
		if conn == nil {
			return d.dial(ctx, to)
		}
		c := stamped(conn)
		if !stands(c.Conn, to.secure) {
			conn.Close()
			continue
		}
		c.ahead, c.waited = true, d.now().Sub(c.connectEnd)
		return conn, nil
	}
}

func (d *dialer) take(to endpoint) (conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.held[to]
	if len(all) == 0 {
		return nil
	}
	conn, d.held[to] = all[0], all[1:] // the one that has waited longest
	return conn
}

// dial makes a connection, TLS included. TCP_NODELAY is on, as Go has it.
func (d *dialer) dial(ctx context.Context, to endpoint) (net.Conn, error) {
	start := d.now()
	dial := net.Dialer{Timeout: dialTimeout, Control: d.control}
	if n := uint64(len(d.sources)); n > 0 {
		dial.LocalAddr = &net.TCPAddr{IP: d.sources[(d.turn.Add(1)-1)%n].AsSlice()}
	}
	conn, err := dial.DialContext(ctx, "tcp", to.addr)
	if err != nil {
		return nil, err
	}
	c := newStampConn(conn, d.now)
	c.id, c.connectStart = d.opened.Add(1)-1, start
	c.parted = func() { d.parts.Store(to, true) }
	if d.kernel != nil {
		if c.kernel, err = newKernelReader(conn, d.kernel); err != nil {
			conn.Close()
			return nil, err
		}
	}
	if !to.secure {
		c.connectEnd = d.now()
		return c, nil
	}
	config := d.tls.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(to.addr)
	}
	secure := tls.Client(c, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, &tlsError{err}
	}
	c.connectEnd = d.now()
	return secure, nil
}

// control sets up a socket before it connects.
func (d *dialer) control(_, _ string, raw syscall.RawConn) (err error) {
	if ctlErr := raw.Control(func(fd uintptr) {
		if len(d.sources) > 0 {
			latePort(int(fd))
		}
		if d.kernel != nil {
			err = stampArrivals(int(fd))
		}
	}); ctlErr != nil {
		return ctlErr
	}
	return err
}

// atOnce is how many connections are opened at a time: more than the queue of a
// usual listener holds would be refused.
const atOnce = 64

// preconnect opens n connections ahead of the load, the endpoints in turn.
func (d *dialer) preconnect(ctx context.Context, to []endpoint, n int) error {
	var (
		mu     sync.Mutex
		failed int
		first  error
		wait   sync.WaitGroup
		room   = make(chan struct{}, atOnce)
	)
	for i := range n {
		room <- struct{}{}
		wait.Go(func() {
			defer func() { <-room }()
			to := to[i%len(to)]
			conn, err := d.dial(ctx, to)
			if err == nil {
				d.mu.Lock()
				d.held[to] = append(d.held[to], conn)
				d.mu.Unlock()
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if failed++; first == nil {
				first = err
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d connections could not be opened ahead: %w", failed, n, first)
	}
	return nil
}

// close closes what is held.
func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for to, all := range d.held {
		for _, conn := range all {
			conn.Close()
		}
		delete(d.held, to)
	}
}

var errNoKernelStamps = errors.New("the kernel stamps no packets here: that needs Linux")
