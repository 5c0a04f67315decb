// Package replaytest is HTTP servers for tests of load generators: a [Recorder]
// keeps every byte that it gets, and a [Server] misbehaves on demand. A request names its fault in its body, {"fault":"reset_mid_stream"},
// so that one trace can mix good and bad answers; without one the answer is
// good. That server writes its bytes itself: net/http would repair what is to be
// broken.
package replaytest
