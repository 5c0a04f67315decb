package attribute

import (
	"bytes"
	"strconv"
	"time"

	"wattrace/trace"
)

// Keys that servers use in a usage object.
var (
	cachedKey = []byte(`"cached_tokens"`) // OpenAI, vLLM, SGLang, TensorRT-LLM: in prompt_tokens_details or input_tokens_details
	queueKey  = []byte(`"queue_time_ms"`) // vLLM's per-request metrics
)

// CachedTokens returns how many tokens of the prompt the server had in its
// prefix cache, as its usage object says, and false where that does not say.
func CachedTokens(usage []byte) (int64, bool) {
	v, ok := number(usage, cachedKey)
	if !ok || v < 0 || v > maxTokens {
		return 0, false
	}
	return int64(v), true
}

// queueTime returns how long the request waited in the server, where its usage
// object says so.
func queueTime(q *trace.Request) (time.Duration, bool) {
	v, ok := number(q.Usage, queueKey)
	if !ok || v < 0 || v > 1e9 {
		return 0, false
	}
	return time.Duration(v * 1e6), true
}

// number returns the number that follows the first such key in a JSON object. A
// usage object has no strings that could hold a key's name, so it is not parsed.
func number(object, key []byte) (float64, bool) {
	_, rest, ok := bytes.Cut(object, key)
	if !ok {
		return 0, false
	}
	rest, ok = bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(":"))
	if !ok {
		return 0, false
	}
	rest = bytes.TrimLeft(rest, " \t\r\n")
	n := 0
	for n < len(rest) && bytes.IndexByte([]byte("+-.0123456789eE"), rest[n]) >= 0 {
		n++
	}
	v, err := strconv.ParseFloat(string(rest[:n]), 64)
	return v, err == nil
}
