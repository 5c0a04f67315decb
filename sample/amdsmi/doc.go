// Package amdsmi reads AMD's GPUs by running AMD's own program,
//
//	amd-smi metric -p -E -u -t -m -c --json -w 1
//
// for as long as the recording goes on: one process that prints, every second,
// which is the least that it takes, the readings of all GPUs.
//
// # What it prints
//
// Versions differ, so that everything is found by name, in JSON and in CSV:
//
//	gpu                            the device's number
//	power:  socket_power           power_watts
//	        current_socket_power   power_instant_watts, and power_watts
//	        average_socket_power   power_average_watts, and power_watts without the others
//	energy: total_energy_consumption
//	                               energy_joules, in J
//	        energy_accumulator, counter_resolution
//	                               energy_joules where that is missing: their product, in uJ
//	usage:  gfx_activity           gpu_utilization
//	        umc_activity           memory_utilization
//	temperature: hotspot, or edge  temperature_celsius
//	        mem                    memory_temperature_celsius
//	mem_usage: used_vram           memory_used_bytes, in MiB for all that it says MB
//	clock:  gfx_0 clk, mem_0 clk   sm_clock_hertz, memory_clock_hertz
//
// JSON is a list of GPUs or, since ROCm 7, an object whose gpu_data is one, over
// many lines; a value is {"value": 238, "unit": "W"}, of which the unit is
// checked, or a bare number. CSV has the same names without their sections
// (gfx_0_clk), and its header again before every reading. "N/A" is a null with
// the status NOT_SUPPORTED. Lines of text before the first reading, and the one
// that says how to stop, are passed over; anything else that cannot be read ends
// the feed.
//
// Accumulators were seen that stand still while power is drawn, or count
// nonsense (ROCm/amdsmi issue 38): they are recorded as they are, beside the
// power, and judged when the recording is reduced.
//
// A reading's time is when it arrived. amd-smi's own timestamps are whole
// seconds; it takes some milliseconds to print what it read.
//
// Devices have no UUID there: they are amd-smi:HOST:INDEX.
package amdsmi
