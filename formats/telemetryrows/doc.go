// Package telemetryrows reads the rows of a recording that stand in text: the CSV and the
// JSON Lines of convert --to csv and --to jsonl, and tables that others make with the
// same names of columns.
//
// # The format
//
// CSV is RFC 4180 but for its line ends, LF or CRLF. The first line has the names of the
// columns, in any order; a line that has them again, as of files that were put one
// after the other, is taken as one. JSON Lines have an object a line, with the columns for
// its keys.
//
//	time               RFC 3339, with its zone; or, in its place,
//	time_unix_seconds  seconds since 1970, a decimal; in JSON also a string of it
//	took_nanos         how long the reading took: it is at time + took/2; 0 where absent
//	host               "" where absent
//	device             identity: the UUID where there is one
//	device_index       0 where absent
//	source             nvml, dcgm, ...; table where absent
//	scope              gpu, module, ...; gpu where absent
//	(metrics)          the table sample.Metrics: power_watts, energy_joules, ...
//	mark               "start PHASE", "end PHASE" or "note TEXT"
//	status             name=REASON for every metric that could not be read
//
// Only a time and a metric are needed. Without device the rows are of one, table:HOST:INDEX.
// Numbers are decimal; integers above 2^53 are strings in JSON. An empty field of a CSV that
// is not in quotes, and a null or absent key, are null. Other columns and keys are left out.
//
// Identities are up to 4,096 bytes long; a device's number may not change. Readings of a
// device stand in the order of time; marks and events (xid_error) may stand before a reading
// that had begun.
//
// # What is lost
//
// A table has the rows alone. Of a recording that was written as one and read back there are
// no clocks but the wall clock, so that it is joined to others by that; no names of products
// (reduce --device-name), drivers (--driver), bus ids, architectures, modules, MIG; no holes,
// intervals and counts of missed scans; and whether it is whole is not known.
package telemetryrows
