//go:build unix

package replay

import (
	"net"
	"syscall"
)

// stands reports whether the other side has left an unused connection open.
func stands(conn net.Conn, secure bool) bool {
	tcp, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	var b [1]byte
	var n int
	var peekErr error
	if raw.Read(func(fd uintptr) bool {
		n, _, peekErr = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	}) != nil {
		return false
	}
	if peekErr == nil && n > 0 {
		return secure // the ticket of a TLS session; over plain HTTP it is a farewell
	}
	return peekErr == syscall.EAGAIN
}
