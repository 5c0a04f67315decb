package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"wattrace/trace"
)

// kernelClock turns the kernel's stamps of packets, which are on the wall clock,
// into instants on the steady clock. The two differ by a constant that changes
// only where the wall clock is set: NTP slews both alike. Where it was set,
// nobody knows on which side of it a packet came, and the client's own stamps
// are taken from then on.
type kernelClock struct {
	clock  *trace.SteadyClock
	offset int64        // wall - steady, in nanoseconds
	lost   atomic.Int64 // when the wall clock was found to have been set; never is not
	asking net.Conn     // keeps the kernel stamping while no request has a connection
}

// suspicious is how far the two clocks, read one after the other, may be from
// where they were. A preempted reading is farther, so it is only a suspicion.
const suspicious = 20 * time.Microsecond

// newKernelClock returns when the kernel stamps what arrives, which it begins to
// do some milliseconds after the first socket of the machine has asked for it.
func newKernelClock(clock *trace.SteadyClock) (*kernelClock, error) {
	k := &kernelClock{clock: clock}
	k.lost.Store(never)
	s := clock.Snapshot()
	k.offset = s.UnixNanos - int64(s.At)
	if err := k.begin(); err != nil {
		k.close()
		return nil, fmt.Errorf("the kernel does not stamp what arrives: %w", err)
	}
	return k, nil
}

// begin sends bytes to itself until one has a stamp.
func (k *kernelClock) begin() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	d := &dialer{now: k.clock.Now, kernel: k}
	conn, err := d.dial(context.Background(), endpoint{addr: l.Addr().String()})
	if err != nil {
		return err
	}
	k.asking = conn
	peer, err := l.Accept()
	if err != nil {
		return err
	}
	defer peer.Close()
	c := conn.(*stampConn)
	var b [1]byte
	for range 2000 {
		if _, err := peer.Write(b[:]); err != nil {
			return err
		}
		if _, err := c.Read(b[:]); err != nil {
			return err
		}
		if c.kernel.arrival() != 0 {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return errors.New("no stamp in two seconds")
}

func (k *kernelClock) close() {
	if k.asking != nil {
		k.asking.Close()
	}
}

// stamp returns when a packet came that was read now; own says that it is the
// client's stamp. wall is the kernel's, 0 for none.
func (k *kernelClock) stamp(wall int64, now time.Time) (at, read trace.Time, own bool) {
	read = k.clock.At(now)
	if wall == 0 || k.lost.Load() != never {
		return read, read, true
	}
	at = trace.Time(wall - k.offset)
	moved := time.Duration(now.UnixNano() - int64(read) - k.offset)
	if (moved.Abs() > suspicious || at.Sub(read) > suspicious) && k.stepped(k.clock.Snapshot()) {
		return read, read, true
	}
	return min(at, read), read, false
}

// stepped reports whether the wall clock was set, by a reading of the clocks.
func (k *kernelClock) stepped(s trace.ClockSnapshot) bool {
	moved := time.Duration(s.UnixNanos - int64(s.At) - k.offset).Abs()
	if moved <= suspicious/2+s.Spread {
		return false
	}
	k.lost.CompareAndSwap(never, int64(s.At))
	return true
}

// stampArrivals makes the kernel stamp what a socket receives.
func stampArrivals(fd int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
}

// latePort lets a socket that is bound to an address choose its port when it
// connects, so that the same port can serve for every server.
func latePort(fd int) {
	// Kernels before 4.2 do not know it, and have fewer ports.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}

// kernelReader reads a connection with recvmsg(2), which tells when the last
// packet came of what it returns. It is used by one goroutine at a time, as
// net/http does, and does not allocate.
type kernelReader struct {
	conn  net.Conn
	raw   syscall.RawConn
	clock *kernelClock

	iov     unix.Iovec
	msg     unix.Msghdr
	control [64]byte // room for a stamp and more
	n       int
	errno   syscall.Errno
	receive func(fd uintptr) bool
}

func newKernelReader(conn net.Conn, clock *kernelClock) (*kernelReader, error) {
	tcp, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errNoKernelStamps
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &kernelReader{conn: conn, raw: raw, clock: clock}
	r.receive = r.recvmsg
	return r, nil
}

// read is Read, and says when the last of the bytes came and when they were read.
func (r *kernelReader) read(b []byte) (n int, at, read trace.Time, own bool, err error) {
	if len(b) == 0 {
		n, err = r.conn.Read(b)
		return n, 0, 0, true, err
	}
	r.iov.Base = &b[0]
	r.iov.SetLen(len(b))
	err = r.raw.Read(r.receive)
	now := time.Now()
	r.iov.Base = nil
	switch {
	case err != nil: // closed, or a deadline
		return 0, 0, 0, true, err
	case r.errno != 0:
		return 0, 0, 0, true, &net.OpError{
			Op: "read", Net: "tcp", Source: r.conn.LocalAddr(), Addr: r.conn.RemoteAddr(),
			Err: os.NewSyscallError("recvmsg", r.errno),
		}
	case r.n == 0:
		return 0, 0, 0, true, io.EOF
	}
	at, read, own = r.clock.stamp(r.arrival(), now)
	return r.n, at, read, own, nil
}

// recvmsg receives once; it returns false to be called again when there is
// something to receive.
func (r *kernelReader) recvmsg(fd uintptr) bool {
	for {
		r.msg = unix.Msghdr{Iov: &r.iov, Control: &r.control[0]}
		r.msg.SetIovlen(1)
		r.msg.SetControllen(len(r.control))
		n, _, errno := unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&r.msg)), 0)
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.EAGAIN {
			return false
		}
		r.n, r.errno = int(n), errno
		return true
	}
}

// arrival returns the stamp of what was received, in nanoseconds of the wall
// clock; 0 for none.
func (r *kernelReader) arrival() int64 {
	rest := r.control[:min(int(r.msg.Controllen), len(r.control))]
	for len(rest) >= unix.SizeofCmsghdr {
		head, data, more, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			return 0
		}
		if head.Level == unix.SOL_SOCKET && head.Type == unix.SCM_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			return (*unix.Timespec)(unsafe.Pointer(&data[0])).Nano()
		}
		rest = more
	}
	return 0
}
