// Package nvml reads NVIDIA GPUs through NVML, the library of the driver. It
// is the only package that needs cgo; without it, or off Linux, Open says so.
//
// One call of nvmlDeviceGetFieldValues per device reads the fast metrics: the
// energy counter (field 83), instant power (186), average power (185) and the
// power limit in force (190). Each field has a return code of its own, and one
// that failed is a null with the code's name as its status. Where the driver
// has no such call or field, the older calls of the same meaning stand in.
//
// Calling a function that the installed library lacks ends the process, with
// no chance to recover. So every function is looked up before its first call,
// but for the few that every NVML has had since 2012, whose absence makes Open
// fail: nvmlErrorString, too, is never called.
package nvml

import "errors"

// Options says how to open NVML. The zero value finds the driver's library as
// the dynamic linker does.
type Options struct {
	Library string // path of the library; "" is libnvidia-ml.so.1
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
