// Package replay sends the turns of a trace to OpenAI-compatible servers and
// notes, for every request, the instants of what happened.
//
// A [Schedule] says which turn goes next and when it is due; it is pure. An
// [Engine] walks a plan's phases, keeps the right number of requests in flight
// and hands what happened to a [Sink], from one goroutine. A [Client] makes one
// request: HTTP/1.1, one attempt, the body byte for byte, every event of the
// answer stamped at the read that delivered it. Nothing is retried, redirected,
// decompressed or reconnected; what fails is an outcome, not an error.
//
// What arrives is stamped by the client, right after the read, or by the kernel
// ([ClientOptions].KernelTimestamps). Several targets share the load by a
// [Balance].
//
// The package computes no statistics and knows no files.
package replay
