package simserver

// Dialect names a server whose spelling is followed.
type Dialect string

// VLLM is vLLM, of 2026.
const VLLM Dialect = "vllm"

// dialects holds the spelling of each dialect.
var dialects = map[Dialect]dialect{VLLM: vllm{}}

// dialect spells answers. Each method appends to b and returns it; words need
// no escaping.
type dialect interface {
	// role appends the event that opens a streamed chat.
	role(b []byte, a *answer) []byte
	// token appends the event of token i; the last one has the finish reason.
	token(b []byte, a *answer, i int) []byte
	// usage appends the event with the counts, after the last token.
	usage(b []byte, a *answer) []byte
	// end appends what ends a stream.
	end(b []byte) []byte
	// whole appends an answer that is not streamed.
	whole(b []byte, a *answer) []byte
	// fault appends the body of an error.
	fault(b []byte, e *apiError) []byte
	// models appends the list of the one model.
	models(b []byte, o *Options, created int64) []byte
}

// answer is what a dialect spells.
type answer struct {
	*request
	id      string
	created int64  // Unix seconds
	model   []byte // as a JSON string
}

// last reports whether token i is the last one.
func (a *answer) last(i int) bool { return i == a.outputTokens-1 }

// silent reports whether token i has no text: the end of the sequence, which a
// server does not show.
func (a *answer) silent(i int) bool { return a.last(i) && a.finish == "stop" }

// appendText appends token i as a JSON string.
func (a *answer) appendText(b []byte, i int) []byte {
	b = append(b, '"')
	if !a.silent(i) {
		b = appendWord(b, a.words, i)
	}
	return append(b, '"')
}

// appendAll appends the whole text as a JSON string.
func (a *answer) appendAll(b []byte) []byte {
	b = append(b, '"')
	for i := range a.outputTokens {
		if !a.silent(i) {
			b = appendWord(b, a.words, i)
		}
	}
	return append(b, '"')
}
