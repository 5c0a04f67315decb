// Package parquet writes Arrow records as a Parquet file: what convert --to parquet
// makes of a recording, whose columns and metadata package telemetry specifies, and of
// a request log, as package logtable does. It
// is the only package that links arrow/go's parquet.
//
//   - zstd, row groups of 1,048,576 rows, data pages of version 1, which every reader knows
//   - timestamps are INT64 with the logical type TIMESTAMP(NANOS, UTC), uint64 is
//     INT64 with INTEGER(64, unsigned), dictionaries are their texts
//   - the schema metadata is the file's key-value metadata, under the same keys.
//     ARROW:schema gives the Arrow types and the field metadata (unit, kind), which
//     Parquet itself has no place for
//
// It stands on arrow/go's parquet/file, not on pqarrow, which links Flight and gRPC.
package parquet
