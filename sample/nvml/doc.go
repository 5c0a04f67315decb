// Package nvml reads NVIDIA GPUs through NVML, the library of the driver. It
// is the only package that needs cgo; without it, or off Linux, Open says so.
//
// One call of nvmlDeviceGetFieldValues per GPU reads the fast metrics: the
// energy counter (field 83), instant power (186), average power (185) and the
// power limit in force (190), of every scope that the GPU has. Each field has a
// return code of its own, and one that failed is a null with the code's name as
// its status. Where the driver has no such call or field, the older calls of
// the same meaning stand in.
//
// A GPU's scopes, as NVML has them, are devices of their own: the GPU, its
// memory (average power alone, on Hopper), and the module that it is on (a
// Grace superchip). They are found when the source is opened. A driver that
// answers for another scope with the GPU's own figures does not know scopes:
// then there is none.
//
// The slow metrics are one further such call and some that are older. What the
// GPU says it does not support when it is opened is not asked again, and only
// its first slow row says so; what fails later says so each time. GPM (Hopper
// and later) compares two samples: a row has the mean since the slow row before.
// Two samples less than 100 ms apart say nothing, so that row has none. The
// GPM of a partitioned board (MIG) is left alone: NVML has it by instance.
//
// The settings of a GPU's clocks are read when the source is opened: application clocks,
// their defaults, and the highest clocks. Of a range that nvmlDeviceSetGpuLockedClocks or
// nvmlDeviceSetMemoryLockedClocks locks them to (nvidia-smi -lgc, -lmc) nvml.h of CUDA 13
// has no call that tells it, and no field.
//
// A GPU that falls off the bus is a status in its rows while the others are
// read on. Once a second it is looked for, by its UUID; where NVML itself has
// lost the driver, or all GPUs are lost, NVML is initialised anew. Readings go
// on by themselves then. Counters may be lower: a driver that is loaded anew
// counts from zero.
//
// Calling a function that the installed library lacks ends the process, with
// no chance to recover. So every function is looked up before its first call,
// but for the few that every NVML has had since 2012, whose absence makes Open
// fail: nvmlErrorString, too, is never called. The numbers of fields above 250
// changed until driver 580; a Blackwell with an older one is not asked for them.
package nvml

import (
	"errors"

	"wattrace/sample"
)

// Options says how to open NVML. The zero value finds the driver's library as
// the dynamic linker does and reads all GPUs.
type Options struct {
	Library string // path of the library; "" is libnvidia-ml.so.1

	// Choose returns which GPUs to read, by their places in the inventory; nil
	// is all. The others are only asked who they are. Its error is Open's.
	Choose func(Inventory) ([]int, error)

	Root string // of the file tree that holds /sys; "" is /
}

// An Inventory is the GPUs of a host, before any is chosen.
type Inventory struct {
	GPUs []sample.Device // in NVML's order, with what identifies them alone

	// Board finds the GPU that holds a MIG instance, by the instance's UUID.
	Board func(uuid string) (gpu int, ok bool)
}

// ErrNoLibrary is the cause in an error of Open if the library cannot be
// loaded: there is no driver, or it is somewhere else.
var ErrNoLibrary = errors.New("cannot load the NVML library")

// An Error is a call of NVML that failed while the source was opened.
type Error struct {
	Call string // "nvmlInit"
	Code string // "DRIVER_NOT_LOADED"
}

func (e *Error) Error() string { return "NVML: " + e.Call + ": " + e.Code }
