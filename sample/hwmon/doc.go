// Package hwmon reads the power meters of a host that Linux shows under
// /sys/class/hwmon: those of NVIDIA's Grace modules, and ACPI's.
//
// Only meters are taken of which it is known what they cover. These are the
// ones whose driver is power_meter (ACPI 4.0):
//
//	power1_oem_info          scope         covers
//	Module Power Socket N    module        CPU, GPUs and memory of a Grace module
//	Grace Power Socket N     cpu_package   the Grace socket, its memory and losses with it
//	CPU Power Socket N       cpu_rail      the rail of its cores; with the next about half of Grace's
//	SysIO Power Socket N     io_rail       the rail of its input and output
//	nothing                  board         the power of the system, as the firmware has it
//
// What has another text there is left out, and Info names it: nobody could say
// what else of the recording it contains. So are the sensors of all other
// drivers, as of voltage regulators and mainboards, whose labels are the
// mainboard maker's; amdgpu's, which amd-smi reads; and nvme's.
//
// The four of a socket have the same module, "HOST:socketN", as the GPUs on it
// have in the recordings of package nvml.
//
// power1_average is power_average_watts and power_watts; the meter's time of
// averaging, power1_average_interval, stands in the device's name. A meter that
// has power1_input instead gives power_instant_watts and power_watts.
//
// A reading asks the firmware, which may take milliseconds: all meters are one
// unit, so that it delays nothing else.
package hwmon

import "errors"

// Options say where to look. The zero value is this host.
type Options struct {
	Root string // "" is /sys/class/hwmon
}

// ErrNone is the cause in an error of Open if there is no meter to read.
var ErrNone = errors.New("this host shows no power meter")
