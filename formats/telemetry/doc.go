// Package telemetry reads and writes recordings of sensors, schema
// wattrace.telemetry/1.
//
// A recording is one or more Arrow IPC streams, one after another
// (https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format),
// uncompressed, so that every Arrow reader opens it; or the same inside one
// zstd layer, by convention named .zst, which package formats takes off.
//
// # Rows
//
// One row is one reading of one device. Columns, in this order:
//
//	time          timestamp[ns, UTC], not null: just before the sensor was
//	              called. The steady clock of the recording, shown from the
//	              anchor's wall clock on: differences are exact and never step
//	took_nanos    int64, not null: how long the call took. The reading is at
//	              time + took/2, give or take took/2
//	host          dictionary<uint8, utf8>, not null
//	device        dictionary<uint8, utf8>, not null: identity, the UUID where
//	              there is one
//	device_index  int32, not null: the source's number of the device
//	source        dictionary<uint8, utf8>, not null: nvml, dcgm, ...
//	scope         dictionary<uint8, utf8>, not null: gpu, module, ...
//	(metrics)     the table sample.Metrics, in its order: float64, or uint64 for
//	              bytes and bit masks; null where not read
//	mark          utf8, only where a recorder sets marks: null, or "start PHASE",
//	              "end PHASE", "note TEXT" in a row of scope run
//	status        utf8: null, or name=REASON for every metric that could not be
//	              read, joined by commas: energy_joules=NOT_SUPPORTED
//
// A recording has the columns of the metrics that its sources can have; one that
// is not there is null throughout.
//
// The field metadata of a metric has its unit and its kind. A failed read is a
// null and a status, never a lost row and never a zero. Dictionaries are whole
// in the first batch and do not grow.
//
// # Schema metadata
//
//	wattrace.schema    wattrace.telemetry/1
//	wattrace.producer  program and version
//	wattrace.clock     JSON: {"host","boot_id","boot_nanos","monotonic_nanos",
//	                   "unix_nanos"} at the anchor, absolute values as decimal
//	                   strings, as in package requests
//	wattrace.info      JSON: {"source","driver","api","interval_nanos",
//	                   "slow_interval_nanos"}, of several sources the first
//	wattrace.sources   only where there are several: JSON array of the same
//	wattrace.time_sync what the host knew of its wall clock, if anything: JSON
//	                   {"source","synchronised","offset_nanos","max_error_nanos",
//	                   "stratum"}; the offset is local minus true
//	wattrace.devices   JSON: array of {"id","host","index","source","scope",
//	                   "raw_scope","name","uuid","pci_bus_id","architecture","driver",
//	                   "module","mig","mps","simulated","clocks"}; driver and module are
//	                   left out where they are unknown, mps where it is false. clocks has
//	                   of {"application_sm_hertz","application_memory_hertz",
//	                   "default_sm_hertz","default_memory_hertz","max_sm_hertz",
//	                   "max_memory_hertz"} what the device said when the recording began
//	wattrace.snapshot  JSON: {"at_nanos","boot_nanos","monotonic_nanos",
//	                   "unix_nanos","spread_nanos"}: clocks when this stream began
//	wattrace.hole      only in a stream before which rows were lost, as when the
//	                   disk was full: JSON {"from_nanos","to_nanos","rows","reason"}
//	wattrace.end       only in the last stream: JSON {"rows","ticks","missed",
//	                   "lateness_p50_nanos","lateness_p99_nanos","lateness_max_nanos",
//	                   "read_nanos","cpu_nanos","lost","clean","units"}; lost counts
//	                   the rows of all holes; units is an array of {"devices",
//	                   "ticks","missed","lateness_p99_nanos","lateness_max_nanos",
//	                   "read_nanos","read_max_nanos"}, one for each set of devices that
//	                   one call reads. Ticks and missed are sums over the units
//
// A new stream begins when schema or metadata change: a device or a metric that
// was not known, a hole, or the clocks, which are compared at least every 10 s and written anew when the
// wall clock was set or the host was suspended. The rows of an ordinary recording
// are therefore all in its first stream, which is what a plain Arrow reader reads
// of a file. The last stream has no rows and carries wattrace.end; a recording
// without it is incomplete: it can be read, and every reader says so. Batches are
// written once a second, so that a killed recorder loses no more than that.
//
// # Sealed recordings
//
// convert --to arrow makes of a recording one Arrow file of one schema: all devices
// and columns of all streams, dictionaries that are whole in the first batch, batches
// of 65,536 rows, in the order of the recording. Its metadata has the keys above, with
// wattrace.end beside the rows where the recording is complete, and without it where it is
// not; wattrace.snapshot is the first, and wattrace.hole is there if there is one hole.
// What a stream says once, and several streams several times, are arrays:
//
//	wattrace.snapshots JSON: array of the snapshots after the first, the end's the last
//	wattrace.holes     JSON: array of the holes, where there are several
//
// A device whose description changes has its latest. --to parquet has the same columns
// and keys, as package parquet says. --to csv and jsonl have the rows alone: the columns
// by their names, time as RFC 3339 with nine digits, numbers as the shortest decimals
// that give the value back. In CSV null is empty (and an empty text is ""); lines end in
// \n. In JSON what is null is left out, and integers above 2^53, which readers would
// round, are strings.
//
// # Reading
//
// The reader takes the stream format and the file format, one or many streams,
// whole or cut: it returns every complete batch and then says where and how the
// file ends. It never takes a clean end of file for a complete recording. Before
// arrow/go sees a message its prefix is checked: metadata of at most 1 MiB, a
// body of at most 256 MiB, at most 1,024 fields, by a walk of the flatbuffer
// that checks every bound; the allocator is capped, too. One flipped byte can
// otherwise end a Go process that trusts it.
//
// Columns are found by name. A missing metric column is all null; an unknown
// one is skipped, unless it is a union, a view or run-end encoded; a schema with
// a higher number is refused. The identities may also be plain text or have
// another index type, as other programs write them, and a file may have rows
// and wattrace.end in one stream.
//
// Recordings that were put one after the other are read as one, in the time of
// the first: those of one boot are joined exactly, others by their wall clocks.
// It is complete if each of them has its end, whose count of rows must agree.
//
// testdata/example.arrows and full.arrows are golden recordings, and the files
// .txt beside them what they hold.
//
// History: 1 is the first. Since then came, all optional, columns of metrics,
// mark, the keys wattrace.sources, time_sync, hole, snapshots and holes, and of a device
// driver, mps and clocks; and ticks, which were those of all devices together, became sums
// over the units.
package telemetry
