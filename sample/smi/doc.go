// Package smi reads the tables that NVIDIA's tools write again and again, line
// by line as they come:
//
//	nvidia-smi dmon -s puc [-o DT]
//	dcgmi dmon -e 155,156,157,203,... -d 100
//
// (A log of nvidia-smi --query-gpu is read by package formats/nvidiasmi.)
//
// Columns are found by name, in any order; others are not read. Headers may come
// again, with other columns too. A value that a tool does not have is a null with
// the status NOT_SUPPORTED; a line that cannot be read ends the feed.
//
// # nvidia-smi dmon
//
// The header is two lines that begin with #, of names and of units:
//
//	#Date       Time        gpu    pwr  gtemp  mtemp     sm    mem   mclk   pclk     fb
//	#YYYYMMDD   HH:MM:SS    Idx      W      C      C      %      %    MHz    MHz     MB
//	 20240104   13:54:35      0     86     33      -     30     27   6250   1710    239
//
//	gpu                 the device's number
//	pwr                 power_watts, in whole watts
//	gtemp, mtemp        temperature_celsius, memory_temperature_celsius
//	sm, mem             gpu_utilization, memory_utilization
//	pclk, mclk          sm_clock_hertz, memory_clock_hertz
//	fb                  memory_used_bytes, in MiB for all that it says MB
//	gract, smutil, smocc, mmaact, dram (--gpm-metrics)
//	                    graphics_activity, sm_activity, sm_occupancy, tensor_activity, dram_activity
//
// "-" stands for what there is not. A line's time is when it arrived. With -o DT
// it has the second, in local time, of which one that waited in a buffer is known
// to be.
//
// # dcgmi dmon
//
// The header is a line of DCGM's short names and one that says ID; a row begins
// with the entity:
//
//	#Entity   POWER       TOTEC       GPUTL
//	ID
//	GPU 0     123.456     98765432    40
//
//	POWER 155, POWINST 157   power_watts, power_instant_watts
//	TOTEC 156                energy_joules (from mJ)
//	EPLMT 164                power_limit_watts
//	TMPTR 150, MMTMP 140     temperature_celsius, memory_temperature_celsius
//	SMCLK 100, MMCLK 101     sm_clock_hertz, memory_clock_hertz (from MHz)
//	GPUTL 203, MCUTL 204     gpu_utilization, memory_utilization (from percent)
//	FBUSD 252                memory_used_bytes (from MiB)
//	DVCCTR 112               clock_event_reasons
//	GRACT 1001, SMACT 1002, SMOCC 1003, TENSO 1004, DRAMA 1005
//	                         graphics_activity, sm_activity, sm_occupancy, tensor_activity, dram_activity
//
// "N/A" stands for what there is not. A line's time is when it arrived; DCGM read
// the value up to one -d earlier. Rows of anything but a GPU are an error: there
// is no telling what of a GPU an instance's row covers.
//
// Neither table has UUIDs: devices are nvidia-smi:HOST:INDEX and dcgm:HOST:INDEX.
package smi
