// Package traces is the one table of trace formats, and opens a trace for
// replay: a raw_payload file, standard input or a directory of conversations,
// with its timing side file.
package traces
