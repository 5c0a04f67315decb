// Package amdsmi reads the CSV that AMD's amd-smi writes again and again,
//
//	amd-smi metric -p -c -t -u -E -w 1 --csv
//	amd-smi monitor -p -t -u -w 1 --csv
//
// as InferenceX keeps it of its runs (gpu_metrics.csv), too. What it prints while it is
// recorded is read by package sample/amdsmi; the names and units are the same.
//
// # The format
//
// Lines of fields that commas part; a field may stand in double quotes. The header may come
// again before every reading, as amd-smi prints it, with other columns, too. What stands
// before the first one, as the line that says how to stop, and lines that begin with
// WARNING, are passed over.
//
//	timestamp        required
//	gpu              the device's number; required
//
// and of a metric:
//
//	socket_power, current_socket_power, average_socket_power,
//	total_energy_consumption, energy_accumulator with counter_resolution,
//	gfx_activity, umc_activity, hotspot, edge, mem, used_vram, gfx_0_clk, mem_0_clk
//
// or of monitor:
//
//	power_usage      as socket_power
//	hotspot_temperature, memory_temperature
//	                 as hotspot, mem
//	gfx, mem         as gfx_activity, umc_activity
//	gfx_clk or gfx_clock, mem_clk or mem_clock
//	                 as gfx_0_clk, mem_0_clk
//
// or of the collectors of InferenceX before it used -w: socket_power_w, gfx_clock_mhz,
// mem_clock_mhz, temp_edge_c, temp_hotspot_c, temp_mem_c, gfx_activity_pct,
// umc_activity_pct, vram_used_mib. Others are left out.
//
// A value may have its unit behind it (238 W), which is checked, or be the text of a
// Python dictionary ({'value': 238, 'unit': 'W'}). N/A, also in brackets, and nothing are
// nulls with the status NOT_SUPPORTED. Lists are cells that some versions do not put into
// quotes ([N/A, N/A], ['N/A', 1]): the commas inside them part no fields.
//
// # Time
//
// timestamp is a Unix time in seconds, as amd-smi writes it: whole ones, so that the
// reading was made within the second after it, which Took says; in milliseconds (more than
// 10^12), or with a fraction; RFC 3339; or a local time without a zone, 2026-03-07T00:20:37
// with a blank or a T and up to nine digits of a fraction, for which Options.Location is
// wanted: [Reader.Local]. Several readings of a device in one second are as they stand.
//
// A table without timestamp is refused with [ErrNoTime]: the files energy_start.csv and
// energy_end.csv that InferenceX has beside gpu_metrics.csv are such, whose counters are of
// moments that nobody noted: before the log began and after it ended. [Energies] reads them.
//
// # Devices
//
// They have no UUID there: they are amd-smi:HOST:INDEX. Faults are as package stamped has
// them. testdata/gpu_metrics.csv was written for the tests, with the columns that
// InferenceX's issue 890 shows of an MI325X.
package amdsmi
