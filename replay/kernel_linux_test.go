package replay

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wattrace/replay/replaytest"
	"wattrace/trace"
)

// pipe connects a stampConn that the kernel stamps with a peer, on the loopback.
func pipe(t testing.TB) (*stampConn, net.Conn, *kernelClock) {
	t.Helper()
	clock := trace.NewSteadyClock()
	k, err := newKernelClock(clock)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := newDialer(clock.Now, &ClientOptions{}, k)
	conn, err := d.dial(t.Context(), endpoint{addr: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); peer.Close(); k.close() })
	return conn.(*stampConn), peer, k
}

// TestKernelStamps checks the kernel's stamps against when the bytes were sent
// and when they were read: they are between, and far nearer to the sending.
func TestKernelStamps(t *testing.T) {
	t.Parallel()
	c, peer, k := pipe(t)
	var after, before []time.Duration // the sending, the reading
	own := 0
	b := make([]byte, 100)
	const pause = 300 * time.Microsecond // the reader comes late
	for range 300 {
		sent := k.clock.Now()
		if _, err := peer.Write([]byte("data: x\n\n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pause)
		s := c.next()
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
		read := k.clock.Now()
		at := trace.Time(s.lastRead.Load())
		if s.own.Load() {
			own++
			continue
		}
		if at > read || at < sent.Add(-2*time.Microsecond) { // the reading of the offset
			t.Fatalf("sent at %d, stamped at %d, read at %d", sent, at, read)
		}
		if lag := time.Duration(s.lag.Load()); lag < 0 || lag > read.Sub(at) {
			t.Fatalf("read %v late, but %v passed until after the reading", lag, read.Sub(at))
		}
		after, before = append(after, at.Sub(sent)), append(before, read.Sub(at))
	}
	if own > 3 {
		t.Errorf("%d of 300 reads have no stamp of the kernel", own)
	}
	slices.Sort(after)
	slices.Sort(before)
	t.Logf("after the sending: p50 %v, p90 %v; before the reading: p50 %v", after[len(after)/2], after[len(after)*9/10], before[len(before)/2])
	if after[len(after)/2] > pause/2 || before[len(before)/2] < pause/2 {
		t.Error("the stamps are those of the reading")
	}
}

func TestKernelReaderErrors(t *testing.T) {
	t.Parallel()
	c, peer, _ := pipe(t)
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	c.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || !err.(net.Error).Timeout() {
		t.Errorf("%v", err)
	}
	c.SetReadDeadline(time.Time{})
	peer.Close()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF || !c.cur.Load().ended.Load() {
		t.Errorf("%d, %v", n, err)
	}
	c.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("%v", err)
	}
}

func TestKernelReaderDoesNotAllocate(t *testing.T) {
	c, peer, _ := pipe(t)
	b := make([]byte, 100)
	event := []byte("data: x\n\n")
	if n := testing.AllocsPerRun(200, func() {
		peer.Write(event)
		c.Read(b)
	}); n > 0 {
		t.Errorf("%v allocations a read", n)
	}
}

// TestWallClockIsSet checks that a step of the wall clock is found at the first
// read after it, either way, and that the client stamps from then on.
func TestWallClockIsSet(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{time.Hour, -time.Hour, time.Millisecond, -time.Millisecond} {
		k, err := newKernelClock(trace.NewSteadyClock())
		if err != nil {
			t.Fatal(err)
		}
		defer k.close()
		now := time.Now()
		arrived := now.UnixNano() - 5000
		if at, read, own := k.stamp(arrived, now); own || read != k.clock.At(now) || k.clock.At(now).Sub(at) < 4*time.Microsecond || k.clock.At(now).Sub(at) > 6*time.Microsecond {
			t.Errorf("%v before, own %v", k.clock.At(now).Sub(at), own)
		}
		if _, _, own := k.stamp(0, now); !own || k.lost.Load() != never {
			t.Error("no stamp is taken for a step of the clock")
		}
		k.offset -= int64(step) // as if the clock had been set by it since
		for range 2 {
			if at, _, own := k.stamp(now.UnixNano()-5000, now); !own || at != k.clock.At(now) || k.lost.Load() == never {
				t.Errorf("step of %v: own %v", step, own)
			}
			k.offset += int64(step) // it stays so
		}
	}
}

// TestAPreemptedReadingIsNoStep checks that a reading of the two clocks that was
// torn apart is not taken for a step.
func TestAPreemptedReadingIsNoStep(t *testing.T) {
	t.Parallel()
	k, err := newKernelClock(trace.NewSteadyClock())
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	s := k.clock.Snapshot()
	for _, moved := range []int64{0, 1000, -1000} {
		torn := s
		torn.UnixNanos += moved
		if k.stepped(torn) {
			t.Errorf("%d ns is a step", moved)
		}
	}
	torn := s
	torn.UnixNanos += 50_000
	torn.Spread = 50 * time.Microsecond
	if k.stepped(torn) {
		t.Error("a slow reading is a step")
	}
	torn.Spread = 0
	if !k.stepped(torn) {
		t.Error("50 us are no step")
	}
}

// TestRunGoesOnAfterAStep checks that a run whose wall clock is set has its
// stamps all the same, and says whose they are.
func TestRunGoesOnAfterAStep(t *testing.T) {
	t.Parallel()
	server := replaytest.Listen(t)
	for _, step := range []time.Duration{0, -time.Hour, time.Hour} {
		e := engine(t, server.URL, ClientOptions{KernelTimestamps: true}, 2, slices.Repeat([]trace.Turn{faulty("", true)}, 10)...)
		e.client.kernel.offset -= int64(step)
		s := &story{}
		if _, err := e.Run(t.Context(), nil, s); err != nil {
			t.Fatal(err)
		}
		if e.KernelClockLost().OK != (step != 0) {
			t.Errorf("step of %v: lost %v", step, e.KernelClockLost())
		}
		own := 0
		for _, q := range s.requests {
			checkOrder(t, &q)
			if q.Outcome != trace.Succeeded {
				t.Errorf("%+v", q)
			}
			if step != 0 && q.ReadLag.OK || step == 0 && !q.OwnChunkStamps && (!q.ReadLag.OK || q.ReadLag.V < 0) {
				t.Errorf("read late by %v", q.ReadLag)
			}
			if q.OwnChunkStamps {
				own++
			}
		}
		if step != 0 && own != 10 || step == 0 && own > 2 {
			t.Errorf("step of %v: %d of 10 answers have the client's stamps", step, own)
		}
	}
}

func TestNoDelay(t *testing.T) {
	t.Parallel()
	c, _, _ := pipe(t)
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if v, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY); v == 0 || err != nil {
			t.Errorf("TCP_NODELAY is %d, %v", v, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkRead(b *testing.B) {
	for _, kernel := range []bool{false, true} {
		b.Run(map[bool]string{false: "user", true: "kernel"}[kernel], func(b *testing.B) {
			c, peer, _ := pipe(b)
			if !kernel {
				c.kernel = nil
			}
			buf := make([]byte, 1000)
			event := make([]byte, 250)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := peer.Write(event); err != nil {
					b.Fatal(err)
				}
				if _, err := c.Read(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
