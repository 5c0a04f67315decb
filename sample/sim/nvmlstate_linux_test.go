package sim

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"wattrace/sample"
)

func TestStateFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	devices := []sample.Device{
		{Name: "wattrace simulated H100", UUID: "GPU-0", PCIBusID: "00000000:1B:00.0", Architecture: "hopper"},
		{Name: "wattrace simulated V100", UUID: "GPU-1", Architecture: "volta"},
		{Name: "wattrace simulated A100", UUID: "GPU-2", Architecture: "ampere", MIG: true},
	}
	s, err := CreateState(path, devices)
	if err != nil {
		t.Fatal(err)
	}
	content := func() []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	u32 := func(at int) int32 { return int32(binary.LittleEndian.Uint32(content()[at:])) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(content()[at:]) }

	b := content()
	if len(b) != 128+3*2048 || string(b[:8]) != "WTNVML2\x00" || u32(8) != 3 || u32(12) != 128 || u32(16) != 2048 {
		t.Errorf("%d bytes, header %q", len(b), b[:24])
	}
	first := u64(24)
	if first == 0 {
		t.Error("no sign of life")
	}
	if !strings.HasPrefix(string(b[128+96:]), "GPU-0\x00") || !strings.HasPrefix(string(b[128+192:]), "00000000:1B:00.0\x00") {
		t.Error("no identity")
	}
	if got := []int32{u32(128 + 224), u32(128 + 228), u32(2176 + 228), u32(4224 + 228)}; !cmp.Equal(got, []int32{9, 0, -1, 1}) {
		t.Error("architecture and MIG modes:", got)
	}

	s.Publish(1, Reading{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	s.SetFault(1, CallReasons, 15)
	s.SetDelay(1, CallProfiles, 12345)
	s.Set(1, MemoryMilliwatts, 70000)
	s.Set(1, WorkloadProfiles, 1<<40)
	s.SetFault(1, WorkloadProfiles.Call(), 10)
	s.SetMPS(1, 3)
	for xid := range uint64(9) {
		s.Event(1, 31+xid)
	}
	var values []uint64
	for i := range 12 {
		values = append(values, u64(2176+264+8*i))
	}
	if diff := cmp.Diff([]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, values); diff != "" {
		t.Error(diff)
	}
	if u64(2176+256) != 2 || u64(128+256) != 0 || u32(2176+1024+4*18) != 15 || u64(2176+1280+8*23) != 12345 || u64(24) < first {
		t.Error("sequence, fault, delay or heartbeat")
	}
	if u64(2176+512) != 1<<24|1 || u64(2176+520) != 70000 || u64(2176+520+8*24) != 1<<40 || u32(2176+1024+4*56) != 10 || u64(128+512) != 0 {
		t.Error("further values")
	}
	if u32(2176+232) != 3 || u64(2176+1792) != 9 || u64(2176+1800) != 39 || u64(2176+1808) != 32 || u64(2176+1856) != 38 {
		t.Error("MPS or events")
	}
	s.Reload(9)
	s.Reload(0)
	if u32(20) != 2 || u32(96) != 0 {
		t.Error("generation", u32(20), "init", u32(96))
	}

	// A second simulator is refused while the first lives.
	before := len(content())
	if _, err := CreateState(path, devices[:1]); !errors.Is(err, errStateInUse) || len(content()) != before {
		t.Errorf("a second publisher: %v", err)
	}
	// It takes over what a killed one has left, which then disturbs nothing.
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	other, err := CreateState(path, devices[:1])
	if err != nil {
		t.Fatal(err)
	}
	s.Publish(0, Reading{EnergyMillijoules: 77})
	if len(content()) != 128+2048 || u64(128+264) != 0 {
		t.Error("the first still writes to the path")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("the first removed the second's file:", err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := other.Close(); err != nil {
		t.Error("a second Close:", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("Close left the file")
	}
}

func TestStateRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check := func(path string, devices []sample.Device, want string) {
		t.Helper()
		_, err := CreateState(path, devices)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Error("left", entries)
		}
	}
	check(filepath.Join(dir, "s"), nil, "no devices")
	check(filepath.Join(dir, "s"), []sample.Device{{}, {Name: strings.Repeat("x", 96)}}, "device 1: \"xxx")
	check(filepath.Join(dir, "none", "s"), []sample.Device{{}}, "no such file or directory")
}
