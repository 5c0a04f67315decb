package sim

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"wattrace/sample"
)

// State publishes readings for the stub of libnvidia-ml in a mapped file. Its
// methods may be called from several goroutines, for one device from one at a
// time, and not after Close.
type State struct {
	path    string
	lock    *os.File // the file, locked while it is published
	file    os.FileInfo
	mem     []byte
	devices int
}

// errStateInUse is the fault of a path that another publisher has.
var errStateInUse = errors.New("another simulator publishes its GPUs there")

// inUse reports whether a live publisher has the file.
func inUse(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() // lets go of the lock
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// CreateState makes the file path anew and maps it. Until a device is first
// published, its values are zero. A file that a live publisher has is refused;
// one that a killed publisher left is replaced.
func CreateState(path string, devices []sample.Device) (*State, error) {
	if inUse(path) {
		return nil, fmt.Errorf("%s: %w", path, errStateInUse)
	}
	content, err := encodeState(devices)
	if err != nil {
		return nil, err
	}
	f, err := writeState(path, content)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	var mem []byte
	if err == nil {
		mem, err = unix.Mmap(int(f.Fd()), 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		os.Remove(path)
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := &State{path, f, info, mem, len(devices)}
	s.beat()
	return s, nil
}

// word returns 8 bytes of the mapping; at is a multiple of 8.
func (s *State) word(at int) *uint64 { return (*uint64)(unsafe.Pointer(&s.mem[at])) }

// half returns 4 bytes; at is a multiple of 4.
func (s *State) half(at int) *uint32 { return (*uint32)(unsafe.Pointer(&s.mem[at])) }

// record returns where the record of a device begins.
func (s *State) record(device int) int {
	if device < 0 || device >= s.devices {
		panic(fmt.Sprintf("sim: device %d of %d", device, s.devices))
	}
	return headerBytes + device*recordBytes
}

// beat gives a sign of life.
func (s *State) beat() {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail
	atomic.StoreUint64(s.word(heartbeatAt), uint64(ts.Nano()))
}

// Publish shows a reading from now on. It must be called at least every 5 s,
// else the stub takes the publisher for dead and its devices for lost.
func (s *State) Publish(device int, r Reading) {
	at := s.record(device)
	sequence := s.word(at + sequenceAt)
	atomic.AddUint64(sequence, 1) // odd: a reader tries again
	for i, v := range r.values() {
		atomic.StoreUint64(s.word(at+valuesAt+8*i), v)
	}
	atomic.AddUint64(sequence, 1)
	s.beat()
}

// Set gives a device a value that not every one has, from now on. A device
// says that it does not support those that were never set.
func (s *State) Set(device int, v NVMLValue, x uint64) {
	at := s.record(device)
	atomic.StoreUint64(s.word(at+furtherAt+8*int(v)), x)
	atomic.OrUint64(s.word(at+haveAt), 1<<v)
}

// SetMPS says how many processes share a device through MPS.
func (s *State) SetMPS(device, processes int) {
	atomic.StoreUint32(s.half(s.record(device)+mpsAt), uint32(processes))
}

// Event has a critical error of the driver happen to a device.
func (s *State) Event(device int, xid uint64) {
	at := s.record(device)
	events := s.word(at + eventsAt)
	k := atomic.LoadUint64(events)
	atomic.StoreUint64(s.word(at+xidsAt+8*int(k%xids)), xid)
	atomic.StoreUint64(events, k+1)
}

// SetFault makes a call of a device return an NVML code, such as 15 for a lost
// GPU; 0 lets it succeed again.
func (s *State) SetFault(device int, call NVMLCall, code int) {
	atomic.StoreUint32(s.half(s.record(device)+faultsAt+4*int(call)), uint32(code))
}

// SetDelay makes a call of a device take longer.
func (s *State) SetDelay(device int, call NVMLCall, d time.Duration) {
	atomic.StoreUint64(s.word(s.record(device)+delaysAt+8*int(call)), uint64(max(d, 0)))
}

// Reload makes what the library has of the driver invalid, as when that is
// loaded anew. Until it is told another code, nvmlInit returns the given one; 0
// lets it succeed.
func (s *State) Reload(initCode int) {
	atomic.StoreUint32(s.half(initAt), uint32(initCode))
	atomic.AddUint32(s.half(generationAt), 1)
}

// Close says that nobody publishes any more, so that the devices are lost to
// whoever has the file mapped, and removes it, unless another simulator has
// taken the path.
func (s *State) Close() error {
	if s.mem == nil {
		return nil
	}
	atomic.StoreUint64(s.word(heartbeatAt), 0)
	mem := s.mem
	s.mem = nil
	err := unix.Munmap(mem)
	if info, statErr := os.Stat(s.path); statErr == nil && os.SameFile(info, s.file) {
		err = errors.Join(err, os.Remove(s.path))
	}
	return errors.Join(err, s.lock.Close())
}
