package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"wattrace/sample"
)

// The layout of the state file, which the stub of libnvidia-ml maps
// (sample/sampletest/testdata/nvml.c). All numbers are little-endian.
//
//	header, 128 bytes
//	  0  char[8]   magic "WTNVML1\0"
//	  8  u32       devices
//	 12  u32       bytes of the header, 128
//	 16  u32       bytes of a device record, 1024
//	 24  u64       CLOCK_MONOTONIC of the publisher's latest sign of life, in
//	               nanoseconds; 0: nobody publishes
//	 32  char[32]  driver version
//	 64  char[32]  NVML version
//	device record, 1024 bytes
//	  0  char[96]  name
//	 96  char[96]  UUID
//	192  char[32]  PCI bus id
//	224  u32       architecture, as NVML numbers them; 0 is unknown
//	228  i32       MIG mode: -1 not supported, 0 off, 1 on
//	256  u64       sequence number: odd while the values are being changed
//	264  u64[12]   values, in the order of Reading's fields
//	512  u32[32]   code that a call returns instead of succeeding, by NVMLCall;
//	               0: it succeeds
//	640  u64       nanoseconds that nvmlDeviceGetFieldValues takes longer
//
// A publisher without a sign of life for 5 s is dead: its devices are lost.
const (
	stateMagic     = "WTNVML1\x00"
	headerBytes    = 128
	heartbeatAt    = 24
	driverAt       = 32
	nvmlAt         = 64
	recordBytes    = 1024
	uuidAt         = 96
	pciAt          = 192
	architectureAt = 224
	migAt          = 228
	sequenceAt     = 256
	valuesAt       = 264
	faultsAt       = 512
	delayAt        = 640
)

// The versions that the stub says it has.
const (
	stateDriver = "580.00.00-simulated"
	stateNVML   = "13.580.00.00-simulated"
)

// NVMLCall names a call or a field of the stub, for State.SetFault.
type NVMLCall int

// The calls and fields.
const (
	CallHandle NVMLCall = iota
	CallName
	CallUUID
	CallPCI
	CallArchitecture
	CallMIG
	CallFields   // the whole of nvmlDeviceGetFieldValues
	FieldEnergy  // field 83
	FieldInstant // field 186
	FieldAverage // field 185
	FieldLimit   // field 190
	CallPower
	CallEnergy
	CallLimit
	CallUtilization
	CallMemory
	CallTemperature
	CallClock
	CallReasons
)

// nvmlArchitectures are NVML's numbers (NVML_DEVICE_ARCH_*).
var nvmlArchitectures = map[string]uint32{
	"kepler": 2, "maxwell": 3, "pascal": 4, "volta": 5, "turing": 6, "ampere": 7, "ada": 8, "hopper": 9, "blackwell": 10,
}

// encodeState returns the content of a state file before the first Publish.
func encodeState(devices []sample.Device) ([]byte, error) {
	if len(devices) == 0 {
		return nil, errors.New("no devices to publish")
	}
	b := make([]byte, headerBytes+len(devices)*recordBytes)
	text := func(at, size int, s string) error {
		if len(s) >= size {
			return fmt.Errorf("%q has more than %d bytes", s, size-1)
		}
		copy(b[at:], s)
		return nil
	}
	copy(b, stateMagic)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(devices)))
	binary.LittleEndian.PutUint32(b[12:], headerBytes)
	binary.LittleEndian.PutUint32(b[16:], recordBytes)
	copy(b[driverAt:], stateDriver)
	copy(b[nvmlAt:], stateNVML)
	for i, d := range devices {
		at := headerBytes + i*recordBytes
		err := errors.Join(text(at, uuidAt, d.Name), text(at+uuidAt, pciAt-uuidAt, d.UUID), text(at+pciAt, architectureAt-pciAt, d.PCIBusID))
		if err != nil {
			return nil, fmt.Errorf("device %d: %w", i, err)
		}
		architecture := nvmlArchitectures[d.Architecture]
		binary.LittleEndian.PutUint32(b[at+architectureAt:], architecture)
		mig := int32(0)
		switch {
		case d.MIG:
			mig = 1
		case architecture < nvmlArchitectures["ampere"]:
			mig = -1
		}
		binary.LittleEndian.PutUint32(b[at+migAt:], uint32(mig))
	}
	return b, nil
}

// writeState puts a new file in the place of path. A process that has mapped
// an older one keeps it, where a truncated file would end it.
func writeState(path string, content []byte) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	_, err = f.Write(content)
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		f.Close()
		return nil, err
	}
	return f, nil
}

// values returns the reading in the order of the state file.
func (r *Reading) values() [12]uint64 {
	return [12]uint64{
		r.EnergyMillijoules, uint64(r.PowerInstantMilliwatts), uint64(r.PowerAverageMilliwatts), uint64(r.PowerLimitMilliwatts),
		uint64(r.GPUUtilizationPercent), uint64(r.MemoryUtilizationPercent), r.MemoryUsedBytes, r.MemoryTotalBytes,
		uint64(r.TemperatureCelsius), uint64(r.SMClockMegahertz), uint64(r.MemoryClockMegahertz), r.ClockEventReasons,
	}
}
