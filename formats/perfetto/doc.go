// Package perfetto writes traces for Perfetto (ui.perfetto.dev, trace_processor): a
// stream of protobuf messages, of which a Trace of perfetto's
// protos/perfetto/trace/trace.proto is made. It knows tracks, slices and counters, and
// nothing of what they mean.
//
// # What is written
//
// The file is TracePackets (field 1 of Trace), one after another; two files one after the
// other are a trace, too. Of a TracePacket:
//
//	8   timestamp                    ns
//	10  trusted_packet_sequence_id   1
//	13  sequence_flags               of the first: 1, all state is new
//	6   clock_snapshot               of the first: BOOTTIME (6), which timestamps
//	                                 are on by default, and REALTIME (1) show the same
//	11  track_event
//	60  track_descriptor
//
// Timestamps are Unix nanoseconds; the snapshot says so, and the UI shows the time of
// day. A TrackDescriptor has uuid (1), name (2), parent_uuid (5), child_ordering (11,
// explicit), sibling_order_rank (12), and of a counter a CounterDescriptor (8): unit_name
// (6). Siblings that have the same name, and are no counters, are shown as one group of
// lanes: so any number of slices of one kind may overlap, each on a track of its own. A
// TrackEvent has type (9: 1 a slice begins, 2 it ends, 4 a counter), track_uuid (11), name
// (23), double_counter_value (44) and debug_annotations (4), each with a name (10) and an
// int_value (4), double_value (5), bool_value (2) or string_value (6).
//
// Packets need not be in the order of time, but those of one track are: a reader sorts
// them. A Writer holds nothing of what it has written.
package perfetto
