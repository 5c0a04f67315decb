// Package formats is what all file formats share: opening an input and finding
// out what it is. The formats themselves are the packages below it; none of
// them is imported here.
//
// # Inputs
//
// [Open] takes a file, a named pipe or "-", standard input. Layers of gzip
// (several members too) and zstd (several frames too) are found by content,
// not by name, and taken off; up to MaxLayers of them. A layer that breaks off
// gives everything before the break and then an error that wraps
// io.ErrUnexpectedEOF; it never passes for a whole one.
//
// Beyond FreeExpansion bytes, content may not be more than MaxExpansion times
// as long as the input: so a small file cannot fill a disk. A zstd layer may
// need a window of at most MaxWindow.
//
// What can be read only once (a pipe, standard input) or not from the middle
// (a compressed file) is copied to an unlinked temporary file in $TMPDIR when
// a second pass, a mapping or a hash is asked for; a plain file is never copied.
//
// # Kinds
//
// [Sniff] tells the kind of an input by its first bytes, the layers taken off:
// Arrow by its magic, JSON by the schema or the keys of the first object, YAML by
// the schema in its first line, CSV by the names of its columns.
package formats
