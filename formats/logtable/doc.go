// Package logtable is a request log as an Arrow table: one row for each request that
// ended, in the order of the log, for data frames and SQL. convert writes it as Arrow,
// Parquet and CSV. The log itself, package requests, specifies what the values mean.
//
// # Columns
//
//	run                     int32: number of the log in its file, from 0: files may be
//	                        concatenated
//	seq                     int64: order of sending; with run, the key
//	line                    int64: 1-based turn of the trace
//	conversation, turn      text, int32; null where the turn belongs to none
//	phase, phase_kind       text; the kind is idle, warmup, measure or cooldown, null where the log does not
//	                        say
//	slot, target            int32; target is the index, target_url the text
//	target_url              text
//	time                    timestamp[ns, UTC]: when it was sent, by the wall clock at
//	                        the log's anchor and what its steady clock counted since, as
//	                        `time` of a recording is
//	scheduled_nanos, sent_nanos, wrote_nanos, first_byte_nanos, first_token_nanos,
//	last_token_nanos, done_nanos, connect_nanos, connected_nanos
//	                        int64: the instants of the log, in nanoseconds since the anchor
//	                        of its clock. Integers, since not all programs subtract
//	                        timestamps of nanoseconds
//	outcome                 text: succeeded, failed, cancelled
//	status                  int32: of HTTP
//	error_class, error_message   text, of a failed request
//	finish_reason           text
//	input_tokens, output_tokens   int64
//	token_source            text: who counted the output tokens
//	expected_input_tokens, expected_output_tokens   int64, from the side file
//	conn, conn_reused, conn_idle_nanos   int64, bool, int64
//	read_lag_nanos          int64
//	body_bytes, body_xxh3   int64; text of 16 hexadecimal digits
//	cache_salt, response_id text
//	chunk_clock             text: who stamped the answer: user, kernel; null is unknown
//	usage, server_metrics   text: the server's objects, as JSON
//	chunk_nanos             list<int64>: each event of the stream, nanoseconds since
//	                        sent_nanos
//	chunk_kinds             text: a letter for each event
//	chunk_tokens            list<int64>: output tokens that each event added
//
// All but run, seq, line, phase, slot, target, time, scheduled_nanos, sent_nanos, done_nanos
// and outcome may be null: unknown is null, and so is an empty text. A request without
// events has null lists. Where the unit is not in a name, the field's metadata has it. CSV has no lists,
// and no chunk_kinds; its times are RFC 3339 with nine digits.
//
// # Metadata
//
// The schema, and so Parquet's key-value metadata, has
//
//	wattrace.schema     wattrace.request_table/1
//	wattrace.producer   of the first run
//	wattrace.clock      JSON: the first run's clock: host, boot_id and the readings at the anchor
//	wattrace.plan       JSON: the first run's plan
//	wattrace.log        JSON Lines: all lines of the log but those of requests and of the client's own
//	                    figures: run, phase, clock, close
//
// A table without a close line in wattrace.log is of a log that is incomplete. Requests that had not ended
// then are not in the table.
//
// History: 1 is the first.
package logtable
