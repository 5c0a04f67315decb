package sim

// Work is what a device does during one step of a batch: the step of a server
// that feeds prompts and makes one token for each running sequence at once.
// The zero Work is rest.
type Work struct {
	PrefillTokens int   // tokens of prompts fed in the step
	DecodeTokens  int   // sequences that get a token
	ContextTokens int64 // tokens that those sequences have in their caches
}

// Shares of the range between idle power and limit. They give a 700 W board
// about 245 W for one stream, 400 W for 32, 530 W for 256, and bring a step of
// 2,048 prompt tokens to the limit: the shape that H100 boards show, not a fit
// to one.
const (
	busyShare    = 0.22    // any step at all: the weights are read once
	fullShare    = 1.10    // an endless prefill, were there no limit
	decodeShare  = 0.54    // of the rest, what very many sequences reach
	decodeHalf   = 24      // sequences that reach half of it
	contextShare = 0.10    // of the rest, what reading very long caches adds
	contextHalf  = 100_000 // tokens that reach half of it
	prefillHalf  = 256     // tokens of prompt that make a step half a prefill
)

// idle reports whether w is rest.
func (w Work) idle() bool { return w.PrefillTokens <= 0 && w.DecodeTokens <= 0 }

// intensity returns where between idle power (0) and the board's limit (1) the
// work draws; the limit cuts off what is above 1. It is concave in each kind of
// token.
func (w Work) intensity() float64 {
	if w.idle() {
		return 0
	}
	prefill := saturate(float64(w.PrefillTokens), prefillHalf)
	decode := decodeShare * saturate(float64(w.DecodeTokens), decodeHalf)
	if w.DecodeTokens > 0 {
		decode += contextShare * saturate(float64(w.ContextTokens), contextHalf)
	}
	mix := prefill + float64((1-prefill)*decode)
	return busyShare + float64((fullShare-busyShare)*mix)
}

// memoryShare returns the share of time in which the memory is busy: nearly
// always while decoding, which waits for it, less in a prefill, which computes.
func (w Work) memoryShare() float64 {
	if w.idle() {
		return 0
	}
	return 0.85 - float64(0.5*saturate(float64(w.PrefillTokens), prefillHalf))
}

// saturate rises from 0 to 1 and is 1/2 at half.
func saturate(x, half float64) float64 {
	x = max(x, 0)
	return x / (x + half)
}
