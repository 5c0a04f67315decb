// Package traceflags is how tools are told what to make of a trace of another tool: the flags,
// which mean the same in convert, replay and measure, and the loading of a trace by them.
package traceflags
