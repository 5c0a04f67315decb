package formats

import (
	"github.com/go-json-experiment/json/jsontext"

	"wattrace/trace"
)

// Request is what a trace of another tool says of one request, before a body is
// made of it. Exactly one of IDs, Prompt, Messages and Body is set.
type Request struct {
	Pos      trace.Pos
	IDs      []int32        // token ids of the prompt
	Made     bool           // IDs were made for a length: others of its vocabulary do as well
	Prompt   jsontext.Value // what a user says, as a JSON string
	Messages jsontext.Value // a JSON array of chat messages
	Body     []byte         // a whole request body

	Tools  jsontext.Value // beside Messages: what the model may call; nil is none
	Answer jsontext.Value // what was answered then, as a JSON string; nil is not known

	Conversation string // "" is one of its own
	Turn         int    // 0-based turn of Conversation
	Timing       trace.Timing
}

// A RequestReader reads a trace of another tool. The memory of IDs is used
// again; what else Read stores is valid until the next Read. At the end the
// error is io.EOF. A fault of a row is a *trace.SyntaxError and reading goes on
// behind it; any other error is final.
type RequestReader interface {
	Read(*Request) error
}
