// Package replaytest is an HTTP server that misbehaves on demand, for tests of
// load generators. A request names its fault in its body, {"fault":"reset_mid_stream"},
// so that one trace can mix good and bad answers; without one the answer is
// good. The server writes its bytes itself: net/http would repair what is to be
// broken.
package replaytest
