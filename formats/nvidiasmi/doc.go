// Package nvidiasmi reads the logs that
//
//	nvidia-smi --query-gpu=timestamp,power.draw,... --format=csv[,nounits] -lms 20
//
// writes, as batches of package sample.
//
// # The format
//
// A log is lines of fields that a comma parts, with spaces around it or none;
// LF or CRLF ends a line. Blank lines are skipped. A field may stand in double
// quotes, as other programs write it back, and may then have commas, and quotes that are
// doubled, inside.
//
// The first line is the header. A name may be followed by its unit in brackets,
// which every value has then or does not have (nounits):
//
//	timestamp, index, power.draw [W], temperature.gpu, clocks.current.sm [MHz], memory.used [MiB]
//	2023/07/20 08:50:40.403, 0, 77.82 W, 62, 1695 MHz, 1024 MiB
//
// A line that is a header again is taken as one, for logs are appended to each
// other; its columns count from there on. A log without one (noheader) is refused with
// [ErrNoHeader], for the columns could be anything, unless Options.Columns says what
// --query-gpu was given.
//
// Columns are found by name, in any order:
//
//	timestamp                      when nvidia-smi began the row; required
//	uuid, gpu_uuid                 the device
//	pci.bus_id, gpu_bus_id         the device, where there is no uuid
//	index                          the device's number; the device, where there is neither
//	name, gpu_name                 product name
//	driver_version                 sample.Info.Driver
//	mig.mode.current               sample.Device.MIG: Enabled or not
//	power.draw                     power_watts
//	power.draw.average             power_average_watts
//	power.draw.instant             power_instant_watts
//	enforced.power.limit           power_limit_watts
//	power.limit                    power_limit_watts, without the column before
//	total_energy_consumption       energy_joules, of mJ
//	temperature.gpu                temperature_celsius
//	temperature.memory             memory_temperature_celsius
//	utilization.gpu                gpu_utilization
//	utilization.memory             memory_utilization
//	clocks.current.sm, clocks.sm   sm_clock_hertz
//	clocks.current.memory,
//	clocks.mem                     memory_clock_hertz
//	memory.used                    memory_used_bytes
//	clocks_event_reasons.active,
//	clocks_throttle_reasons.active clock_event_reasons
//
// Others are not read; [Reader.Ignored] names them, and the second one of two of
// a name.
//
// power.draw is the average of about a second or the power of an instant, by
// architecture and driver: package reduce has the table.
//
// Units are W, %, MHz, MiB and mJ or J; temperatures have none (degrees Celsius). A value in
// another unit is an error. In SI, as package sample has them, they are W, 1, Hz
// and By.
//
// What nvidia-smi puts for a value that it does not have is a null with a
// status: "[N/A]", "N/A", "[Not Supported]" and "Not Supported" are
// NOT_SUPPORTED, "ERR!" is ERR, any other text in brackets is itself: "[Unknown Error]",
// also without its brackets, is UNKNOWN_ERROR, "[GPU is lost]" is GPU_IS_LOST. Everything
// else that is no number is an error.
//
// # Devices
//
// A device's identity is its UUID; else nvidia-smi:HOST:BUS-ID; else
// nvidia-smi:HOST:INDEX. A log with none of these columns is of one device,
// number 0; two of its rows at the same time are an error, for they would be of
// two devices.
//
// # Time
//
// The stamp is the local time of the host, YYYY/MM/DD HH:MM:SS.mmm, without a
// zone: Options.Location says which. In the hour that comes twice when summer
// time ends, a row belongs to the first of both until that would lead back; a time that
// the place's clocks pass over when summer time begins is an error.
// Times are given relative to the first row, whose wall clock is the anchor of
// the clock; there is no boot clock, so that such a log is joined to others by
// the wall clocks. nvidia-smi does not say how long a row took: Took is 0. A row
// of a device that is earlier than the one before is an error.
//
// # Faults
//
// A fault of a line is a *trace.SyntaxError with line and column, and reading
// goes on at the next line. A last line that no line feed ends was cut: it is not
// read, as its last value may be a part of one, and comes as an error that wraps
// [ErrTruncated].
//
// testdata/a5000-step.csv is a part of a real log; its README says where it is
// from.
package nvidiasmi
