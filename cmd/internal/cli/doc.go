// Package cli holds the manners that all binaries share: flags anywhere before
// "--", usage errors on stderr, exit codes, output that appears only when there
// is something to write, terminal checks, signals and progress.
//
// Results go to standard output, everything else to standard error as
// "tool: message", where useful followed by "tool: hint: ...".
//
// Exit codes: 0 ok, 1 failed, 2 usage, 3 finished but incomplete, 130
// interrupted.
package cli

// Version is the version of the toolkit. It stands in every file that a tool
// writes, so it is a constant of the source, not of the build.
const Version = "0.1.0"

// Producer names program and version, for the head of a file.
func Producer() string { return "wattrace " + Version }
