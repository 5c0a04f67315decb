//go:build !linux

package replay

import (
	"net"
	"sync/atomic"

	"wattrace/trace"
)

// kernelClock is for Linux; here there is never one.
type kernelClock struct{ lost atomic.Int64 }

func newKernelClock(*trace.SteadyClock) (*kernelClock, error) { return nil, errNoKernelStamps }

func (k *kernelClock) close() {}

func stampArrivals(int) error { return errNoKernelStamps }

func latePort(int) {}

type kernelReader struct{}

func newKernelReader(net.Conn, *kernelClock) (*kernelReader, error) { return nil, errNoKernelStamps }

func (r *kernelReader) read([]byte) (n int, at, read trace.Time, own bool, err error) {
	return 0, 0, 0, true, errNoKernelStamps
}
