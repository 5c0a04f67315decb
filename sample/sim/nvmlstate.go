package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"wattrace/sample"
	"wattrace/trace"
)

// The layout of the state file, which the stub of libnvidia-ml maps
// (sample/sampletest/testdata/nvml.c). All numbers are little-endian.
//
//	header, 128 bytes
//	  0  char[8]   magic "WTNVML2\0"
//	  8  u32       devices
//	 12  u32       bytes of the header, 128
//	 16  u32       bytes of a device record, 2048
//	 20  u32       generation: raised when the driver is loaded anew, which
//	               leaves nothing of what was before valid
//	 24  u64       CLOCK_MONOTONIC of the publisher's latest sign of life, in
//	               nanoseconds; 0: nobody publishes
//	 32  char[32]  driver version
//	 64  char[32]  NVML version
//	 96  u32       code that nvmlInit returns instead of succeeding
//	device record, 2048 bytes
//	  0  char[96]  name
//	 96  char[96]  UUID
//	192  char[32]  PCI bus id
//	224  u32       architecture, as NVML numbers them; 0 is unknown
//	228  i32       MIG mode: -1 not supported, 0 off, 1 on
//	232  u32       processes that use MPS
//	256  u64       sequence number: odd while the values are being changed
//	264  u64[12]   values, in the order of Reading's fields
//	512  u64       which of the further values the device has, a bit each; it
//	               supports no others
//	520  u64[32]   further values, by NVMLValue
//	1024  u32[64]  code that a call returns instead of succeeding, by
//	               NVMLCall; 0: it succeeds
//	1280  u64[64]  nanoseconds that a call takes longer, likewise
//	1792  u64      events so far
//	1800  u64[8]   XIDs of the latest: of event k, from 0, at k modulo 8
//
// A board in MIG mode has one instance, whose UUID is the board's with MIG- for
// GPU-.
//
// A publisher without a sign of life for 5 s is dead: its devices are lost.
const (
	stateMagic     = "WTNVML2\x00"
	headerBytes    = 128
	generationAt   = 20
	heartbeatAt    = 24
	driverAt       = 32
	nvmlAt         = 64
	initAt         = 96
	recordBytes    = 2048
	uuidAt         = 96
	pciAt          = 192
	architectureAt = 224
	migAt          = 228
	mpsAt          = 232
	sequenceAt     = 256
	valuesAt       = 264
	haveAt         = 512
	furtherAt      = 520
	faultsAt       = 1024
	delaysAt       = 1280
	eventsAt       = 1792
	xidsAt         = 1800
	xids           = 8
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
	CallMPS
	CallGPMSupport
	CallGPMSample
	CallGPMMetrics
	CallProfiles
	CallEvents

	furtherCalls NVMLCall = 32
)

// NVMLValue names what not every device has, for State.Set.
type NVMLValue int

// The values, in the units and the integer types that NVML gives.
const (
	MemoryMilliwatts        NVMLValue = iota // average power of scope memory: field 185
	ModuleInstantMilliwatts                  // of scope module: fields 186, 185, 190 and 191
	ModuleAverageMilliwatts
	ModuleLimitMilliwatts
	ModuleMillijoules
	MemoryCelsius // field 82
	PowerCapNanos // fields 74, 269, 270 and 271
	SoftwareThermalNanos
	HardwareThermalNanos
	PowerBrakeNanos
	PCIeSentBytes // fields 197 and 198
	PCIeReceivedBytes
	NVLinkSentKibibytes // fields 138 and 139, of all links
	NVLinkReceivedKibibytes
	ECCCorrected // fields 3 and 4
	ECCUncorrected
	GraphicsPermille // GPM 1, 2, 3, 5 and 10; a device with the first has all
	SMPermille
	OccupancyPermille
	TensorPermille
	DRAMPermille
	SmoothingEnabled // fields 251, 252 and 264
	SmoothingPrivilege
	SmoothingProfile
	WorkloadProfiles // the first 64 of the profiles in force, a bit each
	ApplicationSMMegahertz
	ApplicationMemoryMegahertz
	DefaultSMMegahertz
	DefaultMemoryMegahertz
	MaxSMMegahertz
	MaxMemoryMegahertz
)

// Call returns the call that reads the value, for State.SetFault.
func (v NVMLValue) Call() NVMLCall { return furtherCalls + NVMLCall(v) }

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
		have := uint64(0)
		for value, hertz := range map[NVMLValue]trace.Opt[float64]{
			ApplicationSMMegahertz: d.Clocks.ApplicationSM, ApplicationMemoryMegahertz: d.Clocks.ApplicationMemory,
			DefaultSMMegahertz: d.Clocks.DefaultSM, DefaultMemoryMegahertz: d.Clocks.DefaultMemory,
			MaxSMMegahertz: d.Clocks.MaxSM, MaxMemoryMegahertz: d.Clocks.MaxMemory,
		} {
			if v, ok := hertz.Get(); ok {
				binary.LittleEndian.PutUint64(b[at+furtherAt+8*int(value):], uint64(v/1e6))
				have |= 1 << value
			}
		}
		binary.LittleEndian.PutUint64(b[at+haveAt:], have)
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
